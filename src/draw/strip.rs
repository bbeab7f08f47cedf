//! Pictures in a row, each with a caption: what led to something, at one glance.

use super::{canvas::Canvas, text::Font};
use crate::{
    geometry::{Point, Size},
    vision::{Fit, Fitter, RgbImage},
};

/// Size of each picture in pixels.
const CELL: Size = Size { width: 480, height: 360 };
/// Pixels between two pictures.
const GAP: u32 = 8;
/// Pictures in a row; more go on below.
const COLUMNS_MAX: u32 = 4;
/// At most so many pictures: the last ones.
const SHOTS_MAX: usize = 16;
/// The ground of captions.
const CAPTION: [u8; 3] = [0x20, 0x20, 0x20];

/// A picture and what is to be said of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Shot {
    /// The picture, with whatever is drawn on it.
    pub picture: RgbImage,
    /// A few words.
    pub caption: String,
}

/// Lays pictures out in rows, in their order; the last 16 where there are more. An empty picture where there are none.
pub fn strip(shots: &[Shot]) -> RgbImage {
    let shots = &shots[shots.len().saturating_sub(SHOTS_MAX)..];
    let count = u32::try_from(shots.len()).expect("they were cut to a few in the line before");
    if count == 0 {
        return RgbImage::default();
    }
    let columns = count.min(COLUMNS_MAX);
    let rows = count.div_ceil(columns);
    let width = columns * (CELL.width + GAP) - GAP;
    let height = rows * (CELL.height + GAP) - GAP;
    let mut sheet = RgbImage { width, height, data: vec![0xff; width as usize * height as usize * 3] };
    let mut cell = RgbImage::default();
    let font = Font::for_picture((CELL.width + CELL.height) as f32 / 2.0);
    for (index, shot) in (0..).zip(shots) {
        // Each may have another size, for which a fitter would have to be made anew in any case.
        Fitter::new(Fit::LetterboxCentered, CELL).fit(&shot.picture, &mut cell);
        font.draw_label(&mut Canvas::new(&mut cell), &shot.caption, Point { x: 0.0, y: 0.0 }, CAPTION);
        let (x, y) = (index % columns * (CELL.width + GAP), index / columns * (CELL.height + GAP));
        paste(&cell, &mut sheet, x as usize, y as usize);
    }
    sheet
}

/// Copies a picture into a larger one, where it fits.
fn paste(cell: &RgbImage, sheet: &mut RgbImage, x: usize, y: usize) {
    let (from, to) = (cell.width as usize * 3, sheet.width as usize * 3);
    for (line, pixels) in cell.data.chunks_exact(from).enumerate() {
        let at = (y + line) * to + x * 3;
        sheet.data[at..at + from].copy_from_slice(pixels);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shot(level: u8) -> Shot {
        Shot { picture: RgbImage { width: 48, height: 36, data: vec![level; 48 * 36 * 3] }, caption: String::new() }
    }

    #[test]
    fn pictures_stand_in_rows_in_their_order() {
        for (count, width, height) in [(0, 0, 0), (1, 480, 360), (2, 968, 360), (5, 1944, 728), (40, 1944, 1464)] {
            let shots: Vec<_> = (0..count).map(|index| shot(index as u8)).collect();
            let sheet = strip(&shots);
            assert_eq!((sheet.width, sheet.height), (width, height), "{count}");
        }
        let sheet = strip(&[shot(10), shot(20), shot(30), shot(40), shot(50)]);
        let level = |x: usize, y: usize| sheet.data[(y * sheet.width as usize + x) * 3];
        assert_eq!([level(240, 200), level(728, 200), level(240, 600)], [10, 20, 50]);
        assert_eq!(level(484, 200), 0xff, "between them is nothing");
    }
}
