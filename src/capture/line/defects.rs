//! The six defects of DeepPCB, drawn where each of them can be and nowhere else.
//!
//! A defect counts only if the picture shows it: after drawing, the parts of copper and bare board around it are counted,
//! once as drawn and once with the stroke thicker or thinner, so that the raggedness of edges can neither hide a defect
//! nor turn one kind into another. Boxes lie around the changed pixels as DeepPCB's do.

use super::{
    board::Board,
    brush::{self, Dab},
    raster::Bitmap,
    window::Window,
};
use crate::{detection::Label, geometry::BoxPx, random::Rng};

/// The names of the defects; a label's class is the index into this list.
pub const CLASSES: [&str; 6] = ["open", "short", "mousebite", "spur", "copper", "pin-hole"];

/// A kind of defect, in the order of [`CLASSES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Open,
    Short,
    Mousebite,
    Spur,
    Copper,
    PinHole,
}

const KINDS: [Kind; 6] = [Kind::Open, Kind::Short, Kind::Mousebite, Kind::Spur, Kind::Copper, Kind::PinHole];

/// What is drawn, each as often as it stands here. A board may have no place for one kind, and another is drawn then: kinds
/// that need a certain place are tried more often, so that in the end all are about as frequent.
const DRAWN: [Kind; 24] = {
    use Kind::*;
    [
        Open, Open, Open, Short, Short, Short, Short, Short, Mousebite, Mousebite, Mousebite, Mousebite, Spur, Spur,
        Spur, Spur, Copper, Copper, Copper, PinHole, PinHole, PinHole, PinHole, PinHole,
    ]
};

/// DeepPCB's boxes begin so many pixels before the first changed one, and end so many behind the last.
const MARGIN_PX: (i32, i32) = (10, 9);
/// Defects stay so far from the edges of the picture, and the boxes of two so far apart.
const EDGE_PX: i32 = 14;
const APART_PX: i32 = 5;
/// A defect with fewer changed pixels could be taken for a ragged edge.
const AREA_PX_MIN: i32 = 26;
/// How often a place for a defect of one kind is looked for.
const TRIES: i32 = 400;
/// No search for the other side of a gap or a trace goes further.
const REACH_PX: i32 = 48;

/// Draws defects, and keeps the memory for it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Defects {
    dabs: Vec<Dab>,
    before: Window,
    after: Window,
    tried: Window,
    /// The least distance from the edges of the picture.
    edge_px: i32,
}

impl Defects {
    /// Draws up to `count` defects of random kinds on the board, `beyond_px` further from the picture's edges than the
    /// least, and adds their labels. On a board that has no place left there are fewer.
    pub(crate) fn draw(
        &mut self,
        rng: &mut Rng,
        board: &mut Board,
        beyond_px: i32,
        count: i32,
        labels: &mut Vec<Label>,
    ) {
        self.edge_px = EDGE_PX + beyond_px;
        for _ in 0..count {
            let first = rng.pick(&DRAWN);
            let turn = rng.pick(&[1, 5]);
            let placed = (0..6).any(|i| self.place(KINDS[(first as usize + i * turn) % 6], rng, board, labels));
            if !placed {
                return;
            }
        }
    }

    fn place(&mut self, kind: Kind, rng: &mut Rng, board: &mut Board, labels: &mut Vec<Label>) -> bool {
        (0..TRIES).any(|_| {
            self.dabs.clear();
            if !propose(kind, &mut self.dabs, rng, board) {
                return false;
            }
            let Some(bounds) = self.judge(kind, &board.copper, labels) else { return false };
            for dab in &self.dabs {
                dab.spans(0, |y, from, to| board.copper.set(y, from, to, adds_copper(kind)));
            }
            labels.push(Label { class: kind as usize, bounds });
            true
        })
    }

    /// The box of the proposed defect if it is one of its kind, in sight, and apart from the others.
    fn judge(&mut self, kind: Kind, copper: &Bitmap, labels: &[Label]) -> Option<BoxPx> {
        let around = bounds_of(&self.dabs);
        let inside = around[0].min(around[1]) >= self.edge_px
            && around[2] <= copper.width() - self.edge_px
            && around[3] <= copper.height() - self.edge_px;
        if !inside || !is_apart(boxed(around), labels) {
            return None;
        }
        if matches!(kind, Kind::Copper | Kind::PinHole) && !self.is_clear(copper, kind == Kind::PinHole) {
            return None;
        }
        const SIGHT_PX: i32 = 9;
        let (x, y) = (around[0] - SIGHT_PX, around[1] - SIGHT_PX);
        let (width, height) = (around[2] + SIGHT_PX - x, around[3] + SIGHT_PX - y);
        self.before.copy(copper, x, y, width, height);
        self.after.copy_from(&self.before);
        self.after.paint(&self.dabs, 0, adds_copper(kind));
        let (area, changed) = self.before.difference(&self.after)?;
        // What an edge lacks is harder to see than what sticks out of it.
        let area_min = if kind == Kind::Mousebite { AREA_PX_MIN * 3 / 2 } else { AREA_PX_MIN };
        // A stroke that begins in copper is longer than what it changes; a box goes around what is seen.
        (area >= area_min && self.is_of_kind(kind)).then(|| boxed(changed))
    }

    /// Whether copper, or bare board, is all around the strokes.
    fn is_clear(&self, copper: &Bitmap, in_copper: bool) -> bool {
        let by_halves = if in_copper { 7 } else { 9 };
        self.dabs.iter().all(|dab| {
            let mut clear = true;
            dab.spans(by_halves, |y, from, to| clear = clear && copper.is_even(y, from, to, in_copper));
            clear
        })
    }

    /// Whether the parts in the window change as the kind has it, whatever the raggedness of the edges adds or takes.
    fn is_of_kind(&mut self, kind: Kind) -> bool {
        let before = self.before.parts();
        let mut gained = |dabs: &[Dab], by_halves: i32| {
            self.tried.copy_from(&self.before);
            self.tried.paint(dabs, by_halves, adds_copper(kind));
            let parts = self.tried.parts();
            (parts.copper - before.copper, parts.bare - before.bare)
        };
        let dabs = &self.dabs;
        match kind {
            Kind::Open => [0, -2, 4].iter().all(|&by| gained(dabs, by) == (1, -1)),
            Kind::Short => [0, -1].iter().all(|&by| gained(dabs, by) == (-1, 1)) && gained(dabs, 6).0 == -1,
            Kind::Mousebite => [0, 5].iter().all(|&by| gained(dabs, by) == (0, 0)),
            Kind::Spur => [0, 9].iter().all(|&by| gained(dabs, by) == (0, 0)),
            Kind::Copper => gained(dabs, 0) == (1, 0),
            Kind::PinHole => gained(dabs, 0) == (0, 1),
        }
    }
}

/// Whether the defect is copper where there should be none, and not the other way round.
fn adds_copper(kind: Kind) -> bool {
    matches!(kind, Kind::Short | Kind::Spur | Kind::Copper)
}

/// Strokes that may be such a defect at a random place; false where the place has no such thing.
fn propose(kind: Kind, dabs: &mut Vec<Dab>, rng: &mut Rng, board: &Board) -> bool {
    match kind {
        Kind::Open => propose_open(dabs, rng, board),
        Kind::Short => propose_short(dabs, rng, &board.copper),
        Kind::Mousebite => propose_mousebite(dabs, rng, &board.copper),
        Kind::Spur => propose_spur(dabs, rng, &board.copper),
        Kind::Copper => propose_spot(dabs, rng, &board.copper, false),
        Kind::PinHole => propose_spot(dabs, rng, &board.copper, true),
    }
}

/// A cut across a trace.
fn propose_open(dabs: &mut Vec<Dab>, rng: &mut Rng, board: &Board) -> bool {
    if board.runs.is_empty() {
        return false;
    }
    let run = rng.pick(&board.runs);
    let (dx, dy) = (run.to.0 - run.from.0, run.to.1 - run.from.1);
    let length = dx.abs().max(dy.abs());
    let t = rng.between(length / 8, length * 7 / 8);
    let at = (run.from.0 + dx.signum() * t, run.from.1 + dy.signum() * t);
    if length < 12 || !board.copper.get(at.0, at.1) {
        return false;
    }
    let along = direction_of(dx.signum(), dy.signum());
    // Where a pad or another piece joins, the trace is no trace.
    let is_trace = [4, -4].iter().all(|turn| {
        let (x, y) = brush::step(at, along + turn, run.width / 2 + 4);
        !board.copper.get(x, y)
    });
    if !is_trace {
        return false;
    }
    let reach = run.width / 2 + 4;
    let slant = rng.between(-run.width / 3 - 2, run.width / 3 + 2);
    let ends = [4, -4].map(|turn| {
        let side = brush::step(at, along + turn, reach);
        brush::step(side, along, slant * turn.signum())
    });
    // Narrow traces lack a piece, wide ones have a crack.
    let radii = match run.width {
        ..16 => rng.pick(&[(4, 7), (5, 10), (6, 13)]),
        16..30 => rng.pick(&[(4, 6), (5, 9)]),
        _ => rng.pick(&[(4, 5), (4, 7)]),
    };
    let stray = if run.width < 16 { 1 } else { 3 };
    brush::stroke(dabs, rng, ends[0], ends[1], radii, stray);
    if rng.chance(40) && run.width < 30 {
        let aside = rng.sign() * rng.between(2, 7);
        let ends = ends.map(|end| brush::step(end, along, aside));
        brush::stroke(dabs, rng, ends[0], ends[1], radii, stray);
    }
    true
}

/// A bridge from one conductor to the next.
fn propose_short(dabs: &mut Vec<Dab>, rng: &mut Rng, copper: &Bitmap) -> bool {
    let at = anywhere(rng, copper);
    if copper.get(at.0, at.1) {
        return false;
    }
    let direction = rng.below(8) * 2;
    let (Some(there), Some(back)) = (distance(copper, at, direction, true), distance(copper, at, direction + 8, true))
    else {
        return false;
    };
    let gap = there + back;
    // Nobody's eye would join what is far apart, and most shorts are between neighbours.
    if !(6..=REACH_PX).contains(&gap) || (gap > 26 && !rng.chance(25)) {
        return false;
    }
    let from = brush::step(at, direction, there + 2);
    let to = brush::step(at, direction + 8, back + 2);
    let slant = rng.between(-gap / 4, gap / 4);
    let to = brush::step(to, direction + 4, slant);
    let radii = rng.pick(&[(3, 5), (4, 7), (4, 9), (6, 11)]);
    brush::stroke(dabs, rng, from, to, radii, 2);
    true
}

/// A bite out of an edge.
fn propose_mousebite(dabs: &mut Vec<Dab>, rng: &mut Rng, copper: &Bitmap) -> bool {
    let Some((edge, inwards)) = edge(rng, copper, true) else { return false };
    let thickness = distance(copper, brush::step(edge, inwards, 1), inwards, false).unwrap_or(REACH_PX);
    // What is left must be seen to hold.
    let deepest = (thickness * 6 / 10).min(thickness - 4).min(24);
    if deepest < 4 {
        return false;
    }
    let depth = rng.between(4.max(deepest / 2), deepest).min(rng.between(8, 24));
    let radius = if depth < 7 { rng.between(4, 2 * depth - 4) } else { rng.between(4, depth.min(9)) };
    let from = brush::step(edge, inwards + 8, 2);
    let to = brush::step(edge, inwards, depth - (radius + 1) / 2);
    let to = brush::step(to, inwards + 4, rng.between(-depth, depth));
    brush::stroke(dabs, rng, from, to, (4.min(radius), radius), 1);
    if depth < 8 || rng.chance(30) {
        // A shallow bite is a wide one, or it would not be seen.
        let aside = rng.sign() * rng.between(3, 7);
        let (from, to) = (brush::step(from, inwards + 4, aside), brush::step(to, inwards + 4, aside));
        brush::stroke(dabs, rng, from, to, (4.min(radius), radius), 1);
    }
    true
}

/// A thorn on an edge.
fn propose_spur(dabs: &mut Vec<Dab>, rng: &mut Rng, copper: &Bitmap) -> bool {
    let Some((edge, outwards)) = edge(rng, copper, false) else { return false };
    let room = distance(copper, brush::step(edge, outwards, 1), outwards, true).unwrap_or(REACH_PX);
    let longest = (room - 5).min(24);
    if longest < 5 {
        return false;
    }
    let length = rng.between(5.max(longest / 2), longest).min(rng.between(8, 24));
    let radius = if length < 8 { rng.between(4, 8) } else { rng.between(4, length.min(10)) };
    let from = brush::step(edge, outwards + 8, 2);
    let to = brush::step(edge, outwards, (length - radius / 2).max(2));
    let to = brush::step(to, outwards + 4, rng.between(-length, length));
    brush::stroke(dabs, rng, from, to, (4.min(radius), radius), 1);
    true
}

/// A spot of copper on bare board, or bare board in copper.
fn propose_spot(dabs: &mut Vec<Dab>, rng: &mut Rng, copper: &Bitmap, in_copper: bool) -> bool {
    let at = anywhere(rng, copper);
    if copper.get(at.0, at.1) != in_copper {
        return false;
    }
    let largest = if rng.chance(70) { 20 } else { 44 };
    let size = rng.between(8, largest);
    brush::spot(dabs, rng, at, size);
    true
}

/// A pixel of copper at an edge, and the direction across the edge: into the copper, or away from it.
fn edge(rng: &mut Rng, copper: &Bitmap, inwards: bool) -> Option<((i32, i32), i32)> {
    let at = anywhere(rng, copper);
    if !copper.get(at.0, at.1) {
        return None;
    }
    let outwards = rng.below(8) * 2;
    let depth = distance(copper, at, outwards, false)?;
    let edge = brush::step(at, outwards, depth - 1);
    // To both sides the edge goes on at nearly the same depth, or the direction is not across it.
    let is_across = [4, -4].iter().all(|turn| {
        let beside = brush::step(edge, outwards + turn, 7);
        let inside = brush::step(beside, outwards + 8, 2);
        let outside = brush::step(beside, outwards, 3);
        copper.get(inside.0, inside.1) && !copper.get(outside.0, outside.1)
    });
    is_across.then_some((edge, if inwards { outwards + 8 } else { outwards }))
}

/// How many pixels away in this direction the first pixel is that is copper, or that is not; `None` beyond the reach.
fn distance(copper: &Bitmap, at: (i32, i32), direction: i32, to_copper: bool) -> Option<i32> {
    (1..REACH_PX).find(|&length| {
        let (x, y) = brush::step(at, direction, length);
        copper.get(x, y) == to_copper
    })
}

/// One of the sixteen directions from the signs of a diagonal or an axis.
fn direction_of(dx: i32, dy: i32) -> i32 {
    match (dx, dy) {
        (1, 1) => 2,
        (0, 1) => 4,
        (-1, 1) => 6,
        (-1, 0) => 8,
        (-1, -1) => 10,
        (0, -1) => 12,
        (1, -1) => 14,
        _ => 0,
    }
}

fn anywhere(rng: &mut Rng, copper: &Bitmap) -> (i32, i32) {
    (rng.between(EDGE_PX, copper.width() - EDGE_PX), rng.between(EDGE_PX, copper.height() - EDGE_PX))
}

/// The box around the dabs, with exclusive ends.
fn bounds_of(dabs: &[Dab]) -> [i32; 4] {
    let mut bounds = [i32::MAX, i32::MAX, i32::MIN, i32::MIN];
    for dab in dabs {
        dab.spans(0, |y, from, to| {
            bounds = [bounds[0].min(from), bounds[1].min(y), bounds[2].max(to), bounds[3].max(y + 1)];
        });
    }
    bounds
}

/// The box of a label around changed pixels.
fn boxed([x0, y0, x1, y1]: [i32; 4]) -> BoxPx {
    let (before, behind) = MARGIN_PX;
    let [x1, y1, x2, y2] = [x0 - before, y0 - before, x1 + behind, y1 + behind].map(|at| at as f32);
    BoxPx { x1, y1, x2, y2 }
}

fn is_apart(bounds: BoxPx, labels: &[Label]) -> bool {
    let apart = APART_PX as f32;
    labels.iter().all(|Label { bounds: other, .. }| {
        bounds.x2 + apart < other.x1
            || other.x2 + apart < bounds.x1
            || bounds.y2 + apart < other.y1
            || other.y2 + apart < bounds.y1
    })
}
