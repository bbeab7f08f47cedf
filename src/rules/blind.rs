//! An alarm while the camera is blind or away, for whatever reason.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    BlindSettings, Input, Now, Order, Refusal, Sight,
    alarm::BREAK_MIN,
    annunciator::{self, Annunciator, Grounds},
    machine::{Machine, Teller},
};
use crate::{
    event::{Step, What},
    moment::Moment,
};

/// The rule at work.
#[derive(Debug)]
pub(super) struct Blind {
    after: Duration,
    annunciator: Annunciator,
    /// Since when the camera is blind, as last heard.
    blind_since: Option<Moment>,
    /// Why.
    reason: String,
    /// Whether the camera was heard of since the start; until then nothing is decided.
    heard: bool,
    /// When time passed last over a camera that was heard of.
    looked_at: Option<Moment>,
}

/// What has to be known after a restart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Memory {
    alarm: annunciator::Memory,
    blind_since: Option<Moment>,
    looked_at: Option<Moment>,
}

impl Blind {
    /// One that has heard nothing, since `born`.
    pub(super) fn new(settings: &BlindSettings, born: Moment) -> Self {
        Self {
            after: settings.after,
            annunciator: Annunciator::new(settings.manner, born),
            blind_since: None,
            reason: String::new(),
            heard: false,
            looked_at: None,
        }
    }

    /// Takes how the camera is. After a restart that left a long gap it is blind since now: nobody looked.
    fn hear(&mut self, now: Now, sight: &Sight) {
        let at = now.moment;
        let away = self.looked_at.is_some_and(|looked_at| at.since(looked_at) > self.after.max(BREAK_MIN));
        if sight.sees || (away && !self.heard) {
            self.blind_since = None;
        }
        if !sight.sees {
            self.blind_since.get_or_insert(at);
            self.reason.clone_from(&sight.reason);
        }
        self.heard = true;
    }

    /// Decides by the time.
    fn decide(&mut self, now: Now, teller: &mut Teller<'_>) {
        let at = now.moment;
        let step = |at, meant: &str| Step { at, frame: None, score: None, meant: meant.to_owned() };
        match self.blind_since {
            Some(since) => {
                if at.since(since) >= self.after && self.annunciator.may_come(at) {
                    let because = vec![step(since, "the camera went blind"), step(at, "blind for long enough")];
                    self.annunciator.come(self.reason.clone(), Grounds { at, frame: None, because }, teller);
                }
            }
            None => {
                if self.annunciator.may_go(at) {
                    let because = vec![step(at, "the camera sees")];
                    let reason = "the camera sees again".to_owned();
                    self.annunciator.go(reason, Grounds { at, frame: None, because }, teller);
                }
            }
        }
    }
}

impl Machine for Blind {
    fn take(&mut self, now: Now, input: &Input<'_>, teller: &mut Teller<'_>) {
        self.annunciator.pass(now, teller);
        if let Input::Camera(sight) = input {
            self.hear(now, sight);
        }
        if self.heard {
            self.looked_at = Some(now.moment);
            self.decide(now, teller);
        }
    }

    fn order(&mut self, now: Now, order: &Order, teller: &mut Teller<'_>) -> Result<(), Refusal> {
        self.annunciator.order(now, order, teller)?;
        if matches!(order, Order::Reset) {
            self.blind_since = self.blind_since.map(|_| now.moment);
        }
        Ok(())
    }

    fn memory(&self) -> serde_json::Value {
        let memory =
            Memory { alarm: self.annunciator.memory(), blind_since: self.blind_since, looked_at: self.looked_at };
        serde_json::to_value(memory).expect("texts, numbers and lists are JSON")
    }

    fn recall(&mut self, memory: &serde_json::Value, now: Now) -> bool {
        let Ok(memory) = Memory::deserialize(memory) else { return false };
        if !self.annunciator.recall(memory.alarm, now) {
            return false;
        }
        let past = |moment: Moment| moment.min(now.moment);
        (self.blind_since, self.looked_at) = (memory.blind_since.map(past), memory.looked_at.map(past));
        true
    }

    fn state(&self) -> Option<What> {
        Some(What::Alarm(self.annunciator.alarm()))
    }
}

#[cfg(test)]
mod tests;
