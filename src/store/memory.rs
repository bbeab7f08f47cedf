//! The outbox without a disk: while that fails, or where there is nothing to keep. Bounded; what is too much is told.

use std::collections::VecDeque;

use super::{
    Chunk, Class, Committed, GapMaker, Loss, Numbering, Pending, PerClass, Reason, Row,
    disk::{STATES_BYTES_MAX, bytes_of},
    notes::Notes,
    numbering::{Losses, least_first},
    series,
    states::States,
};

/// Messages take at most so much.
const BYTES_MAX: usize = 8 * 1024 * 1024;

/// Messages in memory, used by one thread.
pub struct Memory {
    numbering: Numbering,
    gap: GapMaker,
    rows: PerClass<VecDeque<Row>>,
    last: PerClass<u64>,
    bytes: usize,
    batch: Vec<Pending>,
    losses: Vec<Loss>,
    /// What was noted here; an empty one says that the key is forgotten.
    notes: Notes,
    states: States,
}

impl Memory {
    /// An empty one with a numbering of its own. Its ids lie above those of any disk and any earlier one.
    pub fn new(epoch: u64, gap: GapMaker) -> Self {
        let last = [epoch << 20; Class::ALL.len()];
        let (rows, batch, losses) = (Default::default(), Vec::new(), Vec::new());
        let (numbering, notes, states) = (Numbering::new(epoch), Notes::new(), States::new(STATES_BYTES_MAX));
        Self { numbering, gap, rows, last, bytes: 0, batch, losses, notes, states }
    }

    /// Knows the states of the disk that it stands in for.
    pub fn inherit(&mut self, states: States) {
        self.states = states;
    }

    /// The newest message of each retained topic.
    pub fn states(&self) -> &States {
        &self.states
    }

    /// Takes a message.
    pub fn take(&mut self, pending: Pending) {
        self.batch.push(pending);
    }

    /// As [`super::Disk::tell`].
    pub fn tell(&mut self, loss: Loss) {
        self.losses.push(loss);
    }

    /// Whether there is something to commit: messages or losses.
    pub fn has_batch(&self) -> bool {
        !self.batch.is_empty() || !self.losses.is_empty()
    }

    /// Numbers what was taken, and forgets what is acknowledged, or too much.
    pub fn commit(&mut self, done: PerClass<u64>) -> Committed {
        for (rows, done) in self.rows.iter_mut().zip(done) {
            while rows.front().is_some_and(|row| row.id <= done) {
                self.bytes -= rows.pop_front().map_or(0, |row| bytes_of(&row.entry));
            }
        }
        let rows = self.number();
        let mut committed = Committed { rows, ..Committed::default() };
        // What tells of a loss may be too much as well, but there are fewer of these every time.
        while self.bytes > BYTES_MAX {
            self.give_up(&mut committed.given_up);
            committed.rows.extend(self.number());
        }
        committed
    }

    fn number(&mut self) -> Vec<Row> {
        let (losses, batch) = (std::mem::take(&mut self.losses), std::mem::take(&mut self.batch));
        let rows = self.numbering.number_all(&losses, &batch, &mut self.last, &self.gap);
        let noted = batch.iter().flat_map(Pending::notes);
        self.notes.extend(noted.map(|note| (note.key.clone(), note.body.clone())));
        for row in &rows {
            self.states.learn(row);
            self.bytes += bytes_of(&row.entry);
            self.rows[row.entry.class as usize].push_back(row.clone());
        }
        rows
    }

    /// Gives up a sixteenth, so that losses are told in few messages.
    fn give_up(&mut self, given_up: &mut PerClass<u64>) {
        let mut losses = Losses::default();
        for class in least_first() {
            let rows = &mut self.rows[class as usize];
            while self.bytes > BYTES_MAX / 16 * 15
                && let Some(row) = rows.pop_front()
            {
                self.bytes -= bytes_of(&row.entry);
                losses.add(&series(&row.entry.topic, row.entry.numbered), row.epoch, row.seq);
                given_up[class as usize] = row.id;
            }
        }
        self.losses.extend(losses.told(Reason::Memory));
    }

    /// As [`super::Disk::read`].
    pub fn read(&self, class: Class, after: u64, rows_max: usize, bytes_max: usize) -> Chunk {
        let rows = &self.rows[class as usize];
        let start = rows.partition_point(|row| row.id <= after);
        let mut chunk = Chunk { through: after, ..Chunk::default() };
        let mut bytes = 0;
        for row in rows.range(start..).take(rows_max) {
            chunk.through = row.id;
            chunk.rows.push(row.clone());
            bytes += row.entry.body.len();
            if bytes >= bytes_max {
                break;
            }
        }
        chunk
    }

    /// No id is below this one.
    pub fn first(&self) -> u64 {
        (self.numbering.epoch << 20) + 1
    }

    /// The last id of each class.
    pub fn last(&self) -> PerClass<u64> {
        self.last
    }

    /// Which numbers were given.
    pub fn numbering(&self) -> &Numbering {
        &self.numbering
    }

    /// What was noted here; an empty one says that the key is forgotten.
    pub fn notes(&self) -> &Notes {
        &self.notes
    }

    /// All that is not acknowledged, and acknowledged states, oldest first within a class.
    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        let front = |class: Class| self.rows[class as usize].front().map_or(u64::MAX, |row| row.id);
        let acknowledged = |row: &&Row| (self.first()..front(row.entry.class)).contains(&row.id);
        let mut rows: Vec<&Row> = self.states.iter().filter(acknowledged).chain(self.rows.iter().flatten()).collect();
        rows.sort_by_key(|row| (row.entry.class, row.id));
        rows.into_iter()
    }
}
