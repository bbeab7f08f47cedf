//! The service manager's side of `sd_notify`: a datagram socket that keeps what a service says.
//!
//! It is read all the time, as systemd does: the kernel keeps but a few datagrams, and who sends more waits.

use std::{
    net::Shutdown,
    os::unix::net::UnixDatagram,
    path::PathBuf,
    process::Command,
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use super::run::Dir;

/// A socket for `NOTIFY_SOCKET`.
pub struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
    said: Receiver<Vec<String>>,
}

impl Manager {
    /// A manager with its socket in a folder.
    pub fn new(dir: &Dir) -> Self {
        let path = dir.path("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let (reader, (sender, said)) = (socket.try_clone().unwrap(), channel());
        thread::spawn(move || {
            let mut bytes = [0; 8192];
            // Nothing comes once the socket is shut down.
            while let Ok(length @ 1..) = reader.recv(&mut bytes) {
                let text = String::from_utf8(bytes[..length].to_vec()).unwrap();
                if sender.send(text.lines().map(str::to_owned).collect()).is_err() {
                    return;
                }
            }
        });
        Self { socket, path, said }
    }

    /// Starts a command as systemd would with this `WatchdogSec=`, or without one.
    pub fn manage<'a>(&self, command: &'a mut Command, watchdog: Option<Duration>) -> &'a mut Command {
        command.env("NOTIFY_SOCKET", &self.path).env_remove("WATCHDOG_PID");
        match watchdog {
            Some(period) => command.env("WATCHDOG_USEC", period.as_micros().to_string()),
            None => command.env_remove("WATCHDOG_USEC"),
        }
    }

    /// What is said next, within the time: `KEY=value` lines.
    pub fn next(&self, within: Duration) -> Option<Vec<String>> {
        self.said.recv_timeout(within).ok()
    }

    /// Passes over what is said until a line begins like this; gives all lines of that message.
    #[track_caller]
    pub fn wait_for(&self, within: Duration, beginning: &str) -> Vec<String> {
        let give_up = Instant::now() + within;
        let mut passed = Vec::new();
        while let Some(said) = self.next(give_up.saturating_duration_since(Instant::now())) {
            if said.iter().any(|line| line.starts_with(beginning)) {
                return said;
            }
            passed.extend(said);
        }
        panic!("{beginning} was not said within {within:?}, but {passed:#?}");
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        let _the_thread_ends = self.socket.shutdown(Shutdown::Both);
    }
}
