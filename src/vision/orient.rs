//! The eight ways in which a picture can lie, and bringing it upright while it is written.

use super::{RgbImage, Rotation};
use crate::geometry::{Region, Size};

/// Lines that are turned at once: a turned line is written in runs of as many pixels, which keeps to few cache lines.
const STRIP_LINES: u32 = 16;

/// How an upright pixel is found in the stored picture: first the axes are swapped, then mirrored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Orientation {
    /// Columns of the upright picture are lines of the stored one.
    transpose: bool,
    /// Counted from the right edge of the stored picture.
    mirror_x: bool,
    /// Counted from the bottom edge of the stored picture.
    mirror_y: bool,
}

impl Orientation {
    /// The meaning of the EXIF tag `Orientation` (0x0112, EXIF 2.32 §4.6.4); unknown values mean upright, as readers
    /// have it.
    pub(super) fn from_exif(tag: u16) -> Self {
        let (transpose, mirror_x, mirror_y) = match tag {
            2 => (false, true, false),
            3 => (false, true, true),
            4 => (false, false, true),
            5 => (true, false, false),
            6 => (true, false, true),
            7 => (true, true, true),
            8 => (true, true, false),
            _ => (false, false, false),
        };
        Self { transpose, mirror_x, mirror_y }
    }

    /// Whether the picture is stored upright.
    pub(super) fn is_upright(self) -> bool {
        self == Self::default()
    }

    /// This orientation undone first, then the picture turned.
    pub(super) fn then(self, rotation: Rotation) -> Self {
        let turn = Self::from_exif(match rotation {
            Rotation::None => 1,
            Rotation::Quarter => 6,
            Rotation::Half => 3,
            Rotation::ThreeQuarters => 8,
        });
        let (x, y) = if self.transpose { (turn.mirror_y, turn.mirror_x) } else { (turn.mirror_x, turn.mirror_y) };
        Self { transpose: self.transpose != turn.transpose, mirror_x: self.mirror_x != x, mirror_y: self.mirror_y != y }
    }

    /// The size of the upright picture.
    pub(super) fn upright_size(self, stored: Size) -> Size {
        if self.transpose { Size { width: stored.height, height: stored.width } } else { stored }
    }

    /// The part of the stored picture that an upright region shows. The region lies inside the upright picture.
    fn stored_region(self, region: Region, stored: Size) -> Region {
        let Region { x, y, width, height } = region;
        let (x, y, width, height) = if self.transpose { (y, x, height, width) } else { (x, y, width, height) };
        Region {
            x: if self.mirror_x { stored.width - x - width } else { x },
            y: if self.mirror_y { stored.height - y - height } else { y },
            width,
            height,
        }
    }
}

/// Writes the upright `region` of a stored picture into `out`.
///
/// `row(y, x, pixels)` writes the RGB of stored line `y` from column `x` on; `strip` is working memory.
pub(super) fn write_upright(
    orientation: Orientation,
    stored: Size,
    region: Region,
    strip: &mut Vec<u8>,
    out: &mut RgbImage,
    mut row: impl FnMut(u32, u32, &mut [u8]),
) {
    out.reshape(Size { width: region.width, height: region.height });
    let part = orientation.stored_region(region, stored);
    let line_len = part.width as usize * 3;
    if orientation.transpose {
        strip.resize(line_len * STRIP_LINES as usize, 0);
        let mut done = 0;
        while done < part.height {
            let lines = STRIP_LINES.min(part.height - done);
            for i in 0..lines {
                row(part.y + done + i, part.x, &mut strip[i as usize * line_len..][..line_len]);
            }
            write_turned(orientation, part, done, lines, strip, &mut out.data);
            done += lines;
        }
        return;
    }
    for (i, upright) in (0..part.height).zip(out.data.chunks_exact_mut(line_len.max(1))) {
        let y = if orientation.mirror_y { part.y + part.height - 1 - i } else { part.y + i };
        row(y, part.x, upright);
        if orientation.mirror_x {
            reverse_pixels(upright);
        }
    }
}

/// Writes `lines` stored lines, the first of them the `done`-th of `part`, as columns of the upright picture.
fn write_turned(orientation: Orientation, part: Region, done: u32, lines: u32, strip: &[u8], out: &mut [u8]) {
    let line_len = part.width as usize * 3;
    let upright_len = part.height as usize * 3;
    let lines = lines as usize;
    let first = if orientation.mirror_y { part.height as usize - done as usize - lines } else { done as usize };
    for (i, upright) in out.chunks_exact_mut(upright_len).enumerate() {
        let x = if orientation.mirror_x { part.width as usize - 1 - i } else { i };
        let run = &mut upright[first * 3..(first + lines) * 3];
        for (k, pixel) in run.as_chunks_mut::<3>().0.iter_mut().enumerate() {
            let line = if orientation.mirror_y { lines - 1 - k } else { k };
            *pixel = strip.as_chunks::<3>().0[line * line_len / 3 + x];
        }
    }
}

fn reverse_pixels(line: &mut [u8]) {
    line.as_chunks_mut::<3>().0.reverse();
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The stored pixel that an upright one shows, after the table in the EXIF specification.
    fn stored_pixel(tag: u16, x: u32, y: u32, stored: Size) -> (u32, u32) {
        let (right, bottom) = (stored.width - 1, stored.height - 1);
        match tag {
            1 => (x, y),
            2 => (right - x, y),
            3 => (right - x, bottom - y),
            4 => (x, bottom - y),
            5 => (y, x),
            6 => (y, bottom - x),
            7 => (right - y, bottom - x),
            8 => (right - y, x),
            _ => unreachable!(),
        }
    }

    fn picture(size: Size) -> Vec<u8> {
        (0..size.height).flat_map(|y| (0..size.width).flat_map(move |x| [x as u8, y as u8, 7])).collect()
    }

    fn upright(orientation: Orientation, size: Size, region: Region) -> RgbImage {
        let data = picture(size);
        let mut out = RgbImage::default();
        write_upright(orientation, size, region, &mut Vec::new(), &mut out, |y, x, line| {
            let at = (y * size.width + x) as usize * 3;
            let len = line.len();
            line.copy_from_slice(&data[at..at + len]);
        });
        out
    }

    #[test]
    fn every_orientation_shows_the_pixels_that_exif_says() {
        for size in [Size { width: 5, height: 3 }, Size { width: 1, height: 37 }, Size { width: 33, height: 18 }] {
            for tag in 1..=8 {
                let orientation = Orientation::from_exif(tag);
                let whole = orientation.upright_size(size);
                let regions = [
                    Region { x: 0, y: 0, width: whole.width, height: whole.height },
                    Region {
                        x: whole.width / 3,
                        y: whole.height / 4,
                        width: whole.width - whole.width / 2,
                        height: whole.height - whole.height / 2,
                    },
                ];
                for region in regions {
                    let out = upright(orientation, size, region);
                    for y in 0..region.height {
                        for x in 0..region.width {
                            let (sx, sy) = stored_pixel(tag, region.x + x, region.y + y, size);
                            let at = (y * region.width + x) as usize * 3;
                            assert_eq!(
                                out.data[at..at + 3],
                                [sx as u8, sy as u8, 7],
                                "tag {tag}, {size:?}, {region:?}"
                            );
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn four_quarter_turns_and_each_turn_with_its_opposite_are_none() {
        let turns = [Rotation::None, Rotation::Quarter, Rotation::Half, Rotation::ThreeQuarters];
        for tag in 1..=8 {
            let start = Orientation::from_exif(tag);
            let around = (0..4).fold(start, |orientation, _| orientation.then(Rotation::Quarter));
            assert_eq!(around, start);
            for (i, turn) in turns.into_iter().enumerate() {
                assert_eq!(start.then(turn).then(turns[(4 - i) % 4]), start);
                assert_eq!((0..i).fold(start, |o, _| o.then(Rotation::Quarter)), start.then(turn));
            }
        }
    }

    #[test]
    fn turning_after_exif_is_the_same_as_turning_the_upright_picture() {
        let size = Size { width: 7, height: 4 };
        for tag in 1..=8 {
            let first = Orientation::from_exif(tag);
            let middle = first.upright_size(size);
            let all = |size: Size| Region { x: 0, y: 0, width: size.width, height: size.height };
            let upright_picture = upright(first, size, all(middle));
            for rotation in [Rotation::Quarter, Rotation::Half, Rotation::ThreeQuarters] {
                let turn = Orientation::default().then(rotation);
                let mut twice = RgbImage::default();
                let end = turn.upright_size(middle);
                write_upright(turn, middle, all(end), &mut Vec::new(), &mut twice, |y, x, line| {
                    let at = (y * middle.width + x) as usize * 3;
                    let len = line.len();
                    line.copy_from_slice(&upright_picture.data[at..at + len]);
                });
                let once = upright(first.then(rotation), size, all(end));
                assert_eq!(once, twice, "tag {tag}, {rotation:?}");
            }
        }
    }
}
