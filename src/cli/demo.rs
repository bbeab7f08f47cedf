//! The demo of `andon run`: a model and a source of the user's, a broker of its own, and a line for every frame.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    path::Path,
};

use andon::{
    capture::{self, SourceUri},
    config::{Camera, Config, Model},
    daemon,
    detection::Detections,
    detector,
    publish::broker,
    vision::View,
};
use anyhow::Context;

use super::{WrongUse, model::forced_isa};

/// Runs it until it is stopped.
pub(super) fn run(model: Option<&Path>, source: Option<&SourceUri>) -> anyhow::Result<()> {
    if daemon::is_service() {
        return Err(WrongUse::error(
            "as a service andon needs its configuration; let the unit pass --config /etc/andon/andon.toml",
        ));
    }
    let (Some(model), Some(source)) = (model, source) else {
        return Err(WrongUse::error(
            "say what to run: --config FILE, or for the demo --model FILE and --source SOURCE",
        ));
    };
    let address = broker::start().context("the demo's broker does not start")?;
    let mut config = Config::default_for("demo");
    config.mqtt.host = address.ip().to_string();
    config.mqtt.port = address.port();
    let detector = detector::Settings { isa: forced_isa(), ..detector::Settings::of(model) };
    config.models = vec![Model { id: "demo".to_owned(), detector }];
    config.cameras = vec![Camera {
        id: "line".to_owned(),
        capture: capture::Settings { repeat: true, ..capture::Settings::of(source.clone()) }.paced(),
        view: View::default(),
        model: 0,
    }];
    let hint = format!(
        "andon's demo publishes to a broker of its own. Watch from another terminal:\n  mosquitto_sub -h {} -p {} -t \
         'andon/demo/#' -v\nCtrl-C ends it.\n",
        address.ip(),
        address.port()
    );
    let observer = Box::new(|_camera: &str, found: &Detections| say(&line(found)));
    daemon::run(
        &config,
        daemon::Options { simulated: true, loaded: Some(Box::new(move || say(&hint))), observer: Some(observer) },
    )
}

/// One frame, for people: what was found, best first, and how long it took.
fn line(found: &Detections) -> String {
    let time = found.timing;
    let total_ms = time.decode_ms + time.preprocess_ms + time.inference_ms + time.postprocess_ms;
    let mut line = format!("{total_ms:6.1} ms  ");
    let mut told: Vec<(&str, usize, f32)> = Vec::new();
    for item in &found.items {
        match told.iter_mut().find(|(name, ..)| *name == &*item.name) {
            Some((_, count, _)) => *count += 1,
            None => told.push((&item.name, 1, item.confidence)),
        }
    }
    for (name, count, best) in &told {
        let times = if *count > 1 { format!(" ×{count}") } else { String::new() };
        let _infallible = write!(line, "{name}{times} {best:.2}   ");
    }
    if told.is_empty() {
        line.push_str("nothing");
    }
    line.trim_end().to_owned()
}

/// A line on stdout; a reader that went away is no reason to stop watching the line.
fn say(text: &str) {
    let _reader_gone = writeln!(io::stdout(), "{text}");
}

#[cfg(test)]
mod tests {
    use andon::{
        detection::{Detection, Geometry, Timing},
        geometry::Size,
    };

    use super::*;

    #[test]
    fn a_frame_is_one_line() {
        let thing = |name: &str, confidence| Detection {
            class: 0,
            name: name.into(),
            confidence,
            geometry: Geometry::Image,
            track_id: None,
        };
        let timing = Timing { decode_ms: 1.0, preprocess_ms: 2.0, inference_ms: 30.0, postprocess_ms: 0.26 };
        let mut found = Detections { size: Size { width: 1, height: 1 }, items: vec![], timing };
        assert_eq!(line(&found), "  33.3 ms  nothing");
        found.items = vec![thing("short", 0.931), thing("open", 0.9), thing("short", 0.5)];
        assert_eq!(line(&found), "  33.3 ms  short ×2 0.93   open 0.90");
    }
}
