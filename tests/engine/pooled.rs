//! The same tensors through andon and through onnxruntime with the same int8 file: what both find, over many pictures.
//!
//! A rounded last bit changes what is rounded after it, so single detections at the edge of a threshold come and go in
//! any two engines. Over many pictures the share that both find says whether they run the same network.

use std::{
    fs,
    path::{Path, PathBuf},
};

use andon::{
    detection::{Detection, Geometry},
    detector,
    engine::{Session, Settings, Tensor},
    geometry::{BoxPx, Placement, Point, Size},
    yolo::{HeadSpec, Hints, TensorView, Thresholds},
};

use crate::util::npy;

/// The part of one engine's detections from [`FROM`] on that the other has to find as well.
const MATCHED_MIN: f32 = 0.97;

/// How far the confidences of what both find may be apart in the mean.
const CONFIDENCE_OFF_MEAN_MAX: f32 = 0.03;

/// Detections are the same from this overlap on.
const IOU_MIN: f32 = 0.7;

/// A detection with this confidence or more has to be found by the other engine as well.
const FROM: f32 = 0.5;

/// With this confidence, the threshold of `andon detect`, the other engine has found it.
const ENOUGH: f32 = 0.25;

/// Runs every model that `tests/peers/agree_int8.py` ran, and compares over all its pictures.
#[test]
fn pooled_detections_agree_with_onnxruntime() {
    let Some(folder) = std::env::var_os("ANDON_ORT_POOL_DIR") else {
        println!("skipped: ANDON_ORT_POOL_DIR names no folder that tests/peers/agree_int8.py wrote");
        return;
    };
    let models = listed(&Path::new(&folder).join("models"));
    assert!(!models.is_empty(), "tests/peers/agree_int8.py wrote nothing");
    let mut failures = Vec::new();
    for model in models {
        let pool = run(&model);
        let line = format!("{}: {}", model.file_name().unwrap().display(), pool.describe());
        println!("{line}");
        if !pool.is_right() {
            failures.push(line);
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// What was found in all pictures together.
#[derive(Default)]
struct Pool {
    pictures: usize,
    theirs: Side,
    ours: Side,
}

/// What one engine found, and what of it the other found too.
#[derive(Default)]
struct Side {
    found: usize,
    matched: usize,
    /// Matched by a detection that is itself from [`FROM`] on.
    matched_strictly: usize,
    confidence_off: f32,
}

impl Pool {
    fn is_right(&self) -> bool {
        let sides = [&self.theirs, &self.ours];
        sides.iter().all(|side| side.share(side.matched) >= MATCHED_MIN)
            && self.confidence_off_mean() <= CONFIDENCE_OFF_MEAN_MAX
    }

    fn confidence_off_mean(&self) -> f32 {
        let matched = self.theirs.matched + self.ours.matched;
        // Without a single match nothing is right.
        if matched == 0 { 1.0 } else { (self.theirs.confidence_off + self.ours.confidence_off) / matched as f32 }
    }

    fn describe(&self) -> String {
        format!(
            "{} pictures; onnxruntime's {}; andon's {}; confidences differ by {:.4} in the mean",
            self.pictures,
            self.theirs.describe(),
            self.ours.describe(),
            self.confidence_off_mean()
        )
    }
}

impl Side {
    fn count(&mut self, found: &[Detection], others: &[Detection]) {
        let mut taken = vec![false; others.len()];
        // Best first, so that of two alike the better takes its like.
        for one in found.iter().filter(|one| one.confidence >= FROM) {
            self.found += 1;
            let like = |(index, other): (usize, &Detection)| {
                let iou = bounds(one).iou(&bounds(other));
                (!taken[index] && other.class == one.class && iou >= IOU_MIN).then_some((iou, index))
            };
            let best = others.iter().enumerate().filter_map(like).max_by(|a, b| a.0.total_cmp(&b.0));
            if let Some((_, index)) = best {
                taken[index] = true;
                self.matched += 1;
                self.matched_strictly += usize::from(others[index].confidence >= FROM);
                self.confidence_off += (others[index].confidence - one.confidence).abs();
            }
        }
    }

    fn share(&self, part: usize) -> f32 {
        part as f32 / self.found as f32
    }

    fn describe(&self) -> String {
        let [matched, strictly] = [self.matched, self.matched_strictly].map(|part| 100.0 * self.share(part));
        format!("{} found by the other to {matched:.1} % ({strictly:.1} % with {FROM} or more)", self.found)
    }
}

fn run(folder: &Path) -> Pool {
    let named = |name: &str| PathBuf::from(fs::read_to_string(folder.join(name)).unwrap().trim());
    let isa = std::env::var("ANDON_ISA").ok();
    let mut session = Session::load(&named("model.txt"), &Settings { isa, ..Settings::default() }).unwrap();
    let head = detector::resolve(&session, &Hints::default()).unwrap();
    let mut pool = Pool::default();
    for path in listed(&named("inputs.txt")) {
        let input = npy::read(&path);
        assert_eq!(session.input().shape, input.shape);
        let ours = decode(&head, &session.run(&input.data).unwrap()[0]);
        let theirs = decode(&head, &npy::read(&folder.join(path.file_name().unwrap())));
        pool.pictures += 1;
        pool.theirs.count(&theirs, &ours);
        pool.ours.count(&ours, &theirs);
    }
    pool
}

/// The detections in pixels of the model's input.
fn decode(head: &HeadSpec, output: &Tensor) -> Vec<Detection> {
    let [height, width] = head.input_size.map(|side| side as u32);
    let size = Size { width, height };
    let placement = Placement {
        picture: size,
        model: size,
        scale: [1.0; 2],
        offset: [0.0; 2],
        origin: Point::default(),
        original: size,
    };
    let thresholds = Thresholds { confidence: ENOUGH, ..Thresholds::default() };
    head.decode(&[TensorView { shape: &output.shape, data: &output.data }], &thresholds, &placement).unwrap()
}

fn bounds(found: &Detection) -> BoxPx {
    match found.geometry {
        Geometry::Box(bounds) => bounds,
        ref other => panic!("only models that give boxes are compared here, not {other:?}"),
    }
}

fn listed(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn detection(class: usize, confidence: f32, x1: f32) -> Detection {
    let geometry = Geometry::Box(BoxPx { x1, y1: 0.0, x2: x1 + 10.0, y2: 10.0 });
    Detection { class, name: "".into(), confidence, geometry, track_id: None }
}

#[test]
fn each_detection_is_matched_once_and_by_its_own_class() {
    let theirs = [detection(0, 0.9, 0.0), detection(0, 0.8, 0.5), detection(1, 0.7, 100.0), detection(2, 0.4, 200.0)];
    let mut side = Side::default();
    side.count(&theirs, &[detection(0, 0.6, 0.0), detection(2, 0.7, 100.0)]);
    assert_eq!((side.found, side.matched, side.matched_strictly), (3, 1, 1));
    assert!((side.confidence_off - 0.3).abs() < 1e-6);
    side.count(&[detection(0, 0.6, 0.0)], &[detection(0, 0.45, 1.0)]);
    assert_eq!((side.found, side.matched, side.matched_strictly), (4, 2, 1));
}

#[test]
fn nothing_found_is_not_right() {
    assert!(!Pool::default().is_right());
}
