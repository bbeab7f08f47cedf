//! How a step is cut into items that threads take one after the other.
#![allow(unsafe_code)]

use super::{super::kernels::Kernels, arena::Memory, interleave::Pixels};

/// What a program is given.
#[derive(Clone, Copy, Debug)]
pub(super) enum Inputs<'a> {
    /// Each row-major.
    Floats(&'a [&'a [f32]]),
    /// The only one, as pixels.
    Pixels(Pixels<'a>),
}

/// What all items of all steps see.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context<'a> {
    pub(super) kernels: &'static Kernels,
    pub(super) memory: Memory<'a>,
    pub(super) inputs: Inputs<'a>,
}

/// A step's way to be computed. A phase begins when the one before is wholly done; items of one phase run in any order
/// and at the same time, and write disjoint memory.
pub(super) trait Work: std::fmt::Debug + Send + Sync {
    /// Phases, at least one.
    fn phases(&self) -> usize {
        1
    }

    /// Items of a phase.
    fn items(&self, phase: usize, cx: &Context<'_>) -> usize;

    /// Bytes of memory that an item needs for itself.
    fn scratch_len(&self, _: &Kernels) -> usize {
        0
    }

    /// Computes one item. `scratch` has at least [`Self::scratch_len`] bytes, is aligned to 64, and holds anything.
    ///
    /// # Safety
    /// Nobody but items of the same phase uses the memory that the step names.
    unsafe fn run(&self, phase: usize, item: usize, cx: &Context<'_>, scratch: &mut [u8]);
}
