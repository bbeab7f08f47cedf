//! A small generator of random numbers that is the same on every machine: SplitMix64.
//!
//! Nothing here is fit for secrets.

/// A generator of random numbers.
#[derive(Clone, Debug)]
pub struct Rng {
    state: u64,
}

/// The odd number nearest to 2⁶⁴ divided by the golden ratio, by which SplitMix64 steps.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

impl Rng {
    /// The generator number `stream` of a seed. Different streams of one seed have nothing in common.
    pub fn new(seed: u64, stream: u64) -> Self {
        Self { state: mixed(mixed(seed.wrapping_add(STEP)).wrapping_add(stream).wrapping_mul(STEP)) }
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(STEP);
        mixed(self.state)
    }

    /// Evenly from `0..1`: 53 random bits, which fill the significand exactly.
    pub fn fraction(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// One of `0..n`; zero where `n` is not positive.
    pub fn below(&mut self, n: i32) -> i32 {
        let n = u64::try_from(n).unwrap_or(0);
        (((self.bits() >> 32) * n) >> 32) as i32
    }

    /// One of `low..=high`; `low` where the range is empty.
    pub fn between(&mut self, low: i32, high: i32) -> i32 {
        low + self.below(high - low + 1)
    }

    /// True in `percent` of a hundred cases.
    pub fn chance(&mut self, percent: i32) -> bool {
        self.below(100) < percent
    }

    /// −1 or 1.
    pub fn sign(&mut self) -> i32 {
        if self.bits() >> 63 == 0 { -1 } else { 1 }
    }

    /// One of the items.
    ///
    /// # Panics
    /// Where there are none.
    pub fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(i32::try_from(items.len()).expect("lists here are short")) as usize]
    }
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014).
fn mixed(bits: u64) -> u64 {
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_splitmix64() {
        // The first outputs for state 1234567, as the reference implementation gives them.
        let mut rng = Rng { state: 1_234_567 };
        let first = [rng.bits(), rng.bits(), rng.bits()];
        assert_eq!(first, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn a_range_is_covered_and_not_left() {
        let mut rng = Rng::new(1, 2);
        let mut seen = [0; 5];
        for _ in 0..1000 {
            seen[usize::try_from(rng.between(-2, 2) + 2).unwrap()] += 1;
        }
        assert!(seen.iter().all(|count| (150..250).contains(count)), "{seen:?}");
        assert_eq!((rng.between(3, 3), rng.between(3, 1), rng.below(0)), (3, 3, 0));
    }
}
