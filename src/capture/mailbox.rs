//! The hand-over from cameras to a detector: one slot per camera holds one frame, and the newest wins.
//!
//! A camera never waits here, and frames change hands by swapping buffers, so that nothing is allocated or copied once
//! every buffer has grown to its size. What happens to a camera that stops, or to a detector that is slow, is for their
//! owners to notice.

use std::{
    mem,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::frame::Frame;

/// Frames on their way from several cameras to one detector.
///
/// Bound: one frame per camera. Drop policy: a frame that arrives replaces the one that nobody took, and carries in
/// [`Frame::dropped`] how many were lost since the last one taken: the replaced ones and those the source lost itself.
#[derive(Debug)]
pub struct Inbox {
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Debug)]
struct State {
    slots: Vec<Slot>,
    /// The camera that is looked at first by the next [`Inbox::take`].
    first: usize,
    closed: bool,
}

#[derive(Debug)]
struct Slot {
    frame: Frame,
    full: bool,
}

impl Inbox {
    /// An inbox for this many cameras, which are named by their index.
    pub fn new(cameras: usize) -> Self {
        let slots = (0..cameras).map(|_| Slot { frame: Frame::empty(), full: false }).collect();
        Self { state: Mutex::new(State { slots, first: 0, closed: false }), arrived: Condvar::new() }
    }

    /// Hands over a camera's frame and gives back a spare one, whose contents mean nothing, to be filled next.
    ///
    /// Returns false once the inbox is closed: the frame stays with the caller.
    ///
    /// # Panics
    /// Where `camera` is not below the number given to [`Inbox::new`].
    pub fn put(&self, camera: usize, frame: &mut Frame) -> bool {
        let mut state = self.lock();
        if state.closed {
            return false;
        }
        let slot = &mut state.slots[camera];
        if slot.full {
            frame.dropped = frame.dropped.saturating_add(slot.frame.dropped).saturating_add(1);
        }
        mem::swap(&mut slot.frame, frame);
        slot.full = true;
        drop(state);
        self.arrived.notify_one();
        true
    }

    /// Waits at most `timeout` for a frame of any camera, swaps it into `frame` and says whose it is.
    ///
    /// Cameras take turns: one that has been served is served again after every other that has a frame. Frames that were
    /// handed over before [`Inbox::close`] are still given out; `None` comes at once when it is closed and empty.
    pub fn take(&self, frame: &mut Frame, timeout: Duration) -> Option<usize> {
        let deadline = Instant::now().checked_add(timeout);
        let mut state = self.lock();
        loop {
            let cameras = state.slots.len();
            let turn =
                (0..cameras).map(|offset| (state.first + offset) % cameras).find(|&camera| state.slots[camera].full);
            if let Some(camera) = turn {
                state.first = (camera + 1) % cameras;
                let slot = &mut state.slots[camera];
                slot.full = false;
                mem::swap(&mut slot.frame, frame);
                return Some(camera);
            }
            if state.closed {
                return None;
            }
            let left = match deadline {
                Some(deadline) => deadline.saturating_duration_since(Instant::now()),
                None => timeout,
            };
            if left.is_zero() {
                return None;
            }
            state = self.arrived.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Ends the hand-over: wakes whoever waits in [`Inbox::take`], and later frames are refused.
    pub fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_all();
    }

    /// Whether [`Inbox::close`] was called.
    pub fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// The lock is held for swaps and sums only, so a thread that panicked elsewhere has left nothing half done.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, thread};

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    fn frame(seq: u64, dropped: u64) -> Frame {
        Frame { seq, dropped, ..Frame::empty() }
    }

    #[test]
    fn the_newest_wins_and_the_lost_are_counted() {
        let inbox = Inbox::new(1);
        for (seq, dropped) in [(1, 0), (2, 0), (6, 3)] {
            assert!(inbox.put(0, &mut frame(seq, dropped)));
        }
        let mut taken = Frame::empty();
        assert_eq!(inbox.take(&mut taken, Duration::ZERO), Some(0));
        assert_eq!((taken.seq, taken.dropped), (6, 5));
        assert_eq!(inbox.take(&mut taken, Duration::ZERO), None);
        inbox.put(0, &mut frame(7, 0));
        assert_eq!(inbox.take(&mut taken, Duration::ZERO), Some(0));
        assert_eq!((taken.seq, taken.dropped), (7, 0));
    }

    #[test]
    fn buffers_are_swapped_and_not_copied() {
        let inbox = Inbox::new(1);
        let mut camera = Frame { data: vec![7; 1000], ..Frame::empty() };
        let mut detector = Frame { data: vec![9; 500], ..Frame::empty() };
        let (sent, spare) = (camera.data.as_ptr(), detector.data.as_ptr());
        inbox.put(0, &mut camera);
        assert_eq!(inbox.take(&mut detector, Duration::ZERO), Some(0));
        assert_eq!(detector.data.as_ptr(), sent);
        // The detector's old buffer lies in the slot now, and comes to the camera with the next hand-over.
        inbox.put(0, &mut camera);
        assert_eq!(camera.data.as_ptr(), spare);
    }

    #[test]
    fn cameras_take_turns() {
        let inbox = Inbox::new(3);
        let mut taken = Frame::empty();
        let mut order = Vec::new();
        for _ in 0..4 {
            // Camera 0 is fast and has a frame at every turn; the others must not starve.
            for camera in 0..3 {
                inbox.put(camera, &mut frame(0, 0));
            }
            order.push(inbox.take(&mut taken, Duration::ZERO).unwrap());
        }
        assert_eq!(order, [0, 1, 2, 0]);
        inbox.put(0, &mut frame(0, 0));
        assert_eq!(inbox.take(&mut taken, Duration::ZERO), Some(1));
    }

    #[test]
    fn closing_wakes_the_taker_and_refuses_frames() {
        let inbox = Arc::new(Inbox::new(1));
        let taker = thread::spawn({
            let inbox = Arc::clone(&inbox);
            move || inbox.take(&mut Frame::empty(), LONG)
        });
        inbox.close();
        assert_eq!(taker.join().unwrap(), None);
        assert!(inbox.is_closed());
        assert!(!inbox.put(0, &mut frame(1, 0)));
        assert_eq!(inbox.take(&mut Frame::empty(), LONG), None);
    }

    #[test]
    fn what_was_handed_over_before_the_end_is_given_out() {
        let inbox = Inbox::new(1);
        inbox.put(0, &mut frame(4, 0));
        inbox.close();
        let mut taken = Frame::empty();
        assert_eq!(inbox.take(&mut taken, LONG), Some(0));
        assert_eq!(taken.seq, 4);
        assert_eq!(inbox.take(&mut taken, LONG), None);
    }

    #[test]
    fn no_frame_is_lost_uncounted_between_threads() {
        const FRAMES: u64 = 20_000;
        const CAMERAS: usize = 3;
        let inbox = Arc::new(Inbox::new(CAMERAS));
        let cameras: Vec<_> = (0..CAMERAS)
            .map(|camera| {
                let inbox = Arc::clone(&inbox);
                thread::spawn(move || {
                    let mut filled = Frame::empty();
                    let mut seq = 0;
                    while seq < FRAMES {
                        // Now and then the driver itself loses one.
                        let lost = u64::from(seq % 11 == 10 && seq + 1 < FRAMES);
                        seq += lost;
                        (filled.seq, filled.dropped) = (seq, lost);
                        assert!(inbox.put(camera, &mut filled));
                        seq += 1;
                        if seq % 64 == 0 {
                            thread::yield_now();
                        }
                    }
                })
            })
            .collect();
        let detector = thread::spawn({
            let inbox = Arc::clone(&inbox);
            move || {
                let mut taken = Frame::empty();
                let mut next = [0; CAMERAS];
                while let Some(camera) = inbox.take(&mut taken, LONG) {
                    assert_eq!(taken.seq, next[camera] + taken.dropped, "camera {camera}");
                    next[camera] = taken.seq + 1;
                }
                next
            }
        });
        for camera in cameras {
            camera.join().unwrap();
        }
        inbox.close();
        assert_eq!(detector.join().unwrap(), [FRAMES; CAMERAS]);
    }
}
