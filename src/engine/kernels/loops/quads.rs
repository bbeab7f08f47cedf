//! Convolutions of each channel of bytes on its own, by the AVX-512 VNNI instruction that adds four products at a time.
//!
//! The compiler does not find it: four taps of 64 channels are interleaved in registers, so that the four bytes of a
//! channel lie side by side. The channels then are in another order, which bias, multipliers and weights follow, and
//! from which packing the results to bytes brings them back.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::Codes;
use crate::engine::kernels::{Kernels, Level};

/// Channels in a block.
const BLOCK: usize = 64;

/// A convolution's operands in the order of the registers.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Quads {
    channels: usize,
    /// Four taps at a time; what is missing in the last ones is repeated, with weights of zero.
    taps: Vec<[usize; 4]>,
    /// From a window's first number to behind its last.
    window_len: usize,
    /// The last one overlaps the one before where the channels do not come out even.
    blocks: Vec<Block>,
    high: f32,
    /// The lowest result, and what is added to get it.
    least: u8,
    offset: i16,
}

/// Its arrays are aligned to 64 bytes, as they come first.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
struct Block {
    bias: [i32; BLOCK],
    multipliers: [f32; BLOCK],
    channel: usize,
    /// For each four taps.
    weights: Vec<Weights>,
}

/// The weights of four taps, those of a channel side by side.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
struct Weights([i8; 4 * BLOCK]);

impl Quads {
    /// `None` where the machine or the kernels lack the instruction or there are too few channels. The operands are
    /// those of [`depthwise_bytes`](super::depthwise_bytes) for bytes held as `u8`.
    pub(in crate::engine) fn new(
        kernels: &Kernels,
        taps: &[usize],
        weights: &[i8],
        bias: &[i32],
        codes: Codes<'_>,
    ) -> Option<Self> {
        let channels = bias.len();
        let detected = !kernels.signed && kernels.level == Level::Avx512 && is_x86_feature_detected!("avx512vnni");
        if !detected || channels < BLOCK || taps.is_empty() {
            return None;
        }
        assert!(codes.multipliers.len() == channels && weights.len() == taps.len() * channels);
        let block = |channel: usize| {
            let channel = channel.min(channels - BLOCK);
            let weight = |quad: usize, index: usize| {
                let tap = 4 * quad + index % 4;
                if tap < taps.len() { weights[tap * channels + channel + place(index / 4)] } else { 0 }
            };
            Block {
                bias: std::array::from_fn(|index| bias[channel + place(index)]),
                multipliers: std::array::from_fn(|index| codes.multipliers[channel + place(index)]),
                channel,
                weights: (0..taps.len().div_ceil(4))
                    .map(|quad| Weights(std::array::from_fn(|index| weight(quad, index))))
                    .collect(),
            }
        };
        Some(Self {
            channels,
            taps: taps.chunks(4).map(|taps| std::array::from_fn(|tap| taps[tap.min(taps.len() - 1)])).collect(),
            window_len: taps.iter().max()? + channels,
            blocks: (0..channels).step_by(BLOCK).map(block).collect(),
            high: codes.high,
            least: u8::try_from(codes.low as i32 + codes.offset).ok()?,
            offset: i16::try_from(codes.offset).ok()?,
        })
    }

    /// Computes a row of pixels, which read what lies `stride` apart. The output has all channels of each pixel side by
    /// side.
    pub(in crate::engine) fn run(&self, input: &[u8], stride: usize, output: &mut [u8]) {
        let pixels = output.len() / self.channels;
        assert!(pixels > 0 && (pixels - 1) * stride + self.window_len <= input.len());
        for block in &self.blocks {
            // SAFETY: what the function is compiled for was detected in `new`; the assertion and the division hold all
            // pixels inside of the two slices, the other operands are this one's own.
            unsafe { self.run_block(block, input.as_ptr(), stride, pixels, output.as_mut_ptr()) };
        }
    }

    /// # Safety
    /// So many pixels may be read and written.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    unsafe fn run_block(&self, block: &Block, input: *const u8, stride: usize, pixels: usize, output: *mut u8) {
        let high = _mm512_set1_ps(self.high);
        let (least, offset) = (_mm512_set1_epi8(self.least.cast_signed()), _mm512_set1_epi16(self.offset));
        for pixel in 0..pixels {
            // SAFETY: as the caller says: the window of each pixel and all its channels; the arrays have 64 numbers,
            // and 4 × 64, and are aligned.
            unsafe {
                let input = input.add(pixel * stride + block.channel);
                let bias = block.bias.as_ptr().cast::<__m512i>();
                let mut sums: [__m512i; 4] = std::array::from_fn(|quarter| bias.add(quarter).read());
                for (taps, weights) in self.taps.iter().zip(&block.weights) {
                    let [a, b, c, d] = taps.map(|tap| input.add(tap).cast::<__m512i>().read_unaligned());
                    let (ab_low, ab_high) = (_mm512_unpacklo_epi8(a, b), _mm512_unpackhi_epi8(a, b));
                    let (cd_low, cd_high) = (_mm512_unpacklo_epi8(c, d), _mm512_unpackhi_epi8(c, d));
                    let bytes = [
                        _mm512_unpacklo_epi16(ab_low, cd_low),
                        _mm512_unpackhi_epi16(ab_low, cd_low),
                        _mm512_unpacklo_epi16(ab_high, cd_high),
                        _mm512_unpackhi_epi16(ab_high, cd_high),
                    ];
                    let weights = weights.0.as_ptr().cast::<__m512i>();
                    for (quarter, sum) in sums.iter_mut().enumerate() {
                        *sum = _mm512_dpbusd_epi32(*sum, bytes[quarter], weights.add(quarter).read());
                    }
                }
                let multipliers = block.multipliers.as_ptr().cast::<__m512>();
                let [a, b, c, d] = std::array::from_fn(|quarter| {
                    // What is far below the lowest result becomes the lowest integer, so that only the highest one is
                    // to be held to before it is rounded.
                    let scaled = _mm512_mul_ps(_mm512_cvtepi32_ps(sums[quarter]), multipliers.add(quarter).read());
                    _mm512_cvtps_epi32(_mm512_min_ps(scaled, high))
                });
                let low = _mm512_adds_epi16(_mm512_packs_epi32(a, b), offset);
                let high = _mm512_adds_epi16(_mm512_packs_epi32(c, d), offset);
                let codes = _mm512_max_epu8(_mm512_packus_epi16(low, high), least);
                output.add(pixel * self.channels + block.channel).cast::<__m512i>().write_unaligned(codes);
            }
        }
    }
}

/// The channel that interleaving brings to an index: four neighbours of each lane of 16 follow each other.
fn place(index: usize) -> usize {
    let (quarter, lane) = (index / 16, index % 16 / 4);
    16 * lane + 4 * quarter + index % 4
}
