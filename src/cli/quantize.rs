//! `andon quantize`: a float model becomes an int8 one, with pictures of the line.

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use andon::{
    capture::SourceUri,
    eval::agreement::Side,
    quantize::{self, Options, Report, Step, report::Agreed},
};
use anyhow::{bail, ensure};
use serde_json::{Value, json};

use super::{
    Outcome, WrongUse, interrupt::Interrupt, model::ModelArgs, output, progress::Progress, source::SourceParser,
};

/// Make an int8 model of a float one, with pictures of the line
#[derive(Debug, clap::Args)]
#[command(after_help = NOTES)]
pub(super) struct Args {
    #[command(flatten)]
    model: ModelArgs,

    /// Pictures of the line, 8 or more, better 100: a folder or a glob
    #[arg(long, value_name = "DIR", value_parser = SourceParser)]
    images: SourceUri,

    /// Measure accuracy before and after on this dataset: data.yaml, or a folder with images/ and labels/
    #[arg(long, value_name = "DATA")]
    data: Option<PathBuf>,

    /// At most so many convolutions stay in float [default: one in twenty, of those that are little work]
    #[arg(long, value_name = "N")]
    keep: Option<usize>,

    /// Where to write the int8 model
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,

    /// Print the report as one JSON object
    #[arg(long)]
    json: bool,
}

const NOTES: &str = "\
The model is a float export, or a dynamically quantized file. Every fourth picture is kept apart to measure agreement with;
labels (--data) say more.

Examples:
  andon quantize --model board.onnx --images shots/ -o board-int8.onnx
  andon quantize --model board.onnx --images 'shots/*.jpg' --data boards/data.yaml -o board-int8.onnx --json";

/// Layers that are named in the report.
const LAYERS_SHOWN: usize = 5;

/// Runs the command.
pub(super) fn run(args: &Args) -> anyhow::Result<Outcome> {
    check_output(&args.output, &args.model.file.model)?;
    let options = Options {
        model: args.model.file.model.clone(),
        images: args.images.clone(),
        engine: args.model.file.engine(),
        hints: args.model.hints()?,
        keep: args.keep,
        data: args.data.clone(),
    };
    let (progress, interrupt) = (Progress::over(1), Interrupt::watch()?);
    let quantized = quantize::quantize(&options, &mut |Step { what, done, total }| {
        ensure!(!interrupt.asked(), "interrupted; nothing was written");
        progress.at(what, done, total);
        Ok(())
    });
    progress.clear();
    let quantized = quantized?;
    quantize::save(&args.output, &quantized.bytes)?;
    for remark in &quantized.report.remarks {
        progress.note(remark);
    }
    if args.json {
        output::print_json(&as_json(args, &quantized.report))?;
    } else {
        output::print(&as_text(args, &quantized.report))?;
    }
    Ok(Outcome::Done)
}

/// What would make the work useless at its end is said at its beginning.
fn check_output(path: &Path, model: &Path) -> anyhow::Result<()> {
    let named = || format!("-o {}", path.display());
    if path.is_dir() || path.file_name().is_none() {
        return Err(WrongUse::error(format!("{}: this is a folder; add a file name", named())));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        return Err(WrongUse::error(format!("{}: there is no folder {}; make it first", named(), folder.display())));
    }
    if let (Ok(output), Ok(model)) = (fs::canonicalize(path), fs::canonicalize(model))
        && output == model
    {
        return Err(WrongUse::error(format!("{}: this is the float model itself; choose another name", named())));
    }
    let probe = folder.join(format!(".andon.{}.tmp", std::process::id()));
    let made = fs::File::create(&probe);
    if made.is_ok() {
        // An empty file that stays for a moment harms nobody.
        let _ = fs::remove_file(&probe);
    }
    match made {
        Ok(_) => Ok(()),
        Err(cause) => bail!("{}: the folder cannot be written to ({cause}); choose another", named()),
    }
}

/// How far the two models find the same, in words.
fn agreement(Agreed { agreement: agreed, is_held_out }: &Agreed) -> String {
    let apart = if *is_held_out { "pictures kept apart" } else { "pictures that were also calibrated with" };
    let (float, int8) = (agreed.reference().found, agreed.candidate().found);
    if float + int8 == 0 {
        return format!("not known: nothing of 0.5 or more is found in {} {apart}", agreed.pictures());
    }
    format!(
        "{:.1} % of detections of 0.5 or more match the float model's, confidence {:.3} apart; {float} and {int8} \
         detections in {} {apart}",
        100.0 * agreed.share(),
        agreed.confidence_off_mean(),
        agreed.pictures()
    )
}

fn as_text(args: &Args, report: &Report) -> String {
    let [before, after] = report.bytes.map(|bytes| bytes as f64 / 1e6);
    let [slow, fast] = report.latency_ms;
    let [all, int8] = report.convolutions;
    let mut lines = vec![
        ("size", format!("{before:.1} MB → {after:.1} MB")),
        (
            "speed",
            format!("{slow:.1} ms → {fast:.1} ms here ({:.1} times as fast)", slow / fast.max(f64::MIN_POSITIVE)),
        ),
        ("int8", format!("{int8} of {all} convolutions in int8")),
        ("calibrated", format!("with {} pictures", report.calibrated_with)),
        ("agreement", agreement(&report.agreement)),
    ];
    if let Some([before, after]) = &report.labelled {
        lines.push(("mAP50-95", format!("{:.4} → {:.4}", before.map50_95, after.map50_95)));
        lines.push(("mAP50", format!("{:.4} → {:.4}", before.map50, after.map50)));
    }
    if !report.kept.is_empty() {
        lines.push(("in float", report.kept.join(", ")));
    }
    let mut text = format!("{}\n", args.output.display());
    for (key, value) in lines {
        writeln!(text, "  {key:10}  {value}").expect("a string takes any text");
    }
    writeln!(text, "  layers      farthest from the float model:").expect("a string takes any text");
    for (name, error) in report.layers.iter().take(LAYERS_SHOWN) {
        writeln!(text, "  {:10}  {:5.1} %  {name}", "", 100.0 * error).expect("a string takes any text");
    }
    text
}

fn as_json(args: &Args, report: &Report) -> Value {
    let pair = |[before, after]: [Value; 2]| json!({"before": before, "after": after});
    let Agreed { agreement: agreed, is_held_out } = &report.agreement;
    let side = |side: Side| json!({"found": side.found, "matched": side.matched, "share": side.share()});
    let accuracy = report.labelled.map(|figures| {
        pair(figures.map(|figures| json!({"map50": figures.map50, "map50_95": figures.map50_95, "precision": figures.precision, "recall": figures.recall})))
    });
    json!({
        "model": args.model.file.model.display().to_string(),
        "output": args.output.display().to_string(),
        "bytes": pair(report.bytes.map(Value::from)),
        "latency_ms": pair(report.latency_ms.map(Value::from)),
        "convolutions": report.convolutions[0],
        "int8_convolutions": report.convolutions[1],
        "calibrated_with": report.calibrated_with,
        "agreement": {
            "pictures": agreed.pictures(),
            "held_out": is_held_out,
            "own": side(agreed.candidate()),
            "other": side(agreed.reference()),
            "confidence_difference": agreed.confidence_off_mean(),
        },
        "accuracy": accuracy,
        "in_float": report.kept,
        "layers": report.layers.iter().map(|(name, error)| json!({"name": name, "error": error})).collect::<Vec<_>>(),
        "remarks": report.remarks,
    })
}
