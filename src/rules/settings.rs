//! What a rule is told to do. The values are checked where they are read, by `check.rs`.

use std::time::Duration;

use super::place::{Anchor, Line, Zone};
use crate::{detection::Detection, event::Priority, geometry::Size};

/// An alarm looks at this many of the last frames at most.
pub const FRAMES_MAX: u32 = 64;

/// An alarm tells this many things apart at most.
pub const THINGS_MAX: u32 = 256;

/// A zone has this many corners at most.
pub const CORNERS_MAX: usize = 64;

/// One rule of a camera.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Its id in topics and messages.
    pub id: String,
    /// What it does.
    pub kind: Kind,
}

/// What a rule does.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Raises an alarm while something is seen.
    Alarm(AlarmSettings),
    /// Raises an alarm while the camera sees nothing that can be relied on.
    Blind(BlindSettings),
    /// Judges parts.
    Verdict(VerdictSettings),
    /// Counts things.
    Count(CountSettings),
    /// Counts things and adds up their prices.
    Total(TotalSettings),
}

impl Kind {
    /// The words for them in the configuration.
    pub const NAMES: [&'static str; 5] = ["alarm", "blind", "verdict", "count", "total"];

    /// The word for it in the configuration.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Alarm(_) => "alarm",
            Self::Blind(_) => "blind",
            Self::Verdict(_) => "verdict",
            Self::Count(_) => "count",
            Self::Total(_) => "total",
        }
    }

    /// The id of the input whose edges open parts.
    pub fn opened_by(&self) -> Option<&str> {
        match self {
            Self::Verdict(VerdictSettings { trigger: Trigger::Input { input, .. }, .. }) => Some(input),
            _ => None,
        }
    }

    /// Whether it follows things from frame to frame, so that it matters where they were before a restart.
    pub fn follows(&self) -> bool {
        match self {
            Self::Count(_) | Self::Total(_) => true,
            Self::Verdict(settings) => matches!(settings.trigger, Trigger::Line { .. }),
            Self::Alarm(_) | Self::Blind(_) => false,
        }
    }
}

/// Which things a rule looks at.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Watch {
    /// Names of classes; empty: all.
    pub classes: Vec<String>,
    /// Only things whose anchor lies here; `None`: anywhere.
    pub zone: Option<Zone>,
    /// The point of a box that tells where the thing is.
    pub anchor: Anchor,
}

impl Watch {
    /// Whether a rule looks at this. What has no place, as the class of a whole picture, lies in every zone.
    pub(super) fn takes(&self, detection: &Detection, size: Size) -> bool {
        names(&self.classes, &detection.name)
            && match (&self.zone, detection.bounds()) {
                (Some(zone), Some(bounds)) => zone.contains(self.anchor.of(&bounds), size),
                _ => true,
            }
    }
}

/// Whether a class is one of these; none stand for all.
pub(super) fn names(classes: &[String], name: &str) -> bool {
    classes.is_empty() || classes.iter().any(|class| class == name)
}

/// How an alarm behaves, whatever it warns of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Manner {
    /// Once raised it stays active for so long at least.
    pub hold: Duration,
    /// After it has returned it is not raised again for so long.
    pub cooldown: Duration,
    /// Whether it stays until it is acknowledged, also where its cause is gone.
    pub latch: bool,
    /// How urgent it is.
    pub priority: Priority,
}

impl Default for Manner {
    fn default() -> Self {
        Self { hold: Duration::ZERO, cooldown: Duration::ZERO, latch: false, priority: Priority::default() }
    }
}

/// An alarm while something is seen.
#[derive(Clone, Debug, PartialEq)]
pub struct AlarmSettings {
    /// What it looks at.
    pub watch: Watch,
    /// How much of it raises the alarm.
    pub when: When,
    /// A frame counts as a hit from this confidence on, in `0..=1`.
    pub raise: f32,
    /// An active alarm stays so while a frame has this confidence, below `raise`.
    pub clear: f32,
    /// It returns when no frame had that for so long.
    pub clear_after: Duration,
    /// How it behaves.
    pub manner: Manner,
}

/// How much has to be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Hits in so many of the last frames: `count` of `frames`, at least 1 and at most [`FRAMES_MAX`].
    Frames {
        /// Hits.
        count: u32,
        /// Among so many frames.
        frames: u32,
    },
    /// So many different things within a time; without tracks, so many frames.
    Within {
        /// Things; at least 1 and at most [`THINGS_MAX`].
        count: u32,
        /// The time.
        span: Duration,
    },
}

/// An alarm while the camera is blind or away.
#[derive(Clone, Debug, PartialEq)]
pub struct BlindSettings {
    /// Raised when that lasts longer than this.
    pub after: Duration,
    /// How it behaves.
    pub manner: Manner,
}

/// How parts are judged.
#[derive(Clone, Debug, PartialEq)]
pub struct VerdictSettings {
    /// What opens a part, and what ends it.
    pub trigger: Trigger,
    /// Classes that make a part bad: seen on it, or being its own.
    pub fail: Watch,
    /// They count from this confidence on.
    pub confidence: f32,
    /// Fewer frames than this make no verdict but `unsure`; at least 1.
    pub frames_min: u32,
    /// Bad in this share of its frames or more: `fail`. In `0..=1`.
    pub fail_share: f32,
    /// Bad in this share or less, and below `fail_share`: `pass`; between them: `unsure`.
    pub pass_share: f32,
    /// When the reject gate has to act, counted from the trigger.
    pub reject_after: Option<RejectAfter>,
}

/// What opens a part, and what ends it.
#[derive(Clone, Debug, PartialEq)]
pub enum Trigger {
    /// A part is a tracked thing of these classes. It is judged when it has crossed the line inwards, once.
    Line {
        /// Classes of parts.
        parts: Vec<String>,
        /// The line.
        line: Line,
        /// The point of the part's box that crosses.
        anchor: Anchor,
    },
    /// `open` begins a part, `close` or the time ends it.
    Command {
        /// The longest that a part is open.
        within: Duration,
    },
    /// An edge of an input opens a part, the time or the next edge ends it.
    Input {
        /// Id of the input.
        input: String,
        /// The longest that a part is open.
        within: Duration,
    },
    /// Parts follow each other in this time.
    Every(Duration),
    /// Each picture shows another part.
    Picture,
}

/// How far the reject gate is from the trigger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectAfter {
    /// In time.
    Time(Duration),
    /// In ticks of the encoder.
    Ticks(u64),
}

/// What is counted, and over which span.
#[derive(Clone, Debug, PartialEq)]
pub struct CountSettings {
    /// Classes; empty: all.
    pub classes: Vec<String>,
    /// Tracks count that have reached this confidence at least once.
    pub confidence: f32,
    /// Where they are counted.
    pub place: Place,
    /// The point of a box that tells where the thing is.
    pub anchor: Anchor,
    /// What ends a session, beside the commands.
    pub session: SessionSettings,
}

/// Where things are counted.
#[derive(Clone, Debug, PartialEq)]
pub enum Place {
    /// When they cross a line; once per track, however often it goes back and forth.
    Line(Line),
    /// When they come into a zone and stay, and when they are there no more.
    Zone {
        /// The zone.
        zone: Zone,
        /// They count when they were there for so long.
        settle: Duration,
        /// They are gone when they were not seen there for so long.
        gone_after: Duration,
    },
}

/// What ends a session.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SessionSettings {
    /// At these times of the day, local time, since midnight; rising.
    pub schedule: Vec<Duration>,
    /// When nothing that is counted was seen for so long; the next thing opens another.
    pub empty_after: Option<Duration>,
    /// Only `open` begins a session; what is seen without one is not counted.
    pub by_command: bool,
}

/// What is counted and what it costs.
#[derive(Clone, Debug, PartialEq)]
pub struct TotalSettings {
    /// What is counted; `classes` are those that have a price.
    pub count: CountSettings,
    /// Price of each class in minor units, in the order of the file.
    pub prices: Vec<(String, i64)>,
    /// The currency.
    pub currency: String,
    /// Its decimals.
    pub decimals: u8,
}
