//! Softmax over rows.
#![allow(unsafe_code)]

use super::{
    super::kernels::{Kernels, loops},
    Softmax,
    nest::Nest,
    work::{Context, Work},
};

/// Numbers of an item, and at least one row.
const ITEM_LEN: usize = 8 * 1024;

impl Softmax {
    /// Whether it has no more dimensions than its loops can take.
    pub(super) fn is_within_limits(&self) -> bool {
        self.nest().is_some()
    }

    /// The loops over rows.
    fn nest(&self) -> Option<Nest<2>> {
        Some(Nest::new(&self.dims, [&self.output.strides, &self.input.strides])?.with_tiles(1))
    }

    fn checked_nest(&self) -> Nest<2> {
        self.nest().expect("the number of dimensions was checked when the program was made")
    }

    fn rows_in_item(&self) -> usize {
        ITEM_LEN.div_ceil(self.len.max(1))
    }
}

impl Work for Softmax {
    fn items(&self, _: usize, _: &Context<'_>) -> usize {
        if self.len == 0 { 0 } else { self.checked_nest().items(self.rows_in_item()) }
    }

    fn scratch_len(&self, _: &Kernels) -> usize {
        self.len * size_of::<f32>()
    }

    unsafe fn run(&self, _: usize, item: usize, cx: &Context<'_>, scratch: &mut [u8]) {
        let nest = self.checked_nest();
        let level = cx.kernels.level;
        // SAFETY: any bits are a float.
        let (_, exponentials, _) = unsafe { scratch.align_to_mut::<f32>() };
        let exponentials = &mut exponentials[..self.len];
        for [output, input] in nest.item(item, self.rows_in_item()).map(|index| nest.tile(index).offsets) {
            // SAFETY: nobody but this item writes to the row, and it writes after it has read.
            let row = unsafe { cx.memory.floats(self.input.at + input * 4, self.len) };
            let max = loops::max_of(level, row);
            let sum = loops::exponentials(level, row, max, exponentials);
            // SAFETY: nobody else uses the row, and the slice of the input is not used any more.
            let row = unsafe { cx.memory.floats_mut(self.output.at + output * 4, self.len) };
            loops::divide(level, exponentials, sum, row);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            super::kernels,
            Element, View,
            testing::{Fixture, Random},
        },
        *,
    };

    #[test]
    fn rows_are_near_the_definition() {
        let random = &mut Random::new(2);
        for kernels in kernels::available() {
            for (len, in_place) in [(1, false), (7, true), (400, false), (400, true), (1000, false)] {
                let mut fixture = Fixture::new(kernels, 1 << 19, random);
                let mut view = || {
                    let at = fixture.take(15 * (len + 3) * 4);
                    View { element: Element::Float, at, strides: vec![5 * (len + 3), len + 3] }
                };
                let input = view();
                let output = if in_place { input.clone() } else { view() };
                let step = Softmax { dims: vec![3, 5], len, input, output };
                let row = |fixture: &mut Fixture, view: &View, row: usize| -> Vec<f32> {
                    (0..len).map(|index| fixture.float(view.at + (row * (len + 3) + index) * 4)).collect()
                };
                let inputs: Vec<Vec<f32>> = (0..15).map(|index| row(&mut fixture, &step.input, index)).collect();
                fixture.run(&step, &[], random);
                for (index, input) in inputs.iter().enumerate() {
                    let max = input.iter().copied().fold(f32::MIN, f32::max);
                    let exact: Vec<f64> = input.iter().map(|x| f64::from(*x - max).exp()).collect();
                    let sum: f64 = exact.iter().sum();
                    for (found, exact) in row(&mut fixture, &step.output, index).iter().zip(exact) {
                        assert!((f64::from(*found) - exact / sum).abs() <= 1e-6 * exact / sum, "{len} {found}");
                    }
                }
            }
        }
    }
}
