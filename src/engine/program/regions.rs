//! Numbers of the arena that steps read and write, and whether they lie where they may.

use super::{Border, Element, Plane, View};

/// What is wrong with a step.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(in crate::engine) enum Fault {
    #[error("{0} lies outside the arena")]
    Outside(&'static str),
    #[error("{0} is not aligned to its numbers")]
    Misaligned(&'static str),
    #[error("{0} has no numbers")]
    Empty(&'static str),
    #[error("{0} writes a place twice")]
    Repeats(&'static str),
    #[error("{0} and {1} overlap")]
    Overlap(&'static str, &'static str),
    #[error("{0} has the wrong type")]
    Element(&'static str),
    #[error("{0} has the wrong length")]
    Length(&'static str),
    #[error("{0} is out of range")]
    Range(&'static str),
    #[error("there is no tile kernel {0}")]
    Kernel(usize),
    #[error("there is no input {0}, or it is shorter")]
    Input(usize),
}

/// Numbers of the arena that a step reads or writes: a loop over counts and strides in elements, in any order.
#[derive(Clone, Debug)]
pub(super) struct Region {
    what: &'static str,
    element: Element,
    at: usize,
    dims: Vec<(usize, usize)>,
}

/// What a step reads and writes.
#[derive(Debug, Default)]
pub(super) struct Footprint {
    pub(super) reads: Vec<Region>,
    pub(super) writes: Vec<Region>,
}

impl Footprint {
    /// Checks that all lies in the arena, and that nothing is written that is read or written otherwise.
    pub(super) fn check(&self, arena_len: usize) -> Result<(), Fault> {
        self.reads.iter().chain(&self.writes).try_for_each(|region| region.check(arena_len))?;
        for (index, region) in self.writes.iter().enumerate() {
            if !region.is_injective() {
                return Err(Fault::Repeats(region.what));
            }
            let others = self.writes[..index].iter().chain(&self.reads);
            if let Some(other) = others.into_iter().find(|other| region.overlaps(other)) {
                return Err(Fault::Overlap(region.what, other.what));
            }
        }
        Ok(())
    }
}

impl Region {
    pub(super) fn new(
        what: &'static str,
        element: Element,
        at: usize,
        dims: impl IntoIterator<Item = (usize, usize)>,
    ) -> Self {
        Self { what, element, at, dims: dims.into_iter().collect() }
    }

    /// The numbers of a view over the dimensions of a loop.
    pub(super) fn of_view(what: &'static str, view: &View, dims: &[usize]) -> Result<Self, Fault> {
        if view.strides.len() != dims.len() {
            return Err(Fault::Length(what));
        }
        Ok(Self::new(what, view.element, view.at, dims.iter().copied().zip(view.strides.iter().copied())))
    }

    /// The padding around a plane.
    pub(super) fn of_border(border: &Border) -> Option<Vec<Self>> {
        let Border { plane, channels, .. } = *border;
        let plane = Plane { at: border.start()?, ..plane };
        let region = |[row, column, rows, columns]: [usize; 4]| {
            let offset = row.checked_mul(plane.row)?.checked_add(column.checked_mul(plane.pixel)?)?;
            Self::of_plane("a border", &plane, offset, [rows, columns], channels)
        };
        border.rectangles().map(region).collect()
    }

    /// The numbers of so many channels of the pixels of a plane, from an offset in elements on.
    pub(super) fn of_plane(
        what: &'static str,
        plane: &Plane,
        offset: usize,
        size: [usize; 2],
        channels: usize,
    ) -> Option<Self> {
        let at = offset.checked_mul(plane.element.size())?.checked_add(plane.at)?;
        Some(Self::new(what, plane.element, at, [(size[0], plane.row), (size[1], plane.pixel), (channels, 1)]))
    }

    /// Where its last number ends, in bytes; `None` where that is beyond what can be counted.
    fn end(&self) -> Option<usize> {
        let last = self
            .dims
            .iter()
            .try_fold(0usize, |last, (count, stride)| last.checked_add(count.checked_sub(1)?.checked_mul(*stride)?))?;
        last.checked_add(1)?.checked_mul(self.element.size())?.checked_add(self.at)
    }

    /// Checks that it lies in the arena.
    pub(super) fn check(&self, arena_len: usize) -> Result<(), Fault> {
        if self.dims.iter().any(|(count, _)| *count == 0) {
            return Err(Fault::Empty(self.what));
        }
        if !self.at.is_multiple_of(self.element.size()) {
            return Err(Fault::Misaligned(self.what));
        }
        match self.end() {
            Some(end) if end <= arena_len => Ok(()),
            _ => Err(Fault::Outside(self.what)),
        }
    }

    /// Marks its bytes; called after [`Self::check`].
    #[cfg(test)]
    pub(super) fn mark(&self, mask: &mut [bool]) {
        let (outer, len) = match self.dims.split_last() {
            Some(((count, 1), outer)) => (outer, *count),
            _ => (&self.dims[..], 1),
        };
        let mut starts = vec![self.at];
        for (count, stride) in outer {
            let step = stride * self.element.size();
            starts = starts.into_iter().flat_map(|start| (0..*count).map(move |index| start + index * step)).collect();
        }
        for start in starts {
            mask[start..start + len * self.element.size()].fill(true);
        }
    }

    /// Dimensions of more than one number, with strides in bytes, the shortest stride first.
    fn steps(&self) -> Vec<(usize, usize)> {
        let size = self.element.size();
        let mut steps: Vec<_> =
            self.dims.iter().filter(|(count, _)| *count > 1).map(|(count, stride)| (*count, stride * size)).collect();
        steps.sort_by_key(|(_, stride)| *stride);
        // Two loops that together step evenly are one, as those over pixels that are written twice.
        steps.dedup_by(|(outer, outer_stride), (inner, stride)| {
            let is_one = inner.checked_mul(*stride) == Some(*outer_stride);
            if is_one {
                *inner *= *outer;
            }
            is_one
        });
        steps
    }

    /// Whether no two indices name the same number; called after [`Self::check`].
    fn is_injective(&self) -> bool {
        let mut extent = self.element.size();
        self.steps().into_iter().all(|(count, stride)| {
            let apart = stride >= extent;
            extent += (count - 1) * stride;
            apart
        })
    }

    /// Whether the two may have a byte in common; called after [`Self::check`].
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        let steps = |region: &Self| region.steps().into_iter().filter(|(_, stride)| *stride > 0).collect::<Vec<_>>();
        let offset = other.at as isize - self.at as isize;
        overlap(offset, (&steps(self), self.element.size()), (&steps(other), other.element.size()))
    }
}

/// Whether two nests of steps (counts and strides in bytes, the shortest stride first, then the length of what lies
/// there) may have a byte in common, where the second begins `offset` behind the first.
///
/// Takes off the longest stride, of which the two may be some repetitions apart, and looks at what is left for each
/// number of them at which the two are near enough. So parts of the same rows or pixels are told apart.
fn overlap(offset: isize, first: (&[(usize, usize)], usize), second: (&[(usize, usize)], usize)) -> bool {
    let longest = |(steps, _): (&[(usize, usize)], usize)| steps.last().map_or(0, |(_, stride)| *stride);
    let period = longest(first).max(longest(second));
    let [(first, first_len, before), (second, second_len, behind)] = [first, second].map(|(steps, len)| {
        let inner = steps.iter().take_while(|(_, stride)| period == 0 || !stride.is_multiple_of(period)).count();
        let extent = |steps: &[(usize, usize)]| steps.iter().map(|(count, stride)| (count - 1) * stride).sum::<usize>();
        ((&steps[..inner], len), (extent(&steps[..inner]) + len) as isize, extent(&steps[inner..]) as isize)
    });
    if period == 0 {
        return offset < first_len && offset + second_len > 0;
    }
    let period = period as isize;
    // The second's start must lie less than its length before the first's, or less than the first's length behind.
    let from = (-second_len + 1 - offset + period - 1).div_euclid(period).max(-(before / period));
    let to = (first_len - 1 - offset).div_euclid(period).min(behind / period);
    // Where steps interlock in more ways, they are taken to overlap.
    to - from >= 16 || (from..=to).any(|times| overlap(offset + times * period, first, second))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plane(at: usize, size: [usize; 2], channels: usize) -> Region {
        // Rows of ten pixels of six bytes.
        let plane = Plane { element: Element::Byte, at, pixel: 6, row: 60 };
        Region::of_plane("a plane", &plane, 0, size, channels).unwrap()
    }

    #[test]
    fn slices_of_pixels_and_of_rows_do_not_overlap() {
        let first = plane(0, [4, 10], 2);
        for (other, overlaps) in [
            (plane(2, [4, 10], 4), false),
            (plane(2, [3, 7], 4), false),
            (plane(62, [3, 9], 4), false),
            (plane(60, [3, 10], 2), true),
            (plane(1, [4, 10], 1), true),
            (plane(5, [4, 9], 1), false),
            (plane(5, [4, 9], 2), true),
            (plane(240, [4, 10], 6), false),
            (plane(237, [4, 10], 2), false),
        ] {
            assert_eq!(first.overlaps(&other), overlaps, "{other:?}");
            assert_eq!(other.overlaps(&first), overlaps, "{other:?}");
        }
        // Rows that are no multiple of the pixels apart.
        let odd = |at, channels| Region::new("it", Element::Byte, at, [(4, 65), (10, 6), (channels, 1)]);
        assert!(!odd(0, 2).overlaps(&odd(2, 4)));
        assert!(odd(0, 3).overlaps(&odd(2, 4)));
        // The left five columns and the right four, whole pixels.
        assert!(!plane(0, [4, 5], 6).overlaps(&plane(36, [4, 4], 6)));
        assert!(plane(0, [4, 7], 6).overlaps(&plane(36, [4, 4], 6)));
    }

    #[test]
    fn overlap_is_that_of_the_bytes_themselves() {
        let mut bits = 1u64;
        let mut below = |end: usize| {
            bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (bits >> 33) as usize % end
        };
        let mut region = || {
            let channels = 1 + below(5);
            let pixel = channels + below(4);
            let columns = 1 + below(5);
            let row = [columns * pixel, columns * pixel + below(9), 30][below(3)];
            Region::new("it", Element::Byte, below(60), [(1 + below(5), row), (columns, pixel), (channels, 1)])
        };
        let bytes = |region: &Region| {
            let [(rows, row), (columns, pixel), (channels, _)] = region.dims[..] else { panic!() };
            let mut bytes = [false; 400];
            for index in 0..rows * columns * channels {
                let at = index / (columns * channels) * row + index / channels % columns * pixel + index % channels;
                bytes[region.at + at] = true;
            }
            bytes
        };
        let mut exact = 0;
        for _ in 0..20_000 {
            let [first, second] = [region(), region()];
            let common = bytes(&first).iter().zip(bytes(&second)).any(|(first, second)| *first && second);
            assert!(!common || first.overlaps(&second), "{first:?} {second:?}");
            exact += usize::from(common == first.overlaps(&second));
        }
        assert!(exact > 19_000, "{exact}");
    }

    #[test]
    fn pixels_that_are_repeated_do_not_overlap_the_border_around_them() {
        let twice = Region::new("it", Element::Byte, 44, [(5, 80), (2, 40), (4, 8), (2, 4), (3, 1)]);
        let plane = Plane { element: Element::Byte, at: 44, pixel: 4, row: 40 };
        let border = Border { plane, size: [10, 8], channels: 4, width: [1; 4], fill: 0 };
        for region in Region::of_border(&border).unwrap() {
            assert!(!twice.overlaps(&region) && !region.overlaps(&twice), "{region:?}");
        }
        assert!(twice.overlaps(&Region::new("it", Element::Byte, 44 + 9 * 40, [(3, 1)])));
    }

    #[test]
    fn what_is_written_twice_is_found() {
        let region = |dims: &[(usize, usize)]| Region::new("it", Element::Float, 0, dims.iter().copied());
        assert!(region(&[(3, 8), (2, 4), (4, 1)]).is_injective());
        assert!(region(&[(1, 0), (4, 1), (3, 4)]).is_injective());
        assert!(!region(&[(3, 0), (4, 1)]).is_injective());
        assert!(!region(&[(3, 3), (4, 1)]).is_injective());
    }

    #[test]
    fn regions_are_held_to_the_arena() {
        let region = |at, dims: &[(usize, usize)]| Region::new("it", Element::Float, at, dims.iter().copied());
        assert_eq!(region(4, &[(2, 4), (3, 1)]).check(32), Ok(()));
        assert_eq!(region(8, &[(2, 4), (3, 1)]).check(32), Err(Fault::Outside("it")));
        assert_eq!(region(2, &[(2, 4), (3, 1)]).check(64), Err(Fault::Misaligned("it")));
        assert_eq!(region(0, &[(2, 4), (0, 1)]).check(64), Err(Fault::Empty("it")));
        assert_eq!(region(0, &[(usize::MAX, usize::MAX)]).check(64), Err(Fault::Outside("it")));
        assert_eq!(region(usize::MAX - 3, &[(1, 1)]).check(64), Err(Fault::Outside("it")));
    }

    #[test]
    fn a_border_must_not_begin_before_the_arena() {
        let border = |at| Border {
            plane: Plane { element: Element::Byte, at, pixel: 2, row: 20 },
            size: [3, 8],
            channels: 2,
            width: [1; 4],
            fill: 0,
        };
        assert!(Region::of_border(&border(21)).is_none());
        assert_eq!(Region::of_border(&border(22)).unwrap().len(), 4);
    }
}
