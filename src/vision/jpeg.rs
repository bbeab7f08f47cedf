//! JPEG images to RGB, with libjpeg-turbo.
//!
//! Why libjpeg-turbo and not zune-jpeg, the best decoder in Rust: libjpeg-turbo says so when a picture is incomplete.
//! When a camera's USB packet is lost, the middle of a JPEG is missing, its end is there, and zune-jpeg fills the gap
//! with grey in its strict mode too, without a word; here no half picture may reach a model. It also gives the very
//! pixels of OpenCV, which uses it, so that models see what they were trained on, accepts the MJPEG of cameras that leave
//! out the Huffman tables, has a fuzzer's decade behind it, and is as fast. The price is C, built by cmake (and nasm on
//! x86-64); it cross-compiles with the C compiler of the target.
//!
//! The header is read here first: size and kind are checked before anything is allocated, and the EXIF orientation is
//! found on the way.

use anyhow::{Context, anyhow, bail, ensure};
use turbojpeg::{Decompressor, Image, PixelFormat};

use super::{RgbImage, orient::Orientation};
use crate::geometry::Size;

/// A progressive JPEG repeats itself in scans, each of which costs time; encoders write about ten.
const SCANS_MAX: u32 = 100;

/// Stray bytes before the end marker that are no damage: some webcams pad their entropy-coded data.
const STRAY_BYTES_MAX: u32 = 16;

/// What to do about a damaged picture, from a file or from a camera.
pub(super) const REMEDY: &str = "save it again, or check the camera's cable and power";

/// What a JPEG says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// As stored, before the orientation.
    pub(super) size: Size,
    /// How it is stored.
    pub(super) orientation: Orientation,
}

/// libjpeg-turbo's state, made at the first picture.
#[derive(Debug, Default)]
pub(super) struct JpegDecoder(Option<Decompressor>);

impl JpegDecoder {
    /// Decodes a JPEG whose header was read into `rgb`, as stored.
    ///
    /// # Errors
    /// Where anything of the picture is missing or damaged.
    pub(super) fn decode(&mut self, bytes: &[u8], size: Size, rgb: &mut RgbImage) -> anyhow::Result<()> {
        rgb.reshape(size);
        let decoded = self.decompress(bytes, size, rgb);
        if decoded.is_err() {
            // libjpeg-turbo would keep what the damaged picture said, its Huffman tables among it, for those that follow.
            self.0 = None;
        }
        decoded
    }

    fn decompress(&mut self, bytes: &[u8], size: Size, rgb: &mut RgbImage) -> anyhow::Result<()> {
        let decompressor = match &mut self.0 {
            Some(decompressor) => decompressor,
            none => none.insert(new_decompressor().context("the JPEG decoder cannot start")?),
        };
        let (width, height) = (size.width as usize, size.height as usize);
        // Two readers of one damaged header may differ; lines of another length would leave old pixels between them.
        if let Ok(header) = decompressor.read_header(bytes) {
            ensure!(
                (header.width, header.height) == (width, height),
                "the JPEG is damaged: it has two sizes; {REMEDY}"
            );
        }
        let image = Image { pixels: &mut rgb.data[..], width, pitch: width * 3, height, format: PixelFormat::RGB };
        match decompressor.decompress(bytes, image) {
            Err(turbojpeg::Error::TurboJpegError(message)) if is_harmless(&message) => Ok(()),
            Err(turbojpeg::Error::TurboJpegError(message)) => {
                Err(anyhow!("the JPEG is damaged or cut short: {}; {REMEDY}", message.trim_end_matches('.')))
            }
            Err(error) => Err(anyhow!("the JPEG cannot be decoded: {error}; {REMEDY}")),
            Ok(()) => Ok(()),
        }
    }
}

/// Reads the markers up to the frame header.
///
/// # Errors
/// Where the bytes are no JPEG, end before the frame header, or are of a kind that is not decoded.
pub(super) fn read_header(bytes: &[u8]) -> anyhow::Result<Header> {
    ensure!(!bytes.is_empty(), "the JPEG is empty; {REMEDY}");
    ensure!(
        bytes.starts_with(&[0xff, 0xd8]),
        "this is no JPEG: it does not begin with ff d8; save it as one, or check the camera's cable and power"
    );
    let mut rest = &bytes[2..];
    let mut orientation = Orientation::default();
    loop {
        let (marker, segment, after) =
            next_segment(rest).ok_or_else(|| anyhow!("the JPEG ends within its header; {REMEDY}"))?;
        match marker {
            0xc0..=0xcf if ![0xc4, 0xc8, 0xcc].contains(&marker) => {
                return Ok(Header { size: frame_size(marker, segment)?, orientation });
            }
            0xd9 | 0xda => bail!("the JPEG is damaged: it has no frame header before its data; {REMEDY}"),
            0xe1 => orientation = exif_orientation(segment).map_or(orientation, Orientation::from_exif),
            _ => {}
        }
        rest = after;
    }
}

fn new_decompressor() -> turbojpeg::Result<Decompressor> {
    let mut decompressor = Decompressor::new()?;
    decompressor.set_scan_limit(SCANS_MAX)?;
    Ok(decompressor)
}

/// Whether libjpeg-turbo's first complaint about a picture leaves it whole.
///
/// A few stray bytes between the last block and the end marker do. The library reports the first warning only, and none
/// can come after the end marker, so this one means that all before it was in order.
fn is_harmless(message: &str) -> bool {
    message
        .strip_prefix("Corrupt JPEG data: ")
        .and_then(|rest| rest.strip_suffix(" extraneous bytes before marker 0xd9"))
        .and_then(|count| count.parse().ok())
        .is_some_and(|count: u32| count <= STRAY_BYTES_MAX)
}

/// The next marker with its segment's payload, and the bytes after it.
fn next_segment(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let start = bytes.iter().position(|&byte| byte == 0xff)?;
    let code = start + bytes[start..].iter().position(|&byte| byte != 0xff)?;
    let marker = bytes[code];
    let rest = &bytes[code + 1..];
    // These stand alone: TEM, RST0 to RST7, SOI, EOI; a stuffed zero is no marker at all.
    if matches!(marker, 0x00 | 0x01 | 0xd0..=0xd9) {
        return Some((marker, &[], rest));
    }
    let len = usize::from(u16::from_be_bytes(*rest.first_chunk()?));
    Some((marker, rest.get(2..len)?, &rest[len..]))
}

/// Reads a frame header (ITU-T T.81, B.2.2).
fn frame_size(marker: u8, segment: &[u8]) -> anyhow::Result<Size> {
    let &[precision, h1, h0, w1, w0, components, ..] = segment else {
        bail!("the JPEG is damaged: its frame header is cut short; {REMEDY}");
    };
    ensure!(
        !matches!(marker, 0xc3 | 0xc7 | 0xcb | 0xcf),
        "the JPEG is of the lossless kind, which is not supported; save it as a baseline or progressive JPEG"
    );
    ensure!(precision == 8, "the JPEG has {precision} bits a sample, which is not supported; save it with 8 bits");
    ensure!(
        components == 1 || components == 3,
        "the JPEG has {components} colour components (four are CMYK), which is not supported; save it as RGB or grey"
    );
    let size = Size { width: u32::from(u16::from_be_bytes([w1, w0])), height: u32::from(u16::from_be_bytes([h1, h0])) };
    ensure!(
        size.width > 0 && size.height > 0,
        "the JPEG is damaged: its size is {}×{}; {REMEDY}",
        size.width,
        size.height
    );
    Ok(size)
}

/// The `Orientation` tag in the first directory of an EXIF segment; `None` where there is none.
fn exif_orientation(segment: &[u8]) -> Option<u16> {
    const ORIENTATION: u16 = 0x0112;
    const SHORT: u16 = 3;
    let tiff = segment.strip_prefix(b"Exif\0\0")?;
    let little_endian = match tiff.first_chunk()? {
        b"II*\0" => true,
        b"MM\0*" => false,
        _ => return None,
    };
    let u16_at = |at: usize| {
        let bytes = *tiff.get(at..)?.first_chunk()?;
        Some(if little_endian { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    };
    let u32_at = |at: usize| {
        let bytes = *tiff.get(at..)?.first_chunk()?;
        Some(if little_endian { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    };
    let directory = u32_at(4)? as usize;
    let entries = usize::from(u16_at(directory)?);
    (0..entries)
        .map_while(|i| directory.checked_add(2 + i * 12))
        .find(|&entry| u16_at(entry) == Some(ORIENTATION) && u16_at(entry + 2) == Some(SHORT))
        .and_then(|entry| u16_at(entry + 8))
}

/// Whether a JPEG brings its Huffman tables. The MJPEG of some cameras leaves them out, and not every program reads that
/// as a file.
pub fn has_huffman_tables(jpeg: &[u8]) -> bool {
    const TABLES: u8 = 0xc4;
    const SCAN: u8 = 0xda;
    let mut rest = jpeg.get(2..).unwrap_or_default();
    while let &[0xff, marker, high, low, ..] = rest {
        if marker == TABLES || marker == SCAN {
            return marker == TABLES;
        }
        rest = rest.get(2 + usize::from(u16::from_be_bytes([high, low]))..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vision::noise::Noise;

    fn soft_picture(size: Size, seed: u64) -> RgbImage {
        let mut noise = Noise::seeded(seed);
        let mut picture = RgbImage::default();
        picture.reshape(size);
        for (i, level) in picture.data.iter_mut().enumerate() {
            let (x, y) = (i / 3 % size.width as usize, i / 3 / size.width as usize);
            *level = ((x * 3 + y * 2 + i % 3 * 40) as u64 % 200 + noise.below(30)) as u8;
        }
        picture
    }

    fn encoded(picture: &RgbImage, subsampling: turbojpeg::Subsamp, progressive: bool) -> Vec<u8> {
        let mut compressor = turbojpeg::Compressor::new().unwrap();
        compressor.set_quality(90).unwrap();
        compressor.set_subsamp(subsampling).unwrap();
        compressor.set_progressive(progressive).unwrap();
        let (width, height) = (picture.width as usize, picture.height as usize);
        let pixels = &picture.data[..];
        compressor.compress_to_vec(Image { pixels, width, pitch: width * 3, height, format: PixelFormat::RGB }).unwrap()
    }

    fn decoded(bytes: &[u8]) -> anyhow::Result<RgbImage> {
        let mut rgb = RgbImage::default();
        JpegDecoder::default().decode(bytes, read_header(bytes)?.size, &mut rgb)?;
        Ok(rgb)
    }

    const SIZE: Size = Size { width: 67, height: 45 };

    #[test]
    fn baseline_progressive_and_grey_are_close_to_what_was_encoded() {
        let picture = soft_picture(SIZE, 3);
        for progressive in [false, true] {
            for subsampling in [turbojpeg::Subsamp::None, turbojpeg::Subsamp::Gray] {
                let found = decoded(&encoded(&picture, subsampling, progressive)).unwrap();
                assert_eq!(found.size(), SIZE);
                let difference = |i: usize| {
                    let [r, g, b] = [0, 1, 2].map(|c| f64::from(picture.data[i / 3 * 3 + c]));
                    let grey = 0.299 * r + 0.587 * g + 0.114 * b;
                    let colour = f64::from(picture.data[i]);
                    let expected = if subsampling == turbojpeg::Subsamp::Gray { grey } else { colour };
                    (f64::from(found.data[i]) - expected).abs()
                };
                let mean = (0..found.data.len()).map(difference).sum::<f64>() / found.data.len() as f64;
                assert!(mean < 8.0, "mean difference {mean} with {subsampling:?}");
            }
        }
    }

    #[test]
    fn a_jpeg_cut_at_any_byte_is_an_error() {
        let picture = soft_picture(SIZE, 4);
        for progressive in [false, true] {
            let bytes = encoded(&picture, turbojpeg::Subsamp::Sub2x2, progressive);
            assert!(decoded(&bytes).is_ok());
            for len in 0..bytes.len() {
                assert!(decoded(&bytes[..len]).is_err(), "progressive {progressive}: {len} of {} bytes", bytes.len());
            }
        }
    }

    #[test]
    fn a_damaged_jpeg_leaves_nothing_behind() {
        let bytes = encoded(&soft_picture(SIZE, 4), turbojpeg::Subsamp::Sub2x1, false);
        let whole = decoded(&bytes).unwrap();
        let tables = bytes.windows(2).position(|pair| pair == [0xff, 0xc4]).unwrap();
        let mut decoder = JpegDecoder::default();
        for at in tables + 4..tables + 30 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x5a;
            let mut rgb = RgbImage::default();
            let _maybe_damaged = decoder.decode(&damaged, SIZE, &mut rgb);
            decoder.decode(&bytes, SIZE, &mut rgb).unwrap();
            assert!(rgb == whole, "after damage at {at}");
        }
    }

    /// What a lost USB packet leaves: the end is there, the middle is not.
    #[test]
    fn a_jpeg_without_its_middle_is_an_error() {
        let bytes = encoded(&soft_picture(Size { width: 320, height: 240 }, 5), turbojpeg::Subsamp::Sub2x1, false);
        let data = bytes.windows(2).position(|pair| pair == [0xff, 0xda]).unwrap() + 14;
        let mut accepted = 0;
        let mut tried = 0;
        for start in (data..bytes.len() - 600).step_by(97) {
            tried += 1;
            accepted += usize::from(decoded(&[&bytes[..start], &bytes[start + 512..]].concat()).is_ok());
        }
        assert!(tried > 100 && accepted == 0, "{accepted} of {tried} half pictures passed as whole");
    }

    #[test]
    fn stray_bytes_before_and_any_after_the_end_marker_are_no_damage() {
        let bytes = encoded(&soft_picture(SIZE, 6), turbojpeg::Subsamp::Sub2x1, false);
        let whole = decoded(&bytes).unwrap();
        let (body, end) = bytes.split_at(bytes.len() - 2);
        assert_eq!(decoded(&[body, &[0], end].concat()).unwrap(), whole);
        assert_eq!(decoded(&[body, &[1, 2, 3, 4, 5, 6, 7], end].concat()).unwrap(), whole);
        assert_eq!(decoded(&[&bytes[..], &[0xff, 0xd8, 1, 2, 0xff, 0xda, 0]].concat()).unwrap(), whole);
        assert!(decoded(&[body, &[1; 100], end].concat()).is_err());
    }

    /// Webcams that send MJPEG as AVI files hold it leave out the Huffman tables, which are then those of ITU-T T.81, K.3.
    #[test]
    fn a_jpeg_without_huffman_tables_has_the_standard_ones() {
        let bytes = encoded(&soft_picture(SIZE, 10), turbojpeg::Subsamp::Sub2x1, false);
        let mut bare = bytes[..2].to_vec();
        let mut rest = &bytes[2..];
        loop {
            let (marker, _, after) = next_segment(rest).unwrap();
            if marker != 0xc4 {
                bare.extend(&rest[..rest.len() - after.len()]);
            }
            rest = after;
            if marker == 0xda {
                break;
            }
        }
        bare.extend(rest);
        assert!(bare.len() + 400 < bytes.len());
        assert_eq!(decoded(&bare).unwrap(), decoded(&bytes).unwrap());
    }

    #[test]
    fn noise_in_place_of_bytes_never_panics() {
        let bytes = encoded(&soft_picture(SIZE, 7), turbojpeg::Subsamp::Sub2x2, false);
        let mut noise = Noise::seeded(8);
        for _ in 0..3000 {
            let mut damaged = bytes.clone();
            for _ in 0..=noise.below(4) {
                let at = noise.below(damaged.len() as u64) as usize;
                damaged[at] = noise.next() as u8;
            }
            if let Ok(header) = read_header(&damaged)
                && header.size.width * header.size.height < 1 << 20
            {
                let _ = decoded(&damaged);
            }
        }
    }

    #[test]
    fn kinds_that_are_not_decoded_are_named() {
        let frame_header = |marker: u8, precision: u8, components: u8| {
            let mut bytes = vec![0xff, 0xd8, 0xff, marker, 0, 8 + 3 * components, precision, 0, 16, 0, 16, components];
            bytes.resize(bytes.len() + 3 * usize::from(components), 0);
            read_header(&bytes).unwrap_err().to_string()
        };
        assert!(frame_header(0xc0, 8, 4).contains("CMYK"));
        assert!(frame_header(0xc1, 12, 3).contains("12 bits"));
        assert!(frame_header(0xc3, 8, 3).contains("lossless"));
        assert!(read_header(b"").unwrap_err().to_string().contains("empty"));
        assert!(read_header(b"\x89PNG").unwrap_err().to_string().contains("no JPEG"));
    }

    #[test]
    fn the_exif_orientation_is_read_in_either_byte_order() {
        let plain = encoded(&soft_picture(SIZE, 9), turbojpeg::Subsamp::None, false);
        for tag in 1..=8_u16 {
            for little_endian in [true, false] {
                let bytes = crate::vision::noise::with_exif(&plain, tag, little_endian);
                assert_eq!(read_header(&bytes).unwrap().orientation, Orientation::from_exif(tag));
                assert_eq!(decoded(&bytes).unwrap(), decoded(&plain).unwrap());
                for len in 0..60 {
                    let _ = read_header(&bytes[..len]);
                }
            }
        }
    }
}
