//! Parts are judged, each once: what opens a part and ends it.
//!
//! - `ballot.rs`: the frames of a part vote. `passing.rs`: parts that cross a line. `window.rs`: parts that are a span of time.
//! - A part that never crosses its line has no verdict, and one that is first seen behind it has had its own.
//! - A frame of a camera that cannot be relied on does not vote; a part that no other frame has seen is unsure.
//! - Where parts are spans of time that follow each other, one in which no frame has voted is left out: it has no verdict
//!   and no number, and its name goes to the next.

mod ballot;
mod passing;
mod window;

use std::{collections::VecDeque, time::Duration};

use serde::{Deserialize, Serialize};

use self::{
    ballot::{Ballot, Jury},
    passing::Passing,
    window::Window,
};
use super::{
    Input, Now, Order, Refusal, RejectAfter, Seen, Trigger, VerdictSettings,
    machine::{Machine, Teller},
};
use crate::{
    event::{self, Deadline, What},
    moment::Moment,
};

/// So many names wait at most for the parts that they belong to.
const NAMES_MAX: usize = 64;

/// Frames that were taken in time may be under way for so long after a window is over; waited for where too few have voted.
const UNDER_WAY: Duration = Duration::from_millis(250);

/// The rule at work.
#[derive(Debug)]
pub(super) struct Verdict {
    trigger: Trigger,
    jury: Jury,
    reject_after: Option<RejectAfter>,
    parts: u64,
    /// Names that are given to the next parts.
    names: VecDeque<String>,
    /// Where the encoder stood last.
    ticks: u64,
    passing: Option<Passing>,
    window: Option<Window>,
    /// Whether the camera can be relied on.
    sees: bool,
}

/// What ends a part.
struct End {
    /// When it was triggered, and where the encoder stood then.
    trigger: (Moment, u64),
    /// What decided it.
    at: Moment,
    frame: Option<u64>,
    track: Option<u64>,
    external_id: Option<String>,
}

/// What has to be known after a restart.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Memory {
    parts: u64,
    names: VecDeque<String>,
    ticks: u64,
    passing: serde_json::Value,
    window: Option<Window>,
    /// The camera cannot be relied on, as last heard.
    blind: bool,
}

impl Verdict {
    /// One that has seen nothing.
    pub(super) fn new(settings: &VerdictSettings) -> Self {
        let VerdictSettings { trigger, reject_after, .. } = settings;
        let passing = match trigger {
            Trigger::Line { parts, line, anchor } => Some(Passing::new(parts, *line, *anchor)),
            _ => None,
        };
        Self {
            trigger: trigger.clone(),
            jury: Jury::new(settings),
            reject_after: *reject_after,
            parts: 0,
            names: VecDeque::with_capacity(NAMES_MAX),
            ticks: 0,
            passing,
            window: None,
            sees: true,
        }
    }

    fn frame(&mut self, now: Now, seen: &Seen<'_>, teller: &mut Teller<'_>) {
        if let Some(passing) = &mut self.passing {
            passing.look(self.sees.then_some(&self.jury), seen, self.ticks);
            while let Some(part) = self.passing.as_mut().and_then(|passing| passing.pop(seen.seq)) {
                let end = End {
                    trigger: part.trigger,
                    at: seen.captured_at,
                    frame: Some(seen.seq),
                    track: Some(part.track),
                    external_id: self.names.pop_front(),
                };
                self.judge(now, part.ballot, end, teller);
            }
            return;
        }
        let at = seen.captured_at;
        match self.trigger {
            Trigger::Picture => self.window = Some(Window::new(at, self.ticks, self.names.pop_front())),
            _ => self.turn(now, at, Some(seen.seq), teller),
        }
        if let Some(window) = self.window.as_mut().filter(|window| self.sees && window.opened_at <= at) {
            window.ballot.vote_frame(&self.jury, seen);
        }
        if matches!(self.trigger, Trigger::Picture) {
            self.end_window(now, at, Some(seen.seq), teller);
        }
    }

    /// Ends the window if its time is over at this moment, and begins the next where one follows the other.
    fn turn(&mut self, now: Now, at: Moment, frame: Option<u64>, teller: &mut Teller<'_>) {
        let span = match self.trigger {
            Trigger::Command { within } | Trigger::Input { within, .. } | Trigger::Every(within) => within,
            Trigger::Line { .. } | Trigger::Picture => return,
        };
        let is_every = matches!(self.trigger, Trigger::Every(_));
        let mut next_at = at;
        let mut name = None;
        if let Some(window) = &self.window {
            let end = window.opened_at + span;
            let patience =
                if frame.is_none() && !self.jury.suffices(&window.ballot) { UNDER_WAY } else { Duration::ZERO };
            if at < end + patience {
                return;
            }
            // Windows follow each other without a gap where something is heard in time.
            if at < end + span {
                next_at = end;
            }
            if is_every && window.ballot.frames() == 0 {
                name = self.window.take().and_then(|window| window.external_id);
            } else {
                self.end_window(now, at, frame, teller);
            }
        }
        if is_every {
            let name = name.or_else(|| self.names.pop_front());
            self.window = Some(Window::new(next_at, self.ticks, name));
        }
    }

    fn end_window(&mut self, now: Now, at: Moment, frame: Option<u64>, teller: &mut Teller<'_>) {
        let Some(Window { opened_at, ticks, external_id, ballot }) = self.window.take() else { return };
        let frame = ballot.last_frame().or(frame);
        self.judge(now, ballot, End { trigger: (opened_at, ticks), at, frame, track: None, external_id }, teller);
    }

    fn judge(&mut self, now: Now, ballot: Ballot, end: End, teller: &mut Teller<'_>) {
        self.parts += 1;
        let (triggered_at, ticks) = end.trigger;
        let deadline = self.reject_after.map(|after| match after {
            RejectAfter::Time(time) => Deadline::At(triggered_at + time),
            RejectAfter::Ticks(count) => Deadline::Ticks(ticks.saturating_add(count)),
        });
        let missed = deadline.is_some_and(|deadline| match deadline {
            Deadline::At(moment) => now.moment > moment,
            Deadline::Ticks(count) => self.ticks > count,
        });
        let at_once = matches!(self.trigger, Trigger::Picture);
        let verdict = event::Verdict {
            part: self.parts,
            external_id: end.external_id,
            track: end.track,
            judgement: self.jury.judgement(&ballot, at_once),
            opened_at: ballot.opened_at(),
            triggered_at,
            frames: ballot.frames(),
            frames_bad: ballot.frames_bad(),
            defects: ballot.defects(),
            deadline,
            missed,
        };
        teller.say(end.at, end.frame, What::Verdict(verdict), ballot.steps());
        if let Some(passing) = &mut self.passing {
            passing.recycle(ballot);
        }
    }

    fn open(&mut self, now: Now, external_id: Option<String>, teller: &mut Teller<'_>) -> Result<(), Refusal> {
        if matches!(self.trigger, Trigger::Command { .. }) {
            self.end_window(now, now.moment, None, teller);
            self.window = Some(Window::new(now.moment, self.ticks, external_id));
            return Ok(());
        }
        let Some(name) = external_id else {
            return Err(refusal(teller, "opens its parts by itself; give an external_id for the next one"));
        };
        if self.names.len() == NAMES_MAX {
            return Err(refusal(
                teller,
                &format!("is full: {NAMES_MAX} names wait for parts already; send the next when one has come"),
            ));
        }
        self.names.push_back(name);
        Ok(())
    }

    fn close(&mut self, now: Now, teller: &mut Teller<'_>) -> Result<(), Refusal> {
        match self.trigger {
            Trigger::Command { .. } | Trigger::Input { .. } if self.window.is_some() => {
                self.end_window(now, now.moment, None, teller);
                Ok(())
            }
            Trigger::Command { .. } => Err(refusal(teller, "has no open part; send open first")),
            Trigger::Input { .. } => Err(refusal(teller, "has no open part; its input opens one")),
            _ => Err(refusal(teller, "ends its parts by itself; leave close out")),
        }
    }
}

fn refusal(teller: &Teller<'_>, what: &str) -> Refusal {
    Refusal(format!("rule \"{}\" {what}", teller.rule))
}

impl Machine for Verdict {
    fn take(&mut self, now: Now, input: &Input<'_>, teller: &mut Teller<'_>) {
        match *input {
            Input::Frame(seen) => self.frame(now, seen, teller),
            Input::Encoder { ticks } => self.ticks = ticks,
            Input::Edge { input } => {
                if matches!(&self.trigger, Trigger::Input { input: own, .. } if own == input) {
                    self.end_window(now, now.moment, None, teller);
                    self.window = Some(Window::new(now.moment, self.ticks, self.names.pop_front()));
                }
            }
            Input::Tick => self.turn(now, now.moment, None, teller),
            Input::Camera(sight) => self.sees = sight.sees,
        }
    }

    fn order(&mut self, now: Now, order: &Order, teller: &mut Teller<'_>) -> Result<(), Refusal> {
        match order {
            Order::Open { expected: Some(_), .. } => {
                Err(refusal(teller, "judges parts and does not count them; leave expected out, or open a total"))
            }
            Order::Open { external_id, expected: None } => self.open(now, external_id.clone(), teller),
            Order::Close => self.close(now, teller),
            Order::Reset => {
                self.names.clear();
                self.window = None;
                if let Some(passing) = &mut self.passing {
                    passing.reset();
                }
                Ok(())
            }
            Order::Acknowledge | Order::Shelve(_) => {
                Err(refusal(teller, "judges parts; ack and shelve are for rules of kind \"alarm\" or \"blind\""))
            }
            Order::Void { .. } | Order::Correct { .. } => {
                Err(refusal(teller, "judges parts; void and correct are for rules of kind \"total\""))
            }
        }
    }

    fn memory(&self) -> serde_json::Value {
        let memory = Memory {
            parts: self.parts,
            names: self.names.clone(),
            ticks: self.ticks,
            passing: self.passing.as_ref().map(Passing::memory).unwrap_or_default(),
            window: self.window.clone(),
            blind: !self.sees,
        };
        serde_json::to_value(memory).expect("numbers are finite and keys are text")
    }

    fn recall(&mut self, memory: &serde_json::Value, now: Now) -> bool {
        let Ok(Memory { parts, names, ticks, passing, window, blind }) = Memory::deserialize(memory) else {
            return false;
        };
        (self.parts, self.names, self.ticks) = (parts, names, ticks);
        self.names.truncate(NAMES_MAX);
        self.sees = !blind;
        match &mut self.passing {
            // Parts were something else before than what crosses a line.
            Some(_) if passing.is_null() => true,
            Some(now_passing) => now_passing.recall(&passing, now.moment),
            None => {
                self.window = window.map(|window| window.until(now.moment));
                true
            }
        }
    }

    fn state(&self) -> Option<What> {
        None
    }
}

#[cfg(test)]
mod tests;
