//! Which tensors get a quantizer, and which of them share their numbers.
//!
//! A tensor gets one where a convolution in int8 reads it; where it is pooled or enlarged into one that gets one; and
//! where it goes, through operators that only arrange numbers, into nothing but such tensors. What only moves numbers has
//! the same scale before and behind, so that whole numbers are moved. What is read as a shape, as indices or the like is
//! no activation.
//!
//! All else reads the floats. Sums do, since rounding their summands as well would add an error and save nothing. So do
//! concatenations: a quantizer behind one rounds each part on its way into its place, while one scale for all would be
//! too coarse for those parts that other convolutions read.

use std::collections::{HashMap, HashSet};

use super::Activation;
use crate::engine::proto::{Graph, NodeProto, attribute, floats, reads};

/// Operators that arrange the numbers of their first input.
const ARRANGERS: [&str; 11] = [
    "DepthToSpace",
    "Flatten",
    "Gather",
    "Identity",
    "Reshape",
    "Slice",
    "SpaceToDepth",
    "Split",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
];

/// The tensors that get a quantizer.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// In the order in which they are made, each with its group.
    pub(super) tensors: Vec<(String, usize)>,
}

impl Plan {
    /// The tensors that get a quantizer where these nodes are convolutions in int8. Groups are numbered in the order of
    /// their first tensors.
    pub(super) fn of(graph: &Graph, convolutions: &HashSet<usize>) -> Self {
        let tensors = quantized(graph, convolutions);
        let mut groups = Groups { parents: (0..tensors.len()).collect() };
        let index_of: HashMap<&str, usize> = tensors.iter().enumerate().map(|(index, name)| (*name, index)).collect();
        for node in graph.nodes.iter().filter(|node| moves_numbers(node)) {
            let Some(input) = index_of.get(node.input[0].as_str()) else { continue };
            let outputs = node.output.iter().filter_map(|name| index_of.get(name.as_str()));
            outputs.for_each(|output| groups.join(*input, *output));
        }
        let mut numbers: HashMap<usize, usize> = HashMap::new();
        let numbered = |(index, name): (usize, &&str)| {
            let count = numbers.len();
            ((*name).to_owned(), *numbers.entry(groups.root(index)).or_insert(count))
        };
        Self { tensors: tensors.iter().enumerate().map(numbered).collect() }
    }

    /// What there is to say about each tensor.
    pub(super) fn activations(&self, graph: &Graph) -> Vec<Activation> {
        let producers = graph.producers();
        let about = |(tensor, group): &(String, usize)| {
            let producer = producers.get(tensor.as_str()).map(|index| &graph.nodes[*index]);
            Activation {
                tensor: tensor.clone(),
                group: *group,
                fixed: producer.and_then(|node| fixed(graph, node)),
                is_input: producer.is_none(),
            }
        };
        self.tensors.iter().map(about).collect()
    }

    /// The number of groups.
    pub(super) fn groups(&self) -> usize {
        self.tensors.iter().map(|(_, group)| group + 1).max().unwrap_or(0)
    }
}

/// Whether a tensor is a distribution, as the decoding of boxes takes the mean of: what a softmax makes, arranged.
pub(super) fn is_distribution(graph: &Graph, producers: &HashMap<&str, usize>, name: &str) -> bool {
    let mut producer = producers.get(name).map(|index| &graph.nodes[*index]);
    while let Some(node) = producer.filter(|node| is_arranger(node)) {
        producer = producers.get(node.input[0].as_str()).map(|index| &graph.nodes[*index]);
    }
    producer.is_some_and(|node| node.op_type == "Softmax")
}

/// The nodes whose first input is read with its quantizer, where it has one: the convolutions, and what moves numbers on
/// their way to other quantizers.
pub(super) fn readers(graph: &Graph, convolutions: &HashSet<usize>, quantized: &HashSet<&str>) -> Vec<usize> {
    let is_reader = |index: &usize| {
        let node = &graph.nodes[*index];
        let is_on_the_way = moves_numbers(node) && node.output.iter().any(|name| quantized.contains(name.as_str()));
        convolutions.contains(index) || is_on_the_way
    };
    (0..graph.nodes.len()).filter(is_reader).collect()
}

/// The tensors that something in int8 is computed from, with steps in between or without.
pub(super) fn sources<'a>(graph: &'a Graph, convolutions: &HashSet<usize>) -> HashSet<&'a str> {
    let mut found: HashSet<&str> = HashSet::new();
    for (index, node) in graph.nodes.iter().enumerate().rev() {
        let leads_on = node.output.iter().any(|output| found.contains(output.as_str()));
        if leads_on || convolutions.contains(&index) {
            found.extend(reads(node));
        }
    }
    found
}

/// The tensors that get a quantizer, in the order in which they are made.
fn quantized<'a>(graph: &'a Graph, convolutions: &HashSet<usize>) -> Vec<&'a str> {
    let consumers = graph.consumers();
    let mut found: HashSet<&str> = HashSet::new();
    let inputs = graph.inputs.iter().map(|input| &input.name);
    let made: Vec<&str> = inputs.chain(graph.nodes.iter().flat_map(|node| &node.output)).map(String::as_str).collect();
    // What reads a tensor comes behind it.
    for name in made.iter().rev() {
        let readers = consumers.get(name).map_or(&[][..], Vec::as_slice);
        let is_found = |reader: usize| graph.nodes[reader].output.iter().all(|output| found.contains(output.as_str()));
        // Other inputs than the first are sizes, indices, axes and the like.
        let is_first = |node: &NodeProto| node.input.iter().position(|input| input == name) == Some(0);
        let wants = |reader: &usize| {
            let node = &graph.nodes[*reader];
            is_first(node) && (convolutions.contains(reader) || (is_chooser(node) && is_found(*reader)))
        };
        let only_arranges = |reader: &usize| {
            let node = &graph.nodes[*reader];
            is_arranger(node) && is_first(node) && is_found(*reader)
        };
        let mut values = readers.iter().filter(|reader| graph.nodes[**reader].op_type != "Shape").peekable();
        let is_only_arranged = values.peek().is_some() && values.all(only_arranges) && !graph.is_output(name);
        if readers.iter().any(wants) || is_only_arranged {
            found.insert(name);
        }
    }
    made.into_iter().filter(|name| found.contains(name)).collect()
}

/// Whether a node moves the numbers of its first input and computes nothing.
fn moves_numbers(node: &NodeProto) -> bool {
    is_chooser(node) || is_arranger(node)
}

/// Whether a node chooses among the numbers of its first input: a quantizer behind it is one before it.
fn is_chooser(node: &NodeProto) -> bool {
    match node.op_type.as_str() {
        "MaxPool" => node.output.len() == 1,
        // Nearest is what a node means that does not say.
        "Resize" => attribute(node, "mode").is_none_or(|mode| mode.s == b"nearest"),
        _ => false,
    }
}

/// Whether a node arranges the numbers of its first input.
fn is_arranger(node: &NodeProto) -> bool {
    ARRANGERS.contains(&node.op_type.as_str())
}

/// The range of what a node makes, whatever it reads.
fn fixed(graph: &Graph, node: &NodeProto) -> Option<[f32; 2]> {
    let bound = |index: usize| match floats(graph.constants.get(node.input.get(index)?)?)?[..] {
        [bound] if bound.is_finite() => Some(bound),
        _ => None,
    };
    match node.op_type.as_str() {
        "Sigmoid" | "HardSigmoid" | "Softmax" => Some([0.0, 1.0]),
        "Tanh" => Some([-1.0, 1.0]),
        "Clip" => Some([bound(1)?, bound(2)?]),
        _ => None,
    }
}

/// Sets that are joined.
struct Groups {
    /// A member of the same set that comes before, or itself.
    parents: Vec<usize>,
}

impl Groups {
    fn root(&self, mut member: usize) -> usize {
        while self.parents[member] != member {
            member = self.parents[member];
        }
        member
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        self.parents[a.max(b)] = a.min(b);
    }
}
