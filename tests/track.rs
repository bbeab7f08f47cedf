//! Whether things keep their number where trackers lose it, beside the reference implementation on the same boxes; and what
//! that costs.

mod cost;
mod scenes;
mod switches;
