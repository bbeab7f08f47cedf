//! What goes through the float model: the pictures are run once, and of every activation that will be rounded it is
//! counted which numbers occur, and of every convolution summed up how the numbers that it reads belong together.
//!
//! Models that would need too much memory for all of that at once are run again for the rest of the convolutions.

use anyhow::{Context, Result, bail};

use super::{
    graph::{Activation, FloatModel},
    histogram::Histogram,
    measure::{Model, Runner, Sample},
    moments::{Moments, Windows},
    parallel::for_each,
};
use crate::{detection::Detection, detector::Prepared, engine::Tensor};

/// Windows that are looked at of one convolution, over all pictures together.
const WINDOWS_TOTAL: usize = 3072;

/// Windows of one picture that are looked at at least.
const WINDOWS_MIN: usize = 16;

/// Memory for the moments of one pass.
const BYTES_MAX: usize = 768 << 20;

/// What is known after all pictures have gone through the float model.
pub(super) struct Calibration {
    /// Counts of each activation.
    pub(super) activations: Vec<Histogram>,
    /// Counts of what each convolution makes, before its function.
    pub(super) outputs: Vec<Histogram>,
    pub(super) moments: Vec<Moments>,
    pub(super) samples: Vec<Sample>,
}

/// One thing to count, with where its numbers are among the outputs of a run.
enum Counter<'a> {
    Histogram(usize, &'a mut Histogram),
    Moments(usize, &'a mut Moments),
}

impl Counter<'_> {
    fn add(&mut self, outputs: &[Tensor], samples: usize, seed: u64) -> bool {
        match self {
            Self::Histogram(at, histogram) => histogram.add(&outputs[*at].data),
            Self::Moments(at, moments) => {
                moments.add(&outputs[*at], samples, seed.wrapping_add(moments.windows.activation as u64));
                true
            }
        }
    }
}

/// What the convolutions read, without repetition, in passes that fit into memory.
fn passes(model: &FloatModel) -> Vec<Vec<Windows>> {
    let mut all: Vec<Windows> = (0..model.convolutions().len()).filter_map(|conv| windows(model, conv)).collect();
    all.sort();
    all.dedup();
    let mut passes = vec![Vec::new()];
    let mut bytes = 0;
    for windows in all {
        if bytes > 0 && bytes + windows.bytes() > BYTES_MAX {
            passes.push(Vec::new());
            bytes = 0;
        }
        bytes += windows.bytes();
        passes.last_mut().expect("there is always one").push(windows);
    }
    passes
}

/// What a convolution reads; `None` where it stays in float.
pub(super) fn windows(model: &FloatModel, conv: usize) -> Option<Windows> {
    let conv = &model.convolutions()[conv];
    let [_, inner, rows, columns] = conv.shape;
    let activation = conv.input?;
    Some(Windows { activation, inner, kernel: [rows, columns], groups: conv.groups })
}

/// Runs the float model over pictures. `done` is told after each.
///
/// # Errors
/// Where the model does not run, or makes numbers that are not finite.
pub(super) fn count(
    model: &FloatModel,
    runner: &Runner,
    pictures: Vec<Prepared>,
    done: &mut dyn FnMut() -> Result<()>,
) -> Result<Calibration> {
    let mut passes = passes(model).into_iter();
    let first = passes.next().expect("there is always one");
    let tensors = model.activations().len() + model.convolutions().len();
    let mut histograms = vec![Histogram::default(); tensors];
    let mut moments: Vec<Moments> = first.into_iter().map(Moments::new).collect();
    let all = Tensors::of(model, true);
    let samples = all.count(runner, &pictures, (&mut histograms, &mut moments), done)?;
    for pass in passes {
        let mut more: Vec<Moments> = pass.into_iter().map(Moments::new).collect();
        Tensors::of(model, false).count(runner, &pictures, (&mut [], &mut more), &mut || Ok(()))?;
        moments.extend(more);
    }
    let samples = pictures.into_iter().zip(samples).map(|(picture, found)| Sample { picture, found }).collect();
    let outputs = histograms.split_off(model.activations().len());
    Ok(Calibration { activations: histograms, outputs, moments, samples })
}

/// The tensors that the float model is made to show: its activations, and perhaps what its convolutions make.
struct Tensors<'a> {
    model: &'a FloatModel,
    /// Those that the model makes; the input is not among them.
    made: Vec<&'a str>,
}

impl<'a> Tensors<'a> {
    fn of(model: &'a FloatModel, with_outputs: bool) -> Self {
        let activations = model.activations().iter().filter(|one| !one.is_input).map(|one| one.tensor.as_str());
        let outputs = model.convolutions().iter().map(|conv| conv.output.as_str());
        Self { model, made: activations.chain(outputs.take(if with_outputs { usize::MAX } else { 0 })).collect() }
    }

    /// Where among the outputs of the model each tensor to be counted is: activations first, of which the input comes
    /// behind all outputs.
    fn places(&self, float: &Model) -> Result<Vec<usize>> {
        let activations = self.model.activations();
        let inputs = activations.iter().filter(|one| one.is_input).count();
        let outputs = self.made[activations.len() - inputs..].iter().map(|name| float.place(name));
        let place = |one: &Activation| if one.is_input { Ok(float.outputs()) } else { float.place(&one.tensor) };
        activations.iter().map(place).chain(outputs).collect()
    }

    /// The name of a tensor to be counted.
    fn named(&self, index: usize) -> Option<&str> {
        let activations = self.model.activations();
        match activations.get(index) {
            Some(activation) => Some(&activation.tensor),
            None => self.model.convolutions().get(index - activations.len()).map(|conv| conv.output.as_str()),
        }
    }

    /// Runs the model over pictures, and returns what it finds in each.
    fn count(
        &self,
        runner: &Runner,
        pictures: &[Prepared],
        (histograms, moments): (&mut [Histogram], &mut [Moments]),
        done: &mut dyn FnMut() -> Result<()>,
    ) -> Result<Vec<Vec<Detection>>> {
        let mut unique = self.made.clone();
        unique.sort_unstable();
        unique.dedup();
        let bytes = self.model.exposing(&unique)?;
        let mut float = runner.load(&bytes).context("the float model cannot show its activations")?;
        let places = self.places(&float)?;
        let windows_each = WINDOWS_TOTAL.div_ceil(pictures.len().max(1)).max(WINDOWS_MIN);
        let mut all_found = Vec::with_capacity(pictures.len());
        for (index, picture) in pictures.iter().enumerate() {
            let (found, mut exposed) = float.detect_and_expose(picture)?;
            exposed.push(float.detector.input_of(picture));
            let of_moments =
                moments.iter_mut().map(|moments| Counter::Moments(places[moments.windows.activation], moments));
            let of_histograms =
                histograms.iter_mut().zip(&places).map(|(counts, place)| Counter::Histogram(*place, counts));
            let mut counters: Vec<(Counter<'_>, bool)> =
                of_moments.chain(of_histograms).map(|one| (one, true)).collect();
            for_each(&mut counters, runner.threads(), |(counter, is_finite)| {
                *is_finite = counter.add(&exposed, windows_each, (index as u64) << 32);
            });
            if let Some((Counter::Histogram(at, _), _)) = counters.iter().find(|(_, is_finite)| !is_finite) {
                let tensor = places.iter().position(|place| place == at).and_then(|index| self.named(index));
                let name = tensor.unwrap_or("input");
                bail!("the tensor {name:?} holds numbers that are not finite; export the model again");
            }
            all_found.push(found);
            done()?;
        }
        Ok(all_found)
    }
}
