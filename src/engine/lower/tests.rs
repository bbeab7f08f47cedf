//! The lowering against tract: step by step on graphs made at random and on real models, and whole programs.

mod against_tract;
mod bytes;
mod fuzz;
mod generate;
mod hostile;
#[path = "../../../tests/util/onnx.rs"]
#[allow(dead_code, unreachable_pub, reason = "integration tests use what these do not")]
mod onnx;

use std::{
    env, fs,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use super::super::kernels;
use against_tract::Comparison;
use fuzz::Summary;

/// Graphs that `cargo test` compares.
const GRAPHS: u64 = 250;

/// The models that `ANDON_TEST_ASSETS` names; none where it is not set.
fn models() -> Vec<PathBuf> {
    let Some(folder) = env::var_os("ANDON_TEST_ASSETS") else {
        println!("skipped: ANDON_TEST_ASSETS names no folder with models/*.onnx");
        return Vec::new();
    };
    let entries = fs::read_dir(PathBuf::from(folder).join("models")).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "onnx"));
    paths.sort();
    paths
}

/// Each step of each model, fed tract's own tensors, differs from tract's evaluation by at most one step of its
/// quantizer.
#[test]
fn steps_of_real_models_are_those_of_tract() {
    for path in models() {
        let start = Instant::now();
        // The others on request: random graphs are compared on all.
        let count = env::var_os("ANDON_STEPS_ALL").map_or(1, |_| usize::MAX);
        let chosen: Vec<_> = kernels::available().into_iter().take(count).collect();
        let comparison = Comparison::of(&path, &chosen).unwrap();
        let name = path.file_stem().unwrap().to_string_lossy();
        println!("{name} ({:.1} s): {}", start.elapsed().as_secs_f64(), comparison.summary());
        assert!(comparison.wrong.is_empty(), "{name}: {:#?}", comparison.wrong);
    }
}

/// The same of graphs made at random, whose outputs are compared as well.
#[test]
fn random_graphs_are_those_of_tract() {
    let mut summary = Summary::default();
    if let Ok(seed) = env::var("ANDON_FUZZ_SEED") {
        fuzz(seed.parse().unwrap(), &mut summary);
        println!("{summary}");
        return;
    }
    (0..GRAPHS).for_each(|seed| fuzz(seed, &mut summary));
    println!("{summary}");
    summary.check();
}

/// The same for as long as `ANDON_FUZZ_SECONDS` says; nothing where that is not set.
#[test]
fn random_graphs_for_long() {
    let Some(seconds) = env::var("ANDON_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()) else { return };
    let (start, limit) = (Instant::now(), Duration::from_secs(seconds));
    let first = env::var("ANDON_FUZZ_SEED").map_or(GRAPHS, |seed| seed.parse().unwrap());
    let mut summary = Summary::default();
    for seed in first.. {
        if start.elapsed() > limit {
            println!("{summary}");
            summary.check();
            break;
        }
        fuzz(seed, &mut summary);
    }
}

/// Checks one graph, and says which it was where that fails.
fn fuzz(seed: u64, summary: &mut Summary) {
    struct Told(u64);
    impl Drop for Told {
        fn drop(&mut self) {
            if thread::panicking() {
                println!("try it alone with ANDON_FUZZ_SEED={} cargo test random_graphs_are", self.0);
            }
        }
    }
    let _told = Told(seed);
    fuzz::check(&bytes::random(seed), summary);
}
