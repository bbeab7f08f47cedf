//! The state machine of counters: which things come and go, in which session, and who is told. What is done with them
//! belongs to the [`Book`]: `count.rs` counts them by class, `total.rs` adds up what they cost.
//!
//! While the camera's picture cannot be relied on, nothing goes for not being seen, and no session ends for being empty.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    CountSettings, Input, Now, Order, Place, Refusal, Seen,
    crossing::{Crossings, Settled},
    machine::{Machine, Teller},
    presence::{Presence, Sighting},
    session::{self, Sessions},
    settings::names,
};
use crate::{
    event::{Closing, Crossed, Session, Step, Way, What},
    moment::Moment,
    track::{Track, TrackState},
};

/// Where a thing was counted that is still followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Booked {
    /// In the present session.
    Here,
    /// In one that has ended.
    Earlier,
    /// Nowhere: there was no session.
    Nowhere,
}

impl Booked {
    /// The session ends.
    pub(super) fn end(&mut self) {
        if *self == Self::Here {
            *self = Self::Earlier;
        }
    }
}

/// A thing came or went.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Change {
    /// Its track.
    pub(super) track: u64,
    /// The class as which it counts.
    pub(super) name: Arc<str>,
    pub(super) way: Way,
    /// Where it was counted before, if it is the way back; else in the present session.
    pub(super) booked: Booked,
    /// Whether it counts, or is only to be told.
    pub(super) counts: bool,
    /// For what comes into a zone: since when it is there. For what goes: when it was counted, where that is known.
    pub(super) since: Option<Moment>,
    /// The confidence of its detection, where there is one in this frame.
    pub(super) score: Option<f32>,
}

/// What is written down of the things that come and go.
pub(super) trait Book: std::fmt::Debug + Send {
    /// A session begins.
    fn begin(&mut self, at: Moment, expected: Option<Vec<(Arc<str>, i64)>>);

    /// The session ends.
    fn end(&mut self, at: Moment);

    /// Whether this begins a session, where things do.
    fn begins(&self, change: &Change) -> bool;

    /// Takes what counts; whether that is to be told. Where no session is open, only what was counted in an earlier one and
    /// goes now.
    fn take(&mut self, at: Moment, change: &Change, open: bool) -> bool;

    /// What may be expected in a session.
    ///
    /// # Errors
    /// Where it makes no sense.
    fn expect(&self, rule: &str, expected: &[(String, i64)]) -> Result<Vec<(Arc<str>, i64)>, Refusal>;

    /// Takes a void or a correction in an open session.
    ///
    /// # Errors
    /// Where that cannot be.
    fn correct(&mut self, at: Moment, rule: &str, order: &Order) -> Result<(), Refusal>;

    /// Whether the session cannot go on, since what it is written in has changed.
    fn is_outdated(&self) -> bool {
        false
    }

    /// How it stands.
    fn what(&self, session: &Session) -> What;

    /// What has to be known after a restart.
    fn memory(&self) -> serde_json::Value;

    /// Goes on where an earlier process ended; moments of the future become `now`. Gives whether it made sense.
    fn recall(&mut self, memory: &serde_json::Value, now: Moment) -> bool;
}

/// A counter at work.
#[derive(Debug)]
pub(super) struct Counter<B> {
    classes: Vec<String>,
    confidence: f32,
    sensor: Sensor,
    sessions: Sessions,
    pub(super) book: B,
    /// Whether the camera's picture can be relied on.
    sees: bool,
    /// When the frame before was taken.
    frame_at: Option<Moment>,
    /// Those of this frame; kept for its room.
    changes: Vec<Change>,
}

#[derive(Debug)]
enum Sensor {
    Line(Crossings),
    Zone(Presence),
}

/// What has to be known after a restart.
#[derive(Debug, Serialize, Deserialize)]
struct Memory {
    place: serde_json::Value,
    frame_at: Option<Moment>,
    sessions: session::Memory,
    book: serde_json::Value,
    /// The camera cannot be relied on, as last heard.
    #[serde(default)]
    blind: bool,
}

/// When and where something is told.
#[derive(Clone, Copy)]
struct Here {
    at: Moment,
    frame: Option<u64>,
}

impl<B: Book> Counter<B> {
    /// One that has seen nothing.
    pub(super) fn with_book(settings: &CountSettings, book: B) -> Self {
        let sensor = match &settings.place {
            Place::Line(line) => Sensor::Line(Crossings::new(*line, settings.anchor)),
            Place::Zone { zone, settle, gone_after } => {
                Sensor::Zone(Presence::new(zone.clone(), *settle, *gone_after, settings.anchor))
            }
        };
        Self {
            classes: settings.classes.clone(),
            confidence: settings.confidence,
            sensor,
            sessions: Sessions::new(&settings.session),
            book,
            sees: true,
            frame_at: None,
            changes: Vec::new(),
        }
    }

    /// Ends the session where its time is over or what it is written in has changed, and begins one where that needs
    /// nothing else.
    fn keep_time(&mut self, now: Now, teller: &mut Teller<'_>) {
        let here = Here { at: now.moment, frame: None };
        let over = if self.sessions.is_due(now) {
            Some((Closing::Schedule, "its time is over", "its time has come"))
        } else if self.sessions.is_open() && self.book.is_outdated() {
            Some((Closing::Command, "the configuration has another currency", "in another currency"))
        } else {
            None
        };
        if let Some((closing, ended, began)) = over {
            self.close(here, closing, ended, teller);
            if self.sessions.begins_by_itself() {
                self.open(here, None, None, began, teller);
            }
        }
        if self.sessions.last().is_none() && self.sessions.begins_by_itself() {
            self.open(here, None, None, "the first session", teller);
        }
    }

    /// Takes a frame.
    fn look(&mut self, seen: &Seen<'_>, teller: &mut Teller<'_>) {
        let here = Here { at: seen.captured_at, frame: Some(seen.seq) };
        let span = self.frame_at.map_or(Duration::ZERO, |before| seen.captured_at.since(before));
        let span = if self.sees { span } else { Duration::ZERO };
        self.frame_at = Some(seen.captured_at);
        let Self { classes, confidence, sensor, changes, .. } = self;
        let wanted = |track: &Track| track.confidence_max >= *confidence && names(classes, &track.name);
        let busy = sensor.look(seen, span, wanted, changes);
        let mut changes = std::mem::take(&mut self.changes);
        for change in &changes {
            self.told(here, change, teller);
        }
        changes.clear();
        self.changes = changes;
        if self.sessions.is_empty(busy, span) {
            self.close(here, Closing::Empty, "nothing is there any more", teller);
        }
    }

    /// Something came or went.
    fn told(&mut self, here: Here, change: &Change, teller: &mut Teller<'_>) {
        let Here { at, frame } = here;
        if let Some(meant) = change.crossed(&self.sensor) {
            let crossed = Crossed { track: change.track, name: Arc::clone(&change.name), way: change.way };
            let step = Step { at, frame, score: change.score, meant };
            teller.say(at, frame, What::Crossed(crossed), vec![step]);
        }
        if !change.counts {
            return;
        }
        if !self.sessions.is_open() && self.sessions.begins_with_things() && self.book.begins(change) {
            self.open(here, None, None, "the first thing of a session", teller);
        }
        let open = self.sessions.is_open();
        if !open && change.booked == Booked::Here {
            self.sensor.leave_out(change.track);
        } else if self.book.take(at, change, open) {
            self.say(here, change.steps(here, &self.sensor), teller);
        }
    }

    /// Begins a session.
    fn open(
        &mut self,
        here: Here,
        external_id: Option<String>,
        expected: Option<Vec<(Arc<str>, i64)>>,
        meant: &str,
        teller: &mut Teller<'_>,
    ) {
        self.sessions.open(here.at, external_id);
        self.book.begin(here.at, expected);
        self.say(here, vec![here.step(format!("a session began: {meant}"))], teller);
    }

    /// Ends the session, with what has gone back until now.
    fn close(&mut self, here: Here, closing: Closing, meant: &str, teller: &mut Teller<'_>) {
        let mut changes = std::mem::take(&mut self.changes);
        self.sensor.settle(&mut changes);
        for change in &changes {
            self.told(here, change, teller);
        }
        changes.clear();
        self.changes = changes;
        self.sensor.session_ended();
        self.sessions.close(here.at, closing);
        self.book.end(here.at);
        self.say(here, vec![here.step(format!("the session ended: {meant}"))], teller);
    }

    fn say(&self, here: Here, because: Vec<Step>, teller: &mut Teller<'_>) {
        if let Some(session) = self.sessions.last() {
            teller.say(here.at, here.frame, self.book.what(session), because);
        }
    }
}

impl<B: Book> Machine for Counter<B> {
    fn take(&mut self, now: Now, input: &Input<'_>, teller: &mut Teller<'_>) {
        self.keep_time(now, teller);
        match input {
            Input::Frame(seen) => self.look(seen, teller),
            Input::Camera(sight) => self.sees = sight.sees,
            Input::Edge { .. } | Input::Encoder { .. } | Input::Tick => {}
        }
    }

    fn order(&mut self, now: Now, order: &Order, teller: &mut Teller<'_>) -> Result<(), Refusal> {
        self.keep_time(now, teller);
        let here = Here { at: now.moment, frame: None };
        let rule = Arc::clone(teller.rule);
        match order {
            Order::Acknowledge | Order::Shelve(_) => {
                Err(Refusal(format!("rule \"{rule}\" counts; ack and shelve are for alarms")))
            }
            Order::Open { external_id, expected } => {
                let expected = expected.as_deref().map(|expected| self.book.expect(&rule, expected)).transpose()?;
                if self.sessions.is_open() {
                    self.close(here, Closing::Command, "another was opened", teller);
                }
                self.open(here, external_id.clone(), expected, "it was opened by command", teller);
                Ok(())
            }
            Order::Reset => {
                if self.sessions.is_open() {
                    self.close(here, Closing::Command, "the counter was reset", teller);
                }
                self.open(here, None, None, "the counter was reset", teller);
                Ok(())
            }
            Order::Close | Order::Void { .. } | Order::Correct { .. } if !self.sessions.is_open() => {
                Err(Refusal(format!("rule \"{rule}\" has no open session; open one first")))
            }
            Order::Close => {
                self.close(here, Closing::Command, "it was closed by command", teller);
                Ok(())
            }
            Order::Void { .. } | Order::Correct { .. } => {
                self.book.correct(now.moment, &rule, order)?;
                let meant = if matches!(order, Order::Void { .. }) { "voided" } else { "corrected" };
                self.say(here, vec![here.step(format!("{meant} by command"))], teller);
                Ok(())
            }
        }
    }

    fn memory(&self) -> serde_json::Value {
        let place = match &self.sensor {
            Sensor::Line(crossings) => crossings.memory(),
            Sensor::Zone(presence) => presence.memory(),
        };
        let (frame_at, sessions, book) = (self.frame_at, self.sessions.memory(), self.book.memory());
        let memory = Memory { place, frame_at, sessions, book, blind: !self.sees };
        serde_json::to_value(memory).expect("keys are text")
    }

    fn recall(&mut self, memory: &serde_json::Value, now: Now) -> bool {
        let Ok(Memory { place, frame_at, sessions, book, blind }) = Memory::deserialize(memory) else { return false };
        if !self.book.recall(&book, now.moment) {
            return false;
        }
        self.sees = !blind;
        self.frame_at = frame_at.map(|at| at.min(now.moment));
        self.sessions.recall(sessions, now.moment);
        // What was known of another kind of place is of no use.
        match &mut self.sensor {
            Sensor::Line(_) if place.is_array() => true,
            Sensor::Zone(_) if place.is_object() => true,
            Sensor::Line(crossings) => crossings.recall(&place, now.moment),
            Sensor::Zone(presence) => presence.recall(&place, now.moment),
        }
    }

    fn state(&self) -> Option<What> {
        self.sessions.last().map(|session| self.book.what(session))
    }
}

impl Sensor {
    /// Takes a frame; gives whether anything wanted was seen.
    fn look(
        &mut self,
        seen: &Seen<'_>,
        span: Duration,
        wanted: impl Fn(&Track) -> bool,
        changes: &mut Vec<Change>,
    ) -> bool {
        let &Seen { tracks, size, captured_at: now, .. } = seen;
        match self {
            Self::Line(crossings) => {
                crossings.update(tracks, size, now, &wanted, |track, way, first| {
                    let (name, score) = (Arc::clone(&track.name), Some(track.confidence));
                    let booked = Booked::Here;
                    changes.push(Change { track: track.id, name, way, booked, counts: first, since: None, score });
                });
                changes.extend(crossings.settled().iter().map(Change::from));
                tracks.iter().any(|track| track.state != TrackState::Lost && wanted(track))
            }
            Self::Zone(presence) => {
                presence.update(Sighting { tracks, size, now, span }, wanted, |change| changes.push(change))
            }
        }
    }

    /// What has gone back until now, as a session ends.
    fn settle(&mut self, changes: &mut Vec<Change>) {
        if let Self::Line(crossings) = self {
            changes.extend(crossings.settle().iter().map(Change::from));
        }
    }

    fn session_ended(&mut self) {
        match self {
            Self::Line(crossings) => crossings.session_ended(),
            Self::Zone(presence) => presence.session_ended(),
        }
    }

    fn leave_out(&mut self, track: u64) {
        match self {
            Self::Line(crossings) => crossings.leave_out(track),
            Self::Zone(presence) => presence.leave_out(track),
        }
    }
}

impl Here {
    fn step(self, meant: String) -> Step {
        Step { at: self.at, frame: self.frame, score: None, meant }
    }
}

impl Change {
    /// What happened, where it is a crossing that is seen now.
    fn crossed(&self, sensor: &Sensor) -> Option<String> {
        let seen = matches!(sensor, Sensor::Line(_)) && self.score.is_some();
        seen.then(|| match self.way {
            Way::In => format!("track {} crossed the line inwards", self.track),
            Way::Out => format!("track {} crossed the line outwards", self.track),
        })
    }

    /// What led to its being counted.
    fn steps(&self, here: Here, sensor: &Sensor) -> Vec<Step> {
        let track = self.track;
        let last = |meant: String| Step { score: self.score, ..here.step(meant) };
        if let Some(meant) = self.crossed(sensor) {
            return vec![last(meant)];
        }
        match (sensor, self.way) {
            (Sensor::Line(_), _) => vec![last(format!("track {track} ended on the other side again"))],
            (Sensor::Zone(_), Way::Out) => vec![last(format!("track {track} was not seen in the zone any more"))],
            (Sensor::Zone(_), Way::In) => {
                let meant = format!("track {track} came into the zone");
                let came = Step { at: self.since.unwrap_or(here.at), frame: None, score: None, meant };
                vec![came, last("it stayed".to_owned())]
            }
        }
    }
}

impl From<&Settled> for Change {
    fn from(settled: &Settled) -> Self {
        let &Settled { track, ref name, way, booked, counted_at } = settled;
        Self { track, name: name.as_str().into(), way, booked, counts: true, since: Some(counted_at), score: None }
    }
}

#[cfg(test)]
pub(super) mod testing;

#[cfg(test)]
mod tests;
