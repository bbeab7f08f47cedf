//! Where the data plane and the network plane meet: what a detector found becomes a message.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::change;
use crate::{
    config,
    detection::{Detection, Detections},
    detector::Identity,
    format::json,
    frame::Frame,
    publish::{
        clock::Reading,
        mqtt::{Link, Publisher, Refused},
        wire::{FrameFacts, ModelIdentity, Wire},
    },
    vision::RgbImage,
};

/// What a detector found in one frame.
#[derive(Debug)]
pub struct Report<'a> {
    /// Index of the camera in the configuration.
    pub camera: usize,
    /// The frame. Whoever wants to keep it swaps it for another buffer.
    pub frame: &'a mut Frame,
    /// What the model saw of it: upright, only the region where there is one.
    pub picture: &'a RgbImage,
    /// What was found in it.
    pub found: &'a Detections,
    /// From the capture of the frame to the beginning of the detection.
    pub waited: Duration,
}

/// Takes what detectors find. Must not wait: it runs on the detectors' threads.
pub trait Reporter: Send + Sync {
    /// One frame.
    fn report(&self, report: Report<'_>);
}

/// Called with every frame that was looked at: the camera's id, the frame, and what was found in it.
pub type Observer = dyn Fn(&str, &Frame, &Detections) + Send + Sync;

/// A camera as others see it.
pub(super) struct Seat {
    /// Its id.
    pub id: String,
    /// The model that looks at it.
    pub model: ModelIdentity,
    told: Mutex<Told>,
    /// Messages that could not be published, and when that was told.
    refused: Mutex<(u64, Option<Instant>)>,
}

/// Messages that cannot be published are told so often at most.
const REFUSED_EVERY: Duration = Duration::from_secs(60);

impl Seat {
    /// A camera of which nothing was told yet.
    pub(super) fn new(id: &str, model: &Identity) -> Self {
        let model = ModelIdentity { name: model.name.clone(), sha256: model.sha256.clone() };
        Self { id: id.to_owned(), model, told: Mutex::default(), refused: Mutex::default() }
    }

    /// Counts a message that could not be published, and says so now and then.
    fn refused(&self, error: &Refused) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.0 += 1;
        if refused.1.is_none_or(|said| said.elapsed() >= REFUSED_EVERY) {
            refused.1 = Some(Instant::now());
            log::warn!(
                "camera \"{}\": detections not published: {}, the last: {error}; a higher confidence or a lower max_det \
                 makes messages shorter",
                self.id,
                refused.0
            );
        }
    }

    /// Whether this is something else than subscribers were told last; then it counts as told. Without a connection
    /// nobody is told anything.
    fn is_news(&self, items: &[Detection], link: &Link, dropped: u64) -> bool {
        let Link::Up { since } = *link else { return false };
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let heard = (told.connection, told.dropped) == (Some(since), dropped);
        if heard && !change::is_news(&told.items, items) {
            return false;
        }
        *told = Told { items: items.to_vec(), connection: Some(since), dropped };
        true
    }
}

/// Publishes reports, and shows them to an observer.
pub(super) struct MqttReporter {
    /// Makes the messages.
    pub wire: Wire,
    /// Takes them.
    pub publisher: Publisher,
    /// The cameras, in the order of the configuration.
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
        let seat = &self.seats[report.camera];
        if let Some(observer) = &self.observer {
            observer(&seat.id, report.frame, report.found);
        }
        let publish = match self.policy {
            config::Report::All => true,
            config::Report::Changes => {
                let dropped = self.publisher.counters().dropped_live;
                seat.is_news(&report.found.items, &self.publisher.link(), dropped)
            }
            config::Report::Events => false,
        };
        if !publish {
            return;
        }
        let frame = FrameFacts {
            seq: report.frame.seq,
            size: report.found.size,
            dropped: report.frame.dropped,
            captured_at: report.frame.captured_at,
            taken_at: report.frame.captured_at + report.waited,
        };
        let detections: Vec<_> = report.found.items.iter().map(json::detection).collect();
        let now = Reading::now();
        let message = self.wire.detections(&now, &seat.id, &frame, &seat.model, &report.found.timing, &detections);
        match self.publisher.publish(message) {
            // The daemon is ending; this frame came too late.
            Ok(()) | Err(Refused::Stopped) => {}
            Err(error) => seat.refused(&error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detection::Geometry;

    #[test]
    fn what_nobody_heard_stays_news() {
        let seat = Seat::new("in", &Identity { name: "m".into(), sha256: String::new() });
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
