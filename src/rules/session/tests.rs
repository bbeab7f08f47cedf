//! Sessions by schedule: midnight, summer time, clocks that are wrong or unknown, processes that were down.

use super::*;

const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;

/// Three shifts, and one session that is open.
struct Shifts {
    sessions: Sessions,
    moment: i64,
}

impl Shifts {
    fn new(hours: &[u64]) -> Self {
        let schedule = hours.iter().map(|hour| Duration::from_secs(hour * 3600)).collect();
        let mut sessions = Sessions::new(&SessionSettings { schedule, ..SessionSettings::default() });
        sessions.open(Moment::from_micros(0), None);
        Self { sessions, moment: 0 }
    }

    /// Whether the session ends at this local time, `passed` after the last question; then another begins.
    fn asked(&mut self, passed: i64, local_micros: Option<i64>) -> bool {
        self.moment += passed;
        let moment = Moment::from_micros(self.moment);
        let due = self.sessions.is_due(Now { moment, local_micros });
        if due {
            self.sessions.close(moment, Closing::Schedule);
            self.sessions.open(moment, None);
        }
        due
    }

    /// At which minutes of the local time a session ends, of these.
    fn ends(&mut self, minutes: impl Iterator<Item = i64>) -> Vec<i64> {
        minutes.filter(|minute| self.asked(HOUR / 60, Some(minute * HOUR / 60))).collect()
    }

    fn restart(&mut self) {
        let text = serde_json::to_string(&self.sessions.memory()).unwrap();
        let mut sessions = Sessions::new(&self.sessions.settings);
        sessions.recall(serde_json::from_str(&text).unwrap(), Moment::from_micros(self.moment));
        assert_eq!((&sessions.last, sessions.mark_micros), (&self.sessions.last, self.sessions.mark_micros));
        self.sessions = sessions;
    }
}

#[test]
fn shifts_end_on_time_over_midnight_and_once_each() {
    let day = |day: i64, hour: i64| (day * 24 + hour) * 60;
    let mut shifts = Shifts::new(&[0, 6, 14]);
    let ends = shifts.ends(day(100, 5)..day(102, 7));
    let expected = [(100, 6), (100, 14), (101, 0), (101, 6), (101, 14), (102, 0), (102, 6)];
    assert_eq!(ends, expected.map(|(number, hour)| day(number, hour)));
}

#[test]
fn an_hour_that_is_left_out_or_comes_twice_ends_a_shift_once() {
    // Spring: after 1:59 comes 3:00. Autumn: after 2:59 comes 2:00 again.
    let mut shifts = Shifts::new(&[2]);
    assert_eq!(shifts.ends((0..120).chain(180..600)), [180]);
    let mut shifts = Shifts::new(&[2]);
    assert_eq!(shifts.ends((0..180).chain(120..600)), [120]);
}

#[test]
fn what_passed_while_the_process_was_down_ends_the_session_once() {
    for (down, ends) in [(HOUR, false), (2 * HOUR, true), (50 * HOUR, true)] {
        let mut shifts = Shifts::new(&[6, 14]);
        let local = 100 * DAY + 4 * HOUR;
        assert!(!shifts.asked(0, Some(local)));
        shifts.restart();
        assert_eq!(shifts.asked(down, Some(local + down)), ends);
        assert!(!shifts.asked(1, Some(local + down + 1)));
    }
}

#[test]
fn while_the_clock_is_unknown_nothing_ends_and_what_passed_counts_once_it_is_known() {
    let local = 100 * DAY + 5 * HOUR;
    // Known, unknown over six o'clock, and known again.
    let mut shifts = Shifts::new(&[6]);
    assert!(!shifts.asked(0, Some(local)));
    assert!((0..20).all(|_| !shifts.asked(HOUR / 10, None)));
    assert!(shifts.asked(0, Some(local + 2 * HOUR)));
    // Unknown from the beginning: the session began before six.
    let mut shifts = Shifts::new(&[6]);
    assert!((0..20).all(|_| !shifts.asked(HOUR / 10, None)));
    assert!(shifts.asked(0, Some(local + 2 * HOUR)));
    // It began after six.
    let mut shifts = Shifts::new(&[6]);
    assert!(!shifts.asked(HOUR / 10, None));
    assert!(!shifts.asked(0, Some(local + 2 * HOUR)));
    assert!(shifts.asked(DAY, Some(local + DAY + 2 * HOUR)));
}

#[test]
fn a_clock_that_was_far_ahead_does_not_silence_the_schedule() {
    let mut shifts = Shifts::new(&[6]);
    let local = 100 * DAY + 5 * HOUR;
    assert!(!shifts.asked(0, Some(local)));
    assert!(shifts.asked(1, Some(local + 10_000 * DAY)));
    assert!(!shifts.asked(1, Some(local)));
    assert!(shifts.asked(HOUR, Some(local + HOUR)));
}

#[test]
fn a_moment_of_the_future_becomes_the_present() {
    let mut shifts = Shifts::new(&[]);
    shifts.sessions.open(Moment::from_micros(500), None);
    shifts.sessions.close(Moment::from_micros(600), Closing::Empty);
    let memory = shifts.sessions.memory();
    shifts.sessions.recall(memory, Moment::from_micros(100));
    let now = Moment::from_micros(100);
    let session = shifts.sessions.last().unwrap();
    assert_eq!((session.opened_at, session.closed, session.number), (now, Some((now, Closing::Empty)), 2));
}
