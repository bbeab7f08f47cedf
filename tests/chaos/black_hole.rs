//! The network swallows everything for a while: no error comes back, nothing arrives.
//!
//! The broker and the listener stand in a network namespace of their own. Its answers are swallowed by a route, so that the
//! device hears nothing any more; making one takes root.

use std::{
    fs,
    process::{Child, Command, id},
    thread,
    time::{Duration, Instant},
};

use super::{device::Device, is_long, knob, listener::Listener, wait_until};
use crate::util::mosquitto;

const RATE_HZ: u32 = 50;
const PORT: u16 = 1883;

/// Says how long.
const OUTAGE_SECONDS: &str = "ANDON_CHAOS_OUTAGE_SECONDS";

/// A network namespace with a wire to it, removed when dropped.
struct Namespace {
    name: String,
    outside: String,
    inside: String,
}

impl Namespace {
    /// `None` where that is not allowed here. Names and addresses are this process's own, four addresses of 10.213.0.0/16;
    /// what a killed run with the same ones left is taken away first.
    fn new() -> Option<Self> {
        let name = format!("andon-{}", id());
        let wire = name.clone();
        let _left_from_before = (ip(&["link", "delete", &wire]), ip(&["netns", "delete", &name]));
        if !ip(&["netns", "add", &name]) {
            println!("skipped: a network namespace takes root and `ip` (iproute2)");
            return None;
        }
        let net = id() % (1 << 14) * 4;
        let [outside, inside] = [1, 2].map(|host| format!("10.213.{}.{}", net >> 8, net % 256 + host));
        let namespace = Self { name, outside, inside };
        let (name, wire) = (namespace.name.as_str(), wire.as_str());
        if !ip(&["link", "add", wire, "type", "veth", "peer", "name", "wire", "netns", name]) {
            println!("skipped: a wire into a network namespace takes root and a kernel with veth");
            return None;
        }
        let (outside, inside) = (format!("{}/30", namespace.outside), format!("{}/30", namespace.inside));
        assert!(ip(&["address", "add", &outside, "dev", wire]) && ip(&["link", "set", wire, "up"]));
        assert!(ip(&["-n", name, "address", "add", &inside, "dev", "wire"]));
        assert!(ip(&["-n", name, "link", "set", "wire", "up"]) && ip(&["-n", name, "link", "set", "lo", "up"]));
        Some(namespace)
    }

    /// What is sent out of it is swallowed from now on, or not any more.
    fn swallow(&self, yes: bool) {
        let change = if yes { "add" } else { "delete" };
        assert!(ip(&["-n", &self.name, "route", change, "blackhole", &format!("{}/32", self.outside)]));
    }

    fn words(&self) -> [&str; 4] {
        ["ip", "netns", "exec", &self.name]
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        ip(&["netns", "delete", &self.name]);
    }
}

fn ip(arguments: &[&str]) -> bool {
    Command::new("ip").args(arguments).output().is_ok_and(|output| output.status.success())
}

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _gone_already = self.0.kill();
        let _status = self.0.wait();
    }
}

#[test]
fn an_outage_without_an_error_costs_no_message() {
    if !mosquitto::is_installed() {
        return;
    }
    let Some(namespace) = Namespace::new() else { return };
    let outage = Duration::from_secs(knob(OUTAGE_SECONDS, 20));
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("mosquitto.conf");
    fs::write(&config, format!("listener {PORT} 0.0.0.0\nallow_anonymous true\npersistence false\nuser root\n"))
        .unwrap();
    let words = namespace.words();
    let broker = Command::new(words[0]).args(&words[1..]).args(["mosquitto", "-c"]).arg(&config).spawn();
    let _ended_when_dropped = Ended(broker.unwrap());
    thread::sleep(Duration::from_millis(500));
    let listener = Listener::start(&words, "127.0.0.1", PORT);
    let mut device = Device::new(folder.path(), format!("{}:{PORT}", namespace.inside), RATE_HZ);
    device.start();
    namespace.swallow(true);
    let swallowed = Instant::now();
    let stormy = rate_over(&device, outage);
    let last_before = listener.count();
    namespace.swallow(false);
    let said = device.accepted();
    let backlog = said.len() - last_before;
    // It comes back by itself; from the first message on, the time to make up for all is what counts.
    wait_until(Duration::from_secs(60), || "nothing comes through".into(), || listener.count() > last_before);
    let (back, behind) = (Instant::now(), said.len().saturating_sub(listener.count()));
    listener.wait_for(&said, Duration::from_secs(120));
    let catch_up = behind as f64 / back.elapsed().as_secs_f64();
    let said = device.be_quiet();
    listener.wait_for(&device.accepted(), Duration::from_secs(60));
    device.stop();
    let (code, heard) = listener.end();
    println!(
        "{said} messages, {:.0} s of silence: {} lost, {backlog} made up for at {catch_up:.0} a second ({:.0} times the live \
         rate); said at {stormy:.2} a second all the while, {RATE_HZ} were wanted",
        swallowed.elapsed().as_secs_f64().min(outage.as_secs_f64()),
        heard.count("lost"),
        catch_up / f64::from(RATE_HZ)
    );
    assert_eq!((code, heard.count("lost"), heard.count("inversions")), (Some(0), 0, 0), "{:?}", heard.summary);
    // What came before anybody looked came faster still.
    assert!(behind < backlog / 10 || catch_up >= 10.0 * f64::from(RATE_HZ), "{catch_up:.0} a second");
    // What the outbox took in the moments at both ends may count or not.
    let blur = 10.0 / (f64::from(RATE_HZ) * outage.as_secs_f64());
    let tolerance = if is_long(OUTAGE_SECONDS) { 0.02 } else { 0.1 };
    assert!((stormy / f64::from(RATE_HZ) - 1.0).abs() <= tolerance + blur, "{stormy} a second");
}

/// How many things a second the device takes.
fn rate_over(device: &Device, time: Duration) -> f64 {
    let (begin, before) = (Instant::now(), device.accepted().len());
    thread::sleep(time);
    (device.accepted().len() - before) as f64 / begin.elapsed().as_secs_f64()
}
