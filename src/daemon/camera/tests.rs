//! A camera's thread with sources that fail, jump and panic as drivers do.

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{
        Arc, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use anyhow::anyhow;

use super::*;
use crate::{
    capture::{Settings, SourceUri},
    daemon::{shutdown::Shutdown, threads::Threads},
};

/// What a source answers to a read.
#[derive(Clone, Debug)]
enum Answer {
    /// A frame with this number, and so many lost before it.
    Frame(u64, u64),
    Fails(ErrorKind),
    Panics,
    End,
}

/// Gives its answers one after the other, then nothing.
struct Scripted(VecDeque<Answer>);

impl Source for Scripted {
    fn read(&mut self, frame: &mut Frame, _timeout: Duration) -> Result<Read, SourceError> {
        match self.0.pop_front() {
            Some(Answer::Frame(seq, dropped)) => {
                (frame.seq, frame.dropped) = (seq, dropped);
                Ok(Read::Frame)
            }
            Some(Answer::Fails(kind)) => Err(SourceError::new(kind, anyhow!("scripted"))),
            Some(Answer::Panics) => panic!("scripted"),
            Some(Answer::End) => Ok(Read::End),
            None => {
                thread::yield_now();
                Ok(Read::Nothing)
            }
        }
    }

    fn interval(&self) -> Option<Duration> {
        None
    }

    fn describe(&self) -> String {
        "scripted".to_owned()
    }
}

fn settings() -> Settings {
    Settings::of(SourceUri::V4l2(PathBuf::from("/dev/v4l/by-id/scripted")))
}

/// A camera on these answers, until they end.
fn film(answers: &[Answer], inbox: &Inbox) -> Facts {
    let mut shutdown = Shutdown::default();
    let facts = Mutex::new(Facts::new(Instant::now()));
    let open = |_: &Settings| Ok(Box::new(Scripted(answers.iter().cloned().collect())) as Box<dyn Source>);
    let stop = shutdown.listener();
    run(&Camera { id: "in", settings: &settings(), open: &open, inbox, slot: 0, facts: &facts, stop: &stop });
    facts.into_inner().unwrap()
}

/// What nobody took and what the driver lost adds up to the numbers that the driver counted, whenever frames are taken.
#[test]
fn drops_are_counted_exactly_by_the_numbers_of_the_driver() {
    // A driver that loses frames between those that it gives, and gives one that is damaged.
    let gaps = [0_u64, 0, 4, 0, 1, 17, 0, 0, 2, 0, 0, 0, 9, 1, 0];
    for taken_every in 1..=gaps.len() {
        let inbox = Inbox::new(1);
        let (mut seq, mut taken, mut accounted) = (0, Frame::empty(), 0);
        for batch in gaps.chunks(taken_every) {
            let mut answers = Vec::new();
            for &gap in batch {
                seq += gap + 1;
                answers.push(Answer::Frame(seq - 1, gap));
            }
            answers.push(Answer::End);
            let facts = film(&answers, &inbox);
            assert_eq!(facts.frames, batch.len() as u64);
            // The newest is the one that is looked at, so it is never older than the time between two frames.
            assert_eq!(inbox.take(&mut taken, Duration::ZERO), Some(0));
            assert_eq!(taken.seq, seq - 1);
            accounted += taken.dropped + 1;
            assert_eq!(accounted, seq, "taking every {taken_every}");
            assert_eq!(inbox.take(&mut taken, Duration::ZERO), None);
        }
    }
}

#[test]
fn a_damaged_frame_is_counted_and_the_stream_goes_on() {
    let inbox = Inbox::new(1);
    let facts =
        film(&[Answer::Frame(0, 0), Answer::Fails(ErrorKind::Corrupt), Answer::Frame(2, 1), Answer::End], &inbox);
    assert_eq!((facts.frames, facts.damaged_total), (3, 1));
    let mut taken = Frame::empty();
    assert_eq!(inbox.take(&mut taken, Duration::ZERO), Some(0));
    assert_eq!((taken.seq, taken.dropped), (2, 2));
}

/// A source that panics at its first opening and in its second stream, and works from then on.
#[test]
fn a_panic_in_a_source_begins_the_camera_anew() {
    let mut shutdown = Shutdown::default();
    let facts = Arc::new(Mutex::new(Facts::new(Instant::now())));
    let inbox = Arc::new(Inbox::new(1));
    let opened = Arc::new(AtomicUsize::new(0));
    let failures = Arc::new(AtomicUsize::new(0));
    let mut threads = Threads::default();
    let work = {
        let (facts, inbox, opened) = (Arc::clone(&facts), Arc::clone(&inbox), Arc::clone(&opened));
        move |stop: &Stop| {
            let open = |_: &Settings| -> Result<Box<dyn Source>, SourceError> {
                let answers = match opened.fetch_add(1, Ordering::Relaxed) {
                    0 => panic!("scripted"),
                    1 => vec![Answer::Frame(0, 0), Answer::Panics],
                    _ => vec![Answer::Frame(7, 0)],
                };
                Ok(Box::new(Scripted(answers.into())))
            };
            run(&Camera { id: "in", settings: &settings(), open: &open, inbox: &inbox, slot: 0, facts: &facts, stop });
        }
    };
    let failed = {
        let (facts, failures) = (Arc::clone(&facts), Arc::clone(&failures));
        move || {
            failures.fetch_add(1, Ordering::Relaxed);
            crate::daemon::threads::CameraJob::failed(&facts);
        }
    };
    threads.spawn("camera in", shutdown.listener(), work, failed).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut taken = Frame::empty();
    while taken.seq != 7 {
        assert!(Instant::now() < deadline, "the camera never came back");
        inbox.take(&mut taken, Duration::from_secs(1));
    }
    assert_eq!(failures.load(Ordering::Relaxed), 2);
    let verdict = facts.lock().unwrap_or_else(PoisonError::into_inner).verdict(Instant::now());
    assert_eq!(verdict.state, CameraState::Live, "{verdict:?}");
    drop(shutdown);
    threads.join();
}
