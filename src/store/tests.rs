//! What the outbox promises, on real files.

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use jiff::Timestamp;

use super::*;

pub(super) fn entry(class: Class, topic: &str, body: &str) -> Entry {
    let body = Bytes::copy_from_slice(body.as_bytes());
    let made_at = Timestamp::from_second(1_800_000_000).unwrap();
    Entry { class, topic: topic.to_owned(), retain: false, numbered: class != Class::Last, body, made_at }
}

fn gap() -> GapMaker {
    Arc::new(|loss| {
        let Loss { topic, epoch, from, to, reason } = loss;
        let text = format!("{{\"gap\":\"{topic:?} {epoch} {from}-{to} {}\"}}", reason.name());
        entry(Class::First, "gap", &text)
    })
}

const LIMITS: Limits = Limits { max_bytes: 2 << 20, max_age: Duration::from_secs(7 * 86_400), intake: None };

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

fn open(path: &Path) -> Disk {
    Disk::open(path, LIMITS, gap(), Before::Unknown, now()).unwrap()
}

fn take(disk: &mut Disk, class: Class, topic: &str, body: &str) {
    disk.take(Pending::Entry(entry(class, topic, body))).unwrap();
}

fn commit(disk: &mut Disk) -> Committed {
    disk.commit([0; 3], now()).unwrap()
}

fn told(rows: &[Row]) -> Vec<(&str, u64, u64, String)> {
    rows.iter()
        .map(|row| {
            let body = String::from_utf8(row.entry.body.to_vec()).unwrap();
            (row.entry.topic.as_str(), row.id, row.seq, body)
        })
        .collect()
}

#[test]
fn numbers_go_on_after_a_restart_and_what_was_taken_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("outbox.db");
    let mut disk = open(&path);
    let epoch = disk.numbering().epoch;
    take(&mut disk, Class::Middle, "a", "1");
    take(&mut disk, Class::First, "b", "2");
    take(&mut disk, Class::Last, "s/17", "3");
    let rows = commit(&mut disk).rows;
    let expected = [("a", 1, 1, "1".to_owned()), ("b", 1, 1, "2".to_owned()), ("s/17", 1, 1, "3".to_owned())];
    assert_eq!(told(&rows), expected);
    take(&mut disk, Class::Middle, "a", "4");
    take(&mut disk, Class::Last, "s/18", "5");
    drop(disk);

    let mut disk = open(&path);
    assert_eq!(disk.numbering().epoch, epoch);
    assert_eq!(told(&commit(&mut disk).rows), [("a", 2, 2, "4".to_owned()), ("s/18", 2, 2, "5".to_owned())]);
    let chunk = disk.read(Class::Middle, 0, 10, 1000).unwrap();
    assert_eq!((told(&chunk.rows).len(), chunk.through, chunk.losses.len()), (2, 2, 0));
    assert_eq!(disk.read(Class::Last, 1, 10, 1000).unwrap().rows[0].entry, entry(Class::Last, "s/18", "5"));
    assert_eq!(disk.read(Class::Middle, 0, 1, 1000).unwrap().through, 1);
    assert_eq!(commit(&mut disk), Committed::default());
}

#[test]
fn acknowledged_messages_stay_and_are_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("outbox.db");
    let mut disk = open(&path);
    for n in 0..10 {
        take(&mut disk, Class::Middle, ["a", "b"][n % 2], &n.to_string());
    }
    commit(&mut disk);
    disk.commit([0, 10, 0], now()).unwrap();
    drop(disk);
    let disk = open(&path);
    assert_eq!((disk.done(), disk.last()), ([0, 10, 0], [0, 10, 0]));
    let wanted = read::Wanted { series: "b", epoch: disk.numbering().epoch, from: 2, to: 4 };
    let found = disk.search(Class::Middle, 0, wanted, 10).unwrap();
    assert_eq!((told(&found.rows).len(), found.rows[0].seq, found.through), (3, 2, 10));
    let found = disk.search(Class::Middle, 0, wanted, 2).unwrap();
    assert_eq!((found.rows.len(), found.through), (2, 6));
}

#[test]
fn a_full_outbox_gives_up_acknowledged_messages_then_the_lowest_class_and_tells() {
    let folder = tempfile::tempdir().unwrap();
    let mut disk = open(&folder.path().join("outbox.db"));
    let body = "x".repeat(20_000);
    let mut given_up = [0; 3];
    let mut gaps = Vec::new();
    for n in 0..150 {
        take(&mut disk, Class::Last, &format!("s/{n}"), &body);
        take(&mut disk, Class::First, "alarm", "{}");
        // The first twenty pictures are acknowledged.
        let done = [0, 0, if n > 20 { 20 } else { 0 }];
        let committed = disk.commit(done, now()).unwrap();
        for (known, new) in given_up.iter_mut().zip(committed.given_up) {
            *known = new.max(*known);
        }
        gaps.extend(committed.rows.into_iter().filter(|row| row.entry.topic == "gap"));
    }
    assert_eq!((given_up[0], given_up[1]), (0, 0));
    assert!((30..100).contains(&given_up[2]), "{given_up:?}");
    assert_eq!(disk.read(Class::First, 0, 1000, 1 << 20).unwrap().losses, []);
    let texts: Vec<_> = gaps.iter().map(|row| String::from_utf8(row.entry.body.to_vec()).unwrap()).collect();
    assert!(texts[0].contains("s/#") && texts[0].contains(" 21-"), "{texts:?}");
    assert!(texts.last().unwrap().contains(&format!("-{} full", given_up[2])), "{texts:?}");
    let length = std::fs::metadata(folder.path().join("outbox.db")).unwrap().len();
    assert_eq!(length, LIMITS.max_bytes);
}

#[test]
fn what_is_old_goes_and_a_clock_that_was_never_set_costs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut disk = open(&folder.path().join("outbox.db"));
    take(&mut disk, Class::Middle, "a", "1");
    take(&mut disk, Class::Last, "s/1", "1");
    disk.commit([0; 3], now()).unwrap();
    disk.commit([0, 1, 0], now()).unwrap();
    let later = now() + jiff::SignedDuration::from_hours(8 * 24);
    let committed = disk.commit([0, 1, 0], later).unwrap();
    assert_eq!(committed.given_up, [0, 0, 1]);
    assert!(told(&committed.rows)[0].3.contains("1-1 age"), "{committed:?}");
    assert!(disk.read(Class::Middle, 0, 10, 10).unwrap().rows.is_empty());
    let mut unset = entry(Class::Middle, "a", "2");
    unset.made_at = Timestamp::from_second(100).unwrap();
    disk.take(Pending::Entry(unset)).unwrap();
    disk.commit([0; 3], later).unwrap();
    let committed = disk.commit([0; 3], later + jiff::SignedDuration::from_hours(8 * 24)).unwrap();
    assert_eq!(committed.given_up[1], 0);
    assert_eq!(disk.read(Class::Middle, 1, 10, 10).unwrap().rows.len(), 1);
}

#[test]
fn a_damaged_file_is_set_aside_and_the_numbering_rises() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("outbox.db");
    let mut disk = open(&path);
    let epoch = disk.numbering().epoch;
    take(&mut disk, Class::Middle, "a", "1");
    commit(&mut disk);
    drop(disk);
    std::fs::write(&path, b"garbage").unwrap();
    let mut disk = open(&path);
    assert!(disk.numbering().epoch > epoch);
    let rows = commit(&mut disk).rows;
    assert!(told(&rows)[0].3.contains("damaged"), "{rows:?}");
    assert!(path.with_extension("db.damaged").exists());
}

#[test]
fn a_message_that_changed_on_the_disk_is_not_sent_but_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("outbox.db");
    let mut disk = open(&path);
    for n in 0..3 {
        take(&mut disk, Class::Middle, "a", &n.to_string());
    }
    commit(&mut disk);
    disk.db.execute("UPDATE entry_middle SET body = x'61' WHERE id = 2", []).unwrap();
    let chunk = disk.read(Class::Middle, 0, 10, 1000).unwrap();
    assert_eq!((chunk.rows.len(), chunk.through), (2, 3));
    assert_eq!((chunk.losses[0].topic.as_deref(), chunk.losses[0].from, chunk.losses[0].to), (Some("a"), 2, 2));
    disk.db.execute("DELETE FROM entry_middle WHERE id >= 2", []).unwrap();
    let chunk = disk.read(Class::Middle, 0, 10, 1000).unwrap();
    assert_eq!((chunk.rows.len(), chunk.through, chunk.losses.len()), (1, 3, 1));
}

#[test]
fn what_was_numbered_in_memory_goes_behind_what_is_on_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("outbox.db");
    let mut disk = open(&path);
    take(&mut disk, Class::Middle, "a", "1");
    commit(&mut disk);
    take(&mut disk, Class::Middle, "a", "2");
    let remains = disk.fail();
    assert_eq!((remains.last, remains.batch.len()), ([0, 1, 0], 1));
    let mut memory = Memory::new(remains.epoch + 5, gap());
    remains.batch.into_iter().for_each(|pending| memory.take(pending));
    assert_eq!(memory.commit([0; 3]).rows[0].seq, 1);
    let mut disk = Disk::open(&path, LIMITS, gap(), Before::Certain(remains.last), now()).unwrap();
    assert!(!disk.has_batch(), "what the intake held is in memory");
    disk.adopt(memory.numbering(), memory.rows().cloned(), memory.notes(), [0; 3], now()).unwrap();
    let rows = disk.read(Class::Middle, 0, 10, 1000).unwrap().rows;
    assert_eq!(told(&rows), [("a", 1, 1, "1".to_owned()), ("a", 2, 1, "2".to_owned())]);
    assert_eq!((rows[0].epoch, rows[1].epoch), (remains.epoch, remains.epoch + 5));
    take(&mut disk, Class::Middle, "a", "3");
    assert_eq!(told(&commit(&mut disk).rows), [("a", 3, 2, "3".to_owned())]);
}

#[test]
fn numbers_that_memory_gave_are_spent_even_where_all_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("outbox.db");
    let remains = open(&path).fail();
    let epoch = epoch_without_database(&path, remains.epoch, now());
    let mut memory = Memory::new(epoch, gap());
    memory.take(Pending::Entry(entry(Class::Middle, "a", "1")));
    memory.commit([0; 3]);
    memory.commit(memory.last());
    let mut disk = Disk::open(&path, LIMITS, gap(), Before::Certain(remains.last), now()).unwrap();
    disk.adopt(memory.numbering(), memory.rows().cloned(), memory.notes(), [0; 3], now()).unwrap();
    drop(disk);
    let mut disk = open(&path);
    assert_eq!(disk.numbering().epoch, epoch);
    take(&mut disk, Class::Middle, "a", "2");
    assert_eq!(told(&commit(&mut disk).rows), [("a", 1, 2, "2".to_owned())]);
}

/// A file in its steady state is full, mostly of what was acknowledged.
#[test]
fn a_full_file_makes_room_for_what_memory_has() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("outbox.db");
    let mut disk = open(&path);
    for n in 0..40 {
        (0..40).for_each(|m| take(&mut disk, Class::Middle, "a", &format!("{{\"{n}\":\"{m}{}\"}}", "x".repeat(1500))));
        disk.commit(disk.last(), now()).unwrap();
    }
    let (last, remains) = (disk.last(), disk.fail());
    let epoch = epoch_without_database(&path, remains.epoch, now());
    let mut memory = Memory::new(epoch, gap());
    (0..500).for_each(|_| {
        memory.take(Pending::Entry(entry(Class::Middle, "b", &format!("{{\"{}\":1}}", "y".repeat(1500)))))
    });
    memory.commit([0; 3]);
    let mut disk = Disk::open(&path, LIMITS, gap(), Before::Certain(remains.last), now()).unwrap();
    disk.adopt(memory.numbering(), memory.rows().cloned(), memory.notes(), last, now()).unwrap();
    let waiting = disk.read(Class::Middle, disk.done()[1], 1000, usize::MAX).unwrap().rows;
    assert_eq!((waiting.len(), waiting[0].seq, waiting[499].seq), (500, 1, 500));
    assert!(!disk.has_batch(), "only what was acknowledged had to go");
}

#[test]
fn memory_is_bounded_and_tells_what_is_lost() {
    let mut memory = Memory::new(7, gap());
    let mut told = 0;
    let mut given_up = 0;
    for n in 0..200 {
        memory.take(Pending::Entry(entry(Class::Last, &format!("s/{n}"), &"x".repeat(100_000))));
        memory.take(Pending::Entry(entry(Class::First, "a", "{}")));
        let committed = memory.commit([0; 3]);
        told += committed.rows.iter().filter(|row| row.entry.topic == "gap").count();
        given_up = given_up.max(committed.given_up[2]);
        assert_eq!(committed.given_up[0], 0);
    }
    assert!(memory.rows().count() < 320 && told > 10, "{told}");
    assert_eq!(memory.rows().filter(|row| row.entry.topic == "a").count(), 200);
    let kept = memory.read(Class::Last, 0, 1000, usize::MAX);
    assert_eq!(kept.rows[0].id, given_up + 1);
    memory.commit(memory.last());
    assert_eq!(memory.rows().count(), 0);
}

/// The schema of format 1, with three messages of a topic that is retained, and what an intake of that time held.
fn of_format_1(path: &Path) {
    let db = rusqlite::Connection::open(path).unwrap();
    let entry_columns = "(id INTEGER PRIMARY KEY, topic INTEGER NOT NULL, leaf TEXT, epoch INTEGER NOT NULL, \
                         seq INTEGER NOT NULL, flags INTEGER NOT NULL, made_at INTEGER NOT NULL, sums INTEGER NOT NULL, \
                         body BLOB NOT NULL) STRICT";
    db.execute_batch(&format!(
        "PRAGMA page_size = 8192; PRAGMA application_id = 1634624622; PRAGMA user_version = 1; \
         CREATE TABLE ledger (id INTEGER PRIMARY KEY, name TEXT NOT NULL, next INTEGER NOT NULL, state BLOB, \
         sum INTEGER NOT NULL) STRICT; CREATE TABLE entry_first {entry_columns}; CREATE TABLE entry_middle {entry_columns}; \
         CREATE TABLE entry_last {entry_columns};"
    ))
    .unwrap();
    // Born, epoch, generation, and of each class how far it is done and its last id.
    let state = [500_u64, 500, 9, 0, 2, 0, 0, 3, 0].map(u64::to_le_bytes).concat();
    let text = "INSERT INTO ledger VALUES (0, '', 0, ?, ?)";
    db.execute(text, rusqlite::params![state, crc32fast::hash(&state)]).unwrap();
    let mut sum = crc32fast::Hasher::new();
    [&1_i64.to_le_bytes()[..], &4_u64.to_le_bytes(), b"box/a"].iter().for_each(|part| sum.update(part));
    db.execute("INSERT INTO ledger VALUES (1, 'box/a', 4, NULL, ?)", [sum.finalize()]).unwrap();
    for seq in 1..=3 {
        let entry = Entry { retain: true, ..entry(Class::Middle, "box/a", &format!("{{\"n\":{seq}}}")) };
        let row = Row { id: seq, epoch: 500, seq, entry };
        let values =
            rusqlite::params![seq, seq, row.entry.made_at.as_microsecond(), row::sums(&row), &row.entry.body[..]];
        db.execute("INSERT INTO entry_middle VALUES (?, 1, NULL, 500, ?, 3, ?, ?, ?)", values).unwrap();
    }
    db.pragma_update_and_check(None, "journal_mode", "wal", |_row| Ok(())).unwrap();
    let mut intake = Vec::new();
    for (generation, body) in [(9_u64, "{\"n\":4}"), (9, "{\"n\":5}"), (8, "{\"n\":0}")] {
        let topic = "box/a";
        let mut record = vec![Class::Middle as u8, 3];
        record.extend((topic.len() as u16).to_le_bytes());
        record.extend(now().as_microsecond().to_le_bytes());
        record.extend(topic.as_bytes().iter().chain(body.as_bytes()));
        let mut sum = crc32fast::Hasher::new();
        let length = record.len() as u32;
        [&500_u64.to_le_bytes()[..], &generation.to_le_bytes(), &length.to_le_bytes(), &record]
            .iter()
            .for_each(|part| sum.update(part));
        intake.extend(generation.to_le_bytes());
        intake.extend([length, sum.finalize()].iter().flat_map(|number| number.to_le_bytes()));
        intake.extend(record);
    }
    intake.resize(1 << 20, 0);
    std::fs::write(path.with_extension("intake"), intake).unwrap();
}

#[test]
fn a_file_of_format_1_goes_on_with_all_that_it_had() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("outbox.db");
    of_format_1(&path);
    assert_eq!(history::History::open(&path).unwrap().read_on().unwrap().len(), 3, "it is read as it is");
    let disk = open(&path);
    assert!(!path.with_extension("db.damaged").exists());
    assert_eq!((disk.done(), disk.last(), disk.numbering().epoch), ([0, 2, 0], [0, 3, 0], 500));
    assert_eq!(disk.states().iter().map(|row| (row.id, row.seq)).collect::<Vec<_>>(), [(3, 3)]);
    // Cut off before the first commit, and once more after it.
    drop(disk);
    let mut disk = open(&path);
    let rows = commit(&mut disk).rows;
    assert_eq!(told(&rows), [("box/a", 4, 4, "{\"n\":4}".into()), ("box/a", 5, 5, "{\"n\":5}".into())]);
    let notes = vec![Note { key: "in".into(), body: "7".into() }];
    disk.take(Pending::Group { entries: vec![entry(Class::Middle, "box/a", "{\"n\":6}")], notes }).unwrap();
    drop(disk);
    let mut disk = open(&path);
    assert_eq!(disk.left().get("in").map(|body| &body[..]), Some(&b"7"[..]));
    assert_eq!(told(&commit(&mut disk).rows), [("box/a", 6, 6, "{\"n\":6}".into())]);
    assert_eq!(disk.states().iter().map(|row| row.seq).collect::<Vec<_>>(), [5], "the last one was not retained");
}
