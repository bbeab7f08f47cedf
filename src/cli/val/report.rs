//! What `andon val` came to: as JSON, and as curves.

use std::path::Path;

use andon::{
    dataset::{Classes, Dataset},
    detection::Timing,
    draw::chart::{Chart, Curve},
    eval::{
        self, Agreement,
        agreement::Side,
        evaluation::{AtIou, CURVE_POINTS, ClassReport, Figures},
    },
};
use serde_json::{Value, json};

use super::{Args, Model};

/// Everything that is printed.
pub(super) struct Report<'a> {
    pub(super) data: String,
    pub(super) split: &'a str,
    /// The model that was asked about, then the one that it is held against.
    pub(super) models: Vec<OfModel<'a>>,
    pub(super) agreement: Agreement,
}

/// What one model came to.
pub(super) struct OfModel<'a> {
    pub(super) path: String,
    pub(super) classes: &'a Classes,
    pub(super) report: eval::Report,
    /// Of one picture, on average.
    pub(super) timing: Timing,
}

impl<'a> Report<'a> {
    pub(super) fn new(args: &'a Args, dataset: &Dataset, models: &'a [Model], agreement: Agreement) -> Self {
        let of_model = |model: &'a Model| {
            let report = model.evaluation.report();
            let mean = |sum: f32| sum / report.pictures.max(1) as f32;
            let Timing { decode_ms, preprocess_ms, inference_ms, postprocess_ms } = model.timing;
            let timing = Timing {
                decode_ms: mean(decode_ms),
                preprocess_ms: mean(preprocess_ms),
                inference_ms: mean(inference_ms),
                postprocess_ms: mean(postprocess_ms),
            };
            OfModel { path: model.path.display().to_string(), classes: &model.classes, report, timing }
        };
        let data = dataset.path.display().to_string();
        Self { data, split: &args.split, models: models.iter().map(of_model).collect(), agreement }
    }

    /// The object of `--json`.
    pub(super) fn json(&self) -> Value {
        let mut object = self.models[0].json();
        object["data"] = json!(self.data);
        object["split"] = json!(self.split);
        if let [_, other] = self.models.as_slice() {
            object["against"] = other.json();
            object["agreement"] = json!({
                "own": side(self.agreement.candidate()),
                "other": side(self.agreement.reference()),
                "confidence_difference": rounded(self.agreement.confidence_off_mean()),
            });
        }
        object
    }

    /// Precision over recall at an overlap of 0.5.
    pub(super) fn chart(&self) -> Chart {
        let model = &self.models[0];
        let classes = &model.report.classes;
        let mean = |at: usize| classes.iter().map(|class| class.curve[at]).sum::<f64>() / classes.len().max(1) as f64;
        let all = Curve {
            name: format!("all classes {:.3}", model.report.figures.map50),
            heights: (0..CURVE_POINTS).map(mean).collect(),
        };
        let of_class = |class: &ClassReport| Curve {
            name: format!("{} {:.3}", model.classes.name(class.class), class.figures.map50),
            heights: class.curve.clone(),
        };
        Chart {
            title: format!("{} on {} ({}), mAP50", file_name(&model.path), file_name(&self.data), self.split),
            x: "recall".to_owned(),
            y: "precision".to_owned(),
            curves: std::iter::once(all).chain(classes.iter().map(of_class)).collect(),
        }
    }
}

impl OfModel<'_> {
    fn json(&self) -> Value {
        let report = &self.report;
        let mut object = figures(&report.figures);
        object["model"] = json!(self.path);
        object["images"] = json!(report.pictures);
        object["instances"] = json!(report.objects);
        object["confidence"] = json!(rounded(report.confidence));
        let class = |class: &ClassReport| {
            let mut object = figures(&class.figures);
            object["class"] = json!(class.class);
            object["name"] = json!(self.classes.name(class.class));
            object["images"] = json!(class.pictures);
            object["instances"] = json!(class.objects);
            object
        };
        object["classes"] = report.classes.iter().map(class).collect();
        if let Some(AtIou { iou, map, best }) = report.at_iou {
            object["at_iou"] = json!({
                "iou": rounded(f64::from(iou)),
                "map": rounded(map),
                "precision": rounded(best.precision),
                "recall": rounded(best.recall),
                "f1": rounded(best.f1),
                "confidence": rounded(best.confidence),
            });
        }
        let named = |class: Option<usize>| class.map(|class| self.classes.name(class));
        let entry = |(found, truth, count)| json!({"found": named(found), "truth": named(truth), "count": count});
        object["confusion"] = report.confusion.entries().map(entry).collect();
        let Timing { decode_ms, preprocess_ms, inference_ms, postprocess_ms } = self.timing;
        let stage = |ms: f32| (f64::from(ms) * 1e3).round() / 1e3;
        object["speed_ms"] = json!({
            "decode": stage(decode_ms),
            "preprocess": stage(preprocess_ms),
            "inference": stage(inference_ms),
            "postprocess": stage(postprocess_ms),
        });
        object
    }
}

fn figures(figures: &Figures) -> Value {
    json!({
        "precision": rounded(figures.precision),
        "recall": rounded(figures.recall),
        "map50": rounded(figures.map50),
        "map50_95": rounded(figures.map50_95),
        "coco": {"ap": rounded(figures.coco_ap), "ap50": rounded(figures.coco_ap50)},
    })
}

fn side(side: Side) -> Value {
    json!({"found": side.found, "matched": side.matched, "share": rounded(side.share())})
}

/// The last part of a path.
pub(super) fn file_name(path: &str) -> &str {
    Path::new(path).file_name().and_then(|name| name.to_str()).unwrap_or(path)
}

/// Six digits after the point.
fn rounded(number: f64) -> f64 {
    (number * 1e6).round() / 1e6
}
