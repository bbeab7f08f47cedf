//! What a tracker has to know after a restart: all that decides, so that going on with it gives the same ids as going on
//! without.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    TRACKS_MAX, Track, TrackState, Tracker,
    body::{Body, Vote},
    motion::Axis,
};
use crate::{geometry::BoxPx, moment::Moment};

/// After a gap longer than this, and than [`super::Settings::lost_after`], nothing is believed to be the same.
const GAP_MAX: Duration = Duration::from_secs(30);

/// What has to be known after a restart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    last_id: u64,
    last_frame: Option<Moment>,
    /// Seconds between two frames.
    interval: Option<f32>,
    /// Pixels per second.
    flow: Option<[f32; 2]>,
    course: Option<[f32; 2]>,
    tracks: Vec<Remembered>,
}

/// One track; single precision goes through JSON unharmed. Short names keep a long memory within a note.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Remembered {
    #[serde(rename = "i")]
    id: u64,
    #[serde(rename = "c")]
    confidence: f32,
    #[serde(rename = "m")]
    confidence_max: f32,
    #[serde(rename = "f")]
    first_seen: Moment,
    #[serde(rename = "l")]
    last_seen: Moment,
    #[serde(rename = "n")]
    seen: u32,
    x: Axis,
    y: Axis,
    /// `x1, y1, x2, y2`
    #[serde(rename = "b")]
    seen_box: [f32; 4],
    #[serde(rename = "p")]
    seen_at: [f32; 2],
    #[serde(rename = "u")]
    missed: u32,
    #[serde(rename = "a")]
    agreed: u32,
    /// Class, name, weight.
    #[serde(rename = "v")]
    votes: Vec<(usize, String, f32)>,
}

impl Tracker {
    /// What has to be known after a restart.
    pub fn memory(&self) -> Memory {
        let remembered = |(track, body): (&Track, &Body)| Remembered {
            id: track.id,
            confidence: track.confidence,
            confidence_max: track.confidence_max,
            first_seen: track.first_seen,
            last_seen: track.last_seen,
            seen: track.seen,
            x: body.x,
            y: body.y,
            seen_box: [body.seen.x1, body.seen.y1, body.seen.x2, body.seen.y2],
            seen_at: body.seen_at,
            missed: body.missed,
            agreed: body.agreed,
            votes: body.votes.iter().map(|vote| (vote.class, vote.name.to_string(), vote.weight)).collect(),
        };
        Memory {
            last_id: self.last_id,
            last_frame: self.last_frame,
            interval: self.interval,
            flow: self.flow,
            course: self.course,
            tracks: self.tracks.iter().zip(&self.bodies).map(remembered).collect(),
        }
    }

    /// Goes on where an earlier process ended, at most half a minute ago or [`super::Settings::lost_after`], if that is
    /// longer; else only the numbers go on, and the tracks end with the next update. Moments of the future, from a clock
    /// that was ahead, become `now`.
    pub fn recall(&mut self, memory: &Memory, now: Moment) {
        self.last_id = self.last_id.max(memory.last_id);
        let Some(last_frame) = memory.last_frame else { return };
        let is_fresh = now.since(last_frame) <= GAP_MAX.max(self.settings.lost_after);
        for remembered in memory.tracks.iter().take(TRACKS_MAX) {
            self.last_id = self.last_id.max(remembered.id);
            let Some((track, body)) = restored(remembered, now) else { continue };
            if is_fresh {
                self.tracks.push(track);
                self.bodies.push(body);
            } else {
                self.leaving.push(Track { bounds: body.seen, ..track });
            }
        }
        if is_fresh {
            self.last_frame = Some(last_frame.min(now));
            self.interval = memory.interval.filter(|seconds| seconds.is_finite() && *seconds > 0.0);
            self.course = memory.course.filter(|course| course.iter().all(|part| part.is_finite()));
            self.flow = memory.flow.filter(|flow| flow.iter().all(|velocity| velocity.is_finite()));
        }
    }
}

/// A track as it was; `None` where what is remembered makes no sense.
fn restored(remembered: &Remembered, now: Moment) -> Option<(Track, Body)> {
    let [x1, y1, x2, y2] = remembered.seen_box;
    let vote = |(class, name, weight): &(usize, String, f32)| Vote {
        class: *class,
        name: Arc::from(name.as_str()),
        weight: *weight,
    };
    let body = Body {
        x: remembered.x,
        y: remembered.y,
        seen: BoxPx { x1, y1, x2, y2 },
        seen_at: remembered.seen_at,
        missed: remembered.missed,
        agreed: remembered.agreed,
        votes: remembered.votes.iter().map(vote).collect(),
    };
    let best = body.votes.first().filter(|_| body.x.is_sound() && body.y.is_sound())?;
    let state = match (remembered.missed, remembered.seen) {
        (0, 0 | 1) => TrackState::New,
        (0, _) => TrackState::Seen,
        _ => TrackState::Lost,
    };
    let track = Track {
        id: remembered.id,
        class: best.class,
        name: best.name.clone(),
        confidence: remembered.confidence,
        confidence_max: remembered.confidence_max,
        bounds: if remembered.missed == 0 { body.seen } else { body.bounds() },
        velocity: body.velocity(),
        first_seen: remembered.first_seen.min(now),
        last_seen: remembered.last_seen.min(now),
        seen: remembered.seen,
        state,
    };
    Some((track, body))
}
