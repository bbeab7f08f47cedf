//! Writes the padding around planes.
#![allow(unsafe_code)]

use super::{Border, arena::Memory};

impl Border {
    /// The rectangles that it consists of: row and column of the first pixel from the plane's first pixel moved up and
    /// left by the border, rows, columns. Empty ones are left out.
    pub(super) fn rectangles(&self) -> impl Iterator<Item = [usize; 4]> + use<> {
        let [above, left, below, right] = self.width;
        let [rows, columns] = self.size;
        let wide = left + columns + right;
        [
            [0, 0, above, wide],
            [above, 0, rows, left],
            [above, left + columns, rows, right],
            [above + rows, 0, below, wide],
        ]
        .into_iter()
        .filter(|[_, _, rows, columns]| *rows > 0 && *columns > 0)
    }

    /// Offset in bytes of the border's first pixel.
    pub(super) fn start(&self) -> Option<usize> {
        let [above, left, ..] = self.width;
        let back = above.checked_mul(self.plane.row)?.checked_add(left.checked_mul(self.plane.pixel)?)?;
        self.plane.at.checked_sub(back.checked_mul(self.plane.element.size())?)
    }

    /// Writes it.
    ///
    /// # Safety
    /// Nobody else uses the arena.
    pub(super) unsafe fn fill(&self, memory: Memory<'_>) {
        let size = self.plane.element.size();
        let [pixel, row, len] = [self.plane.pixel * size, self.plane.row * size, self.channels * size];
        let start = self.start().expect("that the border begins in the arena was checked at load");
        for [top, left, rows, columns] in self.rectangles() {
            for at in (top..top + rows).map(|index| start + index * row + left * pixel) {
                // Bytes of floats are zero as well, since that is all a float can be filled with.
                if len == pixel {
                    // SAFETY: the caller has the arena for itself; bounds are checked here.
                    unsafe { memory.bytes_mut(at, columns * pixel) }.fill(self.fill);
                } else {
                    for column in 0..columns {
                        // SAFETY: as above.
                        unsafe { memory.bytes_mut(at + column * pixel, len) }.fill(self.fill);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Element, Plane, arena::Arena},
        *,
    };

    #[test]
    fn all_around_and_nothing_else() {
        // Three by two pixels of two of three bytes, with borders of one above, two left, one below, one right.
        let plane = Plane { element: Element::Byte, at: 5 + 18 + 6, pixel: 3, row: 18 };
        for channels in [2, 3] {
            let border = Border { plane, size: [2, 3], channels, width: [1, 2, 1, 1], fill: 7 };
            let mut arena = Arena::new(90);
            // SAFETY: nobody else has the arena.
            unsafe { border.fill(arena.memory()) };
            // SAFETY: as above.
            let bytes = unsafe { arena.memory().bytes(0, 90) };
            for (at, byte) in bytes.iter().enumerate() {
                let inside = (5..5 + 4 * 18).contains(&at) && {
                    let [row, column, channel] = [(at - 5) / 18, (at - 5) % 18 / 3, (at - 5) % 3];
                    channel < channels && !((1..3).contains(&row) && (2..5).contains(&column))
                };
                assert_eq!(*byte, if inside { 7 } else { 0 }, "{at}");
            }
        }
    }
}
