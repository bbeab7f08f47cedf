//! Detections drawn on a picture, for people to look at, and the picture saved; and charts of curves.
//!
//! One colour a class, the same in every picture. What is surest is drawn last, on top. Nothing here decides what is
//! worth drawing: it draws what it is given.

mod canvas;
pub mod chart;
mod save;
mod strip;
mod text;

pub use save::{jpeg, save};
pub use strip::{Shot, strip};

use canvas::{Canvas, Rgb};
use text::Font;

use crate::{
    detection::{Detection, Geometry, Keypoint},
    geometry::{BoxPx, Point},
    vision::RgbImage,
};

/// Colours that people with any kind of colour vision tell apart: Okabe and Ito's (2008) without black, then Paul Tol's.
const PALETTE: [Rgb; 12] = [
    [0xd5, 0x5e, 0x00],
    [0x56, 0xb4, 0xe9],
    [0xf0, 0xe4, 0x42],
    [0x00, 0x9e, 0x73],
    [0xcc, 0x79, 0xa7],
    [0x00, 0x72, 0xb2],
    [0xe6, 0x9f, 0x00],
    [0xee, 0x33, 0x77],
    [0x44, 0xaa, 0x99],
    [0xaa, 0x44, 0x99],
    [0xdd, 0xcc, 0x77],
    [0x33, 0x22, 0x88],
];

/// Joints of the 17 keypoints of COCO's persons that are connected.
const COCO_SKELETON: [(usize, usize); 19] = [
    (15, 13),
    (13, 11),
    (16, 14),
    (14, 12),
    (11, 12),
    (5, 11),
    (6, 12),
    (5, 6),
    (5, 7),
    (6, 8),
    (7, 9),
    (8, 10),
    (1, 2),
    (0, 1),
    (0, 2),
    (1, 3),
    (2, 4),
    (3, 5),
    (4, 6),
];

/// Keypoints that the model is less sure to be visible are left out, as Ultralytics does.
const VISIBLE_MIN: f32 = 0.5;

/// At most so many classes of a classification are written.
const CLASSES_MAX: usize = 5;

/// Draws detections, best first as they come, with widths and letters that suit the size of the picture.
pub fn draw(picture: &mut RgbImage, detections: &[Detection]) {
    let side = (picture.width + picture.height) as f32 / 2.0;
    let width = (side * 0.003).round().max(2.0);
    let font = Font::for_picture(side);
    let mut canvas = Canvas::new(picture);
    for detection in detections.iter().rev() {
        draw_shape(&mut canvas, detection, width);
    }
    let mut taken = Vec::new();
    let mut classes = 0;
    let labels: Vec<_> = detections
        .iter()
        .filter_map(|detection| {
            let at = match detection.bounds() {
                Some(bounds) => place_label(&canvas, font.label_size(&label(detection)), bounds, width, &taken),
                None => {
                    classes += 1;
                    let line = classes as f32 - 1.0;
                    (classes <= CLASSES_MAX).then(|| Point { x: width, y: width + line * font.label_size("").1 })?
                }
            };
            let (w, h) = font.label_size(&label(detection));
            taken.push(BoxPx { x1: at.x, y1: at.y, x2: at.x + w, y2: at.y + h });
            Some((detection, at))
        })
        .collect();
    for (detection, at) in labels.into_iter().rev() {
        font.draw_label(&mut canvas, &label(detection), at, color(detection.class));
    }
}

/// The colour of a class.
fn color(class: usize) -> Rgb {
    PALETTE[class % PALETTE.len()]
}

fn label(detection: &Detection) -> String {
    match detection.track_id {
        Some(id) => format!("{} #{id} {:.2}", detection.name, detection.confidence),
        None => format!("{} {:.2}", detection.name, detection.confidence),
    }
}

fn draw_shape(canvas: &mut Canvas<'_>, detection: &Detection, width: f32) {
    let color = color(detection.class);
    match &detection.geometry {
        Geometry::Image => {}
        Geometry::Box(bounds) => canvas.rectangle(*bounds, width, color),
        Geometry::Segment { bounds, outline } => {
            canvas.fill_polygon(outline, color, 0.35);
            canvas.polygon(outline, width, color);
            canvas.rectangle(*bounds, (width / 2.0).max(1.0), color);
        }
        Geometry::Pose { bounds, keypoints } => {
            canvas.rectangle(*bounds, width, color);
            draw_keypoints(canvas, keypoints, width, color);
        }
        Geometry::Oriented(corners) => canvas.polygon(corners, width, color),
    }
}

fn draw_keypoints(canvas: &mut Canvas<'_>, keypoints: &[Keypoint], width: f32, color: Rgb) {
    // Models without visibility say "not there" with the origin.
    let visible =
        |point: &&Keypoint| point.visible.map_or(point.at != Point::default(), |visible| visible >= VISIBLE_MIN);
    if keypoints.len() == 17 {
        for (a, b) in COCO_SKELETON {
            let [a, b] = [a, b].map(|i| keypoints.get(i).filter(visible));
            if let (Some(a), Some(b)) = (a, b) {
                canvas.line(a.at, b.at, width, color);
            }
        }
    }
    for point in keypoints.iter().filter(visible) {
        canvas.line(point.at, point.at, width * 3.0, [255; 3]);
        canvas.line(point.at, point.at, width * 2.0, color);
    }
}

/// Above the box where there is room and no other label, else inside it, else below it.
fn place_label(canvas: &Canvas<'_>, (w, h): (f32, f32), bounds: BoxPx, width: f32, taken: &[BoxPx]) -> Point {
    let (right, bottom) = canvas.size();
    let x = (bounds.x1 - width / 2.0).min(right - w).max(0.0);
    let places = [bounds.y1 - h, bounds.y1 + width / 2.0, bounds.y2, bounds.y2 - h - width / 2.0, bounds.y1 + h];
    let places = places.map(|y| Point { x, y: y.min(bottom - h).max(0.0) });
    let free = |at: &Point| {
        let place = BoxPx { x1: at.x, y1: at.y, x2: at.x + w, y2: at.y + h };
        taken.iter().all(|other| place.iou(other) == 0.0)
    };
    let inside = |at: &Point| at.y + h <= bounds.y1 || at.y >= bounds.y1;
    places
        .iter()
        .find(|at| inside(at) && free(at))
        .or_else(|| places.iter().find(|at| free(at)))
        .copied()
        .unwrap_or(places[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grey(width: u32, height: u32) -> RgbImage {
        RgbImage { width, height, data: vec![90; (width * height * 3) as usize] }
    }

    fn detection(class: usize, geometry: Geometry) -> Detection {
        Detection { class, name: "scratch".into(), confidence: 0.934, geometry, track_id: None }
    }

    fn pixel(picture: &RgbImage, x: u32, y: u32) -> Rgb {
        let at = (y * picture.width + x) as usize * 3;
        [picture.data[at], picture.data[at + 1], picture.data[at + 2]]
    }

    #[test]
    fn a_box_has_its_classs_colour_on_its_edge_and_none_inside() {
        let mut picture = grey(320, 240);
        let bounds = BoxPx { x1: 100.0, y1: 80.0, x2: 250.0, y2: 200.0 };
        draw(&mut picture, &[detection(1, Geometry::Box(bounds))]);
        for (x, y) in [(100, 140), (250, 140), (180, 200)] {
            assert_eq!(pixel(&picture, x, y), PALETTE[1], "at {x}, {y}");
        }
        assert_eq!(pixel(&picture, 180, 150), [90; 3]);
        assert_eq!(pixel(&picture, 50, 150), [90; 3]);
        // The label stands above the box.
        assert_eq!(pixel(&picture, 101, 70), PALETTE[1]);
        assert_eq!(label(&detection(1, Geometry::Image)), "scratch 0.93");
    }

    #[test]
    fn shapes_outside_the_picture_and_without_numbers_are_no_trouble() {
        let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -1e30, 1e30, -50.0, 30.0];
        for size in [(0, 0), (1, 1), (40, 30)] {
            let mut picture = grey(size.0, size.1);
            for a in odd {
                for b in odd {
                    let bounds = BoxPx { x1: a, y1: b, x2: b, y2: a };
                    let corner = Point { x: a, y: b };
                    let corners = [corner, Point { x: b, y: 3.0 }, Point { x: 7.0, y: a }, corner];
                    let keypoints = vec![Keypoint { at: corner, visible: Some(0.9) }; 17];
                    draw(
                        &mut picture,
                        &[
                            detection(0, Geometry::Box(bounds)),
                            detection(1, Geometry::Segment { bounds, outline: corners.to_vec() }),
                            detection(2, Geometry::Pose { bounds, keypoints }),
                            detection(3, Geometry::Oriented(corners)),
                            detection(usize::MAX, Geometry::Image),
                        ],
                    );
                }
            }
        }
    }

    #[test]
    fn labels_do_not_cover_each_other_where_there_is_room() {
        let mut picture = grey(640, 480);
        let canvas = Canvas::new(&mut picture);
        let bounds = BoxPx { x1: 100.0, y1: 100.0, x2: 300.0, y2: 300.0 };
        let first = place_label(&canvas, (80.0, 20.0), bounds, 2.0, &[]);
        let taken = BoxPx { x1: first.x, y1: first.y, x2: first.x + 80.0, y2: first.y + 20.0 };
        let second = place_label(&canvas, (80.0, 20.0), bounds, 2.0, &[taken]);
        assert!((first.y - second.y).abs() >= 20.0, "{first:?} {second:?}");
        let top = place_label(&canvas, (80.0, 20.0), BoxPx { y1: 5.0, x1: 600.0, ..bounds }, 2.0, &[]);
        assert!(top.y >= 5.0 && top.x + 80.0 <= 640.0, "{top:?}");
    }

    #[test]
    fn an_outline_is_filled_lightly_and_keypoints_are_dots() {
        let mut picture = grey(320, 240);
        let bounds = BoxPx { x1: 100.0, y1: 80.0, x2: 250.0, y2: 200.0 };
        let outline = [(100.0, 80.0), (250.0, 80.0), (250.0, 200.0)].map(|(x, y)| Point { x, y }).to_vec();
        draw(&mut picture, &[detection(0, Geometry::Segment { bounds, outline })]);
        let inside = pixel(&picture, 230, 140);
        assert!(inside != [90; 3] && inside != PALETTE[0], "{inside:?}");
        assert_eq!(pixel(&picture, 120, 180), [90; 3]);
        let mut picture = grey(320, 240);
        let keypoints = vec![
            Keypoint { at: Point { x: 150.0, y: 120.0 }, visible: Some(0.9) },
            Keypoint { at: Point { x: 200.0, y: 120.0 }, visible: Some(0.1) },
        ];
        draw(&mut picture, &[detection(0, Geometry::Pose { bounds, keypoints })]);
        assert_eq!((pixel(&picture, 150, 120), pixel(&picture, 200, 120)), (PALETTE[0], [90; 3]));
    }
}
