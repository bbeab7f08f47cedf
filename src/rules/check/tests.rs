//! Tests of what is said about rules that make no sense.

use super::*;
use crate::rules::{Anchor, Manner, Watch};

fn points(corners: &[(f32, f32)]) -> Vec<Point> {
    corners.iter().map(|&(x, y)| Point { x, y }).collect()
}

fn relative(corners: &[(f32, f32)]) -> Option<Zone> {
    Some(Zone { corners: points(corners), unit: Unit::Relative })
}

fn alarm() -> AlarmSettings {
    AlarmSettings {
        watch: Watch::default(),
        when: When::Frames { count: 3, frames: 5 },
        raise: 0.6,
        clear: 0.4,
        clear_after: Duration::from_secs(5),
        manner: Manner::default(),
    }
}

fn line() -> Line {
    let [from, to] = [Point { x: 0.5, y: 0.0 }, Point { x: 0.5, y: 1.0 }];
    Line { from, to, band: 0.05, unit: Unit::Relative, inward: Towards::Right }
}

fn verdict() -> VerdictSettings {
    VerdictSettings {
        trigger: Trigger::Line { parts: vec!["board".to_owned()], line: line(), anchor: Anchor::Center },
        fail: Watch { classes: vec!["scratch".to_owned()], ..Watch::default() },
        confidence: 0.5,
        frames_min: 3,
        fail_share: 0.5,
        pass_share: 0.2,
        reject_after: None,
    }
}

fn count() -> CountSettings {
    CountSettings {
        classes: vec!["apple".to_owned()],
        confidence: 0.5,
        place: Place::Line(line()),
        anchor: Anchor::Center,
        session: SessionSettings::default(),
    }
}

fn total() -> TotalSettings {
    TotalSettings { count: count(), prices: vec![("apple".to_owned(), 45)], currency: "EUR".to_owned(), decimals: 2 }
}

fn problems(kind: Kind) -> Vec<Problem> {
    check(&Settings { id: "r".to_owned(), kind })
}

/// One problem, with this key, whose sentence says what to do.
#[track_caller]
fn assert_one(kind: Kind, key: &str, words: &str) {
    let found = problems(kind);
    let [Problem { key: found_key, what }] = &found[..] else { panic!("{found:?}") };
    assert_eq!(*found_key, key, "{what}");
    assert!(what.contains(words), "{what:?} does not say {words:?}");
    assert!(what.contains([';', ',', '?']) && !what.ends_with('.'), "{what:?} has no remedy");
}

#[track_caller]
fn assert_zone(corners: &[(f32, f32)], words: &str) {
    let watch = Watch { zone: relative(corners), ..Watch::default() };
    assert_one(Kind::Alarm(AlarmSettings { watch, ..alarm() }), "zone", words);
}

#[test]
fn good_rules_have_no_problems() {
    let zones = [
        relative(&[(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)]),
        relative(&[(0.1, 0.1), (0.9, 0.1), (0.5, 0.5), (0.9, 0.9), (0.1, 0.9)]),
        relative(&[(0.1, 0.9), (0.5, 0.1), (0.9, 0.9)]),
        Some(Zone { corners: points(&[(0.0, 0.0), (640.0, 10.0), (1919.0, 1079.0)]), unit: Unit::Pixels }),
        None,
    ];
    for zone in zones {
        let watch = Watch { zone, ..Watch::default() };
        assert_eq!(problems(Kind::Alarm(AlarmSettings { watch, ..alarm() })), []);
    }
    assert_eq!(problems(Kind::Verdict(verdict())), []);
    assert_eq!(problems(Kind::Count(count())), []);
    assert_eq!(problems(Kind::Total(total())), []);
    for inward in [Towards::Left, Towards::Right, Towards::Up, Towards::Down] {
        let (from, to) = (Point { x: 100.0, y: 100.0 }, Point { x: 400.0, y: 500.0 });
        let place = Place::Line(Line { from, to, band: 40.0, unit: Unit::Pixels, inward });
        assert_eq!(problems(Kind::Count(CountSettings { place, ..count() })), [], "{inward:?}");
    }
}

#[test]
fn zones_that_enclose_nothing_or_cross_themselves_are_told() {
    assert_zone(&[(0.0, 0.0), (1.0, 1.0)], "2 corners enclose nothing");
    assert_zone(&[(0.5, 0.5); 65], "65 corners are too many");
    assert_zone(&[(0.0, 0.0), (1.5, 0.0), (1.0, 1.0)], "[1.5, 0] lies outside the frame");
    assert_zone(&[(0.0, 0.0), (f32::NAN, 0.0), (1.0, 1.0)], "lies outside the frame");
    assert_zone(&[(0.1, 0.2), (0.2, 0.4), (0.3, 0.6), (0.35, 0.7)], "lie on a line");
    assert_zone(&[(0.5, 0.5); 3], "lie on a line");
    // A bow tie, whose areas cancel out; one that does not; a corner on an edge; a spike; a corner twice; one that is closed by hand.
    assert_zone(&[(0.0, 0.0), (1.0, 1.0), (1.0, 0.0), (0.0, 1.0)], "from corner 1 and from corner 3 meet");
    assert_zone(&[(0.0, 0.0), (1.0, 1.0), (1.0, 0.5), (0.0, 1.0)], "from corner 1 and from corner 3 meet");
    assert_zone(&[(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 0.0), (0.0, 1.0)], "from corner 1 and from corner 3 meet");
    assert_zone(&[(0.0, 0.0), (1.0, 0.0), (0.5, 0.0), (0.5, 1.0)], "from corner 1 and from corner 2 meet");
    assert_zone(&[(0.0, 0.0), (1.0, 0.0), (1.0, 0.0), (0.5, 1.0)], "from corner 1 and from corner 2 meet");
    assert_zone(&[(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0), (0.0, 0.0)], "leave that out");
    let pixels = Zone { corners: points(&[(-1.0, 0.0), (9.0, 0.0), (9.0, 9.0)]), unit: Unit::Pixels };
    let watch = Watch { zone: Some(pixels), ..Watch::default() };
    assert_one(Kind::Alarm(AlarmSettings { watch, ..alarm() }), "zone", "[-1, 0] lies outside every frame");
}

#[test]
fn a_polygon_crosses_itself_where_it_is_not_simple() {
    // A star of seven corners, drawn around and drawn across, is the same whichever corner comes first.
    for step in 1..4_usize {
        for first in 0..7 {
            let corners: Vec<Point> = (0..7)
                .map(|index| {
                    let angle = ((first + index * step) % 7) as f32 * std::f32::consts::TAU / 7.0;
                    Point { x: 0.5 + 0.4 * angle.cos(), y: 0.5 + 0.4 * angle.sin() }
                })
                .collect();
            assert_eq!(crossing_edges(&corners).is_some(), step > 1, "every {step}. corner from {first}");
        }
    }
}

#[test]
fn alarms_that_flap_or_never_come_are_told() {
    for (clear, raise) in [(0.6, 0.6), (0.7, 0.6)] {
        assert_one(Kind::Alarm(AlarmSettings { clear, raise, ..alarm() }), "clear", "is not below raise, 0.6");
    }
    assert_one(Kind::Alarm(AlarmSettings { raise: 1.5, ..alarm() }), "raise", "between 0 and 1");
    assert_one(Kind::Alarm(AlarmSettings { raise: f32::NAN, ..alarm() }), "raise", "between 0 and 1");
    let whens = [
        (When::Frames { count: 0, frames: 5 }, "0 frames raise it at once"),
        (When::Frames { count: 6, frames: 5 }, "6 of 5 frames never come"),
        (When::Frames { count: 6, frames: 65 }, "65 frames are too many"),
        (When::Within { count: 0, span: DAY }, "0 things raise it at once"),
        (When::Within { count: 257, span: DAY }, "257 things are too many"),
        (When::Within { count: 3, span: Duration::ZERO }, "nothing comes in 0 s"),
    ];
    for (when, words) in whens {
        assert_one(Kind::Alarm(AlarmSettings { when, ..alarm() }), "when", words);
    }
    for (classes, words) in [(vec!["a", "b", "a"], "\"a\" is in it twice"), (vec![""], "without a name")] {
        let classes = classes.into_iter().map(str::to_owned).collect();
        let watch = Watch { classes, ..Watch::default() };
        assert_one(Kind::Alarm(AlarmSettings { watch, ..alarm() }), "classes", words);
    }
}

#[test]
fn lines_that_nothing_can_cross_are_told() {
    let told = |line: Line, key: &str, words: &str| {
        assert_one(Kind::Count(CountSettings { place: Place::Line(line), ..count() }), key, words);
    };
    told(Line { to: line().from, ..line() }, "line", "the same point");
    told(Line { to: Point { x: 0.5, y: 1.1 }, ..line() }, "line", "lies outside the frame");
    told(Line { inward: Towards::Up, ..line() }, "direction", "\"up\" runs along the line");
    told(Line { from: Point { x: 0.45, y: 0.0 }, inward: Towards::Down, ..line() }, "direction", "write left or right");
    let level = Line { from: Point { x: 0.0, y: 0.5 }, to: Point { x: 1.0, y: 0.5 }, ..line() };
    told(level, "direction", "\"right\" runs along the line, so that nothing crosses it that way; write up or down");
    for x in [0.0, 1.0] {
        let edge = Line { from: Point { x, y: 0.0 }, to: Point { x, y: 1.0 }, ..line() };
        told(edge, "line", "on the edge of the frame");
    }
    for band in [0.0, -0.1, f32::NAN] {
        told(Line { band, ..line() }, "band", "is no width");
    }
    told(Line { band: 0.6, ..line() }, "band", "at most 0.5");
    let pixels = |x: f32, band: f32| Line {
        from: Point { x, y: 0.0 },
        to: Point { x, y: 480.0 },
        band,
        unit: Unit::Pixels,
        inward: Towards::Left,
    };
    told(pixels(10.0, 20.0), "band", "leave no room beside it");
    told(pixels(400.0, 500.0), "band", "leave no room beside it");
}

#[test]
fn verdicts_that_are_always_the_same_are_told() {
    let told = |settings: VerdictSettings, key: &str, words: &str| assert_one(Kind::Verdict(settings), key, words);
    let watch = |classes: &[&str]| Watch {
        classes: classes.iter().map(|&class| class.to_owned()).collect(),
        ..Watch::default()
    };
    told(VerdictSettings { pass_share: 0.6, ..verdict() }, "pass_share", "above fail_share, 0.5");
    told(VerdictSettings { fail_share: 0.0, pass_share: 0.0, ..verdict() }, "fail_share", "every part is bad");
    told(VerdictSettings { frames_min: 0, ..verdict() }, "frames_min", "judge nothing");
    told(VerdictSettings { confidence: -1.0, ..verdict() }, "confidence", "between 0 and 1");
    told(VerdictSettings { fail: watch(&[]), ..verdict() }, "fail", "every part is bad by its own class");
    told(VerdictSettings { fail: watch(&["scratch", "board"]), ..verdict() }, "fail", "it names all the parts");
    let trigger = |trigger| VerdictSettings { trigger, ..verdict() };
    let within = Duration::ZERO;
    told(trigger(Trigger::Command { within }), "within", "no time at all");
    told(trigger(Trigger::Input { input: "eye".to_owned(), within }), "within", "no time at all");
    told(trigger(Trigger::Input { input: String::new(), within: DAY }), "input", "it is missing");
    told(trigger(Trigger::Every(within)), "every", "no time at all");
    told(trigger(Trigger::Picture), "frames_min", "3 frames never come");
    let Trigger::Line { line, anchor, .. } = verdict().trigger else { unreachable!() };
    told(trigger(Trigger::Line { parts: Vec::new(), line, anchor }), "parts", "it is missing");
}

#[test]
fn counters_and_their_sessions_are_told() {
    let told = |session: SessionSettings, key: &str, words: &str| {
        assert_one(Kind::Count(CountSettings { session, ..count() }), key, words);
    };
    let hours = |hours: &[u64]| SessionSettings {
        schedule: hours.iter().map(|hour| Duration::from_secs(hour * 3600)).collect(),
        ..SessionSettings::default()
    };
    told(hours(&[6, 24]), "schedule", "24 h is no time of the day");
    told(hours(&[14, 6]), "schedule", "do not rise");
    told(hours(&[6, 6]), "schedule", "do not rise");
    let empty_after = Some(Duration::ZERO);
    told(SessionSettings { empty_after, ..SessionSettings::default() }, "empty_after", "no time at all");
    let zone = relative(&[(0.0, 0.0), (1.0, 0.0), (1.0, 1.0)]).unwrap();
    let place = Place::Zone { zone, settle: Duration::ZERO, gone_after: Duration::ZERO };
    assert_one(Kind::Count(CountSettings { place, ..count() }), "gone_after", "no time at all");
}

#[test]
fn prices_that_are_missing_or_wrong_are_told() {
    let told = |settings: TotalSettings, key: &str, words: &str| assert_one(Kind::Total(settings), key, words);
    let prices = |prices: &[(&str, i64)]| TotalSettings {
        prices: prices.iter().map(|&(name, price)| (name.to_owned(), price)).collect(),
        ..total()
    };
    told(prices(&[("apple", 45), ("pear", 50)]), "prices", "\"pear\" has one but is not in classes");
    told(prices(&[("apple", -1)]), "prices", "that of \"apple\" is below zero");
    told(prices(&[("apple", i64::MAX)]), "prices", "too high");
    let two = CountSettings { classes: vec!["apple".to_owned(), "pear".to_owned()], ..count() };
    told(TotalSettings { count: two, ..total() }, "prices", "\"pear\" has none");
    let all = CountSettings { classes: Vec::new(), ..count() };
    told(TotalSettings { count: all, prices: Vec::new(), ..total() }, "prices", "it is missing");
    told(TotalSettings { currency: "euro".to_owned(), ..total() }, "currency", "as ISO 4217 does");
    told(TotalSettings { decimals: 5, ..total() }, "decimals", "no currency has more than 4");
}

#[test]
fn unknown_classes_are_told_with_the_nearest() {
    let names = ["board", "scratch", "apple"];
    let of = |kind| unknown_classes(&Settings { id: "r".to_owned(), kind }, &names);
    let watch = |class: &str| Watch { classes: vec![class.to_owned()], ..Watch::default() };
    assert_eq!(of(Kind::Alarm(AlarmSettings { watch: watch("scratch"), ..alarm() })), []);
    assert_eq!(of(Kind::Verdict(verdict())), []);
    let problem = |key, what: &str| [Problem { key, what: what.to_owned() }];
    assert_eq!(
        of(Kind::Alarm(AlarmSettings { watch: watch("Scrach"), ..alarm() })),
        problem("classes", "the model has no class \"Scrach\"; did you mean \"scratch\"?")
    );
    assert_eq!(
        of(Kind::Verdict(VerdictSettings { fail: watch("zzz"), ..verdict() })),
        problem("fail", "the model has no class \"zzz\"; `andon inspect` lists its 3")
    );
    let trigger = Trigger::Line { parts: vec!["boards".to_owned()], line: line(), anchor: Anchor::Center };
    assert_eq!(
        of(Kind::Verdict(VerdictSettings { trigger, ..verdict() })),
        problem("parts", "the model has no class \"boards\"; did you mean \"board\"?")
    );
    assert_eq!(
        of(Kind::Count(CountSettings { classes: vec!["aple".to_owned()], ..count() })),
        problem("classes", "the model has no class \"aple\"; did you mean \"apple\"?")
    );
    let prices = vec![("appel".to_owned(), 1)];
    assert_eq!(
        of(Kind::Total(TotalSettings { prices, ..total() })),
        problem("prices", "the model has no class \"appel\"; did you mean \"apple\"?")
    );
}
