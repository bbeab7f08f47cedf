//! One camera's place at the line: follows the things that the model finds there and asks the rules what they mean. Pure: the
//! same inputs in the same order say the same, so that a recording can be played again.
//!
//! `things.rs` tells what happens to single things, `presence.rs` finds that out where nothing is tracked;
//! `whereabouts.rs` says when a memory is too old to be of use.

mod presence;
mod things;
mod whereabouts;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use self::things::Things;
pub use self::whereabouts::Whereabouts;
use crate::{
    detection::Detection,
    event::{Event, What},
    geometry::Size,
    moment::Moment,
    rules::{self, Input, Now, Order, Refusal, Rules, Seen},
    track::{self, Tracker},
};

#[cfg(test)]
mod simulation;

/// What a station is told to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The camera's id.
    pub camera: String,
    /// How things are followed; `None`: each picture stands alone.
    pub track: Option<track::Settings>,
    /// What is below this confidence is no detection, but may go on with a track.
    pub confidence: f32,
    /// Another such confidence for some classes, by name.
    pub per_class: BTreeMap<String, f32>,
    /// Its rules.
    pub rules: Vec<rules::Settings>,
}

/// A frame that was looked at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Look {
    /// The source's number.
    pub seq: u64,
    /// When it was taken.
    pub captured_at: Moment,
    /// Its size.
    pub size: Size,
}

/// Something that a station says.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// A rule says something.
    Event(Event),
    /// A thing came, became something else, or went.
    Thing(Thing),
}

/// What happened to one thing.
#[derive(Clone, Debug, PartialEq)]
pub struct Thing {
    /// The event's own name.
    pub id: String,
    /// What happened.
    pub change: Change,
    /// The thing, as last seen.
    pub detection: Detection,
}

/// What happened to a thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is there.
    Appeared,
    /// It is of another class now.
    Changed,
    /// It is not there any more.
    Left,
}

/// What has to be known after a restart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    tracks: track::Memory,
    rules: rules::Memory,
    things: things::Memory,
}

/// One camera's place at the line.
#[derive(Debug)]
pub struct Station {
    tracker: Option<Tracker>,
    rules: Rules,
    things: Things,
    confidence: f32,
    per_class: BTreeMap<String, f32>,
    /// Whether any rule follows things from frame to frame.
    follows: bool,
}

impl Settings {
    /// The least confidence of a detection.
    fn detection_least(&self) -> f32 {
        self.per_class.values().copied().fold(self.confidence, f32::min)
    }

    /// The least confidence that the model has to report, so that tracks go on; at most that of a detection.
    pub fn confidence_least(&self) -> f32 {
        let detection = self.detection_least();
        self.track.map_or(detection, |track| track.unsure.min(detection))
    }
}

impl Station {
    /// One that has seen nothing; see [`Rules::new`] for `born`.
    pub fn new(settings: &Settings, born: Moment) -> Self {
        // Each detection may begin a track: one without would never appear.
        let sure = settings.detection_least();
        let track = settings.track.map(|track| track::Settings { sure: track.sure.min(sure), ..track });
        Self {
            tracker: track.map(Tracker::new),
            rules: Rules::new(&settings.camera, &settings.rules, born),
            things: Things::new(&settings.camera, born),
            confidence: settings.confidence,
            per_class: settings.per_class.clone(),
            follows: track.is_some() && settings.rules.iter().any(|rule| rule.kind.follows()),
        }
    }

    /// Takes a frame and what the model found in it, down to [`Settings::confidence_least`]. What counts as a detection
    /// stays in `found`, with its track. What rules say is told first, then what happened to things.
    pub fn look(&mut self, now: Now, look: Look, found: &mut Vec<Detection>, tell: &mut dyn FnMut(Said)) {
        let Look { seq, captured_at, size } = look;
        if let Some(tracker) = &mut self.tracker {
            tracker.update(captured_at, size, found);
        }
        found.retain(|detection| {
            detection.confidence >= self.per_class.get(&*detection.name).copied().unwrap_or(self.confidence)
        });
        let tracks = self.tracker.as_ref().map(Tracker::tracks);
        let seen = Seen { seq, captured_at, size, found, tracks: tracks.unwrap_or_default() };
        self.rules.take(now, Input::Frame(&seen), &mut |event| tell(Said::Event(event)));
        let mut tell = |thing| tell(Said::Thing(thing));
        match tracks {
            Some(tracks) => self.things.follow(found, tracks, &mut tell),
            None => self.things.see(found, &mut tell),
        }
    }

    /// Takes anything else than a frame.
    pub fn take(&mut self, now: Now, input: Input<'_>, tell: &mut dyn FnMut(Said)) {
        self.rules.take(now, input, &mut |event| tell(Said::Event(event)));
    }

    /// Does what somebody asks of a rule.
    ///
    /// # Errors
    /// As [`Rules::order`].
    pub fn order(&mut self, now: Now, rule: &str, order: &Order, tell: &mut dyn FnMut(Said)) -> Result<(), Refusal> {
        self.rules.order(now, rule, order, &mut |event| tell(Said::Event(event)))
    }

    /// How every alarm, counter and sum stands.
    pub fn states(&self) -> impl Iterator<Item = (&str, What)> {
        self.rules.states()
    }

    /// What has to be known after a restart.
    pub fn memory(&self) -> Memory {
        let tracks = self.tracker.as_ref().map(Tracker::memory).unwrap_or_default();
        Memory { tracks, rules: self.rules.memory(), things: self.things.memory() }
    }

    /// Goes on where an earlier process ended. Gives the ids of the rules whose memory cannot be read, in whole or in part:
    /// in that they begin anew.
    pub fn recall(&mut self, memory: &Memory, now: Now) -> Vec<String> {
        if let Some(tracker) = &mut self.tracker {
            tracker.recall(&memory.tracks, now.moment);
        }
        let anew =
            if memory.rules == rules::Memory::default() { Vec::new() } else { self.rules.recall(&memory.rules, now) };
        self.things.recall(&memory.things, self.tracker.is_some());
        anew
    }
}

#[cfg(test)]
mod tests;
