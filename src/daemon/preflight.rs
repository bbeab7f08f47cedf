//! A model file is tried in a process of its own before it is loaded in this one.
//!
//! The file may make the program that loads it crash, take all memory, or never end; then only the child ends, and what
//! comes of it is an error with the model's name. The child is this program again, with a hidden command: it confines
//! itself with [`confine`], loads the model, runs it once, and says on its stdout what it has tried.

use std::{
    collections::HashSet,
    ffi::OsString,
    fs,
    io::{self, Read},
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, bail, ensure};
use rustix::process::{Resource, Rlimit, Signal, nice, set_parent_process_death_signal, setrlimit};

use crate::detector::{ModelFile, Settings};

/// The hidden command, and how its arguments are called.
pub const COMMAND: &str = "preflight";

/// Memory that a child may map beside what its model's size asks for.
const MEMORY_BASE_BYTES: u64 = 1 << 30;

/// Bytes that it may map for each byte of the file: weights are unpacked, rearranged and at times copied.
const MEMORY_PER_FILE_BYTE: u64 = 8;

/// Processor time of a child, in seconds.
const CPU_SECONDS: u64 = 60;

/// A child that is not done after this is ended, however little it has worked.
const PATIENCE: Duration = Duration::from_secs(300);

/// So much is read of what a child has to say.
const WORDS_BYTES_MAX: u64 = 64 << 10;

/// How often a child is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// What a child may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Address space.
    pub memory_bytes: u64,
    /// Processor time.
    pub cpu_seconds: u64,
}

impl Limits {
    /// What is enough to load a model of this size and to run it once.
    fn of(file_bytes: u64) -> Self {
        let memory_bytes = MEMORY_BASE_BYTES.saturating_add(file_bytes.saturating_mul(MEMORY_PER_FILE_BYTE));
        Self { memory_bytes, cpu_seconds: CPU_SECONDS }
    }
}

/// Takes from this process what it must not use up, and lets it end with the one that started it.
///
/// # Errors
/// Where the system refuses a limit; those that it takes hold.
pub fn confine(limits: Limits) -> io::Result<()> {
    let exactly = |limit| Rlimit { current: Some(limit), maximum: Some(limit) };
    // It gives way to the line, and is the first to go where memory is short. Both are favours, and may be refused.
    let _favour = nice(5);
    let _favour = fs::write("/proc/self/oom_score_adj", "1000");
    set_parent_process_death_signal(Some(Signal::KILL))?;
    setrlimit(Resource::Core, exactly(0))?;
    setrlimit(Resource::As, exactly(limits.memory_bytes))?;
    let cpu = Rlimit { current: Some(limits.cpu_seconds), maximum: Some(limits.cpu_seconds.saturating_add(5)) };
    setrlimit(Resource::Cpu, cpu)?;
    Ok(())
}

/// Remembers what has been tried, so that the same file is not tried twice.
#[derive(Debug, Default)]
pub struct Preflight {
    passed: Mutex<HashSet<Tried>>,
}

/// A file and what else decides how it is loaded.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Tried {
    sha256: String,
    input_size: Option<[usize; 2]>,
    isa: Option<String>,
}

impl Preflight {
    /// Tries a model, and gives the SHA-256 of the file that passed. The bundled one needs no trial: `None`.
    ///
    /// # Errors
    /// Why it does not load or run, with the model's name.
    pub fn pass(&self, settings: &Settings) -> anyhow::Result<Option<String>> {
        let ModelFile::Path(path) = &settings.model else { return Ok(None) };
        let tried = |sha256| Tried { sha256, input_size: settings.input_size, isa: settings.isa.clone() };
        // What cannot be read here, the child cannot read either, and says why.
        if let Ok(sha256) = settings.model.sha256()
            && self.passed.lock().unwrap_or_else(PoisonError::into_inner).contains(&tried(sha256.clone()))
        {
            return Ok(Some(sha256));
        }
        let sha256 = attempt(path, settings)?;
        self.passed.lock().unwrap_or_else(PoisonError::into_inner).insert(tried(sha256.clone()));
        Ok(Some(sha256))
    }
}

/// Tries a file in a child; gives the SHA-256 that the child has read.
fn attempt(path: &Path, settings: &Settings) -> anyhow::Result<String> {
    let limits = Limits::of(path.metadata().map_or(0, |facts| facts.len()));
    let mut child = command(path, settings, limits)
        .spawn()
        .with_context(|| format!("model {}: no process can be started to try it in", path.display()))?;
    let stderr = child.stderr.take().map(|pipe| thread::spawn(move || words(pipe)));
    let status = wait(&mut child).with_context(|| format!("model {}: its trial is lost", path.display()))?;
    let said = stderr.and_then(|reader| reader.join().ok()).unwrap_or_default();
    let Some(status) = status else {
        bail!("model {}: it does not load and run once in {} s; use a smaller one", path.display(), PATIENCE.as_secs());
    };
    ensure!(status.success(), judge(path, status, &said, limits));
    let answer = child.stdout.take().map(words).unwrap_or_default();
    let sha256 = answer.trim();
    ensure!(sha256.len() == 64, "model {}: its trial ended without a word; please report it", path.display());
    Ok(sha256.to_owned())
}

fn command(path: &Path, settings: &Settings, limits: Limits) -> Command {
    // The program that runs, even where another lies in its place by now.
    let mut command = Command::new("/proc/self/exe");
    let mut model = OsString::from("--model=");
    model.push(path);
    command.arg(COMMAND).arg(model);
    command.arg(format!("--memory-bytes={}", limits.memory_bytes));
    command.arg(format!("--cpu-seconds={}", limits.cpu_seconds));
    if let Some([height, width]) = settings.input_size {
        command.arg(format!("--imgsz={height},{width}"));
    }
    // It has no business with the service manager or with passwords, and only its last word is of interest.
    for name in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "CREDENTIALS_DIRECTORY", "RUST_LOG"] {
        command.env_remove(name);
    }
    command.env("ANDON_LOG", "off");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Waits for the child's end; `None` where patience ends first, and the child with it.
fn wait(child: &mut Child) -> io::Result<Option<ExitStatus>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(LOOK_EVERY);
    }
}

fn words(pipe: impl Read) -> String {
    let mut bytes = Vec::new();
    // What was read before an error is better than nothing.
    let _cut_short = pipe.take(WORDS_BYTES_MAX).read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Why a trial failed.
fn judge(path: &Path, status: ExitStatus, said: &str, limits: Limits) -> anyhow::Error {
    let model = path.display();
    // In the words of Rust's allocator, which ends the process, and of tract.
    if ["memory allocation of", "failed to allocate"].into_iter().any(|words| said.contains(words)) {
        return anyhow!(
            "model {model}: it takes more than {} MiB of memory; use a smaller one, or a smaller input size",
            limits.memory_bytes >> 20
        );
    }
    if let Some(sentence) = said.lines().find_map(|line| line.strip_prefix("error: "))
        && status.code().is_some()
    {
        return anyhow!("{sentence}");
    }
    let signal = status.signal().and_then(Signal::from_named_raw);
    match signal {
        Some(Signal::XCPU) => anyhow!(
            "model {model}: it takes more than {} s of processor time to load and to run once; use a smaller one",
            limits.cpu_seconds
        ),
        Some(Signal::KILL) => anyhow!(
            "model {model}: the system ended its trial, likely for want of memory; use a smaller one, or free memory"
        ),
        _ => anyhow!("model {model}: it crashes what loads it ({status}); export it again, and please report it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: i32, said: &str) -> String {
        let limits = Limits { memory_bytes: 2 << 30, cpu_seconds: 60 };
        judge(Path::new("m.onnx"), ExitStatus::from_raw(status), said, limits).to_string()
    }

    #[test]
    fn every_end_has_its_sentence() {
        assert_eq!(judged(1 << 8, "error: model m.onnx: it is empty\n"), "model m.onnx: it is empty");
        for (status, said, words) in [
            (6, "memory allocation of 99 bytes failed\n", "more than 2048 MiB of memory"),
            (1 << 8, "error: failed to allocate Layout { size: 9 }\n", "more than 2048 MiB of memory"),
            (24, "", "more than 60 s of processor time"),
            (9, "", "want of memory"),
            (11, "", "crashes what loads it"),
            (101 << 8, "", "crashes what loads it"),
        ] {
            let sentence = judged(status, said);
            assert!(sentence.starts_with("model m.onnx: ") && sentence.contains(words), "{sentence}");
        }
    }

    #[test]
    fn large_files_may_take_more() {
        assert_eq!(Limits::of(0).memory_bytes, 1 << 30);
        assert_eq!(Limits::of(1 << 20).memory_bytes, (1 << 30) + (8 << 20));
        assert_eq!(Limits::of(u64::MAX).memory_bytes, u64::MAX);
    }
}
