//! The memory of a program: one block that its steps read and write in parts.
//!
//! Threads that run one step write disjoint parts of it; that is what the steps see to, and why access is unsafe.
#![allow(unsafe_code)]

use std::marker::PhantomData;

use super::{
    super::kernels::{
        SLACK,
        loops::{Rows, RowsMut},
    },
    nest::extent,
};

/// The block itself, aligned to 64 bytes and followed by [`SLACK`] bytes that kernels may read.
#[derive(Debug)]
pub(in crate::engine) struct Arena {
    lines: Vec<Line>,
    len: usize,
}

#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Line([u8; 64]);

impl Arena {
    /// A block of so many bytes, all zero.
    pub(in crate::engine) fn new(len: usize) -> Self {
        Self { lines: vec![Line([0; 64]); (len + SLACK).div_ceil(64)], len }
    }

    /// All its bytes.
    #[cfg(test)]
    pub(in crate::engine) fn bytes_mut(&mut self) -> &mut [u8] {
        let len = self.len;
        // SAFETY: `&mut self` is held for as long as the slice.
        unsafe { self.memory().bytes_mut(0, len) }
    }

    /// Access to it for as long as nobody else has it.
    pub(in crate::engine) fn memory(&mut self) -> Memory<'_> {
        Memory { start: self.lines.as_mut_ptr().cast(), len: self.len, arena: PhantomData }
    }
}

/// Access to an [`Arena`] that several threads share while they run one step.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Memory<'a> {
    start: *mut u8,
    len: usize,
    arena: PhantomData<&'a mut Arena>,
}

// SAFETY: it is a pointer to plain bytes that outlive it; whoever follows it says why no other thread is in the way.
unsafe impl Send for Memory<'_> {}
// SAFETY: as above.
unsafe impl Sync for Memory<'_> {}

impl<'a> Memory<'a> {
    /// A pointer to `len` bytes from `at` on.
    ///
    /// # Panics
    /// Where they do not lie in the arena.
    pub(in crate::engine) fn pointer(self, at: usize, len: usize) -> *mut u8 {
        assert!(at <= self.len && len <= self.len - at, "{len} bytes at {at} are not in an arena of {}", self.len);
        // SAFETY: the assertion holds the offset inside the block.
        unsafe { self.start.add(at) }
    }

    /// Bytes to read.
    ///
    /// # Safety
    /// Nobody writes to them while the slice lives.
    pub(in crate::engine) unsafe fn bytes(self, at: usize, len: usize) -> &'a [u8] {
        // SAFETY: `pointer` checks the bounds, the caller sees to the rest.
        unsafe { std::slice::from_raw_parts(self.pointer(at, len), len) }
    }

    /// Bytes to write.
    ///
    /// # Safety
    /// Nobody else reads or writes them while the slice lives.
    pub(in crate::engine) unsafe fn bytes_mut(self, at: usize, len: usize) -> &'a mut [u8] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.pointer(at, len), len) }
    }

    /// `len` floats to read, from the byte `at` on.
    ///
    /// # Safety
    /// As [`Self::bytes`].
    ///
    /// # Panics
    /// Where `at` is no multiple of four, or they do not lie in the arena.
    pub(in crate::engine) unsafe fn floats(self, at: usize, len: usize) -> &'a [f32] {
        assert!(at.is_multiple_of(4));
        // SAFETY: `pointer` checks the bounds, the assertion and the arena's own alignment the alignment; any bits are a
        // float, and the caller sees to the rest.
        unsafe { std::slice::from_raw_parts(self.pointer(at, len * 4).cast(), len) }
    }

    /// `len` floats to write, from the byte `at` on.
    ///
    /// # Safety
    /// As [`Self::bytes_mut`].
    ///
    /// # Panics
    /// As [`Self::floats`].
    pub(in crate::engine) unsafe fn floats_mut(self, at: usize, len: usize) -> &'a mut [f32] {
        assert!(at.is_multiple_of(4));
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.pointer(at, len * 4).cast(), len) }
    }

    /// Rows of numbers to read, from the byte `at` on; how many and of how many numbers, and what lies from row to row
    /// and from number to number, in numbers.
    ///
    /// # Safety
    /// Any bits are a `T`, and nobody writes to the numbers while the rows live.
    ///
    /// # Panics
    /// Where the numbers are not aligned, or do not all lie in the arena.
    pub(in crate::engine) unsafe fn rows<T: Copy>(
        self,
        at: usize,
        size: [usize; 2],
        strides: [usize; 2],
    ) -> Rows<'a, T> {
        let start = self.aligned_start::<T>(at, size, strides);
        // SAFETY: the numbers are in the arena and aligned, and the caller sees to the rest.
        unsafe { Rows::new(start.cast_const(), size, strides) }
    }

    /// As [`Self::rows`], to write.
    ///
    /// # Safety
    /// Any bits are a `T`, and nobody else reads or writes the numbers while the rows live.
    ///
    /// # Panics
    /// As [`Self::rows`].
    pub(in crate::engine) unsafe fn rows_mut<T: Copy>(
        self,
        at: usize,
        size: [usize; 2],
        strides: [usize; 2],
    ) -> RowsMut<'a, T> {
        let start = self.aligned_start::<T>(at, size, strides);
        // SAFETY: as above.
        unsafe { RowsMut::new(start, size, strides) }
    }

    fn aligned_start<T>(self, at: usize, size: [usize; 2], strides: [usize; 2]) -> *mut T {
        let start = self.pointer(at, extent(size, strides) * size_of::<T>()).cast::<T>();
        assert!(start.is_aligned());
        start
    }
}
