//! Rows of numbers become detections, by a [`HeadSpec`].
//!
//! Scores are looked at first; boxes, masks and keypoints are computed for those rows only that are good enough.

use anyhow::{bail, ensure};

use super::{
    HeadSpec, TensorView, Thresholds,
    mask::{MaskScratch, Prototypes},
    nms::{self, Candidate},
    spec::{Extra, Head, Layout, Order, shape_text},
};
use crate::{
    detection::{Detection, Geometry, Keypoint},
    geometry::{BoxPx, Placement, Point},
};

/// Classes that a classifier names, as Ultralytics' `top5`.
const TOP_CLASSES: usize = 5;

/// Scores may exceed one by so much: quantization rounds them up.
const SCORE_MAX: f32 = 1.05;

/// Rows that are looked at together, so that their best scores stay in the cache.
const TILE_ROWS: usize = 512;

/// Strides of the grids of a raw YOLOX head, in the order of its rows.
const YOLOX_STRIDES: [usize; 3] = [8, 16, 32];

/// Buffers that are kept from frame to frame.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    scores: Vec<f32>,
    classes: Vec<u32>,
    candidates: Vec<Candidate>,
    weights: Vec<f32>,
    mask: MaskScratch,
}

/// See [`HeadSpec::decode`].
pub(super) fn decode(
    spec: &HeadSpec,
    outputs: &[TensorView<'_>],
    thresholds: &Thresholds,
    placement: &Placement,
    scratch: &mut Scratch,
    found: &mut Vec<Detection>,
) -> anyhow::Result<()> {
    let layout = &spec.layout;
    let data = output(outputs, layout.output, &layout.shape())?;
    if matches!(layout.head, Head::Probabilities | Head::Logits) {
        return classify(spec, data, thresholds, found);
    }
    let rows = Rows { data, layout };
    let prototypes = match layout.extra {
        Extra::Masks { count, output: index, size } => {
            let data = output(outputs, index, &[1, count, size[0], size[1]])?;
            Some(Prototypes { data, size, input: spec.input_size })
        }
        _ => None,
    };
    scratch.candidates.clear();
    match layout.head {
        Head::EndToEnd => final_rows(spec, &rows, thresholds, &mut scratch.candidates)?,
        _ => scored_rows(spec, &rows, thresholds, scratch)?,
    }
    if layout.head.needs_nms() {
        nms::suppress(&mut scratch.candidates, thresholds, layout.extra == Extra::Angle);
    } else {
        nms::sort(&mut scratch.candidates);
        scratch.candidates.truncate(thresholds.max_det);
    }
    for at in 0..scratch.candidates.len() {
        let candidate = scratch.candidates[at];
        let Some(geometry) = geometry(&rows, prototypes.as_ref(), &candidate, placement, scratch)? else { continue };
        found.push(Detection {
            class: candidate.class,
            name: spec.name(candidate.class),
            confidence: candidate.score.min(1.0),
            geometry,
            track_id: None,
        });
    }
    Ok(())
}

/// The numbers of an output that has to have this shape.
fn output<'a>(outputs: &[TensorView<'a>], index: usize, expected: &[usize]) -> anyhow::Result<&'a [f32]> {
    let Some(tensor) = outputs.get(index) else {
        bail!("the model gave {} outputs, not {} or more; load it again", outputs.len(), index + 1);
    };
    ensure!(
        tensor.shape == expected && tensor.data.len() == expected.iter().product::<usize>(),
        "output {index} of the model is {} with {} numbers, not {}; load the model again",
        shape_text(tensor.shape),
        tensor.data.len(),
        shape_text(expected)
    );
    Ok(tensor.data)
}

/// The main output, read by row and channel whichever comes first.
struct Rows<'a> {
    data: &'a [f32],
    layout: &'a Layout,
}

impl Rows<'_> {
    fn at(&self, row: usize, channel: usize) -> f32 {
        match self.layout.order {
            Order::RowsFirst => self.data[row * self.layout.width + channel],
            Order::ChannelsFirst => self.data[channel * self.layout.rows + row],
        }
    }

    fn four(&self, row: usize) -> [f32; 4] {
        [0, 1, 2, 3].map(|channel| self.at(row, channel))
    }

    /// The best class of every row and its score; zero where there is so little objectness that none can pass `lowest`.
    fn best_classes(&self, classes: usize, lowest: f32, scores: &mut Vec<f32>, best: &mut Vec<u32>) {
        let (rows, first) = (self.layout.rows, self.layout.head.lead());
        scores.clear();
        best.clear();
        match self.layout.order {
            Order::RowsFirst => {
                for row in self.data.chunks_exact(self.layout.width) {
                    let hopeless = first == 5 && row[4] * SCORE_MAX <= lowest;
                    let (class, score) = if hopeless { (0, 0.0) } else { best_of(&row[first..first + classes]) };
                    scores.push(score);
                    best.push(class as u32);
                }
            }
            Order::ChannelsFirst => {
                scores.resize(rows, f32::NEG_INFINITY);
                best.resize(rows, 0);
                let tiles = scores.chunks_mut(TILE_ROWS).zip(best.chunks_mut(TILE_ROWS));
                for (tile, (scores, best)) in tiles.enumerate() {
                    for class in 0..classes {
                        let start = (first + class) * rows + tile * TILE_ROWS;
                        raise(scores, best, &self.data[start..start + scores.len()], class as u32);
                    }
                }
            }
        }
    }
}

/// Takes a class's scores where they are better; one that is not a number stays, and is noticed later.
fn raise(scores: &mut [f32], best: &mut [u32], channel: &[f32], class: u32) {
    for ((score, best), &value) in scores.iter_mut().zip(best).zip(channel) {
        // Without a branch, so that it is done for several rows at once.
        let better = (value > *score) | value.is_nan() & !score.is_nan();
        *best = if better { class } else { *best };
        *score = if better { value } else { *score };
    }
}

/// The first of the largest numbers; one that is not a number counts as the largest.
fn best_of(scores: &[f32]) -> (usize, f32) {
    let mut best = (0, f32::NEG_INFINITY);
    for (class, &score) in scores.iter().enumerate() {
        if score.is_nan() {
            return (class, score);
        }
        if score > best.1 {
            best = (class, score);
        }
    }
    best
}

/// Candidates of a head whose rows have a score for each class.
fn scored_rows(spec: &HeadSpec, rows: &Rows<'_>, thresholds: &Thresholds, scratch: &mut Scratch) -> anyhow::Result<()> {
    let layout = &spec.layout;
    let classes = layout.extra_at() - layout.head.lead();
    let lowest = thresholds.lowest();
    rows.best_classes(classes, lowest, &mut scratch.scores, &mut scratch.classes);
    if layout.head.lead() == 5 {
        for (row, score) in scratch.scores.iter_mut().enumerate() {
            *score *= rows.at(row, 4);
        }
    }
    let grids = (layout.head == Head::Yolox).then(|| Grids::new(spec.input_size));
    for (row, (&score, &class)) in scratch.scores.iter().zip(&scratch.classes).enumerate() {
        ensure!(score.is_finite(), broken(row, "a score that is not finite"));
        let class = class as usize;
        if score <= lowest || !thresholds.keeps(class, score) {
            continue;
        }
        ensure!(score <= SCORE_MAX, too_sure(row, score, layout));
        let mut center = rows.four(row);
        if let Some(grids) = &grids {
            center = grids.to_pixels(row, center);
        }
        ensure!(
            center.iter().all(|number| number.is_finite()),
            broken(
                row,
                if grids.is_some() {
                    "a box too large for a raw YOLOX head (try the head yolox-decoded)"
                } else {
                    "a box that is not finite"
                }
            )
        );
        let [cx, cy, width, height] = center;
        let (bounds, angle) = if layout.extra == Extra::Angle {
            (center, rows.at(row, layout.extra_at()))
        } else {
            let found = BoxPx::from_center(cx, cy, width, height);
            ([found.x1, found.y1, found.x2, found.y2], 0.0)
        };
        ensure!(angle.is_finite(), broken(row, "an angle that is not finite"));
        scratch.candidates.push(Candidate { score, class, row, bounds, angle });
    }
    Ok(())
}

/// Candidates of a head whose rows are final.
fn final_rows(
    spec: &HeadSpec,
    rows: &Rows<'_>,
    thresholds: &Thresholds,
    candidates: &mut Vec<Candidate>,
) -> anyhow::Result<()> {
    let layout = &spec.layout;
    let lowest = thresholds.lowest();
    for row in 0..layout.rows {
        let score = rows.at(row, 4);
        ensure!(score.is_finite(), broken(row, "a score that is not finite"));
        if score <= lowest {
            continue;
        }
        ensure!(score <= SCORE_MAX, too_sure(row, score, layout));
        let number = rows.at(row, 5);
        let known = layout.classes.map_or(f32::MAX, |classes| classes as f32);
        ensure!(
            (number - number.round()).abs() < 0.1 && number.round() >= 0.0 && number.round() < known,
            "row {row} of the model's output has the class {number}, which is none of {}; the file is damaged or was \
             quantized together with its boxes, export or quantize it again",
            layout.classes.map_or("them".to_owned(), |classes| format!("{classes}"))
        );
        let class = number.round() as usize;
        if !thresholds.keeps(class, score) {
            continue;
        }
        let bounds = rows.four(row);
        let angle = if layout.extra == Extra::Angle { rows.at(row, layout.extra_at()) } else { 0.0 };
        ensure!(
            angle.is_finite() && bounds.iter().all(|number| number.is_finite()),
            broken(row, "a box that is not finite")
        );
        candidates.push(Candidate { score, class, row, bounds, angle });
    }
    Ok(())
}

fn too_sure(row: usize, score: f32, layout: &Layout) -> String {
    format!(
        "row {row} of the model's output has the score {score}, but scores are at most 1; the head is not {}, state \
         another one in [model] head or with --head",
        layout.head.name()
    )
}

fn broken(row: usize, what: &str) -> String {
    format!("row {row} of the model's output has {what}; the file is damaged or was quantized wrongly, export it again")
}

/// Where a candidate is in the original frame; `None` where its mask is empty.
fn geometry(
    rows: &Rows<'_>,
    prototypes: Option<&Prototypes<'_>>,
    candidate: &Candidate,
    placement: &Placement,
    scratch: &mut Scratch,
) -> anyhow::Result<Option<Geometry>> {
    let (extra, first) = (rows.layout.extra, rows.layout.extra_at());
    if extra == Extra::Angle {
        return Ok(Some(Geometry::Oriented(corners(candidate, placement))));
    }
    let [x1, y1, x2, y2] = candidate.bounds;
    let found = BoxPx { x1: x1.min(x2), y1: y1.min(y2), x2: x1.max(x2), y2: y1.max(y2) };
    let bounds = placement.box_to_original(found);
    Ok(Some(match (extra, prototypes) {
        (Extra::Masks { count, .. }, Some(prototypes)) => {
            scratch.weights.clear();
            scratch.weights.extend((0..count).map(|at| rows.at(candidate.row, first + at)));
            let corners = prototypes.outline(&scratch.weights, candidate.bounds, &mut scratch.mask);
            if corners.is_empty() {
                return Ok(None);
            }
            let to_original = |[x, y]: [i32; 2]| placement.point_to_original(Point { x: x as f32, y: y as f32 });
            Geometry::Segment { bounds, outline: corners.into_iter().map(to_original).collect() }
        }
        (Extra::Keypoints { count, numbers }, _) => {
            let mut keypoints = Vec::with_capacity(count);
            for at in 0..count {
                let number = |n| rows.at(candidate.row, first + at * numbers + n);
                let (x, y, visible) = (number(0), number(1), (numbers == 3).then(|| number(2)));
                ensure!(
                    x.is_finite() && y.is_finite() && visible.is_none_or(f32::is_finite),
                    broken(candidate.row, "a keypoint that is not finite")
                );
                keypoints.push(Keypoint { at: placement.point_to_original(Point { x, y }), visible });
            }
            Geometry::Pose { bounds, keypoints }
        }
        _ => Geometry::Box(bounds),
    }))
}

/// The corners of an oriented box, from the one at `+width/2, +height/2` in the box's own frame, as Ultralytics orders
/// them; not clipped to the frame, as that would bend the rectangle.
fn corners(candidate: &Candidate, placement: &Placement) -> [Point; 4] {
    let [cx, cy, width, height] = candidate.bounds;
    let [scale_x, scale_y] = placement.scale;
    let cx = (cx - placement.offset[0]) / scale_x + placement.origin.x;
    let cy = (cy - placement.offset[1]) / scale_y + placement.origin.y;
    let (half_width, half_height) = (width / scale_x / 2.0, height / scale_y / 2.0);
    let (sin, cos) = candidate.angle.sin_cos();
    let along = [half_width * cos, half_width * sin];
    let across = [-half_height * sin, half_height * cos];
    [[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0], [-1.0, 1.0]]
        .map(|[a, b]: [f32; 2]| Point { x: cx + a * along[0] + b * across[0], y: cy + a * along[1] + b * across[1] })
}

/// The grids of a raw YOLOX head.
struct Grids {
    /// First row, cells in a line and stride of each level.
    levels: [(usize, usize, usize); 3],
}

impl Grids {
    fn new([height, width]: [usize; 2]) -> Self {
        let mut first = 0;
        let levels = YOLOX_STRIDES.map(|stride| {
            let level = (first, width.div_ceil(stride), stride);
            first += level.1 * height.div_ceil(stride);
            level
        });
        Self { levels }
    }

    /// Centre and size in pixels, from an offset in cells and the logarithm of the size in cells.
    fn to_pixels(&self, row: usize, [x, y, width, height]: [f32; 4]) -> [f32; 4] {
        let level = self.levels.iter().rev().find(|(first, ..)| row >= *first);
        let &(first, cells, stride) = level.unwrap_or(&self.levels[0]);
        let (column, line) = ((row - first) % cells, (row - first) / cells);
        let stride = stride as f32;
        [(x + column as f32) * stride, (y + line as f32) * stride, width.exp() * stride, height.exp() * stride]
    }
}

/// The best classes of a classifier.
fn classify(
    spec: &HeadSpec,
    scores: &[f32],
    thresholds: &Thresholds,
    found: &mut Vec<Detection>,
) -> anyhow::Result<()> {
    ensure!(scores.iter().all(|score| score.is_finite()), broken(0, "a score that is not finite"));
    let logits = spec.layout.head == Head::Logits;
    ensure!(
        logits || scores.iter().all(|score| (-1e-3..=SCORE_MAX).contains(score)),
        "the classifier's output holds numbers outside 0 to 1; they are no probabilities: export it with its softmax, \
         or state [model] head = \"logits\" or --head logits"
    );
    // The softmax, with the largest taken off so that nothing overflows.
    let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = if logits { scores.iter().map(|score| (score - largest).exp()).sum() } else { 1.0 };
    let confidence = |score: f32| if logits { (score - largest).exp() / sum } else { score.clamp(0.0, 1.0) };
    let asked = |class: &usize| thresholds.classes.as_ref().is_none_or(|classes| classes.contains(class));
    let mut order: Vec<usize> = (0..scores.len()).filter(asked).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    found.extend(order.into_iter().take(TOP_CLASSES.min(thresholds.max_det)).map(|class| Detection {
        class,
        name: spec.name(class),
        confidence: confidence(scores[class]),
        geometry: Geometry::Image,
        track_id: None,
    }));
    Ok(())
}
