//! Accuracy on labelled pictures, of the float model and of the int8 model.

use std::path::Path;

use anyhow::{Result, anyhow, ensure};

use super::{
    Step, Watch,
    measure::{Model, Runner},
};
use crate::{
    capture::{self, SourceError},
    dataset::{Classes, Dataset, Object},
    detection::{Detections, Label},
    detector::{self, PictureError},
    eval::{Evaluation, evaluation::Figures},
    frame::Frame,
    vision::View,
    yolo::Task,
};

/// Which part of a dataset is measured on.
const SPLIT: &str = "val";

/// Detections count from this confidence on, as in `yolo val`.
const CONFIDENCE: f32 = 0.001;

/// Pictures with labels.
#[derive(Debug)]
pub(super) struct Labelled {
    dataset: Dataset,
    /// For each picture.
    objects: Vec<Vec<Object>>,
    classes: Classes,
    /// What to know about the labels.
    pub(super) remarks: Vec<String>,
}

impl Labelled {
    /// Opens a dataset and reads its labels.
    ///
    /// # Errors
    /// Where there is none, its labels cannot be used, or it shows classes that the model does not know.
    pub(super) fn open(path: &Path, runner: &Runner) -> Result<Self> {
        ensure!(
            matches!(runner.spec.task, Task::Detect | Task::Segment | Task::Pose),
            "dataset {}: a model that gives no upright boxes is not measured on labels; leave the dataset out",
            path.display()
        );
        let dataset = Dataset::open(path, SPLIT)?;
        let names = &runner.spec.names;
        let labels = dataset.labels((!names.is_empty()).then_some(names.len())).map_err(|bad| {
            let more = bad.0.len().saturating_sub(1);
            let first = bad.0.into_iter().next().unwrap_or_default();
            if more == 0 { anyhow!("{first}") } else { anyhow!("{first} (and {more} more such files)") }
        })?;
        let classes = Classes::new(names, &dataset.names);
        classes.check(&labels.objects, &dataset.path, &runner.name)?;
        labels.check(&dataset.path, SPLIT)?;
        let remarks = labels.remarks();
        Ok(Self { dataset, objects: labels.objects, classes, remarks })
    }

    /// The figures of two models, and what to remark about pictures that could not be read, which are no part of the
    /// figures. There are no figures where none could be read.
    pub(super) fn figures(
        &self,
        mut models: [Model; 2],
        watch: &mut Watch<'_>,
    ) -> Result<(Option<[Figures; 2]>, Option<String>)> {
        let mut evaluations = [Evaluation::default(), Evaluation::default()];
        let (mut failures, mut first_failure) = (0, None);
        let mut frame = Frame::empty();
        let total = self.dataset.pictures.len();
        for (done, (path, objects)) in self.dataset.pictures.iter().zip(&self.objects).enumerate() {
            match self.found(path, &mut frame, &mut models) {
                Ok(found) => {
                    for (found, evaluation) in found.iter().zip(&mut evaluations) {
                        let truth: Vec<Label> = objects.iter().map(|object| object.label(found.size)).collect();
                        evaluation.add(&truth, &found.items);
                    }
                }
                Err(error) if error.is::<PictureError>() || error.is::<SourceError>() => {
                    failures += 1;
                    first_failure.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
            watch(Step { what: "measuring on labels", done: done + 1, total })?;
        }
        let remark = first_failure.map(|first| {
            format!("{failures} of the {total} labelled pictures could not be read and are no part of accuracy; the first: {first:#}")
        });
        let figures = (failures < total).then(|| evaluations.map(|evaluation| evaluation.report().figures));
        Ok((figures, remark))
    }

    /// What the models find in a picture of the disk, with the dataset's classes.
    fn found(&self, path: &Path, frame: &mut Frame, models: &mut [Model; 2]) -> Result<Vec<Detections>> {
        capture::read_file(path, frame)?;
        let find = |model: &mut Model| {
            let mut found = model.detector.detect(frame, &View::default())?;
            self.classes.translate(&mut found.items);
            Ok(found)
        };
        models.iter_mut().map(find).collect()
    }
}

/// The runner for models whose figures are wanted.
pub(super) fn runner(runner: &Runner) -> Runner {
    let detector = detector::Settings { confidence: CONFIDENCE, ..runner.detector.clone() };
    Runner { detector, ..runner.clone() }
}
