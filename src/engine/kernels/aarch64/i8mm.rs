//! Kernels for processors with products of small matrices of bytes (`smmla`).
//!
//! A group is eight inputs. One instruction multiplies a group of two pixels by that of two channels. A loop is done
//! for four pixels; of fewer the last one is computed again.
//!
//! Registers: v0 to v7 hold the sums of the first two pixels, each of two channels, first pixel, then second; v8 to v15
//! those of the other two; v16 to v19 inputs by pixel; v20 to v23 by two pixels; v24 to v31 the weights of a group. In
//! the end v16 to v31 hold the sums pixel by pixel.

use std::arch::aarch64::int32x4_t;

use super::finish::Finish;
use super::{PIXELS_MAX, dotprod, floats, look_up};
use crate::engine::kernels::{ByteTile, Kernels, Level, Packing, TileKernel};

pub(super) static KERNELS: Kernels = Kernels {
    name: "i8mm",
    signed: true,
    level: Level::Baseline,
    bytes: &[
        TileKernel {
            pixels_max: PIXELS_MAX,
            packing: Packing { block: 16, group: 8, bounded: false },
            run: byte_tile_16,
        },
        dotprod::BYTES_8,
    ],
    floats: floats::TILES,
    look_up: look_up::look_up,
    look_up_rows: Some(look_up::look_up_rows),
};

/// Vectors of the sums of a tile.
type Sums = [int32x4_t; 16];

/// # Safety
/// The tile's pointers hold as [`ByteTile`] says, and the processor has `smmla`.
#[target_feature(enable = "i8mm")]
unsafe fn byte_tile_16(tile: &ByteTile) {
    assert!((1..=PIXELS_MAX).contains(&tile.pixels) && tile.span_groups > 0 && tile.span_count > 0);
    let finish = Finish::new(tile);
    let mut input = tile.input;
    let mut output = tile.output;
    let mut left = tile.pixels;
    while left > 0 {
        // SAFETY: what the caller promises of the tile holds for each of its pixels.
        unsafe {
            let sums = sums_of_four(tile, input, left.min(4));
            match left {
                1 => finish.write::<1, 4, 16>(&sums, output),
                2 => finish.write::<2, 4, 16>(&sums, output),
                3 => finish.write::<3, 4, 16>(&sums, output),
                _ => finish.write::<4, 4, 16>(&sums, output),
            }
        }
        input = input.wrapping_add(tile.input_stride.wrapping_mul(4));
        output = output.wrapping_add(tile.output_stride.wrapping_mul(4));
        left = left.saturating_sub(4);
    }
}

/// Products of a group: the inputs of the first and of the other two pixels.
macro_rules! multiply_group {
    ($first:literal, $second:literal) => {
        concat!(
            "ld1 {{v24.16b-v27.16b}}, [{weights}], #64\n",
            "ld1 {{v28.16b-v31.16b}}, [{weights}], #64\n",
            "smmla v0.4s, v",
            $first,
            ".16b, v24.16b\n",
            "smmla v8.4s, v",
            $second,
            ".16b, v24.16b\n",
            "smmla v1.4s, v",
            $first,
            ".16b, v25.16b\n",
            "smmla v9.4s, v",
            $second,
            ".16b, v25.16b\n",
            "smmla v2.4s, v",
            $first,
            ".16b, v26.16b\n",
            "smmla v10.4s, v",
            $second,
            ".16b, v26.16b\n",
            "smmla v3.4s, v",
            $first,
            ".16b, v27.16b\n",
            "smmla v11.4s, v",
            $second,
            ".16b, v27.16b\n",
            "smmla v4.4s, v",
            $first,
            ".16b, v28.16b\n",
            "smmla v12.4s, v",
            $second,
            ".16b, v28.16b\n",
            "smmla v5.4s, v",
            $first,
            ".16b, v29.16b\n",
            "smmla v13.4s, v",
            $second,
            ".16b, v29.16b\n",
            "smmla v6.4s, v",
            $first,
            ".16b, v30.16b\n",
            "smmla v14.4s, v",
            $second,
            ".16b, v30.16b\n",
            "smmla v7.4s, v",
            $first,
            ".16b, v31.16b\n",
            "smmla v15.4s, v",
            $second,
            ".16b, v31.16b\n",
        )
    };
}

/// The sums of four pixels, sixteen channels each; all after the first `pixels` are the last of them.
///
/// # Safety
/// As [`byte_tile_16`], for so many pixels from `input` on.
#[inline]
#[target_feature(enable = "i8mm")]
unsafe fn sums_of_four(tile: &ByteTile, input: *const u8, pixels: usize) -> Sums {
    let offset = |pixel: usize| tile.input_stride.wrapping_mul(pixel.min(pixels.wrapping_sub(1)));
    let (s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11, s12, s13, s14, s15);
    // SAFETY: the loops read the groups of all spans of these pixels and the weights that belong to them.
    unsafe {
        std::arch::asm!(
            "ld1r {{v0.2d}}, [{bias}], #8",
            "ld1r {{v1.2d}}, [{bias}], #8",
            "ld1r {{v2.2d}}, [{bias}], #8",
            "ld1r {{v3.2d}}, [{bias}], #8",
            "ld1r {{v4.2d}}, [{bias}], #8",
            "ld1r {{v5.2d}}, [{bias}], #8",
            "ld1r {{v6.2d}}, [{bias}], #8",
            "ld1r {{v7.2d}}, [{bias}], #8",
            "mov v8.16b, v0.16b",
            "mov v9.16b, v1.16b",
            "mov v10.16b, v2.16b",
            "mov v11.16b, v3.16b",
            "mov v12.16b, v4.16b",
            "mov v13.16b, v5.16b",
            "mov v14.16b, v6.16b",
            "mov v15.16b, v7.16b",
            "2:",
            "ldr {x}, [{spans}], #8",
            "add {x}, {input}, {x}",
            "lsr {n}, {groups}, #1",
            "cbz {n}, 4f",
            "3:",
            "ldr q17, [{x}, {offset_1}]",
            "ldr q18, [{x}, {offset_2}]",
            "ldr q19, [{x}, {offset_3}]",
            "ldr q16, [{x}], #16",
            "zip1 v20.2d, v16.2d, v17.2d",
            "zip1 v21.2d, v18.2d, v19.2d",
            "zip2 v22.2d, v16.2d, v17.2d",
            "zip2 v23.2d, v18.2d, v19.2d",
            multiply_group!("20", "21"),
            multiply_group!("22", "23"),
            "subs {n}, {n}, #1",
            "b.ne 3b",
            "4:",
            "tbz {groups}, #0, 5f",
            "ldr d17, [{x}, {offset_1}]",
            "ldr d18, [{x}, {offset_2}]",
            "ldr d19, [{x}, {offset_3}]",
            "ldr d16, [{x}]",
            "zip1 v20.2d, v16.2d, v17.2d",
            "zip1 v21.2d, v18.2d, v19.2d",
            multiply_group!("20", "21"),
            "5:",
            "subs {span_count}, {span_count}, #1",
            "b.ne 2b",
            "trn1 v16.2d, v0.2d, v1.2d",
            "trn1 v17.2d, v2.2d, v3.2d",
            "trn1 v18.2d, v4.2d, v5.2d",
            "trn1 v19.2d, v6.2d, v7.2d",
            "trn2 v20.2d, v0.2d, v1.2d",
            "trn2 v21.2d, v2.2d, v3.2d",
            "trn2 v22.2d, v4.2d, v5.2d",
            "trn2 v23.2d, v6.2d, v7.2d",
            "trn1 v24.2d, v8.2d, v9.2d",
            "trn1 v25.2d, v10.2d, v11.2d",
            "trn1 v26.2d, v12.2d, v13.2d",
            "trn1 v27.2d, v14.2d, v15.2d",
            "trn2 v28.2d, v8.2d, v9.2d",
            "trn2 v29.2d, v10.2d, v11.2d",
            "trn2 v30.2d, v12.2d, v13.2d",
            "trn2 v31.2d, v14.2d, v15.2d",
            x = out(reg) _,
            n = out(reg) _,
            input = in(reg) input,
            offset_1 = in(reg) offset(1),
            offset_2 = in(reg) offset(2),
            offset_3 = in(reg) offset(3),
            spans = inout(reg) tile.spans => _,
            span_count = inout(reg) tile.span_count => _,
            groups = in(reg) tile.span_groups,
            weights = inout(reg) tile.weights => _,
            bias = inout(reg) tile.bias => _,
            out("v0") _, out("v1") _, out("v2") _, out("v3") _, out("v4") _, out("v5") _,
            out("v6") _, out("v7") _, out("v8") _, out("v9") _, out("v10") _, out("v11") _,
            out("v12") _, out("v13") _, out("v14") _, out("v15") _, out("v16") s0, out("v17") s1,
            out("v18") s2, out("v19") s3, out("v20") s4, out("v21") s5, out("v22") s6, out("v23") s7,
            out("v24") s8, out("v25") s9, out("v26") s10, out("v27") s11, out("v28") s12, out("v29") s13,
            out("v30") s14, out("v31") s15,
            options(nostack, readonly),
        );
    }
    [s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11, s12, s13, s14, s15]
}
