//! The tiny YOLO as a file, for machines that have no toolchain: `ANDON_WRITE_TINY=tiny.onnx cargo test tiny_model` leaves
//! it there, which is where `tests/vm/daemon.sh` has its model from.

use std::{env, fs, path};

use crate::util::{
    run::{Dir, GREEN, RED},
    tiny_yolo::{Head, TinyYolo, tiny_yolo},
};

#[test]
fn the_tiny_yolo_lies_where_it_is_asked_for_and_finds_its_squares() {
    let dir = Dir::new();
    let path =
        env::var_os("ANDON_WRITE_TINY").map_or_else(|| dir.path("tiny.onnx"), |path| path::absolute(path).unwrap());
    let options = TinyYolo { head: Head::EndToEnd, ..TinyYolo::default() };
    fs::write(&path, tiny_yolo(options)).unwrap();
    dir.squares("squares.png", (64, 64), &[(1, 2, RED), (5, 6, GREEN)]);
    let detect = ["detect", "--model", path.to_str().unwrap(), "--format", "jsonl", "squares.png"];
    let found = dir.andon(&detect).run().json();
    let mut names: Vec<_> = found["detections"].as_array().unwrap().iter().map(|item| item["name"].as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, [Some("green"), Some("red")]);
}
