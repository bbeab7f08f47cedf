//! The best detections of an end-to-end head.
#![allow(unsafe_code)]

use super::{
    super::kernels::{
        Kernels,
        loops::{self, Ordered, Rows},
    },
    Scores, TopDetections,
    arena::Memory,
    work::{Context, Work},
};

/// Anchors of an item of the first phase.
const ITEM_ANCHORS: usize = 1024;

/// Anchors whose bytes become floats at once.
const CHUNK: usize = 256;

impl TopDetections {
    /// Anchors of all parts.
    pub(in crate::engine) fn anchors(&self) -> usize {
        self.scores.iter().map(|scores| scores.anchors).sum()
    }

    /// Whether anchors and scores can be numbered as its keys do.
    pub(super) fn is_within_limits(&self) -> bool {
        let indexes = self.count.checked_mul(self.classes).map(|scores| scores.max(self.anchors()));
        indexes.is_some_and(|indexes| u32::try_from(indexes).is_ok())
    }

    /// The best score of each of some anchors.
    ///
    /// # Safety
    /// Nobody writes to the scores, and nobody else uses the item's best scores.
    unsafe fn find_best(&self, item: usize, cx: &Context<'_>) {
        let first = item * ITEM_ANCHORS;
        let end = (first + ITEM_ANCHORS).min(self.anchors());
        // SAFETY: the caller sees to it.
        let best = unsafe { cx.memory.floats_mut(self.best_at + first * 4, end - first) };
        let mut part_start = 0;
        for scores in &self.scores {
            let part = part_start.max(first)..(part_start + scores.anchors).min(end);
            for start in part.clone().step_by(CHUNK) {
                let count = CHUNK.min(part.end - start);
                let best = &mut best[start - first..][..count];
                // SAFETY: the caller sees to it.
                unsafe { self.find_best_of(scores, start - part_start, cx, best) };
            }
            part_start += scores.anchors;
        }
    }

    /// The best scores of at most [`CHUNK`] anchors of a part, from `first` on.
    ///
    /// # Safety
    /// Nobody writes to the scores.
    unsafe fn find_best_of(&self, scores: &Scores, first: usize, cx: &Context<'_>, best: &mut [f32]) {
        match &scores.values {
            None => {
                // SAFETY: the caller sees to it.
                let rows = unsafe { self.rows(scores, first, best.len(), cx.memory) };
                loops::max_of_rows(cx.kernels.level, rows, best);
            }
            Some(values) if cx.kernels.signed => {
                // SAFETY: as above.
                unsafe { self.find_best_bytes(scores, first, cx, best, |byte: i8| values[usize::from(byte as u8)]) };
            }
            Some(values) => {
                // SAFETY: as above.
                unsafe { self.find_best_bytes(scores, first, cx, best, |byte: u8| values[usize::from(byte)]) };
            }
        }
    }

    /// # Safety
    /// Nobody writes to the scores.
    unsafe fn find_best_bytes<T: Ordered>(
        &self,
        scores: &Scores,
        first: usize,
        cx: &Context<'_>,
        best: &mut [f32],
        value: impl Fn(T) -> f32,
    ) {
        let mut bytes = [T::LOWEST; CHUNK];
        // SAFETY: the caller sees to it.
        let rows = unsafe { self.rows(scores, first, best.len(), cx.memory) };
        loops::max_of_rows(cx.kernels.level, rows, &mut bytes);
        for (best, byte) in best.iter_mut().zip(bytes) {
            *best = value(byte);
        }
    }

    /// The scores of `count` anchors, at least one, from `first` on, as the numbers that they are held as.
    ///
    /// # Safety
    /// Nobody writes to them.
    unsafe fn rows<'a, T: Copy>(&self, scores: &Scores, first: usize, count: usize, memory: Memory<'a>) -> Rows<'a, T> {
        let stride = scores.view.strides[0];
        let at = scores.view.at + first * stride * size_of::<T>();
        // SAFETY: any bits are a number, and the caller sees to the rest.
        unsafe { memory.rows(at, [count, self.classes], [stride, 1]) }
    }

    /// Writes the best detections.
    ///
    /// # Safety
    /// Nobody else uses the memory that the step names.
    unsafe fn select(&self, cx: &Context<'_>, scratch: &mut [u8]) {
        // SAFETY: any bits are a number.
        let (_, scratch, _) = unsafe { scratch.align_to_mut::<u64>() };
        let (anchors, scores) = scratch.split_at_mut(self.anchors());
        // SAFETY: the caller sees to it.
        let best = unsafe { cx.memory.floats(self.best_at, anchors.len()) };
        for (index, (entry, score)) in anchors.iter_mut().zip(best).enumerate() {
            *entry = key(*score, index);
        }
        let anchors = first_sorted(anchors, self.count);
        // At least `count` scores are not behind the best score of the last of these anchors, so that nothing behind it
        // is needed. Where that anchor has none but what is no number, nothing is left out.
        let last_best = best[index_of(anchors[self.count - 1])];
        let limit = if last_best == f32::NEG_INFINITY { u64::MAX } else { key(last_best, u32::MAX as usize) };
        let mut found = 0;
        for (rank, anchor) in anchors.iter().enumerate() {
            // SAFETY: the caller sees to it.
            unsafe {
                self.each_score(index_of(*anchor), cx.memory, |class, score| {
                    let entry = key(score, rank * self.classes + class);
                    // Written in any case, and kept only if it counts, which spares a branch that nobody can foresee.
                    scores[found] = entry;
                    found += usize::from(entry <= limit);
                });
            }
        }
        let chosen = first_sorted(&mut scores[..found], self.count);
        for (row, entry) in chosen.iter().enumerate() {
            let [rank, class] = [index_of(*entry) / self.classes, index_of(*entry) % self.classes];
            // SAFETY: as above.
            unsafe { self.write(row, index_of(anchors[rank]), class, cx.memory) };
        }
    }

    /// Calls `take` with each class and score of an anchor.
    ///
    /// # Safety
    /// Nobody writes to the scores.
    unsafe fn each_score(&self, anchor: usize, memory: Memory<'_>, mut take: impl FnMut(usize, f32)) {
        let (scores, anchor) = self.part_of(anchor);
        // SAFETY: the caller sees to it.
        unsafe {
            match &scores.values {
                None => {
                    let row = self.rows::<f32>(scores, anchor, 1, memory).row(0);
                    row.iter().enumerate().for_each(|(class, score)| take(class, *score));
                }
                Some(values) => {
                    let row = self.rows::<u8>(scores, anchor, 1, memory).row(0);
                    row.iter().enumerate().for_each(|(class, byte)| take(class, values[usize::from(*byte)]));
                }
            }
        }
    }

    /// The part of the scores to which an anchor belongs, and its index there.
    fn part_of(&self, mut anchor: usize) -> (&Scores, usize) {
        for scores in &self.scores {
            match anchor.checked_sub(scores.anchors) {
                None => return (scores, anchor),
                Some(rest) => anchor = rest,
            }
        }
        unreachable!("the parts have as many anchors as there are");
    }

    /// Writes one row of the output.
    ///
    /// # Safety
    /// Nobody writes to scores and boxes, and nobody else uses the output.
    unsafe fn write(&self, row: usize, anchor: usize, class: usize, memory: Memory<'_>) {
        let put = |field: usize, value: f32| {
            let offset = row * self.output.strides[0] + field * self.output.strides[1];
            // SAFETY: the caller sees to it.
            let output = unsafe { memory.floats_mut(self.output.at + offset * 4, 1) };
            output[0] = value;
        };
        for field in 0..self.box_len {
            let offset = anchor * self.boxes.strides[0] + field * self.boxes.strides[1];
            // SAFETY: as above.
            put(field, unsafe { memory.floats(self.boxes.at + offset * 4, 1) }[0]);
        }
        let (scores, anchor) = self.part_of(anchor);
        // SAFETY: as above.
        let score = unsafe {
            match &scores.values {
                None => self.rows::<f32>(scores, anchor, 1, memory).at(0, class),
                Some(values) => values[usize::from(self.rows::<u8>(scores, anchor, 1, memory).at(0, class))],
            }
        };
        put(self.box_len, score);
        put(self.box_len + 1, class as f32);
    }
}

/// A number that is the smaller the earlier a score comes: higher scores first, then lower indexes; what is no number comes
/// last. The index is below 2³².
#[inline(always)]
fn key(score: f32, index: usize) -> u64 {
    // Zero has one sign only.
    let bits = (score + 0.0).to_bits();
    let descending = if bits >> 31 == 0 { bits ^ 0x7fff_ffff } else { bits };
    let order = if score.is_nan() { u32::MAX } else { descending };
    u64::from(order) << 32 | index as u64
}

fn index_of(key: u64) -> usize {
    key as u32 as usize
}

/// The `count` smallest keys in order; there are at least so many.
fn first_sorted(keys: &mut [u64], count: usize) -> &[u64] {
    keys.select_nth_unstable(count - 1);
    let first = &mut keys[..count];
    first.sort_unstable();
    first
}

impl Work for TopDetections {
    fn phases(&self) -> usize {
        2
    }

    fn items(&self, phase: usize, _: &Context<'_>) -> usize {
        if phase == 0 { self.anchors().div_ceil(ITEM_ANCHORS) } else { 1 }
    }

    fn scratch_len(&self, _: &Kernels) -> usize {
        // One entry more, since each is written before it is known whether it counts.
        (self.anchors() + self.count * self.classes + 1) * size_of::<u64>()
    }

    unsafe fn run(&self, phase: usize, item: usize, cx: &Context<'_>, scratch: &mut [u8]) {
        // SAFETY: the caller sees to it that nobody else is in the way; items of the first phase have anchors of their own,
        // the second phase has one item.
        unsafe {
            match phase {
                0 => self.find_best(item, cx),
                _ => self.select(cx, scratch),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            super::kernels,
            Element, View,
            testing::{Fixture, Random},
        },
        *,
    };

    /// The detections as ONNX's operators define them.
    fn expected(scores: &[Vec<f32>], boxes: &[Vec<f32>], count: usize) -> Vec<f32> {
        let descending = |a: &(f32, usize), b: &(f32, usize)| b.0.partial_cmp(&a.0).unwrap().then(a.1.cmp(&b.1));
        let mut anchors: Vec<(f32, usize)> =
            scores.iter().map(|row| row.iter().copied().fold(f32::MIN, f32::max)).zip(0..).collect();
        anchors.sort_by(descending);
        let flat = anchors[..count].iter().flat_map(|(_, anchor)| scores[*anchor].clone());
        let mut found: Vec<(f32, usize)> = flat.zip(0..).collect();
        found.sort_by(descending);
        let classes = scores[0].len();
        let row = |(score, index): &(f32, usize)| {
            let mut row = boxes[anchors[index / classes].1].clone();
            row.extend([*score, (index % classes) as f32]);
            row
        };
        found[..count].iter().flat_map(row).collect()
    }

    fn check(kernels: &'static Kernels, bytes: bool, [classes, count]: [usize; 2], random: &mut Random) {
        let mut fixture = Fixture::new(kernels, 400_000, random);
        // Several codes stand for one value, so that there are ties.
        let sign = if kernels.signed { 0x80 } else { 0 };
        let values: Box<[f32; 256]> = Box::new(std::array::from_fn(|byte| ((byte ^ sign) / 3) as f32 * 0.01));
        let parts = [70, 1, 300].map(|anchors| {
            let (element, at) = if bytes {
                (Element::Byte, fixture.take(anchors * (classes + 3)))
            } else {
                (Element::Float, fixture.take(anchors * (classes + 3) * 4))
            };
            let view = View { element, at, strides: vec![classes + 3] };
            Scores { anchors, view, values: bytes.then(|| values.clone()) }
        });
        let anchors = 371;
        let boxes = View { element: Element::Float, at: fixture.take(anchors * 5 * 4), strides: vec![5, 1] };
        let output = View { element: Element::Float, at: fixture.take(count * 7 * 4), strides: vec![7, 1] };
        let best_at = fixture.take(anchors * 4);
        let step = TopDetections { scores: parts.to_vec(), classes, boxes, box_len: 4, count, output, best_at };
        if !bytes {
            for part in &step.scores {
                for index in 0..part.anchors * (classes + 3) {
                    fixture.set_float(part.view.at + index * 4, (random.below(40) as f32 - 20.0) * 0.5);
                }
            }
        }
        let mut scores = Vec::new();
        for part in &step.scores {
            for anchor in 0..part.anchors {
                let at = |class: usize| anchor * (classes + 3) + class;
                scores.push(
                    (0..classes)
                        .map(|class| match bytes {
                            true => values[usize::from(fixture.byte(part.view.at + at(class)))],
                            false => fixture.float(part.view.at + at(class) * 4),
                        })
                        .collect(),
                );
            }
        }
        let boxes: Vec<Vec<f32>> = (0..anchors)
            .map(|anchor| (0..4).map(|field| fixture.float(step.boxes.at + (anchor * 5 + field) * 4)).collect())
            .collect();
        fixture.run(&step, &[], random);
        let found: Vec<u32> = (0..count * 6)
            .map(|index| fixture.float(step.output.at + (index / 6 * 7 + index % 6) * 4).to_bits())
            .collect();
        let expected: Vec<u32> = expected(&scores, &boxes, count).into_iter().map(f32::to_bits).collect();
        assert_eq!(found, expected, "{} {bytes} {classes} {count}", kernels.name);
    }

    #[test]
    fn as_the_operators_of_onnx() {
        let mut random = Random::new(7);
        for kernels in kernels::available() {
            for size in [[80, 100], [1, 371], [5, 1], [33, 371], [16, 50]] {
                check(kernels, true, size, &mut random);
                check(kernels, false, size, &mut random);
            }
        }
    }

    #[test]
    fn keys_are_in_the_order_of_scores() {
        let scores = [f32::INFINITY, 2.0, 1e-40, 0.0, -1e-40, -3.0, f32::NEG_INFINITY, f32::NAN];
        assert!(scores.windows(2).all(|pair| key(pair[0], 5) < key(pair[1], 0)));
        assert!(key(-0.0, 3) < key(0.0, 4) && key(0.0, 3) < key(-0.0, 4) && key(f32::NAN, 1) < key(f32::NAN, 2));
        assert_eq!(index_of(key(-1.5, 77)), 77);
    }
}
