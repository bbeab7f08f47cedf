//! Bad input: one clear sentence each, the exit code of the contract, and what was good is done all the same.

use crate::util::{
    onnx::{Dim, Elem, Model},
    run::{Dir, RED},
    tiny_yolo::{Head, TinyYolo, tiny_yolo},
};

fn dir() -> Dir {
    let dir = Dir::new();
    dir.tiny_yolo("tiny.onnx", TinyYolo { head: Head::EndToEnd, ..TinyYolo::default() });
    dir.squares("good.png", (64, 64), &[(1, 2, RED)]);
    dir
}

/// A valid model that is no YOLO.
pub(super) fn relu() -> Vec<u8> {
    let mut model = Model::new(17);
    let dims = [1, 3, 8, 8].map(Dim::Fixed);
    model.input("x", Elem::F32, &dims);
    model.output("y", Elem::F32, &dims);
    model.node("Relu", &["x"], &["y"], &[]);
    model.to_bytes()
}

#[test]
fn bad_models_fail_with_a_sentence_that_names_them() {
    let dir = dir();
    let whole = tiny_yolo(TinyYolo::default());
    dir.write("truncated.onnx", &whole[..whole.len() / 2]);
    dir.write("empty.onnx", "");
    dir.write("noise.onnx", "this is no model, whatever its name says\n");
    dir.write("relu.onnx", relu());
    for name in ["missing.onnx", ".", "truncated.onnx", "empty.onnx", "noise.onnx", "relu.onnx"] {
        let answer = dir.andon(&["detect", "--model", name, "good.png"]).run();
        let sentence = answer.sentence(1);
        assert!(sentence.contains(name), "{name}: {sentence}");
        assert_eq!(answer.stdout, "", "{name}");
    }
}

#[test]
fn bad_pictures_fail_and_the_good_ones_are_done() {
    let dir = dir();
    let good = std::fs::read(dir.path("good.png")).unwrap();
    image::open(dir.path("good.png")).unwrap().to_rgb8().save(dir.path("good.jpg")).unwrap();
    let jpeg = std::fs::read(dir.path("good.jpg")).unwrap();
    dir.write("empty.jpg", "");
    dir.write("noise.jpg", "no picture");
    dir.write("cut.png", &good[..good.len() / 2]);
    dir.write("corrupt.jpg", [&jpeg[..jpeg.len() / 3], &[0xff, 0xd9][..]].concat());
    dir.write("huge.png", huge_png());
    let bad = ["missing.png", "empty.jpg", "noise.jpg", "cut.png", "huge.png", "no-match-*.png"];
    for name in bad {
        let answer = dir.andon(&["detect", "--model", "tiny.onnx", name, "good.png"]).run();
        assert!(answer.sentence(1).contains(name), "{name}: {answer:?}");
        let pictures: serde_json::Value = serde_json::from_str(&answer.stdout).unwrap();
        assert_eq!(pictures.as_array().map(Vec::len), Some(1), "{name}");
        assert_eq!(pictures[0]["source"], "good.png", "{name}");
    }
    let all = [&["detect", "--model", "tiny.onnx"][..], &bad].concat();
    let answer = dir.andon(&all).run();
    assert_eq!((answer.code, answer.stdout.as_str()), (Some(1), "[]\n"), "{answer:?}");
    assert_eq!(answer.sentences().len(), bad.len(), "{answer:?}");
    let answer = dir.andon(&["detect", "--model", "tiny.onnx", "corrupt.jpg"]).run();
    assert!(answer.sentence(1).contains("corrupt.jpg"), "{answer:?}");
}

/// A PNG whose header promises 60,000 × 60,000 pixels, which nobody should make room for.
fn huge_png() -> Vec<u8> {
    let mut header = b"IHDR".to_vec();
    header.extend(60_000u32.to_be_bytes());
    header.extend(60_000u32.to_be_bytes());
    header.extend([8, 2, 0, 0, 0]);
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    png.extend(13u32.to_be_bytes());
    png.extend(&header);
    png.extend(crc32(&header).to_be_bytes());
    png.extend([0, 0, 0, 0]);
    png.extend(b"IDAT");
    png.extend(crc32(b"IDAT").to_be_bytes());
    png
}

/// The checksum of a PNG's chunk.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

#[test]
fn unknown_classes_name_the_nearest() {
    let answer = dir().andon(&["detect", "--model", "tiny.onnx", "--classes", "gren", "good.png"]).run();
    assert!(answer.sentence(1).contains("did you mean \"green\"?"), "{answer:?}");
}

#[test]
fn wrong_use_has_its_own_code() {
    let dir = dir();
    for arguments in [
        &[][..],
        &["detect"],
        &["detect", "--model", "tiny.onnx"],
        &["detect", "good.png"],
        &["detect", "--model", "tiny.onnx", "--conf", "2", "good.png"],
        &["detect", "--model", "tiny.onnx", "--format", "xml", "good.png"],
        &["detect", "--model", "tiny.onnx", "--task", "sing", "good.png"],
        &["detect", "--model", "tiny.onnx", "--colour", "good.png"],
        &["paint"],
        &["inspect"],
    ] {
        let answer = dir.andon(arguments).run();
        assert_eq!((answer.code, answer.stdout.as_str()), (Some(2), ""), "{arguments:?}: {answer:?}");
    }
    for arguments in [
        &["detect", "--model", "tiny.onnx", "--format", "yolo-txt", "good.png"][..],
        &["detect", "--model", "tiny.onnx", "--save-conf", "good.png"],
        &["detect", "--model", "tiny.onnx", "--format", "coco", "command:cat good.png"],
        &["detect", "--model", "tiny.onnx", "-", "-"],
    ] {
        dir.andon(arguments).run().sentence(2);
    }
}

#[test]
fn a_source_that_is_none_is_refused_without_its_password() {
    let dir = dir();
    for (source, part) in [
        ("rtps://admin:s3cret@cam/1", "did you mean rtsp:"),
        ("rtsp://admin:s3/cret@cam/1", "%2F"),
        ("http://admin:s3cret@cam:eighty/", "port that is no number"),
    ] {
        let answer = dir.andon(&["detect", "--model", "tiny.onnx", source]).run();
        let sentence = answer.sentence(2);
        assert!(sentence.contains(part) && !sentence.contains("cret"), "{sentence}");
    }
}

#[test]
fn help_and_version_are_no_failure() {
    let dir = Dir::new();
    for arguments in [&["--help"][..], &["--version"], &["detect", "--help"], &["inspect", "-h"], &["devices", "-h"]] {
        assert!(!dir.andon(arguments).run().ok().is_empty(), "{arguments:?}");
    }
}
