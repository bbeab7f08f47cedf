//! Pictures as cameras on a line give them: working, failing slowly, and meant to look odd.

use super::*;
use crate::vision::noise::Noise;

const FROZEN_FOR: Duration = Duration::from_secs(10);

/// The level of each pixel, by column and line.
type Scene<'a> = &'a dyn Fn(u32, u32) -> u8;

/// A camera, at ten pictures a second if nothing else is said, with the noise of a sensor.
struct Camera {
    visibility: Visibility,
    noise: Noise,
    now: Instant,
    interval: Duration,
}

impl Camera {
    fn new() -> Self {
        let all = Blindness::NAMES.map(|(_, reason)| reason);
        Self::watched(Checks::new(all, FROZEN_FOR))
    }

    fn watched(checks: Checks) -> Self {
        Self {
            visibility: Visibility::new(checks),
            noise: Noise::seeded(1),
            now: Instant::now(),
            interval: Duration::from_millis(100),
        }
    }

    /// Films a scene for so many seconds; gives what was said of each picture.
    fn film(&mut self, seconds: u32, scene: impl Fn(u32, u32) -> u8) -> Vec<Option<Blindness>> {
        (0..Duration::from_secs(seconds.into()).div_duration_f64(self.interval) as u32)
            .map(|_| {
                let noise = &mut self.noise;
                let level = |x, y| scene(x, y).saturating_add(noise.below(4) as u8);
                let picture = RgbImage::grey(160, 100, level);
                self.look(&picture)
            })
            .collect()
    }

    fn look(&mut self, picture: &RgbImage) -> Option<Blindness> {
        self.now += self.interval;
        self.visibility.look(picture, self.now).map(|(reason, _)| reason)
    }
}

/// Boxes with edges of so many pixels to either side, on a belt.
fn boxes(edge_px: u32) -> impl Fn(u32, u32) -> u8 {
    move |x, _| {
        let inside = (x % 64).min(63 - x % 64).saturating_sub(5).min(edge_px);
        (60 + 100 * inside / edge_px) as u8
    }
}

/// How long pictures showed it before it was said, in tenths of a second, and whether it was said to the end.
fn said(answers: &[Option<Blindness>], reason: Blindness) -> Option<usize> {
    let first = answers.iter().position(Option::is_some)?;
    assert!(answers[first..].iter().all(|answer| *answer == Some(reason)), "{answers:?}");
    Some(first)
}

#[test]
fn a_camera_that_works_is_never_blind() {
    let mut camera = Camera::new();
    let scenes: [Scene<'_>; 5] = [
        &boxes(1),
        // An empty belt: no edges at all, the light falls off to the sides.
        &|x, _| (70 + x.abs_diff(80) / 8) as u8,
        // Nearly black, with a lamp's reflection on the belt.
        &|x, y| if x < 40 && y < 40 { 120 } else { 3 },
        // Against the light, with one dark part in front.
        &|x, y| if x < 80 && y < 80 { 30 } else { 250 },
        // Everything is smeared but what stands still.
        &|x, y| if y < 40 { boxes(1)(x, y) } else { boxes(20)(x, y) },
    ];
    for scene in scenes {
        assert_eq!(said(&camera.film(12, scene), Blindness::Dark), None);
    }
}

#[test]
fn no_light_too_much_and_a_cover_are_told_after_three_seconds() {
    for (grey, reason) in [(12, Blindness::Dark), (253, Blindness::Bright), (128, Blindness::Covered)] {
        let mut camera = Camera::new();
        camera.film(10, boxes(1));
        assert_eq!(said(&camera.film(20, |_, _| grey), reason), Some(30), "{reason:?}");
        // The end is believed after a second.
        let after = camera.film(2, boxes(1));
        assert_eq!(after.iter().rposition(Option::is_some), Some(9), "{reason:?}");
    }
}

#[test]
fn a_moment_in_the_dark_is_nothing() {
    let mut camera = Camera::new();
    for _ in 0..10 {
        assert_eq!(said(&camera.film(2, |_, _| 5), Blindness::Dark), None);
        camera.film(1, boxes(1));
    }
    // Neither is a moment of light an end.
    camera.film(4, |_, _| 5);
    let flash = RgbImage::grey(160, 100, boxes(1));
    assert_eq!(camera.look(&flash), Some(Blindness::Dark));
    assert!(camera.film(2, |_, _| 5).iter().all(|answer| *answer == Some(Blindness::Dark)));
}

#[test]
fn around_a_limit_nothing_flaps() {
    let mut camera = Camera::new();
    camera.film(4, |_, _| DARK_LEVEL[0] - 4);
    let mut changes = 0;
    let mut last = Some(Blindness::Dark);
    for turn in 0..30 {
        for answer in camera.film(2, |x, _| DARK_LEVEL[0] - 12 + 4 * (turn % 4) + (x % 6) as u8) {
            changes += u32::from(answer != last);
            last = answer;
        }
    }
    assert_eq!(changes, 0);
}

#[test]
fn the_same_picture_again_and_again_is_frozen() {
    let mut camera = Camera::new();
    camera.film(5, boxes(1));
    let still = RgbImage::grey(160, 100, boxes(1));
    let answers: Vec<_> = (0..150).map(|_| camera.look(&still)).collect();
    assert_eq!(said(&answers, Blindness::Frozen), Some(101));
    let since = camera.visibility.look(&still, camera.now).unwrap().1;
    assert_eq!(camera.now - since, Duration::from_millis(14_800));
    assert_eq!(camera.film(2, boxes(1)).iter().rposition(Option::is_some), Some(9));
    // One pixel that changes is life.
    for turn in 0..150 {
        let picture = RgbImage::grey(160, 100, |x, y| if (x, y) == (0, 0) { turn } else { boxes(1)(x, y) });
        assert_eq!(camera.look(&picture), None);
    }
}

#[test]
fn few_pictures_do_not_make_a_frozen_camera() {
    let mut camera = Camera::new();
    let still = RgbImage::grey(160, 100, boxes(1));
    for _ in 0..PICTURES_MIN[0] {
        camera.now += Duration::from_secs(60);
        assert_eq!(camera.look(&still), None);
    }
    camera.now += Duration::from_secs(60);
    assert_eq!(camera.look(&still), Some(Blindness::Frozen));
}

#[test]
fn a_lens_that_was_moved_is_told_and_healed() {
    let mut camera = Camera::new();
    assert_eq!(said(&camera.film(20, boxes(2)), Blindness::Blurred), None);
    // A little less sharp is no reason.
    assert_eq!(said(&camera.film(30, boxes(5)), Blindness::Blurred), None);
    // The lens is turned slowly, and stays so.
    for edge_px in 6..16 {
        assert_eq!(said(&camera.film(1, boxes(edge_px)), Blindness::Blurred), None);
    }
    let answers = camera.film(60, boxes(20));
    assert!(said(&answers, Blindness::Blurred).is_some_and(|tenths| tenths <= 100), "{answers:?}");
    // An empty belt says nothing about the lens, so nothing changes.
    assert!(camera.film(5, |x, _| (70 + x / 8) as u8).iter().all(Option::is_some));
    assert_eq!(camera.film(3, boxes(2)).iter().rposition(Option::is_some), Some(9));
}

#[test]
fn a_camera_that_never_was_sharp_is_left_alone() {
    let mut camera = Camera::new();
    assert_eq!(said(&camera.film(30, boxes(20)), Blindness::Blurred), None);
}

#[test]
fn some_seconds_of_something_sharper_do_not_make_the_usual_picture_a_blurred_one() {
    for interval_ms in [33, 200] {
        let mut camera = Camera::new();
        camera.interval = Duration::from_millis(interval_ms);
        for (seconds, edge_px) in [(20, 8), (20, 1), (12, 8)] {
            let answers = camera.film(seconds, boxes(edge_px));
            assert_eq!(said(&answers, Blindness::Blurred), None, "every {interval_ms} ms, edges of {edge_px}");
        }
    }
}

#[test]
fn another_usual_picture_is_blurred_for_some_hours_at_most() {
    let mut camera = Camera::new();
    camera.film(20, boxes(1));
    assert!(camera.film(60, boxes(20)).contains(&Some(Blindness::Blurred)));
    // Hours are filmed with few pictures.
    camera.interval = COUNTS_FOR_MAX;
    assert_eq!(camera.film(3600, boxes(20)).last(), Some(&Some(Blindness::Blurred)));
    assert_eq!(camera.film(8 * 3600, boxes(20)).last(), Some(&None));
}

#[test]
fn what_is_not_watched_is_not_said() {
    let mut camera = Camera::watched(Checks::new([Blindness::Frozen], FROZEN_FOR));
    assert_eq!(said(&camera.film(5, |_, _| 0), Blindness::Dark), None);
    let mut camera = Camera::watched(Checks::none());
    let still = RgbImage::grey(160, 100, |_, _| 0);
    assert!((0..200).all(|_| camera.look(&still).is_none()));
}
