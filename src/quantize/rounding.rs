//! Weights as whole numbers, rounded so that the outputs of a convolution change least, not the weights.
//!
//! The error of an output is a linear form of the errors of the weights, and its mean square over windows a quadratic one,
//! whose coefficients are the moments of what the convolution reads. The whole numbers with the least error are sought
//! one weight after the other, each rounded to make up for the errors of those before it: the nearest plane of L. Babai
//! (*On Lovász' lattice reduction*, 1986), which E. Frantar and others apply to networks as GPTQ (2023). All in f64, in
//! one order, without anything but the four operations and square roots: the same on every machine.

use super::moments::{Cell, Moments};

/// The largest of the numbers that weights are held in; the smallest is its opposite.
const WHOLE_MAX: f64 = 127.0;

/// So much of the mean of the diagonal is added to it, for what was seen in the sampled windows only.
const DAMPING: f64 = 0.01;

/// A convolution's weights as whole numbers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rounded {
    /// In the order of the weights.
    pub(super) whole: Vec<i8>,
    /// One for each output channel.
    pub(super) scales: Vec<f32>,
    /// For each output channel what has to be added to its bias, so that its mean stays what it was.
    pub(super) bias_shift: Vec<f32>,
}

/// Rounds the weights of a convolution, `outputs` channels one after the other. `noise` is the mean square of the error
/// that each number has that is read.
pub(super) fn round(weights: &[f32], outputs: usize, moments: &Moments, noise: f64) -> Rounded {
    let columns = weights.len() / outputs;
    let in_group = outputs / moments.windows.groups;
    let count = moments.count.max(1) as f64;
    let cells_of_group = moments.cells.len() / moments.windows.groups;
    let mut found =
        Rounded { whole: vec![0; weights.len()], scales: vec![1.0; outputs], bias_shift: vec![0.0; outputs] };
    for (group, cells) in moments.cells.chunks(cells_of_group).enumerate() {
        let channels = group * in_group..(group + 1) * in_group;
        let power: Vec<f64> = cells.iter().flat_map(Cell::diagonal).map(|sum| sum / count + noise).collect();
        for channel in channels.clone() {
            found.scales[channel] = scale(&weights[channel * columns..(channel + 1) * columns], &power);
        }
        let mut shifts = vec![0.0_f64; in_group];
        for cell in cells {
            let plane = Plane::of(cell, noise * count);
            for (shift, channel) in shifts.iter_mut().zip(channels.clone()) {
                let start = channel * columns + cell.first;
                let (own, scale) = (&weights[start..start + cell.len], f64::from(found.scales[channel]));
                let whole = plane.nearest(own, scale);
                for ((number, weight), sum) in whole.iter().zip(own).zip(&cell.sums) {
                    *shift += (f64::from(*weight) - f64::from(*number) * scale) * sum / count;
                }
                found.whole[start..start + cell.len].copy_from_slice(&whole);
            }
        }
        for (shift, channel) in shifts.iter().zip(channels) {
            found.bias_shift[channel] = *shift as f32;
        }
    }
    found
}

impl Cell {
    fn diagonal(&self) -> impl Iterator<Item = f64> {
        (0..self.len).map(|index| self.products[index * self.len + index])
    }
}

/// The scale of a channel with the least squared error where each weight is rounded to the nearest, and counts as its
/// inputs are strong.
fn scale(weights: &[f32], power: &[f64]) -> f32 {
    let largest = weights.iter().fold(0.0_f32, |largest, weight| largest.max(weight.abs()));
    if largest == 0.0 {
        return 1.0;
    }
    let mut best = (f64::INFINITY, 0.0);
    for part in (60_u16..=100).rev().step_by(2) {
        let scale = largest * (f32::from(part) / 100.0) / WHOLE_MAX as f32;
        let error: f64 = weights
            .iter()
            .zip(power)
            .map(|(weight, power)| {
                let off = f64::from(*weight) - nearest(f64::from(*weight), f64::from(scale)) * f64::from(scale);
                off * off * power
            })
            .sum();
        if error < best.0 {
            best = (error, scale);
        }
    }
    best.1
}

fn nearest(weight: f64, scale: f64) -> f64 {
    (weight / scale).round_ties_even().clamp(-WHOLE_MAX, WHOLE_MAX)
}

/// The quadratic form of a cell as the square of a triangular one.
struct Plane {
    /// The weights in the order in which the triangle has them: weak inputs first.
    order: Vec<usize>,
    /// Upper triangle, row-major, `len × len`.
    triangle: Vec<f64>,
}

impl Plane {
    fn of(cell: &Cell, noise: f64) -> Self {
        let len = cell.len;
        let diagonal: Vec<f64> = cell.diagonal().collect();
        let mean = diagonal.iter().sum::<f64>() / len as f64;
        let added = noise + mean * DAMPING + f64::MIN_POSITIVE.sqrt();
        let mut order: Vec<usize> = (0..len).collect();
        order.sort_by(|a, b| diagonal[*a].total_cmp(&diagonal[*b]).then(a.cmp(b)));
        let mut lower = vec![0.0; len * len];
        for i in 0..len {
            for j in 0..=i {
                let (a, b) = (order[i].min(order[j]), order[i].max(order[j]));
                let form = cell.products[a * len + b] + if i == j { added } else { 0.0 };
                let (before, row) = lower.split_at_mut(i * len);
                let other = if i == j { &row[..j] } else { &before[j * len..j * len + j] };
                let left = form - dot(&row[..j], other);
                row[j] = if i == j { left.max(added * 1e-6).sqrt() } else { left / before[j * len + j] };
            }
        }
        let mut triangle = vec![0.0; len * len];
        for i in 0..len {
            for j in i..len {
                triangle[i * len + j] = lower[j * len + i];
            }
        }
        Self { order, triangle }
    }

    /// The whole numbers near weights, those with strong inputs first.
    fn nearest(&self, weights: &[f32], scale: f64) -> Vec<i8> {
        let len = weights.len();
        let mut whole = vec![0; len];
        let mut errors = vec![0.0_f64; len];
        for i in (0..len).rev() {
            let row = &self.triangle[i * len..(i + 1) * len];
            let weight = f64::from(weights[self.order[i]]);
            let made_up = weight + dot(&row[i + 1..], &errors[i + 1..]) / row[i];
            let number = nearest(made_up, scale);
            errors[i] = weight - number * scale;
            whole[self.order[i]] = number as i8;
        }
        whole
    }
}

/// The sum of the products, in an order that does not depend on the machine.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (a_parts, a_rest) = a.as_chunks::<8>();
    let (b_parts, b_rest) = b.as_chunks::<8>();
    for (a, b) in a_parts.iter().zip(b_parts) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::{super::moments::Windows, *};
    use crate::engine::Tensor;

    /// Numbers in `-1..1`, the same every time.
    fn numbers(len: usize, mut seed: u32) -> Vec<f32> {
        let mut next = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        (0..len).map(|_| next()).collect()
    }

    /// Four channels that have much to do with one another.
    fn tensor() -> Tensor {
        let (common, own) = (numbers(400, 1), numbers(1600, 2));
        let data = (0..1600).map(|index| 1.0 + common[index % 400] + 0.1 * own[index]).collect();
        Tensor { shape: vec![1, 4, 20, 20], data }
    }

    fn moments(groups: usize) -> Moments {
        let windows = Windows { activation: 0, inner: 4 / groups, kernel: [1, 1], groups };
        let mut moments = Moments::new(windows);
        moments.add(&tensor(), usize::MAX, 0);
        moments
    }

    /// The mean square of the error of the outputs with these whole numbers.
    fn error(weights: &[f32], whole: &[i8], scale: f32) -> f64 {
        let input = tensor().data;
        let off = |pixel: usize| -> f64 {
            let of = |channel: usize| f64::from(weights[channel] - f32::from(whole[channel]) * scale);
            (0..4).map(|channel| of(channel) * f64::from(input[channel * 400 + pixel])).sum()
        };
        (0..400).map(|pixel| off(pixel).powi(2)).sum::<f64>() / 400.0
    }

    #[test]
    fn outputs_change_less_than_with_the_nearest_numbers() {
        let moments = moments(1);
        for seed in 10..20 {
            let weights = numbers(4, seed);
            let rounded = round(&weights, 1, &moments, 0.0);
            let scale = rounded.scales[0];
            let plain: Vec<i8> =
                weights.iter().map(|weight| nearest(f64::from(*weight), f64::from(scale)) as i8).collect();
            let [better, plain] = [&rounded.whole, &plain].map(|whole| error(&weights, whole, scale));
            assert!(better <= plain * 1.001, "{seed}: {better} {plain}");
        }
    }

    #[test]
    fn the_mean_stays_what_it_was() {
        let (moments, weights) = (moments(1), numbers(8, 5));
        let rounded = round(&weights, 2, &moments, 0.0);
        let input = tensor().data;
        for channel in 0..2 {
            let off = |index: usize| {
                let at = channel * 4 + index;
                f64::from(weights[at]) - f64::from(rounded.whole[at]) * f64::from(rounded.scales[channel])
            };
            let mean: f64 = (0..1600).map(|index| off(index / 400) * f64::from(input[index])).sum::<f64>() / 400.0;
            assert!((mean - f64::from(rounded.bias_shift[channel])).abs() < 1e-5, "{mean}");
        }
    }

    #[test]
    fn depthwise_weights_are_rounded_by_channel() {
        let rounded = round(&[0.5, -0.25, 0.0, 1.0], 4, &moments(4), 1e-3);
        assert_eq!((rounded.whole[2], rounded.scales[2]), (0, 1.0));
        for (index, weight) in [(0, 0.5), (1, -0.25), (3, 1.0_f32)] {
            let back = f32::from(rounded.whole[index]) * rounded.scales[index];
            assert!((back - weight).abs() < 0.005 * weight.abs(), "{back} {weight}");
        }
    }

    #[test]
    fn strange_inputs_do_no_harm() {
        let windows = Windows { activation: 0, inner: 4, kernel: [1, 1], groups: 1 };
        let mut silent = Moments::new(windows);
        silent.add(&Tensor { shape: vec![1, 4, 2, 2], data: vec![0.0; 16] }, 4, 0);
        let rounded = round(&[1.0, -1.0, 0.5, 0.0], 1, &silent, 0.0);
        assert_eq!(rounded.whole.iter().map(|whole| whole.signum()).collect::<Vec<_>>(), [1, -1, 1, 0]);
    }
}
