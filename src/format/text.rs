//! Detections for people at a terminal: a block per picture, columns aligned.

use std::io::Write;

use super::{Error, Writer};
use crate::detection::{Detection, Detections, Geometry};

/// `--format text`.
#[derive(Debug, Default)]
pub struct Blocks;

impl Writer for Blocks {
    fn picture(&mut self, out: &mut dyn Write, source: &str, found: &Detections) -> Result<(), Error> {
        let total_ms = found.timing.total_ms();
        let count = match found.items.len() {
            0 => "nothing".to_owned(),
            count => count.to_string(),
        };
        writeln!(out, "{source}  {}×{}  {count} found in {total_ms:.1} ms", found.size.width, found.size.height)?;
        let rows: Vec<_> = found.items.iter().map(cells).collect();
        let mut widths = [0; COLUMNS];
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        for [name, confidence, track, x1, x2, y1, y2, more] in &rows {
            let [name_width, _, track_width, x1_width, x2_width, y1_width, y2_width, _] = widths;
            let mut line = format!("  {name:name_width$}  {confidence}");
            if track_width > 0 {
                line += &format!("  {track:>track_width$}");
            }
            if !x1.is_empty() {
                line += &format!("  x {x1:>x1_width$} – {x2:>x2_width$}  y {y1:>y1_width$} – {y2:>y2_width$}");
            }
            if !more.is_empty() {
                line += &format!("  {more}");
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }

    fn finish(&mut self, _out: &mut dyn Write) -> Result<(), Error> {
        Ok(())
    }
}

const COLUMNS: usize = 8;

/// Name, confidence, track, the box's four edges, and what else there is to say.
fn cells(item: &Detection) -> [String; COLUMNS] {
    let [x1, x2, y1, y2] = match item.bounds() {
        Some(bounds) => [bounds.x1, bounds.x2, bounds.y1, bounds.y2].map(|edge| format!("{edge:.0}")),
        None => Default::default(),
    };
    let more = match &item.geometry {
        Geometry::Image | Geometry::Box(_) => String::new(),
        Geometry::Segment { outline, .. } => format!("outline of {} points", outline.len()),
        Geometry::Pose { keypoints, .. } => format!("{} keypoints", keypoints.len()),
        Geometry::Oriented(corners) => {
            let corners = corners.map(|p| format!("{:.0},{:.0}", p.x, p.y));
            format!("corners {}", corners.join(" "))
        }
    };
    let track = item.track_id.map(|id| format!("#{id}")).unwrap_or_default();
    [item.name.to_string(), format!("{:.2}", item.confidence), track, x1, x2, y1, y2, more]
}

#[cfg(test)]
mod tests {
    use super::{super::samples, *};

    fn written(items: Vec<Detection>) -> String {
        let mut out = Vec::new();
        Blocks.picture(&mut out, "bus.jpg", &samples::found(items)).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn columns_are_aligned() {
        assert_eq!(
            written(vec![samples::boxed(), samples::segment(), samples::oriented()]),
            "bus.jpg  400×600  3 found in 37.0 ms\n  \
               bus     0.93  x 10 – 200  y 220 – 300\n  \
               person  0.50  x 10 – 200  y 220 – 300  outline of 3 points\n  \
               ship    0.25  x 50 – 150  y  50 – 150  corners 100,50 150,100 100,150 50,100\n"
        );
    }

    #[test]
    fn tracks_and_classifications_and_nothing() {
        let tracked = Detection { track_id: Some(12), ..samples::whole() };
        assert_eq!(written(vec![tracked]), "bus.jpg  400×600  1 found in 37.0 ms\n  good, \"best\"  0.99  #12\n");
        assert_eq!(written(Vec::new()), "bus.jpg  400×600  nothing found in 37.0 ms\n");
    }
}
