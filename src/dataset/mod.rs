//! YOLO datasets on the disk: pictures, and for each a text file with what it shows.
//!
//! Knows where Ultralytics keeps what, and what its files say; neither decodes pictures nor judges what a model finds.

mod classes;
mod labels;
mod manifest;
mod read;
mod write;

pub use classes::Classes;
pub use labels::{BadLabels, Object};
pub use read::{Dataset, Labels};
pub use write::Writer;
