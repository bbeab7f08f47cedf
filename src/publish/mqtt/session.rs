//! One MQTT 3.1.1 connection as a state machine: bytes and moments in, bytes and events out.
//!
//! It knows no socket and no clock, so that every order of events can be played to it. rumqttc gives the packets and
//! their encoding, nothing else: its event loop clears what is pending when a broker has forgotten the session, and does
//! not say which publish was acknowledged. A session lives as long as its connection; what was not acknowledged in it is
//! handed to the next one by whoever keeps the messages. QoS 2 is not spoken.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use bytes::{Buf, Bytes, BytesMut};
use rumqttc::mqttbytes::{
    Error as CodecError, Protocol, QoS,
    v4::{ConnectReturnCode, LastWill, Login, Packet, PubAck, Publish},
};

/// Longest packet that is accepted: nothing is subscribed to, and a broker is not trusted with our memory.
pub const INCOMING_BYTES_MAX: usize = 16 * 1024;
/// Publishes that wait for their acknowledgement at the same time; the next one waits until one has come.
pub const IN_FLIGHT_MAX: usize = 64;
/// A broker that acknowledges nothing for so long, while something waits, is given up: otherwise it would fill the window
/// and nothing would move again.
const ACKNOWLEDGE_WITHIN: Duration = Duration::from_secs(30);
/// Longest string of the protocol.
const STRING_BYTES_MAX: usize = 65_535;

/// How surely a message arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Qos {
    /// QoS 0.
    AtMostOnce,
    /// QoS 1.
    AtLeastOnce,
}

/// What a connection begins with. It has no `Debug`, because of the password.
pub struct Connect {
    /// The name under which the broker knows this client; a second client of that name throws out the first.
    pub client_id: String,
    /// User name and password; an empty password is none.
    pub login: Option<(String, String)>,
    /// What the broker publishes for us when the connection ends without a goodbye.
    pub will: Option<Outgoing>,
    /// Silence of the broker after which it is asked for a sign of life, and then again until it is given up.
    pub keep_alive: Duration,
    /// How long the broker may take to answer.
    pub answer_within: Duration,
}

/// A message to publish, of which it is known that it can be encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    topic: String,
    payload: Bytes,
    qos: Qos,
    retain: bool,
}

/// Why a message cannot be published: it never will be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Empty, with a wildcard or NUL, or longer than the protocol can carry.
    #[error("topic {0:?} cannot be published to; use 1 to 65535 bytes without +, # and NUL")]
    Topic(String),
    /// Longer than the limit.
    #[error("a message of {bytes} bytes for {topic} is longer than the limit of {limit}; send less in one message")]
    TooLong {
        /// Where it was to go.
        topic: String,
        /// Its length on the wire.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<T> {
    /// The broker took us in; messages may be published now.
    Connected,
    /// The broker acknowledged the publish that was given this token.
    Acknowledged(T),
}

/// Why the connection is of no use any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The broker answered CONNECT with a refusal.
    Refused(Refusal),
    /// The broker did not answer: not CONNECT, or not the question for a sign of life.
    Silent,
    /// The broker acknowledges nothing.
    Unacknowledged,
    /// Something that MQTT 3.1.1 does not allow, in words for a person.
    Protocol(String),
}

/// The broker's answers to CONNECT other than "accepted".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// 1: it does not speak MQTT 3.1.1.
    Version,
    /// 2: not with this client id.
    ClientId,
    /// 3: not now.
    Unavailable,
    /// 4 and 5: not with this user name and password, or not without.
    Credentials,
}

/// One connection. `T` is what the owner recognises an acknowledged publish by.
pub struct Session<T> {
    connected: bool,
    answer_by: Instant,
    keep_alive: Duration,
    input: BytesMut,
    output: BytesMut,
    events: VecDeque<Event<T>>,
    /// By packet id, at most [`IN_FLIGHT_MAX`].
    in_flight: BTreeMap<u16, T>,
    last_id: u16,
    last_received: Instant,
    last_written: Instant,
    pinged: Option<Instant>,
    /// When the last acknowledgement came, or the first message began to wait for one.
    acknowledging: Instant,
}

impl Outgoing {
    /// Checks a message once, so that no connection can fail over it.
    ///
    /// # Errors
    /// Where the topic is no topic, or the packet is longer than `bytes_max`.
    pub fn new(topic: String, payload: Bytes, qos: Qos, retain: bool, bytes_max: usize) -> Result<Self, Invalid> {
        if topic.is_empty() || topic.len() > STRING_BYTES_MAX || topic.contains(['+', '#', '\0']) {
            return Err(Invalid::Topic(topic.chars().take(100).collect()));
        }
        let outgoing = Self { topic, payload, qos, retain };
        let bytes = outgoing.bytes();
        if bytes > bytes_max {
            return Err(Invalid::TooLong { topic: outgoing.topic, bytes, limit: bytes_max });
        }
        Ok(outgoing)
    }

    /// Where it goes.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Its length on the wire.
    pub fn bytes(&self) -> usize {
        self.packet(1, false).size()
    }

    fn packet(&self, id: u16, again: bool) -> Publish {
        let mut publish = Publish::from_bytes(self.topic.clone(), codec_qos(self.qos), self.payload.clone());
        publish.retain = self.retain;
        if self.qos == Qos::AtLeastOnce {
            publish.pkid = id;
            publish.dup = again;
        }
        publish
    }
}

impl<T> Session<T> {
    /// Begins a connection: CONNECT stands in the output.
    ///
    /// # Errors
    /// [`Failure::Protocol`] where the client id or the login cannot be encoded.
    pub fn connect(connect: Connect, now: Instant) -> Result<Self, Failure> {
        let mut session = Self {
            connected: false,
            answer_by: now + connect.answer_within,
            keep_alive: connect.keep_alive,
            input: BytesMut::new(),
            output: BytesMut::new(),
            events: VecDeque::new(),
            in_flight: BTreeMap::new(),
            last_id: 0,
            last_received: now,
            last_written: now,
            pinged: None,
            acknowledging: now,
        };
        session.write(&connect_packet(connect)?, now);
        Ok(session)
    }

    /// Takes bytes from the broker.
    ///
    /// # Errors
    /// The connection has to be closed then.
    pub fn receive(&mut self, bytes: &[u8], now: Instant) -> Result<(), Failure> {
        self.input.extend_from_slice(bytes);
        loop {
            match Packet::read(&mut self.input, INCOMING_BYTES_MAX) {
                Ok(packet) => {
                    self.last_received = now;
                    self.pinged = None;
                    self.accept(packet, now)?;
                }
                Err(CodecError::InsufficientBytes(_)) => return Ok(()),
                Err(CodecError::PayloadSizeLimitExceeded(bytes)) => {
                    return Err(Failure::Protocol(format!(
                        "a packet of {bytes} bytes, where {INCOMING_BYTES_MAX} is the limit"
                    )));
                }
                Err(error) => return Err(Failure::Protocol(format!("a damaged packet ({error})"))),
            }
        }
    }

    /// What happened since, oldest first.
    pub fn event(&mut self) -> Option<Event<T>> {
        self.events.pop_front()
    }

    /// Whether another message may be published now.
    pub fn is_open(&self) -> bool {
        self.connected && self.in_flight.len() < IN_FLIGHT_MAX
    }

    /// Whether every publish of this connection was acknowledged.
    pub fn is_settled(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// Publishes; `again` marks a message that was already sent in an earlier connection and not acknowledged. The token
    /// comes back with the acknowledgement; QoS 0 has none, so there the token is dropped.
    ///
    /// # Panics
    /// Where the session is not open.
    pub fn publish(&mut self, message: &Outgoing, again: bool, token: T, now: Instant) {
        assert!(self.is_open(), "publish() is called while is_open()");
        let id = match message.qos {
            Qos::AtMostOnce => 0,
            Qos::AtLeastOnce => {
                if self.in_flight.is_empty() {
                    self.acknowledging = now;
                }
                let id = self.free_id();
                self.in_flight.insert(id, token);
                id
            }
        };
        self.write(&Packet::Publish(message.packet(id, again)), now);
    }

    /// Says goodbye: the broker forgets the will.
    pub fn disconnect(&mut self, now: Instant) {
        self.write(&Packet::Disconnect, now);
    }

    /// Bytes for the broker, to be marked with [`Session::written`].
    pub fn output(&self) -> &[u8] {
        &self.output
    }

    /// So many bytes of the output were handed to the network.
    pub fn written(&mut self, bytes: usize) {
        self.output.advance(bytes);
    }

    /// When [`Session::tick`] is due, if nothing comes before.
    pub fn deadline(&self) -> Instant {
        if !self.connected {
            return self.answer_by;
        }
        let life = match self.pinged {
            Some(pinged) => pinged + self.keep_alive,
            None => self.last_received.min(self.last_written) + self.keep_alive,
        };
        if self.in_flight.is_empty() { life } else { life.min(self.acknowledging + ACKNOWLEDGE_WITHIN) }
    }

    /// Time has passed: asks for a sign of life, or gives up.
    ///
    /// The broker is asked when *it* was silent, however much we send: a stream of QoS 0 messages into a dead connection
    /// looks alive from here for many minutes. A dead connection is so noticed within twice the keep-alive.
    ///
    /// # Errors
    /// The connection has to be closed then.
    pub fn tick(&mut self, now: Instant) -> Result<(), Failure> {
        if now < self.deadline() {
            return Ok(());
        }
        if !self.connected || self.pinged.is_some_and(|pinged| now >= pinged + self.keep_alive) {
            return Err(Failure::Silent);
        }
        if !self.in_flight.is_empty() && now >= self.acknowledging + ACKNOWLEDGE_WITHIN {
            return Err(Failure::Unacknowledged);
        }
        self.pinged = Some(now);
        self.write(&Packet::PingReq, now);
        Ok(())
    }

    fn accept(&mut self, packet: Packet, now: Instant) -> Result<(), Failure> {
        match packet {
            Packet::ConnAck(answer) if !self.connected => {
                refusal(answer.code).map_or(Ok(()), |refusal| Err(Failure::Refused(refusal)))?;
                self.connected = true;
                self.events.push_back(Event::Connected);
            }
            _ if !self.connected => return Err(Failure::Protocol("another packet before its CONNACK".into())),
            // An id that nobody waits for acknowledges nothing of ours.
            Packet::PubAck(PubAck { pkid }) => {
                if let Some(token) = self.in_flight.remove(&pkid) {
                    self.acknowledging = now;
                    self.events.push_back(Event::Acknowledged(token));
                }
            }
            // Nothing is subscribed to: what comes all the same is acknowledged as the protocol wants it, and dropped.
            Packet::Publish(publish) => match publish.qos {
                QoS::AtMostOnce => {}
                QoS::AtLeastOnce => self.write(&Packet::PubAck(PubAck::new(publish.pkid)), now),
                QoS::ExactlyOnce => {
                    return Err(Failure::Protocol("a QoS 2 message, which nobody asked for".into()));
                }
            },
            Packet::SubAck(_) | Packet::PingResp => {}
            other => return Err(Failure::Protocol(format!("an unexpected packet ({})", kind(&other)))),
        }
        Ok(())
    }

    fn write(&mut self, packet: &Packet, now: Instant) {
        packet
            .write(&mut self.output, usize::MAX)
            .expect("lengths are checked when a message is made, and QoS 1 has a packet id");
        self.last_written = now;
    }

    /// The next packet id that no publish waits for.
    fn free_id(&mut self) -> u16 {
        loop {
            self.last_id = if self.last_id == u16::MAX { 1 } else { self.last_id + 1 };
            if !self.in_flight.contains_key(&self.last_id) {
                return self.last_id;
            }
        }
    }
}

fn connect_packet(connect: Connect) -> Result<Packet, Failure> {
    let mut packet = rumqttc::mqttbytes::v4::Connect::new(connect.client_id);
    packet.protocol = Protocol::V4;
    packet.clean_session = true;
    // Rounded up: the broker gives us up after one and a half times this.
    packet.keep_alive = u16::try_from(connect.keep_alive.as_millis().div_ceil(1000)).unwrap_or(u16::MAX);
    packet.last_will = connect.will.map(|will| LastWill {
        topic: will.topic,
        message: will.payload,
        qos: codec_qos(will.qos),
        retain: will.retain,
    });
    packet.login = connect.login.map(|(username, password)| Login { username, password });
    let login = packet.login.as_ref();
    let login_bytes = login.map_or(0, |login| login.username.len().max(login.password.len()));
    let will_bytes = packet.last_will.as_ref().map_or(0, |will| will.message.len());
    if packet.client_id.len().max(login_bytes).max(will_bytes) > STRING_BYTES_MAX {
        return Err(Failure::Protocol("a client id, user name, password or last will beyond 65535 bytes".into()));
    }
    if login.is_some_and(|login| login.username.is_empty()) {
        return Err(Failure::Protocol("a password without a user name".into()));
    }
    Ok(Packet::Connect(packet))
}

fn codec_qos(qos: Qos) -> QoS {
    match qos {
        Qos::AtMostOnce => QoS::AtMostOnce,
        Qos::AtLeastOnce => QoS::AtLeastOnce,
    }
}

fn refusal(code: ConnectReturnCode) -> Option<Refusal> {
    match code {
        ConnectReturnCode::Success => None,
        ConnectReturnCode::RefusedProtocolVersion => Some(Refusal::Version),
        ConnectReturnCode::BadClientId => Some(Refusal::ClientId),
        ConnectReturnCode::ServiceUnavailable => Some(Refusal::Unavailable),
        ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized => Some(Refusal::Credentials),
    }
}

fn kind(packet: &Packet) -> &'static str {
    match packet {
        Packet::Connect(_) => "CONNECT",
        Packet::ConnAck(_) => "CONNACK",
        Packet::Publish(_) => "PUBLISH",
        Packet::PubAck(_) => "PUBACK",
        Packet::PubRec(_) => "PUBREC",
        Packet::PubRel(_) => "PUBREL",
        Packet::PubComp(_) => "PUBCOMP",
        Packet::Subscribe(_) => "SUBSCRIBE",
        Packet::SubAck(_) => "SUBACK",
        Packet::Unsubscribe(_) => "UNSUBSCRIBE",
        Packet::UnsubAck(_) => "UNSUBACK",
        Packet::PingReq => "PINGREQ",
        Packet::PingResp => "PINGRESP",
        Packet::Disconnect => "DISCONNECT",
    }
}

#[cfg(test)]
mod tests;
