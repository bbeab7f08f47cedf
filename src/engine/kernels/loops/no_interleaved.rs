//! Stands for the loops of another processor.

use super::Codes;
use crate::engine::kernels::Kernels;

/// Never there.
#[derive(Clone, Debug)]
pub(in crate::engine) enum DepthwiseBlocks {}

impl DepthwiseBlocks {
    /// `None`.
    pub(in crate::engine) fn new(_: &Kernels, _: &[usize], _: &[i8], _: &[i32], _: Codes<'_>) -> Option<Self> {
        None
    }

    /// Never called.
    pub(in crate::engine) fn run(&self, _: &[u8], _: usize, _: &mut [u8]) {
        match *self {}
    }
}
