//! Ranges that a tensor could be rounded in, from what was counted of its numbers.
//!
//! Which of them is the best is not believed but measured, by the error at the end of the network (`search`); what is
//! computed here is where to begin, and what to try.

use super::histogram::Histogram;

/// How a range was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Method {
    /// From the lowest to the highest number.
    MinMax,
    /// Without a part of the numbers at either end.
    Percentile,
    /// Where the mean square of what rounding and clipping change is smallest.
    LeastSquares,
    /// As wide as measured to be best, between or beyond the others.
    Measured,
    /// Known from the operator that makes the tensor.
    Fixed,
}

/// A range, lowest and highest, and how it was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Candidate {
    pub(super) method: Method,
    pub(super) range: [f32; 2],
}

/// What a tensor is rounded to: whole numbers from -128 to 127, less the zero point, times the scale.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Steps {
    pub(super) scale: f64,
    pub(super) zero_point: f64,
}

impl Steps {
    /// The steps that a range is written with.
    pub(super) fn of([low, high]: [f32; 2]) -> Self {
        let (low, high) = (f64::from(low.min(0.0)), f64::from(high.max(0.0)));
        let scale = ((high - low) / 255.0).max(1e-12);
        Self { scale, zero_point: (-128.0 - low / scale).round_ties_even().clamp(-128.0, 127.0) }
    }

    /// The number that stands for one.
    pub(super) fn round(&self, number: f64) -> f64 {
        let whole = (number / self.scale).round_ties_even() + self.zero_point;
        (whole.clamp(-128.0, 127.0) - self.zero_point) * self.scale
    }

    /// The mean square of what rounding changes, over tensors that share the steps.
    pub(super) fn error(&self, tensors: &[&Histogram]) -> f64 {
        let square = |number: f64| {
            let off = self.round(number) - number;
            off * off
        };
        tensors.iter().map(|tensor| tensor.mean(square)).sum::<f64>() / tensors.len().max(1) as f64
    }
}

/// The ranges to compare for tensors that share one: the one with the least squared error first.
pub(super) fn candidates(tensors: &[&Histogram]) -> Vec<Candidate> {
    let mut found = vec![Candidate { method: Method::LeastSquares, range: least_squares(tensors) }];
    found.extend([1e-5, 1e-4, 1e-3].map(|part| {
        let range = hull(tensors.iter().map(|tensor| tensor.without_tails(part)));
        Candidate { method: Method::Percentile, range }
    }));
    found.push(Candidate { method: Method::MinMax, range: hull(tensors.iter().map(|tensor| tensor.bounds())) });
    found
}

/// The smallest range around ranges and zero.
pub(super) fn hull(ranges: impl Iterator<Item = [f32; 2]>) -> [f32; 2] {
    ranges.fold([0.0, 0.0], |[low, high], range| [low.min(range[0]), high.max(range[1])])
}

/// A range drawn in or out to a part of its size. An end that is much nearer to zero than the other stays, for it
/// gains nothing: behind SiLU nothing lies below -0.28.
pub(super) fn scaled([low, high]: [f32; 2], part: f32) -> [f32; 2] {
    let reach = low.abs().max(high.abs()) * part;
    [low.max(-reach), high.min(reach)]
}

/// The range with the least mean square of error.
fn least_squares(tensors: &[&Histogram]) -> [f32; 2] {
    const PARTS: u16 = 50;
    let whole = hull(tensors.iter().map(|tensor| tensor.bounds()));
    let mut best = (f64::INFINITY, whole);
    for part in (1..=PARTS).rev() {
        let range = scaled(whole, f32::from(part) / f32::from(PARTS));
        let error = Steps::of(range).error(tensors);
        if error < best.0 {
            best = (error, range);
        }
    }
    best.1
}

/// The range of what goes into a SiLU in which rounding changes least of what comes out.
///
/// The lower end matters little, for SiLU makes nearly nothing of what is far below zero; but what is clipped there must
/// not become more than that.
pub(super) fn before_silu(numbers: &Histogram) -> [f32; 2] {
    const LOWS: [f32; 10] = [12.0, 9.0, 7.5, 6.5, 6.0, 5.5, 5.0, 4.5, 4.0, 3.0];
    let [low, high] = hull([numbers.bounds()].into_iter());
    let bins: Vec<(f64, f64, f64)> =
        numbers.bins().map(|(number, count)| (number, silu(number), count as f64)).collect();
    let mut best = (f64::INFINITY, [low, high]);
    for cut in LOWS {
        for part in (6_u8..=20).rev() {
            let range = [low.max(-cut), high * f32::from(part) / 20.0];
            let steps = Steps::of(range);
            let table: Vec<f64> =
                (-128_i16..128).map(|whole| silu((f64::from(whole) - steps.zero_point) * steps.scale)).collect();
            let mut error = 0.0;
            for (number, exact, count) in &bins {
                let whole = ((number / steps.scale).round_ties_even() + steps.zero_point).clamp(-128.0, 127.0);
                let off = table[(whole + 128.0) as usize] - exact;
                error += count * off * off;
            }
            if error < best.0 {
                best = (error, range);
            }
        }
    }
    best.1
}

/// `x × sigmoid(x)`, of the four operations alone, so that it is the same on every machine.
fn silu(x: f64) -> f64 {
    // (1 − |x| ÷ n)ⁿ is e⁻|x| but for a part of x² ÷ 2n.
    const SQUARINGS: i32 = 24;
    let mut power = (1.0 - x.abs().min(60.0) / f64::from(1 << SQUARINGS)).max(0.0);
    for _ in 0..SQUARINGS {
        power *= power;
    }
    if x >= 0.0 { x / (1.0 + power) } else { x * power / (1.0 + power) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(numbers: &[f32]) -> Histogram {
        let mut histogram = Histogram::default();
        assert!(histogram.add(numbers));
        histogram
    }

    #[test]
    fn steps_are_those_of_the_file() {
        let steps = Steps::of([0.0, 255.0]);
        assert_eq!((steps.scale, steps.zero_point), (1.0, -128.0));
        assert_eq!([-3.0, 0.4, 0.5, 1.5, 254.6, 300.0].map(|n| steps.round(n)), [0.0, 0.0, 0.0, 2.0, 255.0, 255.0]);
        assert_eq!(Steps::of([1.0, 2.0]), Steps::of([0.0, 2.0]), "zero is always in the range");
        assert!(Steps::of([0.0, 0.0]).scale > 0.0);
    }

    #[test]
    fn a_rare_outlier_is_clipped_where_that_costs_less() {
        let mut numbers: Vec<f32> = (0..100_000).map(|index| (index % 1000) as f32 * 0.001).collect();
        let even = histogram(&numbers);
        numbers.push(50.0);
        let with_outlier = histogram(&numbers);
        let [low, high] = least_squares(&[&with_outlier]);
        // Rounding costs 10⁵ × (high ÷ 255)² ÷ 12, clipping (50 − high)²: together least near 44.
        assert!(low == 0.0 && (40.0..49.0).contains(&high), "{high}");
        assert!(least_squares(&[&even])[1] > 0.9);
    }

    #[test]
    fn all_tensors_that_share_a_range_lie_in_the_widest() {
        let (small, large) = (histogram(&[-0.25, 1.0]), histogram(&[0.5, 8.0]));
        let found = candidates(&[&small, &large]);
        assert_eq!(found[0].method, Method::LeastSquares);
        let widest = found.last().unwrap();
        assert_eq!((widest.method, widest.range), (Method::MinMax, [-0.25, 8.0]));
    }

    #[test]
    fn silu_is_what_it_should_be() {
        for (x, y) in
            [(0.0, 0.0), (1.0, 0.731_058_578_6), (-1.0, -0.268_941_421_4), (-8.0, -0.002_682_802), (90.0, 90.0)]
        {
            assert!((silu(x) - y).abs() < 1e-5, "{x}: {}", silu(x));
        }
    }

    #[test]
    fn what_silu_makes_nothing_of_gets_no_steps() {
        let numbers: Vec<f32> = (0..20_000).map(|index| (index % 2000) as f32 * 0.02 - 36.0).collect();
        let [low, high] = before_silu(&histogram(&numbers));
        assert!((-9.0..=-4.0).contains(&low) && (3.5..=4.0).contains(&high), "{low} {high}");
    }

    #[test]
    fn the_end_near_zero_stays() {
        assert_eq!(scaled([-0.25, 8.0], 0.5), [-0.25, 4.0]);
        assert_eq!(scaled([-6.0, 8.0], 0.5), [-4.0, 4.0]);
        assert_eq!(scaled([-0.25, 8.0], 1.0), [-0.25, 8.0]);
    }
}
