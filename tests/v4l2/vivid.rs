//! The kernel's test driver vivid: raw formats, controls, faults on demand.

use std::{
    collections::BTreeMap,
    fs,
    time::{Duration, Instant},
};

use andon::{
    capture::{
        self, ErrorKind, Read, Settings,
        v4l2::{ControlKind, devices},
    },
    frame::{Frame, PixelFormat},
    geometry::Size,
};

use super::{Camera, PATIENCE, camera_or_skip, failure, measure, picture, refusal};

const SMALL: Size = Size { width: 320, height: 180 };

fn rebind(what: &str) {
    fs::write(format!("/sys/bus/platform/drivers/vivid/{what}"), "vivid.0").unwrap();
}

fn control_value(camera: &Camera, name: &str) -> Option<i64> {
    camera.device().controls.into_iter().find(|control| control.name == name).unwrap().value
}

/// The number of a menu's entry.
fn entry(camera: &Camera, name: &str, label: &str) -> i64 {
    let control = camera.device().controls.into_iter().find(|control| control.name == name).unwrap();
    let ControlKind::Menu(entries) = control.kind else { panic!("{name} is no menu") };
    entries.iter().find(|(_, entry)| entry == label).unwrap_or_else(|| panic!("{label} in {entries:?}")).0
}

fn controls(values: &[(&str, i64)]) -> BTreeMap<String, i64> {
    values.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
}

#[test]
fn the_list_says_what_the_camera_offers() {
    let camera = camera_or_skip!("vivid");
    let device = camera.device();
    assert_eq!((device.name.as_str(), device.bus.as_str()), ("vivid", "platform:vivid-000"));
    let yuyv = device.formats.iter().find(|format| format.fourcc.to_string() == "YUYV").unwrap();
    assert_eq!(yuyv.pixel_format, Some(PixelFormat::Yuyv));
    let hd = yuyv.sizes.iter().find(|sizes| sizes.size.to_string() == "1280×720").unwrap();
    let rates = hd.rates_hz();
    assert!(rates.contains(&12.5) && rates.contains(&5.0), "{rates:?}");
    assert!(device.formats.iter().any(|format| format.pixel_format.is_none()), "formats that are not read are listed");
    let brightness = device.controls.iter().find(|control| control.name == "brightness").unwrap();
    assert_eq!((brightness.min, brightness.max, brightness.step, brightness.default), (0, 255, 1, 128));
    println!("{} formats, {} controls", device.formats.len(), device.controls.len());
}

#[test]
fn every_raw_format_has_its_colours_where_they_belong() {
    let camera = camera_or_skip!("vivid");
    let red = controls(&[
        ("test_pattern", entry(&camera, "test_pattern", "100% Red")),
        ("osd_text_mode", entry(&camera, "osd_text_mode", "None")),
    ]);
    for format in [
        PixelFormat::Yuyv,
        PixelFormat::Uyvy,
        PixelFormat::Nv12,
        PixelFormat::I420,
        PixelFormat::Grey8,
        PixelFormat::Rgb8,
        PixelFormat::Bgr8,
    ] {
        let settings = Settings {
            size: Some(SMALL),
            rate_hz: Some(30.0),
            format: Some(format),
            controls: red.clone(),
            ..camera.settings()
        };
        let mut source = capture::open(&settings).unwrap();
        let mut frame = Frame::empty();
        picture(source.as_mut(), &mut frame).unwrap();
        assert_eq!((frame.format, frame.size, frame.name.as_str()), (format, SMALL, ""));
        let (stride, lines) = (frame.stride, SMALL.height as usize);
        let at = |index: usize| frame.data[index];
        let is_luma = |value: u8| (50..=110).contains(&value);
        match format {
            PixelFormat::Rgb8 => assert!(at(0) > 200 && at(1) < 40 && at(2) < 40),
            PixelFormat::Bgr8 => assert!(at(2) > 200 && at(1) < 40 && at(0) < 40),
            PixelFormat::Grey8 => assert!(is_luma(at(0))),
            PixelFormat::Yuyv => assert!(is_luma(at(0)) && at(1) < 130 && is_luma(at(2)) && at(3) > 200),
            PixelFormat::Uyvy => assert!(at(0) < 130 && is_luma(at(1)) && at(2) > 200 && is_luma(at(3))),
            PixelFormat::Nv12 => assert!(is_luma(at(0)) && at(stride * lines) < 130 && at(stride * lines + 1) > 200),
            PixelFormat::I420 => {
                assert!(is_luma(at(0)) && at(stride * lines) < 130 && at(stride * lines * 5 / 4) > 200)
            }
            PixelFormat::Jpeg => unreachable!("not in the list"),
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
        let lines_of_all_planes = if matches!(format, PixelFormat::Nv12 | PixelFormat::I420) { 270 } else { 180 };
        assert_eq!(measured.bytes, stride * lines_of_all_planes);
        assert!(measured.rate_hz > 20.0 && measured.pictures == 60);
    }
    camera.v4l2_ctl("-ctest_pattern=0,osd_text_mode=0");
}

#[test]
fn sizes_and_rates_are_kept() {
    let camera = camera_or_skip!("vivid");
    for (width, height, rate_hz) in
        [(320, 180, 60.0), (640, 360, 30.0), (640, 480, 25.0), (1280, 720, 12.5), (1920, 1080, 5.0)]
    {
        let size = Size { width, height };
        let settings = Settings { size: Some(size), rate_hz: Some(rate_hz), ..camera.settings() };
        let mut source = capture::open(&settings).unwrap();
        assert_eq!(source.interval(), Some(Duration::from_secs_f64(1.0 / rate_hz)));
        assert_eq!(source.describe(), format!("{width}×{height} YUYV at {rate_hz} Hz"));
        let measured = measure(source.as_mut(), (rate_hz * 2.0) as u64);
        let camera_hz = measured.rate_hz * (measured.pictures + measured.dropped) as f64 / measured.pictures as f64;
        println!("{}: {:.2} Hz, {} dropped", source.describe(), measured.rate_hz, measured.dropped);
        assert!((camera_hz - rate_hz).abs() < rate_hz * 0.1, "{camera_hz} Hz");
    }
}

#[test]
fn what_is_not_asked_is_chosen_and_the_nearest_rate_is_told() {
    let camera = camera_or_skip!("vivid");
    assert_eq!(camera.open().describe(), "640×480 YUYV at 25 Hz");
    let settings = Settings { size: Some(SMALL), rate_hz: Some(17.0), ..camera.settings() };
    assert_eq!(capture::open(&settings).unwrap().describe(), "320×180 YUYV at 15 Hz, the nearest to 17 Hz");
}

#[test]
fn what_is_not_offered_is_refused_with_what_is() {
    let camera = camera_or_skip!("vivid");
    let size = Size { width: 641, height: 480 };
    let error = refusal(&Settings { size: Some(size), ..camera.settings() });
    assert_eq!(error.kind(), ErrorKind::Misconfigured);
    assert!(error.to_string().contains("does not offer 641×480") && error.to_string().contains("1280×720"), "{error}");
    println!("{error}");
    let error = refusal(&Settings { format: Some(PixelFormat::Jpeg), ..camera.settings() });
    assert_eq!(error.kind(), ErrorKind::Misconfigured);
    assert!(error.to_string().contains("does not offer MJPG") && error.to_string().contains("YUYV"), "{error}");
}

#[test]
fn controls_are_set_at_every_opening_modes_first() {
    let camera = camera_or_skip!("vivid");
    camera.v4l2_ctl("-cgain_automatic=1,brightness=128");
    let wanted = controls(&[("brightness", 200), ("gain", 77), ("gain_automatic", 0)]);
    let settings = Settings { controls: wanted, ..camera.settings() };
    for _ in 0..2 {
        drop(capture::open(&settings).unwrap());
        assert_eq!(control_value(&camera, "brightness"), Some(200));
        assert_eq!(control_value(&camera, "gain"), Some(77));
        assert_eq!(control_value(&camera, "gain_automatic"), Some(0));
        camera.v4l2_ctl("-cgain_automatic=1,brightness=128");
    }
    let wide = controls(&[("integer_64_bits", 1 << 40)]);
    drop(capture::open(&Settings { controls: wide, ..camera.settings() }).unwrap());
    assert_eq!(control_value(&camera, "integer_64_bits"), Some(1 << 40));
}

#[test]
fn controls_that_cannot_be_set_say_why() {
    let camera = camera_or_skip!("vivid");
    camera.v4l2_ctl("-cgain_automatic=1");
    for (name, value, said) in [
        ("brightnes", 1, "has no control \"brightnes\"; the nearest is \"brightness\" of "),
        ("brightness", 256, "does not take 256 for control \"brightness\"; choose from 0 to 255"),
        ("test_pattern", 99, "does not take 99 for control \"test_pattern\"; choose one of 0 (75% Colorbar), "),
        ("gain", 10, "gives control \"gain\" no effect now; set gain_automatic to manual in the controls, too"),
    ] {
        let error = refusal(&Settings { controls: controls(&[(name, value)]), ..camera.settings() });
        assert_eq!(error.kind(), ErrorKind::Misconfigured);
        assert!(error.to_string().contains(said), "{error}");
        println!("{error}");
    }
}

#[test]
fn frames_that_the_driver_drops_are_counted() {
    let camera = camera_or_skip!("vivid");
    let settings = Settings { size: Some(SMALL), rate_hz: Some(30.0), ..camera.settings() };
    let mut source = capture::open(&settings).unwrap();
    camera.v4l2_ctl("-cpercentage_of_dropped_buffers=50");
    let measured = measure(source.as_mut(), 60);
    camera.v4l2_ctl("-cpercentage_of_dropped_buffers=0");
    println!("of {} frames {} were dropped", measured.pictures + measured.dropped, measured.dropped);
    assert!((20..=180).contains(&measured.dropped), "{} dropped", measured.dropped);
}

#[test]
fn numbers_and_stamps_that_wrap_do_no_harm() {
    let camera = camera_or_skip!("vivid");
    for odd in ["wrap_sequence_number", "wrap_timestamp"] {
        let settings = Settings { size: Some(SMALL), rate_hz: Some(30.0), ..camera.settings() };
        camera.v4l2_ctl(&format!("-c{odd}=1"));
        let mut source = capture::open(&settings).unwrap();
        // The numbers begin just before they wrap at 32 bits, the stamps far in the future.
        let measured = measure(source.as_mut(), 300);
        camera.v4l2_ctl(&format!("-c{odd}=0"));
        println!("{odd}: {:.2} Hz, {} dropped", measured.rate_hz, measured.dropped);
        assert!(measured.dropped < 150, "{} dropped", measured.dropped);
    }
}

#[test]
fn a_reader_that_was_away_gets_a_fresh_picture() {
    let camera = camera_or_skip!("vivid");
    let settings = Settings { size: Some(SMALL), rate_hz: Some(30.0), ..camera.settings() };
    let mut source = capture::open(&settings).unwrap();
    let mut frame = Frame::empty();
    picture(source.as_mut(), &mut frame).unwrap();
    let before = frame.seq;
    std::thread::sleep(Duration::from_secs(1));
    picture(source.as_mut(), &mut frame).unwrap();
    println!("after a second away: {:?} old, {} dropped", frame.captured_at.elapsed(), frame.dropped);
    assert!(frame.captured_at.elapsed() < Duration::from_millis(150));
    assert!(frame.dropped >= 20 && frame.seq == before + 1 + frame.dropped);
}

#[test]
fn a_damaged_frame_is_told_and_the_next_is_good() {
    let camera = camera_or_skip!("vivid");
    let mut source = camera.open();
    let mut frame = Frame::empty();
    picture(source.as_mut(), &mut frame).unwrap();
    camera.v4l2_ctl("-cinject_v4l2_buf_flag_error=1");
    let mut damaged = 0_u32;
    let (start, before) = (Instant::now(), frame.seq);
    let (mut good, mut dropped) = (0, 0);
    while start.elapsed() < Duration::from_secs(2) {
        match source.read(&mut frame, Duration::from_millis(500)) {
            Ok(Read::Frame) => (good, dropped) = (good + 1, dropped + frame.dropped),
            Ok(other) => panic!("{other:?}"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
                damaged += 1;
            }
        }
    }
    assert_eq!(frame.seq - before, good + dropped, "each frame is accounted for once");
    // While v4l2-ctl runs, a damaged frame may be passed over for a newer good one.
    assert!(damaged <= 1 && dropped >= 1, "{damaged} damaged, {dropped} dropped");
}

#[test]
fn a_stall_is_noticed_in_time_and_passes() {
    let camera = camera_or_skip!("vivid");
    let mut source = camera.open();
    let mut frame = Frame::empty();
    picture(source.as_mut(), &mut frame).unwrap();
    camera.v4l2_ctl("-cpercentage_of_dropped_buffers=100");
    while source.read(&mut frame, Duration::from_millis(300)).unwrap() == Read::Frame {}
    for timeout_ms in [0, 50, 500] {
        let start = Instant::now();
        let read = source.read(&mut frame, Duration::from_millis(timeout_ms)).unwrap();
        println!("stalled: {read:?} after {:?} of {timeout_ms} ms", start.elapsed());
        assert_eq!(read, Read::Nothing);
        assert!(start.elapsed() >= Duration::from_millis(timeout_ms));
        assert!(start.elapsed() < Duration::from_millis(timeout_ms + 200));
    }
    // Stopping and going on interrupts the wait, which is then waited out.
    let process = std::process::id();
    let script = format!("sleep 0.3; kill -STOP {process}; sleep 0.2; kill -CONT {process}");
    let mut interruption = std::process::Command::new("sh").args(["-c", &script]).spawn().unwrap();
    let start = Instant::now();
    assert_eq!(source.read(&mut frame, Duration::from_secs(1)).unwrap(), Read::Nothing);
    println!("stalled and interrupted: nothing after {:?} of 1 s", start.elapsed());
    assert!(start.elapsed() >= Duration::from_secs(1));
    interruption.wait().unwrap();
    camera.v4l2_ctl("-cpercentage_of_dropped_buffers=0");
    let start = Instant::now();
    picture(source.as_mut(), &mut frame).unwrap();
    println!("frames are back after {:?}", start.elapsed());
}

#[test]
fn an_unplugged_camera_is_lost_at_once_and_opens_again_under_another_number() {
    let camera = camera_or_skip!("vivid");
    let mut source = camera.open();
    let mut frame = Frame::empty();
    picture(source.as_mut(), &mut frame).unwrap();
    let before = camera.node();
    rebind("unbind");
    let (error, after) = failure(source.as_mut(), PATIENCE);
    println!("unplugged: noticed after {after:?}: {error}");
    assert_eq!(error.kind(), ErrorKind::Lost);
    assert!(after < Duration::from_millis(500));
    assert!(error.to_string().contains("was unplugged"), "{error}");
    assert_eq!(failure(source.as_mut(), PATIENCE).0.kind(), ErrorKind::Lost, "and stays so");
    assert_eq!(refusal(&camera.settings()).kind(), ErrorKind::Absent);
    rebind("bind");
    // The old source still holds the old number, so the camera comes back under another.
    let (mut again, after) = camera.reopen(&camera.settings(), Duration::from_secs(10));
    println!("plugged in: open after {after:?} as {}", camera.node().display());
    assert_ne!(camera.node(), before);
    drop(source);
    picture(again.as_mut(), &mut frame).unwrap();
}

#[test]
fn a_camera_that_streams_elsewhere_is_busy() {
    let camera = camera_or_skip!("vivid");
    let first = camera.open();
    let error = refusal(&camera.settings());
    assert_eq!(error.kind(), ErrorKind::Busy);
    println!("{error}");
    assert!(error.to_string().contains("is busy") && error.to_string().contains("fuser -v /dev/video"), "{error}");
    drop(first);
    drop(camera.open());
}

#[test]
fn a_child_process_does_not_keep_the_camera() {
    let camera = camera_or_skip!("vivid");
    let source = camera.open();
    let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    drop(source);
    let again = capture::open(&camera.settings()).map(drop);
    child.kill().unwrap();
    child.wait().unwrap();
    again.unwrap();
}

#[test]
fn opening_again_and_again_leaks_nothing() {
    let camera = camera_or_skip!("vivid");
    let held = || {
        let descriptors = fs::read_dir("/proc/self/fd").unwrap().count();
        let buffers =
            fs::read_to_string("/proc/self/maps").unwrap().lines().filter(|line| line.contains("/dev/video")).count();
        (descriptors, buffers)
    };
    picture(camera.open().as_mut(), &mut Frame::empty()).unwrap();
    let before = held();
    for _ in 0..20 {
        picture(camera.open().as_mut(), &mut Frame::empty()).unwrap();
    }
    assert_eq!((held(), before.1), (before, 0));
}

#[test]
fn what_another_program_left_set_does_not_matter() {
    let camera = camera_or_skip!("vivid");
    for left in ["--set-fmt-video=width=1280,height=720,pixelformat=YU12", "--set-fmt-video=pixelformat=NV24"] {
        camera.v4l2_ctl(left);
        camera.v4l2_ctl("--set-parm=12.5");
        let mut source = camera.open();
        picture(source.as_mut(), &mut Frame::empty()).unwrap();
        assert_eq!(source.describe(), "640×480 YUYV at 25 Hz");
    }
}

#[test]
fn faults_of_the_driver_end_the_stream_and_the_next_opening_works() {
    let camera = camera_or_skip!("vivid");
    let mut source = camera.open();
    let mut frame = Frame::empty();
    picture(source.as_mut(), &mut frame).unwrap();
    camera.v4l2_ctl("-cinject_fatal_streaming_error=1");
    let (error, after) = failure(source.as_mut(), PATIENCE);
    println!("fatal error noticed after {after:?}: {error}");
    assert_eq!(error.kind(), ErrorKind::Lost);
    drop(source);

    for fault in ["inject_vidioc_reqbufs_error", "inject_vidioc_streamon_error"] {
        camera.v4l2_ctl(&format!("-c{fault}=1"));
        let error = refusal(&camera.settings());
        assert_eq!(error.kind(), ErrorKind::Lost, "{fault}: {error}");
    }
    let mut source = camera.open();
    camera.v4l2_ctl("-cinject_vidioc_qbuf_error=1");
    let measured = measure(source.as_mut(), 20);
    assert!(measured.dropped < 20, "a buffer that was refused once is offered again");
}

#[test]
fn a_camera_is_listed_under_a_name_that_opens() {
    let camera = camera_or_skip!("vivid");
    for device in devices().unwrap() {
        println!(
            "{} {} {} {} {}",
            device.path.display(),
            device.node.display(),
            device.name,
            device.bus,
            device.driver
        );
    }
    let path = camera.device().path;
    let settings = Settings { source: andon::capture::SourceUri::V4l2(path), ..camera.settings() };
    picture(capture::open(&settings).unwrap().as_mut(), &mut Frame::empty()).unwrap();
}
