//! The numbers of one topic in one epoch: which were seen, which are missing, and when to ask for those.

use std::time::{Duration, Instant};

/// A gap is asked for when it is so old: what is told to be lost, or only comes late, is known by then.
const ASK_AFTER: Duration = Duration::from_secs(1);
/// And again after so long without one of its messages.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(10);
/// After so many questions in vain what is missing counts as lost.
const ATTEMPTS_MAX: u32 = 6;
/// Most numbers that are asked for at once.
const ASK_COUNT_MAX: u64 = 2_000;
/// Most ranges that are missing at the same time; beyond that the oldest counts as lost.
const MISSING_MAX: usize = 512;
/// Most ranges that are known to be lost before their place has come.
const TOLD_MAX: usize = 512;

/// Numbers from the first to the last, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first.
    pub from: u64,
    /// The last.
    pub to: u64,
}

impl Range {
    /// How many there are.
    pub fn count(self) -> u64 {
        (self.to - self.from).saturating_add(1)
    }

    /// Before, in and behind another range; what is empty is `None`.
    fn cut(self, other: Self) -> [Option<Self>; 3] {
        let part = |from: u64, to: u64| (from <= to).then_some(Self { from, to });
        if other.to < self.from || self.to < other.from {
            return [Some(self), None, None];
        }
        [
            if other.from > self.from { part(self.from, other.from - 1) } else { None },
            part(self.from.max(other.from), self.to.min(other.to)),
            if other.to < self.to { part(other.to + 1, self.to) } else { None },
        ]
    }
}

/// What a number means to one who has seen those before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It is the next one.
    Next,
    /// Others are missing before it.
    Ahead,
    /// It was missing, and is sent again. `closes` says that it was the last of its range.
    Filled { closes: bool },
    /// It was missing, and is sent for the first time behind a higher one.
    Inverted,
    /// It was seen before, or lies before the beginning.
    Seen,
}

/// One topic in one epoch.
#[derive(Debug)]
pub(super) struct Stream {
    /// The highest number that was seen, or is known to be missing.
    last: u64,
    /// The highest that the box has said to have given away.
    stated: u64,
    missing: Vec<Missing>,
    /// Lost for good, beyond what was seen.
    told: Vec<Range>,
}

#[derive(Clone, Copy, Debug)]
struct Missing {
    range: Range,
    ask_at: Instant,
    attempts: u32,
}

impl Stream {
    /// One of which all up to `base` counts as seen.
    pub(super) fn new(base: u64) -> Self {
        Self { last: base, stated: base, missing: Vec::new(), told: Vec::new() }
    }

    /// A number came, `replayed` where the box says that it is late or sent again; ranges that are missing from now on are
    /// added to `gaps`.
    pub(super) fn hear(&mut self, seq: u64, replayed: bool, now: Instant, gaps: &mut Vec<Range>) -> Place {
        if seq > self.last {
            let next = seq == self.last + 1;
            self.miss_through(seq - 1, now, gaps);
            self.last = seq;
            return if next { Place::Next } else { Place::Ahead };
        }
        let Some(index) =
            self.missing.iter().position(|missing| (missing.range.from..=missing.range.to).contains(&seq))
        else {
            return Place::Seen;
        };
        let missing = self.missing.remove(index);
        let [before, _, behind] = missing.range.cut(Range { from: seq, to: seq });
        let asked = missing.attempts > 0;
        for range in [behind, before].into_iter().flatten() {
            // What comes shows that the question was heard: there is time for the rest.
            let (ask_at, attempts) =
                if asked { (now + ASK_AGAIN_AFTER, 1) } else { (missing.ask_at, missing.attempts) };
            self.missing.insert(index, Missing { range, ask_at, attempts });
        }
        let again = asked || replayed;
        if again { Place::Filled { closes: before.is_none() && behind.is_none() } } else { Place::Inverted }
    }

    /// The box says that it has given away all numbers up to this one.
    pub(super) fn state(&mut self, seq: u64) {
        self.stated = self.stated.max(seq);
    }

    /// Nothing comes any more: what was given away beyond the last one is missing.
    pub(super) fn miss_tail(&mut self, now: Instant, gaps: &mut Vec<Range>) {
        if self.stated > self.last {
            self.miss_through(self.stated, now, gaps);
        }
    }

    /// The numbers beyond the last one that were given away, and not told to be lost.
    pub(super) fn tail(&self) -> Vec<Range> {
        self.untold(self.stated)
    }

    /// The box does not have these any more. Returns those of them that were missing, taken out.
    pub(super) fn gone(&mut self, gone: Range) -> Vec<Range> {
        let mut found = Vec::new();
        let mut left = Vec::with_capacity(self.missing.len());
        for missing in self.missing.drain(..) {
            let [before, inside, behind] = missing.range.cut(gone);
            found.extend(inside);
            left.extend([before, behind].into_iter().flatten().map(|range| Missing { range, ..missing }));
        }
        self.missing = left;
        found
    }

    /// The box says that these are lost for good. Returns how many of them were missing until now.
    pub(super) fn tell(&mut self, lost: Range) -> u64 {
        let found = self.gone(lost).into_iter().fold(0, |sum: u64, range| sum.saturating_add(range.count()));
        if lost.to > self.last && self.told.len() < TOLD_MAX {
            self.told.push(Range { from: lost.from.max(self.last + 1), to: lost.to });
        }
        found
    }

    /// What was told to be lost and lies at or below the last number by now, taken out.
    pub(super) fn take_told(&mut self) -> Vec<Range> {
        let last = self.last;
        let reached = |range: &Range| Range { to: range.to.min(last), ..*range };
        let taken = self.told.iter().filter(|range| range.from <= last).map(reached).collect();
        self.told.retain_mut(|range| {
            range.from = range.from.max(last.saturating_add(1));
            range.from <= range.to && range.to > last
        });
        taken
    }

    /// The connection is new: questions may have been lost with the one before.
    pub(super) fn ask_afresh(&mut self, now: Instant) {
        for missing in &mut self.missing {
            missing.ask_at = now + ASK_AFTER;
            missing.attempts = missing.attempts.min(1);
        }
    }

    /// A range to ask for, where it is time.
    pub(super) fn ask(&mut self, now: Instant) -> Option<Range> {
        let index = self.missing.iter().position(|missing| missing.ask_at <= now && missing.attempts < ATTEMPTS_MAX)?;
        let missing = self.missing[index];
        let end = missing.range.to.min(missing.range.from.saturating_add(ASK_COUNT_MAX - 1));
        let asked = Range { to: end, ..missing.range };
        self.missing[index] = Missing { range: asked, ask_at: now + ASK_AGAIN_AFTER, attempts: missing.attempts + 1 };
        if end < missing.range.to {
            let rest = Range { from: end + 1, ..missing.range };
            self.missing.insert(index + 1, Missing { range: rest, ..missing });
        }
        Some(asked)
    }

    /// Ranges that were asked for in vain, or are too many, taken out.
    pub(super) fn give_up(&mut self, now: Instant) -> Vec<Range> {
        let surplus = self.missing.len().saturating_sub(MISSING_MAX);
        let mut lost: Vec<Range> = self.missing.drain(..surplus).map(|missing| missing.range).collect();
        let is_lost = |missing: &Missing| missing.attempts >= ATTEMPTS_MAX && missing.ask_at <= now;
        lost.extend(self.missing.iter().filter(|missing| is_lost(missing)).map(|missing| missing.range));
        self.missing.retain(|missing| !is_lost(missing));
        lost
    }

    /// What is missing now.
    pub(super) fn missing(&self) -> impl Iterator<Item = Range> {
        self.missing.iter().map(|missing| missing.range)
    }

    /// What lies between the last one and this one, but for what was told to be lost.
    fn untold(&self, to: u64) -> Vec<Range> {
        let mut left: Vec<Range> = if to > self.last { vec![Range { from: self.last + 1, to }] } else { Vec::new() };
        for told in &self.told {
            left = left
                .into_iter()
                .flat_map(|range| {
                    let [before, _, behind] = range.cut(*told);
                    [before, behind]
                })
                .flatten()
                .collect();
        }
        left
    }

    /// All behind the last one up to this are missing, but for those that were told to be lost.
    fn miss_through(&mut self, to: u64, now: Instant, gaps: &mut Vec<Range>) {
        let left = self.untold(to);
        self.last = self.last.max(to);
        self.missing.extend(left.iter().map(|range| Missing { range: *range, ask_at: now + ASK_AFTER, attempts: 0 }));
        gaps.extend(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(from: u64, to: u64) -> Range {
        Range { from, to }
    }

    fn hear(stream: &mut Stream, seq: u64, now: Instant) -> (Place, Vec<Range>) {
        let mut gaps = Vec::new();
        let place = stream.hear(seq, false, now, &mut gaps);
        (place, gaps)
    }

    #[test]
    fn numbers_in_order_are_next_and_others_are_told_apart() {
        let now = Instant::now();
        let mut stream = Stream::new(0);
        assert_eq!(hear(&mut stream, 1, now), (Place::Next, vec![]));
        assert_eq!(hear(&mut stream, 1, now), (Place::Seen, vec![]));
        assert_eq!(hear(&mut stream, 5, now), (Place::Ahead, vec![range(2, 4)]));
        assert_eq!(hear(&mut stream, 3, now), (Place::Inverted, vec![]));
        assert_eq!(stream.missing().collect::<Vec<_>>(), [range(2, 2), range(4, 4)]);
        assert_eq!(hear(&mut stream, 3, now), (Place::Seen, vec![]));
        assert_eq!(stream.hear(4, true, now, &mut Vec::new()), Place::Filled { closes: true });
    }

    #[test]
    fn what_is_missing_is_asked_for_again_and_given_up_at_last() {
        let mut now = Instant::now();
        let mut stream = Stream::new(0);
        hear(&mut stream, 4, now);
        assert_eq!(stream.ask(now), None, "not at once");
        now += ASK_AFTER;
        assert_eq!(stream.ask(now), Some(range(1, 3)));
        assert_eq!(stream.ask(now), None, "it takes a moment");
        assert_eq!(hear(&mut stream, 1, now).0, Place::Filled { closes: false });
        for _ in 1..ATTEMPTS_MAX {
            assert!(stream.give_up(now).is_empty());
            now += ASK_AGAIN_AFTER;
            assert_eq!(stream.ask(now), Some(range(2, 3)));
        }
        now += ASK_AGAIN_AFTER;
        assert_eq!(stream.ask(now), None);
        assert_eq!(stream.give_up(now), [range(2, 3)]);
        assert_eq!(stream.missing().count(), 0);
    }

    #[test]
    fn a_long_gap_is_asked_for_in_parts() {
        let now = Instant::now();
        let mut stream = Stream::new(0);
        hear(&mut stream, 2 * ASK_COUNT_MAX + 2, now);
        let later = now + ASK_AFTER;
        assert_eq!(stream.ask(later), Some(range(1, ASK_COUNT_MAX)));
        assert_eq!(stream.ask(later), Some(range(ASK_COUNT_MAX + 1, 2 * ASK_COUNT_MAX)));
        assert_eq!(stream.ask(later), Some(range(2 * ASK_COUNT_MAX + 1, 2 * ASK_COUNT_MAX + 1)));
        assert_eq!(stream.ask(later), None);
        stream.ask_afresh(later);
        assert_eq!(stream.ask(later + ASK_AFTER), Some(range(1, ASK_COUNT_MAX)));
    }

    #[test]
    fn what_is_told_to_be_lost_is_not_missing_before_or_after() {
        let now = Instant::now();
        let mut stream = Stream::new(0);
        hear(&mut stream, 10, now);
        assert_eq!(stream.tell(range(3, 20)), 7, "3 to 9");
        assert_eq!(stream.missing().collect::<Vec<_>>(), [range(1, 2)]);
        assert_eq!(hear(&mut stream, 15, now), (Place::Ahead, vec![]));
        assert_eq!(stream.take_told(), [range(11, 15)]);
        assert_eq!(hear(&mut stream, 22, now), (Place::Ahead, vec![range(21, 21)]));
        assert_eq!(stream.take_told(), [range(16, 20)]);
    }

    #[test]
    fn a_tail_is_missing_once_nothing_comes_any_more() {
        let now = Instant::now();
        let mut stream = Stream::new(7);
        stream.state(9);
        assert_eq!(stream.tail(), [range(8, 9)]);
        let mut gaps = Vec::new();
        stream.miss_tail(now, &mut gaps);
        assert_eq!((gaps, stream.tail()), (vec![range(8, 9)], vec![]));
        assert_eq!(hear(&mut stream, 10, now), (Place::Next, vec![]));
        stream.state(20);
        assert_eq!(stream.tell(range(11, 18)), 0);
        assert_eq!(stream.tail(), [range(19, 20)]);
    }

    #[test]
    fn what_the_box_does_not_have_any_more_is_not_missing_any_more() {
        let now = Instant::now();
        let mut stream = Stream::new(0);
        hear(&mut stream, 10, now);
        assert_eq!(stream.gone(range(2, 3)), [range(2, 3)]);
        assert_eq!(stream.gone(range(1, 100)), [range(1, 1), range(4, 9)]);
        assert_eq!(stream.missing().count(), 0);
    }
}
