//! Products of matrices that are both made by the program.
#![allow(unsafe_code)]

use super::{
    super::kernels::{FloatTile, Kernels, TileKernel, loops},
    MatMul,
    work::{Context, Work},
};

/// Rows of the product in an item.
const ITEM_ROWS: usize = 32;

/// Products in one sum. Sums of so many that are added up afterwards are nearer to the exact sum than one long chain, and
/// are the order of onnxruntime's kernels (`MLAS_SGEMM_STRIDEK`): fewer numbers then fall on the other side of a
/// quantizer's boundary.
const SUM_LEN: usize = 128;

/// Widest block of a kernel.
const BLOCK_MAX: usize = 256;

/// The sums begin at zero.
static ZEROS: [f32; BLOCK_MAX] = [0.0; BLOCK_MAX];

impl MatMul {
    /// Bytes that the packed right matrices take.
    pub(in crate::engine) fn packed_len(&self, kernels: &Kernels) -> usize {
        self.batch * self.blocks(kernels) * self.block_len(kernels)
    }

    fn kernel(kernels: &Kernels) -> &TileKernel<FloatTile> {
        let kernel = &kernels.floats[0];
        assert!(kernel.packing.block <= BLOCK_MAX);
        kernel
    }

    /// Blocks of columns of one matrix.
    fn blocks(&self, kernels: &Kernels) -> usize {
        self.size[2].div_ceil(Self::kernel(kernels).packing.block)
    }

    /// Bytes of one packed block.
    fn block_len(&self, kernels: &Kernels) -> usize {
        (self.size[1] * Self::kernel(kernels).packing.block * size_of::<f32>()).next_multiple_of(64)
    }

    /// Packs one block of one right matrix.
    ///
    /// # Safety
    /// Nobody writes to the matrix, and nobody else uses the packed block.
    unsafe fn pack(&self, item: usize, cx: &Context<'_>) {
        let [_, k, n] = self.size;
        let blocks = self.blocks(cx.kernels);
        let block = Self::kernel(cx.kernels).packing.block;
        let [batch_stride, row_stride, column_stride] = [0, 1, 2].map(|index| self.b.strides[index]);
        let start = self.b.at + item / blocks * batch_stride * 4;
        let first = item % blocks * block;
        let columns = block.min(n - first);
        let at = self.packed_at + item * self.block_len(cx.kernels);
        // SAFETY: the caller sees to it.
        let packed = unsafe { cx.memory.floats_mut(at, k * block) };
        let strides = [row_stride, column_stride];
        let start = start + first * column_stride * 4;
        // SAFETY: any bits are a float, and the caller sees to the rest.
        let rows = unsafe { cx.memory.rows::<f32>(start, [k, columns], strides) };
        for (row, packed) in packed.chunks_exact_mut(block).enumerate() {
            if rows.step() == 1 {
                packed[..columns].copy_from_slice(rows.row(row));
            } else {
                for (column, packed) in packed[..columns].iter_mut().enumerate() {
                    *packed = rows.at(row, column);
                }
            }
            packed[columns..].fill(0.0);
        }
    }

    /// Computes some rows of one product.
    ///
    /// # Safety
    /// Nobody writes to the left matrix or the packed one, and nobody else uses the rows of the product.
    unsafe fn multiply(&self, item: usize, cx: &Context<'_>, scratch: &mut [u8]) {
        let [m, k, n] = self.size;
        let kernel = Self::kernel(cx.kernels);
        let block = kernel.packing.block;
        let in_batch = m.div_ceil(ITEM_ROWS);
        let [batch, first] = [item / in_batch, item % in_batch * ITEM_ROWS];
        let rows = first..(first + ITEM_ROWS).min(m);
        let blocks = self.blocks(cx.kernels);
        // SAFETY: any bits are a float.
        let (_, scratch, _) = unsafe { scratch.align_to_mut::<f32>() };
        let scratch = &mut scratch[..kernel.pixels_max * block];
        let row_at = |row: usize| self.output.at + (batch * self.output.strides[0] + row * self.output.strides[1]) * 4;
        for index in 0..blocks {
            let columns = block.min(n - index * block);
            let packed_at = self.packed_at + (batch * blocks + index) * self.block_len(cx.kernels);
            for row in rows.clone().step_by(kernel.pixels_max) {
                let pixels = kernel.pixels_max.min(rows.end - row);
                let input_stride = self.a.strides[1];
                let input_at = self.a.at + (batch * self.a.strides[0] + row * input_stride) * 4;
                let output_at = row_at(row) + index * block * 4;
                for start in (0..k).step_by(SUM_LEN) {
                    let span_len = SUM_LEN.min(k - start);
                    let is_direct = columns == block && start == 0;
                    let (output, output_stride) = match is_direct {
                        true => {
                            let len = (pixels - 1) * self.output.strides[1] + block;
                            (cx.memory.pointer(output_at, len * 4).cast(), self.output.strides[1])
                        }
                        false => (scratch.as_mut_ptr(), block),
                    };
                    let input_len = (pixels - 1) * input_stride + span_len;
                    let tile = FloatTile {
                        input: cx.memory.pointer(input_at + start * 4, input_len * 4).cast(),
                        input_stride,
                        spans: &0,
                        span_count: 1,
                        span_len,
                        weights: cx.memory.pointer(packed_at + start * block * 4, span_len * block * 4).cast(),
                        bias: ZEROS.as_ptr(),
                        pixels,
                        output,
                        output_stride,
                    };
                    // SAFETY: the rows of both matrices and the packed block are in the arena, as `pointer` has seen;
                    // the scratch has room for all pixels of a tile, and there are zeros for the widest block.
                    unsafe { (kernel.run)(&tile) };
                    if is_direct {
                        continue;
                    }
                    for (index, sums) in scratch.chunks_exact(block).take(pixels).enumerate() {
                        let at = output_at + index * self.output.strides[1] * 4;
                        // SAFETY: the caller sees to it.
                        let output = unsafe { cx.memory.floats_mut(at, columns) };
                        match start {
                            0 => output.copy_from_slice(&sums[..columns]),
                            _ => output.iter_mut().zip(sums).for_each(|(output, sum)| *output += *sum),
                        }
                    }
                }
            }
        }
        if !self.post.is_empty() {
            for row in rows {
                // SAFETY: as above.
                loops::finish_floats(cx.kernels.level, unsafe { cx.memory.floats_mut(row_at(row), n) }, &self.post);
            }
        }
    }
}

impl Work for MatMul {
    fn phases(&self) -> usize {
        2
    }

    fn items(&self, phase: usize, cx: &Context<'_>) -> usize {
        match (phase, self.size.contains(&0)) {
            (_, true) => 0,
            (0, _) => self.batch * self.blocks(cx.kernels),
            _ => self.batch * self.size[0].div_ceil(ITEM_ROWS),
        }
    }

    fn scratch_len(&self, kernels: &Kernels) -> usize {
        let kernel = Self::kernel(kernels);
        kernel.pixels_max * kernel.packing.block * size_of::<f32>()
    }

    unsafe fn run(&self, phase: usize, item: usize, cx: &Context<'_>, scratch: &mut [u8]) {
        // SAFETY: the caller sees to it that nobody writes what the step reads; items of a phase have blocks, or rows, of
        // their own.
        unsafe {
            match phase {
                0 => self.pack(item, cx),
                _ => self.multiply(item, cx, scratch),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            super::kernels,
            Element, Unary, View,
            testing::{Fixture, Random},
        },
        *,
    };

    fn step(fixture: &mut Fixture, kernels: &Kernels, size: [usize; 3], transposed: bool) -> MatMul {
        let [m, k, n] = size;
        let mut view = |len: usize, strides: &[usize]| View {
            element: Element::Float,
            at: fixture.take(len * 4),
            strides: strides.to_vec(),
        };
        let a = view(2 * m * (k + 2), &[m * (k + 2), k + 2]);
        let b = match transposed {
            true => view(2 * k * (n + 1), &[k * (n + 1), 1, k]),
            false => view(2 * k * (n + 1), &[k * (n + 1), n + 1, 1]),
        };
        let output = view(2 * m * (n + 3), &[m * (n + 3), n + 3]);
        let post = vec![Unary::Scale { factor: 0.25 }];
        let mut step = MatMul { batch: 2, size, a, b, output, post, packed_at: 0 };
        step.packed_at = fixture.take(step.packed_len(kernels));
        step
    }

    #[test]
    fn as_number_by_number() {
        let random = &mut Random::new(6);
        for kernels in kernels::available() {
            for size in [[1, 1, 1], [33, 32, 40], [70, 9, 65], [5, 40, 100], [64, 3, 7], [9, 300, 40]] {
                for transposed in [false, true] {
                    let mut fixture = Fixture::new(kernels, 1 << 19, random);
                    let step = step(&mut fixture, kernels, size, transposed);
                    let [m, k, n] = size;
                    let mut expected = fixture.bytes();
                    for index in 0..2 * m * n {
                        let [batch, row, column] = [index / (m * n), index / n % m, index % n];
                        let at = |view: &View, index: [usize; 3]| {
                            let strides = view.strides.iter().copied().chain([1]);
                            view.at + 4 * strides.zip(index).map(|(stride, i)| stride * i).sum::<usize>()
                        };
                        let mut sum = 0.0_f32;
                        for start in (0..k).step_by(SUM_LEN) {
                            let mut part = 0.0_f32;
                            for k in start..k.min(start + SUM_LEN) {
                                let a = fixture.float(at(&step.a, [batch, row, k]));
                                part = kernels::fused(a, fixture.float(at(&step.b, [batch, k, column])), part);
                            }
                            sum = if start == 0 { part } else { sum + part };
                        }
                        let at = at(&step.output, [batch, row, column]);
                        expected[at..at + 4].copy_from_slice(&(sum * 0.25).to_ne_bytes());
                    }
                    fixture.run(&step, &[], random);
                    let found = fixture.bytes();
                    assert!(found[..step.packed_at] == expected[..step.packed_at], "{} {size:?}", kernels.name);
                }
            }
        }
    }
}
