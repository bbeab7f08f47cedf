//! What systemd is told: ready, alive, how it goes, stopping. Without systemd all of it does nothing.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;

/// The conversation with the service manager that started this process.
#[derive(Debug)]
pub(super) struct Systemd {
    watchdog: Option<Duration>,
    fed_at: Option<Instant>,
    status: String,
    ready: bool,
}

/// Whether this process was started as a service that reports to systemd.
pub fn is_service() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some()
}

impl Systemd {
    /// Finds out whether a watchdog wants to be fed.
    pub(super) fn new() -> Self {
        Self { watchdog: sd_notify::watchdog_enabled(), fed_at: None, status: String::new(), ready: false }
    }

    /// Says once that the service is up.
    pub(super) fn ready(&mut self) {
        if !std::mem::replace(&mut self.ready, true) {
            tell(&[NotifyState::Ready]);
        }
    }

    /// Says that the configuration is being read again, until [`Self::ready`].
    pub(super) fn reloading(&mut self) {
        self.ready = false;
        match NotifyState::monotonic_usec_now() {
            Ok(now) => tell(&[NotifyState::Reloading, now]),
            // Without the time newer systemds end the service: rather nothing is said.
            Err(error) => log::debug!("systemd was not told of the reload: {error}"),
        }
    }

    /// Shows one line in `systemctl status`, when it is another than before.
    pub(super) fn status(&mut self, status: &str) {
        // What follows a line break would be another message to systemd.
        let status: String = status.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
        if self.status != status {
            tell(&[NotifyState::Status(&status)]);
            self.status = status;
        }
    }

    /// Feeds the watchdog at most four times in its period. To be called only while there is progress.
    pub(super) fn feed(&mut self, now: Instant) {
        let Some(period) = self.watchdog else { return };
        if self.fed_at.is_none_or(|fed_at| now.duration_since(fed_at) >= period / 4) {
            self.fed_at = Some(now);
            tell(&[NotifyState::Watchdog]);
        }
    }

    /// How long systemd waits to be fed before it ends the service, where it does.
    pub(super) fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// Asks systemd to end the service as if it had not been fed in time, where it watches.
    pub(super) fn give_up(&self) {
        if self.watchdog.is_some() {
            tell(&[NotifyState::WatchdogTrigger]);
        }
    }

    /// Says that the service is going down.
    pub(super) fn stopping(&self) {
        tell(&[NotifyState::Stopping]);
    }
}

impl Default for Systemd {
    fn default() -> Self {
        Self::new()
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        log::debug!("systemd was not told: {error}");
    }
}
