//! Messages as the outbox keeps them.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{
    Delivery, Message,
    clock::Reading,
    outbox::Outbox,
    wire::{Gap, Number, Wire},
};
use crate::store::{Class, Entry, Loss};

/// A message to keep; one whose delivery does not ask for that is kept as an event without a number.
pub fn entry(message: Message, made_at: Timestamp) -> Entry {
    let (class, retain, numbered) = match message.delivery {
        Delivery::Kept { class, retain, numbered } => (class, retain, numbered),
        Delivery::Live | Delivery::State | Delivery::Answer => (Class::Middle, false, false),
    };
    Entry { class, topic: message.topic, retain, numbered, body: message.payload, made_at }
}

/// Makes the message with which a device tells of a loss.
pub fn gaps(wire: Wire) -> impl Fn(&Loss) -> Entry + Send + Sync + 'static {
    move |loss| {
        let now = Reading::now();
        let Loss { topic, epoch, from, to, reason } = loss;
        let gap = Gap { topic: topic.as_deref(), epoch: *epoch, from: *from, to: *to, reason: reason.name() };
        entry(wire.gap(&now, &gap), now.timestamp)
    }
}

/// The last number of each topic, for the status.
pub fn numbers(outbox: &Outbox) -> BTreeMap<String, Number> {
    outbox.last_seqs().into_iter().map(|(topic, epoch, seq)| (topic, Number { epoch, seq })).collect()
}
