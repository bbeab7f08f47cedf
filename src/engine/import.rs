//! From a protobuf to what runs: what can be lowered becomes programs; tract reads and simplifies what is left.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use tract_onnx::{
    Onnx,
    pb::{ModelProto, TensorShapeProto, tensor_shape_proto, type_proto::Value},
    prelude::*,
    tract_hir::infer::Factoid,
};

use super::{
    Settings, TensorSpec, blocks,
    body::{self, Body},
    external, fake_quantize,
    kernels::Kernels,
    lower::{self, Blueprint, Lowered, Port},
    op::{self, ProgramOp},
    preflight,
    proto::{Graph, elem, element_type},
    requantize, rewrite,
};
use crate::guard::guarded;

/// A model that can run.
pub(super) struct Imported {
    pub(super) body: Body,
    /// The input's name, its four dimensions, and the element type in the file.
    pub(super) input: (String, [usize; 4], i32),
    pub(super) outputs: Vec<TensorSpec>,
    pub(super) lowered: Summary,
}

/// How much of a model was lowered.
#[derive(Debug, Default)]
pub(super) struct Summary {
    pub(super) programs: usize,
    pub(super) int8_convolutions: usize,
    /// The operators that are left to tract, each with a reason.
    pub(super) left: Vec<(String, String)>,
}

/// Makes what runs out of the protobuf, which is gone when this returns. `folder` is where external weights lie; without
/// `kernels` all is left to tract.
pub(super) fn import(
    mut proto: ModelProto,
    folder: &Path,
    metadata: &BTreeMap<String, String>,
    settings: &Settings,
    kernels: Option<&'static Kernels>,
    threads: usize,
) -> Result<Imported> {
    let opset = preflight::opset(&proto)?;
    let mut graph = proto.graph.take().ok_or_else(|| anyhow!("it holds no graph; export it again"))?;
    external::load(&mut graph, folder)?;
    preflight::check_graph(&graph)?;
    let mut graph = Graph::new(graph)?;
    preflight::check_scales(&graph)?;
    let input = resolve_input(&mut graph, metadata, settings)?;
    let outputs: Vec<(String, i32)> =
        graph.outputs.iter().map(|output| (output.name.clone(), element_type(output))).collect();
    rewrite::rewrite(&mut graph);
    let Some(kernels) = kernels else {
        let (graph, outputs) = within_tract(|| typed(proto, graph, &outputs))?;
        let body = within_tract(|| Body::of_graph(graph, threads))?;
        return Ok(Imported { body, input, outputs, lowered: Summary::default() });
    };
    let port = Port { name: input.0.clone(), dims: input.1.to_vec() };
    let mut shapes = Shapes { proto: &proto, found: None };
    let Lowered { mut blueprints, int8_convolutions, left } =
        lower::lower(&mut graph, &port, (opset, kernels), &mut |graph, name| shapes.of(graph, name));
    let lowered = Summary { programs: blueprints.len(), int8_convolutions, left };
    for blueprint in &blueprints {
        preflight::check_size(&[blueprint.arena_len as i64], elem::UINT8)
            .map_err(|cause| anyhow!("it needs memory for which it {cause}; export it with a smaller size"))?;
    }
    if let Some(outputs) = whole(&graph, &blueprints, &outputs) {
        let blueprint = blueprints.remove(0);
        let places = outputs.iter().map(|(spec, index)| (spec.shape.clone(), *index)).collect();
        let steps = body::step_times(&blueprint.steps);
        let body = Body::Program { program: Box::new(blueprint.build(kernels, threads)?), steps, outputs: places };
        let outputs = outputs.into_iter().map(|(spec, _)| spec).collect();
        return Ok(Imported { body, input, outputs, lowered });
    }
    let (graph, outputs) = within_tract(|| typed(proto, graph, &outputs))?;
    let mut blueprints: Vec<Option<Blueprint>> = blueprints.into_iter().map(Some).collect();
    for op in graph.nodes().iter().filter_map(|node| node.op_as::<ProgramOp>()) {
        let blueprint = blueprints.get_mut(op.number).and_then(Option::take);
        op.fill(blueprint.context("a program stands in the graph twice")?.build(kernels, threads)?);
    }
    Ok(Imported { body: within_tract(|| Body::of_graph(graph, threads))?, input, outputs, lowered })
}

/// The outputs of a model that is one program and nothing else, each with the program's output that it is.
fn whole(graph: &Graph, blueprints: &[Blueprint], outputs: &[(String, i32)]) -> Option<Vec<(TensorSpec, usize)>> {
    let ([blueprint], [_]) = (blueprints, graph.nodes.as_slice()) else { return None };
    let spec = |(name, element): &(String, i32)| {
        let index = blueprint.outputs.iter().position(|(port, _)| port.name == *name)?;
        let shape = blueprint.outputs[index].0.dims.clone();
        Some((TensorSpec { name: name.clone(), shape, element: elem::name(*element) }, index))
    };
    outputs.iter().map(spec).collect()
}

/// tract's own form of the graph, simplified, and its outputs.
pub(super) fn typed(
    mut proto: ModelProto,
    mut graph: Graph,
    outputs: &[(String, i32)],
) -> Result<(TypedModel, Vec<TensorSpec>)> {
    rewrite::compute_on_whole_numbers(&mut graph);
    let reader = reader();
    preflight::check_operators(&graph, &reader.op_register)?;
    for output in &mut graph.outputs {
        output.r#type = None;
    }
    proto.graph = Some(graph.into_proto());
    let mut model = reader.parse(&proto, None).map_err(not_understood)?.model;
    drop(proto);
    model.analyse(false).map_err(not_understood)?;
    check_sizes(&model)?;
    let mut graph = model.into_typed().map_err(not_understood)?;
    blocks::split_sums(&mut graph).map_err(not_understood)?;
    let graph = graph.into_decluttered().map_err(not_understood)?;
    ensure!(graph.inputs.len() == 1, "its outputs do not depend on its input; export it again");
    check_closed(&graph)?;
    let spec = |(index, (name, element)): (usize, &(String, i32))| {
        let fact = graph.output_fact(index)?;
        let shape = fact.shape.as_concrete().context("an output's shape is open")?.to_vec();
        Ok(TensorSpec { name: name.clone(), shape, element: elem::name(*element) })
    };
    let outputs = outputs.iter().enumerate().map(spec).collect::<Result<_>>()?;
    Ok((graph, outputs))
}

fn reader() -> Onnx {
    let mut reader = tract_onnx::onnx().with_ignore_value_info(true);
    reader.op_register.insert(rewrite::FAKE_QUANTIZE, fake_quantize::build);
    reader.op_register.insert(rewrite::REQUANTIZE, requantize::build);
    reader.op_register.insert(lower::PROGRAM, op::build);
    reader
}

/// The dimensions of tensors of floats that tract finds out about, when somebody asks for them.
pub(super) struct Shapes<'a> {
    /// The model without its graph.
    pub(super) proto: &'a ModelProto,
    pub(super) found: Option<HashMap<String, Vec<usize>>>,
}

impl Shapes<'_> {
    pub(super) fn of(&mut self, graph: &Graph, name: &str) -> Option<Vec<usize>> {
        let found = self.found.get_or_insert_with(|| all_shapes(self.proto, graph));
        found.get(name).cloned()
    }
}

/// The dimensions of all tensors of floats that tract can tell.
pub(super) fn all_shapes(proto: &ModelProto, graph: &Graph) -> HashMap<String, Vec<usize>> {
    within_tract(|| infer(proto, graph)).unwrap_or_default()
}

/// The shapes of all tensors of floats that tract can tell.
fn infer(proto: &ModelProto, graph: &Graph) -> TractResult<HashMap<String, Vec<usize>>> {
    let mut graph = graph.clone();
    for output in &mut graph.outputs {
        output.r#type = None;
    }
    let proto = ModelProto { graph: Some(graph.into_proto()), ..proto.clone() };
    let parsed = reader().parse(&proto, None)?;
    let (mut model, outlets) = (parsed.model, parsed.outlets_by_name);
    model.analyse(true)?;
    let dims = |outlet: OutletId| {
        let fact = model.outlet_fact(outlet).ok()?;
        // Programs take floats and nothing else.
        let shape = fact.shape.concretize().filter(|_| fact.datum_type.concretize() == Some(f32::datum_type()))?;
        shape.iter().map(|dim| usize::try_from(dim.to_i64().ok()?).ok()).collect::<Option<Vec<usize>>>()
    };
    Ok(outlets.into_iter().filter_map(|(name, outlet)| Some((name, dims(outlet)?))).collect())
}

/// Runs what may panic inside tract: what it panics about it did not understand either.
fn within_tract<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    guarded(|| Ok(work())).unwrap_or_else(|cause| Err(not_understood(cause)))
}

/// What tract says, cut to a length that can be read, with what to do.
pub(super) fn not_understood(cause: TractError) -> anyhow::Error {
    const LEN_MAX: usize = 300;
    let mut text = format!("{cause:#}");
    if let Some((end, _)) = text.char_indices().nth(LEN_MAX) {
        text.truncate(end);
        text.push('…');
    }
    anyhow!("it cannot be run ({text}); export it again, with fixed sizes and opset 17")
}

/// Finds the picture among the inputs, decides what the file leaves open, and writes it into the graph.
pub(super) fn resolve_input(
    graph: &mut Graph,
    metadata: &BTreeMap<String, String>,
    settings: &Settings,
) -> Result<(String, [usize; 4], i32)> {
    let [input] = graph.inputs.as_mut_slice() else {
        let names: Vec<&str> = graph.inputs.iter().map(|input| input.name.as_str()).collect();
        bail!("it has {} inputs ({}), not one picture; it is no YOLO", names.len(), names.join(", "));
    };
    let kind = element_type(input);
    ensure!(
        matches!(kind, elem::FLOAT | elem::FLOAT16 | elem::BFLOAT16 | elem::DOUBLE | elem::UINT8),
        "its input {:?} holds {}, not a picture; it is no YOLO",
        input.name,
        elem::name(kind)
    );
    let Some(Value::TensorType(tensor)) = input.r#type.as_mut().and_then(|kind| kind.value.as_mut()) else {
        bail!("its input {:?} has no type; export it again", input.name);
    };
    let dims: Vec<Option<i64>> = tensor.shape.iter().flat_map(|shape| &shape.dim).map(known_dim).collect();
    let shape = decide(&dims, metadata, settings)?;
    preflight::check_size(&shape.map(|dim| dim as i64), elem::FLOAT)
        .map_err(|cause| anyhow!("its input {:?} {cause}; export it with a smaller size", input.name))?;
    let dim = |dim: usize| tensor_shape_proto::Dimension {
        value: Some(tensor_shape_proto::dimension::Value::DimValue(dim as i64)),
        ..Default::default()
    };
    tensor.shape = Some(TensorShapeProto { dim: shape.iter().copied().map(dim).collect() });
    Ok((input.name.clone(), shape, kind))
}

/// One picture of a known size, from what the file has: `None` where it leaves a dimension open.
fn decide(dims: &[Option<i64>], metadata: &BTreeMap<String, String>, settings: &Settings) -> Result<[usize; 4]> {
    let &[batch, channels, height, width] = dims else {
        bail!("its input has {} dimensions, not 1×3×height×width; it is no YOLO", dims.len());
    };
    let stated = settings.input_size.map(|size| size.map(|side| side as i64));
    let written = metadata.get("imgsz").and_then(|text| parse_size(text));
    let channels = channels.or_else(|| metadata.get("channels")?.trim().parse().ok()).unwrap_or(3);
    if !matches!(channels, 1 | 3) {
        let hint = if dims[3] == Some(3) { ", pictures must come as planes (NCHW): export it so" } else { "" };
        bail!("its input has {channels} channels, not 3 or 1{hint}; it is no YOLO for cameras");
    }
    let batch = batch.unwrap_or(1);
    ensure!(batch == 1, "it takes {batch} pictures at once; export it with batch=1");
    let side = |open: Option<i64>, axis: usize| {
        let decided = open.or(stated.map(|size| size[axis])).or(written.map(|size| size[axis]));
        let side = decided.ok_or_else(|| anyhow!("it leaves its input size open; state the size of the input"))?;
        if let Some(stated) = stated.filter(|stated| stated[axis] != side) {
            bail!("its input is fixed at {side} pixels, not {}; leave the size out or export it again", stated[axis]);
        }
        ensure!((1..=65_535).contains(&side), "its input has {side} pixels on a side; export it again");
        Ok(side as usize)
    };
    Ok([1, channels as usize, side(height, 0)?, side(width, 1)?])
}

/// `[640, 640]`, or `640`, as Ultralytics writes them: height before width.
fn parse_size(text: &str) -> Option<[i64; 2]> {
    let numbers: Option<Vec<i64>> =
        text.trim_matches(['[', ']', '(', ')', ' ']).split(',').map(|side| side.trim().parse().ok()).collect();
    match numbers?.as_slice() {
        [side] => Some([*side; 2]),
        [height, width] => Some([*height, *width]),
        _ => None,
    }
}

fn known_dim(dim: &tensor_shape_proto::Dimension) -> Option<i64> {
    match &dim.value {
        Some(tensor_shape_proto::dimension::Value::DimValue(value)) if *value > 0 => Some(*value),
        _ => None,
    }
}

/// Refuses graphs whose activations do not fit into memory.
fn check_sizes(model: &InferenceModel) -> Result<()> {
    for node in model.nodes() {
        for output in &node.outputs {
            let Some(shape) = output.fact.shape.concretize() else { continue };
            let dims: Option<Vec<i64>> = shape.iter().map(|dim| dim.to_i64().ok()).collect();
            if let Some(dims) = dims {
                preflight::check_size(&dims, elem::FLOAT)
                    .map_err(|cause| anyhow!("node {:?} {cause}; export it with a smaller size", node.name))?;
            }
        }
    }
    Ok(())
}

/// Refuses graphs in which the size of a tensor depends on the picture, as with a built-in non-maximum suppression:
/// nothing could be planned ahead, and tract cuts such tensors wrongly.
fn check_closed(graph: &TypedModel) -> Result<()> {
    for node in graph.eval_order()?.into_iter().map(|id| graph.node(id)) {
        if let Some(output) = node.outputs.iter().find(|output| output.fact.shape.as_concrete().is_none()) {
            bail!(
                "the size of a tensor depends on the picture (node {:?}, {:?}), as with non-maximum suppression inside \
                 the model; export it with nms=False",
                node.name,
                output.fact.shape
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_comes_from_file_user_or_metadata() {
        let none = BTreeMap::new();
        let written = BTreeMap::from([("imgsz".to_owned(), "[480, 640]".to_owned())]);
        let stated = Settings { input_size: Some([320, 416]), ..Settings::default() };
        let open = [None, Some(3), None, None];
        let fixed = [Some(1), Some(3), Some(416), Some(416)];
        assert_eq!(decide(&fixed, &written, &Settings::default()).unwrap(), [1, 3, 416, 416]);
        assert_eq!(decide(&open, &written, &Settings::default()).unwrap(), [1, 3, 480, 640]);
        assert_eq!(decide(&open, &written, &stated).unwrap(), [1, 3, 320, 416]);
        assert!(decide(&open, &none, &Settings::default()).unwrap_err().to_string().contains("state the size"));
        assert!(decide(&fixed, &none, &stated).unwrap_err().to_string().contains("fixed at 416"));
    }

    #[test]
    fn what_is_no_picture_is_refused() {
        let refused = |dims: &[i64]| {
            let dims: Vec<Option<i64>> = dims.iter().copied().map(Some).collect();
            decide(&dims, &BTreeMap::new(), &Settings::default()).unwrap_err().to_string()
        };
        assert!(refused(&[1, 768]).contains("2 dimensions"));
        assert!(refused(&[1, 640, 640, 3]).contains("NCHW"));
        assert!(refused(&[4, 3, 64, 64]).contains("batch=1"));
        assert!(refused(&[1, 3, 64, 1 << 40]).contains("pixels on a side"));
    }

    #[test]
    fn sizes_as_python_writes_them() {
        assert_eq!(parse_size("[640, 480]"), Some([640, 480]));
        assert_eq!(parse_size("640"), Some([640, 640]));
        assert_eq!(parse_size("(640, 480)"), Some([640, 480]));
        assert_eq!(parse_size("large"), None);
    }
}
