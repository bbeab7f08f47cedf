//! What runs a loaded model: a program of our own, or tract with programs in its graph.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use tract_onnx::{
    prelude::{IntoTValue, RunOptions, TValue, TVec, TypedModel, TypedSimplePlan, multithread::Executor, tvec},
    tract_hir::internal::TypedSimpleState,
};

use super::{
    StepTime, Tensor, import,
    program::{Kind, Pixels, Program, Step, Weights},
};

/// A model that can run.
pub(super) enum Body {
    /// All of it was lowered.
    Program {
        program: Box<Program>,
        /// Name, kind and multiplications of each step.
        steps: Vec<StepTime>,
        /// For each output of the model its shape, and the program's output that it is.
        outputs: Vec<(Vec<usize>, usize)>,
    },
    /// tract runs what was not.
    Graph {
        plan: Arc<TypedSimplePlan>,
        state: TypedSimpleState,
        /// The buffer of the input, filled anew for each run.
        buffer: Arc<tract_onnx::prelude::Tensor>,
        shape: Vec<usize>,
    },
}

impl Body {
    /// tract's plan for a decluttered graph of one input.
    pub(super) fn of_graph(graph: TypedModel, threads: usize) -> Result<Self> {
        let fact = graph.input_fact(0)?.clone();
        let shape = fact.shape.as_concrete().context("the input's shape is open")?.to_vec();
        let graph = graph.into_optimized().map_err(import::not_understood)?;
        let options = RunOptions { executor: Some(executor(threads)?), ..RunOptions::default() };
        let plan = TypedSimplePlan::new_with_options(graph, &options).map_err(import::not_understood)?;
        let state = plan.spawn()?;
        let buffer = Arc::new(tract_onnx::prelude::Tensor::zero_dt(fact.datum_type, &shape)?);
        Ok(Self::Graph { plan, state, buffer, shape })
    }

    /// Runs on one input in row-major order, which has the right length.
    pub(super) fn run(&mut self, input: &[f32]) -> Result<Vec<Tensor>> {
        match self {
            Self::Program { program, outputs, .. } => {
                program.run(&[input]);
                Ok(collect(program, outputs))
            }
            Self::Graph { state, buffer, shape, .. } => {
                if Arc::get_mut(buffer).is_none() {
                    *buffer = Arc::new(tract_onnx::prelude::Tensor::zero_dt(buffer.datum_type(), shape)?);
                }
                fill(Arc::get_mut(buffer).context("the input is still in use")?, input)?;
                let outputs: TVec<TValue> = state.run(tvec!(buffer.clone().into_tvalue()))?;
                outputs.into_iter().map(|output| to_floats(&output)).collect()
            }
        }
    }

    /// Whether it takes pictures as pixels.
    pub(super) fn takes_pixels(&self) -> bool {
        matches!(self, Self::Program { .. })
    }

    /// Runs on a picture of the input's size, where the body takes pixels.
    pub(super) fn run_pixels(&mut self, pixels: Pixels<'_>) -> Result<Vec<Tensor>> {
        let Self::Program { program, outputs, .. } = self else { bail!("only programs take pixels") };
        program.run_pixels(pixels);
        Ok(collect(program, outputs))
    }

    /// As [`Self::run`], and how long each step took; a graph is one step with the programs in it.
    pub(super) fn profile(&mut self, input: &[f32]) -> Result<(Vec<Tensor>, Vec<StepTime>)> {
        if let Self::Program { program, steps, outputs } = self {
            let mut times = steps.clone();
            program.profile(&[input], &mut |index, elapsed| times[index].elapsed = elapsed);
            return Ok((collect(program, outputs), times));
        }
        let start = Instant::now();
        let outputs = self.run(input)?;
        let name = "graph".to_owned();
        Ok((outputs, vec![StepTime { name, kind: "tract", int8: false, macs: 0, elapsed: start.elapsed() }]))
    }

    /// Makes it fit to run again after a run that failed.
    pub(super) fn recover(&mut self) -> Result<()> {
        if let Self::Graph { plan, state, .. } = self {
            // A run that broke off leaves values behind.
            *state = plan.spawn()?;
        }
        Ok(())
    }
}

/// Name, kind and multiplications of steps that have not run yet.
pub(super) fn step_times(steps: &[Step]) -> Vec<StepTime> {
    let time = |step: &Step| {
        let int8 = match &step.kind {
            Kind::Conv(conv) => !matches!(conv.weights, Weights::Floats { .. }),
            Kind::Depthwise(depthwise) => !matches!(depthwise.weights, super::program::DepthwiseWeights::Floats { .. }),
            _ => false,
        };
        let kind = step.kind.name();
        StepTime { name: step.name.clone(), kind, int8, macs: step.macs, elapsed: std::time::Duration::ZERO }
    };
    steps.iter().map(time).collect()
}

fn collect(program: &mut Program, outputs: &[(Vec<usize>, usize)]) -> Vec<Tensor> {
    let tensor =
        |(shape, index): &(Vec<usize>, usize)| Tensor { shape: shape.clone(), data: program.output(*index).to_vec() };
    outputs.iter().map(tensor).collect()
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
        let floats = plain.as_slice_mut::<f32>()?;
        ensure!(floats.len() == input.len(), "the input has another length");
        floats.copy_from_slice(input);
    }
    Ok(())
}

fn to_floats(output: &TValue) -> Result<Tensor> {
    let floats = output.cast_to::<f32>()?;
    let data = floats.try_as_plain_ram()?.as_slice::<f32>()?.to_vec();
    Ok(Tensor { shape: output.shape().to_vec(), data })
}

/// The threads that tract shares out its loops to: a pool of its own for each session.
fn executor(threads: usize) -> Result<Executor> {
    Ok(match threads {
        1 => Executor::SingleThread,
        _ => Executor::multithread_with_name(threads, "inference"),
    })
}
