//! What video files and RTSP cameras share: `ffmpeg` as the decoder, run as a command.
//!
//! Pictures cross the pipe as PPM: that is lossless, carries the size with every picture, and leaves the colour matrix and
//! range of the video to ffmpeg, which knows them. This module holds the arguments that both need, what ffmpeg's words
//! mean, and the source for video files.

use std::{
    fs, io,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::anyhow;

use super::{
    ErrorKind, Read, Source, SourceError,
    command::{CommandSource, Spec, Stream},
    pace::Pacer,
    splitter::Packing,
};
use crate::{frame::Frame, vision::has_extension};

/// What a file's name ends with to be taken for a video.
const VIDEO_EXTENSIONS: [&str; 21] = [
    "mp4", "m4v", "mov", "mkv", "webm", "avi", "mpg", "mpeg", "ts", "m2ts", "mts", "wmv", "flv", "3gp", "ogv", "h264",
    "h265", "hevc", "mjpeg", "mjpg", "y4m",
];

/// Whether the path names a video.
pub(crate) fn is_video(path: &Path) -> bool {
    has_extension(path, &VIDEO_EXTENSIONS) && !path.is_dir()
}

/// `ffmpeg` with these arguments before the output, writing every picture of the first video stream to stdout, as it
/// is: none is repeated or left out to keep a rate.
pub(crate) fn argv(input: &[&str], filter: Option<&str>) -> Vec<String> {
    let begin = ["ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "error"];
    let end = ["-fps_mode", "passthrough", "-f", "image2pipe", "-c:v", "ppm", "-pix_fmt", "rgb24", "-"];
    let filter = filter.map(|filter| ["-vf", filter]);
    let words = begin.iter().chain(input).chain(&["-map", "0:v:0"]).chain(filter.iter().flatten()).chain(&end);
    words.map(|&word| word.to_owned()).collect()
}

/// What ffmpeg's words mean, as far as somebody can do something about it.
pub(crate) fn explain(said: &str) -> Option<(ErrorKind, &'static str)> {
    use ErrorKind::{Absent, Misconfigured};
    const MEANINGS: [(&str, ErrorKind, &str); 18] = [
        ("401 Unauthorized", Misconfigured, "check user and password in the URL"),
        ("403 Forbidden", Misconfigured, "give this user the right to see the stream, on the camera's own page"),
        ("404 Not Found", Misconfigured, "check the path behind the host"),
        ("454 Session Not Found", ErrorKind::Lost, "the camera ended the session"),
        ("453 Not Enough Bandwidth", ErrorKind::Busy, "close another viewer of this camera"),
        ("503 Service Unavailable", ErrorKind::Busy, "close another viewer of this camera"),
        ("Connection refused", Absent, "check address and port, and that RTSP is switched on"),
        ("No route to host", Absent, "check the address and the network cable"),
        ("Network is unreachable", Absent, "check the network of this machine"),
        ("Failed to resolve hostname", Absent, "check the host's name"),
        ("Connection timed out", Absent, "check the address and the network cable"),
        ("Unrecognized option 'fps_mode'", Misconfigured, "install ffmpeg 5.1 or newer"),
        ("unknown keyword 'option'", Misconfigured, "install ffmpeg 5.1 or newer"),
        ("Unknown keyword 'option'", Misconfigured, "install ffmpeg 5.1 or newer"),
        ("matches no streams", Misconfigured, "it holds no video; choose another"),
        ("moov atom not found", Misconfigured, "the file is not whole; copy it again"),
        ("Invalid data found", Misconfigured, "it is no video that ffmpeg can read; choose another"),
        ("Permission denied", Misconfigured, "check the permissions of the file"),
    ];
    MEANINGS.iter().find(|(words, ..)| said.contains(words)).map(|&(_, kind, remedy)| (kind, remedy))
}

/// The pictures of a video file, every one, in order.
#[derive(Debug)]
pub(crate) struct VideoSource {
    command: CommandSource,
    name: String,
    repeat: bool,
    pacer: Option<Pacer>,
    seq: u64,
    /// Whether this turn through the file has given a picture; a file without any must not be started for ever.
    gave: bool,
}

impl VideoSource {
    /// A video at an even pace of one picture per `interval`. Without one it comes as fast as it is read; where it is
    /// repeated, and so stands for a camera, at its own speed.
    ///
    /// # Errors
    /// Where there is no such file, or no ffmpeg.
    pub(crate) fn open(path: &Path, repeat: bool, interval: Option<Duration>) -> Result<Self, SourceError> {
        let name = path.display().to_string();
        if let Err(error) = fs::File::open(path) {
            return Err(match error.kind() {
                io::ErrorKind::NotFound => {
                    SourceError::new(ErrorKind::Absent, anyhow!("{name}: there is no such file; check the path"))
                }
                _ => SourceError::new(
                    ErrorKind::Misconfigured,
                    anyhow!("{name} cannot be read ({error}); check the permissions"),
                ),
            });
        }
        let Some(text) = path.to_str() else {
            return Err(SourceError::new(
                ErrorKind::Misconfigured,
                anyhow!("{name}: the name is not UTF-8; rename the file"),
            ));
        };
        // A playlist in a video's clothes must not make ffmpeg reach into the network.
        let file = format!("file:{text}");
        let input = ["-re", "-protocol_whitelist", "file", "-i", &file];
        let at_own_pace = repeat && interval.is_none();
        let argv = argv(if at_own_pace { &input } else { &input[1..] }, None);
        let command = CommandSource::start(Spec {
            argv,
            input: None,
            packing: Packing::Ppm,
            stream: Stream::File,
            interval,
            label: name.clone(),
            explain,
        })?;
        Ok(Self { command, name, repeat, pacer: interval.map(Pacer::new), seq: 0, gave: false })
    }
}

impl Source for VideoSource {
    fn read(&mut self, frame: &mut Frame, timeout: Duration) -> Result<Read, SourceError> {
        let deadline = Instant::now() + timeout;
        if let Some(pacer) = &self.pacer {
            let wait = pacer.wait(Instant::now());
            thread::sleep(wait.min(timeout));
            if wait > timeout {
                return Ok(Read::Nothing);
            }
        }
        loop {
            match self.command.read(frame, deadline.saturating_duration_since(Instant::now()))? {
                Read::Frame => {
                    self.gave = true;
                    frame.seq = self.seq;
                    self.seq += 1 + frame.dropped;
                    frame.set_name(&self.name);
                    if let Some(pacer) = &mut self.pacer {
                        pacer.delivered(Instant::now());
                    }
                    return Ok(Read::Frame);
                }
                Read::End if self.repeat && self.gave => {
                    self.command = CommandSource::start(self.command.spec().clone())?;
                    self.gave = false;
                }
                other => return Ok(other),
            }
        }
    }

    fn interval(&self) -> Option<Duration> {
        self.command.interval()
    }

    fn start_up(&self) -> Duration {
        self.command.start_up()
    }

    fn describe(&self) -> String {
        self.command.describe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn videos_are_known_by_their_names() {
        for (name, video) in [("a.mp4", true), ("A.MKV", true), ("a.jpg", false), ("mp4", false), ("no/such.avi", true)]
        {
            assert_eq!(is_video(Path::new(name)), video, "{name}");
        }
        let folder = tempfile::Builder::new().suffix(".mp4").tempdir().unwrap();
        assert!(!is_video(folder.path()));
    }

    #[test]
    fn a_filter_stands_before_the_output() {
        let words = argv(&["-i", "x"], Some("scale=2:2")).join(" ");
        assert!(words.contains("-i x -map 0:v:0 -vf scale=2:2 -fps_mode passthrough"), "{words}");
        assert!(words.ends_with("-pix_fmt rgb24 -"));
        assert!(!argv(&["-i", "x"], None).contains(&"-vf".to_owned()));
    }

    #[test]
    fn known_words_have_a_meaning() {
        let said = "[rtsp @ 0x5] method DESCRIBE failed: 401 Unauthorized\nServer returned 401 Unauthorized";
        assert_eq!(explain(said).unwrap().0, ErrorKind::Misconfigured);
        assert_eq!(explain("tcp://h: Connection refused").unwrap().0, ErrorKind::Absent);
        assert_eq!(explain("something else"), None);
    }

    #[test]
    fn a_video_that_is_not_there_is_absent() {
        let error = VideoSource::open(Path::new("/no/such/clip.mp4"), false, None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Absent);
        assert!(error.to_string().contains("/no/such/clip.mp4: there is no such file"), "{error}");
    }
}
