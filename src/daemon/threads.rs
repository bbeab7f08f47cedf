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
    exchange::Exchange,
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
pub(super) struct Threads {
    handles: Vec<JoinHandle<()>>,
    restart_after: Duration,
}

impl Default for Threads {
    fn default() -> Self {
        Self { handles: Vec::new(), restart_after: RESTART_AFTER }
    }
}

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
        let (title, restart_after) = (name.to_owned(), self.restart_after);
        let body = move || {
            // What a panic leaves half done is the state of one camera or one model, and both begin anew.
            while catch_unwind(AssertUnwindSafe(|| work(&stop))).is_err() {
                log::error!("{title}: it failed unexpectedly and begins again; please report it");
                failed();
                if stop.wait(restart_after) {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name(name.to_owned()).spawn(body);
        self.handles
            .push(thread.with_context(|| format!("no thread for {name}; raise the limit of tasks (TasksMax=)"))?);
        Ok(())
    }

    /// Waits for all to end, so that no program or camera is left behind; not for ever, since a driver may hang.
    pub(super) fn join(self) {
        let deadline = Instant::now() + END_WITHIN;
        for thread in self.handles {
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
    pub(super) exchange: Arc<Exchange<Detector>>,
    pub(super) reporter: Arc<dyn Reporter>,
}

impl DetectorJob {
    /// Looks at frames until it is over.
    pub(super) fn run(&mut self) {
        let work = Inspector {
            eyes: &self.eyes,
            inbox: &self.inbox,
            vitals: &self.vitals,
            exchange: &self.exchange,
            reporter: &*self.reporter,
        };
        inspector::run(&mut self.detector, &work);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;
    use crate::daemon::shutdown::Shutdown;

    #[test]
    fn work_that_panics_begins_again_and_its_end_is_its_own() {
        let mut shutdown = Shutdown::default();
        let mut threads = Threads { restart_after: Duration::ZERO, ..Threads::default() };
        let (stop, (sender, events)) = (shutdown.listener(), channel());
        let (beat, failed, mut attempts) = (stop.beat(), sender.clone(), 0);
        let work = move |_: &Stop| {
            attempts += 1;
            sender.send(format!("attempt {attempts}")).unwrap();
            assert!(attempts == 3, "not yet");
        };
        threads.spawn("part", stop, work, move || failed.send("failed".to_owned()).unwrap()).unwrap();
        threads.join();
        let told: Vec<String> = events.iter().collect();
        assert_eq!(told, ["attempt 1", "failed", "attempt 2", "failed", "attempt 3"]);
        assert_eq!(beat.count(), u64::MAX, "who ended is no longer waited for");
    }

    #[test]
    fn an_end_is_not_followed_by_another_beginning() {
        let mut shutdown = Shutdown::default();
        let mut threads = Threads { restart_after: Duration::from_secs(3600), ..Threads::default() };
        let (stop, (sender, events)) = (shutdown.listener(), channel());
        threads.spawn("part", stop, move |_| panic!("always"), move || sender.send(()).unwrap()).unwrap();
        events.recv().unwrap();
        drop(shutdown);
        threads.join();
        assert!(events.recv().is_err(), "it failed once");
    }
}
