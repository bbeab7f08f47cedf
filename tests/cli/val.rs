//! `andon val` on datasets of squares: figures, tables, files, and a sentence for everything that can be wrong.

use std::fs;

use serde_json::{Value, json};

use crate::util::{
    onnx::{Elem, Model},
    run::{Dir, GREEN, RED},
    tiny_yolo::{Head, TinyYolo},
};

/// A model and a dataset of four pictures: two squares found, one labelled that is not there, one found that is not
/// labelled, and a picture without a label file.
fn dir() -> Dir {
    let dir = Dir::new();
    dir.tiny_yolo("tiny.onnx", TinyYolo { head: Head::EndToEnd, ..TinyYolo::default() });
    let data = "val: images/val\ntrain: images/train\nnames:\n  0: red\n  1: green\n";
    dir.write("set/data.yaml", data);
    dir.squares("set/images/val/1.png", (64, 64), &[(1, 2, RED), (5, 6, GREEN)]);
    dir.write("set/labels/val/1.txt", "0 0.1875 0.3125 0.125 0.125\n1 0.6875 0.8125 0.125 0.125\n");
    dir.squares("set/images/val/2.png", (64, 64), &[(0, 0, RED)]);
    dir.write("set/labels/val/2.txt", "0 0.0625 0.0625 0.125 0.125\n1 0.5 0.5 0.125 0.125\n\n");
    dir.squares("set/images/val/3.png", (64, 64), &[(3, 3, RED)]);
    dir.write("set/labels/val/3.txt", "");
    dir.squares("set/images/val/4.png", (64, 64), &[]);
    dir
}

fn val<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["val", "--model", "tiny.onnx", "--data", "set/data.yaml", "--conf", "0.25"], more].concat()
}

fn assert_near(figure: &Value, expected: f64) {
    assert!(figure.as_f64().is_some_and(|figure| (figure - expected).abs() < 1e-3), "{figure} is not {expected}");
}

#[test]
fn json_has_the_figures_of_the_contract() {
    let dir = dir();
    let answer = dir.andon(&val(&["--json", "--at-iou", "0.33"])).run();
    assert_eq!(
        (answer.code, answer.stderr.as_str()),
        (Some(0), "note: pictures without a label file, which count as showing nothing: 1 of 4\n")
    );
    let figures: Value = serde_json::from_str(&answer.stdout).unwrap();
    assert_eq!((&figures["images"], &figures["instances"]), (&json!(4), &json!(4)));
    // Red: both are found, and one that is not there. Green: one of two, and nothing wrong.
    let [red, green] = [&figures["classes"][0], &figures["classes"][1]];
    assert_eq!((&red["name"], &red["images"], &red["instances"]), (&json!("red"), &json!(2), &json!(2)));
    assert_near(&green["map50"], 0.495);
    assert_near(&green["recall"], 0.5);
    assert_near(&green["coco"]["ap"], 51.0 / 101.0);
    for key in ["precision", "recall", "map50", "map50_95"] {
        let mean = (red[key].as_f64().unwrap() + green[key].as_f64().unwrap()) / 2.0;
        assert_near(&figures[key], mean);
    }
    let coco = figures["coco"].as_object().unwrap();
    assert_eq!(coco.keys().collect::<Vec<_>>(), ["ap", "ap50"]);
    let at = figures["at_iou"].as_object().unwrap();
    assert_eq!(at.keys().collect::<Vec<_>>(), ["confidence", "f1", "iou", "map", "precision", "recall"]);
    assert_near(&at["iou"], 0.33);
    assert_near(&at["recall"], 0.75);
    let entry = |found: Value, truth: Value, count: u64| json!({"found": found, "truth": truth, "count": count});
    assert_eq!(
        figures["confusion"],
        json!([
            entry(Value::Null, json!("green"), 1),
            entry(json!("red"), Value::Null, 1),
            entry(json!("red"), json!("red"), 2),
            entry(json!("green"), json!("green"), 1),
        ])
    );
}

#[test]
fn the_table_has_a_line_for_every_class() {
    let text = dir().andon(&val(&[])).run().stdout;
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["tiny.onnx", "on", "set/data.yaml", "(val):", "4", "pictures,", "4", "objects"]);
    assert_eq!(lines[1], ["class", "images", "instances", "P", "R", "mAP50", "mAP50-95", "AP", "AP50"]);
    assert_eq!(lines[2][..3], ["all", "4", "4"]);
    assert_eq!((&lines[3][..3], &lines[4][..3]), (&["red", "2", "2"][..], &["green", "2", "2"][..]));
    assert!(text.contains("background") && text.contains("ms in the model"), "{text}");
}

#[test]
fn two_models_stand_side_by_side() {
    let dir = dir();
    dir.tiny_yolo("other.onnx", TinyYolo { head: Head::EndToEnd, elem: Elem::F16, ..TinyYolo::default() });
    let answer = dir.andon(&val(&["--json", "--against", "other.onnx"])).run();
    assert_eq!(answer.code, Some(0), "{answer:?}");
    let figures: Value = serde_json::from_str(&answer.stdout).unwrap();
    assert_eq!(figures["against"]["classes"][1]["name"], "green");
    assert_eq!(figures["agreement"]["own"], json!({"found": 4, "matched": 4, "share": 1.0}));
    assert_eq!(figures["agreement"]["other"]["share"], 1.0);
    assert!(figures["agreement"]["confidence_difference"].as_f64().unwrap() < 0.01);
    let text = dir.andon(&val(&["--against", "other.onnx"])).run().stdout;
    assert!(text.contains("against other.onnx") && text.contains("100.0 % of 4"), "{text}");
}

#[test]
fn curves_and_detections_are_saved() {
    let dir = dir();
    let answer = dir.andon(&val(&["--plot", "pr.svg", "--save-json", "found.json"])).run();
    assert_eq!(answer.code, Some(0), "{answer:?}");
    let svg = dir.read("pr.svg");
    assert!(svg.starts_with("<svg") && svg.contains(">red 0.") && svg.contains(">green 0.495"), "{svg}");
    let found: Value = serde_json::from_str(&dir.read("found.json")).unwrap();
    let rows: Vec<_> = found.as_array().unwrap().iter().map(|row| (&row["image_id"], &row["category_id"])).collect();
    assert_eq!(rows.len(), 4);
    assert!(rows.contains(&(&json!(3), &json!(0))));
    dir.andon(&val(&["--plot", "pr.png"])).run();
    assert_eq!(image::open(dir.path("pr.png")).unwrap().width(), 900);
    assert_eq!(names(&dir), ["found.json", "pr.png", "pr.svg", "set", "tiny.onnx"]);
}

fn names(dir: &Dir) -> Vec<String> {
    let entries = fs::read_dir(dir.path("")).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[cfg(unix)]
#[test]
fn a_full_disk_takes_neither_the_figures_nor_the_old_file() {
    let dir = dir();
    dir.write("set/labels/val/4.txt", "");
    for (option, file) in [("--plot", "pr.svg"), ("--plot", "pr.png"), ("--save-json", "found.json")] {
        dir.write(file, "the old one");
        let before = names(&dir);
        let answer = dir.andon_on_full_disk(0, &val(&["--json", option, file])).run();
        let expected = format!("{option}: {file} cannot be written, no file may be that large");
        assert!(answer.sentence(1).contains(&expected), "{answer:?}");
        let figures: Value = serde_json::from_str(&answer.stdout).unwrap();
        assert_eq!(figures["images"], 4);
        assert_eq!((dir.read(file).as_str(), names(&dir)), ("the old one", before));
    }
}

#[test]
fn ids_that_collide_are_told_before_the_first_picture() {
    let dir = dir();
    // The first of the pictures would be number 1, as the one that is called so.
    dir.squares("set/images/val/0a.png", (64, 64), &[]);
    let answer = dir.andon(&val(&["--save-json", "found.json"])).run();
    let sentence = answer.sentence(1);
    assert!(
        sentence.contains("--save-json: ") && sentence.contains("1.png would have the image_id 1 of"),
        "{sentence}"
    );
    assert_eq!(answer.stdout, "");
    assert_eq!(dir.andon(&val(&[])).run().code, Some(0));
}

#[test]
fn classes_are_matched_by_name() {
    let dir = dir();
    dir.write("set/data.yaml", "val: images/val\nnames: [Green, unseen, red]\n");
    dir.write("set/labels/val/1.txt", "2 0.1875 0.3125 0.125 0.125\n0 0.6875 0.8125 0.125 0.125\n");
    dir.write("set/labels/val/2.txt", "2 0.0625 0.0625 0.125 0.125\n");
    let figures: Value = serde_json::from_str(&dir.andon(&val(&["--json"])).run().stdout).unwrap();
    assert_eq!((&figures["classes"][0]["name"], &figures["classes"][1]["name"]), (&json!("Green"), &json!("red")));
    assert_near(&figures["classes"][0]["recall"], 1.0);
    dir.write("set/labels/val/2.txt", "1 0.0625 0.0625 0.125 0.125\n");
    let answer = dir.andon(&val(&[])).run();
    let sentence = answer.sentences()[0];
    assert!(sentence.contains("shows unseen, which model tiny does not know (it knows red, green)"), "{sentence}");
}

#[test]
fn a_wrong_dataset_is_said_in_a_sentence() {
    let dir = dir();
    dir.write("empty/images/readme.md", "");
    dir.write("broken.yaml", "names: [a\n");
    dir.write("elsewhere.yaml", "val: nowhere\nnames: [red, green]\n");
    dir.squares("bare/images/1.png", (64, 64), &[]);
    dir.squares("blank/images/1.png", (64, 64), &[]);
    dir.write("blank/labels/1.txt", "");
    for (data, part) in [
        ("none", "dataset none: there is no such file or folder"),
        ("tiny.onnx", "dataset tiny.onnx: it is no .yaml; give data.yaml or a folder with images/ and labels/"),
        (".", "dataset .: the folder has 2 .yaml files that may describe it and none is data.yaml; give one of them"),
        ("empty", "holds no pictures"),
        ("broken.yaml", "dataset broken.yaml: it is no YAML"),
        ("elsewhere.yaml", "val is \"nowhere\", but nothing is at "),
        ("bare", "none of its 1 pictures has a label file"),
        ("blank", "none of the 1 pictures of val shows an object"),
    ] {
        let answer = dir.andon(&["val", "--model", "tiny.onnx", "--data", data]).run();
        let sentence = answer.sentence(1);
        assert!(sentence.contains(part), "{data}: {sentence}");
        assert_eq!(answer.stdout, "");
    }
    let answer = dir.andon(&val(&["--split", "test"])).run();
    assert!(answer.sentence(1).contains("it has no key test; choose another split (train, val)"), "{answer:?}");
}

#[test]
fn labels_that_cannot_be_used_stop_before_the_first_picture() {
    let dir = dir();
    dir.write("set/labels/val/2.txt", "0 1.5 0.5 0.125 0.125\n");
    dir.write("set/labels/val/3.txt", "0 0.5 0.5 0.125 0.125\n7 0.5 0.5 0.125 0.125\n");
    let answer = dir.andon(&val(&[])).run();
    assert_eq!((answer.code, answer.stdout.as_str()), (Some(1), ""));
    let sentences = answer.sentences();
    assert_eq!(sentences.len(), 2, "{sentences:?}");
    assert!(sentences[0].contains("2.txt: line 1: 1.5 lies outside the picture; "), "{}", sentences[0]);
    assert!(sentences[1].contains("3.txt: line 2: there is no class 7; the dataset has the classes 0 to 1"));
    // What only sticks out counts, as it does in `yolo val`.
    dir.write("set/labels/val/2.txt", "0 0.98 0.5 0.125 0.125\n");
    dir.write("set/labels/val/3.txt", "");
    let answer = dir.andon(&val(&[])).run();
    assert_eq!(answer.code, Some(0));
    assert!(
        answer.stderr.contains(
            "note: label files with boxes that reach beyond their picture, which count as they are: 1, the first "
        ),
        "{answer:?}"
    );
}

#[test]
fn a_damaged_picture_is_told_and_left_out() {
    let dir = dir();
    dir.write("set/images/val/2.png", "no picture");
    dir.squares("set/images/val/z.png", (64, 64), &[(3, 3, RED)]);
    let answer = dir.andon(&val(&["--json", "--save-json", "found.json"])).run();
    assert_eq!(answer.code, Some(1));
    assert!(answer.stderr.contains("error: ") && answer.stderr.contains("2.png"), "{answer:?}");
    let figures: Value = serde_json::from_str(&answer.stdout).unwrap();
    assert_eq!((&figures["images"], &figures["instances"]), (&json!(4), &json!(2)));
    let found: Value = serde_json::from_str(&dir.read("found.json")).unwrap();
    let last = found.as_array().unwrap().iter().find(|row| row["file_name"] == "z.png").unwrap();
    assert_eq!(last["image_id"], 5, "the one that is left out keeps its number");
}

#[test]
fn what_cannot_be_measured_or_written_is_said_first() {
    let dir = dir();
    for (more, code, part) in [
        (&["--plot", "pr.gif"][..], 2, ".svg, .png or .jpg"),
        (&["--plot", "none/pr.svg"], 2, "there is no folder none; make it first"),
        (&["--save-json", "none/found.json"], 2, "there is no folder none"),
        (&["--against", "missing.onnx"], 1, "missing.onnx"),
    ] {
        let answer = dir.andon(&val(more)).run();
        assert!(answer.sentence(code).contains(part), "{answer:?}");
        assert_eq!(answer.stdout, "");
    }
    let answer = dir.andon(&val(&["--at-iou", "0"])).run();
    assert_eq!(answer.code, Some(2));
    assert!(answer.stderr.contains("not a number above 0 and up to 1"), "{answer:?}");
    let compared = ["val", "--model", "tiny.onnx", "--data", "set", "--against", "tiny.onnx", "--conf", "0.26"];
    let answer = dir.andon(&compared).run();
    assert!(answer.sentence(2).contains("down to a confidence of 0.25; give that or less"), "{answer:?}");
    dir.write("classifier.onnx", classifier());
    let answer = dir.andon(&["val", "--model", "classifier.onnx", "--data", "set"]).run();
    assert!(answer.sentence(1).contains("classifies whole pictures; val measures upright boxes"), "{answer:?}");
}

/// A classifier with the two classes of the dataset.
fn classifier() -> Vec<u8> {
    use crate::util::onnx::{Attr, Dim};
    let mut model = Model::new(17);
    model.input("images", Elem::F32, &[1, 3, 64, 64].map(Dim::Fixed));
    model.output("output0", Elem::F32, &[1, 2].map(Dim::Fixed));
    let weights = model.floats("weights", &[2, 3, 64, 64], &[0.0; 2 * 3 * 64 * 64]);
    let scores = model.node("Conv", &["images", &weights], &["scores"], &[("kernel_shape", Attr::Ints(&[64, 64]))]);
    let flat = model.longs("flat", &[2], &[1, 2]);
    let flat = model.node("Reshape", &[&scores, &flat], &["flat_scores"], &[]);
    model.node("Softmax", &[&flat], &["output0"], &[("axis", Attr::Int(1))]);
    model.metadata("task", "classify");
    model.metadata("names", "{0: 'red', 1: 'green'}");
    model.metadata("imgsz", "[64, 64]");
    model.metadata("stride", "1");
    model.to_bytes()
}
