//! A progress bar on a terminal, and errors that do not tear it.

use std::{io::IsTerminal, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};

/// Progress over the pictures of some sources, drawn on stderr where that is a terminal.
#[derive(Debug)]
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// A bar over so many sources, each taken for one picture until it is opened.
    pub(super) fn over(sources: usize) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self::hidden();
        }
        let bar = ProgressBar::new(sources as u64);
        bar.set_style(style("{bar:30} {pos}/{len}  {per_sec}  {eta} left  {wide_msg}"));
        bar.enable_steady_tick(Duration::from_millis(200));
        Self(bar)
    }

    /// A line without an end, where stderr is a terminal; see [`Self::say`].
    pub(super) fn endless() -> Self {
        if !std::io::stderr().is_terminal() {
            return Self::hidden();
        }
        let line = ProgressBar::new_spinner();
        line.set_style(style("{spinner} {wide_msg}"));
        line.enable_steady_tick(Duration::from_millis(200));
        Self(line)
    }

    /// One that is never drawn.
    pub(super) fn hidden() -> Self {
        Self(ProgressBar::hidden())
    }

    /// One source was opened and has so many pictures; where it does not know, nobody knows how much is left.
    pub(super) fn opened(&self, pictures: Option<usize>) {
        match pictures {
            Some(pictures) => self.0.inc_length((pictures as u64).saturating_sub(1)),
            None => self.0.set_style(style("{spinner} {pos}  {per_sec}  {elapsed}  {wide_msg}")),
        }
    }

    /// One more picture is done; `what` is shown beside the bar.
    pub(super) fn step(&self, what: &str) {
        self.0.set_message(what.to_owned());
        self.0.inc(1);
    }

    /// Shows how things are.
    pub(super) fn say(&self, what: &str) {
        self.0.set_message(what.to_owned());
    }

    /// So many parts of the work that goes on now are done.
    pub(super) fn at(&self, what: &'static str, done: usize, total: usize) {
        self.0.set_message(what);
        self.0.set_length(total as u64);
        self.0.set_position(done as u64);
    }

    /// Tells an error without tearing the bar.
    pub(super) fn tell(&self, error: &anyhow::Error) {
        self.0.suspend(|| super::tell(error));
    }

    /// Tells what may surprise but is no failure, without tearing the bar.
    #[expect(clippy::print_stderr, reason = "this is where remarks leave the program")]
    pub(super) fn note(&self, remark: &str) {
        self.0.suspend(|| eprintln!("note: {remark}"));
    }

    /// Takes the bar off the terminal.
    pub(super) fn clear(&self) {
        self.0.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates name known fields")
}
