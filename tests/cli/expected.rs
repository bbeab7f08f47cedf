//! Real models on real pictures, against what Ultralytics finds with the same files.

use std::path::Path;

use serde_json::Value;

use crate::util::{assets, run::Dir};

/// A detection as far as it is compared.
#[derive(Debug)]
struct Found {
    class: u64,
    confidence: f64,
    corners: [f64; 4],
}

#[test]
fn every_expected_detection_is_found_and_none_invented() {
    let Some(assets) = assets("expected detections") else { return };
    let expected = std::fs::read_to_string(assets.join("data/images/expected.json")).unwrap();
    let expected: Value = serde_json::from_str(&expected).unwrap();
    let mut complaints = Vec::new();
    for model in [
        "yolo26n-coco.onnx",
        "yolo26n-coco-int8-qdq.onnx",
        "yolo26n-coco-int8-qoperator.onnx",
        "yolo26n-coco-int8-dynamic.onnx",
        "yolov8n-coco.onnx",
        "yolov8n-coco-int8-dynamic.onnx",
    ] {
        let pictures = detect(&assets, model);
        for (picture, name) in pictures.iter().zip(PICTURES) {
            let wanted = all(&expected[model][name]);
            assert!(!wanted.is_empty(), "{model}, {name}: nothing is expected");
            compare(&format!("{model}, {name}"), picture, &wanted, &mut complaints);
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn yolox_counts_the_bus_and_its_people() {
    let Some(assets) = assets("YOLOX") else { return };
    let pictures = detect(&assets, "yolox-nano-coco-416.onnx");
    let count = |picture: usize, class| pictures[picture].iter().filter(|found| found.class == class).count();
    const PERSON: u64 = 0;
    const BUS: u64 = 5;
    assert_eq!(count(0, BUS), 1, "{pictures:#?}");
    assert!(count(0, PERSON) >= 3, "{pictures:#?}");
    assert_eq!(count(1, PERSON), 2, "{pictures:#?}");
}

const PICTURES: [&str; 2] = ["bus.jpg", "zidane.jpg"];

/// What `andon detect` finds in the two pictures.
fn detect(assets: &Path, model: &str) -> Vec<Vec<Found>> {
    let model = assets.join("models").join(model);
    let pictures = PICTURES.map(|name| assets.join("data/images").join(name));
    let mut arguments = vec!["detect", "--format", "json", "--model", model.to_str().unwrap()];
    arguments.extend(pictures.iter().map(|path| path.to_str().unwrap()));
    let answer = Dir::new().andon(&arguments).run().json();
    let answer = answer.as_array().unwrap();
    assert_eq!(answer.len(), PICTURES.len());
    answer.iter().map(|picture| all(&picture["detections"])).collect()
}

fn all(detections: &Value) -> Vec<Found> {
    let number = |value: &Value| value.as_f64().unwrap();
    let one = |found: &Value| Found {
        class: found["class"].as_u64().unwrap(),
        confidence: number(&found["confidence"]),
        corners: ["x1", "y1", "x2", "y2"].map(|corner| number(&found["box"][corner])),
    };
    detections.as_array().map(|all| all.iter().map(one).collect()).unwrap_or_default()
}

/// Every detection expected with 0.5 or more is found, and every one found with 0.6 or more is expected.
fn compare(what: &str, found: &[Found], expected: &[Found], complaints: &mut Vec<String>) {
    let in_list = |one: &Found, list: &[Found]| {
        let best = list.iter().filter(|other| other.class == one.class).map(|other| iou(&one.corners, &other.corners));
        best.fold(0.0, f64::max)
    };
    for one in expected.iter().filter(|one| one.confidence >= 0.5) {
        let best = in_list(one, found);
        if best < 0.85 {
            complaints.push(format!("{what}: not found (best IoU {best:.3}): {one:?}"));
        }
    }
    for one in found.iter().filter(|one| one.confidence >= 0.6) {
        let best = in_list(one, expected);
        if best < 0.85 {
            complaints.push(format!("{what}: invented (best IoU {best:.3}): {one:?}"));
        }
    }
}

fn iou(a: &[f64; 4], b: &[f64; 4]) -> f64 {
    let overlap = |low: usize| (a[low + 2].min(b[low + 2]) - a[low].max(b[low])).max(0.0);
    let area = |c: &[f64; 4]| (c[2] - c[0]) * (c[3] - c[1]);
    let intersection = overlap(0) * overlap(1);
    intersection / (area(a) + area(b) - intersection)
}
