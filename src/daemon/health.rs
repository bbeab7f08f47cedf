//! What is true of a camera right now, as pure functions of what its threads noted and of the time.
//!
//! The threads note facts, the supervisor asks for the state. So a thread that hangs in a driver cannot keep its camera
//! `live`: its facts grow old.

use std::time::{Duration, Instant};

use crate::capture::{ErrorKind, Source};

/// Without a frame for this long, or five frame intervals, a camera has stalled.
pub(super) const STALL_AFTER_MIN: Duration = Duration::from_secs(2);

/// Opening a camera may take so long before it counts as silent: a name is looked up, a program starts.
const OPEN_WITHIN: Duration = Duration::from_secs(15);

/// So many damaged frames in a row, and none good in the time that makes a stall, are blindness.
const DAMAGED_RUN_MIN: u64 = 5;

/// The reason of a stall. It holds no time, which the message says by `since`: the same state is the same text.
const NO_FRAME: &str = "no frame comes; check the camera and its cable";

/// The same for a source that did not say how often frames come.
const NO_FRAME_YET: &str =
    "no frame comes; check the camera and its cable, or state [[camera]] rate if it is meant to be slow";

/// What is said of a camera before its first frame.
const OPENING: &str = "it is being opened";

/// What a camera's threads noted.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// When the camera was configured, or opened last.
    pub opened_at: Instant,
    /// The interval that was agreed on.
    pub interval: Option<Duration>,
    /// How long the first frame may take to come.
    pub start_up: Duration,
    /// When the last frame arrived since the last opening.
    pub frame_at: Option<Instant>,
    /// When the last frame was decoded and looked at.
    pub good_at: Option<Instant>,
    /// Since when frames have come without a break.
    pub live_at: Option<Instant>,
    /// Damaged frames since the last good one, and what was wrong with the last.
    pub damaged: (u64, String),
    /// Damaged frames, ever.
    pub damaged_total: u64,
    /// What the source agreed on, in words.
    pub stream: String,
    /// Why there is no stream, and since when; cleared by the first frame.
    pub trouble: Option<Trouble>,
    /// The source came to its end and is not repeated.
    pub ended: bool,
    /// Frames that arrived, ever.
    pub frames: u64,
}

/// Why there is no stream.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Trouble {
    /// What to call it.
    pub state: CameraState,
    /// What is wrong and what to do.
    pub reason: String,
    /// Since when there has been no stream.
    pub since: Instant,
}

/// A camera's state, as in its `status` message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CameraState {
    /// It is opened for the first time, and no frame came yet; published as absent.
    Starting,
    /// Frames arrive and are looked at.
    Live,
    /// It is there, and no frame comes.
    Stalled,
    /// It is not there, or cannot be opened.
    Absent,
    /// Frames come, and nothing can be seen in them.
    Blind,
}

/// A state, why, and since when.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Verdict {
    /// The state.
    pub state: CameraState,
    /// Why, where it is not [`CameraState::Live`].
    pub reason: Option<String>,
    /// Since when.
    pub since: Instant,
}

impl Facts {
    /// A camera that is about to be opened.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            opened_at: now,
            interval: None,
            start_up: OPEN_WITHIN,
            frame_at: None,
            good_at: None,
            live_at: None,
            damaged: (0, String::new()),
            damaged_total: 0,
            stream: String::new(),
            trouble: None,
            ended: false,
            frames: 0,
        }
    }

    /// Notes an opening, and what was agreed on.
    pub(super) fn opened(&mut self, source: &dyn Source, stream: String, now: Instant) {
        (self.opened_at, self.frame_at, self.stream) = (now, None, stream);
        (self.interval, self.start_up) = (source.interval(), source.start_up());
        // What the stream before was like says nothing about this one.
        (self.damaged.0, self.good_at) = (0, None);
    }

    /// Notes a frame that arrived.
    pub(super) fn frame(&mut self, now: Instant) {
        if self.frame_at.is_none() || self.silent_for(now).is_some() {
            self.live_at = Some(now);
        }
        self.frame_at = Some(now);
        self.frames += 1;
        self.trouble = None;
    }

    /// Notes that a frame was decoded and looked at.
    pub(super) fn good(&mut self, now: Instant) {
        if self.blind_since(now).is_some() {
            self.live_at = Some(now);
        }
        self.good_at = Some(now);
        self.damaged.0 = 0;
    }

    /// Notes a frame that could not be decoded.
    pub(super) fn damaged(&mut self, what: String) {
        self.damaged = (self.damaged.0 + 1, what);
        self.damaged_total += 1;
    }

    /// Notes why there is no stream. What began earlier keeps its beginning.
    pub(super) fn trouble(&mut self, state: CameraState, reason: String, since: Instant) {
        let since = match &self.trouble {
            Some(trouble) if trouble.state == state => trouble.since,
            _ => since,
        };
        self.trouble = Some(Trouble { state, reason, since });
    }

    /// Whether frames should have come by now, and how long none came.
    pub(super) fn silent_for(&self, now: Instant) -> Option<Duration> {
        let (since, limit) = match self.frame_at {
            Some(frame_at) => (frame_at, stall_after(self.interval)),
            None => (self.opened_at, self.start_up.max(stall_after(self.interval))),
        };
        let silent = now.saturating_duration_since(since);
        (silent > limit).then_some(silent)
    }

    /// The reason of a stall.
    pub(super) fn silence(&self) -> &'static str {
        if self.interval.is_some() { NO_FRAME } else { NO_FRAME_YET }
    }

    /// What is true of the camera at `now`.
    pub(super) fn verdict(&self, now: Instant) -> Verdict {
        if let Some(Trouble { state, reason, since }) = &self.trouble {
            return Verdict { state: *state, reason: Some(reason.clone()), since: *since };
        }
        if self.ended {
            let reason = "the source has come to its end; set [[camera]] loop = true to begin again".to_owned();
            return Verdict {
                state: CameraState::Absent,
                reason: Some(reason),
                since: self.frame_at.unwrap_or(self.opened_at),
            };
        }
        if self.silent_for(now).is_some() {
            let reason = self.silence().to_owned();
            let since = self.frame_at.unwrap_or(self.opened_at);
            return Verdict { state: CameraState::Stalled, reason: Some(reason), since };
        }
        if let Some(since) = self.blind_since(now) {
            let reason = format!("its frames arrive damaged: {}", self.damaged.1);
            return Verdict { state: CameraState::Blind, reason: Some(reason), since };
        }
        match self.frame_at {
            Some(_) => {
                let since = self.live_at.unwrap_or(self.opened_at);
                Verdict { state: CameraState::Live, reason: None, since }
            }
            None => {
                let reason = Some(OPENING.to_owned());
                Verdict { state: CameraState::Starting, reason, since: self.opened_at }
            }
        }
    }

    /// When the last good frame came, if all have been damaged for so long that the camera is blind.
    fn blind_since(&self, now: Instant) -> Option<Instant> {
        let seen_at = self.good_at.unwrap_or(self.opened_at);
        let unseen = now.saturating_duration_since(seen_at);
        (self.damaged.0 >= DAMAGED_RUN_MIN && unseen > stall_after(self.interval)).then_some(seen_at)
    }
}

/// How long no frame may come before a camera has stalled: two seconds, or five of its intervals.
pub(super) fn stall_after(interval: Option<Duration>) -> Duration {
    interval.map_or(STALL_AFTER_MIN, |interval| STALL_AFTER_MIN.max(interval * 5))
}

/// What a source's failure makes of its camera.
pub(super) fn state_after(kind: ErrorKind) -> CameraState {
    match kind {
        ErrorKind::Corrupt => CameraState::Blind,
        ErrorKind::Absent | ErrorKind::Busy | ErrorKind::Lost | ErrorKind::Misconfigured => CameraState::Absent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        capture::{Read, SourceError},
        frame::Frame,
    };

    /// A source of which only the interval matters.
    struct Agreed(Option<Duration>);

    impl Source for Agreed {
        fn read(&mut self, _frame: &mut Frame, _timeout: Duration) -> Result<Read, SourceError> {
            Ok(Read::Nothing)
        }

        fn interval(&self) -> Option<Duration> {
            self.0
        }

        fn start_up(&self) -> Duration {
            Duration::from_secs(10)
        }

        fn describe(&self) -> String {
            String::new()
        }
    }

    fn after(start: Instant, seconds: f64) -> Instant {
        start + Duration::from_secs_f64(seconds)
    }

    #[test]
    fn a_camera_is_live_while_frames_come_and_stalled_two_seconds_after() {
        let start = Instant::now();
        let mut facts = Facts::new(start);
        assert_eq!(facts.verdict(start).state, CameraState::Starting);
        facts.opened(&Agreed(Some(Duration::from_millis(33))), String::new(), start);
        facts.frame(after(start, 0.1));
        facts.good(after(start, 0.1));
        assert_eq!(facts.verdict(after(start, 2.0)).state, CameraState::Live);
        let verdict = facts.verdict(after(start, 2.2));
        assert_eq!((verdict.state, verdict.since), (CameraState::Stalled, after(start, 0.1)));
        facts.frame(after(start, 2.3));
        let verdict = facts.verdict(after(start, 2.4));
        assert_eq!((verdict.state, verdict.since), (CameraState::Live, after(start, 2.3)));
    }

    #[test]
    fn slow_cameras_have_five_intervals() {
        let start = Instant::now();
        let mut facts = Facts::new(start);
        facts.opened(&Agreed(Some(Duration::from_secs(4))), String::new(), start);
        facts.frame(start);
        assert_eq!(facts.verdict(after(start, 19.0)).state, CameraState::Live);
        assert_eq!(facts.verdict(after(start, 21.0)).state, CameraState::Stalled);
    }

    #[test]
    fn a_camera_that_opens_and_stays_silent_has_stalled() {
        let start = Instant::now();
        let mut facts = Facts::new(start);
        facts.opened(&Agreed(None), String::new(), start);
        assert_eq!(facts.verdict(after(start, 9.0)).state, CameraState::Starting);
        assert_eq!(facts.verdict(after(start, 11.0)).state, CameraState::Stalled);
    }

    #[test]
    fn trouble_keeps_its_beginning_until_a_frame_comes() {
        let start = Instant::now();
        let mut facts = Facts::new(start);
        facts.trouble(CameraState::Absent, "a".into(), after(start, 1.0));
        facts.trouble(CameraState::Absent, "b".into(), after(start, 2.0));
        facts.opened(&Agreed(None), String::new(), after(start, 3.0));
        let verdict = facts.verdict(after(start, 3.0));
        assert_eq!((verdict.state, verdict.since), (CameraState::Absent, after(start, 1.0)));
        assert_eq!(verdict.reason.as_deref(), Some("b"));
        facts.frame(after(start, 4.0));
        facts.frame(after(start, 4.1));
        let verdict = facts.verdict(after(start, 4.1));
        assert_eq!((verdict.state, verdict.since), (CameraState::Live, after(start, 4.0)));
    }

    #[test]
    fn a_stream_of_damaged_frames_is_blindness() {
        let start = Instant::now();
        let mut facts = Facts::new(start);
        facts.opened(&Agreed(Some(Duration::from_millis(100))), String::new(), start);
        for tenth in 0..40 {
            facts.frame(after(start, f64::from(tenth) / 10.0));
            facts.damaged("cut short".into());
        }
        let verdict = facts.verdict(after(start, 4.0));
        assert_eq!(verdict.state, CameraState::Blind);
        assert!(verdict.reason.is_some_and(|reason| reason.contains("damaged: cut short")));
        facts.good(after(start, 4.1));
        let verdict = facts.verdict(after(start, 4.1));
        assert_eq!((verdict.state, verdict.since), (CameraState::Live, after(start, 4.1)));
    }

    #[test]
    fn an_ended_source_says_so() {
        let start = Instant::now();
        let mut facts = Facts::new(start);
        facts.frame(start);
        facts.ended = true;
        assert!(facts.verdict(after(start, 60.0)).reason.is_some_and(|reason| reason.contains("loop = true")));
    }
}
