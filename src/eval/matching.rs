//! Which detection is which object of one picture.
//!
//! Matching is greedy: detections choose in the order of their confidence, each object is given away once, and only to a
//! detection of its own class. The rules of `yolo val` and of `pycocotools` differ in how they round an overlap and in
//! who gets an object when two are overlapped equally, which is enough to change a figure's third decimal on small sets;
//! so both are here beside the plain one.

use super::{Hits, OVERLAPS};
use crate::{
    detection::{Detection, Label},
    geometry::BoxPx,
};

/// What became of the objects and the detections of one picture. All numbers are places in the slices given to [`pair`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pairs {
    /// Object and the detection that found it, best detection first.
    pub hits: Vec<(usize, usize)>,
    /// Objects that no detection found, in their own order.
    pub missed: Vec<usize>,
    /// Detections of nothing that is there, or of what a better one had found; best first.
    pub invented: Vec<usize>,
}

/// Pairs objects with detections of the same class that overlap them by `iou_min` (in `0..=1`) or more.
///
/// The most confident detection chooses first, and takes of the objects that are left the one that it overlaps most;
/// equal confidences and overlaps go to the earlier in the slice. Detections without a box pair with nothing.
pub fn pair(truth: &[Label], found: &[Detection], iou_min: f32) -> Pairs {
    let overlap = |index: usize, place: usize| {
        let (one, label) = (&found[index], &truth[place]);
        (label.class == one.class).then(|| Some(label.bounds.iou(&one.bounds()?))).flatten()
    };
    let mut missed = vec![true; truth.len()];
    let mut pairs = Pairs::default();
    for (index, place) in choose(best_first(found), truth.len(), overlap, |iou| iou >= iou_min && iou > 0.0) {
        match place {
            Some(place) => {
                missed[place] = false;
                pairs.hits.push((place, index));
            }
            None => pairs.invented.push(index),
        }
    }
    pairs.missed = (0..truth.len()).filter(|place| missed[*place]).collect();
    pairs
}

/// Lets things choose among `count` others, each once and in the order given: a thing takes of the others that are left
/// the one that it overlaps most, the first of equals, if that is `enough`. Answers each with the place of what it took.
///
/// `overlap` is that of a thing and the other at a place; `None` where the two cannot be the same.
pub(super) fn choose(
    things: impl IntoIterator<Item = usize>,
    count: usize,
    overlap: impl Fn(usize, usize) -> Option<f32>,
    enough: impl Fn(f32) -> bool,
) -> Vec<(usize, Option<usize>)> {
    let mut taken = vec![false; count];
    let choice = |thing: usize| {
        let free = (0..count).filter(|place| !taken[*place]);
        let overlaps = free.filter_map(|place| Some((place, overlap(thing, place)?)));
        let place = most(overlaps).filter(|(_, iou)| enough(*iou)).map(|(place, _)| place);
        if let Some(place) = place {
            taken[place] = true;
        }
        (thing, place)
    };
    things.into_iter().map(choice).collect()
}

/// The overlaps at which `yolo val` judges.
pub const YOLO_OVERLAPS: [f32; OVERLAPS] = [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95];

/// The overlaps at which `pycocotools` judges, rounded as there.
pub const COCO_OVERLAPS: [f64; OVERLAPS] = [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.899_999_999_999_999_9, 0.95];

/// Detections of one class in one picture beyond this are not counted by `pycocotools` (its `maxDets`).
pub const COCO_DETECTIONS_MAX: usize = 100;

/// Keeps the denominator of `yolo val`'s overlap from zero.
const EPSILON: f32 = 1e-7;

/// At which of `overlaps` (sixteen at most) each detection is right by the rule of `yolo val`, in the order of `order`.
///
/// `order` holds places in `found`, best first. At each overlap by itself, a detection takes the object of its class that
/// it overlaps most among those not taken at this overlap, the first of equals; it is right where that is enough.
pub fn yolo_hits(truth: &[Label], found: &[Detection], order: &[usize], overlaps: &[f32]) -> Vec<Hits> {
    let mut taken: Vec<Hits> = vec![0; truth.len()];
    let mut candidates = Vec::with_capacity(truth.len());
    let judge = |&index: &usize| {
        candidates.clear();
        if let Some(bounds) = found[index].bounds() {
            let same = truth.iter().enumerate().filter(|(_, label)| label.class == found[index].class);
            candidates.extend(same.map(|(place, label)| (place, yolo_iou(&label.bounds, &bounds))));
        }
        let mut hits = 0;
        for (number, &enough) in overlaps.iter().enumerate() {
            let free = candidates.iter().copied().filter(|(place, _)| taken[*place] & (1 << number) == 0);
            if let Some((place, _)) = most(free).filter(|(_, iou)| *iou >= enough) {
                taken[place] |= 1 << number;
                hits |= 1 << number;
            }
        }
        hits
    };
    order.iter().map(judge).collect()
}

/// At which of [`COCO_OVERLAPS`] each detection is right by the rule of `pycocotools`, in the order of `order`; `None` for
/// those of a class beyond its best [`COCO_DETECTIONS_MAX`], which do not count at all.
///
/// `order` holds places in `found`, best first. At each overlap by itself, a detection takes the object of its class that
/// it overlaps most among those not taken, the last of equals.
pub fn coco_hits(truth: &[Label], found: &[Detection], order: &[usize]) -> Vec<Option<Hits>> {
    let mut taken: Vec<Hits> = vec![0; truth.len()];
    let mut counts = std::collections::BTreeMap::new();
    let mut candidates = Vec::with_capacity(truth.len());
    let judge = |&index: &usize| {
        let class = found[index].class;
        let count: &mut usize = counts.entry(class).or_default();
        *count += 1;
        if *count > COCO_DETECTIONS_MAX {
            return None;
        }
        candidates.clear();
        if let Some(bounds) = found[index].bounds() {
            let same = truth.iter().enumerate().filter(|(_, label)| label.class == class);
            candidates.extend(same.map(|(place, label)| (place, coco_iou(&label.bounds, &bounds))));
        }
        let mut hits = 0;
        for (number, &enough) in COCO_OVERLAPS.iter().enumerate() {
            let mut best = (None, enough);
            for &(place, iou) in &candidates {
                if taken[place] & (1 << number) == 0 && iou >= best.1 {
                    best = (Some(place), iou);
                }
            }
            if let Some(place) = best.0 {
                taken[place] |= 1 << number;
                hits |= 1 << number;
            }
        }
        Some(hits)
    };
    order.iter().map(judge).collect()
}

/// Intersection over union in the precision of `yolo val`.
pub(super) fn yolo_iou(a: &BoxPx, b: &BoxPx) -> f32 {
    let width = (a.x2.min(b.x2) - a.x1.max(b.x1)).max(0.0);
    let height = (a.y2.min(b.y2) - a.y1.max(b.y1)).max(0.0);
    let intersection = width * height;
    intersection / (a.width() * a.height() + b.width() * b.height() - intersection + EPSILON)
}

/// Intersection over union in the precision of `pycocotools`, zero where the boxes only touch.
fn coco_iou(a: &BoxPx, b: &BoxPx) -> f64 {
    let [a, b] = [a, b].map(|bounds| [bounds.x1, bounds.y1, bounds.x2, bounds.y2].map(f64::from));
    let (width, height) = (a[2].min(b[2]) - a[0].max(b[0]), a[3].min(b[3]) - a[1].max(b[1]));
    if width <= 0.0 || height <= 0.0 {
        return 0.0;
    }
    let area = |[x1, y1, x2, y2]: [f64; 4]| (x2 - x1) * (y2 - y1);
    let intersection = width * height;
    intersection / (area(a) + area(b) - intersection)
}

/// The places of detections in the order of falling confidence; equals keep their order.
pub(super) fn best_first(found: &[Detection]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..found.len()).collect();
    order.sort_by(|a, b| found[*b].confidence.total_cmp(&found[*a].confidence));
    order
}

/// The largest overlap and whose it is; the first of equals.
fn most(overlaps: impl Iterator<Item = (usize, f32)>) -> Option<(usize, f32)> {
    overlaps.reduce(|best, next| if next.1 > best.1 { next } else { best })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::detection::Geometry;

    /// A box of 10 × 10 pixels whose left edge is at `x1`.
    pub(crate) fn bounds(x1: f32) -> BoxPx {
        BoxPx { x1, y1: 0.0, x2: x1 + 10.0, y2: 10.0 }
    }

    pub(crate) fn label(class: usize, x1: f32) -> Label {
        Label { class, bounds: bounds(x1) }
    }

    pub(crate) fn detection(class: usize, confidence: f32, x1: f32) -> Detection {
        Detection { class, name: "".into(), confidence, geometry: Geometry::Box(bounds(x1)), track_id: None }
    }

    #[test]
    fn each_object_is_found_once_and_by_its_own_class() {
        let truth = [label(0, 0.0), label(1, 100.0), label(0, 200.0)];
        let found =
            [detection(0, 0.5, 0.0), detection(0, 0.9, 1.0), detection(2, 0.8, 100.0), detection(0, 0.7, 203.0)];
        let pairs = pair(&truth, &found, 0.5);
        assert_eq!(pairs.hits, [(0, 1), (2, 3)]);
        assert_eq!(pairs.missed, [1]);
        assert_eq!(pairs.invented, [2, 0]);
    }

    #[test]
    fn a_detection_takes_what_it_overlaps_most_of_what_is_left() {
        let truth = [label(0, 0.0), label(0, 4.0)];
        let found = [detection(0, 0.9, 3.0), detection(0, 0.8, 3.0)];
        assert_eq!(pair(&truth, &found, 0.3).hits, [(1, 0), (0, 1)]);
        assert_eq!(pair(&truth, &found, 0.6).hits, [(1, 0)]);
    }

    #[test]
    fn the_least_overlap_is_enough_and_none_never_is() {
        let (truth, found) = ([label(0, 0.0)], [detection(0, 0.9, 5.0)]);
        let third = truth[0].bounds.iou(&found[0].bounds().unwrap());
        assert_eq!(pair(&truth, &found, third).hits.len(), 1);
        assert_eq!(pair(&truth, &[detection(0, 0.9, 50.0)], 0.0).invented, [0]);
    }

    #[test]
    fn every_overlap_is_judged_by_itself() {
        let truth = [label(0, 0.0), label(0, 100.0)];
        // Overlaps of 0.67, of all, and of 0.82 with an object that is taken by then except at 0.7 and above.
        let found = [detection(0, 0.9, 2.0), detection(0, 0.8, 100.0), detection(0, 0.7, 1.0), detection(1, 0.6, 0.0)];
        let hits = yolo_hits(&truth, &found, &best_first(&found), &YOLO_OVERLAPS);
        assert_eq!(hits, [0b00_0000_1111, 0b11_1111_1111, 0b00_0111_0000, 0]);
        let of_coco = coco_hits(&truth, &found, &best_first(&found));
        assert_eq!(of_coco, hits.into_iter().map(Some).collect::<Vec<_>>());
        assert_eq!(yolo_hits(&truth, &found, &[0], &[0.33]), [1]);
    }

    #[test]
    fn of_equal_overlaps_yolo_takes_the_first_and_coco_the_last() {
        // The second detection overlaps only the second object, to 0.54.
        let truth = [label(0, 0.0), label(0, 2.0)];
        let found = [detection(0, 0.9, 1.0), detection(0, 0.8, 5.0)];
        let order = best_first(&found);
        assert_eq!(yolo_hits(&truth, &found, &order, &YOLO_OVERLAPS[..1]), [1, 1]);
        assert_eq!(coco_hits(&truth, &found, &order).iter().map(|hits| hits.unwrap() & 1).collect::<Vec<_>>(), [1, 0]);
    }

    #[test]
    fn coco_counts_a_hundred_of_a_class() {
        let found: Vec<_> = (0..202).map(|n| detection(n % 2, 0.9, 0.0)).collect();
        let hits = coco_hits(&[label(0, 0.0)], &found, &best_first(&found));
        assert_eq!(hits.iter().filter(|hits| hits.is_some()).count(), 200);
        assert_eq!(hits[200..], [None, None]);
    }

    #[test]
    fn boxes_without_an_area_overlap_nothing() {
        let line = BoxPx { x1: 5.0, y1: 0.0, x2: 5.0, y2: 10.0 };
        assert_eq!((yolo_iou(&line, &bounds(0.0)), yolo_iou(&line, &line)), (0.0, 0.0));
        assert_eq!((coco_iou(&line, &bounds(0.0)), coco_iou(&line, &line)), (0.0, 0.0));
    }

    #[test]
    fn a_whole_picture_is_found_nowhere() {
        let whole = Detection { geometry: Geometry::Image, ..detection(0, 0.9, 0.0) };
        let pairs = pair(&[label(0, 0.0)], &[whole], 0.5);
        assert_eq!((pairs.missed.as_slice(), pairs.invented.as_slice()), (&[0][..], &[0][..]));
    }
}
