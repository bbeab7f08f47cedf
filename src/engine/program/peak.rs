//! What one core can do at best: a tile kernel over and over on numbers that stay in the nearest cache.
#![allow(unsafe_code)]

use std::time::{Duration, Instant};

use super::super::kernels::{ByteTile, FloatTile, Kernels, Sums, pack_bytes, pack_floats};

/// Numbers of each pixel that are multiplied.
const SPAN_LEN: usize = 256;
/// A measurement takes so long.
const MEASUREMENT: Duration = Duration::from_millis(3);
/// The best of so many measurements counts.
const MEASUREMENTS: usize = 7;

/// Multiplications with additions in a second on one thread, in the loop of the widest tile kernel without what comes
/// before and after a tile: an upper bound for a network, not what the instructions alone would give.
pub(in crate::engine) fn macs_per_second(kernels: &Kernels, int8: bool) -> f64 {
    if int8 { of_bytes(kernels) } else { of_floats(kernels) }
}

fn of_bytes(kernels: &Kernels) -> f64 {
    let kernel = &kernels.bytes[0];
    let (pixels, block) = (kernel.pixels_max, kernel.packing.block);
    let packed = pack_bytes(kernel.packing, [block, 1, SPAN_LEN], |c, _, k| ((c * 7 + k) % 15) as i8 - 7);
    let input = vec![3_u8; (pixels + 1) * SPAN_LEN];
    let mut output = vec![0_u8; pixels * block];
    let (bias, multipliers) = (vec![0_i32; block], vec![0.001_f32; block]);
    let tile = ByteTile {
        input: input.as_ptr(),
        input_stride: SPAN_LEN,
        spans: [0].as_ptr(),
        span_count: 1,
        span_groups: packed.span_groups,
        weights: packed.block(0),
        bias: bias.as_ptr(),
        multipliers: multipliers.as_ptr(),
        pixels,
        output: output.as_mut_ptr(),
        output_stride: block,
        becomes: Sums::Bytes { low: 0.0, high: 127.0, offset: 0 },
    };
    // SAFETY: the pointers are to slices that hold what the tile names, with a pixel more than are read.
    best(pixels * block * SPAN_LEN, || unsafe { (kernel.run)(&tile) })
}

fn of_floats(kernels: &Kernels) -> f64 {
    let kernel = &kernels.floats[0];
    let (pixels, block) = (kernel.pixels_max, kernel.packing.block);
    let packed = pack_floats(kernel.packing, [block, 1, SPAN_LEN], |c, _, k| (c + k) as f32);
    let input = vec![0.5_f32; pixels * SPAN_LEN];
    let mut output = vec![0.0_f32; pixels * block];
    let bias = vec![0.0_f32; block];
    let tile = FloatTile {
        input: input.as_ptr(),
        input_stride: SPAN_LEN,
        spans: [0].as_ptr(),
        span_count: 1,
        span_len: SPAN_LEN,
        weights: packed.block(0).cast(),
        bias: bias.as_ptr(),
        pixels,
        output: output.as_mut_ptr(),
        output_stride: block,
    };
    // SAFETY: the pointers are to slices that hold what the tile names.
    best(pixels * block * SPAN_LEN, || unsafe { (kernel.run)(&tile) })
}

/// The most of something that can be done in a second.
fn best(amount: usize, run: impl Fn()) -> f64 {
    const RUNS: usize = 64;
    let measure = |_| {
        let start = Instant::now();
        let mut runs = 0;
        while start.elapsed() < MEASUREMENT {
            (0..RUNS).for_each(|_| run());
            runs += RUNS;
        }
        (runs * amount) as f64 / start.elapsed().as_secs_f64()
    };
    (0..MEASUREMENTS).map(measure).fold(0.0, f64::max)
}
