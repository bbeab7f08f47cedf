//! Detections as YOLO labels: the lines of one picture's `labels/STEM.txt`, as `yolo predict save_txt` writes them.
//!
//! `class x_center y_center width height`, normalized by the picture's size; an outline in place of the box for
//! segmentation, four corners for oriented boxes, the keypoints behind the box for pose; then the confidence, if wanted,
//! and the track id, if there is one. A classification is `confidence name`. Numbers are written as C's `%g` does.

use std::fmt::Write;

use crate::{
    detection::{Detection, Detections, Geometry},
    geometry::{BoxPx, Size},
};

/// The lines for one picture. Empty where nothing was found: Ultralytics writes no file then.
pub fn labels(found: &Detections, with_confidence: bool) -> String {
    let mut text = String::new();
    for item in &found.items {
        if let Geometry::Image = item.geometry {
            writeln!(text, "{:.2} {}", item.confidence, item.name).expect("a string takes any text");
        } else if let Some(numbers) = numbers(item, found.size) {
            write!(text, "{}", item.class).expect("a string takes any text");
            for number in numbers.into_iter().chain(with_confidence.then_some(item.confidence)) {
                text.push(' ');
                text.push_str(&general(f64::from(number)));
            }
            if let Some(id) = item.track_id {
                text.push(' ');
                text.push_str(&general(id as f64));
            }
            text.push('\n');
        }
    }
    text
}

/// The coordinates behind the class; `None` for an outline that is no polygon, which has no line.
fn numbers(item: &Detection, size: Size) -> Option<Vec<f32>> {
    let [width, height] = [size.width as f32, size.height as f32];
    let mut numbers = Vec::new();
    match &item.geometry {
        Geometry::Image => return None,
        Geometry::Box(bounds) => numbers.extend(center_and_size(bounds, width, height)),
        Geometry::Segment { outline, .. } if outline.len() < 3 => return None,
        Geometry::Segment { outline, .. } => numbers.extend(outline.iter().flat_map(|p| [p.x / width, p.y / height])),
        Geometry::Oriented(corners) => numbers.extend(corners.iter().flat_map(|p| [p.x / width, p.y / height])),
        Geometry::Pose { bounds, keypoints } => {
            numbers.extend(center_and_size(bounds, width, height));
            for keypoint in keypoints {
                numbers.extend([keypoint.at.x / width, keypoint.at.y / height]);
                numbers.extend(keypoint.visible);
            }
        }
    }
    Some(numbers)
}

fn center_and_size(bounds: &BoxPx, width: f32, height: f32) -> [f32; 4] {
    let center = [(bounds.x1 + bounds.x2) / 2.0, (bounds.y1 + bounds.y2) / 2.0];
    [center[0] / width, center[1] / height, bounds.width() / width, bounds.height() / height]
}

/// The number as C's `%g` writes it: six significant digits, no trailing zeros, an exponent where the number is small or
/// large.
fn general(value: f64) -> String {
    const DIGITS: i32 = 6;
    if value == 0.0 || !value.is_finite() {
        return format!("{value}");
    }
    let scientific = format!("{value:.*e}", DIGITS as usize - 1);
    let (mantissa, exponent) = scientific.split_once('e').expect("the e notation has an e");
    let exponent: i32 = exponent.parse().expect("the e notation ends in a number");
    if (-4..DIGITS).contains(&exponent) {
        shortened(&format!("{value:.*}", (DIGITS - 1 - exponent) as usize)).to_owned()
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        format!("{}e{sign}{:02}", shortened(mantissa), exponent.abs())
    }
}

/// Without zeros at the end of the decimals.
fn shortened(number: &str) -> &str {
    if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number }
}

#[cfg(test)]
mod tests {
    use super::{super::samples, *};

    #[test]
    fn numbers_are_written_as_c_does() {
        // From C's printf("%g").
        for (value, text) in [
            (0.0, "0"),
            (1.0, "1"),
            (0.5, "0.5"),
            (0.123_456_789, "0.123457"),
            (0.000_123_456_789, "0.000123457"),
            (0.000_012_345_678, "1.23457e-05"),
            (123_456.0, "123456"),
            (1_234_567.0, "1.23457e+06"),
            (999_999.5, "1e+06"),
            (0.999_999_9, "1"),
            (100.0, "100"),
            (-0.25, "-0.25"),
        ] {
            assert_eq!(general(value), text);
        }
    }

    #[test]
    fn every_geometry_has_its_line() {
        let found = samples::found(vec![
            samples::boxed(),
            samples::segment(),
            samples::oriented(),
            samples::pose(Some(0.5)),
            samples::pose(None),
            samples::whole(),
        ]);
        assert_eq!(
            labels(&found, false),
            "5 0.263036 0.433917 0.473927 0.133833\n\
             0 0.05 0.383333 0.25 0.383333 0.15125 0.48375\n\
             1 0.25 0.0833333 0.375 0.166667 0.25 0.25 0.125 0.166667\n\
             0 0.263036 0.433917 0.473927 0.133833 0.075 0.4 0.5 0.1 0.416667 0.5\n\
             0 0.263036 0.433917 0.473927 0.133833 0.075 0.4 0.1 0.416667\n\
             0.99 good, \"best\"\n"
        );
    }

    #[test]
    fn confidence_and_track_come_last() {
        let tracked = Detection { track_id: Some(12), ..samples::boxed() };
        let text = labels(&samples::found(vec![tracked]), true);
        assert_eq!(text, "5 0.263036 0.433917 0.473927 0.133833 0.934692 12\n");
    }

    #[test]
    fn an_outline_of_two_points_has_no_line() {
        let geometry = Geometry::Segment { bounds: samples::BOUNDS, outline: vec![Default::default(); 2] };
        assert_eq!(labels(&samples::found(vec![samples::item(0, "a", 0.5, geometry)]), false), "");
    }
}
