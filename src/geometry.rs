//! Points, boxes, and the placement of one picture inside another.
//!
//! Plain arithmetic in pixels. Coordinates are continuous: a pixel `(i, j)` covers `[i, i + 1) × [j, j + 1)`.

/// A point in pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Point {
    /// To the right from the left edge.
    pub x: f32,
    /// Downwards from the top edge.
    pub y: f32,
}

/// An axis-aligned box in pixels: `x1 ≤ x2`, `y1 ≤ y2`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BoxPx {
    /// Left edge.
    pub x1: f32,
    /// Top edge.
    pub y1: f32,
    /// Right edge.
    pub x2: f32,
    /// Bottom edge.
    pub y2: f32,
}

impl BoxPx {
    /// A box from its centre, width and height.
    pub fn from_center(cx: f32, cy: f32, width: f32, height: f32) -> Self {
        Self { x1: cx - width / 2.0, y1: cy - height / 2.0, x2: cx + width / 2.0, y2: cy + height / 2.0 }
    }

    /// Width in pixels.
    pub fn width(&self) -> f32 {
        self.x2 - self.x1
    }

    /// Height in pixels.
    pub fn height(&self) -> f32 {
        self.y2 - self.y1
    }

    /// Area in square pixels; zero for an empty box.
    pub fn area(&self) -> f32 {
        self.width().max(0.0) * self.height().max(0.0)
    }

    /// Intersection over union, in `0..=1`; zero where neither box has an area.
    pub fn iou(&self, other: &Self) -> f32 {
        let width = self.x2.min(other.x2) - self.x1.max(other.x1);
        let height = self.y2.min(other.y2) - self.y1.max(other.y1);
        let intersection = width.max(0.0) * height.max(0.0);
        let union = self.area() + other.area() - intersection;
        if union > 0.0 { intersection / union } else { 0.0 }
    }

    /// The part of the box inside a picture of `width` × `height` pixels.
    pub fn clipped(&self, width: f32, height: f32) -> Self {
        Self {
            x1: self.x1.clamp(0.0, width),
            y1: self.y1.clamp(0.0, height),
            x2: self.x2.clamp(0.0, width),
            y2: self.y2.clamp(0.0, height),
        }
    }
}

/// A whole number of pixels, width before height.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Size {
    /// Pixels in a line.
    pub width: u32,
    /// Lines.
    pub height: u32,
}

/// A rectangle of whole pixels inside a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// Left edge.
    pub x: u32,
    /// Top edge.
    pub y: u32,
    /// Pixels in a line.
    pub width: u32,
    /// Lines.
    pub height: u32,
}

/// Where a picture was cut out of a larger one: what brings its coordinates back into the larger one's pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use = "detections are reported in pixels of the original: pass it to `Placement::inside`"]
pub struct Cutout {
    /// The picture's top left corner in the original.
    pub origin: Point,
    /// Size of the original.
    pub original: Size,
}

/// Where a picture lies inside the model's input: `model = picture × scale + offset`, per axis.
///
/// Made by `vision::Fitter`; used backwards to bring what the model found into the pixels of the picture, as
/// Ultralytics' `scale_boxes` does: the scale of each axis after the picture's size was rounded to whole pixels, and the
/// whole pixels that were padded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Placement {
    /// Size of the picture that was placed.
    pub picture: Size,
    /// Size of the model's input.
    pub model: Size,
    /// Model pixels per picture pixel, along x and y.
    pub scale: [f32; 2],
    /// Model pixels left of and above the picture.
    pub offset: [f32; 2],
    /// Added to picture coordinates at the end: where the picture was cut out of the original frame.
    pub origin: Point,
    /// Size of the original frame, to which boxes are clipped.
    pub original: Size,
}

impl Placement {
    /// The same placement for a picture that was cut out of a larger one.
    #[must_use]
    pub fn inside(self, cutout: Cutout) -> Self {
        Self { origin: cutout.origin, original: cutout.original, ..self }
    }

    /// A point of the model's input in pixels of the original frame, clipped to it.
    pub fn point_to_original(&self, point: Point) -> Point {
        let x = (point.x - self.offset[0]) / self.scale[0];
        let y = (point.y - self.offset[1]) / self.scale[1];
        Point {
            x: x.clamp(0.0, self.picture.width as f32) + self.origin.x,
            y: y.clamp(0.0, self.picture.height as f32) + self.origin.y,
        }
    }

    /// A box of the model's input in pixels of the original frame, clipped to it.
    pub fn box_to_original(&self, found: BoxPx) -> BoxPx {
        let a = self.point_to_original(Point { x: found.x1, y: found.y1 });
        let b = self.point_to_original(Point { x: found.x2, y: found.y2 });
        BoxPx { x1: a.x, y1: a.y, x2: b.x, y2: b.y }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iou_of_halves_and_of_strangers() {
        let a = BoxPx { x1: 0.0, y1: 0.0, x2: 10.0, y2: 10.0 };
        assert_eq!(a.iou(&a), 1.0);
        assert_eq!(a.iou(&BoxPx { x1: 5.0, ..a }), 0.5);
        assert_eq!(a.iou(&BoxPx { x1: 20.0, y1: 0.0, x2: 30.0, y2: 10.0 }), 0.0);
        assert_eq!(BoxPx::default().iou(&BoxPx::default()), 0.0);
    }

    #[test]
    fn a_placement_is_undone() {
        let placement = Placement {
            picture: Size { width: 100, height: 50 },
            model: Size { width: 640, height: 640 },
            scale: [6.4, 6.4],
            offset: [0.0, 160.0],
            origin: Point { x: 10.0, y: 20.0 },
            original: Size { width: 200, height: 100 },
        };
        let found = placement.box_to_original(BoxPx { x1: 64.0, y1: 224.0, x2: 700.0, y2: 320.0 });
        assert_eq!(found, BoxPx { x1: 20.0, y1: 30.0, x2: 110.0, y2: 45.0 });
    }
}
