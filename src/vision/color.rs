//! Uncompressed pixel formats to RGB, line by line.
//!
//! [`Raw`] checks once that a frame's bytes hold the picture they promise; after that its lines cannot fail. YUV is
//! BT.601 with limited range (Y in 16..=235, U and V in 16..=240), in the 20-bit fixed-point arithmetic of OpenCV's
//! `cvtColor` (`modules/imgproc/src/color_yuv.simd.hpp`, `ITUR_BT_601_*`), so that models see the colours that OpenCV
//! would show them. Each chroma sample covers its two or four pixels; nothing is interpolated, as there.

use anyhow::ensure;

use crate::{
    frame::{Frame, PixelFormat},
    geometry::Size,
};

/// The bytes of an uncompressed picture, known to be enough.
#[derive(Clone, Copy, Debug)]
pub(super) struct Raw<'a> {
    format: PixelFormat,
    size: Size,
    stride: usize,
    data: &'a [u8],
}

impl<'a> Raw<'a> {
    /// Checks the stride and the number of bytes. The size is within the limits of [`super::Decoder`].
    ///
    /// # Errors
    /// Says how many bytes there are and how many there must be.
    pub(super) fn new(frame: &'a Frame) -> anyhow::Result<Self> {
        let Frame { format, size, stride, ref data, .. } = *frame;
        ensure!(format != PixelFormat::Jpeg, "a JPEG has no lines");
        let line = format.line_len(size.width);
        ensure!(
            stride >= line,
            "{format:?} lines of {} pixels take {line} bytes, but the source says {stride} from line to line; check the \
             size and the format that it was opened with",
            size.width
        );
        let needed = format.len_min(size, stride);
        ensure!(
            data.len() as u64 >= needed,
            "the frame is cut short: {} bytes of the {needed} that {format:?} takes at {}×{}; check the size and the \
             format that the source was opened with",
            data.len(),
            size.width,
            size.height
        );
        Ok(Self { format, size, stride, data })
    }

    /// An RGB picture without padding between its lines.
    pub(super) fn rgb(size: Size, data: &'a [u8]) -> Self {
        let stride = size.width as usize * 3;
        assert_eq!(data.len(), stride * size.height as usize, "an RGB picture holds three bytes a pixel");
        Self { format: PixelFormat::Rgb8, size, stride, data }
    }

    /// Writes line `y` from column `x` on, three bytes a pixel, as many pixels as `out` holds.
    pub(super) fn write_line(&self, y: u32, x: u32, out: &mut [u8]) {
        let (x, y) = (x as usize, y as usize);
        let line = &self.data[y * self.stride..];
        match self.format {
            PixelFormat::Rgb8 => out.copy_from_slice(&line[x * 3..x * 3 + out.len()]),
            PixelFormat::Bgr8 => swap_red_and_blue(&line[x * 3..], out),
            PixelFormat::Grey8 => spread_grey(&line[x..], out),
            PixelFormat::Yuyv => write_yuv(x, out, |at, block| block.load_packed(&line[at * 2..], [0, 1, 2, 3])),
            PixelFormat::Uyvy => write_yuv(x, out, |at, block| block.load_packed(&line[at * 2..], [1, 0, 3, 2])),
            PixelFormat::Nv12 => {
                let chroma = &self.data[self.luma_len() + y / 2 * self.stride.next_multiple_of(2)..];
                write_yuv(x, out, |at, block| {
                    block.load_luma(&line[at..self.size.width as usize]);
                    block.load_interleaved(&chroma[at..]);
                });
            }
            PixelFormat::I420 => {
                let (stride, lines) = (self.stride.div_ceil(2), self.size.height.div_ceil(2) as usize);
                let u = &self.data[self.luma_len() + y / 2 * stride..];
                let v = &self.data[self.luma_len() + (lines + y / 2) * stride..];
                write_yuv(x, out, |at, block| {
                    block.load_luma(&line[at..self.size.width as usize]);
                    load(&mut block.u, &u[at / 2..]);
                    load(&mut block.v, &v[at / 2..]);
                });
            }
            PixelFormat::Jpeg => unreachable!("`new` refuses it"),
        }
    }

    fn luma_len(&self) -> usize {
        self.stride * self.size.height as usize
    }
}

fn swap_red_and_blue(bgr: &[u8], rgb: &mut [u8]) {
    for (&[b, g, r], to) in bgr.as_chunks().0.iter().zip(rgb.as_chunks_mut().0) {
        *to = [r, g, b];
    }
}

fn spread_grey(grey: &[u8], rgb: &mut [u8]) {
    for (&level, to) in grey.iter().zip(rgb.as_chunks_mut().0) {
        *to = [level; 3];
    }
}

/// Pixels that are converted at once: enough to fill vector registers.
const BLOCK_PIXELS: usize = 32;

/// The samples of a run of pixels that begins at an even column.
#[derive(Clone, Copy)]
struct Block {
    y: [u8; BLOCK_PIXELS],
    u: [u8; BLOCK_PIXELS / 2],
    v: [u8; BLOCK_PIXELS / 2],
}

impl Block {
    /// From bytes that go in fours, `places` of the first luma, U, the second luma and V.
    #[inline(always)]
    fn load_packed(&mut self, bytes: &[u8], places: [usize; 4]) {
        let [y1, u, y2, v] = places;
        let pairs = bytes.as_chunks::<4>().0.iter().zip(self.y.as_chunks_mut().0);
        for (((four, luma), to_u), to_v) in pairs.zip(&mut self.u).zip(&mut self.v) {
            *luma = [four[y1], four[y2]];
            *to_u = four[u];
            *to_v = four[v];
        }
    }

    #[inline(always)]
    fn load_luma(&mut self, bytes: &[u8]) {
        load(&mut self.y, bytes);
    }

    /// From bytes that are U and V in turn.
    #[inline(always)]
    fn load_interleaved(&mut self, bytes: &[u8]) {
        for ((&[from_u, from_v], u), v) in bytes.as_chunks().0.iter().zip(&mut self.u).zip(&mut self.v) {
            *u = from_u;
            *v = from_v;
        }
    }

    #[inline(always)]
    fn to_rgb(self) -> [[u8; 3]; BLOCK_PIXELS] {
        let mut rgb = [[0; 3]; BLOCK_PIXELS];
        let mut even = [[0; BLOCK_PIXELS / 2]; 3];
        let mut odd = [[0; BLOCK_PIXELS / 2]; 3];
        let luma = self.y.as_chunks::<2>().0;
        for i in 0..BLOCK_PIXELS / 2 {
            let chroma = chroma_levels(self.u[i], self.v[i]);
            let luma = luma[i].map(luma_level);
            for c in 0..3 {
                even[c][i] = to_byte(luma[0].wrapping_add(chroma[c]));
                odd[c][i] = to_byte(luma[1].wrapping_add(chroma[c]));
            }
        }
        for (i, pair) in rgb.as_chunks_mut().0.iter_mut().enumerate() {
            *pair = [even.map(|plane| plane[i]), odd.map(|plane| plane[i])];
        }
        rgb
    }
}

#[inline(always)]
fn load(to: &mut [u8], from: &[u8]) {
    let len = to.len().min(from.len());
    to[..len].copy_from_slice(&from[..len]);
}

/// Converts a run of pixels from column `x` on; `load_block(at, block)` loads the samples from the even column `at` on.
#[inline(always)]
fn write_yuv(x: usize, out: &mut [u8], load_block: impl Fn(usize, &mut Block)) {
    let mut block = Block { y: [0; BLOCK_PIXELS], u: [0; BLOCK_PIXELS / 2], v: [0; BLOCK_PIXELS / 2] };
    let mut at = x - x % 2;
    let mut rest = out;
    if x % 2 == 1 {
        load_block(at, &mut block);
        let converted = block.to_rgb();
        let converted = converted.as_flattened();
        let len = rest.len().min((BLOCK_PIXELS - 1) * 3);
        let (run, after) = rest.split_at_mut(len);
        run.copy_from_slice(&converted[3..3 + len]);
        rest = after;
        at += BLOCK_PIXELS;
    }
    let mut runs = rest.chunks_exact_mut(BLOCK_PIXELS * 3);
    for run in &mut runs {
        load_block(at, &mut block);
        run.copy_from_slice(block.to_rgb().as_flattened());
        at += BLOCK_PIXELS;
    }
    let last = runs.into_remainder();
    if !last.is_empty() {
        load_block(at, &mut block);
        last.copy_from_slice(&block.to_rgb().as_flattened()[..last.len()]);
    }
}

/// Bits after the point.
const SHIFT: u32 = 20;

/// BT.601 limited range: 1.164 of the luma above black, and a half to round. Nothing here leaves 31 bits; the wrapping
/// operations say so, and builds that check for overflow use vector instructions too.
#[inline(always)]
fn luma_level(y: u8) -> i32 {
    i32::from(y.saturating_sub(16)).wrapping_mul(1_220_542).wrapping_add(1 << (SHIFT - 1))
}

/// What chroma adds to red (1.596 V), green (-0.391 U - 0.813 V) and blue (2.018 U).
#[inline(always)]
fn chroma_levels(u: u8, v: u8) -> [i32; 3] {
    let (u, v) = (i32::from(u).wrapping_sub(128), i32::from(v).wrapping_sub(128));
    let green = u.wrapping_mul(-409_993).wrapping_add(v.wrapping_mul(-852_492));
    [v.wrapping_mul(1_673_527), green, u.wrapping_mul(2_116_026)]
}

#[inline(always)]
fn to_byte(level: i32) -> u8 {
    (level >> SHIFT).clamp(0, 255) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vision::noise::Noise;

    const RAW: [PixelFormat; 7] = [
        PixelFormat::Rgb8,
        PixelFormat::Bgr8,
        PixelFormat::Grey8,
        PixelFormat::Yuyv,
        PixelFormat::Uyvy,
        PixelFormat::Nv12,
        PixelFormat::I420,
    ];

    /// The formulas of the BT.601 standard in floating point, rounded.
    fn bt601(y: u8, u: u8, v: u8) -> [u8; 3] {
        let luma = 255.0 / 219.0 * (f64::from(y) - 16.0).max(0.0);
        let (cb, cr) = ((f64::from(u) - 128.0) * 255.0 / 224.0, (f64::from(v) - 128.0) * 255.0 / 224.0);
        [luma + 1.402 * cr, luma - 0.344_136 * cb - 0.714_136 * cr, luma + 1.772 * cb]
            .map(|level| level.round().clamp(0.0, 255.0) as u8)
    }

    fn yuv_to_rgb(y: u8, u: u8, v: u8) -> [u8; 3] {
        chroma_levels(u, v).map(|level| to_byte(luma_level(y) + level))
    }

    /// One pixel, found by the plainest arithmetic on offsets.
    fn pixel(frame: &Frame, x: usize, y: usize) -> [u8; 3] {
        let (d, s, h) = (&frame.data, frame.stride, frame.size.height as usize);
        let line = y * s;
        match frame.format {
            PixelFormat::Rgb8 => [d[line + 3 * x], d[line + 3 * x + 1], d[line + 3 * x + 2]],
            PixelFormat::Bgr8 => [d[line + 3 * x + 2], d[line + 3 * x + 1], d[line + 3 * x]],
            PixelFormat::Grey8 => [d[line + x]; 3],
            PixelFormat::Yuyv => {
                let four = line + x / 2 * 4;
                yuv_to_rgb(d[four + x % 2 * 2], d[four + 1], d[four + 3])
            }
            PixelFormat::Uyvy => {
                let four = line + x / 2 * 4;
                yuv_to_rgb(d[four + 1 + x % 2 * 2], d[four], d[four + 2])
            }
            PixelFormat::Nv12 => {
                let two = h * s + y / 2 * (s + s % 2) + x / 2 * 2;
                yuv_to_rgb(d[line + x], d[two], d[two + 1])
            }
            PixelFormat::I420 => {
                let (chroma, plane) = (s.div_ceil(2), h.div_ceil(2) * s.div_ceil(2));
                let one = h * s + y / 2 * chroma + x / 2;
                yuv_to_rgb(d[line + x], d[one], d[one + plane])
            }
            PixelFormat::Jpeg => unreachable!(),
        }
    }

    fn frame(format: PixelFormat, width: u32, height: u32, padding: usize, noise: &mut Noise) -> Frame {
        let stride = format.line_len(width) + padding;
        let mut frame = Frame { format, size: Size { width, height }, stride, ..Frame::empty() };
        let len = format.len_min(frame.size, stride);
        frame.data = noise.bytes(len as usize);
        frame
    }

    #[test]
    fn every_format_equals_the_plain_reference_over_sizes_strides_and_columns() {
        let mut noise = Noise::seeded(1);
        for format in RAW {
            for (width, height) in [(1, 1), (2, 2), (3, 3), (31, 5), (32, 2), (33, 4), (64, 3), (65, 7), (97, 1)] {
                for padding in [0, 1, 2, 13] {
                    let frame = frame(format, width, height, padding, &mut noise);
                    let raw = Raw::new(&frame).unwrap();
                    for y in 0..height {
                        for x in [0, 1, 2, width / 2, width - 1].into_iter().filter(|&x| x < width) {
                            let mut line = vec![0; (width - x) as usize * 3];
                            raw.write_line(y, x, &mut line);
                            for (i, found) in line.chunks_exact(3).enumerate() {
                                let expected = pixel(&frame, x as usize + i, y as usize);
                                assert_eq!(found, expected, "{format:?} {width}×{height} +{padding} at {x}+{i}, {y}");
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn every_shorter_buffer_and_stride_is_refused() {
        let mut noise = Noise::seeded(2);
        for format in RAW {
            for (width, height) in [(1, 1), (4, 4), (5, 3)] {
                let whole = frame(format, width, height, 3, &mut noise);
                for len in 0..whole.data.len() {
                    let cut = Frame { data: whole.data[..len].to_vec(), ..whole.clone() };
                    assert!(Raw::new(&cut).is_err(), "{format:?} {width}×{height} with {len} bytes");
                }
                for stride in 0..format.line_len(width) {
                    assert!(Raw::new(&Frame { stride, ..whole.clone() }).is_err(), "{format:?} stride {stride}");
                }
                if height > 1 {
                    for stride in [usize::MAX, usize::MAX / 2, whole.data.len()] {
                        assert!(Raw::new(&Frame { stride, ..whole.clone() }).is_err(), "{format:?} stride {stride}");
                    }
                }
            }
        }
        assert!(Raw::new(&Frame { format: PixelFormat::Jpeg, ..Frame::empty() }).is_err());
    }

    #[test]
    fn the_fixed_point_formula_is_bt601_to_one_level() {
        for y in 0..=255 {
            for (u, v) in (0..=255).step_by(5).flat_map(|u| (0..=255).step_by(5).map(move |v| (u, v))) {
                let (found, expected) = (yuv_to_rgb(y, u, v), bt601(y, u, v));
                for (a, b) in found.into_iter().zip(expected) {
                    assert!(a.abs_diff(b) <= 1, "Y {y} U {u} V {v}: {found:?}, the standard says {expected:?}");
                }
            }
        }
    }

    /// What `cv2.cvtColor(…, COLOR_YUV2RGB_YUY2)` gives for these bytes.
    #[test]
    fn yuyv_equals_opencv() {
        const BYTES: [u8; 16] = [16, 128, 235, 128, 81, 90, 145, 54, 41, 240, 210, 16, 0, 255, 255, 0];
        const RGB: [u8; 24] =
            [0, 0, 0, 255, 255, 255, 0, 151, 0, 32, 225, 73, 0, 76, 255, 47, 255, 255, 0, 54, 255, 74, 255, 255];
        let frame = Frame {
            format: PixelFormat::Yuyv,
            size: Size { width: 8, height: 1 },
            stride: 16,
            data: BYTES.to_vec(),
            ..Frame::empty()
        };
        let mut line = [0; 24];
        Raw::new(&frame).unwrap().write_line(0, 0, &mut line);
        assert_eq!(line, RGB);
    }
}
