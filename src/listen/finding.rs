//! What is found out about a box's messages, as a line for a person and as JSON for a program.

use std::fmt;

use serde_json::{Value, json};

use super::Range;

/// Something worth a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Numbers did not come.
    Missing(Place),
    /// All of a gap came after it was asked for.
    Filled(Place),
    /// The box says that it had to give them up.
    Told(Place, String),
    /// They did not come although they were asked for.
    Lost(Place),
    /// A message came for the first time behind one with a higher number: a simple subscriber would drop it.
    Inverted(Place),
    /// The box counts anew.
    NewEpoch(Place),
    /// The box does not do what it is asked for.
    Refused {
        /// The box.
        device: String,
        /// Why.
        reason: String,
    },
    /// What a box says of itself.
    Device {
        /// The box.
        device: String,
        /// In a word.
        state: String,
    },
}

/// Which numbers of which topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The topic.
    pub topic: String,
    /// The numbering.
    pub epoch: u64,
    /// The numbers.
    pub range: Range,
}

/// What came of it all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Topics with numbers, each numbering by itself.
    pub topics: usize,
    /// Numbered messages, each counted once.
    pub messages: u64,
    /// Messages that came more than once and were dropped.
    pub duplicates: u64,
    /// Messages that came for the first time behind one with a higher number.
    pub inversions: u64,
    /// How often numbers were missing.
    pub gaps: u64,
    /// Messages that came only when they were sent again: the broker had forgotten them, or we were not there.
    pub resent: u64,
    /// Numbers that the box has told to be lost.
    pub told: u64,
    /// Numbers that neither came nor were told to be lost.
    pub lost: u64,
    /// Questions that were asked.
    pub asked: u64,
}

impl Summary {
    /// Whether every number was seen or told to be lost, and in order.
    pub fn is_complete(&self) -> bool {
        self.lost == 0 && self.inversions == 0
    }

    /// As a program reads it.
    pub fn to_json(&self) -> Value {
        json!({
            "complete": self.is_complete(), "topics": self.topics, "messages": self.messages,
            "duplicates": self.duplicates, "inversions": self.inversions, "gaps": self.gaps, "resent": self.resent,
            "told": self.told, "lost": self.lost, "asked": self.asked,
        })
    }
}

impl Finding {
    /// As a program reads it.
    pub fn to_json(&self) -> Value {
        let place = |finding: &str, place: &Place| {
            json!({"finding": finding, "topic": place.topic, "epoch": place.epoch, "from": place.range.from,
                "to": place.range.to})
        };
        match self {
            Self::Missing(at) => place("missing", at),
            Self::Filled(at) => place("filled", at),
            Self::Told(at, reason) => {
                let mut value = place("told", at);
                value["reason"] = reason.as_str().into();
                value
            }
            Self::Lost(at) => place("lost", at),
            Self::Inverted(at) => place("inverted", at),
            Self::NewEpoch(at) => place("new-epoch", at),
            Self::Refused { device, reason } => json!({"finding": "refused", "device": device, "reason": reason}),
            Self::Device { device, state } => json!({"finding": "device", "device": device, "state": state}),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, epoch, range: Range { from, to } } = self;
        if from == to {
            write!(f, "{topic}: {from} (epoch {epoch})")
        } else {
            write!(f, "{topic}: {from} to {to} (epoch {epoch})")
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(place) => write!(f, "missing   {place}"),
            Self::Filled(place) => write!(f, "filled    {place}"),
            Self::Told(place, reason) => write!(f, "given up  {place}: {reason}"),
            Self::Lost(place) => write!(f, "lost      {place}"),
            Self::Inverted(place) => write!(f, "inverted  {place}"),
            Self::NewEpoch(place) => write!(f, "new epoch {place}"),
            Self::Refused { device, reason } => write!(f, "refused   {device}: {reason}"),
            Self::Device { device, state } => write!(f, "device    {device}: {state}"),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topics, messages, duplicates, inversions, gaps, resent, told, lost, asked } = self;
        write!(
            f,
            "{messages} messages of {topics} topics; {gaps} gaps, {asked} questions, {resent} messages only came when sent \
             again; {duplicates} duplicates dropped, {inversions} inversions; {told} numbers given up by the box, {lost} lost"
        )
    }
}
