//! A disk that fails at any call: the outbox goes on, says so, comes back, and every number is delivered or in a gap.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use andon::{
    publish::outbox::{Handover, Outbox, Settings},
    store::{Class, Note},
};
use bytes::Bytes;

use super::{
    shim::{self, asked, child, child_folder},
    thread::{Sent, drain, entry, gap},
};

/// Messages of one run.
const MESSAGES: u64 = 40;

/// Of the calls of a run, every so many-th fails in a short form.
const STRIDE: u64 = 29;

/// How a disk fails.
const FAULTS: [(&str, i32, u64); 4] =
    [("EIO", libc::EIO, 1), ("EIO", libc::EIO, 3), ("ENOSPC", libc::ENOSPC, 0), ("EROFS", libc::EROFS, 0)];

const PATIENCE: Duration = Duration::from_secs(20);

/// Tells the shim which calls fail.
fn arm(folder: &Path, at: i64, errno: i32, count: u64) {
    let _ = fs::remove_file(folder.join(format!("arm-{at}-{errno}-{count}")));
}

/// Whether there were so many calls since the shim was told.
fn called(folder: &Path, calls: u64) -> bool {
    fs::remove_file(folder.join(format!("calls-{calls}"))).is_ok()
}

/// Runs the outbox again and again, each time with a fault at another call, until a run has no such call.
#[test]
fn scenario() {
    let Some(folder) = child_folder() else { return };
    let (errno, count) = (asked("ANDON_FAULT_ERRNO", libc::EIO), asked("ANDON_FAULT_COUNT", 1));
    let (mut at, stride) = (asked("ANDON_FAULT_FIRST", 0_u64), asked("ANDON_FAULT_STRIDE", STRIDE));
    let mut runs = 0;
    loop {
        arm(&folder, -1, 0, 0);
        for file in fs::read_dir(&folder).unwrap() {
            fs::remove_file(file.unwrap().path()).unwrap();
        }
        runs += 1;
        if !run(&folder, at, errno, count) {
            break;
        }
        at += stride;
    }
    println!("{runs} runs, the last with a fault at call {at}");
    assert!(at > 60, "a run has {at} calls");
}

/// One run; whether it came to the call that fails.
fn run(folder: &Path, at: u64, errno: i32, count: u64) -> bool {
    let case = format!("errno {errno} at call {at}, {count} times");
    let handover = Arc::new(Handover::default());
    handover.lane().connected();
    let settings = Settings {
        sync: Duration::from_millis(3),
        retry_after: Duration::from_millis(20),
        max_bytes: 4_000_000,
        ..Settings::new(folder.join("outbox.db"))
    };
    arm(folder, at as i64, errno, count);
    let outbox = Outbox::start(settings.clone(), Arc::clone(&handover), gap).unwrap();
    let mut sent = Vec::new();
    for n in 0..MESSAGES {
        let (class, topic) = match n % 5 {
            0 => (Class::First, "alarm".to_owned()),
            4 => (Class::Last, format!("s/{n}")),
            other => (Class::Middle, ["a", "b"][other as usize % 2].to_owned()),
        };
        let message = entry(class, &topic, format!("{{\"n\":{n}}}"));
        let note = Note { key: "n".to_owned(), body: Bytes::from(n.to_string()) };
        outbox.push_all(vec![message], vec![note]).unwrap();
        thread::sleep(Duration::from_millis(1));
        sent.extend(drain(&handover, n % 3 != 0));
    }
    // A connection that comes again gets all that was not acknowledged.
    handover.lane().disconnected();
    handover.lane().connected();
    wait(&case, &outbox, || {
        sent.extend(drain(&handover, true));
        all_accounted(&sent).is_ok()
    });
    if called(folder, at + 1) && count == 0 {
        wait(&case, &outbox, || outbox.trouble().is_some());
        let trouble = outbox.trouble().unwrap();
        assert!(trouble.contains("messages are in memory only: ") && trouble.contains("; "), "{case}: {trouble}");
    } else {
        wait(&case, &outbox, || outbox.trouble().is_none());
    }
    // Without a disk notes live as long as the process.
    let kept = outbox.trouble().is_none();
    assert!(outbox.stop(PATIENCE), "{case}");
    let kept = kept && outbox.trouble().is_none();
    // Another process, and the disk is well: numbers that were given mean what they meant.
    let failed = called(folder, at + 1);
    arm(folder, -1, 0, 0);
    let handover = Arc::new(Handover::default());
    handover.lane().connected();
    let outbox = Outbox::start(settings, Arc::clone(&handover), gap).unwrap();
    if kept {
        let note = outbox.note("n").map(|body| String::from_utf8(body.to_vec()).unwrap());
        assert_eq!(note, Some((MESSAGES - 1).to_string()), "{case}");
    }
    outbox.push(entry(Class::Middle, "a", "{\"n\":1000}".to_owned())).unwrap();
    wait(&case, &outbox, || {
        sent.extend(drain(&handover, true));
        sent.iter().any(|(_, text)| text.contains("\"n\":1000"))
    });
    assert_eq!(outbox.trouble(), None, "{case}");
    assert!(outbox.stop(PATIENCE), "{case}");
    all_accounted(&sent).unwrap_or_else(|problem| panic!("{case}: {problem}"));
    failed
}

fn wait(case: &str, outbox: &Outbox, mut until: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !until() {
        let state = || format!("{:?}, {:?}", outbox.trouble(), outbox.counters());
        assert!(Instant::now() < end, "{case}: it does not come to an end: {}", state());
        thread::sleep(Duration::from_millis(2));
    }
}

/// Every message came or is in a gap, the numbers of each topic and epoch have no hole, and none means two things.
fn all_accounted(sent: &[Sent]) -> Result<(), String> {
    let mut bodies = BTreeSet::new();
    let mut numbers: BTreeMap<(String, u64), BTreeMap<u64, String>> = BTreeMap::new();
    let mut gaps = 0;
    for (topic, text) in sent {
        let Ok(value) = serde_json::from_str::<serde_json::Value>(text) else {
            return Err(format!("not JSON: {text}"));
        };
        bodies.extend(value["n"].as_u64());
        gaps += u64::from(topic == "box/gap");
        if let (Some(epoch), Some(seq)) = (value["epoch"].as_u64(), value["seq"].as_u64()) {
            let mut without = value;
            without["replayed"] = true.into();
            let text = without.to_string();
            let known = numbers.entry((topic.clone(), epoch)).or_default().entry(seq).or_insert_with(|| text.clone());
            if *known != text {
                return Err(format!("{topic} {epoch} {seq} is {known} and {text}"));
            }
        }
    }
    let missing = (0..MESSAGES).filter(|n| !bodies.contains(n)).count() as u64;
    if missing > 0 && gaps == 0 {
        return Err(format!("{missing} messages are missing"));
    }
    for (series, seqs) in numbers {
        if seqs.keys().copied().ne(1..=seqs.len() as u64) && gaps == 0 {
            return Err(format!("{series:?} has holes: {:?}", seqs.keys()));
        }
    }
    Ok(())
}

#[test]
fn a_disk_that_fails_at_any_call_costs_no_message() {
    let stride: u64 = asked("ANDON_FAULT_STRIDE", STRIDE);
    for (number, (name, errno, count)) in FAULTS.into_iter().enumerate() {
        let folder = shim::fast_dir();
        let Some(mut child) = child("outbox::faults::scenario", folder.path()) else { return };
        child.env("ANDON_FAULT_ERRNO", errno.to_string()).env("ANDON_FAULT_COUNT", count.to_string());
        child.env("ANDON_FAULT_FIRST", (number as u64 * 7 % stride).to_string());
        child.env("ANDON_FAULT_STRIDE", stride.to_string());
        let output = child.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{name}: {text}\n{}", String::from_utf8_lossy(&output.stderr));
        let runs = text.lines().find(|line| line.contains(" runs, ")).unwrap();
        println!("{name} {count} times: {runs}");
    }
}
