//! Labels in Noto Sans Mono, from bitmaps that are part of the program.

use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};

use super::canvas::{Canvas, Rgb};
use crate::geometry::{BoxPx, Point};

/// A size of letters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Font {
    height: RasterHeight,
    /// Each pixel of the bitmap is so many wide and high.
    zoom: usize,
}

impl Font {
    /// Letters that suit a picture whose sides are `side` pixels on average.
    pub(super) fn for_picture(side: f32) -> Self {
        let wanted_px = side * 0.022;
        match wanted_px {
            ..=19.0 => Self { height: RasterHeight::Size16, zoom: 1 },
            _ => Self { height: RasterHeight::Size24, zoom: ((wanted_px / 24.0).round() as usize).max(1) },
        }
    }

    /// Width and height of a label, its margin included.
    pub(super) fn label_size(self, text: &str) -> (f32, f32) {
        let letters = text.chars().count() * self.letter_width();
        ((letters + 2 * self.margin()) as f32, (self.height.val() * self.zoom + self.margin()) as f32)
    }

    /// Text on a ground of `color`, its top left corner at `at`.
    pub(super) fn draw_label(self, canvas: &mut Canvas<'_>, text: &str, at: Point, color: Rgb) {
        if !at.x.is_finite() || !at.y.is_finite() {
            return;
        }
        let (width, height) = self.label_size(text);
        let at = Point { x: at.x.round(), y: at.y.round() };
        canvas.fill(BoxPx { x1: at.x, y1: at.y, x2: at.x + width, y2: at.y + height }, color, 1.0);
        let ink = if luminance(color) > 0.32 { [0; 3] } else { [255; 3] };
        let (mut x, y) = (at.x as i64 + self.margin() as i64, at.y as i64 + self.margin() as i64 / 2);
        for letter in text.chars() {
            self.draw_letter(canvas, letter, x, y, ink);
            x += self.letter_width() as i64;
        }
    }

    fn draw_letter(self, canvas: &mut Canvas<'_>, letter: char, x: i64, y: i64, ink: Rgb) {
        let Some(glyph) = get_raster(letter, FontWeight::Bold, self.height) else {
            return self.draw_missing(canvas, x, y, ink);
        };
        let zoom = self.zoom as i64;
        for (line, row) in (0..).zip(glyph.rows()) {
            for (column, &level) in (0..).zip(row) {
                for i in 0..zoom * zoom {
                    let (px, py) = (x + column * zoom + i % zoom, y + line * zoom + i / zoom);
                    canvas.blend(px, py, ink, f32::from(level) / 255.0);
                }
            }
        }
    }

    /// A hollow box, so that a letter which the font lacks is seen to be one.
    fn draw_missing(self, canvas: &mut Canvas<'_>, x: i64, y: i64, ink: Rgb) {
        let (width, height) = (self.letter_width() as i64 - 2, (self.height.val() * self.zoom) as i64 * 3 / 5);
        for py in 0..height {
            for px in 0..width {
                if px == 0 || py == 0 || px == width - 1 || py == height - 1 {
                    canvas.blend(x + 1 + px, y + height / 3 + py, ink, 1.0);
                }
            }
        }
    }

    fn letter_width(self) -> usize {
        get_raster_width(FontWeight::Bold, self.height) * self.zoom
    }

    fn margin(self) -> usize {
        self.letter_width() / 2
    }
}

/// Relative luminance of an sRGB colour (WCAG 2, gamma taken as 2.2): which ink stands out on it.
fn luminance(color: Rgb) -> f32 {
    let [r, g, b] = color.map(|level| (f32::from(level) / 255.0).powf(2.2));
    0.2126 * r + 0.7152 * g + 0.0722 * b
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vision::RgbImage;

    fn drawn(text: &str) -> RgbImage {
        let mut picture = RgbImage { width: 60, height: 30, data: vec![0; 60 * 30 * 3] };
        let at = Point { x: 2.0, y: 2.0 };
        Font::for_picture(100.0).draw_label(&mut Canvas::new(&mut picture), text, at, [255, 255, 255]);
        picture
    }

    #[test]
    fn letters_differ_and_one_that_the_font_lacks_is_a_visible_box() {
        let [a, b, missing, none] = ["aé", "ae", "a漢", "a "].map(drawn);
        assert!(a != b && missing != none && missing != a);
        assert_eq!(drawn("a漢"), drawn("a字"));
    }
}
