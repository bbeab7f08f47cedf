//! A device as a process of its own, which can be killed: this test program once more, told by its environment what to be.
//!
//! It says numbered things at a steady rate and writes each number down once the outbox has taken it in, from when on the end
//! of the process must not cost it. That takes the outbox's thread some milliseconds.

use std::{
    collections::BTreeMap,
    env,
    fs::{self, File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use andon::{
    publish::{
        Delivery, Message,
        clock::Reading,
        command::Verb,
        commands::{self, NoRules},
        kept,
        mqtt::{self, Client, Link, Publisher},
        outbox::{self, Handover, Outbox},
        wire::{DeviceState, Wire},
    },
    store::Class,
};

use super::wait_until;

const FOLDER: &str = "ANDON_CHAOS_DEVICE_FOLDER";
const BROKER: &str = "ANDON_CHAOS_DEVICE_BROKER";
const RATE: &str = "ANDON_CHAOS_DEVICE_RATE";

/// What the outbox may lose count of when the process is killed: acknowledgements since it last wrote them down.
pub const SYNC: Duration = Duration::from_secs(1);

/// A device and what it leaves on the disk; killed when dropped.
pub struct Device {
    folder: PathBuf,
    broker: String,
    rate_hz: u32,
    process: Option<Child>,
}

impl Device {
    /// One that will say so many things in a second to the broker at `host:port`.
    pub fn new(folder: &Path, broker: String, rate_hz: u32) -> Self {
        Self { folder: folder.to_owned(), broker, rate_hz, process: None }
    }

    /// Starts it, and waits until it is connected and has said something; gives the time that took.
    pub fn start(&mut self) -> Duration {
        let begin = Instant::now();
        self.start_without_waiting();
        let ready = self.folder.join("ready");
        wait_until(Duration::from_secs(30), || "the device is not ready".into(), || ready.exists());
        begin.elapsed()
    }

    /// Starts it.
    pub fn start_without_waiting(&mut self) {
        let _from_a_life_before = fs::remove_file(self.folder.join("ready"));
        let errors = OpenOptions::new().append(true).create(true).open(self.folder.join("stderr")).unwrap();
        let process = Command::new(env::current_exe().unwrap())
            .args(["chaos::device::a_process_of_its_own", "--exact", "--nocapture"])
            .env(FOLDER, &self.folder)
            .env(BROKER, &self.broker)
            .env(RATE, self.rate_hz.to_string())
            .stdout(Stdio::null())
            .stderr(errors)
            .spawn();
        self.process = Some(process.unwrap());
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _gone_already = process.kill();
            let _status = process.wait();
        }
    }

    /// It says nothing more; returns how much it has said in all its lives.
    pub fn be_quiet(&self) -> usize {
        fs::write(self.folder.join("enough"), "").unwrap();
        let quiet = self.folder.join("quiet");
        wait_until(Duration::from_secs(30), || "the device goes on".into(), || quiet.exists());
        self.accepted().len()
    }

    /// It says goodbye and ends.
    pub fn stop(&mut self) {
        fs::write(self.folder.join("stop"), "").unwrap();
        let mut process = self.process.take().expect("it was started");
        let ended = || process.try_wait().unwrap().is_some();
        wait_until(Duration::from_secs(30), || "the device does not end".into(), ended);
    }

    /// The numbers of what its outbox has taken.
    pub fn accepted(&self) -> Vec<u64> {
        accepted(&self.folder)
    }

    /// What it and its lives before have written to stderr, and how it came to be ready in the last ones.
    pub fn stderr(&self) -> String {
        let read = |name| fs::read_to_string(self.folder.join(name)).unwrap_or_default();
        let stages = read("stages");
        let last = stages.lines().rev().take(12).collect::<Vec<_>>().join("\n");
        format!("{}{last}", read("stderr"))
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A line that was cut off by a kill says nothing.
fn accepted(folder: &Path) -> Vec<u64> {
    let text = fs::read_to_string(folder.join("accepted")).unwrap_or_default();
    text.split_inclusive('\n').filter(|line| line.ends_with('\n')).filter_map(|line| line.trim().parse().ok()).collect()
}

/// One life of a device; nothing where this process is no device.
#[test]
fn a_process_of_its_own() {
    let Some(folder) = env::var_os(FOLDER).map(PathBuf::from) else { return };
    let (broker, rate_hz) = (env::var(BROKER).unwrap(), env::var(RATE).unwrap().parse().unwrap());
    log_line(&folder, "a new life");
    let runtime = tokio_runtime();
    let wire = Wire::new("andon", "box", false).unwrap();
    let handover = Arc::new(Handover::default());
    let settings = outbox::Settings { sync: SYNC, ..outbox::Settings::new(folder.join("outbox.db")) };
    let outbox = Outbox::start(settings, handover, kept::gaps(wire.clone())).unwrap();
    let (host, port) = broker.rsplit_once(':').unwrap();
    let will = wire.clone();
    let client = Client {
        outbox: Some(outbox.clone()),
        subscription: commands::subscription(&wire, &Verb::ALL, &outbox, Arc::new(NoRules), None),
        ..Client::with_will(move || will.will(&Reading::now()))
    };
    let settings = mqtt::Settings::new(host, port.parse().unwrap(), "andon-box");
    let publisher = Publisher::start(runtime.handle(), settings, client);
    live(&folder, rate_hz, &wire, &outbox, &publisher);
    let last = wire.status(&Reading::now(), &DeviceState::Stopped, Instant::now(), &kept::numbers(&outbox));
    runtime.block_on(publisher.stop(Some(last), Duration::from_secs(3)));
    assert!(outbox.stop(Duration::from_secs(5)));
}

fn tokio_runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

fn live(folder: &Path, rate_hz: u32, wire: &Wire, outbox: &Outbox, publisher: &Publisher) {
    let mut log = OpenOptions::new().append(true).create(true).open(folder.join("accepted")).unwrap();
    // What a killed life was about to write down is written over.
    let _cut_off = log.write_all(b"\n");
    let mut next = accepted(folder).last().copied().unwrap_or(0) + 1;
    let (begin, first) = (Instant::now(), next);
    let mut noted = next;
    let mut told = BTreeMap::new();
    let mut told_at = None;
    let mut stage = String::new();
    while !folder.join("stop").exists() {
        let due = first + (begin.elapsed().as_secs_f64() * f64::from(rate_hz)) as u64;
        if folder.join("enough").exists() {
            if noted == next {
                File::create(folder.join("quiet")).unwrap();
            }
        } else {
            while next <= due {
                publisher.publish(thing(next)).unwrap();
                next += 1;
            }
        }
        // What is only handed in has not been promised yet.
        let taken = first + outbox.counters().taken;
        while noted < taken {
            log.write_all(format!("{noted}\n").as_bytes()).unwrap();
            noted += 1;
        }
        let numbers = kept::numbers(outbox);
        if told_at.is_none_or(|at: Instant| at.elapsed() >= Duration::from_millis(500))
            && (numbers != told || told_at.is_none())
        {
            let status = wire.status(&Reading::now(), &DeviceState::Online, begin, &numbers);
            publisher.publish(status).unwrap();
            (told, told_at) = (numbers, Some(Instant::now()));
        }
        let up = matches!(publisher.link(), Link::Up { .. });
        let stages = format!("taken: {}, connection: {:?}", noted > first, publisher.link());
        if stages != stage {
            log_line(folder, &format!("{:.1?} after the start, {stages}", begin.elapsed()));
            stage = stages;
        }
        if noted > first && up && !folder.join("ready").exists() {
            File::create(folder.join("ready")).unwrap();
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// For whoever wonders why it took so long.
fn log_line(folder: &Path, line: &str) {
    let mut stages = OpenOptions::new().append(true).create(true).open(folder.join("stages")).unwrap();
    writeln!(stages, "{line}").unwrap();
}

/// Events of three cameras, totals that the broker keeps, and verdicts, which go first.
fn thing(number: u64) -> Message {
    let camera = ["a", "b", "c"][(number % 3) as usize];
    let (topic, class, retain) = match number % 10 {
        0 => (format!("andon/box/{camera}/verdict/size"), Class::First, false),
        1 => (format!("andon/box/{camera}/total/boards"), Class::Middle, true),
        _ => (format!("andon/box/{camera}/events"), Class::Middle, false),
    };
    let padding = "x".repeat(300);
    let payload = format!("{{\"thing\":{number},\"padding\":\"{padding}\"}}").into();
    Message { topic, payload, delivery: Delivery::Kept { class, retain, numbered: true } }
}
