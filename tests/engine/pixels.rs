//! A picture given as pixels is the tensor that they stand for.

use andon::engine::{Pixels, Session};

use super::load;
use crate::util::onnx::{Attr, Dim, Elem, Model};

const SIDE: usize = 24;

/// A 3×3 convolution of stride two, with its input quantized or not.
fn model(is_quantized: bool) -> Vec<u8> {
    let mut model = Model::new(17);
    model.input("x", Elem::F32, &[1, 3, SIDE as i64, SIDE as i64].map(Dim::Fixed));
    model.output("y", Elem::F32, &[1, 5, SIDE as i64 / 2, SIDE as i64 / 2].map(Dim::Fixed));
    let weights: Vec<f32> = (0..5 * 27).map(|index| ((index * 37 % 255) as f32 - 127.0) / 127.0).collect();
    model.floats("w", &[5, 3, 3, 3], &weights);
    let mut input = "x";
    if is_quantized {
        model.floats("scale", &[], &[0.9 / 255.0]);
        model.constant("zero", Elem::U8, &[], &[7]);
        model.node("QuantizeLinear", &["x", "scale", "zero"], &["xq"], &[]);
        model.node("DequantizeLinear", &["xq", "scale", "zero"], &["xr"], &[]);
        input = "xr";
    }
    let window = [("pads", Attr::Ints(&[1, 1, 1, 1])), ("strides", Attr::Ints(&[2, 2]))];
    model.node("Conv", &[input, "w"], &["y"], &window);
    model.to_bytes()
}

fn session(is_quantized: bool) -> Session {
    load(&model(is_quantized)).unwrap()
}

#[test]
fn pixels_give_what_their_tensor_gives() {
    let rgb: Vec<u8> = (0..SIDE * SIDE * 3).map(|index| (index * 73 % 256) as u8).collect();
    let numbers: [f32; 256] = std::array::from_fn(|level| level as f32 / 255.0);
    for is_quantized in [false, true] {
        let mut session = session(is_quantized);
        assert!(session.takes_pixels());
        for channels in [[0, 1, 2], [2, 1, 0], [1, 1, 0]] {
            let planes: Vec<f32> = channels
                .iter()
                .flat_map(|byte| rgb.chunks(3).map(move |pixel| numbers[usize::from(pixel[*byte])]))
                .collect();
            let of_pixels = session.run_pixels(Pixels { rgb: &rgb, channels, numbers: &numbers }).unwrap();
            assert_eq!(of_pixels, session.run(&planes).unwrap(), "{channels:?}, quantized: {is_quantized}");
        }
    }
}

#[test]
fn wrong_pixels_are_an_error_and_the_session_lives_on() {
    let mut session = session(true);
    let numbers = [0.0; 256];
    let short = Pixels { rgb: &[0; 3], channels: [0, 1, 2], numbers: &numbers };
    assert!(format!("{:#}", session.run_pixels(short).unwrap_err()).contains("3 numbers, not 1728"));
    let rgb = [0; SIDE * SIDE * 3];
    let fourth = Pixels { rgb: &rgb, channels: [0, 1, 3], numbers: &numbers };
    assert!(session.run_pixels(fourth).is_err());
    assert!(session.run_pixels(Pixels { channels: [0, 1, 2], ..fourth }).is_ok());
}
