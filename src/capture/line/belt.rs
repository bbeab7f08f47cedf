//! The belt as a camera above it sees it: boards that pass, whole as the line draws them, and what stands before them.
//!
//! A board is drawn once, when it comes into the picture, and then laid into every frame where it is at that moment, at a
//! fraction of a pixel and smeared along its way. How the belt goes is left to [`crate::scene`].

use std::time::Duration;

use super::{
    board::Board,
    defects::Defects,
    defects_of_board, moved,
    optics::{Optics, add_noise},
    options::{Look, Options},
};
use crate::{
    detection::Label,
    geometry::{BoxPx, Size},
    random::Rng,
    scene::{Belt, BeltSettings, Motion, Pace, Thing, seen},
};

/// Class of a whole board, behind those of its defects.
pub(crate) const BOARD_CLASS: usize = super::CLASSES.len();
/// The grey level of the belt.
pub(crate) const BELT_GREY: u8 = 200;
/// The grey levels of a post and of a hand.
const COVER_GREYS: [u8; 2] = [40, 90];
/// Side of a board in percent of the picture's shorter side, and in pixels at the most.
const BOARD_PERCENT: u32 = 65;
const BOARD_PX_MAX: u32 = 640;
/// A board is labelled once so much of it is seen, and a defect.
const SEEN_MIN: (f32, f32) = (0.2, 0.5);

/// A board that lies on the belt, drawn.
#[derive(Clone, Debug, Default)]
struct Drawn {
    /// Its number; 0: none yet.
    id: u64,
    pixels: Vec<u8>,
    /// Its defects, in pixels of the board.
    labels: Vec<Label>,
}

/// Films a belt.
#[derive(Clone, Debug)]
pub(crate) struct BeltFilm {
    options: Options,
    size: Size,
    side_px: u32,
    belt: Belt,
    /// The same motion as the belt's, to know how far it goes while the shutter is open.
    motion: Motion,
    exposure: Duration,
    /// No more than there is room for in the picture.
    drawn: Vec<Drawn>,
    things: Vec<Thing>,
    board: Board,
    defects: Defects,
    optics: Optics,
    /// The sums of a board's row up to each pixel.
    sums: Vec<i32>,
}

impl BeltFilm {
    pub(crate) fn new(options: Options, size: Size) -> Self {
        let side_px = (size.width.min(size.height) * BOARD_PERCENT / 100).min(BOARD_PX_MAX);
        let belt = options.belt;
        let vary = f64::from(belt.vary_percent) / 100.0;
        let pace = Pace {
            speed_px_s: f64::from(belt.pace_px_s),
            factor: (1.0 - vary, 1.0 + vary),
            hold_s: (1.0, 4.0),
            ramp_s: 0.4,
            stop_percent: belt.stops_percent,
            back_percent: belt.backs_percent,
            back_px_max: f64::from(side_px) / 2.0,
        };
        let (gap, hand) = (f64::from(belt.gap_px), f64::from(belt.hand_s));
        let middle = size.width as f32 / 2.0;
        let half_post = belt.post_px as f32 / 2.0;
        let settings = BeltSettings {
            seed: options.seed,
            size,
            pace,
            part_px: (f64::from(side_px), f64::from(side_px)),
            gap_px: (gap * 0.5, gap * 1.5),
            part_class: BOARD_CLASS,
            flaw_classes: Vec::new(),
            count: options.count,
            line_px: f64::from(size.width) * 0.6,
            post_px: (belt.post_px > 0).then_some((middle - half_post, middle + half_post)),
            hand_every_s: (belt.hand_s > 0).then_some((hand * 0.5, hand * 1.5)),
            ..BeltSettings::default()
        };
        Self {
            options,
            size,
            side_px,
            belt: Belt::new(settings),
            motion: Motion::new(options.seed, pace),
            exposure: Duration::from_secs_f64(f64::from(options.look.speed_px) / pace.speed_px_s),
            drawn: Vec::new(),
            things: Vec::new(),
            board: Board::default(),
            defects: Defects::default(),
            optics: Optics::default(),
            sums: Vec::new(),
        }
    }

    /// Shows a moment since the belt started, which never goes back, as grey levels; `labels` becomes what is seen.
    pub(crate) fn show(&mut self, at: Duration, pixels: &mut Vec<u8>, labels: &mut Vec<Label>) {
        let Size { width, height } = self.size;
        let mut things = std::mem::take(&mut self.things);
        things.clear();
        things.extend_from_slice(self.belt.truth(at));
        labels.clear();
        pixels.clear();
        pixels.resize(width as usize * height as usize, BELT_GREY);
        // As long before the moment as behind it, so that a board is where its label says.
        let before_px = self.motion.position_px(at.saturating_sub(self.exposure / 2));
        let behind_px = self.motion.clone().position_px(at + self.exposure / 2);
        let smear = ((behind_px - before_px).abs() * 256.0).round() as i32;
        for thing in &things {
            // Boards lie on whole lines.
            let (left, top) = (thing.bounds.x1, thing.bounds.y1.round());
            let slot = self.slot(thing.id, &things);
            self.lay(slot, (left * 256.0).round() as i32, top as usize, smear, pixels);
            let side = self.side_px as f32;
            let bounds = BoxPx { x1: left, y1: top, x2: left + side, y2: top + side };
            self.add_label(Label { class: thing.class, bounds }, SEEN_MIN.0, labels);
            for index in 0..self.drawn[slot].labels.len() {
                let Label { class, bounds } = self.drawn[slot].labels[index];
                self.add_label(Label { class, bounds: moved(bounds, (left, top)) }, SEEN_MIN.1, labels);
            }
        }
        for (cover, grey) in self.belt.covers().iter().zip(self.cover_greys()) {
            cover_up(cover, grey, self.size, pixels);
        }
        let mut rng = Rng::new(!self.options.seed, at.as_nanos() as u64);
        add_noise(&mut rng, self.options.look.noise_hundredths, pixels);
        self.things = things;
    }

    /// All boards have passed.
    pub(crate) fn over(&self) -> bool {
        self.belt.over()
    }

    /// The grey levels of the belt's covers: the post comes first.
    fn cover_greys(&self) -> [u8; 2] {
        if self.options.belt.post_px > 0 { COVER_GREYS } else { [COVER_GREYS[1]; 2] }
    }

    /// Adds what the label stands for where so much of it is seen.
    fn add_label(&self, Label { class, bounds }: Label, seen_min: f32, labels: &mut Vec<Label>) {
        let (shown, share) = seen(bounds, self.size, self.belt.covers());
        if share >= seen_min {
            labels.push(Label { class, bounds: shown });
        }
    }

    /// Where board `id` is drawn; draws it over one that is not in the picture any more where it is new.
    fn slot(&mut self, id: u64, things: &[Thing]) -> usize {
        if let Some(slot) = self.drawn.iter().position(|drawn| drawn.id == id) {
            return slot;
        }
        let gone = |drawn: &Drawn| things.iter().all(|thing| thing.id != drawn.id);
        let slot = self.drawn.iter().position(gone).unwrap_or_else(|| {
            self.drawn.push(Drawn::default());
            self.drawn.len() - 1
        });
        self.draw(id, slot);
        slot
    }

    fn draw(&mut self, id: u64, slot: usize) {
        let Self { options, board, defects, optics, .. } = self;
        let drawn = &mut self.drawn[slot];
        let stage = |stage: u64| Rng::new(options.seed, id.wrapping_mul(3).wrapping_add(stage));
        let side = self.side_px as i32;
        board.lay_out(&mut stage(0), side, side);
        drawn.id = id;
        drawn.labels.clear();
        let mut rng = stage(1);
        let count = defects_of_board(&mut rng, options.defects_hundredths);
        defects.draw(&mut rng, board, 0, count, &mut drawn.labels);
        // Noise and smear are the frame's.
        let look = Look { noise_hundredths: 0, speed_px: 0, ..options.look };
        optics.film(&mut stage(2), &board.copper, look, &mut drawn.pixels);
    }

    /// Lays a drawn board into the picture, its left edge and the smear in 1/256 pixel.
    fn lay(&mut self, slot: usize, left: i32, top: usize, smear: i32, pixels: &mut [u8]) {
        let (width, side) = (self.size.width as usize, self.side_px as usize);
        let reach = smear / 2 + 256;
        let from = ((left - reach) >> 8).clamp(0, width as i32) as usize;
        let to = ((left + reach) / 256 + side as i32 + 1).clamp(0, width as i32) as usize;
        let rows = pixels.chunks_exact_mut(width).skip(top);
        for (row, out) in self.drawn[slot].pixels.chunks_exact(side).zip(rows) {
            self.sums.clear();
            self.sums.push(0);
            let mut sum = 0;
            self.sums.extend(row.iter().map(|&grey| {
                sum += i32::from(grey) - i32::from(BELT_GREY);
                sum
            }));
            // What the row has more than the belt up to a place, in 1/256: the same beyond either end.
            let up_to = |place: i32| {
                let place = place.clamp(0, 256 * side as i32);
                let (whole, part) = ((place >> 8) as usize, place & 255);
                let next = self.sums[(whole + 1).min(side)];
                256 * self.sums[whole] + part * (next - self.sums[whole])
            };
            for (x, out) in (from as i32..).zip(&mut out[from..to.max(from)]) {
                let place = 256 * x - left;
                let more = up_to(place + 256 + smear / 2) - up_to(place - smear / 2);
                let more = more / (256 + smear / 2 * 2);
                *out = (i32::from(*out) + more).clamp(0, 255) as u8;
            }
        }
    }
}

/// Fills the pixels whose centres are covered.
fn cover_up(cover: &BoxPx, grey: u8, size: Size, pixels: &mut [u8]) {
    let bounds = cover.clipped(size.width as f32, size.height as f32);
    let (from, to) = (bounds.x1.round() as usize, bounds.x2.round() as usize);
    let (top, bottom) = (bounds.y1.round() as usize, bounds.y2.round() as usize);
    for row in pixels.chunks_exact_mut(size.width as usize).take(bottom).skip(top) {
        row[from..to.max(from)].fill(grey);
    }
}
