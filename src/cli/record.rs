//! `andon record`: what the rules hear and see, kept so that it can be played again.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use andon::{
    config::Config,
    daemon::{self, Report, Reporter},
    moment::Moment,
    publish::clock::{Reading, Timeline},
    recording::{Heard, Line, Photographer, Pictures, Recorder},
    rules::{Now, Sight},
    station::Look,
    vision::Rotation,
};
use anyhow::ensure;

use super::{Outcome, interrupt::Interrupt, model::load_config, output, progress::Progress};

/// Record what the rules of each camera hear, and the pictures, to be played again
#[derive(Debug, clap::Args)]
#[command(after_help = NOTES)]
pub(super) struct Args {
    /// The configuration: cameras, models and rules
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,

    /// The folder of the recording; each camera gets one in it
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,

    /// End after so many seconds
    #[arg(short, long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    seconds: Option<u64>,

    /// Keep no pictures, only what was found in them
    #[arg(long)]
    no_pictures: bool,
}

const NOTES: &str = "\
It ends when all sources are through, after --seconds, or with Ctrl-C. Pictures end when a camera has 2 GB of them. Commands and
inputs are not recorded: nobody can reach the rules meanwhile.

Examples:
  andon record --config andon.toml --out shift --seconds 3600
  andon replay --config andon.toml shift/infeed
  andon explain infeed-solder-64a1f0c2-17 --recording shift/infeed --out why.jpg";

/// Pictures of a camera take no more room than this.
const PICTURES_BYTES_MAX: u64 = 2_000_000_000;

/// Runs the command.
pub(super) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let mut config = load_config(&args.config)?;
    ensure!(!config.cameras.is_empty(), daemon::NO_CAMERA);
    let interrupt = Interrupt::watch()?;
    config.models = daemon::models_for_stations(&config);
    let detectors = daemon::load_detectors(&config)?;
    let desk = Arc::new(Desk::open(args, &config)?);
    let reporter: Arc<dyn Reporter> = Arc::clone(&desk) as _;
    let progress = Progress::endless();
    let until = args.seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let watched = daemon::watch(&config, detectors, &reporter, || {
        desk.tick();
        progress.say(&desk.summary());
        interrupt.asked() || until.is_some_and(|until| Instant::now() >= until) || desk.has_failed()
    });
    progress.clear();
    drop(reporter);
    output::print(&format!("{}\n", desk.summary()))?;
    watched?;
    desk.finish()?;
    Ok(Outcome::Done)
}

/// Where the detectors' threads hand frames over.
struct Desk {
    timeline: Timeline,
    tapes: Vec<Mutex<Tape>>,
}

/// One camera's recording.
struct Tape {
    /// `None` once it is finished.
    recorder: Option<Recorder>,
    pictures: Option<(Pictures, Photographer)>,
    rotation: Rotation,
    /// Frames so far: the number of the last one.
    frames: u64,
    /// When that was taken.
    captured_at: Moment,
    failure: Option<anyhow::Error>,
}

impl Desk {
    fn open(args: &Args, config: &Config) -> anyhow::Result<Self> {
        let timeline = Timeline::new(Reading::now());
        let born = timeline.moment(Instant::now());
        let tapes = config.cameras.iter().enumerate().map(|(index, camera)| {
            let folder = args.out.join(&camera.id);
            let recorder = Recorder::begin(&folder, &daemon::station_settings(config, index), born)?;
            let pictures = if args.no_pictures {
                None
            } else {
                let pictures = Pictures::of(&folder);
                let photographer = Photographer::start(&pictures, PICTURES_BYTES_MAX)?;
                Some((pictures, photographer))
            };
            let rotation = camera.view.rotation;
            Ok(Mutex::new(Tape {
                recorder: Some(recorder),
                pictures,
                rotation,
                frames: 0,
                captured_at: born,
                failure: None,
            }))
        });
        Ok(Self { timeline, tapes: tapes.collect::<anyhow::Result<_>>()? })
    }

    fn now(&self) -> Now {
        let reading = Reading::now();
        Now { moment: self.timeline.moment(reading.instant), local_micros: reading.local_micros() }
    }

    fn tape(&self, camera: usize) -> MutexGuard<'_, Tape> {
        self.tapes[camera].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets all rules hear that time passes.
    fn tick(&self) {
        for camera in 0..self.tapes.len() {
            // The present is read under the lock, so that it never goes back within a recording.
            let mut tape = self.tape(camera);
            tape.hear(self.now(), Heard::Tick);
        }
    }

    fn has_failed(&self) -> bool {
        (0..self.tapes.len()).any(|camera| self.tape(camera).failure.is_some())
    }

    /// `recorded 3600 frames, 12 events`.
    fn summary(&self) -> String {
        let (mut frames, mut events, mut left_out) = (0, 0, 0);
        for camera in 0..self.tapes.len() {
            let tape = self.tape(camera);
            frames += tape.frames;
            events += tape.recorder.as_ref().map_or(0, Recorder::events);
            left_out += tape.pictures.as_ref().map_or(0, |(_, photographer)| photographer.left_out());
        }
        match left_out {
            0 => format!("recorded {frames} frames, {events} events"),
            _ => format!("recorded {frames} frames, {events} events; {left_out} pictures left out: slow disk, or 2 GB"),
        }
    }

    fn finish(&self) -> anyhow::Result<()> {
        for camera in 0..self.tapes.len() {
            let mut tape = self.tape(camera);
            if let Some(failure) = tape.failure.take() {
                return Err(failure);
            }
            tape.recorder.take().map_or(Ok(()), Recorder::finish)?;
            tape.pictures.take().map_or(Ok(()), |(_, photographer)| photographer.finish())?;
        }
        Ok(())
    }
}

impl Tape {
    fn hear(&mut self, now: Now, heard: Heard) {
        let Some(recorder) = self.recorder.as_mut().filter(|_| self.failure.is_none()) else { return };
        self.failure = recorder.hear(Line { now, heard }).err();
    }
}

impl Reporter for Desk {
    fn report(&self, report: Report<'_>) {
        let Report { camera, frame, found, .. } = report;
        let mut tape = self.tape(camera);
        tape.frames += 1;
        // A source begins its own numbers anew whenever it is opened, and a camera's clock may be set.
        let seq = tape.frames;
        let captured_at = self.timeline.moment(frame.captured_at).max(tape.captured_at);
        tape.captured_at = captured_at;
        let look = Look { seq, captured_at, size: found.size };
        tape.hear(self.now(), Heard::Frame(look, found.items.clone()));
        let Tape { pictures, rotation, .. } = &mut *tape;
        if let Some((pictures, photographer)) = pictures {
            photographer.take(pictures.path(seq), frame, *rotation);
        }
    }

    fn sight(&self, camera: usize, sight: &Sight) {
        let mut tape = self.tape(camera);
        tape.hear(self.now(), Heard::Camera(sight.clone()));
    }
}
