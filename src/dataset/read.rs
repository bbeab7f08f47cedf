//! Finding a dataset's pictures and their label files.
//!
//! A picture's labels lie where Ultralytics looks: the last `images` among its folders becomes `labels`, and the file's
//! extension `txt`. A picture without that file shows nothing.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, Read},
    path::{Component, Path, PathBuf, absolute},
};

use anyhow::{Context, anyhow, bail, ensure};

use super::{
    labels::{BadLabels, Object, Rules, parse},
    manifest::{self, Manifest},
};
use crate::vision::{LABELLED_EXTENSIONS as EXTENSIONS, has_extension};

/// A label file has at most so many bytes, some hundred thousand objects.
const LABEL_BYTES_MAX: u64 = 8 << 20;

/// A list has at most so many bytes, about a million pictures.
const LIST_BYTES_MAX: u64 = 64 << 20;

/// One part of a dataset, as `val`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    /// What it was opened by.
    pub path: PathBuf,
    /// Names of the classes; empty where the dataset does not say.
    pub names: Vec<String>,
    /// The pictures, sorted by their paths.
    pub pictures: Vec<PathBuf>,
    /// Lines of its lists that name no picture, by their extension; they are left out.
    pub lines_left_out: usize,
    keypoint_numbers: usize,
}

/// What the pictures of a [`Dataset`] show.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Labels {
    /// For each picture its objects; none for background.
    pub objects: Vec<Vec<Object>>,
    /// Pictures without a label file.
    pub without_file: usize,
    /// Label files with a box that sticks out of its picture; such boxes count as they are.
    pub sticking_out: Vec<PathBuf>,
}

impl Labels {
    /// What does not stop anybody from measuring with these labels, but may surprise.
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        if self.without_file > 0 {
            remarks.push(format!(
                "pictures without a label file, which count as showing nothing: {} of {}",
                self.without_file,
                self.objects.len()
            ));
        }
        if let Some(first) = self.sticking_out.first() {
            remarks.push(format!(
                "label files with boxes that reach beyond their picture, which count as they are: {}, the first {}",
                self.sticking_out.len(),
                first.display()
            ));
        }
        remarks
    }

    /// Refuses labels of which none shows an object. `dataset` and `split` are what they are of.
    ///
    /// # Errors
    /// Where there is nothing to measure against.
    pub fn check(&self, dataset: &Path, split: &str) -> anyhow::Result<()> {
        ensure!(
            self.objects.iter().any(|objects| !objects.is_empty()),
            "dataset {}: none of the {} pictures of {split} shows an object; without any there is nothing to measure \
             against",
            dataset.display(),
            self.objects.len()
        );
        Ok(())
    }
}

impl Dataset {
    /// Opens one split (`train`, `val`, `test`) of a dataset: a `data.yaml`, a folder with one, or a folder with `images`
    /// and `labels`, which may hold the splits or lie in them.
    ///
    /// # Errors
    /// Where there is no such dataset or split, or no picture in it; says what was looked for. Where a picture's path is
    /// no UTF-8, which no result could name.
    pub fn open(path: &Path, split: &str) -> anyhow::Result<Self> {
        let named = || format!("dataset {}", path.display());
        let meta = fs::metadata(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                anyhow!(
                    "{}: there is no such file or folder; give data.yaml or a folder with images/ and labels/",
                    named()
                )
            }
            _ => anyhow!("{} cannot be read ({error}); check the permissions", named()),
        })?;
        let manifest = if meta.is_dir() { manifest_in(path).with_context(named)? } else { Some(path.to_owned()) };
        let mut dataset = match manifest {
            Some(file) => Self::described(&file, split).with_context(|| format!("dataset {}", file.display()))?,
            None => Self::in_folder(path, split).with_context(named)?,
        };
        dataset.path = path.to_owned();
        dataset.pictures.sort();
        dataset.pictures.dedup();
        if let Some(odd) = dataset.pictures.iter().find(|picture| picture.to_str().is_none()) {
            bail!("{}: the name of {} is no UTF-8; rename it", named(), odd.display());
        }
        Ok(dataset)
    }

    /// What a `data.yaml` describes.
    fn described(file: &Path, split: &str) -> anyhow::Result<Self> {
        let is_yaml = has_extension(file, &["yaml", "yml"]);
        ensure!(is_yaml, "it is no .yaml; give data.yaml or a folder with images/ and labels/");
        let text = read_text(file, manifest::BYTES_MAX).map_err(|why| anyhow!("it {why}"))?;
        let manifest = Manifest::parse(&text)?;
        let folder = absolute(file)?.parent().map(Path::to_owned).unwrap_or_default();
        let (mut pictures, mut lines_left_out) = (Vec::new(), 0);
        for entry in manifest.split(split)? {
            let places = manifest.places(entry, &folder);
            let Some(place) = places.iter().find(|place| place.exists()) else {
                let looked =
                    places.iter().map(|place| place.display().to_string()).collect::<Vec<_>>().join(" nor at ");
                bail!("{split} is {entry:?}, but nothing is at {looked}; correct {split} or path");
            };
            let found = if place.is_dir() {
                list_folder(place)?
            } else {
                let (found, left_out) = listed_in(place, &folder)?;
                lines_left_out += left_out;
                found
            };
            ensure!(
                !found.is_empty(),
                "{split}: {} holds no pictures ({}); put some there, or correct {split}",
                place.display(),
                EXTENSIONS.join(" ")
            );
            pictures.extend(found);
        }
        let (names, keypoint_numbers) = (manifest.names, manifest.keypoint_numbers);
        Ok(Self { path: PathBuf::new(), names, pictures, lines_left_out, keypoint_numbers })
    }

    /// A folder without `data.yaml`.
    fn in_folder(folder: &Path, split: &str) -> anyhow::Result<Self> {
        let images = folder.join("images");
        let spelled: &[&str] = if split == "val" { &["val", "valid", "validation"] } else { &[split] };
        let mut places: Vec<PathBuf> =
            spelled.iter().flat_map(|split| [images.join(split), folder.join(split).join("images")]).collect();
        let is_split_up = ["train", "val", "valid", "validation", "test"].iter().any(|one| images.join(one).is_dir());
        if !is_split_up {
            places.push(images);
        }
        let Some(place) = places.iter().find(|place| place.is_dir()) else {
            let [inside, outside] = [&places[0], &places[1]].map(|place| place.strip_prefix(folder).unwrap_or(place));
            bail!(
                "it has neither data.yaml nor {}/ nor {}/ nor images/ itself; give a folder with images/ and labels/",
                inside.display(),
                outside.display()
            );
        };
        let pictures = list_folder(&absolute(place)?)?;
        ensure!(
            !pictures.is_empty(),
            "{} holds no pictures ({}); put some there",
            place.display(),
            EXTENSIONS.join(" ")
        );
        Ok(Self { path: PathBuf::new(), names: Vec::new(), pictures, lines_left_out: 0, keypoint_numbers: 0 })
    }

    /// Reads all label files. `classes` is how many classes there are where the dataset itself does not say.
    ///
    /// # Errors
    /// [`BadLabels`] with a sentence for each file that cannot be used; and where no picture has a label file.
    pub fn labels(&self, classes: Option<usize>) -> Result<Labels, BadLabels> {
        let classes = if self.names.is_empty() { classes } else { Some(self.names.len()) };
        let rules = Rules { classes, keypoint_numbers: self.keypoint_numbers };
        let (mut labels, mut bad) = (Labels::default(), Vec::new());
        for picture in &self.pictures {
            let file = label_file(picture);
            let text = if is_missing(&file) {
                labels.without_file += 1;
                Ok(String::new())
            } else {
                read_text(&file, LABEL_BYTES_MAX).map_err(|why| format!("it {why}"))
            };
            let objects =
                text.and_then(|text| parse(&text, rules).map_err(|(line, why)| format!("line {line}: {why}")));
            match objects {
                Ok(objects) => {
                    if objects.iter().any(Object::sticks_out) {
                        labels.sticking_out.push(file);
                    }
                    labels.objects.push(objects);
                }
                Err(why) => bad.push(format!("label file {}: {why}", file.display())),
            }
        }
        if labels.without_file == self.pictures.len()
            && let Some(picture) = self.pictures.first()
        {
            bad.push(format!(
                "dataset {}: none of its {} pictures has a label file; that of {} would be {}",
                self.path.display(),
                self.pictures.len(),
                picture.display(),
                label_file(picture).display()
            ));
        }
        if bad.is_empty() { Ok(labels) } else { Err(BadLabels(bad)) }
    }
}

fn is_missing(file: &Path) -> bool {
    fs::metadata(file).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// The text of a file of at most so many bytes; else what is the matter with "it", and what to do.
pub(super) fn read_text(file: &Path, bytes_max: u64) -> Result<String, String> {
    let unreadable = |error: io::Error| format!("cannot be read ({error}); check the path and the permissions");
    // Whatever else may stand there, as a pipe, could keep the reader waiting for ever.
    if !fs::metadata(file).map_err(unreadable)?.is_file() {
        return Err("is no file; put one in its place".to_owned());
    }
    let mut bytes = Vec::new();
    File::open(file).and_then(|file| file.take(bytes_max + 1).read_to_end(&mut bytes)).map_err(unreadable)?;
    if bytes.len() as u64 > bytes_max {
        return Err(format!("has more than {} MiB, which is none of this kind; give another", bytes_max >> 20));
    }
    String::from_utf8(bytes).map_err(|_| "is no text; save it as UTF-8".to_owned())
}

/// Where the labels of a picture lie.
fn label_file(picture: &Path) -> PathBuf {
    let parts: Vec<Component<'_>> = picture.components().collect();
    let folders = &parts[..parts.len().saturating_sub(1)];
    let last = folders.iter().rposition(|part| part.as_os_str() == "images");
    let swap = |(place, part): (usize, &Component<'_>)| match last {
        Some(last) if last == place => PathBuf::from("labels"),
        _ => PathBuf::from(part.as_os_str()),
    };
    parts.iter().enumerate().map(swap).collect::<PathBuf>().with_extension("txt")
}

/// The `data.yaml` of a folder, or the only YAML file in it that describes a dataset.
fn manifest_in(folder: &Path) -> anyhow::Result<Option<PathBuf>> {
    let usual = ["data.yaml", "data.yml"].map(|name| folder.join(name)).into_iter().find(|file| file.is_file());
    if usual.is_some() {
        return Ok(usual);
    }
    let entries =
        fs::read_dir(folder).map_err(|error| anyhow!("the folder cannot be read ({error}); check its permissions"))?;
    let mut found: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    found.retain(|file| {
        let describes = |text: String| Manifest::is_in(&text);
        has_extension(file, &["yaml", "yml"]) && read_text(file, manifest::BYTES_MAX).map_or(true, describes)
    });
    found.sort();
    let count = found.len();
    ensure!(
        count < 2,
        "the folder has {count} .yaml files that may describe it and none is data.yaml; give one of them"
    );
    Ok(found.pop())
}

/// The pictures of a folder and of the folders in it, each folder once, however many links lead there.
fn list_folder(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let (mut pictures, mut seen) = (Vec::new(), HashSet::new());
    // Links come last, so that a folder keeps its own name where it also lies here.
    let (mut folders, mut links) = (vec![folder.to_owned()], Vec::new());
    while let Some(folder) = folders.pop().or_else(|| links.pop()) {
        let unreadable = |error| anyhow!("{} cannot be read ({error}); check its permissions", folder.display());
        if !seen.insert(folder.canonicalize().map_err(unreadable)?) {
            continue;
        }
        for entry in fs::read_dir(&folder).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.')) {
                continue;
            }
            if path.is_dir() {
                if path.is_symlink() { &mut links } else { &mut folders }.push(path);
            } else if has_extension(&path, &EXTENSIONS) {
                pictures.push(path);
            }
        }
        links.sort();
    }
    Ok(pictures)
}

/// The pictures that a text file lists, one a line, and how many lines name none; those that begin with `./` lie beside
/// it.
fn listed_in(list: &Path, folder: &Path) -> anyhow::Result<(Vec<PathBuf>, usize)> {
    if has_extension(list, &EXTENSIONS) {
        return Ok((vec![list.to_owned()], 0));
    }
    let text = read_text(list, LIST_BYTES_MAX)
        .map_err(|why| anyhow!("{}, taken for a list of pictures, {why}", list.display()))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let beside = list.parent().unwrap_or(folder);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let (lines, others): (Vec<&str>, Vec<&str>) = lines.partition(|line| has_extension(Path::new(line), &EXTENSIONS));
    let place = |line: &str| {
        let inside = line.strip_prefix("./").unwrap_or(line);
        [beside.join(inside), folder.join(inside)].into_iter().find(|place| place.exists())
    };
    // What is nowhere keeps its name, to be told when it is read.
    let named = |line: &str| place(line).unwrap_or_else(|| absolute(line).unwrap_or_else(|_| line.into()));
    Ok((lines.into_iter().map(named).collect(), others.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with empty pictures and label files with one object each.
    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let text = match path.extension().unwrap().to_str().unwrap() {
                "txt" => "0 0.5 0.5 1 1\n",
                "yaml" => "path: /nowhere\nval: images/val\ntrain: list.txt\nnames: [a]\n",
                _ => "",
            };
            fs::write(path, text).unwrap();
        }
        folder
    }

    fn pictures(folder: &tempfile::TempDir, inside: &str, split: &str) -> Result<Vec<String>, String> {
        let dataset = Dataset::open(&folder.path().join(inside), split).map_err(|error| format!("{error:#}"))?;
        let name = |path: &PathBuf| path.strip_prefix(folder.path()).unwrap().display().to_string();
        Ok(dataset.pictures.iter().map(name).collect())
    }

    #[test]
    fn folders_are_laid_out_in_three_ways() {
        let plain = folder(&["images/b.PNG", "images/a.jpg", "images/sub/c.jpg", "images/.d.jpg", "images/e.gif"]);
        assert_eq!(pictures(&plain, "", "val").unwrap(), ["images/a.jpg", "images/b.PNG", "images/sub/c.jpg"]);
        let inside = folder(&["images/val/a.jpg", "images/train/b.jpg"]);
        assert_eq!(pictures(&inside, "", "val").unwrap(), ["images/val/a.jpg"]);
        assert!(pictures(&inside, "", "test").is_err());
        let outside = folder(&["valid/images/a.jpg", "train/images/b.jpg"]);
        assert_eq!(pictures(&outside, "", "val").unwrap(), ["valid/images/a.jpg"]);
        assert_eq!(pictures(&outside, "train", "val").unwrap(), ["train/images/b.jpg"]);
    }

    #[test]
    fn a_description_leads_to_folders_and_lists() {
        let described = folder(&["data.yaml", "images/val/a.jpg", "images/b.jpg", "list.txt"]);
        assert_eq!(pictures(&described, "", "val").unwrap(), ["images/val/a.jpg"]);
        fs::write(described.path().join("list.txt"), "\u{feff}./images/b.jpg\nimages/val/a.jpg\n\nREADME\n").unwrap();
        assert_eq!(pictures(&described, "data.yaml", "train").unwrap(), ["images/b.jpg", "images/val/a.jpg"]);
        assert_eq!(Dataset::open(described.path(), "val").unwrap().names, ["a"]);
        assert_eq!(Dataset::open(described.path(), "train").unwrap().lines_left_out, 1);
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_counts_once_and_by_its_own_name() {
        use std::os::unix::fs::symlink;

        let linked = folder(&["images/b/a.jpg", "elsewhere/c.jpg"]);
        for (target, link) in [("..", "images/b/up"), ("b", "images/a"), ("../elsewhere", "images/d")] {
            symlink(target, linked.path().join(link)).unwrap();
        }
        assert_eq!(pictures(&linked, "", "val").unwrap(), ["images/b/a.jpg", "images/d/c.jpg"]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_name_that_is_no_text_is_told() {
        use std::os::unix::ffi::OsStrExt;

        let odd = folder(&["images/a.jpg"]);
        fs::write(odd.path().join("images").join(std::ffi::OsStr::from_bytes(b"\xff.jpg")), "").unwrap();
        let error = pictures(&odd, "", "val").unwrap_err();
        assert!(error.ends_with(".jpg is no UTF-8; rename it"), "{error}");
    }

    #[test]
    fn other_yaml_files_describe_nothing() {
        let stray = folder(&["images/a.jpg"]);
        fs::write(stray.path().join("args.yaml"), "task: detect\nval: true\nsplit: val\n").unwrap();
        assert_eq!(pictures(&stray, "", "val").unwrap(), ["images/a.jpg"]);
        fs::write(stray.path().join("board.yaml"), "val: images\nnames: [open]\n").unwrap();
        assert_eq!(Dataset::open(stray.path(), "val").unwrap().names, ["open"]);
    }

    #[test]
    fn files_of_any_size_and_kind_are_refused() {
        let odd = folder(&["data.yaml", "images/val/a.jpg", "labels/val/a.txt"]);
        let set_len = |file: &str, bytes| File::create(odd.path().join(file)).unwrap().set_len(bytes).unwrap();
        set_len("labels/val/a.txt", LABEL_BYTES_MAX + 1);
        let labels = || Dataset::open(odd.path(), "val").unwrap().labels(None).unwrap_err().0.remove(0);
        assert!(labels().contains("a.txt: it has more than 8 MiB"), "{}", labels());
        fs::remove_file(odd.path().join("labels/val/a.txt")).unwrap();
        fs::create_dir(odd.path().join("labels/val/a.txt")).unwrap();
        assert!(labels().contains("a.txt: it is no file"), "{}", labels());
        set_len("list.txt", LIST_BYTES_MAX + 1);
        assert!(
            pictures(&odd, "", "train").unwrap_err().contains("list.txt, taken for a list of pictures, has more than")
        );
        set_len("data.yaml", manifest::BYTES_MAX + 1);
        assert!(pictures(&odd, "", "val").unwrap_err().contains("data.yaml: it has more than 1 MiB"));
    }

    #[test]
    fn what_is_not_there_is_said() {
        let empty = folder(&["other/a.jpg", "bare/images/a.txt", "two/a.yaml", "two/b.yaml", "data/data.yaml"]);
        for (inside, split, part) in [
            ("none", "val", "there is no such file or folder; give data.yaml"),
            ("other", "val", "neither data.yaml nor images/val/ nor val/images/ nor images/ itself"),
            ("bare", "val", "holds no pictures"),
            ("two", "val", "2 .yaml files"),
            ("other/a.jpg", "val", "it is no .yaml"),
            ("data", "val", "val is \"images/val\", but nothing is at /nowhere/images/val nor at "),
            ("data", "test", "it has no key test; choose another split (train, val)"),
        ] {
            let error = pictures(&empty, inside, split).unwrap_err();
            assert!(error.contains(part), "{inside}: {error}");
        }
    }

    #[test]
    fn labels_lie_beside_the_last_images() {
        for (picture, label) in [
            ("/d/images/val/a.b.jpg", "/d/labels/val/a.b.txt"),
            ("/images/x/images/a.jpg", "/images/x/labels/a.txt"),
            ("/d/a.jpg", "/d/a.txt"),
            ("images/a.jpg", "labels/a.txt"),
        ] {
            assert_eq!(label_file(Path::new(picture)), Path::new(label));
        }
    }

    #[test]
    fn every_bad_label_file_is_named() {
        let labelled = folder(&["images/a.jpg", "images/b.jpg", "images/c.jpg", "images/d.jpg", "labels/a.txt"]);
        let read = |classes| Dataset::open(labelled.path(), "val").unwrap().labels(classes);
        let labels = read(None).unwrap();
        assert_eq!(labels.objects.iter().map(Vec::len).collect::<Vec<_>>(), [1, 0, 0, 0]);
        assert_eq!((labels.without_file, labels.sticking_out.len()), (3, 0));
        fs::write(labelled.path().join("labels/b.txt"), "5 0.9 0.9 0.5 0.5").unwrap();
        assert_eq!(read(None).unwrap().sticking_out, [labelled.path().join("labels/b.txt")]);
        fs::write(labelled.path().join("labels/c.txt"), "0 3 0.5 0.5 0.5").unwrap();
        fs::write(labelled.path().join("labels/d.txt"), [0xff, 0xfe, 0x00]).unwrap();
        let BadLabels(bad) = read(Some(2)).unwrap_err();
        assert_eq!(bad.len(), 3);
        assert!(
            bad[0].ends_with(
                "b.txt: line 1: there is no class 5; the dataset has the classes 0 to 1, correct the line or names"
            ),
            "{}",
            bad[0]
        );
        assert!(bad[2].ends_with("d.txt: it is no text; save it as UTF-8"), "{}", bad[2]);
    }

    #[test]
    fn a_dataset_without_label_files_is_none() {
        let bare = folder(&["images/a.jpg"]);
        let BadLabels(bad) = Dataset::open(bare.path(), "val").unwrap().labels(None).unwrap_err();
        assert!(
            bad[0].contains("none of its 1 pictures has a label file") && bad[0].contains("labels/a.txt"),
            "{bad:?}"
        );
    }
}
