//! Heads against Ultralytics' own answers for the same raw outputs.
//!
//! Reads the folder in `ANDON_YOLO_DIR`, which `tests/peers/ultralytics_heads.py` writes; does nothing without it.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its case fails")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use andon::{
    detection::{Detection, Geometry},
    geometry::{BoxPx, Placement, Point, Size},
    yolo::{Fit, HeadSpec, Hints, ModelFacts, TensorView, Thresholds},
};
use serde_json::Value;

/// Boxes, keypoints and corners may be this far off.
const COORDINATES_PX: f64 = 0.01;

/// Confidences may be this far off.
const CONFIDENCE: f64 = 1e-5;

/// Outlines have to cover the same pixels to this share.
const OUTLINE_IOU: f64 = 0.98;

#[test]
fn every_head_finds_what_ultralytics_finds() {
    let Some(folder) = std::env::var_os("ANDON_YOLO_DIR").map(PathBuf::from) else {
        println!("skipped: ANDON_YOLO_DIR is not set; tests/peers/ultralytics_heads.py fills such a folder");
        return;
    };
    let mut cases: Vec<PathBuf> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("expected.json").is_file())
        .collect();
    cases.sort();
    assert!(!cases.is_empty(), "{} holds no cases", folder.display());
    let mut wrong = Vec::new();
    for case in &cases {
        let name = case.file_name().unwrap().to_string_lossy();
        match compare(case) {
            Ok(said) => println!("{name}: {said}"),
            Err(difference) => wrong.push(format!("{name}: {difference}")),
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// Decodes the outputs in a folder and compares; says what was compared.
fn compare(case: &Path) -> Result<String, String> {
    let expected: Value = serde_json::from_slice(&fs::read(case.join("expected.json")).unwrap()).unwrap();
    let metadata: BTreeMap<String, String> = serde_json::from_value(expected["metadata"].clone()).unwrap();
    let input = indices(&expected["input"]);
    let outputs: Vec<(String, Vec<usize>, Vec<f32>)> = expected["outputs"]
        .as_array()
        .unwrap()
        .iter()
        .enumerate()
        .map(|(at, output)| {
            let data = numbers(&case.join(format!("output{at}.npy")));
            (output["name"].as_str().unwrap().to_owned(), indices(&output["shape"]), data)
        })
        .collect();
    let shapes: Vec<(&str, &[usize])> = outputs.iter().map(|(name, shape, _)| (&**name, &**shape)).collect();
    let facts = ModelFacts { metadata: &metadata, input: &input, outputs: &shapes };
    let spec = HeadSpec::resolve(&facts, &Hints::default()).map_err(|error| error.to_string())?;
    let views: Vec<TensorView<'_>> = outputs.iter().map(|(_, shape, data)| TensorView { shape, data }).collect();
    let picture = indices(&expected["picture"]);
    let picture = Size { width: picture[1] as u32, height: picture[0] as u32 };
    let placement = letterbox(picture, Size { width: input[3] as u32, height: input[2] as u32 });
    let (mut found_count, mut outlines_equal) = (0, 0);
    for run in expected["runs"].as_array().unwrap() {
        let thresholds = Thresholds {
            confidence: run["conf"].as_f64().unwrap() as f32,
            iou: run["iou"].as_f64().unwrap() as f32,
            max_det: run["max_det"].as_u64().unwrap() as usize,
            agnostic: run["agnostic_nms"].as_bool() == Some(true),
            // Ultralytics lets classifiers name any class.
            classes: run.get("classes").filter(|_| spec.input.fit != Fit::CropCenter).map(indices),
            ..Thresholds::default()
        };
        let found = spec.decode(&views, &thresholds, &placement).map_err(|error| error.to_string())?;
        let wanted = run["detections"].as_array().unwrap();
        found_count += wanted.len();
        outlines_equal +=
            same(&found, wanted, picture).map_err(|difference| format!("{difference} ({thresholds:?})"))?;
    }
    Ok(format!("{}; {found_count} detections, {outlines_equal} outlines with the same corners", spec.describe()))
}

/// Compares what was found with what Ultralytics found, whatever the order of equal confidences.
fn same(found: &[Detection], wanted: &[Value], picture: Size) -> Result<usize, String> {
    if found.len() != wanted.len() {
        return Err(format!("{} found, {} expected", found.len(), wanted.len()));
    }
    if !found.is_sorted_by(|a, b| a.confidence >= b.confidence) {
        return Err("not sorted".to_owned());
    }
    let mut left: Vec<&Detection> = found.iter().collect();
    let mut outlines_equal = 0;
    for value in wanted {
        let Some(at) = left.iter().position(|detection| same_place(detection, value)) else {
            let near = found.iter().find(|detection| {
                (f64::from(detection.confidence) - value["confidence"].as_f64().unwrap()).abs() < CONFIDENCE
            });
            let mut value = value.clone();
            value.as_object_mut().unwrap().remove("segments");
            return Err(format!("{value} is missing; near it is {near:?}"));
        };
        if let Geometry::Segment { outline, .. } = &left.remove(at).geometry {
            let theirs = points(&value["segments"]);
            let sorted = |points: &[Point]| {
                let mut points: Vec<[i64; 2]> =
                    points.iter().map(|p| [p.x, p.y].map(|v| (f64::from(v) * 100.0).round() as i64)).collect();
                points.sort_unstable();
                points.dedup();
                points
            };
            if sorted(outline) == sorted(&theirs) {
                outlines_equal += 1;
                continue;
            }
            let iou = filled_iou(outline, &theirs, picture);
            if iou < OUTLINE_IOU {
                return Err(format!("an outline covers the expected one to {iou}: {outline:?} is not {theirs:?}"));
            }
        }
    }
    Ok(outlines_equal)
}

fn same_place(detection: &Detection, value: &Value) -> bool {
    let near = |a: f32, b: &Value, allowed: f64| b.as_f64().is_some_and(|b| (f64::from(a) - b).abs() <= allowed);
    let at = |point: &Point, x: &Value, y: &Value| near(point.x, x, COORDINATES_PX) && near(point.y, y, COORDINATES_PX);
    let boxes = |bounds: &BoxPx| {
        let wanted = &value["box"];
        at(&Point { x: bounds.x1, y: bounds.y1 }, &wanted["x1"], &wanted["y1"])
            && at(&Point { x: bounds.x2, y: bounds.y2 }, &wanted["x2"], &wanted["y2"])
    };
    detection.class as u64 == value["class"].as_u64().unwrap()
        && *detection.name == *value["name"].as_str().unwrap()
        && near(detection.confidence, &value["confidence"], CONFIDENCE)
        && match &detection.geometry {
            Geometry::Image => value.get("box").is_none(),
            Geometry::Box(bounds) | Geometry::Segment { bounds, .. } => boxes(bounds),
            Geometry::Pose { bounds, keypoints } => {
                let wanted = &value["keypoints"];
                boxes(bounds)
                    && wanted["x"].as_array().unwrap().len() == keypoints.len()
                    && keypoints.iter().enumerate().all(|(n, keypoint)| {
                        at(&keypoint.at, &wanted["x"][n], &wanted["y"][n])
                            && match keypoint.visible {
                                Some(visible) => near(visible, &wanted["visible"][n], CONFIDENCE),
                                None => wanted.get("visible").is_none(),
                            }
                    })
            }
            Geometry::Oriented(corners) => corners.iter().enumerate().all(|(n, corner)| {
                at(corner, &value["box"][format!("x{}", n + 1)], &value["box"][format!("y{}", n + 1)])
            }),
        }
}

/// Where Ultralytics 8.4 places a picture: each side is rounded, the rest is halved.
fn letterbox(picture: Size, model: Size) -> Placement {
    let gain =
        (f64::from(model.width) / f64::from(picture.width)).min(f64::from(model.height) / f64::from(picture.height));
    let side = |picture: u32, model: u32| {
        let fitted = (f64::from(picture) * gain).round_ties_even().max(1.0);
        let offset = ((f64::from(model) - fitted) / 2.0 - 0.1).round_ties_even();
        ((fitted / f64::from(picture)) as f32, offset as f32)
    };
    let (x, y) = (side(picture.width, model.width), side(picture.height, model.height));
    Placement { picture, model, scale: [x.0, y.0], offset: [x.1, y.1], origin: Point::default(), original: picture }
}

/// Intersection over union of two filled polygons, sampled four times per pixel along each axis.
fn filled_iou(a: &[Point], b: &[Point], picture: Size) -> f64 {
    let (mut both, mut either) = (0_u64, 0_u64);
    for line in 0..picture.height * 4 {
        let y = (line as f32 + 0.37) / 4.0;
        let (a, b) = (crossings(a, y), crossings(b, y));
        for column in 0..picture.width * 4 {
            let x = (column as f32 + 0.37) / 4.0;
            let inside = |crossings: &[f32]| crossings.partition_point(|at| *at <= x) % 2 == 1;
            both += u64::from(inside(&a) && inside(&b));
            either += u64::from(inside(&a) || inside(&b));
        }
    }
    if either == 0 { 1.0 } else { both as f64 / either as f64 }
}

/// Where the edges of a polygon cross a line, from left to right.
fn crossings(polygon: &[Point], y: f32) -> Vec<f32> {
    let next = polygon.iter().cycle().skip(1);
    let edges = polygon.iter().zip(next).filter(|(p, q)| (p.y <= y) != (q.y <= y));
    let mut crossings: Vec<f32> = edges.map(|(p, q)| p.x + (y - p.y) / (q.y - p.y) * (q.x - p.x)).collect();
    crossings.sort_by(f32::total_cmp);
    crossings
}

fn points(segments: &Value) -> Vec<Point> {
    let axis = |name: &str| -> Vec<f32> { serde_json::from_value(segments[name].clone()).unwrap() };
    axis("x").into_iter().zip(axis("y")).map(|(x, y)| Point { x, y }).collect()
}

fn indices(value: &Value) -> Vec<usize> {
    serde_json::from_value(value.clone()).unwrap()
}

/// The numbers of a `.npy` file of little-endian 32-bit floats in C order.
fn numbers(path: &Path) -> Vec<f32> {
    let bytes = fs::read(path).unwrap();
    assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00", "{}", path.display());
    let start = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = String::from_utf8_lossy(&bytes[10..start]);
    assert!(header.contains("'<f4'") && header.contains("'fortran_order': False"), "{header}");
    bytes[start..].chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect()
}
