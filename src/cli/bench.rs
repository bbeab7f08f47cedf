//! `andon bench`: how fast a model runs here, and with `--profile` where its time goes.
//!
//! Times the model alone, from a tensor to tensors; what pictures cost beside it is said by `andon detect`.

mod profile;

use std::{
    fmt::Write,
    fs,
    time::{Duration, Instant},
};

use andon::{engine::Session, random::Rng};
use profile::Profile;
use serde_json::{Value, json};

use super::{
    Outcome,
    model::{FileArgs, at_least_one},
    output,
    progress::Progress,
};

/// Measure how fast a model runs here
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    model: FileArgs,

    /// Runs that are timed
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = at_least_one)]
    runs: usize,

    /// Runs before these, after the one that gives the first result
    #[arg(long, value_name = "N", default_value_t = 5)]
    warm_up: usize,

    /// Also time every step, and say how near each comes to what the processor can do; a model of which tract runs a part
    /// is one step
    #[arg(long)]
    profile: bool,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  andon bench --model board.onnx
  andon bench --model board.onnx --threads 1 --profile
  andon bench --model board.onnx --threads 1 --runs 200 --json";

/// Runs the command.
pub(super) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let start = Instant::now();
    let mut session = Session::load(&args.model.model, &args.model.engine())?;
    let load = start.elapsed();
    let input = noise(session.input().shape.iter().product());
    let progress = Progress::over(1 + args.warm_up + args.runs * (1 + usize::from(args.profile)));
    let mut timed = || -> anyhow::Result<Duration> {
        let start = Instant::now();
        session.run(&input)?;
        let elapsed = start.elapsed();
        progress.step("");
        Ok(elapsed)
    };
    let first_result = load + timed()?;
    for _ in 0..args.warm_up {
        timed()?;
    }
    let mut runs = (0..args.runs).map(|_| timed()).collect::<anyhow::Result<Vec<_>>>()?;
    runs.sort();
    // Asked before profiling, which needs memory of its own.
    let rss_bytes = peak_rss_bytes();
    let profile =
        args.profile.then(|| Profile::measure(&mut session, &input, args.runs, || progress.step(""))).transpose()?;
    progress.clear();
    let bench =
        Bench { file: args.model.model.display().to_string(), session, load, first_result, runs, rss_bytes, profile };
    if args.json {
        output::print_json(&bench.json())?;
    } else {
        output::print(&bench.text())?;
    }
    Ok(Outcome::Done)
}

/// What was measured.
struct Bench {
    file: String,
    session: Session,
    load: Duration,
    /// From the start of loading.
    first_result: Duration,
    /// Shortest first, at least one.
    runs: Vec<Duration>,
    rss_bytes: Option<u64>,
    profile: Option<Profile>,
}

impl Bench {
    fn json(&self) -> Value {
        let report = self.session.report();
        let mut object = json!({
            "model": self.file,
            "threads": self.session.threads(),
            "isa": self.session.isa(),
            "runs": self.runs.len(),
            "latency_ms": {
                "min": rounded(ms(self.min())),
                "median": rounded(ms(percentile(&self.runs, 50))),
                "p95": rounded(ms(percentile(&self.runs, 95))),
            },
            "fps": rounded(self.fps()),
            "rss_bytes": self.rss_bytes,
            "int8_convolutions": report.int8_convolutions,
            "convolutions": report.convolutions,
            "load_ms": rounded(ms(self.load)),
            "first_result_ms": rounded(ms(self.first_result)),
        });
        if let Some(profile) = &self.profile {
            object["steps"] = profile.steps_json();
            object["peak"] = profile.peak_json(self.min());
        }
        object
    }

    fn text(&self) -> String {
        let report = self.session.report();
        let threads = match self.session.threads() {
            1 => "1 thread".to_owned(),
            threads => format!("{threads} threads"),
        };
        let memory =
            self.rss_bytes.map_or_else(|| "unknown".to_owned(), |bytes| format!("{:.1} MB", bytes as f64 / 1e6));
        let lines = [
            ("runs on", format!("{}, {threads}", self.session.isa())),
            ("load", format!("{:.0} ms; first result after {:.0} ms in all", ms(self.load), ms(self.first_result))),
            (
                "latency",
                format!(
                    "min {:.2} ms, median {:.2} ms, p95 {:.2} ms; {} runs",
                    ms(self.min()),
                    ms(percentile(&self.runs, 50)),
                    ms(percentile(&self.runs, 95)),
                    self.runs.len()
                ),
            ),
            ("fps", format!("{:.1}", self.fps())),
            ("peak memory", memory),
            ("int8", format!("{} of {} convolutions in int8", report.int8_convolutions, report.convolutions)),
        ];
        let mut text = format!("{}\n", self.file);
        for (key, value) in lines {
            writeln!(text, "  {key:12}  {value}").expect("a string takes any text");
        }
        if let Some(profile) = &self.profile {
            text.push_str(&profile.text(self.min()));
        }
        text
    }

    fn min(&self) -> Duration {
        self.runs[0]
    }

    fn fps(&self) -> f64 {
        1.0 / percentile(&self.runs, 50).as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

/// The same numbers in `0..1` every time.
fn noise(len: usize) -> Vec<f32> {
    let mut random = Rng::new(0, 0);
    std::iter::repeat_with(|| random.fraction() as f32).take(len).collect()
}

/// The smallest of the sorted, non-empty values that at least `percent` of them do not exceed (nearest rank).
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted[rank.saturating_sub(1)]
}

/// The most memory that the process has had resident; `None` where the kernel does not say.
fn peak_rss_bytes() -> Option<u64> {
    parse_peak_rss(&fs::read_to_string("/proc/self/status").ok()?)
}

/// Reads the line `VmHWM:   1234 kB` of `/proc/self/status`.
fn parse_peak_rss(status: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Three digits after the point: more would be noise.
fn rounded(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let durations: Vec<_> = (1..=20).map(Duration::from_millis).collect();
        let of = |percent| percentile(&durations, percent).as_millis();
        assert_eq!((of(0), of(50), of(95), of(96), of(100)), (1, 10, 19, 20, 20));
        assert_eq!(percentile(&durations[..1], 95).as_millis(), 1);
        assert_eq!(percentile(&durations[..2], 50).as_millis(), 1);
    }

    #[test]
    fn the_input_is_the_same_every_time_and_stays_in_its_range() {
        let numbers = noise(1000);
        assert_eq!(numbers, noise(1000));
        assert!(numbers.iter().all(|number| (0.0..1.0).contains(number)));
        assert!(numbers.iter().any(|number| *number < 0.1) && numbers.iter().any(|number| *number > 0.9));
    }

    #[test]
    fn peak_memory_is_read_where_the_kernel_writes_it() {
        assert_eq!(parse_peak_rss("Name:\tandon\nVmHWM:\t   51200 kB\nVmRSS:\t 1 kB\n"), Some(51200 * 1024));
        for other in ["", "VmRSS:\t1 kB\n", "VmHWM:\t kB\n", "VmHWM:\t12 MB\n", "VmHWM:\t99999999999999999999 kB"] {
            assert_eq!(parse_peak_rss(other), None, "{other:?}");
        }
    }
}
