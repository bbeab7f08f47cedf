//! The part of a model that runs on this engine's own kernels: steps in order over one arena, on a few threads.
//!
//! Knows nothing of ONNX or tract; `lower` makes programs.
#![allow(unsafe_code)]

mod arena;
mod border;
mod check;
mod conv;
mod depthwise;
mod elementwise;
mod finish;
mod interleave;
mod matmul;
mod moves;
mod nest;
mod peak;
mod pool;
mod regions;
mod segments;
mod softmax;
mod step;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod top_detections;
mod work;
mod workers;

use std::{
    io,
    time::{Duration, Instant},
};

use super::kernels::Kernels;
use arena::Arena;
use check::Limits;
use work::{Context, Inputs, Work};
use workers::Workers;

pub use interleave::Pixels;
pub(in crate::engine) use peak::macs_per_second;
pub(in crate::engine) use regions::Fault;
pub(in crate::engine) use step::*;

/// Which bytes of the arena a step writes; a step that is wrong writes none.
#[cfg(test)]
pub(in crate::engine) fn written(step: &Step, kernels: &'static Kernels, frame: &Frame) -> Vec<bool> {
    let mut mask = vec![false; frame.arena_len];
    let limits = Limits { kernels, arena_len: frame.arena_len, inputs: &frame.inputs };
    if let Ok(footprint) = check::footprint(step, limits) {
        footprint.writes.iter().for_each(|region| region.mark(&mut mask));
    }
    mask
}

/// What lies around the steps of a program.
#[derive(Clone, Debug, Default)]
pub(in crate::engine) struct Frame {
    /// Bytes of memory that the steps' tensors lie in.
    pub(in crate::engine) arena_len: usize,
    /// Floats in each input.
    pub(in crate::engine) inputs: Vec<usize>,
    /// For each output where its floats lie side by side: the first one's offset in the arena in bytes, and how many.
    pub(in crate::engine) outputs: Vec<(usize, usize)>,
}

/// Steps that have been checked, with the memory and the threads to run them.
#[derive(Debug)]
pub(in crate::engine) struct Program {
    kernels: &'static Kernels,
    frame: Frame,
    arena: Arena,
    steps: Vec<Prepared>,
    workers: Workers,
    /// Memory of the threads' own, `scratch_len` bytes for each.
    scratch: Arena,
    /// A multiple of [`SCRATCH_APART`].
    scratch_len: usize,
}

/// What a program cannot be made of.
#[derive(Debug, thiserror::Error)]
pub(in crate::engine) enum ProgramError {
    #[error("step {index} ({name}) is wrong: {fault}")]
    Step { index: usize, name: String, fault: Fault },
    #[error("output {index} is wrong: {fault}")]
    Output { index: usize, fault: Fault },
    #[error("cannot start a thread: {0}")]
    Thread(#[from] io::Error),
}

/// A step in the form in which it runs.
#[derive(Debug)]
struct Prepared {
    borders: Vec<Border>,
    work: Box<dyn Work>,
}

/// Threads' scratch memory lies this far apart, so that no two write to one cache line, nor to what is fetched with it.
const SCRATCH_APART: usize = 256;

impl Program {
    /// Makes a program that runs on `threads` threads, the caller's included (zero counts as one).
    ///
    /// # Errors
    /// Where a step or an output does not keep to the frame or the kernels, or a thread cannot be started.
    pub(in crate::engine) fn new(
        kernels: &'static Kernels,
        threads: usize,
        frame: Frame,
        steps: Vec<Step>,
    ) -> Result<Self, ProgramError> {
        let threads = threads.max(1);
        for (index, (at, len)) in frame.outputs.iter().enumerate() {
            check::check_output(*at, *len, frame.arena_len).map_err(|fault| ProgramError::Output { index, fault })?;
        }
        let limits = Limits { kernels, arena_len: frame.arena_len, inputs: &frame.inputs };
        let prepare = |(index, step): (usize, Step)| match check::check(&step, limits) {
            Ok(()) => {
                let Step { borders, kind, .. } = step;
                Ok(Prepared { borders, work: prepare(kind, kernels, threads) })
            }
            Err(fault) => Err(ProgramError::Step { index, name: step.name, fault }),
        };
        let steps = steps.into_iter().enumerate().map(prepare).collect::<Result<Vec<_>, _>>()?;
        let scratch_len = steps.iter().map(|step| step.work.scratch_len(kernels)).max().unwrap_or(0);
        let scratch_len = scratch_len.next_multiple_of(SCRATCH_APART);
        Ok(Self {
            kernels,
            arena: Arena::new(frame.arena_len),
            frame,
            steps,
            workers: Workers::new(threads)?,
            scratch: Arena::new(threads * scratch_len),
            scratch_len,
        })
    }

    /// Runs all steps.
    ///
    /// # Panics
    /// Where there are not as many inputs, of the lengths, as the frame says.
    pub(in crate::engine) fn run(&mut self, inputs: &[&[f32]]) {
        self.run_steps(Inputs::Floats(inputs));
    }

    /// Runs all steps of a program of one input, three planes that are given as pixels.
    ///
    /// # Panics
    /// Where the input has another length, or there are several.
    pub(in crate::engine) fn run_pixels(&mut self, pixels: Pixels<'_>) {
        self.run_steps(Inputs::Pixels(pixels));
    }

    fn run_steps(&mut self, inputs: Inputs<'_>) {
        self.check_inputs(inputs);
        (0..self.steps.len()).for_each(|index| self.run_step(index, inputs));
    }

    /// Runs all steps, and tells of each how long it took.
    ///
    /// # Panics
    /// As [`Self::run`].
    pub(in crate::engine) fn profile(&mut self, inputs: &[&[f32]], each: &mut dyn FnMut(usize, Duration)) {
        let inputs = Inputs::Floats(inputs);
        self.check_inputs(inputs);
        for index in 0..self.steps.len() {
            let start = Instant::now();
            self.run_step(index, inputs);
            each(index, start.elapsed());
        }
    }

    /// The floats of an output as the last run left them.
    ///
    /// # Panics
    /// Where there is no output with that index.
    pub(in crate::engine) fn output(&mut self, index: usize) -> &[f32] {
        let (at, len) = self.frame.outputs[index];
        // SAFETY: `&mut self` is held for as long as the floats, so that no step runs meanwhile.
        unsafe { self.arena.memory().floats(at, len) }
    }

    /// All memory of the steps.
    #[cfg(test)]
    pub(in crate::engine) fn memory(&mut self) -> &mut [u8] {
        self.arena.bytes_mut()
    }

    /// Runs one step on what lies in memory.
    #[cfg(test)]
    pub(in crate::engine) fn run_one(&mut self, index: usize, inputs: &[&[f32]]) {
        let inputs = Inputs::Floats(inputs);
        self.check_inputs(inputs);
        self.run_step(index, inputs);
    }

    /// # Panics
    /// Where the inputs are not as the frame says.
    fn check_inputs(&self, inputs: Inputs<'_>) {
        let fits = match inputs {
            Inputs::Floats(inputs) => inputs.iter().map(|input| input.len()).eq(self.frame.inputs.iter().copied()),
            Inputs::Pixels(pixels) => self.frame.inputs == [pixels.rgb.len()],
        };
        assert!(fits, "the inputs are those of the frame");
    }

    /// Runs one step on inputs that have been checked.
    fn run_step(&mut self, index: usize, inputs: Inputs<'_>) {
        let step = &self.steps[index];
        let cx = Context { kernels: self.kernels, memory: self.arena.memory(), inputs };
        for border in &step.borders {
            // SAFETY: `&mut self` is held and no step runs.
            unsafe { border.fill(cx.memory) };
        }
        let (scratch, scratch_len) = (self.scratch.memory(), self.scratch_len);
        for phase in 0..step.work.phases() {
            self.workers.run(step.work.items(phase, &cx), &|item, worker| {
                // SAFETY: calls with the same worker never overlap, and each has its own part.
                let scratch = unsafe { scratch.bytes_mut(worker * scratch_len, scratch_len) };
                // SAFETY: `&mut self` is held, so that nothing but this phase runs; `scratch_len` is that of the step
                // that needs the most, and a multiple of 64.
                unsafe { step.work.run(phase, item, &cx, scratch) };
            });
        }
    }
}

/// Decides once how a step, which has been checked, is run.
fn prepare(kind: Kind, kernels: &Kernels, threads: usize) -> Box<dyn Work> {
    match kind {
        Kind::Conv(conv) => Box::new(conv::TiledConv::new(conv, kernels, threads)),
        Kind::Depthwise(depthwise) => Box::new(depthwise::CutDepthwise::new(depthwise, kernels, threads)),
        Kind::MaxPool(pool) => Box::new(pool),
        Kind::Elementwise(elementwise) => Box::new(elementwise),
        Kind::Move(moves) => Box::new(moves),
        Kind::Interleave(interleave) => Box::new(interleave),
        Kind::MatMul(matmul) => Box::new(matmul),
        Kind::Softmax(softmax) => Box::new(softmax),
        Kind::TopDetections(top) => Box::new(top),
    }
}
