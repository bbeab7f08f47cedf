//! The threads of a program: they take the items of a step from one counter until none is left.
//!
//! Steps are short, so handing one over must cost next to nothing: a thread that has run out of items watches for the
//! next step for a moment before it sleeps, and a thread that wakes too late to be of use is not waited for.
#![allow(unsafe_code)]

use std::{
    any::Any,
    cell::UnsafeCell,
    hint::spin_loop,
    io,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle, Thread},
    time::{Duration, Instant},
};

/// How long a thread watches for the next run before it sleeps.
const WATCH: Duration = Duration::from_micros(60);
/// The same where the machine has fewer cores than there are threads, so that another has use for the core.
const WATCH_CROWDED: Duration = Duration::from_micros(2);
/// Looks at the state between two looks at the clock.
const LOOKS: usize = 32;

/// The caller and the threads that help it, `inference-1` and so on; dropping it ends them.
#[derive(Debug)]
pub(super) struct Workers {
    shared: Arc<Shared>,
    threads: Vec<Thread>,
    handles: Vec<JoinHandle<()>>,
}

/// What a run calls: item, worker.
type Body<'a> = dyn Fn(usize, usize) + Sync + 'a;

#[derive(Debug)]
struct Shared {
    state: State,
    /// The next item that nobody has taken.
    next: Counter,
    /// Written by the caller while no run is open and nobody is inside; read by those who are inside.
    job: UnsafeCell<Job>,
    /// For each thread whether it sleeps, or is about to.
    asleep: Vec<AtomicBool>,
    /// The first panic of the open run.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    watch: Duration,
}

#[derive(Clone, Copy)]
struct Job {
    body: *const Body<'static>,
    items: usize,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job").field("items", &self.items).finish_non_exhaustive()
    }
}

// SAFETY: `job` is the only part that is not made for sharing. `State` orders its writes before its reads, and what it
// points to is `Sync`.
unsafe impl Sync for Shared {}
// SAFETY: as above.
unsafe impl Send for Shared {}

/// On a cache line of its own, since all threads write it.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Counter(AtomicUsize);

/// The number of the run in the upper half, then whether it is open, whether the threads shall end, and in the lower
/// bits how many threads are inside.
#[derive(Debug, Default)]
#[repr(align(128))]
struct State(AtomicU64);

const INSIDE: u64 = (1 << 30) - 1;
const END: u64 = 1 << 30;
const OPEN: u64 = 1 << 31;
const RUN: u64 = 1 << 32;

impl Workers {
    /// Starts `threads` - 1 threads; the caller of [`Self::run`] is one as well.
    ///
    /// # Errors
    /// Where a thread cannot be started.
    pub(super) fn new(threads: usize) -> io::Result<Self> {
        let helpers = threads.saturating_sub(1);
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let shared = Arc::new(Shared {
            state: State::default(),
            next: Counter::default(),
            job: UnsafeCell::new(Job { body: &|_, _| (), items: 0 }),
            asleep: (0..helpers).map(|_| AtomicBool::new(false)).collect(),
            panic: Mutex::new(None),
            watch: if cores < threads { WATCH_CROWDED } else { WATCH },
        });
        let mut workers = Self { shared, threads: Vec::new(), handles: Vec::new() };
        for index in 0..helpers {
            let shared = Arc::clone(&workers.shared);
            let name = format!("inference-{}", index + 1);
            let handle = thread::Builder::new().name(name).spawn(move || shared.serve(index))?;
            workers.threads.push(handle.thread().clone());
            workers.handles.push(handle);
        }
        Ok(workers)
    }

    /// Calls `body(item, worker)` once for each item below `items`. Calls with the same `worker`, which is below
    /// the number of threads, never overlap. All calls have returned when this does.
    ///
    /// # Panics
    /// Where a call panics: then items that nobody has begun are left out.
    pub(super) fn run(&mut self, items: usize, body: &Body<'_>) {
        if items <= 1 || self.threads.is_empty() {
            (0..items).for_each(|item| body(item, 0));
            return;
        }
        let shared = &*self.shared;
        // SAFETY: the lifetime is forgotten only until `close` has returned, after which nobody calls the body.
        let body = unsafe { std::mem::transmute::<*const Body<'_>, *const Body<'static>>(body) };
        let job = Job { body, items };
        // SAFETY: no run is open and nobody is inside: each run ends so below, and `&mut self` keeps runs apart.
        unsafe { *shared.job.get() = job };
        shared.next.0.store(0, Ordering::Relaxed);
        shared.state.open();
        for (asleep, thread) in shared.asleep.iter().zip(&self.threads) {
            if asleep.load(Ordering::SeqCst) && asleep.swap(false, Ordering::SeqCst) {
                thread.unpark();
            }
        }
        shared.take(job, 0);
        shared.state.close(shared.watch);
        if let Some(panic) = shared.panic.lock().unwrap_or_else(PoisonError::into_inner).take() {
            resume_unwind(panic);
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.shared.state.0.fetch_or(END, Ordering::SeqCst);
        self.threads.iter().for_each(Thread::unpark);
        for handle in self.handles.drain(..) {
            // A thread catches what its items raise, so there is nothing to learn from how it ended.
            let _ = handle.join();
        }
    }
}

impl State {
    /// Opens the next run.
    fn open(&self) {
        let last = self.0.load(Ordering::Relaxed);
        self.0.store((last & !(RUN - 1)).wrapping_add(RUN) | OPEN, Ordering::SeqCst);
    }

    /// Lets nobody else in and waits until all are out; spins for so long before it gives up the core in between.
    fn close(&self, watch: Duration) {
        let mut state = self.0.fetch_and(!OPEN, Ordering::AcqRel);
        let mut since = None;
        while state & INSIDE != 0 {
            for _ in 0..LOOKS {
                spin_loop();
                state = self.0.load(Ordering::Acquire);
                if state & INSIDE == 0 {
                    return;
                }
            }
            if since.get_or_insert_with(Instant::now).elapsed() > watch {
                thread::yield_now();
            }
        }
    }

    /// Enters the run of `state` if that is still open.
    fn enter(&self, mut state: u64) -> bool {
        let run = state / RUN;
        while state & OPEN != 0 && state / RUN == run {
            match self.0.compare_exchange_weak(state, state + 1, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return true,
                Err(now) => state = now,
            }
        }
        false
    }
}

impl Shared {
    /// What a thread does until the end.
    fn serve(&self, index: usize) {
        let mut seen = 0;
        loop {
            let state = self.wait(seen, &self.asleep[index]);
            if state & END != 0 {
                return;
            }
            seen = state / RUN;
            if self.state.enter(state) {
                // SAFETY: the run is open and this thread is inside, so that the caller neither writes it nor lets go
                // of the body before the thread is out again.
                let job = unsafe { *self.job.get() };
                self.take(job, index + 1);
                self.state.0.fetch_sub(1, Ordering::AcqRel);
            }
        }
    }

    /// The state once there is a run after `seen`, or the end.
    fn wait(&self, seen: u64, asleep: &AtomicBool) -> u64 {
        let news = |state: u64| state & END != 0 || (state / RUN != seen && state & OPEN != 0);
        let since = Instant::now();
        loop {
            for _ in 0..LOOKS {
                let state = self.state.0.load(Ordering::Acquire);
                if news(state) {
                    return state;
                }
                spin_loop();
            }
            if since.elapsed() > self.watch {
                break;
            }
        }
        loop {
            // Either this thread sees the run here or its caller sees that the thread sleeps: both are in one order.
            asleep.store(true, Ordering::SeqCst);
            let state = self.state.0.load(Ordering::SeqCst);
            if news(state) {
                asleep.store(false, Ordering::SeqCst);
                return state;
            }
            thread::park();
        }
    }

    /// Calls the body for items as long as there are any; keeps what it raises for the caller.
    fn take(&self, job: Job, worker: usize) {
        let calls = || {
            loop {
                let item = self.next.0.fetch_add(1, Ordering::Relaxed);
                if item >= job.items {
                    break;
                }
                // SAFETY: whoever takes items is the caller itself or inside of its run, in which the body lives.
                unsafe { (*job.body)(item, worker) };
            }
        };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(calls)) {
            self.next.0.fetch_max(job.items, Ordering::Relaxed);
            self.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(panic);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(len: usize) -> Vec<AtomicUsize> {
        (0..len).map(|_| AtomicUsize::new(0)).collect()
    }

    #[test]
    fn each_item_is_run_once_in_thousands_of_tiny_runs() {
        for threads in [1, 2, 3, 7] {
            let mut workers = Workers::new(threads).unwrap();
            assert_eq!(workers.threads.len() + 1, threads);
            for round in 0..4000 {
                let items = round % 13;
                let seen = counts(items);
                let busy = counts(threads);
                workers.run(items, &|item, worker| {
                    assert_eq!(busy[worker].fetch_add(1, Ordering::SeqCst), 0, "a worker is one thread at a time");
                    seen[item].fetch_add(1, Ordering::SeqCst);
                    busy[worker].fetch_sub(1, Ordering::SeqCst);
                });
                assert!(seen.iter().all(|count| count.load(Ordering::SeqCst) == 1), "{threads} threads, {items} items");
            }
        }
    }

    #[test]
    fn threads_wake_from_sleep() {
        let mut workers = Workers::new(2).unwrap();
        for _ in 0..20 {
            while !workers.shared.asleep[0].load(Ordering::SeqCst) {
                thread::yield_now();
            }
            // The first item lasts until another thread has begun the second.
            let begun = AtomicUsize::new(0);
            workers.run(2, &|_, _| {
                begun.fetch_add(1, Ordering::SeqCst);
                while begun.load(Ordering::SeqCst) < 2 {
                    thread::yield_now();
                }
            });
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_threads_stay_usable() {
        let mut workers = Workers::new(3).unwrap();
        for round in 0..50 {
            let inside = AtomicUsize::new(0);
            let caught = catch_unwind(AssertUnwindSafe(|| {
                workers.run(20, &|item, _| {
                    inside.fetch_add(1, Ordering::SeqCst);
                    let panics = item == round % 20;
                    inside.fetch_sub(1, Ordering::SeqCst);
                    if panics {
                        resume_unwind(Box::new("item"));
                    }
                });
            }));
            assert_eq!(caught.unwrap_err().downcast_ref::<&str>(), Some(&"item"));
            assert_eq!(inside.load(Ordering::SeqCst), 0, "all others have stopped");
            let sum = AtomicUsize::new(0);
            workers.run(10, &|item, _| _ = sum.fetch_add(item, Ordering::SeqCst));
            assert_eq!(sum.load(Ordering::SeqCst), 45);
        }
    }

    #[test]
    fn dropping_ends_threads_that_watch_and_that_sleep() {
        for _ in 0..50 {
            let mut workers = Workers::new(4).unwrap();
            workers.run(8, &|_, _| ());
            drop(workers);
            let workers = Workers::new(3).unwrap();
            while !workers.shared.asleep.iter().all(|asleep| asleep.load(Ordering::SeqCst)) {
                thread::yield_now();
            }
            drop(workers);
        }
    }
}
