//! Identities over time: which detection of this frame is which thing of the frames before. Pure: the same frames give the
//! same tracks, and time comes in as an argument.
//!
//! The association is that of ByteTrack (Zhang et al., 2022): sure detections are matched first with all tracks, then unsure
//! ones with the tracks that are left, then what is left with what was seen but once; sure ones that nothing wants begin a
//! track. Other than there, unsure detections may also go on with a track that was lost: else what passes by takes them.
//! What differs besides is in the files:
//!
//! - `motion.rs`: the distance of two frames is the real one, and an edge that is cut off misleads nobody;
//! - `association.rs`: distance beside overlap, as far as the motion is unsure;
//! - `flow.rs`: what is hidden goes where the others go, and stops when they stop;
//! - `shift.rs` and `align.rs`: where a belt has gone while no frame came;
//! - `assignment.rs`: which pairs are best in sum;
//! - `memory.rs`: what outlives the process.
//!
//! No crate does this: those there are count frames instead of time, draw numbers from a global counter or at random, or
//! depend on the order of a hash map, so that a recording would not play the same again.

mod align;
mod assignment;
mod association;
mod body;
mod flow;
mod memory;
mod motion;
mod shift;

use std::{sync::Arc, time::Duration};

pub use self::memory::Memory;
use self::{
    assignment::{Pair, Solver},
    association::{Candidate, Expected, list_pairs},
    body::Body,
    flow::Step,
    motion::{Axis, Span},
    shift::Remembered,
};
use crate::{
    detection::Detection,
    geometry::{BoxPx, Point, Size},
    moment::Moment,
};

/// At most so many tracks at a time; beyond, the one that was lost first ends, or else no other begins.
pub const TRACKS_MAX: usize = 1000;
/// At most so many detections of a frame are followed: the best.
pub const DETECTIONS_MAX: usize = 512;
/// What two models of the same thing have in common at least: a detection that covers another so far begins no track.
const COVERS: f32 = 0.8;
/// What is unsure reaches no farther than this share of what is usual.
const REACH_UNSURE: f32 = 0.8;
/// What was seen but once reaches no farther than this share, unless all is fast.
const REACH_NEAR: f32 = 0.5;
/// What moves by more than this share of its size between two frames is fast.
const FAST: f32 = 0.5;
/// A gap of more seconds is one in which all may have changed: after it things are looked for only where they would be now,
/// or where they stood, so that another that came meanwhile is not taken for one that went.
const GAP_S: f32 = 2.0;
/// The share of the usual reach after such a gap.
const REACH_GAP: f32 = 0.25;
/// In a gap of more seconds than this a belt may have stopped.
const PAUSE_S: f32 = 0.5;
/// The share of the way so far that counts beside the step of a frame.
const COURSE_KEPT: f32 = 0.98;
/// A belt that moves by less than this share of a box a second has no direction.
const COURSE: f32 = 0.1;
/// No thing is expected farther on than it would be after so many seconds.
const AHEAD_MAX_S: f32 = 60.0;
/// What moves slower than so many box sizes per second stands, as far as a gap goes.
const STANDS: f32 = 0.3;
/// Coordinates beyond this are no places in a picture.
const PIXELS_MAX: f32 = 1e5;

/// How tracks are made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Detections from this confidence on are matched first and may begin a track.
    pub sure: f32,
    /// Detections from this confidence on may go on with a track.
    pub unsure: f32,
    /// A track that was not seen for so long is over, but not before `lost_frames` frames.
    pub lost_after: Duration,
    /// See `lost_after`. What was seen once only is over after so many frames, however short they are.
    pub lost_frames: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { sure: 0.25, unsure: 0.1, lost_after: Duration::from_secs(1), lost_frames: 3 }
    }
}

/// A thing over time.
#[derive(Clone, Debug, PartialEq)]
pub struct Track {
    /// Its number, from 1: rises, over restarts as well.
    pub id: u64,
    /// Index of the class that it was seen as most, weighted by confidence.
    pub class: usize,
    /// Name of that class.
    pub name: Arc<str>,
    /// Confidence of its last detection.
    pub confidence: f32,
    /// The highest confidence so far.
    pub confidence_max: f32,
    /// Where it is: as detected last, or as predicted while it is lost.
    pub bounds: BoxPx,
    /// How fast its centre moves, in pixels per second.
    pub velocity: Point,
    /// When it was first seen.
    pub first_seen: Moment,
    /// When it was last seen.
    pub last_seen: Moment,
    /// In how many frames it was seen.
    pub seen: u32,
    /// How sure it is that there is one thing behind it.
    pub state: TrackState,
}

/// How a track stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrackState {
    /// Seen once, in this frame: it may be a mistake of the model.
    New,
    /// Seen in this frame, and before.
    Seen,
    /// Not seen in this frame.
    Lost,
}

/// Follows the things in one camera's picture.
#[derive(Debug)]
pub struct Tracker {
    settings: Settings,
    /// Number of the last track that began.
    last_id: u64,
    /// When the last frame was taken.
    last_frame: Option<Moment>,
    /// Seconds from one frame to the next, in the median of late; `None` before the second frame.
    interval: Option<f32>,
    /// What most things moved by, in pixels per second, in the last frame.
    flow: Option<[f32; 2]>,
    /// The way that all things went of late, in pixels, however often it turned; `None` where each goes its own way.
    course: Option<[f32; 2]>,
    tracks: Vec<Track>,
    /// What else is known of each track, in the same order.
    bodies: Vec<Body>,
    ended: Vec<Track>,
    /// What a recall left behind: it ends with the next update.
    leaving: Vec<Track>,
    room: Room,
}

/// Buffers that are kept from frame to frame.
#[derive(Debug, Default)]
struct Room {
    candidates: Vec<Candidate>,
    expected: Vec<Expected>,
    /// The axes of each track before this frame.
    before: Vec<(Axis, Axis)>,
    /// The candidate that each track got.
    taken: Vec<Option<usize>>,
    rows: Vec<usize>,
    columns: Vec<usize>,
    pairs: Vec<Pair>,
    solver: Solver,
    steps: Vec<Step>,
    remembered: Vec<Remembered>,
    /// The detections that tell where a belt has gone.
    telling: Vec<Candidate>,
    shifts: Vec<f32>,
    numbers: Vec<f32>,
}

impl Tracker {
    /// One that has seen nothing.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            last_id: 0,
            last_frame: None,
            interval: None,
            flow: None,
            course: None,
            tracks: Vec::new(),
            bodies: Vec::new(),
            ended: Vec::new(),
            leaving: Vec::new(),
            room: Room::default(),
        }
    }

    /// Takes the detections of the next frame, of any confidence, and gives each its `track_id`. `now` is when the frame was
    /// taken, `size` the frame's.
    ///
    /// What has no box, or none with edges in order and within reach of a picture, belongs to no track; neither does what is
    /// less sure than [`Settings::unsure`], or beyond the best [`DETECTIONS_MAX`].
    pub fn update(&mut self, now: Moment, size: Size, found: &mut [Detection]) {
        self.ended.clear();
        self.ended.append(&mut self.leaving);
        let seconds = self.last_frame.map_or(0.0, |last| now.since(last).as_secs_f32());
        self.last_frame = Some(now.max(self.last_frame.unwrap_or(now)));
        let is_blind = self.was_blind(seconds);
        self.list_candidates(size, found);
        self.predict(seconds);
        let aligned = is_blind && self.align(seconds, size);
        self.associate(if aligned { 0.0 } else { seconds });
        self.observe(now, found);
        self.go_with_the_flow(seconds);
        self.end(now);
        self.begin(now, found);
    }

    /// All tracks, lost ones included, by rising id.
    pub fn tracks(&self) -> &[Track] {
        &self.tracks
    }

    /// Tracks that ended with the last update, as they were last seen.
    pub fn ended(&self) -> &[Track] {
        &self.ended
    }

    fn list_candidates(&mut self, size: Size, found: &mut [Detection]) {
        let candidates = &mut self.room.candidates;
        candidates.clear();
        let borders = (size.width as f32, size.height as f32);
        for (index, detection) in found.iter_mut().enumerate() {
            detection.track_id = None;
            let Some(bounds) = detection.bounds().filter(is_sound) else { continue };
            if detection.confidence >= self.settings.unsure {
                candidates.push(Candidate {
                    index,
                    x: Span { low: bounds.x1, high: bounds.x2, border: borders.0 },
                    y: Span { low: bounds.y1, high: bounds.y2, border: borders.1 },
                    class: detection.class,
                    confidence: detection.confidence,
                    is_taken: false,
                });
            }
        }
        candidates.sort_unstable_by(|a, b| b.confidence.total_cmp(&a.confidence).then(a.index.cmp(&b.index)));
        candidates.truncate(DETECTIONS_MAX);
    }

    /// Moves all tracks to where they are expected now.
    fn predict(&mut self, seconds: f32) {
        let Room { expected, before, taken, .. } = &mut self.room;
        expected.clear();
        before.clear();
        taken.clear();
        let ahead = seconds.min(AHEAD_MAX_S);
        let course = self.course.and_then(unit);
        for (track, body) in self.tracks.iter().zip(&mut self.bodies) {
            before.push((body.x, body.y));
            if seconds > GAP_S {
                body.stand_below(STANDS);
            }
            let flow = self.flow.filter(|_| body.missed > 0 && body.is_in_flow());
            body.advance(flow.map(|flow| [flow[0] * ahead, flow[1] * ahead]), ahead);
            let away = [body.seen_at[0] - body.x.at, body.seen_at[1] - body.y.at];
            let is_pause = seconds > PAUSE_S && seconds <= GAP_S;
            let may_have_stopped = is_pause || (body.missed > 0 && flow.is_none() && seconds <= GAP_S);
            expected.push(Expected {
                x: body.x,
                y: body.y,
                class: track.class,
                back: may_have_stopped.then_some(away),
                step: [body.x.velocity * ahead, body.y.velocity * ahead],
                course: course.filter(|_| body.missed > 0 && body.is_in_flow()),
            });
            taken.push(None);
        }
    }

    /// The three rounds of ByteTrack.
    fn associate(&mut self, seconds: f32) {
        let sure = self.settings.sure;
        let usual = if seconds > GAP_S { REACH_GAP } else { 1.0 };
        self.round(|track, _| track.seen > 1, |candidate| candidate.confidence >= sure, usual);
        self.round(|track, _| track.seen > 1, |candidate| candidate.confidence < sure, usual * REACH_UNSURE);
        self.round(|track, _| track.seen == 1, |_| true, usual * REACH_NEAR);
        // What was seen once, in the frame before, may be as fast as it likes, unless others show that nothing here is fast.
        if seconds <= GAP_S && self.is_fast() {
            self.round(
                |track, body| track.seen == 1 && body.missed == 0,
                |candidate| candidate.confidence >= sure,
                1.0,
            );
        }
    }

    /// Whether what was found in this frame moved by more than a part of its size since the frame before.
    fn is_fast(&self) -> bool {
        let Room { candidates, before, taken, .. } = &self.room;
        let step = |(at, taken): (usize, &Option<usize>)| {
            let candidate = candidates[(*taken)?];
            let (x, y) = (before[at].0.at - candidate.x.centre(), before[at].1.at - candidate.y.centre());
            Some((x.abs() + y.abs()) / candidate.scale())
        };
        let seen_before = taken.iter().enumerate().filter(|&(at, _)| self.bodies[at].missed == 0);
        seen_before.filter_map(step).reduce(f32::max).is_none_or(|fastest| fastest > FAST)
    }

    fn round(&mut self, wants: impl Fn(&Track, &Body) -> bool, offers: impl Fn(&Candidate) -> bool, reach: f32) {
        let Room { candidates, expected, taken, rows, columns, pairs, solver, .. } = &mut self.room;
        rows.clear();
        rows.extend((0..taken.len()).filter(|&at| taken[at].is_none() && wants(&self.tracks[at], &self.bodies[at])));
        columns.clear();
        columns.extend((0..candidates.len()).filter(|&at| !candidates[at].is_taken && offers(&candidates[at])));
        list_pairs(expected, rows, candidates, columns, reach, pairs);
        solver.solve(rows.len(), columns.len(), pairs, |row, column| {
            taken[rows[row]] = Some(columns[column]);
            candidates[columns[column]].is_taken = true;
        });
    }

    /// Tells each track what was found of it.
    fn observe(&mut self, now: Moment, found: &mut [Detection]) {
        for (at, (track, body)) in self.tracks.iter_mut().zip(&mut self.bodies).enumerate() {
            let Some(candidate) = self.room.taken[at].map(|taken| self.room.candidates[taken]) else { continue };
            let detection = &mut found[candidate.index];
            detection.track_id = Some(track.id);
            body.observe(&candidate);
            body.vote(detection);
            let best = &body.votes[0];
            if best.class != track.class {
                (track.class, track.name) = (best.class, best.name.clone());
            }
            track.confidence = candidate.confidence;
            track.confidence_max = track.confidence_max.max(candidate.confidence);
            track.bounds = candidate.bounds();
            track.last_seen = now;
            track.seen = track.seen.saturating_add(1);
            track.state = TrackState::Seen;
        }
    }

    /// Finds out what most tracks moved by, and moves those along that are hidden and belong to them.
    fn go_with_the_flow(&mut self, seconds: f32) {
        let Room { before, taken, steps, numbers, .. } = &mut self.room;
        let step_of = |at: usize, body: &Body| Step {
            by: [body.x.at - before[at].0.at, body.y.at - before[at].1.at],
            scale: body.scale(),
        };
        steps.clear();
        for (at, (track, body)) in self.tracks.iter().zip(&self.bodies).enumerate() {
            if taken[at].is_some() && body.missed == 0 && track.seen > 3 {
                steps.push(step_of(at, body));
            }
        }
        let common = flow::common(steps, numbers);
        self.flow = common.filter(|_| seconds > 0.0).map(|common| [common[0] / seconds, common[1] / seconds]);
        if let Some(flow) = self.flow {
            let scale = steps.iter().map(|step| step.scale).fold(0.0, f32::max);
            let speed = (flow[0] * flow[0] + flow[1] * flow[1]).sqrt();
            if speed > COURSE * scale {
                let [x, y] = self.course.unwrap_or_default();
                let sign = (x * flow[0] + y * flow[1]).signum() * seconds;
                self.course = Some([COURSE_KEPT * x + sign * flow[0], COURSE_KEPT * y + sign * flow[1]]);
            }
        } else if steps.len() >= 3 {
            self.course = None;
        }
        for (at, (track, body)) in self.tracks.iter_mut().zip(&mut self.bodies).enumerate() {
            if taken[at].is_some() {
                if let Some(common) = common {
                    let agrees = step_of(at, body).agrees(common);
                    body.agreed = if agrees { body.agreed.saturating_add(1) } else { 0 };
                }
                body.missed = 0;
            } else {
                if let (Some(common), true) = (common, body.is_in_flow()) {
                    (body.x, body.y) = before[at];
                    body.advance(Some(common), seconds);
                }
                body.missed = body.missed.saturating_add(1);
                track.state = TrackState::Lost;
                track.bounds = body.bounds();
            }
            track.velocity = body.velocity();
        }
    }

    /// Takes out what was not seen for too long.
    fn end(&mut self, now: Moment) {
        let Settings { lost_after, lost_frames, .. } = self.settings;
        let is_over = |track: &Track, body: &Body| {
            let is_mistake = track.seen == 1;
            body.missed >= lost_frames.max(1) && (is_mistake || now.since(track.last_seen) >= lost_after)
        };
        let mut kept = 0;
        for at in 0..self.tracks.len() {
            if is_over(&self.tracks[at], &self.bodies[at]) {
                self.ended.push(Track { bounds: self.bodies[at].seen, ..self.tracks[at].clone() });
            } else {
                self.tracks.swap(kept, at);
                self.bodies.swap(kept, at);
                kept += 1;
            }
        }
        self.tracks.truncate(kept);
        self.bodies.truncate(kept);
    }

    /// Begins tracks for what is sure and belongs to none.
    fn begin(&mut self, now: Moment, found: &mut [Detection]) {
        for at in 0..self.room.candidates.len() {
            let candidate = self.room.candidates[at];
            let bounds = candidate.bounds();
            let covers = |other: &Candidate| other.is_taken && other.bounds().iou(&bounds) >= COVERS;
            if candidate.is_taken
                || candidate.confidence < self.settings.sure
                || self.room.candidates.iter().any(covers)
                || !self.has_place()
            {
                continue;
            }
            self.room.candidates[at].is_taken = true;
            self.last_id += 1;
            let detection = &mut found[candidate.index];
            detection.track_id = Some(self.last_id);
            let body = Body::new(&candidate, detection, self.flow);
            self.tracks.push(Track {
                id: self.last_id,
                class: detection.class,
                name: detection.name.clone(),
                confidence: candidate.confidence,
                confidence_max: candidate.confidence,
                bounds,
                velocity: body.velocity(),
                first_seen: now,
                last_seen: now,
                seen: 1,
                state: TrackState::New,
            });
            self.bodies.push(body);
        }
    }

    /// Makes place for one more track; the one that was lost first goes. False where all are in view.
    fn has_place(&mut self) -> bool {
        if self.tracks.len() < TRACKS_MAX {
            return true;
        }
        let lost = (0..self.tracks.len()).filter(|&at| self.bodies[at].missed > 0);
        let Some(first) = lost.min_by_key(|&at| (self.tracks[at].last_seen, at)) else { return false };
        let (track, body) = (self.tracks.remove(first), self.bodies.remove(first));
        self.ended.push(Track { bounds: body.seen, ..track });
        true
    }
}

/// The direction of a way, of length one; `None` where it is shorter than a pixel.
fn unit([x, y]: [f32; 2]) -> Option<[f32; 2]> {
    let length = (x * x + y * y).sqrt();
    (length >= 1.0).then(|| [x / length, y / length])
}

/// Whether a box has edges in order, where a picture may be.
fn is_sound(bounds: &BoxPx) -> bool {
    let BoxPx { x1, y1, x2, y2 } = *bounds;
    // What is no number is not in any range.
    [x1, y1, x2, y2].iter().all(|edge| (-PIXELS_MAX..=PIXELS_MAX).contains(edge)) && x1 <= x2 && y1 <= y2
}

#[cfg(test)]
mod tests;
