//! Makes states of what the threads noted, and tells MQTT, the log and systemd when they change.

use std::{
    fmt::Write,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use super::{
    health::{CameraState, Facts, Verdict},
    inspector::Vitals,
    state_dir,
    systemd::Systemd,
};
use crate::{
    config::Config,
    publish::{
        Message,
        clock::Reading,
        mqtt::{Link, Publisher},
        wire::{self, DeviceState, Wire},
    },
};

/// How often the facts are looked at: so late is a change of state noticed.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A detector whose thread has not gone around for so long hangs. Said well before systemd's watchdog acts.
const HANG_AFTER: Duration = Duration::from_secs(20);

/// The service counts as up when every camera's state is known, or after this: a slow camera is no reason to wait longer.
const READY_WITHIN: Duration = Duration::from_secs(10);

/// The state directory is looked at so often.
const STATE_DIR_EVERY: Duration = Duration::from_secs(30);

/// Another reason for the same state is told so often at most; another state is told at once.
const REASON_EVERY: Duration = Duration::from_secs(5);

/// Damaged frames are told so often at most.
const DAMAGED_EVERY: Duration = Duration::from_secs(60);

/// Watches over the threads.
pub(super) struct Supervisor<'a> {
    cameras: Vec<Watched<'a>>,
    detectors: Vec<Pulse<'a>>,
    wire: Wire,
    publisher: Publisher,
    systemd: Systemd,
    started_at: Instant,
    /// What is wrong with the state directory, and when it was looked at.
    state_dir: (Option<String>, Instant),
    /// What was published of the device last, and since when it holds.
    device: Option<(DeviceState, Instant)>,
}

/// A camera and what was last said of it.
struct Watched<'a> {
    id: &'a str,
    facts: &'a Mutex<Facts>,
    said: Option<Said>,
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

impl<'a> Supervisor<'a> {
    /// A supervisor over the cameras and models of a configuration, whose facts and vitals stand in its order.
    pub(super) fn new(
        config: &'a Config,
        wire: Wire,
        publisher: Publisher,
        facts: &'a [Arc<Mutex<Facts>>],
        vitals: &'a [Arc<Vitals>],
    ) -> Self {
        let now = Instant::now();
        let cameras = config.cameras.iter().zip(facts);
        let models = config.models.iter().zip(vitals);
        let state_dir = (state_dir::problem(), now);
        if let Some(problem) = &state_dir.0 {
            log::warn!("{problem}");
        }
        Self {
            cameras: cameras
                .map(|(camera, facts)| Watched { id: &camera.id, facts, said: None, damaged_said: (0, now) })
                .collect(),
            detectors: models
                .map(|(model, vitals)| Pulse { id: &model.id, vitals, seen: 0, at: now, trouble: None })
                .collect(),
            wire,
            publisher,
            systemd: Systemd::new(),
            started_at: now,
            state_dir,
            device: None,
        }
    }

    /// Watches until a signal asks for an end.
    pub(super) fn run(&mut self, signals: &Receiver<&'static str>) {
        loop {
            self.look(Instant::now());
            match signals.recv_timeout(LOOK_EVERY) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(signal) => {
                    log::info!("{signal}: stopping");
                    break;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.systemd.stopping();
    }

    fn look(&mut self, now: Instant) {
        let reading = Reading::now();
        let verdicts: Vec<Verdict> = self.cameras.iter().map(|camera| camera.facts().verdict(now)).collect();
        for (camera, verdict) in self.cameras.iter_mut().zip(&verdicts) {
            if camera.is_news(verdict, now) {
                let message = camera.tell(verdict, &self.wire, &reading);
                publish(&self.publisher, message);
            }
            camera.tell_damaged(now);
        }
        for pulse in &mut self.detectors {
            pulse.look(now);
        }
        if now.duration_since(self.state_dir.1) >= STATE_DIR_EVERY {
            self.state_dir = (state_dir::problem(), now);
        }
        let state = self.device_state();
        if self.device.as_ref().is_none_or(|(said, _)| *said != state) {
            publish(&self.publisher, self.wire.status(&reading, &state, now));
            self.device = Some((state, now));
        }
        let known = verdicts.iter().all(|verdict| verdict.state != CameraState::Starting);
        if known || now.duration_since(self.started_at) >= READY_WITHIN {
            self.systemd.ready();
        }
        self.systemd.status(&self.summary(&verdicts));
        if self.detectors.iter().all(|pulse| pulse.is_alive(now)) {
            self.systemd.feed(now);
        }
    }

    /// The device's state follows from what was said of the cameras, so that it changes no more often than they do.
    fn device_state(&self) -> DeviceState {
        let mut reasons: Vec<String> = self.state_dir.0.iter().cloned().collect();
        reasons.extend(self.detectors.iter().filter_map(|pulse| pulse.trouble.clone()));
        for camera in &self.cameras {
            match &camera.said {
                None => reasons.push(format!("camera \"{}\" is starting", camera.id)),
                Some(Said { state: CameraState::Live, .. }) => {}
                Some(Said { state, reason, .. }) => {
                    let reason = reason.as_deref().unwrap_or("no reason is known");
                    reasons.push(format!("camera \"{}\" is {}: {reason}", camera.id, word(*state)));
                }
            }
        }
        if reasons.is_empty() { DeviceState::Online } else { DeviceState::Degraded(reasons) }
    }

    /// One line for `systemctl status`.
    fn summary(&self, verdicts: &[Verdict]) -> String {
        let mut line = String::new();
        let own = self.state_dir.0.iter().chain(self.detectors.iter().filter_map(|pulse| pulse.trouble.as_ref()));
        for reason in own {
            let _infallible = write!(line, "{reason}; ");
        }
        for (camera, verdict) in self.cameras.iter().zip(verdicts) {
            let _infallible = write!(line, "{} {}; ", camera.id, word(verdict.state));
        }
        match self.publisher.link() {
            Link::Up { .. } => line.push_str("connected"),
            Link::Connecting => line.push_str("connecting"),
            Link::Down { reason, .. } => {
                let _infallible = write!(line, "{reason}");
            }
        }
        line
    }
}

impl Watched<'_> {
    fn facts(&self) -> std::sync::MutexGuard<'_, Facts> {
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

    /// Notes the state as said, in the log and in the message that is returned.
    fn tell(&mut self, verdict: &Verdict, wire: &Wire, now: &Reading) -> Message {
        self.said = Some(Said { state: verdict.state, reason: verdict.reason.clone(), at: now.instant });
        let state = published(verdict.state);
        match &verdict.reason {
            Some(_) if verdict.state == CameraState::Starting => {}
            None => log::info!("camera \"{}\" is {}: {}", self.id, word(verdict.state), self.facts().stream),
            Some(reason) => log::warn!("camera \"{}\" is {}: {reason}", self.id, word(verdict.state)),
        }
        wire.camera_status(now, self.id, state, verdict.reason.as_deref(), verdict.since)
    }

    /// Damaged frames that do not make a camera blind are told now and then.
    fn tell_damaged(&mut self, now: Instant) {
        let (total, last) = {
            let facts = self.facts();
            (facts.damaged_total, facts.damaged.1.clone())
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

fn publish(publisher: &Publisher, message: Message) {
    let topic = message.topic.clone();
    if let Err(error) = publisher.publish(message) {
        log::warn!("{topic} was not published: {error}");
    }
}

/// What a state is called in messages; a camera that is being opened is not there yet.
fn published(state: CameraState) -> wire::CameraState {
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
