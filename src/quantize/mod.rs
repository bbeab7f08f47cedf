//! A float YOLO and pictures of the line become an int8 YOLO.
//!
//! `graph` knows the file: it reads a float model, names the convolutions and the activations between them, and writes
//! the model out as standard QDQ ONNX. Which ranges the activations have, how the weights are rounded and which
//! convolutions stay in float is decided here and handed over as a [`Recipe`].
//!
//! | file | what it is for |
//! |---|---|
//! | `pictures` | pictures of the line, as the model takes them |
//! | `calibrate`, `histogram`, `moments` | one pass of the float model over them, and what is counted on the way |
//! | `range` | the ranges that a tensor could have |
//! | `rounding` | weights as whole numbers, so that outputs change least |
//! | `recipe` | from these to a first recipe |
//! | `measure`, `search` | what a recipe costs in detections, and choices by that cost |
//! | [`report`], `labelled` | what came of it |
//!
//! The same model and pictures give the same bytes on every instruction set and with any number of threads, where all of
//! the float model runs on the engine's own kernels, which give the same numbers everywhere; what is computed here uses
//! the four operations and square roots alone, each sum in one order. Operators that are left to tract (`andon inspect`
//! names them) may round otherwise on another processor.

mod calibrate;
mod graph;
mod histogram;
mod labelled;
mod measure;
mod moments;
mod parallel;
mod pictures;
mod range;
mod recipe;
pub mod report;
mod rounding;
mod search;

use std::path::PathBuf;

use anyhow::{Context, Result};

pub use graph::{Activation, Convolution, FloatModel, Function, Recipe, save};
pub use report::Report;

use crate::{
    capture::SourceUri,
    detector::{self, Detector},
    engine::{self, Session},
    yolo::Hints,
};
use labelled::Labelled;
use measure::{Runner, Sample};
use pictures::Pictures;
use search::Bench;

/// What to quantize, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The float model.
    pub model: PathBuf,
    /// Where the pictures are.
    pub images: SourceUri,
    /// How models are loaded and run.
    pub engine: engine::Settings,
    /// What the user states where the file does not.
    pub hints: Hints,
    /// At most so many convolutions stay in float; `None`: one in twenty, and only such as are little work.
    pub keep: Option<usize>,
    /// A YOLO dataset to measure accuracy on.
    pub data: Option<PathBuf>,
}

/// How far the work has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// What is done now.
    pub what: &'static str,
    /// Parts of it that are done.
    pub done: usize,
    /// All of its parts.
    pub total: usize,
}

/// Told of each step; an error ends the work.
pub type Watch<'a> = dyn FnMut(Step) -> Result<()> + 'a;

/// The quantized file and what is known of it.
#[derive(Clone, Debug)]
pub struct Quantized {
    /// The ONNX file.
    pub bytes: Vec<u8>,
    /// What came of it.
    pub report: Report,
}

/// Quantizes a model.
///
/// # Errors
/// Where the model cannot be quantized, or the pictures cannot be used; says why.
pub fn quantize(options: &Options, watch: &mut Watch<'_>) -> Result<Quantized> {
    pictures::check(&options.images)?;
    let model = FloatModel::read(&options.model)?;
    let settings = detector::Settings {
        confidence: measure::FLOOR,
        threads: options.engine.threads,
        input_size: options.engine.input_size,
        isa: options.engine.isa.clone(),
        hints: options.hints.clone(),
        ..detector::Settings::of(&options.model)
    };
    let name = options.model.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    let session = Session::from_bytes(&name, &model.exposing(&[])?, &options.engine)?;
    let named = || format!("model {}", options.model.display());
    let spec = detector::resolve(&session, &options.hints).with_context(named)?;
    let outputs = session.outputs().len();
    let threads = Some(session.threads());
    let engine = engine::Settings { threads, ..options.engine.clone() };
    let mut float = Detector::of_session(session, spec.clone(), &settings)?;
    let runner = Runner { name, engine, detector: settings, spec, outputs };
    let labelled = options.data.as_deref().map(|data| Labelled::open(data, &runner)).transpose()?;
    let pictures = pictures::load(&options.images, &mut float, watch)?;
    drop(float);
    let bytes = std::fs::metadata(&options.model).map_or(0, |file| file.len() as usize);
    Work { model, runner, labelled, bytes }.run(pictures, options.keep, watch)
}

/// One convolution in so many may stay in float where nobody says how many.
const KEPT_OF: usize = 20;

/// Detections that count for agreement have at least this confidence.
const CONFIDENT: f32 = 0.5;

struct Work {
    model: FloatModel,
    runner: Runner,
    labelled: Option<Labelled>,
    /// Size of the float model's file.
    bytes: usize,
}

impl Work {
    fn run(self, pictures: Pictures, keep: Option<usize>, watch: &mut Watch<'_>) -> Result<Quantized> {
        let mut remarks = pictures.remarks();
        let total = pictures.calibration.len();
        let mut done = 0;
        let calibration = calibrate::count(&self.model, &self.runner, pictures.calibration, &mut || {
            done += 1;
            watch(Step { what: "calibrating", done, total })
        })?;
        let candidates = recipe::candidates(&self.model, &calibration);
        watch(Step { what: "rounding weights", done: 0, total: 1 })?;
        let mut recipe = recipe::first(&self.model, &calibration, &candidates, self.runner.threads());
        let chosen = evenly(calibration.samples.iter().filter(|sample| !sample.found.is_empty()), search::PICTURES_MAX);
        let bench = Bench { model: &self.model, runner: &self.runner, samples: &chosen };
        if chosen.is_empty() {
            remarks.push(
                "the float model finds nothing in these pictures, so ranges were chosen by what they do to numbers, not to \
                 detections; take pictures that show what the model is for"
                    .to_owned(),
            );
        } else {
            let best = bench.choose_ranges(&mut recipe, &candidates, watch)?;
            recipe::round_weights(&self.model, &calibration, &mut recipe, self.runner.threads());
            let again = bench.discrepancy(&recipe)?;
            log::debug!("discrepancy {best:.5}, {again:.5} with weights rounded again");
            let ratios = recipe::noise_ratios(&self.model, &calibration, &recipe);
            let keep_max = keep.unwrap_or(self.model.convolutions().len() / KEPT_OF);
            bench.choose_floats(&mut recipe, (&ratios, keep_max, keep.is_some()), again, watch)?;
        }
        let bytes = self.model.quantized(&recipe)?;
        let held_out = self.found_in(pictures.held_out)?;
        let report = self.report(&recipe, &bytes, (&calibration.samples, &held_out), remarks, watch)?;
        Ok(Quantized { bytes, report })
    }

    /// What the float model finds in pictures.
    fn found_in(&self, pictures: Vec<detector::Prepared>) -> Result<Vec<Sample>> {
        let mut float = self.runner.load(&self.model.exposing(&[])?)?;
        let found = |picture| Ok(Sample { found: float.detect(&picture)?, picture });
        pictures.into_iter().map(found).collect()
    }

    fn report(
        &self,
        recipe: &Recipe,
        bytes: &[u8],
        (calibrated, held_out): (&[Sample], &[Sample]),
        mut remarks: Vec<String>,
        watch: &mut Watch<'_>,
    ) -> Result<Report> {
        let float = self.model.exposing(&[])?;
        let mut models = [self.runner.load(&float)?, self.runner.load(bytes)?];
        let is_held_out = !held_out.is_empty();
        let compared: Vec<&Sample> = if is_held_out { held_out } else { calibrated }.iter().collect();
        let agreement = report::agreed(&mut models[1], &compared, is_held_out, watch)?;
        let is_confident = |sample: &&Sample| sample.found.iter().any(|found| found.confidence >= CONFIDENT);
        if !compared.iter().any(is_confident) {
            remarks.push(format!(
                "the float model finds nothing with a confidence of {CONFIDENT} or more in the {} pictures that were compared; \
                 agreement says nothing then",
                compared.len()
            ));
        }
        let first = calibrated.first().context("there is a picture")?;
        let [before, after] = &mut models;
        let latency_ms = report::latency_ms([before, after], first)?;
        let int8 = models[1].int8_convolutions();
        drop(models);
        watch(Step { what: "comparing layers", done: 0, total: 1 })?;
        let layers = report::layers(&self.model, &self.runner, recipe, &compared)?;
        let labelled = match &self.labelled {
            Some(labelled) => {
                let runner = labelled::runner(&self.runner);
                let (figures, remark) = labelled.figures([runner.load(&float)?, runner.load(bytes)?], watch)?;
                remarks.extend(labelled.remarks.iter().cloned().chain(remark));
                figures
            }
            None => None,
        };
        let convolutions = self.model.convolutions();
        Ok(Report {
            bytes: [self.bytes, bytes.len()],
            latency_ms,
            convolutions: [convolutions.len(), int8],
            calibrated_with: calibrated.len(),
            agreement,
            labelled,
            kept: recipe.float.iter().map(|conv| convolutions[*conv].name.clone()).collect(),
            layers,
            remarks,
        })
    }
}

/// At most so many of the items, evenly chosen.
fn evenly<'a, T>(items: impl Iterator<Item = &'a T>, count_max: usize) -> Vec<&'a T> {
    let items: Vec<&T> = items.collect();
    let count = items.len().min(count_max);
    (0..count).map(|index| items[index * items.len() / count]).collect()
}

#[cfg(test)]
mod tests {
    use super::evenly;

    #[test]
    fn few_are_chosen_evenly_from_many() {
        let items: Vec<usize> = (0..10).collect();
        assert_eq!(evenly(items.iter(), 4), [&0, &2, &5, &7]);
        assert_eq!(evenly(items[..3].iter(), 4).len(), 3);
        assert!(evenly(items[..0].iter(), 4).is_empty());
    }
}
