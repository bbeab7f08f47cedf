//! Whether two models find the same: a quantized one and the float model that it was made from.
//!
//! A rounded last bit moves single detections over the edge of a threshold, so agreement is asked of confident
//! detections only, is content with less confidence on the other side, and is counted over many pictures.

use super::matching::{best_first, choose};
use crate::detection::Detection;

/// What counts as finding the same.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// A detection with this confidence or more has to be found by the other model as well.
    pub from: f32,
    /// With this confidence the other model has found it.
    pub enough: f32,
    /// Boxes of one class are the same from this overlap (IoU) on.
    pub iou_min: f32,
}

impl Default for Rule {
    fn default() -> Self {
        Self { from: 0.5, enough: 0.25, iou_min: 0.8 }
    }
}

/// The agreement of a candidate with a reference, accumulated over pictures.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Agreement {
    rule: Rule,
    pictures: usize,
    reference: Side,
    candidate: Side,
}

/// One model's confident detections, and what of them the other model found too.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Side {
    /// Detections that have to be found by the other.
    pub found: usize,
    /// Those that are.
    pub matched: usize,
    /// The sum of the absolute differences of confidence over those that are.
    confidence_off: f64,
}

impl Agreement {
    /// An agreement of no picture yet.
    pub fn new(rule: Rule) -> Self {
        Self { rule, ..Self::default() }
    }

    /// Counts one picture: what each of the models found in it, down to a confidence of [`Rule::enough`] or lower.
    pub fn add(&mut self, reference: &[Detection], candidate: &[Detection]) {
        self.pictures += 1;
        self.reference.count(reference, candidate, &self.rule);
        self.candidate.count(candidate, reference, &self.rule);
    }

    /// Pictures counted.
    pub fn pictures(&self) -> usize {
        self.pictures
    }

    /// The reference's detections, and those of them that the candidate found.
    pub fn reference(&self) -> Side {
        self.reference
    }

    /// The candidate's detections, and those of them that the reference found.
    pub fn candidate(&self) -> Side {
        self.candidate
    }

    /// The smaller of both sides' matched shares, in `0..=1`.
    pub fn share(&self) -> f64 {
        self.reference.share().min(self.candidate.share())
    }

    /// The mean absolute difference of confidence over all matches of both sides; 0 where there is none, which
    /// [`Self::share`] tells.
    pub fn confidence_off_mean(&self) -> f64 {
        let matched = self.reference.matched + self.candidate.matched;
        if matched == 0 {
            return 0.0;
        }
        (self.reference.confidence_off + self.candidate.confidence_off) / matched as f64
    }
}

impl Side {
    /// The part of this side's detections that the other found, in `0..=1`; 1 where there is nothing to find.
    pub fn share(&self) -> f64 {
        if self.found == 0 { 1.0 } else { self.matched as f64 / self.found as f64 }
    }

    /// Counts one picture. Best first, so that of two alike the better takes its like.
    fn count(&mut self, own: &[Detection], others: &[Detection], rule: &Rule) {
        let confident = best_first(own).into_iter().take_while(|index| own[*index].confidence >= rule.from);
        let overlap = |index: usize, place: usize| {
            let (one, other) = (&own[index], &others[place]);
            let fits = other.class == one.class && other.confidence >= rule.enough;
            fits.then(|| Some(one.bounds()?.iou(&other.bounds()?))).flatten()
        };
        for (index, place) in choose(confident, others.len(), overlap, |iou| iou >= rule.iou_min) {
            self.found += 1;
            if let Some(place) = place {
                self.matched += 1;
                self.confidence_off += f64::from((others[place].confidence - own[index].confidence).abs());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::matching::tests::detection, *};

    #[test]
    fn each_side_is_asked_about_its_confident_detections() {
        let mut agreement = Agreement::default();
        let reference = [detection(0, 0.9, 0.0), detection(1, 0.8, 50.0), detection(2, 0.4, 100.0)];
        let candidate = [detection(0, 0.7, 0.5), detection(1, 0.3, 50.0), detection(2, 0.6, 100.0)];
        agreement.add(&reference, &candidate);
        assert_eq!((agreement.reference().found, agreement.reference().matched), (2, 2));
        assert_eq!((agreement.candidate().found, agreement.candidate().matched), (2, 2));
        // 0.2 and 0.5 seen from the reference, 0.2 and 0.2 from the candidate.
        assert!((agreement.confidence_off_mean() - 1.1 / 4.0).abs() < 1e-6);
        agreement.add(&[detection(0, 0.9, 0.0)], &[]);
        assert_eq!(agreement.pictures(), 2);
        assert!((agreement.share() - 2.0 / 3.0).abs() < 1e-9);
    }

    #[test]
    fn one_detection_stands_for_one_other() {
        let mut side = Side::default();
        let own = [detection(0, 0.9, 0.0), detection(0, 0.8, 0.5), detection(1, 0.7, 100.0), detection(2, 0.4, 200.0)];
        side.count(&own, &[detection(0, 0.6, 0.0), detection(2, 0.7, 100.0)], &Rule::default());
        assert_eq!((side.found, side.matched), (3, 1));
        side.count(&[detection(0, 0.6, 0.0)], &[detection(0, 0.24, 0.0)], &Rule::default());
        assert_eq!((side.found, side.matched), (4, 1), "too little confidence is not found");
        side.count(&[detection(0, 0.6, 0.0)], &[detection(0, 0.5, 2.0)], &Rule::default());
        assert_eq!((side.found, side.matched), (5, 1), "too little overlap is not found");
    }

    #[test]
    fn nothing_to_find_is_agreed_on() {
        let mut agreement = Agreement::new(Rule { iou_min: 0.5, ..Rule::default() });
        agreement.add(&[], &[]);
        assert_eq!((agreement.share(), agreement.confidence_off_mean()), (1.0, 0.0));
    }
}
