//! Weights in pairs of groups whose products fit into 16 bits.
//!
//! An instruction that multiplies bytes adds two products to a word, which saturates, and words of two groups are added
//! before they are widened. Neither loses anything where the positive weights that meet in a word are at most 128 in sum,
//! and the negative ones too, as codes are at most 255. Groups of inputs may be added in any order, so those are paired
//! that go well together; where none do, what is too much of a group becomes a group of its own.

use super::Packing;

/// Weights that meet in a word: two neighbouring ones of either group.
const WORD: usize = 2;
/// Most that the weights of one sign in a word may be in sum: 255 times as much fits into 16 bits.
const MOST: u16 = 128;

/// The groups of a block in pairs, as the tile kernels read them; all parts begin at multiples of 64 bytes:
/// how many pairs there are, as `u32`; for each pair two places, each a span and an offset in it, as `u32`; for each pair
/// the weights of the first group for all channels, and those of the second.
///
/// `groups` are the weights of all groups, span by span.
pub(super) fn pack(packing: Packing, span_groups: usize, groups: Vec<Vec<i8>>) -> Vec<u8> {
    let place = |index: usize| [index / span_groups, index % span_groups * packing.group].map(|part| part as u32);
    let left = groups.into_iter().enumerate().map(|(index, weights)| Group { place: place(index), weights }).collect();
    let pairs = paired(left);
    let mut bytes = (pairs.len() as u32).to_le_bytes().to_vec();
    bytes.resize(bytes.len().next_multiple_of(64), 0);
    for group in pairs.iter().flatten() {
        bytes.extend(group.place.iter().flat_map(|part| part.to_le_bytes()));
    }
    bytes.resize(bytes.len().next_multiple_of(64), 0);
    for group in pairs.iter().flatten() {
        bytes.extend(group.weights.iter().map(|weight| *weight as u8));
    }
    bytes
}

/// A group of inputs, or a part of its weights.
#[derive(Clone, Debug)]
struct Group {
    place: [u32; 2],
    weights: Vec<i8>,
}

/// What the weights of one sign in each word are in sum: of the positive ones, then of the negative ones.
type Load = Vec<[u16; 2]>;

impl Group {
    fn is_zero(&self) -> bool {
        self.weights.iter().all(|weight| *weight == 0)
    }

    fn load(&self) -> Load {
        let side = |word: &[i8; WORD], sign: i8| -> u16 {
            word.iter().filter(|weight| weight.signum() == sign).map(|weight| u16::from(weight.unsigned_abs())).sum()
        };
        self.weights.as_chunks().0.iter().map(|word| [side(word, 1), side(word, -1)]).collect()
    }

    /// Takes off what is too much beside another group, as a group of its own.
    fn cut(&mut self, beside: &Load) -> Option<Self> {
        let mut rest = Self { place: self.place, weights: vec![0; self.weights.len()] };
        let words = self.weights.as_chunks_mut::<WORD>().0.iter_mut().zip(rest.weights.as_chunks_mut::<WORD>().0);
        for ((word, rest), beside) in words.zip(beside) {
            let mut room = beside.map(|load| MOST - load);
            for (weight, rest) in word.iter_mut().zip(rest) {
                let room = &mut room[usize::from(*weight < 0)];
                let kept = u16::from(weight.unsigned_abs()).min(*room);
                *room -= kept;
                // No more is kept than there was, so it fits with its sign.
                let kept = (kept as i16 * i16::from(weight.signum())) as i8;
                *rest = weight.wrapping_sub(kept);
                *weight = kept;
            }
        }
        (!rest.is_zero()).then_some(rest)
    }
}

fn fit(first: &Load, second: &Load) -> bool {
    first.iter().zip(second).all(|(first, second)| first[0] + second[0] <= MOST && first[1] + second[1] <= MOST)
}

/// Pairs all groups, the heaviest first, each with the heaviest one that fits beside it, or with a part of the lightest.
fn paired(mut left: Vec<Group>) -> Vec<[Group; 2]> {
    left.retain(|group| !group.is_zero());
    let heaviest = |load: &Load| load.iter().flatten().copied().max().unwrap_or(0);
    let mut left: Vec<(Load, Group)> = left.into_iter().map(|group| (group.load(), group)).collect();
    left.sort_by_key(|(load, _)| heaviest(load));
    let mut pairs = Vec::new();
    while let Some((_, mut first)) = left.pop() {
        let nothing = vec![[0; 2]; first.weights.len() / WORD];
        let rest = first.cut(&nothing);
        let load = first.load();
        let fitting = left.iter().rposition(|(other, _)| fit(&load, other));
        let second = match fitting {
            Some(index) => left.remove(index).1,
            None if left.is_empty() => Group { place: first.place, weights: vec![0; first.weights.len()] },
            None => {
                let (_, mut second) = left.remove(0);
                if let Some(rest) = second.cut(&load) {
                    left.insert(0, (rest.load(), rest));
                }
                second
            }
        };
        if let Some(rest) = rest {
            let load = rest.load();
            let weight = heaviest(&load);
            let index = left.partition_point(|(other, _)| heaviest(other) < weight);
            left.insert(index, (load, rest));
        }
        pairs.push([first, second]);
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The weights of each place, put together again, and the number of pairs.
    fn check(groups: &[Vec<i8>]) -> usize {
        let left = groups
            .iter()
            .enumerate()
            .map(|(index, weights)| Group { place: [0, 4 * index as u32], weights: weights.clone() });
        let pairs = paired(left.collect());
        let mut sums = vec![vec![0i32; groups[0].len()]; groups.len()];
        for [first, second] in &pairs {
            assert!(fit(&first.load(), &second.load()));
            for group in [first, second] {
                let sums = &mut sums[group.place[1] as usize / 4];
                sums.iter_mut().zip(&group.weights).for_each(|(sum, weight)| *sum += i32::from(*weight));
            }
        }
        let expected: Vec<Vec<i32>> =
            groups.iter().map(|group| group.iter().map(|weight| i32::from(*weight)).collect()).collect();
        assert_eq!(sums, expected);
        pairs.len()
    }

    #[test]
    fn pairs_add_up_to_the_groups() {
        let mut bits = 1u64;
        let mut byte = || {
            bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (bits >> 56) as i8
        };
        for count in [1, 2, 3, 16, 33] {
            for divisor in [1, 2, 5, 60] {
                let groups: Vec<Vec<i8>> = (0..count).map(|_| (0..32).map(|_| byte() / divisor).collect()).collect();
                check(&groups);
            }
        }
    }

    #[test]
    fn light_groups_take_half_as_many_pairs() {
        assert_eq!(check(&vec![vec![31; 64]; 10]), 5);
        assert_eq!(check(&vec![vec![-32, 31, 32, -32]; 7]), 4);
        assert_eq!(check(&[vec![0; 8], vec![0; 8], vec![1; 8]]), 1);
        assert_eq!(check(&vec![vec![0; 8]; 3]), 0);
    }

    #[test]
    fn the_heaviest_weights_are_cut() {
        assert_eq!(check(&[vec![127; 8], vec![127; 8]]), 4);
        assert_eq!(check(&[vec![-128; 8]]), 2);
        assert_eq!(check(&[vec![127, -128, 127, -128], vec![-128, 127, -128, 127]]), 2);
    }
}
