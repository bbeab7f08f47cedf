//! Amounts, times and sizes as people write them.

use std::{str::FromStr, time::Duration};

use crate::{
    geometry::Size,
    rules::{RejectAfter, When},
};

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

/// `3 of 5 frames`, or `3 in 60 s`.
pub(super) struct WhenText(pub(super) When);

impl FromStr for WhenText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let frames = || {
            let (count, frames) = text.trim().trim_end_matches("frames").split_once(" of ")?;
            Some(When::Frames { count: count.trim().parse().ok()?, frames: frames.trim().parse().ok()? })
        };
        let within = || {
            let (count, span) = text.split_once(" in ")?;
            Some(When::Within { count: count.trim().parse().ok()?, span: span_of(span)? })
        };
        let what =
            || format!("\"{text}\" does not say how much has to be seen; write \"3 of 5 frames\" or \"3 in 60 s\"");
        frames().or_else(within).map(Self).ok_or_else(what)
    }
}

/// `350 ms`, or `120 ticks`.
pub(super) struct RejectText(pub(super) RejectAfter);

impl FromStr for RejectText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let ticks = || text.trim().strip_suffix("ticks")?.trim().parse().ok().map(RejectAfter::Ticks);
        let what = || format!("\"{text}\" is no way to the gate; write \"350 ms\", \"1.5 s\" or \"120 ticks\"");
        ticks().or_else(|| span_of(text).map(RejectAfter::Time)).map(Self).ok_or_else(what)
    }
}

/// `06:00`: a time of the day, since midnight.
pub(super) struct ClockText(pub(super) Duration);

impl FromStr for ClockText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let two = |digits: &str| digits.parse::<u64>().ok().filter(|_| digits.len() == 2 && !digits.starts_with('+'));
        let time = || {
            let (hours, minutes) = text.split_once(':')?;
            let (hours, minutes) = (two(hours)?, two(minutes)?);
            (hours < 24 && minutes < 60).then(|| Duration::from_secs(hours * 3600 + minutes * 60))
        };
        time()
            .map(Self)
            .ok_or_else(|| format!("\"{text}\" is no time of the day; write hours and minutes as in \"06:00\""))
    }
}

/// A number with `ms`, `s` or `min`, up to a day.
fn span_of(text: &str) -> Option<Duration> {
    const UNITS: [(&str, f64); 3] = [("ms", 0.001), ("s", 1.0), ("min", 60.0)];
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(split);
    let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit.trim())?;
    let seconds = number.parse::<f64>().ok()? * scale;
    (seconds <= 86_400.0).then(|| Duration::from_micros((seconds * 1e6).round() as u64))
}
