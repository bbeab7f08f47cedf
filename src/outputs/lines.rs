//! What a chip's lines can do, whoever makes them do it.

use std::os::fd::AsFd;

use super::settings::{Input, LineName, Output};

/// Why a line cannot be used: a sentence that names it and says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct Trouble {
    /// The line.
    pub line: LineName,
    /// What is wrong with it, and what to do.
    pub why: String,
}

impl Trouble {
    /// So it is with this line.
    pub fn new(line: &LineName, why: impl Into<String>) -> Self {
        Self { line: line.clone(), why: why.into() }
    }
}

/// The lines of a box.
pub trait Lines: Send + Sync {
    /// Takes a line to drive it; it is inactive at first.
    ///
    /// # Errors
    /// Where there is no such line, or it is not to be had.
    fn drive(&self, output: &Output) -> Result<Box<dyn Drive>, Trouble>;

    /// Takes a line to listen to it.
    ///
    /// # Errors
    /// As [`Self::drive`], and where it cannot do what is asked of it.
    fn listen(&self, input: &Input) -> Result<Box<dyn Listen>, Trouble>;

    /// Whether a line is there and nobody else has it; says in a few words what it is. Changes nothing.
    ///
    /// # Errors
    /// As [`Self::drive`].
    fn look(&self, line: &LineName) -> Result<String, Trouble>;
}

/// A line that is driven, until this is dropped.
pub trait Drive: Send {
    /// Makes it active or not.
    ///
    /// # Errors
    /// Where the chip is gone or refuses.
    fn set(&mut self, active: bool) -> Result<(), Trouble>;
}

/// A line that is listened to, until this is dropped. Its file can be read when there is something to hear.
pub trait Listen: Send + AsFd {
    /// How many edges came, those included that nobody could keep. To be called when the file can be read; waits otherwise.
    ///
    /// # Errors
    /// Where the chip is gone or refuses.
    fn edges(&mut self) -> Result<u64, Trouble>;
}
