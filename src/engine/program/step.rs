//! What a program consists of: steps over tensors that lie in one arena.
//!
//! All places and sizes are known when a program is made; a step only says what to read, what to compute and where to
//! write. A step never reads what it writes, but for padding that stays as it is.

use std::ops::Range;

use super::super::kernels::Packed;

/// The type of a tensor's numbers in the arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::engine) enum Element {
    /// Codes of a quantized tensor, one byte each, held as the kernels want them.
    Byte,
    /// `f32`.
    Float,
}

impl Element {
    /// Bytes of one number.
    pub(in crate::engine) fn size(self) -> usize {
        match self {
            Self::Byte => 1,
            Self::Float => 4,
        }
    }
}

/// Rows of pixels, each pixel with its channels side by side (NHWC).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) struct Plane {
    pub(in crate::engine) element: Element,
    /// Offset of the first pixel's first channel, in bytes from the start of the arena; a multiple of the element's size.
    pub(in crate::engine) at: usize,
    /// From one pixel to the next in a row, in elements.
    pub(in crate::engine) pixel: usize,
    /// From one row to the next, in elements.
    pub(in crate::engine) row: usize,
}

/// A tensor of any rank as the loops over it see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::engine) struct View {
    pub(in crate::engine) element: Element,
    /// Offset of the first number, in bytes from the start of the arena.
    pub(in crate::engine) at: usize,
    /// For each dimension of the loop, from one index to the next, in elements; zero repeats.
    pub(in crate::engine) strides: Vec<usize>,
}

/// A function of one float. Chains are applied from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::engine) enum Unary {
    /// `x × logistic(x)`
    Silu,
    /// `1 ÷ (1 + e⁻ˣ)`
    Sigmoid,
    /// `max(x, slope × x)` as ONNX's LeakyRelu: `x` where it is not below zero, else `slope × x`.
    Leaky { slope: f32 },
    /// `clamp(x, low, high)`: Relu, Relu6, Clip.
    Clip { low: f32, high: f32 },
    /// `clamp(slope × x + offset, 0, 1)`
    HardSigmoid { slope: f32, offset: f32 },
    /// `x × clamp(x ÷ 6 + 0.5, 0, 1)`
    HardSwish,
    /// The hyperbolic tangent.
    Tanh,
    /// `eˣ`
    Exp,
    /// `x × factor`
    Scale { factor: f32 },
    /// `x + term`
    Shift { term: f32 },
    /// Rounded to a grid and back: `round(clamp(x ÷ scale, low, high)) × scale`, halves to even.
    Round { scale: f32, low: f32, high: f32 },
}

/// How floats become codes: `round(clamp(x ÷ scale, low, high)) + offset`, halves to even; `low` and `high` are whole, the
/// result is the byte as the kernels hold it (`offset` says how).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::engine) struct Quantizer {
    pub(in crate::engine) scale: f32,
    pub(in crate::engine) low: f32,
    pub(in crate::engine) high: f32,
    pub(in crate::engine) offset: i32,
}

/// What becomes of a result on its way to memory.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::engine) enum Finish {
    /// Bytes to bytes: `table[byte]`; `None`: as they are.
    Table(Option<Box<[u8; 256]>>),
    /// Bytes to floats: `values[byte]`.
    Values(Box<[f32; 256]>),
    /// Floats to floats.
    Floats(Vec<Unary>),
    /// Floats to bytes, after functions of floats.
    Quantized(Vec<Unary>, Quantizer),
}

/// Where some channels of a convolution's result go.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Dest {
    /// Of the result's channels.
    pub(in crate::engine) channels: Range<usize>,
    /// Where the first of them goes for the first pixel.
    pub(in crate::engine) plane: Plane,
    pub(in crate::engine) finish: Finish,
}

/// The multiplications of a convolution.
#[derive(Clone, Debug)]
pub(in crate::engine) enum Weights {
    /// Bytes by int8, the sums requantized to bytes: for one channel each bias and multiplier (filled up to whole blocks).
    Bytes { packed: Vec<Block>, bias: Vec<i32>, multipliers: Vec<f32>, low: f32, high: f32, offset: i32 },
    /// Bytes by int8, the sums scaled to floats.
    BytesToFloats { packed: Vec<Block>, bias: Vec<i32>, multipliers: Vec<f32> },
    /// Floats.
    Floats { packed: Vec<Block>, bias: Vec<f32> },
}

/// Blocks of output channels that one tile kernel computes. The blocks of a convolution follow each other in `bias`,
/// `multipliers` and the result.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Block {
    /// Index of the tile kernel in [`Kernels`](super::super::kernels::Kernels)' list.
    pub(in crate::engine) kernel: usize,
    /// Blocks in `packed`.
    pub(in crate::engine) count: usize,
    pub(in crate::engine) packed: Packed,
}

/// A convolution with all channels of the input for each of the output, as an implicit matrix product.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Conv {
    /// The top left pixel of the first window, which may lie in the padding.
    pub(in crate::engine) input: Plane,
    /// From one output pixel to the next, in input pixels: down, right.
    pub(in crate::engine) stride: [usize; 2],
    /// Rows and columns of output pixels.
    pub(in crate::engine) size: [usize; 2],
    /// Where in a window the spans of neighbouring numbers start, in elements from its first.
    pub(in crate::engine) spans: Vec<usize>,
    /// Numbers in each span.
    pub(in crate::engine) span_len: usize,
    /// Output channels.
    pub(in crate::engine) channels: usize,
    pub(in crate::engine) weights: Weights,
    pub(in crate::engine) dests: Vec<Dest>,
}

/// A convolution of each channel on its own, one output channel for each input channel.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Depthwise {
    pub(in crate::engine) input: Plane,
    pub(in crate::engine) stride: [usize; 2],
    pub(in crate::engine) size: [usize; 2],
    /// Where in a window the taps are, in elements from its first pixel.
    pub(in crate::engine) taps: Vec<usize>,
    pub(in crate::engine) channels: usize,
    pub(in crate::engine) weights: DepthwiseWeights,
    pub(in crate::engine) dests: Vec<Dest>,
}

/// `weights[tap × channels + channel]`; the rest as in [`Weights`]. Bytes are read as the kernels hold them
/// (`i8` or `u8`).
#[derive(Clone, Debug)]
pub(in crate::engine) enum DepthwiseWeights {
    Bytes { weights: Vec<i8>, bias: Vec<i32>, multipliers: Vec<f32>, low: f32, high: f32, offset: i32 },
    BytesToFloats { weights: Vec<i8>, bias: Vec<i32>, multipliers: Vec<f32> },
    Floats { weights: Vec<f32>, bias: Vec<f32> },
}

/// The largest number in each window, channel by channel; what lies outside the input does not count.
#[derive(Clone, Debug)]
pub(in crate::engine) struct MaxPool {
    /// The first pixel of the input itself.
    pub(in crate::engine) input: Plane,
    /// Rows and columns of the input.
    pub(in crate::engine) input_size: [usize; 2],
    pub(in crate::engine) output: Plane,
    pub(in crate::engine) size: [usize; 2],
    pub(in crate::engine) channels: usize,
    pub(in crate::engine) kernel: [usize; 2],
    pub(in crate::engine) stride: [usize; 2],
    /// Above and left of the input.
    pub(in crate::engine) pads: [usize; 2],
}

/// An operand of [`Elementwise`].
#[derive(Clone, Debug)]
pub(in crate::engine) enum Operand {
    /// Bytes that stand for `values[byte]`.
    Bytes {
        view: View,
        values: Box<[f32; 256]>,
    },
    Floats {
        view: View,
    },
    /// Numbers of the model itself; the strides count in `data`.
    Constant {
        data: Vec<f32>,
        strides: Vec<usize>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Binary {
    Add,
    /// Accumulated minus operand.
    Sub,
    /// Operand minus accumulated.
    SubFrom,
    Mul,
    Div,
    /// Operand divided by accumulated.
    DivInto,
    Max,
    Min,
}

/// `finish(((first op₁ second) op₂ third) …)` for each index; also what copies, converts and reorders tensors.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Elementwise {
    /// The loop's dimensions, outermost first; the last one has stride one in the output.
    pub(in crate::engine) dims: Vec<usize>,
    pub(in crate::engine) first: Operand,
    pub(in crate::engine) rest: Vec<(Binary, Operand)>,
    pub(in crate::engine) output: View,
    /// [`Finish::Floats`] or [`Finish::Quantized`].
    pub(in crate::engine) finish: Finish,
}

/// Moves bytes, through a table where there is one, or floats.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Move {
    /// The loop's dimensions, outermost first.
    pub(in crate::engine) dims: Vec<usize>,
    /// Of the same element as the output.
    pub(in crate::engine) input: View,
    pub(in crate::engine) output: View,
    /// For bytes.
    pub(in crate::engine) table: Option<Box<[u8; 256]>>,
}

/// The program's input, planes of floats (NCHW), as pixels.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Interleave {
    /// Index among the program's inputs, which lie outside the arena.
    pub(in crate::engine) input: usize,
    pub(in crate::engine) channels: usize,
    /// Rows and columns.
    pub(in crate::engine) size: [usize; 2],
    /// Pixels may be wider than the channels; what is beyond them is written as `fill` up to `pixel`.
    pub(in crate::engine) output: Plane,
    /// The quantizer for bytes.
    pub(in crate::engine) quantizer: Option<Quantizer>,
    pub(in crate::engine) fill: u8,
}

/// `output[b][m][n] = post(Σₖ a[b][m][k] × b[b][k][n])` of floats; `k` is summed in order by fused multiply-add
/// from zero, in parts of 128 that are added up.
#[derive(Clone, Debug)]
pub(in crate::engine) struct MatMul {
    pub(in crate::engine) batch: usize,
    /// `m`, `k`, `n`.
    pub(in crate::engine) size: [usize; 3],
    /// Strides of batch and `m`; `k` has stride one.
    pub(in crate::engine) a: View,
    /// Strides of batch, `k` and `n`.
    pub(in crate::engine) b: View,
    /// Strides of batch and `m`; `n` has stride one.
    pub(in crate::engine) output: View,
    pub(in crate::engine) post: Vec<Unary>,
    /// Bytes from the start of the arena at which `b` is packed, [`MatMul::packed_len`] bytes, aligned to 64.
    pub(in crate::engine) packed_at: usize,
}

/// `e^(x − max) ÷ Σ e^(x − max)` over rows of neighbouring floats; input and output may be the same.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Softmax {
    /// The dimensions outside the row.
    pub(in crate::engine) dims: Vec<usize>,
    /// Numbers in a row.
    pub(in crate::engine) len: usize,
    /// Strides of `dims`.
    pub(in crate::engine) input: View,
    pub(in crate::engine) output: View,
}

/// The tail of an end-to-end head: of all anchors the `count` best by their best class, of their scores the `count` best,
/// and the boxes to them. What ONNX's ReduceMax, TopK, GatherElements, TopK, GatherElements give; of equal scores that
/// with the lower index comes first.
#[derive(Clone, Debug)]
pub(in crate::engine) struct TopDetections {
    /// The scores of neighbouring anchors, part after part.
    pub(in crate::engine) scores: Vec<Scores>,
    pub(in crate::engine) classes: usize,
    /// Floats: strides of anchor and coordinate, over all anchors.
    pub(in crate::engine) boxes: View,
    /// Coordinates (and whatever else belongs to an anchor), at least one.
    pub(in crate::engine) box_len: usize,
    pub(in crate::engine) count: usize,
    /// Rows of coordinates, score, class; as many as `count`.
    pub(in crate::engine) output: View,
    /// Bytes from the start of the arena at which the best score of each anchor is kept from phase to phase,
    /// one float for each.
    pub(in crate::engine) best_at: usize,
}

/// The scores of some anchors, class by class in neighbouring elements.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Scores {
    pub(in crate::engine) anchors: usize,
    /// Stride of the anchors.
    pub(in crate::engine) view: View,
    /// What bytes stand for; the order of the numbers is that of the bytes as the kernels hold them, and never falls.
    pub(in crate::engine) values: Option<Box<[f32; 256]>>,
}

/// What a step computes.
#[derive(Clone, Debug)]
pub(in crate::engine) enum Kind {
    Conv(Conv),
    Depthwise(Depthwise),
    MaxPool(MaxPool),
    Elementwise(Elementwise),
    Move(Move),
    Interleave(Interleave),
    MatMul(MatMul),
    Softmax(Softmax),
    TopDetections(TopDetections),
}

impl Kind {
    /// What a profile calls it.
    pub(in crate::engine) fn name(&self) -> &'static str {
        match self {
            Self::Conv(_) => "conv",
            Self::Depthwise(_) => "depthwise",
            Self::MaxPool(_) => "maxpool",
            Self::Elementwise(_) => "elementwise",
            Self::Move(_) => "move",
            Self::Interleave(_) => "input",
            Self::MatMul(_) => "matmul",
            Self::Softmax(_) => "softmax",
            Self::TopDetections(_) => "detections",
        }
    }
}

/// Padding around a plane that is written anew before a step writes the plane, since the memory is used in turns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::engine) struct Border {
    /// The plane inside.
    pub(in crate::engine) plane: Plane,
    /// Rows and columns inside.
    pub(in crate::engine) size: [usize; 2],
    /// Numbers of a pixel that are written; the pixels may be wider.
    pub(in crate::engine) channels: usize,
    /// Above, left, below, right; in pixels.
    pub(in crate::engine) width: [usize; 4],
    /// The byte, or zero for floats.
    pub(in crate::engine) fill: u8,
}

/// One step of a program.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Step {
    /// The name of the node that it stands for.
    pub(in crate::engine) name: String,
    /// Written before.
    pub(in crate::engine) borders: Vec<Border>,
    pub(in crate::engine) kind: Kind,
    /// Multiplications of the operator, without what is filled up.
    pub(in crate::engine) macs: u64,
}
