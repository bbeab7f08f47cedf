//! What is not right yet leaves the daemon up, degraded, and heals without it being restarted.

use super::*;

/// Waits until the camera's status has this state for a reason with these words in it.
#[track_caller]
fn wait_for_reason(subscriber: &Subscriber, state: &str, words: &str) {
    let wanted = |heard: &Heard| {
        let message = json(heard);
        let reason = message["reason"].as_str().unwrap_or_default();
        heard.topic == "andon/box/in/status" && message["state"] == state && reason.contains(words)
    };
    subscriber.wait_for(SOON, &format!("{state} with {words:?}"), wanted);
}

#[test]
fn a_camera_that_is_missing_degrades_and_comes_back() {
    if !mosquitto::is_installed() {
        return;
    }
    let broker = Mosquitto::start(Setup::default());
    let line = Line::new(broker.port, "");
    line.configure(broker.port, "source = \"later\"\nrate = 5\nloop = true", "");
    let subscriber = broker.subscribe("andon/#");
    let _daemon = line.start();
    wait_for_reason(&subscriber, "absent", "later");
    let device = broker.subscribe("andon/box/status");
    let degraded = |heard: &Heard| heard.payload.contains("camera \\\"in\\\" is absent");
    device.wait_for(SOON, "degraded, with the camera as the reason", degraded);
    line.dir.squares("later/a.png", (64, 64), &[(1, 1, RED)]);
    wait_for_state(&subscriber, "andon/box/in/status", "live");
    wait_for_state(&device, "andon/box/status", "online");
}

#[test]
fn a_source_that_ends_says_so() {
    if !mosquitto::is_installed() {
        return;
    }
    let broker = Mosquitto::start(Setup::default());
    let line = Line::new(broker.port, "");
    line.configure(broker.port, "source = \"shots\"\nrate = 20", "");
    let subscriber = broker.subscribe("andon/box/in/#");
    let _daemon = line.start();
    wait_for_reason(&subscriber, "absent", "loop = true");
}

/// Damaged pictures between good ones are passed over; nothing but damaged ones is blindness.
#[test]
fn damaged_pictures_are_passed_over_or_make_blind() {
    if !mosquitto::is_installed() {
        return;
    }
    let broker = Mosquitto::start(Setup::default());
    let line = Line::new(broker.port, "");
    line.configure(broker.port, "source = \"shots\"\nrate = 20\nloop = true", "");
    line.dir.write("shots/broken.jpg", [0xff, 0xd8, 0xff, 0xe0, 0, 16]);
    line.dir.write("shots/empty.png", "");
    let subscriber = broker.subscribe("andon/box/in/#");
    let daemon = line.start();
    wait_for_state(&subscriber, "andon/box/in/status", "live");
    for _ in 0..10 {
        subscriber.wait_for(SOON, "detections", is_detections);
    }
    daemon.wait_for_log(&["damaged frames skipped"]);
    drop(daemon);

    line.configure(broker.port, "source = \"shots/broken.jpg\"\nrate = 20\nloop = true", "");
    let subscriber = broker.subscribe("andon/box/in/#");
    let _daemon = line.start();
    wait_for_reason(&subscriber, "blind", "damaged");
}

#[test]
fn a_broker_that_is_down_at_the_start_is_waited_for() {
    if !mosquitto::is_installed() {
        return;
    }
    let mut broker = Mosquitto::start(Setup::default());
    broker.kill();
    let line = Line::new(broker.port, "");
    let mut daemon = line.start();
    let said = daemon.wait_for_log(&["127.0.0.1", "refused"]);
    assert!(said.contains("check"), "it names a remedy: {said}");
    broker.start_again();
    let subscriber = broker.subscribe("andon/#");
    wait_for_state(&subscriber, "andon/box/status", "online");
    daemon.signal("INT");
    assert_eq!(daemon.wait(), Some(0));
}

#[test]
fn a_wrong_password_is_named_and_a_corrected_one_heals() {
    if !mosquitto::is_installed() {
        return;
    }
    let broker = Mosquitto::start(Setup { login: Some(("andon".into(), "sesame".into())), ..Setup::default() });
    let line = Line::new(broker.port, "username = \"andon\"\npassword_file = \"password\"");
    line.dir.write("password", "mustard");
    let daemon = line.start();
    let said = daemon.wait_for_log(&["refused the password", "password_file"]);
    assert!(!said.contains("mustard"), "{said}");
    line.dir.write("password", "sesame");
    let subscriber = broker.subscribe("andon/box/status");
    // Where a person has to act, the next attempt may be half a minute away.
    let online = |heard: &Heard| json(heard)["state"] == "online";
    subscriber.wait_for(Duration::from_secs(60), "online with the corrected password", online);
}

#[test]
fn a_state_directory_that_cannot_be_written_degrades() {
    if !mosquitto::is_installed() {
        return;
    }
    let broker = Mosquitto::start(Setup::default());
    let line = Line::new(broker.port, "");
    let subscriber = broker.subscribe("andon/box/status");
    // Nobody can make a file there, not even root.
    let _daemon = line.start_with(|command| command.env("STATE_DIRECTORY", "/proc/self"));
    let degraded = wait_for_state(&subscriber, "andon/box/status", "degraded");
    let reasons = degraded["reasons"].to_string();
    assert!(reasons.contains("state directory /proc/self cannot be written"), "{reasons}");
}

/// A program that a camera reads from ends with the daemon, however silent it is.
#[test]
fn a_stop_leaves_no_program_behind() {
    let line = Line::new(1, "");
    // Nobody else sleeps for just so long.
    let seconds = format!("{}.25", 100_000 + std::process::id());
    line.configure(1, &format!("source = \"command:sleep {seconds}\""), "");
    let is_running =
        || Command::new("pgrep").args(["-f", &format!("^sleep {seconds}")]).output().unwrap().status.success();
    let mut daemon = line.start();
    let give_up = Instant::now() + SOON;
    while !is_running() {
        assert!(Instant::now() < give_up, "the program was never started");
        thread::sleep(Duration::from_millis(20));
    }
    daemon.signal("TERM");
    assert_eq!(daemon.wait(), Some(0));
    assert!(!is_running(), "sleep {seconds} goes on");
}
