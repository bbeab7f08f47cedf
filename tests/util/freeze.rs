//! Stops one thread of another process, as a driver or a lock that never returns would.
#![allow(unsafe_code, reason = "ptrace is a call to the kernel")]

use std::{
    fs, io, ptr, thread,
    time::{Duration, Instant},
};

/// A thread that stands still until this is dropped, or until the thread that made this ends.
pub struct Frozen(libc::pid_t);

impl Frozen {
    /// Stops the thread of this name; the first 15 bytes of it count, for the kernel keeps no more. `None`, and a word,
    /// where this user may not stop threads.
    ///
    /// # Panics
    /// Where the process has no such thread within ten seconds.
    pub fn thread(process: u32, name: &str) -> Option<Self> {
        let name = &name[..name.len().min(15)];
        let give_up = Instant::now() + Duration::from_secs(10);
        let id = loop {
            if let Some(id) = find(process, name) {
                break id;
            }
            assert!(Instant::now() < give_up, "{process} has no thread {name}");
            thread::sleep(Duration::from_millis(20));
        };
        if let Err(error) = ask(libc::PTRACE_SEIZE, id) {
            println!("skipped: threads cannot be stopped here ({error})");
            return None;
        }
        ask(libc::PTRACE_INTERRUPT, id).unwrap();
        // SAFETY: the kernel writes no status to a null pointer.
        let stopped = unsafe { libc::waitpid(id, ptr::null_mut(), libc::__WALL) };
        assert_eq!(stopped, id, "{}", io::Error::last_os_error());
        Some(Self(id))
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        if ask(libc::PTRACE_DETACH, self.0).is_err() {
            // It has ended, and its process cannot end before somebody has taken note of that.
            // SAFETY: the kernel writes no status to a null pointer.
            unsafe { libc::waitpid(self.0, ptr::null_mut(), libc::__WALL | libc::WNOHANG) };
        }
    }
}

fn find(process: u32, name: &str) -> Option<libc::pid_t> {
    for task in fs::read_dir(format!("/proc/{process}/task")).ok()?.flatten() {
        if fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.trim_end() == name) {
            return task.file_name().to_str()?.parse().ok();
        }
    }
    None
}

fn ask(request: libc::c_uint, thread: libc::pid_t) -> io::Result<()> {
    let none = ptr::null_mut::<libc::c_void>();
    // SAFETY: these requests read no memory of this process: address and data are null.
    let answer = unsafe { libc::ptrace(request, thread, none, none) };
    if answer == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
