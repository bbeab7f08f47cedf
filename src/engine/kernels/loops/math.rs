//! Functions of one float, operation by operation, so that loops of all levels and tables agree bit for bit.

use crate::engine::program::Unary;

/// Adding and subtracting 1.5 × 2²³ rounds to whole numbers, halves to even, for what is below 2²². Unlike
/// `round_ties_even` it is compiled to vector instructions everywhere. The sum itself has the whole number, counted from
/// this constant, in its last bits.
pub(in crate::engine) const ROUND: f32 = 12_582_912.0;

/// What a function makes of a number; the loops give the same bits.
pub(in crate::engine) fn apply(function: Unary, x: f32) -> f32 {
    match function {
        Unary::Silu => silu(x),
        Unary::Sigmoid => logistic(x),
        Unary::Leaky { slope } => leaky(x, slope),
        Unary::Clip { low, high } => clamp(x, low, high),
        Unary::HardSigmoid { slope, offset } => hard_sigmoid(x, slope, offset),
        Unary::HardSwish => hard_swish(x),
        Unary::Tanh => tanh(x),
        Unary::Exp => exp(x),
        Unary::Scale { factor } => x * factor,
        Unary::Shift { term } => x + term,
        Unary::Round { scale, low, high } => round_to_grid(x, scale, low, high),
    }
}

/// `a × b + c`, rounded once; on 32-bit ARM, where that is a call, rounded twice.
#[inline(always)]
pub(in crate::engine::kernels) fn fused(a: f32, b: f32, c: f32) -> f32 {
    if cfg!(target_arch = "arm") { a * b + c } else { a.mul_add(b, c) }
}

/// `x` held to `low..=high`; NaN stays.
#[inline(always)]
pub(super) fn clamp(x: f32, low: f32, high: f32) -> f32 {
    let x = if x < low { low } else { x };
    if x > high { high } else { x }
}

#[inline(always)]
pub(super) fn silu(x: f32) -> f32 {
    x * logistic(x)
}

/// The logistic function as onnxruntime computes it (`MlasComputeLogistic`, the rational function of Eigen), each step
/// with its rounding: a quantizer behind it then decides ties as onnxruntime does.
#[inline(always)]
pub(in crate::engine) fn logistic(x: f32) -> f32 {
    const NUMERATOR: [f32; 5] = [4.370_310_3e-11, 1.156_274_3e-7, 6.085_748_6e-5, 8.513_771e-3, 0.248_287_95];
    const DENOMINATOR: [f32; 6] =
        [6.102_474e-13, 5.761_021_4e-9, 6.291_068e-6, 1.701_988_2e-3, 0.116_817_66, 0.993_151_9];
    let x = clamp(x, -18.0, 18.0);
    let squared = x * x;
    clamp(polynomial(NUMERATOR, squared) * x / polynomial(DENOMINATOR, squared) + 0.5, 0.0, 1.0)
}

/// The hyperbolic tangent as onnxruntime computes it (`MlasComputeTanh`, the rational function of Eigen).
#[inline(always)]
pub(super) fn tanh(x: f32) -> f32 {
    const NUMERATOR: [f32; 7] =
        [-2.760_768_5e-16, 2.000_188e-13, -8.604_672e-11, 5.122_297e-8, 1.485_722_4e-5, 6.372_619_3e-4, 4.893_524_6e-3];
    const DENOMINATOR: [f32; 4] = [1.198_258_4e-6, 1.185_347_1e-4, 2.268_434_6e-3, 4.893_525e-3];
    let x = clamp(x, -9.0, 9.0);
    let squared = x * x;
    polynomial(NUMERATOR, squared) * x / polynomial(DENOMINATOR, squared)
}

/// `eˣ`: `2ⁿ` times a polynomial of what remains, after Cephes' `expf`. Zero and infinity where `f32` ends.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    /// ln 2 in two parts; the product of the first one and a whole number of nine bits is exact.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    const COEFFICIENTS: [f32; 6] = [1.987_569_1e-4, 1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5];
    // Beyond these the result is zero or infinite.
    let x = clamp(x, -104.0, 89.0);
    let shifted = fused(x, std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let rest = fused(n, -LN_2[1], fused(n, -LN_2[0], x));
    let result = fused(polynomial(COEFFICIENTS, rest), rest * rest, rest) + 1.0;
    // 2ⁿ itself may not be a float, so it is multiplied in two parts.
    let n = (shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
    let half = n >> 1;
    result * power_of_two(half) * power_of_two(n.wrapping_sub(half))
}

#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) << 23) as u32)
}

#[inline(always)]
fn polynomial<const N: usize>(coefficients: [f32; N], x: f32) -> f32 {
    let mut sum = coefficients[0];
    for coefficient in &coefficients[1..] {
        sum = fused(sum, x, *coefficient);
    }
    sum
}

#[inline(always)]
pub(super) fn leaky(x: f32, slope: f32) -> f32 {
    if x < 0.0 { slope * x } else { x }
}

#[inline(always)]
pub(super) fn hard_sigmoid(x: f32, slope: f32, offset: f32) -> f32 {
    clamp(slope * x + offset, 0.0, 1.0)
}

#[inline(always)]
pub(super) fn hard_swish(x: f32) -> f32 {
    x * clamp(x / 6.0 + 0.5, 0.0, 1.0)
}

#[inline(always)]
pub(super) fn round_to_grid(x: f32, scale: f32, low: f32, high: f32) -> f32 {
    ((clamp(x / scale, low, high) + ROUND) - ROUND) * scale
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The distance to what is exact, in units of the last place of an `f32`.
    fn ulps(found: f32, exact: f64) -> f64 {
        let near = (exact as f32).abs().max(f32::MIN_POSITIVE);
        (f64::from(found) - exact).abs() / f64::from(f32::from_bits(near.to_bits() + 1) - near)
    }

    fn worst(range: f32, function: impl Fn(f32) -> f32, exact: impl Fn(f64) -> f64) -> f64 {
        let numbers = (-200_000..=200_000).map(|step| step as f32 * (range / 200_000.0));
        numbers.map(|x| ulps(function(x), exact(f64::from(x)))).fold(0.0, f64::max)
    }

    #[test]
    fn the_logistic_function_is_near_its_definition() {
        for step in -400..=400 {
            let x = step as f32 * 0.05;
            let exact = 1.0 / (1.0 + (-f64::from(x)).exp());
            assert!((f64::from(logistic(x)) - exact).abs() < 3e-7, "{x}: {} instead of {exact}", logistic(x));
        }
        assert_eq!([logistic(0.0), logistic(f32::MAX), logistic(f32::MIN)], [0.5, 1.0, 0.0]);
    }

    #[test]
    fn the_exponential_is_near_its_definition() {
        let found = worst(87.0, exp, f64::exp);
        assert!(found < 1.5, "{found}");
        assert_eq!([exp(0.0), exp(f32::NEG_INFINITY), exp(-104.5), exp(89.0)], [1.0, 0.0, 0.0, f32::INFINITY]);
        assert_eq!(exp(f32::INFINITY), f32::INFINITY);
        assert!(exp(88.7) < f32::INFINITY && exp(-103.0) > 0.0 && exp(f32::NAN).is_nan());
    }

    #[test]
    fn the_hyperbolic_tangent_is_near_its_definition() {
        let found = worst(12.0, tanh, f64::tanh);
        assert!(found < 8.0, "{found}");
        assert_eq!([tanh(0.0), tanh(f32::INFINITY), tanh(f32::NEG_INFINITY)].map(f32::round), [0.0, 1.0, -1.0]);
    }

    #[test]
    fn small_functions_do_as_their_names_say() {
        assert_eq!([-2.0, 3.0].map(|x| apply(Unary::Leaky { slope: 0.1 }, x)), [-0.2, 3.0]);
        assert_eq!([-2.0, 3.0, 7.0].map(|x| apply(Unary::Clip { low: 0.0, high: 6.0 }, x)), [0.0, 3.0, 6.0]);
        assert_eq!([-4.0, 0.0, 4.0].map(|x| apply(Unary::HardSwish, x)), [-0.0, 0.0, 4.0]);
        let hard = Unary::HardSigmoid { slope: 0.25, offset: 0.5 };
        assert_eq!([-4.0, 1.0, 4.0].map(|x| apply(hard, x)), [0.0, 0.75, 1.0]);
        let round = Unary::Round { scale: 0.5, low: -4.0, high: 3.0 };
        assert_eq!([-9.0, 0.25, 0.75, 1.3].map(|x| apply(round, x)), [-2.0, 0.0, 1.0, 1.5]);
        assert_eq!((apply(Unary::Scale { factor: 2.0 }, 3.0), apply(Unary::Shift { term: 2.0 }, 3.0)), (6.0, 5.0));
    }
}
