//! Parts on a belt: they come from the left, at random distances, in one or several lanes, and go to the right.

use std::{collections::VecDeque, time::Duration};

use super::{Deed, Hand, Happening, Motion, Pace, Thing, cover::look, from_range};
use crate::{
    geometry::{BoxPx, Size},
    random::Rng,
};

/// What lies on a belt, and how it goes.
#[derive(Clone, Debug, PartialEq)]
pub struct BeltSettings {
    /// Another seed, other parts.
    pub seed: u64,
    /// The picture.
    pub size: Size,
    /// How it goes.
    pub pace: Pace,
    /// Rows of parts side by side; at least 1.
    pub lanes: u32,
    /// Length of a part along the belt and its width across, in pixels.
    pub part_px: (f64, f64),
    /// Free belt between parts of a lane, in pixels, least and most.
    pub gap_px: (f64, f64),
    /// Class of the parts.
    pub part_class: usize,
    /// Classes of flaws.
    pub flaw_classes: Vec<usize>,
    /// Side of a flaw, in pixels.
    pub flaw_px: f64,
    /// How many parts of a hundred have flaws,
    pub bad_percent: i32,
    /// and how many they have at the most.
    pub flaws_max: i32,
    /// So many parts come; `None`: they never end.
    pub count: Option<u64>,
    /// Where the line lies that they cross, in pixels from the left edge.
    pub line_px: f64,
    /// Something that stands before the belt from the upper to the lower edge: from here to there, in pixels.
    pub post_px: Option<(f32, f32)>,
    /// How long it takes until a hand passes again, in seconds, least and most; `None`: no hand.
    pub hand_every_s: Option<(f64, f64)>,
}

impl Default for BeltSettings {
    fn default() -> Self {
        Self {
            seed: 0,
            size: Size { width: 640, height: 480 },
            pace: Pace::even(160.0),
            lanes: 1,
            part_px: (120.0, 140.0),
            gap_px: (30.0, 200.0),
            part_class: 0,
            flaw_classes: vec![1],
            flaw_px: 24.0,
            bad_percent: 30,
            flaws_max: 3,
            count: None,
            line_px: 384.0,
            post_px: None,
            hand_every_s: None,
        }
    }
}

/// A part.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// Its number.
    pub id: u64,
    /// Where its centre lies on the belt: so far the belt has to move until it is at the left edge of the picture, in pixels.
    pub at_px: f64,
    /// Where its centre lies across the belt, in pixels from the upper edge of the picture.
    pub across_px: f64,
    /// What is wrong with it.
    pub flaws: Vec<Flaw>,
    /// Its centre is beyond the line.
    beyond: bool,
}

/// Something that is wrong with a part.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Flaw {
    /// Its own number.
    pub id: u64,
    /// Index of its class.
    pub class: usize,
    /// Its centre, in pixels to the right of and below that of the part.
    pub offset_px: (f64, f64),
}

/// A belt at work. Moments are told since it started, and never go back.
#[derive(Clone, Debug)]
pub struct Belt {
    settings: BeltSettings,
    motion: Motion,
    hand: Option<Hand>,
    rng: Rng,
    /// Per lane, where the centre of the next part lies on the belt.
    next_px: Vec<f64>,
    parts: VecDeque<Part>,
    made: u64,
    ids: u64,
    at: Duration,
    position_px: f64,
    things: Vec<Thing>,
    covers: Vec<BoxPx>,
    happened: Vec<Happening>,
}

impl Belt {
    /// The belt is looked at so often at least, so that no crossing is missed.
    const STEP: Duration = Duration::from_millis(20);

    /// A belt whose first part comes after a gap.
    pub fn new(settings: BeltSettings) -> Self {
        let mut rng = Rng::new(settings.seed, 3);
        let half = settings.part_px.0 / 2.0;
        let next_px = (0..settings.lanes.max(1)).map(|_| half + from_range(&mut rng, settings.gap_px)).collect();
        Self {
            motion: Motion::new(settings.seed, settings.pace),
            hand: settings.hand_every_s.map(|every| Hand::new(settings.seed, settings.size, every)),
            settings,
            rng,
            next_px,
            parts: VecDeque::new(),
            made: 0,
            ids: 0,
            at: Duration::ZERO,
            position_px: 0.0,
            things: Vec::new(),
            covers: Vec::new(),
            happened: Vec::new(),
        }
    }

    /// Everything that is in the picture at a moment, parts before their flaws; also what cannot be seen, as it is covered.
    pub fn truth(&mut self, at: Duration) -> &[Thing] {
        while self.at + Self::STEP < at {
            let next = self.at + Self::STEP;
            self.advance(next);
        }
        self.advance(at);
        self.look();
        &self.things
    }

    /// What stands before the things at the moment that was asked for last: the post, and the hand.
    pub fn covers(&self) -> &[BoxPx] {
        &self.covers
    }

    /// Parts on the belt, oldest first, some of them not yet or no more in the picture.
    pub fn parts(&self) -> impl Iterator<Item = &Part> {
        self.parts.iter()
    }

    /// Left edge, upper edge, right edge and lower edge of a part at the moment that was asked for last.
    pub fn bounds(&self, part: &Part) -> BoxPx {
        let (length, width) = self.settings.part_px;
        boxed(self.position_px - part.at_px, part.across_px, length, width)
    }

    /// Hands over what happened since this was called last, oldest first.
    pub fn happened(&mut self) -> Vec<Happening> {
        std::mem::take(&mut self.happened)
    }

    /// All parts have come and left.
    pub fn over(&self) -> bool {
        self.parts.is_empty() && self.settings.count.is_some_and(|count| self.made >= count)
    }

    fn advance(&mut self, at: Duration) {
        let (from, from_px) = (self.at, self.position_px);
        (self.at, self.position_px) = (at, self.motion.position_px(at));
        self.lay();
        let Self { settings, happened, position_px, .. } = self;
        for part in &mut self.parts {
            let line_px = settings.line_px + part.at_px;
            let beyond = *position_px > line_px;
            if beyond != part.beyond {
                part.beyond = beyond;
                let share = ((line_px - from_px) / (*position_px - from_px)).clamp(0.0, 1.0);
                let deed = if beyond { Deed::Crossed } else { Deed::CrossedBack };
                let at = from + (at - from).mul_f64(share);
                happened.push(Happening { at, id: part.id, class: settings.part_class, deed });
            }
        }
        let out_px = f64::from(settings.size.width) + settings.part_px.0 / 2.0 + settings.pace.back_px_max;
        self.parts.retain(|part| {
            let out = *position_px - part.at_px > out_px;
            if out {
                let deed = Deed::Left { good: part.flaws.is_empty() };
                happened.push(Happening { at, id: part.id, class: settings.part_class, deed });
            }
            !out
        });
    }

    /// Lays parts on the belt that are about to come into the picture.
    fn lay(&mut self) {
        let length = self.settings.part_px.0;
        for lane in 0..self.next_px.len() {
            while self.next_px[lane] < self.position_px + length {
                if self.settings.count.is_some_and(|count| self.made >= count) {
                    return;
                }
                let part = self.make(lane);
                self.next_px[lane] += length + from_range(&mut self.rng, self.settings.gap_px);
                self.parts.push_back(part);
            }
        }
    }

    fn make(&mut self, lane: usize) -> Part {
        let (length, width) = self.settings.part_px;
        let row_px = f64::from(self.settings.size.height) / self.next_px.len() as f64;
        let free_px = ((row_px - width) / 4.0).max(0.0);
        let across_px = (lane as f64 + 0.5) * row_px + from_range(&mut self.rng, (-free_px, free_px));
        self.made += 1;
        self.ids += 1;
        let id = self.ids;
        let bad = self.rng.chance(self.settings.bad_percent) && !self.settings.flaw_classes.is_empty();
        let count = if bad { self.rng.between(1, self.settings.flaws_max) } else { 0 };
        let (along, over) = ((length - self.settings.flaw_px) / 2.0, (width - self.settings.flaw_px) / 2.0);
        let mut flaws = Vec::with_capacity(usize::try_from(count).unwrap_or(0));
        for _ in 0..count {
            self.ids += 1;
            let class = self.rng.pick(&self.settings.flaw_classes);
            let right = from_range(&mut self.rng, (-along, along));
            let down = from_range(&mut self.rng, (-over, over));
            flaws.push(Flaw { id: self.ids, class, offset_px: (right, down) });
        }
        Part { id, at_px: self.next_px[lane], across_px, flaws, beyond: false }
    }

    fn look(&mut self) {
        let BeltSettings { size, part_px, part_class, flaw_px, post_px, .. } = self.settings;
        self.covers.clear();
        self.covers.extend(post_px.map(|(x1, x2)| BoxPx { x1, y1: 0.0, x2, y2: size.height as f32 }));
        self.covers.extend(self.hand.as_mut().and_then(|hand| hand.bounds(self.at)));
        self.things.clear();
        let Self { things, covers, parts, position_px, .. } = self;
        let mut add = |id, on, class, bounds: BoxPx| {
            let mut thing = Thing { id, on, class, bounds, shown: bounds, visible: 1.0 };
            look(&mut thing, size, covers);
            if bounds.clipped(size.width as f32, size.height as f32).area() > 0.0 {
                things.push(thing);
            }
        };
        for part in parts.iter() {
            let (x, y) = (*position_px - part.at_px, part.across_px);
            add(part.id, None, part_class, boxed(x, y, part_px.0, part_px.1));
            for &Flaw { id, class, offset_px: (right, down) } in &part.flaws {
                add(id, Some(part.id), class, boxed(x + right, y + down, flaw_px, flaw_px));
            }
        }
    }
}

fn boxed(x: f64, y: f64, width: f64, height: f64) -> BoxPx {
    BoxPx::from_center(x as f32, y as f32, width as f32, height as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_crosses_once_more_than_it_comes_back_and_leaves_once() {
        let pace = Pace {
            factor: (0.2, 3.0),
            hold_s: (0.5, 4.0),
            ramp_s: 0.3,
            stop_percent: 20,
            back_percent: 20,
            back_px_max: 150.0,
            ..Pace::even(160.0)
        };
        let mut belt = Belt::new(BeltSettings { pace, lanes: 2, count: Some(300), ..BeltSettings::default() });
        let (mut at, mut happened, mut most) = (Duration::ZERO, Vec::new(), 0);
        while !belt.over() {
            at += Duration::from_millis(70);
            most = most.max(belt.truth(at).iter().filter(|thing| thing.on.is_none()).count());
            happened.extend(belt.happened());
        }
        let count = |deed: Deed| happened.iter().filter(|happening| happening.deed == deed).count();
        let (good, bad) = (count(Deed::Left { good: true }), count(Deed::Left { good: false }));
        assert_eq!(good + bad, 300);
        assert!((60..120).contains(&bad), "{bad} bad");
        assert_eq!(count(Deed::Crossed), count(Deed::CrossedBack) + 300);
        assert!(count(Deed::CrossedBack) > 10);
        assert!(most >= 6, "{most} at once");
        assert!(happened.is_sorted_by_key(|happening| happening.at));
    }

    #[test]
    fn a_post_hides_what_passes_behind_it() {
        let mut belt = Belt::new(BeltSettings { post_px: Some((300.0, 380.0)), ..BeltSettings::default() });
        let mut least = 1.0_f32;
        for frame in 0..200_u64 {
            let inside = |thing: &&Thing| thing.bounds.x1 > 0.0 && thing.bounds.x2 < 640.0;
            let things = belt.truth(Duration::from_millis(frame * 50));
            least = things.iter().filter(inside).map(|thing| thing.visible).fold(least, f32::min);
        }
        assert!(least < 0.4, "{least}");
    }
}
