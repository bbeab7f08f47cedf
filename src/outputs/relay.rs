//! A relay that holds the line while the box sees and decides: it falls off with the box.
//!
//! It is active only while each of its cameras sees, a frame of each was decided on a short while ago, and somebody looks
//! after the cameras. So it is not before the first frames, nor when a camera, a detector or the daemon stands still.
//!
//! A process that is killed drives nothing any more: what the line does then is up to the chip's driver, and many keep it as
//! it was. Where that matters the relay toggles while all is well, and what is wired to it (a watchdog relay, a charge pump)
//! falls off when the line no longer changes, whichever level it stands at.

use std::time::Duration;

use crate::moment::Moment;

/// The daemon looks after its cameras several times a second; without a look for so long they are not relied on.
pub const LOOKED_AFTER_MAX: Duration = Duration::from_secs(2);

/// A camera that has to see.
#[derive(Debug)]
struct Watched {
    camera: String,
    sees: bool,
    /// When a frame of it was decided on last.
    decided_at: Option<Moment>,
}

/// One relay.
#[derive(Debug)]
pub(super) struct Relay {
    cameras: Vec<Watched>,
    within: Duration,
    toggle: Option<Duration>,
    looked_after_at: Option<Moment>,
    /// Since when it has held.
    since: Option<Moment>,
}

impl Relay {
    pub(super) fn new(cameras: &[String], within: Duration, toggle: Option<Duration>) -> Self {
        let watched = |camera: &String| Watched { camera: camera.clone(), sees: false, decided_at: None };
        Self { cameras: cameras.iter().map(watched).collect(), within, toggle, looked_after_at: None, since: None }
    }

    /// Hears whether a camera sees.
    pub(super) fn sight(&mut self, camera: &str, sees: bool) {
        for watched in self.cameras.iter_mut().filter(|watched| watched.camera == camera) {
            watched.sees = sees;
            // What was decided on before it was blind says nothing about now.
            watched.decided_at = watched.decided_at.filter(|_| sees);
        }
    }

    /// Hears that a frame of a camera was decided on.
    pub(super) fn decided(&mut self, now: Moment, camera: &str) {
        for watched in self.cameras.iter_mut().filter(|watched| watched.camera == camera) {
            watched.decided_at = Some(now);
        }
    }

    /// Hears that somebody looked after the cameras.
    pub(super) fn looked_after(&mut self, now: Moment) {
        self.looked_after_at = Some(now);
    }

    /// Finds out whether it holds.
    pub(super) fn advance(&mut self, now: Moment) {
        let holds = self.end().is_some_and(|end| now < end);
        self.since = if holds { self.since.or(Some(now)) } else { None };
    }

    /// Whether it is active; to be asked after [`Self::advance`].
    pub(super) fn is_active(&self, now: Moment) -> bool {
        match (self.since, self.toggle) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(since), Some(half)) => (now.since(since).as_micros() / half.as_micros()).is_multiple_of(2),
        }
    }

    /// When it changes next by itself.
    pub(super) fn next(&self, now: Moment) -> Option<Moment> {
        let since = self.since?;
        let turn = self.toggle.map(|half| {
            let micros = now.since(since).as_micros() % half.as_micros();
            now + (half - Duration::from_micros(u64::try_from(micros).expect("less than a toggle")))
        });
        turn.into_iter().chain(self.end()).min()
    }

    /// Until when it holds where nothing more is heard; `None` where it does not.
    fn end(&self) -> Option<Moment> {
        let mut end = self.looked_after_at? + LOOKED_AFTER_MAX;
        for watched in &self.cameras {
            end = end.min(watched.decided_at.filter(|_| watched.sees)? + self.within);
        }
        Some(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WITHIN: Duration = Duration::from_millis(1000);

    fn at(ms: u64) -> Moment {
        Moment::from_micros(1_000_000_000 + i64::try_from(ms).unwrap() * 1000)
    }

    fn relay(toggle: Option<Duration>) -> Relay {
        Relay::new(&["a".to_owned(), "b".to_owned()], WITHIN, toggle)
    }

    /// What may happen to a relay's world in a step of 100 ms.
    struct World {
        sees: [bool; 2],
        decides: [bool; 2],
        looks_after: bool,
    }

    const WELL: World = World { sees: [true; 2], decides: [true; 2], looks_after: true };

    /// Lives so long in a world; when it was active first, and when it no longer was.
    fn live(relay: &mut Relay, world: &World, from: u64, to: u64) -> (Option<u64>, Option<u64>) {
        let (mut on, mut off) = (None, None);
        for (camera, sees) in ["a", "b"].into_iter().zip(world.sees) {
            relay.sight(camera, sees);
        }
        for ms in from..to {
            if ms % 100 == 0 {
                for (camera, _) in ["a", "b"].into_iter().zip(world.decides).filter(|(_, decides)| *decides) {
                    relay.decided(at(ms), camera);
                }
                if world.looks_after {
                    relay.looked_after(at(ms));
                }
            }
            relay.advance(at(ms));
            match relay.is_active(at(ms)) {
                true => on = on.or(Some(ms)),
                false => off = off.or(Some(ms)),
            }
        }
        (on, off)
    }

    #[test]
    fn every_kind_of_blindness_lets_it_fall() {
        for (world, falls) in [
            (World { sees: [false, true], ..WELL }, 10_000),
            (World { sees: [true, false], ..WELL }, 10_000),
            (World { sees: [false, false], ..WELL }, 10_000),
            (World { decides: [false, true], ..WELL }, 10_900),
            (World { decides: [true, false], ..WELL }, 10_900),
            (World { looks_after: false, ..WELL }, 11_900),
            (World { sees: [false; 2], decides: [false; 2], looks_after: false }, 10_000),
        ] {
            let mut relay = relay(None);
            assert_eq!(live(&mut relay, &WELL, 0, 10_000), (Some(0), None), "it holds while all is well");
            let (_, off) = live(&mut relay, &world, 10_000, 20_000);
            assert_eq!(off, Some(falls));
            assert_eq!(relay.next(at(20_000)), None, "it does not come back by itself");
            let (on, _) = live(&mut relay, &WELL, 20_000, 30_000);
            assert_eq!(on, Some(20_000));
        }
    }

    #[test]
    fn it_does_not_hold_before_each_camera_has_decided() {
        let mut fresh = relay(None);
        assert_eq!(live(&mut fresh, &World { decides: [false; 2], ..WELL }, 0, 5000), (None, Some(0)));
        assert_eq!(live(&mut fresh, &World { decides: [true, false], ..WELL }, 5000, 9000), (None, Some(5000)));
        assert_eq!(live(&mut relay(None), &World { sees: [false; 2], ..WELL }, 0, 5000), (None, Some(0)));
    }

    #[test]
    fn sight_that_comes_back_needs_another_frame() {
        let mut relay = relay(None);
        live(&mut relay, &WELL, 0, 1000);
        relay.sight("a", false);
        relay.sight("a", true);
        relay.advance(at(1000));
        assert!(!relay.is_active(at(1000)));
        relay.decided(at(1001), "a");
        relay.advance(at(1001));
        assert!(relay.is_active(at(1001)));
    }

    #[test]
    fn it_toggles_while_it_holds_and_rests_inactive() {
        let mut relay = relay(Some(Duration::from_millis(50)));
        live(&mut relay, &WELL, 0, 1);
        let mut turns = Vec::new();
        let mut before = false;
        for ms in 0..1100 {
            relay.advance(at(ms));
            let due = relay.next(at(ms));
            if relay.is_active(at(ms)) != before {
                before = !before;
                turns.push(ms);
                assert!(due.is_none_or(|due| due == at(ms + 50)));
            }
        }
        assert_eq!(turns, (0..20).map(|turn| turn * 50).collect::<Vec<_>>());
        assert!(!before, "after its last frame it fell off");
    }
}
