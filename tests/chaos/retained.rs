//! A broker that has forgotten all, or a device that comes again: the retained states are right within seconds.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use andon::{
    publish::{
        Delivery, Message,
        clock::Reading,
        command::Verb,
        commands::{self, NoRules},
        kept,
        mqtt::{self, Client, Publisher},
        outbox::{self, Handover, Outbox},
        wire::Wire,
    },
    store::Class,
};

use super::{listener::Listener, wait_until};
use crate::util::mosquitto::{self, Mosquitto, Setup};

/// The state has to be right so soon after the broker or the device was started.
const RIGHT_WITHIN: Duration = Duration::from_secs(5);

const ALARM: &str = "andon/box/in/alarm/jam";
const COUNT: &str = "andon/box/in/count/boards";

struct Box {
    runtime: tokio::runtime::Runtime,
    outbox: Outbox,
    publisher: Publisher,
}

impl Box {
    fn start(folder: &Path, port: u16) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let wire = Wire::new("andon", "box", false).unwrap();
        let settings = outbox::Settings::new(folder.join("outbox.db"));
        let outbox = Outbox::start(settings, Arc::new(Handover::default()), kept::gaps(wire.clone())).unwrap();
        let client = Client {
            outbox: Some(outbox.clone()),
            subscription: commands::subscription(&wire, &Verb::ALL, &outbox, Arc::new(NoRules), None),
            ..Client::with_will(move || wire.will(&Reading::now()))
        };
        let settings = mqtt::Settings::new("127.0.0.1", port, "andon-box");
        let publisher = Publisher::start(runtime.handle(), settings, client);
        Self { runtime, outbox, publisher }
    }

    fn say(&self, topic: &str, class: Class, retain: bool, thing: u64) {
        let payload = format!("{{\"thing\":{thing}}}").into();
        let message =
            Message { topic: topic.into(), payload, delivery: Delivery::Kept { class, retain, numbered: true } };
        self.publisher.publish_all(vec![message], Vec::new()).unwrap();
    }

    /// The end of the process, as far as broker and disk see it.
    fn end(self) {
        let Self { runtime, outbox, publisher } = self;
        drop(publisher);
        runtime.shutdown_timeout(Duration::from_secs(1));
        drop(outbox);
        std::thread::sleep(Duration::from_millis(700));
    }
}

/// Waits until whoever comes new hears these states.
#[track_caller]
fn hears(broker: &Mosquitto, begin: Instant, states: &[(&str, u64)]) {
    for (topic, thing) in states {
        let wanted = format!("\"thing\":{thing},");
        let right = || {
            let heard = broker.subscribe(topic).next(Duration::from_millis(200));
            heard.is_some_and(|heard| heard.retained && heard.payload.contains(&wanted))
        };
        wait_until(Duration::from_secs(20), || format!("{topic} is not {thing}"), right);
    }
    let took = begin.elapsed();
    println!("{states:?} after {took:.1?}");
    assert!(took <= RIGHT_WITHIN, "{states:?} only after {took:?}");
}

#[test]
fn retained_states_are_right_again_whoever_was_restarted() {
    if !mosquitto::is_installed() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut broker = Mosquitto::start(Setup::default());
    let listener = Listener::start(&[], "127.0.0.1", broker.port);
    let device = Box::start(folder.path(), broker.port);
    for n in 1..=3 {
        device.say(ALARM, Class::First, true, n);
        device.say(COUNT, Class::Middle, true, 10 + n);
        device.say("andon/box/in/events", Class::Middle, false, 20 + n);
    }
    listener.wait_for(&(1..=3).chain(11..=13).chain(21..=23).collect::<Vec<_>>(), Duration::from_secs(20));
    hears(&broker, Instant::now(), &[(ALARM, 3), (COUNT, 13)]);

    // The broker forgets what it has acknowledged, and nothing new is said.
    broker.kill();
    broker.start_again();
    hears(&broker, Instant::now(), &[(ALARM, 3), (COUNT, 13)]);

    // As before, with a backlog in which one of the states is newer.
    broker.kill();
    device.say(COUNT, Class::Middle, true, 14);
    (100..400).for_each(|n| device.say("andon/box/in/events", Class::Middle, false, n));
    device.say(COUNT, Class::Middle, true, 15);
    broker.start_again();
    hears(&broker, Instant::now(), &[(ALARM, 3), (COUNT, 15)]);
    // Who was not back in time learns by the next number that some are missing, and asks for them.
    let all: Vec<u64> = (100..400).collect();
    let mut next = 400;
    let missing = || format!("{} things are missing", listener.missing(&all));
    wait_until(Duration::from_secs(30), missing, || {
        device.say("andon/box/in/events", Class::Middle, false, next);
        next += 1;
        listener.missing(&all) == 0
    });

    // Both are restarted.
    device.end();
    broker.kill();
    broker.start_again();
    let begin = Instant::now();
    let device = Box::start(folder.path(), broker.port);
    hears(&broker, begin, &[(ALARM, 3), (COUNT, 15)]);

    // A rule is gone, and its state with it.
    let subscriber = broker.subscribe(ALARM);
    assert!(subscriber.next(Duration::from_secs(5)).is_some());
    assert!(device.outbox.forget(ALARM).unwrap());
    let empty = subscriber.wait_for(Duration::from_secs(5), "the alarm is gone", |heard| heard.payload.is_empty());
    assert_eq!(empty.topic, ALARM);
    broker.kill();
    broker.start_again();
    hears(&broker, Instant::now(), &[(COUNT, 15)]);
    assert_eq!(broker.subscribe(ALARM).next(Duration::from_millis(500)), None);
    device.end();
    let (code, heard) = listener.end();
    let counts = ["lost", "inversions", "told"].map(|key| heard.count(key));
    assert_eq!((code, counts), (Some(0), [0; 3]), "{:?}", heard.summary);
    broker.assert_no_complaint();
}
