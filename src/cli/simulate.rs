//! `andon simulate`: boards of the simulated line as a YOLO dataset.

use std::path::PathBuf;

use andon::{
    capture::line::{CLASSES, Options, SIZE, Simulator},
    dataset::Writer,
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

/// Draw boards with known defects, as a YOLO dataset to train on and to measure with
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The folder of the dataset: images/, labels/ and data.yaml; boards of other seeds may be there already
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// How many boards
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,

    /// Another seed, other boards
    #[arg(long, value_name = "SEED", default_value = "0")]
    seed: String,

    /// Defects on a board on average, 0 to 20
    #[arg(long, value_name = "RATE", default_value = "6")]
    defects: String,

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
  andon val --model board.onnx --data test";

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
    let mut simulator = Simulator::new(options, SIZE)?;
    let writer = Writer::open_or_create(&args.out, &CLASSES)?;
    let interrupt = Interrupt::watch()?;
    let progress = Progress::over(usize::try_from(args.count).context("--count is too large for this machine")?);
    let (mut pixels, mut file) = (Vec::new(), Vec::new());
    for number in 0..args.count {
        if interrupt.asked() {
            progress.clear();
            anyhow::bail!("interrupted after {number} of {} boards; the same command goes on from there", args.count);
        }
        let labels = simulator.film(u64::from(number), &mut pixels).to_vec();
        encode(&pixels, simulator.size(), args.format, &mut file)?;
        let stem = format!("board-{}-{number:06}", options.seed);
        writer.add(&stem, args.format.extension(), &file, &labels, simulator.size())?;
        progress.step(&stem);
    }
    progress.clear();
    Ok(Outcome::Done)
}

/// The options of the line that the arguments name.
fn options(args: &Args) -> anyhow::Result<Options> {
    let mut options = Options::default();
    let given = [
        ("seed", Some(&args.seed)),
        ("defects", Some(&args.defects)),
        ("noise", args.noise.as_ref()),
        ("blur", args.blur.as_ref()),
        ("light", args.light.as_ref()),
        ("speed", args.speed.as_ref()),
    ];
    for (name, value) in given {
        if let Some(value) = value {
            options.set(name, value).map_err(|error| WrongUse::error(format!("--{error:#}")))?;
        }
    }
    Ok(options)
}

fn encode(pixels: &[u8], Size { width, height }: Size, format: Format, file: &mut Vec<u8>) -> anyhow::Result<()> {
    file.clear();
    match format {
        Format::Png => PngEncoder::new_with_quality(file, CompressionType::Fast, FilterType::Up).write_image(
            pixels,
            width,
            height,
            ExtendedColorType::L8,
        ),
        Format::Jpeg => {
            JpegEncoder::new_with_quality(file, JPEG_QUALITY).write_image(pixels, width, height, ExtendedColorType::L8)
        }
    }
    .context("a board cannot be encoded")
}

impl Format {
    fn extension(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg => "jpg",
        }
    }
}
