//! A camera whose frames come and in whose pictures nothing can be seen: the plant hears why, and what is found goes on.

use super::*;

/// A program that films red and green squares, with something new in every picture; told by files it shows another scene.
const CAMERA: &str = "cd \"$1\"
turn=0
while sleep 0.05; do
  turn=$((1 - turn))
  scene=$(cat scene) || exit
  case $scene in
    line) cat line$turn;;
    still) cat line0;;
    *) cat $scene;;
  esac
done
";

/// A program's picture may stand still for half a minute before it counts as frozen.
const TOLD_WITHIN: Duration = Duration::from_secs(30 + SOON.as_secs());

/// Waits until the camera's status is so; gives the message.
#[track_caller]
fn wait_for_status(subscriber: &Subscriber, state: &str, words: &str) -> Value {
    let wanted = |heard: &Heard| {
        let message = json(heard);
        heard.topic == "andon/box/in/status"
            && message["state"] == state
            && message["reason"].as_str().unwrap_or_default().contains(words)
    };
    json(&subscriber.wait_for(TOLD_WITHIN, &format!("{state}: {words}"), wanted))
}

#[test]
fn the_plant_hears_why_nothing_can_be_seen() {
    if !mosquitto::is_installed() {
        return;
    }
    let broker = Mosquitto::start(Setup::default());
    let line = Line::new(broker.port, "");
    let dir = &line.dir;
    for (name, cells) in [("line0", [(1, 2, RED), (7, 7, GREEN)]), ("line1", [(1, 2, RED), (6, 7, GREEN)])] {
        dir.write(name, squares((64, 64), &cells).into_raw());
    }
    dir.write("dark", vec![9; 64 * 64 * 3]);
    dir.write("bright", vec![255; 64 * 64 * 3]);
    dir.write("covered", vec![120; 64 * 64 * 3]);
    let script = dir.write("camera.sh", CAMERA);
    // Written whole at once: the program may read it at any moment.
    let show = |scene: &str| std::fs::rename(dir.write("next", scene), dir.path("scene")).unwrap();
    show("line");
    let source = format!("command:sh {} {}", script.display(), dir.path("").display());
    // On a busy machine the program may stop for a while: no stall is meant here.
    line.configure(broker.port, &format!("source = \"{source}\"\nsize = \"64x64\"\nrate = 0.5\nformat = \"rgb\""), "");
    let subscriber = broker.subscribe("andon/box/in/#");
    let device = broker.subscribe("andon/box/status");
    let mut daemon = line.start();
    assert_eq!(wait_for_status(&subscriber, "live", "")["reason"], Value::Null);
    wait_for_state(&device, "andon/box/status", "online");

    for (scene, words) in [
        ("dark", "its picture is dark"),
        ("bright", "over-exposed"),
        ("covered", "covers the lens"),
        ("still", "the same picture comes again and again"),
    ] {
        show(scene);
        let blind = wait_for_status(&subscriber, "blind", words);
        assert!(blind["since"].is_string(), "{blind}");
        let degraded = |heard: &Heard| json(heard)["state"] == "degraded" && heard.payload.contains("is blind");
        device.wait_for(SOON, "degraded, because the camera is blind", degraded);
        subscriber.wait_for(SOON, "detections while blind", is_detections);
        show("line");
        wait_for_status(&subscriber, "live", "");
        wait_for_state(&device, "andon/box/status", "online");
    }
    daemon.signal("TERM");
    assert_eq!(daemon.wait(), Some(0));
}

#[test]
fn what_the_line_is_meant_to_look_like_is_no_blindness() {
    if !mosquitto::is_installed() {
        return;
    }
    let broker = Mosquitto::start(Setup::default());
    let line = Line::new(broker.port, "");
    line.dir.write("dark", vec![9; 64 * 64 * 3]);
    line.dir.write("scene", "dark");
    let script = line.dir.write("camera.sh", CAMERA);
    let camera = format!(
        "source = \"command:sh {} {}\"\nsize = \"64x64\"\nrate = 0.5\nformat = \"rgb\"\nblind = []",
        script.display(),
        line.dir.path("").display()
    );
    line.configure(broker.port, &camera, "");
    let subscriber = broker.subscribe("andon/box/in/#");
    let _daemon = line.start();
    wait_for_status(&subscriber, "live", "");
    // Longer than it takes where it is watched.
    let until = Instant::now() + Duration::from_secs(5);
    while let Some(heard) = subscriber.next(until.saturating_duration_since(Instant::now())) {
        assert!(is_detections(&heard), "{heard:?}");
    }
}
