//! Convolutions of each channel of bytes on its own, by the AVX2 instruction that adds two products of words.
//!
//! The words of two taps are interleaved in registers, so that those of a channel lie side by side. The channels then are
//! in another order, which bias, multipliers and weights follow, and from which packing the results brings them back.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::Codes;

/// Channels in a block.
const BLOCK: usize = 32;

/// A convolution's operands in the order of the registers.
#[derive(Clone, Debug)]
pub(in crate::engine) struct TapPairs {
    channels: usize,
    /// Two taps at a time; what is missing in the last ones is repeated, with weights of zero.
    taps: Vec<[usize; 2]>,
    /// From a window's first number to behind its last.
    window_len: usize,
    /// The last one overlaps the one before where the channels do not come out even.
    blocks: Vec<Block>,
    high: f32,
    /// The lowest result, and what is added to get it.
    least: u8,
    offset: i16,
}

/// Its arrays are aligned to 32 bytes, as they come first.
#[derive(Clone, Debug)]
#[repr(C, align(32))]
struct Block {
    bias: [i32; BLOCK],
    multipliers: [f32; BLOCK],
    channel: usize,
    /// For each two taps.
    weights: Vec<Weights>,
}

/// The weights of two taps, those of a channel side by side.
#[derive(Clone, Debug)]
#[repr(C, align(32))]
struct Weights([i16; 2 * BLOCK]);

impl TapPairs {
    /// `None` where the machine lacks the instruction or there are too few channels. The operands are those of
    /// [`depthwise_bytes`](super::depthwise_bytes) for bytes held as `u8`.
    pub(in crate::engine) fn new(taps: &[usize], weights: &[i8], bias: &[i32], codes: Codes<'_>) -> Option<Self> {
        let channels = bias.len();
        if !is_x86_feature_detected!("avx2") || channels < BLOCK || taps.is_empty() {
            return None;
        }
        assert!(codes.multipliers.len() == channels && weights.len() == taps.len() * channels);
        let block = |channel: usize| {
            let channel = channel.min(channels - BLOCK);
            let weight = |pair: usize, index: usize| {
                let tap = 2 * pair + index % 2;
                if tap < taps.len() { weights[tap * channels + channel + place(index / 2)].into() } else { 0 }
            };
            Block {
                bias: std::array::from_fn(|index| bias[channel + place(index)]),
                multipliers: std::array::from_fn(|index| codes.multipliers[channel + place(index)]),
                channel,
                weights: (0..taps.len().div_ceil(2))
                    .map(|pair| Weights(std::array::from_fn(|index| weight(pair, index))))
                    .collect(),
            }
        };
        Some(Self {
            channels,
            taps: taps.chunks(2).map(|taps| [taps[0], taps[taps.len() - 1]]).collect(),
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
    #[target_feature(enable = "avx2")]
    unsafe fn run_block(&self, block: &Block, input: *const u8, stride: usize, pixels: usize, output: *mut u8) {
        let high = _mm256_set1_ps(self.high);
        let (least, offset) = (_mm256_set1_epi8(self.least.cast_signed()), _mm256_set1_epi16(self.offset));
        for pixel in 0..pixels {
            // SAFETY: as the caller says: the window of each pixel and all its channels; the arrays have 32 numbers,
            // and 2 × 32, and are aligned.
            unsafe {
                let input = input.add(pixel * stride + block.channel);
                let bias = block.bias.as_ptr().cast::<__m256i>();
                let mut sums = [bias.read(), bias.add(1).read(), bias.add(2).read(), bias.add(3).read()];
                for (taps, weights) in self.taps.iter().zip(&block.weights) {
                    let (a, b) = (widen(input.add(taps[0])), widen(input.add(taps[1])));
                    let words = [
                        _mm256_unpacklo_epi16(a[0], b[0]),
                        _mm256_unpackhi_epi16(a[0], b[0]),
                        _mm256_unpacklo_epi16(a[1], b[1]),
                        _mm256_unpackhi_epi16(a[1], b[1]),
                    ];
                    let weights = weights.0.as_ptr().cast::<__m256i>();
                    for (quarter, sum) in sums.iter_mut().enumerate() {
                        *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(words[quarter], weights.add(quarter).read()));
                    }
                }
                let multipliers = block.multipliers.as_ptr().cast::<__m256>();
                let [a, b, c, d] = sums;
                let low = _mm256_packs_epi32(
                    rounded(a, multipliers.read(), high),
                    rounded(b, multipliers.add(1).read(), high),
                );
                let upper = _mm256_packs_epi32(
                    rounded(c, multipliers.add(2).read(), high),
                    rounded(d, multipliers.add(3).read(), high),
                );
                let (low, upper) = (_mm256_adds_epi16(low, offset), _mm256_adds_epi16(upper, offset));
                let codes = _mm256_max_epu8(_mm256_packus_epi16(low, upper), least);
                // Each lane has eight channels of the first half, then eight of the second.
                let codes = _mm256_permute4x64_epi64::<0b11_01_10_00>(codes);
                output.add(pixel * self.channels + block.channel).cast::<__m256i>().write_unaligned(codes);
            }
        }
    }
}

/// 32 bytes as words.
///
/// # Safety
/// So many may be read.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn widen(bytes: *const u8) -> [__m256i; 2] {
    let bytes = bytes.cast::<__m128i>();
    // SAFETY: as the caller says.
    unsafe { [_mm256_cvtepu8_epi16(_mm_loadu_si128(bytes)), _mm256_cvtepu8_epi16(_mm_loadu_si128(bytes.add(1)))] }
}

/// The nearest integers to sums by their multipliers. What is far below the lowest result becomes the lowest integer, so
/// that only the highest one is to be held to before.
#[inline]
#[target_feature(enable = "avx2")]
fn rounded(sums: __m256i, multipliers: __m256, high: __m256) -> __m256i {
    _mm256_cvtps_epi32(_mm256_min_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(sums), multipliers), high))
}

/// The channel that interleaving brings to an index: in each half, the lower four of each eight come first.
fn place(index: usize) -> usize {
    let (half, quarter, lane) = (index / 16, index % 16 / 8, index % 8 / 4);
    16 * half + 8 * lane + 4 * quarter + index % 4
}
