//! The directory that systemd gives a service for what has to survive a restart.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Why nothing can be kept in the state directory, and what to do; `None` where all is well or there is none.
pub fn problem() -> Option<String> {
    let directory = directory()?;
    let error = probe(&directory).err()?;
    Some(format!(
        "state directory {} cannot be written ({error}); check its owner and whether its file system is read-only",
        directory.display()
    ))
}

/// The unit's `StateDirectory=`, the first where there are several.
pub fn directory() -> Option<PathBuf> {
    let value = std::env::var_os("STATE_DIRECTORY")?;
    let first = value.to_str()?.split(':').next()?.to_owned();
    (!first.is_empty()).then(|| PathBuf::from(first))
}

fn probe(directory: &Path) -> std::io::Result<()> {
    let file = directory.join(format!(".probe-{}", std::process::id()));
    fs::write(&file, b"andon")?;
    fs::remove_file(&file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_none_cannot_be_written() {
        assert!(probe(Path::new("/proc/self")).is_err());
        assert!(probe(&std::env::temp_dir()).is_ok());
    }
}
