//! Counting by line and by zone, over everything that a belt, a camera and a process do.

use std::{collections::BTreeMap, time::Duration};

use super::testing::{Bench, LINE, count, zone};
use crate::{
    event::{Closing, What},
    geometry::Point,
    moment::Moment,
    random::Rng,
    rules::{Input, Kind, Memory, Order, Place, Rules, SessionSettings, Settings, Sight, TotalSettings},
    track::{Track, TrackState},
};

fn by_command() -> SessionSettings {
    SessionSettings { by_command: true, ..SessionSettings::default() }
}

fn closings(bench: &Bench) -> Vec<(u64, Closing)> {
    let closing = |what: &What| match what {
        What::Count(count) => count.session.closed.map(|(_, closing)| (count.session.number, closing)),
        _ => None,
    };
    let mut closings: Vec<_> = bench.events.iter().filter_map(|event| closing(&event.what)).collect();
    closings.dedup();
    closings
}

#[test]
fn things_are_counted_by_class_and_way_and_each_is_told() {
    let mut bench = Bench::counting(Place::Line(LINE), SessionSettings::default());
    bench.frame(&[(1, "nut", (250., 100.)), (2, "bolt", (350., 200.))]);
    bench.frame(&[(1, "nut", (300., 100.)), (2, "bolt", (300., 200.))]);
    bench.frame(&[(1, "nut", (330., 100.)), (2, "bolt", (270., 200.)), (3, "nut", (250., 300.))]);
    bench.frame(&[(3, "nut", (350., 300.))]);
    let count = bench.counted();
    let classes: Vec<_> =
        count.classes.iter().map(|class| (&*class.name, class.incoming, class.outgoing, class.net())).collect();
    assert_eq!(classes, [("nut", 2, 0, 2), ("bolt", 0, 1, -1)]);
    assert_eq!((count.ever_in, count.ever_out, count.session.number), (2, 1, 1));
    // The session began, and then a crossing and a count each.
    let told: Vec<_> = bench.events.iter().map(|event| (event.frame, matches!(event.what, What::Crossed(_)))).collect();
    let (third, fourth) = (Some(3), Some(4));
    assert_eq!(
        told,
        [(None, false), (third, true), (third, false), (third, true), (third, false), (fourth, true), (fourth, false)]
    );
    assert_eq!(bench.events[1].because[0].meant, "track 1 crossed the line inwards");
    assert_eq!(bench.events[1].because[0].score, Some(0.9));
}

#[test]
fn only_wanted_classes_count_and_only_when_they_were_sure_once() {
    let mut settings = count(Place::Line(LINE), SessionSettings::default());
    settings.classes = vec!["nut".to_owned()];
    let mut bench = Bench::new(Kind::Count(settings));
    for x in [250., 350.] {
        let unsure = Track { confidence_max: 0.4, ..bench.track(&(3, "nut", (x, 300.))) };
        let tracks = [bench.track(&(1, "nut", (x, 100.))), bench.track(&(2, "rag", (x, 200.))), unsure];
        bench.tracks(&tracks);
    }
    assert_eq!(bench.in_out(), (1, 0));
}

/// A belt with things every 60 pixels that stops, goes, backs up and trembles; each thing is missed in a tenth of the frames.
struct Belt {
    rng: Rng,
    moved: f32,
    speed: f32,
    tracks: BTreeMap<usize, Track>,
    things: usize,
    gone: usize,
    next: u64,
}

impl Belt {
    const APART: f32 = 60.0;

    fn new(things: usize) -> Self {
        Self { rng: Rng::new(11, 1), moved: 0.0, speed: 0.0, tracks: BTreeMap::new(), things, gone: 0, next: 0 }
    }

    /// The tracks of the next frame.
    fn tracks(&mut self, now: Moment) -> Vec<Track> {
        let rng = &mut self.rng;
        if rng.chance(10) {
            self.speed = match rng.below(4) {
                0 => 0.0,
                1 => -rng.between(1, 8) as f32,
                _ => rng.between(1, 60) as f32,
            };
        }
        self.moved += self.speed;
        for index in self.gone..self.things {
            let x = self.moved - index as f32 * Self::APART;
            if x < 0.0 {
                break;
            }
            if x > 640.0 {
                // What has left the picture does not come back.
                self.tracks.remove(&index);
                self.gone = index + 1;
                continue;
            }
            let x = x + rng.between(-3, 3) as f32;
            let next = &mut self.next;
            let track = self.tracks.entry(index).or_insert_with(|| {
                *next += 1;
                let name = if index % 3 == 0 { "nut" } else { "bolt" };
                Track { seen: 0, ..Bench::counting(Place::Line(LINE), by_command()).track(&(*next, name, (x, 240.))) }
            });
            if track.seen > 0 && rng.chance(10) {
                track.state = TrackState::Lost;
                continue;
            }
            track.bounds = crate::geometry::BoxPx::from_center(x, 240., 40., 40.);
            track.velocity = Point { x: self.speed * 10.0, y: 0.0 };
            track.seen += 1;
            track.last_seen = now;
            track.state = if track.seen == 1 { TrackState::New } else { TrackState::Seen };
        }
        let mut tracks: Vec<_> = self.tracks.values().cloned().collect();
        tracks.sort_by_key(|track| track.id);
        tracks
    }

    fn is_empty(&self) -> bool {
        self.gone == self.things
    }
}

#[test]
fn every_thing_on_a_restless_belt_is_counted_once_and_a_process_that_ends_changes_nothing() {
    const THINGS: usize = 3000;
    let run = |place: Place, restarts: i32| {
        let mut bench = Bench::counting(place, SessionSettings::default());
        let mut belt = Belt::new(THINGS);
        let mut rng = Rng::new(12, 1);
        let (mut restarted, mut frames) = (0, 0);
        while !belt.is_empty() && frames < 100_000 {
            let tracks = belt.tracks(bench.now.moment);
            bench.tracks(&tracks);
            frames += 1;
            if restarted < restarts && rng.chance(1) {
                bench.restart();
                restarted += 1;
            }
        }
        assert!(belt.is_empty(), "the belt moved on");
        assert_eq!(restarted, restarts);
        bench.frames(100, &[]);
        bench
    };
    let (whole, broken) = (run(Place::Line(LINE), 0), run(Place::Line(LINE), 50));
    assert_eq!(whole.events, broken.events);
    let count = broken.counted();
    let classes: Vec<_> = count.classes.iter().map(|class| (&*class.name, class.incoming, class.outgoing)).collect();
    assert_eq!(classes, [("nut", 1000, 0), ("bolt", 2000, 0)]);
    assert_eq!((count.ever_in, count.ever_out), (3000, 0));
    let (whole, broken) = (run(zone(), 0), run(zone(), 50));
    assert_eq!(whole.events, broken.events);
    let count = broken.counted();
    assert!(count.ever_in > 2000 && count.ever_in == count.ever_out, "{count:?}");
}

#[test]
fn what_passes_a_zone_is_not_counted_and_what_stays_is_until_it_is_not_seen_there() {
    let mut bench = Bench::counting(zone(), SessionSettings::default());
    bench.frames(4, &[(1, "cup", (200., 200.))]);
    bench.frames(30, &[(1, "cup", (50., 200.))]);
    assert_eq!(bench.in_out(), (0, 0));
    bench.frames(7, &[(2, "cup", (200., 200.))]);
    assert_eq!(bench.in_out(), (1, 0));
    // It trembles at the edge, and is hidden.
    bench.frames(15, &[(2, "cup", (99., 200.))]);
    bench.frames(1, &[(2, "cup", (101., 200.))]);
    bench.frames(19, &[]);
    assert_eq!(bench.in_out(), (1, 0));
    bench.frames(2, &[]);
    assert_eq!(bench.in_out(), (1, 1));
    assert_eq!(bench.events.last().unwrap().because[0].meant, "track 2 was not seen in the zone any more");
}

#[test]
fn a_hand_over_the_zone_takes_nothing_out_of_it() {
    let mut bench = Bench::counting(zone(), SessionSettings::default());
    bench.frames(8, &[(1, "cup", (200., 200.)), (2, "can", (300., 200.))]);
    bench.frames(15, &[]);
    // They are found again, under other numbers.
    bench.frames(60, &[(3, "cup", (205., 198.)), (4, "can", (300., 210.))]);
    assert_eq!(bench.in_out(), (2, 0));
    // Under the hand one was exchanged for another.
    bench.frames(15, &[(3, "cup", (205., 198.))]);
    bench.frames(60, &[(3, "cup", (205., 198.)), (5, "pen", (300., 210.))]);
    assert_eq!(bench.in_out(), (3, 1));
}

#[test]
fn nothing_goes_while_the_camera_is_blind_or_away() {
    let empty_after = Some(Duration::from_secs(3));
    let mut bench = Bench::counting(zone(), SessionSettings { empty_after, ..SessionSettings::default() });
    let cup = [(1, "cup", (200., 200.))];
    bench.frames(8, &cup);
    bench.take(Input::Camera(&Sight { sees: false, reason: "it is dark".to_owned() }));
    bench.frames(100, &[]);
    bench.take(Input::Camera(&Sight { sees: true, reason: String::new() }));
    bench.frames(5, &[(2, "cup", (200., 200.))]);
    assert_eq!(bench.in_out(), (1, 0));
    // No frame for an hour, and another process.
    bench.wait(Duration::from_secs(3600));
    bench.restart();
    bench.frame(&[]);
    bench.frames(50, &[(3, "cup", (200., 200.))]);
    assert_eq!(bench.in_out(), (1, 0));
    assert_eq!(closings(&bench), []);
}

#[test]
fn an_empty_scene_ends_the_session_and_the_next_thing_begins_another() {
    let empty_after = Some(Duration::from_secs(3));
    let mut bench = Bench::counting(Place::Line(LINE), SessionSettings { empty_after, ..SessionSettings::default() });
    bench.frames(100, &[]);
    assert!(bench.events.is_empty());
    for (id, number) in [(1, 1), (2, 2)] {
        bench.frame(&[(id, "cup", (250., 100.))]);
        bench.frame(&[(id, "cup", (350., 100.))]);
        bench.frames(20, &[(id, "cup", (400., 100.))]);
        assert_eq!((bench.counted().session.number, bench.counted().session.closed), (number, None));
        bench.frames(31, &[]);
        assert_eq!(closings(&bench).last(), Some(&(number, Closing::Empty)));
    }
    // One that was opened by command waits for its first thing.
    bench.order(&Order::Open { external_id: Some("lot 7".to_owned()), expected: None }).unwrap();
    bench.frames(100, &[]);
    let session = bench.counted().session;
    assert_eq!((session.number, session.external_id.as_deref(), session.closed), (3, Some("lot 7"), None));
    assert_eq!(bench.counted().ever_in, 2);
}

#[test]
fn without_an_open_session_nothing_is_counted_where_sessions_come_by_command() {
    let mut bench = Bench::counting(zone(), by_command());
    bench.frames(10, &[(1, "cup", (200., 200.))]);
    assert!(bench.events.is_empty() && bench.rules.states().next().is_none());
    assert_eq!(bench.order(&Order::Close).unwrap_err().to_string(), "rule \"it\" has no open session; open one first");
    bench.open();
    bench.frames(10, &[(1, "cup", (200., 200.)), (2, "cup", (300., 200.))]);
    bench.frames(30, &[]);
    assert_eq!(bench.in_out(), (1, 1));
    bench.frames(10, &[(3, "cup", (200., 200.))]);
    bench.order(&Order::Close).unwrap();
    let closed = bench.counted();
    bench.frames(30, &[]);
    // What leaves after the end is no part of the session, but has left.
    assert_eq!(bench.counted().classes, closed.classes);
    assert_eq!((bench.counted().ever_in, bench.counted().ever_out), (2, 2));
}

#[test]
fn a_crossing_without_a_session_is_told_and_not_counted_back_later() {
    let mut bench = Bench::counting(Place::Line(LINE), by_command());
    bench.frame(&[(1, "cup", (250., 100.))]);
    bench.frame(&[(1, "cup", (350., 100.))]);
    assert!(matches!(bench.events[..], [crate::event::Event { what: What::Crossed(_), .. }]));
    bench.open();
    bench.frame(&[(1, "cup", (250., 100.))]);
    bench.frames(50, &[]);
    assert_eq!(bench.in_out(), (0, 0));
}

#[test]
fn a_session_that_is_closed_has_what_went_back_until_then() {
    let mut bench = Bench::counting(Place::Line(LINE), by_command());
    bench.open();
    for x in [250., 350., 250.] {
        bench.frame(&[(1, "cup", (x, 100.))]);
    }
    assert_eq!(bench.in_out(), (1, 0));
    bench.order(&Order::Close).unwrap();
    assert_eq!(bench.in_out(), (1, 1));
    assert_eq!(closings(&bench), [(1, Closing::Command)]);
}

#[test]
fn reset_and_open_end_a_session_and_begin_another() {
    let mut bench = Bench::counting(Place::Line(LINE), SessionSettings::default());
    bench.frame(&[(1, "cup", (250., 100.))]);
    bench.frame(&[(1, "cup", (350., 100.))]);
    bench.order(&Order::Reset).unwrap();
    assert_eq!((bench.in_out(), bench.counted().session.number, bench.counted().ever_in), ((0, 0), 2, 1));
    bench.open();
    bench.order(&Order::Close).unwrap();
    bench.order(&Order::Reset).unwrap();
    assert_eq!(bench.counted().session.number, 4);
    assert_eq!(closings(&bench), [1, 2, 3].map(|number| (number, Closing::Command)));
}

#[test]
fn a_counter_refuses_what_it_cannot_do_in_a_sentence() {
    let mut bench = Bench::counting(Place::Line(LINE), SessionSettings::default());
    let void = Order::Void { name: "cup".to_owned(), quantity: 1, note: None };
    let open = Order::Open { external_id: None, expected: Some(Vec::new()) };
    for (order, words) in
        [(Order::Acknowledge, "are for alarms"), (void, "keeps no journal"), (open, "rule of kind \"total\"")]
    {
        let told = bench.order(&order).unwrap_err().to_string();
        assert!(told.contains(words) && told.contains("rule \"it\""), "{told}");
    }
    assert_eq!(bench.counted().session.number, 1);
}

#[test]
fn whatever_is_seen_asked_and_remembered_no_counter_fails_or_grows() {
    let mut rng = Rng::new(21, 1);
    let names = ["a", "b", "c"];
    for round in 0..40 {
        let place = if rng.chance(50) { zone() } else { Place::Line(LINE) };
        let session = SessionSettings {
            schedule: if rng.chance(50) { vec![Duration::from_secs(1), Duration::from_secs(80_000)] } else { vec![] },
            empty_after: rng.chance(50).then_some(Duration::from_millis(300)),
            by_command: rng.chance(30),
        };
        let count = count(place, session);
        let prices = vec![("a".to_owned(), i64::MAX / 3), ("b".to_owned(), 5), ("c".to_owned(), -7)];
        let total = TotalSettings { count: count.clone(), prices, currency: "EUR".to_owned(), decimals: 2 };
        let mut bench = Bench::new(if round % 2 == 0 { Kind::Count(count) } else { Kind::Total(total) });
        for _ in 0..200 {
            let mut tracks = Vec::new();
            for _ in 0..rng.below(20) {
                let name = rng.pick(&names);
                let id = if rng.chance(5) { rng.bits() } else { u64::from(rng.bits() as u8) };
                let place = (rng.between(-10, 650) as f32, rng.between(-10, 490) as f32);
                let mut track = bench.track(&(id, name, place));
                track.state = rng.pick(&[TrackState::New, TrackState::Seen, TrackState::Lost]);
                if rng.chance(5) {
                    track.bounds.x1 = rng.pick(&[f32::NAN, f32::INFINITY, f32::MIN]);
                }
                tracks.push(track);
            }
            tracks.sort_by_key(|track| track.id);
            tracks.dedup_by_key(|track| track.id);
            bench.tracks(&tracks);
            let quantity = rng.pick(&[i64::MIN, -1, 0, 1, 2, i64::MAX]);
            let (name, note) = (rng.pick(&["a", "b", "x"]).to_owned(), None);
            let expected = Some(vec![(name.clone(), quantity)]);
            let order = match rng.below(8) {
                0 => Order::Open { external_id: None, expected },
                1 => Order::Close,
                2 => Order::Reset,
                3 => Order::Void { name, quantity, note },
                4 | 5 => Order::Correct { name, quantity, note },
                _ => Order::Acknowledge,
            };
            let refused = bench.order(&order).is_err();
            assert!(refused || order != Order::Acknowledge);
            bench.take(Input::Tick);
            bench.now.local_micros = rng.chance(80).then(|| rng.pick(&[i64::MIN, i64::MAX, 0, 90_000_000_000]));
            if rng.chance(5) {
                bench.restart();
            }
        }
        let text = serde_json::to_string(&bench.rules.memory()).unwrap();
        assert!(text.len() < 400_000, "{}", text.len());
        // A memory with anything in the place of a number or a text: taken or left out.
        for _ in 0..20 {
            let at = usize::try_from(rng.below(i32::try_from(text.len()).unwrap())).unwrap();
            let wild = rng.pick(&["-1", "null", "9223372036854775807", "-9223372036854775808", "{}", "\"x\"", "1e300"]);
            let damaged = text.get(..at).zip(text.get(at + 1..)).map(|(a, b)| format!("{a}{wild}{b}")).unwrap();
            let Ok(memory) = serde_json::from_str::<Memory>(&damaged) else { continue };
            bench.rules.recall(&memory, bench.now);
            bench.frame(&[(1, "a", (200., 200.))]);
            bench.frames(3, &[(1, "a", (350., 200.))]);
            let _ = bench.order(&Order::Correct { name: "a".to_owned(), quantity: 1, note: None });
            let _ = bench.order(&Order::Reset);
        }
    }
}

#[test]
fn nothing_goes_in_front_of_a_camera_that_was_blind_before_a_restart() {
    let mut bench = Bench::counting(zone(), SessionSettings::default());
    bench.frames(8, &[(1, "cup", (300.0, 200.0))]);
    let sight = |sees| Sight { sees, reason: String::new() };
    bench.take(Input::Camera(&sight(false)));
    bench.restart();
    bench.frames(50, &[]);
    assert_eq!(bench.in_out(), (1, 0));
    bench.take(Input::Camera(&sight(true)));
    bench.frames(50, &[]);
    assert_eq!(bench.in_out(), (1, 1));
}

#[test]
fn a_memory_that_cannot_be_read_is_told_and_that_of_another_kind_of_place_is_not() {
    let mut bench = Bench::counting(zone(), SessionSettings::default());
    bench.frames(8, &[(1, "cup", (300.0, 200.0))]);
    let anew = |kind: Kind, change: &dyn Fn(&mut serde_json::Value)| {
        let mut memory = serde_json::to_value(bench.rules.memory()).unwrap();
        change(&mut memory["rules"]["it"]["state"]);
        let mut rules = Rules::new("cam", &[Settings { id: "it".to_owned(), kind }], bench.now.moment);
        rules.recall(&serde_json::from_value(memory).unwrap(), bench.now)
    };
    let kind = |place| Kind::Count(count(place, SessionSettings::default()));
    assert_eq!(anew(kind(zone()), &|_| ()), [""; 0]);
    assert_eq!(anew(kind(Place::Line(LINE)), &|_| ()), [""; 0]);
    for part in ["place", "sessions", "book"] {
        assert_eq!(anew(kind(zone()), &|state| state[part] = 7.into()), ["it"], "{part}");
    }
}
