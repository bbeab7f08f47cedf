//! Recordings: an hour of a simulated line is said again byte by byte, and the commands that make, play and explain one.

mod commands;

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use andon::{
    config::Config,
    daemon::station_settings,
    moment::Moment,
    recording::{Heard, Line, Player, Recorder, SAID, said_line},
    rules::{Now, Order, Sight},
    scene::{Belt, BeltSettings, Eye, EyeSettings, Pace},
    station::{Look, Settings},
    track,
};

/// Rules of every kind on one line. `board` and `flaw` are what the scene is made of.
const RULES: &str = r#"
[device]
id = "box"
[model]
path = "m.onnx"
[[camera]]
id = "in"
source = "shots"
track = true
[[rule]]
id = "flaws"
kind = "alarm"
classes = ["flaw"]
when = "2 of 4"
raise = 0.6
clear = 0.4
[[rule]]
id = "eyes"
kind = "blind"
after = 1
[[rule]]
id = "part"
kind = "verdict"
trigger = "line"
parts = ["board"]
line = [[384, 0], [384, 480]]
direction = "right"
fail = ["flaw"]
reject_after = "400 ms"
[[rule]]
id = "boards"
kind = "count"
classes = ["board"]
line = [[384, 0], [384, 480]]
direction = "right"
[[rule]]
id = "sum"
kind = "total"
zone = [[100, 0], [500, 0], [500, 480], [100, 480]]
prices = { board = "1.25", flaw = "0.05" }
currency = "EUR"
empty_after = 20
"#;

fn settings() -> Settings {
    let config = Config::from_toml(RULES, "rules.toml", std::iter::empty()).unwrap();
    let settings = station_settings(&config, 0);
    Settings { track: Some(track::Settings::default()), per_class: BTreeMap::new(), ..settings }
}

/// So many seconds of a restless line, with a camera that goes blind now and then, and somebody who acknowledges.
fn record(folder: &Path, seconds: u64) -> (usize, u64) {
    let began = Moment::from_micros(1_750_000_000_000_000);
    let mut recorder = Recorder::begin(folder, &settings(), began).unwrap();
    let pace = Pace::restless(160.0);
    let mut belt = Belt::new(BeltSettings { seed: 4, pace, ..BeltSettings::default() });
    let interval = Duration::from_millis(100);
    let eye = EyeSettings { seed: 9, interval, dropped: 0.05, flicker: 0.1, ..EyeSettings::default() };
    let size = eye.size;
    let mut eye = Eye::new(eye);
    let mut frames = 0;
    for step in 0.. {
        let shot = eye.shoot();
        if shot.at >= Duration::from_secs(seconds) {
            break;
        }
        let captured_at = began + shot.at;
        let at = |late_ms| {
            let moment = captured_at + Duration::from_millis(late_ms);
            Now { moment, local_micros: Some(moment.micros() + 7_200_000_000) }
        };
        let found = eye.see(belt.truth(shot.at));
        let look = Look { seq: shot.number, captured_at, size };
        recorder.hear(Line { now: at(30), heard: Heard::Frame(look, found) }).unwrap();
        frames += 1;
        if step % 2 == 0 {
            recorder.hear(Line { now: at(40), heard: Heard::Tick }).unwrap();
        }
        match step % 900 {
            300 => {
                let sight = Sight { sees: false, reason: "its picture is dark".to_owned() };
                recorder.hear(Line { now: at(50), heard: Heard::Camera(sight) }).unwrap();
            }
            350 => {
                let sight = Sight { sees: true, reason: String::new() };
                recorder.hear(Line { now: at(50), heard: Heard::Camera(sight) }).unwrap();
            }
            500 => {
                let order = Heard::Order("flaws".to_owned(), Order::Acknowledge);
                recorder.hear(Line { now: at(50), heard: order }).unwrap();
            }
            _ => {}
        }
    }
    let events = recorder.events();
    recorder.finish().unwrap();
    (frames, events)
}

#[test]
fn a_recorded_hour_is_said_again_byte_by_byte() {
    let folder = tempfile::tempdir().unwrap();
    let (frames, events) = record(folder.path(), 3600);
    let said = fs::read_to_string(folder.path().join(SAID)).unwrap();
    assert!(frames > 30_000 && events > 1_000, "{frames} frames, {events} events");
    for kind in ["alarm", "verdict", "count", "total", "line_crossed", "appeared", "left"] {
        assert!(said.contains(&format!("\"kind\":\"{kind}\"")), "no {kind} was said");
    }
    let started = Instant::now();
    let mut again = String::new();
    let tally = Player::open(folder.path()).unwrap().play(&settings(), |word| {
        again.push_str(&said_line("in", &word));
        again.push('\n');
    });
    let took = started.elapsed();
    let tally = tally.unwrap();
    assert!(again == said, "the second time something else was said");
    assert_eq!((tally.frames, tally.said), (frames as u64, events));
    let times = 3600.0 / took.as_secs_f64();
    println!("an hour of {frames} frames and {events} events is played in {took:.2?}: {times:.0} × real time");
    assert!(times >= 50.0, "{took:?}");
}

#[test]
fn a_recording_that_was_cut_off_ends_there_and_one_that_is_damaged_says_where() {
    let folder = tempfile::tempdir().unwrap();
    record(folder.path(), 60);
    let path = folder.path().join("recording.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let play = || Player::open(folder.path()).unwrap().play(&settings(), |_word| ());
    let whole = play().unwrap();
    let lines: Vec<&str> = text.lines().collect();
    fs::write(&path, &text[..text.len() - 20]).unwrap();
    assert!(play().unwrap().to.unwrap() < whole.to.unwrap());
    fs::write(&path, [&lines[..5], &["{\"now\":"], &lines[6..]].concat().join("\n")).unwrap();
    let error = play().unwrap_err().to_string();
    assert!(error.contains("recording.jsonl, line 6: ") && error.ends_with("or make the recording anew"), "{error}");
    let other = Settings { camera: "out".to_owned(), ..settings() };
    fs::write(&path, &text).unwrap();
    let error = Player::open(folder.path()).unwrap().play(&other, |_word| ()).unwrap_err().to_string();
    assert!(error.contains("a recording of camera \"in\""), "{error}");
    fs::write(&path, "{\"format\":\"song\"}\n").unwrap();
    let error = Player::open(folder.path()).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("no recording of this version"), "{error}");
}
