//! A till that is opened, corrected and closed by command, the picture of a part that failed, and a line where nothing happens.

use std::{collections::BTreeSet, fs, time::SystemTime};

use super::{
    moving::{Scene, wide_line},
    rules::{COMMANDS, answer},
    *,
};

#[test]
fn a_total_is_opened_voided_and_closed_with_answers() {
    if !mosquitto::is_installed() {
        return;
    }
    let broker = Mosquitto::start(Setup::default());
    let (scene, line) = (Scene::new(), wide_line(broker.port));
    let till = "[[rule]]\nid = \"till\"\nkind = \"total\"\nprices = { red = \"1.05\", green = \"2.50\" }\ncurrency = \"EUR\"\n\
                zone = [[0, 0], [1, 0], [1, 1], [0, 1]]\nsettle = 0.1\ngone_after = 1\nsessions = \"command\"\n";
    scene.configure(&line, broker.port, till);
    let detections = broker.subscribe("andon/box/in/detections");
    let totals = broker.subscribe("andon/box/in/total/till");
    let _daemon = line.start();
    let refused = answer(&broker, "void", r#"{"rule":"till","name":"green","quantity":1}"#);
    assert_eq!(refused["ok"], false, "{refused}");
    assert!(refused["error"].as_str().unwrap().contains("till"), "{refused}");
    let opened = answer(&broker, "open", r#"{"rule":"till","external_id":"till-1"}"#);
    assert_eq!((&opened["ok"], &opened["camera"], &opened["rule"]), (&true.into(), &"in".into(), &"till".into()));
    assert_eq!(opened["total"]["session"]["external_id"], "till-1", "{opened}");
    // What is put in from now on counts.
    scene.show(Some(5), &detections);
    totals.wait_for(SOON, "both in the basket", |heard| json(heard)["total"]["sum"] == "3.55");
    let voided = answer(&broker, "void", r#"{"rule":"till","name":"green","quantity":1}"#);
    assert_eq!((&voided["ok"], &voided["total"]["sum"]), (&true.into(), &"1.05".into()), "{voided}");
    let closed = answer(&broker, "close", r#"{"rule":"till"}"#);
    assert_eq!((&closed["ok"], &closed["total"]["sum"]), (&true.into(), &"1.05".into()), "{closed}");
    let said = totals.wait_for(SOON, "the end", |heard| json(heard)["total"]["session"]["closing"] == "command");
    assert_eq!(json(&said)["total"]["sum"], "1.05");
}

#[test]
fn a_part_that_failed_is_pictured_under_its_event() {
    if !mosquitto::is_installed() {
        return;
    }
    let broker = Mosquitto::start(Setup::default());
    let line = Line::new(broker.port, "");
    let rule = "[[rule]]\nid = \"board\"\nkind = \"verdict\"\ntrigger = \"picture\"\nfail = [\"green\"]\n";
    line.configure(broker.port, "source = \"shots\"\nrate = 5\nloop = true", rule);
    let verdicts = broker.subscribe("andon/box/in/verdict/board");
    let pictures = broker.subscribe_to_topics("andon/box/in/snapshot/+");
    let _daemon = line.start();
    let picture = pictures.next(SOON).expect("a picture comes").topic;
    let id = picture.rsplit('/').next().unwrap().to_owned();
    let heard = verdicts.wait_for(SOON, "the verdict of the picture", |heard| json(heard)["event"]["id"] == *id);
    assert_eq!(json(&heard)["verdict"]["verdict"], "fail", "{heard:?}");
    let mut seen = BTreeSet::new();
    while seen.len() < 2 {
        let heard = verdicts.next(SOON).expect("verdicts go on");
        seen.insert(json(&heard)["verdict"]["verdict"].as_str().unwrap().to_owned());
    }
    assert!(seen.contains("pass"), "the other picture is good: {seen:?}");
}

/// What the outbox has on the disk: name, length, when it was written last.
fn files(line: &Line) -> Vec<(String, u64, SystemTime)> {
    let mut files: Vec<_> = fs::read_dir(line.dir.path("kept"))
        .unwrap()
        .map(|entry| {
            let (entry, name) = entry.map(|entry| (entry.metadata().unwrap(), entry.file_name())).unwrap();
            (name.to_string_lossy().into_owned(), entry.len(), entry.modified().unwrap())
        })
        .collect();
    files.sort();
    files
}

#[test]
fn a_still_line_writes_nothing() {
    const QUIET: Duration = Duration::from_secs(4);
    if !mosquitto::is_installed() {
        return;
    }
    let broker = Mosquitto::start(Setup::default());
    let line = Line::new(broker.port, "");
    fs::create_dir(line.dir.path("kept")).unwrap();
    let rules = "[[rule]]\nid = \"flaw\"\nkind = \"alarm\"\nclasses = [\"red\"]\nwhen = \"1 of 1 frames\"\n\
                 [[rule]]\nid = \"passed\"\nkind = \"count\"\nline = [[0.5, 0], [0.5, 1]]\ndirection = \"right\"\n\
                 [outbox]\npath = \"kept/outbox.db\"\n";
    let camera = "source = \"shots/a.png\"\nrate = 10\nloop = true\ntrack = true\nblind = []";
    line.configure(broker.port, camera, &format!("{COMMANDS}\n{rules}"));
    let detections = broker.subscribe("andon/box/in/detections");
    let _daemon = line.start();
    detections.wait_for(SOON, "the square is seen", |heard| heard.payload.contains("red"));
    let give_up = Instant::now() + SOON;
    let still = loop {
        let before = files(&line);
        thread::sleep(QUIET);
        let after = files(&line);
        if before == after {
            break after;
        }
        assert!(Instant::now() < give_up, "it writes though nothing happens: {before:?}, {after:?}");
    };
    assert!(still.iter().any(|(name, ..)| name == "outbox.db"), "{still:?}");
    // The line was looked at all the time,
    while detections.next(Duration::ZERO).is_some() {}
    detections.next(SOON).expect("frames go on");
    // and what happens is written.
    assert_eq!(answer(&broker, "shelve", r#"{"rule":"flaw","seconds":60}"#)["ok"], true);
    let give_up = Instant::now() + SOON;
    while files(&line) == still {
        assert!(Instant::now() < give_up, "nothing was written");
        thread::sleep(Duration::from_millis(50));
    }
}
