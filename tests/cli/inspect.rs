//! `andon inspect` on tiny models.

use serde_json::json;

use crate::util::{
    run::Dir,
    tiny_yolo::{Head, TinyYolo},
};

#[test]
fn a_model_is_described_for_programs() {
    let dir = Dir::new();
    dir.tiny_yolo("tiny.onnx", TinyYolo { head: Head::EndToEnd, ..TinyYolo::default() });
    let about = dir.andon(&["inspect", "--model", "tiny.onnx", "--json"]).run().json();
    assert_eq!(about["task"], "detect");
    assert_eq!(about["head"], "end2end");
    assert_eq!(about["classes"], json!(["red", "green"]));
    assert_eq!(about["input"], json!({"name": "images", "shape": [1, 3, 64, 64], "element": "float32"}));
    assert_eq!(about["outputs"], json!([{"name": "output0", "shape": [1, 10, 6], "element": "float32"}]));
    assert_eq!((&about["opset"], &about["quantization"]), (&json!(17), &json!("float")));
    assert_eq!((&about["convolutions"], &about["int8_convolutions"]), (&json!(1), &json!(0)));
    assert_eq!(about["operators"]["Conv"], 1);
    let left = about["left_to_tract"].as_array().unwrap();
    assert!(left.iter().any(|left| left["operator"] == "TopK"), "{left:?}");
    assert!(left.iter().all(|left| left["reason"].as_str().is_some_and(|reason| !reason.is_empty())), "{left:?}");
    assert_eq!(about["metadata"]["author"], "andon tests");
    assert_eq!(about["sha256"].as_str().map(str::len), Some(64));
}

#[test]
fn a_model_is_described_for_people() {
    let dir = Dir::new();
    dir.tiny_yolo("tiny.onnx", TinyYolo { head: Head::EndToEnd, ..TinyYolo::default() });
    let answer = dir.andon(&["inspect", "--model", "tiny.onnx"]).run();
    let text = answer.ok();
    for expected in [
        "tiny.onnx\n",
        "end2end, detect, 2 classes, 1×10×6",
        "2: red, green",
        "images  1×3×64×64",
        "0 of 1 convolutions in int8",
        "author = andon tests",
    ] {
        assert!(text.contains(expected), "{expected:?} in {text}");
    }
}

#[test]
fn a_model_that_is_no_yolo_is_described_as_far_as_it_goes() {
    let dir = Dir::new();
    dir.write("relu.onnx", super::wrong::relu());
    let answer = dir.andon(&["inspect", "--model", "relu.onnx"]).run();
    assert!(answer.sentence(1).starts_with("model relu.onnx"), "{answer:?}");
    assert!(answer.stdout.contains("1×3×8×8"), "{answer:?}");
}
