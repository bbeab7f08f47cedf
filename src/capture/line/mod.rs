//! The simulated line: boards with known defects pass under a camera that nobody has to own.
//!
//! Boards look as those of DeepPCB do, bare and binarized, and have its six defects. A board is drawn from a seed and its
//! number alone, in integers, so that it is the same on every machine. Where in the picture the defects are comes with
//! every frame as its truth. What the options are called is in [`Options`]:
//!
//! | option | default | |
//! |---|---|---|
//! | `seed` | 0 | other boards |
//! | `count` | | ends after so many boards; without it, never |
//! | `defects` | 1 | on a board on average, 0 to 20 |
//! | `noise` | 2 | standard deviation in grey levels, 0 to 30 |
//! | `blur` | 0.4 | standard deviation in pixels, 0 to 3 |
//! | `light` | 6 | how uneven the illumination is at most, in percent of white, 0 to 60 |
//! | `speed` | 1 | pixels that a board moves while the shutter is open, 0 to 20; it also lies less exactly then |
//!
//! With `scene` it films a scene instead, at 10 Hz where no rate is asked for; `count` is then boards, or deeds of the hand:
//!
//! | option | default | |
//! |---|---|---|
//! | `scene` | | `belt`: boards pass from left to right; `basket`: a hand puts items into a basket and takes some out |
//! | `seconds` | | ends after so many; without it, never by itself |
//! | `drop` | 0 | of a hundred frames, so many are missed |
//! | `pace` | 200 | belt: its usual speed in pixels per second, 10 to 2000; `speed` is then the smear at this speed |
//! | `vary` | 30 | belt: how far its speed is off that at most, in percent, 0 to 90 |
//! | `stops` | 10 | belt: of a hundred changes of speed, so many are stops, 0 to 50 |
//! | `backs` | 5 | belt: of a hundred changes of speed, so many make it back up, 0 to 50 |
//! | `gap` | 120 | belt: between boards on average, in pixels, 20 to 5000 |
//! | `post` | 0 | belt: width of something that stands before it, in pixels, 0 to 400 |
//! | `hand` | 0 | belt: seconds until a hand passes over it again, on average; 0: none does |
//! | `takes` | 20 | basket: of a hundred deeds, so many take an item out again, 0 to 90 |
//!
//! Classes of the truth: the belt's are [`CLASSES`] and, behind them, `board`; the basket's are [`ITEMS`].

mod basket;
mod belt;
mod board;
mod brush;
mod defects;
mod film;
mod net;
mod optics;
mod options;
mod raster;
mod window;

use std::{
    fmt::Write,
    thread,
    time::{Duration, Instant},
};

use anyhow::anyhow;

pub use self::{
    basket::ITEMS,
    defects::CLASSES,
    film::Film,
    options::{BeltOptions, Look, Options, Scene},
};
use self::{board::Board, defects::Defects, film::FilmSource, optics::Optics};
use super::{Read, Settings, Source, SourceError, misconfigured, pace::Pacer, rate_text};
use crate::{
    detection::Label,
    frame::{Frame, PixelFormat},
    geometry::{BoxPx, Size},
    random::Rng,
};

/// The size of a picture where none is asked for: that of DeepPCB's.
pub const SIZE: Size = Size { width: 640, height: 640 };
/// The shortest and the longest side of a picture.
const SIDES_PX: std::ops::RangeInclusive<u32> = 320..=2048;
/// Boards per second where no rate is asked for.
const RATE_HZ: f64 = 2.0;

/// Draws boards, one after the other in the same memory.
#[derive(Clone, Debug)]
pub struct Simulator {
    options: Options,
    size: Size,
    board: Board,
    defects: Defects,
    optics: Optics,
    labels: Vec<Label>,
}

impl Simulator {
    /// A line with these options, for pictures of this size.
    ///
    /// # Errors
    /// Where the size is none that a board can have.
    pub fn new(options: Options, size: Size) -> anyhow::Result<Self> {
        let Size { width, height } = size;
        anyhow::ensure!(
            SIDES_PX.contains(&width) && SIDES_PX.contains(&height),
            "boards of {width}×{height} pixels cannot be drawn; give sides of {} to {} pixels",
            SIDES_PX.start(),
            SIDES_PX.end()
        );
        let (board, defects, optics) = (Board::default(), Defects::default(), Optics::default());
        Ok(Self { options, size, board, defects, optics, labels: Vec::new() })
    }

    /// Films board `number`: writes its grey levels, row by row, and answers what it shows.
    pub fn film(&mut self, number: u64, pixels: &mut Vec<u8>) -> &[Label] {
        // A generator for each stage, so that defects change nothing but what they are.
        let stage = |stage: u64| Rng::new(self.options.seed, number.wrapping_mul(3).wrapping_add(stage));
        let (width, height) = (self.size.width as i32, self.size.height as i32);
        let look = self.options.look;
        self.board.lay_out(&mut stage(0), width, height);
        self.labels.clear();
        let mut rng = stage(1);
        let count = defects_of_board(&mut rng, self.options.defects_hundredths);
        self.defects.draw(&mut rng, &mut self.board, look.jitter_px(), count, &mut self.labels);
        let offset = self.optics.film(&mut stage(2), &self.board.copper, look, pixels);
        for label in &mut self.labels {
            let offset = (offset.0 as f32, offset.1 as f32);
            label.bounds = moved(label.bounds, offset).clipped(width as f32, height as f32);
        }
        &self.labels
    }

    /// The size of the pictures.
    pub fn size(&self) -> Size {
        self.size
    }
}

/// How many defects a board gets: binomial, with the mean that is asked for and twice as many at the most.
fn defects_of_board(rng: &mut Rng, mean_hundredths: i32) -> i32 {
    let trials = 2 * ((mean_hundredths + 99) / 100);
    (0..trials).map(|_| i32::from(rng.below(trials * 100) < mean_hundredths)).sum()
}

/// The box, so far to the right and downwards.
fn moved(bounds: BoxPx, (right, down): (f32, f32)) -> BoxPx {
    BoxPx { x1: bounds.x1 + right, y1: bounds.y1 + down, x2: bounds.x2 + right, y2: bounds.y2 + down }
}

/// The line as a camera sees it: every frame one whole board, at the rate of the boards.
#[derive(Debug)]
pub(crate) struct LineSource {
    simulator: Simulator,
    pacer: Option<Pacer>,
    /// The first board is again behind the last.
    repeat: bool,
    next: u64,
}

/// Starts the line, still boards or a film.
pub(crate) fn open(
    text: &str,
    settings: &Settings,
    interval: Option<Duration>,
) -> Result<Box<dyn Source>, SourceError> {
    Ok(match shown(text, settings)? {
        Shown::Boards(simulator) => Box::new(LineSource::new(*simulator, settings, interval)),
        Shown::Film(film) => Box::new(FilmSource::new(*film, interval, settings.repeat)),
    })
}

impl LineSource {
    /// One that ends comes as fast as it is read where no rate is asked for and it is not repeated.
    fn new(simulator: Simulator, settings: &Settings, interval: Option<Duration>) -> Self {
        let ends = simulator.options.count.is_some() && !settings.repeat;
        let interval = interval.or((!ends).then(|| Duration::from_secs_f64(1.0 / RATE_HZ)));
        Self { simulator, pacer: interval.map(Pacer::new), repeat: settings.repeat, next: 0 }
    }
}

/// Whether the line can be opened.
pub(crate) fn check(text: &str, settings: &Settings) -> Result<(), SourceError> {
    shown(text, settings).map(|_| ())
}

/// What the line shows.
enum Shown {
    Boards(Box<Simulator>),
    Film(Box<Film>),
}

fn shown(text: &str, settings: &Settings) -> Result<Shown, SourceError> {
    let shown = |options: Options| {
        Ok(if options.scene.is_film() {
            Shown::Film(Box::new(Film::new(options, settings.size)?))
        } else {
            Shown::Boards(Box::new(Simulator::new(options, settings.size.unwrap_or(SIZE))?))
        })
    };
    text.parse().and_then(shown).map_err(|cause| misconfigured(anyhow!("{}: {cause:#}", settings.source)))
}

impl Source for LineSource {
    fn read(&mut self, frame: &mut Frame, timeout: Duration) -> Result<Read, SourceError> {
        let number = match self.simulator.options.count {
            Some(count) if self.repeat => self.next % count,
            Some(count) if self.next >= count => return Ok(Read::End),
            _ => self.next,
        };
        if let Some(pacer) = &mut self.pacer {
            let wait = pacer.wait(Instant::now());
            thread::sleep(wait.min(timeout));
            if wait > timeout {
                return Ok(Read::Nothing);
            }
            pacer.delivered(Instant::now());
        }
        frame.captured_at = Instant::now();
        let truth = self.simulator.film(number, &mut frame.data);
        frame.truth = Some(truth.into());
        frame.format = PixelFormat::Grey8;
        frame.size = self.simulator.size;
        frame.stride = frame.size.width as usize;
        (frame.seq, frame.dropped) = (self.next, 0);
        frame.name.clear();
        write!(frame.name, "board {number}").expect("a string takes any text");
        self.next += 1;
        Ok(Read::Frame)
    }

    fn interval(&self) -> Option<Duration> {
        self.pacer.as_ref().map(Pacer::interval)
    }

    fn pictures(&self) -> Option<usize> {
        let count = self.simulator.options.count.filter(|_| !self.repeat)?;
        usize::try_from(count).ok()
    }

    fn describe(&self) -> String {
        let Size { width, height } = self.simulator.size;
        let rate = self.interval().map(|interval| format!(" at {} Hz", rate_text(interval))).unwrap_or_default();
        format!("simulated boards of {width}×{height}{rate}")
    }
}

#[cfg(test)]
mod tests;
