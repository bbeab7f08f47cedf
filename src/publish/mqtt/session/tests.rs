//! Sessions played byte by byte.

use bytes::Bytes;

use super::*;
use crate::random::Rng;

const KEEP_ALIVE: Duration = Duration::from_secs(10);
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
const ACCEPTED: [u8; 4] = [0x20, 2, 0, 0];

fn outgoing(topic: &str, payload: &str, qos: Qos, retain: bool) -> Outgoing {
    Outgoing::new(topic.into(), Bytes::copy_from_slice(payload.as_bytes()), qos, retain, 1000).unwrap()
}

fn connect() -> Connect {
    Connect {
        client_id: "box".into(),
        login: Some(("andon".into(), "pass".into())),
        will: Some(outgoing("a/s", "off", Qos::AtLeastOnce, true)),
        filters: Vec::new(),
        incoming_bytes_max: INCOMING_BYTES_MAX,
        keep_alive: KEEP_ALIVE,
        answer_within: ANSWER_WITHIN,
    }
}

fn take<T>(session: &mut Session<T>) -> Vec<u8> {
    let bytes = session.output().to_vec();
    session.written(bytes.len());
    bytes
}

/// A session that the broker has taken in, and the moment.
fn connected() -> (Session<u32>, Instant) {
    let now = Instant::now();
    let mut session = Session::connect(connect(), now).unwrap();
    take(&mut session);
    session.receive(&ACCEPTED, now).unwrap();
    assert_eq!(session.event(), Some(Event::Connected));
    (session, now)
}

#[test]
fn connect_says_who_we_are_and_leaves_a_will() {
    let mut session = Session::<()>::connect(connect(), Instant::now()).unwrap();
    assert!(!session.is_open());
    let mut expected = vec![0x10, 38, 0, 4];
    // Protocol level 4; user name, password, will retained at QoS 1, clean session; ten seconds.
    expected.extend(b"MQTT\x04\xee\x00\x0a");
    expected.extend(b"\x00\x03box\x00\x03a/s\x00\x03off\x00\x05andon\x00\x04pass");
    assert_eq!(take(&mut session), expected);
    let bare = Connect { login: None, will: None, ..connect() };
    let mut session = Session::<()>::connect(bare, Instant::now()).unwrap();
    assert_eq!(take(&mut session), b"\x10\x0f\x00\x04MQTT\x04\x02\x00\x0a\x00\x03box");
}

#[test]
fn what_connect_cannot_carry_is_said() {
    let refused = |change: fn(&mut Connect)| {
        let mut connect = connect();
        change(&mut connect);
        Session::<()>::connect(connect, Instant::now()).err()
    };
    assert!(matches!(refused(|c| c.client_id = "x".repeat(65_536)), Some(Failure::Protocol(_))));
    assert!(matches!(refused(|c| c.login = Some((String::new(), "p".into()))), Some(Failure::Protocol(_))));
    assert!(matches!(refused(|c| c.login = Some(("u".into(), "x".repeat(65_536)))), Some(Failure::Protocol(_))));
    let long = |c: &mut Connect| {
        let payload = vec![0; 65_536].into();
        c.will = Outgoing::new("a".into(), payload, Qos::AtLeastOnce, true, 100_000).ok();
    };
    assert!(matches!(refused(long), Some(Failure::Protocol(_))));
    assert_eq!(refused(|c| c.login = None), None);
}

#[test]
fn the_answer_to_connect_decides() {
    for (code, refusal) in [
        (1, Refusal::Version),
        (2, Refusal::ClientId),
        (3, Refusal::Unavailable),
        (4, Refusal::Credentials),
        (5, Refusal::Credentials),
    ] {
        let now = Instant::now();
        let mut session = Session::<()>::connect(connect(), now).unwrap();
        assert_eq!(session.receive(&[0x20, 2, 0, code], now), Err(Failure::Refused(refusal)));
        assert!(!session.is_open());
    }
    let mut session = Session::<()>::connect(connect(), Instant::now()).unwrap();
    assert!(matches!(session.receive(&[0x20, 2, 0, 6], Instant::now()), Err(Failure::Protocol(_))));
}

#[test]
fn an_answer_that_comes_in_pieces_is_put_together() {
    let now = Instant::now();
    let mut session = Session::<()>::connect(connect(), now).unwrap();
    for byte in ACCEPTED {
        assert_eq!(session.event(), None);
        session.receive(&[byte], now).unwrap();
    }
    assert_eq!(session.event(), Some(Event::Connected));
    assert!(session.is_open());
}

#[test]
fn a_broker_that_does_not_answer_connect_is_given_up() {
    let now = Instant::now();
    let mut session = Session::<()>::connect(connect(), now).unwrap();
    assert_eq!(session.deadline(), now + ANSWER_WITHIN);
    assert_eq!(session.tick(now + ANSWER_WITHIN - Duration::from_millis(1)), Ok(()));
    assert_eq!(session.tick(now + ANSWER_WITHIN), Err(Failure::Silent));
}

#[test]
fn a_publish_is_matched_with_its_acknowledgement_in_any_order() {
    let (mut session, now) = connected();
    session.publish(&outgoing("a/b", "1", Qos::AtLeastOnce, true), false, 71, now);
    session.publish(&outgoing("a/c", "2", Qos::AtMostOnce, false), false, 72, now);
    session.publish(&outgoing("a/d", "3", Qos::AtLeastOnce, false), true, 73, now);
    let mut expected = b"\x33\x08\x00\x03a/b\x00\x011".to_vec();
    expected.extend(b"\x30\x06\x00\x03a/c2");
    expected.extend(b"\x3a\x08\x00\x03a/d\x00\x023");
    assert_eq!(take(&mut session), expected);
    session.receive(&[0x40, 2, 0, 2, 0x40, 2, 0, 9, 0x40, 2, 0, 1], now).unwrap();
    assert_eq!(session.event(), Some(Event::Acknowledged(73)));
    assert_eq!(session.event(), Some(Event::Acknowledged(71)));
    assert_eq!(session.event(), None);
    assert!(session.is_settled());
}

#[test]
fn the_window_is_bounded_and_ids_are_not_given_twice() {
    let (mut session, now) = connected();
    let message = outgoing("a", "", Qos::AtLeastOnce, false);
    session.last_id = u16::MAX - 3;
    for n in 0..IN_FLIGHT_MAX as u32 {
        assert!(session.is_open());
        session.publish(&message, false, n, now);
    }
    assert!(!session.is_open());
    assert_eq!(session.in_flight.len(), IN_FLIGHT_MAX);
    assert!(!session.in_flight.contains_key(&0));
    session.receive(&[0x40, 2, 0, 1], now).unwrap();
    assert!(session.is_open());
    // All ids but those in flight are passed once, and the ones in flight are stepped over.
    let id = |session: &Session<u32>, wanted| {
        session.in_flight.iter().find(|(_, token)| **token == wanted).map(|(id, _)| *id)
    };
    session.last_id = u16::MAX;
    session.publish(&message, false, 98, now);
    assert_eq!(id(&session, 98), Some(1));
    session.receive(&[0x40, 2, 0, 2], now).unwrap();
    session.last_id = 2;
    session.publish(&message, false, 99, now);
    assert_eq!(id(&session, 99), Some(62));
}

#[test]
fn silence_is_asked_about_and_then_given_up() {
    let (mut session, now) = connected();
    assert_eq!(session.deadline(), now + KEEP_ALIVE);
    // Publishing all the while is no sign of life of the broker's.
    let busy = now + KEEP_ALIVE / 2;
    session.publish(&outgoing("a", "", Qos::AtMostOnce, false), false, 0, busy);
    take(&mut session);
    assert_eq!(session.deadline(), now + KEEP_ALIVE);
    session.tick(now + KEEP_ALIVE).unwrap();
    assert_eq!(take(&mut session), [0xc0, 0]);
    let answered = now + KEEP_ALIVE + Duration::from_secs(1);
    session.receive(&[0xd0, 0], answered).unwrap();
    // We have to write within the keep-alive, too: the question counts.
    assert_eq!(session.deadline(), now + 2 * KEEP_ALIVE);
    session.tick(now + 2 * KEEP_ALIVE).unwrap();
    assert_eq!(session.tick(now + 3 * KEEP_ALIVE - Duration::from_millis(1)), Ok(()));
    assert_eq!(session.tick(now + 3 * KEEP_ALIVE), Err(Failure::Silent));
}

#[test]
fn a_broker_that_answers_but_acknowledges_nothing_is_given_up() {
    let (mut session, mut now) = connected();
    session.publish(&outgoing("a", "", Qos::AtLeastOnce, false), false, 0, now);
    let give_up = now + ACKNOWLEDGE_WITHIN;
    let failure = loop {
        now = session.deadline();
        match session.tick(now) {
            Ok(()) => session.receive(&[0xd0, 0], now).unwrap(),
            Err(failure) => break failure,
        }
    };
    assert_eq!((failure, now), (Failure::Unacknowledged, give_up));
}

#[test]
fn messages_that_nobody_asked_for_are_acknowledged_and_dropped() {
    let (mut session, now) = connected();
    session.receive(b"\x33\x08\x00\x03a/b\x00\x07!\x30\x06\x00\x03a/c?", now).unwrap();
    session.receive(&[0x90, 3, 0, 1, 1], now).unwrap();
    assert_eq!(take(&mut session), [0x40, 2, 0, 7]);
    assert_eq!(session.event(), None);
}

/// A session that has asked for two filters, and the moment; CONNECT and SUBSCRIBE stand in the output.
fn subscribing() -> (Session<u32>, Instant) {
    let now = Instant::now();
    let filters = vec!["a/+".to_owned(), "b".to_owned()];
    let mut session = Session::connect(Connect { filters, ..connect() }, now).unwrap();
    take(&mut session);
    session.receive(&ACCEPTED, now).unwrap();
    assert_eq!(session.event(), Some(Event::Connected));
    (session, now)
}

#[test]
fn a_subscription_is_asked_for_and_its_answer_told() {
    let (mut session, now) = subscribing();
    assert_eq!(take(&mut session), b"\x82\x0c\x00\x01\x00\x03a/+\x01\x00\x01b\x01");
    assert!(session.is_open(), "publishing does not wait for it");
    session.last_id = 0;
    session.publish(&outgoing("a", "", Qos::AtLeastOnce, false), false, 7, now);
    assert_eq!(session.in_flight.keys().collect::<Vec<_>>(), [&2], "its id is not given twice");
    session.receive(&[0x90, 4, 0, 9, 0, 0], now).unwrap();
    assert_eq!(session.event(), None, "an answer to another question");
    session.receive(&[0x90, 4, 0, 1, 1, 0x80], now).unwrap();
    assert_eq!(session.event(), Some(Event::Subscribed { refused: vec!["b".into()] }));
    let (mut session, now) = subscribing();
    session.receive(&[0x90, 4, 0, 1, 0, 1], now).unwrap();
    assert_eq!(session.event(), Some(Event::Subscribed { refused: vec![] }));
    let (mut session, now) = subscribing();
    assert!(matches!(session.receive(&[0x90, 3, 0, 1, 0], now), Err(Failure::Protocol(_))));
    let (mut session, _) = subscribing();
    let silent = loop {
        let now = session.deadline();
        match session.tick(now) {
            Ok(()) => session.receive(&[0xd0, 0], now).unwrap(),
            Err(failure) => break failure,
        }
    };
    assert_eq!(silent, Failure::Unacknowledged);
    let nothing = Connect { filters: vec![String::new()], ..connect() };
    assert!(matches!(Session::<()>::connect(nothing, now), Err(Failure::Protocol(_))));
}

#[test]
fn a_message_is_delivered_and_then_acknowledged() {
    let (mut session, now) = subscribing();
    take(&mut session);
    session.receive(b"\x3b\x08\x00\x03a/b\x00\x07!\x30\x06\x00\x03a/c?", now).unwrap();
    assert!(take(&mut session).is_empty(), "not before it was dealt with");
    let Some(Event::Message(first)) = session.event() else { panic!("a message came") };
    assert_eq!((first.topic.as_str(), &first.payload[..], first.qos), ("a/b", &b"!"[..], Qos::AtLeastOnce));
    assert!(first.retain && first.dup);
    session.acknowledge(&first, now);
    assert_eq!(take(&mut session), [0x40, 2, 0, 7]);
    let Some(Event::Message(second)) = session.event() else { panic!("another came") };
    assert_eq!((second.topic.as_str(), &second.payload[..], second.qos), ("a/c", &b"?"[..], Qos::AtMostOnce));
    assert!(!second.retain && !second.dup);
    session.acknowledge(&second, now);
    assert_eq!((take(&mut session), session.event()), (vec![], None));
}

#[test]
fn a_listener_may_accept_longer_packets() {
    let now = Instant::now();
    let wide = Connect { filters: vec!["#".into()], incoming_bytes_max: 1 << 20, ..connect() };
    let mut session = Session::<()>::connect(wide, now).unwrap();
    session.receive(&ACCEPTED, now).unwrap();
    let mut packet = vec![0x30, 0x83, 0x80, 0x02, 0, 1, b'a'];
    packet.resize(4 + 32_771, b'x');
    session.receive(&packet, now).unwrap();
    assert_eq!(session.event(), Some(Event::Connected));
    assert!(matches!(session.event(), Some(Event::Message(message)) if message.payload.len() == 32_768));
}

#[test]
fn a_dead_connection_is_noticed_within_25_seconds_whatever_goes_on() {
    for seed in 0..2_000 {
        let mut random = Rng::new(seed, 0);
        let (mut session, mut now) = if random.chance(50) { connected() } else { subscribing() };
        let death = now + Duration::from_millis(random.below(40_000) as u64);
        let message = outgoing("a", "", Qos::AtLeastOnce, false);
        let mut waiting = VecDeque::new();
        let failure = loop {
            now = session.deadline().min(now + Duration::from_millis(1 + random.below(3_000) as u64));
            if random.chance(50) && session.is_open() {
                session.publish(&message, false, 0, now);
                waiting.extend(session.in_flight.keys().max().copied());
            }
            // What the broker answers until then: signs of life always, acknowledgements perhaps.
            let asked = take(&mut session).ends_with(&[0xc0, 0]);
            if now < death && asked {
                session.receive(&[0xd0, 0], now).unwrap();
            }
            if now < death
                && random.chance(30)
                && let Some(id) = waiting.pop_front()
            {
                session.receive(&[&[0x40, 2], &u16::to_be_bytes(id)[..]].concat(), now).unwrap();
            }
            if let Err(failure) = session.tick(now) {
                break failure;
            }
            assert!(now < death + Duration::from_secs(25), "seed {seed}");
        };
        assert!(matches!(failure, Failure::Silent | Failure::Unacknowledged), "seed {seed}: {failure:?}");
        assert!(now < death + Duration::from_secs(25), "seed {seed}");
    }
}

#[test]
fn a_goodbye_is_the_last_word() {
    let (mut session, now) = connected();
    session.publish(&outgoing("a", "", Qos::AtMostOnce, false), false, 0, now);
    session.disconnect(now);
    assert_eq!(take(&mut session), [0x30, 3, 0, 1, b'a', 0xe0, 0]);
}

#[test]
fn what_mqtt_does_not_allow_ends_the_session() {
    let too_long = [0x30, 0x81, 0x80, 0x01];
    for (what, bytes) in [
        ("a second CONNACK", &ACCEPTED[..]),
        ("a packet beyond the limit, before its bytes come", &too_long),
        ("a QoS 2 message", &[0x34, 5, 0, 1, b'a', 0, 1]),
        ("a QoS 3 message", &[0x36, 5, 0, 1, b'a', 0, 1]),
        ("a packet id of zero", &[0x32, 5, 0, 1, b'a', 0, 0]),
        ("a CONNECT", &[0xc0, 0]),
        ("type 15", &[0xf0, 1, 0]),
        ("an endless length", &[0x30, 0xff, 0xff, 0xff, 0xff, 0xff]),
        ("a topic that is longer than its packet", &[0x30, 3, 0, 9, b'a']),
    ] {
        let (mut session, now) = connected();
        assert!(matches!(session.receive(bytes, now), Err(Failure::Protocol(_))), "{what}");
    }
    let now = Instant::now();
    let mut session = Session::<()>::connect(connect(), now).unwrap();
    assert!(matches!(session.receive(&[0xd0, 0], now), Err(Failure::Protocol(_))), "a packet before CONNACK");
}

/// Feeds one session with packets made at random; says whether it ended.
fn feed_with_noise(random: &mut Rng) -> bool {
    let (mut session, now) = if random.chance(50) { connected() } else { subscribing() };
    session.publish(&outgoing("a", "", Qos::AtLeastOnce, false), false, 0, now);
    for _ in 0..8 {
        // Types and short lengths that are likely to be taken for a packet.
        let length = random.below(14);
        let mut bytes = vec![random.below(256) as u8, random.below(12) as u8];
        bytes.extend((0..length).map(|_| random.below(if length % 2 == 0 { 4 } else { 256 }) as u8));
        if session.receive(&bytes, now).is_err() {
            return true;
        }
        assert!(session.input.len() <= INCOMING_BYTES_MAX + 5);
        while let Some(event) = session.event() {
            if let Event::Message(message) = event {
                session.acknowledge(&message, now);
            }
        }
    }
    false
}

#[test]
fn random_bytes_end_a_session_but_not_the_process() {
    let mut random = Rng::new(0x5eed, 0);
    let ended = (0..20_000).filter(|_| feed_with_noise(&mut random)).count();
    assert!(ended > 10_000, "{ended}");
}

#[test]
fn messages_that_cannot_be_published_never_enter() {
    let make = |topic: &str, bytes: usize| {
        Outgoing::new(topic.into(), vec![0; bytes].into(), Qos::AtLeastOnce, false, 1000).map(|_| ())
    };
    for topic in ["", "a/+", "#", "a\0", &"x".repeat(65_536)] {
        assert!(matches!(make(topic, 0), Err(Invalid::Topic(_))), "{:?}", topic.get(..9));
    }
    // One byte of type, two of length, two of the topic's length, the topic, two of packet id.
    assert_eq!(make("topic", 988), Ok(()));
    assert_eq!(make("topic", 989), Err(Invalid::TooLong { topic: "topic".into(), bytes: 1001, limit: 1000 }));
}
