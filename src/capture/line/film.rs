//! The simulated line as a film: a scene moment by moment, and the camera that films it, which may miss frames.

use std::{
    fmt::Write,
    thread,
    time::{Duration, Instant},
};

use super::{
    basket::BasketFilm,
    belt::BeltFilm,
    options::{Options, Scene},
};
use crate::{
    capture::{Read, Source, SourceError, rate_text},
    detection::Label,
    frame::{Frame, PixelFormat},
    geometry::Size,
    random::Rng,
};

/// The shortest and the longest side of a picture of a film.
const SIDES_PX: std::ops::RangeInclusive<u32> = 480..=2048;
/// Frames per second where no rate is asked for.
const INTERVAL: Duration = Duration::from_millis(100);
/// No more frames are missed one after the other.
const MISSED_MAX: u64 = 1000;

/// A scene that can be shown at any moment, from the earlier to the later.
#[derive(Clone, Debug)]
pub struct Film {
    options: Options,
    size: Size,
    stage: Stage,
    labels: Vec<Label>,
}

#[derive(Clone, Debug)]
enum Stage {
    Belt(Box<BeltFilm>),
    Basket(Box<BasketFilm>),
}

impl Film {
    /// The film of the options' scene, in pictures of this size; `None`: 640 × 640 for the belt, 640 × 480 for the basket.
    ///
    /// # Errors
    /// Where the size is none that a film can have, or the options' scene is not a film.
    pub fn new(options: Options, size: Option<Size>) -> anyhow::Result<Self> {
        let height = if options.scene == Scene::Belt { 640 } else { 480 };
        let size = size.unwrap_or(Size { width: 640, height });
        anyhow::ensure!(
            SIDES_PX.contains(&size.width) && SIDES_PX.contains(&size.height),
            "a film of {}×{} pixels cannot be drawn; give sides of {} to {} pixels",
            size.width,
            size.height,
            SIDES_PX.start(),
            SIDES_PX.end()
        );
        let stage = match options.scene {
            Scene::Belt => Stage::Belt(Box::new(BeltFilm::new(options, size))),
            Scene::Basket => Stage::Basket(Box::new(BasketFilm::new(options, size))),
            Scene::Boards => anyhow::bail!("boards that lie still are no film; choose scene=belt or scene=basket"),
        };
        Ok(Self { options, size, stage, labels: Vec::new() })
    }

    /// Shows a moment since the beginning, which never goes back, in the pixels' format; answers what is seen, in pixels.
    pub fn show(&mut self, at: Duration, pixels: &mut Vec<u8>) -> &[Label] {
        match &mut self.stage {
            Stage::Belt(belt) => belt.show(at, pixels, &mut self.labels),
            Stage::Basket(basket) => basket.show(at, pixels, &mut self.labels),
        }
        &self.labels
    }

    /// Whether the film is over at the moment that was shown last: all boards have passed, or the hand does not come again.
    pub fn over(&self) -> bool {
        match &self.stage {
            Stage::Belt(belt) => belt.over(),
            Stage::Basket(basket) => basket.over(),
        }
    }

    /// The size of the pictures.
    pub fn size(&self) -> Size {
        self.size
    }

    /// One byte a pixel for the belt, three for the basket.
    pub fn format(&self) -> PixelFormat {
        match self.stage {
            Stage::Belt(_) => PixelFormat::Grey8,
            Stage::Basket(_) => PixelFormat::Rgb8,
        }
    }

    fn scene_name(&self) -> &'static str {
        match self.stage {
            Stage::Belt(_) => "belt",
            Stage::Basket(_) => "basket",
        }
    }
}

/// A camera that films a scene, always at its rate: what its reader is too slow for is missed, as with a real one.
#[derive(Debug)]
pub(crate) struct FilmSource {
    film: Film,
    interval: Duration,
    /// The film begins again behind its end.
    repeat: bool,
    /// When frame 0 was due.
    started: Option<Instant>,
    /// Number of the frame with which this showing began, of the next, and of the last that was handed over.
    first: u64,
    next: u64,
    last: Option<u64>,
}

impl FilmSource {
    pub(crate) fn new(film: Film, interval: Option<Duration>, repeat: bool) -> Self {
        let interval = interval.unwrap_or(INTERVAL);
        Self { film, interval, repeat, started: None, first: 0, next: 0, last: None }
    }

    /// When a frame is due, since frame 0 was.
    fn due(&self, number: u64) -> Duration {
        let nanos = self.interval.as_nanos().saturating_mul(u128::from(number));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// The first frame from this one on that the camera does not miss.
    fn kept(&self, number: u64) -> u64 {
        let Options { seed, drop_percent, .. } = self.film.options;
        let is_kept = |number: &u64| !Rng::new(seed ^ (1 << 63), *number).chance(drop_percent);
        let end = number.saturating_add(MISSED_MAX);
        (number..end).find(is_kept).unwrap_or(end)
    }

    /// The frame to hand over when so much time has passed since frame 0 was due, or how long until there is one.
    fn turn(&self, passed: Duration) -> Result<u64, Duration> {
        let number = self.kept(self.next);
        let wait = self.due(number).saturating_sub(passed);
        if !wait.is_zero() {
            return Err(wait);
        }
        // The newest that was due; an earlier one where that is missed.
        let newest = u64::try_from(passed.as_nanos() / self.interval.as_nanos().max(1)).unwrap_or(u64::MAX);
        let from = newest.saturating_sub(MISSED_MAX).max(number);
        Ok((from..=newest).rev().find(|number| self.kept(*number) == *number).unwrap_or(number))
    }

    /// Films a frame; false where the film is over.
    fn film(&mut self, number: u64, frame: &mut Frame) -> bool {
        let mut at = self.due(number - self.first);
        for showing in 0..2 {
            let ended = self.film.options.seconds.is_some_and(|seconds| at >= Duration::from_secs(seconds));
            if !ended {
                let truth = self.film.show(at, &mut frame.data);
                frame.truth = Some(truth.into());
                if !self.film.over() {
                    return true;
                }
            }
            if !self.repeat || showing == 1 {
                return false;
            }
            let (options, size) = (self.film.options, self.film.size);
            self.film = Film::new(options, Some(size)).expect("the same film was made before");
            (self.first, at) = (number, Duration::ZERO);
        }
        false
    }
}

impl Source for FilmSource {
    fn read(&mut self, frame: &mut Frame, timeout: Duration) -> Result<Read, SourceError> {
        let started = *self.started.get_or_insert_with(Instant::now);
        let number = match self.turn(started.elapsed()) {
            Ok(number) => number,
            Err(wait) => {
                thread::sleep(wait.min(timeout));
                match self.turn(started.elapsed()) {
                    Ok(number) => number,
                    Err(_) => return Ok(Read::Nothing),
                }
            }
        };
        if !self.film(number, frame) {
            return Ok(Read::End);
        }
        frame.captured_at = started + self.due(number);
        frame.format = self.film.format();
        frame.size = self.film.size;
        frame.stride = frame.format.line_len(frame.size.width);
        frame.seq = number;
        frame.dropped = self.last.map_or(0, |last| number - last - 1);
        frame.name.clear();
        write!(frame.name, "{} {number}", self.film.scene_name()).expect("a string takes any text");
        (self.last, self.next) = (Some(number), number + 1);
        Ok(Read::Frame)
    }

    fn interval(&self) -> Option<Duration> {
        Some(self.interval)
    }

    fn describe(&self) -> String {
        let Size { width, height } = self.film.size;
        format!("simulated {} of {width}×{height} at {} Hz", self.film.scene_name(), rate_text(self.interval))
    }
}

#[cfg(test)]
mod tests;
