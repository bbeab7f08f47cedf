//! What somebody is told of an alarm: the states of ISA-18.2 over a cause that others follow. It knows the states, who has
//! taken note, the hold, the cooldown and the shelf; what the cause is and how sure it is belongs to `alarm.rs` and
//! `blind.rs`.
//!
//! Something is said only where the state, or the end of the shelf, changes.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Manner, Now, Order, Refusal, machine::Teller};
use crate::{
    event::{Alarm, AlarmState, Step, What},
    moment::Moment,
};

/// An alarm is silenced for so long at most.
pub const SHELVED_MAX: Duration = Duration::from_secs(7 * 86_400);

/// An alarm as somebody at the line hears of it.
#[derive(Clone, Debug)]
pub(super) struct Annunciator {
    manner: Manner,
    state: AlarmState,
    /// Since when the cause is there: followed in every state, also on the shelf.
    active_since: Option<Moment>,
    /// What the cause is, as it was when it came.
    cause: String,
    /// When the cause went last.
    gone_at: Option<Moment>,
    since: Moment,
    raised_at: Option<Moment>,
    raises: u64,
    reason: String,
    evidence: Option<String>,
    shelf: Option<Shelf>,
}

/// A time for which an alarm is silenced.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Shelf {
    from: Moment,
    until: Moment,
}

/// What has to be known after a restart. What a newer or an older version does not know is empty.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Memory {
    state: String,
    active_since: Option<Moment>,
    cause: String,
    gone_at: Option<Moment>,
    since: Moment,
    raised_at: Option<Moment>,
    raises: u64,
    reason: String,
    evidence: Option<String>,
    shelf: Option<Shelf>,
}

/// What decided about an alarm: when, in which frame, and the steps that led there.
#[derive(Debug)]
pub(super) struct Grounds {
    pub(super) at: Moment,
    pub(super) frame: Option<u64>,
    pub(super) because: Vec<Step>,
}

impl Grounds {
    /// Somebody's order, or that a time is over.
    fn of(now: Now, meant: &str) -> Self {
        let step = Step { at: now.moment, frame: None, score: None, meant: meant.to_owned() };
        Self { at: now.moment, frame: None, because: vec![step] }
    }
}

impl Annunciator {
    /// One that was never raised, since `born`.
    pub(super) fn new(manner: Manner, born: Moment) -> Self {
        Self {
            manner,
            state: AlarmState::Normal,
            active_since: None,
            cause: String::new(),
            gone_at: None,
            since: born,
            raised_at: None,
            raises: 0,
            reason: "it was not raised so far".to_owned(),
            evidence: None,
            shelf: None,
        }
    }

    /// Whether the cause is there.
    pub(super) fn is_active(&self) -> bool {
        self.active_since.is_some()
    }

    /// Whether the cooldown lets the cause come.
    pub(super) fn may_come(&self, at: Moment) -> bool {
        !self.is_active() && self.gone_at.is_none_or(|gone_at| at.since(gone_at) >= self.manner.cooldown)
    }

    /// Whether the hold lets the cause go.
    pub(super) fn may_go(&self, at: Moment) -> bool {
        self.active_since.is_some_and(|since| at.since(since) >= self.manner.hold)
    }

    /// The cause came. Without effect where it is there already.
    pub(super) fn come(&mut self, cause: String, grounds: Grounds, teller: &mut Teller<'_>) {
        if self.is_active() {
            return;
        }
        self.active_since = Some(grounds.at);
        self.cause.clone_from(&cause);
        if self.state != AlarmState::Shelved {
            self.raise(cause, grounds, teller);
        }
    }

    /// The cause went, for this reason. Without effect where it is not there.
    pub(super) fn go(&mut self, reason: String, grounds: Grounds, teller: &mut Teller<'_>) {
        if self.active_since.take().is_none() {
            return;
        }
        self.gone_at = Some(grounds.at);
        match self.state {
            AlarmState::Shelved => {}
            AlarmState::Unacknowledged if self.manner.latch => {
                self.enter(AlarmState::Returned, reason, grounds, teller)
            }
            _ => self.enter(AlarmState::Normal, reason, grounds, teller),
        }
    }

    /// Time passes: a shelf may be over.
    pub(super) fn pass(&mut self, now: Now, teller: &mut Teller<'_>) {
        if self.shelf.is_some_and(|shelf| now.moment >= shelf.until) {
            self.unshelve("the time on the shelf is over", now, teller);
        }
    }

    /// Does what somebody asks. A reset forgets the cause: who follows it begins again as well.
    ///
    /// # Errors
    /// Where an alarm cannot do that, or not now.
    pub(super) fn order(&mut self, now: Now, order: &Order, teller: &mut Teller<'_>) -> Result<(), Refusal> {
        self.pass(now, teller);
        match order {
            Order::Acknowledge => self.acknowledge(now, teller),
            Order::Shelve(time) if time.is_zero() => {
                if self.state != AlarmState::Shelved {
                    return Err(refusal(teller, "is not shelved; there is nothing to end"));
                }
                self.unshelve("taken off the shelf", now, teller);
                Ok(())
            }
            Order::Shelve(time) => self.shelve(*time, now, teller),
            Order::Reset => {
                (self.active_since, self.gone_at, self.shelf) = (None, None, None);
                if self.state != AlarmState::Normal {
                    self.enter(AlarmState::Normal, "reset".to_owned(), Grounds::of(now, "reset was ordered"), teller);
                }
                Ok(())
            }
            Order::Open { .. } | Order::Close | Order::Void { .. } | Order::Correct { .. } => {
                Err(refusal(teller, "has no parts and no sessions; it takes ack, shelve and reset"))
            }
        }
    }

    /// How it stands.
    pub(super) fn alarm(&self) -> Alarm {
        Alarm {
            state: self.state,
            active: self.is_active(),
            priority: self.manner.priority,
            since: self.since,
            raised_at: self.raised_at,
            raises: self.raises,
            reason: self.reason.clone(),
            evidence: self.evidence.clone(),
            shelved_until: self.shelf.map(|shelf| shelf.until),
        }
    }

    /// What has to be known after a restart.
    pub(super) fn memory(&self) -> Memory {
        Memory {
            state: self.state.name().to_owned(),
            active_since: self.active_since,
            cause: self.cause.clone(),
            gone_at: self.gone_at,
            since: self.since,
            raised_at: self.raised_at,
            raises: self.raises,
            reason: self.reason.clone(),
            evidence: self.evidence.clone(),
            shelf: self.shelf,
        }
    }

    /// Goes on in the state that an earlier process was in; gives false, and stays as it is, where that contradicts itself.
    pub(super) fn recall(&mut self, memory: Memory, now: Now) -> bool {
        let Some(state) = AlarmState::ALL.into_iter().find(|state| state.name() == memory.state) else { return false };
        let active = memory.active_since.is_some();
        let sound = match state {
            AlarmState::Normal | AlarmState::Returned => !active && memory.shelf.is_none(),
            AlarmState::Unacknowledged | AlarmState::Acknowledged => active && memory.shelf.is_none(),
            AlarmState::Shelved => memory.shelf.is_some(),
        };
        if !sound {
            return false;
        }
        let past = |moment: Moment| moment.min(now.moment);
        *self = Self {
            manner: self.manner,
            state,
            active_since: memory.active_since.map(past),
            cause: memory.cause,
            gone_at: memory.gone_at.map(past),
            since: past(memory.since),
            raised_at: memory.raised_at.map(past),
            raises: memory.raises,
            reason: memory.reason,
            evidence: memory.evidence,
            shelf: memory.shelf.map(|Shelf { from, until }| {
                let time = until.since(from).min(SHELVED_MAX);
                Shelf { from: past(from), until: past(from) + time }
            }),
        };
        true
    }

    fn acknowledge(&mut self, now: Now, teller: &mut Teller<'_>) -> Result<(), Refusal> {
        let (next, reason) = match self.state {
            AlarmState::Unacknowledged => (AlarmState::Acknowledged, format!("acknowledged: {}", self.cause)),
            AlarmState::Returned => (AlarmState::Normal, "acknowledged after its cause had gone".to_owned()),
            AlarmState::Normal => return Err(refusal(teller, "is normal; there is nothing to acknowledge")),
            AlarmState::Acknowledged => return Err(refusal(teller, "is acknowledged already; nothing is left to do")),
            AlarmState::Shelved => {
                return Err(refusal(
                    teller,
                    "is shelved; shelve it for 0 seconds first, then acknowledge what is there",
                ));
            }
        };
        self.enter(next, reason, Grounds::of(now, "acknowledge was ordered"), teller);
        Ok(())
    }

    fn shelve(&mut self, time: Duration, now: Now, teller: &mut Teller<'_>) -> Result<(), Refusal> {
        if time > SHELVED_MAX {
            let days = SHELVED_MAX.as_secs() / 86_400;
            return Err(refusal(teller, &format!("cannot be shelved for so long; ask for {days} days at most")));
        }
        let shelf = Shelf { from: now.moment, until: now.moment + time };
        let same = self.shelf.is_some_and(|before| before.until == shelf.until);
        self.shelf = Some(shelf);
        if !same {
            let reason = format!("shelved for {} s", time.as_secs_f64());
            self.enter(AlarmState::Shelved, reason, Grounds::of(now, "shelve was ordered"), teller);
        }
        Ok(())
    }

    fn unshelve(&mut self, why: &str, now: Now, teller: &mut Teller<'_>) {
        self.shelf = None;
        let grounds = Grounds::of(now, why);
        if self.is_active() {
            let reason = format!("{why}, and it is there still: {}", self.cause);
            self.raise(reason, grounds, teller);
        } else {
            self.enter(AlarmState::Normal, why.to_owned(), grounds, teller);
        }
    }

    fn raise(&mut self, reason: String, grounds: Grounds, teller: &mut Teller<'_>) {
        self.raised_at = Some(grounds.at);
        self.raises += 1;
        self.evidence = Some(teller.next_id());
        self.enter(AlarmState::Unacknowledged, reason, grounds, teller);
    }

    /// Goes into a state and says so.
    fn enter(&mut self, state: AlarmState, reason: String, grounds: Grounds, teller: &mut Teller<'_>) {
        let Grounds { at, frame, because } = grounds;
        if self.state != state {
            self.since = at;
        }
        (self.state, self.reason) = (state, reason);
        teller.say(at, frame, What::Alarm(self.alarm()), because);
    }
}

fn refusal(teller: &Teller<'_>, what: &str) -> Refusal {
    Refusal(format!("alarm \"{}\" {what}", teller.rule))
}

#[cfg(test)]
mod tests;
