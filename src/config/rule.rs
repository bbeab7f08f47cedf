//! `[[rule]]`: what the things in a camera's picture mean for the line. One file for each family of rules; whether the
//! values make sense together is for `rules` to say.

mod alarm;
mod count;
mod verdict;

use super::{Camera, Model, camera::Cameras, gpio, place, section::Section};
use crate::{
    outputs::Input,
    publish::wire::check_id,
    rules::{self, Kind, Settings, Watch},
    store::STATES_MAX,
};

/// A camera has at most so many rules.
const RULES_MAX: usize = 64;

/// A rule names at most so many classes.
const CLASSES_MAX: usize = 256;

/// Confidence that counts where none is given, unless the model's own is higher.
const CONFIDENCE: f32 = 0.5;

/// The longest time that a rule may be told, in seconds: a day.
const SECONDS_MAX: f64 = 86_400.0;

/// What a rule has to know of the camera that it belongs to.
#[derive(Clone, Copy)]
struct Post<'a> {
    /// `None` where something is wrong with the camera itself.
    camera: Option<&'a Camera>,
    model: Option<&'a Model>,
}

impl Post<'_> {
    /// The confidence that counts where the rule names none.
    fn confidence(&self) -> f32 {
        self.model.map_or(CONFIDENCE, |model| model.detector.confidence.max(CONFIDENCE))
    }

    /// The least confidence that things of these classes, of any where none is named, have as the camera's model reports
    /// them.
    fn confidence_least(&self, classes: &[String]) -> f32 {
        let Some(Model { detector, .. }) = self.model else { return 0.0 };
        let least = detector.per_class.values().copied().fold(detector.confidence, f32::min);
        let of = |class: &String| detector.per_class.get(class).copied().unwrap_or(detector.confidence);
        classes.iter().map(of).reduce(f32::min).unwrap_or(least)
    }
}

/// Reads all sections, and gives each camera its rules.
pub(super) fn read(root: &mut Section, known: &mut Cameras, models: &[Model], inputs: &[Input]) {
    // Of so many rules a broker keeps how they stand.
    let mut states = 0;
    for (index, mut section) in root.sections("rule").into_iter().enumerate() {
        let wrong = section.problem_count();
        let id = read_id(&mut section, index);
        let camera = read_camera(&mut section, &known.ids);
        let at = camera.and_then(|id| known.cameras.iter().position(|camera| camera.id == id));
        let camera = at.map(|at| &known.cameras[at]);
        let post = Post { camera, model: camera.and_then(|camera| models.get(camera.model)) };
        let settings = read_kind(&mut section, post).map(|kind| Settings { id: id.clone(), kind });
        if let Some(settings) = settings.filter(|_| section.problem_count() == wrong) {
            check(&section, &settings, post, inputs);
            states += usize::from(!matches!(settings.kind, Kind::Verdict(_)));
            if states == STATES_MAX + 1 {
                let what = "this is one alarm, blind, count or total too many for one box";
                section.problem("", None, format!("{what}, which has at most {STATES_MAX} of them; leave some out"));
            }
            if let Some(at) = at {
                add(&section, &mut known.cameras[at], settings);
            }
        }
        if section.problem_count() > wrong || at.is_none() {
            known.wrong_rules.push(id);
        }
    }
}

/// What the rule does; `None` where that is wrong.
fn read_kind(section: &mut Section, post: Post<'_>) -> Option<Kind> {
    if !section.needs("kind", &format!("write one of {}", Kind::NAMES.join(", "))) {
        return None;
    }
    let kind = match section.word("kind", &Kind::NAMES.map(|name| (name, name)))? {
        "alarm" => Some(Kind::Alarm(alarm::read(section, post))),
        "blind" => Some(Kind::Blind(alarm::read_blind(section))),
        "verdict" => verdict::read(section, post).map(Kind::Verdict),
        "count" => count::read(section, post).map(Kind::Count),
        _ => count::read_total(section, post).map(Kind::Total),
    };
    section.end();
    kind
}

/// What the rules of this model's cameras ask for that the model does not know: a sentence each. `names` are its classes; none
/// where its file does not say them, so that it is not known what it knows.
pub(super) fn unknown_classes(cameras: &[Camera], model: usize, names: &[impl AsRef<str>]) -> Vec<String> {
    let of_model = cameras.iter().filter(|camera| camera.model == model && !names.is_empty());
    let problems = of_model.flat_map(|camera| &camera.rules).flat_map(|settings| {
        let title = |rules::Problem { key, what }| format!("[[rule]] \"{}\" {key}: {what}", settings.id);
        rules::unknown_classes(settings, names).into_iter().map(title)
    });
    problems.collect()
}

/// The rule's id, which also gives the section its title.
fn read_id(section: &mut Section, index: usize) -> String {
    section.needs("id", "give the rule a name for its topics");
    let Some(id) = section.text("id") else {
        section.retitle(format!("[[rule]] number {}", index + 1));
        return String::new();
    };
    section.retitle(format!("[[rule]] \"{id}\""));
    if let Err(problem) = check_id(&id) {
        section.problem("id", None, problem);
    }
    id
}

/// The id of the rule's camera; with one camera it goes without saying.
fn read_camera(section: &mut Section, ids: &[String]) -> Option<String> {
    let stated = section.has("camera");
    match section.text("camera") {
        Some(id) if ids.contains(&id) => Some(id),
        Some(id) => {
            let what = format!("there is no camera \"{id}\"; {}", remedy(&id, ids.iter().map(String::as_str)));
            section.problem("camera", None, what);
            None
        }
        None if stated => None,
        None if ids.is_empty() => {
            section.problem("camera", None, "there is no camera to look through; add a [[camera]] section");
            None
        }
        None if ids.len() > 1 => {
            section.problem("camera", None, format!("there are several cameras; name one of {}", ids.join(", ")));
            None
        }
        None => ids.first().cloned(),
    }
}

/// What to do about a name that is not known.
pub(super) fn remedy<'a>(name: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    let nearest = known.clone().map(|known| (strsim::damerau_levenshtein(name, known), known)).min();
    match nearest.filter(|(distance, known)| *distance <= known.len().max(name.len()).div_ceil(2)) {
        Some((_, nearest)) => format!("did you mean \"{nearest}\"?"),
        None => match known.collect::<Vec<_>>() {
            none if none.is_empty() => "none is configured".to_owned(),
            known => format!("known: {}", known.join(", ")),
        },
    }
}

fn add(section: &Section, camera: &mut Camera, settings: Settings) {
    if camera.rules.iter().any(|rule| rule.id == settings.id) && !settings.id.is_empty() {
        let what = "another rule of this camera has the same id; give each one of its own";
        section.problem("id", None, what);
    } else if camera.rules.len() == RULES_MAX {
        section.problem("", None, format!("a camera has at most {RULES_MAX} rules; leave some out"));
    } else {
        camera.rules.push(settings);
    }
}

/// What does not go together: within the rule, and with its camera and the inputs.
fn check(section: &Section, settings: &Settings, post: Post<'_>, inputs: &[Input]) {
    for rules::Problem { key, what } in rules::check(settings) {
        section.problem(key, None, what);
    }
    let blind_to = post.camera.filter(|camera| camera.track.is_none()).zip(follows(&settings.kind));
    if let Some((camera, key)) = blind_to {
        let what = "it follows things from picture to picture, and its camera does not; set track = true in [[camera]]";
        section.problem(key, None, format!("{what} \"{}\"", camera.id));
    }
    if let Some((key, what)) = gpio::missing(&settings.kind, inputs) {
        section.problem(key, None, what);
    }
}

/// The key that makes a rule depend on tracks.
fn follows(kind: &Kind) -> Option<&'static str> {
    match kind {
        Kind::Verdict(verdict) => matches!(verdict.trigger, rules::Trigger::Line { .. }).then_some("trigger"),
        Kind::Count(_) | Kind::Total(_) => Some("kind"),
        Kind::Alarm(_) | Kind::Blind(_) => None,
    }
}

/// What a rule looks at, with the classes under this key.
fn watch(section: &mut Section, key: &'static str, post: Post<'_>) -> Watch {
    Watch { classes: classes(section, key, post), zone: place::zone(section), anchor: place::anchor(section) }
}

/// Names of classes; none where the key is missing.
fn classes(section: &mut Section, key: &'static str, post: Post<'_>) -> Vec<String> {
    let Some(classes) = section.texts(key) else { return Vec::new() };
    if classes.is_empty() {
        section.problem(key, None, "it is empty; name a class or leave the key out");
    } else if classes.len() > CLASSES_MAX {
        section.problem(key, None, format!("a rule names at most {CLASSES_MAX} classes; name fewer"));
    } else {
        left_out(section, key, &classes, post);
    }
    classes
}

/// Tells of a class that the model is told not to look for.
fn left_out(section: &Section, key: &str, classes: &[String], post: Post<'_>) {
    let Some(model) = post.model else { return };
    let Some(looked_for) = &model.detector.classes else { return };
    // Where they are given by index, their names are known when the model is loaded.
    let by_name = looked_for.iter().all(|class| class.parse::<usize>().is_err());
    if let Some(class) = classes.iter().find(|class| by_name && !looked_for.contains(class)) {
        let what = format!("[model] classes leaves \"{class}\" out; add it there or watch for another");
        section.problem(key, None, what);
    }
}

/// A confidence from which on things of these classes count.
fn confidence(section: &mut Section, key: &'static str, classes: &[String], post: Post<'_>) -> f32 {
    section.number(key, 0.01..=1.0).map_or(post.confidence(), |written| reported(section, key, written, classes, post))
}

/// A confidence that is written in the section. Below the least that the model reports it would have no effect.
fn reported(section: &Section, key: &str, written: f64, classes: &[String], post: Post<'_>) -> f32 {
    let (confidence, least) = (written as f32, post.confidence_least(classes));
    if confidence < least {
        let what = "is below what the model reports at all; write at least";
        let remedy = "or lower [model] confidence or thresholds";
        section.problem(key, None, format!("{confidence} {what} {least}, {remedy}"));
    }
    confidence
}
