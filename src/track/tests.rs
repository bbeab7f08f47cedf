//! What the tracker promises: numbers, states, ends, memory, and calm whatever comes in.

use super::*;
use crate::{detection::Geometry, random::Rng};

const SIZE: Size = Size { width: 640, height: 480 };

fn at(bounds: BoxPx, confidence: f32) -> Detection {
    Detection { class: 0, name: "part".into(), confidence, geometry: Geometry::Box(bounds), track_id: None }
}

fn part(x: f32, y: f32) -> Detection {
    at(BoxPx::from_center(x, y, 40.0, 40.0), 0.9)
}

fn millis(millis: u64) -> Moment {
    Moment::from_micros(1_700_000_000_000_000) + Duration::from_millis(millis)
}

/// The ids that the tracker gives in one frame.
fn ids(tracker: &mut Tracker, now: Moment, mut found: Vec<Detection>) -> Vec<Option<u64>> {
    tracker.update(now, SIZE, &mut found);
    found.iter().map(|detection| detection.track_id).collect()
}

#[test]
fn what_moves_on_keeps_its_id() {
    let mut tracker = Tracker::new(Settings::default());
    for frame in 0..50 {
        let x = 20.0 + 12.0 * frame as f32;
        assert_eq!(ids(&mut tracker, millis(33 * frame), vec![part(x, 200.0)]), [Some(1)]);
    }
    let track = &tracker.tracks()[0];
    assert!((track.velocity.x - 12.0 / 0.033).abs() < 4.0 && track.velocity.y.abs() < 1.0, "{track:?}");
    assert_eq!((track.seen, track.state, track.last_seen), (50, TrackState::Seen, millis(33 * 49)));
}

#[test]
fn what_is_hidden_is_lost_comes_back_or_ends() {
    let mut tracker = Tracker::new(Settings::default());
    for frame in 0..10 {
        ids(&mut tracker, millis(50 * frame), vec![part(50.0 + 10.0 * frame as f32, 200.0)]);
    }
    for frame in 10..20 {
        ids(&mut tracker, millis(50 * frame), vec![]);
        assert_eq!(tracker.tracks()[0].state, TrackState::Lost);
    }
    assert!((tracker.tracks()[0].bounds.x1 - 220.0).abs() < 8.0, "{:?}", tracker.tracks());
    assert_eq!(ids(&mut tracker, millis(1000), vec![part(250.0, 200.0)]), [Some(1)]);
    for frame in 21..=40 {
        assert!(tracker.ended().is_empty());
        ids(&mut tracker, millis(50 * frame), vec![]);
    }
    assert_eq!((tracker.tracks().len(), tracker.ended().len()), (0, 1));
    assert_eq!(tracker.ended()[0].bounds, part(250.0, 200.0).bounds().unwrap());
    assert_eq!(ids(&mut tracker, millis(2050), vec![part(250.0, 200.0)]), [Some(2)]);
    assert!(tracker.ended().is_empty());
}

#[test]
fn what_was_seen_once_and_never_again_ends_soon() {
    let mut tracker = Tracker::new(Settings::default());
    ids(&mut tracker, millis(0), vec![part(100.0, 100.0)]);
    assert_eq!(tracker.tracks()[0].state, TrackState::New);
    for frame in 1..=2 {
        ids(&mut tracker, millis(30 * frame), vec![]);
    }
    assert_eq!(tracker.tracks().len(), 1);
    ids(&mut tracker, millis(90), vec![]);
    assert_eq!((tracker.tracks().len(), tracker.ended().len()), (0, 1));
}

#[test]
fn unsure_detections_go_on_with_tracks_and_begin_none() {
    let mut tracker = Tracker::new(Settings::default());
    let doubtful = |x: f32, confidence: f32| Detection { confidence, ..part(x, 100.0) };
    let found = vec![part(100.0, 100.0), doubtful(300.0, 0.2), doubtful(500.0, 0.05)];
    assert_eq!(ids(&mut tracker, millis(0), found), [Some(1), None, None]);
    let found = vec![doubtful(104.0, 0.12), doubtful(300.0, 0.2)];
    assert_eq!(ids(&mut tracker, millis(30), found), [Some(1), None]);
    assert_eq!(ids(&mut tracker, millis(60), vec![doubtful(108.0, 0.09)]), [None]);
    let track = &tracker.tracks()[0];
    assert_eq!((track.confidence, track.confidence_max, track.seen), (0.12, 0.9, 2));
}

#[test]
fn the_class_is_what_it_was_seen_as_most() {
    let mut tracker = Tracker::new(Settings::default());
    for (frame, (class, confidence)) in [(0, 0.5), (1, 0.9), (0, 0.3), (0, 0.4)].into_iter().enumerate() {
        let name = ["apple", "pear"][class].into();
        let found = Detection { class, name, confidence, ..part(100.0, 100.0) };
        assert_eq!(ids(&mut tracker, millis(30 * frame as u64), vec![found]), [Some(1)]);
        let expected = if frame == 1 || frame == 2 { "pear" } else { "apple" };
        assert_eq!(&*tracker.tracks()[0].name, expected, "frame {frame}");
    }
}

#[test]
fn one_thing_under_two_names_is_one_track() {
    let mut tracker = Tracker::new(Settings::default());
    let twice = vec![part(100.0, 100.0), Detection { class: 1, confidence: 0.6, ..part(101.0, 100.0) }];
    assert_eq!(ids(&mut tracker, millis(0), twice), [Some(1), None]);
}

#[test]
fn a_belt_that_stops_takes_what_is_hidden_along() {
    let mut tracker = Tracker::new(Settings::default());
    let belt = |moved: f32| [0.0, 100.0, 200.0, 300.0].map(|x| part(40.0 + x + moved, 200.0)).to_vec();
    for frame in 0..20 {
        ids(&mut tracker, millis(40 * frame), belt(8.0 * frame as f32));
    }
    // The first is hidden, and the belt stands at once.
    for frame in 20..40 {
        ids(&mut tracker, millis(40 * frame), belt(152.0)[1..].to_vec());
    }
    let hidden = &tracker.tracks()[0];
    assert!((hidden.bounds.x1 - 172.0).abs() < 12.0 && hidden.state == TrackState::Lost, "{hidden:?}");
    assert_eq!(ids(&mut tracker, millis(1600), belt(152.0)), [Some(1), Some(2), Some(3), Some(4)]);
}

#[test]
fn what_stops_alone_while_it_is_hidden_is_found_again() {
    let mut tracker = Tracker::new(Settings::default());
    for frame in 0..20 {
        ids(&mut tracker, millis(40 * frame), vec![part(40.0 + 10.0 * frame as f32, 200.0)]);
    }
    for frame in 20..40 {
        ids(&mut tracker, millis(40 * frame), vec![]);
    }
    assert_eq!(ids(&mut tracker, millis(1600), vec![part(300.0, 200.0)]), [Some(1)]);
}

#[test]
fn classifications_and_boxes_that_are_none_belong_to_no_track() {
    let mut tracker = Tracker::new(Settings::default());
    let whole = Detection { geometry: Geometry::Image, ..part(0.0, 0.0) };
    let odd = [
        BoxPx { x1: f32::NAN, ..BoxPx::default() },
        BoxPx { x1: 50.0, x2: 10.0, y1: 0.0, y2: 10.0 },
        BoxPx { x1: -1e30, y1: -1e30, x2: 1e30, y2: 1e30 },
        BoxPx { x1: f32::NEG_INFINITY, y1: 0.0, x2: f32::INFINITY, y2: 10.0 },
    ];
    let mut found: Vec<_> = odd.map(|bounds| at(bounds, 0.9)).to_vec();
    found.extend([whole, at(BoxPx::from_center(50.0, 50.0, 10.0, 10.0), f32::NAN)]);
    assert_eq!(ids(&mut tracker, millis(0), found), [None; 6]);
}

/// What a careless world might say: things that wander, and nonsense.
fn garbage(rng: &mut Rng) -> Vec<Detection> {
    let edge = |rng: &mut Rng| match rng.below(12) {
        0 => rng.pick(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30, -1e30, 9.9e4, -9.9e4, 1e-40]),
        _ => 700.0 * rng.fraction() as f32 - 30.0,
    };
    let one = |rng: &mut Rng| {
        let corner = [(); 4].map(|()| edge(rng));
        let bounds = if rng.chance(30) {
            BoxPx { x1: corner[0], y1: corner[1], x2: corner[2], y2: corner[3] }
        } else {
            BoxPx::from_center(corner[0], corner[1], 40.0, 50.0)
        };
        Detection { class: rng.below(12) as usize, ..at(bounds, rng.pick(&[0.05, 0.2, 0.5, 0.9, 0.9, f32::NAN])) }
    };
    (0..rng.below(30)).map(|_| one(rng)).collect()
}

#[test]
fn garbage_gives_no_panic_and_the_same_numbers_twice_and_over_restarts() {
    for seed in 0..20 {
        let mut rng = Rng::new(seed, 0);
        let [mut first, mut second, mut restarted] = [(); 3].map(|()| Tracker::new(Settings::default()));
        let mut now = millis(0);
        for _ in 0..60 {
            let found = garbage(&mut rng);
            now = now + Duration::from_millis(rng.pick(&[0, 1, 33, 33, 100, 700, 5000]));
            let given = ids(&mut first, now, found.clone());
            assert_eq!(given, ids(&mut second, now, found.clone()));
            assert_eq!(given, ids(&mut restarted, now, found));
            assert_eq!((first.tracks(), first.ended()), (second.tracks(), second.ended()));
            assert_eq!((first.tracks(), first.ended()), (restarted.tracks(), restarted.ended()));
            let mut numbers: Vec<_> = given.into_iter().flatten().collect();
            numbers.sort_unstable();
            assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "twice in a frame: {numbers:?}");
            assert!(first.tracks().is_sorted_by(|a, b| a.id < b.id));
            for track in first.tracks() {
                let BoxPx { x1, y1, x2, y2 } = track.bounds;
                assert!(
                    [x1, y1, x2, y2, track.velocity.x, track.velocity.y].iter().all(|n| n.is_finite()),
                    "{track:?}"
                );
            }
            let text = serde_json::to_string(&restarted.memory()).unwrap();
            restarted = Tracker::new(Settings::default());
            restarted.recall(&serde_json::from_str(&text).unwrap(), now);
        }
    }
}

#[test]
fn after_a_restart_of_seconds_what_stands_there_goes_on_and_numbers_never_repeat() {
    let mut tracker = Tracker::new(Settings::default());
    for frame in 0..5 {
        ids(&mut tracker, millis(40 * frame), vec![part(100.0, 200.0), part(300.0, 200.0)]);
    }
    let memory = tracker.memory();
    let mut soon = Tracker::new(Settings::default());
    soon.recall(&memory, millis(8000));
    let found = vec![part(301.0, 200.0), part(500.0, 200.0), part(100.0, 201.0)];
    assert_eq!(ids(&mut soon, millis(8100), found), [Some(2), Some(3), Some(1)]);

    let mut late = Tracker::new(Settings::default());
    late.recall(&memory, millis(60_000));
    assert_eq!(ids(&mut late, millis(60_100), vec![part(100.0, 200.0)]), [Some(3)]);
    assert_eq!(late.ended().iter().map(|track| track.id).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn a_memory_from_a_clock_that_was_ahead_is_of_now() {
    let mut tracker = Tracker::new(Settings::default());
    ids(&mut tracker, millis(100_000), vec![part(100.0, 200.0)]);
    ids(&mut tracker, millis(100_040), vec![part(100.0, 200.0)]);
    let mut later = Tracker::new(Settings::default());
    later.recall(&tracker.memory(), millis(50_000));
    assert_eq!(ids(&mut later, millis(50_040), vec![part(100.0, 200.0)]), [Some(1)]);
    assert_eq!(later.tracks()[0].first_seen, millis(50_000));
}

#[test]
fn there_are_no_more_tracks_than_are_allowed() {
    let mut tracker = Tracker::new(Settings { lost_after: Duration::from_secs(3600), ..Settings::default() });
    let grid = |shift: f32| -> Vec<_> {
        let place = |at: usize| (20.0 * (at % 25) as f32 + shift, 20.0 * (at / 25) as f32);
        (0..600).map(place).map(|(x, y)| at(BoxPx::from_center(x, y, 10.0, 10.0), 0.9)).collect()
    };
    for frame in 0..6 {
        // Everything is elsewhere every second frame.
        let given = ids(&mut tracker, millis(40 * frame), grid(2000.0 * (frame / 2) as f32));
        assert_eq!(given.iter().flatten().count(), DETECTIONS_MAX);
        assert!(tracker.tracks().len() <= TRACKS_MAX);
    }
    assert_eq!(tracker.tracks().len(), TRACKS_MAX);
}

#[test]
fn what_comes_after_a_long_gap_is_not_taken_for_what_went() {
    let mut tracker = Tracker::new(Settings::default());
    for frame in 0..10 {
        ids(&mut tracker, millis(40 * frame), vec![part(300.0 + 10.0 * frame as f32, 200.0)]);
    }
    let mut later = Tracker::new(Settings::default());
    later.recall(&tracker.memory(), millis(5000));
    assert_eq!(ids(&mut later, millis(6000), vec![part(440.0, 200.0)]), [Some(2)]);
}

#[test]
fn what_moves_on_through_a_short_gap_keeps_its_id() {
    let mut tracker = Tracker::new(Settings::default());
    let belt = |moved: f32| [0.0, 90.0, 180.0].map(|x| part(40.0 + x + moved, 200.0)).to_vec();
    for frame in 0..10 {
        ids(&mut tracker, millis(40 * frame), belt(8.0 * frame as f32));
    }
    let mut later = Tracker::new(Settings::default());
    later.recall(&tracker.memory(), millis(1000));
    assert_eq!(ids(&mut later, millis(1360), belt(272.0)), [Some(1), Some(2), Some(3)]);
}
