//! The data plane at work: the threads of all cameras and detectors, from their start to their end.

use std::{
    mem,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use super::{
    exchange::Exchange,
    health::Facts,
    inspector::{Eye, Vitals},
    pipeline::Reporter,
    pulse::Beat,
    shutdown::Shutdown,
    threads::{CameraJob, DetectorJob, Threads},
};
use crate::{capture::mailbox::Inbox, config::Config, detector::Detector};

/// Running cameras and detectors.
pub(super) struct DataPlane {
    /// What is known of each camera, in the order of the configuration.
    pub(super) facts: Vec<Arc<Mutex<Facts>>>,
    /// What is known of each detector, in the order of the configuration.
    pub(super) vitals: Vec<Arc<Vitals>>,
    /// Signs of life of each camera's thread, in the order of the configuration.
    pub(super) beats: Vec<Beat>,
    /// How long each detector took for its first picture, in the order of the configuration.
    pub(super) tested: Vec<Duration>,
    /// Where another detector is laid down for each model, in the order of the configuration.
    pub(super) exchanges: Vec<Arc<Exchange<Detector>>>,
    shutdown: Shutdown,
    inboxes: Vec<Arc<Inbox>>,
    threads: Threads,
}

impl DataPlane {
    /// Starts them. `detectors` are those of the configuration's models, in its order.
    ///
    /// # Errors
    /// Where the system refuses a thread.
    pub(super) fn start(
        config: &Config,
        detectors: Vec<Detector>,
        reporter: &Arc<dyn Reporter>,
    ) -> anyhow::Result<Self> {
        let now = Instant::now();
        let mut plane = Self {
            facts: config.cameras.iter().map(|_| Arc::new(Mutex::new(Facts::new(now)))).collect(),
            vitals: config.models.iter().map(|_| Arc::new(Vitals::default())).collect(),
            beats: vec![Beat::default(); config.cameras.len()],
            tested: detectors.iter().map(Detector::tested).collect(),
            exchanges: config.models.iter().map(|_| Arc::default()).collect(),
            shutdown: Shutdown::default(),
            inboxes: Vec::with_capacity(config.models.len()),
            threads: Threads::default(),
        };
        for (model, detector) in detectors.into_iter().enumerate() {
            let cameras: Vec<usize> = (0..config.cameras.len()).filter(|&c| config.cameras[c].model == model).collect();
            let inbox = Arc::new(Inbox::new(cameras.len()));
            plane.inboxes.push(Arc::clone(&inbox));
            let mut eyes = Vec::with_capacity(cameras.len());
            for (slot, &camera) in cameras.iter().enumerate() {
                let (settings, facts) = (&config.cameras[camera], &plane.facts[camera]);
                eyes.push(Eye { camera, view: settings.view, checks: settings.blind, facts: Arc::clone(facts) });
                let job =
                    CameraJob { camera: settings.clone(), slot, inbox: Arc::clone(&inbox), facts: Arc::clone(facts) };
                let (name, facts) = (format!("camera {}", settings.id), Arc::clone(facts));
                let stop = plane.shutdown.listener();
                plane.beats[camera] = stop.beat();
                plane.threads.spawn(&name, stop, move |stop| job.run(stop), move || CameraJob::failed(&facts))?;
            }
            let (reporter, vitals) = (Arc::clone(reporter), Arc::clone(&plane.vitals[model]));
            let exchange = Arc::clone(&plane.exchanges[model]);
            let mut job = DetectorJob { detector, eyes, inbox, vitals: Arc::clone(&vitals), exchange, reporter };
            let name = format!("model {}", config.models[model].id);
            let failed =
                move || vitals.failed("andon failed on a frame and goes on; see its log, and please report it");
            let stop = plane.shutdown.listener();
            plane.threads.spawn(&name, stop, move |_stop| job.run(), failed)?;
        }
        Ok(plane)
    }

    /// Asks all to end: first nothing new is filmed, then nothing new is looked at.
    pub(super) fn halt(&mut self) {
        drop(mem::take(&mut self.shutdown));
        for inbox in &self.inboxes {
            inbox.close();
        }
    }

    /// Waits for the threads to end, a moment at most.
    pub(super) fn join(self) {
        self.threads.join();
    }
}
