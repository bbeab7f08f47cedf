//! Brings every way to quantize an ONNX graph into one: float operators between tensors that are rounded to the numbers
//! that int8 can hold.
//!
//! - half floats become floats ([`float_for_half`]);
//! - dynamic quantization (`ConvInteger`) becomes float with dequantized weights ([`dynamic`]): it has no ranges to keep;
//! - integer operators (`QLinearConv`, …) become their float twins between `DequantizeLinear` and `QuantizeLinear`
//!   ([`qoperator`]);
//! - integer constants become floats, and a `QuantizeLinear` with its `DequantizeLinear`s becomes one operator that
//!   clamps and rounds ([`qdq`]);
//! - convolutions between such operators that are left to tract compute on whole numbers ([`whole`]).
//!
//! Works on the protobuf, before tract sees it, since tract runs what is left here slowly, differently or not at all.
//! A pattern that is not recognised stays as it is.

mod dynamic;
mod qdq;
mod qoperator;
mod whole;

use std::collections::HashMap;

use tract_onnx::pb::{NodeProto, TensorProto, ValueInfoProto, type_proto::Value};

use super::proto::{Graph, elem, float_tensor, floats};

pub(super) use qdq::FAKE_QUANTIZE;
pub(super) use whole::REQUANTIZE;

/// Brings the graph into the one form.
pub(super) fn rewrite(graph: &mut Graph) {
    float_for_half(graph);
    dynamic::to_float(graph);
    qoperator::to_float(graph);
    qdq::fold_constants(graph);
    qdq::round_in_place(graph);
    bypass_identities(graph);
    graph.sweep();
}

/// Makes floats of what holds weights in fewer bits, and leaves the rest as it is.
pub(super) fn to_floats(graph: &mut Graph) {
    float_for_half(graph);
    dynamic::to_float(graph);
    qdq::fold_constants(graph);
    bypass_identities(graph);
    graph.sweep();
}

/// Lets tract compute the convolutions that are left between quantizers on whole numbers.
pub(super) fn compute_on_whole_numbers(graph: &mut Graph) {
    whole::lower(graph);
    graph.sweep();
}

/// Lets everything read what an `Identity` reads.
pub(super) fn bypass_identities(graph: &mut Graph) {
    let mut origin: HashMap<String, String> = HashMap::new();
    for node in &mut graph.nodes {
        for input in &mut node.input {
            if let Some(name) = origin.get(input) {
                input.clone_from(name);
            }
        }
        if node.op_type == "Identity" {
            origin.insert(node.output[0].clone(), node.input[0].clone());
        }
    }
}

/// Computes in `f32` what the file computes in 16 bits: no processor here is faster in half floats through tract, and
/// none is less exact in `f32`.
fn float_for_half(graph: &mut Graph) {
    let is_half = |kind: i32| kind == elem::FLOAT16 || kind == elem::BFLOAT16;
    for constant in graph.constants.values_mut().filter(|constant| is_half(constant.data_type)) {
        widen(constant);
    }
    for attribute in graph.nodes.iter_mut().flat_map(|node| &mut node.attribute) {
        if attribute.name == "to" && is_half(attribute.i as i32) {
            attribute.i = i64::from(elem::FLOAT);
        }
        if let Some(constant) = attribute.t.as_mut().filter(|constant| is_half(constant.data_type)) {
            widen(constant);
        }
    }
    let type_of = |info: &mut ValueInfoProto| match &mut info.r#type.as_mut()?.value {
        Some(Value::TensorType(tensor)) if is_half(tensor.elem_type) => {
            tensor.elem_type = elem::FLOAT;
            Some(())
        }
        _ => None,
    };
    graph.inputs.iter_mut().chain(&mut graph.outputs).for_each(|info| {
        type_of(info);
    });
}

fn widen(constant: &mut TensorProto) {
    if let Some(values) = floats(constant) {
        *constant = float_tensor(&constant.name, &constant.dims, &values);
    }
}

/// Replaces the nodes whose index is in `replaced`, in place, and drops those that become nothing.
fn replace(nodes: &mut Vec<NodeProto>, mut replacement: impl FnMut(usize, NodeProto) -> Vec<NodeProto>) {
    let old = std::mem::take(nodes);
    nodes.extend(old.into_iter().enumerate().flat_map(|(index, node)| replacement(index, node)));
}
