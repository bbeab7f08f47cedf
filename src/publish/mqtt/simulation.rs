//! Queue and session against a broker and a network that are played: connections are cut at every byte, time passes,
//! everything is decided by a seed.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use bytes::BytesMut;
use rumqttc::mqttbytes::{
    QoS,
    v4::{ConnAck, ConnectReturnCode, Packet, PubAck, Publish},
};

use super::{
    queue::{Queue, Token},
    session::{Connect, Event, Outgoing, Qos, Session},
};

const DEVICE: &str = "andon/box/status";
const SEEDS: u64 = 10_000;

struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % n
    }
}

/// What a broker remembers, and one connection to it.
#[derive(Default)]
struct Broker {
    retained: BTreeMap<String, Vec<u8>>,
    input: BytesMut,
    output: BytesMut,
    publishes_here: usize,
    ids_here: BTreeSet<u16>,
    goodbye: bool,
    /// Messages that came for the second time and said so.
    again: usize,
    live: Vec<u64>,
}

impl Broker {
    fn connection(&mut self) {
        self.input.clear();
        self.output.clear();
        self.publishes_here = 0;
        self.ids_here.clear();
        self.goodbye = false;
    }

    fn take(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        while let Ok(packet) = Packet::read(&mut self.input, 1 << 20) {
            assert!(!self.goodbye, "nothing follows DISCONNECT");
            let answer = match packet {
                Packet::Connect(connect) => {
                    assert!(connect.clean_session && connect.last_will.is_some());
                    Packet::ConnAck(ConnAck::new(ConnectReturnCode::Success, false))
                }
                Packet::Publish(publish) => match self.publish(publish) {
                    Some(id) => Packet::PubAck(PubAck::new(id)),
                    None => continue,
                },
                Packet::PingReq => Packet::PingResp,
                Packet::Disconnect => {
                    self.goodbye = true;
                    continue;
                }
                other => panic!("unexpected {other:?}"),
            };
            answer.write(&mut self.output, 1 << 20).unwrap();
        }
    }

    fn publish(&mut self, publish: Publish) -> Option<u16> {
        let text = String::from_utf8(publish.payload.to_vec()).unwrap();
        self.publishes_here += 1;
        if publish.qos == QoS::AtMostOnce {
            assert!(!publish.retain && !publish.dup);
            let number = text.parse().unwrap();
            assert!(self.live.last().is_none_or(|last| *last < number), "live messages stay in order, once");
            self.live.push(number);
            return None;
        }
        assert!(publish.retain);
        assert!(self.publishes_here > 1 || publish.topic == DEVICE, "the device comes first: {}", publish.topic);
        assert!(self.ids_here.insert(publish.pkid), "ids count up");
        self.again += usize::from(publish.dup);
        self.retained.insert(publish.topic, text.into_bytes());
        Some(publish.pkid)
    }
}

fn state(topic: &str, payload: u64) -> Outgoing {
    Outgoing::new(topic.into(), payload.to_string().into(), Qos::AtLeastOnce, true, 1000).unwrap()
}

fn session(now: Instant) -> Session<Token> {
    let connect = Connect {
        client_id: "box".into(),
        login: None,
        will: Some(state(DEVICE, 0)),
        keep_alive: Duration::from_secs(10),
        answer_within: Duration::from_secs(5),
    };
    Session::connect(connect, now).unwrap()
}

/// Moves at most `cut` bytes each way; says whether anything moved.
fn exchange(session: &mut Session<Token>, queue: &mut Queue, broker: &mut Broker, cut: usize, now: Instant) -> bool {
    while session.is_open() {
        let Some((message, again, token)) = queue.next() else { break };
        session.publish(&message, again, token, now);
    }
    let out = session.output().len().min(cut);
    broker.take(&session.output()[..out]);
    session.written(out);
    let back = broker.output.len().min(cut);
    let bytes = broker.output.split_to(back);
    session.receive(&bytes, now).unwrap();
    while let Some(event) = session.event() {
        match event {
            Event::Connected => queue.connected(),
            Event::Acknowledged(token) => queue.acknowledged(token),
        }
    }
    out + back > 0
}

/// One run: changes of state and cuts, then a connection that holds, then the end. Returns how many messages said that
/// they come again.
fn play(seed: u64) -> usize {
    let mut random = Random(seed);
    let mut now = Instant::now();
    let mut queue = Queue::new(DEVICE.into());
    let mut broker = Broker::default();
    let mut newest = BTreeMap::new();
    let mut number = 1;
    newest.insert(DEVICE.to_owned(), number);
    queue.state(state(DEVICE, number)).unwrap();
    for _ in 0..8 {
        broker.connection();
        let mut session = session(now);
        for _ in 0..random.below(12) {
            now += Duration::from_millis(random.below(4000) as u64);
            if now >= session.deadline() && session.tick(now).is_err() {
                break;
            }
            for _ in 0..random.below(3) {
                number += 1;
                let topic = if random.below(3) == 0 { DEVICE.into() } else { format!("cam{}", random.below(4)) };
                queue.state(state(&topic, number)).unwrap();
                newest.insert(topic, number);
                queue.live(Outgoing::new("d".into(), number.to_string().into(), Qos::AtMostOnce, false, 99).unwrap());
            }
            exchange(&mut session, &mut queue, &mut broker, random.below(60), now);
        }
        queue.disconnected();
        if random.below(3) == 0 {
            broker.retained.clear();
        }
    }
    broker.connection();
    let mut session = session(now);
    while exchange(&mut session, &mut queue, &mut broker, 1 + random.below(60), now) {}
    assert!(session.is_settled(), "every state is acknowledged");
    let expected: BTreeMap<_, _> =
        newest.iter().map(|(topic, number)| (topic.clone(), number.to_string().into_bytes())).collect();
    assert_eq!(broker.retained, expected, "the broker knows the newest of every topic");
    queue.finish(state(DEVICE, number + 1));
    while exchange(&mut session, &mut queue, &mut broker, 1 + random.below(60), now) {}
    assert!(queue.is_finished());
    session.disconnect(now);
    broker.take(session.output());
    assert!(broker.goodbye);
    assert_eq!(broker.retained[DEVICE], (number + 1).to_string().into_bytes());
    broker.again
}

#[test]
fn every_state_arrives_whatever_is_cut() {
    let again: usize = (0..SEEDS).map(play).sum();
    assert!(again > 100, "some were cut between sending and acknowledgement: {again}");
}
