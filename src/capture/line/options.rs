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
    /// `count`: so many boards pass, or the hand does so much at the basket, then the line ends; without it, it never does.
    pub count: Option<u64>,
    /// `defects`: on a board on average, in hundredths. A single board has up to twice as many, or none.
    pub defects_hundredths: i32,
    /// How boards are filmed.
    pub look: Look,
    /// `scene`: what is filmed.
    pub scene: Scene,
    /// `seconds`: a film ends after so many; without it, never by itself.
    pub seconds: Option<u64>,
    /// `drop`: of a hundred frames of a film, so many are missed.
    pub drop_percent: i32,
    /// What passes in the scene `belt`.
    pub belt: BeltOptions,
    /// `takes`: of a hundred deeds at the basket, so many take an item out again.
    pub takes_percent: i32,
}

/// What the simulated line shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scene {
    /// Another board in every picture, lying still.
    Boards,
    /// `belt`: a film of boards on a belt.
    Belt,
    /// `basket`: a film of a hand that puts items into a basket.
    Basket,
}

impl Scene {
    /// Whether its pictures follow each other as in a film.
    pub fn is_film(self) -> bool {
        self != Self::Boards
    }
}

/// How the belt goes, and what stands before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BeltOptions {
    /// `pace`: its usual speed, in pixels per second.
    pub pace_px_s: i32,
    /// `vary`: how far its speed is off the usual one at the most, in percent.
    pub vary_percent: i32,
    /// `stops`: of a hundred changes of speed, so many are stops.
    pub stops_percent: i32,
    /// `backs`: of a hundred changes of speed, so many make it back up a little.
    pub backs_percent: i32,
    /// `gap`: free belt between two boards on average, in pixels; a single one may be half as long or half as long again.
    pub gap_px: i32,
    /// `post`: width of something that stands before the middle of the belt, in pixels; 0: nothing does.
    pub post_px: i32,
    /// `hand`: seconds on average until a hand passes over the belt again; 0: none does.
    pub hand_s: i32,
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
        let belt = BeltOptions {
            pace_px_s: 200,
            vary_percent: 30,
            stops_percent: 10,
            backs_percent: 5,
            gap_px: 120,
            post_px: 0,
            hand_s: 0,
        };
        Self {
            seed: 0,
            count: None,
            defects_hundredths: 100,
            look,
            scene: Scene::Boards,
            seconds: None,
            drop_percent: 0,
            belt,
            takes_percent: 20,
        }
    }
}

/// No film is longer, in seconds: a year.
const SECONDS_MAX: u64 = 366 * 86_400;

/// The names of the options, as errors list them.
const NAMES: [&str; 18] = [
    "seed", "count", "defects", "noise", "blur", "light", "speed", "scene", "seconds", "drop", "pace", "vary", "stops",
    "backs", "gap", "post", "hand", "takes",
];

/// Which scenes an option is for, in words and in the list, where it is not for all.
fn belongs_to(name: &str) -> Option<(&'static str, &'static [Scene])> {
    match name {
        "defects" | "blur" | "light" | "speed" => Some(("boards, still or on a belt", &[Scene::Boards, Scene::Belt])),
        "seconds" | "drop" => Some(("scene=belt and scene=basket", &[Scene::Belt, Scene::Basket])),
        "pace" | "vary" | "stops" | "backs" | "gap" | "post" | "hand" => Some(("scene=belt", &[Scene::Belt])),
        "takes" => Some(("scene=basket", &[Scene::Basket])),
        _ => None,
    }
}

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
            "scene" => {
                self.scene = match value {
                    "belt" => Scene::Belt,
                    "basket" => Scene::Basket,
                    _ => anyhow::bail!("scene is \"{value}\"; give belt or basket, or leave it out for still boards"),
                }
            }
            "seconds" => {
                let seconds = whole(name, value)?;
                anyhow::ensure!(
                    (1..=SECONDS_MAX).contains(&seconds),
                    "seconds is {seconds}; give 1 to {SECONDS_MAX}, or leave it out"
                );
                self.seconds = Some(seconds);
            }
            "drop" => self.drop_percent = up_to(name, value, 90)?,
            "pace" => self.belt.pace_px_s = between(name, value, 10, 2000)?,
            "vary" => self.belt.vary_percent = up_to(name, value, 90)?,
            "stops" => self.belt.stops_percent = up_to(name, value, 50)?,
            "backs" => self.belt.backs_percent = up_to(name, value, 50)?,
            "gap" => self.belt.gap_px = between(name, value, 20, 5000)?,
            "post" => self.belt.post_px = up_to(name, value, 400)?,
            "hand" => self.belt.hand_s = up_to(name, value, 3600)?,
            "takes" => self.takes_percent = up_to(name, value, 90)?,
            _ => anyhow::bail!(unknown(name)),
        }
        Ok(())
    }

    /// Whether an option that was given means something in this scene.
    ///
    /// # Errors
    /// Says for which scenes the option is.
    pub fn check(&self, name: &str) -> anyhow::Result<()> {
        match belongs_to(name) {
            Some((scenes, among)) if !among.contains(&self.scene) => {
                anyhow::bail!("{name} is an option for {scenes}; leave it out, or choose such a scene")
            }
            _ => Ok(()),
        }
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
            let wanted = if name == "scene" { "belt or scene=basket" } else { "NUMBER" };
            anyhow::ensure!(!NAMES.contains(&name) || !value.is_empty(), "{name} has no value; write {name}={wanted}");
            options.set(name, value)?;
            anyhow::ensure!(!seen.contains(&name), "{name} is given twice; leave one out");
            seen.push(name);
        }
        seen.into_iter().try_for_each(|name| options.check(name))?;
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

/// A whole number from `least` to `most`.
fn between(name: &str, value: &str, least: i32, most: i32) -> anyhow::Result<i32> {
    let number = value.parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| anyhow::anyhow!("{name} is \"{value}\"; give a whole number of {least} to {most}"))
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
        assert_eq!(options, Options { seed: 7, count: Some(5), defects_hundredths: 30, look, ..Options::default() });
        let belt: Options = "gap=60,scene=belt,stops=0,drop=5,seconds=9".parse().unwrap();
        let still = BeltOptions { gap_px: 60, stops_percent: 0, ..Options::default().belt };
        let film = Options { scene: Scene::Belt, belt: still, drop_percent: 5, seconds: Some(9), ..Options::default() };
        assert_eq!(belt, film);
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
            ("scene=table", "scene is \"table\"; give belt or basket"),
            ("scene=", "scene has no value; write scene=belt or scene=basket"),
            ("gap=60", "gap is an option for scene=belt; leave it out, or choose such a scene"),
            ("scene=belt,takes=5", "takes is an option for scene=basket"),
            ("blur=1,scene=basket", "blur is an option for boards, still or on a belt"),
            ("drop=5", "drop is an option for scene=belt and scene=basket"),
            ("scene=belt,pace=0", "pace is \"0\"; give a whole number of 10 to 2000"),
            ("scene=belt,seconds=0", "seconds is 0; give 1 to"),
            ("scene=belt,gapp=60", "did you mean gap"),
        ] {
            let message = text.parse::<Options>().unwrap_err().to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
