//! Notes and the messages that they led to: all of a group outlives the process, or nothing of it.

use std::{
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use andon::{
    publish::outbox::{Handover, Outbox, Settings},
    store::{Class, NOTE_BYTES_MAX, NOTES_MAX, Note},
};
use bytes::Bytes;

use super::{
    shim::{asked, fast_dir},
    thread::{drain, drain_until, entry, gap},
};
use crate::util::run::Dir;

fn note(key: &str, body: &str) -> Note {
    Note { key: key.to_owned(), body: Bytes::copy_from_slice(body.as_bytes()) }
}

fn start(path: &Path, sync: Duration) -> (Outbox, Arc<Handover>) {
    let handover = Arc::new(Handover::default());
    handover.lane().connected();
    let settings = Settings { sync, max_bytes: 4_000_000, ..Settings::new(path) };
    (Outbox::start(settings, Arc::clone(&handover), gap).unwrap(), handover)
}

/// Starts where another outbox was dropped a moment ago: as soon as that one has let go of the file.
#[track_caller]
fn start_again(path: &Path, sync: Duration) -> (Outbox, Arc<Handover>) {
    let give_up = Instant::now() + Duration::from_secs(60);
    loop {
        let (outbox, handover) = start(path, sync);
        while outbox.progress() == 0 {
            assert!(Instant::now() < give_up, "the outbox never opens its file");
            thread::sleep(Duration::from_millis(5));
        }
        let Some(trouble) = outbox.trouble() else { return (outbox, handover) };
        assert!(Instant::now() < give_up, "{trouble}");
        drop(outbox);
        thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until the outbox has committed so often.
#[track_caller]
fn wait_for_commits(outbox: &Outbox, count: u64) {
    let give_up = Instant::now() + Duration::from_secs(60);
    while outbox.counters().commits < count {
        assert!(Instant::now() < give_up, "{:?}", outbox.counters());
        thread::sleep(Duration::from_millis(5));
    }
}

fn left(outbox: &Outbox, key: &str) -> Option<String> {
    outbox.note(key).map(|body| String::from_utf8(body.to_vec()).unwrap())
}

#[test]
fn a_note_is_there_after_a_stop_and_after_an_end_without_one() {
    let dir = Dir::new();
    let path = dir.path("outbox.db");
    let (outbox, _handover) = start(&path, Duration::from_secs(60));
    assert_eq!(left(&outbox, "in"), None);
    outbox.push_all(vec![entry(Class::First, "a", "{\"n\":1}".into())], vec![note("in", "1"), note("b", "x")]).unwrap();
    outbox.push_all(Vec::new(), vec![note("in", "2")]).unwrap();
    assert!(outbox.stop(Duration::from_secs(10)));
    let (outbox, _handover) = start(&path, Duration::from_secs(60));
    assert_eq!((left(&outbox, "in").as_deref(), left(&outbox, "b").as_deref()), (Some("2"), Some("x")));
    outbox.push_all(vec![entry(Class::Middle, "a", "{\"n\":2}".into())], vec![note("in", "3"), note("b", "")]).unwrap();
    assert_eq!(left(&outbox, "in").as_deref(), Some("2"), "it is what an earlier process left");
    // As after a kill: nothing is committed at the end.
    drop(outbox);
    let (outbox, handover) = start_again(&path, Duration::from_millis(10));
    assert_eq!((left(&outbox, "in").as_deref(), left(&outbox, "b")), (Some("3"), None));
    assert_eq!(drain_until(&handover, true, 2).len(), 2);
}

#[test]
fn notes_alone_wait_for_a_commit_and_are_written_once() {
    let dir = Dir::new();
    let (outbox, _handover) = start(&dir.path("outbox.db"), Duration::from_millis(500));
    assert_eq!(left(&outbox, "in"), None);
    let begin = Instant::now();
    for n in 0..50 {
        outbox.push_all(Vec::new(), vec![note("in", &format!("{n:04000}"))]).unwrap();
        thread::sleep(Duration::from_millis(10));
    }
    wait_for_commits(&outbox, 1);
    let (commits, took) = (outbox.counters().commits, begin.elapsed());
    assert!((1..=1 + took.as_millis() as u64 / 500).contains(&commits), "{commits} commits in {took:?}");
    assert_eq!(outbox.counters().pushed, 0, "notes are no messages");
}

#[test]
fn many_notes_at_once_are_committed_earlier_and_the_newest_stays() {
    let dir = Dir::new();
    let path = dir.path("outbox.db");
    let (outbox, _handover) = start(&path, Duration::from_secs(60));
    assert_eq!(left(&outbox, "in"), None);
    let begin = Instant::now();
    for n in 0..60 {
        outbox.push_all(Vec::new(), vec![note("in", &format!("{n:060000}"))]).unwrap();
        // Twenty of them are more than a megabyte, and the time for a commit has not come for a minute.
        if n % 20 == 19 {
            wait_for_commits(&outbox, (n + 1) / 20);
        }
    }
    assert!(begin.elapsed() < Duration::from_secs(60), "it was the time, not the amount");
    // So much at once may be more than the intake takes; when the message is safe from the end of the process, all before is.
    outbox.push_all(vec![entry(Class::Middle, "a", "{}".into())], vec![note("in", &format!("{:060000}", 60))]).unwrap();
    let give_up = Instant::now() + Duration::from_secs(50);
    while outbox.counters().taken == 0 {
        assert!(Instant::now() < give_up, "{:?}", outbox.counters());
        thread::sleep(Duration::from_millis(5));
    }
    drop(outbox);
    let (outbox, _handover) = start_again(&path, Duration::from_secs(60));
    assert_eq!(left(&outbox, "in").map(|text| text.trim_start_matches('0').to_owned()), Some("60".to_owned()));
}

#[test]
fn notes_are_bounded_and_a_group_that_is_not_is_not_taken() {
    let dir = Dir::new();
    let path = dir.path("outbox.db");
    let (outbox, _handover) = start(&path, Duration::from_secs(60));
    assert_eq!(left(&outbox, "1"), None);
    for n in 0..NOTES_MAX {
        outbox.push_all(Vec::new(), vec![note(&n.to_string(), "x")]).unwrap();
    }
    let event = || vec![entry(Class::Middle, "a", "{}".into())];
    let error = outbox.push_all(event(), vec![note("more", "x")]).unwrap_err();
    assert!(error.to_string().contains("the note \"more\" cannot be kept: 64 other keys have one"), "{error}");
    outbox.push_all(Vec::new(), vec![note("0", "")]).unwrap();
    outbox.push_all(event(), vec![note("more", "x")]).unwrap();
    assert!(outbox.push_all(event(), vec![note("1", &"x".repeat(NOTE_BYTES_MAX + 1))]).is_err());
    assert!(outbox.push_all(event(), vec![note("", "x")]).is_err());
    let wrong = vec![entry(Class::Middle, "a", "{}".into()), entry(Class::Middle, "a/#", "{}".into())];
    assert!(outbox.push_all(wrong, vec![note("1", "y")]).is_err());
    assert_eq!(outbox.counters().pushed, 1);
    drop(outbox);
    let (outbox, _handover) = start_again(&path, Duration::from_secs(60));
    assert_eq!((left(&outbox, "1").as_deref(), left(&outbox, "0")), (Some("x"), None));
}

/// The time that a share of calls does not exceed, in microseconds.
fn quantile(times: &mut [Duration], share: f64) -> f64 {
    times.sort();
    times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6
}

/// `ANDON_LATENCY_ALARMS=1000 cargo test --test main outbox::notes::hand -- --nocapture` prints figures of this machine.
#[test]
fn handing_in_never_waits_for_the_disk() {
    // The database on the disk, what survives the process only in memory, as the service has it.
    let (disk, memory) = (tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap(), fast_dir());
    let handover = Arc::new(Handover::default());
    handover.lane().connected();
    let intake = Some(memory.path().join("outbox.intake"));
    let settings = Settings { intake, ..Settings::new(disk.path().join("outbox.db")) };
    let outbox = Outbox::start(settings, Arc::clone(&handover), gap).unwrap();
    assert_eq!(left(&outbox, "in"), None);
    let alarms = asked("ANDON_LATENCY_ALARMS", 150);
    let (mut handed, mut ready) = (Vec::new(), Vec::new());
    for n in 0..alarms {
        let alarm = entry(Class::First, "alarm", format!("{{\"n\":{n},\"x\":\"{}\"}}", "x".repeat(400)));
        let notes = vec![note("in", &format!("{n:04000}"))];
        let begin = Instant::now();
        outbox.push_all(vec![alarm], notes).unwrap();
        handed.push(begin.elapsed());
        assert_eq!(outbox.counters().taken, n + 1, "the end of the process costs it no more");
        // While that is being committed, others go on.
        for _ in 0..3 {
            let begin = Instant::now();
            outbox.push_all(Vec::new(), vec![note("in", &format!("{n:04000}"))]).unwrap();
            handed.push(begin.elapsed());
        }
        while drain(&handover, true).is_empty() {
            thread::sleep(Duration::from_micros(50));
        }
        ready.push(begin.elapsed());
        thread::sleep(Duration::from_millis(10));
    }
    let [p50, p99] = [0.5, 0.99].map(|share| quantile(&mut handed, share));
    println!("handing in: p50 {p50:.0} us, p99 {p99:.0} us of {}", handed.len());
    let [ready_p50, ready_p99] = [0.5, 0.99].map(|share| quantile(&mut ready, share) / 1e3);
    println!("alarm handed in to ready for the connection: p50 {ready_p50:.2} ms, p99 {ready_p99:.2} ms of {alarms}");
    assert_eq!(outbox.trouble(), None);
    // A machine that does other things now and then takes its time; the disk would take its time every time.
    assert!(p50 < 200.0, "handing in takes {p50} us");
}
