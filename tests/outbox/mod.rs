//! The outbox as the daemon uses it: a thread, a lane, a disk that may fail.

mod damage;
mod events;
mod faults;
mod notes;
mod power_cut;
pub(crate) mod shim;
mod states;
mod thread;
mod trace;
mod wear;
