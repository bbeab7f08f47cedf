//! Lines of the box: a stack light, a reject gate, a relay that stops the line; a light barrier, an encoder.
//!
//! - `settings.rs`: what lines are for.
//! - Pure, with the time as an argument: `light.rs`, `gate.rs` and `relay.rs` say how one output has to be, `panel.rs` puts
//!   them together.
//! - [`Lines`] is what a chip does, `chip.rs` does it with the kernel's character devices. What of a chip that is missing or
//!   a line that is busy is left to the caller.
//!
//! A process that ends lets its lines go, and what they do then is up to the chip's driver: some make inputs of them, many
//! keep their levels. One that is stopped, and one of whose threads fails, makes its outputs inactive before; one that is
//! killed cannot.

mod chip;
#[cfg(test)]
pub(crate) mod fake;
mod gate;
mod light;
mod lines;
mod panel;
mod relay;
mod settings;

pub use self::{
    chip::{Chips, wait_for},
    gate::{LATE_MAX, PARTS_MAX},
    lines::{Drive, Lines, Listen, Trouble},
    panel::Panel,
    relay::LOOKED_AFTER_MAX,
    settings::{Bias, Edge, Input, InputKind, LineName, Output, OutputKind, RuleName},
};
