//! Cameras that answer an HTTP request with pictures: an MJPEG stream that does not end, or one JPEG that is asked for
//! again and again.
//!
//! A thread of the source reads the body and hands whole pictures over through an [`Inbox`] of one slot: a blocking body
//! cannot be read under a timeout without losing track, and this way the newest picture wins however slow the reader is.
//! The thread ends with the source, which closes the socket under it. The parts of a stream are found by the JPEG markers
//! (see `jpeg_stream`), because boundaries and lengths are what cameras get wrong.
//!
//! Redirects are not followed, so that a camera cannot send the request somewhere else in the plant's network, and no
//! proxy is used.

use std::{
    io::Read as _,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::anyhow;
use ureq::{Agent, Body, BodyReader};

use super::{
    ErrorKind, Read, Source, SourceError,
    http_client::Client,
    mailbox::Inbox,
    pace::Pacer,
    splitter::{Found, Packing, Splitter},
    uri::redact,
};
use crate::frame::Frame;

/// How often a single JPEG is asked for where no rate is stated.
const POLL: Duration = Duration::from_secs(1);

/// An open stream, or a picture that is polled.
pub(crate) struct HttpSource {
    shared: Arc<Shared>,
    agent: Option<Agent>,
    stop: Option<mpsc::Sender<()>>,
    reader: Option<JoinHandle<()>>,
    interval: Option<Duration>,
    label: String,
    polls: bool,
}

/// What the reading thread and the source share.
struct Shared {
    inbox: Inbox,
    /// Damaged pictures that have not been told of.
    damaged: AtomicU64,
    /// Why the thread ended.
    end: Mutex<Option<SourceError>>,
}

impl HttpSource {
    /// Sends the request and looks at the answer's head.
    ///
    /// # Errors
    /// Where nobody answers, the answer is a refusal, or it is no picture.
    pub(crate) fn open(url: &str, interval: Option<Duration>) -> Result<Self, SourceError> {
        let mut client = Client::new(url)?;
        let (content_type, body) = client.get()?;
        let polls = is_single_picture(&content_type, &client)?;
        let interval = if polls { Some(interval.unwrap_or(POLL)) } else { interval };
        let shared = Arc::new(Shared { inbox: Inbox::new(1), damaged: AtomicU64::new(0), end: Mutex::new(None) });
        let (stop, stopped) = mpsc::channel();
        let agent = client.agent();
        let worker = Worker {
            shared: Arc::clone(&shared),
            frame: Frame::empty(),
            seq: 0,
            lost: 0,
            poll: polls.then(|| Pacer::new(interval.unwrap_or(POLL))),
            stopped,
            client,
        };
        let reader = thread::Builder::new()
            .name("http-camera".to_owned())
            .spawn(move || worker.run(body))
            .map_err(|error| SourceError::new(ErrorKind::Busy, anyhow!("no thread can be started ({error})")))?;
        Ok(Self {
            shared,
            agent: Some(agent),
            stop: Some(stop),
            reader: Some(reader),
            interval,
            label: redact(url),
            polls,
        })
    }
}

impl Source for HttpSource {
    fn read(&mut self, frame: &mut Frame, timeout: Duration) -> Result<Read, SourceError> {
        let damaged = self.shared.damaged.swap(0, Ordering::Relaxed);
        if damaged > 0 {
            let many = if damaged == 1 { "a picture is" } else { "pictures are" };
            return Err(SourceError::new(ErrorKind::Corrupt, anyhow!("{}: {many} damaged", self.label)));
        }
        if self.shared.inbox.take(frame, timeout).is_some() {
            return Ok(Read::Frame);
        }
        if !self.shared.inbox.is_closed() {
            return Ok(Read::Nothing);
        }
        let end = self.shared.end.lock().unwrap_or_else(PoisonError::into_inner).take();
        Err(end.unwrap_or_else(|| SourceError::new(ErrorKind::Lost, anyhow!("{}: the stream has ended", self.label))))
    }

    fn interval(&self) -> Option<Duration> {
        self.interval
    }

    fn start_up(&self) -> Duration {
        Duration::from_secs(10)
    }

    fn describe(&self) -> String {
        let what = if self.polls { "JPEG, asked for" } else { "MJPEG stream" };
        let rate = self.interval.map_or(String::new(), |every| format!(" at {} Hz", super::rate_text(every)));
        format!("{what}{rate}")
    }
}

impl Drop for HttpSource {
    fn drop(&mut self) {
        self.shared.inbox.close();
        drop(self.stop.take());
        if let Some(agent) = self.agent.take() {
            agent.shutdown();
        }
        if let Some(reader) = self.reader.take() {
            // A panic there has ended the stream and has been reported as that.
            let _ = reader.join();
        }
    }
}

/// Whether the answer is one picture, to be asked for again, and not a stream.
fn is_single_picture(content_type: &str, client: &Client) -> Result<bool, SourceError> {
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match kind.as_str() {
        "image/jpeg" | "image/jpg" | "image/pjpeg" => Ok(true),
        "video/x-motion-jpeg" | "video/x-mjpeg" | "video/mjpeg" | "video/x-jpeg" => Ok(false),
        _ if kind.starts_with("multipart/") => Ok(false),
        _ => {
            let what = if kind.is_empty() { "something without a type".to_owned() } else { kind };
            Err(client.fail(
                ErrorKind::Misconfigured,
                format_args!(
                    "the answer is {what} and no MJPEG stream or JPEG; use the address of the camera's stream"
                ),
            ))
        }
    }
}

/// The thread's part.
struct Worker {
    shared: Arc<Shared>,
    client: Client,
    frame: Frame,
    seq: u64,
    lost: u64,
    poll: Option<Pacer>,
    /// Closed when the source is dropped.
    stopped: mpsc::Receiver<()>,
}

impl Worker {
    fn run(mut self, body: Body) {
        // However this ends, a panic included, the source must notice.
        let _close = CloseAtEnd(Arc::clone(&self.shared));
        let end = self.deliver(body);
        if let Err(end) = end {
            *self.shared.end.lock().unwrap_or_else(PoisonError::into_inner) = Some(end);
        }
    }

    /// Delivers pictures until the source is dropped, or the error that ends the stream.
    fn deliver(&mut self, mut body: Body) -> Result<(), SourceError> {
        loop {
            if let Some(poll) = &mut self.poll {
                poll.delivered(Instant::now());
            }
            self.pump(body.into_reader())?;
            if self.shared.inbox.is_closed() {
                return Ok(());
            }
            let Some(poll) = &self.poll else {
                return Err(self.client.fail(ErrorKind::Lost, "the camera has ended the stream"));
            };
            match self.stopped.recv_timeout(poll.wait(Instant::now())) {
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                _ => return Ok(()),
            }
            body = self.client.get()?.1;
        }
    }

    /// Hands over every picture of a stream's body. A body that was asked for is one picture, whole or damaged, whatever
    /// stands in it beside.
    fn pump(&mut self, mut body: BodyReader<'_>) -> Result<(), SourceError> {
        let mut splitter =
            Splitter::new(Packing::Jpeg).map_err(|cause| self.client.fail(ErrorKind::Misconfigured, cause))?;
        let mut chunk = vec![0; 1 << 16];
        let is_asked_for = self.poll.is_some();
        let before = self.seq;
        loop {
            let bytes = match body.read(&mut chunk) {
                Ok(0) => break,
                Ok(bytes) => bytes,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(_) if self.shared.inbox.is_closed() => return Ok(()),
                Err(error) => {
                    return Err(self.client.fail(ErrorKind::Lost, format_args!("the stream broke off ({error})")));
                }
            };
            if is_asked_for && self.seq > before {
                continue;
            }
            splitter.buffer().extend_from_slice(&chunk[..bytes]);
            loop {
                match splitter.next(&mut self.frame).map_err(|cause| self.client.fail(ErrorKind::Lost, cause))? {
                    Found::More => break,
                    Found::Damaged if is_asked_for => {}
                    Found::Damaged => self.count_damaged(),
                    Found::Picture => {
                        self.frame.captured_at = Instant::now();
                        self.frame.seq = self.seq;
                        self.frame.dropped = std::mem::take(&mut self.lost);
                        self.frame.set_name("");
                        self.seq += 1;
                        if !self.shared.inbox.put(0, &mut self.frame) {
                            return Ok(());
                        }
                        if is_asked_for {
                            break;
                        }
                    }
                }
            }
        }
        if self.seq == before || !is_asked_for && splitter.is_inside() {
            self.count_damaged();
        }
        Ok(())
    }

    fn count_damaged(&mut self) {
        self.seq += 1;
        self.lost += 1;
        self.shared.damaged.fetch_add(1, Ordering::Relaxed);
    }
}

/// Closes the inbox when the thread leaves, in whatever way.
struct CloseAtEnd(Arc<Shared>);

impl Drop for CloseAtEnd {
    fn drop(&mut self) {
        self.0.inbox.close();
    }
}
