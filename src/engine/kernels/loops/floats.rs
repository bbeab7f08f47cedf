//! Loops over floats.

use super::{
    Rows, RowsMut,
    math::{clamp, exp, hard_sigmoid, hard_swish, leaky, logistic, round_to_grid, silu, tanh},
};
use crate::engine::program::{Binary, Unary};

/// Numbers that stay in the nearest cache from one pass to the next.
const CHUNK: usize = 1024;

/// Partial sums and maxima of a row; their number and order are part of the result.
const LANES: usize = 16;

per_level! {
    /// Applies functions to each number, from the first function to the last.
    pub(in crate::engine) fn finish_floats(numbers: &mut [f32], functions: &[Unary]) {
        for part in numbers.chunks_mut(CHUNK) {
            for function in functions {
                finish_chunk(part, *function);
            }
        }
    }
}

/// One loop for each function, so that none decides anything within.
#[inline(always)]
fn finish_chunk(numbers: &mut [f32], function: Unary) {
    macro_rules! each {
        (|$x:ident| $result:expr) => {
            for number in numbers {
                let $x = *number;
                *number = $result;
            }
        };
    }
    match function {
        Unary::Silu => each!(|x| silu(x)),
        Unary::Sigmoid => each!(|x| logistic(x)),
        Unary::Leaky { slope } => each!(|x| leaky(x, slope)),
        Unary::Clip { low, high } => each!(|x| clamp(x, low, high)),
        Unary::HardSigmoid { slope, offset } => each!(|x| hard_sigmoid(x, slope, offset)),
        Unary::HardSwish => each!(|x| hard_swish(x)),
        Unary::Tanh => each!(|x| tanh(x)),
        Unary::Exp => each!(|x| exp(x)),
        Unary::Scale { factor } => each!(|x| x * factor),
        Unary::Shift { term } => each!(|x| x + term),
        Unary::Round { scale, low, high } => each!(|x| round_to_grid(x, scale, low, high)),
    }
}

per_level! {
    /// `numbers[i] = combined(op, numbers[i], operand[i])`
    pub(in crate::engine) fn combine(op: Binary, numbers: &mut [f32], operand: &[f32]) {
        // One loop for each operation, so that none decides anything within.
        macro_rules! each {
            ($($name:ident),*) => {
                match op {
                    $(Binary::$name => {
                        for (number, operand) in numbers.iter_mut().zip(operand) {
                            *number = combined(Binary::$name, *number, *operand);
                        }
                    })*
                }
            };
        }
        each!(Add, Sub, SubFrom, Mul, Div, DivInto, Max, Min);
    }
}

/// What an operation makes of the accumulated number `a` and the operand `b`. Of two numbers that are alike or not
/// comparable, the maximum and the minimum are the accumulated one.
#[inline(always)]
pub(in crate::engine) fn combined(op: Binary, a: f32, b: f32) -> f32 {
    match op {
        Binary::Add => a + b,
        Binary::Sub => a - b,
        Binary::SubFrom => b - a,
        Binary::Mul => a * b,
        Binary::Div => a / b,
        Binary::DivInto => b / a,
        Binary::Max => {
            if b > a {
                b
            } else {
                a
            }
        }
        Binary::Min => {
            if b < a {
                b
            } else {
                a
            }
        }
    }
}

per_level! {
    /// The numbers of all rows, row after row.
    pub(in crate::engine) fn load_rows(input: Rows<'_, f32>, output: &mut [f32]) {
        for (row, output) in output.chunks_exact_mut(input.len).take(input.count).enumerate() {
            match input.step() {
                0 => output.fill(input.at(row, 0)),
                1 => output.copy_from_slice(input.row(row)),
                _ => {
                    for (column, output) in output.iter_mut().enumerate() {
                        *output = input.at(row, column);
                    }
                }
            }
        }
    }
}

per_level! {
    /// Puts numbers that are given row after row into their rows.
    pub(in crate::engine) fn store_rows(input: &[f32], output: RowsMut<'_, f32>) {
        let mut output = output;
        for (row, input) in input.chunks_exact(output.len).take(output.count).enumerate() {
            if output.step() == 1 {
                output.row(row).copy_from_slice(input);
            } else {
                for (column, x) in input.iter().enumerate() {
                    output.put(row, column, *x);
                }
            }
        }
    }
}

per_level! {
    /// `output[i] = e^(input[i] − max)`, and the sum of these: sixteen partial sums in turns, which are then halved.
    pub(in crate::engine) fn exponentials(input: &[f32], max: f32, output: &mut [f32]) -> f32 {
        for (output, x) in output.iter_mut().zip(input) {
            *output = exp(*x - max);
        }
        let mut sums = [0.0; LANES];
        let (parts, rest) = output.as_chunks::<LANES>();
        for part in parts {
            for (sum, x) in sums.iter_mut().zip(part) {
                *sum += x;
            }
        }
        for (sum, x) in sums.iter_mut().zip(rest) {
            *sum += x;
        }
        let mut width = LANES;
        while width > 1 {
            width /= 2;
            for lane in 0..width {
                sums[lane] += sums[lane + width];
            }
        }
        sums[0]
    }
}

per_level! {
    /// `output[i] = input[i] ÷ divisor`
    pub(in crate::engine) fn divide(input: &[f32], divisor: f32, output: &mut [f32]) {
        for (output, x) in output.iter_mut().zip(input) {
            *output = x / divisor;
        }
    }
}
