//! What a basket comes to. Money is whole minor units (cents), so that sums are exact.

use std::sync::Arc;

use super::Session;
use crate::moment::Moment;

/// What a session comes to, and the journal entry that made it so.
#[derive(Clone, Debug, PartialEq)]
pub struct Total {
    /// The session.
    pub session: Session,
    /// What is in it, in the order in which it was first put there; nothing of quantity 0.
    pub items: Vec<Item>,
    /// The sum of all amounts in minor units of the currency.
    pub sum_minor: i64,
    /// The currency, as ISO 4217 writes it.
    pub currency: String,
    /// Decimals of the currency: 2 where the minor unit is a hundredth.
    pub decimals: u8,
    /// What made it so.
    pub entry: Entry,
    /// What somebody says should be in it, by class, and how many; `None` where nobody did.
    pub expected: Option<Vec<(Arc<str>, i64)>>,
}

/// One line of a receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The class.
    pub name: Arc<str>,
    /// How many.
    pub quantity: i64,
    /// What one costs, in minor units.
    pub price_minor: i64,
    /// `quantity × price`, in minor units.
    pub amount_minor: i64,
}

/// One line of the journal. The amounts of a session's entries add up to its sum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number, from 1, going on over sessions and restarts.
    pub number: u64,
    /// When.
    pub at: Moment,
    /// What happened.
    pub kind: EntryKind,
    /// The class it is about; `None` where a session opened or closed.
    pub name: Option<Arc<str>>,
    /// How many more, or fewer where below zero.
    pub quantity: i64,
    /// How much more, or less where below zero, in minor units.
    pub amount_minor: i64,
    /// What the asker of a void or a correction gave as the reason.
    pub note: Option<String>,
}

/// What a journal entry tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A session began.
    Open,
    /// Something was put in.
    Put,
    /// Something was taken back.
    Take,
    /// Somebody said that something seen does not count.
    Void,
    /// Somebody said how many there are.
    Correct,
    /// A session ended.
    Close,
}

impl EntryKind {
    /// The word for it in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Put => "put",
            Self::Take => "take",
            Self::Void => "void",
            Self::Correct => "correct",
            Self::Close => "close",
        }
    }
}
