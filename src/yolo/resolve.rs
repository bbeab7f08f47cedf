//! From what a file and its user say to one reading of the outputs, or to an error that says what to state.
//!
//! Every head that the shapes allow is a *reading*. One is the answer; none or several are errors. Among several, only
//! COCO's 80 classes decide, and only where neither the file nor the user says a word about task or classes.

use anyhow::{Context as _, bail, ensure};

use super::{
    HEADS, HeadSpec, Hints, ModelFacts, Task,
    metadata::Metadata,
    names::{COCO_NAMES, default_names},
    spec::{Extra, Head, Layout, Order, cells, classes_text, shape_text},
};

/// As many rows as end-to-end exporters keep unless told otherwise.
const END_TO_END_ROWS: usize = 300;

/// Anchors for each cell in the heads of YOLOv5 and YOLOv7.
const ANCHORS: usize = 3;

/// Finds the one reading of a model's outputs.
pub(super) fn resolve(facts: &ModelFacts<'_>, hints: &Hints) -> anyhow::Result<HeadSpec> {
    let input_size = input_size(facts.input)?;
    let question = Question::new(facts, hints, input_size)?;
    let layout = if question.is_classifier() { question.classifier()? } else { question.rows()? };
    let mut notes = Vec::new();
    if layout.head == Head::Yolox && question.head.is_none() {
        notes.push(format!(
            "{} is read as YOLOX with raw grids; if it was exported with --decode_in_inference, state [model] head = \
             \"{}\" or --head {}",
            shape_text(&layout.shape()),
            Head::YoloxDecoded.name(),
            Head::YoloxDecoded.name(),
        ));
    }
    let names = if let Some(names) = question.names {
        names.into_iter().map(Into::into).collect()
    } else {
        let (names, note) = default_names(layout.classes);
        notes.push(note);
        names
    };
    let task = if question.is_classifier { Task::Classify } else { layout.extra.task() };
    Ok(HeadSpec { task, names, input: layout.head.input(), layout, input_size, notes })
}

/// Height and width of an input that pictures can be made for.
fn input_size(shape: &[usize]) -> anyhow::Result<[usize; 2]> {
    let text = shape_text(shape);
    let [batch, channels, height, width] = *shape else {
        bail!("the model's input is {text}, not 1×3×height×width; export it with images as input, NCHW");
    };
    ensure!(batch == 1, "the model's input is {text}, a batch of {batch}; export it with batch=1");
    if channels != 3 && width == 3 {
        bail!("the model's input is {text}, with the channels last; export it with the channels first (NCHW)");
    }
    ensure!(channels == 3, "the model's input is {text}, {channels} channels; only models for 3 channels can be fed");
    ensure!(height > 0 && width > 0, "the model's input is {text}, which holds no picture; export it with a real size");
    Ok([height, width])
}

/// All that is known before the shapes are looked at.
struct Question<'a> {
    outputs: &'a [(&'a str, &'a [usize])],
    input: [usize; 2],
    /// `images 1×3×640×640 gives output0 1×84×8400`, for errors.
    shapes: String,
    task: Option<Task>,
    head: Option<Head>,
    names: Option<Vec<String>>,
    keypoints: Option<[usize; 2]>,
    end2end: Option<bool>,
    stride: Option<usize>,
    /// Ultralytics wrote the file: only Ultralytics' heads come into question.
    ultralytics: bool,
    is_classifier: bool,
}

impl<'a> Question<'a> {
    fn new(facts: &ModelFacts<'a>, hints: &Hints, input: [usize; 2]) -> anyhow::Result<Self> {
        let metadata = Metadata::read(facts.metadata, hints.names.is_some())?;
        let head = hints
            .head
            .as_deref()
            .map(|name| {
                Head::from_name(name)
                    .with_context(|| format!("no head is called {name:?}; the heads are {}", HEADS.join(", ")))
            })
            .transpose()?;
        if let (Some(stated), Some(written)) = (hints.task, metadata.task) {
            ensure!(
                stated == written,
                "the model's task is stated as {}, but the file says {}; leave the task to the file",
                stated.name(),
                written.name()
            );
        }
        let names = hints.names.clone().or(metadata.names);
        ensure!(
            names.as_ref().is_none_or(|names| !names.is_empty()),
            "the list of class names is empty; state one name for each class"
        );
        let outputs: Vec<String> =
            facts.outputs.iter().map(|(name, shape)| format!("{name} {}", shape_text(shape))).collect();
        let task = hints.task.or(metadata.task);
        Ok(Self {
            outputs: facts.outputs,
            input,
            shapes: format!("input {} gives {}", shape_text(facts.input), outputs.join(", ")),
            task,
            head,
            names,
            keypoints: hints.keypoints.or(metadata.keypoints),
            end2end: metadata.end2end,
            stride: metadata.stride,
            ultralytics: metadata.task.is_some(),
            is_classifier: task == Some(Task::Classify) || matches!(head, Some(Head::Probabilities | Head::Logits)),
        })
    }

    fn is_classifier(&self) -> bool {
        self.is_classifier
    }

    /// A classifier's one output, `1 × classes`.
    fn classifier(&self) -> anyhow::Result<Layout> {
        let head = self.head.unwrap_or(Head::Probabilities);
        ensure!(
            matches!(head, Head::Probabilities | Head::Logits) && self.task.is_none_or(|task| task == Task::Classify),
            "a head {} and the task {} exclude each other; state one of them",
            head.name(),
            self.task.map_or("classify", Task::name)
        );
        let mut fitting = self.outputs.iter().enumerate().filter_map(|(output, (_, shape))| match **shape {
            [1, classes] if classes > 0 => Some((output, classes)),
            _ => None,
        });
        let (Some((output, classes)), None) = (fitting.next(), fitting.next()) else {
            bail!("a classifier has one output 1×classes, but {}; export the model as a classifier", self.shapes);
        };
        if let Some(names) = &self.names {
            ensure!(
                names.len() == classes,
                "names are given for {}, but {}; state as many names as there are classes",
                classes_text(names.len()),
                self.shapes
            );
        }
        let order = Order::RowsFirst;
        Ok(Layout { head, order, output, rows: 1, width: classes, classes: Some(classes), extra: Extra::None })
    }

    /// The layout of rows of boxes.
    fn rows(&self) -> anyhow::Result<Layout> {
        for (name, shape) in self.outputs {
            ensure!(
                !matches!(**shape, [batch, _, _] if batch != 1),
                "the output {name} is {}, a batch of {}; export the model with batch=1",
                shape_text(shape),
                shape[0]
            );
        }
        match self.outputs.iter().filter(|(_, shape)| shape.len() == 3).count() {
            0 => bail!("{}", self.without_rows()),
            1 => {}
            _ => ensure!(
                self.ultralytics || self.head.is_some(),
                "{}, which is no YOLO head: it has its rows in one output; export the model with a single one",
                self.shapes
            ),
        }
        let extras = self.extras()?;
        let classes = self.names.as_ref().map(Vec::len);
        let mut readings = self.readings(&extras, classes);
        match readings.len() {
            1 => Ok(readings.remove(0)),
            0 => bail!("{}", self.no_reading(&extras)),
            _ => bail!("{}", self.several_readings(&readings)),
        }
    }

    /// Every layout that the shapes allow.
    fn readings(&self, extras: &[Extra], classes: Option<usize>) -> Vec<Layout> {
        let mut readings = Vec::new();
        for (output, (_, shape)) in self.outputs.iter().enumerate() {
            let [1, first, second] = **shape else { continue };
            for (order, rows, width) in [(Order::RowsFirst, first, second), (Order::ChannelsFirst, second, first)] {
                for head in [Head::EndToEnd, Head::AnchorFree, Head::Objectness, Head::Yolox, Head::YoloxDecoded] {
                    if rows == 0 || self.head.is_some_and(|stated| stated != head) || !self.may_be(head, order, rows) {
                        continue;
                    }
                    for &extra in extras.iter().filter(|extra| self.may_hold(head, order, **extra)) {
                        let Some(room) = width.checked_sub(head.lead() + extra.len()) else { continue };
                        let found = match head {
                            Head::EndToEnd if room == 0 => classes,
                            Head::EndToEnd => continue,
                            _ if room == 0 || classes.is_some_and(|classes| classes != room) => continue,
                            _ => Some(room),
                        };
                        readings.push(Layout { head, order, output, rows, width, classes: found, extra });
                    }
                }
            }
        }
        // Eighty classes without a name are the published checkpoints; with any other count, who knows.
        let is_coco = |reading: &Layout| reading.classes == Some(COCO_NAMES.len()) && reading.extra == Extra::None;
        if self.task.is_none() && classes.is_none() && readings.iter().filter(|reading| is_coco(reading)).count() == 1 {
            readings.retain(is_coco);
        }
        readings
    }

    /// Whether a head can have so many rows in this order, by what is known beside the shapes.
    fn may_be(&self, head: Head, order: Order, rows: usize) -> bool {
        let stated = self.head == Some(head);
        match head {
            Head::EndToEnd => {
                let selected = rows <= END_TO_END_ROWS || !self.is_grid(rows, 1) && !self.is_grid(rows, ANCHORS);
                order == Order::RowsFirst && (stated || self.end2end.unwrap_or(selected))
            }
            Head::AnchorFree => self.is_grid(rows, 1) && (stated || self.end2end != Some(true)),
            Head::Objectness => {
                let foreign = !self.ultralytics && self.end2end.is_none();
                stated && self.is_grid(rows, 1) || (stated || foreign) && self.is_grid(rows, ANCHORS)
            }
            Head::Yolox => {
                let usual = order == Order::RowsFirst && !self.ultralytics && self.end2end.is_none();
                rows == cells(self.input, &[8, 16, 32])
                    && (stated || usual)
                    && self.task.is_none_or(|task| task == Task::Detect)
            }
            Head::YoloxDecoded => stated && self.is_grid(rows, 1),
            Head::Probabilities | Head::Logits => false,
        }
    }

    /// Whether rows of this head can hold this beside boxes and scores.
    fn may_hold(&self, head: Head, order: Order, extra: Extra) -> bool {
        match (extra, head) {
            (Extra::None, _) => true,
            (Extra::Masks { .. }, _) => !matches!(head, Head::Yolox | Head::YoloxDecoded),
            (Extra::Keypoints { .. }, Head::Objectness) => self.task == Some(Task::Pose),
            (Extra::Keypoints { .. } | Extra::Angle, Head::EndToEnd) => true,
            // No exporter writes these with the rows first; whoever turned them has to say what they are.
            (Extra::Keypoints { .. } | Extra::Angle, Head::AnchorFree) => {
                order == Order::ChannelsFirst || self.task.is_some()
            }
            (Extra::Keypoints { .. } | Extra::Angle, _) => false,
        }
    }

    /// Whether a head over neighbouring levels of strides has so many rows: over at least two levels, or over a single one
    /// whose stride the file states.
    fn is_grid(&self, rows: usize, anchors: usize) -> bool {
        let of_one = self.stride.is_some_and(|stride| rows == anchors * cells(self.input, &[stride]));
        let of_several = [16, 32, 64, 128].into_iter().filter(|last| self.stride.is_none_or(|stride| stride == *last));
        of_one
            || of_several.into_iter().any(|last| {
                [4, 8, 16].into_iter().filter(|first| *first < last).any(|first| {
                    let levels = std::iter::successors(Some(first), |stride| Some(stride * 2));
                    let strides: Vec<usize> = levels.take_while(|stride| *stride <= last).collect();
                    rows == anchors * cells(self.input, &strides)
                })
            })
    }

    /// What rows may hold beyond boxes and scores.
    fn extras(&self) -> anyhow::Result<Vec<Extra>> {
        let masks = || -> Vec<Extra> {
            let prototypes = self.outputs.iter().enumerate().filter_map(|(output, (_, shape))| match **shape {
                [1, count, height, width] if count * height * width > 0 => {
                    Some(Extra::Masks { count, output, size: [height, width] })
                }
                _ => None,
            });
            prototypes.collect()
        };
        let keypoints = self.keypoints.map(|[count, numbers]| Extra::Keypoints { count, numbers });
        if let Some(Extra::Keypoints { count, numbers }) = keypoints {
            ensure!(
                (1..=10_000).contains(&count) && (2..=3).contains(&numbers),
                "keypoints are {count}×{numbers}; state their count and 2 (x y) or 3 (x y visible) numbers for each"
            );
        }
        Ok(match self.task {
            Some(Task::Detect) => vec![Extra::None],
            Some(Task::Segment) => {
                let masks = masks();
                ensure!(
                    !masks.is_empty(),
                    "a segment model has an output of prototypes 1×masks×height×width, but {}; export it again",
                    self.shapes
                );
                masks
            }
            Some(Task::Pose) => vec![keypoints.with_context(|| {
                format!(
                    "the pose model does not say how many keypoints it has ({}); state [model] keypoints",
                    self.shapes
                )
            })?],
            Some(Task::Obb) => vec![Extra::Angle],
            Some(Task::Classify) => Vec::new(),
            None => {
                let masks = masks();
                if masks.is_empty() {
                    [Extra::None, Extra::Angle].into_iter().chain(keypoints).collect()
                } else {
                    masks
                }
            }
        })
    }

    fn without_rows(&self) -> String {
        let shapes = &self.shapes;
        if self.outputs.iter().any(|(_, shape)| shape.len() == 5) {
            return format!(
                "{shapes}, raw maps of a YOLOv5 or YOLOv7; export it with its detection layer (YOLOv7: --grid)"
            );
        }
        if let [(_, [1, _])] = self.outputs {
            return format!("{shapes}; if this is a classifier, state [model] task = \"classify\" or --task classify");
        }
        format!("{shapes}, which is no YOLO head; a head has rows of boxes as 1×84×8400 or 1×300×6")
    }

    fn no_reading(&self, extras: &[Extra]) -> String {
        let shapes = &self.shapes;
        let unnamed = self.readings(extras, None);
        if let (Some(names), Some(reading)) = (&self.names, unnamed.iter().find(|reading| reading.classes.is_some())) {
            return format!(
                "names are given for {}, but {shapes}, which has room for {}; state as many names as there are \
                 classes, or [model] task if the rows hold more than boxes and scores",
                classes_text(names.len()),
                reading.classes.unwrap_or_default()
            );
        }
        let task = self.task.map_or(String::new(), |task| format!(" for the task {}", task.name()));
        let cells = cells(self.input, &[8, 16, 32]);
        if let Some(head) = self.head {
            return format!(
                "{shapes}, which does not fit the head {}{task}; state another of {}",
                head.name(),
                HEADS.join(", ")
            );
        }
        let flag = match self.end2end {
            Some(true) => " and the file says that it is end to end",
            Some(false) => " and the file says that it is not end to end",
            None => "",
        };
        format!(
            "{shapes}{flag}, which fits no head{task}: rows of boxes are {cells} for strides 8, 16 and 32 \
             (1×(4+classes)×{cells}, 1×{}×(5+classes)) or end to end (1×300×6); export the model again, or \
             state [model] head, one of {}",
            cells * ANCHORS,
            HEADS.join(", ")
        )
    }

    fn several_readings(&self, readings: &[Layout]) -> String {
        let list: Vec<String> = readings
            .iter()
            .map(|reading| {
                let classes =
                    reading.classes.map_or(String::new(), |classes| format!(" with {}", classes_text(classes)));
                format!("{} {}{classes}", reading.head.name(), reading.extra.task().name())
            })
            .collect();
        format!(
            "{}, which can be {}{}; state [model] head, task or names (--head, --task, --names)",
            self.shapes,
            list.join(" or "),
            if self.task.is_none() { " or a pose" } else { "" }
        )
    }
}
