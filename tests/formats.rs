//! What `--format` promises to other programs, byte for byte: the files in `tests/golden`.
//!
//! `ANDON_BLESS=1` writes them anew; a change of them is a change of what others rely on.

use std::{fs, path::Path, sync::Arc};

use andon::{
    detection::{Detection, Detections, Geometry, Keypoint, Timing},
    format::{Writer, coco, csv, json, text, yolo_txt},
    geometry::{BoxPx, Point, Size},
};

#[test]
fn the_formats_are_as_promised() {
    golden("found.json", &written(&mut json::Array::default(), &pictures()));
    golden("found.jsonl", &written(&mut json::Lines, &pictures()));
    golden("found.csv", &written(&mut csv::Rows::new(false), &pictures()));
    golden("oriented.csv", &written(&mut csv::Rows::new(true), &oriented()));
    golden("found.txt", &written(&mut text::Blocks, &pictures()));
    golden("oriented.txt", &written(&mut text::Blocks, &oriented()));
    golden("oriented.json", &written(&mut json::Array::default(), &oriented()));
    golden("found-coco.json", &written(&mut coco::Results::default(), &pictures()[..4]));
    let with_detections = |(_, found): &&(_, Detections)| !found.items.is_empty();
    for (source, found) in pictures().iter().chain(&oriented()).filter(with_detections) {
        let stem = Path::new(source).file_stem().unwrap().to_str().unwrap();
        golden(&format!("labels/{stem}.txt"), &yolo_txt::labels(found, false));
    }
    golden("labels/bus-with-confidence.txt", &yolo_txt::labels(&pictures()[0].1, true));
}

fn written(writer: &mut dyn Writer, pictures: &[(&str, Detections)]) -> String {
    let mut out = Vec::new();
    for (source, found) in pictures {
        writer.picture(&mut out, source, found).unwrap();
    }
    writer.finish(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("ANDON_BLESS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(text, expected, "{name}");
}

/// A box, nothing, an outline, a pose and a classification.
fn pictures() -> Vec<(&'static str, Detections)> {
    let bounds = BoxPx { x1: 10.429_153, y1: 220.200_47, x2: 810.0, y2: 770.139_7 };
    let small = BoxPx { x1: 50.1723, y1: 397.842_6, x2: 238.907_6, y2: 904.364_7 };
    let outline = vec![Point { x: 60.0, y: 400.0 }, Point { x: 230.5, y: 410.0 }, Point { x: 100.0, y: 900.25 }];
    let keypoints = [(70.0, 420.5, 0.987_654_3), (0.0, 0.0, 0.012_345)]
        .map(|(x, y, visible)| Keypoint { at: Point { x, y }, visible: Some(visible) });
    vec![
        (
            "shots/bus.jpg",
            found(vec![
                Detection { track_id: Some(4), ..item(5, "bus", 0.934_687, Geometry::Box(bounds)) },
                item(0, "person", 0.5, Geometry::Box(small)),
            ]),
        ),
        ("shots/empty \"1\", dark.jpg", found(Vec::new())),
        ("shots/000139.jpg", found(vec![item(0, "person", 0.75, Geometry::Segment { bounds: small, outline })])),
        (
            "shots/pose.jpg",
            found(vec![item(0, "person", 0.25, Geometry::Pose { bounds: small, keypoints: keypoints.to_vec() })]),
        ),
        (
            "shots/whole.jpg",
            found(vec![item(7, "scratch, deep", 0.876_543_2, Geometry::Image), item(1, "good", 0.1, Geometry::Image)]),
        ),
    ]
}

fn oriented() -> Vec<(&'static str, Detections)> {
    let corners = [(100.0, 50.5), (150.0, 100.0), (100.0, 149.5), (50.0, 100.0)].map(|(x, y)| Point { x, y });
    vec![("shots/harbour.png", found(vec![item(1, "ship", 0.625, Geometry::Oriented(corners))]))]
}

fn found(items: Vec<Detection>) -> Detections {
    let timing = Timing { decode_ms: 4.062_5, preprocess_ms: 1.5, inference_ms: 31.25, postprocess_ms: 0.25 };
    Detections { size: Size { width: 810, height: 1080 }, items, timing }
}

fn item(class: usize, name: &str, confidence: f32, geometry: Geometry) -> Detection {
    Detection { class, name: Arc::from(name), confidence, geometry, track_id: None }
}
