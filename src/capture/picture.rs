//! The bytes of an image file to a frame.
//!
//! What a file is, its content says, not its name. JPEG goes on as it is, because `vision` decodes it as it does a
//! camera's; everything else is decoded here, upright, into RGB.

use std::io::{self, Read};

use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

use crate::{
    frame::{Frame, PixelFormat},
    geometry::Size,
    guard::guarded,
};

/// The longest file that is read.
const FILE_BYTES_MAX: u64 = 256 << 20;
/// The longest side of an image that is decoded.
const SIDE_PX_MAX: u32 = 16_384;
/// The most memory that decoding an image may take.
const DECODE_BYTES_MAX: u64 = 512 << 20;

/// Reads a whole file, to be followed by [`fill`].
///
/// # Errors
/// As reading does, and where the file is longer than an image can be.
pub(crate) fn read_bytes(reader: impl Read, data: &mut Vec<u8>) -> anyhow::Result<()> {
    data.clear();
    reader.take(FILE_BYTES_MAX + 1).read_to_end(data)?;
    check_length(data.len())
}

/// The bound of [`read_bytes`], for those who read by themselves.
///
/// # Errors
/// Where `bytes` are more than an image file may have.
pub(crate) fn check_length(bytes: usize) -> anyhow::Result<()> {
    anyhow::ensure!(
        u64::try_from(bytes).is_ok_and(|bytes| bytes <= FILE_BYTES_MAX),
        "it is longer than {} MiB; make it smaller",
        FILE_BYTES_MAX >> 20
    );
    Ok(())
}

/// Turns `frame.data`, which holds the bytes of an image file, into a picture: sets format, size, stride and data.
///
/// # Errors
/// Where the bytes are no image that is known, are damaged, or would need more than the limits allow. The message goes
/// after the name of the file and a colon.
pub(crate) fn fill(frame: &mut Frame) -> anyhow::Result<()> {
    anyhow::ensure!(!frame.data.is_empty(), "the file is empty; write it again");
    if frame.data.starts_with(&[0xff, 0xd8, 0xff]) {
        frame.format = PixelFormat::Jpeg;
        frame.size = Size { width: 0, height: 0 };
        frame.stride = 0;
        return Ok(());
    }
    let format = known_format(&frame.data)?;
    // A decoder that panics on a damaged file must not take the camera's thread or the whole command with it.
    let decoded = guarded(|| Ok(decode(&frame.data, format)))
        .unwrap_or_else(|panic| Err(anyhow::anyhow!("it is damaged ({panic})")))?;
    frame.size = Size { width: decoded.width(), height: decoded.height() };
    frame.stride = decoded.width() as usize * 3;
    frame.format = PixelFormat::Rgb8;
    frame.data = decoded.into_raw();
    Ok(())
}

/// The format that the first bytes speak of, among those that are built in.
fn known_format(data: &[u8]) -> anyhow::Result<ImageFormat> {
    let known = [ImageFormat::Png, ImageFormat::Bmp, ImageFormat::Gif, ImageFormat::Tiff, ImageFormat::WebP];
    image::guess_format(data)
        .ok()
        .filter(|format| known.contains(format))
        .ok_or_else(|| anyhow::anyhow!("it is no image that can be read; use JPEG, PNG, BMP, GIF, TIFF or WebP"))
}

/// Decodes within the limits, turns upright as the file's orientation says, and leaves colour in eight bits.
fn decode(data: &[u8], format: ImageFormat) -> anyhow::Result<image::RgbImage> {
    let mut limits = Limits::default();
    limits.max_alloc = Some(DECODE_BYTES_MAX);
    let mut reader = ImageReader::with_format(io::Cursor::new(data), format);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(damaged)?;
    let (width, height) = decoder.dimensions();
    anyhow::ensure!(width > 0 && height > 0, "it has no pixels; write it again");
    // The picture itself and its copy in eight-bit RGB.
    let rgb_bytes = u64::from(width) * u64::from(height) * 3;
    anyhow::ensure!(
        width <= SIDE_PX_MAX
            && height <= SIDE_PX_MAX
            && decoder.total_bytes() <= DECODE_BYTES_MAX
            && rgb_bytes <= DECODE_BYTES_MAX,
        "it claims {width}×{height} pixels, and images are read up to {SIDE_PX_MAX}×{SIDE_PX_MAX} and {} MiB; make it \
         smaller",
        DECODE_BYTES_MAX >> 20
    );
    let orientation = decoder.orientation().map_err(damaged)?;
    let mut picture = DynamicImage::from_decoder(decoder).map_err(damaged)?;
    picture.apply_orientation(orientation);
    Ok(picture.into_rgb8())
}

/// What a decoder says, as the end of a sentence.
fn damaged(error: ImageError) -> anyhow::Error {
    match error {
        ImageError::IoError(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            anyhow::anyhow!("it is cut short; copy it again")
        }
        ImageError::Limits(error) => anyhow::anyhow!("it needs too much memory ({error}); make it smaller"),
        error => anyhow::anyhow!("it is damaged ({error})"),
    }
}

#[cfg(test)]
mod tests {
    use image::{ColorType, ImageEncoder, codecs};

    use super::*;

    /// Two pixels over one another would hide a turned picture; three by two do not.
    const PIXELS: [u8; 18] = [1, 2, 3, 40, 50, 60, 70, 80, 90, 11, 22, 33, 200, 150, 100, 255, 0, 128];

    fn encoded(format: ImageFormat) -> Vec<u8> {
        let mut file = io::Cursor::new(Vec::new());
        let picture = image::RgbImage::from_raw(3, 2, PIXELS.to_vec()).unwrap();
        picture.write_to(&mut file, format).unwrap();
        file.into_inner()
    }

    fn filled(data: Vec<u8>) -> anyhow::Result<Frame> {
        let mut frame = Frame { data, ..Frame::empty() };
        fill(&mut frame)?;
        Ok(frame)
    }

    #[test]
    fn lossless_formats_give_their_pixels() {
        for format in [ImageFormat::Png, ImageFormat::Bmp, ImageFormat::Tiff, ImageFormat::WebP] {
            let frame = filled(encoded(format)).unwrap();
            assert_eq!((frame.size, frame.stride), (Size { width: 3, height: 2 }, 9), "{format:?}");
            assert_eq!((frame.format, frame.data.as_slice()), (PixelFormat::Rgb8, PIXELS.as_slice()), "{format:?}");
        }
        assert_eq!(filled(encoded(ImageFormat::Gif)).unwrap().size, Size { width: 3, height: 2 });
    }

    #[test]
    fn jpeg_passes_through() {
        let file = encoded(ImageFormat::Jpeg);
        let frame = filled(file.clone()).unwrap();
        assert_eq!((frame.format, frame.stride, &frame.data), (PixelFormat::Jpeg, 0, &file));
    }

    #[test]
    fn the_orientation_of_a_png_is_applied() {
        // Exif with one entry, orientation (0x0112) 6: to be turned by 90° clockwise.
        let exif = b"MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
        let mut file = Vec::new();
        let mut encoder = codecs::png::PngEncoder::new(&mut file);
        encoder.set_exif_metadata(exif.to_vec()).unwrap();
        encoder.write_image(&PIXELS, 3, 2, ColorType::Rgb8.into()).unwrap();
        let frame = filled(file).unwrap();
        assert_eq!(frame.size, Size { width: 2, height: 3 });
        assert_eq!(frame.data[..6], [11, 22, 33, 1, 2, 3]);
    }

    #[test]
    fn what_cannot_be_read_is_said_in_one_sentence() {
        let mut huge = encoded(ImageFormat::Png);
        huge[16..24].copy_from_slice(&[0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60]);
        let header = crc32(&huge[12..29]);
        huge[29..33].copy_from_slice(&header.to_be_bytes());
        let mut short = encoded(ImageFormat::Png);
        short.truncate(short.len() - 30);
        for (data, part) in [
            (Vec::new(), "empty"),
            (b"names: [bus]".to_vec(), "no image"),
            (huge, "claims 60000×60000 pixels"),
            (short, "cut short"),
            (b"\x89PNG\r\n\x1a\n".to_vec(), "cut short"),
        ] {
            let message = format!("{:#}", filled(data).unwrap_err());
            assert!(message.contains(part) && !message.contains('\n'), "{message}");
        }
        for format in [ImageFormat::Bmp, ImageFormat::Gif, ImageFormat::Tiff, ImageFormat::WebP] {
            let mut short = encoded(format);
            short.truncate(short.len() / 2);
            assert!(filled(short).is_err(), "{format:?}");
        }
    }

    #[test]
    fn a_file_longer_than_the_bound_is_refused() {
        assert!(check_length(usize::try_from(FILE_BYTES_MAX).unwrap()).is_ok());
        let message = read_bytes(io::repeat(1), &mut Vec::new()).unwrap_err().to_string();
        assert!(message.contains("longer than 256 MiB"), "{message}");
    }

    /// The checksum of a PNG chunk.
    fn crc32(data: &[u8]) -> u32 {
        !data.iter().fold(!0_u32, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
        })
    }
}
