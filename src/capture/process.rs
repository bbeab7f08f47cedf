//! A program whose stdout is read: started without a shell, heard on stderr, and never left behind.
//!
//! It runs in a process group of its own, so that what it starts itself ends with it. What its bytes mean is for the
//! reader.

use std::{
    io::{self, Write},
    os::{fd::AsFd, unix::process::CommandExt},
    process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};
use rustix::{
    event::{PollFd, PollFlags},
    io::Errno,
    process::{Pid, Signal, WaitId, WaitIdOptions},
};

use super::{ErrorKind, SourceError, uri::redact};

/// What is asked for as the pipe's size, so that a large picture costs few turns; the kernel may give less.
const PIPE_BYTES: usize = 1 << 20;
/// How much of what a program says on stderr is kept: the end of it.
const SAID_BYTES_MAX: usize = 4096;
/// The longest quotation of it in an error.
const QUOTE_CHARS_MAX: usize = 300;
/// How long a program may take to end once it is asked to.
const GRACE: Duration = Duration::from_millis(500);
/// How long the kernel may take to end it by force before the wait goes on in the background.
const FORCE: Duration = Duration::from_secs(2);

/// A running program. Dropping it ends the program and everything in its process group.
#[derive(Debug)]
pub(crate) struct Process {
    /// `None` once it has been waited for.
    child: Option<Child>,
    stdout: ChildStdout,
    stderr: Option<ChildStderr>,
    said: Vec<u8>,
    program: String,
}

/// What [`Process::read`] came back with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// This many bytes.
    Bytes(usize),
    /// None before the deadline.
    Nothing,
    /// The program has closed its stdout.
    Closed,
}

impl Process {
    /// Starts `argv[0]`, looked up in `PATH`, with `input` on its stdin, which is empty without one.
    ///
    /// `input` must be short: it is written in one go.
    ///
    /// # Errors
    /// Where there is no such program, or it cannot be started.
    pub(crate) fn start(argv: &[String], input: Option<&str>) -> Result<Self, SourceError> {
        let misconfigured = |cause| SourceError::new(ErrorKind::Misconfigured, cause);
        let Some((program, arguments)) = argv.split_first() else {
            return Err(misconfigured(anyhow!("the command names no program; write command:PROGRAM ARGUMENT…")));
        };
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(|error| misconfigured(not_started(program, &error)))?;
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            unreachable!("both were asked to be pipes");
        };
        let stdin = child.stdin.take();
        let process = Self {
            child: Some(child),
            stdout,
            stderr: Some(stderr),
            said: Vec::with_capacity(SAID_BYTES_MAX),
            program: program.clone(),
        };
        if let (Some(mut stdin), Some(input)) = (stdin, input) {
            // A program that does not want it has closed the pipe; why, it says on stderr.
            let _ = stdin.write_all(input.as_bytes());
        }
        // Without permission for a larger pipe the usual one does.
        let _ = rustix::pipe::fcntl_setpipe_size(&process.stdout, PIPE_BYTES);
        Ok(process)
    }

    /// The program's name, as it was started.
    pub(crate) fn program(&self) -> &str {
        &self.program
    }

    /// Waits until the deadline for bytes and appends those that are there.
    ///
    /// # Errors
    /// Where the kernel refuses; the program is of no use then.
    pub(crate) fn read(&mut self, buffer: &mut Vec<u8>, deadline: Instant) -> anyhow::Result<Output> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let (output, errors) = self.poll(left).context("waiting for a program's output failed")?;
            if errors {
                self.listen();
            }
            if output {
                buffer.reserve(PIPE_BYTES);
                match rustix::io::read(&self.stdout, rustix::buffer::spare_capacity(buffer)) {
                    Ok(0) => return Ok(Output::Closed),
                    Ok(bytes) => return Ok(Output::Bytes(bytes)),
                    Err(Errno::INTR | Errno::AGAIN) => {}
                    Err(error) => return Err(error).context("reading a program's output failed"),
                }
            }
            if left.is_zero() {
                return Ok(Output::Nothing);
            }
        }
    }

    /// How many bytes can be read at once.
    pub(crate) fn waiting_bytes(&self) -> usize {
        let bytes = rustix::io::ioctl_fionread(&self.stdout).unwrap_or(0);
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    /// Waits at most `patience` for a program that has closed its stdout to end, then ends it; its status, unless even
    /// that did not help.
    pub(crate) fn finish(&mut self, patience: Duration) -> Option<ExitStatus> {
        self.wait_until_ended(patience);
        let status = self.end();
        for _ in 0..SAID_BYTES_MAX {
            if !matches!(self.poll(Duration::ZERO), Ok((_, true))) {
                break;
            }
            self.listen();
        }
        status
    }

    /// All that is kept of what the program said on stderr, without passwords.
    pub(crate) fn said(&self) -> String {
        redact(&String::from_utf8_lossy(&self.said))
    }

    /// The last line the program said, fit to be quoted in an error.
    pub(crate) fn last_words(&self) -> Option<String> {
        let said = self.said();
        let line = said.split(['\n', '\r']).map(str::trim).rfind(|line| !line.is_empty())?;
        Some(line.chars().filter(|c| !c.is_control()).take(QUOTE_CHARS_MAX).collect())
    }

    /// Whether stdout and stderr have something to read, or have ended.
    fn poll(&self, timeout: Duration) -> rustix::io::Result<(bool, bool)> {
        let stdout = PollFd::from_borrowed_fd(self.stdout.as_fd(), PollFlags::IN);
        let mut fds = [stdout.clone(), stdout];
        let mut count = 1;
        if let Some(stderr) = &self.stderr {
            fds[1] = PollFd::from_borrowed_fd(stderr.as_fd(), PollFlags::IN);
            count = 2;
        }
        match rustix::event::poll(&mut fds[..count], Some(&super::timespec(timeout))) {
            Ok(_) => Ok((!fds[0].revents().is_empty(), count == 2 && !fds[1].revents().is_empty())),
            Err(Errno::INTR) => Ok((false, false)),
            Err(error) => Err(error),
        }
    }

    /// Takes in what is there on stderr; keeps the end of it.
    fn listen(&mut self) {
        let Some(stderr) = &self.stderr else { return };
        let mut chunk = [0; SAID_BYTES_MAX];
        match rustix::io::read(stderr, &mut chunk) {
            Ok(0) => self.stderr = None,
            Ok(bytes) => {
                let excess = (self.said.len() + bytes).saturating_sub(SAID_BYTES_MAX).min(self.said.len());
                self.said.drain(..excess);
                self.said.extend_from_slice(&chunk[..bytes]);
            }
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) => self.stderr = None,
        }
    }

    /// Ends the process group and waits for the program: asks first, then forces.
    fn end(&mut self) -> Option<ExitStatus> {
        let pid = Pid::from_child(self.child.as_ref()?);
        // As long as the program has not been waited for, its process group cannot be anybody else's. That a group may
        // be gone already is no failure.
        if !self.wait_until_ended(Duration::ZERO) {
            let _ = rustix::process::kill_process_group(pid, Signal::TERM);
            self.wait_until_ended(GRACE);
        }
        let _ = rustix::process::kill_process_group(pid, Signal::KILL);
        let ended = self.wait_until_ended(FORCE);
        let mut child = self.child.take()?;
        if ended {
            return child.wait().ok();
        }
        // It hangs inside the kernel, on a device. It is gone when the device lets go.
        let _ = thread::Builder::new().name("reaper".to_owned()).spawn(move || child.wait());
        None
    }

    /// Whether the program has ended, after at most `patience`. Its status stays to be fetched.
    fn wait_until_ended(&self, patience: Duration) -> bool {
        /// How often the kernel is asked; a program ends once.
        const PAUSE: Duration = Duration::from_millis(5);
        let Some(child) = &self.child else { return true };
        let who = WaitId::Pid(Pid::from_child(child));
        let how = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        let deadline = Instant::now() + patience;
        loop {
            match rustix::process::waitid(who.clone(), how) {
                Ok(None) | Err(Errno::INTR) => {}
                Ok(Some(_)) | Err(_) => return true,
            }
            if Instant::now() >= deadline {
                return false;
            }
            thread::sleep(PAUSE);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// Why a program did not start, and what to do.
fn not_started(program: &str, error: &io::Error) -> anyhow::Error {
    match error.kind() {
        io::ErrorKind::NotFound => match package_of(program) {
            Some(package) => anyhow!("{program} is not installed; apt install {package}"),
            None => anyhow!("there is no program {program}; install it, or write its full path"),
        },
        io::ErrorKind::PermissionDenied => anyhow!("{program} may not be run; chmod +x it, or check who owns it"),
        _ => anyhow!("{program} cannot be started ({error}); check that it is a program of this machine"),
    }
}

/// The Debian package that brings a program.
fn package_of(program: &str) -> Option<&'static str> {
    match program {
        "ffmpeg" | "ffprobe" => Some("ffmpeg"),
        "gst-launch-1.0" => Some("gstreamer1.0-tools"),
        "rpicam-vid" | "rpicam-still" => Some("rpicam-apps"),
        "libcamera-vid" | "libcamera-still" => Some("libcamera-apps"),
        "v4l2-ctl" => Some("v4l-utils"),
        "cvlc" | "vlc" => Some("vlc-bin"),
        _ => None,
    }
}
