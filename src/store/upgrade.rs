//! Files of an older version: opened, and brought to the present format in place.
//!
//! Format 1 had no notes, did not know the newest message of a retained topic, and had an intake of one half in which a record was one message and carried a generation.

use std::{fs::File, io, os::unix::fs::FileExt, path::Path};

use bytes::Bytes;
use jiff::Timestamp;
use rusqlite::Connection;

use super::{
    Class, Entry, Failure, intake, notes, row,
    schema::{self, Series},
    states,
};

/// Brings a database of format 1 to the present format, in one transaction.
pub(super) fn database(db: &Connection, topics: &mut [Series]) -> Result<(), Failure> {
    let transaction = db.unchecked_transaction()?;
    transaction.execute_batch(notes::TABLE)?;
    transaction.execute_batch(states::TABLE)?;
    let places = states::look_for(db)?;
    for series in topics {
        if let Some(place) = places.get(&series.id) {
            schema::write_topic(db, series.id, &series.name, series.next, Some(*place))?;
            series.newest = Some(*place);
        }
    }
    transaction.pragma_update(None, "user_version", schema::FORMAT)?;
    Ok(transaction.commit()?)
}

/// Generation, length, CRC-32.
const HEAD_BYTES: usize = 8 + 4 + 4;

/// What a process of format 1 took in this generation and did not commit, in order. It lies in the first half.
pub(super) fn taken(path: &Path, born: u64, generation: u64) -> Result<Vec<Entry>, Failure> {
    let mut bytes = Vec::new();
    match File::open(path).and_then(|file| {
        bytes.resize(intake::BYTES.min(file.metadata()?.len() as usize), 0);
        file.read_exact_at(&mut bytes, 0)
    }) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Failure::of_io(path, &error)),
        _ => {}
    }
    let mut rest = bytes.as_slice();
    let mut entries = Vec::new();
    while let Some((entry, left)) = next(rest, born, generation) {
        entries.push(entry);
        rest = left;
    }
    Ok(entries)
}

fn next(bytes: &[u8], born: u64, generation: u64) -> Option<(Entry, &[u8])> {
    let (head, rest) = bytes.split_at_checked(HEAD_BYTES)?;
    let number = |range: std::ops::Range<usize>| head[range].try_into().ok().map(u32::from_le_bytes);
    let (length, sum) = (number(8..12)?, number(12..16)?);
    let (body, rest) = rest.split_at_checked(length as usize)?;
    let mut expected = crc32fast::Hasher::new();
    expected.update(&born.to_le_bytes());
    expected.update(&generation.to_le_bytes());
    expected.update(&length.to_le_bytes());
    expected.update(body);
    let ours = head[..8] == generation.to_le_bytes() && expected.finalize() == sum;
    ours.then(|| entry(body)).flatten().map(|entry| (entry, rest))
}

fn entry(bytes: &[u8]) -> Option<Entry> {
    let (head, rest) = bytes.split_at_checked(12)?;
    let class = *Class::ALL.get(usize::from(head[0]))?;
    let (retain, numbered) = row::of_flags(head[1])?;
    let topic_bytes = usize::from(u16::from_le_bytes([head[2], head[3]]));
    let made_at = Timestamp::from_microsecond(i64::from_le_bytes(head[4..].try_into().ok()?)).ok()?;
    let (topic, body) = rest.split_at_checked(topic_bytes)?;
    let topic = std::str::from_utf8(topic).ok()?.to_owned();
    Some(Entry { class, topic, retain, numbered, body: Bytes::copy_from_slice(body), made_at })
}
