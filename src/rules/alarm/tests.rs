//! Tests of alarms over what is seen: scores around the thresholds, windows, gaps and restarts.

use std::time::Duration;

use super::*;
use crate::{
    event::AlarmState::{self, Normal, Returned, Shelved, Unacknowledged},
    geometry::Point,
    random::Rng,
    rules::{
        Anchor, Kind, Manner, Settings, Unit, Zone,
        testing::{Bench, PLAIN, alarm_of, thing},
    },
};

const THREE_OF_FIVE: When = When::Frames { count: 3, frames: 5 };

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// Raised at 0.6, kept by 0.4, returned after 2 s.
fn settings(when: When, manner: Manner) -> AlarmSettings {
    AlarmSettings { watch: Watch::default(), when, raise: 0.6, clear: 0.4, clear_after: seconds(2.0), manner }
}

fn bench_of(settings: AlarmSettings) -> Bench {
    Bench::new(Settings { id: "scratch".to_owned(), kind: Kind::Alarm(settings) })
}

fn bench(when: When, manner: Manner) -> Bench {
    bench_of(settings(when, manner))
}

/// No two messages in a row say the same state.
fn assert_no_repetition(bench: &Bench) {
    for pair in bench.said.windows(2) {
        let key = |index: usize| (alarm_of(&pair[index]).state, alarm_of(&pair[index]).shelved_until);
        assert_ne!(key(0), key(1), "{pair:?}");
    }
}

#[test]
fn it_is_raised_by_enough_hits_and_says_why() {
    let mut bench = bench(THREE_OF_FIVE, PLAIN);
    bench.empty(1.0);
    bench.scores(&[0.7, 0.5, 0.9]);
    assert_eq!(bench.said, []);
    bench.score(0.83);
    assert_eq!(bench.states(), [Unacknowledged]);
    let event = bench.said[0].clone();
    let alarm = alarm_of(&event);
    assert_eq!(alarm.reason, "scratch 0.83 in 3 of the last 5 frames");
    assert_eq!((event.at, event.frame), (bench.now, Some(bench.seq)));
    assert_eq!((alarm.since, alarm.raised_at, alarm.raises), (bench.now, Some(bench.now), 1));
    assert_eq!((alarm.active, alarm.evidence.as_ref()), (true, Some(&event.id)));
    let because: Vec<_> = event.because.iter().map(|step| (step.frame, step.score, step.meant.as_str())).collect();
    let expected = [
        (Some(10), None, "nothing"),
        (Some(11), Some(0.7), "a hit"),
        (Some(12), Some(0.5), "below raise"),
        (Some(13), Some(0.9), "a hit"),
        (Some(14), Some(0.83), "a hit"),
    ];
    assert_eq!(because, expected);
}

#[test]
fn it_returns_when_nothing_kept_it_for_long_enough_and_says_why() {
    let mut bench = bench(THREE_OF_FIVE, PLAIN);
    bench.scores(&[0.7, 0.7, 0.7]);
    bench.scores(&[0.45, 0.39, 0.39]);
    bench.empty(1.7);
    assert_eq!(bench.states(), [Unacknowledged]);
    bench.empty(0.1);
    assert_eq!(bench.states(), [Unacknowledged, Normal]);
    let event = bench.said[1].clone();
    let alarm = alarm_of(&event);
    assert_eq!(alarm.reason, "nothing of 0.4 or more for 2 s");
    assert_eq!((alarm.active, alarm.raises, alarm.evidence.as_ref()), (false, 1, Some(&bench.said[0].id)));
    let because: Vec<_> = event.because.iter().map(|step| (step.frame, step.score, step.meant.as_str())).collect();
    let last = (Some(24), None, "below clear for long enough");
    assert_eq!(because, [(Some(4), Some(0.45), "kept it"), (Some(5), Some(0.39), "below clear"), last]);
}

#[test]
fn a_score_that_oscillates_for_ten_minutes_is_one_raise_and_one_clear() {
    // Around raise, around clear, across both, within them, and all the way; slow and fast; with noise.
    let mut raises = 0;
    for (middle, amplitude) in
        [(0.6, 0.05), (0.6, 0.15), (0.4, 0.05), (0.5, 0.2), (0.5, 0.05), (0.5, 0.45), (0.55, 0.3)]
    {
        for period in [2.5, 3.7, 7.0, 13.0, 37.0] {
            for seed in 0..6 {
                let mut rng = Rng::new(seed, period as u64);
                let noise = 0.02 * seed as f64;
                let mut bench = bench(THREE_OF_FIVE, PLAIN);
                for frame in 0..6000 {
                    let wave = (frame as f64 * std::f64::consts::TAU / period).sin();
                    bench.score((middle + amplitude * wave + noise * (2.0 * rng.fraction() - 1.0)) as f32);
                }
                let during = bench.states();
                bench.empty(60.0);
                let case = format!("{middle} ± {amplitude}, {period} frames, noise {noise}: {:?}", bench.states());
                assert!(during.is_empty() || during == [Unacknowledged], "{case}");
                assert!(bench.states().is_empty() || bench.states() == [Unacknowledged, Normal], "{case}");
                raises += during.len();
            }
        }
    }
    assert!(raises > 100, "{raises}");
}

#[test]
fn slow_swings_past_both_thresholds_are_alarms_of_their_own_and_a_cooldown_bounds_them() {
    // Ten seconds there, ten seconds not.
    let swings = |bench: &mut Bench| {
        for _ in 0..30 {
            bench.scores(&[0.9; 100]);
            bench.scores(&[0.1; 100]);
        }
    };
    let mut free = bench(THREE_OF_FIVE, PLAIN);
    swings(&mut free);
    assert_eq!(free.alarm().raises, 30);
    assert_no_repetition(&free);
    let mut cooled = bench(THREE_OF_FIVE, Manner { cooldown: seconds(60.0), ..PLAIN });
    swings(&mut cooled);
    assert!((5..=9).contains(&cooled.alarm().raises), "{}", cooled.alarm().raises);
    let mut latched = bench(THREE_OF_FIVE, Manner { latch: true, cooldown: seconds(3600.0), ..PLAIN });
    swings(&mut latched);
    assert_eq!(latched.states(), [Unacknowledged, Returned]);
}

#[test]
fn a_return_asks_for_new_hits() {
    let when = When::Frames { count: 3, frames: 64 };
    let mut bench = bench(when, PLAIN);
    bench.scores(&[0.9; 3]);
    bench.empty(2.0);
    assert_eq!(bench.states(), [Unacknowledged, Normal]);
    bench.scores(&[0.9; 2]);
    assert_eq!(bench.said.len(), 2);
    bench.score(0.9);
    assert_eq!(bench.said.len(), 3);
}

#[test]
fn hold_and_clear_both_have_to_be_over() {
    let mut bench = bench(THREE_OF_FIVE, Manner { hold: seconds(10.0), ..PLAIN });
    bench.scores(&[0.9; 3]);
    bench.empty(9.9);
    assert_eq!(bench.states(), [Unacknowledged]);
    bench.empty(0.1);
    assert_eq!(bench.states(), [Unacknowledged, Normal]);
}

#[test]
fn hits_that_came_in_the_cooldown_raise_with_the_next_hit_after_it() {
    let mut bench = bench(THREE_OF_FIVE, Manner { cooldown: seconds(5.0), ..PLAIN });
    bench.scores(&[0.9; 3]);
    bench.empty(2.0);
    bench.scores(&[0.9; 48]);
    // The last frame of the cooldown shows nothing; two later the window is still full enough, but only a hit raises.
    bench.empty(0.2);
    assert_eq!(bench.states(), [Unacknowledged, Normal]);
    bench.score(0.9);
    assert_eq!(bench.states(), [Unacknowledged, Normal, Unacknowledged]);
}

#[test]
fn hysteresis_keeps_but_does_not_raise() {
    let mut bench = bench(When::Frames { count: 1, frames: 1 }, PLAIN);
    bench.scores(&[0.59; 50]);
    assert_eq!(bench.said, []);
    bench.score(0.6);
    bench.scores(&[0.4; 600]);
    assert_eq!(bench.states(), [Unacknowledged]);
    assert_eq!(alarm_of(&bench.said[0]).reason, "scratch 0.60 in this frame");
    bench.scores(&[0.39; 20]);
    assert_eq!(bench.states(), [Unacknowledged, Normal]);
}

#[test]
fn frames_per_time_count_where_there_are_no_tracks() {
    let mut bench = bench(When::Within { count: 3, span: seconds(60.0) }, PLAIN);
    bench.score(0.9);
    bench.empty(29.9);
    bench.score(0.9);
    bench.empty(30.0);
    // The first is 60.0 s and one frame old.
    bench.score(0.9);
    assert_eq!(bench.said, []);
    bench.frame(&[thing("scratch", 0.9, None), thing("scratch", 0.8, None)]);
    assert_eq!(bench.states(), [Unacknowledged]);
    assert_eq!(alarm_of(&bench.said[0]).reason, "scratch 0.90, 3 frames in 60 s");
    assert_eq!(bench.said[0].because.len(), 3);
}

#[test]
fn different_things_per_time_count_where_there_are_tracks() {
    let mut bench = bench(When::Within { count: 3, span: seconds(60.0) }, PLAIN);
    for _ in 0..100 {
        bench.frame(&[thing("scratch", 0.9, Some(1)), thing("scratch", 0.7, Some(2))]);
    }
    bench.frame(&[thing("scratch", 0.5, Some(3))]);
    assert_eq!(bench.said, []);
    bench.frame(&[thing("scratch", 0.61, Some(3))]);
    assert_eq!(bench.states(), [Unacknowledged]);
    assert_eq!(alarm_of(&bench.said[0]).reason, "scratch 0.61, 3 things in 60 s");
}

#[test]
fn only_the_classes_and_the_zone_that_it_watches_count() {
    let corner = |x, y| Point { x, y };
    let zone = Zone {
        corners: vec![corner(0.0, 0.0), corner(0.4, 0.0), corner(0.4, 1.0), corner(0.0, 1.0)],
        unit: Unit::Relative,
    };
    let watch = Watch { classes: vec!["dent".to_owned()], zone: Some(zone), anchor: Anchor::Left };
    let once = When::Frames { count: 1, frames: 1 };
    // The things of this test lie from 450 to 550 of 1000.
    let mut outside = bench_of(AlarmSettings { watch: watch.clone(), ..settings(once, PLAIN) });
    outside.frame(&[thing("dent", 0.9, None), thing("scratch", 0.9, None)]);
    assert_eq!(outside.said, []);
    let wide = watch.zone.clone().map(|zone| Zone {
        corners: zone.corners.iter().map(|corner| Point { x: corner.x * 1.2, ..*corner }).collect(),
        ..zone
    });
    let mut inside = bench_of(AlarmSettings { watch: Watch { zone: wide, ..watch }, ..settings(once, PLAIN) });
    inside.frame(&[thing("scratch", 0.9, None)]);
    assert_eq!(inside.said, []);
    inside.frame(&[thing("scratch", 0.9, None), thing("dent", 0.7, None)]);
    assert_eq!(alarm_of(&inside.said[0]).reason, "dent 0.70 in this frame");
}

#[test]
fn a_camera_that_cannot_be_relied_on_neither_raises_nor_clears() {
    let mut bench = bench(THREE_OF_FIVE, PLAIN);
    bench.camera("dark");
    bench.scores(&[0.9; 10]);
    assert_eq!(bench.said, []);
    bench.camera("");
    bench.scores(&[0.9; 3]);
    bench.empty(1.9);
    bench.camera("dark");
    bench.empty(10.0);
    bench.wait(60.0);
    bench.camera("");
    assert_eq!(bench.states(), [Unacknowledged]);
    // It has to be quiet for the whole time again.
    bench.empty(2.0);
    assert_eq!(bench.states(), [Unacknowledged]);
    bench.empty(0.1);
    assert_eq!(bench.states(), [Unacknowledged, Normal]);
}

#[test]
fn frames_that_do_not_come_neither_raise_nor_clear() {
    let mut bench = bench(THREE_OF_FIVE, PLAIN);
    bench.scores(&[0.9; 3]);
    bench.wait(600.0);
    assert_eq!(bench.states(), [Unacknowledged]);
}

#[test]
fn a_reset_begins_again_while_the_cause_is_there() {
    let mut bench = bench(THREE_OF_FIVE, PLAIN);
    bench.scores(&[0.9; 3]);
    bench.order(&Order::Reset).unwrap();
    bench.scores(&[0.9; 2]);
    assert_eq!(bench.states(), [Unacknowledged, Normal]);
    bench.score(0.9);
    assert_eq!(bench.states(), [Unacknowledged, Normal, Unacknowledged]);
}

#[test]
fn on_the_shelf_the_cause_is_followed() {
    let mut bench = bench(THREE_OF_FIVE, PLAIN);
    bench.order(&Order::Shelve(seconds(20.0))).unwrap();
    bench.scores(&[0.9; 100]);
    assert!(bench.alarm().active);
    bench.empty(5.0);
    assert!(!bench.alarm().active);
    bench.scores(&[0.9; 60]);
    assert_eq!(bench.states(), [Shelved, Unacknowledged]);
    assert_eq!(
        bench.alarm().reason,
        "the time on the shelf is over, and it is there still: scratch 0.90 in 3 of the last 5 frames"
    );
}

/// Steps of a run.
const STEPS: usize = 350;

/// A run of random scores, gaps and orders; `crash_at` is the step after which the process ends.
fn run(seed: u64, when: When, manner: Manner, crash_at: Option<usize>) -> Vec<crate::event::Event> {
    let mut rng = Rng::new(seed, 1);
    let mut bench = bench(when, manner);
    let mut there = false;
    for step in 0..STEPS {
        // The end is an alarm that comes and goes by itself.
        let end = step + 100 >= STEPS;
        there = if end { step + 50 < STEPS } else { there ^ rng.chance(3) };
        match rng.below(90) + if end { 4 } else { 0 } {
            0 => bench.wait(0.3),
            1 => bench.order(&Order::Acknowledge).unwrap_or(()),
            2 => bench.order(&Order::Shelve(seconds(f64::from(rng.below(4))))).unwrap_or(()),
            3 if rng.chance(20) => bench.order(&Order::Reset).unwrap_or(()),
            _ if there => bench.frame(&[thing("scratch", 0.35 + 0.55 * rng.fraction() as f32, Some(rng.bits() % 9))]),
            _ => bench.frame(&[thing("scratch", 0.405 * rng.fraction() as f32, Some(rng.bits() % 9))]),
        }
        if crash_at == Some(step) {
            bench.crash();
        }
    }
    assert_no_repetition(&bench);
    bench.said
}

#[test]
fn a_crash_at_any_frame_changes_no_message() {
    let manners =
        [PLAIN, Manner { latch: true, hold: seconds(1.5), ..PLAIN }, Manner { cooldown: seconds(3.0), ..PLAIN }];
    let whens = [THREE_OF_FIVE, When::Within { count: 4, span: seconds(1.0) }];
    let mut states = std::collections::BTreeSet::new();
    for (seed, (manner, when)) in manners.into_iter().flat_map(|manner| whens.map(|when| (manner, when))).enumerate() {
        let whole = run(seed as u64, when, manner, None);
        states.extend(whole.iter().map(|event| alarm_of(event).state.name()));
        for step in 0..STEPS {
            let mut halves = run(seed as u64, when, manner, Some(step));
            // The steps before a crash are not known any more.
            halves.iter_mut().zip(&whole).for_each(|(half, whole)| half.because.clone_from(&whole.because));
            assert_eq!(halves, whole, "seed {seed}, crash after step {step}");
        }
    }
    assert_eq!(states.len(), AlarmState::ALL.len(), "{states:?}");
}

#[test]
fn after_a_long_outage_an_alarm_is_not_cleared_by_a_single_frame() {
    let mut bench = bench(THREE_OF_FIVE, PLAIN);
    bench.scores(&[0.9; 3]);
    bench.now = bench.now + seconds(3600.0);
    bench.crash();
    bench.empty(2.0);
    assert_eq!(bench.states(), [Unacknowledged]);
    bench.empty(0.1);
    assert_eq!(bench.states(), [Unacknowledged, Normal]);
}

#[test]
fn any_memory_is_taken() {
    let mut alarm = Alarm::new(&settings(THREE_OF_FIVE, PLAIN), Moment::default());
    let now = Now { moment: Moment::from_micros(9), local_micros: None };
    let fresh = alarm.state();
    for memory in ["null", "7", "[]", "{}", r#"{"alarm":7}"#, r#"{"window":{"hits":-1}}"#, r#"{"kept_at":"soon"}"#] {
        assert!(!alarm.recall(&serde_json::from_str(memory).unwrap(), now), "{memory}");
        assert_eq!(alarm.state(), fresh, "{memory}");
    }
}

#[test]
fn nothing_grows_while_it_looks() {
    for when in [THREE_OF_FIVE, When::Within { count: 5, span: seconds(60.0) }] {
        let mut alarm = Alarm::new(&settings(when, PLAIN), Moment::default());
        let capacities = |alarm: &Alarm| match &alarm.window {
            Window::Frames { .. } => (alarm.trail.capacity(), 0),
            Window::Within { things, .. } => (alarm.trail.capacity(), things.capacity()),
        };
        let before = capacities(&alarm);
        let mut names = crate::rules::machine::Names { camera: "in".to_owned(), born: Moment::default(), count: 0 };
        let rule = std::sync::Arc::from("scratch");
        let mut raises = 0;
        for seq in 0..5000 {
            let moment = Moment::from_micros(seq as i64 * 100_000);
            let found = [thing("scratch", if seq % 100 < 50 { 0.9 } else { 0.1 }, Some(seq % 7))];
            let size = crate::rules::testing::SIZE;
            let seen = Seen { seq, captured_at: moment, size, found: &found, tracks: &[] };
            let mut tell = |_| raises += 1;
            let mut teller = Teller { rule: &rule, names: &mut names, tell: &mut tell };
            alarm.take(Now { moment, local_micros: None }, &Input::Frame(&seen), &mut teller);
        }
        assert_eq!(capacities(&alarm), before);
        assert!(raises > 50, "{raises}");
    }
}

#[test]
fn an_alarm_over_time_counts_frames_again_once_there_are_no_tracks_any_more() {
    let mut bench = bench(When::Within { count: 2, span: seconds(60.0) }, PLAIN);
    bench.tracked(thing("scratch", 0.9, Some(1)));
    bench.crash();
    bench.empty(70.0);
    bench.scores(&[0.9, 0.9]);
    assert_eq!(bench.states(), [Unacknowledged]);
}

#[test]
fn a_camera_that_was_blind_before_a_restart_is_blind_until_it_is_heard_of() {
    let mut bench = bench(When::Frames { count: 1, frames: 1 }, PLAIN);
    bench.camera("the picture is frozen");
    bench.crash();
    bench.scores(&[0.9, 0.9]);
    assert_eq!(bench.said, []);
    bench.camera("");
    bench.score(0.9);
    assert_eq!(bench.states(), [Unacknowledged]);
}
