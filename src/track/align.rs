//! After a gap: the things on a belt are put where the belt has gone, before anything else is matched.
//!
//! A gap is what is long beside the usual distance of two frames, so that a camera of few frames a second has none all the
//! time, and one of many has them early.

use super::{
    Room, Tracker,
    association::Expected,
    motion::Span,
    shift::{self, Gap, Remembered},
    unit,
};
use crate::geometry::{BoxPx, Size};

/// A gap is longer than so many usual distances of two frames.
const BLIND: f32 = 2.5;
/// By this factor the usual distance follows each that is longer or shorter.
const INTERVAL_STEP: f32 = 1.1;
/// The usual distance of two frames is within these seconds.
const INTERVAL_S: (f32, f32) = (1e-3, 60.0);

impl Tracker {
    /// Whether so many seconds since the frame before are a gap, in which a belt may have gone on by more than the distance
    /// of two things. Learns what is usual: by steps up and down, which ends at the median.
    pub(super) fn was_blind(&mut self, seconds: f32) -> bool {
        if seconds <= 0.0 {
            return false;
        }
        let Some(usual) = self.interval else {
            self.interval = Some(seconds.clamp(INTERVAL_S.0, INTERVAL_S.1));
            return false;
        };
        let next = seconds.clamp(usual / INTERVAL_STEP, usual * INTERVAL_STEP);
        self.interval = Some(next.clamp(INTERVAL_S.0, INTERVAL_S.1));
        seconds > BLIND * usual
    }

    /// Finds out where the belt has gone in a gap, and gives the things on it what was found of them. False where there is no
    /// belt, or nothing to go by.
    pub(super) fn align(&mut self, seconds: f32, size: Size) -> bool {
        let Room { candidates, expected, before, taken, remembered, telling, shifts, numbers, .. } = &mut self.room;
        let Some(course) = self.course.and_then(unit) else { return false };
        remembered.clear();
        for (at, (track, body)) in self.tracks.iter().zip(&self.bodies).enumerate() {
            let (x, y) = before[at];
            let is_in_picture = (0.0..size.width as f32).contains(&x.at) && (0.0..size.height as f32).contains(&y.at);
            if track.seen > 1 && body.missed <= 3 && is_in_picture {
                let expected = BoxPx::from_center(x.at, y.at, x.extent, y.extent);
                let BoxPx { x1, y1, x2, y2 } = if body.missed == 0 { body.seen } else { expected };
                let x = Span { low: x1, high: x2, border: size.width as f32 };
                let y = Span { low: y1, high: y2, border: size.height as f32 };
                remembered.push(Remembered { track: at, x, y, class: track.class });
            }
        }
        telling.clear();
        telling.extend_from_slice(candidates);
        numbers.clear();
        let along = |thing: &Remembered| {
            before[thing.track].0.velocity * course[0] + before[thing.track].1.velocity * course[1]
        };
        numbers.extend(remembered.iter().map(along));
        numbers.sort_unstable_by(f32::total_cmp);
        let Some(&speed) = numbers.get(numbers.len() / 2) else { return false };
        let gap = Gap { seconds, course, speed, size: [size.width as f32, size.height as f32] };
        let Some(step) = shift::find(remembered, telling, &gap, shifts) else { return false };
        for (at, body) in self.bodies.iter_mut().enumerate() {
            let scale = body.scale();
            body.x.carry(before[at].0.at + step[0], scale);
            body.y.carry(before[at].1.at + step[1], scale);
            body.seen_at = [body.x.at, body.y.at];
            expected[at] = Expected { x: body.x, y: body.y, back: None, step: [0.0; 2], ..expected[at] };
        }
        for thing in remembered.iter() {
            let found = candidates.iter().position(|other| !other.is_taken && shift::is_at(thing, other, step, &gap));
            if let Some(found) = found {
                candidates[found].is_taken = true;
                taken[thing.track] = Some(found);
            }
        }
        true
    }
}
