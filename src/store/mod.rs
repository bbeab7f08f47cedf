//! What has to outlive the process: messages on their way to the broker, and those that it has acknowledged, as the
//! event history of the box. Which of them are sent when belongs to `publish::outbox`.
//!
//! - `disk.rs`: the file; `schema.rs` makes and opens it, `commit.rs` numbers and writes, `room.rs` gives up what is oldest,
//!   `read.rs` reads, `wreck.rs` is for a file that is damaged.
//! - `intake.rs`: what was taken between two commits, safe from the end of the process, not from that of the power.
//! - `notes.rs`: what a part of the daemon must know after a restart, in the same commit as the messages that it led to.
//! - `states.rs`: the newest message of every retained topic, which is not given up.
//! - `upgrade.rs`: files of an older version.
//! - `memory.rs`: the same without a disk; `numbering.rs`: who gets which number; `epoch.rs`: numberings rise for ever.
//! - `history.rs`: what `andon events` reads while the daemon writes.
//!
//! # What holds
//!
//! - A number (epoch, seq) is given with the commit, and nobody sees it before the commit is on the disk: no power cut lets
//!   another message have it.
//! - What was accepted survives the end of the process at once, and a power cut once it is committed.
//! - What was handed in together is taken, committed and brought back together, and in the order of its time: whatever ends
//!   this process, notes are those of the last messages that are there.
//! - Ids of a class follow each other without a hole. Messages leave from the front, in large ranges; acknowledgements only
//!   move a cursor.
//! - What is read is what was written, or it is told as a [`Loss`].

mod commit;
mod disk;
mod epoch;
mod failure;
pub mod history;
mod intake;
mod memory;
mod notes;
mod numbering;
mod read;
mod room;
mod row;
mod schema;
mod states;
#[cfg(test)]
mod tests;
mod upgrade;
mod wreck;

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;

pub use self::{
    disk::{Before, Disk, Limits, Remains},
    epoch::without_database as epoch_without_database,
    failure::{Failure, FailureKind},
    intake::Intake,
    memory::Memory,
    notes::{Notes, left as notes_left},
    numbering::{Numbering, series},
    read::{Backlog, Chunk, Wanted},
    states::{STATES_MAX, States},
};

/// How much a message matters: what is sent first, and what is given up last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Alarms, verdicts, gaps. On the disk at once.
    First,
    /// Events and counts.
    Middle,
    /// Pictures.
    Last,
}

impl Class {
    /// All, in the order in which they are sent.
    pub const ALL: [Self; 3] = [Self::First, Self::Middle, Self::Last];

    /// Its name in the file and in listings.
    pub fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Middle => "middle",
            Self::Last => "last",
        }
    }
}

/// Something for each class, indexed by `class as usize`.
pub type PerClass<T> = [T; Class::ALL.len()];

/// A message to keep until the broker has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// How much it matters.
    pub class: Class,
    /// Where it goes.
    pub topic: String,
    /// Whether the broker shall keep it for later subscribers.
    pub retain: bool,
    /// Whether the body is a JSON object, which carries its number on the wire; else it is sent as it is.
    pub numbered: bool,
    /// The message, without number.
    pub body: Bytes,
    /// When it was made, by the wall clock.
    pub made_at: Timestamp,
}

/// A message that has its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its place in its class: rises.
    pub id: u64,
    /// Which numbering the `seq` belongs to.
    pub epoch: u64,
    /// Its number within its [`series`] and epoch, from 1, without a hole.
    pub seq: u64,
    /// The message.
    pub entry: Entry,
}

/// Messages that will never be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Their [`series`]: the topic, or that of several ending in `#`. `None` where it cannot be known.
    pub topic: Option<String>,
    /// The numbering that the bounds belong to; 0 where it cannot be known.
    pub epoch: u64,
    /// The first that may be lost; 0 where it cannot be known.
    pub from: u64,
    /// The last that may be lost; 0 where it cannot be known.
    pub to: u64,
    /// Why.
    pub reason: Reason,
}

/// Why messages will never be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The outbox has its `max_bytes`.
    Full,
    /// They waited longer than `max_age`.
    Age,
    /// What lies on the disk is not what was written.
    Damaged,
    /// They came faster than they could be taken.
    Overload,
    /// The disk fails, and the memory that stands in for it is full.
    Memory,
}

impl Reason {
    /// Its name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Age => "age",
            Self::Damaged => "damaged",
            Self::Overload => "overload",
            Self::Memory => "memory",
        }
    }
}

/// Makes the message that tells of a loss.
pub type GapMaker = Arc<dyn Fn(&Loss) -> Entry + Send + Sync>;

/// What a part of the daemon must know after a restart: the newest of a key replaces the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Whose it is: 1 to 200 bytes; at most [`NOTES_MAX`] keys.
    pub key: String,
    /// What is to be known: at most [`NOTE_BYTES_MAX`]; empty: the key is forgotten.
    pub body: Bytes,
}

/// So many keys have a note at most.
pub const NOTES_MAX: usize = 64;
/// Longest note, in bytes.
pub const NOTE_BYTES_MAX: usize = 512 * 1024;

/// Something that was taken and has no number yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pending {
    /// A message.
    Entry(Entry),
    /// Messages and notes that belong together: all of them outlive the process or the power, or none.
    Group {
        /// The messages; there may be none.
        entries: Vec<Entry>,
        /// The notes; there may be none.
        notes: Vec<Note>,
    },
    /// So many messages of a series that could not be taken: their numbers are spent, so that the hole shows.
    Lost {
        /// Their series.
        series: String,
        /// How many.
        count: u64,
    },
}

impl Pending {
    /// Its messages.
    pub fn entries(&self) -> &[Entry] {
        match self {
            Self::Entry(entry) => std::slice::from_ref(entry),
            Self::Group { entries, .. } => entries,
            Self::Lost { .. } => &[],
        }
    }

    /// Its notes.
    pub fn notes(&self) -> &[Note] {
        match self {
            Self::Group { notes, .. } => notes,
            Self::Entry(_) | Self::Lost { .. } => &[],
        }
    }

    /// About what it takes in memory and on the disk.
    pub fn bytes(&self) -> usize {
        let entries = self.entries().iter().map(|entry| entry.body.len() + entry.topic.len() + 64);
        let notes = self.notes().iter().map(|note| note.body.len() + note.key.len() + 64);
        entries.chain(notes).sum()
    }
}

/// What a commit did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// The messages with their numbers, in the order in which they were taken; gaps among them.
    pub rows: Vec<Row>,
    /// Messages of each class up to this id are not there any more.
    pub given_up: PerClass<u64>,
}
