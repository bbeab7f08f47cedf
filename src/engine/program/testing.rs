//! What the tests of steps share: an arena of random bytes, and items that run in any order.
#![allow(unsafe_code, reason = "steps are unsafe to run")]

use super::{
    super::kernels::Kernels,
    arena::Arena,
    work::{Context, Inputs, Work},
};

/// Numbers without an order that are the same in each run (xorshift).
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) as usize % limit
    }

    pub(super) fn float(&mut self) -> f32 {
        (self.below(2_000_001) as f32 - 1e6) * 1e-5
    }
}

/// An arena whose contents can be looked at.
pub(super) struct Fixture {
    arena: Arena,
    kernels: &'static Kernels,
    taken: usize,
    len: usize,
}

impl Fixture {
    /// Filled with random finite floats.
    pub(super) fn new(kernels: &'static Kernels, len: usize, random: &mut Random) -> Self {
        let mut fixture = Self { arena: Arena::new(len), kernels, taken: 0, len };
        for at in (0..len - 3).step_by(4) {
            fixture.set_float(at, random.float());
        }
        fixture
    }

    /// The place of so many bytes that nobody else has, aligned to 64.
    pub(super) fn take(&mut self, len: usize) -> usize {
        let at = self.taken.next_multiple_of(64);
        self.taken = at + len;
        assert!(self.taken <= self.len);
        at
    }

    pub(super) fn byte(&mut self, at: usize) -> u8 {
        // SAFETY: nobody else has the arena.
        unsafe { self.arena.memory().bytes(at, 1)[0] }
    }

    pub(super) fn float(&mut self, at: usize) -> f32 {
        // SAFETY: as above.
        unsafe { self.arena.memory().floats(at, 1)[0] }
    }

    pub(super) fn set_float(&mut self, at: usize, number: f32) {
        // SAFETY: as above.
        unsafe { self.arena.memory().floats_mut(at, 1)[0] = number };
    }

    /// All bytes.
    pub(super) fn bytes(&mut self) -> Vec<u8> {
        let len = self.len;
        // SAFETY: as above.
        unsafe { self.arena.memory().bytes(0, len).to_vec() }
    }

    /// Runs a step, the items of each phase in any order, with scratch of any contents.
    pub(super) fn run(&mut self, work: &impl Work, inputs: &[&[f32]], random: &mut Random) {
        let cx = Context { kernels: self.kernels, memory: self.arena.memory(), inputs: Inputs::Floats(inputs) };
        let mut scratch = Arena::new(work.scratch_len(self.kernels));
        for phase in 0..work.phases() {
            let mut items: Vec<usize> = (0..work.items(phase, &cx)).collect();
            while !items.is_empty() {
                let item = items.swap_remove(random.below(items.len()));
                // SAFETY: nobody else has the scratch.
                let scratch = unsafe { scratch.memory().bytes_mut(0, work.scratch_len(self.kernels)) };
                scratch.fill(0xff);
                // SAFETY: nobody else has the arena.
                unsafe { work.run(phase, item, &cx, scratch) };
            }
        }
    }
}
