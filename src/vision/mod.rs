//! Pixels: from what a source delivers to what a model takes.
//!
//! A [`Decoder`] turns a frame into upright RGB and cuts out the region, a [`Fitter`] brings it to the model's size, and
//! [`encode`] turns bytes into numbers. All keep their buffers and tables, so that a stream allocates nothing once it
//! runs. A [`Visibility`] tells whether anything can be seen in a camera's pictures. Nothing here knows what a model finds,
//! and nothing draws.

mod color;
mod decode;
mod extensions;
mod fit;
mod glance;
mod jpeg;
#[cfg(test)]
mod noise;
mod orient;
mod resize;
mod scenery;
mod tensor;
mod visibility;

pub use decode::Decoder;
pub use extensions::{EXTENSIONS, LABELLED_EXTENSIONS, has_extension};
pub use fit::{Fit, Fitter};
pub use jpeg::has_huffman_tables;
pub use tensor::{Encoding, encode};
pub use visibility::{Blindness, Checks, Visibility};

use crate::geometry::{Region, Size};

/// An RGB picture: three bytes a pixel, lines without padding. Its buffer is reused from frame to frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RgbImage {
    /// Pixels in a line.
    pub width: u32,
    /// Lines.
    pub height: u32,
    /// `width × height × 3` bytes: red, green, blue.
    pub data: Vec<u8>,
}

impl RgbImage {
    /// Its size.
    pub fn size(&self) -> Size {
        Size { width: self.width, height: self.height }
    }

    /// Takes on a size; what the pixels hold is unspecified.
    fn reshape(&mut self, size: Size) {
        self.width = size.width;
        self.height = size.height;
        self.data.resize(size.width as usize * size.height as usize * 3, 0);
    }
}

#[cfg(test)]
impl RgbImage {
    /// A grey picture whose levels a function of column and line gives.
    fn grey(width: u32, height: u32, mut level: impl FnMut(u32, u32) -> u8) -> Self {
        let mut picture = Self::default();
        picture.reshape(Size { width, height });
        for (index, pixel) in (0_u32..).zip(picture.data.chunks_exact_mut(3)) {
            pixel.fill(level(index % width, index / width));
        }
        picture
    }
}

/// A quarter turn that brings a camera's picture upright, clockwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rotation {
    /// As it comes.
    #[default]
    None,
    /// 90° clockwise.
    Quarter,
    /// 180°.
    Half,
    /// 270° clockwise.
    ThreeQuarters,
}

/// The part of a source's picture that is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Applied first, after the orientation that a JPEG file states about itself (EXIF).
    pub rotation: Rotation,
    /// Cut out of the rotated picture; `None`: all of it. Detections stay in pixels of the whole rotated picture.
    pub region: Option<Region>,
}
