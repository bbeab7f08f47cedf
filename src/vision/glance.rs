//! What a camera's picture is like as a whole: how dark, how bright, how sharp, and whether it is the last one again.
//!
//! Pure. At most [`LINES_MAX`] lines are looked at, evenly spread, and nothing is allocated. A picture is hashed as a whole
//! only where those lines are the same as the last time, which noise keeps from happening while a camera works. What
//! follows from it over time is for `visibility`.

use super::RgbImage;

/// So many lines are looked at, at most.
const LINES_MAX: usize = 64;

/// Lines are cut into so many pieces, none shorter than [`PIECE_PX_MIN`]; each is asked for its contrast and its edges.
const PIECES: usize = 16;
const PIECE_PX_MIN: usize = 16;

/// A piece with less contrast, in grey levels, says nothing about sharpness: what is seen there may be noise.
const CONTRAST_MIN: u8 = 32;

/// So many pieces with contrast say how sharp a picture is; fewer do not.
const CONTRASTY_PIECES_MIN: u32 = 12;

/// Steps in which the sharpness of pieces is counted.
const SHARPNESS_STEPS: usize = 64;

/// What one look at a picture tells. Levels are luma, 0 (black) to 255.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Glance {
    /// All but 0.5 % of the pixels are at most so bright.
    pub(super) high: u8,
    /// All but 0.5 % of the pixels are at least so bright.
    pub(super) low: u8,
    /// All but 5 % of the pixels are at least so bright.
    pub(super) mostly_above: u8,
    /// How steep the sharpest tenth of the edges is: the step over two pixels as a part of the whole step, in `0..=1`.
    /// `None` where there are too few edges to tell.
    pub(super) sharpness: Option<f32>,
    /// Of the pixels that were looked at, and of the size.
    digest: u64,
}

/// Looks at a picture; `None` where it has no pixels.
pub(super) fn glance(picture: &RgbImage) -> Option<Glance> {
    let (width, height) = (picture.width as usize, picture.height as usize);
    if width == 0 || height == 0 {
        return None;
    }
    let step = height.div_ceil(LINES_MAX);
    let mut levels = [0_u32; 256];
    let mut edges = Edges::default();
    let mut digest = Digest::new(picture);
    let piece_px = width.div_ceil(PIECES).max(PIECE_PX_MIN);
    for line in picture.data.chunks_exact(width * 3).skip(step / 2).step_by(step) {
        digest.add(line);
        let mut pieces = [Piece { low: 0, high: 0, steepest: 0 }; PIECES];
        let count = line.chunks(piece_px * 3).len();
        for (piece, pixels) in pieces.iter_mut().zip(line.chunks(piece_px * 3)) {
            *piece = Piece::of(pixels, &mut levels);
        }
        edges.add(&pieces[..count]);
    }
    let pixels: u32 = levels.iter().sum();
    // Rounded down: of a small picture, one odd pixel may be 0.5 %.
    let few = pixels / 200;
    let from_below = |skipped: u32| {
        let mut below = 0;
        let level = levels.iter().position(|count| {
            below += count;
            below > skipped
        });
        level.unwrap_or(255) as u8
    };
    Some(Glance {
        high: from_below(pixels - 1 - few),
        low: from_below(few),
        mostly_above: from_below(pixels / 20),
        sharpness: edges.sharpness(),
        digest: digest.sum(),
    })
}

/// Luma of ITU-R BT.601 in integers.
fn luma(pixel: &[u8]) -> u8 {
    let [r, g, b] = [0, 1, 2].map(|channel| u32::from(pixel[channel]));
    ((77 * r + 150 * g + 29 * b) >> 8) as u8
}

/// A piece of a line: its darkest and its brightest level, and twice its steepest step.
#[derive(Clone, Copy)]
struct Piece {
    low: u8,
    high: u8,
    steepest: u16,
}

impl Piece {
    /// Steps are taken between means of two neighbours, two pixels apart, which halves the noise and leaves an edge that is
    /// sharp its height.
    fn of(pixels: &[u8], levels: &mut [u32; 256]) -> Self {
        let mut piece = Self { low: u8::MAX, high: u8::MIN, steepest: 0 };
        let mut before = [0_u8; 3];
        for (index, pixel) in pixels.chunks_exact(3).enumerate() {
            let level = luma(pixel);
            levels[usize::from(level)] += 1;
            (piece.low, piece.high) = (piece.low.min(level), piece.high.max(level));
            if index >= 3 {
                let left = u16::from(before[0]) + u16::from(before[1]);
                let right = u16::from(before[2]) + u16::from(level);
                piece.steepest = piece.steepest.max(left.abs_diff(right));
            }
            before = [before[1], before[2], level];
        }
        piece
    }
}

/// How sharp the pieces with contrast are.
struct Edges {
    steps: [u32; SHARPNESS_STEPS + 1],
    pieces: u32,
}

impl Default for Edges {
    fn default() -> Self {
        Self { steps: [0; SHARPNESS_STEPS + 1], pieces: 0 }
    }
}

impl Edges {
    /// Counts the pieces of a line. Each is compared with the contrast of its neighbours as well, where an edge that is cut
    /// goes on.
    fn add(&mut self, pieces: &[Piece]) {
        for (index, piece) in pieces.iter().enumerate() {
            if piece.high - piece.low < CONTRAST_MIN {
                continue;
            }
            let around = &pieces[index.saturating_sub(1)..(index + 2).min(pieces.len())];
            let (low, high) = around.iter().fold((u8::MAX, 0), |(low, high), p| (low.min(p.low), high.max(p.high)));
            let sharpness = usize::from(piece.steepest) * SHARPNESS_STEPS / (2 * usize::from(high - low));
            self.steps[sharpness.min(SHARPNESS_STEPS)] += 1;
            self.pieces += 1;
        }
    }

    /// The sharpness that a tenth of the pieces reach: what stands still in the picture is sharp where a part that passes
    /// is smeared.
    fn sharpness(&self) -> Option<f32> {
        if self.pieces < CONTRASTY_PIECES_MIN {
            return None;
        }
        let mut above = 0;
        let found = self.steps.iter().rposition(|count| {
            above += count;
            above >= self.pieces.div_ceil(10)
        });
        found.map(|step| step as f32 / SHARPNESS_STEPS as f32)
    }
}

/// Whether pictures are the very same, pixel by pixel.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sameness {
    /// The last picture's lines that were looked at, and all of it where it was hashed.
    last: Option<(u64, Option<u64>)>,
}

impl Sameness {
    /// Whether this picture is the last one again. The first that is the same as its predecessor in the lines that were
    /// looked at is not known to be so in all others; from the next on it is certain.
    pub(super) fn is_repeated(&mut self, picture: &RgbImage, glance: &Glance) -> bool {
        let (same_lines, whole_before) = match self.last {
            Some((lines, whole)) => (lines == glance.digest, whole),
            None => (false, None),
        };
        let whole = same_lines.then(|| {
            let mut digest = Digest::new(picture);
            digest.add(&picture.data);
            digest.sum()
        });
        self.last = Some((glance.digest, whole));
        same_lines && (whole_before.is_none() || whole_before == whole)
    }
}

/// A hash that is fast and no defence against anybody: FNV-1a over words of eight bytes.
struct Digest(u64);

impl Digest {
    fn new(picture: &RgbImage) -> Self {
        Self(0xcbf2_9ce4_8422_2325 ^ u64::from(picture.width) << 32 ^ u64::from(picture.height))
    }

    fn add(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.mix(u64::from_le_bytes(*word));
        }
        for &byte in rest {
            self.mix(u64::from(byte));
        }
    }

    fn mix(&mut self, word: u64) {
        // The high half comes down, since a product carries upwards only.
        let mixed = (self.0 ^ word).wrapping_mul(0x0000_0100_0000_01b3);
        self.0 = mixed ^ mixed >> 32;
    }

    fn sum(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vision::noise::Noise;

    #[test]
    fn levels_leave_a_few_pixels_out() {
        let hot = RgbImage::grey(200, 100, |x, y| if (x, y) == (50, 51) { 255 } else { 7 });
        let seen = glance(&hot).unwrap();
        assert_eq!((seen.low, seen.high, seen.mostly_above), (7, 7, 7));
        let halves = RgbImage::grey(200, 100, |x, _| if x < 100 { 10 } else { 200 });
        let seen = glance(&halves).unwrap();
        assert_eq!((seen.low, seen.high, seen.mostly_above), (10, 200, 10));
        assert_eq!(glance(&RgbImage::default()), None);
        let pixel = glance(&RgbImage::grey(1, 1, |_, _| 9)).unwrap();
        assert_eq!((pixel.low, pixel.high, pixel.sharpness), (9, 9, None));
    }

    #[test]
    fn sharpness_is_the_part_of_an_edge_that_two_pixels_hold() {
        // Edges of 100 levels, each within `px` pixels.
        let ramp = |px: u32| {
            let seen = glance(&RgbImage::grey(640, 480, |x, _| {
                let at = (x % 40).saturating_sub(10);
                (50 + 100 * at.min(px) / px) as u8
            }));
            seen.unwrap().sharpness.unwrap()
        };
        assert!(ramp(1) > 0.95, "{}", ramp(1));
        assert!((0.08..0.2).contains(&ramp(16)), "{}", ramp(16));
        let even = RgbImage::grey(640, 480, |_, _| 90);
        assert_eq!(glance(&even).unwrap().sharpness, None);
    }

    #[test]
    fn noise_has_no_contrast_and_keeps_pictures_apart() {
        let mut noise = Noise::seeded(3);
        let mut shot =
            || RgbImage::grey(640, 480, |_, _| 90).data.iter().map(|v| v + noise.below(9) as u8).collect::<Vec<_>>();
        let shots = [shot(), shot()].map(|data| RgbImage { width: 640, height: 480, data });
        let mut sameness = Sameness::default();
        for shot in &shots {
            let seen = glance(shot).unwrap();
            assert_eq!(seen.sharpness, None);
            assert!(!sameness.is_repeated(shot, &seen));
        }
    }

    #[test]
    fn a_change_between_the_lines_that_are_looked_at_is_a_change() {
        let still = RgbImage::grey(64, 480, |x, _| x as u8);
        let mut moved = still.clone();
        // The first line is not among those.
        moved.data[0] = 200;
        assert_eq!(glance(&still), glance(&moved));
        let mut sameness = Sameness::default();
        let mut repeated = |shot: &RgbImage| sameness.is_repeated(shot, &glance(shot).unwrap());
        assert!(!repeated(&still));
        assert!(repeated(&still) && repeated(&still));
        assert!(!repeated(&moved));
        assert!(repeated(&moved));
        assert!(!repeated(&still));
    }
}
