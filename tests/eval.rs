//! A model's figures against those of Ultralytics and pycocotools, for made-up detections that are hard to agree on.
//!
//! `tests/golden/eval.json` holds the cases and both libraries' answers; `make golden-val` wrote it.

use andon::{
    detection::{Detection, Geometry, Label},
    eval::{Evaluation, Options, confusion::Confusion, evaluation::Figures},
    geometry::BoxPx,
};
use serde_json::Value;

/// Sums are added up in other orders there.
const OFF_MAX: f64 = 1e-6;

#[test]
fn figures_are_those_of_ultralytics_and_pycocotools() {
    let cases: Value = serde_json::from_str(include_str!("golden/eval.json")).unwrap();
    let cases = cases.as_array().unwrap();
    assert!(cases.len() > 10);
    let mut wrong = Vec::new();
    for case in cases {
        let mut evaluation = Evaluation::new(Options { at_iou: Some(0.5) });
        for picture in case["pictures"].as_array().unwrap() {
            let truth: Vec<Label> = numbers(&picture[0]).iter().map(|row| label(row)).collect();
            let found: Vec<Detection> = numbers(&picture[1]).iter().map(|row| detection(row)).collect();
            evaluation.add(&truth, &found);
        }
        let report = evaluation.report();
        let classes = case["classes"].as_array().unwrap();
        assert_eq!(report.classes.len(), classes.len(), "{}", case["name"]);
        compare(&mut wrong, &format!("{} all", case["name"]), &report.figures, case);
        for (ours, theirs) in report.classes.iter().zip(classes) {
            assert_eq!(theirs["class"], ours.class);
            compare(&mut wrong, &format!("{} class {}", case["name"], ours.class), &ours.figures, theirs);
        }
        compare_confusion(&mut wrong, case, &report.confusion);
        let at_half = report.at_iou.unwrap();
        assert!((at_half.map - report.figures.map50).abs() < OFF_MAX, "{}", case["name"]);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn compare(wrong: &mut Vec<String>, what: &str, ours: &Figures, theirs: &Value) {
    let pairs = [
        ("precision", ours.precision, &theirs["precision"]),
        ("recall", ours.recall, &theirs["recall"]),
        ("map50", ours.map50, &theirs["map50"]),
        ("map50_95", ours.map50_95, &theirs["map50_95"]),
        ("coco ap", ours.coco_ap, &theirs["coco"]["ap"]),
        ("coco ap50", ours.coco_ap50, &theirs["coco"]["ap50"]),
    ];
    for (name, ours, theirs) in pairs {
        let theirs = theirs.as_f64().unwrap();
        if (ours - theirs).abs() > OFF_MAX {
            wrong.push(format!("{what}: {name} is {ours}, not {theirs}"));
        }
    }
}

fn compare_confusion(wrong: &mut Vec<String>, case: &Value, ours: &Confusion) {
    let class = |value: &Value| value.as_u64().map(|class| class as usize);
    let theirs = case["confusion"].as_array().unwrap().iter();
    let mut theirs: Vec<_> = theirs.map(|row| (class(&row[0]), class(&row[1]), row[2].as_u64().unwrap())).collect();
    theirs.sort_unstable();
    let ours: Vec<_> = ours.entries().collect();
    if ours != theirs {
        wrong.push(format!("{}: the confusion is {ours:?}, not {theirs:?}", case["name"]));
    }
}

fn numbers(rows: &Value) -> Vec<Vec<f32>> {
    let numbers = |row: &Value| row.as_array().unwrap().iter().map(|n| n.as_f64().unwrap() as f32).collect();
    rows.as_array().unwrap().iter().map(numbers).collect()
}

fn label(row: &[f32]) -> Label {
    Label { class: row[0] as usize, bounds: BoxPx { x1: row[1], y1: row[2], x2: row[3], y2: row[4] } }
}

fn detection(row: &[f32]) -> Detection {
    let Label { class, bounds } = label(row);
    Detection { class, name: "".into(), confidence: row[5], geometry: Geometry::Box(bounds), track_id: None }
}
