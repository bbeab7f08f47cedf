//! Does what the plant asks, and answers.

use std::{sync::Arc, time::Instant};

use serde_json::{Map, Value, json};

use super::{
    clock::Reading,
    command::{Asked, COMMAND_BYTES_MAX, Command, Desk, Resend, Verb},
    mqtt::{INCOMING_BYTES_MAX, Replies, Subscription},
    outbox::{Again, Outbox, Resent},
    wire::Wire,
};
use crate::rules::Order;

/// An answer names at most so many ranges that are gone; who misses more asks again.
const GONE_MAX: usize = 100;

const _: () = assert!(COMMAND_BYTES_MAX < INCOMING_BYTES_MAX, "a long command is refused, not the connection ended");

/// Does what is asked of rules and cameras. It is called on the connection's task, which waits for it: a lock that is held
/// for less than a millisecond is the longest that it may wait for.
pub trait Obey: Send + Sync {
    /// Does what is asked of a rule; without a camera, of that of the only one. The answer has what is returned, as keys.
    ///
    /// # Errors
    /// Why it is not done, in a sentence that says what to do.
    fn order(&self, camera: Option<&str>, rule: &str, order: &Order) -> Result<Map<String, Value>, String>;

    /// Begins to publish what a camera sees; without a camera, the only one. The answer has what is returned, as keys.
    ///
    /// # Errors
    /// Why it is not done, in a sentence that says what to do.
    fn snapshot(&self, camera: Option<&str>) -> Result<Map<String, Value>, String>;
}

/// A device that has no rules and takes no pictures.
#[derive(Clone, Copy, Debug)]
pub struct NoRules;

impl Obey for NoRules {
    fn order(&self, _: Option<&str>, rule: &str, _: &Order) -> Result<Map<String, Value>, String> {
        Err(format!("there is no rule {rule:?}, nor any other; configure [[rule]]"))
    }

    fn snapshot(&self, _: Option<&str>) -> Result<Map<String, Value>, String> {
        Err("there is no camera; configure [[camera]]".to_owned())
    }
}

/// A topic on which another program says that it is there and knows nothing yet, and what is done then.
pub struct Greeting {
    /// The topic, without wildcards.
    pub topic: String,
    /// The payload that says so; other ones mean nothing.
    pub payload: &'static [u8],
    /// What is done then, as quickly as [`Obey`] does.
    pub hear: Box<dyn FnMut() + Send>,
}

/// What a device listens to, and what it does then; `None` where no command is allowed and nobody's greeting is waited for.
pub fn subscription(
    wire: &Wire,
    allowed: &[Verb],
    outbox: &Outbox,
    obey: Arc<dyn Obey>,
    mut greeting: Option<Greeting>,
) -> Option<Subscription> {
    let mut desk = Desk::new(wire.prefix(), wire.device(), allowed, Instant::now());
    let mut filters = desk.topics();
    filters.extend(greeting.as_ref().map(|greeting| greeting.topic.clone()));
    if filters.is_empty() {
        return None;
    }
    let (wire, outbox) = (wire.clone(), outbox.clone());
    let hear = move |message: &super::mqtt::Incoming, replies: &Replies| {
        if let Some(Greeting { topic, payload, hear }) = &mut greeting
            && message.topic == *topic
        {
            // One that the broker kept is as old as the connection, over which all states are sent anyway.
            if *message.payload == **payload && !message.retain {
                hear();
            }
            return;
        }
        let asked = desk.take(&message.topic, &message.payload, message.retain, Instant::now());
        if let Some(asked) = asked {
            carry_out(asked, &wire, &outbox, &*obey, replies);
        }
    };
    Some(Subscription { filters, incoming_bytes_max: INCOMING_BYTES_MAX, hear: Box::new(hear) })
}

fn carry_out(asked: Asked, wire: &Wire, outbox: &Outbox, obey: &dyn Obey, replies: &Replies) {
    let Asked { verb, id, command } = asked;
    let answer = |outcome: Result<&Map<String, Value>, &str>| {
        if let Err(refusal) = outcome {
            log::debug!("command {} refused: {refusal}", verb.name());
        }
        replies.send(wire.answer(&Reading::now(), verb.name(), id.as_deref(), outcome));
    };
    match command {
        Ok(Command::Resend(Resend { topic, epoch, from, to })) => {
            let (wire, replies) = (wire.clone(), replies.clone());
            let again = Again { topic: topic.clone(), epoch, from, to };
            outbox.resend(again, move |resent| {
                let result = resent.map(|resent| result(&topic, resent));
                let outcome = result.as_ref().ok_or("too much is being sent again already; ask again later");
                replies.send(wire.answer(&Reading::now(), verb.name(), id.as_deref(), outcome));
            });
        }
        Ok(Command::Rule { camera, rule, order }) => {
            let done = obey.order(camera.as_deref(), &rule, &order);
            log::info!("command {} for rule {rule:?}: {}", verb.name(), done.as_ref().err().map_or("done", |e| e));
            answer(done.as_ref().map_err(String::as_str));
        }
        Ok(Command::Snapshot { camera }) => answer(obey.snapshot(camera.as_deref()).as_ref().map_err(String::as_str)),
        Err(refusal) => answer(Err(&refusal.to_string())),
    }
}

fn result(topic: &str, resent: Resent) -> Map<String, Value> {
    let Resent { epoch, sent, mut gone } = resent;
    gone.truncate(GONE_MAX);
    let result = json!({"topic": topic, "epoch": epoch, "sent": sent, "gone": gone});
    let Value::Object(result) = result else { unreachable!("it is written as an object above") };
    result
}
