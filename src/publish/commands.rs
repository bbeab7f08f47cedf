//! Does what the plant asks, and answers.

use std::time::Instant;

use serde_json::{Map, Value, json};

use super::{
    clock::Reading,
    command::{Asked, COMMAND_BYTES_MAX, Command, Desk, Resend, Verb},
    mqtt::{INCOMING_BYTES_MAX, Replies, Subscription},
    outbox::{Again, Outbox, Resent},
    wire::Wire,
};

/// An answer names at most so many ranges that are gone; who misses more asks again.
const GONE_MAX: usize = 100;

const _: () = assert!(COMMAND_BYTES_MAX < INCOMING_BYTES_MAX, "a long command is refused, not the connection ended");

/// What a device listens to, and what it does then; `None` where no command is allowed.
pub fn subscription(wire: &Wire, allowed: &[Verb], outbox: &Outbox) -> Option<Subscription> {
    let mut desk = Desk::new(wire.prefix(), wire.device(), allowed, Instant::now());
    let filters = desk.topics();
    if filters.is_empty() {
        return None;
    }
    let (wire, outbox) = (wire.clone(), outbox.clone());
    let hear = move |message: &super::mqtt::Incoming, replies: &Replies| {
        let asked = desk.take(&message.topic, &message.payload, message.retain, Instant::now());
        if let Some(asked) = asked {
            obey(asked, &wire, &outbox, replies);
        }
    };
    Some(Subscription { filters, incoming_bytes_max: INCOMING_BYTES_MAX, hear: Box::new(hear) })
}

fn obey(asked: Asked, wire: &Wire, outbox: &Outbox, replies: &Replies) {
    let Asked { verb, id, command } = asked;
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
        Err(refusal) => {
            log::debug!("command {} refused: {refusal}", verb.name());
            replies.send(wire.answer(&Reading::now(), verb.name(), id.as_deref(), Err(&refusal.to_string())));
        }
    }
}

fn result(topic: &str, resent: Resent) -> Map<String, Value> {
    let Resent { epoch, sent, mut gone } = resent;
    gone.truncate(GONE_MAX);
    let result = json!({"topic": topic, "epoch": epoch, "sent": sent, "gone": gone});
    let Value::Object(result) = result else { unreachable!("it is written as an object above") };
    result
}
