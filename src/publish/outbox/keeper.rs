//! Where messages are kept: on the disk, or in memory as long as that fails.
//!
//! Going over to memory begins another epoch, for nobody knows what of the last commit is on the disk. What lies there is
//! sent first as long as it can be read; what cannot waits until the disk is back. Then all that is in memory goes behind it,
//! the windows of the lane begin again, and the numbering goes on.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::{Settings, inbox::Numbered};
use crate::store::{
    self, Backlog, Before, Chunk, Class, Committed, Disk, Failure, FailureKind, GapMaker, Intake, Loss, Memory, Notes,
    Numbering, PerClass, States, Wanted,
};

/// The disk is tried again at least so often.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);
/// A disk that has held so long is tried again soon after the next failure.
const HELD: Duration = Duration::from_secs(60);

/// Where messages are kept.
pub(super) struct Keeper {
    /// `None`: memory is all there is, and all there should be.
    settings: Option<Settings>,
    gap: GapMaker,
    place: Place,
    retry_after: Duration,
    trouble: Option<String>,
    /// What an earlier process noted.
    left: Notes,
}

enum Place {
    Disk { disk: Disk, since: Instant },
    Memory { memory: Memory, waiting: Option<Waiting>, retry_at: Option<Instant> },
}

/// What waits on the disk meanwhile.
struct Waiting {
    /// The last ids that are there for certain.
    last: PerClass<u64>,
    /// Up to here it was read; ids above are memory's.
    read: PerClass<u64>,
    /// `None`: it cannot be read.
    backlog: Option<Backlog>,
    /// The file is not what was written: a new one takes its place.
    damaged: bool,
}

/// When what was taken is to be committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// As anything: the end of the process does not cost it.
    Safe,
    /// Soon: the end of the process would cost it.
    Unsafe,
    /// Before anything else is taken.
    Crowded,
}

/// Where the windows of the lane begin again, after the place has changed.
pub(super) type Restart = Option<PerClass<u64>>;

impl Keeper {
    /// Opens the disk, or stays in memory with the reason.
    pub(super) fn new(settings: Option<Settings>, gap: GapMaker) -> Self {
        let now = Timestamp::now();
        let Some(settings) = settings else {
            let epoch = u64::try_from(now.as_millisecond()).unwrap_or(0) + 1;
            let place = Place::Memory { memory: Memory::new(epoch, gap.clone()), waiting: None, retry_at: None };
            let (retry_after, trouble, left) = (Duration::ZERO, None, Notes::new());
            return Self { settings: None, gap, place, retry_after, trouble, left };
        };
        let retry_after = settings.retry_after;
        let opened = Disk::open(&settings.path, settings.limits(), gap.clone(), Before::Unknown, now);
        let mut left = Notes::new();
        let (place, failure) = match opened {
            Ok(disk) => {
                left.clone_from(disk.left());
                (Place::Disk { disk, since: Instant::now() }, None)
            }
            Err(failure) => {
                if failure.kind != FailureKind::Busy {
                    left = store::notes_left(&settings.path);
                }
                let epoch = store::epoch_without_database(&settings.path, 0, now);
                let memory = Memory::new(epoch, gap.clone());
                (Place::Memory { memory, waiting: None, retry_at: Some(Instant::now() + retry_after) }, Some(failure))
            }
        };
        let mut keeper = Self { settings: Some(settings), gap, place, retry_after, trouble: None, left };
        if let Some(failure) = failure {
            keeper.complain(&failure);
        }
        keeper
    }

    /// Why messages are not safe, and what to do.
    pub(super) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Where the lane begins.
    pub(super) fn done(&self) -> PerClass<u64> {
        match &self.place {
            Place::Disk { disk, .. } => disk.done(),
            Place::Memory { memory, .. } => memory.last(),
        }
    }

    /// The last id of each class.
    pub(super) fn last(&self) -> PerClass<u64> {
        match &self.place {
            Place::Disk { disk, .. } => disk.last(),
            Place::Memory { memory, .. } => memory.last(),
        }
    }

    /// Ids up to here belong to messages that lie elsewhere than those that come now: on the disk, while memory stands in.
    pub(super) fn elsewhere_through(&self) -> u64 {
        match &self.place {
            Place::Disk { .. } => 0,
            Place::Memory { memory, .. } => memory.first() - 1,
        }
    }

    /// All of a class up to here has to be in the lane before anything that comes now is.
    pub(super) fn begin(&self, class: Class) -> u64 {
        match &self.place {
            Place::Memory { waiting: Some(Waiting { last, backlog: Some(_), .. }), .. } => last[class as usize],
            Place::Disk { .. } | Place::Memory { .. } => 0,
        }
    }

    /// The newest message of each retained topic.
    pub(super) fn states(&self) -> &States {
        match &self.place {
            Place::Disk { disk, .. } => disk.states(),
            Place::Memory { memory, .. } => memory.states(),
        }
    }

    /// Which numbers were given.
    pub(super) fn numbering(&self) -> &Numbering {
        match &self.place {
            Place::Disk { disk, .. } => disk.numbering(),
            Place::Memory { memory, .. } => memory.numbering(),
        }
    }

    /// Whether something was taken and not committed.
    pub(super) fn has_batch(&self) -> bool {
        match &self.place {
            Place::Disk { disk, .. } => disk.has_batch(),
            Place::Memory { memory, .. } => memory.has_batch(),
        }
    }

    /// What an earlier process noted.
    pub(super) fn left(&self) -> &Notes {
        &self.left
    }

    /// Where things are written before they are taken; `None` while memory stands in.
    pub(super) fn intake(&self) -> Option<&Intake> {
        match &self.place {
            Place::Disk { disk, .. } => Some(disk.intake()),
            Place::Memory { .. } => None,
        }
    }

    /// Takes something that the intake has under this number, or not where that is 0.
    pub(super) fn take(&mut self, (number, pending): Numbered, lane: PerClass<u64>) -> Taken {
        match &mut self.place {
            Place::Disk { disk, .. } => match disk.accept(pending, number) {
                Ok(_) if disk.is_crowded() => Taken::Crowded,
                Ok(true) => Taken::Safe,
                Ok(false) => Taken::Unsafe,
                Err(failure) => {
                    self.fall(&failure, lane);
                    Taken::Crowded
                }
            },
            Place::Memory { memory, .. } => {
                memory.take(pending);
                Taken::Safe
            }
        }
    }

    /// Something was lost on the way to the lane; told with the next commit.
    pub(super) fn tell(&mut self, loss: Loss) {
        match &mut self.place {
            Place::Disk { disk, .. } => disk.tell(loss),
            Place::Memory { memory, .. } => memory.tell(loss),
        }
    }

    /// Commits. `done` is how far the lane is acknowledged, `lane` how far it was filled.
    pub(super) fn commit(&mut self, done: PerClass<u64>, lane: PerClass<u64>) -> Committed {
        if let Place::Disk { disk, .. } = &mut self.place {
            match disk.commit(done, Timestamp::now()) {
                Ok(committed) => return committed,
                Err(failure) => self.fall(&failure, lane),
            }
        }
        match &mut self.place {
            Place::Memory { memory, .. } => memory.commit(done),
            // It has just fallen.
            Place::Disk { .. } => Committed::default(),
        }
    }

    /// Does what a commit leaves to do on the disk; nobody waits for it. `lane` is how far the lane was filled.
    pub(super) fn write_back(&mut self, lane: PerClass<u64>) {
        if let Place::Disk { disk, .. } = &mut self.place
            && let Err(failure) = disk.write_back()
        {
            self.fall(&failure, lane);
        }
    }

    /// Messages for the lane after an id.
    pub(super) fn read(
        &mut self,
        class: Class,
        after: u64,
        rows_max: usize,
        bytes_max: usize,
        lane: PerClass<u64>,
    ) -> Chunk {
        match &mut self.place {
            Place::Disk { disk, .. } => match disk.read(class, after, rows_max, bytes_max) {
                Ok(chunk) => chunk,
                Err(failure) => {
                    self.fall(&failure, lane);
                    Chunk { through: after, ..Chunk::default() }
                }
            },
            Place::Memory { memory, waiting, .. } => {
                let from_disk = waiting.as_mut().and_then(|waiting| waiting.read(class, after, rows_max, bytes_max));
                from_disk.unwrap_or_else(|| memory.read(class, after, rows_max, bytes_max))
            }
        }
    }

    /// Messages that were sent before and are wanted again; `None` where they cannot be looked for now.
    pub(super) fn search(
        &mut self,
        class: Class,
        after: u64,
        wanted: Wanted<'_>,
        lane: PerClass<u64>,
    ) -> Option<Chunk> {
        let Place::Disk { disk, .. } = &self.place else { return None };
        match disk.search(class, after, wanted, 32) {
            Ok(chunk) => Some(chunk),
            Err(failure) => {
                self.fall(&failure, lane);
                None
            }
        }
    }

    /// Tries the disk again where it is time. `done` is how far the lane is acknowledged.
    pub(super) fn try_disk(&mut self, done: PerClass<u64>, now: Instant) -> Restart {
        let Place::Memory { memory, waiting, retry_at } = &mut self.place else { return None };
        let settings = self.settings.as_ref()?;
        if retry_at.is_none_or(|at| now < at) {
            return None;
        }
        memory.commit(done);
        // Of what memory has, nothing is acknowledged on the disk, whatever the lane says.
        let before = waiting.as_ref().map_or(Before::Unknown, |waiting| match waiting.damaged {
            true => Before::Damaged,
            false => Before::Certain(waiting.last),
        });
        let disk_done = waiting.as_ref().map_or([0; 3], |waiting| {
            std::array::from_fn(|class| done[class].min(waiting.read[class]).min(waiting.last[class]))
        });
        let wall = Timestamp::now();
        let opened = Disk::open(&settings.path, settings.limits(), self.gap.clone(), before, wall);
        let adopted = opened.and_then(|mut disk| {
            disk.adopt(memory.numbering(), memory.rows().cloned(), memory.notes(), disk_done, wall)?;
            Ok(disk)
        });
        match adopted {
            Ok(disk) => {
                log::info!("outbox {}: the disk is back", settings.path.display());
                let begin = disk.done();
                self.place = Place::Disk { disk, since: now };
                self.trouble = None;
                Some(begin)
            }
            Err(failure) => {
                self.retry_after = (self.retry_after * 2).min(RETRY_AFTER_MAX.max(settings.retry_after));
                *retry_at = Some(now + self.retry_after);
                self.complain(&failure);
                None
            }
        }
    }

    /// When the disk is tried again.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        if let Place::Memory { retry_at, .. } = &self.place { *retry_at } else { None }
    }

    /// Whether messages are in memory only, though they should not be.
    pub(super) fn is_fallen(&self) -> bool {
        self.retry_at().is_some()
    }

    /// Goes over to memory. `lane` is how far the lane was filled.
    fn fall(&mut self, failure: &Failure, lane: PerClass<u64>) {
        let Some(settings) = &self.settings else { return };
        let now = Instant::now();
        // A stand-in that is not used: what is on the disk has to be taken out of its place first.
        let stand_in = Place::Memory { memory: Memory::new(0, self.gap.clone()), waiting: None, retry_at: None };
        let (disk, since) = match std::mem::replace(&mut self.place, stand_in) {
            Place::Disk { disk, since } => (disk, since),
            memory @ Place::Memory { .. } => {
                self.place = memory;
                return;
            }
        };
        let remains = disk.fail();
        let epoch = store::epoch_without_database(&settings.path, remains.epoch, Timestamp::now());
        let mut memory = Memory::new(epoch, self.gap.clone());
        memory.inherit(remains.states);
        remains.losses.into_iter().for_each(|loss| memory.tell(loss));
        remains.batch.into_iter().for_each(|pending| memory.take(pending));
        let backlog = Backlog::open(&settings.path, remains.last)
            .inspect_err(|failure| {
                log::warn!("outbox {}: what waits there waits on: {failure}", settings.path.display())
            })
            .ok();
        let damaged = failure.kind == FailureKind::Damaged;
        let waiting = Waiting { last: remains.last, read: lane, backlog, damaged };
        if now.duration_since(since) >= HELD {
            self.retry_after = settings.retry_after;
        }
        let retry_at = Some(now + self.retry_after);
        self.place = Place::Memory { memory, waiting: Some(waiting), retry_at };
        self.complain(failure);
    }

    fn complain(&mut self, failure: &Failure) {
        let Some(settings) = &self.settings else { return };
        let path = settings.path.display();
        let trouble = format!("outbox {path} cannot be used, messages are in memory only: {failure}");
        if self.trouble.as_ref() != Some(&trouble) {
            log::warn!("{trouble}");
        }
        self.trouble = Some(trouble);
    }
}

impl Waiting {
    /// What waits on the disk after an id; `None` where that is all read, or cannot be.
    fn read(&mut self, class: Class, after: u64, rows_max: usize, bytes_max: usize) -> Option<Chunk> {
        if after >= self.last[class as usize] {
            return None;
        }
        match self.backlog.as_ref()?.read(class, after, rows_max, bytes_max) {
            Ok(chunk) => {
                self.read[class as usize] = chunk.through;
                Some(chunk)
            }
            Err(failure) => {
                log::warn!("what waits on the disk waits on: {failure}");
                self.backlog = None;
                None
            }
        }
    }
}
