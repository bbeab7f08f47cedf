//! How much was seen of late: hits among the last frames, or different things within a time.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{FRAMES_MAX, THINGS_MAX, When};
use crate::moment::Moment;

/// What was seen of late, made once and never larger.
#[derive(Clone, Debug)]
pub(super) enum Window {
    /// The last frames.
    Frames {
        /// So many hits are enough.
        count: u32,
        /// The width.
        frames: u32,
        /// Frames so far, at most the width.
        known: u32,
        /// A bit a frame, set where it was a hit; the last one lowest.
        hits: u64,
    },
    /// The last things.
    Within {
        /// So many are enough.
        count: usize,
        /// The time.
        span: Duration,
        /// The last ones seen, at most `count`, each once.
        things: Vec<Thing>,
    },
}

/// When something was seen last.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Thing {
    /// Its track; `None` stands for a frame, which is one thing.
    track: Option<u64>,
    at: Moment,
}

/// What has to be known after a restart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Memory {
    known: u32,
    hits: u64,
    things: Vec<Thing>,
}

impl Window {
    pub(super) fn new(when: When) -> Self {
        match when {
            When::Frames { count, frames } => {
                let frames = frames.clamp(1, FRAMES_MAX);
                Self::Frames { count: count.clamp(1, frames), frames, known: 0, hits: 0 }
            }
            When::Within { count, span } => {
                let count = count.clamp(1, THINGS_MAX) as usize;
                Self::Within { count, span, things: Vec::with_capacity(count) }
            }
        }
    }

    /// A frame is over, with a hit in it or without.
    pub(super) fn frame(&mut self, hit: bool) {
        if let Self::Frames { frames, known, hits, .. } = self {
            *known = (*known + 1).min(*frames);
            *hits = (*hits << 1 | u64::from(hit)) & (u64::MAX >> (FRAMES_MAX - *frames));
        }
    }

    /// A thing was a hit; `None`: something in this frame was.
    pub(super) fn thing(&mut self, track: Option<u64>, now: Moment) {
        let Self::Within { count, things, .. } = self else { return };
        let seen = Thing { track, at: now };
        if let Some(known) = things.iter_mut().find(|thing| track.is_some() && thing.track == track) {
            *known = seen;
        } else if things.len() < *count {
            things.push(seen);
        } else if let Some(oldest) = things.iter_mut().min_by_key(|thing| thing.at) {
            *oldest = seen;
        }
    }

    /// Lets go what was seen too long ago.
    pub(super) fn pass(&mut self, now: Moment) {
        if let Self::Within { span, things, .. } = self {
            things.retain(|thing| now.since(thing.at) <= *span);
        }
    }

    /// Whether enough was seen.
    pub(super) fn is_reached(&self) -> bool {
        match self {
            Self::Frames { count, hits, .. } => hits.count_ones() >= *count,
            Self::Within { count, things, .. } => things.len() >= *count,
        }
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        match self {
            Self::Frames { known, hits, .. } => (*known, *hits) = (0, 0),
            Self::Within { things, .. } => things.clear(),
        }
    }

    /// How much there is of it, in words that follow what it is.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Frames { frames: 1, .. } => " in this frame".to_owned(),
            Self::Frames { known, hits, .. } => format!(" in {} of the last {known} frames", hits.count_ones()),
            Self::Within { span, things, .. } => {
                let unit = if things.iter().any(|thing| thing.track.is_some()) { "thing" } else { "frame" };
                let plural = if things.len() == 1 { "" } else { "s" };
                format!(", {} {unit}{plural} in {} s", things.len(), span.as_secs_f64())
            }
        }
    }

    /// What has to be known after a restart.
    pub(super) fn memory(&self) -> Memory {
        match self {
            Self::Frames { known, hits, .. } => Memory { known: *known, hits: *hits, things: Vec::new() },
            Self::Within { things, .. } => Memory { things: things.clone(), ..Memory::default() },
        }
    }

    /// Goes on with what an earlier process has seen; what lies in the future is seen now.
    pub(super) fn recall(&mut self, memory: Memory, now: Moment) {
        match self {
            Self::Frames { frames, known, hits, .. } => {
                *known = memory.known.min(*frames);
                *hits = memory.hits & (u64::MAX >> (FRAMES_MAX - *frames));
            }
            Self::Within { count, things, .. } => {
                things.clear();
                let seen = memory.things.iter().map(|thing| Thing { at: thing.at.min(now), ..*thing });
                things.extend(seen.take(*count));
            }
        }
    }
}
