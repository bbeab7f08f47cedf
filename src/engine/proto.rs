//! ONNX protobuf, made handy: constants as numbers, nodes with attributes, a graph to rewrite.
//!
//! Knows the format only; what is rewritten into what stands in `rewrite`.

use std::collections::{HashMap, HashSet};

use anyhow::{Context, Result, anyhow, bail, ensure};
use tract_onnx::{pb::attribute_proto::AttributeType, prelude::f16};

/// The messages of the format, and how they become bytes and come of them.
pub(crate) use prost::Message;
pub(crate) use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto,
    tensor_shape_proto, type_proto,
};

/// Element types by their numbers in ONNX.
pub(crate) mod elem {
    pub(crate) const FLOAT: i32 = 1;
    pub(crate) const UINT8: i32 = 2;
    pub(crate) const INT8: i32 = 3;
    pub(crate) const UINT16: i32 = 4;
    pub(crate) const INT16: i32 = 5;
    pub(crate) const INT32: i32 = 6;
    pub(crate) const INT64: i32 = 7;
    pub(crate) const STRING: i32 = 8;
    pub(crate) const BOOL: i32 = 9;
    pub(crate) const FLOAT16: i32 = 10;
    pub(crate) const DOUBLE: i32 = 11;
    pub(crate) const UINT32: i32 = 12;
    pub(crate) const UINT64: i32 = 13;
    pub(crate) const BFLOAT16: i32 = 16;

    /// Its name, as NumPy has it.
    pub(crate) fn name(elem: i32) -> &'static str {
        match elem {
            FLOAT => "float32",
            UINT8 => "uint8",
            INT8 => "int8",
            UINT16 => "uint16",
            INT16 => "int16",
            INT32 => "int32",
            INT64 => "int64",
            STRING => "string",
            BOOL => "bool",
            FLOAT16 => "float16",
            DOUBLE => "float64",
            UINT32 => "uint32",
            UINT64 => "uint64",
            BFLOAT16 => "bfloat16",
            _ => "unknown",
        }
    }

    /// Bytes of one element; `None` for texts and for types that are not handled.
    pub(crate) fn size(elem: i32) -> Option<usize> {
        match elem {
            UINT8 | INT8 | BOOL => Some(1),
            UINT16 | INT16 | FLOAT16 | BFLOAT16 => Some(2),
            FLOAT | INT32 | UINT32 => Some(4),
            INT64 | UINT64 | DOUBLE => Some(8),
            _ => None,
        }
    }
}

/// The number of elements of these dimensions; `None` where one is negative or the product overflows.
pub(crate) fn element_count(dims: &[i64]) -> Option<usize> {
    dims.iter().try_fold(1_usize, |count, dim| count.checked_mul(usize::try_from(*dim).ok()?))
}

/// A constant of floating point numbers, as `f32`; `None` for other types.
pub(crate) fn floats(tensor: &TensorProto) -> Option<Vec<f32>> {
    let raw = &tensor.raw_data;
    match tensor.data_type {
        elem::FLOAT if raw.is_empty() => Some(tensor.float_data.clone()),
        elem::FLOAT => Some(raw.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()),
        elem::FLOAT16 if raw.is_empty() => {
            Some(tensor.int32_data.iter().map(|bits| f16::from_bits(*bits as u16).to_f32()).collect())
        }
        elem::FLOAT16 => Some(raw.as_chunks().0.iter().map(|bytes| f16::from_le_bytes(*bytes).to_f32()).collect()),
        elem::BFLOAT16 if raw.is_empty() => {
            Some(tensor.int32_data.iter().map(|bits| f32::from_bits((*bits as u32) << 16)).collect())
        }
        elem::BFLOAT16 => Some(
            raw.as_chunks().0.iter().map(|bytes| f32::from_bits(u32::from(u16::from_le_bytes(*bytes)) << 16)).collect(),
        ),
        elem::DOUBLE if raw.is_empty() => Some(tensor.double_data.iter().map(|value| *value as f32).collect()),
        elem::DOUBLE => Some(raw.as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes) as f32).collect()),
        _ => None,
    }
}

/// A constant of integers; `None` for other types.
pub(crate) fn integers(tensor: &TensorProto) -> Option<Vec<i64>> {
    let raw = &tensor.raw_data;
    match tensor.data_type {
        elem::INT64 if raw.is_empty() => Some(tensor.int64_data.clone()),
        elem::UINT8 | elem::INT8 | elem::UINT16 | elem::INT16 | elem::INT32 if raw.is_empty() => {
            Some(tensor.int32_data.iter().map(|value| i64::from(*value)).collect())
        }
        elem::UINT8 => Some(raw.iter().map(|byte| i64::from(*byte)).collect()),
        elem::INT8 => Some(raw.iter().map(|byte| i64::from(*byte as i8)).collect()),
        elem::UINT16 => Some(raw.as_chunks().0.iter().map(|bytes| i64::from(u16::from_le_bytes(*bytes))).collect()),
        elem::INT16 => Some(raw.as_chunks().0.iter().map(|bytes| i64::from(i16::from_le_bytes(*bytes))).collect()),
        elem::INT32 => Some(raw.as_chunks().0.iter().map(|bytes| i64::from(i32::from_le_bytes(*bytes))).collect()),
        elem::INT64 => Some(raw.as_chunks().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect()),
        _ => None,
    }
}

/// A constant of `f32`.
pub(crate) fn float_tensor(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        data_type: elem::FLOAT,
        dims: dims.to_vec(),
        raw_data: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        ..TensorProto::default()
    }
}

/// A constant of 64-bit integers.
pub(crate) fn integer_tensor(name: &str, dims: &[i64], values: &[i64]) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        data_type: elem::INT64,
        dims: dims.to_vec(),
        raw_data: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        ..TensorProto::default()
    }
}

/// A node.
pub(crate) fn node(op: &str, name: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        op_type: op.to_owned(),
        name: name.to_owned(),
        input: inputs.iter().map(|input| (*input).to_owned()).collect(),
        output: vec![output.to_owned()],
        ..NodeProto::default()
    }
}

/// A node's attribute.
pub(crate) fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute.iter().find(|attribute| attribute.name == name)
}

/// An attribute that holds a float.
pub(crate) fn float_attribute(name: &str, value: f32) -> AttributeProto {
    AttributeProto { name: name.to_owned(), r#type: AttributeType::Float as i32, f: value, ..AttributeProto::default() }
}

/// An attribute that holds an integer.
pub(crate) fn integer_attribute(name: &str, value: i64) -> AttributeProto {
    AttributeProto { name: name.to_owned(), r#type: AttributeType::Int as i32, i: value, ..AttributeProto::default() }
}

/// What a node is called in errors: its name, or its first output's where it has none.
pub(crate) fn node_name(node: &NodeProto) -> &str {
    match node.name.as_str() {
        "" => node.output.first().map_or("", String::as_str),
        name => name,
    }
}

/// The element type that the file declares; zero where it declares none.
pub(crate) fn element_type(info: &ValueInfoProto) -> i32 {
    match info.r#type.as_ref().and_then(|kind| kind.value.as_ref()) {
        Some(type_proto::Value::TensorType(tensor)) => tensor.elem_type,
        None => 0,
    }
}

/// The names that a node reads, those that its subgraphs take from outside included.
pub(crate) fn reads(node: &NodeProto) -> Vec<&str> {
    let mut names: Vec<&str> = node.input.iter().map(String::as_str).filter(|name| !name.is_empty()).collect();
    for graph in node.attribute.iter().flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs)) {
        let own: HashSet<&str> = graph
            .node
            .iter()
            .flat_map(|node| node.output.iter())
            .chain(graph.input.iter().map(|input| &input.name))
            .chain(graph.initializer.iter().map(|constant| &constant.name))
            .map(String::as_str)
            .collect();
        names.extend(graph.node.iter().flat_map(reads).filter(|name| !own.contains(name)));
        names.extend(graph.output.iter().map(|output| output.name.as_str()).filter(|name| !own.contains(name)));
    }
    names
}

/// A graph in the making: constants by name, nodes in an order in which each comes after what it reads.
#[derive(Clone)]
pub(crate) struct Graph {
    /// The nodes.
    pub(crate) nodes: Vec<NodeProto>,
    /// The constants.
    pub(crate) constants: HashMap<String, TensorProto>,
    /// The scales of constants that the file holds as integers: one, or one for each index along the first axis.
    pub(crate) scales: HashMap<String, Vec<f32>>,
    /// The inputs, without those that constants give a value.
    pub(crate) inputs: Vec<ValueInfoProto>,
    /// The outputs.
    pub(crate) outputs: Vec<ValueInfoProto>,
}

impl Graph {
    /// Takes a graph apart. `Constant` nodes become constants.
    pub(crate) fn new(graph: GraphProto) -> Result<Self> {
        ensure!(graph.sparse_initializer.is_empty(), "it holds sparse constants; export it with dense weights");
        let mut constants: HashMap<String, TensorProto> =
            graph.initializer.into_iter().map(|constant| (constant.name.clone(), constant)).collect();
        let mut nodes = Vec::with_capacity(graph.node.len());
        for node in graph.node {
            match constant_of(&node)? {
                Some(constant) => drop(constants.insert(constant.name.clone(), constant)),
                None => nodes.push(node),
            }
        }
        let inputs = graph.input.into_iter().filter(|input| !constants.contains_key(&input.name)).collect();
        let mut graph = Self { nodes, constants, scales: HashMap::new(), inputs, outputs: graph.output };
        graph.sort()?;
        graph.sweep();
        Ok(graph)
    }

    /// The graph as protobuf, without annotations of shapes.
    pub(crate) fn into_proto(self) -> GraphProto {
        let mut initializer: Vec<TensorProto> = self.constants.into_values().collect();
        initializer.sort_by(|a, b| a.name.cmp(&b.name));
        GraphProto { node: self.nodes, initializer, input: self.inputs, output: self.outputs, ..GraphProto::default() }
    }

    /// The index of the node that makes each tensor.
    pub(crate) fn producers(&self) -> HashMap<&str, usize> {
        let outputs = |(index, node): (usize, &'_ NodeProto)| (index, node.output.len());
        self.nodes
            .iter()
            .enumerate()
            .map(outputs)
            .flat_map(|(index, count)| (0..count).map(move |output| (index, output)))
            .map(|(index, output)| (self.nodes[index].output[output].as_str(), index))
            .collect()
    }

    /// The indices of the nodes that read each tensor, one entry for each time.
    pub(crate) fn consumers(&self) -> HashMap<&str, Vec<usize>> {
        let mut consumers: HashMap<&str, Vec<usize>> = HashMap::new();
        for (index, node) in self.nodes.iter().enumerate() {
            for name in reads(node) {
                consumers.entry(name).or_default().push(index);
            }
        }
        consumers
    }

    /// Whether a tensor is an output of the graph.
    pub(crate) fn is_output(&self, name: &str) -> bool {
        self.outputs.iter().any(|output| output.name == name)
    }

    /// A name that no tensor has: this one, or else this one with a number behind.
    pub(crate) fn free_name(&self, first: String) -> String {
        let is_taken = |name: &str| {
            self.constants.contains_key(name)
                || self.inputs.iter().any(|input| input.name == name)
                || self.nodes.iter().any(|node| node.output.iter().any(|output| output == name))
        };
        if !is_taken(&first) {
            return first;
        }
        let mut numbered = (1_usize..).map(|count| format!("{first}_{count}"));
        numbered.find(|name| !is_taken(name)).expect("numbers do not end")
    }

    /// Removes what no output depends on.
    pub(crate) fn sweep(&mut self) {
        let mut needed: HashSet<String> = self.outputs.iter().map(|output| output.name.clone()).collect();
        let mut kept: Vec<NodeProto> = Vec::with_capacity(self.nodes.len());
        for node in self.nodes.drain(..).rev() {
            if node.output.iter().any(|output| needed.contains(output)) {
                needed.extend(reads(&node).into_iter().map(str::to_owned));
                kept.push(node);
            }
        }
        kept.reverse();
        self.nodes = kept;
        self.constants.retain(|name, _| needed.contains(name));
    }

    /// Orders the nodes so that each comes after what it reads, where the file does not.
    fn sort(&mut self) -> Result<()> {
        let mut known: HashSet<String> = self.constants.keys().cloned().collect();
        known.extend(self.inputs.iter().map(|input| input.name.clone()));
        let made: HashSet<&str> = self.nodes.iter().flat_map(|node| &node.output).map(String::as_str).collect();
        for node in &self.nodes {
            if let Some(name) = reads(node).into_iter().find(|name| !made.contains(name) && !known.contains(*name)) {
                bail!("node {:?} reads {name:?}, which nothing makes; export it again", node_name(node));
            }
        }
        for output in &self.outputs {
            let name = output.name.as_str();
            ensure!(made.contains(name) || known.contains(name), "nothing makes the output {name:?}; export it again");
        }
        let mut waiting = std::mem::take(&mut self.nodes);
        while !waiting.is_empty() {
            let before = waiting.len();
            let mut later = Vec::new();
            for node in waiting {
                if reads(&node).iter().all(|name| known.contains(*name)) {
                    for output in node.output.iter().filter(|output| !output.is_empty()) {
                        ensure!(known.insert(output.clone()), "two nodes make {output:?}; export it again");
                    }
                    self.nodes.push(node);
                } else {
                    later.push(node);
                }
            }
            if later.len() == before {
                bail!("node {:?} depends on itself; export it again", node_name(&later[0]));
            }
            waiting = later;
        }
        Ok(())
    }
}

/// The constant that a `Constant` node holds.
fn constant_of(node: &NodeProto) -> Result<Option<TensorProto>> {
    if node.op_type != "Constant" {
        return Ok(None);
    }
    let value = node.attribute.first().with_context(|| anyhow!("node {:?} has no value", node_name(node)))?;
    let name = node.output.first().map_or("", String::as_str);
    Ok(match value.name.as_str() {
        "value" => {
            let tensor = value.t.clone().with_context(|| anyhow!("node {:?} has no value", node_name(node)))?;
            Some(TensorProto { name: name.to_owned(), ..tensor })
        }
        "value_int" => Some(integer_tensor(name, &[], &[value.i])),
        "value_ints" => Some(integer_tensor(name, &[value.ints.len() as i64], &value.ints)),
        "value_float" => Some(float_tensor(name, &[], &[value.f])),
        "value_floats" => Some(float_tensor(name, &[value.floats.len() as i64], &value.floats)),
        _ => None,
    })
}
