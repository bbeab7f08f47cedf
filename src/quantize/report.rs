//! What came of it: size, speed and accuracy before and after, and how far each layer is off.

use std::time::Instant;

use anyhow::Result;

use super::{
    Step, Watch,
    graph::{FloatModel, Recipe},
    measure::{Model, Runner, Sample},
};
use crate::eval::{Agreement, evaluation::Figures};

/// Runs of each model that are timed, in turns.
const RUNS: usize = 12;

/// Pictures with which layers are compared.
const PICTURES_FOR_LAYERS: usize = 4;

/// A float model and the int8 model made of it, side by side.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Bytes of the file, before and after.
    pub bytes: [usize; 2],
    /// Milliseconds of an inference here, the shortest of some runs in turns, before and after.
    pub latency_ms: [f64; 2],
    /// Convolutions in all, and those that run in int8.
    pub convolutions: [usize; 2],
    /// Pictures that were calibrated with.
    pub calibrated_with: usize,
    /// What of the detections of both agrees.
    pub agreement: Agreed,
    /// Before and after, on the labelled pictures, where there are some.
    pub labelled: Option<[Figures; 2]>,
    /// Convolutions that stay in float, by name.
    pub kept: Vec<String>,
    /// All convolutions, worst first: the name, and how far what it makes is off, as a part of what the float model makes (both
    /// as roots of mean squares).
    pub layers: Vec<(String, f64)>,
    /// What to know beside.
    pub remarks: Vec<String>,
}

/// How far both models find the same.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Agreed {
    /// Whether the pictures that were compared are others than those that were calibrated with.
    pub is_held_out: bool,
    /// What the float model, as the reference, and the int8 model find.
    pub agreement: Agreement,
}

/// Compares what two models find.
pub(super) fn agreed(
    model: &mut Model,
    samples: &[&Sample],
    is_held_out: bool,
    watch: &mut Watch<'_>,
) -> Result<Agreed> {
    let mut agreement = Agreement::default();
    for (done, sample) in samples.iter().enumerate() {
        agreement.add(&sample.found, &model.detect(&sample.picture)?);
        watch(Step { what: "comparing detections", done: done + 1, total: samples.len() })?;
    }
    Ok(Agreed { is_held_out, agreement })
}

/// The shortest time that each of two models takes, in milliseconds.
pub(super) fn latency_ms(models: [&mut Model; 2], sample: &Sample) -> Result<[f64; 2]> {
    let mut shortest = [f64::INFINITY; 2];
    let [float, quantized] = models;
    for _ in 0..RUNS {
        for (model, shortest) in [&mut *float, &mut *quantized].into_iter().zip(&mut shortest) {
            let start = Instant::now();
            model.detector.run(&sample.picture)?;
            *shortest = shortest.min(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    Ok(shortest)
}

/// How far each convolution is off, worst first.
pub(super) fn layers(
    model: &FloatModel,
    runner: &Runner,
    recipe: &Recipe,
    samples: &[&Sample],
) -> Result<Vec<(String, f64)>> {
    let outputs: Vec<&str> = model.convolutions().iter().map(|conv| conv.output.as_str()).collect();
    let mut float = runner.load(&model.exposing(&outputs)?)?;
    let mut quantized = runner.load(&model.quantized_exposing(recipe, &outputs)?)?;
    let mut sums = vec![[0.0_f64; 2]; outputs.len()];
    for sample in samples.iter().take(PICTURES_FOR_LAYERS) {
        let (_, exact) = float.detect_and_expose(&sample.picture)?;
        let (_, rounded) = quantized.detect_and_expose(&sample.picture)?;
        for (sums, name) in sums.iter_mut().zip(&outputs) {
            let (exact, rounded) = (&exact[float.place(name)?], &rounded[quantized.place(name)?]);
            for (exact, rounded) in exact.data.iter().zip(&rounded.data) {
                let (exact, off) = (f64::from(*exact), f64::from(*exact) - f64::from(*rounded));
                sums[0] += off * off;
                sums[1] += exact * exact;
            }
        }
    }
    let error = |[off, exact]: [f64; 2]| (off / exact.max(f64::MIN_POSITIVE)).sqrt();
    let names = model.convolutions().iter().map(|conv| conv.name.clone());
    let mut layers: Vec<(String, f64)> = names.zip(sums.into_iter().map(error)).collect();
    layers.sort_by(|a, b| b.1.total_cmp(&a.1));
    Ok(layers)
}
