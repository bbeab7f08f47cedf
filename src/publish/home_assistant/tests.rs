//! What is announced, byte by byte, and against the schema of its devices. `make home-assistant` shows the same bytes to Home
//! Assistant itself.

use std::{collections::BTreeMap, env, fs, path::PathBuf, time::Duration};

use super::*;
use crate::{
    geometry::Point,
    rules::{
        AlarmSettings, Anchor, BlindSettings, CountSettings, Line, Manner, Place, SessionSettings, Settings,
        TotalSettings, Towards, Trigger, Unit, VerdictSettings, Watch, When,
    },
};

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/home_assistant").join(name)
}

fn count() -> CountSettings {
    let line = Line {
        from: Point { x: 0.5, y: 0.0 },
        to: Point { x: 0.5, y: 1.0 },
        band: 0.02,
        inward: Towards::Right,
        unit: Unit::Relative,
    };
    CountSettings {
        classes: Vec::new(),
        confidence: 0.5,
        place: Place::Line(line),
        anchor: Anchor::default(),
        session: SessionSettings::default(),
    }
}

/// One rule of each kind.
fn rules() -> Vec<Settings> {
    let alarm = AlarmSettings {
        watch: Watch::default(),
        when: When::Frames { count: 3, frames: 5 },
        raise: 0.5,
        clear: 0.25,
        clear_after: Duration::from_secs(2),
        manner: Manner::default(),
    };
    let verdict = VerdictSettings {
        trigger: Trigger::Picture,
        fail: Watch::default(),
        confidence: 0.5,
        frames_min: 1,
        fail_share: 0.5,
        pass_share: 0.5,
        reject_after: None,
    };
    let total =
        TotalSettings { count: count(), prices: vec![("apple".into(), 45)], currency: "EUR".into(), decimals: 2 };
    [
        ("jam", Kind::Alarm(alarm)),
        ("no-sight", Kind::Blind(BlindSettings { after: Duration::from_secs(5), manner: Manner::default() })),
        ("board", Kind::Verdict(verdict)),
        ("bottles", Kind::Count(count())),
        ("till", Kind::Total(total)),
    ]
    .map(|(id, kind)| Settings { id: id.into(), kind })
    .into()
}

fn announce(rules: &[Settings], commands: &[Verb]) -> Vec<Message> {
    let wire = Wire::new("andon", "press-4", false).unwrap();
    let cameras = [Camera { id: "in", rules }];
    messages(&Home { prefix: PREFIX, wire: &wire, version: "1.2.3", cameras: &cameras, commands })
}

fn config(message: &Message) -> Value {
    serde_json::from_slice(&message.payload).unwrap()
}

#[test]
fn what_is_announced_is_what_was_agreed() {
    let messages = announce(&rules(), &[Verb::Ack, Verb::Snapshot]);
    let line = |message: &Message| format!("{}\n", json!({"topic": message.topic, "config": config(message)}));
    let got: String = messages.iter().map(line).collect();
    let path = golden("discovery.jsonl");
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &got).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(got, expected, "{} differs; UPDATE_GOLDEN=1 rewrites it", path.display());
}

#[test]
fn every_entity_is_retained_and_has_a_name_of_its_own() {
    let mut settings = rules();
    // Where words of ours were joined with ids by what ids may hold, these would be the same.
    settings.extend(["a_b", "a", "b_alarm", "alarm_a"].map(|id| Settings { id: id.into(), ..rules()[0].clone() }));
    let messages = announce(&settings, &Verb::ALL);
    let mut names = BTreeMap::new();
    for message in &messages {
        assert_eq!(message.delivery, Delivery::State);
        let words: Vec<&str> = message.topic.split('/').collect();
        let [prefix, _, node, object, "config"] = words[..] else { panic!("{}", message.topic) };
        assert_eq!((prefix, node), ("homeassistant", "press-4"));
        assert!(object.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')), "{object}");
        let name = config(message)["unique_id"].as_str().unwrap().to_owned();
        assert_eq!(names.insert(name, object.to_owned()), None, "{object}");
    }
    assert_eq!(names.len(), messages.len());
}

#[test]
fn buttons_are_shown_only_for_commands_that_are_allowed() {
    let buttons = |commands: &[Verb]| -> Vec<String> {
        let messages = announce(&rules(), commands);
        let buttons = messages.iter().filter(|message| message.topic.starts_with("homeassistant/button/"));
        buttons.map(|message| config(message)["payload_press"].as_str().unwrap().to_owned()).collect()
    };
    assert!(buttons(&[Verb::Resend]).is_empty());
    assert_eq!(buttons(&[Verb::Ack]), [r#"{"camera":"in","rule":"jam"}"#, r#"{"camera":"in","rule":"no-sight"}"#]);
    assert_eq!(buttons(&[Verb::Snapshot]), [r#"{"camera":"in"}"#]);
}

#[test]
fn what_a_button_sends_is_a_command() {
    let now = std::time::Instant::now();
    let mut desk = super::super::command::Desk::new("andon", "press-4", &Verb::ALL, now);
    let messages = announce(&rules(), &Verb::ALL);
    let buttons: Vec<Value> =
        messages.iter().filter(|message| message.topic.contains("/button/")).map(config).collect();
    assert_eq!(buttons.len(), 3);
    for button in buttons {
        let (topic, payload) = (button["command_topic"].as_str().unwrap(), button["payload_press"].as_str().unwrap());
        let asked = desk.take(topic, payload.as_bytes(), false, now).expect("the topic is one of a command");
        assert!(asked.command.is_ok(), "{asked:?}");
    }
}

#[test]
fn what_is_configured_no_more_is_removed() {
    let before = announce(&rules(), &Verb::ALL);
    let after = announce(&rules()[1..], &[Verb::Ack]);
    let topics: Vec<&str> = before.iter().map(|message| message.topic.as_str()).collect();
    let gone = removals(topics.iter().copied(), &after);
    let named: Vec<&str> = gone.iter().map(|message| message.topic.as_str()).collect();
    assert_eq!(
        named,
        [
            "homeassistant/binary_sensor/press-4/in_ALARM_jam/config",
            "homeassistant/button/press-4/in_ACK_jam/config",
            "homeassistant/button/press-4/in_SNAPSHOT/config",
            "homeassistant/sensor/press-4/in_STATE_jam/config",
        ]
    );
    assert!(gone.iter().all(|message| message.payload.is_empty() && message.delivery == Delivery::State));
    assert!(removals(topics, &before).is_empty());
}

#[test]
fn the_devices_are_as_the_schema_has_them() {
    let text = fs::read_to_string(golden("bundle.schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&text).unwrap();
    let messages = announce(&rules(), &Verb::ALL);
    let bundles = bundles(&messages);
    assert_eq!(bundles.len(), 2, "the box and its camera");
    for bundle in &bundles {
        assert_eq!(fault(&schema, &schema, bundle, "bundle"), None);
    }
    let mut wrong = bundles[0].clone();
    wrong["device"]["identifiers"] = json!([]);
    assert_eq!(fault(&schema, &schema, &wrong, "bundle").unwrap(), "bundle.device.identifiers: has fewer than 1");
    wrong = bundles[1].clone();
    wrong["device"]["serial"] = 7.into();
    assert_eq!(fault(&schema, &schema, &wrong, "bundle").unwrap(), "bundle.device: serial is unknown");
}

/// The entities of each device in one object, as Home Assistant's device discovery takes them.
fn bundles(messages: &[Message]) -> Vec<Value> {
    let mut bundles: BTreeMap<String, Value> = BTreeMap::new();
    for message in messages {
        let words: Vec<&str> = message.topic.split('/').collect();
        let mut config = config(message);
        let map = config.as_object_mut().unwrap();
        let (device, origin) = (map.remove("device").unwrap(), map.remove("origin").unwrap());
        map.insert("platform".into(), words[1].into());
        let bundle = bundles.entry(device["identifiers"][0].to_string());
        let bundle = bundle.or_insert_with(|| json!({"device": device, "origin": origin, "components": {}}));
        assert_eq!((&bundle["device"], &bundle["origin"]), (&device, &origin), "a device is described in one way");
        bundle["components"][words[3]] = config;
    }
    bundles.into_values().collect()
}

/// What is wrong with a value by the part of JSON Schema that the file uses.
fn fault(root: &Value, schema: &Value, value: &Value, at: &str) -> Option<String> {
    if let Some(name) = schema["$ref"].as_str() {
        return fault(root, root.pointer(name.strip_prefix('#').unwrap()).unwrap(), value, at);
    }
    let fits = match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64(),
        Some(other) => panic!("{other} is not expected in the schema"),
        None => true,
    };
    if !fits {
        return Some(format!("{at}: is no {}", schema["type"]));
    }
    if schema["enum"].as_array().is_some_and(|allowed| !allowed.contains(value)) {
        return Some(format!("{at}: {value} is none of those allowed"));
    }
    let least = schema["minItems"].as_u64().or(schema["minLength"].as_u64()).or(schema["minProperties"].as_u64());
    let len = value.as_array().map(Vec::len).or(value.as_str().map(str::len)).or(value.as_object().map(Map::len));
    if let (Some(least), Some(len)) = (least, len)
        && (len as u64) < least
    {
        return Some(format!("{at}: has fewer than {least}"));
    }
    let missing = |key: &&Value| value.get(key.as_str().unwrap()).is_none();
    if let Some(key) = schema["required"].as_array().and_then(|keys| keys.iter().find(missing)) {
        return Some(format!("{at}: {key} is missing"));
    }
    let items = value.as_array().into_iter().flatten();
    let of_items = items.filter_map(|item| fault(root, schema.get("items")?, item, &format!("{at}[]")));
    let fields = value.as_object().into_iter().flatten();
    let of_fields = fields.filter_map(|(key, item)| {
        let inside = format!("{at}.{key}");
        match (schema["properties"].get(key), schema.get("additionalProperties")) {
            (Some(known), _) => fault(root, known, item, &inside),
            (None, Some(Value::Bool(false))) => Some(format!("{at}: {key} is unknown")),
            (None, Some(other)) => fault(root, other, item, &inside),
            (None, None) => None,
        }
    });
    of_items.chain(of_fields).next()
}
