//! The buffers of a stream: mapped, queued, waited for and taken back.
#![allow(unsafe_code, reason = "mmap and poll have no safe form")]

use std::{
    io,
    os::fd::AsRawFd,
    ptr::{self, NonNull},
    slice,
    time::Duration,
};

use v4l::{v4l_sys as sys, v4l2::vidioc};

use super::{CAPTURE, Node, zeroed};

const MMAP: u32 = sys::v4l2_memory_V4L2_MEMORY_MMAP;

/// A buffer that the kernel has handed over.
#[derive(Clone, Copy, Debug)]
pub(in crate::capture::v4l2) struct Dequeued {
    pub(in crate::capture::v4l2) index: usize,
    pub(in crate::capture::v4l2) bytes_used: usize,
    pub(in crate::capture::v4l2) sequence: u32,
    /// The kernel says that the contents are damaged.
    pub(in crate::capture::v4l2) damaged: bool,
    /// On CLOCK_MONOTONIC; `None` where the driver stamps with another clock or not at all.
    pub(in crate::capture::v4l2) stamp: Option<Duration>,
}

/// What [`Node::wait`] saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::capture::v4l2) enum Ready {
    /// A buffer may be taken.
    Buffer,
    /// The driver reports an error: the next ioctl says which.
    Error,
    /// Nothing within the time.
    Timeout,
}

/// A buffer of the driver in our memory, given back when dropped.
pub(in crate::capture::v4l2) struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping belongs to this value alone, and memory mapped from a device may be read from any thread.
unsafe impl Send for Mapping {}

impl Mapping {
    /// The first `len` bytes, or all where the buffer is shorter. Only to be read while the kernel does not own it.
    pub(in crate::capture::v4l2) fn bytes(&self, len: usize) -> &[u8] {
        let len = len.min(self.len);
        // SAFETY: `len` was just bounded by the length that mmap succeeded with, and the mapping lives as long as `self`.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), len) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: address and length are those that mmap returned; nothing borrows from `self` any more. An error leaves
        // the mapping in place, which is harmless.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

impl Node {
    /// Asks the driver for buffers and maps them; the driver decides how many it gives.
    pub(in crate::capture::v4l2) fn map_buffers(&self, count: u32) -> io::Result<Vec<Mapping>> {
        let mut request = sys::v4l2_requestbuffers { count, type_: CAPTURE, memory: MMAP, ..zeroed() };
        self.ioctl(vidioc::VIDIOC_REQBUFS, &mut request)?;
        (0..request.count).map(|index| self.map_buffer(index)).collect()
    }

    /// Gives the buffers back to the driver; all mappings have to be gone.
    pub(in crate::capture::v4l2) fn free_buffers(&self) -> io::Result<()> {
        let mut request = sys::v4l2_requestbuffers { count: 0, type_: CAPTURE, memory: MMAP, ..zeroed() };
        self.ioctl(vidioc::VIDIOC_REQBUFS, &mut request)
    }

    /// Hands a buffer to the driver to be filled.
    pub(in crate::capture::v4l2) fn queue(&self, index: usize) -> io::Result<()> {
        let mut buffer = sys::v4l2_buffer {
            index: u32::try_from(index).unwrap_or(u32::MAX),
            type_: CAPTURE,
            memory: MMAP,
            ..zeroed()
        };
        self.ioctl(vidioc::VIDIOC_QBUF, &mut buffer)
    }

    /// Takes the oldest filled buffer, if there is one.
    pub(in crate::capture::v4l2) fn dequeue(&self) -> io::Result<Option<Dequeued>> {
        let mut buffer = sys::v4l2_buffer { type_: CAPTURE, memory: MMAP, ..zeroed() };
        match self.ioctl(vidioc::VIDIOC_DQBUF, &mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            result => result?,
        }
        let clock = buffer.flags & sys::V4L2_BUF_FLAG_TIMESTAMP_MASK;
        let monotonic = clock == sys::V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC;
        Ok(Some(Dequeued {
            index: buffer.index as usize,
            bytes_used: buffer.bytesused as usize,
            sequence: buffer.sequence,
            damaged: buffer.flags & sys::V4L2_BUF_FLAG_ERROR != 0,
            #[allow(
                clippy::useless_conversion,
                clippy::unnecessary_fallible_conversions,
                reason = "32 bits on some targets"
            )]
            stamp: match (u64::try_from(buffer.timestamp.tv_sec), u32::try_from(buffer.timestamp.tv_usec)) {
                (Ok(s), Ok(us)) if monotonic && us < 1_000_000 && (s, us) != (0, 0) => {
                    Some(Duration::new(s, us * 1000))
                }
                _ => None,
            },
        }))
    }

    /// Starts or stops the stream.
    pub(in crate::capture::v4l2) fn stream(&self, on: bool) -> io::Result<()> {
        let mut type_ = CAPTURE.cast_signed();
        self.ioctl(if on { vidioc::VIDIOC_STREAMON } else { vidioc::VIDIOC_STREAMOFF }, &mut type_)
    }

    /// Waits until a buffer may be taken, at most `timeout`. A signal ends the wait early, as a timeout does.
    pub(in crate::capture::v4l2) fn wait(&self, timeout: Duration) -> io::Result<Ready> {
        let mut poll = libc::pollfd { fd: self.file.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // Rounded up, so that a wait never ends before its time and is repeated without a pause.
        let timeout_ms = i32::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX);
        // SAFETY: `poll` is one pollfd, as the count says, and lives through the call.
        let ready = unsafe { libc::poll(&raw mut poll, 1, timeout_ms) };
        match ready {
            0 => Ok(Ready::Timeout),
            1.. if poll.revents & libc::POLLIN != 0 => Ok(Ready::Buffer),
            1.. => Ok(Ready::Error),
            _ => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => Ok(Ready::Timeout),
                error => Err(error),
            },
        }
    }

    fn map_buffer(&self, index: u32) -> io::Result<Mapping> {
        let mut buffer = sys::v4l2_buffer { index, type_: CAPTURE, memory: MMAP, ..zeroed() };
        self.ioctl(vidioc::VIDIOC_QUERYBUF, &mut buffer)?;
        let len = buffer.length as usize;
        // SAFETY: for buffers in mapped memory the kernel fills `offset`, an integer.
        let offset = unsafe { buffer.m.offset };
        #[allow(clippy::unnecessary_fallible_conversions, reason = "32 bits on some targets")]
        let offset = libc::off_t::try_from(offset).map_err(|_| io::Error::from_raw_os_error(libc::EOVERFLOW))?;
        // SAFETY: a new shared mapping at an address of the kernel's choice touches no memory of ours; the driver checks
        // offset and length against its buffers.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                self.file.as_raw_fd(),
                offset,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::from_raw_os_error(libc::EFAULT))?;
        Ok(Mapping { start, len })
    }
}
