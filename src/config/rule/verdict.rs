//! `kind = "verdict"`.

use std::time::Duration;

use super::{Post, SECONDS_MAX, classes, confidence, watch};
use crate::{
    config::{place, section::Section, text::RejectText},
    rules::{Anchor, Trigger, VerdictSettings},
};

/// The words for the triggers.
const TRIGGERS: [&str; 5] = ["line", "command", "input", "time", "picture"];

/// A part is open for so long at most where nothing else is said.
const WITHIN: Duration = Duration::from_secs(5);

/// Bad in this share of its frames, a part is bad where nothing else is said.
const FAIL_SHARE: f32 = 0.5;

/// A part is judged from so many frames on where nothing else is said; one where each picture is a part.
const FRAMES_MIN: u32 = 3;

/// The shortest time that a part may take, in seconds.
const SECONDS_MIN: f64 = 0.01;

/// How parts are judged.
pub(super) fn read(section: &mut Section, post: Post<'_>) -> Option<VerdictSettings> {
    section.needs("trigger", &format!("say what opens a part: {}", TRIGGERS.join(", ")));
    let Some(word) = section.word("trigger", &TRIGGERS.map(|name| (name, name))) else {
        // Which keys belong to it is not known.
        section.skip_all();
        return None;
    };
    let fail = watch(section, "fail", post);
    let trigger = trigger(section, word, fail.anchor, post);
    let usual = if word == "picture" { 1 } else { FRAMES_MIN };
    let fail_share = section.number("fail_share", 0.0..=1.0).map_or(FAIL_SHARE, |share| share as f32);
    let reject_after = section.parsed::<RejectText>("reject_after").map(|after| after.0);
    let confidence = confidence(section, "confidence", &fail.classes, post);
    let frames_min = section.integer("frames_min", 1..=1_000).map_or(usual, |frames| frames as u32);
    let pass_share = section.number("pass_share", 0.0..=1.0).map_or(fail_share, |share| share as f32);
    Some(VerdictSettings { trigger: trigger?, fail, confidence, frames_min, fail_share, pass_share, reject_after })
}

/// What opens a part, and what ends it. A key of another trigger is a mistake.
fn trigger(section: &mut Section, word: &str, anchor: Anchor, post: Post<'_>) -> Option<Trigger> {
    if word != "line" {
        place::without_line(section, "a line goes with trigger = \"line\"; take it out or change the trigger");
        section.misplaced("parts", "it goes with trigger = \"line\"; take it out or change the trigger");
    }
    if word != "input" {
        section.misplaced("input", "it goes with trigger = \"input\"; take it out or change the trigger");
    }
    if word != "time" {
        section.misplaced("every", "it goes with trigger = \"time\"; take it out or change the trigger");
    }
    if !["command", "input"].contains(&word) {
        let what = "it goes with trigger = \"command\" or \"input\"; take it out or change the trigger";
        section.misplaced("within", what);
    }
    let bounds = SECONDS_MIN..=SECONDS_MAX;
    match word {
        "line" => {
            let parts = classes(section, "parts", post);
            if !section.needs("line", "say where parts are judged: [[x, y], [x, y]]") {
                section.skip(&["band", "direction"]);
                return None;
            }
            place::line(section).map(|line| Trigger::Line { parts, line, anchor })
        }
        "command" => Some(Trigger::Command { within: section.seconds("within", bounds).unwrap_or(WITHIN) }),
        "input" => {
            let there = section.needs("input", "name the [[input]] whose edge opens a part");
            let within = section.seconds("within", bounds).unwrap_or(WITHIN);
            there.then(|| section.text("input"))?.map(|input| Trigger::Input { input, within })
        }
        "time" => {
            let there = section.needs("every", "say how many seconds a part takes");
            there.then(|| section.seconds("every", bounds))?.map(Trigger::Every)
        }
        _ => Some(Trigger::Picture),
    }
}
