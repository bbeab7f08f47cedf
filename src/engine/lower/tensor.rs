//! Tensors as strides over a buffer: what slices, transposes and reshapes are, as long as nothing has to move.

use super::super::program::{Element, Plane, View};

/// Index of a buffer.
pub(super) type BufferId = usize;

/// A tensor in a buffer.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tensor {
    pub(super) buffer: BufferId,
    pub(super) element: Element,
    /// Where its first number is, in elements from the buffer's start.
    pub(super) offset: usize,
    pub(super) dims: Vec<usize>,
    /// In elements; zero repeats.
    pub(super) strides: Vec<usize>,
    /// Whether it is all pixels of a buffer's plane, so that the buffer's border lies around it.
    pub(super) is_plane: bool,
}

impl Tensor {
    /// Some indices of one dimension: from `start` on, each `step`-th, `len` of them.
    pub(super) fn slice(&self, axis: usize, start: usize, step: usize, len: usize) -> Self {
        let mut sliced = self.clone();
        sliced.offset += start * self.strides[axis];
        sliced.strides[axis] *= step;
        sliced.dims[axis] = len;
        // Channels may be left out, pixels may not.
        sliced.is_plane &= axis == 1 && self.dims.len() == 4;
        sliced
    }

    /// The dimensions in another order.
    pub(super) fn transpose(&self, perm: &[usize]) -> Self {
        let dims = perm.iter().map(|axis| self.dims[*axis]).collect();
        let strides = perm.iter().map(|axis| self.strides[*axis]).collect();
        let is_plane = self.is_plane && perm.iter().enumerate().all(|(index, axis)| index == *axis);
        Self { dims, strides, is_plane, ..self.clone() }
    }

    /// The same numbers with other dimensions; `None` where that needs a copy.
    pub(super) fn reshape(&self, dims: &[usize]) -> Option<Self> {
        let strides = reshaped_strides(&self.dims, &self.strides, dims)?;
        let is_plane = self.is_plane && self.dims == dims;
        Some(Self { dims: dims.to_vec(), strides, is_plane, ..self.clone() })
    }

    /// As pixels with channels side by side, where a tensor of four dimensions lies so.
    ///
    /// `at` counts from the buffer's start, in bytes.
    pub(super) fn plane(&self) -> Option<Plane> {
        let (&[1, channels, height, width], &[_, channel, row, pixel]) = (&self.dims[..], &self.strides[..]) else {
            return None;
        };
        let size = self.element.size();
        let pixel = if width == 1 { pixel.max(channels) } else { pixel };
        let row = if height == 1 { row.max(pixel) } else { row };
        (channel == 1 || channels == 1).then_some(Plane { element: self.element, at: self.offset * size, pixel, row })
    }

    /// As a view for loops; `at` counts from the buffer's start, in bytes.
    pub(super) fn view(&self) -> View {
        View { element: self.element, at: self.offset * self.element.size(), strides: self.strides.clone() }
    }

    /// The dimensions from the one with the largest stride to that with the smallest: the order in memory.
    pub(super) fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.dims.len()).collect();
        order.sort_by_key(|axis| std::cmp::Reverse((self.strides[*axis], self.dims[*axis])));
        order
    }
}

/// The strides of dense numbers whose dimensions lie in memory in this order, outermost first.
pub(super) fn dense_strides(dims: &[usize], order: &[usize]) -> Vec<usize> {
    let mut strides = vec![0; dims.len()];
    let mut next = 1;
    for axis in order.iter().rev() {
        strides[*axis] = next;
        next *= dims[*axis];
    }
    strides
}

/// The strides with which `new` dimensions go through the same numbers in the same order; `None` where none do.
fn reshaped_strides(old: &[usize], strides: &[usize], new: &[usize]) -> Option<Vec<usize>> {
    let mut result = vec![0; new.len()];
    let mut old: Vec<(usize, usize)> =
        old.iter().copied().zip(strides.iter().copied()).filter(|(dim, _)| *dim != 1).collect();
    // From the innermost dimension outwards: each new one takes a part of the innermost old one that is left.
    for (index, dim) in new.iter().copied().enumerate().rev() {
        if dim == 1 {
            result[index] = old.last().map_or(1, |(len, stride)| len * stride);
            continue;
        }
        let (mut len, stride) = old.pop()?;
        while !len.is_multiple_of(dim) {
            // Neighbouring dimensions become one where they lie end to end.
            let (outer, outer_stride) = old.pop()?;
            if outer_stride != len * stride {
                return None;
            }
            len *= outer;
        }
        result[index] = stride;
        if len > dim {
            old.push((len / dim, stride * dim));
        }
    }
    Some(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Channels side by side, 2 rows of 3 pixels of 4 channels.
    fn nhwc() -> Tensor {
        Tensor {
            buffer: 0,
            element: Element::Byte,
            offset: 0,
            dims: vec![1, 4, 2, 3],
            strides: vec![24, 1, 12, 4],
            is_plane: true,
        }
    }

    #[test]
    fn pixels_become_one_dimension_without_a_copy() {
        let flat = nhwc().reshape(&[1, 4, 6]).unwrap();
        assert_eq!(flat.strides[1..], [1, 4]);
        let heads = flat.reshape(&[1, 2, 2, 6]).unwrap();
        assert_eq!(heads.strides[1..], [2, 1, 4]);
        assert_eq!(heads.transpose(&[0, 1, 3, 2]).strides[1..], [2, 4, 1]);
        assert_eq!(nhwc().reshape(&[1, 4, 1, 6]).unwrap().plane().unwrap().pixel, 4);
    }

    #[test]
    fn what_would_have_to_move_is_no_view() {
        assert_eq!(nhwc().reshape(&[1, 24]), None);
        assert_eq!(nhwc().reshape(&[1, 8, 3]), None);
        let wider = Tensor { strides: vec![0, 1, 20, 4], ..nhwc() };
        assert_eq!(wider.reshape(&[1, 4, 6]), None);
    }

    #[test]
    fn slices_keep_the_strides() {
        let slice = nhwc().slice(1, 2, 1, 2);
        assert_eq!((slice.offset, slice.is_plane), (2, true));
        let every_second = nhwc().slice(3, 1, 2, 1);
        assert_eq!((every_second.offset, every_second.strides[3], every_second.is_plane), (4, 8, false));
        assert_eq!(nhwc().order(), [0, 2, 3, 1]);
    }
}
