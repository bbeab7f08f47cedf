//! Parts that cross a line: each is a track, and is judged when it has crossed inwards, once.

use serde::{Deserialize, Serialize};

use super::ballot::{Ballot, Faults, Jury};
use crate::{
    event::Way,
    moment::Moment,
    rules::{
        Anchor, Line, Seen,
        crossing::{Crossings, FRESH_FRAMES_MAX, REMEMBERED, TRACKS_MAX},
        machine::Mark,
        settings::names,
    },
    track::{Track, TrackState},
};

/// So many ballots are kept for other parts.
const SPARE_MAX: usize = 16;

const CROSSED: &str = "the part has crossed the line";

/// Follows parts to their line.
#[derive(Debug)]
pub(super) struct Passing {
    classes: Vec<String>,
    line: Line,
    anchor: Anchor,
    crossings: Crossings,
    /// By rising track; at most [`TRACKS_MAX`], and of more, that which was not seen for longest is forgotten.
    parts: Vec<Part>,
    /// Tracks that crossed with the last frame, the first of them last.
    crossed: Vec<u64>,
    /// What is wrong with the parts of the last frame.
    faults: Faults,
    spare: Vec<Ballot>,
}

/// A part on its way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Part {
    track: u64,
    /// Where it was last: when, how far inside the line, in pixels, and where the encoder stood.
    last: (Moment, f32, u64),
    /// When it passed the line itself, and where the encoder stood; `None` where it is outside.
    passed: Option<(Moment, u64)>,
    /// It had its verdict.
    judged: bool,
    ballot: Ballot,
}

/// A part to be judged.
#[derive(Debug)]
pub(super) struct Crossed {
    pub(super) track: u64,
    /// When it passed the line, and where the encoder stood.
    pub(super) trigger: (Moment, u64),
    pub(super) ballot: Ballot,
}

/// What has to be known after a restart.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Memory {
    crossings: serde_json::Value,
    parts: Vec<Part>,
}

impl Passing {
    pub(super) fn new(classes: &[String], line: Line, anchor: Anchor) -> Self {
        Self {
            classes: classes.to_vec(),
            line,
            anchor,
            crossings: Crossings::new(line, anchor),
            parts: Vec::new(),
            crossed: Vec::new(),
            faults: Faults::default(),
            spare: Vec::new(),
        }
    }

    /// Takes a frame; what crossed with it is then handed over by [`Passing::pop`]. Without a jury it does not vote.
    pub(super) fn look(&mut self, jury: Option<&Jury>, seen: &Seen<'_>, ticks: u64) {
        let Self { classes, crossings, crossed, .. } = self;
        let is_part = |track: &Track| names(classes, &track.name);
        crossed.clear();
        crossings.update(seen.tracks, seen.size, seen.captured_at, is_part, |track, way, _| {
            if way == Way::In {
                crossed.push(track.id);
            }
        });
        crossed.reverse();
        self.hand_over();
        for track in seen.tracks.iter().filter(|track| track.state != TrackState::Lost) {
            self.follow(track, seen, ticks);
        }
        if let Some(jury) = jury {
            self.vote(jury, seen);
        }
        self.forget(seen);
    }

    /// The next part that crossed with the last frame.
    pub(super) fn pop(&mut self, frame: u64) -> Option<Crossed> {
        while let Some(track) = self.crossed.pop() {
            let Ok(index) = self.parts.binary_search_by_key(&track, |part| part.track) else { continue };
            let part = &mut self.parts[index];
            if part.judged {
                continue;
            }
            part.judged = true;
            let (at, _, ticks) = part.last;
            let spare = self.spare.pop().unwrap_or_else(|| Ballot::new(at));
            let mut ballot = std::mem::replace(&mut part.ballot, spare);
            part.ballot.begin_again(at);
            ballot.mark(Mark { at, frame: Some(frame), score: None, meant: CROSSED });
            return Some(Crossed { track, trigger: part.passed.unwrap_or((at, ticks)), ballot });
        }
        None
    }

    /// A frame votes on all parts that it shows.
    fn vote(&mut self, jury: &Jury, seen: &Seen<'_>) {
        let Self { classes, parts, faults, .. } = self;
        let is_part = |track: &&Track| track.state != TrackState::Lost && names(classes, &track.name);
        faults.look(jury, seen, seen.tracks.iter().filter(is_part));
        for track in seen.tracks.iter().filter(is_part) {
            let Ok(index) = parts.binary_search_by_key(&track.id, |part| part.track) else { continue };
            if !parts[index].judged {
                parts[index].ballot.vote_part(jury, seen, track, faults);
            }
        }
    }

    /// Takes a ballot back, to be used again.
    pub(super) fn recycle(&mut self, ballot: Ballot) {
        if self.spare.len() < SPARE_MAX {
            self.spare.push(ballot);
        }
    }

    /// Forgets the votes; what had its verdict has had it.
    pub(super) fn reset(&mut self) {
        for part in &mut self.parts {
            part.ballot.begin_again(part.last.0);
        }
    }

    /// What has to be known after a restart.
    pub(super) fn memory(&self) -> serde_json::Value {
        let memory = Memory { crossings: self.crossings.memory(), parts: self.parts.clone() };
        serde_json::to_value(memory).expect("numbers are finite and keys are text")
    }

    /// Goes on where an earlier process ended. Gives whether that made sense.
    pub(super) fn recall(&mut self, memory: &serde_json::Value, now: Moment) -> bool {
        let Ok(Memory { crossings, mut parts }) = Memory::deserialize(memory) else { return false };
        if !self.crossings.recall(&crossings, now) {
            return false;
        }
        parts.sort_by_key(|part| part.track);
        parts.dedup_by_key(|part| part.track);
        parts.truncate(TRACKS_MAX);
        for part in &mut parts {
            part.last.0 = part.last.0.min(now);
            part.passed = part.passed.map(|(at, ticks)| (at.min(now), ticks));
            part.ballot.until(now);
        }
        self.parts = parts;
        true
    }

    /// Where a new track goes on with one that was lost, the votes do, and the verdict where it was given; not where that one
    /// comes back, and they are two parts. Where a track is another thing now, it begins anew.
    fn hand_over(&mut self) {
        for track in self.crossings.renewed() {
            self.parts.retain(|part| part.track != *track);
        }
        for (old, new) in self.crossings.handed() {
            let Ok(index) = self.parts.binary_search_by_key(old, |part| part.track) else { continue };
            // The lost one keeps its own, in case it comes back.
            let part = Part { track: *new, ..self.parts[index].clone() };
            self.parts.retain(|part| part.track != *new);
            if self.parts.len() >= TRACKS_MAX {
                self.parts.retain(|part| part.track != *old);
            }
            let index = self.parts.partition_point(|other| other.track < *new);
            self.parts.insert(index, part);
        }
        for parted in self.crossings.parted() {
            if let Ok(index) = self.parts.binary_search_by_key(&parted.track, |part| part.track) {
                let part = &mut self.parts[index];
                part.judged = parted.inside;
                part.ballot.begin_again(part.last.0);
            }
        }
    }

    /// Notes where a track is, and when it passed the line.
    fn follow(&mut self, track: &Track, seen: &Seen<'_>, ticks: u64) {
        let Some(ruler) = self.line.ruler(seen.size) else { return };
        let depth = ruler.depth(self.anchor.of(&track.bounds));
        if !depth.is_finite() {
            return;
        }
        let now = (seen.captured_at, depth, ticks);
        let index = match self.parts.binary_search_by_key(&track.id, |part| part.track) {
            Ok(index) => index,
            Err(_) => {
                self.make_room();
                let mut ballot = self.spare.pop().unwrap_or_else(|| Ballot::new(seen.captured_at));
                let fresh = track.seen <= FRESH_FRAMES_MAX;
                ballot.begin_again(if fresh { track.first_seen.min(seen.captured_at) } else { seen.captured_at });
                // What is first seen behind the line has had its verdict.
                let judged = depth > ruler.half_band();
                let part = Part { track: track.id, last: now, passed: None, judged, ballot };
                let index = self.parts.partition_point(|other| other.track < track.id);
                self.parts.insert(index, part);
                index
            }
        };
        let part = &mut self.parts[index];
        part.passed = match part.last.1 < 0.0 {
            _ if depth < 0.0 => None,
            true => Some(between(part.last, now)),
            false => part.passed,
        };
        part.last = now;
    }

    fn make_room(&mut self) {
        if self.parts.len() >= TRACKS_MAX {
            let oldest = (0..self.parts.len()).min_by_key(|index| self.parts[*index].last.0);
            self.parts.remove(oldest.expect("there are as many as there may be"));
        }
    }

    /// Forgets parts whose track is over, once the crossings have forgotten them too.
    fn forget(&mut self, seen: &Seen<'_>) {
        let Self { parts, spare, .. } = self;
        parts.retain_mut(|part| {
            let alive = seen.tracks.binary_search_by_key(&part.track, |track| track.id).is_ok();
            let kept = alive || seen.captured_at.since(part.last.0) <= REMEMBERED;
            if !kept && spare.len() < SPARE_MAX {
                spare.push(std::mem::replace(&mut part.ballot, Ballot::new(part.last.0)));
            }
            kept
        });
    }
}

/// When a part that moved evenly was on the line, and where the encoder stood.
fn between((from, outside, ticks): (Moment, f32, u64), (to, inside, ticks_now): (Moment, f32, u64)) -> (Moment, u64) {
    let share = f64::from(-outside) / f64::from(inside - outside);
    let passed = (ticks_now.saturating_sub(ticks) as f64 * share) as u64;
    (from + to.since(from).mul_f64(share.clamp(0.0, 1.0)), ticks.saturating_add(passed).min(ticks_now.max(ticks)))
}
