//! One message of each kind, byte by byte.

use std::{env, fs, path::Path, time::Duration};

use serde_json::json;

use super::*;

/// Half past eight, an hour after the program began.
pub(super) fn reading() -> Reading {
    let instant = Instant::now() + Duration::from_secs(3600);
    Reading { instant, timestamp: "2026-03-01T08:30:00.25Z".parse().unwrap(), synchronized: true }
}

pub(super) fn wire() -> Wire {
    Wire::new("andon", "press-4", false).unwrap()
}

#[track_caller]
pub(super) fn assert_golden(name: &str, message: &Message) {
    let value: Value = serde_json::from_slice(&message.payload).unwrap();
    assert_eq!(value["schema"], SCHEMA);
    let got = format!("{} {:?}\n{}\n", message.topic, message.delivery, std::str::from_utf8(&message.payload).unwrap());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/wire").join(name);
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &got).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(got, expected, "{} differs; UPDATE_GOLDEN=1 rewrites it", path.display());
}

#[test]
fn the_device_says_how_it_is() {
    let now = reading();
    let since = now.instant - Duration::from_millis(1500);
    assert_golden("status-online.txt", &wire().status(&now, &DeviceState::Online, since, &BTreeMap::new()));
    assert_golden("status-stopped.txt", &wire().status(&now, &DeviceState::Stopped, now.instant, &BTreeMap::new()));
    let reasons = vec![
        "camera \"in\": no frame for 2 s; check the cable".to_owned(),
        "model \"scratches\" is not loaded; see the log".to_owned(),
    ];
    let degraded = DeviceState::Degraded(reasons);
    assert_golden(
        "status-degraded.txt",
        &wire().status(&Reading { synchronized: false, ..now }, &degraded, since, &BTreeMap::new()),
    );
    assert_golden("status-will.txt", &wire().will(&now));
}

#[test]
fn a_camera_says_how_it_is() {
    let now = reading();
    let since = now.instant - Duration::from_secs(61);
    assert_golden("camera-live.txt", &wire().camera_status(&now, "in", CameraState::Live, None, since));
    for (state, name, reason) in [
        (CameraState::Stalled, "camera-stalled.txt", "no frame for 2.0 s"),
        (CameraState::Absent, "camera-absent.txt", "/dev/v4l/by-id/usb-cam is not there; plug it in"),
        (CameraState::Blind, "camera-blind.txt", "the picture is black; check the light"),
    ] {
        assert_golden(name, &wire().camera_status(&now, "in", state, Some(reason), since));
    }
}

#[test]
fn a_frame_says_what_was_found() {
    let now = reading();
    let frame = FrameFacts {
        seq: 1207,
        size: Size { width: 1280, height: 720 },
        dropped: 3,
        captured_at: now.instant - Duration::from_micros(61_234),
        taken_at: now.instant - Duration::from_micros(48_004),
    };
    let model = ModelIdentity { name: "boards".into(), sha256: "9f86d081884c7d65".repeat(4) };
    let timing = Timing { decode_ms: 4.1, preprocess_ms: 1.234_56, inference_ms: 39.999, postprocess_ms: 0.004 };
    let found = [json!({"name": "scratch", "class": 2, "confidence": 0.914_21,
        "box": {"x1": 10.5, "y1": 20.25, "x2": 110.0, "y2": 99.75}})];
    let message = wire().detections(&now, "in", &frame, &model, &timing, &found);
    assert_golden("detections.txt", &message);
    let simulated = Wire::new("plant/hall-2", "demo", true).unwrap();
    let message = simulated.detections(&now, "line", &frame, &model, &timing, &[]);
    assert_golden("detections-simulated-none.txt", &message);
    assert_golden("status-simulated.txt", &simulated.status(&now, &DeviceState::Online, now.instant, &BTreeMap::new()));
    assert_golden("status-simulated-will.txt", &simulated.will(&now));
}

fn number(epoch: u64, seq: u64) -> Number {
    Number { epoch, seq }
}

#[test]
fn the_status_says_which_numbers_were_given_away() {
    let now = reading();
    let topics = BTreeMap::from([
        ("andon/press-4/gap".to_owned(), number(1_767_225_600, 1)),
        ("andon/press-4/in/events".to_owned(), number(1_767_225_600, 40_321)),
    ]);
    let message = wire().status(&now, &DeviceState::Online, now.instant, &topics);
    assert_golden("status-numbers.txt", &message);
}

#[test]
fn something_happened_on_the_line() {
    let now = reading();
    let frame = FrameFacts {
        seq: 1207,
        size: Size { width: 1280, height: 720 },
        dropped: 0,
        captured_at: now.instant - Duration::from_micros(61_234),
        taken_at: now.instant - Duration::from_micros(48_004),
    };
    let model = ModelIdentity { name: "boards".into(), sha256: "9f86d081884c7d65".repeat(4) };
    let item = json!({"name": "scratch", "class": 2, "confidence": 0.914_21,
        "box": {"x1": 10.5, "y1": 20.25, "x2": 110.0, "y2": 99.75}});
    for (kind, name) in [
        (EventKind::Appeared, "event-appeared.txt"),
        (EventKind::Changed, "event-changed.txt"),
        (EventKind::Left, "event-left.txt"),
    ] {
        assert_golden(name, &wire().event(&now, "in", &frame, &model, ("1767225600-7", kind), &item));
    }
}

#[test]
fn what_is_lost_is_told() {
    let now = reading();
    let one = Gap { topic: Some("andon/press-4/in/events"), epoch: 1_767_225_600, from: 17, to: 20, reason: "full" };
    assert_golden("gap.txt", &wire().gap(&now, &one));
    let all = Gap { topic: None, epoch: 1_767_225_600, from: 1, to: 900, reason: "damaged" };
    assert_golden("gap-all.txt", &wire().gap(&now, &all));
}

#[test]
fn commands_are_answered() {
    let now = reading();
    let result = json!({"topic": "andon/press-4/in/events", "epoch": 1_767_225_600, "sent": 3, "gone": [[4, 4]]});
    assert_golden("answer-ok.txt", &wire().answer(&now, "resend", Some("a1"), Ok(result.as_object().unwrap())));
    let refused = "the range 9 to 3 is empty; write from and to the other way round";
    assert_golden("answer-refused.txt", &wire().answer(&now, "resend", None, Err(refused)));
}
