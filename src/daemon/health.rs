//! What is true of a camera right now, as pure functions of what its threads noted and of the time.
//!
//! The threads note facts, the supervisor asks for the state. So a thread that hangs in a driver cannot keep its camera
//! `live`: its facts grow old.

use std::time::{Duration, Instant};

use crate::{
    capture::{ErrorKind, Source},
    vision::Blindness,
};

/// Without a frame for this long, or five frame intervals, a camera has stalled.
pub(super) const STALL_AFTER_MIN: Duration = Duration::from_secs(2);

/// Opening a camera may take so long before it counts as silent: a name is looked up, a program starts.
const OPEN_WITHIN: Duration = Duration::from_secs(15);

/// A camera's thread that has not gone around for so long hangs. A read waits a quarter of a second and opening is bounded
/// by every source for itself; what remains is a name server that does not answer and a driver that waits for its device.
pub(super) const QUIET_MAX: Duration = Duration::from_secs(60);

/// So many damaged frames in a row, over at least the time that makes a stall, are blindness.
const DAMAGED_RUN_MIN: u64 = 5;

/// The reason of a stall. It holds no time, which the message says by `since`: the same state is the same text.
const NO_FRAME: &str = "no frame comes; check the camera and its cable";

/// The same for a source that did not say how often frames come.
const NO_FRAME_YET: &str =
    "no frame comes; check the camera and its cable, or state [[camera]] rate if it is meant to be slow";

/// The reason of a hang.
const HANGS: &str =
    "opening or reading it does not come back; plug it in anew or look after its network, else restart andon";

/// What is said of a camera before its first frame.
const OPENING: &str = "it is being opened";

/// What a camera's threads noted.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// When the camera was configured, or opened last.
    pub opened_at: Instant,
    /// How many times it was opened, ever.
    pub openings: u64,
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
    /// Frames that arrived damaged since the last that arrived whole. Those are not counted with the others, since a slow
    /// detector looks at few of the frames that arrive.
    damaged_frames: Option<Run>,
    /// Frames that arrived whole and could not be decoded, since the last good one.
    damaged_pictures: Option<Run>,
    /// What was wrong with the last damaged frame.
    pub damage: String,
    /// Damaged frames, ever.
    pub damaged_total: u64,
    /// Why nothing could be seen in the last frame that was looked at, and since when.
    pub blindness: Option<(Blindness, Instant)>,
    /// What the source agreed on, in words.
    pub stream: String,
    /// Why there is no stream, and since when; cleared by the first frame.
    pub trouble: Option<Trouble>,
    /// The source came to its end and is not repeated.
    pub ended: bool,
    /// Frames that arrived, ever.
    pub frames: u64,
    /// When the camera's thread showed last that it goes around: before it opens, before every read and every pause.
    pub around_at: Instant,
}

/// Damaged frames in a row.
#[derive(Clone, Copy, Debug)]
struct Run {
    frames: u64,
    since: Instant,
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
            openings: 0,
            interval: None,
            start_up: OPEN_WITHIN,
            frame_at: None,
            good_at: None,
            live_at: None,
            damaged_frames: None,
            damaged_pictures: None,
            damage: String::new(),
            damaged_total: 0,
            blindness: None,
            stream: String::new(),
            trouble: None,
            ended: false,
            frames: 0,
            around_at: now,
        }
    }

    /// Notes that the camera's thread goes around.
    pub(super) fn goes_around(&mut self, now: Instant) {
        self.around_at = now;
    }

    /// Whether the camera's thread hangs in a driver or a library, which no time limit of ours reaches.
    pub(super) fn hangs(&self, now: Instant) -> bool {
        !self.ended && now.saturating_duration_since(self.around_at) > QUIET_MAX
    }

    /// Notes an opening, and what was agreed on.
    pub(super) fn opened(&mut self, source: &dyn Source, stream: String, now: Instant) {
        (self.opened_at, self.frame_at, self.stream) = (now, None, stream);
        (self.interval, self.start_up) = (source.interval(), source.start_up());
        // What the stream before was like says nothing about this one.
        (self.damaged_frames, self.damaged_pictures, self.good_at, self.blindness) = (None, None, None, None);
        self.openings += 1;
    }

    /// Notes a frame that arrived whole, as far as the source can tell.
    pub(super) fn frame(&mut self, now: Instant) {
        if self.blind_run(self.damaged_frames, now).is_some() {
            self.live_at = Some(now);
        }
        self.damaged_frames = None;
        self.arrived(now);
    }

    fn arrived(&mut self, now: Instant) {
        if self.frame_at.is_none() || self.silent_for(now).is_some() {
            self.live_at = Some(now);
        }
        self.frame_at = Some(now);
        self.frames += 1;
        self.trouble = None;
    }

    /// Notes that a frame was decoded and looked at, and why nothing can be seen in it, if so.
    pub(super) fn good(&mut self, blindness: Option<(Blindness, Instant)>, now: Instant) {
        let was_blind = self.blind_since(now).is_some() || self.blindness.is_some();
        if was_blind && blindness.is_none() {
            self.live_at = Some(now);
        }
        (self.good_at, self.blindness) = (Some(now), blindness);
        self.damaged_pictures = None;
    }

    /// Notes a frame that arrived damaged.
    pub(super) fn damaged_frame(&mut self, what: String, now: Instant) {
        self.arrived(now);
        Run::go_on(&mut self.damaged_frames, now);
        (self.damage, self.damaged_total) = (what, self.damaged_total + 1);
    }

    /// Notes a frame that arrived whole and could not be decoded.
    pub(super) fn damaged(&mut self, what: String, now: Instant) {
        Run::go_on(&mut self.damaged_pictures, now);
        (self.damage, self.damaged_total) = (what, self.damaged_total + 1);
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
        if self.hangs(now) {
            let since = self.frame_at.unwrap_or(self.around_at);
            return Verdict { state: CameraState::Stalled, reason: Some(HANGS.to_owned()), since };
        }
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
            let reason = format!("its frames arrive damaged: {}", self.damage);
            return Verdict { state: CameraState::Blind, reason: Some(reason), since };
        }
        if let Some((blindness, since)) = self.blindness {
            return Verdict { state: CameraState::Blind, reason: Some(blindness.reason().to_owned()), since };
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

    /// When the first damaged frame came, if all have been damaged for so long that the camera is blind.
    fn blind_since(&self, now: Instant) -> Option<Instant> {
        [self.damaged_frames, self.damaged_pictures].into_iter().find_map(|run| self.blind_run(run, now))
    }

    fn blind_run(&self, run: Option<Run>, now: Instant) -> Option<Instant> {
        let Run { frames, since } = run?;
        let unseen = now.saturating_duration_since(since);
        (frames >= DAMAGED_RUN_MIN && unseen > stall_after(self.interval)).then_some(since)
    }
}

impl Run {
    /// Counts another damaged frame.
    fn go_on(run: &mut Option<Self>, now: Instant) {
        run.get_or_insert(Self { frames: 0, since: now }).frames += 1;
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
        facts.good(None, after(start, 0.1));
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
            facts.damaged("cut short".into(), after(start, f64::from(tenth) / 10.0));
        }
        let verdict = facts.verdict(after(start, 4.0));
        assert_eq!(verdict.state, CameraState::Blind);
        assert!(verdict.reason.is_some_and(|reason| reason.contains("damaged: cut short")));
        facts.good(None, after(start, 4.1));
        let verdict = facts.verdict(after(start, 4.1));
        assert_eq!((verdict.state, verdict.since), (CameraState::Live, after(start, 4.1)));
    }

    #[test]
    fn damaged_frames_between_whole_ones_are_no_blindness_however_slow_the_detector_is() {
        let start = Instant::now();
        let mut facts = Facts::new(start);
        facts.opened(&Agreed(Some(Duration::from_millis(100))), String::new(), start);
        for tenth in 0..300 {
            let now = after(start, f64::from(tenth) / 10.0);
            match tenth % 10 {
                0 => facts.frame(now),
                _ => facts.damaged_frame("cut short".into(), now),
            }
            // One picture takes five seconds.
            if tenth % 50 == 0 {
                facts.good(None, now);
            }
            assert_eq!(facts.verdict(now).state, CameraState::Live, "after {tenth} tenths of a second");
        }
        // Without a whole one in between they are, until the next.
        for tenth in 300..330 {
            facts.damaged_frame("cut short".into(), after(start, f64::from(tenth) / 10.0));
        }
        assert_eq!(facts.verdict(after(start, 33.0)).state, CameraState::Blind);
        facts.frame(after(start, 33.1));
        let verdict = facts.verdict(after(start, 33.1));
        assert_eq!((verdict.state, verdict.since), (CameraState::Live, after(start, 33.1)));
    }

    #[test]
    fn a_camera_in_whose_frames_nothing_is_seen_is_blind_while_they_come() {
        let start = Instant::now();
        let mut facts = Facts::new(start);
        facts.opened(&Agreed(Some(Duration::from_millis(100))), String::new(), start);
        facts.frame(after(start, 3.0));
        facts.good(Some((Blindness::Dark, start)), after(start, 3.0));
        let verdict = facts.verdict(after(start, 3.1));
        assert_eq!((verdict.state, verdict.since), (CameraState::Blind, start));
        assert_eq!(verdict.reason.as_deref(), Some(Blindness::Dark.reason()));
        assert_eq!(facts.verdict(after(start, 5.1)).state, CameraState::Stalled);
        facts.frame(after(start, 6.0));
        facts.good(None, after(start, 6.0));
        let verdict = facts.verdict(after(start, 6.1));
        assert_eq!((verdict.state, verdict.since), (CameraState::Live, after(start, 6.0)));
        // What the camera showed before it was opened again says nothing.
        facts.good(Some((Blindness::Frozen, start)), after(start, 6.2));
        facts.opened(&Agreed(None), String::new(), after(start, 6.3));
        assert_eq!(facts.verdict(after(start, 6.4)).state, CameraState::Starting);
    }

    #[test]
    fn a_thread_that_does_not_come_back_is_told_whatever_it_said_before() {
        let start = Instant::now();
        let mut facts = Facts::new(start);
        facts.trouble(CameraState::Absent, "unplugged".into(), start);
        facts.goes_around(after(start, 10.0));
        assert_eq!(facts.verdict(after(start, 69.0)).state, CameraState::Absent);
        let verdict = facts.verdict(after(start, 71.0));
        assert_eq!((verdict.state, verdict.since), (CameraState::Stalled, after(start, 10.0)));
        assert!(verdict.reason.is_some_and(|reason| reason.contains("does not come back")));
        facts.goes_around(after(start, 72.0));
        assert_eq!(facts.verdict(after(start, 73.0)).state, CameraState::Absent);
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
