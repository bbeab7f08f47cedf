//! `andon explain`: which frames, scores and steps of a rule led to an event.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use andon::{
    config::DEFAULT_PATH,
    draw,
    recording::{self, Pictures, Player},
    store::{Row, history::History},
    whole_file,
};
use anyhow::{Context, anyhow, bail};
use serde_json::Value;

use super::{Outcome, events, output};

/// Say which frames, scores and steps of a rule led to an event
#[derive(Debug, clap::Args)]
#[command(after_help = NOTES)]
pub(super) struct Args {
    /// The event's id, as its message has it
    #[arg(value_name = "EVENT")]
    event: String,

    /// The configuration that names the outbox
    #[arg(short, long, value_name = "FILE", default_value = DEFAULT_PATH)]
    config: PathBuf,

    /// The file of the outbox itself
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    db: Option<PathBuf>,

    /// Look in the folder of a camera's recording instead of the outbox
    #[arg(short, long, value_name = "DIR", conflicts_with_all = ["config", "db"])]
    recording: Option<PathBuf>,

    /// Save the pictures that led to it, side by side (.jpg or .png); of the outbox, the picture that was published (.jpg)
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
}

const NOTES: &str = "\
Examples:
  andon events --since 1h                             which events there were
  andon explain infeed-solder-64a1f0c2-17 --out why.jpg
  andon explain infeed-solder-64a1f0c2-17 --recording shift/infeed --out why.jpg";

/// Runs the command.
pub(super) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let message = match &args.recording {
        Some(folder) => {
            let message = in_recording(args, folder)?;
            if let Some(out) = &args.out {
                save_strip(folder, &message, out)?;
            }
            message
        }
        None => in_outbox(args)?,
    };
    output::print(&told(&message))?;
    Ok(Outcome::Done)
}

fn in_recording(args: &Args, folder: &Path) -> anyhow::Result<Value> {
    let path = folder.join(recording::SAID);
    let text = std::fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
    let mut messages = text.lines().filter_map(|line| serde_json::from_str(line).ok());
    messages.find(|message| is_event(message, &args.event)).ok_or_else(|| {
        anyhow!("{} has no event \"{}\"; `jq -r .event.id` lists those that it has", path.display(), args.event)
    })
}

fn in_outbox(args: &Args) -> anyhow::Result<Value> {
    let path = events::database(args.db.as_deref(), &args.config)?;
    let found = find(&path, |row| {
        let message = row.entry.numbered.then(|| serde_json::from_slice::<Value>(&row.entry.body).ok()).flatten();
        message.filter(|message| is_event(message, &args.event))
    })?;
    let Some(message) = found else {
        bail!("the outbox has no event \"{}\" (any more); `andon events` lists those that it has", args.event);
    };
    if let Some(out) = &args.out {
        // The picture is that of the event which raised the alarm.
        let evidence = message.pointer("/alarm/evidence/id").and_then(Value::as_str).unwrap_or(&args.event);
        let leaf = format!("/snapshot/{evidence}");
        let Some(picture) = find(&path, |row| row.entry.topic.ends_with(&leaf).then(|| row.entry.body.clone()))? else {
            bail!("the outbox has no picture of \"{evidence}\" (any more); leave out --out");
        };
        whole_file::write(out, &picture)?;
    }
    Ok(message)
}

/// The first that is wanted of all that the outbox has, from its beginning.
fn find<T>(path: &Path, mut wanted: impl FnMut(&Row) -> Option<T>) -> anyhow::Result<Option<T>> {
    let unreadable = || format!("{}: the outbox cannot be read", path.display());
    let mut history = History::open(path).with_context(unreadable)?;
    loop {
        let rows = history.read_on().with_context(unreadable)?;
        if rows.is_empty() {
            return Ok(None);
        }
        if let Some(found) = rows.iter().find_map(&mut wanted) {
            return Ok(Some(found));
        }
    }
}

fn is_event(message: &Value, id: &str) -> bool {
    message.pointer("/event/id").and_then(Value::as_str) == Some(id)
}

/// The pictures of the frames that led to the event.
fn save_strip(folder: &Path, message: &Value, out: &Path) -> anyhow::Result<()> {
    let mut wanted: Vec<(u64, String)> = Vec::new();
    for step in steps(message) {
        if let Some(seq) = step["frame"].as_u64()
            && wanted.last().is_none_or(|(last, _)| *last != seq)
        {
            wanted.push((seq, format!("#{seq} {}", meant(step))));
        }
    }
    if let (true, Some(seq)) = (wanted.is_empty(), message.pointer("/frame/seq").and_then(Value::as_u64)) {
        wanted.push((seq, format!("#{seq}")));
    }
    let shots = Pictures::of(folder).shots(&mut Player::open(folder)?, &wanted)?;
    if shots.is_empty() {
        bail!("{} has no picture of the frames that led to it; leave out --out", folder.display());
    }
    draw::save(&draw::strip(&shots), out)
}

fn steps(message: &Value) -> impl Iterator<Item = &Value> {
    message["because"].as_array().into_iter().flatten()
}

/// What a step meant, with its score where it has one.
fn meant(step: &Value) -> String {
    let meant = step["meant"].as_str().unwrap_or_default();
    step["score"].as_f64().map_or_else(|| meant.to_owned(), |score| format!("{score:.2} {meant}"))
}

/// The event for a person: what was said, and a line for each step.
fn told(message: &Value) -> String {
    let text = |pointer: &str| message.pointer(pointer).and_then(Value::as_str).unwrap_or("?").to_owned();
    let kind = text("/event/kind");
    let mut told = format!("{}: {kind}", text("/event/id"));
    if message.pointer("/event/rule").is_some() {
        let _infallible = write!(told, " \"{}\"", text("/event/rule"));
    }
    let _infallible = write!(told, " of camera \"{}\"", text("/camera"));
    if message.pointer("/event/at").is_some() {
        let _infallible = write!(told, " at {}", text("/event/at"));
    }
    if let Some(seq) = message.pointer("/frame/seq").and_then(Value::as_u64) {
        let _infallible = write!(told, ", frame {seq}");
    }
    told.push('\n');
    if let Some(said) = message.get(&kind).and_then(Value::as_object) {
        for (key, value) in said {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let _infallible = writeln!(told, "  {key:<14} {value}");
        }
    }
    for step in steps(message) {
        let frame = step["frame"].as_u64().map(|seq| format!("#{seq}")).unwrap_or_default();
        let at = step["at"].as_str().unwrap_or_default();
        let _infallible = writeln!(told, "  {at}  {frame:>10}  {}", meant(step));
    }
    told
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_is_told_with_its_steps() {
        let message = json!({
            "camera": "infeed",
            "event": {"id": "infeed-solder-1-2", "kind": "alarm", "rule": "solder", "at": "T"},
            "alarm": {"state": "unacknowledged", "active": true},
            "frame": {"seq": 9},
            "because": [{"at": "S", "frame": 8, "score": 0.5, "meant": "below"}, {"at": "T", "meant": "over"}],
        });
        assert_eq!(
            told(&message),
            "infeed-solder-1-2: alarm \"solder\" of camera \"infeed\" at T, frame 9\n  active         true\n  state          \
             unacknowledged\n  S          #8  0.50 below\n  T              over\n"
        );
        assert!(is_event(&message, "infeed-solder-1-2") && !is_event(&message, "infeed"));
    }
}
