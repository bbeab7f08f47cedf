//! The messages: topics and JSON envelopes of schema `andon/1`.
//!
//! Everything comes in as plain data and moments, the clocks as a [`Reading`], so that the same input gives the same
//! bytes; `tests/golden/wire/` holds one of each. What a detection looks like belongs to `format`.

use std::time::Instant;

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;

use super::{Delivery, Message, clock::Reading};
use crate::{detection::Timing, geometry::Size};

/// The name and version of the shape of all messages. Additions do not change it.
pub const SCHEMA: &str = "andon/1";

/// Why a name cannot stand in a topic.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// Other characters than the ones that are safe in topics, file names and URLs alike.
    #[error("the id {0:?} is not usable; write it with a-z, 0-9, _ and - only")]
    Id(String),
    /// A word that stands at the same place of a topic.
    #[error("the id {0:?} is reserved; choose another")]
    Reserved(String),
    /// A prefix that makes no topic.
    #[error("the prefix {0:?} is not usable; write levels parted by single /, without +, # and $")]
    Prefix(String),
}

/// Checks the id of a device, camera, model or rule.
///
/// # Errors
/// Where it has other characters than `a-z`, `0-9`, `_` and `-`, none, or is reserved.
pub fn check_id(id: &str) -> Result<(), InvalidName> {
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
    if id.is_empty() || !id.bytes().all(allowed) {
        Err(InvalidName::Id(id.into()))
    } else if matches!(id, "cmd" | "status") {
        Err(InvalidName::Reserved(id.into()))
    } else {
        Ok(())
    }
}

/// Checks what topics begin with.
///
/// # Errors
/// Where it makes no topic: it is empty, has empty levels, wildcards, or begins with `$`.
pub fn check_prefix(prefix: &str) -> Result<(), InvalidName> {
    if prefix.starts_with('$') || prefix.contains(['+', '#', '\0']) || prefix.split('/').any(str::is_empty) {
        return Err(InvalidName::Prefix(prefix.into()));
    }
    Ok(())
}

/// Who speaks: makes the messages of one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wire {
    prefix: String,
    device: String,
    simulated: bool,
}

/// How the device is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceState {
    /// All is well.
    Online,
    /// Something is not, each with a sentence that says what to do.
    Degraded(Vec<String>),
    /// It was stopped on purpose.
    Stopped,
}

impl DeviceState {
    /// The word for it in messages, and wherever else it is told.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Degraded(_) => "degraded",
            Self::Stopped => "stopped",
        }
    }
}

/// How a camera is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CameraState {
    /// Frames come.
    Live,
    /// It is there, but no frames come.
    Stalled,
    /// It is not there.
    Absent,
    /// Frames come, but nothing can be seen in them.
    Blind,
}

impl CameraState {
    /// The word for it in messages, and wherever else it is told.
    pub fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Stalled => "stalled",
            Self::Absent => "absent",
            Self::Blind => "blind",
        }
    }
}

/// Which frame a message is about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FrameFacts {
    /// The source's number.
    pub seq: u64,
    /// Size in pixels.
    pub size: Size,
    /// Frames lost between the one that was looked at before and this one.
    pub dropped: u64,
    /// When it was taken.
    pub captured_at: Instant,
    /// When the detector began with it.
    pub taken_at: Instant,
}

/// Which model looked at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelIdentity {
    /// Its name.
    pub name: String,
    /// Digest of its file, in hexadecimal.
    pub sha256: String,
}

impl Wire {
    /// Messages of a device; `simulated` says that what it sees is not real.
    ///
    /// # Errors
    /// Where the prefix or the id makes no topic.
    pub fn new(prefix: &str, device: &str, simulated: bool) -> Result<Self, InvalidName> {
        check_id(device)?;
        check_prefix(prefix)?;
        Ok(Self { prefix: prefix.into(), device: device.into(), simulated })
    }

    /// The device's status: to be published before all else, and whenever it changes.
    pub fn status(&self, now: &Reading, state: &DeviceState, since: Instant) -> Message {
        let reasons = match state {
            DeviceState::Degraded(reasons) => &reasons[..],
            DeviceState::Online | DeviceState::Stopped => &[],
        };
        let body = StatusBody { state: state.name(), reasons, since: now.rfc3339(since) };
        self.message(self.status_topic(), Delivery::State, now, body)
    }

    /// What the broker says for a device that went without a goodbye; made when the connection is.
    pub fn will(&self, now: &Reading) -> Message {
        let body = WillBody {
            schema: SCHEMA,
            device: &self.device,
            simulated: self.simulated,
            state: "offline",
            connected_at: now.rfc3339(now.instant),
        };
        Message { topic: self.status_topic(), payload: encode(&body), delivery: Delivery::State }
    }

    /// A camera's status.
    pub fn camera_status(
        &self,
        now: &Reading,
        camera: &str,
        state: CameraState,
        reason: Option<&str>,
        since: Instant,
    ) -> Message {
        let body = CameraStatusBody { camera, state: state.name(), reason, since: now.rfc3339(since) };
        self.message(self.camera_topic(camera, "status"), Delivery::State, now, body)
    }

    /// What was found in a frame, each detection as `format` writes it.
    pub fn detections(
        &self,
        now: &Reading,
        camera: &str,
        frame: &FrameFacts,
        model: &ModelIdentity,
        timing: &Timing,
        detections: &[Value],
    ) -> Message {
        let body = DetectionsBody {
            camera,
            captured_at: now.rfc3339(frame.captured_at),
            frame: FrameBody {
                seq: frame.seq,
                width: frame.size.width,
                height: frame.size.height,
                dropped: frame.dropped,
            },
            model: ModelBody { name: &model.name, sha256: &model.sha256 },
            latency_ms: LatencyBody {
                capture: milliseconds(frame.captured_at, frame.taken_at),
                decode: hundredths(timing.decode_ms),
                preprocess: hundredths(timing.preprocess_ms),
                inference: hundredths(timing.inference_ms),
                postprocess: hundredths(timing.postprocess_ms),
                total: milliseconds(frame.captured_at, now.instant),
            },
            detections,
        };
        self.message(self.camera_topic(camera, "detections"), Delivery::Live, now, body)
    }

    fn status_topic(&self) -> String {
        format!("{}/{}/status", self.prefix, self.device)
    }

    fn camera_topic(&self, camera: &str, leaf: &str) -> String {
        format!("{}/{}/{camera}/{leaf}", self.prefix, self.device)
    }

    fn message(&self, topic: String, delivery: Delivery, now: &Reading, body: impl Serialize) -> Message {
        let payload = encode(&Envelope {
            schema: SCHEMA,
            device: &self.device,
            published_at: now.rfc3339(now.instant),
            clock: if now.synchronized { "synchronized" } else { "unsynchronized" },
            simulated: self.simulated,
            body,
        });
        Message { topic, payload, delivery }
    }
}

/// What all messages carry but the will, which the device does not publish itself.
#[derive(Serialize)]
struct Envelope<'a, B> {
    schema: &'a str,
    device: &'a str,
    published_at: String,
    clock: &'a str,
    #[serde(skip_serializing_if = "is_false")]
    simulated: bool,
    #[serde(flatten)]
    body: B,
}

#[derive(Serialize)]
struct StatusBody<'a> {
    state: &'a str,
    reasons: &'a [String],
    since: String,
}

#[derive(Serialize)]
struct WillBody<'a> {
    schema: &'a str,
    device: &'a str,
    #[serde(skip_serializing_if = "is_false")]
    simulated: bool,
    state: &'a str,
    connected_at: String,
}

#[derive(Serialize)]
struct CameraStatusBody<'a> {
    camera: &'a str,
    state: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    since: String,
}

#[derive(Serialize)]
struct DetectionsBody<'a> {
    camera: &'a str,
    captured_at: String,
    frame: FrameBody,
    model: ModelBody<'a>,
    latency_ms: LatencyBody,
    detections: &'a [Value],
}

#[derive(Serialize)]
struct FrameBody {
    seq: u64,
    width: u32,
    height: u32,
    dropped: u64,
}

#[derive(Serialize)]
struct ModelBody<'a> {
    name: &'a str,
    sha256: &'a str,
}

#[derive(Serialize)]
struct LatencyBody {
    capture: f64,
    decode: f64,
    preprocess: f64,
    inference: f64,
    postprocess: f64,
    total: f64,
}

fn encode(body: &impl Serialize) -> Bytes {
    serde_json::to_vec(body).expect("keys are strings and no part refuses to be written").into()
}

/// Two decimals are more than a clock knows.
fn hundredths(milliseconds: f32) -> f64 {
    (f64::from(milliseconds) * 100.0).round() / 100.0
}

fn milliseconds(from: Instant, to: Instant) -> f64 {
    hundredths(to.saturating_duration_since(from).as_secs_f32() * 1000.0)
}

fn is_false(value: &bool) -> bool {
    !value
}

#[cfg(test)]
mod tests {
    use std::{env, fs, path::Path, time::Duration};

    use serde_json::json;

    use super::*;

    /// Half past eight, an hour after the program began.
    fn reading() -> Reading {
        let instant = Instant::now() + Duration::from_secs(3600);
        Reading { instant, timestamp: "2026-03-01T08:30:00.25Z".parse().unwrap(), synchronized: true }
    }

    fn wire() -> Wire {
        Wire::new("andon", "press-4", false).unwrap()
    }

    #[track_caller]
    fn assert_golden(name: &str, message: &Message) {
        let value: Value = serde_json::from_slice(&message.payload).unwrap();
        assert_eq!(value["schema"], SCHEMA);
        let got =
            format!("{} {:?}\n{}\n", message.topic, message.delivery, std::str::from_utf8(&message.payload).unwrap());
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
        assert_golden("status-online.txt", &wire().status(&now, &DeviceState::Online, since));
        assert_golden("status-stopped.txt", &wire().status(&now, &DeviceState::Stopped, now.instant));
        let reasons = vec![
            "camera \"in\": no frame for 2 s; check the cable".to_owned(),
            "model \"scratches\" is not loaded; see the log".to_owned(),
        ];
        let degraded = DeviceState::Degraded(reasons);
        assert_golden("status-degraded.txt", &wire().status(&Reading { synchronized: false, ..now }, &degraded, since));
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
        assert_golden("status-simulated.txt", &simulated.status(&now, &DeviceState::Online, now.instant));
        assert_golden("status-simulated-will.txt", &simulated.will(&now));
    }

    #[test]
    fn names_that_make_no_topic_are_refused() {
        for id in ["in", "cam_2", "a-b", "0", "gap"] {
            assert_eq!(check_id(id), Ok(()), "{id}");
        }
        for id in ["", "In", "a b", "a/b", "+", "#", "kamera-ü", "a\0"] {
            assert_eq!(check_id(id), Err(InvalidName::Id(id.into())), "{id}");
        }
        for id in ["cmd", "status"] {
            assert_eq!(check_id(id), Err(InvalidName::Reserved(id.into())), "{id}");
        }
        for prefix in ["", "/a", "a/", "a//b", "a/+", "#", "$SYS/a"] {
            assert_eq!(Wire::new(prefix, "box", false), Err(InvalidName::Prefix(prefix.into())), "{prefix}");
        }
        assert!(Wire::new("plant/hall 2/andon", "box", false).is_ok());
    }
}
