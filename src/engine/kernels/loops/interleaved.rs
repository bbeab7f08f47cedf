//! Convolutions of each channel of bytes on its own, by instructions that add the products of several taps at a time.

use super::{Codes, quads::Quads, tap_pairs::TapPairs};
use crate::engine::kernels::{Kernels, Level};

/// A convolution's operands as the instruction set wants them.
#[derive(Clone, Debug)]
pub(in crate::engine) enum DepthwiseBlocks {
    /// Four taps at a time.
    Quads(Quads),
    /// Two taps at a time.
    Pairs(TapPairs),
}

impl DepthwiseBlocks {
    /// `None` where the machine or the kernels lack the instructions or there are too few channels. The operands are
    /// those of [`depthwise_bytes`](super::depthwise_bytes) for bytes held as `u8`.
    pub(in crate::engine) fn new(
        kernels: &Kernels,
        taps: &[usize],
        weights: &[i8],
        bias: &[i32],
        codes: Codes<'_>,
    ) -> Option<Self> {
        match kernels.level {
            _ if kernels.signed => None,
            Level::Baseline => None,
            Level::Avx2 => TapPairs::new(taps, weights, bias, codes).map(Self::Pairs),
            Level::Avx512 => Quads::new(kernels, taps, weights, bias, codes).map(Self::Quads),
        }
    }

    /// Computes a row of pixels, which read what lies `stride` apart. The output has all channels of each pixel side by
    /// side.
    pub(in crate::engine) fn run(&self, input: &[u8], stride: usize, output: &mut [u8]) {
        match self {
            Self::Quads(quads) => quads.run(input, stride, output),
            Self::Pairs(pairs) => pairs.run(input, stride, output),
        }
    }
}
