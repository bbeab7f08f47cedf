//! A model with quantizers, as ONNX in its standard form: `QuantizeLinear` and `DequantizeLinear` around what is
//! computed with whole numbers.
//!
//! Activations are `int8` with a zero point, weights `int8` symmetric with one scale for each output channel, biases
//! `int32` in steps of the products.

use std::collections::{HashMap, HashSet};

use anyhow::{Result, bail, ensure};

use super::{
    FloatModel, Recipe, Weights,
    activations::{self, Plan},
    read,
};
use crate::engine::proto::{
    Graph, Message, ModelProto, NodeProto, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto, elem,
    float_tensor, integer_attribute, node, tensor_shape_proto, type_proto,
};

/// The lowest and the highest of the numbers that activations are held in.
const LEVELS: [i32; 2] = [-128, 127];
/// The highest of the numbers that weights are held in; the lowest is its opposite.
const WEIGHT_MAX: f32 = 127.0;
/// A scale below is one of a tensor in which nothing happens.
const SCALE_MIN: f32 = 1e-6;
/// The same of a channel's weights.
const WEIGHT_SCALE_MIN: f32 = 1e-12;
/// A bias has fewer steps than this, so that the sums of products have room beside it.
const BIAS_STEPS_MAX: f32 = (1 << 30) as f32;

/// What an activation is rounded to: the numbers `(i − zero point) × scale`.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Grid {
    scale: f32,
    zero_point: i8,
}

impl Grid {
    /// The finest that holds a range and zero.
    fn of([low, high]: [f32; 2]) -> Self {
        let (low, high) = (low.min(0.0), high.max(0.0));
        let [first, last] = LEVELS.map(|level| level as f32);
        let scale = ((high - low) / (last - first)).max(SCALE_MIN);
        let zero_point = (first - low / scale).round_ties_even().clamp(first, last);
        Self { scale, zero_point: zero_point as i8 }
    }
}

/// The float model with further outputs.
pub(super) fn floats(model: &FloatModel, tensors: &[&str]) -> Result<Vec<u8>> {
    let mut graph = model.file.graph.clone();
    for (node, weights) in model.nodes.iter().zip(&model.weights) {
        put_weights(&mut graph, *node, weights);
    }
    encoded(model, graph, tensors)
}

/// The quantized model with further outputs.
pub(super) fn quantized(model: &FloatModel, recipe: &Recipe, tensors: &[&str]) -> Result<Vec<u8>> {
    check(model, recipe)?;
    let grids: Vec<Grid> = recipe.ranges.iter().map(|range| Grid::of(*range)).collect();
    let is_int8: Vec<bool> = (0..model.nodes.len())
        .map(|conv| model.convolutions[conv].input.is_some() && !recipe.float.contains(&conv))
        .collect();
    let convolutions = read::chosen(&model.nodes, &is_int8);
    let plan = Plan::of(&model.file.graph, &convolutions);
    let mut writer = Writer::new(model.file.graph.clone());
    for (conv, weights) in model.weights.iter().enumerate() {
        let bias = entry(&recipe.biases, conv).or(weights.bias.as_ref());
        match model.convolutions[conv].input.filter(|_| is_int8[conv]) {
            Some(input) => {
                let scale = grids[model.activations[input].group].scale;
                let asked = entry(&recipe.weight_scales, conv).map(Vec::as_slice);
                let scales = channel_scales(weights, bias, scale, asked);
                let mut whole = rounded(weights, &scales);
                if let (Some(given), Some(asked)) = (entry(&recipe.whole_weights, conv), asked) {
                    let inner = given.len() / scales.len();
                    // A rounding for another scale than there is now is none.
                    let kept = (0..given.len()).filter(|at| scales[at / inner] == asked[at / inner]);
                    kept.for_each(|at| whole[at] = given[at]);
                }
                writer.convolution(model.nodes[conv], weights, (&whole, &scales), bias.map(|bias| (bias, scale)));
            }
            None => {
                let weights = Weights { bias: bias.cloned(), ..weights.clone() };
                put_weights(&mut writer.graph, model.nodes[conv], &weights);
            }
        }
    }
    let group_of: HashMap<&str, usize> =
        model.activations.iter().map(|activation| (activation.tensor.as_str(), activation.group)).collect();
    let planned: Vec<(&str, usize)> =
        plan.tensors.iter().map(|(name, _)| (name.as_str(), group_of[name.as_str()])).collect();
    for (conv, about) in model.convolutions.iter().enumerate().filter(|(conv, about)| is_int8[*conv] && !about.is_last)
    {
        let is_planned = planned.iter().any(|(name, _)| *name == about.output);
        if let Some(range) = entry(&recipe.outputs, conv).filter(|_| !is_planned) {
            writer.output(model.nodes[conv], Grid::of(*range));
        }
    }
    writer.activations(&planned, &grids, &convolutions);
    writer.settle();
    encoded(model, writer.graph, tensors)
}

/// The scale of each output channel: what is asked for, or what makes the largest weight 127; larger where the bias
/// would not fit beside the sums.
fn channel_scales(weights: &Weights, bias: Option<&Vec<f32>>, input_scale: f32, asked: Option<&[f32]>) -> Vec<f32> {
    let inner = weights.values.len() / weights.shape[0];
    let scale = |(channel, values): (usize, &[f32])| {
        let largest = values.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        let bias = bias.map_or(0.0, |bias| bias[channel].abs());
        let scale = asked.map_or(largest / WEIGHT_MAX, |asked| asked[channel]);
        scale.max(bias / input_scale / BIAS_STEPS_MAX).max(WEIGHT_SCALE_MIN)
    };
    weights.values.chunks(inner).enumerate().map(scale).collect()
}

/// Each weight as the nearest whole number, halves to even.
fn rounded(weights: &Weights, scales: &[f32]) -> Vec<i8> {
    let inner = weights.values.len() / weights.shape[0];
    let whole = |(index, value): (usize, &f32)| {
        (value / scales[index / inner]).round_ties_even().clamp(-WEIGHT_MAX, WEIGHT_MAX) as i8
    };
    weights.values.iter().enumerate().map(whole).collect()
}

fn entry<T>(entries: &[Option<T>], conv: usize) -> Option<&T> {
    entries.get(conv).and_then(Option::as_ref)
}

/// Checks that a recipe fits the model.
fn check(model: &FloatModel, recipe: &Recipe) -> Result<()> {
    let groups = model.groups;
    ensure!(recipe.ranges.len() == groups, "{} ranges for {groups} groups of activations", recipe.ranges.len());
    // The span may be infinite where both ends are not.
    let is_range = |[low, high]: &[f32; 2]| low <= high && (high.max(0.0) - low.min(0.0)).is_finite();
    let bad = recipe.ranges.iter().position(|range| !is_range(range));
    if let Some(group) = bad {
        let tensor = model.activations.iter().find(|activation| activation.group == group);
        let name = tensor.map_or("", |activation| activation.tensor.as_str());
        bail!("the range of {name:?} is {:?}; are the weights or the pictures damaged?", recipe.ranges[group]);
    }
    for (conv, weights) in model.weights.iter().enumerate() {
        let name = &model.convolutions[conv].name;
        let outputs = weights.shape[0];
        let range = entry(&recipe.outputs, conv);
        ensure!(
            range.is_none_or(is_range),
            "the range of the output of convolution {name:?} is {range:?}; are the pictures damaged?"
        );
        let fits = entry(&recipe.weight_scales, conv).is_none_or(|scales| {
            scales.len() == outputs && scales.iter().all(|scale| scale.is_finite() && *scale > 0.0)
        });
        ensure!(fits, "convolution {name:?} needs {outputs} scales above zero for its weights");
        let bias = entry(&recipe.biases, conv);
        let fits = bias.is_none_or(|bias| bias.len() == outputs && bias.iter().all(|number| number.is_finite()));
        ensure!(fits, "convolution {name:?} needs {outputs} finite numbers for its bias");
        let whole = entry(&recipe.whole_weights, conv);
        let has_scales = entry(&recipe.weight_scales, conv).is_some();
        let fits = whole.is_none_or(|whole| has_scales && whole.len() == weights.values.len());
        ensure!(fits, "convolution {name:?} needs {} whole weights, and their scales", weights.values.len());
    }
    Ok(())
}

/// Lets a convolution read float weights.
fn put_weights(graph: &mut Graph, node: usize, weights: &Weights) {
    let dims = weights.shape.map(|side| side as i64);
    let inputs = &mut graph.nodes[node].input;
    inputs.truncate(1);
    let mut put = |name: &str, dims: &[i64], values: &[f32]| {
        inputs.push(name.to_owned());
        graph.constants.insert(name.to_owned(), float_tensor(name, dims, values));
    };
    put(&weights.name, &dims, &weights.values);
    if let Some(bias) = &weights.bias {
        put(&weights.bias_name, &dims[..1], bias);
    }
}

/// The file of a graph with further outputs.
fn encoded(model: &FloatModel, mut graph: Graph, tensors: &[&str]) -> Result<Vec<u8>> {
    for name in tensors {
        let is_input = graph.inputs.iter().any(|input| input.name == *name);
        let is_made = graph.nodes.iter().any(|node| node.output.iter().any(|output| output == name));
        ensure!(is_made || is_input, "no node makes a tensor {name:?}");
        if is_made && !graph.is_output(name) {
            graph.outputs.push(float_output(name, model.file.shapes.get(*name)));
        }
    }
    graph.sweep();
    let mut proto: ModelProto = model.file.with_graph(graph);
    env!("CARGO_PKG_NAME").clone_into(&mut proto.producer_name);
    env!("CARGO_PKG_VERSION").clone_into(&mut proto.producer_version);
    Ok(proto.encode_to_vec())
}

/// An output of floats.
fn float_output(name: &str, dims: Option<&Vec<usize>>) -> ValueInfoProto {
    let dim = |dim: &usize| tensor_shape_proto::Dimension {
        value: Some(tensor_shape_proto::dimension::Value::DimValue(*dim as i64)),
        ..Default::default()
    };
    let shape = dims.map(|dims| TensorShapeProto { dim: dims.iter().map(dim).collect() });
    let tensor = type_proto::Tensor { elem_type: elem::FLOAT, shape };
    let kind = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..TypeProto::default() };
    ValueInfoProto { name: name.to_owned(), r#type: Some(kind), ..ValueInfoProto::default() }
}

/// A graph that quantizers are put into.
struct Writer {
    graph: Graph,
    /// Names that exist.
    taken: HashSet<String>,
    /// Nodes to come before the node of this index.
    before: Vec<Vec<NodeProto>>,
}

impl Writer {
    fn new(graph: Graph) -> Self {
        let made = graph.nodes.iter().flat_map(|node| node.output.iter().chain([&node.name]));
        let inputs = graph.inputs.iter().map(|input| &input.name);
        let taken = made.chain(inputs).chain(graph.constants.keys()).cloned().collect();
        let before = vec![Vec::new(); graph.nodes.len() + 1];
        Self { graph, taken, before }
    }

    /// A name that nothing has.
    fn name(&mut self, base: &str, what: &str) -> String {
        let first = format!("{base}_{what}");
        let mut names = std::iter::once(first.clone()).chain((1..).map(|count| format!("{first}_{count}")));
        let name = names.find(|name| !self.taken.contains(name)).expect("numbers do not end");
        self.taken.insert(name.clone());
        name
    }

    fn constant(&mut self, base: &str, what: &str, constant: TensorProto) -> String {
        let name = self.name(base, what);
        self.graph.constants.insert(name.clone(), TensorProto { name: name.clone(), ..constant });
        name
    }

    /// Lets a convolution read whole weights and a whole bias, dequantized. The bias comes with the input's scale.
    fn convolution(
        &mut self,
        conv: usize,
        weights: &Weights,
        (whole, scales): (&[i8], &[f32]),
        bias: Option<(&Vec<f32>, f32)>,
    ) {
        let dims = weights.shape.map(|side| side as i64);
        let bytes = whole.iter().map(|value| value.to_le_bytes()[0]).collect();
        let [outputs, ..] = weights.shape;
        let zeros = |size: usize| vec![0; outputs * size];
        let constant = |elem: i32, dims: &[i64], raw_data: Vec<u8>| TensorProto {
            data_type: elem,
            dims: dims.to_vec(),
            raw_data,
            ..TensorProto::default()
        };
        let base = weights.name.as_str();
        let inputs = [
            self.constant(base, "quantized", constant(elem::INT8, &dims, bytes)),
            self.constant(base, "scale", float_tensor("", &dims[..1], scales)),
            self.constant(base, "zero_point", constant(elem::INT8, &dims[..1], zeros(1))),
        ];
        let dequantized = self.dequantize(conv, base, &inputs, Some(0));
        self.graph.nodes[conv].input.truncate(1);
        self.graph.nodes[conv].input.push(dequantized);
        let Some((bias, input_scale)) = bias else { return };
        let steps: Vec<f32> = scales.iter().map(|scale| input_scale * scale).collect();
        let step = |(number, step): (&f32, &f32)| {
            // Within the bounds of the type: scales are chosen so.
            (f64::from(*number) / f64::from(*step)).round_ties_even() as i32
        };
        let bytes = bias.iter().zip(&steps).map(step).flat_map(i32::to_le_bytes).collect();
        let base = weights.bias_name.as_str();
        let inputs = [
            self.constant(base, "quantized", constant(elem::INT32, &dims[..1], bytes)),
            self.constant(base, "scale", float_tensor("", &dims[..1], &steps)),
            self.constant(base, "zero_point", constant(elem::INT32, &dims[..1], zeros(4))),
        ];
        let dequantized = self.dequantize(conv, base, &inputs, Some(0));
        self.graph.nodes[conv].input.push(dequantized);
    }

    /// Puts a quantizer right behind a convolution, which all read that read its output.
    fn output(&mut self, conv: usize, grid: Grid) {
        let name = self.graph.nodes[conv].output[0].clone();
        let constants = self.grid(&name, grid);
        let rounded = self.quantize(conv + 1, &name, constants);
        for input in self.graph.nodes.iter_mut().flat_map(|node| &mut node.input).filter(|input| **input == name) {
            input.clone_from(&rounded);
        }
    }

    /// Puts quantizers behind tensors, each given with its grid, and lets those read them that compute with whole
    /// numbers or move them.
    fn activations(&mut self, tensors: &[(&str, usize)], grids: &[Grid], convolutions: &HashSet<usize>) {
        let producers: HashMap<String, usize> =
            self.graph.producers().into_iter().map(|(name, index)| (name.to_owned(), index)).collect();
        let names: HashSet<&str> = tensors.iter().map(|(name, _)| *name).collect();
        let mut constants: HashMap<usize, [String; 2]> = HashMap::new();
        let mut rounded: HashMap<&str, String> = HashMap::new();
        for (name, group) in tensors {
            let constants = constants.entry(*group).or_insert_with(|| self.grid(name, grids[*group])).clone();
            let at = producers.get(*name).map_or(0, |index| index + 1);
            rounded.insert(name, self.quantize(at, name, constants));
        }
        for reader in activations::readers(&self.graph, convolutions, &names) {
            let input = &mut self.graph.nodes[reader].input[0];
            if let Some(rounded) = rounded.get(input.as_str()) {
                input.clone_from(rounded);
            }
        }
    }

    /// Puts the new nodes into their places.
    fn settle(&mut self) {
        let old = std::mem::take(&mut self.graph.nodes);
        let mut before = std::mem::take(&mut self.before).into_iter();
        let mut next = || before.next().unwrap_or_default();
        for node in old {
            self.graph.nodes.extend(next());
            self.graph.nodes.push(node);
        }
        self.graph.nodes.extend(next());
    }

    /// Scale and zero point of a grid as constants.
    fn grid(&mut self, base: &str, Grid { scale, zero_point }: Grid) -> [String; 2] {
        let raw_data = zero_point.to_le_bytes().to_vec();
        let zero_point = TensorProto { data_type: elem::INT8, raw_data, ..TensorProto::default() };
        [self.constant(base, "scale", float_tensor("", &[], &[scale])), self.constant(base, "zero_point", zero_point)]
    }

    /// A quantizer and a dequantizer of a tensor before the node of this index; returns what they make.
    fn quantize(&mut self, at: usize, tensor: &str, [scale, zero_point]: [String; 2]) -> String {
        let quantized = self.name(tensor, "QuantizeLinear_Output");
        let name = self.name(tensor, "QuantizeLinear");
        self.before[at].push(node("QuantizeLinear", &name, &[tensor, &scale, &zero_point], &quantized));
        self.dequantize(at, tensor, &[quantized, scale, zero_point], None)
    }

    /// A dequantizer before the node of this index; returns what it makes.
    fn dequantize(&mut self, at: usize, base: &str, inputs: &[String; 3], axis: Option<i64>) -> String {
        let output = self.name(base, "DequantizeLinear_Output");
        let name = self.name(base, "DequantizeLinear");
        let inputs = inputs.each_ref().map(String::as_str);
        let mut dequantizer = node("DequantizeLinear", &name, &inputs, &output);
        dequantizer.attribute.extend(axis.map(|axis| integer_attribute("axis", axis)));
        self.before[at].push(dequantizer);
        output
    }
}
