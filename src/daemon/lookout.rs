//! Makes states of what the threads noted, and tells the log when they change.
//!
//! Who else is told is left to the owner: the daemon's supervisor, or whoever watches without a broker.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{
    health::{CameraState, Facts, Verdict},
    inspector::Vitals,
};
use crate::{config::Config, publish::wire, rules::Sight};

/// How often to look: so late is a change of state noticed.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A detector whose thread has not gone around for so long hangs. Said well before systemd's watchdog acts.
const HANG_AFTER: Duration = Duration::from_secs(20);

/// Another reason for the same state is told so often at most; another state is told at once.
const REASON_EVERY: Duration = Duration::from_secs(5);

/// Damaged frames are told so often at most.
const DAMAGED_EVERY: Duration = Duration::from_secs(60);

/// Looks after the cameras and the detectors.
pub(super) struct Lookout<'a> {
    cameras: Vec<Watched<'a>>,
    detectors: Vec<Pulse<'a>>,
}

/// A camera and what was last said of it.
struct Watched<'a> {
    id: &'a str,
    facts: &'a Mutex<Facts>,
    /// Index of the model that looks at its pictures.
    model: usize,
    said: Option<Said>,
    /// How it was said to rules to be, and when.
    sight: Option<(Sight, Instant)>,
    damaged_said: (u64, Instant),
}

/// What was last said of a camera, and when.
struct Said {
    state: CameraState,
    reason: Option<String>,
    at: Instant,
}

/// A detector's signs of life, and what was last said of it.
struct Pulse<'a> {
    id: &'a str,
    vitals: &'a Vitals,
    seen: u64,
    at: Instant,
    trouble: Option<String>,
}

impl<'a> Lookout<'a> {
    /// A lookout over the cameras and models of a configuration, whose facts and vitals stand in its order.
    pub(super) fn new(
        config: &'a Config,
        facts: &'a [Arc<Mutex<Facts>>],
        vitals: &'a [Arc<Vitals>],
        now: Instant,
    ) -> Self {
        let cameras = config.cameras.iter().zip(facts);
        let models = config.models.iter().zip(vitals);
        Self {
            cameras: cameras
                .map(|(camera, facts)| Watched {
                    id: &camera.id,
                    facts,
                    model: camera.model,
                    said: None,
                    sight: None,
                    damaged_said: (0, now),
                })
                .collect(),
            detectors: models
                .map(|(model, vitals)| Pulse { id: &model.id, vitals, seen: 0, at: now, trouble: None })
                .collect(),
        }
    }

    /// Finds out how all of them are. What is new goes to the log, and that of a camera to `tell` with its id.
    pub(super) fn look(&mut self, now: Instant, mut tell: impl FnMut(&str, &Verdict)) -> Vec<Verdict> {
        let verdicts: Vec<Verdict> = self.cameras.iter().map(|camera| camera.facts().verdict(now)).collect();
        for (camera, verdict) in self.cameras.iter_mut().zip(&verdicts) {
            if camera.is_news(verdict, now) {
                camera.tell(verdict, now);
                tell(camera.id, verdict);
            }
            camera.tell_damaged(now);
        }
        for pulse in &mut self.detectors {
            pulse.look(now);
        }
        verdicts
    }

    /// Tells how cameras are, as far as rules care, by their indices, and whether that is news. A camera whose model does not
    /// work sees nothing. To be called after a look.
    pub(super) fn sights(&mut self, now: Instant, mut tell: impl FnMut(usize, &Sight, bool)) {
        for (index, camera) in self.cameras.iter_mut().enumerate() {
            let verdict = camera.facts().verdict(now);
            let trouble = self.detectors[camera.model].trouble.as_ref();
            let reason = match verdict.state {
                CameraState::Live => trouble.cloned(),
                _ => Some(verdict.reason.unwrap_or_default()),
            };
            let sight = Sight { sees: reason.is_none(), reason: reason.unwrap_or_default() };
            let is_news = camera.sight.as_ref().is_none_or(|(said, at)| {
                said.sees != sight.sees || *said != sight && now.duration_since(*at) >= REASON_EVERY
            });
            if is_news {
                camera.sight = Some((sight, now));
            }
            if let Some((sight, _)) = &camera.sight {
                tell(index, sight, is_news);
            }
        }
    }

    /// Why the detectors are not well.
    pub(super) fn detector_troubles(&self) -> impl Iterator<Item = &String> {
        self.detectors.iter().filter_map(|pulse| pulse.trouble.as_ref())
    }

    /// Why the cameras are not well, as far as it was said, so that this changes no more often than what is said.
    pub(super) fn camera_troubles(&self) -> impl Iterator<Item = String> {
        self.cameras.iter().filter_map(|camera| match &camera.said {
            None => Some(format!("camera \"{}\" is starting", camera.id)),
            Some(Said { state: CameraState::Live, .. }) => None,
            Some(Said { state, reason, .. }) => {
                let reason = reason.as_deref().unwrap_or("no reason is known");
                Some(format!("camera \"{}\" is {}: {reason}", camera.id, word(*state)))
            }
        })
    }

    /// Each camera and its state in a word.
    pub(super) fn words<'b>(&'b self, verdicts: &'b [Verdict]) -> impl Iterator<Item = (&'b str, &'static str)> {
        self.cameras.iter().zip(verdicts).map(|(camera, verdict)| (camera.id, word(verdict.state)))
    }

    /// Whether every source has come to its end and is not repeated.
    pub(super) fn all_ended(&self) -> bool {
        self.cameras.iter().all(|camera| camera.facts().ended)
    }
}

impl Watched<'_> {
    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is something to say that was not said before.
    fn is_news(&self, verdict: &Verdict, now: Instant) -> bool {
        match &self.said {
            None => true,
            Some(said) if said.state != verdict.state => true,
            Some(said) => said.reason != verdict.reason && now.duration_since(said.at) >= REASON_EVERY,
        }
    }

    /// Notes the state as said, and says it in the log.
    fn tell(&mut self, verdict: &Verdict, now: Instant) {
        self.said = Some(Said { state: verdict.state, reason: verdict.reason.clone(), at: now });
        match &verdict.reason {
            Some(_) if verdict.state == CameraState::Starting => {}
            None => log::info!("camera \"{}\" is {}: {}", self.id, word(verdict.state), self.facts().stream),
            Some(reason) => log::warn!("camera \"{}\" is {}: {reason}", self.id, word(verdict.state)),
        }
    }

    /// Damaged frames that do not make a camera blind are told now and then.
    fn tell_damaged(&mut self, now: Instant) {
        let (total, last) = {
            let facts = self.facts();
            (facts.damaged_total, facts.damage.clone())
        };
        let (said, said_at) = self.damaged_said;
        if total > said && (said == 0 || now.duration_since(said_at) >= DAMAGED_EVERY) {
            log::warn!("camera \"{}\": damaged frames skipped: {}, the last: {last}", self.id, total - said);
            self.damaged_said = (total, now);
        }
    }
}

impl Pulse<'_> {
    /// Finds out how the detector is; the log has what is new.
    fn look(&mut self, now: Instant) {
        let progress = self.vitals.progress();
        if progress != self.seen {
            (self.seen, self.at) = (progress, now);
        }
        let trouble = if !self.is_alive(now) {
            Some(format!("model \"{}\" does not answer; see the log, and please report it", self.id))
        } else {
            self.vitals.fault().map(|fault| format!("model \"{}\" fails: {fault}", self.id))
        };
        if self.trouble != trouble {
            match &trouble {
                Some(trouble) => log::error!("{trouble}"),
                None => log::info!("model \"{}\" works again", self.id),
            }
            self.trouble = trouble;
        }
    }

    fn is_alive(&self, now: Instant) -> bool {
        now.duration_since(self.at) < HANG_AFTER
    }
}

/// What a state is called in messages; a camera that is being opened is not there yet.
pub(super) fn published(state: CameraState) -> wire::CameraState {
    match state {
        CameraState::Live => wire::CameraState::Live,
        CameraState::Stalled => wire::CameraState::Stalled,
        CameraState::Starting | CameraState::Absent => wire::CameraState::Absent,
        CameraState::Blind => wire::CameraState::Blind,
    }
}

/// The same for the log and for `systemctl status`, where a camera that is being opened may be called so.
fn word(state: CameraState) -> &'static str {
    if state == CameraState::Starting { "starting" } else { published(state).name() }
}
