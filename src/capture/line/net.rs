//! Conductors of a board: what belongs together is planned as one net, and drawn only where there is room for all of it.
//!
//! Traces run along one axis of the board with bends of 45°, never back, so that a trace cannot meet itself. Which nets a
//! board has is left to `board`.

use super::raster::{Bitmap, Corner, Shape};
use crate::random::Rng;

/// Copper that belongs together, and the holes that are drilled into it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Net {
    copper: Vec<Shape>,
    holes: Vec<Shape>,
    runs: Vec<Run>,
}

/// A straight piece of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// Where it begins, as column and row.
    pub(crate) from: (i32, i32),
    /// Where it ends.
    pub(crate) to: (i32, i32),
    /// Width across, in pixels.
    pub(crate) width: i32,
}

/// What a trace ends in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Nothing: the trace leaves the picture.
    Beyond,
    /// A disc with this radius, and a hole with that one where it is not zero.
    Via(i32, i32),
    /// A rectangle, so long along the trace and so wide across.
    Pad(i32, i32),
}

/// The axis along which a trace runs, and which way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heading {
    /// Along the columns instead of the rows.
    pub(crate) upright: bool,
    /// Pixels along the axis where the way leads backwards, else zero.
    pub(crate) mirrored: Option<i32>,
}

impl Heading {
    /// A point `along` the axis and `across` it, as column and row.
    pub(crate) fn point(self, (along, across): (i32, i32)) -> (i32, i32) {
        let along = self.mirrored.map_or(along, |length| length - 1 - along);
        if self.upright { (across, along) } else { (along, across) }
    }
}

/// The corners of a trace, as pixels along a heading and across it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Path {
    corners: Vec<(i32, i32)>,
}

impl Path {
    /// A way from `start` on until `along_end`, with straight pieces and bends to both sides in turn or at random.
    ///
    /// `straight` and `bend` are the shortest and longest of each, in pixels along the way.
    pub(crate) fn wander(
        &mut self,
        rng: &mut Rng,
        start: (i32, i32),
        along_end: i32,
        straight: (i32, i32),
        bend: (i32, i32),
    ) {
        self.corners.clear();
        self.corners.push(start);
        let (mut along, mut across) = start;
        loop {
            let next = along + rng.between(straight.0, straight.1);
            let length = rng.between(bend.0, bend.1);
            if next + length + straight.0 > along_end {
                break;
            }
            self.corners.push((next, across));
            across += rng.sign() * length;
            along = next + length;
            self.corners.push((along, across));
        }
        self.corners.push((along_end, across));
    }

    /// The same way for a trace that runs beside it at a distance of `offset` pixels: `beside` becomes its path.
    ///
    /// A corner moves by the offset across, and along by the offset times tan 22.5°, so that the distance is kept in the
    /// bends too.
    pub(crate) fn beside(&self, offset: i32, beside: &mut Self) {
        beside.corners.clear();
        let last = self.corners.len() - 1;
        for (i, &(along, across)) in self.corners.iter().enumerate() {
            // The piece at 45° is behind every second corner, and before the others.
            let slope = match i {
                0 => 0,
                i if i == last => 0,
                i if i % 2 == 1 => (self.corners[i + 1].1 - across).signum(),
                i => (across - self.corners[i - 1].1).signum(),
            };
            beside.corners.push((along - slope * offset * 106 / 256, across + offset));
        }
    }

    /// Moves the first and the last corner along the way.
    pub(crate) fn trim(&mut self, start: i32, end: i32) {
        if let Some(first) = self.corners.first_mut() {
            first.0 += start;
        }
        if let Some(last) = self.corners.last_mut() {
            last.0 -= end;
        }
    }

    /// Whether every piece still leads onwards.
    fn is_whole(&self) -> bool {
        self.corners.windows(2).all(|pair| pair[0].0 < pair[1].0)
    }
}

impl Net {
    /// Begins a new net.
    pub(crate) fn clear(&mut self) {
        self.copper.clear();
        self.holes.clear();
        self.runs.clear();
    }

    /// Adds a piece of copper.
    pub(crate) fn copper(&mut self, shape: Shape) {
        self.copper.push(shape);
    }

    /// Adds a disc with a hole in it where `hole` is not zero.
    pub(crate) fn via(&mut self, (x, y): (i32, i32), radius: i32, hole: i32) {
        self.copper.push(Shape::Disc { x, y, radius });
        if hole > 0 {
            self.holes.push(Shape::Disc { x, y, radius: hole });
        }
    }

    /// Adds a trace `width` pixels wide with its ends; false where the path is none.
    pub(crate) fn trace(&mut self, path: &Path, heading: Heading, width: i32, ends: [End; 2]) -> bool {
        if !path.is_whole() {
            return false;
        }
        for pair in path.corners.windows(2) {
            let (from, to) = (heading.point(pair[0]), heading.point(pair[1]));
            self.copper.push(Shape::piece(from.0, from.1, to.0, to.1, width));
            self.runs.push(Run { from, to, width });
        }
        for &corner in &path.corners[1..path.corners.len() - 1] {
            let (x, y) = heading.point(corner);
            self.copper.push(Shape::Disc { x, y, radius: (width - 1) / 2 });
        }
        let corners = [path.corners[0], path.corners[path.corners.len() - 1]];
        for (end, corner) in ends.into_iter().zip(corners) {
            let (x, y) = heading.point(corner);
            match end {
                End::Beyond => {}
                End::Via(radius, hole) => self.via((x, y), radius, hole),
                End::Pad(long, wide) => {
                    let (pad_width, pad_height) = if heading.upright { (wide, long) } else { (long, wide) };
                    self.copper.push(Shape::rect(x, y, pad_width, pad_height, Corner::Square));
                }
            }
        }
        true
    }

    /// Draws the net if nothing else is nearer than `clearance` pixels, and says whether it did.
    pub(crate) fn place(&self, board: &mut Bitmap, runs: &mut Vec<Run>, clearance: i32) -> bool {
        if !self.copper.iter().all(|shape| board.is_bare(shape.grown(clearance))) {
            return false;
        }
        for &shape in &self.copper {
            board.draw(shape, true);
        }
        for &hole in &self.holes {
            board.draw(hole, false);
        }
        runs.extend_from_slice(&self.runs);
        true
    }
}
