//! stdout as a place for data: buffered, flushed by the picture, and quiet when its reader goes away.

use std::io::{self, BufWriter, ErrorKind, StdoutLock, Write};

use anyhow::Context;

/// A buffered stdout whose failures can be told from others'.
#[derive(Debug)]
pub(super) struct Output(BufWriter<StdoutLock<'static>>);

impl Output {
    /// Takes stdout.
    pub(super) fn stdout() -> Self {
        Self(BufWriter::new(io::stdout().lock()))
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(as_failure)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(as_failure)
    }
}

/// Whether an error is only that the program reading stdout has had enough (`andon … | head`).
pub(super) fn reader_went_away(error: &anyhow::Error) -> bool {
    error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>()).any(|error| {
        error.kind() == ErrorKind::BrokenPipe && error.get_ref().is_some_and(|inner| inner.is::<StdoutFailed>())
    })
}

/// Prints one JSON document on stdout.
pub(super) fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(value).context("the result has no JSON form")?;
    print(&format!("{text}\n"))
}

/// Prints text on stdout.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = Output::stdout();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

#[derive(Debug, thiserror::Error)]
#[error("stdout cannot be written: {0}")]
struct StdoutFailed(io::Error);

fn as_failure(error: io::Error) -> io::Error {
    // Interrupted writes are tried again by the callers, who know them by their kind alone.
    if error.kind() == ErrorKind::Interrupted {
        return error;
    }
    io::Error::new(error.kind(), StdoutFailed(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_closed_stdout_is_quiet() {
        let closed = as_failure(ErrorKind::BrokenPipe.into());
        assert!(reader_went_away(&anyhow::Error::from(closed).context("while writing")));
        let full = as_failure(ErrorKind::StorageFull.into());
        assert!(!reader_went_away(&full.into()));
        let network = io::Error::from(ErrorKind::BrokenPipe);
        assert!(!reader_went_away(&network.into()));
    }
}
