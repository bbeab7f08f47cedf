//! An ONNX file becomes a [`Session`] that maps a tensor to tensors.
//!
//! The only place that names tract. Knows nothing of pictures or of YOLO. On the way in, `file` reads, `preflight`
//! refuses what cannot be right, `rewrite` brings all kinds of quantization into one form, and `lower` turns what it
//! knows into a `program` on our own `kernels`, in int8 where the file is quantized. `import` lets tract infer and
//! simplify what is left, and tract runs it, with the programs as operators in its graph.

mod blocks;
mod body;
mod external;
mod fake_quantize;
mod file;
pub(crate) mod float_file;
mod import;
mod kernels;
mod lower;
mod op;
mod preflight;
mod program;
pub(crate) mod proto;
mod report;
mod requantize;
mod rewrite;

use std::{collections::BTreeMap, fmt, path::Path, thread, time::Duration};

use anyhow::{Context, Result, anyhow, ensure};

use body::Body;
use file::OnnxFile;
use import::Imported;
use kernels::Kernels;
use program::ProgramError;
use proto::elem;

pub use program::Pixels;

use crate::guard::guarded;

/// The name that leaves all of a model to tract, where those of instruction sets stand.
const TRACT: &str = "tract";
/// More threads than this are a mistake.
const THREADS_MAX: usize = 256;

/// How to load a model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// Threads for one inference; `None`: the machine's cores.
    pub threads: Option<usize>,
    /// Height and width of the input, for models whose file leaves them open.
    pub input_size: Option<[usize; 2]>,
    /// The instruction set to run on, by its name; `tract` leaves all to tract; `None`: the best that the processor has.
    pub isa: Option<String>,
}

/// A tensor's name and shape.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorSpec {
    /// Its name in the file.
    pub name: String,
    /// Its dimensions, all known.
    pub shape: Vec<usize>,
    /// The type of its numbers in the file, in NumPy's words (`float32`, `uint8`); [`Session::run`] takes and gives
    /// floats whatever it is.
    pub element: &'static str,
}

/// A tensor of floats, in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Its dimensions.
    pub shape: Vec<usize>,
    /// As many numbers as the product of the dimensions.
    pub data: Vec<f32>,
}

/// A step of an inference, and how long it took once.
#[derive(Clone, Debug, PartialEq)]
pub struct StepTime {
    /// What the step computes, in the names of the file.
    pub name: String,
    /// The kind of its operation.
    pub kind: &'static str,
    /// Whether it multiplies whole numbers.
    pub int8: bool,
    /// Multiplications that are each added to a sum; zero for steps that do none.
    pub macs: u64,
    /// From its start to its end.
    pub elapsed: Duration,
}

/// What a model consists of and how it runs, for `andon inspect`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Convolutions in the model.
    pub convolutions: usize,
    /// Of these, how many run in int8.
    pub int8_convolutions: usize,
    /// How the file is quantized, in the words of the field: `float`, `QDQ`, `QOperator`, `dynamic`, or `mixed`.
    pub quantization: String,
    /// ONNX opset of the default domain.
    pub opset: i64,
    /// Version of the file format.
    pub ir_version: i64,
    /// The program that wrote the file, and its version.
    pub producer: String,
    /// Number of nodes by operator, as the file has them.
    pub operators: BTreeMap<String, usize>,
    /// Operators of which at least one is left to tract, each with a reason.
    pub left_to_tract: Vec<(String, String)>,
}

/// A loaded model.
pub struct Session {
    name: String,
    sha256: String,
    metadata: BTreeMap<String, String>,
    report: Report,
    threads: usize,
    input: TensorSpec,
    outputs: Vec<TensorSpec>,
    /// What the programs run on; `None` where tract runs all.
    kernels: Option<&'static Kernels>,
    body: Body,
}

impl Session {
    /// Loads an ONNX file.
    ///
    /// # Errors
    /// Where the file is no ONNX, is cut short, or has an operator that cannot run; says which and what to do.
    pub fn load(path: &Path, settings: &Settings) -> Result<Self> {
        let name = path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        let folder = path.parent().unwrap_or(Path::new(""));
        guarded(|| Self::build(name, folder, || file::read(path), settings))
            .map_err(|cause| anyhow!("model {}: {}", path.display(), one_line(&cause)))
    }

    /// Loads an ONNX file that lies in memory, all of its weights included.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn from_bytes(name: &str, bytes: &[u8], settings: &Settings) -> Result<Self> {
        guarded(|| Self::build(name.to_owned(), Path::new(""), || file::parse(bytes), settings))
            .map_err(|cause| anyhow!("model {name}: {}", one_line(&cause)))
    }

    /// The file's name without its extension.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// SHA-256 of the file, in lower-case hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The threads that one inference uses.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// The model's one input: `[1, channels, height, width]`.
    pub fn input(&self) -> &TensorSpec {
        &self.input
    }

    /// The model's outputs.
    pub fn outputs(&self) -> &[TensorSpec] {
        &self.outputs
    }

    /// The metadata that the exporter wrote into the file.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// What the model consists of and how it runs.
    pub fn report(&self) -> Report {
        self.report.clone()
    }

    /// The instruction set that it runs on; `tract` where all of it is left to tract.
    pub fn isa(&self) -> &str {
        self.kernels.map_or(TRACT, |kernels| kernels.name)
    }

    /// Runs the model as [`Self::run`] does, and times each step. Of a model of which tract runs a
    /// part, the whole graph is one step of the kind `tract`, the programs in it included.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn profile(&mut self, input: &[f32]) -> Result<(Vec<Tensor>, Vec<StepTime>)> {
        self.guarded_run(input.len(), |body| body.profile(input))
    }

    /// What one thread can multiply and add in a second at most, in whole numbers or in floats, measured now; `None`
    /// where tract runs all.
    pub fn peak_macs_per_second(&self, int8: bool) -> Option<f64> {
        self.kernels.map(|kernels| program::macs_per_second(kernels, int8))
    }

    /// Runs the model on one input, `product(input().shape)` numbers in row-major order, in the units that a float
    /// export of the model takes. Where the file takes bytes (`uint8`), numbers in `0..=1` become `0..=255`.
    ///
    /// # Errors
    /// Where the input has another length, or an operator fails.
    pub fn run(&mut self, input: &[f32]) -> Result<Vec<Tensor>> {
        self.guarded_run(input.len(), |body| body.run(input))
    }

    /// Whether [`Self::run_pixels`] can be used: where all of a model with three channels runs on our own kernels.
    pub fn takes_pixels(&self) -> bool {
        self.body.takes_pixels() && self.input.shape.get(1) == Some(&3)
    }

    /// Runs the model on a picture of the input's size without making a tensor of it first; the outputs are those of
    /// [`Self::run`] on the numbers that the pixels stand for.
    ///
    /// # Errors
    /// Where the picture has another size, or the session does not take pixels.
    pub fn run_pixels(&mut self, pixels: Pixels<'_>) -> Result<Vec<Tensor>> {
        ensure!(self.takes_pixels(), "model {}: it takes tensors only", self.name);
        ensure!(pixels.channels.iter().all(|byte| *byte < 3), "model {}: a pixel has three bytes", self.name);
        self.guarded_run(pixels.rgb.len(), |body| body.run_pixels(pixels))
    }

    fn guarded_run<T>(&mut self, len: usize, run: impl FnOnce(&mut Body) -> Result<T>) -> Result<T> {
        let count: usize = self.input.shape.iter().product();
        let result = guarded(|| {
            ensure!(len == count, "the input has {len} numbers, not {count}");
            run(&mut self.body)
        });
        if result.is_err() {
            self.body.recover()?;
        }
        result.with_context(|| format!("model {}: inference failed", self.name))
    }

    /// `folder` is where external weights lie.
    fn build(name: String, folder: &Path, read: impl Fn() -> Result<OnnxFile>, settings: &Settings) -> Result<Self> {
        let file = read()?;
        let metadata = report::metadata(&file.proto);
        let mut report = report::of(&file.proto);
        let threads = thread_count(settings)?;
        let kernels = match settings.isa.as_deref() {
            Some(TRACT) => None,
            isa => Some(kernels::pick(isa)?),
        };
        let imported = match import::import(file.proto, folder, &metadata, settings, kernels, threads) {
            // A fault of ours, found before it does harm.
            Err(fault) if fault.is::<ProgramError>() => {
                log::warn!("model {name}: {fault:#}; all of it is left to tract");
                import::import(read()?.proto, folder, &metadata, settings, None, threads)?
            }
            other => other?,
        };
        let Imported { body, input, outputs, lowered } = imported;
        report.int8_convolutions = lowered.int8_convolutions;
        report.left_to_tract = lowered.left;
        let (input, shape, element) = input;
        let input = TensorSpec { name: input, shape: shape.to_vec(), element: elem::name(element) };
        let kernels = kernels.filter(|_| lowered.programs > 0);
        Ok(Self { name, sha256: file.sha256, metadata, report, threads, input, outputs, kernels, body })
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("name", &self.name).field("input", &self.input).finish_non_exhaustive()
    }
}

/// An error's text without what would break a line of a terminal or a log: names in it come out of the file.
fn one_line(cause: &anyhow::Error) -> String {
    format!("{cause:#}").split(|letter: char| letter.is_control() || letter.is_whitespace()).fold(
        String::new(),
        |mut line, word| {
            if !line.is_empty() && !word.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
            line
        },
    )
}

fn thread_count(settings: &Settings) -> Result<usize> {
    let threads = settings.threads.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from));
    ensure!((1..=THREADS_MAX).contains(&threads), "{threads} threads are not possible; state 1 to {THREADS_MAX}");
    Ok(threads)
}
