//! One label file: a line for each object.
//!
//! A line is `class cx cy width height`, in parts of the picture's width and height; or `class x1 y1 x2 y2 x3 y3 …`, the
//! corners of an outline or of an oriented box, of which the box around it is taken; or, in datasets with keypoints, a box
//! and its keypoints, of which the box is taken. What is accepted is what Ultralytics accepts, a hundredth beyond the
//! picture's edge included; what is not is an error here, where Ultralytics leaves the picture out.

use std::collections::HashSet;

use crate::{
    detection::Label,
    geometry::{BoxPx, Size},
};

/// How far coordinates may lie outside the picture, in parts of it.
const SLACK: f32 = 0.01;

/// One object of a picture whose size is not known yet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Object {
    /// Index of the class in the dataset's list.
    pub class: usize,
    /// Middle of the box, in parts of the picture's width and height.
    pub center: [f32; 2],
    /// Width and height of the box, in the same.
    pub size: [f32; 2],
}

impl Object {
    /// The object in the pixels of a picture.
    pub fn label(&self, picture: Size) -> Label {
        let [width, height] = [picture.width as f32, picture.height as f32];
        let [cx, cy] = self.center;
        let [w, h] = self.size;
        Label { class: self.class, bounds: BoxPx::from_center(cx * width, cy * height, w * width, h * height) }
    }

    /// Whether the box sticks out of the picture by more than rounding explains.
    pub(super) fn sticks_out(&self) -> bool {
        let out = |axis: usize| {
            let half = self.size[axis] / 2.0;
            self.center[axis] - half < -SLACK || self.center[axis] + half > 1.0 + SLACK
        };
        out(0) || out(1)
    }
}

/// Label files that cannot be used, a sentence for each.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct BadLabels(pub Vec<String>);

/// What a dataset says about its label files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rules {
    /// How many classes there are, where it is known.
    pub(super) classes: Option<usize>,
    /// Numbers behind the box that belong to keypoints.
    pub(super) keypoint_numbers: usize,
}

/// The objects of one file, equal lines once.
///
/// # Errors
/// The first line that cannot be used, as its number from 1 and what is wrong with it and what to do.
pub(super) fn parse(text: &str, rules: Rules) -> Result<Vec<Object>, (usize, String)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines: Vec<(usize, Vec<&str>)> = (1..)
        .zip(text.lines())
        .map(|(number, line)| (number, line.split_whitespace().collect::<Vec<_>>()))
        .filter(|(_, fields)| !fields.is_empty())
        .collect();
    let is_pose = |fields: &[&str]| rules.keypoint_numbers > 0 && fields.len() == 5 + rules.keypoint_numbers;
    let is_outline = |fields: &[&str]| fields.len() > 6 && !is_pose(fields);
    // One outline makes the file one of outlines.
    let outlines = lines.iter().any(|(_, fields)| is_outline(fields));
    let mut seen = HashSet::new();
    let mut objects = Vec::new();
    for (number, fields) in lines {
        let at = |why| (number, why);
        let numbers = numbers(&fields).map_err(at)?;
        let pose = is_pose(&fields);
        let object = if outlines && !pose { outlined(&numbers) } else { boxed(&numbers, pose) }.map_err(at)?;
        if let Some(classes) = rules.classes
            && object.class >= classes
        {
            let last = classes.saturating_sub(1);
            let range = if last == 0 { "the class 0".to_owned() } else { format!("the classes 0 to {last}") };
            return Err((
                number,
                format!("there is no class {}; the dataset has {range}, correct the line or names", object.class),
            ));
        }
        let bits: Vec<u32> = numbers.iter().map(|number| number.to_bits()).collect();
        if seen.insert(bits) {
            objects.push(object);
        }
    }
    Ok(objects)
}

fn numbers(fields: &[&str]) -> Result<Vec<f32>, String> {
    let number = |field: &&str| match field.parse::<f32>() {
        Ok(number) if number.is_finite() => Ok(number),
        _ => Err(format!("{field:?} is no number; a line is: class cx cy width height")),
    };
    fields.iter().map(number).collect()
}

fn class(number: f32) -> Result<usize, String> {
    const CLASSES_MAX: f32 = 1e6;
    if number < 0.0 || number.fract() != 0.0 || number > CLASSES_MAX {
        return Err(format!("the class is {number}; classes are whole numbers from 0 up"));
    }
    Ok(number as usize)
}

fn boxed(numbers: &[f32], pose: bool) -> Result<Object, String> {
    let &[class_number, cx, cy, w, h, ..] = numbers else {
        return Err(format!("the line has {} numbers; it takes five: class cx cy width height", numbers.len()));
    };
    if numbers.len() == 6 {
        return Err("the line has 6 numbers; labels have no confidence: class cx cy width height".to_owned());
    }
    let points = if pose { &numbers[1..5] } else { &numbers[1..] };
    inside(points)?;
    if w < 0.0 || h < 0.0 {
        return Err(format!("the box is {w} × {h}; width and height are 0 or more"));
    }
    Ok(Object { class: class(class_number)?, center: [cx, cy], size: [w, h] })
}

/// The box around an outline.
fn outlined(numbers: &[f32]) -> Result<Object, String> {
    let (class_number, points) = (numbers[0], &numbers[1..]);
    if points.len() < 6 || !points.len().is_multiple_of(2) {
        return Err(format!(
            "the line has {} numbers, but others of the file are outlines: class x1 y1 x2 y2 x3 y3 …; use one form",
            numbers.len()
        ));
    }
    inside(points)?;
    let along = |axis: usize| {
        let values = || points.iter().skip(axis).step_by(2).copied();
        (values().fold(f32::INFINITY, f32::min), values().fold(f32::NEG_INFINITY, f32::max))
    };
    let ((x1, x2), (y1, y2)) = (along(0), along(1));
    let (center, size) = ([(x1 + x2) / 2.0, (y1 + y2) / 2.0], [x2 - x1, y2 - y1]);
    Ok(Object { class: class(class_number)?, center, size })
}

fn inside(points: &[f32]) -> Result<(), String> {
    match points.iter().find(|point| !(-SLACK..=1.0 + SLACK).contains(*point)) {
        None => Ok(()),
        Some(point) => {
            Err(format!("{point} lies outside the picture; coordinates are parts of its width and height, from 0 to 1"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules { classes: Some(3), keypoint_numbers: 0 };

    fn boxes(text: &str, rules: Rules) -> Vec<(usize, [f32; 4])> {
        let flat =
            |object: &Object| (object.class, [object.center[0], object.center[1], object.size[0], object.size[1]]);
        parse(text, rules).unwrap().iter().map(flat).collect()
    }

    #[test]
    fn boxes_outlines_and_poses_are_boxes() {
        assert_eq!(
            boxes("\u{feff}1 0.5 0.25 1 0.5\r\n\n2.0 0 0 .5 .5", RULES),
            [(1, [0.5, 0.25, 1.0, 0.5]), (2, [0.0, 0.0, 0.5, 0.5]),]
        );
        assert_eq!(boxes("0 0.25 0.5 0.75 0.5 0.5 1", RULES), [(0, [0.5, 0.75, 0.5, 0.5])]);
        let oriented = "2 0.5 0 1 0.5 0.5 1 0 0.5";
        assert_eq!(boxes(oriented, RULES), [(2, [0.5, 0.5, 1.0, 1.0])]);
        let pose = Rules { keypoint_numbers: 6, ..RULES };
        assert_eq!(boxes("0 0.5 0.5 1 1 9 9 2 0 0 0", pose), [(0, [0.5, 0.5, 1.0, 1.0])]);
        assert_eq!(boxes("", RULES), []);
    }

    #[test]
    fn equal_lines_count_once() {
        assert_eq!(boxes("0 0.5 0.5 1 1\n0 0.50 0.5 1 1.0\n1 0.5 0.5 1 1", RULES).len(), 2);
        // The same box around another outline is another object.
        assert_eq!(boxes("0 0 0 1 0 1 1\n0 0 0 1 1 0 1", RULES).len(), 2);
    }

    #[test]
    fn what_cannot_be_used_says_where_and_why() {
        let pose = Rules { keypoint_numbers: 6, ..RULES };
        for (text, rules, line, part) in [
            ("0 0.5 0.5 1 1\n3 0.5 0.5 1 1", RULES, 2, "there is no class 3; the dataset has the classes 0 to 2"),
            ("1 .5 .5 1 1", Rules { classes: Some(1), ..RULES }, 1, "the dataset has the class 0"),
            ("0 1.5 0.5 1 1", RULES, 1, "1.5 lies outside"),
            ("\n0 320 240 64 64", RULES, 2, "320 lies outside"),
            ("0 -0.2 0.5 1 1", RULES, 1, "-0.2 lies outside"),
            ("0 0.5 0.5 -0.005 1", RULES, 1, "the box is -0.005 × 1"),
            ("0 0.5 0.5 1", RULES, 1, "4 numbers"),
            ("0 0.5 0.5 1 1 0.9", RULES, 1, "no confidence"),
            ("open 0.5 0.5 1 1", RULES, 1, "\"open\" is no number"),
            ("0 0.5 NaN 1 1", RULES, 1, "\"NaN\" is no number"),
            ("-1 0.5 0.5 1 1", RULES, 1, "whole numbers"),
            ("0.5 0.5 0.5 1 1", RULES, 1, "whole numbers"),
            ("0 0 0 1 0 1 1\n0 0.5 0.5 1 1", RULES, 2, "use one form"),
            ("0 0 0 1 0 1 1 0.5", RULES, 1, "8 numbers"),
            ("0 0 0 1 0 1 1.2", RULES, 1, "1.2 lies outside"),
            ("0 0.5 1.5 1 1 0 0 2 0 0 0", pose, 1, "1.5 lies outside"),
        ] {
            let (number, why) = parse(text, rules).unwrap_err();
            assert!(number == line && why.contains(part), "{text:?}: {number}: {why}");
        }
    }

    #[test]
    fn a_little_beyond_the_edge_is_rounding() {
        let object = |text| parse(text, RULES).unwrap()[0];
        assert_eq!(object("0 1.005 -0.005 0.5 0.5").center, [1.005, -0.005]);
        assert!(object("0 0.9 0.5 0.5 0.5").sticks_out());
        assert!(!object("0 0.75 0.5 0.51 1").sticks_out());
    }

    #[test]
    fn labels_are_in_pixels() {
        let object = parse("1 0.5 0.25 0.5 0.5", RULES).unwrap()[0];
        let label = object.label(Size { width: 200, height: 100 });
        assert_eq!(label, Label { class: 1, bounds: BoxPx { x1: 50.0, y1: 0.0, x2: 150.0, y2: 50.0 } });
    }
}
