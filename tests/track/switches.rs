//! How often a thing gets another number. The figures of the reference are those of `tests/golden/tracks.json`; `make tracks`
//! asks it again.

use std::{fmt::Write as _, fs, path::PathBuf, time::Duration};

use andon::{
    detection::{Detection, Geometry},
    geometry::Size,
    moment::Moment,
    track::{Settings, Tracker},
};

use super::scenes::{Frame, HEIGHT, KINDS, Kind, RATE, WIDTH, scene};

/// Scenes of each kind.
const SCENES: u64 = 200;

/// Where things flicker, what is hidden is looked for less far back and across a belt than the reference does, so that parts on a
/// belt are not taken for each other: numbers change so often there. The reference: 12, its second form 14.
const FLICKER_SWITCHES: usize = 15;

/// What a tracker made of scenes.
#[derive(Clone, Copy, Debug, Default)]
struct Score {
    /// How often a thing's number changed.
    switches: usize,
    /// Detections of things that got a number.
    followed: usize,
    /// Detections of things.
    boxes: usize,
}

#[test]
fn numbers_change_no_more_often_than_with_the_reference_unless_things_flicker() {
    let golden: serde_json::Value =
        serde_json::from_str(&fs::read_to_string("tests/golden/tracks.json").unwrap()).unwrap();
    for (kind, name) in KINDS {
        let mut score = Score::default();
        for number in 0..SCENES {
            follow(&scene(kind, number), &mut score);
        }
        println!("{name}: {score:?}");
        for (peer, known) in golden["peers"].as_object().unwrap() {
            let of = |what: &str| usize::try_from(known[name][what].as_u64().unwrap()).unwrap();
            println!("  {peer}: {} switches, {} followed", of("switches"), of("followed"));
            assert_eq!(score.boxes, of("boxes"), "{peer} was asked about other scenes: run `make tracks`");
            assert!(score.followed >= of("followed"), "{peer} gives more detections a number: {name}");
            match kind {
                // The reference follows next to nothing that leaves its own box within a frame.
                Kind::Fast => assert!(score.switches * 50 <= score.followed, "numbers change too often: {name}"),
                Kind::Flicker => assert!(score.switches <= FLICKER_SWITCHES, "numbers change too often: {name}"),
                _ => assert!(score.switches <= of("switches"), "{peer} changes numbers less often: {name}"),
            }
        }
    }
}

/// Follows a scene by the tracker of this crate, and counts.
fn follow(frames: &[Frame], score: &mut Score) {
    let mut tracker = Tracker::new(Settings { sure: 0.5, ..Settings::default() });
    let mut last = [None; 64];
    for (number, found) in frames {
        let now = Moment::from_micros(1_700_000_000_000_000) + Duration::from_secs_f64(*number as f64 / RATE);
        let mut detections: Vec<_> =
            found.iter().map(|found| detection(found.bounds, found.confidence, found.class)).collect();
        tracker.update(now, Size { width: WIDTH as u32, height: HEIGHT as u32 }, &mut detections);
        for (detection, truth) in
            detections.iter().zip(found).filter_map(|(detection, found)| Some((detection, found.truth?)))
        {
            score.boxes += 1;
            let Some(id) = detection.track_id else { continue };
            score.followed += 1;
            let before = last[truth].replace(id);
            score.switches += usize::from(before.is_some_and(|before| before != id));
        }
    }
}

fn detection(bounds: andon::geometry::BoxPx, confidence: f32, class: usize) -> Detection {
    Detection {
        class,
        name: ["apple", "pear"][class].into(),
        confidence,
        geometry: Geometry::Box(bounds),
        track_id: None,
    }
}

/// Writes the boxes for `tests/track/reference.py`, where it is asked for.
#[test]
fn the_scenes_are_written_where_they_are_wanted() {
    let Some(folder) = std::env::var_os("ANDON_SCENES_OUT").map(PathBuf::from) else {
        let crossing = scene(Kind::Crossing, 0);
        assert!(crossing.iter().any(|(_, found)| found.len() > 2), "a scene has things in it");
        return;
    };
    for (kind, name) in KINDS {
        let mut lines = String::new();
        for number in 0..SCENES {
            for (frame, found) in scene(kind, number) {
                let boxes: Vec<_> = found
                    .iter()
                    .map(|found| {
                        let tidy = |number: f32| (f64::from(number) * 100.0).round() / 100.0;
                        let edges = [found.bounds.x1, found.bounds.y1, found.bounds.x2, found.bounds.y2].map(tidy);
                        (edges, tidy(found.confidence), found.class, found.truth)
                    })
                    .collect();
                writeln!(lines, "{}", serde_json::json!({ "scene": number, "frame": frame, "boxes": boxes })).unwrap();
            }
        }
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("{name}.jsonl")), lines).unwrap();
    }
}
