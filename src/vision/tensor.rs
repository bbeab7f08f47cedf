//! 8-bit RGB to the floats of a model's input.

use super::RgbImage;

/// How pixels become numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Red, green, blue in `0..=1`.
    RgbUnit,
    /// Blue, green, red in `0..=255`.
    BgrBytes,
}

impl Encoding {
    /// Which byte of an RGB pixel each channel is, and the number that each byte stands for.
    pub fn levels(self) -> ([usize; 3], [f32; 256]) {
        match self {
            Self::RgbUnit => ([0, 1, 2], std::array::from_fn(|level| level as f32 / 255.0)),
            Self::BgrBytes => ([2, 1, 0], std::array::from_fn(|level| level as f32)),
        }
    }
}

/// Writes a picture as planes of floats (NCHW, `3 × height × width`), as the model wants them.
///
/// # Panics
/// Where `tensor` has another length than `3 × height × width`: the caller made it for another model.
pub fn encode(picture: &RgbImage, encoding: Encoding, tensor: &mut [f32]) {
    assert_eq!(tensor.len(), picture.data.len(), "the tensor is made for another size of picture");
    let plane = tensor.len() / 3;
    let (first, rest) = tensor.split_at_mut(plane);
    let (second, third) = rest.split_at_mut(plane);
    match encoding {
        // Divided, not multiplied by an inverse: the very floats of the training side.
        Encoding::RgbUnit => split(&picture.data, first, second, third, |level| f32::from(level) / 255.0),
        Encoding::BgrBytes => split(&picture.data, third, second, first, f32::from),
    }
}

#[inline(always)]
fn split(rgb: &[u8], red: &mut [f32], green: &mut [f32], blue: &mut [f32], number: impl Fn(u8) -> f32) {
    let planes = red.iter_mut().zip(green).zip(blue);
    for (pixel, ((r, g), b)) in rgb.as_chunks::<3>().0.iter().zip(planes) {
        *r = number(pixel[0]);
        *g = number(pixel[1]);
        *b = number(pixel[2]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_are_in_the_models_order_and_range() {
        let picture = RgbImage { width: 3, height: 1, data: vec![255, 51, 0, 1, 2, 3, 102, 0, 204] };
        let mut tensor = [9.0; 9];
        encode(&picture, Encoding::RgbUnit, &mut tensor);
        assert_eq!(tensor, [1.0, 1.0 / 255.0, 0.4, 0.2, 2.0 / 255.0, 0.0, 0.0, 3.0 / 255.0, 0.8]);
        encode(&picture, Encoding::BgrBytes, &mut tensor);
        assert_eq!(tensor, [0.0, 3.0, 204.0, 51.0, 2.0, 0.0, 255.0, 1.0, 102.0]);
    }
}
