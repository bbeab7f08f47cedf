//! The daemon: cameras, detectors and the network, wired together and watched.
//!
//! One thread a camera (`camera`), one a detector (`inspector`), one for the network; the calling thread supervises.
//! Threads note what happens to them, the lookout makes states of it (`health`) and tells the log, the supervisor tells
//! MQTT and systemd. Neither waits for a thread.
//!
//! A wrong configuration or model ends it at the start. A camera, broker or password that is not right yet does not: the
//! daemon stays up, degraded, and says why.

mod camera;
mod change;
mod data_plane;
mod health;
mod inspector;
mod lookout;
mod network;
mod pipeline;
mod shutdown;
pub mod state_dir;
mod supervisor;
mod systemd;
mod threads;

use std::{sync::Arc, thread, time::Instant};

use anyhow::{Context, ensure};

use self::{
    data_plane::DataPlane,
    lookout::{LOOK_EVERY, Lookout},
    network::Network,
    pipeline::{MqttReporter, Seat},
    supervisor::Supervisor,
};
pub use self::{
    network::check_broker,
    pipeline::{Observer, Report, Reporter},
    systemd::is_service,
};
use crate::{
    config::{self, Config},
    detector::Detector,
    publish::wire::Wire,
};

/// What is wrong with a configuration that watches nothing.
pub const NO_CAMERA: &str = "the configuration has no camera; add a [[camera]] section (`andon devices` lists cameras)";

/// How a run differs from the configuration alone.
#[derive(Default)]
pub struct Options {
    /// Every message says that what is seen is not real.
    pub simulated: bool,
    /// Called once, when the models are loaded and the watch begins.
    pub loaded: Option<Box<dyn FnOnce()>>,
    /// Sees every frame's result.
    pub observer: Option<Box<Observer>>,
}

/// Watches the line until SIGTERM or SIGINT.
///
/// # Errors
/// Where a model does not load, or the system refuses threads.
pub fn run(config: &Config, options: Options) -> anyhow::Result<()> {
    ensure!(!config.cameras.is_empty(), NO_CAMERA);
    let wire = Wire::new(&config.prefix, &config.device, options.simulated)?;
    let detectors = load_detectors(config)?;
    if let Some(loaded) = options.loaded {
        loaded();
    }
    let network = Network::start(config, &wire)?;
    let reporter: Arc<dyn Reporter> = Arc::new(MqttReporter {
        wire: wire.clone(),
        publisher: network.publisher(),
        seats: config.cameras.iter().map(|camera| Seat::new(&camera.id, detectors[camera.model].identity())).collect(),
        policy: config.report,
        observer: options.observer,
    });
    let mut plane = DataPlane::start(config, detectors, &reporter)?;
    Supervisor::new(config, wire.clone(), network.publisher(), &plane.facts, &plane.vitals).run(network.signals());
    plane.halt();
    // What was said before waits for the broker a moment.
    network.stop(&wire);
    plane.join();
    Ok(())
}

/// Watches the line for `reporter` alone, without a broker: until `until` says so, which is asked several times a second,
/// or until all sources have come to their ends. Frames that were filmed before the end are still reported. The state of
/// cameras goes to the log.
///
/// # Errors
/// Where there is no camera, or the system refuses threads.
pub fn watch(
    config: &Config,
    detectors: Vec<Detector>,
    reporter: &Arc<dyn Reporter>,
    mut until: impl FnMut() -> bool,
) -> anyhow::Result<()> {
    ensure!(!config.cameras.is_empty(), NO_CAMERA);
    let mut plane = DataPlane::start(config, detectors, reporter)?;
    let mut lookout = Lookout::new(config, &plane.facts, &plane.vitals, Instant::now());
    while !until() && !lookout.all_ended() {
        lookout.look(Instant::now(), |_camera, _verdict| ());
        thread::sleep(LOOK_EVERY);
    }
    plane.halt();
    plane.join();
    Ok(())
}

/// Loads the models of a configuration, in its order, and runs each once.
///
/// # Errors
/// Where a model does not load or does not run; names it.
pub fn load_detectors(config: &Config) -> anyhow::Result<Vec<Detector>> {
    config.models.iter().map(load_detector).collect()
}

fn load_detector(model: &config::Model) -> anyhow::Result<Detector> {
    let mut detector = Detector::load(&model.detector)?;
    let timing = detector.warm_up().with_context(|| format!("model {} does not run", model.detector.model))?;
    log::info!("model \"{}\": {} loaded, {:.0} ms an inference", model.id, model.detector.model, timing.inference_ms);
    for note in &detector.spec().notes {
        log::info!("model \"{}\": {note}", model.id);
    }
    Ok(detector)
}
