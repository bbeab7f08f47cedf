//! Loads the models of a configuration, each tried in a child process before.

use anyhow::{Context, ensure};

use super::preflight::Preflight;
use crate::{config, detector::Detector};

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
    pub(super) fn load_all(&self, models: &[config::Model]) -> anyhow::Result<Vec<Detector>> {
        models.iter().map(|model| self.load(model)).collect()
    }

    /// Tries a model, loads it, and runs it once.
    ///
    /// # Errors
    /// Where it does not load or does not run, or makes no numbers; names it.
    pub(super) fn load(&self, model: &config::Model) -> anyhow::Result<Detector> {
        let tried = self.preflight.pass(&model.detector)?;
        let detector = load(model)?;
        ensure!(
            tried.is_none_or(|sha256| sha256 == detector.identity().sha256),
            "model {}: the file was replaced while it was being loaded; try again",
            model.detector.model
        );
        Ok(detector)
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
