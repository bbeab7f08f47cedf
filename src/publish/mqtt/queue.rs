//! What waits to be sent: pure, without the network.
//!
//! Two lanes: *states*, of which the newest per topic is kept and sent at every connection, and *live* messages, which
//! are dropped rather than kept. Between them stands the outbox's [`Lane`]. All have the same three moves: the next one
//! that this connection has not sent, one that was acknowledged, and the loss of the connection.
//!
//! States go first, since they say what all else is worth, and then the outbox's first class. What is live and the rest of
//! the outbox take turns, so that neither waits for a long backlog of the other.

use std::{collections::VecDeque, time::Instant};

use super::session::Outgoing;
use crate::publish::outbox::lane::{Key, Lane};

/// Live messages that wait while a broker is slow: at most so many,
const LIVE_COUNT_MAX: usize = 256;
/// and at most so many bytes on the wire. Beyond either the oldest is dropped and counted.
const LIVE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Topics with a state: the device, its cameras, what Home Assistant is told of them. Beyond that a new topic is refused, since something is wrong.
const STATES_MAX: usize = 1024;

/// By what an acknowledgement is recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// A version of a state; no two states ever have the same.
    State(u64),
    /// A message of the outbox.
    Kept(Key),
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
    /// Whether what is live goes before the outbox's other classes next time.
    live_turn: bool,
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
    /// Without a message the end itself is the last.
    message: Option<Outgoing>,
    /// So long it lets the outbox go before.
    patient_until: Instant,
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
            live_turn: false,
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

    /// Sends this when all else is sent, and then nothing more. It takes the place of its topic's state. The outbox has until
    /// `patient_until` to become empty; what is left in it stays where it is.
    pub(super) fn finish(&mut self, message: Option<Outgoing>, patient_until: Instant) {
        self.last = Some(Last { message, patient_until, sent: false, confirmed: false });
    }

    /// When the last message is sent, should the outbox not be empty before; `None` where nothing waits for that.
    pub(super) fn patient_until(&self) -> Option<Instant> {
        self.last.as_ref().filter(|last| !last.sent).map(|last| last.patient_until)
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
    pub(super) fn next(&mut self, lane: &mut Lane, now: Instant) -> Option<(Outgoing, bool, Token)> {
        if self.last.as_ref().is_some_and(|last| last.sent) {
            return None;
        }
        let impatient = self.last.as_ref().is_some_and(|last| now >= last.patient_until);
        if let Some(state) = self.next_state() {
            return Some(state);
        }
        if !impatient && let Some((message, again, key)) = lane.next_first() {
            return Some((message, again, Token::Kept(key)));
        }
        let mut kept = || {
            let (message, again, key) = if impatient { None } else { lane.next_other() }?;
            Some((message, again, Token::Kept(key)))
        };
        let next = if self.live_turn { self.next_live().or_else(kept) } else { kept().or_else(|| self.next_live()) };
        if let Some((.., token)) = &next {
            self.live_turn = *token != Token::Live;
            return next;
        }
        let last = self.last.as_mut().filter(|_| impatient || lane.is_empty())?;
        last.sent = true;
        last.confirmed = last.message.is_none();
        Some((last.message.clone()?, false, Token::Last))
    }

    fn next_state(&mut self) -> Option<(Outgoing, bool, Token)> {
        let replaced = self.last.as_ref().and_then(|last| last.message.as_ref()).map(Outgoing::topic);
        let unsent = |state: &&mut State| state.sent != Some(state.version) && replaced != Some(state.message.topic());
        let state = self.states.iter_mut().find(unsent)?;
        let again = state.unconfirmed == Some(state.version);
        state.sent = Some(state.version);
        state.unconfirmed = Some(state.version);
        Some((state.message.clone(), again, Token::State(state.version)))
    }

    fn next_live(&mut self) -> Option<(Outgoing, bool, Token)> {
        let message = self.live.pop_front()?;
        self.live_bytes -= message.bytes();
        Some((message, false, Token::Live))
    }

    /// The broker has it. What is the outbox's, its lane is told instead.
    pub(super) fn acknowledged(&mut self, token: Token) {
        match token {
            Token::State(version) => {
                if let Some(state) = self.states.iter_mut().find(|state| state.unconfirmed == Some(version)) {
                    state.unconfirmed = None;
                }
            }
            Token::Live | Token::Kept(_) => {}
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
    use std::time::Duration;

    use bytes::Bytes;
    use jiff::Timestamp;

    use super::{super::session::Qos, *};
    use crate::store::{Class, Entry, Row};

    fn message(topic: &str, payload: &str) -> Outgoing {
        Outgoing::new(topic.into(), Bytes::copy_from_slice(payload.as_bytes()), Qos::AtLeastOnce, true, 8 << 20)
            .unwrap()
    }

    fn next(queue: &mut Queue) -> Option<(Outgoing, bool, Token)> {
        queue.next(&mut Lane::default(), Instant::now())
    }

    fn drain(queue: &mut Queue) -> Vec<(Outgoing, bool, Token)> {
        std::iter::from_fn(|| next(queue)).collect()
    }

    fn kept(class: Class, id: u64) -> Row {
        let made_at = Timestamp::UNIX_EPOCH;
        let entry = Entry { class, topic: "e".into(), retain: false, numbered: false, body: Bytes::new(), made_at };
        Row { id, epoch: 1, seq: id, entry }
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
        assert_eq!(next(&mut queue), None);
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
        let old = next(&mut queue).unwrap().2;
        queue.state(message("status", "2")).unwrap();
        assert_eq!(next(&mut queue).unwrap().0, message("status", "2"));
        queue.acknowledged(old);
        queue.disconnected();
        queue.connected();
        assert!(next(&mut queue).unwrap().1, "version 2 was sent and not answered");
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
        assert_eq!(next(&mut queue).unwrap().0, message("d", "3"));
        queue.disconnected();
        assert_eq!(queue.dropped_live(), 4 + LIVE_COUNT_MAX as u64 - 1);
        queue.connected();
        assert_eq!(next(&mut queue), None);
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
        queue.finish(Some(message("status", "stopped")), Instant::now());
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
    fn the_outbox_stands_between_and_takes_turns_with_what_is_live() {
        let mut queue = Queue::new("status".into());
        let mut lane = Lane::default();
        (1..=4).for_each(|id| lane.put(kept(Class::Middle, id), false));
        lane.put(kept(Class::First, 1), false);
        queue.state(message("status", "1")).unwrap();
        queue.connected();
        (1..=2).for_each(|n| queue.live(message("d", &n.to_string())));
        let sent: Vec<Token> =
            std::iter::from_fn(|| queue.next(&mut lane, Instant::now())).map(|(_, _, token)| token).collect();
        let middle = |id| Token::Kept(Key::Row(Class::Middle, id));
        assert_eq!(
            sent,
            [
                Token::State(1),
                Token::Kept(Key::Row(Class::First, 1)),
                middle(1),
                Token::Live,
                middle(2),
                Token::Live,
                middle(3),
                middle(4)
            ]
        );
    }

    #[test]
    fn the_end_lets_the_outbox_go_before_for_a_moment() {
        let now = Instant::now();
        let moment = Duration::from_secs(1);
        let mut lane = Lane::default();
        (1..=2).for_each(|id| lane.put(kept(Class::Middle, id), false));
        let mut queue = Queue::new("status".into());
        queue.connected();
        queue.finish(Some(message("status", "stopped")), now + moment);
        assert_eq!(queue.patient_until(), Some(now + moment));
        assert!(matches!(queue.next(&mut lane, now), Some((_, _, Token::Kept(_)))));
        assert!(matches!(queue.next(&mut lane, now), Some((_, _, Token::Kept(_)))));
        assert_eq!(queue.next(&mut lane, now), None, "both are on their way");
        lane.acknowledged(Key::Row(Class::Middle, 1));
        lane.put(kept(Class::Middle, 3), false);
        let last = queue.next(&mut lane, now + moment).unwrap();
        assert_eq!(last.2, Token::Last, "the third stays where it is");
        assert_eq!((queue.next(&mut lane, now + moment), queue.patient_until()), (None, None));
        assert!(!queue.is_finished());

        let mut silent = Queue::new("status".into());
        silent.finish(None, now + moment);
        assert_eq!(silent.next(&mut Lane::default(), now), None);
        assert!(silent.is_finished(), "without a last message the end is reached at once");
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
