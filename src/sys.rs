//! Questions to the kernel that the standard library does not ask.
#![allow(unsafe_code)]

/// Whether the kernel holds its clock for synchronized with a time server; `None` where it may not be asked.
pub fn clock_synchronized() -> Option<bool> {
    // SAFETY: `timex` is plain integers, for which all zeros is a value.
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a live, exclusively borrowed `timex`; `modes` is zero, so nothing is set.
    let state = unsafe { libc::adjtimex(&raw mut timex) };
    (state >= 0).then_some(timex.status & libc::STA_UNSYNC == 0)
}
