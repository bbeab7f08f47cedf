//! From frames that were looked at to pictures on the disk, without ever making the line wait.
//!
//! One desk a camera decides, on the thread that looks at its frames; one thread writes. They meet in a bounded queue.

use std::{
    mem,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread::{self, JoinHandle},
};

use anyhow::{Context, anyhow};

use super::{
    Settings,
    keeper::{Job, Keeper},
    likeness::{self, Memory},
    policy::{Found, Policy, Reason, Seen},
};
use crate::{
    detection::{Detection, Detections, Label},
    frame::Frame,
    geometry::Size,
    vision::{RgbImage, View},
};

/// Frames of one camera that wait for the disk, each with its bytes. A frame that finds the queue full is dropped and
/// counted.
const QUEUE_FRAMES_PER_CAMERA: usize = 4;

/// A camera that pictures are collected of.
#[derive(Clone, Debug, PartialEq)]
pub struct Camera {
    /// Its id, which the names of its pictures begin with.
    pub id: String,
    /// Which part of its picture is looked at, and kept.
    pub view: View,
    /// Index of the model that looks at it.
    pub model: usize,
}

/// A model that looks at cameras.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// Its id, which its folder is called where models find different classes.
    pub id: String,
    /// Its class names.
    pub names: Vec<Arc<str>>,
    /// For each class the confidence above which a detection is a draft label.
    pub thresholds: Vec<f32>,
}

/// What came of it so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Pictures on the disk, by the places of [`Reason::ALL`].
    pub kept: [u64; Reason::ALL.len()],
    /// Frames worth keeping that showed what was kept before.
    pub duplicates: u64,
    /// Frames worth keeping that were lost, because the disk was too slow.
    pub dropped: u64,
    /// Bytes in the folder.
    pub used_bytes: u64,
    /// Whether a frame found no room within the quota, which ended it.
    pub full: bool,
}

/// Collects, from the frames of several cameras.
#[derive(Debug)]
pub struct Collector {
    desks: Vec<Mutex<Desk>>,
    /// Where frames wait for the writer; none once it is over.
    queue: Mutex<Option<SyncSender<Job>>>,
    writer: Mutex<Option<JoinHandle<anyhow::Result<()>>>>,
    tally: Arc<Mutex<Tally>>,
}

/// Where the frames of one camera are judged.
#[derive(Debug)]
struct Desk {
    thresholds: Vec<f32>,
    policy: Policy,
    memory: Memory,
    /// The frame that the policy holds, and the size of its upright picture.
    frame: Frame,
    size: Size,
    /// Somebody asked for the next frame.
    asked: bool,
}

impl Collector {
    /// Opens the folder and starts the writer. Frames are named by the index of their camera from now on.
    ///
    /// # Errors
    /// Where a model names no classes, the folder holds a dataset of other classes or cannot be written, or the system
    /// refuses a thread.
    pub fn start(dir: &Path, settings: &Settings, models: &[Model], cameras: &[Camera]) -> anyhow::Result<Self> {
        let mut in_use = cameras.iter().map(|camera| &models[camera.model]);
        if let Some(model) = in_use.find(|model| model.names.is_empty()) {
            return Err(anyhow!("model \"{}\" names no classes; state them in [model] names", model.id));
        }
        let keeper = Keeper::open(dir, settings.quota_bytes, models, cameras)?;
        let tally = Arc::new(Mutex::new(Tally { used_bytes: keeper.used_bytes(), ..Tally::default() }));
        let (sender, receiver) = sync_channel(cameras.len() * QUEUE_FRAMES_PER_CAMERA);
        let counts = Arc::clone(&tally);
        let writer = thread::Builder::new()
            .name("collect".to_owned())
            .spawn(move || write(keeper, &receiver, &counts))
            .context("no thread to write with; raise the limit of tasks (ulimit -u)")?;
        let desk = |camera: &Camera| {
            Mutex::new(Desk {
                thresholds: models[camera.model].thresholds.clone(),
                policy: Policy::new(settings.every, settings.uncertain),
                memory: Memory::default(),
                frame: Frame::empty(),
                size: Size { width: 0, height: 0 },
                asked: false,
            })
        };
        Ok(Self {
            desks: cameras.iter().map(desk).collect(),
            queue: Mutex::new(Some(sender)),
            writer: Mutex::new(Some(writer)),
            tally,
        })
    }

    /// The operator's command: the next frame of each camera is kept, whatever it shows.
    pub fn ask(&self) {
        for desk in &self.desks {
            lock(desk).asked = true;
        }
    }

    /// Takes a frame that was looked at, and leaves another buffer in its place. `picture` is what the model saw of it,
    /// `found` what it found there, down to the lower bound of [`Settings::uncertain`]. Never waits for the disk.
    ///
    /// # Panics
    /// Where `camera` is not below the number of cameras.
    pub fn see(&self, camera: usize, frame: &mut Frame, picture: &RgbImage, found: &Detections) {
        let mut desk = lock(&self.desks[camera]);
        let seen = Seen {
            at: frame.captured_at,
            hash: likeness::hash(picture),
            found: desk.objects(found),
            asked: mem::take(&mut desk.asked),
        };
        let reason = desk.policy.next(seen);
        self.settle(camera, &mut desk, reason);
        mem::swap(&mut desk.frame, frame);
        desk.size = found.size;
    }

    /// What came of it so far.
    pub fn tally(&self) -> Tally {
        lock(&self.tally).clone()
    }

    /// Whether no more is written: the quota is used, or the disk failed. [`Collector::finish`] tells.
    pub fn is_over(&self) -> bool {
        lock(&self.writer).as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Judges the last frames, waits until all that is kept is on the disk, and ends.
    ///
    /// # Errors
    /// Where a picture could not be written.
    pub fn finish(&self) -> anyhow::Result<Tally> {
        for (camera, desk) in self.desks.iter().enumerate() {
            let mut desk = lock(desk);
            let reason = desk.policy.end();
            self.settle(camera, &mut desk, reason);
        }
        drop(lock(&self.queue).take());
        if let Some(writer) = lock(&self.writer).take() {
            writer.join().map_err(|_panic| anyhow!("the writer of pictures failed; please report it"))??;
        }
        Ok(self.tally())
    }

    /// Hands the frame that was judged to the writer, where it is worth it.
    fn settle(&self, camera: usize, desk: &mut Desk, reason: Option<Reason>) {
        let (Some(reason), Some(seen)) = (reason, desk.policy.judged()) else { return };
        if reason != Reason::Operator && desk.memory.knows(seen) {
            lock(&self.tally).duplicates += 1;
            return;
        }
        let labels = seen.found.iter().filter(|found| found.counts);
        let labels = labels.map(|found| Label { class: found.class, bounds: found.bounds }).collect();
        let frame = mem::replace(&mut desk.frame, Frame::empty());
        let queue = lock(&self.queue);
        let Some(queue) = queue.as_ref() else { return };
        match queue.try_send(Job { camera, reason, frame, labels, size: desk.size }) {
            Ok(()) => {
                desk.memory.remember(seen);
                desk.policy.kept(reason);
            }
            Err(TrySendError::Full(_)) => lock(&self.tally).dropped += 1,
            // The quota is used or the disk failed, and whoever runs this is about to notice.
            Err(TrySendError::Disconnected(_)) => {}
        }
    }
}

impl Desk {
    fn objects(&self, found: &Detections) -> Vec<Found> {
        let counts = |class: usize, confidence| self.thresholds.get(class).is_some_and(|least| confidence > *least);
        let object = |item: &Detection| {
            let (class, confidence) = (item.class, item.confidence);
            item.bounds().map(|bounds| Found { class, confidence, bounds, counts: counts(class, confidence) })
        };
        found.items.iter().filter_map(object).collect()
    }
}

/// The writer's thread: ends when the queue is closed and empty, the quota is used, or the disk fails.
fn write(mut keeper: Keeper, queue: &Receiver<Job>, tally: &Mutex<Tally>) -> anyhow::Result<()> {
    for job in queue {
        let has_room = keeper.keep(&job)?;
        let mut tally = lock(tally);
        if !has_room {
            tally.full = true;
            break;
        }
        let place = Reason::ALL.iter().position(|reason| *reason == job.reason).expect("the list holds all reasons");
        tally.kept[place] += 1;
        tally.used_bytes = keeper.used_bytes();
    }
    Ok(())
}

/// What a thread that panicked leaves is a count or a frame, and either is as good as before.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
