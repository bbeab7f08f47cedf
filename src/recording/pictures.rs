//! The pictures of a recording: written on a thread of their own, so that a slow disk costs pictures and not frames.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread::{self, JoinHandle},
};

use anyhow::Context;

use super::{FRAMES, Player, heard::Heard};
use crate::{
    draw::{self, Shot},
    frame::{Frame, PixelFormat},
    vision::{Decoder, RgbImage, Rotation, View},
    whole_file::refusal,
};

/// So many pictures wait for the disk; what comes then is left out.
const WAITING_MAX: usize = 8;

/// Where the pictures of a recording lie.
#[derive(Clone, Debug)]
pub struct Pictures(PathBuf);

impl Pictures {
    /// Of the recording in this folder.
    pub fn of(folder: &Path) -> Self {
        Self(folder.join(FRAMES))
    }

    /// Where the picture of a frame lies: a JPEG, upright, whole.
    pub fn path(&self, seq: u64) -> PathBuf {
        self.0.join(format!("{seq:010}.jpg"))
    }

    /// The pictures of some frames with what was found in them, as far as they were kept; each with its caption.
    ///
    /// # Errors
    /// Where the recording or a picture cannot be read.
    pub fn shots(&self, player: &mut Player, wanted: &[(u64, String)]) -> anyhow::Result<Vec<Shot>> {
        let mut shots: Vec<Option<Shot>> = vec![None; wanted.len()];
        let mut decoder = Decoder::new();
        while let Some(line) = player.next_line()? {
            let Heard::Frame(look, found) = line.heard else { continue };
            for (shot, (_, caption)) in shots.iter_mut().zip(wanted).filter(|(_, (seq, _))| *seq == look.seq) {
                let path = self.path(look.seq);
                let Ok(data) = fs::read(&path) else { continue };
                let mut picture = RgbImage::default();
                let frame = Frame { format: PixelFormat::Jpeg, data, ..Frame::empty() };
                let decoded = decoder.decode(&frame, &View::default(), &mut picture);
                let _whole = decoded.with_context(|| format!("{} cannot be read", path.display()))?;
                draw::draw(&mut picture, &found);
                *shot = Some(Shot { picture, caption: caption.clone() });
            }
        }
        Ok(shots.into_iter().flatten().collect())
    }
}

/// Writes pictures.
#[derive(Debug)]
pub struct Photographer {
    /// `None` once it is finished.
    sender: Option<SyncSender<Taken>>,
    thread: Option<JoinHandle<anyhow::Result<()>>>,
    quota_bytes: u64,
    written_bytes: Arc<AtomicU64>,
    left_out: u64,
}

/// A frame whose picture is to be written.
#[derive(Debug)]
struct Taken {
    path: PathBuf,
    frame: Frame,
    rotation: Rotation,
}

impl Photographer {
    /// Makes the folder, and starts the thread. No picture is begun once `quota_bytes` are written.
    ///
    /// # Errors
    /// Where the folder cannot be made, or the system refuses a thread.
    pub fn start(pictures: &Pictures, quota_bytes: u64) -> anyhow::Result<Self> {
        fs::create_dir_all(&pictures.0).map_err(|error| refusal(&pictures.0, &error))?;
        let (sender, receiver) = sync_channel(WAITING_MAX);
        let written_bytes = Arc::new(AtomicU64::new(0));
        let written = Arc::clone(&written_bytes);
        let thread = thread::Builder::new().name("pictures".to_owned()).spawn(move || write_all(&receiver, &written));
        let thread = thread.context("no thread for pictures; raise the limit of processes (ulimit -u)")?;
        Ok(Self { sender: Some(sender), thread: Some(thread), quota_bytes, written_bytes, left_out: 0 })
    }

    /// Takes a copy of a frame for its picture, if there is time and room for it.
    pub fn take(&mut self, path: PathBuf, frame: &Frame, rotation: Rotation) {
        let room = self.written_bytes.load(Ordering::Relaxed) < self.quota_bytes;
        let Some(sender) = self.sender.as_ref().filter(|_| room) else {
            self.left_out += 1;
            return;
        };
        match sender.try_send(Taken { path, frame: frame.clone(), rotation }) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => self.left_out += 1,
        }
    }

    /// Pictures that are not there, because the disk was slow or the quota was used.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Writes what waits.
    ///
    /// # Errors
    /// Why pictures could not be written.
    pub fn finish(mut self) -> anyhow::Result<()> {
        self.sender = None;
        let Some(thread) = self.thread.take() else { return Ok(()) };
        thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("andon failed on a picture; please report it")))
    }
}

fn write_all(taken: &Receiver<Taken>, written_bytes: &AtomicU64) -> anyhow::Result<()> {
    let mut decoder = Decoder::new();
    let mut picture = RgbImage::default();
    for Taken { path, frame, rotation } in taken {
        let encoded;
        let bytes = if frame.format == PixelFormat::Jpeg && rotation == Rotation::None {
            &frame.data
        } else {
            let _whole = decoder.decode(&frame, &View { rotation, ..View::default() }, &mut picture)?;
            encoded = draw::jpeg(&picture).context("a picture cannot be written as JPEG")?;
            &encoded
        };
        fs::write(&path, bytes).map_err(|error| refusal(&path, &error))?;
        written_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
    }
    Ok(())
}
