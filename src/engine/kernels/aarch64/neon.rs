//! Kernels for processors without dot products of bytes, such as Cortex-A72: products of bytes are added in pairs in
//! `i16` and then to sums in `i32`.
//!
//! A group is sixteen inputs, and each channel of each pixel has four sums of its own until the end. A pair of products
//! leaves `i16` only where both are -128 × -128, so weights are searched first for two -128 that would meet; a block
//! with such a pair adds each product to the sums by itself.
//!
//! Registers: v0 to v19 hold the sums, four channels of a pixel after the other; v20 to v27 two groups of weights of
//! four channels; v28 and v29 two groups of a pixel's inputs; v30 and v31 products.

use std::arch::aarch64::{
    int8x16_t, int32x4_t, vdupq_n_s8, vextq_s8, vld1q_s8, vld1q_s8_x4, vmaxq_s8, vminq_s8, vminvq_s8,
};
use std::mem::MaybeUninit;

use super::finish::Finish;
use super::{PIXELS_MAX, floats, look_up};
use crate::engine::kernels::{ByteTile, Kernels, Level, Packing, TileKernel};

pub(super) static KERNELS: Kernels = Kernels {
    name: "neon",
    signed: true,
    level: Level::Baseline,
    bytes: &[
        TileKernel {
            pixels_max: PIXELS_MAX,
            packing: Packing { block: 16, group: GROUP, bounded: false },
            run: byte_tile_16,
        },
        TileKernel {
            pixels_max: PIXELS_MAX,
            packing: Packing { block: 8, group: GROUP, bounded: false },
            run: byte_tile_8,
        },
    ],
    floats: floats::TILES,
    look_up: look_up::look_up,
    look_up_rows: Some(look_up::look_up_rows),
};

const GROUP: usize = 16;

/// Four sums of each of two channels; their weights; their inputs.
macro_rules! multiply_two {
    (paired, $sums_0:literal $sums_1:literal, $weights_0:literal $weights_1:literal, $input:literal) => {
        concat!(
            "smull v30.8h, v",
            $input,
            ".8b, v",
            $weights_0,
            ".8b\n",
            "smull v31.8h, v",
            $input,
            ".8b, v",
            $weights_1,
            ".8b\n",
            "smlal2 v30.8h, v",
            $input,
            ".16b, v",
            $weights_0,
            ".16b\n",
            "smlal2 v31.8h, v",
            $input,
            ".16b, v",
            $weights_1,
            ".16b\n",
            "sadalp v",
            $sums_0,
            ".4s, v30.8h\n",
            "sadalp v",
            $sums_1,
            ".4s, v31.8h\n",
        )
    };
    (single, $sums_0:literal $sums_1:literal, $weights_0:literal $weights_1:literal, $input:literal) => {
        concat!(
            "smull v30.8h, v",
            $input,
            ".8b, v",
            $weights_0,
            ".8b\n",
            "smull v31.8h, v",
            $input,
            ".8b, v",
            $weights_1,
            ".8b\n",
            "sadalp v",
            $sums_0,
            ".4s, v30.8h\n",
            "sadalp v",
            $sums_1,
            ".4s, v31.8h\n",
            "smull2 v30.8h, v",
            $input,
            ".16b, v",
            $weights_0,
            ".16b\n",
            "smull2 v31.8h, v",
            $input,
            ".16b, v",
            $weights_1,
            ".16b\n",
            "sadalp v",
            $sums_0,
            ".4s, v30.8h\n",
            "sadalp v",
            $sums_1,
            ".4s, v31.8h\n",
        )
    };
}

/// One or two groups of a pixel, after which the pointer to the inputs moves on by the named operand.
macro_rules! multiply_pixel {
    ($how:ident, 1, $step:literal, $s0:literal $s1:literal $s2:literal $s3:literal) => {
        concat!(
            "ld1 {{v28.16b}}, [{x}], {", $step, "}\n",
            multiply_two!($how, $s0 $s1, "20" "21", "28"),
            multiply_two!($how, $s2 $s3, "22" "23", "28"),
        )
    };
    ($how:ident, 2, $step:literal, $s0:literal $s1:literal $s2:literal $s3:literal) => {
        concat!(
            "ld1 {{v28.16b, v29.16b}}, [{x}], {", $step, "}\n",
            multiply_two!($how, $s0 $s1, "20" "21", "28"),
            multiply_two!($how, $s2 $s3, "22" "23", "28"),
            multiply_two!($how, $s0 $s1, "24" "25", "29"),
            multiply_two!($how, $s2 $s3, "26" "27", "29"),
        )
    };
}

/// One or two groups of the first pixels, of which another one follows.
macro_rules! multiply_first {
    ($how:ident, $groups:tt, 1) => { multiply_pixel!($how, $groups, "stride", "0" "1" "2" "3") };
    ($how:ident, $groups:tt, 2) => {
        concat!(
            multiply_first!($how, $groups, 1),
            multiply_pixel!($how, $groups, "stride", "4" "5" "6" "7"),
        )
    };
    ($how:ident, $groups:tt, 3) => {
        concat!(
            multiply_first!($how, $groups, 2),
            multiply_pixel!($how, $groups, "stride", "8" "9" "10" "11"),
        )
    };
    ($how:ident, $groups:tt, 4) => {
        concat!(
            multiply_first!($how, $groups, 3),
            multiply_pixel!($how, $groups, "stride", "12" "13" "14" "15"),
        )
    };
}

/// One or two groups of so many pixels; the pointer goes back to the first one, behind the groups.
macro_rules! multiply_pixels {
    ($how:ident, $groups:tt, 1) => { multiply_pixel!($how, $groups, "back", "0" "1" "2" "3") };
    ($how:ident, $groups:tt, 2) => {
        concat!(
            multiply_first!($how, $groups, 1),
            multiply_pixel!($how, $groups, "back", "4" "5" "6" "7"),
        )
    };
    ($how:ident, $groups:tt, 3) => {
        concat!(
            multiply_first!($how, $groups, 2),
            multiply_pixel!($how, $groups, "back", "8" "9" "10" "11"),
        )
    };
    ($how:ident, $groups:tt, 4) => {
        concat!(
            multiply_first!($how, $groups, 3),
            multiply_pixel!($how, $groups, "back", "12" "13" "14" "15"),
        )
    };
    ($how:ident, $groups:tt, 5) => {
        concat!(
            multiply_first!($how, $groups, 4),
            multiply_pixel!($how, $groups, "back", "16" "17" "18" "19"),
        )
    };
}

/// The sums of so many pixels by four channels, as five vectors of which the first ones are meant.
///
/// `$bias` holds the four sums of each channel to begin with, `$from` is the first of the four channels. It is unsafe:
/// `$tile` is a [`ByteTile`] that holds its promises, and `$input` what one of its pixels reads.
macro_rules! sums_of_four {
    ($how:ident, $block:literal, $pixels:tt, $tile:expr, $bias:expr, $input:expr, $from:expr) => {{
        let tile: &ByteTile = $tile;
        let (s0, s1, s2, s3, s4);
        std::arch::asm!(
            // A single pixel leaves the stride unused, which has to be said.
            "// {stride}",
            "ld1 {{v0.4s-v3.4s}}, [{bias}]",
            "ld1 {{v4.4s-v7.4s}}, [{bias}]",
            "ld1 {{v8.4s-v11.4s}}, [{bias}]",
            "ld1 {{v12.4s-v15.4s}}, [{bias}]",
            "ld1 {{v16.4s-v19.4s}}, [{bias}]",
            "2:",
            "ldr {x}, [{spans}], #8",
            "add {x}, {input}, {x}",
            "lsr {n}, {groups}, #1",
            "cbz {n}, 4f",
            "3:",
            "ld1 {{v20.16b-v23.16b}}, [{weights}], {weights_step}",
            "ld1 {{v24.16b-v27.16b}}, [{weights}], {weights_step}",
            multiply_pixels!($how, 2, $pixels),
            "subs {n}, {n}, #1",
            "b.ne 3b",
            "4:",
            "tbz {groups}, #0, 5f",
            "ld1 {{v20.16b-v23.16b}}, [{weights}], {weights_step}",
            multiply_pixels!($how, 1, $pixels),
            "5:",
            "subs {span_count}, {span_count}, #1",
            "b.ne 2b",
            "addp v0.4s, v0.4s, v1.4s",
            "addp v2.4s, v2.4s, v3.4s",
            "addp v4.4s, v4.4s, v5.4s",
            "addp v6.4s, v6.4s, v7.4s",
            "addp v8.4s, v8.4s, v9.4s",
            "addp v10.4s, v10.4s, v11.4s",
            "addp v12.4s, v12.4s, v13.4s",
            "addp v14.4s, v14.4s, v15.4s",
            "addp v16.4s, v16.4s, v17.4s",
            "addp v18.4s, v18.4s, v19.4s",
            "addp v0.4s, v0.4s, v2.4s",
            "addp v4.4s, v4.4s, v6.4s",
            "addp v8.4s, v8.4s, v10.4s",
            "addp v12.4s, v12.4s, v14.4s",
            "addp v16.4s, v16.4s, v18.4s",
            x = out(reg) _,
            n = out(reg) _,
            input = in(reg) $input,
            stride = in(reg) tile.input_stride,
            // From the last pixel to the first, two groups on. A single group is the last of its span.
            back = in(reg) (2 * GROUP).wrapping_sub(tile.input_stride.wrapping_mul($pixels - 1)),
            spans = inout(reg) tile.spans => _,
            span_count = inout(reg) tile.span_count => _,
            groups = in(reg) tile.span_groups,
            weights = inout(reg) tile.weights.add($from * GROUP) => _,
            weights_step = in(reg) $block * GROUP,
            bias = in(reg) $bias.as_ptr().add($from),
            out("v0") s0, out("v1") _, out("v2") _, out("v3") _, out("v4") s1, out("v5") _, out("v6") _, out("v7") _,
            out("v8") s2, out("v9") _, out("v10") _, out("v11") _, out("v12") s3, out("v13") _, out("v14") _,
            out("v15") _, out("v16") s4, out("v17") _, out("v18") _, out("v19") _, out("v20") _, out("v21") _,
            out("v22") _, out("v23") _, out("v24") _, out("v25") _, out("v26") _, out("v27") _, out("v28") _,
            out("v29") _, out("v30") _, out("v31") _,
            options(nostack, readonly),
        );
        let sums: [int32x4_t; 5] = [s0, s1, s2, s3, s4];
        sums
    }};
}

macro_rules! byte_tile {
    ($name:ident, $block:literal, $vectors:literal) => {
        /// # Safety
        /// The tile's pointers hold as [`ByteTile`] says.
        unsafe fn $name(tile: &ByteTile) {
            assert!((1..=PIXELS_MAX).contains(&tile.pixels) && tile.span_groups > 0 && tile.span_count > 0);
            // SAFETY: so many weights belong to the block.
            let paired = !unsafe { extremes_meet(tile.weights.cast(), tile.span_count * tile.span_groups * $block) };
            // Of the four sums of a channel one begins with its bias.
            let mut bias = [[0i32; 4]; $block];
            for (channel, bias) in bias.iter_mut().enumerate() {
                // SAFETY: the block has so many channels.
                bias[0] = unsafe { tile.bias.add(channel).read() };
            }
            let finish = Finish::new(tile);
            let mut input = tile.input;
            let mut output = tile.output;
            let mut left = tile.pixels;
            macro_rules! pixels {
                ($how:ident, $pixels:tt) => {{
                    let mut sums = MaybeUninit::<[int32x4_t; $pixels * $vectors]>::uninit();
                    // SAFETY: what the caller promises of the tile holds for each of its pixels; the loops set the
                    // sums of all pixels and vectors.
                    unsafe {
                        for vector in 0..$vectors {
                            let of_four = sums_of_four!($how, $block, $pixels, tile, bias, input, 4 * vector);
                            for pixel in 0..$pixels {
                                sums.as_mut_ptr()
                                    .cast::<int32x4_t>()
                                    .add(pixel * $vectors + vector)
                                    .write(of_four[pixel]);
                            }
                        }
                        finish.write::<$pixels, $vectors, { $pixels * $vectors }>(sums.assume_init_ref(), output);
                    }
                    input = input.wrapping_add(tile.input_stride.wrapping_mul($pixels));
                    output = output.wrapping_add(tile.output_stride.wrapping_mul($pixels));
                    left -= $pixels;
                }};
            }
            while paired && left >= 5 {
                pixels!(paired, 5);
            }
            while paired && left > 0 {
                match left {
                    4 => pixels!(paired, 4),
                    3 => pixels!(paired, 3),
                    2 => pixels!(paired, 2),
                    _ => pixels!(paired, 1),
                }
            }
            while left > 0 {
                pixels!(single, 1);
            }
        }
    };
}

byte_tile!(byte_tile_16, 16, 4);
byte_tile!(byte_tile_8, 8, 2);

/// Whether the weights, so many groups, have a -128 eight before another one of their group.
///
/// # Safety
/// So many groups of weights may be read; their number is a multiple of eight.
unsafe fn extremes_meet(weights: *const i8, groups: usize) -> bool {
    assert!(groups.is_multiple_of(8));
    // SAFETY: the offsets are below the number of groups.
    unsafe {
        let mut least = [vdupq_n_s8(0); 2];
        for at in (0..groups).step_by(8) {
            for (half, least) in least.iter_mut().enumerate() {
                let four = vld1q_s8_x4(weights.add((at + 4 * half) * GROUP));
                *least = vminq_s8(vminq_s8(*least, vminq_s8(four.0, four.1)), vminq_s8(four.2, four.3));
            }
        }
        if vminvq_s8(vminq_s8(least[0], least[1])) > i8::MIN {
            return false;
        }
        (0..groups).any(|at| {
            let group: int8x16_t = vld1q_s8(weights.add(at * GROUP));
            vminvq_s8(vmaxq_s8(group, vextq_s8::<8>(group, group))) == i8::MIN
        })
    }
}
