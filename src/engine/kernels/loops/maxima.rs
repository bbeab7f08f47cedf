//! Loops that look for the largest number.

use std::fmt::Debug;

use super::{Rows, RowsMut};

/// Numbers that have an order.
pub(in crate::engine) trait Ordered: Copy + Debug {
    /// Not above any other.
    const LOWEST: Self;

    /// The larger one of two; what is no number does not count against one that is.
    fn larger(self, other: Self) -> Self;

    /// `best[i] = best[i].larger(with[i])`, where `best` are numbers.
    #[inline(always)]
    fn fold_lanes(best: &mut [Self; LANES], with: &[Self; LANES]) {
        for (best, other) in best.iter_mut().zip(with) {
            *best = best.larger(*other);
        }
    }
}

macro_rules! ordered {
    ($($type:ty: $lowest:expr $(, $fold_lanes:item)?);*) => {$(
        impl Ordered for $type {
            const LOWEST: Self = $lowest;

            #[inline(always)]
            fn larger(self, other: Self) -> Self {
                // Not a comparison and a choice, which become stores under a mask, and those are slow.
                self.max(other)
            }

            $($fold_lanes)?
        }
    )*};
}

#[cfg(not(target_arch = "aarch64"))]
ordered!(u8: 0; i8: -128; f32: f32::NEG_INFINITY);

#[cfg(target_arch = "aarch64")]
ordered!(u8: 0; i8: -128; f32: f32::NEG_INFINITY,
    /// The compiler does not make vectors of sixteen maxima of floats that go round a loop.
    #[inline(always)]
    fn fold_lanes(best: &mut [f32; LANES], with: &[f32; LANES]) {
        use std::arch::aarch64::{vld1q_f32, vmaxnmq_f32, vst1q_f32};
        for (best, with) in best.as_chunks_mut::<4>().0.iter_mut().zip(with.as_chunks::<4>().0) {
            // SAFETY: these are four floats each.
            unsafe { vst1q_f32(best.as_mut_ptr(), vmaxnmq_f32(vld1q_f32(best.as_ptr()), vld1q_f32(with.as_ptr()))) };
        }
    }
);

/// Numbers of a row that are compared at once.
const LANES: usize = 16;

/// `best[i] = max(best[i], with[i])`
#[inline(always)]
fn fold<T: Ordered>(best: &mut [T], with: &[T]) {
    for (best, other) in best.iter_mut().zip(with) {
        *best = best.larger(*other);
    }
}

per_level! {
    /// Holds each row against the part of `best` that belongs to it: `best` has `rows.len` numbers for each row.
    pub(in crate::engine) fn max_rows<T>[T: Ordered](rows: Rows<'_, T>, best: &mut [T]) {
        for (index, best) in best.chunks_exact_mut(rows.len).take(rows.count).enumerate() {
            fold(best, rows.row(index));
        }
    }
}

per_level! {
    /// One row for each window of neighbouring pixels. `window` tells the pixels in one, those from one to the next, and
    /// how many the first begins before the first pixel; what lies outside does not count. A pixel of the input has
    /// `output.len` numbers.
    pub(in crate::engine) fn max_windows<T>[T: Ordered](
        input: &[T], window: [usize; 3], output: RowsMut<'_, T>,
    ) {
        let [kernel, stride, pad] = window;
        let mut output = output;
        let channels = output.len;
        let pixels = input.len() / channels;
        for index in 0..output.count {
            let start = index * stride;
            let end = (start + kernel).saturating_sub(pad).min(pixels);
            let start = start.saturating_sub(pad);
            let output = output.row(index);
            if start >= end {
                output.fill(T::LOWEST);
                continue;
            }
            let window = &input[start * channels..end * channels];
            output.copy_from_slice(&window[..channels]);
            for pixel in window[channels..].chunks_exact(channels) {
                fold(output, pixel);
            }
        }
    }
}

per_level! {
    /// The largest number of each row.
    pub(in crate::engine) fn max_of_rows<T>[T: Ordered](rows: Rows<'_, T>, output: &mut [T]) {
        for (index, output) in output.iter_mut().enumerate().take(rows.count) {
            *output = largest(rows.row(index));
        }
    }
}

per_level! {
    /// The largest of some numbers.
    pub(in crate::engine) fn max_of<T>[T: Ordered](numbers: &[T]) -> T {
        largest(numbers)
    }
}

#[inline(always)]
fn largest<T: Ordered>(numbers: &[T]) -> T {
    let mut best = [T::LOWEST; LANES];
    let (parts, rest) = numbers.as_chunks::<LANES>();
    for part in parts {
        T::fold_lanes(&mut best, part);
    }
    let mut last = T::LOWEST;
    for other in rest {
        last = last.larger(*other);
    }
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for lane in 0..width {
            best[lane] = best[lane].larger(best[lane + width]);
        }
    }
    best[0].larger(last)
}
