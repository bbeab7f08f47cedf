//! The wall clock jumps while the daemon runs: messages follow it, and nothing else does.

use std::{fs, path::PathBuf};

use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::util::notify::Manager;

/// The daemon counts as late in following the clock, or as stalled, after this: a busy machine may stop it for seconds, and
/// one that waits for the clock to come back does so for a day.
const AT_ONCE: Duration = Duration::from_secs(10);

/// `WatchdogSec=` in these tests.
const PERIOD: Duration = Duration::from_secs(4);

/// A clock that can be set for one process.
struct Clock {
    library: PathBuf,
    file: PathBuf,
}

impl Clock {
    /// A clock that shows this, in libfaketime's words; `None`, and a word, where libfaketime is not installed.
    fn new(dir: &Dir, time: &str) -> Option<Self> {
        let folders = glob::glob("/usr/lib/*/faketime/libfaketimeMT.so.1").unwrap();
        let Some(Ok(library)) = folders.into_iter().next() else {
            println!("skipped: install faketime to run this test");
            return None;
        };
        let clock = Self { library, file: dir.path("clock") };
        clock.set(time);
        Some(clock)
    }

    fn set(&self, time: &str) {
        let new = self.file.with_extension("new");
        fs::write(&new, time).unwrap();
        fs::rename(new, &self.file).unwrap();
    }

    fn govern<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("LD_PRELOAD", &self.library).env("FAKETIME_TIMESTAMP_FILE", &self.file);
        command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("FAKETIME_NO_CACHE", "1")
    }
}

fn time(message: &Value, key: &str) -> Timestamp {
    message[key].as_str().unwrap_or_else(|| panic!("no {key} in {message}")).parse().unwrap()
}

fn seq(message: &Value) -> u64 {
    message["frame"]["seq"].as_u64().unwrap()
}

fn near(a: Timestamp, b: Timestamp) -> bool {
    a.duration_since(b).abs() < SignedDuration::from_secs(60)
}

/// Follows the messages until one is from near that time, and a second longer; all of them in order and none late.
#[track_caller]
fn follow(subscriber: &Subscriber, last: &mut Value, expected: impl Fn() -> Timestamp) {
    let start = Instant::now();
    let mut there_at = None;
    while there_at.is_none_or(|at: Instant| at.elapsed() < Duration::from_secs(1)) {
        let heard = subscriber.wait_for(AT_ONCE, "the line goes on", is_detections);
        let message = json(&heard);
        assert_eq!(
            seq(&message),
            seq(last) + 1 + message["frame"]["dropped"].as_u64().unwrap(),
            "{message} after {last}"
        );
        let age = time(&message, "published_at").duration_since(time(&message, "captured_at"));
        assert!(SignedDuration::ZERO <= age && age < SignedDuration::from_secs(10), "{message}");
        let is_there = near(time(&message, "published_at"), expected());
        match there_at {
            None if is_there => there_at = Some(Instant::now()),
            None => assert!(start.elapsed() < AT_ONCE, "the message does not follow the clock: {message}"),
            Some(_) => assert!(is_there, "{message}"),
        }
        *last = message;
    }
}

/// Everything that was said to systemd until now: it was fed all the time.
#[track_caller]
fn assert_fed(manager: &Manager, times: usize) {
    let mut fed = 0;
    while let Some(said) = manager.next(Duration::from_millis(1)) {
        assert!(!said.iter().any(|line| line == "WATCHDOG=trigger"), "{said:?}");
        fed += said.iter().filter(|line| *line == "WATCHDOG=1").count();
    }
    assert!(fed >= times, "fed {fed} times, not {times}");
}

#[test]
fn a_clock_that_jumps_moves_what_is_said_and_nothing_else() {
    if !mosquitto::is_installed() {
        return;
    }
    let broker = Mosquitto::start(Setup::default());
    let line = Line::new(broker.port, "");
    line.configure(broker.port, "source = \"shots\"\nrate = 20\nloop = true", "");
    let Some(clock) = Clock::new(&line.dir, "+0") else { return };
    let manager = Manager::new(&line.dir);
    let (detections, states) = (broker.subscribe("andon/box/in/detections"), broker.subscribe("andon/box/in/status"));
    let mut daemon = line.start_with(|command| manager.manage(clock.govern(command), Some(PERIOD)));
    wait_for_state(&states, "andon/box/in/status", "live");
    let start = Instant::now();
    let mut last = json(&detections.wait_for(SOON, "detections", is_detections));

    let day = SignedDuration::from_hours(24);
    let real = Timestamp::now;
    for (set, offset) in [("+1d", day), ("-1d", -day), ("+0", SignedDuration::ZERO)] {
        clock.set(set);
        follow(&detections, &mut last, || real() + offset);
    }
    clock.set("@1970-01-01 00:01:00");
    follow(&detections, &mut last, || Timestamp::UNIX_EPOCH + SignedDuration::from_mins(1));
    clock.set("-1d");
    follow(&detections, &mut last, || real() - day);
    assert_eq!(states.next(Duration::from_millis(1)), None, "the camera was live all the time");
    assert_fed(&manager, (start.elapsed().as_secs() / PERIOD.as_secs()) as usize);

    // What happens then has its time.
    fs::rename(line.dir.path("shots"), line.dir.path("away")).unwrap();
    let absent = wait_for_state(&states, "andon/box/in/status", "absent");
    fs::rename(line.dir.path("away"), line.dir.path("shots")).unwrap();
    let live = wait_for_state(&states, "andon/box/in/status", "live");
    assert!(near(time(&absent, "since"), real() - day) && near(time(&live, "since"), real() - day), "{absent} {live}");
    assert!(time(&live, "since") > time(&absent, "since"));
    daemon.signal("TERM");
    assert_eq!(daemon.wait(), Some(0));
}

/// A box without a battery for its clock: it begins in 1970, and the time comes when there is a network.
#[test]
fn a_box_that_starts_in_1970_goes_on_when_the_time_comes() {
    if !mosquitto::is_installed() {
        return;
    }
    let broker = Mosquitto::start(Setup::default());
    let line = Line::new(broker.port, "");
    line.configure(broker.port, "source = \"shots\"\nrate = 20\nloop = true", "");
    let Some(clock) = Clock::new(&line.dir, "@1970-01-01 00:00:10") else { return };
    let manager = Manager::new(&line.dir);
    let (detections, states) = (broker.subscribe("andon/box/in/detections"), broker.subscribe("andon/box/in/status"));
    let _daemon = line.start_with(|command| manager.manage(clock.govern(command), Some(PERIOD)));
    let live = wait_for_state(&states, "andon/box/in/status", "live");
    assert!(near(time(&live, "since"), Timestamp::UNIX_EPOCH + SignedDuration::from_secs(10)), "{live}");
    let start = Instant::now();
    let mut last = json(&detections.wait_for(SOON, "detections", is_detections));
    follow(&detections, &mut last, || Timestamp::UNIX_EPOCH + SignedDuration::from_secs(10));
    clock.set("+0");
    follow(&detections, &mut last, Timestamp::now);
    assert_eq!(states.next(Duration::from_millis(1)), None, "the camera was live all the time");
    assert_fed(&manager, (start.elapsed().as_secs() / PERIOD.as_secs()) as usize);
}
