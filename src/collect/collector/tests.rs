//! Frames go in with times of their own, and a dataset comes out.

use std::{
    fs,
    time::{Duration, Instant},
};

use super::*;
use crate::{
    dataset::Dataset,
    detection::{Detection, Geometry, Timing},
    frame::PixelFormat,
    geometry::BoxPx,
};

const SIZE: Size = Size { width: 80, height: 60 };
const NAMES: [&str; 2] = ["red", "green"];

/// One camera that is filmed by hand.
struct Stage {
    collector: Collector,
    frame: Frame,
    start: Instant,
    now: Duration,
}

impl Stage {
    fn new(dir: &Path, quota_bytes: u64) -> Self {
        let settings = Settings { quota_bytes, ..Settings::default() };
        Self {
            collector: open(dir, &settings, &NAMES).unwrap(),
            frame: Frame::empty(),
            start: Instant::now(),
            now: Duration::ZERO,
        }
    }

    /// A frame 100 ms after the one before: stripes of so many pixels, and what the model says of it.
    fn film(&mut self, stripe: u32, found: &[(usize, f32, f32)]) {
        let level = |index: u32| if (index % SIZE.width / stripe).is_multiple_of(2) { 200 } else { 40 };
        let grey: Vec<u8> = (0..SIZE.width * SIZE.height).map(level).collect();
        let picture = RgbImage {
            width: SIZE.width,
            height: SIZE.height,
            data: grey.iter().flat_map(|level| [*level; 3]).collect(),
        };
        self.frame = Frame {
            format: PixelFormat::Grey8,
            size: SIZE,
            stride: SIZE.width as usize,
            data: grey,
            captured_at: self.start + self.now,
            ..Frame::empty()
        };
        let items = found.iter().map(|&(class, confidence, x)| Detection {
            class,
            name: NAMES[class].into(),
            confidence,
            geometry: Geometry::Box(BoxPx { x1: x, y1: 10.0, x2: x + 20.0, y2: 30.0 }),
            track_id: None,
        });
        let found = Detections { size: SIZE, items: items.collect(), timing: Timing::default() };
        self.collector.see(0, &mut self.frame, &picture, &found);
        self.now += Duration::from_millis(100);
    }
}

fn open(dir: &Path, settings: &Settings, names: &[&str]) -> anyhow::Result<Collector> {
    let names: Vec<Arc<str>> = names.iter().map(|name| Arc::from(*name)).collect();
    let models = [Model { id: "m".to_owned(), thresholds: vec![0.25; names.len()], names }];
    Collector::start(dir, settings, &models, &[Camera { id: "in".to_owned(), view: View::default(), model: 0 }])
}

/// The reasons in the names of the pictures, sorted.
fn reasons(dir: &Path) -> Vec<String> {
    let mut found: Vec<String> = fs::read_dir(dir.join("images"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_str().unwrap().rsplit('-').next().unwrap().replace(".jpg", ""))
        .collect();
    found.sort();
    found
}

const SURE: (usize, f32, f32) = (0, 0.9, 10.0);
const UNSURE: (usize, f32, f32) = (1, 0.22, 50.0);

#[test]
fn each_reason_keeps_a_picture_and_duplicates_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let mut stage = Stage::new(folder.path(), 1 << 20);
    stage.film(10, &[]);
    for _ in 0..5 {
        stage.film(10, &[SURE]);
    }
    // For one frame the object is not there: that looks like the first frame, which was kept.
    stage.film(10, &[]);
    stage.film(10, &[SURE]);
    // And for one frame it is another.
    stage.film(10, &[(1, 0.9, 10.0)]);
    for _ in 0..12 {
        stage.film(10, &[SURE]);
    }
    for _ in 0..3 {
        stage.film(10, &[SURE, UNSURE]);
    }
    stage.collector.ask();
    stage.film(10, &[SURE, UNSURE]);
    let tally = stage.collector.finish().unwrap();
    assert_eq!(tally.kept, [1, 1, 1, 1], "{tally:?}");
    assert!(tally.duplicates >= 1 && tally.dropped == 0 && !tally.full, "{tally:?}");
    assert_eq!(reasons(folder.path()), ["disagreement", "operator", "routine", "uncertain"]);

    let dataset = Dataset::open(folder.path(), "train").unwrap();
    assert_eq!((dataset.pictures.len(), dataset.names.as_slice()), (4, &NAMES.map(str::to_owned)[..]));
    let labels = dataset.labels(Some(NAMES.len())).unwrap();
    // What the plant would not have been told is no label.
    let counts: Vec<usize> = labels.objects.iter().map(Vec::len).collect();
    assert_eq!(counts.iter().sum::<usize>(), 3, "{counts:?}");
    assert!(labels.sticking_out.is_empty() && labels.without_file == 0);
    let text = fs::read_dir(folder.path().join("labels")).unwrap().map(|entry| entry.unwrap().path());
    let uncertain = text.into_iter().find(|path| path.to_str().unwrap().contains("uncertain")).unwrap();
    assert_eq!(fs::read_to_string(uncertain).unwrap(), "0 0.250000 0.333333 0.250000 0.333333\n");
}

#[test]
fn another_run_goes_on_and_other_classes_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (run, kept) in [(1, 1), (2, 2)] {
        let mut stage = Stage::new(folder.path(), 1 << 20);
        stage.now += Duration::from_secs(run);
        stage.film(10, &[]);
        assert_eq!(stage.collector.finish().unwrap().kept, [1, 0, 0, 0]);
        assert_eq!(reasons(folder.path()).len(), kept);
    }
    let error = open(folder.path(), &Settings::default(), &["scratch"]).unwrap_err().to_string();
    assert!(error.contains("its classes are red, green, not scratch; choose another folder"), "{error}");
    let error = open(folder.path(), &Settings::default(), &[]).unwrap_err().to_string();
    assert_eq!(error, "model \"m\" names no classes; state them in [model] names");
}

#[test]
fn it_is_over_when_the_quota_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let mut stage = Stage::new(folder.path(), 12_000);
    let mut filmed = 0;
    while !stage.collector.is_over() {
        stage.collector.ask();
        stage.film(5, &[]);
        filmed += 1;
        thread::yield_now();
    }
    let tally = stage.collector.finish().unwrap();
    assert!(tally.full && tally.kept[3] > 0 && tally.used_bytes <= 12_000, "{filmed}: {tally:?}");
    assert_eq!(reasons(folder.path()).len() as u64, tally.kept.iter().sum::<u64>());
}

#[test]
fn a_disk_that_fails_is_told_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let mut stage = Stage::new(folder.path(), 1 << 20);
    fs::remove_dir(folder.path().join("images")).unwrap();
    stage.film(10, &[]);
    let error = stage.collector.finish().unwrap_err().to_string();
    assert!(error.contains("cannot be written") && stage.collector.is_over(), "{error}");
    assert_eq!(stage.collector.tally().kept, [0; 4]);
}
