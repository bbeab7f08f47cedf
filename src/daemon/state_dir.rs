//! The directory that systemd gives a service for what has to survive a restart.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

/// One that could not be written is tried again so often. One that could is not: each trial is a write, and the outbox says
/// what goes wrong in it later.
const TRY_EVERY: Duration = Duration::from_secs(30);

/// At the beginning a trial is waited for so long.
const ANSWERS_WITHIN: Duration = Duration::from_secs(1);

/// What is said while a trial does not come back.
const SILENT: &str = "the state directory's disk does not answer; check the disk";

/// What is known of the state directory. It is tried on a thread of its own, at most one at a time: a disk that does not
/// answer holds up nobody else.
#[derive(Debug)]
pub(super) struct StateDir {
    find_problem: fn() -> Option<String>,
    problem: Option<String>,
    tried_at: Instant,
    /// Gives what the trial that goes on finds.
    trial: Option<Receiver<Option<String>>>,
}

impl StateDir {
    /// Tries it for the first time, and waits a second at most for the answer.
    pub(super) fn new(find_problem: fn() -> Option<String>, now: Instant) -> Self {
        let mut this = Self { find_problem, problem: None, tried_at: now, trial: None };
        this.begin(now);
        this.hear(ANSWERS_WITHIN);
        this
    }

    /// Why nothing can be kept in it, and what to do, as far as is known.
    pub(super) fn problem(&self) -> Option<&String> {
        self.problem.as_ref()
    }

    /// Takes the answer of a trial, and begins another when it is time. Does not wait.
    pub(super) fn look(&mut self, now: Instant) {
        self.hear(Duration::ZERO);
        let is_due = now.saturating_duration_since(self.tried_at) >= TRY_EVERY;
        if self.problem.is_some() && self.trial.is_none() && is_due {
            self.begin(now);
        }
    }

    fn begin(&mut self, now: Instant) {
        let ((sender, answer), find_problem) = (channel(), self.find_problem);
        let body = move || {
            // Who asked may have gone.
            let _unheard = sender.send(find_problem());
        };
        self.tried_at = now;
        match thread::Builder::new().name("state directory".to_owned()).spawn(body) {
            Ok(_left_to_itself) => self.trial = Some(answer),
            Err(error) => {
                let remedy = "raise the limit of tasks (TasksMax=)";
                self.problem = Some(format!("the state directory was not tried: {error}; {remedy}"));
            }
        }
    }

    fn hear(&mut self, within: Duration) {
        let Some(trial) = &self.trial else { return };
        match trial.recv_timeout(within) {
            Ok(problem) => (self.problem, self.trial) = (problem, None),
            // A trial goes on while what the one before found is said.
            Err(RecvTimeoutError::Timeout) if self.problem.is_some() => {}
            Err(RecvTimeoutError::Timeout) => self.problem = Some(SILENT.to_owned()),
            Err(RecvTimeoutError::Disconnected) => self.trial = None,
        }
    }
}

/// Why nothing can be kept in the state directory, and what to do; `None` where all is well or there is none.
pub fn problem() -> Option<String> {
    let directory = directory()?;
    let error = probe(&directory).err()?;
    Some(format!(
        "state directory {} cannot be written ({error}); check its owner and whether its file system is read-only",
        directory.display()
    ))
}

/// The unit's `StateDirectory=`, the first where there are several.
pub fn directory() -> Option<PathBuf> {
    let value = std::env::var_os("STATE_DIRECTORY")?;
    let first = value.to_str()?.split(':').next()?.to_owned();
    (!first.is_empty()).then(|| PathBuf::from(first))
}

fn probe(directory: &Path) -> std::io::Result<()> {
    let file = directory.join(format!(".probe-{}", std::process::id()));
    fs::write(&file, b"andon")?;
    fs::remove_file(&file)
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    };

    use super::*;

    #[test]
    fn a_disk_that_does_not_answer_holds_up_nobody_and_is_said_until_it_does() {
        static DISK: Mutex<()> = Mutex::new(());
        fn find_problem() -> Option<String> {
            let _answered = DISK.lock();
            None
        }
        let silent = DISK.lock().unwrap();
        let now = Instant::now();
        let mut state_dir = StateDir::new(find_problem, now);
        state_dir.look(now + TRY_EVERY);
        assert_eq!(state_dir.problem().map(String::as_str), Some(SILENT));
        drop(silent);
        while state_dir.problem().is_some() {
            state_dir.look(now + TRY_EVERY);
            thread::yield_now();
        }
        assert!(state_dir.trial.is_none());
    }

    #[test]
    fn what_is_wrong_is_tried_again_after_a_while() {
        static TRIALS: AtomicU32 = AtomicU32::new(0);
        fn find_problem() -> Option<String> {
            (TRIALS.fetch_add(1, Ordering::Relaxed) == 0).then(|| "read-only".to_owned())
        }
        let now = Instant::now();
        let mut state_dir = StateDir::new(find_problem, now);
        state_dir.look(now);
        assert_eq!(state_dir.problem().map(String::as_str), Some("read-only"));
        while state_dir.problem().is_some() {
            state_dir.look(now + TRY_EVERY);
            thread::yield_now();
        }
        assert_eq!(TRIALS.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_directory_that_is_none_cannot_be_written() {
        assert!(probe(Path::new("/proc/self")).is_err());
        assert!(probe(&std::env::temp_dir()).is_ok());
    }
}
