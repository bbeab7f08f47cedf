//! Detections as COCO results: one array, as `pycocotools`' `loadRes` takes it.
//!
//! `image_id` is the number that the file's name consists of (`000000000139.jpg` is 139), else the picture's place in
//! the run, from 1. `category_id` is the model's class index, as it is: a ground truth made from a YOLO dataset has the
//! same; COCO's own ground truth numbers its 80 classes with gaps and wants its own mapping. `bbox` is left, top, width,
//! height in pixels. Outlines and oriented boxes come as `segmentation` polygons beside their `bbox`, keypoints as `x`,
//! `y`, visibility.

use std::{collections::HashSet, io::Write, path::Path};

use serde::Serialize;

use super::{Error, Writer, rounded};
use crate::detection::{Detection, Detections, Geometry};

/// `--format coco`.
///
/// Remembers the id of every picture, for two with the same would be one in the evaluation; so it is for runs that end.
#[derive(Debug, Default)]
pub struct Results {
    pictures: u64,
    ids: HashSet<u64>,
    begun: bool,
}

impl Results {
    /// Writes one picture under an id of [`image_ids`].
    ///
    /// # Errors
    /// As [`Writer::picture`].
    pub fn picture_as(
        &mut self,
        out: &mut dyn Write,
        image_id: u64,
        source: &str,
        found: &Detections,
    ) -> Result<(), Error> {
        if !self.ids.insert(image_id) {
            return Err(taken(source, image_id));
        }
        for item in &found.items {
            let row = Row::of(image_id, source, item)?;
            out.write_all(if self.begun { b",\n" } else { b"[\n" })?;
            self.begun = true;
            serde_json::to_writer(&mut *out, &row)?;
        }
        Ok(())
    }
}

/// The ids of all the pictures of a run, in their order. They are the same whether or not all of them can be read.
///
/// # Errors
/// Where two would have the same; names the second.
pub fn image_ids<'a>(sources: impl IntoIterator<Item = &'a str>) -> Result<Vec<u64>, Error> {
    let mut ids = HashSet::new();
    let id = |(place, source)| {
        let id = image_id(source).unwrap_or(place);
        if ids.insert(id) { Ok(id) } else { Err(taken(source, id)) }
    };
    (1..).zip(sources).map(id).collect()
}

fn taken(source: &str, id: u64) -> Error {
    Error::Unfit(format!(
        "{source} would have the image_id {id} of another picture; give the files different numbers as names"
    ))
}

impl Writer for Results {
    /// # Errors
    /// Where the picture's id is taken, and for classifications, which COCO results cannot hold.
    fn picture(&mut self, out: &mut dyn Write, source: &str, found: &Detections) -> Result<(), Error> {
        self.pictures += 1;
        self.picture_as(out, image_id(source).unwrap_or(self.pictures), source, found)
    }

    fn finish(&mut self, out: &mut dyn Write) -> Result<(), Error> {
        out.write_all(if self.begun { b"\n]\n" } else { b"[]\n" })?;
        Ok(())
    }
}

#[derive(Serialize)]
struct Row<'a> {
    image_id: u64,
    file_name: &'a str,
    category_id: usize,
    bbox: [f64; 4],
    score: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    segmentation: Option<[Vec<f64>; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keypoints: Option<Vec<f64>>,
}

impl<'a> Row<'a> {
    fn of(image_id: u64, source: &'a str, item: &Detection) -> Result<Self, Error> {
        let Some(bounds) = item.bounds() else {
            return Err(Error::Unfit("COCO results have no place for classifications; use JSON or CSV".to_owned()));
        };
        let file_name = Path::new(source).file_name().and_then(|name| name.to_str()).unwrap_or(source);
        let bbox = [bounds.x1, bounds.y1, bounds.width(), bounds.height()].map(|v| rounded(v, 3));
        let polygon = |points: &mut dyn Iterator<Item = crate::geometry::Point>| {
            [points.flat_map(|p| [rounded(p.x, 3), rounded(p.y, 3)]).collect()]
        };
        let (mut segmentation, mut keypoints) = (None, None);
        match &item.geometry {
            Geometry::Image | Geometry::Box(_) => {}
            // Fewer than three corners are no polygon; pycocotools would refuse the file for one.
            Geometry::Segment { outline, .. } if outline.len() < 3 => {}
            Geometry::Segment { outline, .. } => segmentation = Some(polygon(&mut outline.iter().copied())),
            Geometry::Oriented(corners) => segmentation = Some(polygon(&mut corners.iter().copied())),
            Geometry::Pose { keypoints: found, .. } => {
                let triple = |k: &crate::detection::Keypoint| [k.at.x, k.at.y, k.visible.unwrap_or(1.0)];
                keypoints = Some(found.iter().flat_map(triple).map(|v| rounded(v, 3)).collect());
            }
        }
        let score = rounded(item.confidence, 5);
        Ok(Self { image_id, file_name, category_id: item.class, bbox, score, segmentation, keypoints })
    }
}

/// The number that the file's name consists of, without its extension.
fn image_id(source: &str) -> Option<u64> {
    let stem = Path::new(source).file_stem()?.to_str()?;
    let digits = !stem.is_empty() && stem.bytes().all(|byte| byte.is_ascii_digit());
    if digits { stem.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{super::samples, *};

    fn written(pictures: &[(&str, Vec<Detection>)]) -> Value {
        let (mut results, mut out) = (Results::default(), Vec::new());
        for (source, items) in pictures {
            results.picture(&mut out, source, &samples::found(items.clone())).unwrap();
        }
        results.finish(&mut out).unwrap();
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn ids_come_from_the_names_or_the_order() {
        let rows = written(&[
            ("in/000139.jpg", vec![samples::boxed()]),
            ("in/bus.jpg", vec![]),
            ("in/zidane.jpg", vec![samples::boxed()]),
        ]);
        let expected = |id, name| {
            json!({"image_id": id, "file_name": name, "category_id": 5,
                "bbox": [10.429, 220.2, 189.571, 80.3], "score": 0.93469})
        };
        assert_eq!(rows, json!([expected(139, "000139.jpg"), expected(3, "zidane.jpg")]));
    }

    #[test]
    fn masks_corners_and_keypoints_stand_beside_the_box() {
        let rows = written(&[("a", vec![samples::segment(), samples::oriented(), samples::pose(Some(0.5))])]);
        assert_eq!(rows[0]["segmentation"], json!([[20.0, 230.0, 100.0, 230.0, 60.5, 290.25]]));
        assert_eq!(rows[1]["segmentation"][0].as_array().map(Vec::len), Some(8));
        assert_eq!(rows[1]["bbox"], json!([50.0, 50.0, 100.0, 100.0]));
        assert_eq!(rows[2]["keypoints"], json!([30.0, 240.0, 0.5, 40.0, 250.0, 0.5]));
    }

    #[test]
    fn two_pictures_with_one_id_are_refused() {
        let (mut results, mut out) = (Results::default(), Vec::new());
        results.picture(&mut out, "a/2.jpg", &samples::found(vec![])).unwrap();
        let error = results.picture(&mut out, "bus.jpg", &samples::found(vec![])).unwrap_err();
        assert!(error.to_string().contains("image_id 2"), "{error}");
    }

    #[test]
    fn a_runs_ids_are_known_before_it() {
        assert_eq!(image_ids(["a/7.jpg", "bus.jpg", "b/3x.png"]).unwrap(), [7, 2, 3]);
        for sources in [["1.png", "a/1.jpg"], ["a.png", "1.png"]] {
            let error = image_ids(sources).unwrap_err().to_string();
            assert!(error.starts_with(sources[1]) && error.contains("image_id 1"), "{error}");
        }
    }

    #[test]
    fn classifications_are_refused() {
        let mut results = Results::default();
        assert!(results.picture(&mut Vec::new(), "a", &samples::found(vec![samples::whole()])).is_err());
    }
}
