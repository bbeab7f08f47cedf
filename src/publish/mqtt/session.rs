//! One MQTT 3.1.1 connection as a state machine: bytes and moments in, bytes and events out.
//!
//! It knows no socket and no clock, so that every order of events can be played to it. rumqttc gives the packets and
//! their encoding, nothing else: its event loop clears what is pending when a broker has forgotten the session, and does
//! not say which publish was acknowledged. A session lives as long as its connection; what was not acknowledged in it is
//! handed to the next one by whoever keeps the messages. QoS 2 is not spoken.

mod message;
mod packets;

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use bytes::{Buf, BytesMut};
use rumqttc::mqttbytes::{
    Error as CodecError,
    v4::{Packet, PubAck, SubAck, SubscribeReasonCode},
};

pub use self::message::{Incoming, Invalid, Outgoing, Qos};
use self::packets::{connect_packet, kind, refusal, subscribe_packet};

/// Longest packet that a device accepts: commands are short, and a broker is not trusted with our memory.
pub const INCOMING_BYTES_MAX: usize = 16 * 1024;
/// Publishes that wait for their acknowledgement at the same time; the next one waits until one has come.
pub const IN_FLIGHT_MAX: usize = 64;
/// A broker that acknowledges nothing for so long, while something waits, is given up: otherwise it would fill the window
/// and nothing would move again. No longer than what the loss of a connection takes to be noticed otherwise.
pub const ACKNOWLEDGE_WITHIN: Duration = Duration::from_secs(20);
/// Longest string of the protocol.
const STRING_BYTES_MAX: usize = 65_535;

/// What a connection begins with. It has no `Debug`, because of the password.
pub struct Connect {
    /// The name under which the broker knows this client; a second client of that name throws out the first.
    pub client_id: String,
    /// User name and password; an empty password is none.
    pub login: Option<(String, String)>,
    /// What the broker publishes for us when the connection ends without a goodbye.
    pub will: Option<Outgoing>,
    /// What is subscribed to, with QoS 1. Without any, what comes all the same is acknowledged and dropped.
    pub filters: Vec<String>,
    /// Longest packet that is accepted, in bytes.
    pub incoming_bytes_max: usize,
    /// Silence of the broker after which it is asked for a sign of life, and then again until it is given up.
    pub keep_alive: Duration,
    /// How long the broker may take to answer.
    pub answer_within: Duration,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<T> {
    /// The broker took us in; messages may be published now.
    Connected,
    /// The broker acknowledged the publish that was given this token.
    Acknowledged(T),
    /// The broker will send what matches the filters, but for these, which it refuses.
    Subscribed {
        /// Filters that it refuses.
        refused: Vec<String>,
    },
    /// A message came. Once it is dealt with, [`Session::acknowledge`] tells the broker.
    Message(Incoming),
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
    filters: Vec<String>,
    /// The packet id of a SUBSCRIBE that was not answered yet, and since when.
    subscribing: Option<(u16, Instant)>,
    incoming_bytes_max: usize,
    last_received: Instant,
    last_written: Instant,
    pinged: Option<Instant>,
    /// When the last acknowledgement came, or the first message began to wait for one.
    acknowledging: Instant,
}

impl<T> Session<T> {
    /// Begins a connection: CONNECT stands in the output.
    ///
    /// # Errors
    /// [`Failure::Protocol`] where the client id or the login cannot be encoded.
    pub fn connect(mut connect: Connect, now: Instant) -> Result<Self, Failure> {
        let filters = std::mem::take(&mut connect.filters);
        if filters.iter().any(|filter| filter.is_empty() || filter.len() > STRING_BYTES_MAX) {
            return Err(Failure::Protocol("a subscription to nothing, or beyond 65535 bytes".into()));
        }
        let mut session = Self {
            connected: false,
            answer_by: now + connect.answer_within,
            keep_alive: connect.keep_alive,
            input: BytesMut::new(),
            output: BytesMut::new(),
            events: VecDeque::new(),
            in_flight: BTreeMap::new(),
            last_id: 0,
            filters,
            subscribing: None,
            incoming_bytes_max: connect.incoming_bytes_max,
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
            match Packet::read(&mut self.input, self.incoming_bytes_max) {
                Ok(packet) => {
                    self.last_received = now;
                    self.pinged = None;
                    self.accept(packet, now)?;
                }
                Err(CodecError::InsufficientBytes(_)) => return Ok(()),
                Err(CodecError::PayloadSizeLimitExceeded(bytes)) => {
                    return Err(Failure::Protocol(format!(
                        "a packet of {bytes} bytes, where {} is the limit",
                        self.incoming_bytes_max
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

    /// Whether the broker has not answered yet what it was asked to send.
    pub fn is_subscribing(&self) -> bool {
        self.subscribing.is_some()
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

    /// Tells the broker that a message was dealt with; in the order in which they came.
    pub fn acknowledge(&mut self, message: &Incoming, now: Instant) {
        if message.qos == Qos::AtLeastOnce {
            self.write(&Packet::PubAck(PubAck::new(message.id)), now);
        }
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
        self.answer_due().map_or(life, |due| life.min(due))
    }

    /// When the broker has to have acknowledged something at the latest.
    fn answer_due(&self) -> Option<Instant> {
        let publish = (!self.in_flight.is_empty()).then_some(self.acknowledging);
        let subscribe = self.subscribing.map(|(_, since)| since);
        [publish, subscribe].into_iter().flatten().min().map(|since| since + ACKNOWLEDGE_WITHIN)
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
        if self.answer_due().is_some_and(|due| now >= due) {
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
                if !self.filters.is_empty() {
                    let id = self.free_id();
                    self.subscribing = Some((id, now));
                    self.write(&subscribe_packet(id, &self.filters), now);
                }
            }
            _ if !self.connected => return Err(Failure::Protocol("another packet before its CONNACK".into())),
            // An id that nobody waits for acknowledges nothing of ours.
            Packet::PubAck(PubAck { pkid }) => {
                if let Some(token) = self.in_flight.remove(&pkid) {
                    self.acknowledging = now;
                    self.events.push_back(Event::Acknowledged(token));
                }
            }
            Packet::Publish(publish) => {
                let message = Incoming::of(publish)
                    .ok_or_else(|| Failure::Protocol("a QoS 2 message, which nobody asked for".into()))?;
                if self.filters.is_empty() {
                    self.acknowledge(&message, now);
                } else {
                    self.events.push_back(Event::Message(message));
                }
            }
            Packet::SubAck(answer) => self.subscribed(&answer)?,
            Packet::PingResp => {}
            other => return Err(Failure::Protocol(format!("an unexpected packet ({})", kind(&other)))),
        }
        Ok(())
    }

    fn subscribed(&mut self, answer: &SubAck) -> Result<(), Failure> {
        // An answer to a question that was not asked says nothing.
        if self.subscribing.is_none_or(|(id, _)| id != answer.pkid) {
            return Ok(());
        }
        self.subscribing = None;
        if answer.return_codes.len() != self.filters.len() {
            return Err(Failure::Protocol("a SUBACK for another number of filters".into()));
        }
        let verdicts = self.filters.iter().zip(&answer.return_codes);
        let refused = verdicts.filter(|(_, code)| **code == SubscribeReasonCode::Failure);
        let refused = refused.map(|(filter, _)| filter.clone()).collect();
        self.events.push_back(Event::Subscribed { refused });
        Ok(())
    }

    fn write(&mut self, packet: &Packet, now: Instant) {
        packet
            .write(&mut self.output, usize::MAX)
            .expect("lengths are checked when a message is made, and QoS 1 has a packet id");
        self.last_written = now;
    }

    /// The next packet id that neither a publish nor a subscription waits for.
    fn free_id(&mut self) -> u16 {
        loop {
            self.last_id = if self.last_id == u16::MAX { 1 } else { self.last_id + 1 };
            let subscribing = self.subscribing.is_some_and(|(id, _)| id == self.last_id);
            if !subscribing && !self.in_flight.contains_key(&self.last_id) {
                return self.last_id;
            }
        }
    }
}

#[cfg(test)]
mod tests;
