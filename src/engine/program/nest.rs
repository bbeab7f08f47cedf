//! Loops over the numbers of several tensors at once, cut into tiles that stay in the nearest cache.

use std::ops::Range;

/// Most dimensions of a nest, once neighbours that are one in all tensors are joined.
pub(super) const RANK_MAX: usize = 8;

/// Nested loops over `N` tensors, in an order of its own: each combination of indexes comes once.
#[derive(Clone, Debug)]
pub(super) struct Nest<const N: usize> {
    /// At least two, the last two being the rows and columns of tiles.
    rank: usize,
    dims: [usize; RANK_MAX],
    strides: [[usize; N]; RANK_MAX],
    /// Most rows and columns of a tile.
    tile: [usize; 2],
}

/// Some rows and columns of the innermost two loops.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tile<const N: usize> {
    /// Rows and columns, at least one of each.
    pub(super) size: [usize; 2],
    /// Where each tensor's first number is, in elements from the tensor's own first.
    pub(super) offsets: [usize; N],
}

impl<const N: usize> Nest<N> {
    /// Joins what can be joined. The columns are the innermost dimension; its neighbours in memory are neighbours in the
    /// first tensor at least. The rows are the longest one of the others. `None` where too many dimensions are left.
    ///
    /// # Panics
    /// Where a tensor has not one stride for each dimension.
    pub(super) fn new(dims: &[usize], strides: [&[usize]; N]) -> Option<Self> {
        assert!(strides.iter().all(|strides| strides.len() == dims.len()));
        let mut nest = Self { rank: 0, dims: [1; RANK_MAX], strides: [[0; N]; RANK_MAX], tile: [1; 2] };
        for (index, dim) in dims.iter().copied().enumerate().filter(|(_, dim)| *dim != 1) {
            let strides = strides.map(|strides| strides[index]);
            if let Some(outer) = nest.rank.checked_sub(1)
                && (0..N).all(|tensor| nest.strides[outer][tensor] == strides[tensor].wrapping_mul(dim))
            {
                nest.dims[outer] = nest.dims[outer].saturating_mul(dim);
                nest.strides[outer] = strides;
                continue;
            }
            *nest.dims.get_mut(nest.rank)? = dim;
            nest.strides[nest.rank] = strides;
            nest.rank += 1;
        }
        // Loops over a single index fill up to two; the innermost one stays where it is.
        while nest.rank < 2 {
            nest.dims.copy_within(..nest.rank, 1);
            nest.strides.copy_within(..nest.rank, 1);
            (nest.dims[0], nest.strides[0]) = (1, [0; N]);
            nest.rank += 1;
        }
        let rows = nest.rank - 2;
        let longest = (0..=rows).max_by_key(|index| nest.dims[*index]).expect("there are at least two dimensions");
        nest.dims.swap(longest, rows);
        nest.strides.swap(longest, rows);
        Some(nest)
    }

    /// Takes the dimension with the least stride above zero in one tensor for the columns, and that of another one for
    /// the rows, if it is a different one.
    pub(super) fn transposed(mut self, columns_of: usize, rows_of: usize) -> Self {
        for (place, tensor) in [(self.rank - 1, columns_of), (self.rank - 2, rows_of)] {
            let stride = |index: &usize| self.strides[*index][tensor];
            let least = (0..=place).filter(|index| self.dims[*index] > 1 && stride(index) > 0).min_by_key(stride);
            if let Some(least) = least {
                self.dims.swap(least, place);
                self.strides.swap(least, place);
            }
        }
        self
    }

    /// Cuts the innermost two loops into tiles of at most so many numbers, with as many columns as go.
    pub(super) fn with_tiles(mut self, len_max: usize) -> Self {
        let columns = self.columns().min(len_max);
        self.tile = [(len_max / columns.max(1)).max(1), columns.max(1)];
        self
    }

    /// Cuts the innermost two loops into tiles of at most so many rows and columns.
    pub(super) fn with_square_tiles(mut self, side: usize) -> Self {
        self.tile = [side, side];
        self
    }

    /// From one row to the next, and from one column to the next, of a tensor in elements.
    pub(super) fn tile_strides(&self, tensor: usize) -> [usize; 2] {
        [self.strides[self.rank - 2][tensor], self.strides[self.rank - 1][tensor]]
    }

    /// Tiles of the whole nest.
    pub(super) fn tiles(&self) -> usize {
        let outer: usize = self.dims[..self.rank - 2].iter().product();
        let [rows, columns] = self.tiles_across();
        outer * rows * columns
    }

    /// Items of at least `item_len` numbers where there are so many.
    pub(super) fn items(&self, item_len: usize) -> usize {
        self.tiles().div_ceil(self.tiles_in_item(item_len))
    }

    /// The tiles of one of [`Self::items`].
    pub(super) fn item(&self, index: usize, item_len: usize) -> Range<usize> {
        let len = self.tiles_in_item(item_len);
        let start = (index * len).min(self.tiles());
        start..(start + len).min(self.tiles())
    }

    /// One of [`Self::tiles`].
    pub(super) fn tile(&self, index: usize) -> Tile<N> {
        let [rows, columns] = self.tiles_across();
        let [mut outer, row, column] = [index / columns / rows, index / columns % rows, index % columns];
        let [row, column] = [row * self.tile[0], column * self.tile[1]];
        let [row_strides, column_strides] = [self.strides[self.rank - 2], self.strides[self.rank - 1]];
        let mut offsets: [usize; N] =
            std::array::from_fn(|tensor| row * row_strides[tensor] + column * column_strides[tensor]);
        for dim in (0..self.rank - 2).rev() {
            let index = outer % self.dims[dim];
            outer /= self.dims[dim];
            for (offset, stride) in offsets.iter_mut().zip(self.strides[dim]) {
                *offset += index * stride;
            }
        }
        let size = [self.tile[0].min(self.rows() - row), self.tile[1].min(self.columns() - column)];
        Tile { size, offsets }
    }

    fn rows(&self) -> usize {
        self.dims[self.rank - 2]
    }

    fn columns(&self) -> usize {
        self.dims[self.rank - 1]
    }

    fn tiles_across(&self) -> [usize; 2] {
        [self.rows().div_ceil(self.tile[0]), self.columns().div_ceil(self.tile[1])]
    }

    fn tiles_in_item(&self, item_len: usize) -> usize {
        let tile_len = (self.tile[0].min(self.rows()) * self.tile[1].min(self.columns())).max(1);
        item_len.div_ceil(tile_len).max(1)
    }
}

/// Numbers from the first to behind the last of some rows and columns, none of which is empty.
pub(super) fn extent([rows, columns]: [usize; 2], [row, column]: [usize; 2]) -> usize {
    (rows - 1) * row + (columns - 1) * column + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All combinations of offsets that a nest goes through, in order of the first tensor.
    fn offsets(nest: &Nest<2>) -> Vec<[usize; 2]> {
        let mut found = Vec::new();
        for item in 0..nest.items(7) {
            for tile in nest.item(item, 7).map(|index| nest.tile(index)) {
                for row in 0..tile.size[0] {
                    for column in 0..tile.size[1] {
                        found.push([0, 1].map(|tensor| {
                            let [row_stride, column_stride] = nest.tile_strides(tensor);
                            tile.offsets[tensor] + row * row_stride + column * column_stride
                        }));
                    }
                }
            }
        }
        found.sort_unstable();
        found
    }

    #[test]
    fn each_index_comes_once() {
        let cases: [(&[usize], [&[usize]; 2]); 6] = [
            (&[2, 3, 4, 5], [&[60, 20, 5, 1], &[60, 20, 5, 1]]),
            (&[3, 2, 4, 2, 5], [&[80, 40, 10, 5, 1], &[20, 0, 5, 0, 1]]),
            (&[7, 1, 6], [&[1, 3, 7], &[6, 9, 1]]),
            (&[5, 1], [&[3, 1], &[2, 1]]),
            (&[], [&[], &[]]),
            (&[4, 0, 2], [&[2, 2, 1], &[2, 2, 1]]),
        ];
        for (dims, strides) in cases {
            let mut expected = vec![[0, 0]];
            for (index, dim) in dims.iter().enumerate() {
                let step = |at: &[usize; 2], i: usize| [0, 1].map(|tensor| at[tensor] + i * strides[tensor][index]);
                expected = expected.iter().flat_map(|at| (0..*dim).map(move |i| step(at, i))).collect();
            }
            expected.sort_unstable();
            let nest = Nest::new(dims, strides).unwrap();
            assert_eq!(nest.dims[..nest.rank].iter().product::<usize>(), expected.len());
            for len_max in [1, 3, 8, 1000] {
                assert_eq!(offsets(&nest.clone().with_tiles(len_max)), expected, "{dims:?}");
                assert_eq!(offsets(&nest.clone().transposed(1, 0).with_square_tiles(len_max)), expected, "{dims:?}");
            }
        }
    }

    #[test]
    fn neighbours_are_joined() {
        let strides: [usize; 4] = [60, 20, 5, 1];
        let nest = Nest::new(&[2, 3, 4, 5], [&strides, &strides]).unwrap().with_tiles(1000);
        assert_eq!((nest.tiles(), nest.tile(0).size), (1, [1, 120]));
        let alone: Vec<usize> = (0..9).map(|index| 100 << (3 * index)).collect();
        assert!(Nest::new(&[2; 9], [&alone]).is_none());
    }
}
