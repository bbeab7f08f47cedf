//! Tests of what somebody is told of an alarm, over a camera that goes dark.

use std::time::Duration;

use super::*;
use crate::rules::{
    BlindSettings, Kind, Settings,
    testing::{Bench, PLAIN, alarm_of},
};
use AlarmState::{Acknowledged, Normal, Returned, Shelved, Unacknowledged};

/// A minute on the shelf.
const MINUTE: Order = Order::Shelve(Duration::from_secs(60));
const UNSHELVE: Order = Order::Shelve(Duration::ZERO);

/// An alarm whose cause is there exactly while the camera is dark.
fn bench(manner: Manner) -> Bench {
    let mut bench = Bench::new(Settings {
        id: "dark".to_owned(),
        kind: Kind::Blind(BlindSettings { after: Duration::ZERO, manner }),
    });
    bench.camera("");
    bench
}

/// One in this state, with its cause there or not.
fn in_state(state: AlarmState, active: bool) -> Bench {
    let mut bench = bench(Manner { latch: true, ..PLAIN });
    if state != Normal && (active || state == Returned) {
        bench.camera("dark");
    }
    match state {
        Normal | Unacknowledged => {}
        Acknowledged => bench.order(&Order::Acknowledge).unwrap(),
        Returned => bench.camera(""),
        Shelved => bench.order(&MINUTE).unwrap(),
    }
    bench.now = bench.now + Duration::from_secs(1);
    assert_eq!((bench.alarm().state, bench.alarm().active), (state, active));
    bench.said.clear();
    bench
}

#[test]
fn every_order_in_every_state_does_what_the_table_says() {
    // The state after it, or a word of the refusal.
    type Row = (AlarmState, bool, [Result<AlarmState, &'static str>; 4]);
    let table: [Row; 6] = [
        // State, cause; acknowledge, shelve, end of the shelf, reset.
        (Normal, false, [Err("nothing to acknowledge"), Ok(Shelved), Err("not shelved"), Ok(Normal)]),
        (Unacknowledged, true, [Ok(Acknowledged), Ok(Shelved), Err("not shelved"), Ok(Normal)]),
        (Acknowledged, true, [Err("already"), Ok(Shelved), Err("not shelved"), Ok(Normal)]),
        (Returned, false, [Ok(Normal), Ok(Shelved), Err("not shelved"), Ok(Normal)]),
        (Shelved, false, [Err("is shelved"), Ok(Shelved), Ok(Normal), Ok(Normal)]),
        (Shelved, true, [Err("is shelved"), Ok(Shelved), Ok(Unacknowledged), Ok(Normal)]),
    ];
    for (state, active, expected) in table {
        for (order, expected) in [Order::Acknowledge, MINUTE, UNSHELVE, Order::Reset].iter().zip(expected) {
            let mut bench = in_state(state, active);
            let before = bench.alarm();
            let result = bench.order(order);
            let after = bench.alarm();
            match expected {
                Ok(next) => {
                    assert_eq!(result, Ok(()), "{order:?} in {state:?}");
                    assert_eq!(after.state, next, "{order:?} in {state:?}");
                    let changed = next != state || before.shelved_until != after.shelved_until;
                    assert_eq!(bench.said.len(), usize::from(changed), "{order:?} in {state:?}");
                    assert_eq!(after.active, active && *order != Order::Reset);
                }
                Err(word) => {
                    let refusal = result.unwrap_err().to_string();
                    assert!(refusal.contains(word) && refusal.contains("\"dark\""), "{refusal}");
                    assert_eq!((after, bench.said.len()), (before, 0), "{order:?} in {state:?}");
                }
            }
            assert!(bench.said.iter().all(|event| *alarm_of(event) == bench.alarm() && event.at == bench.now));
        }
    }
}

#[test]
fn a_cause_that_comes_and_goes_changes_every_state_as_the_table_says() {
    // State, cause; latch; the state after the cause has changed.
    let table = [
        (Normal, false, Unacknowledged),
        (Unacknowledged, true, Returned),
        (Acknowledged, true, Normal),
        (Returned, false, Unacknowledged),
        (Shelved, false, Shelved),
        (Shelved, true, Shelved),
    ];
    for (state, active, next) in table {
        let mut bench = in_state(state, active);
        bench.camera(if active { "" } else { "dark" });
        assert_eq!((bench.alarm().state, bench.alarm().active), (next, !active), "{state:?}");
        assert_eq!(bench.said.len(), usize::from(next != state), "{state:?}");
    }
}

#[test]
fn orders_for_other_rules_are_refused() {
    let mut bench = bench(PLAIN);
    let orders = [
        Order::Open { external_id: None, expected: None },
        Order::Close,
        Order::Void { name: "a".to_owned(), quantity: 1, note: None },
        Order::Correct { name: "a".to_owned(), quantity: 1, note: None },
    ];
    for order in orders {
        assert!(bench.order(&order).unwrap_err().to_string().contains("it takes ack, shelve and reset"));
    }
    assert_eq!(bench.said, []);
}

#[test]
fn without_a_latch_an_alarm_goes_with_its_cause() {
    let mut bench = bench(PLAIN);
    bench.camera("dark");
    bench.camera("");
    assert_eq!(bench.states(), [Unacknowledged, Normal]);
}

#[test]
fn with_a_latch_it_waits_until_it_is_acknowledged() {
    let mut bench = bench(Manner { latch: true, ..PLAIN });
    bench.camera("dark");
    bench.camera("");
    bench.wait(3600.0);
    assert_eq!(bench.states(), [Unacknowledged, Returned]);
    bench.order(&Order::Acknowledge).unwrap();
    assert_eq!(bench.states(), [Unacknowledged, Returned, Normal]);
}

#[test]
fn a_shelf_is_over_by_itself() {
    let mut bench = bench(PLAIN);
    bench.camera("dark");
    bench.order(&MINUTE).unwrap();
    bench.wait(59.9);
    assert_eq!(bench.states(), [Unacknowledged, Shelved]);
    bench.wait(0.1);
    assert_eq!(bench.states(), [Unacknowledged, Shelved, Unacknowledged]);
    let again = alarm_of(&bench.said[2]);
    assert_eq!((again.raises, again.shelved_until, again.raised_at), (2, None, Some(bench.now)));
    assert_eq!(again.evidence.as_ref(), Some(&bench.said[2].id));
    assert_eq!(again.reason, "the time on the shelf is over, and it is there still: dark");
}

#[test]
fn what_comes_and_goes_on_the_shelf_is_not_said() {
    let mut bench = bench(Manner { latch: true, ..PLAIN });
    bench.order(&MINUTE).unwrap();
    for _ in 0..5 {
        bench.camera("dark");
        bench.wait(1.0);
        assert!(bench.alarm().active);
        bench.camera("");
        bench.wait(1.0);
        assert!(!bench.alarm().active);
    }
    bench.wait(60.0);
    assert_eq!(bench.states(), [Shelved, Normal]);
    assert_eq!(bench.alarm().raises, 0);
}

#[test]
fn a_shelf_can_be_made_longer_and_shorter_but_not_endless() {
    let mut bench = bench(PLAIN);
    bench.order(&MINUTE).unwrap();
    bench.order(&MINUTE).unwrap();
    assert_eq!(bench.states(), [Shelved]);
    let since = bench.alarm().since;
    bench.wait(1.0);
    bench.order(&Order::Shelve(Duration::from_secs(5))).unwrap();
    assert_eq!(bench.states(), [Shelved, Shelved]);
    assert_eq!(bench.alarm().since, since);
    assert_eq!(bench.alarm().shelved_until, Some(bench.now + Duration::from_secs(5)));
    let refusal = bench.order(&Order::Shelve(SHELVED_MAX + Duration::from_secs(1))).unwrap_err();
    assert!(refusal.to_string().contains("7 days at most"), "{refusal}");
    bench.wait(5.0);
    assert_eq!(bench.alarm().state, Normal);
}

#[test]
fn once_raised_it_holds() {
    let mut bench = bench(Manner { hold: Duration::from_secs(10), ..PLAIN });
    bench.camera("dark");
    bench.wait(1.0);
    bench.camera("");
    bench.wait(8.9);
    assert_eq!(bench.states(), [Unacknowledged]);
    bench.wait(0.1);
    assert_eq!(bench.states(), [Unacknowledged, Normal]);
}

#[test]
fn after_it_has_returned_it_cools_down() {
    let mut bench = bench(Manner { cooldown: Duration::from_secs(10), ..PLAIN });
    bench.camera("dark");
    bench.camera("");
    bench.wait(1.0);
    bench.camera("dark");
    bench.wait(8.9);
    assert_eq!(bench.states(), [Unacknowledged, Normal]);
    bench.wait(0.1);
    assert_eq!(bench.states(), [Unacknowledged, Normal, Unacknowledged]);
}

#[test]
fn a_reset_ends_the_cooldown_as_well() {
    let mut bench = bench(Manner { cooldown: Duration::from_secs(10), ..PLAIN });
    bench.camera("dark");
    bench.camera("");
    bench.order(&Order::Reset).unwrap();
    bench.camera("dark");
    assert_eq!(bench.states(), [Unacknowledged, Normal, Unacknowledged]);
}

#[test]
fn what_follows_a_raise_names_it_as_its_evidence() {
    let mut bench = bench(Manner { latch: true, ..PLAIN });
    for _ in 0..2 {
        bench.camera("dark");
        let evidence = bench.said.last().unwrap().id.clone();
        bench.order(&Order::Acknowledge).unwrap();
        bench.camera("");
        let alarms = bench.said[bench.said.len() - 3..].iter().map(alarm_of);
        assert!(alarms.into_iter().all(|alarm| alarm.evidence.as_ref() == Some(&evidence)));
    }
    let mut ids: Vec<&String> = bench.said.iter().map(|event| &event.id).collect();
    ids.dedup();
    assert_eq!((ids.len(), bench.alarm().raises), (6, 2));
}

#[test]
fn a_crash_changes_no_state() {
    for (state, active) in [
        (Normal, false),
        (Unacknowledged, true),
        (Acknowledged, true),
        (Returned, false),
        (Shelved, false),
        (Shelved, true),
    ] {
        let mut bench = in_state(state, active);
        let before = bench.alarm();
        bench.crash();
        assert_eq!(bench.alarm(), before);
        bench.camera(if active { "dark" } else { "" });
        bench.wait(10.0);
        assert_eq!((bench.alarm(), bench.said.len()), (before, 0), "{state:?}");
    }
}

#[test]
fn moments_of_the_future_become_the_present() {
    let mut bench = in_state(Shelved, true);
    let until = bench.alarm().shelved_until.unwrap();
    // The clock was a day ahead.
    bench.now = bench.now - Duration::from_secs(86_400);
    bench.crash();
    let alarm = bench.alarm();
    assert_eq!((alarm.since, alarm.shelved_until), (bench.now, Some(bench.now + Duration::from_secs(60))));
    assert!(alarm.shelved_until.unwrap() < until);
    bench.camera("dark");
    bench.wait(60.0);
    assert_eq!(bench.states(), [Unacknowledged]);
}

#[test]
fn a_memory_that_makes_no_sense_is_left_out() {
    let now = Now { moment: Moment::from_micros(1_000_000), local_micros: None };
    let fresh = Annunciator::new(PLAIN, Moment::from_micros(7));
    let at = Some(Moment::from_micros(5));
    let shelf = Some(Shelf { from: Moment::from_micros(5), until: Moment::from_micros(9) });
    let memories = [
        Memory::default(),
        Memory { state: "melted".to_owned(), ..Memory::default() },
        Memory { state: "unacknowledged".to_owned(), ..Memory::default() },
        Memory { state: "normal".to_owned(), active_since: at, ..Memory::default() },
        Memory { state: "shelved".to_owned(), ..Memory::default() },
        Memory { state: "acknowledged".to_owned(), active_since: at, shelf, ..Memory::default() },
    ];
    for memory in memories {
        let mut annunciator = fresh.clone();
        annunciator.recall(memory.clone(), now);
        assert_eq!(annunciator.alarm(), fresh.alarm(), "{memory:?}");
    }
}
