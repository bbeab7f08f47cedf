//! The commands that ask something of a rule or a camera.

use std::time::Duration;

use serde_json::Value;

use super::{Command, Refusal, keys::Keys};
use crate::rules::Order;

/// The longest that an alarm may be shelved, in seconds: a week.
pub const SHELVE_SECONDS_MAX: f64 = 604_800.0;
/// The most that may be voided, corrected or expected of one class.
pub const QUANTITY_MAX: i64 = 1_000_000;

const TEXT: &str = "a text of 1 to 200 bytes";
const TEXT_BYTES_MAX: usize = 200;
const SECONDS: &str = "seconds from 0 to 604800";
const AT_LEAST_ONE: &str = "a whole number from 1 to 1000000";
const AT_LEAST_NONE: &str = "a whole number from 0 to 1000000";
const EXPECTED: &str = "an object with a whole number from 0 to 1000000 for each class";

/// What is asked of a rule: `order` takes its own keys; `known` are all that such a command has.
pub(super) fn read(
    mut keys: Keys,
    known: &'static str,
    order: impl FnOnce(&mut Keys) -> Result<Order, Refusal>,
) -> Result<Command, Refusal> {
    let camera = keys.optional("camera", TEXT, text)?;
    let rule = keys.required("rule", TEXT, text)?;
    let order = order(&mut keys)?;
    keys.end(known)?;
    Ok(Command::Rule { camera, rule, order })
}

/// For how long an alarm is silenced.
pub(super) fn shelve(keys: &mut Keys) -> Result<Order, Refusal> {
    let span = |value: &Value| value.as_f64().filter(|seconds| (0.0..=SHELVE_SECONDS_MAX).contains(seconds));
    keys.required("seconds", SECONDS, span).map(|seconds| Order::Shelve(Duration::from_secs_f64(seconds)))
}

/// What a part or a session is called, and what should be in it.
pub(super) fn open(keys: &mut Keys) -> Result<Order, Refusal> {
    let external_id = keys.optional("external_id", TEXT, text)?;
    let expected = keys.optional("expected", EXPECTED, expected)?;
    Ok(Order::Open { external_id, expected })
}

/// What is taken back; one, where it is not said how many.
pub(super) fn void(keys: &mut Keys) -> Result<Order, Refusal> {
    let name = keys.required("name", TEXT, text)?;
    let quantity = keys.optional("quantity", AT_LEAST_ONE, |value| whole(value, 1))?.unwrap_or(1);
    let note = keys.optional("note", TEXT, text)?;
    Ok(Order::Void { name, quantity, note })
}

/// How many there are.
pub(super) fn correct(keys: &mut Keys) -> Result<Order, Refusal> {
    let name = keys.required("name", TEXT, text)?;
    let quantity = keys.required("quantity", AT_LEAST_NONE, |value| whole(value, 0))?;
    let note = keys.optional("note", TEXT, text)?;
    Ok(Order::Correct { name, quantity, note })
}

/// Which camera's picture is asked for.
pub(super) fn snapshot(mut keys: Keys) -> Result<Command, Refusal> {
    let camera = keys.optional("camera", TEXT, text)?;
    keys.end("camera and id")?;
    Ok(Command::Snapshot { camera })
}

fn text(value: &Value) -> Option<String> {
    value.as_str().filter(|text| (1..=TEXT_BYTES_MAX).contains(&text.len())).map(str::to_owned)
}

fn whole(value: &Value, least: i64) -> Option<i64> {
    value.as_i64().filter(|number| (least..=QUANTITY_MAX).contains(number))
}

fn expected(value: &Value) -> Option<Vec<(String, i64)>> {
    let class = |(name, quantity): (&String, &Value)| text(&Value::from(name.as_str())).zip(whole(quantity, 0));
    value.as_object()?.iter().map(class).collect()
}
