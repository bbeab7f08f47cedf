//! Quantized convolutions as convolutions of whole numbers.
//!
//! Between two quantizers a convolution is computed on `integer − zero point` of its input and its weights, and its
//! sums go through [`requantize`](crate::engine::requantize): what onnxruntime's `QLinearConv` computes, to the last
//! bit, without a kernel for integers. SiLU between a convolution and what follows becomes a table with one entry for
//! each integer.
//!
//! Works on what the other rewrites leave: floats between [`FAKE_QUANTIZE`]s. What is not recognised stays as it is.

use std::collections::{HashMap, HashSet};

use tract_onnx::pb::{AttributeProto, NodeProto, TensorProto, attribute_proto::AttributeType};

use super::{
    super::{
        fake_quantize::FakeQuantize,
        kernels::loops::logistic,
        proto::{Graph, attribute, float_attribute, float_tensor, floats, node, node_name},
        requantize::{TABLE_LEN, multiplier},
    },
    FAKE_QUANTIZE, qdq, replace,
};

/// Sums with one multiplier for each channel, rounded and clamped; numbers and lists of numbers are float attributes.
pub(in crate::engine) const REQUANTIZE: &str = "AndonRequantize";

/// Rewrites what matches.
pub(super) fn lower(graph: &mut Graph) {
    convolutions(graph);
    activations(graph);
}

/// A convolution between two quantizers.
struct Lowered {
    /// Index of the quantizer whose numbers come in directly; `None` where they are moved in between.
    source: Option<usize>,
    /// What the input is rounded to.
    input: FakeQuantize,
    /// Index of the quantizer that alone reads the output.
    quantizer: usize,
    output: FakeQuantize,
    /// The tensor that the quantizer makes.
    rounded: String,
    multipliers: Vec<f32>,
    weights: TensorProto,
    bias: Option<TensorProto>,
}

fn convolutions(graph: &mut Graph) {
    let mut found = find(graph);
    if found.is_empty() {
        return;
    }
    let whole = only_for_convolutions(graph, &found);
    let quantizers: HashSet<usize> = found.values().map(|lowered| lowered.quantizer).collect();
    let mut rounded: HashSet<String> = HashSet::new();
    let mut constants: Vec<TensorProto> = Vec::new();
    replace(&mut graph.nodes, |index, mut old| {
        if quantizers.contains(&index) {
            return Vec::new();
        }
        let Some(lowered) = found.remove(&index) else {
            if whole.contains(&index) {
                set_step(&mut old, 1.0);
            }
            return vec![old];
        };
        let mut nodes = Vec::new();
        if lowered.source.is_none_or(|source| !whole.contains(&source)) {
            let name = format!("{}.whole", old.input[0]);
            if rounded.insert(name.clone()) {
                nodes.push(FakeQuantize { step: 1.0, ..lowered.input }.node(&name, &old.input[0], &name));
            }
            old.input[0] = name;
        }
        let sums = format!("{}.sums", node_name(&old));
        let step = if whole.contains(&lowered.quantizer) { 1.0 } else { lowered.output.scale };
        let requantize = lowered.requantize(&sums, &old.output[0], step);
        old.output[0] = sums;
        old.input.truncate(1);
        old.input.push(lowered.weights.name.clone());
        old.input.extend(lowered.bias.iter().map(|bias| bias.name.clone()));
        constants.push(lowered.weights);
        constants.extend(lowered.bias);
        nodes.extend([old, requantize]);
        nodes
    });
    graph.constants.extend(constants.into_iter().map(|constant| (constant.name.clone(), constant)));
}

/// The convolutions that can be lowered, by index.
fn find(graph: &Graph) -> HashMap<usize, Lowered> {
    let producers = graph.producers();
    let consumers = graph.consumers();
    let find_one = |index: usize| {
        let conv = &graph.nodes[index];
        if conv.op_type != "Conv" {
            return None;
        }
        let output = conv.output.first()?.as_str();
        let &[quantizer] = consumers.get(output)?.as_slice() else { return None };
        if graph.is_output(output) || graph.nodes[quantizer].op_type != FAKE_QUANTIZE {
            return None;
        }
        let source = source(graph, &producers, &conv.input[0])?;
        let [input, output] = [source, quantizer].map(|index| FakeQuantize::read(&graph.nodes[index]).ok());
        let (input, output) = (input?, output?);

        let name = conv.input.get(1)?;
        let real = graph.constants.get(name)?;
        let channels = usize::try_from(*real.dims.first()?).ok().filter(|channels| *channels > 0)?;
        let scales = graph.scales.get(name).filter(|scales| [1, channels].contains(&scales.len()))?;
        if !scales.iter().all(|scale| scale.is_normal() && *scale > 0.0) {
            return None;
        }
        let scale = |channel: usize| scales[channel.min(scales.len() - 1)];
        let multipliers: Vec<f32> =
            (0..channels).map(|channel| multiplier(input.scale, scale(channel), output.scale)).collect();
        if !multipliers.iter().all(|multiplier| multiplier.is_normal()) {
            return None;
        }
        let values = floats(real)?;
        let inner = values.len() / channels;
        let values: Vec<f32> =
            values.iter().enumerate().map(|(at, value)| (value / scale(at / inner)).round()).collect();
        let weights = float_tensor(&format!("{name}.whole"), &real.dims, &values);
        let bias = match conv.input.get(2).filter(|name| !name.is_empty()) {
            Some(name) => {
                let real = floats(graph.constants.get(name)?).filter(|real| real.len() == channels)?;
                let in_steps = |(channel, real): (usize, f32)| in_steps(real, input.scale, scale(channel));
                let values: Vec<f32> = real.into_iter().enumerate().map(in_steps).collect();
                Some(float_tensor(&format!("{}.whole_bias", node_name(conv)), &[channels as i64], &values))
            }
            None => None,
        };
        let is_direct = graph.nodes[source].output[0] == conv.input[0];
        let source = is_direct.then_some(source);
        let rounded = graph.nodes[quantizer].output[0].clone();
        Some((index, Lowered { source, input, quantizer, output, rounded, multipliers, weights, bias }))
    };
    (0..graph.nodes.len()).filter_map(find_one).collect()
}

/// The quantizer whose numbers a tensor holds, unchanged but perhaps moved.
fn source(graph: &Graph, producers: &HashMap<&str, usize>, name: &str) -> Option<usize> {
    let mut index = *producers.get(name)?;
    while graph.nodes[index].op_type != FAKE_QUANTIZE {
        let mover = Some(&graph.nodes[index]).filter(|node| node.op_type != "Concat" && qdq::moves(node))?;
        index = *producers.get(mover.input.first()?.as_str())?;
    }
    Some(index)
}

/// The quantizers whose numbers go to lowered convolutions and nowhere else: they give whole numbers.
fn only_for_convolutions(graph: &Graph, found: &HashMap<usize, Lowered>) -> HashSet<usize> {
    let consumers = graph.consumers();
    let sources: HashSet<usize> = found.values().filter_map(|lowered| lowered.source).collect();
    let is_only = |source: &usize| {
        let name = graph.nodes[*source].output[0].as_str();
        !graph.is_output(name) && consumers[name].iter().all(|index| found.contains_key(index))
    };
    sources.into_iter().filter(is_only).collect()
}

/// A bias in steps of the sums, whose scale is the product of those of input and weights. A file's integer comes out
/// whole; a file's float does not have to.
fn in_steps(real: f32, input_scale: f32, weight_scale: f32) -> f32 {
    let steps = f64::from(real) / (f64::from(input_scale) * f64::from(weight_scale));
    let is_whole = (steps - steps.round()).abs() <= 1e-6 * steps.abs();
    (if is_whole { steps.round() } else { steps }) as f32
}

impl Lowered {
    fn requantize(&self, sums: &str, conv_output: &str, step: f32) -> NodeProto {
        let FakeQuantize { zero_point, low, high, .. } = self.output;
        let attribute = vec![
            list_attribute("multipliers", &self.multipliers),
            float_attribute("low", low - zero_point),
            float_attribute("high", high - zero_point),
            float_attribute("step", step),
        ];
        let name = format!("{conv_output}.requantize");
        NodeProto { attribute, ..node(REQUANTIZE, &name, &[sums], &self.rounded) }
    }
}

fn list_attribute(name: &str, values: &[f32]) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: AttributeType::Floats as i32,
        floats: values.to_vec(),
        ..AttributeProto::default()
    }
}

fn set_step(node: &mut NodeProto, step: f32) {
    node.attribute.retain(|attribute| attribute.name != "step");
    node.attribute.push(float_attribute("step", step));
}

/// Makes a table of each `x × sigmoid(x)` on rounded sums, together with the quantizer that alone reads it.
fn activations(graph: &mut Graph) {
    let consumers = graph.consumers();
    let only_reader = |name: &str| match consumers.get(name).map(Vec::as_slice) {
        Some([index]) if !graph.is_output(name) => Some(*index),
        _ => None,
    };
    let mut gone: HashSet<usize> = HashSet::new();
    let mut tables: HashMap<usize, (Vec<f32>, String)> = HashMap::new();
    for (index, requantize) in graph.nodes.iter().enumerate().filter(|(_, node)| node.op_type == REQUANTIZE) {
        let name = requantize.output[0].as_str();
        let Some(numbers) = numbers(requantize).filter(|_| !graph.is_output(name)) else { continue };
        let readers: HashSet<usize> = consumers.get(name).into_iter().flatten().copied().collect();
        let Some(sigmoid) = readers.iter().copied().find(|reader| graph.nodes[*reader].op_type == "Sigmoid") else {
            continue;
        };
        let Some(product) = only_reader(&graph.nodes[sigmoid].output[0]) else { continue };
        let both: HashSet<&str> = graph.nodes[product].input.iter().map(String::as_str).collect();
        if readers != HashSet::from([sigmoid, product])
            || graph.nodes[product].op_type != "Mul"
            || both != HashSet::from([name, graph.nodes[sigmoid].output[0].as_str()])
        {
            continue;
        }
        let mut table: Vec<f32> = numbers.into_iter().map(|number| number * logistic(number)).collect();
        let mut last = product;
        gone.extend([sigmoid, product]);
        let next = only_reader(&graph.nodes[product].output[0]);
        if let Some(next) = next.filter(|next| graph.nodes[*next].op_type == FAKE_QUANTIZE)
            && let Ok(quantizer) = FakeQuantize::read(&graph.nodes[next])
        {
            quantizer.apply(&mut table);
            gone.insert(next);
            last = next;
        }
        tables.insert(index, (table, graph.nodes[last].output[0].clone()));
    }
    replace(&mut graph.nodes, |index, mut old| {
        if gone.contains(&index) {
            return Vec::new();
        }
        if let Some((table, output)) = tables.remove(&index) {
            old.attribute.push(list_attribute("table", &table));
            old.output[0] = output;
        }
        vec![old]
    });
}

/// The real numbers that rounded sums can become, from the smallest on, where they are not too many.
fn numbers(requantize: &NodeProto) -> Option<Vec<f32>> {
    let [low, high, step] = ["low", "high", "step"].map(|name| attribute(requantize, name).map(|found| found.f));
    let (low, high, step) = (low?, high?, step?);
    let count = (high - low) as usize + 1;
    (count <= TABLE_LEN).then(|| (0..count).map(|at| (low + at as f32) * step).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bias_of_integers_is_whole_again() {
        for steps in [0, 1, -7, 4_095, -1_234_567, 16_777_215] {
            let scale = 0.003_921_569_f32 * 0.017_3;
            assert_eq!(in_steps(steps as f32 * scale, 0.003_921_569, 0.017_3), steps as f32);
        }
        assert!((in_steps(0.6, 0.5, 1.0) - 1.2).abs() < 1e-6);
    }
}
