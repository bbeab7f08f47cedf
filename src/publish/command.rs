//! What the plant may ask of a device: which topics are commands, what stands in them, and how many are taken. Pure; who
//! does what is asked stands elsewhere.
//!
//! A command says what to do, never with which file or address. Whoever may publish to the broker may send one, so they are
//! off unless configured, short, and checked key by key.
//!
//! - `desk.rs`: where they come in, and how many; `keys.rs`: how a key is taken out of one.
//! - `resend.rs`: messages again; `rule.rs`: what is asked of rules and cameras.

mod desk;
mod keys;
mod resend;
mod rule;

pub use self::{
    desk::Desk,
    resend::{RESEND_COUNT_MAX, Resend},
    rule::{QUANTITY_MAX, SHELVE_SECONDS_MAX},
};
use crate::rules::Order;

/// Longest command in bytes.
pub const COMMAND_BYTES_MAX: usize = 4096;
/// Commands that are taken in a second, and refusals that are answered.
const PER_SECOND: u32 = 10;

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// To take note of an alarm.
    Ack,
    /// To silence an alarm for a time.
    Shelve,
    /// To begin again: an alarm, a part, a session.
    Reset,
    /// To begin a part or a session.
    Open,
    /// To end a part or a session.
    Close,
    /// To take back what was counted.
    Void,
    /// To set how many there are.
    Correct,
    /// To publish what a camera sees now.
    Snapshot,
    /// To send messages again.
    Resend,
}

impl Verb {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Ack,
        Self::Shelve,
        Self::Reset,
        Self::Open,
        Self::Close,
        Self::Void,
        Self::Correct,
        Self::Snapshot,
        Self::Resend,
    ];

    /// The word for it in topics and in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ack => "ack",
            Self::Shelve => "shelve",
            Self::Reset => "reset",
            Self::Open => "open",
            Self::Close => "close",
            Self::Void => "void",
            Self::Correct => "correct",
            Self::Snapshot => "snapshot",
            Self::Resend => "resend",
        }
    }

    /// The shortest that such a command may be.
    fn example(self) -> &'static str {
        match self {
            Self::Ack | Self::Reset | Self::Open | Self::Close => r#"{"rule": "…"}"#,
            Self::Shelve => r#"{"rule": "…", "seconds": 600}"#,
            Self::Void | Self::Correct => r#"{"rule": "…", "name": "…", "quantity": 1}"#,
            Self::Snapshot => "{}",
            Self::Resend => r#"{"topic": "…", "from": 1, "to": 9}"#,
        }
    }
}

/// Something to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Send messages again.
    Resend(Resend),
    /// Something for a rule.
    Rule {
        /// The camera's id; `None` where the asker knows of only one.
        camera: Option<String>,
        /// The rule's id.
        rule: String,
        /// What to do.
        order: Order,
    },
    /// Publish what a camera sees now.
    Snapshot {
        /// The camera's id; `None` where the asker knows of only one.
        camera: Option<String>,
    },
}

/// A command that came, to be done or refused, and to be answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// What was asked for.
    pub verb: Verb,
    /// The asker's own name for it, which the answer repeats.
    pub id: Option<String>,
    /// What to do, or why it is not done.
    pub command: Result<Command, Refusal>,
}

/// Why a command is not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Longer than any command.
    #[error("the command has {0} bytes, and {COMMAND_BYTES_MAX} are the limit; send less")]
    TooLong(usize),
    /// Not a JSON object.
    #[error("the command is no JSON object; send {0}")]
    NoObject(&'static str),
    /// A key that no such command has.
    #[error("the key {0:?} is unknown; known are {1}")]
    UnknownKey(String, &'static str),
    /// A key that is missing, or another kind of value than it takes.
    #[error("the key {0:?} takes {1}; write it so")]
    Value(&'static str, &'static str),
    /// A topic of somebody else.
    #[error("the topic {0:?} is not one of this device's; write one that begins with {1:?}")]
    ForeignTopic(String, String),
    /// A range without a number in it.
    #[error("the range {0} to {1} is empty; write from ≥ 1 and to ≥ from")]
    Empty(u64, u64),
    /// More than may be asked for at once.
    #[error("the range {0} to {1} is too long; ask for {RESEND_COUNT_MAX} at once at most")]
    TooMany(u64, u64),
    /// Too many commands.
    #[error("more than {PER_SECOND} commands in a second; ask again later")]
    TooOften,
}

#[cfg(test)]
mod tests;
