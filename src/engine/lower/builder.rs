//! A program in the making: its sources, buffers and steps so far.

use std::collections::HashMap;

use super::{
    super::{
        kernels::Kernels,
        program::{self, Element, Move},
    },
    draft::{Buffer, Draft, Layout, Make, Owner, Wanted},
    tensor::{BufferId, Tensor, dense_strides},
    value::{SourceId, Tape, ValueId},
};

/// Pixels above, left, below and right.
pub(super) type Borders = HashMap<Owner, [usize; 4]>;

/// What brings numbers into memory.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) name: String,
    pub(super) dims: Vec<usize>,
    /// Where all of it is already, for sources that write to one place only.
    pub(super) fixed: Option<Tensor>,
}

/// A program in the making.
pub(super) struct Builder {
    pub(super) kernels: &'static Kernels,
    pub(super) tape: Tape,
    pub(super) sources: Vec<Source>,
    /// Where each source's channels go.
    pub(super) wanted: Vec<Vec<Wanted>>,
    pub(super) buffers: Vec<Buffer>,
    pub(super) drafts: Vec<Draft>,
    /// Borders that buffers turned out to need when the same program was built before.
    borders: Borders,
    /// Whether a border was missing, so that the program has to be built once more.
    pub(super) is_incomplete: bool,
    pub(super) known: HashMap<(ValueId, [u32; 3]), Tensor>,
    /// Copies that were made for each name.
    copies: HashMap<String, usize>,
}

impl Builder {
    pub(super) fn new(kernels: &'static Kernels, borders: Borders) -> Self {
        Self {
            kernels,
            tape: Tape::default(),
            sources: Vec::new(),
            wanted: Vec::new(),
            buffers: Vec::new(),
            drafts: Vec::new(),
            borders,
            is_incomplete: false,
            known: HashMap::new(),
            copies: HashMap::new(),
        }
    }

    /// The borders that buffers need, for the next attempt.
    pub(super) fn into_borders(self) -> Borders {
        self.borders
    }

    /// A source whose destinations are filled in as they are asked for.
    pub(super) fn open_source(
        &mut self,
        name: &str,
        dims: &[usize],
        macs: u64,
        reads: &[BufferId],
        make: Make,
    ) -> SourceId {
        let id = self.add_source(name, dims, None);
        let (name, reads) = (name.to_owned(), reads.to_vec());
        self.drafts.push(Draft { name, macs, reads, writes: Vec::new(), source: Some(id), make });
        id
    }

    /// A source that lies in memory already.
    pub(super) fn fixed_source(&mut self, name: &str, tensor: Tensor) -> SourceId {
        let dims = tensor.dims.clone();
        self.add_source(name, &dims, Some(tensor))
    }

    fn add_source(&mut self, name: &str, dims: &[usize], fixed: Option<Tensor>) -> SourceId {
        self.sources.push(Source { name: name.to_owned(), dims: dims.to_vec(), fixed });
        self.wanted.push(Vec::new());
        self.sources.len() - 1
    }

    /// A step that writes to one tensor.
    pub(super) fn step(
        &mut self,
        name: &str,
        macs: u64,
        reads: &[BufferId],
        output: &Tensor,
        make: impl FnOnce(&Layout<'_>) -> program::Kind + 'static,
    ) {
        self.drafts.push(Draft {
            name: name.to_owned(),
            macs,
            reads: reads.to_vec(),
            writes: vec![output.buffer],
            source: None,
            make: Box::new(move |layout, _| vec![make(layout)]),
        });
    }

    /// A new tensor without a border whose dimensions lie in memory in this order.
    pub(super) fn alloc(&mut self, dims: &[usize], order: &[usize], element: Element, zero: u8) -> Tensor {
        let strides = dense_strides(dims, order);
        let len = dims.iter().product();
        let buffer = self.buffers.len();
        self.buffers.push(Buffer { element, len, pixels: None, border: [0; 4], zero, owner: None });
        Tensor { buffer, element, offset: 0, dims: dims.to_vec(), strides, is_plane: false }
    }

    /// The same with the border that its owner needs, where it is made of pixels.
    pub(super) fn alloc_for(
        &mut self,
        owner: Owner,
        dims: &[usize],
        order: &[usize],
        element: Element,
        zero: u8,
    ) -> Tensor {
        if let (&[1, channels, rows, columns], &[.., 2, 3, 1]) = (dims, order) {
            let buffer = self.buffers.len();
            let border = self.borders.get(&owner).copied().unwrap_or_default();
            let [above, left, below, right] = border;
            // The three colours take four bytes, which is what kernels read at once.
            let pixel = if channels == 3 && element == Element::Byte { 4 } else { channels };
            let row = (columns + left + right).saturating_mul(pixel);
            let len = (rows + above + below).saturating_mul(row);
            let pixels = Some([rows, columns, pixel]);
            self.buffers.push(Buffer { element, len, pixels, border, zero, owner: Some(owner) });
            return Tensor {
                buffer,
                element,
                offset: above * row + left * pixel,
                dims: dims.to_vec(),
                strides: vec![len, 1, row, pixel],
                is_plane: true,
            };
        }
        self.alloc(dims, order, element, zero)
    }

    /// The next copy for the node of this name.
    pub(super) fn copy_owner(&mut self, name: &str) -> Owner {
        let count = self.copies.entry(name.to_owned()).or_default();
        *count += 1;
        Owner::Copy(name.to_owned(), *count - 1)
    }

    /// The tensor with so many pixels of padding around it (above, left, below, right), copied where nothing can lie
    /// around it as it is.
    pub(super) fn with_border(&mut self, name: &str, tensor: Tensor, needed: [usize; 4], zero: u8) -> Tensor {
        if needed == [0; 4] {
            return tensor;
        }
        let tensor = if tensor.is_plane { tensor } else { self.copied(name, &tensor, zero) };
        let Buffer { border: own, owner, .. } = &self.buffers[tensor.buffer];
        if own.iter().zip(needed).any(|(own, needed)| *own < needed) {
            let owner = owner.clone().expect("tensors that are all pixels of a buffer have an owner");
            let border = self.borders.entry(owner).or_default();
            border.iter_mut().zip(needed).for_each(|(border, needed)| *border = needed.max(*border));
            self.is_incomplete = true;
        }
        tensor
    }

    /// The tensor as pixels with channels side by side, copied where it lies otherwise.
    pub(super) fn as_plane(&mut self, name: &str, tensor: Tensor, zero: u8) -> Tensor {
        if tensor.plane().is_some() { tensor } else { self.copied(name, &tensor, zero) }
    }

    /// A copy with channels side by side.
    fn copied(&mut self, name: &str, tensor: &Tensor, zero: u8) -> Tensor {
        let order = natural_order(tensor.dims.len());
        let owner = self.copy_owner(name);
        let copy = self.alloc_for(owner, &tensor.dims, &order, tensor.element, zero);
        self.copy(name, tensor, &copy);
        copy
    }

    /// Moves numbers from one place to another.
    pub(super) fn copy(&mut self, name: &str, from: &Tensor, to: &Tensor) {
        let (from, to) = (from.clone(), to.clone());
        let axes = loop_axes(&to);
        self.step(name, 0, &[from.buffer], &to.clone(), move |layout| {
            program::Kind::Move(Move {
                dims: axes.iter().map(|axis| to.dims[*axis]).collect(),
                input: layout.view_of(&from, &axes),
                output: layout.view_of(&to, &axes),
                table: None,
            })
        });
    }
}

/// Pixels with channels side by side; else as the file has it.
pub(super) fn natural_order(rank: usize) -> Vec<usize> {
    if rank == 4 { vec![0, 2, 3, 1] } else { (0..rank).collect() }
}

/// The dimensions of a loop that writes a tensor, outermost first, without those of length one that are not needed.
pub(super) fn loop_axes(tensor: &Tensor) -> Vec<usize> {
    let mut axes = tensor.order();
    axes.retain(|axis| tensor.dims[*axis] != 1);
    // Loops want neighbours innermost: where pixels have a single channel among those of others, that is it.
    if axes.last().is_none_or(|last| tensor.strides[*last] != 1) {
        let single = |axis: &usize| tensor.dims[*axis] == 1 && tensor.strides[*axis] == 1;
        axes.extend((0..tensor.dims.len()).rev().find(single));
    }
    axes
}
