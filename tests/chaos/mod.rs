//! Nothing is lost: a real device process, a real broker and `andon listen`, while one of them is killed again and again, or
//! the network between them swallows everything.
//!
//! What runs in a minute is the short form; `make chaos` sets the variables for the long one.

mod black_hole;
mod broker_killed;
mod brokers;
mod device;
mod device_killed;
mod listener;
mod retained;
mod whole;

use std::{
    env,
    str::FromStr,
    thread,
    time::{Duration, Instant},
};

/// A number that the environment may raise.
fn knob<T: FromStr>(name: &str, short: T) -> T {
    env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(short)
}

/// Whether the environment asks for the long form: what is promised of times and rates is judged there, on a machine that has
/// nothing else to do.
fn is_long(name: &str) -> bool {
    env::var_os(name).is_some()
}

/// Waits until something is so; the text says what does not come about.
#[track_caller]
fn wait_until(within: Duration, what: impl Fn() -> String, mut so: impl FnMut() -> bool) {
    let give_up = Instant::now() + within;
    while !so() {
        assert!(Instant::now() < give_up, "not within {within:?}: {}", what());
        thread::sleep(Duration::from_millis(10));
    }
}
