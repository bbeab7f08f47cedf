//! A model's figures over the pictures of a dataset: precision, recall and average precision, per class and over all.

use std::collections::BTreeMap;

use super::{
    Hits, OVERLAPS,
    average_precision::Curve,
    confusion::Confusion,
    matching::{YOLO_OVERLAPS, best_first, coco_hits, yolo_hits},
    precision_recall::{BestF1, OverConfidence, best_threshold, confidence},
};
use crate::detection::{Detection, Label};

/// What is asked for beside the usual figures.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Options {
    /// One more overlap (IoU, in `0..=1`) at which detections are judged.
    pub at_iou: Option<f32>,
}

/// What was found and what is there, accumulated picture by picture.
///
/// Pictures are best added in the order of their names: among detections of equal confidence the earlier picture's come
/// first, as in `yolo val` and `pycocotools`.
#[derive(Clone, Debug, Default)]
pub struct Evaluation {
    options: Options,
    pictures: usize,
    classes: BTreeMap<usize, Class>,
    confusion: Confusion,
}

/// What is kept of one class.
#[derive(Clone, Debug, Default)]
struct Class {
    objects: usize,
    /// Pictures with at least one object.
    pictures: usize,
    /// Detections as `yolo val` judges them, bit [`OVERLAPS`] for the additional overlap.
    yolo: Vec<(f32, Hits)>,
    /// Detections as `pycocotools` judges them.
    coco: Vec<(f32, Hits)>,
}

impl Evaluation {
    /// An evaluation of no picture yet.
    pub fn new(options: Options) -> Self {
        Self { options, ..Self::default() }
    }

    /// Counts one picture: what is there, and what was found, in any order, both in the same pixels and with the same
    /// numbers for the classes. Detections without a box count as wrong.
    pub fn add(&mut self, truth: &[Label], found: &[Detection]) {
        self.pictures += 1;
        let mut seen = Vec::new();
        for label in truth {
            let class = self.classes.entry(label.class).or_default();
            class.objects += 1;
            if !seen.contains(&label.class) {
                seen.push(label.class);
                class.pictures += 1;
            }
        }
        let order = best_first(found);
        let mut overlaps = YOLO_OVERLAPS.to_vec();
        overlaps.extend(self.options.at_iou);
        let yolo = yolo_hits(truth, found, &order, &overlaps);
        let coco = coco_hits(truth, found, &order);
        for ((index, yolo), coco) in order.into_iter().zip(yolo).zip(coco) {
            let one = &found[index];
            let class = self.classes.entry(one.class).or_default();
            class.yolo.push((one.confidence, yolo));
            class.coco.extend(coco.map(|hits| (one.confidence, hits)));
        }
        self.confusion.add(truth, found);
    }

    /// The figures over all pictures so far.
    pub fn report(&self) -> Report {
        let with_objects: Vec<(usize, Judged)> = self
            .classes
            .iter()
            .filter(|(_, class)| class.objects > 0)
            .map(|(&number, class)| (number, Judged::new(class)))
            .collect();
        let over_confidence: Vec<_> = with_objects.iter().map(|(_, judged)| judged.over_confidence.clone()).collect();
        let threshold = best_threshold(&over_confidence);
        let classes: Vec<ClassReport> = with_objects
            .into_iter()
            .map(|(number, judged)| {
                let (precision, recall) = judged.over_confidence.at(threshold);
                let Class { objects, pictures, .. } = self.classes[&number];
                let figures = Figures { precision, recall, ..judged.figures };
                ClassReport { class: number, pictures, objects, figures, curve: judged.curve }
            })
            .collect();
        Report {
            pictures: self.pictures,
            objects: classes.iter().map(|class| class.objects).sum(),
            figures: Figures::mean(classes.iter().map(|class| class.figures)),
            confidence: confidence(threshold),
            at_iou: self.options.at_iou.map(|iou| self.at_iou(iou)),
            confusion: self.confusion.clone(),
            classes,
        }
    }

    /// Average precision and the best F-score at the additional overlap.
    fn at_iou(&self, iou: f32) -> AtIou {
        let is_right = |hits: Hits| hits & (1 << OVERLAPS) != 0;
        let with_objects: Vec<&Class> = self.classes.values().filter(|class| class.objects > 0).collect();
        let average = |class: &&Class| {
            let detections = best_detections_first(&class.yolo);
            Curve::new(detections.iter().map(|(_, hits)| is_right(*hits)), class.objects).yolo_average()
        };
        let detections = self.classes.values().flat_map(|class| &class.yolo);
        AtIou {
            iou,
            map: mean(with_objects.iter().map(average)),
            best: BestF1::new(
                detections.map(|(confidence, hits)| (*confidence, is_right(*hits))).collect(),
                with_objects.iter().map(|class| class.objects).sum(),
            ),
        }
    }
}

/// The curves and figures of one class, before it is known at which confidence precision and recall are read.
struct Judged {
    over_confidence: OverConfidence,
    figures: Figures,
    curve: Vec<f64>,
}

impl Judged {
    fn new(class: &Class) -> Self {
        let (yolo, coco) = (best_detections_first(&class.yolo), best_detections_first(&class.coco));
        let curve_at = |detections: &[(f32, Hits)], number: usize| {
            Curve::new(detections.iter().map(|(_, hits)| hits & (1 << number) != 0), class.objects)
        };
        let confidences: Vec<f32> = yolo.iter().map(|(confidence, _)| *confidence).collect();
        let at_half = curve_at(&yolo, 0);
        let average = |number| curve_at(&yolo, number).yolo_average();
        let figures = Figures {
            precision: 0.0,
            recall: 0.0,
            map50: average(0),
            map50_95: mean((0..OVERLAPS).map(average)),
            coco_ap: mean((0..OVERLAPS).map(|number| curve_at(&coco, number).coco_average())),
            coco_ap50: curve_at(&coco, 0).coco_average(),
        };
        let over_confidence = OverConfidence::new(&confidences, &at_half);
        Self { over_confidence, figures, curve: at_half.yolo_points(CURVE_POINTS) }
    }
}

/// Sorted by falling confidence; equals keep their order.
fn best_detections_first(detections: &[(f32, Hits)]) -> Vec<(f32, Hits)> {
    let mut sorted = detections.to_vec();
    sorted.sort_by(|a, b| b.0.total_cmp(&a.0));
    sorted
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (count, sum) = values.fold((0u32, 0.0), |(count, sum), value| (count + 1, sum + value));
    if count == 0 { 0.0 } else { sum / f64::from(count) }
}

/// Points of a class's curve in a report.
pub const CURVE_POINTS: usize = 1000;

/// What an evaluation came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Pictures seen, with objects or without.
    pub pictures: usize,
    /// Objects that are there.
    pub objects: usize,
    /// The means over the classes that have objects; zero where none has.
    pub figures: Figures,
    /// The confidence at which precision and recall are read: where the mean F1 over the classes peaks.
    pub confidence: f64,
    /// The classes that have objects, in the order of their numbers.
    pub classes: Vec<ClassReport>,
    /// The figures at the additional overlap.
    pub at_iou: Option<AtIou>,
    /// Which class was taken for which.
    pub confusion: Confusion,
}

/// One class of a [`Report`].
#[derive(Clone, Debug, PartialEq)]
pub struct ClassReport {
    /// Its number.
    pub class: usize,
    /// Pictures that show it.
    pub pictures: usize,
    /// Its objects.
    pub objects: usize,
    /// Its figures.
    pub figures: Figures,
    /// Its precision at [`CURVE_POINTS`] recalls spread evenly over `0..=1`, at an overlap of 0.5.
    pub curve: Vec<f64>,
}

/// The figures of one class or the means over classes, all in `0..=1`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// The part of the detections that is right, at [`Report::confidence`] and an overlap of 0.5.
    pub precision: f64,
    /// The part of the objects that is found, there.
    pub recall: f64,
    /// Average precision at an overlap of 0.5, as `yolo val` has it.
    pub map50: f64,
    /// The mean of the average precisions at the overlaps from 0.5 to 0.95, as `yolo val` has it.
    pub map50_95: f64,
    /// The same as `pycocotools` has it: its first figure.
    pub coco_ap: f64,
    /// Average precision at an overlap of 0.5, as `pycocotools` has it: its second figure.
    pub coco_ap50: f64,
}

impl Figures {
    fn mean(all: impl Iterator<Item = Self> + Clone) -> Self {
        let of = |figure: fn(Self) -> f64| mean(all.clone().map(figure));
        Self {
            precision: of(|one| one.precision),
            recall: of(|one| one.recall),
            map50: of(|one| one.map50),
            map50_95: of(|one| one.map50_95),
            coco_ap: of(|one| one.coco_ap),
            coco_ap50: of(|one| one.coco_ap50),
        }
    }
}

/// Figures at one overlap.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AtIou {
    /// The overlap.
    pub iou: f32,
    /// The mean over the classes of the average precision, computed as `yolo val` does.
    pub map: f64,
    /// The best F-score over all detections of all classes together.
    pub best: BestF1,
}

#[cfg(test)]
mod tests {
    use super::{
        super::matching::tests::{detection, label},
        *,
    };

    #[test]
    fn classes_without_objects_are_no_part_of_the_means() {
        let mut evaluation = Evaluation::new(Options { at_iou: Some(0.3) });
        evaluation.add(&[label(0, 0.0), label(3, 50.0)], &[detection(0, 0.9, 0.0), detection(1, 0.8, 0.0)]);
        evaluation.add(&[label(0, 0.0)], &[detection(0, 0.95, 5.0)]);
        evaluation.add(&[], &[]);
        let report = evaluation.report();
        assert_eq!((report.pictures, report.objects), (3, 3));
        let counted: Vec<_> = report.classes.iter().map(|class| (class.class, class.pictures, class.objects)).collect();
        assert_eq!(counted, [(0, 2, 2), (3, 1, 1)]);
        assert_eq!(report.classes[1].figures, Figures::default(), "nothing was found of it");
        assert!((report.figures.map50 - report.classes[0].figures.map50 / 2.0).abs() < 1e-12);
        // Overlapped to a third, the second picture's object is found at 0.3 only.
        let at = report.at_iou.unwrap();
        assert_eq!(at.best, BestF1 { precision: 1.0, recall: 2.0 / 3.0, f1: 0.8, confidence: f64::from(0.9f32) });
        assert!(at.map > report.figures.map50);
    }

    #[test]
    fn nothing_is_zero() {
        let report = Evaluation::default().report();
        assert_eq!((report.figures, report.classes.len(), report.at_iou), (Figures::default(), 0, None));
        let mut blind = Evaluation::default();
        blind.add(&[label(0, 0.0)], &[]);
        assert_eq!(blind.report().figures, Figures::default());
        assert_eq!(blind.report().confusion.of(None, Some(0)), 1);
    }

    #[test]
    fn all_right_is_as_good_as_it_gets() {
        let mut evaluation = Evaluation::default();
        evaluation.add(&[label(0, 0.0), label(1, 0.0)], &[detection(0, 0.9, 0.0), detection(1, 0.8, 0.0)]);
        let Figures { precision, recall, map50, map50_95, coco_ap, coco_ap50 } = evaluation.report().figures;
        assert_eq!((precision, recall), (1.0, 1.0));
        assert!((map50 - 0.995).abs() < 1e-9 && (map50_95 - 0.995).abs() < 1e-9);
        assert!((coco_ap - 1.0).abs() < 1e-9 && (coco_ap50 - 1.0).abs() < 1e-9);
    }
}
