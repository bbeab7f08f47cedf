//! What a model found in one frame, and what is known to be there: plain data, in pixels of the original frame.

use std::sync::Arc;

use crate::geometry::{BoxPx, Point, Size};

/// One thing that the model found.
#[derive(Clone, Debug, PartialEq)]
pub struct Detection {
    /// Index of the class in the model's list.
    pub class: usize,
    /// Name of the class.
    pub name: Arc<str>,
    /// Score in `0..=1`.
    pub confidence: f32,
    /// Where it is.
    pub geometry: Geometry,
    /// Identity over time, once a tracker gave one.
    pub track_id: Option<u64>,
}

/// What a picture is known to show: one object of a dataset, or of a simulated line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Label {
    /// Index of the class in the list of whoever states it.
    pub class: usize,
    /// Where it is, in pixels of the whole picture.
    pub bounds: BoxPx,
}

/// Where a detection is, as far as the model's task tells.
#[derive(Clone, Debug, PartialEq)]
pub enum Geometry {
    /// The whole picture (classification).
    Image,
    /// A box (detection).
    Box(BoxPx),
    /// A box and the outline inside it (segmentation); the outline is empty where the mask is.
    Segment {
        /// The box.
        bounds: BoxPx,
        /// Corners of the outline, in order. Several parts are joined by bridges that enclose nothing.
        outline: Vec<Point>,
    },
    /// A box and its keypoints (pose), in the model's order.
    Pose {
        /// The box.
        bounds: BoxPx,
        /// The keypoints.
        keypoints: Vec<Keypoint>,
    },
    /// A rotated rectangle (oriented boxes), its corners in order around it.
    Oriented([Point; 4]),
}

/// One keypoint of a pose.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Keypoint {
    /// Where it is.
    pub at: Point,
    /// How sure the model is that it is visible, in `0..=1`; `None` for models that do not say.
    pub visible: Option<f32>,
}

impl Detection {
    /// The axis-aligned box around the detection; `None` for a classification.
    pub fn bounds(&self) -> Option<BoxPx> {
        match &self.geometry {
            Geometry::Image => None,
            Geometry::Box(bounds) | Geometry::Segment { bounds, .. } | Geometry::Pose { bounds, .. } => Some(*bounds),
            Geometry::Oriented(corners) => Some(BoxPx {
                x1: corners.iter().map(|p| p.x).fold(f32::INFINITY, f32::min),
                y1: corners.iter().map(|p| p.y).fold(f32::INFINITY, f32::min),
                x2: corners.iter().map(|p| p.x).fold(f32::NEG_INFINITY, f32::max),
                y2: corners.iter().map(|p| p.y).fold(f32::NEG_INFINITY, f32::max),
            }),
        }
    }
}

/// Everything found in one frame, best first, and what it cost.
#[derive(Clone, Debug, PartialEq)]
pub struct Detections {
    /// Size of the frame that the coordinates refer to.
    pub size: Size,
    /// What was found.
    pub items: Vec<Detection>,
    /// Time spent in each stage.
    pub timing: Timing,
}

/// Milliseconds spent in the stages of one detection.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Timing {
    /// Compressed or YUV bytes to RGB, rotation and region included.
    pub decode_ms: f32,
    /// Letterbox into the model's input.
    pub preprocess_ms: f32,
    /// The model.
    pub inference_ms: f32,
    /// The head, non-maximum suppression and the way back to the frame's pixels.
    pub postprocess_ms: f32,
}

impl Timing {
    /// Milliseconds of all stages together.
    pub fn total_ms(&self) -> f32 {
        self.decode_ms + self.preprocess_ms + self.inference_ms + self.postprocess_ms
    }
}
