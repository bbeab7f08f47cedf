//! What a station hears, as lines of JSON.
//!
//! Detections are kept as far as rules look at them: class, confidence and box. Numbers are written so that they are read as
//! exactly the same.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::FORMAT;
use crate::{
    detection::{Detection, Geometry},
    geometry::{BoxPx, Size},
    moment::Moment,
    rules::{Input, Now, Order, Refusal, Sight},
    station::{Look, Said, Station},
};

/// The first line of a recording.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Head {
    /// [`FORMAT`].
    pub(super) format: String,
    /// The camera's id.
    pub(super) camera: String,
    /// What names of events begin with; see `Station::new`.
    pub(super) born: Moment,
}

impl Head {
    pub(super) fn new(camera: &str, born: Moment) -> Self {
        Self { format: FORMAT.to_owned(), camera: camera.to_owned(), born }
    }
}

/// Something that a station heard, and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// When.
    pub now: Now,
    /// What.
    pub heard: Heard,
}

/// Something that a station hears.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    /// A frame was looked at, and this found in it.
    Frame(Look, Vec<Detection>),
    /// How the camera is.
    Camera(Sight),
    /// An edge of this input.
    Edge(String),
    /// The encoder stands here.
    Encoder(u64),
    /// Time passes.
    Tick,
    /// Somebody asks this of a rule.
    Order(String, Order),
}

/// A line that is none of a recording.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(String);

impl Line {
    /// The line as text, without its end.
    pub fn to_text(&self) -> String {
        let written = Written::of(self);
        serde_json::to_string(&written).expect("keys are strings and no part refuses to be written")
    }

    /// Reads what [`Line::to_text`] writes.
    ///
    /// # Errors
    /// Where it is something else, or a number that no frame has.
    pub fn from_text(text: &str) -> Result<Self, Malformed> {
        let written: Written = serde_json::from_str(text).map_err(|error| Malformed(error.to_string()))?;
        written.read()
    }

    /// Lets a station hear it. What it answers to an order is only of interest to whoever asked.
    pub fn tell_to(self, station: &mut Station, say: &mut dyn FnMut(Said)) {
        let now = self.now;
        match self.heard {
            Heard::Frame(look, mut found) => station.look(now, look, &mut found, say),
            Heard::Camera(sight) => station.take(now, Input::Camera(&sight), say),
            Heard::Edge(input) => station.take(now, Input::Edge { input: &input }, say),
            Heard::Encoder(ticks) => station.take(now, Input::Encoder { ticks }, say),
            Heard::Tick => station.take(now, Input::Tick, say),
            Heard::Order(rule, order) => {
                let _answer: Result<(), Refusal> = station.order(now, &rule, &order, say);
            }
        }
    }
}

/// A line's shape in the file.
#[derive(Serialize, Deserialize)]
struct Written {
    now: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    local: Option<i64>,
    #[serde(flatten)]
    heard: WrittenHeard,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum WrittenHeard {
    Frame(WrittenFrame),
    Camera { sees: bool, reason: String },
    Edge(String),
    Encoder(u64),
    Tick(bool),
    Order(WrittenOrder),
}

#[derive(Serialize, Deserialize)]
struct WrittenFrame {
    seq: u64,
    at: i64,
    size: [u32; 2],
    found: Vec<WrittenDetection>,
}

/// Class, name, confidence, box.
#[derive(Serialize, Deserialize)]
struct WrittenDetection(usize, String, f32, Option<[f32; 4]>);

#[derive(Serialize, Deserialize)]
struct WrittenOrder {
    rule: String,
    #[serde(flatten)]
    order: WrittenVerb,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "verb")]
enum WrittenVerb {
    Ack,
    Shelve { micros: u64 },
    Reset,
    Open { external_id: Option<String>, expected: Option<Vec<(String, i64)>> },
    Close,
    Void { name: String, quantity: i64, note: Option<String> },
    Correct { name: String, quantity: i64, note: Option<String> },
}

impl Written {
    fn of(line: &Line) -> Self {
        let heard = match &line.heard {
            Heard::Frame(look, found) => WrittenHeard::Frame(WrittenFrame {
                seq: look.seq,
                at: look.captured_at.micros(),
                size: [look.size.width, look.size.height],
                found: found.iter().map(WrittenDetection::of).collect(),
            }),
            Heard::Camera(Sight { sees, reason }) => WrittenHeard::Camera { sees: *sees, reason: reason.clone() },
            Heard::Edge(input) => WrittenHeard::Edge(input.clone()),
            Heard::Encoder(ticks) => WrittenHeard::Encoder(*ticks),
            Heard::Tick => WrittenHeard::Tick(true),
            Heard::Order(rule, order) => {
                WrittenHeard::Order(WrittenOrder { rule: rule.clone(), order: WrittenVerb::of(order.clone()) })
            }
        };
        Self { now: line.now.moment.micros(), local: line.now.local_micros, heard }
    }

    fn read(self) -> Result<Line, Malformed> {
        let heard = match self.heard {
            WrittenHeard::Frame(WrittenFrame { seq, at, size: [width, height], found }) => {
                let look = Look { seq, captured_at: Moment::from_micros(at), size: Size { width, height } };
                let mut names: Vec<Arc<str>> = Vec::new();
                let read = found.into_iter().map(|detection| detection.read(&mut names));
                Heard::Frame(look, read.collect::<Result<_, _>>()?)
            }
            WrittenHeard::Camera { sees, reason } => Heard::Camera(Sight { sees, reason }),
            WrittenHeard::Edge(input) => Heard::Edge(input),
            WrittenHeard::Encoder(ticks) => Heard::Encoder(ticks),
            WrittenHeard::Tick(_) => Heard::Tick,
            WrittenHeard::Order(WrittenOrder { rule, order }) => Heard::Order(rule, order.read()),
        };
        Ok(Line { now: Now { moment: Moment::from_micros(self.now), local_micros: self.local }, heard })
    }
}

impl WrittenDetection {
    fn of(detection: &Detection) -> Self {
        let bounds = detection.bounds().map(|BoxPx { x1, y1, x2, y2 }| [x1, y1, x2, y2]);
        Self(detection.class, detection.name.to_string(), detection.confidence, bounds)
    }

    fn read(self, names: &mut Vec<Arc<str>>) -> Result<Detection, Malformed> {
        let Self(class, name, confidence, bounds) = self;
        if !(0.0..=1.0).contains(&confidence) {
            return Err(Malformed(format!("a confidence of {confidence} is none; it lies between 0 and 1")));
        }
        let name = match names.iter().find(|known| ***known == *name) {
            Some(known) => Arc::clone(known),
            None => {
                names.push(name.into());
                Arc::clone(names.last().expect("it was pushed in the line before"))
            }
        };
        let geometry = bounds.map_or(Geometry::Image, |[x1, y1, x2, y2]| Geometry::Box(BoxPx { x1, y1, x2, y2 }));
        Ok(Detection { class, name, confidence, geometry, track_id: None })
    }
}

impl WrittenVerb {
    fn of(order: Order) -> Self {
        match order {
            Order::Acknowledge => Self::Ack,
            Order::Shelve(span) => Self::Shelve { micros: u64::try_from(span.as_micros()).unwrap_or(u64::MAX) },
            Order::Reset => Self::Reset,
            Order::Open { external_id, expected } => Self::Open { external_id, expected },
            Order::Close => Self::Close,
            Order::Void { name, quantity, note } => Self::Void { name, quantity, note },
            Order::Correct { name, quantity, note } => Self::Correct { name, quantity, note },
        }
    }

    fn read(self) -> Order {
        match self {
            Self::Ack => Order::Acknowledge,
            Self::Shelve { micros } => Order::Shelve(Duration::from_micros(micros)),
            Self::Reset => Order::Reset,
            Self::Open { external_id, expected } => Order::Open { external_id, expected },
            Self::Close => Order::Close,
            Self::Void { name, quantity, note } => Order::Void { name, quantity, note },
            Self::Correct { name, quantity, note } => Order::Correct { name, quantity, note },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Rng;

    fn round_trip(heard: Heard) {
        let line =
            Line { now: Now { moment: Moment::from_micros(1_700_000_000_123_456), local_micros: Some(-3) }, heard };
        assert_eq!(Line::from_text(&line.to_text()), Ok(line));
    }

    #[test]
    fn what_was_heard_is_read_as_it_was() {
        let look =
            Look { seq: u64::MAX, captured_at: Moment::from_micros(i64::MIN), size: Size { width: 640, height: 480 } };
        let mut random = Rng::new(3, 9);
        let mut number = || f32::from_bits(random.below(i32::MAX) as u32 & 0x4fff_ffff);
        let mut found = Vec::new();
        for class in 0..500 {
            let bounds = BoxPx { x1: number(), y1: number(), x2: number(), y2: -number() };
            let confidence = number().fract();
            let geometry = if class == 0 { Geometry::Image } else { Geometry::Box(bounds) };
            let name = ["a", "b \"c\""][class % 2].into();
            found.push(Detection { class, name, confidence, geometry, track_id: None });
        }
        round_trip(Heard::Frame(look, found));
        round_trip(Heard::Camera(Sight { sees: false, reason: "it is dark".into() }));
        round_trip(Heard::Edge("gate".into()));
        round_trip(Heard::Encoder(7));
        round_trip(Heard::Tick);
        let text = || Some("x".to_owned());
        for order in [
            Order::Acknowledge,
            Order::Shelve(Duration::from_millis(1500)),
            Order::Reset,
            Order::Open { external_id: text(), expected: Some(vec![("a".into(), 2)]) },
            Order::Open { external_id: None, expected: None },
            Order::Close,
            Order::Void { name: "a".into(), quantity: 1, note: None },
            Order::Correct { name: "a".into(), quantity: 0, note: text() },
        ] {
            round_trip(Heard::Order("basket".into(), order));
        }
    }

    #[test]
    fn what_is_no_line_is_refused() {
        for text in [
            "",
            "{}",
            "{\"now\":1}",
            "{\"now\":1,\"song\":2}",
            "{\"now\":1,\"frame\":{\"seq\":1,\"at\":2,\"size\":[1,2],\"found\":[[0,\"a\",1.5,null]]}}",
            "{\"now\":1,\"frame\":{\"seq\":-1,\"at\":2,\"size\":[1,2],\"found\":[]}}",
        ] {
            assert!(Line::from_text(text).is_err(), "{text}");
        }
    }
}
