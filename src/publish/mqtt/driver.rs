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
    Settings, Shared, Will,
    backoff::Backoff,
    connection::{self, Carrier, OUTPUT_BYTES_FULL},
    fault::{Fault, FaultKind, Phase, Trouble},
    link::{Link, LinkLog},
    queue::Token,
    session::{Connect, Event, Outgoing, Session},
    tls,
};

/// Keeps a connection until [`Queue::finish`](super::queue::Queue::finish); says whether the last message was confirmed.
pub(super) async fn run(shared: Arc<Shared>, settings: Settings, will: Will) -> bool {
    let mut backoff = Backoff::new(RandomState::new().hash_one("andon"));
    let mut log = LinkLog::new(settings.place().broker);
    let mut down_since = Instant::now();
    let mut attempts = 0;
    loop {
        let mut up_since = None;
        let fault = match caught(attempt(&shared, &settings, &will, &mut up_since, &mut log)).await {
            Ok(confirmed) => return confirmed,
            Err(fault) => fault,
        };
        let now = Instant::now();
        if let Some(up_since) = up_since {
            backoff.was_up(now - up_since);
            down_since = now;
            attempts = 0;
        }
        attempts += 1;
        let patient = fault.kind.waits_for_a_person();
        log.down(&fault, now);
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

/// One connection from its beginning to its end; `Ok` where it ended because it was to.
async fn attempt(
    shared: &Shared,
    settings: &Settings,
    will: &Will,
    up_since: &mut Option<Instant>,
    log: &mut LinkLog,
) -> Result<bool, Fault> {
    let place = settings.place();
    let will = shared.outgoing(will()).map_err(|error| Fault::new(FaultKind::Protocol, error.to_string()))?;
    let (mut session, mut carrier) = begin(settings, settings.client_id.clone(), Some(will)).await?;
    loop {
        let stepped = carrier.step(&mut session, &shared.wake).await;
        while let Some(event) = session.event() {
            match event {
                Event::Connected => {
                    let now = Instant::now();
                    *up_since = Some(now);
                    log.up();
                    shared.connected(now);
                }
                Event::Acknowledged(token) => shared.acknowledged(token),
            }
        }
        let phase = if up_since.is_some() { Phase::Up } else { Phase::Login };
        stepped.map_err(|trouble| place.fault(phase, &trouble))?;
        if shared.queue().is_finished() {
            // The last message is acknowledged: a goodbye that fails costs nothing but a will that follows it.
            return Ok(carrier.close(&mut session).await.is_ok());
        }
        fill(shared, &mut session);
    }
}

/// A connection that is given up as soon as it stands.
pub(super) async fn check(settings: &Settings) -> Result<(), Fault> {
    let place = settings.place();
    let (mut session, mut carrier) = begin(settings, format!("{}-check", settings.client_id), None).await?;
    let (nobody_rings, mut connected) = (Notify::new(), false);
    while !connected {
        let stepped = carrier.step(&mut session, &nobody_rings).await;
        stepped.map_err(|trouble| place.fault(Phase::Login, &trouble))?;
        connected = session.event() == Some(Event::Connected);
    }
    let _it_stood = carrier.close(&mut session).await;
    Ok(())
}

/// Opens the way and begins a session on it; CONNECT is yet to be written.
async fn begin(
    settings: &Settings,
    client_id: String,
    will: Option<Outgoing>,
) -> Result<(Session<Token>, Carrier), Fault> {
    let (login, tls) = credentials(settings).await?;
    let stream = connection::open(settings, tls).await?;
    let connect =
        Connect { client_id, login, will, keep_alive: settings.keep_alive, answer_within: settings.answer_within };
    let session = Session::connect(connect, Instant::now())
        .map_err(|failure| settings.place().fault(Phase::Login, &Trouble::Session(failure)))?;
    Ok((session, Carrier::new(stream)))
}

/// Gives the session what it can take.
fn fill(shared: &Shared, session: &mut Session<Token>) {
    while session.is_open() && session.output().len() < OUTPUT_BYTES_FULL {
        let Some((message, again, token)) = shared.queue().next() else { return };
        session.publish(&message, again, token, Instant::now());
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
