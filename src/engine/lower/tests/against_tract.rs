//! Runs a program step by step, gives each step tract's own tensors to read, and compares what it writes.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
    path::Path,
};

use anyhow::{Context, Result, ensure};
use tract_onnx::pb::{ModelProto, ValueInfoProto};

use super::{
    super::{
        super::{
            Settings, Tensor,
            body::Body,
            external, file,
            import::{self, Shapes},
            kernels::Kernels,
            preflight,
            program::{self, Element, Frame, Kind, Program},
            proto::{Graph, elem},
            report, rewrite,
        },
        Blueprint, Lowered, Port,
        grid::Grid,
        tensor::dense_strides,
        trace::Place,
    },
    bytes::Noise,
};

/// Floats may differ by so much of the largest of their tensor.
const FLOAT_TOLERANCE: f32 = 1e-4;

/// And by so much at least, which is what a logistic function near zero is off.
const FLOAT_FLOOR: f32 = 1e-6;

/// How steps of one kind differ from tract.
#[derive(Clone, Debug, Default)]
pub(super) struct Kinds {
    steps: usize,
    /// Steps that write no tensor of the graph.
    unseen: usize,
    bytes: usize,
    /// Bytes that are one step of the quantizer off.
    bytes_off: usize,
    floats: usize,
    /// The largest difference of floats, in parts of the tensor's largest.
    float_error: f32,
}

/// What the comparison of a model found.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    pub(super) kinds: BTreeMap<&'static str, Kinds>,
    /// Programs, for the first of the kernels.
    pub(super) programs: usize,
    /// What is left to tract, for the first of the kernels.
    pub(super) left: Vec<(String, String)>,
    /// What must not be.
    pub(super) wrong: Vec<String>,
}

/// A model as it is before it is lowered.
pub(super) struct Model {
    proto: ModelProto,
    graph: Graph,
    opset: i64,
    input: Port,
}

impl Model {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let mut proto = file::read(path)?.proto;
        let metadata = report::metadata(&proto);
        let opset = preflight::opset(&proto)?;
        let mut graph = proto.graph.take().context("no graph")?;
        external::load(&mut graph, path.parent().context("no folder")?)?;
        preflight::check_graph(&graph)?;
        let mut graph = Graph::new(graph)?;
        let (name, dims, _) = import::resolve_input(&mut graph, &metadata, &Settings::default())?;
        preflight::check_scales(&graph)?;
        rewrite::rewrite(&mut graph);
        Ok(Self { proto, graph, opset, input: Port { name, dims: dims.to_vec() } })
    }

    pub(super) fn lower(&self, kernels: &'static Kernels) -> Lowered {
        let mut graph = self.graph.clone();
        let mut shapes = Shapes { proto: &self.proto, found: None };
        super::super::lower(&mut graph, &self.input, (self.opset, kernels), &mut |graph, name| shapes.of(graph, name))
    }

    /// Something like a picture: noise on steps.
    fn picture(&self) -> Vec<f32> {
        let mut noise = Noise::of(7);
        let [_, _, rows, columns] = self.input.dims[..] else { unreachable!("the input is a picture") };
        let number = |index: usize| {
            let (x, y, plane) = (index % columns, index / columns % rows, index / columns / rows);
            let ground = ((x / 9 + y / 7 * 3 + plane) * 37 % 64) as f32 / 64.0;
            (ground + noise.float() * 0.1).clamp(0.0, 1.0)
        };
        (0..self.input.dims.iter().product()).map(number).collect()
    }

    /// The tensors of these names as tract computes them.
    fn evaluate(&self, names: &[String], picture: &[f32]) -> Result<HashMap<String, Tensor>> {
        let mut found = HashMap::new();
        let input = Tensor { shape: self.input.dims.clone(), data: picture.to_vec() };
        found.insert(self.input.name.clone(), input);
        let names: Vec<&String> = names.iter().filter(|name| **name != self.input.name).collect();
        if names.is_empty() {
            return Ok(found);
        }
        let mut graph = self.graph.clone();
        let output = |name: &&String| ValueInfoProto { name: (*name).clone(), ..ValueInfoProto::default() };
        let mut outputs = std::mem::take(&mut graph.outputs);
        outputs.retain(|output| names.iter().all(|name| **name != output.name));
        graph.outputs = names.iter().map(output).chain(outputs).collect();
        let outputs: Vec<(String, i32)> = names.iter().map(|name| ((*name).clone(), elem::FLOAT)).collect();
        let (typed, _) = import::typed(self.proto.clone(), graph, &outputs)?;
        let tensors = Body::of_graph(typed, 1)?.run(picture)?;
        found.extend(names.into_iter().cloned().zip(tensors));
        Ok(found)
    }
}

impl Comparison {
    /// Compares a model on these kernels.
    pub(super) fn of(path: &Path, kernels: &[&'static Kernels]) -> Result<Self> {
        let model = Model::read(path)?;
        let picture = model.picture();
        let mut comparison = Self::default();
        let mut tensors: HashMap<String, Tensor> = HashMap::new();
        for (index, kernels) in kernels.iter().copied().enumerate() {
            let lowered = model.lower(kernels);
            let mut names: Vec<String> = lowered.blueprints.iter().flat_map(names).collect();
            names.sort_unstable();
            names.dedup();
            names.retain(|name| !tensors.contains_key(name));
            tensors.extend(model.evaluate(&names, &picture)?);
            if index == 0 {
                comparison.programs = lowered.blueprints.len();
                comparison.left = lowered.left;
            }
            for blueprint in lowered.blueprints {
                comparison.program(blueprint, kernels, &tensors)?;
            }
        }
        Ok(comparison)
    }

    fn program(
        &mut self,
        blueprint: Blueprint,
        kernels: &'static Kernels,
        tensors: &HashMap<String, Tensor>,
    ) -> Result<()> {
        let len = |port: &Port| port.dims.iter().product();
        let frame = Frame {
            arena_len: blueprint.arena_len,
            inputs: blueprint.inputs.iter().map(len).collect(),
            outputs: Vec::new(),
        };
        let inputs = blueprint.inputs.iter().map(|port| tensors.get(&port.name).map(|tensor| &tensor.data[..]));
        let inputs = inputs.collect::<Option<Vec<&[f32]>>>().context("an input of the program is missing")?;
        let trace = &blueprint.trace;
        let mut program = Program::new(kernels, 2, frame.clone(), blueprint.steps.clone())?;
        // What nobody writes must not be read.
        program.memory().fill(0xff);
        for (index, step) in blueprint.steps.iter().enumerate() {
            program.run_one(index, &inputs);
            let mask = program::written(step, kernels, &frame);
            let mut is_seen = false;
            let kinds = self.kinds.entry(step.kind.name()).or_default();
            for place in trace.places.iter().filter(|place| trace.steps[index].contains(&place.tensor.buffer)) {
                let tensor = tensors.get(&place.name).with_context(|| format!("tract has no {}", place.name))?;
                let at = trace.offsets[place.tensor.buffer];
                let mut held = Held { place, at, signed: kernels.signed, memory: program.memory(), mask: &mask };
                match held.compare(tensor, is_ranked(&step.kind), kinds) {
                    Ok(seen) => is_seen |= seen,
                    Err(cause) => {
                        is_seen = true;
                        let name = &place.name;
                        self.wrong
                            .push(format!("{}: step {index} {:?}, tensor {name}: {cause}", kernels.name, step.name));
                    }
                }
            }
            kinds.steps += 1;
            kinds.unseen += usize::from(!is_seen);
        }
        Ok(())
    }

    /// How the kinds of steps differ, on one line.
    pub(super) fn summary(&self) -> String {
        let mut text = format!("{} programs", self.programs);
        for (kind, kinds) in &self.kinds {
            let Kinds { steps, unseen, bytes, bytes_off, floats, float_error } = kinds;
            let _ = write!(text, "; {kind}: {steps} steps ({unseen} unseen)");
            let _ = write!(text, ", {bytes_off} of {bytes} bytes off by one, {floats} floats within {float_error:.1e}");
        }
        text
    }

    /// Adds what was counted to other counts.
    pub(super) fn add_to(&self, all: &mut BTreeMap<&'static str, Kinds>) {
        for (kind, kinds) in &self.kinds {
            let sum = all.entry(kind).or_default();
            sum.steps += kinds.steps;
            sum.unseen += kinds.unseen;
            sum.bytes += kinds.bytes;
            sum.bytes_off += kinds.bytes_off;
            sum.floats += kinds.floats;
            sum.float_error = sum.float_error.max(kinds.float_error);
        }
    }
}

/// The tensors of the graph that a program's test needs.
fn names(blueprint: &Blueprint) -> Vec<String> {
    let places = blueprint.trace.places.iter().map(|place| place.name.clone());
    blueprint.inputs.iter().map(|port| port.name.clone()).chain(places).collect()
}

/// Whether the rows of the result are in the order of their scores.
fn is_ranked(kind: &Kind) -> bool {
    matches!(kind, Kind::TopDetections(_))
}

/// A place in a program's memory.
struct Held<'a> {
    place: &'a Place,
    /// Where its buffer is.
    at: usize,
    signed: bool,
    memory: &'a mut [u8],
    /// The bytes that the step wrote.
    mask: &'a [bool],
}

impl Held<'_> {
    /// Compares what the step wrote with tract's tensor, and puts that in its place; returns whether it wrote any.
    fn compare(&mut self, tensor: &Tensor, is_ranked: bool, kinds: &mut Kinds) -> Result<bool> {
        let own = &self.place.tensor;
        let mut dims = tensor.shape.clone();
        let channels = self.place.channels.clone().filter(|_| dims.len() > 1);
        if let Some(channels) = &channels {
            dims[1] = channels.len();
        }
        ensure!(dims == own.dims, "it has the dimensions {:?}, not {dims:?}", own.dims);
        let range = tensor.data.iter().filter(|x| x.is_finite()).fold(0.0, |max: f32, x| max.max(x.abs()));
        let order: Vec<usize> = (0..tensor.shape.len()).collect();
        let strides = dense_strides(&tensor.shape, &order);
        let first = channels.map_or(0, |channels| channels.start * strides[1]);
        // In the order of the memory, innermost dimension first.
        let mut axes = own.order();
        axes.reverse();
        let mut index = vec![0; dims.len()];
        let (mut from, mut offset) = (first, own.offset);
        let (mut is_seen, mut wrong, mut worst) = (false, 0, String::new());
        for _ in 0..dims.iter().product() {
            let start = self.at + offset * own.element.size();
            if self.mask[start] {
                is_seen = true;
                let expected = tensor.data[from];
                let difference = self.replace(start, expected, range, kinds);
                if let Some(difference) = difference.filter(|_| !is_ranked || from % dims[2] == 4) {
                    wrong += 1;
                    if worst.is_empty() {
                        worst = format!("at {index:?} of {dims:?}: {difference}");
                    }
                }
            }
            for axis in &axes {
                index[*axis] += 1;
                (from, offset) = (from + strides[*axis], offset + own.strides[*axis]);
                if index[*axis] < dims[*axis] {
                    break;
                }
                index[*axis] = 0;
                (from, offset) = (from - dims[*axis] * strides[*axis], offset - dims[*axis] * own.strides[*axis]);
            }
        }
        ensure!(wrong == 0, "{wrong} numbers are wrong, the first {worst}");
        Ok(is_seen)
    }

    /// Puts tract's number into its place; says what is wrong with that which was there.
    fn replace(&mut self, start: usize, expected: f32, range: f32, kinds: &mut Kinds) -> Option<String> {
        match (self.place.grid, self.place.tensor.element) {
            (Some(grid), Element::Byte) => {
                let flip = if self.signed { 0x80 } else { 0 };
                let code = code(&grid, expected);
                let found = self.memory[start] ^ flip;
                self.memory[start] = code ^ flip;
                let apart = found.abs_diff(code);
                kinds.bytes += 1;
                kinds.bytes_off += usize::from(apart > 0);
                (f32::from(apart) > self.place.step.max(1.0)).then(|| format!("{found}, not {code}"))
            }
            (None, Element::Float) => {
                let bytes: &mut [u8; 4] = (&mut self.memory[start..start + 4]).try_into().expect("four bytes");
                let found = f32::from_ne_bytes(*bytes);
                *bytes = expected.to_ne_bytes();
                kinds.floats += 1;
                if found == expected || (found.is_nan() && expected.is_nan()) {
                    return None;
                }
                let apart = (found - expected).abs();
                kinds.float_error = kinds.float_error.max(apart / range.max(1e-2));
                // NaN is wrong, too.
                let is_near = apart <= (range * FLOAT_TOLERANCE).max(FLOAT_FLOOR).max(self.place.step * 1.001);
                (!is_near).then(|| format!("{found}, not {expected} of {range} at most"))
            }
            (grid, element) => Some(format!("{element:?} for {grid:?}")),
        }
    }
}

/// The code of a number, as a quantizer gives it.
fn code(grid: &Grid, number: f32) -> u8 {
    ((number / grid.scale).clamp(grid.low, grid.high).round_ties_even() - grid.low) as u8
}
