//! `andon collect`: pictures off the line as a YOLO dataset with draft labels.
//!
//! Cameras and models are those of the daemon, which this needs no broker for. What is worth keeping is decided in the
//! library; here are the operator's commands, the end, and what is told.

use std::{
    fmt::Write as _,
    io::{self, BufRead},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use andon::{
    collect::{self, Collector, Reason, Tally},
    config::{self, Config},
    daemon::{self, Report, Reporter},
    detector::{self, Detector},
    yolo::Task,
};
use anyhow::{Context, ensure};
use rustix::fs::{FileType, fstat};
use serde_json::json;
use signal_hook::{consts::SIGUSR1, flag};

use super::{Outcome, interrupt::Interrupt, model::load_config, output, progress::Progress};

/// Keep pictures off the line as a YOLO dataset, to quantize and to train with
#[derive(Debug, clap::Args)]
#[command(after_help = NOTES)]
pub(super) struct Args {
    /// The configuration: cameras, models, and [collect] for what is kept
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,

    /// The folder of the dataset; pictures that are there already stay and count towards the quota
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,

    /// What was kept as JSON
    #[arg(long)]
    json: bool,
}

const NOTES: &str = "\
A picture is kept every so often, where the model is unsure, where an object is missing, alone or another in one of three frames,
and on command: Enter, or SIGUSR1, keeps the next picture of every camera. Near-duplicates are left out. The labels are what
the model found: correct them before training.

It ends when the quota is used, when all sources are through, or with Ctrl-C. In the background, give it </dev/null.

Examples:
  andon collect --config andon.toml --out shots
  kill -USR1 $(pidof andon)                           keep a picture now
  andon quantize --model yolo.onnx --images shots/images -o yolo-int8.onnx";

/// Runs the command.
pub(super) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let mut config = load_config(&args.config)?;
    ensure!(!config.cameras.is_empty(), daemon::NO_CAMERA);
    let interrupt = Interrupt::watch()?;
    let asked = Arc::new(AtomicBool::new(false));
    flag::register(SIGUSR1, Arc::clone(&asked)).context("the handler for SIGUSR1 cannot be set")?;
    let in_plant: Vec<detector::Settings> = config.models.iter().map(|model| model.detector.clone()).collect();
    for model in &mut config.models {
        model.detector.report_from(config.collect.uncertain[0]);
    }
    let detectors = daemon::load_detectors(&config)?;
    let collector = Arc::new(start(args, &config, &in_plant, &detectors)?);
    listen(&collector)?;
    let progress = Progress::endless();
    let reporter: Arc<dyn Reporter> = Arc::new(Desk { collector: Arc::clone(&collector), asked });
    let quota = bytes_text(config.collect.quota_bytes);
    let watched = daemon::watch(&config, detectors, &reporter, || {
        let tally = collector.tally();
        progress.say(&format!("{}, {} of {quota}", summary(&tally), bytes_text(tally.used_bytes)));
        interrupt.asked() || collector.is_over()
    });
    progress.clear();
    let finished = collector.finish();
    let tally = collector.tally();
    let report = if args.json { report(&tally, config.collect.quota_bytes)? } else { summary(&tally) };
    output::print(&format!("{report}\n"))?;
    watched?;
    finished?;
    if tally.full {
        progress.note(&full(&args.out, &quota));
    }
    Ok(Outcome::Done)
}

/// Where the detectors' threads hand frames over.
struct Desk {
    collector: Arc<Collector>,
    /// Raised by SIGUSR1.
    asked: Arc<AtomicBool>,
}

impl Reporter for Desk {
    fn report(&self, report: Report<'_>) {
        if self.asked.swap(false, Ordering::Relaxed) {
            self.collector.ask();
        }
        self.collector.see(report.camera, report.frame, report.picture, report.found);
    }
}

/// Opens the dataset for the cameras of the configuration. `in_plant` are the models' settings as the plant uses them.
fn start(
    args: &Args,
    config: &Config,
    in_plant: &[detector::Settings],
    detectors: &[Detector],
) -> anyhow::Result<Collector> {
    let cameras: Vec<_> = config.cameras.iter().map(camera).collect();
    for camera in &cameras {
        let id = &config.models[camera.model].id;
        ensure!(
            detectors[camera.model].spec().task != Task::Classify,
            "model \"{id}\" finds no objects, it classifies whole pictures, which have no labels here; name a model that \
             finds boxes for camera \"{}\"",
            camera.id
        );
    }
    let models = config.models.iter().zip(in_plant).zip(detectors);
    let models: Vec<_> = models.map(|((model, settings), detector)| of_model(&model.id, settings, detector)).collect();
    Collector::start(&args.out, &config.collect, &models, &cameras)
}

fn camera(camera: &config::Camera) -> collect::Camera {
    collect::Camera { id: camera.id.clone(), view: camera.view, model: camera.model }
}

fn of_model(id: &str, settings: &detector::Settings, detector: &Detector) -> collect::Model {
    let names = detector.spec().names.clone();
    let threshold = |name: &Arc<str>| settings.per_class.get(&**name).copied().unwrap_or(settings.confidence);
    collect::Model { id: id.to_owned(), thresholds: names.iter().map(threshold).collect(), names }
}

/// Takes every line on stdin for the operator's command, where stdin is a terminal, a pipe or a socket. Its end is none.
fn listen(collector: &Arc<Collector>) -> anyhow::Result<()> {
    let kind = fstat(io::stdin()).map(|stat| FileType::from_raw_mode(stat.st_mode));
    if !matches!(kind, Ok(FileType::CharacterDevice | FileType::Fifo | FileType::Socket)) {
        return Ok(());
    }
    let collector = Arc::clone(collector);
    let listener = move || io::stdin().lock().split(b'\n').map_while(Result::ok).for_each(|_line| collector.ask());
    // It hangs in its read when all is over, and ends with the process.
    thread::Builder::new().name("stdin".to_owned()).spawn(listener).context("no thread for stdin")?;
    Ok(())
}

/// `kept 3: 2 routine, 1 uncertain, 0 disagreement, 0 operator; 7 near-duplicates left out`.
fn summary(tally: &Tally) -> String {
    let by_reason = Reason::ALL.iter().zip(tally.kept).map(|(reason, count)| format!("{count} {}", reason.name()));
    let total: u64 = tally.kept.iter().sum();
    let reasons = by_reason.collect::<Vec<_>>().join(", ");
    let mut text = format!("kept {total}: {reasons}; {} near-duplicates left out", tally.duplicates);
    if tally.dropped > 0 {
        write!(text, "; {} lost, because the disk is slow", tally.dropped).expect("a string takes any text");
    }
    text
}

fn report(tally: &Tally, quota_bytes: u64) -> anyhow::Result<String> {
    let kept: serde_json::Map<_, _> =
        Reason::ALL.iter().zip(tally.kept).map(|(reason, count)| (reason.name().to_owned(), count.into())).collect();
    let report = json!({
        "kept": kept,
        "duplicates": tally.duplicates,
        "dropped": tally.dropped,
        "used_bytes": tally.used_bytes,
        "quota_bytes": quota_bytes,
        "full": tally.full,
    });
    serde_json::to_string_pretty(&report).context("the result has no JSON form")
}

fn full(out: &Path, quota: &str) -> String {
    format!(
        "the quota of {quota} is used: {} takes no more pictures; raise [collect] quota, or take some away",
        out.display()
    )
}

/// `1.5 GB`, in powers of 1000.
fn bytes_text(bytes: u64) -> String {
    let units = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    match units.iter().find(|(size, _)| bytes >= *size) {
        Some((size, unit)) => format!("{}.{} {unit}", bytes / size, bytes % size * 10 / size),
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_names_every_reason_and_what_was_lost() {
        let mut tally = Tally { kept: [2, 1, 0, 4], duplicates: 9, ..Tally::default() };
        let text = "kept 7: 2 routine, 1 uncertain, 0 disagreement, 4 operator; 9 near-duplicates left out";
        assert_eq!(summary(&tally), text);
        tally.dropped = 3;
        assert_eq!(summary(&tally), format!("{text}; 3 lost, because the disk is slow"));
        assert_eq!([0, 999, 1_000, 2_549_999_999].map(bytes_text), ["0 bytes", "999 bytes", "1.0 kB", "2.5 GB"]);
    }
}
