//! Announces the box to Home Assistant: at the start, after a reload, and when Home Assistant says that it is back. What was
//! announced is noted, so that what is gone can be taken back after a restart.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::{
    config::Config,
    publish::{
        Message,
        commands::Greeting,
        home_assistant::{self, BIRTH, Camera, Home},
        mqtt::{Publisher, Refused},
        wire::Wire,
    },
    store::Note,
};

/// The note with the topics of what is announced.
const NOTE: &str = "home_assistant";

/// What Home Assistant was told last; clones share it.
#[derive(Clone, Default)]
pub(super) struct Announcer(Arc<Mutex<Told>>);

#[derive(Default)]
struct Told {
    /// `None` before the first time.
    topics: Option<Vec<String>>,
    messages: Vec<Message>,
    publisher: Option<Publisher>,
}

impl Announcer {
    /// Announces what a configuration has, and takes back what is announced and gone; `note` knows what an earlier process
    /// announced. `anew`: what keeps notes is another one than before.
    pub(super) fn announce(
        &self,
        config: &Config,
        wire: &Wire,
        publisher: &Publisher,
        anew: bool,
        note: impl Fn(&str) -> Option<Bytes>,
    ) {
        let messages =
            config.home_assistant.as_deref().map(|prefix| messages(prefix, config, wire)).unwrap_or_default();
        let mut told = self.lock();
        let before = told
            .topics
            .take()
            .unwrap_or_else(|| note(NOTE).and_then(|body| serde_json::from_slice(&body).ok()).unwrap_or_default());
        let topics: Vec<String> = messages.iter().map(|message| message.topic.clone()).collect();
        let gone = home_assistant::removals(before.iter().map(String::as_str), &messages);
        gone.into_iter().chain(messages.iter().cloned()).for_each(|message| publish(publisher, message));
        if anew || topics != before {
            let body = serde_json::to_vec(&topics).expect("a list of texts can be written");
            let body = if topics.is_empty() { Bytes::new() } else { body.into() };
            if let Err(error) = publisher.publish_all(Vec::new(), vec![Note { key: NOTE.to_owned(), body }]) {
                log::warn!("what Home Assistant was told was not noted: {error}");
            }
        }
        *told = Told { topics: Some(topics), messages, publisher: Some(publisher.clone()) };
    }

    /// What is listened for to announce all again; `None` where nothing is to be announced.
    pub(super) fn greeting(&self, config: &Config) -> Option<Greeting> {
        let topic = home_assistant::birth_topic(config.home_assistant.as_deref()?);
        let this = self.clone();
        let hear = move || {
            let told = this.lock();
            if let Some(publisher) = &told.publisher {
                told.messages.iter().cloned().for_each(|message| publish(publisher, message));
            }
        };
        Some(Greeting { topic, payload: BIRTH, hear: Box::new(hear) })
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn messages(prefix: &str, config: &Config, wire: &Wire) -> Vec<Message> {
    let cameras: Vec<_> = config.cameras.iter().map(|camera| Camera { id: &camera.id, rules: &camera.rules }).collect();
    let version = env!("CARGO_PKG_VERSION");
    home_assistant::messages(&Home { prefix, wire, version, cameras: &cameras, commands: &config.commands })
}

fn publish(publisher: &Publisher, message: Message) {
    let topic = message.topic.clone();
    match publisher.publish(message) {
        Ok(()) | Err(Refused::Stopped) => {}
        Err(error) => log::warn!("{topic} was not published: {error}"),
    }
}
