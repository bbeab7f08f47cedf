//! Whether a frame shows something else than the one before: what `[mqtt] publish = "changes"` reports.

use crate::detection::Detection;

/// A thing that moved so far that its boxes share less than this is news.
const SAME_PLACE_IOU: f32 = 0.5;

/// Whether something appeared, left, or moved to another place since `before`.
///
/// Things are matched by class and by the place of their boxes; a change of confidence alone is no news.
pub(super) fn is_news(before: &[Detection], now: &[Detection]) -> bool {
    if before.len() != now.len() {
        return true;
    }
    let mut free: Vec<&Detection> = before.iter().collect();
    now.iter().any(|found| {
        let same = free.iter().position(|known| is_same(known, found));
        same.map(|index| free.swap_remove(index)).is_none()
    })
}

fn is_same(a: &Detection, b: &Detection) -> bool {
    a.class == b.class
        && match (a.bounds(), b.bounds()) {
            (Some(a), Some(b)) => a.iou(&b) >= SAME_PLACE_IOU,
            (None, None) => true,
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{detection::Geometry, geometry::BoxPx};

    fn thing(class: usize, x: f32, confidence: f32) -> Detection {
        let bounds = BoxPx { x1: x, y1: 0.0, x2: x + 10.0, y2: 10.0 };
        Detection { class, name: "thing".into(), confidence, geometry: Geometry::Box(bounds), track_id: None }
    }

    #[test]
    fn only_appearing_leaving_and_moving_are_news() {
        let before = [thing(0, 0.0, 0.9), thing(1, 50.0, 0.8)];
        assert!(!is_news(&[], &[]));
        assert!(!is_news(&before, &[thing(1, 51.0, 0.5), thing(0, 1.0, 0.4)]));
        assert!(is_news(&before, &before[..1]));
        assert!(is_news(&before[..1], &before));
        assert!(is_news(&before, &[thing(0, 0.0, 0.9), thing(2, 50.0, 0.8)]));
        assert!(is_news(&before, &[thing(0, 8.0, 0.9), thing(1, 50.0, 0.8)]));
    }

    #[test]
    fn two_things_in_one_place_are_two() {
        let twice = [thing(0, 0.0, 0.9), thing(0, 0.0, 0.8)];
        assert!(is_news(&twice, &[thing(0, 0.0, 0.9), thing(0, 100.0, 0.8)]));
    }
}
