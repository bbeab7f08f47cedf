//! Brings the results of a convolution from a thread's scratch memory to where they go.
//!
//! Functions of many numbers want neighbours. So channels that go elsewhere are first brought side by side, and pixels
//! that are wider where they go than what goes there are written by a last copy.
#![allow(unsafe_code)]

use super::{
    super::kernels::{Kernels, loops},
    Dest, Element, Finish, Plane,
    arena::Memory,
    segments::Segment,
};

/// Bytes of the parts of the scratch memory for one segment: the results, channels side by side, these after a
/// function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parts([usize; 3]);

/// The parts themselves.
pub(super) struct Scratch<'a> {
    /// The convolution's results, pixel by pixel.
    pub(super) results: &'a mut [u8],
    gathered: &'a mut [u8],
    finished: &'a mut [u8],
}

/// What the results of a segment are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Results {
    pub(super) element: Element,
    /// From one pixel to the next, in elements.
    pub(super) pixel: usize,
}

impl Parts {
    /// For segments of up to so many pixels.
    pub(super) fn new(dests: &[Dest], results: Results, pixels_max: usize) -> Self {
        let most = dests.iter().map(|dest| dest.channels.len()).max().unwrap_or(0);
        let written = dests.iter().map(|dest| dest.channels.len() * dest.plane.element.size()).max().unwrap_or(0);
        let size = results.element.size();
        let bytes = [results.pixel * size, most * size, written].map(|len| (pixels_max * len).next_multiple_of(64));
        Self(bytes)
    }

    pub(super) fn len(self) -> usize {
        self.0.iter().sum()
    }

    pub(super) fn split(self, scratch: &mut [u8]) -> Scratch<'_> {
        let (results, rest) = scratch.split_at_mut(self.0[0]);
        let (gathered, rest) = rest.split_at_mut(self.0[1]);
        Scratch { results, gathered, finished: &mut rest[..self.0[2]] }
    }
}

/// Writes what one dest takes of a segment's results.
///
/// # Safety
/// Nobody else uses what the dest says of the pixels of the segment.
pub(super) unsafe fn finish(
    kernels: &Kernels,
    memory: Memory<'_>,
    dest: &Dest,
    segment: &Segment,
    results: Results,
    scratch: &mut Scratch<'_>,
) {
    let channels = dest.channels.len();
    let size = results.element.size();
    let len = segment.pixels() * channels;
    let place = Place { memory, plane: &dest.plane, segment, channels };
    let source = Pixels { bytes: scratch.results, start: dest.channels.start * size, step: results.pixel * size };
    let plain = match &dest.finish {
        Finish::Table(table) => table.is_none(),
        Finish::Floats(functions) => functions.is_empty(),
        Finish::Values(_) | Finish::Quantized(..) => false,
    };
    // SAFETY: the place is the caller's, in all that follows.
    unsafe {
        if plain {
            place.put(source, |from, step, to, to_step, size| copy_pixels(from, step, to, to_step, size));
            return;
        }
        if let (Finish::Table(Some(table)), Some(look_up_rows)) = (&dest.finish, kernels.look_up_rows) {
            place.put(source, |from, step, to, to_step, size| look_up_rows(from, step, to, to_step, size, table));
            return;
        }
        let whole = channels == results.pixel;
        let in_place = matches!(dest.finish, Finish::Floats(_) | Finish::Quantized(..));
        let gathered = &mut scratch.gathered[..len * size];
        if !whole || in_place {
            gather(source, channels * size, gathered);
        }
        match &dest.finish {
            Finish::Floats(functions) => {
                loops::finish_floats(kernels.level, floats_mut(gathered), functions);
                place.put(
                    Pixels { bytes: gathered, start: 0, step: channels * size },
                    |from, step, to, to_step, size| copy_pixels(from, step, to, to_step, size),
                );
            }
            Finish::Quantized(functions, quantizer) => {
                loops::finish_floats(kernels.level, floats_mut(gathered), functions);
                place.write(scratch.finished, |start, output| {
                    let input = &floats(gathered)[start..start + output.len()];
                    loops::quantize(kernels.level, input, quantizer, output);
                });
            }
            Finish::Table(Some(table)) => {
                let input = if whole { &scratch.results[..len] } else { gathered };
                place.write(scratch.finished, |start, output| {
                    let input = &input[start..start + output.len()];
                    // SAFETY: both slices have the length, and lie apart since one of them is written.
                    (kernels.look_up)(input.as_ptr(), output.as_mut_ptr(), output.len(), table);
                });
            }
            Finish::Values(values) => {
                let input = if whole { &scratch.results[..len] } else { gathered };
                place.write(scratch.finished, |start, output| {
                    let output = floats_mut(output);
                    let start = start / size_of::<f32>();
                    loops::values(kernels.level, &input[start..start + output.len()], values, output);
                });
            }
            Finish::Table(None) => {}
        }
    }
}

/// Pixels of which a part is to be taken, in bytes.
#[derive(Clone, Copy)]
struct Pixels<'a> {
    bytes: &'a [u8],
    start: usize,
    step: usize,
}

/// Where the pixels of a segment go.
struct Place<'a> {
    memory: Memory<'a>,
    plane: &'a Plane,
    segment: &'a Segment,
    channels: usize,
}

impl Place<'_> {
    /// Bytes of what goes to a pixel.
    fn len(&self) -> usize {
        self.channels * self.plane.element.size()
    }

    /// Runs of pixels that lie at even distances: the first pixel's index in the segment, how many, where.
    fn runs(&self) -> impl Iterator<Item = (usize, usize, usize)> + '_ {
        let Segment { rows, columns } = self.segment;
        let dense = self.plane.row == columns.len() * self.plane.pixel;
        let (count, pixels) = if dense { (1, self.segment.pixels()) } else { (rows.len(), columns.len()) };
        let size = self.plane.element.size();
        let first = rows.start * self.plane.row + columns.start * self.plane.pixel;
        (0..count).map(move |row| (row * columns.len(), pixels, self.plane.at + (first + row * self.plane.row) * size))
    }

    /// Lets `copy` bring a part of each pixel here; it is called as [`copy_pixels`].
    ///
    /// # Safety
    /// The place is the caller's.
    unsafe fn put(&self, source: Pixels<'_>, copy: impl Fn(*const u8, usize, *mut u8, usize, [usize; 2])) {
        let (len, step) = (self.len(), self.plane.pixel * self.plane.element.size());
        for (first, pixels, at) in self.runs() {
            let start = source.start + first * source.step;
            assert!(start + (pixels - 1) * source.step + len <= source.bytes.len(), "the results have these pixels");
            // SAFETY: the assertion and `pointer` hold all pixels inside, and a thread's scratch is not in the arena.
            unsafe {
                let output = self.memory.pointer(at, (pixels - 1) * step + len);
                copy(source.bytes.as_ptr().add(start), source.step, output, step, [pixels, len]);
            }
        }
    }

    /// Lets `fill` write all numbers, told at which byte of the segment's numbers a slice begins: right where they go,
    /// or else in between.
    ///
    /// # Safety
    /// The place is the caller's.
    unsafe fn write(&self, between: &mut [u8], mut fill: impl FnMut(usize, &mut [u8])) {
        let len = self.len();
        if self.plane.pixel == self.channels {
            for (first, pixels, at) in self.runs() {
                // SAFETY: as the caller says.
                fill(first * len, unsafe { self.memory.bytes_mut(at, pixels * len) });
            }
        } else {
            let between = &mut between[..self.segment.pixels() * len];
            fill(0, between);
            // SAFETY: as the caller says.
            unsafe {
                self.put(Pixels { bytes: between, start: 0, step: len }, |from, step, to, to_step, size| {
                    copy_pixels(from, step, to, to_step, size)
                })
            };
        }
    }
}

/// Brings parts of pixels side by side, `len` bytes of each.
fn gather(source: Pixels<'_>, len: usize, output: &mut [u8]) {
    let pixels = output.len() / len;
    assert!(source.start + (pixels - 1) * source.step + len <= source.bytes.len(), "the results have these pixels");
    // SAFETY: the assertion holds the source, the division the output; slices of which one is written lie apart.
    unsafe {
        copy_pixels(source.bytes.as_ptr().add(source.start), source.step, output.as_mut_ptr(), len, [pixels, len])
    };
}

/// Copies `len` bytes of each of `pixels` pixels, which lie so far apart.
///
/// # Safety
/// All pixels may be read and written, and the two lie apart.
unsafe fn copy_pixels(
    mut input: *const u8,
    input_step: usize,
    mut output: *mut u8,
    output_step: usize,
    [pixels, len]: [usize; 2],
) {
    if input_step == len && output_step == len {
        // SAFETY: as the caller says.
        unsafe { input.copy_to_nonoverlapping(output, len * pixels) };
        return;
    }
    for _ in 0..pixels {
        // SAFETY: as the caller says; past the last pixel the pointers are not followed.
        unsafe {
            match len {
                16.. => copy::<16>(input, output, len),
                8.. => copy::<8>(input, output, len),
                4.. => copy::<4>(input, output, len),
                _ => copy::<1>(input, output, len),
            }
        }
        input = input.wrapping_add(input_step);
        output = output.wrapping_add(output_step);
    }
}

/// Copies `len` bytes by `N` at a time, the last of which may have been copied before; `len` is at least `N`.
///
/// # Safety
/// So many may be read and written, and the two lie apart.
#[inline(always)]
unsafe fn copy<const N: usize>(input: *const u8, output: *mut u8, len: usize) {
    let mut at = 0;
    while at + N <= len {
        // SAFETY: the condition keeps it inside.
        unsafe { output.add(at).cast::<[u8; N]>().write(input.add(at).cast::<[u8; N]>().read()) };
        at += N;
    }
    if at < len {
        // SAFETY: `len` is at least `N`.
        unsafe { output.add(len - N).cast::<[u8; N]>().write(input.add(len - N).cast::<[u8; N]>().read()) };
    }
}

/// The floats in aligned bytes.
pub(super) fn floats(bytes: &[u8]) -> &[f32] {
    // SAFETY: any bits are a float.
    let (before, floats, _) = unsafe { bytes.align_to() };
    assert!(before.is_empty(), "scratch memory and planes of floats are aligned");
    floats
}

/// As [`floats`].
pub(super) fn floats_mut(bytes: &mut [u8]) -> &mut [f32] {
    // SAFETY: as above, and any float is bytes.
    let (before, floats, _) = unsafe { bytes.align_to_mut() };
    assert!(before.is_empty(), "scratch memory and planes of floats are aligned");
    floats
}
