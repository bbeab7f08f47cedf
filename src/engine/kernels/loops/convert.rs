//! Loops from bytes to floats and from floats to bytes.

use super::{Rows, RowsMut, math::ROUND, tables::Planes};
use crate::engine::{kernels::Level, program::Quantizer};

/// How bytes are read as floats.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) enum Reading<'a> {
    /// `(code − zero) × scale`, where the code is the byte with the bits of `flip` turned.
    Line { flip: u8, zero: i32, scale: f32 },
    /// Each byte has its own.
    Table(&'a [f32; 256]),
}

impl<'a> Reading<'a> {
    /// The fastest way to read what a table says, bit by bit; most tables are those of a scale and a zero point.
    pub(in crate::engine) fn of(level: Level, table: &'a [f32; 256], signed: bool) -> Self {
        let flip = if signed { 0x80 } else { 0 };
        let zero = table.iter().filter(|value| **value < 0.0).count();
        // Where the zero point is the last code, the one before it tells the scale.
        let Some(neighbour) = zero.checked_add(1).filter(|code| *code < 256).or(zero.checked_sub(1)) else {
            return Self::Table(table);
        };
        let scale = table[neighbour ^ usize::from(flip)].abs();
        let zero = zero as i32;
        match is_line(level, table, flip, zero, scale) {
            true => Self::Line { flip, zero, scale },
            false => Self::Table(table),
        }
    }
}

#[inline(always)]
fn on_line(byte: u8, flip: u8, zero: i32, scale: f32) -> f32 {
    i32::from(byte ^ flip).wrapping_sub(zero) as f32 * scale
}

per_level! {
    fn is_line(table: &[f32; 256], flip: u8, zero: i32, scale: f32) -> bool {
        let mut different = 0;
        let mut byte = 0_u8;
        for value in table {
            different |= value.to_bits() ^ on_line(byte, flip, zero, scale).to_bits();
            byte = byte.wrapping_add(1);
        }
        different == 0
    }
}

per_level! {
    fn read_line(input: &[u8], flip: u8, zero: i32, scale: f32, output: &mut [f32]) {
        for (output, byte) in output.iter_mut().zip(input) {
            *output = on_line(*byte, flip, zero, scale);
        }
    }
}

fn read_table(planes: Option<&Planes>, input: &[u8], table: &[f32; 256], output: &mut [f32]) {
    let done = planes.map_or(0, |planes| planes.read(input, output));
    // One load for eight bytes leaves the ports to the loads of their values.
    let (inputs, input_rest) = input[done..].as_chunks::<8>();
    let (outputs, output_rest) = output[done..].as_chunks_mut::<8>();
    for (output, input) in outputs.iter_mut().zip(inputs) {
        let bytes = u64::from_le_bytes(*input);
        for (index, output) in output.iter_mut().enumerate() {
            *output = table[(bytes >> (8 * index)) as usize & 0xff];
        }
    }
    for (output, byte) in output_rest.iter_mut().zip(input_rest) {
        *output = table[usize::from(*byte)];
    }
}

/// `table[byte]` for each byte; both slices have one length.
pub(in crate::engine) fn values(level: Level, input: &[u8], table: &[f32; 256], output: &mut [f32]) {
    read_table(Planes::new(level, table, input.len()).as_ref(), input, table, output);
}

/// The bytes of all rows as floats, row after row.
pub(in crate::engine) fn read_rows(level: Level, input: Rows<'_, u8>, reading: Reading<'_>, output: &mut [f32]) {
    let rows = output.chunks_exact_mut(input.len).take(input.count).enumerate();
    match reading {
        _ if input.step() != 1 => {
            for (row, output) in rows {
                for (column, output) in output.iter_mut().enumerate() {
                    let byte = input.at(row, column);
                    *output = match reading {
                        Reading::Line { flip, zero, scale } => on_line(byte, flip, zero, scale),
                        Reading::Table(table) => table[usize::from(byte)],
                    };
                }
            }
        }
        Reading::Line { flip, zero, scale } => {
            rows.for_each(|(row, output)| read_line(level, input.row(row), flip, zero, scale, output));
        }
        Reading::Table(table) => {
            let planes = Planes::new(level, table, input.count * input.len);
            match &planes {
                Some(planes) if input.len < 64 && input.len.is_multiple_of(16) => {
                    read_short_rows(planes, input, table, output);
                }
                planes => rows.for_each(|(row, output)| read_table(planes.as_ref(), input.row(row), table, output)),
            }
        }
    }
}

/// Brings rows of a few times sixteen bytes side by side before they are read.
fn read_short_rows(planes: &Planes, input: Rows<'_, u8>, table: &[f32; 256], output: &mut [f32]) {
    const ROWS: usize = 16;
    let mut bytes = [0; ROWS * 64];
    let count = input.count.min(output.len() / input.len);
    for (index, output) in output[..count * input.len].chunks_mut(ROWS * input.len).enumerate() {
        let bytes = &mut bytes[..output.len()];
        for (row, bytes) in bytes.chunks_exact_mut(input.len).enumerate() {
            let row = input.row(index * ROWS + row).as_chunks::<16>().0;
            for (bytes, row) in bytes.as_chunks_mut::<16>().0.iter_mut().zip(row) {
                *bytes = *row;
            }
        }
        read_table(Some(planes), bytes, table, output);
    }
}

/// The code of a number, in the lowest eight bits; not a number is as the lowest.
#[inline(always)]
fn code(x: f32, quantizer: &Quantizer) -> u32 {
    let steps = x / quantizer.scale;
    let steps = if steps > quantizer.low { steps } else { quantizer.low };
    let steps = if steps < quantizer.high { steps } else { quantizer.high };
    // The last bits of what ROUND was added to count whole numbers; those of ROUND itself are zero.
    (steps + ROUND).to_bits().wrapping_add(quantizer.offset as u32)
}

#[inline(always)]
fn write(input: &[f32], quantizer: &Quantizer, output: &mut [u8]) {
    for (output, x) in output.iter_mut().zip(input) {
        *output = code(*x, quantizer) as u8;
    }
}

per_level! {
    /// The codes of numbers; both slices have one length. Not a number becomes the lowest code.
    pub(in crate::engine) fn quantize(input: &[f32], quantizer: &Quantizer, output: &mut [u8]) {
        write(input, quantizer, output);
    }
}

per_level! {
    /// The codes of numbers that are given row after row.
    pub(in crate::engine) fn quantize_rows(input: &[f32], quantizer: &Quantizer, output: RowsMut<'_, u8>) {
        let mut output = output;
        for (row, input) in input.chunks_exact(output.len).take(output.count).enumerate() {
            if output.step() == 1 {
                write(input, quantizer, output.row(row));
            } else {
                for (column, x) in input.iter().enumerate() {
                    output.put(row, column, code(*x, quantizer) as u8);
                }
            }
        }
    }
}

per_level! {
    /// Three planes of floats as pixels of four codes, the last one `fill`; as many pixels as the shortest slice has.
    pub(in crate::engine) fn interleave_bytes(
        planes: [&[f32]; 3], quantizer: &Quantizer, fill: u8, output: &mut [[u8; 4]],
    ) {
        let [first, second, third] = planes;
        // There, one instruction stores sixteen pixels of four vectors.
        if cfg!(target_arch = "aarch64") {
            for (((output, first), second), third) in output.iter_mut().zip(first).zip(second).zip(third) {
                let [first, second, third] = [first, second, third].map(|x| code(*x, quantizer) as u8);
                *output = [first, second, third, fill];
            }
            return;
        }
        let fill = u32::from(fill) << 24;
        for (((output, first), second), third) in output.iter_mut().zip(first).zip(second).zip(third) {
            let [first, second, third] = [first, second, third].map(|x| code(*x, quantizer) & 0xff);
            *output = (first | second << 8 | third << 16 | fill).to_le_bytes();
        }
    }
}

per_level! {
    /// Three planes of floats as pixels of three floats; as many pixels as the shortest slice has.
    pub(in crate::engine) fn interleave_floats(planes: [&[f32]; 3], output: &mut [[f32; 3]]) {
        let [first, second, third] = planes;
        for (((output, first), second), third) in output.iter_mut().zip(first).zip(second).zip(third) {
            *output = [*first, *second, *third];
        }
    }
}
