//! Every level against numbers that are computed one by one.

use super::*;
use crate::engine::{
    kernels::{self, Level},
    program::{Binary, Quantizer, Unary},
};

/// The levels of this machine, without repetition.
fn levels() -> Vec<Level> {
    let mut levels: Vec<Level> = kernels::available().iter().map(|kernels| kernels.level).collect();
    levels.dedup();
    levels
}

/// Floats of all sizes, a few of them special.
fn numbers(len: usize) -> Vec<f32> {
    let special = [0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 1e-40, -88.0, 89.0, f32::MAX];
    let number = |index: usize| match special.get(index % 97) {
        Some(number) => *number,
        None => ((index * 7919 % 20_011) as f32 - 10_000.0) * [1e-3, 1e-2, 1e-5][index % 3],
    };
    (0..len).map(number).collect()
}

/// Bits of floats, those of what is no number being all alike.
fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|x| if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() }).collect()
}

const LENGTHS: [usize; 8] = [0, 1, 7, 16, 31, 100, 1024, 3001];

#[test]
fn functions_are_the_same_bits_in_loops_and_one_by_one() {
    let functions = [
        Unary::Silu,
        Unary::Sigmoid,
        Unary::Leaky { slope: 0.1 },
        Unary::Clip { low: 0.0, high: 6.0 },
        Unary::HardSigmoid { slope: 0.2, offset: 0.5 },
        Unary::HardSwish,
        Unary::Tanh,
        Unary::Exp,
        Unary::Scale { factor: 0.3 },
        Unary::Shift { term: -0.7 },
        Unary::Round { scale: 0.05, low: -128.0, high: 127.0 },
    ];
    for len in LENGTHS {
        let input = numbers(len);
        for chain in functions.iter().map(std::slice::from_ref).chain([&functions[..], &[]]) {
            let expected: Vec<f32> =
                input.iter().map(|x| chain.iter().fold(*x, |x, function| apply(*function, x))).collect();
            for level in levels() {
                let mut found = input.clone();
                finish_floats(level, &mut found, chain);
                assert_eq!(bits(&found), bits(&expected), "{level:?} {chain:?}");
            }
        }
    }
}

#[test]
fn quantizing_is_exact() {
    for (offset, low, high) in [(0, -128.0, 127.0), (128, -128.0, 127.0), (-100, -28.0, 227.0), (0, 0.0, 255.0)] {
        for scale in [0.05, 1.0 / 255.0, 3.0] {
            let quantizer = Quantizer { scale, low, high, offset };
            let mut input = numbers(3001);
            input.extend((-600..600).map(|half| half as f32 * 0.5 * scale));
            let code = |x: &f32| ((x / scale).max(low).min(high).round_ties_even() as i32 + offset) as u8;
            let expected: Vec<u8> = input.iter().map(code).collect();
            for level in levels() {
                for len in LENGTHS.into_iter().chain([input.len()]) {
                    let mut found = vec![1; len];
                    quantize(level, &input[..len], &quantizer, &mut found);
                    assert_eq!(found, expected[..len], "{level:?} {quantizer:?}");
                }
            }
        }
    }
}

#[test]
fn tables_are_read_as_they_are() {
    for signed in [false, true] {
        let flip = if signed { 0x80 } else { 0 };
        for zero in [0, 1, 77, 128, 254, 255] {
            let line = |byte: usize| ((byte ^ flip) as i32 - zero) as f32 * 0.017;
            for change in [None, Some(0), Some(zero as usize), Some(200)] {
                let mut table: [f32; 256] = std::array::from_fn(line);
                if let Some(byte) = change {
                    table[byte] = f32::from_bits(table[byte].to_bits() ^ 1);
                }
                let reading = Reading::of(Level::Baseline, &table, signed);
                assert_eq!(matches!(reading, Reading::Line { .. }), change.is_none(), "{zero} {change:?}");
                let input: Vec<u8> = (0..3001).map(|index| (index * 31 % 256) as u8).collect();
                let expected: Vec<f32> = input.iter().map(|byte| table[usize::from(*byte)]).collect();
                for level in levels() {
                    let mut found = vec![0.0; input.len()];
                    read_rows(level, Rows::of(&input, [1, 3001], [0, 1]), reading, &mut found);
                    assert_eq!(bits(&found), bits(&expected));
                    values(level, &input, &table, &mut found);
                    assert_eq!(bits(&found), bits(&expected));
                    for len in [1, 16, 17, 32, 48, 80] {
                        let count = input.len() / (len + 5);
                        let expected: Vec<f32> =
                            expected.chunks(len + 5).take(count).flat_map(|row| row[..len].to_vec()).collect();
                        let mut found = vec![0.0; count * len];
                        read_rows(level, Rows::of(&input, [count, len], [len + 5, 1]), reading, &mut found);
                        assert_eq!(bits(&found), bits(&expected));
                    }
                }
            }
        }
    }
}

#[test]
fn sums_and_maxima_are_the_same_at_all_levels() {
    for len in LENGTHS {
        let input: Vec<f32> = numbers(len).into_iter().map(|x| if x.is_finite() { x.min(80.0) } else { 0.5 }).collect();
        let max = input.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let exact: f64 = input.iter().map(|x| (f64::from(*x) - f64::from(max)).exp()).sum();
        let mut sums = Vec::new();
        for level in levels() {
            assert_eq!(max_of(level, &input), max);
            let mut output = vec![0.0; len];
            let sum = exponentials(level, &input, max, &mut output);
            assert!((f64::from(sum) - exact).abs() <= 1e-6 * exact, "{sum} instead of {exact}");
            let mut quotients = vec![0.0; len];
            divide(level, &output, sum, &mut quotients);
            sums.push((sum.to_bits(), bits(&output), bits(&quotients)));
        }
        assert!(sums.windows(2).all(|pair| pair[0] == pair[1]));
    }
}

#[test]
fn operands_are_combined_as_one_by_one_at_all_levels() {
    let ops = [
        Binary::Add,
        Binary::Sub,
        Binary::SubFrom,
        Binary::Mul,
        Binary::Div,
        Binary::DivInto,
        Binary::Max,
        Binary::Min,
    ];
    for op in ops {
        let (mut input, mut operand) = (numbers(1000), numbers(1000));
        operand.rotate_left(333);
        // Zeros and what is no number meet as well.
        for (a, b) in numbers(9).into_iter().flat_map(|a| numbers(9).into_iter().map(move |b| (a, b))) {
            input.push(a);
            operand.push(b);
        }
        let expected: Vec<f32> = input.iter().zip(&operand).map(|(a, b)| combined(op, *a, *b)).collect();
        for level in levels() {
            let mut found = input.clone();
            combine(level, op, &mut found, &operand);
            assert_eq!(bits(&found), bits(&expected), "{level:?} {op:?}");
        }
    }
}

#[test]
fn of_numbers_that_are_alike_or_not_comparable_the_accumulated_one_is_kept() {
    let pairs = [(0.0_f32, -0.0_f32), (-0.0, 0.0), (f32::NAN, 1.0), (1.0, f32::NAN), (f32::NAN, f32::NAN)];
    let (input, operand): (Vec<f32>, Vec<f32>) = std::iter::repeat_n(pairs, 9).flatten().unzip();
    for op in [Binary::Max, Binary::Min] {
        assert!(pairs.iter().all(|(a, b)| combined(op, *a, *b).to_bits() == a.to_bits()), "{op:?}");
        for level in levels() {
            let mut found = input.clone();
            combine(level, op, &mut found, &operand);
            assert_eq!(bits(&found), bits(&input), "{level:?} {op:?}");
        }
    }
}
