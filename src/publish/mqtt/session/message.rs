//! Messages on their way out and in, of which it is known that the protocol can carry them.

use bytes::Bytes;
use rumqttc::mqttbytes::{QoS, v4::Publish};

use super::STRING_BYTES_MAX;

/// How surely a message arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Qos {
    /// QoS 0.
    AtMostOnce,
    /// QoS 1.
    AtLeastOnce,
}

/// A message to publish, of which it is known that it can be encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    pub(super) topic: String,
    pub(super) payload: Bytes,
    pub(super) qos: Qos,
    pub(super) retain: bool,
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
    /// Messages and notes that belong together are more than can be taken at once.
    #[error("{bytes} bytes of messages and notes are too much to be taken together; hand in less at once")]
    Group {
        /// What they take.
        bytes: usize,
    },
    /// It cannot be kept.
    #[error("the note {key:?} cannot be kept: {reason}; note less")]
    Note {
        /// Whose it is.
        key: String,
        /// Why.
        reason: &'static str,
    },
}

/// A message that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// Where it was published.
    pub topic: String,
    /// What it says.
    pub payload: Bytes,
    /// How surely it was sent to us.
    pub qos: Qos,
    /// The broker had kept it from before.
    pub retain: bool,
    /// The broker may have sent it before.
    pub dup: bool,
    /// By which the broker knows it; zero for [`Qos::AtMostOnce`].
    pub(super) id: u16,
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

    /// What it says.
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// Its length on the wire.
    pub fn bytes(&self) -> usize {
        self.packet(1, false).size()
    }

    pub(super) fn packet(&self, id: u16, again: bool) -> Publish {
        let mut publish = Publish::from_bytes(self.topic.clone(), codec_qos(self.qos), self.payload.clone());
        publish.retain = self.retain;
        if self.qos == Qos::AtLeastOnce {
            publish.pkid = id;
            publish.dup = again;
        }
        publish
    }
}

impl Incoming {
    /// `None` for a message of QoS 2, which is not spoken.
    pub(super) fn of(publish: Publish) -> Option<Self> {
        let qos = match publish.qos {
            QoS::AtMostOnce => Qos::AtMostOnce,
            QoS::AtLeastOnce => Qos::AtLeastOnce,
            QoS::ExactlyOnce => return None,
        };
        let Publish { dup, retain, topic, pkid, payload, .. } = publish;
        Some(Self { topic, payload, qos, retain, dup, id: pkid })
    }
}

pub(super) fn codec_qos(qos: Qos) -> QoS {
    match qos {
        Qos::AtMostOnce => QoS::AtMostOnce,
        Qos::AtLeastOnce => QoS::AtLeastOnce,
    }
}
