//! Which nodes make up which program, and what stands in the graph in their place.
//!
//! Stages count up along the graph. Nodes of even stages are lowered, those of odd stages are left to tract; a node's
//! stage is the first that is not before those of the nodes that it reads from.

use std::collections::{BTreeSet, HashMap, HashSet};

use tract_onnx::pb::{AttributeProto, NodeProto, attribute_proto::AttributeType};

use super::{
    super::proto::{Graph, elem, element_type, reads},
    Blueprint, PROGRAM, Port, Refusals,
};

/// The stage of each node; those in `left` are left to tract.
pub(super) fn sort(graph: &Graph, left: &HashMap<usize, String>) -> Vec<usize> {
    let is_float = |input: &tract_onnx::pb::ValueInfoProto| element_type(input) == elem::FLOAT;
    let first = if graph.inputs.iter().all(is_float) { 0 } else { 1 };
    let mut stage_of: HashMap<&str, usize> = graph.inputs.iter().map(|input| (input.name.as_str(), first)).collect();
    let mut stages = Vec::with_capacity(graph.nodes.len());
    for (index, node) in graph.nodes.iter().enumerate() {
        let latest = reads(node).iter().filter_map(|name| stage_of.get(name)).max().copied().unwrap_or(0);
        let stage = latest + usize::from(latest % 2 != usize::from(left.contains_key(&index)));
        stage_of.extend(node.output.iter().map(|name| (name.as_str(), stage)));
        stages.push(stage);
    }
    stages
}

/// The stages that become programs, in their order.
pub(super) fn programs(stages: &[usize]) -> BTreeSet<usize> {
    stages.iter().copied().filter(|stage| stage % 2 == 0).collect()
}

/// What the nodes of a stage read from outside, as planes; or the nodes that read something else, or of an open size.
pub(super) fn inputs(
    graph: &Graph,
    members: &[usize],
    input: &Port,
    shape_of: &mut dyn FnMut(&Graph, &str) -> Option<Vec<usize>>,
) -> Result<Vec<Port>, Refusals> {
    let own: HashSet<&str> = members.iter().flat_map(|index| &graph.nodes[*index].output).map(String::as_str).collect();
    let mut ports: Vec<Port> = Vec::new();
    let mut refusals = Refusals::new();
    for (index, name) in
        members.iter().flat_map(|index| reads(&graph.nodes[*index]).into_iter().map(|name| (*index, name)))
    {
        if own.contains(name) || graph.constants.contains_key(name) || ports.iter().any(|port| port.name == name) {
            continue;
        }
        let dims = match graph.inputs.iter().find(|input| input.name == name) {
            Some(info) => (name == input.name && element_type(info) == elem::FLOAT).then(|| input.dims.clone()),
            None => shape_of(graph, name),
        };
        match dims {
            Some(dims) if dims.len() == 4 && dims[0] == 1 && !dims.contains(&0) => {
                ports.push(Port { name: name.to_owned(), dims });
            }
            Some(dims) => refusals.push((index, format!("it reads a tensor of the size {dims:?}"))),
            None => refusals.push((index, "the size of what it reads is not known".to_owned())),
        }
    }
    if ports.is_empty() && refusals.is_empty() {
        refusals.extend(members.iter().map(|index| (*index, "it reads nothing but constants".to_owned())));
    }
    if refusals.is_empty() { Ok(ports) } else { Err(refusals) }
}

/// Takes the nodes of programs out of the graph and puts one node in for each program.
pub(super) fn replace(graph: &mut Graph, stages: &[usize], blueprints: &[Blueprint]) {
    let mut order: Vec<usize> = (0..stages.len()).collect();
    order.sort_by_key(|index| stages[*index]);
    let mut old: Vec<Option<NodeProto>> = std::mem::take(&mut graph.nodes).into_iter().map(Some).collect();
    let numbers: HashMap<usize, usize> =
        programs(stages).into_iter().enumerate().map(|(number, stage)| (stage, number)).collect();
    let mut done = HashSet::new();
    for index in order {
        match numbers.get(&stages[index]) {
            Some(number) if done.insert(*number) => graph.nodes.push(node(*number, &blueprints[*number])),
            Some(_) => {}
            None => graph.nodes.extend(old[index].take()),
        }
    }
    graph.sweep();
}

/// The node that stands for a program.
fn node(number: usize, blueprint: &Blueprint) -> NodeProto {
    let mut attribute = vec![AttributeProto {
        name: "index".to_owned(),
        r#type: AttributeType::Int as i32,
        i: number as i64,
        ..AttributeProto::default()
    }];
    attribute.extend(blueprint.outputs.iter().enumerate().map(|(output, (port, _))| AttributeProto {
        name: format!("dims{output}"),
        r#type: AttributeType::Ints as i32,
        ints: port.dims.iter().map(|dim| *dim as i64).collect(),
        ..AttributeProto::default()
    }));
    NodeProto {
        op_type: PROGRAM.to_owned(),
        name: format!("program {number}"),
        input: blueprint.inputs.iter().map(|port| port.name.clone()).collect(),
        output: blueprint.outputs.iter().map(|(port, _)| port.name.clone()).collect(),
        attribute,
        ..NodeProto::default()
    }
}
