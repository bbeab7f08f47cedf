//! A program that writes pictures to its stdout: `ffmpeg`, `rpicam-vid`, `gst-launch-1.0`, or the user's own.
//!
//! This is how CSI cameras and anything exotic come in, and what video files and RTSP cameras are read through. The
//! program is started once; starting it again after it has ended is for the owner.
//!
//! From a live program the newest picture is wanted. What has gathered in the pipe while nobody read is looked through
//! once, and all but the newest whole picture are dropped and counted. The pipe bounds that work, and also what it can
//! do: a program that writes slower than its camera films because its pictures are larger than the pipe keeps old ones
//! itself.

use std::time::{Duration, Instant};

use anyhow::anyhow;

use super::{
    ErrorKind, Read, Settings, Source, SourceError,
    process::{Output, Process},
    splitter::{Found, Packing, Splitter},
};
use crate::frame::{Frame, PixelFormat};

/// How long a program may take to its first picture: a camera's first key frame, a cold disk, a small board.
const START_UP: Duration = Duration::from_secs(15);
/// How long a program may live on after closing its stdout.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a program's last words mean, where they are known: the kind of failure and what to do.
pub(crate) type Explain = fn(&str) -> Option<(ErrorKind, &'static str)>;

/// What stands behind the pictures that a program writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    /// A file: every picture counts, and it ends.
    File,
    /// The user's program: the newest picture counts, and it may come to its end.
    Program,
    /// A camera: the newest picture counts, and an end is a loss.
    Camera,
}

/// What to run and how to read it.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// What it finds on its stdin.
    pub input: Option<String>,
    /// What it writes.
    pub packing: Packing,
    /// Which of its pictures count, and what its end means.
    pub stream: Stream,
    /// The time between two pictures, where it is known.
    pub interval: Option<Duration>,
    /// What errors call the source, without passwords.
    pub label: String,
    /// Knows the program's words.
    pub explain: Explain,
}

impl Spec {
    /// The user's own command.
    ///
    /// # Errors
    /// Where the settings do not say what the command writes.
    pub(crate) fn of(argv: &[String], settings: &Settings) -> Result<Self, SourceError> {
        let misconfigured = |cause| SourceError::new(ErrorKind::Misconfigured, cause);
        let label = settings.source.to_string();
        let packing = match (settings.format.unwrap_or(PixelFormat::Jpeg), settings.size) {
            (PixelFormat::Jpeg, None) => Packing::Jpeg,
            (PixelFormat::Jpeg, Some(_)) => {
                return Err(misconfigured(anyhow!(
                    "{label}: a size is stated and no raw format; state the format that the command writes, or leave the \
                     size out where it writes JPEG"
                )));
            }
            (format, Some(size)) => Packing::Raw(format, size),
            (format, None) => {
                return Err(misconfigured(anyhow!("{label}: {format:?} pictures carry no size; state the size")));
            }
        };
        Ok(Self {
            argv: argv.to_vec(),
            input: None,
            packing,
            stream: Stream::Program,
            interval: super::interval_of(settings)?,
            label,
            explain: |_| None,
        })
    }

    /// Whether pictures of the stated size can be.
    ///
    /// # Errors
    /// Says why not.
    pub(crate) fn check(&self) -> Result<(), SourceError> {
        self.splitter().map(drop)
    }

    fn splitter(&self) -> Result<Splitter, SourceError> {
        Splitter::new(self.packing)
            .map_err(|cause| SourceError::new(ErrorKind::Misconfigured, cause.context(self.label.clone())))
    }
}

/// A running command.
#[derive(Debug)]
pub(crate) struct CommandSource {
    spec: Spec,
    /// `None` once it has ended.
    process: Option<Process>,
    splitter: Splitter,
    /// Pictures that came, whole or damaged.
    seq: u64,
    /// Pictures lost since the last that was handed over.
    dropped: u64,
    /// Whether it has ended as it may end.
    ended_well: bool,
}

impl CommandSource {
    /// Starts the program.
    ///
    /// # Errors
    /// Where it does not start, or raw pictures of the stated size cannot be.
    pub(crate) fn start(spec: Spec) -> Result<Self, SourceError> {
        let splitter = spec.splitter()?;
        let process = Process::start(&spec.argv, spec.input.as_deref())
            .map_err(|error| SourceError::new(error.kind(), error.cause.context(spec.label.clone())))?;
        Ok(Self { spec, process: Some(process), splitter, seq: 0, dropped: 0, ended_well: false })
    }

    /// What [`Spec`] it was started with.
    pub(crate) fn spec(&self) -> &Spec {
        &self.spec
    }

    fn fail(&self, kind: ErrorKind, text: impl std::fmt::Display) -> SourceError {
        SourceError::new(kind, anyhow!("{}: {text}", self.spec.label))
    }

    /// Numbers a picture that has just been found.
    fn number(&mut self, frame: &mut Frame) {
        frame.captured_at = Instant::now();
        frame.seq = self.seq;
        self.seq += 1;
        frame.set_name("");
    }

    /// What is said to whoever reads on after the end.
    fn over(&self) -> Result<Read, SourceError> {
        if self.ended_well {
            Ok(Read::End)
        } else {
            Err(self.fail(ErrorKind::Lost, "the program has ended; start it again"))
        }
    }

    /// What it means that the program has closed its stdout.
    fn ended(&mut self) -> Result<Read, SourceError> {
        let Some(mut process) = self.process.take() else { return self.over() };
        let status = process.finish(PATIENCE);
        let succeeded = status.is_some_and(|status| status.success());
        self.ended_well = succeeded && self.spec.stream != Stream::Camera;
        if succeeded && self.splitter.is_inside() {
            self.seq += 1;
            return Err(self.fail(ErrorKind::Corrupt, "the last picture is cut short"));
        }
        if self.ended_well && self.seq > 0 {
            return Ok(Read::End);
        }
        self.ended_well = false;
        let program = process.program();
        let how = match status {
            Some(status) if status.success() && self.seq == 0 => "ended without writing a picture".to_owned(),
            Some(status) if status.success() => "came to the end of the stream".to_owned(),
            Some(status) => format!("ended with {status}"),
            None => "does not end".to_owned(),
        };
        let (kind, remedy) =
            (self.spec.explain)(&process.said()).unwrap_or((ErrorKind::Lost, "run it by hand to see what it says"));
        let said = process.last_words().map_or(String::new(), |words| format!(" and said \"{words}\""));
        Err(self.fail(kind, format_args!("{program} {how}{said}; {remedy}")))
    }
}

impl Source for CommandSource {
    fn read(&mut self, frame: &mut Frame, timeout: Duration) -> Result<Read, SourceError> {
        let deadline = Instant::now() + timeout;
        let mut found = false;
        // After the first whole picture: how many bytes of those that had gathered in the pipe are still to be looked at.
        let mut gathered = 0_usize;
        loop {
            match self.splitter.next(frame).map_err(|cause| self.fail(ErrorKind::Lost, cause))? {
                Found::Picture => {
                    self.dropped += u64::from(found);
                    self.number(frame);
                    if self.spec.stream == Stream::File {
                        break;
                    }
                    if !found {
                        gathered = self.process.as_ref().map_or(0, Process::waiting_bytes);
                    }
                    found = true;
                    continue;
                }
                Found::Damaged => {
                    self.seq += 1;
                    self.dropped += 1;
                    if found {
                        continue;
                    }
                    return Err(self.fail(ErrorKind::Corrupt, "a picture is damaged"));
                }
                Found::More if found && gathered == 0 => break,
                Found::More => {}
            }
            let Some(process) = &mut self.process else { return self.over() };
            let until = if found { Instant::now() } else { deadline };
            let output = process.read(self.splitter.buffer(), until);
            match output.map_err(|cause| self.fail(ErrorKind::Lost, format_args!("{cause:#}")))? {
                Output::Bytes(bytes) => gathered = gathered.saturating_sub(bytes),
                // The end is met again, and told, by the next call.
                Output::Nothing | Output::Closed if found => break,
                Output::Nothing => return Ok(Read::Nothing),
                Output::Closed => return self.ended(),
            }
        }
        frame.dropped = std::mem::take(&mut self.dropped);
        Ok(Read::Frame)
    }

    fn interval(&self) -> Option<Duration> {
        self.spec.interval
    }

    fn start_up(&self) -> Duration {
        START_UP
    }

    fn describe(&self) -> String {
        let what = match self.spec.packing {
            Packing::Raw(format, size) => format!("{}×{} {format:?}", size.width, size.height),
            Packing::Jpeg => "JPEG".to_owned(),
            Packing::Ppm => "RGB".to_owned(),
        };
        let rate = self.spec.interval.map_or(String::new(), |every| format!(" at {} Hz", super::rate_text(every)));
        format!("{what}{rate}")
    }
}
