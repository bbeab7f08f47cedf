//! The shapes of the messages, field by field.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

use super::Number;

/// What all messages carry but the will, which the device does not publish itself.
#[derive(Serialize)]
pub(super) struct Envelope<'a, B> {
    pub(super) schema: &'a str,
    pub(super) device: &'a str,
    pub(super) published_at: String,
    pub(super) clock: &'a str,
    #[serde(skip_serializing_if = "is_false")]
    pub(super) simulated: bool,
    #[serde(flatten)]
    pub(super) body: B,
}

#[derive(Serialize)]
pub(super) struct StatusBody<'a> {
    pub(super) state: &'a str,
    pub(super) reasons: &'a [String],
    pub(super) since: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) topics: &'a BTreeMap<String, Number>,
}

impl Serialize for Number {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { epoch, seq } = *self;
        NumberBody { epoch, seq }.serialize(serializer)
    }
}

#[derive(Serialize)]
struct NumberBody {
    epoch: u64,
    seq: u64,
}

#[derive(Serialize)]
pub(super) struct WillBody<'a> {
    pub(super) schema: &'a str,
    pub(super) device: &'a str,
    #[serde(skip_serializing_if = "is_false")]
    pub(super) simulated: bool,
    pub(super) state: &'a str,
    pub(super) connected_at: String,
}

#[derive(Serialize)]
pub(super) struct CameraStatusBody<'a> {
    pub(super) camera: &'a str,
    pub(super) state: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<&'a str>,
    pub(super) since: String,
}

#[derive(Serialize)]
pub(super) struct DetectionsBody<'a> {
    pub(super) camera: &'a str,
    pub(super) captured_at: String,
    pub(super) frame: FrameBody,
    pub(super) model: ModelBody<'a>,
    pub(super) latency_ms: LatencyBody,
    pub(super) detections: &'a [Value],
}

#[derive(Serialize)]
pub(super) struct EventBody<'a> {
    pub(super) camera: &'a str,
    pub(super) captured_at: String,
    pub(super) frame: FrameBody,
    pub(super) model: ModelBody<'a>,
    pub(super) event: HappenedBody<'a>,
}

#[derive(Serialize)]
pub(super) struct HappenedBody<'a> {
    pub(super) id: &'a str,
    pub(super) kind: &'a str,
    #[serde(flatten)]
    pub(super) item: &'a Value,
}

#[derive(Serialize)]
pub(super) struct GapBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) topic: Option<&'a str>,
    // Not `epoch`, which is the one of the message itself.
    pub(super) lost_epoch: u64,
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) reason: &'a str,
}

#[derive(Serialize)]
pub(super) struct AnswerBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<&'a str>,
    pub(super) ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<&'a str>,
    #[serde(flatten)]
    pub(super) result: Option<&'a Map<String, Value>>,
}

#[derive(Serialize)]
pub(super) struct FrameBody {
    pub(super) seq: u64,
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) dropped: u64,
}

#[derive(Serialize)]
pub(super) struct ModelBody<'a> {
    pub(super) name: &'a str,
    pub(super) sha256: &'a str,
}

#[derive(Serialize)]
pub(super) struct LatencyBody {
    pub(super) capture: f64,
    pub(super) decode: f64,
    pub(super) preprocess: f64,
    pub(super) inference: f64,
    pub(super) postprocess: f64,
    pub(super) total: f64,
}

fn is_false(value: &bool) -> bool {
    !value
}
