//! An alarm and its states, as ISA-18.2 names them.

use crate::moment::Moment;

/// How an alarm stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Alarm {
    /// The state that it is in now.
    pub state: AlarmState,
    /// Whether what it warns of is there, as far as the box can see; a shelved alarm may be, too.
    pub active: bool,
    /// How urgent it is.
    pub priority: Priority,
    /// Since when it has been in this state.
    pub since: Moment,
    /// When it was raised last; `None` before the first time.
    pub raised_at: Option<Moment>,
    /// How often it was raised so far.
    pub raises: u64,
    /// Why it is in this state, in a sentence.
    pub reason: String,
    /// Id of the event that raised it, under which its picture is published; `None` where there is none.
    pub evidence: Option<String>,
    /// Until when it is shelved.
    pub shelved_until: Option<Moment>,
}

/// The states of ISA-18.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlarmState {
    /// Nothing to report.
    Normal,
    /// There, and nobody has acknowledged it.
    Unacknowledged,
    /// There, and somebody knows.
    Acknowledged,
    /// Not there any more, and nobody has acknowledged it.
    Returned,
    /// Silenced for a time.
    Shelved,
}

impl AlarmState {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Normal, Self::Unacknowledged, Self::Acknowledged, Self::Returned, Self::Shelved];

    /// The word for it in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Unacknowledged => "unacknowledged",
            Self::Acknowledged => "acknowledged",
            Self::Returned => "returned",
            Self::Shelved => "shelved",
        }
    }
}

/// How urgent an alarm is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// To be looked at some time.
    Low,
    /// To be looked at soon.
    #[default]
    Medium,
    /// To be looked at now.
    High,
    /// The line has to stop.
    Critical,
}

impl Priority {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Low, Self::Medium, Self::High, Self::Critical];

    /// The word for it in messages and in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}
