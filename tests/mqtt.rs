//! Publishing to real brokers: mosquitto with and without password and TLS, and the embedded one; outages of all kinds.

mod commands;
mod outage;
mod refused;
mod tls;

use std::{
    collections::BTreeMap,
    fs,
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc::{Sender, channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use andon::publish::{
    Delivery, Message,
    clock::Reading,
    mqtt::{self, Client, Counters, Fault, FaultKind, Link, Publisher, Qos, Refused, Secret, Settings},
    wire::{DeviceState, Wire},
};

use crate::util::{
    ca::Ca,
    mosquitto::{self, Mosquitto, Setup, Subscriber, free_port},
};

/// Longer than anything here takes on a busy machine.
const SOON: Duration = Duration::from_secs(20);

/// A runtime on a thread of its own, as in the daemon. Dropped, it ends in the middle of everything, as a killed process
/// does: sockets close, nothing is said.
struct Network {
    handle: tokio::runtime::Handle,
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Network {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let handle = runtime.handle().clone();
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let (relay, relayed) = channel::<()>();
        thread::spawn(move || {
            let _dropped = relayed.recv();
            drop(end);
        });
        let thread = thread::spawn(move || {
            let _ended = runtime.block_on(ended);
        });
        Self { handle, end: Some(relay), thread: Some(thread) }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        drop(self.end.take());
        self.thread.take().unwrap().join().unwrap();
    }
}

/// A device with a connection.
struct Device {
    publisher: Publisher,
    wire: Wire,
    network: Network,
}

impl Device {
    fn start(settings: Settings) -> Self {
        let network = Network::start();
        let wire = Wire::new("andon", "box", false).unwrap();
        let will = wire.clone();
        let publisher =
            Publisher::start(&network.handle, settings, Client::with_will(move || will.will(&Reading::now())));
        let device = Self { network, wire, publisher };
        device.publisher.publish(device.status(&DeviceState::Online)).unwrap();
        device
    }

    fn status(&self, state: &DeviceState) -> Message {
        self.wire.status(&Reading::now(), state, Instant::now(), &BTreeMap::new())
    }

    #[track_caller]
    fn wait_for_link(&self, within: Duration, wanted: impl Fn(&Link) -> bool) -> Link {
        let give_up = Instant::now() + within;
        loop {
            let link = self.publisher.link();
            if wanted(&link) {
                return link;
            }
            assert!(Instant::now() < give_up, "the link is still {link:?}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[track_caller]
    fn wait_until_up(&self) {
        self.wait_for_link(SOON, |link| matches!(link, Link::Up { .. }));
    }

    #[track_caller]
    fn wait_until_down(&self, kind: FaultKind) -> Fault {
        let link = self.wait_for_link(SOON, |link| matches!(link, Link::Down { reason, .. } if reason.kind == kind));
        let Link::Down { reason, .. } = link else { unreachable!("it was just seen to be down") };
        reason
    }

    #[track_caller]
    fn wait_for_counters(&self, wanted: impl Fn(&Counters) -> bool) {
        let give_up = Instant::now() + SOON;
        while !wanted(&self.publisher.counters()) {
            assert!(Instant::now() < give_up, "{:?}", self.publisher.counters());
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn check(&self, port: u16) -> Result<(), Fault> {
        let (sender, checked) = channel();
        self.network.handle.spawn(async move { sender.send(mqtt::check(&settings(port)).await) });
        checked.recv().unwrap()
    }

    fn stop(&self, within: Duration) -> bool {
        let publisher = self.publisher.clone();
        let last = self.status(&DeviceState::Stopped);
        let (sender, stopped) = channel();
        self.network.handle.spawn(async move { sender.send(publisher.stop(Some(last), within).await) });
        stopped.recv().unwrap()
    }
}

fn live(payload: impl ToString) -> Message {
    Message { topic: "andon/box/in/detections".into(), payload: payload.to_string().into(), delivery: Delivery::Live }
}

fn state(topic: &str, payload: &str) -> Message {
    Message { topic: topic.into(), payload: payload.to_owned().into(), delivery: Delivery::State }
}

fn settings(port: u16) -> Settings {
    Settings::new("127.0.0.1", port, "andon-box")
}

#[test]
fn states_are_retained_and_live_messages_are_not() {
    if !mosquitto::is_installed() {
        return;
    }
    let broker = Mosquitto::start(Setup::default());
    says_what_it_should(broker.port, 0);
    broker.assert_no_complaint();
    let log = broker.log();
    assert!(log.contains("Received DISCONNECT from andon-box"), "{log}");
}

#[cfg(feature = "demo-broker")]
#[test]
fn the_embedded_broker_takes_another_port_when_its_own_is_taken() {
    let taken = std::net::TcpListener::bind(("127.0.0.1", 1883));
    let address = andon::publish::broker::start().unwrap();
    assert!(address.ip().is_loopback());
    assert_ne!(address.port(), 1883);
    drop(taken);
    let device = Device::start(settings(address.port()));
    device.wait_until_up();
    device.wait_for_counters(|counters| counters.acknowledged == 1);
    assert!(device.stop(SOON));
    if mosquitto::is_installed() {
        // It hands messages on with the subscriber's QoS.
        says_what_it_should(address.port(), 1);
    }
}

/// A device's life as a subscriber sees it, with whatever broker listens on this port.
fn says_what_it_should(port: u16, live_qos: u8) {
    let device = Device::start(settings(port));
    device.publisher.publish(state("andon/box/in/status", "live")).unwrap();
    device.wait_for_counters(|counters| counters.acknowledged == 2);
    let before = Subscriber::at(port, "andon/#");
    let mut heard = [before.next(SOON).unwrap(), before.next(SOON).unwrap()];
    heard.sort_by(|a, b| a.topic.cmp(&b.topic));
    assert!(heard.iter().all(|heard| heard.retained), "{heard:?}");
    assert_eq!((heard[0].topic.as_str(), heard[0].payload.as_str()), ("andon/box/in/status", "live"));
    assert_eq!(heard[1].topic, "andon/box/status");
    assert!(heard[1].payload.contains(r#""state":"online""#), "{heard:?}");
    for n in 0..100 {
        device.publisher.publish(live(n)).unwrap();
    }
    for n in 0..100 {
        let heard = before.next(SOON).unwrap();
        assert_eq!((heard.topic.as_str(), heard.payload), ("andon/box/in/detections", n.to_string()));
        assert_eq!((heard.retained, heard.qos), (false, live_qos));
    }
    let after = Subscriber::at(port, "andon/#");
    let heard: Vec<_> = std::iter::from_fn(|| after.next(Duration::from_millis(700))).collect();
    let mut topics: Vec<_> = heard.iter().map(|heard| heard.topic.as_str()).collect();
    topics.sort_unstable();
    assert_eq!(topics, ["andon/box/in/status", "andon/box/status"], "live messages are not retained");
    assert!(device.stop(SOON));
    let heard = before.wait_for(SOON, "stopped", |heard| heard.topic == "andon/box/status");
    assert!(heard.payload.contains(r#""state":"stopped""#), "{heard:?}");
    assert_eq!(before.next(Duration::from_millis(500)), None, "no will after a goodbye");
    assert_eq!(device.publisher.publish(live(0)), Err(Refused::Stopped));
    let counters = device.publisher.counters();
    assert_eq!(
        Counters { bytes: 0, ..counters },
        Counters { published: 103, acknowledged: 3, dropped_live: 0, connections: 1, bytes: 0 }
    );
    assert!(counters.bytes > 100 * 28 && counters.bytes < 103 * 250, "{counters:?}");
}

#[test]
fn live_messages_can_be_acknowledged() {
    if !mosquitto::is_installed() {
        return;
    }
    let broker = Mosquitto::start(Setup::default());
    let device = Device::start(Settings { live_qos: Qos::AtLeastOnce, ..settings(broker.port) });
    device.wait_for_counters(|counters| counters.acknowledged == 1);
    let subscriber = broker.subscribe("andon/#");
    subscriber.wait_for(SOON, "the state", |heard| heard.retained);
    for n in 0..200 {
        device.publisher.publish(live(n)).unwrap();
    }
    for n in 0..200 {
        let heard = subscriber.next(SOON).unwrap();
        assert_eq!((heard.payload, heard.qos, heard.retained), (n.to_string(), 1, false));
    }
    device.wait_for_counters(|counters| counters.acknowledged == 201);
    broker.assert_no_complaint();
}

#[test]
fn a_panic_inside_is_a_fault_that_passes() {
    if !mosquitto::is_installed() {
        return;
    }
    let broker = Mosquitto::start(Setup::default());
    let network = Network::start();
    let wire = Wire::new("andon", "box", false).unwrap();
    let (will, calls) = (wire.clone(), AtomicUsize::new(0));
    let publisher = Publisher::start(
        &network.handle,
        settings(broker.port),
        Client::with_will(move || {
            assert_ne!(calls.fetch_add(1, Ordering::Relaxed), 1, "panics at the first connection, on purpose");
            will.will(&Reading::now())
        }),
    );
    let device = Device { network, wire, publisher };
    device.wait_until_down(FaultKind::Internal);
    device.wait_until_up();
}

#[test]
fn the_password_is_asked_for_and_a_corrected_file_heals() {
    if !mosquitto::is_installed() {
        return;
    }
    let login = Some(("andon".to_owned(), "right one".to_owned()));
    let broker = Mosquitto::start(Setup { login, ..Setup::default() });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    let mut settings = settings(broker.port);

    let nameless = Device::start(settings.clone());
    let fault = nameless.wait_until_down(FaultKind::Credentials);
    let place = format!("broker 127.0.0.1:{}", broker.port);
    assert_eq!(
        fault.to_string(),
        format!("{place} refused a client without a name; set [mqtt] username and password_file")
    );
    drop(nameless);

    settings.username = Some("andon".into());
    settings.password = Some(Secret::from_file(&file));
    let device = Device::start(settings);
    let fault = device.wait_until_down(FaultKind::PasswordFile);
    assert!(fault.to_string().contains("No such file") && fault.to_string().ends_with("check [mqtt] password_file"));
    fs::write(&file, "wrong one\n").unwrap();
    let fault = device.wait_until_down(FaultKind::Credentials);
    assert_eq!(
        fault.to_string(),
        format!("{place} refused the password (user \"andon\"); check [mqtt] username and password_file")
    );
    fs::write(&file, "right one\n").unwrap();
    device.wait_until_up();
    let heard = broker.subscribe("andon/#").next(SOON).unwrap();
    assert!(heard.payload.contains("online"));
    broker.assert_no_complaint();
}

#[test]
fn a_broker_that_is_not_there_is_waited_for() {
    if !mosquitto::is_installed() {
        return;
    }
    let port = free_port();
    let device = Device::start(settings(port));
    let fault = device.wait_until_down(FaultKind::Refused);
    assert_eq!(
        fault.to_string(),
        format!("broker 127.0.0.1:{port} refused the connection; check that it runs, and [mqtt] host and port")
    );
    device.wait_for_link(SOON, |link| matches!(link, Link::Down { attempts, .. } if *attempts > 2));
    let begin = Instant::now();
    assert!(!device.stop(SOON), "there is nobody to say goodbye to");
    assert!(begin.elapsed() < Duration::from_secs(6), "{:?}", begin.elapsed());

    let unnamed = Device::start(Settings::new("no name", 1883, "andon-box"));
    let fault = unnamed.wait_until_down(FaultKind::Dns);
    assert!(fault.to_string().contains("its name has no address"), "{fault}");
}

#[test]
fn a_check_says_what_is_wrong_and_disturbs_nobody() {
    if !mosquitto::is_installed() {
        return;
    }
    let mut broker = Mosquitto::start(Setup::default());
    let device = Device::start(settings(broker.port));
    device.wait_for_counters(|counters| counters.acknowledged == 1);
    let subscriber = broker.subscribe("#");
    assert!(subscriber.next(SOON).unwrap().retained);
    assert_eq!(device.check(broker.port), Ok(()));
    assert_eq!(subscriber.next(Duration::from_millis(500)), None, "nothing is published");
    assert_eq!(device.publisher.counters().connections, 1);
    broker.assert_no_complaint();
    broker.kill();
    assert_eq!(device.check(broker.port).unwrap_err().kind, FaultKind::Refused);
}

#[test]
fn what_can_never_be_published_is_refused_at_once() {
    let device = Device::start(settings(free_port()));
    let publish = |message| device.publisher.publish(message).unwrap_err().to_string();
    assert!(publish(state("andon/+", "")).starts_with("topic \"andon/+\" cannot be published to"));
    let long = publish(state("andon/a", &"x".repeat(1 << 20)));
    assert_eq!(
        long,
        "a message of 1048591 bytes for andon/a is longer than the limit of 1048576; send less in one message"
    );
}
