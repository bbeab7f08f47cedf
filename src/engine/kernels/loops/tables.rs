//! Bytes that are read through a table of floats, several at a time.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use crate::engine::kernels::Level;

/// The bytes of the floats of a table, from the lowest to the highest, each in the order of the table, so that they are
/// looked up in registers.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(super) struct Planes([[u8; 256]; 4]);

impl Planes {
    /// `None` where the machine lacks the instructions, or where so few bytes are read that it would not pay.
    pub(super) fn new(level: Level, table: &[f32; 256], len: usize) -> Option<Self> {
        const LEN_MIN: usize = 256;
        let detected = level == Level::Avx512 && is_x86_feature_detected!("avx512vbmi");
        // SAFETY: the features were detected.
        (detected && len >= LEN_MIN).then(|| unsafe { Self::of(table) })
    }

    /// Writes the floats of the first bytes, in whole vectors; so many are done. Both slices have one length.
    pub(super) fn read(&self, input: &[u8], output: &mut [f32]) -> usize {
        assert_eq!(input.len(), output.len());
        // SAFETY: the features were detected in `new`.
        unsafe { self.read_vectors(input, output) }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    fn of(table: &[f32; 256]) -> Self {
        let mut planes = [[0; 256]; 4];
        for (index, floats) in table.as_chunks::<16>().0.iter().enumerate() {
            // SAFETY: there are sixteen floats, and as many bytes from the index on in each plane.
            unsafe {
                let mut bits = _mm512_loadu_si512(floats.as_ptr().cast());
                for plane in &mut planes {
                    _mm_storeu_si128(plane.as_mut_ptr().add(16 * index).cast(), _mm512_cvtepi32_epi8(bits));
                    bits = _mm512_srli_epi32::<8>(bits);
                }
            }
        }
        Self(planes)
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    fn read_vectors(&self, input: &[u8], output: &mut [f32]) -> usize {
        // A lane of 128 bits gets four neighbours of each quarter, so that interleaving gives whole quarters.
        let places = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
        let planes = &self.0;
        let mut done = 0;
        while done + 16 <= input.len() {
            let left = (input.len() - done).min(64);
            let mask = u64::MAX >> (64 - left);
            // SAFETY: no byte behind the last is read; as many floats are written as there are bytes, in whole vectors.
            unsafe {
                let bytes = _mm512_maskz_loadu_epi8(mask, input.as_ptr().add(done).cast());
                let codes = _mm512_permutexvar_epi32(places, bytes);
                let upper = _mm512_movepi8_mask(codes);
                let (a, b) = (look_up(&planes[0], codes, upper), look_up(&planes[1], codes, upper));
                let (c, d) = (look_up(&planes[2], codes, upper), look_up(&planes[3], codes, upper));
                let (ab_low, ab_high) = (_mm512_unpacklo_epi8(a, b), _mm512_unpackhi_epi8(a, b));
                let (cd_low, cd_high) = (_mm512_unpacklo_epi8(c, d), _mm512_unpackhi_epi8(c, d));
                let floats = [
                    _mm512_unpacklo_epi16(ab_low, cd_low),
                    _mm512_unpackhi_epi16(ab_low, cd_low),
                    _mm512_unpacklo_epi16(ab_high, cd_high),
                    _mm512_unpackhi_epi16(ab_high, cd_high),
                ];
                for (quarter, floats) in floats.iter().enumerate().take(left / 16) {
                    _mm512_storeu_si512(output.as_mut_ptr().add(done + 16 * quarter).cast(), *floats);
                }
            }
            done += left / 16 * 16;
        }
        done
    }
}

/// One plane's bytes for codes, of which `upper` are 128 and above.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
fn look_up(plane: &[u8; 256], codes: __m512i, upper: __mmask64) -> __m512i {
    let quarters = plane.as_ptr().cast::<__m512i>();
    // SAFETY: the plane has four vectors.
    unsafe {
        let low = _mm512_permutex2var_epi8(_mm512_loadu_si512(quarters), codes, _mm512_loadu_si512(quarters.add(1)));
        let high =
            _mm512_permutex2var_epi8(_mm512_loadu_si512(quarters.add(2)), codes, _mm512_loadu_si512(quarters.add(3)));
        _mm512_mask_blend_epi8(upper, low, high)
    }
}
