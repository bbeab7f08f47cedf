//! Detections as text for programs and people: JSON, CSV, COCO, YOLO labels, and lines for a terminal; and what rules say, as
//! JSON.
//!
//! Owns the spelling of a detection in each format, and of an event; everything else that writes one (MQTT, HTTP) takes
//! [`json::Row`] or [`event::event`]. Knows neither where pictures come from nor where the text goes.

pub mod coco;
pub mod csv;
pub mod event;
pub mod json;
pub mod message;
pub mod text;
pub mod yolo_txt;

use std::io::{self, Write};

use crate::detection::Detections;

/// Why a picture's detections were not written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What is written to failed; nothing more can be written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The format has no place for this picture; others may fit.
    #[error("{0}")]
    Unfit(String),
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::Io(error.into())
    }
}

/// Writes what was found in one picture after another.
pub trait Writer {
    /// Writes one picture's detections; `source` is what the user calls the picture.
    ///
    /// # Errors
    /// Where `out` fails, or the format has no place for what was found.
    fn picture(&mut self, out: &mut dyn Write, source: &str, found: &Detections) -> Result<(), Error>;

    /// Writes what closes the document; nothing may follow.
    ///
    /// # Errors
    /// Where `out` fails.
    fn finish(&mut self, out: &mut dyn Write) -> Result<(), Error>;
}

/// The value with so many decimals, as the shortest number that reads back as it.
fn rounded(value: f32, decimals: i32) -> f64 {
    let unit = 10f64.powi(decimals);
    (f64::from(value) * unit).round() / unit
}

/// Detections made up for the tests of the formats: one of each geometry.
#[cfg(test)]
pub(crate) mod samples {
    use std::sync::Arc;

    use crate::{
        detection::{Detection, Detections, Geometry, Keypoint, Timing},
        geometry::{BoxPx, Point, Size},
    };

    pub(crate) const BOUNDS: BoxPx = BoxPx { x1: 10.429_15, y1: 220.200_47, x2: 200.0, y2: 300.5 };

    pub(crate) fn found(items: Vec<Detection>) -> Detections {
        let timing = Timing { decode_ms: 4.0, preprocess_ms: 1.5, inference_ms: 31.234_5, postprocess_ms: 0.25 };
        Detections { size: Size { width: 400, height: 600 }, items, timing }
    }

    pub(crate) fn item(class: usize, name: &str, confidence: f32, geometry: Geometry) -> Detection {
        Detection { class, name: Arc::from(name), confidence, geometry, track_id: None }
    }

    pub(crate) fn boxed() -> Detection {
        item(5, "bus", 0.934_692_2, Geometry::Box(BOUNDS))
    }

    pub(crate) fn segment() -> Detection {
        let outline = [(20.0, 230.0), (100.0, 230.0), (60.5, 290.25)].map(|(x, y)| Point { x, y }).to_vec();
        item(0, "person", 0.5, Geometry::Segment { bounds: BOUNDS, outline })
    }

    pub(crate) fn pose(visible: Option<f32>) -> Detection {
        let keypoints = [(30.0, 240.0), (40.0, 250.0)].map(|(x, y)| Keypoint { at: Point { x, y }, visible }).to_vec();
        item(0, "person", 0.75, Geometry::Pose { bounds: BOUNDS, keypoints })
    }

    pub(crate) fn oriented() -> Detection {
        let corners = [(100.0, 50.0), (150.0, 100.0), (100.0, 150.0), (50.0, 100.0)].map(|(x, y)| Point { x, y });
        item(1, "ship", 0.25, Geometry::Oriented(corners))
    }

    pub(crate) fn whole() -> Detection {
        item(3, "good, \"best\"", 0.987_654_3, Geometry::Image)
    }
}
