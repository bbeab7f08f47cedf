//! How often which numbers occur in a tensor, counted over many pictures in one pass.
//!
//! Bins are a power of two wide and become twice as wide when a number lies outside, so that no count has ever to be
//! split and the order of the pictures does not matter.

/// Bins on either side of zero.
const HALF: usize = 4096;

/// The width of the bins before the first number: a power of two below any that occurs.
const WIDTH_MIN: f32 = 1.0 / (1_u64 << 40) as f32;

/// Counts of the numbers of one tensor.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Histogram {
    /// The first bin begins at `-HALF × width`.
    counts: Vec<u64>,
    /// A power of two.
    width: f32,
    low: f32,
    high: f32,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; 2 * HALF], width: WIDTH_MIN, low: f32::INFINITY, high: f32::NEG_INFINITY, total: 0 }
    }
}

impl Histogram {
    /// Counts numbers. Returns whether all are finite; where one is not, none of them is counted.
    pub(super) fn add(&mut self, numbers: &[f32]) -> bool {
        let (mut low, mut high, mut are_finite) = (f32::INFINITY, f32::NEG_INFINITY, true);
        for number in numbers {
            // Minimum and maximum leave out what is no number.
            are_finite &= number.is_finite();
            low = low.min(*number);
            high = high.max(*number);
        }
        if !are_finite || numbers.is_empty() {
            return are_finite;
        }
        while low.abs().max(high.abs()) >= self.width * (HALF - 1) as f32 {
            self.widen();
        }
        (self.low, self.high) = (self.low.min(low), self.high.max(high));
        let inverse = 1.0 / self.width;
        let last = self.counts.len() - 1;
        for number in numbers {
            // The cast cuts off behind the point, and all here are above zero.
            let bin = (number * inverse + HALF as f32) as usize;
            self.counts[bin.min(last)] += 1;
        }
        self.total += numbers.len() as u64;
        true
    }

    /// The lowest and the highest number; zeros before the first.
    pub(super) fn bounds(&self) -> [f32; 2] {
        if self.total == 0 { [0.0; 2] } else { [self.low, self.high] }
    }

    /// The range without so large a part of all numbers at either end.
    pub(super) fn without_tails(&self, part: f64) -> [f32; 2] {
        let allowed = (part * self.total as f64) as u64;
        let beyond = |mut bins: Box<dyn Iterator<Item = usize>>| {
            let mut seen = 0;
            bins.find(|bin| {
                seen += self.counts[*bin];
                seen > allowed
            })
        };
        let [low, high] = self.bounds();
        let first = beyond(Box::new(0..self.counts.len())).map_or(low, |bin| self.start_of(bin));
        let last = beyond(Box::new((0..self.counts.len()).rev())).map_or(high, |bin| self.start_of(bin) + self.width);
        [first.max(low), last.min(high)]
    }

    /// The mean of what `error` makes of a number, over all numbers.
    pub(super) fn mean(&self, error: impl Fn(f64) -> f64) -> f64 {
        let sum: f64 = self.bins().map(|(number, count)| count as f64 * error(number)).sum();
        sum / (self.total as f64).max(1.0)
    }

    /// The middle of each bin that holds numbers, and how many.
    pub(super) fn bins(&self) -> impl Iterator<Item = (f64, u64)> {
        let middle = |bin: usize| f64::from(self.start_of(bin)) + 0.5 * f64::from(self.width);
        let bins = self.counts.iter().enumerate();
        bins.filter(|(_, count)| **count > 0).map(move |(bin, count)| (middle(bin), *count))
    }

    /// The mean square of the difference from the mean.
    pub(super) fn variance(&self) -> f64 {
        let mean = self.mean(|number| number);
        self.mean(|number| (number - mean) * (number - mean))
    }

    fn start_of(&self, bin: usize) -> f32 {
        (bin as f32 - HALF as f32) * self.width
    }

    /// Makes one bin of two.
    fn widen(&mut self) {
        let mut counts = vec![0; 2 * HALF];
        for (bin, count) in self.counts.iter().enumerate() {
            counts[(bin + HALF) / 2] += count;
        }
        self.counts = counts;
        self.width *= 2.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_the_numbers_does_not_matter() {
        let numbers = [0.1, -3.0, 1e-6, 250.0, 0.0, -0.27, 250.0];
        let mut forward = Histogram::default();
        numbers.iter().for_each(|number| assert!(forward.add(&[*number])));
        let mut backward = Histogram::default();
        numbers.iter().rev().for_each(|number| assert!(backward.add(&[*number])));
        let mut at_once = Histogram::default();
        assert!(at_once.add(&numbers));
        assert_eq!((&forward, &forward), (&backward, &at_once));
        assert_eq!(forward.bounds(), [-3.0, 250.0]);
        assert_eq!(forward.counts.iter().sum::<u64>(), 7);
    }

    #[test]
    fn bins_hold_what_lies_in_them() {
        let mut histogram = Histogram::default();
        let numbers: Vec<f32> = (-1000..1000).map(|step| step as f32 * 0.01).collect();
        assert!(histogram.add(&numbers));
        let mean = histogram.mean(|number| number);
        assert!((mean + 0.005).abs() < 0.002, "{mean}");
        let square = histogram.mean(|number| number * number);
        assert!((square - 33.33).abs() < 0.05, "{square}");
    }

    #[test]
    fn tails_are_cut_at_both_ends() {
        let mut histogram = Histogram::default();
        let mut numbers = vec![0.5; 10_000];
        numbers.extend([-100.0, 200.0]);
        assert!(histogram.add(&numbers));
        assert_eq!(histogram.without_tails(0.0), [-100.0, 200.0]);
        let [low, high] = histogram.without_tails(1e-3);
        assert!(low > 0.4 && high < 0.6, "{low} {high}");
    }

    #[test]
    fn what_is_not_finite_is_told() {
        let mut histogram = Histogram::default();
        assert!(!histogram.add(&[1.0, f32::INFINITY]));
        assert!(!histogram.add(&[1.0, f32::NAN, -2.0]), "one that is no number is found among others");
        assert!(!histogram.add(&[f32::NAN]));
        assert!(histogram.add(&[]));
        assert_eq!(histogram.bounds(), [0.0, 0.0]);
    }
}
