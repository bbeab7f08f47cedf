//! Heads by hand: what is read out of shapes and metadata, and what out of numbers.

mod decode;
mod resolve;

use std::collections::BTreeMap;

use super::{HeadSpec, Hints, ModelFacts};

/// A model as its file describes it.
struct Model {
    metadata: BTreeMap<String, String>,
    input: Vec<usize>,
    outputs: Vec<Vec<usize>>,
}

impl Model {
    fn new(input: [usize; 2], outputs: &[&[usize]]) -> Self {
        let outputs = outputs.iter().map(|shape| shape.to_vec()).collect();
        Self { metadata: BTreeMap::new(), input: vec![1, 3, input[0], input[1]], outputs }
    }

    fn with(mut self, key: &str, value: &str) -> Self {
        self.metadata.insert(key.to_owned(), value.to_owned());
        self
    }

    /// As Ultralytics writes it, with classes called `c0`, `c1`, ….
    fn ultralytics(self, task: &str, classes: usize) -> Self {
        let names: Vec<String> = (0..classes).map(|class| format!("{class}: 'c{class}'")).collect();
        self.with("task", task).with("stride", "32").with("names", &format!("{{{}}}", names.join(", ")))
    }

    fn resolve(&self, hints: &Hints) -> anyhow::Result<HeadSpec> {
        let outputs: Vec<(&str, &[usize])> = self.outputs.iter().map(|shape| ("output", &**shape)).collect();
        HeadSpec::resolve(&ModelFacts { metadata: &self.metadata, input: &self.input, outputs: &outputs }, hints)
    }

    /// The head in words, or the error.
    fn says(&self, hints: &Hints) -> String {
        self.resolve(hints).map_or_else(|error| format!("error: {error}"), |spec| spec.describe())
    }
}

fn hinted(head: &str) -> Hints {
    Hints { head: Some(head.to_owned()), ..Hints::default() }
}

fn named(names: &[&str]) -> Hints {
    Hints { names: Some(names.iter().map(|&name| name.to_owned()).collect()), ..Hints::default() }
}
