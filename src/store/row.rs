//! A message as bytes: its checksums in the database, its record in the intake.

use bytes::{BufMut, Bytes};
use jiff::Timestamp;

use super::{Class, Entry, Row};

const RETAIN: u8 = 1;
const NUMBERED: u8 = 2;

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

/// Appends a message as bytes, without length or checksum.
pub(super) fn encode(entry: &Entry, bytes: &mut Vec<u8>) {
    bytes.put_u8(entry.class as u8);
    bytes.put_u8(flags(entry));
    bytes.put_u16_le(u16::try_from(entry.topic.len()).expect("a topic of MQTT has a length of 16 bits"));
    bytes.put_i64_le(entry.made_at.as_microsecond());
    bytes.put_slice(entry.topic.as_bytes());
    bytes.put_slice(&entry.body);
}

/// The reverse of [`encode`]; `None` where it is not what that writes.
pub(super) fn decode(bytes: &[u8]) -> Option<Entry> {
    let (head, rest) = bytes.split_at_checked(12)?;
    let class = *Class::ALL.get(usize::from(head[0]))?;
    let (retain, numbered) = of_flags(head[1])?;
    let topic_bytes = usize::from(u16::from_le_bytes([head[2], head[3]]));
    let made_at = Timestamp::from_microsecond(i64::from_le_bytes(head[4..].try_into().ok()?)).ok()?;
    let (topic, body) = rest.split_at_checked(topic_bytes)?;
    let topic = std::str::from_utf8(topic).ok()?.to_owned();
    Some(Entry { class, topic, retain, numbered, body: Bytes::copy_from_slice(body), made_at })
}
