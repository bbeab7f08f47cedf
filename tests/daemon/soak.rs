//! Very many frames through the whole pipeline, from files to a broker: the daemon holds at the end what it held after the
//! first tenth.
//!
//! `ANDON_SOAK_FRAMES` says how many frames have to arrive at a subscriber.

use std::{
    fs,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::*;

/// Cameras for each of two models; each films a thousand pictures a second, more than the detectors look at.
const CAMERAS_OF_MODEL: usize = 2;

/// Frames in a window, and what the daemon may grow by in one once it is settled: a hundred bytes a frame are seen.
const WINDOW: u64 = 5_000;
const GROWS_KIB_MAX: u64 = 512;

/// What a process holds.
#[derive(Clone, Copy, Debug)]
struct Held {
    resident_kib: u64,
    descriptors: usize,
    threads: u64,
}

impl Held {
    fn by(pid: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let number = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
            line.split_whitespace().next().unwrap().parse().unwrap()
        };
        Self {
            resident_kib: number("VmRSS:"),
            descriptors: fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count(),
            threads: number("Threads:"),
        }
    }
}

/// Counts messages with a topic by their lines alone.
struct Counter {
    process: Child,
    heard: Arc<AtomicU64>,
}

impl Counter {
    fn start(port: u16) -> Self {
        let mut process = Command::new("mosquitto_sub")
            .args(["-h", "127.0.0.1", "-p", &port.to_string(), "-t", "andon/box/+/detections", "-F", "x"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let heard = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&heard);
        thread::spawn(move || {
            for _line in output.split(b'\n').map_while(Result::ok) {
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { process, heard }
    }

    /// Waits until so many were heard; fails where none comes for long.
    #[track_caller]
    fn wait_for(&self, frames: u64) {
        let (mut last, mut moved) = (0, Instant::now());
        loop {
            let heard = self.heard.load(Ordering::Relaxed);
            if heard >= frames {
                return;
            }
            if heard != last {
                (last, moved) = (heard, Instant::now());
            }
            assert!(moved.elapsed() < SOON, "no frame came after {heard}");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        let _gone_already = self.process.kill();
        let _status = self.process.wait();
    }
}

#[test]
fn the_daemon_holds_no_more_at_the_end() {
    if !mosquitto::is_installed() {
        return;
    }
    let wanted = std::env::var("ANDON_SOAK_FRAMES").ok();
    let frames: u64 = wanted.as_ref().map_or(20_000, |text| text.parse().unwrap());
    let broker = Mosquitto::start(Setup::default());
    let line = Line::new(broker.port, "");
    // Pictures of several sizes, as JPEG and as PNG, and one that is damaged.
    line.dir.squares("shots/c.jpg", (160, 120), &[(2, 2, GREEN)]);
    line.dir.squares("shots/d.jpg", (64, 48), &[]);
    line.dir.write("shots/e.jpg", [0xff, 0xd8, 0xff, 0xe0, 0, 16]);
    let mut text = "[device]\nid = \"box\"\n".to_owned();
    for model in ["a", "b"] {
        write!(text, "[[model]]\nid = \"{model}\"\npath = \"squares.onnx\"\nthreads = 1\n").unwrap();
    }
    for camera in 0..2 * CAMERAS_OF_MODEL {
        let model = ["a", "b"][camera % 2];
        write!(
            text,
            "[[camera]]\nid = \"in{camera}\"\nsource = \"shots\"\nrate = 1000\nloop = true\nmodel = \"{model}\"\n"
        )
        .unwrap();
    }
    write!(text, "[mqtt]\nport = {}\n", broker.port).unwrap();
    line.dir.write("andon.toml", text);
    let counter = Counter::start(broker.port);
    let mut daemon = line.start();
    let pid = daemon.process.id();
    counter.wait_for(frames / 10);
    let (early, started) = (Held::by(pid), Instant::now());
    let mut late = early;
    // Buffers grow to their size at first; what leaks grows from window to window.
    let (mut through, mut grew_kib) = (frames / 10, Vec::new());
    while grew_kib.last().is_none_or(|grew| *grew > GROWS_KIB_MAX) || through < frames {
        assert!(
            grew_kib.len() < 12.max((frames / WINDOW) as usize),
            "it grows on: {grew_kib:?} KiB in {WINDOW} frames each"
        );
        through += WINDOW;
        counter.wait_for(through);
        let now = Held::by(pid);
        grew_kib.push(now.resident_kib.saturating_sub(late.resident_kib));
        late = now;
    }
    let rate_hz = (through - frames / 10) as f64 / started.elapsed().as_secs_f64();
    println!("{through} frames, {rate_hz:.0} a second: {early:?}, {late:?} at the end; KiB by window: {grew_kib:?}");
    if wanted.is_some() {
        assert!(late.resident_kib <= early.resident_kib + 2 * GROWS_KIB_MAX, "{early:?}, {late:?}");
    }
    assert_eq!(late.descriptors, early.descriptors);
    // A thread that only the beginning needed may have gone.
    assert!(late.threads <= early.threads, "{early:?}, {late:?}");
    daemon.signal("TERM");
    assert_eq!(daemon.wait(), Some(0));
    broker.assert_no_complaint();
}
