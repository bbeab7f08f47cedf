//! Non-maximum suppression: of several boxes around one thing, the best stays.
//!
//! The arithmetic is Ultralytics', in the same order and precision, so that pairs near the threshold fall the same way:
//! boxes of different classes are moved apart by a large distance rather than compared by class, and oriented boxes are
//! suppressed by every better box (*Fast NMS*, Bolya et al. 2019), also by one that is suppressed itself.

use super::Thresholds;

/// At most so many boxes go into suppression; the worst are dropped.
const CANDIDATES_MAX: usize = 30_000;

/// Classes are moved apart by this many pixels.
const CLASS_SHIFT_PX: f32 = 7680.0;

/// Keeps denominators from zero, as in the published code of ProbIoU.
const EPSILON: f32 = 1e-7;

/// A row of the head that is good enough.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Candidate {
    /// Confidence.
    pub(super) score: f32,
    /// Class.
    pub(super) class: usize,
    /// Number of the row in the output.
    pub(super) row: usize,
    /// `x1 y1 x2 y2` in pixels of the model's input; oriented boxes: `cx cy w h`.
    pub(super) bounds: [f32; 4],
    /// Rotation in radians; zero unless the box is oriented.
    pub(super) angle: f32,
}

/// Sorts best first; equal scores keep the model's order.
pub(super) fn sort(candidates: &mut [Candidate]) {
    candidates.sort_unstable_by(|a, b| b.score.total_cmp(&a.score).then(a.row.cmp(&b.row)));
}

/// Leaves the best of overlapping boxes, best first, at most `max_det` of them.
pub(super) fn suppress(candidates: &mut Vec<Candidate>, thresholds: &Thresholds, oriented: bool) {
    sort(candidates);
    candidates.truncate(CANDIDATES_MAX);
    let kept = if oriented { keep_oriented(candidates, thresholds) } else { keep_upright(candidates, thresholds) };
    candidates.truncate(kept);
}

/// Greedy suppression; moves what stays to the front and says how many that are.
fn keep_upright(candidates: &mut [Candidate], thresholds: &Thresholds) -> usize {
    let mut kept = 0;
    for at in 0..candidates.len() {
        if kept == thresholds.max_det {
            break;
        }
        let candidate = candidates[at];
        let mine = shifted(&candidate, thresholds.agnostic);
        let covered = candidates[..kept].iter().any(|better| {
            may_meet(better, &candidate, thresholds) && iou(shifted(better, thresholds.agnostic), mine) > thresholds.iou
        });
        if !covered {
            candidates[kept] = candidate;
            kept += 1;
        }
    }
    kept
}

/// Fast NMS; moves what stays to the front and says how many that are.
fn keep_oriented(candidates: &mut [Candidate], thresholds: &Thresholds) -> usize {
    let gaussians: Vec<Gaussian> = candidates.iter().map(|box_| Gaussian::new(box_, thresholds.agnostic)).collect();
    let reach = reach(thresholds.iou);
    let mut kept = 0;
    for at in 0..candidates.len() {
        if kept == thresholds.max_det {
            break;
        }
        let candidate = candidates[at];
        let mine = &gaussians[at];
        let covered = gaussians[..at].iter().any(|better| {
            (thresholds.agnostic || better.class == mine.class)
                && better.may_reach(mine, reach)
                && better.similarity(mine) > thresholds.iou
        });
        if !covered {
            candidates[kept] = candidate;
            kept += 1;
        }
    }
    kept
}

fn may_meet(a: &Candidate, b: &Candidate, thresholds: &Thresholds) -> bool {
    thresholds.agnostic || a.class == b.class
}

fn shifted(candidate: &Candidate, agnostic: bool) -> [f32; 4] {
    let shift = if agnostic { 0.0 } else { candidate.class as f32 * CLASS_SHIFT_PX };
    candidate.bounds.map(|edge| edge + shift)
}

/// Intersection over union; not a number where neither box has an area, which is above no threshold.
fn iou(a: [f32; 4], b: [f32; 4]) -> f32 {
    let width = (a[2].min(b[2]) - a[0].max(b[0])).max(0.0);
    let height = (a[3].min(b[3]) - a[1].max(b[1])).max(0.0);
    let intersection = width * height;
    let area = |[x1, y1, x2, y2]: [f32; 4]| (x2 - x1) * (y2 - y1);
    intersection / (area(a) + area(b) - intersection)
}

/// How far apart, in squares of standard deviations, two boxes can be that are as similar as `threshold`.
fn reach(threshold: f32) -> f32 {
    // similarity = 1 − √(1 − e^−d) with d ≥ ¼ δᵀ(Σ₁ + Σ₂)⁻¹δ; some room is left for rounding.
    let unlike = (1.0 - threshold.clamp(0.0, 1.0)).powi(2);
    -4.0 * (1.0 - unlike).max(f32::MIN_POSITIVE).ln() * 1.05 + 1e-3
}

/// An oriented box as the Gaussian that ProbIoU takes it for (Llerena et al. 2021, arXiv 2106.06072).
struct Gaussian {
    class: usize,
    x: f32,
    y: f32,
    a: f32,
    b: f32,
    c: f32,
    /// The box's own larger variance.
    spread: f32,
}

impl Gaussian {
    fn new(candidate: &Candidate, agnostic: bool) -> Self {
        let [x, y, width, height] = candidate.bounds;
        let shift = if agnostic { 0.0 } else { candidate.class as f32 * CLASS_SHIFT_PX };
        let (a, b) = (width * width / 12.0, height * height / 12.0);
        let (sin, cos) = (candidate.angle.sin(), candidate.angle.cos());
        let (sin2, cos2) = (sin * sin, cos * cos);
        Self {
            class: candidate.class,
            x: x + shift,
            y: y + shift,
            a: a * cos2 + b * sin2,
            b: a * sin2 + b * cos2,
            c: (a - b) * cos * sin,
            spread: a.max(b),
        }
    }

    fn may_reach(&self, other: &Self, reach: f32) -> bool {
        let (dx, dy) = (self.x - other.x, self.y - other.y);
        dx * dx + dy * dy <= reach * (self.spread + other.spread)
    }

    /// ProbIoU: one minus the Hellinger distance.
    fn similarity(&self, other: &Self) -> f32 {
        let (a, b, c) = (self.a + other.a, self.b + other.b, self.c + other.c);
        let (dx, dy) = (other.x - self.x, self.y - other.y);
        let determinant = a * b - c * c;
        let t1 = (a * (dy * dy) + b * (dx * dx)) / (determinant + EPSILON) * 0.25;
        let t2 = (c * dx * dy) / (determinant + EPSILON) * 0.5;
        let own = |g: &Self| (g.a * g.b - g.c * g.c).max(0.0);
        let t3 = (determinant / (4.0 * (own(self) * own(other)).sqrt() + EPSILON) + EPSILON).ln() * 0.5;
        let distance = (t1 + t2 + t3).clamp(EPSILON, 100.0);
        1.0 - (1.0 - (-distance).exp() + EPSILON).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yolo::testing::Random;

    fn boxes(random: &mut Random, count: usize, oriented: bool) -> Vec<Candidate> {
        let mut one = |row| {
            let (x, y) = (random.between(0.0, 100.0), random.between(0.0, 100.0));
            let (w, h) = (random.between(1.0, 60.0), random.between(1.0, 60.0));
            let bounds = if oriented { [x, y, w, h] } else { [x, y, x + w, y + h] };
            let angle = if oriented { random.between(-1.0, 2.0) } else { 0.0 };
            // Few different scores, so that some are equal.
            let score = (random.between(0.0, 1.0) * 20.0).floor() / 20.0;
            Candidate { score, class: random.below(3), row, bounds, angle }
        };
        (0..count).map(&mut one).collect()
    }

    /// Marks what is suppressed pair by pair, over all of them, and cuts at the end.
    fn naive(candidates: &[Candidate], thresholds: &Thresholds, oriented: bool) -> Vec<usize> {
        let mut order: Vec<&Candidate> = candidates.iter().collect();
        order.sort_by(|a, b| b.score.partial_cmp(&a.score).unwrap());
        let mut gone = vec![false; order.len()];
        for (better, a) in order.iter().enumerate() {
            if gone[better] && !oriented {
                continue;
            }
            for (worse, b) in order.iter().enumerate().skip(better + 1) {
                if a.class != b.class && !thresholds.agnostic {
                    continue;
                }
                let overlap = if oriented {
                    Gaussian::new(a, thresholds.agnostic).similarity(&Gaussian::new(b, thresholds.agnostic))
                } else {
                    iou(shifted(a, thresholds.agnostic), shifted(b, thresholds.agnostic))
                };
                gone[worse] |= overlap > thresholds.iou;
            }
        }
        let left = order.iter().zip(gone).filter(|(_, gone)| !gone).map(|(candidate, _)| candidate.row);
        left.take(thresholds.max_det).collect()
    }

    #[test]
    fn the_same_boxes_stay_as_without_shortcuts() {
        let mut random = Random::new(7);
        for round in 0..400 {
            let oriented = round % 2 == 1;
            let thresholds = Thresholds {
                iou: random.between(0.0, 1.0),
                max_det: [300, 5][round / 2 % 2],
                agnostic: round / 4 % 2 == 1,
                ..Thresholds::default()
            };
            let count = random.below(120);
            let mut candidates = boxes(&mut random, count, oriented);
            let expected = naive(&candidates, &thresholds, oriented);
            suppress(&mut candidates, &thresholds, oriented);
            let rows: Vec<usize> = candidates.iter().map(|candidate| candidate.row).collect();
            assert_eq!(rows, expected, "{thresholds:?} oriented: {oriented}");
        }
    }

    #[test]
    fn classes_do_not_suppress_each_other_unless_asked() {
        let one = |class, row| Candidate { score: 0.9, class, row, bounds: [0.0, 0.0, 10.0, 10.0], angle: 0.0 };
        let mut candidates = vec![one(1, 0), one(0, 1), one(1, 2)];
        suppress(&mut candidates, &Thresholds::default(), false);
        assert_eq!(candidates, [one(1, 0), one(0, 1)]);
        suppress(&mut candidates, &Thresholds { agnostic: true, ..Thresholds::default() }, false);
        assert_eq!(candidates, [one(1, 0)]);
    }

    #[test]
    fn similarity_of_known_boxes() {
        let gaussian = |x: f32, w: f32, angle: f32| {
            let bounds = [x, 0.0, w, 10.0];
            Gaussian::new(&Candidate { score: 1.0, class: 0, row: 0, bounds, angle }, true)
        };
        assert!((gaussian(0.0, 20.0, 0.3).similarity(&gaussian(0.0, 20.0, 0.3)) - 1.0).abs() < 1e-3);
        assert!(gaussian(0.0, 20.0, 0.3).similarity(&gaussian(100.0, 20.0, 0.3)) < 1e-3);
        // A square looks the same after a quarter turn.
        let turned = gaussian(0.0, 10.0, std::f32::consts::FRAC_PI_2);
        assert!((gaussian(0.0, 10.0, 0.0).similarity(&turned) - 1.0).abs() < 1e-3);
    }

    #[test]
    fn numbers_that_are_none_do_not_panic() {
        let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -1.0, f32::MAX];
        for oriented in [false, true] {
            let mut candidates: Vec<Candidate> = (0..216)
                .map(|n| Candidate {
                    score: odd[n % 6],
                    class: n % 2,
                    row: n,
                    bounds: [odd[n / 6 % 6], odd[n / 36 % 6], odd[n % 6], 1.0],
                    angle: odd[n % 6],
                })
                .collect();
            suppress(&mut candidates, &Thresholds::default(), oriented);
        }
    }
}
