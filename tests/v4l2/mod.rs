//! V4L2 cameras, against the kernel's own drivers: see `tests/vm/camera.sh`, which runs these in a virtual machine.
//!
//! `ANDON_TEST_CAMERA` names the camera: a node, or a link to one that the test may bend to where the camera comes back.
//! Where it is unset the tests that need a camera say so and pass.

#![allow(clippy::unwrap_used, reason = "helpers of tests; clippy's own exception covers the tests only")]

mod vivid;
mod webcam;

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use andon::{
    capture::{
        self, ErrorKind, Read, Settings, Source, SourceError, SourceUri,
        v4l2::{Device, devices},
    },
    frame::Frame,
    geometry::Size,
};

/// The longest wait for a picture of a camera that works, in a slow machine.
const PATIENCE: Duration = Duration::from_secs(3);

/// Returns the camera of the tests, which one test has at a time, or leaves the test where there is none.
macro_rules! camera_or_skip {
    ($driver:literal) => {
        match crate::v4l2::Camera::take($driver) {
            Some(camera) => camera,
            None => {
                println!("skipped: ANDON_TEST_CAMERA names no {} camera", $driver);
                return;
            }
        }
    };
}
use camera_or_skip;

/// The camera of the tests.
struct Camera {
    path: PathBuf,
    _alone: MutexGuard<'static, ()>,
}

impl Camera {
    fn take(driver: &str) -> Option<Self> {
        static ALONE: Mutex<()> = Mutex::new(());
        let path = PathBuf::from(std::env::var_os("ANDON_TEST_CAMERA")?);
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let camera = Self { path, _alone: alone };
        (camera.device().driver == driver).then_some(camera)
    }

    fn node(&self) -> PathBuf {
        std::fs::canonicalize(&self.path).unwrap()
    }

    fn device(&self) -> Device {
        let node = self.node();
        devices().unwrap().into_iter().find(|device| device.node == node).expect("the camera of the tests is listed")
    }

    fn settings(&self) -> Settings {
        Settings::of(SourceUri::V4l2(self.path.clone()))
    }

    fn open(&self) -> Box<dyn Source> {
        capture::open(&self.settings()).unwrap()
    }

    /// Sets something with v4l2-ctl, as another program would.
    fn v4l2_ctl(&self, argument: &str) {
        let status = Command::new("v4l2-ctl").arg("-d").arg(&self.path).arg(argument).status().unwrap();
        assert!(status.success(), "v4l2-ctl {argument}");
    }

    /// Opens the camera again and again, as its supervisor does, until it works; bends the link to every node in turn.
    fn reopen(&self, settings: &Settings, within: Duration) -> (Box<dyn Source>, Duration) {
        let start = Instant::now();
        loop {
            self.follow();
            match capture::open(settings) {
                Ok(source) => return (source, start.elapsed()),
                Err(error) => assert!(start.elapsed() < within, "not back within {within:?}: {error}"),
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Does udev's work where there is none: leads a link in `/tmp` to where the camera is now.
    fn follow(&self) {
        if self.path.starts_with("/tmp")
            && let Some(device) = devices().unwrap_or_default().first()
        {
            let _ = std::fs::remove_file(&self.path);
            std::os::unix::fs::symlink(&device.node, &self.path).unwrap();
        }
    }
}

/// Reads until there is a picture.
fn picture(source: &mut dyn Source, frame: &mut Frame) -> Result<(), SourceError> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if source.read(frame, Duration::from_millis(500))? == Read::Frame {
            return Ok(());
        }
    }
    panic!("no picture within {PATIENCE:?}");
}

/// Reads until the source fails.
fn failure(source: &mut dyn Source, within: Duration) -> (SourceError, Duration) {
    let start = Instant::now();
    let mut frame = Frame::empty();
    while start.elapsed() < within {
        match source.read(&mut frame, Duration::from_millis(500)) {
            Err(error) if error.kind() != ErrorKind::Corrupt => return (error, start.elapsed()),
            _ => {}
        }
    }
    panic!("no failure within {within:?}");
}

fn refusal(settings: &Settings) -> SourceError {
    match capture::open(settings) {
        Ok(source) => panic!("opened {}", source.describe()),
        Err(error) => error,
    }
}

/// A stream measured: pictures per second as they reach us, and what was lost on the way.
struct Measured {
    rate_hz: f64,
    pictures: u64,
    dropped: u64,
    bytes: usize,
    age_max: Duration,
}

fn measure(source: &mut dyn Source, pictures: u64) -> Measured {
    let mut frame = Frame::empty();
    picture(source, &mut frame).unwrap();
    let (first_seq, first_at) = (frame.seq, frame.captured_at);
    let (mut dropped, mut age_max, mut before) = (0, Duration::ZERO, frame.clone());
    for _ in 0..pictures {
        picture(source, &mut frame).unwrap();
        assert!(frame.captured_at <= Instant::now(), "a stamp ahead of now");
        assert!(frame.captured_at >= before.captured_at, "stamps go back");
        assert_eq!(frame.seq, before.seq + 1 + frame.dropped, "a gap is what was dropped");
        age_max = age_max.max(frame.captured_at.elapsed());
        dropped += frame.dropped;
        before.seq = frame.seq;
        before.captured_at = frame.captured_at;
    }
    assert_eq!(frame.seq - first_seq, pictures + dropped);
    let seconds = frame.captured_at.duration_since(first_at).as_secs_f64();
    Measured { rate_hz: pictures as f64 / seconds, pictures, dropped, bytes: frame.data.len(), age_max }
}

#[test]
fn what_is_no_camera_says_so() {
    let told = |path: &Path| refusal(&Settings::of(SourceUri::V4l2(path.to_owned())));
    let absent = told(Path::new("/dev/v4l/by-id/usb-nobody-video-index0"));
    assert_eq!(absent.kind(), ErrorKind::Absent);
    assert!(absent.to_string().starts_with("/dev/v4l/by-id/usb-nobody-video-index0 is not there"), "{absent}");
    for path in ["/dev/null", "/etc/passwd", "/"] {
        let error = told(Path::new(path));
        assert_eq!(error.kind(), ErrorKind::Misconfigured, "{error}");
        assert!(error.to_string().contains("is no camera"), "{error}");
    }
}

#[test]
fn cameras_are_listed_on_every_machine() {
    // Whatever there is: an empty list is no error, and every entry can be found again by its path.
    for device in devices().unwrap() {
        assert_eq!(std::fs::canonicalize(&device.path).unwrap(), device.node);
        assert!(!device.name.is_empty() && !device.driver.is_empty());
    }
}

#[test]
fn a_camera_that_may_not_be_opened_says_how_to_be_let_in() {
    let Some(path) = std::env::var_os("ANDON_TEST_FORBIDDEN_CAMERA") else {
        println!("skipped: ANDON_TEST_FORBIDDEN_CAMERA is not set");
        return;
    };
    let error = refusal(&Settings::of(SourceUri::V4l2(path.into())));
    assert_eq!(error.kind(), ErrorKind::Misconfigured);
    assert!(error.to_string().contains("add the user to the group video"), "{error}");
    assert!(devices().unwrap_err().to_string().contains("add the user to the group video"));
}

#[test]
fn a_camera_in_separate_planes_is_listed_and_points_to_a_command() {
    let Some(path) = std::env::var_os("ANDON_TEST_MULTIPLANAR_CAMERA").map(PathBuf::from) else {
        println!("skipped: ANDON_TEST_MULTIPLANAR_CAMERA is not set");
        return;
    };
    let error = refusal(&Settings::of(SourceUri::V4l2(path.clone())));
    assert_eq!(error.kind(), ErrorKind::Misconfigured);
    assert!(error.to_string().contains("use a command source, such as rpicam-vid"), "{error}");
    let listed = devices().unwrap().into_iter().find(|device| device.node == path).unwrap();
    assert!(!listed.formats.is_empty() && listed.formats.iter().all(|format| format.pixel_format.is_none()));
}

#[test]
fn a_size_is_taken_from_a_grid_and_the_rate_left_to_a_driver_that_does_not_say() {
    let Some(path) = std::env::var_os("ANDON_TEST_GRID_CAMERA").map(PathBuf::from) else {
        println!("skipped: ANDON_TEST_GRID_CAMERA is not set");
        return;
    };
    let device = devices().unwrap().into_iter().find(|device| device.node == path).unwrap();
    let yuyv = device.formats.iter().find(|format| format.fourcc.to_string() == "YUYV").unwrap();
    println!("{} {:?}", yuyv.sizes[0].size, yuyv.sizes[0].rates_hz());
    assert_ne!(yuyv.sizes[0].size.min, yuyv.sizes[0].size.max);
    for size in [None, Some(Size { width: 800, height: 600 }), Some(Size { width: 1000, height: 500 })] {
        let settings = Settings { size, rate_hz: Some(20.0), ..Settings::of(SourceUri::V4l2(path.clone())) };
        let mut source = capture::open(&settings).unwrap();
        let mut frame = Frame::empty();
        picture(source.as_mut(), &mut frame).unwrap();
        println!("{}", source.describe());
        assert_eq!(frame.size, size.unwrap_or(Size { width: 640, height: 480 }));
    }
}

#[test]
fn a_camera_named_by_a_link_is_never_replaced_by_another() {
    let Some(path) = std::env::var_os("ANDON_TEST_UNPLUGGED_CAMERA").map(PathBuf::from) else {
        println!("skipped: ANDON_TEST_UNPLUGGED_CAMERA is not set");
        return;
    };
    assert!(!devices().unwrap().is_empty(), "another camera is there");
    let error = refusal(&Settings::of(SourceUri::V4l2(path)));
    assert_eq!(error.kind(), ErrorKind::Absent, "{error}");
}
