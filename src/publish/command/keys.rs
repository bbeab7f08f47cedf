//! The keys of a command, taken out one by one.

use serde_json::{Map, Value};

use super::Refusal;

/// What is said of a number.
pub(super) const NUMBER: &str = "a whole number";
/// A refusal repeats so many characters of a key that is unknown.
const SHOWN_CHARS_MAX: usize = 64;

/// The keys of a command that nobody has asked for yet.
#[derive(Debug)]
pub(super) struct Keys(Map<String, Value>);

impl Keys {
    /// Of a command; `None` where it is no JSON object.
    pub(super) fn read(payload: &[u8]) -> Option<Self> {
        match serde_json::from_slice(payload) {
            Ok(Value::Object(keys)) => Some(Self(keys)),
            _ => None,
        }
    }

    /// The value of a key, where it stands there; `read` makes sense of it, or does not.
    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        takes: &'static str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<Option<T>, Refusal> {
        self.0.remove(key).map(|value| read(&value).ok_or(Refusal::Value(key, takes))).transpose()
    }

    /// The value of a key that has to be there.
    pub(super) fn required<T>(
        &mut self,
        key: &'static str,
        takes: &'static str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<T, Refusal> {
        self.optional(key, takes, read)?.ok_or(Refusal::Value(key, takes))
    }

    /// Refuses what is left; `known` are the keys that such a command has.
    pub(super) fn end(self, known: &'static str) -> Result<(), Refusal> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(unknown) => Err(Refusal::UnknownKey(unknown.chars().take(SHOWN_CHARS_MAX).collect(), known)),
        }
    }
}
