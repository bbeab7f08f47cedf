//! Messages that must not be lost: on the disk before they are first sent, and kept until the broker has acknowledged them.
//!
//! Whoever has something to say hands it to the [`Outbox`] and goes on; one thread does the rest. A disk that fails costs
//! no message by itself: memory stands in for it (`keeper.rs`), [`Outbox::trouble`] says why, and what is too much for
//! either is told by a gap.
//!
//! - `inbox.rs`: from anybody's thread to the outbox's; `worker.rs`: that thread.
//! - `keeper.rs`: the disk, or what stands in for it; `resend.rs`: what is sent once more on demand.
//! - `lane.rs`: what waits in memory for the connection; `handover.rs`: where outbox and connection meet.

pub mod handover;
mod inbox;
mod keeper;
pub mod lane;
mod resend;
mod worker;

use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

pub use self::{
    handover::Handover,
    resend::{Again, Resent},
};
use self::{inbox::Inbox, keeper::Keeper, resend::Requests, worker::Worker};
use super::mqtt::Invalid;
use crate::store::{Entry, GapMaker, Limits, Loss};

/// Where messages are kept, how many, and how safe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The database; other files lie beside it.
    pub path: PathBuf,
    /// The database takes up to this, and has the room reserved from the start.
    pub max_bytes: u64,
    /// What is older goes, acknowledged or not.
    pub max_age: Duration,
    /// A power cut costs at most what was said in this time, alarms nothing; zero: nothing at all, at the price of flash.
    pub sync: Duration,
    /// A file in memory (tmpfs) for what survives the process but not a power cut; `None`: beside the database.
    pub intake: Option<PathBuf>,
    /// After a failure the disk is tried again first after this time, then more rarely.
    pub retry_after: Duration,
}

impl Settings {
    /// What is kept in a file where nothing else is said.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            max_bytes: 64_000_000,
            max_age: Duration::from_secs(7 * 86_400),
            sync: Duration::from_secs(1),
            intake: None,
            retry_after: Duration::from_secs(10),
        }
    }

    fn limits(&self) -> Limits {
        Limits { max_bytes: self.max_bytes, max_age: self.max_age, intake: self.intake.clone() }
    }
}

/// So many topics are named by [`Outbox::last_seqs`] at most.
const LAST_SEQS_MAX: usize = 256;

/// A handle on the outbox, for any thread; none of its methods waits for the disk, but [`Outbox::stop`].
///
/// When the last clone is dropped without [`Outbox::stop`], the thread ends as after a crash, which costs nothing.
#[derive(Clone)]
pub struct Outbox {
    shared: Arc<Shared>,
    _last: Arc<Last>,
}

/// What was done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages handed in.
    pub pushed: u64,
    /// Of these, how many the end of the process does not cost any more; the others the thread is about to take.
    pub taken: u64,
    /// Of those handed in, how many were lost at once because they came too fast; a gap tells each.
    pub overload: u64,
    /// Messages that got their number, gaps included.
    pub numbered: u64,
    /// Messages sent once more on demand.
    pub resent: u64,
    /// Times that something was written and synced.
    pub commits: u64,
}

impl Outbox {
    /// Starts the thread. `gap` makes the message that tells of a loss.
    ///
    /// # Errors
    /// Where there is no thread to be had.
    pub fn start(
        settings: Settings,
        handover: Arc<Handover>,
        gap: impl Fn(&Loss) -> Entry + Send + Sync + 'static,
    ) -> io::Result<Self> {
        Self::spawn(Some(settings), handover, Arc::new(gap))
    }

    /// An outbox without a disk, where nothing has to outlive the process.
    ///
    /// # Errors
    /// As [`Outbox::start`].
    pub fn in_memory(
        handover: Arc<Handover>,
        gap: impl Fn(&Loss) -> Entry + Send + Sync + 'static,
    ) -> io::Result<Self> {
        Self::spawn(None, handover, Arc::new(gap))
    }

    fn spawn(settings: Option<Settings>, handover: Arc<Handover>, gap: GapMaker) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            inbox: Inbox::default(),
            requests: Requests::default(),
            handover,
            trouble: Mutex::default(),
            last: Mutex::default(),
            progress: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
            ended: Mutex::new(false),
            end: Condvar::new(),
            pushed: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            overload: AtomicU64::new(0),
            numbered: AtomicU64::new(0),
            resent: AtomicU64::new(0),
            commits: AtomicU64::new(0),
        });
        let worker = {
            let shared = Arc::clone(&shared);
            move || {
                let ending = Ending(Arc::clone(&shared));
                let sync = settings.as_ref().map_or(Duration::ZERO, |settings| settings.sync);
                let keeper = Keeper::new(settings, gap);
                Worker::new(shared, keeper, sync).run();
                drop(ending);
            }
        };
        std::thread::Builder::new().name("outbox".to_owned()).spawn(worker)?;
        let last = Arc::new(Last(Arc::clone(&shared)));
        Ok(Self { shared, _last: last })
    }

    /// Takes a message. Where more come than can be taken, it is lost, and a gap tells.
    ///
    /// # Errors
    /// Where it could never be sent; it is not taken then.
    pub fn push(&self, entry: Entry) -> Result<(), Invalid> {
        lane::check(&entry.topic, entry.body.len())?;
        self.shared.pushed.fetch_add(1, Ordering::Relaxed);
        if !self.shared.inbox.push(entry) {
            self.shared.overload.fetch_add(1, Ordering::Relaxed);
        }
        self.shared.handover.ring_outbox();
        Ok(())
    }

    /// Where the connection finds what is to be sent next.
    pub fn handover(&self) -> Arc<Handover> {
        Arc::clone(&self.shared.handover)
    }

    /// Why messages are not safe from the end of the process, and what to do; `None` where they are.
    pub fn trouble(&self) -> Option<String> {
        self.shared.trouble().clone()
    }

    /// Rises at least twice a second, unless the thread hangs.
    pub fn progress(&self) -> u64 {
        self.shared.progress.load(Ordering::Relaxed)
    }

    /// The last number that each topic got: topic, epoch, seq. At most 256 of them.
    pub fn last_seqs(&self) -> Vec<(String, u64, u64)> {
        self.shared.last().iter().map(|(topic, (epoch, seq))| (topic.clone(), *epoch, *seq)).collect()
    }

    /// Sends messages once more; `answer` is called when all that are there are on their way to the connection, or at once
    /// with `None` where too much is being sent again.
    pub fn resend(&self, again: Again, answer: impl FnOnce(Option<Resent>) + Send + 'static) {
        self.shared.requests.push(again, Box::new(answer));
        self.shared.handover.ring_outbox();
    }

    /// What was done so far.
    pub fn counters(&self) -> Counters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counters {
            pushed: read(&self.shared.pushed),
            taken: read(&self.shared.taken),
            overload: read(&self.shared.overload),
            numbered: read(&self.shared.numbered),
            resent: read(&self.shared.resent),
            commits: read(&self.shared.commits),
        }
    }

    /// Writes what waits, and ends the thread. Says whether that was done in time.
    pub fn stop(&self, within: Duration) -> bool {
        self.shared.stopping.store(true, Ordering::Relaxed);
        self.shared.handover.ring_outbox();
        let ended = self.shared.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.shared.end.wait_timeout_while(ended, within, |ended| !*ended);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// What the handles and the thread share. Each lock is held for moments only.
struct Shared {
    inbox: Inbox,
    requests: Requests,
    handover: Arc<Handover>,
    trouble: Mutex<Option<String>>,
    last: Mutex<BTreeMap<String, (u64, u64)>>,
    progress: AtomicU64,
    stopping: AtomicBool,
    abandoned: AtomicBool,
    ended: Mutex<bool>,
    end: Condvar,
    pushed: AtomicU64,
    taken: AtomicU64,
    overload: AtomicU64,
    numbered: AtomicU64,
    resent: AtomicU64,
    commits: AtomicU64,
}

impl Shared {
    fn trouble(&self) -> MutexGuard<'_, Option<String>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn last(&self) -> MutexGuard<'_, BTreeMap<String, (u64, u64)>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Held by every handle: the last one takes the thread along.
struct Last(Arc<Shared>);

impl Drop for Last {
    fn drop(&mut self) {
        self.0.abandoned.store(true, Ordering::Relaxed);
        self.0.handover.ring_outbox();
    }
}

/// Says that the thread has ended, however it did.
struct Ending(Arc<Shared>);

impl Drop for Ending {
    fn drop(&mut self) {
        *self.0.ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.end.notify_all();
    }
}
