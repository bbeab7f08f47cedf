//! Weights in the order in which the kernels read them.

use super::pairs;

/// How a kernel wants its weights: blocks of output channels; in a block the spans; in a span groups of neighbouring
/// inputs; in a group the channels of the block; for each channel the group's weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) struct Packing {
    /// Output channels in one tile.
    pub(in crate::engine) block: usize,
    /// Neighbouring inputs of one channel that lie side by side; one for floats.
    pub(in crate::engine) group: usize,
    /// Whether groups come in pairs whose products fit into 16 bits, each with its place in the input ([`pairs`]).
    pub(in crate::engine) bounded: bool,
}

/// Packed weights, aligned to 64 bytes.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Packed {
    lines: Vec<Line>,
    /// Bytes of one block's weights; a multiple of 64.
    pub(in crate::engine) block_len: usize,
    /// How they are packed.
    pub(in crate::engine) packing: Packing,
    /// Spans.
    pub(in crate::engine) span_count: usize,
    /// Groups in each span.
    pub(in crate::engine) span_groups: usize,
}

#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Line([u8; 64]);

impl Packed {
    /// The weights of a block.
    pub(in crate::engine) fn block(&self, index: usize) -> *const u8 {
        let lines = self.block_len / size_of::<Line>();
        self.lines[index * lines..(index + 1) * lines].as_ptr().cast()
    }

    /// Bytes of all weights.
    pub(in crate::engine) fn len(&self) -> usize {
        self.lines.len() * size_of::<Line>()
    }

    fn new(bytes: &[Vec<u8>], packing: Packing, [span_count, span_groups]: [usize; 2]) -> Self {
        let lines_in_block = bytes.iter().map(|block| block.len().div_ceil(64)).max().unwrap_or(0);
        let mut lines = vec![Line([0; 64]); lines_in_block * bytes.len()];
        for (block, lines) in bytes.iter().zip(lines.chunks_mut(lines_in_block.max(1))) {
            for (part, line) in block.chunks(64).zip(lines) {
                line.0[..part.len()].copy_from_slice(part);
            }
        }
        Self { lines, block_len: lines_in_block * 64, packing, span_count, span_groups }
    }
}

/// Packs int8 weights. `weight(channel, span, k)` is asked for `channel < channels`, `span < spans`, `k < span_len`.
pub(in crate::engine) fn pack_bytes(
    packing: Packing,
    [channels, spans, span_len]: [usize; 3],
    weight: impl Fn(usize, usize, usize) -> i8,
) -> Packed {
    let put = |weights: &mut Vec<i8>, at: Option<[usize; 3]>| weights.push(at.map_or(0, |[c, s, k]| weight(c, s, k)));
    let span_groups = span_len.div_ceil(packing.group);
    let groups = groups(packing, [channels, spans, span_len], put);
    let bytes = |groups: Vec<Vec<i8>>| match packing.bounded {
        true => pairs::pack(packing, span_groups, groups),
        false => groups.iter().flatten().map(|weight| *weight as u8).collect(),
    };
    let blocks: Vec<Vec<u8>> = groups.map(bytes).collect();
    Packed::new(&blocks, packing, [spans, span_groups])
}

/// Packs float weights, as [`pack_bytes`].
pub(in crate::engine) fn pack_floats(
    packing: Packing,
    [channels, spans, span_len]: [usize; 3],
    weight: impl Fn(usize, usize, usize) -> f32,
) -> Packed {
    let put = |bytes: &mut Vec<u8>, at: Option<[usize; 3]>| {
        bytes.extend(at.map_or(0.0, |[c, s, k]| weight(c, s, k)).to_ne_bytes());
    };
    let groups = groups(packing, [channels, spans, span_len], put);
    let blocks: Vec<Vec<u8>> = groups.map(|groups| groups.concat()).collect();
    Packed::new(&blocks, packing, [spans, span_len.div_ceil(packing.group)])
}

/// The groups of each block, span by span: `None` stands for what fills up blocks and groups.
fn groups<T>(
    Packing { block, group, .. }: Packing,
    [channels, spans, span_len]: [usize; 3],
    put: impl Fn(&mut Vec<T>, Option<[usize; 3]>),
) -> impl Iterator<Item = Vec<Vec<T>>> {
    (0..channels).step_by(block).map(move |first| {
        let starts = (0..spans).flat_map(|span| (0..span_len).step_by(group).map(move |start| (span, start)));
        let of_group = |(span, start): (usize, usize)| {
            let mut numbers = Vec::new();
            for channel in first..first + block {
                for k in start..start + group {
                    let known = channel < channels && k < span_len;
                    put(&mut numbers, known.then_some([channel, span, k]));
                }
            }
            numbers
        };
        starts.map(of_group).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(packed: &Packed) -> Vec<u8> {
        packed.lines.iter().flat_map(|line| line.0).collect()
    }

    #[test]
    fn groups_of_a_channel_lie_side_by_side() {
        let packing = Packing { block: 2, group: 4, bounded: false };
        // Three channels with one span of five: two blocks of two groups of two channels.
        let packed = pack_bytes(packing, [3, 1, 5], |channel, _, k| (10 * (channel + 1) + k) as i8);
        assert_eq!((packed.span_groups, packed.block_len, packed.len()), (2, 64, 128));
        let bytes = bytes(&packed);
        assert_eq!(bytes[..16], [10, 11, 12, 13, 20, 21, 22, 23, 14, 0, 0, 0, 24, 0, 0, 0]);
        assert_eq!(bytes[64..80], [30, 31, 32, 33, 0, 0, 0, 0, 34, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn bounded_groups_come_in_pairs_with_their_places() {
        let packing = Packing { block: 2, group: 4, bounded: true };
        // Two spans of two groups, of which one has no weights.
        let packed = pack_bytes(packing, [2, 2, 5], |_, span, k| if k < 4 { 1 + span as i8 } else { span as i8 });
        let bytes = bytes(&packed);
        let words: Vec<u32> = bytes[..128].as_chunks().0.iter().map(|word| u32::from_le_bytes(*word)).collect();
        assert_eq!((words[0], &words[16..24]), (2, &[1, 0, 0, 0, 1, 4, 1, 4][..]));
        assert_eq!(bytes[128..144], [[2; 8], [1; 8]].concat());
        assert_eq!(bytes[144..160], [1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    }
}
