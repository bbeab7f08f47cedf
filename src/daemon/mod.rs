//! The daemon: cameras, detectors and the network, wired together and watched.
//!
//! One thread a camera (`camera`), one a detector (`inspector`), one for the network; the calling thread supervises.
//! Threads note what happens to them, the lookout makes states of it (`health`) and tells the log, the supervisor tells
//! MQTT and systemd. Neither waits for a thread.
//!
//! A wrong configuration or model ends it at the start. A camera, broker or password that is not right yet does not: the
//! daemon stays up, degraded, and says why. SIGHUP has the configuration read again (`reload`): other models are taken over
//! between two frames (`exchange`), for anything else the line begins anew.
//!
//! What a detector finds goes to its camera's station (`stations`, `post`), and what the station says to the outbox, together
//! with what the station has to know after a restart; pictures of it are made aside (`photographer`). Whoever drives lines of
//! the box (`gpio`) or shows what is said hears along ([`Hearer`]).
//!
//! A panic of a thread begins that thread's work anew (`threads`); a hang is found by the signs of life that are missing
//! (`pulse`), and systemd starts the process again.

mod camera;
mod change;
mod connection;
mod data_plane;
mod exchange;
mod exposed;
mod gpio;
mod health;
mod home;
mod inspector;
mod loader;
mod lookout;
mod network;
mod photographer;
mod pipeline;
mod post;
pub mod preflight;
mod pulse;
mod reload;
mod shutdown;
pub mod state_dir;
mod stations;
mod supervisor;
mod systemd;
mod threads;
mod voice;

use std::{sync::Arc, thread, time::Instant};

use anyhow::ensure;

use self::{
    connection::Ears,
    data_plane::DataPlane,
    gpio::Gpio,
    home::Announcer,
    loader::Loader,
    lookout::{LOOK_EVERY, Lookout},
    network::Network,
    pipeline::{MqttReporter, Seat},
    reload::{NewLine, Reloader, Running},
    stations::Stations,
    supervisor::{Desk, Over, Supervisor, publish},
    systemd::Systemd,
};
pub use self::{
    network::check_broker,
    pipeline::{Observer, Report, Reporter},
    reload::Reread,
    stations::{Hearer, models_for_stations, station_settings},
    systemd::is_service,
};
use crate::{
    config::Config,
    detector::Detector,
    outputs::Chips,
    publish::{
        clock::Reading,
        commands::Obey,
        mqtt::Publisher,
        wire::{CameraState, Wire},
    },
};

/// What is wrong with a configuration that watches nothing.
pub const NO_CAMERA: &str = "the configuration has no camera; add a [[camera]] section (`andon devices` lists cameras)";

/// How a run differs from the configuration alone.
#[derive(Default)]
pub struct Options {
    /// Every message says that what is seen is not real.
    pub simulated: bool,
    /// Called once, when the models are loaded and the watch begins.
    pub loaded: Option<Box<dyn FnOnce()>>,
    /// Sees every frame's result, until the line is replaced by a reload.
    pub observer: Option<Box<Observer>>,
    /// Hears what the rules of all cameras say, and how cameras see.
    pub hearer: Option<Arc<dyn Hearer>>,
    /// Reads the configuration again at SIGHUP; without it that signal ends the process.
    pub reread: Option<Box<Reread>>,
}

/// Watches the line until SIGTERM or SIGINT.
///
/// # Errors
/// Where a model does not load or a rule asks for a class that it does not know, or the system refuses threads.
pub fn run(config: &Config, mut options: Options) -> anyhow::Result<()> {
    ensure!(!config.cameras.is_empty(), NO_CAMERA);
    let mut config = config.clone();
    let mut wire = Wire::new(&config.prefix, &config.device, options.simulated)?;
    let loader = Arc::new(Loader::default());
    let mut detectors = loader.load_all(&config)?;
    if let Some(loaded) = options.loaded {
        loaded();
    }
    let stations = Arc::new(Stations::new(options.hearer)?);
    let announcer = Announcer::default();
    let ears = Ears { obey: Arc::clone(&stations) as Arc<dyn Obey>, announcer: announcer.clone() };
    let mut network = Network::start(&config, &wire, ears, options.reread.is_some(), options.simulated)?;
    let mut systemd = Systemd::new();
    let mut reloader = Reloader::new(options.reread, loader, Running::new(config.clone(), &detectors));
    let mut exposed = Vec::new();
    let mut gpio = Gpio::start(&config, stations.timeline(), Arc::new(Chips))?;
    // Whether what keeps messages and notes is another one than that of the line before.
    let mut anew = false;
    loop {
        let told = std::mem::replace(&mut exposed, exposed::secrets(&config));
        exposed.iter().filter(|sentence| !told.contains(sentence)).for_each(|sentence| log::warn!("{sentence}"));
        let connection = network.connection();
        let publisher = connection.publisher();
        let crew = stations.set_up(&config, &wire, &publisher, gpio.hearer(), anew, |key| connection.note(key));
        gpio.attach({
            let crew = Arc::clone(&crew);
            move |input| crew.hear(input)
        });
        announcer.announce(&config, &wire, &publisher, anew, |key| connection.note(key));
        let reporter: Arc<dyn Reporter> = Arc::new(MqttReporter {
            crew: Arc::clone(&crew),
            seats: config.cameras.iter().map(|_| Seat::default()).collect(),
            policy: config.report,
            observer: options.observer.take(),
        });
        let mut plane = DataPlane::start(&config, detectors, &reporter)?;
        let (systemd, reloader) = (&mut systemd, &mut reloader);
        let desk = Desk { wire: &wire, network: &network, crew: &crew, gpio: &gpio, systemd, reloader };
        let over = Supervisor::new(&config, &plane, desk).run();
        plane.halt();
        let line = match over {
            Over::End => {
                gpio.stop();
                // What was said before waits for the broker a moment, and pictures are made before.
                stations.finish();
                network.stop(&wire);
                plane.join();
                return Ok(());
            }
            Over::Replaced(line) => *line,
        };
        plane.join();
        log::info!("the line begins anew with another configuration");
        let NewLine { config: next, detectors: loaded, network: elsewhere } = line;
        say_farewell_of_cameras(&config, &next, &wire, &network.connection().publisher());
        let before = std::mem::replace(&mut wire, Wire::new(&next.prefix, &next.device, options.simulated)?);
        anew = elsewhere && (options.simulated || next.outbox.path != config.outbox.path);
        if elsewhere {
            // Pictures go to the broker of the events to which they belong.
            stations.finish();
            network.reconnect(&before, &next, &wire)?;
        }
        if !gpio.serves(&next) {
            gpio.stop();
            gpio = Gpio::start(&next, stations.timeline(), Arc::new(Chips))?;
        }
        reloader.took_over(Running::new(next.clone(), &loaded));
        (config, detectors) = (next, loaded);
    }
}

/// Says of cameras that are no longer there that they are not: their last status would else stay for ever.
fn say_farewell_of_cameras(before: &Config, after: &Config, wire: &Wire, publisher: &Publisher) {
    let now = Reading::now();
    for camera in &before.cameras {
        if !after.cameras.iter().any(|other| other.id == camera.id) {
            let reason = Some("it is no longer in the configuration");
            publish(publisher, wire.camera_status(&now, &camera.id, CameraState::Absent, reason, now.instant));
        }
    }
}

/// Watches the line for `reporter` alone, without a broker: until `until` says so, which is asked several times a second,
/// or until all sources have come to their ends. Frames that were filmed before the end are still reported. The state of
/// cameras goes to the log.
///
/// # Errors
/// Where there is no camera, or the system refuses threads.
pub fn watch(
    config: &Config,
    detectors: Vec<Detector>,
    reporter: &Arc<dyn Reporter>,
    mut until: impl FnMut() -> bool,
) -> anyhow::Result<()> {
    ensure!(!config.cameras.is_empty(), NO_CAMERA);
    let mut plane = DataPlane::start(config, detectors, reporter)?;
    let mut lookout = Lookout::new(config, &plane.facts, &plane.vitals, Instant::now());
    while !until() && !lookout.all_ended() {
        let now = Instant::now();
        lookout.look(now, |_camera, _verdict| ());
        lookout.sights(now, |camera, sight, is_news| {
            if is_news {
                reporter.sight(camera, sight);
            }
        });
        thread::sleep(LOOK_EVERY);
    }
    plane.halt();
    plane.join();
    Ok(())
}

/// Loads the models of a configuration, in its order, and runs each once.
///
/// # Errors
/// Where a model does not load or does not run; names it.
pub fn load_detectors(config: &Config) -> anyhow::Result<Vec<Detector>> {
    config.models.iter().map(loader::load).collect()
}
