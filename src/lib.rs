//! andon watches a production line through a camera, finds defects or items with a YOLO, and tells the plant over MQTT.
//!
//! # The way a frame takes
//!
//! ```text
//! camera ── Frame ──▶ mailbox (1 frame, newest wins) ──▶ detector ── Detections ──▶ station (tracks, rules)
//! station ── Events ──▶ wire ── Messages, and what to know after a restart ──▶ outbox ──▶ MQTT
//! ```
//!
//! One direction, no way back: a camera never waits for the detector, and the detector never waits for the network. Commands
//! and edges of inputs reach a station beside its frames, one at a time.
//!
//! # The rooms
//!
//! | module | what it is for |
//! |---|---|
//! | [`geometry`], [`frame`], [`detection`] | plain data: points and boxes, a picture and its time, what was found in it |
//! | [`money`] | amounts as text and as whole minor units |
//! | [`sys`] | the few calls to the kernel that no library of ours wraps |
//! | [`random`] | a generator that is the same on every machine |
//! | `guard` | a panic of a library that reads a damaged file becomes an error |
//! | [`whole_file`] | files that are whole at any moment |
//! | [`yolo`] | what a model's outputs mean: heads, metadata, non-maximum suppression; pure |
//! | [`eval`] | how good a model is: matching, average precision, agreement of two models; pure |
//! | [`moment`] | points in time that outlive a process |
//! | [`event`] | what rules say: alarms, verdicts, counts, totals; plain data |
//! | [`track`] | identities over time: which detection is which thing of the frames before; pure |
//! | [`rules`] | small state machines from things and time to events; pure |
//! | [`station`] | one camera's tracker and rules: from what is heard to what is said; pure, the same at every replay |
//! | [`recording`] | what stations heard, in files, and what they say when it is played again |
//! | [`engine`] | an ONNX file becomes a session that maps a tensor to tensors, on kernels of its own (int8 where the file is quantized); the only place that knows tract |
//! | [`vision`] | pixels: JPEG and YUV to RGB, rotation, region, letterbox; whether anything can be seen in them |
//! | [`dataset`] | YOLO datasets on the disk: pictures and their labels |
//! | [`format`](mod@format), [`draw`] | detections as text for programs and people, and as boxes on a picture |
//! | [`capture`] | where frames come from: V4L2, files, programs, HTTP, RTSP, the simulated line; and the mailbox |
//! | [`store`] | what has to outlive the process: the outbox and the event history, in SQLite |
//! | [`publish`] | what is said (`wire`), and how it reaches the broker (`mqtt`) |
//! | [`scene`] | what happens at a simulated line, and what an imperfect detector makes of it; pure |
//! | [`outputs`] | lines of the box: a light, a gate, a relay; a barrier, an encoder |
//! | [`listen`] | what a subscriber makes of a box's messages: their numbers, gaps and duplicates; pure |
//! | [`detector`] | frame to detections: the single path for every command |
//! | [`collect`] | which frames are worth keeping to quantize and train with, and a dataset of them |
//! | [`quantize`] | a float YOLO and pictures become an int8 YOLO |
//! | [`config`] | one TOML file becomes checked settings |
//! | [`daemon`] | threads, stations at work and how they are heard, supervision, health, systemd |
//! | `cli` (in the binary) | one file a subcommand |
//!
//! # What holds
//!
//! - Imports point down this list of floors, never up and not along a floor: `cli` › `daemon` › `config` › `collect`, `quantize`,
//!   `recording` › `detector` › `capture`, `publish`, `outputs` › `dataset`, `store`, `format`, `draw` › `engine`, `vision` › `station` ›
//!   `rules` › `yolo`, `track`, `eval`, `listen`, `scene` › `frame` › `detection`, `event` › `geometry`, `guard`, `moment`, `money`,
//!   `random`, `sys`, `whole_file`.
//! - The data plane is plain threads, one a camera and one a model, and two for the box's own lines; the network plane is one
//!   tokio runtime. They meet in a camera's post (`daemon::post`), under a lock that nobody holds across a wait.
//! - Time inside is [`std::time::Instant`], or a [`moment::Moment`] where it has to outlive the process; wall time is attached
//!   where a message is made.
//! - What a station has to know after a restart is committed together with the messages that it led to.
//! - No queue is unbounded: each says its bound and what it drops where it is made.
//! - All instruction sets and any number of threads give the same bytes for the same model and picture.
//! - Unsupported is an error at load that says what to do, never a guess and never an empty result.
//! - A panic in one camera, or a broker that is away, degrades that part and is published as such. A part that hangs is said
//!   to, and ended with the process by systemd's watchdog, which is fed while every part shows signs of life.
//! - A model file is tried in a child process with limits before this one loads it.
//!
//! `tests/tidy.rs` holds the floors, and where foreign crates, clocks and `unsafe` are confined.

pub mod capture;
pub mod collect;
pub mod config;
pub mod daemon;
pub mod dataset;
pub mod detection;
pub mod detector;
pub mod draw;
pub mod engine;
pub mod eval;
pub mod event;
pub mod format;
pub mod frame;
pub mod geometry;
mod guard;
pub mod listen;
pub mod moment;
pub mod money;
pub mod outputs;
pub mod publish;
pub mod quantize;
pub mod random;
pub mod recording;
pub mod rules;
pub mod scene;
pub mod station;
pub mod store;
pub mod sys;
pub mod track;
pub mod vision;
pub mod whole_file;
pub mod yolo;
