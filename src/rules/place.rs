//! Where things are: zones, lines and the point of a box that counts. Pure geometry.

use serde::{Deserialize, Serialize};

use crate::{
    event::Way,
    geometry::{BoxPx, Point, Size},
};

/// What coordinates mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Pixels of the original frame.
    Pixels,
    /// Parts of the frame's width and height, in `0..=1`.
    Relative,
}

/// The point of a box that tells where a thing is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Anchor {
    /// Its centre.
    #[default]
    Center,
    /// The middle of its upper edge.
    Top,
    /// The middle of its lower edge: where a thing stands.
    Bottom,
    /// The middle of its left edge.
    Left,
    /// The middle of its right edge.
    Right,
}

impl Anchor {
    /// All of them and the words for them in the configuration.
    pub const NAMES: [(&'static str, Self); 5] = [
        ("center", Self::Center),
        ("top", Self::Top),
        ("bottom", Self::Bottom),
        ("left", Self::Left),
        ("right", Self::Right),
    ];

    /// The point of a box.
    pub fn of(self, bounds: &BoxPx) -> Point {
        let (x, y) = ((bounds.x1 + bounds.x2) / 2.0, (bounds.y1 + bounds.y2) / 2.0);
        match self {
            Self::Center => Point { x, y },
            Self::Top => Point { x, y: bounds.y1 },
            Self::Bottom => Point { x, y: bounds.y2 },
            Self::Left => Point { x: bounds.x1, y },
            Self::Right => Point { x: bounds.x2, y },
        }
    }
}

/// A polygon.
#[derive(Clone, Debug, PartialEq)]
pub struct Zone {
    /// Its corners in order, at least 3; no two edges cross.
    pub corners: Vec<Point>,
    /// What the coordinates mean.
    pub unit: Unit,
}

impl Zone {
    /// Whether a point, in pixels of a frame of this size, lies in the zone. Its edges belong to it, so that what stands at
    /// the frame's border is in a zone that reaches there. A polygon that crosses itself is inside where a ray to the border
    /// meets an odd number of its edges.
    pub fn contains(&self, point: Point, size: Size) -> bool {
        let corner = |corner: &Point| {
            let Point { x, y } = in_pixels(*corner, self.unit, size);
            (f64::from(x), f64::from(y))
        };
        let (x, y) = (f64::from(point.x), f64::from(point.y));
        let Some(last) = self.corners.last().filter(|_| x.is_finite() && y.is_finite()) else { return false };
        let (mut inside, mut before) = (false, corner(last));
        for next in &self.corners {
            let ((ax, ay), (bx, by)) = (before, corner(next));
            let turn = (bx - ax) * (y - ay) - (by - ay) * (x - ax);
            let between = x >= ax.min(bx) && x <= ax.max(bx) && y >= ay.min(by) && y <= ay.max(by);
            if turn == 0.0 && between {
                return true;
            }
            // The edge meets the ray to the right of the point where it passes the point's height and the point lies on its
            // left, seen upwards.
            if (ay > y) != (by > y) && (turn > 0.0) == (by > ay) {
                inside = !inside;
            }
            before = (bx, by);
        }
        inside
    }
}

/// A line that things cross, with a band around it: a thing has crossed when it was on one side of the band and is on the
/// other. What trembles on the line crosses nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// One end,
    pub from: Point,
    /// and the other. It ends there: what passes beside it does not cross.
    pub to: Point,
    /// Width of the band, in the unit of the line; with relative ones, of the frame's smaller side.
    pub band: f32,
    /// What the coordinates mean.
    pub unit: Unit,
    /// Which way is in.
    pub inward: Towards,
}

impl Line {
    /// The line in pixels of a frame of this size; `None` where it has no length there.
    pub(super) fn ruler(&self, size: Size) -> Option<Ruler> {
        let (from, to) = (in_pixels(self.from, self.unit, size), in_pixels(self.to, self.unit, size));
        let (x, y) = (to.x - from.x, to.y - from.y);
        let length = (x * x + y * y).sqrt();
        if !(length > 0.0 && length.is_finite()) {
            return None;
        }
        let along = Point { x: x / length, y: y / length };
        let aside = Point { x: -along.y, y: along.x };
        let towards = self.inward.direction();
        let turn = if aside.x * towards.x + aside.y * towards.y < 0.0 { -1.0 } else { 1.0 };
        let band = match self.unit {
            Unit::Pixels => self.band,
            Unit::Relative => self.band * size.width.min(size.height) as f32,
        };
        let inward = Point { x: aside.x * turn, y: aside.y * turn };
        Some(Ruler { from, along, inward, length, half_band: band.max(0.0) / 2.0 })
    }
}

/// A line in pixels of a frame, to measure with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Ruler {
    from: Point,
    /// From one end to the other, of length 1.
    along: Point,
    /// Straight across the line and inwards, of length 1.
    inward: Point,
    length: f32,
    half_band: f32,
}

impl Ruler {
    /// How far a point lies inside, in pixels, straight across the line or its continuation; below zero: outside.
    pub(super) fn depth(&self, point: Point) -> f32 {
        (point.x - self.from.x) * self.inward.x + (point.y - self.from.y) * self.inward.y
    }

    /// How far the band reaches to each side of the line, in pixels.
    pub(super) fn half_band(&self) -> f32 {
        self.half_band
    }

    /// Whether the foot of a point lies between the ends of the line, they included.
    pub(super) fn faces(&self, point: Point) -> bool {
        let foot = (point.x - self.from.x) * self.along.x + (point.y - self.from.y) * self.along.y;
        (0.0..=self.length).contains(&foot)
    }

    /// Where a point lies: on which side of the band, or in it (`None`), its edges included.
    pub(super) fn side(&self, point: Point) -> Option<Side> {
        let depth = self.depth(point);
        if depth > self.half_band {
            Some(Side::Inside)
        } else if depth < -self.half_band {
            Some(Side::Outside)
        } else {
            None
        }
    }

    /// Whether the straight way between two points meets the line, and not only its continuation; `None` where both are on
    /// the same side of it.
    pub(super) fn meets(&self, a: Point, b: Point) -> Option<bool> {
        let (from, to) = (self.depth(a), self.depth(b));
        if (from < 0.0) == (to < 0.0) {
            return None;
        }
        let share = from / (from - to);
        Some(self.faces(Point { x: a.x + (b.x - a.x) * share, y: a.y + (b.y - a.y) * share }))
    }
}

/// A side of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Side {
    /// Where things come from that go in.
    Outside,
    /// Where they go.
    Inside,
}

impl Side {
    /// The other one.
    pub(super) fn opposite(self) -> Self {
        match self {
            Self::Outside => Self::Inside,
            Self::Inside => Self::Outside,
        }
    }

    /// The way that leads there.
    pub(super) fn way(self) -> Way {
        match self {
            Self::Outside => Way::Out,
            Self::Inside => Way::In,
        }
    }
}

/// A way across a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Towards {
    /// To the left edge of the frame.
    Left,
    /// To the right edge.
    Right,
    /// To the upper edge.
    Up,
    /// To the lower edge.
    Down,
}

impl Towards {
    /// All of them and the words for them in the configuration.
    pub const NAMES: [(&'static str, Self); 4] =
        [("left", Self::Left), ("right", Self::Right), ("up", Self::Up), ("down", Self::Down)];
}

impl Towards {
    /// A step that way, of length 1.
    fn direction(self) -> Point {
        let (x, y) = match self {
            Self::Left => (-1.0, 0.0),
            Self::Right => (1.0, 0.0),
            Self::Up => (0.0, -1.0),
            Self::Down => (0.0, 1.0),
        };
        Point { x, y }
    }
}

/// A place in pixels of a frame of this size.
pub(super) fn in_pixels(point: Point, unit: Unit, size: Size) -> Point {
    match unit {
        Unit::Pixels => point,
        Unit::Relative => Point { x: point.x * size.width as f32, y: point.y * size.height as f32 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Rng;

    const SIZE: Size = Size { width: 200, height: 100 };

    fn at(x: f32, y: f32) -> Point {
        Point { x, y }
    }

    #[test]
    fn a_zone_contains_what_lies_in_it_and_on_its_edges() {
        // A U, open at the top.
        let corners =
            [(0., 0.), (3., 0.), (3., 6.), (6., 6.), (6., 0.), (9., 0.), (9., 9.), (0., 9.)].map(|(x, y)| at(x, y));
        let zone = Zone { corners: corners.to_vec(), unit: Unit::Pixels };
        for (x, y) in [(1., 1.), (8., 1.), (4.5, 8.), (0., 0.), (9., 9.), (4.5, 6.), (3., 3.), (6., 3.), (4.5, 9.)] {
            assert!(zone.contains(at(x, y), SIZE), "{x}, {y}");
        }
        for (x, y) in [(4.5, 1.), (4.5, 5.9), (-0.1, 1.), (9.1, 9.), (4.5, 9.1), (4.5, 0.)] {
            assert!(!zone.contains(at(x, y), SIZE), "{x}, {y}");
        }
        for wild in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert!(!zone.contains(at(wild, 1.), SIZE) && !zone.contains(at(1., wild), SIZE));
        }
        assert!(!Zone { corners: Vec::new(), unit: Unit::Pixels }.contains(at(0., 0.), SIZE));
    }

    #[test]
    fn a_relative_zone_grows_with_the_frame_up_to_its_border() {
        let corners = vec![at(0.5, 0.0), at(1.0, 0.0), at(1.0, 1.0), at(0.5, 1.0)];
        let zone = Zone { corners, unit: Unit::Relative };
        assert!(zone.contains(at(150.0, 100.0), SIZE) && zone.contains(at(200.0, 100.0), SIZE));
        assert!(!zone.contains(at(99.0, 50.0), SIZE));
        assert!(zone.contains(at(99.0, 50.0), Size { width: 100, height: 100 }));
    }

    #[test]
    fn a_zone_agrees_with_its_triangles_whichever_way_round_it_is_given() {
        let mut rng = Rng::new(3, 1);
        let corners = [(10., 10.), (90., 20.), (70., 80.), (20., 60.)].map(|(x, y)| at(x, y));
        let zone = |picked: &[usize]| Zone {
            corners: picked.iter().map(|index| corners[*index]).collect(),
            unit: Unit::Pixels,
        };
        for _ in 0..20_000 {
            let point = at(rng.between(0, 100) as f32, rng.between(0, 100) as f32);
            let whole = zone(&[0, 1, 2, 3]).contains(point, SIZE);
            assert_eq!(whole, zone(&[3, 2, 1, 0]).contains(point, SIZE), "{point:?}");
            assert_eq!(whole, zone(&[2, 3, 0, 1]).contains(point, SIZE), "{point:?}");
            let parts = zone(&[0, 1, 2]).contains(point, SIZE) || zone(&[0, 2, 3]).contains(point, SIZE);
            assert_eq!(whole, parts, "{point:?}");
        }
    }

    #[test]
    fn depth_is_measured_inwards_whichever_end_comes_first() {
        for (inward, inside, depth) in [
            (Towards::Right, at(0.75, 0.5), 50.0),
            (Towards::Left, at(0.25, 0.5), 50.0),
            (Towards::Down, at(0.5, 0.75), 25.0),
            (Towards::Up, at(0.5, 0.25), 25.0),
        ] {
            let (from, to) = match inward {
                Towards::Left | Towards::Right => (at(0.5, 0.2), at(0.5, 0.8)),
                Towards::Up | Towards::Down => (at(0.2, 0.5), at(0.8, 0.5)),
            };
            for (from, to) in [(from, to), (to, from)] {
                let ruler = Line { from, to, band: 0.1, unit: Unit::Relative, inward }.ruler(SIZE).unwrap();
                let point = in_pixels(inside, Unit::Relative, SIZE);
                assert_eq!(ruler.depth(point), depth, "{inward:?}");
                assert_eq!((ruler.side(point), ruler.faces(point)), (Some(Side::Inside), true));
                let centre = at(100.0, 50.0);
                let across = |way: f32| {
                    let towards = inward.direction();
                    at(centre.x + towards.x * way, centre.y + towards.y * way)
                };
                // The band is a tenth of the smaller side: five pixels to each side, its edges included.
                assert_eq!((ruler.side(across(5.0)), ruler.side(across(-5.0))), (None, None));
                assert_eq!(ruler.side(across(5.1)), Some(Side::Inside));
                assert_eq!(ruler.side(across(-5.1)), Some(Side::Outside));
                assert_eq!(ruler.meets(across(-9.0), across(9.0)), Some(true));
                assert_eq!(ruler.meets(across(9.0), across(1.0)), None);
            }
        }
    }

    #[test]
    fn what_passes_beside_the_ends_does_not_meet_the_line() {
        let line = Line { from: at(50., 20.), to: at(50., 80.), band: 4., unit: Unit::Pixels, inward: Towards::Right };
        let ruler = line.ruler(SIZE).unwrap();
        assert!(ruler.faces(at(0., 20.)) && ruler.faces(at(99., 80.)) && !ruler.faces(at(50., 19.)));
        assert_eq!(ruler.meets(at(40., 10.), at(60., 10.)), Some(false));
        assert_eq!(ruler.meets(at(40., 10.), at(60., 40.)), Some(true));
        assert_eq!(Line { to: line.from, ..line }.ruler(SIZE), None);
    }
}
