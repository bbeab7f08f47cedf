//! `andon preflight`: the child process in which the daemon tries a model before it loads it. Not for people.
//!
//! It confines itself, loads the model, runs it once, and prints the SHA-256 of the file that it has read.

use andon::{
    daemon::preflight::{Limits, confine},
    engine::{self, Session},
};
use anyhow::ensure;

use super::{Outcome, model::FileArgs, output};

/// Try a model in a process of its own
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    file: FileArgs,

    /// Address space that it may use
    #[arg(long, value_name = "N")]
    memory_bytes: u64,

    /// Processor time that it may use
    #[arg(long, value_name = "N")]
    cpu_seconds: u64,
}

/// Runs the command.
pub(super) fn run(args: &Args) -> anyhow::Result<Outcome> {
    if let Err(error) = confine(Limits { memory_bytes: args.memory_bytes, cpu_seconds: args.cpu_seconds }) {
        log::warn!("the limits of this process cannot be set: {error}");
    }
    let settings = engine::Settings { threads: Some(1), ..args.file.engine() };
    let mut session = Session::load(&args.file.model, &settings)?;
    let input = vec![0.5; session.input().shape.iter().product()];
    let outputs = session.run(&input)?;
    ensure!(!outputs.is_empty(), "model {}: it has no output; export it again", args.file.model.display());
    output::print(&format!("{}\n", session.sha256()))?;
    Ok(Outcome::Done)
}
