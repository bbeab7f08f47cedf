//! A database that is damaged is set aside, for whoever wants to know, and what it held is told as lost.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    Failure, Loss, Reason,
    schema::{self, State},
};

/// What is known of a damaged file.
pub(super) struct Wreck {
    /// Its numbering; 0 where it cannot be read.
    pub(super) epoch: u64,
    pub(super) losses: Vec<Loss>,
}

/// Moves the file to `outbox.db.damaged`, over the one that lies there.
pub(super) fn set_aside(path: &Path, why: &Failure) -> Result<Wreck, Failure> {
    let wreck = examine(path);
    let aside = schema::with_suffix(path, ".damaged");
    log::error!("outbox {}: {why}; it is set aside as {} and a new one is begun", path.display(), aside.display());
    let shm = schema::with_suffix(path, "-shm");
    // The log belongs to the file, and its index to nobody.
    let moves: [(PathBuf, PathBuf); 2] =
        [(schema::with_suffix(path, "-wal"), schema::with_suffix(&aside, "-wal")), (path.to_owned(), aside)];
    for (from, to) in moves {
        allow_missing(fs::rename(&from, &to)).map_err(|error| Failure::of_io(&from, &error))?;
    }
    allow_missing(fs::remove_file(&shm)).map_err(|error| Failure::of_io(&shm, &error))?;
    schema::sync_folder(path)?;
    Ok(wreck)
}

fn allow_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Which numbers were given in it. All of them may be lost; who has one of them, has it.
fn examine(path: &Path) -> Wreck {
    let read = || {
        let db = schema::open_to_read(path)?;
        let state = State::read(&db)?;
        Ok::<_, Failure>((state.epoch, schema::read_topics(&db)?))
    };
    let (epoch, topics) = read().unwrap_or_default();
    let told = topics.into_iter().filter(|series| series.next > 1);
    let mut losses: Vec<Loss> = told
        .map(|series| {
            let (topic, to) = (Some(series.name), series.next - 1);
            Loss { topic, epoch, from: 1, to, reason: Reason::Damaged }
        })
        .collect();
    if losses.is_empty() {
        losses.push(Loss { topic: None, epoch, from: 0, to: 0, reason: Reason::Damaged });
    }
    // What is written where it might be damaged is not believed beyond what a clock can say.
    Wreck { epoch: if epoch <= super::epoch::EPOCH_MAX { epoch } else { 0 }, losses }
}
