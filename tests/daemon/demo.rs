//! `andon run` without a configuration: a broker of its own, and a line for every frame.

use std::net::TcpListener;

use super::*;

#[test]
fn the_demo_brings_its_broker_and_prints_what_it_finds() {
    if !mosquitto::is_installed() {
        return;
    }
    // With the customary port taken, it takes another; where somebody has it already, so much the better.
    let _taken = TcpListener::bind(("127.0.0.1", 1883));
    let line = Line::new(1, "");
    let mut child = line.dir.andon(&["run", "--model", "squares.onnx", "--source", "shots"]).start();
    let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut daemon = Daemon::of(child);
    let hint = stdout.find(|line| line.contains("mosquitto_sub")).unwrap();
    let port: u16 = hint.split("-p ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert_ne!(port, 1883);
    let subscriber = Subscriber::at(port, "andon/demo/#");
    let heard = subscriber.wait_for(SOON, "detections", |heard| heard.topic == "andon/demo/line/detections");
    assert_eq!(json(&heard)["simulated"], true);
    let lines: Vec<String> = stdout.by_ref().take(4).collect();
    assert!(lines.iter().any(|line| line.contains(" ms  ") && line.contains("green ")), "{lines:?}");
    daemon.signal("INT");
    assert_eq!(daemon.wait(), Some(0));
}

#[test]
fn the_demo_needs_nothing() {
    let mut child = Dir::new().andon(&["run"]).start();
    let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut daemon = Daemon::of(child);
    let hint = stdout.find(|line| line.contains("mosquitto_sub")).unwrap();
    assert!(hint.contains("-t 'andon/demo/#'"), "{hint}");
    let judged = mosquitto::is_installed().then(|| {
        let port = hint.split("-p ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
        Subscriber::at(port, "andon/demo/line/verdict/board")
    });
    let lines: Vec<String> = stdout.by_ref().take_while(|line| !line.starts_with("── 10 boards:")).collect();
    let boards = lines.iter().filter(|line| line.starts_with("board ")).count();
    assert_eq!(boards, 10, "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("found ")), "the bundled model finds defects: {lines:?}");
    if let Some(judged) = judged {
        let verdict = judged.wait_for(SOON, "a verdict", |heard| json(heard)["verdict"]["part"].as_u64() >= Some(5));
        let verdict = &json(&verdict)["verdict"];
        assert!(["pass", "fail"].contains(&verdict["verdict"].as_str().unwrap()), "{verdict}");
    }
    daemon.signal("INT");
    assert_eq!(daemon.wait(), Some(0));
}

#[test]
fn a_wrong_option_of_the_line_is_told_before_anything_starts() {
    let answer = Dir::new().andon(&["run", "--source", "line:noize=3"]).run();
    let said = answer.sentence(2);
    assert!(said.contains("noize") && said.contains("noise"), "{said}");
}

#[test]
fn a_model_without_a_source_says_what_it_needs() {
    let answer = Dir::new().andon(&["run", "--model", "yolo.onnx"]).run();
    let said = answer.sentence(2);
    assert!(said.contains("--source"), "{said}");
}
