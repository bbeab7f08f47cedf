//! A camera's post at the line: its station at work. What the station says becomes messages, and they are handed over
//! together with what it has to know after a restart, so that nothing is counted twice and nothing is lost.
//!
//! The camera's detector, the clock, cameras' states and commands come from threads of their own; a lock that nobody holds
//! across a wait makes one order of them.

use std::{
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    photographer::Job,
    voice::{Spoken, Voice, Word, is_state, note_key, unnoted},
};
use crate::{
    detection::Detection,
    event::{Event, Judgement, What},
    format,
    frame::Frame,
    moment::Moment,
    publish::{
        Message,
        clock::Reading,
        mqtt::{Invalid, Refused},
        wire::{FrameFacts, ModelIdentity},
    },
    rules::{Input, Now, Order, Sight},
    station::{self, Look, Said, Station, Whereabouts},
    store::Note,
    vision::Rotation,
};

/// What a station has to know is noted so often at most where nothing is said.
const NOTE_EVERY: Duration = Duration::from_secs(1);

/// Parts that failed are pictured so often at most.
const FAIL_PICTURE_EVERY: Duration = Duration::from_secs(1);

/// Messages that cannot be published are told so often at most.
const REFUSED_EVERY: Duration = Duration::from_secs(60);

/// One camera's post.
pub(super) struct Post {
    /// The camera's id.
    pub(super) id: String,
    /// Ids of its rules.
    pub(super) rules: Vec<String>,
    rotation: Rotation,
    /// Whether anybody may ever want its pictures.
    keeps_pictures: bool,
    /// Ids of the inputs whose edges open parts.
    inputs: Vec<String>,
    work: Mutex<Work>,
    /// Messages that could not be published, and when that was told.
    refused: Mutex<(u64, Option<Instant>)>,
}

/// What a post has to know after a restart.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Memory {
    station: station::Memory,
    said: Spoken,
}

/// What became of something that was handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It is said.
    Said,
    /// It came too fast, and may be said later.
    Lost,
    /// It is not said.
    Refused,
}

struct Work {
    station: Station,
    said: Spoken,
    /// Something was lost: a state is to be said once more, and what it knows to be noted.
    owes: bool,
    /// Another line has taken its place; whatever comes now comes too late.
    retired: bool,
    /// Why what it knows is not noted.
    unnoted: Option<String>,
    /// The last moment that it was told: time does not go back.
    told_at: Moment,
    /// What the last note holds, and when it was made.
    noted: Whereabouts,
    noted_at: Instant,
    /// The capture of the last frame: time does not go back.
    captured_at: Option<Moment>,
    sight: Option<Sight>,
    /// The last frame that was looked at; without bytes before the first.
    last: Frame,
    fail_pictured_at: Option<Instant>,
}

/// A frame that was looked at.
pub(super) struct Looked<'a> {
    pub(super) facts: &'a FrameFacts,
    pub(super) model: &'a ModelIdentity,
    /// The frame itself.
    pub(super) frame: &'a Frame,
    /// Whether the camera was found to see with this frame.
    pub(super) sees: bool,
    /// What the model found; what counts as a detection stays.
    pub(super) found: &'a mut Vec<Detection>,
}

impl Post {
    /// A post that goes on where `memory` ended.
    pub(super) fn new(
        settings: &station::Settings,
        rotation: Rotation,
        keeps_pictures: bool,
        memory: Memory,
        voice: &Voice,
    ) -> Self {
        let reading = Reading::now();
        let now = voice.now(&reading);
        let mut station = Station::new(settings, now.moment);
        for rule in station.recall(&memory.station, now) {
            log::warn!(
                "camera \"{}\": what rule \"{rule}\" knew before cannot be read, and it begins anew",
                settings.camera
            );
        }
        let noted = station.whereabouts();
        Self {
            id: settings.camera.clone(),
            rules: settings.rules.iter().map(|rule| rule.id.clone()).collect(),
            rotation,
            keeps_pictures: keeps_pictures || !settings.rules.is_empty(),
            inputs: settings.rules.iter().filter_map(|rule| rule.kind.opened_by().map(str::to_owned)).collect(),
            work: Mutex::new(Work {
                station,
                said: memory.said,
                owes: false,
                retired: false,
                unnoted: None,
                told_at: now.moment,
                noted,
                noted_at: reading.instant,
                captured_at: None,
                sight: None,
                last: Frame::empty(),
                fail_pictured_at: None,
            }),
            refused: Mutex::default(),
        }
    }

    /// Says how its rules stand where something else was said last, and takes back what rules said that are gone. Whoever
    /// hears along hears how all of them stand. `anew`: what keeps messages is another one, and knows nothing of what was
    /// said.
    pub(super) fn begin(&self, voice: &Voice, anew: bool) {
        let reading = Reading::now();
        let mut work = self.lock();
        for (rule, what) in work.station.states() {
            for hearer in &voice.hearers {
                hearer.stands(&self.id, rule, &what);
            }
        }
        self.catch_up(voice, &mut work, &reading, anew);
    }

    /// Says how its rules stand where that differs from what was said last; all of them, and notes it, where it is `anew`.
    fn catch_up(&self, voice: &Voice, work: &mut Work, reading: &Reading, anew: bool) {
        let now = work.now(voice, reading);
        let mut messages = Vec::new();
        let mut said = Spoken::new();
        for (number, (rule, what)) in work.station.states().enumerate() {
            // No event of a rule has a name that begins anew with each start.
            let id = format!("{}-{rule}-{:x}-first-{number}", self.id, now.moment.micros());
            let event = Event { id, rule: rule.into(), at: now.moment, frame: None, what, because: Vec::new() };
            let message = voice.wire.rule(reading, &voice.timeline, &self.id, None, &event);
            let word = Word::new(&message.topic, &event.what);
            if anew || work.said.get(rule) != Some(&word) {
                messages.push(message);
            }
            said.insert(rule.to_owned(), word);
        }
        let gone = work.said.values().filter(|word| !said.values().any(|current| current.topic == word.topic));
        messages.extend(gone.map(Word::taken_back));
        if mem::take(&mut work.owes) || anew || !messages.is_empty() {
            self.hand_over(voice, work, messages, said, reading.instant);
        }
    }

    /// Takes back all that its rules said, since there is no such camera any more.
    pub(super) fn end(memory: &Memory, voice: &Voice, key: String) {
        let messages = memory.said.values().map(Word::taken_back).collect();
        let nothing = Note { key, body: Bytes::new() };
        if let Err(error) = voice.publisher.publish_all(messages, vec![nothing]) {
            log::warn!("what rules of a camera said that is gone stays with the broker: {error}");
        }
    }

    /// Ends its work: whatever comes now comes too late. Gives what the one after it has to know.
    pub(super) fn retire(&self) -> Memory {
        let mut work = self.lock();
        work.retired = true;
        Memory { station: work.station.memory(), said: work.said.clone() }
    }

    /// Why what it knows would be lost with the power or the process.
    pub(super) fn trouble(&self) -> Option<String> {
        self.lock().unnoted.clone()
    }

    /// Takes a frame; `false`: it came too late.
    pub(super) fn look(&self, voice: &Voice, looked: Looked<'_>) -> bool {
        let Looked { facts, model, frame, sees, found } = looked;
        let reading = Reading::now();
        let mut guard = self.lock();
        let work = &mut *guard;
        if work.retired {
            return false;
        }
        // A camera that shows something only now and then is found to see by the frame itself, before its rules judge by it.
        if sees && work.sight.as_ref().is_none_or(|sight| !sight.sees) {
            self.face(voice, work, &reading, Sight { sees, reason: String::new() });
        }
        let now = work.now(voice, &reading);
        let captured_at = voice.timeline.moment(facts.captured_at).max(work.captured_at.unwrap_or_default());
        work.captured_at = Some(captured_at);
        let look = Look { seq: facts.seq, captured_at, size: facts.size };
        let mut said = Vec::new();
        work.station.look(now, look, found, &mut |word| said.push(word));
        self.say(voice, work, &reading, Some((facts, model, frame)), &said);
        voice.hearers.iter().for_each(|hearer| hearer.decided(&self.id));
        true
    }

    /// Keeps a frame that was looked at, for those who want a picture later; another one may stand in its place afterwards.
    pub(super) fn keep(&self, frame: &mut Frame) {
        if self.keeps_pictures {
            mem::swap(frame, &mut self.lock().last);
        }
    }

    /// Takes anything else that its rules may hear of.
    pub(super) fn take(&self, voice: &Voice, input: Input<'_>) {
        let reading = Reading::now();
        let mut work = self.lock();
        if !work.retired {
            self.hear(voice, &mut work, &reading, input);
        }
    }

    /// Takes how the camera is, where that is news.
    pub(super) fn see(&self, voice: &Voice, sight: &Sight) {
        let reading = Reading::now();
        let mut work = self.lock();
        if !work.retired && work.sight.as_ref() != Some(sight) {
            self.face(voice, &mut work, &reading, sight.clone());
        }
    }

    fn face(&self, voice: &Voice, work: &mut Work, reading: &Reading, sight: Sight) {
        for hearer in &voice.hearers {
            hearer.sight(&self.id, &sight);
        }
        self.hear(voice, work, reading, Input::Camera(&sight));
        work.sight = Some(sight);
    }

    fn hear(&self, voice: &Voice, work: &mut Work, reading: &Reading, input: Input<'_>) {
        let now = work.now(voice, reading);
        let mut said = Vec::new();
        work.station.take(now, input, &mut |word| said.push(word));
        self.say(voice, work, reading, None, &said);
        // What is rare is known after a restart, also where nothing follows from it yet: an open part, a blind camera.
        let is_known = match input {
            Input::Camera(_) => !self.rules.is_empty(),
            Input::Edge { input } => self.inputs.iter().any(|opens| opens == input),
            Input::Frame(_) | Input::Encoder { .. } | Input::Tick => false,
        };
        if said.is_empty() && is_known {
            self.note(voice, work, reading.instant);
        }
    }

    /// Does what somebody asks of a rule, and says how it stands then.
    ///
    /// # Errors
    /// Why not, in a sentence that says what to do.
    pub(super) fn order(&self, voice: &Voice, rule: &str, order: &Order) -> Result<Map<String, Value>, String> {
        let reading = Reading::now();
        let mut work = self.lock();
        if work.retired {
            return Err("andon takes over another configuration; ask again in a moment".to_owned());
        }
        let now = work.now(voice, &reading);
        let mut said = Vec::new();
        let done = work.station.order(now, rule, order, &mut |word| said.push(word));
        self.say(voice, &mut work, &reading, None, &said);
        if said.is_empty() && done.is_ok() {
            self.note(voice, &mut work, reading.instant);
        }
        done.map_err(|refusal| refusal.to_string())?;
        let mut result = Map::new();
        result.insert("camera".into(), self.id.as_str().into());
        result.insert("rule".into(), rule.into());
        if let Some((_, what)) = work.station.states().find(|(id, _)| *id == rule) {
            result.extend(format::event::state(&what, &|moment| voice.timeline.rfc3339(&reading, moment)));
        }
        Ok(result)
    }

    /// Begins to publish what the camera saw last.
    ///
    /// # Errors
    /// Where it saw nothing yet.
    pub(super) fn snapshot(&self, voice: &Voice) -> Result<Map<String, Value>, String> {
        let work = self.lock();
        if work.last.data.is_empty() {
            return Err(format!("camera \"{}\" has shown no picture yet; look at its status", self.id));
        }
        let moment = voice.timeline.moment(Instant::now());
        let event = format!("{}-snapshot-{:x}", self.id, moment.micros());
        self.picture(voice, &event, &work.last);
        let mut result = Map::new();
        result.insert("camera".into(), self.id.as_str().into());
        result.insert("snapshot".into(), format::event::snapshot_leaf(&event).into());
        Ok(result)
    }

    /// Tells the plant and whoever hears along, and has pictures made of what asks for one.
    fn say(
        &self,
        voice: &Voice,
        work: &mut Work,
        reading: &Reading,
        seen: Option<(&FrameFacts, &ModelIdentity, &Frame)>,
        said: &[Said],
    ) {
        if said.is_empty() {
            let is_due = reading.instant.saturating_duration_since(work.noted_at) >= NOTE_EVERY;
            if is_due && work.owes {
                self.catch_up(voice, work, reading, false);
            } else if is_due && work.station.has_moved_on(&work.noted) {
                self.note(voice, work, reading.instant);
            }
            return;
        }
        let decided = seen.map(|(facts, model, _)| (facts, model));
        let mut messages: Vec<Message> = Vec::with_capacity(said.len());
        let mut spoken = work.said.clone();
        for word in said {
            for hearer in &voice.hearers {
                hearer.said(&self.id, word);
            }
            match word {
                Said::Event(event) => {
                    let decided = decided.filter(|(frame, _)| event.frame == Some(frame.seq));
                    let message = voice.wire.rule(reading, &voice.timeline, &self.id, decided, event);
                    if is_state(&event.what) {
                        spoken.insert(event.rule.to_string(), Word::new(&message.topic, &event.what));
                    }
                    messages.push(message);
                }
                Said::Thing(thing) => {
                    messages.extend(decided.map(|decided| voice.wire.thing(reading, &self.id, decided, thing)));
                }
            }
        }
        self.hand_over(voice, work, messages, spoken, reading.instant);
        for word in said {
            if let Said::Event(event) = word
                && work.wants_picture(event, reading.instant)
            {
                self.picture(voice, &event.id, seen.map_or(&work.last, |(_, _, frame)| frame));
            }
        }
    }

    /// Notes what is to be known after a restart.
    fn note(&self, voice: &Voice, work: &mut Work, now: Instant) {
        let said = work.said.clone();
        self.hand_over(voice, work, Vec::new(), said, now);
    }

    /// Hands messages over, and what is to be known after them: `said` among that, if they are taken.
    fn hand_over(&self, voice: &Voice, work: &mut Work, messages: Vec<Message>, said: Spoken, now: Instant) {
        let memory = Memory { station: work.station.memory(), said };
        (work.noted, work.noted_at) = (work.station.whereabouts(), now);
        let body = serde_json::to_vec(&memory).expect("keys are strings and no part refuses to be written");
        let note = Note { key: note_key(&self.id), body: body.into() };
        let fate = match voice.publisher.publish_all(messages.clone(), vec![note]) {
            Err(Refused::Invalid(error @ (Invalid::Note { .. } | Invalid::Group { .. }))) => {
                if work.unnoted.is_none() {
                    let trouble = unnoted(&self.id, &error);
                    log::error!("{trouble}");
                    work.unnoted = Some(trouble);
                }
                // What it says matters more than what it knows.
                self.fate(voice.publisher.publish_all(messages, Vec::new()))
            }
            result => {
                if result.is_ok() && work.unnoted.take().is_some() {
                    log::info!("camera \"{}\": what its rules know is noted again", self.id);
                }
                self.fate(result)
            }
        };
        if fate == Fate::Said {
            work.said = memory.said;
        }
        work.owes |= fate == Fate::Lost;
    }

    fn fate(&self, result: Result<(), Refused>) -> Fate {
        match result {
            Ok(()) => Fate::Said,
            // The outbox counts what it could not take, and tells.
            Err(Refused::Overload) => Fate::Lost,
            // The daemon is ending, or speaks to another broker in a moment; this came too late.
            Err(Refused::Stopped) => Fate::Refused,
            Err(error) => {
                self.refused(&error);
                Fate::Refused
            }
        }
    }

    fn picture(&self, voice: &Voice, event: &str, frame: &Frame) {
        if frame.data.is_empty() {
            return;
        }
        voice.photographer.ask(Job {
            camera: self.id.clone(),
            event: event.to_owned(),
            frame: frame.clone(),
            rotation: self.rotation,
            wire: voice.wire.clone(),
            publisher: voice.publisher.clone(),
        });
    }

    /// Counts what could not be published, and says so now and then.
    pub(super) fn refused(&self, error: &Refused) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.0 += 1;
        if refused.1.is_none_or(|said| said.elapsed() >= REFUSED_EVERY) {
            refused.1 = Some(Instant::now());
            log::warn!(
                "camera \"{}\": not published: {}, the last: {error}; a higher confidence or a lower max_det makes messages \
                 shorter",
                self.id,
                refused.0
            );
        }
    }

    fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Work {
    /// The present, which does not go back: of two who come at the same time, the one that read the clock later may be
    /// first.
    fn now(&mut self, voice: &Voice, reading: &Reading) -> Now {
        let now = voice.now(reading);
        self.told_at = self.told_at.max(now.moment);
        Now { moment: self.told_at, ..now }
    }

    /// Whether an event is to be pictured: an alarm that is raised, a part that failed.
    fn wants_picture(&mut self, event: &Event, now: Instant) -> bool {
        match &event.what {
            What::Alarm(alarm) => alarm.evidence.as_ref() == Some(&event.id),
            What::Verdict(verdict) if verdict.judgement == Judgement::Fail => {
                let is_due =
                    self.fail_pictured_at.is_none_or(|before| now.duration_since(before) >= FAIL_PICTURE_EVERY);
                if is_due {
                    self.fail_pictured_at = Some(now);
                }
                is_due
            }
            What::Verdict(_) | What::Count(_) | What::Total(_) | What::Crossed(_) => false,
        }
    }
}

#[cfg(test)]
mod tests;
