//! Convolutions over all channels, tile by tile.
//!
//! An item is one segment of output pixels or a few. In a segment the blocks of channels are the outer loop, so that a
//! block's weights are fetched once for all tiles of the segment.
#![allow(unsafe_code)]

use super::{
    super::kernels::{ByteTile, FloatTile, Kernels, PREFETCHES, Sums, TileKernel, prefetch},
    Block, Conv, Dest, Element, Finish, Weights,
    arena::Memory,
    finish::{Parts, Results, finish},
    segments::{Segment, Segments, Wanted, part},
    work::{Context, Work},
};

/// Bytes of results that a segment has at most, where it does not get too short by that.
const RESULTS_LEN: usize = 20 << 10;
/// Pixels in a segment; with fewer, the weights would be fetched too often.
const PIXELS: std::ops::RangeInclusive<usize> = 48..=160;
/// A multiplication of floats takes as long as so many of bytes.
const FLOAT_COST: u64 = 4;

/// A convolution, and how it is cut for these kernels and so many threads.
#[derive(Debug)]
pub(super) struct TiledConv {
    conv: Conv,
    segments: Segments,
    /// Channels of all blocks.
    padded: usize,
    /// From the first number of a window to behind its last.
    window_len: usize,
    /// Where in a window the rows begin that the window above does not have.
    fresh: Vec<usize>,
    /// Scratch memory, unless tiles are written right where they go.
    parts: Option<Parts>,
}

impl TiledConv {
    /// `conv` has been checked for these kernels.
    pub(super) fn new(conv: Conv, kernels: &Kernels, threads: usize) -> Self {
        let (padded, tile) = match &conv.weights {
            Weights::Bytes { packed, .. } | Weights::BytesToFloats { packed, .. } => extent(packed, kernels.bytes),
            Weights::Floats { packed, .. } => extent(packed, kernels.floats),
        };
        let results = Results { element: conv.result(), pixel: padded };
        let pixels = (RESULTS_LEN / (padded * results.element.size())).clamp(*PIXELS.start(), *PIXELS.end());
        let factors = [padded, conv.spans.len(), conv.span_len];
        let macs = factors.into_iter().fold(1, |macs: u64, factor| macs.saturating_mul(factor as u64));
        let cost = if conv.input.element == Element::Float { FLOAT_COST.saturating_mul(macs) } else { macs };
        let segments = Segments::new(conv.size, Wanted { pixels: pixels / tile * tile, tile, cost, threads });
        let direct = matches!(conv.dests.as_slice(), [dest] if is_direct(dest, &conv, padded));
        let parts = (!direct).then(|| Parts::new(&conv.dests, results, segments.pixels_max()));
        let window_len = conv.spans.iter().max().copied().unwrap_or(0) + conv.span_len;
        let mut rows: Vec<usize> = conv.spans.iter().map(|span| span / conv.input.row * conv.input.row).collect();
        rows.dedup();
        let fresh = rows[rows.len() - rows.len().min(conv.stride[0])..].to_vec();
        Self { conv, segments, padded, window_len, fresh, parts }
    }

    /// Computes the results of a segment.
    ///
    /// # Safety
    /// Nobody writes the input. `sink` may be written for all pixels of the segment and all padded channels.
    unsafe fn compute(&self, kernels: &Kernels, memory: Memory<'_>, segment: &Segment, sink: Pixels) {
        match &self.conv.weights {
            Weights::Bytes { packed, bias, multipliers, low, high, offset } => {
                let becomes = Sums::Bytes { low: *low, high: *high, offset: *offset };
                // SAFETY: as the caller says.
                unsafe { self.bytes(kernels.bytes, memory, segment, sink, (packed, bias, multipliers, becomes)) };
            }
            Weights::BytesToFloats { packed, bias, multipliers } => {
                // SAFETY: as above.
                unsafe { self.bytes(kernels.bytes, memory, segment, sink, (packed, bias, multipliers, Sums::Floats)) };
            }
            // SAFETY: as above.
            Weights::Floats { packed, bias } => unsafe {
                self.floats(kernels.floats, memory, segment, sink, (packed, bias));
            },
        }
    }

    /// # Safety
    /// As [`Self::compute`].
    unsafe fn bytes(
        &self,
        kernels: &[TileKernel<ByteTile>],
        memory: Memory<'_>,
        segment: &Segment,
        sink: Pixels,
        (packed, bias, multipliers, becomes): (&[Block], &[i32], &[f32], Sums),
    ) {
        let size = if becomes == Sums::Floats { size_of::<f32>() } else { 1 };
        let windows = self.windows(memory, segment);
        self.each_tile(packed, kernels, memory, segment, |block, index, at| {
            let kernel = &kernels[block.kernel];
            let tile = ByteTile {
                input: windows.at(segment, at, 0),
                input_stride: self.conv.stride[1] * self.conv.input.pixel,
                spans: self.conv.spans.as_ptr(),
                span_count: self.conv.spans.len(),
                span_groups: block.packed.span_groups,
                weights: block.packed.block(index),
                bias: bias[at.channel..at.channel + kernel.packing.block].as_ptr(),
                multipliers: multipliers[at.channel..at.channel + kernel.packing.block].as_ptr(),
                pixels: at.pixels,
                output: sink.at(segment, at, at.channel * size),
                output_stride: sink.pixel,
                becomes,
            };
            // SAFETY: `windows` holds all that the pixels read inside the arena, which is followed by the slack that a
            // group may need; slices, and the check of the packed weights at load, hold the other operands; the sink is
            // the caller's, who says that nobody writes the input.
            unsafe { (kernel.run)(&tile) };
        });
    }

    /// # Safety
    /// As [`Self::compute`].
    unsafe fn floats(
        &self,
        kernels: &[TileKernel<FloatTile>],
        memory: Memory<'_>,
        segment: &Segment,
        sink: Pixels,
        (packed, bias): (&[Block], &[f32]),
    ) {
        let windows = self.windows(memory, segment);
        self.each_tile(packed, kernels, memory, segment, |block, index, at| {
            let kernel = &kernels[block.kernel];
            let tile = FloatTile {
                input: windows.at(segment, at, 0).cast(),
                input_stride: self.conv.stride[1] * self.conv.input.pixel,
                spans: self.conv.spans.as_ptr(),
                span_count: self.conv.spans.len(),
                span_len: self.conv.span_len,
                weights: block.packed.block(index).cast(),
                bias: bias[at.channel..at.channel + kernel.packing.block].as_ptr(),
                pixels: at.pixels,
                output: sink.at(segment, at, at.channel * size_of::<f32>()).cast(),
                output_stride: sink.pixel / size_of::<f32>(),
            };
            // SAFETY: as for bytes; that planes of floats are aligned was checked at load.
            unsafe { (kernel.run)(&tile) };
        });
    }

    /// Calls `tile` with each block, its index in its packed weights and where the tile is.
    fn each_tile<T>(
        &self,
        packed: &[Block],
        kernels: &[TileKernel<T>],
        memory: Memory<'_>,
        segment: &Segment,
        mut tile: impl FnMut(&Block, usize, TileAt),
    ) {
        let mut channel = 0;
        for block in packed {
            let TileKernel { pixels_max, packing, .. } = &kernels[block.kernel];
            let columns = segment.columns.len();
            let tiles = columns.div_ceil(*pixels_max);
            for index in 0..block.count {
                for row in segment.rows.clone() {
                    for columns in (0..tiles).map(|index| part(columns, tiles, index)) {
                        let column = segment.columns.start + columns.start;
                        let at = TileAt { row, column, pixels: columns.len(), channel };
                        if PREFETCHES && channel == 0 {
                            self.fetch_next(memory, segment, at);
                        }
                        tile(block, index, at);
                    }
                }
                channel += packing.block;
            }
        }
    }

    /// Brings near what the tile after this one reads and no row of pixels above it has read, while this one is computed:
    /// what lies far apart, as the pixels of a stride of two do, no processor fetches by itself.
    fn fetch_next(&self, memory: Memory<'_>, segment: &Segment, at: TileAt) {
        let Conv { input, stride, .. } = &self.conv;
        let next = at.column + at.pixels;
        let (row, columns) = match next < segment.columns.end {
            true => (at.row, next..segment.columns.end.min(next + at.pixels)),
            false => (at.row + 1, segment.columns.start..segment.columns.start + at.pixels),
        };
        if row >= segment.rows.end {
            return;
        }
        let first = row * stride[0] * input.row + columns.start * stride[1] * input.pixel;
        let len = columns.len() * stride[1] * input.pixel * input.element.size();
        for fresh in &self.fresh {
            prefetch(memory.pointer(input.at + (first + fresh) * input.element.size(), 0), len);
        }
    }

    /// What a segment's pixels read.
    fn windows(&self, memory: Memory<'_>, segment: &Segment) -> Pixels {
        let Conv { input, stride, .. } = &self.conv;
        let size = input.element.size();
        let [row, pixel] = [stride[0] * input.row * size, stride[1] * input.pixel * size];
        let at = input.at + segment.rows.start * row + segment.columns.start * pixel;
        let last = (segment.rows.len() - 1) * row + (segment.columns.len() - 1) * pixel;
        Pixels { start: memory.pointer(at, last + self.window_len * size), row, pixel }
    }
}

/// Where a tile is in the result.
#[derive(Clone, Copy)]
struct TileAt {
    row: usize,
    column: usize,
    pixels: usize,
    channel: usize,
}

/// Where the pixels of a segment are read or written; distances in bytes.
#[derive(Clone, Copy)]
struct Pixels {
    start: *mut u8,
    row: usize,
    pixel: usize,
}

impl Pixels {
    /// A tile's first pixel, or so many bytes after it.
    fn at(&self, segment: &Segment, at: TileAt, offset: usize) -> *mut u8 {
        let row = at.row.wrapping_sub(segment.rows.start).wrapping_mul(self.row);
        let column = at.column.wrapping_sub(segment.columns.start).wrapping_mul(self.pixel);
        self.start.wrapping_add(row).wrapping_add(column).wrapping_add(offset)
    }
}

impl Conv {
    /// What its tiles write.
    fn result(&self) -> Element {
        match self.weights {
            Weights::Bytes { .. } => Element::Byte,
            Weights::BytesToFloats { .. } | Weights::Floats { .. } => Element::Float,
        }
    }
}

/// Channels of all blocks, and the most pixels of a tile of the first.
fn extent<T>(packed: &[Block], kernels: &[TileKernel<T>]) -> (usize, usize) {
    let padded = packed.iter().map(|block| block.count * kernels[block.kernel].packing.block).sum();
    (padded, packed.first().map_or(1, |block| kernels[block.kernel].pixels_max))
}

/// Whether tiles can be written right to the only dest: it takes the results as they are, and no block reaches past its
/// channels.
fn is_direct(dest: &Dest, conv: &Conv, padded: usize) -> bool {
    let as_it_is = match &dest.finish {
        Finish::Table(table) => table.is_none(),
        Finish::Floats(functions) => functions.is_empty(),
        Finish::Values(_) | Finish::Quantized(..) => false,
    };
    as_it_is && dest.channels == (0..padded) && padded == conv.channels
}

impl Work for TiledConv {
    fn items(&self, _: usize, _: &Context<'_>) -> usize {
        self.segments.items()
    }

    fn scratch_len(&self, _: &Kernels) -> usize {
        self.parts.map_or(0, Parts::len)
    }

    unsafe fn run(&self, _: usize, item: usize, cx: &Context<'_>, scratch: &mut [u8]) {
        for segment in self.segments.of_item(item) {
            let Some(parts) = self.parts else {
                let plane = &self.conv.dests[0].plane;
                let size = plane.element.size();
                let [row, pixel] = [plane.row * size, plane.pixel * size];
                let at = plane.at + segment.rows.start * row + segment.columns.start * pixel;
                let len = (segment.rows.len() - 1) * row + (segment.columns.len() - 1) * pixel + self.padded * size;
                let sink = Pixels { start: cx.memory.pointer(at, len), row, pixel };
                // SAFETY: the dest takes all padded channels, no other item has these pixels, and the check at load
                // keeps the dest apart from the input.
                unsafe { self.compute(cx.kernels, cx.memory, &segment, sink) };
                continue;
            };
            let mut scratch = parts.split(scratch);
            let results = Results { element: self.conv.result(), pixel: self.padded };
            let pixel = self.padded * results.element.size();
            let len = segment.pixels() * pixel;
            let sink = Pixels { start: scratch.results[..len].as_mut_ptr(), row: segment.columns.len() * pixel, pixel };
            // SAFETY: the results have room for the segment; nobody writes the input, from which the check at load
            // keeps all dests apart.
            unsafe { self.compute(cx.kernels, cx.memory, &segment, sink) };
            for dest in &self.conv.dests {
                // SAFETY: no other item has these pixels, and the check at load keeps the dests apart.
                unsafe { finish(cx.kernels, cx.memory, dest, &segment, results, &mut scratch) };
            }
        }
    }
}
