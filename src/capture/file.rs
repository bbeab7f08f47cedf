//! Images from the disk: one, a folder, a glob; once, or again and again at a rate. And one image on stdin.
//!
//! The list of files is made when the source is opened, and again each time that a repeated one begins anew. A file that cannot be read costs one error,
//! and the next read goes on with the next file.

use std::{
    cmp::Ordering,
    fs, io,
    os::fd::AsFd,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};
use rustix::event::{PollFd, PollFlags};

use super::{ErrorKind, Read, Source, SourceError, pace::Pacer, picture};
use crate::{
    frame::Frame,
    vision::{EXTENSIONS, has_extension},
};

/// Files one after the other.
#[derive(Debug)]
pub(crate) struct FileSource {
    files: Vec<PathBuf>,
    next: usize,
    repeat: bool,
    pacer: Option<Pacer>,
    seq: u64,
    dropped: u64,
    /// What the files were found by.
    text: String,
}

impl FileSource {
    /// The images that `text` names. `interval` is kept between two pictures; without one they come as fast as they are
    /// read.
    ///
    /// # Errors
    /// Where there is no such file, no image in the folder, or nothing that matches the glob.
    pub(crate) fn open(text: &str, repeat: bool, interval: Option<Duration>) -> Result<Self, SourceError> {
        let files = list(text)?;
        Ok(Self { files, next: 0, repeat, pacer: interval.map(Pacer::new), seq: 0, dropped: 0, text: text.to_owned() })
    }
}

impl Source for FileSource {
    fn read(&mut self, frame: &mut Frame, timeout: Duration) -> Result<Read, SourceError> {
        if self.next == self.files.len() {
            if !self.repeat {
                return Ok(Read::End);
            }
            // What has come since is shown too, and a folder that is gone or empty is told.
            self.files = list(&self.text)?;
            self.next = 0;
        }
        if let Some(pacer) = &mut self.pacer {
            let wait = pacer.wait(Instant::now());
            thread::sleep(wait.min(timeout));
            if wait > timeout {
                return Ok(Read::Nothing);
            }
            pacer.delivered(Instant::now());
        }
        let path = &self.files[self.next];
        self.next += 1;
        frame.set_name(&path.to_string_lossy());
        frame.captured_at = Instant::now();
        frame.seq = self.seq;
        self.seq += 1;
        if let Err(cause) = read_file(path, frame) {
            self.dropped += 1;
            return Err(SourceError::new(ErrorKind::Corrupt, cause.context(path.display().to_string())));
        }
        frame.dropped = std::mem::take(&mut self.dropped);
        Ok(Read::Frame)
    }

    fn interval(&self) -> Option<Duration> {
        self.pacer.as_ref().map(Pacer::interval)
    }

    fn pictures(&self) -> Option<usize> {
        (!self.repeat).then_some(self.files.len())
    }

    fn describe(&self) -> String {
        let count = self.files.len();
        let rate = self.interval().map_or(String::new(), |every| format!(" at {} Hz", super::rate_text(every)));
        let again = if self.repeat { ", again and again" } else { "" };
        format!("{count} image{}{rate}{again}", if count == 1 { "" } else { "s" })
    }
}

fn read_file(path: &Path, frame: &mut Frame) -> anyhow::Result<()> {
    let file = fs::File::open(path).map_err(|error| anyhow!("it cannot be read ({error})"))?;
    picture::read_bytes(file, &mut frame.data)?;
    picture::fill(frame)
}

/// The files that a path or a glob names, in the order in which they are read.
fn list(text: &str) -> Result<Vec<PathBuf>, SourceError> {
    let absent = |cause| SourceError::new(ErrorKind::Absent, cause);
    let path = Path::new(text);
    match fs::metadata(path) {
        Ok(meta) if meta.is_dir() => {
            let files = list_folder(path).map_err(|error| {
                SourceError::new(kind_of(&error), anyhow!("{text}: the folder cannot be read ({error})"))
            })?;
            if files.is_empty() {
                return Err(absent(anyhow!(
                    "{text}: the folder holds no images ({}); put some in",
                    EXTENSIONS.join(" ")
                )));
            }
            Ok(files)
        }
        Ok(meta) if meta.is_file() => Ok(vec![path.to_owned()]),
        Ok(_) => Err(SourceError::new(
            ErrorKind::Misconfigured,
            anyhow!("{text} is neither a file nor a folder; a camera is v4l2:{text}"),
        )),
        Err(_) if text.contains(['*', '?', '[']) => {
            let files = list_glob(text).map_err(|cause| SourceError::new(ErrorKind::Misconfigured, cause))?;
            if files.is_empty() {
                return Err(absent(anyhow!("{text}: no file matches; check the pattern and the folder")));
            }
            Ok(files)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(absent(anyhow!("{text}: there is no such file or folder; check the path")))
        }
        Err(error) => {
            Err(SourceError::new(kind_of(&error), anyhow!("{text} cannot be read ({error}); check the permissions")))
        }
    }
}

fn list_folder(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if has_extension(&path, &EXTENSIONS) && path.is_file() {
            files.push(path);
        }
    }
    files.sort_by(|a, b| natural_order(&a.to_string_lossy(), &b.to_string_lossy()));
    Ok(files)
}

fn list_glob(pattern: &str) -> anyhow::Result<Vec<PathBuf>> {
    let options = glob::MatchOptions { require_literal_leading_dot: true, ..glob::MatchOptions::new() };
    let matches = glob::glob_with(pattern, options).with_context(|| format!("{pattern} is no glob"))?;
    // What a folder's permissions hide does not match.
    let mut files: Vec<PathBuf> = matches.filter_map(Result::ok).filter(|path| !path.is_dir()).collect();
    files.sort_by(|a, b| natural_order(&a.to_string_lossy(), &b.to_string_lossy()));
    Ok(files)
}

/// What a failure to look at a file means for its owner.
fn kind_of(error: &io::Error) -> ErrorKind {
    match error.kind() {
        io::ErrorKind::PermissionDenied => ErrorKind::Misconfigured,
        _ => ErrorKind::Absent,
    }
}

/// Compares names as people do: numbers in them by value, so that `img9` comes before `img10`.
fn natural_order(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a, b);
    loop {
        let (Some(l), Some(r)) = (left.chars().next(), right.chars().next()) else {
            // Equal but for leading zeros: then the texts decide, so that the order is total.
            return left.len().cmp(&right.len()).then_with(|| a.cmp(b));
        };
        if l.is_ascii_digit() && r.is_ascii_digit() {
            let (l, l_rest) = split_number(left);
            let (r, r_rest) = split_number(right);
            let order = l.len().cmp(&r.len()).then_with(|| l.cmp(r));
            if order != Ordering::Equal {
                return order;
            }
            (left, right) = (l_rest, r_rest);
        } else if l == r {
            (left, right) = (&left[l.len_utf8()..], &right[r.len_utf8()..]);
        } else {
            return l.cmp(&r);
        }
    }
}

/// The digits at the beginning, without leading zeros, and what follows.
fn split_number(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (text[..end].trim_start_matches('0'), &text[end..])
}

/// One image on stdin.
#[derive(Debug, Default)]
pub(crate) struct StdinSource {
    received: Vec<u8>,
    done: bool,
}

impl Source for StdinSource {
    fn read(&mut self, frame: &mut Frame, timeout: Duration) -> Result<Read, SourceError> {
        if self.done {
            return Ok(Read::End);
        }
        let failed = |cause: anyhow::Error| SourceError::new(ErrorKind::Corrupt, cause.context("stdin"));
        let deadline = Instant::now() + timeout;
        let stdin = io::stdin();
        loop {
            if !readable(stdin.as_fd(), deadline).map_err(|error| SourceError::new(ErrorKind::Lost, error))? {
                return Ok(Read::Nothing);
            }
            self.received.reserve(1 << 16);
            match rustix::io::read(&stdin, rustix::buffer::spare_capacity(&mut self.received)) {
                Ok(0) => break,
                Ok(_) => picture::check_length(self.received.len()).map_err(|cause| {
                    self.done = true;
                    failed(cause)
                })?,
                Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
                Err(error) => return Err(SourceError::new(ErrorKind::Lost, anyhow!("stdin cannot be read ({error})"))),
            }
        }
        self.done = true;
        frame.data.clear();
        std::mem::swap(&mut frame.data, &mut self.received);
        frame.set_name("-");
        frame.captured_at = Instant::now();
        (frame.seq, frame.dropped) = (0, 0);
        picture::fill(frame).map_err(failed)?;
        Ok(Read::Frame)
    }

    fn interval(&self) -> Option<Duration> {
        None
    }

    fn pictures(&self) -> Option<usize> {
        Some(1)
    }

    fn describe(&self) -> String {
        "one image on stdin".to_owned()
    }
}

/// Waits for something to read, or the end, until the deadline.
fn readable(fd: rustix::fd::BorrowedFd<'_>, deadline: Instant) -> io::Result<bool> {
    let left = deadline.saturating_duration_since(Instant::now());
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    match rustix::event::poll(&mut fds, Some(&super::timespec(left))) {
        Ok(ready) => Ok(ready > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::PixelFormat;

    const NOW: Duration = Duration::ZERO;

    fn png(value: u8) -> Vec<u8> {
        let mut file = io::Cursor::new(Vec::new());
        image::RgbImage::from_pixel(2, 2, image::Rgb([value; 3])).write_to(&mut file, image::ImageFormat::Png).unwrap();
        file.into_inner()
    }

    fn folder(files: &[(&str, Vec<u8>)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, data) in files {
            fs::write(folder.path().join(name), data).unwrap();
        }
        folder
    }

    fn open(text: impl AsRef<Path>) -> Result<FileSource, SourceError> {
        FileSource::open(text.as_ref().to_str().unwrap(), false, None)
    }

    fn names(source: &mut FileSource) -> Vec<String> {
        let mut frame = Frame::empty();
        let mut names = Vec::new();
        while source.read(&mut frame, NOW).unwrap() == Read::Frame {
            names.push(Path::new(&frame.name).file_name().unwrap().to_str().unwrap().to_owned());
        }
        names
    }

    #[test]
    fn a_folder_is_read_in_natural_order_and_images_only() {
        let files = ["b.png", "img10.PNG", "img9.png", "img09.png", "notes.txt", "clip.mp4"];
        let folder = folder(&files.map(|name| (name, png(1))));
        fs::create_dir(folder.path().join("more.png")).unwrap();
        let mut source = open(folder.path()).unwrap();
        assert_eq!(names(&mut source), ["b.png", "img09.png", "img9.png", "img10.PNG"]);
        assert_eq!(source.describe(), "4 images");
    }

    #[test]
    fn a_glob_is_read_and_a_name_with_brackets_is_a_name() {
        let folder = folder(&[("a1.png", png(1)), ("a2.png", png(2)), ("b.png", png(3)), ("[x].png", png(4))]);
        assert_eq!(names(&mut open(folder.path().join("a*.png")).unwrap()), ["a1.png", "a2.png"]);
        assert_eq!(names(&mut open(folder.path().join("[x].png")).unwrap()), ["[x].png"]);
    }

    #[test]
    fn a_bad_file_costs_one_error_and_the_next_is_read() {
        let jpeg_with_wrong_name = [0xff, 0xd8, 0xff, 0xe0, 1, 2, 3].to_vec();
        let folder = folder(&[
            ("1.png", png(1)),
            ("2.png", Vec::new()),
            ("3.png", b"text".to_vec()),
            ("4.png", jpeg_with_wrong_name),
        ]);
        let mut source = open(folder.path()).unwrap();
        let mut frame = Frame::empty();
        assert_eq!(source.read(&mut frame, NOW).unwrap(), Read::Frame);
        assert_eq!((frame.seq, frame.dropped, frame.data[0]), (0, 0, 1));
        for name in ["2.png: the file is empty", "3.png: it is no image"] {
            let error = source.read(&mut frame, NOW).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt);
            assert!(error.to_string().contains(name), "{error}");
        }
        assert_eq!(source.read(&mut frame, NOW).unwrap(), Read::Frame);
        assert_eq!((frame.seq, frame.dropped, frame.format), (3, 2, PixelFormat::Jpeg));
        assert_eq!(source.read(&mut frame, NOW).unwrap(), Read::End);
        assert_eq!(source.read(&mut frame, NOW).unwrap(), Read::End);
    }

    #[test]
    fn a_repeated_folder_begins_again() {
        let folder = folder(&[("1.png", png(1)), ("2.png", png(2))]);
        let text = folder.path().to_str().unwrap();
        let mut source = FileSource::open(text, true, None).unwrap();
        let mut frame = Frame::empty();
        for seq in 0..5 {
            assert_eq!(source.read(&mut frame, NOW).unwrap(), Read::Frame);
            assert_eq!((frame.seq, u64::from(frame.data[0])), (seq, seq % 2 + 1));
        }
    }

    #[test]
    fn a_repeated_folder_is_looked_at_again_when_it_begins_anew() {
        let folder = folder(&[("1.png", png(1))]);
        let mut source = FileSource::open(folder.path().to_str().unwrap(), true, None).unwrap();
        let mut frame = Frame::empty();
        assert_eq!(source.read(&mut frame, NOW).unwrap(), Read::Frame);
        fs::remove_file(folder.path().join("1.png")).unwrap();
        fs::write(folder.path().join("2.png"), png(2)).unwrap();
        assert_eq!(source.read(&mut frame, NOW).unwrap(), Read::Frame);
        assert_eq!((frame.data[0], frame.seq), (2, 1));
        fs::remove_file(folder.path().join("2.png")).unwrap();
        assert_eq!(source.read(&mut frame, NOW).unwrap_err().kind(), ErrorKind::Absent);
    }

    #[test]
    fn a_picture_before_its_time_is_nothing() {
        let folder = folder(&[("1.png", png(1))]);
        let hour = Duration::from_secs(3600);
        let mut source = FileSource::open(folder.path().to_str().unwrap(), true, Some(hour)).unwrap();
        let mut frame = Frame::empty();
        assert_eq!(source.read(&mut frame, NOW).unwrap(), Read::Frame);
        assert_eq!(source.read(&mut frame, NOW).unwrap(), Read::Nothing);
        assert_eq!(source.interval(), Some(hour));
    }

    #[test]
    fn what_is_not_there_is_said() {
        let folder = folder(&[("notes.txt", Vec::new())]);
        for (text, part) in [
            (folder.path().join("no.png"), "no such file"),
            (folder.path().join("*.png"), "no file matches"),
            (folder.path().to_owned(), "holds no images"),
        ] {
            let error = open(&text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Absent);
            assert!(error.to_string().contains(part) && error.to_string().contains(text.to_str().unwrap()), "{error}");
        }
        let error = open("/dev/null").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Misconfigured);
        assert!(open(folder.path().join("a***.png")).unwrap_err().to_string().contains("no glob"));
    }

    #[test]
    fn numbers_in_names_are_compared_by_value() {
        let mut names = ["a10", "a9", "a", "b1", "a09", "a9b", "a100000000000000000000000"];
        names.sort_by(|a, b| natural_order(a, b));
        assert_eq!(names, ["a", "a09", "a9", "a9b", "a10", "a100000000000000000000000", "b1"]);
    }
}
