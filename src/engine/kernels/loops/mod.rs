//! Loops over slices that the compiler vectorizes by itself, compiled once for each [`Level`](super::Level).
//!
//! All levels give the same bits for the same numbers: what is computed with floats is written down operation by
//! operation, sums have a fixed order, and the compiler may change neither.

/// Compiles a safe function once for each level; the function that is defined takes the level before its own arguments.
///
/// Parameters of type are named, and then declared in brackets: `fn largest<T>[T: Ordered](numbers: &[T]) -> T`.
///
/// What the body calls must be `#[inline(always)]` or known to the compiler to be worth inlining: a function that is
/// called is compiled for the baseline only.
macro_rules! per_level {
    (
        $(#[$meta:meta])*
        $vis:vis fn $name:ident
        $(<$($parameter:ident),+>[$($declared:tt)+])?
        ($($arg:ident: $ty:ty),* $(,)?) $(-> $result:ty)?
        $body:block
    ) => {
        $(#[$meta])*
        #[allow(unsafe_code, reason = "a function that is compiled for more than the baseline is unsafe to call")]
        $vis fn $name $(<$($declared)+>)? (
            level: $crate::engine::kernels::Level, $($arg: $ty),*
        ) $(-> $result)? {
            #[inline(always)]
            fn body $(<$($declared)+>)? ($($arg: $ty),*) $(-> $result)? $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma")]
                fn avx2 $(<$($declared)+>)? ($($arg: $ty),*) $(-> $result)? {
                    body $(::<$($parameter),+>)? ($($arg),*)
                }

                #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")]
                fn avx512 $(<$($declared)+>)? ($($arg: $ty),*) $(-> $result)? {
                    body $(::<$($parameter),+>)? ($($arg),*)
                }

                match level {
                    $crate::engine::kernels::Level::Baseline => body $(::<$($parameter),+>)? ($($arg),*),
                    // SAFETY: a level is only named where it was detected.
                    $crate::engine::kernels::Level::Avx2 => unsafe {
                        avx2 $(::<$($parameter),+>)? ($($arg),*)
                    },
                    // SAFETY: as above.
                    $crate::engine::kernels::Level::Avx512 => unsafe {
                        avx512 $(::<$($parameter),+>)? ($($arg),*)
                    },
                }
            }
            #[cfg(not(target_arch = "x86_64"))]
            {
                let _ = level;
                body $(::<$($parameter),+>)? ($($arg),*)
            }
        }
    };
}

mod convert;
mod depthwise;
mod floats;
#[cfg(target_arch = "x86_64")]
mod interleaved;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
#[path = "no_interleaved.rs"]
mod interleaved;
mod math;
mod maxima;
#[cfg(target_arch = "x86_64")]
mod quads;
mod rows;
#[cfg(target_arch = "x86_64")]
mod tables;
#[cfg(not(target_arch = "x86_64"))]
#[path = "no_tables.rs"]
mod tables;
#[cfg(target_arch = "x86_64")]
mod tap_pairs;
#[cfg(test)]
mod tests;

pub(in crate::engine) use convert::{
    Reading, interleave_bytes, interleave_floats, quantize, quantize_rows, read_rows, values,
};
pub(in crate::engine) use depthwise::{
    Codes, DepthwiseRow, depthwise_bytes, depthwise_bytes_to_floats, depthwise_floats,
};
pub(in crate::engine) use floats::{combine, combined, divide, exponentials, finish_floats, load_rows, store_rows};
#[cfg(not(target_arch = "aarch64"))]
pub(in crate::engine) use interleaved::DepthwiseBlocks;
pub(in crate::engine::kernels) use math::fused;
pub(in crate::engine) use math::{ROUND, apply, logistic};
pub(in crate::engine) use maxima::{Ordered, max_of, max_of_rows, max_rows, max_windows};
pub(in crate::engine) use rows::{Rows, RowsMut, map_numbers};

#[cfg(target_arch = "aarch64")]
pub(in crate::engine) use super::aarch64::DepthwiseBlocks;
