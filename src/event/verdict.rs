//! A verdict: one part, judged once.

use std::sync::Arc;

use crate::moment::Moment;

/// What became of one part.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// Number of the part, from 1, going on over restarts.
    pub part: u64,
    /// What somebody else calls it: a lot, a serial number.
    pub external_id: Option<String>,
    /// Its track, where it has one.
    pub track: Option<u64>,
    /// What it is.
    pub judgement: Judgement,
    /// When it was first seen, or its window opened.
    pub opened_at: Moment,
    /// When it was triggered: the moment that a reject gate counts from.
    pub triggered_at: Moment,
    /// Frames that voted.
    pub frames: u32,
    /// Of these, frames in which something was wrong with it.
    pub frames_bad: u32,
    /// What was wrong, the most often seen first; at most 16 classes.
    pub defects: Vec<Defect>,
    /// When a reject gate has to act; `None` where there is none.
    pub deadline: Option<Deadline>,
    /// The verdict came after the deadline: the part has passed the gate.
    pub missed: bool,
}

/// What a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Good.
    Pass,
    /// Bad: to be rejected.
    Fail,
    /// Seen too rarely, or too different things were seen.
    Unsure,
}

impl Judgement {
    /// The word for it in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Unsure => "unsure",
        }
    }
}

/// One kind of defect of a part.
#[derive(Clone, Debug, PartialEq)]
pub struct Defect {
    /// Its class.
    pub name: Arc<str>,
    /// Frames in which it was seen.
    pub frames: u32,
    /// The highest score among them.
    pub confidence: f32,
}

/// When a part reaches the reject gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deadline {
    /// At this moment.
    At(Moment),
    /// When the encoder has counted up to this.
    Ticks(u64),
}
