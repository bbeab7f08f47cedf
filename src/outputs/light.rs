//! A stack light: what it shows of the alarms behind it.
//!
//! The most urgent of these wins, and begins with the light on:
//!
//! | an alarm is | the light |
//! |---|---|
//! | unacknowledged | blinks: half a second on, half a second off |
//! | acknowledged, and still there | is on |
//! | gone, and nobody has acknowledged it | flashes: a quarter of a second in two seconds |
//! | normal or shelved | is off |
//!
//! One that does not blink is on in the first three.

use std::time::Duration;

use super::settings::RuleName;
use crate::{
    event::{Alarm, AlarmState, Priority},
    moment::Moment,
};

/// What a light shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Shows {
    #[default]
    Nothing,
    Flashes,
    On,
    Blinks,
}

impl Shows {
    /// How long it is on and how long one round takes, where it changes by itself.
    fn rhythm(self) -> Option<(Duration, Duration)> {
        match self {
            Self::Nothing | Self::On => None,
            Self::Flashes => Some((Duration::from_millis(250), Duration::from_secs(2))),
            Self::Blinks => Some((Duration::from_millis(500), Duration::from_secs(1))),
        }
    }
}

/// One light.
#[derive(Debug)]
pub(super) struct Light {
    /// The alarms and what each asks for.
    rules: Vec<(RuleName, Shows)>,
    priority_min: Priority,
    blink: bool,
    shows: Shows,
    since: Moment,
}

impl Light {
    pub(super) fn new(rules: &[RuleName], priority_min: Priority, blink: bool) -> Self {
        let rules = rules.iter().map(|rule| (rule.clone(), Shows::Nothing)).collect();
        Self { rules, priority_min, blink, shows: Shows::Nothing, since: Moment::default() }
    }

    /// Hears how an alarm stands.
    pub(super) fn alarm(&mut self, now: Moment, camera: &str, rule: &str, alarm: &Alarm) {
        let asks = match alarm.state {
            _ if alarm.priority < self.priority_min => Shows::Nothing,
            AlarmState::Normal | AlarmState::Shelved => Shows::Nothing,
            AlarmState::Unacknowledged => Shows::Blinks,
            AlarmState::Acknowledged => Shows::On,
            AlarmState::Returned => Shows::Flashes,
        };
        for (_, before) in self.rules.iter_mut().filter(|(name, _)| name.camera == camera && name.rule == rule) {
            *before = asks;
        }
        let most = self.rules.iter().map(|(_, asks)| *asks).max().unwrap_or_default();
        let shows = if most != Shows::Nothing && !self.blink { Shows::On } else { most };
        if shows != self.shows {
            (self.shows, self.since) = (shows, now);
        }
    }

    /// Whether it is on.
    pub(super) fn is_active(&self, now: Moment) -> bool {
        match self.shows.rhythm() {
            None => self.shows == Shows::On,
            Some((on, round)) => self.in_round(now, round) < on,
        }
    }

    /// When it changes next by itself.
    pub(super) fn next(&self, now: Moment) -> Option<Moment> {
        let (on, round) = self.shows.rhythm()?;
        let passed = self.in_round(now, round);
        Some(now + (if passed < on { on - passed } else { round - passed }))
    }

    /// The time since its round began.
    fn in_round(&self, now: Moment, round: Duration) -> Duration {
        let micros = now.since(self.since).as_micros() % round.as_micros();
        Duration::from_micros(u64::try_from(micros).expect("less than a round"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Moment {
        Moment::from_micros(1_000_000_000 + ms * 1000)
    }

    fn alarm(state: AlarmState, priority: Priority) -> Alarm {
        Alarm {
            state,
            active: matches!(state, AlarmState::Unacknowledged | AlarmState::Acknowledged),
            priority,
            since: at(0),
            raised_at: None,
            raises: 1,
            reason: String::new(),
            evidence: None,
            shelved_until: None,
        }
    }

    fn light(blink: bool, priority_min: Priority) -> Light {
        let name = |rule: &str| RuleName { camera: "in".to_owned(), rule: rule.to_owned() };
        Light::new(&[name("a"), name("b")], priority_min, blink)
    }

    #[test]
    fn each_state_has_its_rhythm() {
        const MS: [i64; 8] = [0, 249, 251, 499, 501, 999, 1001, 2001];
        for (state, blinking, steady) in [
            (AlarmState::Normal, [false; 8], false),
            (AlarmState::Shelved, [false; 8], false),
            (AlarmState::Unacknowledged, [true, true, true, true, false, false, true, true], true),
            (AlarmState::Acknowledged, [true; 8], true),
            (AlarmState::Returned, [true, true, false, false, false, false, false, true], true),
        ] {
            for (blink, shown) in [(true, blinking), (false, [steady; 8])] {
                let mut light = light(blink, Priority::Low);
                light.alarm(at(0), "in", "a", &alarm(state, Priority::Low));
                let found = MS.map(|ms| light.is_active(at(ms)));
                assert_eq!(found, shown, "{state:?} {blink}");
            }
        }
    }

    #[test]
    fn it_says_exactly_when_it_changes() {
        for state in AlarmState::ALL {
            let mut light = light(true, Priority::Low);
            light.alarm(at(0), "in", "a", &alarm(state, Priority::Low));
            let mut due = light.next(at(0));
            let mut before = light.is_active(at(0));
            for ms in 1..8_000 {
                let now = light.is_active(at(ms));
                assert_eq!(now != before, due == Some(at(ms)), "{state:?} at {ms} ms");
                if due == Some(at(ms)) {
                    due = light.next(at(ms));
                }
                before = now;
            }
        }
    }

    #[test]
    fn the_most_urgent_of_its_alarms_wins() {
        let all = AlarmState::ALL;
        for (first, second) in all.into_iter().flat_map(|first| all.map(|second| (first, second))) {
            let mut both = light(true, Priority::Low);
            both.alarm(at(0), "in", "a", &alarm(first, Priority::Low));
            both.alarm(at(0), "in", "b", &alarm(second, Priority::Low));
            let order = [AlarmState::Unacknowledged, AlarmState::Acknowledged, AlarmState::Returned];
            let most = order.into_iter().find(|state| [first, second].contains(state)).unwrap_or(AlarmState::Normal);
            let mut one = light(true, Priority::Low);
            one.alarm(at(0), "in", "a", &alarm(most, Priority::Low));
            assert!((0..4000).all(|ms| both.is_active(at(ms)) == one.is_active(at(ms))), "{first:?} {second:?}");
        }
    }

    #[test]
    fn what_is_not_urgent_enough_or_of_others_is_not_shown() {
        let mut light = light(true, Priority::High);
        for priority in Priority::ALL {
            light.alarm(at(0), "in", "a", &alarm(AlarmState::Acknowledged, priority));
            assert_eq!(light.is_active(at(0)), priority >= Priority::High);
        }
        light.alarm(at(0), "in", "a", &alarm(AlarmState::Normal, Priority::Critical));
        light.alarm(at(0), "out", "a", &alarm(AlarmState::Acknowledged, Priority::Critical));
        light.alarm(at(0), "in", "c", &alarm(AlarmState::Acknowledged, Priority::Critical));
        assert!(!light.is_active(at(0)) && light.next(at(0)).is_none());
    }

    #[test]
    fn another_word_of_the_same_state_does_not_break_the_rhythm() {
        let mut light = light(true, Priority::Low);
        light.alarm(at(0), "in", "a", &alarm(AlarmState::Unacknowledged, Priority::Low));
        light.alarm(at(700), "in", "b", &alarm(AlarmState::Unacknowledged, Priority::Low));
        assert!(!light.is_active(at(700)) && light.is_active(at(1100)));
        light.alarm(at(1300), "in", "a", &alarm(AlarmState::Acknowledged, Priority::Low));
        assert!(!light.is_active(at(1600)), "the other one blinks on");
    }
}
