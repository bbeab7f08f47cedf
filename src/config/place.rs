//! Zones and lines as `[[rule]]` states them: points `[x, y]`, either all of them parts of the picture or all in pixels.

use super::section::Section;
use crate::{
    geometry::Point,
    rules::{Anchor, Line, Towards, Unit, Zone},
};

/// No picture is larger.
const COORDINATE_MAX: f64 = 16_384.0;

/// Width of a line's band where none is given, in parts of the frame's smaller side,
const BAND_RELATIVE: f32 = 0.02;

/// and in pixels.
const BAND_PIXELS: f32 = 10.0;

/// What may be said about a line, beside where it lies.
const LINE_KEYS: [&str; 2] = ["band", "direction"];

/// A polygon.
pub(super) fn zone(section: &mut Section) -> Option<Zone> {
    let (corners, unit) = points(section, "zone")?;
    Some(Zone { corners, unit })
}

/// A line, with its band and its direction.
pub(super) fn line(section: &mut Section) -> Option<Line> {
    let ends = points(section, "line");
    let relative = ends.as_ref().is_none_or(|(_, unit)| *unit == Unit::Relative);
    let (widest, usual) = if relative { (1.0, BAND_RELATIVE) } else { (COORDINATE_MAX, BAND_PIXELS) };
    let band = section.number("band", 0.0..=widest).map_or(usual, |width| width as f32);
    section.needs("direction", "say which way is in: left, right, up or down");
    let inward = section.word("direction", &Towards::NAMES);
    let (ends, unit) = ends?;
    let &[from, to] = ends.as_slice() else {
        section.problem("line", None, "a line has two ends; write [[x, y], [x, y]]");
        return None;
    };
    Some(Line { from, to, band, unit, inward: inward? })
}

/// Says of the keys of a line that they mean nothing here.
pub(super) fn without_line(section: &mut Section, why: &str) {
    section.misplaced("line", why);
    for key in LINE_KEYS {
        section.misplaced(key, why);
    }
}

/// The point of a box that tells where the thing is.
pub(super) fn anchor(section: &mut Section) -> Anchor {
    section.word("anchor", &Anchor::NAMES).unwrap_or_default()
}

/// Points and what their coordinates mean: all within 0 and 1 are parts of the picture.
fn points(section: &mut Section, key: &'static str) -> Option<(Vec<Point>, Unit)> {
    let points = section.points(key, 0.0..=COORDINATE_MAX)?;
    let all = || points.iter().flatten();
    let unit = if all().all(|coordinate| *coordinate <= 1.0) { Unit::Relative } else { Unit::Pixels };
    if unit == Unit::Pixels && all().any(|coordinate| *coordinate > 0.0 && *coordinate < 1.0) {
        let what = "it mixes pixels with parts of the picture; write all between 0 and 1, or all in pixels";
        section.problem(key, None, what);
        return None;
    }
    let points = points.iter().map(|&[x, y]| Point { x: x as f32, y: y as f32 }).collect();
    Some((points, unit))
}
