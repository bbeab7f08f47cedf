//! How a part that a thread works with is replaced while the thread goes on: the new one is laid down, the thread takes it
//! between two pieces of work and leaves the old one, and whoever laid it down takes that away.
//!
//! The thread never waits here, and never frees what it leaves.

use std::{
    mem,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// Room for one replacement.
#[derive(Debug)]
pub(super) struct Exchange<T> {
    /// Whether a new one lies here, so that the thread need not lock to find out that none does.
    offered: AtomicBool,
    slot: Mutex<Slot<T>>,
}

#[derive(Debug)]
enum Slot<T> {
    Empty,
    New(T),
    Old(T),
}

impl<T> Default for Exchange<T> {
    fn default() -> Self {
        Self { offered: AtomicBool::new(false), slot: Mutex::new(Slot::Empty) }
    }
}

impl<T> Exchange<T> {
    /// Lays down a new one; one that was not taken yet is dropped.
    pub(super) fn offer(&self, new: T) {
        let before = mem::replace(&mut *self.lock(), Slot::New(new));
        self.offered.store(true, Ordering::Release);
        drop(before);
    }

    /// Puts what was offered in the place of `current`, where something was.
    pub(super) fn take_over(&self, current: &mut T) {
        if !self.offered.load(Ordering::Acquire) {
            return;
        }
        let mut slot = self.lock();
        self.offered.store(false, Ordering::Relaxed);
        *slot = match mem::replace(&mut *slot, Slot::Empty) {
            Slot::New(new) => Slot::Old(mem::replace(current, new)),
            other => other,
        };
    }

    /// Whether nothing waits to be taken over; drops what was left.
    pub(super) fn is_done(&self) -> bool {
        let left = {
            let mut slot = self.lock();
            match &*slot {
                Slot::New(_) => return false,
                Slot::Empty => return true,
                Slot::Old(_) => mem::replace(&mut *slot, Slot::Empty),
            }
        };
        drop(left);
        true
    }

    fn lock(&self) -> MutexGuard<'_, Slot<T>> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_new_one_is_taken_once_and_the_old_one_is_left() {
        let exchange = Exchange::default();
        let mut current = "old".to_owned();
        exchange.take_over(&mut current);
        assert!(exchange.is_done() && current == "old");
        exchange.offer("new".to_owned());
        assert!(!exchange.is_done());
        exchange.take_over(&mut current);
        assert_eq!(current, "new");
        exchange.take_over(&mut current);
        assert_eq!(current, "new", "what was left is not taken back");
        assert!(exchange.is_done());
    }

    #[test]
    fn the_last_offer_counts() {
        let exchange = Exchange::default();
        let mut current = 1;
        exchange.offer(2);
        exchange.offer(3);
        exchange.take_over(&mut current);
        assert_eq!(current, 3);
    }
}
