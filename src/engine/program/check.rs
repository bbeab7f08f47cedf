//! What the steps of a program must keep to, checked once when it is made, so that a wrong step is an error and never
//! touches memory that is not its own.

use super::{
    super::kernels::{Kernels, Packing, SLACK},
    regions::{Fault, Footprint, Region},
    *,
};

/// What a step is checked against.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits<'a> {
    pub(super) kernels: &'static Kernels,
    pub(super) arena_len: usize,
    /// Floats in each input of the program.
    pub(super) inputs: &'a [usize],
}

/// Checks that a step keeps to its own memory and fits the kernels.
///
/// # Errors
/// The first thing that is wrong.
pub(super) fn check(step: &Step, limits: Limits<'_>) -> Result<(), Fault> {
    footprint(step, limits)?.check(limits.arena_len)
}

/// What a step reads and writes, where it fits the kernels.
pub(super) fn footprint(step: &Step, limits: Limits<'_>) -> Result<Footprint, Fault> {
    let mut footprint = match &step.kind {
        Kind::Conv(conv) => conv_footprint(conv, limits.kernels)?,
        Kind::Depthwise(depthwise) => depthwise_footprint(depthwise, limits.kernels)?,
        Kind::MaxPool(pool) => pool_footprint(pool)?,
        Kind::Elementwise(elementwise) => elementwise_footprint(elementwise, limits.kernels)?,
        Kind::Move(moves) => move_footprint(moves)?,
        Kind::Interleave(interleave) => interleave_footprint(interleave, limits)?,
        Kind::MatMul(matmul) => matmul_footprint(matmul, limits.kernels)?,
        Kind::Softmax(softmax) => softmax_footprint(softmax)?,
        Kind::TopDetections(top) => top_footprint(top)?,
    };
    for border in &step.borders {
        footprint.writes.extend(Region::of_border(border).ok_or(Fault::Outside("a border"))?);
    }
    Ok(footprint)
}

/// Checks that so many floats from `at` on lie in the arena.
pub(super) fn check_output(at: usize, len: usize, arena_len: usize) -> Result<(), Fault> {
    Region::new("an output", Element::Float, at, [(len, 1)]).check(arena_len)
}

/// Fails with the fault unless the condition holds.
fn ensure(holds: bool, fault: Fault) -> Result<(), Fault> {
    if holds { Ok(()) } else { Err(fault) }
}

fn conv_footprint(conv: &Conv, kernels: &Kernels) -> Result<Footprint, Fault> {
    let Conv { input, spans, span_len, channels, size, .. } = conv;
    ensure(!spans.is_empty() && *span_len > 0 && *channels > 0, Fault::Empty("the convolution"))?;
    let (element, packed, bias_len, multipliers) = match &conv.weights {
        Weights::Bytes { packed, bias, multipliers, low, high, offset } => {
            check_codes(*low, *high, *offset, kernels)?;
            ensure(multipliers.iter().all(|multiplier| *multiplier > 0.0), Fault::Range("a multiplier"))?;
            (Element::Byte, packed, bias.len(), Some(multipliers))
        }
        Weights::BytesToFloats { packed, bias, multipliers } => (Element::Byte, packed, bias.len(), Some(multipliers)),
        Weights::Floats { packed, bias } => (Element::Float, packed, bias.len(), None),
    };
    ensure(input.element == element, Fault::Element("the convolution's input"))?;
    let mut padded = 0;
    for block in packed {
        let packing = match element {
            Element::Byte => kernels.bytes.get(block.kernel).map(|kernel| kernel.packing),
            Element::Float => kernels.floats.get(block.kernel).map(|kernel| kernel.packing),
        };
        let packing = packing.ok_or(Fault::Kernel(block.kernel))?;
        check_packed(block, packing, spans.len(), *span_len)?;
        padded += block.count * packing.block;
    }
    ensure(padded >= *channels && bias_len == padded, Fault::Length("the convolution's blocks or bias"))?;
    if let Some(multipliers) = multipliers {
        ensure(multipliers.len() == padded, Fault::Length("the convolution's multipliers"))?;
        ensure(multipliers.iter().all(|multiplier| multiplier.is_finite()), Fault::Range("a multiplier"))?;
    }
    let floats = !matches!(conv.weights, Weights::Bytes { .. });
    let writes = dest_regions(&conv.dests, *size, *channels, floats, kernels)?;
    let reads = window_regions(input, conv.stride, *size, spans, *span_len)?;
    Ok(Footprint { reads, writes })
}

/// Checks that packed weights are what the kernel will read; the shape and the packing say what is in them.
fn check_packed(block: &Block, packing: Packing, spans: usize, span_len: usize) -> Result<(), Fault> {
    let groups = span_len.div_ceil(packing.group);
    let whole = block.count.checked_mul(block.packed.block_len);
    ensure(
        block.count > 0
            && block.packed.packing == packing
            && block.packed.span_count == spans
            && block.packed.span_groups == groups
            && whole == Some(block.packed.len())
            && groups * packing.group - span_len <= SLACK,
        Fault::Length("the packed weights"),
    )
}

fn depthwise_footprint(depthwise: &Depthwise, kernels: &Kernels) -> Result<Footprint, Fault> {
    let Depthwise { input, taps, channels, size, .. } = depthwise;
    ensure(!taps.is_empty() && *channels > 0, Fault::Empty("the convolution"))?;
    let (element, weights_len, bias_len, multipliers) = match &depthwise.weights {
        DepthwiseWeights::Bytes { weights, bias, multipliers, low, high, offset } => {
            check_codes(*low, *high, *offset, kernels)?;
            ensure(multipliers.iter().all(|multiplier| *multiplier > 0.0), Fault::Range("a multiplier"))?;
            (Element::Byte, weights.len(), bias.len(), Some(multipliers))
        }
        DepthwiseWeights::BytesToFloats { weights, bias, multipliers } => {
            (Element::Byte, weights.len(), bias.len(), Some(multipliers))
        }
        DepthwiseWeights::Floats { weights, bias } => (Element::Float, weights.len(), bias.len(), None),
    };
    ensure(input.element == element, Fault::Element("the convolution's input"))?;
    ensure(taps.len().checked_mul(*channels) == Some(weights_len), Fault::Length("the convolution's weights"))?;
    ensure(bias_len == *channels, Fault::Length("the convolution's bias"))?;
    if let Some(multipliers) = multipliers {
        ensure(multipliers.len() == *channels, Fault::Length("the convolution's multipliers"))?;
        ensure(multipliers.iter().all(|multiplier| multiplier.is_finite()), Fault::Range("a multiplier"))?;
    }
    let floats = !matches!(depthwise.weights, DepthwiseWeights::Bytes { .. });
    let writes = dest_regions(&depthwise.dests, *size, *channels, floats, kernels)?;
    let reads = window_regions(input, depthwise.stride, *size, taps, *channels)?;
    Ok(Footprint { reads, writes })
}

/// Whether no result of a convolution, which has been checked, lies between the numbers that the windows of a row of
/// pixels read, as other channels of the same pixels do.
pub(super) fn are_windows_apart(depthwise: &Depthwise) -> bool {
    let Depthwise { input, stride, taps, channels, size, dests, .. } = depthwise;
    let last = taps.iter().max().copied().unwrap_or(0);
    let rows = Plane { row: stride[0] * input.row, ..*input };
    let len = (size[1] - 1) * stride[1] * input.pixel + last + channels;
    let windows = Region::of_plane("the windows", &rows, 0, [size[0], 1], len);
    dests.iter().all(|dest| {
        let written = Region::of_plane("a result", &dest.plane, 0, *size, dest.channels.len());
        windows.as_ref().zip(written).is_some_and(|(windows, written)| !written.overlaps(windows))
    })
}

/// What the windows of a convolution read.
fn window_regions(
    input: &Plane,
    stride: [usize; 2],
    size: [usize; 2],
    offsets: &[usize],
    len: usize,
) -> Result<Vec<Region>, Fault> {
    let what = "the convolution's input";
    let plane = || {
        let [row, pixel] = [input.row.checked_mul(stride[0])?, input.pixel.checked_mul(stride[1])?];
        Some(Plane { row, pixel, ..*input })
    };
    let plane = plane().ok_or(Fault::Outside(what))?;
    let region = |offset: &usize| Region::of_plane(what, &plane, *offset, size, len).ok_or(Fault::Outside(what));
    offsets.iter().map(region).collect()
}

/// What the dests of a convolution write; `floats` says what its results are.
fn dest_regions(
    dests: &[Dest],
    size: [usize; 2],
    channels: usize,
    floats: bool,
    kernels: &Kernels,
) -> Result<Vec<Region>, Fault> {
    let what = "a convolution's result";
    let region = |dest: &Dest| {
        let element = match &dest.finish {
            Finish::Table(_) if !floats => Element::Byte,
            Finish::Values(_) if !floats => Element::Float,
            Finish::Floats(_) if floats => Element::Float,
            Finish::Quantized(_, quantizer) if floats => {
                check_quantizer(quantizer, kernels)?;
                Element::Byte
            }
            _ => return Err(Fault::Element(what)),
        };
        ensure(dest.plane.element == element, Fault::Element(what))?;
        ensure(dest.channels.end <= channels, Fault::Range("a dest's channels"))?;
        Region::of_plane(what, &dest.plane, 0, size, dest.channels.len()).ok_or(Fault::Outside(what))
    };
    dests.iter().map(region).collect()
}

/// Checks that results between whole bounds fit into a byte.
fn check_codes(low: f32, high: f32, offset: i32, kernels: &Kernels) -> Result<(), Fault> {
    let whole = |bound: f32| bound.fract() == 0.0 && bound.abs() <= 255.0;
    let (least, most) = if kernels.signed { (-128, 127) } else { (0, 255) };
    let fits = |bound: f32| (bound as i32).checked_add(offset).is_some_and(|code| (least..=most).contains(&code));
    ensure(whole(low) && whole(high) && low <= high && fits(low) && fits(high), Fault::Range("a quantizer's bounds"))
}

fn check_quantizer(quantizer: &Quantizer, kernels: &Kernels) -> Result<(), Fault> {
    ensure(quantizer.scale.is_finite() && quantizer.scale > 0.0, Fault::Range("a quantizer's scale"))?;
    check_codes(quantizer.low, quantizer.high, quantizer.offset, kernels)
}

fn pool_footprint(pool: &MaxPool) -> Result<Footprint, Fault> {
    let what = "the pooling";
    let MaxPool { input_size, size, kernel, stride, pads, .. } = pool;
    ensure(pool.input.element == pool.output.element, Fault::Element(what))?;
    for axis in 0..2 {
        // Each window has a number of the input in it.
        let last = (size[axis].max(1) - 1).checked_mul(stride[axis]).ok_or(Fault::Range(what))?;
        ensure(pads[axis] < kernel[axis] && last < input_size[axis].saturating_add(pads[axis]), Fault::Range(what))?;
    }
    let read = Region::of_plane("the pooling's input", &pool.input, 0, *input_size, pool.channels);
    let write = Region::of_plane("the pooling's result", &pool.output, 0, *size, pool.channels);
    Ok(Footprint { reads: read.into_iter().collect(), writes: write.into_iter().collect() })
}

fn elementwise_footprint(elementwise: &Elementwise, kernels: &Kernels) -> Result<Footprint, Fault> {
    let Elementwise { dims, first, rest, output, finish } = elementwise;
    let what = "the elementwise result";
    match (finish, output.element) {
        (Finish::Floats(_), Element::Float) => {}
        (Finish::Quantized(_, quantizer), Element::Byte) => check_quantizer(quantizer, kernels)?,
        _ => return Err(Fault::Element(what)),
    }
    ensure(dims.is_empty() || output.strides.last() == Some(&1), Fault::Range(what))?;
    let mut footprint = Footprint { reads: Vec::new(), writes: vec![Region::of_view(what, output, dims)?] };
    for operand in std::iter::once(first).chain(rest.iter().map(|(_, operand)| operand)) {
        let what = "an operand";
        match operand {
            Operand::Bytes { view, .. } => {
                ensure(view.element == Element::Byte, Fault::Element(what))?;
                footprint.reads.push(Region::of_view(what, view, dims)?);
            }
            Operand::Floats { view } => {
                ensure(view.element == Element::Float, Fault::Element(what))?;
                footprint.reads.push(Region::of_view(what, view, dims)?);
            }
            Operand::Constant { data, strides } => {
                let view = View { element: Element::Float, at: 0, strides: strides.clone() };
                Region::of_view("a constant", &view, dims)?.check(data.len() * 4)?;
            }
        }
    }
    ensure(elementwise.is_within_limits(), Fault::Range("the number of dimensions or operands"))?;
    Ok(footprint)
}

fn move_footprint(moves: &Move) -> Result<Footprint, Fault> {
    let Move { dims, input, output, table } = moves;
    ensure(input.element == output.element, Fault::Element("the result"))?;
    ensure(table.is_none() || input.element == Element::Byte, Fault::Element("what goes through a table"))?;
    let reads = vec![Region::of_view("the operand", input, dims)?];
    let writes = vec![Region::of_view("the result", output, dims)?];
    ensure(moves.is_within_limits(), Fault::Range("the number of dimensions"))?;
    Ok(Footprint { reads, writes })
}

fn interleave_footprint(interleave: &Interleave, limits: Limits<'_>) -> Result<Footprint, Fault> {
    let Interleave { input, channels, size, output, quantizer, .. } = interleave;
    let what = "the pixels of the input";
    let element = if quantizer.is_some() { Element::Byte } else { Element::Float };
    ensure(output.element == element, Fault::Element(what))?;
    if let Some(quantizer) = quantizer {
        check_quantizer(quantizer, limits.kernels)?;
    }
    let len = size[0].checked_mul(size[1]).and_then(|pixels| pixels.checked_mul(*channels));
    let found = limits.inputs.get(*input).is_some_and(|found| len.is_some_and(|len| len <= *found));
    ensure(found, Fault::Input(*input))?;
    ensure(*channels > 0, Fault::Empty(what))?;
    ensure(output.pixel >= *channels, Fault::Range(what))?;
    let write = Region::of_plane(what, output, 0, *size, output.pixel).ok_or(Fault::Outside(what))?;
    Ok(Footprint { reads: Vec::new(), writes: vec![write] })
}

fn matmul_footprint(matmul: &MatMul, kernels: &Kernels) -> Result<Footprint, Fault> {
    let MatMul { batch, size: [m, k, n], a, b, output, packed_at, .. } = matmul;
    let all = [a, b, output];
    ensure(all.iter().all(|view| view.element == Element::Float), Fault::Element("a matrix"))?;
    let row = |what, view: &View, inner| {
        let view = View { strides: view.strides.iter().copied().chain([1]).collect(), ..view.clone() };
        Region::of_view(what, &view, &[*batch, *m, inner])
    };
    let reads = vec![row("the left matrix", a, *k)?, Region::of_view("the right matrix", b, &[*batch, *k, *n])?];
    ensure(packed_at.is_multiple_of(64), Fault::Misaligned("the packed matrix"))?;
    let packed = Region::new("the packed matrix", Element::Byte, *packed_at, [(matmul.packed_len(kernels), 1)]);
    Ok(Footprint { reads, writes: vec![row("the product", output, *n)?, packed] })
}

fn softmax_footprint(softmax: &Softmax) -> Result<Footprint, Fault> {
    let Softmax { dims, len, input, output } = softmax;
    let row = |what, view: &View| {
        ensure(view.element == Element::Float, Fault::Element(what))?;
        let view = View { strides: view.strides.iter().copied().chain([1]).collect(), ..view.clone() };
        Region::of_view(what, &view, &dims.iter().copied().chain([*len]).collect::<Vec<_>>())
    };
    let reads = if input == output { Vec::new() } else { vec![row("the operand", input)?] };
    let writes = vec![row("the result", output)?];
    ensure(softmax.is_within_limits(), Fault::Range("the number of dimensions"))?;
    Ok(Footprint { reads, writes })
}

fn top_footprint(top: &TopDetections) -> Result<Footprint, Fault> {
    let anchors = top.scores.iter().try_fold(0usize, |sum, scores| sum.checked_add(scores.anchors));
    let anchors = anchors.ok_or(Fault::Range("the anchors"))?;
    ensure(top.count > 0 && top.count <= anchors, Fault::Range("the number of detections"))?;
    ensure(top.box_len > 0 && top.classes > 0, Fault::Empty("a detection"))?;
    let mut footprint = Footprint::default();
    for Scores { anchors, view, values } in &top.scores {
        let element = if values.is_some() { Element::Byte } else { Element::Float };
        ensure(view.element == element && view.strides.len() == 1, Fault::Element("the scores"))?;
        let dims = [(*anchors, view.strides[0]), (top.classes, 1)];
        footprint.reads.push(Region::new("the scores", element, view.at, dims));
    }
    ensure(top.boxes.element == Element::Float && top.output.element == Element::Float, Fault::Element("the boxes"))?;
    footprint.reads.push(Region::of_view("the boxes", &top.boxes, &[anchors, top.box_len])?);
    ensure(top.is_within_limits(), Fault::Range("the number of scores"))?;
    let best = Region::new("the best scores", Element::Float, top.best_at, [(anchors, 1)]);
    footprint.writes.push(best);
    footprint.writes.push(Region::of_view("the detections", &top.output, &[top.count, top.box_len + 2])?);
    Ok(footprint)
}
