//! Choices read from a string of bytes, so that whatever makes such strings makes graphs.

/// A string that is read from the front; behind its end there are zeros.
pub(super) struct Bytes<'a> {
    left: &'a [u8],
}

impl<'a> Bytes<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { left: bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    fn byte(&mut self) -> u8 {
        match self.left.split_first() {
            Some((first, rest)) => {
                self.left = rest;
                *first
            }
            None => 0,
        }
    }

    /// A number below the limit, which is at most 256.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        usize::from(self.byte()) % limit.max(1)
    }

    pub(super) fn flag(&mut self) -> bool {
        self.below(2) == 1
    }

    /// True once in so many times.
    pub(super) fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == count - 1
    }

    pub(super) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// A number from zero up to one.
    pub(super) fn fraction(&mut self) -> f32 {
        f32::from(self.byte()) / 256.0
    }

    /// Numbers without an order that depend on one byte, for weights and pixels.
    pub(super) fn noise(&mut self) -> Noise {
        Noise::of(u64::from(self.byte()))
    }
}

/// Numbers that are the same in each run (xorshift).
pub(super) struct Noise(u64);

impl Noise {
    pub(super) fn of(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) as usize % limit
    }

    /// From −1 to 1.
    pub(super) fn float(&mut self) -> f32 {
        self.below(20_001) as f32 * 1e-4 - 1.0
    }

    pub(super) fn floats(&mut self, count: usize, scale: f32) -> Vec<f32> {
        (0..count).map(|_| self.float() * scale).collect()
    }
}

/// The string of a seed.
pub(super) fn random(seed: u64) -> Vec<u8> {
    let mut noise = Noise::of(seed + 1);
    let len = 24 + noise.below(160);
    (0..len).map(|_| noise.below(256) as u8).collect()
}
