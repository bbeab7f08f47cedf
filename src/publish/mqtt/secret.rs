//! Passwords, which come from files and are shown to nobody.

use std::{
    env, fmt,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

/// MQTT cannot carry a longer password.
const PASSWORD_BYTES_MAX: u64 = 65_535;

/// Where a password stands. It is read anew at every connection, so that a corrected file heals without a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    path: PathBuf,
}

/// A password that was read. It prints as `…`.
pub struct Revealed(String);

impl Secret {
    /// The password in this file; a newline at its end does not count.
    pub fn from_file(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The systemd credential of this name (`LoadCredential=`); `None` where systemd handed over no such thing.
    pub fn from_credential(name: &str) -> Option<Self> {
        Self::from_credential_in(Path::new(&env::var_os("CREDENTIALS_DIRECTORY")?), name)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the password.
    ///
    /// # Errors
    /// Where the file cannot be read, is empty, is longer than MQTT can carry, or is not UTF-8.
    pub fn read(&self) -> io::Result<Revealed> {
        let mut bytes = Vec::new();
        File::open(&self.path)?.take(PASSWORD_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > PASSWORD_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "longer than 65535 bytes"));
        }
        let mut text = String::from_utf8(bytes)
            .map_err(|_not_shown| io::Error::new(io::ErrorKind::InvalidData, "not UTF-8 text"))?;
        text.truncate(text.trim_end_matches(['\r', '\n']).len());
        if text.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "empty"));
        }
        Ok(Revealed(text))
    }
}

impl Secret {
    fn from_credential_in(directory: &Path, name: &str) -> Option<Self> {
        let path = directory.join(name);
        path.is_file().then_some(Self { path })
    }
}

impl Revealed {
    /// The password itself, for the broker only.
    pub fn expose(self) -> String {
        self.0
    }
}

impl fmt::Debug for Revealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl fmt::Display for Revealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn secret(content: &[u8]) -> (tempfile::TempDir, Secret) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        fs::write(&path, content).unwrap();
        (folder, Secret::from_file(path))
    }

    #[test]
    fn the_newline_at_the_end_does_not_count() {
        for content in ["s e cret", "s e cret\n", "s e cret\r\n"] {
            let (_folder, secret) = secret(content.as_bytes());
            assert_eq!(secret.read().unwrap().expose(), "s e cret");
        }
    }

    #[test]
    fn a_credential_is_used_where_it_is_there() {
        let (folder, secret) = secret(b"s");
        assert_eq!(Secret::from_credential_in(folder.path(), "password"), Some(secret));
        assert_eq!(Secret::from_credential_in(folder.path(), "other"), None);
    }

    #[test]
    fn it_is_never_shown() {
        let (_folder, secret) = secret(b"hunter2");
        let revealed = secret.read().unwrap();
        assert_eq!(format!("{revealed:?} {revealed}"), "… …");
        assert!(!format!("{secret:?}").contains("hunter2"));
    }

    #[test]
    fn unusable_files_say_why() {
        for (content, why) in [(&b"\n"[..], "empty"), (b"\xff\xfe", "UTF-8"), (&[b'a'; 65_536], "longer")] {
            let (_folder, secret) = secret(content);
            let error = secret.read().unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        assert_eq!(Secret::from_file("/nonexistent/password").read().unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
