//! What was taken and is not committed yet, in a file of its own: written without waiting for the disk, so that the end of
//! the process costs nothing and flash is not worn. It has to survive no more than the process, so it may lie in memory
//! (tmpfs), where it wears nothing at all.
//!
//! Whoever hands something in writes the record, so it is safe when the call returns; the outbox's thread commits meanwhile.
//! The file has two halves: while one is being committed the other takes, and a half whose records are all committed is
//! written over from the front. Records are numbered without a hole and each names the checksum of the one before. A commit
//! stores the number of its last record in the database, so that a record is known as committed by its number, and what
//! does not follow as left over from an earlier time. What was taken together is one record: there as a whole, or not.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::FileExt,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{Failure, Pending, row};

/// Each half takes so much.
pub(super) const BYTES: usize = 1 << 20;

/// Number, length, checksum of the record before, checksum of this one.
const HEAD_BYTES: usize = 8 + 4 + 4 + 4;

/// The file; clones share it.
#[derive(Clone, Debug)]
pub struct Intake(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    file: File,
    /// Which database the records belong to.
    born: u64,
    path: PathBuf,
    halves: [Half; 2],
    /// The half that takes.
    current: usize,
    /// All records up to this number are committed.
    committed: u64,
    /// Number and checksum of the last record.
    last: (u64, u32),
    /// After the first failure nothing more is written.
    failure: Option<Failure>,
    /// Used again for each record.
    record: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Half {
    /// Where the next record goes.
    end: usize,
    /// The number of its last record; 0 where it has none.
    last: u64,
}

/// What a half says about a record.
struct Found {
    number: u64,
    link: u32,
    sum: u32,
    half: usize,
    end: usize,
    pending: Pending,
}

impl Intake {
    /// Opens the file, and makes it where it is missing. `born` tells databases apart that had it one after the other. What
    /// it holds is left alone until [`Intake::replay`] or [`Intake::begin`] says what of that counts.
    pub(super) fn open(path: PathBuf, born: u64) -> Result<Self, Failure> {
        let failed = |error: &std::io::Error| Failure::of_io(&path, error);
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let file = options.map_err(|error| failed(&error))?;
        let length = file.metadata().map_err(|error| failed(&error))?.len();
        if length < 2 * BYTES as u64 {
            // Zeros, not a hole: the blocks are there from now on, whatever else fills the disk.
            file.write_all_at(&vec![0; 2 * BYTES - length as usize], length).map_err(|error| failed(&error))?;
            file.sync_all().map_err(|error| failed(&error))?;
        }
        let (halves, record) = ([Half::default(); 2], Vec::new());
        let (current, committed, last, failure) = (0, 0, (0, 0), None);
        let inner = Inner { file, born, path, halves, current, committed, last, failure, record };
        Ok(Self(Arc::new(Mutex::new(inner))))
    }

    /// Begins behind a number with the half `first`; what the file holds does not count.
    pub(super) fn begin(&self, number: u64, first: usize) {
        let mut inner = self.lock();
        (inner.halves, inner.current) = ([Half::default(); 2], first);
        (inner.committed, inner.last) = (number, (number, 0));
    }

    /// What follows the committed number, in order; goes on behind that.
    pub(super) fn replay(&self, committed: u64) -> Result<Vec<Pending>, Failure> {
        self.begin(committed, 0);
        let mut inner = self.lock();
        let found = read(&inner.file, inner.born, committed).map_err(|error| Failure::of_io(&inner.path, &error))?;
        let mut taken = Vec::new();
        for found in found {
            inner.halves[found.half] = Half { end: found.end, last: found.number };
            (inner.current, inner.last) = (found.half, (found.number, found.sum));
            taken.push(found.pending);
        }
        Ok(taken)
    }

    /// Takes something and gives its number; `None`: it has no room before the next commit, or the file fails.
    pub fn take(&self, pending: &Pending) -> Option<u64> {
        self.lock().take(pending)
    }

    /// All records up to this number are committed.
    pub(super) fn committed(&self, number: u64) {
        let mut inner = self.lock();
        inner.committed = inner.committed.max(number);
        let (current, other) = (inner.current, 1 - inner.current);
        if inner.is_free(current) {
            inner.halves[current] = Half::default();
        } else if inner.is_free(other) {
            inner.halves[other] = Half::default();
            inner.current = other;
        }
    }

    /// Why nothing more is written.
    pub(super) fn failure(&self) -> Option<Failure> {
        self.lock().failure.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn is_free(&self, half: usize) -> bool {
        self.halves[half].last <= self.committed
    }

    fn take(&mut self, pending: &Pending) -> Option<u64> {
        if self.failure.is_some() {
            return None;
        }
        self.record.clear();
        self.record.resize(HEAD_BYTES, 0);
        row::encode(pending, &mut self.record);
        let (bytes, other) = (self.record.len(), 1 - self.current);
        if self.halves[self.current].end + bytes > BYTES {
            if bytes > BYTES || !self.is_free(other) {
                return None;
            }
            self.halves[other] = Half::default();
            self.current = other;
        }
        let (number, link) = (self.last.0 + 1, self.last.1);
        let length = u32::try_from(bytes - HEAD_BYTES).expect("a record is shorter than the intake");
        let sum = checksum(self.born, number, link, &self.record[HEAD_BYTES..]);
        self.record[..8].copy_from_slice(&number.to_le_bytes());
        self.record[8..12].copy_from_slice(&length.to_le_bytes());
        self.record[12..16].copy_from_slice(&link.to_le_bytes());
        self.record[16..20].copy_from_slice(&sum.to_le_bytes());
        let at = self.current * BYTES + self.halves[self.current].end;
        if let Err(error) = self.file.write_all_at(&self.record, at as u64) {
            self.failure = Some(Failure::of_io(&self.path, &error));
            return None;
        }
        self.halves[self.current].end += bytes;
        self.halves[self.current].last = number;
        self.last = (number, sum);
        Some(number)
    }
}

/// The records that follow the committed number without a hole.
fn read(file: &File, born: u64, committed: u64) -> std::io::Result<Vec<Found>> {
    let mut found = Vec::new();
    for half in 0..2 {
        let mut bytes = vec![0; BYTES];
        file.read_exact_at(&mut bytes, (half * BYTES) as u64)?;
        let (mut at, mut before) = (0, None);
        while let Some(mut record) = next(&bytes[at..], born, half) {
            // What an earlier use of this half has left does not follow.
            if before.is_some_and(|(number, sum)| record.number != number + 1 || record.link != sum) {
                break;
            }
            record.end += at;
            (at, before) = (record.end, Some((record.number, record.sum)));
            found.push(record);
        }
    }
    found.retain(|record| record.number > committed);
    found.sort_by_key(|record| record.number);
    let mut expected = (committed + 1, None);
    let whole = found.iter().take_while(|record| {
        let follows = record.number == expected.0 && expected.1.is_none_or(|sum| record.link == sum);
        expected = (record.number + 1, Some(record.sum));
        follows
    });
    let count = whole.count();
    found.truncate(count);
    Ok(found)
}

/// The record at the front; `None` where there is none, or it is another database's, or damaged.
fn next(bytes: &[u8], born: u64, half: usize) -> Option<Found> {
    let (head, rest) = bytes.split_at_checked(HEAD_BYTES)?;
    let number = u64::from_le_bytes(head[..8].try_into().ok()?);
    let [length, link, sum] =
        [8, 12, 16].map(|at| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]));
    let (body, _) = rest.split_at_checked(length as usize)?;
    let pending = (checksum(born, number, link, body) == sum).then(|| row::decode(body)).flatten()?;
    Some(Found { number, link, sum, half, end: HEAD_BYTES + body.len(), pending })
}

fn checksum(born: u64, number: u64, link: u32, body: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&born.to_le_bytes());
    sum.update(&number.to_le_bytes());
    sum.update(&link.to_le_bytes());
    sum.update(&(body.len() as u32).to_le_bytes());
    sum.update(body);
    sum.finalize()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::store::{Class, Note, tests::entry};

    fn message(text: &str) -> Pending {
        Pending::Entry(entry(Class::Middle, "t", text))
    }

    fn open(folder: &tempfile::TempDir, born: u64) -> Intake {
        Intake::open(folder.path().join("outbox.intake"), born).unwrap()
    }

    #[test]
    fn what_was_taken_is_there_again_up_to_the_first_damage() {
        let folder = tempfile::tempdir().unwrap();
        let intake = open(&folder, 7);
        assert!(intake.replay(40).unwrap().is_empty());
        let notes = vec![Note { key: "in".into(), body: Bytes::from_static(b"7") }];
        let entries = vec![entry(Class::First, "a", "1"), entry(Class::Middle, "b", "")];
        let all = [message("a"), Pending::Group { entries, notes: notes.clone() }, message("")];
        assert_eq!(all.each_ref().map(|pending| intake.take(pending)), [Some(41), Some(42), Some(43)]);
        assert!(open(&folder, 8).replay(40).unwrap().is_empty(), "they are another database's");
        assert_eq!(open(&folder, 7).replay(40).unwrap(), all);
        assert_eq!(open(&folder, 7).replay(42).unwrap(), all[2..], "the others are committed");
        assert!(open(&folder, 7).replay(39).unwrap().is_empty(), "one is missing before them");
        let intake = open(&folder, 7);
        assert_eq!(intake.replay(40).unwrap().len(), 3);
        assert_eq!(intake.take(&message("d")), Some(44));
        assert_eq!(open(&folder, 7).replay(40).unwrap().len(), 4);
        intake.committed(44);
        assert_eq!(intake.take(&message("x")), Some(45));
        assert_eq!(open(&folder, 7).replay(44).unwrap(), [message("x")]);
        let path = folder.path().join("outbox.intake");
        let bytes = std::fs::read(&path).unwrap();
        for bit in 0..(HEAD_BYTES + 14) * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, damaged).unwrap();
            assert!(open(&folder, 7).replay(44).unwrap().is_empty(), "bit {bit}");
        }
    }

    #[test]
    fn what_an_earlier_life_left_behind_a_hole_never_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let intake = open(&folder, 7);
        intake.begin(0, 0);
        let taken = ["a", "b", "c"].map(|text| intake.take(&message(text)));
        assert_eq!(taken, [Some(1), Some(2), Some(3)]);
        // The power goes, and of the three the first did not arrive.
        let path = folder.path().join("outbox.intake");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[..HEAD_BYTES].fill(0);
        std::fs::write(&path, bytes).unwrap();
        let intake = open(&folder, 7);
        assert!(intake.replay(0).unwrap().is_empty());
        intake.take(&message("x"));
        assert_eq!(open(&folder, 7).replay(0).unwrap(), [message("x")]);
    }

    #[test]
    fn one_half_takes_while_the_other_is_committed_and_both_are_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let intake = open(&folder, 7);
        intake.begin(0, 0);
        let large = message(&"x".repeat(100_000));
        let mut taken = 0;
        while intake.take(&large).is_some() {
            taken += 1;
        }
        assert_eq!((taken, open(&folder, 7).replay(0).unwrap().len()), (20, 20));
        intake.committed(9);
        assert_eq!(intake.take(&large), None, "the first half is not free yet");
        intake.committed(12);
        assert_eq!(intake.take(&large), Some(21));
        assert_eq!(open(&folder, 7).replay(12).unwrap().len(), 9);
        assert_eq!(std::fs::metadata(folder.path().join("outbox.intake")).unwrap().len(), 2 * BYTES as u64);
    }
}
