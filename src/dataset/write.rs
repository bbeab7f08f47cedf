//! Writing a dataset: `data.yaml`, `images/STEM.EXTENSION` and `labels/STEM.txt`, each whole at any moment.
//!
//! The labels of a picture are written before the picture, so that wherever a run is broken off, no picture counts as one
//! that shows nothing. The same pictures may be added again, which goes on where a run was broken off; others under the
//! same names are refused. Encoding pictures is left to the caller.

use std::{
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow, ensure};

use super::{
    manifest::{BYTES_MAX, Manifest},
    read::read_text,
};
use crate::{
    detection::Label,
    geometry::{BoxPx, Size},
    whole_file,
};

/// What a picture of a dataset that is written here may end with.
const EXTENSIONS: [&str; 3] = ["png", "jpg", "jpeg"];

/// A dataset that pictures are added to.
#[derive(Clone, Debug)]
pub struct Writer {
    images: PathBuf,
    labels: PathBuf,
    classes: usize,
}

impl Writer {
    /// Opens the dataset in the folder to add to it, or begins one.
    ///
    /// # Errors
    /// Where the dataset has other classes, or the folder cannot be written.
    pub fn open_or_create(dir: &Path, names: &[&str]) -> anyhow::Result<Self> {
        let (images, labels) = (dir.join("images"), dir.join("labels"));
        for folder in [&images, &labels] {
            fs::create_dir_all(folder).map_err(|error| whole_file::refusal(folder, &error))?;
        }
        let path = dir.join(MANIFEST);
        if path.exists() {
            let text = read_text(&path, BYTES_MAX).map_err(|why| anyhow!("dataset {}: it {why}", path.display()))?;
            let manifest = Manifest::parse(&text).with_context(|| format!("dataset {}", path.display()))?;
            ensure!(
                manifest.names == names,
                "dataset {}: its classes are {}, not {}; choose another folder",
                path.display(),
                manifest.names.join(", "),
                names.join(", ")
            );
        } else {
            whole_file::write(&path, manifest(names).as_bytes())?;
        }
        Ok(Self { images, labels, classes: names.len() })
    }

    /// Adds one picture under a name of its own: the bytes of an image file, and what it shows in pixels of a picture of
    /// this size. Boxes are written as they lie inside the picture; those of which nothing does are left out.
    ///
    /// # Errors
    /// Where the dataset holds another picture or other labels under this name, the stem or the extension is none, a
    /// class has no name, the picture has no size, or a file cannot be written; nothing half-written is left then.
    pub fn add(&self, stem: &str, extension: &str, image: &[u8], labels: &[Label], size: Size) -> anyhow::Result<()> {
        let is_name = !stem.is_empty() && !stem.starts_with('.') && !stem.contains(['/', '\\', '\0']);
        ensure!(is_name, "\"{stem}\" is no name for a picture; use letters, digits, - and _");
        ensure!(
            EXTENSIONS.contains(&extension),
            "{stem}.{extension}: pictures of a dataset end with {}; choose one of these",
            EXTENSIONS.join(", ")
        );
        if let Some(label) = labels.iter().find(|label| label.class >= self.classes) {
            anyhow::bail!("{stem}: class {} has no name in a dataset of {} classes", label.class, self.classes);
        }
        ensure!(
            size.width > 0 && size.height > 0,
            "{stem}: a picture without pixels is no part of a dataset; leave it out"
        );
        let twin = EXTENSIONS.iter().filter(|other| **other != extension).find_map(|other| {
            let path = self.images.join(format!("{stem}.{other}"));
            path.exists().then_some(path)
        });
        if let Some(path) = twin {
            return Err(taken(&path));
        }
        let text = label_lines(labels, size);
        let files = [
            (self.labels.join(format!("{stem}.txt")), text.as_bytes()),
            (self.images.join(format!("{stem}.{extension}")), image),
        ];
        for (path, bytes) in files {
            if !write_once(&path, bytes)? {
                return Err(taken(&path));
            }
        }
        Ok(())
    }
}

/// The name of the file that says what a dataset holds.
const MANIFEST: &str = "data.yaml";

/// The text of `data.yaml`: all pictures are for training and for validation; who wants them apart writes two datasets.
fn manifest(names: &[&str]) -> String {
    let mut text = "train: images\nval: images\nnames:\n".to_owned();
    for (index, name) in names.iter().enumerate() {
        writeln!(text, "  {index}: {}", scalar(name)).expect("a string takes any text");
    }
    text
}

/// A text as YAML: as it is where it cannot be taken for anything else, else in quotes.
fn scalar(text: &str) -> String {
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    let has_meaning =
        ["true", "false", "yes", "no", "on", "off", "null", "y", "n"].contains(&text.to_ascii_lowercase().as_str());
    // What JSON puts in quotes, YAML reads as the same.
    if plain && !has_meaning { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}

/// The lines of a label file: `class x_center y_center width height`, as fractions of the picture's size.
fn label_lines(labels: &[Label], size: Size) -> String {
    let mut text = String::new();
    let (width, height) = (size.width as f32, size.height as f32);
    for Label { class, bounds } in labels {
        let BoxPx { x1, y1, x2, y2 } = bounds.clipped(width, height);
        let has_area = x1 < x2 && y1 < y2;
        if !has_area {
            continue;
        }
        let [x1, x2] = [x1, x2].map(|x| f64::from(x) / f64::from(width));
        let [y1, y2] = [y1, y2].map(|y| f64::from(y) / f64::from(height));
        let [x, y] = [(x1 + x2) / 2.0, (y1 + y2) / 2.0];
        writeln!(text, "{class} {x:.6} {y:.6} {:.6} {:.6}", x2 - x1, y2 - y1).expect("a string takes any text");
    }
    text
}

/// Writes a file that is not there yet, whole or not at all. Answers whether the file holds these bytes now: false, where
/// it was there with others.
fn write_once(path: &Path, bytes: &[u8]) -> anyhow::Result<bool> {
    match fs::read(path) {
        Ok(present) => return Ok(present == bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(whole_file::refusal(path, &error)),
    }
    whole_file::write(path, bytes)?;
    Ok(true)
}

fn taken(path: &Path) -> anyhow::Error {
    anyhow!(
        "{} is there already and holds something else; choose another folder, or remove what is there",
        path.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size { width: 200, height: 100 };
    const LABELS: [Label; 2] = [
        Label { class: 1, bounds: BoxPx { x1: 10.0, y1: 20.0, x2: 50.0, y2: 60.0 } },
        Label { class: 0, bounds: BoxPx { x1: 190.0, y1: -10.0, x2: 210.0, y2: 10.0 } },
    ];

    fn files(folder: &Path) -> Vec<String> {
        let mut found = Vec::new();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                let inner = files(&path);
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                found.extend(inner.iter().map(|file| format!("{name}/{file}")));
            } else {
                found.push(path.file_name().unwrap().to_str().unwrap().to_owned());
            }
        }
        found.sort();
        found
    }

    #[test]
    fn a_dataset_has_the_layout_of_ultralytics() {
        let folder = tempfile::tempdir().unwrap();
        let writer = Writer::open_or_create(&folder.path().join("a/b"), &["open", "no", "it's: \"odd\""]).unwrap();
        writer.add("one", "png", b"picture", &LABELS, SIZE).unwrap();
        writer.add("two", "jpg", b"another", &[], SIZE).unwrap();
        let dir = folder.path().join("a/b");
        assert_eq!(files(&dir), ["data.yaml", "images/one.png", "images/two.jpg", "labels/one.txt", "labels/two.txt"]);
        let text = |name| fs::read_to_string(dir.join(name)).unwrap();
        assert_eq!(
            text("data.yaml"),
            "train: images\nval: images\nnames:\n  0: open\n  1: \"no\"\n  2: \"it's: \\\"odd\\\"\"\n"
        );
        assert_eq!(
            text("labels/one.txt"),
            "1 0.150000 0.400000 0.200000 0.400000\n0 0.975000 0.050000 0.050000 0.100000\n"
        );
        assert_eq!((text("images/one.png"), text("labels/two.txt")), ("picture".to_owned(), String::new()));
    }

    #[test]
    fn what_lies_outside_the_picture_is_no_line() {
        let label = |x1, y1, x2, y2| Label { class: 0, bounds: BoxPx { x1, y1, x2, y2 } };
        let outside = [
            label(-20.0, 10.0, -5.0, 20.0),
            label(200.0, 10.0, 220.0, 20.0),
            label(10.0, 120.0, 20.0, 140.0),
            label(10.0, 20.0, 10.0, 40.0),
            label(f32::NAN, 20.0, 30.0, 40.0),
        ];
        assert_eq!(label_lines(&outside, SIZE), "");
        let folder = tempfile::tempdir().unwrap();
        let writer = Writer::open_or_create(folder.path(), &["open"]).unwrap();
        let error = writer.add("one", "png", b"picture", &[], Size { width: 0, height: 9 }).unwrap_err().to_string();
        assert!(error.contains("one: a picture without pixels"), "{error}");
    }

    #[test]
    fn what_was_broken_off_goes_on_and_nothing_is_mixed() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        let names = ["open", "short"];
        Writer::open_or_create(dir, &names).unwrap().add("one", "png", b"picture", &LABELS, SIZE).unwrap();

        let message = |result: anyhow::Result<()>| result.unwrap_err().to_string();
        let other = message(Writer::open_or_create(dir, &["open"]).map(drop));
        assert!(other.contains("data.yaml: its classes are open, short, not open; choose another folder"), "{other}");

        // What else it says, and how, is its owner's.
        fs::write(dir.join("data.yaml"), "names: [open, short]\ntrain: [images, more]\n").unwrap();
        let writer = Writer::open_or_create(dir, &names).unwrap();
        writer.add("one", "png", b"picture", &LABELS, SIZE).unwrap();
        writer.add("two", "png", b"another", &[], SIZE).unwrap();
        let before = files(dir);
        for (stem, extension, image, labels, part) in [
            ("one", "png", b"pictura", &LABELS[..], "images/one.png is there already"),
            ("one", "png", b"picture", &LABELS[..1], "labels/one.txt is there already"),
            ("one", "jpg", b"picture", &LABELS[..], "images/one.png is there already"),
            ("../one", "png", b"picture", &LABELS[..], "no name for a picture"),
            ("", "png", b"picture", &LABELS[..], "no name for a picture"),
            ("three", "bmp", b"picture", &LABELS[..], "end with png, jpg, jpeg"),
            ("three", "png", b"picture", &[Label { class: 2, ..LABELS[0] }], "class 2 has no name"),
        ] {
            let message = message(writer.add(stem, extension, image, labels, SIZE));
            assert!(message.contains(part), "{message}");
        }
        assert_eq!(files(dir), before);
    }

    #[test]
    fn what_cannot_be_written_is_told_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let writer = Writer::open_or_create(folder.path(), &["open", "short"]).unwrap();
        fs::remove_dir(folder.path().join("images")).unwrap();
        let error = writer.add("one", "png", b"picture", &LABELS, SIZE).unwrap_err().to_string();
        assert!(error.contains("images/one.png cannot be written"), "{error}");
        assert_eq!(files(folder.path()), ["data.yaml", "labels/one.txt"]);
    }
}
