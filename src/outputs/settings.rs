//! What the lines of a box are for. The values are checked where they are read.

use std::{fmt, str::FromStr, time::Duration};

use crate::event::Priority;

/// A name that the kernel knows for a line is shorter than this.
const NAME_BYTES_MAX: usize = 31;

/// No chip has more lines.
const OFFSET_MAX: u32 = 4_095;

/// Which line.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LineName {
    /// `gpiochip0:17`: the line with this number on a chip.
    Numbered {
        /// The chip, as it is called in `/dev`.
        chip: String,
        /// Its line, from 0.
        offset: u32,
    },
    /// `GPIO17`: the line that the board calls so, on whichever chip.
    Named(String),
}

impl FromStr for LineName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("\"{text}\" names no line; write \"gpiochip0:17\", or its name as in \"GPIO17\"");
        let bare = text.strip_prefix("/dev/").unwrap_or(text);
        if let Some(rest) = bare.strip_prefix("gpiochip") {
            let (number, offset) = rest.split_once(':').ok_or_else(wrong)?;
            let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            let offset = offset.parse().ok().filter(|offset| *offset <= OFFSET_MAX && digits(number));
            let chip = format!("gpiochip{number}");
            return offset.map(|offset| Self::Numbered { chip, offset }).ok_or_else(wrong);
        }
        let usable = !text.is_empty() && text.len() <= NAME_BYTES_MAX && !text.contains(char::is_control);
        if usable { Ok(Self::Named(text.to_owned())) } else { Err(wrong()) }
    }
}

impl fmt::Display for LineName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Numbered { chip, offset } => write!(f, "{chip}:{offset}"),
            Self::Named(name) => f.write_str(name),
        }
    }
}

/// A line that is listened to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// What rules call it.
    pub id: String,
    /// Which line.
    pub line: LineName,
    /// What counts.
    pub edge: Edge,
    /// Whether it is active while its voltage is low.
    pub active_low: bool,
    /// What holds it while nothing drives it.
    pub bias: Bias,
    /// What stands behind it.
    pub kind: InputKind,
    /// An edge counts when the line then stays for so long; zero: at once.
    pub debounce: Duration,
}

/// Which edges of an input count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Edge {
    /// It becomes active.
    #[default]
    Rising,
    /// It becomes inactive.
    Falling,
    /// Each.
    Both,
}

impl Edge {
    /// All of them and the words for them in the configuration.
    pub const NAMES: [(&'static str, Self); 3] =
        [("rising", Self::Rising), ("falling", Self::Falling), ("both", Self::Both)];
}

/// What holds an input while nothing drives it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bias {
    /// Nothing of ours: what is wired to it.
    #[default]
    None,
    /// A resistor to the supply.
    Up,
    /// A resistor to ground.
    Down,
}

impl Bias {
    /// All of them and the words for them in the configuration.
    pub const NAMES: [(&'static str, Self); 3] = [("none", Self::None), ("up", Self::Up), ("down", Self::Down)];
}

/// What stands behind an input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InputKind {
    /// Its edges open parts.
    #[default]
    Trigger,
    /// Its edges are the ticks by which the line moves.
    Encoder,
}

impl InputKind {
    /// All of them and the words for them in the configuration.
    pub const NAMES: [(&'static str, Self); 2] = [("trigger", Self::Trigger), ("encoder", Self::Encoder)];
}

/// A line that is driven.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// What messages call it.
    pub id: String,
    /// Which line.
    pub line: LineName,
    /// Whether it is active while its voltage is low.
    pub active_low: bool,
    /// What it is for.
    pub kind: OutputKind,
}

/// What an output is for.
#[derive(Clone, Debug, PartialEq)]
pub enum OutputKind {
    /// Active while one of these alarms is there or nobody has acknowledged it.
    Light {
        /// The alarms, at least one.
        rules: Vec<RuleName>,
        /// Only while they are at least this urgent.
        priority_min: Priority,
        /// Whether it blinks while one is unacknowledged.
        blink: bool,
    },
    /// Active for a moment when a bad part is in front of the gate.
    Gate {
        /// The rule that judges the parts, and knows how far away the gate is.
        rule: RuleName,
        /// For how long.
        pulse: Duration,
        /// Whether a part that is neither good nor bad goes, too.
        unsure: bool,
    },
    /// Active only while the box sees and decides: it falls off with the box.
    Relay {
        /// Ids of the cameras that have to see, at least one.
        cameras: Vec<String>,
        /// It falls off when a camera had no frame that was decided on for so long.
        within: Duration,
        /// While it holds it changes its level each time after so long, for a relay that a standing level does not hold;
        /// `None`: it stands.
        toggle: Option<Duration>,
    },
}

impl OutputKind {
    /// The words for them in the configuration.
    pub const NAMES: [&'static str; 3] = ["light", "gate", "relay"];

    /// The word for it in the configuration.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Light { .. } => "light",
            Self::Gate { .. } => "gate",
            Self::Relay { .. } => "relay",
        }
    }
}

/// A rule of a camera.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RuleName {
    /// The camera's id.
    pub camera: String,
    /// The rule's id.
    pub rule: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_named_by_number_or_by_name() {
        let numbered = |chip: &str, offset| LineName::Numbered { chip: chip.to_owned(), offset };
        assert_eq!("gpiochip0:17".parse(), Ok(numbered("gpiochip0", 17)));
        assert_eq!("/dev/gpiochip12:0".parse(), Ok(numbered("gpiochip12", 0)));
        for name in ["GPIO17", "PIN_11", "LED 3"] {
            assert_eq!(name.parse(), Ok(LineName::Named(name.to_owned())));
        }
        for line in ["gpiochip0:17", "GPIO17"] {
            assert_eq!(line.parse::<LineName>().unwrap().to_string(), line);
        }
        for wrong in
            ["", "gpiochip0", "gpiochip:1", "gpiochip0:", "gpiochip0:-1", "gpiochip0:4096", "gpiochipx:1", "a\nb"]
        {
            assert!(wrong.parse::<LineName>().unwrap_err().contains("names no line"), "{wrong}");
        }
        assert!("x".repeat(32).parse::<LineName>().is_err());
    }
}
