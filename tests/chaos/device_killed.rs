//! The device's process is killed again and again.

use std::{
    thread,
    time::{Duration, Instant},
};

use andon::{publish::mqtt::session::IN_FLIGHT_MAX, random::Rng};

use super::{
    device::{Device, SYNC},
    is_long, knob,
    listener::Listener,
};
use crate::util::mosquitto::{self, Mosquitto, Setup};

const RATE_HZ: u32 = 200;

/// Says how many times.
const KILLS: &str = "ANDON_CHAOS_DEVICE_KILLS";

#[test]
fn a_device_that_is_killed_loses_nothing_that_it_took() {
    if !mosquitto::is_installed() {
        return;
    }
    let kills = knob(KILLS, 12);
    let promised = Duration::from_secs(5);
    let ready_within = if is_long(KILLS) { promised } else { 3 * promised };
    let folder = tempfile::tempdir().unwrap();
    let broker = Mosquitto::start(Setup::default());
    let listener = Listener::start(&[], "127.0.0.1", broker.port);
    let mut device = Device::new(folder.path(), format!("127.0.0.1:{}", broker.port), RATE_HZ);
    let mut random = Rng::new(kills, 2);
    let (mut slowest, mut allowed) = (Duration::ZERO, 0.0);
    for kill in 0..kills {
        let ready = device.start();
        println!("life {kill} ready after {ready:.0?}");
        slowest = slowest.max(ready);
        assert!(slowest <= ready_within, "ready after {slowest:?} in life {kill}: {}", device.stderr());
        let begin = Instant::now();
        thread::sleep(Duration::from_millis(random.below(1_500) as u64));
        device.kill();
        // What the broker acknowledged since the outbox last wrote that down, or never could: sent once more.
        let unwritten = (SYNC + Duration::from_millis(500)).min(begin.elapsed() + slowest);
        allowed += IN_FLIGHT_MAX as f64 + unwritten.as_secs_f64() * f64::from(RATE_HZ);
    }
    device.start();
    let said = device.be_quiet();
    listener.wait_for(&device.accepted(), Duration::from_secs(120));
    device.stop();
    let (code, heard) = listener.end();
    println!(
        "{said} messages over {kills} kills of the device, ready again within {slowest:?}: {} lost, {} came twice and were \
         dropped ({allowed:.0} would be as documented), {} inversions",
        heard.count("lost"),
        heard.count("duplicates"),
        heard.count("inversions")
    );
    assert_eq!((code, heard.count("lost"), heard.count("inversions")), (Some(0), 0, 0), "{:?}", heard.summary);
    assert_eq!((heard.count("told"), heard.count("resent")), (0, 0), "the broker was there all the while");
    assert!(heard.count("duplicates") as f64 <= allowed, "{} > {allowed}", heard.count("duplicates"));
    broker.assert_no_complaint();
}
