//! One graph made at random: each step against tract, and its outputs on all instruction sets and numbers of threads.

use std::{collections::BTreeMap, fmt, fs, path::Path};

use super::{
    super::super::{Session, Settings, Tensor, kernels},
    against_tract::{Comparison, Kinds},
    bytes::Noise,
    generate::{Style, generate},
};

/// Outputs of floats may differ by so much of their largest number.
const FLOAT_TOLERANCE: f32 = 1e-4;

/// Where tensors are rounded, one that lies between two codes may become either, and what follows differs, too.
const ROUNDED_TOLERANCE: f32 = 0.1;

/// The widest distance of two codes in these graphs.
const STEP_MAX: f32 = 0.06;

/// What was compared.
#[derive(Debug, Default)]
pub(super) struct Summary {
    graphs: usize,
    /// Graphs whose tensors tract cannot compute, so that nothing of them was compared.
    skipped: usize,
    /// Graphs that tract cannot simplify, so that their steps were compared and not their outputs.
    steps_only: usize,
    kinds: BTreeMap<&'static str, Kinds>,
}

impl Summary {
    /// # Panics
    /// Where tract could not say what is right of more than a twentieth of the graphs.
    pub(super) fn check(&self) {
        assert!((self.skipped + self.steps_only) * 20 <= self.graphs, "too few graphs are compared: {self}");
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { graphs, skipped, steps_only, kinds } = self;
        write!(f, "{graphs} graphs, {skipped} of them skipped, of {steps_only} the steps only: {kinds:#?}")
    }
}

/// Checks the graph that a string of bytes makes.
///
/// # Panics
/// Where something is wrong.
pub(super) fn check(bytes: &[u8], summary: &mut Summary) {
    summary.graphs += 1;
    let generated = generate(bytes);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    fs::write(&path, &generated.onnx).unwrap();
    let style = generated.style;
    let comparison = match Comparison::of(&path, &kernels::available()) {
        Ok(comparison) => comparison,
        // tract makes this of convolutions whose windows do not touch, and then may not know what to do with it.
        Err(cause) if format!("{cause:#}").contains("Downsample") => {
            summary.skipped += 1;
            return;
        }
        Err(cause) => panic!("{style:?}: {cause:#}"),
    };
    assert!(comparison.wrong.is_empty(), "{style:?}: {:#?}", comparison.wrong);
    comparison.add_to(&mut summary.kinds);
    let alone = Settings { threads: Some(1), isa: Some("tract".to_owned()), ..Settings::default() };
    let tract = if Session::load(&path, &alone).is_ok() {
        run(&path, "tract", 1)
    } else {
        summary.steps_only += 1;
        Vec::new()
    };
    let names: Vec<&str> = kernels::available().iter().map(|kernels| kernels.name).collect();
    let first = run(&path, names[0], 1);
    for (index, (expected, found)) in tract.iter().zip(&first).enumerate() {
        assert_eq!(expected.shape, found.shape, "{style:?}: output {index}");
        let is_float = matches!(style, Style::Float | Style::Dynamic);
        let range = expected.data.iter().fold(1e-2, |max: f32, x| max.max(x.abs()));
        let tolerance = if is_float { FLOAT_TOLERANCE * range } else { ROUNDED_TOLERANCE * range + STEP_MAX };
        let is_ranked = generated.is_ranked && expected.shape.len() == 3;
        let step = if is_ranked { 6 } else { 1 };
        let skip = if is_ranked { 4 } else { 0 };
        let pairs = expected.data.iter().zip(&found.data).skip(skip).step_by(step);
        let worst = pairs.fold(0.0, |worst: f32, (a, b)| if (a - b).abs() <= worst { worst } else { (a - b).abs() });
        assert!(worst <= tolerance, "{style:?}: output {index} is {worst} of {range} off");
    }
    for (index, name) in names.iter().enumerate() {
        let threads = if index == 0 { &[2, 3][..] } else { &[1 + bytes.len() % 3][..] };
        for threads in threads {
            assert!(same_bits(&first, &run(&path, name, *threads)), "{style:?}: {name} with {threads} threads");
        }
    }
}

/// The outputs for a picture of noise.
fn run(path: &Path, isa: &str, threads: usize) -> Vec<Tensor> {
    let settings = Settings { threads: Some(threads), isa: Some(isa.to_owned()), ..Settings::default() };
    let mut session = Session::load(path, &settings).unwrap_or_else(|cause| panic!("{isa}: {cause:#}"));
    let count = session.input().shape.iter().product();
    let input = Noise::of(3).floats(count, 2.0);
    session.run(&vec![0.25; count]).unwrap();
    session.run(&input).unwrap_or_else(|cause| panic!("{isa}: {cause:#}"))
}

fn same_bits(a: &[Tensor], b: &[Tensor]) -> bool {
    let bits = |tensors: &[Tensor]| {
        tensors.iter().flat_map(|tensor| &tensor.data).map(|number| number.to_bits()).collect::<Vec<_>>()
    };
    bits(a) == bits(b)
}
