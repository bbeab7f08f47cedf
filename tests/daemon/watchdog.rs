//! systemd's watchdog: fed while every part goes on, whatever is absent or away; not fed when one part hangs.

use super::*;
use crate::util::{freeze::Frozen, notify::Manager};

/// `WatchdogSec=` in these tests.
const PERIOD: Duration = Duration::from_secs(4);

/// A part may be silent for as long as systemd waits; so much later it is noticed at most, on a busy machine.
const NOTICED_WITHIN: Duration = Duration::from_secs(2);

/// A daemon that is ready, with a camera and without a broker.
fn start(line: &Line, manager: &Manager) -> Daemon {
    let daemon = line.start_with(|command| manager.manage(command, Some(PERIOD)));
    manager.wait_for(SOON, "READY=1");
    manager.wait_for(PERIOD, "WATCHDOG=1");
    daemon
}

/// Stops a thread, and waits until the daemon asks for its end; gives how long after that it was fed last, and what was
/// told to `systemctl status` last.
fn hang(thread: &str) -> Option<(Duration, String)> {
    let line = Line::new(1, "");
    let manager = Manager::new(&line.dir);
    let daemon = start(&line, &manager);
    let _frozen = Frozen::thread(daemon.process.id(), thread)?;
    let hangs_since = Instant::now();
    let (mut fed_last, mut status) = (Duration::ZERO, String::new());
    while let Some(said) = manager.next(PERIOD + NOTICED_WITHIN) {
        for line in said {
            match line.split_once('=') {
                Some(("WATCHDOG", "1")) => fed_last = hangs_since.elapsed(),
                Some(("WATCHDOG", "trigger")) => {
                    println!(
                        "\"{thread}\" hangs: fed last after {fed_last:?}, given up after {:?}",
                        hangs_since.elapsed()
                    );
                    return Some((fed_last, status));
                }
                Some(("STATUS", words)) => status = words.to_owned(),
                _ => {}
            }
        }
        assert!(hangs_since.elapsed() < 3 * PERIOD, "\"{thread}\" hangs, and nobody notices");
    }
    println!("\"{thread}\" hangs: fed last after {fed_last:?}, and then silence");
    Some((fed_last, status))
}

#[track_caller]
fn assert_noticed(thread: &str, part: &str) {
    if let Some((fed_last, status)) = hang(thread) {
        assert!(fed_last <= PERIOD + NOTICED_WITHIN, "fed {fed_last:?} after the hang");
        assert!(status.contains(&format!("{part} hangs")), "{status}");
    }
}

#[test]
fn a_camera_that_hangs_is_noticed() {
    assert_noticed("camera in", "camera \"in\"");
}

#[test]
fn a_detector_that_hangs_is_noticed() {
    assert_noticed("model default", "model \"default\"");
}

#[test]
fn a_network_that_hangs_is_noticed() {
    assert_noticed("network", "the network");
}

/// A disk that does not answer is no reason to start again: no other process would get an answer either.
#[test]
fn an_outbox_whose_disk_is_silent_is_said_and_no_hang() {
    let line = Line::new(1, "");
    let manager = Manager::new(&line.dir);
    let daemon = start(&line, &manager);
    let Some(_frozen) = Frozen::thread(daemon.process.id(), "outbox") else { return };
    let frozen_at = Instant::now();
    let (mut is_said, mut fed_after) = (false, Duration::ZERO);
    while frozen_at.elapsed() < 3 * PERIOD {
        for line in manager.next(PERIOD).expect("systemd would have ended it") {
            assert_ne!(line, "WATCHDOG=trigger");
            is_said |= line.starts_with("STATUS=") && line.contains("disk does not answer");
            if line == "WATCHDOG=1" {
                fed_after = frozen_at.elapsed();
            }
        }
    }
    assert!(is_said && fed_after > 2 * PERIOD, "said: {is_said}, fed last after {fed_after:?}");
}

/// Nobody is left to say so: systemd hears nothing more.
#[test]
fn a_supervisor_that_hangs_feeds_nothing() {
    if let Some((fed_last, _)) = hang("andon") {
        assert!(fed_last <= Duration::from_millis(500), "fed {fed_last:?} after the hang");
    }
}

/// As systemd does: ends the process when it asks for it or was not fed in time, and starts it again.
#[test]
fn a_hang_is_over_within_the_period_and_five_seconds() {
    const RESTART: Duration = Duration::from_secs(2);
    const OVER_WITHIN: Duration = Duration::from_secs(5);
    for thread in ["model default", "andon"] {
        let line = Line::new(1, "");
        let manager = Manager::new(&line.dir);
        let before = Instant::now();
        let mut daemon = start(&line, &manager);
        // Both starts take longer on a busy machine, which is no matter of the watchdog.
        let start_takes = before.elapsed();
        let Some(frozen) = Frozen::thread(daemon.process.id(), thread) else { return };
        let hangs_since = Instant::now();
        let mut fed_at = hangs_since;
        while let Some(said) = manager.next(PERIOD.saturating_sub(fed_at.elapsed())) {
            if said.iter().any(|line| line == "WATCHDOG=trigger") {
                break;
            }
            if said.iter().any(|line| line == "WATCHDOG=1") {
                fed_at = Instant::now();
            }
        }
        // A thread that is traced would keep the process from ending.
        drop(frozen);
        daemon.signal("ABRT");
        assert_eq!(daemon.wait(), None, "ended by the signal");
        thread::sleep(RESTART);
        let _again = start(&line, &manager);
        let over_after = hangs_since.elapsed();
        println!("\"{thread}\" hangs: the line is watched again after {over_after:?}, WatchdogSec={PERIOD:?}");
        assert!(over_after <= PERIOD + OVER_WITHIN + 2 * start_takes, "{over_after:?}");
    }
}

#[test]
fn what_is_absent_or_away_is_no_hang() {
    let line = Line::new(1, "");
    line.configure(1, "source = \"nowhere\"", "");
    let manager = Manager::new(&line.dir);
    let daemon = start(&line, &manager);
    let until = Instant::now() + 3 * PERIOD;
    let mut fed_at = Instant::now();
    while Instant::now() < until {
        let said = manager.next(PERIOD).expect("systemd would have ended it");
        assert!(!said.iter().any(|line| line == "WATCHDOG=trigger"), "{said:?}");
        if said.iter().any(|line| line == "WATCHDOG=1") {
            assert!(fed_at.elapsed() < PERIOD, "not fed for {:?}", fed_at.elapsed());
            fed_at = Instant::now();
        }
    }
    assert!(fed_at.elapsed() < PERIOD, "not fed for {:?}", fed_at.elapsed());
    drop(daemon);
}
