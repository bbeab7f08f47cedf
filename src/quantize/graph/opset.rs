//! Raises a graph to the operator set in which quantizers have one scale for each channel.
//!
//! From 11 or 12 to 13 four operators say otherwise what they said before; the others mean the same.

use std::collections::HashMap;

use anyhow::{Result, bail, ensure};

use crate::engine::proto::{Graph, NodeProto, attribute, integer_attribute, integer_tensor, node_name};

/// The first operator set with a scale for each channel.
pub(super) const OPSET_MIN: i64 = 13;
/// The first version of the file format that goes with it.
pub(super) const IR_VERSION_MIN: i64 = 7;
/// The first operator set that can be raised without knowing what operators of older ones mean.
const RAISABLE_MIN: i64 = 11;

/// Raises the nodes of a graph, of the operator set `opset`, to at least [`OPSET_MIN`]. `shapes` holds the dimensions of
/// tensors where they are known.
///
/// # Errors
/// Where the operator set is too old, or a node cannot be said in the new one.
pub(super) fn raise(graph: &mut Graph, opset: i64, shapes: &HashMap<String, Vec<usize>>) -> Result<()> {
    if opset >= OPSET_MIN {
        return Ok(());
    }
    ensure!(
        opset >= RAISABLE_MIN,
        "it is of operator set {opset}, in which weights cannot be quantized per channel; export it with opset 13 or \
         later"
    );
    if let Some(node) = graph.nodes.iter().find(|node| node.attribute.iter().any(|attribute| attribute.g.is_some())) {
        bail!("node {:?} has graphs inside; export it with opset 13 or later", node_name(node));
    }
    let mut nodes = graph.nodes.clone();
    for node in &mut nodes {
        match node.op_type.as_str() {
            "Softmax" | "LogSoftmax" | "Hardmax" => keep_axis(node, shapes)?,
            "Squeeze" | "Unsqueeze" | "ReduceSum" => list_as_input(graph, node, "axes"),
            "Split" => list_as_input(graph, node, "split"),
            "Dropout" => node.attribute.retain(|attribute| attribute.name != "ratio"),
            _ => {}
        }
    }
    graph.nodes = nodes;
    Ok(())
}

/// Before 13 all dimensions from the axis on were one row, and the axis was 1 where the node left it out.
fn keep_axis(node: &mut NodeProto, shapes: &HashMap<String, Vec<usize>>) -> Result<()> {
    let axis = attribute(node, "axis").map_or(1, |axis| axis.i);
    let rank = node.input.first().and_then(|name| shapes.get(name)).map(|dims| dims.len() as i64);
    if axis == -1 || rank.is_some_and(|rank| axis == rank - 1) {
        node.attribute.retain(|attribute| attribute.name != "axis");
        node.attribute.push(integer_attribute("axis", -1));
        return Ok(());
    }
    bail!(
        "node {:?} is a {} over several dimensions, as before operator set 13; export it with opset 13 or later",
        node_name(node),
        node.op_type
    )
}

/// What was an attribute is the second input.
fn list_as_input(graph: &mut Graph, node: &mut NodeProto, name: &str) {
    let Some(list) = attribute(node, name).map(|attribute| attribute.ints.clone()) else { return };
    node.attribute.retain(|attribute| attribute.name != name);
    // Two nodes may have one name, two tensors may not.
    let constant = graph.free_name(format!("{}.{name}", node.output[0]));
    let tensor = integer_tensor(&constant, &[list.len() as i64], &list);
    graph.constants.insert(constant.clone(), tensor);
    node.input.truncate(1);
    node.input.push(constant);
}
