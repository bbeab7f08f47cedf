//! What is written to flash, as the kernel counts it for this process.

use std::{
    fs,
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use andon::{
    publish::outbox::{Handover, Outbox, Settings},
    store::Class,
};

use super::{
    shim::{asked, fast_dir},
    thread::{drain, entry, gap},
};

/// Seconds of messages, 100 in each.
const SECONDS: u64 = 6;
const BODY_BYTES: usize = 500;

/// Bytes that this process had the kernel write.
fn written() -> u64 {
    let text = fs::read_to_string("/proc/self/io").unwrap();
    text.lines().find_map(|line| line.strip_prefix("write_bytes: ")).unwrap().parse().unwrap()
}

/// The child that is measured: nothing else writes in its process.
#[test]
fn scenario() {
    let Some(folder) = std::env::var_os("ANDON_WEAR_DIR") else { return };
    let handover = Arc::new(Handover::default());
    handover.lane().connected();
    // As the service has it: what survives the process only lies in memory.
    let memory = fast_dir();
    let intake = Some(memory.path().join("outbox.intake"));
    let settings = Settings { intake, ..Settings::new(Path::new(&folder).join("outbox.db")) };
    let outbox = Outbox::start(settings, Arc::clone(&handover), gap).unwrap();
    // What is written once, when the files are made.
    outbox.push(entry(Class::First, "alarm", "{\"n\":0}".to_owned())).unwrap();
    thread::sleep(Duration::from_secs(2));
    drain(&handover, true);
    thread::sleep(Duration::from_secs(2));
    let before = written();
    let begin = Instant::now();
    let mut payload = 0;
    for n in 0..100 * asked("ANDON_WEAR_SECONDS", SECONDS) {
        let body = format!("{{\"n\":{n},\"x\":\"{}\"}}", "x".repeat(asked("ANDON_WEAR_BYTES", BODY_BYTES) - 20));
        payload += body.len() as u64;
        outbox.push(entry(Class::Middle, "box/camera/events", body)).unwrap();
        drain(&handover, true);
        thread::sleep((Duration::from_millis(10) * (n as u32 + 1)).saturating_sub(begin.elapsed()));
    }
    thread::sleep(Duration::from_millis(2500));
    drain(&handover, true);
    thread::sleep(Duration::from_millis(2500));
    let busy = written() - before;
    thread::sleep(Duration::from_secs(3));
    let idle = written() - before - busy;
    println!("wear: {busy} bytes for {payload}, {idle} idle");
    assert_eq!(outbox.trouble(), None);
    // The log comes back into the database once it is long, which a short run does not see: each page once more.
    assert!(outbox.stop(Duration::from_secs(20)));
    println!("wear: {} with the log written back", written() - before);
}

#[test]
fn flash_is_spared() {
    // Not in memory: only what goes to a disk is counted.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "outbox::wear::scenario", "--nocapture"]).env("ANDON_WEAR_DIR", folder.path());
    let output = child.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    let number = |text: &str| text.trim().parse::<u64>().unwrap();
    let said: Vec<&str> = text.split("wear: ").skip(1).map(|said| said.lines().next().unwrap()).collect();
    let (busy, rest) = said[0].split_once(" bytes for ").unwrap();
    let (payload, idle) = rest.split_once(", ").unwrap();
    let whole = number(said[1].split(' ').next().unwrap());
    let (busy, payload, idle) = (number(busy), number(payload), number(idle.trim_end_matches(" idle")));
    println!("{payload} bytes of payload: {busy} written, {whole} with the log written back, {idle} in 3 s of silence");
    assert_eq!(idle, 0);
    // Some pages are written whatever is said, and weigh more in a few seconds.
    let times = if payload < 1_000_000 { 4 } else { 3 };
    assert!(whole <= payload * times, "{whole} bytes were written for {payload}");
    assert!(busy > payload, "the kernel does not count what this file system writes");
}
