//! The spans over which is counted: when one begins and when it ends.
//!
//! - One without a limit, or with a schedule, begins with the first thing that the rule hears, and another where the
//!   schedule ends it. One that ends when nothing is there, and the next after a `close`, begin with the next thing that is
//!   counted.
//! - The schedule is that of the local time. What passed of it while the process was down, or while the clock was not to be
//!   relied on, ends the session when that is over; an hour that comes twice in autumn ends it once.
//! - Emptiness is measured in frames that came, a gap between two of them being half of it at most, and begins once
//!   something was seen in the session.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Now, SessionSettings};
use crate::{
    event::{Closing, Session},
    moment::Moment,
};

const DAY_MICROS: i64 = 86_400_000_000;

/// Local time may go back by so much, as it does in autumn, without having been set anew.
const BACK_MICROS_MAX: i64 = 3 * 3_600_000_000;

/// Begins and ends the sessions of one counter.
#[derive(Debug)]
pub(super) struct Sessions {
    settings: SessionSettings,
    /// The present one, or the last.
    last: Option<Session>,
    /// The latest local time so far, of which the schedule was kept.
    mark_micros: Option<i64>,
    /// For how long nothing was seen; `None` before the first thing in a session.
    idle: Option<Duration>,
}

/// What has to be known after a restart.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Memory {
    last: Option<Remembered>,
    mark_micros: Option<i64>,
    idle_micros: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Remembered {
    number: u64,
    external_id: Option<String>,
    opened_at: Moment,
    closed: Option<(Moment, String)>,
}

impl Sessions {
    /// One without a session.
    pub(super) fn new(settings: &SessionSettings) -> Self {
        Self { settings: settings.clone(), last: None, mark_micros: None, idle: None }
    }

    /// The present session, or the last.
    pub(super) fn last(&self) -> Option<&Session> {
        self.last.as_ref()
    }

    /// Whether one goes on.
    pub(super) fn is_open(&self) -> bool {
        self.last.as_ref().is_some_and(|session| session.closed.is_none())
    }

    /// Whether the first one, or the one after the schedule, begins by itself.
    pub(super) fn begins_by_itself(&self) -> bool {
        !self.settings.by_command && self.settings.empty_after.is_none()
    }

    /// Whether a thing that is counted begins one.
    pub(super) fn begins_with_things(&self) -> bool {
        !self.settings.by_command
    }

    /// Begins a session; the one before has ended.
    pub(super) fn open(&mut self, at: Moment, external_id: Option<String>) {
        let number = self.last.as_ref().map_or(0, |session| session.number).saturating_add(1);
        self.last = Some(Session { number, external_id, opened_at: at, closed: None });
        self.idle = None;
    }

    /// Ends the session.
    pub(super) fn close(&mut self, at: Moment, closing: Closing) {
        if let Some(session) = &mut self.last {
            session.closed = Some((at, closing));
        }
        self.idle = None;
    }

    /// Whether the schedule ends the session now. To be asked before anything is counted.
    pub(super) fn is_due(&mut self, now: Now) -> bool {
        let Some(local) = now.local_micros else { return false };
        let opened = self.last.as_ref().filter(|session| session.closed.is_none()).map(|session| session.opened_at);
        let before = match (self.mark_micros, opened) {
            (Some(mark), _) => mark,
            // The local time is known for the first time: the session began so long before it.
            (None, Some(opened)) => {
                let age = i64::try_from(now.moment.since(opened).as_micros()).unwrap_or(i64::MAX);
                local.saturating_sub(age)
            }
            (None, None) => local,
        };
        if local <= before {
            if self.mark_micros.is_none() || local < before.saturating_sub(BACK_MICROS_MAX) {
                self.mark_micros = Some(local);
            }
            return false;
        }
        self.mark_micros = Some(local);
        opened.is_some() && self.settings.schedule.iter().any(|time| passed(*time, before, local))
    }

    /// Takes note of whether anything was seen in a frame, `span` after the one before. Whether the session is empty for
    /// long enough to end.
    pub(super) fn is_empty(&mut self, busy: bool, span: Duration) -> bool {
        let Some(limit) = self.settings.empty_after.filter(|_| self.is_open()) else { return false };
        if busy {
            self.idle = Some(Duration::ZERO);
            return false;
        }
        let Some(idle) = &mut self.idle else { return false };
        *idle = idle.saturating_add(span.min(limit / 2));
        span > Duration::ZERO && *idle >= limit
    }

    /// What has to be known after a restart.
    pub(super) fn memory(&self) -> Memory {
        let remembered = |session: &Session| Remembered {
            number: session.number,
            external_id: session.external_id.clone(),
            opened_at: session.opened_at,
            closed: session.closed.map(|(at, closing)| (at, closing.name().to_owned())),
        };
        Memory {
            last: self.last.as_ref().map(remembered),
            mark_micros: self.mark_micros,
            idle_micros: self.idle.map(|idle| u64::try_from(idle.as_micros()).unwrap_or(u64::MAX)),
        }
    }

    /// Goes on where an earlier process ended; moments of the future become `now`.
    pub(super) fn recall(&mut self, memory: Memory, now: Moment) {
        let closing = |name: &str| {
            let all = [Closing::Command, Closing::Schedule, Closing::Empty];
            all.into_iter().find(|closing| closing.name() == name).unwrap_or(Closing::Command)
        };
        self.last = memory.last.map(|Remembered { number, external_id, opened_at, closed }| Session {
            number,
            external_id,
            opened_at: opened_at.min(now),
            closed: closed.map(|(at, name)| (at.min(now), closing(&name))),
        });
        self.mark_micros = memory.mark_micros;
        self.idle = memory.idle_micros.map(Duration::from_micros);
    }
}

/// Whether a time of the day lies after `before` and not after `local`, on whichever day.
fn passed(time: Duration, before: i64, local: i64) -> bool {
    let time = i64::try_from(time.as_micros()).unwrap_or(0);
    let days = |local: i64| local.saturating_sub(time).div_euclid(DAY_MICROS);
    days(local) > days(before)
}

#[cfg(test)]
mod tests;
