//! What the things in a camera's picture mean for the line: alarms, verdicts, counts, totals. Pure: frames, orders and time
//! come in, events come out; the same in the same order gives the same events.
//!
//! - `settings.rs`: what a rule is told to do; `check.rs`: whether that makes sense; `place.rs`: zones and lines.
//! - `machine.rs`: what every rule is; `crossing.rs`: which tracks cross a line.
//! - One state machine a file: `annunciator.rs` (that of `alarm.rs`, with its `window.rs`, and of `blind.rs`), `verdict.rs` (how
//!   frames vote and parts pass in `verdict/`), `counter.rs` (that of `count.rs` and `total.rs`, over `session.rs` and, for
//!   zones, `presence.rs`).
//!
//! What a rule has to know after a restart is its [`Memory`].

mod alarm;
mod annunciator;
mod blind;
mod check;
mod count;
mod counter;
mod crossing;
mod machine;
mod place;
mod presence;
mod session;
mod settings;
#[cfg(test)]
mod testing;
mod total;
mod verdict;
mod window;

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use self::{
    alarm::Alarm,
    blind::Blind,
    count::Count,
    machine::{Machine, Names, Teller},
    total::Total,
    verdict::Verdict,
};
pub use self::{
    annunciator::SHELVED_MAX,
    check::{Problem, check, unknown_classes},
    place::{Anchor, Line, Towards, Unit, Zone},
    settings::{
        AlarmSettings, BlindSettings, CORNERS_MAX, CountSettings, FRAMES_MAX, Kind, Manner, Place, RejectAfter,
        SessionSettings, Settings, THINGS_MAX, TotalSettings, Trigger, VerdictSettings, Watch, When,
    },
};
use crate::{
    detection::Detection,
    event::{Event, What},
    geometry::Size,
    moment::Moment,
    track::Track,
};

/// When something happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// The present.
    pub moment: Moment,
    /// The local wall time: microseconds since 1970 began there. `None` where the clock is not to be relied on.
    pub local_micros: Option<i64>,
}

/// What a rule may hear of.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// A frame was looked at.
    Frame(&'a Seen<'a>),
    /// How the camera is; said when it changes, and at the start.
    Camera(&'a Sight),
    /// An edge of an input.
    Edge {
        /// Its id.
        input: &'a str,
    },
    /// The encoder stands here.
    Encoder {
        /// Ticks, from a number on that is greater than all of an earlier process.
        ticks: u64,
    },
    /// Time passes: several times a second, whether frames come or not.
    Tick,
}

/// A frame and what is in it.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// The source's number.
    pub seq: u64,
    /// When it was taken: never before that of the frame before.
    pub captured_at: Moment,
    /// Its size.
    pub size: Size,
    /// What the model found, best first, with `track_id` where there is a track; what is below the model's confidence left
    /// out.
    pub found: &'a [Detection],
    /// All tracks, those that are lost for the moment included.
    pub tracks: &'a [Track],
}

/// How a camera is, as far as rules care.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sight {
    /// Whether what it shows can be relied on.
    pub sees: bool,
    /// Why not, in a sentence; empty where it sees.
    pub reason: String,
}

/// What somebody asks of a rule.
#[derive(Clone, Debug, PartialEq)]
pub enum Order {
    /// To take note of an alarm.
    Acknowledge,
    /// To silence an alarm for a time; zero: not any more.
    Shelve(std::time::Duration),
    /// To begin again: an alarm is normal, a session ends and another begins, an open part is dropped.
    Reset,
    /// To begin a part or a session.
    Open {
        /// What the asker calls it.
        external_id: Option<String>,
        /// What should be in it, by class.
        expected: Option<Vec<(String, i64)>>,
    },
    /// To end a part or a session.
    Close,
    /// To take back what was counted.
    Void {
        /// The class.
        name: String,
        /// How many; at least 1.
        quantity: i64,
        /// Why.
        note: Option<String>,
    },
    /// To set how many there are.
    Correct {
        /// The class.
        name: String,
        /// So many; at least 0.
        quantity: i64,
        /// Why.
        note: Option<String>,
    },
}

/// Why an order is not carried out: a sentence that says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);

/// What all rules of a camera have to know after a restart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// When the numbering of events began.
    born: Moment,
    /// Events so far.
    events: u64,
    /// By rule. What belongs to no rule any more, or to another kind, is forgotten.
    rules: BTreeMap<String, Remembered>,
}

/// What one rule has to know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Remembered {
    kind: String,
    state: serde_json::Value,
}

/// All rules of one camera.
#[derive(Debug)]
pub struct Rules {
    names: Names,
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    id: Arc<str>,
    kind: &'static str,
    machine: Box<dyn Machine>,
}

impl Rules {
    /// Rules of the camera with this id. `born` makes the names of events unique: it differs from that of any memory
    /// before.
    pub fn new(camera: &str, settings: &[Settings], born: Moment) -> Self {
        let rules = settings.iter().map(|Settings { id, kind }| Rule {
            id: id.as_str().into(),
            kind: kind.name(),
            machine: match kind {
                Kind::Alarm(settings) => Box::new(Alarm::new(settings, born)),
                Kind::Blind(settings) => Box::new(Blind::new(settings, born)),
                Kind::Verdict(settings) => Box::new(Verdict::new(settings)),
                Kind::Count(settings) => Box::new(Count::new(settings)),
                Kind::Total(settings) => Box::new(Total::new(settings)),
            },
        });
        Self { names: Names { camera: camera.to_owned(), born, count: 0 }, rules: rules.collect() }
    }

    /// Goes on where an earlier process ended. Moments of the future, from a clock that was ahead, become `now`. Gives the
    /// ids of the rules whose memory cannot be read, in whole or in part: in that they begin anew.
    pub fn recall(&mut self, memory: &Memory, now: Now) -> Vec<String> {
        (self.names.born, self.names.count) = (memory.born, memory.events);
        let mut anew = Vec::new();
        for rule in &mut self.rules {
            let remembered = memory.rules.get(&*rule.id).filter(|remembered| remembered.kind == rule.kind);
            if remembered.is_some_and(|remembered| !rule.machine.recall(&remembered.state, now)) {
                anew.push(rule.id.to_string());
            }
        }
        anew
    }

    /// What has to be known after a restart.
    pub fn memory(&self) -> Memory {
        let remembered = |rule: &Rule| Remembered { kind: rule.kind.to_owned(), state: rule.machine.memory() };
        let rules = self.rules.iter().map(|rule| (rule.id.to_string(), remembered(rule))).collect();
        Memory { born: self.names.born, events: self.names.count, rules }
    }

    /// Takes the next input; events are told in the order in which the rules stand.
    pub fn take(&mut self, now: Now, input: Input<'_>, tell: &mut dyn FnMut(Event)) {
        for Rule { id, machine, .. } in &mut self.rules {
            machine.take(now, &input, &mut Teller { rule: id, names: &mut self.names, tell });
        }
    }

    /// Does what somebody asks of a rule.
    ///
    /// # Errors
    /// Where there is no such rule, or it is none that this can be asked of, or not now.
    pub fn order(&mut self, now: Now, rule: &str, order: &Order, tell: &mut dyn FnMut(Event)) -> Result<(), Refusal> {
        let known = || self.rules.iter().map(|rule| &*rule.id).collect::<Vec<_>>().join(", ");
        let Some(index) = self.rules.iter().position(|known| &*known.id == rule) else {
            return Err(Refusal(format!(
                "camera \"{}\" has no rule {rule:?}; its rules: {}",
                self.names.camera,
                known()
            )));
        };
        let Rule { id, machine, .. } = &mut self.rules[index];
        machine.order(now, order, &mut Teller { rule: id, names: &mut self.names, tell })
    }

    /// How every alarm, counter and sum stands now, as the last event said it or would say it: what a broker has to know
    /// that has forgotten all. Verdicts and crossings are no states.
    pub fn states(&self) -> impl Iterator<Item = (&str, What)> {
        self.rules.iter().filter_map(|rule| Some((&*rule.id, rule.machine.state()?)))
    }
}
