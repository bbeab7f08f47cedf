//! Kernels for AVX-VNNI (Intel's processors since Alder Lake, where they lack AVX-512): 256 bits.

use std::arch::x86_64::*;

use super::avx2::{self, Avx2};
use super::tile::{Bounds, Bytes, Floats, Vnni, by_pixels, byte_tile};
use crate::engine::kernels::{ByteTile, Kernels, Level, Packing, TileKernel};

static KERNELS: Kernels = Kernels {
    name: "avxvnni",
    signed: false,
    level: Level::Avx2,
    bytes: BYTES,
    floats: avx2::FLOATS,
    look_up: avx2::look_up,
    look_up_rows: None,
};

/// The kernels, if this machine can run them.
pub(super) fn detected() -> Option<&'static Kernels> {
    (avx2::detected().is_some() && is_x86_feature_detected!("avxvnni")).then_some(&KERNELS)
}

/// Tiles whose products one instruction adds; it has two encodings, and a test may have a machine with the other only.
macro_rules! tiles {
    ($features:literal, $dpbusd:ident) => {
        struct AvxVnni;

        impl Floats for AvxVnni {
            type Floats = __m256;
            const LANES: usize = 8;

            #[inline]
            #[target_feature(enable = "avx2")]
            unsafe fn load_floats(from: *const f32) -> __m256 {
                // SAFETY: what the caller promises.
                unsafe { Avx2::load_floats(from) }
            }

            #[inline]
            #[target_feature(enable = "avx2")]
            unsafe fn store_floats(floats: __m256, to: *mut f32) {
                // SAFETY: what the caller promises.
                unsafe { Avx2::store_floats(floats, to) }
            }

            #[inline]
            #[target_feature(enable = "avx2")]
            unsafe fn broadcast_float(from: *const f32) -> __m256 {
                // SAFETY: what the caller promises.
                unsafe { Avx2::broadcast_float(from) }
            }

            #[inline]
            #[target_feature(enable = "avx2,fma")]
            unsafe fn fused(a: __m256, b: __m256, c: __m256) -> __m256 {
                // SAFETY: the features are enabled.
                unsafe { Avx2::fused(a, b, c) }
            }
        }

        impl Bytes for AvxVnni {
            type Integers = __m256i;

            #[inline]
            #[target_feature(enable = "avx2")]
            unsafe fn load_sums(from: *const i32) -> __m256i {
                // SAFETY: what the caller promises.
                unsafe { Avx2::load_sums(from) }
            }

            #[inline]
            #[target_feature(enable = "avx2")]
            unsafe fn scale(sums: __m256i, multipliers: __m256) -> __m256 {
                // SAFETY: the features are enabled.
                unsafe { Avx2::scale(sums, multipliers) }
            }

            #[inline]
            #[target_feature(enable = "avx2")]
            unsafe fn bounds(low: f32, high: f32, offset: i32) -> Bounds<Self> {
                // SAFETY: the features are enabled.
                let Bounds { low, high, low_words, offset_words } = unsafe { Avx2::bounds(low, high, offset) };
                Bounds { low, high, low_words, offset_words }
            }

            #[inline(always)]
            unsafe fn store_bytes<const VECTORS: usize>(
                floats: [__m256; VECTORS],
                Bounds { low, high, low_words, offset_words }: Bounds<Self>,
                to: *mut u8,
            ) {
                // SAFETY: what the caller promises.
                unsafe { Avx2::store_bytes(floats, Bounds { low, high, low_words, offset_words }, to) }
            }
        }

        impl Vnni for AvxVnni {
            #[inline]
            #[target_feature(enable = "avx2")]
            unsafe fn load_weights(from: *const u8) -> __m256i {
                // SAFETY: what the caller promises.
                unsafe { _mm256_load_si256(from.cast()) }
            }

            #[inline]
            #[target_feature(enable = "avx2")]
            unsafe fn broadcast_group(from: *const u8) -> __m256i {
                // SAFETY: the caller says that four bytes may be read.
                _mm256_set1_epi32(unsafe { from.cast::<i32>().read_unaligned() })
            }

            #[inline]
            #[target_feature(enable = $features)]
            unsafe fn add_products(sums: __m256i, inputs: __m256i, weights: __m256i) -> __m256i {
                $dpbusd(sums, inputs, weights)
            }
        }

        /// # Safety
        /// As [`byte_tile`].
        #[target_feature(enable = $features)]
        unsafe fn bytes<const VECTORS: usize, const PIXELS: usize>(tile: &ByteTile) {
            // SAFETY: what the caller promises.
            unsafe { byte_tile::<AvxVnni, VECTORS, PIXELS>(tile) }
        }

        /// # Safety
        /// As [`byte_tile`], with the tile's number of pixels.
        unsafe fn bytes_16(tile: &ByteTile) {
            by_pixels!(tile, bytes, 2, [1 2 3 4 5 6]);
        }

        /// # Safety
        /// As [`byte_tile`], with the tile's number of pixels.
        unsafe fn bytes_8(tile: &ByteTile) {
            by_pixels!(tile, bytes, 1, [1 2 3 4 5 6 7 8 9 10 11 12]);
        }

        const BYTES: &[TileKernel<ByteTile>] = &[
            TileKernel { pixels_max: 6, packing: Packing { block: 16, group: 4, bounded: false }, run: bytes_16 },
            TileKernel { pixels_max: 12, packing: Packing { block: 8, group: 4, bounded: false }, run: bytes_8 },
        ];
    };
}

tiles!("avx2,fma,avxvnni", _mm256_dpbusd_avx_epi32);

/// The same tiles in the other encoding, so that they are tested on machines that have only that.
#[cfg(test)]
pub(super) mod evex {
    use super::*;

    static KERNELS: Kernels = Kernels { name: "avxvnni in the other encoding", bytes: BYTES, ..super::KERNELS };

    /// The kernels, if this machine can run them.
    pub(in crate::engine::kernels::x86) fn detected() -> Option<&'static Kernels> {
        let found = avx2::detected().is_some()
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vnni");
        found.then_some(&KERNELS)
    }

    tiles!("avx2,fma,avx512f,avx512vl,avx512vnni", _mm256_dpbusd_epi32);
}
