//! The program's input as pixels.
#![allow(unsafe_code)]

use super::{
    super::kernels::loops,
    Interleave,
    work::{Context, Inputs, Work},
};

/// A picture as a camera's, instead of a tensor.
#[derive(Clone, Copy, Debug)]
pub struct Pixels<'a> {
    /// Three bytes for each pixel, row after row.
    pub rgb: &'a [u8],
    /// Which byte of a pixel is the model's first channel, which its second, which its third.
    pub channels: [usize; 3],
    /// The number that each byte stands for in the model's input.
    pub numbers: &'a [f32; LEVELS],
}

/// Values of a byte.
const LEVELS: usize = 256;

/// Pixels of an item.
const ITEM_PIXELS: usize = 8 * 1024;

/// Numbers that are quantized at once where there is no loop for the number of channels.
const CHUNK: usize = 512;

impl Interleave {
    fn rows_in_item(&self) -> usize {
        ITEM_PIXELS.div_ceil(self.size[1].max(1))
    }

    /// Codes of one row: `output` has whole pixels.
    fn quantize_row(&self, cx: &Context<'_>, inputs: &[&[f32]], row: usize, output: &mut [u8]) {
        let level = cx.kernels.level;
        let quantizer = self.quantizer.as_ref().expect("bytes have a quantizer, as was checked at load");
        if self.channels == 3 && self.output.pixel == 4 {
            let planes = [0, 1, 2].map(|channel| self.input_row(inputs, channel, row));
            loops::interleave_bytes(level, planes, quantizer, self.fill, output.as_chunks_mut().0);
            return;
        }
        let pixel = self.output.pixel;
        let mut codes = [0; CHUNK];
        for channel in 0..self.channels {
            let numbers = self.input_row(inputs, channel, row).chunks(CHUNK);
            for (numbers, pixels) in numbers.zip(output.chunks_mut(CHUNK * pixel)) {
                let codes = &mut codes[..numbers.len()];
                loops::quantize(level, numbers, quantizer, codes);
                for (code, pixel) in codes.iter().zip(pixels.chunks_exact_mut(pixel)) {
                    pixel[channel] = *code;
                }
            }
        }
        for pixel in output.chunks_exact_mut(pixel) {
            pixel[self.channels..].fill(self.fill);
        }
    }

    fn float_row(&self, cx: &Context<'_>, inputs: &[&[f32]], row: usize, output: &mut [f32]) {
        if self.channels == 3 && self.output.pixel == 3 {
            let planes = [0, 1, 2].map(|channel| self.input_row(inputs, channel, row));
            loops::interleave_floats(cx.kernels.level, planes, output.as_chunks_mut().0);
            return;
        }
        for channel in 0..self.channels {
            let numbers = self.input_row(inputs, channel, row);
            for (x, pixel) in numbers.iter().zip(output.chunks_exact_mut(self.output.pixel)) {
                pixel[channel] = *x;
            }
        }
        for pixel in output.chunks_exact_mut(self.output.pixel) {
            pixel[self.channels..].fill(0.0);
        }
    }

    fn input_row<'a>(&self, inputs: &'a [&'a [f32]], channel: usize, row: usize) -> &'a [f32] {
        let [rows, columns] = self.size;
        &inputs[self.input][(channel * rows + row) * columns..][..columns]
    }

    /// One row of pixels, each byte through a table, in the model's order.
    fn pixel_row<T: Copy>(&self, pixels: &Pixels<'_>, table: &[T; LEVELS], fill: T, row: usize, output: &mut [T]) {
        let columns = self.size[1];
        let [first, second, third] = pixels.channels;
        let (rgb, _) = pixels.rgb[row * columns * 3..][..columns * 3].as_chunks::<3>();
        let look_up = |pixel: &[u8; 3]| [first, second, third].map(|byte| table[usize::from(pixel[byte])]);
        if self.output.pixel == 4 {
            for (pixel, output) in rgb.iter().zip(output.as_chunks_mut::<4>().0) {
                let [first, second, third] = look_up(pixel);
                *output = [first, second, third, fill];
            }
            return;
        }
        for (pixel, output) in rgb.iter().zip(output.chunks_exact_mut(self.output.pixel)) {
            output[..3].copy_from_slice(&look_up(pixel));
            output[3..].fill(fill);
        }
    }

    /// The code of each level.
    fn codes(&self, cx: &Context<'_>, numbers: &[f32; LEVELS]) -> [u8; LEVELS] {
        let quantizer = self.quantizer.as_ref().expect("bytes have a quantizer, as was checked at load");
        let mut codes = [0; LEVELS];
        loops::quantize(cx.kernels.level, numbers, quantizer, &mut codes);
        codes
    }
}

impl Work for Interleave {
    fn items(&self, _: usize, _: &Context<'_>) -> usize {
        self.size[0].div_ceil(self.rows_in_item())
    }

    unsafe fn run(&self, _: usize, item: usize, cx: &Context<'_>, _: &mut [u8]) {
        let [rows, columns] = self.size;
        let first = item * self.rows_in_item();
        let len = columns * self.output.pixel;
        let codes = match cx.inputs {
            Inputs::Pixels(pixels) if self.quantizer.is_some() => self.codes(cx, pixels.numbers),
            _ => [0; LEVELS],
        };
        for row in first..(first + self.rows_in_item()).min(rows) {
            if self.quantizer.is_some() {
                // SAFETY: nobody but this item uses its rows of the output.
                let output = unsafe { cx.memory.bytes_mut(self.output.at + row * self.output.row, len) };
                match &cx.inputs {
                    Inputs::Floats(inputs) => self.quantize_row(cx, inputs, row, output),
                    Inputs::Pixels(pixels) => self.pixel_row(pixels, &codes, self.fill, row, output),
                }
            } else {
                // SAFETY: as above.
                let output = unsafe { cx.memory.floats_mut(self.output.at + row * self.output.row * 4, len) };
                match &cx.inputs {
                    Inputs::Floats(inputs) => self.float_row(cx, inputs, row, output),
                    Inputs::Pixels(pixels) => self.pixel_row(pixels, pixels.numbers, 0.0, row, output),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            super::kernels::{self, Kernels},
            Element, Plane, Quantizer,
            testing::{Fixture, Random},
        },
        *,
    };

    fn check(kernels: &'static Kernels, [channels, pixel]: [usize; 2], size: [usize; 2], bytes: bool) {
        let random = &mut Random::new(5);
        let mut fixture = Fixture::new(kernels, 1 << 19, random);
        let quantizer =
            Quantizer { scale: 1.0 / 255.0, low: 0.0, high: 255.0, offset: if kernels.signed { -128 } else { 0 } };
        let element = if bytes { Element::Byte } else { Element::Float };
        let row = size[1] * pixel + 8;
        let output = Plane { element, at: fixture.take(row * size[0] * element.size()), pixel, row };
        let step = Interleave {
            input: 1,
            channels,
            size,
            output,
            quantizer: bytes.then_some(quantizer),
            fill: if bytes { 9 } else { 0 },
        };
        // Many numbers are exactly between two codes.
        let planes: Vec<f32> = (0..channels * size[0] * size[1])
            .map(|_| (random.below(520) as f32 - 4.0) * 0.5 * quantizer.scale)
            .collect();
        let mut expected = fixture.bytes();
        for y in 0..size[0] {
            for x in 0..size[1] {
                for channel in 0..pixel {
                    let number = planes.get((channel * size[0] + y) * size[1] + x).filter(|_| channel < channels);
                    let at = step.output.at + (y * row + x * pixel + channel) * element.size();
                    if bytes {
                        let code = |number: f32| {
                            let steps = (number / quantizer.scale).clamp(quantizer.low, quantizer.high);
                            (steps.round_ties_even() as i32 + quantizer.offset) as u8
                        };
                        expected[at] = number.map_or(step.fill, |number| code(*number));
                    } else {
                        expected[at..at + 4].copy_from_slice(&number.copied().unwrap_or(0.0).to_ne_bytes());
                    }
                }
            }
        }
        fixture.run(&step, &[&[], &planes], random);
        assert!(fixture.bytes() == expected, "{}: {channels} of {pixel}, {size:?}, {bytes}", kernels.name);
    }

    #[test]
    fn as_number_by_number() {
        for kernels in kernels::available() {
            for bytes in [false, true] {
                for channels in [[3, 4], [3, 3], [1, 4], [1, 1], [4, 4], [3, 16]] {
                    for size in [[1, 1], [3, 37], [40, 100], [5, 700]] {
                        check(kernels, channels, size, bytes);
                    }
                }
            }
        }
    }
}
