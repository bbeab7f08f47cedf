//! Where commands come in, and how many are taken.

use std::time::{Duration, Instant};

use super::{Asked, COMMAND_BYTES_MAX, Command, PER_SECOND, Refusal, Verb, keys::Keys, resend, rule};
use crate::rules::Order;

/// Longest name that an asker may give a command, in bytes.
const ID_BYTES_MAX: usize = 64;

/// Where commands come in.
#[derive(Debug)]
pub struct Desk {
    /// What the device's topics begin with.
    own: String,
    verbs: Vec<Verb>,
    taken: Allowance,
    refused: Allowance,
}

impl Desk {
    /// One for the commands that are allowed.
    pub fn new(prefix: &str, device: &str, verbs: &[Verb], now: Instant) -> Self {
        let verbs = Verb::ALL.into_iter().filter(|verb| verbs.contains(verb)).collect();
        Self { own: format!("{prefix}/{device}/"), verbs, taken: Allowance::new(now), refused: Allowance::new(now) }
    }

    /// The topics to subscribe to, without wildcards; none where no command is allowed.
    pub fn topics(&self) -> Vec<String> {
        self.verbs.iter().map(|verb| format!("{}cmd/{}", self.own, verb.name())).collect()
    }

    /// Reads a message. `None` where it is no command, or one that is not worth an answer: a retained one, since it was
    /// meant for another moment, and those beyond what is answered in a second.
    pub fn take(&mut self, topic: &str, payload: &[u8], retained: bool, now: Instant) -> Option<Asked> {
        let word = topic.strip_prefix(&self.own)?.strip_prefix("cmd/")?;
        let verb = self.verbs.iter().copied().find(|verb| verb.name() == word)?;
        if retained {
            return None;
        }
        let (id, mut command) = self.read(verb, payload);
        if !self.taken.spend(now) {
            command = Err(Refusal::TooOften);
        }
        if command.is_err() && !self.refused.spend(now) {
            return None;
        }
        Some(Asked { verb, id, command })
    }

    fn read(&self, verb: Verb, payload: &[u8]) -> (Option<String>, Result<Command, Refusal>) {
        if payload.len() > COMMAND_BYTES_MAX {
            return (None, Err(Refusal::TooLong(payload.len())));
        }
        let Some(mut keys) = Keys::read(payload) else {
            return (None, Err(Refusal::NoObject(verb.example())));
        };
        let id = match keys.optional("id", "a text of at most 64 bytes", |value| {
            value.as_str().filter(|id| id.len() <= ID_BYTES_MAX).map(str::to_owned)
        }) {
            Ok(id) => id,
            Err(refusal) => return (None, Err(refusal)),
        };
        let command = match verb {
            Verb::Resend => resend::read(keys, &self.own).map(Command::Resend),
            Verb::Snapshot => rule::snapshot(keys),
            Verb::Ack => rule::read(keys, "camera, rule and id", |_| Ok(Order::Acknowledge)),
            Verb::Reset => rule::read(keys, "camera, rule and id", |_| Ok(Order::Reset)),
            Verb::Close => rule::read(keys, "camera, rule and id", |_| Ok(Order::Close)),
            Verb::Shelve => rule::read(keys, "camera, rule, seconds and id", rule::shelve),
            Verb::Open => rule::read(keys, "camera, rule, external_id, expected and id", rule::open),
            Verb::Void => rule::read(keys, "camera, rule, name, quantity, note and id", rule::void),
            Verb::Correct => rule::read(keys, "camera, rule, name, quantity, note and id", rule::correct),
        };
        (id, command)
    }
}

/// So many in a second, and so many at once after a rest.
#[derive(Debug)]
struct Allowance {
    left: u32,
    /// Until when what came back was counted.
    counted: Instant,
}

impl Allowance {
    fn new(now: Instant) -> Self {
        Self { left: PER_SECOND, counted: now }
    }

    fn spend(&mut self, now: Instant) -> bool {
        const ONE: Duration = Duration::from_millis(1000 / PER_SECOND as u64);
        while self.left < PER_SECOND && now.saturating_duration_since(self.counted) >= ONE {
            self.left += 1;
            self.counted += ONE;
        }
        if self.left == PER_SECOND {
            self.counted = now;
        }
        let allowed = self.left > 0;
        self.left = self.left.saturating_sub(1);
        allowed
    }
}
