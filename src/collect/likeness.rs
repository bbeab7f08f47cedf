//! Whether a picture shows what a kept one shows already: pure.
//!
//! Pictures are compared by a difference hash: which parts are brighter than those to their right (N. Krawetz, 2013). It
//! does not see a small thing on a large ground, so two pictures are only near-duplicates where the same was found at the
//! same places too.

use std::collections::VecDeque;

use super::policy::{Found, Seen};
use crate::{geometry::BoxPx, vision::RgbImage};

/// What a picture looks like from afar: one bit for each of 8 × 8 parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PictureHash(pub(super) u64);

/// Parts in a line that are compared, and lines of them. One part more in a line has the last to compare with.
const PARTS: usize = 8;

/// A part counts as brighter than the next from this difference on, in 1/16 of a grey level. Even ground would change with
/// the noise otherwise.
const MARGIN_SIXTEENTHS: u32 = 32;

/// So many lines of a part are looked at, evenly spread: enough for its mean, and a frame costs little.
const LINES_OF_PART_MAX: usize = 16;

/// Pictures that differ in more bits are different pictures.
const DUPLICATE_BITS_MAX: u32 = 4;

/// Objects that overlap by so much are at the same place.
const SAME_PLACE_IOU_MIN: f32 = 0.5;

/// So many of the kept pictures of a camera are remembered; the oldest is forgotten.
const REMEMBERED_MAX: usize = 256;

/// In how many of 64 bits two pictures differ.
pub(super) fn distance(a: PictureHash, b: PictureHash) -> u32 {
    (a.0 ^ b.0).count_ones()
}

/// What a picture looks like; all zero for one without pixels.
pub(super) fn hash(picture: &RgbImage) -> PictureHash {
    let (width, height) = (picture.width as usize, picture.height as usize);
    if width == 0 || height == 0 {
        return PictureHash::default();
    }
    // Pictures smaller than the grid have parts that overlap.
    let part = |index: usize, count: usize, len: usize| {
        let start = (index * len / count).min(len - 1);
        start..((index + 1) * len / count).max(start + 1)
    };
    let mut bits = 0;
    for row in 0..PARTS {
        let lines = part(row, PARTS, height);
        let step = lines.len().div_ceil(LINES_OF_PART_MAX);
        let mut means = [0; PARTS + 1];
        for (column, mean) in means.iter_mut().enumerate() {
            let pixels = part(column, PARTS + 1, width);
            let (mut sum, mut count) = (0_u64, 0_u64);
            for line in lines.clone().step_by(step) {
                let at = line * width;
                let line = &picture.data[(at + pixels.start) * 3..(at + pixels.end) * 3];
                sum += line.chunks_exact(3).map(|rgb| u64::from(luma(rgb))).sum::<u64>();
                count += pixels.len() as u64;
            }
            *mean = u32::try_from(sum * 16 / (count * 256)).expect("a mean of bytes is small");
        }
        for pair in means.windows(2) {
            bits = bits << 1 | u64::from(pair[0] >= pair[1] + MARGIN_SIXTEENTHS);
        }
    }
    PictureHash(bits)
}

/// Luma in 1/256 of a grey level, by the weights of ITU-R BT.601.
fn luma(rgb: &[u8]) -> u32 {
    77 * u32::from(rgb[0]) + 150 * u32::from(rgb[1]) + 29 * u32::from(rgb[2])
}

/// What the pictures that were kept of one camera look like.
#[derive(Debug, Default)]
pub(super) struct Memory(VecDeque<(PictureHash, Vec<(usize, BoxPx)>)>);

impl Memory {
    /// Whether a picture was kept that shows the same.
    pub(super) fn knows(&self, seen: &Seen) -> bool {
        self.0.iter().rev().any(|(hash, objects)| {
            distance(*hash, seen.hash) <= DUPLICATE_BITS_MAX && are_the_same(objects, &seen.found)
        })
    }

    /// Remembers a picture that is kept.
    pub(super) fn remember(&mut self, seen: &Seen) {
        if self.0.len() == REMEMBERED_MAX {
            self.0.pop_front();
        }
        self.0.push_back((seen.hash, seen.found.iter().map(|found| (found.class, found.bounds)).collect()));
    }
}

/// Whether each object was found again, and nothing else.
fn are_the_same(objects: &[(usize, BoxPx)], found: &[Found]) -> bool {
    let mut left: Vec<&Found> = found.iter().collect();
    let mut take = |&(class, bounds): &(usize, BoxPx)| {
        let same = |other: &&Found| other.class == class && bounds.iou(&other.bounds) >= SAME_PLACE_IOU_MIN;
        left.iter().position(same).map(|index| left.swap_remove(index)).is_some()
    };
    objects.len() == found.len() && objects.iter().all(&mut take)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// Smooth hills of grey, other ones for each seed, with noise of a few levels.
    fn picture(seed: u32, noise_seed: u32, (width, height): (u32, u32)) -> RgbImage {
        let mut state = noise_seed | 1;
        let mut data = Vec::new();
        for y in 0..height {
            for x in 0..width {
                let (x, y) = (x as f32 / width as f32, y as f32 / height as f32);
                let seed = seed as f32;
                let hills = (x * (9.0 + seed) + seed).sin() + (y * (7.0 + 2.0 * seed) + x * 5.0 * seed).cos();
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let noise = (state >> 24) as f32 / 32.0 - 4.0;
                data.extend([(120.0 + 50.0 * hills + noise) as u8; 3]);
            }
        }
        RgbImage { width, height, data }
    }

    fn seen(hash: u64, boxes: &[(usize, f32)]) -> Seen {
        let found = boxes.iter().map(|&(class, x)| Found {
            class,
            confidence: 0.9,
            bounds: BoxPx { x1: x, y1: 0.0, x2: x + 10.0, y2: 10.0 },
            counts: true,
        });
        Seen { at: Instant::now(), hash: PictureHash(hash), found: found.collect(), asked: false }
    }

    #[test]
    fn noise_and_size_change_little_and_another_picture_much() {
        let size = (320, 240);
        let own = hash(&picture(1, 1, size));
        for (what, other) in [("noise", picture(1, 77, size)), ("size", picture(1, 5, (200, 151)))] {
            let bits = distance(own, hash(&other));
            assert!(bits <= DUPLICATE_BITS_MAX, "{what}: {bits}");
        }
        for seed in 2..8 {
            let bits = distance(own, hash(&picture(seed, 1, size)));
            assert!(bits > SCENE_LIKE, "{seed}: {bits}");
        }
    }

    /// Other pictures are further away than this.
    const SCENE_LIKE: u32 = 10;

    #[test]
    fn even_ground_and_tiny_pictures_have_a_hash() {
        let even = |level| RgbImage { width: 100, height: 50, data: vec![level; 15_000] };
        assert_eq!((hash(&even(20)), hash(&even(200))), (PictureHash(0), PictureHash(0)));
        assert_eq!(hash(&RgbImage::default()), PictureHash(0));
        let tiny = RgbImage { width: 2, height: 1, data: vec![200, 200, 200, 10, 10, 10] };
        let row = 0b0000_1000;
        assert_eq!(hash(&tiny).0, u64::from_be_bytes([row; 8]));
    }

    #[test]
    fn a_duplicate_looks_the_same_and_shows_the_same() {
        let mut memory = Memory::default();
        memory.remember(&seen(0, &[(0, 10.0), (1, 50.0)]));
        for (hash, boxes, known) in [
            (0b1111, &[(1, 51.0), (0, 9.0)][..], true),
            (0b1_1111, &[(1, 51.0), (0, 9.0)], false),
            (0, &[(0, 10.0)], false),
            (0, &[(0, 10.0), (0, 50.0)], false),
            (0, &[(0, 10.0), (1, 60.0)], false),
            (0, &[(0, 10.0), (1, 50.0), (1, 50.0)], false),
        ] {
            assert_eq!(memory.knows(&seen(hash, boxes)), known, "{hash:b} {boxes:?}");
        }
    }

    #[test]
    fn the_oldest_is_forgotten() {
        let mut memory = Memory::default();
        for number in 0..=REMEMBERED_MAX {
            memory.remember(&seen(0, &[(number, 0.0)]));
        }
        assert!(!memory.knows(&seen(0, &[(0, 0.0)])));
        assert!(memory.knows(&seen(0, &[(1, 0.0)])));
    }
}
