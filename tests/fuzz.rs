//! What comes from outside, damaged at random: each damaged input is taken or refused, and nothing panics or ends.
//!
//! Runs for a second each, or for as many as `ANDON_FUZZ_SECONDS` says, from the seed `ANDON_FUZZ_SEED` on.

use std::{
    env,
    time::{Duration, Instant},
};

use andon::{
    config::Config,
    engine::{Session, Settings},
    listen::{self, Checker},
    publish::{
        command::{Command, Desk, QUANTITY_MAX, RESEND_COUNT_MAX, Verb},
        mqtt::session::{self, Connect, Event, INCOMING_BYTES_MAX},
    },
    random::Rng,
    rules::Order,
};

use crate::util::{
    run::Dir,
    tiny_yolo::{Head, TinyYolo, tiny_yolo},
};

/// Damages a base, one seed after the other, and has it looked at; gives how often.
fn fuzz(name: &str, bases: &[Vec<u8>], look: impl Fn(&[u8])) -> u64 {
    struct Told<'a>(&'a str, u64);
    impl Drop for Told<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                println!("try it alone with ANDON_FUZZ_SEED={} cargo test {}", self.1, self.0);
            }
        }
    }
    let number = |variable: &str| env::var(variable).ok().and_then(|text| text.parse::<u64>().ok());
    let limit = Duration::from_secs(number("ANDON_FUZZ_SECONDS").unwrap_or(1));
    let first = number("ANDON_FUZZ_SEED").unwrap_or(0);
    let start = Instant::now();
    let mut count = 0;
    while count == 0 || start.elapsed() < limit {
        let seed = first + count;
        let told = Told(name, seed);
        let mut rng = Rng::new(seed, 0);
        let base = &bases[(seed % bases.len() as u64) as usize];
        look(&damaged(base, &mut rng));
        drop(told);
        count += 1;
    }
    println!("{name}: {count} inputs from seed {first} on in {:.0} s", start.elapsed().as_secs_f64());
    count
}

/// The bytes with a few faults: other bits, other bytes, parts cut out, doubled or moved.
fn damaged(base: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut bytes = base.to_vec();
    for _ in 0..rng.between(1, 6) {
        let len = bytes.len() as i32;
        let at = rng.below(len.max(1)) as usize;
        let part = at..(at + rng.between(1, 32) as usize).min(bytes.len());
        match rng.below(7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << rng.below(8),
            1 if at < bytes.len() => bytes[at] = rng.pick(&[0, 1, 0x7f, 0x80, 0xff, b'-', b'"', b'[', b'\n']),
            2 if at < bytes.len() => bytes[at] = rng.below(256) as u8,
            3 => drop(bytes.drain(part)),
            4 => {
                let copy = bytes[part].to_vec();
                let to = rng.below(len + 1) as usize;
                bytes.splice(to..to, copy);
            }
            5 => bytes.insert(at, rng.below(256) as u8),
            _ if rng.chance(10) => bytes.truncate(at),
            _ => {}
        }
    }
    bytes
}

#[test]
fn fuzzed_commands_are_taken_or_refused() {
    let bases = [
        r#"{"topic":"andon/box/in/events","from":1,"to":900,"id":"a"}"#,
        r#"{"id":"listen-7","topic":"andon/box/in/verdict/size","epoch":1767225600,"from":99,"to":18446744073709551615}"#,
        r#"{"topic":["andon",{"box":null}],"from":1e3,"to":-0.5,"\u0000":true}"#,
        r#"{"camera":"in","rule":"jam","seconds":600,"id":"b"}"#,
        r#"{"rule":"till","external_id":"lot 7","expected":{"milk":2,"bread":1}}"#,
        r#"{"rule":"till","name":"milk","quantity":1000000,"note":"broken"}"#,
    ];
    let bases = bases.map(|text| text.as_bytes().to_vec());
    let now = Instant::now();
    let count = fuzz("fuzzed_commands_are_taken_or_refused", &bases, |bytes| {
        for verb in Verb::ALL {
            let mut desk = Desk::new("andon", "box", &Verb::ALL, now);
            let topic = format!("andon/box/cmd/{}", verb.name());
            let asked = desk.take(&topic, bytes, false, now).expect("it is answered, whatever it says");
            match asked.command {
                Ok(Command::Resend(resend)) => {
                    assert!(resend.topic.starts_with("andon/box/") && resend.from >= 1 && resend.from <= resend.to);
                    assert!(resend.to - resend.from < RESEND_COUNT_MAX);
                }
                Ok(Command::Rule { rule, order, .. }) => {
                    assert!((1..=200).contains(&rule.len()));
                    if let Order::Void { quantity, .. } | Order::Correct { quantity, .. } = order {
                        assert!((0..=QUANTITY_MAX).contains(&quantity));
                    }
                }
                Ok(Command::Snapshot { camera }) => assert!(camera.is_none_or(|camera| !camera.is_empty())),
                Err(refusal) => assert!(!refusal.to_string().is_empty()),
            }
        }
    });
    assert!(count > 100, "{count}");
}

#[test]
fn fuzzed_packets_end_a_session_at_most() {
    let commands = b"\x20\x02\x00\x00\x90\x03\x00\x01\x01\x32\x0c\x00\x05a/cmd\x00\x07{}!\xd0\x00\x40\x02\x00\x02";
    let long = [&b"\x20\x02\x00\x00\x31\x80\x7e\x00\x03a/b"[..], &[b'x'; 16_123]].concat();
    let count = fuzz("fuzzed_packets_end_a_session_at_most", &[commands.to_vec(), long], |bytes| {
        let now = Instant::now();
        let connect = Connect {
            client_id: "box".into(),
            login: None,
            will: None,
            filters: vec!["a/cmd".into()],
            incoming_bytes_max: INCOMING_BYTES_MAX,
            keep_alive: Duration::from_secs(10),
            answer_within: Duration::from_secs(5),
        };
        let mut session = session::Session::<()>::connect(connect, now).unwrap();
        for piece in bytes.chunks(bytes.len() / 3 + 1) {
            if session.receive(piece, now).is_err() {
                return;
            }
            while let Some(event) = session.event() {
                if let Event::Message(message) = event {
                    session.acknowledge(&message, now);
                }
            }
        }
    });
    assert!(count > 100, "{count}");
}

#[test]
fn fuzzed_messages_are_followed_or_left_alone() {
    let bases = [
        r#"{"schema":"andon/1","event":{"id":"1"},"epoch":1,"seq":7,"replayed":false}"#,
        r#"{"topic":"andon/box/in/events","lost_epoch":1,"from":2,"to":6,"reason":"full","epoch":1,"seq":1,"replayed":true}"#,
        r#"{"state":"online","topics":{"andon/box/in/events":{"epoch":1,"seq":18446744073709551615}}}"#,
        r#"{"ok":true,"topic":"andon/box/in/events","epoch":1,"sent":0,"gone":[[1,18446744073709551615],[3,2]]}"#,
    ];
    let topics = ["in/events", "gap", "status", "cmd/resend/result"];
    let bases = bases.map(|text| text.as_bytes().to_vec());
    let count = fuzz("fuzzed_messages_are_followed_or_left_alone", &bases, |bytes| {
        let settings = listen::Settings { prefix: "andon".into(), from_start: true, resend: true };
        let (mut checker, mut now) = (Checker::new(settings), Instant::now());
        for topic in topics {
            let topic = format!("andon/box/{topic}");
            checker.hear(&topic, br#"{"epoch":1,"seq":3}"#, false, now);
            checker.hear(&topic, bytes, false, now);
            now += Duration::from_secs(6);
            assert!(checker.tick(now).len() <= 1);
        }
        assert!(checker.summary().messages <= 8);
        while checker.finding().is_some() {}
    });
    assert!(count > 100, "{count}");
}

fn models() -> Vec<Vec<u8>> {
    let heads = [Head::AnchorFree, Head::EndToEnd];
    let all = heads.into_iter().flat_map(|head| [true, false].map(|symbolic| (head, symbolic)));
    all.map(|(head, symbolic)| tiny_yolo(TinyYolo { head, symbolic, ..TinyYolo::default() })).collect()
}

#[test]
fn fuzzed_configurations_are_taken_or_refused() {
    let full: String = include_str!("../andon.toml")
        .lines()
        .map(|line| line.strip_prefix('#').unwrap_or(line).trim_start().to_owned() + "\n")
        .collect();
    let small = "[device]\nid = \"box\"\n[model]\npath = \"m.onnx\"\nclasses = [\"a\", \"b\"]\nthresholds = { a = 0.5 }\n\
                 [[camera]]\nid = \"in\"\nsource = \"rtsp://u:p@cam/1\"\nroi = [1, 2, 3, 4]\nrotate = 90\nsize = \"640x480\"\n\
                 [mqtt]\nhost = \"h\"\nport = 0x10\ntls = { ca = \"ca\" }\n[collect]\nquota = \"2 GB\"\n";
    let examples = [
        include_bytes!("../examples/andon-light.toml").to_vec(),
        include_bytes!("../examples/bottle-counting.toml").to_vec(),
        include_bytes!("../examples/pcb-reject-gate.toml").to_vec(),
        include_bytes!("../examples/self-checkout.toml").to_vec(),
    ];
    let shipped = include_bytes!("../andon.toml").to_vec();
    let bases = [&[small.as_bytes().to_vec(), full.into_bytes(), shipped][..], &examples].concat();
    let count = fuzz("fuzzed_configurations_are_taken_or_refused", &bases, |bytes| {
        let Ok(text) = str::from_utf8(bytes) else { return };
        if let Err(error) = Config::from_toml(text, "andon.toml", std::iter::empty()) {
            assert!(!error.to_string().is_empty());
        }
    });
    assert!(count > 100, "{count}");
}

#[test]
fn fuzzed_models_are_taken_or_refused() {
    let count = fuzz("fuzzed_models_are_taken_or_refused", &models(), |bytes| {
        let settings = Settings { threads: Some(1), ..Settings::default() };
        let Ok(mut session) = Session::from_bytes("damaged", bytes, &settings) else { return };
        let count: usize = session.input().shape.iter().product();
        let _output_or_error = session.run(&vec![0.5; count]);
    });
    assert!(count > 10, "{count}");
}

/// The same as the daemon does it: in a child with limits, which ends with a verdict and never by a signal.
#[test]
fn fuzzed_models_pass_preflight_or_fail_it() {
    let dir = Dir::new();
    fuzz("fuzzed_models_pass_preflight_or_fail_it", &models(), |bytes| {
        dir.write("damaged.onnx", bytes);
        let limits = ["--memory-bytes=1073741824", "--cpu-seconds=60"];
        let answer = dir.andon(&["preflight", "--model=damaged.onnx", limits[0], limits[1]]).run();
        match answer.code {
            Some(0) => assert_eq!(answer.stdout.trim().len(), 64, "{answer:?}"),
            // Memory that the file asks for and does not get ends the child, as it is meant to.
            None => assert!(answer.stderr.contains("memory allocation of"), "{answer:?}"),
            _ => assert!(answer.sentence(1).contains("damaged"), "{answer:?}"),
        }
    });
}
