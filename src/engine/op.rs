//! A program as an operator of tract, for graphs of which only a part is lowered.

use std::{
    fmt,
    sync::{Arc, Mutex, OnceLock},
};

use tract_onnx::{
    model::ParsingContext,
    pb::NodeProto,
    tract_core::internal::*,
    tract_hir::{
        infer::{InferenceOp, InferenceResult, Solver, TensorProxy},
        internal::{Expansion, check_output_arity, expand},
    },
};

use super::{program::Program, proto::attribute};

/// The operator. Its program is put in when the graph is complete.
#[derive(Clone)]
pub(super) struct ProgramOp {
    /// Which program it is.
    pub(super) number: usize,
    dims: Vec<TVec<usize>>,
    program: Arc<OnceLock<Mutex<Program>>>,
}

/// Makes the operator from its node, whose attributes are the program's `index` and `dims0`, `dims1`, … of its outputs.
pub(super) fn build(_: &ParsingContext<'_>, node: &NodeProto) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let found = |name: &str| attribute(node, name).with_context(|| format!("{name} is missing"));
    let dims = (0..node.output.len())
        .map(|output| Ok(found(&format!("dims{output}"))?.ints.iter().map(|dim| *dim as usize).collect()))
        .collect::<TractResult<_>>()?;
    let op = ProgramOp { number: found("index")?.i as usize, dims, program: Arc::default() };
    Ok((expand(op), Vec::new()))
}

impl ProgramOp {
    /// Gives the operator its program.
    ///
    /// # Panics
    /// Where it has one.
    pub(super) fn fill(&self, program: Program) {
        assert!(self.program.set(Mutex::new(program)).is_ok(), "program {} is put in once", self.number);
    }
}

impl fmt::Debug for ProgramOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Program({})", self.number)
    }
}

impl PartialEq for ProgramOp {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.program, &other.program)
    }
}

impl Eq for ProgramOp {}

impl Expansion for ProgramOp {
    fn name(&self) -> StaticName {
        "Program".into()
    }

    fn nboutputs(&self) -> TractResult<usize> {
        Ok(self.dims.len())
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        _: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_output_arity(outputs, self.dims.len())?;
        for (output, dims) in outputs.iter().zip(&self.dims) {
            let shape: TVec<TDim> = dims.iter().map(|dim| TDim::from(*dim)).collect();
            solver.equals(&output.datum_type, f32::datum_type())?;
            solver.equals(&output.shape, shape)?;
        }
        Ok(())
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        model.wire_node(prefix, self.clone(), inputs)
    }
}

impl Op for ProgramOp {
    fn name(&self) -> StaticName {
        "Program".into()
    }

    op_as_typed_op!();
}

impl EvalOp for ProgramOp {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let program = self.program.get().with_context(|| format!("program {} is missing", self.number))?;
        // A run that panicked leaves nothing behind that the next one reads.
        let mut program = program.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let plain = inputs.iter().map(|input| input.try_as_plain_ram()).collect::<TractResult<Vec<_>>>()?;
        let slices = plain.iter().map(|input| input.as_slice::<f32>()).collect::<TractResult<Vec<_>>>()?;
        program.run(&slices);
        let output =
            |(index, dims): (usize, &TVec<usize>)| Ok(Tensor::from_shape(dims, program.output(index))?.into_tvalue());
        self.dims.iter().enumerate().map(output).collect()
    }
}

impl TypedOp for ProgramOp {
    fn output_facts(&self, _: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(self.dims.iter().map(f32::fact).collect())
    }

    as_op!();
}
