//! `andon collect`: a dataset off sources that end, and off one that does not; commands, the quota, and refusals.

use std::{
    fs,
    io::Write as _,
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use andon::dataset::Dataset;
use serde_json::{Value, json};

use crate::util::{
    run::{Answer, Dir, RED},
    tiny_yolo::TinyYolo,
};

/// Longer than anything here takes on a busy machine.
const SOON: Duration = Duration::from_secs(60);

/// A red that the tiny YOLO is unsure of: 24 × (76 / 255 − 0.35) is the logit of 0.22, which is below what counts.
const UNSURE: [u8; 3] = [136, 30, 30];

/// A folder with the model and a configuration with one camera.
fn line(camera: &str, collect: &str) -> Dir {
    let dir = Dir::new();
    dir.tiny_yolo("squares.onnx", TinyYolo::default());
    let model = "[model]\npath = \"squares.onnx\"\nthreads = 1\n";
    dir.write("andon.toml", format!("{model}[[camera]]\nid = \"in\"\n{camera}\n[collect]\n{collect}\n"));
    dir
}

fn collect(dir: &Dir, arguments: &[&str]) -> Answer {
    dir.andon(&[&["collect", "--config", "andon.toml"], arguments].concat()).run()
}

fn pictures(dir: &Dir, reason: &str) -> usize {
    let Ok(entries) = fs::read_dir(dir.path("out/images")) else { return 0 };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(&format!("-{reason}.jpg")) && name.starts_with("in-")).count()
}

#[test]
fn sources_that_end_leave_a_dataset_and_another_run_adds_to_it() {
    let dir = line("source = \"shots\"\nrate = 20", "");
    dir.squares("shots/a.png", (64, 64), &[(1, 2, RED), (5, 5, UNSURE)]);
    let report = collect(&dir, &["--out", "out", "--json"]).json();
    assert_eq!(report["kept"], json!({"routine": 0, "uncertain": 1, "disagreement": 0, "operator": 0}));
    assert_eq!((&report["full"], &report["quota_bytes"]), (&false.into(), &2_000_000_000_u64.into()));
    let dataset = Dataset::open(&dir.path("out"), "val").unwrap();
    assert_eq!((dataset.pictures.len(), dataset.names.as_slice()), (1, &["red".to_owned(), "green".to_owned()][..]));
    let labels = dataset.labels(Some(2)).unwrap();
    assert_eq!((labels.objects[0].len(), labels.without_file), (1, 0), "the unsure one is no draft label");
    let stem = dataset.pictures[0].file_stem().unwrap().to_str().unwrap();
    assert_eq!(dir.read(&format!("out/labels/{stem}.txt")), "0 0.187500 0.312500 0.125000 0.125000\n");

    let text = collect(&dir, &["--out", "out"]);
    assert_eq!(text.ok(), "kept 1: 0 routine, 1 uncertain, 0 disagreement, 0 operator; 0 near-duplicates left out\n");
    assert_eq!(pictures(&dir, "uncertain"), 2);
}

#[test]
fn the_quota_ends_it_with_a_remark() {
    let dir = line("source = \"line:seed=3\"\nrate = 50", "every = 0.1\nquota = \"2 MB\"");
    let answer = collect(&dir, &["--out", "out", "--json"]);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    let report: Value = serde_json::from_str(&answer.stdout).unwrap();
    assert_eq!(report["full"], true);
    let routine = pictures(&dir, "routine");
    assert!(routine > 1 && report["kept"]["routine"] == routine, "{report}");
    let note =
        "note: the quota of 2.0 MB is used: out takes no more pictures; raise [collect] quota, or take some away\n";
    assert_eq!(answer.stderr, note);
    let images = fs::read_dir(dir.path("out/images")).unwrap();
    assert!(images.map(|entry| entry.unwrap().metadata().unwrap().len()).sum::<u64>() <= 2_000_000);
}

#[test]
fn enter_and_a_signal_keep_pictures_until_it_is_interrupted() {
    let dir = line("source = \"shots\"\nrate = 20\nloop = true", "");
    dir.squares("shots/a.png", (64, 64), &[]);
    let mut child = dir.andon(&["collect", "--config", "andon.toml", "--out", "out", "--json"]).start_with_stdin();
    let mut stdin = child.stdin.take().unwrap();
    wait_for(&mut child, || pictures(&dir, "routine") == 1);
    stdin.write_all(b"\n").unwrap();
    wait_for(&mut child, || pictures(&dir, "operator") == 1);
    drop(stdin);
    signal(&child, "USR1");
    wait_for(&mut child, || pictures(&dir, "operator") == 2);
    signal(&child, "INT");
    let report = Answer::of(child.wait_with_output().unwrap()).json();
    assert_eq!(report["kept"], json!({"routine": 1, "uncertain": 0, "disagreement": 0, "operator": 2}));
}

fn signal(child: &Child, name: &str) {
    let command = format!("kill -{name} {}", child.id());
    assert!(Command::new("sh").args(["-c", &command]).status().unwrap().success());
}

#[track_caller]
fn wait_for(child: &mut Child, done: impl Fn() -> bool) {
    let give_up = Instant::now() + SOON;
    while !done() {
        assert_eq!(child.try_wait().unwrap(), None, "it ended by itself");
        assert!(Instant::now() < give_up, "it does not come");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_cannot_be_is_told_and_leaves_nothing() {
    let dir = line("source = \"shots\"", "uncertain = [0.5, 0.2]");
    dir.squares("shots/a.png", (64, 64), &[]);
    let answer = collect(&dir, &["--out", "out"]);
    assert!(answer.sentence(1).contains("[collect] uncertain: its bounds stand the wrong way round"), "{answer:?}");
    dir.write("andon.toml", "[model]\npath = \"squares.onnx\"\n");
    assert!(collect(&dir, &["--out", "out"]).sentence(1).contains("no camera; add a [[camera]] section"));
    assert!(!dir.path("out").exists());
    let dir = line("source = \"shots\"", "");
    dir.squares("shots/a.png", (64, 64), &[]);
    dir.write("out/data.yaml", "names: [scratch]\n");
    let answer = collect(&dir, &["--out", "out"]);
    assert!(
        answer.sentence(1).contains("its classes are scratch, not red, green; choose another folder"),
        "{answer:?}"
    );
    assert_eq!(collect(&dir, &[]).code, Some(2));
}
