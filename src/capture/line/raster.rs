//! A picture of one bit a pixel, copper or bare, and the shapes that are drawn into it.
//!
//! Shapes are made of horizontal spans of whole pixels, computed in integers. What the shapes mean is left to the layout.

/// One bit a pixel: set where there is copper. What lies outside is bare.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bitmap {
    width: i32,
    height: i32,
    row_words: usize,
    words: Vec<u64>,
}

impl Bitmap {
    /// Makes the picture bare and gives it this size, in pixels.
    pub(crate) fn reset(&mut self, width: i32, height: i32) {
        self.width = width.max(0);
        self.height = height.max(0);
        self.row_words = self.width.unsigned_abs().div_ceil(64) as usize;
        self.words.clear();
        self.words.resize(self.row_words * self.height as usize, 0);
    }

    /// Pixels in a row.
    pub(crate) fn width(&self) -> i32 {
        self.width
    }

    /// Rows.
    pub(crate) fn height(&self) -> i32 {
        self.height
    }

    /// Whether there is copper at the pixel.
    pub(crate) fn get(&self, x: i32, y: i32) -> bool {
        if x < 0 || y < 0 || x >= self.width || y >= self.height {
            return false;
        }
        self.words[y as usize * self.row_words + x as usize / 64] >> (x % 64) & 1 == 1
    }

    /// Draws the shape in copper, or removes it.
    pub(crate) fn draw(&mut self, shape: Shape, copper: bool) {
        shape.spans(|y, from, to| self.set(y, from, to, copper));
    }

    /// Whether the shape meets no copper.
    pub(crate) fn is_bare(&self, shape: Shape) -> bool {
        let mut bare = true;
        shape.spans(|y, from, to| bare = bare && self.is_even(y, from, to, false));
        bare
    }

    /// Whether the shape lies inside the picture and on copper everywhere.
    pub(crate) fn is_copper(&self, shape: Shape) -> bool {
        let mut copper = true;
        shape.spans(|y, from, to| copper = copper && self.is_even(y, from, to, true));
        copper
    }

    /// Whether the pixels `from..to` of row `y` are all copper, or all bare. What lies outside is bare.
    pub(crate) fn is_even(&self, y: i32, from: i32, to: i32, copper: bool) -> bool {
        let outside = y < 0 || y >= self.height || from < 0 || to > self.width;
        if copper && outside {
            return false;
        }
        let wanted = if copper { u64::MAX } else { 0 };
        let mut parts = self.parts(y, from, to).into_iter().flatten();
        parts.all(|(i, mask)| (self.words[i] ^ wanted) & mask == 0)
    }

    /// Sets or clears the pixels `from..to` of row `y`, as far as they are inside.
    pub(crate) fn set(&mut self, y: i32, from: i32, to: i32, copper: bool) {
        let Some(parts) = self.parts(y, from, to) else { return };
        for (i, mask) in parts {
            if copper {
                self.words[i] |= mask;
            } else {
                self.words[i] &= !mask;
            }
        }
    }

    /// Adds the other picture's copper, which has the same size.
    pub(crate) fn add(&mut self, other: &Self) {
        for (word, other) in self.words.iter_mut().zip(&other.words) {
            *word |= other;
        }
    }

    /// Removes copper where the other picture, which has the same size, has some.
    pub(crate) fn remove(&mut self, other: &Self) {
        for (word, other) in self.words.iter_mut().zip(&other.words) {
            *word &= !other;
        }
    }

    /// Copies the other picture.
    pub(crate) fn copy_from(&mut self, other: &Self) {
        self.reset(other.width, other.height);
        self.words.copy_from_slice(&other.words);
    }

    /// Grows all copper by `by` pixels to all sides, as a square does.
    pub(crate) fn grow(&mut self, by: i32) {
        self.spread(by, false);
    }

    /// Shrinks all copper by `by` pixels from all sides; beyond the picture's edges counts as copper.
    pub(crate) fn shrink(&mut self, by: i32) {
        self.spread(by, true);
    }

    /// One row as bytes, 1 where there is copper. `out` is as long as the row.
    pub(crate) fn unpack_row(&self, y: i32, out: &mut [u8]) {
        /// Bit `i` of a byte, in its place in byte `i`.
        const BITS: u64 = 0x8040_2010_0804_0201;
        const ONES: u64 = 0x0101_0101_0101_0101;
        let row = &self.words[y as usize * self.row_words..][..self.row_words];
        let bytes = row.iter().flat_map(|word| word.to_le_bytes());
        for (out, byte) in out.chunks_mut(8).zip(bytes) {
            let bits = u64::from(byte).wrapping_mul(ONES) & BITS;
            // A byte that is not zero has its top bit set when 127 is added.
            let ones = bits.wrapping_add(0x7f * ONES) >> 7 & ONES;
            out.copy_from_slice(&ones.to_le_bytes()[..out.len()]);
        }
    }

    /// The words of a row that hold the pixels `from..to`, with the bits that are meant; `None` where there are none.
    fn parts(&self, y: i32, from: i32, to: i32) -> Option<impl Iterator<Item = (usize, u64)> + use<>> {
        let (from, to) = (from.max(0), to.min(self.width));
        if y < 0 || y >= self.height || from >= to {
            return None;
        }
        let (from, last) = (from as usize, to as usize - 1);
        let start = y as usize * self.row_words;
        Some((from / 64..=last / 64).map(move |word| {
            let low = if word == from / 64 { u64::MAX << (from % 64) } else { u64::MAX };
            let high = if word == last / 64 { u64::MAX >> (63 - last % 64) } else { u64::MAX };
            (start + word, low & high)
        }))
    }

    /// Grows copper, or where `inverse` bare board, by steps of one pixel: along the rows, then across them.
    fn spread(&mut self, by: i32, inverse: bool) {
        let flip = |words: &mut [u64]| words.iter_mut().for_each(|word| *word = !*word);
        if inverse {
            flip(&mut self.words);
            self.clear_padding();
        }
        for row in self.words.chunks_mut(self.row_words.max(1)) {
            for _ in 0..by {
                let mut before = 0;
                for i in 0..row.len() {
                    let after = row.get(i + 1).copied().unwrap_or(0);
                    let own = row[i];
                    row[i] = own | own << 1 | before >> 63 | own >> 1 | after << 63;
                    before = own;
                }
            }
        }
        self.clear_padding();
        let stride = self.row_words;
        for _ in 0..by {
            // Upwards in place reads rows below that are still old; downwards then would read new ones, so each pass
            // goes one way only.
            for i in stride..self.words.len() {
                self.words[i - stride] |= self.words[i];
            }
            for i in (stride..self.words.len()).rev() {
                self.words[i] |= self.words[i - stride];
            }
        }
        if inverse {
            flip(&mut self.words);
            self.clear_padding();
        }
    }

    /// Bits behind the end of a row are never set.
    fn clear_padding(&mut self) {
        let used = self.width % 64;
        if used != 0 {
            for last in self.words.chunks_mut(self.row_words).filter_map(<[u64]>::last_mut) {
                *last &= u64::MAX >> (64 - used);
            }
        }
    }
}

/// What can be drawn. Coordinates are whole pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// All pixels within `radius` around a pixel.
    Disc {
        /// Column of the centre.
        x: i32,
        /// Row of the centre.
        y: i32,
        /// Radius; a disc of radius 0 is one pixel.
        radius: i32,
    },
    /// A rectangle, `x1` and `y1` exclusive.
    Rect {
        /// Left edge.
        x0: i32,
        /// Top edge.
        y0: i32,
        /// Right edge.
        x1: i32,
        /// Bottom edge.
        y1: i32,
        /// How much the corners lack.
        corner: Corner,
    },
    /// A straight piece of a trace at 45°, without rounded ends: `|bx − ax| = |by − ay|`.
    Diagonal {
        /// Column of the beginning.
        ax: i32,
        /// Row of the beginning.
        ay: i32,
        /// Column of the end.
        bx: i32,
        /// Row of the end.
        by: i32,
        /// Width across the piece.
        width: i32,
    },
}

/// The corners of a rectangle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Corner {
    /// Right angles.
    Square,
    /// Cut off at 45° by so many pixels.
    Cut(i32),
    /// Rounded with this radius.
    Round(i32),
}

impl Shape {
    /// A rectangle around a centre.
    pub(crate) fn rect(x: i32, y: i32, width: i32, height: i32, corner: Corner) -> Self {
        let (x0, y0) = (x - width / 2, y - height / 2);
        Self::Rect { x0, y0, x1: x0 + width, y1: y0 + height, corner }
    }

    /// A straight piece of a trace, `width` pixels across, without rounded ends; along an axis or at 45°.
    pub(crate) fn piece(ax: i32, ay: i32, bx: i32, by: i32, width: i32) -> Self {
        let low = (width - 1) / 2;
        let corner = Corner::Square;
        if ay == by {
            let (x0, x1) = (ax.min(bx), ax.max(bx) + 1);
            Self::Rect { x0, y0: ay - low, x1, y1: ay - low + width, corner }
        } else if ax == bx {
            let (y0, y1) = (ay.min(by), ay.max(by) + 1);
            Self::Rect { x0: ax - low, y0, x1: ax - low + width, y1, corner }
        } else {
            Self::Diagonal { ax, ay, bx, by, width }
        }
    }

    /// The shape, larger by `by` pixels to all sides.
    pub(crate) fn grown(self, by: i32) -> Self {
        match self {
            Self::Disc { x, y, radius } => Self::Disc { x, y, radius: radius + by },
            Self::Rect { x0, y0, x1, y1, corner } => {
                Self::Rect { x0: x0 - by, y0: y0 - by, x1: x1 + by, y1: y1 + by, corner }
            }
            Self::Diagonal { ax, ay, bx, by: b_y, width } => {
                Self::Diagonal { ax, ay, bx, by: b_y, width: width + 2 * by }
            }
        }
    }

    /// Calls `span(y, from, to)` for the pixels `from..to` of each row.
    pub(crate) fn spans(self, mut span: impl FnMut(i32, i32, i32)) {
        match self {
            Self::Disc { x, y, radius } => {
                for dy in -radius..=radius {
                    // r² + r instead of r² leaves no single pixels at the four poles.
                    let half = (radius * radius + radius - dy * dy).max(0).isqrt();
                    span(y + dy, x - half, x + half + 1);
                }
            }
            Self::Rect { x0, y0, x1, y1, corner } => {
                for y in y0..y1 {
                    let inset = corner.inset((y - y0).min(y1 - 1 - y));
                    if x0 + inset < x1 - inset {
                        span(y, x0 + inset, x1 - inset);
                    }
                }
            }
            Self::Diagonal { ax, ay, bx, by, width } => {
                let (right, down) = ((bx - ax).signum(), (by - ay).signum());
                let length = 2 * (bx - ax).abs();
                // Across a row the piece is √2 times as wide, 362 / 256.
                let across = width * 362 / 256;
                let reach = width;
                for y in ay.min(by) - reach..=ay.max(by) + reach {
                    let from_middle = ax + right * down * (y - ay) - (across - 1) / 2;
                    let along = (y - ay) * down;
                    let (from_ends, to_ends) =
                        if right > 0 { (ax - along, ax + length - along) } else { (ax - length + along, ax + along) };
                    let (from, to) = (from_middle.max(from_ends), (from_middle + across).min(to_ends + 1));
                    if from < to {
                        span(y, from, to);
                    }
                }
            }
        }
    }
}

impl Corner {
    /// How many pixels a row lacks at each end that is `depth` rows away from the nearer edge.
    fn inset(self, depth: i32) -> i32 {
        match self {
            Self::Square => 0,
            Self::Cut(size) => (size - depth).max(0),
            Self::Round(radius) => {
                let rise = (radius - depth).max(0);
                radius - (radius * radius - rise * rise).max(0).isqrt()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(shape: Shape) -> Bitmap {
        let mut bitmap = Bitmap::default();
        bitmap.reset(100, 40);
        bitmap.draw(shape, true);
        bitmap
    }

    fn area(bitmap: &Bitmap) -> u32 {
        bitmap.words.iter().map(|word| word.count_ones()).sum()
    }

    #[test]
    fn shapes_have_their_areas_and_are_clipped() {
        assert_eq!(area(&drawn(Shape::rect(50, 20, 70, 10, Corner::Square))), 700);
        assert_eq!(area(&drawn(Shape::rect(50, 20, 70, 10, Corner::Cut(3)))), 700 - 4 * 6);
        assert_eq!(area(&drawn(Shape::Disc { x: 64, y: 20, radius: 0 })), 1);
        // π · 10.5² = 346.
        let disc = area(&drawn(Shape::Disc { x: 64, y: 20, radius: 10 }));
        assert!((340..=352).contains(&disc), "{disc}");
        assert_eq!(area(&drawn(Shape::rect(0, 0, 20, 20, Corner::Square))), 100);
        // 20 · √2 long and 10 wide.
        for (bx, by) in [(60, 30), (20, 30), (60, -10), (20, -10)] {
            let piece = area(&drawn(Shape::piece(40, 10, bx, by, 10)));
            let whole = if by > 0 { 283 } else { 160 };
            assert!(piece.abs_diff(whole) < 40, "{piece} for {bx} {by}");
        }
    }

    #[test]
    fn growing_and_shrinking_undo_one_another_for_a_rectangle() {
        let mut bitmap = drawn(Shape::rect(64, 20, 10, 10, Corner::Square));
        bitmap.grow(5);
        assert_eq!(area(&bitmap), 400);
        bitmap.shrink(5);
        assert_eq!(area(&bitmap), 100);
        bitmap.shrink(5);
        assert_eq!(area(&bitmap), 0);
        // The picture's edges take nothing from copper that reaches them.
        let mut plane = drawn(Shape::rect(50, 20, 100, 40, Corner::Square));
        plane.shrink(7);
        assert_eq!(area(&plane), 4000);
    }

    #[test]
    fn questions_about_a_shape_agree_with_its_pixels() {
        let bitmap = drawn(Shape::Disc { x: 64, y: 20, radius: 10 });
        assert!(bitmap.is_copper(Shape::Disc { x: 64, y: 20, radius: 10 }));
        assert!(!bitmap.is_copper(Shape::Disc { x: 64, y: 20, radius: 11 }));
        assert!(bitmap.is_bare(Shape::Disc { x: 64, y: 35, radius: 4 }));
        assert!(!bitmap.is_bare(Shape::Disc { x: 64, y: 35, radius: 5 }));
        let mut row = [0; 100];
        bitmap.unpack_row(20, &mut row);
        assert!((0..100).all(|x| (row[x as usize] == 1) == bitmap.get(x, 20)));
        assert_eq!(row.iter().map(|&byte| u32::from(byte)).sum::<u32>(), 21);
    }
}
