//! A camera at 10 Hz for tests of alarms: frames with one thing of a given score, or as many as wanted.

use std::{sync::Arc, time::Duration};

use super::{Input, Manner, Now, Order, Refusal, Rules, Seen, Settings, Sight};
use crate::{
    detection::{Detection, Geometry},
    event::{Alarm, AlarmState, Event, What},
    geometry::{BoxPx, Point, Size},
    moment::Moment,
    track::{Track, TrackState},
};

/// When tests begin.
pub(super) const BEGIN: Moment = Moment::from_micros(1_700_000_000_000_000);

/// The time between two frames.
pub(super) const FRAME: Duration = Duration::from_millis(100);

/// The size of the frames.
pub(super) const SIZE: Size = Size { width: 1000, height: 500 };

/// Manner without hold, cooldown and latch.
pub(super) const PLAIN: Manner =
    Manner { hold: Duration::ZERO, cooldown: Duration::ZERO, latch: false, priority: crate::event::Priority::High };

/// Rules of a camera, and all that they said.
pub(super) struct Bench {
    settings: Vec<Settings>,
    rules: Rules,
    pub(super) now: Moment,
    pub(super) seq: u64,
    pub(super) said: Vec<Event>,
}

impl Bench {
    pub(super) fn new(settings: Settings) -> Self {
        let settings = vec![settings];
        Self { rules: Rules::new("in", &settings, BEGIN), settings, now: BEGIN, seq: 0, said: Vec::new() }
    }

    fn take(&mut self, input: Input<'_>) {
        let now = Now { moment: self.now, local_micros: None };
        self.rules.take(now, input, &mut |event| self.said.push(event));
    }

    /// A frame with these things, 100 ms after the one before.
    pub(super) fn frame(&mut self, found: &[Detection]) {
        self.now = self.now + FRAME;
        self.seq += 1;
        let (captured_at, seq) = (self.now, self.seq);
        self.take(Input::Frame(&Seen { seq, captured_at, size: SIZE, found, tracks: &[] }));
    }

    /// A frame with a thing that has a track.
    pub(super) fn tracked(&mut self, thing: Detection) {
        self.now = self.now + FRAME;
        self.seq += 1;
        let (captured_at, seq) = (self.now, self.seq);
        let track = Track {
            id: thing.track_id.unwrap(),
            class: thing.class,
            name: Arc::clone(&thing.name),
            confidence: thing.confidence,
            confidence_max: thing.confidence,
            bounds: thing.bounds().unwrap(),
            velocity: Point::default(),
            first_seen: captured_at,
            last_seen: captured_at,
            seen: 1,
            state: TrackState::New,
        };
        let (found, tracks) = (&[thing], &[track]);
        self.take(Input::Frame(&Seen { seq, captured_at, size: SIZE, found, tracks }));
    }

    /// A frame with one scratch of this score.
    pub(super) fn score(&mut self, score: f32) {
        self.frame(&[thing("scratch", score, None)]);
    }

    /// A frame a score.
    pub(super) fn scores(&mut self, scores: &[f32]) {
        scores.iter().for_each(|score| self.score(*score));
    }

    /// Empty frames for so long.
    pub(super) fn empty(&mut self, seconds: f64) {
        for _ in 0..(seconds * 10.0).round() as usize {
            self.frame(&[]);
        }
    }

    /// So long nothing but ticks, 100 ms apart.
    pub(super) fn wait(&mut self, seconds: f64) {
        for _ in 0..(seconds * 10.0).round() as usize {
            self.now = self.now + FRAME;
            self.take(Input::Tick);
        }
    }

    /// How the camera is from now on; empty: it sees.
    pub(super) fn camera(&mut self, reason: &str) {
        self.take(Input::Camera(&Sight { sees: reason.is_empty(), reason: reason.to_owned() }));
    }

    pub(super) fn order(&mut self, order: &Order) -> Result<(), Refusal> {
        let now = Now { moment: self.now, local_micros: None };
        let rule = self.settings[0].id.clone();
        self.rules.order(now, &rule, order, &mut |event| self.said.push(event))
    }

    /// The process ends and another goes on, by way of JSON.
    pub(super) fn crash(&mut self) {
        let memory = serde_json::to_string(&self.rules.memory()).unwrap();
        self.rules = Rules::new("in", &self.settings, self.now);
        let now = Now { moment: self.now, local_micros: None };
        self.rules.recall(&serde_json::from_str(&memory).unwrap(), now);
    }

    /// How the alarm stands.
    pub(super) fn alarm(&self) -> Alarm {
        match self.rules.states().next() {
            Some((_, What::Alarm(alarm))) => alarm,
            other => panic!("{other:?}"),
        }
    }

    /// The states that were said, in order.
    pub(super) fn states(&self) -> Vec<AlarmState> {
        self.said.iter().map(|event| alarm_of(event).state).collect()
    }
}

/// The alarm that an event tells of.
pub(super) fn alarm_of(event: &Event) -> &Alarm {
    match &event.what {
        What::Alarm(alarm) => alarm,
        other => panic!("{other:?}"),
    }
}

/// A thing in the middle of the frame.
pub(super) fn thing(name: &str, confidence: f32, track_id: Option<u64>) -> Detection {
    let geometry = Geometry::Box(BoxPx::from_center(500.0, 250.0, 100.0, 50.0));
    Detection { class: 0, name: Arc::from(name), confidence, geometry, track_id }
}
