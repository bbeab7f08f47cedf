//! The messages: topics and JSON envelopes of schema `andon/1`.
//!
//! Everything comes in as plain data and moments, the clocks as a [`Reading`], so that the same input gives the same
//! bytes; `tests/golden/wire/` holds one of each. `wire/body.rs` has their fields, `wire/name.rs` what a topic may be made of,
//! `wire/rule.rs` the messages of rules. What a detection or an event looks like belongs to `format`.

mod body;
mod name;
mod rule;

use std::{collections::BTreeMap, time::Instant};

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value};

use self::body::{
    AnswerBody, CameraStatusBody, DetectionsBody, Envelope, EventBody, FrameBody, GapBody, HappenedBody, LatencyBody,
    ModelBody, StatusBody, WillBody,
};
pub use self::{
    name::{InvalidName, check_id, check_prefix},
    rule::Decided,
};
use super::{Delivery, Message, clock::Reading};
use crate::{detection::Timing, geometry::Size, store::Class};

/// The name and version of the shape of all messages. Additions do not change it.
pub const SCHEMA: &str = "andon/1";

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

/// The place of a message in the numbering of its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number {
    /// Which numbering.
    pub epoch: u64,
    /// From 1, without a hole.
    pub seq: u64,
}

/// What happened to something on the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// It was not there before.
    Appeared,
    /// It is not what it was.
    Changed,
    /// It is not there any more.
    Left,
}

impl EventKind {
    /// The word for it in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Appeared => "appeared",
            Self::Changed => "changed",
            Self::Left => "left",
        }
    }
}

/// Messages that are lost for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap<'a> {
    /// Whose numbers; `None` for all of the epoch.
    pub topic: Option<&'a str>,
    /// Which numbering.
    pub epoch: u64,
    /// The first number that is lost,
    pub from: u64,
    /// and the last.
    pub to: u64,
    /// Why, in a word.
    pub reason: &'a str,
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

    /// What topics begin with.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The device's id.
    pub fn device(&self) -> &str {
        &self.device
    }

    /// The device's status: to be published before all else, and whenever it changes. `topics` are the last numbers given
    /// away, so that a subscriber knows of messages that are lost behind the last it saw.
    pub fn status(
        &self,
        now: &Reading,
        state: &DeviceState,
        since: Instant,
        topics: &BTreeMap<String, Number>,
    ) -> Message {
        let reasons = match state {
            DeviceState::Degraded(reasons) => &reasons[..],
            DeviceState::Online | DeviceState::Stopped => &[],
        };
        let body = StatusBody { state: state.name(), reasons, since: now.rfc3339(since), topics };
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
            frame: frame.body(),
            model: model.body(),
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

    /// Something happened to one item; `item` is its detection as `format` writes it, `id` the event's own name.
    pub fn event(
        &self,
        now: &Reading,
        camera: &str,
        frame: &FrameFacts,
        model: &ModelIdentity,
        (id, kind): (&str, EventKind),
        item: &Value,
    ) -> Message {
        let body = EventBody {
            camera,
            captured_at: now.rfc3339(frame.captured_at),
            frame: frame.body(),
            model: model.body(),
            event: HappenedBody { id, kind: kind.name(), item },
        };
        let delivery = Delivery::Kept { class: Class::Middle, retain: false, numbered: true };
        self.message(self.camera_topic(camera, "events"), delivery, now, body)
    }

    /// Messages are lost, and nobody shall look for them.
    pub fn gap(&self, now: &Reading, gap: &Gap<'_>) -> Message {
        let Gap { topic, epoch, from, to, reason } = *gap;
        let body = GapBody { topic, lost_epoch: epoch, from, to, reason };
        let delivery = Delivery::Kept { class: Class::First, retain: false, numbered: true };
        self.message(format!("{}/{}/gap", self.prefix, self.device), delivery, now, body)
    }

    /// Where a command is taken.
    pub fn command_topic(&self, verb: &str) -> String {
        format!("{}/{}/cmd/{verb}", self.prefix, self.device)
    }

    /// What became of a command, or why it was not done; `id` is the asker's own name for it.
    pub fn answer(
        &self,
        now: &Reading,
        verb: &str,
        id: Option<&str>,
        outcome: Result<&Map<String, Value>, &str>,
    ) -> Message {
        let body = AnswerBody { id, ok: outcome.is_ok(), error: outcome.err(), result: outcome.ok() };
        self.message(format!("{}/result", self.command_topic(verb)), Delivery::Answer, now, body)
    }

    fn status_topic(&self) -> String {
        format!("{}/{}/status", self.prefix, self.device)
    }

    /// Where something of a camera is told.
    pub fn camera_topic(&self, camera: &str, leaf: &str) -> String {
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

impl FrameFacts {
    fn body(&self) -> FrameBody {
        FrameBody { seq: self.seq, width: self.size.width, height: self.size.height, dropped: self.dropped }
    }
}

impl ModelIdentity {
    fn body(&self) -> ModelBody<'_> {
        ModelBody { name: &self.name, sha256: &self.sha256 }
    }
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

#[cfg(test)]
mod tests;
