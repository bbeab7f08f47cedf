//! The configuration is read again while the line goes on: what it asks for is prepared on a thread of its own, and taken
//! over only when all of it is right.
//!
//! All or nothing: where the file or a model is wrong, everything stays as it was, and the reason stands in the device's
//! status until a reload succeeds.

use std::{
    mem,
    sync::{
        Arc,
        mpsc::{Receiver, TryRecvError, sync_channel},
    },
    thread,
};

use anyhow::{anyhow, ensure};

use super::{NO_CAMERA, loader::Loader};
use crate::{
    config::{Config, Model},
    detector::Detector,
    publish::wire::Wire,
};

/// Reads the configuration again.
pub type Reread = dyn Fn() -> anyhow::Result<Config> + Send + Sync;

/// A configuration that runs, and which files its models were.
#[derive(Clone, Debug)]
pub(super) struct Running {
    config: Config,
    /// SHA-256 of each model's file, in the order of the configuration.
    sha256: Vec<String>,
}

impl Running {
    /// What runs with these detectors, which are those of the configuration's models.
    pub(super) fn new(config: Config, detectors: &[Detector]) -> Self {
        Self { config, sha256: detectors.iter().map(|detector| detector.identity().sha256.clone()).collect() }
    }
}

/// What a new configuration asks for, ready to be taken over.
pub(super) enum Prepared {
    /// Nothing: all is as it was.
    Nothing,
    /// Other detectors for some of the models, by their indices; all else is as it was.
    Models(Box<Running>, Vec<(usize, Detector)>),
    /// Other cameras, or anything else.
    Line(Box<NewLine>),
}

/// A configuration for which the line begins anew.
pub(super) struct NewLine {
    /// What it says.
    pub(super) config: Config,
    /// Its models' detectors, in its order.
    pub(super) detectors: Vec<Detector>,
    /// Whether messages go elsewhere, or come from another device.
    pub(super) network: bool,
}

/// Reads the configuration again when asked to.
pub(super) struct Reloader {
    reread: Option<Arc<Reread>>,
    loader: Arc<Loader>,
    running: Running,
    at_work: Option<Receiver<anyhow::Result<Prepared>>>,
    /// Asked for again while at work.
    again: bool,
    trouble: Option<String>,
}

impl Reloader {
    /// One that reads with `reread`, or refuses to where there is none.
    pub(super) fn new(reread: Option<Box<Reread>>, loader: Arc<Loader>, running: Running) -> Self {
        Self { reread: reread.map(Arc::from), loader, running, at_work: None, again: false, trouble: None }
    }

    /// Begins to read the configuration; once more after that, where it is being read already.
    pub(super) fn begin(&mut self) {
        let Some(reread) = &self.reread else { return };
        if self.at_work.is_some() {
            self.again = true;
            return;
        }
        log::info!("SIGHUP: reading the configuration again");
        let (sender, receiver) = sync_channel(1);
        let (reread, loader, running) = (Arc::clone(reread), Arc::clone(&self.loader), self.running.clone());
        // Where the daemon is ending, nobody waits for the result.
        let work = move || drop(sender.send(prepare(&*reread, &loader, &running)));
        match thread::Builder::new().name("reload".to_owned()).spawn(work) {
            Ok(_not_joined) => self.at_work = Some(receiver),
            Err(error) => self.refuse(&anyhow::Error::new(error).context("no thread to reload with; raise TasksMax=")),
        }
    }

    /// Whether a configuration is being read.
    pub(super) fn is_at_work(&self) -> bool {
        self.at_work.is_some()
    }

    /// What has become of it, once. Where it was wrong, the log and [`Self::trouble`] say why, and there is nothing to do.
    pub(super) fn poll(&mut self) -> Option<Prepared> {
        let result = match self.at_work.as_ref()?.try_recv() {
            Err(TryRecvError::Empty) => return None,
            Err(TryRecvError::Disconnected) => Err(anyhow!("andon failed on it; see its log, and please report it")),
            Ok(result) => result,
        };
        self.at_work = None;
        let prepared = match result {
            Ok(prepared) => {
                self.trouble = None;
                match &prepared {
                    Prepared::Nothing => log::info!("the configuration and its models are as they were"),
                    Prepared::Models(_, detectors) => log::info!("other models take over: {}", detectors.len()),
                    Prepared::Line(_) => log::info!("the configuration is another"),
                }
                prepared
            }
            Err(error) => {
                self.refuse(&error);
                Prepared::Nothing
            }
        };
        if mem::take(&mut self.again) {
            // The files may have changed since they were read.
            self.begin();
            return None;
        }
        Some(prepared)
    }

    /// Notes what runs from now on.
    pub(super) fn took_over(&mut self, running: Running) {
        self.running = running;
    }

    /// Why the configuration that lies there is not the one that runs.
    pub(super) fn trouble(&self) -> Option<&String> {
        self.trouble.as_ref()
    }

    fn refuse(&mut self, error: &anyhow::Error) {
        let reasons: Vec<String> = format!("{error:#}").lines().map(|line| line.trim().to_owned()).collect();
        for reason in &reasons {
            log::error!("the configuration was not taken over: {reason}");
        }
        self.trouble = Some(format!("the new configuration is not used, the one before is: {}", reasons.join("; ")));
    }
}

/// Reads the configuration and loads what has changed.
fn prepare(reread: &Reread, loader: &Loader, running: &Running) -> anyhow::Result<Prepared> {
    let config = reread()?;
    ensure!(!config.cameras.is_empty(), NO_CAMERA);
    let _makes_topics = Wire::new(&config.prefix, &config.device, false)?;
    if !is_same_line(&running.config, &config) {
        let network = !is_same_network(&running.config, &config);
        let detectors = loader.load_all(&config)?;
        return Ok(Prepared::Line(Box::new(NewLine { config, detectors, network })));
    }
    let mut next = Running { config, sha256: running.sha256.clone() };
    let mut detectors = Vec::new();
    for (index, (old, new)) in running.config.models.iter().zip(&next.config.models).enumerate() {
        // A file that cannot be read is another one: to load it says what is wrong.
        let same_file = new.detector.model.sha256().is_ok_and(|sha256| sha256 == running.sha256[index]);
        if old.detector != new.detector || !same_file {
            let detector = loader.load(&next.config, index)?;
            next.sha256[index].clone_from(&detector.identity().sha256);
            detectors.push((index, detector));
        }
    }
    Ok(if detectors.is_empty() { Prepared::Nothing } else { Prepared::Models(Box::new(next), detectors) })
}

/// Whether two configurations differ at most in how and from which files models are loaded, and what counts as a detection
/// is the same: what follows things and judges them is told that when it begins.
fn is_same_line(old: &Config, new: &Config) -> bool {
    let counts = |model: &Model| {
        (model.id.clone(), model.detector.confidence, model.detector.per_class.clone(), model.detector.classes.clone())
    };
    let same_models = old.models.iter().map(counts).eq(new.models.iter().map(counts));
    same_models && Config { models: old.models.clone(), collect: old.collect, ..new.clone() } == *old
}

/// Whether the same device speaks to the same broker.
fn is_same_network(old: &Config, new: &Config) -> bool {
    let Config { cameras, models, report, collect, inputs, outputs, .. } = old.clone();
    Config { cameras, models, report, collect, inputs, outputs, ..new.clone() } == *old
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        let text = format!("[device]\nid = \"box\"\n{text}");
        Config::from_toml(&text, "andon.toml", std::iter::empty()).unwrap()
    }

    const BEFORE: &str =
        "[mqtt]\nhost = \"a\"\n[model]\npath = \"m.onnx\"\n[[camera]]\nid = \"in\"\nsource = \"shots\"\n";

    #[test]
    fn what_changed_decides_what_begins_anew() {
        let old = config(BEFORE);
        for (find, replace, same_line, same_network) in [
            ("m.onnx\"", "n.onnx\"\niou = 0.9", true, true),
            ("m.onnx\"", "n.onnx\"\nconfidence = 0.9", false, true),
            ("m.onnx\"", "m.onnx\"\nthresholds = { a = 0.9 }", false, true),
            ("[model]", "[collect]\nevery = 9\n[model]", true, true),
            ("[model]", "[model]\nid = \"other\"", false, true),
            ("\"shots\"", "\"shots\"\nloop = true", false, true),
            ("\"shots\"", "\"shots\"\ntrack = true", false, true),
            ("\"shots\"", "\"shots\"\n[[rule]]\nid = \"eyes\"\nkind = \"blind\"", false, true),
            ("[mqtt]", "[[input]]\nid = \"barrier\"\nline = \"GPIO1\"\n[mqtt]", false, true),
            ("[mqtt]", "[[output]]\nid = \"relay\"\nline = \"GPIO1\"\nkind = \"relay\"\n[mqtt]", false, true),
            ("[mqtt]", "[home_assistant]\n[mqtt]", false, false),
            ("[mqtt]", "[mqtt]\npublish = \"changes\"", false, true),
            ("\"a\"", "\"b\"", false, false),
            ("[mqtt]", "[mqtt]\nprefix = \"hall\"", false, false),
        ] {
            let new = config(&BEFORE.replace(find, replace));
            assert_ne!(old, new);
            assert_eq!((is_same_line(&old, &new), is_same_network(&old, &new)), (same_line, same_network), "{replace}");
        }
        assert!(is_same_line(&old, &old.clone()) && is_same_network(&old, &old.clone()));
    }
}
