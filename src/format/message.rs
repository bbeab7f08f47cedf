//! A message of ours as one readable line, for people who look at a terminal. Everything stands in the message itself; this
//! leaves out most of it.

use std::fmt::Write;

use serde_json::Value;

/// What a message says, in a few words; `None` where it is none that is known here.
pub fn line(message: &Value) -> Option<String> {
    let line = match message["event"]["kind"].as_str() {
        Some("alarm") => alarm(&message["alarm"]),
        Some("verdict") => verdict(&message["verdict"]),
        Some("count") => count(&message["count"]),
        Some("total") => total(&message["total"]),
        Some("line_crossed") => crossed(&message["event"]),
        Some(change @ ("appeared" | "changed" | "left")) => thing(change, &message["event"]),
        Some(_) => None,
        None => gap(message),
    }?;
    // What somebody else has named may hold anything; a line stays one.
    Some(line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect())
}

/// `unacknowledged, high: scratch in 3 of 5 frames`.
fn alarm(alarm: &Value) -> Option<String> {
    let (state, priority) = (alarm["state"].as_str()?, alarm["priority"].as_str()?);
    let mut line = format!("{state}, {priority}: {}", alarm["reason"].as_str()?);
    if let Some(until) = alarm["shelved_until"].as_str() {
        let _infallible = write!(line, ", until {until}");
    }
    Some(line)
}

/// `part 4711 (lot 7): fail, scratch in 9 of 12 frames, dent in 2; reject at …`.
fn verdict(verdict: &Value) -> Option<String> {
    let mut line = format!("part {}", verdict["part"].as_u64()?);
    let judgement = verdict["verdict"].as_str()?;
    let _infallible = match verdict["external_id"].as_str() {
        Some(external) => write!(line, " ({external}): {judgement}"),
        None => write!(line, ": {judgement}"),
    };
    let frames = verdict["frames"].as_u64()?;
    let defects = verdict["defects"].as_array()?;
    for defect in defects {
        let _infallible = write!(line, ", {} in {}", defect["name"].as_str()?, defect["frames"].as_u64()?);
    }
    let _infallible = write!(line, "{} {frames} frames", if defects.is_empty() { "," } else { " of" });
    let missed = if verdict["missed"].as_bool()? { ", too late" } else { "" };
    let reject = &verdict["reject"];
    let _infallible = match (reject["at"].as_str(), reject["ticks"].as_u64()) {
        (Some(at), _) => write!(line, "; gate at {at}{missed}"),
        (None, Some(ticks)) => write!(line, "; gate at tick {ticks}{missed}"),
        (None, None) => Ok(()),
    };
    Some(line)
}

/// `session 12: net 134, in 142, out 8 (bottle 137, can -3)`.
fn count(count: &Value) -> Option<String> {
    let classes = count["classes"].as_array()?.iter();
    let classes: Option<Vec<_>> =
        classes.map(|class| Some(format!("{} {}", class["name"].as_str()?, class["net"].as_i64()?))).collect();
    let classes = classes.filter(|classes| !classes.is_empty());
    let classes = classes.map_or_else(String::new, |classes| format!(" ({})", classes.join(", ")));
    let sum = |key: &str| count[key].as_i64();
    let (net, incoming, outgoing) = (sum("net")?, sum("in")?, sum("out")?);
    Some(format!("{}: net {net}, in {incoming}, out {outgoing}{classes}", session(&count["session"])?))
}

/// `session 4: put 1 apple, 0.45; 4 items, 12.34 EUR`.
fn total(total: &Value) -> Option<String> {
    let (entry, currency) = (&total["entry"], total["currency"].as_str()?);
    let mut line = format!("{}: {}", session(&total["session"])?, entry["kind"].as_str()?);
    if let Some(name) = entry["name"].as_str() {
        let (quantity, amount) = (entry["quantity"].as_i64()?, entry["amount"].as_str()?);
        let _infallible = write!(line, " {quantity} {name}, {amount}");
    }
    let (quantity, sum) = (total["quantity"].as_i64()?, total["sum"].as_str()?);
    let _infallible = write!(line, "; {quantity} items, {sum} {currency}");
    match total["complete"].as_bool() {
        Some(true) => line.push_str(", as expected"),
        Some(false) => line.push_str(", not as expected"),
        None => {}
    }
    Some(line)
}

/// `session 12 (shift A), closed by schedule`.
fn session(session: &Value) -> Option<String> {
    let mut words = format!("session {}", session["number"].as_u64()?);
    if let Some(external) = session["external_id"].as_str() {
        let _infallible = write!(words, " ({external})");
    }
    if let Some(closing) = session["closing"].as_str() {
        let _infallible = write!(words, ", closed by {closing}");
    }
    Some(words)
}

/// `bottle crossed out, track 88`.
fn crossed(event: &Value) -> Option<String> {
    let (name, way) = (event["name"].as_str()?, event["way"].as_str()?);
    Some(format!("{name} crossed {way}, track {}", event["track_id"].as_u64()?))
}

/// `appeared: scratch 0.91, track 88`.
fn thing(change: &str, event: &Value) -> Option<String> {
    let (name, confidence) = (event["name"].as_str()?, event["confidence"].as_f64()?);
    let track = event["track_id"].as_u64().map_or_else(String::new, |track| format!(", track {track}"));
    Some(format!("{change}: {name} {confidence:.2}{track}"))
}

/// `lost 17 to 20 of andon/line-1/in/events: full`.
fn gap(message: &Value) -> Option<String> {
    message["lost_epoch"].as_u64()?;
    let (from, to, reason) = (message["from"].as_u64()?, message["to"].as_u64()?, message["reason"].as_str()?);
    let topic = message["topic"].as_str().unwrap_or("all topics");
    Some(format!("lost {from} to {to} of {topic}: {reason}"))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use serde_json::json;

    use super::*;

    #[test]
    fn every_kind_of_message_has_its_line() {
        for (name, expected) in [
            ("alarm-raised", "unacknowledged, high: scratch in 3 of 5 frames, with 0.91"),
            ("alarm-shelved", "shelved, high: shelved for 600 s by command, until 2026-03-01T08:40:00.248000Z"),
            (
                "verdict-fail",
                "part 4711 (lot 7/\"3\"): fail, scratch in 9, dent in 2 of 12 frames; gate at 2026-03-01T08:30:00.539000Z",
            ),
            ("verdict-unsure", "part 4711: unsure, 0 frames; gate at tick 90120, too late"),
            ("count", "session 12: net 134, in 142, out 8 (bottle 137, can -3)"),
            ("count-closed", "session 12 (shift A), closed by schedule: net 134, in 142, out 8 (bottle 137, can -3)"),
            ("total", "session 4 (till-1): put 1 apple, 0.45; 4 items, 12.34 EUR"),
            ("total-expected", "session 4 (till-1): void -1 apple, -1.099; 4 items, -0.005 TND, not as expected"),
            ("event-crossed", "bottle crossed out, track 88"),
            ("event-tracked", "appeared: scratch 0.91, track 88"),
            ("event-left", "left: scratch 0.91"),
            ("gap", "lost 17 to 20 of andon/press-4/in/events: full"),
            ("gap-all", "lost 1 to 900 of all topics: damaged"),
        ] {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/wire/{name}.txt"));
            let text = fs::read_to_string(path).unwrap();
            let message = serde_json::from_str(text.split_once('\n').unwrap().1).unwrap();
            assert_eq!(line(&message).as_deref(), Some(expected), "{name}");
        }
    }

    #[test]
    fn what_is_not_known_has_none_and_a_line_stays_one() {
        for other in [json!(null), json!({"state": "online"}), json!({"event": {"kind": "alarm"}}), json!([1])] {
            assert_eq!(line(&other), None, "{other}");
        }
        let alarm = json!({"state": "normal", "priority": "low", "reason": "a\nb\u{1b}[2J"});
        let message = json!({"event": {"kind": "alarm"}, "alarm": alarm});
        assert_eq!(line(&message).as_deref(), Some("normal, low: a b [2J"));
    }
}
