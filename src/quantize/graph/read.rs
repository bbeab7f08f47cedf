//! From a file to the graph that is quantized: of a sufficient operator set, batch normalization folded, the weights of
//! each convolution its own.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
};

use anyhow::{Result, anyhow, ensure};

use super::{Convolution, FloatModel, Function, Weights, activations, opset};
use crate::{
    engine::{
        float_file::{self, FloatFile},
        proto::{AttributeProto, Graph, NodeProto, attribute, float_tensor, floats, node_name},
    },
    guard::guarded,
};

/// Reads a model; see [`FloatModel::read`].
pub(super) fn read(path: &Path) -> Result<FloatModel> {
    guarded(|| model(float_file::read(path)?)).map_err(|cause| anyhow!("model {}: {cause:#}", path.display()))
}

/// The model of a file.
pub(super) fn model(mut file: FloatFile) -> Result<FloatModel> {
    opset::raise(&mut file.graph, file.opset, &file.shapes)?;
    file.opset = file.opset.max(opset::OPSET_MIN);
    for set in file.proto.opset_import.iter_mut().filter(|set| matches!(set.domain.as_str(), "" | "ai.onnx")) {
        set.version = file.opset;
    }
    file.proto.ir_version = file.proto.ir_version.max(opset::IR_VERSION_MIN);
    fold_normalizations(&mut file.graph);
    check_constants(&file.graph)?;
    let (nodes, weights) = own_weights(&mut file.graph);
    let int8 = can_be_int8(&file.graph, &nodes, &weights);
    let in_int8 = chosen(&nodes, &int8);
    let plan = activations::Plan::of(&file.graph, &in_int8);
    let sources = activations::sources(&file.graph, &in_int8);
    let activations = plan.activations(&file.graph);
    let index_of: HashMap<&str, usize> =
        activations.iter().enumerate().map(|(index, activation)| (activation.tensor.as_str(), index)).collect();
    let consumers = file.graph.consumers();
    let convolution = |((node, weights), int8): ((&usize, &Weights), &bool)| {
        let node = &file.graph.nodes[*node];
        let [outputs, inner, rows, columns] = weights.shape;
        let pixels = file.shapes.get(&node.output[0]).map_or(0, |dims| dims.iter().skip(2).product());
        Convolution {
            name: node_name(node).to_owned(),
            input: int8.then(|| index_of[node.input[0].as_str()]),
            output: node.output[0].clone(),
            shape: weights.shape,
            groups: groups(node),
            macs: [outputs, inner, rows, columns, pixels].iter().map(|side| *side as u64).product(),
            function: function(&file.graph, &consumers, &node.output[0]),
            is_last: !sources.contains(node.output[0].as_str()),
        }
    };
    let convolutions: Vec<Convolution> = nodes.iter().zip(&weights).zip(&int8).map(convolution).collect();
    ensure!(
        convolutions.iter().any(|conv| conv.input.is_some()),
        "it has no convolution with constant weights that could run in int8; is it a YOLO?"
    );
    let groups = plan.groups();
    Ok(FloatModel { file, nodes, weights, convolutions, activations, groups })
}

/// The nodes of those convolutions that are chosen.
pub(super) fn chosen(nodes: &[usize], is_chosen: &[bool]) -> HashSet<usize> {
    nodes.iter().zip(is_chosen).filter(|(_, is_chosen)| **is_chosen).map(|(node, _)| *node).collect()
}

/// Refuses convolutions with constants that are not finite, those that a normalization was folded into included.
fn check_constants(graph: &Graph) -> Result<()> {
    for node in graph.nodes.iter().filter(|node| node.op_type == "Conv") {
        for (name, what) in node.input.iter().skip(1).zip(["weights", "a bias"]) {
            let values = graph.constants.get(name).and_then(floats).unwrap_or_default();
            ensure!(
                values.iter().all(|value| value.is_finite()),
                "convolution {:?} has {what} with numbers that are not finite; export the model again",
                node_name(node)
            );
        }
    }
    Ok(())
}

/// The number of groups of a convolution.
fn groups(node: &NodeProto) -> usize {
    attribute(node, "group").map_or(1, |group| usize::try_from(group.i).unwrap_or(1))
}

/// The weights of planar convolutions, one entry for each, in the order of the nodes.
fn own_weights(graph: &mut Graph) -> (Vec<usize>, Vec<Weights>) {
    let (mut nodes, mut all) = (Vec::new(), Vec::new());
    for (index, node) in graph.nodes.iter().enumerate().filter(|(_, node)| node.op_type == "Conv") {
        let found = weights(graph, node);
        nodes.extend(found.is_some().then_some(index));
        all.extend(found);
    }
    // What is done to the weights of one must not be done to another that shares the constant.
    let shared: HashSet<String> = graph
        .consumers()
        .into_iter()
        .filter(|(_, readers)| readers.len() > 1)
        .map(|(name, _)| name.to_owned())
        .collect();
    for (node, weights) in nodes.iter().zip(&mut all) {
        let before = &graph.nodes[*node];
        let own = |name: &&String| !name.is_empty() && !shared.contains(*name);
        let new = |what: &str| graph.free_name(format!("{}.{what}", before.output[0]));
        weights.name = before.input.get(1).filter(own).cloned().unwrap_or_else(|| new("weights"));
        weights.bias_name = before.input.get(2).filter(own).cloned().unwrap_or_else(|| new("bias"));
        let node = &mut graph.nodes[*node];
        node.input.truncate(1);
        node.input.push(weights.name.clone());
        node.input.extend(weights.bias.iter().map(|_| weights.bias_name.clone()));
    }
    (nodes, all)
}

/// The constant weights of a planar convolution.
fn weights(graph: &Graph, node: &NodeProto) -> Option<Weights> {
    let constant = graph.constants.get(node.input.get(1)?)?;
    let dims: Vec<usize> = constant.dims.iter().map(|dim| usize::try_from(*dim).ok()).collect::<Option<_>>()?;
    let shape: [usize; 4] = dims.try_into().ok().filter(|shape: &[usize; 4]| !shape.contains(&0))?;
    let values = floats(constant)?;
    let bias = match node.input.get(2).filter(|name| !name.is_empty()) {
        Some(name) => Some(floats(graph.constants.get(name)?).filter(|bias| bias.len() == shape[0])?),
        None => None,
    };
    Some(Weights { name: String::new(), bias_name: String::new(), shape, values, bias })
}

/// Which convolutions can run in int8: dense or depthwise ones, of an activation, that decode no boxes.
fn can_be_int8(graph: &Graph, nodes: &[usize], weights: &[Weights]) -> Vec<bool> {
    let producers = graph.producers();
    let can = |(node, weights): (&usize, &Weights)| {
        let node = &graph.nodes[*node];
        let [outputs, inner, ..] = weights.shape;
        let is_depthwise = inner == 1 && outputs == groups(node);
        (groups(node) == 1 || is_depthwise)
            && !graph.constants.contains_key(&node.input[0])
            && !activations::is_distribution(graph, &producers, &node.input[0])
    };
    nodes.iter().zip(weights).map(can).collect()
}

/// What a convolution's output goes through.
fn function(graph: &Graph, consumers: &HashMap<&str, Vec<usize>>, output: &str) -> Function {
    let readers: Vec<&NodeProto> =
        consumers.get(output).into_iter().flatten().map(|reader| &graph.nodes[*reader]).collect();
    match readers[..] {
        _ if graph.is_output(output) => Function::Linear,
        [node] => match node.op_type.as_str() {
            "Relu" => Function::Relu,
            "LeakyRelu" => Function::LeakyRelu { slope: attribute(node, "alpha").map_or(0.01, |alpha| alpha.f) },
            "Sigmoid" | "HardSigmoid" | "HardSwish" | "Tanh" | "Clip" | "Elu" | "Mish" | "Softplus" | "Gelu"
            | "Erf" | "PRelu" | "Selu" => Function::Other,
            _ => Function::Linear,
        },
        [a, b] => match (a.op_type.as_str(), b.op_type.as_str()) {
            ("Sigmoid", "Mul") if b.input.contains(&a.output[0]) => Function::Silu,
            ("Mul", "Sigmoid") if a.input.contains(&b.output[0]) => Function::Silu,
            ("Sigmoid" | "HardSigmoid" | "Tanh" | "Softplus", _)
            | (_, "Sigmoid" | "HardSigmoid" | "Tanh" | "Softplus") => Function::Other,
            _ => Function::Linear,
        },
        _ => Function::Linear,
    }
}

/// Makes each batch normalization that alone reads a convolution's output a part of that convolution.
fn fold_normalizations(graph: &mut Graph) {
    let mut changes: Vec<(usize, usize, Vec<f32>, Vec<f32>)> = Vec::new();
    let consumers = graph.consumers();
    for (conv, node) in graph.nodes.iter().enumerate().filter(|(_, node)| node.op_type == "Conv") {
        let Some(&[reader]) = consumers.get(node.output[0].as_str()).map(Vec::as_slice) else { continue };
        let is_normalization = graph.nodes[reader].op_type == "BatchNormalization" && !graph.is_output(&node.output[0]);
        let folded = is_normalization.then(|| folded(graph, node, &graph.nodes[reader])).flatten();
        changes.extend(folded.map(|(weights, bias)| (conv, reader, weights, bias)));
    }
    let mut gone = HashSet::new();
    for (conv, normalization, weights, bias) in changes {
        let output = graph.nodes[normalization].output[0].clone();
        let [weights_name, bias_name] = ["weights", "bias"].map(|what| graph.free_name(format!("{output}.{what}")));
        let node = &mut graph.nodes[conv];
        let dims = graph.constants[&node.input[1]].dims.clone();
        node.output[0] = output;
        node.input.truncate(1);
        node.input.extend([weights_name.clone(), bias_name.clone()]);
        for (name, dims, values) in [(weights_name, dims.clone(), weights), (bias_name, vec![dims[0]], bias)] {
            let constant = float_tensor(&name, &dims, &values);
            graph.constants.insert(name, constant);
        }
        gone.insert(normalization);
    }
    let mut index = 0..;
    graph.nodes.retain(|_| !index.next().is_some_and(|index| gone.contains(&index)));
    graph.sweep();
}

/// Weights and bias that do what a convolution and the normalization behind it do, computed in double precision.
fn folded(graph: &Graph, conv: &NodeProto, normalization: &NodeProto) -> Option<(Vec<f32>, Vec<f32>)> {
    if normalization.output.iter().skip(1).any(|name| !name.is_empty()) {
        return None;
    }
    let Weights { values, bias, shape: [outputs, ..], .. } = weights(graph, conv)?;
    let parameter = |index: usize| {
        floats(graph.constants.get(normalization.input.get(index)?)?).filter(|values| values.len() == outputs)
    };
    let [scale, shift, mean, variance] = [parameter(1)?, parameter(2)?, parameter(3)?, parameter(4)?];
    let epsilon = f64::from(attribute(normalization, "epsilon").map_or(1e-5, |AttributeProto { f, .. }| *f));
    let bias = bias.unwrap_or_else(|| vec![0.0; outputs]);
    let factor = |channel: usize| f64::from(scale[channel]) / (f64::from(variance[channel]) + epsilon).sqrt();
    let inner = values.len() / outputs;
    let weight = |(index, value): (usize, &f32)| (f64::from(*value) * factor(index / inner)) as f32;
    let weights = values.iter().enumerate().map(weight).collect();
    let moved = |channel: usize| {
        let centred = f64::from(bias[channel]) - f64::from(mean[channel]);
        (centred * factor(channel) + f64::from(shift[channel])) as f32
    };
    Some((weights, (0..outputs).map(moved).collect()))
}
