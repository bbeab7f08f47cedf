//! The broker is killed again and again, and has kept nothing.

use std::{thread, time::Duration};

use andon::random::Rng;

use super::{device::Device, knob, listener::Listener, wait_until};
use crate::util::mosquitto::{self, Mosquitto, Setup};

#[test]
fn a_broker_that_forgets_everything_costs_no_message() {
    if !mosquitto::is_installed() {
        return;
    }
    let kills = knob("ANDON_CHAOS_KILLS", 6);
    let messages = knob("ANDON_CHAOS_MESSAGES", 2_000);
    let folder = tempfile::tempdir().unwrap();
    let mut broker = Mosquitto::start(Setup::default());
    let listener = Listener::start(&[], "127.0.0.1", broker.port);
    let mut device = Device::new(folder.path(), format!("127.0.0.1:{}", broker.port), 250);
    device.start();
    let mut random = Rng::new(kills, 1);
    for kill in 0..kills {
        let before = listener.count();
        wait_until(
            Duration::from_secs(30),
            || format!("nothing comes through before kill {kill}: {}", device.stderr()),
            || listener.count() > before,
        );
        thread::sleep(Duration::from_millis(random.below(700) as u64));
        broker.kill();
        thread::sleep(Duration::from_millis(random.below(500) as u64));
        broker.start_again();
    }
    wait_until(Duration::from_secs(600), || "too little is said".into(), || device.accepted().len() >= messages);
    let said = device.be_quiet();
    listener.wait_for(&device.accepted(), Duration::from_secs(120));
    device.stop();
    let (code, heard) = listener.end();
    println!(
        "{said} messages over {kills} kills of the broker: {} had to be sent again, since it had forgotten them or the \
         listener was not back yet; {} came twice and were dropped, {} inversions",
        heard.count("resent"),
        heard.count("duplicates"),
        heard.count("inversions")
    );
    assert_eq!((code, heard.count("lost"), heard.count("inversions")), (Some(0), 0, 0), "{:?}", heard.summary);
    assert_eq!(heard.count("told"), 0, "nothing had to be given up");
    assert_eq!(heard.things.len(), said, "each exactly once");
    broker.assert_no_complaint();
}
