//! Plays a recording again.

use std::{
    fs::File,
    io::{BufRead, BufReader, Lines},
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow, ensure};

use super::{
    FORMAT, HEARD,
    heard::{Head, Heard, Line},
};
use crate::{
    moment::Moment,
    station::{Said, Settings, Station},
};

/// A recording that is being read.
pub struct Player {
    path: PathBuf,
    head: Head,
    lines: Lines<BufReader<File>>,
    /// The line that was read last, from 1.
    number: usize,
}

/// What was played.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Frames.
    pub frames: u64,
    /// What the station said.
    pub said: u64,
    /// When the first line was heard,
    pub from: Option<Moment>,
    /// and the last.
    pub to: Option<Moment>,
}

impl Player {
    /// Opens the recording in a folder.
    ///
    /// # Errors
    /// Where there is none; says what to do.
    pub fn open(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join(HEARD);
        let file = File::open(&path)
            .with_context(|| format!("{}: there is no recording; `andon record` makes one", path.display()))?;
        let mut lines = BufReader::new(file).lines();
        let first = lines.next().transpose().with_context(|| format!("{} cannot be read", path.display()))?;
        let head = first.as_deref().and_then(|line| serde_json::from_str(line).ok());
        let head: Head = head.filter(|head: &Head| head.format == FORMAT).ok_or_else(|| {
            anyhow!(
                "{}: this is no recording of this version of andon; make it anew with `andon record`",
                path.display()
            )
        })?;
        Ok(Self { path, head, lines, number: 1 })
    }

    /// The camera that was recorded.
    pub fn camera(&self) -> &str {
        &self.head.camera
    }

    /// Plays all of it to a station with these settings, which are those of the recorded camera.
    ///
    /// # Errors
    /// Where the file cannot be read to its end; names the line. An unfinished last line is that of a recording that was
    /// cut off, and its end.
    pub fn play(mut self, settings: &Settings, mut say: impl FnMut(Said)) -> anyhow::Result<Tally> {
        ensure!(
            settings.camera == self.head.camera,
            "{} is a recording of camera \"{}\", and the configuration has no such camera; name the one it was made with",
            self.path.display(),
            self.head.camera
        );
        let mut station = Station::new(settings, self.head.born);
        let mut tally = Tally::default();
        while let Some(line) = self.next_line()? {
            tally.frames += u64::from(matches!(line.heard, Heard::Frame(..)));
            tally.from = tally.from.or(Some(line.now.moment));
            tally.to = Some(line.now.moment);
            line.tell_to(&mut station, &mut |said| {
                tally.said += 1;
                say(said);
            });
        }
        Ok(tally)
    }

    /// The next thing that was heard; `None` at the end.
    ///
    /// # Errors
    /// As [`Player::play`].
    pub fn next_line(&mut self) -> anyhow::Result<Option<Line>> {
        let Some(text) = self.lines.next() else { return Ok(None) };
        self.number += 1;
        let text = text.with_context(|| format!("{}, line {}: cannot be read", self.path.display(), self.number))?;
        match Line::from_text(&text) {
            Ok(line) => Ok(Some(line)),
            Err(_) if self.lines.next().is_none() => Ok(None),
            Err(error) => Err(anyhow!(
                "{}, line {}: {error}; take the line away, or make the recording anew",
                self.path.display(),
                self.number
            )),
        }
    }
}
