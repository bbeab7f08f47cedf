//! The loop of tiles whose multiplication takes one lane of a vector of inputs for all channels: `sdot` and `fmla`.
//!
//! Registers: v0 to v19 hold the sums, pixel by pixel; v20 to v27 inputs, eight groups of each pixel in two neighbours,
//! save that of five pixels the last two have one register each; v28 to v31 weights.

/// Registers of the first, or only, four groups of so many pixels, given to another macro behind its own arguments.
macro_rules! with_first_inputs {
    ($then:ident, $args:tt, 1) => { $then!($args, "20") };
    ($then:ident, $args:tt, 2) => { $then!($args, "20" "22") };
    ($then:ident, $args:tt, 3) => { $then!($args, "20" "22" "24") };
    ($then:ident, $args:tt, 4) => { $then!($args, "20" "22" "24" "26") };
    ($then:ident, $args:tt, 5) => { $then!($args, "20" "22" "24" "26" "27") };
}

/// Registers of the second four groups, as [`with_first_inputs`].
macro_rules! with_second_inputs {
    ($then:ident, $args:tt, 1) => { $then!($args, "21") };
    ($then:ident, $args:tt, 2) => { $then!($args, "21" "23") };
    ($then:ident, $args:tt, 3) => { $then!($args, "21" "23" "25") };
    ($then:ident, $args:tt, 4) => { $then!($args, "21" "23" "25" "27") };
    ($then:ident, $args:tt, 5) => { $then!($args, "21" "23" "25" "26" "27") };
}

/// One load of each pixel, the last of which moves the pointer by the named operand.
macro_rules! load_inputs {
    ([$lanes:literal $back:literal], $last:literal) => {
        concat!("ld1 {{v", $last, $lanes, ", [{x}], {", $back, "}\n")
    };
    ([$lanes:literal $back:literal], $first:literal $($others:literal)+) => {
        concat!("ld1 {{v", $first, $lanes, ", [{x}], {stride}\n", load_inputs!([$lanes $back], $($others)+))
    };
}

/// Loads eight groups of each pixel, of the last two of five pixels the first four.
macro_rules! load_eight {
    (1) => {
        "ld1 {{v20.16b, v21.16b}}, [{x}], {back_eight}\n"
    };
    (2) => {
        concat!("ld1 {{v20.16b, v21.16b}}, [{x}], {stride}\n", "ld1 {{v22.16b, v23.16b}}, [{x}], {back_eight}\n",)
    };
    (3) => {
        concat!(
            "ld1 {{v20.16b, v21.16b}}, [{x}], {stride}\n",
            "ld1 {{v22.16b, v23.16b}}, [{x}], {stride}\n",
            "ld1 {{v24.16b, v25.16b}}, [{x}], {back_eight}\n",
        )
    };
    (4) => {
        concat!(
            "ld1 {{v20.16b, v21.16b}}, [{x}], {stride}\n",
            "ld1 {{v22.16b, v23.16b}}, [{x}], {stride}\n",
            "ld1 {{v24.16b, v25.16b}}, [{x}], {stride}\n",
            "ld1 {{v26.16b, v27.16b}}, [{x}], {back_eight}\n",
        )
    };
    (5) => {
        concat!(
            "ld1 {{v20.16b, v21.16b}}, [{x}], {stride}\n",
            "ld1 {{v22.16b, v23.16b}}, [{x}], {stride}\n",
            "ld1 {{v24.16b, v25.16b}}, [{x}], {stride}\n",
            "ldr q27, [{x}, {stride}]\n",
            "ldr q26, [{x}], #16\n",
        )
    };
}

/// Loads what [`load_eight`] left.
macro_rules! load_second_four {
    (5) => {
        concat!("ldr q27, [{x}, {stride}]\n", "ld1 {{v26.16b}}, [{x}], {back_eight}\n")
    };
    ($pixels:literal) => {
        ""
    };
}

/// How the pointer gets from what was loaded last to the first pixel, eight groups on.
macro_rules! back_eight {
    (5, $stride:expr) => {
        16usize.wrapping_sub($stride.wrapping_mul(3))
    };
    ($pixels:literal, $stride:expr) => {
        32usize.wrapping_sub($stride.wrapping_mul($pixels - 1))
    };
}

/// All twenty sums set to the bias of four or two vectors of channels, whether or not the pixels need as many.
macro_rules! load_bias {
    (4) => {
        concat!(
            "ld1 {{v0.4s-v3.4s}}, [{bias}]\n",
            "ld1 {{v4.4s-v7.4s}}, [{bias}]\n",
            "ld1 {{v8.4s-v11.4s}}, [{bias}]\n",
            "ld1 {{v12.4s-v15.4s}}, [{bias}]\n",
            "ld1 {{v16.4s-v19.4s}}, [{bias}]\n",
        )
    };
    (2) => {
        concat!(
            "ldp q0, q1, [{bias}]\n",
            "ldp q2, q3, [{bias}]\n",
            "ldp q4, q5, [{bias}]\n",
            "ldp q6, q7, [{bias}]\n",
            "ldp q8, q9, [{bias}]\n",
            "ldp q10, q11, [{bias}]\n",
            "ldp q12, q13, [{bias}]\n",
            "ldp q14, q15, [{bias}]\n",
            "ldp q16, q17, [{bias}]\n",
            "ldp q18, q19, [{bias}]\n",
        )
    };
}

/// One group of one pixel: the named sums by the lane of the named inputs.
macro_rules! multiply {
    ([$name:literal $all:literal $lane:literal], $at:literal, $input:literal, $($sum:literal $weights:literal),+) => {
        concat!($($name, " v", $sum, ".4s, v", $weights, $all, ", v", $input, $lane, "[", $at, "]\n"),+)
    };
}

/// One group of the pixels whose inputs are given, by four vectors of channels, or by two with the first or second two
/// vectors of weights.
macro_rules! multiply_group {
    ([$op:tt 4 $at:literal], $i0:literal) => {
        multiply!($op, $at, $i0, "0" "28", "1" "29", "2" "30", "3" "31")
    };
    ([$op:tt 4 $at:literal], $i0:literal $i1:literal) => {
        concat!(multiply_group!([$op 4 $at], $i0), multiply!($op, $at, $i1, "4" "28", "5" "29", "6" "30", "7" "31"))
    };
    ([$op:tt 4 $at:literal], $i0:literal $i1:literal $i2:literal) => {
        concat!(
            multiply_group!([$op 4 $at], $i0 $i1),
            multiply!($op, $at, $i2, "8" "28", "9" "29", "10" "30", "11" "31"),
        )
    };
    ([$op:tt 4 $at:literal], $i0:literal $i1:literal $i2:literal $i3:literal) => {
        concat!(
            multiply_group!([$op 4 $at], $i0 $i1 $i2),
            multiply!($op, $at, $i3, "12" "28", "13" "29", "14" "30", "15" "31"),
        )
    };
    ([$op:tt 4 $at:literal], $i0:literal $i1:literal $i2:literal $i3:literal $i4:literal) => {
        concat!(
            multiply_group!([$op 4 $at], $i0 $i1 $i2 $i3),
            multiply!($op, $at, $i4, "16" "28", "17" "29", "18" "30", "19" "31"),
        )
    };
    ([$op:tt 2 $at:literal], $i0:literal) => {
        multiply!($op, $at, $i0, "0" "28", "1" "29")
    };
    ([$op:tt 2 $at:literal], $i0:literal $i1:literal) => {
        concat!(multiply_group!([$op 2 $at], $i0), multiply!($op, $at, $i1, "2" "28", "3" "29"))
    };
    ([$op:tt 2 $at:literal], $i0:literal $i1:literal $i2:literal) => {
        concat!(multiply_group!([$op 2 $at], $i0 $i1), multiply!($op, $at, $i2, "4" "28", "5" "29"))
    };
    ([$op:tt 2 $at:literal], $i0:literal $i1:literal $i2:literal $i3:literal) => {
        concat!(multiply_group!([$op 2 $at], $i0 $i1 $i2), multiply!($op, $at, $i3, "6" "28", "7" "29"))
    };
    ([$op:tt 2 $at:literal], $i0:literal $i1:literal $i2:literal $i3:literal $i4:literal) => {
        concat!(multiply_group!([$op 2 $at], $i0 $i1 $i2 $i3), multiply!($op, $at, $i4, "8" "28", "9" "29"))
    };
    ([$op:tt second_2 $at:literal], $i0:literal) => {
        multiply!($op, $at, $i0, "0" "30", "1" "31")
    };
    ([$op:tt second_2 $at:literal], $i0:literal $i1:literal) => {
        concat!(multiply_group!([$op second_2 $at], $i0), multiply!($op, $at, $i1, "2" "30", "3" "31"))
    };
    ([$op:tt second_2 $at:literal], $i0:literal $i1:literal $i2:literal) => {
        concat!(multiply_group!([$op second_2 $at], $i0 $i1), multiply!($op, $at, $i2, "4" "30", "5" "31"))
    };
    ([$op:tt second_2 $at:literal], $i0:literal $i1:literal $i2:literal $i3:literal) => {
        concat!(multiply_group!([$op second_2 $at], $i0 $i1 $i2), multiply!($op, $at, $i3, "6" "30", "7" "31"))
    };
    ([$op:tt second_2 $at:literal], $i0:literal $i1:literal $i2:literal $i3:literal $i4:literal) => {
        concat!(multiply_group!([$op second_2 $at], $i0 $i1 $i2 $i3), multiply!($op, $at, $i4, "8" "30", "9" "31"))
    };
}

/// Weights and products of four groups.
macro_rules! multiply_four {
    ([$op:tt 4], $($inputs:literal)+) => {
        concat!(
            "ld1 {{v28.16b-v31.16b}}, [{weights}], #64\n",
            multiply_group!([$op 4 "0"], $($inputs)+),
            "ld1 {{v28.16b-v31.16b}}, [{weights}], #64\n",
            multiply_group!([$op 4 "1"], $($inputs)+),
            "ld1 {{v28.16b-v31.16b}}, [{weights}], #64\n",
            multiply_group!([$op 4 "2"], $($inputs)+),
            "ld1 {{v28.16b-v31.16b}}, [{weights}], #64\n",
            multiply_group!([$op 4 "3"], $($inputs)+),
        )
    };
    ([$op:tt 2], $($inputs:literal)+) => {
        concat!(
            "ld1 {{v28.16b-v31.16b}}, [{weights}], #64\n",
            multiply_group!([$op 2 "0"], $($inputs)+),
            multiply_group!([$op second_2 "1"], $($inputs)+),
            "ld1 {{v28.16b-v31.16b}}, [{weights}], #64\n",
            multiply_group!([$op 2 "2"], $($inputs)+),
            multiply_group!([$op second_2 "3"], $($inputs)+),
        )
    };
}

/// Weights and products of one group.
macro_rules! multiply_one {
    ([$op:tt 4 $at:literal], $($inputs:literal)+) => {
        concat!(
            "ld1 {{v28.16b-v31.16b}}, [{weights}], #64\n",
            multiply_group!([$op 4 $at], $($inputs)+),
        )
    };
    ([$op:tt 2 $at:literal], $($inputs:literal)+) => {
        concat!("ldp q28, q29, [{weights}], #32\n", multiply_group!([$op 2 $at], $($inputs)+))
    };
}

/// The groups after the last four of a span. Bytes may be loaded past the span's end, floats may not.
macro_rules! multiply_rest {
    (past_end, $op:tt, $vectors:tt, $pixels:tt) => {
        concat!(
            with_first_inputs!(load_inputs, [".16b}}" "stride"], $pixels),
            with_first_inputs!(multiply_one, [$op $vectors "0"], $pixels),
            "cmp {rest}, #2\n",
            "b.lo 7f\n",
            with_first_inputs!(multiply_one, [$op $vectors "1"], $pixels),
            "b.eq 7f\n",
            with_first_inputs!(multiply_one, [$op $vectors "2"], $pixels),
        )
    };
    (exact, $op:tt, $vectors:tt, $pixels:tt) => {
        concat!(
            "mov {n}, {rest}\n",
            "6:\n",
            with_first_inputs!(load_inputs, [".s}}[0]" "back_one"], $pixels),
            with_first_inputs!(multiply_one, [$op $vectors "0"], $pixels),
            "subs {n}, {n}, #1\n",
            "b.ne 6b\n",
        )
    };
}

/// What a tile walks over, the same for all its pixels.
pub(super) struct Walk {
    /// Bytes between what neighbouring pixels read.
    pub(super) stride: usize,
    /// Offsets of the spans in elements.
    pub(super) spans: *const usize,
    /// Above zero.
    pub(super) span_count: usize,
    /// Groups in each span, above zero.
    pub(super) groups: usize,
    pub(super) weights: *const u8,
    pub(super) bias: *const u8,
}

/// The sums of so many pixels by four or two vectors of channels, as an array of twenty vectors that begins with those
/// of the first pixel.
///
/// `$op` is the instruction, the suffix of all lanes and that of one; `$shift` makes bytes of an offset. It is unsafe:
/// pointers are as [`Walk`] and the tile say, and the processor has the instruction.
macro_rules! sums {
    ($op:tt, $shift:literal, $rest:tt, $vectors:tt, $pixels:tt, $walk:expr, $input:expr) => {{
        let walk: &$crate::engine::kernels::aarch64::by_element::Walk = $walk;
        let (s0, s1, s2, s3, s4, s5, s6, s7, s8, s9);
        let (s10, s11, s12, s13, s14, s15, s16, s17, s18, s19);
        std::arch::asm!(
            // Some tiles leave these unused, which has to be said.
            "// {stride} {back_one}",
            load_bias!($vectors),
            "2:",
            "ldr {x}, [{spans}], #8",
            concat!("add {x}, {input}, {x}, lsl #", $shift),
            "cbz {eights}, 4f",
            "mov {n}, {eights}",
            "3:",
            load_eight!($pixels),
            with_first_inputs!(multiply_four, [$op $vectors], $pixels),
            load_second_four!($pixels),
            with_second_inputs!(multiply_four, [$op $vectors], $pixels),
            "subs {n}, {n}, #1",
            "b.ne 3b",
            "4:",
            "tbz {fours}, #0, 5f",
            with_first_inputs!(load_inputs, [".16b}}" "back_four"], $pixels),
            with_first_inputs!(multiply_four, [$op $vectors], $pixels),
            "5:",
            "cbz {rest}, 7f",
            multiply_rest!($rest, $op, $vectors, $pixels),
            "7:",
            "subs {span_count}, {span_count}, #1",
            "b.ne 2b",
            x = out(reg) _,
            n = out(reg) _,
            input = in(reg) $input,
            stride = in(reg) walk.stride,
            back_one = in(reg) 4usize.wrapping_sub(walk.stride.wrapping_mul($pixels - 1)),
            back_four = in(reg) 16usize.wrapping_sub(walk.stride.wrapping_mul($pixels - 1)),
            back_eight = in(reg) back_eight!($pixels, walk.stride),
            spans = inout(reg) walk.spans => _,
            span_count = inout(reg) walk.span_count => _,
            eights = in(reg) walk.groups / 8,
            fours = in(reg) walk.groups / 4,
            rest = in(reg) walk.groups % 4,
            weights = inout(reg) walk.weights => _,
            bias = in(reg) walk.bias,
            out("v0") s0, out("v1") s1, out("v2") s2, out("v3") s3, out("v4") s4,
            out("v5") s5, out("v6") s6, out("v7") s7, out("v8") s8, out("v9") s9,
            out("v10") s10, out("v11") s11, out("v12") s12, out("v13") s13, out("v14") s14,
            out("v15") s15, out("v16") s16, out("v17") s17, out("v18") s18, out("v19") s19,
            out("v20") _, out("v21") _, out("v22") _, out("v23") _, out("v24") _, out("v25") _,
            out("v26") _, out("v27") _, out("v28") _, out("v29") _, out("v30") _, out("v31") _,
            options(nostack, readonly),
        );
        [s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11, s12, s13, s14, s15, s16, s17, s18, s19]
    }};
}

pub(super) use {
    back_eight, load_bias, load_eight, load_inputs, load_second_four, multiply, multiply_four, multiply_group,
    multiply_one, multiply_rest, sums, with_first_inputs, with_second_inputs,
};
