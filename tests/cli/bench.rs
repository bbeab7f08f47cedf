//! `andon bench` on a tiny model.

use serde_json::Value;

use crate::util::{
    run::Dir,
    tiny_yolo::{Head, TinyYolo},
};

fn dir() -> Dir {
    let dir = Dir::new();
    dir.tiny_yolo("tiny.onnx", TinyYolo { head: Head::EndToEnd, ..TinyYolo::default() });
    dir
}

fn positive(value: &Value) -> f64 {
    let number = value.as_f64().unwrap_or_else(|| panic!("no number: {value}"));
    assert!(number > 0.0, "{number}");
    number
}

#[test]
fn times_are_given_for_programs() {
    let dir = dir();
    let found = dir.andon(&["bench", "--model", "tiny.onnx", "--threads", "1", "--runs", "7", "--json"]).run().json();
    assert_eq!((found["model"].as_str(), found["threads"].as_u64()), (Some("tiny.onnx"), Some(1)));
    assert_eq!((found["runs"].as_u64(), found["convolutions"].as_u64()), (Some(7), Some(1)));
    assert_eq!(found["int8_convolutions"].as_u64(), Some(0));
    assert!(found["isa"].as_str().is_some_and(|isa| !isa.is_empty()), "{found}");
    let [min, median, p95] = ["min", "median", "p95"].map(|key| positive(&found["latency_ms"][key]));
    assert!(min <= median && median <= p95, "{found}");
    assert!((positive(&found["fps"]) * median / 1e3 - 1.0).abs() < 0.05, "{found}");
    assert!(positive(&found["first_result_ms"]) > positive(&found["load_ms"]), "{found}");
    if cfg!(target_os = "linux") {
        assert!(found["rss_bytes"].as_u64().is_some_and(|bytes| bytes > 1 << 20), "{found}");
    }
    assert_eq!((&found["steps"], &found["peak"]), (&Value::Null, &Value::Null));
}

#[test]
fn times_are_given_for_people() {
    let dir = dir();
    let answer = dir.andon(&["bench", "--model", "tiny.onnx", "--runs", "3", "--warm-up", "0"]).run();
    let text = answer.ok();
    for expected in
        ["tiny.onnx\n", "first result after", "median", "p95", "3 runs", "fps", "0 of 1 convolutions in int8"]
    {
        assert!(text.contains(expected), "{expected:?} in {text}");
    }
}

#[test]
fn a_profile_lists_the_steps() {
    let dir = dir();
    let found = dir.andon(&["bench", "--model", "tiny.onnx", "--runs", "3", "--profile", "--json"]).run().json();
    let steps = found["steps"].as_array().unwrap();
    assert!(!steps.is_empty());
    let shares: f64 = steps.iter().map(|step| step["share"].as_f64().unwrap()).sum();
    assert!((shares - 1.0).abs() < 0.001 * (steps.len() + 1) as f64, "{shares}");
    for step in steps {
        assert!(step["name"].is_string() && step["kind"].is_string() && step["int8"].is_boolean(), "{step}");
        assert!(step["ms"].is_number() && step["macs"].is_u64(), "{step}");
    }
    assert!(found["peak"].is_object(), "{found}");
    let answer = dir.andon(&["bench", "--model", "tiny.onnx", "--runs", "3", "--profile"]).run();
    assert!(answer.ok().contains("of peak") && answer.stdout.contains("all steps"), "{answer:?}");
}

#[test]
fn wrong_use_is_told() {
    let dir = dir();
    for bad in [&["--runs", "0"][..], &["--threads", "0"], &["--head", "yolox"]] {
        let answer = dir.andon(&[&["bench", "--model", "tiny.onnx"], bad].concat()).run();
        assert_eq!(answer.code, Some(2), "{bad:?}: {answer:?}");
    }
    let answer = dir.andon(&["bench", "--model", "missing.onnx"]).run();
    assert!(answer.sentence(1).contains("missing.onnx"), "{answer:?}");
}
