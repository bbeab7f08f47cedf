//! What the numbers that a convolution reads have to do with one another: sums of their products over sampled windows.
//!
//! With these it is known what a change of a weight does to the output, and which other weights can make up for it
//! (`rounding`).

use crate::engine::Tensor;

/// More columns than this are taken as unrelated to the others: the products of all would take too much memory.
const COLUMNS_MAX: usize = 1152;

/// Which windows: of which activation, of what size, and how many channels lie in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Windows {
    /// Index of the activation.
    pub(super) activation: usize,
    /// Channels of one group.
    pub(super) inner: usize,
    /// Rows and columns.
    pub(super) kernel: [usize; 2],
    /// Groups of channels.
    pub(super) groups: usize,
}

/// Sums over windows.
#[derive(Clone, Debug)]
pub(super) struct Moments {
    pub(super) windows: Windows,
    /// In the order of the groups, and in each in the order of the weights.
    pub(super) cells: Vec<Cell>,
    /// Windows that were looked at.
    pub(super) count: usize,
}

/// Weights of one group that are looked at together.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    group: usize,
    /// The first weight in its group.
    pub(super) first: usize,
    /// How many weights.
    pub(super) len: usize,
    /// Sums of the products of any two numbers of a window: `len × len`, of which those on and right of the diagonal are
    /// filled.
    pub(super) products: Vec<f64>,
    /// Sums of the numbers.
    pub(super) sums: Vec<f64>,
}

impl Windows {
    /// Weights of one output channel.
    pub(super) fn columns(&self) -> usize {
        self.inner * self.kernel[0] * self.kernel[1]
    }

    /// Bytes that the moments take.
    pub(super) fn bytes(&self) -> usize {
        let columns = self.columns();
        let squares = columns / COLUMNS_MAX * COLUMNS_MAX * COLUMNS_MAX + (columns % COLUMNS_MAX).pow(2);
        self.groups * squares * size_of::<f64>()
    }
}

impl Moments {
    pub(super) fn new(windows: Windows) -> Self {
        let columns = windows.columns();
        let starts = || (0..columns).step_by(COLUMNS_MAX);
        let cell = |group: usize, first: usize| {
            let len = COLUMNS_MAX.min(columns - first);
            Cell { group, first, len, products: vec![0.0; len * len], sums: vec![0.0; len] }
        };
        let cells = (0..windows.groups).flat_map(|group| starts().map(move |first| cell(group, first))).collect();
        Self { windows, cells, count: 0 }
    }

    /// Looks at so many windows of a tensor `1 × channels × rows × columns`, drawn by the seed. What lies beyond the
    /// tensor's edges is zero.
    pub(super) fn add(&mut self, tensor: &Tensor, samples: usize, seed: u64) {
        let &[1, channels, rows, columns] = tensor.shape.as_slice() else { return };
        let Windows { inner, kernel, groups, .. } = self.windows;
        if channels != inner * groups || rows * columns == 0 {
            return;
        }
        let corners = corners([rows, columns], kernel, samples, seed);
        let mut panel = Vec::new();
        for cell in &mut self.cells {
            panel.clear();
            for corner in &corners {
                let number = |column: usize| {
                    let (tap, channel) = (column % (kernel[0] * kernel[1]), column / (kernel[0] * kernel[1]));
                    let (y, x) = (corner[0] + tap / kernel[1], corner[1] + tap % kernel[1]);
                    let is_inside = y < rows && x < columns;
                    let at = ((cell.group * inner + channel) * rows + y) * columns + x;
                    if is_inside { tensor.data[at] } else { 0.0 }
                };
                panel.extend((cell.first..cell.first + cell.len).map(number));
            }
            cell.add(&panel);
        }
        self.count += corners.len();
    }
}

impl Cell {
    /// Adds windows, one after the other.
    fn add(&mut self, panel: &[f32]) {
        let len = self.len;
        let mut row = vec![0.0_f32; len];
        for i in 0..len {
            let row = &mut row[i..];
            row.fill(0.0);
            let mut sum = 0.0;
            for window in panel.chunks_exact(len) {
                let factor = window[i];
                sum += factor;
                for (sum, number) in row.iter_mut().zip(&window[i..]) {
                    *sum += factor * number;
                }
            }
            self.sums[i] += f64::from(sum);
            for (sum, part) in self.products[i * len + i..(i + 1) * len].iter_mut().zip(&*row) {
                *sum += f64::from(*part);
            }
        }
    }
}

/// The upper left corners of windows.
fn corners(size: [usize; 2], kernel: [usize; 2], samples: usize, seed: u64) -> Vec<[usize; 2]> {
    let places = [0, 1].map(|axis| size[axis].saturating_sub(kernel[axis]) + 1);
    let count = places[0] * places[1];
    let place = |index: usize| [index / places[1], index % places[1]];
    if count <= samples {
        return (0..count).map(place).collect();
    }
    // One from each of as many equal parts.
    let mut state = seed;
    (0..samples)
        .map(|sample| {
            let (start, end) = (sample * count / samples, (sample + 1) * count / samples);
            let draw = next(&mut state) >> 32;
            place(start + ((draw * (end - start) as u64) >> 32) as usize)
        })
        .collect()
}

/// The next number of Steele's, Lea's and Flood's SplitMix64.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(rows: usize, columns: usize) -> Tensor {
        let data = (0..2 * rows * columns).map(|index| index as f32).collect();
        Tensor { shape: vec![1, 2, rows, columns], data }
    }

    #[test]
    fn products_are_summed_over_windows() {
        let windows = Windows { activation: 0, inner: 2, kernel: [1, 1], groups: 1 };
        let mut moments = Moments::new(windows);
        moments.add(&tensor(2, 2), 100, 0);
        let cell = &moments.cells[0];
        assert_eq!((moments.count, cell.sums.as_slice()), (4, [6.0, 22.0].as_slice()));
        // 0 1 2 3 beside 4 5 6 7.
        assert_eq!((cell.products[0], cell.products[1], cell.products[3]), (14.0, 38.0, 126.0));
    }

    #[test]
    fn groups_are_apart_and_windows_follow_the_weights() {
        let windows = Windows { activation: 0, inner: 1, kernel: [2, 2], groups: 2 };
        let mut moments = Moments::new(windows);
        moments.add(&tensor(2, 3), 100, 0);
        assert_eq!((moments.count, moments.cells.len()), (2, 2));
        // Two windows of the first channel: 0 1 3 4 and 1 2 4 5.
        assert_eq!(moments.cells[0].sums, [1.0, 3.0, 7.0, 9.0]);
        assert_eq!(moments.cells[1].sums, [13.0, 15.0, 19.0, 21.0]);
    }

    #[test]
    fn windows_are_drawn_all_over_the_picture() {
        let found = corners([40, 30], [3, 3], 16, 7);
        assert_eq!(found.len(), 16);
        assert!(found.iter().all(|[y, x]| *y < 38 && *x < 28));
        assert!(found.first().unwrap()[0] < 4 && found.last().unwrap()[0] > 33);
        assert_eq!(found, corners([40, 30], [3, 3], 16, 7));
        assert_ne!(found, corners([40, 30], [3, 3], 16, 8));
        assert_eq!(corners([2, 2], [3, 3], 16, 7), [[0, 0]], "a window may be larger than the picture");
    }

    #[test]
    fn many_columns_are_cut_into_parts() {
        let windows = Windows { activation: 0, inner: 200, kernel: [3, 3], groups: 1 };
        let moments = Moments::new(windows);
        let bounds: Vec<_> = moments.cells.iter().map(|cell| (cell.first, cell.len)).collect();
        assert_eq!(bounds, [(0, 1152), (1152, 648)]);
        assert_eq!(windows.bytes(), moments.cells.iter().map(|cell| cell.products.len() * 8).sum::<usize>());
    }
}
