//! Which tracks are in a zone: a thing has come once it was there for a while, and has gone once it was not seen there for a
//! while.
//!
//! - Only time over which frames came makes a thing gone: a gap between two frames, as after a restart, counts as half of
//!   what is needed at most, so that it takes at least two frames without it.
//! - A new track that starts near where another of the same class is hidden goes on with what is known of that one: a hand
//!   over a basket takes nothing out.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    counter::{Booked, Change},
    crossing::{FRESH_FRAMES_MAX, TRACKS_MAX, distance},
    place::{Anchor, Zone},
};
use crate::{
    event::Way,
    geometry::{Point, Size},
    moment::Moment,
    track::{Track, TrackState},
};

/// Follows tracks into a zone and out of it.
#[derive(Debug)]
pub(super) struct Presence {
    zone: Zone,
    anchor: Anchor,
    settle: Duration,
    gone_after: Duration,
    /// By rising id; at most [`TRACKS_MAX`], and of more, that which was hidden for longest is forgotten.
    present: Vec<Present>,
}

/// A track that was seen in the zone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Present {
    id: u64,
    /// Its class: as counted, or as it is now where it is not counted yet.
    name: String,
    /// Since when it has been there.
    since: Moment,
    /// For how many microseconds it was not seen there.
    hidden_micros: u64,
    /// Where its anchor was last, in pixels.
    at: (f32, f32),
    /// The longer side of its box in pixels: how far from there it may be found again.
    reach: f32,
    /// Once it has come.
    booked: Option<Booked>,
    /// When that was.
    came_at: Option<Moment>,
}

/// A frame's tracks.
#[derive(Clone, Copy)]
pub(super) struct Sighting<'a> {
    pub(super) tracks: &'a [Track],
    pub(super) size: Size,
    /// When the frame was taken.
    pub(super) now: Moment,
    /// Since the frame before; zero where what the camera shows cannot be relied on.
    pub(super) span: Duration,
}

impl Presence {
    /// One that has seen nothing.
    pub(super) fn new(zone: Zone, settle: Duration, gone_after: Duration, anchor: Anchor) -> Self {
        Self { zone, anchor, settle, gone_after, present: Vec::new() }
    }

    /// Takes the tracks of a frame. Says who has come, of those that are wanted, and who has gone, of those that had come.
    /// Gives whether anything wanted was seen in the zone.
    pub(super) fn update(
        &mut self,
        sighting: Sighting<'_>,
        wanted: impl Fn(&Track) -> bool,
        mut tell: impl FnMut(Change),
    ) -> bool {
        let Sighting { tracks, size, now, span } = sighting;
        let hidden = span.min(self.gone_after / 2);
        for present in &mut self.present {
            present.hidden_micros = present.hidden_micros.saturating_add(micros(hidden).max(1));
        }
        let mut busy = false;
        for track in tracks.iter().filter(|track| track.state != TrackState::Lost) {
            let point = self.anchor.of(&track.bounds);
            let index = self.present.binary_search_by_key(&track.id, |present| present.id);
            if !self.zone.contains(point, size) {
                // What only passes has not stayed; what had come may tremble at the edge.
                if let Ok(index) = index
                    && self.present[index].booked.is_none()
                {
                    self.present.remove(index);
                }
                continue;
            }
            let settle = self.settle;
            let present = match index {
                Ok(index) => &mut self.present[index],
                Err(_) => self.begin(track, point, tracks, now),
            };
            present.see(track, point);
            if !wanted(track) {
                continue;
            }
            busy = true;
            if present.booked.is_none() && track.state == TrackState::Seen && now.since(present.since) >= settle {
                present.booked = Some(Booked::Here);
                present.came_at = Some(now);
                tell(Change {
                    track: track.id,
                    name: Arc::clone(&track.name),
                    way: Way::In,
                    booked: Booked::Here,
                    counts: true,
                    since: Some(present.since),
                    score: Some(track.confidence),
                });
            }
        }
        if span > Duration::ZERO {
            self.leave(&mut tell);
        }
        busy
    }

    /// Lets those go that were hidden for long enough.
    fn leave(&mut self, tell: &mut impl FnMut(Change)) {
        let limit = micros(self.gone_after).max(1);
        self.present.retain(|present| {
            if present.hidden_micros < limit {
                return true;
            }
            if let Some(booked) = present.booked.filter(|booked| *booked != Booked::Nowhere) {
                let (track, name, since) = (present.id, present.name.as_str().into(), present.came_at);
                tell(Change { track, name, way: Way::Out, booked, counts: true, since, score: None });
            }
            false
        });
    }

    /// Says that what has come was counted nowhere; so its leaving will not be either.
    pub(super) fn leave_out(&mut self, track: u64) {
        if let Ok(index) = self.present.binary_search_by_key(&track, |present| present.id) {
            self.present[index].booked = Some(Booked::Nowhere);
        }
    }

    /// Says that a session has ended: what has come so far was counted in an earlier one.
    pub(super) fn session_ended(&mut self) {
        self.present.iter_mut().filter_map(|present| present.booked.as_mut()).for_each(Booked::end);
    }

    /// What has to be known after a restart.
    pub(super) fn memory(&self) -> serde_json::Value {
        serde_json::to_value(&self.present).expect("numbers are finite and keys are text")
    }

    /// Goes on where an earlier process ended; moments of the future become `now`. Gives whether it
    /// made sense.
    pub(super) fn recall(&mut self, memory: &serde_json::Value, now: Moment) -> bool {
        let Ok(mut present) = Vec::<Present>::deserialize(memory) else { return false };
        for present in &mut present {
            present.since = present.since.min(now);
            present.came_at = present.came_at.map(|at| at.min(now));
        }
        present.sort_by_key(|present| present.id);
        present.dedup_by_key(|present| present.id);
        present.truncate(TRACKS_MAX);
        self.present = present;
        true
    }

    /// Makes room for a track that is new in the zone, and looks whether it goes on with one that is hidden.
    fn begin(&mut self, track: &Track, point: Point, tracks: &[Track], now: Moment) -> &mut Present {
        let mut best: Option<(usize, f32)> = None;
        let fresh = track.seen <= FRESH_FRAMES_MAX;
        for (index, present) in self.present.iter().enumerate().filter(|_| fresh) {
            let known = tracks.binary_search_by_key(&present.id, |track| track.id);
            let shown = known.is_ok_and(|index| tracks[index].state != TrackState::Lost);
            let near = distance(Point { x: present.at.0, y: present.at.1 }, point);
            let nearer = best.is_none_or(|(_, least)| near < least);
            if !shown && nearer && near <= present.reach && *present.name == *track.name {
                best = Some((index, near));
            }
        }
        let present = match best {
            Some((index, _)) => Present { id: track.id, ..self.present.remove(index) },
            None => Present {
                id: track.id,
                name: String::new(),
                since: now,
                hidden_micros: 0,
                at: (0.0, 0.0),
                reach: 0.0,
                booked: None,
                came_at: None,
            },
        };
        if self.present.len() >= TRACKS_MAX {
            let hidden = (0..self.present.len()).max_by_key(|index| self.present[*index].hidden_micros);
            self.present.remove(hidden.expect("there are as many as there may be"));
        }
        let index = self.present.partition_point(|other| other.id < present.id);
        self.present.insert(index, present);
        &mut self.present[index]
    }
}

impl Present {
    /// Notes where it is.
    fn see(&mut self, track: &Track, point: Point) {
        if self.booked.is_none() && *self.name != *track.name {
            self.name.clear();
            self.name.push_str(&track.name);
        }
        let reach = track.bounds.width().max(track.bounds.height());
        self.reach = if reach.is_finite() { reach } else { 0.0 };
        self.at = (point.x, point.y);
        self.hidden_micros = 0;
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}
