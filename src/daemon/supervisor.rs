//! Tells MQTT and systemd how the cameras and detectors are, as the lookout finds them, and does what signals ask for.
//!
//! systemd's watchdog is fed while every part shows signs of life. What is absent, away or wrong is said, and is no reason
//! to stop feeding; a part that hangs is, since nothing but another process gets rid of it.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::mpsc::RecvTimeoutError,
    time::{Duration, Instant},
};

use super::{
    data_plane::DataPlane,
    gpio::Gpio,
    health::{CameraState, Verdict},
    lookout::{LOOK_EVERY, Lookout, published},
    network::{Network, Order},
    pulse::Pulses,
    reload::{NewLine, Prepared, Reloader},
    state_dir::{self, StateDir},
    stations::Crew,
    systemd::Systemd,
};
use crate::{
    capture::SourceUri,
    config::Config,
    publish::{
        Message,
        clock::Reading,
        mqtt::{Link, Publisher},
        wire::{DeviceState, Number, Wire},
    },
};

/// The service counts as up when every camera's state is known, or after this: a slow camera is no reason to wait longer.
const READY_WITHIN: Duration = Duration::from_secs(10);

/// A camera's thread may be silent for so long: while it opens the camera, and while it waits for one frame.
const CAMERA_SILENT_MAX: Duration = Duration::from_secs(30);

/// The same for cameras whose opening takes long without being a hang, whatever systemd's period is. An RTSP camera's host
/// is looked up by the system, which asks each name server several times where none answers, and a network that is away is
/// no hang. A USB camera that does not answer costs five seconds for each of its controls.
const SLOW_OPENING_SILENT_MAX: Duration = Duration::from_secs(120);

/// A detector may take so long for one picture, or so many times as long as for its first.
const MODEL_SILENT_MAX: Duration = Duration::from_secs(20);
const MODEL_SILENT_TIMES: u32 = 5;

/// Nothing on the network's thread may wait other than for the network.
const NETWORK_SILENT_MAX: Duration = Duration::from_secs(20);

/// Nothing waits long for a line of the box.
const LINES_SILENT_MAX: Duration = Duration::from_secs(20);

/// A disk that takes longer for one commit is said not to answer.
const OUTBOX_SLOW_AFTER: Duration = Duration::from_secs(15);

/// The outbox may be silent for so long, whatever systemd's period is: no other process would get an answer from the disk
/// either, and detection and live messages go on meanwhile.
const OUTBOX_SILENT_MAX: Duration = Duration::from_secs(300);

/// What is said of a silent outbox.
const OUTBOX_SLOW: &str = "the outbox's disk does not answer, and what is to be kept waits in memory; check the disk";

const OUTBOX: &str = "the outbox";

/// Between the word that a part hangs and the end of the process: so long has the word to reach the broker.
const LAST_WORDS_WITHIN: Duration = Duration::from_secs(1);

/// The last number of each topic is told anew so often at most, so that a subscriber learns of the very last message, too.
const NUMBERS_EVERY: Duration = Duration::from_secs(10);

/// Why the watch is over.
pub(super) enum Over {
    /// A signal asked for the end.
    End,
    /// Another line takes the place of this one.
    Replaced(Box<NewLine>),
}

/// What a supervisor works with, from one line to the next.
pub(super) struct Desk<'a> {
    pub(super) wire: &'a Wire,
    pub(super) network: &'a Network,
    pub(super) crew: &'a Crew,
    pub(super) gpio: &'a Gpio,
    pub(super) systemd: &'a mut Systemd,
    pub(super) reloader: &'a mut Reloader,
}

/// What the device's status said last.
struct Said {
    state: DeviceState,
    /// Since when it has been in that state.
    since: Instant,
    numbers: BTreeMap<String, Number>,
    /// Since when the connection had been up over which it was said.
    connection: Option<Instant>,
    at: Instant,
}

/// Watches over the threads of one line.
pub(super) struct Supervisor<'a> {
    desk: Desk<'a>,
    config: &'a Config,
    lookout: Lookout<'a>,
    plane: &'a DataPlane,
    pulses: Pulses<'a>,
    publisher: Publisher,
    started_at: Instant,
    /// What is known of the state directory.
    state_dir: StateDir,
    /// Which parts hang.
    hanging: Vec<String>,
    /// What is not well with the outbox, the commands, the lines, and what stations know.
    troubles: Vec<String>,
    /// What was published of the device last.
    said: Option<Said>,
}

impl<'a> Supervisor<'a> {
    /// A supervisor over the cameras and models of a configuration, which `plane` runs.
    pub(super) fn new(config: &'a Config, plane: &'a DataPlane, desk: Desk<'a>) -> Self {
        let now = Instant::now();
        let state_dir = StateDir::new(state_dir::problem, now);
        if let Some(problem) = state_dir.problem() {
            log::warn!("{problem}");
        }
        Self {
            lookout: Lookout::new(config, &plane.facts, &plane.vitals, now),
            config,
            plane,
            pulses: pulses(config, plane, &desk, now),
            publisher: desk.network.connection().publisher(),
            troubles: Vec::new(),
            started_at: now,
            state_dir,
            hanging: Vec::new(),
            said: None,
            desk,
        }
    }

    /// Watches until a signal asks for an end, or for another line.
    pub(super) fn run(&mut self) -> Over {
        loop {
            self.look(Instant::now());
            match self.desk.network.orders().recv_timeout(LOOK_EVERY) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Order::End(signal)) => {
                    log::info!("{signal}: stopping");
                    break;
                }
                Ok(Order::Reload) => {
                    self.desk.systemd.reloading();
                    self.desk.reloader.begin();
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
            match self.desk.reloader.poll() {
                None | Some(Prepared::Nothing) => {}
                Some(Prepared::Models(running, detectors)) => {
                    for (model, detector) in detectors {
                        let limit = model_limit(detector.tested(), self.desk.systemd.watchdog());
                        self.pulses.allow(&model_part(&self.config.models[model].id), limit);
                        self.plane.exchanges[model].offer(detector);
                    }
                    self.desk.reloader.took_over(*running);
                }
                Some(Prepared::Line(line)) => return Over::Replaced(line),
            }
        }
        self.desk.systemd.stopping();
        Over::End
    }

    fn look(&mut self, now: Instant) {
        let reading = Reading::now();
        self.look_for_hangs(now);
        let verdicts = self.lookout.look(now, |camera, Verdict { state, reason, since }| {
            let state = published(*state);
            publish(&self.publisher, self.desk.wire.camera_status(&reading, camera, state, reason.as_deref(), *since));
        });
        // Also where it is no news here: a frame may have told a station otherwise at the same moment.
        self.lookout.sights(now, |camera, sight, _| self.desk.crew.see(camera, sight));
        self.desk.crew.tick();
        self.desk.gpio.looked_after();
        self.state_dir.look(now);
        self.troubles = self.desk.network.connection().troubles().collect();
        self.troubles.extend(self.desk.gpio.troubles());
        self.troubles.extend(self.desk.crew.troubles());
        if self.pulses.silence_of(OUTBOX) >= at_most(OUTBOX_SLOW_AFTER, self.desk.systemd.watchdog()) {
            self.troubles.push(OUTBOX_SLOW.to_owned());
        }
        self.tell_device(&reading, now);
        let known = verdicts.iter().all(|verdict| verdict.state != CameraState::Starting);
        if (known || now.duration_since(self.started_at) >= READY_WITHIN) && self.has_reloaded() {
            self.desk.systemd.ready();
        }
        self.desk.systemd.status(&self.summary(&verdicts));
        if self.hanging.is_empty() {
            self.desk.systemd.feed(now);
        } else if self.pulses.hanging().any(|(_, beyond)| beyond >= LAST_WORDS_WITHIN) {
            self.desk.systemd.give_up();
        }
    }

    /// Publishes the device's status when it is another, over a new connection, and now and then when numbers were given.
    fn tell_device(&mut self, reading: &Reading, now: Instant) {
        let state = self.device_state();
        let numbers = self.desk.network.connection().numbers();
        let connection = match self.publisher.link() {
            Link::Up { since } => Some(since),
            Link::Connecting | Link::Down { .. } => None,
        };
        let since = match &self.said {
            Some(said) if said.state == state => {
                let counted = numbers != said.numbers && now.duration_since(said.at) >= NUMBERS_EVERY;
                if !counted && (connection.is_none() || connection == said.connection) {
                    return;
                }
                said.since
            }
            _ => now,
        };
        publish(&self.publisher, self.desk.wire.status(reading, &state, since, &numbers));
        self.said = Some(Said { state, since, numbers, connection, at: now });
    }

    /// Finds out which parts hang; the log has what is new.
    fn look_for_hangs(&mut self, now: Instant) {
        self.pulses.look(now);
        let hanging: Vec<String> = self.pulses.hanging().map(|(part, _)| format!("{part} hangs")).collect();
        if self.hanging != hanging {
            match hanging.is_empty() {
                true => log::info!("all parts go on"),
                false => log::error!("{}; systemd is asked to start andon again", hanging.join(", ")),
            }
            self.hanging = hanging;
        }
    }

    /// Whether nothing that a reload has brought waits to be taken over.
    fn has_reloaded(&self) -> bool {
        let mut exchanges = self.plane.exchanges.iter();
        !self.desk.reloader.is_at_work() && exchanges.all(|exchange| exchange.is_done())
    }

    /// What is not well with the box itself.
    fn own_troubles(&self) -> impl Iterator<Item = &String> {
        let reload = self.desk.reloader.trouble();
        self.hanging
            .iter()
            .chain(self.state_dir.problem())
            .chain(&self.troubles)
            .chain(reload)
            .chain(self.lookout.detector_troubles())
    }

    fn device_state(&self) -> DeviceState {
        let reasons: Vec<String> = self.own_troubles().cloned().chain(self.lookout.camera_troubles()).collect();
        if reasons.is_empty() { DeviceState::Online } else { DeviceState::Degraded(reasons) }
    }

    /// One line for `systemctl status`.
    fn summary(&self, verdicts: &[Verdict]) -> String {
        let mut line = String::new();
        for reason in self.own_troubles() {
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

/// The parts of the daemon that have to show signs of life, and how long each may be silent: no longer than systemd waits,
/// so that a hang is over a moment after that time, but where another process would wait as long.
fn pulses<'a>(config: &'a Config, plane: &'a DataPlane, desk: &Desk<'a>, now: Instant) -> Pulses<'a> {
    let (network, watchdog) = (desk.network, desk.systemd.watchdog());
    let mut pulses = Pulses::new(now);
    for (camera, beat) in config.cameras.iter().zip(&plane.beats) {
        let limit = match camera.capture.source {
            SourceUri::Rtsp(_) | SourceUri::V4l2(_) => SLOW_OPENING_SILENT_MAX,
            _ => at_most(CAMERA_SILENT_MAX, watchdog),
        };
        pulses.watch(format!("camera \"{}\"", camera.id), limit, || beat.count());
    }
    for ((model, vitals), tested) in config.models.iter().zip(&plane.vitals).zip(&plane.tested) {
        pulses.watch(model_part(&model.id), model_limit(*tested, watchdog), || vitals.progress());
    }
    for (part, beat) in desk.gpio.beats() {
        pulses.watch(*part, at_most(LINES_SILENT_MAX, watchdog), || beat.count());
    }
    pulses.watch(OUTBOX, OUTBOX_SILENT_MAX, || network.connection().outbox_progress());
    let (beat, publisher) = (network.beat(), network.connection().publisher());
    // A task that has failed counts no longer: it is not begun again.
    let count = move || if publisher.is_running() { beat.count() } else { 0 };
    pulses.watch("the network", at_most(NETWORK_SILENT_MAX, watchdog), count);
    pulses
}

/// A limit within systemd's period, where there is one.
fn at_most(limit: Duration, watchdog: Option<Duration>) -> Duration {
    watchdog.map_or(limit, |watchdog| limit.min(watchdog))
}

/// How long a detector may be silent that took so long for its first picture.
fn model_limit(tested: Duration, watchdog: Option<Duration>) -> Duration {
    at_most(MODEL_SILENT_MAX, watchdog).max(tested * MODEL_SILENT_TIMES)
}

fn model_part(id: &str) -> String {
    format!("model \"{id}\"")
}

pub(super) fn publish(publisher: &Publisher, message: Message) {
    let topic = message.topic.clone();
    if let Err(error) = publisher.publish(message) {
        log::warn!("{topic} was not published: {error}");
    }
}
