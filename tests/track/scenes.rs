//! Made-up scenes that trackers find hard: boxes as a model gives them, and which thing each belongs to. They are the same on
//! every machine: no function is used that libraries of mathematics differ about.

use andon::{
    geometry::{BoxPx, Point},
    random::Rng,
};

/// Frames a second.
pub const RATE: f64 = 30.0;
/// The picture.
pub const WIDTH: f64 = 640.0;
/// The picture.
pub const HEIGHT: f64 = 480.0;
const FRAMES: usize = 180;

/// What is hard.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Paths cross; what is behind is covered.
    Crossing,
    /// Things go behind posts, each on its own way.
    Occlusion,
    /// A belt that stops, goes, turns back and changes speed, with a post before it.
    StopAndGo,
    /// A belt and crossing paths of which frames are missing, one at a time and several.
    Dropped,
    /// Detections that come and go, with doubtful scores, and some of nothing.
    Flicker,
    /// Small things that move farther in a frame than they are long.
    Fast,
}

/// All kinds, with their names.
pub const KINDS: [(Kind, &str); 6] = [
    (Kind::Crossing, "crossing"),
    (Kind::Occlusion, "occlusion"),
    (Kind::StopAndGo, "stop-and-go"),
    (Kind::Dropped, "dropped"),
    (Kind::Flicker, "flicker"),
    (Kind::Fast, "fast"),
];

/// A detection, and the number of the thing behind it; `None`: there is none.
#[derive(Clone, Debug)]
pub struct Found {
    /// In tenths of a pixel, exactly.
    pub bounds: BoxPx,
    /// In hundredths.
    pub confidence: f32,
    pub class: usize,
    pub truth: Option<usize>,
}

/// A frame that was not dropped: its number, and what is found in it, best first.
pub type Frame = (u64, Vec<Found>);

struct Thing {
    at: Point,
    velocity: Point,
    width: f32,
    height: f32,
    class: usize,
    begins: usize,
}

/// The scene of that kind with that number.
pub fn scene(kind: Kind, number: u64) -> Vec<Frame> {
    let mut rng = Rng::new(number, kind as u64);
    let posts = match kind {
        Kind::Occlusion => (0..2).map(|post| posts_at(&mut rng, 180.0 + 200.0 * post as f32)).collect(),
        Kind::StopAndGo => vec![posts_at(&mut rng, 300.0)],
        _ => Vec::new(),
    };
    let mut things = match kind {
        Kind::StopAndGo | Kind::Flicker => belt(&mut rng, 1.0),
        Kind::Dropped if number.is_multiple_of(2) => belt(&mut rng, 1.0),
        Kind::Fast => fast(&mut rng),
        Kind::Occlusion => lanes(&mut rng),
        Kind::Crossing | Kind::Dropped => paths(&mut rng),
    };
    let mut speed = Speed { share: 1.0, target: 1.0, until: 0 };
    let mut dropped = 0;
    let mut frames = Vec::new();
    for frame in 0..FRAMES {
        if kind == Kind::StopAndGo {
            speed.next(&mut rng, frame);
        }
        for thing in things.iter_mut().filter(|thing| thing.begins <= frame) {
            thing.at.x += thing.velocity.x * speed.share / RATE as f32;
            thing.at.y += thing.velocity.y * speed.share / RATE as f32;
        }
        let found = look(&mut rng, kind, frame, &things, &posts);
        if kind == Kind::Dropped && dropped == 0 && rng.chance(8) {
            dropped = if rng.chance(25) { rng.between(4, 10) } else { 1 };
        }
        if dropped > 0 {
            dropped -= 1;
        } else {
            frames.push((frame as u64, found));
        }
    }
    frames
}

/// How fast a belt runs: stops, slow, fast and backwards, with ramps of a few frames.
struct Speed {
    share: f32,
    target: f32,
    until: usize,
}

impl Speed {
    fn next(&mut self, rng: &mut Rng, frame: usize) {
        if frame >= self.until {
            self.until = frame + rng.between(10, 45) as usize;
            self.target = rng.pick(&[0.0, 0.0, 0.2, 0.5, 1.0, 1.0, 2.0, 3.0, -0.5]);
        }
        self.share += (self.target - self.share).clamp(-0.4, 0.4);
    }
}

fn between(rng: &mut Rng, low: f32, high: f32) -> f32 {
    low + (high - low) * rng.fraction() as f32
}

/// A post: from where to where, along x.
fn posts_at(rng: &mut Rng, x: f32) -> (f32, f32) {
    let x = x + between(rng, -30.0, 30.0);
    (x, x + between(rng, 40.0, 90.0))
}

/// Things that cross the picture on straight lines, and each other near the middle.
fn paths(rng: &mut Rng) -> Vec<Thing> {
    let count = rng.between(4, 8);
    let path = |rng: &mut Rng| {
        let middle = Point { x: between(rng, 240.0, 400.0), y: between(rng, 170.0, 310.0) };
        let velocity = loop {
            let velocity = Point { x: between(rng, -200.0, 200.0), y: between(rng, -140.0, 140.0) };
            if velocity.x.abs() + velocity.y.abs() > 60.0 {
                break velocity;
            }
        };
        // In the middle after three seconds.
        let at = Point { x: middle.x - 3.0 * velocity.x, y: middle.y - 3.0 * velocity.y };
        let width = between(rng, 30.0, 60.0);
        Thing { at, velocity, width, height: width * between(rng, 0.8, 1.6), class: rng.below(2) as usize, begins: 0 }
    };
    (0..count).map(|_| path(rng)).collect()
}

/// Things that go left and right on lanes that overlap, behind posts.
fn lanes(rng: &mut Rng) -> Vec<Thing> {
    let count = rng.between(4, 7);
    let thing = |rng: &mut Rng| {
        let sign = rng.sign() as f32;
        let speed = between(rng, 90.0, 240.0);
        let begins = rng.between(0, 60) as usize;
        let at = Point { x: if sign > 0.0 { -30.0 } else { WIDTH as f32 + 30.0 }, y: between(rng, 80.0, 400.0) };
        let width = between(rng, 36.0, 70.0);
        let height = width * between(rng, 0.8, 1.4);
        Thing { at, velocity: Point { x: sign * speed, y: 0.0 }, width, height, class: rng.below(2) as usize, begins }
    };
    (0..count).map(|_| thing(rng)).collect()
}

/// Things on a belt, some side by side, that all move alike.
fn belt(rng: &mut Rng, share: f32) -> Vec<Thing> {
    let velocity = Point { x: share * between(rng, 80.0, 220.0), y: 0.0 };
    let width = between(rng, 36.0, 60.0);
    let mut x = 600.0;
    let mut things = Vec::new();
    for _ in 0..30 {
        for lane in 0..2 {
            if rng.chance(60) {
                let at = Point { x: x + between(rng, -8.0, 8.0), y: 170.0 + 130.0 * lane as f32 };
                things.push(Thing { at, velocity, width, height: width, class: rng.below(2) as usize, begins: 0 });
            }
        }
        x -= width * between(rng, 1.2, 2.5);
    }
    things
}

/// Small things that come one after the other, a long way in each frame.
fn fast(rng: &mut Rng) -> Vec<Thing> {
    let width = between(rng, 14.0, 22.0);
    let step = width * between(rng, 1.0, 1.8);
    let velocity = Point { x: step * RATE as f32, y: 0.0 };
    let gap = (2.6 * step).max(4.0 * width);
    (0..20)
        .map(|number| {
            let at =
                Point { x: -gap * number as f32 - between(rng, 0.0, 0.3 * gap), y: 240.0 + between(rng, -4.0, 4.0) };
            Thing { at, velocity, width, height: width, class: 0, begins: 0 }
        })
        .collect()
}

/// What a model finds: what stands later in the list covers what stands before it.
fn look(rng: &mut Rng, kind: Kind, frame: usize, things: &[Thing], posts: &[(f32, f32)]) -> Vec<Found> {
    let mut found = Vec::new();
    for (truth, thing) in things.iter().enumerate() {
        let whole = BoxPx::from_center(thing.at.x, thing.at.y, thing.width, thing.height);
        let mut seen = whole.clipped(WIDTH as f32, HEIGHT as f32);
        for &(left, right) in posts {
            if seen.x1 >= left && seen.x1 < right {
                seen.x1 = right.min(seen.x2);
            }
            if seen.x2 > left && seen.x2 <= right {
                seen.x2 = left.max(seen.x1);
            }
        }
        let covered = |other: &Thing| {
            let over = BoxPx::from_center(other.at.x, other.at.y, other.width, other.height);
            let width = (over.x2.min(seen.x2) - over.x1.max(seen.x1)).max(0.0);
            let height = (over.y2.min(seen.y2) - over.y1.max(seen.y1)).max(0.0);
            width * height
        };
        let hidden: f32 = things[truth + 1..].iter().filter(|other| other.begins <= frame).map(covered).sum();
        let share = (seen.area() - hidden).max(0.0) / whole.area();
        // Drawn in any case, so that one thing's luck does not change another's.
        let (luck, doubt, noise) = (rng.below(100), rng.fraction() as f32, [(); 4].map(|()| between(rng, -1.0, 1.0)));
        let is_missed = match kind {
            Kind::Flicker => luck < 10,
            _ => luck < 2,
        };
        if thing.begins > frame || share < 0.3 || is_missed {
            continue;
        }
        let doubtful = kind == Kind::Flicker && luck >= 85;
        let confidence = if share < 0.6 || doubtful { 0.15 + 0.4 * doubt } else { 0.65 + 0.3 * doubt };
        let wobble = 0.03 * thing.width;
        let bounds = BoxPx {
            x1: tenths(seen.x1 + wobble * noise[0]),
            y1: tenths(seen.y1 + wobble * noise[1]),
            x2: tenths(seen.x2 + wobble * noise[2]),
            y2: tenths(seen.y2 + wobble * noise[3]),
        };
        found.push(Found { bounds, confidence: hundredths(confidence), class: thing.class, truth: Some(truth) });
    }
    if kind == Kind::Flicker && rng.chance(15) {
        let (x, y) = (between(rng, 30.0, 610.0), between(rng, 30.0, 450.0));
        let bounds = BoxPx::from_center(tenths(x), tenths(y), 30.0, 30.0);
        found.push(Found { bounds, confidence: hundredths(between(rng, 0.1, 0.7)), class: 0, truth: None });
    }
    found.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
    found
}

fn tenths(number: f32) -> f32 {
    (number * 10.0).round() / 10.0
}

fn hundredths(number: f32) -> f32 {
    (number * 100.0).round() / 100.0
}
