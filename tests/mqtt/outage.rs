//! Brokers that are killed, frozen, or lose us.

use super::{tls::with_tls, *};

#[test]
fn a_killed_broker_hears_everything_again_within_ten_seconds() {
    if !mosquitto::is_installed() {
        return;
    }
    // As in a plant, with TLS and a password.
    let ca = Ca::new("Plant CA");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    fs::write(&file, "sesame\n").unwrap();
    let mut broker = Mosquitto::start(Setup {
        login: Some(("andon".into(), "sesame".into())),
        tls: Some(ca.server("127.0.0.1")),
        ca: Some(ca.pem()),
        clients_from: None,
    });
    let device = Device::start(Settings {
        username: Some("andon".into()),
        password: Some(Secret::from_file(file)),
        ..with_tls(broker.port, &ca.pem())
    });
    device.publisher.publish(state("andon/box/a/status", "live")).unwrap();
    device.publisher.publish(state("andon/box/b/status", "live")).unwrap();
    device.wait_for_counters(|counters| counters.acknowledged == 3);
    broker.kill();
    device.wait_for_link(SOON, |link| matches!(link, Link::Down { .. }));
    // What changes meanwhile is kept, what is live is not.
    device.publisher.publish(state("andon/box/a/status", "absent")).unwrap();
    device.publisher.publish(live("lost")).unwrap();
    thread::sleep(Duration::from_secs(4));
    device.wait_until_down(FaultKind::Refused);
    broker.start_again();
    let back = Instant::now();
    let subscriber = broker.subscribe("andon/#");
    let mut number = 0;
    while !subscriber.next(Duration::from_millis(100)).is_some_and(|heard| heard.topic.ends_with("detections")) {
        number += 1;
        device.publisher.publish(live(number)).unwrap();
        assert!(back.elapsed() < Duration::from_secs(10), "publishing goes on within ten seconds");
    }
    println!("publishing again {:?} after the broker came back", back.elapsed());
    let states = broker.subscribe("andon/#");
    let payload = |topic: &str| states.wait_for(SOON, topic, |heard| heard.topic == topic).payload;
    let mut heard = Vec::new();
    while heard.len() < 3 {
        heard.extend(states.next(SOON).filter(|heard| heard.retained));
    }
    heard.sort_by(|a, b| a.topic.cmp(&b.topic));
    assert_eq!(
        heard.iter().map(|heard| heard.topic.as_str()).collect::<Vec<_>>(),
        ["andon/box/a/status", "andon/box/b/status", "andon/box/status"]
    );
    assert_eq!((heard[0].payload.as_str(), heard[1].payload.as_str()), ("absent", "live"));
    device.publisher.publish(state("andon/box/b/status", "stalled")).unwrap();
    assert_eq!(payload("andon/box/b/status"), "stalled");
    assert_eq!(device.publisher.counters().connections, 2);
    assert!(device.publisher.counters().dropped_live >= 1);
    let log = broker.log();
    let again: Vec<_> = log.lines().filter(|line| line.contains("Received PUBLISH from andon-box")).collect();
    let first_of_second = again.iter().skip(3).find(|line| line.contains("'andon/box")).unwrap();
    assert!(first_of_second.contains("'andon/box/status'"), "the device comes first: {again:#?}");
    broker.assert_no_complaint();
}

#[test]
fn a_frozen_broker_is_noticed_and_blocks_nobody() {
    if !mosquitto::is_installed() {
        return;
    }
    let broker = Mosquitto::start(Setup::default());
    let mut settings = settings(broker.port);
    settings.keep_alive = Duration::from_secs(1);
    settings.answer_within = Duration::from_secs(1);
    let device = Device::start(settings);
    device.wait_for_counters(|counters| counters.acknowledged == 1);
    broker.freeze();
    let frozen = Instant::now();
    // A stream of messages all the while, which the kernel takes for a moment and the dead broker never.
    let payload = "x".repeat(10_000);
    let mut longest = Duration::ZERO;
    let mut published = 0_u64;
    while matches!(device.publisher.link(), Link::Up { .. }) {
        let begin = Instant::now();
        device.publisher.publish(live(&payload)).unwrap();
        longest = longest.max(begin.elapsed());
        published += 1;
        assert!(frozen.elapsed() < Duration::from_secs(6), "noticed within twice the keep-alive, and not later");
        thread::sleep(Duration::from_micros(500));
    }
    println!("noticed after {:?}; {published} messages, the longest publish() took {longest:?}", frozen.elapsed());
    assert!(longest < Duration::from_millis(500), "{longest:?}");
    let fault = device.wait_until_down(FaultKind::Silent);
    assert!(fault.to_string().contains("gave no sign of life for 2 s"), "{fault}");
    assert!(device.publisher.counters().dropped_live > published / 2, "{:?}", device.publisher.counters());
    // While it is frozen, its kernel still takes connections; they are not answered.
    device.wait_until_down(FaultKind::Timeout);
    broker.thaw();
    device.wait_until_up();
    device.wait_for_counters(|counters| counters.acknowledged >= 2);
    assert!(device.stop(SOON));
}

#[test]
fn stop_does_not_wait_longer_than_it_may() {
    if !mosquitto::is_installed() {
        return;
    }
    let broker = Mosquitto::start(Setup::default());
    let device = Device::start(settings(broker.port));
    device.wait_for_counters(|counters| counters.acknowledged == 1);
    broker.freeze();
    let begin = Instant::now();
    assert!(!device.stop(Duration::from_millis(300)));
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    broker.thaw();
}

#[test]
fn a_device_that_dies_is_offline() {
    if !mosquitto::is_installed() {
        return;
    }
    let broker = Mosquitto::start(Setup::default());
    let subscriber = broker.subscribe("andon/#");
    let device = Device::start(settings(broker.port));
    subscriber.wait_for(SOON, "online", |heard| heard.payload.contains(r#""state":"online""#));
    drop(device);
    let heard = subscriber.wait_for(SOON, "offline", |heard| heard.payload.contains(r#""state":"offline""#));
    assert_eq!(heard.topic, "andon/box/status");
    assert!(heard.payload.contains("connected_at"), "{heard:?}");
    let later = broker.subscribe("andon/#").next(SOON).unwrap();
    assert!(later.retained && later.payload == heard.payload, "{later:?}");
    // A second life takes the word back.
    let device = Device::start(settings(broker.port));
    subscriber.wait_for(SOON, "online again", |heard| heard.payload.contains(r#""state":"online""#));
    assert!(device.stop(SOON));
    subscriber.wait_for(SOON, "stopped", |heard| heard.payload.contains(r#""state":"stopped""#));
    broker.assert_no_complaint();
}

#[test]
fn the_last_handle_dropped_is_a_death_too() {
    if !mosquitto::is_installed() {
        return;
    }
    let broker = Mosquitto::start(Setup::default());
    let subscriber = broker.subscribe("andon/#");
    let Device { network, publisher, .. } = Device::start(settings(broker.port));
    subscriber.wait_for(SOON, "online", |heard| heard.payload.contains(r#""state":"online""#));
    drop(publisher);
    subscriber.wait_for(SOON, "offline", |heard| heard.payload.contains(r#""state":"offline""#));
    drop(network);
}

#[test]
fn two_clients_of_one_name_are_told_apart_by_the_reason() {
    if !mosquitto::is_installed() {
        return;
    }
    let broker = Mosquitto::start(Setup::default());
    let one = Device::start(settings(broker.port));
    one.wait_until_up();
    let two = Device::start(settings(broker.port));
    let fault = one.wait_until_down(FaultKind::Closed);
    assert!(fault.to_string().ends_with("check that no other client has the id \"andon-box\""), "{fault}");
    drop(two);
}
