//! Amounts, times and sizes as people write them.

use std::{str::FromStr, time::Duration};

use crate::geometry::Size;

/// Ten years.
const AGE_SECONDS_MAX: u64 = 3650 * 86_400;

/// `2 GB`.
pub(super) struct BytesText(pub(super) u64);

impl FromStr for BytesText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const UNITS: [(&str, u64); 6] = [
            ("kB", 1_000),
            ("MB", 1_000_000),
            ("GB", 1_000_000_000),
            ("KiB", 1 << 10),
            ("MiB", 1 << 20),
            ("GiB", 1 << 30),
        ];
        let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(split);
        let unit = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit.trim()));
        let bytes = number.parse::<u64>().ok().zip(unit).and_then(|(number, (_, unit))| number.checked_mul(*unit));
        bytes
            .filter(|bytes| *bytes > 0)
            .map(Self)
            .ok_or_else(|| format!("\"{text}\" is no amount; write a whole number with MB or GB, as in \"2 GB\""))
    }
}

/// `7 days`.
pub(super) struct AgeText(pub(super) Duration);

impl FromStr for AgeText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const UNITS: [(&str, u64); 3] = [("minute", 60), ("hour", 3600), ("day", 86_400)];
        let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(split);
        let unit = unit.trim();
        let unit = UNITS.iter().find(|(name, _)| unit == *name || unit.strip_suffix('s') == Some(*name));
        let seconds = number.parse::<u64>().ok().zip(unit).and_then(|(number, (_, unit))| number.checked_mul(*unit));
        seconds
            .filter(|seconds| (60..=AGE_SECONDS_MAX).contains(seconds))
            .map(|seconds| Self(Duration::from_secs(seconds)))
            .ok_or_else(|| {
                format!("\"{text}\" is no time up to ten years; write minutes, hours or days, as in \"7 days\"")
            })
    }
}

/// `1280x720`.
pub(super) struct SizeText(pub(super) Size);

impl FromStr for SizeText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let sides =
            text.split_once(['x', '×']).and_then(|(w, h)| Some((w.trim().parse().ok()?, h.trim().parse().ok()?)));
        match sides {
            Some((width, height)) if (1..=16_384).contains(&width) && (1..=16_384).contains(&height) => {
                Ok(Self(Size { width, height }))
            }
            _ => Err(format!("\"{text}\" is no size; write width and height as in \"1280x720\"")),
        }
    }
}
