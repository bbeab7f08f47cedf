//! A disk that loses, tears and reorders what was not synced: whatever it leaves, the outbox opens, has all that it
//! promised, and gives no number twice.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs::{self, File},
    io::Write,
    path::Path,
    sync::Arc,
    thread,
    time::Duration,
};

use andon::{
    random::Rng,
    store::{Before, Class, Committed, Disk, Entry, GapMaker, Limits, Note, Pending, PerClass, Row},
};
use bytes::Bytes;
use jiff::Timestamp;

use super::{
    shim::{self, asked, child, child_folder},
    thread::gap,
    trace::{self, Arrival, MARKERS, Model, Op},
};

/// Small, so that a short run fills it.
const LIMITS: Limits = Limits { max_bytes: 600 * 1024, max_age: Duration::from_secs(7 * 86_400), intake: None };

/// Power cuts in a short run.
const STATES: usize = 1500;

pub fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

fn open(folder: &Path) -> Disk {
    let gap: GapMaker = Arc::new(|loss| Entry { made_at: now(), ..gap(loss) });
    Disk::open(&folder.join("outbox.db"), LIMITS, gap, Before::Unknown, now()).unwrap()
}

/// Message number `n`: what it is follows from the number alone.
pub fn message(n: u64) -> Entry {
    let mut rng = Rng::new(7, n);
    let class = [Class::First, Class::Middle, Class::Middle, Class::Middle, Class::Last][rng.below(5) as usize];
    let bytes = if rng.chance(3) { rng.between(5_000, 40_000) } else { rng.between(0, 1_500) };
    let body = format!("{{\"n\":{n},\"x\":\"{}\"}}", "x".repeat(bytes as usize));
    let topic = match class {
        Class::First => "alarm".to_owned(),
        Class::Middle => ["a", "b"][rng.below(2) as usize].to_owned(),
        Class::Last => format!("s/{n}"),
    };
    Entry {
        class,
        topic,
        retain: n.is_multiple_of(2),
        numbered: class != Class::Last,
        body: Bytes::from(body),
        made_at: now(),
    }
}

/// The run that is cut: takes, commits, acknowledges, fills up, starts again.
#[test]
fn scenario() {
    let Some(folder) = child_folder() else { return };
    let mut marks = File::create(folder.join(MARKERS)).unwrap();
    let mut mark = |text: &str| marks.write_all(text.as_bytes()).unwrap();
    let mut rng = Rng::new(asked("ANDON_CRASH_SEED", 1), 0);
    let mut disk = open(&folder);
    let mut n = 0;
    for round in 0..200 {
        for _ in 0..rng.between(1, 5) {
            let begin = n;
            n += rng.between(1, 3) as u64;
            let notes = vec![Note { key: "n".to_owned(), body: Bytes::from(format!("{n:0300}")) }];
            disk.take(Pending::Group { entries: (begin + 1..=n).map(message).collect(), notes }).unwrap();
            (begin + 1..=n).for_each(|n| mark(&format!("taken {n}")));
        }
        let (old, last) = (disk.done(), disk.last());
        // Nothing is acknowledged at first, so that what waits has to be given up.
        let done: PerClass<u64> = std::array::from_fn(|class| match round {
            0..80 => 0,
            _ => old[class] + rng.below((last[class] - old[class]) as i32 + 1) as u64,
        });
        mark(&format!("begin {} {} {}", done[0], done[1], done[2]));
        mark(&told(&disk.commit(done, now()).unwrap()));
        disk.write_back().unwrap();
        if rng.chance(4) {
            drop(disk);
            disk = open(&folder);
        }
    }
}

/// The rows and losses of a commit as one text.
fn told(committed: &Committed) -> String {
    let [first, middle, last] = committed.given_up;
    let mut text = format!("committed {first} {middle} {last}");
    for row in &committed.rows {
        write!(text, "\n{}", identity(row)).unwrap();
    }
    text
}

/// Everything that makes a message what it is.
pub fn identity(row: &Row) -> String {
    let Entry { class, topic, retain, numbered, body, .. } = &row.entry;
    let sum = crc32fast::hash(body);
    format!("{} {} {} {} {topic} {retain} {numbered} {sum}", *class as usize, row.id, row.epoch, row.seq)
}

/// What was promised at a point of the run.
#[derive(Clone, Default)]
struct Promised {
    /// Messages that were taken.
    taken: BTreeSet<u64>,
    /// How far messages may be acknowledged or given up.
    done_max: PerClass<u64>,
    /// The last ids of each class that were committed.
    last: PerClass<u64>,
    /// The last number of each series.
    seqs: BTreeMap<(u64, String), u64>,
}

/// All that was ever committed, by class and id.
type Known = BTreeMap<(usize, u64), String>;

impl Promised {
    fn hear(&mut self, mark: &str) {
        let mut lines = mark.lines();
        let words: Vec<&str> = lines.next().unwrap().split(' ').collect();
        let numbers: Vec<u64> = words[1..].iter().map(|word| word.parse().unwrap()).collect();
        match words[0] {
            "taken" => drop(self.taken.insert(numbers[0])),
            _ => self.done_max.iter_mut().zip(&numbers).for_each(|(max, number)| *max = (*max).max(*number)),
        }
        for line in lines {
            let words: Vec<&str> = line.split(' ').collect();
            let number = |at: usize| words[at].parse::<u64>().unwrap();
            self.last[number(0) as usize] = number(1);
            if words[6] == "true" {
                self.seqs.insert((number(2), words[4].to_owned()), number(3));
            }
        }
    }

    /// A commit may be cut when it is on the disk and nobody knows: then it may have given up what the next mark tells.
    fn allow(&mut self, next: Option<&str>) {
        let Some(next) = next.filter(|next| next.starts_with("committed ")) else { return };
        let numbers = next.lines().next().unwrap().split(' ').skip(1).map(|word| word.parse::<u64>().unwrap());
        self.done_max.iter_mut().zip(numbers).for_each(|(max, number)| *max = (*max).max(number));
    }
}

#[test]
fn a_power_cut_costs_nothing_that_was_promised() {
    let folder = shim::fast_dir();
    let trace = folder.path().join("trace");
    let run = folder.path().join("run");
    fs::create_dir(&run).unwrap();
    let Some(mut child) = child("outbox::power_cut::scenario", &run) else { return };
    assert!(child.env("ANDON_FAULT_TRACE", &trace).status().unwrap().success());
    let ops = trace::read(&trace);
    let marks = ops.iter().filter(|op| matches!(op, Op::Mark(_))).count();
    let syncs = ops.iter().filter(|op| matches!(op, Op::Sync(_))).count();
    assert!(marks > 1000 && syncs > 200, "{marks} marks and {syncs} syncs are too few");
    let mut known = Known::new();
    for line in
        ops.iter().filter_map(|op| if let Op::Mark(mark) = op { Some(mark) } else { None }).flat_map(|m| m.lines())
    {
        let words: Vec<&str> = line.split(' ').collect();
        if words.len() == 8 {
            known.insert((words[0].parse().unwrap(), words[1].parse().unwrap()), line.to_owned());
        }
    }
    assert!(known.values().any(|line| line.contains(" box/gap ")), "nothing had to be given up");
    let states = asked("ANDON_CRASH_STATES", STATES);
    let workers = thread::available_parallelism().map_or(1, |count| count.get());
    thread::scope(|scope| {
        for worker in 0..workers {
            let (ops, known, folder) = (&ops, &known, folder.path().join(format!("cut-{worker}")));
            scope.spawn(move || cut_everywhere(ops, known, states, worker, workers, &folder));
        }
    });
    println!("{states} power cuts in {} calls, {syncs} of them syncs", ops.len());
}

/// Spreads power cuts evenly over the run, and checks every `workers`-th of them.
fn cut_everywhere(ops: &[Op], known: &Known, states: usize, worker: usize, workers: usize, folder: &Path) {
    let mut model = Model::default();
    let mut promised = Promised::default();
    let mut number = 0;
    for (at, op) in ops.iter().enumerate() {
        model.apply(op);
        if let Op::Mark(mark) = op {
            promised.hear(mark);
        }
        while number * ops.len() < (at + 1) * states {
            if number % workers == worker {
                let mut rng = Rng::new(asked("ANDON_CRASH_SEED", 1), number as u64);
                let arrival = match rng.below(6) {
                    0 => Arrival::All,
                    1 => Arrival::None,
                    2 => Arrival::Prefix,
                    _ => Arrival::Sectors([10, 50, 90][rng.below(3) as usize]),
                };
                let next =
                    ops[at + 1..].iter().find_map(|op| if let Op::Mark(mark) = op { Some(&**mark) } else { None });
                let mut promised = promised.clone();
                promised.allow(next);
                let case = format!("state {number}: {arrival:?} after call {at} of {}", ops.len());
                restore(folder, &model.cut(arrival, &mut rng));
                check(folder, &promised, known, arrival == Arrival::All, &case);
            }
            number += 1;
        }
    }
}

pub fn restore(folder: &Path, files: &BTreeMap<String, Vec<u8>>) {
    if folder.exists() {
        fs::remove_dir_all(folder).unwrap();
    }
    fs::create_dir(folder).unwrap();
    for (name, bytes) in files {
        fs::write(folder.join(name), bytes).unwrap();
    }
}

fn check(folder: &Path, promised: &Promised, known: &Known, process_only: bool, case: &str) {
    let mut disk = open(folder);
    let note = disk.left().get("n").map_or(0, |body| str::from_utf8(body).unwrap().parse().unwrap());
    assert!(!folder.join("outbox.db.damaged").exists(), "{case}: the file counts as damaged");
    let epoch = disk.numbering().epoch;
    let mut found = BTreeSet::new();
    for class in Class::ALL {
        let done = disk.done()[class as usize];
        let (done_max, last) = (promised.done_max[class as usize], promised.last[class as usize]);
        assert!(done <= done_max, "{case}: {class:?} is done to {done}, not {done_max}");
        assert!(disk.last()[class as usize] >= last, "{case}: {class:?} ends before {last}");
        let chunk = disk.read(class, done, usize::MAX >> 1, usize::MAX >> 1).unwrap();
        assert!(chunk.losses.is_empty(), "{case}: {:?}", chunk.losses);
        let ids: Vec<u64> = chunk.rows.iter().map(|row| row.id).collect();
        assert_eq!(ids, (done + 1..=disk.last()[class as usize]).collect::<Vec<_>>(), "{case}");
        for row in &chunk.rows {
            assert_eq!(known.get(&(class as usize, row.id)), Some(&identity(row)), "{case}");
        }
        // What is done was there, too.
        let done = |(key, _): &(&(usize, u64), &String)| key.0 == class as usize && key.1 <= done;
        found.extend(known.iter().filter(done).map(|(_, line)| sum_of(line)));
        found.extend(chunk.rows.iter().map(|row| crc32fast::hash(&row.entry.body)));
    }
    let replayed = disk.commit([0; 3], now()).unwrap().rows;
    found.extend(replayed.iter().map(|row| crc32fast::hash(&row.entry.body)));
    // The note is that of the last group of which anything is there, and all before it is there or was.
    for n in 1..note + 50 {
        let is_found = found.contains(&crc32fast::hash(&message(n).body));
        assert_eq!(is_found, n <= note, "{case}: message {n}, and the note is that of {note}");
    }
    if process_only {
        for n in &promised.taken {
            let sum = crc32fast::hash(&message(*n).body);
            assert!(found.contains(&sum), "{case}: message {n} is lost");
        }
    }
    for n in 0..6 {
        disk.take(Pending::Entry(message(1_000_000 + n))).unwrap();
    }
    let mut seqs = promised.seqs.clone();
    for row in replayed.iter().chain(&disk.commit([0; 3], now()).unwrap().rows).filter(|row| row.entry.numbered) {
        assert!(row.epoch == epoch, "{case}");
        let last = seqs.insert((row.epoch, row.entry.topic.clone()), row.seq).unwrap_or(0);
        assert!(row.seq > last, "{case}: {} has number {} again", row.entry.topic, row.seq);
    }
}

fn sum_of(line: &str) -> u32 {
    line.rsplit(' ').next().unwrap().parse().unwrap()
}
