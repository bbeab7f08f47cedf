//! From mask prototypes and weights to the outline of one thing.
//!
//! As Ultralytics without `retina_masks`: the weighted sum of the prototypes is enlarged to the model's input
//! (bilinear), cut at zero, cropped to the box; the outlines of its parts become one polygon.

use super::contour::{Corner, INSIDE, Mask};

/// The largest parts that go into an outline; smaller ones beyond that are specks.
const PARTS_MAX: usize = 256;

/// Pairs of corners that are compared to find a short bridge between two parts.
const BRIDGE_TRIES_MAX: usize = 65_536;

/// Buffers that are kept from mask to mask.
#[derive(Clone, Debug, Default)]
pub(super) struct MaskScratch {
    sums: Vec<f32>,
    columns: Vec<Tap>,
    mask: Mask,
}

/// The prototypes of one picture.
#[derive(Clone, Copy, Debug)]
pub(super) struct Prototypes<'a> {
    /// `count × height × width` numbers.
    pub(super) data: &'a [f32],
    /// Height and width.
    pub(super) size: [usize; 2],
    /// Height and width of the model's input.
    pub(super) input: [usize; 2],
}

/// Where between two pixels of the prototypes a pixel of the input lies.
#[derive(Clone, Copy, Debug)]
struct Tap {
    first: usize,
    second: usize,
    share: f32,
}

impl Prototypes<'_> {
    /// The corners of the mask in a box `x1 y1 x2 y2`, all in pixels of the model's input; empty where the mask is.
    pub(super) fn outline(&self, weights: &[f32], bounds: [f32; 4], scratch: &mut MaskScratch) -> Vec<Corner> {
        let [height, width] = self.input;
        // A pixel belongs to the box when its left or upper edge does.
        let range = |low: f32, high: f32, end: usize| low.max(0.0).ceil() as usize..(high.ceil() as usize).min(end);
        let (xs, ys) = (range(bounds[0], bounds[2], width), range(bounds[1], bounds[3], height));
        if xs.is_empty() || ys.is_empty() {
            return Vec::new();
        }
        let row = |y| tap(y, self.size[0], height);
        let column = |x| tap(x, self.size[1], width);
        let (left, right) = (column(xs.start).first, column(xs.end - 1).second + 1);
        let (top, bottom) = (row(ys.start).first, row(ys.end - 1).second + 1);
        self.sum(weights, [left, right], [top, bottom], &mut scratch.sums);
        scratch.columns.clear();
        scratch.columns.extend(xs.clone().map(column).map(|tap| Tap {
            first: tap.first - left,
            second: tap.second - left,
            share: tap.share,
        }));
        scratch.mask.reset(xs.len(), ys.len());
        let stride = right - left;
        for (line, y) in ys.clone().enumerate() {
            let Tap { first, second, share } = row(y);
            let upper = &scratch.sums[(first - top) * stride..][..stride];
            let lower = &scratch.sums[(second - top) * stride..][..stride];
            for (pixel, tap) in scratch.mask.line(line).iter_mut().zip(&scratch.columns) {
                let above = (1.0 - tap.share) * upper[tap.first] + tap.share * upper[tap.second];
                let below = (1.0 - tap.share) * lower[tap.first] + tap.share * lower[tap.second];
                *pixel = if (1.0 - share) * above + share * below > 0.0 { INSIDE } else { 0 };
            }
        }
        let mut corners = join(scratch.mask.outlines());
        for corner in &mut corners {
            *corner = [corner[0] + xs.start as i32, corner[1] + ys.start as i32];
        }
        corners
    }

    /// The weighted sum of the prototypes over `columns` and `rows` (from, to), line by line.
    fn sum(&self, weights: &[f32], columns: [usize; 2], rows: [usize; 2], sums: &mut Vec<f32>) {
        let [height, width] = self.size;
        let [left, right] = columns;
        sums.clear();
        sums.resize((right - left) * (rows[1] - rows[0]), 0.0);
        for (plane, &weight) in self.data.chunks_exact(height * width).zip(weights) {
            for (line, y) in sums.chunks_exact_mut(right - left).zip(rows[0]..rows[1]) {
                for (sum, &value) in line.iter_mut().zip(&plane[y * width + left..y * width + right]) {
                    *sum += weight * value;
                }
            }
        }
    }
}

/// Where pixel `at` of `large` pixels lies among `small` pixels: bilinear, edges aligned, as PyTorch's `interpolate`.
fn tap(at: usize, small: usize, large: usize) -> Tap {
    let position = ((at as f32 + 0.5) * (small as f32 / large as f32) - 0.5).max(0.0);
    let first = (position as usize).min(small - 1);
    Tap { first, second: (first + 1).min(small - 1), share: (position - first as f32).clamp(0.0, 1.0) }
}

/// Makes one polygon of several: each further part is joined by a bridge that is walked there and back, so that it
/// encloses nothing. The largest part begins.
fn join(mut parts: Vec<Vec<Corner>>) -> Vec<Corner> {
    parts.sort_by_key(|part| std::cmp::Reverse(part.len()));
    parts.truncate(PARTS_MAX);
    let mut parts = parts.into_iter();
    let mut joined = parts.next().unwrap_or_default();
    for part in parts {
        let (from, to) = bridge(&joined, &part);
        let there = part[to..].iter().chain(&part[..=to]).copied();
        let tail = joined.split_off(from);
        let foot = tail[0];
        joined.push(foot);
        joined.extend(there);
        joined.extend(tail);
    }
    joined
}

/// Corners of two parts that are close to each other, the closest ones unless the parts have very many corners.
fn bridge(a: &[Corner], b: &[Corner]) -> (usize, usize) {
    let tries_each = BRIDGE_TRIES_MAX / b.len().clamp(1, BRIDGE_TRIES_MAX);
    let step_a = a.len().div_ceil(tries_each).max(1);
    let step_b = b.len().div_ceil(BRIDGE_TRIES_MAX).max(1);
    let mut best = (0, 0, i64::MAX);
    for (from, p) in a.iter().enumerate().step_by(step_a) {
        for (to, q) in b.iter().enumerate().step_by(step_b) {
            let (dx, dy) = (i64::from(p[0] - q[0]), i64::from(p[1] - q[1]));
            let distance = dx * dx + dy * dy;
            if distance < best.2 {
                best = (from, to, distance);
            }
        }
    }
    (best.0, best.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outline(prototype: &[f32], size: [usize; 2], input: [usize; 2], bounds: [f32; 4]) -> Vec<Corner> {
        Prototypes { data: prototype, size, input }.outline(&[1.0], bounds, &mut MaskScratch::default())
    }

    #[test]
    fn a_mask_is_enlarged_and_cropped() {
        let all = [1.0; 4];
        assert_eq!(outline(&all, [2, 2], [8, 8], [1.5, 2.0, 4.0, 100.0]), [[2, 2], [2, 7], [3, 7], [3, 2]]);
        assert!(outline(&all, [2, 2], [8, 8], [9.0, 0.0, 12.0, 8.0]).is_empty());
        assert!(outline(&all, [2, 2], [8, 8], [4.0, 4.0, 4.0, 4.0]).is_empty());
        assert!(outline(&[-1.0; 4], [2, 2], [8, 8], [0.0, 0.0, 8.0, 8.0]).is_empty());
        // From -1 at 1.5 to 3 at 5.5 the sum crosses zero at 2.5: pixel 3 is the first above it.
        let ramp = [-1.0, 3.0, -1.0, 3.0];
        assert_eq!(outline(&ramp, [2, 2], [8, 8], [0.0, 0.0, 8.0, 8.0]), [[3, 0], [3, 7], [7, 7], [7, 0]]);
    }

    #[test]
    fn parts_are_joined_by_bridges() {
        let joined = join(vec![vec![[9, 0]], vec![[0, 0], [0, 2], [2, 2], [2, 0]], vec![[4, 2], [5, 2]]]);
        let expected =
            [[0, 0], [0, 2], [2, 2], [4, 2], [5, 2], [4, 2], [2, 2], [2, 0]].map(|corner: Corner| corner).to_vec();
        let with_speck: Vec<Corner> = joined.iter().copied().filter(|corner| *corner != [9, 0]).collect();
        assert!(joined.contains(&[9, 0]));
        // The bridge to the speck passes one of these corners twice more.
        assert!(expected.iter().all(|corner| with_speck.contains(corner)));
        assert_eq!(twice_the_area(&joined), 8, "{joined:?}");
    }

    #[test]
    fn many_specks_stay_bounded() {
        let specks: Vec<Vec<Corner>> = (0..5000).map(|n| vec![[n % 100 * 2, n / 100 * 2]]).collect();
        assert!(join(specks).len() <= PARTS_MAX * 3);
    }

    fn twice_the_area(corners: &[Corner]) -> i32 {
        let next = corners.iter().cycle().skip(1);
        corners.iter().zip(next).map(|(a, b)| a[0] * b[1] - a[1] * b[0]).sum::<i32>().abs()
    }
}
