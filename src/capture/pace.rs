//! When the next picture of a source is due that could deliver faster: an absolute schedule on the monotonic clock.

use std::time::{Duration, Instant};

/// A schedule of evenly spaced pictures. Lateness of one picture does not shift those after it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pacer {
    interval: Duration,
    due: Option<Instant>,
}

impl Pacer {
    /// A schedule that begins with the first picture, which is due at once.
    pub(crate) fn new(interval: Duration) -> Self {
        Self { interval, due: None }
    }

    /// The time between two pictures.
    pub(crate) fn interval(&self) -> Duration {
        self.interval
    }

    /// How long until a picture is due.
    pub(crate) fn wait(&self, now: Instant) -> Duration {
        self.due.map_or(Duration::ZERO, |due| due.saturating_duration_since(now))
    }

    /// Notes that the picture that was due has been delivered. Turns that have gone by altogether are left out, so that
    /// a consumer that was away meets no burst.
    pub(crate) fn delivered(&mut self, now: Instant) {
        let due = self.due.unwrap_or(now);
        let late = now.saturating_duration_since(due).as_nanos() / self.interval.as_nanos().max(1);
        let turns = u32::try_from(late).unwrap_or(u32::MAX).saturating_add(1);
        self.due = Some(self.interval.checked_mul(turns).and_then(|ahead| due.checked_add(ahead)).unwrap_or(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn lateness_does_not_add_up() {
        let start = Instant::now();
        let mut pacer = Pacer::new(100 * MS);
        assert_eq!(pacer.wait(start), Duration::ZERO);
        pacer.delivered(start);
        assert_eq!(pacer.wait(start + 30 * MS), 70 * MS);
        // Each picture is taken 7 ms late, and the tenth is due at 1000 ms all the same.
        for turn in 1..10 {
            let now = start + turn * 100 * MS + 7 * MS;
            assert_eq!(pacer.wait(now), Duration::ZERO);
            pacer.delivered(now);
        }
        assert_eq!(pacer.wait(start + 999 * MS), MS);
    }

    #[test]
    fn turns_that_went_by_are_left_out() {
        let start = Instant::now();
        let mut pacer = Pacer::new(100 * MS);
        pacer.delivered(start);
        let now = start + 450 * MS;
        assert_eq!(pacer.wait(now), Duration::ZERO);
        pacer.delivered(now);
        assert_eq!(pacer.wait(now), 50 * MS);
    }
}
