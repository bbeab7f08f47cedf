//! Holds the rules of the house that the compiler does not: who may import whom, where dangerous and foreign things are
//! confined, how long a file may be, what its first line says, and which words never reach the tree.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// From the ground up: a module may import from floors below its own, not from its own and not from above.
const FLOORS: &[&[&str]] = &[
    &["geometry", "guard", "moment", "money", "random", "sys", "whole_file"],
    &["detection", "event"],
    &["frame"],
    &["yolo", "track", "eval", "listen", "scene"],
    &["rules"],
    &["station"],
    &["engine", "vision"],
    &["dataset", "store", "format", "draw"],
    &["capture", "publish", "outputs"],
    &["detector"],
    &["collect", "quantize", "recording"],
    &["serve"],
    &["config"],
    &["daemon"],
    &["cli"],
];

/// Words that may stand only in files that begin with one of these paths.
const CONFINED: &[(&str, &[&str])] = &[
    ("tract_", &["src/engine/"]),
    ("prost", &["src/engine/"]),
    ("nokhwa", &["src/capture/v4l2"]),
    ("v4l::", &["src/capture/v4l2"]),
    ("rumqttc", &["src/publish/mqtt"]),
    ("rumqttd", &["src/publish/broker.rs", "src/cli/logging.rs"]),
    ("rustls", &["src/publish/mqtt", "src/capture/http_client.rs"]),
    ("tokio", &["src/publish/", "src/daemon/", "src/serve/"]),
    ("axum", &["src/serve/"]),
    ("rusqlite", &["src/store/"]),
    ("yaml_rust2", &["src/dataset/"]),
    ("gpiocdev", &["src/outputs/"]),
    ("clap", &["src/cli/", "src/main.rs"]),
    ("println!", &["src/cli/"]),
    ("process::exit", &["src/main.rs"]),
    ("unsafe ", &["src/engine/kernels/", "src/engine/program/", "src/capture/v4l2", "src/sys.rs"]),
    ("env::var", &["src/config/", "src/cli/", "src/publish/mqtt/secret.rs", "src/daemon/"]),
];

/// Modules that compute and nothing else: no clock, no files, no log.
const PURE: &[&str] = &[
    "src/yolo",
    "src/track",
    "src/rules",
    "src/station",
    "src/scene",
    "src/eval",
    "src/listen",
    "src/engine/kernels",
    "src/geometry.rs",
    "src/detection.rs",
    "src/event",
    "src/moment.rs",
    "src/money.rs",
    "src/vision/glance.rs",
    "src/vision/scenery.rs",
    "src/vision/visibility.rs",
    "src/collect/policy.rs",
    "src/collect/likeness.rs",
    "src/publish/outbox/lane.rs",
    "src/outputs/gate",
    "src/outputs/light.rs",
    "src/outputs/panel.rs",
    "src/outputs/relay.rs",
    "src/outputs/settings.rs",
];
const IMPURE: &[&str] = &["Instant::now", "SystemTime", "std::fs", "std::net", "std::env", "log::", "thread::sleep"];

/// Never in the tree.
const BANNED: &[&str] = &["todo!(", "unimplemented!(", "dbg!(", "FIXME", "XXX", "TODO", "#[ignore"];

const FILE_LINES_MAX: usize = 800;

struct Source {
    path: String,
    text: String,
}

#[test]
fn modules_import_only_from_lower_floors() {
    let floor: BTreeMap<&str, usize> =
        FLOORS.iter().enumerate().flat_map(|(level, names)| names.iter().map(move |name| (*name, level))).collect();
    let mut wrong = Vec::new();
    for source in code("src") {
        let Some(own) = module_of(&source.path) else { continue };
        let Some(own_level) = floor.get(own) else {
            wrong.push(format!("{}: module {own} stands on no floor; give it one in tests/tidy.rs", source.path));
            continue;
        };
        for imported in imports(code_of(&source.text)) {
            if imported == own {
                continue;
            }
            match floor.get(imported.as_str()) {
                Some(level) if level < own_level => {}
                Some(_) => wrong.push(format!("{}: {own} imports {imported}, which is not below it", source.path)),
                None => wrong.push(format!("{}: crate::{imported} stands on no floor", source.path)),
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn foreign_and_dangerous_things_stay_where_they_belong() {
    let mut wrong = Vec::new();
    for source in code("src") {
        for (word, places) in CONFINED {
            if places.iter().any(|place| source.path.starts_with(place)) {
                continue;
            }
            for (number, line) in lines_of_code(code_of(&source.text)) {
                if line.contains(word) {
                    wrong.push(format!("{}:{number}: {word} belongs to {}", source.path, places.join(", ")));
                }
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn pure_modules_have_no_clock_no_files_and_no_log() {
    let mut wrong = Vec::new();
    for source in code("src").iter().filter(|source| PURE.iter().any(|pure| source.path.starts_with(pure))) {
        for (number, line) in lines_of_code(code_of(&source.text)) {
            wrong.extend(
                IMPURE
                    .iter()
                    .filter(|word| line.contains(**word))
                    .map(|word| format!("{}:{number}: {word}", source.path)),
            );
        }
    }
    assert_none(&wrong);
}

#[test]
fn files_say_what_they_are_for_and_end() {
    let mut wrong = Vec::new();
    for source in sources("src").into_iter().chain(sources("tests")) {
        if !source.text.starts_with("//! ") {
            wrong.push(format!("{}: the first line says what the file is for: //! …", source.path));
        }
        let lines = source.text.lines().count();
        if lines > FILE_LINES_MAX {
            wrong.push(format!("{}: {lines} lines; split it by meaning", source.path));
        }
        for (number, line) in (1..).zip(source.text.lines()) {
            let banned = BANNED.iter().filter(|word| line.contains(**word) && source.path != "tests/tidy.rs");
            wrong.extend(banned.map(|word| format!("{}:{number}: {word}", source.path)));
        }
    }
    assert_none(&wrong);
}

#[test]
fn what_is_written_about_the_program_is_true_of_it() {
    let mut wrong = Vec::new();
    let readme = read("README.md");
    let unit = read("systemd/andon.service");
    if !unit.contains("ExecStart=/usr/bin/andon run --config /etc/andon/andon.toml") {
        wrong.push("systemd/andon.service: the unit has to pass --config, or the demo would run".to_owned());
    }
    let commands = [
        "run", "detect", "inspect", "bench", "val", "quantize", "collect", "simulate", "events", "listen", "check",
        "devices",
    ];
    for command in commands {
        if !readme.contains(&format!("andon {command}")) {
            wrong.push(format!("README.md: `andon {command}` is not described"));
        }
    }
    let makefile = read("Makefile");
    for target in readme
        .split("make ")
        .skip(1)
        .map(|rest| rest.split(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit() && c != '-').next())
    {
        let target = target.unwrap_or_default();
        if !target.is_empty() && !makefile.contains(&format!("\n{target}:")) {
            wrong.push(format!("README.md: the Makefile has no target {target}"));
        }
    }
    assert_none(&wrong);
}

/// The module that a file belongs to; `None` for the two roots.
fn module_of(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("src/")?;
    let name = inside.split('/').next()?.trim_end_matches(".rs");
    (!matches!(name, "lib" | "main")).then_some(name)
}

/// The text before the tests, which may do what the code may not.
fn code_of(text: &str) -> &str {
    let end = text.find("\n#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    &text[..end]
}

fn lines_of_code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..).zip(text.lines()).filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// The modules of this crate that a text names: `crate::x` alone, and the heads of `crate::{x, y::z}`.
fn imports(text: &str) -> Vec<String> {
    let text: String = lines_of_code(text).map(|(_, line)| line).collect::<Vec<_>>().join("\n");
    let mut found = Vec::new();
    for rest in text.split("crate::").skip(1) {
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut item = String::new();
            for c in group.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => found.extend(head(&std::mem::take(&mut item))),
                    _ if depth == 0 => item.push(c),
                    _ => {}
                }
            }
            found.extend(head(&item));
        } else {
            found.extend(head(rest));
        }
    }
    found
}

fn head(path: &str) -> Option<String> {
    let name: String = path.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    name.starts_with(|c: char| c.is_ascii_lowercase()).then_some(name)
}

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path))
        .unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All Rust files below a folder, without those that hold nothing but tests of a module.
fn code(folder: &str) -> Vec<Source> {
    let mut found = sources(folder);
    found.retain(|source| !["/tests.rs", "/testing.rs", "/simulation.rs"].iter().any(|end| source.path.ends_with(end)));
    found
}

fn sources(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                found.push(Source { text: fs::read_to_string(&path).unwrap(), path: name });
            }
        }
    }
    assert!(!found.is_empty(), "{folder} holds no source");
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn imports_are_found_however_they_are_written() {
    let text = "use crate::{\n    a::{b, c},\n    d,\n};\nfn f() { crate::e::g(); }\n// crate::h\nuse crate::I;\n";
    assert_eq!(imports(text), ["a", "d", "e"]);
}
