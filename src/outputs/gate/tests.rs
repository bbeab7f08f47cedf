//! A gate serves each bad part once and in time, and no other.

use super::*;
use crate::random::Rng;

const PULSE: Duration = Duration::from_millis(5);

fn at(micros: u64) -> Moment {
    Moment::from_micros(1_000_000_000 + i64::try_from(micros).unwrap())
}

fn gate(unsure: bool) -> Gate {
    Gate::new(RuleName { camera: "in".to_owned(), rule: "board".to_owned() }, PULSE, unsure)
}

fn verdict(part: u64, judgement: Judgement, deadline: Option<Deadline>) -> Verdict {
    Verdict {
        part,
        external_id: None,
        track: None,
        judgement,
        opened_at: at(0),
        triggered_at: at(0),
        frames: 1,
        frames_bad: 0,
        defects: Vec::new(),
        deadline,
        missed: false,
    }
}

fn fail(part: u64, deadline: Deadline) -> Verdict {
    verdict(part, Judgement::Fail, Some(deadline))
}

#[test]
fn only_parts_that_have_to_go_do() {
    for (unsure, judgement, goes) in [
        (false, Judgement::Pass, false),
        (false, Judgement::Unsure, false),
        (false, Judgement::Fail, true),
        (true, Judgement::Pass, false),
        (true, Judgement::Unsure, true),
        (true, Judgement::Fail, true),
    ] {
        let mut gate = gate(unsure);
        gate.verdict(at(0), "in", "board", &verdict(1, judgement, Some(Deadline::At(at(100)))));
        gate.advance(at(100));
        assert_eq!(gate.is_active(at(100)), goes, "{unsure} {judgement:?}");
    }
    let mut gate = gate(true);
    gate.verdict(at(0), "in", "other", &fail(1, Deadline::At(at(100))));
    gate.verdict(at(0), "out", "board", &fail(2, Deadline::At(at(100))));
    gate.verdict(at(0), "in", "board", &verdict(3, Judgement::Fail, None));
    gate.advance(at(100));
    assert_eq!(gate.counts(), (0, 0));
}

#[test]
fn a_pulse_begins_at_the_deadline_and_has_its_length() {
    let mut gate = gate(false);
    gate.verdict(at(0), "in", "board", &fail(1, Deadline::At(at(350_000))));
    for (micros, active, next) in [
        (0, false, Some(350_000)),
        (349_999, false, Some(350_000)),
        (350_000, true, Some(355_000)),
        (354_999, true, Some(355_000)),
        (355_000, false, None),
    ] {
        gate.advance(at(micros));
        assert_eq!((gate.is_active(at(micros)), gate.next(at(micros))), (active, next.map(at)), "{micros}");
    }
    assert_eq!(gate.counts(), (1, 0));
}

#[test]
fn the_same_part_goes_once_however_often_it_is_told() {
    let mut gate = gate(false);
    for time in [100, 100, 50_000] {
        gate.verdict(at(0), "in", "board", &fail(7, Deadline::At(at(time))));
    }
    for micros in 0..100_000 {
        gate.advance(at(micros));
    }
    gate.verdict(at(100_000), "in", "board", &fail(7, Deadline::At(at(100_001))));
    gate.verdict(at(100_000), "in", "board", &fail(6, Deadline::At(at(100_001))));
    gate.advance(at(100_001));
    assert_eq!(gate.counts(), (1, 0));
}

#[test]
fn what_is_late_is_counted_and_not_served() {
    let mut gate = gate(false);
    gate.verdict(at(0), "in", "board", &Verdict { missed: true, ..fail(1, Deadline::At(at(10))) });
    gate.verdict(at(0), "in", "board", &Verdict { missed: true, ..fail(2, Deadline::Ticks(10)) });
    gate.ticks(at(0), 10);
    gate.verdict(at(0), "in", "board", &fail(3, Deadline::At(at(1_000))));
    gate.advance(at(1_000 + 20_001));
    assert_eq!((gate.counts(), gate.is_active(at(21_001))), ((0, 3), false));
    gate.verdict(at(0), "in", "board", &fail(4, Deadline::At(at(2_000))));
    gate.advance(at(2_000 + 20_000));
    assert_eq!((gate.counts(), gate.is_active(at(22_000))), ((1, 3), true));
}

#[test]
fn more_parts_than_it_can_keep_are_counted_as_missed() {
    let mut gate = gate(false);
    for part in 1..=PARTS_MAX as u64 + 5 {
        let deadline = if part % 2 == 0 { Deadline::Ticks(5) } else { Deadline::At(at(10_000)) };
        gate.verdict(at(0), "in", "board", &fail(part, deadline));
    }
    assert_eq!(gate.counts(), (0, 5));
    gate.ticks(at(10_000), 5);
    gate.advance(at(10_000));
    assert_eq!(gate.counts(), (PARTS_MAX as u64, 5));
}

#[test]
fn the_encoder_opens_it_where_it_stands_or_was_passed_meanwhile() {
    let mut gate = gate(false);
    gate.ticks(at(0), 100);
    gate.verdict(at(5), "in", "board", &fail(1, Deadline::Ticks(100)));
    assert_eq!(gate.next(at(5)), Some(at(5)), "it was judged in time, a moment ago");
    gate.advance(at(5));
    assert!(gate.is_active(at(5)));
    gate.verdict(at(5), "in", "board", &fail(2, Deadline::Ticks(103)));
    gate.ticks(at(50_000), 102);
    gate.advance(at(50_000));
    assert!(!gate.is_active(at(50_000)));
    gate.ticks(at(60_000), 104);
    gate.advance(at(60_000));
    assert!(gate.is_active(at(60_000)));
    assert_eq!(gate.counts(), (2, 0));
}

/// A thousand parts in random order of their deadlines, by time and by ticks, a third of them good or late. The line moves
/// one tick a millisecond; the gate is looked at when it asks to be, and at every tick.
#[test]
fn a_thousand_parts_go_once_each_and_in_time() {
    let mut random = Rng::new(5, 0);
    let mut below = |n: i32| u64::try_from(random.below(n)).unwrap();
    let mut gate = Gate { pulse: Duration::from_micros(1), ..gate(false) };
    let mut expected = Vec::new();
    let mut verdicts = Vec::new();
    for part in 1..=1000_u64 {
        // Each part has a time of its own, so that each pulse is seen.
        let said_at = part * 2_000 + below(1_000);
        let ms = said_at / 1000 + 2 + below(400);
        let (bad, missed) = (below(3) > 0, below(10) == 0);
        let deadline = if below(2) == 0 { Deadline::Ticks(ms) } else { Deadline::At(at(ms * 1000 + part % 997)) };
        let judgement = if bad { Judgement::Fail } else { Judgement::Pass };
        if bad && !missed {
            expected.push(match deadline {
                Deadline::Ticks(ms) => at(ms * 1000),
                Deadline::At(moment) => moment,
            });
        }
        verdicts.push((at(said_at), Verdict { missed, ..verdict(part, judgement, Some(deadline)) }));
    }
    let mut fired = Vec::new();
    let mut serve = |gate: &mut Gate, now: Moment| {
        let before = gate.counts().0;
        gate.advance(now);
        fired.extend((before..gate.counts().0).map(|_| now));
    };
    let mut verdicts = verdicts.into_iter().peekable();
    for ms in 0..2_500_u64 {
        gate.ticks(at(ms * 1000), ms);
        serve(&mut gate, at(ms * 1000));
        let end = at((ms + 1) * 1000);
        let mut now = at(ms * 1000);
        while now < end {
            while let Some((_, verdict)) = verdicts.next_if(|(said_at, _)| *said_at <= now) {
                gate.verdict(now, "in", "board", &verdict);
            }
            let due = gate.next(now).filter(|due| *due > now);
            let said = verdicts.peek().map(|(said_at, _)| *said_at);
            now = due.into_iter().chain(said).chain([end]).min().unwrap();
            if now < end {
                serve(&mut gate, now);
            }
        }
    }
    expected.sort();
    assert!(expected.len() > 500);
    assert_eq!(fired, expected);
}
