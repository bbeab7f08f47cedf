//! Checks the numbering of a box's messages as a subscriber sees them: what is missing, what came twice, what to ask for
//! again. Pure: messages and moments come in, findings and questions come out; `publish::listener` has the connection.
//!
//! The rules are those of the contract. Numbers count per device, topic and epoch, without a hole. What is not above the
//! last one is dropped, unless it is missing. What has the retain flag is present state and checked for nothing. What a `gap`
//! message names is lost and told. The `topics` of a status are the last numbers that were given away, so that what is lost
//! behind the last message is missed, too.

mod finding;
mod stream;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use serde::Deserialize;
use serde_json::json;

use self::stream::Stream;
pub use self::{
    finding::{Finding, Place, Summary},
    stream::Range,
};

/// A box that has said nothing for so long, although it is there, has sent all that it has.
const QUIET_AFTER: Duration = Duration::from_secs(5);
/// Between two questions to one box: it takes ten commands in a second from all of us.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// Most topics and numberings; more are not followed.
const STREAMS_MAX: usize = 20_000;
/// Most findings that wait to be read; beyond that the oldest are dropped.
const FINDINGS_MAX: usize = 10_000;

/// How to check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What topics begin with.
    pub prefix: String,
    /// Every numbering was followed from its first message on: nothing is missing before the first that comes here.
    pub from_start: bool,
    /// Ask for what is missing.
    pub resend: bool,
}

/// Something to ask a box.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Where to publish it.
    pub topic: String,
    /// What to publish.
    pub payload: String,
}

/// Follows all boxes below a prefix.
#[derive(Debug)]
pub struct Checker {
    settings: Settings,
    devices: BTreeMap<String, Device>,
    streams: usize,
    findings: VecDeque<Finding>,
    summary: Summary,
    questions: u64,
}

#[derive(Debug)]
struct Device {
    /// In the words of its status; empty where it is not known.
    state: String,
    /// When something of it came last.
    heard: Instant,
    asked: Option<Instant>,
    refusal: Option<String>,
    /// By topic, then by epoch.
    topics: BTreeMap<String, BTreeMap<u64, Stream>>,
}

/// What of a message matters here.
#[derive(Debug, Deserialize)]
struct Body {
    epoch: Option<u64>,
    seq: Option<u64>,
    #[serde(default)]
    replayed: bool,
    // Of a status:
    state: Option<String>,
    topics: Option<BTreeMap<String, Number>>,
    // Of a gap:
    topic: Option<String>,
    lost_epoch: Option<u64>,
    from: Option<u64>,
    to: Option<u64>,
    reason: Option<String>,
    // Of an answer:
    ok: Option<bool>,
    error: Option<String>,
    gone: Option<Vec<(u64, u64)>>,
}

#[derive(Debug, Deserialize)]
struct Number {
    epoch: u64,
    seq: u64,
}

impl Checker {
    /// One that has seen nothing.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            devices: BTreeMap::new(),
            streams: 0,
            findings: VecDeque::new(),
            summary: Summary::default(),
            questions: 0,
        }
    }

    /// A message came. Returns whether it is new to a subscriber, and not one to drop.
    pub fn hear(&mut self, topic: &str, payload: &[u8], retained: bool, now: Instant) -> bool {
        let Some((device, rest)) = self.place(topic) else { return true };
        let (device, rest) = (device.to_owned(), rest.to_owned());
        let Ok(body) = serde_json::from_slice::<Body>(payload) else { return true };
        let known = self.devices.entry(device.clone()).or_insert_with(|| Device::new(now));
        known.heard = now;
        let is_news = match (body.epoch, body.seq) {
            (Some(epoch), Some(seq)) if !retained => self.number(&device, topic, (epoch, seq, body.replayed), now),
            _ => true,
        };
        match rest.as_str() {
            "status" => self.status(&device, body, now),
            "gap" if is_news && !retained => self.gap(&device, &body),
            "cmd/resend/result" => self.answer(&device, &body),
            _ => {}
        }
        is_news
    }

    /// The connection to the broker is new.
    pub fn connected(&mut self, now: Instant) {
        for device in self.devices.values_mut() {
            device.heard = now;
            for stream in device.streams_mut() {
                stream.ask_afresh(now);
            }
        }
    }

    /// Time has passed, with a connection to the broker: what to ask now.
    pub fn tick(&mut self, now: Instant) -> Vec<Question> {
        let mut questions = Vec::new();
        for (name, device) in &mut self.devices {
            if matches!(device.state.as_str(), "offline" | "stopped") {
                continue;
            }
            let quiet = now.saturating_duration_since(device.heard) >= QUIET_AFTER;
            let may_ask = device.asked.is_none_or(|asked| now.saturating_duration_since(asked) >= ASK_EVERY);
            let mut ask = None;
            for (topic, epochs) in &mut device.topics {
                for (epoch, stream) in epochs {
                    let place = |range| Place { topic: topic.clone(), epoch: *epoch, range };
                    let mut gaps = Vec::new();
                    if quiet {
                        stream.miss_tail(now, &mut gaps);
                    }
                    self.summary.gaps += gaps.len() as u64;
                    self.findings.extend(gaps.into_iter().map(|range| Finding::Missing(place(range))));
                    if !self.settings.resend {
                        continue;
                    }
                    if may_ask && ask.is_none() {
                        ask = stream.ask(now).map(place);
                    }
                    for range in stream.give_up(now) {
                        self.summary.lost = self.summary.lost.saturating_add(range.count());
                        self.findings.push_back(Finding::Lost(place(range)));
                    }
                }
            }
            if let Some(Place { topic, epoch, range: Range { from, to } }) = ask {
                device.asked = Some(now);
                self.questions += 1;
                self.summary.asked += 1;
                let id = format!("listen-{}", self.questions);
                let payload = json!({"topic": topic, "epoch": epoch, "from": from, "to": to, "id": id}).to_string();
                questions.push(Question { topic: format!("{}/{name}/cmd/resend", self.settings.prefix), payload });
            }
        }
        self.bound_findings();
        questions
    }

    /// The next finding.
    pub fn finding(&mut self) -> Option<Finding> {
        self.findings.pop_front()
    }

    /// Whether nothing is missing, as far as the boxes have said what they sent.
    pub fn is_settled(&self) -> bool {
        self.devices
            .values()
            .flat_map(Device::streams)
            .all(|stream| stream.tail().is_empty() && stream.missing().count() == 0)
    }

    /// What came of it until now. What is missing counts as lost.
    pub fn summary(&self) -> Summary {
        let streams = self.devices.values().flat_map(Device::streams);
        let lost = streams.fold(self.summary.lost, |lost, stream| total(stream.missing().chain(stream.tail()), lost));
        Summary { topics: self.streams, lost, ..self.summary }
    }

    /// The device and what follows it in a topic below the prefix.
    fn place<'a>(&self, topic: &'a str) -> Option<(&'a str, &'a str)> {
        topic.strip_prefix(&self.settings.prefix)?.strip_prefix('/')?.split_once('/')
    }

    fn number(&mut self, device: &str, topic: &str, (epoch, seq, replayed): (u64, u64, bool), now: Instant) -> bool {
        let known = self.devices.get_mut(device).expect("it was entered when its message came");
        let Some(stream) = known.stream(topic, epoch, seq.saturating_sub(1), &self.settings, &mut self.streams) else {
            return true;
        };
        let (stream, is_new) = stream;
        let at = |range| Place { topic: topic.to_owned(), epoch, range };
        if is_new == Birth::Later {
            self.findings.push_back(Finding::NewEpoch(at(Range { from: seq, to: seq })));
        }
        let mut gaps = Vec::new();
        let place = stream.hear(seq, replayed, now, &mut gaps);
        // Those that were told before their place came.
        self.summary.told = total(stream.take_told(), self.summary.told);
        self.summary.gaps += gaps.len() as u64;
        self.findings.extend(gaps.into_iter().map(|range| Finding::Missing(at(range))));
        self.summary.messages += u64::from(place != stream::Place::Seen);
        match place {
            stream::Place::Next | stream::Place::Ahead => {}
            stream::Place::Filled { closes } => {
                self.summary.resent += 1;
                if closes {
                    self.findings.push_back(Finding::Filled(at(Range { from: seq, to: seq })));
                }
            }
            stream::Place::Inverted => {
                self.summary.inversions += 1;
                self.findings.push_back(Finding::Inverted(at(Range { from: seq, to: seq })));
            }
            stream::Place::Seen => self.summary.duplicates += 1,
        }
        self.bound_findings();
        place != stream::Place::Seen
    }

    fn status(&mut self, device: &str, body: Body, now: Instant) {
        let known = self.devices.get_mut(device).expect("it was entered when its message came");
        if let Some(state) = body.state
            && known.state != state
        {
            if matches!(known.state.as_str(), "offline" | "stopped") {
                known.streams_mut().for_each(|stream| stream.ask_afresh(now));
            }
            known.state.clone_from(&state);
            self.findings.push_back(Finding::Device { device: device.to_owned(), state });
        }
        // Pictures have no number of their own, and their topics end so.
        let numbered = body.topics.unwrap_or_default().into_iter().filter(|(topic, _)| !topic.ends_with('#'));
        for (topic, Number { epoch, seq }) in numbered {
            if !topic.starts_with(&format!("{}/{device}/", self.settings.prefix)) {
                continue;
            }
            let follows = known.follows(&topic, epoch, &self.settings);
            if follows && let Some((stream, _)) = known.stream(&topic, epoch, 0, &self.settings, &mut self.streams) {
                stream.state(seq);
            }
        }
    }

    fn gap(&mut self, device: &str, body: &Body) {
        let (Some(epoch), Some(from), Some(to)) = (body.lost_epoch, body.from, body.to) else { return };
        // What the box does not know is of a numbering before its own, and may be all of it.
        let unknown = epoch == 0;
        let range = if unknown { Range { from: 1, to: u64::MAX } } else { Range { from, to } };
        if range.from > range.to {
            return;
        }
        let known = self.devices.get_mut(device).expect("it was entered when its message came");
        let reason = body.reason.clone().unwrap_or_default();
        if let Some(topic) = &body.topic
            && !unknown
            && known.follows(topic, epoch, &self.settings)
        {
            // It may be the first that is heard of this numbering.
            known.stream(topic, epoch, 0, &self.settings, &mut self.streams);
        }
        for (topic, epochs) in &mut known.topics {
            if body.topic.as_ref().is_some_and(|told| told != topic) {
                continue;
            }
            let own = body.epoch.unwrap_or(u64::MAX);
            let told = |older: &u64| if unknown { *older < own } else { *older == epoch };
            for (_, stream) in epochs.iter_mut().filter(|(epoch, _)| told(epoch)) {
                let tail = total(stream.tail(), 0);
                self.summary.told = self.summary.told.saturating_add(stream.tell(range));
                let left = total(stream.tail(), 0);
                self.summary.told = self.summary.told.saturating_add(if unknown { tail - left } else { 0 });
            }
        }
        let topic = body.topic.clone().unwrap_or_else(|| format!("{}/{device}/#", self.settings.prefix));
        self.findings.push_back(Finding::Told(Place { topic, epoch, range }, reason));
        self.bound_findings();
    }

    fn answer(&mut self, device: &str, body: &Body) {
        let known = self.devices.get_mut(device).expect("it was entered when its message came");
        if body.ok == Some(false) && known.refusal != body.error {
            known.refusal.clone_from(&body.error);
            let reason = body.error.clone().unwrap_or_default();
            self.findings.push_back(Finding::Refused { device: device.to_owned(), reason });
        }
        let (Some(topic), Some(epoch), Some(gone)) = (&body.topic, body.epoch, &body.gone) else { return };
        let Some(stream) = known.topics.get_mut(topic).and_then(|epochs| epochs.get_mut(&epoch)) else { return };
        for &(from, to) in gone.iter().filter(|(from, to)| from <= to) {
            for range in stream.gone(Range { from, to }) {
                self.summary.lost = self.summary.lost.saturating_add(range.count());
                self.findings.push_back(Finding::Lost(Place { topic: topic.clone(), epoch, range }));
            }
        }
        self.bound_findings();
    }

    fn bound_findings(&mut self) {
        let surplus = self.findings.len().saturating_sub(FINDINGS_MAX);
        self.findings.drain(..surplus);
    }
}

/// So many more than those of before; whoever forges numbers reaches no end.
fn total(ranges: impl IntoIterator<Item = Range>, before: u64) -> u64 {
    ranges.into_iter().fold(before, |sum, range| sum.saturating_add(range.count()))
}

/// How a numbering came to be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Birth {
    /// It was followed before.
    Known,
    /// It is the first of its topic.
    First,
    /// It follows another.
    Later,
}

impl Device {
    fn new(now: Instant) -> Self {
        Self { state: String::new(), heard: now, asked: None, refusal: None, topics: BTreeMap::new() }
    }

    fn streams(&self) -> impl Iterator<Item = &Stream> {
        self.topics.values().flat_map(BTreeMap::values)
    }

    fn streams_mut(&mut self) -> impl Iterator<Item = &mut Stream> {
        self.topics.values_mut().flat_map(BTreeMap::values_mut)
    }

    /// Whether a numbering is followed, or would be from its first number on.
    fn follows(&self, topic: &str, epoch: u64, settings: &Settings) -> bool {
        match self.topics.get(topic) {
            Some(epochs) => epochs.contains_key(&epoch) || epochs.keys().all(|older| *older < epoch),
            None => settings.from_start,
        }
    }

    /// The numbers of a topic. One that is new is followed from 1 on where it follows an older epoch, or all was followed
    /// from the start; otherwise what lies up to `base` was before our time.
    fn stream(
        &mut self,
        topic: &str,
        epoch: u64,
        base: u64,
        settings: &Settings,
        count: &mut usize,
    ) -> Option<(&mut Stream, Birth)> {
        let epochs = match self.topics.contains_key(topic) {
            true => self.topics.get_mut(topic).expect("it was just found"),
            false if *count >= STREAMS_MAX => return None,
            false => self.topics.entry(topic.to_owned()).or_default(),
        };
        if epochs.contains_key(&epoch) {
            return epochs.get_mut(&epoch).map(|stream| (stream, Birth::Known));
        }
        if *count >= STREAMS_MAX {
            return None;
        }
        *count += 1;
        let later = epochs.keys().next_back().is_some_and(|newest| *newest < epoch);
        let base = if later || settings.from_start { 0 } else { base };
        let birth = if later { Birth::Later } else { Birth::First };
        Some((epochs.entry(epoch).or_insert_with(|| Stream::new(base)), birth))
    }
}
