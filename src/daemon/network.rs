//! The network plane: one tokio runtime on a thread of its own, for the broker and for signals.

use std::{
    sync::mpsc::{Receiver, Sender, channel},
    time::{Duration, Instant},
};

use anyhow::Context;
use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::{Signal, SignalKind, signal},
};

use crate::{
    config::Config,
    publish::{
        clock::Reading,
        mqtt::{self, Link, Publisher},
        wire::{DeviceState, Wire},
    },
};

/// How long a stop waits for the broker to confirm the last status; systemd's patience is longer.
const FAREWELL_WITHIN: Duration = Duration::from_secs(3);

/// The runtime and what runs on it.
pub(super) struct Network {
    runtime: Runtime,
    publisher: Publisher,
    signals: Receiver<&'static str>,
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
    /// Starts to connect, and to listen for signals.
    ///
    /// # Errors
    /// Where the system refuses a thread or a signal handler.
    pub(super) fn start(config: &Config, wire: &Wire) -> anyhow::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("network")
            .enable_all()
            .build()
            .context("the network thread cannot be started")?;
        let will = wire.clone();
        let publisher = Publisher::start(runtime.handle(), config.mqtt.clone(), move || will.will(&Reading::now()));
        let (sender, signals) = channel();
        let guard = runtime.enter();
        let terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be listened for")?;
        let interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be listened for")?;
        drop(guard);
        runtime.spawn(forward(terminate, "SIGTERM", sender.clone()));
        runtime.spawn(forward(interrupt, "SIGINT", sender));
        Ok(Self { runtime, publisher, signals })
    }

    /// A handle to publish with.
    pub(super) fn publisher(&self) -> Publisher {
        self.publisher.clone()
    }

    /// The names of signals that ask for an end, as they arrive.
    pub(super) fn signals(&self) -> &Receiver<&'static str> {
        &self.signals
    }

    /// Says goodbye to the broker, and ends.
    pub(super) fn stop(self, wire: &Wire) {
        let last = wire.status(&Reading::now(), &DeviceState::Stopped, Instant::now());
        let was_up = matches!(self.publisher.link(), Link::Up { .. });
        if !self.runtime.block_on(self.publisher.stop(last, FAREWELL_WITHIN)) && was_up {
            log::warn!("the broker did not confirm the last status; it will announce this box as offline");
        }
        self.runtime.shutdown_timeout(Duration::from_secs(1));
    }
}

async fn forward(mut signal: Signal, name: &'static str, sender: Sender<&'static str>) {
    while signal.recv().await.is_some() && sender.send(name).is_ok() {}
}
