//! What the plant asks over a real broker, and Home Assistant's greeting.

use std::sync::{Arc, Mutex};

use andon::{
    publish::{
        command::Verb,
        commands::{self, Greeting, Obey},
        home_assistant::{self, BIRTH, Home, PREFIX},
        kept,
        listener::Listener,
        outbox::{Handover, Outbox},
    },
    rules::Order,
};
use serde_json::{Map, Value, json};

use super::*;

/// Does what is asked where the rule is `jam`, and remembers it.
#[derive(Default)]
struct Obedient(Mutex<Vec<(Option<String>, String, Order)>>);

impl Obey for Obedient {
    fn order(&self, camera: Option<&str>, rule: &str, order: &Order) -> Result<Map<String, Value>, String> {
        if rule != "jam" {
            return Err(format!("camera \"in\" has no rule {rule:?}; its rules: jam"));
        }
        self.0.lock().unwrap().push((camera.map(str::to_owned), rule.to_owned(), order.clone()));
        Ok(Map::from_iter([("rule".to_owned(), rule.into())]))
    }

    fn snapshot(&self, _: Option<&str>) -> Result<Map<String, Value>, String> {
        Ok(Map::from_iter([("event".to_owned(), "in-1".into())]))
    }
}

#[test]
fn orders_are_carried_out_and_answered_and_a_greeting_is_heard() {
    if !mosquitto::is_installed() {
        return;
    }
    let broker = Mosquitto::start(Setup::default());
    let network = Network::start();
    let wire = Wire::new("andon", "box", false).unwrap();
    let outbox = Outbox::in_memory(Arc::new(Handover::default()), kept::gaps(wire.clone())).unwrap();
    let obedient = Arc::new(Obedient::default());
    let greetings = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&greetings);
    let greeting = Greeting {
        topic: home_assistant::birth_topic(PREFIX),
        payload: BIRTH,
        hear: Box::new(move || {
            counted.fetch_add(1, Ordering::Relaxed);
        }),
    };
    let allowed = [Verb::Ack, Verb::Shelve, Verb::Snapshot];
    let subscription = commands::subscription(&wire, &allowed, &outbox, obedient.clone(), Some(greeting));
    let client = Client { subscription, outbox: Some(outbox), ..Client::default() };
    let publisher = Publisher::start(&network.handle, settings(broker.port), client);
    let home = Home { prefix: PREFIX, wire: &wire, version: "1", cameras: &[], commands: &allowed };
    for message in home_assistant::messages(&home) {
        publisher.publish(message).unwrap();
    }
    let announced = broker.subscribe("homeassistant/+/+/+/config");
    assert!(announced.next(SOON).is_some_and(|heard| heard.payload.contains("\"unique_id\":\"andon/box/")));

    let asker =
        Listener::start(Settings::new("127.0.0.1", broker.port, "asker"), vec!["andon/box/cmd/+/result".into()])
            .unwrap();
    let give_up = Instant::now() + SOON;
    while !matches!(asker.link(), Link::Up { .. }) {
        assert!(Instant::now() < give_up, "the asker is not connected");
        thread::sleep(Duration::from_millis(5));
    }
    // Once the device has heard a greeting, it listens to all.
    while greetings.load(Ordering::Relaxed) == 0 {
        assert!(Instant::now() < give_up, "no greeting was heard");
        asker.ask("homeassistant/status".into(), "offline".into()).unwrap();
        asker.ask("homeassistant/status".into(), "online".into()).unwrap();
        thread::sleep(Duration::from_millis(100));
    }
    let ask = |verb: &str, payload: Value| {
        asker.ask(format!("andon/box/cmd/{verb}"), payload.to_string()).unwrap();
        let answer = asker.next(SOON).expect("it is answered");
        assert_eq!(answer.topic, format!("andon/box/cmd/{verb}/result"));
        let mut answer: Value = serde_json::from_slice(&answer.payload).unwrap();
        for of_all in ["schema", "device", "published_at", "clock"] {
            assert!(answer.as_object_mut().unwrap().remove(of_all).is_some(), "{answer}");
        }
        answer
    };
    assert_eq!(
        ask("ack", json!({"camera": "in", "rule": "jam", "id": "a"})),
        json!({"ok": true, "id": "a", "rule": "jam"})
    );
    assert_eq!(ask("shelve", json!({"rule": "jam", "seconds": 60})), json!({"ok": true, "rule": "jam"}));
    let unknown = "camera \"in\" has no rule \"x\"; its rules: jam";
    assert_eq!(ask("ack", json!({"rule": "x"})), json!({"ok": false, "error": unknown}));
    assert_eq!(ask("snapshot", json!({})), json!({"ok": true, "event": "in-1"}));
    let done = obedient.0.lock().unwrap().clone();
    let shelved = Order::Shelve(Duration::from_secs(60));
    assert_eq!(done, [(Some("in".into()), "jam".into(), Order::Acknowledge), (None, "jam".into(), shelved)]);
    asker.ask("andon/box/cmd/reset".into(), r#"{"rule":"jam"}"#.into()).unwrap();
    assert!(asker.next(Duration::from_millis(500)).is_none(), "what is not allowed is not listened to");
    asker.stop();
    broker.assert_no_complaint();
}
