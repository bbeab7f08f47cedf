//! A real mosquitto on a free port of the loopback, with password, TLS and a log; and `mosquitto_sub` to listen to it.

use std::{
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

/// Whether mosquitto and its clients are installed; says so where they are not.
pub(crate) fn is_installed() -> bool {
    let installed = ["mosquitto", "mosquitto_sub", "mosquitto_passwd"].into_iter().all(|program| {
        let help = Command::new(program).arg("--help").stdout(Stdio::null()).stderr(Stdio::null()).status();
        help.is_ok()
    });
    if !installed {
        println!("skipped: install mosquitto and mosquitto-clients to run this test");
    }
    installed
}

/// How the broker is set up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Setup {
    /// User name and password that it wants.
    pub(crate) login: Option<(String, String)>,
    /// Certificate and key that it shows: it speaks TLS then.
    pub(crate) tls: Option<(PathBuf, PathBuf)>,
    /// The CA that signed it, for subscribers.
    pub(crate) ca: Option<PathBuf>,
    /// The CA whose client certificates it wants.
    pub(crate) clients_from: Option<PathBuf>,
}

/// A broker, killed when dropped.
pub(crate) struct Mosquitto {
    pub(crate) port: u16,
    setup: Setup,
    folder: tempfile::TempDir,
    process: Child,
    starts: usize,
}

impl Mosquitto {
    /// Starts a broker and waits until it listens.
    pub(crate) fn start(setup: Setup) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let process = spawn(folder.path(), port, &setup);
        let broker = Self { port, setup, folder, process, starts: 1 };
        broker.wait_until_it_listens();
        broker
    }

    /// `kill -9`: it forgets everything, since it keeps nothing on disk.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts it again on the same port.
    pub(crate) fn start_again(&mut self) {
        self.process = spawn(self.folder.path(), self.port, &self.setup);
        self.starts += 1;
        self.wait_until_it_listens();
    }

    /// Stops it in its tracks: connections stay open and nobody answers.
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) {
        self.signal("-CONT");
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Fails where the broker found something wrong with what it was sent.
    #[track_caller]
    pub(crate) fn assert_no_complaint(&self) {
        let log = self.log();
        assert!(log.contains("New client connected"), "the log is complete: {log}");
        for line in log.lines() {
            let line = line.to_lowercase();
            for word in ["protocol", "malformed", "invalid", "packet too large", "exceeded"] {
                assert!(!line.contains(word), "{line}");
            }
        }
    }

    /// Listens to a filter.
    pub(crate) fn subscribe(&self, filter: &str) -> Subscriber {
        let mut command = Command::new("mosquitto_sub");
        if let Some((user, password)) = &self.setup.login {
            command.args(["-u", user, "-P", password]);
        }
        if let Some(ca) = &self.setup.ca {
            command.arg("--cafile").arg(ca);
        }
        Subscriber::spawn(command, self.port, filter)
    }

    /// Listens to the topics of messages whose payloads are no text; they are left out.
    pub(crate) fn subscribe_to_topics(&self, filter: &str) -> Subscriber {
        Subscriber::spawn_with_format(Command::new("mosquitto_sub"), self.port, filter, "%r %q %t ")
    }

    fn signal(&self, signal: &str) {
        let command = format!("kill {signal} {}", self.process.id());
        assert!(Command::new("sh").args(["-c", &command]).status().unwrap().success());
    }

    /// By its log: a connection that only knocks would be logged as a protocol error.
    #[track_caller]
    fn wait_until_it_listens(&self) {
        let give_up = Instant::now() + Duration::from_secs(20);
        while self.log().matches(" running").count() < self.starts {
            assert!(Instant::now() < give_up, "mosquitto does not listen: {}", self.log());
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _gone_already = self.process.kill();
        let _status = self.process.wait();
    }
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn spawn(folder: &Path, port: u16, setup: &Setup) -> Child {
    let mut config = format!("listener {port} 127.0.0.1\npersistence false\nlog_type all\n");
    writeln!(config, "log_dest file {}", folder.join("log").display()).unwrap();
    // Otherwise it leaves root's rights behind, and with them the folder of the test.
    writeln!(config, "user root").unwrap();
    match &setup.login {
        None => writeln!(config, "allow_anonymous true").unwrap(),
        Some((user, password)) => {
            let file = folder.join("passwords");
            let made = Command::new("mosquitto_passwd").args(["-b", "-c"]).arg(&file).args([user, password]).status();
            assert!(made.unwrap().success());
            writeln!(config, "allow_anonymous false\npassword_file {}", file.display()).unwrap();
        }
    }
    if let Some((certificate, key)) = &setup.tls {
        writeln!(config, "certfile {}\nkeyfile {}", certificate.display(), key.display()).unwrap();
    }
    if let Some(ca) = &setup.clients_from {
        writeln!(config, "cafile {}\nrequire_certificate true", ca.display()).unwrap();
    }
    let file = folder.join("mosquitto.conf");
    fs::write(&file, config).unwrap();
    let output = fs::File::create(folder.join("output")).unwrap();
    Command::new("mosquitto").arg("-c").arg(file).stdout(output.try_clone().unwrap()).stderr(output).spawn().unwrap()
}

/// A message as a subscriber sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    /// The broker had kept it from before.
    pub(crate) retained: bool,
    pub(crate) qos: u8,
    pub(crate) topic: String,
    pub(crate) payload: String,
}

/// A `mosquitto_sub`, ended when dropped.
pub(crate) struct Subscriber {
    process: Child,
    lines: Receiver<String>,
}

impl Subscriber {
    /// Listens to a broker on a port of the loopback that wants no password.
    pub(crate) fn at(port: u16, filter: &str) -> Self {
        Self::spawn(Command::new("mosquitto_sub"), port, filter)
    }

    fn spawn(command: Command, port: u16, filter: &str) -> Self {
        Self::spawn_with_format(command, port, filter, "%r %q %t %p")
    }

    fn spawn_with_format(mut command: Command, port: u16, filter: &str, format: &str) -> Self {
        command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-q", "1", "-t", filter, "-F", format]);
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { process, lines }
    }

    /// The next message that comes within the time.
    pub(crate) fn next(&self, within: Duration) -> Option<Heard> {
        let line = self.lines.recv_timeout(within).ok()?;
        let mut parts = line.splitn(4, ' ');
        let mut part = || parts.next().unwrap().to_owned();
        Some(Heard { retained: part() == "1", qos: part().parse().unwrap(), topic: part(), payload: part() })
    }

    /// Passes over messages until one is as wanted.
    #[track_caller]
    pub(crate) fn wait_for(&self, within: Duration, what: &str, wanted: impl Fn(&Heard) -> bool) -> Heard {
        let give_up = Instant::now() + within;
        while let Some(heard) = self.next(give_up.saturating_duration_since(Instant::now())) {
            if wanted(&heard) {
                return heard;
            }
        }
        panic!("not heard within {within:?}: {what}");
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let _gone_already = self.process.kill();
        let _status = self.process.wait();
    }
}
