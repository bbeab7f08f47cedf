//! Copies of tensors in another order, to other places, or repeated.
#![allow(unsafe_code)]

use super::{
    super::kernels::{Kernels, loops::map_numbers},
    Element, Move, View,
    arena::Memory,
    nest::{Nest, Tile},
    work::{Context, Work},
};

/// Most numbers in a tile whose rows are neighbours in memory on both sides.
const TILE_LEN: usize = 16 * 1024;

/// Rows and columns of a tile that is transposed; the lines of both sides stay in the nearest cache.
const TILE_SIDE: usize = 32;

/// Numbers of an item.
const ITEM_LEN: usize = 32 * 1024;

impl Move {
    /// Whether it has no more dimensions than its loops can take.
    pub(super) fn is_within_limits(&self) -> bool {
        self.nest().is_some()
    }

    fn nest(&self) -> Option<Nest<2>> {
        let nest = Nest::new(&self.dims, [&self.output.strides, &self.input.strides])?.transposed(0, 1);
        let are_rows = (0..2).all(|tensor| nest.tile_strides(tensor)[1] == 1);
        Some(if are_rows { nest.with_tiles(TILE_LEN) } else { nest.with_square_tiles(TILE_SIDE) })
    }

    fn checked_nest(&self) -> Nest<2> {
        self.nest().expect("the number of dimensions was checked when the program was made")
    }

    /// # Safety
    /// Any bits are a `T`; nobody writes to the input, and nobody else uses the tile of the output.
    unsafe fn run_tile<T: Copy>(
        &self,
        memory: Memory<'_>,
        nest: &Nest<2>,
        tile: &Tile<2>,
        row: impl Fn(&[T], &mut [T]),
        number: impl Fn(T) -> T,
    ) {
        let [output_strides, input_strides] = [0, 1].map(|tensor| nest.tile_strides(tensor));
        let at = |view: &View, offset: usize| view.at + offset * size_of::<T>();
        // SAFETY: the caller sees to it.
        let input = unsafe { memory.rows::<T>(at(&self.input, tile.offsets[1]), tile.size, input_strides) };
        // SAFETY: as above.
        let mut output = unsafe { memory.rows_mut::<T>(at(&self.output, tile.offsets[0]), tile.size, output_strides) };
        if input.step() == 1 && output.step() == 1 {
            for index in 0..input.count {
                row(input.row(index), output.row(index));
            }
        } else {
            map_numbers(input, output, number);
        }
    }
}

impl Work for Move {
    fn items(&self, _: usize, _: &Context<'_>) -> usize {
        self.checked_nest().items(ITEM_LEN)
    }

    fn scratch_len(&self, _: &Kernels) -> usize {
        0
    }

    unsafe fn run(&self, _: usize, item: usize, cx: &Context<'_>, _: &mut [u8]) {
        let nest = self.checked_nest();
        for tile in nest.item(item, ITEM_LEN).map(|index| nest.tile(index)) {
            match (self.output.element, &self.table) {
                // SAFETY: the caller sees to it that nobody writes what the step reads; tiles do not overlap.
                (Element::Byte, None) => unsafe {
                    self.run_tile::<u8>(cx.memory, &nest, &tile, |from, to| to.copy_from_slice(from), |byte| byte);
                },
                (Element::Byte, Some(table)) => {
                    let row = |from: &[u8], to: &mut [u8]| {
                        assert_eq!(from.len(), to.len());
                        // SAFETY: both slices have the length, and do not overlap since one of them is mutable.
                        unsafe { (cx.kernels.look_up)(from.as_ptr(), to.as_mut_ptr(), to.len(), table) }
                    };
                    // SAFETY: as above.
                    unsafe { self.run_tile(cx.memory, &nest, &tile, row, |byte: u8| table[usize::from(byte)]) };
                }
                // SAFETY: as above.
                (Element::Float, _) => unsafe {
                    self.run_tile::<f32>(cx.memory, &nest, &tile, |from, to| to.copy_from_slice(from), |x| x);
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            super::kernels,
            testing::{Fixture, Random},
        },
        *,
    };

    /// A tensor's dimensions, and the strides of input and output.
    type Case = (&'static [usize], &'static [usize], &'static [usize]);

    const CASES: [Case; 9] = [
        // Twice as many rows and columns.
        (&[3, 2, 5, 2, 16], &[80, 0, 16, 0, 1], &[640, 320, 64, 32, 1]),
        // Channels of wider pixels.
        (&[6, 7, 16], &[200, 28, 1], &[336, 48, 1]),
        // Rows to columns and back.
        (&[70, 45], &[1, 71], &[45, 1]),
        (&[45, 70], &[70, 1], &[1, 45]),
        (&[4, 9, 5], &[45, 5, 1], &[5, 20, 1]),
        (&[3, 5, 7], &[1, 3, 15], &[35, 7, 1]),
        (&[40_000], &[1], &[1]),
        (&[100], &[0], &[3]),
        (&[], &[], &[]),
    ];

    fn check(kernels: &'static Kernels, case: Case, element: Element, table: Option<Box<[u8; 256]>>) {
        let random = &mut Random::new(9);
        let (dims, input, output) = case;
        let mut fixture = Fixture::new(kernels, 400_000, random);
        let last = |strides: &[usize]| strides.iter().zip(dims).map(|(stride, dim)| stride * (dim - 1)).sum::<usize>();
        let input = View { element, at: fixture.take((last(input) + 1) * element.size()), strides: input.to_vec() };
        let output = View { element, at: fixture.take((last(output) + 1) * element.size()), strides: output.to_vec() };
        let step = Move { dims: dims.to_vec(), input, output, table };
        assert!(step.is_within_limits());
        let mut expected = fixture.bytes();
        for flat in 0..dims.iter().product() {
            let (mut rest, mut from, mut to) = (flat, 0, 0);
            for index in (0..dims.len()).rev() {
                from += rest % dims[index] * step.input.strides[index];
                to += rest % dims[index] * step.output.strides[index];
                rest /= dims[index];
            }
            for byte in 0..element.size() {
                let found = expected[step.input.at + from * element.size() + byte];
                let found = step.table.as_ref().map_or(found, |table| table[usize::from(found)]);
                expected[step.output.at + to * element.size() + byte] = found;
            }
        }
        fixture.run(&step, &[], random);
        assert!(fixture.bytes() == expected, "{}: {:?} {element:?}", kernels.name, step.dims);
    }

    #[test]
    fn as_number_by_number() {
        for kernels in kernels::available() {
            for case in CASES {
                check(kernels, case, Element::Float, None);
                check(kernels, case, Element::Byte, None);
                check(kernels, case, Element::Byte, Some(Box::new(std::array::from_fn(|byte| (byte * 7 + 1) as u8))));
            }
        }
    }
}
