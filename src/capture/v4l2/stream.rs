//! The stream of a camera: buffers that the driver fills, handed over newest first.
//!
//! Every sequence number that the driver counts is accounted for once: delivered, or counted as dropped with the next
//! picture that is delivered, as damaged ones are, too. What to do when a stream stalls or breaks is the owner's decision.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use super::node::{Dequeued, Mapping, Node, Ready, monotonic_now};

/// Buffers asked of the driver. While we copy out of one it always has others to fill; when none is read in time it
/// stops, and what it holds is old: see [`Stream::next`].
const BUFFERS: u32 = 4;

/// A stamp further back than this is not believed.
const AGE_MAX: Duration = Duration::from_secs(60);

/// A running stream; stopped when dropped.
pub(super) struct Stream {
    node: Arc<Node>,
    buffers: Vec<Buffer>,
    sequence: Sequence,
    picture_len_min: usize,
    /// Pictures older than this, out of buffers that were all full, are old news.
    fresh_within: Duration,
}

struct Buffer {
    mapping: Mapping,
    /// Ours, and yet to be given back to the driver.
    held: bool,
}

/// A picture that came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Picture {
    pub(super) captured_at: Instant,
    pub(super) seq: u64,
    pub(super) dropped: u64,
}

/// Why there is no picture.
#[derive(Debug)]
pub(super) enum Fault {
    /// This one is damaged: why. The next may be good.
    Damaged(String),
    /// The stream is over.
    Over(io::Error),
}

impl Stream {
    /// Starts the stream. A picture of less than `picture_len_min` bytes is damaged; `interval` is from one to the next.
    pub(super) fn start(node: Arc<Node>, picture_len_min: usize, interval: Option<Duration>) -> io::Result<Self> {
        let mappings = node.map_buffers(BUFFERS)?;
        let buffers = mappings.into_iter().map(|mapping| Buffer { mapping, held: true }).collect();
        let fresh_within = interval.map_or(Duration::from_millis(200), |interval| interval * 2);
        let mut stream = Self { node, buffers, sequence: Sequence::default(), picture_len_min, fresh_within };
        stream.give_back()?;
        stream.node.stream(true)?;
        Ok(stream)
    }

    /// Waits at most `timeout` for a picture and copies it into `data`; `None` when there was none in time.
    ///
    /// Of several that are ready the newest good one is taken. When all buffers were full, the driver had none to fill
    /// and even the newest may be old; if its stamp says so, or it has none, the next picture is waited for.
    pub(super) fn next(&mut self, data: &mut Vec<u8>, timeout: Duration) -> Result<Option<Picture>, Fault> {
        let deadline = Instant::now() + timeout;
        let (mut waited, mut renewed) = (false, false);
        loop {
            let batch = self.take_all()?;
            if let Some(taken) = batch.newest_good {
                let captured_at = instant_of(taken.stamp, monotonic_now(), Instant::now());
                let stale = taken.stamp.is_none() || captured_at.elapsed() > self.fresh_within;
                if !(batch.all_were_full && stale) || renewed {
                    return self.deliver(taken, captured_at, data).map(Some);
                }
                // Once, lest a driver with few buffers and no stamps never passes.
                renewed = true;
            } else if let Some(taken) = batch.newest_damaged {
                return Err(Fault::Damaged(format!("the driver marked frame {} as damaged", taken.sequence)));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if waited && left.is_zero() {
                return Ok(None);
            }
            waited = true;
            if self.node.wait(left).map_err(Fault::Over)? == Ready::Error {
                // The ioctl knows better what is wrong than poll does.
                return Err(Fault::Over(match self.node.dequeue() {
                    Err(error) => error,
                    Ok(_) => io::Error::from_raw_os_error(libc::EIO),
                }));
            }
        }
    }

    /// Copies a picture out and gives its buffer back.
    fn deliver(&mut self, taken: Dequeued, captured_at: Instant, data: &mut Vec<u8>) -> Result<Picture, Fault> {
        let bytes = self.buffers[taken.index].mapping.bytes(taken.bytes_used);
        data.clear();
        data.extend_from_slice(bytes);
        self.give_back().map_err(Fault::Over)?;
        if data.len() < self.picture_len_min.max(1) {
            return Err(Fault::Damaged(format!(
                "frame {} has {} bytes instead of {}",
                taken.sequence,
                data.len(),
                self.picture_len_min.max(1)
            )));
        }
        let (seq, dropped) = self.sequence.next(taken.sequence);
        Ok(Picture { captured_at, seq, dropped })
    }

    /// Takes what is ready and gives all back but the newest good one. Takes each buffer once, so it ends.
    fn take_all(&mut self) -> Result<Batch, Fault> {
        let mut batch = Batch::default();
        self.give_back().map_err(Fault::Over)?;
        for taken_before in 1..=self.buffers.len() {
            let Some(taken) = self.node.dequeue().map_err(Fault::Over)? else { break };
            let Some(buffer) = self.buffers.get_mut(taken.index) else {
                return Err(Fault::Over(io::Error::from_raw_os_error(libc::EBADSLT)));
            };
            buffer.held = true;
            let newest = if taken.damaged { &mut batch.newest_damaged } else { &mut batch.newest_good };
            *newest = Some(taken);
            batch.all_were_full = taken_before == self.buffers.len();
        }
        let kept = batch.newest_good.map(|taken| taken.index);
        self.give_back_but(kept).map_err(Fault::Over)?;
        Ok(batch)
    }

    fn give_back(&mut self) -> io::Result<()> {
        self.give_back_but(None)
    }

    /// Gives buffers that are ours back to the driver. One that it refuses is offered again the next time; when it takes
    /// none at all, the stream is over.
    fn give_back_but(&mut self, kept: Option<usize>) -> io::Result<()> {
        let mut refused = None;
        for (index, buffer) in self.buffers.iter_mut().enumerate() {
            if !buffer.held || kept == Some(index) {
                continue;
            }
            match self.node.queue(index) {
                Ok(()) => buffer.held = false,
                Err(error) if error.raw_os_error() == Some(libc::ENODEV) => return Err(error),
                Err(error) => refused = Some(error),
            }
        }
        match refused {
            Some(error) if self.buffers.iter().all(|buffer| buffer.held) => Err(error),
            _ => Ok(()),
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // The device may be gone, and then nothing is left to stop or to free; the descriptor closes in any case.
        let _ = self.node.stream(false);
        self.buffers.clear();
        let _ = self.node.free_buffers();
    }
}

/// What one look at the driver brought.
#[derive(Default)]
struct Batch {
    newest_good: Option<Dequeued>,
    newest_damaged: Option<Dequeued>,
    all_were_full: bool,
}

/// The driver's 32-bit frame numbers, carried on to 64 bits.
#[derive(Default)]
struct Sequence {
    last: Option<(u32, u64)>,
}

impl Sequence {
    /// The number of a frame that is delivered and how many are missing before it. Numbers that stand still or go back, as some
    /// drivers give them, tell nothing and count as the next.
    fn next(&mut self, sequence: u32) -> (u64, u64) {
        let (seq, missing) = match self.last {
            None => (u64::from(sequence), 0),
            Some((last, seq)) => match sequence.wrapping_sub(last) {
                0 | 0x8000_0000.. => (seq + 1, 0),
                gap => (seq + u64::from(gap), u64::from(gap) - 1),
            },
        };
        self.last = Some((sequence, seq));
        (seq, missing)
    }
}

/// When a stamp on the monotonic clock was. A stamp that is missing, ahead of now or older than [`AGE_MAX`] is not
/// believed: then it is now.
fn instant_of(stamp: Option<Duration>, monotonic_now: Duration, now: Instant) -> Instant {
    stamp
        .and_then(|stamp| monotonic_now.checked_sub(stamp))
        .filter(|age| *age <= AGE_MAX)
        .and_then(|age| now.checked_sub(age))
        .unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_counted_across_the_wrap_of_32_bits() {
        let mut sequence = Sequence::default();
        let base = u64::from(u32::MAX) - 1;
        assert_eq!(sequence.next(u32::MAX - 1), (base, 0));
        assert_eq!(sequence.next(u32::MAX), (base + 1, 0));
        assert_eq!(sequence.next(3), (base + 5, 3));
    }

    #[test]
    fn the_first_number_is_no_gap_whatever_it_is() {
        assert_eq!(Sequence::default().next(17), (17, 0));
    }

    #[test]
    fn numbers_that_stand_still_or_go_back_count_as_the_next() {
        let mut sequence = Sequence::default();
        assert_eq!(sequence.next(5), (5, 0));
        assert_eq!(sequence.next(5), (6, 0));
        assert_eq!(sequence.next(0), (7, 0));
        assert_eq!(sequence.next(2), (9, 1));
    }

    #[test]
    fn a_stamp_is_carried_over_by_its_age() {
        let now = Instant::now();
        let clock = Duration::from_secs(1000);
        let ago = |ms| now.checked_sub(Duration::from_millis(ms)).unwrap();
        assert_eq!(instant_of(Some(clock - Duration::from_millis(40)), clock, now), ago(40));
        assert_eq!(instant_of(Some(clock), clock, now), now);
        assert_eq!(instant_of(Some(clock + Duration::from_millis(1)), clock, now), now, "ahead");
        assert_eq!(instant_of(None, clock, now), now, "absent");
        assert_eq!(instant_of(Some(clock - AGE_MAX - Duration::from_millis(1)), clock, now), now, "too old");
    }
}
