//! Tells when a camera that is away may have come back, by what happens in the folders on the way to its path.
//!
//! The kernel says so (inotify), so that nobody has to try again and again. Whether it really is there, and may be opened,
//! the next attempt finds out.

use std::{
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::inotify::{self, CreateFlags, WatchFlags},
    io::{Errno, read},
};

use super::{SourceUri, timespec};

/// Watches for one camera.
#[derive(Debug)]
pub struct Arrivals {
    inotify: OwnedFd,
    path: PathBuf,
}

impl Arrivals {
    /// Watches for the camera of a source; `None` for sources that are no device, and where the kernel has no watch left:
    /// then there is nothing but to try again.
    pub fn of(source: &SourceUri) -> Option<Self> {
        let SourceUri::V4l2(path) = source else { return None };
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok()?;
        let arrivals = Self { inotify, path: path.clone() };
        arrivals.watch();
        Some(arrivals)
    }

    /// Waits at most `timeout`; true as soon as something happened since the last call and the path leads somewhere.
    ///
    /// udev makes the node, lets a group have it and sets the links one after the other, and each is told of.
    pub fn wait(&mut self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        loop {
            if self.drain() {
                // Folders that came with it are watched first: what is in them already is found by looking.
                self.watch();
                if self.path.exists() {
                    return true;
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let mut fds = [PollFd::new(&self.inotify, PollFlags::IN)];
            match poll(&mut fds, Some(&timespec(left))) {
                Ok(0) => return false,
                Ok(_) | Err(Errno::INTR) => {}
                // Without the kernel's word the time passes as if nothing had happened.
                Err(_) => {
                    std::thread::sleep(left);
                    return false;
                }
            }
        }
    }

    /// Watches the folders on the way, as far as they are there. A folder that is watched already stays so.
    fn watch(&self) {
        let flags = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::ATTRIB | WatchFlags::ONLYDIR;
        for folder in self.path.ancestors().skip(1).filter(|folder| *folder != Path::new("/")) {
            // What is missing appears in the folder above.
            let _missing = inotify::add_watch(&self.inotify, folder, flags);
        }
    }

    /// Takes what is queued; whether there was anything.
    fn drain(&self) -> bool {
        let mut any = false;
        let mut buffer = [0_u8; 4096];
        loop {
            match read(&self.inotify, &mut buffer) {
                Ok(bytes) if bytes > 0 => any = true,
                Err(Errno::INTR) => {}
                _ => return any,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn a_camera_is_noticed_by_its_link_however_many_folders_come_with_it() {
        let root = tempfile::tempdir().unwrap();
        let link = root.path().join("v4l/by-id/camera");
        let node = root.path().join("video0");
        let mut arrivals = Arrivals::of(&SourceUri::V4l2(link.clone())).unwrap();
        let mut notices = || arrivals.wait(Duration::ZERO);
        assert!(!notices());
        for _ in 0..2 {
            fs::write(&node, "").unwrap();
            assert!(!notices(), "the link is not there");
            fs::create_dir_all(link.parent().unwrap()).unwrap();
            assert!(!notices());
            symlink(&node, &link).unwrap();
            assert!(notices());
            assert!(!notices(), "nothing new");
            let mut permissions = fs::metadata(&node).unwrap().permissions();
            permissions.set_readonly(true);
            fs::set_permissions(&node, permissions).unwrap();
            assert!(notices(), "it may be opened only now");
            fs::remove_file(&node).unwrap();
            fs::remove_dir_all(root.path().join("v4l")).unwrap();
            assert!(!notices());
        }
    }

    #[test]
    fn folders_and_link_may_come_at_once() {
        let root = tempfile::tempdir().unwrap();
        let link = root.path().join("v4l/by-id/camera");
        let mut arrivals = Arrivals::of(&SourceUri::V4l2(link.clone())).unwrap();
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        fs::write(&link, "").unwrap();
        assert!(arrivals.wait(Duration::from_secs(20)));
    }

    #[test]
    fn only_devices_arrive() {
        assert!(Arrivals::of(&SourceUri::Files("shots".to_owned())).is_none());
    }
}
