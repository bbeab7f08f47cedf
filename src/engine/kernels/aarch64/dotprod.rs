//! Kernels for processors with dot products of bytes (`sdot`): Cortex-A76 and most since 2018.

use std::arch::aarch64::int32x4_t;

use super::by_element::{
    Walk, back_eight, load_bias, load_eight, load_inputs, load_second_four, multiply, multiply_four, multiply_group,
    multiply_one, multiply_rest, sums, with_first_inputs, with_second_inputs,
};
use super::finish::Finish;
use super::{PIXELS_MAX, floats, look_up};
use crate::engine::kernels::{ByteTile, Kernels, Level, Packing, TileKernel};

pub(super) static KERNELS: Kernels = Kernels {
    name: "dotprod",
    signed: true,
    level: Level::Baseline,
    bytes: &[
        TileKernel {
            pixels_max: PIXELS_MAX,
            packing: Packing { block: 16, group: 4, bounded: false },
            run: byte_tile_16,
        },
        BYTES_8,
    ],
    floats: floats::TILES,
    look_up: look_up::look_up,
    look_up_rows: Some(look_up::look_up_rows),
};

/// Tiles of eight channels.
pub(super) const BYTES_8: TileKernel<ByteTile> =
    TileKernel { pixels_max: PIXELS_MAX, packing: Packing { block: 8, group: 4, bounded: false }, run: byte_tile_8 };

macro_rules! byte_tile {
    ($name:ident, $vectors:tt) => {
        /// # Safety
        /// The tile's pointers hold as [`ByteTile`] says, and the processor has `sdot`.
        #[target_feature(enable = "dotprod")]
        unsafe fn $name(tile: &ByteTile) {
            assert!((1..=PIXELS_MAX).contains(&tile.pixels) && tile.span_groups > 0 && tile.span_count > 0);
            let walk = Walk {
                stride: tile.input_stride,
                spans: tile.spans,
                span_count: tile.span_count,
                groups: tile.span_groups,
                weights: tile.weights,
                bias: tile.bias.cast(),
            };
            let finish = Finish::new(tile);
            let mut input = tile.input;
            let mut output = tile.output;
            let mut left = tile.pixels;
            macro_rules! pixels {
                        ($pixels:tt) => {{
                            // SAFETY: what the caller promises of the tile holds for each of its pixels; four groups
                            // are loaded where one is left, which is less than the slack.
                            unsafe {
                                let sums: [int32x4_t; 20] =
                                    sums!(["sdot" ".16b" ".4b"], "0", past_end, $vectors, $pixels, &walk, input);
                                finish.write::<$pixels, $vectors, 20>(&sums, output);
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

byte_tile!(byte_tile_16, 4);
byte_tile!(byte_tile_8, 2);
