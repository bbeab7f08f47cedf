//! One TOML file becomes checked settings.
//!
//! Every error names the line, the key and the remedy, and all of them are found in one go. The modules that do the work
//! define their own `Settings`; this one fills them in. Nothing here opens a camera, a model or a connection.

mod blind;
mod camera;
mod document;
mod gpio;
mod outgoing;
mod place;
mod rule;
mod section;
mod text;
mod track;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail};
use document::Node;
use section::{Problems, Section};
use text::{BytesText, SizeText};

use crate::{
    capture, collect, detector, outputs,
    publish::{
        command::Verb,
        mqtt::{self, Qos, Secret, TlsSettings},
        outbox,
        wire::{check_id, check_prefix},
    },
    rules,
    track::Settings as TrackSettings,
    vision::{Checks, View},
    yolo::{HEADS, Hints, TASKS, Task},
};

/// Where the systemd unit expects the file.
pub const DEFAULT_PATH: &str = "/etc/andon/andon.toml";

/// Where the outbox of the service lies, unless its file says otherwise.
pub const SERVICE_OUTBOX: &str = "/var/lib/andon/outbox.db";

const MQTT_PORT: u16 = 1883;
const MQTT_TLS_PORT: u16 = 8883;

/// The longest text in an MQTT packet, whose length has 16 bits.
const MQTT_TEXT_BYTES_MAX: usize = 65_535;

/// What topics of Home Assistant's discovery begin with, unless it is told otherwise.
const HOME_ASSISTANT_PREFIX: &str = "homeassistant";

/// A systemd unit hands the password over under this name, where no file is named.
const PASSWORD_CREDENTIAL: &str = "mqtt-password";

/// A configuration file larger than this is refused unread.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Everything that a configuration says.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The box's id in topics and messages.
    pub device: String,
    /// The cameras, in the order of the file.
    pub cameras: Vec<Camera>,
    /// The models, in the order of the file.
    pub models: Vec<Model>,
    /// The broker.
    pub mqtt: mqtt::Settings,
    /// What topics begin with.
    pub prefix: String,
    /// Which frames become a `detections` message.
    pub report: Report,
    /// Which commands are taken over MQTT.
    pub commands: Vec<Verb>,
    /// Where messages are kept until the broker has them.
    pub outbox: outbox::Settings,
    /// Which frames `andon collect` keeps.
    pub collect: collect::Settings,
    /// Lines of the box that are listened to, in the order of the file.
    pub inputs: Vec<outputs::Input>,
    /// Lines of the box that are driven, in the order of the file.
    pub outputs: Vec<outputs::Output>,
    /// What topics of Home Assistant's discovery begin with; `None`: it is not told of this box.
    pub home_assistant: Option<String>,
}

/// One camera.
#[derive(Clone, Debug, PartialEq)]
pub struct Camera {
    /// Its id in topics and messages.
    pub id: String,
    /// How to open it.
    pub capture: capture::Settings,
    /// Which part of its picture is looked at.
    pub view: View,
    /// What makes it blind, beside frames that arrive damaged.
    pub blind: Checks,
    /// Index of its model in [`Config::models`].
    pub model: usize,
    /// How the things in its picture are followed; `None`: each picture stands alone.
    pub track: Option<TrackSettings>,
    /// What the things in its picture mean, in the order of the file.
    pub rules: Vec<rules::Settings>,
}

/// One model.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// What cameras call it.
    pub id: String,
    /// How to load it.
    pub detector: detector::Settings,
}

/// Which frames become a `detections` message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// Every frame, with or without detections.
    All,
    /// A frame in which something appeared, left, or moved to another place.
    Changes,
    /// None: only events, alarms, verdicts and counts.
    Events,
}

/// Everything that is wrong with a configuration, a sentence each.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct Invalid(pub Vec<String>);

impl Config {
    /// Reads the file, and the environment variables `ANDON__SECTION__KEY` over it.
    ///
    /// # Errors
    /// Where the file cannot be read, or anything in it is wrong: then [`Invalid`] with all that is.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let file = std::fs::metadata(path).with_context(|| {
            format!("{}: the configuration cannot be read; name another with --config", path.display())
        })?;
        if file.len() > FILE_BYTES_MAX {
            bail!("{}: {} bytes are too many for a configuration; is it the right file?", path.display(), file.len());
        }
        let text = std::fs::read_to_string(path).with_context(|| {
            format!("{}: the configuration cannot be read; it has to be a text file", path.display())
        })?;
        Self::from_toml(&text, &path.display().to_string(), std::env::vars_os())
    }

    /// Checks the text of a configuration, with environment variables over it.
    ///
    /// # Errors
    /// As [`Config::load`]; `name` stands for the file.
    pub fn from_toml(
        text: &str,
        name: &str,
        variables: impl Iterator<Item = (std::ffi::OsString, std::ffi::OsString)>,
    ) -> anyhow::Result<Self> {
        let mut root = document::parse(text).map_err(|problem| anyhow::anyhow!("{name}, {problem}"))?;
        document::overlay(&mut root, settings_in(variables)?.into_iter())
            .map_err(|problem| anyhow::anyhow!("{problem}"))?;
        let problems = Problems::default();
        let config = read(root, &problems);
        let mut problems: Vec<String> = problems.into_vec().iter().map(|problem| located(name, problem)).collect();
        problems.sort_by_key(|problem| line_in(problem));
        if problems.is_empty() { Ok(config) } else { Err(Invalid(problems).into()) }
    }

    /// What rules ask of a model, by its index, that it does not know once it is loaded: a sentence each. `names` are its
    /// classes.
    pub fn unknown_classes(&self, model: usize, names: &[impl AsRef<str>]) -> Vec<String> {
        rule::unknown_classes(&self.cameras, model, names)
    }

    /// What a broker and a device are without a word in the file.
    pub fn default_for(device: &str) -> Self {
        Self {
            device: device.to_owned(),
            cameras: Vec::new(),
            models: Vec::new(),
            mqtt: mqtt::Settings::new("127.0.0.1", MQTT_PORT, format!("andon-{device}")),
            prefix: "andon".to_owned(),
            report: Report::All,
            commands: Vec::new(),
            outbox: outgoing::default(),
            collect: collect::Settings::default(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            home_assistant: None,
        }
    }
}

/// The host's name as an id, for boxes whose file gives none.
pub fn host_id() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim().to_lowercase();
    let id: String =
        name.chars().map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' { c } else { '-' }).collect();
    let id = id.trim_matches('-').to_owned();
    if check_id(&id).is_ok() { id } else { "andon".to_owned() }
}

/// The variables that set a key of the configuration.
fn settings_in(
    variables: impl Iterator<Item = (std::ffi::OsString, std::ffi::OsString)>,
) -> anyhow::Result<Vec<(String, String)>> {
    let ours = variables.filter(|(key, _)| key.as_encoded_bytes().starts_with(document::VARIABLE_PREFIX.as_bytes()));
    ours.map(|(key, value)| match (key.into_string(), value.into_string()) {
        (Ok(key), Ok(value)) => Ok((key, value)),
        (Ok(key), Err(_)) => bail!("{key}: its value is no UTF-8 text; set it anew or unset it"),
        (Err(key), _) => bail!("{}: its name is no UTF-8 text; unset it", key.display()),
    })
    .collect()
}

fn located(name: &str, problem: &str) -> String {
    if problem.starts_with("line ") { format!("{name}, {problem}") } else { problem.to_owned() }
}

fn line_in(problem: &str) -> usize {
    let number = problem.split(", line ").nth(1).and_then(|rest| rest.split(':').next());
    number.and_then(|number| number.parse().ok()).unwrap_or(usize::MAX)
}

fn read(root: Node, problems: &Problems) -> Config {
    let mut root = Section::new("", root, problems);
    let device = root.section("device", "[device]").map_or_else(host_id, read_device);
    let models = read_models(&mut root);
    let mut cameras = camera::read(&mut root, &models);
    let inputs = gpio::read_inputs(&mut root);
    rule::read(&mut root, &mut cameras, &models, &inputs);
    let outputs = gpio::read_outputs(&mut root, &cameras, &inputs);
    let cameras = cameras.cameras;
    let mut config = Config { cameras, models, inputs, outputs, ..Config::default_for(&device) };
    if let Some(mqtt) = root.section("mqtt", "[mqtt]") {
        read_mqtt(mqtt, &mut config);
    }
    if let Some(section) = root.section("outbox", "[outbox]") {
        config.outbox = outgoing::read(section, config.outbox);
    }
    if let Some(section) = root.section("collect", "[collect]") {
        config.collect = read_collect(section);
    }
    config.home_assistant = root.section("home_assistant", "[home_assistant]").map(read_home_assistant);
    root.finish();
    config
}

fn read_device(mut section: Section) -> String {
    let id = read_id(&mut section).unwrap_or_else(host_id);
    section.finish();
    id
}

fn read_id(section: &mut Section) -> Option<String> {
    let origin = section.origin_of("id");
    let id = section.text("id")?;
    if let Err(problem) = check_id(&id) {
        section.problem("id", origin.as_ref(), problem);
    }
    Some(id)
}

fn read_models(root: &mut Section) -> Vec<Model> {
    let sections = root.sections("model");
    let mut models: Vec<Model> = Vec::with_capacity(sections.len());
    for (index, mut section) in sections.into_iter().enumerate() {
        let id = read_id(&mut section)
            .unwrap_or_else(|| if index == 0 { "default".to_owned() } else { format!("model{}", index + 1) });
        if models.iter().any(|model| model.id == id) {
            section.problem("id", None, format!("there are two models \"{id}\"; give each [[model]] an id of its own"));
        }
        let path = section.text("path").map(PathBuf::from);
        if path.is_none() && !section.has("path") {
            section.problem("path", None, "it is missing; name the ONNX file");
        }
        models.push(Model { id, detector: read_detector(&mut section, path.unwrap_or_default()) });
        section.finish();
    }
    models
}

fn read_detector(section: &mut Section, path: PathBuf) -> detector::Settings {
    let default = detector::Settings::of(path);
    let heads = HEADS.map(|head| (head, head));
    let tasks = TASKS.map(|name| (name, Task::from_name(name).expect("the list holds the names of tasks")));
    let mut settings = detector::Settings {
        confidence: section.number("confidence", 0.0..=1.0).map_or(default.confidence, |n| n as f32),
        iou: section.number("iou", 0.0..=1.0).map_or(default.iou, |n| n as f32),
        max_det: section.integer("max_det", 1..=100_000).map_or(default.max_det, |n| n as usize),
        classes: section.texts("classes").or(default.classes),
        per_class: section
            .numbers_by_name("thresholds", 0.0..=1.0)
            .into_iter()
            .map(|(name, threshold)| (name, threshold as f32))
            .collect::<BTreeMap<_, _>>(),
        threads: section.integer("threads", 1..=256).map(|n| n as usize),
        input_size: section.parsed::<SizeText>("size").map(|size| [size.0.height as usize, size.0.width as usize]),
        ..default
    };
    settings.hints = Hints {
        task: section.word("task", &tasks),
        head: section.word("head", &heads).map(str::to_owned),
        names: section.texts("names"),
        keypoints: section.integers::<2>("keypoints").map(|numbers| numbers.map(|n| n as usize)),
    };
    settings
}

fn read_mqtt(mut section: Section, config: &mut Config) {
    let default = config.mqtt.clone();
    let reports = [("all", Report::All), ("changes", Report::Changes), ("events", Report::Events)];
    config.report = section.word("publish", &reports).unwrap_or(config.report);
    config.prefix = read_prefix(&mut section).unwrap_or_else(|| config.prefix.clone());
    config.commands = read_commands(&mut section);
    let tls = section.section("tls", "[mqtt] tls").map(read_tls);
    let port = if tls.is_some() { MQTT_TLS_PORT } else { default.port };
    let password_origin = section.origin_of("password_file");
    let password_file = section.text("password_file").map(Secret::from_file);
    config.mqtt = mqtt::Settings {
        host: read_mqtt_text(&mut section, "host").unwrap_or(default.host),
        port: section.integer("port", 1..=65535).map_or(port, |port| port as u16),
        client_id: read_mqtt_text(&mut section, "client_id").unwrap_or(default.client_id),
        username: read_mqtt_text(&mut section, "username"),
        live_qos: match section.integer("qos", 0..=1) {
            Some(1) => Qos::AtLeastOnce,
            _ => default.live_qos,
        },
        tls,
        ..default
    };
    if config.mqtt.username.is_none() && password_file.is_some() {
        section.problem("password_file", password_origin.as_ref(), "a password needs a user name; set username too");
    }
    config.mqtt.password = match config.mqtt.username {
        Some(_) => password_file.or_else(|| Secret::from_credential(PASSWORD_CREDENTIAL)),
        None => None,
    };
    section.finish();
}

/// A text that goes to the broker, within what MQTT can carry.
fn read_mqtt_text(section: &mut Section, key: &'static str) -> Option<String> {
    let origin = section.origin_of(key);
    let text = section.text(key)?;
    if text.is_empty() {
        section.problem(key, origin.as_ref(), "it is empty; write one or leave the key out");
    } else if text.len() > MQTT_TEXT_BYTES_MAX {
        let what = format!("{} bytes are more than the {MQTT_TEXT_BYTES_MAX} of MQTT; shorten it", text.len());
        section.problem(key, origin.as_ref(), what);
    } else if text.contains('\0') {
        section.problem(key, origin.as_ref(), "it holds a NUL character, which MQTT forbids; remove it");
    }
    Some(text)
}

fn read_commands(section: &mut Section) -> Vec<Verb> {
    let origin = section.origin_of("commands");
    let mut verbs = Vec::new();
    for name in section.texts("commands").unwrap_or_default() {
        match Verb::ALL.into_iter().find(|verb| verb.name() == name) {
            Some(verb) => verbs.push(verb),
            None => {
                let known = Verb::ALL.map(Verb::name).join(", ");
                section.problem("commands", origin.as_ref(), format!("there is no command \"{name}\"; known: {known}"));
            }
        }
    }
    verbs
}

fn read_prefix(section: &mut Section) -> Option<String> {
    let origin = section.origin_of("prefix");
    let prefix = section.text("prefix")?;
    if let Err(problem) = check_prefix(&prefix) {
        section.problem("prefix", origin.as_ref(), problem);
    }
    Some(prefix)
}

fn read_home_assistant(mut section: Section) -> String {
    let prefix = read_prefix(&mut section).unwrap_or_else(|| HOME_ASSISTANT_PREFIX.to_owned());
    section.finish();
    prefix
}

fn read_tls(mut section: Section) -> TlsSettings {
    let mut path = |key| section.text(key).map(PathBuf::from);
    let (ca, cert, key) = (path("ca"), path("cert"), path("key"));
    if cert.is_some() != key.is_some() {
        section.problem("", None, "a client certificate needs both cert and key");
    }
    section.finish();
    let identity = cert.zip(key).map(|(cert, key)| mqtt::Identity { cert, key });
    TlsSettings { ca, identity }
}

fn read_collect(mut section: Section) -> collect::Settings {
    let default = collect::Settings::default();
    let origin = section.origin_of("uncertain");
    let band = section.numbers::<2>("uncertain", 0.0..=1.0);
    if band.is_some_and(|[low, high]| low > high) {
        section.problem("uncertain", origin.as_ref(), "its bounds stand the wrong way round; write [lower, upper]");
    }
    let settings = collect::Settings {
        every: section.number("every", 0.1..=86_400.0).map_or(default.every, Duration::from_secs_f64),
        uncertain: band.map_or(default.uncertain, |bounds| bounds.map(|bound| bound as f32)),
        quota_bytes: section.parsed::<BytesText>("quota").map_or(default.quota_bytes, |bytes| bytes.0),
    };
    section.finish();
    settings
}

#[cfg(test)]
mod tests;
