//! Where the data plane and the network plane meet: what a detector found becomes a message.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{change, post::Looked, stations::Crew};
use crate::{
    config,
    detection::{Detection, Detections},
    detector::Identity,
    format::json,
    frame::Frame,
    publish::{
        clock::Reading,
        mqtt::{Link, Refused},
        wire::{FrameFacts, ModelIdentity},
    },
    rules::Sight,
    vision::RgbImage,
};

/// What a detector found in one frame.
#[derive(Debug)]
pub struct Report<'a> {
    /// Index of the camera in the configuration.
    pub camera: usize,
    /// The model that looked at it.
    pub model: &'a Identity,
    /// The frame. Whoever wants to keep it swaps it for another buffer.
    pub frame: &'a mut Frame,
    /// What the model saw of it: upright, only the region where there is one.
    pub picture: &'a RgbImage,
    /// Whether the camera was found to see with this frame.
    pub sees: bool,
    /// What was found in it, down to the confidence that the detector was asked for.
    pub found: &'a mut Detections,
    /// From the capture of the frame to the beginning of the detection.
    pub waited: Duration,
}

/// Takes what detectors find. Must not wait: it runs on the detectors' threads.
pub trait Reporter: Send + Sync {
    /// One frame.
    fn report(&self, report: Report<'_>);

    /// How the camera with this index is: said at the start, and when it changes.
    fn sight(&self, camera: usize, sight: &Sight) {
        let _ = (camera, sight);
    }
}

/// Called with every frame that was looked at: the camera's id, the frame, and what was found in it.
pub type Observer = dyn Fn(&str, &Frame, &Detections) + Send + Sync;

/// What subscribers to single frames know of a camera.
#[derive(Default)]
pub(super) struct Seat(Mutex<Told>);

impl Seat {
    /// Whether this is something else than subscribers were told last; then it counts as told. Without a connection
    /// nobody is told anything.
    fn is_news(&self, items: &[Detection], link: &Link, dropped: u64) -> bool {
        let Link::Up { since } = *link else { return false };
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let heard = (told.connection, told.dropped) == (Some(since), dropped);
        if heard && !change::is_news(&told.items, items) {
            return false;
        }
        *told = Told { items: items.to_vec(), connection: Some(since), dropped };
        true
    }
}

/// Gives reports to the stations, publishes what is left of them, and shows that to an observer.
pub(super) struct MqttReporter {
    /// The cameras' stations, in the order of the configuration.
    pub crew: Arc<Crew>,
    /// What is known of each camera, in the same order.
    pub seats: Vec<Seat>,
    /// Which frames become a message.
    pub policy: config::Report,
    /// Watches along, in the demo.
    pub observer: Option<Box<Observer>>,
}

/// What subscribers were told of a camera last.
#[derive(Debug, Default)]
struct Told {
    items: Vec<Detection>,
    /// Since when the connection had been up over which they were told; who came later was not told.
    connection: Option<Instant>,
    /// How many messages the queue had given up until then; if it gave up more since, this one may be among them.
    dropped: u64,
}

impl Reporter for MqttReporter {
    fn report(&self, report: Report<'_>) {
        let Report { camera, model, frame, sees, found, waited, .. } = report;
        let Crew { voice, posts } = &*self.crew;
        let post = &posts[camera];
        let facts = FrameFacts {
            seq: frame.seq,
            size: found.size,
            dropped: frame.dropped,
            captured_at: frame.captured_at,
            taken_at: frame.captured_at + waited,
        };
        let model = ModelIdentity { name: model.name.clone(), sha256: model.sha256.clone() };
        if !post.look(voice, Looked { facts: &facts, model: &model, frame, sees, found: &mut found.items }) {
            return;
        }
        if let Some(observer) = &self.observer {
            observer(&post.id, frame, found);
        }
        post.keep(frame);
        let publish = match self.policy {
            config::Report::All => true,
            config::Report::Changes => {
                let dropped = voice.publisher.counters().dropped_live;
                self.seats[camera].is_news(&found.items, &voice.publisher.link(), dropped)
            }
            config::Report::Events => false,
        };
        if publish {
            let detections: Vec<_> = found.items.iter().map(json::detection).collect();
            let message = voice.wire.detections(&Reading::now(), &post.id, &facts, &model, &found.timing, &detections);
            match voice.publisher.publish(message) {
                // The daemon is ending; this frame came too late.
                Ok(()) | Err(Refused::Stopped) => {}
                Err(error) => post.refused(&error),
            }
        }
    }

    fn sight(&self, camera: usize, sight: &Sight) {
        self.crew.see(camera, sight);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detection::Geometry;

    #[test]
    fn what_nobody_heard_stays_news() {
        let seat = Seat::default();
        let found =
            [Detection { class: 0, name: "a".into(), confidence: 0.9, geometry: Geometry::Image, track_id: None }];
        let first = Link::Up { since: Instant::now() };
        let second = Link::Up { since: Instant::now() + Duration::from_secs(1) };
        assert!(!seat.is_news(&found, &Link::Connecting, 0));
        assert!(seat.is_news(&found, &first, 0));
        assert!(!seat.is_news(&found, &first, 0));
        assert!(seat.is_news(&found, &second, 0), "the broker may have new subscribers");
        assert!(seat.is_news(&[], &second, 0));
        assert!(!seat.is_news(&[], &second, 0));
        assert!(seat.is_news(&[], &second, 1), "what was told may be what was dropped");
    }
}
