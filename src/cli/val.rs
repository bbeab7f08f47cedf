//! `andon val`: how good a model is on a dataset.
//!
//! The model sees every picture as `andon detect` would show it; the figures are `eval`'s, the dataset is read by
//! `dataset`. Everything that can be wrong with the dataset is told before the first picture is looked at.

mod report;
mod table;

use std::path::{Path, PathBuf};

use andon::{
    capture,
    dataset::{BadLabels, Classes, Dataset, Object},
    detection::{Detections, Label, Timing},
    detector::{self, Detector, PictureError},
    draw::{self, chart},
    eval::{Agreement, Evaluation, Options, agreement::Rule},
    format::{Writer, coco},
    frame::Frame,
    vision::View,
    whole_file,
    yolo::{Task, Thresholds},
};
use anyhow::{Context, anyhow, bail, ensure};

use self::report::Report;
use super::{
    Outcome, WrongUse,
    interrupt::Interrupt,
    model::{ModelArgs, at_least_one, forced_isa, fraction},
    output,
    progress::Progress,
};

/// Measure how good a model is on a YOLO dataset, as yolo val and pycocotools do
#[derive(Debug, clap::Args)]
#[command(after_help = NOTES)]
pub(super) struct Args {
    #[command(flatten)]
    model: ModelArgs,

    /// The dataset: data.yaml, or a folder with images/ and labels/
    #[arg(long, value_name = "DATA")]
    data: PathBuf,

    /// Which part of it: train, val or test
    #[arg(long, value_name = "NAME", default_value = "val")]
    split: String,

    /// Confidence above which a detection is kept
    #[arg(long, value_name = "0..1", default_value_t = 0.001, value_parser = fraction)]
    conf: f32,

    /// Boxes of one class that overlap more than this are one
    #[arg(long, value_name = "0..1", default_value_t = Thresholds::default().iou, value_parser = fraction)]
    iou: f32,

    /// At most so many detections in one picture
    #[arg(long, value_name = "N", default_value_t = Thresholds::default().max_det, value_parser = at_least_one)]
    max_det: usize,

    /// Measure this model too, show both side by side, and say how far they find the same
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,

    /// Also judge at this overlap: average precision and the best F-score
    #[arg(long, value_name = "0..1", value_parser = overlap)]
    at_iou: Option<f32>,

    /// Draw precision over recall for every class: FILE.svg, FILE.png or FILE.jpg
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,

    /// Save the detections as COCO results; category_id is the dataset's class
    #[arg(long, value_name = "FILE")]
    save_json: Option<PathBuf>,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

const NOTES: &str = "\
P and R are precision and recall at the confidence where their mean F1 over the classes is best. mAP50 and mAP50-95 are
what yolo val computes, AP and AP50 what pycocotools computes, from the detections that andon detect would find at --conf.

Examples:
  andon val --model board.onnx --data boards/data.yaml
  andon val --model board-int8.onnx --against board.onnx --data boards --plot curves.svg
  andon val --model board.onnx --data boards/val --at-iou 0.33 --json";

/// Sentences about label files that are told; with more it says how many are left.
const TOLD_MAX: usize = 20;

/// Runs the command.
pub(super) fn run(args: &Args) -> anyhow::Result<Outcome> {
    check(args)?;
    let dataset = Dataset::open(&args.data, &args.split)?;
    let saved = args.save_json.as_ref().map(|_| Saved::of(&dataset)).transpose().context("--save-json")?;
    let mut models = vec![Model::load(args, &args.model.file.model, &dataset)?];
    if let Some(other) = &args.against {
        models.push(Model::load(args, other, &dataset)?);
    }
    let progress = Progress::over(dataset.pictures.len());
    let labels = match dataset.labels(Some(models[0].class_count())) {
        Ok(labels) => labels,
        Err(bad) => return Ok(told(&progress, &bad)),
    };
    for model in &mut models {
        model.classes.check(&labels.objects, &dataset.path, &model.detector.identity().name)?;
    }
    labels.remarks().iter().for_each(|remark| progress.note(remark));
    if dataset.lines_left_out > 0 {
        progress.note(&format!("lines of lists that name no picture, which are left out: {}", dataset.lines_left_out));
    }
    labels.check(&dataset.path, &args.split)?;

    let mut run = Run {
        progress,
        interrupt: Interrupt::watch()?,
        agreement: Agreement::default(),
        saved,
        frame: Frame::empty(),
        failures: 0,
    };
    for (number, objects) in labels.objects.iter().enumerate() {
        ensure!(!run.interrupt.asked(), "interrupted; figures over a part of the pictures would mislead");
        run.picture(number, &dataset.pictures[number], objects, &mut models)?;
    }
    run.progress.clear();
    ensure!(
        run.failures < dataset.pictures.len(),
        "none of the {} pictures could be read; see above why",
        dataset.pictures.len()
    );
    run.finish(args, &dataset, &models)
}

/// A model and what it has come to.
struct Model {
    path: PathBuf,
    detector: Detector,
    classes: Classes,
    evaluation: Evaluation,
    timing: Timing,
}

impl Model {
    fn load(args: &Args, path: &Path, dataset: &Dataset) -> anyhow::Result<Self> {
        let detector = Detector::load(&detector::Settings {
            confidence: args.conf,
            iou: args.iou,
            max_det: args.max_det,
            threads: args.model.file.threads,
            hints: args.model.hints()?,
            input_size: args.model.file.imgsz,
            isa: forced_isa(),
            ..detector::Settings::of(path)
        })?;
        let what = match detector.spec().task {
            Task::Classify => Some("classifies whole pictures"),
            Task::Obb => Some("finds oriented boxes"),
            Task::Detect | Task::Segment | Task::Pose => None,
        };
        if let Some(what) = what {
            bail!("model {} {what}; val measures upright boxes, give a model that finds those", path.display());
        }
        let classes = Classes::new(&detector.spec().names, &dataset.names);
        let evaluation = Evaluation::new(Options { at_iou: args.at_iou });
        Ok(Self { path: path.to_owned(), detector, classes, evaluation, timing: Timing::default() })
    }

    fn class_count(&self) -> usize {
        self.detector.spec().names.len()
    }

    /// What the model finds in a frame, with the dataset's classes.
    fn detect(&mut self, frame: &Frame) -> anyhow::Result<Detections> {
        let mut found = self.detector.detect(frame, &View::default())?;
        self.classes.translate(&mut found.items);
        Ok(found)
    }

    fn count(&mut self, truth: &[Label], found: &Detections) {
        self.evaluation.add(truth, &found.items);
        let Timing { decode_ms, preprocess_ms, inference_ms, postprocess_ms } = found.timing;
        self.timing.decode_ms += decode_ms;
        self.timing.preprocess_ms += preprocess_ms;
        self.timing.inference_ms += inference_ms;
        self.timing.postprocess_ms += postprocess_ms;
    }
}

/// What `--save-json` will hold.
struct Saved {
    results: coco::Results,
    text: Vec<u8>,
    /// One for each picture of the dataset, so that one that cannot be read does not shift the others'.
    ids: Vec<u64>,
}

impl Saved {
    fn of(dataset: &Dataset) -> anyhow::Result<Self> {
        let ids = coco::image_ids(dataset.pictures.iter().filter_map(|picture| picture.to_str()))?;
        Ok(Self { results: coco::Results::default(), text: Vec::new(), ids })
    }

    fn write(mut self, path: &Path) -> anyhow::Result<()> {
        self.results.finish(&mut self.text)?;
        whole_file::write(path, &self.text)
    }
}

/// What is open while the pictures are gone through.
struct Run {
    progress: Progress,
    interrupt: Interrupt,
    agreement: Agreement,
    saved: Option<Saved>,
    frame: Frame,
    failures: usize,
}

impl Run {
    /// Looks at one picture with every model. One that cannot be read is told, and is no part of the figures.
    fn picture(&mut self, number: usize, path: &Path, objects: &[Object], models: &mut [Model]) -> anyhow::Result<()> {
        let found = capture::read_file(path, &mut self.frame).map_err(anyhow::Error::from).and_then(|()| {
            models.iter_mut().map(|model| model.detect(&self.frame)).collect::<anyhow::Result<Vec<_>>>()
        });
        let found = match found {
            Ok(found) => found,
            Err(error) if error.is::<PictureError>() || error.is::<capture::SourceError>() => {
                self.failures += 1;
                self.progress.tell(&error);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        for (model, found) in models.iter_mut().zip(&found) {
            let truth: Vec<Label> = objects.iter().map(|object| object.label(found.size)).collect();
            model.count(&truth, found);
        }
        if let [own, other] = found.as_slice() {
            self.agreement.add(&other.items, &own.items);
        }
        if let Some(Saved { results, text, ids }) = &mut self.saved {
            results.picture_as(text, ids[number], &path.to_string_lossy(), &found[0]).context("--save-json")?;
        }
        self.progress.step(&path.file_name().unwrap_or_default().to_string_lossy());
        Ok(())
    }

    /// Prints figures and writes files. The figures come first, for a disk that is full must not take them along.
    fn finish(mut self, args: &Args, dataset: &Dataset, models: &[Model]) -> anyhow::Result<Outcome> {
        let report = Report::new(args, dataset, models, std::mem::take(&mut self.agreement));
        let printed = if args.json { output::print_json(&report.json()) } else { output::print(&report.text()) };
        if let (Some(path), Some(saved)) = (&args.save_json, self.saved.take()) {
            self.told(saved.write(path).context("--save-json"));
        }
        if let Some(path) = &args.plot {
            self.told(plot(path, &report.chart()).context("--plot"));
        }
        printed?;
        Ok(if self.failures == 0 { Outcome::Done } else { Outcome::Failed })
    }

    fn told(&mut self, written: anyhow::Result<()>) {
        if let Err(error) = written {
            self.failures += 1;
            self.progress.tell(&error);
        }
    }
}

/// What cannot be done is said before anything is computed.
fn check(args: &Args) -> anyhow::Result<()> {
    let Rule { enough, .. } = Rule::default();
    if args.against.is_some() && args.conf > enough {
        return Err(WrongUse::error(format!(
            "--conf {}: --against compares detections down to a confidence of {enough}; give that or less",
            args.conf
        )));
    }
    if let Some(plot) = &args.plot {
        let end = plot.extension().and_then(|end| end.to_str()).unwrap_or_default().to_ascii_lowercase();
        if !["svg", "png", "jpg", "jpeg"].contains(&end.as_str()) {
            return Err(WrongUse::error(format!(
                "--plot {}: curves are drawn as .svg, .png or .jpg; choose one of these",
                plot.display()
            )));
        }
    }
    for (option, path) in [("--plot", &args.plot), ("--save-json", &args.save_json)] {
        if let Some(folder) = path.as_ref().and_then(|path| path.parent())
            && !folder.as_os_str().is_empty()
            && !folder.is_dir()
        {
            return Err(WrongUse::error(format!("{option}: there is no folder {}; make it first", folder.display())));
        }
    }
    Ok(())
}

/// An overlap that two boxes have only where they meet.
fn overlap(text: &str) -> Result<f32, String> {
    match fraction(text) {
        Ok(value) if value > 0.0 => Ok(value),
        _ => Err("not a number above 0 and up to 1".to_owned()),
    }
}

fn told(progress: &Progress, BadLabels(bad): &BadLabels) -> Outcome {
    for sentence in bad.iter().take(TOLD_MAX) {
        progress.tell(&anyhow!("{sentence}"));
    }
    if bad.len() > TOLD_MAX {
        progress.tell(&anyhow!(
            "{} more label files cannot be used; correct them or remove their pictures",
            bad.len() - TOLD_MAX
        ));
    }
    progress.clear();
    Outcome::Failed
}

fn plot(path: &Path, chart: &chart::Chart) -> anyhow::Result<()> {
    match path.extension().and_then(|end| end.to_str()) {
        Some(end) if end.eq_ignore_ascii_case("svg") => whole_file::write(path, chart.svg().as_bytes()),
        _ => draw::save(&chart.picture(), path),
    }
}
