//! Rows of numbers that do not follow each other in memory.
//!
//! What lies between two rows may be anybody's, so each row is a slice of its own.
#![allow(unsafe_code, reason = "a slice of the whole would cover what lies between the rows")]

use std::marker::PhantomData;

/// Rows to read.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Rows<'a, T> {
    start: *const T,
    /// Rows.
    pub(in crate::engine) count: usize,
    /// Numbers in a row.
    pub(in crate::engine) len: usize,
    /// From one row to the next, and from one number to the next.
    strides: [usize; 2],
    of: PhantomData<&'a [T]>,
}

impl<'a, T: Copy> Rows<'a, T> {
    /// `count` rows of `len` numbers.
    ///
    /// # Safety
    /// All of them may be read for as long as this and its copies live, and nobody writes to them.
    pub(in crate::engine) unsafe fn new(start: *const T, [count, len]: [usize; 2], strides: [usize; 2]) -> Self {
        Self { start, count, len, strides, of: PhantomData }
    }

    /// Rows in a slice.
    ///
    /// # Panics
    /// Where the last number is not in the slice.
    pub(in crate::engine) fn of(slice: &'a [T], [count, len]: [usize; 2], strides: [usize; 2]) -> Self {
        let last = count.saturating_sub(1) * strides[0] + len.saturating_sub(1) * strides[1];
        assert!(count == 0 || len == 0 || last < slice.len());
        // SAFETY: no number is behind the last one, which the assertion holds inside the slice.
        unsafe { Self::new(slice.as_ptr(), [count, len], strides) }
    }

    /// From one number of a row to the next; rows are slices where it is one.
    #[inline(always)]
    pub(in crate::engine) fn step(&self) -> usize {
        self.strides[1]
    }

    /// A row as a slice.
    ///
    /// # Panics
    /// Where there is no such row, or its numbers are not neighbours.
    #[inline(always)]
    pub(in crate::engine) fn row(&self, index: usize) -> &'a [T] {
        assert!(index < self.count && self.strides[1] == 1);
        // SAFETY: `new` was told that all rows may be read; the assertion says that this is one.
        unsafe { std::slice::from_raw_parts(self.start.add(index * self.strides[0]), self.len) }
    }

    /// One number.
    ///
    /// # Panics
    /// Where there is no such number.
    #[inline(always)]
    pub(in crate::engine) fn at(&self, row: usize, column: usize) -> T {
        assert!(row < self.count && column < self.len);
        // SAFETY: as above.
        unsafe { *self.start.add(row * self.strides[0] + column * self.strides[1]) }
    }
}

/// Rows to write.
#[derive(Debug)]
pub(in crate::engine) struct RowsMut<'a, T> {
    start: *mut T,
    /// Rows.
    pub(in crate::engine) count: usize,
    /// Numbers in a row.
    pub(in crate::engine) len: usize,
    strides: [usize; 2],
    of: PhantomData<&'a mut [T]>,
}

impl<T: Copy> RowsMut<'_, T> {
    /// `count` rows of `len` numbers.
    ///
    /// # Safety
    /// All of them may be written for as long as this lives, and nobody else reads or writes them.
    pub(in crate::engine) unsafe fn new(start: *mut T, [count, len]: [usize; 2], strides: [usize; 2]) -> Self {
        Self { start, count, len, strides, of: PhantomData }
    }

    /// From one number of a row to the next; rows are slices where it is one.
    #[inline(always)]
    pub(in crate::engine) fn step(&self) -> usize {
        self.strides[1]
    }

    /// A row as a slice.
    ///
    /// # Panics
    /// Where there is no such row, or its numbers are not neighbours.
    #[inline(always)]
    pub(in crate::engine) fn row(&mut self, index: usize) -> &mut [T] {
        assert!(index < self.count && self.strides[1] == 1);
        // SAFETY: `new` was told that all rows may be written; the assertion says that this is one, and the slice
        // borrows `self`.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(index * self.strides[0]), self.len) }
    }

    /// Writes one number.
    ///
    /// # Panics
    /// Where there is no such number.
    #[inline(always)]
    pub(in crate::engine) fn put(&mut self, row: usize, column: usize, number: T) {
        assert!(row < self.count && column < self.len);
        // SAFETY: as above.
        unsafe { *self.start.add(row * self.strides[0] + column * self.strides[1]) = number };
    }
}

/// Numbers that are copied one by one without asking whether there are more.
const AT_ONCE: usize = 8;

/// What `number` makes of each number of some rows, to rows of the same size. It takes the longer way first, be it along
/// the rows or across.
///
/// # Panics
/// Where the sizes differ.
#[inline(always)]
pub(in crate::engine) fn map_numbers<T: Copy>(input: Rows<'_, T>, output: RowsMut<'_, T>, number: impl Fn(T) -> T) {
    assert_eq!([input.count, input.len], [output.count, output.len]);
    let ([mut outer, mut inner], mut from, mut to) = ([input.count, input.len], input.strides, output.strides);
    if outer > inner {
        (outer, inner) = (inner, outer);
        from.reverse();
        to.reverse();
    }
    for index in 0..outer {
        let mut input = input.start.wrapping_add(index.wrapping_mul(from[0]));
        let mut output = output.start.wrapping_add(index.wrapping_mul(to[0]));
        let mut left = inner;
        while left > 0 {
            let count = left.min(AT_ONCE);
            let step = |at: usize| {
                // SAFETY: `new` of both was told that all numbers may be read or written; this is one, as the sizes are
                // the same.
                unsafe {
                    let x = input.wrapping_add(at.wrapping_mul(from[1])).read();
                    output.wrapping_add(at.wrapping_mul(to[1])).write(number(x));
                }
            };
            match count {
                AT_ONCE => (0..AT_ONCE).for_each(step),
                _ => (0..count).for_each(step),
            }
            input = input.wrapping_add(AT_ONCE.wrapping_mul(from[1]));
            output = output.wrapping_add(AT_ONCE.wrapping_mul(to[1]));
            left = left.wrapping_sub(count);
        }
    }
}
