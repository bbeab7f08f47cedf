//! Who gets which number. Pure.

use std::{borrow::Cow, collections::BTreeMap};

use super::{Class, Entry, GapMaker, Loss, Pending, PerClass, Reason, Row};

/// What a message is numbered within: its topic. Messages that do not carry their number share the series of all topics
/// beside theirs, `…/snapshot/#`, so that topics which are used once do not add up.
pub fn series(topic: &str, numbered: bool) -> Cow<'_, str> {
    if numbered {
        return Cow::Borrowed(topic);
    }
    Cow::Owned(topic.rsplit_once('/').map_or_else(|| "#".to_owned(), |(above, _)| format!("{above}/#")))
}

/// The numbers of one epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbering {
    /// Which one: milliseconds since 1970 when it began, or more.
    pub epoch: u64,
    /// The number that the next message of a series gets; 1 where it is missing.
    pub(super) next: BTreeMap<String, u64>,
}

impl Numbering {
    /// One in which nothing has a number yet.
    pub fn new(epoch: u64) -> Self {
        Self { epoch, next: BTreeMap::new() }
    }

    /// The last number of every series that has one.
    pub fn last(&self) -> impl Iterator<Item = (&str, u64)> {
        self.next.iter().map(|(series, next)| (series.as_str(), next - 1)).filter(|(_, last)| *last > 0)
    }

    /// The last number of a series; 0 where none was given.
    pub fn last_of(&self, series: &str) -> u64 {
        self.next.get(series).map_or(0, |next| next - 1)
    }

    fn spend(&mut self, series: &str, count: u64) -> u64 {
        match self.next.get_mut(series) {
            Some(next) => {
                let from = *next;
                *next += count;
                from
            }
            None => {
                self.next.insert(series.to_owned(), 1 + count);
                1
            }
        }
    }

    /// Gives the next number of its series, and the id after `last` of its class.
    pub(super) fn number(&mut self, entry: Entry, last: &mut PerClass<u64>) -> Row {
        let seq = self.spend(&series(&entry.topic, entry.numbered), 1);
        let id = &mut last[entry.class as usize];
        *id += 1;
        Row { id: *id, epoch: self.epoch, seq, entry }
    }

    /// Numbers what was taken, and tells of losses: those of before first, those between messages in their place.
    pub(super) fn number_all(
        &mut self,
        losses: &[Loss],
        batch: &[Pending],
        last: &mut PerClass<u64>,
        gap: &GapMaker,
    ) -> Vec<Row> {
        let mut rows: Vec<Row> = losses.iter().map(|loss| self.number(gap(loss), last)).collect();
        rows.reserve(batch.len());
        for pending in batch {
            rows.extend(pending.entries().iter().map(|entry| self.number(entry.clone(), last)));
            if let Pending::Lost { series, count } = pending {
                let from = self.spend(series, *count);
                let (topic, to) = (Some(series.clone()), from + count - 1);
                let entry = gap(&Loss { topic, epoch: self.epoch, from, to, reason: Reason::Overload });
                rows.push(self.number(entry, last));
            }
        }
        rows
    }
}

/// Collects what is lost, number by number, into as few losses as there are.
#[derive(Debug, Default)]
pub(super) struct Losses(BTreeMap<(String, u64), Vec<(u64, u64)>>);

impl Losses {
    /// Adds a number. Those of one series and epoch come in order.
    pub(super) fn add(&mut self, series: &str, epoch: u64, seq: u64) {
        let ranges = self.0.entry((series.to_owned(), epoch)).or_default();
        match ranges.last_mut() {
            Some((_, to)) if *to + 1 == seq => *to = seq,
            _ => ranges.push((seq, seq)),
        }
    }

    /// All of them, with one reason.
    pub(super) fn told(self, reason: Reason) -> impl Iterator<Item = Loss> {
        self.0.into_iter().flat_map(move |((series, epoch), ranges)| {
            ranges.into_iter().map(move |(from, to)| Loss { topic: Some(series.clone()), epoch, from, to, reason })
        })
    }
}

/// The classes in the order in which they are given up.
pub(super) fn least_first() -> impl Iterator<Item = Class> {
    Class::ALL.into_iter().rev()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_share_a_series_and_events_have_their_own() {
        assert_eq!(series("andon/b/c/events", true), "andon/b/c/events");
        assert_eq!(series("andon/b/c/snapshot/17", false), "andon/b/c/snapshot/#");
        assert_eq!(series("a", false), "#");
    }

    #[test]
    fn losses_are_told_as_ranges() {
        let mut losses = Losses::default();
        for (series, epoch, seq) in [("a", 1, 3), ("a", 1, 4), ("b", 1, 1), ("a", 1, 6), ("a", 2, 7)] {
            losses.add(series, epoch, seq);
        }
        let told: Vec<_> =
            losses.told(Reason::Full).map(|loss| (loss.topic.unwrap(), loss.epoch, loss.from, loss.to)).collect();
        let expected = [("a", 1, 3, 4), ("a", 1, 6, 6), ("a", 2, 7, 7), ("b", 1, 1, 1)];
        assert_eq!(told, expected.map(|(topic, epoch, from, to)| (topic.to_owned(), epoch, from, to)));
    }
}
