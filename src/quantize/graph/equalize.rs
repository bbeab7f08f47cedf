//! Pairs of convolutions between which a factor of each channel can move.

use std::collections::HashMap;

use super::{Convolution, FloatModel};
use crate::engine::proto::attribute;

/// See [`FloatModel::equalizable`].
pub(super) fn pairs(model: &FloatModel) -> Vec<[usize; 2]> {
    let graph = &model.file.graph;
    let consumers = graph.consumers();
    let number_of: HashMap<usize, usize> = model.nodes.iter().enumerate().map(|(conv, node)| (*node, conv)).collect();
    let only_reader = |name: &str| match consumers.get(name).map(Vec::as_slice) {
        Some(&[reader]) if !graph.is_output(name) => Some(reader),
        _ => None,
    };
    let next = |conv: usize| {
        let mut reader = only_reader(&model.convolutions[conv].output)?;
        loop {
            let node = &graph.nodes[reader];
            if let Some(second) = number_of.get(&reader) {
                let Convolution { groups, shape: [outputs, inner, ..], .. } = model.convolutions[*second];
                let has_channels = groups == 1 || (inner == 1 && outputs == groups);
                return has_channels.then_some([conv, *second]);
            }
            // Functions that do the same to each channel, whatever positive factor it has.
            let keeps_factor = match node.op_type.as_str() {
                "Relu" | "LeakyRelu" | "Identity" => true,
                "MaxPool" => node.output.len() == 1,
                "Resize" => attribute(node, "mode").is_none_or(|mode| mode.s == b"nearest"),
                _ => false,
            };
            reader = only_reader(node.output.first().filter(|_| keeps_factor)?)?;
        }
    };
    (0..model.nodes.len()).filter_map(next).collect()
}
