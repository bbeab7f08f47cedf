//! tract reads and simplifies the graph.
//!
//! Ends with a *decluttered* graph: shapes known, constants folded, every operator still one that ONNX knows. That is
//! the stage for a compiler to take its part out of; choosing kernels (`into_optimized`) comes after.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Result, anyhow, bail, ensure};
use tract_onnx::{
    pb::{ModelProto, TensorShapeProto, ValueInfoProto, tensor_shape_proto, type_proto::Value},
    prelude::*,
    tract_hir::infer::Factoid,
};

use super::{
    Settings, blocks, external, fake_quantize, preflight,
    proto::{Graph, elem},
    requantize, rewrite,
};

/// A graph that tract understood.
pub(super) struct Imported {
    /// One input and at least one output, all shapes known.
    pub(super) graph: TypedModel,
    /// The input's name, its four dimensions, and the element type in the file.
    pub(super) input: (String, [usize; 4], i32),
    /// Names of the outputs, and their element types in the file.
    pub(super) outputs: Vec<(String, i32)>,
}

/// Reads the graph out of the protobuf, which is gone when this returns. `folder` is where external weights lie.
pub(super) fn import(
    mut proto: ModelProto,
    folder: &Path,
    metadata: &BTreeMap<String, String>,
    settings: &Settings,
) -> Result<Imported> {
    preflight::opset(&proto)?;
    let mut graph = proto.graph.take().ok_or_else(|| anyhow!("it holds no graph; export it again"))?;
    external::load(&mut graph, folder)?;
    preflight::check_graph(&graph)?;
    let mut graph = Graph::new(graph)?;
    let input = resolve_input(&mut graph, metadata, settings)?;
    let outputs = graph.outputs.iter().map(|output| (output.name.clone(), element_type(output))).collect();
    rewrite::rewrite(&mut graph);

    let mut reader = tract_onnx::onnx().with_ignore_value_info(true);
    reader.op_register.insert(rewrite::FAKE_QUANTIZE, fake_quantize::build);
    reader.op_register.insert(rewrite::REQUANTIZE, requantize::build);
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
    Ok(Imported { graph, input, outputs })
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
fn resolve_input(
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

/// The element type that the file declares; zero where it declares none.
fn element_type(info: &ValueInfoProto) -> i32 {
    match info.r#type.as_ref().and_then(|kind| kind.value.as_ref()) {
        Some(Value::TensorType(tensor)) => tensor.elem_type,
        None => 0,
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
