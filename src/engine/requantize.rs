//! The operator that brings a convolution's sums onto the grid of its output, and the formula for it.
//!
//! A quantized convolution sums products of whole numbers. `f32` holds such sums without an error below 2²⁴, so the
//! sum does not depend on the order in which a kernel adds, and what is rounded here is the same for each kernel and
//! machine. What follows an output that has at most 256 values (SiLU, another quantizer) is looked up in a table.

use std::{fmt, sync::Arc};

use tract_onnx::{
    model::ParsingContext,
    pb::NodeProto,
    tract_core::internal::*,
    tract_hir::{
        infer::{InferenceOp, InferenceResult, Solver, TensorProxy},
        internal::{Expansion, check_input_arity, check_output_arity, expand},
    },
};

use super::{kernels::loops::ROUND, proto::attribute};

/// A table has one entry for each integer of a byte.
pub(super) const TABLE_LEN: usize = 256;

/// `round(sum × multiplier)`, halves to even, held to `low..=high`; a sum and the bounds count from the zero point.
///
/// This is how onnxruntime defines `QLinearConv` (`MlasRequantizeOutput`): `sum` is the whole sum with its bias as
/// `f32`, `multiplier` is `input scale × weight scale ÷ output scale`, each step rounded to `f32`, and the bounds apply
/// before rounding.
pub(super) fn requantize(sum: f32, multiplier: f32, low: f32, high: f32) -> f32 {
    ((sum * multiplier).clamp(low, high) + ROUND) - ROUND
}

/// The multiplier of [`requantize`].
pub(super) fn multiplier(input_scale: f32, weight_scale: f32, output_scale: f32) -> f32 {
    input_scale * weight_scale / output_scale
}

/// [`requantize`] with one multiplier for each channel, and what the whole numbers become.
#[derive(Clone, PartialEq)]
pub(super) struct Requantize {
    /// The axis of the channels.
    axis: usize,
    /// One for each channel; finite.
    multipliers: Arc<[f32]>,
    /// Smallest result, counted from the zero point; whole, as is the largest.
    low: f32,
    /// Largest result, at most 65,535 above the smallest.
    high: f32,
    becomes: Becomes,
}

/// What a whole number becomes.
#[derive(Clone, PartialEq)]
enum Becomes {
    /// Itself times a scale.
    Scaled(f32),
    /// The entry at its distance from the smallest, as bits; where the range is shorter than a byte's, the rest is never read.
    Entry(Arc<[u32; TABLE_LEN]>),
}

/// Makes the operator from its node.
pub(super) fn build(_: &ParsingContext<'_>, node: &NodeProto) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let found = |name: &str| attribute(node, name).with_context(|| format!("{name} is missing"));
    let (low, high) = (found("low")?.f, found("high")?.f);
    let becomes = match attribute(node, "table") {
        Some(table) => Becomes::entry(&table.floats, low, high)?,
        None => Becomes::Scaled(found("step")?.f),
    };
    let multipliers = found("multipliers")?.floats.as_slice().into();
    Ok((expand(Requantize { axis: 1, multipliers, low, high, becomes }), Vec::new()))
}

impl Becomes {
    fn entry(numbers: &[f32], low: f32, high: f32) -> TractResult<Self> {
        let count = numbers.len();
        ensure!(count <= TABLE_LEN && count as f32 == high - low + 1.0, "a table of {count} for {low}..={high}");
        let mut table = [0; TABLE_LEN];
        table.iter_mut().zip(numbers).for_each(|(entry, number)| *entry = number.to_bits());
        Ok(Self::Entry(Arc::new(table)))
    }
}

impl Requantize {
    fn apply(&self, sums: &mut [f32], multiplier: f32) {
        match &self.becomes {
            Becomes::Scaled(scale) => {
                for sum in sums {
                    *sum = requantize(*sum, multiplier, self.low, self.high) * scale;
                }
            }
            Becomes::Entry(table) => {
                // The last bits of what ROUND was added to count whole numbers. Two loops over what stays in the
                // nearest cache: the first becomes vector instructions, the second moves integers only.
                let first = (self.low + ROUND).to_bits();
                for part in sums.chunks_mut(1024) {
                    for sum in part.iter_mut() {
                        *sum = (*sum * multiplier).clamp(self.low, self.high) + ROUND;
                    }
                    for sum in part {
                        *sum = f32::from_bits(table[sum.to_bits().wrapping_sub(first) as usize % TABLE_LEN]);
                    }
                }
            }
        }
    }

    /// Goes through rows of `inner` sums; neighbours belong to the next channel.
    fn apply_all(&self, sums: &mut [f32], inner: usize) -> TractResult<()> {
        let count = sums.len();
        if count == 0 {
            return Ok(());
        }
        tract_onnx::prelude::multithread::par_chunks_mut(sums, inner, count, |first, rows| {
            for (row, sums) in rows.chunks_mut(inner).enumerate() {
                self.apply(sums, self.multipliers[(first + row) % self.multipliers.len()]);
            }
            Ok(())
        })
    }
}

// Never NaN: all numbers come from checked scales and from integers.
impl Eq for Requantize {}

impl fmt::Debug for Requantize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Requantize({} channels, {}..={})", self.multipliers.len(), self.low, self.high)
    }
}

impl Expansion for Requantize {
    fn name(&self) -> StaticName {
        "Requantize".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, 1)?;
        check_output_arity(outputs, 1)?;
        solver.equals(&outputs[0].datum_type, &inputs[0].datum_type)?;
        solver.equals(&outputs[0].shape, &inputs[0].shape)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        model.wire_node(prefix, self.clone(), inputs)
    }
}

impl Op for Requantize {
    fn name(&self) -> StaticName {
        "Requantize".into()
    }

    op_as_typed_op!();
}

impl EvalOp for Requantize {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, mut inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let mut tensor = inputs.remove(0).into_tensor();
        let channels = self.multipliers.len();
        ensure!(tensor.shape().get(self.axis) == Some(&channels), "{:?} has not {channels} channels", tensor.shape());
        let inner: usize = tensor.shape()[self.axis + 1..].iter().product();
        self.apply_all(tensor.try_as_plain_ram_mut()?.as_slice_mut::<f32>()?, inner)?;
        Ok(tvec!(tensor.into_tvalue()))
    }
}

impl TypedOp for Requantize {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(inputs[0].clone().without_value()))
    }

    fn axes_mapping(&self, inputs: &[&TypedFact], outputs: &[&TypedFact]) -> TractResult<AxesMapping> {
        AxesMapping::natural(inputs, outputs)
    }

    fn change_axes(
        &self,
        model: &TypedModel,
        node: &TypedNode,
        _: InOut,
        change: &AxisOp,
    ) -> TractResult<Option<AxisChangeConsequence>> {
        let Some(axis) = change.transform_axis(self.axis) else { return Ok(None) };
        let op: Box<dyn TypedOp> = Box::new(Self { axis, ..self.clone() });
        Ok(Some(AxisChangeConsequence::new(model, node, Some(op), change)))
    }

    as_op!();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_go_to_even_on_both_sides_of_zero() {
        let round = |sum: f32| requantize(sum, 0.5, -128.0, 127.0);
        let sums = [-5.0, -3.0, -1.0, 0.0, 1.0, 3.0, 5.0, 6.0];
        assert_eq!(sums.map(round), [-2.0, -2.0, 0.0, 0.0, 0.0, 2.0, 2.0, 3.0]);
    }

    #[test]
    fn what_is_out_of_range_takes_the_bound() {
        // A zero point of 100 in 0..=255 leaves -100..=155.
        let round = |sum: f32| requantize(sum, 0.01, -100.0, 155.0);
        let sums = [-2e9, -10_049.0, -9_951.0, -9_949.0, 15_449.0, 15_551.0, 2e9, f32::INFINITY];
        assert_eq!(sums.map(round), [-100.0, -100.0, -100.0, -99.0, 154.0, 155.0, 155.0, 155.0]);
    }

    #[test]
    fn the_multiplier_is_rounded_after_each_step() {
        let (input, weight, output) = (0.024_473_584_f32, 0.003_921_569_f32, 0.082_124_07_f32);
        assert_eq!(multiplier(input, weight, output), (input * weight) / output);
        // 1 × 1 ÷ 3 lies below a third in f32, so that three of it times a half stay below the tie.
        assert_eq!(requantize(3.0, multiplier(1.0, 1.0, 6.0), -10.0, 10.0), 0.0);
        assert_eq!(requantize(9.0, multiplier(1.0, 1.0, 6.0), -10.0, 10.0), 2.0);
    }

    fn channels(becomes: Becomes) -> Requantize {
        Requantize { axis: 1, multipliers: [1.0, 0.5].into(), low: -2.0, high: 3.0, becomes }
    }

    fn eval(op: &Requantize, shape: &[usize], numbers: &[f32]) -> Vec<f32> {
        let tensor = Tensor::from_shape(shape, numbers).unwrap();
        let outputs = op.eval(&EvalContext::out_of_plan(), tvec!(tensor.into_tvalue())).unwrap();
        outputs[0].try_as_plain_ram().unwrap().as_slice::<f32>().unwrap().to_vec()
    }

    #[test]
    fn each_channel_has_its_multiplier() {
        let sums = [-9.0, 1.0, 9.0, -1.0, 3.0, 4.0];
        let op = channels(Becomes::Scaled(10.0));
        assert_eq!(eval(&op, &[1, 2, 3], &sums), [-20.0, 10.0, 30.0, 0.0, 20.0, 20.0]);
        let last = Requantize { axis: 2, ..op };
        assert_eq!(eval(&last, &[1, 3, 2], &sums), [-20.0, 0.0, 30.0, 0.0, 30.0, 20.0]);
    }

    #[test]
    fn a_table_is_looked_up_from_the_smallest_on() {
        let op = channels(Becomes::entry(&[0.5, 1.5, 2.5, 3.5, 4.5, 5.5], -2.0, 3.0).unwrap());
        assert_eq!(eval(&op, &[1, 2, 3], &[-9.0, 1.0, 9.0, -1.0, 3.0, 5.0]), [0.5, 3.5, 5.5, 2.5, 4.5, 4.5]);
        assert!(Becomes::entry(&[1.0, 2.0], -2.0, 3.0).is_err());
    }
}
