//! Convolutions of each channel on its own.
//!
//! A row of pixels at a time, in blocks of neighbouring channels whose sums stay in registers over all taps. The last
//! block of channels overlaps the one before where the channels do not come out even.

use super::math::{ROUND, clamp, fused};

/// A row of output pixels; all distances in elements.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct DepthwiseRow<'a, X, W, B> {
    /// All that the row's windows span, from the first channel of the first window on.
    pub(in crate::engine) input: &'a [X],
    /// From what a pixel reads to what its neighbour reads.
    pub(in crate::engine) stride: usize,
    /// Where in a window the taps are.
    pub(in crate::engine) taps: &'a [usize],
    /// `weights[tap × channels + channel]`.
    pub(in crate::engine) weights: &'a [W],
    /// One for each channel.
    pub(in crate::engine) bias: &'a [B],
}

/// How sums become bytes, as [`requantize`](crate::engine::kernels::requantize) defines.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Codes<'a> {
    /// One for each channel.
    pub(in crate::engine) multipliers: &'a [f32],
    pub(in crate::engine) low: f32,
    pub(in crate::engine) high: f32,
    pub(in crate::engine) offset: i32,
}

per_level! {
    /// Bytes, held as `i8` where `SIGNED`, to bytes. The output has all channels of each pixel side by side.
    pub(in crate::engine) fn depthwise_bytes<SIGNED>[const SIGNED: bool](
        row: DepthwiseRow<'_, u8, i8, i32>,
        codes: Codes<'_>,
        output: &mut [u8],
    ) {
        let channels = row.bias.len();
        each_block(channels, Bytes::<SIGNED> { row, codes }, output);
    }
}

per_level! {
    /// Bytes, held as `i8` where `SIGNED`, to floats: `sum as f32 × multiplier`.
    pub(in crate::engine) fn depthwise_bytes_to_floats<SIGNED>[const SIGNED: bool](
        row: DepthwiseRow<'_, u8, i8, i32>,
        multipliers: &[f32],
        output: &mut [f32],
    ) {
        let channels = row.bias.len();
        each_block(channels, BytesToFloats::<SIGNED> { row, multipliers }, output);
    }
}

per_level! {
    /// Floats: from the bias on, the taps are added in their order by fused multiply-add.
    pub(in crate::engine) fn depthwise_floats(row: DepthwiseRow<'_, f32, f32, f32>, output: &mut [f32]) {
        let channels = row.bias.len();
        each_block(channels, Floats { row }, output);
    }
}

/// What a block of channels of each pixel of a row becomes.
trait Blocks<O> {
    /// Computes `N` channels from `channel` on of all pixels; `output` begins with the first pixel's first channel.
    fn run<const N: usize>(&self, channel: usize, output: &mut [O]);
}

struct Bytes<'a, const SIGNED: bool> {
    row: DepthwiseRow<'a, u8, i8, i32>,
    codes: Codes<'a>,
}

struct BytesToFloats<'a, const SIGNED: bool> {
    row: DepthwiseRow<'a, u8, i8, i32>,
    multipliers: &'a [f32],
}

struct Floats<'a> {
    row: DepthwiseRow<'a, f32, f32, f32>,
}

/// Runs blocks as wide as the channels allow.
#[inline(always)]
fn each_block<O>(channels: usize, blocks: impl Blocks<O>, output: &mut [O]) {
    let mut channel = 0;
    while channel + 64 <= channels {
        blocks.run::<64>(channel, output);
        channel += 64;
    }
    while channel < channels {
        let left = channels - channel;
        match channels {
            16.. => {
                blocks.run::<16>(channel.min(channels - 16), output);
                channel += left.min(16);
            }
            8.. => {
                blocks.run::<8>(channel.min(channels - 8), output);
                channel += left.min(8);
            }
            _ => {
                blocks.run::<1>(channel, output);
                channel += 1;
            }
        }
    }
}

/// `N` numbers from `start` on.
#[inline(always)]
fn block<const N: usize, T>(numbers: &[T], start: usize) -> &[T; N] {
    numbers[start..start + N].first_chunk().expect("the slice has this length")
}

/// As [`block`], to write.
#[inline(always)]
fn block_mut<const N: usize, T>(numbers: &mut [T], start: usize) -> &mut [T; N] {
    numbers[start..start + N].first_chunk_mut().expect("the slice has this length")
}

/// The sums of `N` channels of a pixel, from `at` in the input.
#[inline(always)]
fn sums<const SIGNED: bool, const N: usize>(
    row: &DepthwiseRow<'_, u8, i8, i32>,
    at: usize,
    channel: usize,
) -> [i32; N] {
    let mut sums: [i32; N] = *block(row.bias, channel);
    for (tap, offset) in row.taps.iter().enumerate() {
        let bytes: &[u8; N] = block(row.input, at + offset);
        let weights: &[i8; N] = block(row.weights, tap * row.bias.len() + channel);
        for ((sum, byte), weight) in sums.iter_mut().zip(bytes).zip(weights) {
            let byte = if SIGNED { i32::from(*byte as i8) } else { i32::from(*byte) };
            *sum = sum.wrapping_add(byte * i32::from(*weight));
        }
    }
    sums
}

impl<const SIGNED: bool> Blocks<u8> for Bytes<'_, SIGNED> {
    #[inline(always)]
    fn run<const N: usize>(&self, channel: usize, output: &mut [u8]) {
        let Codes { multipliers, low, high, offset } = self.codes;
        let multipliers: &[f32; N] = block(multipliers, channel);
        let offset = offset.wrapping_sub(ROUND.to_bits() as i32);
        for (pixel, output) in output.chunks_exact_mut(self.row.bias.len()).enumerate() {
            let sums: [i32; N] = sums::<SIGNED, N>(&self.row, pixel * self.row.stride + channel, channel);
            let output: &mut [u8; N] = block_mut(output, channel);
            for ((output, sum), multiplier) in output.iter_mut().zip(sums).zip(multipliers) {
                let rounded = clamp(sum as f32 * multiplier, low, high) + ROUND;
                *output = (rounded.to_bits() as i32).wrapping_add(offset) as u8;
            }
        }
    }
}

impl<const SIGNED: bool> Blocks<f32> for BytesToFloats<'_, SIGNED> {
    #[inline(always)]
    fn run<const N: usize>(&self, channel: usize, output: &mut [f32]) {
        let multipliers: &[f32; N] = block(self.multipliers, channel);
        for (pixel, output) in output.chunks_exact_mut(self.row.bias.len()).enumerate() {
            let sums: [i32; N] = sums::<SIGNED, N>(&self.row, pixel * self.row.stride + channel, channel);
            let output: &mut [f32; N] = block_mut(output, channel);
            for ((output, sum), multiplier) in output.iter_mut().zip(sums).zip(multipliers) {
                *output = sum as f32 * multiplier;
            }
        }
    }
}

impl Blocks<f32> for Floats<'_> {
    #[inline(always)]
    fn run<const N: usize>(&self, channel: usize, output: &mut [f32]) {
        let DepthwiseRow { input, stride, taps, weights, bias } = self.row;
        for (pixel, output) in output.chunks_exact_mut(bias.len()).enumerate() {
            let mut sums: [f32; N] = *block(bias, channel);
            for (tap, offset) in taps.iter().enumerate() {
                let numbers: &[f32; N] = block(input, pixel * stride + channel + offset);
                let weights: &[f32; N] = block(weights, tap * bias.len() + channel);
                for ((sum, number), weight) in sums.iter_mut().zip(numbers).zip(weights) {
                    *sum = fused(*number, *weight, *sum);
                }
            }
            *block_mut(output, channel) = sums;
        }
    }
}
