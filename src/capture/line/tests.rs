//! The line as a whole: what boards show, that they are the same everywhere, and how options change them.

use std::time::Duration;

use sha2::{Digest, Sha256};

use super::*;
use crate::capture::{self, ErrorKind};

const CLEAN: Look = Look { noise_hundredths: 0, blur_hundredths: 0, light_percent: 0, speed_px: 0 };

fn simulator(seed: u64, defects_hundredths: i32, look: Look) -> Simulator {
    Simulator::new(Options { seed, defects_hundredths, look, ..Options::default() }, SIZE).unwrap()
}

fn settings(source: &str) -> Settings {
    Settings::of(source.parse().unwrap())
}

fn refusal(settings: &Settings) -> SourceError {
    match capture::open(settings) {
        Ok(source) => panic!("{} was opened", source.describe()),
        Err(error) => error,
    }
}

#[test]
fn the_same_seed_gives_the_same_frames_on_every_machine() {
    let worst = Look { noise_hundredths: 1250, blur_hundredths: 130, light_percent: 40, speed_px: 5 };
    let frames = [(0, 0, Options::default().look), (7, 3, CLEAN), (u64::MAX, 1 << 40, worst)];
    let found = frames.map(|(seed, number, look)| {
        let mut simulator = simulator(seed, 600, look);
        let mut pixels = Vec::new();
        // What was drawn before leaves nothing behind.
        simulator.film(number + 1, &mut pixels);
        let labels = simulator.film(number, &mut pixels).to_vec();
        let mut hasher = Sha256::new();
        hasher.update(&pixels);
        for Label { class, bounds } in labels {
            hasher.update(format!("{class} {} {} {} {};", bounds.x1, bounds.y1, bounds.x2, bounds.y2));
        }
        hasher.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect::<String>()
    });
    assert_eq!(found, ["fa8bbf1c438409d1", "6e2e7781b16f7e30", "12a306d73901634c"]);
}

#[test]
fn a_box_holds_changed_pixels_and_outside_nothing_changes() {
    let (mut with, mut without) = (simulator(5, 700, CLEAN), simulator(5, 0, CLEAN));
    let (mut defective, mut clean) = (Vec::new(), Vec::new());
    for number in 0..60 {
        let labels = with.film(number, &mut defective).to_vec();
        assert!(without.film(number, &mut clean).is_empty());
        let mut changed = vec![0; labels.len()];
        for (i, _) in defective.iter().zip(&clean).enumerate().filter(|(_, (a, b))| a != b) {
            let (x, y) = ((i % 640) as f32, (i / 640) as f32);
            let within = |label: &Label| {
                let BoxPx { x1, y1, x2, y2 } = label.bounds;
                // DeepPCB's margin of 10, less one pixel for the raggedness of the edges.
                x1 + 9.0 <= x && x < x2 - 8.0 && y1 + 9.0 <= y && y < y2 - 8.0
            };
            let owner = labels.iter().position(within);
            changed[owner.unwrap_or_else(|| panic!("board {number}: pixel {x} {y} belongs to no label"))] += 1;
        }
        for (label, changed) in labels.iter().zip(&changed) {
            let BoxPx { x1, y1, x2, y2 } = label.bounds;
            assert!(*changed >= 16, "board {number}: {changed} pixels of {label:?}");
            assert!(0.0 < x1 && x1 < x2 && x2 < 640.0 && 0.0 < y1 && y1 < y2 && y2 < 640.0, "{label:?}");
            assert!((22.0..200.0).contains(&label.bounds.width()) && (22.0..200.0).contains(&label.bounds.height()));
        }
        for (i, label) in labels.iter().enumerate() {
            assert!(labels[..i].iter().all(|other| other.bounds.iou(&label.bounds) == 0.0), "board {number}");
        }
    }
}

#[test]
fn the_rate_follows_the_option_and_all_kinds_appear() {
    let mut pixels = Vec::new();
    let mut kinds = [0; CLASSES.len()];
    for (mean_hundredths, boards) in [(30, 200), (600, 60)] {
        let mut simulator = simulator(9, mean_hundredths, CLEAN);
        let mut found = 0;
        for number in 0..boards {
            let labels = simulator.film(number, &mut pixels);
            labels.iter().for_each(|label| kinds[label.class] += 1);
            found += i32::try_from(labels.len()).unwrap();
        }
        let wanted = mean_hundredths * i32::try_from(boards).unwrap() / 100;
        assert!((found - wanted).abs() * 4 < wanted, "{found} instead of {wanted}");
    }
    let all: i32 = kinds.iter().sum();
    assert!(kinds.iter().all(|count| count * 10 > all), "{kinds:?}");
}

#[test]
fn boards_differ_and_most_have_copper_and_bare_board() {
    let mut simulator = simulator(1, 0, CLEAN);
    let mut pixels = Vec::new();
    let mut boards = Vec::new();
    for number in 0..20 {
        simulator.film(number, &mut pixels);
        boards.push(pixels.clone());
    }
    let black = |board: &[u8]| board.iter().filter(|grey| **grey == 0).count() * 100 / board.len();
    assert!(boards.iter().filter(|board| (3..90).contains(&black(board))).count() >= 16);
    for (i, board) in boards.iter().enumerate() {
        assert!(boards[..i].iter().all(|other| other != board));
    }
}

#[test]
fn boards_of_other_sizes_fill_the_picture() {
    for (width, height) in [(320, 320), (1000, 333), (1280, 720), (2048, 2048)] {
        let options = Options { defects_hundredths: 800, ..Options::default() };
        let mut simulator = Simulator::new(options, Size { width, height }).unwrap();
        let mut pixels = Vec::new();
        for number in 0..8 {
            let labels = simulator.film(number, &mut pixels);
            let (right, bottom) = (width as f32, height as f32);
            assert!(labels.iter().all(|label| label.bounds == label.bounds.clipped(right, bottom)));
        }
        assert_eq!(pixels.len(), (width * height) as usize);
    }
}

#[test]
fn the_line_is_a_source_with_truth_that_ends_where_it_is_told() {
    let mut source = capture::open(&settings("line:seed=3,count=3,defects=4")).unwrap();
    assert_eq!((source.pictures(), source.interval()), (Some(3), None));
    let mut expected = simulator(3, 400, Options::default().look);
    let (mut frame, mut pixels) = (Frame::empty(), Vec::new());
    for number in 0..3 {
        assert_eq!(source.read(&mut frame, Duration::ZERO).unwrap(), Read::Frame);
        let labels = expected.film(number, &mut pixels);
        assert_eq!(frame.truth.as_deref(), Some(labels));
        assert_eq!((frame.seq, frame.dropped, frame.name.as_str()), (number, 0, &*format!("board {number}")));
        assert_eq!((frame.format, frame.size, frame.stride), (PixelFormat::Grey8, SIZE, 640));
        assert!(frame.data == pixels);
    }
    assert_eq!(source.read(&mut frame, Duration::ZERO).unwrap(), Read::End);
    assert_eq!(source.describe(), "simulated boards of 640×640");
}

#[test]
fn boards_pass_at_a_rate_and_again() {
    let hour = 1.0 / 3600.0;
    let mut source = capture::open(&Settings { rate_hz: Some(hour), ..settings("line:") }).unwrap();
    let mut frame = Frame::empty();
    assert_eq!(source.read(&mut frame, Duration::ZERO).unwrap(), Read::Frame);
    assert_eq!(source.read(&mut frame, Duration::ZERO).unwrap(), Read::Nothing);
    assert_eq!(capture::open(&settings("line:")).unwrap().interval(), Some(Duration::from_millis(500)));

    let again = Settings { repeat: true, rate_hz: Some(1000.0), ..settings("line:count=2") };
    let mut source = capture::open(&again).unwrap();
    assert_eq!(source.pictures(), None);
    for number in [0, 1, 0] {
        while source.read(&mut frame, Duration::from_secs(1)).unwrap() != Read::Frame {}
        assert_eq!(frame.name, format!("board {number}"));
    }
    assert_eq!(frame.seq, 2);
}

#[test]
fn wrong_options_and_sizes_are_refused_with_a_remedy() {
    for (source, size, part) in [
        ("line:noize=3", None, "line:noize=3: \"noize\" is no option of the simulated line; did you mean noise"),
        ("line:blur=9", None, "blur is \"9\"; give a number of 0 to 3"),
        ("line:", Some(Size { width: 100, height: 640 }), "100×640 pixels cannot be drawn; give sides of 320 to 2048"),
    ] {
        let settings = Settings { size, ..settings(source) };
        let error = refusal(&settings);
        assert_eq!(error.kind(), ErrorKind::Misconfigured);
        assert!(error.to_string().contains(part), "{error}");
        assert_eq!(settings.check().unwrap_err().to_string(), error.to_string());
    }
}
