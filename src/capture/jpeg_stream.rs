//! Finds whole JPEG images in a stream of bytes.
//!
//! It follows the markers of the images themselves (ITU-T T.81, annex B) and takes everything between two images for
//! packaging: so one reader serves images that follow one another bare, a multipart stream with or without lengths, and
//! boundaries that are not what the header announced. An image without its end is damaged: half a picture must not reach
//! a model. What is inside the image data is for the decoder.

/// Where a search stands; it is fed the same bytes again with more behind them until it comes to a result.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct JpegScan {
    state: State,
    /// How far the bytes have been looked at.
    at: usize,
    /// Where the last segment began whose length was believed.
    segment: usize,
    /// Whether there was image data.
    has_data: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// No image has begun.
    #[default]
    Between,
    /// At a marker.
    Marker,
    /// In entropy-coded data.
    Data,
}

/// What a search came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The first bytes, this many, are one image.
    Image(usize),
    /// An image had begun but is not whole. This many bytes are to be thrown away; the next may begin after them.
    Damaged(usize),
    /// Nothing yet; this many bytes at the beginning belong to no image and are to be thrown away.
    More(usize),
}

const SOI: u8 = 0xd8;
const EOI: u8 = 0xd9;
const SOS: u8 = 0xda;

impl JpegScan {
    /// Whether an image has begun.
    pub(crate) fn is_inside(&self) -> bool {
        self.state != State::Between
    }

    /// Looks on. `bytes` are those of the last call without what was thrown away, and more behind them.
    pub(crate) fn step(&mut self, bytes: &[u8]) -> Step {
        if self.state == State::Between {
            let Some(start) = find_start(bytes) else {
                // The last two may be the beginning of a start.
                return Step::More(bytes.len().saturating_sub(2));
            };
            *self = Self { state: State::Marker, at: 2, segment: 2, has_data: false };
            if start > 0 {
                return Step::More(start);
            }
        }
        while let Some(&byte) = bytes.get(self.at) {
            match self.state {
                State::Data if byte != 0xff => {
                    let rest = &bytes[self.at..];
                    self.at += rest.iter().position(|&byte| byte == 0xff).unwrap_or(rest.len());
                    continue;
                }
                State::Marker if byte != 0xff => return self.damaged(self.segment),
                _ => {}
            }
            let Some(&code) = bytes.get(self.at + 1) else { break };
            match code {
                // A fill byte.
                0xff => self.at += 1,
                0x00 if self.state == State::Data => self.at += 2,
                0x01 | 0xd0..=0xd7 => self.at += 2,
                EOI if self.has_data => {
                    let len = self.at + 2;
                    *self = Self::default();
                    return Step::Image(len);
                }
                SOI => return self.damaged(self.at),
                0x00 | EOI => return self.damaged(self.segment),
                code => {
                    let Some(length) = bytes.get(self.at + 2..self.at + 4) else { break };
                    let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
                    if length < 2 {
                        return self.damaged(self.segment);
                    }
                    // Exif and its like (APP1 and above) may hold a whole preview; anywhere else the start of an image means
                    // that this one broke off and its segment's length reaches into the next.
                    if !matches!(code, 0xe1..=0xef) {
                        let Some(segment) = bytes.get(self.at + 2..self.at + 2 + length) else { break };
                        if let Some(start) = find_start(segment) {
                            return self.damaged(self.at + 2 + start);
                        }
                    }
                    self.segment = self.at;
                    self.at += 2 + length;
                    self.state = if code == SOS { State::Data } else { State::Marker };
                    self.has_data |= code == SOS;
                }
            }
        }
        Step::More(0)
    }

    /// Gives up the image; the search for the next begins at `resume`, or behind this one's own start.
    fn damaged(&mut self, resume: usize) -> Step {
        *self = Self::default();
        Step::Damaged(resume.max(2))
    }
}

/// Where `FF D8 FF` begins.
fn find_start(bytes: &[u8]) -> Option<usize> {
    bytes.windows(3).position(|window| window == [0xff, SOI, 0xff])
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn jpeg(value: u8) -> Vec<u8> {
        let mut file = Cursor::new(Vec::new());
        let picture = image::RgbImage::from_fn(40, 30, |x, y| image::Rgb([value, (x * 6) as u8, (y * 8) as u8]));
        picture.write_to(&mut file, image::ImageFormat::Jpeg).unwrap();
        file.into_inner()
    }

    /// With an APP1 segment that holds a whole small image, as cameras embed a preview.
    fn jpeg_with_preview() -> Vec<u8> {
        let (outer, inner) = (jpeg(1), jpeg(2));
        let length = u16::try_from(inner.len() + 2).unwrap().to_be_bytes();
        [&[0xff, 0xd8, 0xff, 0xe1], &length[..], &inner, &outer[2..]].concat()
    }

    /// The images and the number of damaged ones, when the stream arrives in pieces of this size.
    fn split(stream: &[u8], piece: usize) -> (Vec<Vec<u8>>, usize) {
        let (mut scan, mut buffer, mut images, mut damaged) = (JpegScan::default(), Vec::new(), Vec::new(), 0);
        for bytes in stream.chunks(piece) {
            buffer.extend_from_slice(bytes);
            loop {
                match scan.step(&buffer) {
                    Step::Image(len) => images.push(buffer.drain(..len).collect()),
                    Step::Damaged(len) => {
                        damaged += 1;
                        buffer.drain(..len);
                    }
                    Step::More(0) => break,
                    Step::More(len) => {
                        buffer.drain(..len);
                    }
                }
            }
        }
        (images, damaged)
    }

    fn split_all_ways(stream: &[u8]) -> (Vec<Vec<u8>>, usize) {
        let whole = split(stream, stream.len().max(1));
        for piece in [1, 2, 3, 7, 100, 1000] {
            assert_eq!(split(stream, piece), whole, "in pieces of {piece}");
        }
        whole
    }

    #[test]
    fn images_that_follow_one_another_are_parted() {
        let (a, b, c) = (jpeg(1), jpeg(200), jpeg_with_preview());
        let (images, damaged) = split_all_ways(&[a.clone(), b.clone(), c.clone(), a.clone()].concat());
        assert_eq!((images, damaged), (vec![a.clone(), b, c, a], 0));
    }

    #[test]
    fn whatever_stands_between_is_packaging() {
        let image = jpeg(9);
        let head = b"\r\n--\"odd\"\r\nContent-Type: image/jpeg\r\n\r\n\xff\xff\xd8\xd8\xff\0".as_slice();
        let (images, damaged) = split_all_ways(&[head, &image, head, &image, head].concat());
        assert_eq!((images, damaged), (vec![image.clone(), image], 0));
    }

    #[test]
    fn a_truncated_image_is_damaged_and_the_next_is_whole() {
        let image = jpeg_with_preview();
        // Inside its data, between its segments, and inside its embedded preview.
        for keep in [image.len() - 1, image.len() - 40, jpeg(2).len() + 6 + 10, 300] {
            let (images, damaged) = split_all_ways(&[&image[..keep], &image, &image].concat());
            let last = &images[images.len() - 1];
            assert_eq!(last, &image, "cut at {keep}");
            assert!(damaged >= 1, "cut at {keep}");
        }
        let (images, damaged) =
            split_all_ways(&[&image[..image.len() - 40], b"\r\n--x\r\n\r\n".as_slice(), &image].concat());
        assert_eq!((images, damaged), (vec![image], 1));
    }

    #[test]
    fn noise_never_gives_an_image_nor_an_endless_loop() {
        let mut state = 7_u32;
        let noise: Vec<u8> = (0..20_000)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                // Many 0xff, so that markers come up.
                if state >> 30 == 0 { 0xff } else { (state >> 16) as u8 }
            })
            .collect();
        split_all_ways(&noise);
        let image = jpeg(3);
        // Enough zeros after the noise to end any segment that it began.
        let (images, _) = split_all_ways(&[noise, vec![0; 70_000], image.clone()].concat());
        assert_eq!(images.last(), Some(&image));
    }

    #[test]
    fn a_stream_that_ends_inside_an_image_is_known() {
        let image = jpeg(1);
        let mut scan = JpegScan::default();
        assert_eq!(scan.step(b"--boundary"), Step::More(8));
        assert!(!scan.is_inside());
        assert_eq!(scan.step(&image[..100]), Step::More(0));
        assert!(scan.is_inside());
    }
}
