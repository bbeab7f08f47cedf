//! The messages of what stations say: alarms, verdicts, counts, totals, and what happens to things.

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    EventKind, FrameFacts, ModelIdentity, Wire,
    body::{FrameBody, ModelBody},
};
use crate::{
    event::{Event, What},
    format,
    publish::{
        Delivery, Message,
        clock::{Reading, Timeline},
    },
    station::{Change, Thing},
    store::Class,
};

/// A frame, and the model that looked at it.
pub type Decided<'a> = (&'a FrameFacts, &'a ModelIdentity);

impl From<Change> for EventKind {
    fn from(change: Change) -> Self {
        match change {
            Change::Appeared => Self::Appeared,
            Change::Changed => Self::Changed,
            Change::Left => Self::Left,
        }
    }
}

#[derive(Serialize)]
struct RuleBody<'a> {
    camera: &'a str,
    #[serde(flatten)]
    decided: Option<DecidedBody<'a>>,
    #[serde(flatten)]
    said: Map<String, Value>,
}

#[derive(Serialize)]
struct DecidedBody<'a> {
    captured_at: String,
    frame: FrameBody,
    model: ModelBody<'a>,
}

impl Wire {
    /// What a rule says, on the topic of its kind; a crossing among the camera's events. `decided` is the frame that it
    /// follows from; `None` where an order, an input or the time made it so.
    pub fn rule(
        &self,
        now: &Reading,
        timeline: &Timeline,
        camera: &str,
        decided: Option<Decided<'_>>,
        event: &Event,
    ) -> Message {
        let said = format::event::event(event, &|moment| timeline.rfc3339(now, moment));
        let body = RuleBody { camera, decided: decided.map(|decided| decided_body(now, decided)), said };
        self.message(self.rule_topic(camera, &event.rule, &event.what), delivery(&event.what), now, body)
    }

    /// What happened to a thing.
    pub fn thing(&self, now: &Reading, camera: &str, (frame, model): Decided<'_>, thing: &Thing) -> Message {
        let item = format::json::detection(&thing.detection);
        self.event(now, camera, frame, model, (&thing.id, thing.change.into()), &item)
    }

    /// The picture of an event, as the bytes of a JPEG file.
    pub fn snapshot(&self, camera: &str, event: &str, jpeg: Bytes) -> Message {
        Message {
            topic: self.camera_topic(camera, &format::event::snapshot_leaf(event)),
            payload: jpeg,
            delivery: Delivery::Kept { class: Class::Last, retain: false, numbered: false },
        }
    }

    fn rule_topic(&self, camera: &str, rule: &str, what: &What) -> String {
        match what {
            What::Crossed(_) => self.camera_topic(camera, "events"),
            _ => self.camera_topic(camera, &format!("{}/{rule}", format::event::kind(what))),
        }
    }
}

fn decided_body<'a>(now: &Reading, (frame, model): Decided<'a>) -> DecidedBody<'a> {
    DecidedBody { captured_at: now.rfc3339(frame.captured_at), frame: frame.body(), model: model.body() }
}

fn delivery(what: &What) -> Delivery {
    let (class, retain) = match what {
        What::Alarm(_) => (Class::First, true),
        What::Verdict(_) => (Class::First, false),
        What::Count(_) | What::Total(_) => (Class::Middle, true),
        What::Crossed(_) => (Class::Middle, false),
    };
    Delivery::Kept { class, retain, numbered: true }
}

#[cfg(test)]
mod tests;
