//! The frames of a part vote: what a bad frame is, and what the votes come to.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::{
    detection::Detection,
    event::{Defect, Judgement, STEPS_MAX, Step},
    geometry::{BoxPx, Point, Size},
    moment::Moment,
    rules::{Seen, VerdictSettings, Watch, machine::Mark, settings::names},
    track::Track,
};

/// So many classes of defects are told of a part at most.
const DEFECTS_MAX: usize = 16;

/// A box that comes this near to the edge of the frame, in pixels, may go on beyond it.
const EDGE_PX: f32 = 1.5;

const GOOD: &str = "the frame votes good";
const BAD: &str = "the frame votes bad";

/// What makes a frame bad, and how many bad frames a part.
#[derive(Clone, Debug)]
pub(super) struct Jury {
    fail: Watch,
    confidence: f32,
    frames_min: u32,
    fail_share: f32,
    pass_share: f32,
}

impl Jury {
    pub(super) fn new(settings: &VerdictSettings) -> Self {
        let VerdictSettings { fail, confidence, frames_min, fail_share, pass_share, .. } = settings;
        Self {
            fail: fail.clone(),
            confidence: *confidence,
            frames_min: *frames_min,
            fail_share: *fail_share,
            pass_share: *pass_share,
        }
    }

    /// Whether enough frames have voted.
    pub(super) fn suffices(&self, ballot: &Ballot) -> bool {
        ballot.frames >= self.frames_min.max(1)
    }

    /// What the votes come to; `at_once`: one frame is enough.
    pub(super) fn judgement(&self, ballot: &Ballot, at_once: bool) -> Judgement {
        if ballot.frames == 0 || !(at_once || self.suffices(ballot)) {
            return Judgement::Unsure;
        }
        let share = ballot.bad as f32 / ballot.frames as f32;
        if share >= self.fail_share {
            Judgement::Fail
        } else if share <= self.pass_share {
            Judgement::Pass
        } else {
            Judgement::Unsure
        }
    }

    /// Whether a part in this box can be judged by the frame: its anchor is in the zone.
    pub(super) fn sees(&self, bounds: &BoxPx, size: Size) -> bool {
        self.fail.zone.as_ref().is_none_or(|zone| zone.contains(self.fail.anchor.of(bounds), size))
    }

    /// Whether a detection is of a class that makes a part bad, and sure enough.
    fn is_bad(&self, found: &Detection) -> bool {
        found.confidence >= self.confidence && names(&self.fail.classes, &found.name)
    }

    /// Whether a detection makes the frame bad, whichever part it lies on.
    fn condemns(&self, found: &Detection, size: Size) -> bool {
        found.confidence >= self.confidence && self.fail.takes(found, size)
    }
}

/// What is wrong in a frame, part by part: found once a frame, however many parts vote. The memory is used again.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// The parts that may have some: their tracks, and where they are.
    parts: Vec<(u64, BoxPx)>,
    /// The track of a part and the index of a detection that is bad for it, by rising track and then index.
    bad: Vec<(u64, usize)>,
}

impl Faults {
    /// Looks for what is wrong in a frame that shows these parts. A detection is bad for the part that it is, and for the
    /// part on which it lies.
    pub(super) fn look<'a>(&mut self, jury: &Jury, seen: &Seen<'_>, parts: impl Iterator<Item = &'a Track>) {
        self.parts.clear();
        self.parts.extend(parts.map(|track| (track.id, track.bounds)));
        self.bad.clear();
        for (index, found) in seen.found.iter().enumerate().filter(|(_, found)| jury.is_bad(found)) {
            // Where all classes are bad, a part is not bad for being one.
            let own = found.track_id.filter(|_| !jury.fail.classes.is_empty());
            let bounds = found.bounds().filter(|bounds| jury.sees(bounds, seen.size));
            let carrier = bounds.and_then(|bounds| self.part_at(jury.fail.anchor.of(&bounds)));
            let carrier = carrier.filter(|part| found.track_id != Some(*part));
            self.bad.extend(own.into_iter().chain(carrier).map(|part| (part, index)));
        }
        self.bad.sort_unstable();
    }

    /// The part whose box has this point, and whose centre is nearest to it.
    fn part_at(&self, point: Point) -> Option<u64> {
        let mut nearest = None;
        for (track, bounds) in &self.parts {
            let inside = (bounds.x1..=bounds.x2).contains(&point.x) && (bounds.y1..=bounds.y2).contains(&point.y);
            let (x, y) = (point.x - (bounds.x1 + bounds.x2) / 2.0, point.y - (bounds.y1 + bounds.y2) / 2.0);
            let distance = x * x + y * y;
            if inside && nearest.is_none_or(|(_, least)| distance < least) {
                nearest = Some((*track, distance));
            }
        }
        nearest.map(|(track, _)| track)
    }

    /// What is bad for a part, in the order of the detections.
    fn of<'a>(&'a self, part: u64, found: &'a [Detection]) -> impl Iterator<Item = &'a Detection> {
        let first = self.bad.partition_point(|(track, _)| *track < part);
        self.bad[first..].iter().take_while(move |(track, _)| *track == part).map(|(_, index)| &found[*index])
    }
}

/// The votes for one part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Ballot {
    opened_at: Moment,
    frames: u32,
    bad: u32,
    /// All of the part was in the frame when it was voted on. Frames that show less do not vote any more then.
    whole: bool,
    defects: Vec<Tally>,
    /// What led to it, oldest first; a later process does not know that.
    #[serde(skip)]
    marks: VecDeque<Mark>,
    /// How many of them are of a bad frame.
    #[serde(skip)]
    marks_bad: usize,
}

/// Frames in which a defect was seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Tally {
    name: String,
    frames: u32,
    confidence: f32,
    /// It was seen in the frame that votes now.
    #[serde(skip)]
    now: bool,
}

impl Ballot {
    pub(super) fn new(opened_at: Moment) -> Self {
        let (defects, marks) = (Vec::new(), VecDeque::new());
        Self { opened_at, frames: 0, bad: 0, whole: false, defects, marks, marks_bad: 0 }
    }

    /// The same memory for another part.
    pub(super) fn begin_again(&mut self, opened_at: Moment) {
        self.defects.clear();
        self.marks.clear();
        let (defects, marks) = (std::mem::take(&mut self.defects), std::mem::take(&mut self.marks));
        *self = Self { defects, marks, ..Self::new(opened_at) };
    }

    /// Votes by all that is in a frame.
    pub(super) fn vote_frame(&mut self, jury: &Jury, seen: &Seen<'_>) {
        let worst = self.collect(seen.found.iter().filter(|found| jury.condemns(found, seen.size)));
        let best = seen.found.first().map(|found| found.confidence);
        self.count(seen, worst, best);
    }

    /// Votes by what a frame shows of a part: its `faults` are those of this frame.
    pub(super) fn vote_part(&mut self, jury: &Jury, seen: &Seen<'_>, part: &Track, faults: &Faults) {
        let Size { width, height } = seen.size;
        let BoxPx { x1, y1, x2, y2 } = part.bounds;
        let cut = x1 <= EDGE_PX || y1 <= EDGE_PX || x2 >= width as f32 - EDGE_PX || y2 >= height as f32 - EDGE_PX;
        if !jury.sees(&part.bounds, seen.size) || (cut && self.whole) {
            return;
        }
        if !cut && !self.whole {
            // What was seen of a piece of it says less than what is seen of all of it.
            self.begin_again(self.opened_at);
            self.whole = true;
        }
        let worst = self.collect(faults.of(part.id, seen.found));
        self.count(seen, worst, Some(part.confidence));
    }

    /// Notes what is wrong in a frame, and answers the highest score among it.
    fn collect<'a>(&mut self, bad: impl Iterator<Item = &'a Detection>) -> Option<f32> {
        let mut worst: Option<f32> = None;
        for found in bad {
            worst = Some(worst.map_or(found.confidence, |score| score.max(found.confidence)));
            let known = self.defects.iter_mut().find(|tally| tally.name == *found.name);
            if let Some(tally) = known {
                tally.frames += u32::from(!tally.now);
                tally.confidence = tally.confidence.max(found.confidence);
                tally.now = true;
            } else if self.defects.len() < DEFECTS_MAX {
                let (name, confidence) = (found.name.to_string(), found.confidence);
                self.defects.push(Tally { name, frames: 1, confidence, now: true });
            }
        }
        for tally in &mut self.defects {
            tally.now = false;
        }
        worst
    }

    fn count(&mut self, seen: &Seen<'_>, worst: Option<f32>, best: Option<f32>) {
        self.frames = self.frames.saturating_add(1);
        self.bad = self.bad.saturating_add(u32::from(worst.is_some()));
        let (score, meant) = if worst.is_some() { (worst, BAD) } else { (best, GOOD) };
        self.mark(Mark { at: seen.captured_at, frame: Some(seen.seq), score, meant });
    }

    /// Adds a step; where there are too many, the oldest of the kind of which there are more goes.
    pub(super) fn mark(&mut self, mark: Mark) {
        if self.marks.len() == STEPS_MAX {
            let more_are_bad = 2 * self.marks_bad > STEPS_MAX;
            let oldest = self.marks.iter().position(|mark| votes_bad(mark) == more_are_bad).unwrap_or(0);
            let gone = self.marks.remove(oldest);
            self.marks_bad -= usize::from(gone.is_some_and(|mark| votes_bad(&mark)));
        }
        self.marks_bad += usize::from(votes_bad(&mark));
        self.marks.push_back(mark);
    }

    /// When the part was first seen.
    pub(super) fn opened_at(&self) -> Moment {
        self.opened_at
    }

    pub(super) fn frames(&self) -> u32 {
        self.frames
    }

    pub(super) fn frames_bad(&self) -> u32 {
        self.bad
    }

    /// The frame that voted last.
    pub(super) fn last_frame(&self) -> Option<u64> {
        self.marks.back().and_then(|mark| mark.frame)
    }

    /// What was wrong, the most often seen first.
    pub(super) fn defects(&self) -> Vec<Defect> {
        let mut tallies: Vec<_> = self.defects.iter().collect();
        tallies.sort_by(|a, b| {
            b.frames.cmp(&a.frames).then(b.confidence.total_cmp(&a.confidence)).then_with(|| a.name.cmp(&b.name))
        });
        let defect = |tally: &Tally| Defect {
            name: tally.name.as_str().into(),
            frames: tally.frames,
            confidence: tally.confidence,
        };
        tallies.into_iter().map(defect).collect()
    }

    /// What led to it.
    pub(super) fn steps(&self) -> Vec<Step> {
        let step = |&Mark { at, frame, score, meant }: &Mark| Step { at, frame, score, meant: meant.to_owned() };
        self.marks.iter().map(step).collect()
    }

    /// Moments of the future become the present.
    pub(super) fn until(&mut self, now: Moment) {
        self.opened_at = self.opened_at.min(now);
    }
}

/// Whether a step says that a frame was bad.
fn votes_bad(mark: &Mark) -> bool {
    mark.meant == BAD
}
