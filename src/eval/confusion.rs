//! Which class is taken for which.
//!
//! As the confusion matrix of Ultralytics 8.4, with which `tests/eval.rs` compares: detections above a confidence of 0.25
//! choose in the order of their confidence, each the object that it overlaps most among those left, of whatever class, if
//! by more than 0.45. What is left on either side is background.

use std::collections::BTreeMap;

use super::matching::{best_first, choose, yolo_iou};
use crate::detection::{Detection, Label};

/// Detections count above this confidence.
pub const CONFIDENCE: f32 = 0.25;

/// A detection is of an object that it overlaps more than this.
pub const OVERLAP: f32 = 0.45;

/// How often each class was taken for each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Confusion(BTreeMap<(Option<usize>, Option<usize>), u64>);

impl Confusion {
    /// Counts one picture.
    pub(super) fn add(&mut self, truth: &[Label], found: &[Detection]) {
        let counted = best_first(found).into_iter().take_while(|index| found[*index].confidence > CONFIDENCE);
        let boxed = counted.filter(|index| found[*index].bounds().is_some());
        let overlap = |index: usize, place: usize| Some(yolo_iou(&truth[place].bounds, &found[index].bounds()?));
        let mut missed = vec![true; truth.len()];
        for (index, place) in choose(boxed, truth.len(), overlap, |iou| iou > OVERLAP) {
            if let Some(place) = place {
                missed[place] = false;
            }
            self.count(Some(found[index].class), place.map(|place| truth[place].class));
        }
        for (label, missed) in truth.iter().zip(missed) {
            if missed {
                self.count(None, Some(label.class));
            }
        }
    }

    fn count(&mut self, found: Option<usize>, truth: Option<usize>) {
        *self.0.entry((found, truth)).or_default() += 1;
    }

    /// How many objects of the class `truth` were taken for `found`; `None` is background: a detection of nothing, an object
    /// that was missed.
    pub fn of(&self, found: Option<usize>, truth: Option<usize>) -> u64 {
        self.0.get(&(found, truth)).copied().unwrap_or(0)
    }

    /// Everything that occurred, as found, truth and how often.
    pub fn entries(&self) -> impl Iterator<Item = (Option<usize>, Option<usize>, u64)> {
        self.0.iter().map(|(&(found, truth), &count)| (found, truth, count))
    }

    /// The classes that occur, in their order.
    pub fn classes(&self) -> Vec<usize> {
        let mut classes: Vec<usize> = self.0.keys().flat_map(|(found, truth)| [*found, *truth]).flatten().collect();
        classes.sort_unstable();
        classes.dedup();
        classes
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::matching::tests::{detection, label},
        *,
    };

    #[test]
    fn classes_are_taken_for_others_and_for_background() {
        let mut confusion = Confusion::default();
        let truth = [label(0, 0.0), label(1, 50.0), label(1, 100.0)];
        let found = [
            detection(0, 0.9, 0.0),
            detection(1, 0.8, 0.0),
            detection(2, 0.7, 51.0),
            detection(1, 0.25, 100.0),
            detection(5, 0.6, 200.0),
        ];
        confusion.add(&truth, &found);
        let background = None;
        assert_eq!(confusion.of(Some(0), Some(0)), 1);
        assert_eq!(confusion.of(Some(1), background), 1, "its object was taken");
        assert_eq!(confusion.of(Some(2), Some(1)), 1);
        assert_eq!(confusion.of(background, Some(1)), 1, "0.25 is not enough");
        assert_eq!(confusion.of(Some(5), background), 1);
        assert_eq!(confusion.entries().map(|(_, _, count)| count).sum::<u64>(), 5);
        assert_eq!(confusion.classes(), [0, 1, 2, 5]);
    }
}
