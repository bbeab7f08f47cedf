//! Functions of corresponding numbers of several tensors.
#![allow(unsafe_code)]

use super::{
    super::kernels::{
        Kernels,
        loops::{self, Reading, Rows},
    },
    Elementwise, Finish, Operand, View,
    nest::{Nest, Tile},
    work::{Context, Work},
};

/// Most operands of one step.
pub(in crate::engine) const OPERANDS_MAX: usize = 7;

/// The output and the operands; what is not there has stride zero everywhere.
const TENSORS: usize = OPERANDS_MAX + 1;

/// Numbers that are computed at once, so that they stay in the nearest cache.
const TILE_LEN: usize = 1024;

/// Numbers of an item, enough that taking it costs nothing in comparison.
const ITEM_LEN: usize = 32 * 1024;

impl Elementwise {
    /// Whether it has no more operands and dimensions than its loops can take.
    pub(super) fn is_within_limits(&self) -> bool {
        self.nest().is_some()
    }

    fn operands(&self) -> impl Iterator<Item = &Operand> {
        std::iter::once(&self.first).chain(self.rest.iter().map(|(_, operand)| operand))
    }

    fn nest(&self) -> Option<Nest<TENSORS>> {
        const RANK_MAX: usize = 16;
        static ZEROS: [usize; RANK_MAX] = [0; RANK_MAX];
        let mut strides = [ZEROS.get(..self.dims.len())?; TENSORS];
        strides[0] = &self.output.strides;
        for (index, operand) in self.operands().enumerate() {
            *strides.get_mut(1 + index)? = match operand {
                Operand::Bytes { view, .. } | Operand::Floats { view } => &view.strides,
                Operand::Constant { strides, .. } => strides,
            };
        }
        Some(Nest::new(&self.dims, strides)?.with_tiles(TILE_LEN))
    }

    fn checked_nest(&self) -> Nest<TENSORS> {
        self.nest().expect("the number of operands and dimensions was checked when the program was made")
    }
}

impl Work for Elementwise {
    fn items(&self, _: usize, _: &Context<'_>) -> usize {
        self.checked_nest().items(ITEM_LEN)
    }

    fn scratch_len(&self, _: &Kernels) -> usize {
        2 * TILE_LEN * size_of::<f32>()
    }

    unsafe fn run(&self, _: usize, item: usize, cx: &Context<'_>, scratch: &mut [u8]) {
        let nest = self.checked_nest();
        let level = cx.kernels.level;
        let mut sources = [Source::None; OPERANDS_MAX];
        for (source, operand) in sources.iter_mut().zip(self.operands()) {
            *source = Source::of(operand, cx.kernels);
        }
        // SAFETY: any bits are a float.
        let (_, floats, _) = unsafe { scratch.align_to_mut::<f32>() };
        let (numbers, operand) = floats.split_at_mut(TILE_LEN);
        for tile in nest.item(item, ITEM_LEN).map(|index| nest.tile(index)) {
            let len = tile.size[0] * tile.size[1];
            let (numbers, operand) = (&mut numbers[..len], &mut operand[..len]);
            for (index, source) in sources.iter().enumerate().take(1 + self.rest.len()) {
                let rows =
                    Place { size: tile.size, offset: tile.offsets[1 + index], strides: nest.tile_strides(1 + index) };
                match index.checked_sub(1) {
                    // SAFETY: nobody writes what the step reads.
                    None => unsafe { source.load(cx, rows, numbers) },
                    Some(before) => {
                        // SAFETY: as above.
                        unsafe { source.load(cx, rows, operand) };
                        loops::combine(level, self.rest[before].0, numbers, operand);
                    }
                }
            }
            // SAFETY: nobody but this item uses the tile of the output.
            unsafe { self.store(cx, &tile, nest.tile_strides(0), numbers) };
        }
    }
}

impl Elementwise {
    /// Finishes the numbers of a tile and writes them.
    ///
    /// # Safety
    /// Nobody else uses the tile of the output.
    unsafe fn store(&self, cx: &Context<'_>, tile: &Tile<TENSORS>, strides: [usize; 2], numbers: &mut [f32]) {
        let level = cx.kernels.level;
        let place = Place { size: tile.size, offset: tile.offsets[0], strides };
        match &self.finish {
            Finish::Floats(functions) => {
                loops::finish_floats(level, numbers, functions);
                // SAFETY: any bits are a float, and the caller sees to the rest.
                let rows = unsafe { cx.memory.rows_mut::<f32>(place.at(&self.output), place.size, strides) };
                loops::store_rows(level, numbers, rows);
            }
            Finish::Quantized(functions, quantizer) => {
                loops::finish_floats(level, numbers, functions);
                // SAFETY: as above, of bytes.
                let rows = unsafe { cx.memory.rows_mut::<u8>(place.at(&self.output), place.size, strides) };
                loops::quantize_rows(level, numbers, quantizer, rows);
            }
            Finish::Table(_) | Finish::Values(_) => unreachable!("what is not made of floats is refused at load"),
        }
    }
}

/// Some rows and columns of a tensor.
#[derive(Clone, Copy, Debug)]
struct Place {
    size: [usize; 2],
    /// In elements.
    offset: usize,
    strides: [usize; 2],
}

impl Place {
    /// Where its first number is, in bytes from the start of the arena.
    fn at(self, view: &View) -> usize {
        view.at + self.offset * view.element.size()
    }
}

/// An operand, and how to read it.
#[derive(Clone, Copy, Debug)]
enum Source<'a> {
    None,
    Bytes(&'a View, Reading<'a>),
    Floats(&'a View),
    Constant(&'a [f32]),
}

impl<'a> Source<'a> {
    fn of(operand: &'a Operand, kernels: &Kernels) -> Self {
        match operand {
            Operand::Bytes { view, values } => Self::Bytes(view, Reading::of(kernels.level, values, kernels.signed)),
            Operand::Floats { view } => Self::Floats(view),
            Operand::Constant { data, .. } => Self::Constant(data),
        }
    }

    /// Its numbers as floats, row after row.
    ///
    /// # Safety
    /// Nobody writes to the operand.
    unsafe fn load(&self, cx: &Context<'_>, place: Place, output: &mut [f32]) {
        let level = cx.kernels.level;
        let Place { size, offset, strides } = place;
        match self {
            Self::None => {}
            Self::Bytes(view, reading) => {
                // SAFETY: any bits are a byte, and the caller sees to the rest.
                let rows = unsafe { cx.memory.rows::<u8>(place.at(view), size, strides) };
                loops::read_rows(level, rows, *reading, output);
            }
            Self::Floats(view) => {
                // SAFETY: as above, of floats.
                let rows = unsafe { cx.memory.rows::<f32>(place.at(view), size, strides) };
                loops::load_rows(level, rows, output);
            }
            Self::Constant(data) => loops::load_rows(level, Rows::of(&data[offset..], size, strides), output),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            super::kernels,
            Binary, Element, Quantizer, Unary,
            testing::{Fixture, Random},
        },
        *,
    };

    /// Strides of a tensor that is dense but for a gap after each dimension, and whose dimensions may repeat; and the
    /// numbers from its first to its last.
    fn random_strides(dims: &[usize], repeats: bool, inner: usize, random: &mut Random) -> (Vec<usize>, usize) {
        let mut next = inner;
        let mut strides = vec![0; dims.len()];
        for (stride, dim) in strides.iter_mut().zip(dims).rev() {
            if !repeats || random.below(3) > 0 {
                *stride = next;
                next = next * dim + random.below(2) * random.below(9);
            }
        }
        (strides, next.max(1))
    }

    fn operand(fixture: &mut Fixture, dims: &[usize], random: &mut Random) -> Operand {
        let inner = 1 + random.below(4) / 3 * random.below(3);
        let (strides, len) = random_strides(dims, true, inner, random);
        match random.below(4) {
            0 => Operand::Floats { view: View { element: Element::Float, at: fixture.take(len * 4), strides } },
            1 => Operand::Constant { data: (0..len).map(|_| random.float()).collect(), strides },
            kind => {
                let zero = random.below(256) as i32;
                let values: Box<[f32; 256]> = Box::new(std::array::from_fn(|byte| match kind {
                    2 => random.float(),
                    _ => (byte as i32 - zero) as f32 * 0.03,
                }));
                Operand::Bytes { view: View { element: Element::Byte, at: fixture.take(len), strides }, values }
            }
        }
    }

    fn number(operand: &Operand, fixture: &mut Fixture, index: &[usize]) -> f32 {
        let offset = |strides: &[usize]| index.iter().zip(strides).map(|(i, stride)| i * stride).sum::<usize>();
        match operand {
            Operand::Bytes { view, values } => values[usize::from(fixture.byte(view.at + offset(&view.strides)))],
            Operand::Floats { view } => fixture.float(view.at + offset(&view.strides) * 4),
            Operand::Constant { data, strides } => data[offset(strides)],
        }
    }

    fn check(kernels: &'static Kernels, dims: &[usize], random: &mut Random) {
        const OPS: [Binary; 8] = [
            Binary::Add,
            Binary::Sub,
            Binary::SubFrom,
            Binary::Mul,
            Binary::Div,
            Binary::DivInto,
            Binary::Max,
            Binary::Min,
        ];
        let mut fixture = Fixture::new(kernels, 1 << 19, random);
        let first = operand(&mut fixture, dims, random);
        let rest: Vec<(Binary, Operand)> =
            (0..random.below(4)).map(|_| (OPS[random.below(8)], operand(&mut fixture, dims, random))).collect();
        let functions = vec![Unary::Scale { factor: 0.7 }, Unary::HardSwish];
        let quantizer =
            Quantizer { scale: 0.05, low: -128.0, high: 127.0, offset: if kernels.signed { 0 } else { 128 } };
        let (strides, len) = random_strides(dims, false, 1, random);
        let (element, finish) = match random.below(2) {
            0 => (Element::Float, Finish::Floats(functions.clone())),
            _ => (Element::Byte, Finish::Quantized(functions.clone(), quantizer)),
        };
        let at = fixture.take(len * element.size());
        let step = Elementwise { dims: dims.to_vec(), first, rest, output: View { element, at, strides }, finish };
        assert!(step.is_within_limits());
        let mut expected = fixture.bytes();
        for flat in 0..dims.iter().product() {
            let mut rest = flat;
            let mut index: Vec<usize> = dims.iter().rev().map(|dim| (rest % dim, rest /= dim).0).collect();
            index.reverse();
            let mut result = number(&step.first, &mut fixture, &index);
            for (op, operand) in &step.rest {
                result = loops::combined(*op, result, number(operand, &mut fixture, &index));
            }
            for function in &functions {
                result = loops::apply(*function, result);
            }
            let offset: usize = index.iter().zip(&step.output.strides).map(|(i, stride)| i * stride).sum();
            if element == Element::Float {
                expected[at + offset * 4..][..4].copy_from_slice(&result.to_ne_bytes());
            } else {
                let steps = (result / quantizer.scale).max(quantizer.low).min(quantizer.high);
                expected[at + offset] = (steps.round_ties_even() as i32 + quantizer.offset) as u8;
            }
        }
        fixture.run(&step, &[], random);
        assert!(fixture.bytes() == expected, "{}: {step:?}", kernels.name);
    }

    #[test]
    fn as_number_by_number() {
        let mut random = Random::new(3);
        for kernels in kernels::available() {
            for dims in [
                &[2, 3, 4, 17][..],
                &[1],
                &[],
                &[5, 1, 7, 1],
                &[3000],
                &[2, 1500],
                &[40, 33],
                &[3, 2, 5, 2, 16],
                &[0, 3],
            ] {
                for _ in 0..12 {
                    check(kernels, dims, &mut random);
                }
            }
        }
    }
}
