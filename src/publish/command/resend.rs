//! The command to send messages again.

use serde_json::Value;

use super::{
    Refusal,
    keys::{Keys, NUMBER},
};

/// Most numbers that one command may ask for again.
pub const RESEND_COUNT_MAX: u64 = 10_000;

/// Which messages to send again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resend {
    /// Of this topic, which is one of the device's,
    pub topic: String,
    /// of this numbering, or the current one,
    pub epoch: Option<u64>,
    /// from this number, at least 1,
    pub from: u64,
    /// to this one, which is not below and at most [`RESEND_COUNT_MAX`] further.
    pub to: u64,
}

/// Makes sense of the keys; `own` is what the device's topics begin with.
pub(super) fn read(mut keys: Keys, own: &str) -> Result<Resend, Refusal> {
    let topic = keys.required("topic", "a text", |value| value.as_str().map(str::to_owned))?;
    let epoch = keys.optional("epoch", NUMBER, Value::as_u64)?;
    let (from, to) = (keys.required("from", NUMBER, Value::as_u64)?, keys.required("to", NUMBER, Value::as_u64)?);
    keys.end("topic, epoch, from, to and id")?;
    if !topic.starts_with(own) {
        return Err(Refusal::ForeignTopic(topic.chars().take(200).collect(), own.to_owned()));
    }
    if from == 0 || to < from {
        return Err(Refusal::Empty(from, to));
    }
    if to - from >= RESEND_COUNT_MAX {
        return Err(Refusal::TooMany(from, to));
    }
    Ok(Resend { topic, epoch, from, to })
}
