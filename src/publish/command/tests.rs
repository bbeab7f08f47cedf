//! Commands as they come from the broker.

use std::time::{Duration, Instant};

use super::*;
use crate::random::Rng;

const TOPIC: &str = "andon/box/cmd/resend";

fn desk(now: Instant) -> Desk {
    Desk::new("andon", "box", &Verb::ALL, now)
}

fn read(payload: &str) -> Asked {
    let now = Instant::now();
    desk(now).take(TOPIC, payload.as_bytes(), false, now).expect("it is a command")
}

#[test]
fn a_command_is_understood() {
    let asked = read(r#"{"topic":"andon/box/in/events","from":3,"to":7,"id":"a"}"#);
    let resend = Resend { topic: "andon/box/in/events".into(), epoch: None, from: 3, to: 7 };
    assert_eq!(asked, Asked { verb: Verb::Resend, id: Some("a".into()), command: Ok(Command::Resend(resend.clone())) });
    let asked = read(r#"{"to":7,"epoch":12,"from":3,"topic":"andon/box/in/events"}"#);
    let resend = Resend { epoch: Some(12), ..resend };
    assert_eq!(asked, Asked { verb: Verb::Resend, id: None, command: Ok(Command::Resend(resend)) });
}

/// What becomes of a command with this word.
fn ask(verb: Verb, payload: &str) -> Result<Command, String> {
    let now = Instant::now();
    let topic = format!("andon/box/cmd/{}", verb.name());
    let asked = desk(now).take(&topic, payload.as_bytes(), false, now).expect("it is a command");
    assert_eq!(asked.verb, verb);
    asked.command.map_err(|refusal| refusal.to_string())
}

#[test]
fn rules_take_orders() {
    let milk = |quantity, note: Option<&str>| (String::from("milk"), quantity, note.map(str::to_owned));
    let void = |(name, quantity, note)| Order::Void { name, quantity, note };
    let correct = |(name, quantity, note)| Order::Correct { name, quantity, note };
    let expected = Some(vec![("bread".to_owned(), 0), ("milk".to_owned(), 2)]);
    for (verb, keys, order) in [
        (Verb::Ack, "", Order::Acknowledge),
        (Verb::Shelve, r#","seconds":90.5"#, Order::Shelve(Duration::from_millis(90_500))),
        (Verb::Shelve, r#","seconds":0"#, Order::Shelve(Duration::ZERO)),
        (Verb::Reset, "", Order::Reset),
        (Verb::Open, "", Order::Open { external_id: None, expected: None }),
        (
            Verb::Open,
            r#","external_id":"lot 7","expected":{"milk":2,"bread":0}"#,
            Order::Open { external_id: Some("lot 7".into()), expected },
        ),
        (Verb::Close, "", Order::Close),
        (Verb::Void, r#","name":"milk""#, void(milk(1, None))),
        (Verb::Void, r#","name":"milk","quantity":3,"note":"broken""#, void(milk(3, Some("broken")))),
        (Verb::Correct, r#","name":"milk","quantity":0"#, correct(milk(0, None))),
        (
            Verb::Correct,
            r#","note":"seen","name":"milk","quantity":1000000"#,
            correct(milk(QUANTITY_MAX, Some("seen"))),
        ),
    ] {
        let rule = || String::from("till");
        let alone = ask(verb, &format!(r#"{{"rule":"till"{keys}}}"#));
        assert_eq!(alone, Ok(Command::Rule { camera: None, rule: rule(), order: order.clone() }), "{keys}");
        let full = ask(verb, &format!(r#"{{"id":"a","camera":"in","rule":"till"{keys}}}"#));
        assert_eq!(full, Ok(Command::Rule { camera: Some("in".into()), rule: rule(), order }), "{keys}");
    }
    assert_eq!(ask(Verb::Snapshot, "{}"), Ok(Command::Snapshot { camera: None }));
    assert_eq!(ask(Verb::Snapshot, r#"{"camera":"in"}"#), Ok(Command::Snapshot { camera: Some("in".into()) }));
}

#[test]
fn what_is_wrong_with_an_order_is_said() {
    let long = format!(r#"{{"rule":"{}"}}"#, "x".repeat(201));
    for (verb, payload, sentence) in [
        (Verb::Ack, "", r#"the command is no JSON object; send {"rule": "…"}"#),
        (Verb::Snapshot, "x", "the command is no JSON object; send {}"),
        (Verb::Ack, "{}", r#"the key "rule" takes a text of 1 to 200 bytes; write it so"#),
        (Verb::Ack, &long, r#"the key "rule" takes a text of 1 to 200 bytes; write it so"#),
        (Verb::Ack, r#"{"rule":"jam","camera":""}"#, r#"the key "camera" takes a text of 1 to 200 bytes; write it so"#),
        (
            Verb::Reset,
            r#"{"rule":"jam","seconds":1}"#,
            r#"the key "seconds" is unknown; known are camera, rule and id"#,
        ),
        (Verb::Shelve, r#"{"rule":"jam"}"#, r#"the key "seconds" takes seconds from 0 to 604800; write it so"#),
        (
            Verb::Shelve,
            r#"{"rule":"jam","seconds":604801}"#,
            r#"the key "seconds" takes seconds from 0 to 604800; write it so"#,
        ),
        (
            Verb::Open,
            r#"{"rule":"till","expected":{"milk":-1}}"#,
            r#"the key "expected" takes an object with a whole number from 0 to 1000000 for each class; write it so"#,
        ),
        (
            Verb::Void,
            r#"{"rule":"till","name":"milk","quantity":0}"#,
            r#"the key "quantity" takes a whole number from 1 to 1000000; write it so"#,
        ),
        (
            Verb::Correct,
            r#"{"rule":"till","name":"milk"}"#,
            r#"the key "quantity" takes a whole number from 0 to 1000000; write it so"#,
        ),
        (
            Verb::Correct,
            r#"{"rule":"till","name":"milk","quantity":1.5}"#,
            r#"the key "quantity" takes a whole number from 0 to 1000000; write it so"#,
        ),
        (Verb::Snapshot, r#"{"rule":"jam"}"#, r#"the key "rule" is unknown; known are camera and id"#),
    ] {
        assert_eq!(ask(verb, payload), Err(sentence.to_owned()), "{payload}");
    }
}

#[test]
fn what_is_wrong_is_said() {
    let refused = |payload: &str| read(payload).command.unwrap_err().to_string();
    for (payload, sentence) in [
        ("", "the command is no JSON object; send {\"topic\": \"…\", \"from\": 1, \"to\": 9}"),
        ("[1]", "the command is no JSON object; send {\"topic\": \"…\", \"from\": 1, \"to\": 9}"),
        ("{}", "the key \"topic\" takes a text; write it so"),
        (r#"{"topic":"andon/box/a","from":-1,"to":2}"#, "the key \"from\" takes a whole number; write it so"),
        (r#"{"topic":"andon/box/a","from":1}"#, "the key \"to\" takes a whole number; write it so"),
        (
            r#"{"topic":"andon/box/a","from":1,"to":2,"epoch":"x"}"#,
            "the key \"epoch\" takes a whole number; write it so",
        ),
        (
            r#"{"topic":"andon/box/a","from":1,"to":2,"file":"/etc"}"#,
            "the key \"file\" is unknown; known are topic, epoch, from, to and id",
        ),
        (
            r#"{"topic":"andon/box2/a","from":1,"to":2}"#,
            "the topic \"andon/box2/a\" is not one of this device's; write one that begins with \"andon/box/\"",
        ),
        (r#"{"topic":"andon/box/a","from":0,"to":2}"#, "the range 0 to 2 is empty; write from ≥ 1 and to ≥ from"),
        (r#"{"topic":"andon/box/a","from":9,"to":3}"#, "the range 9 to 3 is empty; write from ≥ 1 and to ≥ from"),
        (
            r#"{"topic":"andon/box/a","from":1,"to":10001}"#,
            "the range 1 to 10001 is too long; ask for 10000 at once at most",
        ),
        (r#"{"id":7}"#, "the key \"id\" takes a text of at most 64 bytes; write it so"),
    ] {
        assert_eq!(refused(payload), sentence, "{payload}");
    }
    assert!(read(r#"{"topic":"andon/box/a","from":1,"to":10000}"#).command.is_ok());
    let long = format!("{{\"id\":\"{}\"}}", "x".repeat(COMMAND_BYTES_MAX));
    assert_eq!(refused(&long), "the command has 4105 bytes, and 4096 are the limit; send less");
    assert_eq!(read(r#"{"id":"b"}"#).id.as_deref(), Some("b"), "a refusal names what it refuses");
}

#[test]
fn only_what_is_allowed_is_listened_to() {
    let now = Instant::now();
    assert_eq!(Desk::new("andon", "box", &[Verb::Resend], now).topics(), [TOPIC]);
    assert_eq!(desk(now).topics().len(), Verb::ALL.len());
    assert!(Desk::new("andon", "box", &[], now).topics().is_empty());
    assert_eq!(Desk::new("andon", "box", &[], now).take(TOPIC, b"{}", false, now), None);
    assert_eq!(desk(now).take(TOPIC, b"{}", true, now), None, "it was kept for whoever comes");
    for topic in ["andon/box/cmd/format", "andon/box/cmd/resend/result", "andon/other/cmd/resend", "andon/box/cmd"] {
        assert_eq!(desk(now).take(topic, b"{}", false, now), None, "{topic}");
    }
}

#[test]
fn a_flood_is_refused_and_then_ignored() {
    let start = Instant::now();
    let mut desk = desk(start);
    let good = br#"{"topic":"andon/box/a","from":1,"to":2}"#;
    let mut flood = |now, count: usize| {
        let answers: Vec<_> = (0..count).map(|_| desk.take(TOPIC, good, false, now)).collect();
        let done = answers.iter().flatten().filter(|asked| asked.command.is_ok()).count();
        (done, answers.iter().flatten().count() - done)
    };
    assert_eq!(flood(start, 1000), (10, 10));
    assert_eq!(flood(start + Duration::from_millis(99), 5), (0, 0));
    assert_eq!(flood(start + Duration::from_millis(300), 1000), (3, 3));
    assert_eq!(flood(start + Duration::from_secs(3600), 1000), (10, 10));
}

/// One command made of pieces and noise; what is accepted keeps its bounds.
fn take_noise(random: &mut Rng, desk: &mut Desk, now: Instant) -> bool {
    const PIECES: [&str; 34] = [
        "{",
        "}",
        "[",
        "]",
        "\"",
        ":",
        ",",
        "\"topic\":",
        "\"andon/box/in/events\"",
        "\"from\":",
        "\"to\":",
        "\"epoch\":",
        "\"id\":",
        "\"camera\":",
        "\"rule\":",
        "\"seconds\":",
        "\"name\":",
        "\"quantity\":",
        "\"note\":",
        "\"external_id\":",
        "\"expected\":",
        "1",
        "9999",
        "604800.5",
        "18446744073709551615",
        "-1",
        "1e9",
        "1e400",
        "null",
        "\\u0000",
        "\"x\"",
        "true",
        " ",
        "\u{ff}",
    ];
    let verb = random.pick(&Verb::ALL);
    let mut payload = if random.chance(50) {
        whole(random, verb).into_bytes()
    } else {
        (0..random.below(20)).flat_map(|_| random.pick(&PIECES).bytes()).collect::<Vec<_>>()
    };
    for _ in 0..random.below(3) {
        let place = random.below(payload.len() as i32 + 1) as usize;
        payload.insert(place, random.below(256) as u8);
    }
    let topic = format!("andon/box/cmd/{}", verb.name());
    match desk.take(&topic, &payload, false, now).map(|asked| asked.command) {
        Some(Ok(command)) => {
            assert_bounds(verb, &command);
            true
        }
        _ => false,
    }
}

/// A command with all its keys, and values about their bounds.
fn whole(random: &mut Rng, verb: Verb) -> String {
    let number = random.below(12_000);
    match verb {
        Verb::Resend => format!(r#"{{"topic":"andon/box/a","from":{},"to":{number}}}"#, random.below(4)),
        Verb::Ack | Verb::Reset | Verb::Close => r#"{"camera":"in","rule":"jam"}"#.to_owned(),
        Verb::Shelve => format!(r#"{{"rule":"jam","seconds":{number}e2}}"#),
        Verb::Open => format!(r#"{{"rule":"till","external_id":"7","expected":{{"milk":{number}00}}}}"#),
        Verb::Void | Verb::Correct => {
            format!(
                r#"{{"rule":"till","name":"milk","quantity":{number}00,"note":"{}"}}"#,
                "x".repeat(number as usize / 30)
            )
        }
        Verb::Snapshot => r#"{"camera":"in"}"#.to_owned(),
    }
}

fn assert_bounds(verb: Verb, command: &Command) {
    let text = |text: &String| assert!((1..=200).contains(&text.len()), "{text:?}");
    match command {
        Command::Resend(Resend { topic, from, to, .. }) => {
            assert!(verb == Verb::Resend && topic.starts_with("andon/box/"));
            assert!(*from >= 1 && to >= from && to - from < RESEND_COUNT_MAX);
        }
        Command::Snapshot { camera } => camera.iter().for_each(text),
        Command::Rule { camera, rule, order } => {
            camera.iter().chain([rule]).for_each(text);
            match order {
                Order::Acknowledge | Order::Reset | Order::Close => {}
                Order::Shelve(span) => assert!(span.as_secs_f64() <= SHELVE_SECONDS_MAX),
                Order::Open { external_id, expected } => {
                    external_id.iter().for_each(text);
                    for (name, quantity) in expected.iter().flatten() {
                        text(name);
                        assert!((0..=QUANTITY_MAX).contains(quantity));
                    }
                }
                Order::Void { name, quantity, note } | Order::Correct { name, quantity, note } => {
                    note.iter().chain([name]).for_each(text);
                    assert!((i64::from(verb == Verb::Void)..=QUANTITY_MAX).contains(quantity));
                }
            }
        }
    }
}

#[test]
fn noise_is_refused_and_nothing_else_happens() {
    let (mut random, mut now) = (Rng::new(7, 7), Instant::now());
    let mut desk = desk(now);
    let mut accepted = 0;
    for _ in 0..50_000 {
        now += Duration::from_millis(200);
        accepted += usize::from(take_noise(&mut random, &mut desk, now));
    }
    assert!((1_000..49_000).contains(&accepted), "{accepted}");
}
