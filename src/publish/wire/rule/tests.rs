//! One message of each kind that a rule may say, byte by byte.

use std::{sync::Arc, time::Duration};

use super::{
    super::tests::{assert_golden, reading, wire},
    *,
};
use crate::{
    detection::{Detection, Geometry},
    event::{
        Alarm, AlarmState, ClassCount, Closing, Count, Crossed, Deadline, Defect, Entry, EntryKind, Item, Judgement,
        Priority, Session, Step, Total, Verdict, Way,
    },
    geometry::{BoxPx, Size},
    moment::Moment,
};

/// The process began an hour before the messages are made.
fn timeline(now: &Reading) -> Timeline {
    let hour = Duration::from_secs(3600);
    Timeline::new(Reading { instant: now.instant - hour, timestamp: now.timestamp - hour, ..*now })
}

struct Scene {
    now: Reading,
    timeline: Timeline,
    frame: FrameFacts,
    model: ModelIdentity,
}

impl Scene {
    fn new() -> Self {
        let now = reading();
        let frame = FrameFacts {
            seq: 1207,
            size: Size { width: 1280, height: 720 },
            dropped: 0,
            captured_at: now.instant - Duration::from_micros(61_234),
            taken_at: now.instant - Duration::from_micros(48_004),
        };
        let model = ModelIdentity { name: "boards".into(), sha256: "9f86d081884c7d65".repeat(4) };
        Self { now, timeline: timeline(&now), frame, model }
    }

    /// So many milliseconds before the message is made.
    fn ago(&self, ms: u64) -> Moment {
        self.timeline.moment(self.now.instant - Duration::from_millis(ms))
    }

    /// An event that the frame decided.
    fn seen(&self, rule: &str, what: What) -> Event {
        let steps = [(261, 1199, 0.91), (161, 1203, 0.874_321)].map(|(ms, frame, score)| Step {
            at: self.ago(ms),
            frame: Some(frame),
            score: Some(score),
            meant: "hit".into(),
        });
        Event {
            id: format!("in-{rule}-64b9f1c2d3e80-7"),
            rule: rule.into(),
            at: self.timeline.moment(self.frame.captured_at),
            frame: Some(self.frame.seq),
            what,
            because: steps.to_vec(),
        }
    }

    /// An event that an order or the time decided.
    fn told(&self, rule: &str, what: What, meant: &str) -> Event {
        let step = Step { at: self.ago(2), frame: None, score: None, meant: meant.into() };
        Event { at: self.ago(2), frame: None, because: vec![step], ..self.seen(rule, what) }
    }

    fn message(&self, event: &Event) -> Message {
        let decided = event.frame.map(|_| (&self.frame, &self.model));
        wire().rule(&self.now, &self.timeline, "in", decided, event)
    }

    fn alarm(&self) -> Alarm {
        Alarm {
            state: AlarmState::Unacknowledged,
            active: true,
            priority: Priority::High,
            since: self.ago(61),
            raised_at: Some(self.ago(61)),
            raises: 3,
            reason: "scratch in 3 of 5 frames, with 0.91".into(),
            evidence: Some("in-jam-64b9f1c2d3e80-7".into()),
            shelved_until: None,
        }
    }

    fn count(&self) -> Count {
        let class = |name: &str, incoming, outgoing| ClassCount { name: name.into(), incoming, outgoing };
        Count {
            session: Session { number: 12, external_id: None, opened_at: self.ago(600_000), closed: None },
            classes: vec![class("bottle", 140, 3), class("can", 2, 5)],
            ever_in: 90_142,
            ever_out: 611,
        }
    }

    fn total(&self) -> Total {
        let item = |name: &str, quantity, price_minor| Item {
            name: name.into(),
            quantity,
            price_minor,
            amount_minor: quantity * price_minor,
        };
        Total {
            session: Session { number: 4, external_id: Some("till-1".into()), opened_at: self.ago(9000), closed: None },
            items: vec![item("apple", 3, 45), item("milk", 1, 1099)],
            sum_minor: 1234,
            currency: "EUR".into(),
            decimals: 2,
            entry: Entry {
                number: 31,
                at: self.ago(61),
                kind: EntryKind::Put,
                name: Some("apple".into()),
                quantity: 1,
                amount_minor: 45,
                note: None,
            },
            expected: None,
        }
    }
}

#[test]
fn an_alarm_says_its_state() {
    let scene = Scene::new();
    let raised = scene.alarm();
    assert_golden("alarm-raised.txt", &scene.message(&scene.seen("jam", What::Alarm(raised.clone()))));
    let shelved = Alarm {
        state: AlarmState::Shelved,
        active: false,
        since: scene.ago(2),
        reason: "shelved for 600 s by command".into(),
        shelved_until: Some(scene.ago(2) + Duration::from_secs(600)),
        ..raised.clone()
    };
    assert_golden("alarm-shelved.txt", &scene.message(&scene.told("jam", What::Alarm(shelved), "shelved")));
    let normal = Alarm {
        state: AlarmState::Normal,
        active: false,
        raised_at: None,
        raises: 0,
        reason: "nothing was seen yet".into(),
        evidence: None,
        ..raised
    };
    let first = Event { because: Vec::new(), ..scene.told("jam", What::Alarm(normal), "") };
    assert_golden("alarm-first.txt", &scene.message(&first));
}

#[test]
fn a_part_is_judged() {
    let scene = Scene::new();
    let defect = |name: &str, frames, confidence| Defect { name: name.into(), frames, confidence };
    let failed = Verdict {
        part: 4711,
        external_id: Some("lot 7/\"3\"".into()),
        track: Some(88),
        judgement: Judgement::Fail,
        opened_at: scene.ago(900),
        triggered_at: scene.ago(61),
        frames: 12,
        frames_bad: 9,
        defects: vec![defect("scratch", 9, 0.914_213_4), defect("dent", 2, 0.5)],
        deadline: Some(Deadline::At(scene.ago(61) + Duration::from_millis(350))),
        missed: false,
    };
    assert_golden("verdict-fail.txt", &scene.message(&scene.seen("board", What::Verdict(failed.clone()))));
    let unsure = Verdict {
        external_id: None,
        track: None,
        judgement: Judgement::Unsure,
        frames: 0,
        frames_bad: 0,
        defects: Vec::new(),
        deadline: Some(Deadline::Ticks(90_120)),
        missed: true,
        ..failed
    };
    let what = What::Verdict(unsure);
    assert_golden("verdict-unsure.txt", &scene.message(&scene.told("board", what, "closed by command")));
}

#[test]
fn a_counter_says_where_it_stands() {
    let scene = Scene::new();
    let open = scene.count();
    assert_golden("count.txt", &scene.message(&scene.seen("bottles", What::Count(open.clone()))));
    let closed = Count {
        session: Session {
            external_id: Some("shift A".into()),
            closed: Some((scene.ago(2), Closing::Schedule)),
            ..open.session.clone()
        },
        ..open
    };
    assert_golden("count-closed.txt", &scene.message(&scene.told("bottles", What::Count(closed), "06:00")));
}

#[test]
fn a_sum_is_exact_and_compared_with_what_is_expected() {
    let scene = Scene::new();
    let open = scene.total();
    assert_golden("total.txt", &scene.message(&scene.seen("till", What::Total(open.clone()))));
    let voided = Total {
        sum_minor: -5,
        currency: "TND".into(),
        decimals: 3,
        entry: Entry {
            kind: EntryKind::Void,
            quantity: -1,
            amount_minor: -1099,
            note: Some("dropped".into()),
            ..open.entry.clone()
        },
        expected: Some(vec![("milk".into(), 1), ("bread".into(), 2)]),
        ..open.clone()
    };
    assert_golden("total-expected.txt", &scene.message(&scene.told("till", What::Total(voided), "void of 1 milk")));
    let complete = Total { decimals: 0, expected: Some(vec![("apple".into(), 3), ("milk".into(), 1)]), ..open };
    let message = scene.message(&scene.told("till", What::Total(complete), "expected"));
    let body: Value = serde_json::from_slice(&message.payload).unwrap();
    assert_eq!((&body["total"]["complete"], &body["total"]["sum"]), (&Value::from(true), &Value::from("1234")));
}

#[test]
fn what_crosses_a_line_is_an_event_of_the_camera() {
    let scene = Scene::new();
    let what = What::Crossed(Crossed { track: 88, name: "bottle".into(), way: Way::Out });
    assert_golden("event-crossed.txt", &scene.message(&scene.seen("bottles", what)));
}

#[test]
fn a_thing_has_its_track() {
    let scene = Scene::new();
    let bounds = BoxPx { x1: 10.5, y1: 20.25, x2: 110.0, y2: 99.75 };
    let detection = Detection {
        class: 2,
        name: Arc::from("scratch"),
        confidence: 0.914_213_4,
        geometry: Geometry::Box(bounds),
        track_id: Some(88),
    };
    for (change, word) in [(Change::Appeared, "appeared"), (Change::Changed, "changed"), (Change::Left, "left")] {
        let thing = Thing { id: "in-64b9f1c2d3e80-7".into(), change, detection: detection.clone() };
        let message = wire().thing(&scene.now, "in", (&scene.frame, &scene.model), &thing);
        let body: Value = serde_json::from_slice(&message.payload).unwrap();
        assert_eq!(body["event"]["kind"], word);
        if change == Change::Appeared {
            assert_golden("event-tracked.txt", &message);
        }
    }
}

#[test]
fn a_picture_is_sent_last_and_as_it_is() {
    let message = wire().snapshot("in", "in-jam-64b9f1c2d3e80-7", Bytes::from_static(b"\xff\xd8\xff\xd9"));
    assert_eq!(message.topic, "andon/press-4/in/snapshot/in-jam-64b9f1c2d3e80-7");
    assert_eq!(message.payload, b"\xff\xd8\xff\xd9"[..]);
    assert_eq!(message.delivery, Delivery::Kept { class: Class::Last, retain: false, numbered: false });
}
