//! When what is remembered of a station is too old to be of use: things have moved on that rules follow. A line that stands
//! still is remembered once, which spares flash.

use super::Station;
use crate::{geometry::Point, track::Track};

/// A thing has moved on when its centre has by this share of its box.
const MOVED_SHARE: f32 = 0.25;

/// Where the things were that rules follow, when a memory was taken.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Whereabouts {
    /// Tracks by rising id, and their centres.
    tracks: Vec<(u64, Point)>,
}

impl Station {
    /// What [`Station::has_moved_on`] compares with: to be taken together with a memory.
    pub fn whereabouts(&self) -> Whereabouts {
        Whereabouts { tracks: self.followed().iter().map(|track| (track.id, centre(track))).collect() }
    }

    /// Whether a memory of then would no longer do after a restart.
    pub fn has_moved_on(&self, then: &Whereabouts) -> bool {
        let stays = |(track, (id, before)): (&Track, &(u64, Point))| {
            let (now, bounds) = (centre(track), track.bounds);
            let right = (now.x - before.x).abs() <= MOVED_SHARE * bounds.width();
            let down = (now.y - before.y).abs() <= MOVED_SHARE * bounds.height();
            track.id == *id && right && down
        };
        let tracks = self.followed();
        tracks.len() != then.tracks.len() || !tracks.iter().zip(&then.tracks).all(stays)
    }

    /// The tracks, where any rule follows things.
    fn followed(&self) -> &[Track] {
        match &self.tracker {
            Some(tracker) if self.follows => tracker.tracks(),
            _ => &[],
        }
    }
}

fn centre(track: &Track) -> Point {
    let bounds = track.bounds;
    Point { x: f32::midpoint(bounds.x1, bounds.x2), y: f32::midpoint(bounds.y1, bounds.y2) }
}
