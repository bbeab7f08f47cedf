//! Steps that compute values of values: functions of several tensors, poolings, upsamplings.

use super::{
    super::program::{self, Binary, Elementwise, MaxPool, Move, Operand, Unary},
    Refused,
    builder::{Builder, loop_axes},
    demand::{Form, float_target},
    draft::{Layout, Target},
    grid::Values,
    tensor::{BufferId, Tensor, dense_strides},
    value::{Kind, ValueId, Window},
};

impl Builder {
    pub(super) fn elementwise(
        &mut self,
        name: &str,
        first: ValueId,
        rest: &[(Binary, ValueId)],
        post: &[Unary],
        form: Form,
        place: &Tensor,
    ) -> Result<(), Refused> {
        let first = self.operand(first, &place.dims)?;
        let rest = rest
            .iter()
            .map(|(op, id)| Ok((*op, self.operand(*id, &place.dims)?)))
            .collect::<Result<Vec<_>, Refused>>()?;
        let reads: Vec<BufferId> =
            [&first].into_iter().chain(rest.iter().map(|(_, operand)| operand)).filter_map(Input::buffer).collect();
        let finish = float_target(post, form).finish(self.kernels.signed);
        let to = place.clone();
        let axes = loop_axes(&to);
        self.step(name, 0, &reads, place, move |layout| {
            program::Kind::Elementwise(Elementwise {
                dims: axes.iter().map(|axis| to.dims[*axis]).collect(),
                first: first.operand(layout, &axes),
                rest: rest.iter().map(|(op, input)| (*op, input.operand(layout, &axes))).collect(),
                output: layout.view_of(&to, &axes),
                finish,
            })
        });
        Ok(())
    }

    /// A value as an operand: codes where it has them, for they are small.
    fn operand(&mut self, id: ValueId, dims: &[usize]) -> Result<Input, Refused> {
        let value = self.tape.get(id).clone();
        Ok(match value.kind {
            Kind::Bytes { source, moves, values, .. } => {
                let tensor = self.demand_source(source, &moves, Target::Raw, 0);
                Input::Bytes { tensor, values }
            }
            Kind::Constant(data) => {
                let own: Vec<usize> =
                    std::iter::repeat_n(1, dims.len() - value.dims.len()).chain(value.dims.iter().copied()).collect();
                let order: Vec<usize> = (0..own.len()).collect();
                let mut strides = dense_strides(&own, &order);
                strides.iter_mut().zip(&own).filter(|(_, dim)| **dim == 1).for_each(|(stride, _)| *stride = 0);
                Input::Constant { data: data.to_vec(), strides }
            }
            _ => match self.tape.grid(id) {
                Some(grid) => Input::Bytes { tensor: self.demand(id, Form::Codes(grid))?, values: grid.values() },
                None => Input::Floats(self.demand(id, Form::Floats)?),
            },
        })
    }

    pub(super) fn max_pool(
        &mut self,
        name: &str,
        inner: ValueId,
        window: Window,
        form: Form,
        place: &Tensor,
    ) -> Result<(), Refused> {
        let input = self.demand(inner, form)?;
        let input = self.as_plane(name, input, form.zero());
        if place.plane().is_none() {
            return Err(Refused::new("a pooling into something that is no plane"));
        }
        let output = place.clone();
        self.step(name, 0, &[input.buffer], place, move |layout| {
            program::Kind::MaxPool(MaxPool {
                input: layout.plane(&input),
                input_size: [input.dims[2], input.dims[3]],
                output: layout.plane(&output),
                size: [output.dims[2], output.dims[3]],
                channels: output.dims[1],
                kernel: window.kernel,
                stride: window.stride,
                pads: window.pads,
            })
        });
        Ok(())
    }

    pub(super) fn upsample(
        &mut self,
        name: &str,
        inner: ValueId,
        factors: [usize; 2],
        form: Form,
        place: &Tensor,
    ) -> Result<(), Refused> {
        let input = self.demand(inner, form)?;
        let (&[_, channels, rows, columns], output) = (&input.dims[..], place.clone()) else {
            return Err(Refused::new("an upsampling of something that is no plane"));
        };
        self.step(name, 0, &[input.buffer], place, move |layout| {
            let (from, to) = (layout.view(&input), layout.view(&output));
            let [row, pixel] = [to.strides[2], to.strides[3]];
            let (from_strides, to_strides) = (
                vec![from.strides[2], 0, from.strides[3], 0, from.strides[1]],
                vec![row * factors[0], row, pixel * factors[1], pixel, to.strides[1]],
            );
            program::Kind::Move(Move {
                dims: vec![rows, factors[0], columns, factors[1], channels],
                input: program::View { strides: from_strides, ..from },
                output: program::View { strides: to_strides, ..to },
                table: None,
            })
        });
        Ok(())
    }
}

/// An operand whose place is not known yet.
enum Input {
    Bytes { tensor: Tensor, values: Values },
    Floats(Tensor),
    Constant { data: Vec<f32>, strides: Vec<usize> },
}

impl Input {
    fn buffer(&self) -> Option<BufferId> {
        match self {
            Self::Bytes { tensor, .. } | Self::Floats(tensor) => Some(tensor.buffer),
            Self::Constant { .. } => None,
        }
    }

    fn operand(&self, layout: &Layout<'_>, axes: &[usize]) -> Operand {
        match self {
            Self::Bytes { tensor, values } => {
                Operand::Bytes { view: layout.view_of(tensor, axes), values: values.held(layout.kernels.signed) }
            }
            Self::Floats(tensor) => Operand::Floats { view: layout.view_of(tensor, axes) },
            Self::Constant { data, strides } => {
                Operand::Constant { data: data.clone(), strides: axes.iter().map(|axis| strides[*axis]).collect() }
            }
        }
    }
}
