//! What is known of a track beside what is told of it.

use std::sync::Arc;

use super::{
    association::Candidate,
    motion::{Axis, Span},
};
use crate::{
    detection::Detection,
    geometry::{BoxPx, Point},
};

/// A track keeps the votes for so many classes at most: the heaviest.
const VOTES_MAX: usize = 8;
/// What moved as the others did in so many frames on end moves on as they do while it is hidden.
const AGREED_MIN: u32 = 10;
/// Standard deviation of the velocity of what was never seen before, in box sizes per second.
const SPREAD: f32 = 20.0;
/// The same where the others have a velocity in common, and the share of that velocity.
const SPREAD_FLOW: (f32, f32) = (4.0, 0.5);

/// The thing behind a track.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Body {
    pub(super) x: Axis,
    pub(super) y: Axis,
    /// Where it was detected last.
    pub(super) seen: BoxPx,
    /// Where its centre was then.
    pub(super) seen_at: [f32; 2],
    /// Frames since then.
    pub(super) missed: u32,
    /// In how many frames up to then it moved as the others did.
    pub(super) agreed: u32,
    /// The classes that it was seen as, the heaviest first; never empty.
    pub(super) votes: Vec<Vote>,
}

/// How much a track was seen as one class.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Vote {
    pub(super) class: usize,
    pub(super) name: Arc<str>,
    /// The sum of confidences.
    pub(super) weight: f32,
}

impl Body {
    /// One that was seen once; `flow` is the velocity of the others.
    pub(super) fn new(candidate: &Candidate, detection: &Detection, flow: Option<[f32; 2]>) -> Self {
        let scale = candidate.scale();
        let axis = |span: Span, flow: Option<f32>| {
            let spread = flow.map_or(SPREAD * scale, |flow| SPREAD_FLOW.0 * scale + SPREAD_FLOW.1 * flow.abs());
            Axis::new(span, scale, flow.unwrap_or(0.0), spread)
        };
        let (x, y) = (axis(candidate.x, flow.map(|flow| flow[0])), axis(candidate.y, flow.map(|flow| flow[1])));
        let vote = Vote { class: detection.class, name: detection.name.clone(), weight: candidate.confidence };
        Self { x, y, seen: candidate.bounds(), seen_at: [x.at, y.at], missed: 0, agreed: 0, votes: vec![vote] }
    }

    /// The size of the box: between its width and its height.
    pub(super) fn scale(&self) -> f32 {
        (self.x.extent + self.y.extent) / 2.0
    }

    /// Goes on by so many seconds: by the step that the others made, or by its own motion.
    pub(super) fn advance(&mut self, step: Option<[f32; 2]>, seconds: f32) {
        let scale = self.scale();
        match step {
            Some(step) => {
                self.x.follow(step[0], seconds, scale);
                self.y.follow(step[1], seconds, scale);
            }
            None => {
                self.x.predict(seconds, scale);
                self.y.predict(seconds, scale);
            }
        }
    }

    /// Takes what is slower than so many box sizes per second as standing.
    pub(super) fn stand_below(&mut self, slow: f32) {
        let slow = slow * self.scale();
        if self.x.velocity.abs() < slow && self.y.velocity.abs() < slow {
            (self.x.velocity, self.y.velocity) = (0.0, 0.0);
        }
    }

    /// Learns where it was detected.
    pub(super) fn observe(&mut self, candidate: &Candidate) {
        let scale = self.scale();
        self.x.observe(candidate.x, scale);
        self.y.observe(candidate.y, scale);
        (self.seen, self.seen_at) = (candidate.bounds(), [self.x.at, self.y.at]);
    }

    /// Learns as what it was detected. Where two classes weigh the same, the one that was the heavier before stays.
    pub(super) fn vote(&mut self, detection: &Detection) {
        let mut at = match self.votes.iter().position(|vote| vote.class == detection.class) {
            Some(at) => at,
            None => {
                self.votes.truncate(VOTES_MAX - 1);
                self.votes.push(Vote { class: detection.class, name: detection.name.clone(), weight: 0.0 });
                self.votes.len() - 1
            }
        };
        self.votes[at].weight += detection.confidence;
        while at > 0 && self.votes[at].weight > self.votes[at - 1].weight {
            self.votes.swap(at, at - 1);
            at -= 1;
        }
    }

    /// Whether it belongs to what the others lie on.
    pub(super) fn is_in_flow(&self) -> bool {
        self.agreed >= AGREED_MIN
    }

    /// Pixels per second.
    pub(super) fn velocity(&self) -> Point {
        Point { x: self.x.velocity, y: self.y.velocity }
    }

    /// Where it is expected.
    pub(super) fn bounds(&self) -> BoxPx {
        BoxPx::from_center(self.x.at, self.y.at, self.x.extent, self.y.extent)
    }
}
