//! A basket: a hand puts items of several classes into it, takes some out again, and passes over it for nothing.

use std::time::Duration;

use super::{Deed, Happening, Thing, cover::look, from_range};
use crate::{
    geometry::{BoxPx, Size},
    random::Rng,
};

/// What is done at a basket.
#[derive(Clone, Debug, PartialEq)]
pub struct BasketSettings {
    /// Another seed, another customer.
    pub seed: u64,
    /// The picture. The basket is its lower part.
    pub size: Size,
    /// Items are of classes `0..classes`; at least 1.
    pub classes: i32,
    /// Side of an item, in pixels.
    pub item_px: f64,
    /// So many deeds of the hand; then it ends.
    pub deeds: u64,
    /// Of a hundred deeds, so many take an item back, where there is one,
    pub take_percent: i32,
    /// and so many do nothing but hide what is below.
    pub pass_percent: i32,
    /// How long the hand is away between deeds, in seconds, least and most.
    pub rest_s: (f64, f64),
    /// How long it takes to come, and to go, in seconds, least and most.
    pub reach_s: (f64, f64),
}

impl Default for BasketSettings {
    fn default() -> Self {
        Self {
            seed: 0,
            size: Size { width: 640, height: 480 },
            classes: 4,
            item_px: 70.0,
            deeds: 12,
            take_percent: 20,
            pass_percent: 10,
            rest_s: (0.8, 3.0),
            reach_s: (0.4, 1.0),
        }
    }
}

/// What the hand is about to do at its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plan {
    Put { class: usize },
    Take { id: u64 },
    Pass,
}

/// The hand comes down, does what it came for, and goes up again.
#[derive(Clone, Copy, Debug)]
struct Visit {
    plan: Plan,
    start_s: f64,
    down_s: f64,
    end_s: f64,
    slot: usize,
    done: bool,
}

#[derive(Clone, Copy, Debug)]
struct Item {
    id: u64,
    class: usize,
    slot: usize,
}

/// A basket at work. Moments are told since it began, and never go back.
#[derive(Clone, Debug)]
pub struct Basket {
    settings: BasketSettings,
    rng: Rng,
    visit: Option<Visit>,
    visits: u64,
    items: Vec<Item>,
    /// What the hand holds.
    held: Option<Item>,
    ids: u64,
    things: Vec<Thing>,
    covers: Vec<BoxPx>,
    happened: Vec<Happening>,
}

impl Basket {
    /// Columns and rows of places for items.
    const SLOTS: (usize, usize) = (6, 3);
    /// Width of the hand and its arm, in sides of an item.
    const HAND: f64 = 1.3;

    /// An empty basket.
    pub fn new(settings: BasketSettings) -> Self {
        let rng = Rng::new(settings.seed, 8);
        let mut basket = Self {
            settings,
            rng,
            visit: None,
            visits: 0,
            items: Vec::new(),
            held: None,
            ids: 0,
            things: Vec::new(),
            covers: Vec::new(),
            happened: Vec::new(),
        };
        basket.visit = basket.next_visit(0.0);
        basket
    }

    /// Where the basket is in the picture; an item counts as in it when its centre is.
    pub fn zone(&self) -> BoxPx {
        let Size { width, height } = self.settings.size;
        BoxPx { x1: 0.0, y1: height as f32 * 0.35, x2: width as f32, y2: height as f32 }
    }

    /// Every item at a moment, also what the hand hides or holds.
    pub fn truth(&mut self, at: Duration) -> &[Thing] {
        let at_s = at.as_secs_f64();
        while let Some(visit) = self.visit {
            if !visit.done && at_s >= visit.down_s {
                self.act(visit);
            }
            if at_s < visit.end_s {
                break;
            }
            self.held = None;
            self.visit = self.next_visit(visit.end_s);
        }
        self.look(at_s);
        &self.things
    }

    /// The hand and its arm, at the moment that was asked for last.
    pub fn covers(&self) -> &[BoxPx] {
        &self.covers
    }

    /// How many of a class lie in the basket.
    pub fn count(&self, class: usize) -> usize {
        self.items.iter().filter(|item| item.class == class).count()
    }

    /// Hands over what happened since this was called last, oldest first.
    pub fn happened(&mut self) -> Vec<Happening> {
        std::mem::take(&mut self.happened)
    }

    /// The hand has gone and does not come again.
    pub fn over(&self) -> bool {
        self.visit.is_none()
    }

    /// Does what the hand came for.
    fn act(&mut self, visit: Visit) {
        let at = Duration::from_secs_f64(visit.down_s);
        self.visit = Some(Visit { done: true, ..visit });
        match visit.plan {
            Plan::Put { .. } => {
                if let Some(item) = self.held.take() {
                    self.items.push(item);
                    self.happened.push(Happening { at, id: item.id, class: item.class, deed: Deed::Put });
                }
            }
            Plan::Take { id } => {
                if let Some(index) = self.items.iter().position(|item| item.id == id) {
                    let item = self.items.remove(index);
                    self.held = Some(item);
                    self.happened.push(Happening { at, id, class: item.class, deed: Deed::Taken });
                }
            }
            Plan::Pass => {}
        }
    }

    fn next_visit(&mut self, after_s: f64) -> Option<Visit> {
        if self.visits == self.settings.deeds {
            return None;
        }
        self.visits += 1;
        let start_s = after_s + from_range(&mut self.rng, self.settings.rest_s);
        let down_s = start_s + from_range(&mut self.rng, self.settings.reach_s);
        let end_s = down_s + from_range(&mut self.rng, self.settings.reach_s);
        let (plan, slot) = self.plan();
        if let Plan::Put { class } = plan {
            self.ids += 1;
            self.held = Some(Item { id: self.ids, class, slot });
        }
        Some(Visit { plan, start_s, down_s, end_s, slot, done: false })
    }

    fn plan(&mut self) -> (Plan, usize) {
        let slots = Self::SLOTS.0 * Self::SLOTS.1;
        let anywhere = self.rng.below(slots as i32) as usize;
        let class = self.rng.below(self.settings.classes).max(0) as usize;
        let choice = self.rng.below(100);
        if choice < self.settings.pass_percent {
            return (Plan::Pass, anywhere);
        }
        let full = self.items.len() == slots;
        let take = full || choice < self.settings.pass_percent + self.settings.take_percent;
        if take && !self.items.is_empty() {
            let item = self.items[anywhere % self.items.len()];
            return (Plan::Take { id: item.id }, item.slot);
        }
        let free = |slot: &usize| self.items.iter().all(|item| item.slot != *slot);
        let slot = (0..slots).map(|step| (anywhere + step) % slots).find(free).unwrap_or(anywhere);
        (Plan::Put { class }, slot)
    }

    /// Centre of a place in the basket.
    fn place(&self, slot: usize) -> (f64, f64) {
        let zone = self.zone();
        let (columns, rows) = Self::SLOTS;
        let (column, row) = ((slot % columns) as f64, (slot / columns) as f64);
        let x = f64::from(zone.x1) + f64::from(zone.width()) * (column + 0.5) / columns as f64;
        let y = f64::from(zone.y1) + f64::from(zone.height()) * (row + 0.5) / rows as f64;
        (x, y)
    }

    fn look(&mut self, at_s: f64) {
        let BasketSettings { size, item_px, .. } = self.settings;
        self.covers.clear();
        self.things.clear();
        let mut reached = None;
        if let Some(visit) = self.visit.filter(|visit| at_s >= visit.start_s) {
            let (x, y) = self.place(visit.slot);
            let share = if at_s < visit.down_s {
                (at_s - visit.start_s) / (visit.down_s - visit.start_s)
            } else {
                (visit.end_s - at_s) / (visit.end_s - visit.down_s)
            };
            // From above the picture down to the place.
            let tip = -item_px + (y + item_px) * share;
            let half = Self::HAND * item_px / 2.0;
            let (x1, x2, y2) = ((x - half) as f32, (x + half) as f32, (tip + item_px / 4.0) as f32);
            self.covers.push(BoxPx { x1, y1: 0.0, x2, y2: y2.max(0.0) });
            reached = Some((x, tip));
        }
        let mut things = std::mem::take(&mut self.things);
        let lying = self.items.iter().map(|item| (item, self.place(item.slot)));
        let held = self.held.as_ref().zip(reached);
        for (item, (x, y)) in lying.chain(held) {
            let bounds = BoxPx::from_center(x as f32, y as f32, item_px as f32, item_px as f32);
            let mut thing = Thing { id: item.id, on: None, class: item.class, bounds, shown: bounds, visible: 1.0 };
            look(&mut thing, size, &self.covers);
            if bounds.clipped(size.width as f32, size.height as f32).area() > 0.0 {
                things.push(thing);
            }
        }
        self.things = things;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_and_not_taken_lies_in_the_basket() {
        let (mut taken, mut hidden) = (0, 0);
        for seed in 0..50 {
            let mut basket = Basket::new(BasketSettings { seed, ..BasketSettings::default() });
            let (mut at, mut net) = (Duration::ZERO, [0_usize; 4]);
            while !basket.over() {
                at += Duration::from_millis(50);
                hidden += basket.truth(at).iter().filter(|thing| thing.visible < 0.3).count();
                for happening in basket.happened() {
                    match happening.deed {
                        Deed::Put => net[happening.class] += 1,
                        Deed::Taken => {
                            net[happening.class] -= 1;
                            taken += 1;
                        }
                        _ => panic!("{happening:?}"),
                    }
                }
            }
            assert!((0..4).all(|class| basket.count(class) == net[class]), "{net:?}");
            let zone = basket.zone();
            let inside = |thing: &Thing| thing.bounds.y1 > zone.y1 - 40.0 && thing.visible == 1.0;
            assert!(basket.truth(at).iter().all(inside));
        }
        assert!(taken > 50 && hidden > 1000, "{taken} taken, {hidden} times hidden");
    }
}
