//! An ONNX file as a graph of floats, for whoever makes another file of it.
//!
//! What holds weights in fewer bits and no ranges of activations becomes float again; what is quantized with ranges is
//! refused. The graph still says what the file said: operators, names and metadata are the exporter's.

use std::{collections::HashMap, path::Path};

use anyhow::{Context, Result, bail};
use tract_onnx::pb::{GraphProto, ModelProto};

use super::{
    Settings, external, file, import, preflight,
    proto::{Graph, attribute, elem, node_name},
    report, rewrite,
};

/// A model of floats.
#[derive(Clone)]
pub(crate) struct FloatFile {
    /// The model; of its graph nothing but name and description.
    pub(crate) proto: ModelProto,
    /// The version of the default operator set.
    pub(crate) opset: i64,
    /// The graph.
    pub(crate) graph: Graph,
    /// The dimensions of tensors of floats, as far as they can be told.
    pub(crate) shapes: HashMap<String, Vec<usize>>,
}

/// Reads a file, its external weights included.
///
/// # Errors
/// Where it is no ONNX, or quantized in a way that keeps no floats.
pub(crate) fn read(path: &Path) -> Result<FloatFile> {
    let mut proto = file::read(path)?.proto;
    let kind = report::of(&proto).quantization;
    let opset = preflight::opset(&proto)?;
    let mut graph = proto.graph.take().context("it holds no graph; export it again")?;
    external::load(&mut graph, path.parent().unwrap_or(Path::new("")))?;
    preflight::check_graph(&graph)?;
    proto.graph =
        Some(GraphProto { name: graph.name.clone(), doc_string: graph.doc_string.clone(), ..GraphProto::default() });
    let mut graph = Graph::new(graph)?;
    preflight::check_scales(&graph)?;
    rewrite::to_floats(&mut graph);
    check_floats(&graph, &kind)?;
    let shapes = shapes(&proto, &graph);
    let mut file = FloatFile { proto, opset, graph, shapes };
    file.bypass_casts();
    Ok(file)
}

impl FloatFile {
    /// The file with this graph in it.
    pub(crate) fn with_graph(&self, graph: Graph) -> ModelProto {
        let mut proto = self.proto.clone();
        let GraphProto { name, doc_string, .. } = proto.graph.take().unwrap_or_default();
        let name = if name.is_empty() { "yolo".to_owned() } else { name };
        proto.graph = Some(GraphProto { name, doc_string, ..graph.into_proto() });
        proto
    }

    /// Lets everything read floats where they are made, not where a file of half floats converts them.
    fn bypass_casts(&mut self) {
        let to_float = |to: i64| to == i64::from(elem::FLOAT);
        for node in &mut self.graph.nodes {
            let is_float = node.input.first().is_some_and(|name| self.shapes.contains_key(name));
            if node.op_type == "Cast" && is_float && attribute(node, "to").is_some_and(|to| to_float(to.i)) {
                node.op_type = "Identity".to_owned();
                node.attribute.clear();
            }
        }
        rewrite::bypass_identities(&mut self.graph);
        self.graph.sweep();
    }
}

/// Refuses what still computes with whole numbers. `kind` is what the file calls itself.
fn check_floats(graph: &Graph, kind: &str) -> Result<()> {
    let is_quantized = |op: &str| {
        op.starts_with("QLinear")
            || matches!(
                op,
                "QuantizeLinear"
                    | "DequantizeLinear"
                    | "ConvInteger"
                    | "MatMulInteger"
                    | "DynamicQuantizeLinear"
                    | "QGemm"
            )
    };
    let Some(node) = graph.nodes.iter().find(|node| is_quantized(&node.op_type)) else { return Ok(()) };
    if kind == "dynamic" {
        bail!(
            "it is quantized dynamically in a way that is not known (node {:?}); take the float export that it was made \
             from",
            node_name(node)
        );
    }
    bail!("it is quantized already ({kind}); take the float export that it was made from")
}

/// The dimensions of the tensors of floats; none where the size of the input is open and nothing says it.
fn shapes(proto: &ModelProto, graph: &Graph) -> HashMap<String, Vec<usize>> {
    let mut sized = graph.clone();
    let Ok((name, dims, _)) = import::resolve_input(&mut sized, &report::metadata(proto), &Settings::default()) else {
        return HashMap::new();
    };
    let mut shapes = import::all_shapes(proto, &sized);
    shapes.insert(name, dims.to_vec());
    shapes
}
