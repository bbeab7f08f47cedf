//! A model that would take all memory, or crash what loads it, ends a child process and not the daemon.

use super::*;
use crate::util::{
    notify::Manager,
    onnx::{Dim, Elem, Model},
};

/// A model that declares so large an input that no box has the memory for it.
fn huge() -> TinyYolo {
    TinyYolo { input_size: [8192, 8192], head: Head::EndToEnd, ..TinyYolo::default() }
}

#[test]
fn a_model_that_takes_all_memory_is_refused_with_its_name() {
    let line = Line::new(1, "");
    line.dir.tiny_yolo("squares.onnx", huge());
    for command in [&["run"][..], &["check", "--offline"]] {
        let answer = line.dir.andon(&[command, &["--config", "andon.toml"]].concat()).run();
        assert_eq!(answer.code, Some(1), "{answer:?}");
        let said = format!("{}{}", answer.stdout, answer.stderr);
        assert!(said.contains("model squares.onnx: ") && said.contains("memory"), "{said}");
    }
}

/// A model for a few megabytes that multiplies three matrices of 512 × 512 numbers so many times, 0.8 · 10⁹ operations each.
fn busy(times: usize) -> Vec<u8> {
    let mut model = Model::new(17);
    let dims = [1, 3, 512, 512].map(Dim::Fixed);
    model.input("x", Elem::F32, &dims);
    model.output("y", Elem::F32, &dims);
    let mut product = "x".to_owned();
    for index in 0..times {
        product = model.node("MatMul", &[&product, &product], &[&format!("x{index}")], &[]);
    }
    model.node("Relu", &[&product], &["y"], &[]);
    model.to_bytes()
}

#[test]
fn a_trial_without_time_is_ended_by_the_system() {
    let dir = Dir::new();
    let tried = |times, seconds: u32| {
        dir.write("m.onnx", busy(times));
        let limit = format!("--cpu-seconds={seconds}");
        dir.andon(&["preflight", "--model=m.onnx", "--memory-bytes=8589934592", &limit]).run()
    };
    let answer = tried(2, 60);
    assert_eq!((answer.code, answer.stdout.trim().len()), (Some(0), 64), "{answer:?}");
    // More than a processor does in a second, by far.
    let answer = tried(2000, 1);
    assert_eq!((answer.code, answer.stdout.as_str()), (None, ""), "{answer:?}");
}

#[test]
fn a_running_daemon_survives_such_a_model() {
    if !mosquitto::is_installed() {
        return;
    }
    let broker = Mosquitto::start(Setup::default());
    let line = Line::new(broker.port, "");
    let manager = Manager::new(&line.dir);
    let (detections, status) = (broker.subscribe("andon/box/in/detections"), broker.subscribe("andon/box/status"));
    let mut daemon = line.start_with(|command| manager.manage(command, None));
    manager.wait_for(SOON, "READY=1");
    line.dir.tiny_yolo("squares.onnx", huge());
    daemon.signal("HUP");
    let told = |heard: &Heard| heard.payload.contains("squares.onnx") && heard.payload.contains("memory");
    status.wait_for(SOON, "degraded, with the model as the reason", told);
    for _ in 0..3 {
        detections.wait_for(SOON, "detections", is_detections);
    }
    daemon.signal("TERM");
    assert_eq!(daemon.wait(), Some(0));
}
