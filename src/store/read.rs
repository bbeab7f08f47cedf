//! Reads messages back, in order, and believes none that is not what was written.

use std::{collections::HashMap, path::Path};

use bytes::Bytes;
use jiff::Timestamp;
use rusqlite::{Connection, params, types::ValueRef};

use super::{
    Class, Disk, Entry, Failure, Loss, PerClass, Reason, Row,
    row::{self, Verdict},
    schema::{self, Series, table},
};

/// Series by the ids that stand for them in the tables.
#[derive(Clone, Debug, Default)]
pub(super) struct Names(HashMap<i64, String>);

impl Names {
    pub(super) fn new(series: &[Series]) -> Self {
        Self(series.iter().map(|series| (series.id, series.name.clone())).collect())
    }

    pub(super) fn of(&self, id: i64) -> Option<&str> {
        self.0.get(&id).map(String::as_str)
    }

    pub(super) fn add(&mut self, id: i64, name: String) {
        self.0.insert(id, name);
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (i64, &str)> {
        self.0.iter().map(|(id, name)| (*id, name.as_str()))
    }
}

/// Messages of a class in the order of their ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chunk {
    /// The messages.
    pub rows: Vec<Row>,
    /// All up to this id are among them, or lost.
    pub through: u64,
    /// What should be among them and is not.
    pub losses: Vec<Loss>,
}

/// Which messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) class: Class,
    pub(super) after: u64,
    pub(super) through: u64,
    /// The first that must be there; before it there may be holes.
    pub(super) whole_from: u64,
    pub(super) rows_max: usize,
    pub(super) bytes_max: usize,
}

pub(super) const COLUMNS: &str = "id, topic, leaf, epoch, seq, flags, made_at, sums, body";

/// Reads messages.
pub(super) fn read(db: &Connection, names: &Names, span: Span) -> Result<Chunk, Failure> {
    let class = span.class;
    let text = format!("SELECT {COLUMNS} FROM {} WHERE id > ? AND id <= ? ORDER BY id LIMIT ?", table(class));
    let mut statement = db.prepare_cached(&text)?;
    let mut rows = statement.query(params![span.after, span.through, span.rows_max])?;
    let mut chunk = Chunk { through: span.after, ..Chunk::default() };
    let mut bytes = 0;
    let mut ended = true;
    while let Some(columns) = rows.next()? {
        let id: u64 = columns.get(0)?;
        if id > (chunk.through + 1).max(span.whole_from) {
            chunk.losses.push(UNKNOWN);
        }
        chunk.through = id;
        match message(class, columns, names) {
            Ok(row) => {
                bytes += row.entry.body.len();
                chunk.rows.push(row);
            }
            Err(loss) => chunk.losses.push(loss),
        }
        if chunk.rows.len() + chunk.losses.len() >= span.rows_max || bytes >= span.bytes_max {
            ended = false;
            break;
        }
    }
    if ended && chunk.through < span.through && span.through >= span.whole_from {
        chunk.losses.push(UNKNOWN);
        chunk.through = span.through;
    }
    Ok(chunk)
}

/// A loss of which nothing else is known.
const UNKNOWN: Loss = Loss { topic: None, epoch: 0, from: 0, to: 0, reason: Reason::Damaged };

/// One message, or which one it was.
pub(super) fn message(class: Class, columns: &rusqlite::Row<'_>, names: &Names) -> Result<Row, Loss> {
    let Some((row, sums, series)) = parts(class, columns, names) else { return Err(UNKNOWN) };
    match row::verdict(&row, sums) {
        Verdict::Whole => Ok(row),
        Verdict::Body => {
            Err(Loss { topic: Some(series.to_owned()), epoch: row.epoch, from: row.seq, to: row.seq, ..UNKNOWN })
        }
        Verdict::All => Err(UNKNOWN),
    }
}

fn parts<'a>(class: Class, columns: &rusqlite::Row<'_>, names: &'a Names) -> Option<(Row, i64, &'a str)> {
    let series = names.of(columns.get(1).ok()?)?;
    let leaf: Option<String> = columns.get(2).ok()?;
    let topic = match leaf {
        None => series.to_owned(),
        Some(leaf) => format!("{}{leaf}", series.strip_suffix('#')?),
    };
    let (retain, numbered) = row::of_flags(columns.get(5).ok()?)?;
    let made_at = Timestamp::from_microsecond(columns.get(6).ok()?).ok()?;
    let body = match columns.get_ref(8).ok()? {
        ValueRef::Blob(body) => Bytes::copy_from_slice(body),
        _ => return None,
    };
    let entry = Entry { class, topic, retain, numbered, body, made_at };
    let row = Row { id: columns.get(0).ok()?, epoch: columns.get(3).ok()?, seq: columns.get(4).ok()?, entry };
    Some((row, columns.get(7).ok()?, series))
}

/// Which numbers of a series are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// The series.
    pub series: &'a str,
    /// The numbering.
    pub epoch: u64,
    /// The first.
    pub from: u64,
    /// The last.
    pub to: u64,
}

/// Messages that are looked at in one go when some are wanted again.
const SEARCH_ROWS: u64 = 4096;

impl Disk {
    /// Messages of a class after an id, as many as fit the bounds, and at least one.
    ///
    /// # Errors
    /// Where the disk fails.
    pub fn read(&self, class: Class, after: u64, rows_max: usize, bytes_max: usize) -> Result<Chunk, Failure> {
        let whole_from = self.first[class as usize].max(self.state.done[class as usize] + 1);
        let span = Span { class, after, through: self.state.last[class as usize], whole_from, rows_max, bytes_max };
        read(&self.db, &self.names, span)
    }

    /// Messages of a class after an id that are wanted, and up to which id it was looked. Looks at a few thousand in one go.
    ///
    /// # Errors
    /// Where the disk fails.
    pub fn search(&self, class: Class, after: u64, wanted: Wanted<'_>, rows_max: usize) -> Result<Chunk, Failure> {
        let after = after.max(self.first[class as usize].saturating_sub(1));
        let end = self.state.last[class as usize].min(after + SEARCH_ROWS);
        let mut chunk = Chunk { through: end.max(after), ..Chunk::default() };
        let Some(topic) = self.ids.get(wanted.series) else { return Ok(chunk) };
        let text = format!(
            "SELECT {COLUMNS} FROM {} WHERE id > ? AND id <= ? AND topic = ? AND epoch = ? AND seq BETWEEN ? AND ? \
             ORDER BY id LIMIT ?",
            table(class)
        );
        let mut statement = self.db.prepare_cached(&text)?;
        let values = params![after, end, topic, wanted.epoch, wanted.from, wanted.to, rows_max];
        let mut rows = statement.query(values)?;
        while let Some(columns) = rows.next()? {
            if let Ok(row) = message(class, columns, &self.names) {
                chunk.rows.push(row);
            }
        }
        if chunk.rows.len() == rows_max {
            chunk.through = chunk.rows.last().map_or(chunk.through, |row| row.id);
        }
        Ok(chunk)
    }
}

/// What waits on a disk that can be read and not written.
pub struct Backlog {
    db: Connection,
    names: Names,
    done: PerClass<u64>,
    last: PerClass<u64>,
}

impl Backlog {
    /// Opens the file beside whoever has it. `last` are the last ids that are on the disk for certain.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn open(path: &Path, last: PerClass<u64>) -> Result<Self, Failure> {
        let db = schema::open_to_read(path)?;
        let state = schema::State::read(&db)?;
        let names = Names::new(&schema::read_topics(&db)?);
        Ok(Self { db, names, done: state.done, last })
    }

    /// As [`Disk::read`].
    ///
    /// # Errors
    /// Where the disk fails.
    pub fn read(&self, class: Class, after: u64, rows_max: usize, bytes_max: usize) -> Result<Chunk, Failure> {
        let (done, through) = (self.done[class as usize], self.last[class as usize]);
        let span = Span { class, after: after.max(done), through, whole_from: done + 1, rows_max, bytes_max };
        read(&self.db, &self.names, span)
    }
}
