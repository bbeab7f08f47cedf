//! What a quantized model finds, beside what the float model finds in the same pictures.

use anyhow::{Context, Result};

use super::graph::{FloatModel, Recipe};
use crate::{
    detection::Detection,
    detector::{self, Detector, Prepared},
    engine::{self, Session, Tensor},
    yolo::HeadSpec,
};

/// Down to this confidence detections are compared.
pub(super) const FLOOR: f32 = 0.01;

/// A detection of less confidence need not be found by the other.
const FROM: f32 = 0.03;

/// Boxes that overlap less are not of the same object.
const OVERLAP_MIN: f32 = 0.5;

/// So much of what a box's overlap is short of one counts beside the difference of confidence.
const BOX_WEIGHT: f64 = 0.5;

/// How to run models that are still bytes.
#[derive(Clone, Debug)]
pub(super) struct Runner {
    /// For messages.
    pub(super) name: String,
    pub(super) engine: engine::Settings,
    pub(super) detector: detector::Settings,
    pub(super) spec: HeadSpec,
    /// How many outputs are the model's own.
    pub(super) outputs: usize,
}

/// A picture, and what the float model finds in it.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) picture: Prepared,
    /// Down to [`FLOOR`], best first.
    pub(super) found: Vec<Detection>,
}

impl Runner {
    /// A model that is ready to run.
    pub(super) fn load(&self, bytes: &[u8]) -> Result<Model> {
        let session = Session::from_bytes(&self.name, bytes, &self.engine)?;
        let int8_convolutions = session.report().int8_convolutions;
        let names = session.outputs().iter().map(|output| output.name.clone()).collect();
        let detector = Detector::of_session(session, self.spec.clone(), &self.detector)?;
        Ok(Model { detector, outputs: self.outputs, names, int8_convolutions })
    }

    /// The threads that models run on.
    pub(super) fn threads(&self) -> usize {
        self.engine.threads.unwrap_or(1)
    }

    /// How far a quantized model is from the float one: 0 where both find the same with the same confidence, about 1 where
    /// nothing is found again.
    pub(super) fn discrepancy(&self, model: &FloatModel, recipe: &Recipe, samples: &[&Sample]) -> Result<f64> {
        let mut quantized = self.load(&model.quantized(recipe)?)?;
        let mut sum = Discrepancy::default();
        for sample in samples {
            sum.add(&sample.found, &quantized.detect(&sample.picture)?);
        }
        Ok(sum.mean())
    }
}

/// A model that is ready to run.
pub(super) struct Model {
    pub(super) detector: Detector,
    outputs: usize,
    /// Of all outputs.
    names: Vec<String>,
    int8_convolutions: usize,
}

impl Model {
    /// What it finds, best first.
    pub(super) fn detect(&mut self, picture: &Prepared) -> Result<Vec<Detection>> {
        let outputs = self.detector.run(picture)?;
        self.detector.found(&outputs[..self.outputs.min(outputs.len())], picture)
    }

    /// What it finds, and all of its outputs, in the order of [`Self::place`].
    pub(super) fn detect_and_expose(&mut self, picture: &Prepared) -> Result<(Vec<Detection>, Vec<Tensor>)> {
        let outputs = self.detector.run(picture)?;
        let found = self.detector.found(&outputs[..self.outputs.min(outputs.len())], picture)?;
        Ok((found, outputs))
    }

    /// Where among its outputs a tensor is.
    pub(super) fn place(&self, tensor: &str) -> Result<usize> {
        let place = self.names.iter().position(|name| name == tensor);
        place.with_context(|| format!("the tensor {tensor:?} is not shown; this is a fault of andon itself"))
    }

    /// How many outputs it has.
    pub(super) fn outputs(&self) -> usize {
        self.names.len()
    }

    /// How many of its convolutions run in int8.
    pub(super) fn int8_convolutions(&self) -> usize {
        self.int8_convolutions
    }
}

/// How far two confidences are apart, in parts of how far they spread where they are: near 0 and 1 the same error of the
/// network shows less. So doubtful detections, of which there are many, say as much as sure ones.
fn apart(one: f32, other: f32) -> f64 {
    let middle = f64::from(one + other) / 2.0;
    let spread = (middle * (1.0 - middle)).max(f64::from(FLOOR)).sqrt();
    f64::from((one - other).abs()) / (2.0 * spread)
}

/// The mean difference of detections and of those that the other model has for them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Discrepancy {
    sum: f64,
    count: usize,
}

impl Discrepancy {
    fn add(&mut self, reference: &[Detection], candidate: &[Detection]) {
        self.side(reference, candidate);
        self.side(candidate, reference);
    }

    fn side(&mut self, own: &[Detection], others: &[Detection]) {
        let mut taken = vec![false; others.len()];
        for one in own.iter().filter(|one| one.confidence >= FROM) {
            let overlap = |(place, other): (usize, &Detection)| {
                if taken[place] || other.class != one.class {
                    return None;
                }
                // A classifier's answers have no boxes, and are for the same picture.
                let iou = one.bounds().zip(other.bounds()).map_or(1.0, |(own, other)| own.iou(&other));
                (iou >= OVERLAP_MIN).then_some((place, iou))
            };
            let best =
                others.iter().enumerate().filter_map(overlap).max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)));
            self.count += 1;
            self.sum += match best {
                Some((place, iou)) => {
                    taken[place] = true;
                    apart(one.confidence, others[place].confidence) + BOX_WEIGHT * f64::from(1.0 - iou)
                }
                None => apart(one.confidence, 0.0),
            };
        }
    }

    fn mean(&self) -> f64 {
        self.sum / self.count.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{detection::Geometry, geometry::BoxPx};

    fn detection(class: usize, confidence: f32, x1: f32) -> Detection {
        let geometry = Geometry::Box(BoxPx { x1, y1: 0.0, x2: x1 + 10.0, y2: 10.0 });
        Detection { class, name: "".into(), confidence, geometry, track_id: None }
    }

    fn mean(reference: &[Detection], candidate: &[Detection]) -> f64 {
        let mut sum = Discrepancy::default();
        sum.add(reference, candidate);
        sum.mean()
    }

    #[test]
    fn the_same_is_nowhere_apart() {
        let found = [detection(0, 0.9, 0.0), detection(1, 0.4, 50.0)];
        assert_eq!((mean(&found, &found), mean(&[], &[])), (0.0, 0.0));
    }

    #[test]
    fn what_is_lost_moved_or_doubted_counts() {
        let reference = [detection(0, 0.9, 0.0)];
        let lost = mean(&reference, &[]);
        let taken_for_another = mean(&reference, &[detection(1, 0.9, 0.0)]);
        let moved = mean(&reference, &[detection(0, 0.9, 2.0)]);
        let doubted = mean(&reference, &[detection(0, 0.6, 0.0)]);
        assert!(lost > 0.8 && lost == taken_for_another, "{lost} {taken_for_another}");
        assert!(moved > 0.1 && doubted > 0.3 && moved < lost && doubted < lost, "{moved} {doubted}");
    }

    #[test]
    fn a_difference_says_more_where_confidence_is_near_its_ends() {
        assert!(apart(0.95, 0.9) > apart(0.55, 0.5));
        assert!(apart(0.06, 0.01) > apart(0.55, 0.5));
    }
}
