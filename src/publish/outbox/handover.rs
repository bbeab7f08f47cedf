//! Where the outbox and the connection meet: the lane between them, and a bell for each side.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;

use super::lane::Lane;

/// Shared by the outbox's thread, which fills the lane from the disk, and the connection's task, which empties it.
#[derive(Debug, Default)]
pub struct Handover {
    /// Locked for moments only, never across a wait.
    lane: Mutex<Lane>,
    to_connection: Arc<Notify>,
    rung: Mutex<bool>,
    to_outbox: Condvar,
}

impl Handover {
    /// The lane. Whoever changes it rings for the other side afterwards.
    pub fn lane(&self) -> MutexGuard<'_, Lane> {
        self.lane.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There is something new to send.
    pub fn ring_connection(&self) {
        self.to_connection.notify_one();
    }

    /// What the connection's task waits for.
    pub fn connection_bell(&self) -> Arc<Notify> {
        Arc::clone(&self.to_connection)
    }

    /// Something was acknowledged, handed in, or the connection came or went.
    pub fn ring_outbox(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.to_outbox.notify_one();
    }

    /// Waits until [`Handover::ring_outbox`], which may have come before, or until the time is over.
    pub fn wait_outbox(&self, within: Duration) {
        let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut rung, _timeout) =
            self.to_outbox.wait_timeout_while(rung, within, |rung| !*rung).unwrap_or_else(PoisonError::into_inner);
        *rung = false;
    }
}
