//! Whether a camera still looks at what it looked at before: the edges that always stood at the same place, a rail, a frame,
//! the rim of the belt, stand elsewhere.
//!
//! Pure. A picture is taken as a grid of cells with their grey levels; what is compared is the direction in which the levels
//! rise, which light does not change. What moves is learned to be no scenery, and where hardly anything stands still nothing
//! is said: a product that fills the picture leaves nothing to compare.

use std::time::{Duration, Instant};

use super::RgbImage;

/// The grid.
const COLUMNS: usize = 40;
const ROWS: usize = 30;
/// Pixels of a cell that are looked at, along each side.
const SAMPLES: usize = 4;

/// Two pictures are different views where so many cells are other than before,
const VIEW_CELLS: usize = COLUMNS * ROWS / 50;
/// by so many levels.
const VIEW_LEVELS: f32 = 12.0;
/// Each view teaches once, so that a belt that stands still does not become scenery; the same view again only so rarely.
const SAME_VIEW_EVERY: Duration = Duration::from_secs(600);

/// Nothing is compared before so many views.
const VIEWS_MIN: u32 = 50;
/// The share of a view in what is remembered.
const VIEW_SHARE: f32 = 1.0 / 256.0;

/// A cell is scenery where levels rise by so much from one neighbour to the other on average,
const RISE_MIN: f32 = 10.0;
/// and by no other amount, but for this part of it (root mean square).
const RISE_SPREAD: f32 = 0.35;

/// A cell is compared while its levels stay within this from picture to picture: nothing passes there.
const QUIET_LEVELS: f32 = 6.0;

/// So many cells have to be compared, in three quarters of the picture; fewer say nothing.
const CELLS_MIN: usize = 16;
const QUARTERS_MIN: usize = 3;

/// An edge is where it was as long as its direction has this cosine to what is remembered, and a quarter of its height.
const COSINE_MIN: f32 = 0.5;
const HEIGHT_MIN: f32 = 0.25;

/// Moved: more than this share of the edges is elsewhere. It ends below the second.
const MOVED_SHARE: [f32; 2] = [0.6, 0.4];

/// What is known of one cell.
#[derive(Clone, Copy, Debug, Default)]
struct Cell {
    /// Grey level of the picture before.
    level: f32,
    /// That of the last view that taught.
    taught: f32,
    /// How levels rise to the right and downwards, on average over the views, and the mean square of that.
    rise: [f32; 2],
    square: f32,
}

/// What is known of the scenery of one camera.
#[derive(Clone, Debug)]
pub(super) struct Scenery {
    cells: Vec<Cell>,
    levels: Vec<f32>,
    views: u32,
    taught_at: Option<Instant>,
}

impl Scenery {
    /// That of a camera whose pictures were not looked at yet.
    pub(super) fn new() -> Self {
        let cells = COLUMNS * ROWS;
        Self { cells: vec![Cell::default(); cells], levels: vec![0.0; cells], views: 0, taught_at: None }
    }

    /// Looks at the next picture. Whether the camera looks elsewhere, judged by the limit of the beginning (0) or of the end
    /// (1); `None` where that cannot be told.
    pub(super) fn is_moved(&mut self, picture: &RgbImage, limit: usize, now: Instant) -> Option<bool> {
        if !self.sample(picture) {
            return None;
        }
        let moved = self.compare(limit);
        // What the camera sees elsewhere is not learned at once, or it would soon be where it always looked.
        if moved != Some(true) || self.taught_at.is_none_or(|at| now.duration_since(at) >= SAME_VIEW_EVERY) {
            self.learn(now);
        }
        for (cell, level) in self.cells.iter_mut().zip(&self.levels) {
            cell.level = *level;
        }
        moved
    }

    /// Takes the levels of all cells; `false` where the picture is too small.
    fn sample(&mut self, picture: &RgbImage) -> bool {
        let (width, height) = (picture.width as usize, picture.height as usize);
        if width < COLUMNS * SAMPLES || height < ROWS * SAMPLES {
            return false;
        }
        for (index, level) in self.levels.iter_mut().enumerate() {
            let (column, row) = (index % COLUMNS, index / COLUMNS);
            let mut sum = 0;
            for sample in 0..SAMPLES * SAMPLES {
                let x = (column * SAMPLES + sample % SAMPLES) * width / (COLUMNS * SAMPLES);
                let y = (row * SAMPLES + sample / SAMPLES) * height / (ROWS * SAMPLES);
                // Green is most of what the eye calls bright.
                sum += u32::from(picture.data[(y * width + x) * 3 + 1]);
            }
            *level = sum as f32 / (SAMPLES * SAMPLES) as f32;
        }
        true
    }

    /// How levels rise across a cell; zero at the rim.
    fn rise(&self, index: usize) -> [f32; 2] {
        let (column, row) = (index % COLUMNS, index / COLUMNS);
        if column == 0 || row == 0 || column == COLUMNS - 1 || row == ROWS - 1 {
            return [0.0; 2];
        }
        let across = self.levels[index + 1] - self.levels[index - 1];
        let down = self.levels[index + COLUMNS] - self.levels[index - COLUMNS];
        [across / 2.0, down / 2.0]
    }

    fn compare(&self, limit: usize) -> Option<bool> {
        if self.views < VIEWS_MIN {
            return None;
        }
        let (mut compared, mut elsewhere, mut quarters) = (0, 0, [false; 4]);
        for (index, cell) in self.cells.iter().enumerate() {
            let height = dot(cell.rise, cell.rise);
            let spread = (cell.square - height).max(0.0);
            let is_scenery = height >= RISE_MIN * RISE_MIN && spread <= RISE_SPREAD * RISE_SPREAD * height;
            if !is_scenery || (self.levels[index] - cell.level).abs() > QUIET_LEVELS {
                continue;
            }
            let rise = self.rise(index);
            let along = dot(rise, cell.rise);
            let is_there = along >= COSINE_MIN * (dot(rise, rise) * height).sqrt() && along >= HEIGHT_MIN * height;
            compared += 1;
            elsewhere += usize::from(!is_there);
            let (right, below) = (index % COLUMNS >= COLUMNS / 2, index / COLUMNS >= ROWS / 2);
            quarters[usize::from(right) + 2 * usize::from(below)] = true;
        }
        let spread_out = quarters.iter().filter(|quarter| **quarter).count() >= QUARTERS_MIN;
        (compared >= CELLS_MIN && spread_out).then(|| elsewhere as f32 > MOVED_SHARE[limit] * compared as f32)
    }

    fn learn(&mut self, now: Instant) {
        let others = self.cells.iter().zip(&self.levels).filter(|(cell, level)| differs(cell.taught, **level)).count();
        let is_due = self.taught_at.is_none_or(|at| now.duration_since(at) >= SAME_VIEW_EVERY);
        if others < VIEW_CELLS && !is_due {
            return;
        }
        self.taught_at = Some(now);
        self.views = self.views.saturating_add(1);
        // First the mean of all.
        let share = (1.0 / self.views as f32).max(VIEW_SHARE);
        for index in 0..self.cells.len() {
            let rise = self.rise(index);
            let cell = &mut self.cells[index];
            for (mean, new) in cell.rise.iter_mut().zip(rise) {
                *mean += (new - *mean) * share;
            }
            cell.square += (dot(rise, rise) - cell.square) * share;
            cell.taught = self.levels[index];
        }
    }
}

fn differs(a: f32, b: f32) -> bool {
    (a - b).abs() > VIEW_LEVELS
}

fn dot(a: [f32; 2], b: [f32; 2]) -> f32 {
    a[0] * b[0] + a[1] * b[1]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vision::noise::Noise;

    /// A line: rails and posts that stand, boxes that pass between them; seen from `(dx, dy)` pixels beside the usual place.
    fn line(at: u32, (dx, dy): (u32, u32), light: u32, noise: &mut Noise) -> RgbImage {
        RgbImage::grey(640, 480, |x, y| {
            let (x, y) = (x + dx, y + dy);
            let on_belt = (160..340).contains(&y);
            let level = if on_belt {
                if (x + at) % 220 < 120 && (190..310).contains(&y) { 190 } else { 60 }
            } else if x % 150 < 30 || !(40..=430).contains(&y) {
                200
            } else {
                90
            };
            (level * light / 100).min(250) as u8 + noise.below(5) as u8
        })
    }

    struct Camera {
        scenery: Scenery,
        noise: Noise,
        now: Instant,
        at: u32,
    }

    impl Camera {
        fn new() -> Self {
            Self { scenery: Scenery::new(), noise: Noise::seeded(5), now: Instant::now(), at: 0 }
        }

        /// Films so many pictures, ten a second; the share in which it was said to be moved, and in which nothing was said.
        fn film(&mut self, pictures: u32, step: u32, place: (u32, u32), light: u32) -> (f32, f32) {
            let (mut moved, mut silent) = (0, 0);
            for _ in 0..pictures {
                self.at += step;
                self.now += Duration::from_millis(100);
                let picture = line(self.at, place, light, &mut self.noise);
                match self.scenery.is_moved(&picture, 0, self.now) {
                    Some(true) => moved += 1,
                    Some(false) => {}
                    None => silent += 1,
                }
            }
            (moved as f32 / pictures as f32, silent as f32 / pictures as f32)
        }
    }

    #[test]
    fn a_camera_that_was_turned_looks_elsewhere_and_back_again() {
        let mut camera = Camera::new();
        assert_eq!(camera.film(200, 7, (0, 0), 100).0, 0.0);
        assert_eq!(camera.film(50, 7, (0, 0), 60).0, 0.0, "the light is another");
        assert!(camera.film(50, 7, (0, 0), 100).1 < 0.1, "there is scenery enough to tell");
        for place in [(70, 0), (0, 60), (50, 45)] {
            let (moved, _) = camera.film(100, 7, place, 100);
            assert!(moved > 0.95, "{place:?}: {moved}");
            let (moved, _) = camera.film(50, 7, (0, 0), 100);
            assert!(moved < 0.05, "{place:?}: {moved}");
        }
    }

    #[test]
    fn a_belt_that_stops_anywhere_is_no_move() {
        let mut camera = Camera::new();
        camera.film(200, 7, (0, 0), 100);
        for _ in 0..10 {
            assert_eq!(camera.film(100, 0, (0, 0), 100).0, 0.0);
            assert_eq!(camera.film(13, 9, (0, 0), 100).0, 0.0);
        }
    }

    #[test]
    fn where_all_moves_nothing_is_said() {
        let mut scenery = Scenery::new();
        let mut now = Instant::now();
        for at in 0..300 {
            now += Duration::from_millis(100);
            let picture = RgbImage::grey(640, 480, |x, _| if (x + at * 13) % 90 < 40 { 30 } else { 220 });
            assert_eq!(scenery.is_moved(&picture, 0, now), None);
        }
        assert_eq!(scenery.is_moved(&RgbImage::grey(80, 80, |_, _| 3), 0, now), None, "it is too small to tell");
    }

    #[test]
    fn a_small_shake_is_no_move() {
        let mut camera = Camera::new();
        camera.film(200, 7, (3, 3), 100);
        for place in [(0, 3), (6, 3), (3, 0), (5, 6)] {
            assert_eq!(camera.film(20, 7, place, 100).0, 0.0, "{place:?}");
        }
    }
}
