//! From a frame to detections: the single path for `run`, `detect`, `bench` and `val`.
//!
//! A [`Detector`] owns a model and every buffer on the way: decoding, fitting, the model's input. It knows neither where
//! frames come from nor who wants the detections.

use std::{
    collections::BTreeMap,
    fmt,
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use sha2::{Digest, Sha256};

use crate::{
    detection::{Detection, Detections, Timing},
    engine::{self, Pixels, Session, Tensor},
    frame::{Frame, PixelFormat},
    geometry::{Placement, Size},
    vision::{self, Decoder, Encoding, Fit, Fitter, RgbImage, View},
    yolo::{self, HeadSpec, Hints, InputSpec, ModelFacts, Scratch, TensorView, Thresholds},
};

/// The model that comes with the program: it finds the six defects of DeepPCB on bare boards; `models/` has its card.
const BUNDLED: &[u8] = include_bytes!("../models/bare-boards.onnx");
const BUNDLED_NAME: &str = "bare-boards";

/// Where a model's ONNX file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelFile {
    /// On disk.
    Path(PathBuf),
    /// In this program: the model of the demo.
    Bundled,
}

impl ModelFile {
    /// The session of the file.
    ///
    /// # Errors
    /// As [`Session::load`].
    pub fn load(&self, settings: &engine::Settings) -> anyhow::Result<Session> {
        match self {
            Self::Path(path) => Session::load(path, settings),
            Self::Bundled => Session::from_bytes(BUNDLED_NAME, BUNDLED, settings),
        }
    }
}

impl ModelFile {
    /// SHA-256 of the file as it is now, in lower-case hexadecimal digits: that of [`Identity`], without loading it.
    ///
    /// # Errors
    /// Where it cannot be read, or is no regular file.
    pub fn sha256(&self) -> io::Result<String> {
        let mut hash = Sha256::new();
        match self {
            Self::Path(path) => {
                // To open a pipe would be to wait for somebody to write into it.
                if !path.metadata()?.is_file() {
                    return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
                }
                io::copy(&mut File::open(path)?, &mut hash)?;
            }
            Self::Bundled => hash.update(BUNDLED),
        }
        Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

impl fmt::Display for ModelFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Bundled => f.write_str(BUNDLED_NAME),
        }
    }
}

impl<P: AsRef<Path>> From<P> for ModelFile {
    fn from(path: P) -> Self {
        Self::Path(path.as_ref().to_owned())
    }
}

/// Which model, and which of its detections to keep.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The ONNX file.
    pub model: ModelFile,
    /// Lowest confidence, in `0..=1`.
    pub confidence: f32,
    /// Boxes of one class that overlap more than this are one, in `0..=1`.
    pub iou: f32,
    /// At most so many detections in one frame.
    pub max_det: usize,
    /// Only these classes, each by its name or its index; `None`: all. A class that is named like a number is meant by it.
    pub classes: Option<Vec<String>>,
    /// Higher or lower confidences for some classes, by their names.
    pub per_class: BTreeMap<String, f32>,
    /// Threads for one inference; `None`: the machine's cores.
    pub threads: Option<usize>,
    /// What the user states where the file does not.
    pub hints: Hints,
    /// Height and width of the input, for models whose file leaves them open.
    pub input_size: Option<[usize; 2]>,
    /// The instruction set to run on, by its name; `None`: the best that the processor has.
    pub isa: Option<String>,
}

impl Settings {
    /// The bundled model, with a confidence near which it misses about as much as it invents.
    pub fn bundled() -> Self {
        Self { confidence: 0.5, ..Self::of(ModelFile::Bundled) }
    }

    /// The model with the thresholds that Ultralytics predicts with.
    pub fn of(model: impl Into<ModelFile>) -> Self {
        let Thresholds { confidence, iou, max_det, .. } = Thresholds::default();
        Self {
            model: model.into(),
            confidence,
            iou,
            max_det,
            classes: None,
            per_class: BTreeMap::new(),
            threads: None,
            hints: Hints::default(),
            input_size: None,
            isa: None,
        }
    }

    /// Has it tell what the model is less sure of, too, down to this confidence.
    pub fn report_from(&mut self, least: f32) {
        self.confidence = self.confidence.min(least);
        for confidence in self.per_class.values_mut() {
            *confidence = confidence.min(least);
        }
    }
}

/// Which model it is, for messages and records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The file's name without its extension.
    pub name: String,
    /// SHA-256 of the file, in lower-case hexadecimal digits.
    pub sha256: String,
}

/// The picture cannot be looked at, and the next one may be good: its bytes are damaged, or the region lies outside it.
///
/// What [`Detector::detect`] fails with where it is not the model that fails.
#[derive(Debug, thiserror::Error)]
#[error("{0:#}")]
pub struct PictureError(anyhow::Error);

/// A picture as a model takes it, and where it lies in the one that it was made from.
#[derive(Clone, Debug)]
pub struct Prepared {
    fitted: RgbImage,
    placement: Placement,
}

/// A model, ready to look at frames.
#[derive(Debug)]
pub struct Detector {
    identity: Identity,
    session: Session,
    spec: HeadSpec,
    thresholds: Thresholds,
    scratch: Scratch,
    input: Size,
    decoder: Decoder,
    picture: RgbImage,
    fitter: Fitter,
    fitted: RgbImage,
    encoding: Encoding,
    /// What the encoding makes of pixels, for sessions that take them.
    levels: ([usize; 3], Box<[f32; 256]>),
    /// The model's input for sessions that take no pixels.
    tensor: Vec<f32>,
    /// How long the last self-test took.
    tested: Duration,
}

impl Detector {
    /// Loads a model and finds out what its outputs mean.
    ///
    /// # Errors
    /// Where the file does not load or is no YOLO, and where the settings name a class that it has not; says which and
    /// what to do.
    pub fn load(settings: &Settings) -> anyhow::Result<Self> {
        let of_engine =
            engine::Settings { threads: settings.threads, input_size: settings.input_size, isa: settings.isa.clone() };
        let session = settings.model.load(&of_engine)?;
        let spec = resolve(&session, &settings.hints).with_context(|| named(settings))?;
        Self::of_session(session, spec, settings)
    }

    /// A detector on a session that is there already, whose first outputs are what `spec` says. Of the settings only the
    /// file (for messages), the thresholds and the classes count.
    ///
    /// # Errors
    /// Where the session does not take colour pictures, and where the settings name a class that it has not.
    pub fn of_session(session: Session, spec: HeadSpec, settings: &Settings) -> anyhow::Result<Self> {
        let named = || named(settings);
        let identity = Identity { name: session.name().to_owned(), sha256: session.sha256().to_owned() };
        let thresholds = thresholds(settings, &spec).with_context(named)?;
        let [_, channels, height, width] = session.input().shape[..] else {
            anyhow::bail!("{}: the input has {} dimensions, not four", named(), session.input().shape.len());
        };
        ensure!(channels == 3, "{}: the input has {channels} channels; only colour models with 3 can run", named());
        let side = |pixels| u32::try_from(pixels).with_context(|| format!("{}: the input is too large", named()));
        let input = Size { width: side(width)?, height: side(height)? };
        let (fit, encoding) = convention(spec.input);
        let (order, numbers) = encoding.levels();
        let tensor = if session.takes_pixels() { Vec::new() } else { vec![0.0; channels * height * width] };
        Ok(Self {
            identity,
            session,
            spec,
            thresholds,
            scratch: Scratch::default(),
            input,
            decoder: Decoder::default(),
            picture: RgbImage::default(),
            fitter: Fitter::new(fit, input),
            fitted: RgbImage::default(),
            encoding,
            levels: (order, Box::new(numbers)),
            tensor,
            tested: Duration::ZERO,
        })
    }

    /// Runs the model once on an empty picture, so that the first frame finds caches filled and memory mapped.
    ///
    /// # Errors
    /// Where the model does not run, or its outputs are not what they promised.
    pub fn warm_up(&mut self) -> anyhow::Result<Timing> {
        let grey = Frame {
            size: self.input,
            stride: self.input.width as usize,
            format: PixelFormat::Grey8,
            data: vec![114; self.input.width as usize * self.input.height as usize],
            ..Frame::empty()
        };
        Ok(self.detect(&grey, &View::default())?.timing)
    }

    /// Runs the model as [`Self::warm_up`] does, and makes sure that what comes out of it are numbers.
    ///
    /// # Errors
    /// As [`Self::warm_up`], and where an output holds what is no finite number.
    pub fn self_test(&mut self) -> anyhow::Result<Timing> {
        let start = Instant::now();
        let timing = self.warm_up()?;
        self.tested = start.elapsed();
        for (output, spec) in self.infer()?.iter().zip(self.session.outputs()) {
            ensure!(
                output.data.iter().all(|number| number.is_finite()),
                "model {}: output {:?} holds what is no number (NaN or infinite); export it again",
                self.identity.name,
                spec.name
            );
        }
        Ok(timing)
    }

    /// Finds what is in a frame, best first, in pixels of the whole rotated picture.
    ///
    /// # Errors
    /// A [`PictureError`] where the frame is damaged or the region lies outside it; else the model fails.
    pub fn detect(&mut self, frame: &Frame, view: &View) -> anyhow::Result<Detections> {
        let mut timing = Timing::default();
        let mut watch = Stopwatch::start();
        let cutout = self.decoder.decode(frame, view, &mut self.picture).map_err(PictureError)?;
        timing.decode_ms = watch.lap_ms();

        let placement = self.fitter.fit(&self.picture, &mut self.fitted).inside(cutout);
        self.encode();
        timing.preprocess_ms = watch.lap_ms();

        let outputs = self.infer()?;
        timing.inference_ms = watch.lap_ms();

        let items = self.read_outputs(&outputs, &placement)?;
        timing.postprocess_ms = watch.lap_ms();
        Ok(Detections { size: cutout.original, items, timing })
    }

    /// A frame as the model takes it, to be looked at more than once.
    ///
    /// # Errors
    /// A [`PictureError`] where the frame is damaged or the region lies outside it.
    pub fn prepare(&mut self, frame: &Frame, view: &View) -> anyhow::Result<Prepared> {
        let cutout = self.decoder.decode(frame, view, &mut self.picture).map_err(PictureError)?;
        let placement = self.fitter.fit(&self.picture, &mut self.fitted).inside(cutout);
        Ok(Prepared { fitted: self.fitted.clone(), placement })
    }

    /// The numbers that go into the model for a picture: `1 × 3 × height × width`.
    pub fn input_of(&self, picture: &Prepared) -> Tensor {
        let mut data = vec![0.0; picture.fitted.data.len()];
        vision::encode(&picture.fitted, self.encoding, &mut data);
        Tensor { shape: vec![1, 3, self.input.height as usize, self.input.width as usize], data }
    }

    /// What the model makes of a picture that was prepared for a model of the same input: all outputs of its session.
    ///
    /// # Errors
    /// Where the model fails.
    pub fn run(&mut self, picture: &Prepared) -> anyhow::Result<Vec<Tensor>> {
        self.fitted.clone_from(&picture.fitted);
        self.encode();
        self.infer()
    }

    /// The detections that the model's own outputs stand for, best first, in pixels of the whole picture.
    ///
    /// # Errors
    /// Where the outputs are not what they promised.
    pub fn found(&mut self, outputs: &[Tensor], picture: &Prepared) -> anyhow::Result<Vec<Detection>> {
        self.read_outputs(outputs, &picture.placement)
    }

    /// Makes the fitted picture a tensor, where the session takes no pixels.
    fn encode(&mut self) {
        if !self.session.takes_pixels() {
            vision::encode(&self.fitted, self.encoding, &mut self.tensor);
        }
    }

    fn infer(&mut self) -> anyhow::Result<Vec<Tensor>> {
        if self.session.takes_pixels() {
            let (channels, numbers) = &self.levels;
            self.session.run_pixels(Pixels { rgb: &self.fitted.data, channels: *channels, numbers })
        } else {
            self.session.run(&self.tensor)
        }
    }

    fn read_outputs(&mut self, outputs: &[Tensor], placement: &Placement) -> anyhow::Result<Vec<Detection>> {
        let views: Vec<_> = outputs.iter().map(|out| TensorView { shape: &out.shape, data: &out.data }).collect();
        let mut items = Vec::new();
        self.spec
            .decode_into(&views, &self.thresholds, placement, &mut self.scratch, &mut items)
            .with_context(|| format!("model {}", self.identity.name))?;
        Ok(items)
    }

    /// The picture that [`Self::detect`] looked at last: upright, only the region where there is one.
    pub fn picture(&self) -> &RgbImage {
        &self.picture
    }

    /// How long the first picture of the last [`Self::self_test`] took, at which caches were empty; zero without one.
    pub fn tested(&self) -> Duration {
        self.tested
    }

    /// Which model it is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// What the model's outputs mean.
    pub fn spec(&self) -> &HeadSpec {
        &self.spec
    }
}

/// The model for messages.
fn named(settings: &Settings) -> String {
    format!("model {}", settings.model)
}

/// Finds out what the outputs of a loaded model mean.
///
/// # Errors
/// Where the file leaves a doubt; says what to state.
pub fn resolve(session: &Session, hints: &Hints) -> anyhow::Result<HeadSpec> {
    let outputs: Vec<_> =
        session.outputs().iter().map(|output| (output.name.as_str(), output.shape.as_slice())).collect();
    let facts = ModelFacts { metadata: session.metadata(), input: &session.input().shape, outputs: &outputs };
    HeadSpec::resolve(&facts, hints)
}

/// Measures the stages of one frame, each from the end of the one before.
struct Stopwatch(Instant);

impl Stopwatch {
    fn start() -> Self {
        Self(Instant::now())
    }

    fn lap_ms(&mut self) -> f32 {
        let now = Instant::now();
        let lap = now - std::mem::replace(&mut self.0, now);
        lap.as_secs_f32() * 1000.0
    }
}

fn thresholds(settings: &Settings, spec: &HeadSpec) -> anyhow::Result<Thresholds> {
    let names = &spec.names;
    let fraction = |what: &str, value: f32| {
        ensure!((0.0..=1.0).contains(&value), "{what} is {value}; set it between 0 and 1");
        Ok(value)
    };
    let mut per_class = BTreeMap::new();
    for (name, confidence) in &settings.per_class {
        per_class.insert(class_named(name, names)?, fraction(&format!("the confidence of {name:?}"), *confidence)?);
    }
    let classes = settings.classes.as_ref().map(|wanted| wanted.iter().map(|class| class_index(class, spec)).collect());
    ensure!(settings.max_det > 0, "at most 0 detections are wanted; set it to 1 or more");
    Ok(Thresholds {
        confidence: fraction("the confidence", settings.confidence)?,
        per_class,
        iou: fraction("the overlap (IoU)", settings.iou)?,
        max_det: settings.max_det,
        classes: classes.transpose()?,
        agnostic: false,
    })
}

/// The index of a class that is given by name or by index.
fn class_index(wanted: &str, spec: &HeadSpec) -> anyhow::Result<usize> {
    let by_name = class_named(wanted, &spec.names);
    match wanted.parse::<usize>() {
        Ok(index) if by_name.is_err() => {
            if let Some(count) = spec.layout.classes {
                let last = count.saturating_sub(1);
                ensure!(index < count, "there is no class {index}; the model has the classes 0 to {last}");
            }
            Ok(index)
        }
        _ => by_name,
    }
}

fn class_named(wanted: &str, names: &[Arc<str>]) -> anyhow::Result<usize> {
    if let Some(index) = names.iter().position(|name| **name == *wanted) {
        return Ok(index);
    }
    ensure!(!names.is_empty(), "there is no class {wanted:?}, for the file has no names; state them");
    let likeness = |name: &&Arc<str>| strsim::jaro_winkler(&name.to_lowercase(), &wanted.to_lowercase());
    let nearest = names.iter().filter(|name| likeness(name) > 0.7).max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    match nearest {
        Some(name) => anyhow::bail!("there is no class {wanted:?}; did you mean {name:?}?"),
        None => anyhow::bail!("there is no class {wanted:?}; `andon inspect` lists the model's {}", names.len()),
    }
}

/// How pictures have to come into a model, in the words of [`vision`].
fn convention(input: InputSpec) -> (Fit, Encoding) {
    let fit = match input.fit {
        yolo::Fit::LetterboxCentered => Fit::LetterboxCentered,
        yolo::Fit::LetterboxTopLeft => Fit::LetterboxTopLeft,
        yolo::Fit::CropCenter => Fit::CropCenter,
    };
    let encoding = match input.encoding {
        yolo::Encoding::RgbUnit => Encoding::RgbUnit,
        yolo::Encoding::BgrBytes => Encoding::BgrBytes,
    };
    (fit, encoding)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yolo::Task;

    /// A head with the classes `person`, `traffic light`, `7` and `bus`.
    fn spec() -> HeadSpec {
        let names = ["person", "traffic light", "7", "bus"].map(str::to_owned).to_vec();
        let hints = Hints {
            names: Some(names),
            task: Some(Task::Detect),
            head: Some("anchor-free".to_owned()),
            ..Hints::default()
        };
        let (metadata, outputs) = (BTreeMap::new(), [("output0", &[1, 8, 84][..])]);
        HeadSpec::resolve(&ModelFacts { metadata: &metadata, input: &[1, 3, 64, 64], outputs: &outputs }, &hints)
            .unwrap()
    }

    #[test]
    fn what_is_reported_becomes_more_and_never_less() {
        let mut settings = Settings::of("m.onnx");
        settings.per_class.extend([("a".to_owned(), 0.6), ("b".to_owned(), 0.1)]);
        settings.report_from(0.2);
        assert_eq!((settings.confidence, settings.per_class["a"], settings.per_class["b"]), (0.2, 0.2, 0.1));
        settings.report_from(0.9);
        assert_eq!(settings.confidence, 0.2);
    }

    #[test]
    fn classes_are_found_by_name_and_by_index() {
        assert_eq!(class_index("bus", &spec()).unwrap(), 3);
        assert_eq!(class_index("1", &spec()).unwrap(), 1);
        assert_eq!(class_index("7", &spec()).unwrap(), 2, "a name comes before an index");
        assert!(class_index("4", &spec()).unwrap_err().to_string().contains("0 to 3"));
    }

    #[test]
    fn an_unknown_class_names_the_nearest() {
        let error = class_index("Persn", &spec()).unwrap_err().to_string();
        assert_eq!(error, "there is no class \"Persn\"; did you mean \"person\"?");
        let error = class_index("zebra", &spec()).unwrap_err().to_string();
        assert!(error.contains("andon inspect"), "{error}");
    }

    #[test]
    fn thresholds_outside_the_unit_are_refused() {
        let good = Settings { per_class: BTreeMap::from([("bus".to_owned(), 0.6)]), ..Settings::of("m.onnx") };
        let kept = thresholds(&good, &spec()).unwrap();
        assert_eq!((kept.confidence, kept.iou, kept.max_det), (0.25, 0.7, 300));
        assert_eq!(kept.per_class, BTreeMap::from([(3, 0.6)]));
        for bad in [
            Settings { confidence: 1.5, ..good.clone() },
            Settings { iou: f32::NAN, ..good.clone() },
            Settings { max_det: 0, ..good.clone() },
            Settings { per_class: BTreeMap::from([("bus".to_owned(), -0.1)]), ..good.clone() },
            Settings { per_class: BTreeMap::from([("buss".to_owned(), 0.1)]), ..good.clone() },
        ] {
            assert!(thresholds(&bad, &spec()).is_err(), "{bad:?}");
        }
    }
}
