//! What every kind of rule is: a state machine over the inputs of a camera.

use std::{collections::VecDeque, sync::Arc};

use super::{Input, Now, Order, Refusal};
use crate::{
    event::{Event, STEPS_MAX, Step, What},
    moment::Moment,
};

/// One rule at work. Whatever it is told, it never fails, and it allocates only where it says something.
pub(super) trait Machine: std::fmt::Debug + Send {
    /// Takes the next input.
    fn take(&mut self, now: Now, input: &Input<'_>, teller: &mut Teller<'_>);

    /// Does what somebody asks.
    ///
    /// # Errors
    /// Where it is nothing that can be asked of such a rule, or not now.
    fn order(&mut self, now: Now, order: &Order, teller: &mut Teller<'_>) -> Result<(), Refusal>;

    /// What has to be known after a restart, as a JSON object that [`Machine::recall`] understands.
    fn memory(&self) -> serde_json::Value;

    /// Goes on where an earlier process ended. What it cannot make sense of, it leaves out; gives whether there was nothing
    /// of that.
    fn recall(&mut self, memory: &serde_json::Value, now: Now) -> bool;

    /// How it stands, where it has a state that a broker keeps.
    fn state(&self) -> Option<What>;
}

/// Takes what a rule says, and gives it its name.
pub(super) struct Teller<'a> {
    pub(super) rule: &'a Arc<str>,
    pub(super) names: &'a mut Names,
    pub(super) tell: &'a mut dyn FnMut(Event),
}

impl Teller<'_> {
    /// The id that the next event will have.
    pub(super) fn next_id(&self) -> String {
        self.names.id(self.rule, self.names.count + 1)
    }

    /// Says something.
    pub(super) fn say(&mut self, at: Moment, frame: Option<u64>, what: What, because: Vec<Step>) {
        debug_assert!(because.len() <= STEPS_MAX, "the limit is kept where steps are collected");
        self.names.count += 1;
        let id = self.names.id(self.rule, self.names.count);
        (self.tell)(Event { id, rule: Arc::clone(self.rule), at, frame, what, because });
    }
}

/// Names of events, unique over restarts: `<camera>-<rule>-<birth of the numbering>-<number>`.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) camera: String,
    pub(super) born: Moment,
    pub(super) count: u64,
}

impl Names {
    fn id(&self, rule: &str, number: u64) -> String {
        format!("{}-{rule}-{:x}-{number}", self.camera, self.born.micros())
    }
}

/// The last steps that may lead to an event: bounded, made once.
#[derive(Clone, Debug)]
pub(super) struct Trail(VecDeque<Mark>);

/// A step before it is told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Mark {
    pub(super) at: Moment,
    pub(super) frame: Option<u64>,
    pub(super) score: Option<f32>,
    pub(super) meant: &'static str,
}

impl Trail {
    pub(super) fn new() -> Self {
        Self(VecDeque::with_capacity(STEPS_MAX))
    }

    /// Adds a step; the oldest goes where there are too many.
    pub(super) fn push(&mut self, mark: Mark) {
        if self.0.len() == STEPS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(mark);
    }

    /// Forgets all but the last so many.
    pub(super) fn keep(&mut self, count: usize) {
        let surplus = self.0.len().saturating_sub(count);
        self.0.drain(..surplus);
    }

    /// Forgets what was before.
    pub(super) fn forget_before(&mut self, moment: Moment) {
        while self.0.front().is_some_and(|mark| mark.at < moment) {
            self.0.pop_front();
        }
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Steps that fit without an allocation.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.0.capacity()
    }

    /// What is told of it.
    pub(super) fn steps(&self) -> Vec<Step> {
        let step = |&Mark { at, frame, score, meant }: &Mark| Step { at, frame, score, meant: meant.to_owned() };
        self.0.iter().map(step).collect()
    }
}
