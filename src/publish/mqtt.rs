//! Publishing over MQTT 3.1.1: a handle that never blocks, and a task that keeps the connection.
//!
//! This folder is the only place that names rumqttc, and of it only the packets: the session is ours (`session.rs`), since
//! rumqttc's own drops what waits when a broker forgets it, and does not say what was acknowledged.
//!
//! - `session.rs`: the protocol, without sockets and clocks; `queue.rs`: what waits to be sent.
//! - `connection.rs`: TCP and TLS, and the bytes between socket and session; `driver.rs`: connect, serve, wait, again.
//! - `backoff.rs`: how long to wait; `fault.rs`: why there is no connection; `link.rs`: how it is, and what the log says.
//! - `secret.rs`, `tls.rs`: what is read from files at every connection.
//!
//! The session is always clean: what the broker has to know is said again at every connection. A connection that is lost
//! is sought for ever, with full jitter: after waits of at most 0.5 s, 1 s, 2 s, 4 s, then at most 5 s during the first five
//! minutes and 30 s after that; 30 s also where a person has to change something (a password, a certificate). It starts
//! from 0.5 s again once a connection has held for ten seconds.

mod backoff;
mod connection;
mod driver;
mod fault;
mod link;
mod queue;
mod secret;
pub mod session;
#[cfg(test)]
mod simulation;
mod tls;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio::{runtime::Handle, sync::Notify, task::JoinHandle, time::timeout};

use self::{
    fault::Place,
    queue::{Queue, Token},
};
pub use self::{
    fault::{Fault, FaultKind},
    link::Link,
    secret::{Revealed, Secret},
    session::{INCOMING_BYTES_MAX, Incoming, Invalid, Outgoing, Qos},
    tls::{Identity, TlsSettings},
};
use super::{
    Delivery, Message, kept,
    outbox::{Handover, Outbox},
};
use crate::store::Note;

/// How long a stop waits for the outbox to become empty.
const OUTBOX_WITHIN: Duration = Duration::from_secs(1);

/// Longest packet that is sent. Brokers have limits of their own; this one keeps a mistake out of the queue.
pub const OUTGOING_BYTES_MAX: usize = 1024 * 1024;

/// Which broker, and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Name or address; with TLS the name that stands in the broker's certificate.
    pub host: String,
    /// Port: 1883 by custom, 8883 with TLS.
    pub port: u16,
    /// The name under which the broker knows this client, for itself alone.
    pub client_id: String,
    /// User name, where the broker wants one.
    pub username: Option<String>,
    /// Password, where the broker wants one.
    pub password: Option<Secret>,
    /// TLS, where the broker speaks it.
    pub tls: Option<TlsSettings>,
    /// QoS of [`Delivery::Live`]. With [`Qos::AtLeastOnce`] the broker acknowledges them; they are not kept all the same.
    pub live_qos: Qos,
    /// Silence after which the broker is asked for a sign of life; after the same time again the connection is given up.
    pub keep_alive: Duration,
    /// How long the broker may take for each step of the connection.
    pub answer_within: Duration,
}

impl Settings {
    /// No TLS, no user name, QoS 0 for what is live; a dead connection is noticed within twenty seconds.
    pub fn new(host: impl Into<String>, port: u16, client_id: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            port,
            client_id: client_id.into(),
            username: None,
            password: None,
            tls: None,
            live_qos: Qos::AtMostOnce,
            keep_alive: Duration::from_secs(10),
            answer_within: Duration::from_secs(5),
        }
    }

    /// The host as resolvers and certificates have it: an IPv6 address without the brackets of a URL.
    fn host(&self) -> &str {
        self.host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&self.host)
    }

    fn place(&self) -> Place {
        let host = self.host();
        Place {
            broker: if host.contains(':') {
                format!("[{host}]:{}", self.port)
            } else {
                format!("{host}:{}", self.port)
            },
            host: host.to_owned(),
            client_id: self.client_id.clone(),
            username: self.username.clone(),
            tls: self.tls.is_some(),
            ca: self.tls.as_ref().and_then(|tls| tls.ca.clone()),
            has_certificate: self.tls.as_ref().is_some_and(|tls| tls.identity.is_some()),
            answer_within: self.answer_within,
            keep_alive: self.keep_alive,
        }
    }
}

/// Connects once, under another name so that a running client is not thrown out, and says goodbye: nothing is published.
///
/// # Errors
/// Why there is no connection.
pub async fn check(settings: &Settings) -> Result<(), Fault> {
    driver::check(settings).await
}

/// What a client is for, beside publishing states and what is live.
#[derive(Default)]
pub struct Client {
    /// Asked at every connection for what the broker shall publish should it end without a goodbye; the state of its topic
    /// is sent before all others.
    pub will: Option<Will>,
    /// Where [`Delivery::Kept`] goes; without it such messages are refused.
    pub outbox: Option<Outbox>,
    /// What is listened to.
    pub subscription: Option<Subscription>,
}

/// Makes a last will.
pub type Will = Box<dyn Fn() -> Message + Send + Sync>;

/// What is listened to, at every connection anew.
pub struct Subscription {
    /// Topics, perhaps with wildcards; QoS 1. What the broker refuses [`Publisher::trouble`] says.
    pub filters: Vec<String>,
    /// A message that makes a longer packet ends the connection, in bytes.
    pub incoming_bytes_max: usize,
    /// Takes each message, on the connection's task; the broker is told afterwards. While it waits, the connection does.
    pub hear: Box<Hear>,
}

/// Takes messages, and may answer.
pub type Hear = dyn FnMut(&Incoming, &Replies) + Send;

/// Where answers go; they are dropped with the connection, since nobody waits for them any more.
#[derive(Clone)]
pub struct Replies(Arc<Shared>);

impl Replies {
    /// Publishes an answer, from any thread. One that cannot be published is told to the log.
    pub fn send(&self, answer: Message) {
        let topic = answer.topic.clone();
        match self.0.outgoing(Message { delivery: Delivery::Answer, ..answer }) {
            Ok(outgoing) => {
                self.0.queue().live(outgoing);
                self.0.wake.notify_one();
            }
            Err(error) => log::warn!("{topic} was not published: {error}"),
        }
    }
}

impl Client {
    /// A device that publishes, and leaves a will.
    pub fn with_will(will: impl Fn() -> Message + Send + Sync + 'static) -> Self {
        Self { will: Some(Box::new(will)), ..Self::default() }
    }
}

/// A handle to publish with, for any thread; clones share one connection.
///
/// When the last clone is dropped without [`Publisher::stop`], the connection ends without a goodbye, and the broker
/// publishes the will, as after a crash.
#[derive(Clone)]
pub struct Publisher {
    shared: Arc<Shared>,
    task: Arc<Task>,
}

/// Why a message was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It cannot be published, now or later.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// More topics with a state than there are things to say.
    #[error("too many topics have a state; the one for {0} is not published; run fewer cameras on one device")]
    TooManyStates(String),
    /// Nothing keeps messages here.
    #[error("the message for {0} has to be kept, and there is no outbox")]
    NotKept(String),
    /// It is not to be kept, and was handed in with what is.
    #[error("the message for {0} is not to be kept; publish it alone")]
    NotToKeep(String),
    /// More came than can be taken, and it is lost; a gap tells of the messages.
    #[error("messages come faster than the outbox takes them; check the disk, or let rules say less")]
    Overload,
    /// [`Publisher::stop`] was called.
    #[error("publishing has stopped")]
    Stopped,
}

/// What was done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages handed to a connection.
    pub published: u64,
    /// Of the messages that a broker answers, how many it did.
    pub acknowledged: u64,
    /// [`Delivery::Live`] messages given up, because there was no connection or it was too slow.
    pub dropped_live: u64,
    /// Connections made, the first one included.
    pub connections: u64,
    /// Bytes of published messages, on the wire without TLS.
    pub bytes: u64,
}

impl Publisher {
    /// Starts the task that keeps the connection.
    pub fn start(runtime: &Handle, settings: Settings, client: Client) -> Self {
        let Client { will, outbox, subscription } = client;
        let handover = outbox.as_ref().map_or_else(Arc::default, Outbox::handover);
        let shared = Arc::new(Shared {
            queue: Mutex::new(Queue::new(will.as_ref().map(|will| will().topic).unwrap_or_default())),
            wake: handover.connection_bell(),
            handover,
            outbox,
            link: Mutex::new(Link::Connecting),
            trouble: Mutex::new(None),
            live_qos: settings.live_qos,
            published: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        });
        let handle = runtime.spawn(driver::run(Arc::clone(&shared), settings, will, subscription));
        Self { shared, task: Arc::new(Task(Mutex::new(Some(handle)))) }
    }

    /// Hands a message over. Never waits for the network; what becomes of the message its [`Delivery`] says.
    ///
    /// # Errors
    /// Where the message can never be published; it is not kept then.
    pub fn publish(&self, message: Message) -> Result<(), Refused> {
        if let Delivery::Kept { .. } = message.delivery {
            if self.shared.queue().is_finishing() {
                return Err(Refused::Stopped);
            }
            let Some(outbox) = &self.shared.outbox else { return Err(Refused::NotKept(message.topic)) };
            return Ok(outbox.push(kept::entry(message, Timestamp::now()))?);
        }
        let is_state = message.delivery == Delivery::State;
        let outgoing = self.shared.outgoing(message)?;
        {
            let mut queue = self.shared.queue();
            if queue.is_finishing() {
                return Err(Refused::Stopped);
            }
            if is_state {
                let topic = outgoing.topic().to_owned();
                queue.state(outgoing).map_err(|queue::TooManyStates| Refused::TooManyStates(topic))?;
            } else {
                queue.live(outgoing);
            }
        }
        self.shared.wake.notify_one();
        Ok(())
    }

    /// Hands over messages to keep, and notes, as [`Outbox::push_all`] does.
    ///
    /// # Errors
    /// Where one of them can never be published or kept, or is no [`Delivery::Kept`], or there is no room; none is taken then.
    pub fn publish_all(&self, messages: Vec<Message>, notes: Vec<Note>) -> Result<(), Refused> {
        if self.shared.queue().is_finishing() {
            return Err(Refused::Stopped);
        }
        let stray = messages.iter().find(|message| !matches!(message.delivery, Delivery::Kept { .. }));
        if let Some(stray) = stray {
            return Err(Refused::NotToKeep(stray.topic.clone()));
        }
        let Some(outbox) = &self.shared.outbox else {
            let topic = messages.into_iter().next().map(|message| message.topic);
            return Err(Refused::NotKept(topic.unwrap_or_default()));
        };
        let now = Timestamp::now();
        let entries = messages.into_iter().map(|message| kept::entry(message, now)).collect();
        if outbox.push_all(entries, notes)? { Ok(()) } else { Err(Refused::Overload) }
    }

    /// Whether the task that keeps the connection is at work: from the start to [`Publisher::stop`], unless it failed.
    pub fn is_running(&self) -> bool {
        let task = self.task.0.lock().unwrap_or_else(PoisonError::into_inner);
        task.as_ref().is_some_and(|handle| !handle.is_finished())
    }

    /// How the connection is.
    pub fn link(&self) -> Link {
        self.shared.link().clone()
    }

    /// What the broker refuses although the connection stands: a subscription.
    pub fn trouble(&self) -> Option<Fault> {
        self.shared.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What was done so far.
    pub fn counters(&self) -> Counters {
        Counters {
            published: self.shared.published.load(Ordering::Relaxed),
            acknowledged: self.shared.acknowledged.load(Ordering::Relaxed),
            dropped_live: self.shared.queue().dropped_live(),
            connections: self.shared.connections.load(Ordering::Relaxed),
            bytes: self.shared.bytes.load(Ordering::Relaxed),
        }
    }

    /// Publishes what waits, then `last` (retained, QoS 1), and says goodbye once the broker has acknowledged it, so that
    /// the will is not published. Says whether that came about within the time. A connection that is being made has that
    /// time to stand; between two attempts it returns at once, and then the broker has published the will or will do so.
    /// The outbox has a second to become empty; what is left in it is sent after the next start.
    pub async fn stop(&self, last: Option<Message>, within: Duration) -> bool {
        let last = last.map(|last| self.shared.outgoing(Message { delivery: Delivery::State, ..last }));
        let Ok(last) = last.transpose() else { return false };
        self.shared.queue().finish(last, Instant::now() + OUTBOX_WITHIN.min(within / 2));
        self.shared.wake.notify_one();
        let handle = self.task.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut handle) = handle else { return false };
        match timeout(within, &mut handle).await {
            Ok(ended) => ended.unwrap_or(false),
            Err(_elapsed) => {
                handle.abort();
                false
            }
        }
    }
}

/// What the handle and the task have in common.
struct Shared {
    /// Locked for moments only, never across a wait.
    queue: Mutex<Queue>,
    /// Rung when there is something new to do.
    wake: Arc<Notify>,
    handover: Arc<Handover>,
    outbox: Option<Outbox>,
    link: Mutex<Link>,
    trouble: Mutex<Option<Fault>>,
    live_qos: Qos,
    published: AtomicU64,
    acknowledged: AtomicU64,
    connections: AtomicU64,
    bytes: AtomicU64,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn link(&self) -> MutexGuard<'_, Link> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn outgoing(&self, message: Message) -> Result<Outgoing, Invalid> {
        let (qos, retain) = match message.delivery {
            Delivery::Live => (self.live_qos, false),
            Delivery::State => (Qos::AtLeastOnce, true),
            Delivery::Kept { retain, .. } => (Qos::AtLeastOnce, retain),
            Delivery::Answer => (Qos::AtLeastOnce, false),
        };
        Outgoing::new(message.topic, message.payload, qos, retain, OUTGOING_BYTES_MAX)
    }

    fn next(&self, now: Instant) -> Option<(Outgoing, bool, Token)> {
        self.queue().next(&mut self.handover.lane(), now)
    }

    fn connected(&self, now: Instant) {
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.queue().connected();
        self.handover.lane().connected();
        self.handover.ring_outbox();
        *self.link() = Link::Up { since: now };
    }

    fn subscribed(&self, trouble: Option<Fault>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    fn disconnected(&self, link: Link) {
        self.queue().disconnected();
        self.handover.lane().disconnected();
        self.handover.ring_outbox();
        self.subscribed(None);
        *self.link() = link;
    }

    fn published(&self, bytes: usize) {
        self.published.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn acknowledged(&self, token: Token) {
        self.acknowledged.fetch_add(1, Ordering::Relaxed);
        match token {
            Token::Kept(key) => self.handover.lane().acknowledged(key),
            token => self.queue().acknowledged(token),
        }
    }
}

/// The task, ended when the last handle goes.
struct Task(Mutex<Option<JoinHandle<bool>>>);

impl Drop for Task {
    fn drop(&mut self) {
        if let Some(handle) = self.0.get_mut().unwrap_or_else(PoisonError::into_inner) {
            handle.abort();
        }
    }
}
