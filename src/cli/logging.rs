//! Log lines on stderr: for people with a time, for the journal with its priority.

use std::{env, io::Write, os::unix::fs::MetadataExt};

use env_logger::{Builder, Env};
use log::{Level, LevelFilter, Record};

/// For commands that answer and end: only what is wrong. tract warns of things that no user can change.
pub(super) const QUIET: &str = "warn,tract=error";

/// For the daemon: changes of state as well. The embedded broker's own words mean nothing to a user.
pub(super) const SERVICE: &str = "warn,andon=info,tract=error,rumqttd=off";

/// Starts logging to stderr. `ANDON_LOG` or `RUST_LOG` filter, in env_logger's words; without them `default` does.
pub(super) fn start(default: &str) {
    let filter = if env::var_os("ANDON_LOG").is_some() { "ANDON_LOG" } else { "RUST_LOG" };
    let mut builder = Builder::from_env(Env::new().filter_or(filter, default));
    // It tells whole URLs and headers, and with them passwords, whatever the user asks for.
    builder.filter_module("ureq", LevelFilter::Warn);
    if stderr_is_journal() {
        builder.format(|out, record| out.write_all(journal_lines(record).as_bytes()));
    } else {
        builder.format_target(false);
    }
    builder.init();
}

/// Whether stderr goes to the journal itself, as systemd asks programs to find out: `JOURNAL_STREAM` is the device and
/// inode of the stream that it connected, and stderr may have been redirected since.
fn stderr_is_journal() -> bool {
    let Ok(stream) = env::var("JOURNAL_STREAM") else { return false };
    std::fs::metadata("/proc/self/fd/2").is_ok_and(|stderr| stream == format!("{}:{}", stderr.dev(), stderr.ino()))
}

/// Every line with its syslog priority, which the journal takes off again; it has its own clock.
fn journal_lines(record: &Record<'_>) -> String {
    let priority = match record.level() {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    };
    record.args().to_string().lines().map(|line| format!("<{priority}>{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_has_its_priority() {
        let record = Record::builder().level(Level::Warn).args(format_args!("one\ntwo")).build();
        assert_eq!(journal_lines(&record), "<4>one\n<4>two\n");
    }
}
