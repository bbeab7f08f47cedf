//! Files with secrets that everybody on the box may read.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use crate::config::Config;

/// Others than owner and group may read.
const OTHERS_READ: u32 = 0o004;

/// A sentence for each such file of a configuration.
pub(super) fn secrets(config: &Config) -> Vec<String> {
    let password = config.mqtt.password.as_ref().map(|secret| ("password", secret.path()));
    let identity = config.mqtt.tls.as_ref().and_then(|tls| tls.identity.as_ref());
    let key = identity.map(|identity| ("key", identity.key.as_path()));
    let exposed = [password, key].into_iter().flatten().filter(|(_, path)| everybody_reads(path));
    exposed
        .map(|(what, path)| {
            let path = path.display();
            format!("{what} file {path} may be read by everybody on this box; change that: chmod o-r {path}")
        })
        .collect()
}

fn everybody_reads(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|facts| facts.permissions().mode() & OTHERS_READ != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::mqtt::Secret;

    #[test]
    fn a_password_for_all_is_named_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        fs::write(&path, "sesame").unwrap();
        let mut config = Config::default_for("box");
        config.mqtt.password = Some(Secret::from_file(&path));
        for (mode, count) in [(0o644, 1), (0o640, 0), (0o600, 0)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let said = secrets(&config);
            assert_eq!(said.len(), count, "{mode:o}: {said:?}");
            assert!(said.iter().all(|sentence| sentence.contains(&format!("chmod o-r {}", path.display()))));
        }
    }
}
