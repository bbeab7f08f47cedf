//! What the sums of an int8 tile become: bytes or floats, sixteen or eight channels at a time.

use std::arch::aarch64::{
    float32x4_t, int8x16_t, int16x8_t, int32x4_t, vcvtnq_s32_f32, vcvtq_f32_s32, vdupq_n_s8, vdupq_n_s16, vget_low_s8,
    vld1q_f32, vmax_s8, vmaxq_s8, vmin_s8, vminq_s8, vmulq_f32, vqaddq_s16, vqmovn_high_s16, vqmovn_high_s32,
    vqmovn_s16, vqmovn_s32, vst1_s8, vst1q_f32, vst1q_s8,
};

use crate::engine::kernels::{ByteTile, Sums};

/// How the sums of a tile are written.
#[derive(Clone, Copy)]
pub(super) struct Finish {
    multipliers: *const f32,
    stride: usize,
    becomes: Becomes,
}

#[derive(Clone, Copy)]
enum Becomes {
    /// As `Clamped` with bounds that no byte can leave.
    Bytes {
        offset: i16,
    },
    Clamped(Codes),
    Floats,
}

/// A sum becomes a byte: `offset` is added, saturating, then the byte is kept between `low` and `high`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Codes {
    offset: i16,
    low: i8,
    high: i8,
}

impl Finish {
    pub(super) fn new(tile: &ByteTile) -> Self {
        let becomes = match tile.becomes {
            Sums::Floats => Becomes::Floats,
            Sums::Bytes { low, high, offset } => match Codes::new([low, high], offset) {
                Codes { offset, low: i8::MIN, high: i8::MAX } => Becomes::Bytes { offset },
                codes => Becomes::Clamped(codes),
            },
        };
        Self { multipliers: tile.multipliers, stride: tile.output_stride, becomes }
    }

    /// Writes `PIXELS` pixels of four channels for each of `VECTORS`, one, two or four: `sums` holds the vectors of the
    /// first pixel, then those of the second.
    ///
    /// # Safety
    /// There are as many multipliers as channels, and the output is as the tile says.
    #[inline(always)]
    pub(super) unsafe fn write<const PIXELS: usize, const VECTORS: usize, const LEN: usize>(
        &self,
        sums: &[int32x4_t; LEN],
        output: *mut u8,
    ) {
        const { assert!(PIXELS * VECTORS <= LEN && (VECTORS == 2 || VECTORS == 4)) }
        // SAFETY: vectors of multipliers and of the output that the caller promises.
        unsafe {
            let multipliers: [float32x4_t; VECTORS] =
                std::array::from_fn(|vector| vld1q_f32(self.multipliers.add(4 * vector)));
            let scaled = |pixel: usize, vector: usize| {
                vmulq_f32(vcvtq_f32_s32(sums[pixel * VECTORS + vector]), multipliers[vector])
            };
            let pixel_at = |pixel: usize| output.add(pixel.wrapping_mul(self.stride));
            match self.becomes {
                Becomes::Bytes { offset } => {
                    let offset = vdupq_n_s16(offset);
                    for pixel in 0..PIXELS {
                        let low = narrow(scaled(pixel, 0), scaled(pixel, 1), offset);
                        if VECTORS == 4 {
                            let high = narrow(scaled(pixel, 2), scaled(pixel, 3), offset);
                            vst1q_s8(pixel_at(pixel).cast(), vqmovn_high_s16(vqmovn_s16(low), high));
                        } else {
                            vst1_s8(pixel_at(pixel).cast(), vqmovn_s16(low));
                        }
                    }
                }
                Becomes::Clamped(Codes { offset, low: least, high: most }) => {
                    let offset = vdupq_n_s16(offset);
                    let [least, most] = [vdupq_n_s8(least), vdupq_n_s8(most)];
                    for pixel in 0..PIXELS {
                        let low = narrow(scaled(pixel, 0), scaled(pixel, 1), offset);
                        if VECTORS == 4 {
                            let high = narrow(scaled(pixel, 2), scaled(pixel, 3), offset);
                            let bytes = vqmovn_high_s16(vqmovn_s16(low), high);
                            vst1q_s8(pixel_at(pixel).cast(), vminq_s8(vmaxq_s8(bytes, least), most));
                        } else {
                            let bytes = vmax_s8(vqmovn_s16(low), vget_low_s8(least));
                            vst1_s8(pixel_at(pixel).cast(), vmin_s8(bytes, vget_low_s8(most)));
                        }
                    }
                }
                Becomes::Floats => {
                    for pixel in 0..PIXELS {
                        for vector in 0..VECTORS {
                            vst1q_f32(pixel_at(pixel).cast::<f32>().add(4 * vector), scaled(pixel, vector));
                        }
                    }
                }
            }
        }
    }
}

impl Codes {
    /// For bounds that are whole and fit into the byte after the offset is added, so that clamping there is the same.
    pub(super) fn new([low, high]: [f32; 2], offset: i32) -> Self {
        let [low, high] = [low, high].map(|bound| (bound as i32).wrapping_add(offset) as i8);
        Self { offset: offset as i16, low, high }
    }

    /// Bytes of sixteen channels of a pixel.
    #[inline(always)]
    pub(super) fn of(self, sums: [int32x4_t; 4], multipliers: &[float32x4_t; 4]) -> int8x16_t {
        // SAFETY: every AArch64 processor has these instructions.
        unsafe {
            let offset = vdupq_n_s16(self.offset);
            let scaled: [float32x4_t; 4] =
                std::array::from_fn(|vector| vmulq_f32(vcvtq_f32_s32(sums[vector]), multipliers[vector]));
            let low = narrow(scaled[0], scaled[1], offset);
            let bytes = vqmovn_high_s16(vqmovn_s16(low), narrow(scaled[2], scaled[3], offset));
            vminq_s8(vmaxq_s8(bytes, vdupq_n_s8(self.low)), vdupq_n_s8(self.high))
        }
    }
}

/// Eight floats as integers, halves to even, plus the offset; what leaves `i16` on the way is beyond `i8` anyway.
#[inline(always)]
fn narrow(low: float32x4_t, high: float32x4_t, offset: int16x8_t) -> int16x8_t {
    // SAFETY: every AArch64 processor has these instructions.
    unsafe {
        let whole = vqmovn_high_s32(vqmovn_s32(vcvtnq_s32_f32(low)), vcvtnq_s32_f32(high));
        vqaddq_s16(whole, offset)
    }
}
