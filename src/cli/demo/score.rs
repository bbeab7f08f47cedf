//! What the demo prints: one line a picture, and how well the model did where the source knows what its pictures show.

use std::fmt::Write as _;

use andon::{
    capture::line,
    detection::{Detection, Detections, Label},
    eval::matching::{Pairs, pair},
    frame::Frame,
};

/// A detection that overlaps a defect of its class by so much has found it.
const OVERLAP_MIN: f32 = 0.5;
/// The score is told after every so many boards.
const TOLD_EVERY: u64 = 10;

/// How the boards so far went.
#[derive(Debug, Default)]
pub(super) struct Score {
    boards: u64,
    found: u64,
    missed: u64,
    invented: u64,
    total_ms: f64,
}

impl Score {
    /// One picture, for people. Every few boards the score follows in a line of its own.
    pub(super) fn line(&mut self, frame: &Frame, found: &Detections) -> String {
        let total_ms = found.timing.total_ms();
        let mut line = String::new();
        let Some(truth) = frame.truth.as_ref().filter(|_| is_board(frame) && found.items.iter().all(is_of_the_line))
        else {
            write_to(&mut line, format_args!("{total_ms:6.1} ms  {}", summary(&found.items)));
            return line;
        };
        let pairs = pair(truth, &found.items, OVERLAP_MIN);
        write_to(
            &mut line,
            format_args!("{:<10} {total_ms:5.1} ms  {}", frame.name, told(truth, &found.items, &pairs)),
        );
        self.boards += 1;
        self.found += pairs.hits.len() as u64;
        self.missed += pairs.missed.len() as u64;
        self.invented += pairs.invented.len() as u64;
        self.total_ms += f64::from(total_ms);
        if self.boards.is_multiple_of(TOLD_EVERY) {
            write_to(&mut line, format_args!("\n── {}", self.told()));
        }
        line
    }

    fn told(&self) -> String {
        let Self { boards, found, missed, invented, total_ms } = *self;
        let real = found + missed;
        let share = if real == 0 { 100.0 } else { 100.0 * found as f64 / real as f64 };
        let mean_ms = total_ms / boards as f64;
        format!(
            "{boards} boards: {found} of {real} defects found ({share:.1} %), {missed} missed, {invented} invented; \
             {mean_ms:.1} ms a board"
        )
    }
}

/// What of a board's defects was found, missed and invented.
fn told(truth: &[Label], items: &[Detection], pairs: &Pairs) -> String {
    if truth.is_empty() && items.is_empty() {
        return "clean".to_owned();
    }
    let scored = |indices: &mut dyn Iterator<Item = usize>| -> Vec<String> {
        indices.map(|index| format!("{} {:.2}", items[index].name, items[index].confidence)).collect()
    };
    let mut parts = Vec::new();
    let mut part = |what: &str, things: Vec<String>| {
        if !things.is_empty() {
            parts.push(format!("{what} {}", things.join(", ")));
        }
    };
    part("found", scored(&mut pairs.hits.iter().map(|(_, index)| *index)));
    part("MISSED", pairs.missed.iter().map(|place| class_name(truth[*place].class)).collect());
    part("INVENTED", scored(&mut pairs.invented.iter().copied()));
    parts.join("   ")
}

/// Whether the picture is one of still boards, of which each is counted once; those of a film show the same board often.
fn is_board(frame: &Frame) -> bool {
    frame.name.starts_with("board ")
}

/// Whether a model means the same by its class as the simulated line; other models cannot be held against its truth.
fn is_of_the_line(item: &Detection) -> bool {
    line::CLASSES.get(item.class).is_some_and(|name| **name == *item.name)
}

/// The simulated line is the one source that knows; its classes are those of the truth.
fn class_name(class: usize) -> String {
    line::CLASSES.get(class).map_or_else(|| format!("class {class}"), |name| (*name).to_owned())
}

/// What was found, best first, each class once.
fn summary(items: &[Detection]) -> String {
    let mut told: Vec<(&str, usize, f32)> = Vec::new();
    for item in items {
        match told.iter_mut().find(|(name, ..)| *name == &*item.name) {
            Some((_, count, _)) => *count += 1,
            None => told.push((&item.name, 1, item.confidence)),
        }
    }
    if told.is_empty() {
        return "nothing".to_owned();
    }
    let classes = told.iter().map(|(name, count, best)| {
        let times = if *count > 1 { format!(" ×{count}") } else { String::new() };
        format!("{name}{times} {best:.2}")
    });
    classes.collect::<Vec<_>>().join("   ")
}

fn write_to(line: &mut String, text: std::fmt::Arguments<'_>) {
    line.write_fmt(text).expect("a string takes any text");
}

#[cfg(test)]
mod tests {
    use andon::{
        detection::{Geometry, Timing},
        geometry::{BoxPx, Size},
    };

    use super::*;

    const AT: BoxPx = BoxPx { x1: 10.0, y1: 10.0, x2: 40.0, y2: 40.0 };
    const ELSEWHERE: BoxPx = BoxPx { x1: 100.0, y1: 10.0, x2: 140.0, y2: 40.0 };

    fn thing(class: usize, name: &str, confidence: f32, bounds: BoxPx) -> Detection {
        Detection { class, name: name.into(), confidence, geometry: Geometry::Box(bounds), track_id: None }
    }

    fn found(items: Vec<Detection>) -> Detections {
        let timing = Timing { decode_ms: 1.0, preprocess_ms: 2.0, inference_ms: 30.0, postprocess_ms: 0.26 };
        Detections { size: Size { width: 1, height: 1 }, items, timing }
    }

    fn board(number: u64, truth: &[Label]) -> Frame {
        Frame { name: format!("board {number}"), truth: Some(truth.into()), ..Frame::empty() }
    }

    #[test]
    fn a_picture_of_which_nobody_knows_is_one_line() {
        let mut score = Score::default();
        let frame = Frame::empty();
        assert_eq!(score.line(&frame, &found(vec![])), "  33.3 ms  nothing");
        let items = vec![thing(1, "short", 0.931, AT), thing(0, "open", 0.9, AT), thing(1, "short", 0.5, ELSEWHERE)];
        assert_eq!(score.line(&frame, &found(items)), "  33.3 ms  short ×2 0.93   open 0.90");
        assert_eq!(score.boards, 0);
    }

    #[test]
    fn a_model_with_other_classes_is_not_judged() {
        let mut score = Score::default();
        let line = score.line(&board(1, &[Label { class: 0, bounds: AT }]), &found(vec![thing(0, "person", 0.9, AT)]));
        assert_eq!((line.as_str(), score.boards), ("  33.3 ms  person 0.90", 0));
    }

    #[test]
    fn a_board_is_held_against_its_truth() {
        let mut score = Score::default();
        let (open, spur) = (Label { class: 0, bounds: AT }, Label { class: 3, bounds: ELSEWHERE });
        assert_eq!(score.line(&board(1, &[]), &found(vec![])), "board 1     33.3 ms  clean");
        let items = vec![thing(0, "open", 0.9, AT), thing(4, "copper", 0.4, ELSEWHERE)];
        assert_eq!(
            score.line(&board(2, &[open, spur]), &found(items)),
            "board 2     33.3 ms  found open 0.90   MISSED spur   INVENTED copper 0.40"
        );
        for number in 3..10 {
            score.line(&board(number, &[]), &found(vec![]));
        }
        let tenth = score.line(&board(10, &[open]), &found(vec![thing(0, "open", 0.8, AT)]));
        assert_eq!(
            tenth.lines().nth(1),
            Some("── 10 boards: 2 of 3 defects found (66.7 %), 1 missed, 1 invented; 33.3 ms a board")
        );
    }
}
