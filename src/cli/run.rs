//! `andon run`: the daemon; without a configuration, the demo line.

use std::path::PathBuf;

use andon::{capture::SourceUri, daemon};

use super::{Outcome, demo, model::load_config, source::SourceParser};

/// Watch the line and publish over MQTT, until it is stopped
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The configuration; without it the demo runs: a simulated line, the bundled model and a broker of its own
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Another model for the demo: an ONNX file
    #[arg(short, long, value_name = "FILE", conflicts_with = "config")]
    model: Option<PathBuf>,

    /// Something else for the demo to film: a camera, folder, video or URL
    #[arg(short, long, value_name = "SOURCE", conflicts_with = "config", value_parser = SourceParser)]
    source: Option<SourceUri>,
}

const EXAMPLES: &str = "\
Examples:
  andon run                                           the demo: nothing is needed
  andon run --config /etc/andon/andon.toml
  andon run --model board.onnx --source shots/        the demo, with a model and pictures of yours";

/// Runs the command.
pub(super) fn run(args: &Args) -> anyhow::Result<Outcome> {
    match &args.config {
        Some(path) => {
            let config = load_config(path)?;
            let path = path.clone();
            let reread: Box<daemon::Reread> = Box::new(move || load_config(&path));
            daemon::run(&config, daemon::Options { reread: Some(reread), ..daemon::Options::default() })?;
        }
        None => demo::run(args.model.as_deref(), args.source.as_ref())?,
    }
    Ok(Outcome::Done)
}
