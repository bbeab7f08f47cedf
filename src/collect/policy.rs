//! Why a frame is worth keeping, from what was found in it and in its neighbours: pure, with the time as argument.
//!
//! A frame is judged when the next one has come, because only then are both its neighbours known. Whether the same was kept
//! before is left to [`super::likeness`].

use std::time::{Duration, Instant};

use super::likeness::{self, PictureHash};
use crate::geometry::BoxPx;

/// Why a frame is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It was time for another one.
    Routine,
    /// The model was unsure of something.
    Uncertain,
    /// The frames before and after say something else.
    Disagreement,
    /// Somebody asked for it.
    Operator,
}

impl Reason {
    /// All of them, in the order in which they are reported.
    pub const ALL: [Self; 4] = [Self::Routine, Self::Uncertain, Self::Disagreement, Self::Operator];

    /// What it is called in file names and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Routine => "routine",
            Self::Uncertain => "uncertain",
            Self::Disagreement => "disagreement",
            Self::Operator => "operator",
        }
    }
}

/// An object that the model found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Found {
    /// Index of its class.
    pub(super) class: usize,
    /// Score in `0..=1`.
    pub(super) confidence: f32,
    /// Where it is, in pixels of the frame.
    pub(super) bounds: BoxPx,
    /// Whether the score is one that counts in the plant.
    pub(super) counts: bool,
}

/// What is known of a frame.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Seen {
    /// When it was captured.
    pub(super) at: Instant,
    /// What it looks like.
    pub(super) hash: PictureHash,
    /// What was found in it, down to the least confidence that is of interest.
    pub(super) found: Vec<Found>,
    /// Whether somebody asked for it.
    pub(super) asked: bool,
}

/// Pictures for their own sake, that is of doubts, are this far apart at least: a flicker shall not eat the quota.
const DOUBTS_EVERY: Duration = Duration::from_secs(1);

/// Frames further apart in time are no neighbours: what they show may differ for good reason.
const NEIGHBOURS_WITHIN: Duration = Duration::from_secs(1);

/// Frames that look more different than this show different scenes, as one board and the next.
const SCENE_BITS_MAX: u32 = 10;

/// An object that stands where it stood overlaps itself by so much.
const STANDS_IOU_MIN: f32 = 0.5;

/// A detection that overlaps a standing object by so much may be of it.
const SAME_PLACE_IOU_MIN: f32 = 0.3;

/// Decides over the frames of one camera.
#[derive(Debug)]
pub(super) struct Policy {
    every: Duration,
    uncertain: [f32; 2],
    before: Option<Seen>,
    held: Option<Seen>,
    routine_at: Option<Instant>,
    doubt_at: Option<Instant>,
}

impl Policy {
    /// One frame a time of `every`, and those with a confidence within the bounds of `uncertain`.
    pub(super) fn new(every: Duration, uncertain: [f32; 2]) -> Self {
        Self { every, uncertain, before: None, held: None, routine_at: None, doubt_at: None }
    }

    /// Takes a new frame, and answers why the one before it is worth keeping, if it is. That one is then
    /// [`Policy::judged`].
    pub(super) fn next(&mut self, seen: Seen) -> Option<Reason> {
        let reason = self.judge(Some(&seen));
        self.before = self.held.replace(seen);
        reason
    }

    /// The same for the last frame, after which none comes.
    pub(super) fn end(&mut self) -> Option<Reason> {
        let reason = self.judge(None);
        self.before = self.held.take();
        reason
    }

    /// The frame that was judged last.
    pub(super) fn judged(&self) -> Option<&Seen> {
        self.before.as_ref()
    }

    /// Notes that the judged frame was indeed kept, for this reason: only then does the pause after a doubt begin.
    pub(super) fn kept(&mut self, reason: Reason) {
        if matches!(reason, Reason::Uncertain | Reason::Disagreement) {
            self.doubt_at = self.before.as_ref().map(|seen| seen.at);
        }
    }

    fn judge(&mut self, next: Option<&Seen>) -> Option<Reason> {
        let held = self.held.as_ref()?;
        let passed =
            |since: Option<Instant>, pause| since.is_none_or(|at| held.at.saturating_duration_since(at) >= pause);
        let is_routine = passed(self.routine_at, self.every);
        if is_routine {
            self.routine_at = Some(held.at);
        }
        let [low, high] = self.uncertain;
        let unsure = |found: &Found| (low..=high).contains(&found.confidence);
        if held.asked {
            return Some(Reason::Operator);
        }
        if passed(self.doubt_at, DOUBTS_EVERY) {
            if let (Some(before), Some(after)) = (&self.before, next)
                && disagree(before, held, after)
            {
                return Some(Reason::Disagreement);
            }
            if held.found.iter().any(unsure) {
                return Some(Reason::Uncertain);
            }
        }
        is_routine.then_some(Reason::Routine)
    }
}

/// Whether the middle one of three neighbouring frames lacks what stands in the others, or has what neither shows.
///
/// A weak detection is enough to confirm an object, so that a score that wavers around the least that counts is no
/// disagreement.
fn disagree(before: &Seen, middle: &Seen, after: &Seen) -> bool {
    if !are_neighbours(before, middle) || !are_neighbours(middle, after) {
        return false;
    }
    let counting = |seen: &'_ Seen| seen.found.iter().filter(|found| found.counts).copied().collect::<Vec<_>>();
    let (first, last) = (counting(before), counting(after));
    let lost = |object: &Found| {
        let same = |other: &Found| other.class == object.class;
        let stands = last.iter().any(|other| same(other) && object.bounds.iou(&other.bounds) >= STANDS_IOU_MIN);
        let is_here = |other: &Found| same(other) && object.bounds.iou(&other.bounds) >= SAME_PLACE_IOU_MIN;
        stands && !middle.found.iter().any(is_here)
    };
    let alone = |object: &Found| {
        let around = grown(&object.bounds);
        !before.found.iter().chain(&after.found).any(|other| around.iou(&other.bounds) > 0.0)
    };
    first.iter().any(lost) || counting(middle).iter().any(alone)
}

fn are_neighbours(earlier: &Seen, later: &Seen) -> bool {
    later.at.saturating_duration_since(earlier.at) <= NEIGHBOURS_WITHIN
        && likeness::distance(earlier.hash, later.hash) <= SCENE_BITS_MAX
}

/// The box with as much again on each side: things move on a line.
fn grown(bounds: &BoxPx) -> BoxPx {
    let (width, height) = (bounds.width(), bounds.height());
    BoxPx { x1: bounds.x1 - width, y1: bounds.y1 - height, x2: bounds.x2 + width, y2: bounds.y2 + height }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BAND: [f32; 2] = [0.2, 0.5];
    const MINUTE: Duration = Duration::from_secs(60);

    /// A box of 10 pixels at `x`; scores from 0.25 up count.
    fn found(class: usize, confidence: f32, x: f32) -> Found {
        let bounds = BoxPx { x1: x, y1: 10.0, x2: x + 10.0, y2: 20.0 };
        Found { class, confidence, bounds, counts: confidence > 0.25 }
    }

    fn seen(start: Instant, ms: u64, found: &[Found]) -> Seen {
        let hash = PictureHash::default();
        Seen { at: start + Duration::from_millis(ms), hash, found: found.to_vec(), asked: false }
    }

    /// Feeds frames that are so many milliseconds apart, each of them kept where there is a reason.
    fn reasons(interval_ms: u64, frames: &[&[Found]]) -> Vec<Option<Reason>> {
        let start = Instant::now();
        let mut policy = Policy::new(MINUTE, BAND);
        let mut answers = Vec::new();
        for (number, found) in (0..).zip(frames) {
            let reason = policy.next(seen(start, number * interval_ms, found));
            reason.inspect(|reason| policy.kept(*reason));
            answers.push(reason);
        }
        answers.push(policy.end());
        assert_eq!(answers.remove(0), None, "before the first frame there is none to judge");
        answers
    }

    #[test]
    fn one_frame_a_minute_is_routine() {
        let quiet: &[Found] = &[];
        let answers = reasons(20_000, &[quiet; 8]);
        let due = [true, false, false, true, false, false, true, false];
        assert_eq!(answers, due.map(|due| due.then_some(Reason::Routine)));
    }

    #[test]
    fn scores_within_the_band_are_uncertain_once_a_second() {
        let sure: &[Found] = &[found(0, 0.9, 50.0)];
        let unsure: &[Found] = &[found(0, 0.9, 50.0), found(1, 0.3, 100.0)];
        let answers = reasons(400, &[sure, unsure, unsure, unsure, unsure, sure]);
        let uncertain = Some(Reason::Uncertain);
        assert_eq!(answers, [Some(Reason::Routine), uncertain, None, None, uncertain, None]);
        for (confidence, expected) in [(0.2, uncertain), (0.5, uncertain), (0.19, None), (0.51, None)] {
            let frame: &[Found] = &[found(0, confidence, 50.0)];
            assert_eq!(reasons(400, &[frame, frame])[0].filter(|reason| *reason != Reason::Routine), expected);
        }
    }

    #[test]
    fn what_is_missing_alone_or_another_in_the_middle_is_a_disagreement() {
        let there: &[Found] = &[found(0, 0.9, 50.0)];
        let slid: &[Found] = &[found(0, 0.9, 52.0)];
        let weak: &[Found] = &[found(0, 0.1, 50.0)];
        let other: &[Found] = &[found(1, 0.9, 50.0)];
        let far: &[Found] = &[found(0, 0.9, 90.0)];
        let none: &[Found] = &[];
        for (frames, expected) in [
            ([there, none, there], true),
            ([there, none, slid], true),
            ([there, other, there], true),
            ([none, there, none], true),
            ([there, there, there], false),
            ([there, weak, there], false),
            ([there, none, none], false),
            ([none, none, there], false),
            // It moves by its own length from frame to frame.
            ([&[found(0, 0.9, 30.0)], &[found(0, 0.9, 40.0)], there], false),
            ([there, none, far], false),
        ] {
            let answers = reasons(400, &frames);
            assert_eq!(answers[1] == Some(Reason::Disagreement), expected, "{frames:?}: {answers:?}");
        }
        let slow = reasons(1_001, &[there, none, there]);
        assert_eq!(slow[1], None, "frames so far apart are no neighbours");
    }

    #[test]
    fn another_scene_is_no_disagreement() {
        let start = Instant::now();
        let board = |ms, hash, found: &[Found]| Seen { hash: PictureHash(hash), ..seen(start, ms, found) };
        let one: &[Found] = &[found(0, 0.9, 50.0)];
        for (hash, expected) in [(0x03ff, Some(Reason::Disagreement)), (0x07ff, None)] {
            let mut policy = Policy::new(MINUTE, BAND);
            policy.next(board(0, 0, &[]));
            policy.next(board(100, 0, &[]));
            policy.next(board(200, hash, one));
            assert_eq!(policy.next(board(300, 0, &[])), expected);
        }
    }

    #[test]
    fn an_operator_gets_the_frame_whatever_it_shows() {
        let start = Instant::now();
        let mut policy = Policy::new(MINUTE, BAND);
        policy.next(seen(start, 0, &[]));
        policy.next(Seen { asked: true, ..seen(start, 10, &[found(0, 0.3, 50.0)]) });
        assert_eq!(policy.judged().map(|seen| seen.at), Some(start));
        assert_eq!(policy.end(), Some(Reason::Operator));
        assert_eq!(policy.judged().map(|seen| seen.asked), Some(true));
        assert_eq!(policy.end(), None);
    }

    #[test]
    fn a_doubt_that_was_kept_before_takes_no_turn() {
        let start = Instant::now();
        let mut policy = Policy::new(MINUTE, BAND);
        let unsure = [found(0, 0.3, 50.0)];
        policy.next(seen(start, 0, &unsure));
        for ms in [10, 20] {
            assert_eq!(policy.next(seen(start, ms, &unsure)), Some(Reason::Uncertain), "nothing was kept yet");
        }
        policy.kept(Reason::Uncertain);
        assert_eq!(policy.next(seen(start, 30, &unsure)), None);
        assert_eq!(policy.next(seen(start, 2_000, &unsure)), None);
        assert_eq!(policy.end(), Some(Reason::Uncertain));
    }
}
