//! The way to the broker: the publisher, the outbox that it empties, and the commands that come in over it. They begin and
//! end together, since an outbox belongs to one connection.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use bytes::Bytes;
use tokio::runtime::Runtime;

use super::home::Announcer;
use crate::{
    config::Config,
    publish::{
        clock::Reading,
        commands::{self, Obey},
        kept,
        mqtt::{Client, Link, Publisher},
        outbox::{Handover, Outbox},
        wire::{DeviceState, Number, Wire},
    },
};

/// How long a stop waits for the broker to confirm the last status; systemd's patience is longer.
const FAREWELL_WITHIN: Duration = Duration::from_secs(3);

/// How long a stop waits for the disk.
const OUTBOX_WITHIN: Duration = Duration::from_secs(3);

/// The connection of a device, and what it keeps for it.
pub(super) struct Connection {
    publisher: Publisher,
    outbox: Outbox,
}

/// Who takes what comes in.
#[derive(Clone)]
pub(super) struct Ears {
    /// Does what commands ask of rules and cameras.
    pub(super) obey: Arc<dyn Obey>,
    /// Answers Home Assistant.
    pub(super) announcer: Announcer,
}

impl Connection {
    /// Begins to connect, for ever; `ears` take what comes in, and `simulated` keeps nothing beyond the process.
    ///
    /// # Errors
    /// Where the system refuses a thread.
    pub(super) fn start(
        runtime: &Runtime,
        config: &Config,
        wire: &Wire,
        ears: &Ears,
        simulated: bool,
    ) -> anyhow::Result<Self> {
        let handover = Arc::new(Handover::default());
        let gaps = kept::gaps(wire.clone());
        let outbox = if simulated {
            Outbox::in_memory(handover, gaps)
        } else {
            Outbox::start(config.outbox.clone(), handover, gaps)
        };
        let outbox = outbox.context("the outbox has no thread; raise the limit of tasks (TasksMax=)")?;
        let greeting = ears.announcer.greeting(config);
        let will = wire.clone();
        let client = Client {
            outbox: Some(outbox.clone()),
            subscription: commands::subscription(wire, &config.commands, &outbox, Arc::clone(&ears.obey), greeting),
            ..Client::with_will(move || will.will(&Reading::now()))
        };
        let publisher = Publisher::start(runtime.handle(), config.mqtt.clone(), client);
        Ok(Self { publisher, outbox })
    }

    /// A handle to publish with.
    pub(super) fn publisher(&self) -> Publisher {
        self.publisher.clone()
    }

    /// What an earlier process noted under a key.
    pub(super) fn note(&self, key: &str) -> Option<Bytes> {
        self.outbox.note(key)
    }

    /// The outbox's signs of life.
    pub(super) fn outbox_progress(&self) -> u64 {
        self.outbox.progress()
    }

    /// What is not well with what is to be kept, or with what is to be heard.
    pub(super) fn troubles(&self) -> impl Iterator<Item = String> {
        let commands = self.publisher.trouble().map(|fault| fault.to_string());
        self.outbox.trouble().into_iter().chain(commands)
    }

    /// The last number of each topic.
    pub(super) fn numbers(&self) -> BTreeMap<String, Number> {
        kept::numbers(&self.outbox)
    }

    /// Says goodbye to the broker as the device of `wire`. What is not acknowledged stays in the outbox.
    pub(super) fn stop(&self, runtime: &Runtime, wire: &Wire) {
        let last = wire.status(&Reading::now(), &DeviceState::Stopped, Instant::now(), &self.numbers());
        let was_up = matches!(self.publisher.link(), Link::Up { .. });
        if !runtime.block_on(self.publisher.stop(Some(last), FAREWELL_WITHIN)) && was_up {
            log::warn!("the broker did not confirm the last status; it will announce this box as offline");
        }
        if !self.outbox.stop(OUTBOX_WITHIN) {
            log::warn!("the outbox's disk does not answer; what was said last may be lost with the power");
        }
    }
}
