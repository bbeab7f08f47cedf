//! What stands before things, and how much of them can be seen then.

use std::time::Duration;

use super::{Thing, from_range};
use crate::{
    geometry::{BoxPx, Size},
    random::Rng,
};

/// A hand that passes through the picture now and then, from the upper edge to the lower.
#[derive(Clone, Debug)]
pub struct Hand {
    rng: Rng,
    size: Size,
    every_s: (f64, f64),
    start_s: f64,
    end_s: f64,
    left_px: f64,
}

impl Hand {
    /// How wide it is, in parts of the picture's width, and how long, in parts of its height.
    const EXTENT: (f64, f64) = (0.15, 0.5);
    /// How long it takes to pass, in seconds.
    const PASS_S: (f64, f64) = (0.5, 1.5);

    /// One that comes this long after it was gone, in seconds, least and most.
    pub fn new(seed: u64, size: Size, every_s: (f64, f64)) -> Self {
        let mut hand = Self { rng: Rng::new(seed, 2), size, every_s, start_s: 0.0, end_s: 0.0, left_px: 0.0 };
        hand.next();
        hand
    }

    /// Where it is; `None` while it is away. `at` never goes back.
    pub fn bounds(&mut self, at: Duration) -> Option<BoxPx> {
        let at_s = at.as_secs_f64();
        while at_s >= self.end_s {
            self.next();
        }
        let (width, height) = (f64::from(self.size.width), f64::from(self.size.height));
        let length = Self::EXTENT.1 * height;
        let passed = (at_s - self.start_s) / (self.end_s - self.start_s);
        let top = (height + length) * passed - length;
        let right = self.left_px + Self::EXTENT.0 * width;
        (passed >= 0.0).then_some(BoxPx {
            x1: self.left_px as f32,
            y1: top as f32,
            x2: right as f32,
            y2: (top + length) as f32,
        })
    }

    fn next(&mut self) {
        self.start_s = self.end_s + from_range(&mut self.rng, self.every_s);
        self.end_s = self.start_s + from_range(&mut self.rng, Self::PASS_S);
        self.left_px = from_range(&mut self.rng, (0.0, (1.0 - Self::EXTENT.0) * f64::from(self.size.width)));
    }
}

/// Says of a thing what can be seen of it in a picture of this size, behind these covers. Where covers overlap, what is
/// behind both counts as hidden twice.
pub(super) fn look(thing: &mut Thing, size: Size, covers: &[BoxPx]) {
    let whole = thing.bounds.area();
    let mut shown = thing.bounds.clipped(size.width as f32, size.height as f32);
    let mut area = shown.area();
    for cover in covers {
        area -= overlap(cover, &shown);
    }
    for cover in covers {
        shown = without(shown, cover);
    }
    thing.shown = shown;
    thing.visible = if whole > 0.0 && shown.area() > 0.0 { (area / whole).clamp(0.0, 1.0) } else { 0.0 };
}

fn overlap(a: &BoxPx, b: &BoxPx) -> f32 {
    let width = a.x2.min(b.x2) - a.x1.max(b.x1);
    let height = a.y2.min(b.y2) - a.y1.max(b.y1);
    width.max(0.0) * height.max(0.0)
}

/// The box around what is left of a box behind a cover: less where the cover hides it from edge to edge.
fn without(mut shown: BoxPx, cover: &BoxPx) -> BoxPx {
    if overlap(&shown, cover) <= 0.0 {
        return shown;
    }
    if cover.y1 <= shown.y1 && cover.y2 >= shown.y2 {
        (shown.x1, shown.x2) = left_of((shown.x1, shown.x2), (cover.x1, cover.x2));
    } else if cover.x1 <= shown.x1 && cover.x2 >= shown.x2 {
        (shown.y1, shown.y2) = left_of((shown.y1, shown.y2), (cover.y1, cover.y2));
    }
    shown
}

/// The span around what is left of a span without another.
fn left_of((low, high): (f32, f32), (from, to): (f32, f32)) -> (f32, f32) {
    match (from <= low, to >= high) {
        (true, true) => (low, low),
        (true, false) => (to, high),
        (false, true) => (low, from),
        (false, false) => (low, high),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size { width: 100, height: 100 };

    fn seen(covers: &[BoxPx]) -> (BoxPx, f32) {
        let bounds = BoxPx { x1: 20.0, y1: 20.0, x2: 40.0, y2: 40.0 };
        let mut thing = Thing { id: 1, on: None, class: 0, bounds, shown: bounds, visible: 1.0 };
        look(&mut thing, SIZE, covers);
        (thing.shown, thing.visible)
    }

    #[test]
    fn a_cover_hides_what_is_behind_it() {
        let post = |x1, x2| BoxPx { x1, y1: 0.0, x2, y2: 100.0 };
        assert_eq!(seen(&[post(50.0, 60.0)]).1, 1.0);
        assert_eq!(seen(&[post(30.0, 60.0)]), (BoxPx { x1: 20.0, y1: 20.0, x2: 30.0, y2: 40.0 }, 0.5));
        assert_eq!(seen(&[post(25.0, 35.0)]), (BoxPx { x1: 20.0, y1: 20.0, x2: 40.0, y2: 40.0 }, 0.5));
        assert_eq!(seen(&[post(0.0, 90.0)]).1, 0.0);
    }

    #[test]
    fn a_hand_comes_and_goes() {
        let mut hand = Hand::new(1, SIZE, (1.0, 2.0));
        let there = (0..10_000).filter(|step| hand.bounds(Duration::from_millis(step * 10)).is_some()).count();
        assert!((3_000..5_000).contains(&there), "{there}");
    }
}
