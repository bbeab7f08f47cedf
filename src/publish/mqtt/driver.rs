//! The task that keeps a connection to the broker, for ever.
//!
//! [`run`] is the policy: load, connect, serve, wait, again. What one connection does is in [`attempt`].

use std::{
    future::poll_fn,
    hash::{BuildHasher, RandomState},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Instant,
};

use rustls::ClientConfig;
use tokio::{sync::Notify, time::sleep_until};

use super::{
    Replies, Settings, Shared, Subscription, Will,
    backoff::Backoff,
    connection::{self, Carrier, OUTPUT_BYTES_FULL},
    fault::{Fault, FaultKind, Phase, Place, Trouble},
    link::{Link, LinkLog},
    queue::Token,
    session::{Connect, Event, INCOMING_BYTES_MAX, Outgoing, Session},
    tls,
};

/// A broker that ends so many connections in a row instead of answering a subscription does not allow it: the next one does
/// without, so that all else is published.
const CUT_SUBSCRIPTIONS_MAX: u32 = 3;

/// Keeps a connection until [`Queue::finish`](super::queue::Queue::finish); says whether the last message was confirmed.
pub(super) async fn run(
    shared: Arc<Shared>,
    settings: Settings,
    will: Option<Will>,
    mut subscription: Option<Subscription>,
) -> bool {
    let mut backoff = Backoff::new(RandomState::new().hash_one("andon"));
    let mut record = Record { log: LinkLog::new(settings.place().broker), up_since: None, cut_subscriptions: 0 };
    let mut down_since = Instant::now();
    let mut attempts = 0;
    loop {
        record.up_since = None;
        let fault = match caught(attempt(&shared, &settings, will.as_ref(), subscription.as_mut(), &mut record)).await {
            Ok(confirmed) => return confirmed,
            Err(fault) => fault,
        };
        let now = Instant::now();
        if let Some(up_since) = record.up_since {
            backoff.was_up(now - up_since);
            down_since = now;
            attempts = 0;
        }
        attempts += 1;
        let patient = fault.kind.waits_for_a_person();
        record.log.down(&fault, now);
        shared.disconnected(Link::Down { reason: fault, since: down_since, attempts });
        let again = now + backoff.wait(now - down_since, patient);
        loop {
            if shared.queue().is_finishing() {
                return false;
            }
            tokio::select! {
                () = sleep_until(again.into()) => break,
                () = shared.wake.notified() => {}
            }
        }
    }
}

/// A panic ends the connection, not the task: it is a fault like any other, and the next attempt may do better.
async fn caught(attempt: impl Future<Output = Result<bool, Fault>>) -> Result<bool, Fault> {
    let mut attempt = pin!(attempt);
    poll_fn(|context| {
        catch_unwind(AssertUnwindSafe(|| attempt.as_mut().poll(context))).unwrap_or_else(|_printed_by_its_hook| {
            let text = "the connection to the broker failed within andon; report this with the log";
            Poll::Ready(Err(Fault::new(FaultKind::Internal, text)))
        })
    })
    .await
}

/// What is remembered of a connection, and of those before.
struct Record {
    log: LinkLog,
    /// Since when the connection stands.
    up_since: Option<Instant>,
    /// Connections in a row that ended instead of a subscription being answered.
    cut_subscriptions: u32,
}

/// One connection from its beginning to its end; `Ok` where it ended because it was to.
async fn attempt(
    shared: &Arc<Shared>,
    settings: &Settings,
    will: Option<&Will>,
    mut subscription: Option<&mut Subscription>,
    record: &mut Record,
) -> Result<bool, Fault> {
    let place = settings.place();
    let will = will.map(|will| shared.outgoing(will())).transpose();
    let will = will.map_err(|error| Fault::new(FaultKind::Protocol, error.to_string()))?;
    let (mut filters, incoming_bytes_max) = subscription
        .as_ref()
        .map_or((Vec::new(), INCOMING_BYTES_MAX), |wanted| (wanted.filters.clone(), wanted.incoming_bytes_max));
    let mut forgone = Vec::new();
    if record.cut_subscriptions >= CUT_SUBSCRIPTIONS_MAX {
        record.cut_subscriptions = 0;
        forgone = std::mem::take(&mut filters);
    }
    let opening = Opening { client_id: settings.client_id.clone(), will, filters, incoming_bytes_max };
    let (mut session, mut carrier) = begin(settings, opening).await?;
    loop {
        // Where nothing can be sent anyway, what happens next is that something can.
        let patient_until = can_take(&session).then(|| shared.queue().patient_until()).flatten();
        let stepped = carrier.step(&mut session, &shared.wake, patient_until).await;
        let mut delivered = false;
        while let Some(event) = session.event() {
            match event {
                Event::Connected => {
                    let now = Instant::now();
                    record.up_since = Some(now);
                    record.log.up();
                    shared.connected(now);
                    tell_refused(shared, &place, &forgone);
                }
                Event::Acknowledged(token) => {
                    delivered |= matches!(token, Token::Kept(_));
                    shared.acknowledged(token);
                }
                Event::Subscribed { refused } => {
                    record.cut_subscriptions = 0;
                    tell_refused(shared, &place, &refused);
                }
                Event::Message(message) => {
                    if let Some(subscription) = subscription.as_mut() {
                        (subscription.hear)(&message, &Replies(Arc::clone(shared)));
                    }
                    session.acknowledge(&message, Instant::now());
                }
            }
        }
        if delivered {
            shared.handover.ring_outbox();
        }
        if stepped.is_err() && session.is_subscribing() {
            record.cut_subscriptions += 1;
        }
        let phase = if record.up_since.is_some() { Phase::Up } else { Phase::Login };
        stepped.map_err(|trouble| place.fault(phase, &trouble))?;
        fill(shared, &mut session);
        if shared.queue().is_finished() {
            // The last message is acknowledged: a goodbye that fails costs nothing but a will that follows it.
            return Ok(carrier.close(&mut session).await.is_ok());
        }
    }
}

/// What the broker does not let us hear is a trouble of a connection that stands.
fn tell_refused(shared: &Shared, place: &Place, refused: &[String]) {
    let trouble = (!refused.is_empty()).then(|| place.unsubscribed(refused));
    if let Some(trouble) = &trouble {
        log::warn!("{trouble}");
    }
    shared.subscribed(trouble);
}

/// A connection that is given up as soon as it stands.
pub(super) async fn check(settings: &Settings) -> Result<(), Fault> {
    let place = settings.place();
    let client_id = format!("{}-check", settings.client_id);
    let opening = Opening { client_id, will: None, filters: Vec::new(), incoming_bytes_max: INCOMING_BYTES_MAX };
    let (mut session, mut carrier) = begin(settings, opening).await?;
    let (nobody_rings, mut connected) = (Notify::new(), false);
    while !connected {
        let stepped = carrier.step(&mut session, &nobody_rings, None).await;
        stepped.map_err(|trouble| place.fault(Phase::Login, &trouble))?;
        connected = session.event() == Some(Event::Connected);
    }
    let _it_stood = carrier.close(&mut session).await;
    Ok(())
}

/// What a connection begins with, beside the settings.
struct Opening {
    client_id: String,
    will: Option<Outgoing>,
    filters: Vec<String>,
    incoming_bytes_max: usize,
}

/// Opens the way and begins a session on it; CONNECT is yet to be written.
async fn begin(settings: &Settings, opening: Opening) -> Result<(Session<Token>, Carrier), Fault> {
    let (login, tls) = credentials(settings).await?;
    let stream = connection::open(settings, tls).await?;
    let Opening { client_id, will, filters, incoming_bytes_max } = opening;
    let Settings { keep_alive, answer_within, .. } = *settings;
    let connect = Connect { client_id, login, will, filters, incoming_bytes_max, keep_alive, answer_within };
    let session = Session::connect(connect, Instant::now())
        .map_err(|failure| settings.place().fault(Phase::Login, &Trouble::Session(failure)))?;
    Ok((session, Carrier::new(stream)))
}

fn can_take(session: &Session<Token>) -> bool {
    session.is_open() && session.output().len() < OUTPUT_BYTES_FULL
}

/// Gives the session what it can take.
fn fill(shared: &Shared, session: &mut Session<Token>) {
    while can_take(session) {
        let now = Instant::now();
        let Some((message, again, token)) = shared.next(now) else { return };
        session.publish(&message, again, token, now);
        shared.published(message.bytes());
    }
}

type Credentials = (Option<(String, String)>, Option<Arc<ClientConfig>>);

/// Reads password and certificates, aside, since a disk may be slow.
async fn credentials(settings: &Settings) -> Result<Credentials, Fault> {
    let settings = settings.clone();
    let read = tokio::task::spawn_blocking(move || {
        let tls = settings.tls.as_ref().map(tls::client_config).transpose()?;
        let password = match &settings.password {
            None => String::new(),
            Some(secret) => secret
                .read()
                .map_err(|error| {
                    Fault::new(
                        FaultKind::PasswordFile,
                        format!(
                            "password file {} cannot be used ({error}); check [mqtt] password_file",
                            secret.path().display()
                        ),
                    )
                })?
                .expose(),
        };
        if settings.username.is_none() && !password.is_empty() {
            return Err(Fault::new(
                FaultKind::Credentials,
                "a password needs a user name; set [mqtt] username, or remove password_file",
            ));
        }
        Ok((settings.username.map(|username| (username, password)), tls))
    });
    read.await.unwrap_or_else(|_panicked| {
        Err(Fault::new(FaultKind::TlsFiles, "certificates cannot be read; check the files of [mqtt] tls"))
    })
}
