//! Wall time, attached at the edge: inside the house every moment is an [`Instant`].
//!
//! A [`Reading`] pairs both clocks at one moment, so that a wall clock that is set later changes what is said from then
//! on, and never the order or the distance of moments inside one message.

use std::{path::Path, time::Instant};

use jiff::Timestamp;

use crate::sys;

/// Both clocks, read at the same moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// The monotonic clock.
    pub instant: Instant,
    /// The wall clock.
    pub timestamp: Timestamp,
    /// Whether the wall clock follows a time server.
    pub synchronized: bool,
}

impl Reading {
    /// Reads the clocks now.
    pub fn now() -> Self {
        Self { instant: Instant::now(), timestamp: Timestamp::now(), synchronized: synchronized() }
    }

    /// The wall time of a moment, as this reading sees it: RFC 3339, UTC, microseconds.
    pub fn rfc3339(&self, moment: Instant) -> String {
        let timestamp = if moment <= self.instant {
            self.timestamp.checked_sub(self.instant - moment)
        } else {
            self.timestamp.checked_add(moment - self.instant)
        };
        format!("{:.6}", timestamp.unwrap_or(Timestamp::UNIX_EPOCH))
    }
}

/// The kernel knows, whichever daemon steers the clock; a sandbox may forbid to ask it, then systemd-timesyncd's marker
/// has to do.
fn synchronized() -> bool {
    sys::clock_synchronized().unwrap_or_else(|| Path::new("/run/systemd/timesync/synchronized").exists())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn moments_keep_their_distance() {
        let instant = Instant::now() + Duration::from_secs(10);
        let reading = Reading { instant, timestamp: "2026-03-01T00:00:00.5Z".parse().unwrap(), synchronized: true };
        assert_eq!(reading.rfc3339(instant), "2026-03-01T00:00:00.500000Z");
        assert_eq!(reading.rfc3339(instant - Duration::from_micros(1_500_001)), "2026-02-28T23:59:58.999999Z");
        assert_eq!(reading.rfc3339(instant + Duration::from_millis(500)), "2026-03-01T00:00:01.000000Z");
    }

    #[test]
    fn a_reading_is_now() {
        let reading = Reading::now();
        let said: Timestamp = reading.rfc3339(reading.instant).parse().unwrap();
        assert!(said.duration_since(Timestamp::now()).abs() < jiff::SignedDuration::from_secs(5));
    }
}
