//! What crosses a line, and what only seems to.

use super::*;
use crate::{
    geometry::BoxPx,
    random::Rng,
    rules::place::{Towards, Unit},
};

const SIZE: Size = Size { width: 640, height: 480 };

/// The line stands at x = 300 and is 100 to 400 high; its band reaches from 290 to 310; right is in.
const LINE: Line = Line {
    from: Point { x: 300.0, y: 100.0 },
    to: Point { x: 300.0, y: 400.0 },
    band: 20.0,
    unit: Unit::Pixels,
    inward: Towards::Right,
};

/// A frame every 100 ms, and what was heard.
struct Scene {
    crossings: Crossings,
    now: Moment,
    heard: Vec<(u64, Way, bool)>,
    settled: Vec<(u64, Way)>,
    seen: std::collections::BTreeMap<u64, u32>,
}

impl Scene {
    fn new() -> Self {
        Self::of(LINE)
    }

    fn of(line: Line) -> Self {
        let crossings = Crossings::new(line, Anchor::Center);
        Self { crossings, now: Moment::default(), heard: Vec::new(), settled: Vec::new(), seen: Default::default() }
    }

    /// Tracks with their centre's x, at y = 250; boxes are 40 wide.
    fn frame(&mut self, tracks: &[(u64, f32)]) {
        let placed: Vec<_> = tracks.iter().map(|(id, x)| self.track(*id, (*x, 250.0))).collect();
        self.tracks(&placed);
    }

    fn track(&mut self, id: u64, (x, y): (f32, f32)) -> Track {
        let seen = self.seen.entry(id).or_default();
        *seen += 1;
        Track {
            id,
            class: 0,
            name: "part".into(),
            confidence: 0.9,
            confidence_max: 0.9,
            bounds: BoxPx::from_center(x, y, 40.0, 40.0),
            velocity: Point::default(),
            first_seen: self.now,
            last_seen: self.now,
            seen: *seen,
            state: if *seen == 1 { TrackState::New } else { TrackState::Seen },
        }
    }

    fn tracks(&mut self, tracks: &[Track]) {
        let heard = &mut self.heard;
        self.crossings.update(
            tracks,
            SIZE,
            self.now,
            |track| track.confidence_max >= 0.5,
            |track, way, first| heard.push((track.id, way, first)),
        );
        self.settled.extend(self.crossings.settled().iter().map(|settled| (settled.track, settled.way)));
        self.now = self.now + Duration::from_millis(100);
    }

    /// One track that is seen at these places.
    fn walk(&mut self, id: u64, places: &[f32]) {
        for x in places {
            self.frame(&[(id, *x)]);
        }
    }

    /// Nothing is seen until every track is forgotten.
    fn end(&mut self) {
        self.now = self.now + REMEMBERED + Duration::from_secs(1);
        self.frame(&[]);
    }

    /// In minus out, as a counter has it.
    fn net(&self) -> i64 {
        let value = |way: &Way| if *way == Way::In { 1 } else { -1 };
        let first: i64 = self.heard.iter().filter(|(_, _, first)| *first).map(|(_, way, _)| value(way)).sum();
        first + self.settled.iter().map(|(_, way)| value(way)).sum::<i64>()
    }
}

fn heard_of(places: &[f32]) -> Vec<(u64, Way, bool)> {
    let mut scene = Scene::new();
    scene.walk(1, places);
    scene.heard
}

#[test]
fn a_thing_crosses_once_it_has_left_the_band_on_the_other_side() {
    assert_eq!(heard_of(&[250., 285., 290., 300., 310.]), []);
    assert_eq!(heard_of(&[250., 285., 300., 311.]), [(1, Way::In, true)]);
    assert_eq!(heard_of(&[350., 320., 300., 289.]), [(1, Way::Out, true)]);
    // Over the band in one step.
    assert_eq!(heard_of(&[200., 280., 400., 600.]), [(1, Way::In, true)]);
    assert_eq!(heard_of(&[200., 400.]), [(1, Way::In, true)]);
}

#[test]
fn what_trembles_on_the_line_or_turns_back_in_the_band_crosses_nothing() {
    let mut rng = Rng::new(5, 1);
    let mut scene = Scene::new();
    scene.walk(1, &[250., 280.]);
    for _ in 0..10_000 {
        scene.frame(&[(1, rng.between(260, 310) as f32)]);
    }
    scene.walk(1, &[280., 250.]);
    scene.end();
    assert_eq!((scene.heard, scene.settled), (vec![], vec![]));
}

#[test]
fn a_belt_that_backs_up_and_goes_on_counts_once() {
    let mut scene = Scene::new();
    scene.walk(1, &[250., 320., 280., 300., 270., 330., 350.]);
    assert_eq!(scene.heard, [(1, Way::In, true), (1, Way::Out, false), (1, Way::In, false)]);
    scene.end();
    assert_eq!((scene.settled.clone(), scene.net()), (vec![], 1));
}

#[test]
fn a_thing_that_ends_where_it_came_from_is_counted_back_once_it_has_ended() {
    let mut scene = Scene::new();
    scene.walk(1, &[250., 320., 280., 250.]);
    assert_eq!(scene.settled, []);
    scene.end();
    assert_eq!((scene.settled.clone(), scene.net()), (vec![(1, Way::Out)], 0));
    scene.end();
    assert_eq!(scene.settled.len(), 1);
}

#[test]
fn a_session_that_ends_settles_what_has_gone_back_and_only_once() {
    let mut scene = Scene::new();
    scene.walk(1, &[250., 320., 280., 250.]);
    let settled = scene.crossings.settle();
    let settled: Vec<_> = settled.iter().map(|settled| (settled.track, &*settled.name, settled.way)).collect();
    assert_eq!(settled, [(1, "part", Way::Out)]);
    assert_eq!(scene.crossings.settle(), []);
    scene.walk(1, &[320.]);
    scene.end();
    assert_eq!(scene.settled, [(1, Way::In)]);
}

#[test]
fn what_is_lost_in_the_band_and_found_beyond_it_has_crossed() {
    let mut scene = Scene::new();
    scene.walk(1, &[250., 280., 295.]);
    for x in [305., 315., 325.] {
        let predicted = Track { state: TrackState::Lost, ..scene.track(1, (x, 250.)) };
        scene.tracks(&[predicted]);
    }
    assert_eq!(scene.heard, [], "a prediction is nothing that was seen");
    scene.walk(1, &[330.]);
    assert_eq!(scene.heard, [(1, Way::In, true)]);
}

#[test]
fn what_passes_beside_the_ends_does_not_cross() {
    let mut scene = Scene::new();
    let mut walk = |places: &[(f32, f32)]| {
        for place in places {
            let track = scene.track(1, *place);
            scene.tracks(&[track]);
        }
        scene.heard.clone()
    };
    assert_eq!(walk(&[(250., 50.), (280., 50.), (300., 60.), (320., 50.), (350., 50.)]), []);
    // Round the end and then back over the line: out.
    assert_eq!(walk(&[(350., 200.), (250., 200.)]), [(1, Way::Out, true)]);
}

#[test]
fn what_appears_in_the_band_came_from_the_side_that_it_does_not_leave_to() {
    assert_eq!(heard_of(&[305., 305., 320.]), [(1, Way::In, true)]);
    assert_eq!(heard_of(&[305., 295., 280.]), [(1, Way::Out, true)]);
    // A track that is older than what is known of it has not crossed.
    let mut scene = Scene::new();
    scene.seen.insert(1, 7);
    scene.walk(1, &[305., 305., 320.]);
    assert_eq!(scene.heard, []);
    scene.walk(1, &[280.]);
    assert_eq!(scene.heard, [(1, Way::Out, true)]);
}

#[test]
fn a_thing_whose_track_changes_in_the_band_crosses_once() {
    // Nothing is told of the first part, whichever way it goes on.
    for (rest, net) in [([302., 330.], 1), ([302., 270.], 0)] {
        let mut scene = Scene::new();
        scene.walk(1, &[250., 280., 300.]);
        scene.walk(2, &rest);
        scene.end();
        assert_eq!(scene.net(), net, "{rest:?}: {:?}", scene.heard);
    }
    // Counted, back in the band, another track, and on again.
    let mut scene = Scene::new();
    scene.walk(1, &[250., 280., 320., 302.]);
    scene.walk(2, &[301., 301., 330.]);
    scene.end();
    assert_eq!((scene.heard.clone(), scene.net()), (vec![(1, Way::In, true)], 1));
    // Lost before the band, found behind it under another number.
    let mut scene = Scene::new();
    scene.walk(1, &[250., 270., 285.]);
    scene.walk(2, &[315., 330.]);
    scene.end();
    assert_eq!(scene.net(), 1);
}

#[test]
fn the_next_thing_behind_one_that_was_counted_is_another() {
    let mut scene = Scene::new();
    scene.walk(1, &[250., 280., 315.]);
    // The first is out of sight; the next one appears where that was a moment ago.
    scene.walk(2, &[285., 300., 320.]);
    assert_eq!(scene.heard, [(1, Way::In, true), (2, Way::In, true)]);
    // And far away from a lost one nothing is handed over.
    let mut scene = Scene::new();
    scene.walk(1, &[250., 280., 300.]);
    scene.walk(2, &[400., 420.]);
    assert_eq!(scene.heard, []);
}

#[test]
fn a_thing_that_was_taken_for_another_counts_once_that_comes_back() {
    let mut scene = Scene::new();
    // The second appears where the first was, which is found again further on.
    scene.walk(1, &[200., 250.]);
    scene.walk(2, &[245.]);
    scene.frame(&[(1, 320.), (2, 270.)]);
    scene.frame(&[(1, 380.), (2, 330.)]);
    assert_eq!(scene.heard, [(1, Way::In, true), (2, Way::In, true)]);
    // The first has crossed and is back in the band; the second appears there and stays, or goes on at once.
    for second in [[300., 280., 330.], [295., 300., 330.], [300., 320., 330.]] {
        let mut scene = Scene::new();
        scene.walk(1, &[250., 330., 302.]);
        scene.walk(2, &second[..1]);
        scene.frame(&[(1, 340.), (2, second[1])]);
        scene.frame(&[(1, 380.), (2, second[2])]);
        scene.end();
        assert_eq!(scene.net(), if second[1] == 280. { 1 } else { 2 }, "{:?}", scene.heard);
    }
}

#[test]
fn a_track_that_becomes_sure_late_crosses_when_it_does() {
    let mut scene = Scene::new();
    let mut walk = |x: f32, confidence_max: f32| {
        let track = Track { confidence_max, ..scene.track(1, (x, 250.)) };
        scene.tracks(&[track]);
        scene.heard.clone()
    };
    walk(250., 0.3);
    assert_eq!(walk(330., 0.3), []);
    assert_eq!(walk(340., 0.6), [(1, Way::In, true)]);
    assert_eq!(walk(350., 0.6), [(1, Way::In, true)]);
}

#[test]
fn sides_survive_a_restart_unless_the_line_was_moved() {
    let mut scene = Scene::new();
    scene.walk(1, &[250., 280., 300.]);
    let memory = scene.crossings.memory();
    let mut other = Scene::of(Line { band: 30.0, ..LINE });
    for next in [&mut scene, &mut other] {
        next.crossings = Crossings::new(next.crossings.line, Anchor::Center);
        next.crossings.recall(&memory, Moment::from_micros(100_000));
        next.seen.insert(1, 3);
        next.walk(1, &[330.]);
    }
    assert_eq!((scene.heard, other.heard), (vec![(1, Way::In, true)], vec![]));
    assert!(scene.crossings.known.iter().all(|known| known.seen <= scene.now));
}

#[test]
fn moments_of_the_future_become_the_present() {
    let mut scene = Scene::new();
    scene.walk(1, &[250., 280.]);
    let memory = scene.crossings.memory();
    let mut later = Crossings::new(LINE, Anchor::Center);
    later.recall(&memory, Moment::from_micros(-5));
    assert_eq!(later.known[0].seen, Moment::from_micros(-5));
}

#[test]
fn any_tracks_are_taken_and_few_are_remembered() {
    let mut rng = Rng::new(9, 1);
    let mut scene = Scene::new();
    let wild = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, -1e30, 0.0, 300.0];
    for round in 0..500_u64 {
        let mut tracks = Vec::new();
        for _ in 0..rng.below(40) {
            let id = if rng.chance(10) { rng.bits() } else { round * 30 + rng.bits() % 60 };
            let x = if rng.chance(5) { rng.pick(&wild) } else { rng.between(-50, 700) as f32 };
            let y = if rng.chance(5) { rng.pick(&wild) } else { rng.between(-50, 500) as f32 };
            let mut track = scene.track(id, (x, y));
            track.state = rng.pick(&[TrackState::New, TrackState::Seen, TrackState::Lost]);
            track.velocity = Point { x: rng.pick(&wild), y: 0.0 };
            track.seen = rng.below(5) as u32;
            tracks.push(track);
        }
        if rng.chance(50) {
            tracks.sort_by_key(|track| track.id);
        }
        scene.tracks(&tracks);
        assert!(scene.crossings.known.len() <= TRACKS_MAX);
        let memory = scene.crossings.memory();
        let known = scene.crossings.known.clone();
        scene.crossings.recall(&memory, scene.now);
        assert_eq!(scene.crossings.known, known, "memory is exact");
    }
    scene.end();
    assert!(scene.crossings.known.is_empty());
    let crowd: Vec<_> = (0..3 * TRACKS_MAX as u64).map(|id| scene.track(id, (250., 250.))).collect();
    scene.tracks(&crowd);
    assert_eq!(scene.crossings.known.len(), TRACKS_MAX);
}
