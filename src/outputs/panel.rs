//! All outputs of a box together: what happens goes to those whom it concerns, and each says how it has to be.

use super::{
    gate::Gate,
    light::Light,
    relay::Relay,
    settings::{Output, OutputKind},
};
use crate::{event::What, moment::Moment};

#[derive(Debug)]
enum Machine {
    Light(Light),
    Gate(Gate),
    Relay(Relay),
}

/// How all outputs have to be.
#[derive(Debug)]
pub struct Panel(Vec<Machine>);

impl Panel {
    /// Outputs that have heard nothing: all inactive.
    pub fn new(outputs: &[Output]) -> Self {
        let machine = |output: &Output| match &output.kind {
            OutputKind::Light { rules, priority_min, blink } => {
                Machine::Light(Light::new(rules, *priority_min, *blink))
            }
            OutputKind::Gate { rule, pulse, unsure } => Machine::Gate(Gate::new(rule.clone(), *pulse, *unsure)),
            OutputKind::Relay { cameras, within, toggle } => Machine::Relay(Relay::new(cameras, *within, *toggle)),
        };
        Self(outputs.iter().map(machine).collect())
    }

    /// Hears what a rule says, or how it stands.
    pub fn hear(&mut self, now: Moment, camera: &str, rule: &str, what: &What) {
        for machine in &mut self.0 {
            match (machine, what) {
                (Machine::Light(light), What::Alarm(alarm)) => light.alarm(now, camera, rule, alarm),
                (Machine::Gate(gate), What::Verdict(verdict)) => gate.verdict(now, camera, rule, verdict),
                _ => {}
            }
        }
    }

    /// Hears whether a camera sees.
    pub fn sight(&mut self, camera: &str, sees: bool) {
        self.relays().for_each(|relay| relay.sight(camera, sees));
    }

    /// Hears that a frame of a camera was decided on.
    pub fn decided(&mut self, now: Moment, camera: &str) {
        self.relays().for_each(|relay| relay.decided(now, camera));
    }

    /// Hears that somebody looked after the cameras.
    pub fn looked_after(&mut self, now: Moment) {
        self.relays().for_each(|relay| relay.looked_after(now));
    }

    /// Hears where the encoder stood at a moment.
    pub fn ticks(&mut self, at: Moment, ticks: u64) {
        self.gates().for_each(|gate| gate.ticks(at, ticks));
    }

    /// Says of each output, by its index, whether it is active at `now`, and gives the moment at which one of them changes
    /// next where nothing else is heard. Moments must not go back.
    pub fn advance(&mut self, now: Moment, mut tell: impl FnMut(usize, bool)) -> Option<Moment> {
        let mut next: Option<Moment> = None;
        for (index, machine) in self.0.iter_mut().enumerate() {
            let (active, due) = match machine {
                Machine::Light(light) => (light.is_active(now), light.next(now)),
                Machine::Gate(gate) => {
                    gate.advance(now);
                    (gate.is_active(now), gate.next(now))
                }
                Machine::Relay(relay) => {
                    relay.advance(now);
                    (relay.is_active(now), relay.next(now))
                }
            };
            tell(index, active);
            next = next.into_iter().chain(due).min();
        }
        next
    }

    /// Parts that an output served, and parts that it should have; `None` where it is no gate.
    pub fn parts(&self, output: usize) -> Option<(u64, u64)> {
        match &self.0[output] {
            Machine::Gate(gate) => Some(gate.counts()),
            Machine::Light(_) | Machine::Relay(_) => None,
        }
    }

    fn relays(&mut self) -> impl Iterator<Item = &mut Relay> {
        self.0.iter_mut().filter_map(|machine| match machine {
            Machine::Relay(relay) => Some(relay),
            Machine::Light(_) | Machine::Gate(_) => None,
        })
    }

    fn gates(&mut self) -> impl Iterator<Item = &mut Gate> {
        self.0.iter_mut().filter_map(|machine| match machine {
            Machine::Gate(gate) => Some(gate),
            Machine::Light(_) | Machine::Relay(_) => None,
        })
    }
}
