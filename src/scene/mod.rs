//! What happens at a line that nobody has to own: parts with known defects on a belt that stops, goes and backs up, items that
//! a hand puts into a basket and takes out again; and what an imperfect detector makes of it. Plain data over time, the same
//! from the same seed on every machine: how it looks in a picture belongs to `capture`, what it means to the rules.
//!
//! - `motion.rs`: where a belt stands. `belt.rs`: what lies on it. `basket.rs`: what is put and taken.
//! - `cover.rs`: what stands before the things, and how much of them is seen. `eye.rs`: what a detector reports.
//!
//! Only the four basic operations are used, which round alike everywhere.

mod basket;
mod belt;
mod cover;
mod eye;
mod motion;

use std::time::Duration;

pub use self::{
    basket::{Basket, BasketSettings},
    belt::{Belt, BeltSettings, Flaw, Part},
    cover::Hand,
    eye::{Eye, EyeSettings, Shot},
    motion::{Motion, Pace},
};
use crate::{
    geometry::{BoxPx, Size},
    random::Rng,
};

/// One thing, as it is in truth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thing {
    /// Its number, from 1; never used again.
    pub id: u64,
    /// The part that it is a flaw of; `None` for a thing that stands alone.
    pub on: Option<u64>,
    /// Index of its class, in the list of whoever set the scene up.
    pub class: usize,
    /// All of it, in pixels; it may reach beyond the picture.
    pub bounds: BoxPx,
    /// The box around what can be seen of it; empty where nothing can.
    pub shown: BoxPx,
    /// The share of its area that can be seen, in `0..=1`.
    pub visible: f32,
}

/// Something that really happened.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Happening {
    /// When, since the scene began.
    pub at: Duration,
    /// The part or item.
    pub id: u64,
    /// Its class.
    pub class: usize,
    /// What.
    pub deed: Deed,
}

/// What can happen to a thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Its centre crossed the line in the direction of the belt.
    Crossed,
    /// Its centre crossed the line against it.
    CrossedBack,
    /// A part is beyond the picture, so far that the belt cannot bring it back.
    Left {
        /// It had no flaw.
        good: bool,
    },
    /// It was put into the basket, and let go there.
    Put,
    /// It was grasped in the basket, and taken out.
    Taken,
}

/// What is seen of something in a picture of this size, behind these covers: the box around it, empty where nothing is, and
/// the share of its area.
pub fn seen(bounds: BoxPx, size: Size, covers: &[BoxPx]) -> (BoxPx, f32) {
    let mut thing = Thing { id: 0, on: None, class: 0, bounds, shown: bounds, visible: 1.0 };
    cover::look(&mut thing, size, covers);
    (thing.shown, thing.visible)
}

/// Evenly from `low..high`.
fn from_range(rng: &mut Rng, (low, high): (f64, f64)) -> f64 {
    low + (high - low) * rng.fraction()
}

/// A random number around 0 with a standard deviation of 1, within ±3.5: the sum of four even ones.
fn noise(rng: &mut Rng) -> f64 {
    let sum: f64 = (0..4).map(|_| rng.fraction() - 0.5).sum();
    // Each has a variance of 1/12, so the sum has one of 1/3.
    sum * 1.732_050_807_568_877_2
}
