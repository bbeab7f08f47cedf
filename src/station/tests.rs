//! What a station makes of frames, apart from what tracks and rules are tested for themselves.

use super::*;
use crate::{detection::Geometry, geometry::BoxPx};

const SIZE: Size = Size { width: 640, height: 480 };

fn thing(name: &str, confidence: f32, x: f32) -> Detection {
    let bounds = BoxPx { x1: x, y1: 100.0, x2: x + 50.0, y2: 150.0 };
    Detection { class: 0, name: name.into(), confidence, geometry: Geometry::Box(bounds), track_id: None }
}

fn settings(track: bool) -> Settings {
    Settings {
        camera: "in".to_owned(),
        track: track.then(track::Settings::default),
        confidence: 0.5,
        per_class: BTreeMap::from([("scratch".to_owned(), 0.2), ("board".to_owned(), 0.8)]),
        rules: Vec::new(),
    }
}

fn now(frame: u64) -> Now {
    Now { moment: Moment::from_micros(i64::try_from(frame).unwrap() * 100_000), local_micros: None }
}

/// What stays a detection in this frame, and what is said of it.
fn look(station: &mut Station, frame: u64, mut found: Vec<Detection>) -> (Vec<Detection>, Vec<Thing>) {
    let mut things = Vec::new();
    let look = Look { seq: frame, captured_at: now(frame).moment, size: SIZE };
    station.look(now(frame), look, &mut found, &mut |said| match said {
        Said::Thing(thing) => things.push(thing),
        Said::Event(event) => panic!("there is no rule: {event:?}"),
    });
    (found, things)
}

#[test]
fn each_class_has_the_confidence_of_its_own() {
    for track in [false, true] {
        let mut station = Station::new(&settings(track), now(1).moment);
        let found = vec![thing("board", 0.79, 0.0), thing("pin", 0.5, 100.0), thing("scratch", 0.2, 200.0)];
        let (found, _) = look(&mut station, 1, found);
        assert_eq!(found.iter().map(|found| &*found.name).collect::<Vec<_>>(), ["pin", "scratch"], "tracked: {track}");
    }
}

#[test]
fn the_model_reports_what_tracks_need_and_never_less_than_detections_do() {
    assert_eq!(settings(false).confidence_least(), 0.2);
    assert_eq!(settings(true).confidence_least(), 0.1);
    let high = track::Settings { unsure: 0.4, ..track::Settings::default() };
    assert_eq!(Settings { track: Some(high), ..settings(true) }.confidence_least(), 0.2);
}

#[test]
fn things_are_told_with_names_that_go_on_after_a_restart() {
    let mut station = Station::new(&settings(false), Moment::from_micros(0xbeef));
    let (_, told) = look(&mut station, 1, vec![thing("pin", 0.9, 0.0)]);
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].id.as_str(), told[0].change), ("in-beef-1", Change::Appeared));

    let memory = serde_json::to_string(&station.memory()).unwrap();
    let mut station = Station::new(&settings(false), Moment::from_micros(0xcafe));
    station.recall(&serde_json::from_str(&memory).unwrap(), now(2));
    let (_, told) = look(&mut station, 2, vec![thing("pin", 0.9, 0.0), thing("pin", 0.9, 300.0)]);
    assert_eq!(told.len(), 1, "what was there does not appear again: {told:?}");
    assert_eq!((told[0].id.as_str(), told[0].change), ("in-beef-2", Change::Appeared));
}

#[test]
fn without_a_memory_names_begin_with_another_birth() {
    let mut station = Station::new(&settings(false), Moment::from_micros(0xcafe));
    station.recall(&Memory::default(), now(2));
    let (_, told) = look(&mut station, 1, vec![thing("pin", 0.9, 0.0)]);
    assert_eq!(told[0].id, "in-cafe-1");
}

#[test]
fn a_line_that_stands_still_is_remembered_once() {
    let mut station = Station::new(&settings(true), now(1).moment);
    look(&mut station, 1, vec![thing("pin", 0.9, 0.0)]);
    let then = station.whereabouts();
    for frame in 2..50 {
        look(&mut station, frame, vec![thing("pin", 0.9, (frame % 3) as f32)]);
        assert!(!station.has_moved_on(&then));
    }
}
