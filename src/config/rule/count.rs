//! `kind = "count"` and `kind = "total"`.

use std::{ops::RangeInclusive, time::Duration};

use super::{Post, SECONDS_MAX, classes, confidence};
use crate::{
    config::{place, section::Section, text::ClockText},
    money,
    rules::{CountSettings, Place, SessionSettings, TotalSettings},
};

/// Things count when they were in the zone for so long,
const SETTLE: Duration = Duration::from_millis(500);

/// and are gone when they were not seen there for so long, where nothing else is said.
const GONE_AFTER: Duration = Duration::from_secs(2);

/// A day has at most so many times at which a session ends.
const TIMES_MAX: usize = 48;

/// Decimals that currencies have.
const DECIMALS: RangeInclusive<i64> = 0..=4;

/// What is counted, where, and over which span.
pub(super) fn read(section: &mut Section, post: Post<'_>) -> Option<CountSettings> {
    let classes = classes(section, "classes", post);
    counter(section, classes, post)
}

/// What is counted and what it costs.
pub(super) fn read_total(section: &mut Section, post: Post<'_>) -> Option<TotalSettings> {
    let named = section.has("classes");
    let mut classes = classes(section, "classes", post);
    let decimals = section.integer("decimals", DECIMALS).unwrap_or(2) as u8;
    let prices = section.parsed_by_name("prices", |text| money::minor_units(text, decimals));
    if !named {
        classes = prices.iter().map(|(name, _)| name.clone()).collect();
    }
    section.needs("currency", "write it as ISO 4217 does, as in \"EUR\"");
    let currency = section.text("currency").unwrap_or_default();
    let count = counter(section, classes, post)?;
    Some(TotalSettings { count, prices, currency, decimals })
}

fn counter(section: &mut Section, classes: Vec<String>, post: Post<'_>) -> Option<CountSettings> {
    let anchor = place::anchor(section);
    let place = read_place(section);
    let confidence = confidence(section, "confidence", &classes, post);
    let session = session(section);
    Some(CountSettings { classes, confidence, place: place?, anchor, session })
}

/// Where things are counted: at a line or in a zone.
fn read_place(section: &mut Section) -> Option<Place> {
    if section.has("line") && section.has("zone") {
        section.problem("zone", None, "things are counted at a line or in a zone; choose one");
        section.skip(&["line", "band", "direction", "zone", "settle", "gone_after"]);
        return None;
    }
    if section.has("line") {
        for key in ["settle", "gone_after"] {
            section.misplaced(key, "it goes with a zone, and here is a line; take it out");
        }
        return place::line(section).map(Place::Line);
    }
    place::without_line(section, "it goes with a line, and here is none; take it out");
    if !section.needs("zone", "say where things are counted: zone or line") {
        section.skip(&["settle", "gone_after"]);
        return None;
    }
    let zone = place::zone(section);
    let settle = section.seconds("settle", 0.0..=SECONDS_MAX).unwrap_or(SETTLE);
    let gone_after = section.seconds("gone_after", 0.0..=SECONDS_MAX).unwrap_or(GONE_AFTER);
    Some(Place::Zone { zone: zone?, settle, gone_after })
}

/// What ends a session, beside the commands.
fn session(section: &mut Section) -> SessionSettings {
    let words = [("always", false), ("command", true)];
    SessionSettings {
        schedule: schedule(section),
        empty_after: section.seconds("empty_after", 0.1..=SECONDS_MAX),
        by_command: section.word("sessions", &words).unwrap_or(false),
    }
}

/// Times of the day.
fn schedule(section: &mut Section) -> Vec<Duration> {
    let texts = section.texts("schedule").unwrap_or_default();
    let times: Result<Vec<Duration>, String> =
        texts.iter().map(|text| text.parse::<ClockText>().map(|time| time.0)).collect();
    match times {
        Err(what) => section.problem("schedule", None, what),
        Ok(times) if times.len() > TIMES_MAX => {
            section.problem("schedule", None, format!("a day has at most {TIMES_MAX} of them; leave some out"));
        }
        Ok(times) => return times,
    }
    Vec::new()
}
