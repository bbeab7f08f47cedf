//! Whether anything can be seen in a camera's pictures: the picture stands still, is dark, over-exposed, without structure,
//! no longer sharp, or shows another place.
//!
//! Pure: `now` is an argument. A reason has to hold for a while before it counts, and its end for a moment, so that a part
//! that passes close to the lens or a lamp that flickers says nothing. Limits are such that a camera that can still tell
//! things apart is not called blind; a line whose pictures are meant to look like that turns the check off.

use std::time::{Duration, Instant};

use super::{
    RgbImage,
    glance::{Glance, Sameness, glance},
    scenery::Scenery,
};

/// Dark: not one pixel in 200 is brighter than this, in levels of 0 to 255. It ends above the second.
const DARK_LEVEL: [u8; 2] = [24, 32];

/// Over-exposed: all but 5 % of the pixels are at least so bright. It ends below the second.
const BRIGHT_LEVEL: [u8; 2] = [250, 244];

/// Covered: the brightest and the darkest pixels, 0.5 % left out at either end, differ by no more than this. It ends above
/// the second.
const COVERED_CONTRAST: [u8; 2] = [8, 14];

/// Out of focus: the sharpness has fallen below this part of what the camera showed before. It ends above the second.
const BLURRED_PART: [f32; 2] = [0.25, 0.4];

/// A picture is compared with the sharpness before once so many have been looked at.
const SHARP_PICTURES_MIN: u32 = 50;

/// What is known of the sharpness follows sharper pictures within about the first time, so that a label close to the lens
/// for some seconds does not make the usual picture a blurred one, and less sharp ones within about the second, since who
/// turns the lens slowly must not be followed. Blurred pictures count, too: a false alarm ends by itself after hours.
const FOLLOWS_WITHIN: [Duration; 2] = [Duration::from_secs(5 * 60), Duration::from_secs(2 * 3600)];

/// However long no picture came, the next one counts for no longer than this.
const COUNTS_FOR_MAX: Duration = Duration::from_secs(10);

/// How long pictures have to be dark, over-exposed or without structure.
const UNLIT_FOR: Duration = Duration::from_secs(3);

/// How long they have to be blurred.
const BLURRED_FOR: Duration = Duration::from_secs(10);

/// How long the camera has to look elsewhere.
const MOVED_FOR: Duration = Duration::from_secs(10);

/// How long a reason has to be gone.
const GONE_FOR: Duration = Duration::from_secs(1);

/// However slowly pictures come, so many in a row have to show a reason, and to show it gone.
const PICTURES_MIN: [u32; 2] = [5, 2];

/// Why nothing can be seen, first the one that explains the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blindness {
    /// Hardly any light.
    Dark,
    /// Nearly all of it is white.
    Bright,
    /// No structure.
    Covered,
    /// The same picture again and again.
    Frozen,
    /// Far less sharp than before. What stays so for hours becomes what the camera is known for, and is no longer told,
    /// whether the product is another one or the lens is dirty.
    Blurred,
    /// It looks elsewhere than before.
    Moved,
}

impl Blindness {
    /// What a configuration calls it, and all there are.
    pub const NAMES: [(&str, Self); 6] = [
        ("dark", Self::Dark),
        ("bright", Self::Bright),
        ("covered", Self::Covered),
        ("frozen", Self::Frozen),
        ("blurred", Self::Blurred),
        ("moved", Self::Moved),
    ];

    /// What is wrong and what to do.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Dark => "its picture is dark; check the light, the lens cap and the exposure",
            Self::Bright => "its picture is over-exposed; check the light and the exposure",
            Self::Covered => "its picture shows nothing but one even area; check whether something covers the lens",
            Self::Frozen => "the same picture comes again and again; restart the camera or the program that reads it",
            Self::Blurred => "its picture is far less sharp than before; clean the lens and check its focus",
            Self::Moved => "it looks elsewhere than before; turn it back, or start andon again where that is meant",
        }
    }
}

/// Which reasons a camera's pictures are watched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checks {
    watched: [bool; Blindness::NAMES.len()],
    frozen_for: Duration,
}

impl Checks {
    /// Watches for these; a picture that does not change counts as frozen after a while that depends on the source.
    pub fn new(reasons: impl IntoIterator<Item = Blindness>, frozen_for: Duration) -> Self {
        let mut watched = [false; Blindness::NAMES.len()];
        for reason in reasons {
            watched[reason as usize] = true;
        }
        Self { watched, frozen_for }
    }

    /// Watches for nothing: what files and simulations show is meant to be so.
    pub fn none() -> Self {
        Self::new([], Duration::ZERO)
    }
}

/// What is known of one camera's pictures.
#[derive(Clone, Debug)]
pub struct Visibility {
    checks: Checks,
    latches: [Latch; Blindness::NAMES.len()],
    sameness: Sameness,
    /// What the camera's sharpness has been, and out of how many pictures that is known.
    sharpness: (f32, u32),
    /// When the last picture came from which that was learned.
    sharpness_at: Option<Instant>,
    /// What stands still before the camera.
    scenery: Scenery,
}

impl Visibility {
    /// A camera whose pictures were not looked at yet.
    pub fn new(checks: Checks) -> Self {
        let latch = |(_, reason): (&str, Blindness)| {
            Latch::new(match reason {
                Blindness::Dark | Blindness::Bright | Blindness::Covered => UNLIT_FOR,
                Blindness::Frozen => checks.frozen_for,
                Blindness::Blurred => BLURRED_FOR,
                Blindness::Moved => MOVED_FOR,
            })
        };
        Self {
            checks,
            latches: Blindness::NAMES.map(latch),
            sameness: Sameness::default(),
            sharpness: (0.0, 0),
            sharpness_at: None,
            scenery: Scenery::new(),
        }
    }

    /// Looks at the next picture; says why nothing can be seen and since when, if so.
    pub fn look(&mut self, picture: &RgbImage, now: Instant) -> Option<(Blindness, Instant)> {
        if self.checks.watched == [false; Blindness::NAMES.len()] {
            return None;
        }
        let seen = glance(picture)?;
        for (_, reason) in Blindness::NAMES {
            let found = self.checks.watched[reason as usize].then(|| self.find(reason, picture, &seen, now)).flatten();
            if let Some(found) = found {
                self.latches[reason as usize].step(found, now);
            }
        }
        Blindness::NAMES.into_iter().find_map(|(_, reason)| Some((reason, self.latches[reason as usize].since?)))
    }

    /// Whether a picture shows a reason; `None` where it does not tell.
    fn find(&mut self, reason: Blindness, picture: &RgbImage, seen: &Glance, now: Instant) -> Option<bool> {
        // Which of the two limits counts: that of the beginning, or that of the end.
        let limit = usize::from(self.latches[reason as usize].since.is_some());
        match reason {
            Blindness::Dark => Some(seen.high <= DARK_LEVEL[limit]),
            Blindness::Bright => Some(seen.mostly_above >= BRIGHT_LEVEL[limit]),
            Blindness::Covered => Some(seen.high - seen.low <= COVERED_CONTRAST[limit]),
            Blindness::Frozen => Some(self.sameness.is_repeated(picture, seen)),
            Blindness::Blurred => self.is_blurred(seen.sharpness?, BLURRED_PART[limit], now),
            Blindness::Moved => self.scenery.is_moved(picture, limit, now),
        }
    }

    /// Compares with what the camera showed before, and learns from it.
    fn is_blurred(&mut self, sharpness: f32, part: f32, now: Instant) -> Option<bool> {
        let before = self.sharpness_at.replace(now).unwrap_or(now);
        let (usual, pictures) = &mut self.sharpness;
        if *pictures < SHARP_PICTURES_MIN {
            // First the mean of all.
            *pictures += 1;
            *usual += (sharpness - *usual) / *pictures as f32;
            return None;
        }
        let is_blurred = sharpness < *usual * part;
        let within = FOLLOWS_WITHIN[usize::from(sharpness < *usual)];
        let counts_for = now.saturating_duration_since(before).min(COUNTS_FOR_MAX);
        *usual += (sharpness - *usual) * counts_for.div_duration_f32(within);
        Some(is_blurred)
    }
}

/// A reason that holds once it was shown for long enough, until it was gone for long enough.
#[derive(Clone, Copy, Debug)]
struct Latch {
    after: Duration,
    /// Since when it holds, if it does: from the first of the pictures that showed it.
    since: Option<Instant>,
    /// Since when, and in how many pictures in a row, the opposite was shown.
    turning: Option<(Instant, u32)>,
}

impl Latch {
    fn new(after: Duration) -> Self {
        Self { after, since: None, turning: None }
    }

    fn step(&mut self, found: bool, now: Instant) {
        if found == self.since.is_some() {
            self.turning = None;
            return;
        }
        let (began, pictures) = self.turning.map_or((now, 1), |(began, pictures)| (began, pictures + 1));
        self.turning = Some((began, pictures));
        let (after, pictures_min) = if found { (self.after, PICTURES_MIN[0]) } else { (GONE_FOR, PICTURES_MIN[1]) };
        if pictures >= pictures_min && now.saturating_duration_since(began) >= after {
            self.since = found.then_some(began);
            self.turning = None;
        }
    }
}

#[cfg(test)]
mod tests;
