//! Where a belt has gone while nobody looked: the one step that all remembered things made together, found by what is seen
//! after the gap. Things on a belt keep their distances, along it and across, so that two of them or three tell it; where
//! only one is left, its place across the belt and the speed before do.
//!
//! Each step that would bring some remembered thing onto some detection is weighed against the others, and against all
//! having left. The weights are natural logarithms of likelihoods, rounded.

use super::{
    association::Candidate,
    motion::{Span, square},
};

/// Places agree within this share of a box, and so many pixels.
const TOLERANCE: (f32, f32) = (0.035, 2.5);
/// The direction of the belt is known up to this share of the step.
const ASKEW: f32 = 0.01;
/// Sizes agree within this share.
const EXTENT: f32 = 0.15;
/// What a thing weighs that is found where a step says; the first of them is where it is by the choice of the step.
const FOUND: f32 = 6.0;
/// What that choice costs.
const CHOSEN: f32 = 3.5;
/// What a thing weighs that is not found where it should be well in view.
const MISSING: f32 = -2.8;
/// What a detection weighs where nothing was that should have been in view before.
const STRANGE: f32 = -3.5;
/// How fast the likelihood falls off from the step that the speed before says.
const PRIOR: f32 = 1.5;
/// Beside the step itself, that may be so many box sizes off per second.
const WANDERS: f32 = 1.0;
/// What shows at least this share of itself, is in view.
const IN_VIEW: f32 = 0.75;
/// At most so many things and detections of a frame are looked at.
const MOST: usize = 20;
/// Of the steps that these allow, so many are weighed: those on which most agree.
const WEIGHED: usize = 16;

/// A thing as it was before the gap.
#[derive(Clone, Copy, Debug)]
pub(super) struct Remembered {
    /// Its place in the list of tracks.
    pub(super) track: usize,
    pub(super) x: Span,
    pub(super) y: Span,
    pub(super) class: usize,
}

/// What is known of the gap.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gap {
    pub(super) seconds: f32,
    /// The direction of the belt, of length one.
    pub(super) course: [f32; 2],
    /// Pixels per second along it, before.
    pub(super) speed: f32,
    /// Width and height of the picture.
    pub(super) size: [f32; 2],
}

/// The likeliest step of all things, in pixels; `None` where there is nothing to go by. Of more than [`MOST`] things or
/// candidates only the biggest are kept; `votes` is for the work.
pub(super) fn find(
    things: &mut Vec<Remembered>,
    candidates: &mut Vec<Candidate>,
    gap: &Gap,
    votes: &mut Vec<f32>,
) -> Option<[f32; 2]> {
    let largest = things.iter().map(scale).reduce(f32::max)?;
    if candidates.is_empty() {
        return None;
    }
    let out = leaving(things, gap);
    let whole = Whole { things: things.len() <= MOST, candidates: candidates.len() <= MOST };
    if !(whole.things && whole.candidates) {
        things.sort_by(|a, b| scale(b).total_cmp(&scale(a)));
        candidates.sort_by(|a, b| b.scale().total_cmp(&a.scale()));
        things.truncate(MOST);
        candidates.truncate(MOST);
    }
    let [along, across] = gap.course;
    vote(things, candidates, gap, votes);
    let mut best = (gap.prior(out, largest), out);
    // Votes close together are one step; those that most agree on are weighed.
    let width = TOLERANCE.0 * largest + TOLERANCE.1;
    let mut likeliest = [(f32::NEG_INFINITY, 0.0); WEIGHED];
    let mut rest = votes.as_slice();
    while let Some(&first) = rest.first() {
        let (bin, others) = rest.split_at(rest.partition_point(|&by| by <= first + width));
        let by = bin.iter().sum::<f32>() / bin.len() as f32;
        let around =
            votes.partition_point(|&other| other <= by + width) - votes.partition_point(|&other| other < by - width);
        let promise = FOUND * around as f32 + gap.prior(by, largest);
        let least = likeliest.iter_mut().reduce(|a, b| if b.0 < a.0 { b } else { a });
        if let Some(least) = least.filter(|least| promise > least.0) {
            *least = (promise, by);
        }
        rest = others;
    }
    for (_, by) in likeliest.into_iter().filter(|(promise, _)| promise.is_finite()) {
        let step = [by * along, by * across];
        let weight = gap.prior(by, largest) + weigh(things, candidates, step, gap, whole) - CHOSEN;
        if weight > best.0 {
            best = (weight, by);
        }
    }
    Some([best.1 * along, best.1 * across])
}

/// Whether all things and all candidates are looked at; else that something has no counterpart tells nothing.
#[derive(Clone, Copy, Debug)]
struct Whole {
    things: bool,
    candidates: bool,
}

/// Lists the steps along the belt that bring some thing onto some candidate, rising.
fn vote(things: &[Remembered], candidates: &[Candidate], gap: &Gap, votes: &mut Vec<f32>) {
    let [along, across] = gap.course;
    votes.clear();
    for (thing, candidate) in things.iter().flat_map(|thing| candidates.iter().map(move |candidate| (thing, candidate)))
    {
        if thing.class != candidate.class {
            continue;
        }
        let moved = (moved(thing.x, candidate.x, gap.size[0]), moved(thing.y, candidate.y, gap.size[1]));
        let (Some(x), Some(y)) = moved else { continue };
        let by = x * along + y * across;
        if is_at(thing, candidate, [by * along, by * across], gap) {
            votes.push(by);
        }
    }
    votes.sort_unstable_by(f32::total_cmp);
}

/// Whether a detection is of a thing that made this step.
pub(super) fn is_at(thing: &Remembered, candidate: &Candidate, step: [f32; 2], gap: &Gap) -> bool {
    let length = step[0].abs() + step[1].abs();
    let fits = |was: Span, span: Span, step: f32, border: f32| {
        let tolerance = tolerance(was, span);
        let (low, high) = (was.low + step, was.high + step);
        let cut = (span.low < tolerance, span.high > border - tolerance);
        let was_cut = was_cut(was, border);
        // What is cut off is there or beyond, and an edge that was cut off tells nothing.
        let low_fits = was_cut.0
            || if cut.0 { low < 2.0 * tolerance } else { (low - span.low).abs() <= EXTENT * was.extent() + tolerance };
        let high_fits = was_cut.1
            || if cut.1 {
                high > border - 2.0 * tolerance
            } else {
                (high - span.high).abs() <= EXTENT * was.extent() + tolerance
            };
        let off = 2.0 * tolerance + ASKEW * length;
        low_fits && high_fits && moved(was, span, border).is_none_or(|by| (by - step).abs() <= off)
    };
    thing.class == candidate.class
        && fits(thing.x, candidate.x, step[0], gap.size[0])
        && fits(thing.y, candidate.y, step[1], gap.size[1])
}

/// How far the edges are from where they were that are cut off neither then nor now; `None` where there is none.
fn moved(was: Span, span: Span, border: f32) -> Option<f32> {
    let tolerance = tolerance(was, span);
    let was_cut = was_cut(was, border);
    let low = (!was_cut.0 && span.low >= tolerance).then_some(span.low - was.low);
    let high = (!was_cut.1 && span.high <= border - tolerance).then_some(span.high - was.high);
    match (low, high) {
        (Some(low), Some(high)) => Some((low + high) / 2.0),
        (low, high) => low.or(high),
    }
}

fn tolerance(was: Span, span: Span) -> f32 {
    TOLERANCE.0 * was.extent().max(span.extent()) + TOLERANCE.1
}

/// Whether a thing's edges were at the border of the picture.
fn was_cut(was: Span, border: f32) -> (bool, bool) {
    (was.low < TOLERANCE.1, was.high > border - TOLERANCE.1)
}

/// What all that is seen and not seen says of a step.
fn weigh(things: &[Remembered], candidates: &[Candidate], step: [f32; 2], gap: &Gap, whole: Whole) -> f32 {
    let mut weight = 0.0;
    for thing in things {
        if candidates.iter().any(|candidate| is_at(thing, candidate, step, gap)) {
            weight += FOUND;
        } else if whole.candidates
            && view(thing.x, step[0], gap.size[0]).min(view(thing.y, step[1], gap.size[1])) >= IN_VIEW
        {
            weight += MISSING;
        }
    }
    for candidate in candidates.iter().filter(|candidate| whole.things && is_whole(candidate, gap)) {
        let before = [candidate.x.centre() - step[0], candidate.y.centre() - step[1]];
        let margin = [candidate.x.extent() / 2.0, candidate.y.extent() / 2.0];
        let was_in_view =
            (0..2).all(|axis| before[axis] > margin[axis] && before[axis] < gap.size[axis] - margin[axis]);
        if was_in_view && !things.iter().any(|thing| is_at(thing, candidate, step, gap)) {
            weight += STRANGE;
        }
    }
    weight
}

/// The least step along the belt by which all have left, on the side to which they go.
fn leaving(things: &[Remembered], gap: &Gap) -> f32 {
    let out = |thing: &Remembered| {
        let one = |was: Span, course: f32, border: f32| {
            let border = if course * gap.speed.signum() > 0.0 { border } else { 0.0 };
            if course.abs() < 0.1 { f32::INFINITY } else { (border - was.centre()).abs() / course.abs() }
        };
        one(thing.x, gap.course[0], gap.size[0]).min(one(thing.y, gap.course[1], gap.size[1]))
    };
    let least = things.iter().map(out).fold(0.0, f32::max);
    gap.speed.signum() * least.max((gap.speed * gap.seconds).abs())
}

impl Gap {
    fn prior(&self, by: f32, scale: f32) -> f32 {
        let expected = self.speed * self.seconds;
        let spread = 0.2 * scale + WANDERS * scale * self.seconds + 0.5 * expected.abs();
        -PRIOR * (1.0 + square((by - expected) / spread)).ln()
    }
}

fn scale(thing: &Remembered) -> f32 {
    f32::midpoint(thing.x.extent(), thing.y.extent())
}

/// The share of a thing that the picture shows after a step.
fn view(was: Span, step: f32, border: f32) -> f32 {
    let (low, high) = (was.low + step, was.high + step);
    (high.min(border) - low.max(0.0)) / was.extent()
}

/// Whether no edge of a detection is at the border of the picture.
fn is_whole(candidate: &Candidate, gap: &Gap) -> bool {
    let within = |span: Span, border: f32| span.low > 2.0 && span.high < border - 2.0;
    within(candidate.x, gap.size[0]) && within(candidate.y, gap.size[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    const GAP: Gap = Gap { seconds: 0.5, course: [1.0, 0.0], speed: 100.0, size: [640.0, 480.0] };

    fn spans(x: f32, y: f32) -> (Span, Span) {
        (
            Span { low: x - 40.0, high: x + 40.0, border: GAP.size[0] },
            Span { low: y - 30.0, high: y + 30.0, border: GAP.size[1] },
        )
    }

    /// The step that is found from things at these places to detections at those.
    fn step(before: &[(f32, f32)], after: &[(f32, f32)]) -> Option<[f32; 2]> {
        let mut things: Vec<_> = before.iter().map(|&(x, y)| spans(x, y)).enumerate().map(thing).collect();
        let mut candidates: Vec<_> = after.iter().map(|&(x, y)| spans(x, y)).enumerate().map(candidate).collect();
        find(&mut things, &mut candidates, &GAP, &mut Vec::new())
    }

    fn thing((track, (x, y)): (usize, (Span, Span))) -> Remembered {
        Remembered { track, x, y, class: 0 }
    }

    fn candidate((index, (x, y)): (usize, (Span, Span))) -> Candidate {
        Candidate { index, x, y, class: 0, confidence: 0.9, is_taken: false }
    }

    #[test]
    fn distances_tell_the_step_where_the_speed_would_mislead() {
        // By the speed before they would be 50 pixels on; they are 120 on, where the first is about at the second's place.
        let found =
            step(&[(100.0, 200.0), (210.0, 200.0), (380.0, 200.0)], &[(220.0, 200.0), (330.0, 200.0), (500.0, 200.0)]);
        assert!((found.unwrap()[0] - 120.0).abs() < 1.0, "{found:?}");
    }

    #[test]
    fn what_is_alone_went_as_fast_as_before() {
        let found = step(&[(100.0, 200.0)], &[(160.0, 200.0)]);
        assert!((found.unwrap()[0] - 60.0).abs() < 1.0, "{found:?}");
    }

    #[test]
    fn what_lies_elsewhere_across_the_belt_is_another_thing() {
        let found = step(&[(100.0, 200.0), (210.0, 200.0)], &[(150.0, 300.0), (260.0, 300.0)]);
        assert!(found.unwrap()[0] > 400.0, "all have left: {found:?}");
    }

    #[test]
    fn nothing_before_or_after_tells_nothing() {
        assert_eq!(step(&[], &[(100.0, 200.0)]), None);
        assert_eq!(step(&[(100.0, 200.0)], &[]), None);
    }

    #[test]
    fn of_a_crowd_the_biggest_tell_the_step() {
        let before: Vec<_> = (0..100)
            .map(|at| (45.0 + (at % 10) as f32 * 50.0 + (at / 10) as f32, 40.0 + (at / 10) as f32 * 40.0))
            .collect();
        let after: Vec<_> = before.iter().map(|&(x, y)| (x + 30.0, y)).collect();
        let found = step(&before, &after);
        assert!((found.unwrap()[0] - 30.0).abs() < 3.0, "{found:?}");
    }
}
