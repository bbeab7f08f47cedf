//! Brings values into memory, when somebody needs their numbers, in the form in which they are needed.

use super::{
    super::program::{self, Element, Elementwise, Operand, Unary},
    Refused,
    builder::{Builder, Source, loop_axes, natural_order},
    draft::{Owner, Target, Wanted},
    grid::Grid,
    tensor::{Tensor, dense_strides},
    value::{Action, Kind, SourceId, Value, ValueId},
};

/// In which form numbers are needed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Form {
    Codes(Grid),
    Floats,
}

impl Form {
    pub(super) fn element(self) -> Element {
        match self {
            Self::Codes(_) => Element::Byte,
            Self::Floats => Element::Float,
        }
    }

    pub(super) fn zero(self) -> u8 {
        match self {
            Self::Codes(grid) => grid.zero(),
            Self::Floats => 0,
        }
    }

    pub(super) fn key(self) -> [u32; 3] {
        match self {
            Self::Codes(Grid { scale, low, high }) => [scale, low, high].map(f32::to_bits),
            Self::Floats => [u32::MAX; 3],
        }
    }
}

impl Builder {
    /// A value in memory.
    pub(super) fn demand(&mut self, id: ValueId, form: Form) -> Result<Tensor, Refused> {
        if let Some(tensor) = self.known.get(&(id, form.key())) {
            return Ok(tensor.clone());
        }
        let value = self.tape.get(id).clone();
        let tensor = match &value.kind {
            Kind::Bytes { source, moves, values, .. } => {
                let target = match form {
                    Form::Codes(grid) => Target::Table(Box::new(values.codes(&grid))),
                    Form::Floats => Target::Values(values.clone()),
                };
                self.demand_source(*source, moves, target, form.zero())
            }
            Kind::Floats { source, moves, post } => {
                self.demand_source(*source, moves, float_target(post, form), form.zero())
            }
            Kind::Moved { inner, action } => {
                let tensor = self.demand(*inner, form)?;
                self.act(&value.name, tensor, action, form.zero())
            }
            _ => {
                let order = self.order(id);
                let owner = Owner::Value(id, form.key());
                let tensor = self.alloc_for(owner, &value.dims, &order, form.element(), form.zero());
                self.demand_into(id, form, &tensor)?;
                tensor
            }
        };
        self.known.insert((id, form.key()), tensor.clone());
        Ok(tensor)
    }

    /// A value in this place.
    pub(super) fn demand_into(&mut self, id: ValueId, form: Form, place: &Tensor) -> Result<(), Refused> {
        let Value { name, kind, .. } = self.tape.get(id).clone();
        let (source, moves, target) = match kind {
            Kind::Bytes { source, moves, values, .. } => match form {
                Form::Codes(grid) => (source, moves, Target::Table(Box::new(values.codes(&grid)))),
                Form::Floats => (source, moves, Target::Values(values)),
            },
            Kind::Floats { source, moves, post } => (source, moves, float_target(&post, form)),
            Kind::Elementwise { first, rest, post } => {
                return self.elementwise(&name, first, &rest, &post, form, place);
            }
            Kind::Constant(_) => return Err(Refused::new("a constant among activations")),
            Kind::Concat { parts, axis } => {
                let mut start = 0;
                for part in parts {
                    let len = self.tape.dims(part)[axis];
                    let slice = place.slice(axis, start, 1, len);
                    match self.known.get(&(part, form.key())).cloned() {
                        Some(known) => self.copy(&name, &known, &slice),
                        None => {
                            self.demand_into(part, form, &slice)?;
                            self.known.insert((part, form.key()), slice);
                        }
                    }
                    start += len;
                }
                return Ok(());
            }
            Kind::MaxPool { inner, window } => return self.max_pool(&name, inner, window, form, place),
            Kind::Upsample { inner, factors } => return self.upsample(&name, inner, factors, form, place),
            Kind::Moved { .. } => {
                let tensor = self.demand(id, form)?;
                self.copy(&name, &tensor, place);
                return Ok(());
            }
        };
        if self.sources[source].fixed.is_none()
            && let Some((channels, tensor)) = pull_back(place, &self.sources[source].dims, &moves)
        {
            self.wanted[source].push(Wanted { channels, target, tensor });
            return Ok(());
        }
        let tensor = self.demand_source(source, &moves, target, form.zero());
        self.copy(&name, &tensor, place);
        Ok(())
    }

    pub(super) fn demand_source(&mut self, source: SourceId, moves: &[Action], target: Target, zero: u8) -> Tensor {
        let Source { name, dims, fixed } = self.sources[source].clone();
        // Only the channels that are wanted.
        let (channels, moves) = match moves {
            [Action::Slice { axis: 1, start, step: 1, len }, rest @ ..] if dims.len() == 4 && fixed.is_none() => {
                (*start..start + len, rest)
            }
            _ => (0..dims.get(1).copied().unwrap_or(1), moves),
        };
        // Codes of different grids may agree on all numbers, but not on zero, which surrounds them.
        let all = |wanted: &&Wanted| {
            wanted.target == target
                && wanted.channels == channels
                && (target == Target::Raw || self.buffers[wanted.tensor.buffer].zero == zero)
        };
        let found = self.wanted[source].iter().find(all).map(|wanted| wanted.tensor.clone());
        let mut tensor = match (found, fixed) {
            (Some(tensor), _) => tensor,
            (None, Some(tensor)) if target == Target::Floats(Vec::new()) => tensor,
            (None, Some(from)) => {
                let owner = Owner::Source(source, self.wanted[source].len());
                let tensor = self.alloc_for(owner, &dims, &from.order(), target.element(), zero);
                self.convert(&name, &from, &target, &tensor);
                self.wanted[source].push(Wanted { channels, target, tensor: tensor.clone() });
                tensor
            }
            (None, None) => {
                let mut part = dims.clone();
                part[1] = channels.len();
                let owner = Owner::Source(source, self.wanted[source].len());
                let tensor = self.alloc_for(owner, &part, &natural_order(4), target.element(), zero);
                self.wanted[source].push(Wanted { channels, target, tensor: tensor.clone() });
                tensor
            }
        };
        for action in moves {
            tensor = self.act(&name, tensor, action, zero);
        }
        tensor
    }

    /// Floats in memory to where and what they are wanted as.
    fn convert(&mut self, name: &str, from: &Tensor, target: &Target, to: &Tensor) {
        let (from, to, finish) = (from.clone(), to.clone(), target.finish(self.kernels.signed));
        let axes = loop_axes(&to);
        self.step(name, 0, &[from.buffer], &to.clone(), move |layout| {
            program::Kind::Elementwise(Elementwise {
                dims: axes.iter().map(|axis| to.dims[*axis]).collect(),
                first: Operand::Floats { view: layout.view_of(&from, &axes) },
                rest: Vec::new(),
                output: layout.view_of(&to, &axes),
                finish,
            })
        });
    }

    /// The tensor in another arrangement, copied where strides cannot say it.
    fn act(&mut self, name: &str, tensor: Tensor, action: &Action, zero: u8) -> Tensor {
        match action {
            Action::Slice { axis, start, step, len } => tensor.slice(*axis, *start, *step, *len),
            Action::Transpose(perm) => tensor.transpose(perm),
            Action::Reshape(dims) => match tensor.reshape(dims) {
                Some(reshaped) => reshaped,
                None => {
                    let owner = self.copy_owner(name);
                    let copy = self.alloc_for(owner, dims, &natural_order(dims.len()), tensor.element, zero);
                    match copy.reshape(&tensor.dims) {
                        Some(place) => self.copy(name, &tensor, &place),
                        None => {
                            // In between it lies as the file has it, which every reshape can be read from.
                            let order: Vec<usize> = (0..tensor.dims.len()).collect();
                            let between = self.alloc(&tensor.dims, &order, tensor.element, zero);
                            self.copy(name, &tensor, &between);
                            let reshaped = between.reshape(dims).expect("row-major numbers have any dimensions");
                            self.copy(name, &reshaped, &copy);
                        }
                    }
                    copy
                }
            },
        }
    }

    /// The order in memory that suits a value.
    pub(super) fn order(&self, id: ValueId) -> Vec<usize> {
        let value = self.tape.get(id);
        match &value.kind {
            Kind::Bytes { source, moves, .. } | Kind::Floats { source, moves, .. } => {
                let source = &self.sources[*source];
                let mut tensor = source.fixed.clone().unwrap_or_else(|| nominal(&source.dims));
                for action in moves {
                    tensor = match action {
                        Action::Slice { axis, start, step, len } => tensor.slice(*axis, *start, *step, *len),
                        Action::Transpose(perm) => tensor.transpose(perm),
                        Action::Reshape(dims) => tensor.reshape(dims).unwrap_or_else(|| nominal(dims)),
                    };
                }
                tensor.order()
            }
            Kind::Elementwise { first: inner, .. } => self.order(*inner),
            Kind::Concat { parts, .. } => self.order(parts[0]),
            _ => natural_order(value.dims.len()),
        }
    }
}

/// A tensor in no buffer, to find out how it would lie.
fn nominal(dims: &[usize]) -> Tensor {
    Tensor {
        buffer: 0,
        element: Element::Byte,
        offset: 0,
        dims: dims.to_vec(),
        strides: dense_strides(dims, &natural_order(dims.len())),
        is_plane: false,
    }
}

/// Where a source's channels have to be written so that, moved, they lie in a place; `None` where no strides say so.
fn pull_back(place: &Tensor, dims: &[usize], moves: &[Action]) -> Option<(std::ops::Range<usize>, Tensor)> {
    let (channels, moves) = match moves {
        [Action::Slice { axis: 1, start, step: 1, len }, rest @ ..] => (*start..start + len, rest),
        _ => (0..*dims.get(1)?, moves),
    };
    let mut before = vec![dims.to_vec()];
    before[0][1] = channels.len();
    for action in moves {
        before.push(action.dims(before.last().expect("it begins with one")));
    }
    let mut tensor = place.clone();
    for (action, dims) in moves.iter().zip(&before).rev() {
        tensor = match action {
            Action::Reshape(_) => tensor.reshape(dims)?,
            Action::Transpose(perm) => {
                let mut inverse = vec![0; perm.len()];
                perm.iter().enumerate().for_each(|(to, from)| inverse[*from] = to);
                tensor.transpose(&inverse)
            }
            Action::Slice { .. } => return None,
        };
    }
    tensor.plane().is_some().then_some((channels, tensor))
}

/// Functions of floats in a form. A rounding to the very grid that is asked for is the quantizer's own.
pub(super) fn float_target(post: &[Unary], form: Form) -> Target {
    match form {
        Form::Floats => Target::Floats(post.to_vec()),
        Form::Codes(grid) => {
            let post = post.strip_suffix(&[grid.round()]).unwrap_or(post);
            Target::Quantized(post.to_vec(), grid)
        }
    }
}
