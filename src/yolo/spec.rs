//! The vocabulary of heads: how the numbers of an output lie, and what the model wants as its input.

use super::{HEADS, Task};

/// How a picture is fitted into a model's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// Ultralytics, YOLOv5, YOLOv7: scaled to fit, centred, padded with grey 114.
    LetterboxCentered,
    /// YOLOX: scaled to fit, at the top left, padded with grey 114.
    LetterboxTopLeft,
    /// Ultralytics' classifiers: the shorter side scaled to the input, the middle cut out.
    CropCenter,
}

/// How pixels become numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Red, green, blue in `0..=1`.
    RgbUnit,
    /// Blue, green, red in `0..=255`.
    BgrBytes,
}

/// What the model wants as its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InputSpec {
    /// How the picture is fitted.
    pub fit: Fit,
    /// How pixels become numbers.
    pub encoding: Encoding,
}

impl InputSpec {
    const ULTRALYTICS: Self = Self { fit: Fit::LetterboxCentered, encoding: Encoding::RgbUnit };
    const YOLOX: Self = Self { fit: Fit::LetterboxTopLeft, encoding: Encoding::BgrBytes };
    const CLASSIFIER: Self = Self { fit: Fit::CropCenter, encoding: Encoding::RgbUnit };
}

/// A head by the name that `[model] head`, `--head` and errors use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Head {
    /// `end2end`: final rows of `x1 y1 x2 y2 score class …` (oriented boxes: `cx cy w h score class angle`); YOLOv10,
    /// YOLO26, and Ultralytics exports with `nms=True`.
    EndToEnd,
    /// `anchor-free`: `cx cy w h`, a score for each class, …; YOLOv5u, v8, v9, 11, 12, 26.
    AnchorFree,
    /// `objectness`: `cx cy w h`, objectness, a score for each class, …; the exporters of YOLOv5 and YOLOv7.
    Objectness,
    /// `yolox`: as `objectness`, in units of the grid, as YOLOX exports by default.
    Yolox,
    /// `yolox-decoded`: as `yolox`, in pixels, as YOLOX exports with `--decode_in_inference`.
    YoloxDecoded,
    /// `probabilities`: one for each class of a classifier.
    Probabilities,
    /// `logits`: the same before the softmax.
    Logits,
}

impl Head {
    /// Every head, in the order of [`HEADS`].
    pub const ALL: [Self; 7] = [
        Self::EndToEnd,
        Self::AnchorFree,
        Self::Objectness,
        Self::Yolox,
        Self::YoloxDecoded,
        Self::Probabilities,
        Self::Logits,
    ];

    /// The head's name.
    pub fn name(self) -> &'static str {
        HEADS[self as usize]
    }

    /// The head of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|head| head.name() == name.trim())
    }

    /// Whether overlapping boxes have to be suppressed.
    pub fn needs_nms(self) -> bool {
        matches!(self, Self::AnchorFree | Self::Objectness | Self::Yolox | Self::YoloxDecoded)
    }

    /// Numbers of a row that come before the class scores, or before the extra numbers of an end-to-end row.
    pub(super) fn lead(self) -> usize {
        match self {
            Self::EndToEnd => 6,
            Self::AnchorFree => 4,
            Self::Objectness | Self::Yolox | Self::YoloxDecoded => 5,
            Self::Probabilities | Self::Logits => 0,
        }
    }

    /// What models with this head want as their input.
    pub(super) fn input(self) -> InputSpec {
        match self {
            Self::EndToEnd | Self::AnchorFree | Self::Objectness => InputSpec::ULTRALYTICS,
            Self::Yolox | Self::YoloxDecoded => InputSpec::YOLOX,
            Self::Probabilities | Self::Logits => InputSpec::CLASSIFIER,
        }
    }
}

/// Which axis of the main output comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// `1 × rows × numbers of a row`.
    RowsFirst,
    /// `1 × numbers of a row × rows`.
    ChannelsFirst,
}

/// What a row holds beyond its box and its scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extra {
    /// Nothing.
    None,
    /// Weights of the mask prototypes.
    Masks {
        /// How many, as many as the prototypes.
        count: usize,
        /// Which of the model's outputs holds the prototypes, `1 × count × height × width`.
        output: usize,
        /// Height and width of the prototypes.
        size: [usize; 2],
    },
    /// Keypoints.
    Keypoints {
        /// How many.
        count: usize,
        /// Numbers for each: 2 (x y) or 3 (x y visible).
        numbers: usize,
    },
    /// The angle of an oriented box, in radians.
    Angle,
}

impl Extra {
    /// How many numbers of a row it takes.
    pub(super) fn len(self) -> usize {
        match self {
            Self::None => 0,
            Self::Masks { count, .. } => count,
            Self::Keypoints { count, numbers } => count * numbers,
            Self::Angle => 1,
        }
    }

    /// The task whose rows hold this.
    pub(super) fn task(self) -> Task {
        match self {
            Self::None => Task::Detect,
            Self::Masks { .. } => Task::Segment,
            Self::Keypoints { .. } => Task::Pose,
            Self::Angle => Task::Obb,
        }
    }
}

/// Where everything lies in the main output.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    /// The head.
    pub head: Head,
    /// Which axis comes first.
    pub order: Order,
    /// Which of the model's outputs holds the rows.
    pub output: usize,
    /// How many rows there are; classifiers have one.
    pub rows: usize,
    /// Numbers in a row.
    pub width: usize,
    /// How many classes there are; `None` where an end-to-end file does not say.
    pub classes: Option<usize>,
    /// What a row holds beyond its box and its scores.
    pub extra: Extra,
}

impl Layout {
    /// The shape that the main output must have.
    pub fn shape(&self) -> Vec<usize> {
        match (self.head, self.order) {
            (Head::Probabilities | Head::Logits, _) => vec![1, self.width],
            (_, Order::RowsFirst) => vec![1, self.rows, self.width],
            (_, Order::ChannelsFirst) => vec![1, self.width, self.rows],
        }
    }

    /// Where in a row the extra numbers begin.
    pub(super) fn extra_at(&self) -> usize {
        self.width - self.extra.len()
    }
}

/// Rows of a head with one box for each cell, over grids of these strides.
pub(super) fn cells(input: [usize; 2], strides: &[usize]) -> usize {
    strides.iter().map(|stride| input[0].div_ceil(*stride) * input[1].div_ceil(*stride)).sum()
}

/// A count of classes as errors write it: `1 class`, `80 classes`.
pub(super) fn classes_text(classes: usize) -> String {
    if classes == 1 { "1 class".to_owned() } else { format!("{classes} classes") }
}

/// A shape as errors write it: `1×84×8400`.
pub(super) fn shape_text(shape: &[usize]) -> String {
    shape.iter().map(ToString::to_string).collect::<Vec<_>>().join("×")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_go_by_their_names() {
        for head in Head::ALL {
            assert_eq!(Head::from_name(head.name()), Some(head));
        }
        assert_eq!(Head::from_name(" yolox "), Some(Head::Yolox));
        assert_eq!(Head::from_name("yolo"), None);
    }

    #[test]
    fn grids_of_known_models() {
        assert_eq!(cells([640, 640], &[8, 16, 32]), 8400);
        assert_eq!(cells([416, 416], &[8, 16, 32]), 3549);
        assert_eq!(cells([1280, 1280], &[8, 16, 32, 64]), 34000);
    }
}
