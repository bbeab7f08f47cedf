//! Ragged strokes and blobs: the shapes of what etching left over or took away.
//!
//! A stroke is a row of dabs, small discs. Where one is drawn is left to `defects`.

use crate::random::Rng;

/// One touch of the brush: all pixels within half of `across` half-pixels around a pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dab {
    /// Column of the centre.
    pub(crate) x: i32,
    /// Row of the centre.
    pub(crate) y: i32,
    /// Radius in half-pixels.
    pub(crate) radius_halves: i32,
}

impl Dab {
    /// Calls `span(y, from, to)` for the pixels `from..to` of each row, with the dab larger by `by_halves` half-pixels.
    pub(crate) fn spans(self, by_halves: i32, mut span: impl FnMut(i32, i32, i32)) {
        let radius = self.radius_halves + by_halves;
        if radius < 0 {
            return;
        }
        for dy in -(radius / 2)..=radius / 2 {
            let half = (radius * radius - 4 * dy * dy).max(0).isqrt() / 2;
            span(self.y + dy, self.x - half, self.x + half + 1);
        }
    }
}

/// The sixteen directions a stroke can take, clockwise from the right, in 1/256 of a pixel.
pub(crate) const DIRECTIONS: [(i32, i32); 16] = [
    (256, 0),
    (237, 98),
    (181, 181),
    (98, 237),
    (0, 256),
    (-98, 237),
    (-181, 181),
    (-237, 98),
    (-256, 0),
    (-237, -98),
    (-181, -181),
    (-98, -237),
    (0, -256),
    (98, -237),
    (181, -181),
    (237, -98),
];

/// The point `length` pixels from another in one of the [`DIRECTIONS`], which wrap around.
pub(crate) fn step((x, y): (i32, i32), direction: i32, length: i32) -> (i32, i32) {
    let (dx, dy) = DIRECTIONS[direction.rem_euclid(16) as usize];
    // Rounded to the nearest pixel.
    (x + ((dx * length + 128) >> 8), y + ((dy * length + 128) >> 8))
}

/// Adds dabs from `from` to `to` that stray to the sides by up to `stray` pixels, with radii in half-pixels.
pub(crate) fn stroke(
    dabs: &mut Vec<Dab>,
    rng: &mut Rng,
    from: (i32, i32),
    to: (i32, i32),
    radii: (i32, i32),
    stray: i32,
) {
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let steps = dx.abs().max(dy.abs()).max(1);
    let mut radius = rng.between(radii.0, radii.1);
    let mut aside = 0;
    for i in 0..=steps {
        let (x, y) = (from.0 + dx * i / steps, from.1 + dy * i / steps);
        // Straying is across the longer of the two extents, which is nearly across the stroke.
        let (x, y) = if dx.abs() > dy.abs() { (x, y + aside) } else { (x + aside, y) };
        dabs.push(Dab { x, y, radius_halves: radius });
        radius = (radius + rng.between(-1, 1)).clamp(radii.0, radii.1);
        if rng.chance(45) {
            aside = (aside + rng.between(-1, 1)).clamp(-stray, stray);
        }
    }
}

/// Adds an irregular spot or scratch around a point, about `size` pixels across, that cannot be mistaken for a drilled hole
/// or a pad: it is either small or far from round.
pub(crate) fn spot(dabs: &mut Vec<Dab>, rng: &mut Rng, at: (i32, i32), size: i32) {
    match rng.below(10) {
        // A blob of some discs.
        0..3 => {
            let size = size.min(11);
            for _ in 0..rng.between(3, 6) {
                let reach = (size / 4).max(1);
                let (x, y) = (at.0 + rng.between(-reach, reach), at.1 + rng.between(-reach, reach));
                dabs.push(Dab { x, y, radius_halves: rng.between(4, size.max(5)) });
            }
        }
        // A worm with one or two bends.
        3..8 => {
            let radii = rng.pick(&[(4, 6), (4, 9), (6, 12)]);
            let pieces = rng.between(1, 3);
            let length = (size / pieces).max(5);
            let mut direction = rng.below(16);
            let mut from = step(at, direction + 8, size / 2);
            for _ in 0..pieces {
                let to = step(from, direction, length);
                stroke(dabs, rng, from, to, radii, 1);
                from = to;
                direction += rng.sign() * rng.between(2, 5);
            }
        }
        // A scribble of thin lines.
        _ => {
            let size = size.min(22);
            let mut from = (at.0 - size / 3, at.1 + rng.between(-size, size) / 3);
            for i in 1..=rng.between(2, 4) {
                let to = (at.0 - size / 3 + size * i / 5, at.1 + rng.between(-size, size) / 3);
                stroke(dabs, rng, from, to, (3, 4), 1);
                from = to;
            }
        }
    }
}
