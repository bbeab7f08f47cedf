//! What is judged, when, and as what.

use super::*;
use crate::{
    detection::{Detection, Geometry},
    event::{Event, Judgement, STEPS_MAX},
    geometry::{BoxPx, Point, Size},
    rules::{Anchor, Kind, Line, Rules, Settings, Sight, Towards, Unit, Watch, Zone},
    track::{Track, TrackState},
};

const SIZE: Size = Size { width: 640, height: 480 };
/// At x = 300, with a band from 290 to 310; right is in.
const LINE: Line = Line {
    from: Point { x: 300.0, y: 0.0 },
    to: Point { x: 300.0, y: 480.0 },
    band: 20.0,
    unit: Unit::Pixels,
    inward: Towards::Right,
};

fn settings(trigger: Trigger) -> VerdictSettings {
    VerdictSettings {
        trigger,
        fail: Watch { classes: vec!["scratch".to_owned(), "broken".to_owned()], ..Watch::default() },
        confidence: 0.5,
        frames_min: 3,
        fail_share: 0.5,
        pass_share: 0.2,
        reject_after: None,
    }
}

fn line() -> Trigger {
    Trigger::Line { parts: vec!["board".to_owned()], line: LINE, anchor: Anchor::Center }
}

fn found(name: &str, (x, y): (f32, f32), side: f32, confidence: f32, track_id: Option<u64>) -> Detection {
    let geometry = Geometry::Box(BoxPx::from_center(x, y, side, side));
    Detection { class: 0, name: name.into(), confidence, geometry, track_id }
}

/// A frame every 100 ms, told 20 ms later.
struct Bench {
    settings: VerdictSettings,
    rules: Rules,
    at: Moment,
    seq: u64,
    delay: Duration,
    seen: std::collections::BTreeMap<u64, u32>,
    events: Vec<Event>,
}

impl Bench {
    fn new(settings: VerdictSettings) -> Self {
        let rules = Self::rules(&settings);
        let (at, delay) = (Moment::from_micros(1_000_000), Duration::from_millis(20));
        Self { settings, rules, at, seq: 0, delay, seen: Default::default(), events: Vec::new() }
    }

    fn rules(settings: &VerdictSettings) -> Rules {
        let rule = Settings { id: "gate".to_owned(), kind: Kind::Verdict(settings.clone()) };
        Rules::new("in", &[rule], Moment::from_micros(7))
    }

    fn now(&self) -> Now {
        Now { moment: self.at + self.delay, local_micros: None }
    }

    /// A frame with boards of 80 × 80 pixels at these tracks' places, and other detections.
    fn frame(&mut self, boards: &[(u64, f32)], others: &[Detection]) {
        let mut detections = others.to_vec();
        let mut tracks = Vec::new();
        for &(id, x) in boards {
            let seen = self.seen.entry(id).or_default();
            *seen += 1;
            tracks.push(Track {
                id,
                class: 0,
                name: "board".into(),
                confidence: 0.9,
                confidence_max: 0.9,
                bounds: BoxPx::from_center(x, 240.0, 80.0, 80.0),
                velocity: Point::default(),
                first_seen: self.at,
                last_seen: self.at,
                seen: *seen,
                state: if *seen == 1 { TrackState::New } else { TrackState::Seen },
            });
            if !others.iter().any(|other| other.track_id == Some(id)) {
                detections.push(found("board", (x, 240.0), 80.0, 0.9, Some(id)));
            }
        }
        self.seq += 1;
        let seen = Seen { seq: self.seq, captured_at: self.at, size: SIZE, found: &detections, tracks: &tracks };
        let (now, events) = (self.now(), &mut self.events);
        self.rules.take(now, Input::Frame(&seen), &mut |event| events.push(event));
        self.at = self.at + Duration::from_millis(100);
    }

    fn take(&mut self, input: Input<'_>) {
        let (now, events) = (self.now(), &mut self.events);
        self.rules.take(now, input, &mut |event| events.push(event));
    }

    fn camera(&mut self, sees: bool) {
        let reason = if sees { "" } else { "the picture is frozen" }.to_owned();
        self.take(Input::Camera(&Sight { sees, reason }));
    }

    fn order(&mut self, order: &Order) -> Result<(), Refusal> {
        let (now, events) = (self.now(), &mut self.events);
        self.rules.order(now, "gate", order, &mut |event| events.push(event))
    }

    fn open(&mut self, name: &str) -> Result<(), Refusal> {
        let external_id = (!name.is_empty()).then(|| name.to_owned());
        self.order(&Order::Open { external_id, expected: None })
    }

    fn restart(&mut self) {
        let memory = serde_json::to_string(&self.rules.memory()).unwrap();
        self.rules = Self::rules(&self.settings);
        let now = self.now();
        self.rules.recall(&serde_json::from_str(&memory).unwrap(), now);
    }

    /// One board goes through these places; it is scratched where the second number is 1.
    fn walk(&mut self, id: u64, places: &[(f32, u8)]) {
        for &(x, bad) in places {
            let scratch = found("scratch", (x + 20.0, 240.0), 10.0, 0.7, None);
            self.frame(&[(id, x)], if bad == 1 { std::slice::from_ref(&scratch) } else { &[] });
        }
    }

    fn verdicts(&self) -> Vec<&event::Verdict> {
        self.events
            .iter()
            .map(|event| match &event.what {
                What::Verdict(verdict) => verdict,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    fn judgements(&self) -> Vec<Judgement> {
        self.verdicts().iter().map(|verdict| verdict.judgement).collect()
    }
}

#[test]
fn a_part_is_judged_by_its_frames_when_it_has_crossed() {
    let mut bench = Bench::new(settings(line()));
    bench.walk(1, &[(200., 1), (220., 1), (240., 0), (260., 1), (280., 1), (300., 1)]);
    assert_eq!(bench.events, []);
    bench.walk(1, &[(320., 1), (340., 1), (360., 1)]);
    let verdict = bench.verdicts()[0].clone();
    assert_eq!((verdict.part, verdict.track, verdict.judgement), (1, Some(1), Judgement::Fail));
    assert_eq!((verdict.frames, verdict.frames_bad), (7, 6));
    assert_eq!((verdict.defects.len(), &*verdict.defects[0].name, verdict.defects[0].frames), (1, "scratch", 6));
    assert_eq!(verdict.opened_at, Moment::from_micros(1_000_000));
    assert_eq!(bench.events.len(), 1);
    let event = &bench.events[0];
    assert_eq!((event.frame, event.because.len()), (Some(7), 8));
    assert_eq!(event.because.last().unwrap().meant, "the part has crossed the line");
    assert_eq!((event.because[2].meant.as_str(), event.because[2].score), (GOOD_TEXT, Some(0.9)));
    assert_eq!((event.because[3].frame, event.because[3].score), (Some(4), Some(0.7)));
}

const GOOD_TEXT: &str = "the frame votes good";

#[test]
fn shares_decide_and_too_few_frames_decide_nothing() {
    let judged = |votes: &[u8]| {
        let mut bench = Bench::new(settings(line()));
        let step = 60.0 / (votes.len() - 1) as f32;
        let places: Vec<_> = votes.iter().enumerate().map(|(i, bad)| (260.0 + step * i as f32, *bad)).collect();
        bench.walk(1, &places);
        bench.judgements()
    };
    assert_eq!(judged(&[1, 1]), [Judgement::Unsure]);
    assert_eq!(judged(&[1, 1, 0, 0]), [Judgement::Fail]);
    assert_eq!(judged(&[1, 0, 0, 0, 0]), [Judgement::Pass]);
    assert_eq!(judged(&[1, 1, 0, 0, 0]), [Judgement::Unsure]);
    assert_eq!(judged(&[0, 0, 0]), [Judgement::Pass]);
}

#[test]
fn a_defect_counts_on_its_own_part_in_the_zone_and_when_it_is_sure() {
    let passing = |zone: Option<Zone>, at: (f32, f32), score: f32| {
        let mut settings = settings(line());
        settings.fail.zone = zone;
        let mut bench = Bench::new(settings);
        for step in 0..8 {
            let x = 200.0 + 20.0 * step as f32;
            let others = [found("scratch", (x + at.0, 240.0 + at.1), 8.0, score, None)];
            bench.frame(&[(1, x), (2, x + 90.0)], &others);
        }
        bench
            .verdicts()
            .iter()
            .map(|verdict| (verdict.track.unwrap(), verdict.frames, verdict.frames_bad))
            .collect::<Vec<_>>()
    };
    // The second board crosses at its third frame, the first at its seventh.
    assert_eq!(passing(None, (0.0, 0.0), 0.6), [(2, 3, 0), (1, 7, 7)]);
    assert_eq!(passing(None, (0.0, 0.0), 0.4), [(2, 3, 0), (1, 7, 0)]);
    assert_eq!(passing(None, (85.0, 0.0), 0.6), [(2, 3, 3), (1, 7, 0)]);
    assert_eq!(passing(None, (0.0, 90.0), 0.6), [(2, 3, 0), (1, 7, 0)]);
    // Only frames with the part in the zone vote, and only defects there count.
    let corners = [(240., 200.), (400., 200.), (400., 300.), (240., 300.)].map(|(x, y)| Point { x, y }).to_vec();
    let zone = Some(Zone { corners, unit: Unit::Pixels });
    assert_eq!(passing(zone.clone(), (0.0, 0.0), 0.6), [(2, 3, 0), (1, 5, 5)]);
    assert_eq!(passing(zone, (-30.0, 0.0), 0.6), [(2, 3, 0), (1, 5, 3)]);
}

#[test]
fn a_part_that_is_itself_of_a_bad_class_votes_so() {
    let mut bench = Bench::new(settings(line()));
    for step in 0..8 {
        let x = 200.0 + 20.0 * step as f32;
        let others = [found("broken", (x, 240.0), 80.0, if step < 5 { 0.8 } else { 0.3 }, Some(1))];
        bench.frame(&[(1, x)], &others);
    }
    assert_eq!((bench.verdicts()[0].frames_bad, bench.judgements()), (5, vec![Judgement::Fail]));
}

#[test]
fn a_piece_of_a_part_at_the_edge_of_the_frame_does_not_vote_where_all_of_it_was_seen() {
    let mut bench = Bench::new(settings(line()));
    bench.walk(1, &[(20., 0), (30., 0), (40., 0), (100., 1), (160., 1), (220., 1), (320., 1)]);
    let verdict = bench.verdicts()[0];
    assert_eq!((verdict.frames, verdict.frames_bad, verdict.opened_at), (4, 4, Moment::from_micros(1_000_000)));
}

#[test]
fn a_belt_that_backs_up_over_the_line_or_an_id_that_changes_gives_no_second_verdict() {
    let mut bench = Bench::new(settings(line()));
    bench.walk(1, &[(240., 0), (270., 0), (300., 0), (320., 0), (280., 0), (260., 0), (300., 0), (340., 0)]);
    assert_eq!(bench.events.len(), 1);
    // It goes back under another number, and on.
    bench.walk(2, &[(335., 0), (300., 0), (280., 0), (300., 0), (330., 0)]);
    assert_eq!(bench.events.len(), 1);
    // Another part changes its number in the band: the votes go with it.
    bench.at = bench.at + Duration::from_secs(5);
    bench.walk(3, &[(240., 1), (260., 1), (280., 1), (300., 1)]);
    bench.walk(4, &[(302., 0), (320., 0), (340., 0)]);
    assert_eq!(bench.judgements(), [Judgement::Pass, Judgement::Fail]);
    assert_eq!((bench.verdicts()[1].frames, bench.verdicts()[1].track), (6, Some(4)));
}

#[test]
fn a_part_that_was_taken_for_another_has_its_own_verdict_once_that_comes_back() {
    let mut bench = Bench::new(settings(line()));
    bench.walk(1, &[(200., 1), (225., 1), (250., 1), (262., 1)]);
    // Another appears where the first was last, which is found again further on.
    bench.frame(&[(2, 240.)], &[]);
    for step in 0..5 {
        let step = step as f32 * 30.0;
        bench.frame(&[(1, 290. + step), (2, 230. + step)], &[]);
    }
    let judged: Vec<_> = bench.verdicts().iter().map(|verdict| (verdict.track, verdict.judgement)).collect();
    assert_eq!(judged, [(Some(1), Judgement::Fail), (Some(2), Judgement::Pass)]);
}

#[test]
fn a_part_that_never_crosses_or_was_first_seen_behind_the_line_has_no_verdict() {
    let mut bench = Bench::new(settings(line()));
    bench.walk(1, &[(200., 1), (250., 1), (280., 1), (300., 1), (280., 1), (200., 1)]);
    bench.at = bench.at + Duration::from_secs(5);
    bench.walk(2, &[(350., 1), (300., 1), (260., 1), (300., 1), (350., 1)]);
    assert_eq!(bench.events, []);
}

#[test]
fn the_deadline_counts_from_the_line_itself_and_a_late_verdict_says_so() {
    let after = |time| VerdictSettings {
        reject_after: Some(RejectAfter::Time(Duration::from_millis(time))),
        ..settings(line())
    };
    for (time, missed) in [(320, false), (100, true)] {
        let mut bench = Bench::new(after(time));
        // On the line half-way between the frames at 300 ms and 400 ms; beyond the band at 500 ms; told 20 ms later.
        bench.walk(1, &[(200., 0), (230., 0), (260., 0), (295., 0), (305., 0), (320., 0)]);
        let verdict = bench.verdicts()[0];
        let triggered_at = Moment::from_micros(1_350_000);
        assert_eq!(verdict.triggered_at, triggered_at);
        assert_eq!(verdict.deadline, Some(Deadline::At(triggered_at + Duration::from_millis(time))));
        assert_eq!(verdict.missed, missed);
    }
    for (count, missed) in [(40, false), (10, true)] {
        let mut bench =
            Bench::new(VerdictSettings { reject_after: Some(RejectAfter::Ticks(count)), ..settings(line()) });
        for (step, x) in [200.0, 230.0, 260.0, 295.0, 305.0, 320.0].into_iter().enumerate() {
            bench.take(Input::Encoder { ticks: 1000 + 20 * step as u64 });
            bench.walk(1, &[(x, 0)]);
        }
        let verdict = bench.verdicts()[0];
        assert_eq!((verdict.deadline, verdict.missed), (Some(Deadline::Ticks(1070 + count)), missed));
    }
}

#[test]
fn names_are_given_to_the_next_parts_in_their_order_and_are_bounded() {
    let mut bench = Bench::new(settings(line()));
    for name in ["a", "b"] {
        bench.open(name).unwrap();
    }
    bench.restart();
    for id in 1..4 {
        bench.walk(id, &[(240., 0), (280., 0), (300., 0), (320., 0)]);
        bench.at = bench.at + Duration::from_secs(5);
    }
    let names: Vec<_> = bench.verdicts().iter().map(|verdict| (verdict.part, verdict.external_id.as_deref())).collect();
    assert_eq!(names, [(1, Some("a")), (2, Some("b")), (3, None)]);
    for _ in 0..64 {
        bench.open("c").unwrap();
    }
    assert!(bench.open("c").unwrap_err().0.contains("64 names wait"));
    bench.order(&Order::Reset).unwrap();
    bench.open("c").unwrap();
    assert!(bench.open("").unwrap_err().0.contains("external_id"));
    assert!(bench.order(&Order::Close).is_err());
    assert!(bench.order(&Order::Acknowledge).is_err());
}

#[test]
fn a_restart_at_any_frame_neither_doubles_nor_loses_a_verdict_nor_a_vote() {
    let places: Vec<_> =
        [230., 250., 270., 285., 295., 305., 320., 300., 285., 300., 330., 350.].map(|x| (x, 1)).into();
    let whole = {
        let mut bench = Bench::new(settings(line()));
        bench.walk(1, &places);
        bench.events
    };
    assert_eq!(whole.len(), 1);
    for cut in 0..places.len() {
        let mut bench = Bench::new(settings(line()));
        bench.walk(1, &places[..cut]);
        bench.restart();
        bench.walk(1, &places[cut..]);
        let without_steps =
            |events: &[Event]| events.iter().map(|event| (event.id.clone(), event.what.clone())).collect::<Vec<_>>();
        assert_eq!(without_steps(&bench.events), without_steps(&whole), "restarted before frame {cut}");
    }
}

#[test]
fn a_command_opens_a_part_and_close_or_the_time_or_the_next_ends_it() {
    let mut bench = Bench::new(settings(Trigger::Command { within: Duration::from_secs(1) }));
    let scratch = [found("scratch", (100., 100.), 10.0, 0.8, None)];
    bench.frame(&[], &scratch);
    assert!(bench.order(&Order::Close).is_err());
    bench.open("lot 7").unwrap();
    for _ in 0..4 {
        bench.frame(&[], &scratch);
    }
    bench.restart();
    bench.order(&Order::Close).unwrap();
    let verdict = bench.verdicts()[0];
    assert_eq!(
        (verdict.judgement, verdict.frames, verdict.external_id.as_deref()),
        (Judgement::Fail, 3, Some("lot 7"))
    );
    assert_eq!(verdict.triggered_at, verdict.opened_at);
    // By time: the frame that was taken after it ends it and does not vote.
    bench.open("").unwrap();
    for _ in 0..20 {
        bench.frame(&[], &[]);
    }
    assert_eq!((bench.events.len(), bench.verdicts()[1].frames, bench.judgements()[1]), (2, 10, Judgement::Pass));
    // By the next.
    bench.open("a").unwrap();
    bench.open("b").unwrap();
    bench.order(&Order::Close).unwrap();
    assert_eq!(bench.judgements()[2..], [Judgement::Unsure; 2]);
    assert!(bench.order(&Order::Close).is_err());
    // A part that is dropped has no verdict.
    bench.open("c").unwrap();
    bench.order(&Order::Reset).unwrap();
    bench.at = bench.at + Duration::from_secs(9);
    bench.take(Input::Tick);
    assert_eq!(bench.events.len(), 4);
}

#[test]
fn an_edge_of_the_own_input_opens_a_part_and_the_time_ends_it_also_without_frames() {
    let trigger = Trigger::Input { input: "eye".to_owned(), within: Duration::from_millis(300) };
    let mut bench = Bench::new(settings(trigger));
    bench.take(Input::Edge { input: "other" });
    bench.take(Input::Edge { input: "eye" });
    let opened_at = bench.now().moment;
    bench.at = bench.at + Duration::from_millis(310);
    bench.take(Input::Tick);
    assert_eq!(bench.events, [], "frames may be under way");
    bench.at = bench.at + Duration::from_millis(300);
    bench.take(Input::Tick);
    bench.take(Input::Tick);
    assert_eq!(bench.judgements(), [Judgement::Unsure]);
    assert_eq!((bench.verdicts()[0].triggered_at, bench.verdicts()[0].frames), (opened_at, 0));
    bench.take(Input::Edge { input: "eye" });
    bench.take(Input::Edge { input: "eye" });
    assert_eq!(bench.events.len(), 2);
}

#[test]
fn parts_by_time_follow_each_other_without_a_gap_and_each_picture_is_one_by_itself() {
    let mut bench = Bench::new(settings(Trigger::Every(Duration::from_millis(500))));
    let scratch = [found("broken", (100., 100.), 10.0, 0.8, None)];
    for step in 0..26 {
        bench.frame(&[], if step / 5 % 2 == 0 { &scratch } else { &[] });
        bench.take(Input::Tick);
    }
    let frames: Vec<_> = bench.verdicts().iter().map(|verdict| (verdict.frames, verdict.frames_bad)).collect();
    assert_eq!(frames, [(5, 5), (5, 0), (5, 5), (5, 0), (5, 5)]);
    // A long silence is one part, not many.
    bench.at = bench.at + Duration::from_secs(100);
    bench.take(Input::Tick);
    bench.take(Input::Tick);
    assert_eq!(bench.events.len(), 6);

    let mut bench = Bench::new(settings(Trigger::Picture));
    bench.frame(&[], &scratch);
    bench.restart();
    bench.frame(&[], &[]);
    assert_eq!(bench.judgements(), [Judgement::Fail, Judgement::Pass]);
    assert_eq!(bench.verdicts()[1].part, 2);
    assert_eq!(bench.events[1].frame, Some(2));
}

#[test]
fn a_part_that_lies_there_for_long_keeps_few_steps_of_both_kinds() {
    let mut bench = Bench::new(settings(line()));
    let places: Vec<_> = (0..500).map(|step| (250.0, u8::from(step < 300))).collect();
    bench.walk(1, &places);
    bench.walk(1, &[(300., 0), (320., 0)]);
    let steps = &bench.events[0].because;
    let bad = steps.iter().filter(|step| step.meant == "the frame votes bad").count();
    assert_eq!(steps.len(), STEPS_MAX);
    assert!((10..=22).contains(&bad), "{bad}");
    assert!(steps.is_sorted_by_key(|step| step.at));
}

#[test]
fn the_class_of_a_whole_picture_lies_in_every_zone() {
    let corners = [(0.0, 0.0), (0.1, 0.0), (0.1, 0.1)].map(|(x, y)| Point { x, y }).to_vec();
    let mut watched = settings(Trigger::Picture);
    watched.fail.zone = Some(Zone { corners, unit: Unit::Relative });
    let mut bench = Bench::new(watched);
    let class = |name| Detection { geometry: Geometry::Image, ..found(name, (0.0, 0.0), 1.0, 0.9, None) };
    bench.frame(&[], &[class("broken")]);
    bench.frame(&[], &[class("whole")]);
    assert_eq!(bench.judgements(), [Judgement::Fail, Judgement::Pass]);
}

#[test]
fn as_many_parts_as_a_tracker_follows_are_judged_each_once() {
    let count = crate::track::TRACKS_MAX as u64;
    let mut bench = Bench::new(settings(line()));
    for x in [200.0, 240.0, 280.0, 320.0, 360.0] {
        let boards: Vec<_> = (1..=count).map(|id| (id, x)).collect();
        bench.frame(&boards, &[]);
    }
    assert_eq!(bench.judgements(), vec![Judgement::Pass; count as usize]);
}

#[test]
fn frames_of_a_blind_camera_do_not_vote_and_a_part_that_only_they_show_is_unsure() {
    for restarts in [false, true] {
        let mut bench = Bench::new(settings(line()));
        bench.walk(1, &[(200., 1), (220., 1), (240., 1)]);
        bench.camera(false);
        if restarts {
            bench.restart();
        }
        bench.walk(1, &[(260., 0), (280., 0), (300., 0), (320., 0)]);
        bench.at = bench.at + Duration::from_secs(5);
        bench.walk(2, &[(240., 0), (260., 0), (280., 0), (300., 0), (320., 0)]);
        bench.camera(true);
        bench.at = bench.at + Duration::from_secs(5);
        bench.walk(3, &[(240., 0), (260., 0), (280., 0), (300., 0), (320., 0)]);
        assert_eq!(bench.judgements(), [Judgement::Fail, Judgement::Unsure, Judgement::Pass]);
        assert_eq!(bench.verdicts().iter().map(|verdict| verdict.frames).collect::<Vec<_>>(), [3, 0, 5]);
    }
    let mut bench = Bench::new(settings(Trigger::Command { within: Duration::from_secs(60) }));
    bench.camera(false);
    bench.open("lot 7").unwrap();
    for _ in 0..5 {
        bench.frame(&[], &[]);
    }
    bench.order(&Order::Close).unwrap();
    assert_eq!((bench.judgements(), bench.verdicts()[0].frames), (vec![Judgement::Unsure], 0));
}

#[test]
fn spans_in_which_no_frame_votes_are_left_out_and_their_name_goes_to_the_next() {
    let mut bench = Bench::new(settings(Trigger::Every(Duration::from_millis(500))));
    for _ in 0..6 {
        bench.frame(&[], &[]);
    }
    assert_eq!(bench.judgements(), [Judgement::Pass]);
    bench.open("lot 7").unwrap();
    bench.camera(false);
    // The second span was half seen; the others are dark, and then nothing comes at all.
    for _ in 0..20 {
        bench.frame(&[], &[]);
    }
    for _ in 0..100 {
        bench.at = bench.at + Duration::from_millis(100);
        bench.take(Input::Tick);
    }
    assert_eq!(bench.judgements(), [Judgement::Pass, Judgement::Unsure]);
    bench.restart();
    bench.camera(true);
    for _ in 0..12 {
        bench.frame(&[], &[]);
    }
    let told: Vec<_> = bench.verdicts().iter().map(|verdict| (verdict.part, verdict.external_id.as_deref())).collect();
    assert_eq!(told[..3], [(1, None), (2, None), (3, Some("lot 7"))]);
    assert_eq!(bench.judgements()[3..], [Judgement::Pass]);
}
