//! Where frames come from: one trait, one file per kind of source.
//!
//! A source opens, delivers frames into a buffer it is given, and fails with a kind that its owner decides on. It does
//! not retry, wait between attempts or log: the camera's thread (`daemon::camera`) does, once for all kinds. Nothing
//! here knows models, the network or the configuration file.

mod arrival;
mod command;
mod ffmpeg;
mod file;
mod http_client;
mod http_mjpeg;
mod jpeg_stream;
pub mod line;
pub mod mailbox;
mod pace;
mod picture;
mod process;
mod rtsp;
mod splitter;
pub mod uri;
pub mod v4l2;

use std::{collections::BTreeMap, fmt, path::Path, time::Duration};

use anyhow::anyhow;
use rustix::event::Timespec;

pub use arrival::Arrivals;
pub use uri::SourceUri;

use crate::{
    frame::{Frame, PixelFormat},
    geometry::Size,
};

/// A stream of pictures.
pub trait Source: Send {
    /// Waits at most `timeout` for the next picture and writes it into `frame`, whose buffer is reused.
    ///
    /// Sets every field of `frame` but `dropped` gaps that only the mailbox can know. Never waits longer than `timeout`
    /// plus the time to read one picture. What `frame` holds after anything but [`Read::Frame`] means nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] concerns damaged pictures only: they are counted in the next frame's `dropped`, and the
    /// next call goes on. After any other kind the source has to be opened again.
    fn read(&mut self, frame: &mut Frame, timeout: Duration) -> Result<Read, SourceError>;

    /// The time between two frames that was agreed on; `None` where the source does not say.
    fn interval(&self) -> Option<Duration>;

    /// How long after the opening the first picture may take to come before the source counts as stalled. Network cameras
    /// begin at a key frame, and programs have to start.
    fn start_up(&self) -> Duration {
        Duration::from_secs(2)
    }

    /// How many pictures there are from the first to the end; `None` for streams, and where nobody knows.
    fn pictures(&self) -> Option<usize> {
        None
    }

    /// What was agreed on, for the log and `andon check`: `640×480 MJPG at 30 Hz`. Which source it is, whoever shows this
    /// says.
    fn describe(&self) -> String;
}

/// What a call of [`Source::read`] came back with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// A picture.
    Frame,
    /// None within the timeout.
    Nothing,
    /// The source has no more: the last image of a folder that is not looped, the end of a file.
    End,
}

/// Opens the source that the settings name.
///
/// Where no rate is stated, images that are repeated come at 1 Hz, a video that is repeated at its own speed, a JPEG behind
/// a URL is asked for at 1 Hz, simulated boards pass at 2 Hz unless they end, simulated scenes are filmed at 10 Hz, and what is not repeated comes as fast as it
/// is read. Network sources may take some seconds to answer.
///
/// # Errors
/// Says which source and what to do, with a kind to decide on.
pub fn open(settings: &Settings) -> Result<Box<dyn Source>, SourceError> {
    check(settings)?;
    let interval = interval_of(settings)?;
    match &settings.source {
        SourceUri::Files(text) if ffmpeg::is_video(Path::new(text)) => {
            Ok(Box::new(ffmpeg::VideoSource::open(Path::new(text), settings.repeat, interval)?))
        }
        SourceUri::Files(text) => {
            let interval = interval.or(settings.repeat.then_some(Duration::from_secs(1)));
            Ok(Box::new(file::FileSource::open(text, settings.repeat, interval)?))
        }
        SourceUri::Stdin => Ok(Box::new(file::StdinSource::default())),
        SourceUri::Command(argv) => Ok(Box::new(command::CommandSource::start(command::Spec::of(argv, settings)?)?)),
        SourceUri::Http(url) => Ok(Box::new(http_mjpeg::HttpSource::open(url, interval)?)),
        SourceUri::Rtsp(url) => Ok(Box::new(rtsp::open(url, interval)?)),
        SourceUri::V4l2(path) => v4l2::open(path, settings),
        SourceUri::Line(options) => line::open(options, settings, interval),
    }
}

/// Reads one picture of the disk.
///
/// # Errors
/// Where the file gives no picture.
pub fn read_file(path: &Path, frame: &mut Frame) -> Result<(), SourceError> {
    const PATIENCE: Duration = Duration::from_secs(10);
    let no_text = || anyhow!("{}: the name is no UTF-8; rename the file", path.display());
    let text = path.to_str().ok_or_else(|| SourceError::new(ErrorKind::Misconfigured, no_text()))?;
    let mut source = open(&Settings::of(SourceUri::Files(text.to_owned())))?;
    match source.read(frame, PATIENCE)? {
        Read::Frame => Ok(()),
        Read::Nothing | Read::End => {
            Err(SourceError::new(ErrorKind::Corrupt, anyhow!("{}: the file gave no picture", path.display())))
        }
    }
}

/// Pictures of a folder pass so often where they stand for a camera.
pub const FOLDER_RATE_HZ: f64 = 5.0;

/// How to open a source.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Which.
    pub source: SourceUri,
    /// Size to ask a camera for, of the raw pictures that a command writes, or of simulated boards; `None`: the source's
    /// own.
    pub size: Option<Size>,
    /// Pictures per second: asked of a V4L2 camera; kept by files, videos, a polled JPEG and the simulated line; an upper
    /// bound for RTSP; what is expected of a command or an HTTP stream. `None`: the source's own.
    pub rate_hz: Option<f64>,
    /// The pixel format to ask a camera for, or that a command writes; `None`: the best of the camera's, JPEG for a command.
    pub format: Option<PixelFormat>,
    /// Files, folders, videos and a simulated line that ends begin again at their end; all else knows no such thing.
    pub repeat: bool,
    /// Camera controls by their V4L2 names (`exposure_time_absolute`), set at every opening.
    pub controls: BTreeMap<String, i64>,
}

impl Settings {
    /// The same for watching: pictures of a folder pass at [`FOLDER_RATE_HZ`] where no rate is asked for, since a detector
    /// that is slower than the disk would see few of them.
    #[must_use]
    pub fn paced(self) -> Self {
        let is_folder = matches!(&self.source, SourceUri::Files(text) if !ffmpeg::is_video(Path::new(text)));
        Self { rate_hz: self.rate_hz.or(is_folder.then_some(FOLDER_RATE_HZ)), ..self }
    }

    /// The source as it comes, once.
    pub fn of(source: SourceUri) -> Self {
        Self { source, size: None, rate_hz: None, format: None, repeat: false, controls: BTreeMap::new() }
    }

    /// Whether the settings agree with one another, which is known before anything is opened.
    ///
    /// # Errors
    /// Names the source and the setting that it cannot follow. [`open`] would fail in the same way.
    pub fn check(&self) -> anyhow::Result<()> {
        Ok(check(self)?)
    }
}

/// What a source's owner decides on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Not there: unplugged, no such file, nobody answers. It may come.
    Absent,
    /// There, but another program has it.
    Busy,
    /// It was there and went: unplugged, connection closed, command ended.
    Lost,
    /// It will not work until somebody changes the configuration or the permissions.
    Misconfigured,
    /// This picture is damaged; the next may be good.
    Corrupt,
}

/// Why a source could not be opened or read.
#[derive(Debug)]
pub struct SourceError {
    kind: ErrorKind,
    cause: anyhow::Error,
}

impl SourceError {
    /// An error of this kind; the cause reads *what is wrong: which object; what to do*.
    pub fn new(kind: ErrorKind, cause: impl Into<anyhow::Error>) -> Self {
        Self { kind, cause: cause.into() }
    }

    /// What to decide on.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.cause)
    }
}

impl std::error::Error for SourceError {}

fn misconfigured(cause: anyhow::Error) -> SourceError {
    SourceError::new(ErrorKind::Misconfigured, cause)
}

fn check(settings: &Settings) -> Result<(), SourceError> {
    refuse_unused(settings)?;
    interval_of(settings)?;
    match &settings.source {
        SourceUri::Command(argv) => command::Spec::of(argv, settings)?.check(),
        SourceUri::Line(options) => line::check(options, settings),
        _ => Ok(()),
    }
}

/// Settings that a source cannot follow are errors, so that nobody believes that they work.
fn refuse_unused(settings: &Settings) -> Result<(), SourceError> {
    let source = &settings.source;
    let is_camera = matches!(source, SourceUri::V4l2(_));
    let takes_size = is_camera || matches!(source, SourceUri::Command(_) | SourceUri::Line(_));
    let takes_format = is_camera || matches!(source, SourceUri::Command(_));
    let unused = if settings.size.is_some() && !takes_size {
        "a size"
    } else if settings.format.is_some() && !takes_format {
        "a pixel format"
    } else if !settings.controls.is_empty() && !is_camera {
        "camera controls"
    } else {
        return Ok(());
    };
    Err(misconfigured(anyhow!("{source} cannot be asked for {unused}; leave that out")))
}

/// The time between two pictures at the rate that the settings state.
fn interval_of(settings: &Settings) -> Result<Option<Duration>, SourceError> {
    /// Slower than once a day is a mistake, and faster than this no camera is.
    const RATES_HZ: std::ops::RangeInclusive<f64> = 1.0 / 86_400.0..=1000.0;
    match settings.rate_hz {
        None => Ok(None),
        Some(rate) if RATES_HZ.contains(&rate) => Ok(Some(Duration::from_secs_f64(1.0 / rate))),
        Some(rate) => Err(misconfigured(anyhow!(
            "{}: a rate of {rate} Hz cannot be kept; state pictures per second, up to {}",
            settings.source,
            RATES_HZ.end()
        ))),
    }
}

/// A rate as people write it: `30`, `0.5`.
fn rate_text(interval: Duration) -> String {
    let rate = 1.0 / interval.as_secs_f64();
    let rounded = (rate * 1000.0).round() / 1000.0;
    rounded.to_string()
}

/// A timeout as the kernel takes it.
fn timespec(timeout: Duration) -> Timespec {
    Timespec::try_from(timeout).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 })
}
