//! Files that are damaged, absurd or made to do harm: each runs right, is left to tract, or is refused in one sentence.

use std::fs;

use super::{
    super::super::{Session, Settings, Tensor, kernels},
    against_tract::{Comparison, Model as Read},
    onnx::{Attr, Dim, Elem, Model},
};

/// What became of a file.
#[derive(Debug)]
enum Outcome {
    Refused(String),
    /// Outputs that are near to tract's.
    Ran(Vec<Tensor>),
}

/// Loads and runs a file on all instruction sets. A panic inside the lowering is not caught, as it is for users.
fn outcome(name: &str, onnx: &[u8]) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    fs::write(&path, onnx).unwrap();
    if let Ok(model) = Read::read(&path) {
        for kernels in kernels::available() {
            let lowered = model.lower(kernels);
            lowered.blueprints.into_iter().for_each(|blueprint| {
                assert!(blueprint.arena_len < 1 << 31, "{name}: {}", blueprint.arena_len);
            });
        }
    }
    let load = |isa: &str| {
        let settings = Settings { threads: Some(1), isa: Some(isa.to_owned()), ..Settings::default() };
        Session::load(&path, &settings)
    };
    let mut found = Vec::new();
    for kernels in kernels::available() {
        let mut session = match load(kernels.name) {
            Ok(session) => session,
            Err(cause) => {
                let text = format!("{cause:#}");
                assert!(text.starts_with("model ") && !text.contains('\n') && text.contains("; "), "{name}: {text}");
                for word in ["panicked", "arithmetic", "step "] {
                    assert!(!text.contains(word), "{name}: {text}");
                }
                return Outcome::Refused(text);
            }
        };
        let input = vec![0.5; session.input().shape.iter().product()];
        found.push(session.run(&input).unwrap_or_else(|cause| panic!("{name}: {cause:#}")));
    }
    let outputs = found.remove(0);
    let bits = |outputs: &[Tensor]| {
        let all = outputs.iter().flat_map(|output| &output.data);
        all.map(|x| if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() }).collect::<Vec<_>>()
    };
    assert!(found.iter().all(|others| bits(others) == bits(&outputs)), "{name}: instruction sets differ");
    if let Ok(mut session) = load("tract") {
        let input = vec![0.5; session.input().shape.iter().product()];
        if let Ok(expected) = session.run(&input) {
            for (expected, found) in expected.iter().zip(&outputs) {
                assert_eq!(expected.shape, found.shape, "{name}");
                let range = expected.data.iter().fold(0.0, |max: f32, x| max.max(x.abs()));
                let near = |(a, b): (&f32, &f32)| a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= range * 0.02;
                assert!(expected.data.iter().zip(&found.data).all(near), "{name}: {expected:?} {found:?}");
            }
            let compared =
                Comparison::of(&path, &kernels::available()).unwrap_or_else(|cause| panic!("{name}: {cause:#}"));
            assert!(compared.wrong.is_empty(), "{name}: {:#?}", compared.wrong);
        }
    }
    Outcome::Ran(outputs)
}

/// A convolution of 3 × 6 × 6 to `c`, 4 × 6 × 6, and what `rest` adds up to `y`.
fn after_conv(opset: i64, rest: impl FnOnce(&mut Model)) -> Vec<u8> {
    let mut model = Model::new(opset);
    model.input("x", Elem::F32, &[1, 3, 6, 6].map(Dim::Fixed));
    let weights: Vec<f32> = (0..12).map(|index| (index * 7 % 5) as f32 * 0.3 - 0.5).collect();
    model.floats("w", &[4, 3, 1, 1], &weights);
    model.node("Conv", &["x", "w"], &["c"], &[]);
    rest(&mut model);
    model.output("y", Elem::F32, &[]);
    model.to_bytes()
}

fn ran(name: &str, onnx: &[u8]) -> Vec<Tensor> {
    match outcome(name, onnx) {
        Outcome::Ran(outputs) => outputs,
        Outcome::Refused(text) => panic!("{name}: {text}"),
    }
}

fn refused(name: &str, onnx: &[u8]) -> String {
    match outcome(name, onnx) {
        Outcome::Refused(text) => text,
        Outcome::Ran(outputs) => panic!("{name} runs and gives {:?}", outputs[0].shape),
    }
}

/// A node with integer lists for inputs after the first.
fn with_lists(model: &mut Model, op: &str, lists: &[&[i64]], attributes: &[(&str, Attr<'_>)]) {
    let names: Vec<String> = (0..lists.len()).map(|index| format!("l{index}")).collect();
    for (name, list) in names.iter().zip(lists) {
        model.longs(name, &[list.len() as i64], list);
    }
    let inputs: Vec<&str> = ["c"].into_iter().chain(names.iter().map(String::as_str)).collect();
    model.node(op, &inputs, &["y"], attributes);
}

#[test]
fn reshapes_and_slices_of_absurd_sizes() {
    let huge = 1_i64 << 40;
    let cases: [(&str, &[&[i64]]); 21] = [
        ("Reshape", &[&[huge, huge, -1]]),
        ("Reshape", &[&[huge, huge, huge, huge]]),
        ("Reshape", &[&[-1, -1]]),
        ("Reshape", &[&[-2, 3]]),
        ("Reshape", &[&[0, 0, 0, 0]]),
        ("Reshape", &[&[i64::MIN, i64::MAX]]),
        ("Reshape", &[&[2, 2, 2, 2, 3, 3, 1, 1, 1, 1]]),
        ("Reshape", &[&[1, 4, 36, 1, 1]]),
        ("Reshape", &[&[]]),
        ("Slice", &[&[0], &[i64::MAX], &[1], &[i64::MAX]]),
        ("Slice", &[&[i64::MIN], &[i64::MAX], &[-1], &[3]]),
        ("Slice", &[&[5], &[2], &[2]]),
        ("Slice", &[&[5], &[2], &[2], &[-1]]),
        ("Slice", &[&[-2], &[i64::MAX], &[-4]]),
        ("Slice", &[&[0], &[1], &[7]]),
        ("Slice", &[&[1, 1], &[3, 4], &[2, 3]]),
        ("Squeeze", &[&[0]]),
        ("Squeeze", &[&[1]]),
        ("Unsqueeze", &[&[0, 0]]),
        ("Unsqueeze", &[&[0, 2, -1, 3, 4]]),
        ("Expand", &[&[huge, 4, 6, 6]]),
    ];
    for (op, lists) in cases {
        outcome(&format!("{op} {lists:?}"), &after_conv(13, |model| with_lists(model, op, lists, &[])));
    }
    for lens in [&[2, 2][..], &[-1, 5], &[i64::MAX, 5], &[0, 4], &[4], &[1, 1, 1, 1]] {
        let split = after_conv(13, |model| {
            model.longs("lens", &[lens.len() as i64], lens);
            let outputs: Vec<String> = (0..lens.len().max(2)).map(|index| format!("p{index}")).collect();
            let names: Vec<&str> = outputs.iter().map(String::as_str).collect();
            model.node("Split", &["c", "lens"], &names, &[("axis", Attr::Int(1))]);
            model.node("Relu", &["p1"], &["y"], &[]);
        });
        outcome(&format!("Split {lens:?}"), &split);
    }
}

#[test]
fn windows_that_are_absurd() {
    let lists: [&[i64]; 6] = [&[3], &[], &[1, 1, 1], &[0, 0], &[-1, 2], &[2, 2]];
    for op in ["Conv", "MaxPool"] {
        for name in ["strides", "dilations", "kernel_shape", "pads"] {
            for list in lists.iter().copied().chain([&[-1, 0, 0, 0][..], &[1, 0, 2, 1]]) {
                let file = after_conv(13, |model| {
                    model.floats("v", &[4, 4, 2, 2], &[0.1; 64]);
                    let mut attributes = vec![("kernel_shape", Attr::Ints(&[2, 2]))];
                    attributes.retain(|(other, _)| *other != name);
                    attributes.push((name, Attr::Ints(list)));
                    let inputs: &[&str] = if op == "Conv" { &["c", "v"] } else { &["c"] };
                    model.node(op, inputs, &["y"], &attributes);
                });
                outcome(&format!("{op} {name} {list:?}"), &file);
            }
        }
    }
    for factors in [[1.0, 1.0, 2.0, 1e9], [1.0, 1.0, f32::NAN, 2.0], [1.0, 1.0, 0.0, 2.0], [1.0, 1.0, 64.0, 64.0]] {
        let file = after_conv(13, |model| {
            model.floats("s", &[4], &factors);
            model.node("Resize", &["c", "", "s"], &["y"], &[("mode", Attr::Text("nearest"))]);
        });
        outcome(&format!("Resize {factors:?}"), &file);
    }
}

/// QDQ around one convolution, with these scales, zero points and weights.
fn quantized(scales: [f32; 3], zeros: [u8; 2], weights: &[u8], bias: &[i32]) -> Vec<u8> {
    let mut model = Model::new(13);
    model.input("x", Elem::F32, &[1, 3, 4, 4].map(Dim::Fixed));
    model.output("y", Elem::F32, &[1, 2, 4, 4].map(Dim::Fixed));
    model.floats("xs", &[], &scales[..1]);
    model.constant("xz", Elem::U8, &[], &zeros[..1]);
    model.constant("w", Elem::I8, &[2, 3, 1, 1], weights);
    model.floats("ws", &[], &scales[1..2]);
    model.constant("wz", Elem::I8, &[], &[0]);
    model.constant("b", Elem::I32, &[2], &bias.iter().flat_map(|b| b.to_le_bytes()).collect::<Vec<_>>());
    model.floats("bs", &[], &[scales[0] * scales[1]]);
    model.floats("ys", &[], &scales[2..]);
    model.constant("yz", Elem::U8, &[], &zeros[1..]);
    model.node("QuantizeLinear", &["x", "xs", "xz"], &["xq"], &[]);
    model.node("DequantizeLinear", &["xq", "xs", "xz"], &["xd"], &[]);
    model.node("DequantizeLinear", &["w", "ws", "wz"], &["wd"], &[]);
    model.node("DequantizeLinear", &["b", "bs"], &["bd"], &[]);
    model.node("Conv", &["xd", "wd", "bd"], &["r"], &[]);
    model.node("QuantizeLinear", &["r", "ys", "yz"], &["yq"], &[]);
    model.node("DequantizeLinear", &["yq", "ys", "yz"], &["y"], &[]);
    model.to_bytes()
}

#[test]
fn scales_zero_points_weights_and_biases_at_their_ends() {
    let weights = [128, 127, 0, 255, 1, 128];
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0, -0.01] {
        for place in 0..3 {
            let mut scales = [0.01, 0.01, 0.02];
            scales[place] = bad;
            let text = refused(&format!("{bad} at {place}"), &quantized(scales, [3, 100], &weights, &[5, -5]));
            assert!(text.contains("scale"), "{text}");
        }
    }
    for odd in [1e-40, f32::MIN_POSITIVE, 1e-30, 1e-10, 1e10, 1e30, f32::MAX] {
        for place in 0..3 {
            let mut scales = [0.01, 0.01, 0.02];
            scales[place] = odd;
            outcome(&format!("{odd} at {place}"), &quantized(scales, [3, 100], &weights, &[5, -5]));
        }
    }
    for zeros in [[0, 0], [255, 255], [0, 255], [128, 127]] {
        for bias in [[0, 0], [i32::MAX, i32::MIN], [1 << 30, -(1 << 30)], [100, -100]] {
            ran(&format!("{zeros:?} {bias:?}"), &quantized([0.01, 0.01, 0.02], zeros, &weights, &bias));
            ran(&format!("fine {zeros:?} {bias:?}"), &quantized([0.01, 0.01, 1e-5], zeros, &[128; 6], &bias));
        }
    }
}

#[test]
fn one_tensor_read_in_many_ways_and_outputs_in_the_middle() {
    let file = after_conv(13, |model| {
        model.output("c", Elem::F32, &[]);
        model.output("s", Elem::F32, &[]);
        model.node("Sigmoid", &["c"], &["s"], &[]);
        model.node("Mul", &["c", "s"], &["silu"], &[]);
        model.node("Add", &["c", "c"], &["twice"], &[]);
        model.node("Mul", &["c", "c"], &["square"], &[]);
        model.node("Concat", &["c", "silu", "c", "twice", "square", "silu"], &["all"], &[("axis", Attr::Int(-3))]);
        model.node("MaxPool", &["all"], &["pooled"], &[("kernel_shape", Attr::Ints(&[1, 1]))]);
        model.node("Concat", &["all", "pooled", "all"], &["more"], &[("axis", Attr::Int(2))]);
        model.node("Transpose", &["more"], &["turned"], &[]);
        model.node("Sub", &["turned", "turned"], &["zero"], &[]);
        model.node("Add", &["zero", "turned"], &["y"], &[]);
    });
    let outputs = ran("many readers", &file);
    assert_eq!(outputs.iter().map(|output| output.shape.clone()).collect::<Vec<_>>()[2], [6, 18, 24, 1]);
    let repeated = after_conv(13, |model| {
        model.node("Relu", &["c"], &["y"], &[]);
        model.output("y", Elem::F32, &[]);
        model.output("y", Elem::F32, &[]);
    });
    outcome("an output three times", &repeated);
    let of_input = after_conv(13, |model| {
        model.node("Concat", &["c", "x"], &["both"], &[("axis", Attr::Int(1))]);
        model.node("Relu", &["both"], &["y"], &[]);
    });
    ran("the input beside a convolution", &of_input);
}

#[test]
fn operators_without_inputs_and_with_types_of_their_own() {
    for op in ["Concat", "Add", "Relu", "MaxPool", "Split", "Reshape", "Transpose", "MatMul", "Softmax", "Conv", "Clip"]
    {
        outcome(&format!("{op} of nothing"), &after_conv(13, |model| drop(model.node(op, &[], &["y"], &[]))));
        outcome(&format!("{op} of c"), &after_conv(13, |model| drop(model.node(op, &["c"], &["y"], &[]))));
    }
    let mut bytes = Model::new(13);
    bytes.input("x", Elem::U8, &[1, 3, 6, 6].map(Dim::Fixed));
    bytes.floats("w", &[3, 3, 1, 1], &[0.25, -0.5, 1.0, 0.1, 0.2, 0.3, 0.0, 0.5, -1.0]);
    bytes.node("Cast", &["x"], &["f"], &[("to", Attr::Int(Elem::F32 as i64))]);
    bytes.node("Conv", &["f", "w"], &["c"], &[]);
    bytes.node("MaxPool", &["x"], &["p"], &[("kernel_shape", Attr::Ints(&[1, 1]))]);
    bytes.node("Cast", &["p"], &["g"], &[("to", Attr::Int(Elem::F32 as i64))]);
    bytes.node("Add", &["c", "g"], &["y"], &[]);
    bytes.output("y", Elem::F32, &[]);
    ran("bytes beside floats", &bytes.to_bytes());
}

/// Before operator set 13 a softmax's row was all from its axis on.
#[test]
fn softmax_as_the_operator_set_says() {
    for opset in [11, 12, 13, 17] {
        for axis in [None, Some(1), Some(2), Some(3), Some(-1), Some(-2)] {
            let file = after_conv(opset, |model| {
                let attribute = axis.map(|axis| ("axis", Attr::Int(axis)));
                drop(model.node("Softmax", &["c"], &["y"], attribute.as_slice()));
            });
            ran(&format!("softmax {opset} {axis:?}"), &file);
        }
    }
}

#[test]
fn long_chains_and_concatenations_of_concatenations() {
    for op in ["Add", "Relu", "Concat", "Transpose", "MaxPool"] {
        let count = if op == "Concat" { 12 } else { 350 };
        let file = after_conv(13, |model| {
            let mut last = "c".to_owned();
            for index in 0..count {
                let name = if index + 1 == count { "y".to_owned() } else { format!("n{index}") };
                let pool = [("kernel_shape", Attr::Ints(&[1, 1]))];
                last = match op {
                    "Add" => model.node(op, &[&last, "c"], &[&name], &[]),
                    "Concat" => model.node(op, &[&last, &last], &[&name], &[("axis", Attr::Int(1))]),
                    "MaxPool" => model.node(op, &[&last], &[&name], &pool),
                    _ => model.node(op, &[&last], &[&name], &[]),
                };
            }
        });
        let start = std::time::Instant::now();
        outcome(&format!("{count} times {op}"), &file);
        assert!(start.elapsed().as_secs() < 20, "{op} takes {:?}", start.elapsed());
    }
}
