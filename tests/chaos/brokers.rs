//! Other brokers than mosquitto: a device and a listener get along with them.

use std::{
    env, fs,
    net::TcpStream,
    process::{Child, Command},
    time::Duration,
};

use super::{device::Device, listener::Listener, wait_until};
use crate::util::mosquitto::{self, Mosquitto, Setup, free_port};

/// A device says things before anybody listens; a listener that comes later asks for them, and hears the rest.
fn gets_along(port: u16) {
    let folder = tempfile::tempdir().unwrap();
    let mut device = Device::new(folder.path(), format!("127.0.0.1:{port}"), 100);
    device.start();
    wait_until(Duration::from_secs(30), || "nothing is said".into(), || device.accepted().len() >= 100);
    let listener = Listener::start(&[], "127.0.0.1", port);
    wait_until(
        Duration::from_secs(60),
        || format!("{} heard: {}", listener.count(), device.stderr()),
        || listener.count() >= 300,
    );
    device.be_quiet();
    listener.wait_for(&device.accepted(), Duration::from_secs(60));
    device.stop();
    let (code, heard) = listener.end();
    println!("{}", heard.summary.as_ref().unwrap());
    assert_eq!((code, heard.count("lost"), heard.count("inversions")), (Some(0), 0, 0), "{:?}", heard.summary);
    assert!(heard.count("resent") >= 90, "what was said before anybody listened was sent again");
    assert_eq!(heard.count("connections"), 1, "the broker had no reason to cut the listener off");
}

#[test]
fn mosquitto_sends_again_what_a_listener_missed() {
    if !mosquitto::is_installed() {
        return;
    }
    let broker = Mosquitto::start(Setup::default());
    gets_along(broker.port);
    broker.assert_no_complaint();
    assert_eq!(broker.log().matches("New client connected").count(), 2, "nobody had to connect again");
}

#[cfg(feature = "demo-broker")]
#[test]
fn the_embedded_broker_gets_along() {
    gets_along(andon::publish::broker::start().unwrap().port());
}

/// `ANDON_AMQTT` names the program, as `make brokers` does.
#[test]
fn amqtt_gets_along() {
    let Some(program) = env::var_os("ANDON_AMQTT") else {
        println!("skipped: ANDON_AMQTT names no amqtt; `make brokers` installs one");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let (port, config, log) = (free_port(), folder.path().join("amqtt.yaml"), folder.path().join("log"));
    let text = format!(
        "listeners:\n  default:\n    type: tcp\n    bind: 127.0.0.1:{port}\nplugins:\n  \
         amqtt.plugins.authentication.AnonymousAuthPlugin:\n    allow_anonymous: true\n"
    );
    fs::write(&config, text).unwrap();
    let output = fs::File::create(&log).unwrap();
    let process =
        Command::new(program).arg("-c").arg(&config).stderr(output.try_clone().unwrap()).stdout(output).spawn();
    let _ended_when_dropped = Ended(process.unwrap());
    let said = || fs::read_to_string(&log).unwrap();
    let listens = || TcpStream::connect(("127.0.0.1", port)).is_ok();
    wait_until(Duration::from_secs(60), || format!("amqtt does not listen: {}", said()), listens);
    // The connection that only knocked may be complained of.
    let before = said().len();
    gets_along(port);
    for line in said()[before..].lines() {
        let line = line.to_lowercase();
        let complaint = ["protocol", "malformed", "invalid", "violat", "traceback", "exception"]
            .iter()
            .find(|word| line.contains(**word));
        assert!(complaint.is_none(), "{line}");
    }
}

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _gone_already = self.0.kill();
        let _status = self.0.wait();
    }
}
