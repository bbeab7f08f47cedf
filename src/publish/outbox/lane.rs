//! The part of the outbox that waits in memory for the connection: pure, without disk and network.
//!
//! Each class is a window over what lies on the disk, oldest first, without holes other than what was given up. Within a
//! class messages are sent in order, and all of them again from the oldest that was not acknowledged when a connection is
//! lost. So a subscriber that drops what it has seen gets everything once and in order.

use std::collections::VecDeque;

use bytes::{BufMut, BytesMut};

use crate::{
    publish::mqtt::{Invalid, OUTGOING_BYTES_MAX, Outgoing, Qos},
    store::{Class, Row},
};

/// A class waits in memory with at most so many messages,
const ROWS_MAX: usize = 256;
/// and no more are added once it has so many bytes. The rest waits on the disk.
const BYTES_FULL: usize = 2 * 1024 * 1024;
/// Messages that were asked for again wait with at most so many; more are fetched as these go.
const AGAIN_ROWS_MAX: usize = 64;

/// By what an acknowledgement is recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// The message of this class and id.
    Row(Class, u64),
    /// A message that was asked for again, or a state: nobody waits for it.
    Again,
}

/// Windows over the classes, and what was asked for again.
#[derive(Debug, Default)]
pub struct Lane {
    online: bool,
    windows: [Window; Class::ALL.len()],
    again: VecDeque<Row>,
    /// States that the broker may have forgotten; bounded by their topics.
    states: VecDeque<Row>,
    /// How many connections there were.
    connections: u64,
}

#[derive(Debug, Default)]
struct Window {
    rows: VecDeque<Waiting>,
    bytes: usize,
    /// How many from the front this connection has sent.
    sent: usize,
    /// All up to this id are acknowledged or given up.
    done_through: u64,
}

#[derive(Debug)]
struct Waiting {
    row: Row,
    /// It was sent in an earlier connection, and not acknowledged.
    unconfirmed: bool,
    /// It comes later than it was made: there was no connection, or it was sent before.
    late: bool,
    acknowledged: bool,
}

impl Lane {
    /// Whether the window of a class takes another message.
    pub fn has_room(&self, class: Class) -> bool {
        self.room(class) > 0
    }

    /// How many more messages the window of a class takes; the last of them may go beyond its bytes.
    pub fn room(&self, class: Class) -> usize {
        let window = &self.windows[class as usize];
        if window.bytes < BYTES_FULL { ROWS_MAX - window.rows.len() } else { 0 }
    }

    /// Adds the message that follows the last of its class. `late` says that it was not made just now.
    ///
    /// # Panics
    /// Where its id does not follow.
    pub fn put(&mut self, row: Row, late: bool) {
        let late = late || !self.online;
        // What comes makes the state of its topic an old one.
        self.states.retain(|state| state.entry.topic != row.entry.topic);
        let window = &mut self.windows[row.entry.class as usize];
        let last = window.rows.back().map_or(window.done_through, |waiting| waiting.row.id);
        assert!(row.id > last, "ids of a class rise: {} after {last}", row.id);
        window.bytes += row.entry.body.len();
        window.rows.push_back(Waiting { row, unconfirmed: false, late, acknowledged: false });
    }

    /// The id of the last message that was put, or that went before; what follows on the disk is put next.
    pub fn last_id(&self, class: Class) -> u64 {
        let window = &self.windows[class as usize];
        window.rows.back().map_or(window.done_through, |waiting| waiting.row.id)
    }

    /// All messages of the class up to this id are acknowledged, or were given up.
    pub fn done_through(&self, class: Class) -> u64 {
        self.windows[class as usize].done_through
    }

    /// The store has given up the messages of a class up to this id, or begins behind it.
    pub fn skip_through(&mut self, class: Class, id: u64) {
        let window = &mut self.windows[class as usize];
        while window.rows.front().is_some_and(|waiting| waiting.row.id <= id) {
            window.pop();
        }
        window.done_through = window.done_through.max(id);
    }

    /// The store has given up the messages of a class after one id and up to another, and keeps those before them.
    pub fn forget(&mut self, class: Class, after: u64, through: u64) {
        let window = &mut self.windows[class as usize];
        let start = window.rows.partition_point(|waiting| waiting.row.id <= after);
        let end = window.rows.partition_point(|waiting| waiting.row.id <= through);
        window.sent -= window.sent.clamp(start, end.max(start)) - start;
        window.bytes -=
            window.rows.drain(start..end.max(start)).map(|waiting| waiting.row.entry.body.len()).sum::<usize>();
        if start == 0 {
            window.done_through = window.done_through.max(through);
        }
    }

    /// The class begins again behind this id, which may be an earlier one: what waits is put once more, under ids that no
    /// message on the wire has.
    pub fn restart(&mut self, class: Class, id: u64) {
        self.states.clear();
        self.windows[class as usize] = Window { done_through: id, ..Window::default() };
    }

    /// Whether nothing waits, on the wire included.
    pub fn is_empty(&self) -> bool {
        self.again.is_empty() && self.states.is_empty() && self.windows.iter().all(|window| window.rows.is_empty())
    }

    /// Whether another message may be asked for again.
    pub fn has_room_again(&self) -> bool {
        self.again.len() < AGAIN_ROWS_MAX
    }

    /// Sends a message once more, ahead of events. Without a connection it is dropped: who asked for it is gone, too.
    pub fn put_again(&mut self, row: Row) {
        if self.online {
            self.again.push_back(row);
        }
    }

    /// How many connections there were, and whether one stands.
    pub fn connections(&self) -> (u64, bool) {
        (self.connections, self.online)
    }

    /// Sends the newest message of a retained topic once more, ahead of events, unless it waits or was just sent anyway. It
    /// goes behind whatever of its topic was put before, and not at all where a newer one is put before it is sent.
    pub fn put_state(&mut self, row: &Row) {
        if self.online && row.id <= self.windows[row.entry.class as usize].done_through {
            self.states.retain(|state| state.entry.topic != row.entry.topic);
            self.states.push_back(row.clone());
        }
    }

    /// A connection stands: what was not acknowledged is to be sent.
    pub fn connected(&mut self) {
        self.online = true;
        self.connections += 1;
    }

    /// The connection is lost.
    pub fn disconnected(&mut self) {
        self.online = false;
        self.again.clear();
        self.states.clear();
        for window in &mut self.windows {
            for waiting in window.rows.iter_mut().take(window.sent) {
                waiting.unconfirmed = !waiting.acknowledged;
                // An older one of its topic may come again before it, and must not be the last word.
                waiting.acknowledged &= !waiting.row.entry.retain;
            }
            for waiting in &mut window.rows {
                waiting.late = true;
            }
            window.sent = 0;
        }
    }

    /// The next message of the first class for this connection, whether it was sent before without an answer, and its key.
    pub fn next_first(&mut self) -> Option<(Outgoing, bool, Key)> {
        self.next_of(Class::First)
    }

    /// The next of all others, as [`Lane::next_first`].
    pub fn next_other(&mut self) -> Option<(Outgoing, bool, Key)> {
        if let Some(row) = self.states.pop_front().or_else(|| self.again.pop_front()) {
            return Some((on_the_wire(&row, true), false, Key::Again));
        }
        self.next_of(Class::Middle).or_else(|| self.next_of(Class::Last))
    }

    /// The broker has it.
    pub fn acknowledged(&mut self, key: Key) {
        let Key::Row(class, id) = key else { return };
        let window = &mut self.windows[class as usize];
        let Ok(place) = window.rows.binary_search_by_key(&id, |waiting| waiting.row.id) else { return };
        window.rows[place].acknowledged = true;
        while window.rows.front().is_some_and(|waiting| waiting.acknowledged) {
            window.pop();
        }
    }

    fn next_of(&mut self, class: Class) -> Option<(Outgoing, bool, Key)> {
        let window = &mut self.windows[class as usize];
        while window.rows.get(window.sent).is_some_and(|waiting| waiting.acknowledged) {
            window.sent += 1;
        }
        let waiting = window.rows.get(window.sent)?;
        window.sent += 1;
        Some((on_the_wire(&waiting.row, waiting.late), waiting.unconfirmed, Key::Row(class, waiting.row.id)))
    }
}

impl Window {
    fn pop(&mut self) {
        let Some(waiting) = self.rows.pop_front() else { return };
        self.bytes -= waiting.row.entry.body.len();
        self.sent = self.sent.saturating_sub(1);
        self.done_through = waiting.row.id;
    }
}

/// Longest number that is written into a message: two 64-bit integers and the keys.
const NUMBER_BYTES_MAX: usize = 90;

/// Whether a message can be sent, once it has its number.
///
/// # Errors
/// Where it never can.
pub fn check(topic: &str, body_bytes: usize) -> Result<(), Invalid> {
    let placeholder = BytesMut::zeroed(body_bytes + NUMBER_BYTES_MAX).freeze();
    Outgoing::new(topic.to_owned(), placeholder, Qos::AtLeastOnce, false, OUTGOING_BYTES_MAX).map(drop)
}

/// The packet of a message: a JSON object gets its number as its last keys.
fn on_the_wire(row: &Row, replayed: bool) -> Outgoing {
    let entry = &row.entry;
    let payload = if entry.numbered {
        let number = format!(",\"epoch\":{},\"seq\":{},\"replayed\":{replayed}}}", row.epoch, row.seq);
        let open = entry.body.strip_suffix(b"}").unwrap_or(&entry.body);
        let mut payload = BytesMut::with_capacity(open.len() + number.len());
        payload.put_slice(open);
        payload.put_slice(number.as_bytes());
        payload.freeze()
    } else {
        entry.body.clone()
    };
    Outgoing::new(entry.topic.clone(), payload, Qos::AtLeastOnce, entry.retain, usize::MAX)
        .expect("topic and length were checked before the message was kept")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use jiff::Timestamp;

    use super::*;
    use crate::store::Entry;

    fn row(class: Class, id: u64) -> Row {
        let body = Bytes::from(format!("{{\"n\":{id}}}"));
        let entry =
            Entry { class, topic: "t".into(), retain: false, numbered: true, body, made_at: Timestamp::UNIX_EPOCH };
        Row { id, epoch: 7, seq: id, entry }
    }

    fn online() -> Lane {
        let mut lane = Lane::default();
        lane.connected();
        lane
    }

    fn sent(lane: &mut Lane) -> Vec<(Key, bool)> {
        let next = || lane.next_first().or_else(|| lane.next_other());
        std::iter::from_fn(next).map(|(_, again, key)| (key, again)).collect()
    }

    #[test]
    fn the_first_class_goes_first_and_each_in_order() {
        let mut lane = online();
        lane.put(row(Class::Last, 1), false);
        lane.put(row(Class::Middle, 1), false);
        lane.put(row(Class::Middle, 2), false);
        lane.put(row(Class::First, 1), false);
        let keys: Vec<Key> = sent(&mut lane).into_iter().map(|(key, _)| key).collect();
        assert_eq!(
            keys,
            [
                Key::Row(Class::First, 1),
                Key::Row(Class::Middle, 1),
                Key::Row(Class::Middle, 2),
                Key::Row(Class::Last, 1)
            ]
        );
    }

    #[test]
    fn a_lost_connection_sends_all_again_from_the_oldest_unanswered() {
        let mut lane = online();
        (1..=4).for_each(|id| lane.put(row(Class::Middle, id), false));
        for _ in 0..3 {
            lane.next_other().unwrap();
        }
        lane.acknowledged(Key::Row(Class::Middle, 1));
        lane.acknowledged(Key::Row(Class::Middle, 3));
        assert_eq!(lane.done_through(Class::Middle), 1);
        lane.disconnected();
        lane.connected();
        assert_eq!(sent(&mut lane), [(Key::Row(Class::Middle, 2), true), (Key::Row(Class::Middle, 4), false)]);
        lane.acknowledged(Key::Row(Class::Middle, 2));
        assert_eq!(lane.done_through(Class::Middle), 3);
        lane.acknowledged(Key::Row(Class::Middle, 4));
        assert!(lane.is_empty());
        assert_eq!(lane.last_id(Class::Middle), 4);
    }

    #[test]
    fn the_number_stands_in_the_message_and_says_whether_it_is_late() {
        let mut lane = online();
        lane.put(row(Class::Middle, 1), false);
        let text = |outgoing: &Outgoing| String::from_utf8(outgoing.payload().to_vec()).unwrap();
        assert_eq!(text(&lane.next_other().unwrap().0), r#"{"n":1,"epoch":7,"seq":1,"replayed":false}"#);
        lane.disconnected();
        lane.connected();
        assert_eq!(text(&lane.next_other().unwrap().0), r#"{"n":1,"epoch":7,"seq":1,"replayed":true}"#);
        let mut offline = Lane::default();
        offline.put(row(Class::Middle, 1), false);
        offline.connected();
        assert!(text(&offline.next_other().unwrap().0).contains("\"replayed\":true"));
    }

    #[test]
    fn what_the_store_gave_up_is_not_waited_for() {
        let mut lane = online();
        (1..=3).for_each(|id| lane.put(row(Class::Last, id), false));
        lane.next_other().unwrap();
        lane.skip_through(Class::Last, 2);
        lane.acknowledged(Key::Row(Class::Last, 1));
        assert_eq!(sent(&mut lane), [(Key::Row(Class::Last, 3), false)]);
        lane.skip_through(Class::Last, 10);
        assert_eq!((lane.is_empty(), lane.last_id(Class::Last)), (true, 10));
        lane.put(row(Class::Last, 11), false);
    }

    #[test]
    fn what_lies_before_the_given_up_is_still_sent() {
        let mut lane = online();
        [1, 2, 101, 102, 103].into_iter().for_each(|id| lane.put(row(Class::Middle, id), false));
        for _ in 0..4 {
            lane.next_other().unwrap();
        }
        lane.forget(Class::Middle, 100, 102);
        assert_eq!(sent(&mut lane), [(Key::Row(Class::Middle, 103), false)]);
        assert_eq!(lane.done_through(Class::Middle), 0);
        (1..=2).for_each(|id| lane.acknowledged(Key::Row(Class::Middle, id)));
        assert_eq!(lane.done_through(Class::Middle), 2);
        lane.acknowledged(Key::Row(Class::Middle, 103));
        lane.forget(Class::Middle, 100, 200);
        assert_eq!((lane.is_empty(), lane.done_through(Class::Middle)), (true, 200));
    }

    #[test]
    fn windows_are_bounded() {
        let mut lane = online();
        (1..=ROWS_MAX as u64).for_each(|id| lane.put(row(Class::Middle, id), false));
        assert!(!lane.has_room(Class::Middle) && lane.has_room(Class::Last));
        let mut large = row(Class::Last, 1);
        large.entry.body = Bytes::from(vec![0; BYTES_FULL]);
        lane.put(large, false);
        assert!(!lane.has_room(Class::Last));
    }

    #[test]
    fn what_is_asked_for_again_goes_between_and_not_without_a_connection() {
        let mut lane = online();
        lane.put(row(Class::Middle, 5), false);
        lane.put(row(Class::First, 1), false);
        lane.put_again(row(Class::Middle, 2));
        let keys: Vec<Key> = sent(&mut lane).into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, [Key::Row(Class::First, 1), Key::Again, Key::Row(Class::Middle, 5)]);
        lane.put_again(row(Class::Middle, 2));
        lane.disconnected();
        lane.put_again(row(Class::Middle, 3));
        lane.connected();
        assert!(lane.again.is_empty());
    }
}
