//! A checkout against a ledger of its own.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    event::{EntryKind, Total, What},
    random::Rng,
    rules::{
        Kind, Order, Place, SessionSettings, TotalSettings,
        counter::testing::{Bench, LINE, count, zone},
    },
};

const NAMES: [&str; 4] = ["apple", "bread", "milk", "wine"];

fn checkout(place: Place, prices: [i64; 4]) -> Bench {
    let session = SessionSettings { by_command: true, ..SessionSettings::default() };
    let prices = NAMES.iter().zip(prices).map(|(name, price)| ((*name).to_owned(), price)).collect();
    Bench::new(Kind::Total(TotalSettings {
        count: count(place, session),
        prices,
        currency: "EUR".to_owned(),
        decimals: 2,
    }))
}

fn void(name: &str, quantity: i64) -> Order {
    Order::Void { name: name.to_owned(), quantity, note: Some("not his".to_owned()) }
}

fn correct(name: &str, quantity: i64) -> Order {
    Order::Correct { name: name.to_owned(), quantity, note: None }
}

fn totals(bench: &Bench) -> impl Iterator<Item = &Total> {
    bench.events.iter().filter_map(|event| match &event.what {
        What::Total(total) => Some(total),
        _ => None,
    })
}

/// That the numbers have no hole, the amounts of every session add up to its sum and its lines at every entry, and every
/// session opens and closes.
fn assert_journal_adds_up(bench: &Bench) {
    let (mut number, mut session, mut sum, mut quantities) = (0, 0, 0_i64, BTreeMap::new());
    for total in totals(bench) {
        let entry = &total.entry;
        number += 1;
        assert_eq!(entry.number, number);
        if entry.kind == EntryKind::Open {
            session += 1;
            (sum, quantities) = (0, BTreeMap::new());
        }
        assert_eq!((total.session.number, total.session.closed.is_some()), (session, entry.kind == EntryKind::Close));
        sum += entry.amount_minor;
        if let Some(name) = &entry.name {
            *quantities.entry(name.clone()).or_insert(0) += entry.quantity;
        }
        assert_eq!(total.sum_minor, sum, "{entry:?}");
        assert_eq!(total.items.iter().map(|item| item.amount_minor).sum::<i64>(), sum);
        assert!(total.items.iter().all(|item| item.amount_minor == item.quantity * item.price_minor));
        quantities.retain(|_, quantity| *quantity != 0);
        assert_eq!(
            total.items.iter().map(|item| (item.name.clone(), item.quantity)).collect::<BTreeMap<_, _>>(),
            quantities
        );
    }
}

/// One thing that really lies in the basket.
#[derive(Clone, Copy)]
struct Real {
    track: u64,
    class: usize,
    place: (f32, f32),
    /// Whether somebody said that it does not count.
    exempt: bool,
}

/// What a person would write down.
struct Ledger {
    rng: Rng,
    real: Vec<Real>,
    quantities: [i64; 4],
    prices: [i64; 4],
    next: u64,
}

impl Ledger {
    fn new(seed: u64, prices: [i64; 4]) -> Self {
        Self { rng: Rng::new(seed, 3), real: Vec::new(), quantities: [0; 4], prices, next: 0 }
    }

    fn sum(&self) -> i64 {
        self.quantities.iter().zip(self.prices).map(|(quantity, price)| quantity * price).sum()
    }

    fn things(&self) -> Vec<(u64, &'static str, (f32, f32))> {
        self.real.iter().map(|real| (real.track, NAMES[real.class], real.place)).collect()
    }

    /// Something new, somewhere where nothing lies.
    fn put(&mut self) -> Real {
        self.next += 1;
        let class = self.rng.below(4) as usize;
        let place = loop {
            let place = (self.rng.between(120, 480) as f32, self.rng.between(120, 380) as f32);
            let far = |real: &Real| (real.place.0 - place.0).abs() + (real.place.1 - place.1).abs() > 60.0;
            if self.real.iter().all(far) {
                break place;
            }
        };
        let real = Real { track: self.next, class, place, exempt: false };
        self.real.push(real);
        self.quantities[class] += 1;
        real
    }

    /// Something is taken back: of its class, what does not count goes first.
    fn take(&mut self) -> Option<Real> {
        let count = i32::try_from(self.real.len()).unwrap();
        let class = self.real.get(self.rng.below(count) as usize)?.class;
        let same = |exempt: bool| self.real.iter().position(|real| real.class == class && real.exempt == exempt);
        let index = same(true).or(same(false))?;
        let real = self.real.remove(index);
        if !real.exempt {
            self.quantities[class] = (self.quantities[class] - 1).max(0);
        }
        Some(real)
    }

    /// So many of a class count from now on.
    fn set(&mut self, class: usize, quantity: i64) {
        let mut less = self.quantities[class] - quantity;
        for real in self.real.iter_mut().filter(|real| real.class == class) {
            if less > 0 && !real.exempt {
                real.exempt = true;
                less -= 1;
            } else if less < 0 && real.exempt {
                real.exempt = false;
                less += 1;
            }
        }
        self.quantities[class] = quantity;
    }
}

/// A void or a correction, or a void of more than there is.
fn order_something(bench: &mut Bench, ledger: &mut Ledger) {
    let class = ledger.rng.below(4) as usize;
    let there = ledger.quantities[class];
    match ledger.rng.below(3) {
        0 if there > 0 => {
            let quantity = i64::from(ledger.rng.between(1, i32::try_from(there).unwrap()));
            bench.order(&void(NAMES[class], quantity)).unwrap();
            ledger.set(class, there - quantity);
        }
        1 => {
            let quantity = i64::from(ledger.rng.below(4));
            bench.order(&correct(NAMES[class], quantity)).unwrap();
            ledger.set(class, quantity);
        }
        _ => {
            let told = bench.order(&void(NAMES[class], there + 1)).unwrap_err().to_string();
            assert!(told.contains(&format!("has {there}; void at most so many")), "{told}");
        }
    }
}

fn random_prices(rng: &mut Rng) -> [i64; 4] {
    [0; 4].map(|_| i64::from(rng.between(1, 99_999)))
}

fn assert_agrees(bench: &Bench, ledger: &Ledger, basket: usize) {
    let total = bench.total();
    assert_eq!(total.sum_minor, ledger.sum(), "basket {basket}: {total:?}");
    for (name, quantity) in NAMES.iter().zip(ledger.quantities) {
        let item = total.items.iter().find(|item| &*item.name == *name);
        assert_eq!(item.map_or(0, |item| item.quantity), quantity, "basket {basket}: {name}");
    }
}

#[test]
fn the_totals_of_baskets_in_a_zone_are_exact_to_the_cent() {
    let mut rng = Rng::new(31, 1);
    for scale in 0..50 {
        let prices = random_prices(&mut rng);
        let mut bench = checkout(zone(), prices);
        let mut ledger = Ledger::new(scale, prices);
        for basket in 0..10 {
            // What lay in the basket before is taken away, sometimes while the next one is open already.
            let early = rng.chance(50);
            if early {
                bench.open();
            }
            bench.frames(30, &[]);
            if !early {
                bench.open();
            }
            for _ in 0..rng.between(1, 14) {
                match rng.below(10) {
                    0..5 => drop(ledger.put()),
                    5..7 => drop(ledger.take()),
                    7 => {
                        // A hand hides some of it, and some are new to the tracker afterwards.
                        let hidden = rng.bits();
                        let shown: Vec<_> =
                            ledger.things().into_iter().filter(|thing| hidden >> (thing.0 % 64) & 1 == 0).collect();
                        bench.frames(15, &shown);
                        for real in ledger.real.iter_mut().filter(|real| hidden >> (real.track % 64) & 1 == 1) {
                            if rng.chance(50) {
                                ledger.next += 1;
                                real.track = ledger.next;
                            }
                        }
                    }
                    _ => order_something(&mut bench, &mut ledger),
                }
                let things = ledger.things();
                bench.frames(25, &things);
                assert_agrees(&bench, &ledger, basket);
            }
            bench.order(&Order::Close).unwrap();
            assert_agrees(&bench, &ledger, basket);
            ledger.quantities = [0; 4];
            ledger.real.clear();
            if rng.chance(20) {
                bench.restart();
            }
        }
        assert_journal_adds_up(&bench);
    }
}

#[test]
fn the_totals_of_baskets_behind_a_line_are_exact_to_the_cent() {
    let mut rng = Rng::new(32, 1);
    for scale in 0..50 {
        let prices = random_prices(&mut rng);
        let mut bench = checkout(Place::Line(LINE), prices);
        let mut ledger = Ledger::new(scale, prices);
        let mut next = 0;
        for basket in 0..10 {
            bench.open();
            for _ in 0..rng.between(1, 14) {
                next += 1;
                match rng.below(10) {
                    0..5 => {
                        let real = ledger.put();
                        for x in [250., 298., 303., 297., 330.] {
                            bench.frame(&[(next, NAMES[real.class], (x, 200.))]);
                        }
                        bench.frames(40, &[]);
                    }
                    5..7 => {
                        let Some(real) = ledger.take() else { continue };
                        for x in [350., 302., 250.] {
                            bench.frame(&[(next, NAMES[real.class], (x, 200.))]);
                        }
                        bench.frames(40, &[]);
                    }
                    7 => {
                        // In and back again: nothing.
                        let name = rng.pick(&NAMES);
                        for x in [250., 302., 350., 250.] {
                            bench.frame(&[(next, name, (x, 200.))]);
                        }
                        bench.frames(40, &[]);
                    }
                    _ => order_something(&mut bench, &mut ledger),
                }
                let things = bench.total();
                if things.sum_minor != ledger.sum() {
                    assert_agrees(&bench, &ledger, basket);
                }
                if rng.chance(10) {
                    bench.restart();
                }
            }
            bench.order(&Order::Close).unwrap();
            assert_agrees(&bench, &ledger, basket);
            ledger.quantities = [0; 4];
            ledger.real.clear();
        }
        assert_journal_adds_up(&bench);
    }
}

#[test]
fn what_is_expected_stands_beside_what_is_seen() {
    let mut bench = checkout(zone(), [100, 200, 300, 400]);
    let expected = |of: &[(&str, i64)]| Order::Open {
        external_id: Some("lot 1".to_owned()),
        expected: Some(of.iter().map(|(name, quantity)| ((*name).to_owned(), *quantity)).collect()),
    };
    for (wrong, words) in [
        (&[("cake", 1)][..], "no price for \"cake\"; its prices: apple, bread, milk, wine"),
        (&[("milk", -1)], "name 0 or more"),
        (&[("milk", 1), ("milk", 2)], "name each class once"),
    ] {
        assert!(bench.order(&expected(wrong)).unwrap_err().to_string().contains(words));
    }
    assert!(bench.events.is_empty(), "what is refused leaves no trace");
    bench.order(&expected(&[("milk", 2), ("wine", 1)])).unwrap();
    bench.frames(8, &[(1, "milk", (200., 200.))]);
    bench.restart();
    let total = bench.total();
    let told: Vec<_> = total.expected.unwrap().iter().map(|(name, quantity)| (name.to_string(), *quantity)).collect();
    assert_eq!(told, [("milk".to_owned(), 2), ("wine".to_owned(), 1)]);
    assert_eq!((total.items.len(), total.items[0].quantity, total.sum_minor), (1, 1, 300));
    bench.open();
    assert_eq!(bench.total().expected, None);
}

#[test]
fn orders_that_make_no_sense_are_refused_in_a_sentence_and_change_nothing() {
    let mut bench = checkout(zone(), [i64::MAX / 2, 1, 1, 1]);
    assert!(bench.order(&correct("apple", 1)).unwrap_err().to_string().contains("open one first"));
    bench.open();
    bench.order(&correct("apple", 2)).unwrap();
    let before = bench.total();
    for (order, words) in [
        (correct("apple", 3), "more than can be added up"),
        (correct("bread", 5), "more than can be added up"),
        (correct("apple", -1), "there cannot be -1"),
        (correct("cake", 1), "no price for \"cake\""),
        (void("apple", 0), "name 1 or more"),
        (void("apple", 3), "has 2; void at most so many"),
        (void("cake", 1), "no price for \"cake\""),
    ] {
        let told = bench.order(&order).unwrap_err().to_string();
        assert!(told.contains(words), "{told}");
    }
    assert_eq!(bench.total(), before);
    assert_journal_adds_up(&bench);
}

#[test]
fn what_was_voided_is_not_taken_back_a_second_time() {
    let mut bench = checkout(zone(), [100, 200, 300, 400]);
    bench.open();
    let (one, two) = ((1, "apple", (200., 200.)), (2, "apple", (300., 200.)));
    bench.frames(8, &[one, two]);
    bench.order(&void("apple", 1)).unwrap();
    bench.frames(30, &[one]);
    assert_eq!(bench.total().sum_minor, 100);
    bench.frames(30, &[]);
    assert_eq!(bench.total().sum_minor, 0);
    let kinds: Vec<_> = totals(&bench).map(|total| total.entry.kind).collect();
    assert_eq!(kinds, [EntryKind::Open, EntryKind::Put, EntryKind::Put, EntryKind::Void, EntryKind::Take]);
    let voided = totals(&bench).nth(3).unwrap();
    assert_eq!(
        (voided.entry.quantity, voided.entry.amount_minor, voided.entry.note.as_deref()),
        (-1, -100, Some("not his"))
    );
}

#[test]
fn what_lies_there_from_an_earlier_basket_is_no_part_of_this_one() {
    let mut bench = checkout(zone(), [100, 200, 300, 400]);
    let (old, new) = ((1, "apple", (200., 200.)), (2, "apple", (300., 200.)));
    bench.open();
    bench.frames(8, &[old]);
    bench.open();
    bench.frames(8, &[old, new]);
    assert_eq!(bench.total().sum_minor, 100);
    bench.frames(30, &[new]);
    assert_eq!(bench.total().sum_minor, 100);
    bench.wait(Duration::from_secs(1));
    bench.frames(30, &[]);
    assert_eq!(bench.total().sum_minor, 0);
    assert_journal_adds_up(&bench);
}

#[test]
fn a_session_in_a_currency_that_is_no_more_ends_as_it_was() {
    let settings = |currency: &str, decimals, by_command| TotalSettings {
        count: count(zone(), SessionSettings { by_command, ..SessionSettings::default() }),
        prices: vec![("apple".to_owned(), 45)],
        currency: currency.to_owned(),
        decimals,
    };
    let moves = |by_command, (currency, decimals): (&str, u8)| {
        let mut bench = Bench::new(Kind::Total(settings("EUR", 2, by_command)));
        bench.order(&Order::Reset).unwrap();
        bench.frames(8, &[(1, "apple", (300.0, 200.0))]);
        let before = bench.total();
        assert_eq!((before.sum_minor, before.session.closed), (45, None));
        bench.configure(Kind::Total(settings(currency, decimals, by_command)));
        bench.restart();
        assert_eq!(bench.total(), before, "nothing is told otherwise before it has ended");
        bench.events.clear();
        bench.frames(3, &[(1, "apple", (300.0, 200.0))]);
        assert_journal_goes_on(&bench, before.entry.number);
        totals(&bench)
            .map(|total| (total.entry.kind, total.currency.clone(), total.decimals, total.sum_minor))
            .collect::<Vec<_>>()
    };
    let eur = |kind, sum| (kind, "EUR".to_owned(), 2, sum);
    assert_eq!(moves(false, ("EUR", 2)), []);
    assert_eq!(moves(false, ("EUR", 3)), [eur(EntryKind::Close, 45), (EntryKind::Open, "EUR".to_owned(), 3, 0)]);
    assert_eq!(moves(false, ("USD", 2)), [eur(EntryKind::Close, 45), (EntryKind::Open, "USD".to_owned(), 2, 0)]);
    // A session that is opened by command waits for the next one.
    assert_eq!(moves(true, ("USD", 2)), [eur(EntryKind::Close, 45)]);
}

fn assert_journal_goes_on(bench: &Bench, number: u64) {
    for (index, total) in totals(bench).enumerate() {
        assert_eq!(total.entry.number, number + 1 + index as u64);
    }
}
