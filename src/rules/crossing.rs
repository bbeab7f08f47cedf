//! Which tracks cross a line: once they were seen on one side of its band and then on the other. Counts, totals and verdicts
//! by line rest on it.
//!
//! - Only a detection moves a track from side to side, not a prediction. A thing that is lost in the band and found beyond it
//!   has crossed, and so has one that jumps over the band between two frames. What passes beside the ends of the line has
//!   not.
//! - A track whose first detection lies in the band came from the side that it does not leave to: it appeared there, so
//!   leaving is crossing. A track that is older and only now heard of takes the side that it leaves to, and has not crossed.
//! - The first crossing of a track counts at once. Going back is told, and counts only when the track has ended there: a belt
//!   that backs up and goes on counts each thing once.
//! - A new track that starts near where another was lost a short while ago goes on with what is known of that one, unless it
//!   would undo its crossing: then it is more likely the next thing. So is a track that was counted and jumps back. If the
//!   one that was lost comes back, they are two.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    counter::Booked,
    place::{Anchor, Line, Ruler, Side},
};
use crate::{
    event::Way,
    geometry::{Point, Size},
    moment::Moment,
    track::{Track, TrackState},
};

/// A track that is gone is remembered for so long after its last detection, for one that goes on with it.
pub(super) const REMEMBERED: Duration = Duration::from_secs(3);

/// A track that was not seen for so long may be found on another thing.
const AWAY: Duration = Duration::from_millis(250);

/// A track that was not seen for longer is not where it was, but where it is expected.
const STAYS: Duration = Duration::from_millis(500);

/// So many tracks are remembered at most; of more, that which was not seen for longest is forgotten, and the way back of it
/// with it.
pub(super) const TRACKS_MAX: usize = 1024;

/// A track that was seen in no more frames than this when it is first heard of began there.
pub(super) const FRESH_FRAMES_MAX: u32 = 2;

/// Follows tracks across one line.
#[derive(Debug)]
pub(super) struct Crossings {
    line: Line,
    anchor: Anchor,
    /// By rising id.
    known: Vec<Known>,
    /// When the last frame was taken.
    frame_at: Option<Moment>,
    /// The first frame after the last gap: who was not seen since is not where it would have gone.
    sees_since: Option<Moment>,
    settled: Vec<Settled>,
    handed: Vec<(u64, u64)>,
    renewed: Vec<u64>,
    parted: Vec<Parted>,
}

/// A track that went on as a lost one, until that one came back: so it is another thing, and has not been counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parted {
    /// The track.
    pub(super) track: u64,
    /// Whether it was first seen inside.
    pub(super) inside: bool,
}

/// A track ended on the other side than that where it was counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settled {
    /// The track.
    pub(super) track: u64,
    /// The class as which it was counted.
    pub(super) name: String,
    /// The way that it went at last.
    pub(super) way: Way,
    /// Where it was counted.
    pub(super) booked: Booked,
    /// When.
    pub(super) counted_at: Moment,
}

/// What is known of a track; short names keep a long memory within a note.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Known {
    #[serde(rename = "i")]
    id: u64,
    /// The class that it was seen as most.
    class: String,
    /// When it was last detected.
    #[serde(rename = "s")]
    seen: Moment,
    /// Where its anchor was then, in pixels.
    #[serde(rename = "p")]
    at: (f32, f32),
    /// How fast it moved, in pixels per second.
    #[serde(rename = "v")]
    velocity: (f32, f32),
    /// The longer side of its box in pixels: how far from where it is expected it may be found again.
    #[serde(rename = "r")]
    reach: f32,
    /// The side where it was first seen; `None` where that was in the band.
    #[serde(rename = "b", skip_serializing_if = "Option::is_none")]
    begun: Option<Side>,
    /// The side where it was last; `None` as long as it was only in the band.
    #[serde(rename = "d", skip_serializing_if = "Option::is_none")]
    side: Option<Side>,
    /// The side where it is as far as crossings were told.
    #[serde(rename = "t", skip_serializing_if = "Option::is_none")]
    told: Option<Side>,
    /// Whether its last way over the line led between the ends; `None` where it did not pass it since it was on `side`.
    #[serde(rename = "w", skip_serializing_if = "Option::is_none")]
    through: Option<bool>,
    /// Whether it began where it was first heard of.
    #[serde(rename = "f")]
    fresh: bool,
    /// Once it has counted.
    #[serde(rename = "c", skip_serializing_if = "Option::is_none")]
    counted: Option<Counted>,
    /// Where it went at last with a crossing.
    #[serde(rename = "l", skip_serializing_if = "Option::is_none")]
    last: Option<Side>,
    /// The track that goes on with it, until it comes back itself.
    #[serde(rename = "h", skip_serializing_if = "Option::is_none")]
    heir: Option<u64>,
    /// Whether how it was counted is that of the track with which it goes on.
    #[serde(rename = "e")]
    inherited: bool,
}

/// How a track was counted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Counted {
    /// The side that it went to.
    side: Side,
    /// Its class then.
    name: String,
    booked: Booked,
    at: Moment,
}

/// What has to be known after a restart.
#[derive(Debug, Serialize, Deserialize)]
struct Memory {
    /// The line as it was: with another one the sides mean nothing.
    place: String,
    frame_at: Option<Moment>,
    known: Vec<Known>,
}

impl Crossings {
    /// One that has seen nothing. The band of the line may be 0 wide; then whatever trembles on it crosses.
    pub(super) fn new(line: Line, anchor: Anchor) -> Self {
        Self {
            line,
            anchor,
            known: Vec::new(),
            frame_at: None,
            sees_since: None,
            settled: Vec::new(),
            handed: Vec::new(),
            renewed: Vec::new(),
            parted: Vec::new(),
        }
    }

    /// Takes the tracks of a frame of this size, taken `now`. Says of each crossing of a wanted track which way it leads and
    /// whether it is the track's first, which counts. A track that crosses while it is not wanted has crossed once it is.
    pub(super) fn update(
        &mut self,
        tracks: &[Track],
        size: Size,
        now: Moment,
        wanted: impl Fn(&Track) -> bool,
        mut crossed: impl FnMut(&Track, Way, bool),
    ) {
        self.settled.clear();
        self.handed.clear();
        self.renewed.clear();
        self.parted.clear();
        if self.frame_at.is_some_and(|before| now.since(before) > AWAY) {
            self.sees_since = Some(now);
        }
        self.frame_at = Some(now);
        let Some(ruler) = self.line.ruler(size) else { return };
        for track in tracks.iter().filter(|track| track.state != TrackState::Lost) {
            let point = self.anchor.of(&track.bounds);
            if !(point.x.is_finite() && point.y.is_finite()) {
                continue;
            }
            let known = match self.known.binary_search_by_key(&track.id, |known| known.id) {
                Ok(index) => {
                    self.come_back(&ruler, index);
                    let known = &mut self.known[index];
                    if known.is_another(&ruler, point, now) {
                        self.renewed.push(track.id);
                        *known = Known { fresh: true, ..Known::new(&ruler, track, point, now) };
                    }
                    known
                }
                Err(_) => self.begin(&ruler, track, point, tracks, now),
            };
            known.see(&ruler, track, point, now);
            if track.state != TrackState::Seen || !wanted(track) {
                continue;
            }
            if let Some((side, first)) = known.cross(&track.name, now) {
                crossed(track, side.way(), first);
            }
        }
        let alive = |known: &Known| tracks.binary_search_by_key(&known.id, |track| track.id).is_ok();
        let settled = &mut self.settled;
        self.known.retain_mut(|known| {
            let kept = alive(known) || now.since(known.seen) <= REMEMBERED;
            if !kept {
                settled.extend(known.settle());
            }
            kept
        });
    }

    /// Tracks that went on as others with the last update: the lost one, and the new one.
    pub(super) fn handed(&self) -> &[(u64, u64)] {
        &self.handed
    }

    /// Tracks that were another thing from the last update on.
    pub(super) fn renewed(&self) -> &[u64] {
        &self.renewed
    }

    /// Tracks that turned out with the last update not to be those as which they went on.
    pub(super) fn parted(&self) -> &[Parted] {
        &self.parted
    }

    /// Tracks that ended with the last update on the other side than that where they were counted.
    pub(super) fn settled(&self) -> &[Settled] {
        &self.settled
    }

    /// Tracks that are at present on the other side than that where they were counted, as if they ended there: a session
    /// ends. They go on from there.
    pub(super) fn settle(&mut self) -> Vec<Settled> {
        self.known.iter_mut().filter_map(Known::settle).collect()
    }

    /// Says that the first crossing of a track was counted nowhere; so its way back will not be either.
    pub(super) fn leave_out(&mut self, track: u64) {
        if let Ok(index) = self.known.binary_search_by_key(&track, |known| known.id)
            && let Some(counted) = &mut self.known[index].counted
        {
            counted.booked = Booked::Nowhere;
        }
    }

    /// Says that a session has ended: what was counted so far was counted in an earlier one.
    pub(super) fn session_ended(&mut self) {
        self.known.iter_mut().filter_map(|known| known.counted.as_mut()).for_each(|counted| counted.booked.end());
    }

    /// What has to be known after a restart.
    pub(super) fn memory(&self) -> serde_json::Value {
        let memory = Memory { place: self.place(), frame_at: self.frame_at, known: self.known.clone() };
        serde_json::to_value(memory).expect("numbers are finite and keys are text")
    }

    /// Goes on where an earlier process ended, if the line is where it was; moments of the future become `now`. Gives whether
    /// it made sense.
    pub(super) fn recall(&mut self, memory: &serde_json::Value, now: Moment) -> bool {
        let Ok(Memory { place, frame_at, mut known }) = Memory::deserialize(memory) else { return false };
        if place != self.place() {
            return true;
        }
        for known in &mut known {
            known.seen = known.seen.min(now);
            if let Some(counted) = &mut known.counted {
                counted.at = counted.at.min(now);
            }
        }
        known.sort_by_key(|known| known.id);
        known.dedup_by_key(|known| known.id);
        known.truncate(TRACKS_MAX);
        self.known = known;
        self.frame_at = frame_at.map(|at| at.min(now));
        true
    }

    /// The line in words that differ where it does.
    fn place(&self) -> String {
        let Line { from, to, band, unit, inward } = self.line;
        let anchor = self.anchor;
        format!("{},{} {},{} {band} {unit:?} {inward:?} {anchor:?}", from.x, from.y, to.x, to.y)
    }

    /// A track is seen: if another was taken for it, they part.
    fn come_back(&mut self, ruler: &Ruler, index: usize) {
        if let Some(heir) = self.known[index].heir.take()
            && let Ok(index) = self.known.binary_search_by_key(&heir, |known| known.id)
            && self.known[index].inherited
        {
            let heir = &mut self.known[index];
            heir.part(ruler);
            self.parted.push(Parted { track: heir.id, inside: heir.begun == Some(Side::Inside) });
        }
    }

    /// Makes room for a track that is heard of for the first time, and looks whether it goes on with one that was lost.
    fn begin(&mut self, ruler: &Ruler, track: &Track, point: Point, tracks: &[Track], now: Moment) -> &mut Known {
        let mut best: Option<(usize, f32)> = None;
        let fresh = track.seen <= FRESH_FRAMES_MAX;
        for (index, known) in self.known.iter().enumerate().filter(|_| fresh) {
            if known.heir.is_some() || *known.class != *track.name {
                continue;
            }
            let present = tracks.binary_search_by_key(&known.id, |track| track.id).ok().map(|index| &tracks[index]);
            let expected = match present {
                Some(track) if track.state != TrackState::Lost => continue,
                Some(track) => self.anchor.of(&track.bounds),
                None if self.sees_since.is_some_and(|since| known.seen < since) => continue,
                None => known.expected(now),
            };
            let mut near = distance(expected, point);
            if now.since(known.seen) <= STAYS {
                near = near.min(distance(known.point(), point));
            }
            if near <= known.reach && !known.undone_by(ruler, point) && best.is_none_or(|(_, least)| near < least) {
                best = Some((index, near));
            }
        }
        let known = match best {
            Some((index, _)) => {
                self.handed.push((self.known[index].id, track.id));
                self.known[index].heir = Some(track.id);
                let begun = ruler.side(point);
                Known { id: track.id, begun, inherited: true, heir: None, ..self.known[index].clone() }
            }
            None => Known::new(ruler, track, point, now),
        };
        if self.known.len() >= TRACKS_MAX {
            let oldest = (0..self.known.len()).min_by_key(|index| self.known[*index].seen);
            self.known.remove(oldest.expect("there are as many as there may be"));
        }
        let index = self.known.partition_point(|other| other.id < known.id);
        self.known.insert(index, known);
        &mut self.known[index]
    }
}

impl Known {
    fn new(ruler: &Ruler, track: &Track, point: Point, now: Moment) -> Self {
        let side = ruler.side(point);
        Self {
            id: track.id,
            class: track.name.to_string(),
            seen: now,
            at: (point.x, point.y),
            velocity: (0.0, 0.0),
            reach: 0.0,
            begun: side,
            side,
            told: side,
            through: None,
            fresh: track.seen <= FRESH_FRAMES_MAX,
            counted: None,
            last: None,
            heir: None,
            inherited: false,
        }
    }

    fn point(&self) -> Point {
        Point { x: self.at.0, y: self.at.1 }
    }

    /// Where it should be if it went on as it did.
    fn expected(&self, now: Moment) -> Point {
        let seconds = now.since(self.seen).as_secs_f32();
        Point { x: self.at.0 + self.velocity.0 * seconds, y: self.at.1 + self.velocity.1 * seconds }
    }

    /// Whether a thing at this point that went on with this one would have gone back from where it was counted.
    fn undone_by(&self, ruler: &Ruler, point: Point) -> bool {
        self.counted.is_some() && ruler.side(self.point()) == self.side && ruler.side(point) != self.side
    }

    /// Goes on as a thing of its own that began where this track was first seen.
    fn part(&mut self, ruler: &Ruler) {
        let here = ruler.side(self.point());
        self.side = here.or(self.begun);
        self.told = self.begun.or(here.map(Side::opposite));
        (self.fresh, self.inherited) = (true, false);
        (self.counted, self.last) = (None, None);
    }

    /// Whether the same track at this point is another thing: it was counted, was not seen for a while, and jumps back over
    /// the band, further than it is long. A belt that backs up is not so fast; a tracker that takes the next thing for one
    /// that has left is.
    fn is_another(&self, ruler: &Ruler, point: Point, now: Moment) -> bool {
        let was_away = now.since(self.seen) > AWAY;
        let stays = self.counted.as_ref().is_some_and(|counted| self.side == Some(counted.side));
        let across = ruler.side(point).is_some_and(|side| Some(side) != self.side);
        was_away
            && stays
            && across
            && ruler.side(self.point()) == self.side
            && distance(self.point(), point) > self.reach
    }

    /// Notes where it is.
    fn see(&mut self, ruler: &Ruler, track: &Track, point: Point, now: Moment) {
        let finite = |value: f32| if value.is_finite() { value } else { 0.0 };
        if let Some(through) = ruler.meets(self.point(), point) {
            self.through = Some(through);
        }
        self.at = (point.x, point.y);
        self.seen = now;
        self.velocity = (finite(track.velocity.x), finite(track.velocity.y));
        if *self.class != *track.name {
            self.class = track.name.to_string();
        }
        self.reach = finite(track.bounds.width().max(track.bounds.height()));
        let Some(side) = ruler.side(point) else { return };
        match self.side {
            Some(before) if before == side => {}
            Some(_) if self.through != Some(true) => self.told = Some(side),
            Some(_) => {}
            None if self.fresh && ruler.faces(point) => self.told = Some(side.opposite()),
            None => self.told = Some(side),
        }
        self.side = Some(side);
        self.through = None;
    }

    /// The side that it has crossed to and nobody was told of, and whether that is the first time.
    fn cross(&mut self, name: &str, now: Moment) -> Option<(Side, bool)> {
        let side = self.side.filter(|_| self.told != self.side)?;
        self.told = Some(side);
        self.last = Some(side);
        let first = self.counted.is_none();
        if first {
            self.inherited = false;
            self.counted = Some(Counted { side, name: name.to_owned(), booked: Booked::Here, at: now });
        }
        Some((side, first))
    }

    /// Counts it where it went at last, if that is not where it was counted.
    fn settle(&mut self) -> Option<Settled> {
        let last = self.last.filter(|_| self.heir.is_none())?;
        let counted = self.counted.as_mut().filter(|counted| counted.side != last)?;
        counted.side = last;
        let Counted { name, booked, at: counted_at, .. } = counted.clone();
        (booked != Booked::Nowhere).then(|| Settled { track: self.id, name, way: last.way(), booked, counted_at })
    }
}

/// How far apart two points are.
pub(super) fn distance(a: Point, b: Point) -> f32 {
    let (x, y) = (a.x - b.x, a.y - b.y);
    (x * x + y * y).sqrt()
}

#[cfg(test)]
mod tests;
