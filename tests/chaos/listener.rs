//! `andon listen` as a process, and what it has printed.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::Duration,
};

use jiff::Timestamp;
use serde_json::Value;

use super::wait_until;

/// A listener; killed when dropped.
pub struct Listener {
    process: Child,
    heard: Arc<Mutex<Heard>>,
    reader: Option<JoinHandle<()>>,
}

/// What it has printed so far.
#[derive(Default)]
pub struct Heard {
    /// The numbers of the things that were said, each as often as a subscriber would take it.
    pub things: Vec<u64>,
    /// How many numbers of each topic and epoch were heard,
    numbers: BTreeMap<(String, u64), u64>,
    /// and how many there are, as the device's last status says.
    stated: BTreeMap<(String, u64), u64>,
    /// When that was published.
    stated_at: Timestamp,
    /// What it found, with its kind.
    pub findings: Vec<Value>,
    /// The summary at the end.
    pub summary: Option<Value>,
}

impl Listener {
    /// Listens to a broker from the first message of each numbering on. `before` are words before the command, such as those
    /// that run it in a network namespace.
    pub fn start(before: &[&str], host: &str, port: u16) -> Self {
        let andon = env!("CARGO_BIN_EXE_andon");
        let port = port.to_string();
        let arguments = [andon, "listen", "--host", host, "--port", &port, "--from-start", "--json", "--print"];
        let words = [before, &arguments].concat();
        let mut process =
            Command::new(words[0]).args(&words[1..]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let heard = Arc::new(Mutex::new(Heard::default()));
        let shared = Arc::clone(&heard);
        let reader = thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let value: Value = serde_json::from_str(&line).unwrap();
                let mut heard = shared.lock().unwrap();
                if value.get("complete").is_some() {
                    heard.summary = Some(value);
                } else if value.get("finding").is_some() {
                    heard.findings.push(value);
                } else {
                    heard.message(&value);
                }
            }
        });
        Self { process, heard, reader: Some(reader) }
    }

    /// How many things it has heard.
    pub fn count(&self) -> usize {
        self.heard.lock().unwrap().things.len()
    }

    /// How many numbered messages it has heard, each once.
    pub fn numbered(&self) -> u64 {
        self.heard.lock().unwrap().numbers.values().sum()
    }

    /// Whether it has heard all that the device has said, as a status has it that is no older than `since`.
    pub fn is_complete(&self, since: Timestamp) -> bool {
        let heard = self.heard.lock().unwrap();
        heard.stated_at >= since
            && !heard.stated.is_empty()
            && heard.stated.iter().all(|(key, seq)| heard.numbers.get(key) == Some(seq))
    }

    /// What it has not heard.
    pub fn gaps(&self) -> String {
        let heard = self.heard.lock().unwrap();
        format!("heard {:?} of {:?}", heard.numbers, heard.stated)
    }

    /// Waits until it has heard all of these.
    #[track_caller]
    pub fn wait_for(&self, things: &[u64], within: Duration) {
        let missing = || self.missing(things);
        wait_until(within, || format!("{} of {} things are missing", missing(), things.len()), || missing() == 0);
    }

    /// How many of these it has not heard.
    pub fn missing(&self, things: &[u64]) -> usize {
        let heard: BTreeSet<u64> = self.heard.lock().unwrap().things.iter().copied().collect();
        things.iter().filter(|thing| !heard.contains(thing)).count()
    }

    /// Ends it; gives the exit code and what it has printed.
    pub fn end(mut self) -> (Option<i32>, Heard) {
        let terminate = Command::new("kill").arg(self.process.id().to_string()).status();
        assert!(terminate.unwrap().success());
        let code = self.process.wait().unwrap().code();
        self.reader.take().unwrap().join().unwrap();
        (code, std::mem::take(&mut *self.heard.lock().unwrap()))
    }
}

impl Heard {
    fn message(&mut self, value: &Value) {
        let (topic, message) = (value["topic"].as_str().unwrap(), &value["message"]);
        if let Some(topics) = message["topics"].as_object() {
            let number = |number: &Value| (number["epoch"].as_u64().unwrap(), number["seq"].as_u64().unwrap());
            self.stated_at = message["published_at"].as_str().unwrap().parse().unwrap();
            self.stated = topics
                .iter()
                .map(|(topic, last)| (topic.clone(), number(last)))
                .map(|(topic, (epoch, seq))| ((topic, epoch), seq))
                .collect();
        }
        if value["retained"] == true {
            return;
        }
        self.things.extend(message["thing"].as_u64());
        if let (Some(epoch), Some(_)) = (message["epoch"].as_u64(), message["seq"].as_u64()) {
            *self.numbers.entry((topic.to_owned(), epoch)).or_default() += 1;
        }
    }

    /// A number of the summary.
    #[track_caller]
    pub fn count(&self, key: &str) -> u64 {
        let summary = self.summary.as_ref().expect("the listener has ended in an orderly way");
        summary[key].as_u64().unwrap_or_else(|| panic!("{key} stands in {summary}"))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _gone_already = self.process.kill();
        let _status = self.process.wait();
    }
}
