//! What `andon val` came to, as tables for people.

use std::fmt::Write;

use andon::{
    dataset::Classes,
    detection::Timing,
    eval::{
        agreement::Side,
        confusion::{CONFIDENCE, OVERLAP},
        evaluation::{AtIou, Figures},
    },
};

use super::report::{OfModel, Report, file_name};

/// Classes up to which the confusion table is square; beyond it the commonest entries are listed.
const SQUARE_MAX: usize = 12;

/// Entries of that list.
const LISTED_MAX: usize = 20;

/// Letters of a class's name in a table.
const NAME_MAX: usize = 20;

impl Report<'_> {
    /// Everything, for a terminal.
    pub(super) fn text(&self) -> String {
        let own = &self.models[0];
        let mut lines = vec![format!(
            "{} on {} ({}): {}, {}",
            file_name(&own.path),
            self.data,
            self.split,
            counted(own.report.pictures, "picture"),
            counted(own.report.objects, "object")
        )];
        match self.models.get(1) {
            None => lines.extend(table(own)),
            Some(other) => {
                lines.push(format!("against {}", file_name(&other.path)));
                lines.extend(side_by_side(own, other));
            }
        }
        lines.push(String::new());
        for model in &self.models {
            let whose = if self.models.len() > 1 { format!("{}: ", file_name(&model.path)) } else { String::new() };
            lines.extend(beside(model, self.models.len() == 1).into_iter().map(|line| format!("{whose}{line}")));
        }
        if self.models.len() > 1 {
            lines.push(self.agreement_line());
        }
        lines.push(String::new());
        lines.extend(confusion(own));
        lines.iter().fold(String::new(), |text, line| text + line.trim_end() + "\n")
    }

    fn agreement_line(&self) -> String {
        let [own, other] = [0, 1].map(|at| file_name(&self.models[at].path));
        let share = |side: Side| (100.0 * side.share(), side.found);
        let ((of_own, own_found), (of_other, other_found)) =
            (share(self.agreement.candidate()), share(self.agreement.reference()));
        format!(
            "agreement: {other} finds {of_own:.1} % of {own_found} confident detections of {own}, which finds {of_other:.1} % \
             of its {other_found}; confidences differ by {:.3} in the mean",
            self.agreement.confidence_off_mean()
        )
    }
}

/// One model's figures, a line a class.
fn table(model: &OfModel<'_>) -> Vec<String> {
    let width = name_width(model);
    let head = format!(
        "{:>width$}  {:>6}  {:>9}  {:>6}  {:>6}  {:>6}  {:>8}  {:>6}  {:>6}",
        "class", "images", "instances", "P", "R", "mAP50", "mAP50-95", "AP", "AP50"
    );
    let line = |name: &str, images: usize, instances: usize, figures: &Figures| {
        let Figures { precision, recall, map50, map50_95, coco_ap, coco_ap50 } = figures;
        format!(
            "{:>width$}  {images:>6}  {instances:>9}  {precision:>6.3}  {recall:>6.3}  {map50:>6.3}  {map50_95:>8.3}  \
             {coco_ap:>6.3}  {coco_ap50:>6.3}",
            cut(name)
        )
    };
    let report = &model.report;
    let mut lines = vec![head, line("all", report.pictures, report.objects, &report.figures)];
    lines.extend(
        report
            .classes
            .iter()
            .map(|class| line(model.classes.name(class.class), class.pictures, class.objects, &class.figures)),
    );
    lines
}

/// Two models' figures; the last columns say what the first is better by.
fn side_by_side(own: &OfModel<'_>, other: &OfModel<'_>) -> Vec<String> {
    let width = name_width(own);
    let one = |[precision, recall, map50, map50_95]: [&str; 4]| {
        format!("{precision:>6}  {recall:>6}  {map50:>6}  {map50_95:>8}")
    };
    let figures = |figures: &Figures| {
        let Figures { precision, recall, map50, map50_95, .. } = figures;
        format!("{precision:>6.3}  {recall:>6.3}  {map50:>6.3}  {map50_95:>8.3}")
    };
    let columns = one(["P", "R", "mAP50", "mAP50-95"]);
    let head =
        format!("{:>width$}  {:>9} | {columns} | {columns} | {:>7}  {:>8}", "class", "instances", "mAP50", "mAP50-95");
    let line = |name: &str, instances: usize, [a, b]: [&Figures; 2]| {
        format!(
            "{:>width$}  {instances:>9} | {} | {} | {:>+7.3}  {:>+8.3}",
            cut(name),
            figures(a),
            figures(b),
            a.map50 - b.map50,
            a.map50_95 - b.map50_95
        )
    };
    let mut lines = vec![head, line("all", own.report.objects, [&own.report.figures, &other.report.figures])];
    // Both saw the same pictures, and so the same classes.
    for (a, b) in own.report.classes.iter().zip(&other.report.classes) {
        lines.push(line(own.classes.name(a.class), a.objects, [&a.figures, &b.figures]));
    }
    lines
}

/// What is said of each model beside the table.
fn beside(model: &OfModel<'_>, in_table: bool) -> Vec<String> {
    let report = &model.report;
    let Figures { coco_ap, coco_ap50, .. } = report.figures;
    let mut lines = vec![format!("P and R at confidence {:.3}", report.confidence)];
    // Side by side there is no room for it in the table.
    if !in_table {
        lines.push(format!("as pycocotools: AP {coco_ap:.3}, AP50 {coco_ap50:.3}"));
    }
    if let Some(AtIou { iou, map, best }) = report.at_iou {
        lines.push(format!(
            "at IoU {iou}: mAP {map:.3}; best F-score {:.3} (P {:.3}, R {:.3}) at confidence {:.3}",
            best.f1, best.precision, best.recall, best.confidence
        ));
    }
    let Timing { decode_ms, preprocess_ms, inference_ms, postprocess_ms } = model.timing;
    lines.push(format!(
        "a picture takes {decode_ms:.1} ms to decode, {preprocess_ms:.1} ms to fit, {inference_ms:.1} ms in the model, \
         {postprocess_ms:.1} ms after it"
    ));
    lines
}

/// Which class was taken for which.
fn confusion(model: &OfModel<'_>) -> Vec<String> {
    let confusion = &model.report.confusion;
    let classes = confusion.classes();
    let what =
        format!("found above confidence {CONFIDENCE} (rows) for what is there (columns), overlap above {OVERLAP}:");
    if classes.is_empty() {
        return Vec::new();
    }
    if classes.len() > SQUARE_MAX {
        let mut wrong: Vec<_> = confusion.entries().filter(|(found, truth, _)| found != truth).collect();
        wrong.sort_by_key(|(_, _, count)| std::cmp::Reverse(*count));
        let line = |&(found, truth, count): &(Option<usize>, Option<usize>, u64)| {
            format!("{count:>8}  {} for {}", named(model.classes, found), named(model.classes, truth))
        };
        let head = format!("the commonest confusions, found above confidence {CONFIDENCE}, overlap above {OVERLAP}:");
        return std::iter::once(head).chain(wrong.iter().take(LISTED_MAX).map(line)).collect();
    }
    let places: Vec<Option<usize>> = classes.into_iter().map(Some).chain([None]).collect();
    let names: Vec<String> = places.iter().map(|class| cut(named(model.classes, *class))).collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let mut head = " ".repeat(width);
    for name in &names {
        write!(head, "  {name:>6}").expect("a string takes any text");
    }
    let line = |(found, name): (&Option<usize>, &String)| {
        let mut line = format!("{name:>width$}");
        for (truth, above) in places.iter().zip(&names) {
            let columns = above.chars().count().max(6);
            match confusion.of(*found, *truth) {
                0 => write!(line, "  {:>columns$}", "."),
                count => write!(line, "  {count:>columns$}"),
            }
            .expect("a string takes any text");
        }
        line
    };
    [what, head].into_iter().chain(places.iter().zip(&names).map(line)).collect()
}

fn named(classes: &Classes, class: Option<usize>) -> &str {
    class.map_or("background", |class| classes.name(class))
}

fn name_width(model: &OfModel<'_>) -> usize {
    let names = model.report.classes.iter().map(|class| cut(model.classes.name(class.class)).chars().count());
    names.max().unwrap_or(0).max(5)
}

fn cut(name: &str) -> String {
    match name.char_indices().nth(NAME_MAX) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    }
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_cut_between_letters() {
        assert_eq!(cut("ä".repeat(20).as_str()), "ä".repeat(20));
        assert_eq!(cut("ä".repeat(21).as_str()), format!("{}…", "ä".repeat(20)));
        assert_eq!((counted(1, "object"), counted(0, "object")), ("1 object".to_owned(), "0 objects".to_owned()));
    }
}
