//! Convolutions of each channel on its own, row by row.
#![allow(unsafe_code)]

use super::{
    super::kernels::{
        Kernels,
        loops::{Codes, DepthwiseBlocks, DepthwiseRow, depthwise_bytes, depthwise_bytes_to_floats, depthwise_floats},
    },
    Depthwise, DepthwiseWeights, Element,
    arena::Memory,
    check,
    finish::{Parts, Results, finish, floats, floats_mut},
    segments::{Segment, Segments, Wanted},
    work::{Context, Work},
};

/// Bytes of results that a segment has at most.
const RESULTS_LEN: usize = 16 << 10;
/// A multiplication takes as long as so many in a convolution over all channels.
const COST: u64 = 5;

/// A convolution, and how it is cut for so many threads.
#[derive(Debug)]
pub(super) struct CutDepthwise {
    depthwise: Depthwise,
    segments: Segments,
    results: Results,
    /// Where in a window the taps are, as the windows are given to the kernels.
    taps: Vec<usize>,
    /// From one of these windows to the next.
    step: usize,
    /// From the first number of a window to behind its last.
    window_len: usize,
    /// Bytes for the windows of a row where they are gathered: where other items may write between their numbers.
    gathered_len: Option<usize>,
    parts: Parts,
    /// The faster way for bytes to bytes, where there is one.
    blocks: Option<DepthwiseBlocks>,
}

impl CutDepthwise {
    /// `depthwise` has been checked.
    pub(super) fn new(depthwise: Depthwise, kernels: &Kernels, threads: usize) -> Self {
        let element = match depthwise.weights {
            DepthwiseWeights::Bytes { .. } => Element::Byte,
            DepthwiseWeights::BytesToFloats { .. } | DepthwiseWeights::Floats { .. } => Element::Float,
        };
        let results = Results { element, pixel: depthwise.channels };
        let pixels = (RESULTS_LEN / (depthwise.channels * element.size())).max(16);
        let cost = COST * (depthwise.channels * depthwise.taps.len()) as u64;
        let segments = Segments::new(depthwise.size, Wanted { pixels, tile: 1, cost, threads });
        let parts = Parts::new(&depthwise.dests, results, segments.pixels_max());
        let gathers = !check::are_windows_apart(&depthwise);
        let (taps, step) = match gathers {
            false => (depthwise.taps.clone(), depthwise.stride[1] * depthwise.input.pixel),
            // One tap after the other.
            true => {
                let taps = (0..depthwise.taps.len()).map(|tap| tap * depthwise.channels);
                (taps.collect(), depthwise.taps.len() * depthwise.channels)
            }
        };
        let window_len = taps.iter().max().copied().unwrap_or(0) + depthwise.channels;
        let pixel_len = window_len * depthwise.input.element.size();
        let gathered_len = gathers.then(|| (segments.pixels_max() * pixel_len).next_multiple_of(64));
        let blocks = match &depthwise.weights {
            DepthwiseWeights::Bytes { weights, bias, multipliers, low, high, offset } => {
                let codes = Codes { multipliers, low: *low, high: *high, offset: *offset };
                DepthwiseBlocks::new(kernels, &taps, weights, bias, codes)
            }
            _ => None,
        };
        Self { depthwise, segments, results, taps, step, window_len, gathered_len, parts, blocks }
    }

    /// What the windows of a row of pixels span, from the byte `at` on: as it lies, or gathered.
    ///
    /// # Safety
    /// Nobody writes the input.
    unsafe fn windows<'a>(&self, memory: Memory<'a>, at: usize, pixels: usize, gathered: &'a mut [u8]) -> &'a [u8] {
        let Depthwise { input, stride, taps, channels, .. } = &self.depthwise;
        let size = input.element.size();
        let len = ((pixels - 1) * self.step + self.window_len) * size;
        if self.gathered_len.is_none() {
            // SAFETY: nobody writes the input, nor what lies between the numbers that the windows read.
            return unsafe { memory.bytes(at, len) };
        }
        let gathered = &mut gathered[..len];
        let pixel = stride[1] * input.pixel;
        let starts = (0..pixels).flat_map(|column| taps.iter().map(move |tap| at + (column * pixel + tap) * size));
        for (start, numbers) in starts.zip(gathered.chunks_exact_mut(channels * size)) {
            // SAFETY: as the caller says.
            numbers.copy_from_slice(unsafe { memory.bytes(start, channels * size) });
        }
        gathered
    }

    /// Computes the results of a segment, side by side. `gathered` has room for the windows of a row.
    ///
    /// # Safety
    /// Nobody writes the input.
    unsafe fn compute(
        &self,
        kernels: &Kernels,
        memory: Memory<'_>,
        segment: &Segment,
        results: &mut [u8],
        gathered: &mut [u8],
    ) {
        let Depthwise { input, stride, channels, weights, .. } = &self.depthwise;
        let (taps, step) = (&self.taps, self.step);
        let row_len = segment.columns.len() * channels * self.results.element.size();
        for (row, output) in segment.rows.clone().zip(results.chunks_exact_mut(row_len)) {
            let offset = row * stride[0] * input.row + segment.columns.start * stride[1] * input.pixel;
            let at = input.at + offset * input.element.size();
            // SAFETY: as the caller says.
            let input = unsafe { self.windows(memory, at, segment.columns.len(), gathered) };
            match weights {
                DepthwiseWeights::Floats { weights, bias } => {
                    let row = DepthwiseRow { input: floats(input), stride: step, taps, weights, bias };
                    depthwise_floats(kernels.level, row, floats_mut(output));
                }
                DepthwiseWeights::Bytes { weights, bias, multipliers, low, high, offset } => {
                    if let Some(blocks) = &self.blocks {
                        blocks.run(input, step, output);
                        continue;
                    }
                    let row = DepthwiseRow { input, stride: step, taps, weights, bias };
                    let codes = Codes { multipliers, low: *low, high: *high, offset: *offset };
                    match kernels.signed {
                        true => depthwise_bytes::<true>(kernels.level, row, codes, output),
                        false => depthwise_bytes::<false>(kernels.level, row, codes, output),
                    }
                }
                DepthwiseWeights::BytesToFloats { weights, bias, multipliers } => {
                    let row = DepthwiseRow { input, stride: step, taps, weights, bias };
                    match kernels.signed {
                        true => depthwise_bytes_to_floats::<true>(kernels.level, row, multipliers, floats_mut(output)),
                        false => {
                            depthwise_bytes_to_floats::<false>(kernels.level, row, multipliers, floats_mut(output))
                        }
                    }
                }
            }
        }
    }
}

impl Work for CutDepthwise {
    fn items(&self, _: usize, _: &Context<'_>) -> usize {
        self.segments.items()
    }

    fn scratch_len(&self, _: &Kernels) -> usize {
        self.gathered_len.unwrap_or(0) + self.parts.len()
    }

    unsafe fn run(&self, _: usize, item: usize, cx: &Context<'_>, scratch: &mut [u8]) {
        let (gathered, scratch) = scratch.split_at_mut(self.gathered_len.unwrap_or(0));
        for segment in self.segments.of_item(item) {
            let mut scratch = self.parts.split(scratch);
            let len = segment.pixels() * self.depthwise.channels * self.results.element.size();
            // SAFETY: nobody writes the input, from which the check at load keeps all dests apart.
            unsafe { self.compute(cx.kernels, cx.memory, &segment, &mut scratch.results[..len], gathered) };
            for dest in &self.depthwise.dests {
                // SAFETY: no other item has these pixels, and the check at load keeps the dests apart.
                unsafe { finish(cx.kernels, cx.memory, dest, &segment, self.results, &mut scratch) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            super::kernels,
            Dest, Finish, Plane,
            testing::{Fixture, Random},
        },
        *,
    };

    fn weights(kind: usize, taps: usize, channels: usize, kernels: &Kernels) -> DepthwiseWeights {
        let len = taps * channels;
        let bytes: Vec<i8> = (0..len).map(|index| (index * 37 % 15) as i8 - 7).collect();
        let (bias, multipliers) = (vec![5; channels], vec![0.01; channels]);
        let offset = if kernels.signed { 0 } else { 128 };
        match kind {
            0 => DepthwiseWeights::Bytes { weights: bytes, bias, multipliers, low: -90.0, high: 90.0, offset },
            1 => DepthwiseWeights::BytesToFloats { weights: bytes, bias, multipliers },
            _ => DepthwiseWeights::Floats {
                weights: bytes.iter().map(|weight| f32::from(*weight) * 0.1).collect(),
                bias: vec![0.5; channels],
            },
        }
    }

    /// Results among other channels of the pixels that are read are those that lie elsewhere.
    fn check(kernels: &'static Kernels, kind: usize, channels: usize, random: &mut Random) {
        const ROWS: usize = 13;
        const COLUMNS: usize = 40;
        let element = if kind == 2 { Element::Float } else { Element::Byte };
        let written = if kind == 0 { Element::Byte } else { Element::Float };
        let mut fixture = Fixture::new(kernels, 1 << 20, random);
        // Pixels are as long in either type.
        let pixel_len = 4 * (2 * channels + 3);
        let plane = |element: Element, at: usize| {
            let pixel = pixel_len / element.size();
            Plane { element, at, pixel, row: pixel * COLUMNS }
        };
        let input = plane(element, fixture.take(ROWS * COLUMNS * pixel_len));
        let Plane { pixel, row, .. } = input;
        let size = [ROWS - 2, COLUMNS - 2];
        let taps: Vec<usize> = (0..9).map(|tap| tap / 3 * row + tap % 3 * pixel).collect();
        let finish = if kind == 0 { Finish::Table(None) } else { Finish::Floats(Vec::new()) };
        let apart = plane(written, fixture.take(ROWS * COLUMNS * pixel_len));
        let among = plane(written, input.at + (channels * element.size()).next_multiple_of(4));
        let step = |plane: Plane| Depthwise {
            input,
            stride: [1, 1],
            size,
            taps: taps.clone(),
            channels,
            weights: weights(kind, taps.len(), channels, kernels),
            dests: vec![Dest { channels: 0..channels, plane, finish: finish.clone() }],
        };
        let mut results = Vec::new();
        for plane in [apart, among] {
            let cut = CutDepthwise::new(step(plane), kernels, 3);
            assert_eq!(cut.gathered_len.is_some(), plane == among);
            fixture.run(&cut, &[], random);
            let bytes = fixture.bytes();
            let found: Vec<Vec<u8>> = (0..size[0] * size[1])
                .map(|index| plane.at + (index / size[1] * plane.row + index % size[1] * plane.pixel) * written.size())
                .map(|at| bytes[at..at + channels * written.size()].to_vec())
                .collect();
            results.push(found);
        }
        assert!(results[0] == results[1], "{} {kind} {channels}", kernels.name);
    }

    #[test]
    fn results_may_lie_among_the_pixels_that_are_read() {
        let mut random = Random::new(11);
        for kernels in kernels::available() {
            for channels in [1, 5, 16, 64, 80] {
                (0..3).for_each(|kind| check(kernels, kind, channels, &mut random));
            }
        }
    }
}
