//! Steps whose places are not known yet, and the plan that gives each buffer its part of the arena.
//!
//! A buffer lives from the first step that writes it to the last that reads it; buffers that never live at the same
//! time share memory.

use super::{
    super::{
        kernels::Kernels,
        program::{Border, Dest, Element, Finish, Kind, Plane, Step, Unary, View},
    },
    grid::{Grid, Values, held_table},
    tensor::{BufferId, Tensor},
    value::{SourceId, ValueId},
};

/// A part of the arena.
#[derive(Clone, Debug)]
pub(super) struct Buffer {
    pub(super) element: Element,
    /// Elements, borders included.
    pub(super) len: usize,
    /// For pixels: rows, columns, and numbers of one pixel.
    pub(super) pixels: Option<[usize; 3]>,
    /// Pixels above, left, below and right of those.
    pub(super) border: [usize; 4],
    /// The code of zero, which a border of bytes consists of.
    pub(super) zero: u8,
    /// By what a border is asked for when the program is built again; `None` where there can be none.
    pub(super) owner: Option<Owner>,
}

/// What a buffer was made for, which is the same each time that a program is built.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Owner {
    /// A value in a form.
    Value(ValueId, [u32; 3]),
    /// A source's channels; so many were asked for before.
    Source(SourceId, usize),
    /// A copy for the node of this name; so many were made for it before.
    Copy(String, usize),
}

/// How numbers go to memory.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Target {
    /// Codes to codes.
    Table(Box<[u8; 256]>),
    /// Codes as they are.
    Raw,
    /// Codes to what they stand for.
    Values(Values),
    /// Functions of floats.
    Floats(Vec<Unary>),
    /// Functions of floats, then codes of a grid.
    Quantized(Vec<Unary>, Grid),
}

impl Target {
    /// The type of the numbers in memory.
    pub(super) fn element(&self) -> Element {
        match self {
            Self::Table(_) | Self::Raw | Self::Quantized(..) => Element::Byte,
            Self::Values(_) | Self::Floats(_) => Element::Float,
        }
    }

    /// As the kernels need it.
    pub(super) fn finish(&self, signed: bool) -> Finish {
        match self {
            Self::Table(codes) => Finish::Table(held_table(codes, signed)),
            Self::Raw => Finish::Table(None),
            Self::Values(values) => Finish::Values(values.held(signed)),
            Self::Floats(post) => Finish::Floats(post.clone()),
            Self::Quantized(post, grid) => Finish::Quantized(post.clone(), grid.quantizer(signed)),
        }
    }
}

/// Where some channels of a source go.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) channels: std::ops::Range<usize>,
    pub(super) target: Target,
    pub(super) tensor: Tensor,
}

/// A step in the making.
pub(super) struct Draft {
    pub(super) name: String,
    pub(super) macs: u64,
    pub(super) reads: Vec<BufferId>,
    pub(super) writes: Vec<BufferId>,
    /// The source whose destinations are only known in the end.
    pub(super) source: Option<SourceId>,
    pub(super) make: Make,
}

/// Makes a step's kind once all places are known; the second argument is where a source's channels go.
pub(super) type Make = Box<dyn FnOnce(&Layout<'_>, &[Wanted]) -> Vec<Kind>>;

/// Where the buffers are.
pub(super) struct Layout<'a> {
    pub(super) kernels: &'static Kernels,
    pub(super) buffers: &'a [Buffer],
    /// In bytes from the start of the arena.
    pub(super) offsets: &'a [usize],
}

impl Layout<'_> {
    /// A tensor as pixels.
    pub(super) fn plane(&self, tensor: &Tensor) -> Plane {
        let plane = tensor.plane().expect("only tensors that are pixels are asked for as such");
        Plane { at: plane.at + self.offsets[tensor.buffer], ..plane }
    }

    /// A tensor for loops over all its dimensions.
    pub(super) fn view(&self, tensor: &Tensor) -> View {
        let view = tensor.view();
        View { at: view.at + self.offsets[tensor.buffer], ..view }
    }

    /// A tensor for loops over some of its dimensions.
    pub(super) fn view_of(&self, tensor: &Tensor, axes: &[usize]) -> View {
        let View { element, at, strides } = self.view(tensor);
        View { element, at, strides: axes.iter().map(|axis| strides[*axis]).collect() }
    }

    /// Where a source's channels go.
    pub(super) fn dests(&self, wanted: &[Wanted]) -> Vec<Dest> {
        let dest = |wanted: &Wanted| Dest {
            channels: wanted.channels.clone(),
            plane: self.plane(&wanted.tensor),
            finish: wanted.target.finish(self.kernels.signed),
        };
        wanted.iter().map(dest).collect()
    }

    fn border(&self, buffer: BufferId) -> Option<Border> {
        let Buffer { element, pixels, border, zero, .. } = self.buffers[buffer];
        let [rows, columns, channels] = pixels.filter(|_| border != [0; 4])?;
        let [above, left, _, right] = border;
        let row = (columns + left + right) * channels;
        let at = self.offsets[buffer] + (above * row + left * channels) * element.size();
        let fill = match element {
            Element::Byte if self.kernels.signed => zero ^ 0x80,
            Element::Byte => zero,
            Element::Float => 0,
        };
        let plane = Plane { element, at, pixel: channels, row };
        Some(Border { plane, size: [rows, columns], channels, width: border, fill })
    }
}

/// Steps whose places are known.
pub(super) struct Finished {
    pub(super) steps: Vec<Step>,
    /// The draft that each step was made from.
    #[cfg_attr(not(test), expect(dead_code, reason = "tests find out with it what a step writes"))]
    pub(super) drafts: Vec<usize>,
    /// Bytes of the arena.
    pub(super) arena_len: usize,
    /// Where each buffer is, in bytes.
    pub(super) offsets: Vec<usize>,
}

/// Turns drafts into steps.
pub(super) fn finish(
    drafts: Vec<Draft>,
    wanted: &[Vec<Wanted>],
    buffers: &[Buffer],
    outputs: &[BufferId],
    kernels: &'static Kernels,
) -> Finished {
    let mut lives = vec![None::<[usize; 2]>; buffers.len()];
    let mut first_writers: Vec<Vec<BufferId>> = vec![Vec::new(); drafts.len()];
    for (index, draft) in drafts.iter().enumerate() {
        let dests = draft.source.iter().flat_map(|source| &wanted[*source]).map(|wanted| wanted.tensor.buffer);
        for buffer in draft.writes.iter().copied().chain(dests) {
            match &mut lives[buffer] {
                Some(life) => life[1] = index,
                life @ None => {
                    *life = Some([index; 2]);
                    first_writers[index].push(buffer);
                }
            }
        }
        for buffer in &draft.reads {
            lives[*buffer].get_or_insert([index; 2])[1] = index;
        }
    }
    for buffer in outputs {
        if let Some([_, last]) = &mut lives[*buffer] {
            *last = drafts.len();
        }
    }
    // Sizes that no machine has are found out by whoever looks at the arena's length.
    let sizes: Vec<usize> = buffers.iter().map(|buffer| buffer.len.saturating_mul(buffer.element.size())).collect();
    let (offsets, arena_len) = place(&sizes, &lives);

    let layout = Layout { kernels, buffers, offsets: &offsets };
    let mut steps = Vec::new();
    let mut drafts_of_steps = Vec::new();
    for (index, (draft, written)) in drafts.into_iter().zip(first_writers).enumerate() {
        let mut borders: Vec<Border> = written.into_iter().filter_map(|buffer| layout.border(buffer)).collect();
        let dests = draft.source.map_or(&[][..], |source| &wanted[source]);
        let mut macs = draft.macs;
        for kind in (draft.make)(&layout, dests) {
            drafts_of_steps.push(index);
            steps.push(Step {
                name: draft.name.clone(),
                borders: std::mem::take(&mut borders),
                kind,
                macs: std::mem::take(&mut macs),
            });
        }
    }
    Finished { steps, drafts: drafts_of_steps, arena_len, offsets }
}

/// Gives each buffer a place: the largest first, each at the lowest offset that no other buffer has at the same time.
fn place(sizes: &[usize], lives: &[Option<[usize; 2]>]) -> (Vec<usize>, usize) {
    const ALIGN: usize = 64;
    let mut offsets = vec![0_usize; sizes.len()];
    let mut order: Vec<usize> = (0..sizes.len()).filter(|buffer| lives[*buffer].is_some()).collect();
    order.sort_by_key(|buffer| (std::cmp::Reverse(sizes[*buffer]), *buffer));
    let mut placed: Vec<usize> = Vec::new();
    for buffer in order {
        let mut taken: Vec<[usize; 2]> = placed
            .iter()
            .filter(|other| matches!((lives[buffer], lives[**other]), (Some([a, b]), Some([c, d])) if a <= d && c <= b))
            .map(|other| [offsets[*other], offsets[*other].saturating_add(sizes[*other])])
            .collect();
        taken.sort_unstable();
        let mut at = 0_usize;
        for [start, end] in taken {
            if at.saturating_add(sizes[buffer]) <= start {
                break;
            }
            at = at.max(end.checked_next_multiple_of(ALIGN).unwrap_or(end));
        }
        offsets[buffer] = at;
        placed.push(buffer);
    }
    let arena_len = placed.iter().map(|buffer| offsets[*buffer].saturating_add(sizes[*buffer])).max().unwrap_or(0);
    (offsets, arena_len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_that_never_live_together_share_memory() {
        let lives = [Some([0, 1]), Some([1, 2]), Some([2, 3]), None, Some([0, 3])];
        let (offsets, len) = place(&[100, 50, 100, 7, 10], &lives);
        assert_eq!(offsets[0], offsets[2], "the third begins when the first has ended");
        assert!(offsets[1] >= 100 && offsets[4] >= 100 && offsets[1] != offsets[4]);
        assert!(len < 300);
    }

    #[test]
    fn no_two_living_buffers_overlap() {
        let sizes: Vec<usize> = (0..40).map(|index| 1 + index * 37 % 101).collect();
        let lives: Vec<_> = (0..40).map(|index| Some([index * 7 % 30, index * 7 % 30 + index % 6])).collect();
        let (offsets, len) = place(&sizes, &lives);
        for a in 0..40 {
            assert!(offsets[a] + sizes[a] <= len && offsets[a].is_multiple_of(64));
            for b in 0..a {
                let ([a0, a1], [b0, b1]) = (lives[a].unwrap(), lives[b].unwrap());
                let together = a0 <= b1 && b0 <= a1;
                let apart = offsets[a] + sizes[a] <= offsets[b] || offsets[b] + sizes[b] <= offsets[a];
                assert!(!together || apart, "{a} and {b}");
            }
        }
    }
}
