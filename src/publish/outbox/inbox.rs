//! From anybody's thread to the outbox's: bounded, and what does not fit is counted in its place. What fits is written into
//! the intake first, so that the end of the process does not cost it even while the thread waits for the disk.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::store::{Intake, Pending, series};

/// The outbox's thread may be this many messages behind,
const MESSAGES_MAX: usize = 4096;
/// and this many bytes. What comes then is lost and told.
const BYTES_MAX: usize = 4 * 1024 * 1024;
/// So many series may have losses at a time; those of others are told together.
const LOST_MAX: usize = 256;
/// Stands for any series.
const ANY: &str = "#";

/// Something with its number in the intake; 0: that does not have it.
pub(super) type Numbered = (u64, Pending);

/// What waits for the outbox's thread.
#[derive(Debug, Default)]
pub(super) struct Inbox(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    items: VecDeque<Numbered>,
    messages: usize,
    bytes: usize,
    /// Where what is handed in is written at once, while there is a disk.
    intake: Option<Intake>,
    /// Something waits that the intake does not have: what follows it is not written there either, so that of what was
    /// handed in the first survives the process, and never the later without it.
    unwritten: bool,
}

/// What became of something that was handed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    /// The end of the process does not cost it any more.
    Safe,
    /// The thread is about to take it.
    Waiting,
    /// There is no room: its messages are lost, and counted.
    Lost,
}

/// Whether something could ever be taken.
pub(super) fn fits(pending: &Pending) -> bool {
    pending.entries().len() <= MESSAGES_MAX && pending.bytes() <= BYTES_MAX
}

impl Inbox {
    /// Takes something that fits, as a whole or not at all.
    pub(super) fn push(&self, pending: Pending) -> Pushed {
        let mut waiting = self.lock();
        let (messages, bytes) = (pending.entries().len(), pending.bytes());
        if waiting.messages + messages > MESSAGES_MAX || waiting.bytes + bytes > BYTES_MAX {
            pending.entries().iter().for_each(|entry| waiting.lose(&series(&entry.topic, entry.numbered)));
            return Pushed::Lost;
        }
        let number = waiting.write(&pending);
        waiting.messages += messages;
        waiting.bytes += bytes;
        waiting.items.push_back((number, pending));
        if number > 0 { Pushed::Safe } else { Pushed::Waiting }
    }

    /// All that waits, in order.
    pub(super) fn take(&self) -> VecDeque<Numbered> {
        let mut waiting = self.lock();
        (waiting.messages, waiting.bytes) = (0, 0);
        std::mem::take(&mut waiting.items)
    }

    /// From now on what is handed in is written there, and what waits at once; gives the number of messages that were safe
    /// by that.
    pub(super) fn attach(&self, intake: Option<&Intake>) -> u64 {
        let mut waiting = self.lock();
        waiting.intake = intake.cloned();
        waiting.unwritten = false;
        let mut items = std::mem::take(&mut waiting.items);
        let mut safe = 0;
        for (number, pending) in items.iter_mut().filter(|(number, _)| *number == 0) {
            *number = waiting.write(pending);
            safe += if *number > 0 { pending.entries().len() as u64 } else { 0 };
        }
        waiting.items = items;
        safe
    }

    /// All that was taken is committed: there is room again.
    pub(super) fn resume(&self) {
        let mut waiting = self.lock();
        waiting.unwritten = waiting.items.iter().any(|(number, pending)| *number == 0 && is_kept(pending));
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether it belongs into the intake.
fn is_kept(pending: &Pending) -> bool {
    !matches!(pending, Pending::Lost { .. })
}

impl Waiting {
    /// Writes something into the intake; gives its number, or 0.
    fn write(&mut self, pending: &Pending) -> u64 {
        if self.unwritten || !is_kept(pending) {
            return 0;
        }
        let number = self.intake.as_ref().and_then(|intake| intake.take(pending)).unwrap_or(0);
        self.unwritten = number == 0 && self.intake.is_some();
        number
    }

    /// Counts a loss behind the last message of its series.
    fn lose(&mut self, lost: &str) {
        let lost = if self.items.len() >= MESSAGES_MAX + LOST_MAX { ANY } else { lost };
        for (_, item) in self.items.iter_mut().rev() {
            if let Pending::Lost { series, count } = item
                && series == lost
            {
                *count += 1;
                return;
            }
            if item.entries().iter().any(|entry| series(&entry.topic, entry.numbered) == lost) {
                break;
            }
        }
        self.items.push_back((0, Pending::Lost { series: lost.to_owned(), count: 1 }));
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use jiff::Timestamp;

    use super::*;
    use crate::store::{Class, Entry};

    fn entry(topic: &str, bytes: usize) -> Pending {
        let (class, body, made_at) = (Class::Middle, Bytes::from(vec![b'x'; bytes]), Timestamp::UNIX_EPOCH);
        Pending::Entry(Entry { class, topic: topic.to_owned(), retain: false, numbered: true, body, made_at })
    }

    fn push(inbox: &Inbox, pending: Pending) -> bool {
        inbox.push(pending) != Pushed::Lost
    }

    #[test]
    fn what_is_too_much_is_counted_in_its_place() {
        let inbox = Inbox::default();
        assert!((0..4).all(|_| push(&inbox, entry("a", 1_000_000))));
        assert!(!push(&inbox, entry("a", 1_000_000)) && !push(&inbox, entry("b", 500_000)));
        assert!(!push(&inbox, entry("a", 1_000_000)));
        assert!(push(&inbox, entry("a", 10)));
        assert!(!push(&inbox, entry("a", 1_000_000)));
        let taken: Vec<_> = inbox.take().into_iter().map(|(_, pending)| pending).skip(4).collect();
        let lost = |series: &str, count| Pending::Lost { series: series.to_owned(), count };
        assert_eq!(taken, [lost("a", 2), lost("b", 1), entry("a", 10), lost("a", 1)]);
        assert!(push(&inbox, entry("a", 1_000_000)));
    }

    #[test]
    fn losses_of_many_topics_are_bounded() {
        let inbox = Inbox::default();
        let taken = (0..20_000).filter(|n| push(&inbox, entry(&format!("t{n}"), 1))).count();
        assert_eq!(taken, MESSAGES_MAX);
        let taken = inbox.take();
        assert!(taken.len() <= MESSAGES_MAX + LOST_MAX + 1, "{}", taken.len());
        let count = |(_, pending): &Numbered| if let Pending::Lost { count, .. } = pending { *count } else { 1 };
        assert_eq!(taken.iter().map(count).sum::<u64>(), 20_000);
    }
}
