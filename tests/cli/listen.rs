//! `andon listen` without a broker; with one it is what `tests/chaos` checks with.

use crate::util::{mosquitto::free_port, run::Dir};

#[test]
fn a_broker_that_is_not_there_is_said_and_nothing_heard_is_a_failure() {
    let port = free_port().to_string();
    let answer = Dir::new().andon(&["listen", "--host", "127.0.0.1", "--port", &port, "--for", "0.5", "--json"]).run();
    assert_eq!(answer.code, Some(1), "{answer:?}");
    let sentence =
        format!("broker 127.0.0.1:{port} refused the connection; check that it runs, and [mqtt] host and port");
    assert!(answer.stderr.trim().ends_with(&sentence) && answer.stderr.lines().count() == 1, "{answer:?}");
    let summary: serde_json::Value = serde_json::from_str(&answer.stdout).unwrap();
    assert_eq!((&summary["connections"], &summary["messages"], &summary["lost"]), (&0.into(), &0.into(), &0.into()));
}

#[test]
fn arguments_that_make_no_sense_are_refused() {
    let refused = |arguments: &[&str]| {
        let all = [&["listen", "--host", "127.0.0.1"], arguments].concat();
        Dir::new().andon(&all).run().sentence(2).to_owned()
    };
    assert!(refused(&["--prefix", "a//b"]).starts_with("the prefix \"a//b\" is not usable; write"));
    assert!(refused(&["--device", "Line 1"]).starts_with("the id \"Line 1\" is not usable; write"));
    assert_eq!(refused(&["--for=-1"]), "--for takes seconds, from 0 to 1000000000");
}
