//! `QuantizeLinear` and `DequantizeLinear` without integers.
//!
//! A dequantized constant is a float constant. A tensor that is quantized and dequantized again with the same scale is
//! the same tensor, clamped and rounded: one operator, [`FAKE_QUANTIZE`], that keeps scale, zero point and range. This
//! also holds where operators that only move or compare numbers (reshape, max pool, …) stand in between.

use std::collections::{HashMap, HashSet};

use tract_onnx::pb::{NodeProto, TensorProto};

use super::super::{
    fake_quantize::FakeQuantize,
    proto::{Graph, attribute, elem, floats, integers, node, node_name},
};
use super::{dynamic::dequantized, replace};

/// `clamp(round(x / scale) + zero_point, low, high)`, dequantized again; the numbers are float attributes.
pub(in crate::engine) const FAKE_QUANTIZE: &str = "AndonFakeQuantize";

/// Operators that give the same result before and after dequantization.
const MOVERS: [&str; 15] = [
    "Concat",
    "DepthToSpace",
    "Expand",
    "Flatten",
    "Gather",
    "Identity",
    "MaxPool",
    "Reshape",
    "Resize",
    "Slice",
    "SpaceToDepth",
    "Split",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
];

/// Makes floats of the constants that the file dequantizes.
pub(super) fn fold_constants(graph: &mut Graph) {
    let mut folded: Vec<TensorProto> = Vec::new();
    let (constants, scales) = (&graph.constants, &mut graph.scales);
    replace(&mut graph.nodes, |_, node| match folded_constant(&node, constants) {
        Some((constant, scale)) => {
            scales.extend(scale.map(|scale| (constant.name.clone(), scale)));
            folded.push(constant);
            Vec::new()
        }
        None => vec![node],
    });
    graph.constants.extend(folded.into_iter().map(|constant| (constant.name.clone(), constant)));
}

/// The dequantized constant, and its scales where they belong to its first axis.
fn folded_constant(
    node: &NodeProto,
    constants: &HashMap<String, TensorProto>,
) -> Option<(TensorProto, Option<Vec<f32>>)> {
    if node.op_type != "DequantizeLinear" || attribute(node, "block_size").is_some_and(|size| size.i != 0) {
        return None;
    }
    let scale = floats(constants.get(node.input.get(1)?)?)?;
    let zero_point = match node.input.get(2).filter(|name| !name.is_empty()) {
        Some(name) => integers(constants.get(name)?)?,
        None => vec![0],
    };
    let axis = attribute(node, "axis").map_or(1, |axis| axis.i);
    let real = dequantized(constants.get(node.input.first()?)?, &scale, &zero_point, axis)?;
    let constant = TensorProto { name: node.output.first()?.clone(), ..real };
    let is_first = scale.len() == 1 || axis == 0 || axis == -(constant.dims.len() as i64);
    Some((constant, is_first.then_some(scale)))
}

/// Makes one operator of each `QuantizeLinear` whose result is only moved and dequantized with the same scale.
pub(super) fn round_in_place(graph: &mut Graph) {
    let quantizers: HashMap<usize, Grid> = graph
        .nodes
        .iter()
        .enumerate()
        .filter(|(_, node)| node.op_type == "QuantizeLinear")
        .filter_map(|(index, node)| Some((index, Grid::of(node, &graph.constants)?)))
        .collect();
    let Traced { kept, dequantizers } = trace(graph, &quantizers);
    replace(&mut graph.nodes, |index, node| {
        let origin = dequantizers.get(&index);
        if let Some(grid) = quantizers.get(&index).filter(|_| !kept.contains(&index)) {
            vec![grid.fake_quantize(&node)]
        } else if origin.is_some_and(|origin| origin.is_disjoint(&kept)) {
            let inputs: Vec<&str> = node.input.iter().take(1).map(String::as_str).collect();
            vec![self::node("Identity", node_name(&node), &inputs, &node.output[0])]
        } else {
            vec![node]
        }
    });
}

/// Where the numbers of the quantizers go.
struct Traced {
    /// Quantizers whose integers are needed as integers.
    kept: HashSet<usize>,
    /// The quantizers behind each dequantizer.
    dequantizers: HashMap<usize, HashSet<usize>>,
}

fn trace(graph: &Graph, quantizers: &HashMap<usize, Grid>) -> Traced {
    // The quantizers whose numbers a tensor holds.
    let mut holds: HashMap<&str, HashSet<usize>> = HashMap::new();
    let mut kept: HashSet<usize> = HashSet::new();
    let mut dequantizers: HashMap<usize, HashSet<usize>> = HashMap::new();
    // Groups that stand or fall together: a mover cannot have one input of integers and one of floats.
    let mut groups: Vec<HashSet<usize>> = Vec::new();
    for (index, node) in graph.nodes.iter().enumerate() {
        if quantizers.contains_key(&index) {
            holds.insert(&node.output[0], HashSet::from([index]));
            continue;
        }
        let is_concat = node.op_type == "Concat";
        let inputs = if is_concat { node.input.len() } else { 1 };
        let origins: Vec<Option<&HashSet<usize>>> =
            node.input.iter().take(inputs).map(|name| holds.get(name.as_str())).collect();
        let beside: HashSet<usize> = super::super::proto::reads(node)
            .iter()
            .filter_map(|name| holds.get(name))
            .flatten()
            .copied()
            .filter(|origin| !origins.iter().flatten().any(|known| known.contains(origin)))
            .collect();
        kept.extend(beside);
        let all: HashSet<usize> = origins.iter().flatten().flat_map(|origin| origin.iter().copied()).collect();
        let Some(first) = all.iter().next().and_then(|first| quantizers.get(first)) else { continue };
        let of_one_grid = all.iter().all(|origin| quantizers[origin] == *first) && origins.iter().all(Option::is_some);
        if node.op_type == "DequantizeLinear" && Grid::of(node, &graph.constants).as_ref() == Some(first) {
            dequantizers.insert(index, all);
        } else if of_one_grid && moves(node) {
            for output in &node.output {
                holds.insert(output, all.clone());
            }
            groups.push(all);
        } else {
            kept.extend(all);
        }
    }
    for (name, origins) in &holds {
        if graph.is_output(name) {
            kept.extend(origins);
        }
    }
    // A dequantizer behind several quantizers, or a mover, needs all of them to go the same way.
    groups.extend(dequantizers.values().cloned());
    let mut count = usize::MAX;
    while kept.len() != count {
        count = kept.len();
        for group in groups.iter().filter(|group| !group.is_disjoint(&kept)).cloned().collect::<Vec<_>>() {
            kept.extend(group);
        }
    }
    Traced { kept, dequantizers }
}

/// Whether an operator gives the same result before and after dequantization.
pub(super) fn moves(node: &NodeProto) -> bool {
    let interpolates = node.op_type == "Resize" && attribute(node, "mode").is_some_and(|mode| mode.s != b"nearest");
    MOVERS.contains(&node.op_type.as_str()) && !interpolates
}

/// The numbers that an integer tensor stands for: `(i − zero_point) × scale` for `i` in `low..=high`.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Grid {
    scale: f32,
    zero_point: i64,
    low: i64,
    high: i64,
}

impl Grid {
    /// Of a quantizer or a dequantizer with one scale for the whole tensor.
    fn of(node: &NodeProto, constants: &HashMap<String, TensorProto>) -> Option<Self> {
        let scale = floats(constants.get(node.input.get(1)?)?)?;
        let [scale] = scale[..] else { return None };
        let (zero_point, kind) = match node.input.get(2).filter(|name| !name.is_empty()) {
            Some(name) => {
                let tensor = constants.get(name)?;
                (integers(tensor)?, tensor.data_type)
            }
            None => (vec![0], attribute(node, "output_dtype").map_or(elem::UINT8, |kind| kind.i as i32)),
        };
        let [zero_point] = zero_point[..] else { return None };
        let (low, high) = match kind {
            elem::UINT8 => (0, 255),
            elem::INT8 => (-128, 127),
            elem::UINT16 => (0, 65_535),
            elem::INT16 => (-32_768, 32_767),
            _ => return None,
        };
        (scale.is_finite() && scale > 0.0).then_some(Self { scale, zero_point, low, high })
    }

    fn fake_quantize(&self, quantizer: &NodeProto) -> NodeProto {
        let [zero_point, low, high] = [self.zero_point, self.low, self.high].map(|whole| whole as f32);
        let op = FakeQuantize { scale: self.scale, zero_point, low, high, step: self.scale };
        op.node(&quantizer.name, &quantizer.input[0], &quantizer.output[0])
    }
}
