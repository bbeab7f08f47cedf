//! Things are counted, and their prices added up: a basket, its journal and its sum. Exact in whole minor units.
//!
//! - What was voided or corrected away is still there. It leaves before anything else of its class that was there then, and
//!   nothing is taken back for it a second time.
//! - What was put into an earlier session is no part of this one: nothing is taken back for it either.
//! - A session whose currency, or its decimals, the configuration does not have any more ends as it was.
//! - An amount that 64 bits cannot hold is not booked.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    Order, Refusal, TotalSettings,
    counter::{Book, Booked, Change, Counter},
};
use crate::{
    event::{self, Entry, EntryKind, Item, Session, Way, What},
    moment::Moment,
};

/// The rule at work.
pub(super) type Total = Counter<Journal>;

/// What is in the basket, and the last line of its journal.
#[derive(Debug)]
pub(super) struct Journal {
    prices: Vec<(Arc<str>, i64)>,
    /// What the configuration says, and the next session is written in.
    unit: Money,
    /// What this session is written in.
    money: Money,
    /// In the order in which they were first put there; at most one a price.
    lines: Vec<Line>,
    sum_minor: i64,
    entry: Option<Entry>,
    expected: Option<Vec<(Arc<str>, i64)>>,
}

/// What amounts are in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Money {
    currency: String,
    decimals: u8,
}

/// One class in the basket.
#[derive(Clone, Debug, PartialEq)]
struct Line {
    name: Arc<str>,
    /// What one costs: as it was when the first one was put in.
    price_minor: i64,
    /// How many count.
    quantity: i64,
    /// How many were seen to come and not to go, whether they count or not.
    there: i64,
    /// How many of those do not count.
    exempt: i64,
    /// Only what was counted until then may be one of them.
    exempt_at: Moment,
}

/// What has to be known after a restart.
#[derive(Debug, Serialize, Deserialize)]
struct Memory {
    lines: Vec<RememberedLine>,
    sum_minor: i64,
    entry: Option<RememberedEntry>,
    expected: Option<Vec<(String, i64)>>,
    /// `None`: that of the configuration.
    #[serde(default)]
    money: Option<Money>,
}

#[derive(Debug, Serialize, Deserialize)]
struct RememberedLine {
    name: String,
    price_minor: i64,
    quantity: i64,
    there: i64,
    exempt: i64,
    exempt_at: Moment,
}

#[derive(Debug, Serialize, Deserialize)]
struct RememberedEntry {
    number: u64,
    at: Moment,
    kind: String,
    name: Option<String>,
    quantity: i64,
    amount_minor: i64,
    note: Option<String>,
}

/// A line of the journal before it has its number.
struct Draft<'a> {
    kind: EntryKind,
    index: usize,
    quantity: i64,
    note: Option<&'a String>,
}

impl Counter<Journal> {
    /// One that has seen nothing.
    pub(super) fn new(settings: &TotalSettings) -> Self {
        let mut count = settings.count.clone();
        let prices: Vec<(Arc<str>, i64)> =
            settings.prices.iter().map(|(name, minor)| (name.as_str().into(), *minor)).collect();
        if count.classes.is_empty() {
            count.classes = settings.prices.iter().map(|(name, _)| name.clone()).collect();
        }
        let unit = Money { currency: settings.currency.clone(), decimals: settings.decimals };
        let journal =
            Journal { prices, money: unit.clone(), unit, lines: Vec::new(), sum_minor: 0, entry: None, expected: None };
        Self::with_book(&count, journal)
    }
}

impl Journal {
    /// The line of a class; `None` where it has no price.
    fn line(&mut self, name: &str) -> Option<usize> {
        if let Some(index) = self.lines.iter().position(|line| *line.name == *name) {
            return Some(index);
        }
        let (name, price_minor) = self.prices.iter().find(|(priced, _)| **priced == *name)?.clone();
        self.lines.push(Line { name, price_minor, quantity: 0, there: 0, exempt: 0, exempt_at: Moment::default() });
        Some(self.lines.len() - 1)
    }

    /// Books so many more of a line, or fewer; `None`, and nothing has changed, where they cannot be added up.
    fn book(&mut self, at: Moment, draft: Draft<'_>) -> Option<()> {
        let Draft { kind, index, quantity, note } = draft;
        let line = &self.lines[index];
        let whole = line.quantity.checked_add(quantity)?;
        // The item's own amount has to be a number, too.
        whole.checked_mul(line.price_minor)?;
        let amount_minor = quantity.checked_mul(line.price_minor)?;
        let sum_minor = self.sum_minor.checked_add(amount_minor)?;
        let name = Some(Arc::clone(&line.name));
        self.lines[index].quantity = whole;
        self.sum_minor = sum_minor;
        let number = self.next_number();
        self.entry = Some(Entry { number, at, kind, name, quantity, amount_minor, note: note.cloned() });
        Some(())
    }

    fn next_number(&self) -> u64 {
        self.entry.as_ref().map_or(0, |entry| entry.number).saturating_add(1)
    }

    /// Writes that a session began or ended.
    fn write(&mut self, at: Moment, kind: EntryKind) {
        let number = self.next_number();
        self.entry = Some(Entry { number, at, kind, name: None, quantity: 0, amount_minor: 0, note: None });
    }

    /// The names that have a price, for who named another.
    fn unknown(&self, rule: &str, name: &str) -> Refusal {
        let known: Vec<_> = self.prices.iter().map(|(name, _)| &**name).collect();
        Refusal(format!("rule \"{rule}\" has no price for {name:?}; its prices: {}", known.join(", ")))
    }
}

impl Book for Journal {
    fn begin(&mut self, at: Moment, expected: Option<Vec<(Arc<str>, i64)>>) {
        self.lines.clear();
        self.sum_minor = 0;
        self.money.clone_from(&self.unit);
        self.expected = expected;
        self.write(at, EntryKind::Open);
    }

    fn end(&mut self, at: Moment) {
        self.write(at, EntryKind::Close);
    }

    fn begins(&self, change: &Change) -> bool {
        change.way == Way::In
    }

    fn take(&mut self, at: Moment, change: &Change, open: bool) -> bool {
        let Some(index) = self.line(&change.name).filter(|_| open) else { return false };
        let line = &mut self.lines[index];
        match change.way {
            Way::In => {
                line.there = line.there.saturating_add(1);
                self.book(at, Draft { kind: EntryKind::Put, index, quantity: 1, note: None }).is_some()
            }
            Way::Out if change.booked == Booked::Earlier => false,
            Way::Out => {
                line.there = line.there.saturating_sub(1).max(0);
                if line.exempt > 0 && change.since.is_none_or(|counted_at| counted_at <= line.exempt_at) {
                    line.exempt -= 1;
                    return false;
                }
                if line.quantity < 1 {
                    return false;
                }
                self.book(at, Draft { kind: EntryKind::Take, index, quantity: -1, note: None }).is_some()
            }
        }
    }

    fn expect(&self, rule: &str, expected: &[(String, i64)]) -> Result<Vec<(Arc<str>, i64)>, Refusal> {
        let mut known: Vec<(Arc<str>, i64)> = Vec::new();
        for (name, quantity) in expected {
            let (priced, _) =
                self.prices.iter().find(|(priced, _)| **priced == **name).ok_or_else(|| self.unknown(rule, name))?;
            if *quantity < 0 {
                return Err(Refusal(format!("{quantity} of {name:?} cannot be expected; name 0 or more")));
            }
            if known.iter().any(|(known, _)| known == priced) {
                return Err(Refusal(format!("{name:?} is expected twice; name each class once")));
            }
            known.push((Arc::clone(priced), *quantity));
        }
        Ok(known)
    }

    fn correct(&mut self, at: Moment, rule: &str, order: &Order) -> Result<(), Refusal> {
        let (kind, name, quantity, note) = match order {
            Order::Void { name, quantity, note } => (EntryKind::Void, name, *quantity, note),
            Order::Correct { name, quantity, note } => (EntryKind::Correct, name, *quantity, note),
            _ => return Ok(()),
        };
        let index = self.line(name).ok_or_else(|| self.unknown(rule, name))?;
        let line = &self.lines[index];
        let more = if kind == EntryKind::Void {
            if quantity < 1 {
                return Err(Refusal(format!("{quantity} of {name:?} cannot be voided; name 1 or more")));
            }
            if quantity > line.quantity {
                let there = line.quantity;
                return Err(Refusal(format!(
                    "{quantity} of {name:?} cannot be voided, rule \"{rule}\" has {there}; void at most so many"
                )));
            }
            -quantity
        } else {
            if quantity < 0 {
                return Err(Refusal(format!("there cannot be {quantity} of {name:?}; name 0 or more")));
            }
            quantity.saturating_sub(line.quantity)
        };
        let draft = Draft { kind, index, quantity: more, note: note.as_ref() };
        self.book(at, draft).ok_or_else(|| {
            Refusal(format!("so many {name:?} come to more than can be added up; name a smaller quantity"))
        })?;
        let line = &mut self.lines[index];
        line.exempt = line.exempt.saturating_sub(more).clamp(0, line.there);
        if more < 0 {
            line.exempt_at = at;
        }
        Ok(())
    }

    fn is_outdated(&self) -> bool {
        self.money != self.unit
    }

    fn what(&self, session: &Session) -> What {
        let item = |line: &Line| Item {
            name: Arc::clone(&line.name),
            quantity: line.quantity,
            price_minor: line.price_minor,
            amount_minor: line.quantity.saturating_mul(line.price_minor),
        };
        let none = Entry {
            number: 0,
            at: session.opened_at,
            kind: EntryKind::Open,
            name: None,
            quantity: 0,
            amount_minor: 0,
            note: None,
        };
        What::Total(event::Total {
            session: session.clone(),
            items: self.lines.iter().filter(|line| line.quantity != 0).map(item).collect(),
            sum_minor: self.sum_minor,
            currency: self.money.currency.clone(),
            decimals: self.money.decimals,
            entry: self.entry.clone().unwrap_or(none),
            expected: self.expected.clone(),
        })
    }

    fn memory(&self) -> serde_json::Value {
        let line = |line: &Line| RememberedLine {
            name: line.name.to_string(),
            price_minor: line.price_minor,
            quantity: line.quantity,
            there: line.there,
            exempt: line.exempt,
            exempt_at: line.exempt_at,
        };
        let entry = |entry: &Entry| RememberedEntry {
            number: entry.number,
            at: entry.at,
            kind: entry.kind.name().to_owned(),
            name: entry.name.as_ref().map(ToString::to_string),
            quantity: entry.quantity,
            amount_minor: entry.amount_minor,
            note: entry.note.clone(),
        };
        let text = |(name, quantity): &(Arc<str>, i64)| (name.to_string(), *quantity);
        let memory = Memory {
            lines: self.lines.iter().map(line).collect(),
            sum_minor: self.sum_minor,
            entry: self.entry.as_ref().map(entry),
            expected: self.expected.as_ref().map(|expected| expected.iter().map(text).collect()),
            money: Some(self.money.clone()),
        };
        serde_json::to_value(memory).expect("keys are text")
    }

    fn recall(&mut self, memory: &serde_json::Value, now: Moment) -> bool {
        let Ok(Memory { lines, sum_minor, entry, expected, money }) = Memory::deserialize(memory) else { return false };
        let line = |line: RememberedLine| Line {
            name: line.name.into(),
            price_minor: line.price_minor,
            quantity: line.quantity.max(0),
            there: line.there.max(0),
            exempt: line.exempt.clamp(0, line.there.max(0)),
            exempt_at: line.exempt_at.min(now),
        };
        self.lines = lines.into_iter().map(line).collect();
        self.sum_minor = sum_minor;
        self.entry = entry.map(|entry| Entry {
            number: entry.number,
            at: entry.at.min(now),
            kind: kind_of(&entry.kind),
            name: entry.name.map(Into::into),
            quantity: entry.quantity,
            amount_minor: entry.amount_minor,
            note: entry.note,
        });
        let text = |(name, quantity): (String, i64)| (name.into(), quantity);
        self.expected = expected.map(|expected| expected.into_iter().map(text).collect());
        self.money = money.unwrap_or_else(|| self.unit.clone());
        true
    }
}

/// The kind of entry that a word stands for.
fn kind_of(name: &str) -> EntryKind {
    let all = [EntryKind::Open, EntryKind::Put, EntryKind::Take, EntryKind::Void, EntryKind::Correct, EntryKind::Close];
    all.into_iter().find(|kind| kind.name() == name).unwrap_or(EntryKind::Close)
}

#[cfg(test)]
mod tests;
