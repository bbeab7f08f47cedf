//! Opens the way to the broker and carries bytes between it and the session.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf},
    net::{TcpSocket, TcpStream, lookup_host},
    sync::Notify,
    time::{sleep_until, timeout},
};
use tokio_rustls::TlsConnector;

use super::{
    Settings,
    fault::{Fault, FaultKind, Phase, Trouble},
    session::Session,
};

/// Addresses of one name that are tried in turn.
const ADDRESSES_MAX: usize = 4;
/// Bytes that the kernel may hold for a slow connection: what waits shall wait in the queue, where the stale is dropped
/// and counted, and where a question for a sign of life is not stuck behind it.
const SEND_BUFFER_BYTES: u32 = 32 * 1024;
/// While so many bytes wait for the kernel, no further message is taken from the queue.
pub(super) const OUTPUT_BYTES_FULL: usize = 16 * 1024;
/// While so many bytes wait for the kernel, nothing more is read: a broker that does not listen need not be answered.
const OUTPUT_BYTES_MAX: usize = 256 * 1024;
/// Bytes that are read at once.
const INPUT_BYTES: usize = 16 * 1024;
/// A connection that takes not a byte for so long is dead.
const WRITE_WITHIN: Duration = Duration::from_secs(10);
/// How long to look for the broker's reason after it cut us off, and for its close after a goodbye.
const LAST_WORDS_WITHIN: Duration = Duration::from_secs(1);

/// A connection, with or without TLS.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Opens a connection.
pub(super) async fn open(settings: &Settings, tls: Option<Arc<ClientConfig>>) -> Result<Box<dyn Stream>, Fault> {
    let place = settings.place();
    let within = settings.answer_within;
    let tcp = match timeout(within, dial(settings)).await {
        Ok(Ok(tcp)) => tcp,
        Ok(Err(Dial::Dns(error))) => {
            return Err(Fault::new(
                FaultKind::Dns,
                format!(
                    "broker {}: its name has no address ({error}); check [mqtt] host and the network's DNS",
                    place.broker
                ),
            ));
        }
        Ok(Err(Dial::Tcp(error))) => return Err(place.fault(Phase::Tcp, &Trouble::Io(error))),
        Err(_elapsed) => return Err(place.fault(Phase::Tcp, &Trouble::Timeout)),
    };
    let Some(config) = tls else { return Ok(Box::new(tcp)) };
    let name = ServerName::try_from(settings.host().to_owned()).map_err(|_unusable| {
        Fault::new(
            FaultKind::NameMismatch,
            format!("{:?} is no name that a certificate can have; check [mqtt] host", settings.host),
        )
    })?;
    match timeout(within, TlsConnector::from(config).connect(name, tcp)).await {
        Ok(Ok(stream)) => Ok(Box::new(stream)),
        Ok(Err(error)) => Err(place.fault(Phase::Handshake, &Trouble::Io(error))),
        Err(_elapsed) => Err(place.fault(Phase::Handshake, &Trouble::Timeout)),
    }
}

enum Dial {
    Dns(io::Error),
    Tcp(io::Error),
}

async fn dial(settings: &Settings) -> Result<TcpStream, Dial> {
    let addresses: Vec<SocketAddr> =
        lookup_host((settings.host(), settings.port)).await.map_err(Dial::Dns)?.take(ADDRESSES_MAX).collect();
    let mut last = Dial::Dns(io::Error::new(io::ErrorKind::NotFound, "empty answer"));
    let share = settings.answer_within / addresses.len().max(1) as u32;
    for address in addresses {
        match timeout(share, dial_address(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = Dial::Tcp(error),
            Err(_elapsed) => last = Dial::Tcp(io::ErrorKind::TimedOut.into()),
        }
    }
    Err(last)
}

async fn dial_address(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// An open connection that carries a session.
pub(super) struct Carrier {
    reader: ReadHalf<Box<dyn Stream>>,
    writer: WriteHalf<Box<dyn Stream>>,
    buffer: Vec<u8>,
    /// Bytes were written that TLS may still hold.
    unflushed: bool,
    /// When the network last took bytes, or had none to take.
    progress: Instant,
}

impl Carrier {
    pub(super) fn new(stream: Box<dyn Stream>) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        Self { reader, writer, buffer: vec![0; INPUT_BYTES], unflushed: false, progress: Instant::now() }
    }

    /// Carries bytes until something has happened: some came, some went, somebody rang, or it is time for the session or
    /// for the caller.
    pub(super) async fn step<T>(
        &mut self,
        session: &mut Session<T>,
        wake: &Notify,
        callers_time: Option<Instant>,
    ) -> Result<(), Trouble> {
        let busy = self.is_busy(session);
        let deaf = session.output().len() >= OUTPUT_BYTES_MAX;
        let mut due = callers_time.map_or(session.deadline(), |time| time.min(session.deadline()));
        if busy {
            due = due.min(self.progress + WRITE_WITHIN);
        } else {
            self.progress = Instant::now();
        }
        let Self { reader, writer, buffer, .. } = self;
        tokio::select! {
            read = reader.read(buffer), if !deaf => {
                let bytes = read.map_err(Trouble::Io)?;
                if bytes == 0 {
                    return Err(Trouble::Closed);
                }
                session.receive(&buffer[..bytes], Instant::now()).map_err(Trouble::Session)?;
            }
            pushed = push(writer, session.output()), if busy => match pushed {
                Ok(bytes) => {
                    self.unflushed = bytes > 0;
                    self.progress = Instant::now();
                    session.written(bytes);
                }
                Err(error) => return Err(self.last_words(session, error).await),
            },
            () = wake.notified() => {}
            () = sleep_until(due.into()) => {
                let now = Instant::now();
                if busy && now >= self.progress + WRITE_WITHIN {
                    return Err(Trouble::Stalled);
                }
                session.tick(now).map_err(Trouble::Session)?;
            }
        }
        if !busy {
            self.progress = Instant::now();
        }
        Ok(())
    }

    /// Says goodbye and closes; the broker's own close is awaited for a moment, so that the goodbye is not overtaken by a
    /// reset.
    pub(super) async fn close<T>(mut self, session: &mut Session<T>) -> io::Result<()> {
        session.disconnect(Instant::now());
        self.writer.write_all(session.output()).await?;
        self.writer.shutdown().await?;
        let drain = async { while self.reader.read(&mut self.buffer).await.is_ok_and(|bytes| bytes > 0) {} };
        let _closed_or_not = timeout(LAST_WORDS_WITHIN, drain).await;
        Ok(())
    }

    fn is_busy<T>(&self, session: &Session<T>) -> bool {
        !session.output().is_empty() || self.unflushed
    }

    /// Writing failed since the broker closed; what it said before tells more than the failed write.
    async fn last_words<T>(&mut self, session: &mut Session<T>, failed: io::Error) -> Trouble {
        let listen = async {
            loop {
                match self.reader.read(&mut self.buffer).await {
                    Ok(0) => return None,
                    Ok(bytes) => {
                        if let Err(failure) = session.receive(&self.buffer[..bytes], Instant::now()) {
                            return Some(Trouble::Session(failure));
                        }
                    }
                    Err(error) => return error.get_ref().is_some().then_some(Trouble::Io(error)),
                }
            }
        };
        timeout(LAST_WORDS_WITHIN, listen).await.ok().flatten().unwrap_or(Trouble::Io(failed))
    }
}

/// Writes some of the bytes; none left, makes sure that TLS holds nothing back. Dropped half-way it has done nothing.
async fn push(writer: &mut WriteHalf<Box<dyn Stream>>, bytes: &[u8]) -> io::Result<usize> {
    if bytes.is_empty() {
        writer.flush().await?;
        return Ok(0);
    }
    match writer.write(bytes).await? {
        0 => Err(io::ErrorKind::WriteZero.into()),
        written => Ok(written),
    }
}
