//! Small models whose answers are known by hand.

use andon::engine::{Session, Settings, Tensor};

use super::{load, load_sized, stored};
use crate::util::{
    onnx::{Attr, Dim, Elem, Model},
    tiny_yolo::{Head, TinyYolo, tiny_yolo},
};

/// Red squares at cells (2, 1) and (5, 5), a green one at (0, 7), white at (3, 3), on dark ground; columns and rows.
fn picture(height: usize, width: usize) -> Vec<f32> {
    let mut planes = vec![30.0 / 255.0; 3 * height * width];
    let mut square = |column: usize, row: usize, colour: [f32; 3]| {
        for (plane, value) in colour.iter().enumerate() {
            for y in row * 8..row * 8 + 8 {
                let start = (plane * height + y) * width + column * 8;
                planes[start..start + 8].fill(value / 255.0);
            }
        }
    };
    square(2, 1, [220.0, 30.0, 30.0]);
    square(5, 5, [220.0, 30.0, 30.0]);
    square(0, 7, [30.0, 220.0, 30.0]);
    square(3, 3, [255.0, 255.0, 255.0]);
    planes
}

/// Centre and class of what has a confidence above a half, in order.
fn found(output: &Tensor, head: Head) -> Vec<(f32, f32, usize)> {
    let mut found = Vec::new();
    match head {
        Head::AnchorFree => {
            let cells = output.shape[2];
            let row = |row: usize, cell: usize| output.data[row * cells + cell];
            for cell in 0..cells {
                assert_eq!([row(2, cell), row(3, cell)], [8.0, 8.0]);
                let class = (0..2).find(|class| row(4 + class, cell) > 0.5);
                found.extend(class.map(|class| (row(0, cell), row(1, cell), class)));
            }
        }
        Head::EndToEnd => {
            for row in output.data.as_chunks::<6>().0.iter().filter(|row| row[4] > 0.5) {
                assert_eq!([row[2] - row[0], row[3] - row[1]], [8.0, 8.0]);
                found.push(((row[0] + row[2]) / 2.0, (row[1] + row[3]) / 2.0, row[5] as usize));
            }
        }
    }
    found.sort_by(|a, b| a.partial_cmp(b).unwrap());
    found
}

const EXPECTED: [(f32, f32, usize); 3] = [(4.0, 60.0, 1), (20.0, 12.0, 0), (44.0, 44.0, 0)];

#[test]
fn tiny_yolo_finds_exactly_its_squares() {
    for head in [Head::AnchorFree, Head::EndToEnd] {
        for symbolic in [false, true] {
            for elem in [Elem::F32, Elem::F16, Elem::U8] {
                let options = TinyYolo { input_size: [64, 96], head, symbolic, elem, ..TinyYolo::default() };
                let mut session = load(&tiny_yolo(options)).unwrap();
                assert_eq!(session.input().shape, [1, 3, 64, 96]);
                let shape: &[usize] = if head == Head::EndToEnd { &[1, 10, 6] } else { &[1, 6, 96] };
                assert_eq!(session.outputs()[0].shape, shape, "{options:?}");
                for _ in 0..2 {
                    let outputs = session.run(&picture(64, 96)).unwrap();
                    assert_eq!(outputs[0].shape, shape);
                    assert_eq!(found(&outputs[0], head), EXPECTED, "{options:?}");
                }
            }
        }
    }
}

#[test]
fn open_sizes_come_from_the_user_or_are_asked_for() {
    let bytes = tiny_yolo(TinyYolo { symbolic: true, metadata: false, ..TinyYolo::default() });
    let cause = load(&bytes).unwrap_err().to_string();
    assert!(cause.contains("state the size"), "{cause}");
    let mut session = load_sized(&bytes, Some([64, 128])).unwrap();
    assert_eq!(session.input().shape, [1, 3, 64, 128]);
    assert_eq!(found(&session.run(&picture(64, 128)).unwrap()[0], Head::AnchorFree), EXPECTED);

    let fixed = tiny_yolo(TinyYolo::default());
    let cause = load_sized(&fixed, Some([128, 128])).unwrap_err().to_string();
    assert!(cause.contains("fixed at 64"), "{cause}");
}

#[test]
fn threads_do_not_change_the_answer() {
    let (_folder, path) = stored(&tiny_yolo(TinyYolo { input_size: [640, 640], ..TinyYolo::default() }));
    let run = |threads| {
        let mut session = Session::load(&path, &Settings { threads: Some(threads), ..Settings::default() }).unwrap();
        assert_eq!(session.threads(), threads);
        session.run(&picture(640, 640)).unwrap()
    };
    assert_eq!(run(1), run(3));
}

#[test]
fn a_session_says_what_it_is() {
    let bytes = tiny_yolo(TinyYolo { elem: Elem::U8, ..TinyYolo::default() });
    let session = load(&bytes).unwrap();
    assert_eq!(session.name(), "model");
    assert_eq!(session.sha256().len(), 64);
    assert!(session.sha256().bytes().all(|digit| digit.is_ascii_hexdigit() && !digit.is_ascii_uppercase()));
    assert_ne!(session.sha256(), load(&tiny_yolo(TinyYolo::default())).unwrap().sha256());
    assert_eq!(session.metadata()["names"], "{0: 'red', 1: 'green'}");
    assert_eq!((session.input().name.as_str(), session.input().element), ("images", "uint8"));
    assert_eq!((session.outputs()[0].name.as_str(), session.outputs()[0].element), ("output0", "float32"));
    let report = session.report();
    assert_eq!((report.convolutions, report.int8_convolutions, report.opset), (1, 0, 17));
    assert_eq!((report.quantization.as_str(), report.producer.as_str()), ("float", "andon tests"));
    assert_eq!(report.operators["Cast"], 2);
}

#[test]
fn a_wrong_input_is_an_error_and_the_session_lives_on() {
    let mut session = load(&tiny_yolo(TinyYolo::default())).unwrap();
    let cause = format!("{:#}", session.run(&[0.0; 7]).unwrap_err());
    assert!(cause.contains("7 numbers, not 12288"), "{cause}");
    assert_eq!(found(&session.run(&picture(64, 64)).unwrap()[0], Head::AnchorFree), EXPECTED);
}

/// One 1×1 convolution by 0.5 and −0.25 of planes 0 and 1, in the three ways to quantize it.
fn quantized(way: &str) -> Vec<u8> {
    let mut model = Model::new(17);
    model.input("x", Elem::F32, &[1, 3, 4, 4].map(Dim::Fixed));
    model.output("y", Elem::F32, &[1, 2, 4, 4].map(Dim::Fixed));
    model.floats("x_scale", &[], &[1.0 / 64.0]);
    model.constant("x_zero", Elem::U8, &[], &[100]);
    let weights = [32_i8, -16, 0, 0, 0, 100].map(|weight| weight as u8);
    model.constant("w", Elem::I8, &[2, 3, 1, 1], &weights);
    model.floats("w_scale", &[2], &[1.0 / 64.0, 1.0 / 128.0]);
    model.constant("w_zero", Elem::I8, &[2], &[0, 0]);
    // Biases of 1 and −1: their scale is that of the input times that of the weights.
    model.constant("b", Elem::I32, &[2], &[4096_i32, -8192].map(i32::to_le_bytes).concat());
    model.floats("b_scale", &[2], &[1.0 / 4096.0, 1.0 / 8192.0]);
    model.floats("y_scale", &[], &[1.0 / 32.0]);
    model.constant("y_zero", Elem::U8, &[], &[128]);
    let conv = [("kernel_shape", Attr::Ints(&[1, 1]))];
    let axis = [("axis", Attr::Int(0))];
    match way {
        "QDQ" => {
            model.node("QuantizeLinear", &["x", "x_scale", "x_zero"], &["x_q"], &[]);
            model.node("DequantizeLinear", &["x_q", "x_scale", "x_zero"], &["x_dq"], &[]);
            model.node("DequantizeLinear", &["w", "w_scale", "w_zero"], &["w_dq"], &axis);
            model.node("DequantizeLinear", &["b", "b_scale"], &["b_dq"], &axis);
            model.node("Conv", &["x_dq", "w_dq", "b_dq"], &["real"], &conv);
            model.node("QuantizeLinear", &["real", "y_scale", "y_zero"], &["y_q"], &[]);
            model.node("DequantizeLinear", &["y_q", "y_scale", "y_zero"], &["y"], &[]);
        }
        "QOperator" => {
            model.node("QuantizeLinear", &["x", "x_scale", "x_zero"], &["x_q"], &[]);
            let inputs = ["x_q", "x_scale", "x_zero", "w", "w_scale", "w_zero", "y_scale", "y_zero", "b"];
            model.node("QLinearConv", &inputs, &["y_q"], &conv);
            model.node("DequantizeLinear", &["y_q", "y_scale", "y_zero"], &["y"], &[]);
        }
        _ => {
            model.node("DynamicQuantizeLinear", &["x"], &["x_q", "x_s", "x_z"], &[]);
            model.constant("w_z", Elem::I8, &[], &[0]);
            model.floats("w_s", &[], &[1.0 / 64.0]);
            model.node("ConvInteger", &["x_q", "w", "x_z", "w_z"], &["integers"], &conv);
            model.node("Cast", &["integers"], &["float"], &[("to", Attr::Int(Elem::F32 as i64))]);
            model.node("Mul", &["x_s", "w_s"], &["scales"], &[]);
            model.node("Mul", &["float", "scales"], &["product"], &[]);
            model.floats("bias", &[1, 2, 1, 1], &[10.0, -10.0]);
            model.node("Add", &["product", "bias"], &["y"], &[]);
        }
    }
    model.to_bytes()
}

#[test]
fn activations_are_rounded_and_clamped_as_the_file_says() {
    let input: Vec<f32> = (0..48).map(|index| index as f32 * 0.11 - 2.0).collect();
    let round = |number: f32, scale: f32, zero: f32| {
        (((number / scale).round_ties_even() + zero).clamp(0.0, 255.0) - zero) * scale
    };
    let expected: Vec<f32> = (0..32)
        .map(|index| {
            let x = |plane: usize| round(input[plane * 16 + index % 16], 1.0 / 64.0, 100.0);
            let real = if index < 16 { x(0) * 0.5 - x(1) * 0.25 + 1.0 } else { x(2) * 100.0 / 128.0 - 1.0 };
            round(real, 1.0 / 32.0, 128.0)
        })
        .collect();
    for way in ["QDQ", "QOperator"] {
        let mut session = load(&quantized(way)).unwrap();
        assert_eq!(session.report().quantization, way);
        let output = session.run(&input).unwrap();
        assert_eq!(output[0].data, expected, "{way}");
    }
}

#[test]
fn dynamic_quantization_runs_in_float() {
    let mut session = load(&quantized("dynamic")).unwrap();
    assert_eq!(session.report().quantization, "dynamic");
    let input: Vec<f32> = (0..48).map(|index| index as f32 * 0.11 - 2.0).collect();
    let output = session.run(&input).unwrap();
    for index in 0..16 {
        let [a, b] = [input[index] * 0.5 - input[16 + index] * 0.25 + 10.0, input[32 + index] * 100.0 / 64.0 - 10.0];
        assert!((output[0].data[index] - a).abs() < 1e-5 && (output[0].data[16 + index] - b).abs() < 1e-5);
    }
}

#[test]
fn integers_that_are_only_moved_stay_exact() {
    let mut model = Model::new(17);
    model.input("x", Elem::F32, &[1, 3, 4, 4].map(Dim::Fixed));
    model.output("y", Elem::F32, &[1, 6, 2, 2].map(Dim::Fixed));
    model.floats("scale", &[], &[0.25]);
    model.constant("zero", Elem::U8, &[], &[10]);
    model.node("QuantizeLinear", &["x", "scale", "zero"], &["q"], &[]);
    let pool = [("kernel_shape", Attr::Ints(&[2, 2])), ("strides", Attr::Ints(&[2, 2]))];
    model.node("MaxPool", &["q"], &["pooled"], &pool);
    model.node("Concat", &["pooled", "pooled"], &["both"], &[("axis", Attr::Int(1))]);
    model.node("DequantizeLinear", &["both", "scale", "zero"], &["y"], &[]);
    let input: Vec<f32> = (0..48).map(|index| index as f32 * 0.3 - 3.0).collect();
    let output = load(&model.to_bytes()).unwrap().run(&input).unwrap();
    // The greatest of each 2 × 2 is its last.
    let round = |number: f32| ((number / 0.25).round_ties_even() + 10.0).clamp(0.0, 255.0) * 0.25 - 2.5;
    let last = [5, 7, 13, 15].map(|index| move |plane: usize| plane * 16 + index);
    let expected: Vec<f32> = (0..6).flat_map(|plane| last.map(|at| round(input[at(plane % 3)]))).collect();
    assert_eq!(output[0].data, expected);
}

#[test]
fn weights_that_the_file_quantizes_itself() {
    let mut model = Model::new(17);
    model.input("x", Elem::F32, &[1, 3, 4, 4].map(Dim::Fixed));
    model.output("y", Elem::F32, &[1, 2, 4, 4].map(Dim::Fixed));
    model.floats("w", &[2, 3, 1, 1], &[0.51, -0.26, 0.0, 0.1, 90.0, 1.0]);
    model.floats("scale", &[2], &[0.25, 0.5]);
    model.constant("zero", Elem::I8, &[2], &[0, 0]);
    let axis = [("axis", Attr::Int(0))];
    model.node("QuantizeLinear", &["w", "scale", "zero"], &["w_q"], &axis);
    model.node("DequantizeLinear", &["w_q", "scale", "zero"], &["w_dq"], &axis);
    model.node("Conv", &["x", "w_dq"], &["y"], &[("kernel_shape", Attr::Ints(&[1, 1]))]);
    let mut session = load(&model.to_bytes()).unwrap();
    let input: Vec<f32> = (0..48).map(|index| index as f32).collect();
    let output = session.run(&input).unwrap();
    let x = |plane: usize, index: usize| input[plane * 16 + index];
    for index in 0..16 {
        assert_eq!(output[0].data[index], 0.5 * x(0, index) - 0.25 * x(1, index));
        // 90 is beyond what int8 holds at this scale.
        assert_eq!(output[0].data[16 + index], 63.5 * x(1, index) + x(2, index));
    }
}

#[test]
fn outputs_of_integers_and_several_outputs() {
    let mut model = Model::new(13);
    model.input("x", Elem::F32, &[1, 3, 2, 2].map(Dim::Fixed));
    model.output("best", Elem::I64, &[1, 1, 2, 2].map(Dim::Fixed));
    model.output("byte", Elem::U8, &[1, 3, 2, 2].map(Dim::Fixed));
    model.node("ArgMax", &["x"], &["best"], &[("axis", Attr::Int(1))]);
    model.node("Cast", &["x"], &["byte"], &[("to", Attr::Int(Elem::U8 as i64))]);
    let mut session = load(&model.to_bytes()).unwrap();
    let specs: Vec<_> = session.outputs().iter().map(|spec| (spec.name.as_str(), spec.element)).collect();
    assert_eq!(specs, [("best", "int64"), ("byte", "uint8")]);
    let input = [1.0, 9.0, 1.0, 1.0, 2.0, 2.0, 200.0, 2.0, 3.0, 3.0, 3.0, 3.0];
    let outputs = session.run(&input).unwrap();
    assert_eq!(outputs[0], Tensor { shape: vec![1, 1, 2, 2], data: vec![2.0, 0.0, 1.0, 2.0] });
    assert_eq!(outputs[1].data, input);
}

/// A session moves to the detector's thread.
#[test]
fn a_session_can_be_sent_to_another_thread() {
    let mut session = load(&tiny_yolo(TinyYolo::default())).unwrap();
    let output = std::thread::spawn(move || session.run(&picture(64, 64)).unwrap()).join().unwrap();
    assert_eq!(found(&output[0], Head::AnchorFree), EXPECTED);
}

#[test]
fn attributes_of_every_kind_are_obeyed() {
    let mut model = Model::new(13);
    model.input("x", Elem::F32, &[1, 1, 3, 3].map(Dim::Fixed));
    model.output("y", Elem::F32, &[1, 1, 2, 2].map(Dim::Fixed));
    model.floats("w", &[1, 1, 2, 2], &[1.0; 4]);
    let window = [("auto_pad", Attr::Text("SAME_UPPER")), ("strides", Attr::Ints(&[2, 2]))];
    model.node("Conv", &["x", "w"], &["sum"], &window);
    model.node("LeakyRelu", &["sum"], &["y"], &[("alpha", Attr::Float(0.5))]);
    let output = load(&model.to_bytes()).unwrap().run(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, -9.0]).unwrap();
    assert_eq!(output[0].data, [12.0, 9.0, 15.0, -4.5]);
}
