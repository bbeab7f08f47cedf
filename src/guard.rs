//! Panics of libraries that read what others wrote become errors.
//!
//! tract is written for models that are right, and image decoders have faults: a damaged file makes some of them panic.
//! That must not end the process, nor be printed as a fault of andon.

use std::{
    cell::Cell,
    panic::{self, AssertUnwindSafe},
    sync::Once,
};

use anyhow::{Result, anyhow};

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs what may panic. After an error, everything that `work` could change is in doubt: do not use it again.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    quiet_panics();
    let outer = GUARDED.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(outer);
    result.unwrap_or_else(|cause| {
        let text = cause.downcast_ref::<String>().map(String::as_str).or(cause.downcast_ref::<&str>().copied());
        Err(anyhow!("{}", text.unwrap_or("a panic")))
    })
}

/// Keeps the panic hook from printing what [`guarded`] catches. Other panics go to the hook that stood before.
fn quiet_panics() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let hook = panic::take_hook();
        panic::set_hook(Box::new(move |facts| {
            if !GUARDED.get() {
                hook(facts);
            }
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error() {
        let cause = guarded::<()>(|| panic!("shape {}", 7)).unwrap_err();
        assert_eq!(cause.to_string(), "shape 7");
        assert_eq!(guarded(|| Ok(1)).unwrap(), 1);
    }
}
