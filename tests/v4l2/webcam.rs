//! A USB webcam under the kernel's uvcvideo: JPEG, a metadata node beside the pictures, the plug pulled.
//!
//! `ANDON_TEST_WEBCAM_PID` is the process that simulates it: SIGUSR1 stalls the stream and resumes it, SIGUSR2 unplugs it
//! for two seconds, SIGHUP cuts the next ten pictures in half.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use andon::{
    capture::{self, ErrorKind, Read, Settings, SourceUri},
    frame::{Frame, PixelFormat},
};

use super::{PATIENCE, camera_or_skip, failure, measure, picture, refusal};

fn signal(name: &str) {
    let pid = std::env::var("ANDON_TEST_WEBCAM_PID").unwrap();
    assert!(Command::new("kill").args([format!("-{name}"), pid]).status().unwrap().success());
}

fn is_whole(jpeg: &[u8]) -> bool {
    jpeg.starts_with(&[0xff, 0xd8]) && jpeg.ends_with(&[0xff, 0xd9])
}

#[test]
fn jpeg_frames_are_whole_and_end_where_they_end() {
    let camera = camera_or_skip!("uvcvideo");
    let settings = Settings { format: Some(PixelFormat::Jpeg), rate_hz: Some(30.0), ..camera.settings() };
    let mut source = capture::open(&settings).unwrap();
    assert_eq!(source.describe(), "640×480 MJPG at 30 Hz");
    let mut frame = Frame::empty();
    for _ in 0..10 {
        picture(source.as_mut(), &mut frame).unwrap();
        assert_eq!((frame.format, frame.stride), (PixelFormat::Jpeg, 0));
        assert!(is_whole(&frame.data), "{} bytes", frame.data.len());
    }
    let measured = measure(source.as_mut(), 60);
    println!(
        "{} {:.2} Hz, {} dropped, age at most {:?}, {} bytes",
        source.describe(),
        measured.rate_hz,
        measured.dropped,
        measured.age_max,
        measured.bytes
    );
    assert!(measured.rate_hz > 10.0, "a simulation under emulation may be slow, but not that slow");
}

#[test]
fn a_webcam_is_read_raw_unless_jpeg_is_asked() {
    let camera = camera_or_skip!("uvcvideo");
    let mut source = camera.open();
    assert_eq!(source.describe(), "640×480 YUYV at 30 Hz");
    let mut frame = Frame::empty();
    // The simulation is slow at raw pictures: cut ones are marked as damaged by the driver and passed over here.
    let deadline = Instant::now() + Duration::from_secs(10);
    while source.read(&mut frame, PATIENCE).is_err() {
        assert!(Instant::now() < deadline);
    }
    assert_eq!((frame.format, frame.stride, frame.data.len()), (PixelFormat::Yuyv, 1280, 614_400));
}

#[test]
fn the_metadata_node_is_not_listed_and_says_what_it_is() {
    let camera = camera_or_skip!("uvcvideo");
    let nodes = |name: &str| Path::new("/dev").join(name);
    let listed = capture::v4l2::devices().unwrap();
    let metadata = ["video0", "video1", "video2", "video3"]
        .map(nodes)
        .into_iter()
        .find(|node| node.exists() && listed.iter().all(|device| device.node != *node))
        .unwrap();
    let error = refusal(&Settings { source: SourceUri::V4l2(metadata), ..camera.settings() });
    assert_eq!(error.kind(), ErrorKind::Misconfigured);
    assert!(error.to_string().contains("is the node of a camera's metadata"), "{error}");
}

#[test]
fn pictures_cut_in_half_are_passed_on_as_they_are() {
    let camera = camera_or_skip!("uvcvideo");
    let settings = Settings { format: Some(PixelFormat::Jpeg), ..camera.settings() };
    let mut source = capture::open(&settings).unwrap();
    let mut frame = Frame::empty();
    picture(source.as_mut(), &mut frame).unwrap();
    signal("HUP");
    let mut cut = 0;
    for _ in 0..40 {
        picture(source.as_mut(), &mut frame).unwrap();
        cut += u32::from(!is_whole(&frame.data));
    }
    println!("{cut} of 40 pictures were cut");
    assert!((5..=10).contains(&cut), "a cut picture is not filled up with what lay in the buffer before: {cut}");
}

#[test]
fn a_webcam_that_stalls_is_noticed_in_time_and_goes_on() {
    let camera = camera_or_skip!("uvcvideo");
    let settings = Settings { format: Some(PixelFormat::Jpeg), ..camera.settings() };
    let mut source = capture::open(&settings).unwrap();
    let mut frame = Frame::empty();
    picture(source.as_mut(), &mut frame).unwrap();
    signal("USR1");
    while source.read(&mut frame, Duration::from_millis(500)).unwrap() == Read::Frame {}
    let start = Instant::now();
    assert_eq!(source.read(&mut frame, Duration::from_millis(500)).unwrap(), Read::Nothing);
    println!("stalled: nothing after {:?} of 500 ms", start.elapsed());
    assert!(start.elapsed() < Duration::from_millis(700));
    signal("USR1");
    let start = Instant::now();
    picture(source.as_mut(), &mut frame).unwrap();
    println!("frames are back after {:?}", start.elapsed());
}

#[test]
fn a_webcam_unplugged_in_a_stall_is_lost_and_opens_again_under_another_number() {
    let camera = camera_or_skip!("uvcvideo");
    let settings = Settings { format: Some(PixelFormat::Jpeg), ..camera.settings() };
    for stalled in [false, true] {
        let mut source = capture::open(&settings).unwrap();
        let mut frame = Frame::empty();
        picture(source.as_mut(), &mut frame).unwrap();
        let before = camera.node();
        if stalled {
            signal("USR1");
            while source.read(&mut frame, Duration::from_millis(500)).unwrap() == Read::Frame {}
        }
        signal("USR2");
        let (error, after) = failure(source.as_mut(), PATIENCE);
        println!("unplugged, stalled {stalled}: noticed after {after:?}: {error}");
        assert_eq!(error.kind(), ErrorKind::Lost);
        if stalled {
            signal("USR1");
        }
        let (mut again, after) = camera.reopen(&settings, Duration::from_secs(20));
        println!("open again after {after:?} as {}", camera.node().display());
        assert_ne!(camera.node(), before, "the old source holds the old number");
        drop(source);
        picture(again.as_mut(), &mut frame).unwrap();
        assert!(is_whole(&frame.data));
    }
}
