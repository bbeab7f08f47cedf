//! The innermost loops, one file per instruction set, and the one list that picks, tests and benches them.
//!
//! A kernel computes one *tile*: a few neighbouring output pixels by one block of output channels of a convolution that
//! is read as a matrix product (implicit GEMM). Everything above a tile (rows, threads, what comes after the sums) is
//! left to the program.
//!
//! All kernels give the same bytes for the same numbers: sums of integers do not depend on the order of adding, floats
//! are added by fused multiply-add from the bias on in the order of the weights, and requantization is one formula. On 32-bit
//! ARM, where fused multiply-add is a call, floats are multiplied, then added.
#![allow(unsafe_code)]

#[cfg(target_arch = "aarch64")]
mod aarch64;
pub(in crate::engine) mod loops;
mod pack;
mod pairs;
mod portable;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(in crate::engine) use pack::{Packed, Packing, pack_bytes, pack_floats};
#[cfg(test)]
pub(in crate::engine) use tests::fused;

/// What the loops of one instruction set are, and how they want their operands.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Kernels {
    /// Its name for users, as `ANDON_ISA` takes it: `avx512vnni`.
    pub(in crate::engine) name: &'static str,
    /// Whether a byte of an activation is held as `i8`, that is as its unsigned code minus 128.
    pub(in crate::engine) signed: bool,
    /// What the compiler may use for the [`loops`] that are written without intrinsics.
    pub(in crate::engine) level: Level,
    /// Tiles of int8 convolutions, widest block first.
    pub(in crate::engine) bytes: &'static [TileKernel<ByteTile>],
    /// Tiles of float convolutions and matrix products, widest block first.
    pub(in crate::engine) floats: &'static [TileKernel<FloatTile>],
    /// `output[i] = table[input[i]]`: input, output, length in bytes, table. Input and output are the same or disjoint.
    pub(in crate::engine) look_up: unsafe fn(*const u8, *mut u8, usize, &[u8; 256]),
    /// As `look_up`, for rows of bytes: the input and from one row to the next, the same of the output, which lies apart,
    /// rows and bytes in a row, both above zero, table. `None` where short rows are better brought side by side first.
    pub(in crate::engine) look_up_rows: Option<LookUpRows>,
}

/// How [`Kernels::look_up_rows`] is called.
pub(in crate::engine) type LookUpRows = unsafe fn(*const u8, usize, *mut u8, usize, [usize; 2], &[u8; 256]);

/// Instruction sets for which the compiler vectorizes the [`loops`]; a level is only named where it was detected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "other processors have the baseline only"))]
pub(in crate::engine) enum Level {
    /// What every machine of the target has (on AArch64 that is NEON).
    Baseline,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// x86-64 with AVX-512 F, BW, VL and DQ.
    Avx512,
}

/// A loop that computes one tile.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct TileKernel<T> {
    /// Most pixels in a tile; each number from one to this can be asked for.
    pub(in crate::engine) pixels_max: usize,
    /// How it wants its weights.
    pub(in crate::engine) packing: Packing,
    /// Computes one tile.
    pub(in crate::engine) run: unsafe fn(&T),
}

/// One tile of an int8 convolution: `pixels` × `packing.block` sums of products of bytes.
///
/// For pixel `p` and channel `c` of the block, with `x` the bytes from `input + p × input_stride`,
/// `sum = bias[c] + Σ over spans s, bytes k of the span: x[spans[s] + k] × weight[s][k][c]`, in `i32` that wraps
/// (the caller sees to it that it never does). The last group of a span may reach past the span's bytes; the weights
/// there are zero, and the memory there may be read ([`SLACK`]).
#[derive(Debug)]
#[repr(C)]
pub(in crate::engine) struct ByteTile {
    /// What the first pixel reads.
    pub(in crate::engine) input: *const u8,
    /// Bytes between what neighbouring pixels read.
    pub(in crate::engine) input_stride: usize,
    /// Offsets of the spans in bytes.
    pub(in crate::engine) spans: *const usize,
    pub(in crate::engine) span_count: usize,
    /// Groups in each span, at least one.
    pub(in crate::engine) span_groups: usize,
    /// The packed weights of this block, aligned to 64 bytes.
    pub(in crate::engine) weights: *const u8,
    /// One for each channel of the block.
    pub(in crate::engine) bias: *const i32,
    /// One for each channel of the block, above zero and finite.
    pub(in crate::engine) multipliers: *const f32,
    /// From one to `pixels_max`.
    pub(in crate::engine) pixels: usize,
    /// The whole block of each pixel is written: `block` bytes, or `block` floats.
    pub(in crate::engine) output: *mut u8,
    /// Bytes between neighbouring pixels of the output.
    pub(in crate::engine) output_stride: usize,
    pub(in crate::engine) becomes: Sums,
}

/// What the sums of an int8 tile become.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C)]
pub(in crate::engine) enum Sums {
    /// A byte: `round(clamp(sum as f32 × multiplier, low, high)) + offset`, halves to even; `low` and `high` are whole,
    /// within ±255, and the result fits into `i8` or `u8`, as the kernel holds activations.
    Bytes { low: f32, high: f32, offset: i32 },
    /// A float: `sum as f32 × multiplier`, where a multiplier may be any finite number.
    Floats,
}

/// One tile of a float convolution or matrix product, as [`ByteTile`]; strides and offsets count floats.
///
/// `sum = bias[c]`, then `sum = fma(x[spans[s] + k], weight[s][k][c], sum)` in the order of `s` and `k`.
#[derive(Debug)]
#[repr(C)]
pub(in crate::engine) struct FloatTile {
    pub(in crate::engine) input: *const f32,
    pub(in crate::engine) input_stride: usize,
    pub(in crate::engine) spans: *const usize,
    pub(in crate::engine) span_count: usize,
    /// Floats in each span, at least one; exact, nothing is read past them.
    pub(in crate::engine) span_len: usize,
    /// The packed weights of this block, aligned to 64 bytes.
    pub(in crate::engine) weights: *const f32,
    /// One for each channel of the block.
    pub(in crate::engine) bias: *const f32,
    pub(in crate::engine) pixels: usize,
    /// The whole block of each pixel is written.
    pub(in crate::engine) output: *mut f32,
    pub(in crate::engine) output_stride: usize,
}

/// So many bytes after what a tile's input names may be read.
pub(in crate::engine) const SLACK: usize = 64;

/// A name that [`pick`] does not know, or that this machine cannot run.
#[derive(Debug, thiserror::Error)]
#[error("instruction set {name:?} is not one of this machine's: {known}")]
pub(in crate::engine) struct UnknownIsa {
    name: String,
    known: String,
}

/// The kernels that this machine can run, best first; the last is `portable`, which every machine can.
pub(in crate::engine) fn available() -> Vec<&'static Kernels> {
    let mut found = Vec::new();
    #[cfg(target_arch = "x86_64")]
    found.extend(x86::available());
    #[cfg(target_arch = "aarch64")]
    found.extend(aarch64::available());
    found.push(&portable::KERNELS);
    found
}

/// The best kernels of this machine, or the named ones.
///
/// # Errors
/// Where the name is none of [`available`].
pub(in crate::engine) fn pick(name: Option<&str>) -> Result<&'static Kernels, UnknownIsa> {
    let available = available();
    match name {
        None => Ok(available[0]),
        Some(name) => available.iter().find(|kernels| kernels.name == name).copied().ok_or_else(|| UnknownIsa {
            name: name.to_owned(),
            known: available.iter().map(|kernels| kernels.name).collect::<Vec<_>>().join(", "),
        }),
    }
}

/// Whether [`prefetch`] does anything.
pub(in crate::engine) const PREFETCHES: bool = cfg!(target_arch = "x86_64");

/// Asks the processor to bring `len` bytes from `start` on near, where it has an instruction for it that is known to pay.
pub(in crate::engine) fn prefetch(start: *const u8, len: usize) {
    #[cfg(target_arch = "x86_64")]
    x86::prefetch(start, len);
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (start, len);
}

/// `round(clamp(sum as f32 × multiplier, low, high)) + offset`: the definition that all kernels share.
///
/// As onnxruntime requantizes (`MlasRequantizeOutput`): the sum is converted to `f32`, halves go to even. Clamping to
/// whole bounds before or after rounding is the same.
pub(in crate::engine) fn requantize(sum: i32, multiplier: f32, low: f32, high: f32, offset: i32) -> i32 {
    (sum as f32 * multiplier).clamp(low, high).round_ties_even() as i32 + offset
}
