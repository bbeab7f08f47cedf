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

use bytes::Bytes;
use jiff::Timestamp;

pub use self::{
    handover::Handover,
    resend::{Again, Resent},
};
use self::{
    inbox::{Inbox, Pushed},
    keeper::Keeper,
    resend::Requests,
    worker::Worker,
};
use super::mqtt::Invalid;
use crate::store::{Class, Entry, GapMaker, Limits, Loss, NOTE_BYTES_MAX, NOTES_MAX, Note, Notes, Pending};

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

/// Longest key of a note.
const NOTE_KEY_BYTES_MAX: usize = 200;
/// So long the start waits for the file to be opened.
const OPEN_WITHIN: Duration = Duration::from_secs(2);

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
    /// Of these, the first so many the end of the process does not cost any more; the others the thread is about to take.
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
        let note_bytes_max = settings.as_ref().map_or(usize::MAX, |settings| settings.max_bytes as usize / 4);
        let shared = Arc::new(Shared {
            left: Mutex::default(),
            opened: Condvar::new(),
            sizes: Mutex::default(),
            note_bytes_max,
            inbox: Inbox::default(),
            requests: Requests::default(),
            handover,
            trouble: Mutex::default(),
            last: Mutex::default(),
            states: Mutex::default(),
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
    /// When this returns, the end of the process does not cost the message any more, but for moments after the start, while
    /// the disk fails, or where very much comes at once: see [`Counters::taken`].
    ///
    /// # Errors
    /// Where it could never be sent; it is not taken then.
    pub fn push(&self, entry: Entry) -> Result<(), Invalid> {
        lane::check(&entry.topic, entry.body.len())?;
        self.hand_in(Pending::Entry(entry));
        Ok(())
    }

    /// Takes messages and notes that belong together: whatever ends the process or the power, all of them are there
    /// afterwards, or none. Where more come than can be taken, none is, a gap tells of the messages, and this is `false`.
    ///
    /// A note replaces the one before of its key; an empty one makes the key forgotten. Notes without messages are cheap:
    /// they wait for the next commit, at most `sync`, and only the newest of each key is written then. Sooner it is only
    /// where a megabyte of what was handed in waits.
    ///
    /// # Errors
    /// Where a message could never be sent, or a note or all together is beyond its bounds; nothing is taken then.
    pub fn push_all(&self, entries: Vec<Entry>, notes: Vec<Note>) -> Result<bool, Invalid> {
        entries.iter().try_for_each(|entry| lane::check(&entry.topic, entry.body.len()))?;
        if entries.is_empty() && notes.is_empty() {
            return Ok(true);
        }
        let group = Pending::Group { entries, notes };
        if !inbox::fits(&group) {
            return Err(Invalid::Group { bytes: group.bytes() });
        }
        let mut sizes = self.shared.sizes();
        check_notes(&sizes, group.notes(), self.shared.note_bytes_max)?;
        for Note { key, body } in group.notes() {
            if body.is_empty() {
                sizes.remove(key)
            } else {
                sizes.insert(key.clone(), body.len())
            };
        }
        drop(sizes);
        Ok(self.hand_in(group))
    }

    /// What an earlier process noted under a key, for the start: what this one notes does not change it. Waits until the
    /// thread has opened the file, two seconds at most; where it could not be read by then it is `None`.
    pub fn note(&self, key: &str) -> Option<Bytes> {
        self.wait_open().as_ref()?.get(key).cloned()
    }

    /// The topics whose newest message the broker keeps and this outbox sends again at every connection: at most 256. Waits as
    /// [`Outbox::note`] does.
    pub fn retained(&self) -> Vec<String> {
        drop(self.wait_open());
        self.shared.states().keys().cloned().collect()
    }

    /// Says once that a retained topic has no state any more, with an empty message, and does not send its last one again.
    /// `false`: it has none here. What was handed in for the topic but not committed when this is called comes before that.
    ///
    /// # Errors
    /// Where the topic is none.
    pub fn forget(&self, topic: &str) -> Result<bool, Invalid> {
        drop(self.wait_open());
        let Some(class) = self.shared.states().get(topic).copied() else { return Ok(false) };
        let (topic, body, made_at) = (topic.to_owned(), Bytes::new(), Timestamp::now());
        self.push(Entry { class, topic, retain: true, numbered: false, body, made_at })?;
        Ok(true)
    }

    fn wait_open(&self) -> MutexGuard<'_, Option<Notes>> {
        let left = self.shared.left.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.shared.opened.wait_timeout_while(left, OPEN_WITHIN, |left| left.is_none());
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Says whether there was room.
    fn hand_in(&self, pending: Pending) -> bool {
        let messages = pending.entries().len() as u64;
        self.shared.pushed.fetch_add(messages, Ordering::Relaxed);
        let pushed = self.shared.inbox.push(pending);
        match pushed {
            Pushed::Safe => self.shared.taken.fetch_add(messages, Ordering::Relaxed),
            Pushed::Waiting => 0,
            Pushed::Lost => self.shared.overload.fetch_add(messages, Ordering::Relaxed),
        };
        self.shared.handover.ring_outbox();
        pushed != Pushed::Lost
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
    /// What an earlier process noted; `None` until the file was opened.
    left: Mutex<Option<Notes>>,
    opened: Condvar,
    /// The length of each note.
    sizes: Mutex<BTreeMap<String, usize>>,
    /// All notes together.
    note_bytes_max: usize,
    inbox: Inbox,
    requests: Requests,
    handover: Arc<Handover>,
    trouble: Mutex<Option<String>>,
    last: Mutex<BTreeMap<String, (u64, u64)>>,
    states: Mutex<BTreeMap<String, Class>>,
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

    fn states(&self) -> MutexGuard<'_, BTreeMap<String, Class>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sizes(&self) -> MutexGuard<'_, BTreeMap<String, usize>> {
        self.sizes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file was opened, or could not be.
    fn open(&self, left: Notes) {
        let mut sizes = self.sizes();
        left.iter().for_each(|(key, body)| {
            sizes.entry(key.clone()).or_insert(body.len());
        });
        drop(sizes);
        *self.left.lock().unwrap_or_else(PoisonError::into_inner) = Some(left);
        self.opened.notify_all();
    }

    fn last(&self) -> MutexGuard<'_, BTreeMap<String, (u64, u64)>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether notes can be kept beside those that there are.
fn check_notes(known: &BTreeMap<String, usize>, notes: &[Note], bytes_max: usize) -> Result<(), Invalid> {
    let invalid = |note: &Note, reason| Err(Invalid::Note { key: note.key.chars().take(100).collect(), reason });
    let mut new = 0;
    let mut bytes: usize = known.values().sum();
    for note in notes {
        if note.key.is_empty() || note.key.len() > NOTE_KEY_BYTES_MAX {
            return invalid(note, "its key has no bytes, or more than 200");
        }
        if note.body.len() > NOTE_BYTES_MAX {
            return invalid(note, "it is longer than 512 KiB");
        }
        let before = known.get(&note.key);
        new += usize::from(before.is_none() && !note.body.is_empty());
        bytes = bytes + note.body.len() - before.copied().unwrap_or(0).min(bytes);
        if known.len() + new > NOTES_MAX {
            return invalid(note, "64 other keys have one");
        }
        if bytes > bytes_max {
            return invalid(note, "all notes together take more than a quarter of [outbox] max_bytes");
        }
    }
    Ok(())
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
