//! Sources against their real peers: programs that are started, cameras that speak HTTP over a socket, ffmpeg, RTSP.
//!
//! A test that needs a program that is not installed says so and passes. Here stand the commands, and what all share.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "these are tests, with helpers that are none themselves")]

mod corrupt;
mod ffmpeg;
mod http;

use std::{
    fs,
    io::{Cursor, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use andon::{
    capture::{self, ErrorKind, Read, Settings, Source, SourceError},
    frame::{Frame, PixelFormat},
    geometry::Size,
};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);

fn settings(source: &str) -> Settings {
    Settings::of(source.parse().unwrap())
}

fn open(source: &str) -> Box<dyn Source> {
    capture::open(&settings(source)).unwrap()
}

fn refuse(settings: &Settings) -> SourceError {
    match capture::open(settings) {
        Ok(source) => panic!("{} was opened", source.describe()),
        Err(error) => error,
    }
}

/// Reads on until something else than nothing comes.
fn next(source: &mut dyn Source, frame: &mut Frame) -> Result<Read, SourceError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match source.read(frame, Duration::from_millis(200)) {
            Ok(Read::Nothing) => assert!(Instant::now() < deadline, "nothing came"),
            other => return other,
        }
    }
}

fn is_installed(program: &str) -> bool {
    let found = Command::new(program).arg("-version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !found {
        println!("skipped: {program} is not installed");
    }
    found
}

/// Runs one test of this binary again in a process of its own, with this environment and this on its stdin; whether it
/// passed.
fn passes_in_own_process(test: &str, variable: (&str, &str), stdin: &[u8]) -> bool {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test])
        .env(variable.0, variable.1)
        .env("ANDON_TEST_AGAIN", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    // Whoever does not read it has closed the pipe.
    let _ = child.stdin.take().unwrap().write_all(stdin);
    child.wait().unwrap().success()
}

/// Whether this is such a process.
fn is_own_process() -> bool {
    std::env::var_os("ANDON_TEST_AGAIN").is_some()
}

/// A JPEG whose bytes differ with the value.
fn jpeg(value: u8) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    let picture = image::RgbImage::from_fn(48, 32, |x, y| image::Rgb([value, (x * 5) as u8, (y * 8) as u8]));
    picture.write_to(&mut file, image::ImageFormat::Jpeg).unwrap();
    file.into_inner()
}

/// A script that `command:sh` runs; the path stands in its command line, by which its processes are found.
fn script(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("camera.sh");
    fs::write(&path, text).unwrap();
    path
}

/// The processes, zombies excluded, whose command line holds this text.
fn processes_with(text: &str) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse() else { continue };
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&line).contains(text) && pid != std::process::id() {
            found.push(pid);
        }
    }
    found
}

/// Our own children that have ended and were not waited for.
fn zombies_named(name: &str) -> usize {
    let own = std::process::id().to_string();
    let stat = |entry: fs::DirEntry| fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
    let is_zombie = |stat: &String| {
        let Some((before, after)) = stat.rsplit_once(") ") else { return false };
        let mut fields = after.split(' ');
        before.ends_with(name) && fields.next() == Some("Z") && fields.next() == Some(&own)
    };
    fs::read_dir("/proc").unwrap().flatten().map(stat).filter(is_zombie).count()
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_command_that_writes_raw_pictures_is_read_and_ends() {
    let folder = tempfile::tempdir().unwrap();
    let raw: Vec<u8> = (0..3 * 24).collect();
    fs::write(folder.path().join("raw"), &raw).unwrap();
    let path = script(
        folder.path(),
        &format!(
            "head -c 24 {0}/raw; until [ -e {0}/go ]; do sleep 0.02; done; tail -c 48 {0}/raw | head -c 24",
            folder.path().display()
        ),
    );
    let mut wanted = settings(&format!("command:sh {}", path.display()));
    (wanted.format, wanted.size) = (Some(PixelFormat::Rgb8), Some(Size { width: 4, height: 2 }));
    let mut source = capture::open(&wanted).unwrap();
    let mut frame = Frame::empty();
    for seq in 0..2 {
        assert_eq!(next(&mut *source, &mut frame).unwrap(), Read::Frame);
        let from = seq * 24;
        assert_eq!((frame.seq, frame.dropped, &frame.data[..]), (seq as u64, 0, &raw[from..from + 24]));
        assert_eq!((frame.format, frame.stride), (PixelFormat::Rgb8, 12));
        // The second must not overtake the first.
        fs::write(folder.path().join("go"), []).unwrap();
    }
    assert_eq!(next(&mut *source, &mut frame).unwrap(), Read::End);
    assert_eq!(next(&mut *source, &mut frame).unwrap(), Read::End);
}

#[test]
fn a_command_that_writes_jpegs_loses_the_damaged_one_only() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (jpeg(1), jpeg(2));
    let stream =
        [b"--x\r\n\r\n".as_slice(), &a, b"\r\n--x\r\n\r\n", &b[..b.len() - 30], b"\r\n--x\r\n\r\n", &b].concat();
    fs::write(folder.path().join("stream"), stream).unwrap();
    // The first picture alone, so that it is not overtaken by the rest.
    let path = script(
        folder.path(),
        &format!(
            "head -c {1} {0}/stream; until [ -e {0}/go ]; do sleep 0.02; done; tail -c +{2} {0}/stream",
            folder.path().display(),
            7 + a.len(),
            8 + a.len()
        ),
    );
    let mut source = open(&format!("command:sh {}", path.display()));
    let mut frame = Frame::empty();
    assert_eq!(next(&mut *source, &mut frame).unwrap(), Read::Frame);
    assert_eq!((frame.seq, &frame.data), (0, &a));
    fs::write(folder.path().join("go"), []).unwrap();
    let error = next(&mut *source, &mut frame).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert_eq!(next(&mut *source, &mut frame).unwrap(), Read::Frame);
    assert_eq!((frame.seq, frame.dropped, &frame.data), (2, 1, &b));
    assert_eq!(next(&mut *source, &mut frame).unwrap(), Read::End);
}

#[test]
fn a_slow_reader_gets_the_newest_picture_and_the_count_of_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let bytes: Vec<u8> = (0..8).flat_map(|value| [value; 16]).collect();
    fs::write(folder.path().join("raw"), bytes).unwrap();
    let path = script(folder.path(), &format!("cat {0}/raw; touch {0}/done; sleep 60", folder.path().display()));
    let mut wanted = settings(&format!("command:sh {}", path.display()));
    (wanted.format, wanted.size) = (Some(PixelFormat::Grey8), Some(Size { width: 4, height: 4 }));
    let mut source = capture::open(&wanted).unwrap();
    wait_until("the script has not written", || folder.path().join("done").exists());
    let mut frame = Frame::empty();
    assert_eq!(next(&mut *source, &mut frame).unwrap(), Read::Frame);
    assert_eq!((frame.data[0], frame.seq, frame.dropped), (7, 7, 7));
    let before = Instant::now();
    assert_eq!(source.read(&mut frame, Duration::from_millis(50)).unwrap(), Read::Nothing);
    assert!(before.elapsed() < Duration::from_secs(5), "read waited beyond its timeout");
}

#[test]
fn a_command_that_fails_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let path = script(folder.path(), "echo first >&2; echo 'no camera at rtsp://u:s3cret@h/1' >&2; exit 3");
    let mut source = open(&format!("command:sh {}", path.display()));
    let error = next(&mut *source, &mut Frame::empty()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Lost);
    let message = error.to_string();
    assert!(
        message.contains("exit status: 3") && message.contains("said \"no camera at rtsp://u:***@h/1\""),
        "{message}"
    );
    let silent = next(&mut *open("command:true"), &mut Frame::empty()).unwrap_err();
    assert!(silent.to_string().contains("ended without writing a picture"), "{silent}");
    let missing = refuse(&settings("command:no-such-program-here -x"));
    assert_eq!(missing.kind(), ErrorKind::Misconfigured);
    assert!(missing.to_string().contains("there is no program no-such-program-here"), "{missing}");
}

#[test]
fn a_program_that_talks_without_end_on_stderr_does_not_stop_the_pictures() {
    let folder = tempfile::tempdir().unwrap();
    let raw = folder.path().join("raw");
    fs::write(&raw, [5; 16]).unwrap();
    let path = script(folder.path(), &format!("yes complaint | head -c 300000 >&2; cat {}", raw.display()));
    let mut wanted = settings(&format!("command:sh {}", path.display()));
    (wanted.format, wanted.size) = (Some(PixelFormat::Grey8), Some(Size { width: 4, height: 4 }));
    let mut source = capture::open(&wanted).unwrap();
    let mut frame = Frame::empty();
    assert_eq!(next(&mut *source, &mut frame).unwrap(), Read::Frame);
    assert_eq!(frame.data, [5; 16]);
}

#[test]
fn nothing_is_left_of_a_command_that_hangs() {
    let folder = tempfile::tempdir().unwrap();
    // It will not listen to reason, and has a child of its own.
    let path = script(
        folder.path(),
        "trap '' TERM; sh -c 'trap \"\" TERM; sleep 1000' \"$0\" & echo up >&2; wait; sleep 1000",
    );
    let mark = path.to_str().unwrap().to_owned();
    let mut source = open(&format!("command:sh {mark}"));
    assert_eq!(source.read(&mut Frame::empty(), Duration::from_millis(300)).unwrap(), Read::Nothing);
    wait_until("the script did not start its child", || processes_with(&mark).len() >= 2);
    let before = Instant::now();
    drop(source);
    assert!(before.elapsed() < Duration::from_secs(10), "dropping took {:?}", before.elapsed());
    wait_until("a process is left", || processes_with(&mark).is_empty());
    // Other tests of this process wait for their own children at the same time.
    wait_until("a zombie is left", || zombies_named("(sh") == 0);
}

#[test]
fn a_setting_that_a_source_cannot_follow_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut wanted = settings(folder.path().to_str().unwrap());
    wanted.size = Some(Size { width: 4, height: 4 });
    assert!(refuse(&wanted).to_string().contains("cannot be asked for a size"));
    let mut wanted = settings("http://127.0.0.1:9/");
    wanted.controls.insert("gain".to_owned(), 1);
    assert!(refuse(&wanted).to_string().contains("camera controls"));
    for rate in [0.0, -1.0, f64::NAN, f64::INFINITY, 5000.0] {
        let mut wanted = settings("command:true");
        wanted.rate_hz = Some(rate);
        assert_eq!(refuse(&wanted).kind(), ErrorKind::Misconfigured);
    }
    let mut wanted = settings("command:true");
    wanted.format = Some(PixelFormat::Nv12);
    assert!(refuse(&wanted).to_string().contains("state the size"));
}

#[test]
fn one_image_comes_from_stdin() {
    const TEST: &str = "sources::one_image_comes_from_stdin";
    let picture = jpeg(4);
    if is_own_process() {
        let mut source = open("-");
        let mut frame = Frame::empty();
        let read = next(&mut *source, &mut frame);
        if std::env::var("ANDON_TEST_STDIN").unwrap() == "empty" {
            let error = read.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt);
            assert!(error.to_string().contains("stdin: the file is empty"), "{error}");
        } else {
            assert_eq!(read.unwrap(), Read::Frame);
            assert_eq!((frame.name.as_str(), &frame.data), ("-", &picture));
        }
        assert_eq!(next(&mut *source, &mut frame).unwrap(), Read::End);
        return;
    }
    assert!(passes_in_own_process(TEST, ("ANDON_TEST_STDIN", "picture"), &picture));
    assert!(passes_in_own_process(TEST, ("ANDON_TEST_STDIN", "empty"), &[]));
    assert!(!passes_in_own_process(TEST, ("ANDON_TEST_STDIN", "picture"), &[]), "a failing run must be seen as one");
}
