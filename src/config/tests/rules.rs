//! Rules, inputs and outputs: what is written becomes what was meant, and each mistake is one sentence that names the rule and
//! the key.

use std::time::Duration;

use super::{Config, load, problems};
use crate::{
    event::Priority,
    geometry::Point,
    outputs::{Bias, Edge, InputKind, LineName, OutputKind, RuleName},
    rules::{Anchor, Kind, Line, Place, RejectAfter, Towards, Trigger, Unit, When, Zone},
};

const BEFORE: &str = "[model]\npath = \"m.onnx\"\n[[camera]]\nid = \"in\"\nsource = \"/dev/video0\"\n";

const ALARM: &str = "id = \"a\"\nkind = \"alarm\"\n";
const BLIND: &str = "id = \"b\"\nkind = \"blind\"\n";
const VERDICT: &str = "id = \"v\"\nkind = \"verdict\"\n";
const LINE: &str = "id = \"l\"\nkind = \"verdict\"\ntrigger = \"line\"\nparts = [\"board\"]\nfail = [\"scratch\"]\n\
                    line = [[0.5, 0], [0.5, 1]]\ndirection = \"right\"\n";
const COUNT: &str = "id = \"c\"\nkind = \"count\"\n";
const CROSSED: &str = "id = \"x\"\nkind = \"count\"\nline = [[0.5, 0], [0.5, 1]]\n";
const TOTAL: &str = "id = \"t\"\nkind = \"total\"\nzone = [[0, 0], [1, 0], [1, 1]]\n";

fn rule(rule: &str) -> String {
    format!("{BEFORE}[[rule]]\n{rule}\n")
}

fn kind(text: &str) -> Kind {
    let config = load(&rule(text)).unwrap_or_else(|error| panic!("{text}: {error:#}"));
    config.cameras[0].rules[0].kind.clone()
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

#[test]
fn an_alarm_is_read_and_has_defaults() {
    let Kind::Alarm(alarm) = kind(ALARM) else { panic!("it is an alarm") };
    assert_eq!((alarm.raise, alarm.clear, alarm.clear_after), (0.5, 0.4, seconds(2.0)));
    assert_eq!(alarm.when, When::Frames { count: 3, frames: 5 });
    assert_eq!((alarm.watch.zone, alarm.watch.anchor), (None, Anchor::Center));
    let text = "classes = [\"a\", \"b\"]\nzone = [[0, 0], [640, 0], [640, 480]]\nanchor = \"bottom\"\n\
                when = \"4 in 1.5 min\"\nraise = 0.7\nclear = 0.3\nclear_after = 1\nhold = 2\ncooldown = 3\nlatch = true\n\
                priority = \"critical\"";
    let Kind::Alarm(alarm) = kind(&format!("{ALARM}{text}")) else { panic!("it is an alarm") };
    assert_eq!(alarm.when, When::Within { count: 4, span: seconds(90.0) });
    assert_eq!((alarm.raise, alarm.clear, alarm.clear_after), (0.7, 0.3, seconds(1.0)));
    assert_eq!((alarm.watch.classes.len(), alarm.watch.anchor), (2, Anchor::Bottom));
    let corners = [(0.0, 0.0), (640.0, 0.0), (640.0, 480.0)].map(|(x, y)| Point { x, y }).to_vec();
    assert_eq!(alarm.watch.zone, Some(Zone { corners, unit: Unit::Pixels }));
    assert_eq!((alarm.manner.hold, alarm.manner.cooldown), (seconds(2.0), seconds(3.0)));
    assert_eq!((alarm.manner.latch, alarm.manner.priority), (true, Priority::Critical));
    for text in ["3 of 5 frames", "3 of 5", " 3 of 5 frames "] {
        let Kind::Alarm(alarm) = kind(&format!("{ALARM}when = \"{text}\"")) else { panic!("it is an alarm") };
        assert_eq!(alarm.when, When::Frames { count: 3, frames: 5 }, "{text}");
    }
    let Kind::Blind(blind) = kind(&format!("{BLIND}after = 0.5\npriority = \"low\"")) else { panic!("it is blind") };
    assert_eq!((blind.after, blind.manner.priority), (seconds(0.5), Priority::Low));
}

#[test]
fn a_model_that_reports_less_raises_what_counts() {
    let text = rule(ALARM).replace("\"m.onnx\"", "\"m.onnx\"\nconfidence = 0.75");
    let Kind::Alarm(alarm) = &load(&text).unwrap().cameras[0].rules[0].kind else { panic!("it is an alarm") };
    assert_eq!(alarm.raise, 0.75);
}

#[test]
fn a_verdict_is_read_with_each_trigger() {
    let Kind::Verdict(verdict) = kind(&format!("{LINE}anchor = \"right\"\nreject_after = \"1.5 s\"")) else { panic!() };
    let ends = [(0.5, 0.0), (0.5, 1.0)].map(|(x, y)| Point { x, y });
    let line = Line { from: ends[0], to: ends[1], band: 0.02, unit: Unit::Relative, inward: Towards::Right };
    assert_eq!(verdict.trigger, Trigger::Line { parts: vec!["board".to_owned()], line, anchor: Anchor::Right });
    assert_eq!((verdict.fail_share, verdict.pass_share, verdict.frames_min), (0.5, 0.5, 3));
    assert_eq!(verdict.reject_after, Some(RejectAfter::Time(seconds(1.5))));
    for (keys, trigger) in [
        ("trigger = \"command\"", Trigger::Command { within: seconds(5.0) }),
        ("trigger = \"command\"\nwithin = 60", Trigger::Command { within: seconds(60.0) }),
        ("trigger = \"time\"\nevery = 0.5", Trigger::Every(seconds(0.5))),
        ("trigger = \"picture\"", Trigger::Picture),
    ] {
        let Kind::Verdict(verdict) = kind(&format!("{VERDICT}{keys}")) else { panic!("it is a verdict") };
        assert_eq!(verdict.trigger, trigger);
    }
    let text = "trigger = \"input\"\ninput = \"barrier\"\nwithin = 2\nreject_after = \"120 ticks\"\n\
                [[input]]\nid = \"barrier\"\nline = \"gpiochip0:17\"\n\
                [[input]]\nid = \"belt\"\nline = \"GPIO27\"\nkind = \"encoder\"";
    let Kind::Verdict(verdict) = kind(&format!("{VERDICT}{text}")) else { panic!("it is a verdict") };
    assert_eq!(verdict.trigger, Trigger::Input { input: "barrier".to_owned(), within: seconds(2.0) });
    assert_eq!(verdict.reject_after, Some(RejectAfter::Ticks(120)));
    let Kind::Verdict(verdict) = kind(&format!("{VERDICT}trigger = \"picture\"")) else { panic!("it is a verdict") };
    assert_eq!(verdict.frames_min, 1);
}

#[test]
fn a_count_and_a_total_are_read() {
    let text = format!("{CROSSED}direction = \"up\"\nband = 0.1\nschedule = [\"06:00\", \"22:30\"]\nempty_after = 60");
    let text = text.replace("[[0.5, 0], [0.5, 1]]", "[[0, 0.5], [1, 0.5]]");
    let Kind::Count(count) = kind(&text) else { panic!("it is a count") };
    assert!(matches!(count.place, Place::Line(Line { band: 0.1, inward: Towards::Up, .. })), "{count:?}");
    assert_eq!(count.session.schedule, [seconds(6.0 * 3600.0), seconds(22.5 * 3600.0)]);
    assert_eq!((count.session.empty_after, count.session.by_command), (Some(seconds(60.0)), false));
    let text = "prices = { pear = \"0.60\", apple = \"0.45\" }\ncurrency = \"EUR\"\nsessions = \"command\"\nsettle = 1";
    let Kind::Total(total) = kind(&format!("{TOTAL}{text}")) else { panic!("it is a total") };
    assert_eq!(total.prices, [("apple".to_owned(), 45), ("pear".to_owned(), 60)]);
    assert_eq!(total.count.classes, ["apple", "pear"]);
    assert_eq!((total.currency.as_str(), total.decimals), ("EUR", 2));
    assert!(
        matches!(total.count.place, Place::Zone { settle, gone_after, .. } if (settle, gone_after) == (seconds(1.0), seconds(2.0)))
    );
    assert!(total.count.session.by_command);
}

/// Whether each text makes one problem, which begins as it says.
fn assert_told<const N: usize>(table: [(String, &str); N]) {
    for (keys, start) in table {
        let problems = problems(&rule(&keys));
        assert_eq!(problems.len(), 1, "{keys}\n{problems:#?}");
        let told = problems[0].split_once(": ").map(|(place, told)| (place.starts_with("andon.toml, line "), told));
        let expected = if start.starts_with("unknown") { start.to_owned() } else { format!("[[rule]] {start}") };
        assert!(told.is_some_and(|(line, told)| line && told.starts_with(&expected)), "{keys}\n{problems:#?}");
    }
}

#[test]
fn each_mistake_in_an_alarm_is_one_sentence_with_rule_and_key() {
    assert_told([
        (format!("{ALARM}zone = [[0.1, 0.1], [0.9, 0.9], [0.9, 0.1], [0.1, 0.9]]"), "\"a\" zone: its edges"),
        (format!("{ALARM}zone = [[0.1, 0.1], [0.9, 0.9]]"), "\"a\" zone: 2 corners enclose nothing"),
        (format!("{ALARM}zone = [[0.1, 0.1], [0.2, 0.2], [0.3, 0.3]]"), "\"a\" zone: it encloses nothing"),
        (format!("{ALARM}zone = [[0.5, 10], [300, 10], [300, 300]]"), "\"a\" zone: it mixes pixels with parts"),
        (format!("{ALARM}zone = [[-1, 0], [1, 0], [1, 1]]"), "\"a\" zone: a point is [x, y], each between 0 and"),
        (format!("{ALARM}zone = [[0, 0, 1], [1, 0], [1, 1]]"), "\"a\" zone: a point is [x, y]"),
        (format!("{ALARM}zone = [0, 1, 2]"), "\"a\" zone: it takes a list of points [x, y], not a whole number"),
        (format!("{ALARM}zone = \"all\""), "\"a\" zone: it takes a list of points [x, y], not a text"),
        (format!("{ALARM}raise = 0.5\nclear = 0.6"), "\"a\" clear: 0.6 is not below raise"),
        (format!("{ALARM}raise = 0.5\nclear = 0.5"), "\"a\" clear: 0.5 is not below raise"),
        (format!("{ALARM}raise = 1.5"), "\"a\" raise: 1.5 is out of bounds"),
        (format!("{ALARM}raise = 0.1"), "\"a\" raise: 0.1 is below what the model reports at all"),
        (format!("{ALARM}clear = 0.1"), "\"a\" clear: 0.1 is below what the model reports at all"),
        (format!("{ALARM}when = \"3 off 5\""), "\"a\" when: \"3 off 5\" does not say how much"),
        (format!("{ALARM}when = \"3 in 60\""), "\"a\" when: \"3 in 60\" does not say"),
        (format!("{ALARM}when = \"3 in 0 s\""), "\"a\" when: "),
        (format!("{ALARM}when = \"3 in 9999 min\""), "\"a\" when: "),
        (format!("{ALARM}when = \"6 of 5 frames\""), "\"a\" when: "),
        (format!("{ALARM}when = \"0 of 5 frames\""), "\"a\" when: "),
        (format!("{ALARM}when = \"3 of 65 frames\""), "\"a\" when: "),
        (format!("{ALARM}when = 3"), "\"a\" when: it takes a text in quotes"),
        (format!("{ALARM}classes = []"), "\"a\" classes: it is empty"),
        (format!("{ALARM}classes = \"scratch\""), "\"a\" classes: it takes a list of texts"),
        (format!("{ALARM}classes = [\"x\", \"y\", \"x\"]"), "\"a\" classes: \"x\" is in it twice"),
        (format!("{ALARM}anchor = \"middle\""), "\"a\" anchor: \"middle\" is not one of center, top"),
        (format!("{ALARM}priority = \"urgent\""), "\"a\" priority: \"urgent\" is not one of low"),
        (format!("{ALARM}latch = 1"), "\"a\" latch: it takes true or false"),
        (format!("{ALARM}hold = -1"), "\"a\" hold: -1 is out of bounds"),
        (format!("{ALARM}cooldown = \"5 s\""), "\"a\" cooldown: it takes a number"),
        (format!("{ALARM}camera = \"inn\""), "\"a\" camera: there is no camera \"inn\"; did you mean \"in\"?"),
        (format!("{BLIND}after = 100000"), "\"b\" after: 100000 is out of bounds"),
    ]);
}

#[test]
fn each_mistake_in_a_verdict_is_one_sentence_with_rule_and_key() {
    assert_told([
        (VERDICT.to_owned(), "\"v\" trigger: it is missing; say what opens a part"),
        (format!("{VERDICT}trigger = \"push\""), "\"v\" trigger: \"push\" is not one of line"),
        (format!("{VERDICT}trigger = \"time\""), "\"v\" every: it is missing"),
        (format!("{VERDICT}trigger = \"time\"\nevery = 0"), "\"v\" every: 0 is out of bounds"),
        (format!("{VERDICT}trigger = \"picture\"\nevery = 1"), "\"v\" every: it goes with trigger = \"time\""),
        (format!("{VERDICT}trigger = \"picture\"\nframes_min = 2"), "\"v\" frames_min: "),
        (format!("{VERDICT}trigger = \"input\""), "\"v\" input: it is missing"),
        (format!("{VERDICT}trigger = \"input\"\ninput = \"x\""), "\"v\" input: there is no input \"x\"; none is conf"),
        (format!("{VERDICT}trigger = \"command\"\nreject_after = \"5 ticks\""), "\"v\" reject_after: it counts ticks"),
        (format!("{VERDICT}trigger = \"command\"\nreject_after = \"5\""), "\"v\" reject_after: \"5\" is no way to"),
        (format!("{VERDICT}trigger = \"command\"\nwithin = 0"), "\"v\" within: 0 is out of bounds"),
        (format!("{VERDICT}trigger = \"command\"\nparts = [\"x\"]"), "\"v\" parts: it goes with trigger = \"line\""),
        (format!("{LINE}fail_share = 0.3\npass_share = 0.5"), "\"l\" pass_share: 0.5 is above fail_share"),
        (format!("{LINE}fail_share = 0"), "\"l\" fail_share: with 0 every part is bad"),
        (format!("{LINE}frames_min = 0"), "\"l\" frames_min: 0 is out of bounds"),
        (LINE.replace("fail = [\"scratch\"]\n", ""), "\"l\" fail: it is missing"),
        (LINE.replace("fail = [\"scratch\"]\n", "fail = [\"board\"]\n"), "\"l\" fail: it names all the parts"),
        (LINE.replace("parts = [\"board\"]\n", ""), "\"l\" parts: it is missing"),
        (LINE.replace("line = [[0.5, 0], [0.5, 1]]\n", ""), "\"l\" line: it is missing"),
        (LINE.replace("direction = \"right\"\n", ""), "\"l\" direction: it is missing"),
        (LINE.replace("\"right\"", "\"up\""), "\"l\" direction: \"up\" runs along the line"),
        (LINE.replace("\"right\"", "\"in\""), "\"l\" direction: \"in\" is not one of left"),
        (LINE.replace(", [0.5, 1]]", "]"), "\"l\" line: a line has two ends"),
        (LINE.replace("[0.5, 1]", "[0.5, 0]"), "\"l\" line: its ends are the same point"),
        (format!("{LINE}band = 0"), "\"l\" band: 0 is no width"),
        (format!("{LINE}band = 0.8"), "\"l\" band: 0.8 leaves no room"),
    ]);
}

#[test]
fn each_mistake_in_a_count_or_a_total_is_one_sentence_with_rule_and_key() {
    assert_told([
        (COUNT.to_owned(), "\"c\" zone: it is missing; say where things are counted"),
        (format!("{COUNT}line = [[0.5, 0], [0.5, 1]]"), "\"c\" direction: it is missing"),
        (
            format!("{CROSSED}direction = \"left\"\nzone = [[0, 0], [1, 0], [1, 1]]"),
            "\"x\" zone: things are counted at",
        ),
        (format!("{CROSSED}direction = \"left\"\nsettle = 1"), "\"x\" settle: it goes with a zone"),
        (
            format!("{CROSSED}direction = \"left\"\nschedule = [\"6:00\"]"),
            "\"x\" schedule: \"6:00\" is no time of the day",
        ),
        (format!("{CROSSED}direction = \"left\"\nschedule = [\"24:00\"]"), "\"x\" schedule: \"24:00\" is no time"),
        (format!("{CROSSED}direction = \"left\"\nschedule = [\"14:00\", \"06:00\"]"), "\"x\" schedule: its times"),
        (format!("{CROSSED}direction = \"left\"\nsessions = \"shift\""), "\"x\" sessions: \"shift\" is not one of"),
        (
            format!("{CROSSED}direction = \"left\"\nprices = {{ a = \"1\" }}"),
            "unknown key \"prices\" in [[rule]] \"x\"",
        ),
        (format!("{TOTAL}currency = \"EUR\""), "\"t\" prices: it is missing"),
        (
            format!("{TOTAL}currency = \"EUR\"\nclasses = [\"apple\", \"pear\"]\nprices = {{ apple = \"1\" }}"),
            "\"t\" prices: \"pear\" has none",
        ),
        (
            format!("{TOTAL}currency = \"EUR\"\nclasses = [\"apple\"]\nprices = {{ apple = \"1\", pear = \"2\" }}"),
            "\"t\" prices: \"pear\" has one but is not in classes",
        ),
        (
            format!("{TOTAL}currency = \"EUR\"\nprices = {{ apple = 0.45 }}"),
            "\"t\" prices: apple takes a text in quotes",
        ),
        (
            format!("{TOTAL}currency = \"EUR\"\nprices = {{ apple = \"0.455\" }}"),
            "\"t\" prices: apple: \"0.455\" has 3",
        ),
        (
            format!("{TOTAL}currency = \"EUR\"\nprices = {{ apple = \"-1\" }}"),
            "\"t\" prices: that of \"apple\" is below",
        ),
        (
            format!("{TOTAL}currency = \"euro\"\nprices = {{ apple = \"1\" }}"),
            "\"t\" currency: \"euro\" is no currency",
        ),
        (format!("{TOTAL}prices = {{ apple = \"1\" }}"), "\"t\" currency: it is missing"),
        (
            format!("{TOTAL}currency = \"EUR\"\ndecimals = 5\nprices = {{ apple = \"1\" }}"),
            "\"t\" decimals: 5 is out of bounds",
        ),
    ]);
}

#[test]
fn a_confidence_below_what_the_model_reports_of_these_classes_is_told() {
    let with = |keys: &str| {
        let model = "path = \"m.onnx\"\nthresholds = { dent = 0.6, scratch = 0.1 }";
        rule(&format!("{ALARM}raise = 0.7\n{keys}")).replacen("path = \"m.onnx\"", model, 1)
    };
    for (classes, clear, least) in [("dent", 0.5, 0.6), ("hole", 0.2, 0.25)] {
        let told = problems(&with(&format!("classes = [\"{classes}\"]\nclear = {clear}")));
        let what = format!("{clear} is below what the model reports at all; write at least {least}, or lower");
        let expected = format!("[[rule]] \"a\" clear: {what} [model] confidence or thresholds");
        assert!(told.len() == 1 && told[0].ends_with(&expected), "{told:#?}");
    }
    // The class of which least is asked counts.
    for keys in ["classes = [\"dent\", \"scratch\"]\nclear = 0.1", "clear = 0.1"] {
        assert!(load(&with(keys)).is_ok(), "{keys}");
    }
}

#[test]
fn each_mistake_in_a_rule_is_one_sentence_with_rule_and_key() {
    assert_told([
        ("id = \"k\"".to_owned(), "\"k\" kind: it is missing; write one of alarm"),
        ("id = \"k\"\nkind = \"alert\"".to_owned(), "\"k\" kind: \"alert\" is not one of alarm"),
        ("kind = \"alarm\"".to_owned(), "id: it is missing; give the rule a name"),
        ("id = \"A\"\nkind = \"alarm\"".to_owned(), "\"A\" id: the id \"A\" is not usable"),
        ("id = \"cmd\"\nkind = \"alarm\"".to_owned(), "\"cmd\" id: the id \"cmd\" is reserved"),
        (format!("{ALARM}clera = 0.4"), "unknown key \"clera\" in [[rule]] \"a\"; did you mean \"clear\"?"),
        (format!("{ALARM}[[rule]]\n{ALARM}"), "\"a\" id: another rule of this camera has the same id"),
    ]);
}

#[test]
fn a_mistake_is_told_where_it_stands() {
    let problem = &problems(&rule(&format!("{ALARM}raise = 0.5\n\nclear = 0.6")))[0];
    assert!(problem.starts_with("andon.toml, line 11: [[rule]] \"a\" clear: "), "{problem}");
}

#[test]
fn a_rule_belongs_to_a_camera() {
    let two = format!("{BEFORE}[[camera]]\nid = \"out\"\nsource = \"/dev/video1\"\n");
    let rules = format!("[[rule]]\ncamera = \"out\"\n{ALARM}[[rule]]\ncamera = \"in\"\n{ALARM}");
    let config = load(&format!("{two}{rules}")).unwrap();
    assert_eq!(config.cameras.iter().map(|camera| camera.rules.len()).collect::<Vec<_>>(), [1, 1]);
    let told = problems(&format!("{two}[[rule]]\n{ALARM}"));
    assert_eq!(told, ["andon.toml, line 9: [[rule]] \"a\" camera: there are several cameras; name one of in, out"]);
    let told = problems(&format!("[[rule]]\n{ALARM}"));
    assert!(told.len() == 1 && told[0].contains("\"a\" camera: there is no camera to look through"), "{told:?}");
    // What is wrong with the camera is enough.
    let told = problems(&rule(ALARM).replace("/dev/video0", "v4l3:/dev/video0"));
    assert!(told.len() == 1 && told[0].contains("[[camera]] \"in\" source"), "{told:?}");
}

#[test]
fn a_rule_looks_for_what_its_model_looks_for() {
    let text =
        rule(&format!("{ALARM}classes = [\"dent\"]")).replace("\"m.onnx\"", "\"m.onnx\"\nclasses = [\"scratch\"]");
    let told = problems(&text);
    assert!(told.len() == 1 && told[0].contains("\"a\" classes: [model] classes leaves \"dent\" out"), "{told:?}");
    let by_index = text.replace("[\"scratch\"]", "[\"3\"]");
    let config = load(&by_index).unwrap();
    assert_eq!(
        config.unknown_classes(0, &["scratch", "dents"]),
        ["[[rule]] \"a\" classes: the model has no class \"dent\"; did you mean \"dents\"?"]
    );
    assert!(config.unknown_classes(0, &["dent"]).is_empty() && config.unknown_classes(1, &["x"]).is_empty());
}

#[test]
fn things_are_followed_where_pictures_are_a_film() {
    let camera = |keys: &str| {
        let text = format!("[model]\npath = \"m\"\nconfidence = 0.3\n[[camera]]\nid = \"in\"\n{keys}\n");
        load(&text).map(|config| config.cameras[0].track)
    };
    for source in ["/dev/video0", "rtsp://10.0.0.7/a", "command:x", "shift.mp4"] {
        let track = camera(&format!("source = \"{source}\"")).unwrap().expect(source);
        assert_eq!((track.sure, track.unsure, track.lost_after), (0.3, 0.1, seconds(1.0)), "{source}");
    }
    for source in ["shots", "a.jpg", "line:"] {
        assert_eq!(camera(&format!("source = \"{source}\"")).unwrap(), None, "{source}");
    }
    assert_eq!(camera("source = \"/dev/video0\"\ntrack = false").unwrap(), None);
    let track = camera("source = \"shots\"\ntrack = true\nlost_after = 3").unwrap().unwrap();
    assert_eq!(track.lost_after, seconds(3.0));
    let refused = camera("source = \"shots\"\nlost_after = 3").unwrap_err().to_string();
    assert!(refused.contains("[[camera]] \"in\" lost_after: nothing is followed here"), "{refused}");
    let refused = camera("source = \"/dev/video0\"\nlost_after = 0").unwrap_err().to_string();
    assert!(refused.contains("lost_after: 0 is out of bounds"), "{refused}");
    for text in [format!("{CROSSED}direction = \"left\"\n"), LINE.to_owned()] {
        let told = problems(&rule(&text).replace("/dev/video0", "shots"));
        let key = if text == LINE { "trigger" } else { "kind" };
        assert!(told.len() == 1 && told[0].contains(&format!("{key}: it follows things")), "{told:?}");
        assert!(told[0].ends_with("set track = true in [[camera]] \"in\""), "{told:?}");
    }
}

/// Two alarms, a verdict for a gate and one without.
fn with_rules(rest: &str) -> String {
    let verdict = format!("{VERDICT}trigger = \"command\"\n");
    let gate = "id = \"g\"\nkind = \"verdict\"\ntrigger = \"command\"\nreject_after = \"1 s\"\n";
    rule(&format!("{ALARM}[[rule]]\n{BLIND}[[rule]]\n{verdict}[[rule]]\n{gate}{rest}"))
}

#[test]
fn inputs_and_outputs_are_read() {
    let text = "[[input]]\nid = \"i\"\nline = \"gpiochip1:3\"\nedge = \"both\"\nactive = \"low\"\nbias = \"up\"\ndebounce = 0.01\n\
                [[output]]\nid = \"lamp\"\nline = \"GPIO1\"\nkind = \"light\"\n\
                [[output]]\nid = \"horn\"\nline = \"GPIO2\"\nkind = \"light\"\nrules = [\"in/b\"]\npriority = \"high\"\nblink = false\n\
                [[output]]\nid = \"gate\"\nline = \"GPIO3\"\nactive = \"low\"\nkind = \"gate\"\nrule = \"g\"\npulse = 0.25\nunsure = true\n\
                [[output]]\nid = \"relay\"\nline = \"GPIO4\"\nkind = \"relay\"\n\
                [[output]]\nid = \"dog\"\nline = \"GPIO5\"\nkind = \"relay\"\nwithin = 0.5\ntoggle = 0.05\n";
    let Config { inputs, outputs, .. } = load(&with_rules(text)).unwrap();
    let input = &inputs[0];
    assert_eq!(input.line, LineName::Numbered { chip: "gpiochip1".to_owned(), offset: 3 });
    assert_eq!((input.edge, input.active_low, input.bias), (Edge::Both, true, Bias::Up));
    assert_eq!((input.kind, input.debounce), (InputKind::Trigger, seconds(0.01)));
    let name = |rule: &str| RuleName { camera: "in".to_owned(), rule: rule.to_owned() };
    let relay = |within, toggle: Option<f64>| OutputKind::Relay {
        cameras: vec!["in".to_owned()],
        within: seconds(within),
        toggle: toggle.map(seconds),
    };
    let kinds: Vec<_> = outputs.iter().map(|output| (output.active_low, output.kind.clone())).collect();
    assert_eq!(
        kinds,
        [
            (false, OutputKind::Light { rules: vec![name("a"), name("b")], priority_min: Priority::Low, blink: true }),
            (false, OutputKind::Light { rules: vec![name("b")], priority_min: Priority::High, blink: false }),
            (true, OutputKind::Gate { rule: name("g"), pulse: seconds(0.25), unsure: true }),
            (false, relay(3.0, None)),
            (false, relay(0.5, Some(0.05))),
        ]
    );
}

#[test]
fn each_mistake_in_a_line_is_one_sentence_with_its_place() {
    const INPUT: &str = "[[input]]\nid = \"i\"\nline = \"GPIO1\"\n";
    const OUTPUT: &str = "[[output]]\nid = \"o\"\nline = \"GPIO2\"\n";
    for (keys, start) in [
        ("[[input]]\nline = \"GPIO1\"\n".to_owned(), "[[input]] id: it is missing"),
        ("[[input]]\nid = \"i\"\n".to_owned(), "[[input]] \"i\" line: it is missing"),
        (INPUT.replace("GPIO1", "gpiochip0"), "[[input]] \"i\" line: \"gpiochip0\" names no line"),
        (format!("{INPUT}kind = \"button\""), "[[input]] \"i\" kind: \"button\" is not one of trigger, encoder"),
        (format!("{INPUT}edge = \"up\""), "[[input]] \"i\" edge: \"up\" is not one of rising"),
        (format!("{INPUT}bias = \"pull\""), "[[input]] \"i\" bias: \"pull\" is not one of none"),
        (format!("{INPUT}active = true"), "[[input]] \"i\" active: it takes a text in quotes"),
        (format!("{INPUT}debounce = 5"), "[[input]] \"i\" debounce: 5 is out of bounds"),
        (format!("{INPUT}{INPUT}").replacen("GPIO1", "GPIO9", 1), "[[input]] \"i\" id: another input has the same id"),
        (format!("{INPUT}{}", INPUT.replace("\"i\"", "\"j\"")), "[[input]] \"j\" line: \"i\" uses GPIO1 already"),
        (
            format!(
                "{INPUT}kind = \"encoder\"\n{}kind = \"encoder\"",
                INPUT.replace("\"i\"", "\"j\"").replace("GPIO1", "GPIO9")
            ),
            "[[input]] \"j\" kind: there is another encoder",
        ),
        (OUTPUT.to_owned(), "[[output]] \"o\" kind: it is missing; write one of light, gate, relay"),
        (format!("{OUTPUT}kind = \"lamp\""), "[[output]] \"o\" kind: \"lamp\" is not one of light"),
        (
            format!("{INPUT}{}kind = \"relay\"", OUTPUT.replace("GPIO2", "GPIO1")),
            "[[output]] \"o\" line: \"i\" uses GPIO1",
        ),
        (
            format!("{OUTPUT}kind = \"light\"\nrules = [\"c\"]"),
            "[[output]] \"o\" rules: there is no rule \"c\"; did you",
        ),
        (format!("{OUTPUT}kind = \"light\"\nrules = [\"v\"]"), "[[output]] \"o\" rules: \"v\" is a verdict"),
        (format!("{OUTPUT}kind = \"light\"\nrules = []"), "[[output]] \"o\" rules: there is no alarm to show"),
        (
            format!("{OUTPUT}kind = \"light\"\npriority = \"top\""),
            "[[output]] \"o\" priority: \"top\" is not one of low",
        ),
        (format!("{OUTPUT}kind = \"gate\""), "[[output]] \"o\" rule: it is missing"),
        (format!("{OUTPUT}kind = \"gate\"\nrule = \"a\""), "[[output]] \"o\" rule: \"a\" is of kind alarm"),
        (format!("{OUTPUT}kind = \"gate\"\nrule = \"v\""), "[[output]] \"o\" rule: [[rule]] \"v\" does not say when"),
        (format!("{OUTPUT}kind = \"gate\"\nrule = \"g\"\npulse = 0"), "[[output]] \"o\" pulse: 0 is out of bounds"),
        (format!("{OUTPUT}kind = \"gate\"\nrule = \"g\"\nblink = true"), "unknown key \"blink\" in [[output]] \"o\""),
        (
            format!("{OUTPUT}kind = \"relay\"\ncameras = [\"inn\"]"),
            "[[output]] \"o\" cameras: there is no camera \"inn\"; did",
        ),
        (format!("{OUTPUT}kind = \"relay\"\ntoggle = 0"), "[[output]] \"o\" toggle: 0 is out of bounds"),
        (format!("{OUTPUT}kind = \"relay\"\nwithin = 0"), "[[output]] \"o\" within: 0 is out of bounds"),
        (format!("{OUTPUT}kind = \"relay\"\ncameras = []"), "[[output]] \"o\" cameras: it holds for no camera"),
        ("[home_assistant]\nprefix = \"a//b\"".to_owned(), "[home_assistant] prefix: the prefix \"a//b\""),
        ("[home_assistant]\nprefxi = \"a\"".to_owned(), "unknown key \"prefxi\" in [home_assistant]; did you mean"),
    ] {
        let problems = problems(&with_rules(&keys));
        assert!(problems.len() == 1 && problems[0].contains(&format!(": {start}")), "{keys}\n{problems:#?}");
    }
    let encoder = format!("{INPUT}kind = \"encoder\"\n");
    let told = problems(&rule(&format!("{VERDICT}trigger = \"input\"\ninput = \"i\"\n{encoder}")));
    assert!(told.len() == 1 && told[0].contains("\"v\" input: \"i\" is an encoder"), "{told:?}");
}

/// What hangs on a rule that is wrong is not told of as well.
#[test]
fn a_wrong_rule_is_told_once() {
    let gate = "[[output]]\nid = \"o\"\nline = \"GPIO2\"\nkind = \"gate\"\nrule = \"v\"\n";
    let light = "[[output]]\nid = \"p\"\nline = \"GPIO3\"\nkind = \"light\"\n";
    for keys in ["trigger = \"command\"\nreject_after = \"soon\"", "trigger = \"comand\"\nwithin = 3", "tigger = 3"] {
        let told = problems(&rule(&format!("{VERDICT}{keys}\n{gate}{light}")));
        assert!(told.len() == 1 && told[0].contains("[[rule]] \"v\" "), "{told:#?}");
    }
}

#[test]
fn a_rule_of_two_cameras_is_named_with_its_camera() {
    let two = format!(
        "{BEFORE}[[camera]]\nid = \"out\"\nsource = \"/dev/video1\"\n[[rule]]\ncamera = \"in\"\n{BLIND}[[rule]]\ncamera = \"out\"\n\
         {BLIND}[[output]]\nid = \"o\"\nline = \"GPIO2\"\nkind = \"light\"\n"
    );
    let told = problems(&format!("{two}rules = [\"b\"]"));
    assert!(told.len() == 1 && told[0].ends_with("write \"in/b\" or \"out/b\""), "{told:?}");
    assert!(load(&format!("{two}rules = [\"out/b\"]")).is_ok());
    assert!(problems(&format!("{two}rules = [\"our/b\"]"))[0].contains("there is no rule \"our/b\""));
}

#[test]
fn home_assistant_is_told_only_where_it_is_asked_for() {
    assert_eq!(load("").unwrap().home_assistant, None);
    assert_eq!(load("[home_assistant]\n").unwrap().home_assistant.as_deref(), Some("homeassistant"));
    assert_eq!(load("[home_assistant]\nprefix = \"ha\"\n").unwrap().home_assistant.as_deref(), Some("ha"));
}

#[test]
fn the_examples_are_whole() {
    let mut seen = Vec::new();
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/examples")).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let config = load(&text).unwrap_or_else(|error| panic!("{}: {error:#}", path.display()));
        assert!(text.starts_with("# ") && text.contains("`andon check`"), "{} says what it is for", path.display());
        for camera in &config.cameras {
            assert!(!camera.rules.is_empty(), "{}: nobody asks what {} sees", path.display(), camera.id);
            seen.extend(camera.rules.iter().map(|rule| rule.kind.name().to_owned()));
        }
        seen.extend(config.outputs.iter().map(|output| output.kind.name().to_owned()));
        assert!(!config.commands.is_empty(), "{}: an alarm is acknowledged over MQTT", path.display());
    }
    for kind in Kind::NAMES.into_iter().chain(OutputKind::NAMES) {
        assert!(seen.iter().any(|seen| seen == kind), "no example has a {kind}");
    }
}
