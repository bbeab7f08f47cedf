//! What the nodes of a graph compute, not yet computed: functions and moves are kept aside until somebody needs the
//! numbers, so that they become tables, epilogues and strides.
//!
//! A quantizer behind a concatenation, an upsampling or a pooling is moved before it: these only choose among numbers,
//! and rounding keeps their order.

use std::{collections::HashMap, rc::Rc};

use super::{
    super::{
        kernels::loops::apply,
        program::{Binary, Unary},
    },
    functions::rises,
    grid::{Grid, Values},
};

/// Index of a value.
pub(super) type ValueId = usize;

/// Index of what brings numbers into memory.
pub(super) type SourceId = usize;

/// A tensor to be.
#[derive(Clone, Debug)]
pub(super) struct Value {
    /// The node that it comes from.
    pub(super) name: Rc<str>,
    pub(super) dims: Vec<usize>,
    pub(super) kind: Kind,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// What the codes of a source stand for, moved. `grid` is known where a quantizer made them.
    Bytes {
        source: SourceId,
        moves: Vec<Action>,
        values: Values,
        grid: Option<Grid>,
    },
    /// Functions of the floats of a source, moved.
    Floats {
        source: SourceId,
        moves: Vec<Action>,
        post: Vec<Unary>,
    },
    /// Functions of several values of the same dimensions, or constants that are repeated along some.
    Elementwise {
        first: ValueId,
        rest: Vec<(Binary, ValueId)>,
        post: Vec<Unary>,
    },
    /// Numbers of the model itself, row-major.
    Constant(Rc<Vec<f32>>),
    Concat {
        parts: Vec<ValueId>,
        axis: usize,
    },
    MaxPool {
        inner: ValueId,
        window: Window,
    },
    /// Each pixel becomes so many: down, right.
    Upsample {
        inner: ValueId,
        factors: [usize; 2],
    },
    Moved {
        inner: ValueId,
        action: Action,
    },
}

/// A tensor's elements in another arrangement.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Action {
    Slice { axis: usize, start: usize, step: usize, len: usize },
    Transpose(Vec<usize>),
    Reshape(Vec<usize>),
}

/// The window of a pooling.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Window {
    pub(super) kernel: [usize; 2],
    pub(super) stride: [usize; 2],
    /// Above and left.
    pub(super) pads: [usize; 2],
}

impl Action {
    /// The dimensions afterwards.
    pub(super) fn dims(&self, before: &[usize]) -> Vec<usize> {
        match self {
            Self::Slice { axis, len, .. } => {
                let mut dims = before.to_vec();
                dims[*axis] = *len;
                dims
            }
            Self::Transpose(perm) => perm.iter().map(|axis| before[*axis]).collect(),
            Self::Reshape(dims) => dims.clone(),
        }
    }
}

/// How much a value is made of; values are followed by recursion.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Extent {
    /// Values of values, or functions one after the other.
    pub(super) depth: usize,
    /// What it is put together from.
    pub(super) parts: usize,
}

/// All values of a program.
#[derive(Debug)]
pub(super) struct Tape {
    /// The name of the node whose values come next.
    pub(super) node: Rc<str>,
    values: Vec<Value>,
    extents: Vec<Extent>,
    /// Functions that were asked for before, so that each is computed once.
    mapped: HashMap<ValueId, Vec<(Unary, ValueId)>>,
}

impl Default for Tape {
    fn default() -> Self {
        Self { node: "".into(), values: Vec::new(), extents: Vec::new(), mapped: HashMap::new() }
    }
}

impl Tape {
    pub(super) fn push(&mut self, dims: &[usize], kind: Kind) -> ValueId {
        self.extents.push(self.extent_of(&kind));
        self.values.push(Value { name: self.node.clone(), dims: dims.to_vec(), kind });
        self.values.len() - 1
    }

    /// Whether a value is a constant that would have to be moved.
    pub(super) fn is_moved_constant(&self, id: ValueId) -> bool {
        match &self.values[id].kind {
            Kind::Moved { inner, .. } => {
                matches!(self.values[*inner].kind, Kind::Constant(_)) || self.is_moved_constant(*inner)
            }
            _ => false,
        }
    }

    /// How much a value is made of.
    pub(super) fn extent(&self, id: ValueId) -> Extent {
        self.extents[id]
    }

    fn extent_of(&self, kind: &Kind) -> Extent {
        let of = |id: &ValueId| self.extents[*id];
        match kind {
            Kind::Constant(_) => Extent { depth: 1, parts: 1 },
            Kind::Bytes { moves, .. } => Extent { depth: 1 + moves.len(), parts: 1 },
            Kind::Floats { moves, post, .. } => Extent { depth: 1 + moves.len() + post.len(), parts: 1 },
            Kind::Elementwise { first, rest, post } => {
                let deepest = rest.iter().map(|(_, id)| of(id).depth).fold(of(first).depth, usize::max);
                Extent { depth: 1 + deepest + post.len(), parts: 1 }
            }
            Kind::Concat { parts, .. } => Extent {
                depth: 1 + parts.iter().map(|id| of(id).depth).max().unwrap_or(0),
                parts: parts.iter().map(|id| of(id).parts).fold(0, usize::saturating_add),
            },
            Kind::MaxPool { inner, .. } | Kind::Upsample { inner, .. } | Kind::Moved { inner, .. } => {
                Extent { depth: 1 + of(inner).depth, ..of(inner) }
            }
        }
    }

    pub(super) fn get(&self, id: ValueId) -> &Value {
        &self.values[id]
    }

    pub(super) fn dims(&self, id: ValueId) -> &[usize] {
        &self.values[id].dims
    }

    /// The one number of a constant that is one.
    pub(super) fn scalar(&self, id: ValueId) -> Option<f32> {
        match &self.values[id].kind {
            Kind::Constant(data) => (data.len() == 1).then(|| data[0]),
            _ => None,
        }
    }

    /// The grid that all of a value's numbers lie on, where a quantizer says so.
    pub(super) fn grid(&self, id: ValueId) -> Option<Grid> {
        match &self.values[id].kind {
            Kind::Bytes { grid, .. } => *grid,
            Kind::Floats { post, .. } | Kind::Elementwise { post, .. } => match post.last() {
                Some(Unary::Round { scale, low, high }) => Some(Grid { scale: *scale, low: *low, high: *high }),
                _ => None,
            },
            Kind::Constant(_) => None,
            Kind::Concat { parts, .. } => {
                let first = self.grid(parts[0])?;
                parts[1..].iter().all(|part| self.grid(*part) == Some(first)).then_some(first)
            }
            Kind::MaxPool { inner, .. } | Kind::Upsample { inner, .. } | Kind::Moved { inner, .. } => self.grid(*inner),
        }
    }

    /// A function of each number. Rounding to a grid that all numbers lie on changes none.
    pub(super) fn unary(&mut self, id: ValueId, unary: Unary) -> ValueId {
        if matches!(unary, Unary::Round { .. }) && self.grid(id).is_some_and(|grid| grid.round() == unary) {
            return id;
        }
        let known = self.mapped.get(&id).and_then(|known| known.iter().find(|(other, _)| *other == unary));
        if let Some((_, mapped)) = known {
            return *mapped;
        }
        let Value { name, dims, kind } = self.values[id].clone();
        let with = |mut post: Vec<Unary>| {
            post.push(unary);
            post
        };
        let kind = match kind {
            Kind::Bytes { source, moves, values, .. } => {
                let grid = match unary {
                    Unary::Round { scale, low, high } => Some(Grid { scale, low, high }),
                    _ => None,
                };
                Kind::Bytes { source, moves, values: values.map(unary), grid }
            }
            Kind::Floats { source, moves, post } => Kind::Floats { source, moves, post: with(post) },
            Kind::Elementwise { first, rest, post } => Kind::Elementwise { first, rest, post: with(post) },
            Kind::Constant(data) => Kind::Constant(Rc::new(data.iter().map(|x| apply(unary, *x)).collect())),
            Kind::Concat { parts, axis } => {
                Kind::Concat { parts: parts.into_iter().map(|part| self.unary(part, unary)).collect(), axis }
            }
            Kind::MaxPool { inner, window } if rises(unary) => {
                Kind::MaxPool { inner: self.unary(inner, unary), window }
            }
            Kind::MaxPool { .. } => Kind::Elementwise { first: id, rest: Vec::new(), post: vec![unary] },
            Kind::Upsample { inner, factors } => Kind::Upsample { inner: self.unary(inner, unary), factors },
            Kind::Moved { inner, action } => Kind::Moved { inner: self.unary(inner, unary), action },
        };
        let mapped = self.push(&dims, kind);
        self.values[mapped].name = name;
        self.mapped.entry(id).or_default().push((unary, mapped));
        mapped
    }

    /// The numbers in another arrangement.
    pub(super) fn moved(&mut self, id: ValueId, action: Action) -> ValueId {
        let Value { dims: before, kind, .. } = self.values[id].clone();
        let dims = action.dims(&before);
        let with = |mut moves: Vec<Action>| {
            moves.push(action.clone());
            moves
        };
        let kind = match kind {
            _ if dims == before && !matches!(action, Action::Transpose(_)) => return id,
            Kind::Bytes { source, moves, values, grid } => Kind::Bytes { source, moves: with(moves), values, grid },
            Kind::Floats { source, moves, post } => Kind::Floats { source, moves: with(moves), post },
            Kind::Concat { parts, axis } => match self.moved_concat(&parts, axis, &before, &action) {
                Some(moved) => return moved,
                None => Kind::Moved { inner: id, action },
            },
            Kind::Constant(data) if matches!(action, Action::Reshape(_)) => Kind::Constant(data),
            _ => Kind::Moved { inner: id, action },
        };
        self.push(&dims, kind)
    }

    /// Moves the parts of a concatenation instead of the whole; `None` where that is not the same.
    fn moved_concat(&mut self, parts: &[ValueId], axis: usize, before: &[usize], action: &Action) -> Option<ValueId> {
        match action {
            Action::Slice { axis: sliced, start, step, len } if *sliced == axis => {
                let end = start + (len - 1) * step + 1;
                let (mut found, mut at) = (Vec::new(), 0);
                for part in parts {
                    let part_len = self.dims(*part)[axis];
                    let (from, to) = (start.max(&at) - at, end.min(at + part_len).saturating_sub(at));
                    if from < to && *step != 1 {
                        return None;
                    }
                    if from < to {
                        found.push(self.moved(*part, Action::Slice { axis, start: from, step: 1, len: to - from }));
                    }
                    at += part_len;
                }
                Some(self.concat(found, axis))
            }
            Action::Slice { .. } => {
                let parts = parts.iter().map(|part| self.moved(*part, action.clone())).collect();
                Some(self.concat(parts, axis))
            }
            Action::Transpose(perm) => {
                let parts = parts.iter().map(|part| self.moved(*part, action.clone())).collect();
                let axis = perm.iter().position(|from| *from == axis).expect("a permutation holds each axis");
                Some(self.concat(parts, axis))
            }
            Action::Reshape(dims) if dims.get(..=axis) == before.get(..=axis) => {
                let reshaped = |tape: &mut Self, part: ValueId| {
                    let mut dims = dims.clone();
                    dims[axis] = tape.dims(part)[axis];
                    tape.moved(part, Action::Reshape(dims))
                };
                let parts = parts.iter().map(|part| reshaped(self, *part)).collect();
                Some(self.concat(parts, axis))
            }
            Action::Reshape(_) => None,
        }
    }

    /// Several values one after the other along an axis.
    pub(super) fn concat(&mut self, parts: Vec<ValueId>, axis: usize) -> ValueId {
        if let [only] = parts[..] {
            return only;
        }
        let mut dims = self.dims(parts[0]).to_vec();
        dims[axis] = parts.iter().map(|part| self.dims(*part)[axis]).sum();
        self.push(&dims, Kind::Concat { parts, axis })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of different sources: 1 × channels × 2 × 3.
    fn tape(channels: &[usize]) -> (Tape, Vec<ValueId>) {
        let mut tape = Tape::default();
        let floats = |source| Kind::Floats { source, moves: Vec::new(), post: Vec::new() };
        let ids = channels.iter().enumerate().map(|(source, count)| tape.push(&[1, *count, 2, 3], floats(source)));
        let ids = ids.collect();
        (tape, ids)
    }

    #[test]
    fn a_slice_of_a_concatenation_is_one_of_its_parts() {
        let (mut tape, ids) = tape(&[2, 3, 4]);
        let all = tape.concat(ids.clone(), 1);
        let slice = |start, step, len| Action::Slice { axis: 1, start, step, len };
        assert_eq!(tape.moved(all, slice(2, 1, 3)), ids[1]);
        let both = tape.moved(all, slice(1, 1, 5));
        let Kind::Concat { parts, axis: 1 } = tape.get(both).kind.clone() else { panic!("{:?}", tape.get(both)) };
        let channels: Vec<usize> = parts.iter().map(|part| tape.dims(*part)[1]).collect();
        assert_eq!(channels, [1, 3, 1]);
        let every_second = tape.moved(all, slice(0, 2, 5));
        assert!(matches!(tape.get(every_second).kind, Kind::Moved { .. }));
        assert_eq!(tape.dims(every_second), [1, 5, 2, 3]);
    }

    #[test]
    fn parts_are_moved_where_the_whole_would_be() {
        let (mut tape, ids) = tape(&[2, 4]);
        let all = tape.concat(ids, 1);
        let turned = tape.moved(all, Action::Transpose(vec![0, 2, 3, 1]));
        assert!(matches!(tape.get(turned).kind, Kind::Concat { axis: 3, .. }));
        let flat = tape.moved(all, Action::Reshape(vec![1, 6, 6]));
        assert!(matches!(tape.get(flat).kind, Kind::Concat { axis: 1, .. }));
        let mixed = tape.moved(all, Action::Reshape(vec![1, 3, 2, 6]));
        assert!(matches!(tape.get(mixed).kind, Kind::Moved { .. }));
    }

    #[test]
    fn only_rising_functions_go_before_a_pooling() {
        let (mut tape, ids) = tape(&[2]);
        let window = Window { kernel: [2, 2], stride: [1, 1], pads: [0, 0] };
        let pool = tape.push(&[1, 2, 1, 2], Kind::MaxPool { inner: ids[0], window });
        let clipped = tape.unary(pool, Unary::Clip { low: 0.0, high: 1.0 });
        assert!(matches!(tape.get(clipped).kind, Kind::MaxPool { .. }));
        for falling in [Unary::Silu, Unary::Scale { factor: -1.0 }, Unary::Leaky { slope: -0.1 }] {
            let after = tape.unary(pool, falling);
            assert!(matches!(tape.get(after).kind, Kind::Elementwise { .. }), "{falling:?}");
        }
        assert_eq!(tape.unary(pool, Unary::Clip { low: 0.0, high: 1.0 }), clipped, "once is enough");
    }

    #[test]
    fn rounding_twice_to_one_grid_is_rounding_once() {
        let (mut tape, ids) = tape(&[2, 4]);
        let all = tape.concat(ids, 1);
        let [fine, coarse] = [0.5, 1.0].map(|scale| Unary::Round { scale, low: -4.0, high: 3.0 });
        let rounded = tape.unary(all, fine);
        assert_eq!(tape.unary(rounded, fine), rounded);
        assert_ne!(tape.unary(rounded, coarse), rounded);
    }

    #[test]
    fn a_gate_of_the_same_numbers_is_one_function() {
        let (mut tape, ids) = tape(&[2]);
        let gate = tape.unary(ids[0], Unary::Sigmoid);
        for (a, b) in [(ids[0], gate), (gate, ids[0])] {
            let silu = tape.binary(Binary::Mul, a, b).unwrap();
            assert!(matches!(&tape.get(silu).kind, Kind::Floats { post, .. } if post == &[Unary::Silu]));
        }
        let sum = tape.binary(Binary::Add, ids[0], gate).unwrap();
        assert!(matches!(tape.get(sum).kind, Kind::Elementwise { .. }));
        let other = tape.push(&[1, 1, 2, 3], Kind::Floats { source: 7, moves: Vec::new(), post: Vec::new() });
        assert!(tape.binary(Binary::Add, ids[0], other).is_err(), "only constants are repeated");
    }

    #[test]
    fn what_is_followed_by_recursion_is_counted() {
        let (mut tape, ids) = tape(&[2, 2]);
        let both = tape.concat(ids.clone(), 1);
        let four = tape.concat(vec![both, both], 1);
        assert_eq!((tape.extent(four).parts, tape.extent(four).depth), (4, 3));
        let twice = tape.unary(ids[0], Unary::Silu);
        let twice = tape.unary(twice, Unary::Tanh);
        assert_eq!(tape.extent(twice), Extent { depth: 3, parts: 1 });
    }
}
