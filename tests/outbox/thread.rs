//! What goes in comes out, in order and numbered, over restarts; the lane is emptied here as a connection would.

use std::{
    path::Path,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use andon::{
    publish::outbox::{Again, Handover, Outbox, Resent, Settings, lane::Key},
    store::{Class, Entry, Loss},
};
use bytes::Bytes;
use jiff::Timestamp;

use crate::util::run::Dir;

/// A message of a topic.
pub fn entry(class: Class, topic: &str, body: String) -> Entry {
    let numbered = class != Class::Last;
    Entry {
        class,
        topic: topic.to_owned(),
        retain: false,
        numbered,
        body: Bytes::from(body),
        made_at: Timestamp::now(),
    }
}

/// Tells of a loss so that a test can read it.
pub fn gap(loss: &Loss) -> Entry {
    let Loss { topic, epoch, from, to, reason } = loss;
    let body = serde_json::json!({"topic": topic, "of": epoch, "from": from, "to": to, "reason": reason.name()});
    entry(Class::First, "box/gap", body.to_string())
}

/// What came out: class, topic, payload.
pub type Sent = (String, String);

/// Sends what waits in the lane as a connection would, and acknowledges it where asked to.
pub fn drain(handover: &Handover, acknowledge: bool) -> Vec<Sent> {
    let mut sent = Vec::new();
    let mut lane = handover.lane();
    while let Some((outgoing, _again, key)) = lane.next_first().or_else(|| lane.next_other()) {
        sent.push((outgoing.topic().to_owned(), String::from_utf8(outgoing.payload().to_vec()).unwrap()));
        if acknowledge || key == Key::Again {
            lane.acknowledged(key);
        }
    }
    drop(lane);
    handover.ring_outbox();
    sent
}

/// Waits until so many messages came out.
pub fn drain_until(handover: &Handover, acknowledge: bool, count: usize) -> Vec<Sent> {
    let mut sent = Vec::new();
    let end = Instant::now() + Duration::from_secs(20);
    while sent.len() < count {
        assert!(Instant::now() < end, "{} of {count} came: {sent:?}", sent.len());
        sent.extend(drain(handover, acknowledge));
        thread::sleep(Duration::from_millis(2));
    }
    sent
}

fn start(path: &Path, sync: f64) -> (Outbox, Arc<Handover>) {
    let handover = Arc::new(Handover::default());
    handover.lane().connected();
    let settings = Settings { sync: Duration::from_secs_f64(sync), max_bytes: 4_000_000, ..Settings::new(path) };
    (Outbox::start(settings, Arc::clone(&handover), gap).unwrap(), handover)
}

fn seqs(sent: &[Sent]) -> Vec<(String, u64)> {
    let seq = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap()["seq"].as_u64().unwrap();
    sent.iter().map(|(topic, text)| (topic.clone(), seq(text))).collect()
}

#[test]
fn the_outbox_sends_all_in_order_and_again_what_was_not_acknowledged() {
    let dir = Dir::new();
    let path = dir.path("state/outbox.db");
    let (outbox, handover) = start(&path, 0.05);
    for n in 0..300 {
        outbox.push(entry(Class::Middle, "a", format!("{{\"n\":{n}}}"))).unwrap();
    }
    outbox.push(entry(Class::First, "alarm", "{\"n\":0}".to_owned())).unwrap();
    let sent = drain_until(&handover, true, 301);
    let of_a: Vec<u64> = seqs(&sent).into_iter().filter(|(topic, _)| topic == "a").map(|(_, seq)| seq).collect();
    assert_eq!(of_a, (1..=300).collect::<Vec<_>>());
    assert_eq!(outbox.trouble(), None);
    outbox.push(entry(Class::Middle, "a", "{\"n\":0}".to_owned())).unwrap();
    assert_eq!(seqs(&drain_until(&handover, false, 1)), [("a".to_owned(), 301)]);
    let (progress, last) = (outbox.progress(), outbox.last_seqs());
    assert!(progress > 0);
    assert_eq!(
        last.iter().map(|(topic, _, seq)| (topic.as_str(), *seq)).collect::<Vec<_>>(),
        [("a", 301), ("alarm", 1)]
    );
    assert!(outbox.stop(Duration::from_secs(10)));

    let (outbox, handover) = start(&path, 0.05);
    assert_eq!(seqs(&drain_until(&handover, true, 1)), [("a".to_owned(), 301)]);
    outbox.push(entry(Class::Middle, "a", "{\"n\":0}".to_owned())).unwrap();
    assert_eq!(seqs(&drain_until(&handover, true, 1)), [("a".to_owned(), 302)]);
    assert_eq!(outbox.last_seqs()[0].1, last[0].1, "the epoch goes on");
    assert!(outbox.stop(Duration::from_secs(10)));
}

#[test]
fn what_was_acknowledged_is_sent_again_on_demand() {
    let dir = Dir::new();
    let (outbox, handover) = start(&dir.path("outbox.db"), 0.0);
    for n in 0..200 {
        outbox.push(entry(Class::Middle, ["a", "b"][n % 2], "{\"n\":0}".to_owned())).unwrap();
    }
    drain_until(&handover, true, 200);
    let (answer, answered) = mpsc::channel();
    let again = Again { topic: "b".to_owned(), epoch: None, from: 11, to: 1000 };
    outbox.resend(again, move |resent| answer.send(resent).unwrap());
    let sent = drain_until(&handover, true, 90);
    assert_eq!(seqs(&sent), (11..=100).map(|seq| ("b".to_owned(), seq)).collect::<Vec<_>>());
    assert!(sent.iter().all(|(_, text)| text.contains("\"replayed\":true")));
    let epoch = outbox.last_seqs()[0].1;
    let resent = answered.recv_timeout(Duration::from_secs(10)).unwrap();
    assert_eq!(resent, Some(Resent { epoch, sent: 90, gone: Vec::new() }));
    let (answer, answered) = mpsc::channel();
    let again = Again { topic: "b".to_owned(), epoch: Some(epoch - 1), from: 1, to: 5 };
    outbox.resend(again, move |resent| answer.send(resent).unwrap());
    let resent = answered.recv_timeout(Duration::from_secs(10)).unwrap();
    assert_eq!(resent, Some(Resent { epoch: epoch - 1, sent: 0, gone: vec![(1, 5)] }));
}

#[test]
fn a_second_outbox_on_the_same_file_works_in_memory_and_takes_over() {
    let dir = Dir::new();
    let path = dir.path("outbox.db");
    let (first, first_lane) = start(&path, 0.0);
    first.push(entry(Class::Middle, "a", "{\"n\":1}".to_owned())).unwrap();
    drain_until(&first_lane, false, 1);
    let handover = Arc::new(Handover::default());
    handover.lane().connected();
    let settings = Settings { retry_after: Duration::from_millis(50), ..Settings::new(&path) };
    let second = Outbox::start(settings, Arc::clone(&handover), gap).unwrap();
    second.push(entry(Class::Middle, "a", "{\"n\":2}".to_owned())).unwrap();
    assert!(drain_until(&handover, false, 1)[0].1.contains("\"n\":2"));
    let trouble = second.trouble().unwrap();
    assert!(trouble.contains("another process uses it; stop the other"), "{trouble}");
    assert!(first.stop(Duration::from_secs(10)));
    // What waited there comes now, and what memory had behind it.
    let sent = drain_until(&handover, true, 2);
    let bodies: Vec<&str> = sent.iter().map(|(_, text)| &text[..8]).collect();
    assert_eq!(bodies, ["{\"n\":1,\"", "{\"n\":2,\""]);
    assert_eq!(second.trouble(), None);
    assert!(second.stop(Duration::from_secs(10)));
}

#[test]
fn without_a_disk_it_works_and_complains_of_nothing() {
    let handover = Arc::new(Handover::default());
    handover.lane().connected();
    let outbox = Outbox::in_memory(Arc::clone(&handover), gap).unwrap();
    for _ in 0..1000 {
        outbox.push(entry(Class::Middle, "a", "{\"n\":0}".to_owned())).unwrap();
    }
    let sent = drain_until(&handover, true, 1000);
    assert_eq!(seqs(&sent).last().unwrap().1, 1000);
    assert_eq!(outbox.trouble(), None);
    assert!(outbox.push(entry(Class::Middle, "a/#", "{\"n\":0}".to_owned())).is_err());
    assert!(outbox.stop(Duration::from_secs(10)));
}
