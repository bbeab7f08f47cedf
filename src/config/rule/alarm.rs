//! `kind = "alarm"` and `kind = "blind"`.

use std::time::Duration;

use super::{Post, SECONDS_MAX, confidence, reported, watch};
use crate::{
    config::{section::Section, text::WhenText},
    event::Priority,
    rules::{AlarmSettings, BlindSettings, Manner, When},
};

/// So much has to be seen where nothing else is said.
const WHEN: When = When::Frames { count: 3, frames: 5 };

/// An alarm is active down to this part of the confidence that raised it.
const CLEAR_SHARE: f32 = 0.8;

/// An alarm returns when its cause was gone for so long.
const CLEAR_AFTER: Duration = Duration::from_secs(2);

/// A camera may be blind for so long before anybody is called.
const BLIND_AFTER: Duration = Duration::from_secs(2);

/// An alarm while something is seen.
pub(super) fn read(section: &mut Section, post: Post<'_>) -> AlarmSettings {
    let watch = watch(section, "classes", post);
    let when = section.parsed::<WhenText>("when").map_or(WHEN, |when| when.0);
    let raise = confidence(section, "raise", &watch.classes, post);
    let clear = section.number("clear", 0.0..=1.0);
    AlarmSettings {
        clear: clear.map_or(raise * CLEAR_SHARE, |clear| reported(section, "clear", clear, &watch.classes, post)),
        watch,
        when,
        raise,
        clear_after: section.seconds("clear_after", 0.0..=SECONDS_MAX).unwrap_or(CLEAR_AFTER),
        manner: manner(section),
    }
}

/// An alarm while the camera is blind or away.
pub(super) fn read_blind(section: &mut Section) -> BlindSettings {
    let after = section.seconds("after", 0.0..=SECONDS_MAX).unwrap_or(BLIND_AFTER);
    BlindSettings { after, manner: manner(section) }
}

fn manner(section: &mut Section) -> Manner {
    let default = Manner::default();
    Manner {
        hold: section.seconds("hold", 0.0..=SECONDS_MAX).unwrap_or(default.hold),
        cooldown: section.seconds("cooldown", 0.0..=SECONDS_MAX).unwrap_or(default.cooldown),
        latch: section.boolean("latch").unwrap_or(default.latch),
        priority: section
            .word("priority", &Priority::ALL.map(|priority| (priority.name(), priority)))
            .unwrap_or(default.priority),
    }
}
