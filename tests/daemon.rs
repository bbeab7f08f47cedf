//! The daemon as a process, with a real broker: what a plant hears from the start to the end, and when things go wrong.

mod blindness;
mod clock;
mod demo;
mod home;
mod moving;
mod orders;
mod panic;
mod preflight;
mod refusal;
mod reload;
mod rules;
mod secrets;
mod soak;
mod trouble;
mod watchdog;

use std::{
    fmt::Write as _,
    io::{BufRead, BufReader},
    process::{Child, Command},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::util::{
    ca::Ca,
    mosquitto::{self, Heard, Mosquitto, Setup, Subscriber},
    run::{Dir, GREEN, RED, squares},
    tiny_yolo::{Head, TinyYolo},
};

/// Longer than anything here takes on a busy machine.
const SOON: Duration = Duration::from_secs(30);

/// A folder with a model, pictures and a configuration.
struct Line {
    dir: Dir,
}

impl Line {
    /// Two pictures at five a second, a broker on this port, and what else stands in `[mqtt]`.
    fn new(port: u16, mqtt: &str) -> Self {
        let line = Self { dir: Dir::new() };
        line.dir.tiny_yolo("squares.onnx", TinyYolo { head: Head::EndToEnd, ..TinyYolo::default() });
        line.dir.squares("shots/a.png", (64, 64), &[(1, 2, RED)]);
        line.dir.squares("shots/b.png", (64, 64), &[(5, 5, GREEN), (0, 7, RED)]);
        line.configure(port, "source = \"shots\"\nrate = 5\nloop = true", mqtt);
        line
    }

    fn configure(&self, port: u16, camera: &str, mqtt: &str) {
        let mut text = "[device]\nid = \"box\"\n[model]\npath = \"squares.onnx\"\nthreads = 1\n".to_owned();
        write!(text, "[[camera]]\nid = \"in\"\n{camera}\n[mqtt]\nport = {port}\n{mqtt}\n").unwrap();
        self.dir.write("andon.toml", text);
    }

    fn start(&self) -> Daemon {
        self.start_with(|command| command)
    }

    fn start_with(&self, set: impl FnOnce(&mut Command) -> &mut Command) -> Daemon {
        Daemon::of(self.dir.andon(&["run", "--config", "andon.toml"]).with(set).start())
    }
}

/// A running daemon, killed when dropped.
struct Daemon {
    process: Child,
    stderr: Receiver<String>,
}

impl Daemon {
    fn of(mut process: Child) -> Self {
        let output = BufReader::new(process.stderr.take().unwrap());
        let (sender, stderr) = channel();
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { process, stderr }
    }

    /// Passes over the log until a line holds all of the words.
    #[track_caller]
    fn wait_for_log(&self, words: &[&str]) -> String {
        let give_up = Instant::now() + SOON;
        let mut passed = Vec::new();
        while let Ok(line) = self.stderr.recv_timeout(give_up.saturating_duration_since(Instant::now())) {
            if words.iter().all(|word| line.contains(word)) {
                return line;
            }
            passed.push(line);
        }
        panic!("the log never said {words:?}, but {passed:#?}");
    }

    fn signal(&self, signal: &str) {
        let command = format!("kill -{signal} {}", self.process.id());
        assert!(Command::new("sh").args(["-c", &command]).status().unwrap().success());
    }

    /// Waits for the end; gives the exit code.
    #[track_caller]
    fn wait(&mut self) -> Option<i32> {
        let give_up = Instant::now() + SOON;
        while Instant::now() < give_up {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status.code();
            }
            thread::sleep(Duration::from_millis(20));
        }
        panic!("the daemon does not end");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _gone_already = self.process.kill();
        let _status = self.process.wait();
    }
}

/// Waits for a status with this state, and gives the message.
#[track_caller]
fn wait_for_state(subscriber: &Subscriber, topic: &str, state: &str) -> Value {
    let wanted = |heard: &Heard| heard.topic == topic && json(heard)["state"] == state;
    json(&subscriber.wait_for(SOON, &format!("{topic} {state}"), wanted))
}

fn json(heard: &Heard) -> Value {
    serde_json::from_str(&heard.payload).unwrap()
}

fn is_detections(heard: &Heard) -> bool {
    heard.topic == "andon/box/in/detections"
}

/// As in a plant: TLS, a password, a broker that goes down and comes back, an orderly stop.
#[test]
fn the_plant_hears_the_line_through_an_outage_until_it_stops() {
    if !mosquitto::is_installed() {
        return;
    }
    let ca = Ca::new("Plant CA");
    let mut broker = Mosquitto::start(Setup {
        login: Some(("andon".into(), "sesame".into())),
        tls: Some(ca.server("127.0.0.1")),
        ca: Some(ca.pem()),
        clients_from: None,
    });
    let mqtt =
        format!("username = \"andon\"\npassword_file = \"password\"\ntls = {{ ca = \"{}\" }}", ca.pem().display());
    let line = Line::new(broker.port, &mqtt);
    line.dir.write("password", "sesame\n");
    let subscriber = broker.subscribe("andon/#");
    let mut daemon = line.start();
    assert_eq!(wait_for_state(&subscriber, "andon/box/in/status", "live")["reason"], Value::Null);
    // A late subscriber, since the device's status may have come before the camera's.
    wait_for_state(&broker.subscribe("andon/box/status"), "andon/box/status", "online");
    let heard =
        subscriber.wait_for(SOON, "a green square", |heard| is_detections(heard) && heard.payload.contains("green"));
    assert_eq!((heard.qos, heard.retained), (0, false));
    check_detections(&json(&heard));

    broker.kill();
    daemon.wait_for_log(&["broker"]);
    broker.start_again();
    let back = Instant::now();
    let subscriber = broker.subscribe("andon/#");
    subscriber.wait_for(Duration::from_secs(10), "detections after the outage", is_detections);
    println!("detections again {:?} after the broker came back", back.elapsed());

    daemon.signal("TERM");
    wait_for_state(&subscriber, "andon/box/status", "stopped");
    assert_eq!(daemon.wait(), Some(0));
    let late = broker.subscribe("andon/box/status");
    let kept = late.next(SOON).unwrap();
    assert!(kept.retained && json(&kept)["state"] == "stopped", "{kept:?}");
    broker.assert_no_complaint();
}

fn check_detections(message: &Value) {
    assert_eq!(message["schema"], "andon/1");
    assert_eq!((&message["device"], &message["camera"]), (&"box".into(), &"in".into()));
    assert_eq!((&message["frame"]["width"], &message["frame"]["height"]), (&64.into(), &64.into()));
    assert_eq!(message["model"]["name"], "squares");
    assert_eq!(message["model"]["sha256"].as_str().map(str::len), Some(64));
    assert!(message["latency_ms"]["total"].as_f64().is_some_and(|total| (0.0..10_000.0).contains(&total)));
    let mut found: Vec<_> = message["detections"].as_array().unwrap().iter().collect();
    found.sort_by_key(|item| item["name"].as_str());
    assert_eq!(found.iter().map(|item| item["name"].as_str().unwrap()).collect::<Vec<_>>(), ["green", "red"]);
    let corner = |item: &Value, key: &str| item["box"][key].as_f64().unwrap();
    assert_eq!(["x1", "y1", "x2", "y2"].map(|key| corner(found[0], key)), [40.0, 40.0, 48.0, 48.0]);
    assert_eq!(["x1", "y1", "x2", "y2"].map(|key| corner(found[1], key)), [0.0, 56.0, 8.0, 64.0]);
    assert!(message.get("simulated").is_none(), "this is not the demo");
}

#[test]
fn a_killed_daemon_is_offline() {
    if !mosquitto::is_installed() {
        return;
    }
    let broker = Mosquitto::start(Setup::default());
    let line = Line::new(broker.port, "");
    let subscriber = broker.subscribe("andon/box/status");
    let daemon = line.start();
    wait_for_state(&subscriber, "andon/box/status", "online");
    daemon.signal("KILL");
    let will = wait_for_state(&subscriber, "andon/box/status", "offline");
    assert!(will["connected_at"].is_string());
}

#[test]
fn changes_and_events_say_less() {
    if !mosquitto::is_installed() {
        return;
    }
    let broker = Mosquitto::start(Setup::default());
    let line = Line::new(broker.port, "publish = \"changes\"");
    line.configure(broker.port, "source = \"shots/a.png\"\nrate = 20\nloop = true", "publish = \"changes\"");
    let subscriber = broker.subscribe("andon/#");
    let daemon = line.start();
    subscriber.wait_for(SOON, "the first picture is news", is_detections);
    let until = Instant::now() + Duration::from_secs(1);
    while let Some(heard) = subscriber.next(until.saturating_duration_since(Instant::now())) {
        assert!(!is_detections(&heard), "the same picture again is no news: {heard:?}");
    }
    drop(daemon);

    line.configure(broker.port, "source = \"shots\"\nrate = 20\nloop = true", "publish = \"events\"");
    let subscriber = broker.subscribe("andon/#");
    let _daemon = line.start();
    wait_for_state(&subscriber, "andon/box/in/status", "live");
    let until = Instant::now() + Duration::from_secs(1);
    while let Some(heard) = subscriber.next(until.saturating_duration_since(Instant::now())) {
        assert!(!is_detections(&heard), "{heard:?}");
    }
}
