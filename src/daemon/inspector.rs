//! A detector's thread: takes the newest frame of its cameras in turn, and reports what is in it.

use std::{
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    exchange::Exchange,
    health::{CameraState, Facts},
    pipeline::{Report, Reporter},
};
use crate::{
    capture::mailbox::Inbox,
    detector::{Detector, PictureError},
    frame::Frame,
    vision::{Checks, View, Visibility},
};

/// How long the thread waits for a frame before it shows that it is alive.
const TAKE_TIMEOUT: Duration = Duration::from_millis(500);

/// One of the cameras that a detector looks at.
pub(super) struct Eye {
    /// Index of the camera in the configuration.
    pub(super) camera: usize,
    /// Which part of its picture is looked at.
    pub(super) view: View,
    /// What makes it blind.
    pub(super) checks: Checks,
    /// What the supervisor reads of the camera.
    pub(super) facts: Arc<Mutex<Facts>>,
}

/// What the supervisor reads of a detector.
#[derive(Debug, Default)]
pub(super) struct Vitals {
    progress: AtomicU64,
    fault: Mutex<Option<String>>,
}

impl Vitals {
    /// A number that rises while the thread goes around, so that a hang can be told from quiet.
    pub(super) fn progress(&self) -> u64 {
        self.progress.load(Ordering::Relaxed)
    }

    /// Why the last frame could not be looked at, through no fault of the frame.
    pub(super) fn fault(&self) -> Option<String> {
        self.lock().clone()
    }

    /// Notes such a failure; the next frame that is looked at clears it.
    pub(super) fn failed(&self, why: impl Into<String>) {
        *self.lock() = Some(why.into());
    }

    fn works(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> MutexGuard<'_, Option<String>> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a detector's thread works with.
pub(super) struct Inspector<'a> {
    /// Its cameras, in the order of the inbox's slots.
    pub(super) eyes: &'a [Eye],
    /// Where frames come from; closed when it is over.
    pub(super) inbox: &'a Inbox,
    /// What the supervisor reads.
    pub(super) vitals: &'a Vitals,
    /// Where another detector is laid down to go on with.
    pub(super) exchange: &'a Exchange<Detector>,
    /// Where reports go.
    pub(super) reporter: &'a dyn Reporter,
}

/// Looks at frames until the inbox is closed, those included that lie in it then.
pub(super) fn run(detector: &mut Detector, work: &Inspector<'_>) {
    let mut frame = Frame::empty();
    // Frames that were taken and could not be looked at, since the last that could.
    let mut lost = vec![0; work.eyes.len()];
    let mut visibility: Vec<_> = work.eyes.iter().map(|eye| Visibility::new(eye.checks)).collect();
    // At which of its openings each camera was looked at last.
    let mut openings = vec![0; work.eyes.len()];
    loop {
        work.vitals.progress.fetch_add(1, Ordering::Relaxed);
        work.exchange.take_over(detector);
        let Some(slot) = work.inbox.take(&mut frame, TAKE_TIMEOUT) else {
            if work.inbox.is_closed() {
                return;
            }
            continue;
        };
        let eye = &work.eyes[slot];
        let started = Instant::now();
        let mut found = match detector.detect(&frame, &eye.view) {
            Ok(found) => found,
            Err(error) => {
                lost[slot] += frame.dropped + 1;
                if error.is::<PictureError>() {
                    eye.note(|facts| facts.damaged(format!("{error:#}"), Instant::now()));
                } else {
                    work.vitals.failed(format!("{error:#}"));
                }
                continue;
            }
        };
        work.vitals.works();
        let now = Instant::now();
        let opening = eye.note(|facts| facts.openings);
        if opening != openings[slot] {
            // It may have been turned, cleaned or exchanged: what it showed before is no measure.
            (openings[slot], visibility[slot]) = (opening, Visibility::new(eye.checks));
        }
        let blindness = visibility[slot].look(detector.picture(), now);
        let sees = eye.note(|facts| {
            facts.good(blindness, now);
            facts.verdict(now).state == CameraState::Live
        });
        frame.dropped += mem::take(&mut lost[slot]);
        let waited = started.saturating_duration_since(frame.captured_at);
        work.reporter.report(Report {
            camera: eye.camera,
            frame: &mut frame,
            model: detector.identity(),
            picture: detector.picture(),
            sees,
            found: &mut found,
            waited,
        });
    }
}

impl Eye {
    fn note<T>(&self, change: impl FnOnce(&mut Facts) -> T) -> T {
        change(&mut self.facts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
