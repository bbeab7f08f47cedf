//! Camera controls by the names that `v4l2-ctl` shows: which there are, and in which order to set them.
//!
//! Pure: the controls come from [`super::node`], and [`super::backend`] sets them.

use std::collections::BTreeMap;

use anyhow::bail;

/// A control that a camera offers.
#[derive(Clone, Debug, PartialEq)]
pub struct ControlOffer {
    /// As `v4l2-ctl` writes it: `exposure_time_absolute`.
    pub name: String,
    /// What its numbers mean.
    pub kind: ControlKind,
    /// The least value.
    pub min: i64,
    /// The greatest value.
    pub max: i64,
    /// From one value to the next; the driver rounds to it.
    pub step: i64,
    /// The value that the camera starts with.
    pub default: i64,
    /// The value now; `None` where it cannot be read.
    pub value: Option<i64>,
    /// It only tells.
    pub read_only: bool,
    /// It has no effect now, because another control (an automatic mode, mostly) rules.
    pub inactive: bool,
    pub(super) id: u32,
    /// Its values have 64 bits.
    pub(super) wide: bool,
}

/// What the numbers of a control mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlKind {
    /// A quantity.
    Integer,
    /// Off (0) and on (1).
    Boolean,
    /// One of these values, with their meanings.
    Menu(Vec<(i64, String)>),
    /// Setting it to anything triggers it.
    Button,
    /// Every bit for itself.
    Bitmask,
}

/// A control's name as `v4l2-ctl` writes it: lower case, everything but letters and digits one `_`.
pub(super) fn normalised(name: &str) -> String {
    let words = name.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_ascii_lowercase).collect::<Vec<_>>().join("_")
}

/// Which control to set to which value, in an order that works: automatic modes first, because the values that they rule
/// cannot be set while they are on.
///
/// # Errors
/// Names a control that there is not, with the nearest and all that there are; and a value that cannot be, with the range.
pub(super) fn plan<'a>(
    wanted: &BTreeMap<String, i64>,
    offered: &'a [ControlOffer],
) -> anyhow::Result<Vec<(&'a ControlOffer, i64)>> {
    let mut steps = Vec::with_capacity(wanted.len());
    for (name, value) in wanted {
        let Some(control) = offered.iter().find(|control| control.name == *name) else {
            bail!("has no control \"{name}\"{}", alternatives(name, offered));
        };
        check(control, *value)?;
        steps.push((control, *value));
    }
    steps.sort_by_key(|(control, _)| !is_automatic_mode(&control.name));
    Ok(steps)
}

/// Which automatic mode is likely to rule an inactive control.
pub(super) fn ruler<'a>(inactive: &ControlOffer, offered: &'a [ControlOffer]) -> Option<&'a ControlOffer> {
    let subject = inactive.name.split('_').next().unwrap_or_default();
    offered.iter().find(|control| {
        control.id != inactive.id
            && is_automatic_mode(&control.name)
            && control.name.split('_').any(|word| word == subject)
    })
}

fn check(control: &ControlOffer, value: i64) -> anyhow::Result<()> {
    let name = &control.name;
    if control.read_only {
        bail!("does not let control \"{name}\" be set; leave it out");
    }
    match &control.kind {
        ControlKind::Button => {}
        ControlKind::Menu(items) => {
            if !items.iter().any(|(allowed, _)| *allowed == value) {
                let items: Vec<String> = items.iter().map(|(value, label)| format!("{value} ({label})")).collect();
                bail!("does not take {value} for control \"{name}\"; choose one of {}", items.join(", "));
            }
        }
        ControlKind::Bitmask => {
            // The kernel keeps the mask's bounds in signed numbers; zero to the mask is what it means.
            if value < 0 || value & !control.max != 0 {
                bail!("does not take {value} for control \"{name}\"; choose bits of {:#x}", control.max);
            }
        }
        ControlKind::Integer | ControlKind::Boolean => {
            if value < control.min || value > control.max {
                bail!("does not take {value} for control \"{name}\"; choose from {} to {}", control.min, control.max);
            }
        }
    }
    Ok(())
}

fn is_automatic_mode(name: &str) -> bool {
    name.split('_').any(|word| word.starts_with("auto"))
}

fn alternatives(name: &str, offered: &[ControlOffer]) -> String {
    let settable: Vec<&str> =
        offered.iter().filter(|control| !control.read_only).map(|control| &*control.name).collect();
    let nearest =
        settable.iter().max_by(|a, b| strsim::jaro_winkler(name, a).total_cmp(&strsim::jaro_winkler(name, b)));
    match nearest {
        Some(nearest) => format!("; the nearest is \"{nearest}\" of {}", settable.join(", ")),
        None => "; it has none at all, leave them out".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control(id: u32, name: &str) -> ControlOffer {
        ControlOffer {
            name: name.to_owned(),
            kind: ControlKind::Integer,
            min: -10,
            max: 200,
            step: 1,
            default: 0,
            value: Some(0),
            read_only: false,
            inactive: false,
            id,
            wide: false,
        }
    }

    fn webcam() -> Vec<ControlOffer> {
        let modes = vec![(1, "Manual Mode".to_owned()), (3, "Aperture Priority Mode".to_owned())];
        vec![
            control(1, "brightness"),
            control(2, "exposure_time_absolute"),
            ControlOffer { kind: ControlKind::Menu(modes), min: 0, max: 3, ..control(3, "auto_exposure") },
            control(4, "white_balance_temperature"),
            ControlOffer { kind: ControlKind::Boolean, min: 0, max: 1, ..control(5, "white_balance_automatic") },
            ControlOffer { read_only: true, ..control(6, "pixel_rate") },
            ControlOffer { kind: ControlKind::Bitmask, min: 0, max: 0xf0, ..control(7, "lamps") },
        ]
    }

    fn planned(wanted: &[(&str, i64)]) -> Result<Vec<(String, i64)>, String> {
        let wanted = wanted.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        let offered = webcam();
        let steps = plan(&wanted, &offered).map_err(|error| error.to_string())?;
        Ok(steps.into_iter().map(|(control, value)| (control.name.clone(), value)).collect())
    }

    #[test]
    fn names_are_those_of_v4l2_ctl() {
        assert_eq!(normalised("Exposure Time, Absolute"), "exposure_time_absolute");
        assert_eq!(normalised("White Balance, Automatic"), "white_balance_automatic");
        assert_eq!(normalised("  LED1 Mode (0x1)-"), "led1_mode_0x1");
        assert_eq!(normalised("-"), "");
    }

    #[test]
    fn automatic_modes_are_set_before_what_they_rule() {
        let wanted = [
            ("brightness", -10),
            ("auto_exposure", 1),
            ("exposure_time_absolute", 156),
            ("white_balance_temperature", 200),
            ("white_balance_automatic", 0),
        ];
        let names: Vec<String> = planned(&wanted).unwrap().into_iter().map(|(name, _)| name).collect();
        let order = [
            "auto_exposure",
            "white_balance_automatic",
            "brightness",
            "exposure_time_absolute",
            "white_balance_temperature",
        ];
        assert_eq!(names, order);
    }

    #[test]
    fn a_control_that_is_not_there_is_answered_with_the_nearest_and_all() {
        let said = planned(&[("exposure_absolute", 1)]).unwrap_err();
        assert_eq!(
            said,
            "has no control \"exposure_absolute\"; the nearest is \"exposure_time_absolute\" of brightness, \
             exposure_time_absolute, auto_exposure, white_balance_temperature, white_balance_automatic, lamps"
        );
        let none = plan(&BTreeMap::from([("gain".to_owned(), 1)]), &[]).unwrap_err().to_string();
        assert_eq!(none, "has no control \"gain\"; it has none at all, leave them out");
    }

    #[test]
    fn a_value_that_cannot_be_is_answered_with_what_can() {
        for (name, value, said) in [
            ("brightness", 201, "does not take 201 for control \"brightness\"; choose from -10 to 200"),
            ("brightness", -11, "does not take -11 for control \"brightness\"; choose from -10 to 200"),
            (
                "white_balance_automatic",
                2,
                "does not take 2 for control \"white_balance_automatic\"; choose from 0 to 1",
            ),
            ("lamps", 0x10f, "does not take 271 for control \"lamps\"; choose bits of 0xf0"),
            ("pixel_rate", 1, "does not let control \"pixel_rate\" be set; leave it out"),
            (
                "auto_exposure",
                2,
                "does not take 2 for control \"auto_exposure\"; choose one of 1 (Manual Mode), 3 (Aperture Priority Mode)",
            ),
        ] {
            assert_eq!(planned(&[(name, value)]).unwrap_err(), said);
        }
        assert!(planned(&[("lamps", 0x30), ("auto_exposure", 3), ("brightness", 200)]).is_ok());
    }

    #[test]
    fn the_mode_that_rules_a_control_is_found_by_its_subject() {
        let offered = webcam();
        let ruled_by = |id: u32| ruler(offered.iter().find(|c| c.id == id).unwrap(), &offered).map(|c| &*c.name);
        assert_eq!(ruled_by(2), Some("auto_exposure"));
        assert_eq!(ruled_by(4), Some("white_balance_automatic"));
        assert_eq!(ruled_by(1), None);
    }
}
