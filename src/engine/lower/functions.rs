//! Functions of two values, and what may be done with functions of one.

use super::{
    super::{
        kernels::loops::combined,
        program::{Binary, Unary},
    },
    Refused,
    value::{Kind, Tape, Value, ValueId},
};

impl Tape {
    /// A function of two values.
    ///
    /// # Errors
    /// Where their dimensions do not fit; only constants are repeated.
    pub(super) fn binary(&mut self, op: Binary, a: ValueId, b: ValueId) -> Result<ValueId, Refused> {
        let (left, right) = (self.get(a).clone(), self.get(b).clone());
        if let Some(id) = self.of_one_source(op, &left, &right) {
            return Ok(id);
        }
        if let Some(number) = self.scalar(b).filter(|_| self.scalar(a).is_none() && left.dims.len() >= right.dims.len())
            && let Some(unary) = with_scalar(op, number)
        {
            return Ok(self.unary(a, unary));
        }
        if let Some(number) = self.scalar(a).filter(|_| right.dims.len() >= left.dims.len())
            && let Some(unary) = with_scalar(swapped(op), number)
        {
            return Ok(self.unary(b, unary));
        }
        if matches!(left.kind, Kind::Constant(_)) {
            if matches!(right.kind, Kind::Constant(_)) {
                return Err(Refused::new("a function of two constants"));
            }
            return self.binary(swapped(op), b, a);
        }
        let fits = match right.kind {
            Kind::Constant(_) => repeats(&right.dims, &left.dims),
            _ => left.dims == right.dims,
        };
        if !fits {
            return Err(Refused::new(format!("a function of {:?} and {:?}", left.dims, right.dims)));
        }
        let kind = match left.kind {
            // A sum of sums is taken in one go, in the order in which the file adds.
            Kind::Elementwise { first, mut rest, post } if post.is_empty() && rest.len() < 3 => {
                rest.push((op, b));
                Kind::Elementwise { first, rest, post }
            }
            _ => Kind::Elementwise { first: a, rest: vec![(op, b)], post: Vec::new() },
        };
        Ok(self.push(&left.dims, kind))
    }

    /// A function of two functions of the same numbers, which is one function.
    fn of_one_source(&mut self, op: Binary, left: &Value, right: &Value) -> Option<ValueId> {
        let kind = match (&left.kind, &right.kind) {
            (
                Kind::Bytes { source, moves, values, .. },
                Kind::Bytes { source: other, moves: same, values: others, .. },
            ) if source == other && moves == same => {
                let values = values.combine(others, |a, b| combined(op, a, b));
                Kind::Bytes { source: *source, moves: moves.clone(), values, grid: None }
            }
            (Kind::Floats { source, moves, post }, Kind::Floats { source: other, moves: same, post: others })
                if source == other && moves == same && op == Binary::Mul =>
            {
                let (short, long) = if post.len() < others.len() { (post, others) } else { (others, post) };
                let unary = match long.strip_prefix(short.as_slice())? {
                    [Unary::Sigmoid] => Unary::Silu,
                    [Unary::HardSigmoid { slope, offset }] if *slope == 1.0 / 6.0 && *offset == 0.5 => Unary::HardSwish,
                    _ => return None,
                };
                let post = short.iter().copied().chain([unary]).collect();
                Kind::Floats { source: *source, moves: moves.clone(), post }
            }
            _ => return None,
        };
        Some(self.push(&left.dims, kind))
    }
}

/// Whether a constant of some dimensions can be repeated to others.
fn repeats(constant: &[usize], dims: &[usize]) -> bool {
    constant.len() <= dims.len()
        && constant.iter().rev().zip(dims.iter().rev()).all(|(own, dim)| *own == 1 || own == dim)
}

/// Whether a function never falls.
pub(super) fn rises(unary: Unary) -> bool {
    match unary {
        Unary::Sigmoid | Unary::Tanh | Unary::Exp | Unary::Clip { .. } | Unary::Shift { .. } | Unary::Round { .. } => {
            true
        }
        Unary::Leaky { slope } | Unary::HardSigmoid { slope, .. } | Unary::Scale { factor: slope } => slope >= 0.0,
        Unary::Silu | Unary::HardSwish => false,
    }
}

/// A function of a number and a constant.
fn with_scalar(op: Binary, number: f32) -> Option<Unary> {
    match op {
        Binary::Add => Some(Unary::Shift { term: number }),
        Binary::Sub => Some(Unary::Shift { term: -number }),
        Binary::Mul => Some(Unary::Scale { factor: number }),
        // Only where the reciprocal is exact is the product the quotient.
        Binary::Div => {
            (number.is_normal() && number.to_bits() << 9 == 0).then(|| Unary::Scale { factor: number.recip() })
        }
        Binary::Max => Some(Unary::Clip { low: number, high: f32::INFINITY }),
        Binary::Min => Some(Unary::Clip { low: f32::NEG_INFINITY, high: number }),
        Binary::SubFrom | Binary::DivInto => None,
    }
}

/// The function with its arguments exchanged.
fn swapped(op: Binary) -> Binary {
    match op {
        Binary::Sub => Binary::SubFrom,
        Binary::SubFrom => Binary::Sub,
        Binary::Div => Binary::DivInto,
        Binary::DivInto => Binary::Div,
        same => same,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quotient_is_a_product_only_where_that_is_exact() {
        assert_eq!(with_scalar(Binary::Div, 4.0), Some(Unary::Scale { factor: 0.25 }));
        assert_eq!(with_scalar(Binary::Div, -0.5), Some(Unary::Scale { factor: -2.0 }));
        for number in [3.0, 0.0, f32::INFINITY, f32::NAN, 1e-45] {
            assert_eq!(with_scalar(Binary::Div, number), None, "{number}");
        }
        assert_eq!(with_scalar(Binary::SubFrom, 1.0), None);
    }
}
