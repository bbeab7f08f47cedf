//! How a counter stands.

use std::sync::Arc;

use crate::moment::Moment;

/// How a counter stands in its session.
#[derive(Clone, Debug, PartialEq)]
pub struct Count {
    /// The session that is counted.
    pub session: Session,
    /// By class, in the order in which they were first counted.
    pub classes: Vec<ClassCount>,
    /// All that went in since the counter was first started, over all sessions: rises only.
    pub ever_in: u64,
    /// All that went out since then: rises only.
    pub ever_out: u64,
}

/// A span over which is counted: a shift, a lot, a basket.
#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    /// Its number, from 1, going on over restarts.
    pub number: u64,
    /// What somebody else calls it.
    pub external_id: Option<String>,
    /// When it began.
    pub opened_at: Moment,
    /// When it ended, and why; `None` while it goes on.
    pub closed: Option<(Moment, Closing)>,
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// Somebody asked for it.
    Command,
    /// Its time was over.
    Schedule,
    /// Nothing was there any more.
    Empty,
}

impl Closing {
    /// The word for it in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Schedule => "schedule",
            Self::Empty => "empty",
        }
    }
}

/// How often one class was counted.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassCount {
    /// The class.
    pub name: Arc<str>,
    /// Went in.
    pub incoming: u64,
    /// Went out.
    pub outgoing: u64,
}

impl ClassCount {
    /// What went in and not out; below zero where more went out.
    pub fn net(&self) -> i64 {
        i64::try_from(self.incoming).unwrap_or(i64::MAX) - i64::try_from(self.outgoing).unwrap_or(i64::MAX)
    }
}
