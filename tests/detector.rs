//! The one path from a frame to detections, with the tiny YOLO and frames made by hand.

use andon::{
    detector::{Detector, PictureError, Settings},
    frame::{Frame, PixelFormat},
    geometry::{BoxPx, Region, Size},
    vision::{Rotation, View},
};

use crate::util::{
    run::{Dir, GREEN, RED, squares},
    tiny_yolo::{Head, TinyYolo},
};

fn detector(dir: &Dir) -> Detector {
    let options = TinyYolo { head: Head::EndToEnd, ..TinyYolo::default() };
    Detector::load(&Settings::of(dir.tiny_yolo("tiny.onnx", options))).unwrap()
}

fn frame(size: (u32, u32), cells: &[(u32, u32, [u8; 3])]) -> Frame {
    let (width, height) = size;
    let data = squares(size, cells).into_raw();
    Frame {
        format: PixelFormat::Rgb8,
        size: Size { width, height },
        stride: width as usize * 3,
        data,
        ..Frame::empty()
    }
}

/// The boxes found, each with its class, in the order of the classes.
fn boxes(detector: &mut Detector, frame: &Frame, view: &View) -> Vec<(usize, BoxPx)> {
    let found = detector.detect(frame, view).unwrap();
    let mut boxes: Vec<_> = found.items.iter().map(|item| (item.class, item.bounds().unwrap())).collect();
    boxes.sort_by_key(|(class, _)| *class);
    boxes
}

fn cell(x1: f32, y1: f32) -> BoxPx {
    BoxPx { x1, y1, x2: x1 + 8.0, y2: y1 + 8.0 }
}

#[test]
fn what_a_region_shows_is_told_in_pixels_of_the_whole_picture() {
    let mut detector = detector(&Dir::new());
    // The red square lies inside the region, the green one outside.
    let frame = frame((128, 96), &[(6, 5, RED), (1, 1, GREEN)]);
    let region = Some(Region { x: 32, y: 16, width: 64, height: 64 });
    let view = View { region, ..View::default() };
    assert_eq!(boxes(&mut detector, &frame, &view), [(0, cell(48.0, 40.0))]);
    assert_eq!(detector.detect(&frame, &view).unwrap().size, Size { width: 128, height: 96 });
    assert_eq!((detector.picture().width, detector.picture().height), (64, 64));
}

#[test]
fn a_turned_camera_is_told_in_pixels_of_the_upright_picture() {
    let mut detector = detector(&Dir::new());
    let frame = frame((64, 64), &[(1, 2, RED), (5, 6, GREEN)]);
    let view = View { rotation: Rotation::Quarter, ..View::default() };
    // A quarter clockwise brings (x, y) to (64 − 8 − y, x).
    assert_eq!(boxes(&mut detector, &frame, &view), [(0, cell(40.0, 8.0)), (1, cell(8.0, 40.0))]);
}

#[test]
fn a_bad_picture_is_no_fault_of_the_model() {
    let mut detector = detector(&Dir::new());
    let good = frame((64, 64), &[(3, 3, RED)]);
    let cut = Frame { data: good.data[..100].to_vec(), ..good.clone() };
    let outside = View { region: Some(Region { x: 60, y: 0, width: 64, height: 64 }), ..View::default() };
    for (frame, view) in [(&cut, &View::default()), (&good, &outside)] {
        let error = detector.detect(frame, view).unwrap_err();
        assert!(error.is::<PictureError>(), "{error:#}");
    }
    assert_eq!(boxes(&mut detector, &good, &View::default()), [(0, cell(24.0, 24.0))]);
}

#[test]
fn a_warm_up_finds_nothing_and_measures_every_stage() {
    let dir = Dir::new();
    let mut detector = detector(&dir);
    let timing = detector.warm_up().unwrap();
    assert!(timing.inference_ms > 0.0 && timing.preprocess_ms > 0.0, "{timing:?}");
    assert_eq!(detector.identity().name, "tiny");
    assert_eq!(detector.identity().sha256.len(), 64);
}

#[test]
fn each_class_may_have_its_own_threshold() {
    let dir = Dir::new();
    let path = dir.tiny_yolo("tiny.onnx", TinyYolo { head: Head::EndToEnd, ..TinyYolo::default() });
    let per_class = [("red".to_owned(), 1.0)].into();
    let mut detector = Detector::load(&Settings { per_class, ..Settings::of(path) }).unwrap();
    let frame = frame((64, 64), &[(1, 2, RED), (5, 6, GREEN)]);
    assert_eq!(boxes(&mut detector, &frame, &View::default()), [(1, cell(40.0, 48.0))]);
}
