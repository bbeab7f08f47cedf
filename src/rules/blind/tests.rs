//! Tests of the alarm over a camera that sees nothing, for each reason that a camera has.

use super::*;
use crate::{
    event::AlarmState::{Normal, Unacknowledged},
    rules::{
        Kind, Manner, Settings,
        testing::{Bench, PLAIN, alarm_of},
    },
};

/// What the daemon says of cameras.
const REASONS: [&str; 7] = [
    "the camera is absent",
    "the camera is stalled: no frame for 2 s",
    "the picture is dark",
    "the picture is over-exposed",
    "the picture is frozen",
    "the picture is blurred",
    "the camera was moved",
];

fn bench(manner: Manner) -> Bench {
    let kind = Kind::Blind(BlindSettings { after: Duration::from_secs(5), manner });
    let mut bench = Bench::new(Settings { id: "eye".to_owned(), kind });
    bench.camera("");
    bench
}

#[test]
fn whatever_blinds_the_camera_raises_the_alarm_after_the_time_and_names_the_reason() {
    for reason in REASONS {
        let mut bench = bench(PLAIN);
        bench.camera(reason);
        let blind_since = bench.now;
        bench.wait(4.9);
        assert_eq!(bench.said, [], "{reason}");
        bench.wait(0.1);
        assert_eq!(bench.states(), [Unacknowledged], "{reason}");
        let event = bench.said[0].clone();
        assert_eq!((event.at, event.frame), (bench.now, None));
        assert_eq!(alarm_of(&event).reason, reason);
        let because: Vec<_> = event.because.iter().map(|step| (step.at, step.meant.as_str())).collect();
        assert_eq!(because, [(blind_since, "the camera went blind"), (bench.now, "blind for long enough")]);
        bench.wait(60.0);
        assert_eq!(bench.said.len(), 1, "{reason}");
        bench.camera("");
        assert_eq!(bench.states(), [Unacknowledged, Normal]);
        assert_eq!(alarm_of(&bench.said[1]).reason, "the camera sees again");
    }
}

#[test]
fn frames_that_come_while_it_is_blind_do_not_hinder_it() {
    let mut bench = bench(PLAIN);
    bench.camera("the picture is frozen");
    bench.empty(5.0);
    assert_eq!(bench.states(), [Unacknowledged]);
}

#[test]
fn a_short_blink_raises_nothing_and_does_not_add_up() {
    let mut bench = bench(PLAIN);
    for _ in 0..20 {
        bench.camera("the picture is dark");
        bench.wait(4.9);
        bench.camera("");
        bench.wait(0.1);
    }
    assert_eq!(bench.said, []);
}

#[test]
fn another_reason_is_no_other_alarm_and_does_not_begin_anew() {
    let mut bench = bench(PLAIN);
    bench.camera("the picture is dark");
    bench.wait(3.0);
    bench.camera("the camera is absent");
    bench.wait(2.0);
    assert_eq!(bench.states(), [Unacknowledged]);
    assert_eq!(bench.alarm().reason, "the camera is absent");
    bench.camera("the picture is dark");
    bench.wait(60.0);
    assert_eq!(bench.said.len(), 1);
}

#[test]
fn the_alarm_outlives_a_restart_until_the_camera_is_heard_of() {
    let mut bench = bench(PLAIN);
    bench.camera("the camera is absent");
    bench.wait(5.0);
    bench.crash();
    bench.wait(60.0);
    assert_eq!(bench.states(), [Unacknowledged]);
    assert!(bench.alarm().active);
    bench.camera("");
    assert_eq!(bench.states(), [Unacknowledged, Normal]);
}

#[test]
fn a_restart_at_any_time_raises_it_at_the_same_time() {
    let run = |crash_at: Option<usize>| {
        let mut bench = bench(PLAIN);
        for step in 0..240 {
            let reason = if (60..180).contains(&step) { "the camera is absent" } else { "" };
            if step % 60 == 0 {
                bench.camera(reason);
            }
            bench.wait(0.1);
            if crash_at == Some(step) {
                bench.crash();
                // A daemon says at its start how the cameras are.
                bench.camera(reason);
            }
        }
        bench.said
    };
    let whole = run(None);
    assert_eq!(whole.len(), 2);
    for step in 0..240 {
        assert_eq!(run(Some(step)), whole, "crash after step {step}");
    }
}

#[test]
fn a_camera_that_was_blind_before_a_restart_and_is_not_now_raises_nothing() {
    let mut bench = bench(PLAIN);
    bench.camera("the camera is absent");
    bench.wait(4.0);
    bench.crash();
    bench.wait(60.0);
    bench.camera("");
    bench.wait(60.0);
    assert_eq!(bench.said, []);
}

#[test]
fn a_reset_begins_again_while_it_is_blind() {
    let mut bench = bench(PLAIN);
    bench.camera("the picture is dark");
    bench.wait(5.0);
    bench.order(&Order::Reset).unwrap();
    bench.wait(4.9);
    assert_eq!(bench.states(), [Unacknowledged, Normal]);
    bench.wait(0.1);
    assert_eq!(bench.states(), [Unacknowledged, Normal, Unacknowledged]);
}

#[test]
fn a_night_off_is_no_time_for_which_it_was_blind() {
    let mut bench = bench(PLAIN);
    bench.camera("the camera is absent");
    bench.wait(2.0);
    bench.now = bench.now + Duration::from_secs(8 * 3600);
    bench.crash();
    bench.camera("the camera is absent");
    bench.wait(4.9);
    assert_eq!(bench.said, []);
    bench.wait(0.1);
    assert_eq!(bench.states(), [Unacknowledged]);
    // A gap that is shorter than the time changes nothing.
    bench.camera("");
    bench.camera("the camera is absent");
    bench.wait(2.0);
    bench.now = bench.now + Duration::from_secs(2);
    bench.crash();
    bench.camera("the camera is absent");
    bench.wait(1.0);
    assert_eq!(bench.states(), [Unacknowledged, Normal, Unacknowledged]);
}
