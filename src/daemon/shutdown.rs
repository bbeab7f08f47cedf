//! How threads learn that it is over: the one sender is dropped, and every listener wakes.
//!
//! A thread asks often whether it is over; each question is a sign of life, which others can see.

use std::{
    convert::Infallible,
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel},
    time::{Duration, Instant},
};

use super::pulse::Beat;

/// A thread that waits shows so often that it is alive.
const BEAT_EVERY: Duration = Duration::from_millis(500);

/// Held by the one who decides. Dropping it wakes every [`Stop`].
#[derive(Debug, Default)]
pub(super) struct Shutdown {
    senders: Vec<Sender<Infallible>>,
}

impl Shutdown {
    /// A listener for one thread.
    pub(super) fn listener(&mut self) -> Stop {
        let (sender, receiver) = channel();
        self.senders.push(sender);
        Stop { receiver, beat: Beat::default() }
    }
}

/// Held by a thread that shall end when the [`Shutdown`] is dropped.
#[derive(Debug)]
pub(super) struct Stop {
    receiver: Receiver<Infallible>,
    beat: Beat,
}

impl Stop {
    /// Whether it is over.
    pub(super) fn is_over(&self) -> bool {
        self.beat.tick();
        matches!(self.receiver.try_recv(), Err(TryRecvError::Disconnected))
    }

    /// Waits, and says whether it was over before the time was.
    pub(super) fn wait(&self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        loop {
            self.beat.tick();
            let left = deadline.saturating_duration_since(Instant::now());
            match self.receiver.recv_timeout(left.min(BEAT_EVERY)) {
                Err(RecvTimeoutError::Disconnected) => return true,
                Err(RecvTimeoutError::Timeout) if left <= BEAT_EVERY => return false,
                Err(RecvTimeoutError::Timeout) => {}
                Ok(never) => match never {},
            }
        }
    }

    /// Counts while the owner asks or waits, and shows its end when this is dropped.
    pub(super) fn beat(&self) -> Beat {
        self.beat.clone()
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        self.beat.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_drop_of_the_sender_wakes_all() {
        let mut shutdown = Shutdown::default();
        let (a, b) = (shutdown.listener(), shutdown.listener());
        assert!(!a.is_over() && !b.wait(Duration::ZERO));
        drop(shutdown);
        assert!(a.is_over() && b.wait(Duration::from_secs(3600)));
    }

    #[test]
    fn questions_are_signs_of_life() {
        let mut shutdown = Shutdown::default();
        let stop = shutdown.listener();
        let beat = stop.beat();
        let before = beat.count();
        stop.is_over();
        stop.wait(Duration::ZERO);
        assert_eq!(beat.count(), before + 2);
        drop(stop);
        assert_eq!(beat.count(), u64::MAX);
    }
}
