//! A camera's thread: opens the source, hands frames over, and opens it again, for ever.
//!
//! [`run_once`] is the work, [`run`] the policy around it: back-off, notes for the supervisor, the log. The state that
//! others see is made of the notes by [`super::health`].

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use super::{
    health::{CameraState, Facts, stall_after, state_after},
    shutdown::Stop,
};
use crate::{
    capture::{self, Arrivals, ErrorKind, Read, Source, SourceError, mailbox::Inbox},
    frame::Frame,
};

/// How long one read waits at most: so late is a stop or a stall noticed.
const READ_TIMEOUT: Duration = Duration::from_millis(250);

/// The first pause before a source is opened again; it doubles up to the maximum of its kind of failure.
const REOPEN_AFTER: Duration = Duration::from_millis(250);

/// A camera that was unplugged shall be back within seconds of its return.
const REOPEN_AFTER_MAX: Duration = Duration::from_secs(1);

/// A device that was plugged in is opened after this: its permissions and links are set in several steps.
const SETTLE: Duration = Duration::from_millis(50);

/// So late is a stop noticed while a device is waited for.
const STOP_WITHIN: Duration = Duration::from_millis(100);

/// What only a person can mend is tried more rarely.
const REOPEN_AFTER_MAX_MISCONFIGURED: Duration = Duration::from_secs(5);

/// How a source is opened; tests bring their own.
pub(super) type Open<'a> = dyn Fn(&capture::Settings) -> Result<Box<dyn Source>, SourceError> + Send + Sync + 'a;

/// One camera, as its thread sees it.
pub(super) struct Camera<'a> {
    /// Its id, for the log.
    pub id: &'a str,
    /// How to open it.
    pub settings: &'a capture::Settings,
    /// Opens it.
    pub open: &'a Open<'a>,
    /// Where frames go.
    pub inbox: &'a Inbox,
    /// Its slot there.
    pub slot: usize,
    /// What the supervisor reads.
    pub facts: &'a Mutex<Facts>,
    /// When to end.
    pub stop: &'a Stop,
}

/// Why a stream is over, other than by a failure of the source.
#[derive(Debug)]
enum Over {
    /// The source has no more frames.
    Ended,
    /// The daemon stops.
    Stopped,
    /// The source is there, and no frame comes.
    Stalled(Duration),
    /// The source failed.
    Failed(SourceError),
}

/// What ended a pause between two attempts.
#[derive(Debug)]
enum Pause {
    /// Its time is over.
    Over,
    /// The device was plugged in.
    Arrived,
    /// The daemon stops.
    Stopped,
}

/// Films until the daemon stops or the source comes to its end.
pub(super) fn run(camera: &Camera<'_>) {
    let mut frame = Frame::empty();
    let mut attempts = 0;
    let mut last_failure = None;
    // Only while there are no frames.
    let mut arrivals = None;
    loop {
        let frames_before = camera.note(|facts| facts.frames);
        let over = run_once(camera, &mut frame);
        if camera.note(|facts| facts.frames) > frames_before {
            (attempts, arrivals) = (0, None);
        }
        // Another failure than before is news: a camera that came back may not be readable at once.
        let failure = if let Over::Failed(error) = &over { Some(error.kind()) } else { None };
        if failure != last_failure {
            (attempts, last_failure) = (0, failure);
        }
        let delay_max = match over {
            Over::Stopped => return,
            Over::Ended => {
                log::info!("camera \"{}\": {} has come to its end", camera.id, camera.settings.source);
                camera.note(|facts| facts.ended = true);
                return;
            }
            Over::Stalled(silent) => {
                let since = Instant::now().checked_sub(silent).unwrap_or_else(Instant::now);
                camera.trouble(CameraState::Stalled, camera.note(|facts| facts.silence()).to_owned(), since);
                REOPEN_AFTER_MAX
            }
            Over::Failed(error) => {
                camera.trouble(state_after(error.kind()), error.to_string(), Instant::now());
                match error.kind() {
                    ErrorKind::Misconfigured | ErrorKind::Busy => REOPEN_AFTER_MAX_MISCONFIGURED,
                    ErrorKind::Absent | ErrorKind::Lost | ErrorKind::Corrupt => REOPEN_AFTER_MAX,
                }
            }
        };
        let delay = (REOPEN_AFTER * 2_u32.saturating_pow(attempts)).min(delay_max);
        attempts = (attempts + 1).min(16);
        if arrivals.is_none() {
            arrivals = Arrivals::of(&camera.settings.source);
        }
        match camera.pause(delay, arrivals.as_mut()) {
            Pause::Stopped => return,
            Pause::Arrived => attempts = 0,
            Pause::Over => {}
        }
    }
}

/// Opens the source once and hands its frames over until that is over.
fn run_once(camera: &Camera<'_>, frame: &mut Frame) -> Over {
    camera.note(|facts| facts.goes_around(Instant::now()));
    let mut source = match (camera.open)(camera.settings) {
        Ok(source) => source,
        Err(error) => return Over::Failed(error),
    };
    let interval = source.interval();
    let stream = format!("{}, {}", camera.settings.source, source.describe());
    log::debug!("camera \"{}\" opened: {stream}", camera.id);
    camera.note(|facts| facts.opened(&*source, stream, Instant::now()));
    let timeout = READ_TIMEOUT.min(stall_after(interval));
    while !camera.stop.is_over() {
        camera.note(|facts| facts.goes_around(Instant::now()));
        match source.read(frame, timeout) {
            Ok(Read::Frame) => {
                camera.note(|facts| facts.frame(Instant::now()));
                camera.inbox.put(camera.slot, frame);
            }
            Ok(Read::Nothing) => {
                if let Some(silent) = camera.note(|facts| facts.silent_for(Instant::now())) {
                    return Over::Stalled(silent);
                }
            }
            Ok(Read::End) => return Over::Ended,
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                log::trace!("camera \"{}\": {error}", camera.id);
                camera.note(|facts| facts.damaged_frame(error.to_string(), Instant::now()));
            }
            Err(error) => return Over::Failed(error),
        }
    }
    Over::Stopped
}

impl Camera<'_> {
    fn note<T>(&self, work: impl FnOnce(&mut Facts) -> T) -> T {
        work(&mut self.facts.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Waits for the next attempt.
    fn pause(&self, delay: Duration, arrivals: Option<&mut Arrivals>) -> Pause {
        self.note(|facts| facts.goes_around(Instant::now()));
        let Some(arrivals) = arrivals else {
            return if self.stop.wait(delay) { Pause::Stopped } else { Pause::Over };
        };
        let until = Instant::now() + delay;
        while !self.stop.is_over() {
            let left = until.saturating_duration_since(Instant::now());
            if arrivals.wait(left.min(STOP_WITHIN)) {
                return if self.stop.wait(SETTLE) { Pause::Stopped } else { Pause::Arrived };
            }
            if left.is_zero() {
                return Pause::Over;
            }
        }
        Pause::Stopped
    }

    fn trouble(&self, state: CameraState, reason: String, since: Instant) {
        self.note(|facts| facts.trouble(state, reason, since));
    }
}

#[cfg(test)]
mod tests;
