//! How the connection is, for others to see, and what the log says about it.

use std::time::{Duration, Instant};

use super::fault::{Fault, FaultKind};

/// The same fault is logged once in so long.
const REPEAT_AFTER: Duration = Duration::from_secs(60);

/// How the connection to the broker is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// The first attempt is under way.
    Connecting,
    /// Connected.
    Up {
        /// Since when.
        since: Instant,
    },
    /// Not connected; attempts go on for ever.
    Down {
        /// Why the last attempt failed, or the connection ended.
        reason: Fault,
        /// Since when there is no connection.
        since: Instant,
        /// Failed attempts since, the loss of the connection included.
        attempts: u32,
    },
}

/// Decides what of a link's ups and downs is worth a line: a change is, the same again once a minute with its count.
#[derive(Debug)]
pub(super) struct LinkLog {
    broker: String,
    last: Option<(FaultKind, Instant)>,
    unsaid: u32,
    /// The broker was last spoken of as away.
    said_down: bool,
}

impl LinkLog {
    pub(super) fn new(broker: String) -> Self {
        Self { broker, last: None, unsaid: 0, said_down: true }
    }

    pub(super) fn up(&mut self) {
        if let Some(line) = self.up_line() {
            log::info!("{line}");
        }
    }

    pub(super) fn down(&mut self, fault: &Fault, now: Instant) {
        if let Some(line) = self.down_line(fault, now) {
            log::warn!("{line}");
        }
    }

    fn up_line(&mut self) -> Option<String> {
        std::mem::take(&mut self.said_down).then(|| format!("connected to broker {}", self.broker))
    }

    fn down_line(&mut self, fault: &Fault, now: Instant) -> Option<String> {
        if self.last.is_some_and(|(kind, said)| kind == fault.kind && now.duration_since(said) < REPEAT_AFTER) {
            self.unsaid += 1;
            return None;
        }
        self.last = Some((fault.kind, now));
        self.said_down = true;
        Some(match std::mem::take(&mut self.unsaid) {
            0 => fault.to_string(),
            unsaid => format!("{fault} ({unsaid} more failures since the last report)"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(kind: FaultKind) -> Fault {
        Fault::new(kind, format!("{kind:?}"))
    }

    #[test]
    fn repetition_is_counted_and_told_once_a_minute() {
        let mut log = LinkLog::new("b:1".into());
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(log.down_line(&fault(FaultKind::Refused), at(0)), Some("Refused".into()));
        for second in 1..60 {
            assert_eq!(log.down_line(&fault(FaultKind::Refused), at(second)), None);
        }
        let minute = log.down_line(&fault(FaultKind::Refused), at(60)).unwrap();
        assert_eq!(minute, "Refused (59 more failures since the last report)");
        assert_eq!(log.down_line(&fault(FaultKind::Timeout), at(61)), Some("Timeout".into()));
        assert_eq!(log.up_line(), Some("connected to broker b:1".into()));
        assert_eq!(log.up_line(), None);
    }

    #[test]
    fn a_flapping_link_does_not_fill_the_log() {
        let mut log = LinkLog::new("b:1".into());
        let start = Instant::now();
        let mut lines = 0;
        for second in 0..600 {
            lines += usize::from(log.up_line().is_some());
            lines +=
                usize::from(log.down_line(&fault(FaultKind::Closed), start + Duration::from_secs(second)).is_some());
        }
        assert_eq!(lines, 1 + 2 * 10);
    }
}
