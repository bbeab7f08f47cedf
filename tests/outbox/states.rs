//! The newest message of a retained topic is how things are: it is never given up, and said again at every connection.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use andon::{
    publish::outbox::{Handover, Outbox, Settings},
    store::{Class, Entry},
};

use super::thread::{Sent, drain, drain_until, entry, gap};
use crate::util::run::Dir;

fn state(topic: &str, n: u64) -> Entry {
    Entry { retain: true, ..entry(Class::Middle, topic, format!("{{\"n\":{n}}}")) }
}

fn start(path: &Path) -> (Outbox, Arc<Handover>) {
    let handover = Arc::new(Handover::default());
    let settings = Settings { sync: Duration::ZERO, max_bytes: 600 * 1024, ..Settings::new(path) };
    (Outbox::start(settings, Arc::clone(&handover), gap).unwrap(), handover)
}

/// A new connection; gives what comes until nothing more does. At least one message has to. What waited and is a state as well
/// may come twice in a row, where it is sent before the states are: of a topic, that is one message. By topic, and within one
/// in their order.
#[track_caller]
fn connect(handover: &Handover, acknowledge: bool) -> Vec<Sent> {
    handover.lane().disconnected();
    handover.lane().connected();
    handover.ring_outbox();
    let mut sent = drain_until(handover, acknowledge, 1);
    let mut quiet = 0;
    while quiet < 40 {
        thread::sleep(Duration::from_millis(10));
        let more = drain(handover, acknowledge);
        quiet = if more.is_empty() { quiet + 1 } else { 0 };
        sent.extend(more);
    }
    let mut last = BTreeMap::new();
    sent.retain(|(topic, text)| last.insert(topic.clone(), text.clone()).as_ref() != Some(text));
    sent.sort_by(|(a, _), (b, _)| a.cmp(b));
    sent
}

/// Waits until the last message of a topic has this number.
#[track_caller]
fn wait_until_numbered(outbox: &Outbox, topic: &str, last: u64) {
    let give_up = Instant::now() + Duration::from_secs(60);
    while !outbox.last_seqs().iter().any(|(known, _, seq)| known == topic && *seq == last) {
        assert!(Instant::now() < give_up, "{:?}", outbox.last_seqs());
        thread::sleep(Duration::from_millis(5));
    }
}

fn told(sent: &[Sent]) -> Vec<(&str, u64, bool)> {
    let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    let number = |text: &str| parse(text)["n"].as_u64().unwrap();
    sent.iter().map(|(topic, text)| (topic.as_str(), number(text), parse(text)["replayed"] == true)).collect()
}

#[test]
fn a_new_connection_gets_every_state_again_and_no_older_one_behind_it() {
    let dir = Dir::new();
    let path = dir.path("outbox.db");
    let (outbox, handover) = start(&path);
    assert!(outbox.retained().is_empty());
    handover.lane().connected();
    for n in 1..=3 {
        outbox.push(state("a", n)).unwrap();
        outbox.push(state("b", n)).unwrap();
        outbox.push(entry(Class::Middle, "events", format!("{{\"n\":{n}}}"))).unwrap();
    }
    drain_until(&handover, true, 9);
    assert_eq!(told(&connect(&handover, true)), [("a", 3, true), ("b", 3, true)]);
    // One that waits is sent anyway, and comes once.
    outbox.push(state("b", 4)).unwrap();
    drain_until(&handover, false, 1);
    assert_eq!(told(&connect(&handover, false)), [("a", 3, true), ("b", 4, true)]);
    assert_eq!(outbox.retained(), ["a", "b"]);
    assert!(outbox.stop(Duration::from_secs(10)));

    let (outbox, handover) = start(&path);
    assert_eq!(outbox.retained(), ["a", "b"]);
    let mut after_a_restart = connect(&handover, true);
    after_a_restart.sort();
    assert_eq!(told(&after_a_restart), [("a", 3, true), ("b", 4, true)]);
    // Acknowledged out of order: the newer one must come again behind the older.
    outbox.push(state("a", 4)).unwrap();
    outbox.push(state("a", 5)).unwrap();
    let mut keys = Vec::new();
    while keys.len() < 2 {
        keys.extend(handover.lane().next_other().map(|(_, _, key)| key));
    }
    handover.lane().acknowledged(keys[1]);
    let (of_a, of_b): (Vec<_>, Vec<_>) = connect(&handover, true).into_iter().partition(|(topic, _)| topic == "a");
    assert_eq!(told(&of_a), [("a", 4, true), ("a", 5, true)]);
    assert_eq!(told(&of_b), [("b", 4, true)]);
}

#[test]
fn a_full_outbox_gives_up_older_messages_and_no_state() {
    let dir = Dir::new();
    let path = dir.path("outbox.db");
    let (outbox, handover) = start(&path);
    outbox.push(state("a", 1)).unwrap();
    outbox.push(state("b", 1)).unwrap();
    for n in 0..400 {
        outbox.push(entry(Class::Middle, "events", format!("{{\"n\":{n},\"x\":\"{}\"}}", "x".repeat(5000)))).unwrap();
        outbox.push(state("b", n + 2)).unwrap();
        // More than this at once may be lost on the way in where the disk is slow.
        if n % 20 == 0 || n == 399 {
            wait_until_numbered(&outbox, "b", n + 2);
        }
    }
    for _ in 0..2 {
        let sent = connect(&handover, true);
        let a: Vec<_> = sent.iter().filter(|(topic, _)| topic == "a").collect();
        assert_eq!(a.len(), 1, "{a:?}");
        assert!(a[0].1.contains("\"n\":1,") && a[0].1.contains("\"seq\":1,\"replayed\":true"), "{a:?}");
        let last = sent.iter().rfind(|(topic, _)| topic == "b").unwrap();
        assert!(last.1.contains("\"n\":401,"), "{last:?}");
    }
    assert!(outbox.stop(Duration::from_secs(10)));
    let (outbox, handover) = start(&path);
    let sent = connect(&handover, true);
    assert!(sent.iter().any(|(topic, text)| topic == "a" && text.contains("\"n\":1,")), "{sent:?}");
    // What was put aside goes when there is a newer one.
    outbox.push(state("a", 2)).unwrap();
    drain_until(&handover, true, 1);
    let of_a = connect(&handover, true).into_iter().filter(|(topic, _)| topic == "a").collect::<Vec<_>>();
    assert_eq!(told(&of_a), [("a", 2, true)]);
}

#[test]
fn a_topic_that_is_forgotten_is_said_to_be_empty_once() {
    let dir = Dir::new();
    let path = dir.path("outbox.db");
    let (outbox, handover) = start(&path);
    handover.lane().connected();
    outbox.push(state("box/alarm/a", 1)).unwrap();
    outbox.push(state("box/alarm/b", 1)).unwrap();
    drain_until(&handover, true, 2);
    assert!(!outbox.forget("box/alarm/c").unwrap());
    assert!(outbox.forget("box/alarm/a").unwrap());
    assert_eq!(drain_until(&handover, true, 1), [("box/alarm/a".to_owned(), String::new())]);
    assert_eq!(told(&connect(&handover, true)), [("box/alarm/b", 1, true)]);
    assert!(outbox.stop(Duration::from_secs(10)));
    let (outbox, handover) = start(&path);
    assert_eq!(outbox.retained(), ["box/alarm/b"]);
    assert_eq!(told(&connect(&handover, true)), [("box/alarm/b", 1, true)]);
}
