//! What is said about the line, as plain data: what happened to a thing, an alarm, a part, a count, a sum.
//!
//! Made by `track` and `rules`; how it is written belongs to `format`, who hears it to `daemon`.

mod alarm;
mod count;
mod total;
mod verdict;

use std::sync::Arc;

pub use self::{
    alarm::{Alarm, AlarmState, Priority},
    count::{ClassCount, Closing, Count, Session},
    total::{Entry, EntryKind, Item, Total},
    verdict::{Deadline, Defect, Judgement, Verdict},
};
use crate::moment::Moment;

/// Something that a rule says.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Its own name, unique over restarts: lower-case letters, digits, `_` and `-`.
    pub id: String,
    /// The rule's id.
    pub rule: Arc<str>,
    /// When it happened: the capture of the frame that decided it, or when the command came or the time was over.
    pub at: Moment,
    /// The frame that decided it, by its number.
    pub frame: Option<u64>,
    /// What happened.
    pub what: What,
    /// What led to it, oldest first; at most [`STEPS_MAX`], the last ones.
    pub because: Vec<Step>,
}

/// An event says at most so many of the steps that led to it.
pub const STEPS_MAX: usize = 32;

/// What a rule says.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// An alarm is in another state.
    Alarm(Alarm),
    /// A part is judged.
    Verdict(Verdict),
    /// A counter stands elsewhere.
    Count(Count),
    /// A sum stands elsewhere.
    Total(Total),
    /// A tracked thing crossed a line.
    Crossed(Crossed),
}

/// A tracked thing crossed a line.
#[derive(Clone, Debug, PartialEq)]
pub struct Crossed {
    /// Its track.
    pub track: u64,
    /// Its class.
    pub name: Arc<str>,
    /// Which way.
    pub way: Way,
}

/// Which way a thing crosses a line, or the edge of a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Towards the side that the rule calls inside.
    In,
    /// Away from it.
    Out,
}

impl Way {
    /// The word for it in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
        }
    }
}

/// One of the steps that led to an event.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// When: the capture of the frame, where there is one.
    pub at: Moment,
    /// The frame, by its number.
    pub frame: Option<u64>,
    /// The score that counted.
    pub score: Option<f32>,
    /// What it meant to the rule, in a few words.
    pub meant: String,
}
