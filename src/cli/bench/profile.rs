//! The steps of an inference, each held against what the processor can multiply and add.

use std::{fmt::Write, time::Duration};

use andon::engine::{Session, StepTime};
use serde_json::{Value, json};

use super::{ms, percentile, rounded};

/// Longer names of steps lose their beginning in the table.
const NAME_LETTERS_MAX: usize = 44;

/// The kind of the step that stands for a whole graph.
const GRAPH: &str = "tract";

const GRAPH_NOTE: &str = "  note          tract runs this model or a part of it, so all of it is one step; \
                          andon inspect says what is left to tract\n";

/// What the steps took.
#[derive(Debug)]
pub(super) struct Profile {
    steps: Vec<Step>,
    peaks: Peaks,
    threads: usize,
}

/// A step with the median of its times.
#[derive(Debug)]
struct Step {
    name: String,
    kind: &'static str,
    int8: bool,
    macs: u64,
    median: Duration,
}

/// Multiplications with addition in a second that one thread can do at most; `None` where nobody knows.
#[derive(Clone, Copy, Debug)]
struct Peaks {
    int8: Option<f64>,
    float: Option<f64>,
}

impl Profile {
    /// Profiles so many runs, and calls `tick` after each. The peaks are measured before and after, and the better ones
    /// taken: a processor that was slowed down by something else shows it less often than it is.
    pub(super) fn measure(session: &mut Session, input: &[f32], runs: usize, tick: impl Fn()) -> anyhow::Result<Self> {
        let before = Peaks::of(session);
        let profiled = (0..runs).map(|_| {
            let (_outputs, steps) = session.profile(input)?;
            tick();
            Ok(steps)
        });
        let profiled = profiled.collect::<anyhow::Result<Vec<_>>>()?;
        let after = Peaks::of(session);
        let peaks = Peaks { int8: better(before.int8, after.int8), float: better(before.float, after.float) };
        Ok(Self { steps: medians(&profiled), peaks, threads: session.threads() })
    }

    pub(super) fn steps_json(&self) -> Value {
        let total = self.total();
        let step = |step: &Step| {
            json!({
                "name": step.name,
                "kind": step.kind,
                "int8": step.int8,
                "macs": step.macs,
                "ms": rounded(ms(step.median)),
                "share": rounded(share(step.median, total)),
                "gmacs_per_second": step.macs_per_second().map(|macs| rounded(macs / 1e9)),
                "of_peak": self.of_peak(step).map(rounded),
            })
        };
        self.steps.iter().map(step).collect()
    }

    /// The peaks, and how near to them a whole run of such a length comes.
    pub(super) fn peak_json(&self, run: Duration) -> Value {
        json!({
            "int8_gmacs_per_second": self.peaks.int8.map(|macs| rounded(macs / 1e9)),
            "float_gmacs_per_second": self.peaks.float.map(|macs| rounded(macs / 1e9)),
            "reached": self.reached(run).map(rounded),
        })
    }

    /// A line for each step in the order in which they run, their sum, and the peaks.
    pub(super) fn text(&self, run: Duration) -> String {
        let names: Vec<String> = self.steps.iter().map(|step| shown(&step.name)).collect();
        let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).max("all steps".len());
        let mut text = String::from("\n");
        let mut line = |cells: [&str; 7]| {
            let [name, kind, numbers, ms, share, rate, peak] = cells;
            let row = format!("  {name:width$}  {kind:12}  {numbers:7}  {ms:>8}  {share:>6}  {rate:>7}  {peak:>7}");
            text.extend([row.trim_end(), "\n"]);
        };
        line(["step", "kind", "numbers", "ms", "share", "GMAC/s", "of peak"]);
        let total = self.total();
        for (step, name) in self.steps.iter().zip(&names) {
            let numbers = if step.int8 { "int8" } else { "float" };
            let rate = step.macs_per_second().map_or_else(String::new, |macs| format!("{:.1}", macs / 1e9));
            let peak = self.of_peak(step).map_or_else(String::new, percent);
            let time = format!("{:.3}", ms(step.median));
            line([name, step.kind, numbers, &time, &percent(share(step.median, total)), &rate, &peak]);
        }
        line(["all steps", "", "", &format!("{:.3}", ms(total)), "", "", ""]);
        text.push('\n');
        if self.is_graph() {
            text.push_str(GRAPH_NOTE);
            return text;
        }
        let peak =
            |macs: Option<f64>| macs.map_or_else(|| "unknown".to_owned(), |macs| format!("{:.1} GMAC/s", macs / 1e9));
        let [int8, float] = [peak(self.peaks.int8), peak(self.peaks.float)];
        let mut summary = |key: &str, value: &str| {
            writeln!(text, "  {key:12}  {value}").expect("a string takes any text");
        };
        summary("peak", &format!("{int8} in int8, {float} in float, each thread"));
        if let Some(reached) = self.reached(run) {
            summary("reached", &format!("{} of the peak in the fastest run", percent(reached)));
        }
        text
    }

    /// Whether tract runs the model or a part of it, so that its only step is all of it.
    fn is_graph(&self) -> bool {
        matches!(&self.steps[..], [step] if step.kind == GRAPH)
    }

    fn total(&self) -> Duration {
        self.steps.iter().map(|step| step.median).sum()
    }

    /// The part of the peak that a step reached, where it multiplies and the peak is known.
    fn of_peak(&self, step: &Step) -> Option<f64> {
        Some(step.macs_per_second()? / (self.peaks.of_step(step)? * self.threads as f64))
    }

    /// The time that all multiplications would take at the peak, as a part of a run's.
    fn reached(&self, run: Duration) -> Option<f64> {
        let mut seconds = 0.0;
        for step in self.steps.iter().filter(|step| step.macs > 0) {
            seconds += step.macs as f64 / self.peaks.of_step(step)?;
        }
        (seconds > 0.0).then(|| seconds / (self.threads as f64 * run.as_secs_f64().max(f64::MIN_POSITIVE)))
    }
}

impl Step {
    /// `None` where the step does not multiply, or is over too soon to be timed.
    fn macs_per_second(&self) -> Option<f64> {
        (self.macs > 0 && !self.median.is_zero()).then(|| self.macs as f64 / self.median.as_secs_f64())
    }
}

impl Peaks {
    fn of(session: &Session) -> Self {
        Self { int8: session.peak_macs_per_second(true), float: session.peak_macs_per_second(false) }
    }

    fn of_step(&self, step: &Step) -> Option<f64> {
        if step.int8 { self.int8 } else { self.float }
    }
}

fn better(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    a.zip(b).map(|(a, b)| a.max(b))
}

/// The steps of at least one run, each with the median of its times. All runs of a model have the same steps.
fn medians(runs: &[Vec<StepTime>]) -> Vec<Step> {
    let median = |index: usize| {
        let mut times: Vec<_> = runs.iter().filter_map(|steps| Some(steps.get(index)?.elapsed)).collect();
        times.sort();
        percentile(&times, 50)
    };
    let steps = runs[0].iter().enumerate();
    steps
        .map(|(index, step)| Step {
            name: step.name.clone(),
            kind: step.kind,
            int8: step.int8,
            macs: step.macs,
            median: median(index),
        })
        .collect()
}

fn share(part: Duration, whole: Duration) -> f64 {
    if whole.is_zero() { 0.0 } else { part.as_secs_f64() / whole.as_secs_f64() }
}

fn percent(share: f64) -> String {
    format!("{:.1}%", share * 100.0)
}

/// A name as the table shows it: names come out of the file, and the end of a long one tells more than its beginning.
fn shown(name: &str) -> String {
    let letters: Vec<char> = name.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    match letters.len().checked_sub(NAME_LETTERS_MAX) {
        None | Some(0) => letters.into_iter().collect(),
        Some(more) => std::iter::once('…').chain(letters.into_iter().skip(more + 1)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(name: &str, int8: bool, macs: u64, elapsed_ms: u64) -> StepTime {
        StepTime { name: name.to_owned(), kind: "conv", int8, macs, elapsed: Duration::from_millis(elapsed_ms) }
    }

    /// Two int8 steps, one in float and one that does not multiply, over three runs.
    fn profile(peaks: Peaks) -> Profile {
        let run = |slower: u64| {
            vec![
                step("first", true, 40_000_000, 4 + slower),
                step("second", true, 20_000_000, 1),
                step("third", false, 10_000_000, 4),
                step("concat", false, 0, 1),
            ]
        };
        Profile { steps: medians(&[run(6), run(0), run(0)]), peaks, threads: 2 }
    }

    const KNOWN: Peaks = Peaks { int8: Some(20e9), float: Some(5e9) };

    #[test]
    fn steps_are_held_against_the_peak_of_their_numbers() {
        let steps = profile(KNOWN).steps_json();
        assert_eq!(
            steps[0],
            json!({"name": "first", "kind": "conv", "int8": true, "macs": 40_000_000, "ms": 4.0, "share": 0.4,
                   "gmacs_per_second": 10.0, "of_peak": 0.25})
        );
        assert_eq!((&steps[1]["of_peak"], &steps[2]["of_peak"]), (&json!(0.5), &json!(0.25)));
        assert_eq!((&steps[3]["gmacs_per_second"], &steps[3]["of_peak"]), (&Value::Null, &Value::Null));
    }

    #[test]
    fn a_whole_run_is_held_against_the_time_at_the_peak() {
        // 60 million at 20 G/s and 10 million at 5 G/s take 5 ms, with two threads 2.5 ms.
        let run = Duration::from_millis(10);
        assert_eq!(profile(KNOWN).peak_json(run)["reached"], json!(0.25));
        assert_eq!(profile(Peaks { float: None, ..KNOWN }).peak_json(run)["reached"], Value::Null);
        assert_eq!(profile(Peaks { int8: None, float: None }).steps_json()[0]["of_peak"], Value::Null);
    }

    #[test]
    fn the_table_has_a_line_for_each_step() {
        let text = profile(KNOWN).text(Duration::from_millis(10));
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1], ["step", "kind", "numbers", "ms", "share", "GMAC/s", "of", "peak"]);
        assert_eq!(lines[2], ["first", "conv", "int8", "4.000", "40.0%", "10.0", "25.0%"]);
        assert_eq!(lines[5], ["concat", "conv", "float", "1.000", "10.0%"]);
        assert_eq!(lines[6], ["all", "steps", "10.000"]);
        assert!(text.contains("20.0 GMAC/s in int8, 5.0 GMAC/s in float"), "{text}");
        assert!(text.contains("25.0% of the peak"), "{text}");
        let unknown = profile(Peaks { int8: None, float: None }).text(Duration::from_millis(10));
        assert!(unknown.contains("unknown in int8") && !unknown.contains("reached"), "{unknown}");
    }

    #[test]
    fn a_graph_is_said_to_be_one_step() {
        let run = [StepTime { kind: GRAPH, ..step("graph", false, 0, 4) }];
        let profile = Profile { steps: medians(&[run.to_vec()]), peaks: KNOWN, threads: 2 };
        let text = profile.text(Duration::from_millis(4));
        assert!(text.contains("all of it is one step") && !text.contains("of the peak"), "{text}");
    }

    #[test]
    fn long_and_odd_names_stay_on_their_line() {
        assert_eq!(shown("a\nb\u{1b}c"), "a b c");
        let long = shown(&format!("/model/{}/Conv", "x".repeat(80)));
        assert!(long.starts_with('…') && long.ends_with("x/Conv"), "{long}");
        assert_eq!(long.chars().count(), NAME_LETTERS_MAX);
        assert_eq!(shown(&"y".repeat(NAME_LETTERS_MAX)), "y".repeat(NAME_LETTERS_MAX));
    }
}
