//! Choices that are made by measurement: the ranges of activations, and which convolutions stay in float.
//!
//! What a choice costs is seen in what the quantized model finds in pictures of the line, beside what the float model
//! finds there. One choice after the other is tried, and kept where that comes nearer. How many are tried does not depend
//! on the clock, so that the result does not either.

use anyhow::Result;

use super::{
    Step, Watch,
    graph::{FloatModel, Recipe},
    measure::{Runner, Sample},
    range::{Candidate, Method, Steps, scaled},
};

/// A range counts where it takes away so much of the discrepancy.
const GAIN_MIN: f64 = 0.02;

/// A convolution stays in float where that takes away so much of it.
const FLOAT_GAIN_MIN: f64 = 0.04;

/// Ranges whose steps differ by less than this part are the same.
const SCALE_APART_MIN: f64 = 0.06;

/// Groups for which ranges are compared: those that outliers make doubtful.
const GROUPS_MAX: usize = 16;

/// Convolutions that are tried in float for each one that may stay.
const TRIED_EACH: usize = 2;

/// Convolutions that make up more of the work than this stay in int8, unless asked for.
const MACS_PART_MAX: f64 = 0.01;

/// Pictures that choices are measured with.
pub(super) const PICTURES_MAX: usize = 16;

/// What choices are measured with.
pub(super) struct Bench<'a> {
    pub(super) model: &'a FloatModel,
    pub(super) runner: &'a Runner,
    pub(super) samples: &'a [&'a Sample],
}

impl Bench<'_> {
    /// How far a recipe is from the float model.
    pub(super) fn discrepancy(&self, recipe: &Recipe) -> Result<f64> {
        self.runner.discrepancy(self.model, recipe, self.samples)
    }

    /// Chooses among ways to find ranges, for all groups at once and then for single ones. Returns the discrepancy.
    pub(super) fn choose_ranges(
        &self,
        recipe: &mut Recipe,
        candidates: &[Vec<Candidate>],
        watch: &mut Watch<'_>,
    ) -> Result<f64> {
        let mut best = self.discrepancy(recipe)?;
        let ways = candidates.iter().map(Vec::len).max().unwrap_or(0);
        let doubtful = doubtful(candidates);
        let (what, total) = ("comparing ranges", ways + doubtful.len());
        for way in 1..ways {
            let mut other = recipe.clone();
            for (range, found) in other.ranges.iter_mut().zip(candidates) {
                *range = found.get(way).unwrap_or(&found[0]).range;
            }
            let discrepancy = self.discrepancy(&other)?;
            log::debug!("way {way}: {discrepancy:.5} ({best:.5})");
            if discrepancy < best * (1.0 - GAIN_MIN) {
                (best, *recipe) = (discrepancy, other);
            }
            watch(Step { what, done: way, total })?;
        }
        for (done, group) in doubtful.into_iter().enumerate() {
            best = self.choose_range(recipe, group, &candidates[group], best)?;
            watch(Step { what, done: ways + done + 1, total })?;
        }
        Ok(best)
    }

    /// Tries other ranges for one group, and keeps the best in the recipe.
    fn choose_range(&self, recipe: &mut Recipe, group: usize, found: &[Candidate], mut best: f64) -> Result<f64> {
        let start = recipe.ranges[group];
        let mut tried = vec![Steps::of(start)];
        let mut chosen = start;
        let drawn_in =
            [0.75, 0.55].map(|part| Candidate { method: Method::Measured, range: scaled(found[0].range, part) });
        let widest = found.last().copied();
        for candidate in drawn_in.into_iter().chain([found[0]]).chain(widest) {
            let steps = Steps::of(candidate.range);
            if tried.iter().any(|known| (known.scale / steps.scale - 1.0).abs() < SCALE_APART_MIN) {
                continue;
            }
            tried.push(steps);
            recipe.ranges[group] = candidate.range;
            let discrepancy = self.discrepancy(recipe)?;
            log::debug!("group {group}: {candidate:?} gives {discrepancy:.5} ({best:.5})");
            if discrepancy < best * (1.0 - GAIN_MIN) {
                (best, chosen) = (discrepancy, candidate.range);
            }
        }
        recipe.ranges[group] = chosen;
        Ok(best)
    }

    /// Leaves convolutions in float where that brings the model nearer, at most `keep`, noisy ones first. Returns the
    /// discrepancy.
    pub(super) fn choose_floats(
        &self,
        recipe: &mut Recipe,
        (ratios, keep, is_asked): (&[f64], usize, bool),
        mut best: f64,
        watch: &mut Watch<'_>,
    ) -> Result<f64> {
        let convolutions = self.model.convolutions();
        let work: u64 = convolutions.iter().map(|conv| conv.macs).sum();
        let is_cheap = |conv: usize| convolutions[conv].macs as f64 <= MACS_PART_MAX * work as f64;
        let mut order: Vec<usize> = (0..ratios.len())
            .filter(|conv| convolutions[*conv].input.is_some() && (is_asked || is_cheap(*conv)))
            .collect();
        order.sort_by(|a, b| ratios[*b].total_cmp(&ratios[*a]).then(a.cmp(b)));
        order.truncate(keep.saturating_mul(TRIED_EACH));
        let total = order.len();
        for (done, conv) in order.into_iter().enumerate() {
            if recipe.float.len() == keep {
                break;
            }
            recipe.float.insert(conv);
            let discrepancy = self.discrepancy(recipe)?;
            log::debug!("{} in float: {discrepancy:.5} ({best:.5})", convolutions[conv].name);
            if discrepancy < best * (1.0 - FLOAT_GAIN_MIN) {
                best = discrepancy;
            } else {
                recipe.float.remove(&conv);
            }
            watch(Step { what: "looking for sensitive layers", done: done + 1, total })?;
        }
        Ok(best)
    }
}

/// The groups whose ranges depend most on how they are found, most doubtful first.
fn doubtful(candidates: &[Vec<Candidate>]) -> Vec<usize> {
    let stretch = |found: &[Candidate]| match found {
        [first, .., last] => Steps::of(last.range).scale / Steps::of(first.range).scale,
        _ => 1.0,
    };
    let mut order: Vec<usize> = (0..candidates.len()).filter(|group| candidates[*group].len() > 1).collect();
    order.sort_by(|a, b| stretch(&candidates[*b]).total_cmp(&stretch(&candidates[*a])).then(a.cmp(b)));
    order.truncate(GROUPS_MAX);
    order.sort_unstable();
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_with_outliers_are_doubtful() {
        let found = |least: f32, widest: f32| {
            [(Method::LeastSquares, least), (Method::MinMax, widest)]
                .map(|(method, high)| Candidate { method, range: [0.0, high] })
                .to_vec()
        };
        let fixed = vec![Candidate { method: Method::Fixed, range: [0.0, 1.0] }];
        let mut candidates: Vec<_> = (0..20).map(|_| found(1.0, 1.1)).collect();
        candidates[3] = fixed;
        candidates[19] = found(1.0, 4.0);
        let order = doubtful(&candidates);
        assert_eq!(order.len(), GROUPS_MAX);
        assert!(!order.contains(&3) && order.contains(&19));
    }
}
