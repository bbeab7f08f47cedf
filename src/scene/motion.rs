//! Where a belt stands: it goes at changing speeds, stops, and backs up now and then.

use std::time::Duration;

use super::from_range;
use crate::random::Rng;

/// How a belt goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Its usual speed, in pixels per second.
    pub speed_px_s: f64,
    /// Times the usual speed, least and most.
    pub factor: (f64, f64),
    /// How long it keeps a speed, in seconds, least and most.
    pub hold_s: (f64, f64),
    /// How long it takes from one speed to the next, in seconds; at most the least of `hold_s`.
    pub ramp_s: f64,
    /// How often it stops, in a hundred changes of speed.
    pub stop_percent: i32,
    /// How often it backs up, in a hundred changes of speed.
    pub back_percent: i32,
    /// It never stands further behind the furthest place that it had reached, in pixels.
    pub back_px_max: f64,
}

impl Pace {
    /// With stops, backing up a little, and from a fifth to three times its usual speed.
    pub fn restless(speed_px_s: f64) -> Self {
        Self {
            speed_px_s,
            factor: (0.2, 3.0),
            hold_s: (0.5, 4.0),
            ramp_s: 0.3,
            stop_percent: 20,
            back_percent: 8,
            back_px_max: 120.0,
        }
    }

    /// Evenly, without a stop.
    pub fn even(speed_px_s: f64) -> Self {
        Self {
            speed_px_s,
            factor: (1.0, 1.0),
            hold_s: (1.0, 1.0),
            ramp_s: 0.0,
            stop_percent: 0,
            back_percent: 0,
            back_px_max: 0.0,
        }
    }
}

/// A belt at work.
#[derive(Clone, Debug)]
pub struct Motion {
    pace: Pace,
    rng: Rng,
    leg: Leg,
    furthest_px: f64,
}

/// From one change of speed to the next: a ramp, then a hold.
#[derive(Clone, Copy, Debug)]
struct Leg {
    start_s: f64,
    end_s: f64,
    start_px: f64,
    speed_before: f64,
    speed: f64,
    ramp_s: f64,
}

impl Leg {
    /// Where the belt stands at a moment of this leg.
    fn position_px(&self, at_s: f64) -> f64 {
        let passed = at_s - self.start_s;
        let ramped = passed.min(self.ramp_s);
        let change = if self.ramp_s > 0.0 { (self.speed - self.speed_before) / self.ramp_s } else { 0.0 };
        let ramp_px = (self.speed_before + change * ramped / 2.0) * ramped;
        self.start_px + ramp_px + self.speed * (passed - ramped)
    }

    /// The furthest place of this leg.
    fn furthest_px(&self) -> f64 {
        let turns = self.speed_before > 0.0 && self.speed < 0.0;
        let turn_s = if turns { self.ramp_s * self.speed_before / (self.speed_before - self.speed) } else { 0.0 };
        self.position_px(self.start_s + turn_s).max(self.position_px(self.end_s))
    }
}

impl Motion {
    /// A belt that starts at its usual speed.
    pub fn new(seed: u64, pace: Pace) -> Self {
        let mut rng = Rng::new(seed, 1);
        let end_s = from_range(&mut rng, pace.hold_s);
        let speed = pace.speed_px_s;
        let leg = Leg { start_s: 0.0, end_s, start_px: 0.0, speed_before: speed, speed, ramp_s: 0.0 };
        Self { pace, rng, leg, furthest_px: 0.0 }
    }

    /// How far the belt has moved, in pixels. `at` never goes back.
    pub fn position_px(&mut self, at: Duration) -> f64 {
        let at_s = at.as_secs_f64();
        while at_s >= self.leg.end_s {
            self.furthest_px = self.furthest_px.max(self.leg.furthest_px());
            self.leg = self.next_leg();
        }
        self.leg.position_px(at_s)
    }

    fn next_leg(&mut self) -> Leg {
        let Pace { speed_px_s, factor, hold_s, ramp_s, stop_percent, back_percent, back_px_max } = self.pace;
        let last = self.leg;
        let (start_s, start_px) = (last.end_s, last.position_px(last.end_s));
        // All numbers are drawn whatever comes of them, so that one choice does not change the next.
        let mut hold = from_range(&mut self.rng, hold_s);
        let mut speed = speed_px_s * from_range(&mut self.rng, factor);
        let choice = self.rng.below(100);
        if choice < stop_percent {
            speed = 0.0;
        } else if choice < stop_percent + back_percent {
            let back = -speed.min(speed_px_s);
            // Both ramps, into it and out of it, go back as well.
            let room_px = back_px_max - (self.furthest_px - start_px) + back * ramp_s;
            if last.speed >= 0.0 && room_px > 0.0 {
                speed = back;
                hold = hold.min(ramp_s + room_px / -back);
            }
        }
        Leg { start_s, end_s: start_s + hold, start_px, speed_before: last.speed, speed, ramp_s: ramp_s.min(hold) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace {
        speed_px_s: 100.0,
        factor: (0.2, 3.0),
        hold_s: (0.5, 4.0),
        ramp_s: 0.3,
        stop_percent: 20,
        back_percent: 20,
        back_px_max: 150.0,
    };

    #[test]
    fn a_belt_keeps_within_its_speeds_stops_and_backs_up_within_its_limit() {
        let mut motion = Motion::new(3, PACE);
        let (mut before, mut furthest) = (0.0_f64, 0.0_f64);
        let (mut still, mut back, mut deepest, mut fastest) = (0, 0, 0.0_f64, 0.0_f64);
        for step in 1..200_000_u64 {
            let position = motion.position_px(Duration::from_millis(step * 10));
            let moved = position - before;
            assert!((-1.001..=3.001).contains(&moved), "{moved} px in 10 ms");
            still += usize::from(moved == 0.0);
            back += usize::from(moved < 0.0);
            furthest = furthest.max(position);
            deepest = deepest.max(furthest - position);
            fastest = fastest.max(moved);
            before = position;
        }
        assert!(still > 10_000 && back > 5_000, "{still} still, {back} back");
        assert!((100.0..=150.1).contains(&deepest), "{deepest} px behind");
        assert!(fastest > 2.9);
    }

    #[test]
    fn an_even_belt_is_where_its_speed_brings_it() {
        let mut motion = Motion::new(1, Pace::even(50.0));
        assert!((motion.position_px(Duration::from_secs(1000)) - 50_000.0).abs() < 1e-6);
    }
}
