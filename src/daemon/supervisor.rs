//! Tells MQTT and systemd how the cameras and detectors are, as the lookout finds them.

use std::{
    fmt::Write,
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use super::{
    health::{CameraState, Facts, Verdict},
    inspector::Vitals,
    lookout::{LOOK_EVERY, Lookout, published},
    state_dir,
    systemd::Systemd,
};
use crate::{
    config::Config,
    publish::{
        Message,
        clock::Reading,
        mqtt::{Link, Publisher},
        wire::{DeviceState, Wire},
    },
};

/// The service counts as up when every camera's state is known, or after this: a slow camera is no reason to wait longer.
const READY_WITHIN: Duration = Duration::from_secs(10);

/// The state directory is looked at so often.
const STATE_DIR_EVERY: Duration = Duration::from_secs(30);

/// Watches over the threads.
pub(super) struct Supervisor<'a> {
    lookout: Lookout<'a>,
    wire: Wire,
    publisher: Publisher,
    systemd: Systemd,
    started_at: Instant,
    /// What is wrong with the state directory, and when it was looked at.
    state_dir: (Option<String>, Instant),
    /// What was published of the device last, and since when it holds.
    device: Option<(DeviceState, Instant)>,
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
        let state_dir = (state_dir::problem(), now);
        if let Some(problem) = &state_dir.0 {
            log::warn!("{problem}");
        }
        let lookout = Lookout::new(config, facts, vitals, now);
        Self { lookout, wire, publisher, systemd: Systemd::new(), started_at: now, state_dir, device: None }
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
        let verdicts = self.lookout.look(now, |camera, Verdict { state, reason, since }| {
            let state = published(*state);
            publish(&self.publisher, self.wire.camera_status(&reading, camera, state, reason.as_deref(), *since));
        });
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
        if self.lookout.detectors_are_alive(now) {
            self.systemd.feed(now);
        }
    }

    fn device_state(&self) -> DeviceState {
        let own = self.state_dir.0.iter().chain(self.lookout.detector_troubles()).cloned();
        let reasons: Vec<String> = own.chain(self.lookout.camera_troubles()).collect();
        if reasons.is_empty() { DeviceState::Online } else { DeviceState::Degraded(reasons) }
    }

    /// One line for `systemctl status`.
    fn summary(&self, verdicts: &[Verdict]) -> String {
        let mut line = String::new();
        for reason in self.state_dir.0.iter().chain(self.lookout.detector_troubles()) {
            let _infallible = write!(line, "{reason}; ");
        }
        for (camera, state) in self.lookout.words(verdicts) {
            let _infallible = write!(line, "{camera} {state}; ");
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

fn publish(publisher: &Publisher, message: Message) {
    let topic = message.topic.clone();
    if let Err(error) = publisher.publish(message) {
        log::warn!("{topic} was not published: {error}");
    }
}
