//! What following and rules cost: time and memory for 100 things and 20 rules. A program of its own, for it counts every
//! allocation. The limit of time holds for an optimized build; without optimization the figures are only printed.
#![allow(clippy::print_stdout, reason = "the figure is what this is for")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    sync::Arc,
    time::{Duration, Instant},
};

use andon::{
    detection::{Detection, Geometry},
    event::Priority,
    geometry::{BoxPx, Point, Size},
    moment::Moment,
    rules::{
        AlarmSettings, Anchor, BlindSettings, CountSettings, Input, Kind, Line, Manner, Now, Place, Rules, Seen,
        SessionSettings, Settings, Sight, TotalSettings, Towards, Trigger, Unit, VerdictSettings, Watch, When, Zone,
        check,
    },
    track::{self, Tracker},
};

const SIZE: Size = Size { width: 1920, height: 1080 };
const THINGS: usize = 100;

/// Milliseconds that following and all rules may take in half of the frames.
const MEDIAN_MS_MAX: f64 = 0.3;

/// The time is taken in so many batches, and the best of them counts: in the others something else may have run as well.
const BATCHES: usize = 10;

/// Frames of a batch.
const BATCH_FRAMES: usize = 60;

/// Bytes by which what is held may differ between two frames: what is lost for the moment, and room that is kept.
const GROWTH_MAX: i64 = 16_384;

/// The allocator of the system, which counts what the thread does that asks.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static LIVE_BYTES: Cell<i64> = const { Cell::new(0) };
}

fn count(allocations: u64, bytes: i64) {
    // A thread that ends has no counters any more; nobody asks for its figures.
    let _ = ALLOCATIONS.try_with(|counter| counter.set(counter.get() + allocations));
    let _ = LIVE_BYTES.try_with(|counter| counter.set(counter.get() + bytes));
}

#[allow(unsafe_code, reason = "an allocator is made of nothing else")]
// SAFETY: every call goes to the system's allocator as it came; the counters allocate nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size() as i64);
        // SAFETY: the caller's promises are those that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, -(layout.size() as i64));
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn zone(x: f32) -> Zone {
    let corner = |x, y| Point { x, y };
    let corners =
        vec![corner(x, 0.1), corner(x + 0.4, 0.0), corner(x + 0.5, 0.5), corner(x + 0.4, 1.0), corner(x, 0.9)];
    Zone { corners, unit: Unit::Relative }
}

fn line(x: f32) -> Line {
    let (from, to) = (Point { x, y: 0.0 }, Point { x, y: 1.0 });
    Line { from, to, band: 0.02, unit: Unit::Relative, inward: Towards::Right }
}

/// Four rules of every kind.
fn settings() -> Vec<Settings> {
    let manner = Manner { cooldown: Duration::from_secs(60), priority: Priority::High, ..Manner::default() };
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    let alarm = |when| {
        let watch = Watch { classes: names(&["dent", "scratch"]), zone: Some(zone(0.2)), anchor: Anchor::Bottom };
        Kind::Alarm(AlarmSettings { watch, when, raise: 0.6, clear: 0.4, clear_after: Duration::from_secs(5), manner })
    };
    let counting = |place| CountSettings {
        classes: names(&["bottle"]),
        confidence: 0.5,
        place,
        anchor: Anchor::Center,
        session: SessionSettings::default(),
    };
    let verdict = |trigger, frames_min| {
        Kind::Verdict(VerdictSettings {
            trigger,
            fail: Watch { classes: names(&["scratch", "dent"]), ..Watch::default() },
            confidence: 0.5,
            frames_min,
            fail_share: 0.5,
            pass_share: 0.2,
            reject_after: None,
        })
    };
    let gate = |x| Trigger::Line { parts: names(&["bottle"]), line: line(x), anchor: Anchor::Center };
    let inside = |x| Place::Zone { zone: zone(x), settle: Duration::from_secs(1), gone_after: Duration::from_secs(2) };
    let total = |place| {
        let prices = vec![("bottle".to_owned(), 45)];
        Kind::Total(TotalSettings { count: counting(place), prices, currency: "EUR".to_owned(), decimals: 2 })
    };
    let within = |count| When::Within { count, span: Duration::from_secs(60) };
    let mut kinds = vec![
        alarm(When::Frames { count: 3, frames: 5 }),
        alarm(When::Frames { count: 64, frames: 64 }),
        alarm(within(3)),
        alarm(within(200)),
    ];
    kinds.extend((1..5).map(|seconds| Kind::Blind(BlindSettings { after: Duration::from_secs(seconds), manner })));
    kinds.extend([verdict(gate(0.5), 3), verdict(gate(0.7), 3), verdict(Trigger::Every(Duration::from_secs(60)), 3)]);
    kinds.push(verdict(Trigger::Command { within: Duration::from_secs(9) }, 1));
    kinds.extend([0.3, 0.6].map(|x| Kind::Count(counting(Place::Line(line(x))))));
    kinds.extend([0.1, 0.4].map(|x| Kind::Count(counting(inside(x)))));
    kinds.extend([
        total(Place::Line(line(0.4))),
        total(Place::Line(line(0.5))),
        total(inside(0.1)),
        total(inside(0.3)),
    ]);
    (1..).zip(kinds).map(|(number, kind)| Settings { id: format!("r{number}"), kind }).collect()
}

/// Things that move to the right in ten lanes and begin again at the left as others, and are followed; at 30 Hz.
struct Belt {
    names: [Arc<str>; 3],
    seq: u64,
    shift: f32,
    found: Vec<Detection>,
    tracker: Tracker,
}

/// What a frame cost.
#[derive(Clone, Copy)]
struct Cost {
    time: Duration,
    allocations: u64,
}

impl Belt {
    fn new() -> Self {
        let names = ["bottle", "scratch", "dent"].map(Arc::from);
        let tracker = Tracker::new(track::Settings::default());
        Self { names, seq: 0, shift: 0.0, found: Vec::with_capacity(THINGS), tracker }
    }

    fn moment(&self) -> Moment {
        Moment::from_micros(1_700_000_000_000_000 + self.seq as i64 * 33_333)
    }

    /// Follows the things into the next frame, where they are so many pixels further.
    fn step(&mut self, pixels: f32) -> Cost {
        self.seq += 1;
        self.shift += pixels;
        self.found.clear();
        for index in 0..THINGS {
            let way = self.shift + (index / 10) as f32 * 192.0;
            let class = [0, 0, 0, 1, 0, 0, 2, 0, 0, 0][index % 10];
            let bounds = BoxPx::from_center(way % 1920.0, 54.0 + (index % 10) as f32 * 108.0, 60.0, 90.0);
            self.found.push(Detection {
                class,
                name: Arc::clone(&self.names[class]),
                confidence: 0.95 - index as f32 * 0.004,
                geometry: Geometry::Box(bounds),
                track_id: None,
            });
        }
        let now = self.moment();
        let ((), cost) = measure(|| self.tracker.update(now, SIZE, &mut self.found));
        cost
    }

    /// Shows the frame to the rules: how many events, and what it cost.
    fn show(&self, rules: &mut Rules) -> (u64, Cost) {
        let now = Now { moment: self.moment(), local_micros: None };
        let (found, tracks) = (self.found.as_slice(), self.tracker.tracks());
        let seen = Seen { seq: self.seq, captured_at: now.moment, size: SIZE, found, tracks };
        let mut events = 0;
        let ((), cost) = measure(|| rules.take(now, Input::Frame(&seen), &mut |_| events += 1));
        (events, cost)
    }
}

fn measure<T>(work: impl FnOnce() -> T) -> (T, Cost) {
    let (begin, before) = (Instant::now(), ALLOCATIONS.get());
    let done = work();
    (done, Cost { time: begin.elapsed(), allocations: ALLOCATIONS.get() - before })
}

/// The median of the best batch of frames, in milliseconds.
fn best_median_ms(mut frame: impl FnMut() -> Duration) -> f64 {
    let medians = (0..BATCHES).map(|_| {
        let mut times: Vec<_> = (0..BATCH_FRAMES).map(|_| frame()).collect();
        times.sort_unstable();
        times[BATCH_FRAMES / 2].as_secs_f64() * 1e3
    });
    medians.min_by(f64::total_cmp).unwrap()
}

/// Whether this was built with optimization, as far as plain arithmetic tells: a step takes one or two nanoseconds then.
fn is_optimized() -> bool {
    let sum = || (0..100_000_u32).fold(0_u32, |sum, number| std::hint::black_box(sum.wrapping_add(number)));
    (0..20).map(|_| measure(sum).1.time).min().unwrap() < Duration::from_micros(500)
}

fn rules() -> Rules {
    let settings = settings();
    assert_eq!(settings.len(), 20);
    for rule in &settings {
        assert_eq!(check(rule), [], "{}", rule.id);
    }
    let mut rules = Rules::new("in", &settings, Moment::default());
    let now = Now { moment: Belt::new().moment(), local_micros: None };
    rules.take(now, Input::Camera(&Sight { sees: true, reason: String::new() }), &mut |_| {});
    rules
}

#[test]
fn a_hundred_things_are_followed_and_heard_by_twenty_rules_in_a_third_of_a_millisecond() {
    for rule in settings() {
        let (mut rules, mut belt) = (Rules::new("in", std::slice::from_ref(&rule), Moment::default()), Belt::new());
        let ms = best_median_ms(|| {
            belt.step(7.3);
            belt.show(&mut rules).1.time
        });
        println!("{} {}: {ms:.4} ms a frame", rule.id, rule.kind.name());
    }
    let mut belt = Belt::new();
    println!("following: {:.4} ms a frame", best_median_ms(|| belt.step(7.3).time));
    let (mut rules, mut belt) = (rules(), Belt::new());
    let ms = best_median_ms(|| belt.step(7.3).time + belt.show(&mut rules).1.time);
    println!("following and {} rules: {ms:.4} ms a frame", settings().len());
    assert!(ms <= MEDIAN_MS_MAX || !is_optimized(), "{ms:.4} ms a frame, more than {MEDIAN_MS_MAX}");
}

#[test]
fn frames_in_which_nothing_is_said_ask_for_no_memory() {
    let (mut rules, mut belt) = (rules(), Belt::new());
    for frame in 0..900 {
        belt.step(if frame < 300 { 7.3 } else { 0.0 });
        belt.show(&mut rules);
    }
    let mut quiet = 0;
    for _ in 0..200 {
        let followed = belt.step(0.0);
        let (events, heard) = belt.show(&mut rules);
        assert_eq!(followed.allocations, 0, "following, frame {}", belt.seq);
        if events == 0 {
            quiet += 1;
            assert_eq!(heard.allocations, 0, "rules, frame {}", belt.seq);
        }
    }
    assert!(quiet > 150, "{quiet}");
}

#[test]
fn what_is_held_does_not_grow() {
    let (first, more) = (1_000, 2_000);
    let (mut rules, mut belt) = (rules(), Belt::new());
    let mut run = |frames: u64| {
        for _ in 0..frames {
            belt.step(7.3);
            belt.show(&mut rules);
        }
        LIVE_BYTES.get()
    };
    let early = run(first);
    println!("live bytes after {first} frames: {early}");
    for tenth in 1..=10 {
        let late = run(more / 10);
        println!("after {} more: {late}", more / 10 * tenth);
        assert!(late - early < GROWTH_MAX, "{early} bytes, later {late}");
    }
}
