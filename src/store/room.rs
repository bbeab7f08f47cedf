//! What is given up when the outbox is full or messages are old: from the front of a class, in large ranges; acknowledged
//! ones first, the lowest class first. Others are told as losses. The newest of a retained topic is put aside.

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, params};

use super::{
    Class, Disk, Failure, Loss, Pending, PerClass, Reason, Row,
    disk::bytes_of,
    numbering::{Losses, least_first},
    schema::{PAGE_BYTES, State, table},
    states,
};

/// Pages that are kept free beside those for messages: the inner ones, and the messages that tell of losses.
const SPARE_PAGES: u64 = 48;

/// How often it is looked whether something is too old.
const LOOK_EVERY: SignedDuration = SignedDuration::from_secs(60);

/// So many messages go at most at once because they are old.
const OLD_ROWS_MAX: u32 = 20_000;

/// A clock that says less was never set, and what it says of a message is not its age: 2025-01-01.
const CLOCK_WAS_SET: i64 = 1_735_689_600;

/// What was given up.
pub(super) struct Room {
    /// The oldest id of each class that may still be there.
    pub(super) first: PerClass<u64>,
    /// Messages up to this id were not acknowledged and are not there any more; 0 where there is none.
    pub(super) given_up: PerClass<u64>,
    pub(super) losses: Vec<Loss>,
    /// Topics whose newest message was put aside.
    pub(super) aside: Vec<i64>,
}

impl Disk {
    /// Gives up, within a transaction, what has to go so that the batch fits, and what is old.
    pub(super) fn make_room(&self, state: &mut State, spare_bytes: u64, now: Timestamp) -> Result<Room, Failure> {
        let mut room =
            Room { first: self.first, given_up: [0; Class::ALL.len()], losses: Vec::new(), aside: Vec::new() };
        if let Some(before) = self.oldest_allowed(now) {
            for class in Class::ALL {
                let through = self.old_through(class, before)?;
                self.give_up(class, through, Reason::Age, state, &mut room)?;
            }
        }
        let needed = self.batch.iter().map(pages_of).sum::<u64>() + SPARE_PAGES + spare_bytes / PAGE_BYTES;
        while free_pages(&self.db)? < needed {
            let acknowledged = least_first().find(|class| room.first[*class as usize] <= state.done[*class as usize]);
            let waiting = || least_first().find(|class| room.first[*class as usize] <= state.last[*class as usize]);
            let Some((class, end)) = acknowledged
                .map(|class| (class, state.done[class as usize]))
                .or_else(|| waiting().map(|class| (class, state.last[class as usize])))
            else {
                break;
            };
            let bytes = (needed * PAGE_BYTES).max(self.limits.max_bytes / 16);
            let through = self.range(class, room.first[class as usize], end, bytes)?;
            self.give_up(class, through, Reason::Full, state, &mut room)?;
        }
        Ok(room)
    }

    /// Whether something is so old that it is worth to give it up; looks once a minute.
    pub(super) fn look_for_old(&mut self, now: Timestamp) -> Result<bool, Failure> {
        if self.age_looked_at.duration_until(now).abs() < LOOK_EVERY {
            return Ok(false);
        }
        self.age_looked_at = now;
        // A little later than allowed, so that many go at once.
        let late = now - SignedDuration::try_from(self.limits.max_age / 16).unwrap_or(SignedDuration::ZERO);
        let Some(before) = self.oldest_allowed(late) else { return Ok(false) };
        for class in Class::ALL {
            if self.old_through(class, before)? >= self.first[class as usize] {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Microseconds since 1970; `None` while the clock was not set.
    fn oldest_allowed(&self, now: Timestamp) -> Option<i64> {
        let age = SignedDuration::try_from(self.limits.max_age).unwrap_or(SignedDuration::MAX);
        let before = now.checked_sub(age).ok()?;
        (now.as_second() > CLOCK_WAS_SET).then(|| before.as_microsecond())
    }

    /// The last id of those at the front that are older than allowed; one below the first where there are none.
    fn old_through(&self, class: Class, before: i64) -> Result<u64, Failure> {
        let first = self.first[class as usize];
        let text = format!("SELECT id, made_at FROM {} WHERE id >= ? ORDER BY id LIMIT {OLD_ROWS_MAX}", table(class));
        let mut statement = self.db.prepare_cached(&text)?;
        let mut rows = statement.query(params![first])?;
        let mut through = first.saturating_sub(1);
        while let Some(row) = rows.next()? {
            if !(CLOCK_WAS_SET * 1_000_000..before).contains(&row.get(1)?) {
                break;
            }
            through = row.get(0)?;
        }
        Ok(through)
    }

    /// The last id of a range from `first` that holds so many bytes, or ends at `end`.
    fn range(&self, class: Class, first: u64, end: u64, bytes: u64) -> Result<u64, Failure> {
        let text = format!("SELECT id, length(body) FROM {} WHERE id BETWEEN ? AND ? ORDER BY id", table(class));
        let mut statement = self.db.prepare_cached(&text)?;
        let mut rows = statement.query(params![first, end])?;
        let mut found = 0;
        while let Some(row) = rows.next()? {
            found += row.get::<_, u64>(1)? + 64;
            if found >= bytes {
                return Ok(row.get(0)?);
            }
        }
        Ok(end)
    }

    /// Deletes all of a class up to an id, and collects what was not acknowledged of it.
    fn give_up(
        &self,
        class: Class,
        through: u64,
        reason: Reason,
        state: &mut State,
        room: &mut Room,
    ) -> Result<(), Failure> {
        let (first, done) = (&mut room.first[class as usize], &mut state.done[class as usize]);
        if through < *first {
            return Ok(());
        }
        if through > *done {
            room.losses.extend(self.waiting(class, *done, through)?.told(reason));
            room.given_up[class as usize] = through;
            *done = through;
        }
        // It may still be told as lost: a newer one may take its place before it is sent.
        let leaves = |row: &&Row| row.entry.class == class && (*first..=through).contains(&row.id);
        for row in self.states.iter().filter(leaves) {
            if let Some(topic) = self.ids.get(&row.entry.topic) {
                states::put_aside(&self.db, *topic, row)?;
                room.aside.push(*topic);
            }
        }
        let text = format!("DELETE FROM {} WHERE id <= ?", table(class));
        self.db.prepare_cached(&text)?.execute(params![through])?;
        *first = through + 1;
        Ok(())
    }

    fn waiting(&self, class: Class, after: u64, through: u64) -> Result<Losses, Failure> {
        let text = format!("SELECT topic, epoch, seq FROM {} WHERE id > ? AND id <= ? ORDER BY id", table(class));
        let mut statement = self.db.prepare_cached(&text)?;
        let mut rows = statement.query(params![after, through])?;
        let mut losses = Losses::default();
        while let Some(row) = rows.next()? {
            if let Some(series) = self.names.of(row.get(0)?) {
                losses.add(series, row.get(1)?, row.get(2)?);
            }
        }
        Ok(losses)
    }
}

fn free_pages(db: &Connection) -> Result<u64, Failure> {
    let ask = |what: &str| db.query_row(&format!("PRAGMA {what}"), [], |row| row.get::<_, u64>(0));
    let (most, used, free) = (ask("max_page_count")?, ask("page_count")?, ask("freelist_count")?);
    Ok(most.saturating_sub(used) + free)
}

/// Pages that something takes at the most.
fn pages_of(pending: &Pending) -> u64 {
    // A page may stay half empty before a message that does not fit into it any more, and each begins one.
    let pages = |bytes: usize| (bytes as u64 * 2).div_ceil(PAGE_BYTES);
    let entries: u64 = pending.entries().iter().map(|entry| pages(bytes_of(entry))).sum();
    let notes: u64 = pending.notes().iter().map(|note| pages(note.body.len() + note.key.len() + 64)).sum();
    (entries + notes).max(1)
}
