//! Precision and recall over confidence: what a class's figures would be if only detections above a threshold counted, and
//! the threshold at which all classes together do best.
//!
//! As `yolo val` does: curves are looked at at 1000 confidences, the F1 score (the harmonic mean of precision and recall)
//! is averaged over the classes and smoothed, and precision and recall are reported where it peaks.

use super::average_precision::{Curve, Polyline, evenly};

/// Confidences at which the curves are looked at, from 0 to 1.
pub const CONFIDENCES: usize = 1000;

/// Keeps the denominator of F1 from zero.
const EPSILON: f64 = 1e-16;

/// Precision and recall of one class at [`CONFIDENCES`] thresholds.
#[derive(Clone, Debug, PartialEq)]
pub struct OverConfidence {
    precision: Vec<f64>,
    recall: Vec<f64>,
}

impl OverConfidence {
    /// `confidences` fall, and belong to the points of `curve`. Above the highest, nothing is found and nothing wrong;
    /// without any detection both are zero.
    pub fn new(confidences: &[f32], curve: &Curve) -> Self {
        if confidences.is_empty() {
            return Self { precision: vec![0.0; CONFIDENCES], recall: vec![0.0; CONFIDENCES] };
        }
        // Lines need rising places.
        let places: Vec<f64> = confidences.iter().map(|confidence| -f64::from(*confidence)).collect();
        let sampled = |values: &[f64], above: f64| {
            let line = Polyline { x: places.clone(), y: values.to_vec() };
            let at = |index| {
                let confidence = evenly(index, CONFIDENCES);
                if -confidence < line.x[0] { above } else { line.at(-confidence) }
            };
            (0..CONFIDENCES).map(at).collect()
        };
        Self { precision: sampled(&curve.precision, 1.0), recall: sampled(&curve.recall, 0.0) }
    }

    /// Precision and recall at the threshold number `index`.
    pub fn at(&self, index: usize) -> (f64, f64) {
        (self.precision[index], self.recall[index])
    }

    fn f1(&self, index: usize) -> f64 {
        let (precision, recall) = self.at(index);
        2.0 * precision * recall / (precision + recall + EPSILON)
    }
}

/// The number of the threshold at which the mean F1 over the classes, smoothed, is highest; the first of equals, 0 without
/// classes.
pub fn best_threshold(classes: &[OverConfidence]) -> usize {
    if classes.is_empty() {
        return 0;
    }
    let mean = |index| classes.iter().map(|class| class.f1(index)).sum::<f64>() / classes.len() as f64;
    let smooth = smoothed(&(0..CONFIDENCES).map(mean).collect::<Vec<_>>());
    let peak = smooth.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    smooth.iter().position(|value| *value == peak).unwrap_or(0)
}

/// The confidence of the threshold number `index`.
pub fn confidence(index: usize) -> f64 {
    evenly(index, CONFIDENCES)
}

/// The mean of a tenth of the values around each; the ends go on as they are.
fn smoothed(values: &[f64]) -> Vec<f64> {
    const HALF: usize = CONFIDENCES / 20;
    let around = |center: usize| {
        let near = |offset: usize| values[(center + offset).saturating_sub(HALF).min(values.len() - 1)];
        (0..=2 * HALF).map(near).sum::<f64>() / (2 * HALF + 1) as f64
    };
    (0..values.len()).map(around).collect()
}

/// Where all classes together have their best F-score, counted exactly over every threshold.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BestF1 {
    /// The part of the detections that is right.
    pub precision: f64,
    /// The part of the objects that is found.
    pub recall: f64,
    /// Their harmonic mean.
    pub f1: f64,
    /// The lowest confidence that counts there.
    pub confidence: f64,
}

impl BestF1 {
    /// Of detections of all classes, each with its confidence and whether it is right, over so many objects; the highest
    /// threshold of equals.
    pub fn new(mut detections: Vec<(f32, bool)>, objects: usize) -> Self {
        detections.sort_by(|a, b| b.0.total_cmp(&a.0));
        let (mut best, mut found) = (Self::default(), 0usize);
        for (index, (confidence, right)) in detections.iter().enumerate() {
            found += usize::from(*right);
            let seen = index + 1;
            // A threshold cannot part equals.
            if detections.get(seen).is_some_and(|next| next.0 == *confidence) {
                continue;
            }
            let f1 = 2.0 * found as f64 / (seen + objects) as f64;
            if f1 > best.f1 {
                let (precision, recall) = (found as f64 / seen as f64, found as f64 / objects.max(1) as f64);
                best = Self { precision, recall, f1, confidence: f64::from(*confidence) };
            }
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_between_detections_lie_on_lines() {
        let curve = Curve::new([true, false].into_iter(), 2);
        let over = OverConfidence::new(&[0.75, 0.25], &curve);
        assert_eq!(over.at(CONFIDENCES - 1), (1.0, 0.0), "above all");
        assert_eq!(over.at(0), (0.5, 0.5), "below all");
        let (precision, recall) = over.at(500);
        let expected = 1.0 - 0.5 * (0.75 - confidence(500)) / 0.5;
        assert!((precision - expected).abs() < 1e-12 && recall == 0.5);
        assert_eq!(OverConfidence::new(&[], &Curve::default()).at(7), (0.0, 0.0));
    }

    #[test]
    fn smoothing_keeps_what_is_flat_and_spreads_a_peak() {
        assert!(smoothed(&[0.5; CONFIDENCES]).iter().all(|value| (value - 0.5).abs() < 1e-12));
        let mut peak = [0.0; CONFIDENCES];
        peak[500] = 1.0;
        let smooth = smoothed(&peak);
        assert!((smooth[450] - 1.0 / 101.0).abs() < 1e-12 && (smooth[550] - 1.0 / 101.0).abs() < 1e-12);
        assert_eq!((smooth[449], smooth[551]), (0.0, 0.0));
        assert_eq!(best_threshold(&[]), 0);
    }

    #[test]
    fn the_best_f_score_does_not_part_equals() {
        let best = BestF1::new(vec![(0.5, true), (0.9, true), (0.5, false), (0.1, false)], 3);
        assert_eq!(best, BestF1 { precision: 2.0 / 3.0, recall: 2.0 / 3.0, f1: 2.0 / 3.0, confidence: 0.5 });
        assert_eq!(BestF1::new(vec![(0.5, false)], 3), BestF1::default());
        assert_eq!(BestF1::new(vec![], 0), BestF1::default());
    }
}
