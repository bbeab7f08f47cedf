//! A connection that listens, for programs without a network plane of their own: messages wait in a queue, calls wait for
//! them.

use std::{
    sync::mpsc::{Receiver, sync_channel},
    time::Duration,
};

use tokio::runtime::{Builder, Runtime};

use super::{
    Delivery, Message,
    mqtt::{Client, Counters, Fault, Incoming, Link, Publisher, Refused, Settings, Subscription},
};

/// Messages that wait to be taken; while there are more, the broker has to keep its own.
const WAITING_MAX: usize = 4096;
/// Longest packet that is accepted, in bytes: pictures are among them.
const INCOMING_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How long a goodbye may take.
const FAREWELL_WITHIN: Duration = Duration::from_secs(1);

/// A connection that listens.
pub struct Listener {
    runtime: Runtime,
    publisher: Publisher,
    messages: Receiver<Incoming>,
}

impl Listener {
    /// Begins to connect, and to listen to what matches the filters whenever it is connected.
    ///
    /// # Errors
    /// Where the system refuses a thread.
    pub fn start(settings: Settings, filters: Vec<String>) -> std::io::Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("network").enable_all().build()?;
        let (sender, messages) = sync_channel(WAITING_MAX);
        let subscription = Subscription {
            filters,
            incoming_bytes_max: INCOMING_BYTES_MAX,
            hear: Box::new(move |message, _replies| {
                // Nobody is left to take it where the listener is gone.
                let _nobody = sender.send(message.clone());
            }),
        };
        let client = Client { subscription: Some(subscription), ..Client::default() };
        let publisher = Publisher::start(runtime.handle(), settings, client);
        Ok(Self { runtime, publisher, messages })
    }

    /// The next message, where one comes within the time.
    pub fn next(&self, within: Duration) -> Option<Incoming> {
        self.messages.recv_timeout(within).ok()
    }

    /// Asks something of a device. Without a connection it is dropped.
    ///
    /// # Errors
    /// Where it can never be published.
    pub fn ask(&self, topic: String, payload: String) -> Result<(), Refused> {
        self.publisher.publish(Message { topic, payload: payload.into(), delivery: Delivery::Answer })
    }

    /// How the connection is.
    pub fn link(&self) -> Link {
        self.publisher.link()
    }

    /// What the broker refuses although the connection stands.
    pub fn trouble(&self) -> Option<Fault> {
        self.publisher.trouble()
    }

    /// What was done so far.
    pub fn counters(&self) -> Counters {
        self.publisher.counters()
    }

    /// Says goodbye to the broker. What still waits is dropped.
    pub fn stop(self) {
        let Self { runtime, publisher, messages } = self;
        drop(messages);
        // There is no will that a missing goodbye would set free.
        let _said = runtime.block_on(publisher.stop(None, FAREWELL_WITHIN));
        runtime.shutdown_background();
    }
}
