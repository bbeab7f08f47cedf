//! The database file: made whole, preallocated, opened so that a commit is on the disk when it returns.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, DEFAULT_NAME, FileControl, OpenFlags, OptionalExtension, params};
use rustix::fs::{FallocateFlags, fallocate};

use super::{Class, Failure, FailureKind, Numbering, PerClass, disk::beside, notes, states};

/// A page of the file. Larger ones would be worn out by small commits, smaller ones hold too few messages.
pub(super) const PAGE_BYTES: u64 = 8192;

/// The log of commits is written back into the database once it has so many pages,
pub(super) const LOG_PAGES: u32 = 500;
/// and has this room from the start: the same again, and one commit.
const LOG_BYTES: u64 = 2 * LOG_PAGES as u64 * PAGE_BYTES;

/// Marks the file as ours: "andn".
const APPLICATION_ID: i32 = 0x616e_646e;
/// Rises with what older versions could not read.
pub(super) const FORMAT: i32 = 2;
/// The oldest that is brought to this one.
const FORMAT_OLDEST: i32 = 1;

/// The state and the next number of every series lie on one page, for they change with every commit.
const TABLES: &str = "CREATE TABLE ledger (id INTEGER PRIMARY KEY, name TEXT NOT NULL, next INTEGER NOT NULL, \
                      state BLOB, sum INTEGER NOT NULL) STRICT";

/// Name of the table of a class.
pub(super) fn table(class: Class) -> &'static str {
    match class {
        Class::First => "entry_first",
        Class::Middle => "entry_middle",
        Class::Last => "entry_last",
    }
}

/// Makes an empty database: all of it is there, or nothing is.
pub(super) fn create(path: &Path, epoch: u64) -> Result<(), Failure> {
    let unfinished = beside(path, "new");
    let failed = |error: io::Error| Failure::of_io(path, &error);
    for leftover in
        [unfinished.clone(), beside(path, "new-journal"), with_suffix(path, "-wal"), with_suffix(path, "-shm")]
    {
        match fs::remove_file(&leftover) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
    }
    let db = Connection::open(&unfinished)?;
    db.pragma_update(None, "page_size", PAGE_BYTES)?;
    db.pragma_update(None, "application_id", APPLICATION_ID)?;
    db.pragma_update(None, "user_version", FORMAT)?;
    db.execute_batch(TABLES)?;
    db.execute_batch(notes::TABLE)?;
    db.execute_batch(states::TABLE)?;
    for class in Class::ALL {
        db.execute_batch(&format!(
            "CREATE TABLE {} (id INTEGER PRIMARY KEY, topic INTEGER NOT NULL, leaf TEXT, epoch INTEGER NOT NULL, \
             seq INTEGER NOT NULL, flags INTEGER NOT NULL, made_at INTEGER NOT NULL, sums INTEGER NOT NULL, \
             body BLOB NOT NULL) STRICT",
            table(class)
        ))?;
    }
    let state = State { born: epoch, epoch, ..State::default() };
    db.execute("INSERT INTO ledger VALUES (0, '', 0, x'', 0)", [])?;
    state.write(&db)?;
    set(&db, "journal_mode", "wal")?;
    db.close().map_err(|(_, error)| error)?;
    File::open(&unfinished).and_then(|file| file.sync_all()).map_err(failed)?;
    fs::rename(&unfinished, path).map_err(failed)?;
    sync_folder(path)
}

/// Makes the names in the folder of a file durable.
pub(super) fn sync_folder(path: &Path) -> Result<(), Failure> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| Failure::of_io(folder, &error))
}

/// Opens a database for the one who writes it: space is reserved, and whatever an earlier process left half-way is on the
/// disk for certain.
pub(super) fn open(path: &Path, max_bytes: u64) -> Result<Connection, Failure> {
    // A file that ends within a page is not taken for one that has its length.
    let max_bytes = max_bytes / PAGE_BYTES * PAGE_BYTES;
    reserve(path, max_bytes, FallocateFlags::empty())?;
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    check_format(&db)?;
    // A file that gets shorter at every return of the log would lose its reservation.
    let mut chunk = i32::try_from(max_bytes).unwrap_or(i32::MAX);
    db.file_control(DEFAULT_NAME, FileControl::ChunkSize(&mut chunk))?;
    let mut keep = 1;
    db.file_control(DEFAULT_NAME, FileControl::PersistWal(&mut keep))?;
    set(&db, "journal_mode", "wal")?;
    set(&db, "synchronous", "FULL")?;
    set(&db, "wal_autocheckpoint", 0)?;
    set(&db, "cache_size", -2000)?;
    // A file that was larger stays as it is: then nothing more is added.
    set(&db, "max_page_count", max_bytes / PAGE_BYTES)?;
    db.set_prepared_statement_cache_capacity(64);
    // Whoever wrote last may have failed to sync, and the kernel forgets about that: all is written and synced again.
    write_back(&db, "TRUNCATE")?;
    reserve(&with_suffix(path, "-wal"), LOG_BYTES, FallocateFlags::KEEP_SIZE)?;
    Ok(db)
}

/// Opens a database for somebody who only reads, beside the one who writes.
pub(super) fn open_to_read(path: &Path) -> Result<Connection, Failure> {
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    db.busy_timeout(std::time::Duration::from_secs(2))?;
    check_format(&db)?;
    Ok(db)
}

/// Writes the log back into the database; `how` as SQLite calls it.
pub(super) fn write_back(db: &Connection, how: &str) -> Result<(), Failure> {
    Ok(db.query_row(&format!("PRAGMA wal_checkpoint({how})"), [], |_row| Ok(()))?)
}

/// Fails where the file is none of ours, or of a version that is not known.
fn check_format(db: &Connection) -> Result<(), Failure> {
    let application: i32 = db.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    match (application, format(db)?) {
        (APPLICATION_ID, FORMAT_OLDEST..=FORMAT) => Ok(()),
        (APPLICATION_ID, other) => Err(Failure::damaged(&format!("its format is {other}, not {FORMAT}"))),
        _ => Err(Failure::damaged("it is no outbox")),
    }
}

/// Which version wrote it.
pub(super) fn format(db: &Connection) -> Result<i32, Failure> {
    Ok(db.query_row("PRAGMA user_version", [], |row| row.get(0))?)
}

fn set(db: &Connection, name: &str, value: impl rusqlite::ToSql) -> Result<(), Failure> {
    Ok(db.pragma_update_and_check(None, name, value, |_row| Ok(())).optional().map(drop)?)
}

/// Has the file system keep room for a file, where it can.
fn reserve(path: &Path, bytes: u64, how: FallocateFlags) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::of_io(path, &error);
    let file = File::options().write(true).create(how.contains(FallocateFlags::KEEP_SIZE)).truncate(false).open(path);
    let file = file.map_err(failed)?;
    match fallocate(&file, how, 0, bytes) {
        Ok(()) | Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => Ok(()),
        Err(error) => Err(failed(error.into())),
    }
}

/// `outbox.db-wal`.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// What is to be known before any message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    /// The epoch in which this file was made.
    pub(super) born: u64,
    pub(super) epoch: u64,
    /// All records of the intake up to this number are committed.
    pub(super) taken: u64,
    /// Messages up to this id are acknowledged or given up.
    pub(super) done: PerClass<u64>,
    /// The id of the last message.
    pub(super) last: PerClass<u64>,
}

impl State {
    /// Reads and checks it.
    pub(super) fn read(db: &Connection) -> Result<Self, Failure> {
        let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, u32>(1)?));
        let (bytes, sum) = db.query_row("SELECT state, sum FROM ledger WHERE id = 0", [], read)?;
        let mut numbers = [0; STATE_NUMBERS];
        let (chunks, rest) = bytes.as_chunks();
        if chunks.len() != numbers.len() || !rest.is_empty() || crc32fast::hash(&bytes) != sum {
            return Err(Failure::damaged("its state is not what was written"));
        }
        numbers.iter_mut().zip(chunks).for_each(|(number, bytes)| *number = u64::from_le_bytes(*bytes));
        let [born, epoch, taken, d0, d1, d2, l0, l1, l2] = numbers;
        Ok(Self { born, epoch, taken, done: [d0, d1, d2], last: [l0, l1, l2] })
    }

    /// Writes it, as a part of a transaction.
    pub(super) fn write(&self, db: &Connection) -> Result<(), Failure> {
        let ([d0, d1, d2], [l0, l1, l2]) = (self.done, self.last);
        let numbers: [u64; STATE_NUMBERS] = [self.born, self.epoch, self.taken, d0, d1, d2, l0, l1, l2];
        let bytes = numbers.map(u64::to_le_bytes).concat();
        let text = "UPDATE ledger SET state = ?, sum = ? WHERE id = 0";
        db.prepare_cached(text)?.execute(params![bytes, crc32fast::hash(&bytes)])?;
        Ok(())
    }
}

/// Numbers in a [`State`].
const STATE_NUMBERS: usize = 3 + 2 * Class::ALL.len();

/// A series that has numbers in the current epoch, or had in an earlier one.
#[derive(Clone, Debug)]
pub(super) struct Series {
    pub(super) id: i64,
    pub(super) name: String,
    /// The number that its next message gets.
    pub(super) next: u64,
    /// Where the newest message of a retained topic lies.
    pub(super) newest: Option<(Class, u64)>,
}

/// Writes a series, as a part of a transaction.
pub(super) fn write_topic(
    db: &Connection,
    id: i64,
    name: &str,
    next: u64,
    newest: Option<(Class, u64)>,
) -> Result<(), Failure> {
    let newest = newest.map(|(class, id)| [&[class as u8][..], &id.to_le_bytes()].concat());
    let text = "INSERT INTO ledger VALUES (?1, ?2, ?3, ?4, ?5) \
                ON CONFLICT (id) DO UPDATE SET next = ?3, state = ?4, sum = ?5";
    let sum = topic_sum(id, name, next, newest.as_deref());
    db.prepare_cached(text)?.execute(params![id, name, next, newest, sum])?;
    Ok(())
}

/// Reads and checks all series.
pub(super) fn read_topics(db: &Connection) -> Result<Vec<Series>, Failure> {
    let mut statement = db.prepare("SELECT id, name, next, state, sum FROM ledger WHERE id > 0")?;
    let mut rows = statement.query([])?;
    let mut topics = Vec::new();
    while let Some(row) = rows.next()? {
        let (id, name, next): (i64, String, u64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let newest: Option<Vec<u8>> = row.get(3)?;
        if topic_sum(id, &name, next, newest.as_deref()) != row.get::<_, u32>(4)? {
            return Err(Failure::damaged("its list of topics is not what was written"));
        }
        let newest = newest.and_then(|bytes| {
            let (class, id) = bytes.split_first()?;
            Some((*Class::ALL.get(usize::from(*class))?, u64::from_le_bytes(*id.first_chunk()?)))
        });
        topics.push(Series { id, name, next, newest });
    }
    Ok(topics)
}

fn topic_sum(id: i64, name: &str, next: u64, newest: Option<&[u8]>) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&id.to_le_bytes());
    sum.update(&next.to_le_bytes());
    sum.update(name.as_bytes());
    sum.update(newest.unwrap_or_default());
    sum.finalize()
}

/// The numbering of a state and its topics.
pub(super) fn numbering(state: &State, topics: &[Series]) -> Numbering {
    let next = topics.iter().map(|series| (series.name.clone(), series.next)).collect();
    Numbering { epoch: state.epoch, next }
}

/// Whether a failure of reading means that the file itself is at fault.
pub(super) fn is_damage(failure: &Failure) -> bool {
    failure.kind == FailureKind::Damaged
}
