//! Detections as JSON, with the fields of Ultralytics' `Results.to_json()`.
//!
//! Coordinates are in pixels of the original picture, five decimals. A detection is `name`, `class`, `confidence` and
//! `box`, with `track_id`, `segments` and `keypoints` where there are any; the box of an oriented detection has four
//! corners, and a classification has none.

use std::io::Write;

use serde::Serialize;

use super::{Error, Writer, rounded};
use crate::{
    detection::{Detection, Detections, Geometry, Timing},
    geometry::{BoxPx, Point},
};

/// One detection, to be serialized.
#[derive(Clone, Debug, Serialize)]
pub struct Row<'a> {
    name: &'a str,
    class: usize,
    confidence: f64,
    #[serde(rename = "box", skip_serializing_if = "Option::is_none")]
    bounds: Option<Bounds>,
    #[serde(skip_serializing_if = "Option::is_none")]
    track_id: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    segments: Option<Points>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keypoints: Option<Points>,
}

impl<'a> Row<'a> {
    /// The detection as Ultralytics spells it.
    pub fn of(found: &'a Detection) -> Self {
        let mut row = Self {
            name: &found.name,
            class: found.class,
            confidence: rounded(found.confidence, DECIMALS),
            bounds: found.bounds().map(Bounds::upright),
            track_id: found.track_id,
            segments: None,
            keypoints: None,
        };
        match &found.geometry {
            Geometry::Image | Geometry::Box(_) => {}
            Geometry::Segment { outline, .. } => row.segments = Some(Points::of(outline.iter().copied())),
            Geometry::Pose { keypoints, .. } => {
                let mut points = Points::of(keypoints.iter().map(|keypoint| keypoint.at));
                let visible: Option<Vec<_>> = keypoints.iter().map(|keypoint| keypoint.visible).collect();
                points.visible = visible.map(|all| all.into_iter().map(|v| rounded(v, DECIMALS)).collect());
                row.keypoints = Some(points);
            }
            Geometry::Oriented(corners) => row.bounds = Some(Bounds::oriented(corners)),
        }
        row
    }
}

/// One detection as a JSON object.
pub fn detection(found: &Detection) -> serde_json::Value {
    serde_json::to_value(Row::of(found)).expect("a row has string keys and plain numbers only")
}

/// One array with one object per picture: `--format json`.
#[derive(Debug, Default)]
pub struct Array {
    pictures: usize,
}

impl Writer for Array {
    fn picture(&mut self, out: &mut dyn Write, source: &str, found: &Detections) -> Result<(), Error> {
        out.write_all(if self.pictures == 0 { b"[\n" } else { b",\n" })?;
        self.pictures += 1;
        serde_json::to_writer(&mut *out, &Picture::of(source, found))?;
        Ok(())
    }

    fn finish(&mut self, out: &mut dyn Write) -> Result<(), Error> {
        out.write_all(if self.pictures == 0 { b"[]\n" } else { b"\n]\n" })?;
        Ok(())
    }
}

/// One object per picture, each on its own line: `--format jsonl`.
#[derive(Debug, Default)]
pub struct Lines;

impl Writer for Lines {
    fn picture(&mut self, out: &mut dyn Write, source: &str, found: &Detections) -> Result<(), Error> {
        serde_json::to_writer(&mut *out, &Picture::of(source, found))?;
        out.write_all(b"\n")?;
        Ok(())
    }

    fn finish(&mut self, _out: &mut dyn Write) -> Result<(), Error> {
        Ok(())
    }
}

/// Decimals of pixels and confidences, as Ultralytics rounds them.
pub(super) const DECIMALS: i32 = 5;

#[derive(Serialize)]
struct Picture<'a> {
    source: &'a str,
    width: u32,
    height: u32,
    detections: Vec<Row<'a>>,
    speed_ms: Speed,
}

impl<'a> Picture<'a> {
    fn of(source: &'a str, found: &'a Detections) -> Self {
        Self {
            source,
            width: found.size.width,
            height: found.size.height,
            detections: found.items.iter().map(Row::of).collect(),
            speed_ms: Speed::of(&found.timing),
        }
    }
}

#[derive(Serialize)]
struct Speed {
    decode: f64,
    preprocess: f64,
    inference: f64,
    postprocess: f64,
}

impl Speed {
    fn of(timing: &Timing) -> Self {
        let ms = |value| rounded(value, 3);
        Self {
            decode: ms(timing.decode_ms),
            preprocess: ms(timing.preprocess_ms),
            inference: ms(timing.inference_ms),
            postprocess: ms(timing.postprocess_ms),
        }
    }
}

#[derive(Clone, Debug, Serialize)]
struct Bounds {
    x1: f64,
    y1: f64,
    x2: f64,
    y2: f64,
    #[serde(flatten)]
    rest: Option<OtherCorners>,
}

#[derive(Clone, Debug, Serialize)]
struct OtherCorners {
    x3: f64,
    y3: f64,
    x4: f64,
    y4: f64,
}

impl Bounds {
    fn upright(bounds: BoxPx) -> Self {
        let [x1, y1, x2, y2] = [bounds.x1, bounds.y1, bounds.x2, bounds.y2].map(|v| rounded(v, DECIMALS));
        Self { x1, y1, x2, y2, rest: None }
    }

    fn oriented(corners: &[Point; 4]) -> Self {
        let [[x1, y1], [x2, y2], [x3, y3], [x4, y4]] =
            corners.map(|p| [rounded(p.x, DECIMALS), rounded(p.y, DECIMALS)]);
        Self { x1, y1, x2, y2, rest: Some(OtherCorners { x3, y3, x4, y4 }) }
    }
}

#[derive(Clone, Debug, Serialize)]
struct Points {
    x: Vec<f64>,
    y: Vec<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    visible: Option<Vec<f64>>,
}

impl Points {
    fn of(points: impl Iterator<Item = Point>) -> Self {
        let (x, y) = points.map(|p| (rounded(p.x, DECIMALS), rounded(p.y, DECIMALS))).unzip();
        Self { x, y, visible: None }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::samples, *};

    #[test]
    fn every_geometry_has_the_fields_of_ultralytics() {
        let upright = json!({"x1": 10.42915, "y1": 220.20047, "x2": 200.0, "y2": 300.5});
        assert_eq!(
            detection(&samples::boxed()),
            json!({"name": "bus", "class": 5, "confidence": 0.93469, "box": upright})
        );
        assert_eq!(
            detection(&samples::segment()),
            json!({"name": "person", "class": 0, "confidence": 0.5, "box": upright,
                "segments": {"x": [20.0, 100.0, 60.5], "y": [230.0, 230.0, 290.25]}})
        );
        assert_eq!(
            detection(&samples::pose(Some(0.5)))["keypoints"],
            json!({"x": [30.0, 40.0], "y": [240.0, 250.0], "visible": [0.5, 0.5]})
        );
        assert_eq!(detection(&samples::pose(None))["keypoints"], json!({"x": [30.0, 40.0], "y": [240.0, 250.0]}));
        assert_eq!(
            detection(&samples::oriented())["box"],
            json!({"x1": 100.0, "y1": 50.0, "x2": 150.0, "y2": 100.0, "x3": 100.0, "y3": 150.0, "x4": 50.0, "y4": 100.0})
        );
        assert_eq!(detection(&samples::whole()), json!({"name": "good, \"best\"", "class": 3, "confidence": 0.98765}));
    }

    #[test]
    fn a_track_id_stands_beside_the_box() {
        let tracked = Detection { track_id: Some(7), ..samples::boxed() };
        assert_eq!(detection(&tracked)["track_id"], json!(7));
    }

    #[test]
    fn an_array_is_closed_whatever_it_holds() {
        for pictures in 0..3 {
            let mut out = Vec::new();
            let mut array = Array::default();
            for _ in 0..pictures {
                array.picture(&mut out, "a.jpg", &samples::found(vec![samples::boxed()])).unwrap();
            }
            array.finish(&mut out).unwrap();
            let read: Vec<serde_json::Value> = serde_json::from_slice(&out).unwrap();
            assert_eq!(read.len(), pictures);
        }
    }
}
