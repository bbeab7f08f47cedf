//! What is in a camera's picture over time where nothing is tracked: what appeared, what became something else, what left.
//!
//! Things are matched from frame to frame by class and place alone. Something appears at once, so that nobody waits for a
//! defect; it has left only when it is missing for some frames, so that a detector that wavers does not tell it again and
//! again.

use super::Change;
use crate::detection::Detection;

/// Two boxes that share more than this are the same thing.
const SAME_PLACE_IOU: f32 = 0.5;

/// What shares more than this with a thing of another class has become that class.
const SAME_THING_IOU: f32 = 0.7;

/// So many frames in a row without it, and a thing has left.
const LEFT_AFTER_FRAMES: u8 = 3;

/// What is in the picture. At most the detections of `LEFT_AFTER_FRAMES` frames.
#[derive(Debug, Default)]
pub(super) struct Presence {
    things: Vec<Thing>,
}

#[derive(Debug)]
struct Thing {
    seen: Detection,
    /// Frames in a row without it.
    missing: u8,
}

impl Presence {
    /// Takes the next frame's detections and tells what is new: first what left, as it was last seen, then the others in
    /// the order of the detections.
    pub(super) fn update(&mut self, found: &[Detection], mut tell: impl FnMut(Change, &Detection)) {
        if found.is_empty() && self.things.is_empty() {
            return;
        }
        let mut thing_of = vec![None; found.len()];
        let mut taken = vec![false; self.things.len()];
        let passes: [fn(&Detection, &Detection) -> bool; 2] = [
            |thing, new| thing.class == new.class && overlap(thing, new) >= SAME_PLACE_IOU,
            |thing, new| overlap(thing, new) >= SAME_THING_IOU,
        ];
        for is_same in passes {
            for (detection, thing_of) in found.iter().zip(&mut thing_of).filter(|(_, thing)| thing.is_none()) {
                *thing_of =
                    (0..taken.len()).find(|&thing| !taken[thing] && is_same(&self.things[thing].seen, detection));
                if let Some(thing) = *thing_of {
                    taken[thing] = true;
                }
            }
        }
        for (thing, _) in self.things.iter_mut().zip(&taken).filter(|(_, taken)| !**taken) {
            thing.missing += 1;
            if thing.missing == LEFT_AFTER_FRAMES {
                tell(Change::Left, &thing.seen);
            }
        }
        for (detection, thing) in found.iter().zip(thing_of) {
            match thing.map(|thing| &mut self.things[thing]) {
                None => {
                    tell(Change::Appeared, detection);
                    self.things.push(Thing { seen: detection.clone(), missing: 0 });
                }
                Some(thing) => {
                    if thing.seen.class != detection.class {
                        tell(Change::Changed, detection);
                    }
                    *thing = Thing { seen: detection.clone(), missing: 0 };
                }
            }
        }
        self.things.retain(|thing| thing.missing < LEFT_AFTER_FRAMES);
    }

    /// All things that have not left, as they were last seen.
    pub(super) fn things(&self) -> impl Iterator<Item = &Detection> {
        self.things.iter().map(|thing| &thing.seen)
    }

    /// Notes a thing that an earlier process has told of.
    pub(super) fn recall(&mut self, seen: Detection) {
        self.things.push(Thing { seen, missing: 0 });
    }
}

/// How far two things lie in the same place, from 0 to 1; a statement about the whole picture lies where all of them do.
fn overlap(a: &Detection, b: &Detection) -> f32 {
    match (a.bounds(), b.bounds()) {
        (Some(a), Some(b)) => a.iou(&b),
        (None, None) => 1.0,
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{detection::Geometry, geometry::BoxPx};

    fn thing(class: usize, x: f32) -> Detection {
        let bounds = BoxPx { x1: x, y1: 0.0, x2: x + 10.0, y2: 10.0 };
        Detection {
            class,
            name: class.to_string().into(),
            confidence: 0.9,
            geometry: Geometry::Box(bounds),
            track_id: None,
        }
    }

    fn told(presence: &mut Presence, found: &[Detection]) -> Vec<(Change, usize)> {
        let mut told = Vec::new();
        presence.update(found, |change, detection| told.push((change, detection.class)));
        told
    }

    #[test]
    fn a_thing_appears_once_and_leaves_once() {
        let mut presence = Presence::default();
        assert_eq!(told(&mut presence, &[thing(1, 0.0)]), [(Change::Appeared, 1)]);
        for step in 1..5 {
            assert_eq!(told(&mut presence, &[thing(1, step as f32)]), []);
        }
        assert_eq!(told(&mut presence, &[]), []);
        assert_eq!(told(&mut presence, &[]), []);
        assert_eq!(told(&mut presence, &[]), [(Change::Left, 1)]);
        assert_eq!(told(&mut presence, &[]), []);
        assert!(presence.things.is_empty());
    }

    #[test]
    fn a_detector_that_wavers_tells_nothing() {
        let mut presence = Presence::default();
        told(&mut presence, &[thing(1, 0.0)]);
        for _ in 0..10 {
            assert_eq!(told(&mut presence, &[]), []);
            assert_eq!(told(&mut presence, &[]), []);
            assert_eq!(told(&mut presence, &[thing(1, 0.0)]), []);
        }
    }

    #[test]
    fn another_class_in_the_same_place_is_a_change() {
        let mut presence = Presence::default();
        told(&mut presence, &[thing(1, 0.0), thing(2, 50.0)]);
        assert_eq!(told(&mut presence, &[thing(3, 1.0), thing(2, 50.0)]), [(Change::Changed, 3)]);
        assert_eq!(told(&mut presence, &[thing(2, 50.0), thing(3, 0.0)]), []);
    }

    #[test]
    fn two_of_a_kind_are_two() {
        let mut presence = Presence::default();
        assert_eq!(told(&mut presence, &[thing(1, 0.0), thing(1, 1.0)]).len(), 2);
        assert_eq!(told(&mut presence, &[thing(1, 1.0), thing(1, 100.0)]), [(Change::Appeared, 1)]);
    }
}
