//! The demo of `andon run`: the simulated line and the bundled model, or what the user names instead, a broker of its own,
//! and a line for every picture.

mod score;

use std::{
    io::{self, Write as _},
    path::Path,
    sync::{Mutex, PoisonError},
};

use andon::{
    capture::{self, SourceUri},
    config::{Camera, Config, Model},
    daemon, detector,
    publish::broker,
    rules,
    vision::{Checks, View},
};
use anyhow::Context;
use score::Score;

use super::{WrongUse, model::forced_isa};

/// A defect of this confidence makes a board bad.
const BAD_FROM: f32 = 0.5;

/// Runs it until it is stopped.
pub(super) fn run(model: Option<&Path>, source: Option<&SourceUri>) -> anyhow::Result<()> {
    if daemon::is_service() {
        return Err(WrongUse::error(
            "as a service andon needs its configuration; let the unit pass --config /etc/andon/andon.toml",
        ));
    }
    if model.is_some() && source.is_none() {
        return Err(WrongUse::error("say what the model looks at: --source SOURCE"));
    }
    let source = source.cloned().unwrap_or_else(|| SourceUri::Line(String::new()));
    let capture = capture::Settings { repeat: true, ..capture::Settings::of(source) }.paced();
    capture.check().map_err(|problem| WrongUse::error(format!("{problem:#}")))?;
    let address = broker::start().context("the demo's broker does not start")?;
    let mut config = Config::default_for("demo");
    config.mqtt.host = address.ip().to_string();
    config.mqtt.port = address.port();
    let settings = model.map_or_else(detector::Settings::bundled, detector::Settings::of);
    let detector = detector::Settings { isa: forced_isa(), ..settings };
    config.models = vec![Model { id: "demo".to_owned(), detector }];
    config.cameras = vec![Camera {
        id: "line".to_owned(),
        capture,
        view: View::default(),
        blind: Checks::none(),
        model: 0,
        track: None,
        // Another model may find things that are no defects.
        rules: if model.is_none() { vec![each_board()] } else { Vec::new() },
    }];
    let hint = format!(
        "andon's demo publishes to a broker of its own. Watch from another terminal:\n  mosquitto_sub -h {} -p {} -t \
         'andon/demo/#' -v\nCtrl-C ends it.\n",
        address.ip(),
        address.port()
    );
    let score = Mutex::new(Score::default());
    let observer = Box::new(move |_camera: &str, frame: &_, found: &_| {
        say(&score.lock().unwrap_or_else(PoisonError::into_inner).line(frame, found));
    });
    daemon::run(
        &config,
        daemon::Options {
            simulated: true,
            loaded: Some(Box::new(move || say(&hint))),
            observer: Some(observer),
            ..daemon::Options::default()
        },
    )
}

/// Each picture shows another board, and any defect makes it a bad one.
fn each_board() -> rules::Settings {
    let verdict = rules::VerdictSettings {
        trigger: rules::Trigger::Picture,
        fail: rules::Watch::default(),
        confidence: BAD_FROM,
        frames_min: 1,
        fail_share: 0.5,
        pass_share: 0.5,
        reject_after: None,
    };
    rules::Settings { id: "board".to_owned(), kind: rules::Kind::Verdict(verdict) }
}

/// A line on stdout; a reader that went away is no reason to stop watching the line.
fn say(text: &str) {
    let _reader_gone = writeln!(io::stdout(), "{text}");
}
