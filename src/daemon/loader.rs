//! Loads the models of a configuration, each tried in a child process before.

use anyhow::{Context, ensure};

use super::{preflight::Preflight, stations::models_for_stations};
use crate::{
    config::{self, Config, Invalid},
    detector::Detector,
};

/// Loads models, and remembers which have been tried.
#[derive(Debug, Default)]
pub(super) struct Loader {
    preflight: Preflight,
}

impl Loader {
    /// Loads the models of a configuration, in its order.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub(super) fn load_all(&self, config: &Config) -> anyhow::Result<Vec<Detector>> {
        (0..config.models.len()).map(|index| self.load(config, index)).collect()
    }

    /// Tries the model with this index, loads it as its cameras' stations need it, and runs it once.
    ///
    /// # Errors
    /// Where it does not load or does not run, or makes no numbers; names it. Where a rule asks for a class that it does not
    /// know: [`Invalid`].
    pub(super) fn load(&self, config: &Config, index: usize) -> anyhow::Result<Detector> {
        let model = &models_for_stations(config)[index];
        let tried = self.preflight.pass(&model.detector)?;
        let detector = load(model)?;
        ensure!(
            tried.is_none_or(|sha256| sha256 == detector.identity().sha256),
            "model {}: the file was replaced while it was being loaded; try again",
            model.detector.model
        );
        let unknown = config.unknown_classes(index, &detector.spec().names);
        if unknown.is_empty() { Ok(detector) } else { Err(Invalid(unknown).into()) }
    }
}

/// Loads a model here and now, and runs it once.
///
/// # Errors
/// As [`Loader::load`].
pub(super) fn load(model: &config::Model) -> anyhow::Result<Detector> {
    let mut detector = Detector::load(&model.detector)?;
    let timing = detector.self_test().with_context(|| format!("model {} does not run", model.detector.model))?;
    log::info!("model \"{}\": {} loaded, {:.0} ms an inference", model.id, model.detector.model, timing.inference_ms);
    for note in &detector.spec().notes {
        log::info!("model \"{}\": {note}", model.id);
    }
    Ok(detector)
}
