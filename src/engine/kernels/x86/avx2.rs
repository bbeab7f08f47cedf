//! Kernels for AVX2 with FMA (nearly every x86-64 machine since 2013).

use std::arch::x86_64::*;

use super::tile::{Bounds, Bytes, Floats, by_pixels, first_sums, float_tile, store_sums};
use crate::engine::kernels::{ByteTile, FloatTile, Kernels, Level, Packing, TileKernel};

static KERNELS: Kernels = Kernels {
    name: "avx2",
    signed: false,
    level: Level::Avx2,
    bytes: &[
        TileKernel { pixels_max: PIXELS_MAX, packing: Packing { block: 16, group: 4, bounded: true }, run: bytes_16 },
        TileKernel { pixels_max: PIXELS_MAX, packing: Packing { block: 8, group: 4, bounded: true }, run: bytes_8 },
    ],
    floats: FLOATS,
    look_up,
    look_up_rows: None,
};

/// Float tiles, which AVX-VNNI does not change.
pub(super) const FLOATS: &[TileKernel<FloatTile>] = &[
    TileKernel { pixels_max: 6, packing: Packing { block: 16, group: 1, bounded: false }, run: floats_16 },
    TileKernel { pixels_max: 12, packing: Packing { block: 8, group: 1, bounded: false }, run: floats_8 },
];

/// The kernels, if this machine can run them.
pub(super) fn detected() -> Option<&'static Kernels> {
    (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(&KERNELS)
}

pub(super) struct Avx2;

impl Floats for Avx2 {
    type Floats = __m256;
    const LANES: usize = 8;

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn load_floats(from: *const f32) -> __m256 {
        // SAFETY: the caller says that a vector may be read.
        unsafe { _mm256_loadu_ps(from) }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn store_floats(floats: __m256, to: *mut f32) {
        // SAFETY: the caller says that a vector may be written.
        unsafe { _mm256_storeu_ps(to, floats) }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn broadcast_float(from: *const f32) -> __m256 {
        // SAFETY: the caller says that a float may be read.
        _mm256_set1_ps(unsafe { from.read() })
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn fused(a: __m256, b: __m256, c: __m256) -> __m256 {
        _mm256_fmadd_ps(a, b, c)
    }
}

impl Bytes for Avx2 {
    type Integers = __m256i;

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn load_sums(from: *const i32) -> __m256i {
        // SAFETY: the caller says that a vector may be read.
        unsafe { _mm256_loadu_si256(from.cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn scale(sums: __m256i, multipliers: __m256) -> __m256 {
        _mm256_mul_ps(_mm256_cvtepi32_ps(sums), multipliers)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn bounds(low: f32, high: f32, offset: i32) -> Bounds<Self> {
        Bounds {
            low: _mm256_set1_ps(low),
            high: _mm256_set1_ps(high),
            low_words: _mm256_set1_epi16(low as i16),
            offset_words: _mm256_set1_epi16(offset as i16),
        }
    }

    #[inline(always)]
    unsafe fn store_bytes<const VECTORS: usize>(floats: [__m256; VECTORS], bounds: Bounds<Self>, to: *mut u8) {
        // SAFETY: what the caller promises.
        unsafe {
            match VECTORS {
                1 => _mm_storel_epi64(to.cast(), _mm256_castsi256_si128(requantize([floats[0]; 4], bounds))),
                2 => {
                    let codes = requantize([floats[0], floats[1], floats[0], floats[1]], bounds);
                    _mm_storeu_si128(to.cast(), _mm256_castsi256_si128(codes));
                }
                4 => {
                    let codes = requantize([floats[0], floats[1], floats[2], floats[3]], bounds);
                    _mm256_storeu_si256(to.cast(), codes);
                }
                _ => const { assert!(VECTORS == 1 || VECTORS == 2 || VECTORS == 4) },
            }
        }
    }
}

/// The codes of four vectors; where some are the same, the compiler computes them once.
#[inline]
#[target_feature(enable = "avx2")]
fn requantize(floats: [__m256; 4], bounds: Bounds<Avx2>) -> __m256i {
    let first = requantize_pair(floats[0], floats[1], bounds);
    let second = requantize_pair(floats[2], floats[3], bounds);
    // Each lane of 128 bits has four codes of each vector.
    let places = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    _mm256_permutevar8x32_epi32(_mm256_packus_epi16(first, second), places)
}

/// The codes of two vectors as words.
#[inline]
#[target_feature(enable = "avx2")]
fn requantize_pair(first: __m256, second: __m256, bounds: Bounds<Avx2>) -> __m256i {
    let first = _mm256_cvtps_epi32(_mm256_min_ps(first, bounds.high));
    let second = _mm256_cvtps_epi32(_mm256_min_ps(second, bounds.high));
    _mm256_add_epi16(_mm256_max_epi16(_mm256_packs_epi32(first, second), bounds.low_words), bounds.offset_words)
}

/// Adds the products of a pair of groups: words hold the products of two inputs of either group, as their weights are
/// bounded, and the words of a lane are then added as `i32`.
#[inline]
#[target_feature(enable = "avx2")]
fn add_products(sums: __m256i, inputs: [__m256i; 2], weights: [__m256i; 2]) -> __m256i {
    let first = _mm256_maddubs_epi16(inputs[0], weights[0]);
    let second = _mm256_maddubs_epi16(inputs[1], weights[1]);
    let words = _mm256_add_epi16(first, second);
    _mm256_add_epi32(sums, _mm256_madd_epi16(words, _mm256_set1_epi16(1)))
}

/// The four inputs at a place, in all lanes.
///
/// # Safety
/// Four bytes may be read.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn broadcast_group(from: *const u8) -> __m256i {
    // SAFETY: what the caller promises.
    _mm256_set1_epi32(unsafe { from.cast::<i32>().read_unaligned() })
}

/// What the first pixel reads at a place: a span, and an offset in it.
///
/// # Safety
/// The tile has the span.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn input_at(tile: &ByteTile, [span, offset]: [u32; 2]) -> *const u8 {
    // SAFETY: what the caller promises.
    let span = unsafe { *tile.spans.add(span as usize) };
    tile.input.wrapping_add(span).wrapping_add(offset as usize)
}

/// A tile of few pixels, whose weights are bounded.
///
/// # Safety
/// The tile's pointers hold as [`ByteTile`] says, for `PIXELS` pixels and `VECTORS × 8` channels; the machine has AVX2.
#[inline(always)]
unsafe fn few<const VECTORS: usize, const PIXELS: usize>(tile: &ByteTile) {
    // SAFETY: the weights are as `pairs::pack` has packed them for the tile's spans, in parts of 64 bytes; all else is
    // what the caller promises.
    unsafe {
        let mut sums = first_sums::<Avx2, VECTORS, PIXELS>(tile);
        let count = tile.weights.cast::<u32>().read() as usize;
        let mut places = tile.weights.wrapping_add(64).cast::<[[u32; 2]; 2]>();
        let mut weights = places.wrapping_add(count.next_multiple_of(4)).cast::<__m256i>();
        for _ in 0..count {
            let [first, second] = places.read();
            let (first, second) = (input_at(tile, first), input_at(tile, second));
            let mut of_pair = [[_mm256_setzero_si256(); 2]; VECTORS];
            for vector in 0..VECTORS {
                let second = weights.wrapping_add(VECTORS + vector);
                of_pair[vector] = [_mm256_load_si256(weights.wrapping_add(vector)), _mm256_load_si256(second)];
            }
            for pixel in 0..PIXELS {
                let offset = pixel.wrapping_mul(tile.input_stride);
                let inputs =
                    [broadcast_group(first.wrapping_add(offset)), broadcast_group(second.wrapping_add(offset))];
                for vector in 0..VECTORS {
                    sums[pixel][vector] = add_products(sums[pixel][vector], inputs, of_pair[vector]);
                }
            }
            places = places.wrapping_add(1);
            weights = weights.wrapping_add(2 * VECTORS);
        }
        store_sums::<Avx2, VECTORS, PIXELS>(tile, sums);
    }
}

/// # Safety
/// As [`float_tile`].
#[target_feature(enable = "avx2,fma")]
unsafe fn floats<const VECTORS: usize, const PIXELS: usize>(tile: &FloatTile) {
    // SAFETY: what the caller promises.
    unsafe { float_tile::<Avx2, VECTORS, PIXELS>(tile) }
}

/// Most pixels of a tile of bytes, which takes a few of them at a time.
const PIXELS_MAX: usize = 40;

/// A tile, as parts of up to four pixels and about as many in each.
///
/// # Safety
/// As [`few`], for the tile's number of pixels.
#[target_feature(enable = "avx2,fma")]
unsafe fn bytes<const VECTORS: usize>(tile: &ByteTile) {
    assert!((1..=PIXELS_MAX).contains(&tile.pixels));
    let parts = tile.pixels.div_ceil(4);
    let mut part = ByteTile { ..*tile };
    for index in 0..parts {
        part.pixels = (tile.pixels + index) / parts;
        // SAFETY: these are pixels of the tile; the rest is what the caller promises.
        unsafe {
            match part.pixels {
                1 => few::<VECTORS, 1>(&part),
                2 => few::<VECTORS, 2>(&part),
                3 => few::<VECTORS, 3>(&part),
                _ => few::<VECTORS, 4>(&part),
            }
        }
        part.input = part.input.wrapping_add(part.pixels * tile.input_stride);
        part.output = part.output.wrapping_add(part.pixels * tile.output_stride);
    }
}

/// # Safety
/// As [`bytes`].
unsafe fn bytes_16(tile: &ByteTile) {
    // SAFETY: what the caller promises.
    unsafe { bytes::<2>(tile) }
}

/// # Safety
/// As [`bytes`].
unsafe fn bytes_8(tile: &ByteTile) {
    // SAFETY: what the caller promises.
    unsafe { bytes::<1>(tile) }
}

/// # Safety
/// As [`float_tile`], with the tile's number of pixels.
unsafe fn floats_16(tile: &FloatTile) {
    by_pixels!(tile, floats, 2, [1 2 3 4 5 6]);
}

/// # Safety
/// As [`float_tile`], with the tile's number of pixels.
unsafe fn floats_8(tile: &FloatTile) {
    by_pixels!(tile, floats, 1, [1 2 3 4 5 6 7 8 9 10 11 12]);
}

/// From so many bytes on, preparing the table pays.
const LOOK_UP_LEN_MIN: usize = 160;

/// # Safety
/// `len` bytes may be read from `input` and written to `output`, which are the same or disjoint; the machine has AVX2.
pub(super) unsafe fn look_up(input: *const u8, output: *mut u8, len: usize, table: &[u8; 256]) {
    let vectors = if len < LOOK_UP_LEN_MIN { 0 } else { len / 32 };
    if vectors > 0 {
        // SAFETY: so many whole vectors end within `len`.
        unsafe { look_up_vectors(input, output, vectors, table) };
    }
    for index in vectors * 32..len {
        // SAFETY: the index is below `len`.
        unsafe { *output.add(index) = table[usize::from(*input.add(index))] };
    }
}

/// # Safety
/// As [`look_up`], for so many vectors.
#[target_feature(enable = "avx2")]
unsafe fn look_up_vectors(input: *const u8, output: *mut u8, vectors: usize, table: &[u8; 256]) {
    let parts = telescoped(table);
    for vector in 0..vectors {
        let from = input.cast::<__m256i>().wrapping_add(vector);
        // SAFETY: the vector is one of those that the caller names.
        unsafe {
            let found = look_up_vector(_mm256_loadu_si256(from), &parts);
            _mm256_storeu_si256(output.cast::<__m256i>().wrapping_add(vector), found);
        }
    }
}

/// The sixteen parts of the table, each but the first and the ninth by what differs from the part before.
#[inline]
#[target_feature(enable = "avx2")]
fn telescoped(table: &[u8; 256]) -> [__m256i; 16] {
    let mut parts = [_mm256_setzero_si256(); 16];
    let mut before = _mm_setzero_si128();
    for (index, (part, bytes)) in parts.iter_mut().zip(table.as_chunks::<16>().0).enumerate() {
        // SAFETY: a part has sixteen bytes.
        let bytes = unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) };
        let different = if index == 8 { bytes } else { _mm_xor_si128(bytes, before) };
        *part = _mm256_broadcastsi128_si256(different);
        before = bytes;
    }
    parts
}

/// Looks up codes below 128 in the first half of the parts, and the others, with their top bit turned, in the second.
///
/// A shuffle gives zero for a negative index and else looks at its lowest four bits. While sixteen is taken off a code
/// again and again, the differences add up to its part of the table, until it is negative and stays so.
#[inline]
#[target_feature(enable = "avx2")]
fn look_up_vector(codes: __m256i, parts: &[__m256i; 16]) -> __m256i {
    let step = _mm256_set1_epi8(16);
    let mut lower = codes;
    let mut upper = _mm256_xor_si256(codes, _mm256_set1_epi8(-128));
    let mut found = _mm256_shuffle_epi8(parts[0], lower);
    let mut found_upper = _mm256_shuffle_epi8(parts[8], upper);
    for part in 1..8 {
        lower = _mm256_subs_epi8(lower, step);
        upper = _mm256_subs_epi8(upper, step);
        found = _mm256_xor_si256(found, _mm256_shuffle_epi8(parts[part], lower));
        found_upper = _mm256_xor_si256(found_upper, _mm256_shuffle_epi8(parts[part + 8], upper));
    }
    _mm256_or_si256(found, found_upper)
}
