//! `andon detect` on pictures whose squares the tiny YOLO finds.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    process::Command,
};

use serde_json::{Value, json};

use crate::util::{
    onnx::Elem,
    run::{Answer, Dir, GREEN, RED},
    tiny_yolo::{Head, TinyYolo},
};

/// A model, a picture with a red and a green square, and one without.
fn dir() -> Dir {
    let dir = Dir::new();
    dir.tiny_yolo("tiny.onnx", TinyYolo { head: Head::EndToEnd, ..TinyYolo::default() });
    dir.squares("two.png", (64, 64), &[(1, 2, RED), (5, 6, GREEN)]);
    dir.squares("none.png", (64, 64), &[]);
    dir
}

fn sorted_by_class(detections: &Value) -> Vec<Value> {
    let mut all = detections.as_array().unwrap().clone();
    all.sort_by_key(|detection| detection["class"].as_u64());
    all
}

/// That a detection is this square: exactly these fields, the name, and the box within half a pixel.
fn assert_square(found: &Value, class: u64, name: &str, [x1, y1, x2, y2]: [f64; 4]) {
    assert_eq!(found.as_object().unwrap().len(), 4, "{found}");
    assert_eq!((&found["class"], &found["name"]), (&json!(class), &json!(name)));
    assert!(found["confidence"].as_f64().is_some_and(|confidence| (0.8..=1.0).contains(&confidence)), "{found}");
    assert_eq!(found["box"].as_object().unwrap().len(), 4, "{found}");
    for (key, expected) in [("x1", x1), ("y1", y1), ("x2", x2), ("y2", y2)] {
        let value = found["box"][key].as_f64().unwrap();
        assert!((value - expected).abs() < 0.5, "{key} of {found}");
    }
}

#[test]
fn json_is_one_array_with_an_object_per_picture() {
    let answer = dir().andon(&["detect", "--model", "tiny.onnx", "--format", "json", "two.png", "none.png"]).run();
    let pictures = answer.json();
    assert_eq!(pictures.as_array().map(Vec::len), Some(2));
    let two = &pictures[0];
    let keys: Vec<_> = two.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["detections", "height", "source", "speed_ms", "width"]);
    assert_eq!((&two["source"], &two["width"], &two["height"]), (&json!("two.png"), &json!(64), &json!(64)));
    for stage in ["decode", "preprocess", "inference", "postprocess"] {
        assert!(two["speed_ms"][stage].as_f64().is_some_and(|ms| ms >= 0.0), "{stage}");
    }
    let found = sorted_by_class(&two["detections"]);
    assert_eq!(found.len(), 2);
    assert_square(&found[0], 0, "red", [8.0, 16.0, 16.0, 24.0]);
    assert_square(&found[1], 1, "green", [40.0, 48.0, 48.0, 56.0]);
    assert_eq!(pictures[1]["detections"], json!([]));
}

#[test]
fn every_kind_of_tiny_model_finds_the_same() {
    let dir = dir();
    let default = TinyYolo { head: Head::EndToEnd, ..TinyYolo::default() };
    let kinds = [
        ("symbolic", TinyYolo { symbolic: true, ..default }, &["--imgsz", "64"][..]),
        ("half", TinyYolo { elem: Elem::F16, ..default }, &[]),
        ("silent", TinyYolo { metadata: false, ..default }, &["--names", "red,green", "--head", "end2end"]),
    ];
    for (name, options, more) in kinds {
        dir.tiny_yolo("kind.onnx", options);
        let arguments = [&["detect", "--model", "kind.onnx", "two.png"][..], more].concat();
        let pictures = dir.andon(&arguments).run().json();
        let found = sorted_by_class(&pictures[0]["detections"]);
        assert_eq!(found.len(), 2, "{name}");
        assert_square(&found[0], 0, "red", [8.0, 16.0, 16.0, 24.0]);
        assert_square(&found[1], 1, "green", [40.0, 48.0, 48.0, 56.0]);
    }
}

#[test]
fn boxes_are_in_pixels_of_the_original_picture() {
    let dir = dir();
    // Twice as large as the input and not square: scaled by a half, 16 rows of padding above and below.
    let small = crate::util::run::squares((64, 32), &[(3, 1, RED)]);
    let large = image::imageops::resize(&small, 128, 64, image::imageops::FilterType::Nearest);
    large.save(dir.path("wide.png")).unwrap();
    let pictures = dir.andon(&["detect", "--model", "tiny.onnx", "wide.png"]).run().json();
    let found = sorted_by_class(&pictures[0]["detections"]);
    assert_eq!(found.len(), 1);
    assert_square(&found[0], 0, "red", [48.0, 16.0, 64.0, 32.0]);
}

#[test]
fn thresholds_and_classes_filter() {
    let dir = dir();
    let count = |more: &[&str]| {
        let arguments = [&["detect", "--model", "tiny.onnx", "two.png"][..], more].concat();
        dir.andon(&arguments).run().json()[0]["detections"].as_array().unwrap().len()
    };
    assert_eq!(count(&[]), 2);
    assert_eq!(count(&["--classes", "green"]), 1);
    assert_eq!(count(&["--classes", "0,green"]), 2);
    assert_eq!(count(&["--max-det", "1"]), 1);
    assert_eq!(count(&["--conf", "1"]), 0);
}

#[test]
fn lines_of_json_and_csv_and_text() {
    let dir = dir();
    let run = |format: &str| {
        let arguments = ["detect", "--model", "tiny.onnx", "--format", format, "two.png", "none.png"];
        dir.andon(&arguments).run().ok().to_owned()
    };
    let lines: Vec<Value> = run("jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.iter().map(|line| line["source"].as_str().unwrap()).collect::<Vec<_>>(), ["two.png", "none.png"]);

    let rows = run("csv");
    assert_eq!(rows.lines().next(), Some("source,width,height,name,class,confidence,x1,y1,x2,y2,track_id"));
    assert_eq!(rows.lines().skip(1).filter(|row| row.starts_with("two.png,64,64,")).count(), 2);
    assert_eq!(rows.lines().count(), 3);

    let text = run("text");
    assert!(text.starts_with("two.png  64×64  2 found in "), "{text}");
    assert!(text.contains("\n  red    ") && text.contains("\nnone.png  64×64  nothing found in "), "{text}");
}

#[test]
fn coco_results_number_the_pictures() {
    let dir = dir();
    fs::copy(dir.path("two.png"), dir.path("000042.png")).unwrap();
    let arguments = ["detect", "--model", "tiny.onnx", "--format", "coco", "none.png", "two.png", "000042.png"];
    let rows = dir.andon(&arguments).run().json();
    let ids: Vec<_> = rows.as_array().unwrap().iter().map(|row| row["image_id"].as_u64().unwrap()).collect();
    assert_eq!(ids, [2, 2, 42, 42]);
    assert_eq!(rows[0]["bbox"].as_array().map(Vec::len), Some(4));
}

#[test]
fn yolo_labels_are_files_where_something_was_found() {
    let dir = dir();
    // Left by an earlier run; the picture has nothing now.
    dir.write("out/labels/none.txt", "0 0.5 0.5 1 1\n");
    let arguments = ["detect", "--model", "tiny.onnx", "--format", "yolo-txt", "--save", "out", "two.png", "none.png"];
    assert_eq!(dir.andon(&arguments).run().ok(), "");
    assert!(!dir.path("out/labels/none.txt").exists());
    let labels = dir.read("out/labels/two.txt");
    let mut rows: Vec<Vec<f64>> =
        labels.lines().map(|line| line.split(' ').map(|number| number.parse().unwrap()).collect()).collect();
    rows.sort_by(|a, b| a[0].total_cmp(&b[0]));
    let expected = [[0.0, 0.1875, 0.3125, 0.125, 0.125], [1.0, 0.6875, 0.8125, 0.125, 0.125]];
    assert_eq!(rows.len(), 2);
    for (row, expected) in rows.iter().zip(expected) {
        assert_eq!(row.len(), 5);
        assert!(row.iter().zip(expected).all(|(a, b)| (a - b).abs() < 0.005), "{row:?}");
    }
    let with_confidence = [&arguments[..], &["--save-conf"]].concat();
    dir.andon(&with_confidence).run().ok();
    assert!(dir.read("out/labels/two.txt").lines().all(|line| line.split(' ').count() == 6));
}

#[test]
fn saved_pictures_do_not_overwrite_each_other_or_their_input() {
    let dir = dir();
    dir.squares("a/shot.png", (64, 64), &[(1, 1, RED)]);
    dir.squares("b/shot.png", (64, 64), &[]);
    dir.andon(&["detect", "--model", "tiny.onnx", "--save", "out", "a/shot.png", "b/shot.png"]).run().ok();
    let saved = |name: &str| image::open(dir.path(name)).unwrap().to_rgb8();
    let original = |name: &str| image::open(dir.path(name)).unwrap().to_rgb8();
    assert_ne!(saved("out/shot.png"), original("a/shot.png"), "something is drawn on it");
    assert_eq!(saved("out/shot-2.png"), original("b/shot.png"), "nothing is drawn on it");

    let before = fs::read(dir.path("two.png")).unwrap();
    let answer = dir.andon(&["detect", "--model", "tiny.onnx", "--save", ".", "two.png"]).run();
    assert!(answer.sentence(1).contains("another folder"), "{answer:?}");
    assert_eq!(fs::read(dir.path("two.png")).unwrap(), before);
}

#[test]
fn folders_globs_and_stdin_are_sources() {
    let dir = dir();
    dir.squares("shots/1.png", (64, 64), &[(1, 1, RED)]);
    dir.squares("shots/2.png", (64, 64), &[]);
    for source in ["shots", "shots/*.png"] {
        let pictures = dir.andon(&["detect", "--model", "tiny.onnx", source]).run().json();
        assert_eq!(pictures.as_array().map(Vec::len), Some(2), "{source}");
    }
    let picture = fs::read(dir.path("two.png")).unwrap();
    let pictures = dir.andon(&["detect", "--model", "tiny.onnx", "-"]).stdin(&picture).run().json();
    assert_eq!(pictures[0]["detections"].as_array().map(Vec::len), Some(2));
}

#[test]
fn a_reader_that_has_had_enough_ends_it_quietly() {
    let dir = dir();
    let sources: Vec<&str> = std::iter::repeat_n("two.png", 200).collect();
    let arguments = [&["detect", "--model", "tiny.onnx", "--format", "jsonl"][..], &sources].concat();
    let mut child = dir.andon(&arguments).start();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.ends_with("}\n"), "{line}");
    let answer = Answer::of(child.wait_with_output().unwrap());
    answer.ok();
}

#[test]
fn ctrl_c_closes_the_array_of_an_endless_source() {
    let dir = dir();
    let picture = image::open(dir.path("two.png")).unwrap().to_rgb8();
    picture.save(dir.path("two.jpg")).unwrap();
    let endless = "command:sh -c 'while cat two.jpg; do sleep 0.02; done'";
    let mut child = dir.andon(&["detect", "--model", "tiny.onnx", "--format", "json", endless]).start();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut array = String::new();
    // The array is opened with the first picture.
    stdout.read_line(&mut array).unwrap();
    assert_eq!(array, "[\n");
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    stdout.read_to_string(&mut array).unwrap();
    let answer = Answer::of(child.wait_with_output().unwrap());
    answer.ok();
    let pictures: Value = serde_json::from_str(&array).unwrap();
    assert!(pictures.as_array().is_some_and(|pictures| !pictures.is_empty()), "{array}");
}
