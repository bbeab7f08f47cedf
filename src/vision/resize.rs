//! Resizing 8-bit RGB, to the very pixels that the training side computes.
//!
//! [`Bilinear`] is OpenCV's `resize` with `INTER_LINEAR` (fixed point, 11-bit coefficients;
//! `modules/imgproc/src/resize.cpp`), [`Antialiased`] is Pillow's `resize` with `BILINEAR` (a triangle filter as wide as the
//! scale, 22-bit coefficients; `src/libImaging/Resample.c`), which torchvision uses for PIL images. Both hold their
//! coefficient tables and working lines for one pair of sizes.

use std::ops::Range;

use super::RgbImage;
use crate::geometry::Size;

/// OpenCV's `INTER_RESIZE_COEF_SCALE`.
const COEFFICIENT_ONE: f32 = 2048.0;

/// OpenCV's bilinear resize from one size to another.
#[derive(Debug)]
pub(super) struct Bilinear {
    from: Size,
    to: Size,
    columns: Vec<Tap>,
    lines: Vec<Tap>,
    /// The two source lines that were resized along x last, with their numbers.
    above: Line,
    below: Line,
}

/// Two neighbours and their weights, which sum up to about 2048.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tap {
    first: u32,
    second: u32,
    weights: [i16; 2],
}

/// A source line resized along x: values times 2048 / 16.
#[derive(Debug, Default)]
struct Line {
    number: Option<u32>,
    values: Vec<i16>,
}

impl Bilinear {
    /// Both sizes have pixels.
    pub(super) fn new(from: Size, to: Size) -> Self {
        Self {
            from,
            to,
            columns: taps(from.width, to.width, true),
            lines: taps(from.height, to.height, false),
            above: Line::default(),
            below: Line::default(),
        }
    }

    /// Resizes `picture` into `out`, whose lines begin `stride` bytes apart.
    pub(super) fn run(&mut self, picture: &RgbImage, out: &mut [u8], stride: usize) {
        assert_eq!(picture.size(), self.from, "the tables are made for another size");
        let line_len = self.from.width as usize * 3;
        let out_len = self.to.width as usize * 3;
        if self.from.width == 2 * self.to.width && self.from.height == 2 * self.to.height {
            let pairs = picture.data.chunks_exact(2 * line_len);
            for (pair, to) in pairs.zip(out.chunks_mut(stride)) {
                let (above, below) = pair.split_at(line_len);
                halve(above, below, &mut to[..out_len]);
            }
            return;
        }
        (self.above.number, self.below.number) = (None, None);
        self.above.values.resize(out_len, 0);
        self.below.values.resize(out_len, 0);
        let source = |number: u32| &picture.data[number as usize * line_len..][..line_len];
        for (tap, to) in self.lines.iter().zip(out.chunks_mut(stride)) {
            let to = &mut to[..out_len];
            if self.above.number != Some(tap.first) {
                std::mem::swap(&mut self.above, &mut self.below);
            }
            self.above.fill(tap.first, &self.columns, source);
            if tap.weights[1] == 0 {
                // The other line counts for nothing; at whole scales that saves half of the work.
                blend_one(&self.above.values, tap.weights[0], to);
                continue;
            }
            if tap.second == tap.first {
                blend(&self.above.values, &self.above.values, tap.weights, to);
                continue;
            }
            self.below.fill(tap.second, &self.columns, source);
            blend(&self.above.values, &self.below.values, tap.weights, to);
        }
    }
}

impl Line {
    fn fill<'a>(&mut self, number: u32, columns: &[Tap], source: impl Fn(u32) -> &'a [u8]) {
        if self.number != Some(number) {
            resize_line(source(number), columns, &mut self.values);
            self.number = Some(number);
        }
    }
}

/// Where each output pixel lies along one axis. OpenCV takes whole pixels at the edges of a line (`clamped`), but keeps
/// the weights of lines and repeats the edge line.
fn taps(from: u32, to: u32, clamped: bool) -> Vec<Tap> {
    let scale = 1.0 / (f64::from(to) / f64::from(from));
    let last = from - 1;
    (0..to)
        .map(|i| {
            let position = ((f64::from(i) + 0.5) * scale - 0.5) as f32;
            let mut first = position.floor();
            let mut fraction = position - first;
            if clamped && first < 0.0 {
                (first, fraction) = (0.0, 0.0);
            }
            if clamped && first >= last as f32 {
                (first, fraction) = (last as f32, 0.0);
            }
            let weight = |share: f32| (share * COEFFICIENT_ONE).round_ties_even() as i16;
            let inside = |number: f32| (number.max(0.0) as u32).min(last);
            Tap {
                first: inside(first),
                second: inside(first + 1.0),
                weights: [weight(1.0 - fraction), weight(fraction)],
            }
        })
        .collect()
}

/// The exact result for a scale of one half: each pixel is the rounded mean of four.
fn halve(above: &[u8], below: &[u8], out: &mut [u8]) {
    let pairs = above.as_chunks::<6>().0.iter().zip(below.as_chunks::<6>().0);
    for ((a, b), to) in pairs.zip(out.as_chunks_mut::<3>().0) {
        for c in 0..3 {
            let [a1, a2, b1, b2] = [a[c], a[c + 3], b[c], b[c + 3]].map(u16::from);
            to[c] = (a1.wrapping_add(a2).wrapping_add(b1).wrapping_add(b2).wrapping_add(2) >> 2) as u8;
        }
    }
}

fn resize_line(line: &[u8], columns: &[Tap], out: &mut [i16]) {
    let pixels = line.as_chunks::<3>().0;
    for (tap, to) in columns.iter().zip(out.as_chunks_mut::<3>().0) {
        let [first, second] = [tap.first, tap.second].map(|i| pixels[i as usize].map(i32::from));
        let [near, far] = tap.weights.map(i32::from);
        for c in 0..3 {
            let (near, far) = (first[c].wrapping_mul(near), second[c].wrapping_mul(far));
            to[c] = (near.wrapping_add(far) >> 4) as i16;
        }
    }
}

fn blend(above: &[i16], below: &[i16], weights: [i16; 2], out: &mut [u8]) {
    for ((&a, &b), to) in above.iter().zip(below).zip(out) {
        let sum = high_product(a, weights[0]).wrapping_add(high_product(b, weights[1]));
        *to = (sum.wrapping_add(2) >> 2).clamp(0, 255) as u8;
    }
}

fn blend_one(line: &[i16], weight: i16, out: &mut [u8]) {
    for (&a, to) in line.iter().zip(out) {
        *to = (high_product(a, weight).wrapping_add(2) >> 2).clamp(0, 255) as u8;
    }
}

/// The upper half of a product: one instruction on most processors. No sum or product here can leave its type; the
/// wrapping operations let builds that check for overflow use vector instructions too.
fn high_product(a: i16, b: i16) -> i16 {
    (i32::from(a).wrapping_mul(i32::from(b)) >> 16) as i16
}

/// Pillow's antialiased bilinear resize from one size to a part of another.
#[derive(Debug)]
pub(super) struct Antialiased {
    from: Size,
    columns: Vec<Filter>,
    lines: Vec<Filter>,
    /// The source lines that `lines` reads, resized along x.
    middle: Vec<u8>,
    sums: Vec<i32>,
}

/// The weights of a run of neighbours.
#[derive(Clone, Debug, PartialEq)]
struct Filter {
    first: usize,
    weights: Vec<i32>,
}

/// Bits after the point of Pillow's weights: the sums of 8-bit samples fit in 32 bits with two to spare.
const FILTER_BITS: u32 = 32 - 8 - 2;

impl Antialiased {
    /// Of the picture resized to `to`, only these columns and lines are computed.
    pub(super) fn new(from: Size, to: Size, columns: Range<u32>, lines: Range<u32>) -> Self {
        Self {
            from,
            columns: filters(from.width, to.width, columns),
            lines: filters(from.height, to.height, lines),
            middle: Vec::new(),
            sums: Vec::new(),
        }
    }

    /// Resizes `picture` into `out`, three bytes for each column and line that was asked for.
    pub(super) fn run(&mut self, picture: &RgbImage, out: &mut [u8]) {
        assert_eq!(picture.size(), self.from, "the tables are made for another size");
        let (Some(first), Some(last)) = (self.lines.first(), self.lines.last()) else { return };
        let (start, end) = (first.first, last.first + last.weights.len());
        let line_len = self.from.width as usize * 3;
        let out_len = self.columns.len() * 3;
        self.middle.resize((end - start) * out_len, 0);
        let source = picture.data.chunks_exact(line_len).skip(start);
        for (line, to) in source.zip(self.middle.chunks_exact_mut(out_len)) {
            for (filter, to) in self.columns.iter().zip(to.as_chunks_mut().0) {
                let run = line[filter.first * 3..].as_chunks::<3>().0;
                let mut sums = [1 << (FILTER_BITS - 1); 3];
                for (pixel, &weight) in run.iter().zip(&filter.weights) {
                    for c in 0..3 {
                        sums[c] = i32::wrapping_add(sums[c], i32::from(pixel[c]).wrapping_mul(weight));
                    }
                }
                *to = sums.map(to_level);
            }
        }
        for (filter, to) in self.lines.iter().zip(out.chunks_exact_mut(out_len)) {
            let lines = self.middle[(filter.first - start) * out_len..].chunks_exact(out_len);
            self.sums.clear();
            self.sums.resize(out_len, 1 << (FILTER_BITS - 1));
            for (line, &weight) in lines.zip(&filter.weights) {
                for (sum, &level) in self.sums.iter_mut().zip(line) {
                    *sum = sum.wrapping_add(i32::from(level).wrapping_mul(weight));
                }
            }
            for (to, &sum) in to.iter_mut().zip(&self.sums) {
                *to = to_level(sum);
            }
        }
    }
}

fn to_level(sum: i32) -> u8 {
    (sum >> FILTER_BITS).clamp(0, 255) as u8
}

/// A triangle as wide as the scale, or as two pixels where the picture grows.
fn filters(from: u32, to: u32, wanted: Range<u32>) -> Vec<Filter> {
    if from == to {
        // Pillow leaves out the pass.
        return wanted.map(|i| Filter { first: i as usize, weights: vec![1 << FILTER_BITS] }).collect();
    }
    let scale = f64::from(from) / f64::from(to);
    let support = scale.max(1.0);
    wanted
        .map(|i| {
            let center = (f64::from(i) + 0.5) * scale;
            let first = (center - support + 0.5).max(0.0) as usize;
            let end = ((center + support + 0.5) as usize).min(from as usize);
            let shares: Vec<f64> =
                (first..end).map(|x| (1.0 - ((x as f64 - center + 0.5) * (1.0 / support)).abs()).max(0.0)).collect();
            let sum: f64 = shares.iter().sum();
            let fixed = |share: &f64| (0.5 + share / sum * f64::from(1 << FILTER_BITS)) as i32;
            Filter { first, weights: shares.iter().map(fixed).collect() }
        })
        .collect()
}
