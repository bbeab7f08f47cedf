//! What an imperfect detector makes of the truth: boxes that tremble, scores that vary, detections that flicker, mistakes.

use std::{sync::Arc, time::Duration};

use super::{Thing, noise};
use crate::{
    detection::{Detection, Geometry},
    geometry::{BoxPx, Size},
    random::Rng,
};

/// How well a camera and its model see. Shares are in `0..=1`.
#[derive(Clone, Debug, PartialEq)]
pub struct EyeSettings {
    /// Another seed, other mistakes.
    pub seed: u64,
    /// Names of the classes, as the scene numbers them.
    pub classes: Vec<String>,
    /// The picture.
    pub size: Size,
    /// From one frame to the next, on average.
    pub interval: Duration,
    /// An interval is longer or shorter by this share of it at most.
    pub interval_spread: f64,
    /// Share of frames that never come.
    pub dropped: f64,
    /// Standard deviation of each edge of a box, in pixels.
    pub jitter_px: f64,
    /// Score of a thing that is seen well, on average, and its standard deviation.
    pub confidence: (f64, f64),
    /// Share of the frames in which a thing is not reported, or with a score below 0.3: in half of them each.
    pub flicker: f64,
    /// So many frames in a row at the least share one fate; at least 1.
    pub flicker_frames: u64,
    /// Things that are not there, on average in a frame; at most 1.
    pub false_positives: f64,
    /// Share of detections with another class.
    pub wrong_class: f64,
    /// What shows less than this share of itself is not reported.
    pub visible_least: f32,
}

impl Default for EyeSettings {
    fn default() -> Self {
        Self {
            seed: 0,
            classes: vec!["board".to_owned(), "flaw".to_owned()],
            size: Size { width: 640, height: 480 },
            interval: Duration::from_micros(66_667),
            interval_spread: 0.1,
            dropped: 0.0,
            jitter_px: 1.0,
            confidence: (0.8, 0.06),
            flicker: 0.0,
            flicker_frames: 1,
            false_positives: 0.0,
            wrong_class: 0.0,
            visible_least: 0.3,
        }
    }
}

/// When a frame is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shot {
    /// Its number; the numbers of dropped frames are left out.
    pub number: u64,
    /// When, since the scene began.
    pub at: Duration,
}

/// A camera and its model.
#[derive(Clone, Debug)]
pub struct Eye {
    settings: EyeSettings,
    names: Vec<Arc<str>>,
    frames: Rng,
    shot: Shot,
}

impl Eye {
    /// One that has taken no frame. There is at least one class.
    pub fn new(settings: EyeSettings) -> Self {
        let names = settings.classes.iter().map(|name| name.as_str().into()).collect();
        let frames = Rng::new(settings.seed, 4);
        Self { settings, names, frames, shot: Shot { number: 0, at: Duration::ZERO } }
    }

    /// Waits for the next frame that comes.
    pub fn shoot(&mut self) -> Shot {
        let EyeSettings { interval, interval_spread, dropped, .. } = self.settings;
        loop {
            let spread = interval_spread.clamp(0.0, 0.9) * (2.0 * self.frames.fraction() - 1.0);
            self.shot.at += interval.mul_f64(1.0 + spread);
            self.shot.number += 1;
            if self.frames.fraction() >= dropped.min(0.9) {
                return self.shot;
            }
        }
    }

    /// What the model reports of the frame that was taken last, best first, low scores included.
    pub fn see(&self, truth: &[Thing]) -> Vec<Detection> {
        let EyeSettings { seed, false_positives, visible_least, .. } = self.settings;
        let mut found: Vec<_> = truth
            .iter()
            .filter(|thing| thing.visible >= visible_least && thing.visible > 0.0)
            .filter_map(|thing| self.report(thing))
            .collect();
        let mut rng = Rng::new(seed ^ 5, self.shot.number);
        if rng.fraction() < false_positives {
            found.push(self.mistake(&mut rng));
        }
        found.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
        found
    }

    /// Whether a thing is seen as it is in the frame that was taken last, as far as it can be: it does not flicker.
    pub fn catches(&self, id: u64) -> bool {
        let EyeSettings { seed, flicker, flicker_frames, .. } = self.settings;
        // Every thing has its own rhythm, so that not all flicker at once.
        let phase = Rng::new(seed ^ 6, id).bits() % flicker_frames.max(1);
        let stretch = (self.shot.number + phase) / flicker_frames.max(1);
        Rng::new(seed ^ id.wrapping_mul(0x2545_f491_4f6c_dd1d), stretch).fraction() >= flicker
    }

    fn report(&self, thing: &Thing) -> Option<Detection> {
        let EyeSettings { seed, confidence: (mean, deviation), jitter_px, wrong_class, .. } = self.settings;
        let mut rng = Rng::new(seed ^ 7 ^ (thing.id << 8), self.shot.number);
        let mut score = mean + deviation * noise(&mut rng);
        let shift = |rng: &mut Rng| (jitter_px * noise(rng)) as f32;
        let BoxPx { x1, y1, x2, y2 } = thing.shown;
        let (x1, y1, x2, y2) = (x1 + shift(&mut rng), y1 + shift(&mut rng), x2 + shift(&mut rng), y2 + shift(&mut rng));
        let class = if rng.fraction() < wrong_class { self.other(thing.class, &mut rng) } else { thing.class };
        let (hidden, low) = (rng.chance(50), 0.05 + 0.24 * rng.fraction());
        if !self.catches(thing.id) {
            if hidden {
                return None;
            }
            score = low;
        } else {
            score *= 0.5 + 0.5 * f64::from(thing.visible);
        }
        let bounds = BoxPx { x1: x1.min(x2), y1: y1.min(y2), x2: x1.max(x2), y2: y1.max(y2) };
        Some(self.detection(class, score, bounds))
    }

    fn mistake(&self, rng: &mut Rng) -> Detection {
        let Size { width, height } = self.settings.size;
        let side = |rng: &mut Rng, whole: u32| whole as f32 * (0.03 + 0.2 * rng.fraction() as f32);
        let (x, y) = (rng.fraction() as f32 * width as f32, rng.fraction() as f32 * height as f32);
        let bounds = BoxPx::from_center(x, y, side(rng, width), side(rng, height));
        let class = rng.below(i32::try_from(self.names.len()).unwrap_or(i32::MAX)) as usize;
        self.detection(class, 0.1 + 0.5 * rng.fraction(), bounds)
    }

    /// Another class than this one, where there is another.
    fn other(&self, class: usize, rng: &mut Rng) -> usize {
        let others = i32::try_from(self.names.len()).unwrap_or(i32::MAX) - 1;
        (class + 1 + rng.below(others) as usize) % self.names.len()
    }

    fn detection(&self, class: usize, score: f64, bounds: BoxPx) -> Detection {
        let Size { width, height } = self.settings.size;
        Detection {
            class,
            name: Arc::clone(&self.names[class]),
            confidence: score.clamp(0.0, 1.0) as f32,
            geometry: Geometry::Box(bounds.clipped(width as f32, height as f32)),
            track_id: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thing(id: u64, visible: f32) -> Thing {
        let bounds = BoxPx { x1: 100.0, y1: 100.0, x2: 200.0, y2: 180.0 };
        Thing { id, on: None, class: 0, bounds, shown: bounds, visible }
    }

    fn share(found: usize, of: usize) -> f64 {
        found as f64 / of as f64
    }

    #[test]
    fn frames_are_dropped_and_detections_flicker_as_often_as_asked_for() {
        for flicker_frames in [1, 4] {
            let settings = EyeSettings { dropped: 0.05, flicker: 0.1, flicker_frames, ..EyeSettings::default() };
            let mut eye = Eye::new(settings);
            let (mut good, mut low) = (0, 0);
            for _ in 0..20_000 {
                eye.shoot();
                match eye.see(&[thing(9, 1.0)]).first() {
                    Some(found) if found.confidence >= 0.5 => good += 1,
                    Some(_) => low += 1,
                    None => {}
                }
            }
            assert!((0.88..0.92).contains(&share(good, 20_000)), "{good} good");
            assert!((0.04..0.06).contains(&share(low, 20_000)), "{low} low");
            assert!((0.045..0.055).contains(&(1.0 - share(20_000, usize::try_from(eye.shot.number).unwrap()))));
            let mean = eye.shot.at / u32::try_from(eye.shot.number).unwrap();
            assert!((66_000..67_500).contains(&mean.as_micros()), "{mean:?}");
        }
    }

    #[test]
    fn what_is_hidden_is_not_reported_and_mistakes_are_made() {
        let settings = EyeSettings { false_positives: 0.2, wrong_class: 0.1, ..EyeSettings::default() };
        let mut eye = Eye::new(settings);
        let (mut ghosts, mut wrong) = (0, 0);
        for _ in 0..10_000 {
            eye.shoot();
            ghosts += eye.see(&[thing(1, 0.1)]).len();
            wrong +=
                eye.see(&[thing(1, 1.0)]).iter().filter(|found| found.confidence > 0.6 && found.class == 1).count();
        }
        assert!((1_800..2_200).contains(&ghosts), "{ghosts}");
        assert!((900..1_100).contains(&wrong), "{wrong}");
    }
}
