//! Points in time for code that has no clock: counted without a jump, and close enough to the wall clock to be kept.

use std::{
    ops::{Add, Sub},
    time::Duration,
};

use serde::{Deserialize, Serialize};

/// A point in time: microseconds since 1970 as the box's clock stood when the process began, counted on from there by the
/// monotonic clock. So moments of one process keep their order and distance whatever the wall clock does, and those of an
/// earlier process mean something to a later one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Moment(i64);

impl Moment {
    /// So many microseconds after 1970 began.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since 1970 began.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// How long ago `earlier` was; zero where it was not.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, later: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(later.as_micros()).unwrap_or(i64::MAX)))
    }
}

impl Sub<Duration> for Moment {
    type Output = Self;

    fn sub(self, earlier: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(earlier.as_micros()).unwrap_or(i64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_counted() {
        let moment = Moment::from_micros(5);
        assert_eq!((moment + Duration::from_micros(3)).micros(), 8);
        assert_eq!((moment - Duration::from_micros(7)).micros(), -2);
        assert_eq!((moment + Duration::from_secs(1)).since(moment), Duration::from_secs(1));
        assert_eq!(moment.since(moment + Duration::from_secs(1)), Duration::ZERO);
        assert_eq!((moment + Duration::MAX).micros(), i64::MAX);
    }
}
