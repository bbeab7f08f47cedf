//! Pictures off the line, to quantize and to train with: which frames are worth keeping, and a dataset of them.
//!
//! A frame is kept every so often, where the model is unsure, where neighbouring frames disagree (`policy`), or because
//! somebody asks for it; not where it shows what a kept one shows already (`likeness`). What is kept goes to the disk as a
//! YOLO dataset with the detections as draft labels, until the quota is used (`keeper`). Where frames come from, and when
//! all is over, is left to others.

mod collector;
mod keeper;
mod likeness;
mod policy;

use std::time::Duration;

pub use self::{
    collector::{Camera, Collector, Model, Tally},
    policy::Reason,
};

/// What is collected, and how much.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// A picture of each camera is kept so often whatever it shows.
    pub every: Duration,
    /// A detection with a confidence within these bounds is one that the model is unsure of, in `0..=1`.
    pub uncertain: [f32; 2],
    /// The folder never holds more bytes than this, what lay there before included.
    pub quota_bytes: u64,
}

impl Default for Settings {
    /// About the confidence from which detections count where nobody says otherwise.
    fn default() -> Self {
        Self { every: Duration::from_secs(60), uncertain: [0.2, 0.5], quota_bytes: 2_000_000_000 }
    }
}
