//! What an exporter wrote into the ONNX file beside the graph.
//!
//! Ultralytics writes `task`, `names`, `stride`, `kpt_shape`, `head`, `args` and `end2end` (among others); YOLOv5's
//! own exporter `names` and `stride`; others nothing. Missing keys are `None`; what follows from that is up to
//! [`super::resolve`].

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};

use super::{Task, literal::Literal};

/// The keys that say what the outputs mean.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Metadata {
    /// The task.
    pub(super) task: Option<Task>,
    /// Class names, in the model's order.
    pub(super) names: Option<Vec<String>>,
    /// The largest stride of the head.
    pub(super) stride: Option<usize>,
    /// Keypoints of a pose, and numbers for each (2: x y, 3: x y visible).
    pub(super) keypoints: Option<[usize; 2]>,
    /// Whether the rows are final: the head is trained to need no suppression, or the graph contains it.
    pub(super) end2end: Option<bool>,
}

impl Metadata {
    /// Reads the keys; the names only where the user states none.
    ///
    /// # Errors
    /// Where a key says something that is not supported (a task, a head), or cannot be read.
    pub(super) fn read(pairs: &BTreeMap<String, String>, names_stated: bool) -> anyhow::Result<Self> {
        let literal = |key: &str| pairs.get(key).and_then(|text| Literal::parse(text));
        if let Some(head) = pairs.get("head").filter(|head| head.contains("RTDETR")) {
            bail!("the model's head is {head}, which is no YOLO; export a YOLO model ({})", super::TASKS.join(", "));
        }
        let task = pairs.get("task").map(|name| task_from_name(name)).transpose()?;
        let names = pairs.get("names").filter(|_| !names_stated).map(|text| names_from_text(text)).transpose()?;
        let suppressed = literal("args").and_then(|args| args.get("nms").cloned()) == Some(Literal::Bool(true));
        let end2end = match literal("end2end") {
            Some(Literal::Bool(end2end)) => Some(end2end || suppressed),
            _ => suppressed.then_some(true),
        };
        Ok(Self {
            task,
            names,
            stride: literal("stride").and_then(|stride| stride.as_index()).filter(|&stride| stride > 0),
            keypoints: literal("kpt_shape").as_ref().and_then(pair),
            end2end,
        })
    }
}

/// The task of Ultralytics' name for it.
///
/// # Errors
/// Where there is no such task here.
pub(super) fn task_from_name(name: &str) -> anyhow::Result<Task> {
    Ok(match name.trim() {
        "detect" => Task::Detect,
        "segment" => Task::Segment,
        "pose" => Task::Pose,
        "obb" => Task::Obb,
        "classify" => Task::Classify,
        other => {
            bail!("the model's task is {other:?}, which is not supported; the tasks are {}", super::TASKS.join(", "))
        }
    })
}

/// Class names out of a dictionary with the keys `0..n`, or a list.
fn names_from_text(text: &str) -> anyhow::Result<Vec<String>> {
    let remedy = "state the names in [model] names or with --names";
    let literal = Literal::parse(text).with_context(|| format!("the file's class names cannot be read; {remedy}"))?;
    let as_name = |value: Literal| match value {
        Literal::Text(name) => Some(name),
        Literal::Number(number) => Some(number.to_string()),
        Literal::Bool(flag) => Some(if flag { "True" } else { "False" }.to_owned()),
        Literal::None => Some("None".to_owned()),
        Literal::List(_) | Literal::Map(_) => None,
    };
    let names = match literal {
        Literal::List(items) => items.into_iter().map(as_name).collect::<Option<Vec<_>>>(),
        Literal::Map(entries) => {
            let mut entries = entries
                .into_iter()
                .map(|(key, value)| Some((key.as_index()?, as_name(value)?)))
                .collect::<Option<Vec<_>>>()
                .with_context(|| format!("the file's class names are no dictionary of numbers and names; {remedy}"))?;
            entries.sort_by_key(|(index, _)| *index);
            if let Some(gap) = entries.iter().enumerate().position(|(at, (index, _))| at != *index) {
                bail!("the file's class names have no single name for class {gap}; {remedy}");
            }
            Some(entries.into_iter().map(|(_, name)| name).collect())
        }
        _ => None,
    };
    let names =
        names.with_context(|| format!("the file's class names are neither a dictionary nor a list; {remedy}"))?;
    if names.is_empty() {
        bail!("the file's class names are empty; {remedy}");
    }
    Ok(names)
}

fn pair(literal: &Literal) -> Option<[usize; 2]> {
    let Literal::List(items) = literal else { return None };
    let [first, second] = items.as_slice() else { return None };
    Some([first.as_index()?, second.as_index()?])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> anyhow::Result<Metadata> {
        Metadata::read(&pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(), false)
    }

    #[test]
    fn an_ultralytics_export() {
        let metadata = read(&[
            ("task", "pose"),
            ("names", "{0: 'person', 1: \"driver's seat\"}"),
            ("stride", "32"),
            ("imgsz", "[640, 640]"),
            ("kpt_shape", "[17, 3]"),
            ("args", "{'batch': 1, 'half': False, 'nms': False}"),
            ("end2end", "True"),
        ])
        .unwrap();
        assert_eq!(metadata.task, Some(Task::Pose));
        assert_eq!(metadata.names, Some(vec!["person".to_owned(), "driver's seat".to_owned()]));
        assert_eq!((metadata.stride, metadata.keypoints, metadata.end2end), (Some(32), Some([17, 3]), Some(true)));
    }

    #[test]
    fn suppression_inside_the_graph_makes_rows_final() {
        let end2end = |args: &str, key: &str| read(&[("args", args), ("end2end", key)]).unwrap().end2end;
        assert_eq!(end2end("{'nms': True}", "False"), Some(true));
        assert_eq!(end2end("{'nms': None}", "False"), Some(false));
        assert_eq!(end2end("{'nms': False}", "True"), Some(true));
        assert_eq!(read(&[("args", "{'nms': True}")]).unwrap().end2end, Some(true));
        assert_eq!(read(&[("args", "{'batch': 1}")]).unwrap().end2end, None);
    }

    #[test]
    fn names_of_other_exporters() {
        let names = |text: &str| read(&[("names", text)]).map(|metadata| metadata.names.unwrap());
        assert_eq!(names("['a', 'b']").unwrap(), ["a", "b"]);
        assert_eq!(names(r#"{"1": "b", "0": "a"}"#).unwrap(), ["a", "b"]);
        assert_eq!(names("{0: 7, 1: 'x'}").unwrap(), ["7", "x"]);
        for broken in ["{0: 'a', 2: 'c'}", "{0: 'a', 0: 'b'}", "{}", "person", "{0: 'a'", "{'a': 'b'}"] {
            let error = names(broken).unwrap_err().to_string();
            assert!(error.contains("--names"), "{broken}: {error}");
        }
    }

    #[test]
    fn what_is_no_yolo_is_refused() {
        assert!(read(&[("task", "semantic")]).unwrap_err().to_string().contains("\"semantic\""));
        assert!(read(&[("task", "depth")]).unwrap_err().to_string().contains("detect, segment"));
        assert!(read(&[("head", "RTDETRDecoder")]).unwrap_err().to_string().contains("RTDETRDecoder"));
        assert_eq!(read(&[]).unwrap(), Metadata::default());
    }
}
