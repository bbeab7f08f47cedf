//! Curves over the unit square, for people to look at: as SVG, or as a picture.
//!
//! Both are made from the same lines and texts. What the curves mean is for those who give them.

use std::fmt::Write;

use super::{Rgb, canvas::Canvas, color, text::Font};
use crate::{
    geometry::{BoxPx, Point},
    vision::RgbImage,
};

/// A chart whose axes both go from 0 to 1.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chart {
    /// Stands above.
    pub title: String,
    /// What goes to the right.
    pub x: String,
    /// What goes up.
    pub y: String,
    /// The curves; the first is drawn thick, black and on top.
    pub curves: Vec<Curve>,
}

/// One curve of a [`Chart`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curve {
    /// What the legend calls it.
    pub name: String,
    /// Heights in `0..=1` at places spread evenly over `0..=1`, two or more.
    pub heights: Vec<f64>,
}

/// Pixels of the whole chart.
const SIZE: (u32, u32) = (900, 600);

/// Where the unit square lies on it.
const PLOT: BoxPx = BoxPx { x1: 70.0, y1: 50.0, x2: 620.0, y2: 540.0 };

/// Curves that the legend names; with more it says how many are left.
const NAMED_MAX: usize = 22;

const BLACK: Rgb = [0; 3];
const GREY: Rgb = [0xdd; 3];
const LETTER_PX: f32 = 16.0;

/// What is drawn, in pixels.
enum Mark {
    Line { points: Vec<Point>, width: f32, color: Rgb },
    Text { at: Point, anchor: Anchor, text: String },
}

/// Which part of a text its place is; the place is at half its height.
#[derive(Clone, Copy)]
enum Anchor {
    Start,
    Middle,
    End,
}

impl Chart {
    /// The chart as an SVG document; the same chart gives the same bytes.
    pub fn svg(&self) -> String {
        let (width, height) = SIZE;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\" font-family=\"sans-serif\" font-size=\"14\">\n<rect width=\"100%\" height=\"100%\" \
             fill=\"white\"/>\n"
        );
        for mark in self.marks() {
            match mark {
                Mark::Line { points, width, color: [r, g, b] } => {
                    let points: Vec<_> = points.iter().map(|point| format!("{:.1},{:.1}", point.x, point.y)).collect();
                    writeln!(
                        svg,
                        "<polyline fill=\"none\" stroke=\"#{r:02x}{g:02x}{b:02x}\" stroke-width=\"{width}\" \
                         stroke-linejoin=\"round\" points=\"{}\"/>",
                        points.join(" ")
                    )
                }
                Mark::Text { at, anchor, text } => {
                    let anchor = match anchor {
                        Anchor::Start => "start",
                        Anchor::Middle => "middle",
                        Anchor::End => "end",
                    };
                    writeln!(
                        svg,
                        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\" dominant-baseline=\"central\">{}</text>",
                        at.x,
                        at.y,
                        escaped(&text)
                    )
                }
            }
            .expect("a string takes any text");
        }
        svg.push_str("</svg>\n");
        svg
    }

    /// The chart as a picture.
    pub fn picture(&self) -> RgbImage {
        let (width, height) = SIZE;
        let mut picture = RgbImage { width, height, data: vec![255; width as usize * height as usize * 3] };
        let mut canvas = Canvas::new(&mut picture);
        let font = Font::for_picture(0.0);
        for mark in self.marks() {
            match mark {
                Mark::Line { points, width, color } => {
                    for pair in points.windows(2) {
                        canvas.bare_line(pair[0], pair[1], width, color);
                    }
                }
                Mark::Text { at, anchor, text } => {
                    let (width, height) = font.label_size(&text);
                    let margin = (width - font.label_size("").0).max(0.0);
                    let left = match anchor {
                        Anchor::Start => 0.0,
                        Anchor::Middle => margin / 2.0,
                        Anchor::End => margin,
                    };
                    let edge = font.label_size("").0 / 2.0;
                    let at = Point { x: at.x - left - edge, y: at.y - height / 2.0 };
                    font.draw_label(&mut canvas, &text, at, [255; 3]);
                }
            }
        }
        picture
    }

    fn marks(&self) -> Vec<Mark> {
        let mut marks = self.axes();
        let colors = |index: usize| if index == 0 { BLACK } else { color(index - 1) };
        let widths = |index| if index == 0 { 3.5 } else { 1.8 };
        // The first lies on top.
        for (index, curve) in self.curves.iter().enumerate().rev() {
            let points = corners(&curve.heights).into_iter().map(|(x, y)| place(x, y)).collect();
            marks.push(Mark::Line { points, width: widths(index), color: colors(index) });
        }
        let row = |index: usize| PLOT.y1 + LETTER_PX * 1.3 * (index as f32 + 0.5);
        for (index, curve) in self.curves.iter().enumerate().take(NAMED_MAX) {
            let (x, y) = (PLOT.x2 + 20.0, row(index));
            let points = vec![Point { x, y }, Point { x: x + 24.0, y }];
            marks.push(Mark::Line { points, width: widths(index), color: colors(index) });
            marks.push(Mark::Text { at: Point { x: x + 32.0, y }, anchor: Anchor::Start, text: curve.name.clone() });
        }
        if self.curves.len() > NAMED_MAX {
            let at = Point { x: PLOT.x2 + 52.0, y: row(NAMED_MAX) };
            let text = format!("and {} more", self.curves.len() - NAMED_MAX);
            marks.push(Mark::Text { at, anchor: Anchor::Start, text });
        }
        marks
    }

    fn axes(&self) -> Vec<Mark> {
        let mut marks = Vec::new();
        for fifth in 0..=5 {
            let at = f64::from(fifth) / 5.0;
            for line in [[(at, 0.0), (at, 1.0)], [(0.0, at), (1.0, at)]] {
                let points = line.iter().map(|&(x, y)| place(x, y)).collect();
                marks.push(Mark::Line { points, width: 1.0, color: if fifth == 0 { BLACK } else { GREY } });
            }
            let below = Point { x: place(at, 0.0).x, y: PLOT.y2 + 16.0 };
            let beside = Point { x: PLOT.x1 - 10.0, y: place(0.0, at).y };
            marks.push(Mark::Text { at: below, anchor: Anchor::Middle, text: format!("{at:.1}") });
            marks.push(Mark::Text { at: beside, anchor: Anchor::End, text: format!("{at:.1}") });
        }
        let middle = (PLOT.x1 + PLOT.x2) / 2.0;
        for (at, anchor, text) in [
            (Point { x: middle, y: 20.0 }, Anchor::Middle, &self.title),
            (Point { x: middle, y: PLOT.y2 + 42.0 }, Anchor::Middle, &self.x),
            (Point { x: 12.0, y: PLOT.y1 - 18.0 }, Anchor::Start, &self.y),
        ] {
            marks.push(Mark::Text { at, anchor, text: text.clone() });
        }
        marks
    }
}

/// A place of the unit square in pixels.
fn place(x: f64, y: f64) -> Point {
    Point { x: PLOT.x1 + x as f32 * PLOT.width(), y: PLOT.y2 - y as f32 * PLOT.height() }
}

/// The points of a curve without those on the straight line between their neighbours.
fn corners(heights: &[f64]) -> Vec<(f64, f64)> {
    let at = |index: usize| (index as f64 / (heights.len() - 1) as f64, heights[index].clamp(0.0, 1.0));
    let is_corner = |index: usize| {
        let [before, here, after] = [heights[index - 1], heights[index], heights[index + 1]];
        (before - 2.0 * here + after).abs() > 1e-9
    };
    let inner = 1..heights.len().saturating_sub(1);
    let ends = heights.len() > 1;
    let mut points = Vec::new();
    points.extend(ends.then(|| at(0)));
    points.extend(inner.filter(|index| is_corner(*index)).map(at));
    points.extend(ends.then(|| at(heights.len() - 1)));
    points
}

/// The text for a place between tags.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            // XML has no place for these, not even escaped.
            control if control.is_control() => escaped.push(' '),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart() -> Chart {
        let falling =
            Curve { name: "a <b> & c".to_owned(), heights: (0..=10).map(|i| 1.0 - f64::from(i) / 10.0).collect() };
        let step = Curve { name: "step".to_owned(), heights: vec![1.0, 1.0, 1.0, 0.0, 0.0] };
        Chart { title: "title".into(), x: "recall".into(), y: "precision".into(), curves: vec![falling, step] }
    }

    #[test]
    fn svg_has_every_curve_and_name() {
        let svg = chart().svg();
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        // A straight curve is its two ends.
        assert!(svg.contains(
            "stroke=\"#000000\" stroke-width=\"3.5\" stroke-linejoin=\"round\" points=\"70.0,50.0 620.0,540.0\""
        ));
        assert!(svg.contains("a &lt;b&gt; &amp; c</text>") && !svg.contains("<b>"));
        assert!(svg.contains("points=\"70.0,50.0 345.0,50.0 482.5,540.0 620.0,540.0\""));
    }

    #[test]
    fn the_picture_shows_the_curves() {
        let picture = chart().picture();
        let at = |x: usize, y: usize| &picture.data[(y * picture.width as usize + x) * 3..][..3];
        assert_eq!(at(345, 295), [0; 3], "the middle of the straight curve");
        assert_eq!(at(200, 500), [255; 3]);
        let near = at(150, 50).iter().zip(color(0)).all(|(level, wanted)| level.abs_diff(wanted) < 30);
        assert!(near, "the other one is soft at its edge: {:?}", at(150, 50));
    }

    #[test]
    fn many_curves_are_not_all_named() {
        let curve = |n: usize| Curve { name: format!("c{n}"), heights: vec![1.0, 0.0] };
        let chart = Chart { curves: (0..30).map(curve).collect(), ..Chart::default() };
        let svg = chart.svg();
        assert!(svg.contains(">c21<") && !svg.contains(">c22<") && svg.contains("and 8 more"));
        let odd = Chart { curves: vec![Curve::default(), Curve { heights: vec![0.5], ..Curve::default() }], ..chart };
        odd.picture();
        assert!(odd.svg().contains("points=\"\""));
    }
}
