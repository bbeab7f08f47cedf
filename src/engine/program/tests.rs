//! Holds convolutions, and the borders around what they read, against plain loops, number by number and with all that
//! lies around them.

use super::{
    super::kernels::{self, Packing, TileKernel, loops, pack_bytes, pack_floats, requantize},
    testing::Random,
    *,
};

/// From -1 on, to 1.
fn unit(random: &mut Random) -> f32 {
    0.1 * random.float()
}

fn one_of<T: Copy>(random: &mut Random, all: &[T]) -> T {
    all[random.below(all.len())]
}

/// What a convolution multiplies and what it gives.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Numbers {
    Bytes,
    BytesToFloats,
    Floats,
}

/// A convolution in the terms of ONNX.
#[derive(Clone, Debug)]
struct Shape {
    numbers: Numbers,
    depthwise: bool,
    /// Rows, columns, channels.
    input: [usize; 3],
    kernel: [usize; 2],
    stride: usize,
    dilation: usize,
    pad: usize,
    channels: usize,
}

impl Shape {
    fn new(random: &mut Random) -> Self {
        let flat = random.below(5) == 0;
        let depthwise = random.below(3) == 0;
        let side = if flat { 1 } else { one_of(random, &[1, 3, 5]) };
        let kernel = if flat { [1, 1] } else { [side, one_of(random, &[side, 1])] };
        let dilation = one_of(random, &[1, 1, 2]);
        let pad = if flat { 0 } else { random.below(side * dilation) };
        let least = (side - 1) * dilation + 1;
        let input = match flat {
            true => [1, 1 + random.below(500), 1 + random.below(40)],
            false => [least + random.below(12), least + random.below(40), 1 + random.below(40)],
        };
        let channels = if depthwise { 1 + random.below(150) } else { 1 + random.below(80) };
        let input = if depthwise { [input[0], input[1], channels] } else { input };
        let numbers = one_of(random, &[Numbers::Bytes, Numbers::Bytes, Numbers::BytesToFloats, Numbers::Floats]);
        Self { numbers, depthwise, input, kernel, stride: one_of(random, &[1, 1, 2]), dilation, pad, channels }
    }

    fn size(&self) -> [usize; 2] {
        [0, 1].map(|axis| {
            let window = (self.kernel[axis] - 1) * self.dilation + 1;
            (self.input[axis] + 2 * self.pad - window) / self.stride + 1
        })
    }

    fn element(&self) -> Element {
        if self.numbers == Numbers::Floats { Element::Float } else { Element::Byte }
    }

    /// Input channels of an output channel.
    fn depth(&self) -> usize {
        if self.depthwise { 1 } else { self.input[2] }
    }

    /// Weights of an output channel.
    fn window(&self) -> usize {
        self.kernel[0] * self.kernel[1] * self.depth()
    }
}

/// A program of two steps, one that copies into a padded plane and the convolution, and what the arena then holds.
struct Case {
    shape: Shape,
    signed: bool,
    fill: u8,
    /// Output channel, row, column, input channel.
    weights: Vec<i8>,
    float_weights: Vec<f32>,
    bias: Vec<i32>,
    multipliers: Vec<f32>,
    low: f32,
    high: f32,
    offset: i32,
    source: Plane,
    padded: Plane,
    dests: Vec<Dest>,
    arena_len: usize,
}

impl Case {
    fn new(random: &mut Random, signed: bool) -> Self {
        let shape = Shape::new(random);
        let [rows, columns, depth] = shape.input;
        let (element, pad) = (shape.element(), shape.pad);
        let pixel = depth + one_of(random, &[0, 0, 3, 16]);
        let mut arena_len = 64;
        let mut take = |bytes: usize| {
            let at = arena_len;
            arena_len = (at + bytes).next_multiple_of(64);
            at
        };
        let source =
            Plane { element, at: take(rows * columns * depth * element.size()), pixel: depth, row: columns * depth };
        let row = (columns + 2 * pad) * pixel;
        let start = take((rows + 2 * pad) * row * element.size()) + random.below(pixel - depth + 1) * element.size();
        let padded = Plane { element, at: start + (pad * row + pad * pixel) * element.size(), pixel, row };
        let weights = (0..shape.channels * shape.window()).map(|_| random.below(256) as i8).collect();
        let float_weights = (0..shape.channels * shape.window()).map(|_| unit(random)).collect();
        let bias = (0..shape.channels).map(|_| random.below(20_000) as i32 - 10_000).collect();
        let multipliers = (0..shape.channels).map(|_| (1.5 + unit(random)) * 2e-3).collect();
        let (low, high, offset) = (one_of(random, &[0.0, -100.0]), 127.0, if signed { -20 } else { 110 });
        let fill = if element == Element::Float { 0 } else { random.below(256) as u8 };
        let dests = dests(random, &shape, signed, &mut take);
        Self {
            shape,
            signed,
            fill,
            weights,
            float_weights,
            bias,
            multipliers,
            low,
            high,
            offset,
            source,
            padded,
            dests,
            arena_len,
        }
    }

    /// The weight of an output channel at a row and column of the kernel for an input channel.
    fn at(&self, channel: usize, [row, column]: [usize; 2], depth: usize) -> usize {
        ((channel * self.shape.kernel[0] + row) * self.shape.kernel[1] + column) * self.shape.depth() + depth
    }

    fn copy(&self) -> Step {
        let Shape { input: [rows, columns, channels], .. } = self.shape;
        let weights = match self.shape.element() {
            Element::Float => DepthwiseWeights::Floats { weights: vec![1.0; channels], bias: vec![0.0; channels] },
            Element::Byte => DepthwiseWeights::Bytes {
                weights: vec![1; channels],
                bias: vec![0; channels],
                multipliers: vec![1.0; channels],
                low: if self.signed { -128.0 } else { 0.0 },
                high: if self.signed { 127.0 } else { 255.0 },
                offset: 0,
            },
        };
        let finish = match self.shape.element() {
            Element::Float => Finish::Floats(Vec::new()),
            Element::Byte => Finish::Table(None),
        };
        let kind = Kind::Depthwise(Depthwise {
            input: self.source,
            stride: [1, 1],
            size: [rows, columns],
            taps: vec![0],
            channels,
            weights,
            dests: vec![Dest { channels: 0..channels, plane: self.padded, finish }],
        });
        let width = [self.shape.pad; 4];
        let border = Border { plane: self.padded, size: [rows, columns], channels, width, fill: self.fill };
        Step { name: "copy".into(), borders: vec![border], kind, macs: 0 }
    }

    fn step(&self, random: &mut Random, kernels: &Kernels) -> Step {
        let Shape { kernel, dilation, pad, stride, depthwise, .. } = self.shape;
        let Plane { pixel, row, .. } = self.padded;
        let size = self.padded.element.size();
        let input = Plane { at: self.padded.at - (pad * row + pad * pixel) * size, ..self.padded };
        let places: Vec<[usize; 2]> =
            (0..kernel[0]).flat_map(|row| (0..kernel[1]).map(move |column| [row, column])).collect();
        let spans = places.iter().map(|[r, c]| dilation * (r * row + c * pixel)).collect();
        let (stride, size, dests) = ([stride; 2], self.shape.size(), self.dests.clone());
        let kind = if depthwise {
            let weights = self.depthwise_weights(&places);
            Kind::Depthwise(Depthwise {
                input,
                stride,
                size,
                taps: spans,
                channels: self.shape.channels,
                weights,
                dests,
            })
        } else {
            // Neighbouring pixels are one span where nothing lies between.
            let depth = self.shape.input[2];
            let whole = dilation == 1 && pixel == depth && random.below(2) == 0;
            let (spans, span_len, columns) = match whole {
                true => ((0..kernel[0]).map(|r| r * row).collect(), kernel[1] * depth, kernel[1]),
                false => (spans, depth, 1),
            };
            let place = move |span: usize, k: usize| (places[span * columns + k / depth], k % depth);
            let weights = self.tile_weights(random, kernels, [spans.len(), span_len], &place);
            Kind::Conv(Conv { input, stride, size, spans, span_len, channels: self.shape.channels, weights, dests })
        };
        Step { name: "convolution".into(), borders: Vec::new(), kind, macs: 0 }
    }

    fn depthwise_weights(&self, places: &[[usize; 2]]) -> DepthwiseWeights {
        let order =
            || places.iter().flat_map(|place| (0..self.shape.channels).map(|channel| self.at(channel, *place, 0)));
        let weights = order().map(|at| self.weights[at]).collect();
        let (bias, multipliers) = (self.bias.clone(), self.multipliers.clone());
        let (low, high, offset) = (self.low, self.high, self.offset);
        match self.shape.numbers {
            Numbers::Bytes => DepthwiseWeights::Bytes { weights, bias, multipliers, low, high, offset },
            Numbers::BytesToFloats => DepthwiseWeights::BytesToFloats { weights, bias, multipliers },
            Numbers::Floats => DepthwiseWeights::Floats {
                weights: order().map(|at| self.float_weights[at]).collect(),
                bias: bias.iter().map(|bias| *bias as f32).collect(),
            },
        }
    }

    fn tile_weights(
        &self,
        random: &mut Random,
        kernels: &Kernels,
        [spans, span_len]: [usize; 2],
        place: &dyn Fn(usize, usize) -> ([usize; 2], usize),
    ) -> Weights {
        let channels = self.shape.channels;
        if self.shape.numbers == Numbers::Floats {
            let parts = blocks(random, kernels.floats, channels);
            let pack = |(kernel, packing, first, count): (usize, Packing, usize, usize)| {
                let len = (channels - first).min(count * packing.block);
                let weight = |c: usize, s: usize, k: usize| {
                    let (place, depth) = place(s, k);
                    self.float_weights[self.at(first + c, place, depth)]
                };
                Block { kernel, count, packed: pack_floats(packing, [len, spans, span_len], weight) }
            };
            let padded: usize = parts.iter().map(|(_, packing, _, count)| packing.block * count).sum();
            let mut bias: Vec<f32> = self.bias.iter().map(|bias| *bias as f32).collect();
            bias.resize(padded, 7.0);
            return Weights::Floats { packed: parts.into_iter().map(pack).collect(), bias };
        }
        let parts = blocks(random, kernels.bytes, channels);
        let pack = |(kernel, packing, first, count): (usize, Packing, usize, usize)| {
            let len = (channels - first).min(count * packing.block);
            let weight = |c: usize, s: usize, k: usize| {
                let (place, depth) = place(s, k);
                self.weights[self.at(first + c, place, depth)]
            };
            Block { kernel, count, packed: pack_bytes(packing, [len, spans, span_len], weight) }
        };
        let padded: usize = parts.iter().map(|(_, packing, _, count)| packing.block * count).sum();
        let (mut bias, mut multipliers) = (self.bias.clone(), self.multipliers.clone());
        bias.resize(padded, 7);
        multipliers.resize(padded, 1.0);
        let packed = parts.into_iter().map(pack).collect();
        match self.shape.numbers {
            Numbers::Bytes => {
                Weights::Bytes { packed, bias, multipliers, low: self.low, high: self.high, offset: self.offset }
            }
            _ => Weights::BytesToFloats { packed, bias, multipliers },
        }
    }

    /// The arena after both steps, by plain loops.
    fn expected(&self, mut arena: Vec<u8>) -> Vec<u8> {
        let Shape { input: [rows, columns, depth], pad, .. } = self.shape;
        let size = self.source.element.size();
        for row in 0..rows + 2 * pad {
            for column in 0..columns + 2 * pad {
                let at = self.padded.at + (row * self.padded.row + column * self.padded.pixel) * size
                    - pad * (self.padded.row + self.padded.pixel) * size;
                let inside = (pad..rows + pad).contains(&row) && (pad..columns + pad).contains(&column);
                if inside {
                    let from = self.source.at + ((row - pad) * columns + column - pad) * depth * size;
                    arena.copy_within(from..from + depth * size, at);
                } else {
                    arena[at..at + depth * size].fill(self.fill);
                }
            }
        }
        let [rows, columns] = self.shape.size();
        for dest in &self.dests {
            for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))) {
                for (index, channel) in dest.channels.clone().enumerate() {
                    let at = dest.plane.row * row + dest.plane.pixel * column + index;
                    let at = dest.plane.at + at * dest.plane.element.size();
                    let bytes = self.result(&arena, [row, column], channel, &dest.finish);
                    arena[at..at + bytes.len()].copy_from_slice(&bytes);
                }
            }
        }
        arena
    }

    /// One number of a dest.
    fn result(&self, arena: &[u8], [row, column]: [usize; 2], channel: usize, finish: &Finish) -> Vec<u8> {
        let Shape { numbers, kernel, stride, dilation, pad, depthwise, .. } = self.shape;
        let size = self.padded.element.size();
        let start = self.padded.at - pad * (self.padded.row + self.padded.pixel) * size;
        let (mut sum, mut float) = (self.bias[channel], self.bias[channel] as f32);
        for (r, c) in (0..kernel[0]).flat_map(|r| (0..kernel[1]).map(move |c| (r, c))) {
            for depth in 0..self.shape.depth() {
                let input_channel = if depthwise { channel } else { depth };
                let [y, x] = [row * stride + r * dilation, column * stride + c * dilation];
                let at = start + (y * self.padded.row + x * self.padded.pixel + input_channel) * size;
                let weight = self.at(channel, [r, c], depth);
                if numbers == Numbers::Floats {
                    let number = f32::from_ne_bytes(arena[at..at + 4].try_into().unwrap());
                    float = kernels::fused(number, self.float_weights[weight], float);
                } else {
                    let byte = if self.signed { i32::from(arena[at] as i8) } else { i32::from(arena[at]) };
                    sum += byte * i32::from(self.weights[weight]);
                }
            }
        }
        let byte = requantize(sum, self.multipliers[channel], self.low, self.high, self.offset) as u8;
        let float = if numbers == Numbers::Floats { float } else { sum as f32 * self.multipliers[channel] };
        let apply = |functions: &[Unary]| functions.iter().fold(float, |x, function| loops::apply(*function, x));
        match finish {
            Finish::Table(None) => vec![byte],
            Finish::Table(Some(table)) => vec![table[usize::from(byte)]],
            Finish::Values(values) => values[usize::from(byte)].to_ne_bytes().to_vec(),
            Finish::Floats(functions) => apply(functions).to_ne_bytes().to_vec(),
            Finish::Quantized(functions, Quantizer { scale, low, high, offset }) => {
                let code = (apply(functions) / scale).clamp(*low, *high).round_ties_even() as i32 + offset;
                vec![code as u8]
            }
        }
    }
}

/// Blocks for so many channels: kernel, packing, first channel, count.
fn blocks<T>(random: &mut Random, kernels: &[TileKernel<T>], channels: usize) -> Vec<(usize, Packing, usize, usize)> {
    let (mut blocks, mut first) = (Vec::new(), 0);
    while first < channels {
        let kernel = random.below(kernels.len());
        let packing = kernels[kernel].packing;
        let most = (channels - first).div_ceil(packing.block);
        let count = one_of(random, &[1, most, most]);
        blocks.push((kernel, packing, first, count));
        first += count * packing.block;
    }
    blocks
}

/// One to three dests, each in pixels of its own or in a part of wider ones; two may be in the same pixels.
fn dests(random: &mut Random, shape: &Shape, signed: bool, take: &mut dyn FnMut(usize) -> usize) -> Vec<Dest> {
    let [rows, columns] = shape.size();
    let bytes = shape.numbers == Numbers::Bytes;
    let mut dests: Vec<Dest> = Vec::new();
    for _ in 0..1 + random.below(3) {
        let start = [0, 0, random.below(shape.channels)][random.below(3)];
        let end = [shape.channels, start + 1 + random.below(shape.channels - start)][random.below(2)];
        let functions = [Vec::new(), vec![Unary::Silu], vec![Unary::Scale { factor: 0.3 }, Unary::Sigmoid]];
        let functions = functions[random.below(3)].clone();
        let offset = if signed { -8 } else { 120 };
        let finish = match (bytes, random.below(3)) {
            (true, 0) => Finish::Table(None),
            (true, 1) => Finish::Table(Some(Box::new(std::array::from_fn(|_| random.below(256) as u8)))),
            (true, _) => Finish::Values(Box::new(std::array::from_fn(|_| unit(random)))),
            (false, 0 | 1) => Finish::Floats(functions),
            (false, _) => Finish::Quantized(functions, Quantizer { scale: 0.01, low: -100.0, high: 120.0, offset }),
        };
        let element = match &finish {
            Finish::Table(_) | Finish::Quantized(..) => Element::Byte,
            Finish::Values(_) | Finish::Floats(_) => Element::Float,
        };
        let [before, after] = one_of(random, &[[0, 0], [0, 0], [3, 40], [0, 1]]);
        let pixel = before + (end - start) + after;
        let first = dests.first().filter(|dest| dests.len() == 1 && dest.plane.element == element);
        let plane = match first {
            // Behind what the first one takes of its pixels.
            Some(Dest { channels, plane, .. }) if plane.pixel >= channels.len() + 3 + (end - start) => {
                Plane { at: plane.at + channels.len() * element.size(), ..*plane }
            }
            _ => {
                let row = columns * pixel + one_of(random, &[0, 0, 5]);
                let at = take(rows * row * element.size()) + before * element.size();
                Plane { element, at, pixel, row }
            }
        };
        dests.push(Dest { channels: start..end, plane, finish });
    }
    dests
}

#[test]
fn convolutions_are_those_of_plain_loops() {
    // Bytes held as `i8` matter to this module for convolutions of each channel on its own only.
    let portable = kernels::pick(Some("portable")).unwrap();
    let signed: &Kernels = Box::leak(Box::new(Kernels { name: "signed", signed: true, ..*portable }));
    for kernels in kernels::available().into_iter().chain([signed]) {
        let mut random = Random::new(1);
        for round in 0..150 {
            let case = Case::new(&mut random, kernels.signed);
            if kernels.name == signed.name && !case.shape.depthwise {
                continue;
            }
            let mut arena: Vec<u8> = (0..case.arena_len).map(|_| random.below(256) as u8).collect();
            if case.shape.element() == Element::Float {
                for number in arena.chunks_exact_mut(4) {
                    number.copy_from_slice(&unit(&mut random).to_ne_bytes());
                }
            }
            let steps = vec![case.copy(), case.step(&mut random, kernels)];
            let expected = case.expected(arena.clone());
            for threads in [1, 3] {
                let frame = Frame { arena_len: case.arena_len, ..Frame::default() };
                let mut program = Program::new(kernels, threads, frame, steps.clone()).unwrap();
                // SAFETY: no step runs.
                unsafe { program.arena.memory().bytes_mut(0, arena.len()) }.copy_from_slice(&arena);
                program.run(&[]);
                // SAFETY: as above.
                let found = unsafe { program.arena.memory().bytes(0, arena.len()) };
                if let Some(at) = (0..arena.len()).find(|at| found[*at] != expected[*at]) {
                    let (found, expected) = (found[at], expected[at]);
                    let Case { shape, dests, .. } = &case;
                    panic!("{} {round} {threads}: {found}, not {expected} at {at}: {shape:?} {dests:?}", kernels.name);
                }
            }
        }
    }
}

/// A program of the steps fails with this.
fn fault(case: &Case, change: impl FnOnce(&mut Conv, &mut usize)) -> Option<Fault> {
    let kernels = kernels::pick(Some("portable")).unwrap();
    let mut step = case.step(&mut Random::new(5), kernels);
    let Kind::Conv(conv) = &mut step.kind else { panic!("the case is a convolution") };
    let mut arena_len = case.arena_len;
    change(conv, &mut arena_len);
    match Program::new(kernels, 1, Frame { arena_len, ..Frame::default() }, vec![step]) {
        Ok(_) => None,
        Err(ProgramError::Step { index: 0, fault, .. }) => Some(fault),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn wrong_steps_are_errors() {
    let mut random = Random::new(3);
    let case = std::iter::repeat_with(|| Case::new(&mut random, false))
        .find(|case| {
            let Shape { depthwise, numbers, pad, .. } = case.shape;
            !depthwise && numbers == Numbers::Bytes && pad > 0 && case.dests.len() == 2
        })
        .unwrap();
    assert_eq!(fault(&case, |_, _| ()), None);
    let outside = Fault::Outside("the convolution's input");
    assert_eq!(fault(&case, |conv, len| conv.input.at = *len).as_ref(), Some(&outside));
    assert_eq!(fault(&case, |conv, _| conv.size[0] += 1000).as_ref(), Some(&outside));
    assert_eq!(fault(&case, |conv, _| conv.spans[0] = usize::MAX).as_ref(), Some(&outside));
    assert_eq!(fault(&case, |conv, _| conv.input.row = usize::MAX / 2).as_ref(), Some(&outside));
    assert_eq!(fault(&case, |conv, _| conv.size[1] = 0), Some(Fault::Empty("the convolution's input")));
    assert_eq!(fault(&case, |conv, _| conv.dests[0].channels.end = 81), Some(Fault::Range("a dest's channels")));
    let packed = Fault::Length("the packed weights");
    assert_eq!(fault(&case, |conv, _| conv.spans.extend(vec![0; 99])).as_ref(), Some(&packed));
    assert_eq!(fault(&case, |conv, _| conv.span_len += 4).as_ref(), Some(&packed));
    let result = "a convolution's result";
    assert_eq!(fault(&case, |conv, _| conv.dests[1].plane.pixel = 0), Some(Fault::Repeats(result)));
    let onto = |conv: &mut Conv, _: &mut usize| {
        conv.dests.truncate(1);
        conv.dests[0].plane.at = conv.input.at & !3;
    };
    assert_eq!(fault(&case, onto), Some(Fault::Overlap(result, "the convolution's input")));
    let blocks = |change: fn(&mut Vec<Block>, &mut Vec<i32>, &mut Vec<f32>)| {
        fault(&case, |conv, _| match &mut conv.weights {
            Weights::Bytes { packed, bias, multipliers, .. } => change(packed, bias, multipliers),
            _ => panic!("the case is one of bytes"),
        })
    };
    assert_eq!(blocks(|packed, _, _| packed[0].kernel = 9), Some(Fault::Kernel(9)));
    assert_eq!(blocks(|packed, _, _| packed[0].count += 1), Some(packed));
    assert_eq!(blocks(|_, bias, _| bias.truncate(3)), Some(Fault::Length("the convolution's blocks or bias")));
    assert_eq!(blocks(|_, _, multipliers| multipliers[0] = f32::NAN), Some(Fault::Range("a multiplier")));
    assert_eq!(blocks(|_, _, multipliers| multipliers.push(1.0)), Some(Fault::Length("the convolution's multipliers")));
}
