//! The numbers that codes stand for.

use std::rc::Rc;

use super::super::{
    fake_quantize::FakeQuantize,
    kernels::loops::apply,
    program::{Quantizer, Unary},
};

/// The numbers `(i − zero point) × scale` for whole `i` in a range of at most 256; a code counts `i` from the lowest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Grid {
    /// Finite and above zero.
    pub(super) scale: f32,
    /// The lowest and the highest `i − zero point`; whole.
    pub(super) low: f32,
    pub(super) high: f32,
}

impl Grid {
    /// The grid that an operator rounds to; `None` where it has more than 256 numbers, or does not hold zero.
    pub(super) fn of(op: &FakeQuantize) -> Option<Self> {
        let (low, high) = (op.low - op.zero_point, op.high - op.zero_point);
        let fits = (0.0..=255.0).contains(&(high - low)) && low <= 0.0 && high >= 0.0;
        (fits && op.scale.is_normal() && op.scale > 0.0).then_some(Self { scale: op.scale, low, high })
    }

    /// The number of a code. Codes past the range stand for the highest number.
    pub(super) fn value(&self, code: u8) -> f32 {
        (self.low + f32::from(code)).min(self.high) * self.scale
    }

    /// The code of zero, which padding consists of.
    pub(super) fn zero(&self) -> u8 {
        -self.low as u8
    }

    /// The rounding to it as a function.
    pub(super) fn round(&self) -> Unary {
        Unary::Round { scale: self.scale, low: self.low, high: self.high }
    }

    /// How floats become its codes, for kernels that hold codes as they are or minus 128.
    pub(super) fn quantizer(&self, signed: bool) -> Quantizer {
        Quantizer { scale: self.scale, low: self.low, high: self.high, offset: self.offset(signed) }
    }

    /// What is added to a whole number on the grid to make the byte that stands for it.
    pub(super) fn offset(&self, signed: bool) -> i32 {
        -self.low as i32 - if signed { 128 } else { 0 }
    }

    /// The code of the nearest number.
    fn code(&self, x: f32) -> u8 {
        ((x / self.scale).clamp(self.low, self.high).round_ties_even() - self.low) as u8
    }

    /// The numbers of all codes.
    pub(super) fn values(&self) -> Values {
        Values(Rc::new(std::array::from_fn(|code| self.value(code as u8))))
    }
}

/// What each of 256 codes stands for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Values(Rc<[f32; 256]>);

impl Values {
    /// A function of what they stand for.
    pub(super) fn map(&self, unary: Unary) -> Self {
        Self(Rc::new(self.0.map(|value| apply(unary, value))))
    }

    /// A function of two things that the same code stands for.
    pub(super) fn combine(&self, other: &Self, function: impl Fn(f32, f32) -> f32) -> Self {
        Self(Rc::new(std::array::from_fn(|code| function(self.0[code], other.0[code]))))
    }

    /// The codes of a grid for them.
    pub(super) fn codes(&self, grid: &Grid) -> [u8; 256] {
        self.0.map(|value| grid.code(value))
    }

    /// The same numbers where they never fall from one code to the next, but for a rounding error that is levelled.
    pub(super) fn rising(&self) -> Option<Self> {
        let largest = self.0.iter().fold(0.0, |largest: f32, value| largest.max(value.abs()));
        let mut highest = self.0[0];
        let mut rising = [0.0; 256];
        for (level, value) in rising.iter_mut().zip(self.0.iter()) {
            // Written so that NaN is no rise.
            let rises = *value >= highest - 1e-6 * largest;
            if !rises {
                return None;
            }
            highest = highest.max(*value);
            *level = highest;
        }
        Some(Self(Rc::new(rising)))
    }

    /// The largest difference of neighbours.
    #[cfg(test)]
    pub(super) fn largest_step(&self) -> f32 {
        self.0.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max)
    }

    /// By the byte as kernels hold it.
    pub(super) fn held(&self, signed: bool) -> Box<[f32; 256]> {
        Box::new(std::array::from_fn(|byte| self.0[byte ^ flip(signed)]))
    }
}

/// A table from codes to codes as one from bytes to bytes; `None` where it changes nothing.
pub(super) fn held_table(codes: &[u8; 256], signed: bool) -> Option<Box<[u8; 256]>> {
    let flip = flip(signed);
    let table: [u8; 256] = std::array::from_fn(|byte| codes[byte ^ flip] ^ flip as u8);
    let changes = table.iter().enumerate().any(|(byte, entry)| byte != usize::from(*entry));
    changes.then(|| Box::new(table))
}

/// What makes a byte of a code where kernels hold it as `i8`: the code minus 128.
pub(super) fn flip(signed: bool) -> usize {
    if signed { 0x80 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRID: Grid = Grid { scale: 0.5, low: -3.0, high: 252.0 };

    #[test]
    fn codes_count_from_the_lowest_number() {
        assert_eq!((GRID.zero(), GRID.value(0), GRID.value(3), GRID.value(5)), (3, -1.5, 0.0, 1.0));
        assert_eq!((GRID.offset(false), GRID.offset(true)), (3, -125));
        let narrow = Grid { high: 4.0, ..GRID };
        assert_eq!((narrow.value(7), narrow.value(8), narrow.code(1e9)), (2.0, 2.0, 7));
    }

    #[test]
    fn values_come_back_as_their_codes() {
        let codes = GRID.values().codes(&GRID);
        assert!(codes.iter().enumerate().all(|(index, code)| index == usize::from(*code)));
        assert_eq!(held_table(&codes, false), None);
        assert_eq!(held_table(&codes, true), None);
        assert_eq!(GRID.values().rising(), Some(GRID.values()));
        assert!(GRID.values().map(Unary::Sigmoid).rising().is_some());
        let wide = Grid { low: -20.0, high: 235.0, ..GRID };
        assert_eq!(wide.values().map(Unary::Silu).rising(), None);
    }

    #[test]
    fn bytes_of_signed_kernels_are_codes_minus_128() {
        let mut codes = [0; 256];
        codes[0x80] = 0x81;
        let table = held_table(&codes, true).expect("it changes most bytes");
        assert_eq!((table[0], table[1]), (0x01, 0x80));
        assert_eq!(GRID.values().held(true)[0x80], GRID.value(0));
    }

    #[test]
    fn wide_or_odd_ranges_are_no_grid() {
        let op = FakeQuantize { scale: 0.1, zero_point: 3.0, low: 0.0, high: 255.0, step: 0.1 };
        assert_eq!(Grid::of(&op), Some(Grid { scale: 0.1, low: -3.0, high: 252.0 }));
        for bad in [
            FakeQuantize { high: 65_535.0, ..op },
            FakeQuantize { scale: 1e-40, ..op },
            FakeQuantize { zero_point: 300.0, ..op },
            FakeQuantize { scale: f32::NAN, ..op },
        ] {
            assert_eq!(Grid::of(&bad), None, "{bad:?}");
        }
    }
}
