//! What was taken between two commits, in a file of its own: written without waiting for the disk, so that the end of the
//! process costs nothing and flash is not worn, and written over from the front after each commit. It has to survive no
//! more than the process, so it may lie in memory (tmpfs), where it wears nothing at all.
//!
//! Records carry the generation in which they were taken. A commit stores the next one in the database, so that a record is
//! known as committed by its older generation, and what follows the last record of this generation as left over.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::FileExt,
    path::PathBuf,
};

use super::{Entry, Failure, row};

/// Takes at most so much between two commits.
pub(super) const BYTES: usize = 1 << 20;

/// Generation, length, CRC-32.
const HEAD_BYTES: usize = 8 + 4 + 4;

/// The file.
#[derive(Debug)]
pub(super) struct Intake {
    file: File,
    /// Which database the records belong to.
    born: u64,
    path: PathBuf,
    /// Where the next record goes.
    end: usize,
    /// Used again for each record.
    record: Vec<u8>,
}

impl Intake {
    /// Opens the file, and makes it where it is missing. `born` tells databases apart that had it one after the other.
    pub(super) fn open(path: PathBuf, born: u64) -> Result<Self, Failure> {
        let failed = |error: &std::io::Error| Failure::of_io(&path, error);
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let file = options.map_err(|error| failed(&error))?;
        let length = file.metadata().map_err(|error| failed(&error))?.len();
        if length < BYTES as u64 {
            // Zeros, not a hole: the blocks are there from now on, whatever else fills the disk.
            file.write_all_at(&vec![0; BYTES - length as usize], length).map_err(|error| failed(&error))?;
            file.sync_all().map_err(|error| failed(&error))?;
        }
        Ok(Self { file, born, path, end: 0, record: Vec::new() })
    }

    /// What was taken in this generation and not committed, in order.
    pub(super) fn replay(&mut self, generation: u64) -> Result<Vec<Entry>, Failure> {
        let mut bytes = vec![0; BYTES];
        self.file.read_exact_at(&mut bytes, 0).map_err(|error| Failure::of_io(&self.path, &error))?;
        let mut entries = Vec::new();
        let mut rest = bytes.as_slice();
        while let Some((entry, left)) = next(rest, self.born, generation) {
            entries.push(entry);
            rest = left;
        }
        self.end = BYTES - rest.len();
        Ok(entries)
    }

    /// Whether a message has room until the next commit.
    pub(super) fn has_room(&self, entry: &Entry) -> bool {
        self.end + HEAD_BYTES + 12 + entry.topic.len() + entry.body.len() <= BYTES
    }

    /// Takes a message that has room.
    pub(super) fn take(&mut self, entry: &Entry, generation: u64) -> Result<(), Failure> {
        self.record.clear();
        self.record.resize(HEAD_BYTES, 0);
        row::encode(entry, &mut self.record);
        let length = u32::try_from(self.record.len() - HEAD_BYTES).expect("a record is shorter than the intake");
        let sum = checksum(self.born, generation, &self.record[HEAD_BYTES..]);
        self.record[..8].copy_from_slice(&generation.to_le_bytes());
        self.record[8..12].copy_from_slice(&length.to_le_bytes());
        self.record[12..16].copy_from_slice(&sum.to_le_bytes());
        let written = self.file.write_all_at(&self.record, self.end as u64);
        written.map_err(|error| Failure::of_io(&self.path, &error))?;
        self.end += self.record.len();
        Ok(())
    }

    /// All that was taken is committed.
    pub(super) fn restart(&mut self) {
        self.end = 0;
    }
}

/// The record at the front, and what follows it; `None` where it is another generation's or damaged.
fn next(bytes: &[u8], born: u64, generation: u64) -> Option<(Entry, &[u8])> {
    let (head, rest) = bytes.split_at_checked(HEAD_BYTES)?;
    let number = |range: std::ops::Range<usize>| head[range].try_into().ok().map(u32::from_le_bytes);
    let (length, sum) = (number(8..12)?, number(12..16)?);
    let (body, rest) = rest.split_at_checked(length as usize)?;
    let ours = head[..8] == generation.to_le_bytes() && checksum(born, generation, body) == sum;
    ours.then(|| row::decode(body)).flatten().map(|entry| (entry, rest))
}

fn checksum(born: u64, generation: u64, body: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&born.to_le_bytes());
    sum.update(&generation.to_le_bytes());
    sum.update(&(body.len() as u32).to_le_bytes());
    sum.update(body);
    sum.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Class, tests::entry};

    fn bodies(intake: &mut Intake, generation: u64) -> Vec<Vec<u8>> {
        intake.replay(generation).unwrap().into_iter().map(|entry| entry.body.to_vec()).collect()
    }

    #[test]
    fn what_was_taken_is_there_again_up_to_the_first_damage() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("outbox.intake");
        let mut intake = Intake::open(path.clone(), 7).unwrap();
        assert!(bodies(&mut intake, 1).is_empty());
        let texts = ["a", "", "ccc", "d"];
        for text in texts {
            intake.take(&entry(Class::Middle, "t", text), 1).unwrap();
        }
        drop(intake);
        assert!(bodies(&mut Intake::open(path.clone(), 8).unwrap(), 1).is_empty(), "they are another database's");
        let mut intake = Intake::open(path, 7).unwrap();
        assert_eq!(bodies(&mut intake, 1), texts.map(|text| text.as_bytes().to_vec()));
        assert!(bodies(&mut intake, 2).is_empty(), "they are committed where the generation is the next");
        intake.restart();
        intake.take(&entry(Class::Middle, "t", "x"), 2).unwrap();
        assert_eq!(bodies(&mut intake, 2), [b"x"]);
        let bytes = std::fs::read(&intake.path).unwrap();
        for bit in 0..(HEAD_BYTES + 14) * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            intake.file.write_all_at(&damaged, 0).unwrap();
            assert!(bodies(&mut intake, 2).is_empty(), "bit {bit}");
        }
    }

    #[test]
    fn the_intake_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let mut intake = Intake::open(folder.path().join("outbox.intake"), 7).unwrap();
        let large = entry(Class::Last, "t", &"x".repeat(100_000));
        let mut taken = 0;
        while intake.has_room(&large) {
            intake.take(&large, 1).unwrap();
            taken += 1;
        }
        assert_eq!((taken, intake.replay(1).unwrap().len()), (10, 10));
        assert_eq!(intake.file.metadata().unwrap().len(), BYTES as u64);
    }
}
