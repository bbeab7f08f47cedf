//! What happens to single things: one comes, becomes something else, goes. Tracks tell where there are some, class and place
//! where there are none.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Change, Thing, presence::Presence};
use crate::{
    detection::{Detection, Geometry},
    geometry::BoxPx,
    moment::Moment,
    track::Track,
};

/// So many things are known after a restart; others that are still there appear again.
const REMEMBERED_MAX: usize = 64;

/// The things that were told of and have not left, and what their events are called.
#[derive(Debug)]
pub(super) struct Things {
    camera: String,
    /// Makes names unique together with `count`: events are called `<camera>-<born>-<count>`.
    born: Moment,
    count: u64,
    /// By rising track.
    tracked: Vec<Tracked>,
    untracked: Presence,
}

/// A thing with a track.
#[derive(Debug)]
struct Tracked {
    track: u64,
    /// As last seen; its class is the track's.
    seen: Detection,
}

/// What has to be known after a restart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Memory {
    born: Moment,
    count: u64,
    there: Vec<Remembered>,
}

/// A thing that was told of and has not left.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Remembered {
    track: Option<u64>,
    class: usize,
    name: String,
    confidence: f32,
    /// `x1`, `y1`, `x2`, `y2`; `None` for a statement about the whole picture.
    bounds: Option<[f32; 4]>,
}

impl Things {
    /// None yet.
    pub(super) fn new(camera: &str, born: Moment) -> Self {
        let untracked = Presence::default();
        Self { camera: camera.to_owned(), born, count: 0, tracked: Vec::new(), untracked }
    }

    /// Takes the detections of a frame where nothing is tracked: first what left is told, then the others in their order.
    pub(super) fn see(&mut self, found: &[Detection], tell: &mut dyn FnMut(Thing)) {
        let Self { camera, born, count, untracked, .. } = self;
        untracked.update(found, |change, detection| {
            *count += 1;
            tell(Thing { id: name(camera, *born, *count), change, detection: detection.clone() });
        });
    }

    /// Takes the detections of a frame and the tracks after it, by rising id. A thing is there with the first detection of
    /// its track, so that nobody waits for a defect, and until the track is over. A statement about the whole picture has
    /// no track.
    pub(super) fn follow(&mut self, found: &[Detection], tracks: &[Track], tell: &mut dyn FnMut(Thing)) {
        let Self { camera, born, count, tracked, untracked } = self;
        let mut tell = |change, detection: &Detection| {
            *count += 1;
            tell(Thing { id: name(camera, *born, *count), change, detection: detection.clone() });
        };
        tracked.retain(|thing| {
            let goes_on = track(tracks, thing.track).is_some();
            if !goes_on {
                tell(Change::Left, &thing.seen);
            }
            goes_on
        });
        for detection in found {
            let Some(track) = detection.track_id.and_then(|id| track(tracks, id)) else { continue };
            let seen = || Detection { class: track.class, name: Arc::clone(&track.name), ..detection.clone() };
            match tracked.binary_search_by_key(&track.id, |thing| thing.track) {
                Err(place) => {
                    let seen = seen();
                    tell(Change::Appeared, &seen);
                    tracked.insert(place, Tracked { track: track.id, seen });
                }
                Ok(place) => {
                    let change = tracked[place].seen.class != track.class;
                    tracked[place].seen = seen();
                    if change {
                        tell(Change::Changed, &tracked[place].seen);
                    }
                }
            }
        }
        let is_whole = found.first().is_some_and(|detection| detection.bounds().is_none());
        untracked.update(if is_whole { found } else { &[] }, tell);
    }

    /// What has to be known after a restart.
    pub(super) fn memory(&self) -> Memory {
        let tracked = self.tracked.iter().map(|thing| (Some(thing.track), &thing.seen));
        let untracked = self.untracked.things().map(|seen| (None, seen));
        let there = tracked.chain(untracked).take(REMEMBERED_MAX).map(|(track, seen)| Remembered {
            track,
            class: seen.class,
            name: seen.name.to_string(),
            confidence: seen.confidence,
            bounds: seen.bounds().map(|BoxPx { x1, y1, x2, y2 }| [x1, y1, x2, y2]),
        });
        Memory { born: self.born, count: self.count, there: there.collect() }
    }

    /// Goes on where an earlier process ended: what is still there does not appear again, and what is not leaves.
    /// `has_tracks` says whether things are tracked now.
    pub(super) fn recall(&mut self, memory: &Memory, has_tracks: bool) {
        if memory.count == 0 {
            return;
        }
        (self.born, self.count) = (memory.born, memory.count);
        for Remembered { track, class, name, confidence, bounds } in memory.there.iter().take(REMEMBERED_MAX) {
            let geometry = match *bounds {
                Some([x1, y1, x2, y2]) => Geometry::Box(BoxPx { x1, y1, x2, y2 }),
                None => Geometry::Image,
            };
            let track = track.filter(|_| has_tracks);
            let name = name.as_str().into();
            let seen = Detection { class: *class, name, confidence: *confidence, geometry, track_id: track };
            match track {
                Some(track) => self.tracked.push(Tracked { track, seen }),
                None => self.untracked.recall(seen),
            }
        }
        self.tracked.sort_by_key(|thing| thing.track);
    }
}

fn name(camera: &str, born: Moment, number: u64) -> String {
    format!("{camera}-{:x}-{number}", born.micros())
}

fn track(tracks: &[Track], id: u64) -> Option<&Track> {
    tracks.binary_search_by_key(&id, |track| track.id).ok().map(|index| &tracks[index])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{geometry::Point, track::TrackState};

    const BORN: Moment = Moment::from_micros(0xbeef);

    fn seen_as(id: u64, class: usize) -> (Detection, Track) {
        let bounds = BoxPx { x1: 0.0, y1: 0.0, x2: 10.0, y2: 10.0 };
        let name: Arc<str> = class.to_string().into();
        let geometry = Geometry::Box(bounds);
        let detection = Detection { class, name: Arc::clone(&name), confidence: 0.9, geometry, track_id: Some(id) };
        let track = Track {
            id,
            class,
            name,
            confidence: 0.9,
            confidence_max: 0.9,
            bounds,
            velocity: Point { x: 0.0, y: 0.0 },
            first_seen: BORN,
            last_seen: BORN,
            seen: 1,
            state: TrackState::New,
        };
        (detection, track)
    }

    fn told(things: &mut Things, seen: &[(Detection, Track)], lost: &[Track]) -> Vec<(String, Change, usize)> {
        let found: Vec<_> = seen.iter().map(|(detection, _)| detection.clone()).collect();
        let mut tracks: Vec<_> = seen.iter().map(|(_, track)| track.clone()).chain(lost.iter().cloned()).collect();
        tracks.sort_by_key(|track| track.id);
        let mut told = Vec::new();
        let mut tell = |Thing { id, change, detection }: Thing| told.push((id, change, detection.class));
        things.follow(&found, &tracks, &mut tell);
        told
    }

    fn event(number: u64, change: Change, class: usize) -> (String, Change, usize) {
        (format!("in-beef-{number}"), change, class)
    }

    #[test]
    fn a_track_appears_at_once_and_leaves_when_it_is_over() {
        let mut things = Things::new("in", BORN);
        let thing = seen_as(7, 1);
        assert_eq!(told(&mut things, std::slice::from_ref(&thing), &[]), [event(1, Change::Appeared, 1)]);
        assert_eq!(told(&mut things, std::slice::from_ref(&thing), &[]), []);
        assert_eq!(told(&mut things, &[], std::slice::from_ref(&thing.1)), [], "it is lost, and may be found again");
        assert_eq!(told(&mut things, &[], &[]), [event(2, Change::Left, 1)]);
        assert_eq!(told(&mut things, &[], &[]), []);
    }

    #[test]
    fn a_track_that_becomes_another_class_has_changed_once() {
        let mut things = Things::new("in", BORN);
        told(&mut things, &[seen_as(7, 1), seen_as(8, 1)], &[]);
        let wavers = (seen_as(7, 2).0, seen_as(7, 1).1);
        assert_eq!(told(&mut things, &[wavers, seen_as(8, 1)], &[]), [], "one frame makes no other class");
        let changed = [seen_as(7, 2), seen_as(8, 1)];
        assert_eq!(told(&mut things, &changed, &[]), [event(3, Change::Changed, 2)]);
        assert_eq!(told(&mut things, &changed, &[]), []);
    }

    #[test]
    fn a_statement_about_the_whole_picture_needs_no_track() {
        let mut things = Things::new("in", BORN);
        let mut whole = seen_as(1, 3).0;
        (whole.geometry, whole.track_id) = (Geometry::Image, None);
        let mut count = 0;
        for _ in 0..3 {
            things.follow(std::slice::from_ref(&whole), &[], &mut |_| count += 1);
        }
        assert_eq!(count, 1);
    }

    #[test]
    fn after_a_restart_nothing_appears_again_and_names_go_on() {
        for has_tracks in [true, false] {
            let mut before = Things::new("in", BORN);
            let (stays, goes) = (seen_as(7, 1), seen_as(8, 2));
            let mut goes_elsewhere = goes.clone();
            let far = BoxPx { x1: 500.0, y1: 0.0, x2: 510.0, y2: 10.0 };
            goes_elsewhere.0.geometry = Geometry::Box(far);
            told(&mut before, &[stays.clone(), goes_elsewhere], &[]);
            let memory = serde_json::to_string(&before.memory()).unwrap();

            let mut after = Things::new("in", Moment::from_micros(0xcafe));
            after.recall(&serde_json::from_str(&memory).unwrap(), has_tracks);
            let mut said = Vec::new();
            for _ in 0..3 {
                let mut tell = |Thing { id, change, detection }: Thing| said.push((id, change, detection.class));
                match has_tracks {
                    true => after.follow(std::slice::from_ref(&stays.0), std::slice::from_ref(&stays.1), &mut tell),
                    false => after.see(std::slice::from_ref(&stays.0), &mut tell),
                }
            }
            assert_eq!(said, [event(3, Change::Left, 2)], "with tracks: {has_tracks}");
        }
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut things = Things::new("in", BORN);
        let many: Vec<_> = (1..=200).map(|id| seen_as(id, 0)).collect();
        assert_eq!(told(&mut things, &many, &[]).len(), 200);
        assert_eq!(things.memory().there.len(), REMEMBERED_MAX);
    }
}
