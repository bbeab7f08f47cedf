//! The daemon: cameras, detectors and the network, wired together and watched.
//!
//! One thread a camera (`camera`), one a detector (`inspector`), one for the network; the calling thread supervises.
//! Threads note what happens to them, the supervisor makes states of it (`health`) and tells MQTT, the log and systemd.
//! The supervisor never waits for a thread.
//!
//! A wrong configuration or model ends it at the start. A camera, broker or password that is not right yet does not: the
//! daemon stays up, degraded, and says why.

mod camera;
mod change;
mod health;
mod inspector;
mod network;
mod pipeline;
mod shutdown;
pub mod state_dir;
mod supervisor;
mod systemd;
mod threads;

use std::{
    sync::{Arc, Mutex},
    time::Instant,
};

use anyhow::{Context, ensure};

use self::{
    health::Facts,
    inspector::{Eye, Vitals},
    network::Network,
    pipeline::{MqttReporter, Reporter, Seat},
    shutdown::Shutdown,
    supervisor::Supervisor,
    threads::{CameraJob, DetectorJob, Threads},
};
pub use self::{network::check_broker, pipeline::Observer, systemd::is_service};
use crate::{
    capture::mailbox::Inbox,
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
    let now = Instant::now();
    let facts: Vec<_> = config.cameras.iter().map(|_| Arc::new(Mutex::new(Facts::new(now)))).collect();
    let vitals: Vec<_> = config.models.iter().map(|_| Arc::new(Vitals::default())).collect();
    let reporter: Arc<dyn Reporter> = Arc::new(MqttReporter {
        wire: wire.clone(),
        publisher: network.publisher(),
        seats: config.cameras.iter().map(|camera| Seat::new(&camera.id, detectors[camera.model].identity())).collect(),
        policy: config.report,
        observer: options.observer,
    });

    let mut shutdown = Shutdown::default();
    let mut threads = Threads::default();
    let mut inboxes = Vec::with_capacity(config.models.len());
    for (model, detector) in detectors.into_iter().enumerate() {
        let cameras: Vec<usize> = (0..config.cameras.len()).filter(|&c| config.cameras[c].model == model).collect();
        let inbox = Arc::new(Inbox::new(cameras.len()));
        inboxes.push(Arc::clone(&inbox));
        let mut eyes = Vec::with_capacity(cameras.len());
        for (slot, &camera) in cameras.iter().enumerate() {
            let (settings, facts) = (&config.cameras[camera], &facts[camera]);
            eyes.push(Eye { camera, view: settings.view, facts: Arc::clone(facts) });
            let job = CameraJob { camera: settings.clone(), slot, inbox: Arc::clone(&inbox), facts: Arc::clone(facts) };
            let (name, facts) = (format!("camera {}", settings.id), Arc::clone(facts));
            threads.spawn(&name, shutdown.listener(), move |stop| job.run(stop), move || CameraJob::failed(&facts))?;
        }
        let (reporter, vitals) = (Arc::clone(&reporter), Arc::clone(&vitals[model]));
        let mut job = DetectorJob { detector, eyes, inbox, vitals: Arc::clone(&vitals), reporter };
        let name = format!("model {}", config.models[model].id);
        let failed = move || vitals.failed("andon failed on a frame and goes on; see its log, and please report it");
        threads.spawn(&name, shutdown.listener(), move |_stop| job.run(), failed)?;
    }

    Supervisor::new(config, wire.clone(), network.publisher(), &facts, &vitals).run(network.signals());

    // First nothing new is filmed, then nothing new is looked at; what was said before waits for the broker a moment.
    drop(shutdown);
    for inbox in &inboxes {
        inbox.close();
    }
    network.stop(&wire);
    threads.join();
    Ok(())
}

fn load_detectors(config: &Config) -> anyhow::Result<Vec<Detector>> {
    config.models.iter().map(load_detector).collect()
}

fn load_detector(model: &config::Model) -> anyhow::Result<Detector> {
    let mut detector = Detector::load(&model.detector)?;
    let timing = detector.warm_up().with_context(|| format!("model {} does not run", model.detector.path.display()))?;
    log::info!(
        "model \"{}\": {} loaded, {:.0} ms an inference",
        model.id,
        model.detector.path.display(),
        timing.inference_ms
    );
    for note in &detector.spec().notes {
        log::info!("model \"{}\": {note}", model.id);
    }
    Ok(detector)
}
