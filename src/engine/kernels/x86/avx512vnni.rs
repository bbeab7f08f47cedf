//! Kernels for AVX-512 with VNNI (Intel's servers since Cascade Lake, AMD's processors since Zen 4).

use std::arch::x86_64::*;

use super::avx2;
use super::tile::{Bounds, Bytes, Floats, Vnni, by_pixels, byte_tile, float_tile};
use crate::engine::kernels::{ByteTile, FloatTile, Kernels, Level, Packing, TileKernel};

static KERNELS: Kernels = Kernels {
    name: "avx512vnni",
    signed: false,
    level: Level::Avx512,
    bytes: &[
        TileKernel { pixels_max: 12, packing: Packing { block: 32, group: 4, bounded: false }, run: bytes_32 },
        TileKernel { pixels_max: 12, packing: Packing { block: 16, group: 4, bounded: false }, run: bytes_16 },
    ],
    floats: &[
        TileKernel { pixels_max: 12, packing: Packing { block: 32, group: 1, bounded: false }, run: floats_32 },
        TileKernel { pixels_max: 12, packing: Packing { block: 16, group: 1, bounded: false }, run: floats_16 },
    ],
    look_up,
    look_up_rows: None,
};

/// For the first machines with VNNI, which cannot permute bytes.
static WITHOUT_VBMI: Kernels = Kernels { look_up: avx2::look_up, ..KERNELS };

/// The kernels, if this machine can run them.
pub(super) fn detected() -> Option<&'static Kernels> {
    let found = avx2::detected().is_some()
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vnni");
    found.then_some(if is_x86_feature_detected!("avx512vbmi") { &KERNELS } else { &WITHOUT_VBMI })
}

struct Avx512;

impl Floats for Avx512 {
    type Floats = __m512;
    const LANES: usize = 16;

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn load_floats(from: *const f32) -> __m512 {
        // SAFETY: the caller says that a vector may be read.
        unsafe { _mm512_loadu_ps(from) }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn store_floats(floats: __m512, to: *mut f32) {
        // SAFETY: the caller says that a vector may be written.
        unsafe { _mm512_storeu_ps(to, floats) }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn broadcast_float(from: *const f32) -> __m512 {
        // SAFETY: the caller says that a float may be read.
        _mm512_set1_ps(unsafe { from.read() })
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn fused(a: __m512, b: __m512, c: __m512) -> __m512 {
        _mm512_fmadd_ps(a, b, c)
    }
}

impl Bytes for Avx512 {
    type Integers = __m512i;

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn load_sums(from: *const i32) -> __m512i {
        // SAFETY: the caller says that a vector may be read.
        unsafe { _mm512_loadu_epi32(from) }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn scale(sums: __m512i, multipliers: __m512) -> __m512 {
        _mm512_mul_ps(_mm512_cvtepi32_ps(sums), multipliers)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn bounds(low: f32, high: f32, offset: i32) -> Bounds<Self> {
        Bounds {
            low: _mm512_set1_ps(low),
            high: _mm512_set1_ps(high),
            low_words: _mm512_set1_epi16(low as i16),
            offset_words: _mm512_set1_epi16(offset as i16),
        }
    }

    #[inline(always)]
    unsafe fn store_bytes<const VECTORS: usize>(floats: [__m512; VECTORS], bounds: Bounds<Self>, to: *mut u8) {
        // SAFETY: what the caller promises.
        unsafe {
            if VECTORS == 1 {
                return _mm_storeu_si128(to.cast(), requantize_one(floats[0], bounds));
            }
            const { assert!(VECTORS <= 2) };
            _mm256_storeu_si256(to.cast(), requantize_two(floats[0], floats[VECTORS - 1], bounds));
        }
    }
}

/// The codes of one vector.
#[inline]
#[target_feature(enable = "avx512f")]
fn requantize_one(floats: __m512, bounds: Bounds<Avx512>) -> __m128i {
    let bounded = _mm512_min_ps(_mm512_max_ps(floats, bounds.low), bounds.high);
    // Only the lowest bytes are kept, to which the upper word of the offset does nothing.
    _mm512_cvtepi32_epi8(_mm512_add_epi32(_mm512_cvtps_epi32(bounded), bounds.offset_words))
}

/// The codes of two vectors.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn requantize_two(first: __m512, second: __m512, bounds: Bounds<Avx512>) -> __m256i {
    let first = _mm512_cvtps_epi32(_mm512_min_ps(first, bounds.high));
    let second = _mm512_cvtps_epi32(_mm512_min_ps(second, bounds.high));
    let words = _mm512_max_epi16(_mm512_packs_epi32(first, second), bounds.low_words);
    let words = _mm512_add_epi16(words, bounds.offset_words);
    // Each lane of 128 bits has four codes of the first vector, four of the second, and all of them once more.
    let places = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 0, 0, 0, 0, 0, 0, 0, 0);
    _mm512_castsi512_si256(_mm512_permutexvar_epi32(places, _mm512_packus_epi16(words, words)))
}

impl Vnni for Avx512 {
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn load_weights(from: *const u8) -> __m512i {
        // SAFETY: the caller says that a vector may be read.
        unsafe { _mm512_load_si512(from.cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn broadcast_group(from: *const u8) -> __m512i {
        // SAFETY: the caller says that four bytes may be read.
        _mm512_set1_epi32(unsafe { from.cast::<i32>().read_unaligned() })
    }

    #[inline]
    #[target_feature(enable = "avx512vnni")]
    unsafe fn add_products(sums: __m512i, inputs: __m512i, weights: __m512i) -> __m512i {
        _mm512_dpbusd_epi32(sums, inputs, weights)
    }
}

/// # Safety
/// As [`byte_tile`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn bytes<const VECTORS: usize, const PIXELS: usize>(tile: &ByteTile) {
    // SAFETY: what the caller promises.
    unsafe { byte_tile::<Avx512, VECTORS, PIXELS>(tile) }
}

/// # Safety
/// As [`float_tile`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn floats<const VECTORS: usize, const PIXELS: usize>(tile: &FloatTile) {
    // SAFETY: what the caller promises.
    unsafe { float_tile::<Avx512, VECTORS, PIXELS>(tile) }
}

/// # Safety
/// As [`byte_tile`], with the tile's number of pixels.
unsafe fn bytes_32(tile: &ByteTile) {
    by_pixels!(tile, bytes, 2, [1 2 3 4 5 6 7 8 9 10 11 12]);
}

/// # Safety
/// As [`byte_tile`], with the tile's number of pixels.
unsafe fn bytes_16(tile: &ByteTile) {
    by_pixels!(tile, bytes, 1, [1 2 3 4 5 6 7 8 9 10 11 12]);
}

/// # Safety
/// As [`float_tile`], with the tile's number of pixels.
unsafe fn floats_32(tile: &FloatTile) {
    by_pixels!(tile, floats, 2, [1 2 3 4 5 6 7 8 9 10 11 12]);
}

/// # Safety
/// As [`float_tile`], with the tile's number of pixels.
unsafe fn floats_16(tile: &FloatTile) {
    by_pixels!(tile, floats, 1, [1 2 3 4 5 6 7 8 9 10 11 12]);
}

/// The bytes that do not fill a vector are looked up as a second vector that overlaps the first: masked stores are slow on
/// some processors. It is loaded before anything is stored, as input and output may be the same.
///
/// # Safety
/// `len` bytes may be read from `input` and written to `output`, which are the same or disjoint; the machine has AVX-512
/// with VBMI.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
unsafe fn look_up(input: *const u8, output: *mut u8, len: usize, table: &[u8; 256]) {
    let quarters = table.as_ptr().cast::<__m512i>();
    // SAFETY: the table has four quarters; whatever is read or written starts and ends within `len`.
    unsafe {
        let table: [__m512i; 4] = [
            _mm512_loadu_si512(quarters),
            _mm512_loadu_si512(quarters.wrapping_add(1)),
            _mm512_loadu_si512(quarters.wrapping_add(2)),
            _mm512_loadu_si512(quarters.wrapping_add(3)),
        ];
        match len {
            0..8 => {
                let mut codes = 0u64;
                for index in 0..len {
                    codes |= u64::from(input.add(index).read()) << (8 * index);
                }
                let codes = _mm512_castsi128_si512(_mm_cvtsi64_si128(codes as i64));
                let found = _mm_cvtsi128_si64(_mm512_castsi512_si128(look_up_vector(codes, &table))).to_le_bytes();
                for (index, byte) in found.iter().enumerate().take(len) {
                    output.add(index).write(*byte);
                }
            }
            8..16 => {
                let last = len.wrapping_sub(8);
                let head = input.cast::<i64>().read_unaligned();
                let tail = input.add(last).cast::<i64>().read_unaligned();
                let codes = _mm512_castsi128_si512(_mm_set_epi64x(tail, head));
                let found = _mm512_castsi512_si128(look_up_vector(codes, &table));
                output.cast::<i64>().write_unaligned(_mm_cvtsi128_si64(found));
                output.add(last).cast::<i64>().write_unaligned(_mm_extract_epi64::<1>(found));
            }
            16..32 => {
                let last = len.wrapping_sub(16);
                let head = _mm512_castsi128_si512(_mm_loadu_si128(input.cast()));
                let codes = _mm512_inserti32x4::<1>(head, _mm_loadu_si128(input.add(last).cast()));
                let found = look_up_vector(codes, &table);
                _mm_storeu_si128(output.cast(), _mm512_castsi512_si128(found));
                _mm_storeu_si128(output.add(last).cast(), _mm512_extracti32x4_epi32::<1>(found));
            }
            32..64 => {
                let last = len.wrapping_sub(32);
                let head = _mm512_castsi256_si512(_mm256_loadu_si256(input.cast()));
                let codes = _mm512_inserti64x4::<1>(head, _mm256_loadu_si256(input.add(last).cast()));
                let found = look_up_vector(codes, &table);
                _mm256_storeu_si256(output.cast(), _mm512_castsi512_si256(found));
                _mm256_storeu_si256(output.add(last).cast(), _mm512_extracti64x4_epi64::<1>(found));
            }
            _ => {
                let last = len.wrapping_sub(64);
                let tail = look_up_vector(_mm512_loadu_si512(input.add(last).cast()), &table);
                let mut done = 0;
                while done < last {
                    let found = look_up_vector(_mm512_loadu_si512(input.add(done).cast()), &table);
                    _mm512_storeu_si512(output.add(done).cast(), found);
                    done = done.wrapping_add(64);
                }
                _mm512_storeu_si512(output.add(last).cast(), tail);
            }
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
fn look_up_vector(codes: __m512i, table: &[__m512i; 4]) -> __m512i {
    let lower = _mm512_permutex2var_epi8(table[0], codes, table[1]);
    let upper = _mm512_permutex2var_epi8(table[2], codes, table[3]);
    _mm512_mask_blend_epi8(_mm512_movepi8_mask(codes), lower, upper)
}
