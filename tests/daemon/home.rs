//! Home Assistant hears of a box, again when it is back, and no more when it is not to.

use super::*;

const ANNOUNCED: &str = "homeassistant/+/+/+/config";

/// The topics and contents of what is announced, until nothing more comes.
#[track_caller]
fn announced(subscriber: &Subscriber) -> Vec<Heard> {
    let mut all = vec![subscriber.next(SOON).expect("something is announced")];
    while let Some(heard) = subscriber.next(Duration::from_secs(2)) {
        all.push(heard);
    }
    all.sort_by(|a, b| a.topic.cmp(&b.topic));
    all
}

#[test]
fn home_assistant_is_told_at_the_start_at_its_return_and_when_all_is_gone() {
    if !mosquitto::is_installed() {
        return;
    }
    let broker = Mosquitto::start(Setup::default());
    let line = Line::new(broker.port, "");
    let camera = "source = \"shots\"\nrate = 5\nloop = true";
    let rule = "[[rule]]\nid = \"flaw\"\nkind = \"alarm\"\nclasses = [\"green\"]\n";
    line.configure(broker.port, camera, &format!("{rule}[home_assistant]\n"));
    let subscriber = broker.subscribe(ANNOUNCED);
    let daemon = line.start();
    let first = announced(&subscriber);
    let alarm =
        first.iter().find(|heard| heard.payload.contains("andon/box/in/alarm/flaw")).expect("the alarm is there");
    assert_eq!(json(alarm)["origin"]["name"], "andon");
    let contents = |all: &[Heard]| -> Vec<(String, String)> {
        all.iter().map(|heard| (heard.topic.clone(), heard.payload.clone())).collect()
    };
    let kept = announced(&broker.subscribe(ANNOUNCED));
    assert!(kept.iter().all(|heard| heard.retained), "{kept:?}");
    assert_eq!(contents(&kept), contents(&first));

    // Home Assistant has started anew.
    let arguments = ["-h", "127.0.0.1", "-p", &broker.port.to_string(), "-q", "1", "-t", "homeassistant/status"];
    assert!(Command::new("mosquitto_pub").args(arguments).args(["-m", "online"]).status().unwrap().success());
    assert_eq!(contents(&announced(&subscriber)), contents(&first));

    line.configure(broker.port, camera, rule);
    daemon.signal("HUP");
    let gone = announced(&subscriber);
    assert!(gone.iter().all(|heard| heard.payload.is_empty()), "{gone:?}");
    let topics = |all: &[Heard]| -> Vec<String> { all.iter().map(|heard| heard.topic.clone()).collect() };
    assert_eq!(topics(&gone), topics(&first));
    let late = broker.subscribe("#");
    // The broker tells what it keeps in one go: with a status there, all of it has come.
    let mut heard = vec![late.wait_for(SOON, "the box's status", |heard| heard.topic == "andon/box/status")];
    while let Some(more) = late.next(Duration::from_secs(1)) {
        heard.push(more);
        if heard.len() > 20 {
            break;
        }
    }
    assert!(heard.iter().all(|heard| !heard.topic.starts_with("homeassistant/")), "{heard:?}");
}
