//! The threads of the data plane: what each of them owns, and what becomes of them when they panic or have to end.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::Context;

use super::{
    camera::{self, Camera},
    health::{CameraState, Facts},
    inspector::{self, Eye, Inspector, Vitals},
    pipeline::Reporter,
    shutdown::Stop,
};
use crate::{
    capture::{self, mailbox::Inbox},
    config,
    detector::Detector,
};

/// A thread that panicked begins again after this.
const RESTART_AFTER: Duration = Duration::from_secs(1);

/// How long threads have to end: a program that a camera reads from gets two seconds to go by itself.
const END_WITHIN: Duration = Duration::from_secs(4);

/// The running threads.
#[derive(Default)]
pub(super) struct Threads(Vec<JoinHandle<()>>);

impl Threads {
    /// Starts a thread that does its work until it returns, and again after a panic, which `failed` is told.
    ///
    /// # Errors
    /// Where the system refuses a thread.
    pub(super) fn spawn(
        &mut self,
        name: &str,
        stop: Stop,
        mut work: impl FnMut(&Stop) + Send + 'static,
        failed: impl Fn() + Send + 'static,
    ) -> anyhow::Result<()> {
        let title = name.to_owned();
        let body = move || {
            // What a panic leaves half done is the state of one camera or one model, and both begin anew.
            while catch_unwind(AssertUnwindSafe(|| work(&stop))).is_err() {
                log::error!("{title}: it failed unexpectedly and begins again; please report it");
                failed();
                if stop.wait(RESTART_AFTER) {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name(name.to_owned()).spawn(body);
        self.0.push(thread.with_context(|| format!("no thread for {name}; raise the limit of tasks (TasksMax=)"))?);
        Ok(())
    }

    /// Waits for all to end, so that no program or camera is left behind; not for ever, since a driver may hang.
    pub(super) fn join(self) {
        let deadline = Instant::now() + END_WITHIN;
        for thread in self.0 {
            while !thread.is_finished() {
                if Instant::now() >= deadline {
                    log::warn!("{}: it does not end and is left behind", thread.thread().name().unwrap_or("a thread"));
                    break;
                }
                thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

/// What a camera's thread owns.
pub(super) struct CameraJob {
    pub(super) camera: config::Camera,
    pub(super) slot: usize,
    pub(super) inbox: Arc<Inbox>,
    pub(super) facts: Arc<Mutex<Facts>>,
}

impl CameraJob {
    /// Films until it is over.
    pub(super) fn run(&self, stop: &Stop) {
        camera::run(&Camera {
            id: &self.camera.id,
            settings: &self.camera.capture,
            open: &capture::open,
            inbox: &self.inbox,
            slot: self.slot,
            facts: &self.facts,
            stop,
        });
    }

    /// Notes that the thread failed.
    pub(super) fn failed(facts: &Mutex<Facts>) {
        let reason = "andon failed on it and tries again; see its log, and please report it".to_owned();
        let mut facts = facts.lock().unwrap_or_else(PoisonError::into_inner);
        facts.trouble(CameraState::Absent, reason, Instant::now());
    }
}

/// What a detector's thread owns.
pub(super) struct DetectorJob {
    pub(super) detector: Detector,
    pub(super) eyes: Vec<Eye>,
    pub(super) inbox: Arc<Inbox>,
    pub(super) vitals: Arc<Vitals>,
    pub(super) reporter: Arc<dyn Reporter>,
}

impl DetectorJob {
    /// Looks at frames until it is over.
    pub(super) fn run(&mut self) {
        let work = Inspector { eyes: &self.eyes, inbox: &self.inbox, vitals: &self.vitals, reporter: &*self.reporter };
        inspector::run(&mut self.detector, &work);
    }
}
