//! Pictures of the line, as the model takes them.

use std::time::Duration;

use anyhow::{Result, bail, ensure};

use super::{Step, Watch};
use crate::{
    capture::{self, ErrorKind, Read, SourceUri},
    detector::{Detector, Prepared},
    frame::Frame,
    vision::View,
};

/// More pictures than this are not looked at: they are chosen evenly.
pub(super) const PICTURES_MAX: usize = 256;

/// Fewer than this say too little.
const PICTURES_MIN: usize = 8;

/// With fewer than this the ranges are doubtful.
const PICTURES_FEW: usize = 32;

/// Every so many of them are kept apart to measure with.
const HELD_OUT_EVERY: usize = 4;

/// With fewer pictures none is kept apart.
const HELD_OUT_FROM: usize = 16;

/// Pictures that are ready to be looked at.
pub(super) struct Pictures {
    pub(super) calibration: Vec<Prepared>,
    /// Not calibrated with; empty where there are too few.
    pub(super) held_out: Vec<Prepared>,
    /// How many there are in all.
    pub(super) total: usize,
    /// Why single ones could not be read.
    pub(super) damaged: Vec<String>,
}

impl Pictures {
    /// What to know about them.
    pub(super) fn remarks(&self) -> Vec<String> {
        let used = self.calibration.len() + self.held_out.len();
        let mut remarks = Vec::new();
        if self.total > PICTURES_MAX {
            remarks.push(format!("{used} of the {} pictures were used, evenly chosen", self.total));
        }
        if used < PICTURES_FEW {
            remarks.push(format!("{used} pictures are few; ranges are surer with 100"));
        }
        if let Some(first) = self.damaged.first() {
            remarks.push(format!(
                "{} pictures could not be read and were left out; the first: {first}",
                self.damaged.len()
            ));
        }
        remarks
    }
}

/// Refuses a source that is not made of files.
///
/// # Errors
/// Says so.
pub(super) fn check(source: &SourceUri) -> Result<()> {
    ensure!(
        matches!(source, SourceUri::Files(_)),
        "images {source}: a model is quantized with pictures that are kept as files; save some and give their folder"
    );
    Ok(())
}

/// Reads the pictures that a source names, of which [`check`] says that they are files.
///
/// # Errors
/// Where there are none, or too few that can be read.
pub(super) fn load(source: &SourceUri, detector: &mut Detector, watch: &mut Watch<'_>) -> Result<Pictures> {
    let mut open = capture::open(&capture::Settings::of(source.clone()))?;
    let Some(total) = open.pictures() else {
        bail!("images {source}: this is no folder with pictures; save some of them first");
    };
    let wanted = total.min(PICTURES_MAX);
    let mut found = Pictures { calibration: Vec::new(), held_out: Vec::new(), total, damaged: Vec::new() };
    let mut frame = Frame::empty();
    let (mut index, mut taken) = (0, 0);
    loop {
        watch(Step { what: "reading pictures", done: index.min(total), total })?;
        let is_wanted = (index + 1) * wanted / total > index * wanted / total;
        match open.read(&mut frame, Duration::from_secs(1)) {
            Ok(Read::End) => break,
            Ok(Read::Nothing) => continue,
            Ok(Read::Frame) if is_wanted => match detector.prepare(&frame, &View::default()) {
                Ok(picture) => {
                    if total >= HELD_OUT_FROM && taken % HELD_OUT_EVERY == HELD_OUT_EVERY - 1 {
                        found.held_out.push(picture);
                    } else {
                        found.calibration.push(picture);
                    }
                    taken += 1;
                }
                Err(error) => found.damaged.push(format!("{error:#}")),
            },
            Ok(Read::Frame) => {}
            Err(error) if error.kind() == ErrorKind::Corrupt => found.damaged.push(error.to_string()),
            Err(error) => return Err(error.into()),
        }
        index += 1;
    }
    let usable = found.calibration.len() + found.held_out.len();
    if usable < PICTURES_MIN {
        bail!(
            "images {source}: {usable} pictures are too few to quantize with; take {PICTURES_MIN} or more, better 100"
        );
    }
    Ok(found)
}
