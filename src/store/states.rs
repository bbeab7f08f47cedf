//! The newest message of every retained topic: how things are, as the broker should have it. It outlives its
//! acknowledgement, its age and a full outbox, since a broker may forget what it was told.
//!
//! The file has the place of each beside the number of its topic, which is written with every message anyway. Only when the
//! message has to leave its table it is put aside, into one of its own. Messages that do not carry their number are no
//! states, but an empty one ends that of its topic.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};

use super::{
    Class, Entry, Failure, Row,
    read::{COLUMNS, Names, message},
    row,
    schema::{Series, table},
};

/// So many topics have a state at most; the one that was said longest ago goes.
pub const STATES_MAX: usize = 256;

/// The table of what was put aside: as those of the classes, with the class, and one row a topic.
pub(super) const TABLE: &str = "CREATE TABLE held (topic INTEGER PRIMARY KEY, id INTEGER NOT NULL, leaf TEXT, \
                                epoch INTEGER NOT NULL, seq INTEGER NOT NULL, flags INTEGER NOT NULL, \
                                made_at INTEGER NOT NULL, sums INTEGER NOT NULL, body BLOB NOT NULL, \
                                class INTEGER NOT NULL) STRICT";

/// The newest message of each retained topic.
#[derive(Clone, Debug)]
pub struct States {
    rows: BTreeMap<String, (u64, Row)>,
    /// Rises with every message.
    said: u64,
    bytes: usize,
    bytes_max: usize,
}

impl States {
    /// None yet; all together take at most so many bytes.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { rows: BTreeMap::new(), said: 0, bytes: 0, bytes_max }
    }

    /// Follows a message that was numbered.
    pub(super) fn learn(&mut self, row: &Row) {
        let Entry { topic, body, .. } = &row.entry;
        match change(&row.entry) {
            Change::None => return,
            Change::End => self.remove(topic),
            Change::New => {
                self.remove(topic);
                self.said += 1;
                self.bytes += topic.len() + body.len();
                self.rows.insert(topic.clone(), (self.said, row.clone()));
            }
        }
        while self.rows.len() > STATES_MAX || self.bytes > self.bytes_max {
            let oldest = self.rows.iter().min_by_key(|(_, (said, _))| *said).map(|(topic, _)| topic.clone());
            self.remove(&oldest.expect("there are some"));
        }
    }

    fn remove(&mut self, topic: &str) {
        let bytes = self.rows.remove(topic).map_or(0, |(_, row)| topic.len() + row.entry.body.len());
        self.bytes -= bytes;
    }

    /// Leaves out what is not there any more.
    pub(super) fn retain(&mut self, is_there: impl Fn(&Row) -> bool) {
        let gone: Vec<String> = self.iter().filter(|row| !is_there(row)).map(|row| row.entry.topic.clone()).collect();
        gone.iter().for_each(|topic| self.remove(topic));
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Row> {
        self.rows.values().map(|(_, row)| row)
    }

    /// Where the one of a topic lies.
    pub(super) fn place(&self, topic: &str) -> Option<(Class, u64)> {
        self.rows.get(topic).map(|(_, row)| (row.entry.class, row.id))
    }
}

/// What a message does to the state of its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    None,
    New,
    End,
}

fn change(entry: &Entry) -> Change {
    match (entry.retain, entry.numbered, entry.body.is_empty()) {
        (true, _, true) => Change::End,
        (true, true, false) => Change::New,
        _ => Change::None,
    }
}

/// The places of states after these messages, of all topics for which they change.
pub(super) fn changed(rows: &[Row]) -> BTreeMap<&str, Option<(Class, u64)>> {
    let changes = rows.iter().filter_map(|row| match change(&row.entry) {
        Change::None => None,
        Change::New => Some((row.entry.topic.as_str(), Some((row.entry.class, row.id)))),
        Change::End => Some((row.entry.topic.as_str(), None)),
    });
    changes.collect()
}

/// Puts a message aside, as a part of a transaction.
pub(super) fn put_aside(db: &Connection, topic: i64, row: &Row) -> Result<(), Failure> {
    let entry = &row.entry;
    let text = "INSERT OR REPLACE INTO held VALUES (?, ?, NULL, ?, ?, ?, ?, ?, ?, ?)";
    db.prepare_cached(text)?.execute(params![
        topic,
        row.id,
        row.epoch,
        row.seq,
        row::flags(entry),
        entry.made_at.as_microsecond(),
        row::sums(row),
        &entry.body[..],
        entry.class as u8,
    ])?;
    Ok(())
}

/// Drops what was put aside for a topic, as a part of a transaction.
pub(super) fn drop_aside(db: &Connection, topic: i64) -> Result<(), Failure> {
    db.prepare_cached("DELETE FROM held WHERE topic = ?")?.execute(params![topic])?;
    Ok(())
}

/// Reads all states, and which topics have theirs aside. One that is damaged is none.
pub(super) fn read(db: &Connection, series: &[Series], bytes_max: usize) -> Result<(States, Vec<i64>), Failure> {
    let names = Names::new(series);
    let mut aside = Vec::new();
    let mut found = Vec::new();
    for class in Class::ALL {
        let mut statement = db.prepare(&format!("SELECT {COLUMNS} FROM held WHERE class = ?"))?;
        let mut rows = statement.query(params![class as u8])?;
        while let Some(columns) = rows.next()? {
            aside.push(columns.get(1)?);
            found.extend(message(class, columns, &names));
        }
    }
    for (series, (class, id)) in series.iter().filter_map(|series| Some((series, series.newest?))) {
        if aside.contains(&series.id) {
            continue;
        }
        let mut statement = db.prepare_cached(&format!("SELECT {COLUMNS} FROM {} WHERE id = ?", table(class)))?;
        let mut rows = statement.query(params![id])?;
        if let Some(columns) = rows.next()? {
            found.extend(message(class, columns, &names));
        }
    }
    found.sort_by_key(|row| row.entry.made_at);
    let mut states = States::new(bytes_max);
    found.iter().for_each(|row| states.learn(row));
    Ok((states, aside))
}

/// The places of all states of a file that has none of them written down.
pub(super) fn look_for(db: &Connection) -> Result<BTreeMap<i64, (Class, u64)>, Failure> {
    let mut places: BTreeMap<i64, (Class, u64)> = BTreeMap::new();
    for class in Class::ALL {
        let text = format!(
            "SELECT topic, max(id) FROM {} WHERE flags = {} GROUP BY topic",
            table(class),
            row::RETAINED_AND_NUMBERED
        );
        let mut statement = db.prepare(&text)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            places.entry(row.get(0)?).or_insert((class, row.get(1)?));
        }
    }
    Ok(places)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::entry;

    fn row(topic: &str, body: &str, id: u64) -> Row {
        Row { id, epoch: 1, seq: id, entry: Entry { retain: true, ..entry(Class::Middle, topic, body) } }
    }

    #[test]
    fn the_newest_of_a_topic_is_its_state_and_an_empty_one_ends_it() {
        let mut states = States::new(1000);
        [row("a", "1", 1), row("b", "1", 2), row("a", "2", 3)].iter().for_each(|row| states.learn(row));
        let mut plain = row("c", "1", 4);
        plain.entry.retain = false;
        states.learn(&plain);
        assert_eq!(states.iter().map(|row| row.id).collect::<Vec<_>>(), [3, 2]);
        states.learn(&row("b", "", 5));
        assert_eq!((states.place("a"), states.place("b")), (Some((Class::Middle, 3)), None));
    }

    #[test]
    fn states_are_bounded_and_the_one_that_was_said_longest_ago_goes() {
        let mut states = States::new(1 << 20);
        for n in 0..STATES_MAX as u64 {
            states.learn(&row(&format!("t{n}"), "1", n));
        }
        states.learn(&row("t0", "2", 1000));
        states.learn(&row("more", "1", 1001));
        assert_eq!((states.iter().count(), states.place("t1")), (STATES_MAX, None));
        assert!(states.place("t0").is_some());
        states.learn(&row("large", &"x".repeat(1 << 20), 1002));
        assert_eq!((states.iter().count(), states.bytes), (0, 0), "what is larger than all of them has no room");
    }
}
