//! `andon simulate`: a dataset on the disk, the same for the same seed, and one sentence for what cannot be.

use std::{collections::BTreeMap, fs, path::Path};

use crate::util::run::{Answer, Dir};

/// All files of a dataset by their names in it.
fn files(dataset: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for folder in ["", "images", "labels"] {
        for entry in fs::read_dir(dataset.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let name = path.strip_prefix(dataset).unwrap().to_str().unwrap().to_owned();
                found.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    found
}

fn simulate(dir: &Dir, arguments: &[&str]) -> Answer {
    dir.andon(&[&["simulate"], arguments].concat()).run()
}

#[test]
fn the_same_seed_writes_the_same_files_and_a_broken_run_goes_on() {
    let dir = Dir::new();
    assert_eq!(simulate(&dir, &["--out", "a", "--count", "3", "--seed", "7"]).ok(), "");
    simulate(&dir, &["--out", "b", "--count", "2", "--seed", "7"]).ok();
    fs::remove_file(dir.path("b/images/board-7-000001.png")).unwrap();
    simulate(&dir, &["--out", "b", "--count", "3", "--seed", "7"]).ok();
    let written = files(&dir.path("a"));
    assert_eq!(written, files(&dir.path("b")));
    let names: Vec<&str> = written.keys().map(String::as_str).collect();
    let boards = [0, 1, 2].map(|number| format!("images/board-7-{number:06}.png"));
    let labels = [0, 1, 2].map(|number| format!("labels/board-7-{number:06}.txt"));
    assert_eq!(names, [&["data.yaml".to_owned()][..], &boards, &labels].concat());
    assert_eq!(
        dir.read("a/data.yaml"),
        "train: images\nval: images\nnames:\n  0: open\n  1: short\n  2: mousebite\n  3: spur\n  4: copper\n  5: \
         pin-hole\n"
    );
    let board = image::open(dir.path("a/images/board-7-000000.png")).unwrap();
    assert_eq!((board.color(), board.width(), board.height()), (image::ColorType::L8, 640, 640));
    let lines = dir.read("a/labels/board-7-000000.txt");
    assert!(!lines.is_empty());
    for line in lines.lines() {
        let numbers: Vec<f32> = line.split(' ').map(|number| number.parse().unwrap()).collect();
        assert!(
            numbers.len() == 5 && numbers[0] < 6.0 && numbers[1..].iter().all(|n| (0.0..1.0).contains(n)),
            "{line}"
        );
    }
}

#[cfg(unix)]
#[test]
fn a_full_disk_leaves_no_half_picture() {
    let dir = Dir::new();
    let simulate = ["simulate", "--out", "a", "--count", "2"];
    dir.andon(&["simulate", "--out", "a", "--count", "1"]).run().ok();
    let before = files(&dir.path("a"));
    let answer = dir.andon_on_full_disk(1, &simulate).run();
    assert!(answer.sentence(1).contains("a/images/board-0-000001.png cannot be written, no file may"), "{answer:?}");
    let mut after = files(&dir.path("a"));
    // The labels come before their picture.
    after.remove("labels/board-0-000001.txt").unwrap();
    assert_eq!(after, before);
    dir.andon(&simulate).run().ok();
    assert_eq!(files(&dir.path("a")).len(), before.len() + 2);
    let answer = dir.andon_on_full_disk(0, &["simulate", "--out", "b", "--count", "1"]).run();
    assert!(answer.sentence(1).contains("b/data.yaml cannot be written"), "{answer:?}");
    assert!(files(&dir.path("b")).is_empty());
}

#[test]
fn options_change_the_boards_and_seeds_lie_side_by_side() {
    let dir = Dir::new();
    simulate(&dir, &["--out", "a", "--count", "1", "--format", "jpeg", "--defects", "0"]).ok();
    assert_eq!(dir.read("a/labels/board-0-000000.txt"), "");
    assert!(fs::read(dir.path("a/images/board-0-000000.jpg")).unwrap().starts_with(&[0xff, 0xd8, 0xff]));
    simulate(&dir, &["--out", "a", "--count", "1", "--seed", "1"]).ok();
    assert_eq!(fs::read_dir(dir.path("a/images")).unwrap().count(), 2);
    // The same names with something else in them are another dataset.
    let sentence = simulate(&dir, &["--out", "a", "--count", "1", "--seed", "1", "--noise", "9"]);
    assert!(sentence.sentence(1).contains("is there already and holds something else; choose another folder"));
}

#[test]
fn a_film_is_a_dataset_too() {
    let dir = Dir::new();
    simulate(&dir, &["--out", "belt", "--count", "6", "--scene", "belt"]).ok();
    assert!(dir.read("belt/data.yaml").ends_with("  5: pin-hole\n  6: board\n"));
    assert!(dir.read("belt/labels/belt-0-000005.txt").lines().any(|line| line.starts_with("6 ")));
    simulate(&dir, &["--out", "basket", "--count", "2", "--scene", "basket"]).ok();
    assert!(dir.read("basket/data.yaml").ends_with("  0: bottle\n  1: can\n  2: box\n  3: apple\n"));
    let picture = image::open(dir.path("basket/images/basket-0-000001.png")).unwrap();
    assert_eq!((picture.color(), picture.width(), picture.height()), (image::ColorType::Rgb8, 640, 480));
}

#[test]
fn wrong_use_is_told() {
    let dir = Dir::new();
    let file = dir.write("file", "");
    for (arguments, code, part) in [
        (&["--out", "a", "--count", "1", "--noise", "99"][..], 2, "--noise is \"99\"; give a number of 0 to 30"),
        (&["--out", "a", "--count", "1", "--seed", "x"], 2, "--seed is \"x\"; give a whole number"),
        (&["--out", "a", "--count", "1", "--scene", "table"], 2, "--scene is \"table\"; give belt or basket"),
        (&["--out", "a", "--count", "1", "--scene", "basket", "--speed", "2"], 2, "--speed is an option for boards"),
        (&["--out", "file/a", "--count", "1"], 1, "file/a/images cannot be written"),
    ] {
        let answer = simulate(&dir, arguments);
        assert!(answer.sentence(code).contains(part), "{answer:?}");
        assert!(!dir.path("a").exists());
    }
    assert_eq!(fs::read(file).unwrap(), b"");
    assert_eq!(simulate(&dir, &["--out", "a", "--count", "0"]).code, Some(2));
    assert_eq!(simulate(&dir, &["--count", "1"]).code, Some(2));
}
