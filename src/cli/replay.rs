//! `andon replay`: a recording is heard again, by the rules of a configuration.

use std::{
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    time::Instant,
};

use andon::{
    config::{Config, DEFAULT_PATH},
    daemon,
    recording::{self, Player, Tally},
};
use anyhow::{Context, anyhow};

use super::{Outcome, output::Output, progress::Progress};

/// Play a recording to the rules again, and print what they say
#[derive(Debug, clap::Args)]
#[command(after_help = NOTES)]
pub(super) struct Args {
    /// The configuration whose rules hear the recording: the one it was made with, or another to try
    #[arg(short, long, value_name = "FILE", default_value = DEFAULT_PATH)]
    config: PathBuf,

    /// The folder of one camera's recording
    #[arg(value_name = "DIR")]
    recording: PathBuf,

    /// Compare with what was said when it was recorded, instead of printing; exit 1 at the first difference
    #[arg(long)]
    check: bool,
}

const NOTES: &str = "\
The same rules say the same, byte by byte. No camera, model or broker is needed.

Examples:
  andon replay --config andon.toml shift/infeed | jq -r '.event | [.at, .kind, .rule] | @tsv'
  andon replay --config andon.toml --check shift/infeed";

/// Runs the command.
pub(super) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let config = Config::load(&args.config)?;
    let player = Player::open(&args.recording)?;
    let camera = config.cameras.iter().position(|camera| camera.id == player.camera()).ok_or_else(|| {
        anyhow!(
            "{} is a recording of camera \"{}\", which {} does not have; name the configuration with --config",
            args.recording.display(),
            player.camera(),
            args.config.display()
        )
    })?;
    let name = config.cameras[camera].id.clone();
    let mut sink: Box<dyn Sink> = if args.check { Box::new(Compared::open(args)?) } else { Box::new(Output::stdout()) };
    let started = Instant::now();
    let mut failed = None;
    let tally = player.play(&daemon::station_settings(&config, camera), |said| {
        if failed.is_none() {
            failed = sink.line(&recording::said_line(&name, &said)).err();
        }
    })?;
    failed.map_or_else(|| sink.finish(), Err)?;
    Progress::hidden().note(&summary(&tally, started));
    Ok(Outcome::Done)
}

/// `36000 frames, 412 events, 1:00:00 in 0.8 s (4500 × real time)`.
fn summary(tally: &Tally, started: Instant) -> String {
    let took = started.elapsed().as_secs_f64().max(1e-6);
    let span = tally.from.zip(tally.to).map_or(0.0, |(from, to)| to.since(from).as_secs_f64());
    let times = (span / took).round();
    format!("{} frames, {} events, {span:.0} s in {took:.2} s: {times} × real time", tally.frames, tally.said)
}

/// Where lines go.
trait Sink {
    fn line(&mut self, text: &str) -> anyhow::Result<()>;
    fn finish(&mut self) -> anyhow::Result<()>;
}

impl Sink for Output {
    fn line(&mut self, text: &str) -> anyhow::Result<()> {
        Ok(writeln!(self, "{text}")?)
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        Ok(self.flush()?)
    }
}

/// What was said when it was recorded.
struct Compared {
    path: PathBuf,
    lines: std::io::Lines<BufReader<std::fs::File>>,
    number: usize,
}

impl Compared {
    fn open(args: &Args) -> anyhow::Result<Self> {
        let path = args.recording.join(recording::SAID);
        let file = std::fs::File::open(&path).with_context(|| format!("{} cannot be read", path.display()))?;
        Ok(Self { path, lines: BufReader::new(file).lines(), number: 0 })
    }

    fn differs(&self, recorded: &str, played: &str) -> anyhow::Error {
        anyhow!(
            "{}, line {}: something else was said; were the rules others? recorded: {recorded}; played: {played}",
            self.path.display(),
            self.number
        )
    }
}

impl Sink for Compared {
    fn line(&mut self, text: &str) -> anyhow::Result<()> {
        self.number += 1;
        let recorded = self.lines.next().transpose()?.unwrap_or_else(|| "nothing".to_owned());
        if recorded == text { Ok(()) } else { Err(self.differs(&recorded, text)) }
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        self.number += 1;
        match self.lines.next().transpose()? {
            None => Ok(()),
            Some(recorded) => Err(self.differs(&recorded, "nothing")),
        }
    }
}
