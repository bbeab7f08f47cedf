//! A small broker inside this process, for trying andon without one. It listens on the loopback only and keeps nothing on
//! disk; a plant has its own.

use std::{
    collections::HashMap,
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use rumqttd::{Config, ConnectionSettings, RouterConfig, ServerSettings};

/// The port of MQTT by custom.
const CUSTOMARY_PORT: u16 = 1883;
/// How long the broker may take to listen.
const LISTEN_WITHIN: Duration = Duration::from_secs(5);
/// Between two looks whether it listens.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Another program may take a free port just before us.
const TRIES: usize = 3;

/// Starts the broker and waits until it listens. It ends with the process.
///
/// It takes the customary port, or another free one where that is taken; the address says which.
///
/// # Errors
/// Where no port is free or the broker does not start.
pub fn start() -> anyhow::Result<SocketAddr> {
    let mut last = None;
    for _ in 0..TRIES {
        let address = free_address().context("no port is free on 127.0.0.1")?;
        match start_at(address) {
            Ok(()) => return Ok(address),
            Err(error) => last = Some(error),
        }
    }
    Err(last.expect("there was at least one try"))
}

fn free_address() -> io::Result<SocketAddr> {
    let customary = TcpListener::bind((Ipv4Addr::LOCALHOST, CUSTOMARY_PORT));
    customary.or_else(|_taken| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?.local_addr()
}

fn start_at(address: SocketAddr) -> anyhow::Result<()> {
    let broker = thread::Builder::new().name("demo-broker".into()).spawn(move || {
        // What kept it from listening it has told its own log.
        rumqttd::Broker::new(config(address)).start().is_ok()
    })?;
    let give_up = Instant::now() + LISTEN_WITHIN;
    while Instant::now() < give_up {
        // It ends only where it cannot listen.
        if broker.is_finished() {
            anyhow::bail!("the demo broker cannot listen on {address}; try again");
        }
        if TcpStream::connect_timeout(&address, LISTEN_WITHIN).is_ok() && !broker.is_finished() {
            return Ok(());
        }
        thread::sleep(LOOK_EVERY);
    }
    anyhow::bail!("the demo broker does not answer on {address}; try again")
}

fn config(listen: SocketAddr) -> Config {
    let connections = ConnectionSettings {
        connection_timeout_ms: 5000,
        max_payload_size: 1024 * 1024,
        max_inflight_count: 100,
        auth: None,
        external_auth: None,
        dynamic_filters: true,
    };
    let server =
        ServerSettings { name: "demo-broker".into(), listen, tls: None, next_connection_delay_ms: 1, connections };
    Config {
        id: 0,
        // The newest messages of each topic, in memory: at most so many bytes, in so many pieces.
        router: RouterConfig {
            max_connections: 100,
            max_outgoing_packet_count: 200,
            max_segment_size: 1024 * 1024,
            max_segment_count: 4,
            ..RouterConfig::default()
        },
        v4: Some(HashMap::from([("demo".to_owned(), server)])),
        ..Config::default()
    }
}
