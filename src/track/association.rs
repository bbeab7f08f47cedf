//! Which detection may be which track, and how well that fits.
//!
//! Beside the overlap that ByteTrack goes by, this looks at the distance of the centres in units of the boxes: what is small
//! and fast shares no pixel with itself a frame ago. How far a track may be from where it was expected depends on how sure
//! that is, so that what was hidden is looked for farther away than what was seen a moment ago, and is believed less there.

use super::{
    assignment::Pair,
    motion::{Axis, Span, square},
};
use crate::geometry::BoxPx;

/// A track may be so far from where it was expected, in box sizes, even when that was quite sure.
const REACH: f32 = 0.5;
/// And so many standard deviations farther.
const REACH_SPREAD: f32 = 2.5;
/// But no farther than so many box sizes.
const REACH_MAX: f32 = 3.0;
/// Boxes whose areas have less than this in common, laid over each other, are not the same thing.
const SHAPE_MIN: f32 = 0.12;
/// What lies on a belt is not found farther across it, in box sizes.
const ACROSS: f32 = 0.15;
/// An axis lies across a belt whose direction has less than this along it.
const COURSE: f32 = 0.1;
/// What a fit is worth where the class differs.
const OTHER_CLASS: f32 = 0.6;
/// What a fit is worth at the place where a hidden thing was last seen, where it might have stopped.
const STOPPED: f32 = 0.5;

/// A track as the association sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    pub(super) x: Axis,
    pub(super) y: Axis,
    /// The class that it has been seen as most.
    pub(super) class: usize,
    /// From where it is expected back to where it was last seen, where it may have stopped on the way unseen.
    pub(super) back: Option<[f32; 2]>,
    /// How far it moves between two frames.
    pub(super) step: [f32; 2],
    /// The direction of the belt on which it lies, of length one, where it was hidden.
    pub(super) course: Option<[f32; 2]>,
}

/// A detection as the association sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    /// Its place in the list of detections.
    pub(super) index: usize,
    pub(super) x: Span,
    pub(super) y: Span,
    pub(super) class: usize,
    pub(super) confidence: f32,
    /// Whether it was given to a track.
    pub(super) is_taken: bool,
}

impl Candidate {
    /// The size of the box: between its width and its height.
    pub(super) fn scale(&self) -> f32 {
        (self.x.extent() + self.y.extent()) / 2.0
    }

    /// Its box.
    pub(super) fn bounds(&self) -> BoxPx {
        BoxPx { x1: self.x.low, y1: self.y.low, x2: self.x.high, y2: self.y.high }
    }
}

/// Lists the pairs of the tracks in `rows` and the candidates in `columns` that may be, with rows and columns as places in
/// these lists. `reach` narrows how far apart they may be; 1 is as usual.
pub(super) fn list_pairs(
    tracks: &[Expected],
    rows: &[usize],
    candidates: &[Candidate],
    columns: &[usize],
    reach: f32,
    pairs: &mut Vec<Pair>,
) {
    pairs.clear();
    for (row, &track) in rows.iter().enumerate() {
        for (column, &candidate) in columns.iter().enumerate() {
            let gain = fit(&tracks[track], &candidates[candidate], reach);
            if gain > 0.0 {
                pairs.push(Pair { row: row as u32, column: column as u32, gain });
            }
        }
    }
}

/// How well a detection fits a track, up to 1; zero where it is not it.
fn fit(track: &Expected, candidate: &Candidate, reach: f32) -> f32 {
    let [back_x, back_y] = track.back.unwrap_or_default();
    let (mean_x, mean_y) =
        ((track.x.extent + candidate.x.extent()) / 2.0, (track.y.extent + candidate.y.extent()) / 2.0);
    // What should have left the picture is looked for on its way only.
    let has_left = is_beyond(&track.x, candidate.x.border) || is_beyond(&track.y, candidate.y.border);
    let spread = if has_left { 0.0 } else { REACH_SPREAD };
    let reach_x = reach * reach_of(&track.x, spread, mean_x, track.step[0]);
    let reach_y = reach * reach_of(&track.y, spread, mean_y, track.step[1]);
    let (away_x, away_y) = (candidate.x.centre() - track.x.at, candidate.y.centre() - track.y.at);
    // Most pairs end here.
    if away_x.abs() > reach_x + back_x.abs() + mean_x || away_y.abs() > reach_y + back_y.abs() + mean_y {
        return 0.0;
    }
    // What lies on a belt does not move across it.
    let is_across = |course: f32, axis: &Axis, span: Span, mean: f32| {
        let (low, high) = (axis.at - axis.extent / 2.0 - span.low, axis.at + axis.extent / 2.0 - span.high);
        course.abs() < COURSE && low.abs().min(high.abs()) > ACROSS * mean
    };
    if let Some([x, y]) = track.course
        && (is_across(x, &track.x, candidate.x, mean_x) || is_across(y, &track.y, candidate.y, mean_y))
    {
        return 0.0;
    }
    let (mut reach_x, mut reach_y) = (reach_x, reach_y);
    let mut offset = [away_x, away_y];
    let mut worth = 1.0;
    let length = square(back_x) + square(back_y);
    if length > 0.0 {
        // The nearest place on the way from where it is expected back to where it was last seen.
        let share = ((away_x * back_x + away_y * back_y) / length).clamp(0.0, 1.0);
        offset = [offset[0] - share * back_x, offset[1] - share * back_y];
        worth = 1.0 - (1.0 - STOPPED) * share;
        // The nearer to where it was last seen, the less there is to be unsure about.
        reach_x -= share * (reach_x - (reach * REACH * mean_x).min(reach_x));
        reach_y -= share * (reach_y - (reach * REACH * mean_y).min(reach_y));
    }
    let shape = ratio(track.x.extent, candidate.x.extent()) * ratio(track.y.extent, candidate.y.extent());
    let is_same = track.class == candidate.class;
    // What is called otherwise has to be nearer.
    let limit = if is_same { 1.0 } else { OTHER_CLASS };
    let distance = square(offset[0] / (limit * reach_x)) + square(offset[1] / (limit * reach_y));
    if shape < SHAPE_MIN || distance >= 1.0 {
        return 0.0;
    }
    let vague = (reach_x / mean_x).max(reach_y / mean_y);
    let trust = 1.0 / (1.0 + 0.5 * (vague - REACH * reach).max(0.0));
    (1.0 - distance) * worth * trust * limit * (0.4 + 0.6 * shape) * (0.9 + 0.1 * candidate.confidence.min(1.0))
}

/// How far a track may be from where it is expected, in pixels.
fn reach_of(axis: &Axis, spread: f32, mean: f32, step: f32) -> f32 {
    (REACH * mean + spread * axis.spread() + step.abs()).min(REACH_MAX * mean)
}

/// Whether it is expected outside of the picture.
fn is_beyond(axis: &Axis, border: f32) -> bool {
    axis.at < 0.0 || axis.at > border
}

fn ratio(a: f32, b: f32) -> f32 {
    a.min(b) / a.max(b)
}
