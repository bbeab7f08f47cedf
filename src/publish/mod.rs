//! Tells the plant: what is said (`wire`), when (`clock`), and how it reaches the broker (`mqtt`); what the plant may ask
//! (`command`, `commands`); and how Home Assistant learns of it (`home_assistant`).
//!
//! Nothing here blocks the one who publishes and nothing fails it: a broker that is away, slow or wrong is a state of the
//! [`mqtt::Link`], with a reason that says what to do. What a detection looks like in JSON belongs to `format`, what a
//! device or camera is like to `daemon`.
//!
//! A [`Message`] says by its [`Delivery`] how much it matters. Each delivery is a lane of `mqtt/queue.rs` with the same
//! three moves: *next unsent*, *acknowledged*, *connection lost*; the session reports acknowledgements by the token that a
//! lane gave along, so that a lane that lives on disk stands beside the two that live in memory.

#[cfg(feature = "demo-broker")]
pub mod broker;
pub mod clock;
pub mod command;
pub mod commands;
pub mod home_assistant;
pub mod kept;
pub mod listener;
pub mod mqtt;
pub mod outbox;
pub mod wire;

use bytes::Bytes;

use crate::store::Class;

/// Something to tell, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The topic, without wildcards.
    pub topic: String,
    /// The bytes to send.
    pub payload: Bytes,
    /// How much it matters.
    pub delivery: Delivery,
}

/// How much a message matters, and so what happens to it while the broker is away or slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Of interest now or never: not retained, not kept while the broker is away; a slow broker costs the oldest. Both
    /// are counted.
    Live,
    /// How things are: retained, QoS 1. The newest of a topic replaces the one before, and the current one of every topic
    /// is sent again at every connection, since a broker may have forgotten it.
    State,
    /// Must not be lost: QoS 1, on the disk before it is first sent and until the broker has acknowledged it.
    Kept {
        /// What is sent first, and what is given up last.
        class: Class,
        /// Whether the broker shall keep it for later subscribers.
        retain: bool,
        /// Whether the payload is a JSON object, to which `epoch`, `seq` and `replayed` are added on the wire.
        numbered: bool,
    },
    /// The answer to a command: QoS 1, not retained, and of no use to anybody without the connection that asked.
    Answer,
}
