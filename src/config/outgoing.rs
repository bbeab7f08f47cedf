//! `[outbox]`: where what must not be lost is kept, and how much of it.

use std::{path::PathBuf, time::Duration};

use super::{
    section::Section,
    text::{AgeText, BytesText},
};
use crate::publish::outbox;

/// What the outbox may take.
const OUTBOX_BYTES: std::ops::RangeInclusive<u64> = 4_000_000..=2_000_000_000;

/// Where the outbox lies where no path is given: in the directory that systemd gives a service for what has to survive a
/// restart, else where a user's programs keep such things. What has to survive the process only lies in the directory that
/// systemd gives for that.
pub(super) fn default() -> outbox::Settings {
    // systemd gives several folders with colons between them.
    let folder = |name| {
        let value = std::env::var(name).unwrap_or_default();
        value.split(':').next().map(PathBuf::from).filter(|folder| folder.is_absolute())
    };
    let state = folder("STATE_DIRECTORY").unwrap_or_else(|| {
        let home = || folder("HOME").map(|home| home.join(".local/state"));
        folder("XDG_STATE_HOME").or_else(home).unwrap_or_else(|| PathBuf::from("/var/lib")).join("andon")
    });
    let intake = folder("RUNTIME_DIRECTORY").map(|folder| folder.join("outbox.intake"));
    outbox::Settings { intake, ..outbox::Settings::new(state.join("outbox.db")) }
}

/// Reads `[outbox]` over what is known without it.
pub(super) fn read(mut section: Section, default: outbox::Settings) -> outbox::Settings {
    let origin = section.origin_of("path");
    let path = section.text("path").map(PathBuf::from);
    if path.as_ref().is_some_and(|path| path.file_name().is_none() || path.is_dir()) {
        section.problem("path", origin.as_ref(), "it is a folder; add the name of a file");
    }
    let origin = section.origin_of("max_bytes");
    let max_bytes = section.parsed::<BytesText>("max_bytes").map_or(default.max_bytes, |bytes| bytes.0);
    if !OUTBOX_BYTES.contains(&max_bytes) {
        section.problem("max_bytes", origin.as_ref(), "it is out of bounds; it lies between 4 MB and 2 GB");
    }
    let settings = outbox::Settings {
        path: path.unwrap_or(default.path),
        max_bytes,
        max_age: section.parsed::<AgeText>("max_age").map_or(default.max_age, |age| age.0),
        sync: section.number("sync", 0.0..=60.0).map_or(default.sync, Duration::from_secs_f64),
        ..default
    };
    section.finish();
    settings
}
