//! `[[input]]` and `[[output]]`: lines of the box.

use std::time::Duration;

use super::{camera::Cameras, rule::remedy, section::Section};
use crate::{
    event::Priority,
    outputs::{Bias, Edge, Input, InputKind, LineName, Output, OutputKind, RuleName},
    publish::wire::check_id,
    rules::{Kind, RejectAfter},
};

/// A box has at most so many lines of each direction.
const LINES_MAX: usize = 32;

/// An edge counts when the line then stays for so long, in seconds.
const DEBOUNCE_S: std::ops::RangeInclusive<f64> = 0.0..=1.0;

/// A gate is active for so long where nothing else is said,
const PULSE: Duration = Duration::from_millis(100);

/// and may be for so long, in seconds.
const PULSE_S: std::ops::RangeInclusive<f64> = 0.005..=60.0;

/// A relay falls off after so long without a decided frame where nothing else is said,
const WITHIN: Duration = Duration::from_secs(3);

/// and may after so long, in seconds.
const WITHIN_S: std::ops::RangeInclusive<f64> = 0.1..=600.0;

/// A relay that toggles does so after so long, in seconds.
const TOGGLE_S: std::ops::RangeInclusive<f64> = 0.005..=5.0;

/// The words for the two levels, and whether a line that is active there is active low.
const LEVELS: [(&str, bool); 2] = [("high", false), ("low", true)];

/// Reads all inputs.
pub(super) fn read_inputs(root: &mut Section) -> Vec<Input> {
    let mut inputs: Vec<Input> = Vec::new();
    for mut section in root.sections("input") {
        let Some(id) = read_id(&mut section, "input", inputs.iter().map(|input| &input.id)) else { continue };
        let line = read_line(&mut section, inputs.iter().map(|input| (&input.line, &input.id)));
        let input = Input {
            id,
            edge: section.word("edge", &Edge::NAMES).unwrap_or_default(),
            active_low: section.word("active", &LEVELS).unwrap_or(false),
            bias: section.word("bias", &Bias::NAMES).unwrap_or_default(),
            kind: section.word("kind", &InputKind::NAMES).unwrap_or_default(),
            debounce: section.seconds("debounce", DEBOUNCE_S).unwrap_or_default(),
            // One that is wrong keeps the rules that name the input from being told of as well.
            line: line.unwrap_or_else(|| LineName::Named(String::new())),
        };
        if input.kind == InputKind::Encoder && encoder(&inputs).is_some() {
            section.problem("kind", None, "there is another encoder already; a box takes the ticks of one");
        }
        if inputs.len() == LINES_MAX {
            section.problem("", None, format!("a box has at most {LINES_MAX} inputs; leave some out"));
        } else {
            inputs.push(input);
        }
        section.finish();
    }
    inputs
}

/// Reads all outputs, which depend on the rules of the cameras.
pub(super) fn read_outputs(root: &mut Section, known: &Cameras, inputs: &[Input]) -> Vec<Output> {
    let mut outputs: Vec<Output> = Vec::new();
    for mut section in root.sections("output") {
        let Some(id) = read_id(&mut section, "output", outputs.iter().map(|output| &output.id)) else { continue };
        let used = inputs.iter().map(|input| (&input.line, &input.id));
        let line = read_line(&mut section, used.chain(outputs.iter().map(|output| (&output.line, &output.id))));
        let active_low = section.word("active", &LEVELS).unwrap_or(false);
        if !section.needs("kind", &format!("write one of {}", OutputKind::NAMES.join(", "))) {
            continue;
        }
        let Some(kind) = section.word("kind", &OutputKind::NAMES.map(|name| (name, name))) else { continue };
        let kind = match kind {
            "light" => read_light(&mut section, known),
            "gate" => read_gate(&mut section, known),
            _ => read_relay(&mut section, known),
        };
        if outputs.len() == LINES_MAX {
            section.problem("", None, format!("a box has at most {LINES_MAX} outputs; leave some out"));
        } else if let Some((line, kind)) = line.zip(kind) {
            outputs.push(Output { id, line, active_low, kind });
        }
        section.finish();
    }
    outputs
}

/// The input whose edges are ticks.
pub(super) fn encoder(inputs: &[Input]) -> Option<&Input> {
    inputs.iter().find(|input| input.kind == InputKind::Encoder)
}

fn read_id<'a>(section: &mut Section, what: &str, mut others: impl Iterator<Item = &'a String>) -> Option<String> {
    section.needs("id", &format!("give the {what} a name"));
    let id = section.text("id")?;
    section.retitle(format!("[[{what}]] \"{id}\""));
    if let Err(problem) = check_id(&id) {
        section.problem("id", None, problem);
    } else if others.any(|other| *other == id) {
        section.problem("id", None, format!("another {what} has the same id; give each one of its own"));
    }
    Some(id)
}

/// The line, which nobody else may use.
fn read_line<'a>(
    section: &mut Section,
    mut used: impl Iterator<Item = (&'a LineName, &'a String)>,
) -> Option<LineName> {
    section.needs("line", "name it as in \"gpiochip0:17\", or by its name as in \"GPIO17\"");
    let line = section.parsed::<LineName>("line")?;
    if let Some((_, by)) = used.find(|(other, _)| **other == line) {
        section.problem("line", None, format!("\"{by}\" uses {line} already; choose another line"));
    }
    Some(line)
}

/// A light for these alarms; for all where none are named.
fn read_light(section: &mut Section, known: &Cameras) -> Option<OutputKind> {
    let is_alarm = |kind: &Kind| matches!(kind, Kind::Alarm(_) | Kind::Blind(_));
    let named = section.has("rules");
    let texts = section.texts("rules");
    let priorities = Priority::ALL.map(|priority| (priority.name(), priority));
    let priority_min = section.word("priority", &priorities).unwrap_or(Priority::Low);
    let blink = section.boolean("blink").unwrap_or(true);
    let rules = if named {
        let mut rules = Vec::new();
        for text in texts? {
            let (name, kind) = find(section, "rules", &text, known)?;
            if !is_alarm(kind) {
                let what = format!(
                    "\"{text}\" is a {}, and a light shows alarms; name rules of kind alarm or blind",
                    kind.name()
                );
                section.problem("rules", None, what);
                return None;
            }
            rules.push(name);
        }
        rules
    } else {
        all(known).filter(|(_, kind)| is_alarm(kind)).map(|(name, _)| name).collect()
    };
    if rules.is_empty() {
        if named || known.wrong_rules.is_empty() {
            section.problem("rules", None, "there is no alarm to show; add a [[rule]] of kind alarm or blind");
        }
        return None;
    }
    Some(OutputKind::Light { rules, priority_min, blink })
}

/// A gate behind a rule that judges parts.
fn read_gate(section: &mut Section, known: &Cameras) -> Option<OutputKind> {
    section.needs("rule", "name the [[rule]] of kind verdict that judges the parts");
    let text = section.text("rule");
    let pulse = section.seconds("pulse", PULSE_S).unwrap_or(PULSE);
    let unsure = section.boolean("unsure").unwrap_or(false);
    let text = text?;
    let (rule, kind) = find(section, "rule", &text, known)?;
    let wrong = match kind {
        Kind::Verdict(verdict) if verdict.reject_after.is_some() => None,
        Kind::Verdict(_) => {
            Some(format!("[[rule]] \"{text}\" does not say when a part is at the gate; add reject_after to it"))
        }
        kind => Some(format!(
            "\"{text}\" is of kind {}, and a gate needs verdicts; name a rule of kind verdict",
            kind.name()
        )),
    };
    if let Some(what) = wrong {
        section.problem("rule", None, what);
        return None;
    }
    Some(OutputKind::Gate { rule, pulse, unsure })
}

/// A relay that falls off when one of these cameras does not see; all where none are named.
fn read_relay(section: &mut Section, known: &Cameras) -> Option<OutputKind> {
    let named = section.has("cameras");
    let within = section.seconds("within", WITHIN_S).unwrap_or(WITHIN);
    let toggle = section.seconds("toggle", TOGGLE_S);
    let cameras = if named { section.texts("cameras")? } else { known.ids.clone() };
    let unknown = cameras.iter().find(|camera| !known.ids.contains(camera));
    if let Some(camera) = unknown {
        let what = format!("there is no camera \"{camera}\"; {}", remedy(camera, known.ids.iter().map(String::as_str)));
        section.problem("cameras", None, what);
        return None;
    }
    if cameras.is_empty() {
        section.problem("cameras", None, "it holds for no camera; name one or leave the key out");
        return None;
    }
    Some(OutputKind::Relay { cameras, within, toggle })
}

/// All rules, by camera.
fn all(known: &Cameras) -> impl Iterator<Item = (RuleName, &Kind)> {
    known.cameras.iter().flat_map(|camera| {
        let name = |rule: &str| RuleName { camera: camera.id.clone(), rule: rule.to_owned() };
        camera.rules.iter().map(move |rule| (name(&rule.id), &rule.kind))
    })
}

/// The rule that a text names: its id, with its camera's and a `/` before where that is needed.
fn find<'a>(section: &Section, key: &str, text: &str, known: &'a Cameras) -> Option<(RuleName, &'a Kind)> {
    let problem = |what: String| section.problem(key, None, what);
    let (camera, rule) = text.split_once('/').map_or((None, text), |(camera, rule)| (Some(camera), rule));
    let fits = |name: &RuleName| name.rule == rule && camera.is_none_or(|camera| name.camera == camera);
    let mut found = all(known).filter(|(name, _)| fits(name));
    match (found.next(), found.next()) {
        (Some((first, _)), Some((second, _))) => {
            let what = format!(
                "several cameras have a rule \"{rule}\"; write \"{}/{rule}\" or \"{}/{rule}\"",
                first.camera, second.camera
            );
            problem(what);
            None
        }
        (Some(found), None) => Some(found),
        (None, _) if known.wrong_rules.iter().any(|wrong| wrong == rule) => None,
        (None, _) => {
            let ids: Vec<String> = all(known).map(|(name, _)| name.rule).collect();
            problem(format!("there is no rule \"{text}\"; {}", remedy(rule, ids.iter().map(String::as_str))));
            None
        }
    }
}

/// What a rule asks of the inputs and is not there: the key that asks, and a sentence.
pub(super) fn missing(kind: &Kind, inputs: &[Input]) -> Option<(&'static str, String)> {
    let Kind::Verdict(verdict) = kind else { return None };
    if let crate::rules::Trigger::Input { input, .. } = &verdict.trigger {
        match inputs.iter().find(|known| known.id == *input) {
            None => {
                let what = remedy(input, inputs.iter().map(|input| input.id.as_str()));
                return Some(("input", format!("there is no input \"{input}\"; {what}")));
            }
            Some(known) if known.kind == InputKind::Encoder => {
                let what =
                    format!("\"{input}\" is an encoder, whose ticks open no parts; name an input of kind trigger");
                return Some(("input", what));
            }
            Some(_) => {}
        }
    }
    let ticks = matches!(verdict.reject_after, Some(RejectAfter::Ticks(_)));
    let what = || "it counts ticks, and there is no encoder; add an [[input]] of kind encoder, or write a time";
    (ticks && encoder(inputs).is_none()).then(|| ("reject_after", what().to_owned()))
}
