//! Float tiles for every AArch64 processor.

use std::arch::aarch64::{float32x4_t, vst1q_f32};

use super::PIXELS_MAX;
use super::by_element::{
    Walk, back_eight, load_bias, load_eight, load_inputs, load_second_four, multiply, multiply_four, multiply_group,
    multiply_one, multiply_rest, sums, with_first_inputs, with_second_inputs,
};
use crate::engine::kernels::{FloatTile, Packing, TileKernel};

pub(super) static TILES: &[TileKernel<FloatTile>] = &[
    TileKernel { pixels_max: PIXELS_MAX, packing: Packing { block: 16, group: 1, bounded: false }, run: float_tile_16 },
    TileKernel { pixels_max: PIXELS_MAX, packing: Packing { block: 8, group: 1, bounded: false }, run: float_tile_8 },
];

macro_rules! float_tile {
    ($name:ident, $vectors:tt) => {
        /// # Safety
        /// The tile's pointers hold as [`FloatTile`] says.
        unsafe fn $name(tile: &FloatTile) {
            assert!((1..=PIXELS_MAX).contains(&tile.pixels) && tile.span_len > 0 && tile.span_count > 0);
            let walk = Walk {
                stride: tile.input_stride.wrapping_mul(size_of::<f32>()),
                spans: tile.spans,
                span_count: tile.span_count,
                groups: tile.span_len,
                weights: tile.weights.cast(),
                bias: tile.bias.cast(),
            };
            let mut input = tile.input;
            let mut output = tile.output;
            let mut left = tile.pixels;
            macro_rules! pixels {
                        ($pixels:tt) => {{
                            // SAFETY: what the caller promises of the tile holds for each of its pixels.
                            unsafe {
                                let sums: [float32x4_t; 20] =
                                    sums!(["fmla" ".4s" ".s"], "2", exact, $vectors, $pixels, &walk, input);
                                for pixel in 0..$pixels {
                                    for vector in 0..$vectors {
                                        let output = output.add(tile.output_stride.wrapping_mul(pixel)).add(4 * vector);
                                        vst1q_f32(output, sums[pixel * $vectors + vector]);
                                    }
                                }
                            }
                        }};
                    }
            while left >= 5 {
                pixels!(5);
                input = input.wrapping_add(5usize.wrapping_mul(tile.input_stride));
                output = output.wrapping_add(5usize.wrapping_mul(tile.output_stride));
                left = left.wrapping_sub(5);
            }
            match left {
                4 => pixels!(4),
                3 => pixels!(3),
                2 => pixels!(2),
                1 => pixels!(1),
                _ => {}
            }
        }
    };
}

float_tile!(float_tile_16, 4);
float_tile!(float_tile_8, 2);
