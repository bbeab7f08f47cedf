//! Parts a stream of bytes into pictures: raw frames of a known size, JPEG images, or PPM images that carry their size.
//!
//! Where the bytes come from (a pipe, a socket), and which of several pictures is wanted, is for the reader.

use anyhow::ensure;

use super::jpeg_stream::{JpegScan, Step};
use crate::{
    frame::{Frame, PixelFormat},
    geometry::Size,
};

/// The largest picture that a stream may carry. One that goes on for longer is given up, and its bytes are dropped.
pub(crate) const PICTURE_BYTES_MAX: usize = 64 << 20;

/// How a stream packs its pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    /// Lines without padding, one picture right after the other.
    Raw(PixelFormat, Size),
    /// JPEG images, with anything or nothing between them.
    Jpeg,
    /// Binary PPM (`P6`, eight bits a sample).
    Ppm,
}

/// What [`Splitter::next`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A picture: format, size, stride and data of the frame are set.
    Picture,
    /// A picture that is damaged; it was thrown away.
    Damaged,
    /// More bytes are needed.
    More,
}

/// Bytes that came in and have not gone out as pictures.
#[derive(Debug)]
pub(crate) struct Splitter {
    packing: Packing,
    buffer: Vec<u8>,
    /// Where the bytes begin that are still wanted.
    start: usize,
    scan: JpegScan,
}

impl Splitter {
    /// A splitter for a new stream.
    ///
    /// # Errors
    /// Where raw pictures of this size cannot be.
    pub(crate) fn new(packing: Packing) -> anyhow::Result<Self> {
        if let Packing::Raw(format, size) = packing {
            raw_len(format, size)?;
        }
        Ok(Self { packing, buffer: Vec::new(), start: 0, scan: JpegScan::default() })
    }

    /// Where to append the bytes that come in.
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        &mut self.buffer
    }

    /// Whether the stream stands inside a picture, so that its end would cut one off.
    pub(crate) fn is_inside(&self) -> bool {
        match self.packing {
            Packing::Jpeg => self.scan.is_inside(),
            Packing::Raw(..) | Packing::Ppm => self.start < self.buffer.len(),
        }
    }

    /// Takes the next picture out.
    ///
    /// # Errors
    /// Where the stream is not packed as was promised, and cannot be followed any further.
    pub(crate) fn next(&mut self, frame: &mut Frame) -> anyhow::Result<Found> {
        match self.packing {
            Packing::Raw(format, size) => Ok(self.take(raw_len(format, size)?, 0, format, size, frame)),
            Packing::Jpeg => Ok(self.next_jpeg(frame)),
            Packing::Ppm => {
                let Some((header, size)) = ppm_header(&self.buffer[self.start..])? else { return Ok(Found::More) };
                Ok(self.take(raw_len(PixelFormat::Rgb8, size)?, header, PixelFormat::Rgb8, size, frame))
            }
        }
    }

    fn next_jpeg(&mut self, frame: &mut Frame) -> Found {
        loop {
            match self.scan.step(&self.buffer[self.start..]) {
                Step::Image(len) => return self.take(len, 0, PixelFormat::Jpeg, Size { width: 0, height: 0 }, frame),
                Step::Damaged(len) => {
                    self.start += len;
                    return Found::Damaged;
                }
                Step::More(0) => break,
                Step::More(len) => self.start += len,
            }
        }
        if self.buffer.len() - self.start <= PICTURE_BYTES_MAX {
            return Found::More;
        }
        self.start = self.buffer.len();
        self.scan = JpegScan::default();
        Found::Damaged
    }

    /// Copies out a picture of `len` bytes that stands behind `header` bytes, once it is all there.
    fn take(&mut self, len: usize, header: usize, format: PixelFormat, size: Size, frame: &mut Frame) -> Found {
        let from = self.start + header;
        let Some(bytes) = self.buffer.get(from..from + len) else { return Found::More };
        frame.data.clear();
        frame.data.extend_from_slice(bytes);
        (frame.format, frame.size, frame.stride) = (format, size, format.line_len(size.width));
        self.start = from + len;
        Found::Picture
    }
}

/// Bytes of a raw picture without padding.
fn raw_len(format: PixelFormat, size: Size) -> anyhow::Result<usize> {
    let Size { width, height } = size;
    ensure!(width > 0 && height > 0, "a picture of {width}×{height} pixels cannot be; state the size in pixels");
    let (needs_even_width, needs_even_height) = match format {
        PixelFormat::Rgb8 | PixelFormat::Bgr8 | PixelFormat::Grey8 => (false, false),
        PixelFormat::Yuyv | PixelFormat::Uyvy => (true, false),
        PixelFormat::Nv12 | PixelFormat::I420 => (true, true),
        PixelFormat::Jpeg => anyhow::bail!("JPEG pictures have no raw size; leave the size out"),
    };
    ensure!(
        !(needs_even_width && width % 2 == 1 || needs_even_height && height % 2 == 1),
        "{width}×{height} is no size for {format:?} pictures, which share colour between neighbours; use even numbers"
    );
    let bytes = format.len_min(size, format.line_len(width));
    usize::try_from(bytes).ok().filter(|&bytes| bytes <= PICTURE_BYTES_MAX).ok_or_else(|| {
        anyhow::anyhow!(
            "a picture of {width}×{height} pixels is larger than {} MiB; make it smaller",
            PICTURE_BYTES_MAX >> 20
        )
    })
}

/// The length of a PPM header and the size it states; `None` where it is not all there.
fn ppm_header(bytes: &[u8]) -> anyhow::Result<Option<(usize, Size)>> {
    /// Three numbers of up to ten digits, their separators and the magic, generously.
    const HEADER_BYTES_MAX: usize = 64;
    let mut numbers = [0_u32; 3];
    let magic = &b"P6"[..bytes.len().min(2)];
    ensure!(bytes.starts_with(magic), "the stream is not made of PPM images (P6)");
    let mut at = 2;
    for number in &mut numbers {
        let digits = bytes.get(at + 1..).unwrap_or_default();
        let end = digits.iter().position(|byte| !byte.is_ascii_digit());
        let Some(end) = end else {
            ensure!(bytes.len() < HEADER_BYTES_MAX, "a PPM header in the stream is too long");
            return Ok(None);
        };
        let text = std::str::from_utf8(&digits[..end])?;
        ensure!(bytes[at].is_ascii_whitespace() && !text.is_empty(), "a PPM header in the stream is damaged");
        *number = text.parse()?;
        at += 1 + end;
    }
    ensure!(bytes[at].is_ascii_whitespace() && numbers[2] == 255, "the PPM images in the stream are not of eight bits");
    Ok(Some((at + 1, Size { width: numbers[0], height: numbers[1] })))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size { width: 4, height: 2 };

    /// The data of every picture when the stream arrives in pieces.
    fn split(packing: Packing, stream: &[u8], piece: usize) -> anyhow::Result<Vec<(Size, Vec<u8>)>> {
        let mut splitter = Splitter::new(packing)?;
        let mut frame = Frame::empty();
        let mut pictures = Vec::new();
        for bytes in stream.chunks(piece) {
            splitter.buffer().extend_from_slice(bytes);
            while splitter.next(&mut frame)? == Found::Picture {
                pictures.push((frame.size, frame.data.clone()));
            }
        }
        Ok(pictures)
    }

    #[test]
    fn raw_pictures_are_parted_by_their_size() {
        for (format, len, line) in [
            (PixelFormat::Rgb8, 24, 12),
            (PixelFormat::Bgr8, 24, 12),
            (PixelFormat::Grey8, 8, 4),
            (PixelFormat::Yuyv, 16, 8),
            (PixelFormat::Uyvy, 16, 8),
            (PixelFormat::Nv12, 12, 4),
            (PixelFormat::I420, 12, 4),
        ] {
            assert_eq!((raw_len(format, SIZE).unwrap(), format.line_len(SIZE.width)), (len, line), "{format:?}");
            let stream: Vec<u8> = (0..2 * len + 1).map(|byte| byte as u8).collect();
            for piece in [1, 5, 100] {
                let pictures = split(Packing::Raw(format, SIZE), &stream, piece).unwrap();
                assert_eq!(pictures, [(SIZE, stream[..len].to_vec()), (SIZE, stream[len..2 * len].to_vec())]);
            }
        }
    }

    #[test]
    fn ppm_pictures_carry_their_size() {
        let big = [b"P6\n4 2\n255\n".as_slice(), &[b'P'; 24]].concat();
        let small = [b"P6 1 1 255 ".as_slice(), b"\n6\n"].concat();
        for piece in [1, 3, 100] {
            let pictures = split(Packing::Ppm, &[big.clone(), small.clone(), big.clone()].concat(), piece).unwrap();
            assert_eq!(pictures.len(), 3);
            assert_eq!(pictures[1], (Size { width: 1, height: 1 }, b"\n6\n".to_vec()));
            assert_eq!(pictures[2], (SIZE, vec![b'P'; 24]));
        }
    }

    #[test]
    fn a_stream_that_is_no_ppm_is_an_error() {
        for stream in [
            "GIF89a",
            "P5\n4 2\n255\n",
            "P6\nx 2\n255\n",
            "P6\n4 2\n65535\n ",
            "P6\n99999 99999\n255\n ",
            "P6\n0 2\n255\n ",
        ] {
            assert!(split(Packing::Ppm, stream.as_bytes(), 1).is_err(), "{stream}");
        }
        assert!(split(Packing::Ppm, &[b"P6\n".as_slice(), &[b'1'; 100]].concat(), 1).is_err());
    }

    #[test]
    fn sizes_that_cannot_be_are_refused() {
        for (format, width, height, part) in [
            (PixelFormat::Rgb8, 0, 2, "cannot be"),
            (PixelFormat::Yuyv, 3, 2, "even"),
            (PixelFormat::I420, 4, 3, "even"),
            (PixelFormat::Rgb8, 60_000, 60_000, "larger than 64 MiB"),
            (PixelFormat::Rgb8, u32::MAX, u32::MAX, "larger than 64 MiB"),
            (PixelFormat::Jpeg, 4, 2, "no raw size"),
        ] {
            let message = Splitter::new(Packing::Raw(format, Size { width, height })).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn a_jpeg_without_end_is_given_up_at_the_bound() {
        let mut splitter = Splitter::new(Packing::Jpeg).unwrap();
        let mut frame = Frame::empty();
        splitter.buffer().extend_from_slice(&[0xff, 0xd8, 0xff, 0xda, 0, 2]);
        assert_eq!(splitter.next(&mut frame).unwrap(), Found::More);
        assert!(splitter.is_inside());
        splitter.buffer().resize(PICTURE_BYTES_MAX + 1, 1);
        assert_eq!(splitter.next(&mut frame).unwrap(), Found::Damaged);
        assert!(!splitter.is_inside());
        assert!(splitter.buffer().is_empty());
    }

    #[test]
    fn the_buffer_keeps_its_memory() {
        let mut splitter = Splitter::new(Packing::Raw(PixelFormat::Grey8, SIZE)).unwrap();
        let mut frame = Frame::empty();
        splitter.buffer().extend_from_slice(&[1; 8]);
        splitter.next(&mut frame).unwrap();
        let (buffer, data) = (splitter.buffer().as_ptr(), frame.data.as_ptr());
        for _ in 0..10 {
            splitter.buffer().extend_from_slice(&[2; 8]);
            assert_eq!(splitter.next(&mut frame).unwrap(), Found::Picture);
        }
        assert_eq!((splitter.buffer().as_ptr(), frame.data.as_ptr()), (buffer, data));
    }
}
