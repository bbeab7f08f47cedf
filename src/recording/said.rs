//! What a station says, as a line of JSON: the words of its messages, without what only the moment of publishing knows.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::{
    format,
    moment::Moment,
    station::{Change, Said, Thing},
};

/// The line, without its end.
pub fn line(camera: &str, said: &Said) -> String {
    let mut line = match said {
        Said::Event(event) => {
            let mut line = format::event::event(event, &rfc3339);
            if let Some(seq) = event.frame {
                line.insert("frame".to_owned(), json!({ "seq": seq }));
            }
            line
        }
        Said::Thing(thing) => happened(thing),
    };
    line.insert("camera".to_owned(), camera.into());
    Value::Object(line).to_string()
}

fn happened(Thing { id, change, detection }: &Thing) -> Map<String, Value> {
    let kind = match change {
        Change::Appeared => "appeared",
        Change::Changed => "changed",
        Change::Left => "left",
    };
    let event = json!({"id": id, "kind": kind, "item": format::json::detection(detection)});
    Map::from_iter([("event".to_owned(), event)])
}

/// A moment as the box's clock stood when the recording began.
fn rfc3339(moment: Moment) -> String {
    format!("{:.6}", Timestamp::from_microsecond(moment.micros()).unwrap_or(Timestamp::UNIX_EPOCH))
}
