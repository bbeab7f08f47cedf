//! `data.yaml`: where a dataset's pictures lie and what its classes are called.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail, ensure};
use yaml_rust2::{
    ScanError, Yaml, YamlLoader,
    parser::{Event, Parser},
};

/// What a `data.yaml` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Manifest {
    /// `path`: the folder that the splits are relative to.
    pub(super) path: Option<PathBuf>,
    /// `train`, `val`, `test`, … as they stand: folders, or text files that list pictures.
    pub(super) splits: Vec<(String, Vec<String>)>,
    /// `names`, or as many made-up ones as `nc` says; empty where neither is there.
    pub(super) names: Vec<String>,
    /// `kpt_shape`: numbers of one object's keypoints.
    pub(super) keypoint_numbers: usize,
}

/// Longer files are no description of a dataset, in bytes. ImageNet's, with all its names, has 50 kB.
pub(super) const BYTES_MAX: u64 = 1 << 20;

/// Lists in lists beyond this are no description either.
const DEPTH_MAX: usize = 16;

/// More keypoints than this are a slip of the pen.
const KEYPOINTS_MAX: i64 = 10_000;

/// The keys that name a part of a dataset, each with what some call it.
const SPLITS: [(&str, &[&str]); 4] =
    [("train", &[]), ("val", &["validation", "valid"]), ("test", &[]), ("minival", &[])];

impl Manifest {
    /// Reads the text of a `data.yaml`.
    ///
    /// # Errors
    /// Where it is no YAML, or a key holds what it cannot; says which.
    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        let document = &load(text)?;
        let path = match &document["path"] {
            Yaml::BadValue | Yaml::Null => None,
            Yaml::String(path) => Some(PathBuf::from(path)),
            _ => bail!("path is no text; give it the dataset's folder"),
        };
        let mut splits = Vec::new();
        for (key, others) in SPLITS {
            let spelled = [&[key], others].concat().into_iter().find(|spelled| !is_absent(&document[*spelled]));
            if let Some(spelled) = spelled {
                let entries = entries(&document[spelled]).with_context(|| format!("{spelled} is no folder"))?;
                splits.push((key.to_owned(), entries));
            }
        }
        let keypoint_numbers = match &document["kpt_shape"] {
            Yaml::Array(shape) => match shape.iter().map(Yaml::as_i64).collect::<Option<Vec<_>>>().as_deref() {
                Some(&[count @ 1..=KEYPOINTS_MAX, numbers @ 2..=3]) => usize::try_from(count * numbers)?,
                _ => {
                    bail!("kpt_shape is not of the form [17, 3]; give how many keypoints, and 2 or 3 numbers for each")
                }
            },
            Yaml::BadValue | Yaml::Null => 0,
            _ => bail!("kpt_shape is not of the form [17, 3]; give how many keypoints, and 2 or 3 numbers for each"),
        };
        Ok(Self { path, splits, names: names(&document["names"], &document["nc"])?, keypoint_numbers })
    }

    /// Whether a YAML file describes a dataset, rather than anything else that lies beside the pictures. One that is no
    /// YAML counts, so that it is told.
    pub(super) fn is_in(text: &str) -> bool {
        let leads = |key: &str, document: &Yaml| matches!(document[key], Yaml::String(_) | Yaml::Array(_));
        load(text).map_or(true, |document| {
            let splits = SPLITS.iter().flat_map(|(key, others)| [&[*key], *others].concat());
            !is_absent(&document["names"]) || splits.into_iter().any(|key| leads(key, &document))
        })
    }

    /// The folders and lists of a split.
    ///
    /// # Errors
    /// Where there is no such split; says which there are.
    pub(super) fn split(&self, name: &str) -> anyhow::Result<&[String]> {
        let known = || self.splits.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
        match self.splits.iter().find(|(split, _)| split == name) {
            Some((_, entries)) => Ok(entries),
            None if self.splits.is_empty() => bail!("it has no key {name}; say there where the pictures lie"),
            None => bail!("it has no key {name}; choose another split ({}) or add it", known()),
        }
    }

    /// Where an entry of a split may lie, the likeliest first.
    ///
    /// `folder` is the one of `data.yaml`. An entry is relative to `path`, and `path` to `data.yaml` or to where the
    /// program runs. Datasets move: where `path` leads nowhere, what lies beside `data.yaml` counts. And some exports
    /// write `../valid/images` for what lies in `valid/images`.
    pub(super) fn places(&self, entry: &str, folder: &Path) -> Vec<PathBuf> {
        let mut roots = match &self.path {
            Some(path) if path.is_absolute() => vec![path.clone()],
            Some(path) => vec![folder.join(path), path.clone()],
            None => Vec::new(),
        };
        roots.push(folder.to_owned());
        let mut places: Vec<PathBuf> = Vec::new();
        for root in roots {
            let beside = entry.strip_prefix("../").map(|inside| root.join(inside));
            for place in [Some(root.join(entry)), beside].into_iter().flatten() {
                if !places.contains(&place) {
                    places.push(place);
                }
            }
        }
        places
    }
}

/// The one document of a text, which has keys.
fn load(text: &str) -> anyhow::Result<Yaml> {
    check_events(text)?;
    let mut documents = YamlLoader::load_from_str(text).map_err(|error| anyhow!(no_yaml(&error)))?;
    ensure!(
        documents.len() == 1,
        "it holds {} YAML documents; it takes one, with the keys path, train, val and names",
        documents.len()
    );
    let document = documents.remove(0);
    ensure!(document.is_hash(), "it holds no keys; it takes path, train, val and names");
    Ok(document)
}

/// Refuses what the loader would take boundless memory or stack for: it copies what an alias refers to, aliases in it
/// included, and goes into lists by recursion.
fn check_events(text: &str) -> anyhow::Result<()> {
    let mut parser = Parser::new_from_str(text);
    let mut depth = 0;
    loop {
        let (event, mark) = parser.next_token().map_err(|error| anyhow!(no_yaml(&error)))?;
        match event {
            Event::StreamEnd => return Ok(()),
            Event::Alias(_) => bail!("line {} has an alias (*); write out what it stands for", mark.line()),
            Event::SequenceStart(..) | Event::MappingStart(..) => depth += 1,
            Event::SequenceEnd | Event::MappingEnd => depth -= 1,
            _ => {}
        }
        ensure!(
            depth <= DEPTH_MAX,
            "line {} is nested more than {DEPTH_MAX} deep; it takes path, train, val and names",
            mark.line()
        );
    }
}

fn no_yaml(error: &ScanError) -> String {
    format!("it is no YAML ({error}); correct that line")
}

fn is_absent(value: &Yaml) -> bool {
    matches!(value, Yaml::BadValue | Yaml::Null)
}

fn entries(value: &Yaml) -> anyhow::Result<Vec<String>> {
    let text = |value: &Yaml| value.as_str().map(str::to_owned).context("it takes a folder, a list file, or several");
    match value {
        Yaml::Array(several) => several.iter().map(text).collect(),
        one => Ok(vec![text(one)?]),
    }
}

fn names(names: &Yaml, count: &Yaml) -> anyhow::Result<Vec<String>> {
    let count = match count {
        Yaml::BadValue | Yaml::Null => None,
        value => {
            Some(whole(value).context("nc is no whole number of classes; give how many there are, or leave it out")?)
        }
    };
    let names = match names {
        Yaml::BadValue | Yaml::Null => {
            return Ok((0..count.unwrap_or(0)).map(|class| format!("class_{class}")).collect());
        }
        Yaml::Array(list) => list.iter().map(name).collect::<anyhow::Result<Vec<_>>>()?,
        Yaml::Hash(map) => {
            let mut list = vec![None; map.len()];
            for (key, value) in map {
                let class = whole(key).filter(|class| *class < list.len());
                let class = class.with_context(|| {
                    let last = list.len().saturating_sub(1);
                    format!(
                        "names has the key {}; {} names are numbered 0 to {last}, correct it",
                        scalar(key),
                        list.len()
                    )
                })?;
                list[class] = Some(name(value)?);
            }
            list.into_iter().collect::<Option<_>>().context("names gives one number twice; number them from 0 up")?
        }
        _ => bail!("names is neither a list nor numbered names; write names: [open, short]"),
    };
    if let Some(count) = count {
        ensure!(count == names.len(), "nc is {count}, but there are {} names; correct one of them", names.len());
    }
    Ok(names)
}

fn name(value: &Yaml) -> anyhow::Result<String> {
    match value {
        Yaml::String(_) | Yaml::Integer(_) | Yaml::Real(_) | Yaml::Boolean(_) => Ok(scalar(value)),
        _ => bail!("names holds something that is no name; put a name with : or [ in it into quotes"),
    }
}

fn scalar(value: &Yaml) -> String {
    match value {
        Yaml::String(text) | Yaml::Real(text) => text.clone(),
        Yaml::Integer(number) => number.to_string(),
        Yaml::Boolean(value) => value.to_string(),
        other => format!("{other:?}"),
    }
}

fn whole(value: &Yaml) -> Option<usize> {
    const CLASSES_MAX: usize = 1_000_000;
    let number = value.as_i64().or_else(|| value.as_str()?.parse().ok())?;
    usize::try_from(number).ok().filter(|number| *number <= CLASSES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_a_list_or_numbered() {
        let names = |text| Manifest::parse(text).map(|manifest| manifest.names);
        assert_eq!(names("names: [open, 'pin-hole', 3]").unwrap(), ["open", "pin-hole", "3"]);
        assert_eq!(names("names:\n  1: short\n  0: open\nnc: 2").unwrap(), ["open", "short"]);
        assert_eq!(names("nc: 2").unwrap(), ["class_0", "class_1"]);
        assert_eq!(names("val: images").unwrap(), [""; 0]);
        for (bad, part) in [
            ("names: [a, b]\nnc: 3", "nc is 3, but there are 2 names"),
            ("names: {0: a, 2: b}", "the key 2; 2 names are numbered 0 to 1"),
            ("names: {0: a, '0': b}", "twice"),
            ("names: a", "neither a list"),
            ("names: [[a]]", "no name"),
            ("nc: many", "nc is no whole number"),
            ("nc: 99999999999", "nc is no whole number"),
            ("- a", "it holds no keys"),
            ("", "0 YAML documents"),
            ("names: [a", "no YAML"),
            ("path: 3", "path is no text"),
            ("val: {a: b}", "val is no folder"),
            ("kpt_shape: [17]", "[17, 3]"),
            ("kpt_shape: 17", "[17, 3]"),
            ("kpt_shape: [0, 3]", "[17, 3]"),
            ("kpt_shape: [-17, 3]", "[17, 3]"),
            ("kpt_shape: [9223372036854775807, 3]", "[17, 3]"),
        ] {
            let error = format!("{:#}", names(bad).unwrap_err());
            assert!(error.contains(part), "{bad:?}: {error}");
        }
    }

    #[test]
    fn what_would_take_all_memory_is_refused() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..40 {
            let before = format!("*a{}, ", level - 1).repeat(8);
            bomb += &format!("a{level}: &a{level} [{before}]\n");
        }
        let flow = |depth| format!("names: {}a{}", "[".repeat(depth), "]".repeat(depth));
        for (bad, part) in [
            (bomb, "line 2 has an alias (*); write out"),
            (format!("names:\n{}a", "- ".repeat(200_000)), "line 2 is nested more than 16 deep"),
            (format!("{}a", "? ".repeat(200_000)), "line 1 is nested more than 16 deep"),
            (flow(16), "line 1 is nested more than 16 deep"),
            (flow(200_000), "recursion limit"),
            (flow(15), "no name"),
        ] {
            let error = Manifest::parse(&bad).unwrap_err().to_string();
            assert!(error.contains(part), "{}: {error}", &bad[..50]);
        }
    }

    #[test]
    fn a_description_has_names_or_leads_somewhere() {
        for (text, describes) in [
            ("names: [a]", true),
            ("nc: 1\nvalid: images", true),
            ("train: [a, b]", true),
            ("names: [a", true),
            ("mode: train\nval: true\nsplit: val\nnames:", false),
            ("- names", true),
        ] {
            assert_eq!(Manifest::is_in(text), describes, "{text}");
        }
    }

    #[test]
    fn splits_have_their_names() {
        let manifest = Manifest::parse("train: a\nvalid: [b, c.txt]\ntest:\nkpt_shape: [17, 3]").unwrap();
        assert_eq!(manifest.split("val").unwrap(), ["b", "c.txt"]);
        assert_eq!(manifest.keypoint_numbers, 51);
        let error = manifest.split("test").unwrap_err().to_string();
        assert_eq!(error, "it has no key test; choose another split (train, val) or add it");
    }

    #[test]
    fn places_begin_with_the_path() {
        let places = |path: &str, entry| {
            let manifest = Manifest { path: (!path.is_empty()).then(|| path.into()), ..Manifest::default() };
            let places = manifest.places(entry, Path::new("/d"));
            places.iter().map(|place| place.display().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(places("", "val"), ["/d/val"]);
        assert_eq!(places("/x", "val"), ["/x/val", "/d/val"]);
        assert_eq!(places("x", "val"), ["/d/x/val", "x/val", "/d/val"]);
        assert_eq!(places("", "../val"), ["/d/../val", "/d/val"]);
        assert_eq!(places("", "/abs/val"), ["/abs/val"]);
    }
}
