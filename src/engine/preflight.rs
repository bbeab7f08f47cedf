//! What must hold of a file before tract sees it: sizes that agree and fit into memory, operators that exist.
//!
//! tract trusts what a file declares; what a damaged or hostile one declares ends here, with the name of the object.

use anyhow::{Context, Result, anyhow, bail, ensure};
use tract_onnx::{
    model::OnnxOpRegister,
    pb::{GraphProto, ModelProto, NodeProto, TensorProto, attribute_proto::AttributeType},
};

use super::proto::{Graph, elem, element_count, floats, integers, node_name};

/// A larger tensor is refused, constants and activations alike.
pub(super) const TENSOR_BYTES_MAX: usize = 1 << 30;
/// YOLO has a few hundred to some thousand nodes.
const NODES_MAX: usize = 20_000;
/// Kernels, strides, dilations and pads beyond this are damage.
const WINDOW_MAX: i64 = 65_535;

/// The version of the default operator set.
pub(super) fn opset(model: &ModelProto) -> Result<i64> {
    let default = |domain: &str| domain.is_empty() || domain == "ai.onnx";
    let opset = model.opset_import.iter().find(|opset| default(&opset.domain)).map(|opset| opset.version);
    let opset = opset.context("it names no version of the operator set; export it again")?;
    ensure!((7..=30).contains(&opset), "operator set {opset} is not known; export it with opset 11 to 20");
    Ok(opset)
}

/// Checks constants and attributes of the graph and of those inside it.
pub(super) fn check_graph(graph: &GraphProto) -> Result<()> {
    ensure!(graph.node.len() <= NODES_MAX, "it has {} nodes, more than {NODES_MAX}; simplify it", graph.node.len());
    graph.initializer.iter().try_for_each(check_constant)?;
    for node in &graph.node {
        ensure!(
            !node.op_type.starts_with("Andon"),
            "operator {} (node {:?}) is not supported; export the model without it",
            node.op_type,
            node_name(node)
        );
        ensure!(!node.output.is_empty(), "node {:?} has no output; export it again", node_name(node));
        for attribute in &node.attribute {
            attribute.t.iter().chain(&attribute.tensors).try_for_each(check_constant)?;
            attribute.g.iter().chain(&attribute.graphs).try_for_each(check_graph)?;
        }
        check_window(node)?;
        check_axes(node)?;
    }
    Ok(())
}

/// Checks that every operator exists and that no constant asks for an absurd tensor.
pub(super) fn check_operators(graph: &Graph, known: &OnnxOpRegister) -> Result<()> {
    for node in &graph.nodes {
        if !known.0.contains_key(&node.op_type) {
            bail!(
                "operator {} (node {:?}) is not supported; export the model without it, or with another opset",
                node.op_type,
                node_name(node)
            );
        }
        let sizes = match node.op_type.as_str() {
            "ConstantOfShape" | "OneHot" | "Range" => 0..3,
            "Expand" | "Tile" => 1..2,
            "Resize" => 3..4,
            _ => continue,
        };
        let constants = node.input.get(sizes.start..sizes.end.min(node.input.len())).into_iter().flatten();
        for sizes in constants.filter_map(|name| graph.constants.get(name)).filter_map(integers) {
            let sizes: Vec<i64> = sizes.iter().map(|size| (*size).max(1)).collect();
            check_size(&sizes, elem::FLOAT)
                .map_err(|cause| anyhow!("node {:?} {cause}; export it again", node_name(node)))?;
        }
    }
    Ok(())
}

/// Checks that the scales of quantizers are numbers that anything can be divided by.
pub(super) fn check_scales(graph: &Graph) -> Result<()> {
    for node in &graph.nodes {
        let op = node.op_type.as_str();
        let positions: Vec<usize> = match op {
            "QuantizeLinear" | "DequantizeLinear" => vec![1],
            "QLinearConv" | "QLinearMatMul" | "QLinearAdd" | "QLinearMul" => vec![1, 4, 6],
            "QLinearConcat" => [0].into_iter().chain((3..node.input.len()).step_by(3)).collect(),
            "QGemm" => vec![1, 4, 7],
            _ if op.starts_with("QLinear") => vec![1, 3],
            _ => continue,
        };
        let constants = positions.iter().filter_map(|at| graph.constants.get(node.input.get(*at)?));
        for scales in constants.filter_map(floats) {
            if let Some(scale) = scales.iter().find(|scale| !(scale.is_finite() && **scale > 0.0)) {
                bail!("node {:?} has the scale {scale}; it is damaged, quantize it again", node_name(node));
            }
        }
    }
    Ok(())
}

/// Checks that a tensor fits into memory, and returns the number of its elements.
pub(super) fn check_size(dims: &[i64], kind: i32) -> Result<usize> {
    let bytes = element_count(dims).and_then(|count| count.checked_mul(elem::size(kind).unwrap_or(8)));
    match bytes {
        Some(bytes) if bytes <= TENSOR_BYTES_MAX => Ok(bytes / elem::size(kind).unwrap_or(8)),
        _ => bail!("declares a tensor of the size {dims:?}, more than {} MiB", TENSOR_BYTES_MAX >> 20),
    }
}

fn check_constant(tensor: &TensorProto) -> Result<()> {
    let name = &tensor.name;
    ensure!(
        elem::size(tensor.data_type).is_some() || tensor.data_type == elem::STRING,
        "constant {name:?} has the type {}, which is not supported; export it as float or int8",
        tensor.data_type
    );
    ensure!(tensor.dims.len() <= 8, "constant {name:?} has {} dimensions; export it again", tensor.dims.len());
    let count = check_size(&tensor.dims, tensor.data_type)
        .map_err(|cause| anyhow!("constant {name:?} {cause}; export it again"))?;
    let held = match elem::size(tensor.data_type) {
        Some(size) if !tensor.raw_data.is_empty() => {
            tensor.raw_data.len().is_multiple_of(size).then(|| tensor.raw_data.len() / size)
        }
        _ => match tensor.data_type {
            elem::FLOAT => Some(tensor.float_data.len()),
            elem::DOUBLE => Some(tensor.double_data.len()),
            elem::INT64 => Some(tensor.int64_data.len()),
            elem::UINT32 | elem::UINT64 => Some(tensor.uint64_data.len()),
            elem::STRING => Some(tensor.string_data.len()),
            _ => Some(tensor.int32_data.len()),
        },
    };
    ensure!(
        held == Some(count),
        "constant {name:?} should have {count} numbers but holds {}; it is damaged, copy or export it again",
        held.map_or("a fraction".to_owned(), |held| held.to_string())
    );
    Ok(())
}

fn check_window(node: &NodeProto) -> Result<()> {
    for attribute in &node.attribute {
        let lowest = match attribute.name.as_str() {
            "kernel_shape" | "strides" | "dilations" | "group" | "block_size" | "blocksize" => 1,
            "pads" | "output_padding" if node.op_type != "Pad" => 0,
            _ => continue,
        };
        let lowest = if attribute.name == "block_size" { 0 } else { lowest };
        let is_list = attribute.r#type == AttributeType::Ints as i32;
        let values = if is_list { attribute.ints.as_slice() } else { std::slice::from_ref(&attribute.i) };
        if let Some(value) = values.iter().find(|value| !(lowest..=WINDOW_MAX).contains(value)) {
            bail!("node {:?} has {value} in {}; it is damaged, export it again", node_name(node), attribute.name);
        }
    }
    Ok(())
}

fn check_axes(node: &NodeProto) -> Result<()> {
    const RANK_MAX: i64 = 8;
    let wrong = |attribute: &str| {
        anyhow!("node {:?} has an impossible {attribute}; it is damaged, export it again", node_name(node))
    };
    for attribute in &node.attribute {
        let is_within = |axis: &i64| (-RANK_MAX..RANK_MAX).contains(axis);
        match attribute.name.as_str() {
            "perm" => {
                let mut sorted = attribute.ints.clone();
                sorted.sort_unstable();
                ensure!((0..).zip(&sorted).all(|(index, axis)| index == *axis), wrong("perm"));
            }
            "axis" => ensure!(is_within(&attribute.i), wrong("axis")),
            "axes" => ensure!(attribute.ints.iter().all(is_within), wrong("axes")),
            _ => {}
        }
    }
    Ok(())
}
