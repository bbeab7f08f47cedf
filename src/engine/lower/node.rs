//! What each operator of ONNX is as a value.

use std::collections::HashMap;

use tract_onnx::pb::NodeProto;

use super::{
    super::{
        fake_quantize::FakeQuantize,
        preflight,
        program::{Binary, Unary},
        proto::{Graph, elem, floats, integers, node_name},
        rewrite::FAKE_QUANTIZE,
    },
    Refused,
    attributes::float,
    builder::Builder,
    conv::{self, Convolution},
    grid::Grid,
    tensor::Tensor,
    value::{Extent, Kind, ValueId},
};

/// Values that are functions of values, and so on, are followed by recursion; YOLO has a dozen.
const DEPTH_MAX: usize = 100;

/// Concatenations of concatenations are followed into all their parts.
pub(super) const PARTS_MAX: usize = 1000;

/// Most dimensions of a tensor, which is what loops over them can take.
pub(super) const RANK_MAX: usize = 8;

/// A graph on its way into a program.
pub(super) struct Lowering<'a> {
    pub(super) graph: &'a Graph,
    /// Version of the operator set.
    pub(super) opset: i64,
    /// The nodes of the program.
    pub(super) members: &'a [usize],
    /// The nodes that read each tensor.
    pub(super) consumers: HashMap<&'a str, Vec<usize>>,
    pub(super) builder: Builder,
    pub(super) known: HashMap<&'a str, ValueId>,
    pub(super) int8_convolutions: usize,
}

impl<'a> Lowering<'a> {
    /// Takes a node in, unless one before has done it already.
    ///
    /// # Errors
    /// Where programs cannot compute it.
    pub(super) fn node(&mut self, node: &'a NodeProto) -> Result<(), Refused> {
        if node.output.iter().all(|name| self.known.contains_key(name.as_str())) {
            return Ok(());
        }
        if !matches!(node.domain.as_str(), "" | "ai.onnx") {
            return Err(Refused::new(format!("an operator of {}", node.domain)));
        }
        self.builder.tape.node = node_name(node).into();
        let ids = match node.op_type.as_str() {
            "Conv" => vec![self.conv(node)?],
            "Split" => self.split(node)?,
            _ => vec![self.single(node)?],
        };
        for (name, id) in node.output.iter().zip(ids) {
            check_dims(self.builder.tape.dims(id))?;
            if self.builder.tape.is_moved_constant(id) {
                return Err(Refused::new("a constant in another order"));
            }
            let Extent { depth, parts } = self.builder.tape.extent(id);
            if depth > DEPTH_MAX || parts > PARTS_MAX {
                return Err(Refused::new("a function of more than can be followed"));
            }
            self.known.insert(name, id);
        }
        Ok(())
    }

    fn single(&mut self, node: &'a NodeProto) -> Result<ValueId, Refused> {
        let op = node.op_type.as_str();
        if let Some(unary) = unary(node, self.graph)? {
            let input = self.input(node, 0)?;
            return Ok(self.builder.tape.unary(input, unary));
        }
        match op {
            "Identity" => self.input(node, 0),
            "Add" => self.binary(node, Binary::Add),
            "Sub" => self.binary(node, Binary::Sub),
            "Mul" => self.binary(node, Binary::Mul),
            "Div" => self.binary(node, Binary::Div),
            "Max" if node.input.len() == 2 => self.binary(node, Binary::Max),
            "Min" if node.input.len() == 2 => self.binary(node, Binary::Min),
            "Concat" => self.concat(node),
            "Slice" => self.slice(node),
            "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" => self.reshape(node),
            "Transpose" => self.transpose(node),
            "SpaceToDepth" => self.space_to_depth(node),
            "Gather" => self.gather(node),
            "MaxPool" => self.max_pool(node),
            "Resize" => self.resize(node),
            "MatMul" => self.mat_mul(node),
            "Softmax" => self.softmax(node),
            FAKE_QUANTIZE => {
                let grid = FakeQuantize::read(node).ok().and_then(|op| Grid::of(&op));
                let grid = grid.ok_or_else(|| Refused::new("a quantizer with more than 256 steps"))?;
                let input = self.input(node, 0)?;
                Ok(self.builder.tape.unary(input, grid.round()))
            }
            _ => Err(Refused::new(op)),
        }
    }

    /// The value of an input; constants become values when they are asked for.
    pub(super) fn input(&mut self, node: &'a NodeProto, index: usize) -> Result<ValueId, Refused> {
        let name = node.input.get(index).ok_or_else(|| Refused::new("an input is missing"))?.as_str();
        if let Some(id) = self.known.get(name) {
            return Ok(*id);
        }
        let constant = self.graph.constants.get(name).ok_or_else(|| Refused::new("an input from elsewhere"))?;
        let data = floats(constant).ok_or_else(|| Refused::new("a constant that is not floats"))?;
        if data.iter().any(|number| number.is_nan()) {
            return Err(Refused::new("a constant that is not a number"));
        }
        let dims: Vec<usize> = constant.dims.iter().map(|dim| *dim as usize).collect();
        let id = self.builder.tape.push(&dims, Kind::Constant(data.into()));
        self.known.insert(name, id);
        Ok(id)
    }

    /// The integers of a constant input; `None` where it is left out.
    pub(super) fn numbers(&self, node: &NodeProto, index: usize) -> Result<Option<Vec<i64>>, Refused> {
        let Some(name) = node.input.get(index).filter(|name| !name.is_empty()) else { return Ok(None) };
        let constant = self.graph.constants.get(name).and_then(integers);
        constant.map(Some).ok_or_else(|| Refused::new("sizes that are not constant"))
    }

    fn binary(&mut self, node: &'a NodeProto, op: Binary) -> Result<ValueId, Refused> {
        let (a, b) = (self.input(node, 0)?, self.input(node, 1)?);
        self.builder.tape.binary(op, a, b)
    }

    fn conv(&mut self, node: &'a NodeProto) -> Result<ValueId, Refused> {
        let input = self.input(node, 0)?;
        let name = node.input.get(1).ok_or_else(|| Refused::new("a convolution without weights"))?;
        let constant = self.graph.constants.get(name).ok_or_else(|| Refused::new("weights that are not constant"))?;
        let weights = floats(constant).ok_or_else(|| Refused::new("weights that are not floats"))?;
        let dims: Vec<usize> = constant.dims.iter().map(|dim| *dim as usize).collect();
        let dims: [usize; 4] = dims.try_into().map_err(|_| Refused::new("a convolution that is not of planes"))?;
        if dims.contains(&0) || weights.iter().any(|weight| !weight.is_finite()) {
            return Err(Refused::new("weights that are no numbers"));
        }
        let bias = match node.input.get(2).filter(|name| !name.is_empty()) {
            Some(name) => {
                let bias = self.graph.constants.get(name).and_then(floats);
                bias.filter(|bias| bias.len() == dims[0]).ok_or_else(|| Refused::new("a bias that is not constant"))?
            }
            None => vec![0.0; dims[0]],
        };
        let scales = self.graph.scales.get(name).cloned();
        let output = self.only_quantizer(&node.output[0]);
        let convolution = Convolution { node, dims, weights, scales, bias, output };
        let (id, is_int8) = conv::lower(&mut self.builder, convolution, input)?;
        self.int8_convolutions += usize::from(is_int8);
        Ok(id)
    }

    /// The grid of the quantizer that alone reads a tensor.
    fn only_quantizer(&self, name: &str) -> Option<Grid> {
        let &[reader] = self.consumers.get(name)?.as_slice() else { return None };
        let node = &self.graph.nodes[reader];
        if node.op_type != FAKE_QUANTIZE || self.graph.is_output(name) {
            return None;
        }
        Grid::of(&FakeQuantize::read(node).ok()?)
    }

    /// Whether a tensor is a convolution's result whose value was rounded by the quantizer that alone reads it.
    #[cfg(test)]
    pub(super) fn is_rounded_early(&self, name: &str) -> bool {
        let is_made = self.graph.nodes.iter().any(|node| node.op_type == "Conv" && node.output[0] == name);
        (is_made && self.only_quantizer(name).is_some()) || self.only_factor(name).is_some()
    }

    /// The value of floats that lie in memory.
    pub(super) fn fixed(&mut self, name: &str, tensor: Tensor) -> ValueId {
        let dims = tensor.dims.clone();
        let source = self.builder.fixed_source(name, tensor);
        self.builder.tape.push(&dims, Kind::Floats { source, moves: Vec::new(), post: Vec::new() })
    }
}

/// Refuses dimensions of tensors that hold nothing, do not fit into memory, or are too many.
fn check_dims(dims: &[usize]) -> Result<(), Refused> {
    if dims.contains(&0) {
        return Err(Refused::new("a tensor without elements"));
    }
    if dims.len() > RANK_MAX {
        return Err(Refused::new(format!("a tensor of {} dimensions", dims.len())));
    }
    let wide: Option<Vec<i64>> = dims.iter().map(|dim| i64::try_from(*dim).ok()).collect();
    match wide.map(|dims| preflight::check_size(&dims, elem::FLOAT)) {
        Some(Ok(_)) => Ok(()),
        _ => Err(Refused::new(format!("a tensor of the size {dims:?}"))),
    }
}

/// The function of one number that a node is; `None` where it is none.
fn unary(node: &NodeProto, graph: &Graph) -> Result<Option<Unary>, Refused> {
    Ok(Some(match node.op_type.as_str() {
        "Sigmoid" => Unary::Sigmoid,
        "HardSigmoid" => Unary::HardSigmoid { slope: float(node, "alpha", 0.2), offset: float(node, "beta", 0.5) },
        "HardSwish" => Unary::HardSwish,
        "Relu" => Unary::Clip { low: 0.0, high: f32::INFINITY },
        "LeakyRelu" => Unary::Leaky { slope: float(node, "alpha", 0.01) },
        "Tanh" => Unary::Tanh,
        "Exp" => Unary::Exp,
        "Clip" => {
            let bound = |index: usize, name: &str, default: f32| match node.input.get(index) {
                Some(input) if !input.is_empty() => match graph.constants.get(input).and_then(floats).as_deref() {
                    Some(&[bound]) => Ok(bound),
                    _ => Err(Refused::new("a Clip whose bounds are not constant")),
                },
                _ => Ok(float(node, name, default)),
            };
            let (low, high) = (bound(1, "min", f32::NEG_INFINITY)?, bound(2, "max", f32::INFINITY)?);
            if low.is_nan() || high.is_nan() || low > high {
                return Err(Refused::new("a Clip to nothing"));
            }
            Unary::Clip { low, high }
        }
        _ => return Ok(None),
    }))
}
