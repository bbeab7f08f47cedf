//! `[[camera]] blind`: what makes a camera blind, beside frames that arrive damaged.

use std::time::Duration;

use super::section::Section;
use crate::{
    capture::SourceUri,
    vision::{Blindness, Checks},
};

/// A picture that stays the same for so long, pixel by pixel, no sensor takes.
const FROZEN_FOR_SENSOR: Duration = Duration::from_secs(10);

/// Video that is compressed over time may repeat a still picture exactly until its next key frame: that of a network camera,
/// and that which a program or a server makes pictures of.
const FROZEN_FOR_VIDEO: Duration = Duration::from_secs(30);

/// Reads the key; without it all is watched for, and nothing where no camera stands behind the source.
pub(super) fn read(section: &mut Section, source: Option<&SourceUri>) -> Checks {
    let origin = section.origin_of("blind");
    let words = section.texts("blind");
    let Some(source) = source else { return Checks::none() };
    if !source.is_live() {
        if words.is_some_and(|words| !words.is_empty()) {
            let what = "only pictures of a camera are watched, and this source is none; leave the key out";
            section.problem("blind", origin.as_ref(), what);
        }
        return Checks::none();
    }
    let mut reasons = Vec::with_capacity(Blindness::NAMES.len());
    for (name, reason) in Blindness::NAMES {
        if words.as_ref().is_none_or(|words| words.iter().any(|word| word == name)) {
            reasons.push(reason);
        }
    }
    let known = Blindness::NAMES.map(|(name, _)| name);
    for word in words.iter().flatten().filter(|word| !known.contains(&word.as_str())) {
        section.problem("blind", origin.as_ref(), format!("\"{word}\" is not one of {}", known.join(", ")));
    }
    let frozen_for = if matches!(source, SourceUri::V4l2(_)) { FROZEN_FOR_SENSOR } else { FROZEN_FOR_VIDEO };
    Checks::new(reasons, frozen_for)
}
