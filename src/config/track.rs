//! `[[camera]] track`: whether the things in its picture are followed, and for how long one may be out of sight.

use super::section::Section;
use crate::{capture::SourceUri, track::Settings};

/// Confidence from which on a detection may go on with a track.
const UNSURE: f32 = 0.1;

/// How long a thing may be out of sight, in seconds.
const LOST_AFTER_S: std::ops::RangeInclusive<f64> = 0.1..=3600.0;

/// Reads the keys; `confidence` is that of the camera's model. Without a word things are followed where pictures follow each
/// other as in a film, which those of a folder do not.
pub(super) fn read(section: &mut Section, source: Option<&SourceUri>, confidence: f32) -> Option<Settings> {
    let wanted = section.boolean("track");
    let lost_after = section.seconds("lost_after", LOST_AFTER_S);
    if !wanted.unwrap_or_else(|| source.is_none_or(SourceUri::is_film)) {
        if lost_after.is_some() {
            section.problem("lost_after", None, "nothing is followed here; set track = true or leave it out");
        }
        return None;
    }
    let default = Settings::default();
    Some(Settings {
        sure: confidence,
        unsure: confidence.min(UNSURE),
        lost_after: lost_after.unwrap_or(default.lost_after),
        ..default
    })
}
