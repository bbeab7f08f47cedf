//! The binary as its users meet it: formats, exit codes, and one sentence for everything that goes wrong.

mod bench;
mod collect;
mod detect;
mod devices;
mod expected;
mod inspect;
mod listen;
mod simulate;
mod val;
mod wrong;
