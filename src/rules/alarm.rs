//! An alarm while something is seen: raised by enough hits, and kept by a lower confidence than raised it.
//!
//! Frames that do not come, and those of a camera that cannot be relied on, neither raise nor clear.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    AlarmSettings, Input, Now, Order, Refusal, Seen, Watch, When,
    annunciator::{self, Annunciator, Grounds},
    machine::{Machine, Mark, Teller, Trail},
    window::{self, Window},
};
use crate::{detection::Detection, event::What, moment::Moment};

/// After a restart that left a longer gap than this, and than the time itself, the time until an alarm returns, or until a
/// blind camera raises one, begins anew: nobody looked.
pub(super) const BREAK_MIN: Duration = Duration::from_secs(1);

/// The rule at work.
#[derive(Debug)]
pub(super) struct Alarm {
    watch: Watch,
    raise: f32,
    clear: f32,
    clear_after: Duration,
    /// So many frames are told as steps, or as many as lie in the time.
    steps: When,
    annunciator: Annunciator,
    /// What may raise it; rests while the cause is there.
    window: Window,
    trail: Trail,
    /// The last frame that kept the cause there; `None`: the next one does, whatever it shows.
    kept: Option<Mark>,
    /// The first frame after that.
    quiet: Option<Mark>,
    /// Whether the camera can be relied on.
    sees: bool,
    /// Whether there were tracks since the start.
    tracked: bool,
    looked_at: Option<Moment>,
    /// The next frame is the first after a restart.
    resumed: bool,
}

/// What has to be known after a restart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Memory {
    alarm: annunciator::Memory,
    window: window::Memory,
    kept_at: Option<Moment>,
    looked_at: Option<Moment>,
    /// The camera cannot be relied on, as last heard.
    blind: bool,
}

impl Alarm {
    /// One that has seen nothing, since `born`.
    pub(super) fn new(settings: &AlarmSettings, born: Moment) -> Self {
        Self {
            watch: settings.watch.clone(),
            raise: settings.raise,
            clear: settings.clear,
            clear_after: settings.clear_after,
            steps: settings.when,
            annunciator: Annunciator::new(settings.manner, born),
            window: Window::new(settings.when),
            trail: Trail::new(),
            kept: None,
            quiet: None,
            sees: true,
            tracked: false,
            looked_at: None,
            resumed: false,
        }
    }

    /// Looks at a frame of a camera that can be relied on.
    fn look(&mut self, seen: &Seen<'_>, teller: &mut Teller<'_>) {
        self.tracked |= !seen.tracks.is_empty();
        let best = self.best(seen);
        if self.annunciator.is_active() {
            self.follow(seen, best.map(|best| best.confidence), teller);
        } else {
            self.gather(seen, best, teller);
        }
        self.looked_at = Some(seen.captured_at);
        self.resumed = false;
    }

    /// What it watches for and is surest.
    fn best<'a>(&self, seen: &Seen<'a>) -> Option<&'a Detection> {
        let mut best: Option<&Detection> = None;
        for detection in seen.found {
            let better = best.is_none_or(|best| detection.confidence > best.confidence);
            if better && self.watch.takes(detection, seen.size) {
                best = Some(detection);
            }
        }
        best
    }

    /// Collects what may raise it.
    fn gather(&mut self, seen: &Seen<'_>, best: Option<&Detection>, teller: &mut Teller<'_>) {
        let (at, frame) = (seen.captured_at, Some(seen.seq));
        let hit = best.filter(|best| best.confidence >= self.raise);
        self.window.pass(at);
        self.window.frame(hit.is_some());
        if hit.is_some() && matches!(self.steps, When::Within { .. }) {
            self.gather_things(seen);
        }
        let meant = match (hit, best) {
            (Some(_), _) => "a hit",
            (None, Some(_)) => "below raise",
            (None, None) => "nothing",
        };
        let mark = Mark { at, frame, score: best.map(|best| best.confidence), meant };
        match self.steps {
            When::Frames { frames, .. } => {
                self.trail.push(mark);
                self.trail.keep(frames as usize);
            }
            When::Within { span, .. } => {
                if hit.is_some() {
                    self.trail.push(mark);
                }
                self.trail.forget_before(at - span);
            }
        }
        let Some(hit) = hit.filter(|_| self.window.is_reached() && self.annunciator.may_come(at)) else { return };
        let cause = format!("{} {:.2}{}", hit.name, hit.confidence, self.window.words());
        let because = self.trail.steps();
        self.forget();
        self.kept = Some(mark);
        self.annunciator.come(cause, Grounds { at, frame, because }, teller);
    }

    /// Each track that is a hit is a thing; without tracks the frame is.
    fn gather_things(&mut self, seen: &Seen<'_>) {
        let mut tracks = false;
        for detection in seen.found {
            if detection.track_id.is_some()
                && detection.confidence >= self.raise
                && self.watch.takes(detection, seen.size)
            {
                self.window.thing(detection.track_id, seen.captured_at);
                tracks = true;
            }
        }
        if !tracks && !self.tracked {
            self.window.thing(None, seen.captured_at);
        }
    }

    /// Waits for the cause to go.
    fn follow(&mut self, seen: &Seen<'_>, score: Option<f32>, teller: &mut Teller<'_>) {
        let (at, frame) = (seen.captured_at, Some(seen.seq));
        let away = self.looked_at.is_some_and(|looked_at| at.since(looked_at) > self.clear_after.max(BREAK_MIN));
        let kept = match &self.kept {
            Some(kept) if !(self.resumed && away) => *kept,
            _ => *self.kept.insert(Mark { at, frame, score, meant: "the first frame after a gap" }),
        };
        if score.is_some_and(|score| score >= self.clear) {
            self.kept = Some(Mark { at, frame, score, meant: "kept it" });
            self.quiet = None;
            return;
        }
        let mark = Mark { at, frame, score, meant: "below clear" };
        let quiet = *self.quiet.get_or_insert(mark);
        if at.since(kept.at) < self.clear_after || !self.annunciator.may_go(at) {
            return;
        }
        self.forget();
        self.trail.push(kept);
        if quiet.at < at {
            self.trail.push(quiet);
        }
        self.trail.push(Mark { meant: "below clear for long enough", ..mark });
        let because = self.trail.steps();
        self.trail.clear();
        let reason = format!("nothing of {} or more for {} s", self.clear, self.clear_after.as_secs_f64());
        self.annunciator.go(reason, Grounds { at, frame, because }, teller);
    }

    /// Begins again with what it has seen.
    fn forget(&mut self) {
        self.window.clear();
        self.trail.clear();
        (self.kept, self.quiet) = (None, None);
    }
}

impl Machine for Alarm {
    fn take(&mut self, now: Now, input: &Input<'_>, teller: &mut Teller<'_>) {
        self.annunciator.pass(now, teller);
        match input {
            Input::Frame(seen) if self.sees => self.look(seen, teller),
            Input::Camera(sight) => {
                if !sight.sees {
                    (self.kept, self.quiet) = (None, None);
                }
                self.sees = sight.sees;
            }
            Input::Frame(_) | Input::Edge { .. } | Input::Encoder { .. } | Input::Tick => {}
        }
    }

    fn order(&mut self, now: Now, order: &Order, teller: &mut Teller<'_>) -> Result<(), Refusal> {
        self.annunciator.order(now, order, teller)?;
        if matches!(order, Order::Reset) {
            self.forget();
        }
        Ok(())
    }

    fn memory(&self) -> serde_json::Value {
        let memory = Memory {
            alarm: self.annunciator.memory(),
            window: self.window.memory(),
            kept_at: self.kept.map(|kept| kept.at),
            looked_at: self.looked_at,
            blind: !self.sees,
        };
        serde_json::to_value(memory).expect("texts, numbers and lists are JSON")
    }

    fn recall(&mut self, memory: &serde_json::Value, now: Now) -> bool {
        let Ok(memory) = Memory::deserialize(memory) else { return false };
        if !self.annunciator.recall(memory.alarm, now) {
            return false;
        }
        self.window.recall(memory.window, now.moment);
        let past = |moment: Moment| moment.min(now.moment);
        let before = |at| Mark { at, frame: None, score: None, meant: "kept it before the restart" };
        self.kept = memory.kept_at.map(past).map(before);
        (self.looked_at, self.sees) = (memory.looked_at.map(past), !memory.blind);
        self.resumed = true;
        true
    }

    fn state(&self) -> Option<What> {
        Some(What::Alarm(self.annunciator.alarm()))
    }
}

#[cfg(test)]
mod tests;
