//! Convolutions of each channel of bytes on its own.
//!
//! The compiler widens bytes before it multiplies them. Here the products of two taps are added in `i16` and then to
//! the sums, sixteen channels at a time. Only two products of -128 × -128 leave `i16`, so that weights where two of them
//! could meet are left to the loop that the compiler makes.

use std::arch::aarch64::{
    int8x16_t, int32x4_t, vaddw_high_s16, vaddw_s16, vget_low_s8, vget_low_s16, vld1q_f32, vld1q_s8, vld1q_s32,
    vmlal_high_s8, vmlal_s8, vmull_high_s8, vmull_s8, vst1q_s8,
};

use super::finish;
use crate::engine::kernels::{Kernels, loops::Codes};

/// Channels in a block.
const BLOCK: usize = 16;

/// A convolution's operands, block by block.
#[derive(Clone, Debug)]
pub(in crate::engine) struct DepthwiseBlocks {
    channels: usize,
    taps: Vec<usize>,
    /// From a window's first number to behind its last.
    window_len: usize,
    /// The last one overlaps the one before where the channels do not come out even.
    blocks: Vec<Block>,
    codes: finish::Codes,
}

#[derive(Clone, Debug)]
struct Block {
    channel: usize,
    bias: [i32; BLOCK],
    multipliers: [f32; BLOCK],
    /// For each tap.
    weights: Vec<[i8; BLOCK]>,
}

impl DepthwiseBlocks {
    /// `None` where there are too few channels, or two weights of -128 that could meet. The operands are those of
    /// `depthwise_bytes` for bytes held as `i8`.
    pub(in crate::engine) fn new(
        kernels: &Kernels,
        taps: &[usize],
        weights: &[i8],
        bias: &[i32],
        codes: Codes<'_>,
    ) -> Option<Self> {
        let channels = bias.len();
        if !kernels.signed || channels < BLOCK || taps.is_empty() {
            return None;
        }
        assert!(codes.multipliers.len() == channels && weights.len() == taps.len() * channels);
        let lowest = |tap: usize, channel: usize| weights[tap * channels + channel] == i8::MIN;
        let meet = |tap: usize| (0..channels).any(|channel| lowest(tap, channel) && lowest(tap + 1, channel));
        if (1..taps.len()).step_by(2).any(|tap| meet(tap - 1)) {
            return None;
        }
        let block = |channel: usize| {
            let channel = channel.min(channels - BLOCK);
            Block {
                channel,
                bias: std::array::from_fn(|index| bias[channel + index]),
                multipliers: std::array::from_fn(|index| codes.multipliers[channel + index]),
                weights: weights
                    .chunks(channels)
                    .map(|weights| std::array::from_fn(|index| weights[channel + index]))
                    .collect(),
            }
        };
        Some(Self {
            channels,
            taps: taps.to_vec(),
            window_len: taps.iter().max()? + channels,
            blocks: (0..channels).step_by(BLOCK).map(block).collect(),
            codes: finish::Codes::new([codes.low, codes.high], codes.offset),
        })
    }

    /// Computes a row of pixels, which read what lies `stride` apart. The output has all channels of each pixel side by
    /// side.
    pub(in crate::engine) fn run(&self, input: &[u8], stride: usize, output: &mut [u8]) {
        let pixels = output.len() / self.channels;
        assert!(pixels > 0 && (pixels - 1) * stride + self.window_len <= input.len());
        for block in &self.blocks {
            // SAFETY: the assertion and the division hold all pixels inside of the two slices.
            unsafe {
                let input = input.as_ptr().add(block.channel);
                let output = output.as_mut_ptr().add(block.channel);
                self.run_block(block, input, output, stride, pixels);
            }
        }
    }

    /// # Safety
    /// The block's channels of so many pixels' windows, which lie `stride` apart, may be read, and those of the pixels
    /// written.
    unsafe fn run_block(&self, block: &Block, input: *const u8, output: *mut u8, stride: usize, pixels: usize) {
        // SAFETY: arrays of sixteen numbers, and what the caller says of the pixels.
        unsafe {
            let bias: [int32x4_t; 4] = std::array::from_fn(|index| vld1q_s32(block.bias[4 * index..].as_ptr()));
            let multipliers = std::array::from_fn(|index| vld1q_f32(block.multipliers[4 * index..].as_ptr()));
            let write = |pixel: usize, sums: [int32x4_t; 4]| {
                let output = output.wrapping_add(pixel.wrapping_mul(self.channels));
                vst1q_s8(output.cast(), self.codes.of(sums, &multipliers));
            };
            let input = |pixel: usize| input.wrapping_add(pixel.wrapping_mul(stride));
            if let Ok(taps) = <&[usize; 9]>::try_from(self.taps.as_slice()) {
                let taps = *taps;
                let weights = std::array::from_fn(|tap| vld1q_s8(block.weights[tap].as_ptr()));
                for pixel in 0..pixels {
                    write(pixel, sums_of_nine(input(pixel), &taps, &weights, bias));
                }
            } else {
                for pixel in 0..pixels {
                    write(pixel, sums(input(pixel), &self.taps, &block.weights, bias));
                }
            }
        }
    }
}

/// # Safety
/// Sixteen bytes may be read at each tap.
#[inline(always)]
unsafe fn sums(input: *const u8, taps: &[usize], weights: &[[i8; BLOCK]], mut sums: [int32x4_t; 4]) -> [int32x4_t; 4] {
    for (taps, weights) in taps.chunks(2).zip(weights.chunks(2)) {
        // SAFETY: as the caller says.
        unsafe {
            let load = |tap: usize| vld1q_s8(input.add(tap).cast());
            let (bytes, of_first) = (load(taps[0]), vld1q_s8(weights[0].as_ptr()));
            let mut low = vmull_s8(vget_low_s8(bytes), vget_low_s8(of_first));
            let mut high = vmull_high_s8(bytes, of_first);
            if let ([_, tap], [_, weights]) = (taps, weights) {
                let (bytes, of_second) = (load(*tap), vld1q_s8(weights.as_ptr()));
                low = vmlal_s8(low, vget_low_s8(bytes), vget_low_s8(of_second));
                high = vmlal_high_s8(high, bytes, of_second);
            }
            sums = [
                vaddw_s16(sums[0], vget_low_s16(low)),
                vaddw_high_s16(sums[1], low),
                vaddw_s16(sums[2], vget_low_s16(high)),
                vaddw_high_s16(sums[3], high),
            ];
        }
    }
    sums
}

/// Products of a tap, or with those of a second one added.
macro_rules! products {
    ($first:literal) => {
        concat!(
            concat!("ldr {x:q}, [{input}, {t", $first, "}]\n"),
            concat!("smull {low:v}.8h, {x:v}.8b, {w", $first, ":v}.8b\n"),
            concat!("smull2 {high:v}.8h, {x:v}.16b, {w", $first, ":v}.16b\n"),
        )
    };
    ($first:literal $second:literal) => {
        concat!(
            products!($first),
            concat!("ldr {x:q}, [{input}, {t", $second, "}]\n"),
            concat!("smlal {low:v}.8h, {x:v}.8b, {w", $second, ":v}.8b\n"),
            concat!("smlal2 {high:v}.8h, {x:v}.16b, {w", $second, ":v}.16b\n"),
        )
    };
}

/// Adds products to what the letter names.
macro_rules! add_to {
    ($to:literal) => {
        concat!(
            concat!("saddw {s0:v}.4s, {", $to, "0:v}.4s, {low:v}.4h\n"),
            concat!("saddw2 {s1:v}.4s, {", $to, "1:v}.4s, {low:v}.8h\n"),
            concat!("saddw {s2:v}.4s, {", $to, "2:v}.4s, {high:v}.4h\n"),
            concat!("saddw2 {s3:v}.4s, {", $to, "3:v}.4s, {high:v}.8h\n"),
        )
    };
}

/// As [`sums`], with all weights in registers: the compiler would bring the upper half of each vector down first.
///
/// # Safety
/// As [`sums`].
#[inline(always)]
unsafe fn sums_of_nine(
    input: *const u8,
    taps: &[usize; 9],
    weights: &[int8x16_t; 9],
    bias: [int32x4_t; 4],
) -> [int32x4_t; 4] {
    let (s0, s1, s2, s3);
    // SAFETY: it reads what the caller names.
    unsafe {
        std::arch::asm!(
            products!("0" "1"), add_to!("b"),
            products!("2" "3"), add_to!("s"),
            products!("4" "5"), add_to!("s"),
            products!("6" "7"), add_to!("s"),
            products!("8"), add_to!("s"),
            input = in(reg) input,
            t0 = in(reg) taps[0], t1 = in(reg) taps[1], t2 = in(reg) taps[2], t3 = in(reg) taps[3],
            t4 = in(reg) taps[4], t5 = in(reg) taps[5], t6 = in(reg) taps[6], t7 = in(reg) taps[7],
            t8 = in(reg) taps[8],
            w0 = in(vreg) weights[0], w1 = in(vreg) weights[1], w2 = in(vreg) weights[2], w3 = in(vreg) weights[3],
            w4 = in(vreg) weights[4], w5 = in(vreg) weights[5], w6 = in(vreg) weights[6], w7 = in(vreg) weights[7],
            w8 = in(vreg) weights[8],
            b0 = in(vreg) bias[0], b1 = in(vreg) bias[1], b2 = in(vreg) bias[2], b3 = in(vreg) bias[3],
            s0 = out(vreg) s0, s1 = out(vreg) s1, s2 = out(vreg) s2, s3 = out(vreg) s3,
            x = out(vreg) _, low = out(vreg) _, high = out(vreg) _,
            options(nostack, readonly, pure, preserves_flags),
        );
    }
    [s0, s1, s2, s3]
}
