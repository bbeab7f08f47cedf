//! Makes the pictures that go with alarms and verdicts, on a thread of its own: whoever wants one hands over a copy of the
//! frame and goes on.

use std::{
    collections::VecDeque,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use image::{ExtendedColorType, ImageEncoder, codecs::jpeg::JpegEncoder};

use crate::{
    frame::{Frame, PixelFormat},
    geometry::Size,
    publish::{mqtt::Publisher, wire::Wire},
    vision::{Decoder, Fit, Fitter, RgbImage, Rotation, View, has_huffman_tables},
};

/// So many pictures wait at most; the oldest goes where there are more.
const WAITING_MAX: usize = 4;

/// Pictures that are encoded here are no wider.
const WIDTH_MAX: u32 = 1280;

/// Good enough to see what a box saw, and a tenth of what a lossless picture takes.
const JPEG_QUALITY: u8 = 80;

/// A camera's own JPEG that is longer is encoded anew: brokers and flash have limits.
const FILE_BYTES_MAX: usize = 768 * 1024;

/// Pictures that were lost are told so often at most.
const LOST_EVERY: Duration = Duration::from_secs(60);

/// A picture to be made.
pub(super) struct Job {
    /// The camera's id.
    pub(super) camera: String,
    /// The event that it shows.
    pub(super) event: String,
    /// The frame.
    pub(super) frame: Frame,
    /// What brings it upright.
    pub(super) rotation: Rotation,
    /// Makes the message.
    pub(super) wire: Wire,
    /// Takes it.
    pub(super) publisher: Publisher,
}

/// A handle on the thread, which ends with the last of them.
pub(super) struct Photographer(Arc<Desk>);

#[derive(Default)]
struct Desk {
    tray: Mutex<Tray>,
    changed: Condvar,
}

#[derive(Default)]
struct Tray {
    jobs: VecDeque<Job>,
    /// One is being made.
    at_work: bool,
    over: bool,
    /// Pictures that were lost because they came too fast, and when that was told.
    lost: u64,
    told: Option<Instant>,
}

impl Photographer {
    /// Starts the thread.
    ///
    /// # Errors
    /// Where the system refuses one.
    pub(super) fn start() -> anyhow::Result<Self> {
        let desk = Arc::new(Desk::default());
        let work = {
            let desk = Arc::clone(&desk);
            move || {
                let mut studio = Studio::default();
                // What a panic leaves half done is one picture.
                while catch_unwind(AssertUnwindSafe(|| desk.work(&mut studio))).is_err() {
                    log::error!("a snapshot failed unexpectedly; please report it");
                    (studio, desk.lock().at_work) = (Studio::default(), false);
                }
            }
        };
        let thread = thread::Builder::new().name("snapshots".to_owned()).spawn(work);
        thread.context("no thread for snapshots; raise the limit of tasks (TasksMax=)")?;
        Ok(Self(desk))
    }

    /// Takes a job; the oldest that waits is lost where there are too many.
    pub(super) fn ask(&self, job: Job) {
        let dropped = {
            let mut tray = self.0.lock();
            tray.jobs.push_back(job);
            let dropped = if tray.jobs.len() > WAITING_MAX { tray.jobs.pop_front() } else { None };
            tray.lost += u64::from(dropped.is_some());
            dropped
        };
        self.0.changed.notify_all();
        drop(dropped);
    }

    /// Waits until all that was asked for is handed over, for a moment at most.
    pub(super) fn finish(&self, within: Duration) {
        let busy = |tray: &mut Tray| tray.at_work || !tray.jobs.is_empty();
        let waited = self.0.changed.wait_timeout_while(self.0.lock(), within, busy);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

impl Drop for Photographer {
    fn drop(&mut self) {
        self.0.lock().over = true;
        self.0.changed.notify_all();
    }
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, Tray> {
        self.tray.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes pictures until it is over.
    fn work(&self, studio: &mut Studio) {
        loop {
            let mut tray = self.lock();
            tray.at_work = false;
            self.changed.notify_all();
            let idle = |tray: &mut Tray| tray.jobs.is_empty() && !tray.over;
            let mut tray = self.changed.wait_while(tray, idle).unwrap_or_else(PoisonError::into_inner);
            let Some(job) = tray.jobs.pop_front() else { return };
            tray.at_work = true;
            let lost = tray.lost_to_tell(Instant::now());
            drop(tray);
            if let Some(lost) = lost {
                log::warn!("snapshots lost, because they came faster than they can be made: {lost}");
            }
            studio.make(job);
        }
    }
}

impl Tray {
    /// How many were lost since that was told last, when it is time to tell it.
    fn lost_to_tell(&mut self, now: Instant) -> Option<u64> {
        let is_due = self.told.is_none_or(|told| now.duration_since(told) >= LOST_EVERY);
        if self.lost == 0 || !is_due {
            return None;
        }
        self.told = Some(now);
        Some(mem::take(&mut self.lost))
    }
}

/// What pictures are made with, from one to the next.
#[derive(Default)]
struct Studio {
    decoder: Decoder,
    whole: RgbImage,
    small: RgbImage,
}

impl Studio {
    fn make(&mut self, job: Job) {
        let Job { camera, event, frame, rotation, wire, publisher } = job;
        let published = self.jpeg(frame, rotation).and_then(|jpeg| {
            publisher.publish(wire.snapshot(&camera, &event, jpeg.into()))?;
            Ok(())
        });
        if let Err(error) = published {
            log::warn!("camera \"{camera}\": the picture of event {event} was not published: {error:#}");
        }
    }

    /// The bytes of a JPEG file that shows the whole frame, upright: its own, where it is one.
    fn jpeg(&mut self, frame: Frame, rotation: Rotation) -> anyhow::Result<Vec<u8>> {
        let is_file = frame.format == PixelFormat::Jpeg && has_huffman_tables(&frame.data);
        if is_file && rotation == Rotation::None && frame.data.len() <= FILE_BYTES_MAX {
            return Ok(frame.data);
        }
        let _whole = self.decoder.decode(&frame, &View { rotation, region: None }, &mut self.whole)?;
        let picture = match narrower(self.whole.size()) {
            None => &self.whole,
            Some(size) => {
                Fitter::new(Fit::LetterboxTopLeft, size).fit(&self.whole, &mut self.small);
                &self.small
            }
        };
        let mut file = Vec::new();
        let encoder = JpegEncoder::new_with_quality(&mut file, JPEG_QUALITY);
        encoder
            .write_image(&picture.data, picture.width, picture.height, ExtendedColorType::Rgb8)
            .context("it cannot be encoded")?;
        Ok(file)
    }
}

/// The size of the same picture that is not too wide; `None` where it is that already.
fn narrower(size: Size) -> Option<Size> {
    let height = u64::from(size.height) * u64::from(WIDTH_MAX) / u64::from(size.width.max(1));
    let height = u32::try_from(height).expect("it is lower than it was").max(1);
    (size.width > WIDTH_MAX).then_some(Size { width: WIDTH_MAX, height })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(width: u32, height: u32) -> Frame {
        let data = (0..width * height).flat_map(|pixel| [(pixel % width / 8) as u8, 90, 200]).collect();
        Frame { size: Size { width, height }, stride: width as usize * 3, data, ..Frame::empty() }
    }

    fn size_of(jpeg: &[u8]) -> (u32, u32) {
        let picture = image::load_from_memory_with_format(jpeg, image::ImageFormat::Jpeg).unwrap();
        (picture.width(), picture.height())
    }

    #[test]
    fn a_raw_frame_becomes_a_jpeg_that_is_upright_and_not_too_wide() {
        let mut studio = Studio::default();
        for (from, rotation, to) in [
            ((64, 48), Rotation::None, (64, 48)),
            ((64, 48), Rotation::Quarter, (48, 64)),
            ((1280, 10), Rotation::None, (1280, 10)),
            ((2560, 100), Rotation::None, (1280, 50)),
            ((3000, 1), Rotation::None, (1280, 1)),
        ] {
            let jpeg = studio.jpeg(frame(from.0, from.1), rotation).unwrap();
            assert_eq!(size_of(&jpeg), to, "{from:?} {rotation:?}");
        }
    }

    #[test]
    fn a_jpeg_stays_the_very_file_unless_it_has_to_be_turned() {
        let mut studio = Studio::default();
        let file = studio.jpeg(frame(64, 48), Rotation::None).unwrap();
        let jpeg = Frame { format: PixelFormat::Jpeg, stride: 0, data: file.clone(), ..frame(64, 48) };
        assert_eq!(studio.jpeg(jpeg.clone(), Rotation::None).unwrap(), file);
        assert_eq!(size_of(&studio.jpeg(jpeg, Rotation::Quarter).unwrap()), (48, 64));
    }

    #[test]
    fn a_damaged_picture_is_an_error() {
        let jpeg = Frame { format: PixelFormat::Jpeg, data: b"no picture".to_vec(), ..frame(64, 48) };
        assert!(Studio::default().jpeg(jpeg, Rotation::None).is_err());
    }

    #[test]
    fn what_was_lost_is_told_once_and_not_too_often() {
        let (mut tray, now) = (Tray { lost: 3, ..Tray::default() }, Instant::now());
        assert_eq!(tray.lost_to_tell(now), Some(3));
        tray.lost += 1;
        assert_eq!(tray.lost_to_tell(now + LOST_EVERY / 2), None);
        assert_eq!(tray.lost_to_tell(now + LOST_EVERY), Some(1));
        assert_eq!(tray.lost_to_tell(now + 2 * LOST_EVERY), None);
    }
}
