//! `andon detect`: a model over pictures, once.

use std::{
    io::{self, IsTerminal, Write},
    path::PathBuf,
    time::{Duration, Instant},
};

use andon::{
    capture::{self, ErrorKind, Read, SourceUri},
    detection::Detections,
    detector::{self, Detector, PictureError},
    format::{self, Writer, coco, csv, json, text},
    frame::Frame,
    vision::View,
    yolo::{Task, Thresholds},
};
use anyhow::anyhow;
use clap::ValueEnum;

use super::{
    Outcome, WrongUse,
    interrupt::Interrupt,
    model::{ModelArgs, at_least_one, forced_isa, fraction},
    output::Output,
    progress::Progress,
    save::{Folder, Labels},
    source::SourceParser,
};

/// Find things in images, folders, videos or a camera, and print them
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    model: ModelArgs,

    /// Confidence above which a detection is kept
    #[arg(long, value_name = "0..1", default_value_t = Thresholds::default().confidence, value_parser = fraction)]
    conf: f32,

    /// Boxes of one class that overlap more than this are one
    #[arg(long, value_name = "0..1", default_value_t = Thresholds::default().iou, value_parser = fraction)]
    iou: f32,

    /// At most so many detections in one picture
    #[arg(long, value_name = "N", default_value_t = Thresholds::default().max_det, value_parser = at_least_one)]
    max_det: usize,

    /// Only these classes, by name or index: NAME,NAME,…
    #[arg(long, value_name = "CLASSES", value_delimiter = ',')]
    classes: Option<Vec<String>>,

    /// How to print [default: text on a terminal, jsonl for a camera or stream, else json]
    #[arg(long, value_enum)]
    format: Option<Format>,

    /// Also save the pictures with boxes drawn on them in this folder (yolo-txt: and labels/NAME.txt)
    #[arg(long, value_name = "DIR")]
    save: Option<PathBuf>,

    /// With yolo-txt: a confidence at the end of every line
    #[arg(long)]
    save_conf: bool,

    /// An image, a folder, a glob, a video, - (an image on stdin), v4l2:PATH, http://…, rtsp://…, command:…, line:…
    #[arg(required = true, value_name = "SOURCE", value_parser = SourceParser)]
    sources: Vec<SourceUri>,
}

const EXAMPLES: &str = "\
Examples:
  andon detect --model board.onnx board.jpg
  andon detect --model board.onnx --format csv shots/ > found.csv
  andon detect --model board.onnx --format yolo-txt --save out 'shots/*.png'
  andon detect --model board.onnx --conf 0.5 --classes scratch,dent --save out board.jpg
  andon detect --model board.onnx v4l2:/dev/v4l/by-id/usb-…-index0     until Ctrl-C
  curl -s http://camera/snapshot.jpg | andon detect --model board.onnx --format json -";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Aligned lines, for people
    Text,
    /// One array, an object per picture
    Json,
    /// An object per picture, each on its own line
    Jsonl,
    /// A header, then a row per detection
    Csv,
    /// COCO results, for pycocotools
    Coco,
    /// Label files in DIR/labels (needs --save DIR)
    YoloTxt,
}

/// Runs the command.
pub(super) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let format = checked_format(args)?;
    let mut run = Run::begin(args, format)?;
    let gone_through = args.sources.iter().try_for_each(|source| run.source(source));
    let outcome = run.end(args);
    // The document is closed whatever happened, but what broke it off is the error to tell.
    gone_through.and(outcome)
}

/// How long a source may be without a picture.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long one wait for a picture is, and so how soon Ctrl-C is noticed.
const WAIT: Duration = Duration::from_millis(200);

/// Damaged pictures in a row after which a stream is given up.
const DAMAGED_MAX: usize = 100;

/// What is open while the sources are gone through.
struct Run {
    detector: Detector,
    writer: Option<Box<dyn Writer>>,
    out: Output,
    save: Option<Folder>,
    progress: Progress,
    interrupt: Interrupt,
    frame: Frame,
    failures: usize,
}

impl Run {
    fn begin(args: &Args, format: Format) -> anyhow::Result<Self> {
        let detector = Detector::load(&detector::Settings {
            confidence: args.conf,
            iou: args.iou,
            max_det: args.max_det,
            classes: args.classes.clone(),
            threads: args.model.file.threads,
            hints: args.model.hints()?,
            input_size: args.model.file.imgsz,
            isa: forced_isa(),
            ..detector::Settings::of(&args.model.file.model)
        })?;
        let task = detector.spec().task;
        if format == Format::Coco && task == Task::Classify {
            return Err(WrongUse::error(
                "--format coco has no place for a classifier's answers; use --format json or csv",
            ));
        }
        let labels = (format == Format::YoloTxt).then_some(Labels { with_confidence: args.save_conf });
        let save = args.save.as_deref().map(|path| Folder::create(path, labels)).transpose()?;
        let writer: Option<Box<dyn Writer>> = match format {
            Format::Text => Some(Box::new(text::Blocks)),
            Format::Json => Some(Box::new(json::Array::default())),
            Format::Jsonl => Some(Box::new(json::Lines)),
            Format::Csv => Some(Box::new(csv::Rows::new(task == Task::Obb))),
            Format::Coco => Some(Box::new(coco::Results::default())),
            Format::YoloTxt => None,
        };
        // What scrolls by on the terminal shows the progress itself.
        let scrolls = writer.is_some() && io::stdout().is_terminal();
        let progress = if scrolls { Progress::hidden() } else { Progress::over(args.sources.len()) };
        let (out, interrupt) = (Output::stdout(), Interrupt::watch()?);
        Ok(Self { detector, writer, out, save, progress, interrupt, frame: Frame::empty(), failures: 0 })
    }

    /// Looks at every picture of a source. What fails there is told and counted; an error here ends the run.
    fn source(&mut self, uri: &SourceUri) -> anyhow::Result<()> {
        if self.interrupt.asked() {
            return Ok(());
        }
        let mut source = match capture::open(&capture::Settings::of(uri.clone())) {
            Ok(source) => source,
            Err(error) => return self.failed(error.into()),
        };
        self.progress.opened(source.pictures());
        let mut damaged = Damaged::default();
        let (mut last_picture, mut patience) = (Instant::now(), PATIENCE.max(source.start_up()));
        while !self.interrupt.asked() {
            match source.read(&mut self.frame, WAIT) {
                Ok(Read::Frame) => {
                    (last_picture, patience) = (Instant::now(), PATIENCE);
                    let name = if self.frame.name.is_empty() { uri.to_string() } else { self.frame.name.clone() };
                    match self.detector.detect(&self.frame, &View::default()) {
                        Ok(found) => {
                            damaged.in_a_row = 0;
                            self.picture(&name, &found)?;
                        }
                        Err(error) if error.is::<PictureError>() => self.damaged(uri, &mut damaged, error)?,
                        Err(error) => return Err(error),
                    }
                }
                Ok(Read::Nothing) if last_picture.elapsed() < patience => {}
                Ok(Read::Nothing) => {
                    let seconds = patience.as_secs();
                    self.failed(anyhow!("{uri} gave no picture for {seconds} s; check that it sends"))?;
                    break;
                }
                Ok(Read::End) => break,
                Err(error) if error.kind() == ErrorKind::Corrupt => self.damaged(uri, &mut damaged, error.into())?,
                Err(error) => {
                    self.failed(error.into())?;
                    break;
                }
            }
            if is_live(uri) && damaged.in_a_row >= DAMAGED_MAX {
                break;
            }
        }
        if is_live(uri)
            && let Some(last) = damaged.last
        {
            self.failed(last.context(format!("{uri}: {} damaged pictures, the last", damaged.count)))?;
        }
        Ok(())
    }

    /// Writes and saves what was found in one picture.
    fn picture(&mut self, name: &str, found: &Detections) -> anyhow::Result<()> {
        if let Some(writer) = &mut self.writer {
            match writer.picture(&mut self.out, name, found) {
                Err(format::Error::Unfit(why)) => self.failed(anyhow!(why))?,
                written => written?,
            }
            self.out.flush()?;
        }
        if let Some(folder) = &mut self.save
            && let Err(error) = folder.picture(name, self.detector.picture(), found)
        {
            self.failed(error)?;
        }
        self.progress.step(name);
        Ok(())
    }

    /// A damaged file is told by itself; the pictures of a stream are counted and told once.
    fn damaged(&mut self, uri: &SourceUri, damaged: &mut Damaged, error: anyhow::Error) -> anyhow::Result<()> {
        if !is_live(uri) {
            return self.failed(error);
        }
        damaged.count += 1;
        damaged.in_a_row += 1;
        damaged.last = Some(error);
        Ok(())
    }

    /// Tells a failure and goes on, once stdout is known to be well: what it was told for must not be lost before.
    fn failed(&mut self, error: anyhow::Error) -> anyhow::Result<()> {
        self.out.flush()?;
        self.failures += 1;
        self.progress.tell(&error);
        Ok(())
    }

    fn end(mut self, args: &Args) -> anyhow::Result<Outcome> {
        if let Some(writer) = &mut self.writer {
            writer.finish(&mut self.out)?;
        }
        self.out.flush()?;
        self.progress.clear();
        let cut_short = self.interrupt.asked() && !args.sources.iter().any(is_live);
        anyhow::ensure!(!cut_short, "interrupted; what was found before is printed");
        Ok(if self.failures == 0 { Outcome::Done } else { Outcome::Failed })
    }
}

/// Damaged pictures of one stream.
#[derive(Default)]
struct Damaged {
    count: usize,
    in_a_row: usize,
    last: Option<anyhow::Error>,
}

/// The format that is asked for or fits, checked against what goes with it.
fn checked_format(args: &Args) -> anyhow::Result<Format> {
    let live = args.sources.iter().find(|source| is_live(source));
    let format = args.format.unwrap_or(match live {
        _ if io::stdout().is_terminal() => Format::Text,
        Some(_) => Format::Jsonl,
        None => Format::Json,
    });
    if format == Format::YoloTxt && args.save.is_none() {
        return Err(WrongUse::error("--format yolo-txt writes files; say where with --save DIR"));
    }
    if args.save_conf && format != Format::YoloTxt {
        return Err(WrongUse::error(
            "--save-conf is for --format yolo-txt; the other formats have the confidence anyway",
        ));
    }
    if let Some(live) = live
        && format == Format::Coco
    {
        return Err(WrongUse::error(format!(
            "--format coco is for pictures that have a ground truth, not for {live}; use jsonl"
        )));
    }
    let stdin = args.sources.iter().filter(|source| **source == SourceUri::Stdin).count();
    if stdin > 1 {
        return Err(WrongUse::error("- stands for one image on stdin and can be given once"));
    }
    if stdin == 1 && io::stdin().is_terminal() {
        return Err(WrongUse::error("- reads an image from stdin, which is the keyboard here; pipe one in"));
    }
    Ok(format)
}

/// Whether a source goes on until it is stopped.
fn is_live(source: &SourceUri) -> bool {
    match source {
        SourceUri::Files(_) | SourceUri::Stdin => false,
        SourceUri::V4l2(_) | SourceUri::Http(_) | SourceUri::Rtsp(_) | SourceUri::Command(_) | SourceUri::Line(_) => {
            true
        }
    }
}
