//! Wall time, attached at the edge: inside the house every moment is an [`Instant`], or a [`Moment`] for code that has no
//! clock.
//!
//! A [`Reading`] pairs both clocks at one moment, so that a wall clock that is set later changes what is said from then
//! on, and never the order or the distance of moments inside one message. The [`Timeline`] of a process ties moments to
//! instants.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use jiff::{Timestamp, tz::TimeZone};

use crate::{moment::Moment, sys};

/// A clock that shows less was never set: the year 2020 began then, in seconds since 1970.
const CREDIBLE_FROM_SECONDS: i64 = 1_577_836_800;

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

    /// The wall time where this box stands, by the system's time zone: microseconds since 1970 began there. `None` where
    /// the clock was never set.
    pub fn local_micros(&self) -> Option<i64> {
        self.local_micros_in(&TimeZone::system())
    }

    fn local_micros_in(&self, zone: &TimeZone) -> Option<i64> {
        if self.timestamp.as_second() < CREDIBLE_FROM_SECONDS {
            return None;
        }
        let offset = zone.to_offset(self.timestamp);
        Some(self.timestamp.as_microsecond() + i64::from(offset.seconds()) * 1_000_000)
    }
}

/// What moments mean in this process: they are counted from its first reading.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Timeline {
    begun: Reading,
}

impl Timeline {
    /// Of a process that reads its clocks for the first time. It needs one and keeps to it.
    pub fn new(begun: Reading) -> Self {
        Self { begun }
    }

    /// The moment of an instant, also of one before the process began.
    pub fn moment(&self, instant: Instant) -> Moment {
        let begun = Moment::from_micros(self.begun.timestamp.as_microsecond());
        if instant >= self.begun.instant {
            begun + (instant - self.begun.instant)
        } else {
            begun - (self.begun.instant - instant)
        }
    }

    /// The instant of a moment; `None` for one before the process began, and for one that is out of reach.
    pub fn instant(&self, moment: Moment) -> Option<Instant> {
        let after = moment.micros().checked_sub(self.begun.timestamp.as_microsecond())?;
        self.begun.instant.checked_add(Duration::from_micros(u64::try_from(after).ok()?))
    }

    /// The wall time of a moment: RFC 3339, UTC, microseconds. For a moment of this process as `now` sees the clock; for
    /// one of an earlier process as the clock stood then.
    pub fn rfc3339(&self, now: &Reading, moment: Moment) -> String {
        self.instant(moment).map_or_else(
            || format!("{:.6}", Timestamp::from_microsecond(moment.micros()).unwrap_or(Timestamp::UNIX_EPOCH)),
            |instant| now.rfc3339(instant),
        )
    }
}

/// The kernel knows, whichever daemon steers the clock; a sandbox may forbid to ask it, then systemd-timesyncd's marker
/// has to do.
fn synchronized() -> bool {
    sys::clock_synchronized().unwrap_or_else(|| Path::new("/run/systemd/timesync/synchronized").exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_keep_their_distance() {
        let instant = Instant::now() + Duration::from_secs(10);
        let reading = Reading { instant, timestamp: "2026-03-01T00:00:00.5Z".parse().unwrap(), synchronized: true };
        assert_eq!(reading.rfc3339(instant), "2026-03-01T00:00:00.500000Z");
        assert_eq!(reading.rfc3339(instant - Duration::from_micros(1_500_001)), "2026-02-28T23:59:58.999999Z");
        assert_eq!(reading.rfc3339(instant + Duration::from_millis(500)), "2026-03-01T00:00:01.000000Z");
    }

    fn reading(timestamp: &str) -> Reading {
        let instant = Instant::now() + Duration::from_secs(10);
        Reading { instant, timestamp: timestamp.parse().unwrap(), synchronized: true }
    }

    #[test]
    fn moments_and_instants_are_two_words_for_the_same() {
        let begun = reading("2026-03-01T00:00:00.5Z");
        let timeline = Timeline::new(begun);
        for micros in [0, 1, 1_500_001, 86_400_000_000] {
            let instant = begun.instant + Duration::from_micros(micros);
            let moment = timeline.moment(instant);
            assert_eq!(moment.micros(), begun.timestamp.as_microsecond() + i64::try_from(micros).unwrap());
            assert_eq!(timeline.instant(moment), Some(instant));
        }
        let earlier = timeline.moment(begun.instant - Duration::from_secs(2));
        assert_eq!(timeline.moment(begun.instant).since(earlier), Duration::from_secs(2));
        assert_eq!(timeline.instant(earlier), None);
        assert_eq!(timeline.instant(Moment::from_micros(i64::MIN)), None);
    }

    #[test]
    fn moments_of_this_process_follow_a_clock_that_is_set_and_earlier_ones_do_not() {
        let begun = reading("2026-03-01T00:00:00Z");
        let timeline = Timeline::new(begun);
        let now = Reading {
            instant: begun.instant + Duration::from_secs(60),
            timestamp: "2026-03-01T02:01:00Z".parse().unwrap(),
            synchronized: true,
        };
        let moment = timeline.moment(begun.instant + Duration::from_secs(30));
        assert_eq!(timeline.rfc3339(&begun, moment), "2026-03-01T00:00:30.000000Z");
        assert_eq!(timeline.rfc3339(&now, moment), "2026-03-01T02:00:30.000000Z", "the clock was set two hours on");
        let earlier = timeline.moment(begun.instant - Duration::from_secs(5));
        assert_eq!(timeline.rfc3339(&now, earlier), "2026-02-28T23:59:55.000000Z");
        assert_eq!(timeline.rfc3339(&now, Moment::from_micros(i64::MIN)), "1970-01-01T00:00:00.000000Z");
    }

    #[test]
    fn local_time_follows_the_zone_and_a_clock_that_was_never_set_is_not_believed() {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let local = |utc: &str| reading(utc).local_micros_in(&zone);
        let micros = |text: &str| Some(text.parse::<Timestamp>().unwrap().as_microsecond());
        assert_eq!(local("2026-03-01T06:00:00.000001Z"), micros("2026-03-01T07:00:00.000001Z"));
        assert_eq!(local("2026-07-01T22:30:00Z"), micros("2026-07-02T00:30:00Z"), "in summer two hours");
        assert_eq!(local("2019-12-31T23:59:59Z"), None);
        assert!(local("2020-01-01T00:00:00Z").is_some());
        assert!(Reading::now().local_micros().is_some());
    }

    #[test]
    fn a_reading_is_now() {
        let reading = Reading::now();
        let said: Timestamp = reading.rfc3339(reading.instant).parse().unwrap();
        assert!(said.duration_since(Timestamp::now()).abs() < jiff::SignedDuration::from_secs(5));
    }
}
