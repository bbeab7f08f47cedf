//! The stations of all cameras: built from the configuration and from what an earlier process noted, kept over a reload, and
//! what commands ask of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use bytes::Bytes;
use serde_json::{Map, Value};

use super::{
    photographer::Photographer,
    post::{Memory, Post},
    voice::{Voice, note_key},
};
use crate::{
    config::{self, Config},
    event::What,
    publish::{
        clock::{Reading, Timeline},
        command::Verb,
        commands::Obey,
        mqtt::Publisher,
        wire::Wire,
    },
    rules::{Input, Order, Sight},
    station::{self, Said},
    store::Note,
};

/// The note that names the cameras that have one.
const CAMERAS_NOTE: &str = "stations";

/// How long an end waits for the last pictures.
const PICTURES_WITHIN: Duration = Duration::from_secs(1);

/// Hears along what stations say and how cameras see: where the lines of the box are driven from. It is called with the
/// station locked, in the order in which things are said, and must not wait.
pub trait Hearer: Send + Sync {
    /// How a rule stands at the start, or after a reload.
    fn stands(&self, camera: &str, rule: &str, what: &What);

    /// A station says something.
    fn said(&self, camera: &str, said: &Said);

    /// How a camera is, when that changes and at the start.
    fn sight(&self, camera: &str, sight: &Sight);

    /// A frame of a camera was decided on: what its station had to say of it is said.
    fn decided(&self, camera: &str) {
        let _ = camera;
    }
}

/// What the station of a camera, by its index in the configuration, is told to do.
pub fn station_settings(config: &Config, camera: usize) -> station::Settings {
    let camera = &config.cameras[camera];
    let detector = &config.models[camera.model].detector;
    station::Settings {
        camera: camera.id.clone(),
        track: camera.track,
        confidence: detector.confidence,
        per_class: detector.per_class.clone(),
        rules: camera.rules.clone(),
    }
}

/// The models of a configuration as its stations need them: each reports down to the least confidence that one of its
/// cameras' stations wants.
pub fn models_for_stations(config: &Config) -> Vec<config::Model> {
    let mut models = config.models.clone();
    for index in 0..config.cameras.len() {
        let least = station_settings(config, index).confidence_least();
        models[config.cameras[index].model].detector.report_from(least);
    }
    models
}

/// The stations of one line, and how they reach the plant.
pub(super) struct Crew {
    /// How they are heard.
    pub(super) voice: Voice,
    /// In the order of the configuration's cameras.
    pub(super) posts: Vec<Post>,
}

impl Crew {
    /// Tells all that time passes.
    pub(super) fn tick(&self) {
        self.hear(Input::Tick);
    }

    /// Tells all of an input of the box.
    pub(super) fn hear(&self, input: Input<'_>) {
        for post in &self.posts {
            post.take(&self.voice, input);
        }
    }

    /// Tells the station of a camera how it is.
    pub(super) fn see(&self, camera: usize, sight: &Sight) {
        self.posts[camera].see(&self.voice, sight);
    }

    /// Why what stations know is not noted.
    pub(super) fn troubles(&self) -> impl Iterator<Item = String> {
        self.posts.iter().filter_map(Post::trouble)
    }
}

/// All stations, from one line to the next.
pub(super) struct Stations {
    timeline: Timeline,
    photographer: Arc<Photographer>,
    hearer: Option<Arc<dyn Hearer>>,
    crew: RwLock<Option<Arc<Crew>>>,
}

impl Stations {
    /// None yet.
    ///
    /// # Errors
    /// Where the system refuses a thread.
    pub(super) fn new(hearer: Option<Arc<dyn Hearer>>) -> anyhow::Result<Self> {
        let photographer = Arc::new(Photographer::start()?);
        Ok(Self { timeline: Timeline::new(Reading::now()), photographer, hearer, crew: RwLock::default() })
    }

    /// Ties moments to instants, for those who hear along.
    pub(super) fn timeline(&self) -> Timeline {
        self.timeline
    }

    /// Sets up those of a configuration, for one who hears along as long as they stand: `lines`, where there is one. They go
    /// on where those before ended that were of the same cameras, and those hear nothing any more; else where an earlier
    /// process did, of which `note` knows. What cameras said that are gone is taken back. `anew`: what keeps messages and
    /// notes is another one than before.
    pub(super) fn set_up(
        &self,
        config: &Config,
        wire: &Wire,
        publisher: &Publisher,
        lines: Option<Arc<dyn Hearer>>,
        anew: bool,
        note: impl Fn(&str) -> Option<Bytes>,
    ) -> Arc<Crew> {
        // Commands wait meanwhile: what one changes in a station that is about to go would be lost.
        let mut slot = self.crew.write().unwrap_or_else(PoisonError::into_inner);
        let voice = Voice {
            wire: wire.clone(),
            publisher: publisher.clone(),
            timeline: self.timeline,
            photographer: Arc::clone(&self.photographer),
            hearers: self.hearer.iter().cloned().chain(lines).collect(),
        };
        let retire = |post: &Post| (post.id.clone(), post.retire());
        let before: Option<BTreeMap<String, Memory>> = slot.take().map(|crew| crew.posts.iter().map(retire).collect());
        let mut known: BTreeSet<String> = before.iter().flat_map(BTreeMap::keys).cloned().collect();
        if anew || before.is_none() {
            let noted = note(CAMERAS_NOTE).and_then(|body| serde_json::from_slice::<BTreeSet<String>>(&body).ok());
            known.extend(noted.unwrap_or_default());
        }
        let noted = |camera: &str| note(&note_key(camera)).map(|body| read(camera, &body)).unwrap_or_default();
        let memory = |camera: &str| match &before {
            Some(before) => before.get(camera).cloned().unwrap_or_default(),
            None => noted(camera),
        };
        let keeps_pictures = config.commands.contains(&Verb::Snapshot);
        let posts = config.cameras.iter().enumerate().map(|(index, camera)| {
            let settings = station_settings(config, index);
            Post::new(&settings, camera.view.rotation, keeps_pictures, memory(&camera.id), &voice)
        });
        let posts: Vec<Post> = posts.collect();
        let current: BTreeSet<String> = posts.iter().map(|post| post.id.clone()).collect();
        for gone in known.difference(&current) {
            let memory = before.as_ref().and_then(|before| before.get(gone).cloned());
            Post::end(&memory.unwrap_or_else(|| noted(gone)), &voice, note_key(gone));
        }
        if anew || known != current {
            let body = serde_json::to_vec(&current).expect("a list of texts can be written");
            let cameras = Note { key: CAMERAS_NOTE.to_owned(), body: body.into() };
            if let Err(error) = voice.publisher.publish_all(Vec::new(), vec![cameras]) {
                log::warn!("which cameras there are was not noted: {error}");
            }
        }
        posts.iter().for_each(|post| post.begin(&voice, anew));
        let crew = Arc::new(Crew { voice, posts });
        *slot = Some(Arc::clone(&crew));
        crew
    }

    /// Waits a moment for pictures that are being made.
    pub(super) fn finish(&self) {
        self.photographer.finish(PICTURES_WITHIN);
    }

    /// The post that is meant: of the camera with this id, else the only one that `fits`.
    fn with_post<T>(
        &self,
        camera: Option<&str>,
        fits: impl Fn(&Post) -> bool,
        work: impl FnOnce(&Crew, &Post) -> Result<T, String>,
    ) -> Result<T, String> {
        let slot = self.crew.read().unwrap_or_else(PoisonError::into_inner);
        let Some(crew) = &*slot else { return Err("andon is starting; ask again in a moment".to_owned()) };
        let ids = || crew.posts.iter().map(|post| post.id.as_str()).collect::<Vec<_>>().join(", ");
        if let Some(id) = camera {
            let post = crew.posts.iter().find(|post| post.id == id);
            let post = post.ok_or_else(|| format!("there is no camera {id:?}; there are: {}", ids()))?;
            return work(crew, post);
        }
        let mut fitting = crew.posts.iter().filter(|post| fits(post));
        match (fitting.next(), fitting.next()) {
            (Some(post), None) => work(crew, post),
            (None, _) if crew.posts.len() == 1 => work(crew, &crew.posts[0]),
            _ => Err(format!("it is not clear which camera is meant; send the key camera, one of: {}", ids())),
        }
    }
}

impl Obey for Stations {
    fn order(&self, camera: Option<&str>, rule: &str, order: &Order) -> Result<Map<String, Value>, String> {
        let has_rule = |post: &Post| post.rules.iter().any(|id| id == rule);
        self.with_post(camera, has_rule, |crew, post| post.order(&crew.voice, rule, order))
    }

    fn snapshot(&self, camera: Option<&str>) -> Result<Map<String, Value>, String> {
        self.with_post(camera, |_| true, |crew, post| post.snapshot(&crew.voice))
    }
}

/// What an earlier process noted. Where it cannot be read, the station begins anew.
fn read(camera: &str, note: &[u8]) -> Memory {
    serde_json::from_slice(note).unwrap_or_else(|error| {
        log::warn!("camera \"{camera}\": what its rules knew before cannot be read, and they begin anew: {error}");
        Memory::default()
    })
}
