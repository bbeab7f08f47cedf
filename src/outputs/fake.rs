//! Lines without a chip, for tests: what is driven is written down, and edges come when a test says so.

use std::{
    collections::BTreeMap,
    io::{PipeReader, PipeWriter, Read, Write, pipe},
    os::fd::{AsFd, BorrowedFd},
    sync::{Arc, Mutex},
    time::Instant,
};

use super::{
    lines::{Drive, Lines, Listen, Trouble},
    settings::{Input, LineName, Output},
};

/// What became of one line.
#[derive(Default)]
struct Fake {
    /// Why it cannot be used, if so.
    broken: Option<String>,
    taken: bool,
    level: bool,
    /// Each change of its level.
    changes: Vec<(Instant, bool)>,
    edges: Option<PipeWriter>,
}

/// A chip that has every line.
#[derive(Clone, Default)]
pub(crate) struct FakeChip(Arc<Mutex<BTreeMap<String, Fake>>>);

impl FakeChip {
    fn with<T>(&self, line: &LineName, work: impl FnOnce(&mut Fake) -> T) -> T {
        work(self.0.lock().unwrap().entry(line.to_string()).or_default())
    }

    fn named<T>(&self, line: &str, work: impl FnOnce(&mut Fake) -> T) -> T {
        self.with(&line.parse().unwrap(), work)
    }

    /// From now on it fails, or works again.
    pub(crate) fn break_line(&self, line: &str, why: Option<&str>) {
        self.named(line, |fake| {
            fake.broken = why.map(str::to_owned);
            if why.is_some() {
                fake.edges = None;
            }
        });
    }

    /// Whether somebody has it, and its level.
    pub(crate) fn state(&self, line: &str) -> (bool, bool) {
        self.named(line, |fake| (fake.taken, fake.level))
    }

    /// Each change of its level so far.
    pub(crate) fn changes(&self, line: &str) -> Vec<(Instant, bool)> {
        self.named(line, |fake| fake.changes.clone())
    }

    /// So many edges come at once.
    pub(crate) fn edges(&self, line: &str, count: u8) {
        self.named(line, |fake| fake.edges.as_mut().unwrap().write_all(&[count]).unwrap());
    }

    fn take(&self, line: &LineName) -> Result<(), Trouble> {
        self.with(line, |fake| {
            if let Some(why) = &fake.broken {
                return Err(Trouble::new(line, why));
            }
            assert!(!fake.taken, "{line} is taken twice");
            fake.taken = true;
            Ok(())
        })
    }
}

impl Lines for FakeChip {
    fn drive(&self, output: &Output) -> Result<Box<dyn Drive>, Trouble> {
        self.take(&output.line)?;
        let mut driven = Driven { chip: self.clone(), line: output.line.clone() };
        driven.set(false)?;
        Ok(Box::new(driven))
    }

    fn listen(&self, input: &Input) -> Result<Box<dyn Listen>, Trouble> {
        self.take(&input.line)?;
        let (reader, writer) = pipe().unwrap();
        self.with(&input.line, |fake| fake.edges = Some(writer));
        Ok(Box::new(Heard { chip: self.clone(), line: input.line.clone(), reader }))
    }

    fn look(&self, line: &LineName) -> Result<String, Trouble> {
        self.with(line, |fake| fake.broken.as_ref().map_or(Ok(String::new()), |why| Err(Trouble::new(line, why))))
    }
}

struct Driven {
    chip: FakeChip,
    line: LineName,
}

impl Drive for Driven {
    fn set(&mut self, active: bool) -> Result<(), Trouble> {
        self.chip.with(&self.line, |fake| {
            if let Some(why) = &fake.broken {
                return Err(Trouble::new(&self.line, why));
            }
            if fake.level != active {
                fake.level = active;
                fake.changes.push((Instant::now(), active));
            }
            Ok(())
        })
    }
}

impl Drop for Driven {
    fn drop(&mut self) {
        self.chip.with(&self.line, |fake| fake.taken = false);
    }
}

struct Heard {
    chip: FakeChip,
    line: LineName,
    reader: PipeReader,
}

impl Listen for Heard {
    fn edges(&mut self) -> Result<u64, Trouble> {
        let mut count = [0];
        match self.reader.read(&mut count).unwrap() {
            0 => Err(Trouble::new(&self.line, "its chip is gone")),
            _ => Ok(u64::from(count[0])),
        }
    }
}

impl AsFd for Heard {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

impl Drop for Heard {
    fn drop(&mut self) {
        self.chip.with(&self.line, |fake| fake.taken = false);
    }
}
