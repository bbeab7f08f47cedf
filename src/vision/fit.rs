//! Bringing a picture to a model's input size, and saying where it then lies.
//!
//! The geometry is that of the training side, to the pixel: Ultralytics' `LetterBox` and `classify_transforms`, and
//! YOLOX's `preproc`.

use super::{
    RgbImage,
    resize::{Antialiased, Bilinear},
};
use crate::geometry::{Placement, Point, Size};

/// The grey around a letterboxed picture, in Ultralytics and YOLOX alike.
const PADDING: u8 = 114;

/// How a picture is fitted into a model's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// Ultralytics: scaled to fit, centred, padded with grey 114.
    LetterboxCentered,
    /// YOLOX: scaled to fit, at the top left, padded with grey 114.
    LetterboxTopLeft,
    /// Ultralytics' classifiers: the shorter side scaled to the input, the middle cut out.
    CropCenter,
}

/// Fits pictures into one model's input; the tables for a size of picture are kept until one of another size comes.
#[derive(Debug)]
pub struct Fitter {
    fit: Fit,
    model: Size,
    plan: Option<Plan>,
}

/// What is to be done with pictures of one size.
#[derive(Debug)]
struct Plan {
    placement: Placement,
    /// Where the scaled picture lies in the model's input: its left and top edge, and its size.
    inside: (u32, u32, Size),
    resize: Resize,
}

#[derive(Debug)]
enum Resize {
    /// The sizes are equal.
    Copy,
    Bilinear(Bilinear),
    /// Fills the whole input.
    Antialiased(Antialiased),
}

impl Fitter {
    /// For a model's input of `model` pixels, neither side zero.
    pub fn new(fit: Fit, model: Size) -> Self {
        Self { fit, model, plan: None }
    }

    /// Fits a picture into the model's input, as 8-bit RGB, and says where it lies.
    ///
    /// The placement leads back to the picture; [`Placement::inside`] goes on to what the picture was cut out of. A
    /// picture without pixels gives an input of padding.
    pub fn fit(&mut self, picture: &RgbImage, out: &mut RgbImage) -> Placement {
        let size = picture.size();
        out.reshape(self.model);
        if size.width == 0 || size.height == 0 {
            out.data.fill(PADDING);
            return placement(size, self.model, [1.0; 2], [0.0; 2]);
        }
        if self.plan.as_ref().is_none_or(|plan| plan.placement.picture != size) {
            self.plan = Some(match self.fit {
                Fit::LetterboxCentered | Fit::LetterboxTopLeft => letterbox(self.fit, size, self.model),
                Fit::CropCenter => crop_center(size, self.model),
            });
        }
        let plan = self.plan.as_mut().expect("a plan was made above");
        plan.run(picture, out);
        plan.placement
    }
}

impl Plan {
    fn run(&mut self, picture: &RgbImage, out: &mut RgbImage) {
        let (left, top, scaled) = self.inside;
        pad(out, left, top, scaled);
        let stride = out.width as usize * 3;
        let start = top as usize * stride + left as usize * 3;
        match &mut self.resize {
            Resize::Antialiased(resize) => resize.run(picture, &mut out.data),
            Resize::Bilinear(resize) => resize.run(picture, &mut out.data[start..], stride),
            Resize::Copy => {
                let line_len = scaled.width as usize * 3;
                let lines = picture.data.chunks_exact(line_len);
                for (line, to) in lines.zip(out.data[start..].chunks_mut(stride)) {
                    to[..line_len].copy_from_slice(line);
                }
            }
        }
    }
}

/// Ultralytics: the scaled size is rounded half to even, the padding before it is rounded from a half less a tenth, and
/// the way back has a scale for each axis, that of the rounded size (`scale_boxes`).
/// YOLOX: the scaled size is rounded down, nothing is padded before it, and the way back has the one exact scale.
fn letterbox(fit: Fit, picture: Size, model: Size) -> Plan {
    let (width, height) = (f64::from(picture.width), f64::from(picture.height));
    let scale = (f64::from(model.height) / height).min(f64::from(model.width) / width);
    let centered = fit == Fit::LetterboxCentered;
    // A very long and thin picture would round to nothing; it keeps one line.
    let scaled = |side: f64, limit: u32| {
        let exact = side * scale;
        (if centered { exact.round_ties_even() } else { exact.floor() } as u32).clamp(1, limit)
    };
    let scaled = Size { width: scaled(width, model.width), height: scaled(height, model.height) };
    let before = |rest: u32| if centered { (f64::from(rest) / 2.0 - 0.1).round_ties_even().max(0.0) as u32 } else { 0 };
    let (left, top) = (before(model.width - scaled.width), before(model.height - scaled.height));
    let back = if centered { [f64::from(scaled.width) / width, f64::from(scaled.height) / height] } else { [scale; 2] };
    Plan {
        placement: placement(picture, model, back.map(|scale| scale as f32), [left as f32, top as f32]),
        inside: (left, top, scaled),
        resize: if scaled == picture { Resize::Copy } else { Resize::Bilinear(Bilinear::new(picture, scaled)) },
    }
}

/// torchvision's `Resize` and `CenterCrop`, as Ultralytics' `classify_transforms` puts them together: a square input
/// keeps the picture's shape, any other stretches it.
fn crop_center(picture: Size, model: Size) -> Plan {
    let scaled = if model.width == model.height {
        let longer = |long: u32, short: u32| {
            (u64::from(model.width) * u64::from(long) / u64::from(short)).try_into().unwrap_or(u32::MAX)
        };
        if picture.width <= picture.height {
            Size { width: model.width, height: longer(picture.height, picture.width) }
        } else {
            Size { width: longer(picture.width, picture.height), height: model.height }
        }
    } else {
        model
    };
    let before = |scaled: u32, model: u32| (f64::from(scaled - model) / 2.0).round_ties_even() as u32;
    let (left, top) = (before(scaled.width, model.width), before(scaled.height, model.height));
    let scale = [
        (f64::from(scaled.width) / f64::from(picture.width)) as f32,
        (f64::from(scaled.height) / f64::from(picture.height)) as f32,
    ];
    Plan {
        placement: placement(picture, model, scale, [-(left as f32), -(top as f32)]),
        inside: (0, 0, model),
        resize: Resize::Antialiased(Antialiased::new(
            picture,
            scaled,
            left..left + model.width,
            top..top + model.height,
        )),
    }
}

fn placement(picture: Size, model: Size, scale: [f32; 2], offset: [f32; 2]) -> Placement {
    Placement { picture, model, scale, offset, origin: Point::default(), original: picture }
}

/// Paints all but the scaled picture grey.
fn pad(out: &mut RgbImage, left: u32, top: u32, scaled: Size) {
    let stride = out.width as usize * 3;
    let (left, right) = (left as usize * 3, (left + scaled.width) as usize * 3);
    let (top, bottom) = (top as usize, (top + scaled.height) as usize);
    out.data[..top * stride].fill(PADDING);
    out.data[bottom * stride..].fill(PADDING);
    if right - left < stride {
        for line in out.data[top * stride..bottom * stride].chunks_exact_mut(stride) {
            line[..left].fill(PADDING);
            line[right..].fill(PADDING);
        }
    }
}
