//! Whether a rule makes sense: what a configuration can get wrong and its parser cannot see. What a file says about cameras,
//! models, inputs and other rules is left to whoever reads it.

use std::time::Duration;

use super::{
    AlarmSettings, CountSettings, Kind, Line, Place, SessionSettings, Settings, TotalSettings, Towards, Trigger, Unit,
    VerdictSettings, When, Zone,
    settings::{CORNERS_MAX, FRAMES_MAX, THINGS_MAX},
};
use crate::geometry::Point;

/// The longest side of a frame, in pixels.
const SIDE_MAX: f32 = 16_384.0;

/// The widest band of a relative line.
const BAND_SHARE_MAX: f32 = 0.5;

/// A line has to rise across its direction by this part of what it runs along it, or nothing crosses it.
const SLOPE_MIN: f32 = 0.1;

/// A day.
const DAY: Duration = Duration::from_secs(86_400);

/// The highest price in minor units, far below where a sum would overflow.
const PRICE_MAX: i64 = 1_000_000_000_000;

/// ISO 4217 knows no currency with more decimals.
const DECIMALS_MAX: u8 = 4;

/// Something that is wrong with a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key of the configuration that has to be changed.
    pub key: &'static str,
    /// What is wrong and what to do, without the rule and the key.
    pub what: String,
}

/// Everything that is wrong with one rule in itself.
pub fn check(settings: &Settings) -> Vec<Problem> {
    let mut problems = Findings::default();
    match &settings.kind {
        Kind::Alarm(alarm) => check_alarm(alarm, &mut problems),
        Kind::Blind(_) => {}
        Kind::Verdict(verdict) => check_verdict(verdict, &mut problems),
        Kind::Count(count) => check_count(count, &mut problems),
        Kind::Total(total) => check_total(total, &mut problems),
    }
    problems.0
}

/// The classes that a rule names and its model does not have; `names` are the model's.
pub fn unknown_classes(settings: &Settings, names: &[impl AsRef<str>]) -> Vec<Problem> {
    let mut problems = Findings::default();
    let mut look_up = |key, wanted: &mut dyn Iterator<Item = &str>| {
        for class in wanted {
            if !names.iter().any(|name| name.as_ref() == class) {
                problems.add(key, unknown(class, names));
            }
        }
    };
    match &settings.kind {
        Kind::Alarm(alarm) => look_up("classes", &mut texts(&alarm.watch.classes)),
        Kind::Blind(_) => {}
        Kind::Verdict(verdict) => {
            if let Trigger::Line { parts, .. } = &verdict.trigger {
                look_up("parts", &mut texts(parts));
            }
            look_up("fail", &mut texts(&verdict.fail.classes));
        }
        Kind::Count(count) => look_up("classes", &mut texts(&count.classes)),
        // A class without a price is a problem of its own: here the prices stand for all.
        Kind::Total(total) => look_up("prices", &mut total.prices.iter().map(|(name, _)| name.as_str())),
    }
    problems.0
}

/// Problems found so far.
#[derive(Default)]
struct Findings(Vec<Problem>);

impl Findings {
    fn add(&mut self, key: &'static str, what: impl Into<String>) {
        self.0.push(Problem { key, what: what.into() });
    }

    fn add_if(&mut self, wrong: bool, key: &'static str, what: impl Into<String>) {
        if wrong {
            self.add(key, what);
        }
    }
}

fn texts(texts: &[String]) -> impl Iterator<Item = &str> {
    texts.iter().map(String::as_str)
}

fn unknown(class: &str, names: &[impl AsRef<str>]) -> String {
    let likeness = |name: &&str| strsim::jaro_winkler(&name.to_lowercase(), &class.to_lowercase());
    let nearest = names.iter().map(AsRef::as_ref).filter(|name| likeness(name) > 0.7);
    match nearest.max_by(|a, b| likeness(a).total_cmp(&likeness(b))) {
        Some(name) => format!("the model has no class \"{class}\"; did you mean \"{name}\"?"),
        None => format!("the model has no class \"{class}\"; `andon inspect` lists its {}", names.len()),
    }
}

fn check_alarm(settings: &AlarmSettings, problems: &mut Findings) {
    check_classes("classes", &settings.watch.classes, problems);
    check_zone(settings.watch.zone.as_ref(), problems);
    check_share("raise", settings.raise, problems);
    check_share("clear", settings.clear, problems);
    let (raise, clear) = (settings.raise, settings.clear);
    problems.add_if(
        clear >= raise,
        "clear",
        format!("{clear} is not below raise, {raise}, so that the alarm would flap; write a lower one"),
    );
    match settings.when {
        When::Frames { count, frames } => {
            problems.add_if(count == 0, "when", "0 frames raise it at once; write at least 1, as in \"3 of 5 frames\"");
            problems.add_if(
                count > frames,
                "when",
                format!("{count} of {frames} frames never come; the first number is at most the second"),
            );
            problems.add_if(
                frames > FRAMES_MAX,
                "when",
                format!("{frames} frames are too many; write at most {FRAMES_MAX}, or a time as in \"3 in 60 s\""),
            );
        }
        When::Within { count, span } => {
            problems.add_if(count == 0, "when", "0 things raise it at once; write at least 1, as in \"3 in 60 s\"");
            problems.add_if(
                count > THINGS_MAX,
                "when",
                format!("{count} things are too many to tell apart; write at most {THINGS_MAX}"),
            );
            problems.add_if(span.is_zero(), "when", "nothing comes in 0 s; write a longer time, as in \"3 in 60 s\"");
        }
    }
}

fn check_verdict(settings: &VerdictSettings, problems: &mut Findings) {
    check_classes("fail", &settings.fail.classes, problems);
    check_zone(settings.fail.zone.as_ref(), problems);
    check_share("confidence", settings.confidence, problems);
    check_share("fail_share", settings.fail_share, problems);
    check_share("pass_share", settings.pass_share, problems);
    let (pass, fail) = (settings.pass_share, settings.fail_share);
    problems.add_if(
        pass > fail,
        "pass_share",
        format!("{pass} is above fail_share, {fail}, so that a part would be both; write at most that"),
    );
    problems.add_if(
        fail == 0.0,
        "fail_share",
        "with 0 every part is bad; write the share of its frames that is too much",
    );
    problems.add_if(settings.frames_min == 0, "frames_min", "0 frames judge nothing; write at least 1");
    match &settings.trigger {
        Trigger::Line { parts, line, .. } => {
            check_classes("parts", parts, problems);
            check_line(line, problems);
            let fail = &settings.fail.classes;
            if parts.is_empty() {
                problems.add("parts", "it is missing; name the classes that are parts, as in [\"board\"]");
            } else if fail.is_empty() {
                problems
                    .add("fail", "it is missing, so that every part is bad by its own class; name what makes one bad");
            } else if parts.iter().all(|part| fail.contains(part)) {
                problems
                    .add("fail", "it names all the parts, so that every one is bad; leave out the class of a good one");
            }
        }
        Trigger::Command { within } => check_time("within", *within, problems),
        Trigger::Input { input, within } => {
            problems.add_if(input.is_empty(), "input", "it is missing; name the [[input]] that says when a part comes");
            check_time("within", *within, problems);
        }
        Trigger::Every(every) => check_time("every", *every, problems),
        Trigger::Picture => problems.add_if(
            settings.frames_min > 1,
            "frames_min",
            format!("{} frames never come, for each picture is a part; leave the key out", settings.frames_min),
        ),
    }
}

fn check_count(settings: &CountSettings, problems: &mut Findings) {
    check_classes("classes", &settings.classes, problems);
    check_counting(settings, problems);
}

fn check_counting(settings: &CountSettings, problems: &mut Findings) {
    check_share("confidence", settings.confidence, problems);
    match &settings.place {
        Place::Line(line) => check_line(line, problems),
        Place::Zone { zone, gone_after, .. } => {
            check_zone(Some(zone), problems);
            check_time("gone_after", *gone_after, problems);
        }
    }
    check_session(&settings.session, problems);
}

fn check_session(settings: &SessionSettings, problems: &mut Findings) {
    if let Some(late) = settings.schedule.iter().find(|time| **time >= DAY) {
        let hours = late.as_secs_f64() / 3600.0;
        problems.add("schedule", format!("{hours} h is no time of the day; write 00:00 to 23:59"));
    }
    problems.add_if(
        settings.schedule.windows(2).any(|pair| pair[0] >= pair[1]),
        "schedule",
        "its times do not rise; write each once, the earliest first",
    );
    if let Some(empty_after) = settings.empty_after {
        check_time("empty_after", empty_after, problems);
    }
}

fn check_total(settings: &TotalSettings, problems: &mut Findings) {
    check_counting(&settings.count, problems);
    let classes = &settings.count.classes;
    problems.add_if(settings.prices.is_empty(), "prices", "it is missing; write prices as in { apple = \"0.45\" }");
    for class in classes {
        problems.add_if(
            !settings.prices.iter().any(|(name, _)| name == class),
            "prices",
            format!("\"{class}\" has none; write one, or take it out of classes"),
        );
    }
    for (name, price) in &settings.prices {
        problems.add_if(
            !classes.is_empty() && !classes.contains(name),
            "prices",
            format!("\"{name}\" has one but is not in classes; add it there, or take out the price"),
        );
        problems.add_if(*price < 0, "prices", format!("that of \"{name}\" is below zero; write 0 or more"));
        problems.add_if(*price > PRICE_MAX, "prices", format!("that of \"{name}\" is too high; is it in minor units?"));
    }
    let currency = &settings.currency;
    problems.add_if(
        currency.len() != 3 || !currency.bytes().all(|byte| byte.is_ascii_uppercase()),
        "currency",
        format!("\"{currency}\" is no currency; write three letters as ISO 4217 does, as in \"EUR\""),
    );
    problems.add_if(
        settings.decimals > DECIMALS_MAX,
        "decimals",
        format!("{} are too many; no currency has more than {DECIMALS_MAX}", settings.decimals),
    );
}

fn check_classes(key: &'static str, classes: &[String], problems: &mut Findings) {
    for (index, class) in classes.iter().enumerate() {
        problems.add_if(class.is_empty(), key, "a class without a name is in it; write its name or take it out");
        let twice = classes[..index].contains(class);
        problems.add_if(twice, key, format!("\"{class}\" is in it twice; write it once"));
    }
}

/// A number in `0..=1`.
fn check_share(key: &'static str, share: f32, problems: &mut Findings) {
    problems.add_if(!(0.0..=1.0).contains(&share), key, format!("{share} is out of bounds; it lies between 0 and 1"));
}

/// A time that is longer than none.
fn check_time(key: &'static str, time: Duration, problems: &mut Findings) {
    problems.add_if(time.is_zero(), key, "it is no time at all; write more than 0 seconds");
}

fn check_zone(zone: Option<&Zone>, problems: &mut Findings) {
    let Some(Zone { corners, unit }) = zone else { return };
    if corners.len() < 3 {
        problems.add(
            "zone",
            format!("{} corners enclose nothing; write at least 3, as in [[0, 0], [1, 0], [1, 1]]", corners.len()),
        );
    } else if corners.len() > CORNERS_MAX {
        problems.add("zone", format!("{} corners are too many; write at most {CORNERS_MAX}", corners.len()));
    } else if let Some(problem) = corners.iter().find_map(|corner| outside(*corner, *unit)) {
        problems.add("zone", problem);
    } else if lie_on_a_line(corners) {
        problems.add("zone", "it encloses nothing, for its corners lie on a line; move one");
    } else if corners.first() == corners.last() {
        problems.add("zone", "its last corner is the first one again; leave that out, for it closes by itself");
    } else if let Some((first, second)) = crossing_edges(corners) {
        problems.add(
            "zone",
            format!(
                "its edges from corner {} and from corner {} meet; write the corners in order around it, each once",
                first + 1,
                second + 1
            ),
        );
    }
}

/// Why a point cannot lie in any frame.
fn outside(Point { x, y }: Point, unit: Unit) -> Option<String> {
    let end = match unit {
        Unit::Relative => 1.0,
        Unit::Pixels => SIDE_MAX,
    };
    let inside = (0.0..=end).contains(&x) && (0.0..=end).contains(&y);
    (!inside).then(|| match unit {
        Unit::Relative => format!("[{x}, {y}] lies outside the frame; relative coordinates lie between 0 and 1"),
        Unit::Pixels => format!("[{x}, {y}] lies outside every frame; pixels lie between 0 and {SIDE_MAX}"),
    })
}

/// Whether all corners lie on one line, within a millionth.
fn lie_on_a_line(corners: &[Point]) -> bool {
    let far = |point: &Point| (point.x - corners[0].x).hypot(point.y - corners[0].y);
    let farthest = corners.iter().copied().max_by(|a, b| far(a).total_cmp(&far(b))).unwrap_or_default();
    let most = f64::from(far(&farthest)).powi(2) / 1e6;
    corners.iter().all(|corner| turns(corners[0], farthest, *corner).abs() <= most)
}

/// Two edges that have more in common than the corner between neighbours, by the index of the corner where each begins.
fn crossing_edges(corners: &[Point]) -> Option<(usize, usize)> {
    let count = corners.len();
    let end = |index: usize| corners[(index + 1) % count];
    for first in 0..count {
        for second in first + 1..count {
            let (a, b, c, d) = (corners[first], end(first), corners[second], end(second));
            let meet = if second == first + 1 {
                a == b || turns(a, b, d) == 0.0 && within(a, b, d) || turns(a, b, d) == 0.0 && within(b, d, a)
            } else if first == 0 && second == count - 1 {
                c == d || turns(c, d, b) == 0.0 && within(c, d, b) || turns(c, d, b) == 0.0 && within(d, b, c)
            } else {
                segments_meet(a, b, c, d)
            };
            if meet {
                return Some((first, second));
            }
        }
    }
    None
}

/// Above zero where `c` lies to one side of the line through `a` and `b`, below on the other, zero on it.
fn turns(a: Point, b: Point, c: Point) -> f64 {
    let difference = |to: f32, from: f32| f64::from(to) - f64::from(from);
    difference(b.x, a.x) * difference(c.y, a.y) - difference(b.y, a.y) * difference(c.x, a.x)
}

/// Whether `c`, which lies on the line through `a` and `b`, lies between them.
fn within(a: Point, b: Point, c: Point) -> bool {
    (a.x.min(b.x)..=a.x.max(b.x)).contains(&c.x) && (a.y.min(b.y)..=a.y.max(b.y)).contains(&c.y)
}

/// Whether `ab` and `cd` have a point in common.
fn segments_meet(a: Point, b: Point, c: Point, d: Point) -> bool {
    let (c_side, d_side, a_side, b_side) = (turns(a, b, c), turns(a, b, d), turns(c, d, a), turns(c, d, b));
    if c_side * d_side < 0.0 && a_side * b_side < 0.0 {
        return true;
    }
    c_side == 0.0 && within(a, b, c)
        || d_side == 0.0 && within(a, b, d)
        || a_side == 0.0 && within(c, d, a)
        || b_side == 0.0 && within(c, d, b)
}

fn check_line(line: &Line, problems: &mut Findings) {
    let Line { from, to, band, unit, inward } = *line;
    if let Some(problem) = [from, to].into_iter().find_map(|end| outside(end, unit)) {
        problems.add("line", problem);
        return;
    }
    if from == to {
        problems.add("line", "its ends are the same point; write two, as in [[0.5, 0], [0.5, 1]]");
        return;
    }
    // What the line covers across the way that things go, and along it.
    let (run, rise) = ((to.x - from.x).abs(), (to.y - from.y).abs());
    let (across, along, middle) = match inward {
        Towards::Left | Towards::Right => (rise, run, (from.x + to.x) / 2.0),
        Towards::Up | Towards::Down => (run, rise, (from.y + to.y) / 2.0),
    };
    let way = Towards::NAMES.into_iter().find(|(_, towards)| *towards == inward).map_or("", |(name, _)| name);
    let others = match inward {
        Towards::Left | Towards::Right => "up or down",
        Towards::Up | Towards::Down => "left or right",
    };
    if across < along * SLOPE_MIN {
        let what = format!("\"{way}\" runs along the line, so that nothing crosses it that way; write {others}");
        problems.add("direction", what);
    } else if middle <= 0.0 || unit == Unit::Relative && middle >= 1.0 {
        problems.add("line", "it lies on the edge of the frame, where nothing gets past it; move it inwards");
    }
    if band.is_nan() || band <= 0.0 {
        let what = format!("{band} is no width; write more than 0, or what trembles on the line is counted");
        problems.add("band", what);
    } else {
        match unit {
            Unit::Relative => problems.add_if(
                band > BAND_SHARE_MAX,
                "band",
                format!("{band} leaves no room beside it; write at most {BAND_SHARE_MAX} of the frame's smaller side"),
            ),
            Unit::Pixels => {
                let length = run.hypot(rise);
                problems.add_if(
                    band > length || band / 2.0 >= middle,
                    "band",
                    format!(
                        "{band} pixels leave no room beside it; write fewer than the line is long and from the edge"
                    ),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests;
