//! `[[camera]]`: where its pictures come from, which part of them is looked at, and by which model.

use super::{Camera, Model, blind, read_id, section::Section, text::SizeText, track};
use crate::{
    capture::{self, SourceUri},
    frame::PixelFormat,
    geometry::Region,
    store::NOTES_MAX,
    vision::{Rotation, View},
};

/// So many cameras have room for what their stations know, beside the few notes of the box itself.
const CAMERAS_MAX: usize = NOTES_MAX - 4;

/// All cameras of a file.
pub(super) struct Cameras {
    /// Those that can be opened.
    pub(super) cameras: Vec<Camera>,
    /// The ids of all, also of those with which something is wrong.
    pub(super) ids: Vec<String>,
    /// The ids of rules with which something is wrong: whoever names one is not told that there is none.
    pub(super) wrong_rules: Vec<String>,
}

/// Reads all sections.
pub(super) fn read(root: &mut Section, models: &[Model]) -> Cameras {
    let sections = root.sections("camera");
    let mut cameras: Vec<Camera> = Vec::with_capacity(sections.len());
    let mut ids: Vec<String> = Vec::with_capacity(sections.len());
    for mut section in sections {
        let id = read_id(&mut section);
        match &id {
            None if !section.has("id") => {
                section.problem("id", None, "it is missing; give the camera a name for its topics")
            }
            Some(id) if ids.contains(id) => {
                section.problem("id", None, format!("there are two cameras \"{id}\"; give each an id of its own"));
            }
            _ => {}
        }
        let id = id.unwrap_or_default();
        section.retitle(format!("[[camera]] \"{id}\""));
        ids.push(id.clone());
        if ids.len() == CAMERAS_MAX + 1 {
            let what = format!("it is one camera too many: a box has at most {CAMERAS_MAX}; leave some out");
            section.problem("", None, what);
        }
        let model = read_model(&mut section, models);
        let view = read_view(&mut section);
        let capture = read_capture(&mut section);
        let blind = blind::read(&mut section, capture.as_ref().map(|capture| &capture.source));
        let confidence = models.get(model).map_or(0.0, |model| model.detector.confidence);
        let track = track::read(&mut section, capture.as_ref().map(|capture| &capture.source), confidence);
        if let Some(capture) = capture {
            cameras.push(Camera { id, capture, view, blind, model, track, rules: Vec::new() });
        }
        section.finish();
    }
    Cameras { cameras, ids, wrong_rules: Vec::new() }
}

fn read_model(section: &mut Section, models: &[Model]) -> usize {
    let origin = section.origin_of("model");
    let known = || models.iter().map(|model| model.id.as_str()).collect::<Vec<_>>().join(", ");
    match section.text("model") {
        Some(id) => models.iter().position(|model| model.id == id).unwrap_or_else(|| {
            section.problem("model", origin.as_ref(), format!("there is no model \"{id}\"; known: {}", known()));
            0
        }),
        None if models.is_empty() => {
            section.problem("", None, "there is no model to look with; add a [model] section with a path");
            0
        }
        None if models.len() > 1 && origin.is_none() => {
            section.problem("model", None, format!("there are several models; name one of {}", known()));
            0
        }
        None => 0,
    }
}

fn read_capture(section: &mut Section) -> Option<capture::Settings> {
    let origin = section.origin_of("source");
    let source = section.parsed::<SourceUri>("source");
    if origin.is_none() {
        section.problem("source", None, "it is missing; `andon devices` lists the cameras of this box");
    }
    let formats = [
        ("mjpeg", PixelFormat::Jpeg),
        ("yuyv", PixelFormat::Yuyv),
        ("uyvy", PixelFormat::Uyvy),
        ("nv12", PixelFormat::Nv12),
        ("i420", PixelFormat::I420),
        ("grey", PixelFormat::Grey8),
        ("rgb", PixelFormat::Rgb8),
        ("bgr", PixelFormat::Bgr8),
    ];
    let size = section.parsed::<SizeText>("size").map(|size| size.0);
    let rate_hz = section.number("rate", 0.001..=1000.0);
    let format = section.word("format", &formats);
    let repeat = section.boolean("loop").unwrap_or(false);
    let controls = section.integers_by_name("controls");
    let settings = capture::Settings { source: source?, size, rate_hz, format, repeat, controls };
    if settings.source == SourceUri::Stdin {
        let what = "a service has no picture on its stdin; `andon detect -` reads one, a file of that name is file:-";
        section.problem("source", origin.as_ref(), what);
    } else if let Err(problem) = settings.check() {
        section.problem("", None, format!("{problem:#}"));
    }
    Some(settings.paced())
}

fn read_view(section: &mut Section) -> View {
    let origin = section.origin_of("rotate");
    let rotation = match section.integer("rotate", 0..=270) {
        None | Some(0) => Rotation::None,
        Some(90) => Rotation::Quarter,
        Some(180) => Rotation::Half,
        Some(270) => Rotation::ThreeQuarters,
        Some(other) => {
            section.problem("rotate", origin.as_ref(), format!("{other} is no quarter turn; use 0, 90, 180 or 270"));
            Rotation::None
        }
    };
    let origin = section.origin_of("roi");
    let region = section.integers::<4>("roi").map(|[x, y, width, height]| Region { x, y, width, height });
    if region.is_some_and(|region| region.width == 0 || region.height == 0) {
        section.problem("roi", origin.as_ref(), "it is empty; give [x, y, width, height] in pixels");
    }
    View { rotation, region }
}
