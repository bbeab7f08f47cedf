//! A part that is a span of time: whatever is in the picture then belongs to it.

use serde::{Deserialize, Serialize};

use super::ballot::Ballot;
use crate::moment::Moment;

/// An open part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Window {
    pub(super) opened_at: Moment,
    /// Where the encoder stood then.
    pub(super) ticks: u64,
    pub(super) external_id: Option<String>,
    pub(super) ballot: Ballot,
}

impl Window {
    /// One in which no frame has voted.
    pub(super) fn new(opened_at: Moment, ticks: u64, external_id: Option<String>) -> Self {
        Self { opened_at, ticks, external_id, ballot: Ballot::new(opened_at) }
    }

    /// The same, opened at this moment where it would be later.
    pub(super) fn until(mut self, now: Moment) -> Self {
        self.opened_at = self.opened_at.min(now);
        self.ballot.until(now);
        self
    }
}
