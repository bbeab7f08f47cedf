//! A table of 256 bytes in sixteen registers.

use std::arch::aarch64::{
    uint8x8_t, uint8x16_t, uint8x16x4_t, vdup_n_u8, vdupq_n_u8, vld1_u8, vld1q_u8, vld1q_u8_x4, vqtbl4_u8, vqtbl4q_u8,
    vqtbx4_u8, vqtbx4q_u8, vst1_u8, vst1q_u8, vsub_u8, vsubq_u8,
};

/// # Safety
/// `len` bytes may be read from `input` and written to `output`, which are the same or disjoint.
pub(super) unsafe fn look_up(input: *const u8, output: *mut u8, len: usize, table: &[u8; 256]) {
    // SAFETY: what is read or written at an offset ends within `len`.
    unsafe {
        if len < 8 {
            for index in 0..len {
                *output.add(index) = table[usize::from(*input.add(index))];
            }
            return;
        }
        let table = load(table);
        // The last vector overlaps the one before: it is read before anything is written, as both may be in one place.
        if len < 16 {
            let last = len.wrapping_sub(8);
            let [first_bytes, last_bytes] = [input, input.add(last)].map(|at| eight(vld1_u8(at), &table));
            vst1_u8(output, first_bytes);
            vst1_u8(output.add(last), last_bytes);
            return;
        }
        let last = len.wrapping_sub(16);
        let last_bytes = sixteen(vld1q_u8(input.add(last)), &table);
        vectors(input, output, last.div_ceil(16), &table);
        vst1q_u8(output.add(last), last_bytes);
    }
}

/// The table stays in registers from row to row.
///
/// # Safety
/// So many rows, of so many bytes each, may be read and written; input and output lie apart.
pub(super) unsafe fn look_up_rows(
    mut input: *const u8,
    input_stride: usize,
    mut output: *mut u8,
    output_stride: usize,
    [rows, len]: [usize; 2],
    table: &[u8; 256],
) {
    // SAFETY: as the caller says; past the last row the pointers are not followed.
    unsafe {
        if len < 16 || (input_stride == len && output_stride == len) {
            let [rows, len] = if len < 16 { [rows, len] } else { [1, rows.wrapping_mul(len)] };
            for _ in 0..rows {
                look_up(input, output, len, table);
                input = input.wrapping_add(input_stride);
                output = output.wrapping_add(output_stride);
            }
            return;
        }
        let table = load(table);
        let rest = if len.is_multiple_of(16) { None } else { Some(len.wrapping_sub(16)) };
        for _ in 0..rows {
            vectors(input, output, len / 16, &table);
            if let Some(last) = rest {
                vst1q_u8(output.add(last), sixteen(vld1q_u8(input.add(last)), &table));
            }
            input = input.wrapping_add(input_stride);
            output = output.wrapping_add(output_stride);
        }
    }
}

/// Looks up so many vectors of sixteen bytes.
///
/// # Safety
/// They may be read and written; input and output are the same or disjoint.
#[inline(always)]
unsafe fn vectors(mut input: *const u8, mut output: *mut u8, count: usize, table: &[uint8x16x4_t; 4]) {
    // SAFETY: as the caller says.
    unsafe {
        for _ in 0..count / 4 {
            let bytes: [uint8x16_t; 4] = std::array::from_fn(|i| sixteen(vld1q_u8(input.add(16 * i)), table));
            for (i, bytes) in bytes.into_iter().enumerate() {
                vst1q_u8(output.add(16 * i), bytes);
            }
            input = input.add(64);
            output = output.add(64);
        }
        for _ in 0..count % 4 {
            vst1q_u8(output, sixteen(vld1q_u8(input), table));
            input = input.add(16);
            output = output.add(16);
        }
    }
}

/// The table has four quarters of 64 bytes.
#[inline(always)]
fn load(table: &[u8; 256]) -> [uint8x16x4_t; 4] {
    // SAFETY: the offsets are below the table's length by 64 at least.
    std::array::from_fn(|quarter| unsafe { vld1q_u8_x4(table.as_ptr().add(64 * quarter)) })
}

/// Looks up sixteen bytes; an index outside a quarter gives zero at first and leaves what is there afterwards.
#[inline(always)]
fn sixteen(bytes: uint8x16_t, table: &[uint8x16x4_t; 4]) -> uint8x16_t {
    // SAFETY: every AArch64 processor has these instructions.
    unsafe {
        let quarter = vdupq_n_u8(64);
        let mut found = vqtbl4q_u8(table[0], bytes);
        let mut index = bytes;
        for table in &table[1..] {
            index = vsubq_u8(index, quarter);
            found = vqtbx4q_u8(found, *table, index);
        }
        found
    }
}

/// Looks up eight bytes, as [`sixteen`].
#[inline(always)]
fn eight(bytes: uint8x8_t, table: &[uint8x16x4_t; 4]) -> uint8x8_t {
    // SAFETY: every AArch64 processor has these instructions.
    unsafe {
        let quarter = vdup_n_u8(64);
        let mut found = vqtbl4_u8(table[0], bytes);
        let mut index = bytes;
        for table in &table[1..] {
            index = vsub_u8(index, quarter);
            found = vqtbx4_u8(found, *table, index);
        }
        found
    }
}
