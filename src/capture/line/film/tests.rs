//! Films: truth and pixels agree, the seed decides, missed frames are gaps, and a film ends where it is told.

use super::*;
use crate::{
    capture::{
        self, Settings,
        line::{CLASSES, ITEMS, belt::BELT_GREY, belt::BOARD_CLASS},
    },
    geometry::BoxPx,
};

fn film(options: &str) -> Film {
    Film::new(options.parse().unwrap(), None).unwrap()
}

fn source(options: &str, repeat: bool) -> FilmSource {
    FilmSource::new(film(options), None, repeat)
}

fn frames(millis: std::ops::Range<u64>, step: usize) -> impl Iterator<Item = Duration> {
    millis.step_by(step).map(Duration::from_millis)
}

/// The grey levels in a box, row by row.
fn inside(pixels: &[u8], bounds: BoxPx) -> impl Iterator<Item = u8> {
    let (from, to) = (bounds.x1.ceil() as usize, bounds.x2.floor() as usize);
    let rows = bounds.y1.ceil() as usize..bounds.y2.floor() as usize;
    rows.flat_map(move |y| (from..to).map(move |x| (y, x))).map(|(y, x)| pixels[y * 640 + x])
}

#[test]
fn a_board_differs_from_the_belt_and_nothing_else_does() {
    let mut film = film("scene=belt,noise=0,light=0,defects=0,seed=3,backs=20");
    let mut pixels = Vec::new();
    let mut seen = 0;
    for at in frames(0..20_000, 500) {
        let labels = film.show(at, &mut pixels).to_vec();
        let outside = |(i, _): &(usize, &u8)| {
            let (x, y) = ((i % 640) as f32, (i / 640) as f32);
            // A pixel for the fraction, and the smear.
            let covers = |b: &BoxPx| b.x1 - 2.0 <= x && x <= b.x2 + 1.0 && b.y1 <= y && y < b.y2;
            labels.iter().all(|label| !covers(&label.bounds))
        };
        let stray = pixels.iter().enumerate().filter(outside).filter(|(_, grey)| **grey != BELT_GREY).count();
        // A board that begins to come, or is nearly gone, is not labelled yet.
        assert!(stray == 0 || labels.len() < 2, "{at:?}: {stray} pixels beside the boards");
        for label in labels {
            assert_eq!(label.class, BOARD_CLASS);
            let same = inside(&pixels, label.bounds).filter(|grey| *grey == BELT_GREY).count();
            assert!(same * 50 < label.bounds.area() as usize, "{at:?}: {same} of {:?}", label.bounds);
            seen += 1;
        }
    }
    assert!(seen > 25, "{seen} boards");
}

#[test]
fn a_defect_is_in_its_box_and_nowhere_else_on_the_belt() {
    let options = "scene=belt,noise=0,seed=4";
    let (mut with, mut without) = (film(&format!("{options},defects=4")), film(&format!("{options},defects=0")));
    let (mut defective, mut clean) = (Vec::new(), Vec::new());
    let mut kinds = [0; CLASSES.len()];
    for at in frames(0..15_000, 500) {
        let labels = with.show(at, &mut defective).to_vec();
        without.show(at, &mut clean);
        for Label { class, bounds } in labels.iter().filter(|label| label.class < BOARD_CLASS) {
            let changed = inside(&defective, *bounds).zip(inside(&clean, *bounds)).filter(|(a, b)| a.abs_diff(*b) > 60);
            let whole = bounds.x1 > 0.0 && bounds.x2 < 640.0;
            assert!(!whole || changed.count() >= 8, "{at:?}: {class} {bounds:?}");
            kinds[*class] += 1;
        }
        for (i, _) in defective.iter().zip(&clean).enumerate().filter(|(_, (a, b))| a != b) {
            let (x, y) = ((i % 640) as f32, (i / 640) as f32);
            let within = |label: &Label| {
                let b = label.bounds;
                label.class < BOARD_CLASS && b.x1 - 1.0 <= x && x <= b.x2 && b.y1 <= y && y <= b.y2
            };
            // Of a defect that is half outside nothing is told.
            assert!((60.0..580.0).contains(&x) <= labels.iter().any(within), "{at:?}: pixel {x} {y}");
        }
    }
    assert!(kinds.iter().all(|count| *count > 0), "{kinds:?}");
}

#[test]
fn an_item_differs_from_the_basket_and_all_kinds_come() {
    let mut film = film("scene=basket,noise=0,seed=2,takes=50");
    let (mut pixels, mut empty) = (Vec::new(), Vec::new());
    film.show(Duration::ZERO, &mut empty);
    let mut kinds = [0; ITEMS.len()];
    for at in frames(0..300_000, 2500) {
        for label in film.show(at, &mut pixels).to_vec() {
            let BoxPx { x1, y1, x2, y2 } = label.bounds;
            let (x, y) = (((x1 + x2) / 2.0) as usize, ((y1 + y2) / 2.0) as usize);
            let pixel = (y * 640 + x) * 3;
            assert_ne!(pixels[pixel..pixel + 3], empty[pixel..pixel + 3], "{at:?}: {label:?}");
            kinds[label.class] += 1;
        }
    }
    assert_eq!((film.format(), pixels.len()), (PixelFormat::Rgb8, 640 * 480 * 3));
    assert!(kinds.iter().all(|count| *count > 5), "{kinds:?}");
}

#[test]
fn the_seed_decides_whichever_moments_are_looked_at() {
    for scene in ["scene=belt,post=40,hand=5", "scene=basket"] {
        let shown = |seed: u64, step: usize| {
            let mut film = film(&format!("{scene},seed={seed}"));
            let mut pixels = Vec::new();
            frames(0..9000, step).for_each(|at| drop(film.show(at, &mut pixels).to_vec()));
            let labels = film.show(Duration::from_secs(9), &mut pixels).to_vec();
            (labels, pixels)
        };
        let (first, other) = (shown(7, 300), shown(8, 300));
        assert!(!first.0.is_empty() && first == shown(7, 300) && first == shown(7, 900));
        assert!(first.0 != other.0 && first.1 != other.1);
    }
}

#[test]
fn missed_frames_are_gaps_and_a_slow_reader_misses_more() {
    let source = source("scene=belt,drop=30", false);
    let kept = (0..1000).filter(|number| source.kept(*number) == *number).count();
    assert!((650..750).contains(&kept), "{kept}");
    let whole = FilmSource::new(film("scene=belt"), None, false);
    assert_eq!(whole.turn(Duration::ZERO), Ok(0));
    // Three turns have gone by.
    assert_eq!(whole.turn(Duration::from_millis(310)), Ok(3));
    let later = FilmSource { next: 4, ..whole };
    assert_eq!(later.turn(Duration::from_millis(310)), Err(Duration::from_millis(90)));
    let missed = (0..1000).find(|number| source.kept(*number) > *number).unwrap();
    let at_missed = FilmSource { next: missed, ..source };
    let due = at_missed.due(missed);
    assert_eq!(at_missed.turn(due), Err(at_missed.due(at_missed.kept(missed)) - due));
}

#[test]
fn frames_tell_when_they_were_taken_and_how_many_were_missed() {
    let settings = Settings { rate_hz: Some(100.0), ..Settings::of("line:scene=belt,drop=50".parse().unwrap()) };
    let mut source = capture::open(&settings).unwrap();
    assert_eq!((source.interval(), source.pictures()), (Some(Duration::from_millis(10)), None));
    assert_eq!(source.describe(), "simulated belt of 640×640 at 100 Hz");
    let (mut frame, mut before, mut missed) = (Frame::empty(), None, 0);
    for _ in 0..6 {
        assert_eq!(source.read(&mut frame, Duration::from_secs(20)).unwrap(), Read::Frame);
        if let Some((seq, at)) = before {
            let frames = frame.seq - seq;
            assert_eq!(frame.dropped, frames - 1);
            assert_eq!(frame.captured_at - at, Duration::from_millis(10) * u32::try_from(frames).unwrap());
        }
        assert_eq!((frame.format, frame.stride, frame.data.len()), (PixelFormat::Grey8, 640, 640 * 640));
        assert_eq!(frame.name, format!("belt {}", frame.seq));
        assert!(frame.truth.is_some());
        (before, missed) = (Some((frame.seq, frame.captured_at)), missed + frame.dropped);
    }
    assert!(missed > 0);
}

#[test]
fn a_film_ends_with_its_boards_or_its_time_or_begins_again() {
    let mut frame = Frame::empty();
    let mut short = source("scene=basket,seconds=2", false);
    assert!(short.film(19, &mut frame) && !short.film(20, &mut frame));
    let mut counted = source("scene=belt,count=1,stops=0,backs=0,vary=0", false);
    // From the first gap until it is out of the picture, with the room to back up.
    let end = (0..200).step_by(5).find(|number| !counted.film(*number, &mut frame)).unwrap();
    assert!((50..90).contains(&end), "{end}");
    let mut again = source("scene=basket,seconds=2", true);
    assert!(again.film(19, &mut frame));
    assert!(again.film(20, &mut frame) && again.first == 20);
}

#[test]
fn a_scene_is_a_film_and_wrong_sizes_are_refused() {
    let is_film = |source: &str| source.parse::<capture::SourceUri>().unwrap().is_film();
    assert!(is_film("line:scene=belt") && is_film("line:seed=3,scene=basket"));
    assert!(!is_film("line:") && !is_film("line:scene=table"));
    let size = Some(Size { width: 320, height: 640 });
    let error = Film::new("scene=belt".parse().unwrap(), size).unwrap_err().to_string();
    assert_eq!(error, "a film of 320×640 pixels cannot be drawn; give sides of 480 to 2048 pixels");
    let wide = Film::new("scene=belt".parse().unwrap(), Some(Size { width: 1280, height: 640 })).unwrap();
    assert_eq!(wide.size(), Size { width: 1280, height: 640 });
}
