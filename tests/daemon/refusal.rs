//! What is wrong at the start ends the daemon with one sentence, and `check` says the same before.

use super::*;

#[test]
fn a_wrong_configuration_is_told_with_line_and_remedy() {
    let line = Line::new(1, "");
    line.dir
        .write("andon.toml", "[mqtt]\nhots = \"a\"\n\n[[camera]]\nid = \"In\"\nsource = \"shots\"\nrate = \"fast\"\n");
    let answer = line.dir.andon(&["run", "--config", "andon.toml"]).run();
    let said = answer.sentences();
    assert_eq!(answer.code, Some(1));
    let all = said.join("\n");
    for sentence in [
        "andon.toml, line 2: unknown key \"hots\" in [mqtt]; did you mean \"host\"?",
        "line 5: [[camera]] id: the id \"In\" is not usable; write it with a-z, 0-9, _ and - only",
        "line 7: [[camera]] \"In\" rate: it takes a number, not a text",
        "there is no model to look with",
    ] {
        assert!(all.contains(sentence), "{sentence:?} is not in {all}");
    }
}

#[test]
fn a_wrong_model_ends_the_daemon() {
    let line = Line::new(1, "");
    line.dir.write("squares.onnx", "no model");
    let answer = line.dir.andon(&["run", "--config", "andon.toml"]).run();
    assert!(answer.sentence(1).contains("squares.onnx"), "{answer:?}");
    std::fs::remove_file(line.dir.path("squares.onnx")).unwrap();
    let answer = line.dir.andon(&["run", "--config", "andon.toml"]).run();
    assert!(answer.sentence(1).contains("squares.onnx"), "{answer:?}");
}

#[test]
fn a_missing_configuration_is_an_error_and_a_service_never_runs_the_demo() {
    let dir = Dir::new();
    let answer = dir.andon(&["run", "--config", "nowhere.toml"]).run();
    assert!(answer.sentence(1).contains("nowhere.toml"), "{answer:?}");
    let demo = dir.andon(&["run", "--model", "m.onnx", "--source", "shots"]);
    let answer = demo.with(|command| command.env("NOTIFY_SOCKET", dir.path("socket"))).run();
    assert!(answer.sentence(2).contains("--config /etc/andon/andon.toml"), "{answer:?}");
}

#[test]
fn check_says_ok_or_what_to_do_for_each_thing() {
    if !mosquitto::is_installed() {
        return;
    }
    let broker = Mosquitto::start(Setup::default());
    let line = Line::new(broker.port, "");
    let answer = line.dir.andon(&["check", "--config", "andon.toml"]).run();
    assert_eq!(answer.code, Some(0), "{answer:?}");
    let marks: Vec<&str> = answer.stdout.lines().map(|line| line.split(':').next().unwrap()).collect();
    assert_eq!(
        marks,
        ["ok    configuration", "ok    model \"default\"", "ok    camera \"in\"", "ok    broker 127.0.0.1"]
    );

    line.configure(1, "source = \"nowhere\"", "");
    line.dir.write("squares.onnx", "no model");
    let answer = line.dir.andon(&["check", "--config", "andon.toml"]).run();
    assert_eq!(answer.code, Some(1), "{answer:?}");
    let failed: Vec<&str> = answer.stdout.lines().filter(|line| line.starts_with("FAIL")).collect();
    assert_eq!(failed.len(), 3, "{failed:#?}");
    let offline = line.dir.andon(&["check", "--offline", "--config", "andon.toml"]).run();
    let told: Vec<&str> = offline.stdout.lines().collect();
    assert_eq!((offline.code, told.len()), (Some(1), 2), "neither camera nor broker is asked: {told:#?}");
    assert!(told[0].starts_with("ok    configuration") && told[1] == failed[0], "{told:#?}");
    line.dir.tiny_yolo("squares.onnx", TinyYolo::default());
    let offline = line.dir.andon(&["check", "--offline", "--config", "andon.toml"]).run();
    assert_eq!(offline.code, Some(0), "a camera and a broker that are away are no reason not to start: {offline:?}");
    assert!(failed[0].contains("squares.onnx") && failed[1].contains("nowhere") && failed[2].contains("refused"));
}

#[test]
fn a_class_that_the_model_does_not_know_is_told_with_its_rule() {
    let line = Line::new(1, "");
    let rule = "[[rule]]\nid = \"flaw\"\nkind = \"alarm\"\nclasses = [\"red\", \"grene\"]\n";
    line.configure(1, "source = \"shots\"", rule);
    let told = "[[rule]] \"flaw\" classes: the model has no class \"grene\"; did you mean \"green\"?";
    let answer = line.dir.andon(&["run", "--config", "andon.toml"]).run();
    let said = answer.stderr.lines().last().unwrap_or_default();
    assert_eq!((answer.code, said), (Some(1), format!("error: {told}").as_str()), "{answer:?}");
    let answer = line.dir.andon(&["check", "--offline", "--config", "andon.toml"]).run();
    let failed: Vec<&str> = answer.stdout.lines().filter(|line| line.starts_with("FAIL")).collect();
    assert_eq!((answer.code, failed), (Some(1), vec![format!("FAIL  configuration: {told}").as_str()]));
    line.configure(1, "source = \"shots\"", &rule.replace("grene", "green"));
    assert_eq!(line.dir.andon(&["check", "--offline", "--config", "andon.toml"]).run().code, Some(0));
}

/// Only the model that comes with andon is there to ask.
#[test]
fn the_example_with_the_bundled_model_asks_for_what_it_knows() {
    let line = Line::new(1, "");
    let bundled = concat!(env!("CARGO_MANIFEST_DIR"), "/models/bare-boards.onnx");
    let example = include_str!("../../examples/pcb-reject-gate.toml");
    let installed = "/usr/share/andon/bare-boards.onnx";
    assert!(example.contains(installed));
    line.dir.write("andon.toml", example.replace(installed, bundled));
    let answer = line.dir.andon(&["check", "--offline", "--config", "andon.toml"]).run();
    assert_eq!(answer.code, Some(0), "{answer:?}");
}

/// A running daemon is not thrown out by a check under its configuration.
#[test]
fn check_leaves_a_running_daemon_alone() {
    if !mosquitto::is_installed() {
        return;
    }
    let broker = Mosquitto::start(Setup::default());
    let line = Line::new(broker.port, "");
    let subscriber = broker.subscribe("andon/box/#");
    let _daemon = line.start();
    wait_for_state(&subscriber, "andon/box/status", "online");
    let answer = line.dir.andon(&["check", "--config", "andon.toml"]).run();
    assert_eq!(answer.code, Some(0), "{answer:?}");
    let until = Instant::now() + Duration::from_millis(500);
    while let Some(heard) = subscriber.next(until.saturating_duration_since(Instant::now())) {
        assert_ne!(heard.topic, "andon/box/status", "{heard:?}");
    }
}
