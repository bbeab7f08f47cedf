//! The basket as a camera above it sees it: items as flat shapes, and a hand. What happens is left to [`crate::scene`].

use std::time::Duration;

use super::{optics::add_noise, options::Options};
use crate::{
    detection::Label,
    geometry::{BoxPx, Size},
    random::Rng,
    scene::{Basket, BasketSettings, seen},
};

/// The names of the items; a label's class is the index into this list.
pub const ITEMS: [&str; 4] = ["bottle", "can", "box", "apple"];
/// An item is labelled once so much of it is seen.
const SEEN_MIN: f32 = 0.3;
/// Side of the place of an item, in parts of the picture's width.
const ITEM_SHARE: f64 = 0.11;

type Rgb = [u8; 3];
const TABLE: Rgb = [168, 170, 166];
const BASKET: Rgb = [92, 78, 60];
const WIRE: Rgb = [120, 104, 84];
const HAND: Rgb = [224, 172, 140];
const SLEEVE: Rgb = [52, 74, 120];

/// Films a basket.
#[derive(Clone, Debug)]
pub(crate) struct BasketFilm {
    options: Options,
    size: Size,
    item_px: f64,
    basket: Basket,
}

impl BasketFilm {
    pub(crate) fn new(options: Options, size: Size) -> Self {
        let item_px = f64::from(size.width) * ITEM_SHARE;
        let settings = BasketSettings {
            seed: options.seed,
            size,
            classes: ITEMS.len() as i32,
            item_px,
            deeds: options.count.unwrap_or(u64::MAX),
            take_percent: options.takes_percent,
            ..BasketSettings::default()
        };
        Self { options, size, item_px, basket: Basket::new(settings) }
    }

    /// Shows a moment since the beginning, which never goes back, three bytes a pixel; `labels` becomes what is seen.
    pub(crate) fn show(&mut self, at: Duration, pixels: &mut Vec<u8>, labels: &mut Vec<Label>) {
        labels.clear();
        self.basket.truth(at);
        self.paint_basket(pixels);
        // Asking for the same moment again changes nothing.
        for thing in self.basket.truth(at) {
            let (width, height) = extent(thing.class);
            let (x, y) = ((thing.bounds.x1 + thing.bounds.x2) / 2.0, (thing.bounds.y1 + thing.bounds.y2) / 2.0);
            let side = self.item_px as f32;
            let bounds = BoxPx::from_center(x, y, side * width, side * height);
            paint_item(thing.class, bounds, self.size, pixels);
            labels.push(Label { class: thing.class, bounds });
        }
        let covers = self.basket.covers();
        labels.retain_mut(|label| {
            let (shown, share) = seen(label.bounds, self.size, covers);
            label.bounds = shown;
            share >= SEEN_MIN
        });
        for hand in covers {
            let finger = (self.item_px * 0.9) as f32;
            paint(hand, self.size, pixels, |_, y| Some(if hand.y2 - y > finger { SLEEVE } else { HAND }));
        }
        let mut rng = Rng::new(!self.options.seed, at.as_nanos() as u64);
        add_noise(&mut rng, self.options.look.noise_hundredths, pixels);
    }

    /// The hand does not come again.
    pub(crate) fn over(&self) -> bool {
        self.basket.over()
    }

    fn paint_basket(&self, pixels: &mut Vec<u8>) {
        const MESH_PX: usize = 24;
        let (width, top) = (self.size.width as usize, self.basket.zone().y1 as usize);
        pixels.resize(width * self.size.height as usize * 3, 0);
        for (y, row) in pixels.chunks_exact_mut(width * 3).enumerate() {
            for (x, pixel) in row.chunks_exact_mut(3).enumerate() {
                let colour = if y < top {
                    TABLE
                } else if y < top + 6 || x % MESH_PX < 2 || y % MESH_PX < 2 {
                    WIRE
                } else {
                    BASKET
                };
                pixel.copy_from_slice(&colour);
            }
        }
    }
}

/// How wide and how high an item is, in parts of its place.
fn extent(class: usize) -> (f32, f32) {
    match class {
        0 => (0.4, 1.0),
        1 => (0.55, 0.8),
        2 => (0.95, 0.7),
        _ => (0.75, 0.75),
    }
}

fn paint_item(class: usize, bounds: BoxPx, size: Size, pixels: &mut [u8]) {
    let (width, height) = (bounds.width(), bounds.height());
    paint(&bounds, size, pixels, |x, y| {
        // From −1 to 1 over the item.
        let (u, v) = (2.0 * (x - bounds.x1) / width - 1.0, 2.0 * (y - bounds.y1) / height - 1.0);
        match class {
            0 => (v > -0.4 || u.abs() < 0.45).then_some(if v < -0.8 {
                [210, 60, 40]
            } else if (0.0..0.55).contains(&v) {
                [235, 232, 210]
            } else {
                [40, 120, 70]
            }),
            1 => Some(if v.abs() > 0.82 {
                [190, 194, 198]
            } else if u > 0.45 {
                [150, 24, 30]
            } else {
                [205, 36, 42]
            }),
            2 => Some(if u.abs() < 0.14 { [120, 84, 44] } else { [198, 152, 92] }),
            _ => (u * u + v * v <= 1.0).then_some(if u.abs() < 0.07 && v < -0.55 {
                [80, 50, 30]
            } else if (u + 0.35) * (u + 0.35) + (v + 0.35) * (v + 0.35) < 0.06 {
                [236, 240, 170]
            } else {
                [150, 196, 50]
            }),
        }
    });
}

/// Gives the pixels whose centres are in the box the colour that there is for them.
fn paint(bounds: &BoxPx, size: Size, pixels: &mut [u8], colour: impl Fn(f32, f32) -> Option<Rgb>) {
    let inside = bounds.clipped(size.width as f32, size.height as f32);
    let (from, to) = (inside.x1.round() as usize, inside.x2.round() as usize);
    let (top, bottom) = (inside.y1.round() as usize, inside.y2.round() as usize);
    for (y, row) in pixels.chunks_exact_mut(size.width as usize * 3).enumerate().take(bottom).skip(top) {
        for (x, pixel) in row.chunks_exact_mut(3).enumerate().take(to).skip(from) {
            if let Some(colour) = colour(x as f32 + 0.5, y as f32 + 0.5) {
                pixel.copy_from_slice(&colour);
            }
        }
    }
}
