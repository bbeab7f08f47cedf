//! Quantized convolutions against the same in 32-bit integers, bit by bit.

use super::load;
use crate::util::onnx::{Attr, Dim, Elem, Model};

/// Scale and zero point of a tensor of bytes.
#[derive(Clone, Copy)]
struct Grid {
    scale: f32,
    zero_point: i32,
}

impl Grid {
    fn quantize(self, number: f32) -> i32 {
        ((number / self.scale).round_ties_even() as i32 + self.zero_point).clamp(0, 255)
    }

    fn real(self, integer: i32) -> f32 {
        (integer - self.zero_point) as f32 * self.scale
    }

    fn constants(self, model: &mut Model, name: &str) -> [String; 2] {
        let names = [format!("{name}_scale"), format!("{name}_zero")];
        model.floats(&names[0], &[], &[self.scale]);
        model.constant(&names[1], Elem::U8, &[], &[self.zero_point as u8]);
        names
    }
}

/// A 3×3 convolution with padding 1.
struct Conv {
    name: &'static str,
    inputs: usize,
    outputs: usize,
    group: usize,
    stride: usize,
    weights: Vec<i8>,
    scales: Vec<f32>,
    bias: Vec<i32>,
}

impl Conv {
    fn new(name: &'static str, inputs: usize, outputs: usize, group: usize, stride: usize) -> Self {
        let mut seed = outputs as u32 + 9;
        let mut next = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            seed >> 16
        };
        let weights = (0..outputs * inputs / group * 9).map(|_| next() as u8 as i8).collect();
        let scales = (0..outputs).map(|channel| 0.001_37 + channel as f32 * 0.000_11).collect();
        let bias = (0..outputs).map(|_| next() as i32 - 32_768).collect();
        Self { name, inputs, outputs, group, stride, weights, scales, bias }
    }

    /// What `QLinearConv` gives for planes of `side` × `side`.
    fn run(&self, integers: &[i32], side: usize, [from, to]: [Grid; 2]) -> Vec<i32> {
        let (per_group, out_side) = (self.inputs / self.group, side.div_ceil(self.stride));
        let mut out = Vec::new();
        for channel in 0..self.outputs {
            let first = channel / (self.outputs / self.group) * per_group;
            let multiplier = from.scale * self.scales[channel] / to.scale;
            for (y, x) in (0..out_side * out_side).map(|at| (at / out_side, at % out_side)) {
                let mut sum = self.bias[channel];
                for tap in 0..per_group * 9 {
                    let (plane, ky, kx) = (tap / 9, tap / 3 % 3, tap % 3);
                    let (Some(row), Some(column)) =
                        ((y * self.stride + ky).checked_sub(1), (x * self.stride + kx).checked_sub(1))
                    else {
                        continue;
                    };
                    if row < side && column < side {
                        let integer = integers[((first + plane) * side + row) * side + column];
                        sum += (integer - from.zero_point) * i32::from(self.weights[channel * per_group * 9 + tap]);
                    }
                }
                let rounded = (sum as f32 * multiplier).round_ties_even() as i32;
                out.push((rounded + to.zero_point).clamp(0, 255));
            }
        }
        out
    }

    /// Writes the convolution between two tensors of bytes, `{from}_q` and `{to}_q`.
    fn write(&self, model: &mut Model, way: &str, [from, to]: [&str; 2], input_scale: f32) {
        let name = |part: &str| format!("{}_{part}", self.name);
        let [w, s, z, b, bs] = ["w", "s", "z", "b", "bs"].map(name);
        let count = self.outputs as i64;
        let weights: Vec<u8> = self.weights.iter().map(|weight| *weight as u8).collect();
        model.constant(&w, Elem::I8, &[count, (self.inputs / self.group) as i64, 3, 3], &weights);
        model.floats(&s, &[count], &self.scales);
        model.constant(&z, Elem::I8, &[count], &vec![0; self.outputs]);
        model.constant(&b, Elem::I32, &[count], &self.bias.iter().flat_map(|b| b.to_le_bytes()).collect::<Vec<_>>());
        let products: Vec<f32> = self.scales.iter().map(|scale| scale * input_scale).collect();
        model.floats(&bs, &[count], &products);
        let strides = [self.stride as i64; 2];
        let attributes = [
            ("kernel_shape", Attr::Ints(&[3, 3])),
            ("pads", Attr::Ints(&[1, 1, 1, 1])),
            ("strides", Attr::Ints(&strides)),
            ("group", Attr::Int(self.group as i64)),
        ];
        let of = |tensor: &str| ["q", "scale", "zero"].map(|part| format!("{tensor}_{part}"));
        let ([x_q, x_s, x_z], [y_q, y_s, y_z]) = (of(from), of(to));
        if way == "QOperator" {
            model.node("QLinearConv", &[&x_q, &x_s, &x_z, &w, &s, &z, &y_s, &y_z, &b], &[&y_q], &attributes);
            return;
        }
        let axis = [("axis", Attr::Int(0))];
        let [x_dq, w_dq, b_dq, real] = ["x_dq", "w_dq", "b_dq", "real"].map(name);
        model.node("DequantizeLinear", &[&x_q, &x_s, &x_z], &[&x_dq], &[]);
        model.node("DequantizeLinear", &[&w, &s, &z], &[&w_dq], &axis);
        model.node("DequantizeLinear", &[&b, &bs], &[&b_dq], &axis);
        model.node("Conv", &[&x_dq, &w_dq, &b_dq], &[&real], &attributes);
        model.node("QuantizeLinear", &[&real, &y_s, &y_z], &[&y_q], &[]);
    }
}

/// Two convolutions with SiLU in between, whose quantized result is also read as floats; the second is depthwise and
/// reads it through a max pool.
#[test]
fn convolutions_are_those_of_integers() {
    const SIDE: usize = 6;
    let grid = |scale, zero_point| Grid { scale, zero_point };
    let [x, a, s, y] = [grid(0.0173, 100), grid(0.31, 131), grid(0.117, 9), grid(0.093, 117)];
    let (first, second) = (Conv::new("first", 3, 8, 1, 1), Conv::new("second", 8, 8, 8, 2));
    let input: Vec<f32> = (0..3 * SIDE * SIDE).map(|at| ((at * 37 % 101) as f32 - 40.0) * 0.05).collect();

    let integers: Vec<i32> = input.iter().map(|number| x.quantize(*number)).collect();
    let sums = first.run(&integers, SIDE, [x, a]);
    let silu = |integer: &i32| {
        let real = f64::from(a.real(*integer));
        s.quantize((real / (1.0 + (-real).exp())) as f32)
    };
    let active: Vec<i32> = sums.iter().map(silu).collect();
    // A window of one by one moves the numbers and nothing else.
    let expected: Vec<f32> = second.run(&active, SIDE, [s, y]).into_iter().map(|integer| y.real(integer)).collect();
    let beside: Vec<f32> = active.iter().map(|integer| s.real(*integer) * 2.0).collect();
    assert!(sums.iter().filter(|sum| (1..255).contains(*sum)).count() > 200, "the grid is too narrow to tell");

    for way in ["QDQ", "QOperator"] {
        let mut model = Model::new(17);
        model.input("x", Elem::F32, &[1, 3, 6, 6].map(Dim::Fixed));
        model.output("y", Elem::F32, &[1, 8, 3, 3].map(Dim::Fixed));
        model.output("beside", Elem::F32, &[1, 8, 6, 6].map(Dim::Fixed));
        let [x_s, x_z] = x.constants(&mut model, "x");
        let [a_s, a_z] = a.constants(&mut model, "a");
        let [s_s, s_z] = s.constants(&mut model, "s");
        let [y_s, y_z] = y.constants(&mut model, "y");
        s.constants(&mut model, "pooled");
        model.node("QuantizeLinear", &["x", &x_s, &x_z], &["x_q"], &[]);
        first.write(&mut model, way, ["x", "a"], x.scale);
        model.node("DequantizeLinear", &["a_q", &a_s, &a_z], &["a_dq"], &[]);
        model.node("Sigmoid", &["a_dq"], &["sigmoid"], &[]);
        model.node("Mul", &["a_dq", "sigmoid"], &["silu"], &[]);
        model.node("QuantizeLinear", &["silu", &s_s, &s_z], &["s_q"], &[]);
        model.node("DequantizeLinear", &["s_q", &s_s, &s_z], &["s_dq"], &[]);
        model.node("Add", &["s_dq", "s_dq"], &["beside"], &[]);
        model.node("MaxPool", &["s_q"], &["pooled_q"], &[("kernel_shape", Attr::Ints(&[1, 1]))]);
        second.write(&mut model, way, ["pooled", "y"], s.scale);
        model.node("DequantizeLinear", &["y_q", &y_s, &y_z], &["y"], &[]);
        let outputs = load(&model.to_bytes()).unwrap().run(&input).unwrap();
        assert_eq!(outputs[0].data, expected, "{way}");
        assert_eq!(outputs[1].data, beside, "{way}");
    }
}
