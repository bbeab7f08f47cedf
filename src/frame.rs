//! A picture as it came from a source, and when.

use std::{sync::Arc, time::Instant};

use crate::{detection::Label, geometry::Size};

/// How the bytes of a [`Frame`] stand for pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PixelFormat {
    /// Three bytes a pixel: red, green, blue.
    Rgb8,
    /// Three bytes a pixel: blue, green, red.
    Bgr8,
    /// One byte a pixel, luma only.
    Grey8,
    /// 4:2:2 packed: Y0 U Y1 V.
    Yuyv,
    /// 4:2:2 packed: U Y0 V Y1.
    Uyvy,
    /// 4:2:0: a plane of Y, then a plane of interleaved U and V.
    Nv12,
    /// 4:2:0: a plane of Y, then U, then V (`YU12` in V4L2).
    I420,
    /// One JPEG image.
    Jpeg,
}

impl PixelFormat {
    /// Bytes of a line without padding, in the first plane. Pixels that share colour are always stored whole, so an odd
    /// width counts as the next even one in packed 4:2:2. Zero for [`PixelFormat::Jpeg`]. The largest `usize` where that is too
    /// small, as it may be with 32 bits.
    pub fn line_len(self, width: u32) -> usize {
        let width = width as usize;
        match self {
            Self::Rgb8 | Self::Bgr8 => width.saturating_mul(3),
            Self::Grey8 | Self::Nv12 | Self::I420 => width,
            Self::Yuyv | Self::Uyvy => width.saturating_add(width % 2).saturating_mul(2),
            Self::Jpeg => 0,
        }
    }

    /// The least bytes of a whole picture whose lines begin `stride` bytes after one another in the first plane: up to
    /// the last pixel, because the last line need not be padded. Wide enough for any stride; zero for
    /// [`PixelFormat::Jpeg`], of which any number may be whole.
    ///
    /// The lines of chroma planes are as far apart as those of luma (NV12) or half as far (I420), rounded up.
    pub fn len_min(self, size: Size, stride: usize) -> u64 {
        if size.width == 0 || size.height == 0 || self == Self::Jpeg {
            return 0;
        }
        let (width, height, stride) = (u64::from(size.width), u64::from(size.height), stride as u64);
        let chroma_lines = height.div_ceil(2);
        let (lines, lines_stride, last) = match self {
            Self::Nv12 => (chroma_lines, stride.saturating_add(stride % 2), width.next_multiple_of(2)),
            Self::I420 => (2 * chroma_lines, stride.div_ceil(2), width.div_ceil(2)),
            _ => (height, stride, self.line_len(size.width) as u64),
        };
        let luma = if matches!(self, Self::Nv12 | Self::I420) { height.saturating_mul(stride) } else { 0 };
        luma.saturating_add((lines - 1).saturating_mul(lines_stride)).saturating_add(last)
    }
}

/// A picture as it came from a source.
///
/// A frame is a buffer that its owner fills again and again: sources write into a frame they are given, mailboxes swap
/// frames, so that nothing is allocated once a stream runs.
#[derive(Clone, Debug)]
pub struct Frame {
    /// What `data` holds.
    pub format: PixelFormat,
    /// Size in pixels; for [`PixelFormat::Jpeg`] what the source promises, zero where it does not know.
    pub size: Size,
    /// Bytes from one line to the next in the first plane; zero for [`PixelFormat::Jpeg`].
    pub stride: usize,
    /// The bytes that hold this picture, none stale.
    pub data: Vec<u8>,
    /// When the picture was taken (the kernel's stamp where there is one), on the monotonic clock.
    pub captured_at: Instant,
    /// The source's own number for this frame; a gap means that the source or the driver dropped some.
    pub seq: u64,
    /// Frames lost between the one handed over before and this one, by the driver, by the source or in the mailbox.
    pub dropped: u64,
    /// What the source calls this picture (a file's path); empty for a live camera.
    pub name: String,
    /// What the picture is known to show; `None` from every source but the simulated line.
    pub truth: Option<Arc<[Label]>>,
}

impl Frame {
    /// A frame without a picture, to be filled.
    pub fn empty() -> Self {
        Self {
            format: PixelFormat::Rgb8,
            size: Size { width: 0, height: 0 },
            stride: 0,
            data: Vec::new(),
            captured_at: Instant::now(),
            seq: 0,
            dropped: 0,
            name: String::new(),
            truth: None,
        }
    }

    /// Says what the source calls the picture (an empty text where it has no name for it), of which nothing is known.
    pub fn set_name(&mut self, name: &str) {
        self.name.clear();
        self.name.push_str(name);
        self.truth = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn len(format: PixelFormat, width: u32, height: u32, stride: usize) -> u64 {
        format.len_min(Size { width, height }, stride)
    }

    #[test]
    fn a_line_holds_whole_groups_of_pixels() {
        for (format, len) in [
            (PixelFormat::Rgb8, 15),
            (PixelFormat::Bgr8, 15),
            (PixelFormat::Grey8, 5),
            (PixelFormat::Yuyv, 12),
            (PixelFormat::Uyvy, 12),
            (PixelFormat::Nv12, 5),
            (PixelFormat::I420, 5),
            (PixelFormat::Jpeg, 0),
        ] {
            assert_eq!(format.line_len(5), len, "{format:?}");
        }
    }

    #[test]
    fn a_picture_ends_with_its_last_pixel() {
        assert_eq!(len(PixelFormat::Rgb8, 4, 2, 16), 16 + 12);
        assert_eq!(len(PixelFormat::Yuyv, 320, 180, 704), 704 * 179 + 640);
        assert_eq!(len(PixelFormat::Yuyv, 5, 2, 12), 24);
        assert_eq!(len(PixelFormat::Grey8, 640, 480, 640), 640 * 480);
        assert_eq!(len(PixelFormat::Nv12, 640, 480, 640), 640 * 480 * 3 / 2);
        assert_eq!(len(PixelFormat::I420, 640, 480, 640), 640 * 480 * 3 / 2);
        // The padding of luma lines counts, because planes lie one behind the other.
        assert_eq!(len(PixelFormat::Nv12, 4, 4, 8), 32 + 8 + 4);
        assert_eq!(len(PixelFormat::I420, 4, 4, 8), 32 + 3 * 4 + 2);
        // Odd sizes: chroma covers the last column and line too.
        assert_eq!(len(PixelFormat::I420, 5, 2, 5), 10 + 3 + 3);
        assert_eq!(len(PixelFormat::Nv12, 5, 3, 5), 15 + 6 + 6);
        assert_eq!((len(PixelFormat::Jpeg, 4, 4, 0), len(PixelFormat::Grey8, 0, 4, 0)), (0, 0));
        assert!(len(PixelFormat::Nv12, 4, 4, usize::MAX) >= usize::MAX as u64);
    }
}
