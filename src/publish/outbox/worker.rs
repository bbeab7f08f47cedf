//! The outbox's thread: takes, numbers, writes, and fills the lane.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use super::{
    LAST_SEQS_MAX, Shared,
    keeper::{Keeper, Taken},
    resend::Search,
};
use crate::store::{Class, Committed, PerClass, Row};

/// The thread wakes at least so often, so that a watchdog sees that it lives.
const WAKE_EVERY: Duration = Duration::from_millis(500);

/// Acknowledgements are written down at most so often where nothing else is to be written.
const CURSOR_EVERY: Duration = Duration::from_secs(1);

/// So much is read for the lane in one go.
const READ_ROWS: usize = 64;
const READ_BYTES: usize = 1 << 20;

pub(super) struct Worker {
    shared: Arc<Shared>,
    keeper: Keeper,
    sync: Duration,
    /// How far the lane was filled: all up to here was put, or is lost.
    filled: PerClass<u64>,
    /// How far acknowledgements were written down.
    noted: PerClass<u64>,
    /// When the oldest that waits for a commit was taken, and whether that may not wait.
    waiting_since: Option<Instant>,
    urgent: bool,
    noted_at: Instant,
    search: Option<Search>,
    again: VecDeque<Row>,
    /// The numbering that [`Shared::last`] is about.
    epoch: u64,
    /// Whether what is handed in is written into the intake of a disk.
    attached: bool,
    /// The connection to which states were sent last.
    states_sent_to: u64,
    /// Whether the handles have to be told of other states.
    states_changed: bool,
    /// Messages that were taken without that, and not committed.
    untold: u64,
}

impl Worker {
    pub(super) fn new(shared: Arc<Shared>, keeper: Keeper, sync: Duration) -> Self {
        let begin = keeper.done();
        let mut worker = Self {
            shared,
            keeper,
            sync,
            filled: begin,
            noted: begin,
            waiting_since: None,
            urgent: false,
            noted_at: Instant::now(),
            search: None,
            again: VecDeque::new(),
            epoch: 0,
            attached: false,
            states_sent_to: 0,
            states_changed: true,
            untold: 0,
        };
        worker.show();
        let mut lane = worker.shared.handover.lane();
        for class in Class::ALL {
            lane.skip_through(class, begin[class as usize]);
        }
        drop(lane);
        // What the last process took and could not commit.
        worker.urgent = worker.keeper.has_batch();
        worker
    }

    /// Works until it is stopped, or nobody has a handle any more.
    pub(super) fn run(mut self) {
        self.attach();
        // Who has heard of the start may rely on the intake.
        self.shared.open(self.keeper.left().clone());
        loop {
            self.shared.progress.fetch_add(1, Ordering::Relaxed);
            let stopping = self.shared.stopping.load(Ordering::Relaxed);
            if self.shared.abandoned.load(Ordering::Relaxed) && !stopping {
                return;
            }
            self.attach();
            self.take_in();
            let now = Instant::now();
            if stopping || self.is_due(now) {
                self.commit(now);
            }
            if stopping {
                return;
            }
            // What is written into the intake of a disk that failed would not be read there again.
            self.attach();
            if let Some(begin) = self.keeper.try_disk(self.done(), now) {
                self.restart(begin);
            }
            let more = self.fill() | self.send_again();
            self.send_states();
            self.show();
            if !more {
                self.shared.handover.wait_outbox(self.patience(Instant::now()));
            }
        }
    }

    fn take_in(&mut self) {
        for numbered in self.shared.inbox.take() {
            let (number, pending) = &numbered;
            self.urgent |= pending.entries().iter().any(|entry| entry.class == Class::First);
            self.waiting_since.get_or_insert_with(Instant::now);
            // The others are counted where they were written.
            let messages = if *number == 0 { pending.entries().len() as u64 } else { 0 };
            match self.keeper.take(numbered, self.filled) {
                Taken::Safe => {}
                Taken::Unsafe => self.urgent = true,
                Taken::Crowded => self.commit(Instant::now()),
            }
            self.untold += messages;
        }
        if !self.urgent {
            self.tell_taken();
        }
    }

    /// What had no room in the intake is safe from the end of the process now.
    fn tell_taken(&mut self) {
        self.shared.taken.fetch_add(std::mem::take(&mut self.untold), Ordering::Relaxed);
    }

    /// What is handed in is written into the intake of the disk that is used, or of none.
    fn attach(&mut self) {
        let intake = self.keeper.intake();
        if intake.is_some() != self.attached {
            self.attached = intake.is_some();
            let safe = self.shared.inbox.attach(intake);
            self.shared.taken.fetch_add(safe, Ordering::Relaxed);
        }
    }

    fn is_due(&self, now: Instant) -> bool {
        // In memory there is nothing to wait for.
        let at_once = self.urgent || self.sync.is_zero() || self.keeper.is_fallen();
        let batch = self.keeper.has_batch()
            && (at_once || self.waiting_since.is_none_or(|since| now.duration_since(since) >= self.sync));
        let every = self.sync.max(CURSOR_EVERY);
        batch || (now.duration_since(self.noted_at) >= every)
    }

    /// How long nothing has to be done.
    fn patience(&self, now: Instant) -> Duration {
        let mut patience = WAKE_EVERY;
        if let Some(since) = self.waiting_since {
            patience = patience.min((since + self.sync).saturating_duration_since(now));
        }
        if let Some(at) = self.keeper.retry_at() {
            patience = patience.min(at.saturating_duration_since(now));
        }
        // Short, not nothing: a clock that stands still must not make this thread spin.
        patience.max(Duration::from_millis(1))
    }

    fn commit(&mut self, now: Instant) {
        let done = self.done();
        let wrote = self.keeper.has_batch() || done != self.noted;
        let committed = self.keeper.commit(done, self.filled);
        (self.waiting_since, self.urgent, self.noted, self.noted_at) = (None, false, done, now);
        self.shared.commits.fetch_add(u64::from(wrote), Ordering::Relaxed);
        self.shared.inbox.resume();
        self.tell_taken();
        self.hand_over(committed);
        // The connection is sending already.
        self.keeper.write_back(self.filled);
    }

    /// Fresh messages go to the lane without being read back, as far as they follow what is there.
    fn hand_over(&mut self, committed: Committed) {
        if committed.rows.is_empty() && committed.given_up == [0; Class::ALL.len()] {
            return;
        }
        self.shared.numbered.fetch_add(committed.rows.len() as u64, Ordering::Relaxed);
        self.note_last(&committed.rows);
        self.states_changed |= committed.rows.iter().any(|row| row.entry.retain);
        let elsewhere = self.keeper.elsewhere_through();
        let mut lane = self.shared.handover.lane();
        for class in Class::ALL {
            let (through, filled) = (committed.given_up[class as usize], &mut self.filled[class as usize]);
            if through > 0 {
                let done = lane.done_through(class);
                lane.forget(class, elsewhere, through);
                // The newest of a retained topic is given up last, if at all.
                let states = self.keeper.states().iter();
                let given_up = |row: &&Row| row.entry.class == class && (done + 1..=through).contains(&row.id);
                states.filter(given_up).for_each(|row| lane.put_state(row));
                // What still waits elsewhere is put first.
                if *filled >= self.keeper.begin(class) {
                    *filled = (*filled).max(through);
                }
            }
        }
        for row in committed.rows {
            let class = row.entry.class;
            let filled = &mut self.filled[class as usize];
            if row.id == *filled + 1 && lane.has_room(class) {
                *filled = row.id;
                lane.put(row, false);
            }
        }
        drop(lane);
        self.shared.handover.ring_connection();
    }

    /// Fills the lane with what waits; says whether there is more to do at once.
    fn fill(&mut self) -> bool {
        let mut more = false;
        let mut put = false;
        for class in Class::ALL {
            let after = self.filled[class as usize];
            let room = self.shared.handover.lane().room(class);
            if after >= self.keeper.last()[class as usize] || room == 0 {
                continue;
            }
            let chunk = self.keeper.read(class, after, room.min(READ_ROWS), READ_BYTES, self.filled);
            chunk.losses.into_iter().for_each(|loss| self.keeper.tell(loss));
            more |= chunk.through > after;
            put |= !chunk.rows.is_empty();
            let mut lane = self.shared.handover.lane();
            chunk.rows.into_iter().for_each(|row| lane.put(row, true));
            self.filled[class as usize] = chunk.through;
        }
        if put {
            self.shared.handover.ring_connection();
        }
        more
    }

    /// Sends once more what was asked for, as far as there is room; says whether there is more to do at once.
    fn send_again(&mut self) -> bool {
        if self.search.is_none() && self.again.is_empty() {
            let Some(request) = self.shared.requests.pop() else { return false };
            self.search = Some(Search::new(request, &self.keeper));
        }
        let mut put = false;
        let mut lane = self.shared.handover.lane();
        while lane.has_room_again()
            && let Some(row) = self.again.pop_front()
        {
            lane.put_again(row);
            put = true;
        }
        drop(lane);
        if put {
            self.shared.handover.ring_connection();
        }
        let done = self.done();
        if self.again.is_empty()
            && let Some(search) = &mut self.search
        {
            match search.step(&mut self.keeper, done, self.filled) {
                Some(rows) => {
                    self.shared.resent.fetch_add(rows.len() as u64, Ordering::Relaxed);
                    self.again.extend(rows);
                }
                None => self.search.take().into_iter().for_each(Search::finish),
            }
            return true;
        }
        false
    }

    /// Sends the states once more to a broker that may have forgotten them: whenever a connection stands.
    fn send_states(&mut self) {
        let mut lane = self.shared.handover.lane();
        let (connections, online) = lane.connections();
        if !online || connections == self.states_sent_to {
            return;
        }
        self.states_sent_to = connections;
        self.keeper.states().iter().for_each(|row| lane.put_state(row));
        drop(lane);
        self.shared.handover.ring_connection();
    }

    /// The place has changed: what waits is put once more.
    fn restart(&mut self, begin: PerClass<u64>) {
        let mut lane = self.shared.handover.lane();
        for class in Class::ALL {
            lane.restart(class, begin[class as usize]);
        }
        drop(lane);
        self.filled = begin;
        self.noted = begin;
        // Of these more may be known now.
        self.states_sent_to = 0;
        self.states_changed = true;
        self.urgent |= self.keeper.has_batch();
    }

    fn done(&self) -> PerClass<u64> {
        let lane = self.shared.handover.lane();
        Class::ALL.map(|class| lane.done_through(class))
    }

    fn note_last(&mut self, rows: &[Row]) {
        self.follow_epoch();
        let mut last = self.shared.last();
        for row in rows.iter().filter(|row| row.entry.numbered) {
            if let Some(known) = last.get_mut(&row.entry.topic) {
                *known = (row.epoch, row.seq);
            } else if last.len() < LAST_SEQS_MAX {
                last.insert(row.entry.topic.clone(), (row.epoch, row.seq));
            }
        }
    }

    /// Numbers of another epoch say nothing any more.
    fn follow_epoch(&mut self) {
        let numbering = self.keeper.numbering();
        if numbering.epoch == self.epoch {
            return;
        }
        self.epoch = numbering.epoch;
        let known = numbering.last().filter(|(series, _)| !series.ends_with('#')).take(LAST_SEQS_MAX);
        *self.shared.last() = known.map(|(series, seq)| (series.to_owned(), (self.epoch, seq))).collect();
    }

    /// Lets the handles see how it is.
    fn show(&mut self) {
        self.follow_epoch();
        if std::mem::take(&mut self.states_changed) {
            let states = self.keeper.states().iter();
            *self.shared.states() = states.map(|row| (row.entry.topic.clone(), row.entry.class)).collect();
        }
        let mut trouble = self.shared.trouble();
        if trouble.as_deref() != self.keeper.trouble() {
            *trouble = self.keeper.trouble().map(str::to_owned);
        }
    }
}
