//! What a file consists of, for `andon inspect`: counted before anything is rewritten.

use std::collections::{BTreeMap, HashMap};

use tract_onnx::pb::{GraphProto, ModelProto, NodeProto};

use super::{Report, preflight};

/// Counts. Inputs, outputs and what runs in int8 are known only after loading.
pub(super) fn of(model: &ModelProto) -> Report {
    let mut report = Report {
        opset: preflight::opset(model).unwrap_or_default(),
        ir_version: model.ir_version,
        producer: [&model.producer_name, &model.producer_version].map(|part| part.trim()).join(" ").trim().to_owned(),
        ..Report::default()
    };
    let Some(graph) = &model.graph else { return report };
    for node in &graph.node {
        let domain = if matches!(node.domain.as_str(), "" | "ai.onnx") { "" } else { &node.domain };
        let name = if domain.is_empty() { node.op_type.clone() } else { format!("{domain}:{}", node.op_type) };
        *report.operators.entry(name).or_default() += 1;
    }
    report.convolutions = graph.node.iter().filter(|node| is_convolution(&node.op_type)).count();
    report.quantization = quantization(graph).to_owned();
    report
}

fn is_convolution(op: &str) -> bool {
    matches!(op, "Conv" | "ConvInteger" | "QLinearConv" | "ConvTranspose")
}

fn quantization(graph: &GraphProto) -> &'static str {
    let any = |is: &dyn Fn(&NodeProto) -> bool| graph.node.iter().any(is);
    let producers: HashMap<&str, &str> = graph
        .node
        .iter()
        .flat_map(|node| node.output.iter().map(|out| (out.as_str(), node.op_type.as_str())))
        .collect();
    let is_dequantized = |name: &String| producers.get(name.as_str()).is_some_and(|op| *op == "DequantizeLinear");
    let qoperator = any(&|node| node.op_type.starts_with("QLinear") || node.op_type == "QGemm");
    let dynamic =
        any(&|node| matches!(node.op_type.as_str(), "ConvInteger" | "MatMulInteger" | "DynamicQuantizeLinear"));
    let qdq = any(&|node| {
        matches!(node.op_type.as_str(), "Conv" | "ConvTranspose" | "MatMul" | "Gemm")
            && node.input.iter().take(2).any(is_dequantized)
    });
    match (qoperator, dynamic, qdq) {
        (false, false, false) => "float",
        (true, false, false) => "QOperator",
        (false, true, false) => "dynamic",
        (false, false, true) => "QDQ",
        _ => "mixed",
    }
}

/// The exporter's metadata.
pub(super) fn metadata(model: &ModelProto) -> BTreeMap<String, String> {
    model.metadata_props.iter().map(|entry| (entry.key.clone(), entry.value.clone())).collect()
}
