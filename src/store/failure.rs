//! Why the disk could not be used, and what to do about it.

use std::{io, path::Path};

use rusqlite::ErrorCode;

/// Why the disk could not be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}; {remedy}")]
pub struct Failure {
    /// What follows from it.
    pub kind: FailureKind,
    /// What is wrong.
    why: String,
    /// What to do.
    remedy: &'static str,
}

/// What follows from a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// Nothing more fits.
    Full,
    /// The file is not what was written.
    Damaged,
    /// Another process has it.
    Busy,
    /// The disk refuses.
    Disk,
}

const MAKE_ROOM: &str = "make room, or lower [outbox] max_bytes";
const CHECK_DISK: &str = "check the disk, and whether its file system is read-only";

impl Failure {
    /// The file is not what was written.
    pub(super) fn damaged(what: &str) -> Self {
        Self { kind: FailureKind::Damaged, why: format!("the file is damaged ({what})"), remedy: CHECK_DISK }
    }

    /// Another process has it.
    pub(super) fn busy() -> Self {
        let remedy = "stop the other, or give each its own [outbox] path";
        Self { kind: FailureKind::Busy, why: "another process uses it".to_owned(), remedy }
    }

    /// A file beside the database cannot be written; the error names it.
    pub(super) fn of_file(error: &anyhow::Error) -> Self {
        Self { kind: FailureKind::Disk, why: format!("{error:#}"), remedy: CHECK_DISK }
    }

    /// A file beside the database cannot be used.
    pub(super) fn of_io(path: &Path, error: &io::Error) -> Self {
        let why = format!("{}: {error}", path.display());
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self { kind: FailureKind::Full, why, remedy: MAKE_ROOM }
            }
            io::ErrorKind::PermissionDenied => {
                Self { kind: FailureKind::Disk, why, remedy: "let the user of the service write there" }
            }
            _ => Self { kind: FailureKind::Disk, why, remedy: CHECK_DISK },
        }
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        let kind = match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => FailureKind::Full,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => FailureKind::Damaged,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => FailureKind::Busy,
            // A table or a column that is not there, a value of another type: another program wrote this, or chance.
            Some(ErrorCode::Unknown | ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch) | None => {
                FailureKind::Damaged
            }
            Some(_) => FailureKind::Disk,
        };
        let remedy = match kind {
            FailureKind::Full => MAKE_ROOM,
            FailureKind::Busy => "stop what else uses the file",
            FailureKind::Damaged | FailureKind::Disk => CHECK_DISK,
        };
        Self { kind, why: error.to_string(), remedy }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_to_do() {
        let full = Failure::of_io(Path::new("a"), &io::ErrorKind::StorageFull.into());
        assert_eq!(full.kind, FailureKind::Full);
        assert!(full.to_string().ends_with("; make room, or lower [outbox] max_bytes"), "{full}");
        let missing = Failure::from(rusqlite::Error::QueryReturnedNoRows);
        assert_eq!(missing.kind, FailureKind::Damaged);
    }
}
