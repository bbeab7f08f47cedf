//! `andon check`: would it run? One line for each thing that has to be right, `ok` or what to do.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use andon::{
    capture::{self, ErrorKind, Read},
    config::{Camera, Config, DEFAULT_PATH},
    daemon::{self, preflight::Preflight, state_dir},
    detector::Detector,
    frame::Frame,
    outputs::{Chips, Lines},
    vision::{Decoder, RgbImage},
};

use super::{Outcome, model::load_config};

/// Check a configuration, its models, cameras and broker, without publishing anything
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The configuration
    #[arg(short, long, value_name = "FILE", default_value = DEFAULT_PATH)]
    config: PathBuf,

    /// Only what has to be right before a start or a reload: the configuration and its models
    #[arg(long)]
    offline: bool,
}

/// How long a camera has at least for its first frame; its source may claim more.
const FIRST_FRAME_WITHIN: Duration = Duration::from_secs(10);

/// Runs the command.
pub(super) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let mut list = List { failed: false };
    let config = match load_config(&args.config) {
        Ok(config) => config,
        Err(error) => {
            for problem in format!("{error:#}").lines() {
                list.line("configuration", Err(problem.to_owned()))?;
            }
            return Ok(Outcome::Failed);
        }
    };
    list.line("configuration", Ok(about(&args.config, &config)))?;
    let preflight = Preflight::default();
    for (index, model) in config.models.iter().enumerate() {
        let mut unknown = Vec::new();
        let loaded = preflight.pass(&model.detector).and_then(|_sha256| {
            let mut detector = Detector::load(&model.detector)?;
            let timing = detector.self_test()?;
            let classes = detector.spec().names.len();
            unknown = config.unknown_classes(index, &detector.spec().names);
            Ok(format!("{}, {classes} classes, {:.0} ms an inference", model.detector.model, timing.inference_ms))
        });
        list.line(&format!("model \"{}\"", model.id), loaded.map_err(|error| format!("{error:#}")))?;
        for problem in unknown {
            list.line("configuration", Err(problem))?;
        }
    }
    if config.cameras.is_empty() {
        list.line("cameras", Err(daemon::NO_CAMERA.to_owned()))?;
    }
    if !args.offline {
        check_world(&config, &mut list)?;
    }
    Ok(if list.failed { Outcome::Failed } else { Outcome::Done })
}

/// Checks what may become right while the daemon runs: cameras, lines, the broker, the state directory.
fn check_world(config: &Config, list: &mut List) -> anyhow::Result<()> {
    for camera in &config.cameras {
        list.line(&format!("camera \"{}\"", camera.id), first_frame(camera))?;
    }
    for input in &config.inputs {
        list.line(&format!("input \"{}\"", input.id), Chips.look(&input.line).map_err(|trouble| trouble.to_string()))?;
    }
    for output in &config.outputs {
        // What is wired to it may move: it is not driven.
        list.line(
            &format!("output \"{}\"", output.id),
            Chips.look(&output.line).map_err(|trouble| trouble.to_string()),
        )?;
    }
    let broker = format!("broker {}:{}", config.mqtt.host, config.mqtt.port);
    list.line(
        &broker,
        daemon::check_broker(config).map(|()| "it lets us in".to_owned()).map_err(|error| format!("{error:#}")),
    )?;
    if let Some(directory) = state_dir::directory() {
        let result = state_dir::problem().map_or_else(|| Ok(directory.display().to_string()), Err);
        list.line("state directory", result)?;
    }
    Ok(())
}

fn about(path: &Path, config: &Config) -> String {
    format!("{}, this box is \"{}\"", path.display(), config.device)
}

/// Opens a camera and waits for a picture that can be used.
fn first_frame(camera: &Camera) -> Result<String, String> {
    let mut source = capture::open(&camera.capture).map_err(|error| error.to_string())?;
    let mut frame = Frame::empty();
    let within = FIRST_FRAME_WITHIN.max(source.start_up());
    let deadline = Instant::now() + within;
    let mut damaged = None;
    while Instant::now() < deadline {
        match source.read(&mut frame, Duration::from_millis(500)) {
            Ok(Read::Frame) => match Decoder::new().decode(&frame, &camera.view, &mut RgbImage::default()) {
                Ok(_) => return Ok(format!("{}, {}", camera.capture.source, source.describe())),
                Err(error) => damaged = Some(format!("{error:#}")),
            },
            Ok(Read::Nothing) => {}
            Ok(Read::End) => {
                let ended = || format!("{} ended without a picture; check what it holds", camera.capture.source);
                return Err(damaged.unwrap_or_else(ended));
            }
            Err(error) if error.kind() == ErrorKind::Corrupt => damaged = Some(error.to_string()),
            Err(error) => return Err(error.to_string()),
        }
    }
    Err(damaged.unwrap_or_else(|| {
        format!("{} gave no frame for {} s; check that it sends", camera.capture.source, within.as_secs())
    }))
}

/// Prints the lines as they become known, and remembers whether one was not ok.
struct List {
    failed: bool,
}

impl List {
    fn line(&mut self, what: &str, result: Result<String, String>) -> io::Result<()> {
        let (mark, text) = match &result {
            Ok(text) => ("ok  ", text),
            Err(text) => ("FAIL", text),
        };
        self.failed |= result.is_err();
        writeln!(io::stdout(), "{mark}  {what}: {}", text.replace('\n', ", "))
    }
}
