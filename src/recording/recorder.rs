//! Writes a recording: what a station heard and said.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use anyhow::ensure;

use super::{
    HEARD, SAID,
    heard::{Head, Line},
    said,
};
use crate::{
    moment::Moment,
    station::{Said, Settings, Station},
    whole_file::refusal,
};

/// A station that is recorded.
#[derive(Debug)]
pub struct Recorder {
    station: Station,
    camera: String,
    heard: Sheet,
    said: Sheet,
    /// How many events were written.
    events: u64,
}

/// A file that grows line by line.
#[derive(Debug)]
struct Sheet {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Recorder {
    /// Begins a recording in a folder that is made, and in which there is none yet. The station has seen nothing.
    ///
    /// # Errors
    /// Where the folder cannot be written, or has a recording; says what to do.
    pub fn begin(folder: &Path, settings: &Settings, born: Moment) -> anyhow::Result<Self> {
        ensure!(
            !folder.join(HEARD).exists(),
            "{} has a recording already; name another folder with --out, or take that one away",
            folder.display()
        );
        fs::create_dir_all(folder).map_err(|error| refusal(folder, &error))?;
        let mut heard = Sheet::begin(folder.join(HEARD))?;
        let head = Head::new(&settings.camera, born);
        heard.line(&serde_json::to_string(&head)?)?;
        Ok(Self {
            station: Station::new(settings, born),
            camera: settings.camera.clone(),
            heard,
            said: Sheet::begin(folder.join(SAID))?,
            events: 0,
        })
    }

    /// Lets the station hear something, and writes down what it heard and what it said.
    ///
    /// # Errors
    /// Where that cannot be written.
    pub fn hear(&mut self, line: Line) -> anyhow::Result<()> {
        self.heard.line(&line.to_text())?;
        let mut said = Vec::new();
        line.tell_to(&mut self.station, &mut |word: Said| said.push(word));
        for word in &said {
            self.said.line(&said::line(&self.camera, word))?;
        }
        self.events += said.len() as u64;
        Ok(())
    }

    /// How many events there are so far.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Writes all that was kept back.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn finish(mut self) -> anyhow::Result<()> {
        self.heard.finish()?;
        self.said.finish()
    }
}

impl Sheet {
    fn begin(path: PathBuf) -> anyhow::Result<Self> {
        let file = File::create(&path).map_err(|error| refusal(&path, &error))?;
        Ok(Self { path, file: BufWriter::new(file) })
    }

    fn line(&mut self, text: &str) -> anyhow::Result<()> {
        let written = self.file.write_all(text.as_bytes()).and_then(|()| self.file.write_all(b"\n"));
        written.map_err(|error| refusal(&self.path, &error))
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        let flushed = self.file.flush().and_then(|()| self.file.get_ref().sync_all());
        flushed.map_err(|error| refusal(&self.path, &error))
    }
}
