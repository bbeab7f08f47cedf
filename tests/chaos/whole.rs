//! The whole program, `andon run`, with its camera, model and outbox: killed in turns with the broker that it publishes to.

use std::{
    process::Child,
    thread,
    time::{Duration, Instant},
};

use andon::random::Rng;
use jiff::Timestamp;

use super::{knob, listener::Listener, wait_until};
use crate::util::{
    mosquitto::{self, Mosquitto, Setup},
    run::{Dir, GREEN, RED},
    tiny_yolo::{Head, TinyYolo},
};

/// Things in the picture, each of which is another one in the next picture: so many events.
const THINGS: u32 = 12;
/// Pictures in a second.
const RATE_HZ: u32 = 20;

/// A folder with all that a daemon needs.
struct Line {
    dir: Dir,
    port: u16,
}

impl Line {
    fn new(port: u16) -> Self {
        let line = Self { dir: Dir::new(), port };
        line.dir.tiny_yolo("squares.onnx", TinyYolo { head: Head::EndToEnd, ..TinyYolo::default() });
        for (folder, name, colour) in [("busy", "a", RED), ("busy", "b", GREEN), ("calm", "a", RED)] {
            let cells: Vec<_> = (0..THINGS).map(|n| (n % 4 * 2, n / 4 * 2, colour)).collect();
            line.dir.squares(&format!("{folder}/{name}.png"), (64, 64), &cells);
        }
        line
    }

    /// Starts the daemon in front of the pictures of a folder, again and again.
    fn start(&self, folder: &str) -> Running {
        let Self { dir, port } = self;
        dir.write(
            "andon.toml",
            format!(
                "[device]\nid = \"box\"\n[model]\npath = \"squares.onnx\"\nthreads = 1\n[[camera]]\nid = \"in\"\n\
                 source = \"{folder}\"\nrate = {RATE_HZ}\nloop = true\n[mqtt]\nport = {port}\npublish = \"events\"\n\
                 commands = [\"resend\"]\n[outbox]\npath = \"outbox.db\"\n"
            ),
        );
        // Nobody reads its log.
        let command = dir.andon(&["run", "--config", "andon.toml"]).with(|command| command.env("ANDON_LOG", "off"));
        Running(command.start())
    }
}

/// A daemon, killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _gone_already = self.0.kill();
        let _status = self.0.wait();
    }
}

#[test]
fn every_event_of_the_line_arrives_whoever_is_killed() {
    if !mosquitto::is_installed() {
        return;
    }
    let kills = knob("ANDON_CHAOS_WHOLE_KILLS", 6);
    let mut broker = Mosquitto::start(Setup::default());
    let line = Line::new(broker.port);
    let listener = Listener::start(&[], "127.0.0.1", broker.port);
    let mut daemon = line.start("busy");
    let mut random = Rng::new(kills, 3);
    let begin = Instant::now();
    for kill in 0..kills {
        let before = listener.numbered();
        let comes_through = || listener.numbered() > before + 10;
        wait_until(Duration::from_secs(30), || format!("nothing comes through before kill {kill}"), comes_through);
        thread::sleep(Duration::from_millis(random.below(700) as u64));
        if random.chance(50) {
            broker.kill();
            thread::sleep(Duration::from_millis(random.below(500) as u64));
            broker.start_again();
        } else {
            drop(daemon);
            daemon = line.start("busy");
        }
    }
    let took = begin.elapsed();
    // In front of a picture that stays the same, nothing is said that was not said before.
    drop(daemon);
    let since = Timestamp::now();
    let calm = line.start("calm");
    wait_until(Duration::from_secs(90), || listener.gaps(), || listener.is_complete(since));
    drop(calm);
    let (code, heard) = listener.end();
    println!(
        "{} events over {kills} kills of daemon or broker in {took:.0?}: {} had to be sent again, {} came twice and were \
         dropped",
        heard.count("messages"),
        heard.count("resent"),
        heard.count("duplicates")
    );
    assert_eq!((code, heard.count("lost"), heard.count("told")), (Some(0), 0, 0), "{:?}", heard.summary);
    assert!(heard.count("messages") > kills * 10, "{:?}", heard.summary);
    broker.assert_no_complaint();
}
