//! The operator that keeps a quantized tensor's range in a float graph.
//!
//! It stands wherever the file quantizes an activation, whatever form that had, and is thus what tells which tensors
//! may be held in int8.

use std::fmt;

use tract_onnx::{
    model::ParsingContext,
    pb::NodeProto,
    tract_core::{internal::*, ops::element_wise::ElementWiseOp},
    tract_hir::{infer::InferenceOp, ops::element_wise::ElementWiseIntoHir},
};

use super::{
    kernels::loops::ROUND,
    proto::{attribute, float_attribute, node},
    rewrite::FAKE_QUANTIZE,
};

/// Rounds each number to the nearest `(i − zero_point) × scale` with a whole `i` in `low..=high`, halves to even, and gives
/// `(i − zero_point) × step`.
#[derive(Clone, Copy, PartialEq)]
pub(super) struct FakeQuantize {
    /// Finite and above zero.
    pub(super) scale: f32,
    /// Whole, as are the two others.
    pub(super) zero_point: f32,
    /// Smallest integer.
    pub(super) low: f32,
    /// Largest integer, at most 65,535.
    pub(super) high: f32,
    /// The scale again, or one for whole numbers.
    pub(super) step: f32,
}

/// Makes the operator from its node.
pub(super) fn build(_: &ParsingContext<'_>, node: &NodeProto) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    Ok((ElementWiseOp(Box::new(FakeQuantize::read(node)?), None).into_hir(), Vec::new()))
}

impl FakeQuantize {
    /// The operator that a node describes in its attributes.
    pub(super) fn read(node: &NodeProto) -> TractResult<Self> {
        let float =
            |name: &str| attribute(node, name).map(|found| found.f).with_context(|| format!("{name} is missing"));
        Ok(Self {
            scale: float("scale")?,
            zero_point: float("zero_point")?,
            low: float("low")?,
            high: float("high")?,
            step: float("step")?,
        })
    }

    /// The node that describes the operator.
    pub(super) fn node(&self, name: &str, input: &str, output: &str) -> NodeProto {
        let numbers = [
            ("scale", self.scale),
            ("zero_point", self.zero_point),
            ("low", self.low),
            ("high", self.high),
            ("step", self.step),
        ];
        let attribute = numbers.map(|(name, value)| float_attribute(name, value)).to_vec();
        NodeProto { attribute, ..node(FAKE_QUANTIZE, name, &[input], output) }
    }

    /// Rounds each of the numbers.
    pub(super) fn apply(&self, numbers: &mut [f32]) {
        let (low, high) = (self.low - self.zero_point, self.high - self.zero_point);
        for number in numbers {
            let whole = ((*number / self.scale).clamp(low, high) + ROUND) - ROUND;
            *number = whole * self.step;
        }
    }
}

// Attributes are never NaN: a scale is finite, the others come from integers.
impl Eq for FakeQuantize {}

impl fmt::Debug for FakeQuantize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FakeQuantize({} − {}, {}..={})", self.scale, self.zero_point, self.low, self.high)
    }
}

impl ElementWiseMiniOp for FakeQuantize {
    fn name(&self) -> String {
        "FakeQuantize".to_owned()
    }

    fn eval_in_place(&self, tensor: &mut Tensor, _: Option<DatumType>) -> TractResult<()> {
        let mut plain = tensor.try_as_plain_ram_mut()?;
        let numbers = plain.as_slice_mut::<f32>()?;
        let count = numbers.len();
        tract_onnx::prelude::multithread::par_chunks_mut(numbers, 1, count, |_, part| {
            self.apply(part);
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_halves_to_even_and_clamps() {
        let op = FakeQuantize { scale: 0.5, zero_point: 3.0, low: 0.0, high: 255.0, step: 0.5 };
        let mut numbers = [0.0, 0.25, 0.75, 1.25, -0.2, -0.3, -100.0, 1e9, f32::INFINITY, f32::NEG_INFINITY];
        op.apply(&mut numbers);
        assert_eq!(numbers, [0.0, 0.0, 1.0, 1.0, 0.0, -0.5, -1.5, 126.0, 126.0, -1.5]);
    }

    #[test]
    fn gives_whole_numbers_where_they_are_wanted() {
        let op = FakeQuantize { scale: 0.1, zero_point: 3.0, low: 0.0, high: 255.0, step: 1.0 };
        let mut numbers = [0.3, -0.1, -9.0, 25.2, 99.0];
        op.apply(&mut numbers);
        assert_eq!(numbers, [3.0, -1.0, -3.0, 252.0, 252.0]);
    }

    #[test]
    fn is_the_same_as_integers_there_and_back() {
        let op = FakeQuantize { scale: 0.017, zero_point: -5.0, low: -128.0, high: 127.0, step: 0.017 };
        for step in -3000..3000 {
            let number = step as f32 * 0.001;
            let integer = ((number / 0.017).round_ties_even() as i32 - 5).clamp(-128, 127);
            let mut out = [number];
            op.apply(&mut out);
            assert_eq!(out[0], (integer + 5) as f32 * 0.017, "{number}");
        }
    }
}
