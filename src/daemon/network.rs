//! The network plane: one tokio runtime on a thread of its own, for the broker and for signals.

use std::{
    sync::mpsc::{Receiver, Sender, channel},
    time::Duration,
};

use anyhow::Context;
use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::{Signal, SignalKind, signal},
    time::sleep,
};

use super::{
    connection::{Connection, Ears},
    pulse::Beat,
};
use crate::{
    config::Config,
    publish::{mqtt, wire::Wire},
};

/// The network shows so often that it is alive.
const BEAT_EVERY: Duration = Duration::from_secs(1);

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// The end; holds the name of the signal.
    End(&'static str),
    /// The configuration is to be read again.
    Reload,
}

/// The runtime and what runs on it.
pub(super) struct Network {
    runtime: Runtime,
    connection: Connection,
    ears: Ears,
    /// Nothing is kept beyond the process.
    simulated: bool,
    orders: Receiver<Order>,
    beat: Beat,
}

/// Connects to the broker once and says goodbye: whether it would let the daemon in.
///
/// # Errors
/// Why there is no connection, and what to do.
pub fn check_broker(config: &Config) -> anyhow::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build().context("the network cannot be used")?;
    let checked = runtime.block_on(mqtt::check(&config.mqtt));
    // A name lookup that hangs is not waited for.
    runtime.shutdown_background();
    Ok(checked?)
}

impl Network {
    /// Starts to connect, with `ears` for what comes in, and to listen for signals; for SIGHUP where `reloads`, which else ends the process.
    ///
    /// # Errors
    /// Where the system refuses a thread or a signal handler.
    pub(super) fn start(
        config: &Config,
        wire: &Wire,
        ears: Ears,
        reloads: bool,
        simulated: bool,
    ) -> anyhow::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("network")
            .enable_all()
            .build()
            .context("the network thread cannot be started")?;
        let connection = Connection::start(&runtime, config, wire, &ears, simulated)?;
        let (sender, orders) = channel();
        let guard = runtime.enter();
        let terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be listened for")?;
        let interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be listened for")?;
        let hang_up = reloads.then(|| signal(SignalKind::hangup())).transpose();
        let hang_up = hang_up.context("SIGHUP cannot be listened for")?;
        drop(guard);
        runtime.spawn(forward(terminate, Order::End("SIGTERM"), sender.clone()));
        runtime.spawn(forward(interrupt, Order::End("SIGINT"), sender.clone()));
        if let Some(hang_up) = hang_up {
            runtime.spawn(forward(hang_up, Order::Reload, sender));
        }
        let beat = Beat::default();
        runtime.spawn(beat_on(beat.clone()));
        Ok(Self { runtime, connection, ears, simulated, orders, beat })
    }

    /// The way to the broker.
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// What signals ask for, as they arrive.
    pub(super) fn orders(&self) -> &Receiver<Order> {
        &self.orders
    }

    /// Signs of life of the runtime, and so of all that runs on its one thread.
    pub(super) fn beat(&self) -> Beat {
        self.beat.clone()
    }

    /// Says goodbye to the broker as the device of `before`, and connects as another configuration says.
    ///
    /// # Errors
    /// Where the system refuses a thread.
    pub(super) fn reconnect(&mut self, before: &Wire, config: &Config, wire: &Wire) -> anyhow::Result<()> {
        self.connection.stop(&self.runtime, before);
        self.connection = Connection::start(&self.runtime, config, wire, &self.ears, self.simulated)?;
        Ok(())
    }

    /// Says goodbye to the broker, and ends.
    pub(super) fn stop(self, wire: &Wire) {
        self.connection.stop(&self.runtime, wire);
        self.runtime.shutdown_timeout(Duration::from_secs(1));
    }
}

async fn forward(mut signal: Signal, order: Order, sender: Sender<Order>) {
    while signal.recv().await.is_some() && sender.send(order).is_ok() {}
}

async fn beat_on(beat: Beat) {
    loop {
        beat.tick();
        sleep(BEAT_EVERY).await;
    }
}
