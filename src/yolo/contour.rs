//! Outlines of the parts of a binary mask.
//!
//! Border following after S. Suzuki and K. Abe, *Topological Structural Analysis of Digitized Binary Images by Border
//! Following* (1985), appendix II: the outermost borders only, of parts that hang together over corners too. Straight
//! runs are given by their ends, so that the points are those of OpenCV's `RETR_EXTERNAL` with `CHAIN_APPROX_SIMPLE`.

/// A corner of an outline, in pixels of the mask: x, y.
pub(super) type Corner = [i32; 2];

/// A pixel of a part that no border has passed yet.
pub(super) const INSIDE: i8 = 1;

/// A pixel on a border.
const BORDER: i8 = 2;

/// A pixel on a border, with the outside to its right.
const BORDER_RIGHT: i8 = -2;

/// Steps to the eight neighbours, counter-clockwise on the screen, beginning with the right one.
const STEPS: [Corner; 8] = [[1, 0], [1, -1], [0, -1], [-1, -1], [-1, 0], [-1, 1], [0, 1], [1, 1]];

/// The direction to the left.
const LEFT: usize = 4;

/// A mask with a margin of one empty pixel on every side, as border following needs it.
#[derive(Clone, Debug, Default)]
pub(super) struct Mask {
    width: usize,
    height: usize,
    pixels: Vec<i8>,
}

impl Mask {
    /// Makes it an empty mask of this size.
    pub(super) fn reset(&mut self, width: usize, height: usize) {
        (self.width, self.height) = (width, height);
        self.pixels.clear();
        self.pixels.resize((width + 2) * (height + 2), 0);
    }

    /// A line, to be filled with zeros and [`INSIDE`].
    pub(super) fn line(&mut self, y: usize) -> &mut [i8] {
        let start = (y + 1) * (self.width + 2) + 1;
        &mut self.pixels[start..start + self.width]
    }

    /// The outlines of the parts that lie in no hole of another, from top to bottom, counter-clockwise on the screen.
    /// Marks the mask on the way: it has to be filled again before the next call.
    pub(super) fn outlines(&mut self) -> Vec<Vec<Corner>> {
        let mut outlines = Vec::new();
        let stride = self.width + 2;
        for y in 1..=self.height {
            // The border pixel passed last in this line tells whether the scan is inside a part.
            let mut passed = 0;
            for x in 1..=self.width {
                let at = y * stride + x;
                if self.pixels[at] == INSIDE && self.pixels[at - 1] == 0 && passed <= 0 {
                    outlines.push(self.follow([x as i32, y as i32]));
                }
                if !matches!(self.pixels[at], 0 | INSIDE) {
                    passed = self.pixels[at];
                }
            }
        }
        outlines
    }

    /// Follows the border that begins at this pixel, whose left neighbour is outside.
    fn follow(&mut self, start: Corner) -> Vec<Corner> {
        // Clockwise from the left: the last pixel of the border.
        let Some(to_last) = (0..8).map(|turn| (LEFT + 8 - turn) % 8).find(|&to| self.at(step(start, to)) != 0) else {
            self.set(start, BORDER_RIGHT);
            return vec![[start[0] - 1, start[1] - 1]];
        };
        let last = step(start, to_last);
        let mut corners = Vec::new();
        let (mut here, mut back) = (start, to_last);
        loop {
            // Counter-clockwise from where the border came: the next pixel of the border.
            let mut right_is_outside = false;
            let mut to = (back + 1) % 8;
            while self.at(step(here, to)) == 0 {
                right_is_outside |= to == 0;
                to = (to + 1) % 8;
            }
            if right_is_outside {
                self.set(here, BORDER_RIGHT);
            } else if self.at(here) == INSIDE {
                self.set(here, BORDER);
            }
            if to != (back + 4) % 8 {
                corners.push([here[0] - 1, here[1] - 1]);
            }
            let next = step(here, to);
            if next == start && here == last {
                return corners;
            }
            (here, back) = (next, (to + 4) % 8);
        }
    }

    fn at(&self, [x, y]: Corner) -> i8 {
        self.pixels[y as usize * (self.width + 2) + x as usize]
    }

    fn set(&mut self, [x, y]: Corner, value: i8) {
        self.pixels[y as usize * (self.width + 2) + x as usize] = value;
    }
}

fn step([x, y]: Corner, to: usize) -> Corner {
    [x + STEPS[to][0], y + STEPS[to][1]]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outlines(picture: &[&str]) -> Vec<Vec<Corner>> {
        let mut mask = Mask::default();
        mask.reset(picture[0].len(), picture.len());
        for (y, line) in picture.iter().enumerate() {
            for (pixel, c) in mask.line(y).iter_mut().zip(line.chars()) {
                *pixel = i8::from(c == '#');
            }
        }
        mask.outlines()
    }

    #[test]
    fn a_point_a_line_and_a_box() {
        assert_eq!(outlines(&["..."]), Vec::<Vec<Corner>>::new());
        assert_eq!(outlines(&["#"]), [[[0, 0]]]);
        assert_eq!(outlines(&[".##."]), [[[1, 0], [2, 0]]]);
        assert_eq!(outlines(&["####"]), [[[0, 0], [3, 0]]]);
        assert_eq!(outlines(&["###", "###", "###"]), [[[0, 0], [0, 2], [2, 2], [2, 0]]]);
    }

    #[test]
    fn corners_connect_and_diagonals_are_straight() {
        assert_eq!(outlines(&["#..", ".#.", "..#"]), [[[0, 0], [2, 2]]]);
        assert_eq!(outlines(&[".#.", "###", ".#."]), [[[1, 0], [0, 1], [1, 2], [2, 1]]]);
    }

    #[test]
    fn parts_beside_each_other_are_all_found_and_parts_in_holes_are_not() {
        let found = outlines(&["#####..#", "#...#...", "#.#.#..#", "#...#..#", "#####..."]);
        assert_eq!(found, [vec![[0, 0], [0, 4], [4, 4], [4, 0]], vec![[7, 0]], vec![[7, 2], [7, 3]]]);
    }

    #[test]
    fn a_part_behind_a_notch_of_another_is_found() {
        // The scan passes an arm, the outside, the other arm, and the part between them in one line.
        let found = outlines(&["#.#.#", "#...#", "#####"]);
        assert_eq!(found.len(), 2);
        assert_eq!(found[1], [[2, 0]]);
    }

    #[test]
    fn every_small_mask_ends_and_touches_each_part_once() {
        for bits in 0..1_u32 << 16 {
            let mut mask = Mask::default();
            mask.reset(4, 4);
            for y in 0..4 {
                for x in 0..4 {
                    mask.line(y)[x] = i8::from(bits >> (4 * y + x) & 1 == 1);
                }
            }
            let found = mask.outlines();
            // In 4×4 pixels no hole is big enough for a part of its own, so every part is outermost.
            assert_eq!(found.len(), parts(bits), "{bits:016b}");
            for corner in found.iter().flatten() {
                assert_eq!(bits >> (4 * corner[1] + corner[0]) & 1, 1);
            }
        }
    }

    /// Parts of a 4×4 mask by flooding.
    fn parts(mut bits: u32) -> usize {
        let mut parts = 0;
        while bits != 0 {
            parts += 1;
            let mut flood = bits & bits.wrapping_neg();
            loop {
                let mut grown = flood;
                for at in (0..16_i32).filter(|at| flood >> at & 1 == 1) {
                    for [dx, dy] in STEPS {
                        let (x, y) = (at % 4 + dx, at / 4 + dy);
                        if (0..4).contains(&x) && (0..4).contains(&y) {
                            grown |= 1 << (4 * y + x) & bits;
                        }
                    }
                }
                if grown == flood {
                    break;
                }
                flood = grown;
            }
            bits &= !flood;
        }
        parts
    }
}
