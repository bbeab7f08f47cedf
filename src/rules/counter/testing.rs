//! A camera's place with one counter, for tests: frames with exact tracks, orders, restarts.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    event::{Count, Event, Total, What},
    geometry::{BoxPx, Point, Size},
    moment::Moment,
    rules::{
        Anchor, CountSettings, Input, Kind, Line, Memory, Now, Order, Place, Refusal, Rules, Seen, SessionSettings,
        Settings, Towards, Unit, Zone,
    },
    track::{Track, TrackState},
};

pub(in crate::rules) const SIZE: Size = Size { width: 640, height: 480 };

/// The line stands at x = 300, with a band from 290 to 310; right is in.
pub(in crate::rules) const LINE: Line = Line {
    from: Point { x: 300.0, y: 0.0 },
    to: Point { x: 300.0, y: 480.0 },
    band: 20.0,
    unit: Unit::Pixels,
    inward: Towards::Right,
};

/// The zone reaches from (100, 100) to (500, 400). A thing has come after half a second, and has gone after two.
pub(in crate::rules) fn zone() -> Place {
    let corners = [(100., 100.), (500., 100.), (500., 400.), (100., 400.)];
    let corners = corners.map(|(x, y)| Point { x, y }).to_vec();
    let zone = Zone { corners, unit: Unit::Pixels };
    Place::Zone { zone, settle: Duration::from_millis(500), gone_after: Duration::from_secs(2) }
}

/// Counts everything.
pub(in crate::rules) fn count(place: Place, session: SessionSettings) -> CountSettings {
    CountSettings { classes: Vec::new(), confidence: 0.5, place, anchor: Anchor::Center, session }
}

/// A thing in a frame: its track, class, and the centre of its box of 40 pixels.
pub(in crate::rules) type Thing<'a> = (u64, &'a str, (f32, f32));

/// A camera's place.
pub(in crate::rules) struct Bench {
    settings: [Settings; 1],
    pub(in crate::rules) rules: Rules,
    pub(in crate::rules) now: Now,
    /// Between two frames.
    pub(in crate::rules) step: Duration,
    pub(in crate::rules) events: Vec<Event>,
    frames: u64,
    seen: BTreeMap<u64, u32>,
}

impl Bench {
    pub(in crate::rules) fn new(kind: Kind) -> Self {
        let settings = [Settings { id: "it".to_owned(), kind }];
        let start = Moment::from_micros(1_000_000_000);
        Self {
            rules: Rules::new("cam", &settings, start),
            settings,
            now: Now { moment: start, local_micros: None },
            step: Duration::from_millis(100),
            events: Vec::new(),
            frames: 0,
            seen: BTreeMap::new(),
        }
    }

    pub(in crate::rules) fn counting(place: Place, session: SessionSettings) -> Self {
        Self::new(Kind::Count(count(place, session)))
    }

    /// Time passes.
    pub(in crate::rules) fn wait(&mut self, span: Duration) {
        self.now.moment = self.now.moment + span;
        if let Some(local) = &mut self.now.local_micros {
            *local = local.saturating_add(i64::try_from(span.as_micros()).unwrap());
        }
    }

    /// The next frame, with these things in it.
    pub(in crate::rules) fn frame(&mut self, things: &[Thing<'_>]) {
        let mut tracks: Vec<Track> = things.iter().map(|thing| self.track(thing)).collect();
        tracks.sort_by_key(|track| track.id);
        self.tracks(&tracks);
    }

    pub(in crate::rules) fn track(&mut self, &(id, name, (x, y)): &Thing<'_>) -> Track {
        let seen = self.seen.entry(id).or_default();
        *seen += 1;
        Track {
            id,
            class: 0,
            name: name.into(),
            confidence: 0.9,
            confidence_max: 0.9,
            bounds: BoxPx::from_center(x, y, 40.0, 40.0),
            velocity: Point::default(),
            first_seen: self.now.moment,
            last_seen: self.now.moment,
            seen: *seen,
            state: if *seen == 1 { TrackState::New } else { TrackState::Seen },
        }
    }

    pub(in crate::rules) fn tracks(&mut self, tracks: &[Track]) {
        self.frames += 1;
        let seen = Seen { seq: self.frames, captured_at: self.now.moment, size: SIZE, found: &[], tracks };
        self.take(Input::Frame(&seen));
        self.wait(self.step);
    }

    /// So many frames with the same things in them.
    pub(in crate::rules) fn frames(&mut self, count: usize, things: &[Thing<'_>]) {
        for _ in 0..count {
            self.frame(things);
        }
    }

    pub(in crate::rules) fn take(&mut self, input: Input<'_>) {
        let events = &mut self.events;
        self.rules.take(self.now, input, &mut |event| events.push(event));
    }

    pub(in crate::rules) fn order(&mut self, order: &Order) -> Result<(), Refusal> {
        let events = &mut self.events;
        self.rules.order(self.now, "it", order, &mut |event| events.push(event))
    }

    pub(in crate::rules) fn open(&mut self) {
        self.order(&Order::Open { external_id: None, expected: None }).unwrap();
    }

    /// The next process has another configuration.
    pub(in crate::rules) fn configure(&mut self, kind: Kind) {
        self.settings[0].kind = kind;
    }

    /// The process ends and another begins.
    pub(in crate::rules) fn restart(&mut self) {
        let text = serde_json::to_string(&self.rules.memory()).unwrap();
        let memory: Memory = serde_json::from_str(&text).unwrap();
        let states = |rules: &Rules| rules.states().map(|(id, what)| (id.to_owned(), what)).collect::<Vec<_>>();
        let before = states(&self.rules);
        self.rules = Rules::new("cam", &self.settings, self.now.moment);
        self.rules.recall(&memory, self.now);
        assert_eq!(
            serde_json::to_string(&self.rules.memory()).unwrap(),
            text,
            "what is recalled is what was remembered"
        );
        assert_eq!(states(&self.rules), before, "it stands where it stood");
    }

    /// How the counter stands.
    pub(in crate::rules) fn counted(&self) -> Count {
        match self.rules.states().next() {
            Some((_, What::Count(count))) => count,
            other => panic!("{other:?} is no count"),
        }
    }

    /// In and out of all classes in the session.
    pub(in crate::rules) fn in_out(&self) -> (u64, u64) {
        let classes = self.counted().classes;
        (classes.iter().map(|class| class.incoming).sum(), classes.iter().map(|class| class.outgoing).sum())
    }

    /// How the sum stands.
    pub(in crate::rules) fn total(&self) -> Total {
        match self.rules.states().next() {
            Some((_, What::Total(total))) => total,
            other => panic!("{other:?} is no total"),
        }
    }
}
