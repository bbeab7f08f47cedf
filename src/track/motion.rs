//! How a thing moves: a Kalman filter of constant velocity for each axis, with the time between two frames as it was.
//!
//! The axes of a box are independent of each other in the model that trackers commonly use, so that two filters of two
//! states each say the same as one of four. An edge of a box that is cut off, by the border of the picture or by what stands
//! before the thing, does not move with the thing: the filter then goes by the other edge.

use serde::{Deserialize, Serialize};

/// Standard deviation of a detected centre, in box sizes.
const MEASURED: f32 = 0.04;
/// How much a thing's velocity wanders in a second, in box sizes per second.
const WANDERS: f32 = 1.5;
/// How much it wanders besides, as a share of the velocity: belts start and stop.
const WANDERS_SHARE: f32 = 1.0;
/// A deviation beyond so many standard deviations is no noise: the thing moves otherwise than it did.
const SURPRISE: f32 = 3.0;
/// The most that one surprise widens the filter: variances times so much.
const SURPRISE_MAX: f32 = 100.0;
/// An extent that differs by more than this share has one edge cut off.
const CUT: f32 = 0.08;
/// How fast the extent follows what is detected, as a share a frame.
const EXTENT_GAIN: f32 = 0.3;
/// The same while an edge is cut off.
const EXTENT_GAIN_CUT: f32 = 0.08;
/// Velocities are bounded by this, in pixels per second, and positions in pixels.
const LARGEST: f32 = 1e6;

/// One axis of a box: where its centre is, how fast it moves, and how sure that is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Axis {
    /// Centre in pixels.
    pub(super) at: f32,
    /// Pixels per second.
    #[serde(rename = "v")]
    pub(super) velocity: f32,
    /// Width or height in pixels, more than zero.
    #[serde(rename = "e")]
    pub(super) extent: f32,
    /// Variance of `at`.
    #[serde(rename = "a")]
    var_at: f32,
    /// Covariance of both.
    #[serde(rename = "c")]
    covar: f32,
    /// Variance of `velocity`.
    #[serde(rename = "w")]
    var_velocity: f32,
}

/// What was detected on one axis.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    /// The lower edge in pixels.
    pub(super) low: f32,
    /// The upper edge.
    pub(super) high: f32,
    /// Where the picture ends; the other border is at zero.
    pub(super) border: f32,
}

impl Span {
    /// Its middle.
    pub(super) fn centre(self) -> f32 {
        (self.low + self.high) / 2.0
    }

    /// Its length, at least a pixel.
    pub(super) fn extent(self) -> f32 {
        (self.high - self.low).max(1.0)
    }

    /// Whether the lower and the upper edge lie at the border of the picture.
    fn cut(self) -> (bool, bool) {
        (self.low < 1.0, self.high > self.border - 1.0)
    }
}

impl Axis {
    /// A thing that was seen once. `scale` is the size of its box, `velocity` what is expected, `spread` the standard
    /// deviation of that, both in pixels per second.
    pub(super) fn new(span: Span, scale: f32, velocity: f32, spread: f32) -> Self {
        Self {
            at: span.centre(),
            velocity,
            extent: span.extent(),
            var_at: square(MEASURED * scale),
            covar: 0.0,
            var_velocity: square(spread),
        }
    }

    /// Goes on by so many seconds.
    pub(super) fn predict(&mut self, seconds: f32, scale: f32) {
        let wanders = square(WANDERS * scale) + square(WANDERS_SHARE * self.velocity);
        self.at = bounded(self.at + self.velocity * seconds);
        self.var_at +=
            seconds * (2.0 * self.covar + seconds * self.var_velocity) + wanders * seconds * seconds * seconds / 3.0;
        self.covar += seconds * self.var_velocity + wanders * seconds * seconds / 2.0;
        self.var_velocity += wanders * seconds;
        self.bound();
    }

    /// Goes by what others do that move alike: it moved by `step` in so many seconds.
    pub(super) fn follow(&mut self, step: f32, seconds: f32, scale: f32) {
        self.at = bounded(self.at + step);
        if seconds > 0.0 {
            self.velocity = bounded(step / seconds);
        }
        self.var_at += square(WANDERS * scale) * seconds * seconds;
        self.bound();
    }

    /// After a gap it is found to be here; how fast it is now, nobody knows.
    pub(super) fn carry(&mut self, at: f32, scale: f32) {
        self.at = bounded(at);
        self.var_at = square(MEASURED * scale);
        self.covar = 0.0;
        self.bound();
    }

    /// Learns what was detected.
    pub(super) fn observe(&mut self, span: Span, scale: f32) {
        let (low, high) = self.deviations(span);
        let change = span.extent() - self.extent;
        let (cut_low, cut_high) = span.cut();
        let is_cut = change.abs() > CUT * self.extent;
        // -1: the upper edge is at fault, 1: the lower one, 0: neither.
        let (deviation, fault) = match (cut_low, cut_high) {
            (true, false) => (high, 1.0),
            (false, true) => (low, -1.0),
            (false, false) if is_cut && low.abs() < high.abs() => (low, -1.0),
            (false, false) if is_cut => (high, 1.0),
            _ => ((low + high) / 2.0, 0.0),
        };
        self.correct(deviation, square(MEASURED * scale));
        let gain = match fault {
            0.0 => EXTENT_GAIN,
            // What comes into the picture is at least as large as what is seen of it.
            _ if (cut_low || cut_high) && change > 0.0 => 1.0,
            _ => EXTENT_GAIN_CUT,
        };
        let grown = gain * change;
        self.extent = (self.extent + grown).max(1.0);
        self.at = bounded(self.at - fault * grown / 2.0);
    }

    /// How far the detected edges lie from where they should be.
    pub(super) fn deviations(&self, span: Span) -> (f32, f32) {
        (span.low - (self.at - self.extent / 2.0), span.high - (self.at + self.extent / 2.0))
    }

    /// Standard deviation of the centre in pixels.
    pub(super) fn spread(&self) -> f32 {
        self.var_at.max(0.0).sqrt()
    }

    /// Whether all numbers are such as this filter makes.
    pub(super) fn is_sound(&self) -> bool {
        let all = [self.at, self.velocity, self.extent, self.var_at, self.covar, self.var_velocity];
        all.iter().all(|number| number.is_finite())
            && self.extent >= 1.0
            && self.var_at >= 0.0
            && self.var_velocity >= 0.0
    }

    fn correct(&mut self, deviation: f32, noise: f32) {
        let expected = self.var_at + noise;
        let surprise = square(deviation) / (square(SURPRISE) * expected);
        if surprise > 1.0 {
            let factor = surprise.min(SURPRISE_MAX);
            self.var_at *= factor;
            self.covar *= factor;
            self.var_velocity *= factor;
        }
        let total = self.var_at + noise;
        let (gain, gain_velocity) = (self.var_at / total, self.covar / total);
        self.at = bounded(self.at + gain * deviation);
        self.velocity = bounded(self.velocity + gain_velocity * deviation);
        self.var_velocity -= gain_velocity * self.covar;
        self.covar *= 1.0 - gain;
        self.var_at *= 1.0 - gain;
        self.bound();
    }

    /// Keeps the variances within what single precision can tell apart.
    fn bound(&mut self) {
        self.var_at = self.var_at.clamp(0.0, LARGEST);
        self.var_velocity = self.var_velocity.clamp(0.0, square(LARGEST));
        let largest = (self.var_at * self.var_velocity).sqrt();
        self.covar = self.covar.clamp(-largest, largest);
    }
}

pub(super) fn square(number: f32) -> f32 {
    number * number
}

fn bounded(number: f32) -> f32 {
    number.clamp(-LARGEST, LARGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(low: f32, high: f32) -> Span {
        Span { low, high, border: 1000.0 }
    }

    #[test]
    fn a_steady_motion_is_known_after_a_few_frames_of_any_distance() {
        let mut axis = Axis::new(span(100.0, 140.0), 40.0, 0.0, 400.0);
        let mut at = 100.0;
        for seconds in [0.03, 0.1, 0.03, 0.06, 0.2, 0.03] {
            at += 200.0 * seconds;
            axis.predict(seconds, 40.0);
            axis.observe(span(at, at + 40.0), 40.0);
        }
        assert!((axis.velocity - 200.0).abs() < 4.0, "{axis:?}");
        axis.predict(0.5, 40.0);
        assert!((axis.at - (at + 20.0 + 100.0)).abs() < 4.0, "{axis:?}");
    }

    #[test]
    fn what_comes_out_from_behind_the_border_is_as_fast_as_its_inner_edge() {
        let mut axis = Axis::new(span(0.0, 10.0), 40.0, 0.0, 400.0);
        for step in 1..5 {
            axis.predict(0.05, 40.0);
            axis.observe(span(0.0, 10.0 + 10.0 * step as f32), 40.0);
        }
        assert!((axis.velocity - 200.0).abs() < 20.0, "{axis:?}");
    }

    #[test]
    fn what_goes_behind_a_post_keeps_its_velocity() {
        let mut axis = Axis::new(span(100.0, 140.0), 40.0, 200.0, 20.0);
        for step in 1..=9 {
            let low = 100.0 + 10.0 * step as f32;
            axis.predict(0.05, 40.0);
            axis.observe(span(low, (low + 40.0).min(200.0)), 40.0);
        }
        assert!((axis.velocity - 200.0).abs() < 20.0, "{axis:?}");
    }

    #[test]
    fn a_sudden_stop_is_believed_at_once() {
        let mut axis = Axis::new(span(100.0, 140.0), 40.0, 200.0, 20.0);
        for step in 1..=20 {
            let low = 100.0 + 10.0 * step.min(15) as f32;
            axis.predict(0.05, 40.0);
            axis.observe(span(low, low + 40.0), 40.0);
        }
        assert!(axis.velocity.abs() < 30.0, "{axis:?}");
    }
}
