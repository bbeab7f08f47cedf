//! Kernels for AArch64: dot products of bytes where there are some, multiplications where there are none.
//!
//! A tile kernel walks along its pixels five or four at a time, numbers that divide the widths of usual feature maps;
//! a long tile saves calls, not more.

mod by_element;
mod depthwise;
mod dotprod;
mod finish;
mod floats;
mod i8mm;
mod look_up;
mod neon;

use std::arch::is_aarch64_feature_detected;

pub(in crate::engine) use depthwise::DepthwiseBlocks;

use super::Kernels;

/// Most pixels in a tile of all kernels of this architecture.
const PIXELS_MAX: usize = 40;

/// What this machine can run, best first.
pub(super) fn available() -> Vec<&'static Kernels> {
    let mut found: Vec<&'static Kernels> = Vec::new();
    // The narrow tiles of `i8mm` are those of `dotprod`.
    if is_aarch64_feature_detected!("i8mm") && is_aarch64_feature_detected!("dotprod") {
        found.push(&i8mm::KERNELS);
    }
    if is_aarch64_feature_detected!("dotprod") {
        found.push(&dotprod::KERNELS);
    }
    found.push(&neon::KERNELS);
    found
}
