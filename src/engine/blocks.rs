//! Long sums of matrix products, taken in blocks.
//!
//! Between quantizers a product of two activations (attention) is a sum of floats, whose last bits depend on the order
//! of adding. Sums of 128 products that are added up afterwards are nearer to the exact sum than one long chain, and are
//! the order of onnxruntime's kernels (`MLAS_SGEMM_STRIDEK`): fewer numbers then fall on the other side of a quantizer's
//! boundary. Graphs without quantizers stay as they are.

use tract_onnx::{
    prelude::*,
    tract_core::{
        internal::*,
        ops::{array::Slice, einsum::EinSum, math::add},
    },
};

use super::requantize::Requantize;

/// Products in one block.
const BLOCK_LEN: usize = 128;

/// Splits the sums of matrix products of a quantized graph.
pub(super) fn split_sums(graph: &mut TypedModel) -> TractResult<()> {
    if !graph.nodes().iter().any(|node| node.op_is::<Requantize>()) {
        return Ok(());
    }
    let found: Vec<usize> = graph.eval_order()?.into_iter().filter(|id| graph.node(*id).op_is::<EinSum>()).collect();
    for id in found {
        if let Some(patch) = split(graph, graph.node(id))? {
            patch.apply(graph)?;
        }
    }
    Ok(())
}

/// The product as a sum of shorter ones; `None` where it is short, or of constants.
fn split(graph: &TypedModel, node: &TypedNode) -> TractResult<Option<TypedModelPatch>> {
    let Some(op) = node.op_as::<EinSum>().filter(|op| op.q_params.is_none() && op.operating_dt == f32::datum_type())
    else {
        return Ok(None);
    };
    let &[a, b] = node.inputs.as_slice() else { return Ok(None) };
    let (a_fact, b_fact) = (graph.outlet_fact(a)?, graph.outlet_fact(b)?);
    if a_fact.konst.is_some() || b_fact.konst.is_some() {
        return Ok(None);
    }
    // The axes that are summed: in both inputs once, not in the output.
    let mut summed = op.axes.iter_all_axes().filter(|axis| axis.outputs[0].is_empty());
    let (Some(axis), None) = (summed.next(), summed.next()) else { return Ok(None) };
    let (&[a_axis], &[b_axis]) = (axis.inputs[0].as_slice(), axis.inputs[1].as_slice()) else { return Ok(None) };
    let Ok(count) = a_fact.shape[a_axis].to_usize() else { return Ok(None) };
    if count <= BLOCK_LEN || b_fact.shape[b_axis].to_usize().ok() != Some(count) {
        return Ok(None);
    }

    let mut patch = TypedModelPatch::default();
    let (a, b) = (patch.tap_model(graph, a)?, patch.tap_model(graph, b)?);
    let mut sum = None;
    for (block, start) in (0..count).step_by(BLOCK_LEN).enumerate() {
        let end = (start + BLOCK_LEN).min(count);
        let name = |part: &str| format!("{}.{part}{block}", node.name);
        let a = patch.wire_node(name("a"), Slice::new(a_axis, start, end), &[a])?[0];
        let b = patch.wire_node(name("b"), Slice::new(b_axis, start, end), &[b])?[0];
        let part = patch.wire_node(name("block"), op.clone(), &[a, b])?[0];
        sum = Some(match sum {
            Some(sum) => patch.wire_node(name("sum"), add(), &[sum, part])?[0],
            None => part,
        });
    }
    let Some(sum) = sum else { return Ok(None) };
    patch.shunt_outside(graph, node.id.into(), sum)?;
    Ok(Some(patch))
}
