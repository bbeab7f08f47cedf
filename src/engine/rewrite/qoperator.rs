//! Integer operators (QOperator) as their float twins between `DequantizeLinear` and `QuantizeLinear`.
//!
//! `QLinearConv(x, w)` is by definition `QuantizeLinear(Conv(DequantizeLinear(x), DequantizeLinear(w)))`, and so are
//! the others that onnxruntime's `quantize_static` writes.

use tract_onnx::pb::{NodeProto, TensorProto};

use super::super::proto::{Graph, attribute, elem, float_attribute, floats, integers, node, node_name};
use super::{dynamic::dequantized, replace};

/// Where an integer operator has its tensors, each followed by its scale and zero point.
struct Shape {
    op: &'static str,
    float_op: &'static str,
    /// Positions of the tensors; `None`: from the third input on, as many as there are.
    tensors: Option<&'static [usize]>,
    /// Position of the output's scale, followed by its zero point.
    output: usize,
}

const SHAPES: [Shape; 11] = [
    Shape { op: "QLinearConv", float_op: "Conv", tensors: Some(&[0, 3]), output: 6 },
    Shape { op: "QLinearMatMul", float_op: "MatMul", tensors: Some(&[0, 3]), output: 6 },
    Shape { op: "QLinearAdd", float_op: "Add", tensors: Some(&[0, 3]), output: 6 },
    Shape { op: "QLinearMul", float_op: "Mul", tensors: Some(&[0, 3]), output: 6 },
    Shape { op: "QLinearSigmoid", float_op: "Sigmoid", tensors: Some(&[0]), output: 3 },
    Shape { op: "QLinearLeakyRelu", float_op: "LeakyRelu", tensors: Some(&[0]), output: 3 },
    Shape { op: "QLinearAveragePool", float_op: "AveragePool", tensors: Some(&[0]), output: 3 },
    Shape { op: "QLinearGlobalAveragePool", float_op: "GlobalAveragePool", tensors: Some(&[0]), output: 3 },
    Shape { op: "QLinearSoftmax", float_op: "Softmax", tensors: Some(&[0]), output: 3 },
    Shape { op: "QLinearConcat", float_op: "Concat", tensors: None, output: 0 },
    Shape { op: "QGemm", float_op: "Gemm", tensors: Some(&[0, 3]), output: 7 },
];

/// Rewrites what matches.
pub(super) fn to_float(graph: &mut Graph) {
    let mut constants = Vec::new();
    let (known, scales) = (&graph.constants, &mut graph.scales);
    replace(&mut graph.nodes, |_, node| {
        let Some(shape) = SHAPES.iter().find(|shape| shape.op == node.op_type) else { return vec![node] };
        match Twin::of(&node, shape, known) {
            Some(twin) => {
                constants.extend(twin.constants);
                scales.extend(twin.scales);
                twin.nodes
            }
            None => vec![node],
        }
    });
    graph.constants.extend(constants.into_iter().map(|constant| (constant.name.clone(), constant)));
}

/// What stands in an integer operator's place.
#[derive(Default)]
struct Twin {
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
    /// As in [`Graph`].
    scales: Vec<(String, Vec<f32>)>,
}

type Constants = std::collections::HashMap<String, TensorProto>;

impl Twin {
    fn of(old: &NodeProto, shape: &Shape, known: &Constants) -> Option<Self> {
        let positions: Vec<usize> = match shape.tensors {
            Some(positions) => positions.to_vec(),
            None => (2..old.input.len()).step_by(3).collect(),
        };
        let mut twin = Self::default();
        let mut inputs = Vec::new();
        for position in positions {
            inputs.push(twin.dequantized(old, position, known)?);
        }
        let bias_at = if shape.op == "QGemm" { 6 } else { 8 };
        let takes_bias = matches!(shape.op, "QLinearConv" | "QGemm");
        if takes_bias && let Some(bias) = old.input.get(bias_at).filter(|name| !name.is_empty()) {
            inputs.push(twin.bias(old, known.get(bias)?, known)?);
        }
        let name = node_name(old);
        let real = format!("{name}.real");
        let mut float = NodeProto { input: inputs, ..node(shape.float_op, name, &[], &real) };
        float.attribute = old.attribute.iter().filter(|a| !is_foreign(&a.name, shape)).cloned().collect();
        if shape.float_op == "LeakyRelu" && float.attribute.is_empty() {
            float.attribute.push(float_attribute("alpha", 0.01));
        }
        twin.nodes.push(float);
        let mut quantizer = vec![real.as_str()];
        quantizer.extend(old.input.get(shape.output..)?.iter().take(2).map(String::as_str));
        twin.nodes.push(node("QuantizeLinear", &format!("{name}.quantize"), &quantizer, old.output.first()?));
        Some(twin)
    }

    /// The name of a tensor's real numbers.
    fn dequantized(&mut self, old: &NodeProto, position: usize, known: &Constants) -> Option<String> {
        let name = format!("{}.input{position}", node_name(old));
        let tensor = old.input.get(position..)?;
        let tensor = &tensor[..tensor.len().min(3)];
        if let Some(weights) = known.get(&tensor[0]) {
            let scale = floats(known.get(tensor.get(1)?)?)?;
            let zero_point = match tensor.get(2).filter(|name| !name.is_empty()) {
                Some(name) => integers(known.get(name)?)?,
                None => vec![0],
            };
            let transposed = attribute(old, "transB").is_some_and(|attribute| attribute.i != 0);
            let axis = if old.op_type == "QLinearConv" || transposed { 0 } else { -1 };
            let real = dequantized(weights, &scale, &zero_point, axis)?;
            self.constants.push(TensorProto { name: name.clone(), ..real });
            if axis == 0 || scale.len() == 1 {
                self.scales.push((name.clone(), scale));
            }
        } else {
            let inputs: Vec<&str> = tensor.iter().map(String::as_str).collect();
            self.nodes.push(node("DequantizeLinear", &name, &inputs, &name));
        }
        Some(name)
    }

    /// The name of the bias, whose scale is the product of those of input and weights (and of `alpha` in `QGemm`).
    fn bias(&mut self, old: &NodeProto, bias: &TensorProto, known: &Constants) -> Option<String> {
        if bias.data_type != elem::INT32 {
            return None;
        }
        let input_scale = floats(known.get(old.input.get(1)?)?)?;
        let [input_scale] = input_scale[..] else { return None };
        let alpha = attribute(old, "alpha").map_or(1.0, |attribute| attribute.f);
        let weight_scale = floats(known.get(old.input.get(4)?)?)?;
        let scale: Vec<f32> = weight_scale.iter().map(|scale| scale * input_scale * alpha).collect();
        let name = format!("{}.bias", node_name(old));
        let real = dequantized(bias, &scale, &[0], -1)?;
        self.constants.push(TensorProto { name: name.clone(), ..real });
        Some(name)
    }
}

/// Attributes that the float operator does not have.
fn is_foreign(name: &str, shape: &Shape) -> bool {
    matches!(name, "channels_last" | "opset") || shape.op == "QLinearMatMul"
}
