//! What is said about the line, as JSON: the same object in a message, in a replayed recording, and on a terminal.
//!
//! Keys stand in the order of the alphabet. Money is exact decimal text, scores have five decimals, and how a moment is
//! written the caller says. A key whose value is not known is left out, never `null`.

use serde_json::{Map, Value, json};

use super::{json::DECIMALS, rounded};
use crate::{
    event::{
        Alarm, ClassCount, Count, Crossed, Deadline, Defect, Entry, Event, Item, Session, Step, Total, Verdict, What,
    },
    moment::Moment,
    money::decimal_text,
};

/// How a moment is written: RFC 3339.
pub type Clock<'a> = &'a dyn Fn(Moment) -> String;

/// The leaf of a camera's topics under which the picture of an event is published.
pub fn snapshot_leaf(event: &str) -> String {
    format!("snapshot/{event}")
}

/// The word for what a rule says: `alarm`, `verdict`, `count`, `total` or `line_crossed`.
pub fn kind(what: &What) -> &'static str {
    match what {
        What::Alarm(_) => "alarm",
        What::Verdict(_) => "verdict",
        What::Count(_) => "count",
        What::Total(_) => "total",
        What::Crossed(_) => "line_crossed",
    }
}

/// The whole event: `event {id, kind, rule, at}`, under its kind what a rule says, and `because`. What crossed a line stands
/// in `event` itself, as other things do that happen on the line. The frame belongs to whoever knows more of it than its
/// number.
pub fn event(event: &Event, clock: Clock<'_>) -> Map<String, Value> {
    let mut head = Map::new();
    head.insert("id".into(), event.id.as_str().into());
    head.insert("kind".into(), kind(&event.what).into());
    head.insert("rule".into(), (*event.rule).into());
    head.insert("at".into(), clock(event.at).into());
    let mut map = state(&event.what, clock);
    if let What::Crossed(_) = event.what
        && let Some(Value::Object(crossed)) = map.remove("line_crossed")
    {
        head.extend(crossed);
    }
    map.insert("event".into(), head.into());
    map.insert("because".into(), event.because.iter().map(|reason| step(reason, clock)).collect());
    map
}

/// What a rule says, alone: one key, its [`kind`].
pub fn state(what: &What, clock: Clock<'_>) -> Map<String, Value> {
    let body = match what {
        What::Alarm(said) => alarm(said, clock),
        What::Verdict(said) => verdict(said, clock),
        What::Count(said) => count(said, clock),
        What::Total(said) => total(said, clock),
        What::Crossed(said) => crossed(said),
    };
    Map::from_iter([(kind(what).to_owned(), body)])
}

fn alarm(alarm: &Alarm, clock: Clock<'_>) -> Value {
    let mut body = json!({
        "state": alarm.state.name(),
        "active": alarm.active,
        "priority": alarm.priority.name(),
        "since": clock(alarm.since),
        "raises": alarm.raises,
        "reason": alarm.reason,
    });
    put(&mut body, "raised_at", alarm.raised_at.map(clock));
    put(&mut body, "evidence", alarm.evidence.as_ref().map(|id| json!({"id": id, "topic": snapshot_leaf(id)})));
    put(&mut body, "shelved_until", alarm.shelved_until.map(clock));
    body
}

fn verdict(verdict: &Verdict, clock: Clock<'_>) -> Value {
    let defect = |Defect { name, frames, confidence }: &Defect| json!({"name": **name, "frames": frames, "confidence": rounded(*confidence, DECIMALS)});
    let reject = verdict.deadline.map(|deadline| match deadline {
        Deadline::At(at) => json!({"at": clock(at)}),
        Deadline::Ticks(ticks) => json!({"ticks": ticks}),
    });
    let mut body = json!({
        "part": verdict.part,
        "verdict": verdict.judgement.name(),
        "opened_at": clock(verdict.opened_at),
        "triggered_at": clock(verdict.triggered_at),
        "frames": verdict.frames,
        "frames_bad": verdict.frames_bad,
        "defects": verdict.defects.iter().map(defect).collect::<Vec<_>>(),
        "missed": verdict.missed,
    });
    put(&mut body, "external_id", verdict.external_id.as_deref());
    put(&mut body, "track_id", verdict.track);
    put(&mut body, "reject", reject);
    body
}

fn count(count: &Count, clock: Clock<'_>) -> Value {
    let class = |class: &ClassCount| json!({"name": *class.name, "in": class.incoming, "out": class.outgoing, "net": class.net()});
    let sum = |part: fn(&ClassCount) -> u64| count.classes.iter().map(part).fold(0, u64::saturating_add);
    json!({
        "session": session(&count.session, clock),
        "classes": count.classes.iter().map(class).collect::<Vec<_>>(),
        "in": sum(|class| class.incoming),
        "out": sum(|class| class.outgoing),
        "net": count.classes.iter().map(ClassCount::net).fold(0, i64::saturating_add),
        "ever": {"in": count.ever_in, "out": count.ever_out},
    })
}

fn total(total: &Total, clock: Clock<'_>) -> Value {
    let money = |minor| decimal_text(minor, total.decimals);
    let item = |Item { name, quantity, price_minor, amount_minor }: &Item| json!({"name": **name, "quantity": quantity, "price": money(*price_minor), "amount": money(*amount_minor)});
    let Entry { number, at, kind, name, quantity, amount_minor, note } = &total.entry;
    let mut entry = json!({
        "number": number,
        "at": clock(*at),
        "kind": kind.name(),
        "quantity": quantity,
        "amount": money(*amount_minor),
    });
    put(&mut entry, "name", name.as_deref());
    put(&mut entry, "note", note.as_deref());
    let mut body = json!({
        "session": session(&total.session, clock),
        "items": total.items.iter().map(item).collect::<Vec<_>>(),
        "quantity": total.items.iter().map(|item| item.quantity).fold(0, i64::saturating_add),
        "sum": money(total.sum_minor),
        "currency": total.currency,
        "entry": entry,
    });
    if let Some(lines) = compared(total) {
        put(&mut body, "complete", Some(lines.iter().all(|(_, expected, seen)| expected == seen)));
        let line = |&(name, expected, seen): &(&str, i64, i64)| json!({"name": name, "expected": expected, "seen": seen, "difference": seen.saturating_sub(expected)});
        put(&mut body, "expected", Some(lines.iter().map(line).collect::<Vec<_>>()));
    }
    body
}

/// Class, how many are expected, how many were seen: what is expected first, then what nobody expects.
fn compared(total: &Total) -> Option<Vec<(&str, i64, i64)>> {
    let expected = total.expected.as_ref()?;
    let seen = |name: &str| total.items.iter().find(|item| *item.name == *name).map_or(0, |item| item.quantity);
    let known = |name: &str| expected.iter().any(|(known, _)| **known == *name);
    let wanted = expected.iter().map(|(name, quantity)| (&**name, *quantity, seen(name)));
    let unwanted = total.items.iter().filter(|item| !known(&item.name)).map(|item| (&*item.name, 0, item.quantity));
    Some(wanted.chain(unwanted).collect())
}

fn session(session: &Session, clock: Clock<'_>) -> Value {
    let mut body = json!({"number": session.number, "opened_at": clock(session.opened_at)});
    put(&mut body, "external_id", session.external_id.as_deref());
    put(&mut body, "closed_at", session.closed.map(|(at, _)| clock(at)));
    put(&mut body, "closing", session.closed.map(|(_, closing)| closing.name()));
    body
}

fn crossed(Crossed { track, name, way }: &Crossed) -> Value {
    json!({"track_id": track, "name": **name, "way": way.name()})
}

fn step(step: &Step, clock: Clock<'_>) -> Value {
    let mut body = json!({"at": clock(step.at), "meant": step.meant});
    put(&mut body, "frame", step.frame);
    put(&mut body, "score", step.score.map(|score| rounded(score, DECIMALS)));
    body
}

/// Adds a key where there is a value for it.
fn put(body: &mut Value, key: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        body[key] = value.into();
    }
}
