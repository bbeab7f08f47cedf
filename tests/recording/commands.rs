//! `andon record`, `replay` and `explain`, on a folder of pictures and the model that finds squares.

use crate::util::{
    run::{Dir, GREEN, RED},
    tiny_yolo::TinyYolo,
};

const CONFIG: &str = r#"
[device]
id = "box"
[model]
path = "squares.onnx"
threads = 1
[[camera]]
id = "in"
source = "shots"
rate = 20
[[rule]]
id = "red"
kind = "alarm"
classes = ["red"]
when = "2 of 3"
clear_after = 0.1
"#;

/// A folder with a recording of ten pictures: three without a red square, four with one, three without.
fn recorded() -> Dir {
    let dir = Dir::new();
    dir.tiny_yolo("squares.onnx", TinyYolo::default());
    dir.write("andon.toml", CONFIG);
    for number in 0..10 {
        let (red, green) = ((1, 2, RED), (5, 6, GREEN));
        let cells = if (3..7).contains(&number) { vec![red, green] } else { vec![green] };
        dir.squares(&format!("shots/{number}.png"), (64, 64), &cells);
    }
    let answer = dir.andon(&["record", "--config", "andon.toml", "--out", "tape"]).run();
    assert!(answer.ok().starts_with("recorded 10 frames, "), "{answer:?}");
    dir
}

fn raised(dir: &Dir) -> serde_json::Value {
    let lines = dir.read("tape/in/events.jsonl");
    let events = lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let mut raised = events.filter(|event| event["alarm"]["state"] == "unacknowledged");
    let event = raised.next().expect("the red square raises the alarm");
    assert!(raised.next().is_none(), "once");
    event
}

#[test]
fn what_was_recorded_is_played_again_and_explained() {
    let dir = recorded();
    let event = raised(&dir);
    let id = event["event"]["id"].as_str().unwrap();

    let played = dir.andon(&["replay", "--config", "andon.toml", "tape/in"]).run();
    assert_eq!((played.code, played.stdout.as_str()), (Some(0), dir.read("tape/in/events.jsonl").as_str()));
    assert!(played.stderr.contains("× real time"), "{played:?}");
    let checked = dir.andon(&["replay", "--config", "andon.toml", "--check", "tape/in"]).run();
    assert_eq!((checked.code, checked.stdout.as_str()), (Some(0), ""), "{checked:?}");

    let told = dir.andon(&["explain", id, "--recording", "tape/in", "--out", "why.png"]).run();
    let text = told.ok();
    assert!(text.starts_with(&format!("{id}: alarm \"red\" of camera \"in\"")), "{text}");
    assert!(text.lines().count() > 6 && text.contains("unacknowledged"), "{text}");
    let strip = image::open(dir.path("why.png")).unwrap();
    assert!(strip.width() > 480 && strip.height() >= 360, "{} × {}", strip.width(), strip.height());
}

#[test]
fn other_rules_say_other_things_and_check_says_so() {
    let dir = recorded();
    dir.write("other.toml", CONFIG.replace("2 of 3", "4 of 4"));
    let checked = dir.andon(&["replay", "--config", "other.toml", "--check", "tape/in"]).run();
    let sentence = checked.sentence(1);
    assert!(sentence.contains("events.jsonl, line ") && sentence.contains("were the rules others?"), "{sentence}");
}

#[test]
fn what_is_not_there_is_said() {
    let dir = recorded();
    for (arguments, parts) in [
        (&["record", "--config", "andon.toml", "--out", "tape"][..], "tape/in has a recording already"),
        (&["replay", "--config", "andon.toml", "shots"], "there is no recording; `andon record` makes one"),
        (&["explain", "nothing-1", "--recording", "tape/in"], "has no event \"nothing-1\""),
        (&["explain", "nothing-1", "--db", "none.db"], "there is no outbox yet"),
    ] {
        let answer = dir.andon(arguments).run();
        assert!(answer.sentence(1).contains(parts), "{answer:?}");
    }
}
