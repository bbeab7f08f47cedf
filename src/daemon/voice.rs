//! How what stations say reaches the plant, and what is known of what they said last.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{photographer::Photographer, stations::Hearer};
use crate::{
    event::What,
    format,
    publish::{
        Delivery, Message,
        clock::{Reading, Timeline},
        mqtt::{Invalid, Publisher},
        wire::Wire,
    },
    rules::Now,
    store::Class,
};

/// How what stations say reaches the plant.
pub(super) struct Voice {
    /// Makes the messages.
    pub(super) wire: Wire,
    /// Takes them.
    pub(super) publisher: Publisher,
    /// Ties moments to instants.
    pub(super) timeline: Timeline,
    /// Makes pictures.
    pub(super) photographer: Arc<Photographer>,
    /// Hear along.
    pub(super) hearers: Vec<Arc<dyn Hearer>>,
}

impl Voice {
    pub(super) fn now(&self, reading: &Reading) -> Now {
        Now { moment: self.timeline.moment(reading.instant), local_micros: reading.local_micros() }
    }
}

/// What was said last of each rule that has a state. What was said is not said again: the outbox tells it to every broker.
pub(super) type Spoken = BTreeMap<String, Word>;

/// The state of a rule as it was said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Word {
    pub(super) topic: String,
    /// Tells states apart that read differently.
    digest: u32,
}

impl Word {
    /// That a rule stands like this was said on this topic. The wall clock makes no difference.
    pub(super) fn new(topic: &str, what: &What) -> Self {
        let state = Value::Object(format::event::state(what, &|moment| moment.micros().to_string()));
        Self { topic: topic.to_owned(), digest: crc32fast::hash(state.to_string().as_bytes()) }
    }

    /// What makes a broker keep nothing under its topic any more. It goes the way of what was said there before.
    pub(super) fn taken_back(&self) -> Message {
        let class = if self.topic.rsplit('/').nth(1) == Some("alarm") { Class::First } else { Class::Middle };
        let delivery = Delivery::Kept { class, retain: true, numbered: false };
        Message { topic: self.topic.clone(), payload: Bytes::new(), delivery }
    }
}

/// Whether a broker keeps it.
pub(super) fn is_state(what: &What) -> bool {
    matches!(what, What::Alarm(_) | What::Count(_) | What::Total(_))
}

/// Says that what the rules of a camera know is not noted, and why.
pub(super) fn unnoted(camera: &str, error: &Invalid) -> String {
    format!(
        "camera \"{camera}\": what its rules know is lost with the process, since {error}; give it fewer rules that follow \
         things, or raise [outbox] max_bytes"
    )
}

/// Where a post's memory is noted.
pub(super) fn note_key(camera: &str) -> String {
    format!("station/{camera}")
}
