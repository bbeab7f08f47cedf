//! Where the data plane and the network plane meet: what a detector found becomes a message.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{
    change,
    presence::{Change, Presence},
};
use crate::{
    config,
    detection::{Detection, Detections},
    detector::Identity,
    format::json,
    frame::Frame,
    publish::{
        Message,
        clock::Reading,
        mqtt::{Link, Publisher, Refused},
        wire::{EventKind, FrameFacts, ModelIdentity, Wire},
    },
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
    told: Mutex<Told>,
    events: Mutex<Events>,
    /// Messages that could not be published, and when that was told.
    refused: Mutex<(u64, Option<Instant>)>,
}

/// Messages that cannot be published are told so often at most.
const REFUSED_EVERY: Duration = Duration::from_secs(60);

impl Seat {
    /// A camera of which nothing was told yet.
    pub(super) fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            told: Mutex::default(),
            events: Mutex::new(Events::new(id)),
            refused: Mutex::default(),
        }
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

/// What becomes an event, and what events are called.
struct Events {
    presence: Presence,
    /// Begins every name, so that names never come again after a restart.
    prefix: String,
    count: u64,
}

impl Events {
    fn new(camera: &str) -> Self {
        let started_at = Reading::now().timestamp.as_microsecond();
        Self { presence: Presence::default(), prefix: format!("{camera}-{started_at:x}"), count: 0 }
    }
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
        let frame = FrameFacts {
            seq: report.frame.seq,
            size: report.found.size,
            dropped: report.frame.dropped,
            captured_at: report.frame.captured_at,
            taken_at: report.frame.captured_at + report.waited,
        };
        let model = ModelIdentity { name: report.model.name.clone(), sha256: report.model.sha256.clone() };
        self.tell_events(seat, &frame, &model, report.found);
        let publish = match self.policy {
            config::Report::All => true,
            config::Report::Changes => {
                let dropped = self.publisher.counters().dropped_live;
                seat.is_news(&report.found.items, &self.publisher.link(), dropped)
            }
            config::Report::Events => false,
        };
        if publish {
            let detections: Vec<_> = report.found.items.iter().map(json::detection).collect();
            let now = Reading::now();
            let message = self.wire.detections(&now, &seat.id, &frame, &model, &report.found.timing, &detections);
            self.publish(seat, message);
        }
    }
}

impl MqttReporter {
    /// What appeared, changed or left, whatever subscribers want to hear of single frames.
    fn tell_events(&self, seat: &Seat, frame: &FrameFacts, model: &ModelIdentity, found: &Detections) {
        let mut events = seat.events.lock().unwrap_or_else(PoisonError::into_inner);
        let Events { presence, prefix, count } = &mut *events;
        presence.update(&found.items, |change, detection| {
            *count += 1;
            let kind = match change {
                Change::Appeared => EventKind::Appeared,
                Change::Changed => EventKind::Changed,
                Change::Left => EventKind::Left,
            };
            let name = format!("{prefix}-{count}");
            let item = json::detection(detection);
            let message = self.wire.event(&Reading::now(), &seat.id, frame, model, (&name, kind), &item);
            self.publish(seat, message);
        });
    }

    fn publish(&self, seat: &Seat, message: Message) {
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
        let seat = Seat::new("in");
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
