//! How the pixels of a convolution's result are cut into segments, which stay in the nearest caches, and those into
//! items.

use std::ops::Range;

/// A rectangle of output pixels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) rows: Range<usize>,
    pub(super) columns: Range<usize>,
}

impl Segment {
    pub(super) fn pixels(&self) -> usize {
        self.rows.len() * self.columns.len()
    }
}

/// The cut: either parts of a row, or whole rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segments {
    size: [usize; 2],
    /// Segments below each other and side by side.
    parts: [usize; 2],
    /// Segments in an item; the last item may have fewer.
    per_item: usize,
}

/// What the cut goes by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    /// Most pixels in a segment, but for rows that are cut.
    pub(super) pixels: usize,
    /// Most pixels of a tile.
    pub(super) tile: usize,
    /// What a pixel costs, so that an item with [`ITEM_COST`] is worth being taken by a thread.
    pub(super) cost: u64,
    pub(super) threads: usize,
}

/// Multiplications of bytes that take some ten microseconds.
const ITEM_COST: u64 = 2_000_000;
/// Items for each thread where there is enough to do, so that one that is slower or comes later takes fewer.
const ITEMS_PER_THREAD: usize = 4;
/// What beginning a tile or a segment costs, in pixels.
const TILE_OVERHEAD: usize = 2;
const SEGMENT_OVERHEAD: usize = 6;

impl Segments {
    /// Cuts so many rows and columns, both above zero.
    pub(super) fn new(size: [usize; 2], wanted: Wanted) -> Self {
        let [rows, columns] = size;
        let pixels = wanted.pixels.max(1);
        let parts = if columns > pixels {
            let most = (columns / (2 * wanted.tile)).max(1);
            let time = |parts: usize| makespan(rows * parts, 1, columns.div_ceil(parts), wanted);
            [rows, best_count(columns.div_ceil(pixels), most, rows, wanted.threads, time)]
        } else {
            let time = |parts: usize| makespan(parts, rows.div_ceil(parts), columns, wanted);
            [best_count(rows.div_ceil(pixels / columns), rows, 1, wanted.threads, time), 1]
        };
        let count = parts[0] * parts[1];
        let cost = (rows * columns / count).max(1) as u64 * wanted.cost.max(1);
        let enough = usize::try_from(ITEM_COST.div_ceil(cost)).unwrap_or(usize::MAX);
        let most = if wanted.threads > 1 { count / (ITEMS_PER_THREAD * wanted.threads) } else { count };
        Self { size, parts, per_item: enough.min(most).max(1) }
    }

    pub(super) fn items(&self) -> usize {
        self.count().div_ceil(self.per_item)
    }

    /// Most pixels that a segment has.
    pub(super) fn pixels_max(&self) -> usize {
        self.size[0].div_ceil(self.parts[0]) * self.size[1].div_ceil(self.parts[1])
    }

    /// The segments of an item.
    pub(super) fn of_item(&self, item: usize) -> impl Iterator<Item = Segment> + '_ {
        let first = item * self.per_item;
        (first..(first + self.per_item).min(self.count())).map(|index| {
            let [down, right] = [index / self.parts[1], index % self.parts[1]];
            Segment { rows: part(self.size[0], self.parts[0], down), columns: part(self.size[1], self.parts[1], right) }
        })
    }

    fn count(&self) -> usize {
        self.parts[0] * self.parts[1]
    }
}

/// The range of the part with that index, where `len` is cut into so many parts that differ by at most one.
pub(super) fn part(len: usize, parts: usize, index: usize) -> Range<usize> {
    index * len / parts..(index + 1) * len / parts
}

/// The number of parts from `least` to `most` with the least time, the lowest of equals; `times` as many segments come
/// of it. One thread takes the least, several want some segments each.
fn best_count(least: usize, most: usize, times: usize, threads: usize, time: impl Fn(usize) -> usize) -> usize {
    if threads == 1 {
        return least;
    }
    let wanted = (ITEMS_PER_THREAD * threads).div_ceil(times);
    let most = most.max(least);
    (least.max(wanted.min(most))..=most.min(2 * wanted.max(least))).min_by_key(|parts| time(*parts)).unwrap_or(least)
}

/// What the busiest thread has to do, in pixels, where all are as fast.
fn makespan(segments: usize, rows: usize, columns: usize, wanted: Wanted) -> usize {
    let segment = rows * (columns + TILE_OVERHEAD * columns.div_ceil(wanted.tile)) + SEGMENT_OVERHEAD;
    segments.div_ceil(wanted.threads) * segment
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(size: [usize; 2], pixels: usize, cost: u64, threads: usize) -> Segments {
        Segments::new(size, Wanted { pixels, tile: 12, cost, threads })
    }

    #[test]
    fn each_pixel_is_in_one_segment() {
        for size in [[1, 1], [1, 400], [1, 6400], [20, 20], [7, 1], [3, 500], [80, 80], [160, 160]] {
            for (pixels, threads, cost) in [(16, 1, 9), (96, 2, 9), (160, 5, 100_000), (64, 3, 10_000_000)] {
                let segments = cut(size, pixels, cost, threads);
                let mut seen = vec![0; size[0] * size[1]];
                for segment in (0..segments.items()).flat_map(|item| segments.of_item(item)) {
                    assert!(segment.pixels() > 0 && segment.pixels() <= segments.pixels_max());
                    for row in segment.rows {
                        segment.columns.clone().for_each(|column| seen[row * size[1] + column] += 1);
                    }
                }
                assert!(seen.iter().all(|count| *count == 1), "{size:?} {segments:?}");
                assert!(segments.pixels_max() <= pixels.max(1), "{size:?} {segments:?}");
            }
        }
    }

    #[test]
    fn small_maps_are_shared_evenly() {
        assert_eq!(cut([20, 20], 96, 100_000, 2), Segments { size: [20, 20], parts: [10, 1], per_item: 1 });
        let flat = cut([1, 400], 96, 100_000, 2);
        assert!(flat.items().is_multiple_of(2), "{flat:?}");
    }

    #[test]
    fn cheap_segments_are_taken_together() {
        let segments = cut([160, 160], 96, 432, 2);
        assert!((8..=16).contains(&segments.items()), "{segments:?}");
        assert_eq!(cut([160, 160], 96, 1, 1).items(), 1);
    }
}
