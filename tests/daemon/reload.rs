//! SIGHUP: what is right is taken over without a gap or with a short one, what is wrong changes nothing and is said.

use std::fs;

use super::*;
use crate::util::notify::Manager;

/// While another model loads, the line goes on: so long may it be silent at most, beside the time that a model takes. A busy
/// machine stops a process for a second now and then.
const GAP_MAX: Duration = Duration::from_secs(3);

/// So many frames at least are looked at by the old model while the other one loads: a line that waits for it has one or two.
const FRAMES_MEANWHILE_MIN: u32 = 5;

/// Longer than the larger of the two models takes for a picture in a build that is not optimized.
const PATIENCE: Duration = Duration::from_secs(120);

/// A daemon that films the pictures at this rate, once it is ready.
fn start(line: &Line, manager: &Manager) -> Daemon {
    let daemon = line.start_with(|command| manager.manage(command, None));
    manager.wait_for(SOON, "READY=1");
    daemon
}

/// Has the configuration read again, and waits until that is done.
#[track_caller]
fn reload(daemon: &Daemon, manager: &Manager) {
    daemon.signal("HUP");
    let said = manager.wait_for(SOON, "RELOADING=1");
    let stamp = said.iter().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).unwrap_or_else(|| panic!("{said:?}"));
    assert!(stamp.parse::<u64>().is_ok(), "{said:?}");
    manager.wait_for(SOON, "READY=1");
}

/// Waits for a `degraded` status with these words among its reasons.
#[track_caller]
fn wait_for_trouble(subscriber: &Subscriber, words: &[&str]) -> String {
    let wanted = |heard: &Heard| {
        let message = json(heard);
        let reasons = message["reasons"].to_string();
        message["state"] == "degraded" && words.iter().all(|word| reasons.contains(word))
    };
    subscriber.wait_for(SOON, &format!("degraded with {words:?}"), wanted).payload
}

fn published_at(message: &Value) -> jiff::Timestamp {
    message["published_at"].as_str().unwrap().parse().unwrap()
}

fn sha256(message: &Value) -> String {
    message["model"]["sha256"].as_str().unwrap().to_owned()
}

/// Replaces a file as a careful person does: it is whole at any moment.
fn replace(line: &Line, name: &str, bytes: impl AsRef<[u8]>) {
    let new = line.dir.write("new-file", bytes);
    fs::rename(new, line.dir.path(name)).unwrap();
}

#[test]
fn another_model_is_taken_over_between_two_frames() {
    if !mosquitto::is_installed() {
        return;
    }
    let broker = Mosquitto::start(Setup::default());
    let line = Line::new(broker.port, "");
    line.configure(broker.port, "source = \"shots\"\nrate = 20\nloop = true", "");
    let manager = Manager::new(&line.dir);
    let subscriber = broker.subscribe("andon/box/in/detections");
    let daemon = start(&line, &manager);
    let first = json(&subscriber.wait_for(SOON, "detections", is_detections));

    replace(&line, "squares.onnx", include_bytes!("../../models/bare-boards.onnx"));
    daemon.signal("HUP");
    let mut last = first.clone();
    let mut gap = Duration::ZERO;
    let mut frames = 0;
    let changed = loop {
        let message = json(&subscriber.next(PATIENCE).expect("the line goes on"));
        let silent = published_at(&message).duration_since(published_at(&last)).as_secs_f64();
        let at_work = message["latency_ms"]["total"].as_f64().unwrap() / 1000.0;
        gap = gap.max(Duration::from_secs_f64((silent - at_work).max(0.0)));
        assert!(message["frame"]["seq"].as_u64() > last["frame"]["seq"].as_u64(), "{message} after {last}");
        let is_old = sha256(&message) == sha256(&first);
        let sees_squares = message["detections"].to_string().contains("red");
        assert_eq!(sees_squares, is_old, "each message names the model that looked: {message}");
        last = message;
        frames += 1;
        if !is_old {
            break last.clone();
        }
    };
    assert!(gap <= GAP_MAX, "the line was silent for {gap:?}");
    assert!(frames > FRAMES_MEANWHILE_MIN, "the line waited: {frames} frames until the other model was there");
    assert_eq!(changed["model"]["name"], "squares");
    println!("the longest silence while another model was loaded and taken over: {gap:?}, over {frames} frames");
    manager.wait_for(PATIENCE, "READY=1");
    let again = json(&subscriber.wait_for(PATIENCE, "detections", is_detections));
    assert_eq!(sha256(&again), sha256(&changed));
}

#[test]
fn a_model_that_is_wrong_changes_nothing_and_is_said() {
    if !mosquitto::is_installed() {
        return;
    }
    let broker = Mosquitto::start(Setup::default());
    let line = Line::new(broker.port, "");
    let manager = Manager::new(&line.dir);
    let (detections, status) = (broker.subscribe("andon/box/in/detections"), broker.subscribe("andon/box/status"));
    let daemon = start(&line, &manager);
    let first = json(&detections.wait_for(SOON, "detections", is_detections));
    wait_for_state(&status, "andon/box/status", "online");
    let good = fs::read(line.dir.path("squares.onnx")).unwrap();

    replace(&line, "squares.onnx", &good[..good.len() / 2]);
    reload(&daemon, &manager);
    wait_for_trouble(&status, &["the one before is", "squares.onnx"]);
    daemon.wait_for_log(&["ERROR", "not taken over", "squares.onnx"]);
    for _ in 0..3 {
        let message = json(&detections.wait_for(SOON, "detections", is_detections));
        assert_eq!(sha256(&message), sha256(&first));
    }

    // Nothing runs that was not there before: only the word of it goes.
    replace(&line, "squares.onnx", &good);
    reload(&daemon, &manager);
    wait_for_state(&status, "andon/box/status", "online");
}

#[test]
fn a_configuration_that_is_wrong_changes_nothing_and_is_said() {
    if !mosquitto::is_installed() {
        return;
    }
    let broker = Mosquitto::start(Setup::default());
    let line = Line::new(broker.port, "");
    let manager = Manager::new(&line.dir);
    let (detections, status) = (broker.subscribe("andon/box/in/detections"), broker.subscribe("andon/box/status"));
    let mut daemon = start(&line, &manager);
    wait_for_state(&status, "andon/box/status", "online");
    let good = line.dir.read("andon.toml");

    line.dir.write("andon.toml", good.replace("rate = 5", "rate = \"fast\"\nlop = true"));
    reload(&daemon, &manager);
    let payload = wait_for_trouble(&status, &["andon.toml, line", "it takes a number"]);
    assert!(payload.contains("did you mean \\\"loop\\\"?"), "all that is wrong is said: {payload}");
    detections.wait_for(SOON, "detections", is_detections);

    fs::remove_file(line.dir.path("andon.toml")).unwrap();
    reload(&daemon, &manager);
    wait_for_trouble(&status, &["andon.toml: the configuration cannot be read"]);
    detections.wait_for(SOON, "detections", is_detections);

    line.dir.write("andon.toml", &good);
    reload(&daemon, &manager);
    wait_for_state(&status, "andon/box/status", "online");
    daemon.signal("TERM");
    assert_eq!(daemon.wait(), Some(0));
}

/// What another camera asks for is a short break for all.
#[test]
fn a_change_of_cameras_is_a_short_break() {
    const BREAK_MAX: Duration = Duration::from_secs(5);
    if !mosquitto::is_installed() {
        return;
    }
    let broker = Mosquitto::start(Setup::default());
    let line = Line::new(broker.port, "");
    line.configure(broker.port, "source = \"shots\"\nrate = 20\nloop = true", "");
    let manager = Manager::new(&line.dir);
    let daemon = start(&line, &manager);
    let (detections, all) = (broker.subscribe("andon/box/in/detections"), broker.subscribe("andon/box/out/status"));
    let mut last = json(&detections.wait_for(SOON, "detections", is_detections));
    let text = line.dir.read("andon.toml");
    line.dir
        .write("andon.toml", format!("{text}[[camera]]\nid = \"out\"\nsource = \"shots\"\nrate = 1\nloop = true\n"));
    daemon.signal("HUP");
    let mut gap = 0.0_f64;
    let ready_at = loop {
        let message = json(&detections.next(SOON).expect("the line goes on"));
        gap = gap.max(published_at(&message).duration_since(published_at(&last)).as_secs_f64());
        last = message;
        if manager.next(Duration::from_millis(1)).is_some_and(|said| said.iter().any(|line| line == "READY=1")) {
            break Instant::now();
        }
    };
    wait_for_state(&all, "andon/box/out/status", "live");
    while ready_at.elapsed() < Duration::from_secs(1) {
        let message = json(&detections.next(SOON).expect("the line goes on"));
        gap = gap.max(published_at(&message).duration_since(published_at(&last)).as_secs_f64());
        last = message;
    }
    println!("the break of a camera while another is added: {gap:.2} s");
    assert!(gap < BREAK_MAX.as_secs_f64(), "{gap} s");
}

#[test]
fn other_cameras_and_another_device_are_taken_over() {
    if !mosquitto::is_installed() {
        return;
    }
    let broker = Mosquitto::start(Setup::default());
    let line = Line::new(broker.port, "");
    let manager = Manager::new(&line.dir);
    let subscriber = broker.subscribe("andon/#");
    let mut daemon = start(&line, &manager);
    wait_for_state(&subscriber, "andon/box/in/status", "live");

    let before = line.dir.read("andon.toml");
    line.dir.write("andon.toml", before.replace("id = \"in\"", "id = \"out\""));
    reload(&daemon, &manager);
    let gone = wait_for_state(&subscriber, "andon/box/in/status", "absent");
    assert!(gone["reason"].as_str().unwrap().contains("no longer in the configuration"), "{gone}");
    wait_for_state(&subscriber, "andon/box/out/status", "live");

    line.dir.write("andon.toml", before.replace("id = \"box\"", "id = \"hall\""));
    reload(&daemon, &manager);
    wait_for_state(&subscriber, "andon/box/status", "stopped");
    wait_for_state(&subscriber, "andon/hall/in/status", "live");
    wait_for_state(&broker.subscribe("andon/hall/status"), "andon/hall/status", "online");
    daemon.signal("TERM");
    wait_for_state(&subscriber, "andon/hall/status", "stopped");
    assert_eq!(daemon.wait(), Some(0));
    broker.assert_no_complaint();
}
