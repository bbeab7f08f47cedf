//! The tail of an end-to-end head, which picks the best detections out of all anchors, as one step.
//!
//! Ultralytics exports it as ReduceMax over the classes, TopK of the anchors, GatherElements of their scores, TopK of
//! those, and GatherElements of the boxes. The pattern is recognised as a whole or not at all.

use std::collections::{HashMap, HashSet};

use tract_onnx::pb::NodeProto;

use super::{
    super::{
        program::{self, Element, Scores, TopDetections},
        proto::{Graph, attribute, elem, integers, node_name, reads},
    },
    Refused,
    attributes::{axis, int, ints},
    demand::Form,
    draft::Target,
    node::Lowering,
    tensor::Tensor,
    value::{Kind, ValueId},
};

/// The nodes of a tail, and what it reads.
pub(super) struct Tail {
    /// All nodes by index, the last included.
    pub(super) nodes: HashSet<usize>,
    /// The node that makes the detections.
    pub(super) last: usize,
    /// `[1, anchors, classes]`
    scores: String,
    /// `[1, anchors, coordinates]`
    boxes: String,
    count: usize,
    classes: usize,
}

impl Tail {
    /// The tail of a graph that has one.
    pub(super) fn find(graph: &Graph) -> Option<Self> {
        let finder = Finder { graph, producers: graph.producers() };
        (0..graph.nodes.len()).rev().find_map(|last| finder.tail(last))
    }
}

struct Finder<'a> {
    graph: &'a Graph,
    producers: HashMap<&'a str, usize>,
}

impl<'a> Finder<'a> {
    /// The node that makes an input, where it is such an operator.
    fn above(&self, node: usize, input: usize, op: &str) -> Option<usize> {
        let name = self.graph.nodes[node].input.get(input)?;
        let index = *self.producers.get(name.as_str())?;
        (self.graph.nodes[index].op_type == op).then_some(index)
    }

    fn node(&self, index: usize) -> &'a NodeProto {
        &self.graph.nodes[index]
    }

    fn constant(&self, node: usize, input: usize) -> Option<Vec<i64>> {
        integers(self.graph.constants.get(self.node(node).input.get(input)?)?)
    }

    fn tail(&self, last: usize) -> Option<Tail> {
        let node = self.node(last);
        if node.op_type != "Concat" || node.input.len() != 3 || int(node, "axis") != Some(-1) {
            return None;
        }
        let boxes = self.above(last, 0, "GatherElements")?;
        let scores_out = self.above(last, 1, "Unsqueeze")?;
        let cast = self.above(last, 2, "Cast")?;
        let best = self.above(scores_out, 0, "TopK")?;
        let class_out = self.above(cast, 0, "Unsqueeze")?;
        let class = self.above(class_out, 0, "Mod")?;
        let flat = self.above(best, 0, "Flatten").or_else(|| self.above(best, 0, "Reshape"))?;
        let gathered = self.above(flat, 0, "GatherElements")?;
        let tiled = self.above(gathered, 1, "Tile").or_else(|| self.above(gathered, 1, "Expand"))?;
        let index = self.above(tiled, 0, "Unsqueeze")?;
        let anchors = self.above(index, 0, "TopK")?;
        let maxima = self.above(anchors, 0, "ReduceMax")?;
        let box_tiled = self.above(boxes, 1, "Tile").or_else(|| self.above(boxes, 1, "Expand"))?;
        let picked = self.above(box_tiled, 0, "Gather")?;
        let rows = self.above(picked, 1, "Div")?;
        let index_flat = self.above(picked, 0, "Flatten").or_else(|| self.above(picked, 0, "Reshape"))?;

        let scores = self.node(gathered).input.first()?;
        let classes = self.constant(class, 1)?;
        let counts = [self.constant(anchors, 1)?, self.constant(best, 1)?];
        let reduced = ints(self.node(maxima), "axes").or_else(|| self.constant(maxima, 1))?;
        let is_first =
            |name: &str, of: usize, output: usize| self.node(of).output.get(output).is_some_and(|out| out == name);
        let holds = self.node(maxima).input.first() == Some(scores)
            && self.node(index_flat).input.first() == self.node(index).output.first()
            && self.node(rows).input.first().is_some_and(|name| is_first(name, best, 1))
            && is_first(&self.node(class).input[0], best, 1)
            && is_first(&self.node(scores_out).input[0], best, 0)
            && is_first(&self.node(index).input[0], anchors, 1)
            && self.constant(rows, 1)? == classes
            && counts[0] == counts[1]
            && counts[0].len() == 1
            && classes.len() == 1
            && matches!(reduced[..], [-1 | 2])
            && int(self.node(maxima), "keepdims") == Some(0)
            && attribute(self.node(cast), "to").is_some_and(|to| to.i == i64::from(elem::FLOAT))
            && [gathered, boxes].iter().all(|gather| int(self.node(*gather), "axis") == Some(1))
            && [anchors, best].iter().all(|top| self.takes_largest_sorted(*top));
        let nodes = HashSet::from([
            last, boxes, scores_out, cast, best, class_out, class, flat, gathered, tiled, index, anchors, maxima,
            box_tiled, picked, rows, index_flat,
        ]);
        let (count, classes) = (usize::try_from(counts[0][0]).ok()?, usize::try_from(classes[0]).ok()?);
        (holds && self.is_closed(&nodes, last) && count > 0 && classes > 0).then(|| Tail {
            nodes,
            last,
            scores: scores.clone(),
            boxes: self.node(boxes).input[0].clone(),
            count,
            classes,
        })
    }

    fn takes_largest_sorted(&self, top: usize) -> bool {
        let node = self.node(top);
        let is_on = |name: &str| int(node, name).is_none_or(|value| value != 0);
        is_on("largest") && is_on("sorted") && int(node, "axis").is_none_or(|at| matches!(axis(at, 2), Ok(1)))
    }

    /// Whether nobody else reads what is computed in between.
    fn is_closed(&self, nodes: &HashSet<usize>, last: usize) -> bool {
        let inner: HashSet<&str> = nodes
            .iter()
            .filter(|index| **index != last)
            .flat_map(|index| &self.node(*index).output)
            .map(String::as_str)
            .collect();
        let read_outside = (0..self.graph.nodes.len())
            .filter(|index| !nodes.contains(index))
            .flat_map(|index| reads(self.node(index)))
            .any(|name| inner.contains(name));
        !read_outside && !inner.iter().any(|name| self.graph.is_output(name))
    }
}

impl<'a> Lowering<'a> {
    /// Takes a whole tail in.
    pub(super) fn tail(&mut self, tail: &Tail) -> Result<(), Refused> {
        let graph = self.graph;
        let node = &graph.nodes[tail.last];
        let known = |name: &str, known: &HashMap<&str, ValueId>| known.get(name).copied();
        let (Some(scores), Some(boxes)) = (known(&tail.scores, &self.known), known(&tail.boxes, &self.known)) else {
            return Err(Refused::new("detections of something else"));
        };
        let dims = self.builder.tape.dims(scores).to_vec();
        let box_dims = self.builder.tape.dims(boxes).to_vec();
        let (&[1, anchors, classes], &[1, box_anchors, box_len]) = (&dims[..], &box_dims[..]) else {
            return Err(Refused::new("detections of other tensors than anchors by classes"));
        };
        if classes != tail.classes || box_anchors != anchors || anchors < tail.count {
            return Err(Refused::new("detections of fewer anchors than are wanted"));
        }
        let boxes = self.builder.demand(boxes, Form::Floats)?;
        let parts = match &self.builder.tape.get(scores).kind {
            Kind::Concat { parts, axis: 1 } => parts.clone(),
            _ => vec![scores],
        };
        let parts = parts.into_iter().map(|part| self.scores(part)).collect::<Result<Vec<_>, Refused>>()?;
        let name = node_name(node).to_owned();
        let output = self.builder.alloc(&[1, tail.count, box_len + 2], &[0, 1, 2], Element::Float, 0);
        let best = self.builder.alloc(&[anchors], &[0], Element::Float, 0).buffer;
        let reads: Vec<usize> = parts.iter().map(|(tensor, _)| tensor.buffer).chain([boxes.buffer, best]).collect();
        let (count, to) = (tail.count, output.clone());
        self.builder.step(&name, 0, &reads, &output, move |layout| {
            let part = |(tensor, values): &(Tensor, Option<super::grid::Values>)| Scores {
                anchors: tensor.dims[1],
                view: layout.view_of(tensor, &[1]),
                values: values.as_ref().map(|values| values.held(layout.kernels.signed)),
            };
            program::Kind::TopDetections(TopDetections {
                scores: parts.iter().map(part).collect(),
                classes,
                boxes: layout.view_of(&boxes, &[1, 2]),
                box_len,
                count,
                output: layout.view_of(&to, &[1, 2]),
                best_at: layout.offsets[best],
            })
        });
        let id = self.fixed(&name, output);
        self.known.insert(&node.output[0], id);
        Ok(())
    }

    /// The scores of some anchors with the classes side by side: codes where larger codes mean higher scores.
    fn scores(&mut self, part: ValueId) -> Result<(Tensor, Option<super::grid::Values>), Refused> {
        let value = self.builder.tape.get(part).clone();
        if let Kind::Bytes { source, moves, values, .. } = &value.kind
            && let Some(values) = values.rising()
        {
            let tensor = self.builder.demand_source(*source, moves, Target::Raw, 0);
            if tensor.strides[2] == 1 {
                return Ok((tensor, Some(values)));
            }
        }
        let tensor = self.builder.demand(part, Form::Floats)?;
        if tensor.strides[2] == 1 {
            return Ok((tensor, None));
        }
        let dense = self.builder.alloc(&value.dims, &[0, 1, 2], Element::Float, 0);
        self.builder.copy(&value.name, &tensor, &dense);
        Ok((dense, None))
    }
}
