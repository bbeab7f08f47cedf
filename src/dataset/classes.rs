//! Which class of a model is which of a dataset.
//!
//! Both number their classes; where both also name them, the names decide. A model may know more classes than the
//! dataset: what it finds of those is left out, as if it had not been asked for.

use std::{path::Path, sync::Arc};

use anyhow::bail;

use super::Object;
use crate::detection::Detection;

/// The way from a model's classes to a dataset's.
#[derive(Debug)]
pub struct Classes {
    /// The names that the figures are given under.
    names: Vec<Arc<str>>,
    model: Vec<Arc<str>>,
    /// For each of the model's classes the dataset's.
    to_dataset: Vec<Option<usize>>,
    by_number: bool,
}

impl Classes {
    /// Matches names; a side that has none goes by number.
    pub fn new(model: &[Arc<str>], dataset: &[String]) -> Self {
        let dataset: Vec<Arc<str>> = dataset.iter().map(|name| name.as_str().into()).collect();
        let by_number = is_unnamed(model) || is_unnamed(&dataset);
        let names = if dataset.is_empty() || (is_unnamed(&dataset) && !is_unnamed(model)) { model } else { &dataset };
        let like = |class: usize, name: &Arc<str>| {
            let known = by_number && (dataset.is_empty() || class < dataset.len());
            if by_number { known.then_some(class) } else { place(&dataset, name) }
        };
        let to_dataset = model.iter().enumerate().map(|(class, name)| like(class, name)).collect();
        Self { names: names.to_vec(), model: model.to_vec(), to_dataset, by_number }
    }

    /// Refuses a dataset with objects that the model, of this name, cannot know.
    ///
    /// # Errors
    /// Names the classes that the model lacks.
    pub fn check(&self, objects: &[Vec<Object>], dataset: &Path, model: &str) -> anyhow::Result<()> {
        let mut lacking: Vec<usize> = objects.iter().flatten().map(|object| object.class).collect();
        lacking.sort_unstable();
        lacking.dedup();
        lacking.retain(|class| !self.to_dataset.contains(&Some(*class)));
        if lacking.is_empty() {
            return Ok(());
        }
        let dataset = dataset.display();
        if self.by_number {
            bail!(
                "dataset {dataset} shows the class {}, but model {model} has {} classes, counted from 0; give the dataset \
                 that belongs to the model",
                lacking[0],
                self.model.len()
            );
        }
        let list = |names: Vec<&str>| {
            const NAMED_MAX: usize = 12;
            let more = if names.len() > NAMED_MAX { ", …" } else { "" };
            format!("{}{more}", names[..names.len().min(NAMED_MAX)].join(", "))
        };
        bail!(
            "dataset {dataset} shows {}, which model {model} does not know (it knows {}); give the dataset that belongs to \
             the model, or state the model's classes with --names",
            list(lacking.iter().map(|class| self.name(*class)).collect()),
            list(self.model.iter().map(|name| &**name).collect())
        )
    }

    /// Gives detections the dataset's classes and names; those of classes that it has not are taken out.
    pub fn translate(&self, found: &mut Vec<Detection>) {
        found.retain_mut(|one| match self.to_dataset.get(one.class).copied().flatten() {
            Some(class) => {
                one.class = class;
                if let Some(name) = self.names.get(class) {
                    one.name = Arc::clone(name);
                }
                true
            }
            None => false,
        });
    }

    /// What a class of the dataset is called.
    pub fn name(&self, class: usize) -> &str {
        self.names.get(class).map_or("?", |name| name)
    }
}

/// The class of this name; else the only one that is called so but for capitals, spaces and hyphens.
fn place(names: &[Arc<str>], wanted: &str) -> Option<usize> {
    if let Some(exact) = names.iter().position(|name| **name == *wanted) {
        return Some(exact);
    }
    let plain = |name: &str| name.to_lowercase().replace([' ', '_', '-'], "");
    let mut like = (0..).zip(names).filter(|(_, name)| plain(name) == plain(wanted)).map(|(class, _)| class);
    like.next().filter(|_| like.next().is_none())
}

/// Whether nobody gave these names: there are none, or they only count (`class0`, `class_1`).
fn is_unnamed(names: &[Arc<str>]) -> bool {
    (0..)
        .zip(names)
        .all(|(class, name): (usize, _)| **name == format!("class{class}") || **name == format!("class_{class}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{detection::Geometry, geometry::BoxPx};

    fn classes(model: &[&str], dataset: &[&str]) -> Classes {
        let model: Vec<Arc<str>> = model.iter().map(|name| (*name).into()).collect();
        let dataset: Vec<String> = dataset.iter().map(|name| (*name).to_owned()).collect();
        Classes::new(&model, &dataset)
    }

    fn check(classes: &Classes, shown: &[usize]) -> Result<(), String> {
        let objects = shown.iter().map(|&class| Object { class, center: [0.5; 2], size: [0.5; 2] }).collect();
        classes.check(&[objects], Path::new("d"), "m").map_err(|error| error.to_string())
    }

    #[test]
    fn names_decide_where_both_have_them() {
        let classes = classes(&["bus", "person", "Pin-hole"], &["pinhole", "bus", "tram"]);
        assert_eq!(classes.to_dataset, [Some(1), None, Some(0)]);
        assert!(check(&classes, &[0, 1, 1]).is_ok());
        let error = check(&classes, &[2, 2, 0]).unwrap_err();
        assert!(
            error.starts_with("dataset d shows tram, which model m does not know (it knows bus, person, Pin-hole);")
        );
        let found = |class| Detection {
            class,
            name: "x".into(),
            confidence: 0.5,
            geometry: Geometry::Box(BoxPx::default()),
            track_id: None,
        };
        let mut all = vec![found(0), found(1), found(2), found(9)];
        classes.translate(&mut all);
        let kept: Vec<_> = all.iter().map(|one| (one.class, &*one.name)).collect();
        assert_eq!(kept, [(1, "bus"), (0, "pinhole")]);
    }

    #[test]
    fn without_names_numbers_decide() {
        for (model, dataset, name) in [
            (&["class0", "class1"][..], &["open", "short"][..], "short"),
            (&["open", "short"], &[], "short"),
            (&["open", "short"], &["class_0", "class_1"], "short"),
        ] {
            let classes = classes(model, dataset);
            assert_eq!(classes.to_dataset, [Some(0), Some(1)]);
            assert_eq!(classes.name(1), name);
        }
        let error = check(&classes(&["class0"], &["open", "short"]), &[1]).unwrap_err();
        assert!(error.contains("shows the class 1, but model m has 1 classes"), "{error}");
        assert_eq!(classes(&["class0", "class1"], &["open"]).to_dataset, [Some(0), None]);
    }

    #[test]
    fn names_that_are_only_alike_must_be_alone() {
        let names: Vec<Arc<str>> = ["pin-hole", "pin hole"].map(Into::into).to_vec();
        assert_eq!(place(&names, "pinhole"), None);
        assert_eq!(place(&names, "pin hole"), Some(1));
    }
}
