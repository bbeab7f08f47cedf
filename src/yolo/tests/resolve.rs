//! Readings of shapes and metadata, and the errors where there is none or more than one.

use super::{Model, hinted, named};
use crate::yolo::{Encoding, Fit, Hints, Order, Task};

fn plain() -> Hints {
    Hints::default()
}

fn as_task(task: Task) -> Hints {
    Hints { task: Some(task), ..Hints::default() }
}

#[test]
fn ultralytics_exports_of_every_task() {
    let model = |outputs: &[&[usize]], task: &str, classes| Model::new([640, 640], outputs).ultralytics(task, classes);
    let pose = |outputs: &[&[usize]]| model(outputs, "pose", 1).with("kpt_shape", "[17, 3]");
    let masks: &[usize] = &[1, 32, 160, 160];
    let cases = [
        (model(&[&[1, 84, 8400]], "detect", 80), "anchor-free, detect, 80 classes, 1×84×8400"),
        (model(&[&[1, 5, 8400]], "detect", 1), "anchor-free, detect, 1 class, 1×5×8400"),
        (model(&[&[1, 116, 8400], masks], "segment", 80), "anchor-free, segment, 80 classes, 1×116×8400"),
        (pose(&[&[1, 56, 8400]]), "anchor-free, pose, 1 class, 1×56×8400"),
        (model(&[&[1, 20, 8400]], "obb", 15), "anchor-free, obb, 15 classes, 1×20×8400"),
        (model(&[&[1, 300, 6]], "detect", 80), "end2end, detect, 80 classes, 1×300×6"),
        (model(&[&[1, 300, 38], masks], "segment", 80), "end2end, segment, 80 classes, 1×300×38"),
        (pose(&[&[1, 300, 57]]), "end2end, pose, 1 class, 1×300×57"),
        (model(&[&[1, 300, 7]], "obb", 15), "end2end, obb, 15 classes, 1×300×7"),
        (model(&[&[1, 1000]], "classify", 1000), "probabilities, classify, 1000 classes, 1×1000"),
        // Someone put a transposition behind it.
        (model(&[&[1, 8400, 84]], "detect", 80), "anchor-free, detect, 80 classes, 1×8400×84"),
        (model(&[&[1, 8400, 20]], "obb", 15), "anchor-free, obb, 15 classes, 1×8400×20"),
    ];
    for (model, expected) in cases {
        assert_eq!(model.says(&plain()), expected);
        let spec = model.resolve(&plain()).unwrap();
        assert!(spec.notes.is_empty(), "{:?}", spec.notes);
        assert_eq!(&*spec.names[0], "c0");
        assert_eq!(spec.input.encoding, Encoding::RgbUnit);
        let fit = if spec.task == Task::Classify { Fit::CropCenter } else { Fit::LetterboxCentered };
        assert_eq!(spec.input.fit, fit);
    }
}

#[test]
fn the_file_says_whether_rows_are_final() {
    // At 96×96 a head has 189 rows, fewer than an end-to-end head keeps, and two classes make its rows as wide.
    let model = || Model::new([96, 96], &[&[1, 189, 6]]).ultralytics("detect", 2);
    assert_eq!(model().with("end2end", "True").says(&plain()), "end2end, detect, 2 classes, 1×189×6");
    assert_eq!(model().with("end2end", "False").says(&plain()), "anchor-free, detect, 2 classes, 1×189×6");
    assert_eq!(model().with("args", "{'nms': True}").says(&plain()), "end2end, detect, 2 classes, 1×189×6");
    let doubt = model().says(&plain());
    assert!(doubt.contains("end2end detect with 2 classes or anchor-free detect with 2 classes"), "{doubt}");
    assert!(doubt.contains("--head"), "{doubt}");
    assert_eq!(model().says(&hinted("anchor-free")), "anchor-free, detect, 2 classes, 1×189×6");
    // A head cut before its selection has corners where others have centres.
    let cut = Model::new([640, 640], &[&[1, 84, 8400]]).ultralytics("detect", 80).with("end2end", "True");
    let error = cut.says(&plain());
    assert!(error.contains("1×84×8400 and the file says that it is end to end"), "{error}");
}

#[test]
fn files_without_metadata_where_the_shapes_leave_one_reading() {
    let model = |size, outputs: &[&[usize]]| Model::new([size, size], outputs);
    let spec = model(640, &[&[1, 84, 8400]]).resolve(&plain()).unwrap();
    assert_eq!(spec.describe(), "anchor-free, detect, 80 classes, 1×84×8400");
    assert_eq!((&*spec.names[5], spec.notes.len()), ("bus", 1));
    assert!(spec.notes[0].contains("COCO"), "{:?}", spec.notes);

    let spec = model(640, &[&[1, 25200, 9]]).resolve(&plain()).unwrap();
    assert_eq!(spec.describe(), "objectness, detect, 4 classes, 1×25200×9");
    assert_eq!((&*spec.names[3], spec.input.fit), ("class3", Fit::LetterboxCentered));
    assert!(spec.notes[0].contains("--names"), "{:?}", spec.notes);

    let spec = model(416, &[&[1, 3549, 85]]).resolve(&plain()).unwrap();
    assert_eq!(spec.describe(), "yolox, detect, 80 classes, 1×3549×85");
    assert_eq!((spec.input.fit, spec.input.encoding), (Fit::LetterboxTopLeft, Encoding::BgrBytes));
    assert!(spec.notes[0].contains("yolox-decoded"), "{:?}", spec.notes);
    assert_eq!(model(640, &[&[1, 8400, 84]]).says(&plain()), "anchor-free, detect, 80 classes, 1×8400×84");

    let spec = model(640, &[&[1, 300, 6]]).resolve(&plain()).unwrap();
    assert_eq!(spec.describe(), "end2end, detect, 1×300×6");
    assert!(spec.names.is_empty());
    assert_eq!((&*spec.name(7), spec.notes.len()), ("class7", 1));
    assert_eq!(model(640, &[&[1, 300, 38], &[1, 32, 160, 160]]).says(&plain()), "end2end, segment, 1×300×38");
    assert_eq!(
        model(640, &[&[1, 40, 8400], &[1, 32, 160, 160]]).says(&plain()),
        "anchor-free, segment, 4 classes, 1×40×8400"
    );
    assert_eq!(
        model(640, &[&[1, 25200, 117], &[1, 32, 160, 160]]).says(&plain()),
        "objectness, segment, 80 classes, 1×25200×117"
    );
    // The old exporter of YOLOv5 leaves the maps of its training in the graph.
    assert_eq!(
        model(640, &[&[1, 25200, 85], &[1, 3, 80, 80, 85], &[1, 3, 40, 40, 85]]).says(&plain()),
        "objectness, detect, 80 classes, 1×25200×85"
    );
}

#[test]
fn the_exporter_of_yolov5_writes_names_only() {
    let model = Model::new([640, 640], &[&[1, 25200, 7]]).with("stride", "32").with("names", "{0: 'a', 1: 'b'}");
    assert_eq!(model.says(&plain()), "objectness, detect, 2 classes, 1×25200×7");
    // YOLOv5 by Ultralytics is anchor-free.
    let model = Model::new([640, 640], &[&[1, 6, 8400]]).ultralytics("detect", 2);
    assert_eq!(model.says(&plain()), "anchor-free, detect, 2 classes, 1×6×8400");
}

#[test]
fn other_strides_and_sizes() {
    let detect = |height, width, rows, stride: &str| {
        Model::new([height, width], &[&[1, 84, rows]]).ultralytics("detect", 80).with("stride", stride).says(&plain())
    };
    assert!(detect(640, 640, 33600 + 400, "32").starts_with("anchor-free"), "P2");
    assert!(detect(1280, 1280, 34000, "64").starts_with("anchor-free"), "P6");
    assert!(detect(640, 640, 2000, "32").starts_with("anchor-free"), "YOLOv3-tiny");
    assert!(detect(384, 640, 5040, "32").starts_with("anchor-free"), "not square");
    assert!(detect(640, 640, 6400, "8").contains("anchor-free"), "a single level, whose stride the file states");
    assert!(detect(640, 640, 6400, "32").contains("fits no head"));
    assert!(detect(640, 640, 34000, "64").contains("fits no head"), "a stride that the rows contradict");
}

#[test]
fn doubts_name_what_to_state() {
    let doubt = Model::new([640, 640], &[&[1, 56, 8400]]);
    let error = doubt.says(&plain());
    assert!(error.contains("input 1×3×640×640 gives output 1×56×8400"), "{error}");
    assert!(
        error.contains("anchor-free detect with 52 classes or anchor-free obb with 51 classes or a pose"),
        "{error}"
    );
    assert!(error.contains("--task"), "{error}");
    assert_eq!(doubt.says(&as_task(Task::Detect)), "anchor-free, detect, 52 classes, 1×56×8400");
    assert_eq!(doubt.says(&as_task(Task::Obb)), "anchor-free, obb, 51 classes, 1×56×8400");
    let pose = Hints { keypoints: Some([17, 3]), ..as_task(Task::Pose) };
    assert_eq!(doubt.says(&pose), "anchor-free, pose, 1 class, 1×56×8400");
    assert!(doubt.says(&as_task(Task::Pose)).contains("state [model] keypoints"));
    // YOLOX writes no metadata at all: without COCO's 80 classes it looks like an anchor-free head turned by somebody.
    let model = Model::new([416, 416], &[&[1, 3549, 6]]);
    let error = model.says(&plain());
    assert!(error.contains("anchor-free detect with 2 classes or yolox detect with 1 class"), "{error}");
    assert_eq!(model.says(&hinted("yolox")), "yolox, detect, 1 class, 1×3549×6");
    assert_eq!(model.says(&named(&["a"])), "yolox, detect, 1 class, 1×3549×6");
    // Names settle it too.
    let model = Model::new([640, 640], &[&[1, 7, 8400]]);
    assert_eq!(model.says(&named(&["a", "b", "c"])), "anchor-free, detect, 3 classes, 1×7×8400");
    assert_eq!(model.says(&named(&["a", "b"])), "anchor-free, obb, 2 classes, 1×7×8400");
}

#[test]
fn heads_that_only_the_user_knows() {
    let model = Model::new([416, 416], &[&[1, 3549, 85]]);
    let spec = model.resolve(&hinted("yolox-decoded")).unwrap();
    assert_eq!(spec.describe(), "yolox-decoded, detect, 80 classes, 1×3549×85");
    assert_eq!(spec.input.encoding, Encoding::BgrBytes);
    assert_eq!(model.says(&hinted("objectness")), "objectness, detect, 80 classes, 1×3549×85");
    let transposed = model.resolve(&Hints { task: Some(Task::Detect), ..hinted("anchor-free") }).unwrap();
    assert_eq!((transposed.layout.classes, transposed.layout.order), (Some(81), Order::RowsFirst));
    let classifier = Model::new([224, 224], &[&[1, 10]]);
    assert_eq!(classifier.says(&as_task(Task::Classify)), "probabilities, classify, 10 classes, 1×10");
    assert_eq!(classifier.says(&hinted("logits")), "logits, classify, 10 classes, 1×10");
}

#[test]
fn names_that_the_user_states_win() {
    let model = Model::new([640, 640], &[&[1, 6, 8400]]).ultralytics("detect", 2);
    assert_eq!(&*model.resolve(&named(&["Kratzer", "Riss"])).unwrap().names[1], "Riss");
    let error = model.says(&named(&["a", "b", "c"]));
    assert!(error.contains("names are given for 3 classes") && error.contains("room for 2"), "{error}");
    let broken = Model::new([640, 640], &[&[1, 6, 8400]]).with("task", "detect").with("names", "{0: 'a");
    assert!(broken.says(&plain()).contains("--names"));
    assert_eq!(broken.says(&named(&["a", "b"])), "anchor-free, detect, 2 classes, 1×6×8400");
}

#[test]
fn what_is_no_yolo_says_so() {
    let says = |model: Model, part: &str| {
        let said = model.says(&plain());
        assert!(said.starts_with("error: ") && said.contains(part), "{said}");
    };
    let at_640 = |outputs: &[&[usize]]| Model::new([640, 640], outputs);
    says(Model::new([224, 224], &[&[1, 1000]]), "state [model] task = \"classify\"");
    says(at_640(&[]), "no YOLO head");
    says(at_640(&[&[1, 3, 80, 80, 85]]), "--grid");
    says(at_640(&[&[1, 84, 8401]]).ultralytics("detect", 80), "8400 for strides 8, 16 and 32");
    says(at_640(&[&[1, 84, 8400]]).ultralytics("detect", 3), "names are given for 3 classes");
    says(at_640(&[&[1, 300, 84]]).ultralytics("detect", 80), "fits no head");
    says(at_640(&[&[1, 84, 8400]]).with("head", "RTDETRDecoder"), "RTDETRDecoder");
    says(at_640(&[&[1, 84, 8400]]).with("task", "semantic"), "not supported");
    says(at_640(&[&[2, 84, 8400]]), "batch=1");
    says(at_640(&[&[1, 116, 8400]]).ultralytics("segment", 80), "prototypes");
    says(at_640(&[&[1, 56, 8400]]).ultralytics("pose", 1), "keypoints");
    says(at_640(&[&[1, 56, 8400]]).ultralytics("pose", 1).with("kpt_shape", "[17, 9]"), "17×9");
    says(at_640(&[&[1, 10], &[1, 10]]).ultralytics("classify", 10), "one output");
    says(at_640(&[&[1, 10]]).ultralytics("classify", 9), "names are given for 9 classes");
    says(at_640(&[&[1, 0, 0]]), "fits no head");
    says(at_640(&[&[1, 8400, 4], &[1, 8400, 80]]), "rows in one output");
    let input = |input: &[usize]| Model { input: input.to_vec(), ..at_640(&[&[1, 84, 8400]]) };
    says(input(&[1, 1, 640, 640]), "1 channels");
    says(input(&[4, 3, 640, 640]), "batch of 4");
    says(input(&[1, 640, 640, 3]), "NCHW");
    says(input(&[1, 3]), "1×3×height×width");
    says(input(&[1, 3, 0, 640]), "no picture");
    let contradiction = at_640(&[&[1, 84, 8400]]).ultralytics("detect", 80).says(&as_task(Task::Pose));
    assert!(contradiction.contains("stated as pose, but the file says detect"), "{contradiction}");
    let unknown = at_640(&[&[1, 84, 8400]]).says(&hinted("yolo"));
    assert!(unknown.contains("end2end, anchor-free, objectness"), "{unknown}");
    let unfit = at_640(&[&[1, 84, 8400]]).says(&hinted("end2end"));
    assert!(unfit.contains("does not fit the head end2end"), "{unfit}");
}
