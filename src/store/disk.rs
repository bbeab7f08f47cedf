//! The outbox on the disk, used by one thread.

use std::{
    cmp::Ordering,
    collections::{BTreeSet, HashMap},
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;
use rusqlite::{Connection, config::DbConfig, params};

use super::{
    Entry, Failure, GapMaker, Loss, Numbering, Pending, PerClass, Row, epoch,
    intake::{self, Intake},
    notes::{self, Notes, Places},
    read::Names,
    schema::{self, Series, State, table},
    states::{self, States},
    upgrade, wreck,
};
use crate::store::Class;

/// The newest messages of retained topics take at most so much, and no more than an eighth of the file.
pub(super) const STATES_BYTES_MAX: usize = 4 << 20;

/// How much is kept, how long, and where the intake lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The database grows up to this, and has the room reserved from the start. The log and the intake beside it add up to
    /// eleven megabytes.
    pub max_bytes: u64,
    /// What is older than this goes, acknowledged or not.
    pub max_age: Duration,
    /// What survives the end of the process but not that of the power may lie here, in memory, to spare flash; `None`, and
    /// where there is no such folder: beside the database.
    pub intake: Option<PathBuf>,
}

/// A file beside the database, named after it: `outbox.db` has `outbox.intake`.
pub(super) fn beside(database: &Path, extension: &str) -> PathBuf {
    database.with_extension(extension)
}

/// The outbox on the disk.
pub struct Disk {
    pub(super) db: Connection,
    pub(super) intake: Intake,
    /// As long as this is open, no other process gets the outbox.
    _lock: File,
    pub(super) path: PathBuf,
    pub(super) limits: Limits,
    pub(super) gap: GapMaker,
    /// As it is on the disk; [`Numbering::epoch`] is that of the numbering.
    pub(super) state: State,
    pub(super) numbering: Numbering,
    /// Series by their id, and the reverse.
    pub(super) names: Names,
    pub(super) ids: HashMap<String, i64>,
    /// The oldest id that may still be there.
    pub(super) first: PerClass<u64>,
    /// What was taken since the last commit.
    pub(super) batch: Vec<Pending>,
    pub(super) batch_bytes: usize,
    /// The number of the last record of the intake that the batch has.
    pub(super) batch_through: u64,
    pub(super) states: States,
    /// Topics whose state was put aside.
    pub(super) aside: BTreeSet<i64>,
    /// Where each note lies.
    pub(super) notes: Places,
    /// What was noted when the file was opened.
    left: Notes,
    /// What is to be told with the next commit.
    pub(super) losses: Vec<Loss>,
    pub(super) age_looked_at: Timestamp,
}

/// What this process knows about the file that it opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// Nothing: another process had it, or nobody.
    Unknown,
    /// It had the file open, and these last ids are on the disk for certain. What is beyond was never promised to anybody,
    /// and goes.
    Certain(PerClass<u64>),
    /// It had the file open and found it damaged: it is set aside.
    Damaged,
}

/// What is left of a disk that failed.
#[derive(Clone, Debug)]
pub struct Remains {
    /// The last id of each class that is on the disk for certain.
    pub last: PerClass<u64>,
    /// The numbering that cannot go on.
    pub epoch: u64,
    /// What was taken and not committed.
    pub batch: Vec<Pending>,
    /// The newest message of each retained topic.
    pub states: States,
    /// What was lost and not told.
    pub losses: Vec<Loss>,
}

impl Disk {
    /// Opens the outbox, makes it where there is none. A damaged one is set aside and a new one begun; that, and what was
    /// taken before the last process ended, is written with the next commit.
    ///
    /// # Errors
    /// Where the disk cannot be used, or another process uses the file.
    pub fn open(path: &Path, limits: Limits, gap: GapMaker, before: Before, now: Timestamp) -> Result<Self, Failure> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|error| Failure::of_io(folder, &error))?;
        }
        let lock = lock(path)?;
        let mut losses = Vec::new();
        if !path.try_exists().map_err(|error| Failure::of_io(path, &error))? {
            Self::begin(path, 0, now)?;
        }
        let opened = match before {
            Before::Damaged => Err(Failure::damaged("it was found when it was read")),
            Before::Unknown | Before::Certain(_) => Opened::open(path, &limits),
        };
        let opened = match opened {
            Err(failure) if schema::is_damage(&failure) => {
                let wreck = wreck::set_aside(path, &failure)?;
                losses = wreck.losses;
                Self::begin(path, wreck.epoch, now)?;
                Opened::open(path, &limits)?
            }
            opened => opened?,
        };
        let mut disk = opened.into_disk(lock, path, limits, gap, losses, now)?;
        match before {
            Before::Certain(certain) if disk.losses.is_empty() => disk.drop_beyond(certain)?,
            // A new file has nothing of before, and what the intake holds is in memory.
            Before::Certain(_) | Before::Damaged => {}
            Before::Unknown => disk.go_on(now)?,
        }
        Ok(disk)
    }

    /// Makes an empty database with an epoch above all that are known.
    fn begin(path: &Path, known: u64, now: Timestamp) -> Result<(), Failure> {
        let epoch = epoch::after(epoch::last(path).max(known), now);
        epoch::note(path, epoch)?;
        schema::create(path, epoch)
    }

    /// Goes on where the last process ended.
    fn go_on(&mut self, now: Timestamp) -> Result<(), Failure> {
        self.batch = self.intake.replay(self.state.taken)?;
        self.batch_through = self.state.taken + self.batch.len() as u64;
        self.batch.iter().for_each(|pending| notes::apply(&mut self.left, pending.notes()));
        let noted = epoch::last(&self.path);
        if noted > self.numbering.epoch && !self.batch.is_empty() {
            // It was taken before the later numbering began.
            self.commit(self.state.done, now)?;
        }
        if noted > self.numbering.epoch {
            self.raise_epoch(epoch::after(noted, now))?;
        } else if noted < self.numbering.epoch {
            epoch::note(&self.path, self.numbering.epoch)?;
        }
        Ok(())
    }

    /// Begins another numbering, with the next commit.
    pub(super) fn raise_epoch(&mut self, epoch: u64) -> Result<(), Failure> {
        epoch::note(&self.path, epoch)?;
        self.renumber(&Numbering::new(epoch))
    }

    /// Goes on with another numbering.
    pub(super) fn renumber(&mut self, numbering: &Numbering) -> Result<(), Failure> {
        let transaction = self.db.unchecked_transaction()?;
        for (id, name) in self.names.all() {
            schema::write_topic(&transaction, id, name, numbering.last_of(name) + 1, self.states.place(name))?;
        }
        // Numbers of series that this file does not know yet were given as well, even where nothing of them waits.
        let mut new = Vec::new();
        for name in numbering.next.keys().filter(|name| !self.ids.contains_key(*name)) {
            let id = 1 + i64::try_from(self.ids.len() + new.len()).expect("series are few");
            schema::write_topic(&transaction, id, name, numbering.last_of(name) + 1, None)?;
            new.push((id, name.clone()));
        }
        let state = State { epoch: numbering.epoch, ..self.state.clone() };
        state.write(&transaction)?;
        transaction.commit()?;
        self.state = state;
        self.numbering = numbering.clone();
        for (id, name) in new {
            self.ids.insert(name.clone(), id);
            self.names.add(id, name);
        }
        Ok(())
    }

    /// After a failed sync nobody knows what of the last commit is on the disk. It is taken back, and its records with it.
    fn drop_beyond(&mut self, certain: PerClass<u64>) -> Result<(), Failure> {
        let transaction = self.db.unchecked_transaction()?;
        let mut state = self.state.clone();
        for class in Class::ALL {
            let (last, done) = (&mut state.last[class as usize], &mut state.done[class as usize]);
            *last = (*last).min(certain[class as usize]);
            *done = (*done).min(*last);
            transaction.execute(&format!("DELETE FROM {} WHERE id > ?", table(class)), params![*last])?;
        }
        // What the intake holds is in memory.
        state.taken += self.intake.replay(state.taken)?.len() as u64;
        state.write(&transaction)?;
        transaction.commit()?;
        self.intake.committed(state.taken);
        self.states.retain(|row| row.id <= state.last[row.entry.class as usize]);
        self.state = state;
        schema::write_back(&self.db, "TRUNCATE")
    }

    /// Takes something; it survives the end of the process from now on, or `false` says that it does from the next commit.
    ///
    /// # Errors
    /// Where the disk fails; the message is kept in [`Remains::batch`].
    pub fn take(&mut self, pending: Pending) -> Result<bool, Failure> {
        let number = self.intake.take(&pending).unwrap_or(0);
        self.accept(pending, number)
    }

    /// As [`Disk::take`], for something that the intake has under this number already; 0: it does not.
    ///
    /// # Errors
    /// As [`Disk::take`].
    pub fn accept(&mut self, pending: Pending, number: u64) -> Result<bool, Failure> {
        let safe = number > 0 || matches!(pending, Pending::Lost { .. });
        self.batch_bytes += pending.bytes();
        self.batch_through = self.batch_through.max(number);
        self.batch.push(pending);
        self.intake.failure().filter(|_| !safe).map_or(Ok(safe), Err)
    }

    /// Where things are written before they are taken.
    pub fn intake(&self) -> &Intake {
        &self.intake
    }

    /// The newest message of each retained topic.
    pub fn states(&self) -> &States {
        &self.states
    }

    /// What was noted when the file was opened, in what the last process could not commit as well.
    pub fn left(&self) -> &Notes {
        &self.left
    }

    /// Whether there is something to commit: messages or losses.
    pub fn has_batch(&self) -> bool {
        !self.batch.is_empty() || !self.losses.is_empty()
    }

    /// Whether the next message should wait for a commit.
    pub fn is_crowded(&self) -> bool {
        self.batch_bytes >= intake::BYTES
    }

    /// All up to this id are acknowledged or given up, as it is on the disk.
    pub fn done(&self) -> PerClass<u64> {
        self.state.done
    }

    /// The last id of each class.
    pub fn last(&self) -> PerClass<u64> {
        self.state.last
    }

    /// Which numbers were given.
    pub fn numbering(&self) -> &Numbering {
        &self.numbering
    }

    /// Something was lost before it reached the disk, or on it; told with the next commit.
    pub fn tell(&mut self, loss: Loss) {
        self.losses.push(loss);
    }

    /// Adds messages that got their numbers elsewhere, behind all that is here, and goes on with their numbering where it
    /// is the later one. `done` is what was acknowledged meanwhile of that which is here. Where all together is too much, the
    /// oldest goes as in a commit, and the next one tells of it.
    ///
    /// What the intake held comes before that, and notes of memory replace those that are here.
    ///
    /// # Errors
    /// Where the disk fails; nothing of memory is here then.
    pub fn adopt(
        &mut self,
        numbering: &Numbering,
        rows: impl Iterator<Item = Row>,
        notes: &Notes,
        done: PerClass<u64>,
        now: Timestamp,
    ) -> Result<(), Failure> {
        if !self.batch.is_empty() {
            self.commit(self.state.done, now)?;
        }
        match numbering.epoch.cmp(&self.numbering.epoch) {
            Ordering::Greater => self.renumber(numbering)?,
            // It was begun here once before, or by somebody who did not know of it.
            Ordering::Equal => self.raise_epoch(numbering.epoch + 1)?,
            Ordering::Less => {}
        }
        self.insert_adopted(rows, notes, done, now)
    }

    /// Gives up the file, and says what is not safe on it.
    pub fn fail(self) -> Remains {
        // Nothing of a log that may be half-written goes anywhere before it was looked at again.
        let _ = self.db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        let Self { state, numbering, batch, states, losses, .. } = self;
        Remains { last: state.last, epoch: numbering.epoch, batch, states, losses }
    }
}

/// Where what is taken lies until it is committed.
fn intake_path(path: &Path, limits: &Limits) -> PathBuf {
    let elsewhere = limits.intake.clone().filter(|path| path.parent().is_some_and(Path::is_dir));
    elsewhere.unwrap_or_else(|| beside(path, "intake"))
}

/// Keeps other processes from an outbox.
fn lock(path: &Path) -> Result<File, Failure> {
    let path = beside(path, "lock");
    let file = File::options().write(true).create(true).truncate(false).open(&path);
    let file = file.map_err(|error| Failure::of_io(&path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Failure::busy()),
        Err(TryLockError::Error(error)) => Err(Failure::of_io(&path, &error)),
    }
}

/// About what a message takes on the disk.
pub(super) fn bytes_of(entry: &Entry) -> usize {
    entry.body.len() + entry.topic.len() + 64
}

/// A database whose state was read.
struct Opened {
    db: Connection,
    state: State,
    topics: Vec<Series>,
    first: PerClass<u64>,
    notes: (Places, Notes),
    /// What an older version took and did not commit; then the file has its format still.
    older: Option<Vec<Entry>>,
}

impl Opened {
    fn open(path: &Path, limits: &Limits) -> Result<Self, Failure> {
        let db = schema::open(path, limits.max_bytes)?;
        let state = State::read(&db)?;
        let topics = schema::read_topics(&db)?;
        let mut first = [0; Class::ALL.len()];
        for class in Class::ALL {
            let ids = format!("SELECT min(id), max(id) FROM {}", table(class));
            let (low, high): (Option<u64>, Option<u64>) =
                db.query_row(&ids, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
            let (done, last) = (state.done[class as usize], state.last[class as usize]);
            first[class as usize] = low.unwrap_or(last + 1);
            if high.is_some_and(|high| high > last) || done > last {
                return Err(Failure::damaged("its state does not fit its messages"));
            }
        }
        let older = match schema::format(&db)? {
            schema::FORMAT => None,
            _ => Some(upgrade::taken(&intake_path(path, limits), state.born, state.taken)?),
        };
        let notes = if older.is_none() { notes::read(&db)? } else { Default::default() };
        Ok(Self { db, state, topics, first, notes, older })
    }

    fn into_disk(
        self,
        lock: File,
        path: &Path,
        limits: Limits,
        gap: GapMaker,
        losses: Vec<Loss>,
        now: Timestamp,
    ) -> Result<Disk, Failure> {
        let Self { db, state, mut topics, first, notes: (places, left), older } = self;
        let intake = Intake::open(intake_path(path, &limits), state.born)?;
        if let Some(older) = older {
            // In the half that the older version did not have; what has no room there goes over what was just read.
            intake.begin(state.taken, 1);
            for entry in older {
                intake.take(&Pending::Entry(entry));
            }
            upgrade::database(&db, &mut topics)?;
        }
        intake.begin(state.taken, 0);
        let bytes_max = STATES_BYTES_MAX.min(limits.max_bytes as usize / 8);
        let (states, aside) = states::read(&db, &topics, bytes_max)?;
        Ok(Disk {
            states,
            aside: aside.into_iter().collect(),
            db,
            intake,
            _lock: lock,
            path: path.to_owned(),
            limits,
            gap,
            numbering: schema::numbering(&state, &topics),
            state,
            ids: topics.iter().map(|series| (series.name.clone(), series.id)).collect(),
            names: Names::new(&topics),
            first,
            batch: Vec::new(),
            batch_bytes: 0,
            batch_through: 0,
            notes: places,
            left,
            losses,
            age_looked_at: now,
        })
    }
}
