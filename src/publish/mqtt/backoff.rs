//! How long to wait before the next attempt: pure, the randomness comes in as a seed.

use std::time::Duration;

use crate::random::Rng;

/// The first wait is at most this long.
const FIRST: Duration = Duration::from_millis(500);
/// Never shorter, so that a refusal at once does not become a busy loop.
const SHORTEST: Duration = Duration::from_millis(100);
/// Longest wait while an outage is short: a broker that was restarted is found again within ten seconds.
const LONGEST_EARLY: Duration = Duration::from_secs(5);
/// Longest wait afterwards.
const LONGEST: Duration = Duration::from_secs(30);
/// An outage is short for so long.
const EARLY: Duration = Duration::from_secs(300);
/// A connection that held so long was a good one: the next wait starts from the beginning.
const STABLE: Duration = Duration::from_secs(10);

/// Exponential back-off with full jitter: each wait is drawn evenly from zero to a ceiling that doubles, so that a
/// hundred boxes do not come back to a restarted broker at the same moment.
#[derive(Debug)]
pub(super) struct Backoff {
    doublings: u32,
    random: Rng,
}

impl Backoff {
    pub(super) fn new(seed: u64) -> Self {
        Self { doublings: 0, random: Rng::new(seed, 0) }
    }

    /// The connection was lost after it had held for `up`.
    pub(super) fn was_up(&mut self, up: Duration) {
        if up >= STABLE {
            self.doublings = 0;
        }
    }

    /// The wait before the next attempt, `outage` after the link was lost. What heals when the broker comes back is tried
    /// again soon; what waits for a person (`patient`: a wrong password, a wrong certificate) may take the full time, and
    /// brokers that lock out after many wrong passwords are spared.
    pub(super) fn wait(&mut self, outage: Duration, patient: bool) -> Duration {
        let longest = if patient || outage > EARLY { LONGEST } else { LONGEST_EARLY };
        let ceiling = FIRST.saturating_mul(1 << self.doublings.min(16)).min(longest);
        self.doublings += 1;
        ceiling.mul_f64(self.random.fraction()).max(SHORTEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_their_ceilings_and_are_spread() {
        for (outage, patient, ceiling) in
            [(0, false, LONGEST_EARLY), (0, true, LONGEST), (301, false, LONGEST), (301, true, LONGEST)]
        {
            let mut backoff = Backoff::new(7);
            assert!(backoff.wait(Duration::ZERO, patient) <= FIRST);
            let waits: Vec<_> = (0..2000).map(|_| backoff.wait(Duration::from_secs(outage), patient)).collect();
            assert!(waits.iter().all(|wait| (SHORTEST..=ceiling).contains(wait)));
            assert!(waits[10..].iter().any(|wait| *wait > ceiling.mul_f64(0.95)));
            let mean = waits[10..].iter().sum::<Duration>() / 1990;
            assert!((mean.as_secs_f64() / ceiling.as_secs_f64() - 0.5).abs() < 0.05, "{mean:?}");
        }
    }

    #[test]
    fn only_a_stable_connection_starts_afresh() {
        let mut backoff = Backoff::new(1);
        for _ in 0..10 {
            backoff.wait(Duration::ZERO, false);
        }
        backoff.was_up(Duration::from_secs(1));
        assert_eq!(backoff.doublings, 10);
        backoff.was_up(STABLE);
        assert_eq!(backoff.doublings, 0);
    }
}
