//! No password is told: not in the log at its most talkative, not in messages, not on a command line.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use super::*;

/// The passwords of one test. No other test has the same ones, since some programs get them on their command lines, which
/// are looked through.
struct Secrets {
    rtsp: String,
    http: String,
    mqtt: String,
    /// What HTTP makes of user and password.
    basic: String,
}

impl Secrets {
    fn new() -> Self {
        static TAKEN: AtomicU32 = AtomicU32::new(0);
        let own = format!("s3cr3t-{}-{}", process::id(), TAKEN.fetch_add(1, Ordering::Relaxed));
        let [rtsp, http, mqtt] = ["rtsp", "http", "mqtt"].map(|part| format!("{own}-{part}"));
        let basic = base64(format!("{USER}:{http}").as_bytes());
        Self { rtsp, http, mqtt, basic }
    }

    #[track_caller]
    fn assert_untold(&self, place: &str, text: &str) {
        for secret in [&self.rtsp, &self.http, &self.mqtt, &self.basic] {
            let told = text.lines().find(|line| line.contains(secret));
            assert!(told.is_none(), "{secret} stands in {place}: {}", told.unwrap_or_default());
        }
    }
}

const USER: &str = "admin";

fn base64(bytes: &[u8]) -> String {
    let digit = |bits: u32| char::from(BASE64_DIGITS[bits as usize & 63]);
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = (0..3).fold(0, |bits, index| bits << 8 | u32::from(group.get(index).copied().unwrap_or_default()));
        text.extend((0..=group.len()).map(|index| digit(bits >> (18 - 6 * index))));
        text.extend((group.len()..3).map(|_| '='));
    }
    text
}

const BASE64_DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#[test]
fn what_http_makes_of_a_password_is_known() {
    // The example of RFC 7617.
    assert_eq!(base64(b"Aladdin:open sesame"), "QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
}

/// A port where every connection is answered by a function, for as long as the test runs.
fn serve(answer: impl Fn(TcpStream) + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || listener.incoming().flatten().for_each(answer));
    port
}

/// Asks for user and password, and is not content with them.
fn demand_login(mut stream: TcpStream) {
    let mut head = [0; 4096];
    let _length = stream.read(&mut head);
    let _gone = stream.write_all(
        b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"cam\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    );
}

/// The command lines of all processes of this box: a child has its own number, and everybody may read them.
fn command_lines() -> String {
    let lines = fs::read_dir("/proc").unwrap().flatten().filter(|entry| entry.file_name() != "self");
    let texts = lines.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    texts.map(|bytes| String::from_utf8_lossy(&bytes).replace('\0', " ") + "\n").collect()
}

/// A line with three cameras, two of which have passwords, and a broker with one.
fn line_with_secrets(broker: &Mosquitto, secrets: &Secrets) -> Line {
    let Secrets { rtsp: rtsp_password, http: http_password, .. } = secrets;
    let line = Line::new(broker.port, "");
    let (rtsp, http) = (serve(drop), serve(demand_login));
    let mut text = line.dir.read("andon.toml");
    for (id, source) in [
        ("door", format!("rtsp://{USER}:{rtsp_password}@127.0.0.1:{rtsp}/live")),
        ("gate", format!("http://{USER}:{http_password}@127.0.0.1:{http}/video?password={http_password}")),
    ] {
        write!(text, "[[camera]]\nid = \"{id}\"\nsource = \"{source}\"\n").unwrap();
    }
    let login = "[mqtt]\nusername = \"andon\"\npassword_file = \"password\"";
    line.dir.write("andon.toml", text.replace("[mqtt]", login));
    line.dir.write("password", &secrets.mqtt);
    line
}

#[test]
fn secrets_are_told_to_nobody() {
    if !mosquitto::is_installed() {
        return;
    }
    let secrets = Secrets::new();
    let login = Some(("andon".into(), secrets.mqtt.clone()));
    let broker = Mosquitto::start(Setup { login, ..Setup::default() });
    let line = line_with_secrets(&broker, &secrets);
    // This client gets the password on its command line: it has to be gone before command lines are read.
    let messages = {
        let subscriber = broker.subscribe("#");
        let daemon = line.start_with(|command| command.env("ANDON_LOG", "trace"));
        let until = Instant::now() + SOON;
        let mut messages = String::new();
        // Until both cameras have failed and said why.
        let mut silent = vec!["andon/box/door/status", "andon/box/gate/status"];
        while !silent.is_empty() {
            let heard = subscriber.next(until.saturating_duration_since(Instant::now()));
            let heard = heard.unwrap_or_else(|| panic!("nothing from {silent:?} but {messages}"));
            silent.retain(|topic| heard.topic != *topic || heard.payload.contains("it is being opened"));
            messages += &format!("{heard:?}\n");
        }
        drop(subscriber);
        secrets.assert_untold("a command line", &command_lines());
        // Wrong now, and told as such.
        let good = line.dir.read("andon.toml");
        line.dir.write("andon.toml", good.replace("rtsp://", "rtps://").replace("loop = true", "lop = true"));
        daemon.signal("HUP");
        line.dir.write("password", format!("{}-no-more", secrets.mqtt));
        let mut log = String::new();
        while let Ok(said) = daemon.stderr.recv_timeout(SOON) {
            log += &format!("{said}\n");
            if said.contains("not taken over") {
                daemon.signal("TERM");
            }
        }
        secrets.assert_untold("the log", &log);
        for words in ["TRACE", "door", "gate", "lop"] {
            assert!(log.contains(words), "it talks, and of all of them: {words} is not in {log}");
        }
        messages
    };
    secrets.assert_untold("a message", &messages);
}

#[test]
fn commands_tell_no_secrets() {
    if !mosquitto::is_installed() {
        return;
    }
    let secrets = Secrets::new();
    let login = Some(("andon".into(), secrets.mqtt.clone()));
    let broker = Mosquitto::start(Setup { login, ..Setup::default() });
    let line = line_with_secrets(&broker, &secrets);
    let good = line.dir.read("andon.toml");
    for text in [
        good.clone(),
        good.replace("rtsp://", "rtps://"),
        good.replace("/live\"", "/live"),
        good.replace("source", "sauce"),
    ] {
        line.dir.write("andon.toml", text);
        for arguments in [&["check", "--config", "andon.toml"][..], &["devices"]] {
            let answer = line.dir.andon(arguments).with(|command| command.env("ANDON_LOG", "trace")).run();
            secrets.assert_untold(&arguments.join(" "), &format!("{}{}", answer.stdout, answer.stderr));
        }
    }
}

#[test]
fn a_password_that_everybody_may_read_is_named_with_the_remedy() {
    let line = Line::new(1, "username = \"andon\"\npassword_file = \"password\"");
    let path = line.dir.write("password", "s3cr3t");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let said = line.start().wait_for_log(&["WARN", "password file"]);
    assert!(said.contains("chmod o-r password"), "{said}");
}
