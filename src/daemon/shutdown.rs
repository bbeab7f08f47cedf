//! How threads learn that it is over: the one sender is dropped, and every listener wakes.

use std::{
    convert::Infallible,
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel},
    time::Duration,
};

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
        Stop(receiver)
    }
}

/// Held by a thread that shall end when the [`Shutdown`] is dropped.
#[derive(Debug)]
pub(super) struct Stop(Receiver<Infallible>);

impl Stop {
    /// Whether it is over.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.0.try_recv(), Err(TryRecvError::Disconnected))
    }

    /// Waits, and says whether it was over before the time was.
    pub(super) fn wait(&self, time: Duration) -> bool {
        matches!(self.0.recv_timeout(time), Err(RecvTimeoutError::Disconnected))
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
}
