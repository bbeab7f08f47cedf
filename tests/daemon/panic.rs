//! A panic on a detector's thread, brought about by whoever takes its reports: the thread begins again.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use andon::{
    config::Config,
    daemon::{self, Report, Reporter},
};

use super::*;

/// Panics at some reports.
struct Brittle {
    reports: Arc<AtomicU64>,
}

impl Reporter for Brittle {
    fn report(&self, _report: Report<'_>) {
        let number = self.reports.fetch_add(1, Ordering::Relaxed);
        assert!(number != 2 && number != 5, "on purpose");
    }
}

#[test]
fn a_detector_that_panics_looks_at_later_frames() {
    let line = Line::new(1, "");
    let text = line.dir.read("andon.toml").replace("\"squares.onnx\"", &quoted(&line.dir.path("squares.onnx")));
    let path = line.dir.write("andon.toml", text.replace("\"shots\"", &quoted(&line.dir.path("shots"))));
    let config = Config::load(&path).unwrap();
    let reports = Arc::new(AtomicU64::new(0));
    let reporter: Arc<dyn Reporter> = Arc::new(Brittle { reports: Arc::clone(&reports) });
    let detectors = daemon::load_detectors(&config).unwrap();
    let give_up = Instant::now() + SOON;
    let until = || reports.load(Ordering::Relaxed) >= 10 || Instant::now() > give_up;
    daemon::watch(&config, detectors, &reporter, until).unwrap();
    let reports = reports.load(Ordering::Relaxed);
    assert!(reports >= 10, "only {reports} reports");
}

fn quoted(path: &Path) -> String {
    format!("{path:?}")
}
