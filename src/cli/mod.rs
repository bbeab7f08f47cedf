//! The command line: one file per subcommand, and what they share.
//!
//! A command returns what it came to; here that becomes an exit code, and an error becomes one sentence on stderr.
//! Commands print data on stdout and leave all work to the library.

mod bench;
mod check;
mod collect;
#[cfg_attr(not(feature = "demo-broker"), path = "no_demo.rs")]
mod demo;
mod detect;
mod devices;
mod events;
mod explain;
mod inspect;
mod interrupt;
mod listen;
mod logging;
mod model;
mod output;
mod preflight;
mod progress;
mod quantize;
mod record;
mod replay;
mod run;
mod save;
mod simulate;
mod source;
mod val;

use std::{panic, process::ExitCode};

use andon::config::Invalid;
use clap::{Parser, Subcommand};

/// Watches a production line through a camera, finds defects or items with a quantized YOLO, and tells the plant over
/// MQTT.
#[derive(Debug, Parser)]
#[command(name = "andon", version, arg_required_else_help = true, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Exit codes: 0 done, 1 failed, 2 wrong use.
ANDON_LOG=andon=debug (or info, warn, error) says more or less on stderr.
ANDON_ISA=NAME runs models on that instruction set, where the processor has it (for comparisons).";

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    Detect(detect::Args),
    Inspect(inspect::Args),
    Bench(bench::Args),
    Simulate(simulate::Args),
    Val(val::Args),
    Collect(collect::Args),
    Check(check::Args),
    Devices(devices::Args),
    Listen(listen::Args),
    Events(events::Args),
    Explain(explain::Args),
    Record(record::Args),
    Replay(replay::Args),
    Quantize(quantize::Args),
    #[command(hide = true)]
    Preflight(preflight::Args),
}

/// What a command came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// All of it is done.
    Done,
    /// Some of it failed, and each failure has been told.
    Failed,
}

/// The command cannot do what the arguments ask for.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct WrongUse(String);

impl WrongUse {
    /// What the command fails with: what is wrong, and what to do.
    fn error(what: impl Into<String>) -> anyhow::Error {
        Self(what.into()).into()
    }
}

/// Runs what the arguments say.
pub(crate) fn main() -> ExitCode {
    panic::set_hook(Box::new(tell_panic));
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // A closed stdout or stderr leaves nobody to tell.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { WRONG_USE } else { DONE });
        }
    };
    logging::start(if matches!(cli.command, Command::Run(_)) { logging::SERVICE } else { logging::QUIET });
    let outcome = panic::catch_unwind(|| match &cli.command {
        Command::Run(args) => run::run(args),
        Command::Check(args) => check::run(args),
        Command::Collect(args) => collect::run(args),
        Command::Detect(args) => detect::run(args),
        Command::Inspect(args) => inspect::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Simulate(args) => simulate::run(args),
        Command::Val(args) => val::run(args),
        Command::Devices(args) => devices::run(args),
        Command::Listen(args) => listen::run(args),
        Command::Events(args) => events::run(args),
        Command::Explain(args) => explain::run(args),
        Command::Record(args) => record::run(args),
        Command::Replay(args) => replay::run(args),
        Command::Quantize(args) => quantize::run(args),
        Command::Preflight(args) => preflight::run(args),
    });
    ExitCode::from(match outcome {
        Ok(Ok(Outcome::Done)) => DONE,
        Ok(Err(error)) if output::reader_went_away(&error) => DONE,
        Ok(Err(error)) => {
            tell(&error);
            if error.is::<WrongUse>() { WRONG_USE } else { FAILED }
        }
        // Told already: by the command, or by the panic hook.
        Ok(Ok(Outcome::Failed)) | Err(_) => FAILED,
    })
}

const DONE: u8 = 0;
const FAILED: u8 = 1;
const WRONG_USE: u8 = 2;

/// Writes an error and its causes to stderr as one sentence; all that is wrong with a configuration as one each.
#[expect(clippy::print_stderr, reason = "this is where errors leave the program")]
fn tell(error: &anyhow::Error) {
    match error.downcast_ref::<Invalid>() {
        Some(Invalid(problems)) => problems.iter().for_each(|problem| eprintln!("error: {}", one_line(problem))),
        None => eprintln!("error: {}", one_line(&format!("{error:#}"))),
    }
}

/// A panic is a fault of this program, told in one line as any other error is.
#[expect(clippy::print_stderr, reason = "this is where errors leave the program")]
fn tell_panic(info: &panic::PanicHookInfo<'_>) {
    let what = info.payload_as_str().unwrap_or("no reason given");
    let place = info.location().map(|at| format!(" at {}:{}", at.file(), at.line())).unwrap_or_default();
    eprintln!("error: a fault in andon itself{place}: {}; please report it", one_line(what));
}

/// Causes from libraries may have line breaks of their own.
fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn causes_with_line_breaks_become_one_line() {
        assert_eq!(one_line("a\n  b\n\nc"), "a b c");
    }
}
