//! `andon listen`: the reference subscriber. It checks the numbering of boxes' messages, asks for what is missing, and says
//! what it found.

use std::{
    io::{self, Write},
    path::PathBuf,
    process,
    time::{Duration, Instant},
};

use andon::{
    listen::{Checker, Settings},
    publish::{
        listener::Listener,
        mqtt::{self, Incoming, Link, Secret, TlsSettings},
        wire::{check_id, check_prefix},
    },
};

use super::{Outcome, WrongUse, interrupt::Interrupt};

/// Listen to boxes: check that no message is lost, ask for what is missing, and report
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The broker
    #[arg(long)]
    host: String,

    /// Its port [default: 1883, with --tls or --ca 8883]
    #[arg(long)]
    port: Option<u16>,

    /// What topics begin with
    #[arg(long, default_value = "andon")]
    prefix: String,

    /// Listen to this box only
    #[arg(long, value_name = "ID")]
    device: Option<String>,

    /// User name for the broker
    #[arg(long, requires = "password_file")]
    username: Option<String>,

    /// A file that holds the password and nothing else
    #[arg(long, value_name = "FILE", requires = "username")]
    password_file: Option<PathBuf>,

    /// Speak TLS, and trust the certificate authorities of this system
    #[arg(long)]
    tls: bool,

    /// Speak TLS, and trust this certificate authority: a PEM file
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,

    /// Do not ask boxes to send again what is missing; nothing is published then
    #[arg(long)]
    no_resend: bool,

    /// Expect every numbering from 1 on; otherwise what came before the first message does not count
    #[arg(long)]
    from_start: bool,

    /// Write findings and summary as JSON, one object a line
    #[arg(long)]
    json: bool,

    /// Write every message too, each once
    #[arg(long)]
    print: bool,

    /// End after so long; what is missing then has half a minute more. Otherwise: Ctrl-C or SIGTERM
    #[arg(long = "for", value_name = "SECONDS")]
    seconds: Option<f64>,
}

const EXAMPLES: &str = "\
Exit code 0: every number was seen, or given up by the box and told so. 1: something is lost, or nothing could be heard.
Boxes send again what is missing only where their configuration has [mqtt] commands = [\"resend\"].

Examples:
  andon listen --host 10.0.0.5                        all boxes, until Ctrl-C
  andon listen --host 10.0.0.5 --device line-1 --print
  andon listen --host 10.0.0.5 --for 3600 --json      an acceptance test of an hour";

/// How long what is missing may take when the time is over.
const SETTLE_WITHIN: Duration = Duration::from_secs(30);
/// Between two looks at the clock and the connection.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Runs the command.
pub(super) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let settings = settings(args)?;
    let interrupt = Interrupt::watch()?;
    let mut session = Session::start(args, settings)?;
    let until = args.seconds.map(|seconds| Instant::now() + Duration::from_secs_f64(seconds));
    while !interrupt.asked() {
        let now = Instant::now();
        let over = until.is_some_and(|until| now >= until + SETTLE_WITHIN)
            || (until.is_some_and(|until| now >= until) && session.checker.is_settled());
        if over {
            break;
        }
        session.step(now)?;
    }
    session.end()
}

fn settings(args: &Args) -> anyhow::Result<mqtt::Settings> {
    check_prefix(&args.prefix).map_err(|error| WrongUse::error(error.to_string()))?;
    if let Some(device) = &args.device {
        check_id(device).map_err(|error| WrongUse::error(error.to_string()))?;
    }
    if args.seconds.is_some_and(|seconds| !(0.0..=1e9).contains(&seconds)) {
        return Err(WrongUse::error("--for takes seconds, from 0 to 1000000000"));
    }
    let tls = (args.tls || args.ca.is_some()).then(|| TlsSettings { ca: args.ca.clone(), identity: None });
    let port = args.port.unwrap_or(if tls.is_some() { 8883 } else { 1883 });
    Ok(mqtt::Settings {
        username: args.username.clone(),
        password: args.password_file.clone().map(Secret::from_file),
        tls,
        // Two listeners on one machine must not throw each other out.
        ..mqtt::Settings::new(&args.host, port, format!("andon-listen-{}", process::id()))
    })
}

/// A listener, and what it makes of the messages. Why there is no connection the log says.
struct Session<'a> {
    args: &'a Args,
    listener: Listener,
    checker: Checker,
    connections: u64,
    looked: Instant,
}

impl<'a> Session<'a> {
    fn start(args: &'a Args, settings: mqtt::Settings) -> anyhow::Result<Self> {
        let below = args.device.as_deref().unwrap_or("+");
        let filters = vec![format!("{}/{below}/#", args.prefix)];
        let listener = Listener::start(settings, filters)?;
        let checker = Checker::new(Settings {
            prefix: args.prefix.clone(),
            from_start: args.from_start,
            resend: !args.no_resend,
        });
        Ok(Self { args, listener, checker, connections: 0, looked: Instant::now() })
    }

    fn step(&mut self, now: Instant) -> anyhow::Result<()> {
        if let Some(message) = self.listener.next(LOOK_EVERY) {
            self.hear(&message)?;
        }
        if now.duration_since(self.looked) < LOOK_EVERY {
            return Ok(());
        }
        self.looked = now;
        let connections = self.listener.counters().connections;
        if connections != self.connections {
            self.connections = connections;
            self.checker.connected(now);
        }
        if let Link::Up { .. } = self.listener.link() {
            for question in self.checker.tick(now) {
                self.listener.ask(question.topic, question.payload)?;
            }
        }
        self.tell_findings()
    }

    fn tell_findings(&mut self) -> anyhow::Result<()> {
        while let Some(finding) = self.checker.finding() {
            if self.args.json {
                writeln!(io::stdout(), "{}", finding.to_json())?;
            } else {
                writeln!(io::stdout(), "{finding}")?;
            }
        }
        Ok(())
    }

    fn hear(&mut self, message: &Incoming) -> anyhow::Result<()> {
        let is_news = self.checker.hear(&message.topic, &message.payload, message.retain, Instant::now());
        if self.args.print && is_news {
            let payload = String::from_utf8_lossy(&message.payload);
            if self.args.json {
                let value = serde_json::from_str(&payload).unwrap_or(serde_json::Value::Null);
                let line = serde_json::json!({"topic": message.topic, "retained": message.retain, "message": value});
                writeln!(io::stdout(), "{line}")?;
            } else if payload.contains('\u{fffd}') {
                writeln!(io::stdout(), "{} ({} bytes)", message.topic, message.payload.len())?;
            } else {
                writeln!(io::stdout(), "{} {payload}", message.topic)?;
            }
        }
        Ok(())
    }

    fn end(mut self) -> anyhow::Result<Outcome> {
        self.tell_findings()?;
        let (summary, trouble) = (self.checker.summary(), self.listener.trouble());
        let heard = self.connections > 0 && trouble.is_none();
        if self.args.json {
            let mut value = summary.to_json();
            value["connections"] = self.connections.into();
            writeln!(io::stdout(), "{value}")?;
        } else {
            writeln!(io::stdout(), "{summary}; {} connections", self.connections)?;
        }
        self.listener.stop();
        Ok(if heard && summary.is_complete() { Outcome::Done } else { Outcome::Failed })
    }
}
