//! `andon simulate`: pictures of the simulated line as a YOLO dataset.

use std::{path::PathBuf, time::Duration};

use andon::{
    capture::line::{CLASSES, Film, ITEMS, Options, SIZE, Scene, Simulator},
    dataset::Writer,
    detection::Label,
    frame::PixelFormat,
    geometry::Size,
};
use anyhow::Context;
use clap::ValueEnum;
use image::{
    ExtendedColorType, ImageEncoder,
    codecs::{
        jpeg::JpegEncoder,
        png::{CompressionType, FilterType, PngEncoder},
    },
};

use super::{Outcome, WrongUse, interrupt::Interrupt, progress::Progress};

/// Draw boards with known defects, or a film's pictures, as a YOLO dataset to train on and to measure with
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The folder of the dataset: images/, labels/ and data.yaml; boards of other seeds may be there already
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// How many boards, or pictures of a film
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,

    /// A film, a picture of every second of it: "belt" (boards that pass, and their defects) or "basket" (items)
    #[arg(long, value_name = "SCENE")]
    scene: Option<String>,

    /// Another seed, other boards
    #[arg(long, value_name = "SEED", default_value = "0")]
    seed: String,

    /// Defects on a board on average, 0 to 20 [default: 6]
    #[arg(long, value_name = "RATE")]
    defects: Option<String>,

    /// Standard deviation of the noise in grey levels, 0 to 30 [default: 2]
    #[arg(long, value_name = "LEVELS")]
    noise: Option<String>,

    /// Standard deviation of the blur in pixels, 0 to 3 [default: 0.4]
    #[arg(long, value_name = "PIXELS")]
    blur: Option<String>,

    /// How uneven the illumination is at most, in percent of white, 0 to 60 [default: 6]
    #[arg(long, value_name = "PERCENT")]
    light: Option<String>,

    /// How far a board moves while the shutter is open, 0 to 20 pixels [default: 1]
    #[arg(long, value_name = "PIXELS")]
    speed: Option<String>,

    /// The files of the pictures
    #[arg(long, value_enum, default_value_t = Format::Png)]
    format: Format,
}

const EXAMPLES: &str = "\
The same seed gives the same files on every machine. A run that was broken off goes on when it is started again.

Examples:
  andon simulate --out boards --count 3000
  andon simulate --out test --count 500 --seed 2 --defects 3 --noise 6 --blur 0.8
  andon simulate --out belt --count 300 --scene belt
  andon val --model board.onnx --data test";

/// Defects on a board on average where nothing is asked for: more than pass on a line, for there is more to learn then.
const DEFECTS: &str = "6";
/// From one picture of a film to the next: what it shows is another picture by then.
const STEP: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Exact
    Png,
    /// Smaller, of quality 95
    Jpeg,
}

/// High enough that no ringing is taken for a defect.
const JPEG_QUALITY: u8 = 95;

/// Runs the command.
pub(super) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let options = options(args)?;
    let mut camera = Camera::of(options)?;
    let writer = Writer::open_or_create(&args.out, &camera.classes())?;
    let interrupt = Interrupt::watch()?;
    let progress = Progress::over(usize::try_from(args.count).context("--count is too large for this machine")?);
    let (mut pixels, mut file) = (Vec::new(), Vec::new());
    for number in 0..args.count {
        if interrupt.asked() {
            progress.clear();
            anyhow::bail!("interrupted after {number} of {} pictures; the same command goes on from there", args.count);
        }
        let labels = camera.film(number, &mut pixels).to_vec();
        encode(&pixels, camera.size(), camera.colour(), args.format, &mut file)?;
        let stem = format!("{}-{}-{number:06}", camera.name(), options.seed);
        writer.add(&stem, args.format.extension(), &file, &labels, camera.size())?;
        progress.step(&stem);
    }
    progress.clear();
    Ok(Outcome::Done)
}

/// What draws the pictures.
enum Camera {
    Boards(Box<Simulator>),
    Film(Scene, Box<Film>),
}

impl Camera {
    fn of(options: Options) -> anyhow::Result<Self> {
        Ok(if options.scene.is_film() {
            Self::Film(options.scene, Box::new(Film::new(options, None)?))
        } else {
            Self::Boards(Box::new(Simulator::new(options, SIZE)?))
        })
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Boards(_) => "board",
            Self::Film(Scene::Basket, _) => "basket",
            Self::Film(..) => "belt",
        }
    }

    fn classes(&self) -> Vec<&'static str> {
        match self {
            Self::Boards(_) => CLASSES.to_vec(),
            Self::Film(Scene::Basket, _) => ITEMS.to_vec(),
            Self::Film(..) => CLASSES.into_iter().chain(["board"]).collect(),
        }
    }

    fn size(&self) -> Size {
        match self {
            Self::Boards(simulator) => simulator.size(),
            Self::Film(_, film) => film.size(),
        }
    }

    fn colour(&self) -> ExtendedColorType {
        match self {
            Self::Film(_, film) if film.format() == PixelFormat::Rgb8 => ExtendedColorType::Rgb8,
            _ => ExtendedColorType::L8,
        }
    }

    fn film(&mut self, number: u32, pixels: &mut Vec<u8>) -> &[Label] {
        match self {
            Self::Boards(simulator) => simulator.film(u64::from(number), pixels),
            Self::Film(_, film) => film.show(STEP * number, pixels),
        }
    }
}

/// The options of the line that the arguments name.
fn options(args: &Args) -> anyhow::Result<Options> {
    let mut options = Options::default();
    options.set("defects", DEFECTS)?;
    let given = [
        ("scene", args.scene.as_ref()),
        ("seed", Some(&args.seed)),
        ("defects", args.defects.as_ref()),
        ("noise", args.noise.as_ref()),
        ("blur", args.blur.as_ref()),
        ("light", args.light.as_ref()),
        ("speed", args.speed.as_ref()),
    ];
    for (name, value) in given {
        if let Some(value) = value {
            let set = options.set(name, value).and_then(|()| options.check(name));
            set.map_err(|error| WrongUse::error(format!("--{error:#}")))?;
        }
    }
    Ok(options)
}

fn encode(
    pixels: &[u8],
    Size { width, height }: Size,
    colour: ExtendedColorType,
    format: Format,
    file: &mut Vec<u8>,
) -> anyhow::Result<()> {
    file.clear();
    match format {
        Format::Png => PngEncoder::new_with_quality(file, CompressionType::Fast, FilterType::Up)
            .write_image(pixels, width, height, colour),
        Format::Jpeg => JpegEncoder::new_with_quality(file, JPEG_QUALITY).write_image(pixels, width, height, colour),
    }
    .context("a picture cannot be encoded")
}

impl Format {
    fn extension(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg => "jpg",
        }
    }
}
