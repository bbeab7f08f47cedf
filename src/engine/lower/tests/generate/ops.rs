//! Convolutions and what stands between them.

use super::{Attr, Codes, Elem, Maker, Style};

/// Most numbers in a tensor, so that a graph is quick.
const LEN_MAX: usize = 12_000;

/// A convolution's window and channels.
struct Shape {
    input: usize,
    /// Output channels, input channels of a group, rows, columns.
    weights: [usize; 4],
    groups: usize,
    strides: [i64; 2],
    dilations: [i64; 2],
    pads: [i64; 4],
    auto_pad: &'static str,
    dims: [usize; 4],
}

impl Maker<'_> {
    pub(super) fn convolution(&mut self) {
        let input = self.any_planes();
        let shape = self.shape(input);
        self.convolutions += 1;
        let [strides, dilations] = [shape.strides, shape.dilations];
        let kernel = [shape.weights[2] as i64, shape.weights[3] as i64];
        let mut attributes = vec![
            ("kernel_shape", Attr::Ints(&kernel)),
            ("strides", Attr::Ints(&strides)),
            ("dilations", Attr::Ints(&dilations)),
            ("group", Attr::Int(shape.groups as i64)),
        ];
        match shape.auto_pad {
            "" => attributes.push(("pads", Attr::Ints(&shape.pads))),
            mode => attributes.push(("auto_pad", Attr::Text(mode))),
        }
        match self.style {
            Style::Float => self.float_convolution(&shape, &attributes),
            Style::Dynamic => self.dynamic_convolution(&shape, &attributes),
            _ => self.quantized_convolution(&shape, &attributes),
        }
        if !self.bytes.one_in(3) {
            let last = self.tensors.len() - 1;
            self.activate(last);
        }
    }

    fn shape(&mut self, input: usize) -> Shape {
        let dims = self.tensors[input].dims.clone();
        let channels = dims[1];
        let mut outputs = self.bytes.pick(&[4, 8, 16, 3, 1, 2, 5, 17, 20, 32, 33]);
        let mut groups = 1;
        match self.bytes.below(6) {
            0 | 1 => (groups, outputs) = (channels, channels),
            2 if channels.is_multiple_of(2) => (groups, outputs) = (2, outputs * 2),
            _ => {}
        }
        let kernel = self.bytes.pick(&[[1, 1], [3, 3], [3, 3], [5, 5], [2, 2], [1, 3], [3, 1], [6, 6]]);
        let mut strides = self.bytes.pick(&[[1, 1], [1, 1], [2, 2], [1, 2], [3, 2]]);
        if self.tensors[input].real.as_deref() != Some("x") {
            // What tract makes of these it pulls through what comes before, and forgets where slices start.
            (0..2).filter(|axis| kernel[*axis] == 1).for_each(|axis| strides[axis] = 1);
        }
        let dilations = if self.bytes.one_in(5) { [2, 2] } else { [1, 1] };
        let reach = [0, 1].map(|axis| (kernel[axis] - 1) * dilations[axis] + 1);
        let (mut pads, mut auto_pad) = ([0; 4], "");
        match self.bytes.below(6) {
            0..3 => pads = [reach[0] / 2, reach[1] / 2, reach[0] / 2, reach[1] / 2],
            3 => pads = [0; 4].map(|_| self.bytes.below(4) as i64),
            4 => auto_pad = self.bytes.pick(&["SAME_UPPER", "SAME_LOWER", "VALID"]),
            _ => {}
        }
        let size = |axis: usize, pads: [i64; 4], auto_pad: &str, reach: i64| {
            let input = dims[2 + axis] as i64;
            if auto_pad.starts_with("SAME") {
                return (input + strides[axis] - 1) / strides[axis];
            }
            let padded = input + pads[axis] + pads[axis + 2] - reach;
            if padded < 0 { 0 } else { padded / strides[axis] + 1 }
        };
        let sizes = [0, 1].map(|axis| size(axis, pads, auto_pad, reach[axis]));
        let weights = [outputs, channels / groups, kernel[0] as usize, kernel[1] as usize];
        let fits = !sizes.contains(&0) && outputs * (sizes[0] * sizes[1]) as usize <= LEN_MAX;
        if fits {
            let dims = [1, outputs, sizes[0] as usize, sizes[1] as usize];
            return Shape { input, weights, groups, strides, dilations, pads, auto_pad, dims };
        }
        let dims = [1, 4, dims[2], dims[3]];
        let [strides, dilations] = [[1, 1]; 2];
        Shape { input, weights: [4, channels, 1, 1], groups: 1, strides, dilations, pads: [0; 4], auto_pad: "", dims }
    }

    fn float_convolution(&mut self, shape: &Shape, attributes: &[(&str, Attr<'_>)]) {
        let inner: usize = shape.weights[1..].iter().product();
        let values = self.noise.floats(shape.weights[0] * inner, 1.7 / (inner as f32).sqrt());
        let weights = self.floats(&shape.weights, &values);
        let mut inputs = vec![self.real(shape.input), weights];
        if self.bytes.flag() {
            inputs.push(self.float_bias(shape));
        }
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let name = self.node("Conv", &inputs, attributes);
        self.push(&shape.dims, name);
    }

    fn float_bias(&mut self, shape: &Shape) -> String {
        let values = self.noise.floats(shape.dims[1], 0.7);
        self.floats(&[shape.dims[1]], &values)
    }

    /// Weights from −128 to 127, and their scales: one, or one for each channel.
    fn integers(&mut self, shape: &Shape, per_channel: bool) -> (Vec<u8>, Vec<f32>) {
        let inner: usize = shape.weights[1..].iter().product();
        let lowest = self.bytes.pick(&[-127, -128]);
        let weight = |_| (self.noise.below((128 - lowest) as usize) as i32 + lowest) as u8;
        let weights = (0..shape.weights[0] * inner).map(weight).collect();
        let largest = 2.0 / (inner as f32).sqrt();
        let count = if per_channel { shape.weights[0] } else { 1 };
        let scales = (0..count).map(|_| largest / 127.0 * (1.0 + self.noise.float() * 0.8)).collect();
        (weights, scales)
    }

    fn quantized_convolution(&mut self, shape: &Shape, attributes: &[(&str, Attr<'_>)]) {
        let per_channel = self.bytes.flag();
        let (weights, scales) = self.integers(shape, per_channel);
        let input = self.codes(shape.input);
        let [w, w_zero, bias] = [0; 3].map(|_| self.name());
        let dims = shape.weights.map(|dim| dim as i64);
        self.model.constant(&w, Elem::I8, &dims, &weights);
        let list: &[usize] = if per_channel { &[shape.weights[0]] } else { &[] };
        let w_scale = self.floats(list, &scales);
        self.model.constant(
            &w_zero,
            Elem::I8,
            &list.iter().map(|dim| *dim as i64).collect::<Vec<_>>(),
            &vec![0; scales.len()],
        );
        let outputs = shape.weights[0];
        let unit = |channel: usize| input.scale * scales[channel.min(scales.len() - 1)];
        let integers: Vec<i32> =
            (0..outputs).map(|channel| (self.noise.float() * 0.7 / unit(channel)) as i32).collect();
        let bytes: Vec<u8> = integers.iter().flat_map(|integer| integer.to_le_bytes()).collect();
        let has_bias = self.bytes.flag();
        if self.style == Style::QOperator {
            let mut output = self.grid();
            let mut inputs: Vec<String> = vec![input.name, input.scale_name, input.zero_name, w, w_scale, w_zero];
            inputs.extend([output.scale_name.clone(), output.zero_name.clone()]);
            if has_bias {
                inputs.push(self.model.constant(&bias, Elem::I32, &[outputs as i64], &bytes));
            }
            let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
            output.name = self.node("QLinearConv", &inputs, attributes);
            return self.push_codes(&shape.dims, output);
        }
        let axis = [("axis", Attr::Int(0))];
        let weights = self.node("DequantizeLinear", &[&w, &w_scale, &w_zero], if per_channel { &axis } else { &[] });
        let mut inputs = vec![self.real_of(&input), weights];
        match (has_bias, self.bytes.flag()) {
            (true, true) => {
                self.model.constant(&bias, Elem::I32, &[outputs as i64], &bytes);
                let units: Vec<f32> = (0..outputs).map(unit).collect();
                let units = self.floats(&[outputs], &units);
                inputs.push(self.node("DequantizeLinear", &[&bias, &units], &axis));
            }
            (true, false) => inputs.push(self.float_bias(shape)),
            (false, _) => {}
        }
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let name = self.node("Conv", &inputs, attributes);
        self.push(&shape.dims, name);
        if !self.bytes.one_in(4) {
            self.round_last();
        }
    }

    /// Codes dequantized anew.
    fn real_of(&mut self, codes: &Codes) -> String {
        self.node("DequantizeLinear", &[&codes.name, &codes.scale_name, &codes.zero_name], &[])
    }

    fn dynamic_convolution(&mut self, shape: &Shape, attributes: &[(&str, Attr<'_>)]) {
        let (weights, scales) = self.integers(shape, false);
        let input = self.real(shape.input);
        let [codes, scale, zero, w, w_zero] = [0; 5].map(|_| self.name());
        self.model.node("DynamicQuantizeLinear", &[&input], &[&codes, &scale, &zero], &[]);
        self.model.constant(&w, Elem::I8, &shape.weights.map(|dim| dim as i64), &weights);
        self.model.constant(&w_zero, Elem::I8, &[], &[0]);
        let w_scale = self.floats(&[], &scales);
        let integers = self.node("ConvInteger", &[&codes, &w, &zero, &w_zero], attributes);
        let floats = self.node("Cast", &[&integers], &[("to", Attr::Int(Elem::F32 as i64))]);
        let scales = self.node("Mul", &[&scale, &w_scale], &[]);
        let mut name = self.node("Mul", &[&floats, &scales], &[]);
        if self.bytes.flag() {
            let values = self.noise.floats(shape.dims[1], 0.7);
            let bias = self.floats(&[1, shape.dims[1], 1, 1], &values);
            name = self.node("Add", &[&name, &bias], &[]);
        }
        self.push(&shape.dims, name);
    }

    pub(super) fn activation(&mut self) {
        let index = self.any();
        self.activate(index);
    }

    /// Applies a function of one number.
    fn activate(&mut self, index: usize) {
        let dims = self.tensors[index].dims.clone();
        let kind = self.bytes.below(12);
        let silu = kind < 4;
        if self.style == Style::QOperator && (silu || kind == 5) && self.bytes.flag() {
            return self.integer_activation(index, silu);
        }
        let real = self.real(index);
        let name = match kind {
            0..4 | 11 => {
                let gate = match kind {
                    11 => self.node("HardSigmoid", &[&real], &[("alpha", Attr::Float(1.0 / 6.0))]),
                    _ => self.node("Sigmoid", &[&real], &[]),
                };
                let gate = if self.style == Style::Everything {
                    self.push_rounded(&dims, gate);
                    let last = self.tensors.len() - 1;
                    self.real(last)
                } else {
                    gate
                };
                let order = if self.bytes.flag() { [&real, &gate] } else { [&gate, &real] };
                self.node("Mul", &order.map(String::as_str), &[])
            }
            4 => self.node("Relu", &[&real], &[]),
            5 => self.node("LeakyRelu", &[&real], &[("alpha", Attr::Float(0.1))]),
            6 => self.node("HardSwish", &[&real], &[]),
            7 => {
                let [low, high] = [-0.5, 1.5].map(|bound| self.floats(&[], &[bound]));
                let (low, high) = if self.bytes.flag() { (low, high) } else { (String::new(), high) };
                self.node("Clip", &[&real, &low, &high], &[])
            }
            8 => self.node("Sigmoid", &[&real], &[]),
            9 => self.node("Tanh", &[&real], &[]),
            _ => self.node("HardSigmoid", &[&real], &[]),
        };
        self.push_rounded(&dims, name);
    }

    fn integer_activation(&mut self, index: usize, silu: bool) {
        let dims = self.tensors[index].dims.clone();
        let input = self.codes(index);
        let mut output = self.grid();
        let inputs = [&input.name, &input.scale_name, &input.zero_name, &output.scale_name, &output.zero_name]
            .map(String::as_str);
        let op = if silu { "QLinearSigmoid" } else { "QLinearLeakyRelu" };
        output.name = self.node(op, &inputs, if silu { &[] } else { &[("alpha", Attr::Float(0.2))] });
        self.push_codes(&dims, output);
        if silu {
            let last = self.tensors.len() - 1;
            self.integer_pair("QLinearMul", index, last);
        }
    }

    fn integer_pair(&mut self, op: &str, first: usize, second: usize) {
        let dims = self.tensors[first].dims.clone();
        let [a, b] = [first, second].map(|index| self.codes(index));
        let mut output = self.grid();
        let inputs = [
            &a.name,
            &a.scale_name,
            &a.zero_name,
            &b.name,
            &b.scale_name,
            &b.zero_name,
            &output.scale_name,
            &output.zero_name,
        ];
        output.name = self.node(op, &inputs.map(String::as_str), &[]);
        self.push_codes(&dims, output);
    }

    /// A function of two tensors.
    pub(super) fn of_two(&mut self) {
        let first = self.any();
        let dims = self.tensors[first].dims.clone();
        let same: Vec<usize> = (0..self.tensors.len()).filter(|index| self.tensors[*index].dims == dims).collect();
        let at = self.bytes.below(same.len());
        let second = same[at];
        let op = self.bytes.pick(&["Add", "Add", "Mul", "Sub", "Div"]);
        if self.style == Style::QOperator && matches!(op, "Add" | "Mul") && self.bytes.flag() {
            return self.integer_pair(if op == "Add" { "QLinearAdd" } else { "QLinearMul" }, first, second);
        }
        let [a, mut b] = [first, second].map(|index| self.real(index));
        if op == "Div" {
            // Away from zero.
            let gate = self.node("Sigmoid", &[&b], &[]);
            let half = self.floats(&[], &[0.5]);
            b = self.node("Add", &[&gate, &half], &[]);
        }
        let mut name = self.node(op, &[&a, &b], &[]);
        if op == "Mul" {
            name = self.node("Tanh", &[&name], &[]);
        }
        self.push_rounded(&dims, name);
    }

    /// A function of a tensor and a constant.
    pub(super) fn with_constant(&mut self) {
        let index = self.any();
        let dims = self.tensors[index].dims.clone();
        let real = self.real(index);
        let shape: Vec<usize> = match self.bytes.below(5) {
            0 => Vec::new(),
            1 => vec![1; dims.len()],
            2 => dims.iter().enumerate().map(|(axis, dim)| if axis == 1 { *dim } else { 1 }).collect(),
            3 => dims[1..].to_vec(),
            _ => dims.clone(),
        };
        let count = shape.iter().product();
        let numbers = (0..count).map(|_| self.noise.float().mul_add(0.4, 1.0)).collect::<Vec<f32>>();
        let numbers = if self.bytes.one_in(4) { vec![0.5; count] } else { numbers };
        let constant = self.floats(&shape, &numbers);
        let op = self.bytes.pick(&["Add", "Mul", "Sub", "Div"]);
        let is_first = self.bytes.one_in(3) && op != "Div";
        let inputs = if is_first { [&constant, &real] } else { [&real, &constant] };
        let name = self.node(op, &inputs.map(String::as_str), &[]);
        self.push_rounded(&dims, name);
    }

    pub(super) fn max_pool(&mut self) {
        let index = self.any_planes();
        let dims = self.tensors[index].dims.clone();
        let kernel = self.bytes.pick(&[[5, 5], [3, 3], [2, 2], [1, 3]]);
        let strides = self.bytes.pick(&[[1, 1], [2, 2], [2, 1]]);
        let pads = match self.bytes.below(3) {
            0 => [kernel[0] / 2, kernel[1] / 2, kernel[0] / 2, kernel[1] / 2],
            1 => [0; 4],
            _ => [0, 1, 2, 3].map(|side| self.bytes.below(kernel[side % 2] as usize) as i64),
        };
        let size = [0, 1].map(|axis| {
            let padded = dims[2 + axis] as i64 + pads[axis] + pads[axis + 2] - kernel[axis];
            if padded < 0 { 0 } else { (padded / strides[axis] + 1) as usize }
        });
        if size.contains(&0) {
            return;
        }
        let attributes =
            [("kernel_shape", Attr::Ints(&kernel)), ("strides", Attr::Ints(&strides)), ("pads", Attr::Ints(&pads))];
        self.mover("MaxPool", index, &[], &attributes, &[1, dims[1], size[0], size[1]]);
    }

    pub(super) fn resize(&mut self) {
        let index = self.any_planes();
        let dims = self.tensors[index].dims.clone();
        let factors = self.bytes.pick(&[[2, 2], [2, 2], [1, 3], [4, 2]]);
        let out = [1, dims[1], dims[2] * factors[0], dims[3] * factors[1]];
        if out.iter().product::<usize>() > LEN_MAX {
            return;
        }
        let mut attributes = vec![("mode", Attr::Text("nearest"))];
        if self.bytes.flag() {
            attributes.push(("coordinate_transformation_mode", Attr::Text("asymmetric")));
            attributes.push(("nearest_mode", Attr::Text("floor")));
        }
        if self.bytes.flag() {
            let sizes = self.longs(&out.map(|dim| dim as i64));
            self.mover("Resize", index, &["", "", &sizes], &attributes, &out);
        } else {
            let scales = self.floats(&[4], &[1.0, 1.0, factors[0] as f32, factors[1] as f32]);
            self.mover("Resize", index, &["", &scales], &attributes, &out);
        }
    }
}
