//! The options of the simulated line, as they stand behind `line:` and on the command line of `andon simulate`.
//!
//! Numbers are kept as integers, so that a board does not depend on how a machine rounds.

use std::str::FromStr;

/// Which boards pass, and how they are filmed.
///
/// Read from `seed=7,defects=0.5,noise=4`; what is not named keeps its default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// `seed`: another seed, other boards.
    pub seed: u64,
    /// `count`: so many boards pass, then the line ends; without it, it never does.
    pub count: Option<u64>,
    /// `defects`: on a board on average, in hundredths. A single board has up to twice as many, or none.
    pub defects_hundredths: i32,
    /// How boards are filmed.
    pub look: Look,
}

/// How boards are filmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// `noise`: the standard deviation of a pixel, in 1/100 of a grey level.
    pub noise_hundredths: i32,
    /// `blur`: the standard deviation of the focus, in 1/100 of a pixel.
    pub blur_hundredths: i32,
    /// `light`: how much darker bare board may be at the darkest corner, in percent of white.
    pub light_percent: i32,
    /// `speed`: how far the board moves while the shutter is open, in pixels. Boards also lie less exactly then.
    pub speed_px: i32,
}

impl Look {
    /// No board lies further from its place.
    pub(crate) const JITTER_PX_MAX: i32 = 24;

    /// How far from its place a board may lie, in pixels.
    pub(crate) fn jitter_px(self) -> i32 {
        (4 * self.speed_px).min(Self::JITTER_PX_MAX)
    }
}

impl Default for Options {
    fn default() -> Self {
        let look = Look { noise_hundredths: 200, blur_hundredths: 40, light_percent: 6, speed_px: 1 };
        Self { seed: 0, count: None, defects_hundredths: 100, look }
    }
}

/// The names of the options, as errors list them.
const NAMES: [&str; 7] = ["seed", "count", "defects", "noise", "blur", "light", "speed"];

impl Options {
    /// Sets one option from text.
    ///
    /// # Errors
    /// Where there is no such option (with the nearest that there is), or it does not take this value.
    pub fn set(&mut self, name: &str, value: &str) -> anyhow::Result<()> {
        match name {
            "seed" => self.seed = whole(name, value)?,
            "count" => {
                let count = whole(name, value)?;
                anyhow::ensure!(count > 0, "count is 0, and no board would pass; give 1 or more, or leave it out");
                self.count = Some(count);
            }
            "defects" => self.defects_hundredths = hundredths(name, value, 20)?,
            "noise" => self.look.noise_hundredths = hundredths(name, value, 30)?,
            "blur" => self.look.blur_hundredths = hundredths(name, value, 3)?,
            "light" => self.look.light_percent = up_to(name, value, 60)?,
            "speed" => self.look.speed_px = up_to(name, value, 20)?,
            _ => anyhow::bail!(unknown(name)),
        }
        Ok(())
    }
}

impl FromStr for Options {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut options = Self::default();
        let mut seen = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let (name, value) = (name.trim(), value.trim());
            anyhow::ensure!(!NAMES.contains(&name) || !value.is_empty(), "{name} has no value; write {name}=NUMBER");
            options.set(name, value)?;
            anyhow::ensure!(!seen.contains(&name), "{name} is given twice; leave one out");
            seen.push(name);
        }
        Ok(options)
    }
}

/// A number of 64 bits.
fn whole(name: &str, value: &str) -> anyhow::Result<u64> {
    value.parse().map_err(|_| anyhow::anyhow!("{name} is \"{value}\"; give a whole number, 0 or more"))
}

/// A whole number of at most `most`.
fn up_to(name: &str, value: &str, most: i32) -> anyhow::Result<i32> {
    let number = value.parse().ok().filter(|number| (0..=most).contains(number));
    number.ok_or_else(|| anyhow::anyhow!("{name} is \"{value}\"; give a whole number of 0 to {most}"))
}

/// A decimal number of at most `most`, in hundredths.
fn hundredths(name: &str, value: &str, most: i32) -> anyhow::Result<i32> {
    let number = value.parse::<f64>().ok().map(|number| (number * 100.0).round());
    let number = number.filter(|number| (0.0..=f64::from(most * 100)).contains(number));
    number
        .map(|number| number as i32)
        .ok_or_else(|| anyhow::anyhow!("{name} is \"{value}\"; give a number of 0 to {most}"))
}

fn unknown(name: &str) -> String {
    if name == "rate" || name == "size" {
        return format!("{name} is no option of the simulated line itself; state [[camera]] {name}");
    }
    let nearest = NAMES
        .iter()
        .map(|known| (strsim::damerau_levenshtein(name, known), known))
        .min()
        .filter(|(distance, known)| *distance <= 2 && *distance < known.len());
    match nearest {
        Some((_, known)) => format!("\"{name}\" is no option of the simulated line; did you mean {known}"),
        None => format!("\"{name}\" is no option of the simulated line; known are {}", NAMES.join(" ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_named_keeps_its_default() {
        let options: Options = "seed=7, defects=0.3,noise=2.25,blur=1,light=10,speed=2,count=5".parse().unwrap();
        let look = Look { noise_hundredths: 225, blur_hundredths: 100, light_percent: 10, speed_px: 2 };
        assert_eq!(options, Options { seed: 7, count: Some(5), defects_hundredths: 30, look });
        assert_eq!("".parse::<Options>().unwrap(), Options::default());
        let quiet: Options = "noise=0".parse().unwrap();
        assert_eq!(quiet.look, Look { noise_hundredths: 0, ..Options::default().look });
    }

    #[test]
    fn what_is_wrong_is_named_with_a_remedy() {
        for (text, part) in [
            ("noize=3", "\"noize\" is no option of the simulated line; did you mean noise"),
            ("ligth=1", "did you mean light"),
            ("resolution=3", "known are seed count defects"),
            ("rate=3", "[[camera]] rate"),
            ("noise", "noise has no value; write noise=NUMBER"),
            ("noise=", "noise has no value"),
            ("noise=31", "noise is \"31\"; give a number of 0 to 30"),
            ("noise=NaN", "give a number"),
            ("defects=-1", "give a number of 0 to 20"),
            ("speed=1.5", "give a whole number of 0 to 20"),
            ("seed=-1", "give a whole number, 0 or more"),
            ("count=0", "give 1 or more"),
            ("seed=1,seed=2", "seed is given twice"),
        ] {
            let message = text.parse::<Options>().unwrap_err().to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
