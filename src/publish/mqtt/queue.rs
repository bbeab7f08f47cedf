//! What waits to be sent: pure, without the network.
//!
//! Two lanes: *states*, of which the newest per topic is kept and sent at every connection, and *live* messages, which
//! are dropped rather than kept. Both have the same three moves: the next one that this connection has not sent, one
//! that was acknowledged, and the loss of the connection. A lane that lives on disk has its place between them, with a
//! token of its own.

use std::collections::VecDeque;

use super::session::Outgoing;

/// Live messages that wait while a broker is slow: at most so many,
const LIVE_COUNT_MAX: usize = 256;
/// and at most so many bytes on the wire. Beyond either the oldest is dropped and counted.
const LIVE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Topics with a state: the device, its cameras. Beyond that a new topic is refused, since something is wrong.
const STATES_MAX: usize = 1024;

/// By what an acknowledgement is recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// A version of a state; no two states ever have the same.
    State(u64),
    /// A live message: nobody waits for it.
    Live,
    /// The last message of all.
    Last,
}

/// The lanes.
#[derive(Debug)]
pub(super) struct Queue {
    online: bool,
    /// The topic whose state comes before all others: whether a device speaks at all decides what the rest is worth.
    first: String,
    /// In the order in which they are sent: that topic, then in the order in which the topics first came.
    states: Vec<State>,
    versions: u64,
    live: VecDeque<Outgoing>,
    live_bytes: usize,
    last: Option<Last>,
    dropped_live: u64,
}

#[derive(Debug)]
struct State {
    message: Outgoing,
    version: u64,
    /// The version that this connection has sent.
    sent: Option<u64>,
    /// The version that was sent at all, and not acknowledged since.
    unconfirmed: Option<u64>,
}

#[derive(Debug)]
struct Last {
    message: Outgoing,
    sent: bool,
    confirmed: bool,
}

/// Why a state is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooManyStates;

impl Queue {
    /// Empty lanes; the state of the topic `first` is the first to be sent at each connection.
    pub(super) fn new(first: String) -> Self {
        Self {
            online: false,
            first,
            states: Vec::new(),
            versions: 0,
            live: VecDeque::new(),
            live_bytes: 0,
            last: None,
            dropped_live: 0,
        }
    }

    /// Replaces the state of its topic.
    pub(super) fn state(&mut self, message: Outgoing) -> Result<(), TooManyStates> {
        self.versions += 1;
        let version = self.versions;
        if let Some(state) = self.states.iter_mut().find(|state| state.message.topic() == message.topic()) {
            state.message = message;
            state.version = version;
        } else if self.states.len() < STATES_MAX {
            let place = if message.topic() == self.first { 0 } else { self.states.len() };
            self.states.insert(place, State { message, version, sent: None, unconfirmed: None });
        } else {
            return Err(TooManyStates);
        }
        Ok(())
    }

    /// Adds a live message, or drops it while there is no connection.
    pub(super) fn live(&mut self, message: Outgoing) {
        if !self.online {
            self.dropped_live += 1;
            return;
        }
        self.live_bytes += message.bytes();
        self.live.push_back(message);
        while self.live.len() > LIVE_COUNT_MAX || self.live_bytes > LIVE_BYTES_MAX {
            self.live_bytes -= self.live.pop_front().map_or(0, |oldest| oldest.bytes());
            self.dropped_live += 1;
        }
    }

    /// Sends this when all else is sent, and then nothing more. It takes the place of its topic's state.
    pub(super) fn finish(&mut self, message: Outgoing) {
        self.last = Some(Last { message, sent: false, confirmed: false });
    }

    /// Whether [`Queue::finish`] was called.
    pub(super) fn is_finishing(&self) -> bool {
        self.last.is_some()
    }

    /// Whether the last message of all was acknowledged.
    pub(super) fn is_finished(&self) -> bool {
        self.last.as_ref().is_some_and(|last| last.confirmed)
    }

    /// A connection stands: every state is to be sent.
    pub(super) fn connected(&mut self) {
        self.online = true;
        for state in &mut self.states {
            state.sent = None;
        }
    }

    /// The connection is lost, and what is live with it.
    pub(super) fn disconnected(&mut self) {
        self.online = false;
        self.dropped_live += self.live.len() as u64;
        self.live.clear();
        self.live_bytes = 0;
    }

    /// The next message for this connection, whether it was sent before without an answer, and its token.
    pub(super) fn next(&mut self) -> Option<(Outgoing, bool, Token)> {
        let replaced = self.last.as_ref().map(|last| last.message.topic());
        for state in &mut self.states {
            if state.sent != Some(state.version) && replaced != Some(state.message.topic()) {
                let again = state.unconfirmed == Some(state.version);
                state.sent = Some(state.version);
                state.unconfirmed = Some(state.version);
                return Some((state.message.clone(), again, Token::State(state.version)));
            }
        }
        if let Some(message) = self.live.pop_front() {
            self.live_bytes -= message.bytes();
            return Some((message, false, Token::Live));
        }
        let last = self.last.as_mut().filter(|last| !last.sent)?;
        last.sent = true;
        Some((last.message.clone(), false, Token::Last))
    }

    /// The broker has it.
    pub(super) fn acknowledged(&mut self, token: Token) {
        match token {
            Token::State(version) => {
                if let Some(state) = self.states.iter_mut().find(|state| state.unconfirmed == Some(version)) {
                    state.unconfirmed = None;
                }
            }
            Token::Live => {}
            Token::Last => {
                if let Some(last) = &mut self.last {
                    last.confirmed = true;
                }
            }
        }
    }

    /// Live messages that were given up so far.
    pub(super) fn dropped_live(&self) -> u64 {
        self.dropped_live
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{super::session::Qos, *};

    fn message(topic: &str, payload: &str) -> Outgoing {
        Outgoing::new(topic.into(), Bytes::copy_from_slice(payload.as_bytes()), Qos::AtLeastOnce, true, 8 << 20)
            .unwrap()
    }

    fn drain(queue: &mut Queue) -> Vec<(Outgoing, bool, Token)> {
        std::iter::from_fn(|| queue.next()).collect()
    }

    #[test]
    fn states_come_in_the_order_of_their_topics_and_only_the_newest() {
        let mut queue = Queue::new("status".into());
        for (topic, payload) in [("cam/status", "a"), ("b/status", "b"), ("status", "1"), ("status", "2")] {
            queue.state(message(topic, payload)).unwrap();
        }
        queue.connected();
        let sent: Vec<_> = drain(&mut queue).into_iter().map(|(message, again, _)| (message, again)).collect();
        assert_eq!(
            sent,
            [(message("status", "2"), false), (message("cam/status", "a"), false), (message("b/status", "b"), false)]
        );
        assert_eq!(queue.next(), None);
    }

    #[test]
    fn a_new_connection_gets_all_states_and_marks_the_unanswered() {
        let mut queue = Queue::new("status".into());
        queue.state(message("status", "1")).unwrap();
        queue.state(message("cam/status", "a")).unwrap();
        queue.connected();
        let first = drain(&mut queue);
        queue.acknowledged(first[0].2);
        queue.disconnected();
        queue.connected();
        let again: Vec<_> = drain(&mut queue).into_iter().map(|(_, again, _)| again).collect();
        assert_eq!(again, [false, true]);
    }

    #[test]
    fn an_answer_to_an_old_version_does_not_confirm_the_new_one() {
        let mut queue = Queue::new("status".into());
        queue.connected();
        queue.state(message("status", "1")).unwrap();
        let old = queue.next().unwrap().2;
        queue.state(message("status", "2")).unwrap();
        assert_eq!(queue.next().unwrap().0, message("status", "2"));
        queue.acknowledged(old);
        queue.disconnected();
        queue.connected();
        assert!(queue.next().unwrap().1, "version 2 was sent and not answered");
    }

    #[test]
    fn live_messages_are_bounded_and_not_kept_offline() {
        let mut queue = Queue::new("status".into());
        queue.live(message("d", "lost"));
        assert_eq!(queue.dropped_live(), 1);
        queue.connected();
        for n in 0..LIVE_COUNT_MAX + 3 {
            queue.live(message("d", &n.to_string()));
        }
        assert_eq!(queue.dropped_live(), 4);
        assert_eq!(queue.next().unwrap().0, message("d", "3"));
        queue.disconnected();
        assert_eq!(queue.dropped_live(), 4 + LIVE_COUNT_MAX as u64 - 1);
        queue.connected();
        assert_eq!(queue.next(), None);
        for _ in 0..6 {
            queue.live(message("d", &"x".repeat(1 << 20)));
        }
        assert_eq!(drain(&mut queue).len(), 3);
        assert_eq!(queue.live_bytes, 0);
    }

    #[test]
    fn the_last_message_is_the_last() {
        let mut queue = Queue::new("status".into());
        queue.state(message("status", "online")).unwrap();
        queue.connected();
        queue.live(message("d", "1"));
        queue.finish(message("status", "stopped"));
        assert!(queue.is_finishing());
        let sent = drain(&mut queue);
        assert_eq!(
            sent.iter().map(|(m, ..)| m.clone()).collect::<Vec<_>>(),
            [message("d", "1"), message("status", "stopped")]
        );
        assert!(!queue.is_finished());
        queue.acknowledged(sent[1].2);
        assert!(queue.is_finished());
    }

    #[test]
    fn topics_with_a_state_are_bounded() {
        let mut queue = Queue::new("status".into());
        for n in 0..STATES_MAX {
            queue.state(message(&n.to_string(), "")).unwrap();
        }
        assert_eq!(queue.state(message("more", "")), Err(TooManyStates));
        assert_eq!(queue.state(message("0", "new")), Ok(()));
    }
}
