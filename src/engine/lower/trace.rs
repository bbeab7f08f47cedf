//! Which tensors of the graph lie where in a program's memory, for tests that compare each step with tract.

use std::{collections::HashMap, ops::Range};

use super::{
    Lowering,
    builder::Builder,
    draft::{Finished, Target, Wanted},
    grid::Grid,
    tensor::{BufferId, Tensor},
    value::{Kind, SourceId, Value, ValueId},
};

/// A tensor of the graph in memory.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// Its name in the graph.
    pub(super) name: String,
    /// The grid whose codes it is held as; `None` for floats.
    pub(super) grid: Option<Grid>,
    /// The part of its second dimension that lies there.
    pub(super) channels: Option<Range<usize>>,
    pub(super) tensor: Tensor,
    /// How far apart numbers, or codes, may be that differ by one step of a quantizer before.
    pub(super) step: f32,
}

/// All places of a program.
#[derive(Debug, Default)]
pub(super) struct Trace {
    pub(super) places: Vec<Place>,
    /// The buffers that each draft writes.
    writes: Vec<Vec<BufferId>>,
    /// The buffers that each step writes.
    pub(super) steps: Vec<Vec<BufferId>>,
    /// Where each buffer is in the arena, in bytes.
    pub(super) offsets: Vec<usize>,
}

impl Trace {
    /// What is known before buffers have their places; `outputs` are those of the program, with their tensors.
    pub(super) fn of(lowering: &Lowering<'_>, outputs: &[(&str, usize)], tensors: &[Tensor]) -> Self {
        let builder = &lowering.builder;
        let mut named: Vec<(&str, usize)> = lowering.known.iter().map(|(name, id)| (*name, *id)).collect();
        // A convolution whose quantizer is part of it has the numbers of the quantizer's output, not those of its own.
        named.retain(|(name, _)| !lowering.is_rounded_early(name));
        named.sort_unstable();
        let mut places = Vec::new();
        let mut add = |name: &str, grid, channels, tensor: &Tensor| {
            let step = lowering.known.get(name).map_or(0.0, |id| step(builder, *id, grid));
            places.push(Place { name: name.to_owned(), grid, channels, tensor: tensor.clone(), step });
        };
        let first_names: HashMap<usize, &str> = named.iter().rev().map(|(name, id)| (*id, *name)).collect();
        for ((id, key), tensor) in &builder.known {
            let grid = match key {
                [u32::MAX, ..] => None,
                key => Some(key.map(f32::from_bits)).map(|[scale, low, high]| Grid { scale, low, high }),
            };
            if let Some(name) = first_names.get(id) {
                add(name, grid, None, tensor);
            }
        }
        for (name, id) in &named {
            let value = builder.tape.get(*id);
            let (Some(source), Some(moves)) = source_of(&value.kind) else { continue };
            if let Some(tensor) = builder.sources[source].fixed.as_ref().filter(|_| moves == 0 && is_bare(&value.kind))
            {
                add(name, None, None, tensor);
            }
            for wanted in builder.wanted[source].iter().filter(|_| moves == 0) {
                if let Some(grid) = held_as(value, wanted) {
                    add(name, grid, Some(wanted.channels.clone()), &wanted.tensor);
                }
            }
        }
        for ((name, _), tensor) in outputs.iter().zip(tensors) {
            add(name, None, None, tensor);
        }
        let draft_writes = |draft: &super::draft::Draft| {
            let wanted = draft.source.into_iter().flat_map(|source| &builder.wanted[source]);
            draft.writes.iter().copied().chain(wanted.map(|wanted| wanted.tensor.buffer)).collect()
        };
        let writes = builder.drafts.iter().map(draft_writes).collect();
        Self { places, writes, steps: Vec::new(), offsets: Vec::new() }
    }

    /// Takes over where the buffers are.
    pub(super) fn place(&mut self, finished: &Finished) {
        self.steps = finished.drafts.iter().map(|draft| self.writes[*draft].clone()).collect();
        self.offsets = finished.offsets.clone();
    }
}

/// The largest change of a value's numbers, or codes, when what it is made of moves by one step of its quantizer.
fn step(builder: &Builder, id: ValueId, grid: Option<Grid>) -> f32 {
    let value = builder.tape.get(id);
    let own = match &value.kind {
        Kind::Bytes { values, .. } => values.largest_step(),
        Kind::Concat { parts, .. } => {
            return parts.iter().map(|part| step(builder, *part, grid)).fold(0.0, f32::max);
        }
        Kind::MaxPool { inner, .. } | Kind::Upsample { inner, .. } | Kind::Moved { inner, .. } => {
            return step(builder, *inner, grid);
        }
        _ => builder.tape.grid(id).map_or(0.0, |grid| grid.scale),
    };
    match grid {
        Some(grid) => (own / grid.scale).ceil().max(1.0),
        None => own,
    }
}

/// The source of a value, and how often it is moved.
fn source_of(kind: &Kind) -> (Option<SourceId>, Option<usize>) {
    match kind {
        Kind::Bytes { source, moves, .. } | Kind::Floats { source, moves, .. } => (Some(*source), Some(moves.len())),
        _ => (None, None),
    }
}

/// Whether a value is the floats of its source as they are.
fn is_bare(kind: &Kind) -> bool {
    matches!(kind, Kind::Floats { post, .. } if post.is_empty())
}

/// The grid on which a value's numbers lie at a destination of its source; the outer `None` where other numbers do.
fn held_as(value: &Value, wanted: &Wanted) -> Option<Option<Grid>> {
    match (&value.kind, &wanted.target) {
        (Kind::Bytes { values, grid: Some(grid), .. }, Target::Raw) if *values == grid.values() => Some(Some(*grid)),
        (Kind::Bytes { values, grid: Some(grid), .. }, Target::Table(codes)) if **codes == values.codes(grid) => {
            Some(Some(*grid))
        }
        (Kind::Bytes { values, .. }, Target::Values(others)) if values == others => Some(None),
        (Kind::Floats { post, .. }, Target::Floats(others)) if post == others => Some(None),
        (Kind::Floats { post, .. }, Target::Quantized(others, grid))
            if post.split_last() == Some((&grid.round(), others)) =>
        {
            Some(Some(*grid))
        }
        _ => None,
    }
}
