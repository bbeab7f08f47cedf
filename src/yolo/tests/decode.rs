//! Detections out of tensors made by hand, and that no tensor does harm.

use super::{Model, hinted};
use crate::{
    detection::{Detection, Geometry, Keypoint},
    geometry::{BoxPx, Placement, Point, Size},
    yolo::{HeadSpec, Hints, Scratch, TensorView, Thresholds, testing::Random},
};

/// The model's input is the frame.
fn same_size(spec: &HeadSpec) -> Placement {
    let size = Size { width: spec.input_size[1] as u32, height: spec.input_size[0] as u32 };
    Placement {
        picture: size,
        model: size,
        scale: [1.0; 2],
        offset: [0.0; 2],
        origin: Point::default(),
        original: size,
    }
}

/// One output of zeros with these numbers in some rows.
fn filled(spec: &HeadSpec, rows: &[(usize, &[f32])]) -> Vec<f32> {
    let shape = spec.layout.shape();
    let mut data = vec![0.0; shape.iter().product()];
    for (row, numbers) in rows {
        for (channel, number) in numbers.iter().enumerate() {
            let at = match spec.layout.order {
                crate::yolo::Order::RowsFirst => row * spec.layout.width + channel,
                crate::yolo::Order::ChannelsFirst => channel * spec.layout.rows + row,
            };
            data[at] = *number;
        }
    }
    data
}

fn decode(spec: &HeadSpec, rows: &[(usize, &[f32])], thresholds: &Thresholds) -> anyhow::Result<Vec<Detection>> {
    let data = filled(spec, rows);
    spec.decode(&[TensorView { shape: &spec.layout.shape(), data: &data }], thresholds, &same_size(spec))
}

/// Class and box of each, in whole pixels.
fn short(found: &[Detection]) -> Vec<(usize, [i32; 4])> {
    let whole = |bounds: BoxPx| [bounds.x1, bounds.y1, bounds.x2, bounds.y2].map(|edge| edge.round() as i32);
    found.iter().map(|detection| (detection.class, whole(detection.bounds().unwrap()))).collect()
}

fn spec(outputs: &[&[usize]], task: &str, classes: usize) -> HeadSpec {
    let model = Model::new([64, 64], outputs).ultralytics(task, classes).with("kpt_shape", "[2, 3]");
    model.resolve(&Hints::default()).unwrap()
}

#[test]
fn anchor_free_rows_are_suppressed_and_sorted() {
    let rows: &[(usize, &[f32])] = &[
        (0, &[20.0, 20.0, 10.0, 20.0, 0.5, 0.1]),
        (3, &[21.0, 20.0, 10.0, 20.0, 0.9, 0.0]),
        (80, &[20.0, 20.0, 10.0, 20.0, 0.3, 0.6]),
        (83, &[60.0, 60.0, 20.0, 20.0, 0.0, 0.26]),
        (7, &[5.0, 5.0, 2.0, 2.0, 0.25, 0.2]),
    ];
    let expected = [(0, [16, 10, 26, 30]), (1, [15, 10, 25, 30]), (1, [50, 50, 64, 64])];
    for shape in [&[1, 6, 84], &[1, 84, 6]] {
        let spec = match shape {
            [1, 84, 6] => {
                Model::new([64, 64], &[shape]).ultralytics("detect", 2).resolve(&hinted("anchor-free")).unwrap()
            }
            _ => spec(&[shape], "detect", 2),
        };
        let found = decode(&spec, rows, &Thresholds::default()).unwrap();
        assert_eq!(short(&found), expected);
        assert_eq!((&*found[0].name, found[0].confidence), ("c0", 0.9));
    }
}

#[test]
fn thresholds_by_class_and_choice_of_classes() {
    let spec = spec(&[&[1, 6, 84]], "detect", 2);
    let rows: &[(usize, &[f32])] = &[
        (0, &[8.0, 8.0, 4.0, 4.0, 0.3, 0.0]),
        (1, &[30.0, 8.0, 4.0, 4.0, 0.0, 0.2]),
        (2, &[50.0, 8.0, 4.0, 4.0, 0.6, 0.5]),
    ];
    let classes = |thresholds: Thresholds| -> Vec<usize> {
        decode(&spec, rows, &thresholds).unwrap().iter().map(|detection| detection.class).collect()
    };
    assert_eq!(classes(Thresholds { per_class: [(0, 0.5), (1, 0.1)].into(), ..Thresholds::default() }), [0, 1]);
    assert_eq!(classes(Thresholds { confidence: 0.1, classes: Some(vec![1]), ..Thresholds::default() }), [1]);
    assert_eq!(classes(Thresholds { confidence: 0.1, max_det: 2, ..Thresholds::default() }), [0, 0]);
    assert_eq!(classes(Thresholds { confidence: 0.1, max_det: 0, ..Thresholds::default() }), [0; 0]);
}

#[test]
fn end_to_end_rows_are_final() {
    let spec = spec(&[&[1, 300, 6]], "detect", 3);
    let rows: &[(usize, &[f32])] = &[
        (0, &[10.0, 10.0, 20.0, 20.0, 0.5, 2.0]),
        (1, &[10.0, 10.0, 20.0, 20.0, 0.9, 2.0]),
        (2, &[-5.0, 30.0, 70.0, 80.0, 0.5, 0.0]),
    ];
    let found = decode(&spec, rows, &Thresholds::default()).unwrap();
    assert_eq!(short(&found), [(2, [10, 10, 20, 20]), (2, [10, 10, 20, 20]), (0, [0, 30, 64, 64])]);
    let only = Thresholds { classes: Some(vec![0]), max_det: 1, ..Thresholds::default() };
    assert_eq!(short(&decode(&spec, rows, &only).unwrap()), [(0, [0, 30, 64, 64])]);
    for class in [3.0, -1.0, 1.5, f32::NAN] {
        let error = decode(&spec, &[(0, &[1.0, 1.0, 2.0, 2.0, 0.9, class])], &only).unwrap_err().to_string();
        assert!(error.contains("none of 3"), "{error}");
    }
}

#[test]
fn objectness_is_a_factor() {
    let spec = Model::new([64, 64], &[&[1, 252, 8]]).resolve(&Hints::default()).unwrap();
    let rows: &[(usize, &[f32])] =
        &[(9, &[20.0, 20.0, 10.0, 10.0, 0.5, 0.2, 0.8]), (200, &[50.0, 20.0, 10.0, 10.0, 0.4, 0.6, 0.1])];
    let found = decode(&spec, rows, &Thresholds::default()).unwrap();
    assert_eq!(short(&found), [(1, [15, 15, 25, 25])]);
    assert!((found[0].confidence - 0.4).abs() < 1e-6);
}

#[test]
fn yolox_grids_become_pixels() {
    let model = Model::new([64, 64], &[&[1, 84, 8]]);
    let rows: &[(usize, &[f32])] = &[
        (9, &[0.5, 0.5, 0.0, 0.0, 1.0, 0.0, 0.9]),
        (64 + 6, &[0.0, 0.0, 0.0, 2.0_f32.ln(), 1.0, 0.8, 0.0]),
        (80 + 3, &[0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.7]),
    ];
    let grids = model.resolve(&hinted("yolox")).unwrap();
    let found = decode(&grids, rows, &Thresholds::default()).unwrap();
    assert_eq!(short(&found), [(1, [8, 8, 16, 16]), (0, [24, 0, 40, 32]), (1, [16, 16, 48, 48])]);
    let decoded = model.resolve(&hinted("yolox-decoded")).unwrap();
    let rows: &[(usize, &[f32])] = &[(9, &[20.0, 20.0, 10.0, 10.0, 1.0, 0.0, 0.9])];
    assert_eq!(short(&decode(&decoded, rows, &Thresholds::default()).unwrap()), [(1, [15, 15, 25, 25])]);
    // Sizes in pixels are no logarithms.
    let rows: &[(usize, &[f32])] = &[(9, &[20.0, 20.0, 100.0, 100.0, 1.0, 0.0, 0.9])];
    let error = decode(&grids, rows, &Thresholds::default()).unwrap_err().to_string();
    assert!(error.contains("yolox-decoded"), "{error}");
}

#[test]
fn keypoints_follow_their_box() {
    let rows = [20.0, 20.0, 10.0, 10.0, 0.9, 18.0, 19.0, 0.5, 70.0, 22.0, 0.25];
    let expected = [
        Keypoint { at: Point { x: 18.0, y: 19.0 }, visible: Some(0.5) },
        Keypoint { at: Point { x: 64.0, y: 22.0 }, visible: Some(0.25) },
    ];
    let anchors = spec(&[&[1, 11, 84]], "pose", 1);
    let found = decode(&anchors, &[(5, &rows)], &Thresholds::default()).unwrap();
    let Geometry::Pose { keypoints, .. } = &found[0].geometry else { panic!("{found:?}") };
    assert_eq!(keypoints[..], expected);
    let last = spec(&[&[1, 300, 12]], "pose", 1);
    let row = [&[15.0, 15.0, 25.0, 25.0, 0.9, 0.0], &rows[5..]].concat();
    assert_eq!(decode(&last, &[(5, &row)], &Thresholds::default()).unwrap(), found);
}

#[test]
fn oriented_boxes_have_corners_beyond_the_frame() {
    let quarter = std::f32::consts::FRAC_PI_2;
    let anchors = spec(&[&[1, 6, 84]], "obb", 1);
    let found = decode(&anchors, &[(5, &[60.0, 20.0, 20.0, 10.0, 0.9, quarter])], &Thresholds::default()).unwrap();
    let Geometry::Oriented(corners) = found[0].geometry else { panic!("{found:?}") };
    let rounded = corners.map(|corner| [corner.x.round() as i32, corner.y.round() as i32]);
    assert_eq!(rounded, [[55, 30], [65, 30], [65, 10], [55, 10]]);
    let last = spec(&[&[1, 300, 7]], "obb", 1);
    let row = [60.0, 20.0, 20.0, 10.0, 0.9, 0.0, quarter];
    assert_eq!(decode(&last, &[(5, &row)], &Thresholds::default()).unwrap(), found);
}

#[test]
fn masks_become_outlines_and_empty_ones_drop_their_box() {
    let spec = spec(&[&[1, 7, 84], &[1, 2, 16, 16]], "segment", 1);
    // One prototype is everywhere, the other nowhere.
    let prototypes: Vec<f32> = (0..512).map(|at| if at < 256 { 1.0 } else { -1.0 }).collect();
    let rows: &[(usize, &[f32])] =
        &[(1, &[20.0, 20.0, 10.0, 10.0, 0.9, 1.0, 0.0]), (2, &[50.0, 20.0, 10.0, 10.0, 0.8, 0.0, 1.0])];
    let data = filled(&spec, rows);
    let outputs =
        [TensorView { shape: &[1, 7, 84], data: &data }, TensorView { shape: &[1, 2, 16, 16], data: &prototypes }];
    let placement = Placement { scale: [2.0; 2], origin: Point { x: 100.0, y: 0.0 }, ..same_size(&spec) };
    let found = spec.decode(&outputs, &Thresholds::default(), &placement).unwrap();
    assert_eq!(found.len(), 1);
    let corner = |x: f32, y: f32| Point { x: x / 2.0 + 100.0, y: y / 2.0 };
    let outline = [corner(15.0, 15.0), corner(15.0, 24.0), corner(24.0, 24.0), corner(24.0, 15.0)].to_vec();
    let bounds = BoxPx { x1: 107.5, y1: 7.5, x2: 112.5, y2: 12.5 };
    assert_eq!(found[0].geometry, Geometry::Segment { bounds, outline });
    assert!(spec.decode(&outputs[..1], &Thresholds::default(), &placement).is_err());
}

#[test]
fn classifiers_give_their_five_best() {
    let spec = spec(&[&[1, 7]], "classify", 7);
    let probabilities: &[f32] = &[0.05, 0.3, 0.05, 0.4, 0.1, 0.04, 0.06];
    let found = decode(&spec, &[(0, probabilities)], &Thresholds::default()).unwrap();
    let classes: Vec<usize> = found.iter().map(|detection| detection.class).collect();
    assert_eq!(classes, [3, 1, 4, 6, 0]);
    assert_eq!((&*found[0].name, found[0].confidence, &found[0].geometry), ("c3", 0.4, &Geometry::Image));
    let logits: &[f32] = &[0.0, 1.0, 3.0, -1.0, 0.0, 0.0, 0.0];
    let error = decode(&spec, &[(0, logits)], &Thresholds::default()).unwrap_err().to_string();
    assert!(error.contains("--head logits"), "{error}");
    let raw = Model::new([64, 64], &[&[1, 7]]).resolve(&hinted("logits")).unwrap();
    let found = decode(&raw, &[(0, logits)], &Thresholds::default()).unwrap();
    let sum: f32 = logits.iter().map(|logit| logit.exp()).sum();
    assert!((found[0].confidence - 3.0_f32.exp() / sum).abs() < 1e-6);
}

#[test]
fn numbers_of_a_broken_model_are_an_error() {
    let spec = spec(&[&[1, 6, 84]], "detect", 2);
    let error = |row: &[f32]| decode(&spec, &[(5, row)], &Thresholds::default()).unwrap_err().to_string();
    for class in [0, 1] {
        for number in [f32::NAN, f32::INFINITY] {
            let mut row = [8.0, 8.0, 4.0, 4.0, 0.9, 0.9];
            row[4 + class] = number;
            assert!(error(&row).contains("row 5"), "{class} {number}");
        }
    }
    assert!(error(&[f32::NAN, 8.0, 4.0, 4.0, 0.9, 0.0]).contains("not finite"));
    assert!(error(&[8.0, 8.0, 4.0, 4.0, 7.3, 0.0]).contains("scores are at most 1"));
    // Nobody looks at the box of a row that is not good enough.
    assert_eq!(decode(&spec, &[(5, &[f32::NAN; 4])], &Thresholds::default()).unwrap(), []);
    let wrong = [TensorView { shape: &[1, 6, 85], data: &[0.0; 510] }];
    let error = spec.decode(&wrong, &Thresholds::default(), &same_size(&spec)).unwrap_err().to_string();
    assert!(error.contains("1×6×85") && error.contains("1×6×84"), "{error}");
    let short = [TensorView { shape: &[1, 6, 84], data: &[0.0; 3] }];
    assert!(spec.decode(&short, &Thresholds::default(), &same_size(&spec)).is_err());
    assert!(spec.decode(&[], &Thresholds::default(), &same_size(&spec)).is_err());
}

#[test]
fn no_numbers_make_it_panic() {
    let masks: &[usize] = &[1, 2, 16, 16];
    let specs = [
        spec(&[&[1, 6, 84]], "detect", 2),
        spec(&[&[1, 300, 6]], "detect", 2),
        spec(&[&[1, 8, 84], masks], "segment", 2),
        spec(&[&[1, 300, 8], masks], "segment", 2),
        spec(&[&[1, 12, 84]], "pose", 2),
        spec(&[&[1, 7, 84]], "obb", 2),
        spec(&[&[1, 300, 7]], "obb", 2),
        Model::new([64, 64], &[&[1, 84, 8]]).resolve(&hinted("yolox")).unwrap(),
        spec(&[&[1, 7]], "classify", 7),
    ];
    let odd = [f32::NAN, f32::INFINITY, -f32::INFINITY, f32::MAX, f32::MIN, 1e-40, 0.0, -1.0, 1.0, 0.9, 30.0, 1e9];
    let mut random = Random::new(3);
    let (mut scratch, mut found) = (Scratch::default(), Vec::new());
    for round in 0..600 {
        let spec = &specs[round % specs.len()];
        let shape = spec.layout.shape();
        let mut numbers = |count: usize| -> Vec<f32> {
            // Every tenth round without the oddest ones, so that the way to the end is walked too.
            let from = if round % 10 < 5 { 0 } else { 6 };
            (0..count).map(|_| odd[from + random.below(odd.len() - from)]).collect()
        };
        let (data, prototypes) = (numbers(shape.iter().product()), numbers(512));
        let outputs = [TensorView { shape: &shape, data: &data }, TensorView { shape: masks, data: &prototypes }];
        let mut placement = same_size(spec);
        if round % 3 == 0 {
            placement.scale = [odd[round % odd.len()], 0.0];
            placement.picture = Size { width: 0, height: 0 };
        }
        let thresholds = Thresholds { confidence: -1.0, ..Thresholds::default() };
        let result = spec.decode_into(&outputs, &thresholds, &placement, &mut scratch, &mut found);
        assert!(result.is_ok() || found.is_empty());
    }
}

#[test]
fn the_same_frame_gives_the_same_with_kept_buffers() {
    let spec = spec(&[&[1, 8, 84], &[1, 2, 16, 16]], "segment", 2);
    let mut random = Random::new(11);
    let (mut scratch, mut found) = (Scratch::default(), Vec::new());
    for _ in 0..20 {
        let mut data: Vec<f32> = (0..8 * 84).map(|_| random.between(0.0, 1.0)).collect();
        data[..4 * 84].iter_mut().for_each(|number| *number *= 64.0);
        let prototypes: Vec<f32> = (0..512).map(|_| random.between(-1.0, 1.0)).collect();
        let outputs =
            [TensorView { shape: &[1, 8, 84], data: &data }, TensorView { shape: &[1, 2, 16, 16], data: &prototypes }];
        let (thresholds, placement) = (Thresholds::default(), same_size(&spec));
        spec.decode_into(&outputs, &thresholds, &placement, &mut scratch, &mut found).unwrap();
        assert!(!found.is_empty());
        assert_eq!(found, spec.decode(&outputs, &thresholds, &placement).unwrap());
    }
}
