//! The outbox as the daemon uses it: a thread, a lane, a disk that may fail.

mod damage;
mod events;
mod faults;
mod power_cut;
mod shim;
mod thread;
mod trace;
mod wear;
