//! What the camera makes of a board: ragged edges, illumination, blur, smear and noise, in integers throughout.
//!
//! With everything at zero the picture is black copper on white, as DeepPCB's binarized line scans are. The loops over
//! pixels do arithmetic that cannot overflow, written so that the compiler may do many pixels at once.

use super::{options::Look, raster::Bitmap};
use crate::random::Rng;

/// The memory for filming a board.
#[derive(Clone, Debug, Default)]
pub(crate) struct Optics {
    /// Three rows of the board, each pixel summed with both neighbours.
    sums: [Vec<u8>; 3],
    row: Vec<u8>,
    /// Thresholds for the sum over nine pixels, [`TILE`] × [`TILE`].
    ragged: Vec<u8>,
    swap: Vec<u8>,
    totals: Vec<u16>,
}

/// The pattern of ragged edges repeats after so many pixels.
const TILE: usize = 128;
/// Nine pixels are copper where more of them are: a straight edge stays as it is.
const PLAIN: u8 = 4;

impl Optics {
    /// Films the board: `out` becomes one byte a pixel, row by row. Answers where the board lies in the picture, in pixels
    /// to the right and downwards.
    pub(crate) fn film(&mut self, rng: &mut Rng, copper: &Bitmap, look: Look, out: &mut Vec<u8>) -> (i32, i32) {
        let (width, height) = (copper.width() as usize, copper.height() as usize);
        out.resize(width * height, 0);
        let jitter = look.jitter_px();
        let offset = (rng.between(-jitter, jitter), rng.between(-jitter, jitter));
        self.roughen(rng);
        self.scan(copper, offset, Light::new(rng, look), out);
        self.blur(width, look.blur_hundredths, out);
        self.smear(width, look.speed_px, out);
        add_noise(rng, look.noise_hundredths, out);
        offset
    }

    /// Makes the pattern by which edges are ragged on this board.
    fn roughen(&mut self, rng: &mut Rng) {
        self.ragged.clear();
        self.ragged.resize(TILE * TILE, PLAIN);
        for _ in 0..rng.between(150, 1400) {
            // 6 takes a straight edge's outermost pixel away, 2 adds one to it.
            let threshold = rng.pick(&[2, 6]);
            let (x, y) = (rng.below(TILE as i32) as usize, rng.below(TILE as i32) as usize);
            let (long, wide) = (rng.between(1, 4) as usize, rng.between(1, 4) as usize);
            for row in y..(y + wide).min(TILE) {
                self.ragged[row * TILE..][x..(x + long).min(TILE)].fill(threshold);
            }
        }
    }

    /// The board as grey levels: copper dark, bare board bright.
    fn scan(&mut self, copper: &Bitmap, offset: (i32, i32), light: Light, out: &mut [u8]) {
        let (width, height) = (copper.width() as usize, copper.height());
        for (slot, y) in [0, 0, 1].into_iter().enumerate() {
            self.sum_row(copper, offset, y, slot);
        }
        for (y, out) in (0i32..).zip(out.chunks_exact_mut(width)) {
            let ragged = &self.ragged[y as usize % TILE * TILE..][..TILE];
            let (mut lost, slope) = light.row(y, width as i32, height);
            let [above, own, below] = &self.sums;
            let sums = above.chunks(TILE).zip(own.chunks(TILE)).zip(below.chunks(TILE));
            for (out, ((above, own), below)) in out.chunks_mut(TILE).zip(sums) {
                let first = lost;
                lost += slope * TILE as i32;
                let pixels = out.iter_mut().zip(ragged).zip(above).zip(own).zip(below);
                for (i, ((((out, ragged), above), own), below)) in (0i32..).zip(pixels) {
                    let white = !(first.wrapping_add(slope.wrapping_mul(i)) >> 16) as u8;
                    let sum = above.wrapping_add(*own).wrapping_add(*below);
                    *out = if sum > *ragged { light.black } else { white };
                }
            }
            self.sums.rotate_left(1);
            self.sum_row(copper, offset, y + 2, 2);
        }
    }

    /// Writes row `y` of the picture into `self.sums[slot]`: each pixel with both neighbours, 1 for copper. Beyond its
    /// edges the board goes on as it ends.
    fn sum_row(&mut self, copper: &Bitmap, offset: (i32, i32), y: i32, slot: usize) {
        const PAD: usize = Look::JITTER_PX_MAX as usize + 1;
        let width = copper.width() as usize;
        let y = (y - offset.1).clamp(0, copper.height() - 1);
        self.row.resize(width + 2 * PAD, 0);
        copper.unpack_row(y, &mut self.row[PAD..PAD + width]);
        let (first, last) = (self.row[PAD], self.row[PAD + width - 1]);
        self.row[..PAD].fill(first);
        self.row[PAD + width..].fill(last);
        let start = (PAD as i32 - 1 - offset.0) as usize;
        let [before, own, behind] = [0, 1, 2].map(|i| &self.row[start + i..][..width]);
        let sums = &mut self.sums[slot];
        sums.resize(width, 0);
        for (((sum, before), own), behind) in sums.iter_mut().zip(before).zip(own).zip(behind) {
            *sum = before.wrapping_add(*own).wrapping_add(*behind);
        }
    }

    /// Blurs with a nearly Gaussian kernel of this standard deviation, made of passes over three neighbours.
    fn blur(&mut self, width: usize, deviation_hundredths: i32, out: &mut [u8]) {
        /// The variance of [1 2 1] / 4, in (1/100 pixel)².
        const PASS_VARIANCE_MAX: i32 = 5000;
        let variance = deviation_hundredths * deviation_hundredths;
        let passes = (variance + PASS_VARIANCE_MAX - 1) / PASS_VARIANCE_MAX;
        if passes == 0 {
            return;
        }
        // The variance of [b 256−2b b] / 256 is 2 b / 256.
        let side = (256 * (variance / passes) / 20_000) as u16;
        let rows = out.len() / width;
        self.swap.resize(out.len(), 0);
        for _ in 0..passes {
            for (from, to) in out.chunks_exact(width).zip(self.swap.chunks_exact_mut(width)) {
                to[0] = weighed(side, from[0], from[0], from[1]);
                to[width - 1] = weighed(side, from[width - 2], from[width - 1], from[width - 1]);
                let near = from.iter().zip(&from[1..]).zip(&from[2..]);
                for (to, ((before, own), behind)) in to[1..width - 1].iter_mut().zip(near) {
                    *to = weighed(side, *before, *own, *behind);
                }
            }
            for (y, to) in out.chunks_exact_mut(width).enumerate() {
                let row = |y: usize| &self.swap[y * width..][..width];
                let near = row(y.saturating_sub(1)).iter().zip(row(y)).zip(row((y + 1).min(rows - 1)));
                for (to, ((above, own), below)) in to.iter_mut().zip(near) {
                    *to = weighed(side, *above, *own, *below);
                }
            }
        }
    }

    /// Averages over the rows that pass by while the shutter is open.
    fn smear(&mut self, width: usize, speed_px: i32, out: &mut [u8]) {
        let rows = out.len() / width;
        let span = speed_px as usize + 1;
        if span == 1 {
            return;
        }
        self.swap.resize(out.len(), 0);
        self.swap.copy_from_slice(out);
        self.totals.clear();
        self.totals.resize(width, 0);
        // Half of the way lies before the row, so that the picture stays where it is.
        let source = |y: usize| &self.swap[y.saturating_sub(span / 2).min(rows - 1) * width..][..width];
        for y in 0..span {
            self.totals.iter_mut().zip(source(y)).for_each(|(total, pixel)| *total += u16::from(*pixel));
        }
        // Dividing is multiplying by the next larger 1/65536: exact for the sums of so few bytes.
        let factor = (1u32 << 16) / span as u32 + 1;
        for (y, out) in out.chunks_exact_mut(width).enumerate() {
            let moved = source(y).iter().zip(source(y + span));
            for ((out, total), (leaving, coming)) in out.iter_mut().zip(&mut self.totals).zip(moved) {
                *out = (u32::from(*total).wrapping_mul(factor) >> 16) as u8;
                *total = total.wrapping_add(u16::from(*coming)).wrapping_sub(u16::from(*leaving));
            }
        }
    }
}

/// The illumination of one board.
#[derive(Clone, Copy, Debug)]
struct Light {
    /// How much darker than white bare board is in the four corners, in 1/256 of a grey level, row by row.
    lost: [i32; 4],
    /// The grey level of copper.
    black: u8,
}

impl Light {
    fn new(rng: &mut Rng, look: Look) -> Self {
        // Copper brightens half as much as bare board darkens at the most.
        let most = 256 * 255 * look.light_percent / 100;
        let lost = [(); 4].map(|()| rng.between(0, most));
        Self { lost, black: (rng.between(0, most / 2) / 256) as u8 }
    }

    /// What a row has lost at its beginning, and how that changes from pixel to pixel, both in 1/65536 of a grey level.
    fn row(self, y: i32, width: i32, height: i32) -> (i32, i32) {
        let mix = |top: i32, bottom: i32| top + (bottom - top) * y / height;
        let (left, right) = (mix(self.lost[0], self.lost[2]), mix(self.lost[1], self.lost[3]));
        (left * 256, (right - left) * 256 / width)
    }
}

/// One pixel of a pass of [`Optics::blur`].
#[inline]
fn weighed(side: u16, before: u8, own: u8, behind: u8) -> u8 {
    let sides = side.wrapping_mul(u16::from(before).wrapping_add(u16::from(behind)));
    let middle = 256u16.wrapping_sub(side.wrapping_mul(2)).wrapping_mul(u16::from(own));
    // The weights add up to 256, so that this is 255 · 256 + 128 at the most.
    (sides.wrapping_add(middle).wrapping_add(128) >> 8) as u8
}

/// Adds noise that is nearly normal, of this standard deviation in grey levels.
pub(crate) fn add_noise(rng: &mut Rng, deviation_hundredths: i32, out: &mut [u8]) {
    if deviation_hundredths == 0 {
        return;
    }
    let mut table = [0i8; 256];
    for entry in &mut table {
        // Four even numbers of 0..=255 have a mean of 510 together, and a standard deviation of 147.8.
        let sum: i32 = (0..4).map(|_| rng.below(256)).sum();
        *entry = ((sum - 510) * deviation_hundredths / 14_780) as i8;
    }
    for pixels in out.chunks_mut(8) {
        for (pixel, byte) in pixels.iter_mut().zip(rng.bits().to_le_bytes()) {
            *pixel = pixel.saturating_add_signed(table[usize::from(byte)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::line::raster::{Corner, Shape};

    const NOTHING: Look = Look { noise_hundredths: 0, blur_hundredths: 0, light_percent: 0, speed_px: 0 };

    fn board() -> Bitmap {
        let mut copper = Bitmap::default();
        copper.reset(200, 100);
        copper.draw(Shape::rect(100, 50, 80, 40, Corner::Square), true);
        copper
    }

    fn filmed(look: Look) -> (Vec<u8>, (i32, i32)) {
        let mut out = Vec::new();
        let offset = Optics::default().film(&mut Rng::new(1, 2), &board(), look, &mut out);
        (out, offset)
    }

    #[test]
    fn without_optics_the_picture_is_the_board_but_for_its_edges() {
        let (out, offset) = filmed(NOTHING);
        assert_eq!((out.len(), offset), (20_000, (0, 0)));
        let mut ragged = 0;
        for (i, &grey) in (0i32..).zip(&out) {
            let (x, y) = (i % 200, i / 200);
            assert!(grey == 0 || grey == 255);
            let inside = (x - 60).min(139 - x).min(y - 30).min(69 - y);
            // One pixel at an edge may differ, nothing deeper.
            if (grey == 0) == (inside >= 0) {
                continue;
            }
            assert!((-1..=0).contains(&inside), "{x} {y}");
            ragged += 1;
        }
        assert!(ragged > 3, "{ragged}");
    }

    #[test]
    fn noise_has_its_deviation_and_blur_keeps_the_mean() {
        let mut out = vec![128; 100_000];
        add_noise(&mut Rng::new(3, 4), 500, &mut out);
        let variance = out.iter().map(|&grey| (i64::from(grey) - 128).pow(2)).sum::<i64>() / 100_000;
        assert!((20..30).contains(&variance), "{variance}");

        let sum = |out: &[u8]| out.iter().map(|&grey| i64::from(grey)).sum::<i64>();
        let mut blurred = filmed(NOTHING).0;
        let before = sum(&blurred);
        Optics::default().blur(200, 150, &mut blurred);
        assert!((sum(&blurred) - before).abs() < 20_000, "{} {before}", sum(&blurred));
        assert!(blurred.iter().any(|grey| (100..150).contains(grey)));
        let steps = |out: &[u8]| out.windows(2).map(|pair| pair[0].abs_diff(pair[1])).max();
        assert!(steps(&blurred) < Some(90));
    }

    #[test]
    fn smear_is_along_the_way_and_jitter_is_answered() {
        let speed = Look { speed_px: 3, ..NOTHING };
        let (out, (right, down)) = filmed(speed);
        assert!(right.abs() <= speed.jitter_px() && down.abs() <= speed.jitter_px() && (right, down) != (0, 0));
        // In a column through the middle greys appear at both edges, in a row through the middle none does.
        let column: Vec<u8> = (0..100).map(|y| out[y * 200 + 100]).collect();
        let row = &out[50 * 200..][..200];
        let greys = |pixels: &[u8]| pixels.iter().filter(|grey| (1..255).contains(*grey)).count();
        assert!((4..=8).contains(&greys(&column)), "{column:?}");
        assert!(greys(row) <= 4, "{row:?}");
        let first = i32::try_from(row.iter().position(|grey| *grey < 128).unwrap()).unwrap();
        assert!((first - 60 - right).abs() <= 1, "{first} {right}");
    }
}
