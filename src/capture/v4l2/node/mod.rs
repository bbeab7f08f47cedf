//! An opened V4L2 node: one method an ioctl, each safe to call, errors as the kernel gave them.
//!
//! What to ask for, in which order, and what an error means to the owner is decided elsewhere ([`super`],
//! [`super::stream`]). Interrupted calls are repeated here. The descriptor does not block and is closed in child
//! processes, so that a command that the daemon starts never keeps a camera open.
#![allow(unsafe_code, reason = "ioctl has no safe form")]

mod buffers;
mod controls;

use std::{
    ffi::c_void,
    fs::{File, OpenOptions},
    io, mem,
    os::{
        fd::AsRawFd,
        unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt},
    },
    path::Path,
    ptr,
    time::Duration,
};

use v4l::{
    v4l_sys as sys,
    v4l2::{self, vidioc},
};

pub(super) use buffers::{Dequeued, Mapping, Ready};

use super::formats::{FourCc, Interval, Intervals, Range};
use crate::geometry::Size;

/// The one buffer type that is read here; multi-planar devices are only listed.
const CAPTURE: u32 = sys::v4l2_buf_type_V4L2_BUF_TYPE_VIDEO_CAPTURE;
const CAPTURE_MPLANE: u32 = sys::v4l2_buf_type_V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE;

/// Upper bound of every enumeration, against a driver that never says stop.
const ENTRIES_MAX: u32 = 1024;

/// An opened V4L2 node.
pub(super) struct Node {
    file: File,
}

/// What VIDIOC_QUERYCAP says.
pub(super) struct Capabilities {
    pub(super) driver: String,
    pub(super) card: String,
    pub(super) bus: String,
    pub(super) role: Role,
    pub(super) streaming: bool,
}

/// What a node is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Pictures in one plane of memory: what is read here.
    Capture,
    /// Pictures in several planes: image processors and the receivers of CSI cameras.
    MultiPlanar,
    /// Metadata that a camera gives beside its pictures.
    Metadata,
    /// Output, codec, radio and the like.
    Other,
}

/// What VIDIOC_S_FMT and VIDIOC_TRY_FMT answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct PixFormat {
    pub(super) fourcc: FourCc,
    pub(super) size: Size,
    pub(super) stride: usize,
    /// Both fields of a picture lie in one buffer, or it has no fields.
    pub(super) whole_pictures: bool,
}

impl Node {
    /// Opens the node that `path` leads to.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file =
            OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(path)?;
        if !file.metadata()?.file_type().is_char_device() {
            return Err(io::Error::from_raw_os_error(libc::ENOTTY));
        }
        Ok(Self { file })
    }

    /// Whether `path` leads to the device that is open here, and not to another that took its place.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        match (self.file.metadata(), std::fs::metadata(path)) {
            (Ok(ours), Ok(theirs)) => ours.rdev() == theirs.rdev(),
            _ => false,
        }
    }

    /// Who the device is and what the node is for.
    pub(super) fn capabilities(&self) -> io::Result<Capabilities> {
        let mut caps: sys::v4l2_capability = zeroed();
        self.ioctl(vidioc::VIDIOC_QUERYCAP, &mut caps)?;
        let of_node =
            if caps.capabilities & sys::V4L2_CAP_DEVICE_CAPS != 0 { caps.device_caps } else { caps.capabilities };
        let role = if of_node & sys::V4L2_CAP_VIDEO_CAPTURE != 0 {
            Role::Capture
        } else if of_node & sys::V4L2_CAP_VIDEO_CAPTURE_MPLANE != 0 {
            Role::MultiPlanar
        } else if of_node & sys::V4L2_CAP_META_CAPTURE != 0 {
            Role::Metadata
        } else {
            Role::Other
        };
        Ok(Capabilities {
            driver: text(&caps.driver),
            card: text(&caps.card),
            bus: text(&caps.bus_info),
            role,
            streaming: of_node & sys::V4L2_CAP_STREAMING != 0,
        })
    }

    /// The pixel formats of a node with that role, with the driver's description.
    pub(super) fn formats(&self, role: Role) -> io::Result<Vec<(FourCc, String)>> {
        let type_ = if role == Role::MultiPlanar { CAPTURE_MPLANE } else { CAPTURE };
        let mut found: Vec<(FourCc, String)> = Vec::new();
        for index in 0..ENTRIES_MAX {
            let mut entry = sys::v4l2_fmtdesc { index, type_, ..zeroed() };
            if !self.enumerated(vidioc::VIDIOC_ENUM_FMT, &mut entry)? {
                break;
            }
            let fourcc = FourCc(entry.pixelformat);
            if !found.iter().any(|(known, _)| *known == fourcc) {
                found.push((fourcc, text(&entry.description)));
            }
        }
        Ok(found)
    }

    /// The sizes of a pixel format; empty where the driver does not say.
    pub(super) fn sizes(&self, fourcc: FourCc) -> io::Result<Vec<Range>> {
        let mut found = Vec::new();
        for index in 0..ENTRIES_MAX {
            let mut entry = sys::v4l2_frmsizeenum { index, pixel_format: fourcc.0, ..zeroed() };
            if !self.enumerated(vidioc::VIDIOC_ENUM_FRAMESIZES, &mut entry)? {
                break;
            }
            if entry.type_ == sys::v4l2_frmsizetypes_V4L2_FRMSIZE_TYPE_DISCRETE {
                // SAFETY: `type_` was just checked to say that the union holds `discrete`; all its members are integers.
                let size = unsafe { entry.__bindgen_anon_1.discrete };
                found.push(Range::exactly(Size { width: size.width, height: size.height }));
                continue;
            }
            // SAFETY: any other `type_` fills `stepwise`, and all members of the union are integers.
            let range = unsafe { entry.__bindgen_anon_1.stepwise };
            found.push(Range {
                min: Size { width: range.min_width, height: range.min_height },
                max: Size { width: range.max_width, height: range.max_height },
                step: Size { width: range.step_width.max(1), height: range.step_height.max(1) },
            });
            break;
        }
        Ok(found)
    }

    /// The frame intervals of a pixel format and size.
    pub(super) fn intervals(&self, fourcc: FourCc, size: Size) -> io::Result<Intervals> {
        let mut found = Vec::new();
        for index in 0..ENTRIES_MAX {
            let mut entry = sys::v4l2_frmivalenum {
                index,
                pixel_format: fourcc.0,
                width: size.width,
                height: size.height,
                ..zeroed()
            };
            if !self.enumerated(vidioc::VIDIOC_ENUM_FRAMEINTERVALS, &mut entry)? {
                break;
            }
            if entry.type_ == sys::v4l2_frmivaltypes_V4L2_FRMIVAL_TYPE_DISCRETE {
                // SAFETY: `type_` was just checked to say that the union holds `discrete`; all its members are integers.
                found.extend(interval(unsafe { entry.__bindgen_anon_1.discrete }));
                continue;
            }
            // SAFETY: any other `type_` fills `stepwise`, and all members of the union are integers.
            let range = unsafe { entry.__bindgen_anon_1.stepwise };
            return Ok(match (interval(range.min), interval(range.max)) {
                (Some(shortest), Some(longest)) => Intervals::Between { shortest, longest },
                _ => Intervals::Unknown,
            });
        }
        Ok(if found.is_empty() { Intervals::Unknown } else { Intervals::List(found) })
    }

    /// Sets the format, or only asks what would be set. The driver may answer with another one.
    pub(super) fn format(&self, fourcc: FourCc, size: Size, set: bool) -> io::Result<PixFormat> {
        let mut format = sys::v4l2_format { type_: CAPTURE, ..zeroed() };
        format.fmt.pix = sys::v4l2_pix_format {
            width: size.width,
            height: size.height,
            pixelformat: fourcc.0,
            field: sys::v4l2_field_V4L2_FIELD_NONE,
            ..zeroed()
        };
        self.ioctl(if set { vidioc::VIDIOC_S_FMT } else { vidioc::VIDIOC_TRY_FMT }, &mut format)?;
        // SAFETY: for this buffer type the kernel fills `pix`, and all its members are integers.
        let pix = unsafe { format.fmt.pix };
        Ok(PixFormat {
            fourcc: FourCc(pix.pixelformat),
            size: Size { width: pix.width, height: pix.height },
            stride: pix.bytesperline as usize,
            whole_pictures: matches!(
                pix.field,
                sys::v4l2_field_V4L2_FIELD_ANY
                    | sys::v4l2_field_V4L2_FIELD_NONE
                    | sys::v4l2_field_V4L2_FIELD_INTERLACED
                    | sys::v4l2_field_V4L2_FIELD_INTERLACED_TB
                    | sys::v4l2_field_V4L2_FIELD_INTERLACED_BT
            ),
        })
    }

    /// Asks for a frame interval and returns the one that holds; `None` where the driver does not say.
    pub(super) fn set_interval(&self, wanted: Option<Interval>) -> io::Result<Option<Interval>> {
        let mut parm = sys::v4l2_streamparm { type_: CAPTURE, ..zeroed() };
        if !self.enumerated(vidioc::VIDIOC_G_PARM, &mut parm)? {
            return Ok(None);
        }
        // SAFETY: for this buffer type the kernel fills `capture`, and all its members are integers.
        let mut capture = unsafe { parm.parm.capture };
        if let Some(wanted) = wanted
            && capture.capability & sys::V4L2_CAP_TIMEPERFRAME != 0
        {
            capture.timeperframe = sys::v4l2_fract { numerator: wanted.numerator, denominator: wanted.denominator };
            parm.parm.capture = capture;
            if !unsupported(self.ioctl(vidioc::VIDIOC_S_PARM, &mut parm))? {
                // SAFETY: as above.
                capture = unsafe { parm.parm.capture };
            }
        }
        Ok(interval(capture.timeperframe))
    }

    /// An ioctl that a driver may not have, or that asks for an entry behind the end of a list: `false` then.
    fn enumerated<T: Plain>(&self, request: vidioc::_IOC_TYPE, entry: &mut T) -> io::Result<bool> {
        match self.ioctl(request, entry) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(false),
            result => Ok(!unsupported(result)?),
        }
    }

    fn ioctl<T: Plain>(&self, request: vidioc::_IOC_TYPE, argument: &mut T) -> io::Result<()> {
        // An ioctl's number holds the size of its argument in 14 bits from bit 16.
        assert_eq!((request >> 16) & 0x3fff, mem::size_of::<T>() as vidioc::_IOC_TYPE, "the argument of this ioctl");
        loop {
            // SAFETY: the argument is of the size that the request names, as just asserted, and of plain data that the
            // kernel may write whatever it likes to; pointers in it are set by this module and lead to live values.
            let result =
                unsafe { v4l2::ioctl(self.file.as_raw_fd(), request, ptr::from_mut(argument).cast::<c_void>()) };
            match result {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }
}

/// Structs of the V4L2 interface: plain C data.
///
/// # Safety
/// Every pattern of bits has to be a valid value, all zeros included.
unsafe trait Plain: Copy {}

macro_rules! plain {
    ($($type:ty),* $(,)?) => {$(
        // SAFETY: integers, arrays and unions of integers, and raw pointers.
        unsafe impl Plain for $type {}
    )*};
}

plain!(
    i32,
    sys::v4l2_buffer,
    sys::v4l2_capability,
    sys::v4l2_control,
    sys::v4l2_ext_control,
    sys::v4l2_ext_controls,
    sys::v4l2_fmtdesc,
    sys::v4l2_format,
    sys::v4l2_frmivalenum,
    sys::v4l2_frmsizeenum,
    sys::v4l2_pix_format,
    sys::v4l2_query_ext_ctrl,
    sys::v4l2_querymenu,
    sys::v4l2_requestbuffers,
    sys::v4l2_streamparm,
);

/// The kernel wants every field that is not used to be zero.
fn zeroed<T: Plain>() -> T {
    // SAFETY: `Plain` promises that all zeros are a valid value.
    unsafe { mem::zeroed() }
}

/// Whether a driver lacks an ioctl altogether; other errors stay errors.
fn unsupported(result: io::Result<()>) -> io::Result<bool> {
    match result {
        Ok(()) => Ok(false),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOTTY | libc::ENODATA | libc::ENOSYS)) => Ok(true),
        Err(error) => Err(error),
    }
}

fn interval(fraction: sys::v4l2_fract) -> Option<Interval> {
    let interval = Interval { numerator: fraction.numerator, denominator: fraction.denominator };
    (interval.numerator > 0 && interval.denominator > 0).then_some(interval)
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).trim().to_owned()
}

/// CLOCK_MONOTONIC, the clock of the kernel's stamps and of [`std::time::Instant`].
pub(super) fn monotonic_now() -> Duration {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a timespec that lives through the call. The clock exists on every Linux, so it cannot fail.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    #[allow(clippy::useless_conversion, clippy::unnecessary_fallible_conversions, reason = "32 bits on some targets")]
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}
