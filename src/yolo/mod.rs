//! What a YOLO model's outputs mean.
//!
//! From the file's metadata, the shapes of its outputs and what the user states comes an explicit [`HeadSpec`]; where
//! these leave a doubt, an error that says what to state. Pure: no files, no clock, no logging.

mod contour;
mod decode;
mod literal;
mod mask;
mod metadata;
mod names;
mod nms;
mod resolve;
mod spec;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc};

pub use decode::Scratch;
pub use spec::{Encoding, Extra, Fit, Head, InputSpec, Layout, Order};

use crate::{detection::Detection, geometry::Placement};

/// The names of the heads, as `[model] head` and `--head` take them.
pub const HEADS: [&str; 7] =
    ["end2end", "anchor-free", "objectness", "yolox", "yolox-decoded", "probabilities", "logits"];

/// The names of the tasks, as metadata, `[model] task` and `--task` have them.
pub const TASKS: [&str; 5] = ["detect", "segment", "pose", "obb", "classify"];

/// What a model is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Task {
    /// Boxes.
    Detect,
    /// Boxes and outlines.
    Segment,
    /// Boxes and keypoints.
    Pose,
    /// Rotated boxes.
    Obb,
    /// One class for the whole picture.
    Classify,
}

impl Task {
    /// The task's name.
    pub fn name(self) -> &'static str {
        TASKS[self as usize]
    }

    /// The task of this name.
    ///
    /// # Errors
    /// Where there is none; lists those that there are.
    pub fn from_name(name: &str) -> anyhow::Result<Self> {
        metadata::task_from_name(name)
    }
}

/// What the user states about a model, where the file does not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hints {
    /// The task.
    pub task: Option<Task>,
    /// The head's layout, by the name that errors use: one of [`HEADS`].
    pub head: Option<String>,
    /// The class names, in the model's order. They win over the file's.
    pub names: Option<Vec<String>>,
    /// Keypoints of a pose, and numbers for each (2: x y, 3: x y visible).
    pub keypoints: Option<[usize; 2]>,
}

/// A view of one output tensor.
#[derive(Clone, Copy, Debug)]
pub struct TensorView<'a> {
    /// Dimensions.
    pub shape: &'a [usize],
    /// Numbers in row-major order.
    pub data: &'a [f32],
}

/// What a model file says about itself.
#[derive(Clone, Copy, Debug)]
pub struct ModelFacts<'a> {
    /// The exporter's metadata.
    pub metadata: &'a BTreeMap<String, String>,
    /// `[1, channels, height, width]`.
    pub input: &'a [usize],
    /// Name and shape of each output.
    pub outputs: &'a [(&'a str, &'a [usize])],
}

/// Which detections to keep.
#[derive(Clone, Debug, PartialEq)]
pub struct Thresholds {
    /// Confidence above which a detection is kept, in `0..=1`. Classifiers give their five best classes whatever it is.
    pub confidence: f32,
    /// Higher or lower ones for some classes, by index.
    pub per_class: BTreeMap<usize, f32>,
    /// Boxes of one class that overlap more than this are one (non-maximum suppression); end-to-end heads need none.
    pub iou: f32,
    /// At most so many in one frame.
    pub max_det: usize,
    /// Only these classes; `None`: all.
    pub classes: Option<Vec<usize>>,
    /// Boxes of different classes suppress each other too.
    pub agnostic: bool,
}

impl Default for Thresholds {
    /// What Ultralytics predicts with.
    fn default() -> Self {
        Self { confidence: 0.25, per_class: BTreeMap::new(), iou: 0.7, max_det: 300, classes: None, agnostic: false }
    }
}

impl Thresholds {
    /// Whether a score is enough for a class that is asked for.
    pub(crate) fn keeps(&self, class: usize, score: f32) -> bool {
        let enough = self.per_class.get(&class).copied().unwrap_or(self.confidence);
        score > enough && self.classes.as_ref().is_none_or(|classes| classes.contains(&class))
    }

    /// The lowest confidence that any class asks for.
    pub(crate) fn lowest(&self) -> f32 {
        self.per_class.values().copied().fold(self.confidence, f32::min)
    }
}

/// What a model's outputs mean.
#[derive(Clone, Debug, PartialEq)]
pub struct HeadSpec {
    /// The task.
    pub task: Task,
    /// Class names, in the model's order; empty for an end-to-end file that does not say how many classes it has.
    pub names: Vec<Arc<str>>,
    /// Where everything lies in the main output.
    pub layout: Layout,
    /// What the model wants as its input.
    pub input: InputSpec,
    /// Height and width of the input in pixels.
    pub input_size: [usize; 2],
    /// What was taken for granted, a sentence each, for whoever looks at the model.
    pub notes: Vec<String>,
}

impl HeadSpec {
    /// Finds out what the outputs of a model mean.
    ///
    /// # Errors
    /// Where the facts contradict each other or leave a doubt; names the shapes and what to state.
    pub fn resolve(facts: &ModelFacts<'_>, hints: &Hints) -> anyhow::Result<Self> {
        resolve::resolve(facts, hints)
    }

    /// The head in a few words: `anchor-free, detect, 80 classes, 1×84×8400`.
    pub fn describe(&self) -> String {
        let classes = self.layout.classes.map_or(String::new(), |classes| spec::classes_text(classes) + ", ");
        let (head, task) = (self.layout.head.name(), self.task.name());
        format!("{head}, {task}, {classes}{}", spec::shape_text(&self.layout.shape()))
    }

    /// The name of a class.
    pub fn name(&self, class: usize) -> Arc<str> {
        self.names.get(class).cloned().unwrap_or_else(|| names::unnamed(class))
    }

    /// Reads detections out of the outputs of one inference, best first, in pixels of the original frame.
    ///
    /// As Ultralytics does: the best class of every row, scores above the threshold, class-aware non-maximum
    /// suppression where the head needs it, at most `max_det`. Classifiers give their five best classes. Equal
    /// scores keep the model's order.
    ///
    /// # Errors
    /// Where the outputs have other shapes than the specification, or hold numbers that no working model gives: not
    /// finite, a class that does not exist, probabilities outside `0..=1`.
    pub fn decode(
        &self,
        outputs: &[TensorView<'_>],
        thresholds: &Thresholds,
        placement: &Placement,
    ) -> anyhow::Result<Vec<Detection>> {
        let mut found = Vec::new();
        self.decode_into(outputs, thresholds, placement, &mut Scratch::default(), &mut found)?;
        Ok(found)
    }

    /// As [`HeadSpec::decode`], into a list that is cleared first, with buffers that are kept from frame to frame.
    ///
    /// # Errors
    /// As [`HeadSpec::decode`]; the list is then empty.
    pub fn decode_into(
        &self,
        outputs: &[TensorView<'_>],
        thresholds: &Thresholds,
        placement: &Placement,
        scratch: &mut Scratch,
        found: &mut Vec<Detection>,
    ) -> anyhow::Result<()> {
        found.clear();
        decode::decode(self, outputs, thresholds, placement, scratch, found).inspect_err(|_| found.clear())
    }
}
