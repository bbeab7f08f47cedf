//! What attention is made of: products of two activations, and softmax.

use tract_onnx::pb::NodeProto;

use super::{
    super::{
        program::{self, Element, MatMul, Softmax, Unary, View},
        proto::{floats, node_name},
    },
    Refused,
    attributes::{axis, int},
    demand::Form,
    node::Lowering,
    tensor::Tensor,
    value::{Kind, ValueId},
};

impl<'a> Lowering<'a> {
    pub(super) fn softmax(&mut self, node: &'a NodeProto) -> Result<ValueId, Refused> {
        let input = self.input(node, 0)?;
        let dims = self.builder.tape.dims(input).to_vec();
        let default = if self.opset < 13 { 1 } else { -1 };
        let along = axis(int(node, "axis").unwrap_or(default), dims.len())?;
        // Before operator set 13 a row is all from the axis on.
        if self.opset < 13 && along + 1 != dims.len() {
            return Err(Refused::new("a softmax of several dimensions"));
        }
        let name = node_name(node).to_owned();
        let mut tensor = self.builder.demand(input, Form::Floats)?;
        let mut order = tensor.order();
        if order.last() != Some(&along) {
            order.retain(|axis| *axis != along);
            order.push(along);
        }
        if tensor.strides[along] != 1 {
            let place = self.builder.alloc(&dims, &order, Element::Float, 0);
            self.builder.demand_into(input, Form::Floats, &place)?;
            tensor = place;
        }
        let output = self.builder.alloc(&dims, &order, Element::Float, 0);
        let outer: Vec<usize> = order.iter().copied().filter(|axis| *axis != along && dims[*axis] != 1).collect();
        let (from, to) = (tensor, output.clone());
        self.builder.step(&name, 0, &[from.buffer], &output, move |layout| {
            program::Kind::Softmax(Softmax {
                dims: outer.iter().map(|axis| to.dims[*axis]).collect(),
                len: to.dims[along],
                input: layout.view_of(&from, &outer),
                output: layout.view_of(&to, &outer),
            })
        });
        Ok(self.fixed(&name, output))
    }

    pub(super) fn mat_mul(&mut self, node: &'a NodeProto) -> Result<ValueId, Refused> {
        let (left, right) = (self.input(node, 0)?, self.input(node, 1)?);
        let name = node_name(node).to_owned();
        let is_constant = |id: ValueId| matches!(self.builder.tape.get(id).kind, Kind::Constant(_));
        if is_constant(left) || is_constant(right) {
            return Err(Refused::new("a product with a constant matrix"));
        }
        let (dims, other) = (self.builder.tape.dims(left).to_vec(), self.builder.tape.dims(right).to_vec());
        let rank = dims.len();
        if rank < 3 || other.len() != rank || dims[..rank - 2] != other[..rank - 2] || dims[rank - 1] != other[rank - 2]
        {
            return Err(Refused::new("a product of matrices that repeat"));
        }
        let [m, k, n] = [dims[rank - 2], dims[rank - 1], other[rank - 1]];
        let batch: usize = dims[..rank - 2].iter().product();
        let (a, b) = (self.builder.demand(left, Form::Floats)?, self.builder.demand(right, Form::Floats)?);
        let (a, b) = (self.batched(&name, a, [batch, m, k]), self.batched(&name, b, [batch, k, n]));
        let out_dims: Vec<usize> = dims[..rank - 1].iter().copied().chain([n]).collect();
        let factor = self.only_factor(&node.output[0]);
        let post: Vec<Unary> = factor.iter().map(|(_, factor)| Unary::Scale { factor: *factor }).collect();
        let output = if a.strides[2] == 1 || b.strides[1] != 1 {
            let a = if a.strides[2] == 1 { a } else { self.dense(&name, a) };
            let output = self.builder.alloc(&[batch, m, n], &[0, 1, 2], Element::Float, 0);
            self.product(&name, [m, k, n], [&a, &b, &output], post);
            output
        } else {
            // The transposed product: rows of the right matrix lie side by side, those of the left do not.
            let output = self.builder.alloc(&[batch, m, n], &[2, 0, 1], Element::Float, 0);
            let swapped = |tensor: &Tensor| tensor.transpose(&[0, 2, 1]);
            self.product(&name, [n, k, m], [&swapped(&b), &swapped(&a), &swapped(&output)], post);
            output
        };
        let output = output.reshape(&out_dims).expect("a batch's dimensions follow each other");
        let id = self.fixed(&name, output);
        if let Some((scaled, _)) = factor {
            self.known.insert(scaled, id);
        }
        Ok(id)
    }

    /// The tensor that a product becomes where it is only multiplied by a number, and the number.
    pub(super) fn only_factor(&self, name: &str) -> Option<(&'a str, f32)> {
        let &[reader] = self.consumers.get(name)?.as_slice() else { return None };
        let node = &self.graph.nodes[reader];
        let other = node.input.iter().find(|input| *input != name)?;
        let constant = self.graph.constants.get(other).and_then(floats)?;
        let is_number = self.graph.constants[other].dims.is_empty() && constant.len() == 1;
        let is_factor =
            is_number && node.op_type == "Mul" && !self.graph.is_output(name) && self.members.contains(&reader);
        is_factor.then(|| (node.output[0].as_str(), constant[0]))
    }

    /// A tensor with one dimension for the batch.
    fn batched(&mut self, name: &str, tensor: Tensor, dims: [usize; 3]) -> Tensor {
        match tensor.reshape(&dims) {
            Some(tensor) => tensor,
            None => {
                let dense = self.dense(name, tensor);
                dense.reshape(&dims).expect("row-major numbers have any dimensions")
            }
        }
    }

    /// A copy in row-major order.
    fn dense(&mut self, name: &str, tensor: Tensor) -> Tensor {
        let order: Vec<usize> = (0..tensor.dims.len()).collect();
        let copy = self.builder.alloc(&tensor.dims, &order, tensor.element, 0);
        self.builder.copy(name, &tensor, &copy);
        copy
    }

    fn product(&mut self, name: &str, [m, k, n]: [usize; 3], [a, b, output]: [&Tensor; 3], post: Vec<Unary>) {
        let batch = output.dims[0];
        let product = MatMul {
            batch,
            size: [m, k, n],
            a: View { strides: a.strides[..2].to_vec(), ..a.view() },
            b: b.view(),
            output: View { strides: output.strides[..2].to_vec(), ..output.view() },
            post,
            packed_at: 0,
        };
        let packed_len = product.packed_len(self.builder.kernels) / Element::Float.size();
        let packed = self.builder.alloc(&[packed_len], &[0], Element::Float, 0);
        let (buffers, packed) = ([a.buffer, b.buffer, output.buffer], packed.buffer);
        let macs = [batch, m, k, n].iter().map(|side| *side as u64).product();
        // The packed matrix is written before it is read, in the same step.
        self.builder.step(name, macs, &[a.buffer, b.buffer, packed], output, move |layout| {
            let mut product = product;
            let views = [&mut product.a, &mut product.b, &mut product.output];
            views.into_iter().zip(buffers).for_each(|(view, buffer)| view.at += layout.offsets[buffer]);
            product.packed_at = layout.offsets[packed];
            program::Kind::MatMul(product)
        });
    }
}
