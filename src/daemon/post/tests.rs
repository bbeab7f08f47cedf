//! What a post hands over, and when.

use std::sync::Arc;

use tokio::runtime::{Builder, Runtime};

use super::*;
use crate::{
    config::Config,
    daemon::{
        photographer::Photographer,
        stations::{Hearer, station_settings},
    },
    event::What,
    publish::{
        clock::Timeline,
        kept,
        mqtt::{Client, Publisher, Settings},
        outbox::{Handover, Outbox},
        wire::Wire,
    },
    store::NOTE_BYTES_MAX,
};

const ALARM: &str = "kind = \"alarm\"\nclasses = [\"person\"]";
const BLIND: &str = "kind = \"blind\"\nafter = 0";
const PART: &str = "kind = \"verdict\"\ntrigger = \"input\"\ninput = \"barrier\"\nwithin = 1";

/// Notes what it hears of a camera's sight.
#[derive(Default)]
struct Ear(Mutex<Vec<bool>>);

impl Hearer for Ear {
    fn stands(&self, _camera: &str, _rule: &str, _what: &What) {}

    fn said(&self, _camera: &str, _said: &Said) {}

    fn sight(&self, _camera: &str, sight: &Sight) {
        self.0.lock().unwrap().push(sight.sees);
    }
}

struct Plant {
    _runtime: Runtime,
    outbox: Outbox,
    voice: Voice,
    ear: Arc<Ear>,
}

impl Plant {
    fn new() -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let wire = Wire::new("andon", "box", false).unwrap();
        let outbox = Outbox::in_memory(Arc::new(Handover::default()), kept::gaps(wire.clone())).unwrap();
        let client = Client { outbox: Some(outbox.clone()), ..Client::default() };
        // Nobody listens on the discard port.
        let publisher = Publisher::start(runtime.handle(), Settings::new("127.0.0.1", 9, "test"), client);
        let ear = Arc::new(Ear::default());
        let hearers: Vec<Arc<dyn Hearer>> = vec![Arc::clone(&ear) as Arc<dyn Hearer>];
        let photographer = Arc::new(Photographer::start().unwrap());
        let timeline = Timeline::new(Reading::now());
        let voice = Voice { wire, publisher, timeline, photographer, hearers };
        Self { _runtime: runtime, outbox, voice, ear }
    }

    fn post(&self, rule: &str, memory: Memory) -> Post {
        let text = format!(
            "[model]\npath = \"m.onnx\"\n[[camera]]\nid = \"in\"\nsource = \"shots\"\n\
             [[input]]\nid = \"barrier\"\nline = \"GPIO1\"\n[[rule]]\nid = \"r\"\n{rule}\n"
        );
        let config = Config::from_toml(&text, "andon.toml", std::iter::empty()).unwrap();
        Post::new(&station_settings(&config, 0), Rotation::None, false, memory, &self.voice)
    }

    fn said(&self) -> u64 {
        self.outbox.counters().pushed
    }
}

fn blind() -> Sight {
    Sight { sees: false, reason: "it is dark".to_owned() }
}

#[test]
fn a_state_is_said_again_only_where_it_is_another() {
    let plant = Plant::new();
    let post = plant.post(ALARM, Memory::default());
    post.begin(&plant.voice, false);
    assert_eq!(plant.said(), 1);
    let memory = post.retire();
    plant.post(ALARM, memory.clone()).begin(&plant.voice, false);
    assert_eq!(plant.said(), 1, "nothing has changed");
    plant.post(ALARM, memory.clone()).begin(&plant.voice, true);
    assert_eq!(plant.said(), 2, "another outbox knows nothing");

    // Under the same id another rule had raised its alarm.
    let blinded = plant.post(BLIND, memory);
    blinded.begin(&plant.voice, false);
    blinded.see(&plant.voice, &blind());
    blinded.take(&plant.voice, Input::Tick);
    let before = plant.said();
    let memory = blinded.retire();
    plant.post(BLIND, memory.clone()).begin(&plant.voice, false);
    assert_eq!(plant.said(), before);
    plant.post(ALARM, memory).begin(&plant.voice, false);
    assert_eq!(plant.said(), before + 1);
}

#[test]
fn a_memory_that_is_too_long_silences_no_rule() {
    let plant = Plant::new();
    let long = Word::new(&"x".repeat(NOTE_BYTES_MAX), &What::Alarm(alarm(&plant)));
    let memory = Memory { said: Spoken::from([("gone".to_owned(), long)]), ..Memory::default() };
    let post = plant.post(BLIND, memory);
    post.see(&plant.voice, &blind());
    post.take(&plant.voice, Input::Tick);
    assert!(plant.said() >= 1);
    let trouble = post.trouble().unwrap();
    assert!(trouble.contains("camera \"in\"") && trouble.contains("512 KiB"), "{trouble}");
    post.lock().said.remove("gone");
    post.see(&plant.voice, &Sight { sees: true, reason: String::new() });
    assert_eq!(post.trouble(), None);
}

fn alarm(plant: &Plant) -> crate::event::Alarm {
    let post = plant.post(ALARM, Memory::default());
    let work = post.lock();
    let Some((_, What::Alarm(alarm))) = work.station.states().next() else { panic!("an alarm has a state") };
    alarm
}

#[test]
fn a_post_that_is_retired_hears_and_says_nothing() {
    let plant = Plant::new();
    let post = plant.post(BLIND, Memory::default());
    post.begin(&plant.voice, false);
    post.retire();
    let before = plant.said();
    post.see(&plant.voice, &blind());
    post.take(&plant.voice, Input::Tick);
    assert!(plant.ear.0.lock().unwrap().is_empty());
    let refusal = post.order(&plant.voice, "r", &Order::Acknowledge).unwrap_err();
    assert!(refusal.contains("ask again"), "{refusal}");
    assert_eq!(plant.said(), before);
}

#[test]
fn a_sight_is_heard_once() {
    let plant = Plant::new();
    let post = plant.post(BLIND, Memory::default());
    let sees = Sight { sees: true, reason: String::new() };
    for sight in [&sees, &sees, &blind(), &blind(), &sees] {
        post.see(&plant.voice, sight);
    }
    assert_eq!(*plant.ear.0.lock().unwrap(), [true, false, true]);
}

#[test]
fn time_does_not_go_back() {
    let plant = Plant::new();
    let post = plant.post(ALARM, Memory::default());
    let early = Reading::now();
    let late = Reading { instant: early.instant + Duration::from_secs(1), ..early };
    let mut work = post.lock();
    let now = work.now(&plant.voice, &late).moment;
    assert_eq!(work.now(&plant.voice, &early).moment, now);
    assert_eq!(now, plant.voice.timeline.moment(late.instant));
}

#[test]
fn an_edge_is_noted_only_where_it_opens_a_part() {
    let plant = Plant::new();
    for (rule, notes) in [(ALARM, false), (PART, true)] {
        let post = plant.post(rule, Memory::default());
        let before = post.lock().noted_at;
        std::thread::sleep(Duration::from_millis(2));
        post.take(&plant.voice, Input::Edge { input: "barrier" });
        assert_eq!(post.lock().noted_at > before, notes, "{rule}");
        let noted_at = post.lock().noted_at;
        post.take(&plant.voice, Input::Edge { input: "other" });
        assert_eq!(post.lock().noted_at, noted_at, "{rule}");
    }
}

#[test]
fn a_frame_tells_that_the_camera_sees_before_its_rules_judge_by_it() {
    let plant = Plant::new();
    let post = plant.post(BLIND, Memory::default());
    let frame = Frame::empty();
    let model = ModelIdentity { name: "m".into(), sha256: "0".into() };
    let now = Instant::now();
    let size = crate::geometry::Size { width: 4, height: 4 };
    let facts = FrameFacts { seq: 1, size, dropped: 0, captured_at: now, taken_at: now };
    let look = |sees| {
        let looked = Looked { facts: &facts, model: &model, frame: &frame, sees, found: &mut Vec::new() };
        assert!(post.look(&plant.voice, looked));
    };
    post.see(&plant.voice, &blind());
    look(false);
    look(true);
    look(true);
    post.see(&plant.voice, &blind());
    assert_eq!(*plant.ear.0.lock().unwrap(), [false, true, false]);
    post.retire();
    let looked = Looked { facts: &facts, model: &model, frame: &frame, sees: true, found: &mut Vec::new() };
    assert!(!post.look(&plant.voice, looked));
    assert_eq!(plant.ear.0.lock().unwrap().len(), 3);
}
