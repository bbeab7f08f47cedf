//! Integration tests, one module a subject; `tests/util` holds what they share.
#![allow(unreachable_pub, reason = "helpers are public to their module, and a test binary has no outside")]
#![allow(clippy::print_stdout, reason = "a test that is skipped says so")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod bundled;
mod chaos;
mod cli;
mod daemon;
mod detector;
mod engine;
mod eval;
mod formats;
mod fuzz;
mod mqtt;
mod outbox;
mod packages;
mod quantize;
mod recording;
mod sources;
mod tiny_model;
mod track;
mod util;
mod v4l2;
mod vision;
mod yolo;
