//! Queue, outbox lane and session against a broker and a network that are played: connections are cut at every byte, the
//! broker forgets, the device is killed, time passes; everything is decided by a seed.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use rumqttc::mqttbytes::{
    QoS,
    v4::{ConnAck, ConnectReturnCode, Packet, PubAck, Publish},
};

use super::{
    queue::{Queue, Token},
    session::{Connect, Event, INCOMING_BYTES_MAX, Outgoing, Qos, Session},
};
use crate::{
    publish::outbox::lane::Lane,
    random::Rng,
    store::{Class, Entry, Row},
};

const DEVICE: &str = "andon/box/status";
const SEEDS: u64 = 10_000;

/// What a broker remembers, one connection to it, and a subscriber.
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
    /// What it has taken of the outbox's messages, ever, by class and number.
    taken: BTreeSet<(usize, u64)>,
    /// The last number of each class that this connection brought, leaving out what was asked for again.
    last_here: [u64; 3],
    /// Taken, and not handed to the subscriber yet.
    unforwarded: VecDeque<(usize, u64)>,
    subscriber: Subscriber,
}

/// Keeps the rule of the contract: what is not above the last number it saw is dropped, unless it misses it.
#[derive(Default)]
struct Subscriber {
    last: [u64; 3],
    missing: BTreeSet<(usize, u64)>,
    /// It has asked for what is missing.
    asking: bool,
    duplicates: usize,
    /// What came behind a higher number without being asked for.
    inversions: usize,
}

impl Subscriber {
    fn hear(&mut self, class: usize, seq: u64) {
        if seq > self.last[class] {
            self.missing.extend((self.last[class] + 1..seq).map(|lost| (class, lost)));
            self.last[class] = seq;
        } else if !self.missing.remove(&(class, seq)) {
            self.duplicates += 1;
        } else if !self.asking {
            self.inversions += 1;
        }
    }
}

impl Broker {
    fn connection(&mut self) {
        self.input.clear();
        self.output.clear();
        self.publishes_here = 0;
        self.ids_here.clear();
        self.goodbye = false;
        self.last_here = [0; 3];
    }

    /// It is killed and started again: it has kept nothing.
    fn forget(&mut self) {
        self.retained.clear();
        self.unforwarded.clear();
    }

    fn forward(&mut self, count: usize) {
        for (class, seq) in self.unforwarded.drain(..count.min(self.unforwarded.len())) {
            self.subscriber.hear(class, seq);
        }
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
        assert!(self.publishes_here > 1 || publish.topic == DEVICE, "the device comes first: {}", publish.topic);
        assert!(self.ids_here.insert(publish.pkid), "ids count up");
        self.again += usize::from(publish.dup);
        if let Some(class) = publish.topic.strip_prefix("kept/") {
            self.publish_kept(class.parse().unwrap(), &text, publish.dup);
        } else {
            assert!(publish.retain);
            self.retained.insert(publish.topic, text.into_bytes());
        }
        Some(publish.pkid)
    }

    fn publish_kept(&mut self, class: usize, text: &str, dup: bool) {
        let body: serde_json::Value = serde_json::from_str(text).unwrap();
        let seq = body["seq"].as_u64().unwrap();
        assert_eq!((body["n"].as_u64(), body["epoch"].as_u64()), (Some(seq), Some(5)), "the number is the message's");
        // Asked for again, it comes between the others.
        if seq > self.last_here[class] {
            self.last_here[class] = seq;
        } else {
            assert!(!dup && self.taken.contains(&(class, seq)), "in order within a connection: {class} {seq}");
        }
        self.taken.insert((class, seq));
        self.unforwarded.push_back((class, seq));
    }
}

/// What the device has on its disk.
#[derive(Default)]
struct Disk {
    rows: [Vec<Row>; 3],
    /// What is known to be done after a restart: it may be older than what was.
    done_through: [u64; 3],
}

impl Disk {
    fn append(&mut self, class: usize) {
        let id = self.rows[class].len() as u64 + 1;
        let entry = Entry {
            class: Class::ALL[class],
            topic: format!("kept/{class}"),
            retain: false,
            numbered: true,
            body: Bytes::from(format!("{{\"n\":{id}}}")),
            made_at: Timestamp::UNIX_EPOCH,
        };
        self.rows[class].push(Row { id, epoch: 5, seq: id, entry });
    }

    fn fill(&self, lane: &mut Lane) {
        for (class, rows) in Class::ALL.into_iter().zip(&self.rows) {
            while lane.has_room(class)
                && let Some(row) = rows.get(lane.last_id(class) as usize)
            {
                lane.put(row.clone(), true);
            }
        }
    }

    fn sync(&mut self, lane: &Lane) {
        self.done_through = Class::ALL.map(|class| lane.done_through(class));
    }

    fn restarted(&self) -> Lane {
        let mut lane = Lane::default();
        for (class, done) in Class::ALL.into_iter().zip(self.done_through) {
            lane.skip_through(class, done);
        }
        lane
    }
}

fn state(topic: &str, payload: u64) -> Outgoing {
    Outgoing::new(topic.into(), payload.to_string().into(), Qos::AtLeastOnce, true, 1000).unwrap()
}

fn live(payload: u64) -> Outgoing {
    Outgoing::new("d".into(), payload.to_string().into(), Qos::AtMostOnce, false, 99).unwrap()
}

fn session(now: Instant) -> Session<Token> {
    let connect = Connect {
        client_id: "box".into(),
        login: None,
        will: Some(state(DEVICE, 0)),
        filters: Vec::new(),
        incoming_bytes_max: INCOMING_BYTES_MAX,
        keep_alive: Duration::from_secs(10),
        answer_within: Duration::from_secs(5),
    };
    Session::connect(connect, now).unwrap()
}

/// All that is played.
struct World {
    random: Rng,
    now: Instant,
    queue: Queue,
    lane: Lane,
    disk: Disk,
    broker: Broker,
    newest: BTreeMap<String, u64>,
    number: u64,
    /// The device was killed, and may have begun again with what it had sent long before.
    restarted: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut world = Self {
            random: Rng::new(seed, 0),
            now: Instant::now(),
            queue: Queue::new(DEVICE.into()),
            lane: Lane::default(),
            disk: Disk::default(),
            broker: Broker::default(),
            newest: BTreeMap::new(),
            number: 0,
            restarted: false,
        };
        world.say(DEVICE);
        world
    }

    fn below(&mut self, n: i32) -> usize {
        self.random.below(n) as usize
    }

    fn say(&mut self, topic: &str) {
        self.number += 1;
        self.queue.state(state(topic, self.number)).unwrap();
        self.newest.insert(topic.to_owned(), self.number);
    }

    /// Something happens on the line.
    fn happen(&mut self) {
        let topic = if self.random.chance(33) { DEVICE.into() } else { format!("cam{}", self.below(4)) };
        self.say(&topic);
        self.queue.live(live(self.number));
        let class = self.below(3);
        self.disk.append(class);
    }

    /// Moves at most `cut` bytes each way; says whether anything moved.
    fn exchange(&mut self, session: &mut Session<Token>, cut: usize) -> bool {
        self.disk.fill(&mut self.lane);
        while session.is_open() {
            let Some((message, again, token)) = self.queue.next(&mut self.lane, self.now) else { break };
            session.publish(&message, again, token, self.now);
        }
        let out = session.output().len().min(cut);
        self.broker.take(&session.output()[..out]);
        session.written(out);
        let back = self.broker.output.len().min(cut);
        let bytes = self.broker.output.split_to(back);
        session.receive(&bytes, self.now).unwrap();
        while let Some(event) = session.event() {
            match event {
                Event::Connected => {
                    self.queue.connected();
                    self.lane.connected();
                }
                Event::Acknowledged(Token::Kept(key)) => self.lane.acknowledged(key),
                Event::Acknowledged(token) => self.queue.acknowledged(token),
                other => panic!("nothing is subscribed to: {other:?}"),
            }
        }
        if self.random.chance(20) {
            self.disk.sync(&self.lane);
        }
        let some = self.below(4);
        self.broker.forward(some);
        out + back > 0
    }

    /// A connection that is cut at some byte, and what may go wrong at the same time.
    fn troubled_connection(&mut self) {
        self.broker.connection();
        let mut session = session(self.now);
        for _ in 0..self.random.below(12) {
            let pause = Duration::from_millis(self.below(4000) as u64);
            self.now += pause;
            if self.now >= session.deadline() && session.tick(self.now).is_err() {
                break;
            }
            for _ in 0..self.below(3) {
                self.happen();
            }
            let cut = self.below(300);
            self.exchange(&mut session, cut);
        }
        self.queue.disconnected();
        self.lane.disconnected();
        if self.random.chance(33) {
            self.broker.forget();
        }
        if self.random.chance(20) {
            self.restarted = true;
            self.lane = self.disk.restarted();
            self.queue = Queue::new(DEVICE.into());
            for (topic, number) in &self.newest {
                self.queue.state(state(topic, *number)).unwrap();
            }
        }
    }

    fn run_dry(&mut self, session: &mut Session<Token>) {
        loop {
            let cut = 1 + self.below(300);
            if !self.exchange(session, cut) && session.is_settled() {
                return;
            }
        }
    }

    /// The subscriber asks for what it has not seen, until nothing is missing; what it cannot know of yet it learns from the
    /// numbers that a status carries.
    fn ask_again(&mut self, session: &mut Session<Token>) -> usize {
        let mut asked = 0;
        self.broker.forward(usize::MAX);
        self.broker.subscriber.asking = true;
        for class in 0..3 {
            let sent = self.disk.rows[class].len() as u64;
            let subscriber = &mut self.broker.subscriber;
            subscriber.missing.extend((subscriber.last[class] + 1..=sent).map(|seq| (class, seq)));
            subscriber.last[class] = sent;
        }
        while let Some((class, seq)) = self.broker.subscriber.missing.first().copied() {
            asked += 1;
            self.lane.put_again(self.disk.rows[class][seq as usize - 1].clone());
            self.run_dry(session);
            self.broker.forward(usize::MAX);
            assert!(!self.broker.subscriber.missing.contains(&(class, seq)), "what was asked for comes");
        }
        asked
    }
}

/// What came of one run.
#[derive(Default)]
struct Played {
    /// Messages that said that they come again.
    again: usize,
    /// Messages that the broker had forgotten, and that were asked for.
    asked: usize,
    duplicates: usize,
}

/// One run: changes, cuts and crashes, then a connection that holds, then the end.
fn play(seed: u64) -> Played {
    let mut world = World::new(seed);
    for _ in 0..8 {
        world.troubled_connection();
    }
    world.broker.connection();
    let mut session = session(world.now);
    world.run_dry(&mut session);
    assert!(session.is_settled() && world.lane.is_empty(), "everything is acknowledged");
    let expected: BTreeMap<_, _> =
        world.newest.iter().map(|(topic, number)| (topic.clone(), number.to_string().into_bytes())).collect();
    assert_eq!(world.broker.retained, expected, "the broker knows the newest of every topic");
    for class in 0..3 {
        for row in &world.disk.rows[class] {
            assert!(world.broker.taken.contains(&(class, row.seq)), "seed {seed}: {class} {} arrived", row.seq);
        }
    }
    let asked = world.ask_again(&mut session);
    assert!(world.restarted || world.broker.subscriber.inversions == 0, "seed {seed}");
    world.queue.finish(Some(state(DEVICE, world.number + 1)), world.now);
    world.run_dry(&mut session);
    assert!(world.queue.is_finished());
    session.disconnect(world.now);
    world.broker.take(session.output());
    assert!(world.broker.goodbye);
    assert_eq!(world.broker.retained[DEVICE], (world.number + 1).to_string().into_bytes());
    Played { again: world.broker.again, asked, duplicates: world.broker.subscriber.duplicates }
}

#[test]
fn everything_arrives_in_order_whatever_is_cut_forgotten_or_killed() {
    let mut all = Played::default();
    for seed in 0..SEEDS {
        let Played { again, asked, duplicates } = play(seed);
        all.again += again;
        all.asked += asked;
        all.duplicates += duplicates;
    }
    println!(
        "{SEEDS} runs: {} sent again, {} asked for again, {} dropped as seen",
        all.again, all.asked, all.duplicates
    );
    assert!(all.again > 100, "some were cut between sending and acknowledgement: {}", all.again);
    assert!(all.asked > 100, "the broker forgot some that it had acknowledged: {}", all.asked);
    assert!(all.duplicates > 100, "some came twice: {}", all.duplicates);
}
