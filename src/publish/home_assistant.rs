//! What Home Assistant has to be told so that a box appears there by itself: one retained message for each entity, in the form
//! of its MQTT discovery. Pure: settings in, messages out; the daemon publishes them, and again when Home Assistant says that
//! it is [back](birth_topic).
//!
//! - the box: whether it is there, and whether something is not well with it;
//! - each camera: whether frames come, the last picture of an event, a button for a picture where that command is allowed;
//! - each alarm: whether there is a problem, its state, a button to acknowledge where that command is allowed;
//! - each verdict: an event; each count: what went in since ever, and what is there in this session; each total: the sum.
//!
//! The templates read what `wire` writes, and only keys that are always there. They name keys in brackets, since Jinja takes a
//! dot before the name of a method (`items`) for the method.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{Delivery, Message, command::Verb, wire::Wire};
use crate::{
    event::{AlarmState, Judgement},
    rules::{self, Kind},
};

/// What Home Assistant listens to unless it is told otherwise.
pub const PREFIX: &str = "homeassistant";
/// What Home Assistant says on its [`birth_topic`] when it has started.
pub const BIRTH: &[u8] = b"online";

/// What a box has to show.
#[derive(Clone, Copy, Debug)]
pub struct Home<'a> {
    /// What the discovery topics begin with.
    pub prefix: &'a str,
    /// The box.
    pub wire: &'a Wire,
    /// The version of this program.
    pub version: &'a str,
    /// Its cameras.
    pub cameras: &'a [Camera<'a>],
    /// What may be asked of it.
    pub commands: &'a [Verb],
}

/// A camera and what it has to show.
#[derive(Clone, Copy, Debug)]
pub struct Camera<'a> {
    /// Its id.
    pub id: &'a str,
    /// Its rules.
    pub rules: &'a [rules::Settings],
}

/// Where Home Assistant says that it has started, and so knows of nothing that the broker has not kept.
pub fn birth_topic(prefix: &str) -> String {
    format!("{prefix}/status")
}

/// All entities of a box, one retained message for each, in the order of the settings.
pub fn messages(home: &Home<'_>) -> Vec<Message> {
    let mut entities = vec![home.connection(), home.trouble()];
    for camera in home.cameras {
        entities.extend([home.camera(camera.id), home.picture(camera.id)]);
        entities.extend(home.picture_button(camera.id));
        for rules::Settings { id, kind } in camera.rules {
            match kind {
                Kind::Alarm(_) | Kind::Blind(_) => {
                    entities.extend([home.alarm(camera.id, id), home.alarm_state(camera.id, id)]);
                    entities.extend(home.acknowledge_button(camera.id, id));
                }
                Kind::Verdict(_) => entities.push(home.verdict(camera.id, id)),
                Kind::Count(_) => entities.extend([home.counted(camera.id, id), home.present(camera.id, id)]),
                Kind::Total(total) => entities.push(home.sum(camera.id, id, &total.currency, total.decimals)),
            }
        }
    }
    entities.into_iter().map(|entity| entity.message(home)).collect()
}

/// What removes entities that were announced on these topics and are not among `messages` any more: an empty message each.
pub fn removals<'a>(announced: impl IntoIterator<Item = &'a str>, messages: &[Message]) -> Vec<Message> {
    let current: BTreeSet<&str> = messages.iter().map(|message| message.topic.as_str()).collect();
    let gone: BTreeSet<&str> = announced.into_iter().filter(|topic| !current.contains(topic)).collect();
    let empty = |topic: &str| Message { topic: topic.to_owned(), payload: "".into(), delivery: Delivery::State };
    gone.into_iter().map(empty).collect()
}

/// One entity before it is written.
struct Entity<'a> {
    component: &'static str,
    /// The camera; `None` for the box itself.
    camera: Option<&'a str>,
    /// Its name among the box's entities. Its own words are in capitals, which no id has, so that no two are the same.
    object: String,
    /// Whether it can be relied on only while the box is there.
    needs_box: bool,
    config: Value,
}

impl Entity<'_> {
    fn message(self, home: &Home<'_>) -> Message {
        let device = home.wire.device();
        let Self { component, camera, object, needs_box, config } = self;
        let Value::Object(mut config) = config else { unreachable!("all of them are written as objects") };
        config.insert("unique_id".into(), format!("{}/{object}", home.box_name()).into());
        config.insert("device".into(), home.device_block(camera));
        config.insert("origin".into(), json!({"name": "andon", "sw_version": home.version}));
        config.insert("qos".into(), 1.into());
        if needs_box {
            let there = template("'online' if value_json['state'] in ['online', 'degraded'] else 'offline'");
            config.insert("availability".into(), json!([{"topic": home.status_topic(), "value_template": there}]));
        }
        Message {
            topic: format!("{}/{component}/{device}/{object}/config", home.prefix),
            payload: Value::Object(config).to_string().into(),
            delivery: Delivery::State,
        }
    }
}

impl<'a> Home<'a> {
    fn connection(&self) -> Entity<'a> {
        let there = "'ON' if value_json['state'] in ['online', 'degraded'] else 'OFF'";
        let config = json!({
            "name": "Connection",
            "device_class": "connectivity",
            "entity_category": "diagnostic",
            "state_topic": self.status_topic(),
            "value_template": template(there),
        });
        Entity { component: "binary_sensor", camera: None, object: "CONNECTION".into(), needs_box: false, config }
    }

    fn trouble(&self) -> Entity<'a> {
        let config = json!({
            "name": "Problem",
            "device_class": "problem",
            "entity_category": "diagnostic",
            "state_topic": self.status_topic(),
            "value_template": template("'ON' if value_json['state'] == 'degraded' else 'OFF'"),
            "json_attributes_topic": self.status_topic(),
            "json_attributes_template": template("{'reasons': value_json.get('reasons', [])} | tojson"),
        });
        Entity { component: "binary_sensor", camera: None, object: "PROBLEM".into(), needs_box: true, config }
    }

    fn camera(&self, camera: &'a str) -> Entity<'a> {
        let topic = self.wire.camera_topic(camera, "status");
        let why = "{'state': value_json['state'], 'reason': value_json.get('reason', '')} | tojson";
        let config = json!({
            "name": "Camera",
            "device_class": "connectivity",
            "entity_category": "diagnostic",
            "state_topic": topic,
            "value_template": template("'ON' if value_json['state'] in ['live', 'blind'] else 'OFF'"),
            "json_attributes_topic": topic,
            "json_attributes_template": template(why),
        });
        self.of_camera("binary_sensor", camera, "CAMERA", config)
    }

    fn picture(&self, camera: &'a str) -> Entity<'a> {
        let config = json!({
            "name": "Last picture",
            "image_topic": self.wire.camera_topic(camera, "snapshot/+"),
            "content_type": "image/jpeg",
        });
        self.of_camera("image", camera, "PICTURE", config)
    }

    fn picture_button(&self, camera: &'a str) -> Option<Entity<'a>> {
        let config = self.button(Verb::Snapshot, "Take a picture", json!({"camera": camera}))?;
        Some(self.of_camera("button", camera, "SNAPSHOT", config))
    }

    fn alarm(&self, camera: &'a str, rule: &str) -> Entity<'a> {
        let topic = self.rule_topic(camera, "alarm", rule);
        let raised = "'ON' if value_json['alarm']['state'] in ['unacknowledged', 'acknowledged'] else 'OFF'";
        let config = json!({
            "name": rule,
            "device_class": "problem",
            "state_topic": topic,
            "value_template": template(raised),
            "json_attributes_topic": topic,
            "json_attributes_template": template("value_json['alarm'] | tojson"),
        });
        self.of_rule("binary_sensor", camera, "ALARM", rule, config)
    }

    fn alarm_state(&self, camera: &'a str, rule: &str) -> Entity<'a> {
        let config = json!({
            "name": format!("{rule} state"),
            "device_class": "enum",
            "options": AlarmState::ALL.map(AlarmState::name),
            "state_topic": self.rule_topic(camera, "alarm", rule),
            "value_template": template("value_json['alarm']['state']"),
        });
        self.of_rule("sensor", camera, "STATE", rule, config)
    }

    fn acknowledge_button(&self, camera: &'a str, rule: &str) -> Option<Entity<'a>> {
        let name = format!("{rule} acknowledge");
        let config = self.button(Verb::Ack, &name, json!({"camera": camera, "rule": rule}))?;
        Some(self.of_rule("button", camera, "ACK", rule, config))
    }

    fn verdict(&self, camera: &'a str, rule: &str) -> Entity<'a> {
        let judgements = [Judgement::Pass, Judgement::Fail, Judgement::Unsure];
        let event = "dict(value_json['verdict'], event_type=value_json['verdict']['verdict']) | tojson";
        let config = json!({
            "name": rule,
            "event_types": judgements.map(Judgement::name),
            "state_topic": self.rule_topic(camera, "verdict", rule),
            "value_template": template(event),
        });
        self.of_rule("event", camera, "VERDICT", rule, config)
    }

    fn counted(&self, camera: &'a str, rule: &str) -> Entity<'a> {
        let config = json!({
            "name": format!("{rule} ever in"),
            "state_class": "total_increasing",
            "state_topic": self.rule_topic(camera, "count", rule),
            "value_template": template("value_json['count']['ever']['in']"),
        });
        self.of_rule("sensor", camera, "EVER", rule, config)
    }

    fn present(&self, camera: &'a str, rule: &str) -> Entity<'a> {
        let topic = self.rule_topic(camera, "count", rule);
        let config = json!({
            "name": rule,
            "state_class": "measurement",
            "state_topic": topic,
            "value_template": template("value_json['count']['net']"),
            "json_attributes_topic": topic,
            "json_attributes_template": template("value_json['count'] | tojson"),
        });
        self.of_rule("sensor", camera, "COUNT", rule, config)
    }

    fn sum(&self, camera: &'a str, rule: &str, currency: &str, decimals: u8) -> Entity<'a> {
        let topic = self.rule_topic(camera, "total", rule);
        let config = json!({
            "name": rule,
            "device_class": "monetary",
            "state_class": "total",
            "unit_of_measurement": currency,
            "suggested_display_precision": decimals,
            "state_topic": topic,
            "value_template": template("value_json['total']['sum']"),
            "last_reset_value_template": template("value_json['total']['session']['opened_at']"),
            "json_attributes_topic": topic,
            "json_attributes_template": template("value_json['total'] | tojson"),
        });
        self.of_rule("sensor", camera, "TOTAL", rule, config)
    }

    /// A button that sends a command; `None` where the command is not allowed.
    fn button(&self, verb: Verb, name: &str, command: Value) -> Option<Value> {
        self.commands.contains(&verb).then(|| {
            json!({
                "name": name,
                "command_topic": self.wire.command_topic(verb.name()),
                "payload_press": command.to_string(),
            })
        })
    }

    fn of_camera(&self, component: &'static str, camera: &'a str, word: &str, config: Value) -> Entity<'a> {
        let object = format!("{camera}_{word}");
        Entity { component, camera: Some(camera), object, needs_box: true, config }
    }

    fn of_rule(&self, component: &'static str, camera: &'a str, word: &str, rule: &str, config: Value) -> Entity<'a> {
        let object = format!("{camera}_{word}_{rule}");
        Entity { component, camera: Some(camera), object, needs_box: true, config }
    }

    /// The box, or a camera as a device that hangs on it.
    fn device_block(&self, camera: Option<&str>) -> Value {
        let (own, device) = (self.box_name(), self.wire.device());
        let mut block = Map::new();
        let (identifier, name) = match camera {
            None => (own, device.to_owned()),
            Some(camera) => {
                block.insert("via_device".into(), own.as_str().into());
                (format!("{own}/{camera}"), format!("{device} {camera}"))
            }
        };
        block.insert("identifiers".into(), vec![identifier].into());
        block.insert("name".into(), name.into());
        block.insert("manufacturer".into(), "andon".into());
        block.insert("model".into(), if camera.is_some() { "camera" } else { "box" }.into());
        block.insert("sw_version".into(), self.version.into());
        block.into()
    }

    /// The box among all boxes of the broker.
    fn box_name(&self) -> String {
        format!("{}/{}", self.wire.prefix(), self.wire.device())
    }

    fn status_topic(&self) -> String {
        format!("{}/status", self.box_name())
    }

    fn rule_topic(&self, camera: &str, kind: &str, rule: &str) -> String {
        self.wire.camera_topic(camera, &format!("{kind}/{rule}"))
    }
}

/// A template that gives what an expression comes to.
fn template(expression: &str) -> String {
    format!("{{{{ {expression} }}}}")
}

#[cfg(test)]
mod tests;
