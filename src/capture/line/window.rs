//! A small part of a board as bytes, in which parts are counted: whether copper was parted, joined or pierced.

use super::{brush::Dab, raster::Bitmap};

/// A copy of a rectangle of the board.
#[derive(Clone, Debug, Default)]
pub(crate) struct Window {
    x: i32,
    y: i32,
    width: i32,
    height: i32,
    /// 1 where there is copper.
    cells: Vec<u8>,
    seen: Vec<u8>,
    stack: Vec<usize>,
}

/// How many parts a window shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parts {
    /// Of copper, where corners connect.
    pub(crate) copper: i32,
    /// Of bare board, where corners do not connect.
    pub(crate) bare: i32,
}

impl Window {
    /// Copies the rectangle with this top left corner; what lies outside the picture is bare.
    pub(crate) fn copy(&mut self, board: &Bitmap, x: i32, y: i32, width: i32, height: i32) {
        (self.x, self.y, self.width, self.height) = (x, y, width, height);
        self.cells.clear();
        for row in y..y + height {
            self.cells.extend((x..x + width).map(|column| u8::from(board.get(column, row))));
        }
    }

    /// Copies another window.
    pub(crate) fn copy_from(&mut self, other: &Self) {
        (self.x, self.y, self.width, self.height) = (other.x, other.y, other.width, other.height);
        self.cells.clear();
        self.cells.extend_from_slice(&other.cells);
    }

    /// Draws the dabs, larger by so many half-pixels, as copper or as bare board.
    pub(crate) fn paint(&mut self, dabs: &[Dab], by_halves: i32, copper: bool) {
        let (left, top, width, height) = (self.x, self.y, self.width, self.height);
        for dab in dabs {
            dab.spans(by_halves, |y, from, to| {
                let (from, to) = ((from - left).max(0), (to - left).min(width));
                if (0..height).contains(&(y - top)) && from < to {
                    let row = ((y - top) * width) as usize;
                    self.cells[row + from as usize..row + to as usize].fill(u8::from(copper));
                }
            });
        }
    }

    /// Counts the connected parts.
    pub(crate) fn parts(&mut self) -> Parts {
        self.seen.clear();
        self.seen.resize(self.cells.len(), 0);
        let mut parts = Parts { copper: 0, bare: 0 };
        for start in 0..self.cells.len() {
            if self.seen[start] == 1 {
                continue;
            }
            let copper = self.cells[start] == 1;
            *(if copper { &mut parts.copper } else { &mut parts.bare }) += 1;
            self.flood(start, copper);
        }
        parts
    }

    /// Marks the part that `start` belongs to.
    fn flood(&mut self, start: usize, copper: bool) {
        let (width, height) = (self.width as usize, self.height as usize);
        self.seen[start] = 1;
        self.stack.push(start);
        while let Some(at) = self.stack.pop() {
            let (x, y) = (at % width, at / width);
            for near_y in y.saturating_sub(1)..=(y + 1).min(height - 1) {
                for near_x in x.saturating_sub(1)..=(x + 1).min(width - 1) {
                    let near = near_y * width + near_x;
                    let joined = copper || near_x == x || near_y == y;
                    if joined && self.seen[near] == 0 && (self.cells[near] == 1) == copper {
                        self.seen[near] = 1;
                        self.stack.push(near);
                    }
                }
            }
        }
    }

    /// The pixels that differ from the other window of the same rectangle: how many, and the box around them with
    /// exclusive ends; `None` where there are none.
    pub(crate) fn difference(&self, other: &Self) -> Option<(i32, [i32; 4])> {
        let mut count = 0;
        let mut bounds = [i32::MAX, i32::MAX, i32::MIN, i32::MIN];
        for (row, (own, other)) in
            self.cells.chunks(self.width as usize).zip(other.cells.chunks(self.width as usize)).enumerate()
        {
            for (column, _) in own.iter().zip(other).enumerate().filter(|(_, (own, other))| own != other) {
                let (x, y) = (self.x + column as i32, self.y + row as i32);
                bounds = [bounds[0].min(x), bounds[1].min(y), bounds[2].max(x + 1), bounds[3].max(y + 1)];
                count += 1;
            }
        }
        (count > 0).then_some((count, bounds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::line::raster::{Corner, Shape};

    #[test]
    fn a_stroke_parts_copper_and_a_ring_encloses_bare_board() {
        let mut board = Bitmap::default();
        board.reset(60, 60);
        board.draw(Shape::rect(30, 30, 80, 10, Corner::Square), true);
        let mut before = Window::default();
        before.copy(&board, 5, 5, 50, 50);
        assert_eq!(before.parts(), Parts { copper: 1, bare: 2 });
        let mut after = before.clone();
        let cut: Vec<Dab> = (20..40).map(|y| Dab { x: 30, y, radius_halves: 4 }).collect();
        after.paint(&cut, 0, false);
        assert_eq!(after.parts(), Parts { copper: 2, bare: 1 });
        assert_eq!(before.difference(&after), Some((50, [28, 25, 33, 35])));
        assert_eq!(before.difference(&before.clone()), None);
        after.copy_from(&before);
        after.paint(&[Dab { x: 30, y: 30, radius_halves: 4 }], 0, false);
        assert_eq!(after.parts(), Parts { copper: 1, bare: 3 });
    }
}
