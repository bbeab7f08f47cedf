//! A frame of any format to an upright RGB picture, the region cut out.

use anyhow::{Context, anyhow, ensure};

use super::{
    RgbImage, View,
    color::Raw,
    jpeg::{self, JpegDecoder},
    orient::{Orientation, write_upright},
};
use crate::{
    frame::{Frame, PixelFormat},
    geometry::{Cutout, Point, Region, Size},
    guard::guarded,
};

/// The longest side of a picture that is decoded, in pixels.
const SIDE_MAX: u32 = 16_384;

/// The most pixels that a picture may have to be decoded: they take three bytes each.
const PIXELS_MAX: u64 = 100_000_000;

/// A JPEG cannot hold more pixels for each of its bytes: a block of 8 × 8 takes a bit at least, and one more in every
/// scan but the first. What claims more is damaged, and would only cost memory.
const JPEG_PIXELS_PER_BYTE_MAX: u64 = 1024;

/// A camera's JPEG may be so much larger, to either side, than the size that was agreed on: whole blocks.
const JPEG_PADDING_PX_MAX: u32 = 64;

/// Decodes frames; keeps what one decoding leaves for the next.
#[derive(Debug, Default)]
pub struct Decoder {
    jpeg: JpegDecoder,
    /// A decoded JPEG that has still to be turned or cut.
    stored: RgbImage,
    strip: Vec<u8>,
}

impl Decoder {
    /// A decoder that has not decoded anything.
    pub fn new() -> Self {
        Self::default()
    }

    /// Decodes a frame into upright RGB and cuts out the region; says where from.
    ///
    /// A JPEG has the size and the orientation that it states itself, whatever the frame promises. Errors begin with the
    /// frame's name where it has one, and never hold its number: one fault of a camera reads the same in every frame.
    ///
    /// # Errors
    /// Where the bytes are no such picture, are damaged or cut short, the picture is larger than 16,384 a side
    /// or 100 million pixels, a JPEG claims to be larger than its bytes or its camera can make it, or the region lies
    /// outside. What `rgb` holds is then unspecified.
    pub fn decode(&mut self, frame: &Frame, view: &View, rgb: &mut RgbImage) -> anyhow::Result<Cutout> {
        // What comes from outside must not take a detector's thread along.
        let decoded = guarded(|| Ok(self.decode_unnamed(frame, view, rgb))).unwrap_or_else(|panic| {
            *self = Self::default();
            Err(anyhow!("the picture is damaged ({panic}); {}", jpeg::REMEDY))
        });
        if frame.name.is_empty() { decoded } else { decoded.with_context(|| frame.name.clone()) }
    }

    fn decode_unnamed(&mut self, frame: &Frame, view: &View, rgb: &mut RgbImage) -> anyhow::Result<Cutout> {
        let (stored, exif) = match frame.format {
            PixelFormat::Jpeg => {
                let header = jpeg::read_header(&frame.data)?;
                (header.size, header.orientation)
            }
            _ => (frame.size, Orientation::default()),
        };
        check_size(stored)?;
        if frame.format == PixelFormat::Jpeg {
            check_claim(stored, frame)?;
        }
        let orientation = exif.then(view.rotation);
        let upright = orientation.upright_size(stored);
        let whole = Region { x: 0, y: 0, width: upright.width, height: upright.height };
        let region = view.region.unwrap_or(whole);
        check_region(region, upright)?;
        if frame.format == PixelFormat::Jpeg {
            if orientation.is_upright() && region == whole {
                self.jpeg.decode(&frame.data, stored, rgb)?;
            } else {
                self.jpeg.decode(&frame.data, stored, &mut self.stored)?;
                let raw = Raw::rgb(stored, &self.stored.data);
                write_upright(orientation, stored, region, &mut self.strip, rgb, |y, x, out| raw.write_line(y, x, out));
            }
        } else {
            let raw = Raw::new(frame)?;
            write_upright(orientation, stored, region, &mut self.strip, rgb, |y, x, out| raw.write_line(y, x, out));
        }
        Ok(Cutout { origin: Point { x: region.x as f32, y: region.y as f32 }, original: upright })
    }
}

fn check_size(size: Size) -> anyhow::Result<()> {
    let Size { width, height } = size;
    ensure!(width > 0 && height > 0, "the picture is empty: {width}×{height} pixels; check what its source sends");
    ensure!(
        width <= SIDE_MAX && height <= SIDE_MAX && u64::from(width) * u64::from(height) <= PIXELS_MAX,
        "the picture is too large: {width}×{height} pixels; at most {SIDE_MAX} a side and {} million in all are taken; \
         make it smaller",
        PIXELS_MAX / 1_000_000
    );
    Ok(())
}

/// Whether a JPEG can be as large as it says.
fn check_claim(claimed: Size, frame: &Frame) -> anyhow::Result<()> {
    let Size { width, height } = claimed;
    let bytes = frame.data.len() as u64;
    let agreed = frame.size;
    let fits = |claimed: u32, agreed: u32| agreed == 0 || claimed <= agreed.saturating_add(JPEG_PADDING_PX_MAX);
    ensure!(
        u64::from(width) * u64::from(height) <= bytes.saturating_mul(JPEG_PIXELS_PER_BYTE_MAX)
            && fits(width, agreed.width)
            && fits(height, agreed.height),
        "the JPEG is damaged: it claims {width}×{height} pixels, which it cannot have; {}",
        jpeg::REMEDY
    );
    Ok(())
}

fn check_region(region: Region, picture: Size) -> anyhow::Result<()> {
    let Region { x, y, width, height } = region;
    let fits = |start: u32, len: u32, end: u32| len > 0 && start.checked_add(len).is_some_and(|stop| stop <= end);
    ensure!(
        fits(x, width, picture.width) && fits(y, height, picture.height),
        "the region {width}×{height} at ({x}, {y}) lies outside the picture, which has {}×{} pixels after rotation; \
         correct the region",
        picture.width,
        picture.height
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vision::{
        Rotation,
        noise::{Noise, with_exif},
    };

    fn rgb_frame(width: u32, height: u32) -> Frame {
        let data = Noise::seeded(1).bytes(width as usize * height as usize * 3);
        Frame { size: Size { width, height }, stride: width as usize * 3, data, ..Frame::empty() }
    }

    fn jpeg_frame(size: Size, exif: Option<u16>) -> Frame {
        let pixels = Noise::seeded(2).bytes(size.width as usize * size.height as usize * 3);
        let (width, height) = (size.width as usize, size.height as usize);
        let image = turbojpeg::Image {
            pixels: &pixels[..],
            width,
            pitch: width * 3,
            height,
            format: turbojpeg::PixelFormat::RGB,
        };
        let jpeg = turbojpeg::compress(image, 80, turbojpeg::Subsamp::Sub2x2).unwrap().to_vec();
        let data = match exif {
            Some(tag) => with_exif(&jpeg, tag, true),
            None => jpeg,
        };
        Frame { format: PixelFormat::Jpeg, data, ..Frame::empty() }
    }

    fn decoded(frame: &Frame, view: &View) -> (RgbImage, Cutout) {
        let mut rgb = RgbImage::default();
        let cutout = Decoder::new().decode(frame, view, &mut rgb).unwrap();
        (rgb, cutout)
    }

    fn cut(picture: &RgbImage, region: Region) -> Vec<u8> {
        (region.y..region.y + region.height)
            .flat_map(|y| {
                let at = (y * picture.width + region.x) as usize * 3;
                picture.data[at..at + region.width as usize * 3].to_vec()
            })
            .collect()
    }

    #[test]
    fn rotations_come_back_round_and_the_region_is_cut_out_afterwards() {
        for frame in [rgb_frame(37, 21), jpeg_frame(Size { width: 37, height: 21 }, None)] {
            let mut around = decoded(&frame, &View::default()).0;
            let first = around.clone();
            for _ in 0..4 {
                let again = Frame {
                    size: around.size(),
                    stride: around.width as usize * 3,
                    data: around.data.clone(),
                    ..Frame::empty()
                };
                around = decoded(&again, &View { rotation: Rotation::Quarter, region: None }).0;
            }
            assert_eq!(around, first);
            for rotation in [Rotation::None, Rotation::Quarter, Rotation::Half, Rotation::ThreeQuarters] {
                let (turned, cutout) = decoded(&frame, &View { rotation, region: None });
                assert_eq!(cutout, Cutout { origin: Point::default(), original: turned.size() });
                let region = Region { x: 3, y: 5, width: 11, height: 13 };
                let (part, cutout) = decoded(&frame, &View { rotation, region: Some(region) });
                assert_eq!(part.data, cut(&turned, region), "{rotation:?}");
                assert_eq!(cutout, Cutout { origin: Point { x: 3.0, y: 5.0 }, original: turned.size() });
            }
        }
    }

    #[test]
    fn a_quarter_turn_is_clockwise() {
        let frame = Frame {
            format: PixelFormat::Grey8,
            size: Size { width: 2, height: 1 },
            stride: 2,
            data: vec![1, 2],
            ..Frame::empty()
        };
        let (turned, _) = decoded(&frame, &View { rotation: Rotation::Quarter, region: None });
        assert_eq!((turned.size(), turned.data), (Size { width: 1, height: 2 }, vec![1, 1, 1, 2, 2, 2]));
    }

    #[test]
    fn exif_orientation_is_undone_before_the_rotation() {
        let size = Size { width: 24, height: 17 };
        let plain = decoded(&jpeg_frame(size, None), &View::default()).0;
        for (tag, rotation) in
            [(1, Rotation::None), (6, Rotation::Quarter), (3, Rotation::Half), (8, Rotation::ThreeQuarters)]
        {
            let by_exif = decoded(&jpeg_frame(size, Some(tag)), &View::default()).0;
            let by_view = decoded(&jpeg_frame(size, None), &View { rotation, region: None }).0;
            assert_eq!(by_exif, by_view, "tag {tag}");
            let undone = View { rotation: opposite(rotation), region: None };
            assert_eq!(decoded(&jpeg_frame(size, Some(tag)), &undone).0, plain);
        }
        for tag in 5..=8 {
            assert_eq!(
                decoded(&jpeg_frame(size, Some(tag)), &View::default()).0.size(),
                Size { width: 17, height: 24 }
            );
        }
    }

    fn opposite(rotation: Rotation) -> Rotation {
        match rotation {
            Rotation::Quarter => Rotation::ThreeQuarters,
            Rotation::ThreeQuarters => Rotation::Quarter,
            other => other,
        }
    }

    #[test]
    fn the_size_that_a_jpeg_states_itself_wins() {
        let size = Size { width: 24, height: 17 };
        let frame = Frame { size: Size { width: 640, height: 480 }, ..jpeg_frame(size, None) };
        let (picture, cutout) = decoded(&frame, &View::default());
        assert_eq!((picture.size(), cutout.original), (size, size));
    }

    /// Makes a JPEG say that it has this height and width.
    fn claim(frame: &mut Frame, size: [u16; 2]) {
        let header = frame.data.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
        frame.data[header + 5..header + 9].copy_from_slice(size.map(u16::to_be_bytes).as_flattened());
    }

    #[test]
    fn a_jpeg_that_claims_more_than_it_can_be_costs_no_memory() {
        let error = |frame: &Frame| {
            let mut rgb = RgbImage::default();
            let error = Decoder::new().decode(frame, &View::default(), &mut rgb).unwrap_err();
            assert_eq!(rgb.data.capacity(), 0);
            format!("{error:#}")
        };
        let mut wide = jpeg_frame(Size { width: 16, height: 16 }, None);
        claim(&mut wide, [9000, 9000]);
        assert!(error(&wide).contains("claims 9000×9000 pixels, which it cannot have"));
        // No more than its bytes could hold, and yet not what the camera was set to.
        let agreed = Size { width: 64, height: 64 };
        let mut tall = Frame { size: agreed, ..jpeg_frame(agreed, None) };
        assert_eq!(decoded(&tall, &View::default()).0.size(), agreed);
        claim(&mut tall, [64 + 65, 64]);
        assert!(error(&tall).contains("claims 64×129 pixels"), "{}", error(&tall));
    }

    #[test]
    fn what_cannot_be_decoded_says_why() {
        let error = |frame: &Frame, region| {
            let view = View { rotation: Rotation::Quarter, region };
            format!("{:#}", Decoder::new().decode(frame, &view, &mut RgbImage::default()).unwrap_err())
        };
        let outside = error(&rgb_frame(37, 21), Some(Region { x: 20, y: 0, width: 2, height: 2 }));
        assert!(outside.contains("2×2 at (20, 0)") && outside.contains("21×37"), "{outside}");
        for region in [
            Region { x: 0, y: 0, width: 0, height: 2 },
            Region { x: u32::MAX, y: 0, width: 2, height: 2 },
            Region { x: 0, y: 36, width: 1, height: 2 },
        ] {
            assert!(error(&rgb_frame(37, 21), Some(region)).contains("outside"));
        }
        assert!(error(&Frame::empty(), None).contains("empty"));
        let large = Frame { size: Size { width: 60_000, height: 60_000 }, stride: 180_000, ..Frame::empty() };
        assert!(error(&large, None).contains("60000×60000"));
        let named = Frame { name: "board.jpg".to_owned(), format: PixelFormat::Jpeg, ..Frame::empty() };
        assert_eq!(
            error(&named, None),
            "board.jpg: the JPEG is empty; save it again, or check the camera's cable and power"
        );
        let (first, later) =
            (Frame { name: String::new(), ..named }, Frame { seq: 7, format: PixelFormat::Jpeg, ..Frame::empty() });
        assert_eq!(error(&first, None), error(&later, None));
        let mut huge = jpeg_frame(Size { width: 16, height: 16 }, None);
        claim(&mut huge, [0xffff, 0xffff]);
        assert!(error(&huge, None).contains("too large: 65535×65535"));
    }
}
