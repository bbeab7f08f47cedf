//! What a station heard, kept in a file, so that it can hear it again: for the question why something was said, and for
//! trying other rules on what really happened.
//!
//! A recording is a folder for each camera: `recording.jsonl` has all that the station heard, a JSON object a line, with its
//! times; `events.jsonl` what it said; `frames/` the pictures, by their numbers. Playing it again with the same
//! configuration says the same, byte by byte.
//!
//! - `heard.rs`: what a station hears, as a line; `recorder.rs` writes, `player.rs` reads and plays; `said.rs`: what it says,
//!   as a line; `pictures.rs`: its pictures.

mod heard;
mod pictures;
mod player;
mod recorder;
mod said;

pub use self::{
    heard::{Heard, Line, Malformed},
    pictures::{Photographer, Pictures},
    player::{Player, Tally},
    recorder::Recorder,
    said::line as said_line,
};

/// What a station heard.
pub const HEARD: &str = "recording.jsonl";
/// What it said.
pub const SAID: &str = "events.jsonl";
/// The folder of the pictures.
pub const FRAMES: &str = "frames";

/// Marks the first line of a recording, and its version.
pub const FORMAT: &str = "andon recording 1";
