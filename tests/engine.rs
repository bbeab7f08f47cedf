//! The engine, from the outside: files that load and give the right numbers, and files that are refused with a reason.

mod agreement;
mod pixels;
mod pooled;
mod refusal;
mod tiny;
mod whole;

use std::{fs, path::PathBuf};

use andon::engine::{Session, Settings};
use tempfile::TempDir;

/// A model's bytes as a file, in a folder that goes with the returned guard.
fn stored(bytes: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    fs::write(&path, bytes).unwrap();
    (folder, path)
}

/// Loads a model from its bytes, for one thread.
fn load(bytes: &[u8]) -> anyhow::Result<Session> {
    load_sized(bytes, None)
}

/// The same, with the input's height and width stated.
fn load_sized(bytes: &[u8], input_size: Option<[usize; 2]>) -> anyhow::Result<Session> {
    let (_folder, path) = stored(bytes);
    Session::load(&path, &Settings { threads: Some(1), input_size, ..Settings::default() })
}
