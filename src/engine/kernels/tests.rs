//! Holds every kernel of this machine against plain sums, bit for bit.

use super::*;

const SPAN_COUNTS: [usize; 3] = [1, 3, 9];
const SPAN_LENS: [usize; 19] = [1, 2, 3, 4, 5, 7, 8, 12, 15, 16, 17, 24, 31, 32, 33, 48, 64, 80, 144];
/// Fills the output before a kernel runs, so that what it writes besides its tile shows.
const GUARD: u8 = 0xa5;
/// Guard bytes on either side of a tile's output.
const GUARD_LEN: usize = 68;

/// SplitMix64: the same numbers in each run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    fn byte(&mut self) -> u8 {
        (self.next() >> 56) as u8
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// From -1 on, below 1.
    fn float(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    /// A number of that magnitude, times ten to a power between the two.
    fn scaled(&mut self, powers: std::ops::Range<i32>) -> f32 {
        let power = powers.start + self.below(powers.len()) as i32;
        (1.5 + 0.5 * self.float()) * 10f32.powi(power)
    }
}

/// What a tile reads: where its pixels and spans lie, in elements.
struct Layout {
    span_len: usize,
    input_stride: usize,
    spans: Vec<usize>,
    /// What the pixels and spans take up.
    input_len: usize,
}

impl Layout {
    /// Spans overlap, lie apart and are out of order.
    fn new(random: &mut Random, pixels: usize, span_count: usize, span_len: usize) -> Self {
        let input_stride = [1, span_len, 2 * span_len + 3][random.below(3)];
        let mut spans: Vec<usize> = (0..span_count).map(|span| span * (span_len + random.below(9))).collect();
        for last in (1..span_count).rev() {
            spans.swap(last, random.below(last + 1));
        }
        let furthest = *spans.iter().max().expect("there is a span");
        Self { span_len, input_stride, spans, input_len: (pixels - 1) * input_stride + furthest + span_len }
    }

    /// The places in the input of a pixel's numbers, each with its span and the number's place in the span.
    fn places(&self, pixel: usize) -> impl Iterator<Item = (usize, usize, usize)> + '_ {
        let start = pixel * self.input_stride;
        let of_span = move |(s, offset): (usize, &usize)| {
            let start = start + offset;
            (0..self.span_len).map(move |k| (start + k, s, k))
        };
        self.spans.iter().enumerate().flat_map(of_span)
    }

    /// The place of a weight, where weights lie as `[channel][span][k]`.
    fn weight(&self, channel: usize, span: usize, k: usize) -> usize {
        (channel * self.spans.len() + span) * self.span_len + k
    }
}

/// Room for the output of a tile, with guards around it.
struct Output {
    bytes: Vec<u8>,
    stride: usize,
    row_len: usize,
}

impl Output {
    fn new(pixels: usize, row_len: usize, gap: usize) -> Self {
        let stride = row_len + gap;
        Self { bytes: vec![GUARD; 2 * GUARD_LEN + pixels * stride], stride, row_len }
    }

    fn start(&mut self) -> *mut u8 {
        self.bytes[GUARD_LEN..].as_mut_ptr()
    }

    /// Asserts that the rows are in the output, and nothing else.
    fn check(&self, rows: &[Vec<u8>], what: &str) {
        let mut expected = vec![GUARD; self.bytes.len()];
        for (pixel, row) in rows.iter().enumerate() {
            assert_eq!(row.len(), self.row_len);
            let start = GUARD_LEN + pixel * self.stride;
            expected[start..start + row.len()].copy_from_slice(row);
        }
        assert!(self.bytes == expected, "{what}: {:?} instead of {expected:?}", self.bytes);
    }
}

/// Numbers that stress a kernel: each, or a value for all of them.
#[derive(Clone, Copy, Debug)]
struct Fill {
    code: Option<u8>,
    weight: Option<i8>,
    /// Powers of ten of the multipliers.
    multipliers: (i32, i32),
}

const FILLS: [Fill; 7] = [
    Fill { code: None, weight: None, multipliers: (-4, -2) },
    Fill { code: None, weight: None, multipliers: (-30, 20) },
    Fill { code: Some(255), weight: Some(-128), multipliers: (-6, -3) },
    Fill { code: Some(255), weight: Some(127), multipliers: (-6, -3) },
    Fill { code: Some(0), weight: Some(-128), multipliers: (-6, -3) },
    Fill { code: Some(128), weight: None, multipliers: (-38, -36) },
    Fill { code: None, weight: Some(-128), multipliers: (10, 25) },
];

/// What sums become in unsigned codes: whole bytes from either end, bounds narrower than a byte, floats.
const BECOMES: [Sums; 4] = [
    Sums::Bytes { low: 0.0, high: 255.0, offset: 0 },
    Sums::Bytes { low: -128.0, high: 127.0, offset: 128 },
    Sums::Bytes { low: -3.0, high: 100.0, offset: 20 },
    Sums::Floats,
];

/// Several blocks of an int8 convolution in unsigned codes.
struct ByteCase {
    layout: Layout,
    codes: Vec<u8>,
    weights: Vec<i8>,
    bias: Vec<i32>,
    multipliers: Vec<f32>,
}

impl ByteCase {
    fn new(random: &mut Random, layout: Layout, channels: usize, fill: Fill) -> Self {
        // What lies behind the input may be read, and must not matter.
        let codes = (0..layout.input_len + SLACK).map(|_| fill.code.unwrap_or(random.byte())).collect();
        let weights = channels * layout.spans.len() * layout.span_len;
        let (low, high) = fill.multipliers;
        Self {
            codes,
            weights: (0..weights).map(|_| fill.weight.unwrap_or(random.byte() as i8)).collect(),
            bias: (0..channels)
                .map(|channel| match channel % 4 {
                    0 => (1 << 24) - random.below(3) as i32,
                    1 => random.below(3) as i32 - (1 << 24),
                    _ => random.below(2000) as i32 - 1000,
                })
                .collect(),
            multipliers: (0..channels).map(|_| random.scaled(low..high)).collect(),
            layout,
        }
    }

    fn sum(&self, pixel: usize, channel: usize) -> i32 {
        let product = |(place, span, k): (usize, usize, usize)| {
            i32::from(self.codes[place]) * i32::from(self.weights[self.layout.weight(channel, span, k)])
        };
        self.bias[channel] + self.layout.places(pixel).map(product).sum::<i32>()
    }

    /// What makes up for inputs that are held as their codes minus 128.
    fn compensation(&self, channel: usize) -> i32 {
        let len = self.layout.spans.len() * self.layout.span_len;
        self.weights[channel * len..(channel + 1) * len].iter().map(|weight| 128 * i32::from(*weight)).sum()
    }
}

/// Requantization once more, in double precision where that is exact.
fn expected_byte(sum: i32, multiplier: f32, low: f32, high: f32, offset: i32) -> u8 {
    let scaled = sum as f32 * multiplier;
    let bounded = f64::from(if scaled < low { low } else { scaled.min(high) });
    let floor = bounded.floor();
    let up = match bounded - floor {
        0.5 => floor as i64 % 2 != 0,
        rest => rest > 0.5,
    };
    let code = floor as i32 + i32::from(up) + offset;
    u8::try_from(code).expect("the bounds keep it in a byte")
}

fn check_byte_tile(kernels: &Kernels, kernel: &TileKernel<ByteTile>, case: &ByteCase, random: &mut Random) {
    let (layout, packing) = (&case.layout, kernel.packing);
    let shape = [case.bias.len(), layout.spans.len(), layout.span_len];
    let packed = pack_bytes(packing, shape, |channel, span, k| case.weights[layout.weight(channel, span, k)]);
    let input: Vec<u8> = case.codes.iter().map(|code| if kernels.signed { code ^ 0x80 } else { *code }).collect();
    for block in 0..case.bias.len().div_ceil(packing.block) {
        let channels: Vec<usize> = (block * packing.block..(block + 1) * packing.block).collect();
        let known = |channel: usize| channel < case.bias.len();
        let multiplier = |channel: usize| if known(channel) { case.multipliers[channel] } else { 1.0 };
        let bias = |channel: usize| match known(channel) {
            true => case.bias[channel] + if kernels.signed { case.compensation(channel) } else { 0 },
            false => 0,
        };
        let biases: Vec<i32> = channels.iter().map(|channel| bias(*channel)).collect();
        let multipliers: Vec<f32> = channels.iter().map(|channel| multiplier(*channel)).collect();
        let sum = |pixel, channel| if known(channel) { case.sum(pixel, channel) } else { 0 };
        let sums: Vec<Vec<i32>> =
            (0..kernel.pixels_max).map(|pixel| channels.iter().map(|channel| sum(pixel, *channel)).collect()).collect();
        for becomes in BECOMES {
            let multipliers: Vec<f32> = match becomes {
                Sums::Bytes { .. } => multipliers.clone(),
                Sums::Floats => {
                    multipliers.iter().zip([1.0, -1.0].iter().cycle()).map(|(by, sign)| by * sign).collect()
                }
            };
            let row = |sums: &Vec<i32>| -> Vec<u8> {
                let pairs = sums.iter().zip(&multipliers);
                match becomes {
                    Sums::Bytes { low, high, offset } => {
                        let byte = |(sum, by): (&i32, &f32)| expected_byte(*sum, *by, low, high, offset);
                        pairs.map(|pair| if kernels.signed { byte(pair) ^ 0x80 } else { byte(pair) }).collect()
                    }
                    Sums::Floats => pairs.flat_map(|(sum, by)| (*sum as f32 * by).to_ne_bytes()).collect(),
                }
            };
            let rows: Vec<Vec<u8>> = sums.iter().map(row).collect();
            let becomes = match becomes {
                Sums::Bytes { low, high, offset } if kernels.signed => Sums::Bytes { low, high, offset: offset - 128 },
                becomes => becomes,
            };
            for pixels in 1..=kernel.pixels_max {
                let gap = [0, 4, 36][random.below(3)];
                let mut output = Output::new(pixels, rows[0].len(), gap);
                let tile = ByteTile {
                    input: input.as_ptr(),
                    input_stride: layout.input_stride,
                    spans: layout.spans.as_ptr(),
                    span_count: layout.spans.len(),
                    span_groups: packed.span_groups,
                    weights: packed.block(block),
                    bias: biases.as_ptr(),
                    multipliers: multipliers.as_ptr(),
                    pixels,
                    output: output.start(),
                    output_stride: output.stride,
                    becomes,
                };
                // SAFETY: the layout says what the input holds, the output has room for `pixels` rows, and the weights,
                // biases and multipliers are those of a block.
                unsafe { (kernel.run)(&tile) };
                let what = format!("{} {packing:?} {shape:?} {pixels} {becomes:?}", kernels.name);
                output.check(&rows[..pixels], &what);
            }
        }
    }
}

#[test]
fn byte_tiles_are_exact() {
    for kernels in available() {
        let mut random = Random(1);
        for kernel in kernels.bytes {
            for span_count in SPAN_COUNTS {
                for (index, span_len) in SPAN_LENS.into_iter().enumerate() {
                    for fill in [FILLS[0], FILLS[1 + index % (FILLS.len() - 1)]] {
                        let layout = Layout::new(&mut random, kernel.pixels_max, span_count, span_len);
                        // The second block is not full.
                        let channels = 2 * kernel.packing.block - 3;
                        let case = ByteCase::new(&mut random, layout, channels, fill);
                        check_byte_tile(kernels, kernel, &case, &mut random);
                    }
                }
            }
        }
    }
}

/// Each extreme against each: sums at the ends of what a layer can reach.
#[test]
fn byte_tiles_bear_extremes() {
    for kernels in available() {
        let mut random = Random(2);
        for kernel in kernels.bytes {
            for (span_count, span_len) in [(1, 1), (1, 576), (3, 33), (9, 128)] {
                for fill in FILLS {
                    let layout = Layout::new(&mut random, kernel.pixels_max, span_count, span_len);
                    let case = ByteCase::new(&mut random, layout, kernel.packing.block, fill);
                    check_byte_tile(kernels, kernel, &case, &mut random);
                }
            }
        }
    }
}

/// Sums of every size halved: each second result is half way between two codes.
#[test]
fn halves_go_to_even() {
    for kernels in available() {
        for kernel in kernels.bytes {
            let mut random = Random(3);
            for start in (-300..300).step_by(kernel.packing.block) {
                let layout = Layout::new(&mut random, kernel.pixels_max, 1, 4);
                let fill = Fill { code: None, weight: Some(0), multipliers: (0, 1) };
                let mut case = ByteCase::new(&mut random, layout, kernel.packing.block, fill);
                case.multipliers.fill(0.5);
                for (bias, value) in case.bias.iter_mut().zip(start..) {
                    *bias = value;
                }
                check_byte_tile(kernels, kernel, &case, &mut random);
            }
        }
    }
}

/// `a × b + c` as the kernels of this machine round it.
pub(in crate::engine) fn fused(a: f32, b: f32, c: f32) -> f32 {
    if cfg!(target_arch = "arm") { a * b + c } else { a.mul_add(b, c) }
}

fn check_float_tile(kernels: &Kernels, kernel: &TileKernel<FloatTile>, layout: &Layout, random: &mut Random) {
    let block = kernel.packing.block;
    let shape = [block, layout.spans.len(), layout.span_len];
    let mut numbers = |len: usize| -> Vec<f32> { (0..len).map(|_| random.float() * random.scaled(-3..3)).collect() };
    let input = numbers(layout.input_len);
    let weights = numbers(shape.iter().product());
    let bias = numbers(block);
    let packed = pack_floats(kernel.packing, shape, |channel, span, k| weights[layout.weight(channel, span, k)]);
    let sum = |pixel: usize, channel: usize| {
        layout.places(pixel).fold(bias[channel], |sum, (place, span, k)| {
            fused(input[place], weights[layout.weight(channel, span, k)], sum)
        })
    };
    let rows: Vec<Vec<u8>> = (0..kernel.pixels_max)
        .map(|pixel| (0..block).flat_map(|channel| sum(pixel, channel).to_ne_bytes()).collect())
        .collect();
    for pixels in 1..=kernel.pixels_max {
        let gap = [0, 1, 9][random.below(3)];
        // Floats so that the output is aligned as floats are.
        let mut output = Output::new(pixels, 4 * block, 4 * gap);
        let mut room = vec![f32::from_bits(0); output.bytes.len() / 4];
        for number in &mut room {
            *number = f32::from_ne_bytes([GUARD; 4]);
        }
        let tile = FloatTile {
            input: input.as_ptr(),
            input_stride: layout.input_stride,
            spans: layout.spans.as_ptr(),
            span_count: layout.spans.len(),
            span_len: layout.span_len,
            weights: packed.block(0).cast(),
            bias: bias.as_ptr(),
            pixels,
            output: room[GUARD_LEN / 4..].as_mut_ptr(),
            output_stride: output.stride / 4,
        };
        // SAFETY: as in `check_byte_tile`.
        unsafe { (kernel.run)(&tile) };
        output.bytes = room.iter().flat_map(|number| number.to_ne_bytes()).collect();
        let what = format!("{} {:?} {shape:?} {pixels}", kernels.name, kernel.packing);
        output.check(&rows[..pixels], &what);
    }
}

#[test]
fn float_tiles_are_exact() {
    for kernels in available() {
        let mut random = Random(4);
        for kernel in kernels.floats {
            for span_count in SPAN_COUNTS {
                for span_len in SPAN_LENS {
                    let layout = Layout::new(&mut random, kernel.pixels_max, span_count, span_len);
                    check_float_tile(kernels, kernel, &layout, &mut random);
                }
            }
        }
    }
}

#[test]
fn look_up_maps_each_byte() {
    let mut random = Random(5);
    for kernels in available() {
        let table: [u8; 256] = std::array::from_fn(|_| random.byte());
        for len in (0..200).chain([255, 256, 257, 1000, 4096, 4111]) {
            for offset in [0, 1, 3, 31, 63] {
                let input: Vec<u8> = (0..offset + len + 5).map(|_| random.byte()).collect();
                let mut expected = input.clone();
                for byte in &mut expected[offset..offset + len] {
                    *byte = table[usize::from(*byte)];
                }
                let mut apart = Output::new(1, len, 0);
                let mut in_place = input.clone();
                let start = in_place[offset..].as_mut_ptr();
                // SAFETY: there are `len` bytes from the offset on, and in the output.
                unsafe {
                    (kernels.look_up)(input[offset..].as_ptr(), apart.start(), len, &table);
                    (kernels.look_up)(start, start, len, &table);
                }
                let what = format!("{} {len} from {offset}", kernels.name);
                assert!(in_place == expected, "{what} in place: {in_place:?} instead of {expected:?}");
                apart.check(&[expected[offset..offset + len].to_vec()], &what);
            }
        }
    }
}

#[test]
fn look_up_of_rows_maps_each_byte_and_writes_nothing_else() {
    let mut random = Random(6);
    for kernels in available() {
        let Some(look_up_rows) = kernels.look_up_rows else { continue };
        let table: [u8; 256] = std::array::from_fn(|_| random.byte());
        for len in (1..40).chain([48, 64, 80, 100, 128, 256]) {
            for [rows, input_gap, output_gap] in [[1, 0, 0], [5, 0, 0], [7, 3, 0], [4, 0, 5], [9, 16, 32]] {
                let input: Vec<u8> = (0..rows * (len + input_gap)).map(|_| random.byte()).collect();
                let mut output = vec![7; rows * (len + output_gap)];
                let mut expected = output.clone();
                for row in 0..rows {
                    for index in 0..len {
                        let byte = input[row * (len + input_gap) + index];
                        expected[row * (len + output_gap) + index] = table[usize::from(byte)];
                    }
                }
                let (from, to) = (input.as_ptr(), output.as_mut_ptr());
                // SAFETY: both have so many rows.
                unsafe { look_up_rows(from, len + input_gap, to, len + output_gap, [rows, len], &table) };
                assert!(output == expected, "{}: {rows} × {len}, {input_gap}, {output_gap}", kernels.name);
            }
        }
    }
}

#[test]
fn kernels_have_one_name_each_and_blocks_from_wide_to_narrow() {
    let available = available();
    for (index, kernels) in available.iter().enumerate() {
        assert!(available[..index].iter().all(|other| other.name != kernels.name), "{} twice", kernels.name);
        let widths: Vec<usize> = kernels.bytes.iter().map(|kernel| kernel.packing.block).collect();
        assert!(!widths.is_empty() && widths.is_sorted_by(|wide, narrow| wide > narrow), "{widths:?}");
        let widths: Vec<usize> = kernels.floats.iter().map(|kernel| kernel.packing.block).collect();
        assert!(!widths.is_empty() && widths.is_sorted_by(|wide, narrow| wide > narrow), "{widths:?}");
        assert!(kernels.bytes.iter().all(|kernel| kernel.pixels_max > 0 && kernel.packing.group <= SLACK));
        assert!(kernels.floats.iter().all(|kernel| kernel.pixels_max > 0 && kernel.packing.group == 1));
    }
    assert_eq!(available.last().expect("there is one").name, "portable");
}

#[test]
fn kernels_are_picked_by_name() {
    assert_eq!(pick(None).unwrap().name, available()[0].name);
    for kernels in available() {
        assert_eq!(pick(Some(kernels.name)).unwrap().name, kernels.name);
    }
    let error = pick(Some("sse9")).unwrap_err().to_string();
    assert!(error.contains("\"sse9\"") && error.contains("portable"), "{error}");
}
