//! Files that are whole at any moment: what was there before, or all of what is written.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Write},
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use anyhow::{anyhow, bail};

/// Writes a file beside its place, makes sure that it is on the disk, and moves it there.
///
/// # Errors
/// Where it cannot be written; says why and what to do. What stood there before still does, and nothing else is left
/// behind.
pub fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    /// Tells the files apart that one process writes at a time.
    static NUMBER: AtomicU64 = AtomicU64::new(0);

    if path.file_name().is_none() || path.is_dir() {
        bail!("{} cannot be written, it names a folder; add the name of a file", path.display());
    }
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    // The name is short, for that of the file may be as long as the file system takes.
    let unfinished = path.with_file_name(format!(".andon-{}-{number}.tmp", std::process::id()));
    write_synced(&unfinished, bytes).and_then(|()| fs::rename(&unfinished, path)).map_err(|error| {
        // It may not exist; the first error is the one to tell.
        let _ = fs::remove_file(&unfinished);
        refusal(path, &error)
    })
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Why a file or a folder cannot be written, and what to do.
pub fn refusal(path: &Path, error: &io::Error) -> anyhow::Error {
    let shown = path.display();
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            anyhow!("{shown} cannot be written, the disk is full; make room, then run the same command again")
        }
        ErrorKind::FileTooLarge => {
            anyhow!("{shown} cannot be written, no file may be that large here; raise the limit or choose another disk")
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            anyhow!("{shown} cannot be written ({error}); choose a folder that you may write to")
        }
        ErrorKind::NotFound | ErrorKind::NotADirectory => {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            anyhow!("{shown} cannot be written, there is no folder {}; make it first", folder.display())
        }
        _ => anyhow!("{shown} cannot be written ({error}); check the path and the disk"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_or_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        write(&path, b"one").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        fs::create_dir(folder.path().join("folder")).unwrap();
        for (path, part) in [
            ("none/a", "none; make it first"),
            ("a/b", "a; make it first"),
            ("folder", "names a folder"),
            ("..", "names a folder"),
            (&"x".repeat(300), "check the path"),
        ] {
            let error = write(&folder.path().join(path), b"").unwrap_err().to_string();
            assert!(error.contains("cannot be written") && error.contains(part), "{path}: {error}");
        }
        write(&folder.path().join("x".repeat(255)), b"").unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3, "nothing unfinished is left");
    }

    #[test]
    fn every_failure_has_a_remedy() {
        for (kind, part) in [
            (ErrorKind::StorageFull, "the disk is full; make room"),
            (ErrorKind::QuotaExceeded, "the disk is full; make room"),
            (ErrorKind::FileTooLarge, "raise the limit"),
            (ErrorKind::ReadOnlyFilesystem, "that you may write to"),
            (ErrorKind::NotFound, "there is no folder .; make it first"),
            (ErrorKind::Other, "check the path and the disk"),
        ] {
            let sentence = refusal(Path::new("a.png"), &kind.into()).to_string();
            assert!(sentence.starts_with("a.png cannot be written") && sentence.contains(part), "{sentence}");
        }
    }
}
