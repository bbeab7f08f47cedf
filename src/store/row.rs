//! A message as bytes: its checksums in the database, its record in the intake.

use bytes::{BufMut, Bytes};
use jiff::Timestamp;

use super::{Class, Entry, Note, Pending, Row};

const RETAIN: u8 = 1;
const NUMBERED: u8 = 2;
/// The flags of a message that is a state.
pub(super) const RETAINED_AND_NUMBERED: u8 = RETAIN | NUMBERED;

/// How a message is to be sent, as one number.
pub(super) fn flags(entry: &Entry) -> u8 {
    (u8::from(entry.retain) * RETAIN) | (u8::from(entry.numbered) * NUMBERED)
}

/// The reverse of [`flags`]: `retain`, `numbered`.
pub(super) fn of_flags(flags: u8) -> Option<(bool, bool)> {
    (flags <= RETAIN | NUMBERED).then_some((flags & RETAIN != 0, flags & NUMBERED != 0))
}

/// Two CRC-32: the upper half over all but the body, the lower over the body and the upper half. So where only the body
/// is damaged, it is known which message is lost.
pub(super) fn sums(row: &Row) -> i64 {
    let entry = &row.entry;
    let mut head = crc32fast::Hasher::new();
    head.update(&[entry.class as u8, flags(entry)]);
    for number in [row.id, row.epoch, row.seq, entry.made_at.as_microsecond() as u64] {
        head.update(&number.to_le_bytes());
    }
    head.update(entry.topic.as_bytes());
    let head = head.finalize();
    let mut whole = crc32fast::Hasher::new();
    whole.update(&head.to_le_bytes());
    whole.update(&entry.body);
    (i64::from(head) << 32) | i64::from(whole.finalize())
}

/// What the checksums say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is what was written.
    Whole,
    /// It is known which message this was, and that its body is another.
    Body,
    /// Nothing of it can be trusted.
    All,
}

/// Compares with the checksums of [`sums`].
pub(super) fn verdict(row: &Row, stored: i64) -> Verdict {
    let sums = sums(row);
    if sums == stored {
        Verdict::Whole
    } else if sums >> 32 == stored >> 32 {
        Verdict::Body
    } else {
        Verdict::All
    }
}

/// Appends what was taken together as bytes, without length or checksum. What was lost takes no more than a mark, for it is
/// never written.
pub(super) fn encode(pending: &Pending, bytes: &mut Vec<u8>) {
    let (entries, notes) = (pending.entries(), pending.notes());
    bytes.put_u32_le(u32::try_from(entries.len()).expect("a group is bounded"));
    for entry in entries {
        bytes.put_u8(entry.class as u8);
        bytes.put_u8(flags(entry));
        bytes.put_i64_le(entry.made_at.as_microsecond());
        for part in [entry.topic.as_bytes(), &entry.body] {
            put(part, bytes);
        }
    }
    for note in notes {
        put(note.key.as_bytes(), bytes);
        put(&note.body, bytes);
    }
}

fn put(part: &[u8], bytes: &mut Vec<u8>) {
    bytes.put_u32_le(u32::try_from(part.len()).expect("messages and notes are bounded"));
    bytes.put_slice(part);
}

/// The reverse of [`encode`]; `None` where it is not what that writes.
pub(super) fn decode(bytes: &[u8]) -> Option<Pending> {
    let rest = &mut &bytes[..];
    let count = u32::from_le_bytes(*rest.split_off(..4)?.first_chunk()?);
    let mut entries = Vec::new();
    for _ in 0..count {
        let head = rest.split_off(..10)?;
        let class = *Class::ALL.get(usize::from(head[0]))?;
        let (retain, numbered) = of_flags(head[1])?;
        let made_at = Timestamp::from_microsecond(i64::from_le_bytes(*head[2..].first_chunk()?)).ok()?;
        let topic = std::str::from_utf8(get(rest)?).ok()?.to_owned();
        let body = Bytes::copy_from_slice(get(rest)?);
        entries.push(Entry { class, topic, retain, numbered, body, made_at });
    }
    let mut notes = Vec::new();
    while !rest.is_empty() {
        let key = std::str::from_utf8(get(rest)?).ok()?.to_owned();
        notes.push(Note { key, body: Bytes::copy_from_slice(get(rest)?) });
    }
    Some(if notes.is_empty() && entries.len() == 1 {
        Pending::Entry(entries.remove(0))
    } else {
        Pending::Group { entries, notes }
    })
}

fn get<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = u32::from_le_bytes(*rest.split_off(..4)?.first_chunk()?);
    rest.split_off(..length as usize)
}
