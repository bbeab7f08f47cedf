//! From anybody's thread to the outbox's: bounded, and what does not fit is counted in its place.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use crate::store::{Entry, Pending, series};

/// The outbox's thread may be this many messages behind,
const MESSAGES_MAX: usize = 4096;
/// and this many bytes. What comes then is lost and told.
const BYTES_MAX: usize = 4 * 1024 * 1024;
/// So many series may have losses at a time; those of others are told together.
const LOST_MAX: usize = 256;
/// Stands for any series.
const ANY: &str = "#";

/// What waits for the outbox's thread.
#[derive(Debug, Default)]
pub(super) struct Inbox(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    items: VecDeque<Pending>,
    messages: usize,
    bytes: usize,
}

impl Inbox {
    /// Takes a message; `false`: it is lost, and counted.
    pub(super) fn push(&self, entry: Entry) -> bool {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = entry.body.len() + entry.topic.len();
        if waiting.messages < MESSAGES_MAX && waiting.bytes + bytes <= BYTES_MAX {
            waiting.messages += 1;
            waiting.bytes += bytes;
            waiting.items.push_back(Pending::Entry(entry));
            true
        } else {
            waiting.lose(&series(&entry.topic, entry.numbered));
            false
        }
    }

    /// All that waits, in order.
    pub(super) fn take(&self) -> VecDeque<Pending> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *waiting).items
    }
}

impl Waiting {
    /// Counts a loss behind the last message of its series.
    fn lose(&mut self, lost: &str) {
        let lost = if self.items.len() >= MESSAGES_MAX + LOST_MAX { ANY } else { lost };
        for item in self.items.iter_mut().rev() {
            match item {
                Pending::Lost { series, count } if series == lost => {
                    *count += 1;
                    return;
                }
                Pending::Entry(entry) if series(&entry.topic, entry.numbered) == lost => break,
                _ => {}
            }
        }
        self.items.push_back(Pending::Lost { series: lost.to_owned(), count: 1 });
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use jiff::Timestamp;

    use super::*;
    use crate::store::Class;

    fn entry(topic: &str, bytes: usize) -> Entry {
        let (class, body, made_at) = (Class::Middle, Bytes::from(vec![b'x'; bytes]), Timestamp::UNIX_EPOCH);
        Entry { class, topic: topic.to_owned(), retain: false, numbered: true, body, made_at }
    }

    #[test]
    fn what_is_too_much_is_counted_in_its_place() {
        let inbox = Inbox::default();
        assert!((0..4).all(|_| inbox.push(entry("a", 1_000_000))));
        assert!(!inbox.push(entry("a", 1_000_000)) && !inbox.push(entry("b", 500_000)));
        assert!(!inbox.push(entry("a", 1_000_000)));
        assert!(inbox.push(entry("a", 10)));
        assert!(!inbox.push(entry("a", 1_000_000)));
        let taken: Vec<_> = inbox.take().into_iter().skip(4).collect();
        let lost = |series: &str, count| Pending::Lost { series: series.to_owned(), count };
        assert_eq!(taken, [lost("a", 2), lost("b", 1), Pending::Entry(entry("a", 10)), lost("a", 1)]);
        assert!(inbox.push(entry("a", 1_000_000)));
    }

    #[test]
    fn losses_of_many_topics_are_bounded() {
        let inbox = Inbox::default();
        let taken = (0..20_000).filter(|n| inbox.push(entry(&format!("t{n}"), 1))).count();
        assert_eq!(taken, MESSAGES_MAX);
        let taken = inbox.take();
        assert!(taken.len() <= MESSAGES_MAX + LOST_MAX + 1, "{}", taken.len());
        let count = |pending: &Pending| if let Pending::Lost { count, .. } = pending { *count } else { 1 };
        assert_eq!(taken.iter().map(count).sum::<u64>(), 20_000);
    }
}
