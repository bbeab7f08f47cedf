//! Turns the part of a graph that this engine computes itself into programs.
//!
//! What is recognised becomes steps on the engine's kernels, in int8 wherever quantizers say so; what is not stays in
//! the graph and is left to tract. Nodes are sorted into *stages*: all that can be computed from the input alone is the
//! first program, all that is left to tract until the next node that can be lowered comes between, and so on.

mod attention;
mod attributes;
mod builder;
mod compute;
mod conv;
mod demand;
mod draft;
mod functions;
mod grid;
mod node;
mod rearrange;
mod stages;
mod tail;
mod tensor;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod trace;
mod value;
mod windows;

use std::collections::{BTreeSet, HashMap, HashSet};

use super::{
    kernels::Kernels,
    program::{self, Element, Frame, Interleave, Program, ProgramError, Step},
    proto::Graph,
};
use builder::{Borders, Builder};
use demand::Form;
use draft::{Layout, Owner, Target, Wanted};
use node::Lowering;
use tail::Tail;
use tensor::Tensor;
use value::{Kind, ValueId};

/// Why something cannot be part of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused(String);

impl Refused {
    fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

/// A tensor that goes into a program or comes out of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Port {
    pub(super) name: String,
    pub(super) dims: Vec<usize>,
}

/// What a program is made of.
#[derive(Debug)]
pub(super) struct Blueprint {
    pub(super) steps: Vec<Step>,
    pub(super) arena_len: usize,
    /// Floats, row-major.
    pub(super) inputs: Vec<Port>,
    /// Floats, row-major, each with its place in the arena in bytes.
    pub(super) outputs: Vec<(Port, usize)>,
    /// Which tensors of the graph lie where.
    #[cfg(test)]
    trace: trace::Trace,
}

impl Blueprint {
    /// The program itself.
    ///
    /// # Errors
    /// Where a step reaches outside the arena, which is a fault of the lowering; or a thread cannot be started.
    pub(super) fn build(self, kernels: &'static Kernels, threads: usize) -> Result<Program, ProgramError> {
        let len = |port: &Port| port.dims.iter().product();
        let frame = Frame {
            arena_len: self.arena_len,
            inputs: self.inputs.iter().map(len).collect(),
            outputs: self.outputs.iter().map(|(port, at)| (*at, len(port))).collect(),
        };
        Program::new(kernels, threads, frame, self.steps)
    }
}

/// The result of lowering a graph.
#[derive(Debug, Default)]
pub(super) struct Lowered {
    /// In the order in which they run.
    pub(super) blueprints: Vec<Blueprint>,
    /// Convolutions that run in int8.
    pub(super) int8_convolutions: usize,
    /// The operators that are left to tract, with the reason for the first of each.
    pub(super) left: Vec<(String, String)>,
}

/// The operator that stands for a program in what is left of the graph; its attribute `index` says for which.
pub(super) const PROGRAM: &str = "AndonProgram";

/// Takes what can be lowered out of the graph and puts [`PROGRAM`] nodes in its place.
///
/// `opset` is the version of the operator set; `shape_of` gives the dimensions of tensors of floats that other nodes
/// make, where they are known.
pub(super) fn lower(
    graph: &mut Graph,
    input: &Port,
    (opset, kernels): (i64, &'static Kernels),
    shape_of: &mut dyn FnMut(&Graph, &str) -> Option<Vec<usize>>,
) -> Lowered {
    let mut left: HashMap<usize, String> = HashMap::new();
    let tail = Tail::find(graph);
    let (lowered, stages) = loop {
        let tail = tail.as_ref().filter(|tail| !left.contains_key(&tail.last));
        let stages = stages::sort(graph, &left);
        match lower_stages(graph, input, (opset, kernels), tail, &stages, shape_of) {
            Ok(lowered) => break (lowered, stages),
            Err(refusals) => left.extend(refusals),
        }
    };
    let mut names = BTreeSet::new();
    let mut reasons: Vec<(usize, String)> = left.into_iter().collect();
    reasons.sort_unstable();
    let left = reasons
        .into_iter()
        .map(|(index, reason)| (graph.nodes[index].op_type.clone(), reason))
        .filter(|(op, _)| names.insert(op.clone()))
        .collect();
    stages::replace(graph, &stages, &lowered.0);
    Lowered { blueprints: lowered.0, int8_convolutions: lowered.1, left }
}

type Refusals = Vec<(usize, String)>;

/// Lowers each stage; or says which nodes to leave.
fn lower_stages(
    graph: &Graph,
    input: &Port,
    (opset, kernels): (i64, &'static Kernels),
    tail: Option<&Tail>,
    stages: &[usize],
    shape_of: &mut dyn FnMut(&Graph, &str) -> Option<Vec<usize>>,
) -> Result<(Vec<Blueprint>, usize), Refusals> {
    let mut found = (Vec::new(), 0);
    for stage in stages::programs(stages) {
        let members: Vec<usize> = (0..stages.len()).filter(|index| stages[*index] == stage).collect();
        let leave = |reason: &str| members.iter().map(|index| (*index, reason.to_owned())).collect::<Refusals>();
        if !members.iter().any(|index| graph.nodes[*index].op_type == "Conv") {
            return Err(leave("no convolution beside it"));
        }
        let ports = stages::inputs(graph, &members, input, shape_of)?;
        let stage = Stage { graph, opset, kernels, tail, members: &members, inputs: &ports };
        let (blueprint, int8) = stage.lower()?;
        found.0.push(blueprint);
        found.1 += int8;
    }
    Ok(found)
}

/// Nodes that become one program.
struct Stage<'a> {
    graph: &'a Graph,
    opset: i64,
    kernels: &'static Kernels,
    tail: Option<&'a Tail>,
    members: &'a [usize],
    inputs: &'a [Port],
}

impl<'a> Stage<'a> {
    /// The program, and how many of its convolutions run in int8; or the nodes that are in the way.
    fn lower(&self) -> Result<(Blueprint, usize), Refusals> {
        let mut borders = Borders::new();
        let mut is_plain = false;
        // Which buffers need a border, and whether the input is read in other ways than as it comes, is only known when
        // all is done; then it is done again.
        const ATTEMPTS_MAX: usize = 8;
        for _ in 0..ATTEMPTS_MAX {
            let (lowering, outputs) = self.attempt(borders, is_plain)?;
            let needs_plain = !is_plain && !self.reads_input_as_it_comes(&lowering.builder);
            if !needs_plain && !lowering.builder.is_incomplete {
                let int8 = lowering.int8_convolutions;
                return Ok((self.finish(lowering, &outputs), int8));
            }
            is_plain |= needs_plain;
            // Other input, other buffers.
            borders = if needs_plain { Borders::new() } else { lowering.builder.into_borders() };
        }
        Err(vec![(self.members[0], "borders that never settle".to_owned())])
    }

    fn attempt(&self, borders: Borders, is_plain: bool) -> Result<(Lowering<'a>, Vec<Tensor>), Refusals> {
        let consumers = self.graph.consumers();
        let builder = Builder::new(self.kernels, borders);
        let mut lowering = Lowering {
            graph: self.graph,
            opset: self.opset,
            members: self.members,
            consumers,
            builder,
            known: HashMap::new(),
            int8_convolutions: 0,
        };
        for (index, port) in self.inputs.iter().enumerate() {
            let id = input(&mut lowering.builder, index, port, is_plain);
            lowering.known.insert(&port.name, id);
        }
        let mut refusals = Vec::new();
        // What depends on a refused node cannot be looked at yet.
        let mut lost: HashSet<&str> = HashSet::new();
        for &index in self.members {
            let node = &self.graph.nodes[index];
            let in_tail = self.tail.filter(|tail| tail.nodes.contains(&index));
            let done = match in_tail {
                _ if node.input.iter().any(|name| lost.contains(name.as_str())) => Err(None),
                Some(tail) if tail.last == index => lowering.tail(tail).map_err(Some),
                Some(_) => Ok(()),
                None => lowering.node(node).map_err(Some),
            };
            if let Err(refused) = done {
                refusals.extend(refused.map(|Refused(reason)| (index, reason)));
                lost.extend(node.output.iter().map(String::as_str));
            }
        }
        let mut outputs = Vec::new();
        for (name, producer) in self.outputs() {
            match lowering.known.get(name).map(|id| output(&mut lowering.builder, *id)) {
                Some(Ok(place)) => outputs.push(place),
                Some(Err(Refused(reason))) => refusals.push((producer, reason)),
                None if refusals.is_empty() => refusals.push((producer, "its output is never made".to_owned())),
                None => {}
            }
        }
        if refusals.is_empty() { Ok((lowering, outputs)) } else { Err(refusals) }
    }

    /// The tensors that others read, and which node makes each.
    fn outputs(&self) -> Vec<(&'a str, usize)> {
        let consumers = self.graph.consumers();
        let is_read = |name: &str| {
            self.graph.is_output(name)
                || consumers.get(name).into_iter().flatten().any(|reader| !self.members.contains(reader))
        };
        let made = |index: usize| self.graph.nodes[index].output.iter().map(move |name| (name.as_str(), index));
        self.members.iter().copied().flat_map(made).filter(|(name, _)| is_read(name)).collect()
    }

    /// Whether the program's inputs are only read whole, and at most quantized.
    fn reads_input_as_it_comes(&self, builder: &Builder) -> bool {
        // What brings the input in writes whole pixels.
        let is_whole = |tensor: &Tensor| {
            let is_own = matches!(builder.buffers[tensor.buffer].owner, Some(Owner::Source(..)));
            tensor.dims[1] == tensor.strides[3] || is_own
        };
        let as_it_comes = |wanted: &Wanted, dims: &[usize]| {
            let is_simple = match &wanted.target {
                Target::Floats(post) | Target::Quantized(post, _) => post.is_empty(),
                _ => false,
            };
            is_simple && wanted.channels == (0..dims[1]) && is_whole(&wanted.tensor)
        };
        (0..self.inputs.len()).all(|source| {
            let dims = &builder.sources[source].dims;
            builder.wanted[source].iter().all(|wanted| as_it_comes(wanted, dims))
        })
    }

    fn finish(&self, lowering: Lowering<'_>, outputs: &[Tensor]) -> Blueprint {
        #[cfg(test)]
        let mut trace = trace::Trace::of(&lowering, &self.outputs(), outputs);
        let builder = lowering.builder;
        let buffers: Vec<usize> = outputs.iter().map(|tensor| tensor.buffer).collect();
        let finished = draft::finish(builder.drafts, &builder.wanted, &builder.buffers, &buffers, self.kernels);
        #[cfg(test)]
        trace.place(&finished);
        let port = |((name, _), tensor): ((&str, usize), &Tensor)| {
            (Port { name: name.to_owned(), dims: tensor.dims.clone() }, finished.offsets[tensor.buffer])
        };
        let outputs = self.outputs().into_iter().zip(outputs).map(port).collect();
        Blueprint {
            steps: finished.steps,
            arena_len: finished.arena_len,
            inputs: self.inputs.to_vec(),
            outputs,
            #[cfg(test)]
            trace,
        }
    }
}

/// The value of a program's input, which lies outside the arena as planes of floats.
fn input(builder: &mut Builder, index: usize, port: &Port, is_plain: bool) -> ValueId {
    let dims = [1, port.dims[1], port.dims[2], port.dims[3]];
    let signed = builder.kernels.signed;
    let make = move |layout: &Layout<'_>, wanted: &[Wanted]| {
        let interleave = |wanted: &Wanted| {
            let (quantizer, fill) = match &wanted.target {
                Target::Quantized(post, grid) if post.is_empty() => {
                    (Some(grid.quantizer(signed)), grid.zero() ^ if signed { 0x80 } else { 0 })
                }
                Target::Floats(post) if post.is_empty() => (None, 0),
                other => unreachable!("an input that is read as {other:?} is brought in plain"),
            };
            let output = layout.plane(&wanted.tensor);
            program::Kind::Interleave(Interleave {
                input: index,
                channels: dims[1],
                size: [dims[2], dims[3]],
                output,
                quantizer,
                fill,
            })
        };
        wanted.iter().map(interleave).collect()
    };
    let source = builder.open_source(&port.name, &dims, 0, &[], Box::new(make));
    if !is_plain {
        return builder.tape.push(&dims, Kind::Floats { source, moves: Vec::new(), post: Vec::new() });
    }
    let tensor = builder.demand_source(source, &[], Target::Floats(Vec::new()), 0);
    let source = builder.fixed_source(&port.name, tensor);
    builder.tape.push(&dims, Kind::Floats { source, moves: Vec::new(), post: Vec::new() })
}

/// A value as the outside gets it: floats in row-major order at the start of a buffer.
fn output(builder: &mut Builder, id: ValueId) -> Result<Tensor, Refused> {
    let value = builder.tape.get(id).clone();
    let order: Vec<usize> = (0..value.dims.len()).collect();
    if let Kind::Floats { source, moves, post } = &value.kind
        && let Some(tensor) = builder.sources[*source].fixed.as_ref()
        && moves.is_empty()
        && post.is_empty()
        && tensor.offset == 0
        && tensor.strides == tensor::dense_strides(&value.dims, &order)
    {
        return Ok(tensor.clone());
    }
    let flat = builder.alloc(&[value.dims.iter().product()], &[0], Element::Float, 0);
    let place = flat.reshape(&value.dims).expect("row-major numbers have any dimensions");
    builder.demand_into(id, Form::Floats, &place)?;
    Ok(place)
}
