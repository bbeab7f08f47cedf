//! An ONNX file becomes a [`Session`] that maps a tensor to tensors.
//!
//! The only place that names tract. Knows nothing of pictures or of YOLO. On the way in, `file` reads, `preflight`
//! refuses what cannot be right, `rewrite` brings all kinds of quantization into one form, `import` lets tract infer
//! and simplify; then tract runs all of it, in float, quantized convolutions on whole numbers.

mod blocks;
mod external;
mod fake_quantize;
mod file;
mod import;
mod preflight;
mod proto;
mod report;
mod requantize;
mod rewrite;

use std::{collections::BTreeMap, fmt, path::Path, sync::Arc, thread};

use anyhow::{Context, Result, anyhow, ensure};
use tract_onnx::{
    prelude::{IntoTValue, RunOptions, TValue, TVec, TypedModel, TypedSimplePlan, multithread::Executor, tvec},
    tract_hir::internal::TypedSimpleState,
};

use import::Imported;
use proto::elem;

use crate::guard::guarded;

/// More threads than this are a mistake.
const THREADS_MAX: usize = 256;

/// How to load a model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// Threads for one inference; `None`: the machine's cores.
    pub threads: Option<usize>,
    /// Height and width of the input, for models whose file leaves them open.
    pub input_size: Option<[usize; 2]>,
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
    plan: Arc<TypedSimplePlan>,
    state: TypedSimpleState,
    /// The buffer of the input, filled anew for each run.
    buffer: Arc<tract_onnx::prelude::Tensor>,
}

impl Session {
    /// Loads an ONNX file.
    ///
    /// # Errors
    /// Where the file is no ONNX, is cut short, or has an operator that cannot run; says which and what to do.
    pub fn load(path: &Path, settings: &Settings) -> Result<Self> {
        guarded(|| Self::load_file(path, settings))
            .map_err(|cause| anyhow!("model {}: {}", path.display(), one_line(&cause)))
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

    /// Runs the model on one input, `product(input().shape)` numbers in row-major order, in the units that a float
    /// export of the model takes. Where the file takes bytes (`uint8`), numbers in `0..=1` become `0..=255`.
    ///
    /// # Errors
    /// Where the input has another length, or an operator fails.
    pub fn run(&mut self, input: &[f32]) -> Result<Vec<Tensor>> {
        let outputs = guarded(|| self.run_plan(input));
        if outputs.is_err() {
            // A run that broke off leaves values behind.
            self.state = self.plan.spawn()?;
        }
        outputs.with_context(|| format!("model {}: inference failed", self.name))
    }

    fn load_file(path: &Path, settings: &Settings) -> Result<Self> {
        let file = file::read(path)?;
        let metadata = report::metadata(&file.proto);
        let report = report::of(&file.proto);
        let folder = path.parent().unwrap_or(Path::new(""));
        let Imported { graph, input, outputs } = import::import(file.proto, folder, &metadata, settings)?;
        let threads = thread_count(settings)?;
        let input_facts = graph.input_fact(0)?.clone();
        let (name, shape, element) = input;
        let input = TensorSpec { name, shape: shape.to_vec(), element: elem::name(element) };
        let outputs = output_specs(&graph, &outputs)?;
        let graph = graph.into_optimized().map_err(import::not_understood)?;
        let options = RunOptions { executor: Some(executor(threads)?), ..RunOptions::default() };
        let plan = TypedSimplePlan::new_with_options(graph, &options).map_err(import::not_understood)?;
        let state = plan.spawn()?;
        let buffer = tract_onnx::prelude::Tensor::zero_dt(input_facts.datum_type, &input.shape)?;
        let name = path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        Ok(Self {
            name,
            sha256: file.sha256,
            metadata,
            report,
            threads,
            input,
            outputs,
            plan,
            state,
            buffer: Arc::new(buffer),
        })
    }

    fn run_plan(&mut self, input: &[f32]) -> Result<Vec<Tensor>> {
        let count: usize = self.input.shape.iter().product();
        ensure!(input.len() == count, "the input has {} numbers, not {count}", input.len());
        if Arc::get_mut(&mut self.buffer).is_none() {
            self.buffer = Arc::new(tract_onnx::prelude::Tensor::zero_dt(self.buffer.datum_type(), &self.input.shape)?);
        }
        fill(Arc::get_mut(&mut self.buffer).context("the input is still in use")?, input)?;
        let outputs: TVec<TValue> = self.state.run(tvec!(self.buffer.clone().into_tvalue()))?;
        outputs.into_iter().map(|output| to_floats(&output)).collect()
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

/// Writes the input into the tensor that the graph takes.
fn fill(tensor: &mut tract_onnx::prelude::Tensor, input: &[f32]) -> Result<()> {
    let mut plain = tensor.try_as_plain_ram_mut()?;
    if let Ok(bytes) = plain.as_slice_mut::<u8>() {
        for (byte, number) in bytes.iter_mut().zip(input) {
            *byte = (number * 255.0).round_ties_even() as u8;
        }
    } else if let Ok(doubles) = plain.as_slice_mut::<f64>() {
        doubles.iter_mut().zip(input).for_each(|(double, number)| *double = f64::from(*number));
    } else {
        plain.as_slice_mut::<f32>()?.copy_from_slice(input);
    }
    Ok(())
}

fn to_floats(output: &TValue) -> Result<Tensor> {
    let floats = output.cast_to::<f32>()?;
    let data = floats.try_as_plain_ram()?.as_slice::<f32>()?.to_vec();
    Ok(Tensor { shape: output.shape().to_vec(), data })
}

fn output_specs(graph: &TypedModel, outputs: &[(String, i32)]) -> Result<Vec<TensorSpec>> {
    let spec = |(index, (name, element)): (usize, &(String, i32))| {
        let fact = graph.output_fact(index)?;
        let shape = fact.shape.as_concrete().context("an output's shape is open")?.to_vec();
        Ok(TensorSpec { name: name.clone(), shape, element: elem::name(*element) })
    };
    outputs.iter().enumerate().map(spec).collect()
}

fn thread_count(settings: &Settings) -> Result<usize> {
    let threads = settings.threads.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from));
    ensure!((1..=THREADS_MAX).contains(&threads), "{threads} threads are not possible; state 1 to {THREADS_MAX}");
    Ok(threads)
}

/// The threads that tract shares out its loops to: a pool of its own for each session.
fn executor(threads: usize) -> Result<Executor> {
    Ok(match threads {
        1 => Executor::SingleThread,
        _ => Executor::multithread_with_name(threads, "inference"),
    })
}
