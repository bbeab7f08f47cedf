//! The arguments that name a model and state what its file does not say, and the knob that forces an instruction set.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use andon::{
    config::Config,
    engine,
    yolo::{HEADS, Hints, TASKS, Task},
};
use anyhow::Context;
use clap::builder::{PossibleValuesParser, TypedValueParser};

/// Names the instruction set that models run on; the engine refuses what the processor has not.
const ISA_VARIABLE: &str = "ANDON_ISA";

/// Which model, and how to load it.
#[derive(Debug, clap::Args)]
pub(super) struct FileArgs {
    /// The model: an ONNX file
    #[arg(short, long, value_name = "FILE")]
    pub(super) model: PathBuf,

    /// Threads for one inference [default: the machine's cores]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(super) threads: Option<usize>,

    /// Input size of models that leave it open: N for N×N, or HEIGHT,WIDTH
    #[arg(long, value_name = "N", value_parser = input_size)]
    pub(super) imgsz: Option<[usize; 2]>,
}

impl FileArgs {
    /// How the engine loads it.
    pub(super) fn engine(&self) -> engine::Settings {
        engine::Settings { threads: self.threads, input_size: self.imgsz, isa: forced_isa() }
    }
}

/// Which model, how to load it, and what its outputs mean.
#[derive(Debug, clap::Args)]
pub(super) struct ModelArgs {
    #[command(flatten)]
    pub(super) file: FileArgs,

    /// What the model is for, where its file does not say
    #[arg(long, value_parser = PossibleValuesParser::new(TASKS).try_map(|name| Task::from_name(&name)))]
    pub(super) task: Option<Task>,

    /// The layout of the model's output, where it can be read in more than one way
    #[arg(long, value_parser = PossibleValuesParser::new(HEADS))]
    pub(super) head: Option<String>,

    /// Class names, where the model's file has none: NAME,NAME,… or a text file with one a line
    #[arg(long, value_name = "NAMES")]
    pub(super) names: Option<String>,

    /// Keypoints of a pose model and numbers for each (2: x y, 3: x y visible), where its file does not say
    #[arg(long, value_name = "COUNT,NUMBERS", value_parser = keypoints)]
    pub(super) keypoints: Option<[usize; 2]>,
}

impl ModelArgs {
    /// What the user states about the model.
    ///
    /// # Errors
    /// Where the file with the names cannot be read.
    pub(super) fn hints(&self) -> anyhow::Result<Hints> {
        let names = self.names.as_deref().map(class_names).transpose()?;
        Ok(Hints { task: self.task, head: self.head.clone(), names, keypoints: self.keypoints })
    }
}

/// The instruction set that the environment forces on every model.
pub(super) fn forced_isa() -> Option<String> {
    env::var_os(ISA_VARIABLE).filter(|name| !name.is_empty()).map(|name| name.to_string_lossy().into_owned())
}

/// Loads a configuration whose models run on the instruction set that the environment forces.
///
/// # Errors
/// As [`Config::load`].
pub(super) fn load_config(path: &Path) -> anyhow::Result<Config> {
    let mut config = Config::load(path)?;
    config.models.iter_mut().for_each(|model| model.detector.isa = forced_isa());
    Ok(config)
}

/// A number from 1 up.
pub(super) fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("not a whole number from 1 up".to_owned()),
        Ok(number) => Ok(number),
    }
}

/// A number between 0 and 1.
pub(super) fn fraction(text: &str) -> Result<f32, String> {
    match text.parse() {
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(value),
        _ => Err("not a number between 0 and 1".to_owned()),
    }
}

fn input_size(text: &str) -> Result<[usize; 2], String> {
    let side = |text: &str| at_least_one(text.trim());
    match text.split_once(',') {
        Some((height, width)) => Ok([side(height)?, side(width)?]),
        None => side(text).map(|side| [side, side]),
    }
}

fn keypoints(text: &str) -> Result<[usize; 2], String> {
    let parts = text.split_once(',').map(|(count, numbers)| (at_least_one(count.trim()), numbers.trim()));
    match parts {
        Some((Ok(count), "2")) => Ok([count, 2]),
        Some((Ok(count), "3")) => Ok([count, 3]),
        _ => Err("not of the form 17,2 or 17,3".to_owned()),
    }
}

fn class_names(text: &str) -> anyhow::Result<Vec<String>> {
    let path = PathBuf::from(text);
    let named = |text: &str| !text.is_empty();
    if path.is_file() {
        let lines = fs::read_to_string(&path).with_context(|| format!("--names {text} cannot be read"))?;
        return Ok(lines.lines().map(|line| line.trim().to_owned()).filter(|line| named(line)).collect());
    }
    Ok(text.split(',').map(|name| name.trim().to_owned()).filter(|name| named(name)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_height_before_width() {
        assert_eq!(input_size("640"), Ok([640, 640]));
        assert_eq!(input_size("480, 640"), Ok([480, 640]));
        for bad in ["", "0", "640x480", "640,", "-1", "1,2,3"] {
            assert!(input_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn fractions_end_at_one() {
        assert_eq!(fraction("0.25"), Ok(0.25));
        for bad in ["1.01", "-0.1", "NaN", "", "half"] {
            assert!(fraction(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_come_from_a_list_or_a_file() {
        assert_eq!(class_names("red, green").unwrap(), ["red", "green"]);
        let folder = std::env::temp_dir().join(format!("andon-names-{}", std::process::id()));
        fs::write(&folder, "traffic light\n\nbus\r\n").unwrap();
        let names = class_names(folder.to_str().unwrap());
        fs::remove_file(&folder).unwrap();
        assert_eq!(names.unwrap(), ["traffic light", "bus"]);
    }

    #[test]
    fn keypoints_have_two_or_three_numbers() {
        assert_eq!((keypoints("17,3"), keypoints("4, 2")), (Ok([17, 3]), Ok([4, 2])));
        for bad in ["17", "17,4", "0,3", ",3"] {
            assert!(keypoints(bad).is_err(), "{bad}");
        }
    }
}
