//! Files that are not what was written: the outbox opens, sends nothing that was never said, and tells what is lost.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use andon::{
    random::Rng,
    store::{Before, Class, Disk, Entry, GapMaker, Limits, Pending},
};

use super::{
    power_cut::{identity, message, now, restore},
    shim::{asked, fast_dir},
    thread::gap,
};

const LIMITS: Limits = Limits { max_bytes: 1 << 20, max_age: Duration::from_secs(7 * 86_400), intake: None };

/// Bits that are turned in a short form.
const FLIPS: usize = 400;

const MESSAGES: u64 = 120;

type Files = BTreeMap<String, Vec<u8>>;

fn open(folder: &Path) -> Disk {
    let gap: GapMaker = Arc::new(|loss| Entry { made_at: now(), ..gap(loss) });
    Disk::open(&folder.join("outbox.db"), LIMITS, gap, Before::Unknown, now()).unwrap()
}

/// The files of an outbox in use and of one that was closed, and all that was ever committed.
fn written(folder: &Path) -> ([Files; 2], BTreeSet<String>) {
    let mut disk = open(folder);
    let mut known = BTreeSet::new();
    for n in 0..MESSAGES {
        disk.take(Pending::Entry(message(n))).unwrap();
        if n % 10 == 0 {
            known.extend(disk.commit([0; 3], now()).unwrap().rows.iter().map(identity));
        }
    }
    let in_use = files(folder);
    drop(disk);
    let mut disk = open(folder);
    known.extend(disk.commit([0; 3], now()).unwrap().rows.iter().map(identity));
    drop(disk);
    (([in_use, files(folder)]), known)
}

fn files(folder: &Path) -> Files {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let name = |entry: &fs::DirEntry| entry.file_name().into_string().unwrap();
    entries.filter(|entry| !name(entry).ends_with("-shm")).map(|e| (name(&e), fs::read(e.path()).unwrap())).collect()
}

/// Opens what is left; whether all is there, or a loss was told.
///
/// # Panics
/// Where something comes out that was never said.
fn survives(folder: &Path, files: &Files, known: &BTreeSet<String>, case: &str) -> bool {
    restore(folder, files);
    let mut disk = open(folder);
    let mut told = folder.join("outbox.db.damaged").exists();
    let replayed = match disk.commit([0; 3], now()) {
        Ok(committed) => committed.rows,
        // The daemon sets the file aside, and tells.
        Err(_) => return true,
    };
    let bodies: BTreeSet<u32> = (0..MESSAGES).map(|n| crc32fast::hash(&message(n).body)).collect();
    let mut count = 0;
    for row in &replayed {
        told |= row.entry.topic == "box/gap";
        assert!(row.entry.topic == "box/gap" || bodies.contains(&crc32fast::hash(&row.entry.body)), "{case}: {row:?}");
    }
    for class in Class::ALL {
        let Ok(chunk) = disk.read(class, disk.done()[class as usize], 10_000, 1 << 30) else { return true };
        told |= !chunk.losses.is_empty();
        for row in chunk.rows.iter().filter(|row| row.entry.topic != "box/gap") {
            count += 1;
            let new = replayed.contains(row);
            assert!(new || known.contains(&identity(row)), "{case}: {row:?}");
        }
    }
    told || count == MESSAGES
}

#[test]
fn a_bit_that_turns_is_noticed() {
    let folder = fast_dir();
    let (bases, known) = written(&folder.path().join("base"));
    let [_, closed] = &bases;
    let used = closed["outbox.db"].iter().rposition(|byte| *byte != 0).unwrap();
    for number in 0..asked("ANDON_FLIPS", FLIPS) {
        let mut rng = Rng::new(asked("ANDON_FUZZ_SEED", 1), number as u64);
        let mut files = closed.clone();
        let at = rng.below(used as i32) as usize;
        let bit = rng.below(8);
        files.get_mut("outbox.db").unwrap()[at] ^= 1 << bit;
        let case = format!("bit {bit} of byte {at}");
        let folder = folder.path().join("flip");
        assert!(survives(&folder, &files, &known, &case), "{case}: a loss is not told");
    }
}

/// For two seconds, or as long as `ANDON_FUZZ_SECONDS` says. Here a message may be missing untold: a log or an intake that
/// is cut short is what a power cut leaves.
#[test]
fn damaged_files_end_in_an_outbox_that_works() {
    let folder = fast_dir();
    let (bases, known) = written(&folder.path().join("base"));
    let end = Instant::now() + Duration::from_secs_f64(asked("ANDON_FUZZ_SECONDS", 2.0));
    let mut number = 0;
    while Instant::now() < end {
        let mut rng = Rng::new(asked("ANDON_FUZZ_SEED", 1), number);
        let mut files = bases[rng.below(2) as usize].clone();
        for _ in 0..rng.between(1, 4) {
            let names: Vec<String> = files.keys().cloned().collect();
            let name = &names[rng.below(names.len() as i32) as usize];
            damage(files.get_mut(name).unwrap(), &mut rng);
        }
        let case = format!("ANDON_FUZZ_SEED={} round {number}", asked("ANDON_FUZZ_SEED", 1));
        survives(&folder.path().join("fuzz"), &files, &known, &case);
        number += 1;
    }
    println!("{number} sets of damaged files");
    assert!(number > 5);
}

fn damage(bytes: &mut Vec<u8>, rng: &mut Rng) {
    // Damage at the front, where what is read first lies, as often as anywhere.
    let length = if rng.chance(50) { bytes.len().min(8192) } else { bytes.len() } as i32;
    let (from, count) = (rng.below(length) as usize, rng.between(1, 5000) as usize);
    let end = (from + count).min(bytes.len());
    match rng.below(6) {
        0 => bytes.truncate(from),
        1 => bytes[from..end].fill(0),
        2 => bytes[from..end].iter_mut().for_each(|byte| *byte = rng.bits() as u8),
        3 => bytes.copy_within(0..end - from, from),
        4 if from < end => bytes[from] = [0, 1, 0x7f, 0x80, 0xff][rng.below(5) as usize],
        _ if from < end => bytes[from] ^= 1 << rng.below(8),
        _ => {}
    }
}
