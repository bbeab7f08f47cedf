//! The same tensor through andon and through onnxruntime.

use std::{
    fs,
    path::{Path, PathBuf},
};

use andon::{
    engine::{Session, Settings, Tensor},
    geometry::BoxPx,
};

use crate::util::npy;

/// Runs every folder that `tests/peers/ort.py` wrote, and compares with onnxruntime's answers.
#[test]
fn agrees_with_onnxruntime() {
    let Some(folder) = std::env::var_os("ANDON_ORT_DIR") else {
        println!("skipped: ANDON_ORT_DIR names no folder that tests/peers/ort.py wrote");
        return;
    };
    let mut cases: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(!cases.is_empty(), "tests/peers/ort.py wrote nothing");
    let mut failures = Vec::new();
    for case in &cases {
        let name = case.file_name().unwrap().display();
        match compare(case) {
            Ok(line) => println!("{name}: {line}"),
            Err(cause) => failures.push(format!("{name}: {cause}")),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Loads every model of the test assets and runs it.
#[test]
fn every_model_of_the_assets_runs() {
    let Some(folder) = std::env::var_os("ANDON_TEST_ASSETS") else {
        println!("skipped: ANDON_TEST_ASSETS names no folder with models/*.onnx");
        return;
    };
    let entries = fs::read_dir(Path::new(&folder).join("models")).unwrap().map(|entry| entry.unwrap().path());
    let models: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|end| end == "onnx")).collect();
    assert!(!models.is_empty());
    for path in models {
        let mut session = Session::load(&path, &Settings::default()).unwrap();
        let report = session.report();
        let kinds = [("-dynamic", "dynamic"), ("-qdq", "QDQ"), ("-qoperator", "QOperator"), ("", "float")];
        let kind = kinds.iter().find(|(part, _)| session.name().contains(part)).unwrap().1;
        assert_eq!(report.quantization, kind, "{}", session.name());
        assert!(report.convolutions >= 64, "{report:?}");
        let outputs = session.run(&vec![0.5; session.input().shape.iter().product()]).unwrap();
        for (output, spec) in outputs.iter().zip(session.outputs()) {
            assert_eq!(output.shape, spec.shape);
            assert!(output.data.iter().all(|number| number.is_finite()), "{}", session.name());
        }
    }
}

/// What may differ: pixels or overlap of boxes, confidence, and from which confidence on detections are compared.
struct Limits {
    box_px: Option<f32>,
    iou: f32,
    confidence: f32,
    from: f32,
}

fn compare(case: &Path) -> Result<String, String> {
    let model = fs::read_to_string(case.join("model.txt")).map_err(|cause| cause.to_string())?;
    let input = npy::read(&case.join("input.npy"));
    let isa = std::env::var("ANDON_ISA").ok();
    let settings = Settings { threads: Some(1), input_size: Some([input.shape[2], input.shape[3]]), isa };
    let mut session = Session::load(Path::new(model.trim()), &settings).map_err(|cause| cause.to_string())?;
    assert_eq!(session.input().shape, input.shape);
    let outputs = session.run(&input.data).map_err(|cause| format!("{cause:#}"))?;
    let quantization = session.report().quantization;
    let mut line = quantization.clone();
    for (index, ours) in outputs.iter().enumerate() {
        let theirs = npy::read(&case.join(format!("output{index}.npy")));
        if ours.shape != theirs.shape || ours.shape != session.outputs()[index].shape {
            return Err(format!("output {index} has the shape {:?}, not {:?}", ours.shape, theirs.shape));
        }
        // An end-to-end head sorts its rows, and rows of nearly equal confidence change places.
        if !is_end_to_end(ours) {
            let is_float = quantization == "float";
            line += &format!(", output {index}: {}", compare_numbers(ours, &theirs, is_float)?);
        }
        let limits = match quantization.as_str() {
            "float" => Limits { box_px: Some(0.5), iou: 0.0, confidence: 0.005, from: 0.01 },
            "dynamic" => Limits { box_px: None, iou: 0.85, confidence: 0.3, from: 0.5 },
            // QOperator is the same up to the first softmax, where a last bit may be rounded the other way and change
            // what is rounded after it, layer by layer. Of QDQ, onnxruntime runs most convolutions in float, with its
            // kernels' own last bits: with its scales changed by 1e-7 it differs from itself as much as from this.
            _ => Limits { box_px: None, iou: 0.9, confidence: 0.1, from: 0.5 },
        };
        if let (Some(ours), Some(theirs)) = (Found::read(ours), Found::read(&theirs)) {
            line += &format!(", {}", compare_found(&ours, &theirs, &limits)?);
        }
    }
    Ok(line)
}

/// Holds every number of a float model, and the mean of a quantized one, to a part of its own size or of one: pixels are
/// in the hundreds, scores below one.
fn compare_numbers(ours: &Tensor, theirs: &Tensor, is_float: bool) -> Result<String, String> {
    const FLOAT_OFF_MAX: f32 = 1e-3;
    const QUANTIZED_OFF_MEAN: f32 = 0.05;
    let off = |(a, b): (&f32, &f32)| (a - b).abs() / b.abs().max(1.0);
    let all = || ours.data.iter().zip(&theirs.data).map(off);
    let (worst, mean) = (all().fold(0.0, f32::max), all().sum::<f32>() / ours.data.len() as f32);
    let is_right = if is_float { worst <= FLOAT_OFF_MAX } else { mean <= QUANTIZED_OFF_MEAN };
    let text = format!("numbers differ by at most {worst:.1e}, {mean:.1e} in the mean");
    if is_right { Ok(text) } else { Err(text) }
}

fn is_end_to_end(output: &Tensor) -> bool {
    output.shape.len() == 3 && output.shape[1] == 300
}

/// A box with the best class.
struct Found {
    bounds: BoxPx,
    class: usize,
    confidence: f32,
}

impl Found {
    /// The candidates in the outputs that are compared here; `None` for other layouts.
    fn read(output: &Tensor) -> Option<Vec<Self>> {
        let &[1, rows, columns] = output.shape.as_slice() else { return None };
        if is_end_to_end(output) && columns == 6 {
            let found = output.data.chunks(6).map(|row| Self {
                bounds: BoxPx { x1: row[0], y1: row[1], x2: row[2], y2: row[3] },
                class: row[5] as usize,
                confidence: row[4],
            });
            return Some(found.collect());
        }
        (rows == 84 && columns > rows).then(|| {
            let cell = |row: usize, column: usize| output.data[row * columns + column];
            let found = |column: usize| {
                let class = (0..80).max_by(|a, b| cell(4 + a, column).total_cmp(&cell(4 + b, column))).unwrap();
                let bounds = BoxPx::from_center(cell(0, column), cell(1, column), cell(2, column), cell(3, column));
                Self { bounds, class, confidence: cell(4 + class, column) }
            };
            (0..columns).map(found).collect()
        })
    }
}

/// Every detection of the one has its like in the other, both ways.
fn compare_found(ours: &[Found], theirs: &[Found], limits: &Limits) -> Result<String, String> {
    let mut count = 0;
    for (side, [from, to]) in [("onnxruntime", [theirs, ours]), ("andon", [ours, theirs])] {
        for found in from.iter().filter(|found| found.confidence >= limits.from) {
            let is_like = |other: &&Found| {
                let [a, b] = [found.bounds, other.bounds];
                let off = [a.x1 - b.x1, a.y1 - b.y1, a.x2 - b.x2, a.y2 - b.y2].map(f32::abs);
                other.class == found.class
                    && (other.confidence - found.confidence).abs() <= limits.confidence
                    && limits.box_px.is_none_or(|limit| off.iter().all(|off| *off <= limit))
                    && a.iou(&b) >= limits.iou
            };
            if !to.iter().any(|other| is_like(&other)) {
                return Err(format!(
                    "only {side} finds class {} with {} at {:?}",
                    found.class, found.confidence, found.bounds
                ));
            }
            count += 1;
        }
    }
    Ok(format!("{count} detections alike"))
}
