//! Things are counted in sessions, by class and by the way they go.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    CountSettings, Order, Refusal,
    counter::{Book, Booked, Change, Counter},
};
use crate::{
    event::{self, ClassCount, Session, Way, What},
    moment::Moment,
};

/// The rule at work.
pub(super) type Count = Counter<Tally>;

/// How often each class was counted in the session, and everything ever.
#[derive(Debug, Default)]
pub(super) struct Tally {
    classes: Vec<ClassCount>,
    ever_in: u64,
    ever_out: u64,
}

/// What has to be known after a restart.
#[derive(Debug, Serialize, Deserialize)]
struct Memory {
    /// Name, in, out.
    classes: Vec<(String, u64, u64)>,
    ever_in: u64,
    ever_out: u64,
}

impl Counter<Tally> {
    /// One that has seen nothing.
    pub(super) fn new(settings: &CountSettings) -> Self {
        Self::with_book(settings, Tally::default())
    }
}

impl Tally {
    fn class(&mut self, name: &Arc<str>) -> &mut ClassCount {
        let index = self.classes.iter().position(|class| class.name == *name).unwrap_or_else(|| {
            self.classes.push(ClassCount { name: Arc::clone(name), incoming: 0, outgoing: 0 });
            self.classes.len() - 1
        });
        &mut self.classes[index]
    }
}

impl Book for Tally {
    fn begin(&mut self, _: Moment, _: Option<Vec<(Arc<str>, i64)>>) {
        self.classes.clear();
    }

    fn end(&mut self, _: Moment) {}

    fn begins(&self, change: &Change) -> bool {
        change.booked == Booked::Here || change.way == Way::In
    }

    fn take(&mut self, _: Moment, change: &Change, open: bool) -> bool {
        let one_more = |count: &mut u64| *count = count.saturating_add(1);
        match change.way {
            Way::In => one_more(&mut self.ever_in),
            Way::Out => one_more(&mut self.ever_out),
        }
        if open {
            let class = self.class(&change.name);
            match change.way {
                Way::In => one_more(&mut class.incoming),
                Way::Out => one_more(&mut class.outgoing),
            }
        }
        true
    }

    fn expect(&self, rule: &str, _: &[(String, i64)]) -> Result<Vec<(Arc<str>, i64)>, Refusal> {
        Err(Refusal(format!(
            "rule \"{rule}\" counts without prices; what is expected goes to a rule of kind \"total\""
        )))
    }

    fn correct(&mut self, _: Moment, rule: &str, _: &Order) -> Result<(), Refusal> {
        Err(Refusal(format!("rule \"{rule}\" keeps no journal; void and correct are for rules of kind \"total\"")))
    }

    fn what(&self, session: &Session) -> What {
        let (session, classes) = (session.clone(), self.classes.clone());
        What::Count(event::Count { session, classes, ever_in: self.ever_in, ever_out: self.ever_out })
    }

    fn memory(&self) -> serde_json::Value {
        let remembered = |class: &ClassCount| (class.name.to_string(), class.incoming, class.outgoing);
        let classes = self.classes.iter().map(remembered).collect();
        let memory = Memory { classes, ever_in: self.ever_in, ever_out: self.ever_out };
        serde_json::to_value(memory).expect("keys are text")
    }

    fn recall(&mut self, memory: &serde_json::Value, _: Moment) -> bool {
        let Ok(Memory { classes, ever_in, ever_out }) = Memory::deserialize(memory) else { return false };
        let class = |(name, incoming, outgoing): (String, _, _)| ClassCount { name: name.into(), incoming, outgoing };
        self.classes = classes.into_iter().map(class).collect();
        (self.ever_in, self.ever_out) = (ever_in, ever_out);
        true
    }
}
