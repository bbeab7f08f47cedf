//! What the integration tests share.

pub mod ca;
pub mod freeze;
pub mod mosquitto;
pub mod notify;
pub mod npy;
pub mod onnx;
pub mod run;
pub mod tiny_yolo;

use std::path::PathBuf;

/// The folder with real models and pictures that `ANDON_TEST_ASSETS` names; without it says that `test` is skipped.
pub fn assets(test: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("ANDON_TEST_ASSETS").map(PathBuf::from);
    if folder.is_none() {
        println!("{test}: skipped, because ANDON_TEST_ASSETS names no folder with models/ and data/");
    }
    folder
}
