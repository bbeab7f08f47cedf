//! V4L2 cameras: USB webcams and whatever else the kernel shows as a capture node.
//!
//! The stream and the choice of format are ours, nokhwa is the interface for controls (see `backend.rs`). A camera is
//! opened by the path it is configured with, best a link under `/dev/v4l/by-id` or `by-path`, and never another that
//! took its number. CSI cameras need their vendor's image processing and come in through a command source.

mod backend;
mod controls;
mod discovery;
mod formats;
mod node;
mod opened;
mod stream;

use std::{
    fmt::Display,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    sync::Mutex,
    time::Duration,
};

use anyhow::anyhow;

pub use controls::{ControlKind, ControlOffer};
pub use discovery::{Device, devices};
pub use formats::{FormatOffer, FourCc, Interval, Intervals, Range, SizeOffer};

use self::{
    backend::{NokhwaCamera, Shared, lock},
    formats::{Wish, choose, rate_text, same_rate},
    node::{Capabilities, Node, Role},
    opened::{Opened, offers},
    stream::Fault,
};
use super::{ErrorKind, Read, Settings, Source, SourceError};
use crate::frame::Frame;

/// Opens the camera at `path`, sets format, rate and controls, and starts its stream.
///
/// # Errors
/// [`ErrorKind::Absent`] where nothing is there, [`ErrorKind::Busy`] where another program streams from it,
/// [`ErrorKind::Misconfigured`] where it is no camera, may not be opened, or does not offer what the settings ask, and
/// [`ErrorKind::Lost`] where it is there and does not start.
pub fn open(path: &Path, settings: &Settings) -> Result<Box<dyn Source>, SourceError> {
    let node = Node::open(path).map_err(|error| on_open(path, error))?;
    let capabilities = node.capabilities().map_err(|error| on_open(path, error))?;
    check_role(path, &capabilities)?;

    let offers = offers(&node, capabilities.role, settings.size).map_err(|error| on_open(path, error))?;
    let wish = Wish { format: settings.format, size: settings.size, rate_hz: settings.rate_hz };
    let choice = choose(&offers, &wish).map_err(|error| misconfigured(path, error))?;
    let opened = Opened::new(node, &choice).map_err(|error| on_open(path, error))?;

    let device: Shared = Arc::new(Mutex::new(opened));
    let mut camera = NokhwaCamera::new(&device, &path.to_string_lossy(), &capabilities.card, &capabilities.bus);
    set_controls(path, &device, &mut camera, settings)?;
    camera.start(&device).map_err(|error| on_open(path, error))?;
    let (agreed, in_place) = {
        let device = lock(&device);
        (device.agreed, device.is_at(path))
    };
    if !in_place {
        // The link was an old one, and another camera had taken the number it led to.
        let cause = anyhow!("{} was plugged in or out while it was opened; it is tried again", path.display());
        return Err(SourceError::new(ErrorKind::Absent, cause));
    }
    Ok(Box::new(V4l2Source { path: path.to_owned(), device, agreed, asked_hz: settings.rate_hz, _camera: camera }))
}

/// A camera that streams.
struct V4l2Source {
    path: PathBuf,
    device: Shared,
    agreed: opened::Agreed,
    asked_hz: Option<f64>,
    /// Stops the stream when the source is dropped.
    _camera: NokhwaCamera,
}

impl Source for V4l2Source {
    fn read(&mut self, frame: &mut Frame, timeout: Duration) -> Result<Read, SourceError> {
        let mut device = lock(&self.device);
        let Some(stream) = device.stream.as_mut() else {
            return Err(SourceError::new(ErrorKind::Lost, anyhow!("{} does not stream any more", self.path.display())));
        };
        match stream.next(&mut frame.data, timeout) {
            Ok(Some(picture)) => {
                frame.format = self.agreed.pixel_format;
                frame.size = self.agreed.size;
                frame.stride = self.agreed.stride;
                frame.captured_at = picture.captured_at;
                frame.seq = picture.seq;
                frame.dropped = picture.dropped;
                frame.set_name("");
                Ok(Read::Frame)
            }
            Ok(None) => Ok(Read::Nothing),
            Err(Fault::Damaged(reason)) => {
                Err(SourceError::new(ErrorKind::Corrupt, anyhow!("{}: {reason}", self.path.display())))
            }
            Err(Fault::Over(error)) => Err(on_read(&self.path, &error)),
        }
    }

    fn interval(&self) -> Option<Duration> {
        self.agreed.interval.map(Interval::duration)
    }

    fn describe(&self) -> String {
        let size = self.agreed.size;
        let rate_hz = self.agreed.interval.map(Interval::rate_hz);
        let mut text = format!("{}×{} {}", size.width, size.height, self.agreed.fourcc);
        match (rate_hz, self.asked_hz) {
            (Some(rate_hz), Some(asked_hz)) if !same_rate(rate_hz, asked_hz) => {
                text += &format!(" at {} Hz, the nearest to {} Hz", rate_text(rate_hz), rate_text(asked_hz));
            }
            (Some(rate_hz), _) => text += &format!(" at {} Hz", rate_text(rate_hz)),
            (None, _) => text += " at the camera's own rate",
        }
        text
    }
}

fn check_role(path: &Path, capabilities: &Capabilities) -> Result<(), SourceError> {
    let problem = match capabilities.role {
        Role::Capture if capabilities.streaming => return Ok(()),
        Role::Capture => "gives no stream; use a command source that reads it",
        Role::MultiPlanar => {
            "gives pictures in separate planes, as the receivers and image processors of CSI cameras do; use a command \
             source, such as rpicam-vid on a Raspberry Pi or gst-launch-1.0 elsewhere"
        }
        Role::Metadata => "is the node of a camera's metadata; use the node of its pictures, which andon devices lists",
        Role::Other => "is no camera; andon devices lists the cameras",
    };
    Err(misconfigured(path, format!("({}, driver {}) {problem}", capabilities.card, capabilities.driver)))
}

/// Sets the controls of the settings, automatic modes first; see [`controls::plan`].
fn set_controls(
    path: &Path,
    device: &Shared,
    camera: &mut NokhwaCamera,
    settings: &Settings,
) -> Result<(), SourceError> {
    if settings.controls.is_empty() {
        return Ok(());
    }
    let read = |error| on_open(path, error);
    let offered = lock(device).node.controls().map_err(read)?;
    let steps = controls::plan(&settings.controls, &offered).map_err(|error| misconfigured(path, error))?;
    for (control, value) in steps {
        let name = &control.name;
        // Modes set before may have freed or taken this one.
        let now = lock(device).node.control(control.id).map_err(read)?;
        if now.is_some_and(|now| now.inactive) {
            let ruler =
                controls::ruler(control, &offered).map_or("the automatic mode that rules it", |ruler| &ruler.name);
            let cause = anyhow!("gives control \"{name}\" no effect now; set {ruler} to manual in the controls, too");
            return Err(misconfigured(path, cause));
        }
        camera.set_control(control, value, device).map_err(|error| match error {
            error if is_gone(&error) => on_open(path, error),
            error => misconfigured(
                path,
                format!("refuses {value} for control \"{name}\" ({error}); leave it out or choose another value"),
            ),
        })?;
    }
    Ok(())
}

fn on_open(path: &Path, error: io::Error) -> SourceError {
    let shown = path.display();
    if is_gone(&error) {
        let cause = anyhow!("{shown} is not there; plug the camera in, or take another from what andon devices lists");
        return SourceError::new(ErrorKind::Absent, cause);
    }
    match error.raw_os_error() {
        Some(libc::EBUSY) => {
            let node = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
            let cause = anyhow!(
                "{shown} is busy: another program streams from it; stop that program (fuser -v {} names it) or set \
                 another source",
                node.display()
            );
            SourceError::new(ErrorKind::Busy, cause)
        }
        Some(libc::EACCES | libc::EPERM) => SourceError::new(ErrorKind::Misconfigured, denied(path, &error)),
        Some(libc::ENOTTY | libc::EISDIR) => misconfigured(path, "is no camera; andon devices lists the cameras"),
        Some(libc::ENOSPC) => {
            let cause = anyhow!(
                "{shown} finds no bandwidth on its USB bus; move a camera to another port, or ask for JPEG or a smaller size"
            );
            SourceError::new(ErrorKind::Lost, cause)
        }
        None if error.kind() == io::ErrorKind::Unsupported => {
            misconfigured(path, format!("{error}; ask for another size or format"))
        }
        // Anything else may pass: a camera that is slow to start, a lack of memory.
        _ => SourceError::new(
            ErrorKind::Lost,
            anyhow!("{shown} does not start ({error}); it is tried again, else plug it in anew"),
        ),
    }
}

fn on_read(path: &Path, error: &io::Error) -> SourceError {
    let shown = path.display();
    let cause = if is_gone(error) {
        anyhow!("{shown} was unplugged; plug it in again")
    } else {
        anyhow!("{shown} broke its stream off ({error}); it is opened again")
    };
    SourceError::new(ErrorKind::Lost, cause)
}

/// Why a node may not be opened: the one text for opening and for listing.
fn denied(path: &Path, error: &io::Error) -> anyhow::Error {
    anyhow!(
        "{} may not be opened ({error}); add the user to the group video (usermod -aG video USER, then log in again; in a \
         systemd unit SupplementaryGroups=video and DeviceAllow=char-81 rw)",
        path.display()
    )
}

fn misconfigured(path: &Path, cause: impl Display) -> SourceError {
    SourceError::new(ErrorKind::Misconfigured, anyhow!("{} {cause}", path.display()))
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV | libc::ENXIO))
}
