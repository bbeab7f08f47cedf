//! `andon events`: what this box said, from the file in which it waits for the broker or was kept since.

use std::{
    io::Write,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use andon::{
    config::{Config, DEFAULT_PATH, SERVICE_OUTBOX},
    format::message,
    store::{Row, history::History},
};
use anyhow::{Context, bail};
use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp, civil, tz::TimeZone};
use serde_json::{Value, json};

use super::{Outcome, interrupt::Interrupt, output::Output};

/// List events, alarms, verdicts and counts that this box has said, sent or not
#[derive(Debug, clap::Args)]
#[command(after_help = NOTES)]
pub(super) struct Args {
    /// The configuration that names the outbox
    #[arg(short, long, value_name = "FILE", default_value = DEFAULT_PATH)]
    config: PathBuf,

    /// The file of the outbox itself
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    db: Option<PathBuf>,

    /// Only from this time on: 2026-03-01T06:00:00Z, 2026-03-01, or so long ago: 90m, 2h, 3d
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<Timestamp>,

    /// Go on with what comes
    #[arg(short, long)]
    follow: bool,

    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

const NOTES: &str = "\
Times are UTC. The daemon may run meanwhile. --json shows all that a message says. What is shown goes back as far as [outbox] max_age and max_bytes allow.

Examples:
  andon events --since 2h
  andon events --follow --json | jq 'select(.class == \"first\")'";

/// How often it is looked for more.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A body that is no text is told by its length, and a text is cut after so many characters.
const BODY_CHARS_MAX: usize = 2000;

/// Runs the command.
pub(super) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let path = database(args.db.as_deref(), &args.config)?;
    let unreadable = || format!("{}: the outbox cannot be read", path.display());
    let interrupt = Interrupt::watch()?;
    let mut history = History::open(&path).with_context(unreadable)?;
    let mut out = Output::stdout();
    while !interrupt.asked() {
        let rows = history.read_on().with_context(unreadable)?;
        let ended = rows.is_empty();
        for row in rows.iter().filter(|row| args.since.is_none_or(|since| row.entry.made_at >= since)) {
            writeln!(out, "{}", if args.json { in_json(row).to_string() } else { in_text(row) })?;
        }
        if ended {
            out.flush()?;
            if !args.follow {
                break;
            }
            thread::sleep(LOOK_EVERY);
        }
    }
    out.flush()?;
    Ok(Outcome::Done)
}

/// The file of the outbox: the one that is named, or that of a configuration.
///
/// # Errors
/// Where there is none.
pub(super) fn database(named: Option<&Path>, config: &Path) -> anyhow::Result<PathBuf> {
    let path = match named {
        Some(path) => path.to_owned(),
        None => existing(Config::load(config)?.outbox.path),
    };
    if !path.exists() {
        bail!("{}: there is no outbox yet; start the daemon, or name another file with --db", path.display());
    }
    Ok(path)
}

/// The service has a directory of its own, which the configuration does not name for whoever is not the service.
fn existing(path: PathBuf) -> PathBuf {
    let service = Path::new(SERVICE_OUTBOX);
    if !path.exists() && service.exists() { service.to_owned() } else { path }
}

fn since(text: &str) -> Result<Timestamp, String> {
    moment(text, Timestamp::now())
        .ok_or_else(|| format!("\"{text}\" is no time; write it as 2026-03-01T06:00:00Z, 2026-03-01, 90m, 2h or 3d"))
}

fn moment(text: &str, now: Timestamp) -> Option<Timestamp> {
    if let Ok(timestamp) = text.parse() {
        return Some(timestamp);
    }
    if let Ok(date) = text.parse::<civil::Date>() {
        return TimeZone::UTC.to_timestamp(date.at(0, 0, 0, 0)).ok();
    }
    let span: Span = text.parse().ok()?;
    let ago = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    (ago >= SignedDuration::ZERO).then(|| now.checked_sub(ago).ok()).flatten()
}

/// `2026-03-01T06:00:00.000Z first andon/line-1/infeed/alarm/jam normal, low: nothing for 3 s`; a message that has no such
/// line stands there as it is.
fn in_text(row: &Row) -> String {
    let entry = &row.entry;
    let line = serde_json::from_slice(&entry.body).ok().as_ref().and_then(message::line);
    if let Some(line) = line {
        let line: String = line.chars().take(BODY_CHARS_MAX).collect();
        return format!("{:.3} {:<6} {} {line}", entry.made_at, entry.class.name(), entry.topic);
    }
    let body = match std::str::from_utf8(&entry.body) {
        Ok(text) if text.chars().all(|c| !c.is_control() || c.is_whitespace()) => {
            text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(BODY_CHARS_MAX).collect()
        }
        _ => format!("({} bytes)", entry.body.len()),
    };
    format!("{:.3} {:<6} {} {body}", entry.made_at, entry.class.name(), entry.topic)
}

fn in_json(row: &Row) -> Value {
    let entry = &row.entry;
    let mut event = json!({
        "made_at": format!("{:.6}", entry.made_at),
        "class": entry.class.name(),
        "topic": entry.topic,
        "epoch": row.epoch,
        "seq": row.seq,
        "retain": entry.retain,
    });
    match serde_json::from_slice::<Value>(&entry.body) {
        Ok(message) => event["message"] = message,
        Err(_) => event["bytes"] = entry.body.len().into(),
    }
    event
}

#[cfg(test)]
mod tests {
    use andon::store::{Class, Entry};

    use super::*;

    #[test]
    fn times_are_dates_moments_or_ages() {
        let now: Timestamp = "2026-03-02T12:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("2026-03-01T06:00:00Z", "2026-03-01T06:00:00Z"),
            ("2026-03-01T06:00:00+02:00", "2026-03-01T04:00:00Z"),
            ("2026-03-01", "2026-03-01T00:00:00Z"),
            ("90m", "2026-03-02T10:30:00Z"),
            ("2h", "2026-03-02T10:00:00Z"),
            ("3d", "2026-02-27T12:00:00Z"),
        ] {
            assert_eq!(moment(text, now), Some(expected.parse().unwrap()), "{text}");
        }
        for wrong in ["", "x", "-2h", "2026-13-01", "2", "999999999y"] {
            assert_eq!(moment(wrong, now), None, "{wrong}");
        }
    }

    #[test]
    fn an_event_is_one_line() {
        let mut entry = Entry {
            class: Class::First,
            topic: "a/b".to_owned(),
            retain: true,
            numbered: true,
            body: "{\"n\": 1,\n \"m\": 2}".into(),
            made_at: "2026-03-01T06:00:00.5Z".parse().unwrap(),
        };
        let row = |entry: &Entry| Row { id: 1, epoch: 7, seq: 3, entry: entry.clone() };
        assert_eq!(in_text(&row(&entry)), "2026-03-01T06:00:00.500Z first  a/b {\"n\": 1, \"m\": 2}");
        assert_eq!(in_json(&row(&entry))["message"]["m"], 2);
        entry.body = r#"{"event":{"kind":"line_crossed","name":"can","way":"in","track_id":7},"because":[]}"#.into();
        assert_eq!(in_text(&row(&entry)), "2026-03-01T06:00:00.500Z first  a/b can crossed in, track 7");
        assert_eq!(in_json(&row(&entry))["message"]["event"]["way"], "in");
        entry.body = vec![0xff, 0xd8].into();
        assert!(in_text(&row(&entry)).ends_with("a/b (2 bytes)"));
        assert_eq!(in_json(&row(&entry))["bytes"], 2);
    }
}
