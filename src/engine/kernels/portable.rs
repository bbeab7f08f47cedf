//! Kernels that every machine can run, and that the others are tested against.

use super::{ByteTile, FloatTile, Kernels, Level, Packing, Sums, TileKernel, loops::fused, requantize};

const BLOCK: usize = 8;
const GROUP: usize = 4;
const PIXELS: usize = 4;

pub(super) static KERNELS: Kernels = Kernels {
    name: "portable",
    signed: false,
    level: Level::Baseline,
    bytes: &[TileKernel {
        pixels_max: PIXELS,
        packing: Packing { block: BLOCK, group: GROUP, bounded: false },
        run: byte_tile,
    }],
    floats: &[TileKernel {
        pixels_max: PIXELS,
        packing: Packing { block: BLOCK, group: 1, bounded: false },
        run: float_tile,
    }],
    look_up,
    look_up_rows: None,
};

/// # Safety
/// The tile's pointers hold as [`ByteTile`] says.
unsafe fn byte_tile(tile: &ByteTile) {
    assert!((1..=PIXELS).contains(&tile.pixels) && tile.span_groups > 0);
    for pixel in 0..tile.pixels {
        // SAFETY: what the caller promises of the tile holds for each of its pixels.
        unsafe {
            let input = tile.input.add(pixel * tile.input_stride);
            let mut sums: [i32; BLOCK] = tile.bias.cast::<[i32; BLOCK]>().read_unaligned();
            let mut weights = tile.weights.cast::<[[i8; GROUP]; BLOCK]>();
            for span in 0..tile.span_count {
                let mut input = input.add(*tile.spans.add(span)).cast::<[u8; GROUP]>();
                for _ in 0..tile.span_groups {
                    let bytes = input.read();
                    for (sum, weights) in sums.iter_mut().zip(&weights.read()) {
                        for (byte, weight) in bytes.iter().zip(weights) {
                            *sum = sum.wrapping_add(i32::from(*byte) * i32::from(*weight));
                        }
                    }
                    input = input.add(1);
                    weights = weights.add(1);
                }
            }
            let multipliers: [f32; BLOCK] = tile.multipliers.cast::<[f32; BLOCK]>().read_unaligned();
            let output = tile.output.add(pixel * tile.output_stride);
            match tile.becomes {
                Sums::Bytes { low, high, offset } => {
                    let byte = |c: usize| requantize(sums[c], multipliers[c], low, high, offset) as u8;
                    output.cast::<[u8; BLOCK]>().write(std::array::from_fn(byte));
                }
                Sums::Floats => {
                    let float = |c: usize| sums[c] as f32 * multipliers[c];
                    output.cast::<[f32; BLOCK]>().write_unaligned(std::array::from_fn(float));
                }
            }
        }
    }
}

/// # Safety
/// The tile's pointers hold as [`FloatTile`] says.
unsafe fn float_tile(tile: &FloatTile) {
    assert!((1..=PIXELS).contains(&tile.pixels) && tile.span_len > 0);
    for pixel in 0..tile.pixels {
        // SAFETY: what the caller promises of the tile holds for each of its pixels.
        unsafe {
            let input = tile.input.add(pixel * tile.input_stride);
            let mut sums: [f32; BLOCK] = tile.bias.cast::<[f32; BLOCK]>().read_unaligned();
            let mut weights = tile.weights.cast::<[f32; BLOCK]>();
            for span in 0..tile.span_count {
                let input = input.add(*tile.spans.add(span));
                for k in 0..tile.span_len {
                    let number = *input.add(k);
                    for (sum, weight) in sums.iter_mut().zip(&weights.read()) {
                        *sum = fused(number, *weight, *sum);
                    }
                    weights = weights.add(1);
                }
            }
            tile.output.add(pixel * tile.output_stride).cast::<[f32; BLOCK]>().write_unaligned(sums);
        }
    }
}

/// # Safety
/// `len` bytes may be read from `input` and written to `output`, which are the same or disjoint.
unsafe fn look_up(input: *const u8, output: *mut u8, len: usize, table: &[u8; 256]) {
    for index in 0..len {
        // SAFETY: the index is below `len`.
        unsafe { *output.add(index) = table[usize::from(*input.add(index))] };
    }
}
