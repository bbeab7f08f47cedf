//! Precision over recall, and the area under it.
//!
//! The detections of a class are gone through from the most confident down; after each one, *precision* is the part of
//! them that is right, *recall* the part of the objects that is found. The curve's teeth are filled from the right (the
//! *envelope*: at a recall, the best precision at this recall or more), and its area is the average precision (Everingham
//! et al., *The Pascal Visual Object Classes Challenge*, 2010; Lin et al., *Microsoft COCO*, 2014). Both conventions look
//! at 101 recalls, 0, 0.01, …, 1; they differ in what stands between the curve's points and beyond its end.

/// Recalls at which a curve is looked at, both ends included.
pub const RECALLS: usize = 101;

/// Precision and recall after each detection of a class, best first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curve {
    /// The part of the objects that is found, rising.
    pub recall: Vec<f64>,
    /// The part of the detections that is right.
    pub precision: Vec<f64>,
}

impl Curve {
    /// The curve of detections, best first, each right or not, over so many objects.
    pub fn new(right: impl Iterator<Item = bool>, objects: usize) -> Self {
        let mut curve = Self::default();
        let (mut found, mut seen) = (0u32, 0u32);
        for right in right {
            seen += 1;
            found += u32::from(right);
            curve.recall.push(f64::from(found) / objects.max(1) as f64);
            curve.precision.push(f64::from(found) / f64::from(seen));
        }
        curve
    }

    /// The average precision of `yolo val`, in `0..=1`.
    ///
    /// The envelope goes straight from point to point, from precision 1 at recall 0 on, falls to 0 where the detections
    /// end, and is integrated by trapezoids over 101 recalls. Without any detection it is 0.
    pub fn yolo_average(&self) -> f64 {
        if self.recall.is_empty() {
            return 0.0;
        }
        let over_recall = self.yolo_envelope();
        let at = |index| over_recall.at(evenly(index, RECALLS));
        (1..RECALLS).map(|i| (evenly(i, RECALLS) - evenly(i - 1, RECALLS)) * (at(i) + at(i - 1)) / 2.0).sum()
    }

    /// The envelope of `yolo val` at `points` recalls spread evenly over `0..=1`: its picture of the curve. Zeros without
    /// any detection.
    pub fn yolo_points(&self, points: usize) -> Vec<f64> {
        if self.recall.is_empty() {
            return vec![0.0; points];
        }
        let over_recall = self.yolo_envelope();
        (0..points).map(|index| over_recall.at(evenly(index, points))).collect()
    }

    fn yolo_envelope(&self) -> Polyline {
        let last = self.recall.last().copied().unwrap_or(1.0);
        let mut x = vec![0.0];
        x.extend(&self.recall);
        x.extend([last, 1.0]);
        let mut y = vec![1.0];
        y.extend(&self.precision);
        y.extend([0.0, 0.0]);
        fill_from_the_right(&mut y);
        Polyline { x, y }
    }

    /// The average precision of `pycocotools`, in `0..=1`: the mean of the envelope at 101 recalls, each taken at the
    /// first point of the curve with this recall or more, and 0 where there is none.
    pub fn coco_average(&self) -> f64 {
        let mut envelope = self.precision.clone();
        fill_from_the_right(&mut envelope);
        let at = |index| {
            let place = self.recall.partition_point(|recall| *recall < evenly(index, RECALLS));
            envelope.get(place).copied().unwrap_or(0.0)
        };
        (0..RECALLS).map(at).sum::<f64>() / RECALLS as f64
    }
}

fn fill_from_the_right(values: &mut [f64]) {
    let mut most = f64::NEG_INFINITY;
    for value in values.iter_mut().rev() {
        most = most.max(*value);
        *value = most;
    }
}

/// The place number `index` of `count` (two or more) spread evenly over `0..=1`, rounded as NumPy's `linspace` does.
pub(super) fn evenly(index: usize, count: usize) -> f64 {
    if index + 1 == count { 1.0 } else { index as f64 * (1.0 / (count - 1) as f64) }
}

/// Straight lines from point to point; `x` rises or stays.
pub(super) struct Polyline {
    pub(super) x: Vec<f64>,
    pub(super) y: Vec<f64>,
}

impl Polyline {
    /// The height at `x`; the last of points above one another counts. Outside, that of the nearest end.
    pub(super) fn at(&self, x: f64) -> f64 {
        let Self { x: xs, y: ys } = self;
        let after = xs.partition_point(|point| *point <= x);
        match after {
            _ if xs.is_empty() => 0.0,
            0 => ys[0],
            _ if after == xs.len() || xs[after - 1] == x => ys[after - 1],
            _ => {
                let slope = (ys[after] - ys[after - 1]) / (xs[after] - xs[after - 1]);
                slope * (x - xs[after - 1]) + ys[after - 1]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(right: &[u8], objects: usize) -> Curve {
        Curve::new(right.iter().map(|right| *right == 1), objects)
    }

    fn assert_near(ours: f64, expected: f64) {
        assert!((ours - expected).abs() < 1e-12, "{ours} is not {expected}");
    }

    #[test]
    fn a_curve_counts() {
        let curve = curve(&[1, 0, 1, 0], 4);
        assert_eq!(curve.recall, [0.25, 0.25, 0.5, 0.5]);
        assert_eq!(curve.precision, [1.0, 0.5, 2.0 / 3.0, 0.5]);
    }

    #[test]
    fn all_and_nothing() {
        // At recall 1 `yolo val` takes the end of the curve, which has fallen to 0.
        assert_near(curve(&[1, 1], 2).yolo_average(), 0.995);
        assert_near(curve(&[1, 1], 2).coco_average(), 1.0);
        for none in [curve(&[0, 0], 2), curve(&[], 3), curve(&[], 0)] {
            assert_near(none.yolo_average(), 0.0);
            assert_near(none.coco_average(), 0.0);
        }
    }

    /// The numbers come from `ultralytics.utils.metrics.compute_ap` (8.4.190) and `COCOeval.accumulate` (2.0.11).
    #[test]
    fn areas_are_those_of_the_originals() {
        let half = curve(&[1, 0, 1, 1, 0], 6);
        assert_near(half.yolo_average(), 0.4125);
        assert_near(half.coco_average(), 0.420_792_079_207_920_8);
        let misses_first = curve(&[0, 0, 1, 0, 1, 1, 1], 4);
        assert_near(misses_first.yolo_average(), 0.568_571_428_571_428_4);
        assert_near(misses_first.coco_average(), 0.571_428_571_428_571_2);
    }

    #[test]
    fn lines_go_from_point_to_point() {
        let line = Polyline { x: vec![0.0, 1.0, 1.0, 3.0], y: vec![5.0, 6.0, 2.0, 4.0] };
        assert_eq!([-1.0, 0.0, 0.5, 1.0, 2.0, 3.0, 9.0].map(|x| line.at(x)), [5.0, 5.0, 5.5, 2.0, 3.0, 4.0, 4.0]);
        assert_eq!(Polyline { x: vec![], y: vec![] }.at(0.5), 0.0);
    }

    #[test]
    fn places_are_spread_evenly() {
        assert_eq!((evenly(0, 101), evenly(100, 101), evenly(3, 101)), (0.0, 1.0, 3.0 * 0.01));
    }
}
