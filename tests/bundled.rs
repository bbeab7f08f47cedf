//! The model that comes with the program: its card names it, and it finds the defects of boards it has not seen.

use std::{fs, path::Path, time::Duration};

use andon::{
    capture::{self, Read, SourceUri, line},
    detector::{Detector, ModelFile, Settings},
    eval::{self, Evaluation},
    frame::Frame,
    vision::View,
};

fn bundled() -> Detector {
    Detector::load(&Settings { confidence: 0.001, ..Settings::of(ModelFile::Bundled) }).unwrap()
}

#[test]
fn the_card_is_that_of_the_file() {
    let card = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("models/README.md")).unwrap();
    let detector = bundled();
    let sha256 = &detector.identity().sha256;
    assert!(card.contains(sha256), "models/README.md does not name sha256 {sha256}");
}

#[test]
fn its_classes_are_those_of_the_simulated_line() {
    let names: Vec<String> = bundled().spec().names.iter().map(ToString::to_string).collect();
    assert_eq!(names, line::CLASSES);
}

#[test]
fn it_finds_the_defects_of_boards_it_has_not_seen() {
    let mut detector = bundled();
    let settings = capture::Settings::of(SourceUri::Line("seed=77,count=60,defects=6".to_owned()));
    let mut source = capture::open(&settings).unwrap();
    let (mut frame, mut evaluation) = (Frame::empty(), Evaluation::new(eval::Options::default()));
    while source.read(&mut frame, Duration::from_secs(1)).unwrap() == Read::Frame {
        let found = detector.detect(&frame, &View::default()).unwrap();
        evaluation.add(frame.truth.as_ref().unwrap(), &found.items);
    }
    let map50 = evaluation.report().figures.map50;
    assert!(map50 >= 0.97, "mAP50 {map50}");
}
