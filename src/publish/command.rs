//! What the plant may ask of a device: which topics are commands, what stands in them, and how many are taken. Pure; who
//! does what is asked stands elsewhere.
//!
//! A command says what to do, never with which file or address. Whoever may publish to the broker may send one, so they are
//! off unless configured, short, and checked key by key.

use std::time::{Duration, Instant};

use serde_json::{Map, Value};

/// Longest command in bytes.
pub const COMMAND_BYTES_MAX: usize = 4096;
/// Most numbers that one command may ask for again.
pub const RESEND_COUNT_MAX: u64 = 10_000;
/// Longest name that an asker may give a command, in bytes.
const ID_BYTES_MAX: usize = 64;
/// Commands that are taken in a second, and refusals that are answered.
const PER_SECOND: u32 = 10;

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// To send messages again.
    Resend,
}

impl Verb {
    /// All of them.
    pub const ALL: [Self; 1] = [Self::Resend];

    /// The word for it in topics and in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Resend => "resend",
        }
    }
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Send messages again.
    Resend(Resend),
}

/// Which messages to send again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resend {
    /// Of this topic, which is one of the device's,
    pub topic: String,
    /// of this numbering, or the current one,
    pub epoch: Option<u64>,
    /// from this number, at least 1,
    pub from: u64,
    /// to this one, which is not below and at most [`RESEND_COUNT_MAX`] further.
    pub to: u64,
}

/// A command that came, to be done or refused, and to be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// What was asked for.
    pub verb: Verb,
    /// The asker's own name for it, which the answer repeats.
    pub id: Option<String>,
    /// What to do, or why it is not done.
    pub command: Result<Command, Refusal>,
}

/// Why a command is not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Longer than any command.
    #[error("the command has {0} bytes, and {COMMAND_BYTES_MAX} are the limit; send less")]
    TooLong(usize),
    /// Not a JSON object.
    #[error("the command is no JSON object; send {{\"topic\": \"…\", \"from\": 1, \"to\": 9}}")]
    NoObject,
    /// A key that no such command has.
    #[error("the key {0:?} is unknown; known are {1}")]
    UnknownKey(String, &'static str),
    /// A key that is missing, or another kind of value than it takes.
    #[error("the key {0:?} takes {1}; write it so")]
    Value(&'static str, &'static str),
    /// A topic of somebody else.
    #[error("the topic {0:?} is not one of this device's; write one that begins with {1:?}")]
    ForeignTopic(String, String),
    /// A range without a number in it.
    #[error("the range {0} to {1} is empty; write from ≥ 1 and to ≥ from")]
    Empty(u64, u64),
    /// More than may be asked for at once.
    #[error("the range {0} to {1} is too long; ask for {RESEND_COUNT_MAX} at once at most")]
    TooMany(u64, u64),
    /// Too many commands.
    #[error("more than {PER_SECOND} commands in a second; ask again later")]
    TooOften,
}

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
        let Ok(Value::Object(mut keys)) = serde_json::from_slice(payload) else {
            return (None, Err(Refusal::NoObject));
        };
        let id = match keys.remove("id") {
            None => None,
            Some(Value::String(id)) if id.len() <= ID_BYTES_MAX => Some(id),
            Some(_) => return (None, Err(Refusal::Value("id", "a text of at most 64 bytes"))),
        };
        let command = match verb {
            Verb::Resend => self.resend(keys).map(Command::Resend),
        };
        (id, command)
    }

    fn resend(&self, mut keys: Map<String, Value>) -> Result<Resend, Refusal> {
        let Some(Value::String(topic)) = keys.remove("topic") else {
            return Err(Refusal::Value("topic", "a text"));
        };
        let epoch = match keys.remove("epoch") {
            None => None,
            Some(epoch) => Some(epoch.as_u64().ok_or(Refusal::Value("epoch", NUMBER))?),
        };
        let mut number = |key| keys.remove(key).as_ref().and_then(Value::as_u64).ok_or(Refusal::Value(key, NUMBER));
        let (from, to) = (number("from")?, number("to")?);
        if let Some(unknown) = keys.keys().next() {
            let unknown = unknown.chars().take(ID_BYTES_MAX).collect();
            return Err(Refusal::UnknownKey(unknown, "topic, epoch, from, to and id"));
        }
        if !topic.starts_with(&self.own) {
            return Err(Refusal::ForeignTopic(topic.chars().take(200).collect(), self.own.clone()));
        }
        if from == 0 || to < from {
            return Err(Refusal::Empty(from, to));
        }
        if to - from >= RESEND_COUNT_MAX {
            return Err(Refusal::TooMany(from, to));
        }
        Ok(Resend { topic, epoch, from, to })
    }
}

const NUMBER: &str = "a whole number";

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Rng;

    const TOPIC: &str = "andon/box/cmd/resend";

    fn desk(now: Instant) -> Desk {
        Desk::new("andon", "box", &Verb::ALL, now)
    }

    fn read(payload: &str) -> Asked {
        let now = Instant::now();
        desk(now).take(TOPIC, payload.as_bytes(), false, now).expect("it is a command")
    }

    #[test]
    fn a_command_is_understood() {
        let asked = read(r#"{"topic":"andon/box/in/events","from":3,"to":7,"id":"a"}"#);
        let resend = Resend { topic: "andon/box/in/events".into(), epoch: None, from: 3, to: 7 };
        assert_eq!(
            asked,
            Asked { verb: Verb::Resend, id: Some("a".into()), command: Ok(Command::Resend(resend.clone())) }
        );
        let asked = read(r#"{"to":7,"epoch":12,"from":3,"topic":"andon/box/in/events"}"#);
        let resend = Resend { epoch: Some(12), ..resend };
        assert_eq!(asked, Asked { verb: Verb::Resend, id: None, command: Ok(Command::Resend(resend)) });
    }

    #[test]
    fn what_is_wrong_is_said() {
        let refused = |payload: &str| read(payload).command.unwrap_err().to_string();
        for (payload, sentence) in [
            ("", "the command is no JSON object; send {\"topic\": \"…\", \"from\": 1, \"to\": 9}"),
            ("[1]", "the command is no JSON object; send {\"topic\": \"…\", \"from\": 1, \"to\": 9}"),
            ("{}", "the key \"topic\" takes a text; write it so"),
            (r#"{"topic":"andon/box/a","from":-1,"to":2}"#, "the key \"from\" takes a whole number; write it so"),
            (r#"{"topic":"andon/box/a","from":1}"#, "the key \"to\" takes a whole number; write it so"),
            (
                r#"{"topic":"andon/box/a","from":1,"to":2,"epoch":"x"}"#,
                "the key \"epoch\" takes a whole number; write it so",
            ),
            (
                r#"{"topic":"andon/box/a","from":1,"to":2,"file":"/etc"}"#,
                "the key \"file\" is unknown; known are topic, epoch, from, to and id",
            ),
            (
                r#"{"topic":"andon/box2/a","from":1,"to":2}"#,
                "the topic \"andon/box2/a\" is not one of this device's; write one that begins with \"andon/box/\"",
            ),
            (r#"{"topic":"andon/box/a","from":0,"to":2}"#, "the range 0 to 2 is empty; write from ≥ 1 and to ≥ from"),
            (r#"{"topic":"andon/box/a","from":9,"to":3}"#, "the range 9 to 3 is empty; write from ≥ 1 and to ≥ from"),
            (
                r#"{"topic":"andon/box/a","from":1,"to":10001}"#,
                "the range 1 to 10001 is too long; ask for 10000 at once at most",
            ),
            (r#"{"id":7}"#, "the key \"id\" takes a text of at most 64 bytes; write it so"),
        ] {
            assert_eq!(refused(payload), sentence, "{payload}");
        }
        assert!(read(r#"{"topic":"andon/box/a","from":1,"to":10000}"#).command.is_ok());
        let long = format!("{{\"id\":\"{}\"}}", "x".repeat(COMMAND_BYTES_MAX));
        assert_eq!(refused(&long), "the command has 4105 bytes, and 4096 are the limit; send less");
        assert_eq!(read(r#"{"id":"b"}"#).id.as_deref(), Some("b"), "a refusal names what it refuses");
    }

    #[test]
    fn only_what_is_allowed_is_listened_to() {
        let now = Instant::now();
        assert_eq!(desk(now).topics(), [TOPIC]);
        assert!(Desk::new("andon", "box", &[], now).topics().is_empty());
        assert_eq!(Desk::new("andon", "box", &[], now).take(TOPIC, b"{}", false, now), None);
        assert_eq!(desk(now).take(TOPIC, b"{}", true, now), None, "it was kept for whoever comes");
        for topic in ["andon/box/cmd/format", "andon/box/cmd/resend/result", "andon/other/cmd/resend", "andon/box/cmd"]
        {
            assert_eq!(desk(now).take(topic, b"{}", false, now), None, "{topic}");
        }
    }

    #[test]
    fn a_flood_is_refused_and_then_ignored() {
        let start = Instant::now();
        let mut desk = desk(start);
        let good = br#"{"topic":"andon/box/a","from":1,"to":2}"#;
        let mut flood = |now, count: usize| {
            let answers: Vec<_> = (0..count).map(|_| desk.take(TOPIC, good, false, now)).collect();
            let done = answers.iter().flatten().filter(|asked| asked.command.is_ok()).count();
            (done, answers.iter().flatten().count() - done)
        };
        assert_eq!(flood(start, 1000), (10, 10));
        assert_eq!(flood(start + Duration::from_millis(99), 5), (0, 0));
        assert_eq!(flood(start + Duration::from_millis(300), 1000), (3, 3));
        assert_eq!(flood(start + Duration::from_secs(3600), 1000), (10, 10));
    }

    /// One command made of pieces and noise; what is accepted keeps its bounds.
    fn take_noise(random: &mut Rng, desk: &mut Desk, now: Instant) -> bool {
        const PIECES: [&str; 24] = [
            "{",
            "}",
            "[",
            "]",
            "\"",
            ":",
            ",",
            "\"topic\":",
            "\"andon/box/in/events\"",
            "\"from\":",
            "\"to\":",
            "\"epoch\":",
            "\"id\":",
            "1",
            "9999",
            "18446744073709551615",
            "-1",
            "1e9",
            "null",
            "\\u0000",
            "\"x\"",
            "true",
            " ",
            "\u{ff}",
        ];
        let whole = random.chance(50);
        let mut payload = if whole {
            let (from, to) = (random.below(4), random.below(12_000));
            format!("{{\"topic\":\"andon/box/a\",\"from\":{from},\"to\":{to}}}").into_bytes()
        } else {
            (0..random.below(20)).flat_map(|_| random.pick(&PIECES).bytes()).collect::<Vec<_>>()
        };
        for _ in 0..random.below(3) {
            let place = random.below(payload.len() as i32 + 1) as usize;
            payload.insert(place, random.below(256) as u8);
        }
        match desk.take(TOPIC, &payload, false, now).map(|asked| asked.command) {
            Some(Ok(Command::Resend(Resend { topic, from, to, .. }))) => {
                assert!(topic.starts_with("andon/box/") && from >= 1 && to >= from && to - from < RESEND_COUNT_MAX);
                true
            }
            _ => false,
        }
    }

    #[test]
    fn noise_is_refused_and_nothing_else_happens() {
        let (mut random, mut now) = (Rng::new(7, 7), Instant::now());
        let mut desk = desk(now);
        let mut accepted = 0;
        for _ in 0..50_000 {
            now += Duration::from_millis(200);
            accepted += usize::from(take_noise(&mut random, &mut desk, now));
        }
        assert!((1_000..49_000).contains(&accepted), "{accepted}");
    }
}
