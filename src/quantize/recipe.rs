//! From what was counted to a first recipe: ranges with the least squared error, weights rounded to it.

use super::{
    calibrate::{self, Calibration},
    graph::{FloatModel, Function, Recipe},
    parallel::for_each,
    range::{self, Candidate, Steps},
    rounding::{self, Rounded},
};

/// So much of all numbers that go through a SiLU may go through it in floats: that is slower than a table, but more exact.
/// Layers with the fewest numbers come first, which are those near the end.
const EXACT_PART: f64 = 0.12;

/// The ranges that each group of activations could have; the first is where to begin. A single one where it is known
/// beforehand.
pub(super) fn candidates(model: &FloatModel, calibration: &Calibration) -> Vec<Vec<Candidate>> {
    let of_group = |group: usize| {
        let members = || model.activations().iter().zip(&calibration.activations).filter(|(one, _)| one.group == group);
        if let Some(range) = members().find_map(|(one, _)| one.fixed) {
            return vec![Candidate { method: range::Method::Fixed, range }];
        }
        let histograms: Vec<_> = members().map(|(_, histogram)| histogram).collect();
        if members().any(|(one, _)| one.is_input) {
            // Pixels: the unit, or bytes; what the pictures at hand lack others may have.
            let [_, high] = range::hull(histograms.iter().map(|histogram| histogram.bounds()));
            let high = if high <= 1.0 { 1.0 } else { 255.0_f32.max(high) };
            return vec![Candidate { method: range::Method::Fixed, range: [0.0, high] }];
        }
        range::candidates(&histograms)
    };
    (0..model.groups()).map(of_group).collect()
}

/// The recipe with the first candidate of each group.
pub(super) fn first(
    model: &FloatModel,
    calibration: &Calibration,
    candidates: &[Vec<Candidate>],
    threads: usize,
) -> Recipe {
    let ranges = candidates.iter().map(|found| found[0].range).collect();
    let mut recipe = Recipe { ranges, outputs: before_functions(model, calibration), ..Recipe::default() };
    round_weights(model, calibration, &mut recipe, threads);
    recipe
}

/// Ranges before the functions of those convolutions that are to take their function from a table.
fn before_functions(model: &FloatModel, calibration: &Calibration) -> Vec<Option<[f32; 2]>> {
    let mut ranges = vec![None; model.convolutions().len()];
    let mut by_size: Vec<(u64, usize)> = model
        .convolutions()
        .iter()
        .enumerate()
        .filter(|(_, conv)| conv.function == Function::Silu && !conv.is_last && conv.input.is_some())
        .map(|(index, conv)| (conv.macs / conv.shape[1..].iter().product::<usize>().max(1) as u64, index))
        .collect();
    by_size.sort_unstable();
    let total: u64 = by_size.iter().map(|(numbers, _)| numbers).sum();
    let mut exact = 0;
    for (numbers, conv) in by_size {
        exact += numbers;
        if exact as f64 > EXACT_PART * total as f64 {
            ranges[conv] = Some(range::before_silu(&calibration.outputs[conv]));
        }
    }
    ranges
}

/// Rounds the weights of all convolutions to the ranges of a recipe.
pub(super) fn round_weights(model: &FloatModel, calibration: &Calibration, recipe: &mut Recipe, threads: usize) {
    let convolutions = model.convolutions();
    let moments_of = |conv: usize| {
        let windows = calibrate::windows(model, conv)?;
        calibration.moments.iter().find(|moments| moments.windows == windows && moments.count > 0)
    };
    let mut jobs: Vec<_> =
        (0..convolutions.len()).filter_map(|conv| Some((conv, moments_of(conv)?, None::<Rounded>))).collect();
    for_each(&mut jobs, threads, |(conv, moments, rounded)| {
        let (weights, _) = model.weights(*conv);
        *rounded = Some(rounding::round(weights, convolutions[*conv].shape[0], moments, noise(model, recipe, *conv)));
    });
    recipe.weight_scales = vec![None; convolutions.len()];
    recipe.whole_weights = vec![None; convolutions.len()];
    recipe.biases = vec![None; convolutions.len()];
    for (conv, _, rounded) in jobs {
        let Some(rounded) = rounded else { continue };
        let (_, bias) = model.weights(conv);
        let own = |channel: usize| bias.map_or(0.0, |bias| bias[channel]);
        let shifts = rounded.bias_shift.iter().enumerate();
        recipe.biases[conv] = Some(shifts.map(|(channel, shift)| own(channel) + shift).collect());
        recipe.weight_scales[conv] = Some(rounded.scales);
        recipe.whole_weights[conv] = Some(rounded.whole);
    }
}

/// The mean square of what rounding changes in each number that a convolution reads.
fn noise(model: &FloatModel, recipe: &Recipe, conv: usize) -> f64 {
    let input = model.convolutions()[conv].input;
    let scale = input.map_or(0.0, |input| Steps::of(recipe.ranges[model.activations()[input].group]).scale);
    scale * scale / 12.0
}

/// For each convolution in int8 how much of what it makes is the rounding of what it reads, as a ratio of amplitudes.
pub(super) fn noise_ratios(model: &FloatModel, calibration: &Calibration, recipe: &Recipe) -> Vec<f64> {
    let ratio = |conv: usize| {
        let [outputs, ..] = model.convolutions()[conv].shape;
        let (weights, _) = model.weights(conv);
        let squares: f64 = weights.iter().map(|weight| f64::from(*weight) * f64::from(*weight)).sum();
        let signal = calibration.outputs[conv].variance() * outputs as f64;
        (noise(model, recipe, conv) * squares / signal.max(f64::MIN_POSITIVE)).sqrt()
    };
    (0..model.convolutions().len()).map(ratio).collect()
}
