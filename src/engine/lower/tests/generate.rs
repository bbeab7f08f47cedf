//! Small graphs made from a string of bytes: what YOLO is made of, in all ways in which it is quantized.

mod heads;
mod ops;

use super::{
    bytes::{Bytes, Noise},
    onnx::{Attr, Dim, Elem, Model},
};

/// How a graph is quantized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Float,
    /// QDQ around convolutions.
    Convolutions,
    /// QDQ around everything.
    Everything,
    QOperator,
    Dynamic,
}

/// A graph that was made.
pub(super) struct Generated {
    pub(super) onnx: Vec<u8>,
    pub(super) style: Style,
    /// Whether its output is detections in the order of their scores.
    pub(super) is_ranked: bool,
}

/// A tensor as the graph has it: real numbers, codes, or both.
#[derive(Clone, Debug)]
struct Tensor {
    dims: Vec<usize>,
    real: Option<String>,
    codes: Option<Codes>,
}

/// A tensor of codes, with the constants that say what they stand for.
#[derive(Clone, Debug, PartialEq)]
struct Codes {
    name: String,
    scale_name: String,
    zero_name: String,
    scale: f32,
}

/// A graph in the making.
struct Maker<'a> {
    bytes: Bytes<'a>,
    noise: Noise,
    model: Model,
    style: Style,
    /// Type of the codes of activations.
    elem: Elem,
    tensors: Vec<Tensor>,
    count: usize,
    convolutions: usize,
    /// Tensors that have to be outputs.
    kept: Vec<(String, Vec<usize>)>,
}

/// Makes a graph.
pub(super) fn generate(bytes: &[u8]) -> Generated {
    let mut bytes = Bytes::new(bytes);
    let styles = [Style::Float, Style::Convolutions, Style::Everything, Style::QOperator, Style::Dynamic];
    let style = bytes.pick(&[&styles[..], &[Style::Convolutions, Style::Everything]].concat());
    let elem = bytes.pick(&[Elem::U8, Elem::I8]);
    let channels = bytes.pick(&[3, 3, 1]);
    let [rows, columns] = [0, 1].map(|_| bytes.pick(&[8, 12, 5, 16, 7, 9, 1, 2, 20, 33]));
    let noise = bytes.noise();
    let mut model = Model::new(bytes.pick(&[17, 13, 14]));
    model.input("x", Elem::F32, &[1, channels, rows, columns].map(Dim::Fixed));
    let dims = [1, channels, rows, columns].map(|dim| dim as usize).to_vec();
    let input = Tensor { dims, real: Some("x".to_owned()), codes: None };
    let mut maker =
        Maker { bytes, noise, model, style, elem, tensors: vec![input], count: 0, convolutions: 0, kept: Vec::new() };
    while !maker.bytes.is_empty() && maker.tensors.len() < 24 {
        maker.step();
    }
    if maker.convolutions == 0 {
        maker.convolution();
    }
    let is_ranked = maker.bytes.one_in(5) && maker.detections();
    maker.outputs(is_ranked);
    Generated { onnx: maker.model.to_bytes(), style, is_ranked }
}

impl Maker<'_> {
    /// Adds something.
    fn step(&mut self) {
        match self.bytes.below(20) {
            0..6 => self.convolution(),
            6 | 7 => self.activation(),
            8 | 9 => self.of_two(),
            10 => self.with_constant(),
            11 | 12 => self.concat(),
            13 => self.split(),
            14 => self.slice(),
            15 => self.max_pool(),
            16 => self.resize(),
            17 => self.rearrange(),
            18 => self.attention(),
            _ => self.odd(),
        }
    }

    fn outputs(&mut self, is_ranked: bool) {
        let last = self.tensors.len() - 1;
        let mut wanted = vec![last];
        while !is_ranked && self.bytes.one_in(3) {
            wanted.push(self.bytes.below(last + 1));
        }
        let mut outputs = std::mem::take(&mut self.kept);
        for index in wanted {
            let dims = self.tensors[index].dims.clone();
            let name = self.real(index);
            // Inputs are no outputs of anything.
            let name = if name == "x" { self.node("Relu", &["x"], &[]) } else { name };
            outputs.push((name, dims));
        }
        outputs.sort_unstable();
        outputs.dedup();
        for (name, dims) in outputs {
            let dims: Vec<Dim<'_>> = dims.iter().map(|dim| Dim::Fixed(*dim as i64)).collect();
            self.model.output(&name, Elem::F32, &dims);
        }
    }

    fn name(&mut self) -> String {
        self.count += 1;
        format!("t{}", self.count)
    }

    /// Adds a node with one output and gives that output's name back.
    fn node(&mut self, op: &str, inputs: &[&str], attributes: &[(&str, Attr<'_>)]) -> String {
        let name = self.name();
        self.model.node(op, inputs, &[&name], attributes)
    }

    fn floats(&mut self, dims: &[usize], values: &[f32]) -> String {
        let name = self.name();
        let dims: Vec<i64> = dims.iter().map(|dim| *dim as i64).collect();
        self.model.floats(&name, &dims, values)
    }

    fn longs(&mut self, values: &[i64]) -> String {
        let name = self.name();
        self.model.longs(&name, &[values.len() as i64], values)
    }

    /// Any tensor, the later ones more often.
    fn any(&mut self) -> usize {
        let count = self.tensors.len();
        let back = self.bytes.below(count).min(self.bytes.below(count));
        count - 1 - back
    }

    /// Any tensor of planes.
    fn any_planes(&mut self) -> usize {
        let index = self.any();
        (0..=index).rev().find(|index| self.tensors[*index].dims.len() == 4).unwrap_or(0)
    }

    fn push(&mut self, dims: &[usize], real: String) {
        self.tensors.push(Tensor { dims: dims.to_vec(), real: Some(real), codes: None });
    }

    fn push_codes(&mut self, dims: &[usize], codes: Codes) {
        self.tensors.push(Tensor { dims: dims.to_vec(), real: None, codes: Some(codes) });
    }

    /// What follows an operator on real numbers: a quantizer, where the graph has one everywhere.
    fn push_rounded(&mut self, dims: &[usize], real: String) {
        self.push(dims, real);
        let is_rounded = match self.style {
            Style::Everything => !self.bytes.one_in(8),
            Style::QOperator | Style::Convolutions => self.bytes.one_in(4),
            Style::Float | Style::Dynamic => false,
        };
        if is_rounded {
            self.round_last();
        }
    }

    /// From here on the last tensor is known by its codes.
    fn round_last(&mut self) {
        let last = self.tensors.len() - 1;
        self.codes(last);
        self.tensors[last].real = None;
    }

    /// The name of a tensor's real numbers.
    fn real(&mut self, index: usize) -> String {
        let Tensor { real, codes, .. } = self.tensors[index].clone();
        if let Some(real) = real {
            return real;
        }
        let codes = codes.expect("a tensor is real or codes");
        let real = self.node("DequantizeLinear", &[&codes.name, &codes.scale_name, &codes.zero_name], &[]);
        // Some exporters share what is dequantized, some do not.
        if self.bytes.flag() {
            self.tensors[index].real = Some(real.clone());
        }
        real
    }

    /// The codes of a tensor.
    fn codes(&mut self, index: usize) -> Codes {
        if let Some(codes) = &self.tensors[index].codes {
            return codes.clone();
        }
        let mut codes = self.grid();
        let real = self.real(index);
        codes.name = self.node("QuantizeLinear", &[&real, &codes.scale_name, &codes.zero_name], &[]);
        self.tensors[index].codes = Some(codes.clone());
        codes
    }

    /// Scale and zero point for a new tensor; sometimes those of another.
    fn grid(&mut self) -> Codes {
        let others: Vec<Codes> = self.tensors.iter().filter_map(|tensor| tensor.codes.clone()).collect();
        if !others.is_empty() && self.bytes.one_in(3) {
            let index = self.bytes.below(others.len());
            return Codes { name: String::new(), ..others[index].clone() };
        }
        let span = self.bytes.pick(&[4.0, 6.0, 2.0, 1.0, 12.0]) * (0.75 + self.bytes.fraction() * 0.5);
        let zero = match self.bytes.below(4) {
            0 => 0,
            1 => 128,
            _ => self.bytes.below(256) as u8,
        };
        let zero = if self.elem == Elem::I8 { zero ^ 0x80 } else { zero };
        let scale = span / 255.0;
        let scale_name = self.floats(&[], &[scale]);
        let zero_name = self.name();
        self.model.constant(&zero_name, self.elem, &[], &[zero]);
        Codes { name: String::new(), scale_name, zero_name, scale }
    }

    /// An operator that only moves or chooses numbers: on codes where there are any, on real numbers otherwise.
    fn mover(&mut self, op: &str, index: usize, rest: &[&str], attributes: &[(&str, Attr<'_>)], dims: &[usize]) {
        let on_codes = self.style == Style::QOperator || (self.style == Style::Everything && self.bytes.one_in(4));
        let codes = self.tensors[index].codes.clone().filter(|_| on_codes && op != "Softmax");
        match codes {
            Some(codes) => {
                let inputs = [&[codes.name.as_str()], rest].concat();
                let name = self.node(op, &inputs, attributes);
                self.push_codes(dims, Codes { name, ..codes });
            }
            None => {
                let real = self.real(index);
                let name = self.node(op, &[&[real.as_str()], rest].concat(), attributes);
                self.push_rounded(dims, name);
            }
        }
    }
}
