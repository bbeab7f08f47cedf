//! Kernels for x86-64: the list of instruction sets, and which of them this machine has.

#![allow(
    clippy::needless_range_loop,
    reason = "the compiler keeps arrays in registers where loops count to a constant"
)]

mod avx2;
mod avx512vnni;
mod avxvnni;
mod tile;

use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};

use super::Kernels;

/// What this machine can run, best first.
pub(super) fn available() -> Vec<&'static Kernels> {
    let found = [
        avx512vnni::detected(),
        avxvnni::detected(),
        #[cfg(test)]
        avxvnni::evex::detected(),
        avx2::detected(),
    ];
    found.into_iter().flatten().collect()
}

/// Asks for the cache lines of `len` bytes from `start` on.
pub(super) fn prefetch(start: *const u8, len: usize) {
    const LINE_LEN: usize = 64;
    for offset in (0..len).step_by(LINE_LEN) {
        // SAFETY: SSE is part of x86-64, and asking for an address that does not exist does nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(start.wrapping_add(offset).cast()) };
    }
}
