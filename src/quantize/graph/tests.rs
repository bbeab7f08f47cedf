//! Small graphs, one for each thing that YOLOs are made of, read and written again.

#[path = "../../../tests/util/onnx.rs"]
#[allow(clippy::duplicate_mod, reason = "the engine's tests have it as well, out of reach from here")]
#[allow(dead_code, unreachable_pub, reason = "integration tests use what these do not")]
mod onnx;

use std::fs;

use super::*;
use crate::engine::{
    Session, Settings,
    proto::{Message, ModelProto, float_tensor, floats},
};
use onnx::{Attr, Dim, Elem, Model};

const SIDE: i64 = 12;

/// Numbers between -1 and 1 that look random and are the same each time.
fn numbers(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// A model in the making, from one picture of three channels on.
struct Net {
    model: Model,
    count: u64,
}

impl Net {
    fn new(opset: i64) -> Self {
        let mut model = Model::new(opset);
        model.input("images", Elem::F32, &[1, 3, SIDE, SIDE].map(Dim::Fixed));
        model.metadata("names", "{0: 'crack'}");
        Self { model, count: 0 }
    }

    fn node(&mut self, op: &str, inputs: &[&str], attributes: &[(&str, Attr<'_>)]) -> String {
        self.count += 1;
        let output = format!("{}{}", op.to_lowercase(), self.count);
        self.model.node(op, inputs, &[&output], attributes)
    }

    /// A convolution with a bias that keeps the size.
    fn conv(&mut self, input: &str, [outputs, inner, kernel]: [i64; 3], group: i64) -> String {
        let seed = self.count + 1;
        let [weights, bias] = ["weights", "bias"].map(|what| format!("{what}{seed}"));
        let values = numbers(seed, (outputs * inner * kernel * kernel) as usize);
        self.model.floats(&weights, &[outputs, inner, kernel, kernel], &values);
        self.model.floats(&bias, &[outputs], &numbers(seed + 100, outputs as usize));
        let pad = kernel / 2;
        let attributes = [("group", Attr::Int(group)), ("pads", Attr::Ints(&[pad, pad, pad, pad]))];
        self.node("Conv", &[input, &weights, &bias], &attributes)
    }

    fn silu(&mut self, input: &str) -> String {
        let gate = self.node("Sigmoid", &[input], &[]);
        self.node("Mul", &[input, &gate], &[])
    }

    fn conv_silu(&mut self, input: &str, shape: [i64; 3]) -> String {
        let conv = self.conv(input, shape, 1);
        self.silu(&conv)
    }

    /// The file, with an output of so many channels.
    fn finish(mut self, output: &str, channels: i64, side: i64) -> Vec<u8> {
        self.model.output(output, Elem::F32, &[1, channels, side, side].map(Dim::Fixed));
        self.model.to_bytes()
    }
}

fn read(bytes: &[u8]) -> Result<FloatModel> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    fs::write(&path, bytes).unwrap();
    FloatModel::read(&path)
}

fn load(bytes: &[u8]) -> Session {
    Session::from_bytes("model", bytes, &Settings { threads: Some(1), ..Settings::default() }).unwrap()
}

fn pictures() -> Vec<Vec<f32>> {
    (1..4).map(|seed| numbers(seed, 3 * (SIDE * SIDE) as usize).iter().map(|x| x.abs()).collect()).collect()
}

/// The lowest and the highest numbers of tensors on all pictures.
fn ranges(model: &FloatModel, tensors: &[&str]) -> Vec<[f32; 2]> {
    let mut session = load(&model.exposing(tensors).unwrap());
    let mut ranges = vec![[f32::INFINITY, f32::NEG_INFINITY]; tensors.len()];
    for picture in pictures() {
        let outputs = session.run(&picture).unwrap();
        let names: Vec<&str> = session.outputs().iter().map(|spec| spec.name.as_str()).collect();
        for (range, tensor) in ranges.iter_mut().zip(tensors) {
            // An input is no output of any session.
            let data = names.iter().position(|name| name == tensor).map_or(&picture, |at| &outputs[at].data);
            *range = data.iter().fold(*range, |[low, high], x| [low.min(*x), high.max(*x)]);
        }
    }
    ranges
}

/// A recipe from the lowest and highest numbers; with `early` functions become tables.
fn recipe(model: &FloatModel, early: bool) -> Recipe {
    let tensors: Vec<&str> = model.activations().iter().map(|activation| activation.tensor.as_str()).collect();
    let mut groups = vec![[0.0_f32; 2]; model.groups()];
    for (activation, [low, high]) in model.activations().iter().zip(ranges(model, &tensors)) {
        let group = &mut groups[activation.group];
        *group = [group[0].min(low), group[1].max(high)];
    }
    let outputs: Vec<&str> = model.convolutions().iter().map(|conv| conv.output.as_str()).collect();
    let outputs = if early { ranges(model, &outputs).into_iter().map(Some).collect() } else { Vec::new() };
    Recipe { ranges: groups, outputs, ..Recipe::default() }
}

/// How much louder the float model's answer is than its difference to another's, as a ratio of squares.
fn agreement(model: &FloatModel, other: &[u8]) -> f32 {
    let (mut exact, mut rough) = (load(&model.exposing(&[]).unwrap()), load(other));
    let (mut signal, mut noise) = (0.0, 0.0);
    for picture in pictures() {
        let [exact, rough] = [&mut exact, &mut rough].map(|session| session.run(&picture).unwrap().remove(0).data);
        signal += exact.iter().map(|x| x * x).sum::<f32>();
        noise += exact.iter().zip(&rough).map(|(a, b)| (a - b) * (a - b)).sum::<f32>();
    }
    signal / noise
}

/// Whether all convolutions run in int8 and answer what the float model does, whether functions are tables or not.
fn check(bytes: &[u8]) -> FloatModel {
    let model = read(bytes).unwrap();
    for early in [false, true] {
        let bytes = model.quantized(&recipe(&model, early)).unwrap();
        let report = load(&bytes).report();
        assert_eq!((report.int8_convolutions, report.quantization.as_str()), (report.convolutions, "QDQ"));
        let agreement = agreement(&model, &bytes);
        assert!(agreement > 300.0, "{agreement} (functions are tables: {early})");
    }
    model
}

fn tensors(model: &FloatModel) -> Vec<(&str, usize)> {
    model.activations().iter().map(|activation| (activation.tensor.as_str(), activation.group)).collect()
}

#[test]
fn a_quantizer_stands_behind_the_function_of_a_convolution() {
    let mut net = Net::new(17);
    let first = net.conv_silu("images", [8, 3, 3]);
    let second = net.conv(&first, [8, 8, 1], 1);
    let relu = net.node("Relu", &[&second], &[]);
    let leaky = net.conv(&relu, [8, 1, 3], 8);
    let leaky = net.node("LeakyRelu", &[&leaky], &[("alpha", Attr::Float(0.25))]);
    let last = net.conv(&leaky, [4, 8, 1], 1);
    let model = check(&net.finish(&last, 4, SIDE));
    assert_eq!(tensors(&model), [("images", 0), ("mul3", 1), ("relu5", 2), ("leakyrelu7", 3)]);
    assert!(model.activations()[0].is_input && !model.activations()[1].is_input);
    let about: Vec<_> = model.convolutions().iter().map(|conv| (conv.function, conv.groups, conv.is_last)).collect();
    let leaky = Function::LeakyRelu { slope: 0.25 };
    let expected = [(Function::Silu, 1, false), (Function::Relu, 1, false), (leaky, 8, false)];
    assert_eq!((&about[..3], about[3]), (&expected[..], (Function::Linear, 1, true)));
    assert_eq!(model.convolutions()[0].macs, 8 * 3 * 9 * 144);
}

#[test]
fn what_calibration_looks_at_is_computed_by_kernels_that_agree_everywhere() {
    let model = read(&pair(17)).unwrap();
    let activations = model.activations().iter().map(|activation| activation.tensor.as_str());
    let tensors: Vec<&str> = activations.chain(model.convolutions().iter().map(|conv| conv.output.as_str())).collect();
    let report = load(&model.exposing(&tensors).unwrap()).report();
    assert_eq!(report.left_to_tract, []);
}

#[test]
fn sums_and_concatenations_read_floats() {
    let mut net = Net::new(17);
    let first = net.conv_silu("images", [8, 3, 1]);
    let [a, b] = ["a", "b"];
    net.model.longs("halves", &[2], &[4, 4]);
    net.model.node("Split", &[&first, "halves"], &[a, b], &[("axis", Attr::Int(1))]);
    let inner = net.conv_silu(b, [4, 4, 3]);
    let sum = net.node("Add", &[b, &inner], &[]);
    let all = net.node("Concat", &[a, b, &sum], &[("axis", Attr::Int(1))]);
    let last = net.conv(&all, [4, 12, 1], 1);
    let model = check(&net.finish(&last, 4, SIDE));
    assert_eq!(tensors(&model), [("images", 0), ("b", 1), ("concat8", 2)]);
}

#[test]
fn what_only_moves_numbers_has_one_scale() {
    let mut net = Net::new(17);
    let first = net.conv_silu("images", [8, 3, 1]);
    let attributes = [("kernel_shape", Attr::Ints(&[2, 2])), ("strides", Attr::Ints(&[2, 2]))];
    let pool = net.node("MaxPool", &[&first], &attributes);
    let second = net.conv_silu(&pool, [8, 8, 1]);
    net.model.floats("twice", &[4], &[1.0, 1.0, 2.0, 2.0]);
    let attributes = [
        ("mode", Attr::Text("nearest")),
        ("coordinate_transformation_mode", Attr::Text("asymmetric")),
        ("nearest_mode", Attr::Text("floor")),
    ];
    let large = net.node("Resize", &[&second, "", "twice"], &attributes);
    let last = net.conv(&large, [4, 8, 3], 1);
    let model = check(&net.finish(&last, 4, SIDE));
    let expected = [("images", 0), ("mul3", 1), ("maxpool4", 1), ("mul7", 2), ("resize8", 2)];
    assert_eq!(tensors(&model), expected);
}

#[test]
fn a_split_of_which_all_is_quantized_is_quantized_before() {
    let mut net = Net::new(17);
    let first = net.conv_silu("images", [8, 3, 1]);
    net.model.longs("halves", &[2], &[4, 4]);
    net.model.node("Split", &[&first, "halves"], &["a", "b"], &[("axis", Attr::Int(1))]);
    let [a, b] = ["a", "b"].map(|half| net.conv(half, [4, 4, 1], 1));
    let sum = net.node("Add", &[&a, &b], &[]);
    let model = check(&net.finish(&sum, 4, SIDE));
    assert_eq!(tensors(&model), [("images", 0), ("mul3", 1), ("a", 1), ("b", 1)]);
}

#[test]
fn what_is_read_as_a_shape_is_no_activation() {
    let mut net = Net::new(17);
    let first = net.conv_silu("images", [8, 3, 1]);
    net.model.longs("batch", &[1], &[0]);
    net.model.longs("picture", &[3], &[8, SIDE, SIDE]);
    let shape = net.node("Shape", &[&first], &[]);
    let batch = net.node("Gather", &[&shape, "batch"], &[]);
    let shape = net.node("Concat", &[&batch, "picture"], &[("axis", Attr::Int(0))]);
    let shaped = net.node("Reshape", &[&first, &shape], &[]);
    let last = net.conv(&shaped, [4, 8, 3], 1);
    let model = read(&net.finish(&last, 4, SIDE)).unwrap();
    assert_eq!(tensors(&model), [("images", 0), ("mul3", 1), (&*shaped, 1)]);
    assert!(agreement(&model, &model.quantized(&recipe(&model, false)).unwrap()) > 300.0);
}

#[test]
fn decoding_of_boxes_and_grouped_convolutions_stay_in_float() {
    let mut net = Net::new(17);
    let first = net.conv("images", [8, 3, 1], 1);
    let grouped = net.conv(&first, [8, 4, 1], 2);
    let softmax = net.node("Softmax", &[&grouped], &[("axis", Attr::Int(1))]);
    let turned = net.node("Transpose", &[&softmax], &[("perm", Attr::Ints(&[0, 1, 3, 2]))]);
    let last = net.conv(&turned, [1, 8, 1], 1);
    let model = read(&net.finish(&last, 1, SIDE)).unwrap();
    assert_eq!(tensors(&model), [("images", 0)]);
    let inputs: Vec<_> = model.convolutions().iter().map(|conv| conv.input).collect();
    assert_eq!(inputs, [Some(0), None, None]);
    assert!(model.convolutions()[0].is_last, "nothing in int8 comes of it");
    assert!(agreement(&model, &model.quantized(&recipe(&model, true)).unwrap()) > 300.0);
}

/// Two convolutions with a SiLU in between.
fn pair(opset: i64) -> Vec<u8> {
    let mut net = Net::new(opset);
    let first = net.conv_silu("images", [8, 3, 3]);
    let last = net.conv(&first, [4, 8, 1], 1);
    net.finish(&last, 4, SIDE)
}

#[test]
fn the_same_recipe_gives_the_same_bytes_and_keeps_the_metadata() {
    let first = read(&pair(17)).unwrap();
    let recipe = recipe(&first, true);
    let bytes = first.quantized(&recipe).unwrap();
    assert_eq!(bytes, read(&pair(17)).unwrap().quantized(&recipe).unwrap());
    let session = load(&bytes);
    assert_eq!(session.metadata()["names"], "{0: 'crack'}");
    assert_eq!((session.report().opset, session.report().operators["QuantizeLinear"]), (17, 3));
}

#[test]
fn convolutions_are_left_in_float_where_a_recipe_says_so() {
    let model = read(&pair(17)).unwrap();
    let all = recipe(&model, true);
    let rough = agreement(&model, &model.quantized(&all).unwrap());
    let some = model.quantized(&Recipe { float: BTreeSet::from([0]), ..all.clone() }).unwrap();
    assert_eq!(load(&some).report().int8_convolutions, 1);
    assert!(agreement(&model, &some) > rough);
    let none = model.quantized(&Recipe { float: BTreeSet::from([0, 1]), ..all }).unwrap();
    assert_eq!(load(&none).report().quantization, "float");
    assert!(agreement(&model, &none) > 1e9);
}

#[test]
fn a_recipe_may_say_scales_roundings_and_biases() {
    let model = read(&pair(17)).unwrap();
    let exact = recipe(&model, false);
    let whole = |weight: i8| vec![weight; model.weights(0).0.len()];
    let given = Recipe {
        weight_scales: vec![Some(vec![0.5; 8])],
        whole_weights: vec![Some(whole(2))],
        biases: vec![Some(vec![0.25; 8])],
        ..exact.clone()
    };
    let mut same = model.clone();
    same.set_weights(0, vec![1.0; model.weights(0).0.len()], Some(vec![0.25; 8]));
    let ranges = recipe(&same, false).ranges;
    assert!(agreement(&same, &model.quantized(&Recipe { ranges, ..given.clone() }).unwrap()) > 300.0);
    for bad in [
        Recipe { ranges: vec![[0.0, 1.0]], ..given.clone() },
        Recipe { ranges: vec![[0.0, f32::NAN]; 2], ..given.clone() },
        Recipe { ranges: vec![[-3e38, 3e38]; 2], ..given.clone() },
        Recipe { outputs: vec![Some([-3e38, 3e38])], ..given.clone() },
        Recipe { weight_scales: vec![Some(vec![0.0; 8])], ..given.clone() },
        Recipe { biases: vec![Some(vec![0.0; 7])], ..given.clone() },
        Recipe { whole_weights: vec![Some(vec![1])], ..given },
    ] {
        assert!(model.quantized(&bad).is_err(), "{bad:?}");
    }
    assert!(model.exposing(&["nothing"]).unwrap_err().to_string().contains("nothing"));
}

#[test]
fn channels_in_which_nothing_happens_do_not_cost_the_others_their_int8() {
    let mut model = read(&pair(17)).unwrap();
    let (mut weights, mut bias) = (model.weights(0).0.to_vec(), model.weights(0).1.unwrap().to_vec());
    weights[..27].fill(0.0);
    weights[27..54].fill(1e-39);
    (bias[0], bias[1]) = (0.7, 1e4);
    model.set_weights(0, weights, Some(bias));
    let bytes = model.quantized(&recipe(&model, false)).unwrap();
    assert_eq!(load(&bytes).report().int8_convolutions, 2);
    assert!(agreement(&model, &bytes) > 300.0);
}

#[test]
fn a_normalization_behind_a_convolution_becomes_part_of_it() {
    let mut net = Net::new(17);
    let conv = net.conv("images", [8, 3, 3], 1);
    let names = ["scale", "shift", "mean", "variance"];
    for (seed, name) in (50..).zip(names) {
        let lift = if name == "variance" { 1.5 } else { 0.0 };
        let values: Vec<f32> = numbers(seed, 8).iter().map(|x| x + lift).collect();
        net.model.floats(name, &[8], &values);
    }
    let [scale, shift, mean, variance] = names;
    let normal = net.node("BatchNormalization", &[&conv, scale, shift, mean, variance], &[]);
    let relu = net.node("Relu", &[&normal], &[]);
    let last = net.conv(&relu, [4, 8, 1], 1);
    let bytes = net.finish(&last, 4, SIDE);
    let model = check(&bytes);
    assert!(!load(&model.exposing(&[]).unwrap()).report().operators.contains_key("BatchNormalization"));
    assert!(agreement(&model, &bytes) > 1e9);
    assert_eq!((model.convolutions()[0].function, model.convolutions()[0].output.as_str()), (Function::Relu, &*normal));
}

#[test]
fn convolutions_that_share_weights_get_their_own() {
    let mut net = Net::new(17);
    net.model.floats("shared", &[3, 3, 1, 1], &numbers(9, 9));
    let first = net.node("Conv", &["images", "shared"], &[]);
    let relu = net.node("Relu", &[&first], &[]);
    let last = net.node("Conv", &[&relu, "shared"], &[]);
    let mut model = check(&net.finish(&last, 3, SIDE));
    let before = model.weights(1).0.to_vec();
    model.set_weights(0, vec![0.5; 9], Some(vec![0.1; 3]));
    assert_eq!(model.weights(1), (&before[..], None));
    let bytes = model.quantized(&recipe(&model, false)).unwrap();
    assert!(agreement(&model, &bytes) > 300.0, "the new bias has become an input of the convolution");
}

#[test]
fn weights_of_a_dynamic_file_are_dequantized() {
    let mut net = Net::new(17);
    let whole: Vec<u8> = (0..24).map(|value| value * 10).collect();
    net.model.constant("whole", Elem::U8, &[8, 3, 1, 1], &whole);
    net.model.constant("zero", Elem::U8, &[], &[120]);
    net.model.floats("step", &[1], &[0.01]);
    net.model.node("DynamicQuantizeLinear", &["images"], &["codes", "scale", "zero_point"], &[]);
    let sums = net.node("ConvInteger", &["codes", "whole", "zero_point", "zero"], &[]);
    let sums = net.node("Cast", &[&sums], &[("to", Attr::Int(1))]);
    let scale = net.node("Mul", &["scale", "step"], &[]);
    let product = net.node("Mul", &[&sums, &scale], &[]);
    let act = net.silu(&product);
    let last = net.conv(&act, [4, 8, 1], 1);
    let model = check(&net.finish(&last, 4, SIDE));
    let expected: Vec<f32> = whole.iter().map(|value| (f32::from(*value) - 120.0) * 0.01).collect();
    assert_eq!(model.weights(0), (&expected[..], None));
}

#[test]
fn files_that_cannot_be_quantized_say_what_to_do() {
    let model = read(&pair(17)).unwrap();
    let quantized = model.quantized(&recipe(&model, false)).unwrap();
    let cause = read(&quantized).unwrap_err().to_string();
    assert!(cause.contains("quantized already (QDQ); take the float export"), "{cause}");
    let cause = read(&pair(10)).unwrap_err().to_string();
    assert!(cause.contains("export it with opset 13"), "{cause}");
    let mut net = Net::new(17);
    let relu = net.node("Relu", &["images"], &[]);
    let cause = read(&net.finish(&relu, 3, SIDE)).unwrap_err().to_string();
    assert!(cause.contains("no convolution"), "{cause}");
    assert!(read(b"no model").unwrap_err().to_string().contains("no ONNX"));
}

#[test]
fn an_older_operator_set_is_raised() {
    let mut net = Net::new(11);
    let first = net.conv_silu("images", [8, 3, 1]);
    let attributes = [("axis", Attr::Int(1)), ("split", Attr::Ints(&[4, 4]))];
    net.model.node("Split", &[&first], &["a", "b"], &attributes);
    let wide = net.node("Unsqueeze", &["b"], &[("axes", Attr::Ints(&[0]))]);
    let narrow = net.node("Squeeze", &[&wide], &[("axes", Attr::Ints(&[0]))]);
    let sum = net.node("Add", &["a", &narrow], &[]);
    let soft = net.node("Softmax", &[&sum], &[("axis", Attr::Int(3))]);
    let last = net.conv(&sum, [4, 4, 1], 1);
    let last = net.node("Add", &[&last, &soft], &[]);
    let bytes = net.finish(&last, 4, SIDE);
    let model = check(&bytes);
    assert!(agreement(&model, &bytes) > 1e9);
    assert_eq!(load(&model.exposing(&[]).unwrap()).report().opset, 13);
    let mut net = Net::new(11);
    let soft = net.node("Softmax", &["images"], &[("axis", Attr::Int(1))]);
    let last = net.conv(&soft, [4, 3, 1], 1);
    let cause = read(&net.finish(&last, 4, SIDE)).unwrap_err().to_string();
    assert!(cause.contains("over several dimensions"), "{cause}");
}

#[test]
fn nodes_of_one_name_and_names_that_are_taken_get_along() {
    let mut net = Net::new(11);
    let first = net.conv_silu("images", [8, 3, 1]);
    // A file may hold a tensor of any name, even of one that a new constant would get.
    let wide = net.model.node("Unsqueeze", &[&first], &["wide"], &[("axes", Attr::Ints(&[0]))]);
    let taken = net.model.node("Unsqueeze", &[&wide], &["narrow.axes"], &[("axes", Attr::Ints(&[5]))]);
    let narrow = net.model.node("Squeeze", &[&taken], &["narrow"], &[("axes", Attr::Ints(&[0, 5]))]);
    let last = net.conv(&narrow, [4, 8, 1], 1);
    let bytes = net.finish(&last, 4, SIDE);
    let mut proto = ModelProto::decode(&*bytes).unwrap();
    for node in &mut proto.graph.as_mut().unwrap().node {
        node.name = "node".to_owned();
    }
    let model = read(&proto.encode_to_vec()).unwrap();
    assert!(agreement(&model, &bytes) > 1e9);
}

#[test]
fn convolutions_with_constants_that_are_not_finite_are_refused() {
    for (constant, what) in [("weights1", "weights"), ("bias1", "a bias"), ("variance", "weights")] {
        let mut net = Net::new(17);
        let conv = net.conv("images", [8, 3, 1], 1);
        for name in ["scale", "shift", "mean", "variance"] {
            net.model.floats(name, &[8], &[1.0; 8]);
        }
        let normal = net.node("BatchNormalization", &[&conv, "scale", "shift", "mean", "variance"], &[]);
        let last = net.conv(&normal, [4, 8, 1], 1);
        let mut proto = ModelProto::decode(&*net.finish(&last, 4, SIDE)).unwrap();
        let mut constants = proto.graph.as_mut().unwrap().initializer.iter_mut();
        let damaged = constants.find(|one| one.name == constant).unwrap();
        let number = if constant == "variance" { -2.0_f32 } else { f32::NAN };
        *damaged = float_tensor(constant, &damaged.dims, &vec![number; floats(damaged).unwrap().len()]);
        let cause = read(&proto.encode_to_vec()).unwrap_err().to_string();
        assert!(cause.contains(&format!("has {what} with numbers that are not finite")), "{constant}: {cause}");
    }
}

#[test]
fn half_floats_become_floats() {
    let mut model = Model::new(17);
    model.input("images", Elem::F16, &[1, 3, SIDE, SIDE].map(Dim::Fixed));
    model.constant("weights", Elem::F16, &[2, 3, 1, 1], &[0x00, 0x38].repeat(6));
    model.node("Conv", &["images", "weights"], &["conv"], &[]);
    model.output("conv", Elem::F16, &[1, 2, SIDE, SIDE].map(Dim::Fixed));
    let model = check(&model.to_bytes());
    assert_eq!(model.weights(0), (&[0.5_f32; 6][..], None));
}

#[test]
fn a_file_is_written_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    save(&path, b"old").unwrap();
    save(&path, b"new").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"new");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    let cause = save(&folder.path().join("missing/model.onnx"), b"new").unwrap_err().to_string();
    assert!(cause.contains("there is no folder"), "{cause}");
}
