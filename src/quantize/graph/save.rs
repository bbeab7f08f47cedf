//! Writes a file whole or not at all.

use std::path::Path;

use anyhow::Result;

use crate::whole_file;

/// Writes a file so that at any time either what was there before or the whole new one is there.
///
/// # Errors
/// Where the path names no file, or its folder cannot be written to; nothing is left behind then.
pub fn save(path: &Path, bytes: &[u8]) -> Result<()> {
    whole_file::write(path, bytes)
}
