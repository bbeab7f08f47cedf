//! What is sent once more on demand: looked for a few thousand messages at a time, so that nothing else waits for it.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Mutex, PoisonError},
};

use super::keeper::Keeper;
use crate::store::{Class, PerClass, Row, Wanted};

/// So many requests wait at most,
const REQUESTS_MAX: usize = 16;
/// and each is for at most so many messages.
const MESSAGES_MAX: u64 = 10_000;

/// Which messages to send once more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Again {
    /// Their topic.
    pub topic: String,
    /// The numbering; `None`: the current one.
    pub epoch: Option<u64>,
    /// The first number.
    pub from: u64,
    /// The last number. Of more than 10,000 the first are sent.
    pub to: u64,
}

/// What became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resent {
    /// The numbering that was looked in.
    pub epoch: u64,
    /// How many messages are on their way. Those that were not acknowledged yet are sent anyway, and not counted.
    pub sent: u64,
    /// Numbers that are not kept any more, or cannot be read now: from, to.
    pub gone: Vec<(u64, u64)>,
}

type Answer = Box<dyn FnOnce(Option<Resent>) + Send>;

/// What was asked for, until the outbox's thread comes to it.
#[derive(Default)]
pub(super) struct Requests(Mutex<VecDeque<(Again, Answer)>>);

impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requests").finish_non_exhaustive()
    }
}

impl Requests {
    /// Adds one; where there are too many it is answered at once.
    pub(super) fn push(&self, again: Again, answer: Answer) {
        let mut requests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if requests.len() < REQUESTS_MAX {
            requests.push_back((again, answer));
        } else {
            drop(requests);
            answer(None);
        }
    }

    pub(super) fn pop(&self) -> Option<(Again, Answer)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

/// A request that is being looked for.
pub(super) struct Search {
    again: Again,
    answer: Answer,
    resent: Resent,
    /// Which class is looked through, and after which id.
    class: usize,
    after: u64,
    /// The number that is found next unless it is gone.
    expected: u64,
}

impl Search {
    pub(super) fn new((mut again, answer): (Again, Answer), keeper: &Keeper) -> Self {
        again.from = again.from.max(1);
        again.to = again.to.min(again.from.saturating_add(MESSAGES_MAX - 1));
        let epoch = again.epoch.unwrap_or(keeper.numbering().epoch);
        let expected = again.from;
        if epoch == keeper.numbering().epoch {
            // What has no number yet is not gone.
            again.to = again.to.min(keeper.numbering().last_of(&again.topic));
        }
        Self { again, answer, resent: Resent { epoch, ..Resent::default() }, class: 0, after: 0, expected }
    }

    /// Looks a little further, and says what to send; `None`: all was looked through. `done` is how far the lane is acknowledged: what lies beyond is on its way anyway.
    pub(super) fn step(&mut self, keeper: &mut Keeper, done: PerClass<u64>, lane: PerClass<u64>) -> Option<Vec<Row>> {
        let class = Class::ALL.get(self.class).filter(|_| self.expected <= self.again.to)?;
        let wanted =
            Wanted { series: &self.again.topic, epoch: self.resent.epoch, from: self.expected, to: self.again.to };
        let Some(chunk) = keeper.search(*class, self.after, wanted, lane) else {
            self.class = Class::ALL.len();
            return None;
        };
        let mut found = chunk.rows;
        for row in &found {
            if row.seq > self.expected {
                self.resent.gone.push((self.expected, row.seq - 1));
            }
            self.expected = row.seq + 1;
        }
        found.retain(|row| row.id <= done[*class as usize]);
        self.resent.sent += found.len() as u64;
        self.after = chunk.through;
        if chunk.through >= keeper.last()[*class as usize] {
            self.class += 1;
            self.after = 0;
        }
        Some(found)
    }

    /// Says what became of it.
    pub(super) fn finish(mut self) {
        if self.expected <= self.again.to {
            self.resent.gone.push((self.expected, self.again.to));
        }
        (self.answer)(Some(self.resent));
    }
}
