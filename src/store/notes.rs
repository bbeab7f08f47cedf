//! What parts of the daemon must know after a restart: a few notes by key, each written once a commit however often it
//! changed before.

use std::{collections::BTreeMap, path::Path};

use bytes::Bytes;
use rusqlite::{Connection, params};

use super::{Failure, Note, Pending, schema};

/// Notes by their keys.
pub type Notes = BTreeMap<String, Bytes>;

/// The table of notes.
pub(super) const TABLE: &str = "CREATE TABLE note (id INTEGER PRIMARY KEY, key TEXT NOT NULL, body BLOB NOT NULL, \
                                sum INTEGER NOT NULL) STRICT";

/// Where each key has its row.
pub(super) type Places = BTreeMap<String, i64>;

/// The newest of each key; an empty one says that the key is forgotten.
pub(super) fn newest<'a>(batch: impl IntoIterator<Item = &'a Pending>) -> BTreeMap<&'a str, &'a Bytes> {
    batch.into_iter().flat_map(Pending::notes).map(|note| (note.key.as_str(), &note.body)).collect()
}

/// Puts notes over those that are there.
pub(super) fn apply(notes: &mut Notes, new: &[Note]) {
    for Note { key, body } in new {
        if body.is_empty() {
            notes.remove(key);
        } else {
            notes.insert(key.clone(), body.clone());
        }
    }
}

/// Writes notes, as a part of a transaction; gives the places as they are after it.
pub(super) fn write<'a>(
    db: &Connection,
    places: &Places,
    notes: impl IntoIterator<Item = (&'a str, &'a Bytes)>,
) -> Result<Places, Failure> {
    let mut places = places.clone();
    for (key, body) in notes {
        let known = places.get(key).copied();
        if body.is_empty() {
            if let Some(id) = known {
                db.prepare_cached("DELETE FROM note WHERE id = ?")?.execute(params![id])?;
                places.remove(key);
            }
            continue;
        }
        let id = known.unwrap_or_else(|| places.values().max().map_or(1, |last| last + 1));
        let text = "INSERT INTO note VALUES (?1, ?2, ?3, ?4) ON CONFLICT (id) DO UPDATE SET body = ?3, sum = ?4";
        db.prepare_cached(text)?.execute(params![id, key, &body[..], sum(key, body)])?;
        places.insert(key.to_owned(), id);
    }
    Ok(places)
}

/// Reads and checks all notes; a damaged one is left out, and its place is used again.
pub(super) fn read(db: &Connection) -> Result<(Places, Notes), Failure> {
    let mut statement = db.prepare("SELECT id, key, body, sum FROM note")?;
    let mut rows = statement.query([])?;
    let (mut places, mut notes) = (Places::new(), Notes::new());
    while let Some(row) = rows.next()? {
        let (id, key, body): (i64, String, Vec<u8>) = (row.get(0)?, row.get(1)?, row.get(2)?);
        places.insert(key.clone(), id);
        if sum(&key, &body) == row.get::<_, u32>(3)? {
            notes.insert(key, body.into());
        } else {
            log::error!("note {key:?} of the outbox is not what was written; what it is about begins afresh");
        }
    }
    Ok((places, notes))
}

/// What was noted in a file that can be read and not written; nothing where it cannot be read either. What the last process
/// took and did not commit is not among it.
pub fn left(path: &Path) -> Notes {
    let read = || {
        let db = schema::open_to_read(path)?;
        if schema::format(&db)? == schema::FORMAT { Ok::<_, Failure>(read(&db)?.1) } else { Ok(Notes::new()) }
    };
    read().unwrap_or_default()
}

fn sum(key: &str, body: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&(key.len() as u64).to_le_bytes());
    sum.update(key.as_bytes());
    sum.update(body);
    sum.finalize()
}
