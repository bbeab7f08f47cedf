//! Convolutions: in int8 where the input lies on a grid and the weights are integers, in floats otherwise.

use tract_onnx::pb::NodeProto;

use super::{
    super::{
        kernels::{Kernels, Packed, TileKernel, pack_bytes, pack_floats},
        program::{self, Block, Conv, Depthwise, DepthwiseWeights, Weights},
        proto::node_name,
        requantize::multiplier,
    },
    Refused,
    attributes::{int, pads, pair},
    builder::Builder,
    demand::Form,
    draft::{Layout, Wanted},
    grid::Grid,
    tensor::Tensor,
    value::{Kind, ValueId},
};

/// A convolution as the file has it, with constant weights.
pub(super) struct Convolution<'a> {
    pub(super) node: &'a NodeProto,
    /// Output channels, input channels of a group, rows, columns.
    pub(super) dims: [usize; 4],
    pub(super) weights: Vec<f32>,
    /// The scales of weights that are integers times a scale, one or one for each output channel.
    pub(super) scales: Option<Vec<f32>>,
    pub(super) bias: Vec<f32>,
    /// The grid that alone reads the output, where there is one.
    pub(super) output: Option<Grid>,
}

/// How the window lies over the input.
#[derive(Clone, Copy)]
struct Geometry {
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    /// Above, left, below, right.
    pads: [usize; 4],
    /// Rows and columns of the output.
    size: [usize; 2],
}

/// A bias may be rounded by so much of the largest sum of products.
const BIAS_TOLERANCE: f64 = 1e-4;
/// So much of a whole number gets lost where it is multiplied by scales that are `f32`.
const BIAS_PRECISION: f64 = 1.0 / (1 << 22) as f64;

/// Integer weights with all that turns their sums into numbers.
struct Integers {
    weights: Vec<i8>,
    bias: Vec<i32>,
    multipliers: Vec<f32>,
}

/// Lowers one convolution; returns its value, and whether it runs in int8.
pub(super) fn lower(builder: &mut Builder, conv: Convolution<'_>, input: ValueId) -> Result<(ValueId, bool), Refused> {
    let dims = builder.tape.dims(input).to_vec();
    let &[1, channels, height, width] = &dims[..] else {
        return Err(Refused::new(format!("a convolution of {dims:?}")));
    };
    let groups = int(conv.node, "group").map_or(1, |group| group as usize);
    let [outputs, inner, ..] = conv.dims;
    let is_depthwise = groups > 1 && groups == channels && inner == 1 && outputs == channels;
    if (groups != 1 && !is_depthwise) || inner * groups != channels {
        return Err(Refused::new(format!("a convolution in {groups} groups")));
    }
    let geometry = Geometry::of(&conv, [height, width])?;
    let grid = builder.tape.grid(input);
    let signed = builder.kernels.signed;
    let integers = grid.and_then(|grid| Integers::of(&conv, &grid, signed).map(|integers| (grid, integers)));
    let is_int8 = integers.is_some();
    let form = integers.as_ref().map_or(Form::Floats, |(grid, _)| Form::Codes(*grid));
    let zero = form.zero();

    let name = node_name(conv.node).to_owned();
    let tensor = builder.demand(input, form)?;
    let tensor = builder.as_plane(&name, tensor, zero);
    let tensor = builder.with_border(&name, tensor, geometry.border([height, width]), zero);
    let macs = [outputs, inner, geometry.kernel[0], geometry.kernel[1], geometry.size[0], geometry.size[1]]
        .iter()
        .map(|side| *side as u64)
        .product();
    let out_dims = [1, outputs, geometry.size[0], geometry.size[1]];
    let output = conv.output.filter(|_| is_int8);
    // Integers take a quarter of the memory.
    let float_weights = if is_int8 { Vec::new() } else { conv.weights };
    let bias = conv.bias;
    let integers = integers.map(|(_, integers)| integers);
    let reads = [tensor.buffer];
    let make = move |layout: &Layout<'_>, wanted: &[Wanted]| {
        if wanted.is_empty() {
            return Vec::new();
        }
        let window = Window::of(&geometry, &tensor, layout);
        let numbers = Numbers { floats: &float_weights, bias: &bias, integers: integers.as_ref(), output };
        vec![if is_depthwise {
            program::Kind::Depthwise(depthwise(&geometry, &window, &numbers, outputs, layout, wanted))
        } else {
            program::Kind::Conv(dense(&geometry, &window, &numbers, [outputs, inner], layout, wanted))
        }]
    };
    let source = builder.open_source(&name, &out_dims, macs, &reads, Box::new(make));
    let kind = match output {
        Some(grid) => Kind::Bytes { source, moves: Vec::new(), values: grid.values(), grid: Some(grid) },
        None => Kind::Floats { source, moves: Vec::new(), post: Vec::new() },
    };
    Ok((builder.tape.push(&out_dims, kind), is_int8))
}

impl Geometry {
    fn of(conv: &Convolution<'_>, input: [usize; 2]) -> Result<Self, Refused> {
        let kernel = [conv.dims[2], conv.dims[3]];
        let (stride, dilation) = (pair(conv.node, "strides", [1, 1])?, pair(conv.node, "dilations", [1, 1])?);
        if pair(conv.node, "kernel_shape", kernel)? != kernel {
            return Err(Refused::new("a window of another size than the weights"));
        }
        let reach = [0, 1].map(|axis| (kernel[axis] - 1) * dilation[axis] + 1);
        let pads = pads(conv.node, input, reach, stride)?;
        let mut size = [0; 2];
        for axis in 0..2 {
            let padded = input[axis] + pads[axis] + pads[axis + 2];
            if padded < reach[axis] {
                return Err(Refused::new("a convolution whose window is larger than its input"));
            }
            size[axis] = (padded - reach[axis]) / stride[axis] + 1;
        }
        Ok(Self { kernel, stride, dilation, pads, size })
    }

    /// The pixels outside the input that windows reach.
    fn border(&self, input: [usize; 2]) -> [usize; 4] {
        let beyond = |axis: usize| {
            let last = (self.size[axis] - 1) * self.stride[axis] + (self.kernel[axis] - 1) * self.dilation[axis];
            (last + 1).saturating_sub(self.pads[axis] + input[axis])
        };
        [self.pads[0], self.pads[1], beyond(0), beyond(1)]
    }
}

impl Integers {
    /// The integers of a convolution's weights; `None` where they are none, or where sums could overflow.
    fn of(conv: &Convolution<'_>, input: &Grid, signed: bool) -> Option<Self> {
        let outputs = conv.dims[0];
        let scales = conv.scales.as_ref().filter(|scales| [1, outputs].contains(&scales.len()))?;
        if !scales.iter().all(|scale| scale.is_normal() && *scale > 0.0) {
            return None;
        }
        let scale = |channel: usize| scales[channel.min(scales.len() - 1)];
        let inner = conv.weights.len() / outputs;
        let whole = |(index, weight): (usize, &f32)| {
            let whole = (weight / scale(index / inner)).round();
            (-128.0..=127.0).contains(&whole).then_some(whole as i8)
        };
        let weights: Vec<i8> = conv.weights.iter().enumerate().map(whole).collect::<Option<_>>()?;
        // The byte of zero times the sum of the weights is what padding and the zero point add to each sum.
        let zero = i64::from(input.offset(signed));
        let mut bias = Vec::with_capacity(outputs);
        for (channel, weights) in weights.chunks(inner).enumerate() {
            let steps = f64::from(conv.bias[channel]) / (f64::from(input.scale) * f64::from(scale(channel)));
            let sum: i64 = weights.iter().map(|weight| i64::from(*weight)).sum();
            let largest: i64 = weights.iter().map(|weight| i64::from(*weight).abs() * 255).sum();
            let start = steps.round_ties_even() - (zero * sum) as f64;
            // A float bias is rounded to the steps of the sums, which must be finer than those of the output.
            let off = (steps - steps.round_ties_even()).abs();
            let unit = f64::from(input.scale) * f64::from(scale(channel));
            let allowed = match &conv.output {
                Some(output) => 0.5 * f64::from(output.scale),
                None => BIAS_TOLERANCE * unit * (largest as f64).max(1.0),
            };
            let allowed = allowed.max(steps.abs() * BIAS_PRECISION * unit);
            // NaN fails, too.
            let fits = start.abs() + (largest as f64) < f64::from(i32::MAX) && off * unit <= allowed;
            bias.push(fits.then_some(start as i32)?);
        }
        let multipliers: Vec<f32> = match &conv.output {
            Some(output) => (0..outputs).map(|channel| multiplier(input.scale, scale(channel), output.scale)).collect(),
            None => (0..outputs).map(|channel| input.scale * scale(channel)).collect(),
        };
        multipliers.iter().all(|multiplier| multiplier.is_normal()).then_some(Self { weights, bias, multipliers })
    }
}

/// Where a window's numbers lie.
struct Window {
    /// The first number of the first window.
    plane: program::Plane,
    /// From one input row to the next and from one pixel to the next, in elements.
    row: usize,
    pixel: usize,
}

impl Window {
    fn of(geometry: &Geometry, input: &Tensor, layout: &Layout<'_>) -> Self {
        let plane = layout.plane(input);
        let [above, left, ..] = geometry.pads;
        let back = (above * plane.row + left * plane.pixel) * plane.element.size();
        Self { plane: program::Plane { at: plane.at - back, ..plane }, row: plane.row, pixel: plane.pixel }
    }
}

/// A convolution's numbers.
struct Numbers<'a> {
    /// Output channels, input channels, rows, columns.
    floats: &'a [f32],
    bias: &'a [f32],
    integers: Option<&'a Integers>,
    output: Option<Grid>,
}

fn depthwise(
    geometry: &Geometry,
    window: &Window,
    numbers: &Numbers<'_>,
    channels: usize,
    layout: &Layout<'_>,
    wanted: &[Wanted],
) -> Depthwise {
    let [rows, columns] = geometry.kernel;
    let tap = |index: usize| {
        let (ky, kx) = (index / columns * geometry.dilation[0], index % columns * geometry.dilation[1]);
        ky * window.row + kx * window.pixel
    };
    let count = rows * columns;
    // From channel after channel to tap after tap.
    let at = |index: usize| index % channels * count + index / channels;
    let weights = match numbers.integers {
        Some(Integers { weights, bias, multipliers }) => {
            let weights = (0..weights.len()).map(|index| weights[at(index)]).collect();
            let (bias, multipliers) = (bias.clone(), multipliers.clone());
            match numbers.output {
                Some(grid) => DepthwiseWeights::Bytes {
                    weights,
                    bias,
                    multipliers,
                    low: grid.low,
                    high: grid.high,
                    offset: grid.offset(layout.kernels.signed),
                },
                None => DepthwiseWeights::BytesToFloats { weights, bias, multipliers },
            }
        }
        None => DepthwiseWeights::Floats {
            weights: (0..numbers.floats.len()).map(|index| numbers.floats[at(index)]).collect(),
            bias: numbers.bias.to_vec(),
        },
    };
    Depthwise {
        input: window.plane,
        stride: geometry.stride,
        size: geometry.size,
        taps: (0..count).map(tap).collect(),
        channels,
        weights,
        dests: layout.dests(wanted),
    }
}

fn dense(
    geometry: &Geometry,
    window: &Window,
    numbers: &Numbers<'_>,
    [outputs, inputs]: [usize; 2],
    layout: &Layout<'_>,
    wanted: &[Wanted],
) -> Conv {
    let [rows, columns] = geometry.kernel;
    // The pixels of a window's row are one span where little lies between them; what does is multiplied by zero.
    let gap = window.pixel - inputs.min(window.pixel);
    let is_row = geometry.dilation[1] == 1 && columns > 1 && (gap == 0 || (gap < 4 && numbers.integers.is_some()));
    let (in_row, span_len) = if is_row { (1, (columns - 1) * window.pixel + inputs) } else { (columns, inputs) };
    let span = |index: usize| {
        let (ky, kx) = (index / in_row * geometry.dilation[0], index % in_row * geometry.dilation[1]);
        ky * window.row + kx * window.pixel
    };
    let spans: Vec<usize> = (0..rows * in_row).map(span).collect();
    let shape = [outputs, spans.len(), span_len];
    // From output channel, span and place in the span to the place in the file's weights.
    let at = |output: usize, span: usize, k: usize| {
        let (ky, kx, input) = match is_row {
            true => (span, k / window.pixel, k % window.pixel),
            false => (span / columns, span % columns, k),
        };
        (input < inputs).then_some(((output * inputs + input) * rows + ky) * columns + kx)
    };
    let signed = layout.kernels.signed;
    let weights = match numbers.integers {
        Some(Integers { weights, bias, multipliers }) => {
            let packed = blocks(layout.kernels.bytes, shape, |kernel, first, [count, spans, len]| {
                pack_bytes(kernel.packing, [count, spans, len], |c, s, k| {
                    at(first + c, s, k).map_or(0, |at| weights[at])
                })
            });
            let (bias, multipliers) =
                (filled(bias, &packed, layout.kernels, 0), filled(multipliers, &packed, layout.kernels, 1.0));
            match numbers.output {
                Some(Grid { low, high, .. }) => {
                    let offset = numbers.output.map_or(0, |grid| grid.offset(signed));
                    Weights::Bytes { packed, bias, multipliers, low, high, offset }
                }
                None => Weights::BytesToFloats { packed, bias, multipliers },
            }
        }
        None => {
            let packed = blocks(layout.kernels.floats, shape, |kernel, first, [count, spans, len]| {
                pack_floats(kernel.packing, [count, spans, len], |c, s, k| {
                    at(first + c, s, k).map_or(0.0, |at| numbers.floats[at])
                })
            });
            let bias = filled_floats(numbers.bias, &packed, layout.kernels);
            Weights::Floats { packed, bias }
        }
    };
    let mut conv = Conv {
        input: window.plane,
        stride: geometry.stride,
        size: geometry.size,
        spans,
        span_len,
        channels: outputs,
        weights,
        dests: layout.dests(wanted),
    };
    flatten(&mut conv);
    conv
}

/// Takes all pixels for one row where rows follow each other without a gap, in the input and wherever the output goes.
fn flatten(conv: &mut Conv) {
    let [rows, columns] = conv.size;
    let follows = |plane: &program::Plane| plane.row == columns * plane.pixel;
    let is_flat = conv.stride == [1, 1] && follows(&conv.input) && conv.dests.iter().all(|dest| follows(&dest.plane));
    if is_flat {
        conv.size = [1, rows * columns];
    }
}

/// Cuts output channels into blocks: as many of the widest as are filled, and so on; the rest goes into the narrowest
/// that holds it.
fn blocks<T>(
    kernels: &[TileKernel<T>],
    [outputs, spans, span_len]: [usize; 3],
    pack: impl Fn(&TileKernel<T>, usize, [usize; 3]) -> Packed,
) -> Vec<Block> {
    let mut found = Vec::new();
    let mut first = 0;
    while first < outputs {
        let left = outputs - first;
        let holds_all = kernels.iter().rposition(|kernel| kernel.packing.block >= left);
        let is_filled = kernels.iter().position(|kernel| kernel.packing.block <= left);
        let index = holds_all.or(is_filled).expect("a block is wider than the channels or it is not");
        let block = kernels[index].packing.block;
        let count = (left / block).max(1);
        let channels = (count * block).min(left);
        let packed = pack(&kernels[index], first, [channels, spans, span_len]);
        found.push(Block { kernel: index, count, packed });
        first += channels;
    }
    found
}

/// Numbers of the channels, filled up to whole blocks.
fn filled<T: Copy>(numbers: &[T], blocks: &[Block], kernels: &Kernels, fill: T) -> Vec<T> {
    fill_up(numbers, blocks.iter().map(|block| block.count * kernels.bytes[block.kernel].packing.block), fill)
}

fn filled_floats(numbers: &[f32], blocks: &[Block], kernels: &Kernels) -> Vec<f32> {
    fill_up(numbers, blocks.iter().map(|block| block.count * kernels.floats[block.kernel].packing.block), 0.0)
}

fn fill_up<T: Copy>(numbers: &[T], lens: impl Iterator<Item = usize>, fill: T) -> Vec<T> {
    let mut all = numbers.to_vec();
    all.resize(lens.sum(), fill);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRID: Grid = Grid { scale: 0.5, low: -3.0, high: 252.0 };

    fn integers(weights: &[f32], scale: f32, bias: f32, output: Option<Grid>) -> Option<Integers> {
        let conv = Convolution {
            node: &NodeProto::default(),
            dims: [1, weights.len(), 1, 1],
            weights: weights.to_vec(),
            scales: Some(vec![scale]),
            bias: vec![bias],
            output,
        };
        Integers::of(&conv, &GRID, false)
    }

    #[test]
    fn weights_are_integers_again_and_the_zero_point_goes_into_the_bias() {
        let found = integers(&[0.25, -0.5, 1.0], 0.25, 2.0, None).unwrap();
        assert_eq!(found.weights, [1, -2, 4]);
        // 2.0 is 16 steps of 0.125; a code of three is zero, and the weights' sum is three.
        assert_eq!((found.bias, found.multipliers), (vec![16 - 9], vec![0.125]));
    }

    #[test]
    fn what_does_not_fit_into_integers_is_left_to_floats() {
        assert!(integers(&[127.0, -128.0], 1.0, 0.0, None).is_some());
        assert!(integers(&[128.0], 1.0, 0.0, None).is_none());
        assert!(integers(&[1.0], 1.0, 3e9, None).is_none(), "sums would overflow");
        assert!(integers(&[1.0], 1.0, f32::NAN, None).is_none());
        for scale in [0.0, -1.0, f32::NAN, f32::INFINITY, 1e-40] {
            assert!(integers(&[0.0], scale, 0.0, None).is_none(), "{scale}");
        }
    }

    #[test]
    fn a_whole_bias_beside_weights_of_zero_is_whole_again() {
        // 7,000,001 steps of 0.05, which no `f32` holds.
        assert!(integers(&[0.0], 0.1, 7_000_001.0 * (0.5 * 0.1), None).is_some());
        assert!(integers(&[0.0], 0.1, 0.12, None).is_none(), "two and a half steps are no file's integer");
    }

    #[test]
    fn a_bias_between_coarse_steps_is_not_rounded() {
        // A step of the sums is 0.5: a quarter of it is more than half a step of the fine output.
        let fine = Grid { scale: 0.125, ..GRID };
        assert!(integers(&[1.0], 1.0, 0.625, Some(GRID)).is_some());
        assert!(integers(&[1.0], 1.0, 0.625, Some(fine)).is_none());
        assert!(integers(&[1.0], 1.0, 0.5, Some(fine)).is_some());
    }
}
