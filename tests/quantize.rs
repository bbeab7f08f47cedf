//! `andon quantize` on a tiny model: what it writes, that it always writes the same, and how it fails.

use std::fs;

use crate::util::{
    run::{Answer, Dir},
    tiny_yolo::{Head, TinyYolo},
};

const RED: [u8; 3] = [220, 30, 30];
const GREEN: [u8; 3] = [30, 220, 30];

/// A folder with a tiny model and so many pictures of squares.
fn dir(pictures: u32) -> Dir {
    let dir = Dir::new();
    dir.tiny_yolo("tiny.onnx", TinyYolo { head: Head::EndToEnd, ..TinyYolo::default() });
    for picture in 0..pictures {
        let cells = [(picture % 8, picture % 5, RED), ((picture + 3) % 8, (picture + 2) % 7, GREEN)];
        dir.squares(&format!("shots/{picture:02}.png"), (64, 64), &cells);
    }
    dir
}

const QUANTIZE: [&str; 7] = ["quantize", "--model", "tiny.onnx", "--images", "shots", "-o", "int8.onnx"];

/// The names in the folder, without those of folders.
fn files(dir: &Dir) -> Vec<String> {
    let entries = fs::read_dir(dir.path("")).unwrap().map(|entry| entry.unwrap());
    let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
    let mut names: Vec<_> = files.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// What it printed, and what it remarked beside.
fn done(answer: &Answer) -> (&str, Vec<&str>) {
    assert_eq!(answer.code, Some(0), "{answer:?}");
    (&answer.stdout, answer.stderr.lines().map(|line| line.strip_prefix("note: ").unwrap()).collect())
}

#[test]
fn the_int8_model_finds_what_the_float_model_finds() {
    let dir = dir(36);
    let report = dir.andon(&[&QUANTIZE[..], &["--json"]].concat()).run().json();
    assert_eq!((report["convolutions"].as_u64(), report["int8_convolutions"].as_u64()), (Some(1), Some(1)), "{report}");
    assert_eq!((report["calibrated_with"].as_u64(), report["agreement"]["pictures"].as_u64()), (Some(27), Some(9)));
    assert_eq!(report["agreement"]["held_out"], true);
    for side in ["own", "other"] {
        assert_eq!(report["agreement"][side]["found"].as_u64(), Some(18), "{report}");
        assert_eq!(report["agreement"][side]["share"].as_f64(), Some(1.0), "{report}");
    }
    assert!(report["agreement"]["confidence_difference"].as_f64().unwrap() < 0.02, "{report}");
    assert_eq!(report["layers"].as_array().unwrap().len(), 1);
    assert_eq!(files(&dir), ["int8.onnx", "tiny.onnx"]);
    let about = dir.andon(&["inspect", "--model", "int8.onnx", "--json"]).run().json();
    assert_eq!((about["quantization"].as_str(), about["int8_convolutions"].as_u64()), (Some("QDQ"), Some(1)));
    assert_eq!(about["classes"], dir.andon(&["inspect", "--model", "tiny.onnx", "--json"]).run().json()["classes"]);
}

#[test]
fn people_are_told_what_it_came_to() {
    let dir = dir(16);
    let answer = dir.andon(&QUANTIZE).run();
    let (text, notes) = done(&answer);
    for expected in
        ["int8.onnx\n", "MB → ", "ms → ", "1 of 1 convolutions in int8", "100.0 % of detections", "kept apart"]
    {
        assert!(text.contains(expected), "{expected:?} in {text}");
    }
    assert!(notes[0].contains("16 pictures are few"), "{notes:?}");
}

#[test]
fn the_same_pictures_give_the_same_bytes() {
    let dir = dir(12);
    let mut all = Vec::new();
    for (threads, isa) in [("1", ""), ("2", ""), ("2", "portable"), ("3", "avx2")] {
        let arguments = [&QUANTIZE[..], &["--threads", threads]].concat();
        let answer = dir.andon(&arguments).with(|command| command.env("ANDON_ISA", isa)).run();
        // Not every processor has it.
        if isa == "avx2" && answer.code == Some(1) {
            continue;
        }
        done(&answer);
        all.push(fs::read(dir.path("int8.onnx")).unwrap());
    }
    assert!(all.iter().all(|bytes| *bytes == all[0]));
}

#[test]
fn accuracy_is_measured_on_labels() {
    let dir = dir(10);
    for picture in 0..4 {
        dir.squares(&format!("data/images/val/{picture}.png"), (64, 64), &[(picture, 2, RED)]);
        let label = format!("0 {} 0.3125 0.125 0.125\n", (f64::from(picture) + 0.5) / 8.0);
        dir.write(&format!("data/labels/val/{picture}.txt"), label);
    }
    let answer = dir.andon(&[&QUANTIZE[..], &["--data", "data", "--json"]].concat()).run();
    let report: serde_json::Value = serde_json::from_str(done(&answer).0).unwrap();
    for side in ["before", "after"] {
        assert!(report["accuracy"][side]["map50"].as_f64().unwrap() > 0.99, "{report}");
    }
    dir.write("data/labels/val/0.txt", "0 0.99 0.3125 0.125 0.125\n");
    let answer = dir.andon(&[&QUANTIZE[..], &["--data", "data"]].concat()).run();
    let (_, notes) = done(&answer);
    assert!(notes.iter().any(|note| note.contains("reach beyond their picture")), "{notes:?}");
    dir.write("data/images/val/1.png", "no picture");
    let answer = dir.andon(&[&QUANTIZE[..], &["--data", "data", "--json"]].concat()).run();
    let (report, notes) = done(&answer);
    assert!(notes.iter().any(|note| note.contains("1 of the 4 labelled pictures could not be read")), "{notes:?}");
    let report: serde_json::Value = serde_json::from_str(report).unwrap();
    assert!(report["accuracy"]["before"]["map50"].as_f64().is_some(), "{report}");
    dir.write("data/labels/val/0.txt", "7 0.5 0.3125 0.125 0.125\n");
    fails(&dir, &["--data", "data"], "val/0.txt");
    fails(&dir, &["--data", "nowhere"], "nowhere");
}

/// Fails with one sentence that says this, and writes nothing.
fn fails(dir: &Dir, more: &[&str], what: &str) {
    let before = files(dir);
    let answer = dir.andon(&[&QUANTIZE[..], more].concat()).run();
    let sentence = answer.sentence(1);
    assert!(sentence.contains(what), "{what:?} in {sentence}");
    assert_eq!(files(dir), before);
}

#[test]
fn what_cannot_be_quantized_with_is_told() {
    let few = dir(5);
    fails(&few, &[], "5 pictures are too few");
    let none = dir(0);
    fs::create_dir(none.path("shots")).unwrap();
    fails(&none, &[], "shots");
    let damaged = dir(8);
    damaged.write("shots/03.png", "no picture");
    fails(&damaged, &[], "7 pictures are too few");
    let answer =
        damaged.andon(&["quantize", "--model", "tiny.onnx", "--images", "line:count=99", "-o", "8.onnx"]).run();
    assert!(answer.sentence(1).contains("kept as files"), "{}", answer.sentence(1));
}

#[test]
fn a_model_that_is_int8_already_is_told() {
    let dir = dir(8);
    done(&dir.andon(&QUANTIZE).run());
    let answer = dir.andon(&["quantize", "--model", "int8.onnx", "--images", "shots", "-o", "again.onnx"]).run();
    assert!(answer.sentence(1).contains("quantized already"), "{}", answer.sentence(1));
    assert_eq!(files(&dir), ["int8.onnx", "tiny.onnx"]);
}

#[test]
fn pictures_of_nothing_are_told() {
    let dir = dir(0);
    for picture in 0..8 {
        dir.squares(&format!("shots/{picture}.png"), (64, 64), &[]);
    }
    let answer = dir.andon(&QUANTIZE).run();
    let (_, notes) = done(&answer);
    assert!(notes.iter().any(|note| note.contains("the float model finds nothing")), "{notes:?}");
}

#[test]
fn an_output_that_cannot_be_is_told_first() {
    let dir = dir(8);
    for (output, what) in [("nowhere/int8.onnx", "no folder"), ("tiny.onnx", "float model itself"), ("shots", "folder")]
    {
        let answer = dir.andon(&["quantize", "--model", "tiny.onnx", "--images", "shots", "-o", output]).run();
        assert!(answer.sentence(2).contains(what), "{output}: {}", answer.sentence(2));
    }
}

#[cfg(unix)]
#[test]
fn a_full_disk_leaves_the_old_file() {
    let dir = dir(8);
    dir.write("int8.onnx", "the old one");
    let answer = dir.andon_on_full_disk(1, &QUANTIZE).run();
    assert!(answer.sentence(1).contains("cannot be written"), "{}", answer.sentence(1));
    assert_eq!(dir.read("int8.onnx"), "the old one");
    assert_eq!(files(&dir), ["int8.onnx", "tiny.onnx"]);
}
