//! What following costs. The limit holds for an optimized build; without optimization the figure is only printed.

use std::time::{Duration, Instant};

use andon::{
    detection::{Detection, Geometry},
    geometry::{BoxPx, Size},
    moment::Moment,
    track::{Settings, Tracker},
};

/// Things in a frame.
const THINGS: usize = 100;
/// What a frame may cost, in the median: two thirds of what tracks and rules may cost together.
const LIMIT: Duration = Duration::from_micros(200);

#[test]
fn a_hundred_things_are_followed_in_a_fifth_of_a_millisecond() {
    let mut tracker = Tracker::new(Settings::default());
    let mut took = Vec::new();
    for frame in 0..300_u32 {
        let mut found: Vec<_> = (0..THINGS).map(|thing| thing_at(thing, frame)).collect();
        let now = Moment::from_micros(i64::from(frame) * 33_333);
        let begun = Instant::now();
        tracker.update(now, Size { width: 1920, height: 1080 }, &mut found);
        took.push(begun.elapsed());
        assert!(found.iter().enumerate().all(|(thing, found)| found.track_id == Some(thing as u64 + 1)));
    }
    took.sort_unstable();
    let (median, most) = (took[took.len() / 2], took[took.len() - 1]);
    println!("{THINGS} things: {median:?} in the median, {most:?} at most");
    assert!(median <= LIMIT || is_slow_build(), "{median:?}");
}

/// Whether this was built without optimization, as far as plain arithmetic tells.
fn is_slow_build() -> bool {
    let begun = Instant::now();
    let sum = (0..1_000_000_u32).fold(0_u32, |sum, number| std::hint::black_box(sum.wrapping_add(number)));
    std::hint::black_box(sum);
    begun.elapsed() > Duration::from_millis(5)
}

/// Every eighth frame comes after a gap of a quarter of a second, in which the belt went on.
#[test]
fn a_belt_of_a_hundred_things_is_found_again_after_a_gap_at_the_same_cost() {
    let mut tracker = Tracker::new(Settings::default());
    let (mut took, mut kept) = (Vec::new(), 0);
    let mut place = 0;
    for frame in 0..300_u32 {
        let is_gap = frame % 8 == 7;
        place += if is_gap { 8 } else { 1 };
        let mut found: Vec<_> = (0..THINGS).map(|thing| thing_at(thing, place)).collect();
        let now = Moment::from_micros(i64::from(place) * 33_333);
        let begun = Instant::now();
        tracker.update(now, Size { width: 1920, height: 1080 }, &mut found);
        if is_gap {
            took.push(begun.elapsed());
            kept += found.iter().enumerate().filter(|(thing, found)| found.track_id == Some(*thing as u64 + 1)).count();
        }
    }
    took.sort_unstable();
    let median = took[took.len() / 2];
    println!("{THINGS} things after a gap: {median:?} in the median, {kept} of {} kept", took.len() * THINGS);
    assert_eq!(kept, took.len() * THINGS);
    assert!(median <= LIMIT || is_slow_build(), "{median:?}");
}

/// Ten rows of ten that move on together, and tremble.
fn thing_at(thing: usize, frame: u32) -> Detection {
    let (row, column) = ((thing / 10) as f32, (thing % 10) as f32);
    let tremble = ((thing as u32 * 7 + frame * 13) % 5) as f32 * 0.4;
    let bounds =
        BoxPx::from_center(50.0 + 100.0 * column + 3.0 * frame as f32 + tremble, 50.0 + 100.0 * row, 70.0, 60.0);
    Detection {
        class: thing % 3,
        name: "part".into(),
        confidence: 0.9,
        geometry: Geometry::Box(bounds),
        track_id: None,
    }
}
