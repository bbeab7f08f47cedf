//! Signs of life: each part of the daemon counts while it goes around, and one that has stopped counting hangs.
//!
//! What is a hang and what is not: a camera that is absent and a broker that is away are waited for by threads that go
//! around, and count. A part counts no longer where it waits for something that it must not wait for, or not that long.
//! Nothing here reads a clock; what follows from a hang is left to the supervisor.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
    time::Instant,
};

/// A thread that has ended because its work was done no longer has to count.
const ENDED: u64 = u64::MAX;

/// Silence is added up in steps of at most this. So time in which nobody looked, because the whole process or machine stood
/// still, is not held against a part that had no chance to count either.
const STEP_MAX: Duration = Duration::from_secs(1);

/// A counter that its owner raises while it goes around.
#[derive(Clone, Debug, Default)]
pub(super) struct Beat(Arc<AtomicU64>);

impl Beat {
    /// Shows that the part goes around.
    pub(super) fn tick(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Shows that the part has come to an orderly end.
    pub(super) fn end(&self) {
        self.0.store(ENDED, Ordering::Relaxed);
    }

    /// How often it went around.
    pub(super) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Reads how far a part is.
type Count<'a> = Box<dyn Fn() -> u64 + 'a>;

/// One part and how long it has been silent.
struct Pulse<'a> {
    part: String,
    limit: Duration,
    count: Count<'a>,
    seen: u64,
    silent: Duration,
}

/// The parts that have to show signs of life.
pub(super) struct Pulses<'a> {
    parts: Vec<Pulse<'a>>,
    looked_at: Instant,
}

impl<'a> Pulses<'a> {
    /// No parts yet.
    pub(super) fn new(now: Instant) -> Self {
        Self { parts: Vec::new(), looked_at: now }
    }

    /// Watches over one more part, named as a person would, which counts at least once in `limit` whatever happens
    /// outside.
    pub(super) fn watch(&mut self, part: impl Into<String>, limit: Duration, count: impl Fn() -> u64 + 'a) {
        let seen = count();
        self.parts.push(Pulse { part: part.into(), limit, count: Box::new(count), seen, silent: Duration::ZERO });
    }

    /// Gives a part another limit.
    pub(super) fn allow(&mut self, part: &str, limit: Duration) {
        self.parts.iter_mut().filter(|pulse| pulse.part == part).for_each(|pulse| pulse.limit = limit);
    }

    /// How long a part has been silent.
    pub(super) fn silence_of(&self, part: &str) -> Duration {
        self.parts.iter().find(|pulse| pulse.part == part).map_or(Duration::ZERO, |pulse| pulse.silent)
    }

    /// Looks at all of them.
    pub(super) fn look(&mut self, now: Instant) {
        let step = now.saturating_duration_since(self.looked_at).min(STEP_MAX);
        self.looked_at = now;
        for pulse in &mut self.parts {
            let count = (pulse.count)();
            if count != pulse.seen || count == ENDED {
                (pulse.seen, pulse.silent) = (count, Duration::ZERO);
            } else {
                pulse.silent = pulse.silent.saturating_add(step);
            }
        }
    }

    /// The parts that have been silent beyond their limits, and for how long beyond.
    pub(super) fn hanging(&self) -> impl Iterator<Item = (&str, Duration)> {
        let beyond = |pulse: &'_ Pulse<'_>| pulse.silent.checked_sub(pulse.limit);
        self.parts.iter().filter_map(move |pulse| Some((pulse.part.as_str(), beyond(pulse)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: Duration = Duration::from_millis(200);
    const LIMIT: Duration = Duration::from_secs(20);

    /// Looks every 200 ms for so long; before each look `work` gets the milliseconds since the beginning.
    fn pass(pulses: &mut Pulses<'_>, start: Instant, from: Duration, to: Duration, work: impl Fn(u128)) {
        let mut at = from;
        while at < to {
            at += LOOK;
            work(at.as_millis());
            pulses.look(start + at);
        }
    }

    fn hanging(pulses: &Pulses<'_>) -> Vec<String> {
        pulses.hanging().map(|(part, _)| part.to_owned()).collect()
    }

    /// The longest pauses between two signs of life that the threads are made to keep: five seconds of an absent camera
    /// that a person has to mend, one of the network, 600 ms of a detector without frames.
    #[test]
    fn an_hour_of_the_longest_pauses_is_no_hang() {
        let start = Instant::now();
        let (camera, network, detector) = (Beat::default(), Beat::default(), Beat::default());
        let mut pulses = Pulses::new(start);
        pulses.watch("camera", LIMIT, || camera.count());
        pulses.watch("network", LIMIT, || network.count());
        pulses.watch("model", LIMIT, || detector.count());
        for minute in 0..60 {
            let minute = Duration::from_secs(minute * 60);
            pass(&mut pulses, start, minute, minute + Duration::from_secs(60), |ms| {
                for (beat, every_ms) in [(&camera, 5000), (&network, 1000), (&detector, 600)] {
                    if ms % every_ms == 0 {
                        beat.tick();
                    }
                }
            });
            assert!(hanging(&pulses).is_empty());
        }
    }

    #[test]
    fn a_part_that_stops_counting_hangs_after_its_limit() {
        let start = Instant::now();
        let (camera, model) = (Beat::default(), Beat::default());
        let mut pulses = Pulses::new(start);
        pulses.watch("camera", LIMIT, || camera.count());
        pulses.watch("model", LIMIT, || model.count());
        pass(&mut pulses, start, Duration::ZERO, Duration::from_millis(19_800), |_| model.tick());
        assert!(hanging(&pulses).is_empty());
        pass(&mut pulses, start, Duration::from_millis(19_800), Duration::from_secs(21), |_| model.tick());
        assert_eq!(hanging(&pulses), ["camera"]);
        assert_eq!(pulses.hanging().next().unwrap().1, Duration::from_secs(1));
        assert_eq!(
            (pulses.silence_of("camera"), pulses.silence_of("model")),
            (Duration::from_secs(21), Duration::ZERO)
        );
        pulses.allow("camera", 2 * LIMIT);
        assert!(hanging(&pulses).is_empty(), "it may be silent for longer now");
        pulses.allow("camera", LIMIT);
        camera.tick();
        pulses.look(start + Duration::from_millis(21_200));
        assert!(hanging(&pulses).is_empty());
    }

    #[test]
    fn an_end_is_no_hang() {
        let start = Instant::now();
        let camera = Beat::default();
        let mut pulses = Pulses::new(start);
        pulses.watch("camera", LIMIT, || camera.count());
        camera.end();
        pass(&mut pulses, start, Duration::ZERO, Duration::from_secs(60), |_| ());
        assert!(hanging(&pulses).is_empty());
    }

    #[test]
    fn a_machine_that_stood_still_is_no_hang() {
        let start = Instant::now();
        let camera = Beat::default();
        let mut pulses = Pulses::new(start);
        pulses.watch("camera", LIMIT, || camera.count());
        pulses.look(start + Duration::from_secs(3600));
        assert!(hanging(&pulses).is_empty());
    }
}
