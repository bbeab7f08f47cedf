//! Operators that only rearrange numbers: moves of values, and concatenations of them.

use tract_onnx::pb::NodeProto;

use super::{
    Refused,
    attributes::{axis, int, ints},
    node::{Lowering, PARTS_MAX, RANK_MAX},
    value::{Action, Kind, ValueId},
};

/// Blocks have two or four pixels on a side.
const BLOCK_MAX: usize = 16;

impl<'a> Lowering<'a> {
    pub(super) fn concat(&mut self, node: &'a NodeProto) -> Result<ValueId, Refused> {
        let parts = (0..node.input.len()).map(|index| self.input(node, index)).collect::<Result<Vec<_>, _>>()?;
        let first = parts.first().ok_or_else(|| Refused::new("a concatenation of nothing"))?;
        let first = self.builder.tape.dims(*first).to_vec();
        let along = axis(int(node, "axis").unwrap_or(0), first.len())?;
        for part in &parts {
            let dims = self.builder.tape.dims(*part);
            let fits =
                dims.len() == first.len() && (0..first.len()).all(|axis| axis == along || dims[axis] == first[axis]);
            if !fits || matches!(self.builder.tape.get(*part).kind, Kind::Constant(_)) {
                return Err(Refused::new("a concatenation of other tensors than planes"));
            }
        }
        Ok(self.builder.tape.concat(parts, along))
    }

    pub(super) fn split(&mut self, node: &'a NodeProto) -> Result<Vec<ValueId>, Refused> {
        let input = self.input(node, 0)?;
        let dims = self.builder.tape.dims(input).to_vec();
        let along = axis(int(node, "axis").unwrap_or(0), dims.len())?;
        let count = node.output.len();
        let lens = match ints(node, "split").map(Some).map_or_else(|| self.numbers(node, 1), Ok)? {
            Some(lens) => lens.iter().map(|len| usize::try_from(*len).unwrap_or(0).min(dims[along])).collect(),
            None => {
                let len = dims[along].div_ceil(count);
                let mut lens = vec![len; count];
                lens[count - 1] = dims[along].saturating_sub(len * (count - 1));
                lens
            }
        };
        if lens.len() != count || lens.contains(&0) || lens.iter().sum::<usize>() != dims[along] {
            return Err(Refused::new("a split into other lengths than there are"));
        }
        let mut start = 0;
        let mut parts = Vec::new();
        for len in lens {
            parts.push(self.builder.tape.moved(input, Action::Slice { axis: along, start, step: 1, len }));
            start += len;
        }
        Ok(parts)
    }

    pub(super) fn slice(&mut self, node: &'a NodeProto) -> Result<ValueId, Refused> {
        let mut id = self.input(node, 0)?;
        let listed = |name: &str, index: usize| match ints(node, name) {
            Some(found) => Ok(Some(found)),
            None => self.numbers(node, index),
        };
        let starts = listed("starts", 1)?.ok_or_else(|| Refused::new("a slice without starts"))?;
        let ends = listed("ends", 2)?.ok_or_else(|| Refused::new("a slice without ends"))?;
        let axes = listed("axes", 3)?.unwrap_or_else(|| (0..starts.len() as i64).collect());
        let steps = listed("steps", 4)?.unwrap_or_else(|| vec![1; starts.len()]);
        if starts.len() > self.builder.tape.dims(id).len() {
            return Err(Refused::new("a slice of more axes than there are"));
        }
        if ends.len() != starts.len() || axes.len() != starts.len() || steps.len() != starts.len() {
            return Err(Refused::new("a slice with lists of different lengths"));
        }
        for index in 0..starts.len() {
            let dims = self.builder.tape.dims(id);
            let along = axis(axes[index], dims.len())?;
            let len = dims[along] as i64;
            let bound = |at: i64| if at < 0 { at.saturating_add(len) } else { at }.clamp(0, len);
            let (start, end, step) = (bound(starts[index]), bound(ends[index]), steps[index]);
            if step < 1 || start >= end {
                return Err(Refused::new("a slice backwards or of nothing"));
            }
            let len = (end - start - 1) / step + 1;
            // Beyond a single index no step is taken, however long.
            let step = if len == 1 { 1 } else { step };
            let [start, step, len] = [start, step, len].map(|number| number as usize);
            id = self.builder.tape.moved(id, Action::Slice { axis: along, start, step, len });
        }
        Ok(id)
    }

    pub(super) fn reshape(&mut self, node: &'a NodeProto) -> Result<ValueId, Refused> {
        let input = self.input(node, 0)?;
        let before = self.builder.tape.dims(input).to_vec();
        let rank = before.len();
        let axes = || match ints(node, "axes") {
            Some(axes) => Ok(Some(axes)),
            None => self.numbers(node, 1),
        };
        let dims: Vec<usize> = match node.op_type.as_str() {
            "Flatten" => {
                let at = int(node, "axis").unwrap_or(1);
                let at = if at == rank as i64 { rank } else { axis(at, rank)? };
                vec![before[..at].iter().product(), before[at..].iter().product()]
            }
            "Squeeze" => {
                let axes = match axes()? {
                    Some(axes) => axes.iter().map(|at| axis(*at, rank)).collect::<Result<Vec<_>, _>>()?,
                    None => (0..rank).filter(|at| before[*at] == 1).collect(),
                };
                (0..rank).filter(|at| !axes.contains(at)).map(|at| before[at]).collect()
            }
            "Unsqueeze" => {
                let axes = axes()?.ok_or_else(|| Refused::new("an Unsqueeze without axes"))?;
                let rank = rank + axes.len();
                if rank > RANK_MAX {
                    return Err(Refused::new(format!("a tensor of {rank} dimensions")));
                }
                let axes = axes.iter().map(|at| axis(*at, rank)).collect::<Result<Vec<_>, _>>()?;
                if (1..axes.len()).any(|index| axes[..index].contains(&axes[index])) {
                    return Err(Refused::new("an Unsqueeze of one axis twice"));
                }
                let mut left = before.iter();
                (0..rank).map(|at| if axes.contains(&at) { 1 } else { left.next().copied().unwrap_or(1) }).collect()
            }
            _ => {
                let wanted = self.numbers(node, 1)?.ok_or_else(|| Refused::new("a reshape without a shape"))?;
                let keeps_zero = int(node, "allowzero").is_some_and(|found| found != 0);
                reshaped(&before, &wanted, keeps_zero)?
            }
        };
        if element_count(&dims) != element_count(&before) {
            return Err(Refused::new("a reshape to another number of elements"));
        }
        Ok(self.builder.tape.moved(input, Action::Reshape(dims)))
    }

    pub(super) fn transpose(&mut self, node: &'a NodeProto) -> Result<ValueId, Refused> {
        let input = self.input(node, 0)?;
        let rank = self.builder.tape.dims(input).len();
        let perm = match ints(node, "perm") {
            Some(perm) => perm.iter().map(|from| *from as usize).collect(),
            None => (0..rank).rev().collect::<Vec<_>>(),
        };
        if perm.len() != rank {
            return Err(Refused::new("a permutation of other dimensions"));
        }
        Ok(self.builder.tape.moved(input, Action::Transpose(perm)))
    }

    /// Blocks of neighbouring pixels become channels: those of the first pixel of each block, then those of the second.
    pub(super) fn space_to_depth(&mut self, node: &'a NodeProto) -> Result<ValueId, Refused> {
        let input = self.input(node, 0)?;
        let block = int(node, "blocksize").map_or(0, |found| found as usize);
        let &[1, _, rows, columns] = self.builder.tape.dims(input) else {
            return Err(Refused::new("blocks of something that is no plane"));
        };
        if !(1..=BLOCK_MAX).contains(&block) || !rows.is_multiple_of(block) || !columns.is_multiple_of(block) {
            return Err(Refused::new("blocks that do not fill the plane"));
        }
        let every =
            |axis: usize, start: usize, len: usize| Action::Slice { axis, start, step: block, len: len / block };
        let mut parts = Vec::new();
        for (row, column) in (0..block).flat_map(|row| (0..block).map(move |column| (row, column))) {
            let part = self.builder.tape.moved(input, every(2, row, rows));
            parts.push(self.builder.tape.moved(part, every(3, column, columns)));
        }
        Ok(self.builder.tape.concat(parts, 1))
    }

    /// Constant indices along an axis of planes: each run of indices that follow each other is a slice.
    pub(super) fn gather(&mut self, node: &'a NodeProto) -> Result<ValueId, Refused> {
        let input = self.input(node, 0)?;
        let dims = self.builder.tape.dims(input).to_vec();
        let along = axis(int(node, "axis").unwrap_or(0), dims.len())?;
        let len = dims[along] as i64;
        let is_list = node
            .input
            .get(1)
            .and_then(|name| self.graph.constants.get(name))
            .is_some_and(|constant| constant.dims.len() == 1);
        let indices = self.numbers(node, 1)?.filter(|indices| is_list && !indices.is_empty());
        let indices = indices.ok_or_else(|| Refused::new("indices that are no list"))?;
        if !indices.iter().all(|index| (-len..len).contains(index)) {
            return Err(Refused::new("an index that is out of bounds"));
        }
        let mut runs: Vec<(usize, usize)> = Vec::new();
        for index in indices.iter().map(|index| index.rem_euclid(len) as usize) {
            match runs.last_mut() {
                Some((start, count)) if *start + *count == index => *count += 1,
                _ => runs.push((index, 1)),
            }
        }
        if runs.len() > PARTS_MAX {
            return Err(Refused::new("indices all over the place"));
        }
        let slice = |(start, len)| Action::Slice { axis: along, start, step: 1, len };
        let parts = runs.into_iter().map(|run| self.builder.tape.moved(input, slice(run))).collect();
        Ok(self.builder.tape.concat(parts, along))
    }
}

/// The dimensions that a Reshape asks for: zero keeps one, one negative takes what is left.
fn reshaped(before: &[usize], wanted: &[i64], keeps_zero: bool) -> Result<Vec<usize>, Refused> {
    let wrong = || Refused::new(format!("a reshape of {before:?} to {wanted:?}"));
    let mut dims = Vec::with_capacity(wanted.len());
    for (index, dim) in wanted.iter().enumerate() {
        dims.push(match dim {
            0 if !keeps_zero => *before.get(index).ok_or_else(wrong)?,
            -1 => 1,
            dim => usize::try_from(*dim).map_err(|_| wrong())?,
        });
    }
    if wanted.iter().filter(|dim| **dim == -1).count() > 1 {
        return Err(wrong());
    }
    if let Some(open) = wanted.iter().position(|dim| *dim == -1) {
        dims[open] = 1;
        let (others, total) = (element_count(&dims).ok_or_else(wrong)?, element_count(before).ok_or_else(wrong)?);
        if others == 0 || !total.is_multiple_of(others) {
            return Err(wrong());
        }
        dims[open] = total / others;
    }
    Ok(dims)
}

/// The number of elements, where it can be counted.
fn element_count(dims: &[usize]) -> Option<usize> {
    dims.iter().try_fold(1_usize, |count, dim| count.checked_mul(*dim))
}
