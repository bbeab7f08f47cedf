//! Lines, rectangles and polygons on an RGB picture, clipped to it.

use crate::{
    geometry::{BoxPx, Point},
    vision::RgbImage,
};

/// Red, green, blue.
pub(super) type Rgb = [u8; 3];

/// The darkening one pixel around strokes, which keeps them visible on ground of their own colour.
const HALO: f32 = 0.45;

/// A picture to draw on. Coordinates may lie anywhere; shapes that are not finite are left out.
pub(super) struct Canvas<'a> {
    picture: &'a mut RgbImage,
}

impl<'a> Canvas<'a> {
    pub(super) fn new(picture: &'a mut RgbImage) -> Self {
        Self { picture }
    }

    pub(super) fn size(&self) -> (f32, f32) {
        (self.picture.width as f32, self.picture.height as f32)
    }

    /// Mixes a colour into one pixel: 0 leaves it, 1 replaces it.
    pub(super) fn blend(&mut self, x: i64, y: i64, color: Rgb, share: f32) {
        let (width, height) = (i64::from(self.picture.width), i64::from(self.picture.height));
        if (0..width).contains(&x) && (0..height).contains(&y) {
            let at = (y * width + x) as usize * 3;
            for (level, wanted) in self.picture.data[at..at + 3].iter_mut().zip(color) {
                *level = (f32::from(*level) + (f32::from(wanted) - f32::from(*level)) * share).round() as u8;
            }
        }
    }

    /// Fills a rectangle of whole pixels.
    pub(super) fn fill(&mut self, area: BoxPx, color: Rgb, share: f32) {
        let (width, height) = self.size();
        let area = area.clipped(width, height);
        for y in area.y1.round() as i64..area.y2.round() as i64 {
            for x in area.x1.round() as i64..area.x2.round() as i64 {
                self.blend(x, y, color, share);
            }
        }
    }

    /// The edge of a box, `stroke` wide, half of it on either side.
    pub(super) fn rectangle(&mut self, bounds: BoxPx, stroke: f32, color: Rgb) {
        if ![bounds.x1, bounds.y1, bounds.x2, bounds.y2].iter().all(|number| number.is_finite()) {
            return;
        }
        let (width, height) = self.size();
        let BoxPx { x1, y1, x2, y2 } = bounds.clipped(width, height);
        let half = (stroke / 2.0).floor();
        // Kept inside the picture, so that boxes at its edge stay visible.
        let (x1, y1) = ((x1.round() - half).max(0.0), (y1.round() - half).max(0.0));
        let (x2, y2) = ((x2.round() - half + stroke).min(width), (y2.round() - half + stroke).min(height));
        self.frame(BoxPx { x1: x1 - 1.0, y1: y1 - 1.0, x2: x2 + 1.0, y2: y2 + 1.0 }, 1.0, [0; 3], HALO);
        let inner = BoxPx { x1: x1 + stroke, y1: y1 + stroke, x2: x2 - stroke, y2: y2 - stroke };
        if inner.width() > 2.0 && inner.height() > 2.0 {
            self.frame(inner, 1.0, [0; 3], HALO);
        }
        self.frame(BoxPx { x1, y1, x2, y2 }, stroke, color, 1.0);
    }

    fn frame(&mut self, area: BoxPx, stroke: f32, color: Rgb, share: f32) {
        let BoxPx { x1, y1, x2, y2 } = area;
        let (top, bottom) = ((y1 + stroke).min(y2), (y2 - stroke).max(y1));
        self.fill(BoxPx { x1, y1, x2, y2: top }, color, share);
        self.fill(BoxPx { x1, y1: bottom.max(top), x2, y2 }, color, share);
        let sides = BoxPx { x1, y1: top, x2, y2: bottom.max(top) };
        self.fill(BoxPx { x2: (x1 + stroke).min(x2), ..sides }, color, share);
        self.fill(BoxPx { x1: (x2 - stroke).max(x1 + stroke).min(x2), ..sides }, color, share);
    }

    /// A line with round ends and soft edges; a dot where both ends are the same.
    pub(super) fn line(&mut self, from: Point, to: Point, stroke: f32, color: Rgb) {
        self.stroke(from, to, stroke / 2.0 + 1.0, [0; 3], HALO);
        self.stroke(from, to, stroke / 2.0, color, 1.0);
    }

    /// The same on a ground that it stands out from.
    pub(super) fn bare_line(&mut self, from: Point, to: Point, stroke: f32, color: Rgb) {
        self.stroke(from, to, stroke / 2.0, color, 1.0);
    }

    /// A closed line through the corners.
    pub(super) fn polygon(&mut self, corners: &[Point], stroke: f32, color: Rgb) {
        for (radius, color, share) in [(stroke / 2.0 + 1.0, [0; 3], HALO), (stroke / 2.0, color, 1.0)] {
            for (i, &corner) in corners.iter().enumerate() {
                self.stroke(corner, corners[(i + 1) % corners.len()], radius, color, share);
            }
        }
    }

    /// Mixes a colour into the inside of a polygon (even-odd rule).
    pub(super) fn fill_polygon(&mut self, corners: &[Point], color: Rgb, share: f32) {
        if corners.iter().any(|corner| !corner.x.is_finite() || !corner.y.is_finite()) {
            return;
        }
        let (width, height) = self.size();
        let (top, bottom) = corners.iter().fold((height, 0.0_f32), |(a, b), p| (a.min(p.y), b.max(p.y)));
        let mut crossings = Vec::new();
        for y in top.max(0.0) as i64..bottom.min(height).ceil() as i64 {
            let line = y as f32 + 0.5;
            crossings.clear();
            for (i, a) in corners.iter().enumerate() {
                let b = corners[(i + 1) % corners.len()];
                if (a.y <= line) != (b.y <= line) {
                    crossings.push((a.x + (line - a.y) / (b.y - a.y) * (b.x - a.x)).clamp(0.0, width));
                }
            }
            crossings.sort_by(f32::total_cmp);
            for pair in crossings.chunks_exact(2) {
                for x in (pair[0] - 0.5).ceil() as i64..(pair[1] - 0.5).ceil() as i64 {
                    self.blend(x, y, color, share);
                }
            }
        }
    }

    /// All pixels whose centre is within `radius` of the segment, softened over one pixel.
    fn stroke(&mut self, from: Point, to: Point, radius: f32, color: Rgb, share: f32) {
        if ![from.x, from.y, to.x, to.y].iter().all(|number| number.is_finite()) {
            return;
        }
        let (width, height) = self.size();
        let reach = radius + 1.0;
        let (dx, dy) = (to.x - from.x, to.y - from.y);
        let length_squared = dx * dx + dy * dy;
        let top = (from.y.min(to.y) - reach).clamp(0.0, height) as i64;
        let bottom = (from.y.max(to.y) + reach).clamp(0.0, height).ceil() as i64;
        for y in top..bottom {
            let center = y as f32 + 0.5;
            // The part of the segment that can reach this line.
            let (mut left, mut right) = (from.x.min(to.x), from.x.max(to.x));
            if dy.abs() > 1.0 {
                let [a, b] =
                    [center - reach, center + reach].map(|at| from.x + ((at - from.y) / dy).clamp(0.0, 1.0) * dx);
                (left, right) = (a.min(b), a.max(b));
            }
            let (start, end) =
                ((left - reach).clamp(0.0, width) as i64, (right + reach).clamp(0.0, width).ceil() as i64);
            for x in start..end {
                let (px, py) = (x as f32 + 0.5 - from.x, center - from.y);
                let along =
                    if length_squared > 0.0 { ((px * dx + py * dy) / length_squared).clamp(0.0, 1.0) } else { 0.0 };
                let distance = (px - along * dx).hypot(py - along * dy);
                let cover = (radius + 0.5 - distance).clamp(0.0, 1.0);
                if cover > 0.0 {
                    self.blend(x, y, color, cover * share);
                }
            }
        }
    }
}
