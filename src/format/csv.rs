//! Detections as CSV (RFC 4180, lines ended by a line feed): a header, then one row per detection.
//!
//! A picture in which nothing was found has no row. Outlines and keypoints have no place here; the JSON formats carry
//! them.

use std::{
    borrow::Cow,
    io::{self, Write},
};

use super::{Error, Writer, rounded};
use crate::detection::{Detection, Detections, Geometry};

/// `--format csv`.
#[derive(Debug)]
pub struct Rows {
    oriented: bool,
    begun: bool,
}

impl Rows {
    /// Rows with four corners where the model finds oriented boxes, else with two.
    pub fn new(oriented: bool) -> Self {
        Self { oriented, begun: false }
    }

    fn header(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if self.begun {
            return Ok(());
        }
        self.begun = true;
        let corners = if self.oriented { "x1,y1,x2,y2,x3,y3,x4,y4" } else { "x1,y1,x2,y2" };
        writeln!(out, "source,width,height,name,class,confidence,{corners},track_id")
    }
}

impl Writer for Rows {
    fn picture(&mut self, out: &mut dyn Write, source: &str, found: &Detections) -> Result<(), Error> {
        self.header(out)?;
        for item in &found.items {
            let (source, name) = (quoted(source), quoted(&item.name));
            let confidence = rounded(item.confidence, 5);
            write!(out, "{source},{},{},{name},{},{confidence}", found.size.width, found.size.height, item.class)?;
            let corners = corners(item);
            for column in 0..if self.oriented { 8 } else { 4 } {
                match corners.get(column) {
                    Some(value) => write!(out, ",{}", rounded(*value, 5))?,
                    None => out.write_all(b",")?,
                }
            }
            match item.track_id {
                Some(id) => writeln!(out, ",{id}")?,
                None => out.write_all(b",\n")?,
            }
        }
        Ok(())
    }

    /// An empty table has its header too.
    fn finish(&mut self, out: &mut dyn Write) -> Result<(), Error> {
        Ok(self.header(out)?)
    }
}

fn corners(item: &Detection) -> Vec<f32> {
    match (&item.geometry, item.bounds()) {
        (Geometry::Oriented(corners), _) => corners.iter().flat_map(|p| [p.x, p.y]).collect(),
        (_, Some(bounds)) => vec![bounds.x1, bounds.y1, bounds.x2, bounds.y2],
        (_, None) => Vec::new(),
    }
}

/// The field as it is, or in quotes where it holds what would end it.
fn quoted(field: &str) -> Cow<'_, str> {
    if field.contains(['"', ',', '\n', '\r']) {
        Cow::Owned(format!("\"{}\"", field.replace('"', "\"\"")))
    } else {
        Cow::Borrowed(field)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::samples, *};

    fn written(oriented: bool, items: Vec<Detection>) -> String {
        let (mut rows, mut out) = (Rows::new(oriented), Vec::new());
        rows.picture(&mut out, "a,b.jpg", &samples::found(items)).unwrap();
        rows.finish(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn names_with_commas_and_quotes_are_quoted() {
        assert_eq!(
            written(false, vec![samples::boxed(), samples::whole()]),
            "source,width,height,name,class,confidence,x1,y1,x2,y2,track_id\n\
             \"a,b.jpg\",400,600,bus,5,0.93469,10.42915,220.20047,200,300.5,\n\
             \"a,b.jpg\",400,600,\"good, \"\"best\"\"\",3,0.98765,,,,,\n"
        );
    }

    #[test]
    fn oriented_boxes_have_four_corners() {
        let tracked = Detection { track_id: Some(9), ..samples::oriented() };
        let text = written(true, vec![tracked]);
        assert!(text.ends_with(",ship,1,0.25,100,50,150,100,100,150,50,100,9\n"), "{text}");
    }

    #[test]
    fn nothing_found_leaves_the_header() {
        assert_eq!(written(false, Vec::new()).lines().count(), 1);
        let (mut rows, mut out) = (Rows::new(false), Vec::new());
        rows.finish(&mut out).unwrap();
        assert!(out.starts_with(b"source,"));
    }
}
