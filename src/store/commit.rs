//! Numbers and writes what was taken, as one transaction.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::{
    Class, Committed, Disk, Failure, FailureKind, Numbering, PerClass, Row,
    disk::bytes_of,
    notes::{self, Notes},
    numbering,
    room::Room,
    row,
    schema::{self, State, table},
    states,
};

impl Disk {
    /// Writes what was taken since the last commit, and how far all was acknowledged. When it returns, all of that is on the
    /// disk. Nothing is written where nothing changed. [`Disk::write_back`] belongs behind each commit.
    ///
    /// # Errors
    /// Where the disk fails: then nothing is known about this file any more, see [`Disk::fail`].
    pub fn commit(&mut self, done: PerClass<u64>, now: Timestamp) -> Result<Committed, Failure> {
        let done = std::array::from_fn(|class| done[class].clamp(self.state.done[class], self.state.last[class]));
        let old = self.look_for_old(now)?;
        if !self.has_batch() && done == self.state.done && !old {
            return Ok(Committed::default());
        }
        match self.write(done, 0, now) {
            // The estimate of what is needed was too low.
            Err(failure) if failure.kind == FailureKind::Full => self.write(done, self.limits.max_bytes / 8, now),
            written => written,
        }
    }

    /// Brings the log of commits back into the database once it is long; it is written over from the front then. What was
    /// committed is on the disk before, so whoever waits for it need not wait for this.
    ///
    /// # Errors
    /// Where the disk fails, as for [`Disk::commit`]. What was committed stays so.
    pub fn write_back(&mut self) -> Result<(), Failure> {
        let pages: i64 = self.db.query_row("PRAGMA wal_checkpoint(NOOP)", [], |row| row.get(1))?;
        if pages >= i64::from(schema::LOG_PAGES) { schema::write_back(&self.db, "PASSIVE") } else { Ok(()) }
    }

    fn write(&mut self, done: PerClass<u64>, spare_bytes: u64, now: Timestamp) -> Result<Committed, Failure> {
        let transaction = self.db.unchecked_transaction()?;
        let mut state = State { done, taken: self.state.taken.max(self.batch_through), ..self.state.clone() };
        let room = self.make_room(&mut state, spare_bytes, now)?;
        let mut numbering = self.numbering.clone();
        let losses = [self.losses.as_slice(), &room.losses].concat();
        let rows = numbering.number_all(&losses, &self.batch, &mut state.last, &self.gap);
        let changed = states::changed(&rows);
        let topics = self.write_topics(&numbering, &changed)?;
        let aside = self.drop_aside(&room, &changed)?;
        for row in &rows {
            let series = numbering::series(&row.entry.topic, row.entry.numbered);
            let id = topics.iter().find(|(_, name)| *name == *series).map(|(id, _)| *id);
            let id = id.or_else(|| self.ids.get(&*series).copied()).expect("every number was given within a series");
            insert(&transaction, row, id)?;
        }
        let notes = notes::write(&transaction, &self.notes, notes::newest(&self.batch))?;
        state.write(&transaction)?;
        transaction.commit()?;
        for (id, name) in topics {
            self.ids.insert(name.clone(), id);
            self.names.add(id, name);
        }
        rows.iter().for_each(|row| self.states.learn(row));
        self.aside = aside;
        self.notes = notes;
        self.numbering = numbering;
        self.first = room.first;
        self.state = state;
        self.intake.committed(self.state.taken);
        self.batch.clear();
        self.batch_bytes = 0;
        self.losses.clear();
        Ok(Committed { rows, given_up: room.given_up })
    }

    /// What was put aside for topics that have another state now, or none, is not needed any more. Gives the topics that still
    /// have theirs aside.
    fn drop_aside(
        &self,
        room: &Room,
        changed: &BTreeMap<&str, Option<(Class, u64)>>,
    ) -> Result<BTreeSet<i64>, Failure> {
        let aside: BTreeSet<i64> = self.aside.iter().chain(&room.aside).copied().collect();
        // Those that had to make room for other topics as well.
        let stale = |topic: &i64| {
            self.names.of(*topic).is_none_or(|name| changed.contains_key(name) || self.states.place(name).is_none())
        };
        let (gone, aside): (BTreeSet<i64>, BTreeSet<i64>) = aside.into_iter().partition(stale);
        for topic in gone {
            states::drop_aside(&self.db, topic)?;
        }
        Ok(aside)
    }

    /// Writes the next numbers and the newest messages of all series whose changed, and gives ids to those that are new.
    fn write_topics(
        &self,
        numbering: &Numbering,
        changed: &BTreeMap<&str, Option<(Class, u64)>>,
    ) -> Result<Vec<(i64, String)>, Failure> {
        let mut new = Vec::new();
        for (name, next) in &numbering.next {
            let known = self.ids.get(name).copied();
            let newest = changed.get(name.as_str()).copied();
            if known.is_some() && self.numbering.next.get(name) == Some(next) && newest.is_none() {
                continue;
            }
            let id = known.unwrap_or_else(|| {
                let id = 1 + i64::try_from(self.ids.len() + new.len()).expect("series are few");
                new.push((id, name.clone()));
                id
            });
            let newest = newest.unwrap_or_else(|| self.states.place(name));
            schema::write_topic(&self.db, id, name, *next, newest)?;
        }
        Ok(new)
    }

    /// Adds what got its number elsewhere.
    pub(super) fn insert_adopted(
        &mut self,
        rows: impl Iterator<Item = Row>,
        notes: &Notes,
        done: PerClass<u64>,
        now: Timestamp,
    ) -> Result<(), Failure> {
        let mut rows: Vec<Row> = rows.collect();
        let transaction = self.db.unchecked_transaction()?;
        let mut state = self.state.clone();
        state.done = std::array::from_fn(|class| done[class].clamp(state.done[class], state.last[class]));
        // Half-empty pages included.
        let bytes = rows.iter().map(|row| bytes_of(&row.entry)).chain(notes.values().map(|body| body.len() + 64));
        let bytes = bytes.map(|bytes| 2 * bytes as u64).sum();
        let room = self.make_room(&mut state, bytes, now)?;
        let mut topics: Vec<(i64, String)> = Vec::new();
        for row in &mut rows {
            let last = &mut state.last[row.entry.class as usize];
            *last += 1;
            row.id = *last;
            let series = numbering::series(&row.entry.topic, row.entry.numbered);
            let known = self.ids.get(&*series).copied();
            let known = known.or_else(|| topics.iter().find(|(_, name)| *name == *series).map(|(id, _)| *id));
            let id = match known {
                Some(id) => id,
                None => {
                    let id = 1 + i64::try_from(self.ids.len() + topics.len()).expect("series are few");
                    schema::write_topic(&transaction, id, &series, self.numbering.last_of(&series) + 1, None)?;
                    topics.push((id, series.into_owned()));
                    id
                }
            };
            insert(&transaction, row, id)?;
        }
        let changed = states::changed(&rows);
        for (topic, newest) in &changed {
            let known = self.ids.get(*topic).copied();
            let known = known.or_else(|| topics.iter().find(|(_, name)| name == topic).map(|(id, _)| *id));
            if let Some(id) = known {
                schema::write_topic(&transaction, id, topic, self.numbering.last_of(topic) + 1, *newest)?;
            }
        }
        let aside = self.drop_aside(&room, &changed)?;
        let notes = notes.iter().map(|(key, body)| (key.as_str(), body));
        let notes = notes::write(&transaction, &self.notes, notes)?;
        state.write(&transaction)?;
        transaction.commit()?;
        rows.iter().for_each(|row| self.states.learn(row));
        self.aside = aside;
        self.notes = notes;
        self.first = room.first;
        self.losses.extend(room.losses);
        self.state = state;
        for (id, name) in topics {
            self.ids.insert(name.clone(), id);
            self.names.add(id, name);
        }
        Ok(())
    }
}

fn insert(db: &Connection, row: &Row, topic: i64) -> Result<(), Failure> {
    let entry = &row.entry;
    let leaf = (!entry.numbered).then(|| entry.topic.rsplit('/').next().unwrap_or_default());
    let text = match entry.class {
        Class::First => "INSERT INTO entry_first VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        Class::Middle => "INSERT INTO entry_middle VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        Class::Last => "INSERT INTO entry_last VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    };
    debug_assert!(text.contains(table(entry.class)));
    db.prepare_cached(text)?.execute(params![
        row.id,
        topic,
        leaf,
        row.epoch,
        row.seq,
        row::flags(entry),
        entry.made_at.as_microsecond(),
        row::sums(row),
        &entry.body[..],
    ])?;
    Ok(())
}
