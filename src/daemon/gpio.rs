//! The lines of the box at work: one thread drives the outputs at their times, one listens to the inputs.
//!
//! What stations say and how cameras are comes from their threads, which never wait for a chip: they note it in the panel
//! and wake the thread that drives. That one sleeps until the next output is due, so that a gate opens within about a
//! millisecond.
//!
//! A line that is missing or busy is no reason not to start: it is said in the device's status, and tried again every few
//! seconds. Outputs are inactive before the first word, after an orderly end, and after a panic.
//!
//! Both threads go on over a reload that leaves inputs and outputs as they were, so that a bad part under way is still
//! rejected.

use std::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    pulse::Beat,
    shutdown::{Shutdown, Stop},
    stations::Hearer,
    threads::Threads,
};
use crate::{
    config::Config,
    event::What,
    moment::Moment,
    outputs::{self, Drive, InputKind, Lines, Listen, Output, Panel, Trouble},
    publish::clock::Timeline,
    rules::{Input, Sight},
    station::Said,
};

/// A line that is missing or busy is tried again after so long.
const RETRY_EVERY: Duration = Duration::from_secs(3);

/// The threads look up so often, whether anything is due or not.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Parts that a gate did not reject are told so often at most.
const MISSED_EVERY: Duration = Duration::from_secs(1);

/// Who is told what inputs do.
type Ears = dyn Fn(Input<'_>) + Send + Sync;

/// The running lines of a configuration.
pub(super) struct Gpio {
    inputs: Vec<outputs::Input>,
    outputs: Vec<Output>,
    shared: Arc<Shared>,
    /// The parts that have to show signs of life, as a person would call them.
    beats: Vec<(&'static str, Beat)>,
    shutdown: Shutdown,
    threads: Threads,
}

/// What all threads know of the lines.
struct Shared {
    timeline: Timeline,
    board: Mutex<Board>,
    /// Something was noted on the board.
    noted: Condvar,
    /// Why lines cannot be used: of the outputs and then of the inputs, in the order of the configuration.
    troubles: Mutex<Vec<Option<String>>>,
    ears: Mutex<Option<Arc<Ears>>>,
    /// Where the encoder stands. It begins with the time of the start, so that it goes on from one process to the next and
    /// beyond: what an earlier one wanted done at a tick lies in the past for this one, which did not count along.
    ticks: AtomicU64,
}

struct Board {
    panel: Panel,
    is_news: bool,
}

impl Gpio {
    /// Takes the lines of a configuration.
    ///
    /// # Errors
    /// Where the system refuses a thread.
    pub(super) fn start(config: &Config, timeline: Timeline, lines: Arc<dyn Lines>) -> anyhow::Result<Self> {
        let (inputs, outputs) = (config.inputs.clone(), config.outputs.clone());
        let ticks = u64::try_from(timeline.moment(Instant::now()).micros()).unwrap_or_default();
        let mut panel = Panel::new(&outputs);
        panel.ticks(timeline.moment(Instant::now()), ticks);
        let shared = Arc::new(Shared {
            timeline,
            board: Mutex::new(Board { panel, is_news: false }),
            noted: Condvar::new(),
            troubles: Mutex::new(vec![None; outputs.len() + inputs.len()]),
            ears: Mutex::default(),
            ticks: AtomicU64::new(ticks),
        });
        let mut gpio = Self {
            inputs,
            outputs,
            shared,
            beats: Vec::new(),
            shutdown: Shutdown::default(),
            threads: Threads::default(),
        };
        if !gpio.outputs.is_empty() {
            let (shared, outputs) = (Arc::clone(&gpio.shared), gpio.outputs.clone());
            let lines = Arc::clone(&lines);
            gpio.spawn("the outputs", move |stop| drive(&shared, &*lines, &outputs, stop))?;
        }
        if !gpio.inputs.is_empty() {
            let (shared, inputs, first) = (Arc::clone(&gpio.shared), gpio.inputs.clone(), gpio.outputs.len());
            gpio.spawn("the inputs", move |stop| listen(&shared, &*lines, &inputs, first, stop))?;
        }
        Ok(gpio)
    }

    fn spawn(&mut self, name: &'static str, work: impl FnMut(&Stop) + Send + 'static) -> anyhow::Result<()> {
        let stop = self.shutdown.listener();
        self.beats.push((name, stop.beat()));
        self.threads.spawn(name, stop, work, || ())
    }

    /// Whether it serves another configuration as well as its own.
    pub(super) fn serves(&self, config: &Config) -> bool {
        self.inputs == config.inputs && self.outputs == config.outputs
    }

    /// Who has to hear what stations say; nobody where nothing is driven.
    pub(super) fn hearer(&self) -> Option<Arc<dyn Hearer>> {
        (!self.outputs.is_empty()).then(|| Arc::clone(&self.shared) as Arc<dyn Hearer>)
    }

    /// From now on `ears` are told what inputs do; first where the encoder stands, where there is one.
    pub(super) fn attach(&self, ears: impl Fn(Input<'_>) + Send + Sync + 'static) {
        if self.inputs.iter().any(|input| input.kind == InputKind::Encoder) {
            ears(Input::Encoder { ticks: self.shared.ticks.load(Ordering::Relaxed) });
        }
        *lock(&self.shared.ears) = Some(Arc::new(ears));
    }

    /// Notes that somebody looked after the cameras.
    pub(super) fn looked_after(&self) {
        self.shared.note(|panel, now| panel.looked_after(now));
    }

    /// Why lines cannot be used.
    pub(super) fn troubles(&self) -> Vec<String> {
        lock(&self.shared.troubles).iter().flatten().cloned().collect()
    }

    /// The parts that have to show signs of life, as a person would call them.
    pub(super) fn beats(&self) -> &[(&'static str, Beat)] {
        &self.beats
    }

    /// Makes the outputs inactive and lets the lines go.
    pub(super) fn stop(mut self) {
        self.release();
        std::mem::take(&mut self.threads).join();
    }

    fn release(&mut self) {
        drop(std::mem::take(&mut self.shutdown));
        // The drivers look up at once.
        self.shared.note(|_, _| ());
        *lock(&self.shared.ears) = None;
    }
}

impl Drop for Gpio {
    fn drop(&mut self) {
        self.release();
    }
}

impl Shared {
    /// Notes what happened and wakes who drives the outputs.
    fn note(&self, work: impl FnOnce(&mut Panel, Moment)) {
        let now = self.timeline.moment(Instant::now());
        let mut board = lock(&self.board);
        work(&mut board.panel, now);
        board.is_news = true;
        drop(board);
        self.noted.notify_all();
    }

    /// Notes why a line cannot be used, or that it can; the log has what is new.
    fn tell(&self, index: usize, what: &str, id: &str, trouble: Option<&Trouble>) {
        let sentence = trouble.map(|trouble| format!("{what} \"{id}\": {trouble}"));
        let before = std::mem::replace(&mut lock(&self.troubles)[index], sentence.clone());
        match sentence {
            Some(sentence) if before.as_ref() != Some(&sentence) => log::warn!("{sentence}"),
            None if before.is_some() => log::info!("{what} \"{id}\" works again"),
            _ => {}
        }
    }
}

impl Hearer for Shared {
    fn stands(&self, camera: &str, rule: &str, what: &What) {
        self.note(|panel, now| panel.hear(now, camera, rule, what));
    }

    fn said(&self, camera: &str, said: &Said) {
        if let Said::Event(event) = said {
            self.note(|panel, now| panel.hear(now, camera, &event.rule, &event.what));
        }
    }

    fn sight(&self, camera: &str, sight: &Sight) {
        self.note(|panel, _| panel.sight(camera, sight.sees));
    }

    fn decided(&self, camera: &str) {
        self.note(|panel, now| panel.decided(now, camera));
    }
}

/// An output's line, where it could be had.
#[derive(Default)]
struct Wire {
    drive: Option<Box<dyn Drive>>,
    active: bool,
    tried_at: Option<Instant>,
}

impl Wire {
    /// Makes the line so, and says why that did not work; `None` also where it is not yet tried again.
    fn show(&mut self, active: bool, lines: &dyn Lines, output: &Output) -> Option<Result<(), Trouble>> {
        let mut taken = None;
        if self.drive.is_none() {
            if self.tried_at.is_some_and(|tried_at| tried_at.elapsed() < RETRY_EVERY) {
                return None;
            }
            self.tried_at = Some(Instant::now());
            match lines.drive(output) {
                Ok(drive) => (self.drive, self.active, taken) = (Some(drive), false, Some(Ok(()))),
                Err(trouble) => return Some(Err(trouble)),
            }
        }
        let Some(drive) = self.drive.as_mut().filter(|_| self.active != active) else { return taken };
        match drive.set(active) {
            Ok(()) => {
                self.active = active;
                taken
            }
            Err(trouble) => {
                (self.drive, self.tried_at) = (None, Some(Instant::now()));
                Some(Err(trouble))
            }
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if let Some(drive) = &mut self.drive {
            // Where the chip is gone there is nothing left to switch off.
            let _favour = drive.set(false);
        }
    }
}

/// Drives the outputs until it is over.
fn drive(shared: &Shared, lines: &dyn Lines, outputs: &[Output], stop: &Stop) {
    let mut wires: Vec<Wire> = outputs.iter().map(|_| Wire::default()).collect();
    let mut active = vec![false; outputs.len()];
    let mut missed = Missed { told: vec![0; outputs.len()], at: None };
    while !stop.is_over() {
        let now = shared.timeline.moment(Instant::now());
        let next = {
            let mut board = lock(&shared.board);
            board.is_news = false;
            let next = board.panel.advance(now, |output, is_active| active[output] = is_active);
            missed.look(outputs, &board.panel);
            next
        };
        for (index, (wire, output)) in wires.iter_mut().zip(outputs).enumerate() {
            if let Some(result) = wire.show(active[index], lines, output) {
                shared.tell(index, "output", &output.id, result.err().as_ref());
            }
        }
        let board = lock(&shared.board);
        let now = shared.timeline.moment(Instant::now());
        let sleep = next.map_or(LOOK_EVERY, |next| next.since(now).min(LOOK_EVERY));
        if !board.is_news && !sleep.is_zero() {
            drop(shared.noted.wait_timeout(board, sleep).unwrap_or_else(PoisonError::into_inner));
        }
    }
}

/// Parts that gates did not reject, as far as the log knows of them.
struct Missed {
    told: Vec<u64>,
    at: Option<Instant>,
}

impl Missed {
    fn look(&mut self, outputs: &[Output], panel: &Panel) {
        if self.at.is_some_and(|at| at.elapsed() < MISSED_EVERY) {
            return;
        }
        for (index, output) in outputs.iter().enumerate() {
            let missed = panel.parts(index).map_or(0, |(_, missed)| missed);
            if missed > self.told[index] {
                log::warn!(
                    "output \"{}\": bad parts that were judged or served too late and went by: {}; give the verdict more \
                     time or place the gate further on",
                    output.id,
                    missed - self.told[index]
                );
                (self.told[index], self.at) = (missed, Some(Instant::now()));
            }
        }
    }
}

/// Listens to the inputs until it is over. `first` is where their troubles begin.
fn listen(shared: &Shared, lines: &dyn Lines, inputs: &[outputs::Input], first: usize, stop: &Stop) {
    let mut taken: Vec<Option<Box<dyn Listen>>> = inputs.iter().map(|_| None).collect();
    let mut tried_at: Option<Instant> = None;
    while !stop.is_over() {
        if tried_at.is_none_or(|tried_at| tried_at.elapsed() >= RETRY_EVERY) {
            tried_at = Some(Instant::now());
            for (index, (input, slot)) in
                inputs.iter().zip(&mut taken).enumerate().filter(|(_, (_, slot))| slot.is_none())
            {
                let result = lines.listen(input);
                shared.tell(first + index, "input", &input.id, result.as_ref().err());
                *slot = result.ok();
            }
        }
        let open: Vec<(usize, &dyn Listen)> =
            taken.iter().enumerate().filter_map(|(index, slot)| Some((index, &**slot.as_ref()?))).collect();
        let mut ready = match outputs::wait_for(&open, LOOK_EVERY) {
            Ok(ready) => ready,
            Err(error) => {
                log::error!("the inputs cannot be waited for: {error}");
                stop.wait(RETRY_EVERY);
                continue;
            }
        };
        // Where a part stands is known before it is opened.
        ready.sort_by_key(|&index| inputs[index].kind != InputKind::Encoder);
        for index in ready {
            let Some(listening) = &mut taken[index] else { continue };
            match listening.edges() {
                Ok(edges) => hear(shared, &inputs[index], edges),
                Err(trouble) => {
                    taken[index] = None;
                    shared.tell(first + index, "input", &inputs[index].id, Some(&trouble));
                }
            }
        }
    }
}

/// Tells gates and stations of edges. Edges of a trigger that came faster than they could be read are one.
fn hear(shared: &Shared, input: &outputs::Input, edges: u64) {
    let ears = || lock(&shared.ears).clone();
    match input.kind {
        InputKind::Encoder => {
            let ticks = shared.ticks.fetch_add(edges, Ordering::Relaxed).wrapping_add(edges);
            shared.note(|panel, now| panel.ticks(now, ticks));
            if let Some(ears) = ears() {
                ears(Input::Encoder { ticks });
            }
        }
        InputKind::Trigger => {
            if let Some(ears) = ears() {
                ears(Input::Edge { input: &input.id });
            }
        }
    }
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "gpio/tests.rs"]
mod tests;
