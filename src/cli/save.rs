//! `--save`: pictures with boxes drawn on them, and label files, under names that do not collide.

use std::{
    collections::HashMap,
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use andon::{detection::Detections, draw, format::yolo_txt, vision::RgbImage, whole_file};
use anyhow::{Context, bail};

/// The folder of `--save`.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// The last number given for each stem: `bus` is 1, `bus-2` is 2.
    taken: HashMap<String, u64>,
    labels: Option<Labels>,
}

/// How label files are written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Labels {
    /// A confidence behind the coordinates.
    pub(super) with_confidence: bool,
}

impl Folder {
    /// Makes the folder where it is missing.
    pub(super) fn create(path: &Path, labels: Option<Labels>) -> anyhow::Result<Self> {
        let inner = if labels.is_some() { path.join("labels") } else { path.to_owned() };
        fs::create_dir_all(&inner).map_err(|error| whole_file::refusal(&inner, &error)).context("--save")?;
        Ok(Self { path: path.to_owned(), taken: HashMap::new(), labels })
    }

    /// Saves what was found in one picture: `BASE.EXTENSION` with boxes, and `labels/BASE.txt`.
    ///
    /// A base name that an earlier picture of this run has gets `-2`, `-3`, … as Ultralytics does. Files of earlier runs
    /// are overwritten, the input itself never.
    pub(super) fn picture(&mut self, source: &str, picture: &RgbImage, found: &Detections) -> anyhow::Result<()> {
        let source = Path::new(source);
        let base = self.base(&file_stem(source));
        let file = self.path.join(format!("{base}.{}", extension(source)));
        if is_same_file(&file, source) {
            bail!("{} would be overwritten by its own drawing; choose another folder for --save", source.display());
        }
        let mut drawing = picture.clone();
        draw::draw(&mut drawing, &found.items);
        draw::save(&drawing, &file).context("--save")?;
        if let Some(labels) = self.labels {
            let file = self.path.join("labels").join(format!("{base}.txt"));
            write_labels(&file, &yolo_txt::labels(found, labels.with_confidence)).context("--save")?;
        }
        Ok(())
    }

    /// A name that no other picture of this run has. One entry a stem is kept, so that a stream fills no memory.
    fn base(&mut self, stem: &str) -> String {
        if !self.is_taken(stem) {
            self.taken.insert(stem.to_owned(), 1);
            return stem.to_owned();
        }
        let mut number = self.taken.get(stem).copied().unwrap_or(1);
        loop {
            number += 1;
            let base = format!("{stem}-{number}");
            // A picture that is itself called `bus-2` may have come before the second `bus`.
            if !self.taken.contains_key(&base) {
                self.taken.insert(stem.to_owned(), number);
                return base;
            }
        }
    }

    fn is_taken(&self, base: &str) -> bool {
        let counted = |(stem, number): (&str, &str)| {
            number.parse::<u64>().is_ok_and(|number| self.taken.get(stem).is_some_and(|last| number <= *last))
        };
        self.taken.contains_key(base) || base.rsplit_once('-').is_some_and(counted)
    }
}

fn file_stem(source: &Path) -> String {
    let stem = source.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    match stem.as_str() {
        "" | "-" => "stdin".to_owned(),
        _ => stem.replace(['/', '\\', ':', '?', '*'], "_"),
    }
}

/// The input's own, where pictures are written with it.
fn extension(source: &Path) -> &str {
    const KEPT: [&str; 3] = ["jpg", "jpeg", "png"];
    let own = source.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    if KEPT.contains(&own.to_lowercase().as_str()) { own } else { "jpg" }
}

fn is_same_file(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// A picture without detections has no label file, and none that an earlier run left.
fn write_labels(file: &Path, labels: &str) -> anyhow::Result<()> {
    if !labels.is_empty() {
        return whole_file::write(file, labels.as_bytes());
    }
    match fs::remove_file(file) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(whole_file::refusal(file, &error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_do_not_collide() {
        let mut folder = Folder { path: PathBuf::new(), taken: HashMap::new(), labels: None };
        let stems = ["bus", "bus-2", "bus", "bus", "bus-2", "bus-4", "zidane"];
        let bases = ["bus", "bus-2", "bus-3", "bus-4", "bus-2-2", "bus-4-2", "zidane"];
        assert_eq!(stems.map(|stem| folder.base(stem)), bases);
    }

    #[test]
    fn extensions_that_cannot_be_written_become_jpeg() {
        let of = |source| extension(Path::new(source)).to_owned();
        assert_eq!(["a.PNG", "a.gif", "a.b/c", "-"].map(of), ["PNG", "jpg", "jpg", "jpg"]);
        assert_eq!(file_stem(Path::new("-")), "stdin");
        assert_eq!(file_stem(Path::new("rtsp://cam:554/live?x=1")), "live_x=1");
    }
}
