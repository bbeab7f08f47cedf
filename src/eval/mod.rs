//! How good a model is: what it found against what is there, and one model's answers against another's.
//!
//! Everything here computes and nothing else: labels and detections come in as values, picture by picture, and figures
//! come out. Where pictures and labels come from is for `dataset`, running a model for `detector`, printing for the
//! commands.
//!
//! | file | what it answers |
//! |---|---|
//! | [`matching`] | which detection is which object of one picture, by three rules: ours, `yolo val`'s, `pycocotools`' |
//! | [`average_precision`] | precision over recall, and the area under it, as `yolo val` and as `pycocotools` take it |
//! | [`precision_recall`] | precision and recall over confidence, and where both are best together |
//! | [`confusion`] | which class is taken for which |
//! | [`evaluation`] | all of these over the pictures of a dataset |
//! | [`agreement`] | do two models find the same |
//!
//! There are two conventions, and figures of one are not figures of the other: *yolo* is what `yolo val` of Ultralytics
//! prints (8.4), *coco* what `COCOeval` of `pycocotools` does.

pub mod agreement;
pub mod average_precision;
pub mod confusion;
pub mod evaluation;
pub mod matching;
pub mod precision_recall;

pub use agreement::Agreement;
pub use evaluation::{Evaluation, Options, Report};

/// The overlaps (IoU) at which detections are judged: 0.5, 0.55, …, 0.95.
pub const OVERLAPS: usize = 10;

/// For one detection, at which overlaps it is right: bit `i` for the overlap number `i` of a list.
pub type Hits = u16;
