//! The largest numbers of windows.
#![allow(unsafe_code)]

use super::{
    super::kernels::{
        Kernels,
        loops::{self, Ordered},
    },
    Element, MaxPool, Plane,
    work::{Context, Work},
};

/// Numbers of the output in an item, and at least one row.
const ITEM_LEN: usize = 8 * 1024;

impl MaxPool {
    fn rows_in_item(&self) -> usize {
        ITEM_LEN.div_ceil((self.size[1] * self.channels).max(1))
    }

    /// Rows of the output, each from the largest numbers of the columns of the input's rows that it looks at.
    ///
    /// # Safety
    /// Nobody writes to the input, and nobody else uses the item's rows of the output.
    unsafe fn run_item<T: Ordered>(&self, item: usize, cx: &Context<'_>, scratch: &mut [u8]) {
        let level = cx.kernels.level;
        // SAFETY: any bits are a number.
        let (_, best, _) = unsafe { scratch.align_to_mut::<T>() };
        let best = &mut best[..self.input_size[1] * self.channels];
        let window = [self.kernel[1], self.stride[1], self.pads[1]];
        let first = item * self.rows_in_item();
        for row in first..(first + self.rows_in_item()).min(self.size[0]) {
            let start = row * self.stride[0];
            let end = (start + self.kernel[0]).saturating_sub(self.pads[0]).min(self.input_size[0]);
            best.fill(T::LOWEST);
            for input in start.saturating_sub(self.pads[0])..end {
                let size = [self.input_size[1], self.channels];
                let at = row_start(&self.input, input);
                // SAFETY: any bits are a number, and the caller sees to the rest.
                loops::max_rows(level, unsafe { cx.memory.rows::<T>(at, size, [self.input.pixel, 1]) }, best);
            }
            let size = [self.size[1], self.channels];
            let at = row_start(&self.output, row);
            // SAFETY: as above.
            let rows = unsafe { cx.memory.rows_mut::<T>(at, size, [self.output.pixel, 1]) };
            loops::max_windows(level, best, window, rows);
        }
    }
}

/// Where a row of pixels begins, in bytes from the start of the arena.
fn row_start(plane: &Plane, row: usize) -> usize {
    plane.at + row * plane.row * plane.element.size()
}

impl Work for MaxPool {
    fn items(&self, _: usize, _: &Context<'_>) -> usize {
        match self.size[1] * self.channels * self.input_size[1] {
            0 => 0,
            _ => self.size[0].div_ceil(self.rows_in_item()),
        }
    }

    fn scratch_len(&self, _: &Kernels) -> usize {
        self.input_size[1] * self.channels * self.input.element.size()
    }

    unsafe fn run(&self, _: usize, item: usize, cx: &Context<'_>, scratch: &mut [u8]) {
        // SAFETY: the caller sees to it that nobody writes what the step reads; items have rows of their own.
        unsafe {
            match self.input.element {
                Element::Byte if cx.kernels.signed => self.run_item::<i8>(item, cx, scratch),
                Element::Byte => self.run_item::<u8>(item, cx, scratch),
                Element::Float => self.run_item::<f32>(item, cx, scratch),
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

    fn check(
        kernels: &'static Kernels,
        element: Element,
        channels: usize,
        shape: [[usize; 2]; 4],
        random: &mut Random,
    ) {
        let [input_size, kernel, stride, pads] = shape;
        let size = [0, 1].map(|axis| (input_size[axis] + 2 * pads[axis] - kernel[axis]) / stride[axis] + 1);
        let mut fixture = Fixture::new(kernels, 1 << 19, random);
        // Both are in the same pixels, the output behind the input.
        let pixel = 2 * channels + 3;
        let row = pixel * input_size[1].max(size[1]);
        let at = fixture.take(row * input_size[0].max(size[0]) * element.size());
        let input = Plane { element, at, pixel, row };
        let output = Plane { at: at + channels * element.size(), ..input };
        let step = MaxPool { input, input_size, output, size, channels, kernel, stride, pads };
        let mut expected = fixture.bytes();
        for index in 0..size[0] * size[1] * channels {
            let [y, x, channel] = [index / channels / size[1], index / channels % size[1], index % channels];
            let mut best: Option<(f32, usize)> = None;
            for tap in 0..kernel[0] * kernel[1] {
                let y = (y * stride[0] + tap / kernel[1]).wrapping_sub(pads[0]);
                let x = (x * stride[1] + tap % kernel[1]).wrapping_sub(pads[1]);
                if y < input_size[0] && x < input_size[1] {
                    let at = input.at + (y * row + x * pixel + channel) * element.size();
                    let number = match element {
                        Element::Byte if kernels.signed => f32::from(fixture.byte(at) as i8),
                        Element::Byte => f32::from(fixture.byte(at)),
                        Element::Float => fixture.float(at),
                    };
                    if best.is_none_or(|(best, _)| number > best) {
                        best = Some((number, at));
                    }
                }
            }
            let from = best.unwrap().1;
            let at = output.at + (y * row + x * pixel + channel) * element.size();
            expected.copy_within(from..from + element.size(), at);
        }
        fixture.run(&step, &[], random);
        assert!(fixture.bytes() == expected, "{}: {element:?} {channels} {shape:?}", kernels.name);
    }

    #[test]
    fn as_number_by_number() {
        let random = &mut Random::new(4);
        for kernels in kernels::available() {
            for element in [Element::Byte, Element::Float] {
                for channels in [1, 16, 33, 128] {
                    check(kernels, element, channels, [[20, 20], [5, 5], [1, 1], [2, 2]], random);
                    check(kernels, element, channels, [[8, 6], [2, 2], [2, 2], [0, 0]], random);
                    check(kernels, element, channels, [[9, 7], [3, 3], [2, 2], [1, 1]], random);
                    check(kernels, element, channels, [[3, 2], [5, 3], [1, 2], [2, 1]], random);
                }
            }
        }
    }
}
