//! `andon inspect`: what a model file is, and how it runs here.

use std::fmt::Write;

use andon::{
    detector,
    engine::{Report, Session, TensorSpec},
    yolo::HeadSpec,
};
use anyhow::Context;
use serde_json::json;

use super::{Outcome, model::ModelArgs, output};

/// Say what a model file is: head, classes, input, and what runs in int8
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    model: ModelArgs,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  andon inspect --model board.onnx
  andon inspect --model yolox.onnx --head yolox --names names.txt --json";

/// Runs the command.
pub(super) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let path = &args.model.file.model;
    let hints = args.model.hints()?;
    let session = Session::load(path, &args.model.file.engine())?;
    let head = detector::resolve(&session, &hints);
    let about = About { file: path.display().to_string(), session: &session, head: head.as_ref().ok() };
    if args.json {
        output::print_json(&about.json())?;
    } else {
        output::print(&about.text())?;
    }
    head.with_context(|| format!("model {}", path.display()))?;
    Ok(Outcome::Done)
}

/// What there is to say about a model.
struct About<'a> {
    file: String,
    session: &'a Session,
    /// Missing where the outputs cannot be read as a YOLO's.
    head: Option<&'a HeadSpec>,
}

impl About<'_> {
    fn json(&self) -> serde_json::Value {
        let report = self.session.report();
        let tensor = |spec: &TensorSpec| json!({"name": spec.name, "shape": spec.shape, "element": spec.element});
        json!({
            "model": self.file,
            "sha256": self.session.sha256(),
            "task": self.head.map(|head| head.task.name()),
            "head": self.head.map(|head| head.layout.head.name()),
            "classes": self.head.map(|head| head.names.iter().map(|name| &**name).collect::<Vec<_>>()),
            "input": tensor(self.session.input()),
            "outputs": self.session.outputs().iter().map(tensor).collect::<Vec<_>>(),
            "producer": report.producer,
            "ir_version": report.ir_version,
            "opset": report.opset,
            "quantization": report.quantization,
            "convolutions": report.convolutions,
            "int8_convolutions": report.int8_convolutions,
            "isa": self.session.isa(),
            "left_to_tract": left_to_tract(&report),
            "operators": report.operators,
            "metadata": self.session.metadata(),
            "notes": self.notes(&report),
        })
    }

    fn text(&self) -> String {
        let report = self.session.report();
        let mut text = format!("{}\n", self.file);
        let mut line = |key: &str, value: &str| {
            writeln!(text, "  {key:12}  {value}").expect("a string takes any text");
        };
        if let Some(head) = self.head {
            line("head", &head.describe());
            line("classes", &classes(head));
        }
        line("input", &tensor(self.session.input()));
        for output in self.session.outputs() {
            line("output", &tensor(output));
        }
        line("opset", &report.opset.to_string());
        if !report.producer.is_empty() {
            line("producer", &report.producer);
        }
        line("quantization", &report.quantization);
        line("int8", &format!("{} of {} convolutions in int8", report.int8_convolutions, report.convolutions));
        line("runs on", self.session.isa());
        if !report.left_to_tract.is_empty() {
            let left: Vec<_> =
                report.left_to_tract.iter().map(|(operator, reason)| format!("{operator} ({reason})")).collect();
            line("by tract", &left.join(", "));
        }
        let operators: Vec<_> = report.operators.iter().map(|(name, count)| format!("{name} {count}")).collect();
        line("operators", &operators.join(", "));
        line("sha256", self.session.sha256());
        for (key, value) in self.session.metadata() {
            // The names stand above, and the other values of an exporter are short.
            if key != "names" {
                line("metadata", &format!("{key} = {}", value.replace('\n', " ")));
            }
        }
        for note in self.notes(&report) {
            line("note", &note);
        }
        text
    }

    fn notes(&self, report: &Report) -> Vec<String> {
        let mut notes = self.head.map(|head| head.notes.clone()).unwrap_or_default();
        notes.extend(quantization_note(report));
        notes
    }
}

/// What a quantized file gains here, where that is less than its owner may expect.
fn quantization_note(report: &Report) -> Option<String> {
    let &Report { int8_convolutions, convolutions, .. } = report;
    match report.quantization.as_str() {
        "float" => None,
        "dynamic" => Some(
            "quantized dynamically: the file holds no ranges of activations, so it runs in float, at the float model's \
             speed; to run it in int8, quantize it with pictures of the line (andon quantize, or onnxruntime's \
             quantize_static with QDQ)"
                .to_owned(),
        ),
        _ if int8_convolutions == 0 => {
            Some("quantized, but no convolution runs in int8 here; expect the speed of the float model".to_owned())
        }
        _ if int8_convolutions < convolutions => {
            let rest = convolutions - int8_convolutions;
            Some(format!(
                "quantized, but {rest} of {convolutions} convolutions run in float: their inputs are not quantized, or \
                 their weights do not fit into int8"
            ))
        }
        _ => None,
    }
}

/// The operators that tract runs, each with a reason.
fn left_to_tract(report: &Report) -> serde_json::Value {
    let left = |(operator, reason): &(String, String)| json!({"operator": operator, "reason": reason});
    report.left_to_tract.iter().map(left).collect()
}

fn classes(head: &HeadSpec) -> String {
    match head.names.len() {
        0 => "not said by the file; state them with --names".to_owned(),
        count => format!("{count}: {}", head.names.join(", ")),
    }
}

fn tensor(spec: &TensorSpec) -> String {
    let shape: Vec<_> = spec.shape.iter().map(usize::to_string).collect();
    format!("{}  {}  {}", spec.name, shape.join("×"), spec.element)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_quantized_files_without_int8_have_a_note() {
        let report = |quantization: &str, int8_convolutions| Report {
            quantization: quantization.to_owned(),
            convolutions: 10,
            int8_convolutions,
            ..Report::default()
        };
        assert_eq!(quantization_note(&report("float", 0)), None);
        assert_eq!(quantization_note(&report("QDQ", 10)), None);
        assert!(quantization_note(&report("QDQ", 9)).is_some_and(|note| note.contains("1 of 10")));
        assert!(quantization_note(&report("QDQ", 0)).is_some_and(|note| !note.contains("dynamic")));
        assert!(quantization_note(&report("dynamic", 0)).is_some_and(|note| note.contains("dynamic")));
    }

    #[test]
    fn what_is_left_to_tract_has_its_reason() {
        let left = vec![("NonMaxSuppression".to_owned(), "an open size".to_owned())];
        let report = Report { left_to_tract: left, ..Report::default() };
        let expected = json!([{"operator": "NonMaxSuppression", "reason": "an open size"}]);
        assert_eq!(left_to_tract(&report), expected);
        assert_eq!(left_to_tract(&Report::default()), json!([]));
    }
}
