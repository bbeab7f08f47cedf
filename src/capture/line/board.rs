//! The layout of a board: traces, buses, pads, vias and copper areas as on the boards of DeepPCB, at random from a seed.
//!
//! Everything is laid out with a clearance between nets that is far wider than the raggedness of an edge. Defects are
//! left to `defects`.

use super::{
    net::{End, Heading, Net, Path, Run},
    raster::{Bitmap, Corner, Shape},
};
use crate::random::Rng;

/// A board without defects, and what is needed to lay out the next one in the same memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Board {
    /// Where there is copper.
    pub(crate) copper: Bitmap,
    /// The straight pieces of its traces.
    pub(crate) runs: Vec<Run>,
    scratch: Scratch,
}

#[derive(Clone, Debug, Default)]
struct Scratch {
    net: Net,
    path: Path,
    beside: Path,
    blocked: Bitmap,
    area: Bitmap,
}

/// What a board's layout draws on.
struct Layout<'a> {
    copper: &'a mut Bitmap,
    runs: &'a mut Vec<Run>,
    scratch: &'a mut Scratch,
    rng: &'a mut Rng,
    width: i32,
    height: i32,
    /// The usual width of a trace.
    trace: i32,
    /// Between nets, in pixels.
    clearance: i32,
}

impl Board {
    /// Lays out another board of `width` × `height` pixels.
    pub(crate) fn lay_out(&mut self, rng: &mut Rng, width: i32, height: i32) {
        self.copper.reset(width, height);
        self.runs.clear();
        let (trace, clearance) = (rng.pick(&[6, 7, 8, 8, 9, 10, 11, 12, 14]), rng.between(8, 12));
        let mut layout = Layout {
            copper: &mut self.copper,
            runs: &mut self.runs,
            scratch: &mut self.scratch,
            rng,
            width,
            height,
            trace,
            clearance,
        };
        layout.draw();
    }
}

impl Layout<'_> {
    fn draw(&mut self) {
        // What lies beyond the board's edge counts as taken while the board is laid out.
        let beyond = self.rng.chance(12).then(|| self.beyond_edge());
        if let Some(shape) = beyond {
            self.copper.draw(shape, true);
        }
        match self.rng.below(100) {
            0..22 => self.fine(),
            22..33 => self.header(),
            33..58 => self.power(),
            58..74 => {
                self.fine();
                self.pour();
            }
            74..94 => self.plane(),
            _ => self.sparse(),
        }
        if let Some(shape) = beyond {
            self.copper.draw(shape, false);
        }
    }

    /// Buses, packages, single traces and vias.
    fn fine(&mut self) {
        for _ in 0..self.rng.between(1, 3) {
            self.bus();
        }
        if self.rng.chance(50) {
            self.package();
        }
        let more = self.rng.between(10, 40);
        for _ in 0..more {
            match self.rng.below(10) {
                0..5 => self.single_trace(),
                5..7 => self.fat_trace(self.trace * 2, self.trace * 4),
                7..9 => self.lone_via(),
                _ => self.lone_pad(),
            }
        }
    }

    /// A grid of pads with large holes, and traces between them.
    fn header(&mut self) {
        let radius = self.rng.between(17, 38);
        let hole = radius * self.rng.between(45, 62) / 100;
        let pitch = 2 * radius + self.clearance * 2 + self.trace + self.rng.between(4, 40);
        let (columns, rows) = (self.rng.between(2, 7), self.rng.between(1, 6));
        let (x, y) = (self.rng.between(-20, self.width / 2), self.rng.between(-20, self.height / 2));
        for row in 0..rows {
            for column in 0..columns {
                let at = (x + radius + column * pitch, y + radius + row * pitch);
                self.header_pad(at, radius, hole);
            }
        }
        if self.rng.chance(60) {
            self.bus();
        }
        for _ in 0..self.rng.between(5, 25) {
            self.single_trace();
        }
    }

    /// One pad of a grid, with a trace that leads away from it in half of the cases.
    fn header_pad(&mut self, at: (i32, i32), radius: i32, hole: i32) {
        for _ in 0..self.rng.below(4) {
            let heading = self.heading();
            let start = if heading.upright { (at.1, at.0) } else { at };
            let start = (heading.mirrored.map_or(start.0, |length| length - 1 - start.0), start.1);
            let end = start.0 + self.rng.between(radius * 3, self.length(heading));
            self.scratch.path.wander(self.rng, start, end, (radius + 8, 150), (20, 120));
            let (width, via) = (self.trace, self.small_via(self.trace));
            self.scratch.net.clear();
            let ends = [End::Via(radius, 0), via];
            if self.scratch.net.trace(&self.scratch.path, heading, width, ends) {
                self.scratch.net.via(at, radius, hole);
                if self.place() {
                    return;
                }
            }
        }
        self.scratch.net.clear();
        self.scratch.net.via(at, radius, hole);
        self.place();
    }

    /// Traces as wide as fingers, areas, and drilled holes.
    fn power(&mut self) {
        for _ in 0..self.rng.between(4, 12) {
            if self.rng.chance(60) {
                self.fat_trace(22, 110);
            } else {
                self.area();
            }
        }
        self.drill(12);
        for _ in 0..self.rng.between(4, 20) {
            match self.rng.below(8) {
                0..4 => self.single_trace(),
                4..6 => self.fat_trace(14, 40),
                6 => self.lone_via(),
                _ => self.lone_pad(),
            }
        }
    }

    /// A copper plane with channels, clearances and holes.
    fn plane(&mut self) {
        for _ in 0..self.rng.between(0, 2) {
            self.bus();
        }
        for _ in 0..self.rng.between(3, 14) {
            match self.rng.below(4) {
                0 => self.single_trace(),
                1 => self.lone_via(),
                2 => self.lone_pad(),
                _ => self.fat_trace(10, 30),
            }
        }
        self.pour();
        self.drill(40);
    }

    /// A few things on a board that is else bare.
    fn sparse(&mut self) {
        if self.rng.chance(60) {
            self.bus();
        }
        for _ in 0..self.rng.between(2, 8) {
            match self.rng.below(4) {
                0..2 => self.single_trace(),
                2 => self.lone_pad(),
                _ => self.fat_trace(self.trace, 40),
            }
        }
    }

    /// Some parallel traces.
    fn bus(&mut self) {
        let heading = self.heading();
        let width = (self.trace + self.rng.between(-1, 2)).max(6);
        let gap = self.clearance + self.rng.below(14);
        let count = self.rng.between(2, 9);
        let (length, breadth) = (self.length(heading), self.breadth(heading));
        let start = (-40, self.rng.between(0, breadth));
        let end = if self.rng.chance(60) { length + 60 } else { self.rng.between(length / 3, length) };
        self.scratch.path.wander(self.rng, start, end, (30, 220), (16, 140));
        let ending = self.rng.below(3);
        for lane in 0..count {
            let offset = (2 * lane - count + 1) * (width + gap) / 2;
            let (path, beside) = (&self.scratch.path, &mut self.scratch.beside);
            path.beside(offset, beside);
            let radius = width / 2 + 4;
            let last = if end > length {
                End::Beyond
            } else if ending == 0 {
                // Vias wider than the lanes stand in turn behind one another.
                beside.trim(0, lane % 2 * (2 * radius + self.clearance + 6));
                End::Via(radius, 0)
            } else if ending == 1 {
                beside.trim(0, lane % 3 * (3 * radius + self.clearance));
                End::Via(radius + 3, 0)
            } else {
                End::Pad(40, width + (gap - self.clearance).clamp(0, 6))
            };
            self.scratch.net.clear();
            if self.scratch.net.trace(&self.scratch.beside, heading, width, [End::Beyond, last]) {
                self.place();
            }
        }
    }

    /// Two rows of pads, as under an integrated circuit.
    fn package(&mut self) {
        let heading = self.heading();
        let wide = self.trace + self.rng.between(4, 12);
        let pitch = wide + self.clearance + self.rng.between(4, 16);
        let (long, count) = (wide * 2 + self.rng.between(6, 30), self.rng.between(3, 8));
        let row_distance = long + self.rng.between(60, 200);
        let first = (self.rng.between(0, self.length(heading)), self.rng.between(0, self.breadth(heading)));
        for row in 0..2 {
            for pin in 0..count {
                let (x, y) = heading.point((first.0 + row * row_distance, first.1 + pin * pitch));
                let (width, height) = if heading.upright { (wide, long) } else { (long, wide) };
                self.scratch.net.clear();
                self.scratch.net.copper(Shape::rect(x, y, width, height, Corner::Square));
                self.place();
            }
        }
    }

    /// A trace from a via, a pad or from outside to another.
    fn single_trace(&mut self) {
        let heading = self.heading();
        let width = self.trace;
        let (length, breadth) = (self.length(heading), self.breadth(heading));
        let from_outside = self.rng.chance(30);
        let start = if from_outside { -30 } else { self.rng.between(0, length - 120) };
        let end = start + self.rng.between(90, length);
        let start = (start, self.rng.between(0, breadth));
        self.scratch.path.wander(self.rng, start, end, (28, 160), (14, 110));
        let first = if from_outside { End::Beyond } else { self.trace_end(width) };
        let last = if end > length + 40 { End::Beyond } else { self.trace_end(width) };
        self.scratch.net.clear();
        if self.scratch.net.trace(&self.scratch.path, heading, width, [first, last]) {
            self.place();
        }
    }

    /// A wide trace with bends and round ends.
    fn fat_trace(&mut self, thin: i32, thick: i32) {
        let heading = self.heading();
        let width = self.rng.between(thin, thick);
        let (length, breadth) = (self.length(heading), self.breadth(heading));
        let start = self.rng.between(-length / 3, length - width * 2);
        let end = start + self.rng.between(width * 3, length + width * 3);
        let start = (start, self.rng.between(0, breadth));
        self.scratch.path.wander(self.rng, start, end, (width + 20, 200 + width), (width + 8, width + 160));
        let ends = [(); 2].map(|()| {
            let radius = width / 2 + self.rng.between(4, 16);
            End::Via(radius, if self.rng.chance(50) { (radius / 2).max(8) } else { 0 })
        });
        self.scratch.net.clear();
        if self.scratch.net.trace(&self.scratch.path, heading, width, ends) {
            self.place();
        }
    }

    /// A disc, with or without a hole.
    fn lone_via(&mut self) {
        let at = self.anywhere();
        let radius = self.rng.between(11, 44);
        let hole =
            if radius > 14 && self.rng.chance(60) { (radius * self.rng.between(40, 65) / 100).max(8) } else { 0 };
        self.scratch.net.clear();
        self.scratch.net.via(at, radius, hole);
        self.place();
    }

    /// A rectangle, or two or more of the same in a row.
    fn lone_pad(&mut self) {
        let (x, y) = self.anywhere();
        let (width, height) = (self.rng.between(22, 100), self.rng.between(22, 100));
        let corner = self.rng.pick(&[Corner::Square, Corner::Square, Corner::Round(8), Corner::Cut(8)]);
        let step = width + self.clearance + self.rng.between(6, 60);
        for i in 0..self.rng.between(1, 4) {
            self.scratch.net.clear();
            self.scratch.net.copper(Shape::rect(x + i * step, y, width, height, corner));
            self.place();
        }
    }

    /// A large area with cut or rounded corners.
    fn area(&mut self) {
        let (x, y) = self.anywhere();
        let (width, height) = (self.rng.between(100, 420), self.rng.between(100, 420));
        let size = self.rng.between(8, 60);
        let corner = self.rng.pick(&[Corner::Square, Corner::Round(size), Corner::Cut(size)]);
        self.scratch.net.clear();
        self.scratch.net.copper(Shape::rect(x, y, width, height, corner));
        self.place();
    }

    /// Fills what is bare with copper, all of it or one part, at a distance from everything that is there.
    fn pour(&mut self) {
        let Scratch { blocked, area, .. } = &mut *self.scratch;
        let rng = &mut *self.rng;
        let (width, height) = (self.width, self.height);
        area.reset(width, height);
        match rng.below(4) {
            0 => area.draw(Shape::rect(width / 2, height / 2, width, height, Corner::Square), true),
            1 => {
                let (x, y) = (rng.between(0, width), rng.between(0, height));
                area.draw(Shape::Disc { x, y, radius: rng.between(width / 3, width * 2 / 3) }, true);
            }
            _ => {
                let size = (rng.between(width / 2, width * 3 / 2), rng.between(height / 2, height * 3 / 2));
                let (x, y) = (rng.between(0, width), rng.between(0, height));
                area.draw(Shape::rect(x, y, size.0, size.1, Corner::Cut(rng.between(0, 80))), true);
            }
        }
        // Channels and round clearances, cut before the copper that is there gets its distance.
        for _ in 0..rng.below(3) {
            let (x, y) = (rng.between(0, width), rng.between(0, height));
            let breadth = rng.between(12, 40);
            let channel = if rng.chance(50) { (breadth, height * 2) } else { (width * 2, breadth) };
            area.draw(Shape::rect(x, y, channel.0, channel.1, Corner::Square), false);
        }
        for _ in 0..rng.below(3) {
            let (x, y) = (rng.between(0, width), rng.between(0, height));
            area.draw(Shape::rect(x, y, rng.between(60, 200), rng.between(60, 200), Corner::Round(24)), false);
        }
        blocked.copy_from(self.copper);
        blocked.grow(self.clearance + rng.between(1, 8));
        area.remove(blocked);
        // What is thinner than this would be a sliver.
        area.shrink(13);
        area.grow(13);
        self.copper.add(area);
    }

    /// Drills round holes into wide copper.
    fn drill(&mut self, tries: i32) {
        let radius = self.rng.between(9, 20);
        for _ in 0..tries {
            let (x, y) = self.anywhere();
            let radius = if self.rng.chance(85) { radius } else { self.rng.between(9, 45) };
            if self.copper.is_copper(Shape::Disc { x, y, radius: radius + 9 }) {
                self.copper.draw(Shape::Disc { x, y, radius }, false);
            }
        }
    }

    /// What lies beyond a straight edge of the board, at one side of the picture.
    fn beyond_edge(&mut self) -> Shape {
        let (width, height) = (self.width, self.height);
        let cut = self.rng.between(20, width.min(height) / 2);
        let (x0, y0, x1, y1) = match self.rng.below(4) {
            0 => (0, 0, cut, height),
            1 => (width - cut, 0, width, height),
            2 => (0, 0, width, cut),
            _ => (0, height - cut, width, height),
        };
        Shape::Rect { x0, y0, x1, y1, corner: Corner::Square }
    }

    fn trace_end(&mut self, width: i32) -> End {
        if self.rng.chance(65) {
            self.small_via(width)
        } else {
            End::Pad(width * 2 + 12, width + self.rng.between(14, 30))
        }
    }

    fn small_via(&mut self, width: i32) -> End {
        let radius = width / 2 + self.rng.between(5, 16);
        End::Via(radius, if radius > 16 { (radius / 2).max(8) } else { 0 })
    }

    fn heading(&mut self) -> Heading {
        let upright = self.rng.chance(50);
        let length = if upright { self.height } else { self.width };
        Heading { upright, mirrored: self.rng.chance(50).then_some(length) }
    }

    fn length(&self, heading: Heading) -> i32 {
        if heading.upright { self.height } else { self.width }
    }

    fn breadth(&self, heading: Heading) -> i32 {
        if heading.upright { self.width } else { self.height }
    }

    fn anywhere(&mut self) -> (i32, i32) {
        (self.rng.between(0, self.width), self.rng.between(0, self.height))
    }

    fn place(&mut self) -> bool {
        self.scratch.net.place(self.copper, self.runs, self.clearance)
    }
}
