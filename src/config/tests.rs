//! The shipped file says what is built in, and what is wrong is told with place and remedy.

use std::time::Duration;

use super::*;
use crate::geometry::Size;
use crate::vision::Blindness;

mod rules;

const SHIPPED: &str = include_str!("../../andon.toml");

fn load(text: &str) -> anyhow::Result<Config> {
    Config::from_toml(text, "andon.toml", std::iter::empty())
}

fn problems(text: &str) -> Vec<String> {
    load(text).unwrap_err().downcast::<Invalid>().unwrap().0
}

/// `#key = …` is a default, `#   key = …` an example.
fn uncommented(examples: bool) -> String {
    let default = |line: &str| line.starts_with('#') && line[1..].starts_with(|c: char| c.is_ascii_lowercase());
    let mut text = String::new();
    let mut alternatives = false;
    for line in SHIPPED.lines() {
        alternatives = (alternatives || line == "# Other sources:") && !line.is_empty();
        let example = line.strip_prefix("#   ").filter(|_| examples && !alternatives);
        let line = if default(line) { &line[1..] } else { example.unwrap_or(line) };
        text.push_str(line);
        text.push('\n');
    }
    text
}

#[test]
fn the_shipped_file_is_the_built_in_default() {
    let built_in = Config::default_for(&host_id());
    assert_eq!(load(SHIPPED).unwrap(), built_in);
    let uncommented = uncommented(false);
    assert_ne!(uncommented, SHIPPED, "there are defaults to uncomment");
    assert_eq!(load(&uncommented).unwrap(), built_in);
}

#[test]
fn the_examples_of_the_shipped_file_are_right() {
    let config = load(&uncommented(true)).unwrap();
    assert_eq!((config.device.as_str(), config.cameras.len(), config.models.len()), ("line-1", 1, 1));
    assert_eq!(config.cameras[0].capture.size, Some(Size { width: 1280, height: 720 }));
    assert_eq!(config.cameras[0].capture.controls["exposure_time_absolute"], 156);
    assert!(config.mqtt.tls.is_some_and(|tls| tls.identity.is_some()));
    let default = detector::Settings::of("/var/lib/andon/yolo.onnx");
    let model = &config.models[0].detector;
    assert_eq!((model.confidence, model.iou, model.max_det), (default.confidence, default.iou, default.max_det));
}

/// An absurd key in each section makes the error list all that are known there; each of them has to be in the file.
#[test]
fn the_shipped_file_names_every_key() {
    let absurd = "[device]\nzzzzzzzzzzzzzzzz = 1\n[model]\npath = \"m\"\nzzzzzzzzzzzzzzzz = 1\n[[camera]]\nid = \"a\"\n\
                  source = \"/dev/video0\"\nzzzzzzzzzzzzzzzz = 1\n[mqtt]\nzzzzzzzzzzzzzzzz = 1\n[mqtt.tls]\n\
                  zzzzzzzzzzzzzzzz = 1\n[collect]\nzzzzzzzzzzzzzzzz = 1\n[outbox]\nzzzzzzzzzzzzzzzz = 1\n\
                  [home_assistant]\nzzzzzzzzzzzzzzzz = 1\n[[input]]\nid = \"i\"\nline = \"L\"\nzzzzzzzzzzzzzzzz = 1\n";
    let line = "line = [[0.5, 0], [0.5, 1]]\ndirection = \"left\"";
    let zone = "zone = [[0, 0], [1, 0], [1, 1]]";
    let rules = [
        "kind = \"alarm\"".to_owned(),
        "kind = \"blind\"".to_owned(),
        format!("kind = \"verdict\"\ntrigger = \"line\"\nparts = [\"a\"]\nfail = [\"b\"]\n{line}"),
        "kind = \"verdict\"\ntrigger = \"command\"".to_owned(),
        "kind = \"verdict\"\ntrigger = \"input\"\ninput = \"i\"".to_owned(),
        "kind = \"verdict\"\ntrigger = \"time\"\nevery = 1".to_owned(),
        format!("kind = \"count\"\n{line}"),
        format!("kind = \"total\"\nprices = {{ a = \"1\" }}\ncurrency = \"EUR\"\n{zone}"),
    ];
    let rules = rules.iter().enumerate();
    let rules = rules.map(|(at, keys)| format!("[[rule]]\nid = \"r{at}\"\n{keys}\nzzzzzzzzzzzzzzzz = 1\n"));
    let rules: String = rules.collect();
    let outputs = ["light\"", "gate\"\nrule = \"r3\"", "relay\""].iter().enumerate();
    let outputs = outputs.map(|(at, keys)| {
        format!("[[output]]\nid = \"o{at}\"\nline = \"L{at}\"\nkind = \"{keys}\nzzzzzzzzzzzzzzzz = 1\n")
    });
    let outputs: String = outputs.collect();
    let lists: Vec<String> = problems(&format!("{absurd}{rules}{outputs}"))
        .iter()
        .filter_map(|problem| problem.split("known here: ").nth(1).map(str::to_owned))
        .collect();
    assert_eq!(lists.len(), 7 + 2 + 8 + 3, "{lists:#?}");
    for key in lists.iter().flat_map(|list| list.split(", ")) {
        let named = SHIPPED.lines().any(|line| {
            let line = line.trim_start_matches(['#', ' ']);
            line.starts_with(&format!("{key} = ")) || line == format!("[mqtt.{key}]")
        });
        assert!(named, "andon.toml does not name {key:?}");
    }
}

#[test]
fn problems_are_told_together_and_in_order() {
    let text = "[mqtt]\nport = 0\nprefix = \"a//b\"\nprot = 1\n[model]\n[[camera]]\nid = \"status\"\nrotate = 45\n\
                [[camera]]\nid = \"b\"\nsource = \"v4l3:/dev/video0\"\nmodel = \"x\"\n";
    let problems = problems(text);
    let expected = [
        "andon.toml, line 2: [mqtt] port: 0 is out of bounds",
        "andon.toml, line 3: [mqtt] prefix: ",
        "andon.toml, line 4: unknown key \"prot\" in [mqtt]; did you mean \"port\"?",
        "andon.toml, line 5: [model] path: it is missing",
        "andon.toml, line 6: [[camera]] \"status\" source: it is missing",
        "andon.toml, line 7: [[camera]] id: the id \"status\" is reserved",
        "andon.toml, line 8: [[camera]] \"status\" rotate: 45 is no quarter turn",
        "andon.toml, line 11: [[camera]] \"b\" source: ",
        "andon.toml, line 12: [[camera]] \"b\" model: there is no model \"x\"",
    ];
    assert_eq!(problems.len(), expected.len(), "{problems:#?}");
    for (problem, expected) in problems.iter().zip(expected) {
        assert!(problem.starts_with(expected), "{problem:?} does not begin with {expected:?}");
    }
}

/// What only the opening of a camera could tell would be told when the box already runs.
#[test]
fn what_a_source_cannot_follow_is_told_at_the_start() {
    for (keys, what) in [
        ("source = \"rtsp://h/1\"\nsize = \"640x480\"", "cannot be asked for a size"),
        ("source = \"images\"\ncontrols = { gain = 1 }", "cannot be asked for camera controls"),
        ("source = \"http://h/1\"\nformat = \"yuyv\"", "cannot be asked for a pixel format"),
        ("source = \"command:x\"\nsize = \"640x480\"", "no raw format"),
        ("source = \"command:x\"\nformat = \"nv12\"", "state the size"),
        ("source = \"command:x\"\nformat = \"nv12\"\nsize = \"641x480\"", "use even numbers"),
        ("source = \"line:noize=3\"", "did you mean noise"),
        ("source = \"-\"", "andon detect -"),
    ] {
        let problems = problems(&format!("[model]\npath = \"m\"\n[[camera]]\nid = \"in\"\n{keys}\n"));
        assert!(problems.len() == 1 && problems[0].contains(what), "{keys}: {problems:?}");
        assert!(problems[0].contains("[[camera]] \"in\""), "{problems:?}");
    }
}

#[test]
fn cameras_are_watched_for_blindness_and_files_are_not() {
    let camera = |text: &str| {
        let text = format!("[model]\npath = \"a.onnx\"\n[[camera]]\nid = \"in\"\n{text}");
        load(&text).map(|config| config.cameras[0].blind)
    };
    let all = Blindness::NAMES.map(|(_, reason)| reason);
    let seconds = Duration::from_secs;
    assert_eq!(camera("source = \"/dev/video0\"").unwrap(), Checks::new(all, seconds(10)));
    assert_eq!(camera("source = \"rtsp://10.0.0.7/a\"").unwrap(), Checks::new(all, seconds(30)));
    let some = camera("source = \"http://10.0.0.7/a\"\nblind = [\"dark\", \"frozen\"]").unwrap();
    assert_eq!(some, Checks::new([Blindness::Frozen, Blindness::Dark], seconds(30)));
    assert_eq!(camera("source = \"/dev/video0\"\nblind = []").unwrap(), Checks::new([], seconds(10)));
    assert_eq!(camera("source = \"shots\"").unwrap(), Checks::none());
    let refused = |text: &str| format!("{:#}", camera(text).unwrap_err());
    let file = refused("source = \"shots\"\nblind = [\"dark\"]");
    assert!(file.contains("leave the key out"), "{file}");
    let unknown = refused("source = \"/dev/video0\"\nblind = [\"dim\"]");
    assert!(unknown.contains("\"dim\" is not one of dark, bright, covered, frozen, blurred, moved"), "{unknown}");
}

#[test]
fn what_is_collected_is_stated_in_seconds_scores_and_bytes() {
    let collect = load("[collect]\nevery = 0.5\nuncertain = [0, 0.4]\nquota = \"3 MiB\"\n").unwrap().collect;
    assert_eq!(collect.every, Duration::from_millis(500));
    assert_eq!((collect.uncertain, collect.quota_bytes), ([0.0, 0.4], 3 << 20));
    for (key, what) in [
        ("every = 0", "0 is out of bounds; it lies between 0.1 and 86400"),
        ("uncertain = 0.3", "it takes a list of 2 numbers, not"),
        ("uncertain = [0.1, 1.2]", "it takes a list of 2 numbers between 0 and 1"),
        ("uncertain = [0.1, 0.2, 0.3]", "it takes a list of 2 numbers between 0 and 1"),
        ("uncertain = [0.5, 0.2]", "its bounds stand the wrong way round; write [lower, upper]"),
        ("quota = \"2 TB\"", "\"2 TB\" is no amount; write a whole number with MB or GB, as in \"2 GB\""),
        ("quota = \"0 MB\"", "is no amount"),
        ("quota = \"99999999999 GB\"", "is no amount"),
        ("quota = \"many\"", "is no amount"),
    ] {
        let problems = problems(&format!("[collect]\n{key}\n"));
        let name = key.split(' ').next().unwrap();
        assert_eq!(problems.len(), 1, "{problems:?}");
        let expected = format!("andon.toml, line 2: [collect] {name}: ");
        assert!(problems[0].starts_with(&expected) && problems[0].contains(what), "{problems:?}");
    }
}

#[test]
fn what_is_kept_is_stated_in_bytes_days_and_seconds() {
    let outbox =
        load("[outbox]\npath = \"/a/b.db\"\nmax_bytes = \"1 GB\"\nmax_age = \"12 hours\"\nsync = 0\n").unwrap().outbox;
    assert_eq!((outbox.path, outbox.max_bytes), (PathBuf::from("/a/b.db"), 1_000_000_000));
    assert_eq!((outbox.max_age, outbox.sync), (Duration::from_secs(12 * 3600), Duration::ZERO));
    assert_eq!(load("[outbox]\nmax_age = \"1 day\"\n").unwrap().outbox.max_age, Duration::from_secs(86_400));
    for (key, what) in [
        ("path = \"/tmp/\"", "it is a folder; add the name of a file"),
        ("max_bytes = \"1 MB\"", "it is out of bounds; it lies between 4 MB and 2 GB"),
        ("max_bytes = \"3 GB\"", "it is out of bounds"),
        ("max_age = \"7\"", "write minutes, hours or days, as in \"7 days\""),
        ("max_age = \"0 days\"", "\"0 days\" is no time up to ten years"),
        ("max_age = \"99999999999999999999 days\"", "is no time"),
        ("sync = 61", "61 is out of bounds; it lies between 0 and 60"),
    ] {
        let problems = problems(&format!("[outbox]\n{key}\n"));
        let name = key.split(' ').next().unwrap();
        assert_eq!(problems.len(), 1, "{problems:?}");
        let expected = format!("andon.toml, line 2: [outbox] {name}: ");
        assert!(problems[0].starts_with(&expected) && problems[0].contains(what), "{problems:?}");
    }
}

#[test]
fn tls_moves_the_port_and_a_password_needs_a_user() {
    assert_eq!(load("[mqtt.tls]\n").unwrap().mqtt.port, 8883);
    assert_eq!(load("[mqtt]\nport = 1\n[mqtt.tls]\n").unwrap().mqtt.port, 1);
    assert!(problems("[mqtt]\npassword_file = \"p\"\n")[0].contains("set username"));
    assert!(problems("[mqtt.tls]\ncert = \"c\"\n")[0].contains("both cert and key"));
}

#[test]
fn commands_are_off_unless_named() {
    assert_eq!(load("").unwrap().commands, []);
    assert_eq!(load("[mqtt]\ncommands = [\"resend\"]\n").unwrap().commands, [Verb::Resend]);
    let problems = problems("[mqtt]\ncommands = [\"format\"]\n");
    assert_eq!(
        problems,
        [
            "andon.toml, line 2: [mqtt] commands: there is no command \"format\"; known: ack, shelve, reset, open, close, void, correct, snapshot, resend"
        ]
    );
}

#[test]
fn a_text_that_mqtt_cannot_carry_is_refused() {
    for key in ["host", "username", "client_id"] {
        for (value, what) in
            [(String::new(), "it is empty"), ("a".repeat(65_536), "65536 bytes"), ("a\\u0000".to_owned(), "NUL")]
        {
            let problems = problems(&format!("[mqtt]\n{key} = \"{value}\"\n"));
            assert!(problems[0].starts_with(&format!("andon.toml, line 2: [mqtt] {key}: ")), "{problems:?}");
            assert!(problems.len() == 1 && problems[0].contains(what), "{problems:?}");
        }
        assert!(load(&format!("[mqtt]\n{key} = \"{}\"\n", "a".repeat(65_535))).is_ok());
    }
}

#[test]
fn the_environment_is_part_of_the_configuration() {
    let variables = [("ANDON__MQTT__HOST", "broker"), ("ANDON__MQTT__PROT", "1"), ("HOME", "/")];
    let variables = variables.map(|(key, value)| (key.into(), value.into()));
    let error = Config::from_toml("", "andon.toml", variables.into_iter()).unwrap_err();
    assert_eq!(error.to_string(), "ANDON__MQTT__PROT: unknown key \"prot\" in [mqtt]; did you mean \"port\"?");
}

#[test]
fn a_variable_means_what_its_key_asks_for() {
    let variables = [
        ("ANDON__DEVICE__ID", "7"),
        ("ANDON__MQTT__USERNAME", "1234"),
        ("ANDON__MQTT__CLIENT_ID", "true"),
        ("ANDON__MQTT__PORT", " 8883 "),
        ("ANDON__MODEL__PATH", "5"),
        ("ANDON__MODEL__CLASSES", "[\"a\", \"b\"]"),
        ("ANDON__MODEL__THRESHOLDS__A", "0.4"),
    ];
    let load = |variables: &[(&str, &str)]| {
        let variables = variables.iter().map(|(key, value)| (key.into(), value.into()));
        Config::from_toml("", "andon.toml", variables)
    };
    let config = load(&variables).unwrap();
    assert_eq!((config.device.as_str(), config.mqtt.username.as_deref()), ("7", Some("1234")));
    assert_eq!((config.mqtt.client_id.as_str(), config.mqtt.port), ("true", 8883));
    let model = &config.models[0].detector;
    assert_eq!(model.classes.as_deref(), Some(["a", "b"].map(str::to_owned).as_slice()));
    assert_eq!(model.per_class["a"], 0.4);
    let error = load(&[("ANDON__MQTT__PORT", "mqtt")]).unwrap_err();
    assert_eq!(error.to_string(), "ANDON__MQTT__PORT: [mqtt] port: it takes a whole number, not a text");
}

#[test]
fn a_variable_that_is_no_text_is_told() {
    use std::os::unix::ffi::OsStringExt;
    let load = |key: &[u8]| {
        let variable = (std::ffi::OsString::from_vec(key.to_vec()), std::ffi::OsString::from_vec(vec![0xff]));
        Config::from_toml("", "andon.toml", std::iter::once(variable))
    };
    assert!(load(b"PATH").is_ok());
    let error = load(b"ANDON__MQTT__HOST").unwrap_err().to_string();
    assert!(error.starts_with("ANDON__MQTT__HOST: its value is no UTF-8"), "{error}");
    assert!(load(b"ANDON__\xff").unwrap_err().to_string().contains("unset it"));
}

#[test]
fn two_of_a_name_are_refused() {
    let text = "[[model]]\nid = \"m\"\npath = \"a\"\n[[model]]\nid = \"m\"\npath = \"b\"\n\
                [[camera]]\nid = \"c\"\nsource = \"x\"\nmodel = \"m\"\n[[camera]]\nid = \"c\"\nsource = \"y\"\n";
    let problems = problems(text);
    assert!(problems.iter().any(|problem| problem.contains("two models \"m\"")), "{problems:#?}");
    assert!(problems.iter().any(|problem| problem.contains("two cameras \"c\"")), "{problems:#?}");
    assert!(problems.iter().any(|problem| problem.contains("several models; name one")), "{problems:#?}");
}

#[test]
fn what_is_too_much_for_one_box_is_refused() {
    let camera = |n: usize| format!("[[camera]]\nid = \"c{n}\"\nsource = \"shots\"\n");
    let rule = |n: usize| format!("[[rule]]\nid = \"r{n}\"\ncamera = \"c{}\"\nkind = \"blind\"\n", n % 60);
    let text = |cameras, rules| {
        let sections = (0..cameras).map(camera).chain((0..rules).map(rule)).collect::<String>();
        format!("[model]\npath = \"m.onnx\"\n{sections}")
    };
    assert!(load(&text(60, 256)).is_ok());
    let cameras = problems(&text(61, 0));
    assert!(cameras.len() == 1 && cameras[0].contains("one camera too many"), "{cameras:?}");
    let rules = problems(&text(60, 258));
    assert!(rules.len() == 1 && rules[0].contains("at most 256"), "{rules:?}");
}
