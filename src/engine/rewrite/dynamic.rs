//! Dynamic quantization (`quantize_dynamic`) in float.
//!
//! `DynamicQuantizeLinear` → `ConvInteger` → `Cast` → `Mul` by both scales → `Add` of a bias becomes one `Conv` with
//! dequantized weights, and `MatMulInteger` one `MatMul`. The file holds no activation ranges, so int8 has nothing to
//! work with; the float graph is what the dynamic one approximates.

use std::collections::HashMap;

use tract_onnx::pb::{NodeProto, TensorProto};

use super::super::proto::{Graph, elem, float_tensor, floats, integers, node, node_name};
use super::replace;

/// Rewrites what matches.
pub(super) fn to_float(graph: &mut Graph) {
    let found: Vec<Match> = find(graph);
    let mut nodes: HashMap<usize, NodeProto> = HashMap::new();
    for found in found {
        let Match { integer, last, input, output, weights, bias } = found;
        let old = &graph.nodes[integer];
        let weights_name = format!("{}.weights", node_name(old));
        let bias_name = format!("{}.bias", node_name(old));
        let is_conv = old.op_type == "ConvInteger";
        let mut inputs = vec![input.as_str(), &weights_name];
        if bias.is_some() {
            inputs.push(&bias_name);
        }
        let mut new = node(if is_conv { "Conv" } else { "MatMul" }, node_name(old), &inputs, &output);
        new.attribute = old.attribute.clone();
        // The new node stands where the pattern ends: everything that it reads is known there.
        nodes.insert(last, new);
        graph.constants.insert(weights_name.clone(), TensorProto { name: weights_name, ..weights });
        if let Some(bias) = bias {
            let bias = float_tensor(&bias_name, &[bias.len() as i64], &bias);
            graph.constants.insert(bias_name, bias);
        }
    }
    replace(&mut graph.nodes, |index, node| vec![nodes.remove(&index).unwrap_or(node)]);
    graph.sweep();
}

struct Match {
    /// Index of the integer operator.
    integer: usize,
    /// Index of the node that ends the pattern.
    last: usize,
    /// The float tensor that goes in.
    input: String,
    /// The float tensor that comes out.
    output: String,
    /// Dequantized.
    weights: TensorProto,
    /// One number for each output channel.
    bias: Option<Vec<f32>>,
}

fn find(graph: &Graph) -> Vec<Match> {
    let producers = graph.producers();
    let consumers = graph.consumers();
    // The only reader of a tensor, if it is such an operator.
    let only_reader = |name: &str, op: &str| match consumers.get(name).map(Vec::as_slice) {
        Some([index]) if graph.nodes[*index].op_type == op && !graph.is_output(name) => Some(*index),
        _ => None,
    };
    let producer = |name: &str, op: &str| {
        let index = *producers.get(name)?;
        (graph.nodes[index].op_type == op).then_some(&graph.nodes[index])
    };
    let find_one = |integer: usize| {
        let old = &graph.nodes[integer];
        let is_conv = old.op_type == "ConvInteger";
        let quantize = producer(old.input.first()?, "DynamicQuantizeLinear")?;
        if quantize.output.len() != 3 || old.input.get(2).is_some_and(|zero_point| *zero_point != quantize.output[2]) {
            return None;
        }
        let cast = only_reader(old.output.first()?, "Cast")?;
        let scale = only_reader(graph.nodes[cast].output.first()?, "Mul")?;
        let scales = other_input(&graph.nodes[scale], &graph.nodes[cast].output[0])?;
        let weight_scale = match producer(scales, "Mul") {
            Some(product) => floats(graph.constants.get(other_input(product, &quantize.output[1])?)?)?,
            None if *scales == *quantize.output[1] => vec![1.0],
            None => return None,
        };
        let zero_point = old.input.get(3).filter(|name| !name.is_empty());
        let zero_point = zero_point.map_or(Some(vec![0]), |name| integers(graph.constants.get(name)?))?;
        let weights = dequantized(
            graph.constants.get(old.input.get(1)?)?,
            &weight_scale,
            &zero_point,
            if is_conv { 0 } else { -1 },
        )?;

        let mut last = scale;
        let mut bias = None;
        if is_conv && let Some(add) = only_reader(&graph.nodes[scale].output[0], "Add") {
            let addend = other_input(&graph.nodes[add], &graph.nodes[scale].output[0])?;
            let addend = producer(addend, "Reshape").and_then(|reshape| reshape.input.first()).unwrap_or(addend);
            let values = graph.constants.get(addend).and_then(floats);
            if let Some(values) = values.filter(|values| values.len() as i64 == weights.dims[0]) {
                bias = Some(values);
                last = add;
            }
        }
        let (input, output) = (quantize.input.first()?.clone(), graph.nodes[last].output.first()?.clone());
        Some(Match { integer, last, input, output, weights, bias })
    };
    let is_integer = |index: &usize| matches!(graph.nodes[*index].op_type.as_str(), "ConvInteger" | "MatMulInteger");
    (0..graph.nodes.len()).filter(is_integer).filter_map(find_one).collect()
}

/// The input of a binary operator beside this one.
fn other_input<'a>(node: &'a NodeProto, name: &str) -> Option<&'a String> {
    match node.input.as_slice() {
        [a, b] if a == name => Some(b),
        [a, b] if b == name => Some(a),
        _ => None,
    }
}

/// `(weights − zero point) × scale`, where scale and zero point are one number or one for each index along `axis`.
pub(super) fn dequantized(weights: &TensorProto, scale: &[f32], zero_point: &[i64], axis: i64) -> Option<TensorProto> {
    let values = integers(weights).filter(|_| weights.data_type != elem::INT64)?;
    let rank = weights.dims.len() as i64;
    let axis = if axis < 0 { axis + rank } else { axis };
    let channels = match usize::try_from(axis).ok().and_then(|axis| weights.dims.get(axis)) {
        Some(count) => usize::try_from(*count).ok()?,
        None if scale.len() == 1 && zero_point.len() == 1 => 1,
        None => return None,
    };
    let inner: i64 = weights.dims.iter().skip(usize::try_from(axis + 1).ok()?).product();
    let inner = usize::try_from(inner).ok()?.max(1);
    if ![1, channels].contains(&scale.len()) || ![1, channels].contains(&zero_point.len()) {
        return None;
    }
    let dequantize = |(index, value): (usize, &i64)| {
        let channel = index / inner % channels.max(1);
        (value - zero_point[channel.min(zero_point.len() - 1)]) as f32 * scale[channel.min(scale.len() - 1)]
    };
    let values: Vec<f32> = values.iter().enumerate().map(dequantize).collect();
    Some(float_tensor(&weights.name, &weights.dims, &values))
}
