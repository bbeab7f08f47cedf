//! A numbering that cannot go on is followed by one that is higher, even where the database is lost: the last one also
//! stands in a small file beside it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use jiff::Timestamp;

use super::Failure;
use crate::whole_file;

/// Longest text of a number with 64 bits.
const BYTES_MAX: u64 = 32;

pub(super) fn path(database: &Path) -> PathBuf {
    super::disk::beside(database, "epoch")
}

/// The last epoch that was written down; 0 where there is none.
pub(super) fn last(database: &Path) -> u64 {
    let path = path(database);
    let short = fs::metadata(&path).is_ok_and(|file| file.len() <= BYTES_MAX);
    let text = if short { fs::read_to_string(&path).unwrap_or_default() } else { String::new() };
    text.trim().parse().ok().filter(|epoch| *epoch <= EPOCH_MAX).unwrap_or(0)
}

/// Later than any clock; what is beyond is damage.
pub(super) const EPOCH_MAX: u64 = 1 << 43;

/// The epoch after this one: milliseconds since 1970, so that two processes that could not write theirs down differ.
pub(super) fn after(last: u64, now: Timestamp) -> u64 {
    u64::try_from(now.as_millisecond()).unwrap_or(0).max(last + 1)
}

/// An epoch for a numbering that begins without the database, above all that are known. It is written down where that is
/// possible; where it is not, the clock has to do.
pub fn without_database(database: &Path, known: u64, now: Timestamp) -> u64 {
    let epoch = after(last(database).max(known), now);
    if let Err(failure) = note(database, epoch) {
        log::debug!("epoch {epoch} is not written down: {failure}");
    }
    epoch
}

/// Writes an epoch down before it is used.
///
/// # Errors
/// Where the file cannot be written.
pub(super) fn note(database: &Path, epoch: u64) -> Result<(), Failure> {
    whole_file::write(&path(database), format!("{epoch}\n").as_bytes()).map_err(|error| Failure::of_file(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_rise_whatever_the_clock_says() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("outbox.db");
        assert_eq!(last(&database), 0);
        note(&database, 17).unwrap();
        assert_eq!(last(&database), 17);
        assert_eq!(after(17, Timestamp::UNIX_EPOCH), 18);
        assert_eq!(after(17, Timestamp::from_second(1000).unwrap()), 1_000_000);
        for damage in ["", "x", "99999999999999999999", &"1".repeat(100)] {
            fs::write(path(&database), damage).unwrap();
            assert_eq!(last(&database), 0, "{damage:?}");
        }
    }
}
