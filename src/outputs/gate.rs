//! A reject gate: active for a moment when a bad part is in front of it.
//!
//! Each part is taken once, by its number, and waits until its moment comes or the encoder has counted up to it. One whose
//! verdict came after that is not shot at: the part behind it would be hit. The same holds for one that could not be served
//! in time, as after the machine stood still: it is dropped and counted. Pulses that overlap are one.

use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

use super::settings::RuleName;
use crate::{
    event::{Deadline, Judgement, Verdict},
    moment::Moment,
};

/// So many parts may be between the camera and the gate; one more is not taken, and counted as missed.
pub const PARTS_MAX: usize = 1024;

/// A part is served so long after its time at most.
pub const LATE_MAX: Duration = Duration::from_millis(20);

/// One gate.
#[derive(Debug)]
pub(super) struct Gate {
    rule: RuleName,
    pulse: Duration,
    unsure: bool,
    /// The last part that was heard of: each is taken once.
    part: Option<u64>,
    /// Parts that have a moment, the next one first.
    timed: BinaryHeap<Reverse<Moment>>,
    /// Parts that wait for the encoder, the next one first.
    counted: BinaryHeap<Reverse<u64>>,
    /// Where the encoder stands.
    ticks: u64,
    /// It is active until then.
    until: Moment,
    fired: u64,
    missed: u64,
}

impl Gate {
    pub(super) fn new(rule: RuleName, pulse: Duration, unsure: bool) -> Self {
        Self {
            rule,
            pulse,
            unsure,
            part: None,
            timed: BinaryHeap::with_capacity(PARTS_MAX),
            counted: BinaryHeap::with_capacity(PARTS_MAX),
            ticks: 0,
            until: Moment::default(),
            fired: 0,
            missed: 0,
        }
    }

    /// Hears a verdict.
    pub(super) fn verdict(&mut self, now: Moment, camera: &str, rule: &str, verdict: &Verdict) {
        if self.rule.camera != camera || self.rule.rule != rule || self.part.is_some_and(|part| verdict.part <= part) {
            return;
        }
        self.part = Some(verdict.part);
        let goes = match verdict.judgement {
            Judgement::Fail => true,
            Judgement::Unsure => self.unsure,
            Judgement::Pass => false,
        };
        let Some(deadline) = verdict.deadline.filter(|_| goes) else { return };
        if verdict.missed || self.timed.len() + self.counted.len() >= PARTS_MAX {
            self.missed += 1;
            return;
        }
        match deadline {
            Deadline::At(moment) => self.timed.push(Reverse(moment)),
            // It was in time when it was judged.
            Deadline::Ticks(count) if count <= self.ticks => self.timed.push(Reverse(now)),
            Deadline::Ticks(count) => self.counted.push(Reverse(count)),
        }
    }

    /// Hears where the encoder stood at a moment.
    pub(super) fn ticks(&mut self, at: Moment, ticks: u64) {
        self.ticks = ticks;
        while self.counted.peek().is_some_and(|Reverse(count)| *count <= ticks) {
            self.counted.pop();
            self.timed.push(Reverse(at));
        }
    }

    /// Serves the parts whose time has come.
    pub(super) fn advance(&mut self, now: Moment) {
        while let Some(&Reverse(due)) = self.timed.peek().filter(|Reverse(due)| *due <= now) {
            self.timed.pop();
            if now.since(due) > LATE_MAX {
                self.missed += 1;
            } else {
                self.fired += 1;
                self.until = now + self.pulse;
            }
        }
    }

    /// Whether it is active.
    pub(super) fn is_active(&self, now: Moment) -> bool {
        now < self.until
    }

    /// When it changes next by itself.
    pub(super) fn next(&self, now: Moment) -> Option<Moment> {
        let end = self.is_active(now).then_some(self.until);
        let due = self.timed.peek().map(|Reverse(due)| *due);
        end.into_iter().chain(due).min()
    }

    /// Parts that were served, and parts that should have been.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.fired, self.missed)
    }
}

#[cfg(test)]
#[path = "gate/tests.rs"]
mod tests;
