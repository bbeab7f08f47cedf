//! `andon events` reads what the outbox keeps, while that is in use and afterwards.

use std::{sync::Arc, time::Duration};

use andon::{
    publish::outbox::{Handover, Outbox, Settings},
    store::Class,
};

use super::thread::{drain_until, entry, gap};
use crate::util::run::Dir;

#[test]
fn events_are_listed_while_the_outbox_is_in_use_and_afterwards() {
    let dir = Dir::new();
    let path = dir.path("outbox.db");
    let (handover, db) = (Arc::new(Handover::default()), path.to_str().unwrap());
    handover.lane().connected();
    let settings = Settings { sync: Duration::ZERO, ..Settings::new(&path) };
    let outbox = Outbox::start(settings, Arc::clone(&handover), gap).unwrap();
    for n in 0..1200 {
        outbox.push(entry(Class::Middle, "a/events", format!("{{\"n\":{n}}}"))).unwrap();
    }
    outbox.push(entry(Class::Last, "a/snapshot/1", "\u{0}picture".to_owned())).unwrap();
    drain_until(&handover, true, 1201);
    let answer = dir.andon(&["events", "--db", db]).run();
    let lines: Vec<&str> = answer.ok().lines().collect();
    assert_eq!(lines.len(), 1201);
    assert!(lines[0].ends_with(" middle a/events {\"n\":0}"), "{}", lines[0]);
    assert!(lines[1200].ends_with(" last   a/snapshot/1 (8 bytes)"), "{}", lines[1200]);
    outbox.push(entry(Class::First, "a/alarm/x", "{\"n\":1}".to_owned())).unwrap();
    drain_until(&handover, false, 1);
    assert!(outbox.stop(Duration::from_secs(10)));

    let answer = dir.andon(&["events", "--db", db, "--since", "1h", "--json"]).run();
    let last: serde_json::Value = serde_json::from_str(answer.ok().lines().last().unwrap()).unwrap();
    assert_eq!((&last["class"], &last["message"]["n"], &last["seq"]), (&"first".into(), &1.into(), &1.into()));
    assert_eq!(dir.andon(&["events", "--db", db, "--since", "2999-01-01"]).run().ok(), "");
}

#[test]
fn what_cannot_be_listed_is_told() {
    let dir = Dir::new();
    let answer = dir.andon(&["events", "--db", "none.db"]).run();
    assert!(answer.sentence(1).contains("there is no outbox yet; start the daemon"), "{answer:?}");
    dir.write(
        "text.db",
        "no database at all, but longer than a header of SQLite, which has a hundred bytes, so that it is read",
    );
    let answer = dir.andon(&["events", "--db", "text.db"]).run();
    assert!(answer.sentence(1).contains("text.db: the outbox cannot be read"), "{answer:?}");
    assert_eq!(dir.andon(&["events", "--since", "tomorrow"]).run().code, Some(2));
}
