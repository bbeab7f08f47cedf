//! Class names where a file has none.

use std::sync::Arc;

/// The 80 classes of COCO, in the order in which every YOLO trained on it has them.
pub(super) const COCO_NAMES: [&str; 80] = [
    "person",
    "bicycle",
    "car",
    "motorcycle",
    "airplane",
    "bus",
    "train",
    "truck",
    "boat",
    "traffic light",
    "fire hydrant",
    "stop sign",
    "parking meter",
    "bench",
    "bird",
    "cat",
    "dog",
    "horse",
    "sheep",
    "cow",
    "elephant",
    "bear",
    "zebra",
    "giraffe",
    "backpack",
    "umbrella",
    "handbag",
    "tie",
    "suitcase",
    "frisbee",
    "skis",
    "snowboard",
    "sports ball",
    "kite",
    "baseball bat",
    "baseball glove",
    "skateboard",
    "surfboard",
    "tennis racket",
    "bottle",
    "wine glass",
    "cup",
    "fork",
    "knife",
    "spoon",
    "bowl",
    "banana",
    "apple",
    "sandwich",
    "orange",
    "broccoli",
    "carrot",
    "hot dog",
    "pizza",
    "donut",
    "cake",
    "chair",
    "couch",
    "potted plant",
    "bed",
    "dining table",
    "toilet",
    "tv",
    "laptop",
    "mouse",
    "remote",
    "keyboard",
    "cell phone",
    "microwave",
    "oven",
    "toaster",
    "sink",
    "refrigerator",
    "book",
    "clock",
    "vase",
    "scissors",
    "teddy bear",
    "hair drier",
    "toothbrush",
];

/// The name of a class that nobody named.
pub(super) fn unnamed(class: usize) -> Arc<str> {
    format!("class{class}").into()
}

/// Names for a model that brings none, as far as it is known how many it needs, and a sentence that says so.
///
/// 80 classes are taken for COCO's, because that is what models without metadata are: the published checkpoints.
pub(super) fn default_names(classes: Option<usize>) -> (Vec<Arc<str>>, String) {
    let remedy = "state them in [model] names or with --names";
    if classes == Some(COCO_NAMES.len()) {
        let names = COCO_NAMES.iter().map(|&name| name.into()).collect();
        return (names, format!("the file names no classes; it has 80 of them, taken for COCO's; if not so, {remedy}"));
    }
    let names = (0..classes.unwrap_or(0)).map(unnamed).collect();
    (names, format!("the file names no classes; they are called class0, class1, …; {remedy}"))
}
