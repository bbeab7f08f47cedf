//! The controls of a camera: listed, read and set.
#![allow(unsafe_code, reason = "the kernel hands values over in unions")]

use std::io;

use v4l::{v4l_sys as sys, v4l2::vidioc};

use super::{ENTRIES_MAX, Node, text, zeroed};
use crate::capture::v4l2::controls::{ControlKind, ControlOffer, normalised};

impl Node {
    /// All controls that are not disabled, with their present values. One that the camera's firmware cannot tell of (EIO
    /// and EPIPE are common) is left out; where the next cannot be asked for, the list ends.
    pub(in crate::capture::v4l2) fn controls(&self) -> io::Result<Vec<ControlOffer>> {
        let mut found = Vec::new();
        let mut id = 0;
        for _ in 0..ENTRIES_MAX {
            let next = self.query_control(id | sys::V4L2_CTRL_FLAG_NEXT_CTRL);
            let Some(entry) = unless_faulty(next)? else { break };
            id = entry.id;
            found.extend(unless_faulty(self.control_offer(&entry))?);
        }
        Ok(found)
    }

    /// One control as it is now; `None` where there is none with that id, or it is not for reading and setting.
    pub(in crate::capture::v4l2) fn control(&self, id: u32) -> io::Result<Option<ControlOffer>> {
        match self.query_control(id)? {
            Some(entry) => self.control_offer(&entry),
            None => Ok(None),
        }
    }

    /// Sets a control; the driver rounds to the control's step.
    pub(in crate::capture::v4l2) fn set_control(&self, control: &ControlOffer, value: i64) -> io::Result<()> {
        if control.wide {
            return self.wide_control(vidioc::VIDIOC_S_EXT_CTRLS, control.id, value).map(drop);
        }
        // A bitmask uses all 32 bits, everything else is signed; both end in the same 32 bits.
        let narrow = i32::try_from(value)
            .or_else(|_| u32::try_from(value).map(u32::cast_signed))
            .map_err(|_| io::Error::from_raw_os_error(libc::ERANGE))?;
        self.ioctl(vidioc::VIDIOC_S_CTRL, &mut sys::v4l2_control { id: control.id, value: narrow })
    }

    fn query_control(&self, id: u32) -> io::Result<Option<sys::v4l2_query_ext_ctrl>> {
        let mut entry = sys::v4l2_query_ext_ctrl { id, ..zeroed() };
        Ok(self.enumerated(vidioc::VIDIOC_QUERY_EXT_CTRL, &mut entry)?.then_some(entry))
    }

    fn control_offer(&self, entry: &sys::v4l2_query_ext_ctrl) -> io::Result<Option<ControlOffer>> {
        let wide = entry.type_ == sys::v4l2_ctrl_type_V4L2_CTRL_TYPE_INTEGER64;
        let kind = match entry.type_ {
            sys::v4l2_ctrl_type_V4L2_CTRL_TYPE_INTEGER | sys::v4l2_ctrl_type_V4L2_CTRL_TYPE_INTEGER64 => {
                ControlKind::Integer
            }
            sys::v4l2_ctrl_type_V4L2_CTRL_TYPE_BOOLEAN => ControlKind::Boolean,
            sys::v4l2_ctrl_type_V4L2_CTRL_TYPE_BUTTON => ControlKind::Button,
            sys::v4l2_ctrl_type_V4L2_CTRL_TYPE_BITMASK => ControlKind::Bitmask,
            sys::v4l2_ctrl_type_V4L2_CTRL_TYPE_MENU | sys::v4l2_ctrl_type_V4L2_CTRL_TYPE_INTEGER_MENU => {
                ControlKind::Menu(self.menu(entry)?)
            }
            // Headings, texts and structures are not numbers and cannot be set from the configuration.
            _ => return Ok(None),
        };
        if entry.flags & (sys::V4L2_CTRL_FLAG_DISABLED | sys::V4L2_CTRL_FLAG_HAS_PAYLOAD) != 0 {
            return Ok(None);
        }
        let readable = kind != ControlKind::Button && entry.flags & sys::V4L2_CTRL_FLAG_WRITE_ONLY == 0;
        let value = if !readable {
            None
        } else if wide {
            self.wide_control(vidioc::VIDIOC_G_EXT_CTRLS, entry.id, 0).ok()
        } else {
            let mut control = sys::v4l2_control { id: entry.id, value: 0 };
            // A camera may refuse to tell a value that it lists; the control is there nevertheless.
            self.ioctl(vidioc::VIDIOC_G_CTRL, &mut control).ok().map(|()| match kind {
                ControlKind::Bitmask => i64::from(control.value.cast_unsigned()),
                _ => i64::from(control.value),
            })
        };
        Ok(Some(ControlOffer {
            id: entry.id,
            name: normalised(&text(&entry.name.map(c_char_to_u8))),
            kind,
            min: entry.minimum,
            max: entry.maximum,
            step: i64::try_from(entry.step).unwrap_or(1).max(1),
            default: entry.default_value,
            value,
            read_only: entry.flags & sys::V4L2_CTRL_FLAG_READ_ONLY != 0,
            inactive: entry.flags & sys::V4L2_CTRL_FLAG_INACTIVE != 0,
            wide,
        }))
    }

    /// The entries of a menu; an index that the driver leaves out cannot be chosen.
    fn menu(&self, entry: &sys::v4l2_query_ext_ctrl) -> io::Result<Vec<(i64, String)>> {
        let of_integers = entry.type_ == sys::v4l2_ctrl_type_V4L2_CTRL_TYPE_INTEGER_MENU;
        let mut items = Vec::new();
        for value in (entry.minimum..=entry.maximum).take(ENTRIES_MAX as usize) {
            let Ok(index) = u32::try_from(value) else { continue };
            let mut item = sys::v4l2_querymenu { id: entry.id, index, ..zeroed() };
            if !self.enumerated(vidioc::VIDIOC_QUERYMENU, &mut item)? {
                continue;
            }
            // The struct is packed, so the union is copied out before it is looked at.
            let meaning = item.__bindgen_anon_1;
            // SAFETY: both members are plain bytes or integers, of which every pattern is valid; the kernel filled one.
            let label = unsafe { if of_integers { meaning.value.to_string() } else { text(&meaning.name) } };
            items.push((value, label));
        }
        Ok(items)
    }

    fn wide_control(&self, request: vidioc::_IOC_TYPE, id: u32, value: i64) -> io::Result<i64> {
        let mut control = sys::v4l2_ext_control { id, ..zeroed() };
        control.__bindgen_anon_1.value64 = value;
        let mut list = sys::v4l2_ext_controls { count: 1, controls: &raw mut control, ..zeroed() };
        self.ioctl(request, &mut list)?;
        // SAFETY: for a control of 64 bits, the only kind this is called for, the kernel reads and fills `value64`.
        Ok(unsafe { control.__bindgen_anon_1.value64 })
    }
}

/// Nothing for what a camera fails to tell; an error only where it is gone.
fn unless_faulty<T>(answer: io::Result<Option<T>>) -> io::Result<Option<T>> {
    match answer {
        Err(error) if error.raw_os_error() != Some(libc::ENODEV) => Ok(None),
        answer => answer,
    }
}

#[allow(clippy::unnecessary_cast, reason = "c_char is signed on some targets and unsigned on others")]
fn c_char_to_u8(char: std::ffi::c_char) -> u8 {
    char as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_camera_that_is_gone_fails_the_list() {
        let failed = |errno| unless_faulty::<()>(Err(io::Error::from_raw_os_error(errno)));
        for errno in [libc::EIO, libc::EPIPE, libc::ETIMEDOUT] {
            assert_eq!(failed(errno).unwrap(), None);
        }
        assert_eq!(failed(libc::ENODEV).unwrap_err().raw_os_error(), Some(libc::ENODEV));
        assert_eq!(unless_faulty(Ok(Some(1))).unwrap(), Some(1));
    }
}
