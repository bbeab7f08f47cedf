//! Damaged JPEGs through a camera's source and the detector's decoder: each is counted, as a picture or as damaged, and none
//! ends anything.
//!
//! `ANDON_CORRUPT_FRAMES` says how many frames are sent, `ANDON_FUZZ_SECONDS` how long the decoder alone is fed.

use std::{
    env,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::{Duration, Instant},
};

use andon::{
    capture::{self, ErrorKind, Read, Source, SourceError},
    detector::{self, Detector, PictureError},
    frame::{Frame, PixelFormat},
    random::Rng,
    vision::{Decoder, RgbImage, View},
};

use super::{PATIENCE, settings};
use crate::util::{
    run::{Dir, GREEN, RED, squares},
    tiny_yolo::TinyYolo,
};

/// A number out of the environment.
fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|text| text.parse().unwrap())
}

/// JPEGs of the kinds that cameras send: baseline with and without subsampled colour, grey, progressive, with restarts.
fn pictures() -> Vec<Vec<u8>> {
    let picture = squares((64, 48), &[(1, 2, RED), (6, 4, GREEN)]);
    let mut found = Vec::new();
    for (subsampling, progressive, quality) in [
        (turbojpeg::Subsamp::Sub2x2, false, 80),
        (turbojpeg::Subsamp::Sub2x1, false, 95),
        (turbojpeg::Subsamp::None, false, 60),
        (turbojpeg::Subsamp::Gray, false, 80),
        (turbojpeg::Subsamp::Sub2x2, true, 80),
    ] {
        let mut compressor = turbojpeg::Compressor::new().unwrap();
        compressor.set_quality(quality).unwrap();
        compressor.set_subsamp(subsampling).unwrap();
        compressor.set_progressive(progressive).unwrap();
        let image = turbojpeg::Image {
            pixels: picture.as_raw().as_slice(),
            width: 64,
            pitch: 64 * 3,
            height: 48,
            format: turbojpeg::PixelFormat::RGB,
        };
        found.push(compressor.compress_to_vec(image).unwrap());
    }
    found
}

/// Makes damaged pictures out of whole ones: the same for the same seed.
struct Vandal {
    rng: Rng,
    whole: Vec<Vec<u8>>,
}

impl Vandal {
    fn new(seed: u64) -> Self {
        Self { rng: Rng::new(seed, 0), whole: pictures() }
    }

    fn below(&mut self, end: usize) -> usize {
        (self.rng.bits() % end.max(1) as u64) as usize
    }

    fn one_of_the_whole(&mut self) -> Vec<u8> {
        let index = self.below(self.whole.len());
        self.whole[index].clone()
    }

    /// Anything: bytes changed, lost, repeated and put in; numbers of the header made extreme; two pictures spliced.
    fn anything(&mut self) -> Vec<u8> {
        let mut bytes = self.one_of_the_whole();
        for _ in 0..=self.below(4) {
            let (at, end) = (self.below(bytes.len()), bytes.len());
            let stop = (at + 1 + self.below(60)).min(end);
            match self.below(8) {
                0 => bytes.truncate(at),
                1 => drop(bytes.drain(at.min(end)..stop.max(at))),
                2 => {
                    let part = bytes[at.min(end)..stop.max(at)].to_vec();
                    bytes.splice(at..at, part);
                }
                3 => {
                    let noise: Vec<u8> = (0..self.below(20)).map(|_| self.rng.bits() as u8).collect();
                    bytes.splice(at..at, noise);
                }
                4 => {
                    let other = self.one_of_the_whole();
                    let from = self.below(other.len());
                    bytes.truncate(at);
                    bytes.extend_from_slice(&other[from..]);
                }
                5 => self.spoil_header(&mut bytes),
                _ => {
                    for _ in 0..=self.below(8) {
                        let (at, any) = (self.below(bytes.len()), self.rng.bits() as u8);
                        if let Some(byte) = bytes.get_mut(at) {
                            *byte = self.rng.pick(&[0, 1, 0x7f, 0xd8, 0xd9, 0xda, 0xff, any]);
                        }
                    }
                }
            }
        }
        bytes
    }

    /// Sets a byte within the first segments, where sizes, tables and lengths stand.
    fn spoil_header(&mut self, bytes: &mut [u8]) {
        let at = self.below(bytes.len().min(700));
        let value = self.rng.pick(&[0, 1, 2, 0x10, 0x80, 0xfe, 0xff]);
        if let Some(byte) = bytes.get_mut(at) {
            *byte = value;
        }
    }

    /// Only what leaves the markers and their lengths as they are: so a stream of such pictures is parted rightly, and every
    /// one comes to the decoder.
    fn inside(&mut self) -> Vec<u8> {
        let mut bytes = self.one_of_the_whole();
        let payloads = payloads(&bytes);
        for _ in 0..=self.below(12) {
            let (from, to) = payloads[self.below(payloads.len())];
            let at = from + self.below(to - from);
            let new = self.rng.bits() as u8;
            if bytes[at] != 0xff && bytes[at - 1] != 0xff && new != 0xff {
                bytes[at] = new;
            }
        }
        bytes
    }
}

/// From where to where the contents of segments and the image data of a whole JPEG go.
fn payloads(bytes: &[u8]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut at = 2;
    while bytes[at + 1] != 0xd9 {
        let is_scan = bytes[at + 1] == 0xda;
        let len = usize::from(u16::from_be_bytes([bytes[at + 2], bytes[at + 3]]));
        found.push((at + 4, at + 2 + len));
        at += 2 + len;
        if is_scan {
            let data = at;
            while bytes[at] != 0xff || matches!(bytes[at + 1], 0 | 0xd0..=0xd7) {
                at += 1;
            }
            found.push((data + 1, at));
        }
    }
    found.retain(|(from, to)| to > from);
    found
}

/// A camera that sends what it is given, and nothing before it is given more: in a stream without an end, or one picture for
/// each request.
fn camera(pictures: Receiver<Vec<u8>>, is_stream: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        // One connection serves as many requests as are made on it.
        while let Ok((mut stream, _)) = listener.accept() {
            while read_head(&mut stream) {
                let head = if is_stream {
                    "HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=x\r\n\r\n".to_owned()
                } else {
                    String::new()
                };
                if stream.write_all(head.as_bytes()).is_err() {
                    break;
                }
                loop {
                    let Ok(picture) = pictures.recv() else { return };
                    let head = match is_stream {
                        true => "--x\r\n\r\n".to_owned(),
                        false => format!(
                            "HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n",
                            picture.len()
                        ),
                    };
                    if stream.write_all(&[head.as_bytes(), &picture].concat()).is_err() || !is_stream {
                        break;
                    }
                }
            }
        }
    });
    format!("http://{address}/")
}

/// Reads a request up to its empty line; false where there is none any more.
fn read_head(stream: &mut TcpStream) -> bool {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return false,
        }
    }
    true
}

/// What became of the frames that were sent.
#[derive(Debug, Default, PartialEq, Eq)]
struct Count {
    sent: u64,
    good: u64,
    damaged_on_the_way: u64,
    damaged_in_the_decoder: u64,
}

impl Count {
    fn counted(&self) -> u64 {
        self.good + self.damaged_on_the_way + self.damaged_in_the_decoder
    }
}

/// Sends pictures one at a time and follows each through the source and the detector.
fn follow(frames: u64, is_stream: bool, mut picture: impl FnMut(u64) -> Vec<u8>) -> Count {
    let dir = Dir::new();
    let model = dir.tiny_yolo("tiny.onnx", TinyYolo::default());
    let mut detector = Detector::load(&detector::Settings::of(model)).unwrap();
    let (send, pictures): (Sender<Vec<u8>>, _) = channel();
    let mut wanted = settings(&camera(pictures, is_stream));
    wanted.rate_hz = (!is_stream).then_some(1000.0);
    send.send(picture(0)).unwrap();
    let mut source: Box<dyn Source> = capture::open(&wanted).unwrap();
    let (mut count, mut frame) = (Count::default(), Frame::empty());
    for number in 0..frames {
        if number > 0 {
            send.send(picture(number)).unwrap();
        }
        count.sent += 1;
        match soon(&mut *source, &mut frame) {
            Ok(Read::Frame) => match detector.detect(&frame, &View::default()) {
                Ok(_) => count.good += 1,
                Err(error) => {
                    assert!(error.is::<PictureError>(), "frame {number}: {error:#}");
                    count.damaged_in_the_decoder += 1;
                }
            },
            Err(error) if error.kind() == ErrorKind::Corrupt => count.damaged_on_the_way += 1,
            other => panic!("frame {number}: {other:?}"),
        }
        // The source's own numbers agree, too.
        if frame.seq > 0 {
            assert!(frame.seq <= number, "frame {number} has the number {}", frame.seq);
        }
    }
    drop(source);
    println!("{count:?}");
    count
}

/// What comes next; asks often, since a source tells of damage when it is asked.
fn soon(source: &mut dyn Source, frame: &mut Frame) -> Result<Read, SourceError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match source.read(frame, Duration::from_micros(500)) {
            Ok(Read::Nothing) => assert!(Instant::now() < deadline, "nothing came"),
            other => return other,
        }
    }
}

#[test]
fn every_damaged_frame_is_counted_and_none_ends_anything() {
    let frames = number("ANDON_CORRUPT_FRAMES").unwrap_or(2000) / 2;
    let whole = pictures();
    let started = Instant::now();
    // Every tenth is whole.
    let mut vandal = Vandal::new(1);
    let stream = follow(frames, true, |number| match number % 10 {
        0 => whole[(number / 10) as usize % whole.len()].clone(),
        _ => vandal.inside(),
    });
    let mut vandal = Vandal::new(2);
    let asked_for = follow(frames, false, |number| match number % 10 {
        0 => whole[(number / 10) as usize % whole.len()].clone(),
        _ => vandal.anything(),
    });
    println!("{} frames in {:.1?}", 2 * frames, started.elapsed());
    for count in [stream, asked_for] {
        assert_eq!((count.sent, count.counted()), (frames, frames), "{count:?}");
        assert!(count.good >= frames / 10 && count.damaged_in_the_decoder > frames / 10, "{count:?}");
    }
}

/// The decoder alone, for as long as `ANDON_FUZZ_SECONDS` says; half a second where that is not set.
#[test]
fn damaged_jpegs_for_long() {
    let limit = number("ANDON_FUZZ_SECONDS").map_or(Duration::from_millis(500), Duration::from_secs);
    let (started, mut vandal) = (Instant::now(), Vandal::new(number("ANDON_FUZZ_SEED").unwrap_or(3)));
    let (mut decoder, mut rgb, mut decoded, mut refused) = (Decoder::new(), RgbImage::default(), 0_u64, 0_u64);
    let mut frame = Frame { format: PixelFormat::Jpeg, ..Frame::empty() };
    let mut bytes_max = 0;
    while started.elapsed() < limit {
        frame.data = vandal.anything();
        match decoder.decode(&frame, &View::default(), &mut rgb) {
            Ok(_) => decoded += 1,
            Err(error) => {
                let text = format!("{error:#}");
                assert!(!text.contains('\n') && !text.contains("panick"), "{text}");
                refused += 1;
            }
        }
        // No header makes it take more memory than the largest of the bytes can fill.
        bytes_max = bytes_max.max(frame.data.len());
        assert!(rgb.data.len() <= bytes_max * 1024 * 3, "{:?}", rgb.size());
    }
    println!("{decoded} decoded and {refused} refused in {:.1?}", started.elapsed());
    assert!(decoded > 0 && refused > 0);
}
